"""The only door through which HTTP leaves for workflows: guarded and bounded.

A host is resolved once and the connection goes to the address that was checked, so an answer of
the name server that changes in between reaches nothing. Private ranges need a setting.
"""

from __future__ import annotations

import asyncio
import re
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from executions.outbound.addresses import (
    allow_list,
    is_allowed,
    is_public,
    refuse_odd_host,
    resolve,
)
from executions.outbound.errors import OutboundFailed, OutboundRefused, OutboundTooLarge
from executions.outbound.transport import GuardedTransport

__all__ = [
    "OutboundFailed",
    "OutboundRefused",
    "OutboundResponse",
    "OutboundTooLarge",
    "allow_list",
    "is_allowed",
    "is_public",
    "refuse_odd_host",
    "request",
    "resolve",
]

MAX_REDIRECTS = 3
MAX_RESPONSE_BYTES = 10_000_000
MAX_URL = 8_000
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
# And what a proxy says of a client: workflows may call their own installation, which believes it.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "te", "forwarded",
     "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"}
)  # fmt: skip


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
    transport = GuardedTransport()
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
        except (httpx.InvalidURL, httpx.RemoteProtocolError) as error:
            # The library looks at where a redirect leads, though it is not asked to follow.
            raise OutboundRefused(f"{_shown(url)} redirects to no valid address.") from error
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
