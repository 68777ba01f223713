"""DBOS: its workflows, and the worker process that runs them (`python -m … DSN EXECUTOR READY`).

READY is a file the worker creates once it takes work.
"""
# Type checking has no look into a library that only this peer's environment holds.
# mypy: disable-error-code="import-not-found, untyped-decorator"

import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfig

QUEUE = "bench"
APPLICATION_VERSION = "bench"
POLL_SECONDS = 0.01
"""Its default is 1 s; this is the fastest polling that still pays."""
TOPIC = "token"
WAIT_SECONDS = 600
PARKED_SECONDS = 3600


@DBOS.step()
def step(number: int) -> dict[str, int]:
    """The trivial body of every step."""
    return {"i": number}


@DBOS.step()
def keep(value: Any) -> Any:
    """Record a value, so that a resumed workflow returns what its first execution saw."""
    return value


@DBOS.workflow()
def sequence(steps: int) -> list[float]:
    """W1, W2, W3: first and last line."""
    first_line = time.monotonic()
    for number in range(steps):
        step(number)
    return [first_line, time.monotonic()]


@DBOS.workflow()
def waiter() -> float:
    """W4: the line after the token."""
    DBOS.recv(TOPIC, timeout_seconds=WAIT_SECONDS)
    return time.monotonic()


@DBOS.workflow()
async def parked() -> None:
    """W6: waits for a token that never comes."""
    await DBOS.recv_async(TOPIC, timeout_seconds=PARKED_SECONDS)


@DBOS.workflow()
def child(number: int) -> int:
    """One of W5's children."""
    step(number)
    return number


@DBOS.workflow()
def parent(children: int) -> float:
    """W5: seconds from first line until every queued child has ended."""
    first_line = time.monotonic()
    handles = [DBOS.enqueue_workflow(QUEUE, child, number) for number in range(children)]
    for handle in handles:
        handle.get_result()
    return time.monotonic() - first_line


@DBOS.workflow()
def long_run(steps: int) -> list[Any]:
    """W7: the seconds of each step, and the line after the token."""
    lines = [time.monotonic()]
    for number in range(steps):
        step(number)
        lines.append(time.monotonic())
    spent = keep([after - before for before, after in pairwise(lines)])
    DBOS.recv(TOPIC, timeout_seconds=WAIT_SECONDS)
    return [spent, time.monotonic()]


def main(dsn: str, executor: str, ready: str) -> None:
    """Run workflows until the process is told to end."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": dsn,
        "log_level": "ERROR",
        "executor_id": executor,
        "application_version": APPLICATION_VERSION,
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, polling_interval_sec=POLL_SECONDS)
    Path(ready).touch()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
