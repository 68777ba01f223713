"""A small site on this machine, with pages and files by path."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Page = tuple[int, dict[str, str], bytes]


class Site(ThreadingHTTPServer):
    """Answers each path with what `pages` has for it, else with 404."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}

    def add(self, path: str, body: bytes, kind: str = "text/html", **headers: str) -> str:
        """Serve a page; its address."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        status = int(given.pop("status", "200"))
        self.pages[path] = (status, {"content-type": kind, **given}, body)
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        status, headers, body = self.server.pages.get(
            self.path.partition("?")[0], (404, {"content-type": "text/plain"}, b"no such page")
        )
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Site]:
    """A site for the length of the block."""
    site = Site()
    thread = threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()
        thread.join()
