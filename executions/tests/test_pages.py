"""The HTML pages, as they are before any script runs."""

from __future__ import annotations

import json
import re

import pytest
from django.conf import settings as project
from django.test import Client

from executions import examples, runs, workflow_runs
from executions.models import AuditEntry, Run
from executions.registry import task
from executions.tests.bodies import ONCE
from executions.tests.conftest import until_status
from executions.tests.flows import flow
from executions.tests.people import REVIEW, SUM, person, until_asked

WARNS = flow({"i": ("input", {"inputName": "x", "required": True}, {"name": "the x"})})
MARKUP = "<img src=x onerror=alert(1)>"


@task("pages.order", retry=ONCE)
async def order(payload, ctx):
    """A task that is no workflow, and fails."""
    await ctx.step("look", lambda: payload)
    await ctx.step("take", lambda: payload["order"], retry=ONCE)


@task("pages.echo")
async def echo(payload, ctx):
    """Gives back what it is given."""
    return payload


class Browser(Client):
    """A browser and the person who uses it."""

    def __init__(self):
        super().__init__()
        self.user = person("ada")


@pytest.fixture
def ada(transactional_db):
    """A browser in which ada is logged in."""
    client = Browser()
    client.force_login(client.user)
    return client


def start(ada, definition, **more):
    """The id of a run of ada's."""
    return workflow_runs.start(definition, owner=ada.user.pk, **more).id


@pytest.mark.parametrize("path", ["/", "/runs/run_0/"])
def test_strangers_are_asked_to_log_in(transactional_db, path):
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


def test_every_shipped_example_is_offered_ready_to_start(ada, settings):
    settings.PUBLIC_URL = "http://flows.example:1234"
    shipped = examples.load_all()
    text = ada.get("/").content.decode()
    assert len(shipped) >= 2
    for example in shipped:
        assert example.problem == ""
        assert example.name in text
        assert f'action="/examples/{example.slug}/start"' in text
    assert 'value="http://flows.example:1234"' in text


def test_start_runs_an_example_with_what_the_form_holds(ada, executor):
    example = next(each for each in examples.load_all() if each.slug == "sort-an-order")
    order = {"country": "FR", "lines": [{"price": 5, "quantity": 2}]}
    answer = ada.post(f"/examples/{example.slug}/start", {"order": json.dumps(order)})
    assert answer.status_code == 302
    run = Run.objects.get()
    assert answer.url == f"/runs/{run.id}/"
    assert run.owner == ada.user
    outputs = until_status(run.id, "COMPLETED").output["outputs"]
    assert outputs["shipment"]["total"] == 10
    page = ada.get("/").content.decode()
    assert answer.url in page
    assert "completed" in page


def test_every_example_without_a_network_completes_as_it_is(ada, executor):
    for example in examples.load_all():
        if any(field.name == "base_url" for field in example.fields):
            continue
        form = {field.name: field.value for field in example.fields}
        answer = ada.post(f"/examples/{example.slug}/start", form)
        until_status(answer.url.split("/")[2], "COMPLETED", seconds=20)


def test_inputs_that_are_not_json_are_refused_beside_the_form(ada):
    answer = ada.post("/examples/sort-an-order/start", {"order": "{ no"})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert "The order: not JSON" in text
    assert "{ no</textarea>" in text
    assert not Run.objects.exists()


def test_a_broken_example_says_so_and_the_others_stay(ada, settings, tmp_path):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text(
        json.dumps({"name": "Odd", "definition": {"nodes": {"a": {"type": "nonsense"}}}})
    )
    (tmp_path / "sum.json").write_text(json.dumps({"name": "Sum it", "definition": SUM}))
    settings.EXAMPLES_DIR = tmp_path
    text = ada.get("/").content.decode()
    assert "bad.json: " in text
    assert "nonsense" in text
    assert re.findall(r'action="/examples/(\w+)/start"', text) == ["sum"]
    assert ada.post("/examples/nothing/start").status_code == 404


def test_the_page_of_a_run_is_complete_without_script(ada, executor):
    run_id = start(ada, SUM, inputs={"a": 2, "b": 3})
    until_status(run_id, "COMPLETED")
    text = ada.get(f"/runs/{run_id}/").content.decode()
    assert 'id="status">completed<' in text
    assert re.findall(r'data-node="(\w+)"', text) == ["add", "end"]
    assert "&quot;sum&quot;: 5" in text
    assert 'data-final="true"' in text
    assert "run.completed" in text


def test_payloads_are_text_and_never_markup(ada, executor):
    definition = flow(
        {
            "i": ("input", {"inputName": "x"}, {"name": MARKUP}),
            "ask": ("humanReview", {"prompt": "{{x}}", "description": MARKUP}),
        },
        "i>ask",
        name=MARKUP,
    )
    run_id = start(ada, definition, inputs={"x": MARKUP})
    until_asked(run_id)
    for path in (f"/runs/{run_id}/", "/"):
        text = ada.get(path).content.decode()
        assert MARKUP not in text
        assert "&lt;img src=x" in text


def test_a_review_is_shown_refused_with_a_reason_and_then_taken(ada, executor):
    run_id = start(ada, REVIEW)
    token = until_asked(run_id)["reviews"][0]["tokenId"]
    text = ada.get(f"/runs/{run_id}/").content.decode()
    assert "How many for Ada?" in text
    assert "a number, at least 1, at most 5" in text

    refused = ada.post(f"/runs/{run_id}/answer", {"token_id": token, "response": "7"})
    assert refused.status_code == 400
    assert "7 is above the most allowed, 5." in refused.content.decode()
    assert 'value="7"' in refused.content.decode()

    taken = ada.post(f"/runs/{run_id}/answer", {"token_id": token, "response": "3"})
    assert (taken.status_code, taken.url) == (302, f"/runs/{run_id}/")
    assert until_status(run_id, "COMPLETED").output["outputs"] == {"count": 3}

    assert AuditEntry.objects.get(action="token.complete").actor == "ada"

    late = ada.post(f"/runs/{run_id}/answer", {"token_id": token, "response": "3"}, follow=True)
    assert "a token has one outcome" in late.content.decode()


@pytest.mark.parametrize(
    ("kind", "control"),
    [
        ("text", "<textarea"),
        ("number", 'inputmode="decimal"'),
        ("boolean", "<select"),
        ("json", "<textarea"),
    ],
)
def test_each_kind_of_answer_has_its_control(ada, executor, kind, control):
    definition = flow({"ask": ("humanReview", {"prompt": "Well?", "inputType": kind})})
    run_id = start(ada, definition)
    until_asked(run_id)
    form = ada.get(f"/runs/{run_id}/").content.decode()
    shown = form.partition('<div id="reviews">')[2].partition("</div>")[0]
    assert control in shown


def test_a_run_is_cancelled_from_its_page(ada, executor):
    run_id = start(ada, REVIEW)
    until_asked(run_id)
    assert ada.post(f"/runs/{run_id}/cancel").status_code == 302
    until_status(run_id, "CANCELED")
    text = ada.get(f"/runs/{run_id}/").content.decode()
    assert "Cancelled by ada." in text
    again = ada.post(f"/runs/{run_id}/cancel", follow=True)
    assert "nothing can change it any more" in again.content.decode()


def test_a_run_of_somebody_else_is_not_there(ada):
    run_id = workflow_runs.start(SUM, owner=person("bo").pk).id
    assert ada.get(f"/runs/{run_id}/").status_code == 404
    for action in ("answer", "cancel"):
        assert ada.post(f"/runs/{run_id}/{action}", {"response": "1"}).status_code == 404
    assert runs.retrieve(run_id).status == "QUEUED"
    assert run_id not in ada.get("/").content.decode()


def test_a_run_of_any_other_task_has_a_page(ada):
    run_id = runs.trigger("orchestrator", {"workflowId": "nothing"}, owner=ada.user.pk).id
    answer = ada.get(f"/runs/{run_id}/")
    assert answer.status_code == 200
    assert "run.queued" in answer.content.decode()


def test_a_run_of_a_plain_task_is_listed_and_shows_its_steps_and_error(ada, executor):
    run_id = runs.trigger(order, {}, owner=ada.user.pk).id
    until_status(run_id, "FAILED")
    assert f'/runs/{run_id}/">pages.order<' in ada.get("/").content.decode()
    text = ada.get(f"/runs/{run_id}/").content.decode()
    assert re.search(r'id="workflow" hidden', text)
    steps = text.partition('id="steps"')[2].partition("</ol>")[0]
    assert re.findall(r'data-part="name">(\w+)<', steps) == ["look", "take"]
    assert re.findall(r'data-part="status">(\w+)<', steps) == ["completed", "failed"]
    assert "step · 1 attempt<" in steps
    assert "KeyError: &#x27;order&#x27;" in steps
    failure = text.partition('id="failure"')[2].partition("</section>")[0]
    assert "KeyError" in failure
    assert "&#x27;order&#x27;" in failure


@pytest.mark.parametrize("payload", [None, 3, "text", ["workflowDefinition"], {"nodes": {"a": 1}}])
def test_what_a_plain_task_takes_and_gives_may_be_anything(ada, executor, payload):
    run_id = runs.trigger(echo, payload, owner=ada.user.pk).id
    until_status(run_id, "COMPLETED")
    assert run_id in ada.get("/").content.decode()
    text = ada.get(f"/runs/{run_id}/").content.decode()
    assert 'id="status">completed<' in text


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"type": "KeyError", "message": "'order'"}, "KeyError: 'order'"),
        ({"type": "KeyError", "message": "A KeyError."}, "A KeyError."),
        ({"type": "Gone", "message": ""}, "Gone"),
        ({"message": "No."}, "No."),
        (None, None),
    ],
)
def test_an_error_is_shown_with_its_type_where_that_is_news(error, shown):
    run = Run(status="FAILED", error=error)
    assert workflow_runs.error_text_of(run) == shown


def test_what_a_node_warns_of_stands_under_it(ada, executor):
    run_id = start(ada, WARNS)
    until_status(run_id, "COMPLETED")
    text = ada.get(f"/runs/{run_id}/").content.decode()
    assert "<li>The input &#x27;x&#x27; was not given; it is null.</li>" in text


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/runs/run_0/answer", "/runs/run_0/"),
        ("/runs/run_0/cancel", "/runs/run_0/"),
        ("/examples/sort-an-order/start", "/"),
    ],
)
def test_who_opens_the_address_of_a_form_is_led_to_its_page(ada, path, place):
    answer = ada.get(path)
    assert (answer.status_code, answer.url) == (302, place)
    assert ada.put(path).status_code == 405


def test_the_icon_is_answered_without_an_account(db):
    assert Client().get("/favicon.ico").status_code == 204


def test_the_login_page_says_whose_it_is(db):
    text = Client().get("/admin/login/").content.decode()
    title = text.partition("<title>")[2].partition("</title>")[0]
    assert "FlowMaestro" in title
    assert "Django" not in text.partition("<body")[2]


def test_forms_carry_a_csrf_token(transactional_db):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("ada"))
    assert client.post("/examples/sort-an-order/start", {}).status_code == 403
    text = client.get("/").content.decode()
    assert text.count("csrfmiddlewaretoken") == len(examples.load_all()) + 1
    assert not Run.objects.exists()


@pytest.mark.parametrize("name", ["pages.css", "run_page.js", "format.js"])
def test_the_pages_files_are_served(ada, name):
    answer = ada.get(f"{project.STATIC_URL}executions/{name}")
    assert answer.status_code == 200
    assert len(answer.getvalue()) > 100
    answer.close()
