"""How a request to the outside ends when it does not end well."""

from __future__ import annotations

from executions.errors import Invalid, TooLarge, Unavailable


class OutboundRefused(Invalid):
    """The request may not be made; trying again changes nothing."""

    code = "outbound_refused"
    non_retryable = True


class OutboundFailed(Unavailable):
    """The other side did not answer, or not in time."""

    code = "outbound_failed"


class OutboundTooLarge(TooLarge):
    """The response is over the limit."""

    code = "outbound_too_large"
    non_retryable = True
