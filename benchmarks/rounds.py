"""Interleaved rounds: each workload by every contender in turn, always from a fresh start.

A contender at rest still polls, so none runs while another is measured.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workloads import Place, Series, Sizes, Workload

MEASUREMENT_SECONDS = 600
STOP_SECONDS = 30
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who is measured: a module with `create(place)`, run by that interpreter."""

    name: str
    module: str
    python: Path
    place: Place
    workloads: frozenset[str]


@dataclass(kw_only=True)
class Outcome:
    """What one contender showed in one workload, one series for each round."""

    rounds: list[Series] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    version: str = ""
    error: str = ""


class MeasurementFailed(RuntimeError):
    """A measurement ended without a result; the message is its last words."""


Outcomes = dict[str, dict[str, Outcome]]
"""By workload id, then by contender."""


def run_rounds(
    contenders: Sequence[Contender],
    workloads: Sequence[Workload],
    sizes: Sizes,
    *,
    rounds: int,
    before: Callable[[Contender, Workload], None],
    progress: Callable[[str], None],
) -> Outcomes:
    """Measure everything; a contender that fails in a workload sits out its other rounds."""
    outcomes: Outcomes = {
        workload.id: {one.name: Outcome() for one in contenders if workload.id in one.workloads}
        for workload in workloads
    }
    for workload in workloads:
        for number in range(1, rounds + 1):
            for contender in contenders:
                outcome = outcomes[workload.id].get(contender.name)
                if outcome is None or outcome.error:
                    continue
                before(contender, workload)
                _measure_into(outcome, contender, workload, sizes)
                shown = outcome.error or _glance(outcome.rounds[-1], workload.unit)
                progress(f"{workload.id} round {number}/{rounds} {contender.name}: {shown}")
    return outcomes


def _measure_into(outcome: Outcome, contender: Contender, workload: Workload, sizes: Sizes) -> None:
    try:
        result = measure(contender, workload, sizes)
    except MeasurementFailed as error:
        outcome.error = str(error)
        return
    outcome.rounds.append(result["series"])
    outcome.loads.append(result["load"])
    outcome.version = result["version"]


def measure(contender: Contender, workload: Workload, sizes: Sizes) -> dict[str, Any]:
    """One measurement in its own process; MeasurementFailed when it brings no result."""
    work_dir = Path(contender.place.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    out = work_dir / "result.json"
    out.unlink(missing_ok=True)
    log = work_dir / "client.log"
    command = [str(contender.python), "-m", "benchmarks.drive", contender.module, workload.id]
    command += ["--place", json.dumps(asdict(contender.place))]
    command += ["--sizes", json.dumps(asdict(sizes)), "--out", str(out)]
    with log.open("wb") as log_file:
        # A group of its own: Ctrl-C reaches this process only, which then stops the group.
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log_file, stderr=log_file, start_new_session=True
        )
        try:
            code = process.wait(timeout=MEASUREMENT_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _stop_group(process)
    if code != 0 or not out.exists():
        raise MeasurementFailed(_last_words(log, code))
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the client, which stops its workers; SIGKILL to whatever of the group is left."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _last_words(log: Path, code: int | None) -> str:
    """The last line that is not indented: of a traceback, the exception."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    words = next((line for line in reversed(lines) if not line[0].isspace()), "no output")
    how = "took too long" if code is None else f"exit status {code}"
    return f"{how}: {words} (see {log})"


def _glance(series: Series, unit: str) -> str:
    return f"{median(series['']):,.4g} {unit}"
