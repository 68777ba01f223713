"""A broker and an engine that only write down what happened, for tests of the pool alone.

As a script: runs a pool with them. `POOL_LOG` names the file, `POOL_PAUSE` the broker's pause.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from django_q.brokers import Broker

MODULE = "executions.tests.engine.pool_stand_in"


def note(event: str) -> None:
    """Append one line, in one write, so that lines of several processes do not mix."""
    descriptor = os.open(os.environ["POOL_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{event} {os.getpid()}\n".encode())
    os.close(descriptor)


class BusyBroker(Broker):
    """Always has a message."""

    def dequeue(self) -> list[tuple[str, str]]:
        """One wake-up."""
        from django_q.signing import SignedPackage

        time.sleep(float(os.environ["POOL_PAUSE"]))
        task = {"id": "1", "name": "look", "func": f"{MODULE}.look", "args": (), "kwargs": {}}
        return [("1", SignedPackage.dumps({**task, "save": False, "timeout": -1}))]

    def ping(self) -> bool:
        """It is always there."""
        note("ping")
        return True


def start() -> None:
    """Once in each worker process."""
    note("start")
    if os.environ.get("POOL_FAILS"):
        raise RuntimeError("this engine does not start")


def look() -> None:
    """Once per message."""
    note("look")


def stop() -> None:
    """Once at the end of a worker; hangs when told to."""
    if os.environ.get("POOL_HANGS"):
        time.sleep(3600)
    note("stop")


def main() -> int:
    """Run a pool until it is stopped."""
    import django
    from django_q.conf import Conf

    Conf.BROKER_CLASS = f"{MODULE}.BusyBroker"
    django.setup()
    from executions.engine.cluster import PoolCluster, PoolSentinel

    class StandInSentinel(PoolSentinel):
        engine = MODULE

    class StandInCluster(PoolCluster):
        sentinel_class: Any = StandInSentinel

    return StandInCluster().run()


if __name__ == "__main__":
    sys.exit(main())
