"""100,000 runs parked on tokens: what they take, whether claims slow down, whether all go on."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import connection
from django.db.models import Count

from benchmarks import usage
from benchmarks.processes import wait_until
from benchmarks.stats import percentile
from executions import runs, tokens
from executions.models import Run, WaitToken
from proofs.ground import Cluster, Place, say
from proofs.scale import TASKS, Proof
from proofs.scale.tasks import probe, waiter

WORKERS = 2
BATCH = 1000
WARM_UP = 2000
PROBES = 200
PATIENCE_SECONDS = 600
ENGINE_MIB = 48.0
"""What the engine's processes may gain, whatever the number of runs that wait."""
SLOWER, SLOWER_MS = 2.0, 10.0
"""Claims may take this much longer: a factor, and what a busy machine adds."""


def prove(place: Place, *, number: int, complete: int, patience: float = 1.0) -> Proof:
    """Parks so many runs, then completes some of them."""
    proof = Proof(f"{number:,} parked runs", patience=patience)
    probes = min(PROBES, max(20, number // 20))
    with place.cluster(workers=WORKERS, tasks=TASKS) as cluster:
        # The first runs of a process bring in code and connections that stay.
        _complete(_park(min(WARM_UP, number)))
        before = _claim_latency(probes)
        _note_memory(proof, cluster, "before")
        started = time.monotonic()
        parked = _park(number)
        proof.figures["parked in, s"] = time.monotonic() - started
        _note_memory(proof, cluster, "parked")
        after = _claim_latency(probes)
        _judge_claims(proof, before, after)
        started = time.monotonic()
        completed = _complete(parked[:complete])
        proof.figures[f"{complete:,} completed in, s"] = time.monotonic() - started
        _note_memory(proof, cluster, "after completions")
    proof.require(completed == complete, f"{complete - completed} of {complete} did not finish")
    left = Run.objects.filter(status="WAITING").count()
    proof.require(left == number - complete, f"{left} wait still, not {number - complete}")
    gained = proof.figures["engine parked, MiB"] - proof.figures["engine before, MiB"]
    proof.figures["engine gained, MiB"] = gained
    proof.require(gained <= ENGINE_MIB, f"the engine's memory grew by {gained:.0f} MiB")
    return proof


def _park(number: int) -> list[str]:
    """So many more waiting runs, once they all wait."""
    waiting = Run.objects.filter(task=waiter.id, status="WAITING")
    already = waiting.count()
    ids = []
    for first in range(0, number, BATCH):
        payloads = [{"number": first}] * min(BATCH, number - first)
        ids += [handle.id for handle in runs.batch_trigger(waiter, payloads)]
    say(f"scale: {number:,} runs triggered")
    wait_until(
        lambda: waiting.count() >= already + number,
        what="the parked runs",
        seconds=PATIENCE_SECONDS,
        every=0.25,
    )
    return ids


def _complete(ids: Sequence[str]) -> int:
    """Completes the tokens of these runs; how many of them have completed then."""
    found = WaitToken.objects.filter(run_id__in=ids).values_list("id", flat=True)
    for token in found:
        tokens.complete(token, {"answer": 42})
    mine = Run.objects.filter(id__in=ids)
    wait_until(
        lambda: not mine.filter(finished_at=None).exists(),
        what="the completed runs",
        seconds=PATIENCE_SECONDS,
        every=0.25,
    )
    outcomes = mine.values_list("status").annotate(number=Count("id"))
    return dict(outcomes.values_list("status", "number")).get("COMPLETED", 0)


def _claim_latency(probes: int) -> list[float]:
    """Milliseconds from a trigger to the claim of fresh runs, one at a time."""
    spent = []
    for _ in range(probes):
        handle = runs.trigger(probe, {})
        handle.result(timeout=60)
        run = handle.retrieve()
        assert run.started_at is not None
        spent.append(1000 * (run.started_at - run.created_at).total_seconds())
    return spent


def _judge_claims(proof: Proof, before: list[float], after: list[float]) -> None:
    for when, spent in (("before", before), ("parked", after)):
        for percent in (50, 95):
            proof.figures[f"claim p{percent} {when}, ms"] = percentile(spent, percent)
    bound = proof.patience * (SLOWER * percentile(before, 95) + SLOWER_MS)
    now = percentile(after, 95)
    proof.require(now <= bound, f"claims take {now:.1f} ms (p95), more than {bound:.1f}")


def _note_memory(proof: Proof, cluster: Cluster, when: str) -> None:
    """MiB of the engine shared fairly; of the database what is no shared buffer."""
    cluster.check()
    proof.figures[f"engine {when}, MiB"] = usage.memory(cluster.engine()).shared_fairly
    proof.figures[f"database {when}, MiB"] = usage.memory(cluster.database()).private
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        proof.figures[f"rows {when}, MiB"] = cursor.fetchone()[0] / 2**20
