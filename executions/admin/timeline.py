"""A run's steps as bars to scale. Plain Python: rows and times in, places and words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from executions.rules.statuses import StepStatus
from executions.templatetags.run_format import lasting

# Steps that last because something else has to happen.
WAITS = frozenset({"wait", "sleep", "signal", "children"})
# Wide enough to be seen, in percent of the whole.
LEAST_WIDTH = 0.4
_TICKS = 5
_HOW_LONG = [
    timedelta(milliseconds=n) for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)
] + [
    timedelta(seconds=n)
    for n in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800,
              43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000)
]  # fmt: skip


class StepLike(Protocol):
    """What is read of a step."""

    key: str
    kind: str
    status: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of a lane: where, and as what it is drawn."""

    x: str
    width: str
    look: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One step with its bars, and the same in words."""

    key: str
    kind: str
    words: str
    look: str
    bars: tuple[Bar, ...]

    @property
    def drawn(self) -> list[Bar]:
        """The bars, the short ones over the long: a failure of a moment is not hidden."""
        return sorted(self.bars, key=lambda bar: float(bar.width[:-1]), reverse=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of the scale."""

    x: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All lanes on one scale."""

    begins: datetime
    lasts: str
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]


Attempts = Mapping[str, Sequence[tuple[str, datetime]]]


def timeline(
    steps: Sequence[StepLike], attempts: Attempts, *, begins: datetime, ends: datetime
) -> Timeline:
    """The steps between two times.

    `attempts`: by key, the events of steps that were retried, in order: ("started" or "failed",
    when). A step that ended before `begins` was taken over from another run.
    """
    ends = max([ends, begins + timedelta(milliseconds=1)])
    scale = _Scale(begins, ends)
    lanes = tuple(_lane(step, attempts.get(step.key, ()), scale) for step in steps)
    return Timeline(
        begins=begins, lasts=lasting(begins, ends), lanes=lanes, ticks=tuple(scale.ticks())
    )


class _Scale:
    def __init__(self, begins: datetime, ends: datetime) -> None:
        self.begins, self.ends = begins, ends
        self.length = ends - begins

    def percent(self, at: datetime) -> float:
        share = (min(max(at, self.begins), self.ends) - self.begins) / self.length
        return 100 * share

    def bar(self, start: datetime, end: datetime, look: str) -> Bar:
        left, right = self.percent(start), self.percent(end)
        width = max(right - left, LEAST_WIDTH)
        left = min(left, 100 - width)
        words = f"{look}, {lasting(start, end)}"
        return Bar(x=f"{left:.3f}%", width=f"{width:.3f}%", look=look, words=words)

    def ticks(self) -> Iterable[Tick]:
        fitting = (step for step in _HOW_LONG if self.length / step <= _TICKS)
        step = next(fitting, self.length / _TICKS)
        number = 0
        while number * step < self.length:
            words = lasting(self.begins, self.begins + number * step) if number else "0"
            yield Tick(x=f"{100 * (number * step / self.length):.3f}%", words=_short(words))
            number += 1


def _short(words: str) -> str:
    """Without what adds nothing: `5 s` and `1 h`."""
    return words.replace(".0 s", " s").replace(" 0 min", "").replace(" 0 s", "").replace(" 0 h", "")


def _lane(step: StepLike, events: Sequence[tuple[str, datetime]], scale: _Scale) -> Lane:
    end = step.finished_at or scale.ends
    look = _look(step)
    is_copy = step.finished_at is not None and step.finished_at < scale.begins
    if is_copy:
        bars = (scale.bar(scale.begins, scale.begins, "copied"),)
        words = f"{_status(step)}, copied from the run this is a fork of"
        return Lane(key=step.key, kind=step.kind, words=words, look="copied", bars=bars)
    parts = _parts(step, events, end, look)
    words = f"{_status(step)}, {lasting(step.started_at, end)}"
    if step.attempt > 1:
        words += f", attempt {step.attempt}"
    return Lane(
        key=step.key,
        kind=step.kind,
        words=words,
        look=look,
        bars=tuple(scale.bar(*part) for part in parts if part[0] <= part[1]),
    )


def _parts(
    step: StepLike, events: Sequence[tuple[str, datetime]], end: datetime, last: str
) -> list[tuple[datetime, datetime, str]]:
    """Attempts and the pauses between them. An attempt that followed at once has no start."""
    parts: list[tuple[datetime, datetime, str]] = []
    since, is_pause = step.started_at, False
    for what, at in events:
        if not step.started_at <= at <= end:
            continue
        if what == "failed":
            parts.append((since, at, "failed attempt"))
            since, is_pause = at, True
        elif is_pause:
            parts.append((since, at, "back-off"))
            since, is_pause = at, False
    is_open_pause = is_pause and step.status == StepStatus.RETRYING
    parts.append((since, end, "back-off" if is_open_pause else last))
    return parts


def _look(step: StepLike) -> str:
    if step.status == StepStatus.FAILED:
        return "failed"
    if step.kind in WAITS or step.status == StepStatus.WAITING:
        return "waiting" if step.finished_at is None else "waited"
    if step.status == StepStatus.RETRYING:
        return "back-off"
    return "completed" if step.finished_at is not None else "running"


def _status(step: StepLike) -> str:
    words = {"STARTED": "running", "RETRYING": "waits for its next attempt"}
    return words.get(step.status, step.status.lower())
