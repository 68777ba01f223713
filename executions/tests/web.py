"""A small web server on this machine that remembers what it was sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Remembering(ThreadingHTTPServer):
    """A server with what its handler keeps."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []
        self.target = "/"
        self.retry_after = ""
        self.release = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Answers by path, and remembers what it was sent."""

    protocol_version = "HTTP/1.1"
    server: Remembering

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        length = int(self.headers.get("content-length") or 0)
        self.server.seen.append(
            {
                "method": self.command,
                "path": self.path,
                "headers": {key.lower(): value for key, value in self.headers.items()},
                "body": self.rfile.read(length).decode(),
            }
        )
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self.reply(int(path[4:7]), location=self.server.target)
        elif path == "/loop":
            self.reply(302, location="/loop")
        elif path == "/bomb":
            self.reply(200, gzip.compress(b"0" * 30_000_000), encoding="gzip")
        elif path == "/zip":
            self.reply(200, gzip.compress(b'{"a":1}'), encoding="gzip")
        elif path == "/big":
            self.reply(200, b"x" * 200_000)
        elif path == "/hang":
            self.server.release.wait(20)
            self.reply(200)
        elif path.startswith("/busy/"):
            # Busy for as many requests as the path says.
            times = int(path.removeprefix("/busy/"))
            if len(self.server.seen) <= times:
                self.reply(503, b'{"busy": true}', retry_after=self.server.retry_after)
            else:
                self.reply(200, b'{"ok": true}')
        elif path == "/404":
            self.reply(404, b'{"no": "such"}')
        else:
            self.reply(200, b'{"ok": true}')

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def reply(self, status, body=b"", *, location=None, encoding=None, retry_after=None):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if location:
            self.send_header("location", location)
        if retry_after:
            self.send_header("retry-after", retry_after)
        if encoding:
            self.send_header("content-encoding", encoding)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return


class Server:
    """A server on a free port of this machine."""

    def __init__(self):
        self.http = Remembering()
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def seen(self):
        """The requests so far."""
        return self.http.seen

    def url(self, path="/", host="127.0.0.1"):
        """An address on this server."""
        return f"http://{host}:{self.http.server_port}{path}"

    def close(self):
        """Stop serving."""
        self.http.release.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
