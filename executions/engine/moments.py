"""Quiet moments: when a run's code only waits, one outcome reaches it, or the run may park.

Outcomes reach the code one at a time, in the order of `seq`. Live and replayed alike, so that code
which decides by who came first decides the same way again.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from executions.engine import replay
from executions.engine.parking import Parking
from executions.engine.quiet import EngineFuture, Mood, mood
from executions.engine.replay import Record
from executions.engine.rows import Batch, StepRow
from executions.engine.waits import Findings, Wait, outcome_of
from executions.rules.statuses import RunStatus, StepStatus
from executions.rules.values import encode

if TYPE_CHECKING:
    from executions.engine.live import LiveRun

logger = logging.getLogger(__name__)

Json = Any

# Passes of the loop without a change before a moment counts as quiet: a gather inside a gather
# takes two to hand its result on.
_CALM = 3
# Outcomes that ride along before even a pure step waits for the journal.
_RIDE_ALONG_LIMIT = 500


@dataclass(slots=True)
class Release:
    """An outcome on its way to the code; `batch` is the flush it waits for, if any."""

    future: EngineFuture | None
    value: Json = None
    error: BaseException | None = None
    batch: Batch | None = None


class Moments:
    """Decides, each time a run's code has come to rest, what happens next."""

    def __init__(self, live: LiveRun, findings: Findings) -> None:
        self.waits: dict[str, Wait] = {}
        self.parking = Parking(live, self.poke)
        self._live = live
        self._findings = findings
        self._taken_signals: set[str] = set()
        self._claim_wakes = live.wakes
        self._must_look = False
        self._seq = live.recorded.last_seq
        self._held: list[EngineFuture] = []
        self._releases: deque[Release] = deque()
        self._poked = False
        self._calm = 0

    # ---- outcomes on their way ------------------------------------------------------------------

    def settle(
        self, row: StepRow, value: Json, error: BaseException | None, *, durable: bool
    ) -> EngineFuture | None:
        """Records an outcome; the future releases it, or None when the code may go on at once."""
        live = self._live
        row.seq = self.next_seq()
        row.run_attempt = live.attempt
        name = "step.failed" if row.status == StepStatus.FAILED else "step.completed"
        batch = live.outbox.put(row, name, row)
        batch.progress = True
        batch.riding += not durable
        alone = not self._releases and len(live.tasks) <= 1 and not live.is_pausing
        if not durable and alone:
            if batch.riding < _RIDE_ALONG_LIMIT:
                return None
            durable = True
        future = live.future()
        self._releases.append(Release(future, value, error, batch if durable else None))
        if not durable:
            self.poke()
        return future

    def note(self, row: StepRow) -> None:
        """Records something that the code learned at once and that no outcome needs to follow."""
        row.seq = self.next_seq()
        row.run_attempt = self._live.attempt
        batch = self._live.outbox.put(row, "step.completed", row)
        batch.riding += 1

    def next_seq(self) -> int:
        """The place of an outcome in the run's order of completion."""
        self._seq += 1
        return self._seq

    def reserve(self, place: Release) -> int:
        """Takes the next place for an outcome still to be committed."""
        self._releases.append(place)
        return self.next_seq()

    def fill(self, place: Release, value: Json) -> None:
        """The reserved outcome is committed: it may be released in its turn."""
        place.value, place.batch = value, None
        self.poke()

    def is_reserved(self, place: Release) -> bool:
        """Whether an outcome still to be committed has its place."""
        return any(release is place for release in self._releases)

    def give_up(self, place: Release) -> None:
        """Nothing came of a reserved place."""
        if place in self._releases:
            self._releases.remove(place)
            self.poke()

    async def replayed(self, record: Record) -> None:
        """Returns when it is the turn of a recorded outcome: at once, where nobody else asks."""
        live = self._live
        alone = len(live.tasks) <= 1 and live.recorded.first_asked_seq() is None
        if alone and not self._releases and replay.CANCEL_KEY not in live.recorded.by_key:
            return
        future = live.future()
        live.recorded.ask(record, future)
        self.poke()
        await future

    async def frontier(self) -> None:
        """Returns when the replay is over and nobody asked for a pause or a cancellation.

        No new body starts before; a cancelled run goes on here with its clean-up.
        """
        live = self._live
        if live.replaying or live.is_pausing or (live.must_stop and not live.cancel_delivered):
            future = self._live.future()
            self._held.append(future)
            self.poke()
            await future

    def wait(self, wait: Wait) -> EngineFuture:
        """Registers a wait; its future gives the outcome."""
        live = self._live
        self.waits[wait.key] = wait
        self.parking.is_told = False
        wait.future.add_done_callback(lambda _: self.waits.pop(wait.key, None))
        # What it waits for may have come before the wait began: while the run waited for something
        # else, or with a wake that was taken note of already.
        if wait.kind not in ("sleep", "retry"):
            is_late = wait.is_new and live.row["flush_no"] > 0
            # A look-up under way may miss it, and brings `wakes` up to date all the same.
            self._must_look |= is_late or live.wakes != self._claim_wakes or live.reloading
        self.poke()
        return wait.future

    def found(self, findings: Findings, wakes: int) -> None:
        """Takes what the rows say about the waits, read after `wakes`."""
        self._findings.tokens.update(findings.tokens)
        self._findings.children.update(findings.children)
        # A signal taken by a row that is still on its way looks unconsumed.
        # One made before a wait for signals began tells nothing of them, so none is forgotten.
        known = {signal[0] for signal in self._findings.signals} | self._taken_signals
        self._findings.signals += [s for s in findings.signals if s[0] not in known]
        self._findings.signals.sort(key=lambda signal: signal[0])
        self._live.wakes = max(self._live.wakes, wakes)
        self.parking.is_under_way = False
        self.poke()

    def flushed(self, batch: Batch) -> None:
        """A batch is durable: what waited for it may be released."""
        for release in self._releases:
            if release.batch is batch:
                release.batch = None
        live = self._live
        if len(live.tasks) == 1 and not live.replaying and not live.is_pausing:
            self._release_ready()
        else:
            self.poke()

    def stop(self) -> None:
        """No more moments."""
        self.parking.stop()

    # ---- quiet moments --------------------------------------------------------------------------

    def poke(self) -> None:
        """Something changed: look, in the next pass of the loop, what the run can do."""
        self._calm = 0
        self._live.go_on()
        self._look_soon()

    def _look_soon(self) -> None:
        live = self._live
        if not self._poked and not live.dead:
            self._poked = True
            live.loop.call_soon(self._look, context=live.host.context)

    def _look(self) -> None:
        self._poked = False
        live = self._live
        if live.is_leaving or (live.main is not None and live.main.done()):
            return
        state = mood(live.tasks, live.bodies, live.tasks)
        if live.thread_busy:
            state = min(state, Mood.FOREIGN)
        if state is Mood.READY:
            self.poke()
        elif self._calm < _CALM and len(live.tasks) > 1:
            self._calm += 1
            self._look_soon()
        else:
            self._act(state)

    def _act(self, state: Mood) -> None:
        """One thing in a quiet moment: release, end the replay, observe a wait, or park."""
        live = self._live
        if live.is_pausing:
            self.parking.pause(state)
            return
        if self._release_ready():
            return
        if live.replaying:
            self._replay_next(state)
        elif live.must_stop and not live.cancel_delivered:
            # Before what a pause held goes on: it begins no new step but its clean-up.
            self._deliver_cancel()
        elif self._held:
            # What a pause held that was taken back before it came about.
            if not self._releases:
                self._let_held_go()
                self.poke()
        elif not (self._release_asked() or self._observe_one()):
            self._park_or_wait(state)

    def _release_ready(self) -> bool:
        """Hands the next outcome to the code if it is durable."""
        if not self._releases or self._releases[0].batch is not None or self._live.is_pausing:
            return False
        release = self._releases.popleft()
        self._live.go_on()
        if release.future is None:
            self._live.host.cancel_code(self._live)
            self._let_held_go()
        elif not release.future.done():
            if release.error is not None:
                release.future.set_exception(release.error)
            else:
                release.future.set_result(release.value)
        if self._releases or len(self._live.tasks) > 1:
            self.poke()
        return True

    def _replay_next(self, state: Mood) -> None:
        live = self._live
        recorded = live.recorded
        cancel = recorded.by_key.get(replay.CANCEL_KEY)
        if cancel is not None and not live.cancel_delivered:
            first = recorded.first_asked_seq()
            if first is None or (cancel.seq or 0) < first:
                live.cancel_delivered = True
                live.limit_clean_up(RunStatus.CANCELED)
                live.host.cancel_code(live)
                self.poke()
                return
        if not self._release_asked() and state is not Mood.FOREIGN:
            self._end_replay()

    def _release_asked(self) -> bool:
        """Releases the recorded outcome whose turn it is.

        Also past the replay: what an earlier attempt of the run stored is asked for at any time.
        """
        asked = self._live.recorded.next_asked()
        if asked is None:
            return False
        record, future = asked
        future.set_result(record)
        self.poke()
        return True

    def _end_replay(self) -> None:
        live = self._live
        missing = live.recorded.never_asked()
        if missing:
            new = [key for key in live.asked if key not in live.recorded.by_key]
            live.needs_attention(replay.never_asked_message(live.id, missing, new))
            return
        live.replaying = False
        if live.must_stop and not live.cancel_delivered:
            # Before what is held goes on: a cancelled run begins no new step but its clean-up.
            self._deliver_cancel()
            return
        self._let_held_go()
        self.poke()

    def _let_held_go(self) -> None:
        held, self._held = self._held, []
        for future in held:
            if not future.done():
                future.set_result(None)

    def _deliver_cancel(self) -> None:
        live = self._live
        live.cancel_delivered = True
        row = StepRow(replay.CANCEL_KEY, "cancel", StepStatus.COMPLETED, output="null")
        row.seq = self.next_seq()
        row.run_attempt = live.attempt
        batch = live.outbox.put(row, "run.cancel_requested", "{}")
        self._releases.append(Release(None, batch=batch))
        live.limit_clean_up(RunStatus.CANCELED)

    def _observe_one(self) -> bool:
        """Records the first wait that has an outcome, and lets the code see it."""
        now = self._live.host.clock.now()
        for wait in list(self.waits.values()):
            if wait.future.done():
                continue
            outcome = outcome_of(wait, self._findings, now=now)
            if outcome is None:
                continue
            self.waits.pop(wait.key, None)
            if wait.kind == "retry":
                wait.future.set_result(None)
                self.poke()
            else:
                self._record_outcome(wait, outcome.value, outcome.signal)
            return True
        return False

    def _record_outcome(self, wait: Wait, value: Json, signal: str | None) -> None:
        row = StepRow(
            wait.key, wait.step_kind, StepStatus.COMPLETED, output=encode(value, field=wait.key)
        )
        if signal is not None:
            self._taken_signals.add(signal)
            self._live.outbox.batch.extra().signals.append((signal, wait.key))
        if self.settle(row, value, None, durable=False) is None:
            wait.future.set_result(value)
        else:
            # The release hands the value to the wait's own future.
            self._releases[-1].future = wait.future

    def _park_or_wait(self, state: Mood) -> None:
        if self._must_look and self.waits:
            self._must_look = False
            self._live.host.lookups.soon(self._live)
        else:
            self.parking.try_to_park(state, self.waits.values(), has_news=bool(self._releases))
