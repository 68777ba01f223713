"""The load on an HTTP server, against a real one on a loopback port."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.http_load import Load, request, run
from benchmarks.serving import CLIENTS, Door, measure_http, units
from benchmarks.workloads import QUICK, WORKLOADS


class Counting(BaseHTTPRequestHandler):
    """Answers after 5 ms; /chunked in chunks, /missing with 404; keeps count of paths."""

    protocol_version = "HTTP/1.1"
    seen: dict[str, int]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.seen[self.path] = self.seen.get(self.path, 0) + 1
        time.sleep(0.005)
        self.send_response(404 if self.path == "/missing" else 200)
        if self.path == "/chunked":
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\r\n{}\r\n0\r\n\r\n")
            return
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as there are clients."""

    request_queue_size = 128
    daemon_threads = True


@pytest.fixture
def server():
    Counting.seen = {}
    with Server(("127.0.0.1", 0), Counting) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def load(server, path, *, clients=2, method="GET", body=""):
    port = server.server_address[1]
    sent = [request(method, path, port=port, bearer="key", body=body)]
    return Load(port=port, requests=sent, clients=clients, seconds=0.4)


@pytest.mark.parametrize("path", ["/whole", "/chunked"])
def test_each_client_waits_for_its_answer_before_its_next_request(server, path):
    found = run(load(server, path))
    assert found.first_error == ""
    # Two clients and 5 ms an answer: at most 400 in a second, however fast the machine is.
    assert 10 <= found.per_second <= 400
    assert 5 <= found.median <= found.p99
    assert found.answers <= Counting.seen[path]


def test_an_answer_that_is_no_success_ends_the_measurement(server):
    assert "404" in run(load(server, "/missing")).first_error


def test_the_load_runs_in_a_process_of_its_own(server):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load"],
        input=json.dumps(asdict(load(server, "/x", method="POST", body='{"a": 1}'))),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["answers"] > 0


def test_the_workload_has_a_row_for_each_number_of_clients(server):
    port = server.server_address[1]

    class Engine:
        def open_door(self) -> Door:
            return Door(
                port=port,
                trigger=request("POST", "/trigger", port=port, body="{}"),
                retrieve=[request("GET", f"/read/{n}", port=port) for n in range(3)],
            )

    series = measure_http(Engine(), QUICK)
    workload = WORKLOADS["HTTP"]
    assert set(workload.units) == set(units()) <= set(series)
    assert len(series) == 2 * 3 * len(CLIENTS)
    assert {workload.unit_of(row) for row in series} == {"requests/s", "ms"}
    assert {"/trigger", "/read/0", "/read/1", "/read/2"} <= set(Counting.seen)
