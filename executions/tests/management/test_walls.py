"""Nothing of one workspace is reached from another, by no detour; and nothing waits for itself."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from django.db import connections

from executions import batches, tokens, workspaces
from executions.errors import Conflict
from executions.intake import Ask
from executions.models import Run, Step
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.conftest import eventually, until_status
from executions.tests.management.callers import Caller
from executions.tests.management.test_races import at_once

called: dict[str, list[Any]] = defaultdict(list)


def tell(payload: Any, output: Any, ctx: Any) -> Any:
    """A hook, with an effect that must not come twice."""
    called[payload].append(output)
    return {"of": payload}


@task("walls.hooked", retry=NO_RETRY, on_success=tell)
async def hooked(payload, ctx):
    """Ends well, and says so by its hook."""
    return "done"


@task("walls.joins", retry=NO_RETRY)
async def joins(payload, ctx):
    """Waits for whatever token it is told of."""
    return (await ctx.wait_for_token(payload["token"])).output


@pytest.fixture
def ada(transactional_db):
    """Somebody with a key that may do all in their workspace."""
    return Caller("ada")


@pytest.fixture
def bo(transactional_db):
    """Somebody else."""
    return Caller("bo")


def test_the_hooks_of_a_run_are_called_by_its_own_end_only(ada, bo, executor):
    theirs = bo.trigger("walls.hooked", "of bo")
    until_status(theirs, "COMPLETED")
    eventually(lambda: called["of bo"] == ["done"])
    for caller in (ada, bo):
        run_id = caller.limited("trigger").trigger("run-hooks", {"run": theirs})
        until_status(run_id, "FAILED")
        assert not Step.objects.filter(run_id=run_id, key__contains="tell").exists()
    assert called["of bo"] == ["done"]


def test_a_run_waits_for_no_token_of_another_workspace(ada, bo, executor):
    token = tokens.create(workspace=bo.workspace)
    mine = ada.trigger("walls.joins", {"token": token.id})
    theirs = bo.trigger("walls.joins", {"token": token.id})
    until_status(mine, "FAILED")
    until_status(theirs, "WAITING")
    tokens.complete(token.id, {"secret": "of bo"})
    until_status(theirs, "COMPLETED")
    assert Run.objects.get(pk=theirs).output == {"secret": "of bo"}
    assert Run.objects.get(pk=mine).output is None


def test_a_key_for_all_workspaces_falls_back_to_the_role_with_its_user(transactional_db):
    boss, owner = Caller("boss", is_staff=True), Caller("owner")
    team = workspaces.create("Team", owner=owner.user.pk).id
    workspaces.set_role(team, boss.user.pk, "viewer")
    keys = type(boss.row)
    _, key = keys.issue(boss.user, name="all", scopes=["*"], workspace=team, all_workspaces=True)
    assert keys.find(key).caller().sees_all
    boss.user.is_staff = False
    boss.user.save()
    caller = keys.find(key).caller()
    assert (caller.sees_all, caller.scopes) == (False, {"read"})


def test_nobody_loses_their_own_workspace(ada, bo):
    workspaces.set_role(ada.workspace, bo.user.pk, "admin")
    with pytest.raises(Conflict, match="own workspace"):
        workspaces.set_role(ada.workspace, ada.user.pk, "viewer")
    with pytest.raises(Conflict, match="own workspace"):
        workspaces.remove_member(ada.workspace, ada.user.pk)


def test_queues_and_tokens_of_others_are_as_absent_as_none(ada, bo):
    bo.trigger("managed.echo", 1, queue={"name": "acme-merger"})
    unknown, foreign = (ada.get(f"v1/queues/{name}") for name in ("nothing", "acme-merger"))
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    run_id = ada.trigger("managed.echo", 1, delay="1h")
    told = set()
    for token_id in (tokens.create(workspace=bo.workspace).id, f"waitpoint_{'0' * 26}"):
        body = {"userResponse": "a", "tokenId": token_id}
        answer = ada.post(f"executions/{run_id}/submit-input", body)
        told.add((answer.status_code, answer.content.decode().replace(token_id, "T")))
    assert len(told) == 1


@pytest.mark.parametrize("kind", ["idempotency_key", "debounce"])
def test_batches_with_the_same_keys_the_other_way_round_do_not_wait_for_each_other(ada, kind):
    names = [f"k{n:04}" for n in range(600 if kind == "idempotency_key" else 60)]

    def option(name: str) -> dict[str, Any]:
        return {kind: {"key": name, "delay": "1h"} if kind == "debounce" else name}

    def run(order: list[str]) -> int:
        try:
            asks = [Ask(task="managed.echo", payload=1, options=option(name)) for name in order]
            batch, _ = batches.trigger_all(asks, owner=ada.user.pk, workspace=ada.workspace)
            return batch.run_count
        finally:
            connections.close_all()

    for _ in range(3):
        found = at_once([lambda: run(names), lambda: run(names[::-1])])
        assert found == [len(names), len(names)]
    assert Run.objects.filter(task="managed.echo").count() == len(names)


def test_no_door_takes_json_that_is_nested_too_deeply(ada):
    deep: Any = 1
    for _ in range(250):
        deep = [deep]
    batch = ada.post("v3/batches", {"runCount": 1}).json()["id"]
    item = {"index": 0, "task": "managed.echo", "payload": deep}
    assert ada.lines(batch, [item]).status_code == 400
    address = tokens.create(workspace=ada.workspace).url
    path = address.partition("/api/")[2]
    answer = ada.post(path, deep)
    assert answer.status_code == 400


def test_a_token_for_triggering_opens_no_run_that_was_there_before(ada):
    holder = ada.token("trigger:tasks:managed.echo")
    body = {"payload": 1, "options": {"idempotencyKey": "known"}}
    first, again = (holder.post("v1/tasks/managed.echo/trigger", body) for _ in range(2))
    assert (first.json()["isCached"], again.json()["isCached"]) == (False, True)
    assert "x-trigger-jwt" in first
    assert not [name for name in again.headers if name.lower().startswith("x-trigger-jwt")]
