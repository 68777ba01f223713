"""A proxy before PostgreSQL that loses the answer to one commit, and the connection with it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

# The answer that ends a transaction: ReadyForQuery, not within one.
_READY, _IDLE = b"Z", b"I"
_BACKEND_KEY = b"K"


class CuttingProxy:
    """Passes bytes between clients of its Unix socket and the server's, until it is armed.

    Armed for a connection, it forwards what the client sends, swallows the answers up to the one
    that says the transaction has ended, and then cuts: the client cannot know of the commit.
    """

    def __init__(self, directory: Path, server: Path) -> None:
        self.directory = directory
        self.cuts = 0
        self._server = server
        self._wanted: Callable[[_Pair], bool] | None = None
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer_of(self, *, name: str | None = None, pid: int | None = None) -> None:
        """Arms it, once, for the connection of that application name or backend."""
        self._wanted = lambda pair: pair.name == name if name is not None else pair.pid == pid

    def takes(self, pair: _Pair) -> bool:
        """Whether it is armed for this connection."""
        return self._wanted is not None and self._wanted(pair)

    def note_cut(self) -> None:
        """The answer is lost."""
        with self._lock:
            self.cuts += 1
            self._wanted = None

    def close(self) -> None:
        """Ends all connections."""
        self._listener.close()
        for pair in self._pairs:
            pair.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._server))
            pair = _Pair(self, client, server)
            self._pairs.append(pair)
            pair.start()


class _Pair:
    """One client's connection and its server's."""

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        self.name: str | None = None
        self.pid: int | None = None
        self._proxy = proxy
        self._client = client
        self._server = server

    def start(self) -> None:
        """Begins to pass bytes both ways."""
        for work in (self._requests, self._answers):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Cuts both sides."""
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def _requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(65536):
                if self.name is None:
                    # The first message is the start-up packet: pairs of words after 8 bytes.
                    words = data[8:].split(b"\0")
                    parameters = dict(zip(words[::2], words[1::2], strict=False))
                    self.name = parameters.get(b"application_name", b"").decode()
                self._server.sendall(data)
        self.close()

    def _answers(self) -> None:
        buffer = b""
        is_armed = False
        with contextlib.suppress(OSError):
            while data := self._server.recv(65536):
                buffer += data
                passed = 0
                while len(buffer) - passed >= 5:
                    (length,) = struct.unpack_from("!I", buffer, passed + 1)
                    end = passed + 1 + length
                    if len(buffer) < end:
                        break
                    kind, body = buffer[passed : passed + 1], buffer[passed + 5 : end]
                    if kind == _BACKEND_KEY:
                        (self.pid,) = struct.unpack_from("!I", body)
                    is_armed = is_armed or self._proxy.takes(self)
                    if not is_armed:
                        self._client.sendall(buffer[passed:end])
                    elif kind == _READY and body == _IDLE:
                        self._proxy.note_cut()
                        self.close()
                        return
                    passed = end
                buffer = buffer[passed:]
        self.close()
