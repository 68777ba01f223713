"""Checks every invariant of the engine in the database, and says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.migrations.executor import MigrationExecutor

from executions import audit
from executions.doctor import statements as sql

_EXAMPLES = 5
# What a tick, a takeover or a flush under way may take; what a backlog of timers may.
_GRACE_SECONDS = 15.0
_LATE_SECONDS = 120.0
_TRIGGERS = ("run_final_is_final", "run_start_hook_run", "audit_chain", "audit_stays")


class Severity(StrEnum):
    """How bad a finding is. An error breaks a promise; a warning wants somebody to look."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be: what, how often, where, and what to do."""

    code: str
    severity: Severity
    message: str
    remedy: str
    count: int = 1
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """An invariant: a statement that gives what breaks it, and what is said then."""

    code: str
    severity: Severity
    statement: str
    message: str
    remedy: str


_BUG = "This is a bug of the engine: keep the database as it is and report it."
_WAKE = (
    "It goes on when it is woken: send it any signal, or pause and resume it. A lost wake is a bug "
    "of the engine: report it."
)
_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
_RULES: Final = (
    Rule("events-gap", _ERROR, sql.EVENTS, "Events of runs are not numbered 1..n.", _BUG),
    Rule("chunks-gap", _ERROR, sql.CHUNKS, "Pieces of output streams are missing.", _BUG),
    Rule("orphans", _ERROR, sql.ORPHANS, "Rows belong to runs that are not there.",
          "Somebody deleted runs by hand; delete these rows too, and use `manage.py prune`."),
    Rule("no-data", _ERROR, sql.NO_DATA, "Runs have lost their payload.",
          "Terminate them; use `manage.py prune` to remove runs."),
    Rule("step-places", _ERROR, sql.PLACES, "Two steps of a run ended at one place.", _BUG),
    Rule("step-outcomes", _ERROR, sql.ENDED_STEPS,
          "Steps have a place or a time of ending that does not fit their status.", _BUG),
    Rule("held-by-nobody", _ERROR, sql.HOLDERS,
          "Runs are EXECUTING in the hands of workers that are gone, and none took them over.",
          "Look at the workers' logs for failing ticks; restart the workers."),
    Rule("stale-workers", _WARNING, sql.STALE_WORKERS,
          "Workers are long unseen and not declared dead.",
          "Look at the other workers' logs for failing ticks."),
    Rule("gated-for-nothing", _ERROR, sql.GATED,
          "Queued runs are marked as those of a limited queue that is not there: nobody claims "
          "them.", "Set and reset a limit on their queue, which makes its row anew."),
    Rule("over-limit", _WARNING, sql.OVER_LIMIT,
          "Queues execute more runs than their limit.",
          "So it is for a while after a limit was lowered; if none was, report it."),
    Rule("lost-wake-token", _ERROR, sql.LOST_TOKENS,
          "Runs wait for tokens that have their outcome.", _WAKE),
    Rule("lost-wake-children", _ERROR, sql.LOST_CHILDREN,
          "Runs wait for children that have all ended.", _WAKE),
    Rule("lost-wake-signal", _ERROR, sql.LOST_SIGNALS,
          "Runs wait for signals that lie in their mailbox.", _WAKE),
    Rule("lost-wake-cancel", _ERROR, sql.LOST_CANCELS,
          "Runs wait although their cancellation was asked for.", "Terminate them, and report it."),
    Rule("pending-count", _ERROR, sql.PENDING,
          "Steps count other children than are open.",
          "Their runs would wait for ever or too short; cancel them, and report it."),
    Rule("no-timer", _ERROR, sql.NO_TIMER, "Delayed runs have no time to start.",
          "Reschedule or cancel them."),
    Rule("late-timers", _WARNING, sql.LATE_TIMERS, "Timers are overdue.",
          "Look at the workers' logs for failing ticks; add workers."),
    Rule("late-tokens", _WARNING, sql.LATE_TOKENS, "Tokens should have timed out.",
          "Look at the workers' logs for failing ticks."),
    Rule("token-outcome", _ERROR, sql.TOKEN_SHAPES,
          "Tokens are COMPLETED without a time, or have one without being so.", _BUG),
    Rule("left-waiters", _WARNING, sql.LEFT_WAITERS,
          "Runs are noted as waiting for tokens that have their outcome.",
          "The next tick wakes them; look at the workers' logs for failing ticks."),
    Rule("left-children", _ERROR, sql.LEFT_CHILDREN,
          "Runs go on although their parents ended and should have closed them.",
          "Cancel them, and report it."),
    Rule("no-hook-run", _ERROR, sql.NO_HOOK_RUN,
          "Runs ended without the run that calls their hooks.",
          "Is the trigger run_start_hook_run there? Call the hooks by hand."),
    Rule("wrong-keys", _ERROR, sql.WRONG_KEYS,
          "Idempotency keys name runs that are gone or of another task.",
          "Delete these keys; the next trigger makes them anew."),
    Rule("late-runs", _WARNING, sql.LATE_RUNS,
          "Runs are due for minutes, and nobody claims them.",
          "The workers are full, or cannot claim: look at their logs, or add workers."),
    Rule("needs-attention", _WARNING, sql.ATTENTION,
          "Runs do not fit the code any more and wait for a person.",
          "Read their error: deploy the code they began with and release them, or cancel them."),
    Rule("open-tokens-of-ended-runs", _INFO, sql.OPEN_TOKENS_OF_ENDED,
          "Open tokens belong to runs that have ended. They do no harm.", "Nothing to do."),
)  # fmt: skip


_more_rules: dict[str, tuple[Rule, ...]] = {}


def register(app_label: str, *rules: Rule) -> None:
    """Adds the invariants of a higher app, whose indexes and constraints are looked for too."""
    _more_rules[app_label] = rules


def check(*, on_progress: Callable[[str], None] = lambda code: None) -> list[Finding]:
    """Everything that is not as it should be, the worst first.

    Reads one snapshot of the database, also while it is at work; call it outside of a transaction.
    """
    found: list[Finding] = []
    on_progress("the database")
    found += _of_the_server()
    found += _of_migrations()
    if any(finding.code == "migrations" for finding in found):
        # The statements below are for the tables of this code.
        return found
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        found += _of_settings(cursor)
        found += _of_schema(cursor)
        given, findings = _of_workers(cursor)
        found += findings
        for rule in (*_RULES, *(rule for rules in _more_rules.values() for rule in rules)):
            on_progress(rule.code)
            found += _of_rule(cursor, rule, given)
        on_progress("audit")
        found += _of_audit()
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _of_rule(cursor: CursorWrapper, rule: Rule, given: dict[str, Any]) -> Iterator[Finding]:
    cursor.execute(
        f"SELECT count(*), (array_agg(id ORDER BY id))[1:{_EXAMPLES}] FROM "
        f"(SELECT DISTINCT id FROM ({rule.statement}) x(id)) y",
        given,
    )
    count, examples = cursor.fetchone()
    if count:
        yield Finding(
            code=rule.code, severity=rule.severity, message=rule.message, remedy=rule.remedy,
            count=count, examples=tuple(examples),
        )  # fmt: skip


def _of_workers(cursor: CursorWrapper) -> tuple[dict[str, Any], list[Finding]]:
    """What the rules are given, and whether anybody works."""
    given: dict[str, Any] = {
        "lease": settings.FLOWMAESTRO.LEASE_SECONDS, "grace": _GRACE_SECONDS,
        "late": _LATE_SECONDS,
    }  # fmt: skip
    cursor.execute(sql.ALIVE, given)
    alive, settled = cursor.fetchone()
    # A worker that has just come has had no time to take over, or to work off what was due.
    given["alive"] = settled > 0
    cursor.execute(sql.OPEN_RUNS)
    if alive or cursor.fetchone() is None:
        return given, []
    finding = Finding(
        code="nobody-works", severity=Severity.WARNING,
        message="Runs are due, and no worker was seen within its lease.",
        remedy="Start workers: `manage.py up`, or `manage.py cluster`.",
    )  # fmt: skip
    return given, [finding]


def _of_audit() -> Iterator[Finding]:
    broken = audit.broken_links()
    if broken:
        yield Finding(
            code="audit-chain", severity=Severity.ERROR, count=len(broken),
            message="The audit log was changed: entries do not fit their hashes, or are missing.",
            remedy="Compare it with a backup from before; find out who can write to the database.",
            examples=tuple(str(number) for number in broken[:_EXAMPLES]),
        )  # fmt: skip


# ---- the database -------------------------------------------------------------------------------


def _messages_of_the_server() -> Iterator[Finding]:
    for message in checks.run_checks(
        tags=[checks.Tags.database], databases=[connection.alias], include_deployment_checks=False
    ):
        yield Finding(
            code=str(message.id), message=message.msg, remedy=message.hint or "",
            severity=_ERROR if message.level >= checks.ERROR else _WARNING,
        )  # fmt: skip


def _of_the_server() -> list[Finding]:
    try:
        return list(_messages_of_the_server())
    except DatabaseError as error:
        return [
            Finding(
                code="server", severity=_ERROR, message=f"The database cannot be asked: {error}",
                remedy="Look at the server's log.",
            )
        ]  # fmt: skip


def _of_migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        names = [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
        yield Finding(
            code="migrations", severity=Severity.ERROR, count=len(names),
            message="The database is older than the code.", remedy="Run `manage.py migrate`.",
            examples=tuple(names[:_EXAMPLES]),
        )  # fmt: skip


_WANTED_SETTINGS: Final = {
    "fsync": ("on", _WARNING, "A crash of the machine may lose or damage what was committed."),
    "full_page_writes": ("on", _WARNING, "A crash of the machine may damage the database."),
    "autovacuum": ("on", _WARNING, "Tables only grow, and statements become slow."),
    "synchronous_commit": ("", _ERROR, "A crash may lose triggers and steps that were confirmed."),
    "default_transaction_isolation": (
        "read committed", _ERROR, "The engine's statements count on read committed.",
    ),
}  # fmt: skip


def _of_settings(cursor: CursorWrapper) -> Iterator[Finding]:
    cursor.execute(sql.SETTINGS)
    for name, value in cursor.fetchall():
        wanted, severity, harm = _WANTED_SETTINGS[name]
        # Every value of synchronous_commit but "off" waits for the disk here.
        if value == "off" if not wanted else value != wanted:
            yield Finding(
                code=f"setting-{name.replace('_', '-')}", severity=severity,
                message=f"{name} is {value}. {harm}",
                remedy=f"Set it to {wanted or 'on'} on the server and reload it.",
            )  # fmt: skip


def _of_schema(cursor: CursorWrapper) -> Iterator[Finding]:
    """Indexes, constraints and triggers that carry rules must be there and valid."""
    invalid = _names(cursor, sql.INVALID_INDEXES)
    there = {
        "index": _names(cursor, sql.INDEXES),
        "constraint": _names(cursor, sql.CONSTRAINTS),
        "trigger": _names(cursor, sql.TRIGGERS),
    }
    there["constraint"] |= there["index"]
    wanted: dict[str, set[str]] = {"index": set(), "constraint": set(), "trigger": set(_TRIGGERS)}
    labels = ("executions", *_more_rules)
    for model in (model for label in labels for model in apps.get_app_config(label).get_models()):
        wanted["index"] |= {index.name for index in model._meta.indexes}
        wanted["constraint"] |= {constraint.name for constraint in model._meta.constraints}
    broken = sorted(invalid)
    for sort, names in wanted.items():
        broken += sorted(names - there[sort])
    if broken:
        yield Finding(
            code="schema", severity=Severity.ERROR, count=len(broken),
            message="Indexes, constraints or triggers are missing, invalid or disabled.",
            remedy="Make them anew as the migrations do; REINDEX an invalid index.",
            examples=tuple(broken[:_EXAMPLES]),
        )  # fmt: skip


def _names(cursor: CursorWrapper, statement: str) -> set[str]:
    cursor.execute(statement)
    return {row[0] for row in cursor.fetchall()}
