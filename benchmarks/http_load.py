"""Load on an HTTP server, from a process of its own: `python -m benchmarks.http_load`, in JSON.

So many kept-alive connections, each with one request under way, in one thread with nothing between
it and the sockets: a client library would take more of the cores than the server it measures.
"""

import json
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.stats import percentile

WARM_UP_SECONDS = 0.5
_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to send, and from how many clients for how long."""

    port: int
    requests: list[str]
    """Whole requests, sent in turn; each is text of Latin-1."""
    clients: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What came of it. Times are milliseconds."""

    per_second: float
    median: float
    p99: float
    answers: int
    first_error: str
    """The first answer that was no success."""


def request(method: str, path: str, *, port: int, bearer: str = "", body: str = "") -> str:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{port}", "accept: application/json"]
    if bearer:
        lines.append(f"authorization: Bearer {bearer}")
    if body or method != "GET":
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", body])


class Client:
    """One connection and the answer that it waits for."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = b""
        self._length = -1
        self.sent_at = 0.0

    def send(self, data: bytes) -> None:
        """Send a request; its answer is what comes next."""
        self._answer, self._length = b"", -1
        self.sent_at = time.monotonic()
        self.socket.sendall(data)

    def receive(self) -> bytes | None:
        """The answer once it is whole."""
        piece = self.socket.recv(_PIECE)
        if not piece:
            raise ConnectionError(f"The server hung up: {self._answer[:300]!r}")
        self._answer += piece
        if self._length < 0:
            self._length = _length(self._answer)
        is_whole = 0 <= self._length <= len(self._answer) or (
            self._length == _CHUNKED and self._answer.endswith(b"0\r\n\r\n")
        )
        return self._answer if is_whole else None


_CHUNKED = 1 << 62


def _length(answer: bytes) -> int:
    """The length of a whole answer by its head; -1 while that is not there."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return -1
    head = answer[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return _CHUNKED if b"\r\ntransfer-encoding:" in head else end + 4
    return end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])


def run(load: Load) -> Figures:
    """Send for that long, after a while that does not count."""
    sent = [text.encode("latin-1") for text in load.requests]
    selector = selectors.DefaultSelector()
    taken: list[float] = []
    first_error = ""
    begin = time.monotonic() + WARM_UP_SECONDS
    end = begin + load.seconds
    number = 0
    for _ in range(load.clients):
        client = Client(load.port)
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.send(sent[number % len(sent)])
        number += 1
    while selector.get_map():
        for key, _ in selector.select(60):
            client = key.data
            answer = client.receive()
            if answer is None:
                continue
            now = time.monotonic()
            if not answer.startswith(b"HTTP/1.1 2"):
                first_error = first_error or answer[:2000].decode("latin-1")
            elif begin <= now <= end:
                taken.append(1000 * (now - client.sent_at))
            if now >= end or first_error:
                selector.unregister(client.socket)
                client.socket.close()
            else:
                client.send(sent[number % len(sent)])
                number += 1
    if first_error or not taken:
        error = first_error or "no answer within the time"
        return Figures(per_second=0, median=0, p99=0, answers=0, first_error=error)
    return Figures(
        per_second=len(taken) / load.seconds,
        median=percentile(taken, 50),
        p99=percentile(taken, 99),
        answers=len(taken),
        first_error="",
    )


def main() -> None:
    """Read the load from stdin, print the figures."""
    print(json.dumps(asdict(run(Load(**json.load(sys.stdin))))))


if __name__ == "__main__":
    main()
