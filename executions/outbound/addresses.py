"""Which addresses may be reached: resolved once, and every one of them checked."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping

from django.conf import settings

from executions.outbound.errors import OutboundFailed, OutboundRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
# Set aside long ago, and still routed inside some networks: site-local addresses, and the relays
# that carry IPv6 over IPv4.
_SET_ASIDE = (ipaddress.ip_network("fec0::/10"), ipaddress.ip_network("192.88.99.0/24"))
# Addresses that resolvers accept beside the usual four numbers: 127.1, 0x7f000001, 017700000001.
_ODD_LITERAL = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}\.?", re.IGNORECASE)


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
        and not any(address in network for network in _SET_ASIDE)
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
