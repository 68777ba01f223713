"""What comes to a webhook and what it answers, apart from what happens in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from executions.api.limits import Budget
from executions.errors import FlowMaestroError, Unavailable
from triggers.rules.configs import Auth, WebhookConfig
from triggers.rules.signatures import Style

Json = Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it came in. Header names are in lower case; `read` gives at most so much.

    `charge` counts it against a budget, a webhook's being that of its id, and raises when that is
    spent.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    read: Callable[[int], bytes] = field(repr=False)
    charge: Callable[[Budget, str], None] = field(default=lambda budget, subject: None, repr=False)
    ip: str = ""
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sender is told."""

    status: int
    content: Json
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(FlowMaestroError):
    """The request may not start anything. `reason` is for the log, and never leaves it."""

    code = "refused"
    http_status = 403

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class Disabled(Refused):
    """The trigger is switched off."""

    code = "trigger_disabled"


class NotShown(Refused):
    """Whatever is wrong with what the sender shows, the answer is this one."""

    code = "not_authenticated"
    http_status = 401


class WrongMethod(Refused):
    """The webhook does not take this method."""

    code = "method_not_allowed"
    http_status = 405


class WrongOrigin(Refused):
    """Pages of this origin may not send requests to the webhook."""

    code = "origin_not_allowed"


class NotNow(Unavailable):
    """Something here is missing or broken."""


_CHALLENGES: Final[Mapping[Auth, str]] = {
    Auth.BEARER: 'Bearer realm="webhook"',
    Auth.API_KEY: 'ApiKey realm="webhook"',
    Auth.HMAC: 'Signature realm="webhook"',
}
# One sentence for each way, whatever was wrong: it must not help to guess.
_NOT_SHOWN: Final[Mapping[Auth, str]] = {
    Auth.HMAC: "The signature of this request is missing or not valid.",
    Auth.BEARER: "This takes a valid token: Authorization: Bearer ….",
    Auth.API_KEY: "This takes a valid key in the header that its owner named.",
}


def not_shown(auth: Auth, reason: str) -> NotShown:
    """That the sender has not shown what it must; the reason is for the log."""
    return NotShown(_NOT_SHOWN[auth], reason=reason)


def refusal(error: FlowMaestroError, config: WebhookConfig | None = None) -> Answer:
    """What the sender is told of an error."""
    if error.http_status >= 500 and not isinstance(error, NotNow):
        # What the installation lacks is nothing that a sender can put right.
        logger.error("A webhook cannot be served: %s", error.message)
        error = NotNow("This webhook cannot be served now; try again later.")
    details = {"field": error.field} if error.field else {}
    content = {"success": False, "error": error.message, "code": error.code, "details": details}
    headers = {}
    if config is not None and isinstance(error, NotShown):
        headers["WWW-Authenticate"] = _CHALLENGES[config.auth]
    if config is not None and isinstance(error, WrongMethod):
        headers["Allow"] = ", ".join(config.methods)
    return Answer(status=error.http_status, content=content, headers=headers)


def greeting(config: WebhookConfig, headers: Mapping[str, str], body: Json) -> Answer | None:
    """The answer to what a provider sends when a webhook is set up, which starts nothing."""
    if config.auth != Auth.HMAC or not isinstance(body, dict):
        return None
    if config.signature_style == Style.SLACK and body.get("type") == "url_verification":
        return Answer(status=200, content={"challenge": str(body.get("challenge", ""))[:1000]})
    if config.signature_style == Style.GITHUB and headers.get("x-github-event") == "ping":
        return Answer(status=200, content={"success": True, "message": "pong"})
    return None


def cors(config: WebhookConfig, origin: str | None) -> dict[str, str]:
    """What lets a page of an allowed origin read the answer; nothing without a list."""
    if origin is None or not config.allowed_origins or not config.allows_origin(origin):
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
