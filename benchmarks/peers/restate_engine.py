"""Restate as a contender: its server with a fresh data directory, hypercorn with two workers."""

import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.http_load import request
from benchmarks.peers.http import Connection
from benchmarks.processes import Background, python_module, wait_until
from benchmarks.serving import Door
from benchmarks.workloads import WORKERS, LongRun, Place, Timeline

SENDERS = 16
READ_RUNS = 20
SETTLE_SECONDS = 0.08


def _free_ports(number: int) -> list[int]:
    """Ports nobody listens on; all sockets stay open until all are chosen."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


class Restate:
    """One method for each measurement; see workloads.Engine."""

    def __init__(self, place: Place) -> None:
        self.version = f"server {Path(place.server_binary).parents[1].name}"
        self._work_dir = Path(place.work_dir)
        self._data = self._work_dir / "data"
        self._drop = self._work_dir / "drop"
        self._binary = place.server_binary
        self._processes: list[Background] = []
        self._keys = count(1)

    def start(self) -> None:
        """Start server and workers and make them known to each other."""
        for directory in (self._data, self._drop):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
        ingress, admin, fabric, services = _free_ports(4)
        self._ingress_port = ingress
        self._start_server(ingress, admin, fabric)
        self._start_services(services)
        self._admin = self._connect(admin, "/health", "Restate's server")
        self._connect(services, "/health", "Restate's services").close()
        self._ingress = self._connect(ingress, "/restate/health", "Restate's ingress")
        self._admin.post("/deployments", {"uri": f"http://127.0.0.1:{services}"})
        self.version = f"{self._admin.get('/version')['version']}, sdk {version('restate-sdk')}"

    def stop(self) -> None:
        """Stop services and server."""
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()

    def run_sequence(self, steps: int) -> Timeline:
        """One call through the ingress."""
        called = time.monotonic()
        first_line, last_line = self._ingress.post("/hot/sequence", steps)
        return Timeline(called=called, first_line=first_line, last_line=last_line)

    def run_many(self, runs: int, steps: int) -> float:
        """One-way sends from several connections, then the end the last run wrote down."""
        before = len(self._ends())

        called = time.monotonic()
        self._send_many("/hot/reported_sequence/send", steps, runs)
        wait_until(lambda: len(self._ends()) >= before + runs, what="Restate's runs", seconds=600)
        return max(self._ends()) - called

    def complete_token(self, *, released: bool) -> float | None:
        """An awakeable resolved through the ingress."""
        path = "/cold/released_waiter" if released else "/hot/waiter"
        key = f"token-{next(self._keys)}"
        invocation = self._ingress.post(f"{path}/send", key)["invocationId"]
        awakeable = self._dropped(key)
        time.sleep(SETTLE_SECONDS)
        called = time.monotonic()
        self._ingress.post(f"/restate/awakeables/{awakeable}/resolve", {"ok": True})
        next_line = self._ingress.get(f"/restate/invocation/{invocation}/attach")
        return float(next_line) - called

    def fan_out(self, children: int) -> float:
        """A handler that calls another and gathers the answers."""
        return float(self._ingress.post("/hot/parent", children))

    def run_long(self, steps: int) -> LongRun:
        """A service that suspends after a second without progress, so between no two steps."""
        key = f"token-{next(self._keys)}"
        order = {"steps": steps, "key": key}
        invocation = self._ingress.post("/long/long_run/send", order)["invocationId"]
        awakeable = self._dropped(key, seconds=300)
        wait_until(
            lambda: self._status(invocation) == "suspended", what="Restate's long run", every=0.2
        )
        time.sleep(SETTLE_SECONDS)
        called = time.monotonic()
        self._ingress.post(f"/restate/awakeables/{awakeable}/resolve", {"ok": True})
        spent, next_line = self._ingress.get(f"/restate/invocation/{invocation}/attach")
        return LongRun(steps=spent, resume=next_line - called)

    def park(self, runs: int) -> None:
        """Awakeables of a service that suspends at once."""
        self._send_many("/cold/parked/send", None, runs)
        wait_until(
            lambda: self._count_suspended("parked") >= runs,
            what="Restate's parked runs",
            seconds=300,
            every=0.5,
        )

    def open_door(self) -> Door:
        """The server's own ingress: one-way sends, and the outputs of some that have ended."""
        port = self._ingress_port
        ids = [
            self._ingress.post("/hot/sequence/send", 1)["invocationId"] for _ in range(READ_RUNS)
        ]
        for invocation in ids:
            self._ingress.get(f"/restate/invocation/{invocation}/attach")
        return Door(
            port=port,
            trigger=request("POST", "/hot/sequence/send", port=port, body="0"),
            retrieve=[
                request("GET", f"/restate/invocation/{invocation}/output", port=port)
                for invocation in ids
            ],
        )

    def database_backend(self) -> int | None:
        """None: the server keeps everything itself."""
        return None

    def _send_many(self, path: str, value: Any, runs: int) -> None:
        def send_some(number: int) -> None:
            connection = Connection(self._ingress_port)
            for _ in range(number, runs, SENDERS):
                connection.post(path, value)
            connection.close()

        with ThreadPoolExecutor(SENDERS) as senders:
            list(senders.map(send_some, range(SENDERS)))

    def _start_server(self, ingress: int, admin: int, fabric: int) -> None:
        environment = {
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_INGRESS__BIND_PORT": str(ingress),
            "RESTATE_ADMIN__BIND_PORT": str(admin),
            "RESTATE_BIND_PORT": str(fabric),
        }
        command = [self._binary, "--base-dir", str(self._data), "--node-name", "bench"]
        command += ["--bind-ip", "127.0.0.1", "--listen-mode", "tcp", "--no-logo"]
        log = self._work_dir / "server.log"
        self._processes.append(Background(command, log=log, env=environment))

    def _start_services(self, port: int) -> None:
        command = python_module("hypercorn", "--workers", str(WORKERS))
        command += ["--bind", f"127.0.0.1:{port}", "benchmarks.peers.restate_services:app"]
        environment = {"FLOWMAESTRO_BENCH_DROP": str(self._drop)}
        log = self._work_dir / "services.log"
        self._processes.append(Background(command, log=log, env=environment))

    def _connect(self, port: int, path: str, what: str) -> Connection:
        """A connection, once the server behind that port answers."""

        def attempt() -> Connection | None:
            for process in self._processes:
                process.check()
            try:
                connection = Connection(port)
                connection.get(path)
            except OSError:
                return None
            return connection

        connection = wait_until(attempt, what=what)
        if connection is None:
            raise TimeoutError(what)
        return connection

    def _dropped(self, key: str, *, seconds: float = 60.0) -> str:
        path = self._drop / key
        wait_until(path.exists, what="an awakeable's id", seconds=seconds, every=0.005)
        return path.read_text()

    def _status(self, invocation: str) -> str:
        query = f"SELECT status FROM sys_invocation WHERE id = '{invocation}'"
        rows: list[dict[str, Any]] = self._admin.post("/query", {"query": query})["rows"]
        return str(rows[0]["status"]) if rows else ""

    def _count_suspended(self, handler: str) -> int:
        query = (
            "SELECT count(*) AS number FROM sys_invocation"
            f" WHERE target_handler_name = '{handler}' AND status = 'suspended'"
        )
        return int(self._admin.post("/query", {"query": query})["rows"][0]["number"])

    def _ends(self) -> list[float]:
        return [
            float(line) for path in self._drop.glob("ends.*") for line in path.read_text().split()
        ]


def create(place: Place) -> Restate:
    """Restate in that place's directory."""
    return Restate(place)
