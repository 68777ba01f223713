"""The command line: `python -m benchmarks [--only W2,W4] [--json FILE] [--peers dbos,restate]`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks import machine, report
from benchmarks.installs import PeerAbsent, install
from benchmarks.postgres import Postgres, running
from benchmarks.rounds import Contender, run_rounds
from benchmarks.workloads import FULL, QUICK, WORKLOADS, Place, Workload

PEERS = {
    "dbos": "benchmarks.peers.dbos_engine",
    "restate": "benchmarks.peers.restate_engine",
}
WORK_DIR_VARIABLE = "FLOWMAESTRO_BENCH_DIR"


def _names(known: set[str], *, upper: bool = False) -> Callable[[str], list[str]]:
    """A parser of comma lists whose items are all known."""

    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        names = [name.upper() if upper else name.lower() for name in names]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)}: choose from {', '.join(sorted(known))}"
            )
        return names

    return parse


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The options; argparse's errors name what is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="FlowMaestro's speed beside its peers."
    )
    parser.add_argument(
        "--only", type=_names(set(WORKLOADS), upper=True), default=[], help="workloads: W2,scaling"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument(
        "--peers", type=_names(set(PEERS)), default=list(PEERS), help="'' measures ours alone"
    )
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="N")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it works, not how fast"
    )
    options = parser.parse_args(arguments)
    if options.json and not options.json.parent.is_dir():
        parser.error(f"argument --json: there is no directory {options.json.parent}")
    return options


def _work_dir() -> Path:
    """The bench's directory, made if need be, ignored by git."""
    directory = Path(os.environ.get(WORK_DIR_VARIABLE) or ".flowmaestro-bench").resolve()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n")
    return directory


def _place(name: str, work_dir: Path, postgres: Postgres, server_binary: str = "") -> Place:
    return Place(
        dsn=postgres.recreate(_database(name)),
        work_dir=str(work_dir / name),
        server_binary=server_binary,
    )


def _gather(
    peers: list[str], work_dir: Path, postgres: Postgres
) -> tuple[list[Contender], dict[str, str]]:
    """Everybody who can be measured here, and why the others cannot."""
    everything = frozenset(WORKLOADS)
    # More workers than two is a question to ours alone, and no peer runs definitions.
    for_peers = everything - {"SCALING", "WF200", "LOOP10K"}
    # A library has no door of its own.
    without_a_door = for_peers - {"HTTP"}
    python = Path(sys.executable)
    contenders = [
        Contender(
            name=name,
            module=module,
            python=python,
            place=_place(name, work_dir, postgres),
            workloads=workloads,
        )
        for name, module, workloads in (
            ("floor", "benchmarks.floor", frozenset({"W1"})),
            ("flowmaestro", "benchmarks.flowmaestro_engine", everything),
        )
    ]
    absent = {}
    for peer in peers:
        try:
            installed = install(peer, work_dir)
        except PeerAbsent as error:
            absent[peer] = str(error)
            continue
        contenders.append(
            Contender(
                name=peer,
                module=PEERS[peer],
                python=installed.python,
                place=_place(peer, work_dir, postgres, installed.server_binary),
                workloads=without_a_door if peer == "dbos" else for_peers,
            )
        )
    return contenders, absent


def _preparation(postgres: Postgres) -> Callable[[Contender, Workload], None]:
    """What comes before each measurement: an empty database where one is due, and a checkpoint."""
    filled: set[str] = set()

    def prepare(contender: Contender, workload: Workload) -> None:
        if workload.fills or contender.name in filled:
            postgres.recreate(_database(contender.name))
            filled.discard(contender.name)
        if workload.fills:
            filled.add(contender.name)
        postgres.checkpoint()

    return prepare


def _database(name: str) -> str:
    return f"bench_{name}"


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    """End by the ordinary way, so that everything started is stopped."""
    sys.exit(128 + number)


def main() -> int:
    """Measure, print, write; 1 when a measurement of FlowMaestro failed."""
    options = parse_options(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_on_signal)
    workloads = [WORKLOADS[name] for name in WORKLOADS if name in (options.only or WORKLOADS)]
    sizes = QUICK if options.quick else FULL
    work_dir = _work_dir()
    with running(work_dir) as postgres:
        machine.require_durability(postgres)
        contenders, absent = _gather(options.peers, work_dir, postgres)
        facts = machine.facts(postgres, work_dir)
        outcomes = run_rounds(
            contenders,
            workloads,
            sizes,
            rounds=options.rounds,
            before=_preparation(postgres),
            progress=_progress,
        )
    print(report.to_text(outcomes, workloads, sizes, facts, absent))
    if options.json:
        document = report.to_json(outcomes, workloads, facts, absent)
        options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    failed = any(row["flowmaestro"].error for row in outcomes.values())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
