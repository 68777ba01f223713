"""Scale: 100,000 parked runs, and the engine's statements on a million rows.

`python -m proofs scale [--only parked,claims,lists] [--json FILE]`; 1 when a bound is broken.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proofs import ground

TASKS = "proofs.scale.tasks"
PROOFS = ("parked", "claims", "lists")


@dataclass
class Proof:
    """What one proof found: figures by name, and everything that must not be, in words."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    patience: float = 1.0
    """Every bound of time is multiplied by this: a busy machine's small test proves no speed."""

    def require(self, holds: bool, what: str) -> None:
        """Notes what does not hold."""
        if not holds:
            self.wrong.append(what)

    def as_text(self) -> str:
        """A line per figure."""
        lines = [f"{self.name}:"]
        lines += [f"  {what:<58} {_shown(value)}" for what, value in self.figures.items()]
        return "\n".join([*lines, *(f"  WRONG: {what}" for what in self.wrong)])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which proofs, how large."""
    parser.add_argument("--only", type=_names, default=PROOFS, help=", ".join(PROOFS))
    parser.add_argument("--runs", type=int, default=100_000, metavar="N", help="parked runs")
    parser.add_argument("--complete", type=int, default=10_000, metavar="N", help="of them")
    parser.add_argument("--rows", type=int, default=1_000_000, metavar="N", help="rows of runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := set(names) - set(PROOFS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(PROOFS)}")
    return names


def main(options: argparse.Namespace) -> int:
    """Prove, print, write; 1 when something does not hold."""
    proofs: list[Proof] = []
    # One place for all: Django's settings name one database for the life of a process.
    with ground.made(TASKS) as place:
        from proofs.scale import parked, rows

        if "parked" in options.only:
            proofs.append(parked.prove(place, number=options.runs, complete=options.complete))
            rows.empty()
        if {"claims", "lists"} & set(options.only):
            proofs += _on_many_rows(options)
    for proof in proofs:
        print(proof.as_text())
    document = {proof.name: {**proof.figures, "wrong": proof.wrong} for proof in proofs}
    ground.write(options.json, document)
    return 1 if any(proof.wrong for proof in proofs) else 0


def _on_many_rows(options: argparse.Namespace) -> list[Proof]:
    from proofs.scale import claims, lists, rows

    proofs = []
    ground.say(f"scale: {options.rows:,} rows in final and future states ...")
    rows.fill_with_past_and_future(options.rows)
    if "lists" in options.only:
        proofs.append(lists.prove())
    if "claims" in options.only:
        proofs.append(claims.prove_beside_past_and_future())
        rows.fill_with_queued(options.rows // 10, after=options.rows)
        proofs.append(claims.prove_among_queued())
        rows.empty()
        ground.say(f"scale: {options.rows:,} queued rows ...")
        rows.fill_with_queued(options.rows)
        proofs.append(claims.prove_among_queued())
    return proofs
