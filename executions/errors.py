"""The errors people and programs see: four families, each with one HTTP status."""

from __future__ import annotations

from typing import ClassVar


class FlowMaestroError(Exception):
    """A deliberate error: a stable code for clients, a sentence for people, the field at fault."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, field: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        if code is not None:
            self.code = code  # type: ignore[misc]


class NotFound(FlowMaestroError):
    """The thing does not exist, or not for this caller."""

    code = "not_found"
    http_status = 404


class Invalid(FlowMaestroError):
    """The input is wrong; `field` names which part."""

    code = "invalid"
    http_status = 400


class TooLarge(Invalid):
    """The input is over a limit."""

    code = "too_large"
    http_status = 413


class Conflict(FlowMaestroError):
    """The thing exists but is not in a condition that allows this."""

    code = "conflict"
    http_status = 409


class Unavailable(FlowMaestroError):
    """Something this depends on does not answer now; trying later may help."""

    code = "unavailable"
    http_status = 503
