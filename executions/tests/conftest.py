"""What tests of the engine share: a real executor on the test database, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executions import runs
from executions.engine.executor import Executor
from executions.models import Run


@pytest.fixture
def executors(transactional_db: None) -> Iterator[Callable[[], Executor]]:
    """Starts executors, each like a worker process of its own; they end with the test."""
    started: list[Executor] = []

    def start() -> Executor:
        executor = Executor()
        executor.start()
        started.append(executor)
        return executor

    yield start
    for executor in started:
        executor.stop(0)


@pytest.fixture
def executor(executors: Callable[[], Executor]) -> Executor:
    """One executor at work."""
    return executors()


def eventually(check: Callable[[], Any], *, seconds: float = 10) -> Any:
    """What `check` gives once it is truthy; fails when it is not within the time."""
    ends = time.monotonic() + seconds
    while not (value := check()):
        assert time.monotonic() < ends, "It did not happen in time."
        time.sleep(0.01)
    return value


def until_status(run_id: str, *statuses: str, seconds: float = 10) -> Run:
    """The run once it has one of the statuses."""

    def check() -> Run | None:
        run = runs.retrieve(run_id)
        return run if run.status in statuses else None

    return eventually(check, seconds=seconds)
