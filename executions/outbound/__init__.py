"""The only file that opens HTTP connections for workflows: guarded and bounded.

A host is resolved once and the connection goes to the address that was checked, so an answer of
the name server that changes in between reaches nothing. Private ranges need a setting.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpcore
import httpx
from django.conf import settings

from executions.errors import Invalid, TooLarge, Unavailable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_REDIRECTS = 3
MAX_RESPONSE_BYTES = 10_000_000
MAX_URL = 8_000
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
# Addresses that resolvers accept beside the usual four numbers: 127.1, 0x7f000001, 017700000001.
_ODD_LITERAL = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}\.?", re.IGNORECASE)
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "te"})


class OutboundRefused(Invalid):
    """The request may not be made; trying again changes nothing."""

    code = "outbound_refused"
    non_retryable = True


class OutboundFailed(Unavailable):
    """The other side did not answer, or not in time."""

    code = "outbound_failed"


class OutboundTooLarge(TooLarge):
    """The response is over the limit."""

    code = "outbound_too_large"
    non_retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundResponse:
    """A response, whatever its status; `body` is decompressed."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    url: str
    seconds: float

    def header(self, name: str, default: str = "") -> str:
        """The first header of this name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)

    @property
    def text(self) -> str:
        """The body as text, in the charset it names or else UTF-8."""
        match = re.search(r"charset=\"?([\w-]+)", self.header("content-type"), re.IGNORECASE)
        try:
            return self.body.decode(match.group(1) if match else "utf-8", errors="replace")
        except LookupError:
            return self.body.decode("utf-8", errors="replace")


async def request(
    method: str,
    url: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    params: Sequence[tuple[str, str]] = (),
    content: bytes | None = None,
    timeout: float = 30.0,
    max_bytes: int = MAX_RESPONSE_BYTES,
    max_redirects: int = MAX_REDIRECTS,
    secret_headers: frozenset[str] = frozenset(),
) -> OutboundResponse:
    """Make one request; 4xx and 5xx are responses. `timeout` covers all of it, redirects too.

    `secret_headers`, in lower case, stay behind when a redirect leads to another site.

    Raises OutboundRefused, OutboundFailed or OutboundTooLarge.
    """
    started = time.monotonic()
    target = _parse_url(url)
    if params:
        target = target.copy_merge_params(list(params))
    sent = [(key, value) for key, value in headers if key.lower() not in _OWN_HEADERS]
    try:
        async with asyncio.timeout(timeout):
            for _ in range(max_redirects + 1):
                response, body = await _send(method, target, sent, content, max_bytes)
                location = response.headers.get("location")
                if response.status_code not in (301, 302, 303, 307, 308) or not location:
                    return _answer(response, body, target, started)
                method, content, sent, target = _follow(
                    response.status_code, location, method, content, sent, target,
                    _SECRET_HEADERS | secret_headers,
                )  # fmt: skip
    except TimeoutError as error:
        raise OutboundFailed(f"{_shown(target)} did not answer within {timeout:g} s.") from error
    raise OutboundFailed(f"{_shown(target)} redirects more than {max_redirects} times.")


def _answer(
    response: httpx.Response, body: bytes, target: httpx.URL, started: float
) -> OutboundResponse:
    return OutboundResponse(
        status=response.status_code,
        reason=response.reason_phrase,
        headers=tuple(response.headers.multi_items()),
        body=body,
        url=str(target),
        seconds=time.monotonic() - started,
    )


def _shown(url: httpx.URL) -> str:
    """The address without user, password and query, which may hold secrets."""
    return f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{url.path}"


def _parse_url(url: str) -> httpx.URL:
    if len(url) > MAX_URL:
        raise OutboundRefused(f"The address is longer than {MAX_URL:,} characters.", field="url")
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise OutboundRefused(f"{url[:200]!r} is not an address: {error}.", field="url") from error
    if parsed.scheme not in ("http", "https"):
        raise OutboundRefused(f"{url[:200]!r} is not an http or https address.", field="url")
    if not parsed.host:
        raise OutboundRefused(f"{url[:200]!r} names no host.", field="url")
    return parsed


def _follow(
    status: int,
    location: str,
    method: str,
    content: bytes | None,
    headers: list[tuple[str, str]],
    target: httpx.URL,
    secret_headers: frozenset[str],
) -> tuple[str, bytes | None, list[tuple[str, str]], httpx.URL]:
    """The next hop: what is sent there, without credentials when it is another origin."""
    try:
        following = _parse_url(str(target.join(location)))
    except (httpx.InvalidURL, ValueError) as error:
        raise OutboundRefused(f"{_shown(target)} redirects to no valid address.") from error
    if status == 303 or (status in (301, 302) and method == "POST"):
        method = method if method == "HEAD" else "GET"
        content = None
        headers = [pair for pair in headers if pair[0].lower() != "content-type"]
    if _origin(following) != _origin(target):
        headers = [pair for pair in headers if pair[0].lower() not in secret_headers]
    return method, content, headers, following


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, _port(url)


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def _send(
    method: str,
    url: httpx.URL,
    headers: list[tuple[str, str]],
    content: bytes | None,
    max_bytes: int,
) -> tuple[httpx.Response, bytes]:
    refuse_odd_host(url.host)
    transport = _GuardedTransport()
    wanted = [*headers]
    names = {key.lower() for key, _ in headers}
    if "accept" not in names:
        wanted.append(("Accept", "*/*"))
    if "user-agent" not in names:
        wanted.append(("User-Agent", "FlowMaestro"))
    wanted = [pair for pair in wanted if pair[0].lower() != "accept-encoding"]
    wanted.append(("Accept-Encoding", "gzip, deflate"))
    async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=None) as client:
        try:
            built = client.build_request(method, url, headers=[], content=content)
            # The client's own defaults would come beside those of the node.
            for key in ("accept", "accept-encoding", "user-agent", "connection"):
                built.headers.pop(key, None)
            built.headers = httpx.Headers([*built.headers.multi_items(), *wanted])
            response = await client.send(built, stream=True, follow_redirects=False)
            body = await _read_body(response, max_bytes)
            await response.aclose()
        except (httpcore.ConnectError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            if isinstance(error, httpcore.LocalProtocolError):
                raise OutboundRefused(f"The request is not valid HTTP: {error}.") from error
            raise OutboundFailed(f"{_shown(url)} could not be reached: {error}.") from error
        except (httpcore.TimeoutException, OSError, zlib.error) as error:
            raise OutboundFailed(f"{_shown(url)} failed: {error}.") from error
        except (UnicodeError, ValueError) as error:
            raise OutboundRefused(f"The request is not valid HTTP: {error}.") from error
    return response, body


async def _read_body(response: httpx.Response, limit: int) -> bytes:
    """The body, decompressed piece by piece so that a bomb stops at the limit."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    decoder = _decoder(encoding)
    parts: list[bytes] = []
    raw = size = 0
    async for chunk in response.aiter_raw():
        raw += len(chunk)
        if raw > limit:
            break
        data = chunk if decoder is None else decoder.decompress(chunk, limit - size + 1)
        parts.append(data)
        size += len(data)
        if size > limit:
            break
    if raw > limit or size > limit:
        await response.aclose()
        raise OutboundTooLarge(f"The response is over the limit of {limit:,} bytes.")
    return b"".join(parts)


def _decoder(encoding: str) -> Any:
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)
    if encoding in ("", "identity"):
        return None
    raise OutboundFailed(f"The response has the encoding {encoding!r}, which was not asked for.")


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # Reading the certificate store costs milliseconds; one context serves all requests.
    return httpx.create_ssl_context(trust_env=False)


class _GuardedTransport(httpx.AsyncBaseTransport):
    """One connection per request, opened by the guarded backend."""

    def __init__(self) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(), max_connections=1, network_backend=_GuardedBackend()
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
            )
        )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Stream(answer),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host, checks every address, and connects to one that was checked."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await resolve(host, port)
        failure: Exception = OSError("no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Any = None
    ) -> httpcore.AsyncNetworkStream:
        raise OutboundRefused("Unix sockets are not reachable.")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def refuse_odd_host(host: str) -> None:
    """Refuse spellings of an address that only resolvers read as one."""
    if not _ODD_LITERAL.fullmatch(host):
        return
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise OutboundRefused(
            f"{host!r} is an unusual spelling of an address; write the host's name.", field="url"
        ) from None


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host, all of them allowed. Raises OutboundRefused, OutboundFailed."""
    name = host.strip("[]").rstrip(".")
    try:
        found: list[Address] = [ipaddress.ip_address(name)]
    except ValueError:
        refuse_odd_host(name)
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise OutboundFailed(f"The host {name!r} is not known.") from error
        found = []
        for answer in answers:
            address = ipaddress.ip_address(answer[4][0])
            if address not in found:
                found.append(address)
    allowed = allow_list()
    for address in found:
        if not is_public(address) and not is_allowed(address, name, port, allowed):
            raise OutboundRefused(
                f"{name} leads to {address}, a private address; an operator may allow it in "
                "FLOWMAESTRO_OUTBOUND_ALLOW_PRIVATE.",
                field="url",
            )
    return found


def is_public(address: Address) -> bool:
    """Whether an address, and the IPv4 address inside it if there is one, is on the internet."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not address.is_link_local
        and not address.is_loopback
    )


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    in_nat64 = any(address in network for network in _NAT64)
    if in_nat64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def allow_list() -> tuple[str, ...]:
    """The private hosts, host:port pairs and networks an operator allows."""
    options = getattr(settings, "FLOWMAESTRO", None)
    name = "OUTBOUND_ALLOW_PRIVATE"
    listed = options.get(name, ()) if isinstance(options, Mapping) else getattr(options, name, ())
    return tuple(str(entry).strip().lower() for entry in listed or ())


def is_allowed(address: Address, host: str, port: int, allowed: Iterable[str]) -> bool:
    """Whether an entry names this host, this address, or a network around it."""
    names = {host.lower(), str(address)}
    if isinstance(address, ipaddress.IPv6Address):
        names.add(f"[{address}]")
    spelled = names | {f"{name}:{port}" for name in names if ":" not in name.strip("[]")}
    spelled |= {f"{name}:{port}" for name in names if name.startswith("[")}
    for entry in allowed:
        if entry in spelled:
            return True
        if "/" in entry:
            try:
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
            except (ValueError, TypeError):
                continue
    return False
