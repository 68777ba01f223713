"""What the pool's processes share: a queue and a flag that survive the death of any of them.

multiprocessing's queues, events and values guard themselves with semaphores; a process killed while
it holds one leaves all others waiting for ever. These have nothing to hold.
"""

from __future__ import annotations

import errno
import logging
import multiprocessing
import select
import socket
import struct
import sys
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import RawValue
from typing import Any

logger = logging.getLogger(__name__)

# Message boundaries and atomic sends; macOS has them for datagrams only.
SOCKET_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
LARGEST_MESSAGE = 1 << 18
STOP = "STOP"


class Flag:
    """A multiprocessing.Event without locks: a pipe that holds one byte once it is set."""

    def __init__(self) -> None:
        self._reader: Connection
        self._writer: Connection
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)

    def set(self) -> None:
        """Set it, for all processes and for good."""
        if not self.is_set():
            self._writer.send_bytes(b"!")

    def is_set(self) -> bool:
        """Whether anybody has set it."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most `timeout` seconds; whether it is."""
        return self._reader.poll(timeout)

    def fileno(self) -> int:
        """A descriptor that is readable once the flag is set."""
        return self._reader.fileno()


class Timer:
    """django-q2's per-worker timer, shared memory without its lock.

    A torn read is impossible for four bytes, and a late one only delays the guard by a cycle.
    """

    def __init__(self, value: float = -1.0) -> None:
        self._raw = RawValue("f", value)

    @property
    def value(self) -> float:
        """Seconds left; -1 is idle, 0 timed out, -2 recycled."""
        return float(self._raw.value)

    @value.setter
    def value(self, seconds: float) -> None:
        self._raw.value = seconds

    def get_lock(self) -> AbstractContextManager[None]:
        """Nothing to hold: django-q2 asks for a lock around its updates."""
        return nullcontext()


class Channel:
    """django-q2's queue as a pair of sockets: one message is one packet, taken by one reader.

    `put` waits at most `patience` seconds for room, then drops the message: what travels here are
    wake-ups and reports of them, and the runs table knows what is due without either.
    `room` is roughly how many small messages wait unread.
    """

    def __init__(self, *, room: int | None = None, patience: float = 0.5) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, SOCKET_KIND)
        if room is not None:
            # The kernel charges a small message about 1,280 bytes, doubles what it is told, and
            # has a minimum of its own.
            self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room * 640)
        seconds = int(patience)
        micros = int((patience - seconds) * 1_000_000)
        limit = struct.pack("@ll", seconds, micros)
        self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def put(self, item: Any) -> None:
        """Send one message, or drop it when nobody makes room for it."""
        try:
            self._writer.send(bytes(ForkingPickler.dumps(item)))
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EMSGSIZE, errno.ENOBUFS):
                raise
            logger.debug("A message was dropped: %s", error.strerror)

    def get(self, stop: Flag | None = None) -> Any:
        """The next message; "STOP" as soon as `stop` is set."""
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        if stop is not None:
            poller.register(stop, select.POLLIN)
        while True:
            poller.poll()
            if stop is not None and stop.is_set():
                return STOP
            try:
                return ForkingPickler.loads(self._reader.recv(LARGEST_MESSAGE, socket.MSG_DONTWAIT))
            except BlockingIOError:
                continue  # another reader was faster

    def empty(self) -> bool:
        """Whether no message waits at this moment."""
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        return not poller.poll(0)

    def qsize(self) -> int:
        """How many messages wait, as far as a status page needs to know: 0, or at least 1."""
        return 0 if self.empty() else 1

    def close(self) -> None:
        """Close this process's ends."""
        self._reader.close()
        self._writer.close()


class Inbox:
    """The reading side of a channel for one process, which ends when that process is told to."""

    def __init__(self, channel: Channel, stop: Flag) -> None:
        self._channel = channel
        self._stop = stop

    def get(self) -> Any:
        """The next message, or "STOP"."""
        return self._channel.get(self._stop)
