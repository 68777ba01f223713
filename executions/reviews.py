"""What is done to human reviews: find a run's open questions, answer one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executions import runs, tokens
from executions.audit import Actor
from executions.errors import Conflict, NotFound
from executions.models import Run, WaitToken
from executions.nodes.human_review import check_answer, unpacked
from executions.rules.statuses import TokenStatus

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A question that a run waits on. `form` is what the humanReview node shows of itself."""

    run_id: str
    token_id: str
    form: dict[str, Json]


class NoOpenReview(Conflict):
    """The run asks nothing at the moment."""

    code = "no_open_review"

    def __init__(self, run: Run) -> None:
        ended = "has ended and " if run.is_final else ""
        super().__init__(
            f"Run {run.id} {ended}is {run.status}; no question of it is open.", field="response"
        )


def open_reviews(run: Run) -> list[Review]:
    """The run's open questions, the oldest first."""
    shown = run.data.metadata.get("pauseContexts") or []
    asked = {
        form["tokenId"]: form
        for form in shown
        # A node that waits for something other than a person shows no kind of answer.
        if isinstance(form, dict) and form.get("tokenId") and "inputType" in form
    }
    if not asked or run.is_final:
        return []
    # What the run shows lags behind its tokens: an answered question shows until the run goes on.
    waiting = set(
        WaitToken.objects.filter(
            pk__in=asked, run_id=run.id, status=TokenStatus.WAITING
        ).values_list("pk", flat=True)
    )
    return [
        Review(run_id=run.id, token_id=token, form=form)
        for token, form in asked.items()
        if token in waiting
    ]


def rules_of(form: Mapping[str, Json]) -> str:
    """What an answer must look like, in words."""
    given = form.get("validation")
    validation = given if isinstance(given, Mapping) else {}
    kind = {"number": "a number", "boolean": "yes or no", "json": "JSON"}
    found = [kind.get(str(form.get("inputType")), "text")]
    for name, text in (
        ("min", "at least {}"),
        ("max", "at most {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("pattern", "of the form {}"),
    ):
        if validation.get(name) not in (None, ""):
            found.append(text.format(validation[name]))
    if validation.get("jsonSchema") is not None:
        found.append("that fits the review's schema")
    if not form.get("required", True):
        found.append("or nothing")
    return ", ".join(found)


def answer(
    run_id: str, response: Json, *, token_id: str | None = None, reason: str | None = None,
    actor: Actor | None = None,
) -> WaitToken:  # fmt: skip
    """Answers a run's open question: the one of `token_id`, else the oldest.

    Raises NotFound for an unknown run or token, Invalid naming what is wrong with the answer,
    Conflict when no question is open or somebody else was faster.
    """
    return _answer(_find(runs.retrieve(run_id), token_id), response, reason=reason, actor=actor)


def submit_input(
    run_id: str, response: Json, *, token_id: str, reason: str | None = None,
    actor: Actor | None = None,
) -> WaitToken:  # fmt: skip
    """Gives what a person said to the token that a run, or one that it started, waits on.

    A review takes it as its answer; any other wait gets `{"message": response}`. Raises what
    `answer` does.
    """
    run = runs.retrieve(run_id)
    token = _token(run, token_id)
    asking = run if token.run_id == run.id else _below(run, token)
    for review in open_reviews(asking):
        if review.token_id == token_id:
            return _answer(review, response, reason=reason, actor=actor)
    if token.status != TokenStatus.WAITING:
        raise tokens.TokenClosed(token)
    return tokens.complete(token_id, {"message": response}, reason=reason, actor=actor)


def complete_token(
    token_id: str, output: Json, *, reason: str | None = None, actor: Actor | None = None
) -> WaitToken:
    """Completes any token from outside; one that is a review's takes the output as its answer.

    The answer may come in one of the envelopes that clients use, and is checked as by `answer`:
    the question stays open after one that does not fit. Raises what `tokens.complete` does.
    """
    token = tokens.retrieve(token_id)
    if token.run_id is not None and token.status == TokenStatus.WAITING:
        for review in open_reviews(runs.retrieve(token.run_id)):
            if review.token_id == token_id:
                response = unpacked(output, str(review.form.get("inputType") or "text"))
                return _answer(review, response, reason=reason, actor=actor)
    return tokens.complete(token_id, output, reason=reason, actor=actor)


def _token(run: Run, token_id: str) -> WaitToken:
    """The token. One that nobody has is refused as one of another run is."""
    try:
        return tokens.retrieve(token_id)
    except NotFound:
        raise NotFound(f"Run {run.id} has no wait token {token_id!r}.", field="tokenId") from None


def _below(run: Run, token: WaitToken) -> Run:
    """The run that waits on a token, one of those under the given run."""
    found = None
    if token.run_id is not None:
        found = Run.objects.select_related("data").filter(pk=token.run_id).first()
    above = found
    while above is not None and above.id != run.id:
        above = Run.objects.only("parent_id").filter(pk=above.parent_id).first()
    if found is None or above is None:
        raise NotFound(f"Run {run.id} has no wait token {token.id!r}.", field="tokenId")
    return found


def _answer(
    review: Review, response: Json, *, reason: str | None, actor: Actor | None
) -> WaitToken:
    check_answer(review.form, response)
    # The node reads the answer as it was given: what it became here is not what a person typed.
    output = {
        "response": response, "variableName": review.form.get("variableName", "userResponse"),
    }  # fmt: skip
    return tokens.complete(review.token_id, output, reason=reason, actor=actor)


def _find(run: Run, token_id: str | None) -> Review:
    reviews = open_reviews(run)
    if token_id is None:
        if not reviews:
            raise NoOpenReview(run)
        return reviews[0]
    for review in reviews:
        if review.token_id == token_id:
            return review
    token = _token(run, token_id)
    if token.run_id != run.id:
        raise NotFound(f"Run {run.id} has no wait token {token_id!r}.", field="tokenId")
    if token.status != TokenStatus.WAITING:
        raise tokens.TokenClosed(token)
    raise NoOpenReview(run)
