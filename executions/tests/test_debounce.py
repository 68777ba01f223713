"""Debounced triggers: a burst becomes one run; after it began, the next one is another."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, transaction

from executions import runs
from executions.engine.context import Context
from executions.errors import Invalid
from executions.models import Run
from executions.registry import task
from executions.tests.bodies import ONCE


@task("debounce.echo", retry=ONCE)
async def echo(payload, ctx: Context):
    return [payload, ctx.metadata.current()]


@task("debounce.other", retry=ONCE)
async def other(payload, ctx: Context):
    return payload


def burst(payload: Any, key: str = "k", **options: Any) -> Any:
    debounce = {"key": key, "delay": "10s"} | options.pop("debounce", {})
    return echo.trigger(payload, debounce=debounce, **options)


@pytest.mark.parametrize(("mode", "chosen"), [("leading", 1), ("trailing", 3)])
def test_a_burst_is_one_run_with_the_first_or_the_last_payload(engine, mode, chosen):
    options: dict[str, Any] = {"debounce": {"mode": mode}}
    first = burst(1, metadata={"n": 1}, **options)
    assert (first.is_cached, first.retrieve().status) == (False, "DELAYED")
    for payload in (2, 3):
        engine.advance(seconds=6)
        again = burst(payload, metadata={"n": payload}, **options)
        assert (again.id, again.is_cached) == (first.id, True)
    engine.advance(seconds=9)
    assert first.retrieve().status == "DELAYED"
    engine.advance(seconds=1)
    assert first.retrieve().output == [chosen, {"n": chosen}]
    assert Run.objects.count() == 1
    assert [event.type for event in runs.events(first.id)][:3] == [
        "run.delayed", "run.debounced", "run.debounced",
    ]  # fmt: skip


def test_leading_is_the_default(engine):
    first = burst(1)
    burst(2)
    assert engine.result(first, timeout=60)[0] == 1


def test_after_a_run_began_the_next_trigger_begins_another(engine):
    first = burst(1)
    engine.advance(seconds=10)
    second = burst(2)
    assert (second.is_cached, second.id != first.id) == (False, True)
    third = burst(3)
    assert third.id == second.id
    engine.advance(seconds=10)
    assert second.retrieve().output[0] == 2


def test_a_burst_that_does_not_end_starts_after_the_longest_delay(engine):
    first = burst(0, debounce={"max_delay": "25s", "mode": "trailing"})
    began = engine.now()
    for payload in range(1, 9):
        engine.advance(seconds=4)
        if burst(payload, debounce={"max_delay": "25s", "mode": "trailing"}).id != first.id:
            break
    run = first.retrieve()
    assert (run.started_at - began).total_seconds() == 25
    assert run.output[0] == 6


def test_keys_and_tasks_are_apart(engine):
    ids = {burst(1).id, burst(1, key="l").id}
    ids.add(other.trigger(1, debounce={"key": "k", "delay": 10}).id)
    assert len(ids) == 3
    engine.advance(seconds=10)
    assert {run.status for run in Run.objects.all()} == {"COMPLETED"}


@pytest.mark.parametrize("change", [runs.cancel, runs.terminate, runs.pause])
def test_a_burst_whose_run_was_ended_or_held_is_over(engine, change):
    first = burst(1)
    change(first.id)
    second = burst(2)
    assert (second.is_cached, second.id != first.id) == (False, True)


def test_the_time_to_live_of_a_run_that_is_put_off_counts_from_its_new_start(engine):
    first = burst(1, ttl="5s")
    for _ in range(3):
        engine.advance(seconds=8)
        assert burst(1).id == first.id
    engine.advance(seconds=10)
    assert first.retrieve().status == "COMPLETED"


def test_many_who_trigger_at_once_start_one_run(transactional_db):
    begin = threading.Barrier(8)
    found: list[tuple[str, bool]] = []

    def trigger(number: int) -> None:
        begin.wait()
        try:
            handle = burst(number, debounce={"mode": "trailing"})
            found.append((handle.id, handle.is_cached))
        finally:
            connection.close()

    threads = [threading.Thread(target=trigger, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Run.objects.count() == 1
    assert len({run for run, _ in found}) == 1
    assert sorted(cached for _, cached in found) == [False] + [True] * 7


def test_a_trigger_that_is_rolled_back_leaves_no_burst_behind(transactional_db):
    with pytest.raises(RuntimeError), transaction.atomic():
        burst(1)
        raise RuntimeError
    assert not Run.objects.exists()
    assert not burst(2).is_cached


@pytest.mark.parametrize(
    ("debounce", "field"),
    [
        ("k", "debounce"),
        ({}, "debounce.delay"),
        ({"key": "k"}, "debounce.delay"),
        ({"key": "k", "delay": 0}, "debounce.delay"),
        ({"key": "k", "delay": "soon"}, "debounce.delay"),
        ({"key": "k", "delay": -1}, "debounce.delay"),
        ({"delay": 1}, "debounce.key"),
        ({"key": "", "delay": 1}, "debounce.key"),
        ({"key": "x" * 513, "delay": 1}, "debounce.key"),
        ({"key": 7, "delay": 1}, "debounce.key"),
        ({"key": "k", "delay": 1, "mode": "both"}, "debounce.mode"),
        ({"key": "k", "delay": 1, "mode": ["leading"]}, "debounce.mode"),
        ({"key": "k", "delay": 1, "max_delay": "x"}, "debounce.max_delay"),
        ({"key": "k", "delay": 10, "max_delay": 5}, "debounce.max_delay"),
        ({"key": "k", "delay": 10, "max_delay": 0}, "debounce.max_delay"),
        ({"key": "k", "delay": 1, "maxDelay": 5}, "debounce.maxDelay"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name_and_nothing_is_written(db, debounce, field):
    with pytest.raises(Invalid) as refusal:
        echo.trigger(1, debounce=debounce)
    assert refusal.value.field == field
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("options", "field"), [({"idempotency_key": "k"}, "debounce"), ({"delay": 5}, "delay")]
)
def test_it_goes_with_neither_an_idempotency_key_nor_another_delay(db, options, field):
    with pytest.raises(Invalid) as refusal:
        burst(1, **options)
    assert refusal.value.field == field
    assert not Run.objects.exists()
