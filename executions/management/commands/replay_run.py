"""manage.py replay_run RUN: a new run of an old one, whole or from a step on."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from executions import console, forks, runs, standalone
from executions.console import ServiceCommand
from executions.errors import FlowMaestroError, Invalid
from executions.forks import UNCHANGED, Plan
from executions.models import Run
from executions.rules import durations
from executions.rules.values import Json
from executions.triggering import ResultTimeout


class Command(ServiceCommand):
    """Replays a run, or forks it from a step with edited outputs."""

    help = (
        "Start a new run of an old one: from the start, or with its journal up to a step, edited "
        "where asked. With --wait, exits with 1 unless the new run completes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which run, what of it is taken over, and why."""
        super().add_arguments(parser)
        parser.add_argument("run", metavar="RUN", help="the id of the old run")
        parser.add_argument(
            "--from", dest="from_step", metavar="STEP",
            help="do this step, and all that ended after it, anew",
        )  # fmt: skip
        parser.add_argument(
            "--set", dest="outputs", metavar="STEP=JSON", action="append", default=[],
            help="take this step as completed with this output; repeatable",
        )  # fmt: skip
        parser.add_argument("--payload", metavar="JSON", help="instead of the old run's")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser.add_argument("--reason", metavar="TEXT", help="stored in the audit log")
        parser.add_argument(
            "--wait", metavar="SECONDS", help="wait so long for the new run's end; 30, 5m, 1h"
        )

    def work(self, options: dict[str, Any]) -> bool:
        """Says what would be done, or does it."""
        given: dict[str, Any] = {
            "from_step": options["from_step"],
            "outputs": dict(_edit(text) for text in options["outputs"]),
            "payload": UNCHANGED
            if options["payload"] is None
            else console.parsed(options["payload"], "--payload"),
        }
        wait = None if options["wait"] is None else _seconds(options["wait"])
        plan = forks.preview(options["run"], **given)
        if options["dry_run"]:
            self._show_plan(plan, options["run"], is_new_payload=options["payload"] is not None)
            return True
        handle = runs.replay(
            options["run"], **given, reason=options["reason"], actor=console.actor()
        )
        self.note(f"Run {handle.id}")
        run = handle.retrieve() if wait is None else self._ended(handle, wait)
        self.document(lambda: {"run": run.id, "forkedFrom": run.forked_from, **_outcome(run)})
        if wait is None:
            if not standalone.is_anybody_working():
                self.note("Nobody works on this database now; `manage.py up` goes on with it.")
            return True
        self.say(f"{run.status}" + ("" if run.error is None else f": {run.error.get('message')}"))
        return run.status == "COMPLETED"

    def _ended(self, handle: runs.Handle, seconds: float) -> Run:
        own = standalone.OwnWorker()
        try:
            if own.ensure():
                self.note("Nobody works on this database; this command does it itself.")
            handle.result(timeout=seconds)
        except ResultTimeout as error:
            self.note(error.message)
        except FlowMaestroError:
            pass  # How it ended is in its row.
        finally:
            own.stop()
        return handle.retrieve()

    def _show_plan(self, plan: Plan, run_id: str, *, is_new_payload: bool) -> None:
        self.document(
            lambda: {
                "run": run_id,
                "takenOver": list(plan.taken_over),
                "edited": list(plan.edited),
                "redone": list(plan.redone),
                "payload": "new" if is_new_payload else "unchanged",
            }
        )
        for what, keys in (
            ("taken over", plan.taken_over), ("edited", plan.edited), ("done anew", plan.redone),
        ):  # fmt: skip
            for key in keys:
                self.say(f"{what:<10}  {key}")
        self.say(f"payload     {'new' if is_new_payload else 'unchanged'}")
        self.say("Nothing was written.")


def _edit(text: str) -> tuple[str, Json]:
    # A key may hold "=", JSON outside of strings does not; the first one that leaves JSON counts.
    key, separator, value = text.partition("=")
    while separator:
        try:
            return key, console.parsed(value, f"--set {key}")
        except Invalid:
            more, separator, rest = value.partition("=")
            if not separator:
                raise
            key, value = f"{key}={more}", rest
    raise Invalid(f"--set takes STEP=JSON, not {text!r}.", field="--set")


def _seconds(text: str) -> float:
    try:
        return durations.seconds(float(text), field="--wait")
    except ValueError:
        return durations.seconds(text, field="--wait")


def _outcome(run: Run) -> dict[str, Json]:
    return {"status": run.status, "output": run.output, "error": run.error}
