"""The longest body that is taken in: daphne writes all of it to disk before anybody is asked."""

from __future__ import annotations

import json
from typing import Any, Final

from daphne import http_protocol
from django.conf import settings

# Only the items of a batch come in streams; any other body is at most a payload in its wrapping.
# The client uploads large payloads by themselves, so that these are short.
_STREAM: Final = 128 * 1024 * 1024


class BoundedRequest(http_protocol.WebRequest):
    """A request whose connection is closed as soon as its body is over the limit."""

    taken = 0
    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        """The length that is announced; None for a body in chunks."""
        super().gotLength(length)
        if length is not None and length > self._limit():
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """The next piece of the body."""
        self.taken += len(data)
        if self.taken > self._limit():
            self._refuse()
        else:
            super().handleContentChunk(data)

    def _limit(self) -> int:
        path = getattr(self.channel, "_path", b"").partition(b"?")[0]
        is_stream = path.startswith(b"/api/v3/batches/") and path.endswith(b"/items")
        return _STREAM if is_stream else int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)

    def _refuse(self) -> None:
        channel: Any = self.channel
        if not self._is_refused:
            self._is_refused = True
            channel.transport.write(_answer(self._limit()))
            channel.loseConnection()


def _answer(limit: int) -> bytes:
    message = f"The body is over the limit of {limit:,} bytes; send less of it."
    told = {"success": False, "error": message, "code": "too_large", "details": {}}
    body = json.dumps(told).encode()
    head = (
        "HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def install() -> None:
    """From now on daphne's connections make requests of this kind."""
    http_protocol.WebRequest = BoundedRequest
