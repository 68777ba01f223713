"""Those who send: workflows to be started, webhooks, and requests as their senders sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.test import Client

from executions import workflows
from executions.models import Run, RunData
from executions.tests.flows import flow
from triggers import triggers
from triggers.models import Trigger

Json = Any

# A workflow that gives back what started it.
ECHO = flow({"start": ("trigger", {})})


def someone(name: str, **more: Any) -> Any:
    """Somebody with an account, who needs no password."""
    return get_user_model().objects.create(username=name, **more)


def stored(name: str = "echo", *, owner: int | None = None, definition: Json = ECHO) -> str:
    """The id of a stored workflow."""
    return workflows.save_workflow(name, definition, owner=owner).workflow_id


def webhook(owner: int | None = None, **config: Json) -> tuple[Trigger, str]:
    """A webhook of a workflow of its own, and its secret."""
    secret = config.pop("secret", None)
    found = triggers.create(
        workflow=stored(f"w{time.monotonic_ns()}", owner=owner), name="hook", type="webhook",
        config=config, secret=secret, owner=owner,
    )  # fmt: skip
    return found.trigger, found.secret or ""


def event_trigger(event: str = "order.paid", owner: int | None = None, **config: Json) -> Trigger:
    """A trigger for events, of a workflow of its own."""
    return triggers.create(
        workflow=stored(f"w{time.monotonic_ns()}", owner=owner), name=event, type="event",
        config={"eventType": event, **config}, owner=owner,
    ).trigger  # fmt: skip


def hexed(secret: str, data: bytes) -> str:
    """A signature as most write it."""
    return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def generic(secret: str, body: bytes) -> dict[str, str]:
    """The headers of a plain sender."""
    return {"X-Signature": hexed(secret, body)}


def timed(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """The headers of a sender that signs the time along, for `timestampHeader` X-Timestamp."""
    now = str(int(time.time() if at is None else at))
    mac = hexed(secret, f"{now}.".encode() + body)
    return {"X-Timestamp": now, "X-Signature": f"sha256={mac}"}


def github(secret: str, body: bytes, delivery: str = "", event: str = "push") -> dict[str, str]:
    """The headers of GitHub."""
    headers = {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={hexed(secret, body)}"}
    return {**headers, "X-GitHub-Delivery": delivery} if delivery else headers


def stripe(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """The headers of Stripe."""
    now = int(time.time() if at is None else at)
    return {"Stripe-Signature": f"t={now},v1={hexed(secret, f'{now}.'.encode() + body)}"}


def slack(secret: str, body: bytes, at: float | None = None, **more: str) -> dict[str, str]:
    """The headers of Slack."""
    now = int(time.time() if at is None else at)
    mac = hexed(secret, f"v0:{now}:".encode() + body)
    return {"X-Slack-Request-Timestamp": str(now), "X-Slack-Signature": f"v0={mac}", **more}


def standard(secret: str, body: bytes, message: str = "msg_1") -> dict[str, str]:
    """The headers of Standard Webhooks."""
    now = int(time.time())
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{message}.{now}.".encode() + body, "sha256")
    return {
        "Webhook-Id": message,
        "Webhook-Timestamp": str(now),
        "Webhook-Signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def send(
    trigger: Trigger | str,
    body: bytes | Json = b"",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    query: str = "",
    kind: str = "application/json",
) -> Any:
    """The answer to a request."""
    trigger_id = trigger if isinstance(trigger, str) else trigger.id
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client().generic(
        method,
        f"/webhooks/{trigger_id}{query}",
        raw,
        content_type=kind,
        headers=dict(headers or {}),
    )


def inputs_of(run_id: str) -> Json:
    """What the workflow of a triggered run is given."""
    return RunData.objects.get(run_id=run_id).payload["triggerPayload"]


def started() -> int:
    """How many runs of triggers there are."""
    return Run.objects.filter(task="triggered-workflow").count()
