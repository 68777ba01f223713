"""Tests of the guarded HTTP client, against servers on this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time

import pytest

from executions import outbound
from executions.outbound import OutboundFailed, OutboundRefused, OutboundTooLarge
from executions.tests.web import Server


@pytest.fixture
def server():
    running = Server()
    yield running
    running.close()


@pytest.fixture
def other():
    running = Server()
    yield running
    running.close()


@pytest.fixture
def allow(settings):
    def set_to(*entries):
        settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": entries}

    set_to("127.0.0.0/8")
    return set_to


def get(url, method="GET", **options):
    return asyncio.run(outbound.request(method, url, **options))


def test_an_allowed_address_answers(server, allow):
    response = get(server.url("/x"), params=[("q", "a b"), ("q", "ü")])
    assert (response.status, response.text) == (200, '{"ok": true}')
    assert server.seen[0]["path"] == "/x?q=a+b&q=%C3%BC"
    assert server.seen[0]["headers"]["host"] == f"127.0.0.1:{server.http.server_port}"


def test_loopback_is_refused_unless_allowed(server, allow):
    allow()
    with pytest.raises(OutboundRefused, match="private address"):
        get(server.url())
    assert server.seen == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "localhost",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fc00::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
        "[ff02::1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "017700000001",
        "0177.0.0.1",
        "127.0.1",
        "0",
        "127.0.0.1.",
        "localhost.",
    ],
)
def test_no_spelling_of_a_private_address_is_reached(host, allow):
    allow()
    with pytest.raises(OutboundRefused):
        get(f"http://{host}:9/")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "//x/",
        "",
        "http://",
        "gopher://a",
        "http://[::1",
        "x" * 9000,
    ],
)
def test_only_http_addresses_are_accepted(url, allow):
    with pytest.raises(OutboundRefused):
        get(url)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_public(address):
    assert outbound.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:{port}", True),
        ("127.0.0.1:1", False),
        ("127.0.0.0/8", True),
        ("10.0.0.0/8", False),
        ("localhost", False),
        ("nonsense/99", False),
    ],
)
def test_entries_name_hosts_ports_and_networks(entry, allowed, server, allow):
    allow(entry.format(port=server.http.server_port))
    if allowed:
        assert get(server.url()).status == 200
    else:
        with pytest.raises(OutboundRefused):
            get(server.url())


def test_a_host_that_is_allowed_by_name_may_lead_to_loopback(server, allow):
    allow(f"localhost:{server.http.server_port}")
    assert get(server.url(host="localhost")).status == 200


def test_the_connection_goes_to_the_address_that_was_checked(server, allow, monkeypatch):
    asked = []

    def answer(host, port, *args, **kwargs):
        asked.append(host)
        # The second answer would be the attack: a public name that becomes private.
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    allow("rebind.test")
    assert get(server.url(host="rebind.test")).status == 200
    assert asked == ["rebind.test"]
    assert server.seen[0]["headers"]["host"].startswith("rebind.test:")


def test_a_name_with_one_private_address_is_refused(allow, monkeypatch):
    def answer(host, port, *args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("8.8.8.8", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    allow()
    with pytest.raises(OutboundRefused, match=r"10\.0\.0\.1"):
        get("http://mixed.test/")


def test_a_redirect_is_checked_like_the_first_address(server, allow):
    allow(f"127.0.0.1:{server.http.server_port}")
    for target in ("http://127.0.0.1:9/", "http://169.254.169.254/latest", "file:///etc/passwd"):
        server.http.target = target
        with pytest.raises(OutboundRefused):
            get(server.url("/to/302"))


def test_another_origin_gets_no_credentials(server, other, allow):
    server.http.target = other.url("/landing")
    headers = [("Authorization", "Bearer t"), ("Cookie", "c=1"), ("X-API-Key", "k"), ("X-A", "1")]
    assert get(server.url("/to/307"), headers=headers).status == 200
    assert server.seen[0]["headers"]["authorization"] == "Bearer t"
    landed = other.seen[0]["headers"]
    assert landed["x-a"] == "1"
    assert {"authorization", "cookie", "x-api-key"}.isdisjoint(landed)


def test_the_same_origin_keeps_them(server, allow):
    server.http.target = "/landing"
    get(server.url("/to/302"), headers=[("Authorization", "Bearer t")])
    assert server.seen[1]["headers"]["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("status", "method", "body"), [(302, "GET", ""), (303, "GET", ""), (307, "POST", "hi")]
)
def test_a_redirect_keeps_or_drops_the_body_by_its_status(status, method, body, server, allow):
    server.http.target = "/landing"
    get(server.url(f"/to/{status}"), "POST", content=b"hi")
    assert (server.seen[1]["method"], server.seen[1]["body"]) == (method, body)


def test_redirects_end_after_three(server, allow):
    with pytest.raises(OutboundFailed, match="3 times"):
        get(server.url("/loop"))
    assert len(server.seen) == 4


def test_a_response_over_the_limit_is_refused(server, allow):
    with pytest.raises(OutboundTooLarge):
        get(server.url("/big"), max_bytes=100_000)


def test_a_bomb_stops_at_the_limit(server, allow):
    with pytest.raises(OutboundTooLarge):
        get(server.url("/bomb"), max_bytes=1_000_000)


def test_a_compressed_response_is_unpacked(server, allow):
    assert get(server.url("/zip")).text == '{"a":1}'


def test_the_time_covers_the_whole_request(server, allow):
    begun = time.monotonic()
    with pytest.raises(OutboundFailed, match=r"0\.2 s"):
        get(server.url("/hang"), timeout=0.2)
    assert time.monotonic() - begun < 5


def test_an_address_where_nobody_listens_is_a_failure(allow):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OutboundFailed, match="could not be reached"):
        get(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("headers", [[("X-A", "1\r\nX-Evil: 2")], [("X\nA", "1")], [("X-A", "\0")]])
def test_headers_cannot_smuggle_lines(headers, server, allow):
    with pytest.raises(OutboundRefused):
        get(server.url(), headers=headers)
    assert server.seen == []


def test_errors_do_not_repeat_the_query_or_the_password(allow):
    allow("127.0.0.1")
    with pytest.raises(OutboundFailed) as caught:
        get("http://user:secret@127.0.0.1:9/path?token=hidden")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
