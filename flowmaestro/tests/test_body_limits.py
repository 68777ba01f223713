"""Bodies that are too long are refused while they come in, before anybody is asked who it is."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from executions.tests.management.sites import running_server

MB = 1024 * 1024


def _sent(url: str, headers: str, pieces: Iterator[bytes]) -> tuple[bytes, int]:
    """What the server answers, and how much of the body it let us send until then."""
    parts = urlsplit(url)
    sent = 0
    with closing(socket.create_connection((parts.hostname, parts.port), 10)) as client:
        client.settimeout(10)
        client.sendall(
            f"POST /api/v1/tasks/x/trigger HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: application/json\r\n{headers}\r\n\r\n".encode()
        )
        try:
            for piece in pieces:
                client.sendall(piece)
                sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while found := client.recv(65536):
                answer += found
        except ConnectionResetError:
            pass
    return answer, sent


def test_a_body_that_says_it_is_too_long_is_not_waited_for(database_url):
    with running_server(database_url) as site:
        answer, _ = _sent(site.url, f"Content-Length: {1024 * MB}", iter(()))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413")
        assert json.loads(body)["code"] == "too_large"

        def chunks() -> Iterator[bytes]:
            piece = b" " * MB
            for _ in range(256):
                yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"

        _, sent = _sent(site.url, "Transfer-Encoding: chunked", chunks())
        # Some of it lies in the sockets' buffers.
        assert sent < 64 * MB
        # The next one is served.
        answer, _ = _sent(site.url, "Content-Length: 2\r\nConnection: close", iter([b"{}"]))
        assert answer.startswith(b"HTTP/1.1 401")
