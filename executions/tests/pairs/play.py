"""One play: a family of runs in a scene, who claimed what, and the workers of the play."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from executions.engine import sql
from executions.models import Run, WaitToken
from executions.rules.ids import new_id
from executions.tests.pairs.stage import Stage

LEASE, STALL_LIMIT = 3600.0, 3
# What a claim tells of a run, as far as writing for it goes.
_CLAIM = """
UPDATE executions_run SET status = 'EXECUTING', claim = %s, worker = %s, wake_at = NULL,
  wakes = wakes + 1, started_at = coalesce(started_at, flowmaestro_now())
WHERE id = %s
RETURNING id, claim::text, wakes, flush_no, op_seq, parent_id, parent_step
"""
_QUEUE = """
UPDATE executions_run SET status = 'QUEUED', claim = NULL, worker = NULL, wakes = wakes + 1,
  due_at = flowmaestro_now() WHERE id = %s
"""


@dataclass
class Family:
    """A parent, the subject of all actions, and its children, all parked; or a plain run."""

    subject: str
    parent: str | None = None
    children: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """All its runs."""
        return [run for run in (self.parent, self.subject, *self.children) if run is not None]

    @classmethod
    def of(cls, parents: list[str]) -> list[Family]:
        """The families that parked parents have started."""
        families = {
            run.id: cls(run.id, run.parent_id) for run in Run.objects.filter(parent_id__in=parents)
        }
        for run in Run.objects.filter(parent_id__in=list(families)).order_by("id"):
            families[run.parent_id or ""].children.append(run.id)
        return list(families.values())


@dataclass
class Play:
    """What the two actions of one play share. `names` are theirs, of A and then of B."""

    stage: Stage
    family: Family
    scene: str
    names: tuple[str, str]
    holder: str = ""
    workers: list[str] = field(default_factory=list)
    # What a worker knows that holds the subject, and one that has lost it.
    current: dict[str, Any] | None = None
    stale: dict[str, Any] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The subject's token."""
        return WaitToken.objects.get(run_id=self.family.subject).id

    def worker(self, *, is_stale: bool = False) -> str:
        """Registers a worker, unseen for two leases if `is_stale`."""
        worker_id = new_id("worker")
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO executions_worker (id, host, pid, process_started, seen_at) "
                "VALUES (%s, 'elsewhere', 1, 1, now() - make_interval(secs => %s))",
                [worker_id, 2 * LEASE if is_stale else 0.0],
            )
        self.workers.append(worker_id)
        return worker_id

    def claim(self, run_id: str, worker: str) -> dict[str, Any]:
        """Gives a run to a worker; what that knows of it."""
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, [uuid.uuid4(), worker, run_id])
            columns = [column.name for column in cursor.description]
            return dict(zip(columns, cursor.fetchone(), strict=True))

    def set_the_scene(self) -> None:
        """Brings the subject into the state in which the actions meet it."""
        run, takes_over = self.family.subject, "takeover" in self.names
        if self.scene in ("new", "expired"):
            column = "deadline_at" if self.scene == "new" else "expires_at"
            if "time-out" in self.names:
                self._set_past(column)
            return
        self.holder = self.worker(is_stale=takes_over)
        self.stale = {**self.claim(run, self.worker()), "claim": str(uuid.uuid4())}
        with connection.cursor() as cursor:
            cursor.execute(_QUEUE, [run])
            if self.scene == "waiting":
                cursor.execute("UPDATE executions_run SET status = 'WAITING' WHERE id = %s", [run])
        if self.scene not in ("queued", "waiting"):
            self.current = self.claim(run, self.holder)
        if self.scene == "suspect":
            Run.objects.filter(pk=run).update(stalls=STALL_LIMIT - 1)
        if "time-out" in self.names:
            self._set_past("deadline_at")

    def _set_past(self, column: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE executions_run SET {column} = now() - interval '1s' WHERE id = %s",
                [self.family.subject],
            )

    def bury_workers(self) -> None:
        """All workers of the play die; what they hold goes on elsewhere."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE executions_worker SET dead_at = coalesce(dead_at, now()) "
                "WHERE id = ANY(%s)",
                [self.workers],
            )
            cursor.execute(sql.NOTIFY, [""])
