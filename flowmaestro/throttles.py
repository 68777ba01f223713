"""Rate limits at the edge, shared by all hosts: per caller, address, webhook and login.

A budget is one number in an unlogged table; a charge is one statement, which commits without a
flush. Who is refused is remembered in this process until it may come again, so that a flood costs
no statement. When the limiter itself fails, requests are let through and the failure is logged.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections import OrderedDict
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from executions.access import Caller
from executions.api.limits import Budget, TooManyRequests
from executions.engine import db
from executions.rules.rate_limits import Rate, Standing, rate_of, standing
from flowmaestro import addresses

logger = logging.getLogger(__name__)

# `executions.rules.rate_limits.charge` as a statement; the budget of a caller who never came
# before is always enough. One row changes, or none does, in a transaction of its own.
_CHARGE: Final = """
INSERT INTO flowmaestro_ratelimit AS r (key, whole_at, is_allowed, at)
SELECT %(key)s, n.now + %(need)s, true, n.now
FROM (SELECT extract(epoch FROM flowmaestro_now())::float8 AS now) n
ON CONFLICT (key) DO UPDATE SET (whole_at, is_allowed, at) = (
  SELECT CASE WHEN fits THEN before + %(need)s ELSE before END, fits, excluded.at
  FROM (SELECT greatest(least(r.whole_at, excluded.at + %(span)s), excluded.at)) AS b (before),
       LATERAL (SELECT before + %(need)s <= excluded.at + %(span)s + 1e-5) AS f (fits))
RETURNING whole_at, is_allowed, at
"""
REMOVE_WHOLE: Final = """
DELETE FROM flowmaestro_ratelimit WHERE key IN (
  SELECT key FROM flowmaestro_ratelimit WHERE whole_at < extract(epoch FROM %(now)s::timestamptz)
  LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
_LOG_SECONDS: Final = 60.0
_last_log = -math.inf


class Memo:
    """So many keys, each until a moment of this process's clock; the oldest go first."""

    def __init__(self, size: int = 10_000) -> None:
        self._until: OrderedDict[object, float] = OrderedDict()
        self._size = size

    def set(self, key: object, seconds: float) -> None:
        """Remembers a key for so long."""
        self._until[key] = time.monotonic() + seconds
        self._until.move_to_end(key)
        while len(self._until) > self._size:
            # Another thread may have taken the last one out meanwhile.
            try:
                self._until.popitem(last=False)
            except KeyError:
                break

    def seconds(self, key: object) -> float:
        """How much longer a key is remembered; 0 when it is not."""
        until = self._until.get(key)
        if until is None:
            return 0.0
        left = until - time.monotonic()
        if left <= 0:
            self._until.pop(key, None)
        return max(left, 0.0)

    def clear(self) -> None:
        """Forgets everything."""
        self._until.clear()


_refused = Memo()
# Bearers that were genuine a moment ago: they are looked up also while their address is refused.
_genuine = Memo()
_GENUINE_SECONDS: Final = 300.0


def charge(
    request: Any, items: int = 1, *, budget: Budget = Budget.CALLER, subject: str = ""
) -> None:
    """Counts a request, or the items of a batch, against a budget. Raises TooManyRequests.

    What the same request has paid already is taken off.
    """
    http = _http(request)
    if budget == Budget.CALLER:
        key = getattr(http, "rate_key", None)
        if key is None:
            budget, key = _budget_of(request)
    else:
        key = _key(budget, subject, http)
    rate = _rate(budget)
    if rate is None:
        return
    paid: dict[str, int] = http.__dict__.setdefault("rate_paid", {})
    due = min(max(items, 1), rate.burst) - paid.get(key, 0)
    if due > 0:
        paid[key] = paid.get(key, 0) + due
        _spend(http, key, rate, due)


def charge_caller(request: Any, caller: Caller) -> None:
    """Counts a request against its caller, whose bearer was found genuine."""
    http = _http(request)
    bearer = _bearer(http)
    if bearer is not None:
        _genuine.set(bearer, _GENUINE_SECONDS)
    http.rate_key = _key_of(caller, http)
    charge(request)


def charge_user(request: Any, user: Any) -> None:
    """Counts a request against the signed-in user who sent it."""
    _http(request).rate_key = f"user:{user.pk}"
    charge(request)


def refuse_blocked(request: Any) -> None:
    """Refuses, before anything is looked up, whom an exhausted address sends an unknown bearer.

    Whoever tries keys out spends the address's budget; who was genuine lately goes on.
    """
    http = _http(request)
    key = _key(Budget.ADDRESS, "", http)
    seconds = _refused.seconds(key)
    if seconds > 0 and not _genuine.seconds(_bearer(http)):
        rate = _rate(Budget.ADDRESS)
        if rate is not None:
            http.rate_standing = _remembered(rate, seconds)
            raise _too_many(seconds)


def add_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Tells the caller how it stands: `Retry-After`, and `x-ratelimit-*` as Trigger.dev's client
    reads them: the reset is in milliseconds since 1970."""
    told: Standing | None = getattr(request, "rate_standing", None)
    if told is None:
        return
    seconds = told.reset_after if told.allowed else told.retry_after
    response["x-ratelimit-limit"] = str(told.limit)
    response["x-ratelimit-remaining"] = str(told.remaining)
    response["x-ratelimit-reset"] = str(math.ceil((time.time() + seconds) * 1000))
    if not told.allowed and response.status_code == TooManyRequests.http_status:
        response["Retry-After"] = str(max(1, math.ceil(told.retry_after)))
        response["Cache-Control"] = "no-store"


# ---- whose budget -------------------------------------------------------------------------------


def _http(request: Any) -> Any:
    """Django's request, also of one that Django REST framework wraps."""
    return getattr(request, "_request", request)


def _bearer(http: HttpRequest) -> int | None:
    text = http.META.get("HTTP_AUTHORIZATION")
    return hash(text) if text else None


def _budget_of(request: Any) -> tuple[Budget, str]:
    http = _http(request)
    caller = getattr(request, "auth", None)
    if isinstance(caller, Caller):
        return Budget.CALLER, _key_of(caller, http)
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return Budget.CALLER, f"user:{user.pk}"
    return Budget.ADDRESS, _key(Budget.ADDRESS, "", http)


def _key_of(caller: Caller, http: HttpRequest) -> str:
    if caller.grants is not None:
        # Each browser that a token was handed to has a budget of its own.
        return f"token:{caller.key_id}:{_address(http)}"
    return f"user:{caller.user_id}" if caller.key_id is None else f"key:{caller.key_id}"


def _key(budget: Budget, subject: str, http: HttpRequest) -> str:
    if budget == Budget.WEBHOOK:
        return f"webhook:{subject[:100]}"
    if budget == Budget.LOGIN:
        # Names of accounts are nobody's business, and may be of any length.
        account = hashlib.sha256(subject.casefold().encode(errors="replace")).hexdigest()[:24]
        return f"login:{_address(http)}:{account}"
    return f"address:{_address(http)}"


def _address(http: HttpRequest) -> str:
    return addresses.bucket(http.META.get("REMOTE_ADDR") or "")


def _rate(budget: Budget) -> Rate | None:
    options = settings.FLOWMAESTRO
    per_minute = {
        Budget.CALLER: options.RATE_LIMIT_KEY,
        Budget.ADDRESS: options.RATE_LIMIT_ADDRESS,
        Budget.WEBHOOK: options.RATE_LIMIT_WEBHOOK,
        Budget.LOGIN: options.RATE_LIMIT_LOGIN,
    }[budget]
    return rate_of(per_minute, options.RATE_LIMIT_BURST_SECONDS)


# ---- spending -----------------------------------------------------------------------------------


def _spend(http: Any, key: str, rate: Rate, items: int) -> None:
    seconds = _refused.seconds(key)
    if seconds > 0:
        told = _remembered(rate, seconds)
    else:
        found = _charged(key, rate, items)
        if found is None:
            return
        told = found
        if not told.allowed and told.free_after > 0:
            _refused.set(key, told.free_after)
    http.rate_standing = told
    if not told.allowed:
        raise _too_many(told.retry_after)


def _charged(key: str, rate: Rate, items: int) -> Standing | None:
    """How the budget stands after the charge; None when it could not be asked."""
    given = {"key": key, "need": rate.need(items), "span": rate.span}
    try:
        ((whole_at, allowed, now),) = db.execute(_CHARGE, given)
    except (DatabaseError, InterfaceError):
        _log_failure()
        return None
    return standing(whole_at, now, rate, items, allowed=allowed)


def _remembered(rate: Rate, seconds: float) -> Standing:
    return Standing(
        allowed=False, limit=rate.burst, remaining=0, retry_after=seconds, free_after=seconds,
        reset_after=rate.span,
    )  # fmt: skip


def _too_many(seconds: float) -> TooManyRequests:
    wait = max(1, math.ceil(seconds))
    return TooManyRequests(
        f"Too many requests; come again in {wait} second{'s' if wait > 1 else ''}.",
        retry_after=seconds,
    )


def _log_failure() -> None:
    global _last_log
    now = time.monotonic()
    if now - _last_log >= _LOG_SECONDS:
        _last_log = now
        logger.exception("The rate limits cannot be read; requests are let through uncounted.")
