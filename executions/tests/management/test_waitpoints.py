"""Wait tokens over HTTP, as the SDK asks for them; and what public tokens may do with them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from executions import tokens, workflow_runs
from executions.models import AuditEntry, WaitToken
from executions.registry import task
from executions.rules.retry import NO_RETRY
from executions.tests.conftest import until_status
from executions.tests.management.callers import Caller
from executions.tests.people import REVIEW, until_asked

TOKENS = "v1/waitpoints/tokens"


@task("waitpoints.wait", retry=NO_RETRY)
async def waiting(payload, ctx):
    """Waits for the token it is given."""
    answer = await ctx.wait_for_token(payload)
    return {"ok": answer.ok, "output": answer.output}


@task("waitpoints.own", retry=NO_RETRY)
async def own(payload, ctx):
    """Waits for a token of its own."""
    return (await ctx.wait_for_token(await ctx.create_token("own", tags=["own"]))).output


def made(caller, **options):
    """A new token, as its creator gets it."""
    answer = caller.post(TOKENS, options)
    assert answer.status_code == 200, answer.content
    return answer.json()


def listed(caller, **query):
    answer = caller.get(TOKENS, **query)
    assert answer.status_code == 200, answer.content
    return answer.json()


# ---- create -------------------------------------------------------------------------------------


def test_a_token_is_made_in_the_callers_workspace_for_ten_minutes(ada):
    answer = ada.post(TOKENS, {"tags": ["a", "b"]})
    shown = answer.json()
    assert shown == {"id": shown["id"], "isCached": False, "url": shown["url"]}
    row = WaitToken.objects.get(pk=shown["id"])
    assert (row.workspace_id, row.tags, row.status) == (ada.workspace, ["a", "b"], "WAITING")
    assert row.timeout_at - row.created_at == timedelta(minutes=10)
    claims = json.loads(answer.headers["x-trigger-jwt-claims"])
    assert claims == {"sub": f"key_{ada.row.pk}", "pub": True}


@pytest.mark.parametrize(
    ("timeout", "length"), [("30s", 30), ("1h30m", 5400), ("4w", 4 * 7 * 86_400)]
)
def test_a_timeout_is_a_length_of_time(ada, timeout, length):
    row = WaitToken.objects.get(pk=made(ada, timeout=timeout)["id"])
    assert (row.timeout_at - row.created_at).total_seconds() == length


def test_a_timeout_is_a_moment(ada):
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    row = WaitToken.objects.get(pk=made(ada, timeout=at.isoformat().replace("+00:00", "Z"))["id"])
    assert row.timeout_at == at


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": 5}, "timeout"),
        ({"timeout": "2026-01-01T00:00:00"}, "timeout"),
        ({"tags": [1]}, "tags"),
        ({"tags": ["x"] * 11}, "tags"),
        ({"tags": {"a": 1}}, "tags"),
        ({"idempotencyKey": ""}, "idempotency_key"),
        ({"idempotencyKey": "k" * 2049}, "idempotency_key"),
        ({"idempotencyKey": 7}, "idempotencyKey"),
        ({"idempotencyKey": "k", "idempotencyKeyTTL": "never"}, "idempotency_key_ttl"),
        ({"idempotencyKey": "k", "idempotencyKeyTTL": "0s"}, "idempotency_key_ttl"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_option_is_refused_by_name(ada, options, field):
    answer = ada.post(TOKENS, options)
    assert answer.status_code == 400, answer.content
    assert answer.json()["details"]["field"] == field
    assert not WaitToken.objects.exists()


def test_a_key_gives_the_token_of_the_first_time_with_its_address(ada):
    first = made(ada, idempotencyKey="order-7", tags=["first"])
    again = made(ada, idempotencyKey="order-7", tags=["again"])
    assert again == {**first, "isCached": True}
    assert ada.post(f"{TOKENS}/{first['id']}/complete", {"data": 1}).status_code == 200
    assert made(ada, idempotencyKey="order-7")["id"] == first["id"]
    assert WaitToken.objects.count() == 1


def test_a_key_is_the_workspaces_own(ada, bo):
    assert made(ada, idempotencyKey="same")["id"] != made(bo, idempotencyKey="same")["id"]


# ---- look ---------------------------------------------------------------------------------------


def test_a_token_is_shown_with_its_outcome_and_without_its_address(ada):
    token = made(ada, idempotencyKey="k", tags=["t"], timeout="1h")
    shown = ada.get(f"{TOKENS}/{token['id']}").json()
    row = WaitToken.objects.get()
    assert shown == {
        "id": row.id,
        "url": shown["url"],
        "status": "WAITING",
        "tags": ["t"],
        "createdAt": shown["createdAt"],
        "timeoutAt": shown["timeoutAt"],
        "idempotencyKey": "k",
        "idempotencyKeyExpiresAt": shown["idempotencyKeyExpiresAt"],
    }
    assert token["url"].rpartition("/")[2] not in json.dumps(shown)
    ada.post(f"{TOKENS}/{row.id}/complete", {"data": {"b": 1, "a": [None, "ü"]}})
    shown = ada.get(f"{TOKENS}/{row.id}").json()
    assert (shown["status"], shown["outputType"]) == ("COMPLETED", "application/json")
    assert json.loads(shown["output"]) == {"b": 1, "a": [None, "ü"]}
    assert "outputIsError" not in shown
    assert shown["completedAt"].endswith("Z")


def test_a_token_that_timed_out_shows_an_error(ada, engine):
    token = made(ada, timeout="1h")
    engine.advance(hours=2)
    shown = ada.get(f"{TOKENS}/{token['id']}").json()
    assert (shown["status"], shown["outputIsError"]) == ("TIMED_OUT", True)
    assert "timed out" in json.loads(shown["output"])["message"]


def test_a_list_goes_on_page_by_page_in_both_directions(ada):
    ids = [made(ada)["id"] for _ in range(5)][::-1]
    first = listed(ada, **{"page[size]": 2})
    assert [row["id"] for row in first["data"]] == ids[:2]
    assert first["pagination"] == {"next": ids[1]}
    second = listed(ada, **{"page[size]": 2, "page[after]": first["pagination"]["next"]})
    assert [row["id"] for row in second["data"]] == ids[2:4]
    assert second["pagination"] == {"next": ids[3], "previous": ids[2]}
    back = listed(ada, **{"page[size]": 2, "page[before]": second["pagination"]["previous"]})
    assert [row["id"] for row in back["data"]] == ids[:2]
    last = listed(ada, **{"page[size]": 2, "page[after]": ids[3]})
    assert last["pagination"] == {"previous": ids[4]}


def test_a_list_is_filtered(ada):
    waiting_one = made(ada, tags=["red"])["id"]
    done = made(ada, tags=["blue", "red"], idempotencyKey="k")["id"]
    other = made(ada, tags=["green"])["id"]
    ada.post(f"{TOKENS}/{done}/complete", {"data": 1})

    def ids(**filters):
        shown = listed(ada, **{f"filter[{name}]": value for name, value in filters.items()})
        assert all("output" not in row for row in shown["data"])
        return {row["id"] for row in shown["data"]}

    assert ids(status="COMPLETED") == {done}
    assert ids(status="COMPLETED,WAITING") == {waiting_one, done, other}
    assert ids(status="TIMED_OUT") == set()
    assert ids(tags="red") == {waiting_one, done}
    assert ids(tags="blue,green") == {done, other}
    assert ids(idempotencyKey="k") == {done}
    WaitToken.objects.filter(pk=other).update(created_at=datetime.now(UTC) - timedelta(days=3))
    assert ids(**{"createdAt][period": "1d"}) == {waiting_one, done}
    hour_ago = str(int((datetime.now(UTC) - timedelta(hours=1)).timestamp() * 1000))
    assert ids(**{"createdAt][from": hour_ago}) == {waiting_one, done}
    assert ids(**{"createdAt][to": hour_ago}) == {other}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("filter[status]", "DONE"), ("filter[tags]", ""), ("filter[createdAt][period]", "long"),
        ("filter[createdAt][from]", "yesterday"), ("page[size]", "0"), ("page[size]", "101"),
        ("page[after]", "run_00000000000000000000000000"), ("filter[colour]", "red"),
        ("filter[idempotencyKey]", "bell\a"),
    ],
)  # fmt: skip
def test_a_bad_filter_is_refused_by_name_and_an_empty_one_filters_nothing(ada, name, value):
    answer = ada.get(TOKENS, **{name: value})
    if value == "":
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()["details"]["field"]) == (400, name)


# ---- complete -----------------------------------------------------------------------------------


def test_a_completed_token_lets_its_run_go_on_and_keeps_its_first_outcome(ada, executor):
    token = made(ada)["id"]
    run = ada.trigger("waitpoints.wait", token)
    until_status(run, "WAITING")
    for data in ({"status": "approved"}, {"status": "declined"}):
        answer = ada.post(f"{TOKENS}/{token}/complete", {"data": data})
        assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert until_status(run, "COMPLETED").output == {"ok": True, "output": {"status": "approved"}}
    entries = AuditEntry.objects.filter(subject=token)
    assert [(entry.action, entry.user_id) for entry in entries] == [("token.complete", ada.user.pk)]


@pytest.mark.parametrize("body", ["", "{}", '{"data": null}'])
def test_a_token_may_be_completed_with_nothing(ada, body):
    token = made(ada)["id"]
    answer = ada._client.post(
        f"/api/{TOKENS}/{token}/complete", body, content_type="application/json"
    )
    assert answer.status_code == 200
    assert tokens.retrieve(token).output is None
    assert ada.get(f"{TOKENS}/{token}").json()["output"] == "null"


@pytest.mark.parametrize("data", ["nul\0", {"a": "\ud800"}])
def test_what_cannot_be_stored_is_refused_and_the_token_stays_open(ada, data):
    token = made(ada)["id"]
    answer = ada.post(f"{TOKENS}/{token}/complete", {"data": data})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "output"})
    assert tokens.retrieve(token).status == "WAITING"


def test_an_output_over_the_limit_is_refused(ada, settings):
    settings.FLOWMAESTRO = replace(settings.FLOWMAESTRO, PAYLOAD_LIMIT=1000)
    token = made(ada)["id"]
    answer = ada.post(f"{TOKENS}/{token}/complete", {"data": "x" * 1000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_what_belongs_to_others_is_not_found(ada, bo, executor):
    token = made(ada)["id"]
    run = ada.trigger("waitpoints.own")
    until_status(run, "WAITING")
    inner = WaitToken.objects.get(run_id=run)
    assert inner.workspace_id == ada.workspace
    for each in (token, inner.id, "waitpoint_00000000000000000000000000", "nonsense", "run_x"):
        for answer in (
            bo.get(f"{TOKENS}/{each}"),
            bo.post(f"{TOKENS}/{each}/complete", {"data": 1}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert listed(bo)["data"] == []
    assert [row["id"] for row in listed(ada)["data"]] == [inner.id, token]
    assert {tokens.retrieve(each).status for each in (token, inner.id)} == {"WAITING"}


def test_the_staff_see_tokens_of_nobody(staff, ada):
    nobodys = tokens.create().id
    assert staff.get(f"{TOKENS}/{nobodys}").status_code == 200
    assert ada.get(f"{TOKENS}/{nobodys}").status_code == 404


# ---- reviews ------------------------------------------------------------------------------------


@pytest.fixture
def review(ada, executor):
    """A run of ada's that asks for a number from 1 to 5, and the token of its question."""
    run = workflow_runs.start(REVIEW, owner=ada.user.pk).id
    shown = until_asked(run)
    return run, shown["reviews"][0]["tokenId"]


@pytest.mark.parametrize(
    "data", [3, "3", {"message": 3}, {"response": "3"}, {"response": 3, "variableName": "count"}]
)
def test_a_review_is_answered_by_completing_its_token(ada, review, data):
    run, token = review
    assert ada.post(f"{TOKENS}/{token}/complete", {"data": data}).status_code == 200
    assert until_status(run, "COMPLETED").output["outputs"] == {"count": 3}


@pytest.mark.parametrize("data", [9, "many", {"message": 0}, None, {}, {"count": 3}])
def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays_open(ada, review, data):
    run, token = review
    answer = ada.post(f"{TOKENS}/{token}/complete", {"data": data})
    assert (answer.status_code, answer.json()["code"]) == (400, "answer_refused")
    assert tokens.retrieve(token).status == "WAITING"
    assert ada.post(f"{TOKENS}/{token}/complete", {"data": 5}).status_code == 200
    assert until_status(run, "COMPLETED").output["outputs"] == {"count": 5}


# ---- scopes -------------------------------------------------------------------------------------

CALLS = {
    "create": lambda caller, token: caller.post(TOKENS),
    "list": lambda caller, token: caller.get(TOKENS),
    "retrieve": lambda caller, token: caller.get(f"{TOKENS}/{token}"),
    "complete": lambda caller, token: caller.post(f"{TOKENS}/{token}/complete", {"data": 1}),
}
OF_KEYS = {
    "read": {"list", "retrieve"}, "trigger": {"create"}, "complete": {"complete"},
    "cancel": set(), "replay": set(), "admin": set(),
}  # fmt: skip
OF_PUBLIC_TOKENS = {
    "write:waitpoints:{token}": {"complete"},
    "write:waitpoints": {"complete"},
    "write:waitpoints:waitpoint_00000000000000000000000000": set(),
    "write:all": {"complete"},
    "read:waitpoints:{token}": {"retrieve"},
    "read:waitpoints": {"list", "retrieve"},
    "read:all": {"list", "retrieve"},
    "admin": {"list", "retrieve", "complete"},
    "read:runs": set(),
    "write:runs": set(),
    "trigger:tasks": set(),
    "write": set(),
    "": set(),
}


def outcome(answer):
    assert answer.status_code in (200, 403), answer.content
    return answer.status_code == 200


@pytest.mark.parametrize("scope", OF_KEYS)
def test_a_key_does_what_its_scopes_say(scope, transactional_db):
    eve = Caller("eve", scope)
    token = tokens.create(owner=eve.user.pk).id
    assert {name for name, call in CALLS.items() if outcome(call(eve, token))} == OF_KEYS[scope]


@pytest.mark.parametrize("scope", OF_PUBLIC_TOKENS)
def test_a_public_token_does_what_its_scopes_say(ada, scope):
    token = made(ada)["id"]
    holder = ada.token(scope.format(token=token))
    allowed = {name for name, call in CALLS.items() if outcome(call(holder, token))}
    assert allowed == OF_PUBLIC_TOKENS[scope]


def test_a_public_token_completes_nothing_of_others(ada, bo):
    token = made(ada)["id"]
    answer = bo.token(f"write:waitpoints:{token}").post(f"{TOKENS}/{token}/complete", {"data": 1})
    assert answer.status_code == 404
    assert tokens.retrieve(token).status == "WAITING"


def test_a_completion_by_a_public_token_is_recorded_as_one(ada):
    token = made(ada)["id"]
    ada.token(f"write:waitpoints:{token}").post(f"{TOKENS}/{token}/complete", {"data": 1})
    entry = AuditEntry.objects.get(subject=token)
    assert "public token" in entry.actor
    assert entry.user_id == ada.user.pk
