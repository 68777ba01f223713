"""What a chaos run came to, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from proofs.chaos import verdict
from proofs.chaos.verdict import Fault


@dataclass(kw_only=True)
class Report:
    """The figures, and what is wrong."""

    seed: int
    requested: int
    poison: int
    """How many of them kill their workers."""
    runs: dict[str, dict[str, int]]
    """By task and status, children included."""
    kills: dict[str, int]
    restarts: int
    cuts: int
    steps: int
    """Steps that were committed."""
    bodies: int
    again: int
    """Attempts that ran twice, because their worker died before the commit."""
    repeated: int
    gaps: int
    fault_seconds: float
    settled_seconds: float
    """From the last fault to the last final run."""
    doctor: str
    wrong: list[Fault] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {**asdict(self), "ok": not self.wrong}

    def as_text(self) -> str:
        """The report to read."""
        total = sum(sum(ends.values()) for ends in self.runs.values())
        lines = [
            f"seed {self.seed}",
            f"runs          {total}, of which {self.requested} requested",
        ]
        for task, ends in sorted(self.runs.items()):
            told = ", ".join(f"{count} {status}" for status, count in sorted(ends.items()))
            lines.append(f"  {task:<16}{told}")
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kills.items()))
        lines += [
            f"kills         {sum(self.kills.values())} in {self.fault_seconds:.0f} s: {kinds}",
            f"database      {self.restarts} restarts, {self.cuts} connections cut",
            f"steps         {self.steps} committed; {self.bodies} bodies ran, {self.again} of "
            "them again since their worker died before the commit",
            f"repeated      {self.repeated} committed steps",
            f"event gaps    {self.gaps}",
            f"settled       {self.settled_seconds:.1f} s after the last fault",
            f"doctor        {self.doctor}",
        ]
        for fault in self.wrong:
            lines.append(f"WRONG: {fault.count} {fault.what}")
            lines += [f"  {run} {detail}" for run, detail in fault.examples]
        if self.wrong:
            lines.append(f"Again with: python -m proofs chaos --seed {self.seed}")
        else:
            lines.append("All of it holds.")
        return "\n".join(lines)

    def wrong_runs(self) -> str:
        """Every run that something is wrong with, with its steps."""
        runs = dict.fromkeys(run for fault in self.wrong for run, _ in fault.examples if run)
        return "\n".join(line for run in runs for line in verdict.steps_of(run))
