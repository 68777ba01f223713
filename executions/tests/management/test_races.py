"""The same request from many sides at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connections

from executions import batches, intake, repeats
from executions.batches import Item
from executions.intake import Ask
from executions.models import Batch, BatchItem, Run

WORKERS = 6


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What the calls give, made at the same moment on connections of their own."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            connections["default"].ensure_connection()
            barrier.wait(10)
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def ask(key: str | None = None) -> Ask:
    return Ask(task="managed.echo", options={} if key is None else {"idempotency_key": key})


def test_a_stream_that_comes_several_times_at_once_starts_each_run_once(ada):
    batch, _ = batches.create(300, owner=ada.user.pk, workspace=ada.workspace)
    given = [Item(index=index, ask=ask()) for index in range(300)]
    found = at_once([lambda: batches.add(batch, given) for _ in range(WORKERS)])
    assert sum(added.accepted for added in found) == 300
    assert all(added.is_sealed for added in found)
    assert Run.objects.count() == BatchItem.objects.count() == 300
    assert set(Run.objects.values_list("source", flat=True)) == {batch.id}


def test_batches_with_the_same_keys_in_any_order_never_wait_for_each_other(ada):
    keys = [f"key {number}" for number in range(200)]
    made = [
        batches.create(len(keys), owner=ada.user.pk, workspace=ada.workspace)[0]
        for _ in range(WORKERS)
    ]

    def fill(number: int) -> Callable[[], Any]:
        order = keys[number * 30 :] + keys[: number * 30]
        if number % 2:
            order.reverse()
        return lambda: batches.add(
            made[number], [Item(index=at, ask=ask(key)) for at, key in enumerate(order)]
        )

    at_once([fill(number) for number in range(WORKERS)])
    assert Run.objects.count() == len(keys)
    assert BatchItem.objects.filter(is_cached=False).count() == len(keys)
    assert BatchItem.objects.filter(is_cached=True).count() == len(keys) * (WORKERS - 1)
    assert Batch.objects.filter(sealed_at=None).count() == 0


def test_a_request_that_comes_several_times_at_once_is_done_once(ada):
    def call() -> str:
        return intake.trigger(ask(), owner=ada.user.pk, workspace=ada.workspace, request_key="r").id

    assert len(set(at_once([call] * WORKERS))) == 1
    assert Run.objects.count() == 1


def test_whoever_waits_for_a_request_that_fails_does_it(ada):
    outcomes = iter(["fail", "ok"])

    def make() -> str:
        outcome = next(outcomes)
        if outcome == "fail":
            raise RuntimeError(outcome)
        return outcome

    def call() -> tuple[str, bool] | str:
        try:
            return repeats.once("k", "s", "1", make)
        except RuntimeError as error:
            return str(error)

    found = at_once([call] * 3)
    assert sorted(map(str, found)) == ["('ok', False)", "('ok', True)", "fail"]
