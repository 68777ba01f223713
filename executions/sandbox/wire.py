"""Frames between a worker and a program's process: a kind, a length, bytes."""

from __future__ import annotations

import asyncio
import socket
import struct

# Worker to process.
HEADER, NAMES = b"H", b"N"
# Process to worker: it has taken the program; its answer. Nursery to worker: the process ended.
STARTED, ANSWER, ENDED = b"S", b"A", b"E"

MAX_ANSWER = 8 * 1024 * 1024
MAX_REQUEST = 256 * 1024 * 1024
_HEAD = struct.Struct("!cI")


class Closed(ConnectionError):
    """The other end went away in the middle."""


def frame(kind: bytes, payload: bytes) -> bytes:
    """A frame as it goes over the wire."""
    return _HEAD.pack(kind, len(payload)) + payload


def send(sock: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    """Send a frame; blocks."""
    sock.sendall(frame(kind, payload))


def receive(sock: socket.socket) -> tuple[bytes, bytes]:
    """The next frame; blocks. Raises Closed."""
    kind, length = _HEAD.unpack(_exactly(sock, _HEAD.size))
    if length > MAX_REQUEST:
        raise Closed(f"A frame of {length} bytes is too long.")
    return kind, _exactly(sock, length)


def _exactly(sock: socket.socket, length: int) -> bytes:
    data = bytearray(length)
    view, at = memoryview(data), 0
    while at < length:
        got = sock.recv_into(view[at:])
        if not got:
            raise Closed("The other end has gone.")
        at += got
    return bytes(data)


async def receive_async(sock: socket.socket) -> tuple[bytes, bytes]:
    """The next frame of a process, which is not trusted. Raises Closed."""
    kind, length = _HEAD.unpack(await _exactly_async(sock, _HEAD.size))
    if length > MAX_ANSWER:
        raise Closed(f"A frame of {length} bytes is too long.")
    return kind, await _exactly_async(sock, length)


async def _exactly_async(sock: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray(length)
    view, at = memoryview(data), 0
    while at < length:
        got = await loop.sock_recv_into(sock, view[at:])
        if not got:
            raise Closed("The other end has gone.")
        at += got
    return bytes(data)
