"""Where requests come from: proxies that are trusted, and what clients make up."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from flowmaestro import addresses
from flowmaestro.addresses import bucket, client, networks, origins

TRUSTED = networks("X", ["127.0.0.1", "10.0.0.0/8", "2001:db8:f::/48"])


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "1.1.1.1, 198.51.100.7, 10.2.3.4", "198.51.100.7"),
        ("127.0.0.1", "10.9.9.9, 10.2.3.4", "10.9.9.9"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", " , ,", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, nonsense", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, nonsense, 10.2.3.4", "10.2.3.4"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", '"[2001:db8::7]"', "2001:db8::7"),
        ("127.0.0.1", "2001:db8::7%eth0", "2001:db8::7"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:f::1", "198.51.100.7", "198.51.100.7"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_what_trusted_proxies_have_added_counts(remote, forwarded, address):
    assert client(remote, forwarded, TRUSTED) == address


@pytest.mark.parametrize(
    ("address", "counted_by"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", "unknown"),
        ("somewhere", "unknown"),
    ],
)
def test_requests_are_counted_by_address_or_by_network(address, counted_by):
    assert bucket(address) == counted_by


def test_a_proxy_that_is_not_listed_is_named_in_the_log_once(caplog):
    addresses._warn_once.cache_clear()
    for _ in range(3):
        client("203.0.113.9", "198.51.100.7", TRUSTED)
    assert caplog.text.count("FLOWMAESTRO_TRUSTED_PROXIES") == 1
    assert "203.0.113.9" in caplog.text


@pytest.mark.parametrize("entry", ["proxy.example.com", "10.0.0.0/99", "*", "10.0.0"])
def test_an_entry_that_is_no_network_stops_the_start(entry):
    with pytest.raises(ImproperlyConfigured, match="FLOWMAESTRO_TRUSTED_PROXIES"):
        networks("FLOWMAESTRO_TRUSTED_PROXIES", [entry])


def test_origins_are_kept_as_browsers_send_them():
    assert origins("X", ["https://App.example.com/", "http://localhost:5173"]) == (
        "https://app.example.com",
        "http://localhost:5173",
    )


@pytest.mark.parametrize(
    "entry", ["*", "https://*.example.com", "app.example.com", "null", "https://a.com/path",
              "https://u@a.com", "ftp://a.com"],
)  # fmt: skip
def test_an_entry_that_is_no_origin_stops_the_start(entry):
    with pytest.raises(ImproperlyConfigured, match="FLOWMAESTRO_CORS_ORIGINS"):
        origins("FLOWMAESTRO_CORS_ORIGINS", [entry])
