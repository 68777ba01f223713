"""The small HTTP client against a real server on a loopback port."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.peers.http import Connection


class Echo(BaseHTTPRequestHandler):
    """Answers a POST with what it got, a GET in chunks, /missing with 404."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(404 if self.path == "/missing" else 202)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for chunk in (b"[1, ", b"2]"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def connection():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = Connection(server.server_address[1])
        yield client
        client.close()
        server.shutdown()
        thread.join()


def test_one_connection_carries_several_exchanges(connection):
    assert connection.post("/echo", {"a": [1]}) == {"a": [1]}
    assert connection.get("/chunks") == [1, 2]
    assert connection.post("/echo", "ü") == "ü"


def test_a_refusal_is_an_error_with_the_answer(connection):
    with pytest.raises(ConnectionError, match=json.dumps("gone")):
        connection.post("/missing", "gone")
