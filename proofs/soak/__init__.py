"""The soak: a steady mixed load for an hour, and whether memory, connections or tables grew.

`python -m proofs soak [--minutes 60] [--rate 20] [--json FILE]`; 1 when something grew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from proofs import ground

WORKERS = 2
TASKS = "proofs.soak.tasks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How long, how much."""
    parser.add_argument("--minutes", type=_positive, default=60.0, help="60 by default")
    parser.add_argument(
        "--rate", type=_positive, default=20.0, metavar="N", help="runs per second; 20 by default"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError("it must lie between 0 and 10000")
    return value


def main(options: argparse.Namespace) -> int:
    """Soak, print, write; 1 when something grew or was left undone."""
    with ground.made(TASKS) as place:
        from proofs.soak import drive

        with place.cluster(workers=WORKERS, tasks=TASKS) as cluster:
            result = drive.soak(cluster, seconds=60 * options.minutes, rate=options.rate)
    print(result.as_text())
    ground.write(options.json, result.as_json())
    return 1 if result.wrong else 0
