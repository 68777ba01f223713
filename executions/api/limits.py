"""What a request costs its caller; who keeps the budgets is the project's to say."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, cast

from django.conf import settings
from django.utils.module_loading import import_string

from executions.errors import FlowMaestroError


class Budget(StrEnum):
    """What a request is counted against; each has a rate of its own."""

    CALLER = "caller"
    """The key, public token or signed-in user; the address where there is none."""
    ADDRESS = "address"
    """The address alone: nobody has shown who calls."""
    WEBHOOK = "webhook"
    LOGIN = "login"


class TooManyRequests(FlowMaestroError):
    """The caller's budget is spent; `retry_after` says how many seconds it takes to recover."""

    code = "rate_limited"
    http_status = 429

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def charge(
    request: Any, items: int = 1, *, budget: Budget = Budget.CALLER, subject: str = ""
) -> None:
    """Counts so many items against a budget, as a batch does.

    The request itself has paid for the first of them where its caller is known already. `subject`
    parts a budget further: a webhook's id. To be called outside of transactions, which would keep
    other requests of the caller waiting. Raises TooManyRequests; the answer gets its headers by
    itself.
    """
    spend = cast(Callable[..., None], import_string(settings.RATE_LIMITER))
    spend(request, items, budget=budget, subject=subject)
