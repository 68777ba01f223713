"""One token, 64 completers, a timeout and a cancel of the run at once, many times: one outcome.

They come through every door: the service, the API of the SDK, the callback address.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client

from executions import callback_secrets, runs, tokens, workspaces
from executions.engine import takeover
from executions.engine.context import Context
from executions.engine.executor import Executor
from executions.errors import Conflict
from executions.models import Run, RunEvent, Step, WaitToken
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.conftest import eventually, until_status
from executions.tests.management.callers import JSON, Caller
from executions.tests.sizes import IS_FULL, sized

COMPLETERS = 64
ROUNDS = sized(10, 1000)
# Runs parked ahead of their rounds.
BATCH = 50
# When the token of the first round times out, in seconds from its start; each outcome then moves
# that of the next round towards the other one.
FIRST_TIMEOUT, STEP = 0.01, 1.3
# The place of the address among the doors.
ADDRESS = 2
# How many completers are through before the cancel begins.
HEAD_STARTS = (0, 1, 4, 16)

Racers = Callable[[list[Callable[[], Any]]], list[Any]]
# Completes a token with a number: True when it was this number, None when that is not told.
Door = Callable[[WaitToken, int], bool | None]


@task("token_race.wait", retry=NO_RETRY)
async def waiting(payload: None, ctx: Context) -> Any:
    token = await ctx.create_token("token", timeout="1h")
    answer = await ctx.wait_for_token(token)
    return {"ok": answer.ok, "output": answer.output}


@pytest.fixture
def racers() -> Iterator[Racers]:
    """Starts calls at one moment, each on a thread and a connection of its own that stay open."""
    count = COMPLETERS + 2
    line = threading.Barrier(count)

    def call(action: Callable[[], Any]) -> Any:
        line.wait(30)
        return action()

    with ThreadPoolExecutor(count) as pool:

        def start(actions: list[Callable[[], Any]]) -> list[Any]:
            assert len(actions) == count
            return list(pool.map(call, actions))

        yield start
        start([lambda: connection.close()] * count)


@pytest.fixture
def ada(transactional_db: None, settings: Any) -> Caller:
    """Whose runs and tokens they are; nobody counts how often they are asked for."""
    settings.FLOWMAESTRO = replace(settings.FLOWMAESTRO, RATE_LIMIT_KEY=0, RATE_LIMIT_ADDRESS=0)
    return Caller("ada")


@pytest.fixture
def doors(ada: Caller) -> list[Door]:
    """The ways to complete a token."""
    outside = Client()

    def service(token: WaitToken, number: int) -> bool:
        try:
            return tokens.complete(token.id, number).output == number
        except tokens.TokenClosed:
            return False

    def by_key(token: WaitToken, number: int) -> None:
        answer = ada.post(f"v1/waitpoints/tokens/{token.id}/complete", {"data": number})
        assert (answer.status_code, answer.json()) == (200, {"success": True})

    def by_address(token: WaitToken, number: int) -> bool | None:
        url = callback_secrets.address(token.id, str(token.secret_key))
        path = url.removeprefix(django_settings.PUBLIC_URL)
        answer = outside.post(path, str(number), content_type=JSON)
        assert answer.status_code in (200, 404)
        return None if answer.status_code == 200 else False

    return [service, by_key, by_address]


def test_a_token_has_one_outcome_and_the_run_sees_that_one(
    executor: Executor, racers: Racers, ada: Caller, doors: list[Door]
) -> None:
    chance, timeout = random.Random(20_240_607), FIRST_TIMEOUT
    home = workspaces.personal(ada.user.pk).id
    seen: Counter[tuple[str, str]] = Counter()
    for begun in range(0, ROUNDS, BATCH):
        handles = waiting.batch_trigger([None] * min(BATCH, ROUNDS - begun), workspace=home)
        ids = [handle.id for handle in handles]
        parked = Run.objects.filter(pk__in=ids, status="WAITING")
        eventually(lambda parked=parked, ids=ids: parked.count() == len(ids), seconds=30)
        for run_id in ids:
            with explained(run_id):
                outcome = play(run_id, racers, chance, timeout, doors)
            seen[outcome] += 1
            timeout *= STEP if outcome[1] == "TIMED_OUT" else 1 / STEP
    assert seen.total() == ROUNDS
    if IS_FULL:
        # Otherwise it was no race.
        assert set(seen) == set(product(("COMPLETED", "CANCELED"), ("COMPLETED", "TIMED_OUT")))


def play(
    run_id: str, racers: Racers, chance: random.Random, timeout: float, doors: list[Door]
) -> tuple[str, str]:
    """One round; what became of the run and of the token."""
    through = threading.Semaphore(0)
    head_start = chance.choice(HEAD_STARTS)
    token = WaitToken.objects.get(run_id=run_id)
    token_id = token.id

    def complete(number: int) -> tuple[int, bool | None]:
        try:
            return number, doors[number % len(doors)](token, number)
        finally:
            through.release()

    def time_out() -> None:
        while tokens.retrieve(token_id).status == "WAITING":
            with connection.cursor() as cursor:
                takeover.tick(cursor)

    def cancel() -> None:
        for _ in range(head_start):
            through.acquire()
        with suppress(Conflict):
            runs.cancel(run_id)

    actions: list[Callable[[], Any]] = [partial(complete, n) for n in range(COMPLETERS)]
    actions += [time_out, cancel]
    chance.shuffle(actions)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions_waittoken SET timeout_at = now() + make_interval(secs => %s) "
            "WHERE id = %s",
            [timeout, token_id],
        )
    told = dict(found for found in racers(actions) if found is not None)
    assert len(told) == COMPLETERS
    return check(run_id, token_id, told)


def check(run_id: str, token_id: str, told: dict[int, bool | None]) -> tuple[str, str]:
    """One outcome, at most one winner, and a run that saw what the token's row says."""
    token = tokens.retrieve(token_id)
    winners = [number for number, has_won in told.items() if has_won]
    if token.status == "COMPLETED":
        # Through the doors that do not tell, it is the number that says who it was.
        assert token.output in told
        assert winners == ([] if told[token.output] is None else [token.output])
    else:
        assert (token.status, token.output, winners) == ("TIMED_OUT", None, [])
    # Once its time is over, and only then, the address is like any that never was.
    by_address = {has_won for number, has_won in told.items() if number % 3 == ADDRESS}
    assert by_address == {None if token.status == "COMPLETED" else False}
    value = {"ok": token.status == "COMPLETED", "output": token.output}
    run = until_status(run_id, "COMPLETED", "CANCELED")
    if run.status == "COMPLETED":
        assert run.output == value
    for step in Step.objects.filter(run=run, kind="wait", status="COMPLETED"):
        assert {"output": None, **step.output, "error": None} == {**value, "error": None}
    assert tokens.retrieve(token_id).status == token.status
    numbers = list(RunEvent.objects.filter(run=run).values_list("seq", flat=True))
    assert numbers == list(range(1, run.event_seq + 1))
    return run.status, token.status


@contextmanager
def explained(run_id: str) -> Iterator[None]:
    """Says of a failure in which run it came up."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"Run {run_id}.")
        raise
