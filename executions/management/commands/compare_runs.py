"""manage.py compare_runs A B: two runs side by side."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from executions.console import ServiceCommand
from executions.inspection import comparison
from executions.inspection.comparison import Comparison, Pair, RunFacts, StepFacts
from executions.rules.values import Json

_SHOWN = 60


class Command(ServiceCommand):
    """Lays two runs side by side and says where they part."""

    help = "Lay two runs side by side: path, inputs, outputs, time, usage, attempts and version."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which two."""
        super().add_arguments(parser)
        parser.add_argument("a", metavar="A", help="the id of a run")
        parser.add_argument("b", metavar="B", help="the id of another")

    def work(self, options: dict[str, Any]) -> bool:
        """Shows what was found; that runs differ is no failure."""
        found = comparison.compare(options["a"], options["b"])
        self.document(lambda: {"same": found.is_same, **asdict(found)})
        self._show_runs(found)
        self.say("")
        for place, pair in enumerate(found.pairs):
            self._show(pair, is_first=place == found.first_difference)
        self.say("The runs are the same." if found.is_same else _parting(found))
        return True

    def _show_runs(self, found: Comparison) -> None:
        self.say(f"{'':<12} {'A':<32} {'B':<32}")
        rows = [(name, getattr(found.a, name), getattr(found.b, name)) for name in (
            "id", "task", "version", "status", "attempt", "generation",
        )]  # fmt: skip
        rows += [("steps", len(found.a.steps), len(found.b.steps))]
        rows += [("time", _time(found.a.seconds), _time(found.b.seconds))]
        for name in sorted({*found.a.usage, *found.b.usage}):
            rows.append((name, found.a.usage.get(name, 0), found.b.usage.get(name, 0)))
        for name, one, other in rows:
            mark = "" if one == other or name in ("id", "time") else "  differs"
            self.say(f"{name:<12} {_text(one):<32} {_text(other):<32}{mark}")
        for name in ("payload", "output", "error"):
            if name in found.differs_in:
                self.say(f"{name} differs: {_short(found.a, name)} | {_short(found.b, name)}")

    def _show(self, pair: Pair, *, is_first: bool) -> None:
        mark = ">" if is_first else " "
        one, other = _step(pair.a), _step(pair.b)
        what = f"  {', '.join(pair.differs_in)}" if pair.differs_in else ""
        self.say(f"{mark} {pair.key:<28} {one:<28} {other:<28}{what}")


def _parting(found: Comparison) -> str:
    if found.first_difference is None:
        return "The runs took the same path; their values differ."
    place = found.first_difference
    one, other = (
        f'"{run.steps[place].key}"' if place < len(run.steps) else "nothing more"
        for run in (found.a, found.b)
    )
    return f"The paths part at step {place + 1}: {one} | {other}."


def _step(step: StepFacts | None) -> str:
    if step is None:
        return "-"
    tries = f" x{step.attempt}" if step.attempt > 1 else ""
    return f"{step.status.lower()}{tries} {_time(step.seconds)}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"


def _text(value: Json) -> str:
    return "-" if value is None else str(value)


def _short(run: RunFacts, name: str) -> str:
    text = json.dumps(getattr(run, name), ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
