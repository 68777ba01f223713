"""What is done to triggers: create, change, switch, delete, execute; the one door for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery

from executions import audit, workflows, workspaces
from executions.audit import Actor
from executions.connections import ANYONE, Anyone, Where
from executions.errors import Conflict, Invalid, NotFound
from executions.rules.ids import has_prefix, new_id
from executions.rules.values import encode, plain_text
from executions.runs import Handle
from triggers import firing, manual_inputs
from triggers.clock import database_now
from triggers.models import Delivery, Firing, Trigger
from triggers.models.triggers import PREFIX
from triggers.rules import configs, signatures
from triggers.rules.configs import ManualConfig, ScheduleConfig, TriggerType
from triggers.schedules import of_triggers
from triggers.webhooks import sealing

Json = Any

MAX_CONFIG = 64 * 1024
LONGEST_OVERLAP = timedelta(days=7)


class TriggerDisabled(Conflict):
    """The trigger is switched off."""

    code = "trigger_disabled"


@dataclass(frozen=True, slots=True)
class Stored:
    """A trigger as it was stored; `secret` where it is new: the only time it is shown."""

    trigger: Trigger
    secret: str | None = None


# ---- change -------------------------------------------------------------------------------------


def create(
    *,
    workflow: str,
    name: str,
    type: str,
    config: Mapping[str, Json] | None = None,
    enabled: bool = True,
    secret: str | None = None,
    owner: int | None = None,
    workspace: str | None = None,
    reason: str | None = None,
    actor: Actor | None = None,
) -> Stored:
    """Stores a trigger for a workflow of the workspace, or of the owner's own.

    A webhook that has to show something gets a secret, or keeps the one given. Raises NotFound for
    the workflow, Invalid naming the field.
    """
    reason = audit.check_reason(reason)
    if type not in list(TriggerType):
        raise Invalid(f"type is one of {', '.join(TriggerType)}, not {type!r}.", field="type")
    found = _config(type, {} if config is None else config)
    workspace = workspaces.place_of(owner, workspace)
    row = Trigger(
        id=new_id(PREFIX), workspace_id=workspace, owner_id=owner, type=type, enabled=enabled,
        workflow_id=_workflow(workflow, workspace),
        name=plain_text(name, field="name", limit=200),
    )  # fmt: skip
    _apply(row, found)
    shown = sealing.keep(row, found, secret)
    with transaction.atomic():
        row.save(force_insert=True)
        of_triggers.keep(row, found)
        row.refresh_from_db()
        _note(actor, "create", row, reason, before={})
    return Stored(row, shown)


def update(
    reference: str,
    *,
    workspace: Where = ANYONE,
    name: str | None = None,
    config: Mapping[str, Json] | None = None,
    enabled: bool | None = None,
    workflow: str | None = None,
    secret: str | None = None,
    reason: str | None = None,
    actor: Actor | None = None,
) -> Stored:
    """Changes what is given; a config replaces the one before. Its type stays what it is.

    A webhook whose new config takes a secret gets one, if it has none.
    """
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row = _locked(reference, workspace)
        before = public(row)
        if name is not None:
            row.name = plain_text(name, field="name", limit=200)
        if workflow is not None:
            row.workflow_id = _workflow(workflow, row.workspace_id)
        if enabled is not None:
            row.enabled = enabled
        found = _config(row.type, row.config if config is None else config)
        _apply(row, found)
        shown = sealing.keep(row, found, secret)
        _save(row, found)
        _note(actor, "update", row, reason, before=before, secret_changed=shown is not None)
    return Stored(row, shown)


def enable(
    reference: str, *, workspace: Where = ANYONE, reason: str | None = None,
    actor: Actor | None = None,
) -> Trigger:  # fmt: skip
    """Switches a trigger on; one that is on stays so. Raises NotFound without its workflow."""
    return _switch(reference, workspace, True, reason, actor)


def disable(
    reference: str, *, workspace: Where = ANYONE, reason: str | None = None,
    actor: Actor | None = None,
) -> Trigger:  # fmt: skip
    """Switches a trigger off: what comes in is refused, and its schedule is paused."""
    return _switch(reference, workspace, False, reason, actor)


def disable_those_of(workflow_id: str, actor: Actor) -> None:
    """Switches off whatever starts a workflow, since that was deleted."""
    reason = "Its workflow was deleted."
    with transaction.atomic():
        live = Trigger.objects.filter(workflow=workflow_id, enabled=True, deleted_at=None)
        rows = list(live.select_for_update().order_by("id"))
        before = [public(row) for row in rows]
        for row in rows:
            row.enabled = False
            _save(row, _config(row.type, row.config))
        # Last, for the log has one lock for all.
        for row, was in zip(rows, before, strict=True):
            _note(actor, "disable", row, reason, before=was)


def delete(
    reference: str, *, workspace: Where = ANYONE, reason: str | None = None,
    actor: Actor | None = None,
) -> None:  # fmt: skip
    """Deletes a trigger, its schedule and its secret; its row stays for those that name it."""
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row = _locked(reference, workspace)
        before = public(row)
        of_triggers.remove(row)
        sealing.put(row, None)
        row.enabled, row.schedule, row.old_secret_until = False, None, None
        row.deleted_at = row.updated_at = database_now()
        row.save()
        audit.record(actor, "trigger.delete", row.id, reason=reason, before=before)


def rotate_secret(
    reference: str,
    *,
    workspace: Where = ANYONE,
    secret: str | None = None,
    old_valid_for: timedelta = timedelta(0),
    reason: str | None = None,
    actor: Actor | None = None,
) -> Stored:
    """Gives a webhook another secret, drawn or brought along; the old one may count for a while.

    Raises Conflict for a trigger that takes none.
    """
    reason = audit.check_reason(reason)
    if not timedelta(0) <= old_valid_for <= LONGEST_OVERLAP:
        raise Invalid(
            f"The old secret counts for at most {LONGEST_OVERLAP.days} days more.",
            field="oldValidForSeconds",
        )
    with transaction.atomic():
        row = _locked(reference, workspace)
        before = public(row)
        found = _config(row.type, row.config)
        if not sealing.takes_secret(found):
            raise Conflict(f"Trigger {row.name!r} takes no secret: no request has to show one.")
        style = found.signature_style
        new = signatures.new_secret(style) if secret is None else sealing.check(secret, style)
        sealing.put(row, new, old=sealing.secret_of(row) if old_valid_for else None)
        row.old_secret_until = database_now() + old_valid_for if old_valid_for else None
        row.secret_changed_at = database_now()
        _save(row, found)
        _note(actor, "rotate_secret", row, reason, before=before, secret_changed=True)
    return Stored(row, new)


def execute(
    reference: str,
    inputs: Json = None,
    *,
    workspace: Where = ANYONE,
    reason: str | None = None,
    actor: Actor | None = None,
) -> tuple[Trigger, Json, Handle]:
    """Starts the workflow of a trigger of any type by hand: the trigger, the inputs and the run.

    Without inputs, those of the config are taken. Raises TriggerDisabled, or Invalid naming the
    input that does not fit the trigger's schema.
    """
    reason = audit.check_reason(reason)
    row = retrieve(reference, workspace=workspace)
    require_enabled(row)
    found = _config(row.type, row.config)
    if inputs is not None and not isinstance(inputs, Mapping):
        raise Invalid("inputs is an object: each input's name and its value.", field="inputs")
    if isinstance(found, ManualConfig):
        if found.require_inputs and not inputs:
            raise Invalid("This trigger takes inputs; give some.", field="inputs")
    if inputs is None:
        inputs = getattr(found, "inputs", None) or {}
    if isinstance(found, ManualConfig) and found.input_schema is not None:
        # In a process of its own, and so before the transaction.
        manual_inputs.check(found.input_schema, inputs)
    with transaction.atomic():
        handle = firing.fire(row, inputs)
        audit.record(actor, "trigger.execute", row.id, reason=reason, after={"run": handle.id})
    return row, inputs, handle


# ---- look ---------------------------------------------------------------------------------------


def retrieve(reference: str, *, workspace: Where) -> Trigger:
    """The trigger with its counts. Raises NotFound, also for one of another workspace."""
    return _one(with_counts(_visible(workspace)), reference)


def list_triggers(
    *, workspace: Where, workflow: str | None = None, type: str | None = None,
    enabled: bool | None = None, after: str | None = None, limit: int = 50,
) -> list[Trigger]:  # fmt: skip
    """Triggers with their counts, newest first; `after` ends the page before."""
    rows = with_counts(_visible(workspace))
    if workflow is not None:
        rows = rows.filter(workflow=workflow)
    if type is not None:
        rows = rows.filter(type=type)
    if enabled is not None:
        rows = rows.filter(enabled=enabled)
    if after is not None:
        rows = rows.filter(id__lt=after)
    return list(rows.order_by("-id")[:limit])


def deliveries(
    reference: str, *, workspace: Where, after: str | None = None, limit: int = 50
) -> list[Delivery]:
    """The log of a webhook's requests, newest first. Raises NotFound for the trigger."""
    row = _one(_visible(workspace), reference)
    rows = Delivery.objects.filter(trigger=row.id).order_by("-id")
    if after is not None:
        rows = rows.filter(id__lt=after)
    return list(rows[:limit])


def with_counts(rows: QuerySet[Trigger]) -> QuerySet[Trigger]:
    """The rows, whose `fired` and `fired_at` tell of firings that are not added up yet as well."""
    fresh = Firing.objects.filter(trigger=OuterRef("pk"), run__isnull=False).order_by()
    grouped = fresh.values("trigger")
    return rows.annotate(
        fresh=Subquery(grouped.annotate(n=Count("id")).values("n")),
        fresh_at=Subquery(grouped.annotate(last=Max("at")).values("last")),
    )


def public(row: Trigger) -> dict[str, Json]:
    """What may be shown of a trigger, by its names in the API."""
    return {
        "id": row.id,
        "workspace": row.workspace_id,
        "owner": row.owner_id,
        "workflowId": row.workflow_id,
        "name": row.name,
        "triggerType": row.type,
        "config": row.config,
        "enabled": row.enabled,
        "scheduleId": row.schedule_id,
        "webhookUrl": webhook_url(row) if row.type == TriggerType.WEBHOOK else None,
        "hasSecret": bool(row.key_id),
        "secretChangedAt": _time(row.secret_changed_at),
        "oldSecretUntil": _time(row.old_secret_until),
        "triggerCount": row.fired,
        "lastTriggeredAt": _time(row.fired_at),
        "lastError": row.last_error or None,
        "lastErrorAt": _time(row.last_error_at),
        "createdAt": _time(row.created_at),
        "updatedAt": _time(row.updated_at),
    }


def webhook_url(row: Trigger) -> str:
    """Where a webhook's requests go."""
    return f"{settings.PUBLIC_URL}/webhooks/{row.id}"


def require_enabled(row: Trigger) -> None:
    """Raises TriggerDisabled for a trigger that is switched off."""
    if not row.enabled:
        raise TriggerDisabled(f"Trigger {row.name!r} is disabled; enable it first.")


# ---- parts --------------------------------------------------------------------------------------


def _visible(workspace: Where) -> QuerySet[Trigger]:
    rows = Trigger.objects.filter(deleted_at=None)
    return rows if isinstance(workspace, Anyone) else rows.filter(workspace=workspace)


def _one(rows: QuerySet[Trigger], reference: str) -> Trigger:
    found = rows.filter(pk=reference).first() if has_prefix(reference, PREFIX) else None
    if found is None:
        raise NotFound(f"There is no trigger {reference!r}.", field="trigger")
    return found


def _locked(reference: str, workspace: Where) -> Trigger:
    return _one(_visible(workspace).select_for_update(of=("self",)), reference)


def _switch(
    reference: str, workspace: Where, enabled: bool, reason: str | None, actor: Actor | None
) -> Trigger:
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row = _locked(reference, workspace)
        if row.enabled != enabled:
            if enabled:
                _workflow(row.workflow_id, row.workspace_id)
            before = public(row)
            row.enabled = enabled
            _save(row, _config(row.type, row.config))
            verb = "enable" if enabled else "disable"
            _note(actor, verb, row, reason, before=before)
    return row


def _save(row: Trigger, config: Any) -> None:
    row.updated_at = database_now()
    row.save()
    of_triggers.keep(row, config)
    row.refresh_from_db()


def _config(type: str, config: Json) -> Any:
    encode(config, field="config", limit=MAX_CONFIG)
    found = configs.read(type, config)
    if isinstance(found, ScheduleConfig):
        of_triggers.check(found)
    if isinstance(found, ManualConfig) and found.input_schema is not None:
        manual_inputs.check_schema(found.input_schema)
    return found


def _apply(row: Trigger, config: Any) -> None:
    row.config = configs.as_json(config)
    row.event_type = getattr(config, "event_type", None)


def _workflow(reference: str, workspace: str | None) -> str:
    """The id of a workflow that the workspace may run."""
    if not has_prefix(reference, "workflow"):
        raise NotFound(f"There is no workflow {reference!r}.", field="workflowId")
    return workflows.find_version(reference, workspace=workspace).workflow_id


def _note(
    actor: Actor | None, what: str, row: Trigger, reason: str | None, *,
    before: dict[str, Json], secret_changed: bool = False,
) -> None:  # fmt: skip
    after = public(row)
    if secret_changed:
        after["secretChanged"] = True
    audit.record(actor, f"trigger.{what}", row.id, reason=reason, before=before, after=after)


def _time(at: Any) -> str | None:
    return None if at is None else at.isoformat()
