"""The admin shows everything and changes nothing but through services."""

from __future__ import annotations

import pytest
from django.contrib.admin.utils import quote
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from executions import runs, workflow_runs, workflows
from executions.models import Run, WaitToken, Worker, Workflow, WorkflowVersion
from executions.tests.conftest import until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person, until_asked

LIST = "/admin/executions/run/"
MODELS = ["run", "waittoken", "worker", "workflow", "workflowversion"]


@pytest.fixture
def boss(transactional_db):
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(person("boss", is_staff=True, is_superuser=True))
    return client


def page_of(run_id):
    """The address of a run in the admin."""
    return reverse("admin:executions_run_change", args=[quote(run_id)])


def text_of(answer):
    """A page that was served."""
    assert answer.status_code == 200
    return answer.content.decode()


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
    monkeypatch.setattr("executions.admin.ROWS_PER_PAGE", 1)
    run_id = workflow_runs.start(SUM).id
    runs.cancel(run_id)
    first = text_of(boss.get(page_of(run_id)))
    assert "?events=2#events" in first
    assert "run.canceled" not in first
    second = text_of(boss.get(page_of(run_id) + "?events=2"))
    assert "run.canceled" in second
    assert "?events=3" not in second


def test_the_list_is_filtered_and_searched_by_the_beginning_of_an_id(boss):
    first = workflow_runs.start(SUM).id
    second = workflow_runs.start(SUM).id
    runs.cancel(second)
    filtered = text_of(boss.get(LIST, {"status__exact": "CANCELED", "task": "orchestrator"}))
    assert second in filtered
    assert first not in filtered
    assert first in text_of(boss.get(LIST, {"queue": "orchestrator"}))
    found = text_of(boss.get(LIST, {"q": first[:-1]}))
    assert first in found
    assert second not in found


@pytest.mark.parametrize("model", MODELS)
def test_no_list_counts_its_table(boss, executor, model):
    run_id = workflow_runs.start(REVIEW).id
    until_asked(run_id)
    workflows.save_workflow("sum", SUM)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        text_of(boss.get(f"/admin/executions/{model}/"))
    assert queries.captured_queries
    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_added_changed_or_deleted(boss, executor, model):
    run_id = workflow_runs.start(REVIEW).id
    until_asked(run_id)
    workflows.save_workflow("sum", SUM)
    text = text_of(boss.get(f"/admin/executions/{model}/"))
    assert "delete_selected" not in text
    rows = {"run": Run, "waittoken": WaitToken, "worker": Worker, "workflow": Workflow}
    found = rows.get(model, WorkflowVersion)._default_manager
    pk = found.get().pk
    assert boss.get(f"/admin/executions/{model}/add/").status_code == 403
    page = reverse(f"admin:executions_{model}_change", args=[quote(pk)])
    assert 'name="_save"' not in text_of(boss.get(page))
    assert boss.post(page, {}).status_code == 403
    delete = reverse(f"admin:executions_{model}_delete", args=[quote(pk)])
    assert boss.post(delete, {"post": "yes"}).status_code == 403
    assert found.filter(pk=pk).exists()


def test_a_token_does_not_show_its_secret(boss, executor):
    run_id = workflow_runs.start(REVIEW).id
    token = until_asked(run_id)["reviews"][0]["tokenId"]
    WaitToken.objects.filter(pk=token).update(secret_hash=b"quite secret")
    page = reverse("admin:executions_waittoken_change", args=[quote(token)])
    assert "secret" not in text_of(boss.get(page)).lower().replace("csrf", "")


def cancel(client, *ids, action="cancel_runs"):
    """The list after the action."""
    data = {"action": action, "_selected_action": ids}
    return text_of(client.post(LIST, data, follow=True))


def test_cancelling_goes_through_the_service_and_reports_each_refusal(boss, executor):
    waiting = workflow_runs.start(REVIEW).id
    until_asked(waiting)
    final = workflow_runs.start(SUM, inputs={"a": 1, "b": 1}).id
    until_status(final, "COMPLETED")
    text = cancel(boss, waiting, final)
    assert "The cancellation of 1 run is under way." in text
    assert f"{final}: Run {final} ended COMPLETED" in text
    until_status(waiting, "CANCELED")
    assert "boss" in runs.retrieve(waiting).cancel_reason


def test_what_needs_attention_is_released_and_each_refusal_reported(boss):
    stuck = workflow_runs.start(SUM).id
    Run.objects.filter(pk=stuck).update(status="NEEDS_ATTENTION", error={"message": "Changed."})
    queued = workflow_runs.start(SUM).id
    text = cancel(boss, stuck, queued, action="release_runs")
    assert "Queued again: 1 run." in text
    assert f"{queued}: Run {queued} is QUEUED; it needs no attention." in text
    assert runs.retrieve(stuck).status == "QUEUED"


def test_who_may_only_look_is_not_offered_to_cancel(transactional_db):
    from django.contrib.auth.models import Permission

    viewer = person("viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_run"))
    client = Client()
    client.force_login(viewer)
    run_id = workflow_runs.start(SUM).id
    assert run_id in text_of(client.get(LIST))
    cancel(client, run_id)
    assert runs.retrieve(run_id).status == "QUEUED"
    Run.objects.filter(pk=run_id).update(status="NEEDS_ATTENTION")
    cancel(client, run_id, action="release_runs")
    assert runs.retrieve(run_id).status == "NEEDS_ATTENTION"
