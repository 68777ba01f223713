"""Processes that tick once and die at fail points: `python -m triggers.tests.schedules.crash`.

Each line on standard input, `{"point": …, "hit": …}`, forks a process that fires what is due, and
dies at that passing of the point. A line on standard output gives its exit status.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import django

SECONDS = 30


def main() -> None:
    """Serves requests until standard input ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.alarm(SECONDS)
            _tick(**json.loads(line))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _tick(point: str | None, hit: int) -> None:
    from django.db import connection

    from executions.engine import failpoints
    from triggers.schedules import ticks

    if point is not None:
        failpoints.arm(point, at=hit)
    with connection.cursor() as cursor:
        while ticks.tick(cursor):
            pass


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flowmaestro.settings")
    django.setup()
    main()
