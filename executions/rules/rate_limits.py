"""Rate limits by the generic cell rate algorithm: one number for each caller, nothing to reset.

The number is the moment at which the caller's budget is whole again. Each request moves it on by
its share of a minute; it may never lie further ahead than the burst that is allowed at once.
"""

from __future__ import annotations

from dataclasses import dataclass

# Moments are seconds of an epoch in double precision, good to a quarter of a microsecond.
_PRECISION = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """So many requests a minute, of which `burst` may come at once."""

    per_minute: int
    burst: int

    @property
    def interval(self) -> float:
        """Seconds until one request more is allowed."""
        return 60.0 / self.per_minute

    @property
    def span(self) -> float:
        """Seconds until an exhausted budget is whole again."""
        return self.burst * self.interval

    def need(self, items: int) -> float:
        """Seconds of budget that so many items take: never more than a whole burst.

        Otherwise a batch that is larger than the burst could never come through.
        """
        return min(max(items, 1), self.burst) * self.interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a caller stands after a request: what remains, and when to come again."""

    allowed: bool
    limit: int
    remaining: int
    retry_after: float
    """Seconds until the refused request would be allowed; 0 for an allowed one."""
    free_after: float
    """Seconds until a single request would be."""
    reset_after: float
    """Seconds until the budget is whole."""


def rate_of(per_minute: int, burst_seconds: float) -> Rate | None:
    """The rate by which a budget is spent; None where `per_minute` is 0, which is no limit."""
    if per_minute <= 0:
        return None
    return Rate(per_minute=per_minute, burst=max(1, round(per_minute * burst_seconds / 60)))


def charge(whole_at: float | None, now: float, rate: Rate, items: int) -> tuple[float, bool]:
    """When the budget is whole after a request, and whether the request is allowed.

    `whole_at` is None for a caller who never came. One that lies further ahead than a burst is from
    before the clock was put back, and counts as an exhausted budget.
    """
    before = now if whole_at is None else max(min(whole_at, now + rate.span), now)
    after = before + rate.need(items)
    if after <= now + rate.span + _PRECISION:
        return after, True
    return before, False


def standing(whole_at: float, now: float, rate: Rate, items: int, *, allowed: bool) -> Standing:
    """What a caller is told whose budget is whole at that moment."""
    taken = max(whole_at - now, 0.0)
    return Standing(
        allowed=allowed,
        limit=rate.burst,
        remaining=max(0, int((rate.span - taken + _PRECISION) / rate.interval)),
        retry_after=0.0 if allowed else max(taken + rate.need(items) - rate.span, 0.0),
        free_after=max(taken + rate.interval - rate.span, 0.0),
        reset_after=taken,
    )
