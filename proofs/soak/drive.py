"""The soak from its first run to the verdict: triggers, answers, prunes, looks."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from benchmarks.processes import wait_until
from executions import prune, runs, tokens
from executions.errors import FlowMaestroError
from executions.models import Run, WaitToken
from executions.rules.statuses import RunStatus
from proofs.ground import Cluster, say
from proofs.soak import samples
from proofs.soak.growth import Growth, Sample, judge
from proofs.soak.tasks import SHAPES

TICK_SECONDS = 0.25
SAMPLES = 360
"""How often it is looked: every 10 s of an hour."""
MOST_OPEN_SECONDS = 60
"""With more open runs than this many seconds trigger, no more are triggered for a moment."""
KEPT = timedelta(minutes=2)
"""How long a completed run stays: from then on there are always about as many rows."""
REST_SECONDS = 60.0
ANSWERS = 500
A_SECOND = timedelta(seconds=1)
SAID_EVERY = 6


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an hour came to."""

    samples: list[Sample]
    growths: list[Growth]
    triggered: int
    held_back: int
    pruned: int
    unfinished: int
    failed: int

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be, in words."""
        found = [f"{each.name} grows" for each in self.growths if each.is_wrong]
        if self.unfinished:
            found.append(f"{self.unfinished} runs did not finish")
        if self.failed:
            found.append(f"{self.failed} runs ended otherwise than COMPLETED")
        return found

    def as_text(self) -> str:
        """A line per figure: what it did in the second half."""
        head = f"{self.triggered} runs triggered, {self.pruned} pruned, {self.held_back} held back"
        lines = [head, *map(str, self.growths)]
        lines += [f"WRONG: {what}" for what in self.wrong] or ["nothing grows"]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All of it, with every sample."""
        return {
            "wrong": self.wrong,
            "triggered": self.triggered,
            "held_back": self.held_back,
            "pruned": self.pruned,
            "growths": [{**vars(each), "is_too_much": each.is_too_much} for each in self.growths],
            "samples": [{"at": each.at, **each.figures} for each in self.samples],
        }


class Load:
    """Triggers so many runs a second, completes the tokens they wait for, prunes what is done."""

    def __init__(self, rate: float, kept: timedelta) -> None:
        self.triggered = self.held_back = self.pruned = 0
        self.fresh: list[str] = []
        self._rate = rate
        self._kept = kept
        self._shapes = itertools.cycle(SHAPES)
        self._owed = 0.0
        self._began = self._last = time.monotonic()

    def tick(self) -> None:
        """What is due by now."""
        now = time.monotonic()
        self._owed += self._rate * (now - self._last)
        self._last = now
        whole, self._owed = divmod(self._owed, 1)
        if Run.objects.filter(finished_at=None).count() > MOST_OPEN_SECONDS * self._rate:
            self.held_back += int(whole)
        else:
            for _ in range(int(whole)):
                self.trigger()
        self.answer()

    def trigger(self) -> None:
        """One run of the next shape."""
        self.fresh.append(runs.trigger(next(self._shapes), {"text": "z" * 300}).id)
        self.triggered += 1

    def answer(self) -> None:
        """Completes tokens that are a second old."""
        waiting = WaitToken.objects.filter(status="WAITING", created_at__lt=Now() - A_SECOND)
        for token in waiting.values_list("id", flat=True)[:ANSWERS]:
            try:
                tokens.complete(token, {"answer": True})
            except FlowMaestroError:
                continue

    def tidy(self) -> None:
        """Removes completed runs that are old enough; others stay, to be told of."""
        self.pruned += prune.prune({RunStatus.COMPLETED: self._kept}).total

    def take_fresh(self) -> list[str]:
        """The runs triggered since the last time this was asked."""
        fresh, self.fresh = self.fresh, []
        return fresh


def soak(cluster: Cluster, *, seconds: float, rate: float, kept: timedelta = KEPT) -> Result:
    """Loads the cluster for so long, then lets it come to rest, and judges what was seen."""
    load = Load(rate, kept)
    taken: list[Sample] = []
    began = time.monotonic()
    every = seconds / SAMPLES if seconds > SAMPLES else 1.0
    say(f"soak: {seconds:g} s at {rate:g} runs/s, a look every {every:g} s")
    while (now := time.monotonic()) < began + seconds:
        load.tick()
        if now >= began + every * (len(taken) + 1):
            load.tidy()
            taken.append(samples.take(cluster, now - began, load.take_fresh()))
            if len(taken) % SAID_EVERY == 0:
                say(_glance(taken[-1], load))
        time.sleep(max(0.0, now + TICK_SECONDS - time.monotonic()))
    unfinished = _left_after_rest(load)
    return Result(
        samples=taken,
        growths=judge(taken),
        triggered=load.triggered,
        held_back=load.held_back,
        pruned=load.pruned,
        unfinished=unfinished,
        failed=Run.objects.filter(finished_at__isnull=False).exclude(status="COMPLETED").count(),
    )


def _left_after_rest(load: Load) -> int:
    """How many runs are still open, a while after the last one was triggered."""

    def are_done() -> bool:
        load.answer()
        return not Run.objects.filter(finished_at=None).exists()

    try:
        wait_until(are_done, what="the last runs", seconds=REST_SECONDS, every=TICK_SECONDS)
    except TimeoutError:
        return Run.objects.filter(finished_at=None).count()
    return 0


def _glance(sample: Sample, load: Load) -> str:
    figures = sample.figures
    return (
        f"soak: {sample.at:6.0f} s  engine {figures['memory: engine']:.1f} MiB"
        f"  database {figures['memory: database']:.1f} MiB"
        f"  {figures['connections']:.0f} connections"
        f"  claim p95 {figures.get('claim: p95', 0.0):.1f} ms"
        f"  {load.triggered} triggered, {figures['open runs']:.0f} open"
    )
