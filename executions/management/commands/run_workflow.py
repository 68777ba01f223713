"""manage.py run_workflow FILE: runs a workflow definition to its end, at the terminal."""

from __future__ import annotations

import json
import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from executions import standalone, workflow_runs
from executions.errors import FlowMaestroError, Invalid
from executions.examples import unwrap
from executions.models import Run
from executions.rules.definition import InvalidDefinition
from executions.rules.statuses import RunStatus
from executions.templatetags.run_format import lasting
from executions.terminal import Follower, printable

Json = Any

BAD_INPUT = 2
INTERRUPTED = 130


class Command(BaseCommand):
    """Runs a definition on the running workers, or on one of its own when nobody works."""

    help = (
        "Run a workflow definition to its end. Exits with 0 when it completed, 1 when it did not, "
        "2 when the file, the inputs or the pins are wrong. Ctrl-C cancels the run."
    )
    # Checks may ask the database, which this command may have to start first.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The file, what the run is given, and how it is shown."""
        parser.add_argument(
            "file", metavar="FILE", help="a definition, or {name, definition}; - reads stdin"
        )
        parser.add_argument("--inputs", metavar="JSON", help="an object of inputs by name")
        parser.add_argument("--pins", metavar="JSON", help="what stands in for nodes, by node id")
        parser.add_argument(
            "--json",
            action="store_true",
            help="print one JSON document with the outcome; progress goes to stderr",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check everything that needs no database, then run."""
        self._as_json = bool(options["json"])
        payload = self._payload(options["file"], options["inputs"], options["pins"])
        try:
            with standalone.database(self._say):
                run = self._run(payload)
        except Invalid as error:
            raise CommandError(_text_of(error), returncode=BAD_INPUT) from error
        except FlowMaestroError as error:
            raise CommandError(error.message) from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        if run.status != RunStatus.COMPLETED:
            sys.exit(1)

    def _run(self, payload: dict[str, Json]) -> Run:
        handle = workflow_runs.start(
            payload["workflowDefinition"], inputs=payload["inputs"], pins=payload.get("pins")
        )
        own = standalone.OwnWorker()

        def watch() -> None:
            if own.ensure():
                self._say("Nobody works on this database; this command does it itself.")

        self._say(f"Run {handle.id}")
        try:
            watch()
            follower = Follower(handle.id, self._say, watch=watch)
            with _interrupts(follower):
                run = follower.follow()
        finally:
            own.stop()
        self._show(run)
        return run

    # ---- in -------------------------------------------------------------------------------------

    def _payload(self, file: str, inputs: str | None, pins: str | None) -> dict[str, Json]:
        definition, wrapper = unwrap(_parse(_read(file), file))
        given = {} if inputs is None else _parse(inputs, "--inputs")
        samples = wrapper.get("inputs")
        if isinstance(samples, dict) and isinstance(given, dict):
            given = {**samples, **given}
        try:
            return workflow_runs.payload_of(
                definition, inputs=given, pins=None if pins is None else _parse(pins, "--pins")
            )
        except Invalid as error:
            raise CommandError(f"{file}: {_text_of(error)}", returncode=BAD_INPUT) from error

    # ---- out ------------------------------------------------------------------------------------

    def _say(self, line: str) -> None:
        """A line of progress. With --json, standard output is for the outcome alone."""
        out = self.stderr if self._as_json else self.stdout
        out.write(line, style_func=str)
        out.flush()

    def _show(self, run: Run) -> None:
        outputs, error = workflow_runs.outputs_of(run), workflow_runs.error_of(run)
        if self._as_json:
            outcome = {
                "executionId": run.id,
                "status": run.status,
                "outputs": outputs,
                "error": error,
                "nodes": workflow_runs.nodes_of(run),
            }
            self.stdout.write(json.dumps(outcome, ensure_ascii=False, indent=2))
            return
        self._say(f"{run.status} after {lasting(run.started_at, run.finished_at) or '0 ms'}")
        if error is not None:
            self._say(printable(error))
        if outputs is not None:
            self._say(json.dumps(outputs, ensure_ascii=False, indent=2))


@contextmanager
def _interrupts(follower: Follower) -> Iterator[None]:
    """Ctrl-C asks for the run's cancellation; a second one leaves at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_sigint(signum: int, frame: Any) -> None:
        if follower.is_interrupted:
            raise KeyboardInterrupt
        follower.is_interrupted = True

    before = signal.signal(signal.SIGINT, on_sigint)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", returncode=BAD_INPUT) from error
    except ValueError as error:
        raise CommandError(f"{file} is not UTF-8 text: {error}", returncode=BAD_INPUT) from error


def _parse(text: str, source: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{source} is not JSON: {error}", returncode=BAD_INPUT) from error


def _text_of(error: FlowMaestroError) -> str:
    """The error with each issue of a definition on a line of its own."""
    if not isinstance(error, InvalidDefinition):
        return error.message
    wrong = [issue for issue in error.issues if issue.severity == "error"]
    return "\n".join(["the workflow cannot run:", *(f"  {issue.message}" for issue in wrong)])
