"""Follows a run at a terminal: a line per thing that happens, and its questions to the person."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TextIO

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from executions import reviews, runs, workflow_runs
from executions.errors import FlowMaestroError, Invalid, Unavailable
from executions.models import Run, RunEvent
from executions.reviews import Review
from executions.rules.node_states import state_after

POLL_SECONDS = 0.1
# How often somebody must be found working, and how long a database may be away.
WATCH_SECONDS = 3.0
OUTAGE_SECONDS = 60.0
_CHANGES_QUESTIONS = frozenset({"paused", "resumed", "answer_refused"})


class Lines:
    """Whole lines from a terminal, without waiting for them. None when there is no terminal."""

    def __init__(self, source: TextIO) -> None:
        self._file = source.fileno()
        self._text = ""
        self.has_ended = False

    @classmethod
    def of(cls, source: TextIO) -> Lines | None:
        """The lines of a terminal; None for a file, a pipe or nothing."""
        try:
            return cls(source) if source.isatty() else None
        except (ValueError, OSError):
            return None

    def next(self, seconds: float) -> str | None:
        """The next line, waited for this long; None when there is none."""
        if "\n" not in self._text and select.select([self._file], [], [], seconds)[0]:
            data = os.read(self._file, 65_536)
            self.has_ended = not data
            self._text += data.decode(errors="replace")
        line, separator, rest = self._text.partition("\n")
        if not separator:
            return None
        self._text = rest
        return line


class Follower:
    """Follows one run to its end."""

    def __init__(
        self,
        run_id: str,
        say: Callable[[str], None],
        *,
        source: TextIO | None = None,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._run_id = run_id
        self._say = say
        # Called now and then, so that a run does not wait for workers that are gone.
        self._watch = watch
        self._lines = Lines.of(source or sys.stdin)
        self._cursor = 0
        self._questions: list[Review] = []
        self._asked: str | None = None
        self._told: set[str] = set()
        self._watched_at = time.monotonic()
        self.is_interrupted = False

    def follow(self) -> Run:
        """Say what happens until the run has ended; the run then.

        Raises Unavailable when the database stays away.
        """
        is_cancelled = False
        away_since: float | None = None
        while True:
            try:
                if self.is_interrupted and not is_cancelled:
                    is_cancelled = True
                    self._cancel()
                if self._look():
                    return self._ended()
                away_since = None
            except (OperationalError, InterfaceError) as error:
                connection.close()
                now = time.monotonic()
                if away_since is None:
                    away_since = now
                    self._say("The database does not answer; trying again ...")
                elif now - away_since > OUTAGE_SECONDS:
                    raise Unavailable(
                        f"The database does not answer. Run {self._run_id} goes on once it does."
                    ) from error
            self._pause()

    def _ended(self) -> Run:
        run = runs.retrieve(self._run_id)
        for line in warning_lines(run):
            self._say(line)
        return run

    def _cancel(self) -> None:
        self._say("Cancelling ...")
        with contextlib.suppress(FlowMaestroError):
            runs.cancel(self._run_id, reason="Cancelled at the terminal.")

    def _look(self) -> bool:
        """Take in what happened since; whether the run has ended and all of it is said."""
        run = Run.objects.only("id", "status").get(pk=self._run_id)
        changed = False
        for event in self._new_events():
            line = line_of(event)
            if line is not None:
                self._say(line)
            changed = changed or event.type in _CHANGES_QUESTIONS
        if run.is_final:
            return True
        if changed:
            self._questions = reviews.open_reviews(runs.retrieve(self._run_id))
        self._ask()
        if time.monotonic() - self._watched_at > WATCH_SECONDS:
            self._watched_at = time.monotonic()
            self._watch()
        return False

    def _new_events(self) -> Iterator[RunEvent]:
        while found := runs.events(self._run_id, after=self._cursor, limit=500):
            self._cursor = found[-1].seq
            yield from found

    # ---- questions ------------------------------------------------------------------------------

    def _ask(self) -> None:
        if self._lines is None or self._lines.has_ended:
            for review in self._questions:
                if review.token_id not in self._told:
                    self._told.add(review.token_id)
                    self._say(_how_to_answer(review))
            return
        if not self._questions:
            self._asked = None
        elif self._asked != self._questions[0].token_id:
            self._asked = self._questions[0].token_id
            self._say(_question(self._questions[0]))

    def _pause(self) -> None:
        """Wait a moment, or for what the person types."""
        if self._lines is None or self._lines.has_ended or self._asked is None:
            time.sleep(POLL_SECONDS)
            return
        line = self._lines.next(POLL_SECONDS)
        if line is None or not self._questions:
            return
        review = self._questions[0]
        try:
            reviews.answer(self._run_id, line, token_id=review.token_id)
        except Invalid as error:
            self._say(f"? {printable(error.message)}\n? Try again:")
            return
        except FlowMaestroError as error:
            self._say(f"? {printable(error.message)}")
        self._questions = self._questions[1:]


def line_of(event: RunEvent) -> str | None:
    """What is said of an event; None for one that says nothing to people."""
    data = event.data if isinstance(event.data, dict) else {}
    at = f"{_clock(event.at)}  "
    if event.type == "run.attempt_failed":
        return f"{at}the attempt failed: {printable(_message(data.get('error')))}"
    if event.type == "run.needs_attention":
        return f"{at}the run needs attention: {printable(_message(data.get('error') or data))}"
    state = state_after(event.type, data)
    if state is None or event.type in ("resumed", "answer_refused"):
        return None
    what = "started" if event.type == "node_started" else state["status"]
    line = f"{at}{what:<10} {printable(str(data.get('nodeName') or data['nodeId']))}"
    error = data.get("error")
    return f"{line}: {printable(_message(error))}" if error else line


def warning_lines(run: Run) -> list[str]:
    """What the nodes of a run that has ended warn of, a line each."""
    return [
        f"warning: {printable(str(node.get('name') or key))}: {printable(str(warning))}"
        for key, node in workflow_runs.nodes_of(run).items()
        for warning in node.get("warnings", ())
    ]


def printable(text: str) -> str:
    """Text that cannot move a terminal's cursor: control characters become blanks."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _message(error: object) -> str:
    if isinstance(error, dict):
        return str(error.get("message") or error.get("type") or "")
    return str(error or "")


def _clock(at: datetime) -> str:
    return f"{at.astimezone():%H:%M:%S}"


def _question(review: Review) -> str:
    form = review.form
    lines = [f"? {printable(str(form.get('prompt') or form.get('nodeName') or 'Your answer'))}"]
    if form.get("description"):
        lines.append(f"? {printable(str(form['description']))}")
    lines.append(f"? ({printable(reviews.rules_of(form))})")
    return "\n".join(lines)


def _how_to_answer(review: Review) -> str:
    question = printable(str(review.form.get("prompt") or review.form.get("nodeName")))
    page = f"{settings.PUBLIC_URL}/runs/{review.run_id}/"
    call = f"{settings.PUBLIC_URL}/api/executions/{review.run_id}/submit-response"
    return (
        f"? {question}\n"
        f"? The run waits for an answer: on {page}, by POST {call} with "
        '{"response": ...}, or here, started at a terminal.'
    )
