"""HTTP: how many requests a second an engine's door takes, and how long each of them waits."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from benchmarks.http_load import Figures, Load

if TYPE_CHECKING:
    from benchmarks.workloads import Series, Sizes

CLIENTS = (1, 8, 32)
"""How many clients send at once, each its next request when it has its answer."""
FIGURE = "trigger, 8 clients"
LOAD_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where requests go: one that starts a run, and some that read one which has ended."""

    port: int
    trigger: str
    retrieve: list[str]


class Servable(Protocol):
    """What HTTP needs."""

    def open_door(self) -> Door:
        """Start the web server beside the workers, if they have none; some runs have ended."""


def measure_http(engine: Servable, sizes: Sizes) -> Series:
    """HTTP: requests per second and their waiting times in ms, of triggers and of reads."""
    door = engine.open_door()
    series: Series = {}
    for kind, requests in (("trigger", [door.trigger]), ("retrieve", door.retrieve)):
        for clients in CLIENTS:
            row = f"{kind}, {clients} client{'s' if clients > 1 else ''}"
            found = _under(
                Load(
                    port=door.port,
                    requests=requests,
                    clients=clients,
                    seconds=sizes.load_seconds,
                )
            )
            series[row] = [found.per_second]
            series[f"{row}: median"] = [found.median]
            series[f"{row}: p99"] = [found.p99]
    return {"": series[FIGURE], **{row: series[row] for row in series if row != FIGURE}}


def units() -> dict[str, str]:
    """The rows that are no requests per second."""
    return {
        f"{kind}, {clients} client{'s' if clients > 1 else ''}: {part}": "ms"
        for kind in ("trigger", "retrieve")
        for clients in CLIENTS
        for part in ("median", "p99")
    }


def _under(load: Load) -> Figures:
    """What comes of a load, made in another process so that it shares no interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        timeout=LOAD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"The load failed: {done.stderr.strip().splitlines()[-1:]}")
    figures = Figures(**json.loads(done.stdout))
    if figures.first_error:
        raise RuntimeError(f"A request failed: {figures.first_error[:500]}")
    return figures
