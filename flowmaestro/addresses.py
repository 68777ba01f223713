"""Where requests come from: the connection's address, or the one that a trusted proxy names."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from flowmaestro import env

logger = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# A household or a host has a whole network of this size.
_IPV6_PREFIX = 64


def networks(name: str, entries: Iterable[str]) -> tuple[Network, ...]:
    """The networks that a setting lists. Raises ImproperlyConfigured naming it."""
    found = []
    for entry in entries:
        try:
            found.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            raise env.bad(name, entry, "addresses and networks like 10.0.0.7,10.1.0.0/16") from None
    return tuple(found)


def origins(name: str, entries: Iterable[str]) -> tuple[str, ...]:
    """The origins that a setting lists. Raises ImproperlyConfigured naming it."""
    found = []
    for entry in entries:
        parts = urlsplit(entry.rstrip("/"))
        is_origin = parts.scheme in ("http", "https") and parts.hostname and "*" not in entry
        if not is_origin or parts.path or parts.query or parts.fragment or parts.username:
            expected = "origins like https://app.example.com; a page with a bearer needs no entry"
            raise env.bad(name, entry, expected)
        found.append(f"{parts.scheme}://{parts.netloc}".lower())
    return tuple(found)


def client(remote: str, forwarded: str, trusted: tuple[Network, ...]) -> str:
    """The client's address: the last one of X-Forwarded-For that no trusted proxy has.

    What stands before it came from the client, who may write there what it likes. Without a trusted
    proxy at the other end of the connection the header counts for nothing.
    """
    address = _parse(remote)
    if address is None or not _is_in(address, trusted):
        if forwarded:
            _warn_once(remote)
        return remote
    for entry in reversed(forwarded.split(",")):
        if not entry.strip():
            continue
        named = _parse(entry)
        if named is None:
            break
        address = named
        if not _is_in(address, trusted):
            break
    return str(address)


def bucket(address: str) -> str:
    """What requests are counted by: an IPv4 address, or the network around an IPv6 one."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))
    return "unknown" if parsed is None else str(parsed)


def _parse(text: str) -> Address | None:
    """The address of an entry, which may be in brackets or have a port."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_in(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address in network for network in trusted)


@lru_cache(maxsize=16)
def _warn_once(remote: str) -> None:
    logger.warning(
        "Requests from %s carry X-Forwarded-For, which is ignored: all of them count as one "
        "address. If that is your proxy, list it in FLOWMAESTRO_TRUSTED_PROXIES.",
        remote,
    )
