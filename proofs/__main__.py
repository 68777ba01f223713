"""The command line: `python -m proofs chaos|soak|scale [options]`; `--help` says which.

The exit status is 1 when something is wrong; of chaos, the seed that repeats it is printed.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from pathlib import Path
from types import FrameType

from proofs import scale, soak


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The options; argparse's errors name what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m proofs", description="Proofs of what FlowMaestro promises."
    )
    proofs = parser.add_subparsers(dest="proof", required=True)
    chaos = proofs.add_parser("chaos", help="runs of every shape while everything is killed")
    chaos.add_argument("--runs", type=_count, default=2000, metavar="N", help="2000 by default")
    chaos.add_argument("--seed", type=int, help="repeats the faults and shapes of an earlier run")
    chaos.add_argument(
        "--seconds", type=_seconds, default=120.0, help="how long faults last; 120 by default"
    )
    chaos.add_argument(
        "--every", type=_seconds, default=1.0, help="seconds between two kills; 1 by default"
    )
    chaos.add_argument("--keep", action="store_true", help="keep its directory with the logs")
    chaos.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    soak.add_arguments(proofs.add_parser("soak", help="whether anything grows in an hour"))
    scale.add_arguments(proofs.add_parser("scale", help="100,000 parked runs, a million rows"))
    options = parser.parse_args(arguments)
    if options.json and not options.json.parent.is_dir():
        parser.error(f"argument --json: there is no directory {options.json.parent}")
    if options.proof == "chaos" and options.seed is None:
        options.seed = secrets.randbelow(1_000_000)
    return options


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.05 <= value <= 86_400:
        raise argparse.ArgumentTypeError("it must lie between 0.05 and 86400")
    return value


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    """End by the ordinary way, so that everything started is stopped."""
    sys.exit(128 + number)


def main() -> int:
    """Proves what was asked for; 1 when something is wrong."""
    options = parse_options(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_on_signal)
    if options.proof in (others := {"soak": soak.main, "scale": scale.main}):
        return others[options.proof](options)
    # Here, since settings read the environment of the place when they are imported.
    from proofs.chaos import place

    with place.made(options.seed) as scene:
        from proofs.chaos import drive

        scene.keep = options.keep
        return drive.prove(scene, options)


if __name__ == "__main__":
    sys.exit(main())
