"""Requests to webhooks: who may, what it starts, and the answer; each is received once.

The run, the note of the delivery, its receipt and the trigger's count are one transaction. What is
refused is logged as well, without its body where the sender has not shown who it is.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils.functional import cached_property

from executions.api.limits import Budget, TooManyRequests
from executions.errors import FlowMaestroError, NotFound, TooLarge
from executions.masking import Mask
from executions.rules.ids import has_prefix
from triggers import firing, receipts
from triggers.clock import database_now
from triggers.models import Trigger
from triggers.models.triggers import PREFIX
from triggers.rules import bodies, configs, redaction, signatures
from triggers.rules.configs import Auth, Once, WebhookConfig
from triggers.webhooks import deliveries, sealing
from triggers.webhooks.answers import (
    Answer,
    Disabled,
    Request,
    WrongMethod,
    WrongOrigin,
    cors,
    greeting,
    not_shown,
    refusal,
)

Json = Any

logger = logging.getLogger(__name__)

# A replay of something that is signed with its time passes no later than this.
_SIGNED_SECONDS: Final = 3.0 * signatures.WINDOW_SECONDS


def receive(trigger_id: str, request: Request) -> Answer:
    """Takes a request in and starts the trigger's workflow, once for each delivery.

    Strangers are counted by their address, so that they cannot spend what the webhook may take.
    """
    try:
        try:
            trigger, now = _find(trigger_id)
        except NotFound as error:
            request.charge(Budget.ADDRESS, "")
            return refusal(error)
        reception = Reception(trigger, now, request)
        answer = _receive(reception)
    except TooManyRequests as error:
        # Not logged either: whoever sends too much must not make work.
        return refusal(error)
    allowed = cors(reception.config, request.headers.get("origin"))
    return replace(answer, headers={**answer.headers, **allowed})


def _receive(reception: Reception) -> Answer:
    try:
        return reception.take()
    except TooManyRequests:
        raise
    except FlowMaestroError as error:
        if not reception.is_shown:
            reception.request.charge(Budget.ADDRESS, "")
        answer = refusal(error, reception.config)
        reception.log(answer.status, error=getattr(error, "reason", "") or error.message)
        return answer


def preflight(trigger_id: str, headers: Mapping[str, str]) -> Answer:
    """Tells a browser whether a page of its origin may send a request."""
    try:
        trigger, _ = _find(trigger_id)
    except NotFound as error:
        return refusal(error)
    config = _config_of(trigger)
    allowed = cors(config, headers.get("origin"))
    if not allowed:
        return refusal(WrongOrigin("Pages of this origin may not send requests here."))
    more = {
        "Access-Control-Allow-Methods": ", ".join(config.methods),
        "Access-Control-Allow-Headers": headers.get("access-control-request-headers", "")[:1000],
        "Access-Control-Max-Age": "600",
    }
    return Answer(status=204, content=None, headers={**allowed, **more})


@dataclass
class Reception:
    """One request at one trigger."""

    trigger: Trigger
    now: datetime
    request: Request
    is_shown: bool = field(default=False, init=False)
    """Whether the sender has shown that it may; until then nothing of its body is kept."""
    delivery: str | None = field(default=None, init=False)
    is_named: bool = field(default=False, init=False)

    @cached_property
    def config(self) -> WebhookConfig:
        """How the trigger takes requests."""
        return _config_of(self.trigger)

    @cached_property
    def secrets(self) -> list[str]:
        """The secrets that count now."""
        return sealing.accepted(self.trigger, self.now)

    @cached_property
    def is_legible(self) -> bool:
        """Whether it is known what must not be kept of the request."""
        try:
            return self.secrets is not None
        except FlowMaestroError:
            return False

    @cached_property
    def mask(self) -> Mask:
        """Hides the trigger's secrets, wherever in the request they stand."""
        mask = Mask()
        for secret in self.secrets:
            mask.add(secret)
        return mask

    @cached_property
    def body(self) -> bytes:
        """The raw body. Raises TooLarge before it is read, where its length says so."""
        most = settings.FLOWMAESTRO.PAYLOAD_LIMIT
        limit = min(self.config.payload_limit or most, most)
        said = self.request.headers.get("content-length", "")
        if said.isdigit() and int(said[:18]) > limit:
            raise _too_large(limit)
        found = self.request.read(limit + 1)
        if len(found) > limit:
            raise _too_large(limit)
        return found

    @property
    def kept_body(self) -> bytes:
        """What the log may have of the body: nothing of a stranger's, or of one not read."""
        found: bytes = self.__dict__.get("body", b"") if self.is_shown else b""
        return found

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers without what is secret in them."""
        shown = redaction.hide_headers(self.request.headers, self.config.secret_headers())
        found: dict[str, str] = self.mask.value(shown)
        return found

    def take(self) -> Answer:
        """Checks the request, in the order in which a sender may learn of things; then starts."""
        if not self.trigger.enabled:
            raise Disabled("This webhook is disabled.")
        self._authenticate()
        self.request.charge(Budget.WEBHOOK, self.trigger.id)
        if self.request.method not in self.config.methods:
            raise WrongMethod(f"This webhook does not take {self.request.method}.")
        origin = self.request.headers.get("origin")
        if origin is not None and not self.config.allows_origin(origin):
            raise WrongOrigin("Pages of this origin may not send requests here.")
        content = self._content()
        greeted = greeting(self.config, self.request.headers, content["body"])
        if greeted is not None:
            self.log(greeted.status)
            return greeted
        return self._start(content)

    def _authenticate(self) -> None:
        config, headers = self.config, self.request.headers
        if config.auth == Auth.HMAC:
            verdict = signatures.verify(
                config.signing, self.secrets, headers, self.body, now=self.now.timestamp()
            )
            if not verdict.is_genuine:
                raise not_shown(Auth.HMAC, verdict.reason)
            self.delivery, self.is_named = verdict.delivery, verdict.is_named
        else:
            if config.auth != Auth.NONE:
                self._check_shown(_shown(config, headers))
            self.delivery = signatures.delivery_id(config.signing, headers, b"")
            self.is_named = self.delivery is not None
        self.is_shown = True
        if config.once_by == Once.CONTENT:
            self.delivery = f"body:{hashlib.sha256(self.body).hexdigest()}"
            self.is_named = True

    def _check_shown(self, shown: str) -> None:
        matches = False
        for secret in self.secrets:
            matches |= hmac.compare_digest(secret.encode(), shown.encode("utf-8", "replace"))
        if not matches:
            raise not_shown(self.config.auth, "It shows another secret, or none.")

    def _content(self) -> dict[str, Json]:
        """What the workflow gets."""
        body = bodies.parse(self.body, self.request.headers.get("content-type", ""))
        # A look through the bytes is cheap; one through the values is needed only then.
        if any(secret.encode() in self.body for secret in self.secrets):
            body = self.mask.value(body)
        return {
            "headers": self.headers,
            "body": body,
            "query": self.mask.value(bodies.query(self.request.query)),
            "method": self.request.method,
            "timestamp": self.now.isoformat(),
            "triggerId": self.trigger.id,
        }

    def _start(self, content: dict[str, Json]) -> Answer:
        scope, key = self.trigger.id, self.delivery
        with transaction.atomic():
            if key is not None and not receipts.claim(scope, key, seconds=self._lifetime()):
                run_id = receipts.result_of(scope, key)["run"]
                self.log(202, run=run_id, is_repeated=True)
                return self._accepted(run_id, "This delivery was received before.")
            handle = firing.fire(self.trigger, content)
            if key is not None:
                receipts.settle(scope, key, {"run": handle.id})
            self._log(202, run=handle.id)
        return self._accepted(handle.id, "The workflow is started.")

    def _lifetime(self) -> float:
        if not self.is_named:
            return _SIGNED_SECONDS
        return timedelta(days=settings.FLOWMAESTRO.WEBHOOK_ONCE_DAYS).total_seconds()

    def _accepted(self, run_id: str, message: str) -> Answer:
        said = "OK" if self.config.response_format == "text" else message
        content = {"success": True, "executionId": run_id, "message": said}
        return Answer(status=202, content=content)

    def log(self, status: int, **more: Any) -> None:
        """Writes the request down; that it cannot be written keeps nobody from an answer."""
        try:
            with transaction.atomic():
                self._log(status, **more)
        except DatabaseError as error:
            logger.warning("A delivery could not be logged: %s", error)

    def _log(self, status: int, **more: Any) -> None:
        deliveries.write(self, status, **more)


# ---- parts --------------------------------------------------------------------------------------


def _find(trigger_id: str) -> tuple[Trigger, datetime]:
    """The trigger, and the database's time. Raises NotFound for what is no webhook."""
    found = None
    if has_prefix(trigger_id, PREFIX):
        rows = Trigger.objects.filter(pk=trigger_id, type="webhook", deleted_at=None)
        found = rows.annotate(now=database_now()).first()
    if found is None:
        raise NotFound("There is no such webhook.")
    return found, getattr(found, "now")  # noqa: B009 - an annotation


def _config_of(trigger: Trigger) -> WebhookConfig:
    found: WebhookConfig = configs.read(trigger.type, trigger.config)
    return found


def _shown(config: WebhookConfig, headers: Mapping[str, str]) -> str:
    """The secret that a request shows; nothing where it shows none."""
    if config.auth == Auth.API_KEY:
        return headers.get(config.api_key_header.lower(), "").strip()
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is over this webhook's limit of {limit:,} bytes.", field="body")
