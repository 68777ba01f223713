"""Requests to addresses that must not be reached: spellings, redirects, answers that change.

What counts is not the error alone: nothing may even try to connect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import httpcore
import httpx
import pytest

from executions import outbound
from executions.outbound import OutboundFailed, OutboundRefused
from executions.tests.web import Server

METADATA = "169.254.169.254"

# Every row is 127.0.0.1, 169.254.169.254, 10.0.0.1 or their like, as some parser reads it.
DECIMAL = ["2130706433", "2852039166", "167772161", "3232235777", "0", "017700000001"]
OCTAL = [
    "0177.0.0.1", "0177.0.0.01", "00000177.0.0.1", "0251.0376.0251.0376", "012.0.0.1",
    "0300.0250.01.01", "0177.1", "0000000017700000001", "025177524776",
]  # fmt: skip
HEXADECIMAL = [
    "0x7f.0.0.1", "0x7f000001", "0X7F000001", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0x7f.1",
    "0x0a000001", "0x7f.0x0.0x0.0x1", "0x000000007f000001", "0x",
]  # fmt: skip
MIXED = [
    "127.1", "127.0.1", "10.1", "169.254.43518", "169.16689662", "0x7f.0.1", "0177.0x0.1",
    "127.0.0.0x1", "0xa9.254.0251.0376", "192.168.257", "172.16.1",
]  # fmt: skip
DOTS = [
    "127.0.0.1.", "169.254.169.254.", "localhost.", "2130706433.", "0x7f000001.", "[::1].",
    "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "169。254．169｡254", "localhost。",
]  # fmt: skip
DIGITS = [
    "①②⑦.⓪.⓪.①", "１２７.０.０.１", "１６９.２５４.１６９.２５４", "１２７。０。０。１", 
    "⑯⑨.②⑤④.①⑥⑨.②⑤④",
    "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "١٢٧.٠.٠.١", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "ｌｏｃａｌｈｏｓｔ", "LOCALHOST", "lOcAlHoSt",
]  # fmt: skip
MAPPED = [
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[0000:0000:0000:0000:0000:ffff:7f00:0001]", "[::FFFF:10.0.0.1]",
    "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]", "[::ffff:0.0.0.0]",
]  # fmt: skip
TUNNELLED = [
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[64:ff9b::10.0.0.1]",
    "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2002:a00:1:abcd::1]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2001:0:4136:e378:8000:63bf:5601:5601]",
]  # fmt: skip
OWN = [
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]",
    "[::1%25lo]", "[::1%lo]", "[fc00::1]", "[fd12:3456::1]", "[fec0::1]", "[ff02::1]",
    "[fd00:ec2::254]", "[2001:db8::1]", "[100::1]", "[5f00::1]",
]  # fmt: skip
RANGES = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.254", "0.0.0.0", "0.1.2.3", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1",
    "198.18.0.1", "198.19.255.255", "192.0.0.1", "192.88.99.1", "localhost",
]  # fmt: skip
LITERALS = (
    *DECIMAL, *OCTAL, *HEXADECIMAL, *MIXED, *DOTS, *DIGITS, *MAPPED, *TUNNELLED, *OWN, *RANGES,
)  # fmt: skip

# Whole addresses whose host another parser might take for another part of them.
PARTS = [
    f"http://example.com@{METADATA}/", f"http://example.com:80@{METADATA}/",
    f"http://user:pass@{METADATA}:80/", f"http://{METADATA}#@example.com/",
    f"http://{METADATA}?@example.com/", f"http://{METADATA}\\@example.com/",
    f"http://example.com\\@{METADATA}/", f"http:/\\{METADATA}/", f"http:\\\\{METADATA}/",
    f"http:///{METADATA}/", f"http:{METADATA}/", f"//{METADATA}/", f"http://[{METADATA}]/",
    f"http://{METADATA}%00.example.com/", f"http://{METADATA}%2f.example.com/",
    f"http://{METADATA}\t/", f"http://{METADATA}\n/", f"http://\t{METADATA}/",
    f" http://{METADATA}/ ",
    f"http://{METADATA}:80:80/", f"http://{METADATA}:0/", f"http://{METADATA}:99999/",
    "http://%31%36%39.254.169.254/", "http://%6c%6f%63%61%6c%68%6f%73%74/", "http://local\u00adhost/",
    "http://127.0.0.1\u200b/", "http://127.0.0.1\u2060/", "http://lo\u200dcalhost/",
    f"HTTP://{METADATA}/", f"hTTpS://{METADATA}/", f"http://{METADATA}", f"https://{METADATA}:22/",
    f"gopher://{METADATA}/", f"file://{METADATA}/etc/passwd", f"dict://{METADATA}:11211/stats",
    f"ftp://{METADATA}/", f"jar:http://{METADATA}/!/", f"url:http://{METADATA}/",
    f"data:text/html,{METADATA}", "unix:///var/run/docker.sock", "http+unix://%2fvar%2frun/",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_allowed(settings):
    """No private address is allowed."""
    settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": ()}


@pytest.fixture
def tried(monkeypatch):
    """Where connections were tried to; none of them is made. Names have no address."""
    places: list[tuple[str, int]] = []
    real = socket.getaddrinfo

    async def connect(self, host, port, *args, **kwargs):
        places.append((host, port))
        raise httpcore.ConnectError("not in a test")

    def answer(host, port, family=0, type=0, proto=0, flags=0):
        # What the C library makes of a spelling by itself counts; name servers are not asked.
        if str(host).rstrip(".").lower() == "localhost":
            host = "127.0.0.1"
        return real(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return places


def get(url, **options):
    return asyncio.run(outbound.request("GET", url, **options))


def test_the_table_has_at_least_sixty_spellings_and_each_of_them_once():
    assert len(LITERALS) == len(set(LITERALS)) >= 60


@pytest.mark.parametrize("host", LITERALS)
@pytest.mark.parametrize("form", ["http://{}/", "https://{}:8443/latest"])
def test_no_spelling_leads_to_a_connection(host, form, tried):
    with pytest.raises((OutboundRefused, OutboundFailed)):
        get(form.format(host))
    assert tried == []


@pytest.mark.parametrize("url", PARTS)
def test_no_part_of_an_address_is_taken_for_its_host(url, tried):
    with pytest.raises((OutboundRefused, OutboundFailed)):
        get(url)
    assert tried == []


@pytest.mark.parametrize("host", LITERALS)
def test_no_spelling_is_reached_by_a_redirect(host, tried, settings, monkeypatch):
    """The first hop is allowed and answers; the next one leads to the spelling."""
    hops = []

    async def send(method, url, headers, content, max_bytes):
        hops.append(url)
        if len(hops) == 1:
            return httpx.Response(302, headers=[(b"location", f"http://{host}/".encode())]), b""
        return await real(method, url, headers, content, max_bytes)

    real = outbound._send
    monkeypatch.setattr(outbound, "_send", send)
    with pytest.raises((OutboundRefused, OutboundFailed)):
        get("http://public.example/")
    assert tried == []


def test_a_public_address_is_tried_as_it_was_given(tried):
    """The table would prove nothing if nothing at all were ever tried."""
    for host in ("8.8.8.8", "[2606:4700::1111]", "[64:ff9b::808:808]", "[2002:808:808::1]"):
        with pytest.raises(OutboundFailed):
            get(f"http://{host}:8080/")
    assert tried == [
        ("8.8.8.8", 8080), ("2606:4700::1111", 8080), ("64:ff9b::808:808", 8080),
        ("2002:808:808::1", 8080),
    ]  # fmt: skip


# ---- redirects ----------------------------------------------------------------------------------


@pytest.fixture
def servers():
    """Some servers on this host."""
    running = [Server() for _ in range(3)]
    yield running
    for server in running:
        server.close()


def allow(settings, *servers):
    places = tuple(f"127.0.0.1:{server.http.server_port}" for server in servers)
    settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": places}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_hop_is_checked_also_the_last(servers, settings, status):
    first, second, inner = servers
    allow(settings, first, second)
    first.http.target = second.url(f"/to/{status}")
    second.http.target = inner.url("/secret")
    with pytest.raises(OutboundRefused, match="private address"):
        get(first.url(f"/to/{status}"))
    assert (len(first.seen), len(second.seen), inner.seen) == (1, 1, [])


@pytest.mark.parametrize(
    "target",
    [
        "//169.254.169.254/latest", "http://169.254.169.254/", "\\\\169.254.169.254\\",
        "file:///etc/passwd", "gopher://127.0.0.1:70/_", "javascript:alert(1)", "http://0/",
        "http://2852039166/", "http://[::1", "http://[::ffff:a9fe:a9fe]/", "http://user@169.254.169.254/",
    ],
)  # fmt: skip
def test_a_redirect_leads_nowhere_that_a_request_would_not(servers, settings, target):
    first = servers[0]
    allow(settings, first)
    first.http.target = target
    try:
        get(first.url("/to/302"))
    except (OutboundRefused, OutboundFailed):
        pass
    # What is no address of another host is a path of this one.
    assert all(seen["headers"]["host"].startswith("127.0.0.1:") for seen in first.seen)
    assert not any(server.seen for server in servers[1:])


# ---- answers of name servers --------------------------------------------------------------------


class NameServer:
    """Answers each question with the next of its answers, and the last one from then on."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host, port, *args, **kwargs):
        self.asked += 1
        addresses = self.answers[min(self.asked, len(self.answers)) - 1]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM, 6, "", (address, port),
            )
            for address in addresses
        ]  # fmt: skip


def test_an_answer_that_changes_after_the_check_is_not_asked_for_again(tried, monkeypatch):
    names = NameServer(["8.8.8.8"], [METADATA])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    with pytest.raises(OutboundFailed):
        get("http://rebind.example/")
    assert (names.asked, tried) == (1, [("8.8.8.8", 80)])


def test_an_answer_that_changes_between_two_hops_is_checked_again(monkeypatch, settings):
    server = Server()
    try:
        port = server.http.server_port
        server.http.target = f"http://rebind.example:{port}/again"
        # The first answer is public in this test's world: the operator allows that one address.
        settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": ("127.0.0.1/32",)}
        names = NameServer(["127.0.0.1"], [METADATA])
        monkeypatch.setattr(socket, "getaddrinfo", names)
        with pytest.raises(OutboundRefused, match=r"169\.254\.169\.254"):
            get(f"http://rebind.example:{port}/to/302")
        assert (names.asked, len(server.seen)) == (2, 1)
    finally:
        server.close()


@pytest.mark.parametrize(
    "addresses",
    [
        ["8.8.8.8", METADATA], [METADATA, "8.8.8.8"], ["2606:4700::1111", "::1"],
        ["8.8.8.8", "::ffff:10.0.0.1"], ["8.8.8.8", "64:ff9b::7f00:1"], ["8.8.8.8", "fe80::1"],
        ["8.8.8.8"] * 20 + ["127.0.0.1"],
    ],
)  # fmt: skip
def test_one_private_address_among_public_ones_is_enough(addresses, tried, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", NameServer(addresses))
    with pytest.raises(OutboundRefused):
        get("http://mixed.example/")
    assert tried == []


def test_the_host_and_the_certificates_name_stay_those_that_were_asked_for(monkeypatch):
    seen = {}

    class Stream(httpcore.AsyncNetworkStream):
        async def start_tls(self, ssl_context, server_hostname=None, timeout=None):
            seen["name"] = server_hostname
            raise httpcore.ConnectError("not in a test")

        async def aclose(self):
            pass

    async def connect(self, host, port, *args, **kwargs):
        seen["address"] = host
        return Stream()

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    monkeypatch.setattr(socket, "getaddrinfo", NameServer(["8.8.8.8"]))
    with pytest.raises(OutboundFailed):
        get("https://shop.example/")
    assert seen == {"address": "8.8.8.8", "name": "shop.example"}


@pytest.mark.parametrize("host", RANGES[:-1])
def test_every_private_range_is_known_as_such(host):
    assert not outbound.is_public(ipaddress.ip_address(host))
