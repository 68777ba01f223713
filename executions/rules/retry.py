"""When a failed attempt is tried again: delays, limits, and which errors never are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from executions.errors import Invalid


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """A retry policy. Times are seconds; `max_attempts` counts the first try.

    `non_retryable` holds error type names, bare (`ValueError`) or dotted (`app.errors.Gone`), and
    codes of FlowMaestroError. Source of the defaults: Trigger.dev's task retry.
    """

    max_attempts: int = 3
    factor: float = 2.0
    min_timeout: float = 1.0
    max_timeout: float = 60.0
    randomize: bool = True
    non_retryable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise Invalid("retry.max_attempts counts the first try; use 1 or more.", field="retry")
        if self.factor < 1 or self.min_timeout < 0 or self.max_timeout < 0:
            raise Invalid(
                "retry.factor is at least 1, and its timeouts are not negative.", field="retry"
            )

    def delay(
        self, attempt: int, *, uniform: Callable[[float, float], float] | None = None
    ) -> float:
        """Seconds between the end of `attempt` (from 1) and the next one."""
        spread = (uniform or random.uniform)(1.0, 2.0) if self.randomize else 1.0
        # A large exponent overflows a float long before anybody waits that long.
        growth = self.factor ** min(attempt - 1, 64)
        return min(self.max_timeout, spread * self.min_timeout * growth)

    def allows(self, attempt: int, error: BaseException) -> bool:
        """Whether an attempt that failed with `error` is followed by another."""
        return attempt < self.max_attempts and not is_non_retryable(error, self.non_retryable)


NO_RETRY = Retry(max_attempts=1)


def is_non_retryable(error: BaseException, names: tuple[str, ...]) -> bool:
    """Whether `error` forbids a retry itself, or `names` lists it or one of its base classes."""
    if getattr(error, "non_retryable", False):
        return True
    if not names:
        return False
    code = getattr(error, "code", None)
    known = {code} if isinstance(code, str) else set()
    for cls in type(error).__mro__:
        known.update((cls.__name__, f"{cls.__module__}.{cls.__qualname__}"))
    return not known.isdisjoint(names)
