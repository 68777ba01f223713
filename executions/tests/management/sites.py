"""A real installation for a test: a web server and a cluster on the test database."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from executions.tests.clusters import running_cluster
from executions.tests.conftest import eventually

TASKS = "executions.tests.management.sdk_tasks"


@dataclass(frozen=True, slots=True)
class Site:
    """Where it answers."""

    url: str


@contextmanager
def running_site(database_url: str, *, tasks: str = TASKS, **options: str) -> Iterator[Site]:
    """Serves and runs; `options` are settings by their name, of both the server and the workers."""
    options = {"TASK_MODULES": tasks, "LOG_LEVEL": "WARNING", **options}
    with running_cluster(database_url, **options), running_server(database_url, **options) as site:
        yield site


@contextmanager
def running_server(database_url: str, **options: str) -> Iterator[Site]:
    """A web server on a free port of this machine."""
    port = _free_port()
    environment = {
        **os.environ,
        "FLOWMAESTRO_DATABASE_URL": database_url,
        **{f"FLOWMAESTRO_{name}": value for name, value in options.items()},
    }
    command = [sys.executable, "-m", "daphne", "--verbosity", "0", "--bind", "127.0.0.1"]
    site = Site(f"http://127.0.0.1:{port}")
    process = subprocess.Popen(
        [*command, "--port", str(port), "flowmaestro.asgi:application"],
        cwd=settings.BASE_DIR,
        env=environment,
    )
    try:
        eventually(lambda: _answers(site) or process.poll() is not None, seconds=30)
        assert process.poll() is None, "The web server ended."
        yield site
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(site: Site) -> bool:
    try:
        with urllib.request.urlopen(f"{site.url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
