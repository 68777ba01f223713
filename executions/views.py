"""The HTML pages: what can be started, and one run as it goes on."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from executions import access, examples, reviews, runs, workflow_runs
from executions.audit import Actor
from executions.errors import Conflict, FlowMaestroError, NotFound
from executions.models import Run, RunEvent

# Kinds of answer; each has its own control, and an unknown one is text.
KINDS = ("text", "number", "boolean", "json")
RECENT_RUNS = 20
SHOWN_EVENTS = 100

View = Callable[..., HttpResponse]


def page(view: View) -> View:
    """For people who are logged in; what they may not see answers 404."""

    @login_required
    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except NotFound as error:
            raise Http404(error.message) from error

    return shown


def form(view: View) -> View:
    """What a form is sent to; who only looks, as after a login, is led to the page it is on."""

    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def sent(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if request.method == "POST":
            return view(request, **kwargs)
        return redirect("run", kwargs["run_id"]) if "run_id" in kwargs else redirect("home")

    return sent


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Nothing, for browsers that ask by themselves; our pages carry their icon."""
    return HttpResponse(status=204, headers={"Cache-Control": "max-age=86400"})


@require_GET
@page
def home(request: HttpRequest) -> HttpResponse:
    """The shipped examples and recent runs."""
    return _home(request)


@form
@page
def start_example(request: HttpRequest, slug: str) -> HttpResponse:
    """Start an example with the inputs of its form."""
    example = examples.load(slug)
    answers = {name: str(value) for name, value in request.POST.items()}
    try:
        inputs = examples.read_inputs(example, answers)
        handle = workflow_runs.start(example.definition, inputs=inputs, owner=request.user.pk)
    except FlowMaestroError as error:
        return _home(request, refused=(slug, error, answers), status=error.http_status)
    return redirect("run", run_id=handle.id)


@require_GET
@page
def run_page(request: HttpRequest, run_id: str) -> HttpResponse:
    """One run: its nodes, its question, what it came to."""
    return _run(request, workflow_runs.retrieve_for(access.of_user(request.user), run_id))


@form
@page
def answer_review(request: HttpRequest, run_id: str) -> HttpResponse:
    """Take the answer to a review; a refused one is shown again with the reason."""
    run = workflow_runs.retrieve_for(access.of_user(request.user), run_id)
    token, response = request.POST.get("token_id"), request.POST.get("response", "")
    try:
        reviews.answer(run.id, response, token_id=token or None, actor=Actor.of(request.user))
    except FlowMaestroError as error:
        if isinstance(error, NotFound):
            raise
        if isinstance(error, Conflict):
            messages.error(request, error.message)
            return redirect("run", run_id=run.id)
        return _run(request, run, refused=(token, error, response), status=error.http_status)
    return redirect("run", run_id=run.id)


@form
@page
def cancel_run(request: HttpRequest, run_id: str) -> HttpResponse:
    """Ask for the run to be cancelled."""
    run = workflow_runs.retrieve_for(access.of_user(request.user), run_id)
    try:
        runs.cancel(run.id, reason=f"Cancelled by {request.user}.", actor=Actor.of(request.user))
    except Conflict as error:
        messages.error(request, error.message)
    return redirect("run", run_id=run.id)


Refusal = tuple[str | None, FlowMaestroError, Any]


def _home(
    request: HttpRequest, *, refused: Refusal | None = None, status: int = 200
) -> HttpResponse:
    shown = []
    for example in examples.load_all():
        is_refused = refused is not None and refused[0] == example.slug
        given = refused[2] if refused is not None and is_refused else {}
        fields = [(field, given.get(field.name, field.value)) for field in example.fields]
        error = refused[1].message if refused is not None and is_refused else ""
        shown.append({"example": example, "fields": fields, "error": error})
    context = {
        "examples": shown,
        "runs": workflow_runs.recent(access.of_user(request.user), limit=RECENT_RUNS),
    }
    return render(request, "executions/home.html", context, status=status)


def _run(
    request: HttpRequest, run: Run, *, refused: Refusal | None = None, status: int = 200
) -> HttpResponse:
    described = workflow_runs.describe(run)
    questions = []
    for form in described["reviews"]:
        is_refused = refused is not None and refused[0] in (form["tokenId"], None)
        questions.append(
            {
                **form,
                "inputType": form["inputType"] if form["inputType"] in KINDS else "text",
                "given": refused[2] if refused is not None and is_refused else "",
                "error": refused[1].message if refused is not None and is_refused else "",
            }
        )
    context = {
        "run": run,
        "described": described,
        "nodes": described["nodes"].items(),
        "is_workflow": workflow_runs.is_workflow(run),
        "reviews": questions,
        "kinds": KINDS,
        "events": _last_events(run),
    }
    return render(request, "executions/run_detail.html", context, status=status)


def _last_events(run: Run) -> list[RunEvent]:
    """The end of the log up to what the run's row counts; the page's script goes on from there."""
    found = RunEvent.objects.filter(run_id=run.id, seq__lte=run.event_seq)
    last = found.exclude(type="metadata").order_by("-seq")[:SHOWN_EVENTS]
    return list(reversed(last))
