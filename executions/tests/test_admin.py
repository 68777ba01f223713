"""The admin shows everything and changes nothing but through services."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote as urlquote

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from executions import queues, runs, workflow_runs, workflows
from executions.audit import Actor
from executions.models import (
    AuditEntry,
    PastStep,
    Queue,
    Run,
    RunData,
    RunEvent,
    Step,
    WaitToken,
    Worker,
    Workflow,
    WorkflowVersion,
)
from executions.tests.admin_pages import (
    HOSTILE,
    SHOWN,
    act_url,
    do,
    fails,
    list_of,
    page_of,
    plain,
    text_of,
    waits,
)
from executions.tests.bodies import until_parked
from executions.tests.conftest import until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person, until_asked

SCRIPT = "<script>alert(1)</script>"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MODELS = {
    "run": Run, "waittoken": WaitToken, "worker": Worker, "workflow": Workflow,
    "workflowversion": WorkflowVersion, "queue": Queue, "auditentry": AuditEntry,
}  # fmt: skip


@pytest.fixture
def boss(transactional_db):
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    return client


def test_a_run_shows_its_steps_events_tokens_and_what_it_was_given(boss, executor):
    run_id = workflow_runs.start(REVIEW, inputs={"name": "<b>Bo</b>"}).id
    token = until_asked(run_id)["reviews"][0]["tokenId"]
    text = text_of(boss.get(page_of(run_id)))
    assert "start/run" in text
    assert "step.completed" in text
    assert "run.waiting" in text
    assert token in text
    assert "pauseContext" in text
    assert "workflowDefinition" in text
    assert "<b>Bo</b>" not in text
    assert "&lt;b&gt;Bo&lt;/b&gt;" in text


def test_a_failed_run_shows_its_error_and_output(boss, executor):
    definition = flow({"add": ("llm", {"retry": 1})})
    run_id = workflow_runs.start(definition, pins={"add": {"error": "no luck"}}).id
    until_status(run_id, "FAILED")
    text = text_of(boss.get(page_of(run_id)))
    assert "Workflow completed with 1 failed node" in text
    assert "&quot;success&quot;: false" in text


def test_children_and_parents_are_linked(boss):
    parent = workflow_runs.start(SUM).id
    child = workflow_runs.start(SUM).id
    Run.objects.filter(pk=child).update(parent_id=parent, root_id=parent, parent_step="kids")
    assert page_of(child) in text_of(boss.get(page_of(parent)))
    assert page_of(parent) in text_of(boss.get(page_of(child)))


def test_long_journals_are_read_page_by_page(boss, monkeypatch):
    monkeypatch.setattr("executions.admin.pages.ROWS_PER_PAGE", 1)
    run_id = workflow_runs.start(SUM).id
    runs.cancel(run_id)
    first = text_of(boss.get(page_of(run_id)))
    assert "?events=2#events" in first
    assert "run.canceled" not in first
    second = text_of(boss.get(page_of(run_id) + "?events=2"))
    assert "run.canceled" in second
    assert "?events=3" not in second


@pytest.fixture
def rows(executor):
    """At least one row of each model."""
    run_id = workflow_runs.start(REVIEW).id
    until_asked(run_id)
    workflows.save_workflow("sum", SUM)
    queues.pause("slow", actor=Actor("tests"), reason="To have an entry.")


# A queue's page says how much is in it; only what is QUEUED or EXECUTING is counted for that.
@pytest.mark.parametrize("model", [name for name in MODELS if name != "queue"])
def test_no_list_counts_its_table(boss, rows, model):
    with CaptureQueriesContext(connection) as queries:
        text_of(boss.get(list_of(model)))
    assert queries.captured_queries
    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_added_changed_or_deleted(boss, rows, model):
    assert "delete_selected" not in text_of(boss.get(list_of(model)))
    found = MODELS[model]._default_manager
    pk = found.values_list("pk", flat=True)[0]
    assert boss.get(f"{list_of(model)}add/").status_code == 403
    assert boss.post(f"{list_of(model)}add/", {}).status_code == 403
    page = page_of(pk, model)
    assert 'name="_save"' not in text_of(boss.get(page))
    assert boss.post(page, {"status": "COMPLETED"}).status_code == 403
    delete = reverse(f"admin:executions_{model}_delete", args=[quote(pk)])
    assert boss.post(delete, {"post": "yes"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    boss.post(list_of(model), data)
    assert found.filter(pk=pk).exists()


def test_a_token_does_not_show_its_secret(boss, executor):
    run_id = workflow_runs.start(REVIEW).id
    token = until_asked(run_id)["reviews"][0]["tokenId"]
    WaitToken.objects.filter(pk=token).update(secret_hash=b"quite secret")
    page = reverse("admin:executions_waittoken_change", args=[quote(token)])
    assert "secret" not in text_of(boss.get(page)).lower().replace("csrf", "")


def test_a_run_shows_its_exposed_state_its_worker_and_its_tokens(boss, executor):
    run_id = runs.trigger(waits, {"who": "Ada"}).id
    until_parked(executor, run_id)
    Run.objects.filter(pk=run_id).update(worker=executor.ticker.worker_id)
    text = text_of(boss.get(page_of(run_id)))
    assert "&quot;phase&quot;: &quot;asking&quot;" in text
    assert executor.ticker.worker_id in text
    assert f"process {Worker.objects.get(pk=executor.ticker.worker_id).pid} on" in text
    assert WaitToken.objects.get(run_id=run_id).pk in text


def test_a_run_and_its_forks_are_linked(boss):
    run_id = runs.trigger(plain, 1).id
    fork = runs.replay(run_id).id
    assert page_of(fork) in text_of(boss.get(page_of(run_id)))
    assert page_of(run_id) in text_of(boss.get(page_of(fork)))


def test_steps_of_earlier_generations_are_shown_apart(boss):
    run_id = runs.trigger(plain, 1).id
    assert "Steps of earlier generations" not in text_of(boss.get(page_of(run_id)))
    PastStep.objects.create(
        run_id=run_id, generation=0, key="long-ago", kind="step", status="COMPLETED", seq=1,
        attempt=1, output={"kept": True}, started_at=NOON, finished_at=NOON,
    )  # fmt: skip
    text = text_of(boss.get(page_of(run_id)))
    assert "Steps of earlier generations" in text
    assert "long-ago" in text
    assert "&quot;kept&quot;: true" in text


def test_what_people_did_to_a_run_and_its_tokens_is_on_its_page(boss, executor):
    run_id = runs.trigger(waits, 1).id
    until_parked(executor, run_id)
    runs.pause(run_id, reason="It is too loud.", actor=Actor("Bo"))
    text = text_of(boss.get(page_of(run_id)))
    assert "It is too loud." in text
    assert "run.pause" in text


def hostile_run():
    """A run with markup in every text that comes from outside."""
    run_id = runs.trigger(plain, {HOSTILE: HOSTILE}, tags=["t</b>" + SCRIPT]).id
    text = {HOSTILE: HOSTILE}
    Run.objects.filter(pk=run_id).update(
        task=HOSTILE, queue=HOSTILE, status="NEEDS_ATTENTION", error=text, output=text,
        cancel_reason=HOSTILE, concurrency_key=HOSTILE, parent_step=HOSTILE, worker=HOSTILE,
    )  # fmt: skip
    RunData.objects.filter(run_id=run_id).update(metadata=text, exposed=text)
    Step.objects.create(
        run_id=run_id, key=HOSTILE, kind=HOSTILE, status="FAILED", seq=1, attempt=2, input=text,
        output=text, error=text, heartbeat=text, finished_at=NOON, started_at=NOON,
    )  # fmt: skip
    PastStep.objects.create(
        run_id=run_id, generation=0, key=HOSTILE, kind=HOSTILE, status=HOSTILE, attempt=1,
        input=text, output=text, error=text, started_at=NOON,
    )  # fmt: skip
    RunEvent.objects.create(run_id=run_id, seq=99, type=HOSTILE, data=text)
    token = WaitToken.objects.create(
        id="waitpoint_" + run_id[4:], run_id=run_id, step_key=HOSTILE, output=text, tags=[SCRIPT]
    )
    child = runs.trigger(plain, 1).id
    Run.objects.filter(pk=child).update(parent_id=run_id, parent_step=HOSTILE, task=HOSTILE)
    Worker.objects.create(id=HOSTILE, host=HOSTILE, pid=1, process_started=1)
    queues.pause(SCRIPT, reason=HOSTILE, actor=Actor(HOSTILE))
    runs.release(run_id, reason=HOSTILE, actor=Actor(HOSTILE))
    return run_id, token.pk


def test_nothing_that_comes_from_outside_is_markup(boss):
    run_id, token = hostile_run()
    entry = AuditEntry.objects.first()
    pages = [
        page_of(run_id), page_of(token, "waittoken"), page_of(HOSTILE, "worker"),
        page_of(SCRIPT, "queue"), page_of(entry.pk, "auditentry"),
        *(list_of(model) for model in MODELS),
        list_of("run") + "?q=" + urlquote(HOSTILE), list_of("run") + "?tag=" + urlquote(HOSTILE),
        list_of("run") + "?task=" + urlquote(HOSTILE),
        list_of("run") + "?created_from=" + urlquote(HOSTILE),
        act_url("cancel", run_id), act_url("fork", run_id, step=HOSTILE),
        act_url("replay", run_id), act_url("complete", token, model="waittoken"),
        act_url("pause", SCRIPT, model="queue"),
    ]  # fmt: skip
    for page in pages:
        text = text_of(boss.get(page, follow=True))
        assert "<script>alert" not in text, page
        assert "<img src=x" not in text, page
    assert text_of(boss.get(page_of(run_id))).count(SHOWN) > 20
    refused = do(boss, "fork", run_id, step=HOSTILE, how="edit", output="{").content.decode()
    assert "<script>alert" not in refused


def test_a_run_without_its_data_is_still_shown(boss):
    run_id = runs.trigger(plain, 1).id
    RunData.objects.filter(run_id=run_id).delete()
    assert run_id in text_of(boss.get(page_of(run_id)))


def test_a_failed_step_shows_its_attempts(boss, executor):
    run_id = runs.trigger(fails, "no luck").id
    until_status(run_id, "FAILED")
    text = text_of(boss.get(page_of(run_id)))
    assert "failed, " in text
    assert "attempt 3" in text
    assert text.count("<title>failed attempt") == 2
