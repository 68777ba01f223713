"""Public tokens at the management API: exactly their scopes, and who may call at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from executions.api.management import urls
from executions.models import Run
from executions.tests.management.callers import JSON
from executions.tests.management.test_batches import create, items

BODIES: dict[str, tuple[str, str, Any]] = {
    "trigger": ("post", "v1/tasks/managed.echo/trigger", {}),
    "retrieve": ("get", "v3/runs/{run}", None),
    "result": ("get", "v1/runs/{run}/result", None),
    "trace": ("get", "v1/runs/{run}/trace", None),
    "events": ("get", "v1/runs/{run}/events", None),
    "metadata": ("get", "v1/runs/{run}/metadata", None),
    "list": ("get", "v1/runs", None),
    "list tag": ("get", "v1/runs?filter[tag]=t", None),
    "list tags": ("get", "v1/runs?filter[tag]=t,u", None),
    "list task": ("get", "v1/runs?filter[taskIdentifier]=managed.echo", None),
    "list batch": ("get", "v1/runs?filter[batch]={batch}", None),
    "batch": ("get", "v2/batches/{batch}", None),
    "results": ("get", "v1/batches/{batch}/results", None),
    "create batch": ("post", "v3/batches", {"runCount": 1, "taskIdentifiers": ["managed.echo"]}),
    "nameless batch": ("post", "v3/batches", {"runCount": 1}),
    "at once": ("post", "v2/tasks/batch", {"items": [{"task": "managed.echo"}]}),
    "upload": ("put", "v2/packets/x.json", {}),
    "cancel": ("post", "v2/runs/{run}/cancel", {}),
    "replay": ("post", "v1/runs/{run}/replay", {}),
    "reschedule": ("post", "v1/runs/{run}/reschedule", {"delay": "1h"}),
    "tags": ("post", "v1/runs/{run}/tags", {"tags": "x"}),
    "change": ("put", "v1/runs/{run}/metadata", {"metadata": {}}),
    "claims": ("post", "v1/auth/jwt/claims", {}),
    "queues": ("get", "v1/queues", None),
    "queue": ("get", "v1/queues/managed", None),
    "pause": ("post", "v1/queues/managed/pause", {"action": "pause"}),
    "limit": ("post", "v1/queues/managed/concurrency/override", {"concurrencyLimit": 1}),
    "unlimit": ("post", "v1/queues/managed/concurrency/reset", {}),
    "reset": ("post", "v1/idempotencyKeys/k/reset", {"taskIdentifier": "managed.echo"}),
}
READS_A_RUN = {"retrieve", "trace", "events", "metadata", "result"}
BY_SCOPE: dict[str, set[str]] = {
    "read:runs:{run}": READS_A_RUN,
    "read:runs": READS_A_RUN | {"list", "list tag", "list tags", "list task", "list batch"},
    "read:tags:t": READS_A_RUN | {"list tag"},
    "read:tasks:managed.echo": READS_A_RUN | {"list task"},
    "read:batch:{batch}": READS_A_RUN | {"list batch", "batch", "results"},
    "read:batch": {*READS_A_RUN, "list batch", "batch", "results"},
    "trigger:tasks:managed.echo": {"trigger", "upload"},
    "trigger:tasks:managed.fail": {"upload"},
    "batchTrigger:tasks": {"create batch", "nameless batch", "at once", "upload"},
    "batchTrigger:tasks:managed.echo": {"create batch", "at once", "upload"},
    "read:runs:run_01k9zzzzzzzzzzzzzzzzzzzzzz": set(),
    "read:tags:other": set(),
    "read": set(),
    "write:runs:{run}": set(),
    "nonsense": set(),
}


def send(caller, name, **names):
    method, route, body = BODIES[name]
    path = f"/api/{route.format(**names)}"
    if method == "get":
        return caller._client.get(path)
    return getattr(caller._client, method)(path, body, content_type=JSON)


@pytest.mark.parametrize("scope", BY_SCOPE)
def test_a_public_token_is_good_for_its_scopes_and_nothing_else(ada, scope):
    batch = ada.post(
        "v2/tasks/batch", {"items": [{"task": "managed.echo", "options": {"tags": ["t"]}}]}
    ).json()["id"]
    (run,) = ada.get(f"v1/batches/{batch}").json()["runs"]
    token = ada.token(scope.format(run=run, batch=batch))
    allowed = set()
    for name in BODIES:
        answer = send(token, name, run=run, batch=batch)
        if answer.status_code != 403:
            # The run has not ended, so its result is not there for whoever may ask for it.
            expected = (404,) if name == "result" else (200, 202)
            assert answer.status_code in expected, (name, answer.content)
            allowed.add(name)
    assert allowed == BY_SCOPE[scope]


def test_a_token_sees_its_workspace_only(ada, bo):
    theirs = bo.trigger("managed.echo", 1, tags=["t"])
    token = ada.token("read:runs", f"read:runs:{theirs}", "read:tags:t")
    assert token.get("v1/runs").json()["data"] == []
    assert token.get(f"v3/runs/{theirs}").status_code == 404


def test_items_of_a_batch_are_for_tasks_of_the_token(ada):
    token = ada.token("batchTrigger:tasks:managed.echo")
    batch = token.post("v3/batches", {"runCount": 2, "taskIdentifiers": ["managed.echo"]}).json()[
        "id"
    ]
    refused = token.lines(batch, [*items(1), *items(2, task="managed.fail")[1:]])
    assert refused.status_code == 403
    assert "managed.fail" in refused.json()["error"]
    assert not Run.objects.exists()
    assert token.lines(batch, items(2)).json()["sealed"] is True
    assert ada.token("read:runs").lines(batch, []).status_code == 403
    wrong = {"runCount": 1, "taskIdentifiers": ["managed.echo", "managed.fail"]}
    assert token.post("v3/batches", wrong).status_code == 403
    both = {"items": [{"task": "managed.echo"}, {"task": "managed.fail"}]}
    assert token.post("v2/tasks/batch", both).status_code == 403


def test_a_token_for_one_use_is_used_up_by_a_run_or_a_batch(ada):
    token = ada.token("trigger:tasks:managed.echo", otu=True)
    body = {"payload": 1}
    headers = {"x-trigger-request-idempotency-key": "once"}
    assert token.post("v1/tasks/managed.echo/trigger", {"payload": 1, "x": 1}).status_code == 400
    first = token.post("v1/tasks/managed.echo/trigger", body, **headers)
    assert first.status_code == 200
    # The answer got lost: the same request is no second use.
    assert token.post("v1/tasks/managed.echo/trigger", body, **headers).json() == first.json()
    again = token.post("v1/tasks/managed.echo/trigger", body)
    assert (again.status_code, again.json()["code"]) == (403, "public_token_used")

    token = ada.token("batchTrigger:tasks:managed.echo", otu=True, jti="another")
    unused = create(ada, 1)["id"]
    assert token.lines(unused, items(1)).status_code == 403
    named = {"runCount": 1, "taskIdentifiers": ["managed.echo"]}
    batch = token.post("v3/batches", named).json()["id"]
    assert token.lines(unused, items(1)).status_code == 403
    assert token.lines(batch, items(1)).json()["sealed"] is True
    assert token.post("v3/batches", named).status_code == 403
    assert Run.objects.count() == 2


def test_answers_carry_what_a_client_needs_for_a_token(ada):
    answer = ada.post("v1/tasks/managed.echo/trigger", {})
    claims = ada.post("v1/auth/jwt/claims").json()
    assert claims["pub"] is True
    assert f'"sub":"{claims["sub"]}"' in answer["x-trigger-jwt-claims"]
    assert "x-trigger-jwt" not in answer
    by_token = ada.token("trigger:tasks:managed.echo").post("v1/tasks/managed.echo/trigger", {})
    holder = ada._with(by_token["x-trigger-jwt"])
    assert holder.get(f"v3/runs/{by_token.json()['id']}").status_code == 200
    assert holder.get(f"v3/runs/{answer.json()['id']}").status_code == 403


# ---- keys ---------------------------------------------------------------------------------------

NEEDED = {
    "trigger": "trigger", "retrieve": "read", "result": "read", "trace": "read", "events": "read",
    "metadata": "read", "list": "read", "batch": "read", "results": "read", "queues": "read",
    "queue": "read", "claims": None, "create batch": "trigger", "at once": "trigger",
    "upload": "trigger", "cancel": "cancel", "replay": "replay", "reschedule": "trigger",
    "tags": "trigger", "change": "trigger", "reset": "trigger", "pause": "admin",
    "limit": "admin", "unlimit": "admin",
}  # fmt: skip


@pytest.mark.parametrize("name", NEEDED)
def test_a_key_needs_the_scope_of_the_verb(ada, name):
    wanted = NEEDED[name]
    batch = create(ada, 1)["id"]
    run = ada.trigger("managed.echo", 1, delay="1h", idempotencyKey="k")
    for scope in ("read", "trigger", "cancel", "complete", "replay", "admin"):
        answer = send(ada.limited(scope), name, run=run, batch=batch)
        if wanted is not None and scope != wanted:
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
            assert repr(wanted) in answer.json()["error"]
        elif name in ("pause", "limit", "unlimit"):
            # What belongs to the installation takes more than the scope.
            assert answer.status_code == 403
            assert "installation" in answer.json()["error"]
        else:
            assert answer.status_code in (200, 202, 404), answer.content


def test_nothing_is_told_to_strangers(transactional_db):
    client = Client()
    for pattern in urls.urlpatterns:
        names = {key: "x" for key in pattern.pattern.converters}
        if pattern.name in ("management-upload", "management-callback"):
            continue
        path = reverse(pattern.name, kwargs=names)
        answers = [client.get(path), client.post(path, {}, content_type=JSON)]
        codes = {answer.status_code for answer in answers}
        assert codes <= {401, 405}, (path, codes)
        assert 401 in codes or client.put(path, {}, content_type=JSON).status_code == 401
