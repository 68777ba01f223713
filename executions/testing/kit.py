"""The engine in a test's hand: it runs what is due, and time passes when the test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from executions import duties, queues, runs
from executions.engine.live import RunGone, current_live
from executions.models import Run, Step, WaitToken
from executions.registry import Task, load_tasks
from executions.rules.statuses import StepStatus, TokenStatus
from executions.rules.values import Json
from executions.runs import Handle, ResultTimeout, RunFailed
from executions.testing.clock import VirtualTime
from executions.testing.worker import HandWorker, Restless

# The moments at which the ticker has something to do; it looks for the same rows.
_NEXT_TIMER = """
SELECT min(at) FROM (
  SELECT min(wake_at) AS at FROM executions_run
  WHERE status IN ('DELAYED', 'WAITING') AND wake_at IS NOT NULL
  UNION ALL
  SELECT min(expires_at) FROM executions_run
  WHERE status IN ('QUEUED', 'DELAYED') AND expires_at IS NOT NULL AND started_at IS NULL
  UNION ALL
  SELECT min(deadline_at) FROM executions_run
  WHERE finished_at IS NULL AND deadline_at IS NOT NULL
    AND (started_at IS NULL OR status IN ('WAITING', 'PAUSED', 'NEEDS_ATTENTION'))
  UNION ALL
  SELECT min(timeout_at) FROM executions_waittoken
  WHERE status = 'WAITING' AND timeout_at IS NOT NULL
  UNION ALL
  SELECT min(seen_at) + make_interval(secs => %s) + interval '1 microsecond'
  FROM executions_worker w
  WHERE dead_at IS NULL AND id <> %s
    AND EXISTS (SELECT FROM executions_run r WHERE r.worker = w.id AND r.status = 'EXECUTING')
) x
"""
_NAMED_RUNS = 5


class NotAtRest(AssertionError):
    """Runs went on and on although the clock stood still; the message names them."""


@dataclass(frozen=True, slots=True)
class KitHandle(Handle):
    """A run triggered in a test. `result` never waits in real time."""

    engine: Engine = field(kw_only=True, repr=False, compare=False)

    def result(self, timeout: float | None = None) -> Json:
        """The run's output, after everything due has run; see `Engine.result`."""
        return self.engine.result(self, timeout=timeout)


class Engine:
    """The real engine on the test database. Its clock stands still until `advance`.

    Nothing runs in between: runs go on inside `run_until_idle`, `advance`, `run` and `result` only,
    one after the other in the order in which they fell due; `concurrency` lets more run at once.
    """

    def __init__(self) -> None:
        self._time = VirtualTime()
        self._concurrency = 1
        self._must_tick = False
        self._worker: HandWorker

    def __enter__(self) -> Engine:
        load_tasks()
        self._time.start()
        try:
            self._start_worker()
        except BaseException:
            self._time.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._worker.stop(0)
        finally:
            self._time.stop()

    # ---- time -----------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The virtual moment, aware."""
        return self._time.now

    def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0,
        until: datetime | None = None, stops: int = 10_000,
    ) -> None:  # fmt: skip
        """Lets so much time pass, or all until a moment, and runs whatever falls due, in order.

        The clock stops at each timer on the way, also at those set on the way. Raises NotAtRest
        after so many stops.
        """
        length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        target = self.now() + length if until is None else until
        if target.tzinfo is None:
            raise ValueError("until is a moment with a time zone.")
        if target < self.now():
            raise ValueError(f"The clock is at {self.now()} and does not go back to {target}.")
        self._pass_time(target, stops=stops)

    def _pass_time(
        self, target: datetime, *, stops: int = 10_000, until: Callable[[], bool] = lambda: False
    ) -> None:
        self.run_until_idle()
        begun = self.now()
        for _ in range(stops):
            if until():
                return
            timer = self._next_timer()
            if timer is None or timer > target:
                break
            self._move(timer)
            self.run_until_idle()
        else:
            raise NotAtRest(
                f"{stops:,} timers went off between {begun} and {self.now()}, and {target} is "
                f"still to come. Waiting: {self._describe(self._next_to_wake())}. Advance in "
                "smaller pieces, or allow more `stops`."
            )
        self._move(target)

    def _move(self, moment: datetime) -> None:
        if moment > self.now():
            self._time.move(moment)
            self._worker.virtual_clock.move(moment)
            self._worker.hand_ticker.beat()

    def _next_timer(self) -> datetime | None:
        with connection.cursor() as cursor:
            cursor.execute(
                _NEXT_TIMER, [settings.FLOWMAESTRO.LEASE_SECONDS, self._worker.ticker.worker_id]
            )
            moments: list[datetime | None] = [cursor.fetchone()[0]]
            moments += [duty.next_moment(cursor) for duty in duties.all_duties()]
        return min((moment for moment in moments if moment is not None), default=None)

    # ---- runs -----------------------------------------------------------------------------------

    def trigger(self, task: Task | str, payload: Any = None, **options: Any) -> KitHandle:
        """Starts a run, as `executions.runs.trigger` does; it advances when the test says so."""
        handle = runs.trigger(task, payload, **options)
        return KitHandle(handle.id, handle.is_cached, engine=self)

    def run(self, task: Task | str, payload: Any = None, **options: Any) -> Json:
        """Triggers a run and runs all that is due; its output. Raises as `result` does."""
        return self.trigger(task, payload, **options).result()

    def result(self, run: Handle | str, *, timeout: float | None = None) -> Json:
        """A run's output, after everything due has run.

        With `timeout`, up to that many virtual seconds pass while the run waits. Raises RunFailed
        when it ended otherwise, ResultTimeout when it waits still.
        """
        run_id = run if isinstance(run, str) else run.id
        target = self.now() + timedelta(seconds=timeout or 0)
        self._pass_time(target, until=lambda: runs.retrieve(run_id).is_final)
        found = runs.retrieve(run_id)
        if not found.is_final:
            raise ResultTimeout(
                f"At {self.now()} nothing more is due, and the run waits still: "
                f"{self._describe([run_id])}. Let time pass with engine.advance(), or bring about "
                "what it waits for."
            )
        if found.status != "COMPLETED":
            raise RunFailed(found)
        return found.output

    def token(self, run: Handle | str, name: str | None = None) -> WaitToken:
        """The open wait token of a run, of that name where it has several."""
        run_id = run if isinstance(run, str) else run.id
        found = WaitToken.objects.filter(run_id=run_id, status=TokenStatus.WAITING)
        if name is not None:
            found = found.filter(step_key=name)
        open_ones = list(found[:2])
        if len(open_ones) != 1:
            called = "" if name is None else f" called {name!r}"
            count = "several open tokens" if open_ones else "no open token"
            raise AssertionError(f"Run {run_id} has {count}{called}.")
        return open_ones[0]

    def run_until_idle(self, *, resumes: int = 1000, seconds: float = 10.0) -> None:
        """Runs everything that is due now until nothing is.

        Then each run waits, is delayed, paused or final. Raises NotAtRest, naming the runs, when
        one is resumed more than `resumes` times or work goes on for `seconds` of real time.
        """
        self._check_caller()
        ends = time.monotonic() + seconds
        while True:
            self._settle(resumes, ends, seconds)
            if self._worker.is_killed:
                self._replace()
            elif self._must_tick or self._is_due():
                self._worker.hand_ticker.tick()
                self._must_tick = False
            else:
                return
            if time.monotonic() > ends:
                raise NotAtRest(
                    f"After {seconds:g} s there is still something due at {self.now()}: "
                    f"{self._describe(self._next_to_wake())}. Does somebody keep its row locked?"
                )

    def _check_caller(self) -> None:
        if current_live.get() is not None:
            raise RuntimeError("A task cannot drive the engine that runs it.")
        if connection.in_atomic_block:
            raise RuntimeError(
                "The engine has connections of its own and does not see what this transaction has "
                "not committed: leave the atomic block first."
            )

    def _settle(self, resumes: int, ends: float, seconds: float) -> None:
        worker = self._worker
        future = asyncio.run_coroutine_threadsafe(worker.settle(resumes), worker.loop)
        try:
            future.result(max(0.001, ends - time.monotonic()))
        except TimeoutError:
            future.cancel()
            busy = list(worker.hand) or self._queued()
            raise NotAtRest(
                f"Runs were still at work after {seconds:g} s at {self.now()}: "
                f"{self._describe(busy)}. Waits by ctx let a run rest; asyncio.sleep, "
                "as_completed or wait(timeout=…) keep it at work."
            ) from None
        except Restless as error:
            raise NotAtRest(
                f"A run was resumed more than {resumes:,} times at {self.now()} and does not come "
                f"to rest: {self._describe([error.run_id])}."
            ) from None

    def _is_due(self) -> bool:
        timer = self._next_timer()
        return timer is not None and timer <= self.now()

    # ---- workers --------------------------------------------------------------------------------

    @property
    def concurrency(self) -> int:
        """How many runs may be in hand at once."""
        return self._concurrency

    @concurrency.setter
    def concurrency(self, runs_at_once: int) -> None:
        self._concurrency = self._worker.capacity = runs_at_once

    def deploy(self) -> None:
        """What workers do when they start: queues and schedules are as the code declares them.

        A test that says nothing of it sees no declared schedule fire.
        """
        queues.declare()
        duties.start()

    def restart(self) -> None:
        """Stops the worker as a deploy does and starts another: all goes on from the journal."""
        self._check_caller()
        self._worker.stop(0)
        self._start_worker()

    def crash(self, *, after: str | None = None) -> None:
        """Kills the worker: what is in memory is gone, and another one takes its runs over.

        Called in the code of a task or step, it kills the worker there and then. With `after`, the
        worker dies later, once a step with that key is stored and before the code goes on.
        """
        if after is not None:
            self._worker.dies_after = after
        elif current_live.get() is None:
            self._worker.kill()
            self._replace()
        else:
            # Queued before the news of how this code ended, so nothing of it is written.
            self._worker.loop.call_soon_threadsafe(self._worker.die, context=self._worker.context)
            raise RunGone("The worker was killed.")

    def _start_worker(self, dead: Iterable[str] = ()) -> None:
        worker = HandWorker(self.now(), capacity=self._concurrency, dead=list(dead))
        worker.start()
        self._worker = worker

    def _replace(self) -> None:
        """A new worker for a killed one, which it takes over at once."""
        self._worker.kill()
        self._start_worker([*self._worker.hand_ticker.dead, self._worker.ticker.worker_id])
        self._must_tick = True

    # ---- messages -------------------------------------------------------------------------------

    def _next_to_wake(self) -> list[str]:
        waiting = Run.objects.filter(finished_at__isnull=True, wake_at__isnull=False)
        return list(waiting.order_by("wake_at").values_list("id", flat=True)[:_NAMED_RUNS])

    def _queued(self) -> list[str]:
        queued = Run.objects.filter(status="QUEUED").order_by("due_at")
        return list(queued.values_list("id", flat=True)[:_NAMED_RUNS])

    def _describe(self, run_ids: list[str]) -> str:
        """What some runs are at, for a message."""
        told = [self._describe_one(run) for run in Run.objects.filter(pk__in=run_ids[:_NAMED_RUNS])]
        more = len(run_ids) - _NAMED_RUNS
        return "; ".join(told) + (f"; and {more} more" if more > 0 else "")

    def _describe_one(self, run: Run) -> str:
        steps = Step.objects.filter(run_id=run.id)
        done = steps.filter(status=StepStatus.COMPLETED).count()
        text = f'{run.id} (task "{run.task}") is {run.status}, {done:,} steps done'
        unfinished = steps.exclude(status__in=(StepStatus.COMPLETED, StepStatus.FAILED))
        names = ", ".join(f'"{key}"' for key in unfinished.values_list("key", flat=True)[:3])
        if names:
            text += f", {'waiting for' if run.status == 'WAITING' else 'at'} {names}"
        return text if run.wake_at is None else f"{text}, until {run.wake_at}"
