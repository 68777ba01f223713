"""The lightest HTTP client that will do: one kept-alive connection, JSON in, JSON out.

A full client library as load generator would share the cores with the engine it measures.
"""

import json
import socket
from typing import Any


class Connection:
    """One connection to a loopback port; not for use by two threads at once."""

    def __init__(self, port: int, *, timeout: float = 600.0) -> None:
        self._host = f"127.0.0.1:{port}"
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
        self._socket.close()

    def get(self, path: str) -> Any:
        """The decoded answer of a GET."""
        return self._exchange("GET", path, b"")

    def post(self, path: str, value: Any) -> Any:
        """The decoded answer of a POST of JSON."""
        return self._exchange("POST", path, json.dumps(value).encode())

    def _exchange(self, method: str, path: str, body: bytes) -> Any:
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\naccept: application/json\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        status = self._reader.readline().split(b" ", 2)
        headers = self._headers()
        answer = self._body(headers)
        if not status[1:2] or not status[1].startswith(b"2"):
            raise ConnectionError(f"{method} {path}: {status!r} {answer[:500]!r}")
        return json.loads(answer) if answer else None

    def _headers(self) -> dict[bytes, bytes]:
        headers = {}
        while line := self._reader.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        return headers

    def _body(self, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
            return self._reader.read(int(headers.get(b"content-length", 0)))
        chunks = []
        while size := int(self._reader.readline().split(b";")[0], 16):
            chunks.append(self._reader.read(size))
            self._reader.readline()
        self._reader.readline()
        return b"".join(chunks)
