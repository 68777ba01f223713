"""How long claims and ticks take beside a million rows, and by which indexes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from django.db import connection

from benchmarks.stats import percentile
from executions import runs
from executions.engine import connections, load, sql, takeover
from executions.models import Run
from proofs.scale import Proof, plans
from proofs.scale.tasks import probe

WORKER = "worker_of_the_scale_proof"
CLAIMS = {1: 300, 100: 100}
"""By the runs asked for: how many claims are timed."""
BOUND_MS = {1: 20.0, 100: 60.0}
"""What a claim of so many may take, p95."""
MOST_TOUCHED = 2000
"""Rows that a claim of a hundred may read: what was claimed a moment ago lies in its way."""
TICKS = 30
BATCH = 1000


def prove_beside_past_and_future(
    sizes: Mapping[int, int] = CLAIMS, *, patience: float = 1.0
) -> Proof:
    """Claims of fresh runs, and of none, among rows that are final or not yet due."""
    name = f"claims beside {Run.objects.count():,} final and future runs"
    proof = Proof(name, patience=patience)
    for size, number in sizes.items():
        _trigger(size * number)
        _time_claims(proof, size, number, expected=size)
    _time_claims(proof, 100, TICKS, expected=0)
    _time_ticks(proof)
    _require_indexes(proof)
    return proof


def prove_among_queued(sizes: Mapping[int, int] = CLAIMS, *, patience: float = 1.0) -> Proof:
    """Claims from a long queue, alone or beside rows that are final or not yet due."""
    queued = Run.objects.filter(status="QUEUED").count()
    others = Run.objects.count() - queued
    beside = f" beside {others:,} others" if others else ""
    proof = Proof(f"claims among {queued:,} queued runs{beside}", patience=patience)
    for size, number in sizes.items():
        _time_claims(proof, size, number, expected=size)
    _time_ticks(proof)
    _require_indexes(proof)
    return proof


def _trigger(number: int) -> None:
    for first in range(0, number, BATCH):
        runs.batch_trigger(probe, [{"number": 1}] * min(BATCH, number - first))


def _time_claims(proof: Proof, size: int, number: int, *, expected: int) -> None:
    spent = asyncio.run(_claim(size, number, expected))
    what = f"claim of {size}" if expected else f"claim of {size} that finds none"
    _note(proof, what, spent)
    p95 = percentile(spent, 95)
    proof.require(p95 < proof.patience * BOUND_MS[size], f"a {what} takes {p95:.1f} ms (p95)")


async def _claim(size: int, number: int, expected: int) -> list[float]:
    """Milliseconds of each of so many claims, on a connection like an executor's."""
    link = await connections.connect("scale proof", durable=False)
    spent = []
    async with link:
        # The first calls plan the statements.
        await load.claim(link, WORKER, runs=0, suspects=0)
        for _ in range(number):
            started = time.perf_counter()
            claimed = await load.claim(link, WORKER, runs=size, suspects=1)
            spent.append(1000 * (time.perf_counter() - started))
            if len(claimed.rows) != expected:
                raise RuntimeError(f"A claim of {size} gave {len(claimed.rows)} runs.")
    return spent


def _time_ticks(proof: Proof) -> None:
    """What every worker asks for each second: whatever has become due, and the next timer."""
    _note(proof, "tick with nothing due", _timed(_tick, TICKS))


def _tick() -> None:
    with connection.cursor() as cursor:
        takeover.tick(cursor)


def _timed(action: Callable[[], object], number: int) -> list[float]:
    spent = []
    for _ in range(number):
        started = time.perf_counter()
        action()
        spent.append(1000 * (time.perf_counter() - started))
    return spent


def _note(proof: Proof, what: str, spent: list[float]) -> None:
    for percent in (50, 95):
        proof.figures[f"{what}, p{percent} ms"] = percentile(spent, percent)
    proof.figures[f"{what}, longest ms"] = max(spent)


def _require_indexes(proof: Proof) -> None:
    explained = claim_plan()
    proof.figures["claim of 100 by the indexes"] = ", ".join(plans.indexes(explained))
    proof.figures["claim of 100 touches rows"] = plans.touched(explained)
    proof.require("executions_run" not in plans.scanned(explained), "a claim scans all runs")
    proof.require("run_due" in plans.indexes(explained), "a claim does not use run_due")
    few = plans.touched(explained) <= MOST_TOUCHED
    proof.require(few, f"a claim of 100 reads {plans.touched(explained):,} rows")


def claim_plan() -> dict[str, object]:
    """The plan of a claim of a hundred runs, carried out and rolled back."""
    values = f"100, 1, 100, gen_random_uuid(), '{WORKER}'"
    return plans.generic_plan(sql.CLAIM, "bigint, bigint, bigint, uuid, text", values)
