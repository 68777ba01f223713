"""What the views of the management API share: bodies, moments, pages, what a client may repeat."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from executions.api.base import ApiView, MeasuredView
from executions.errors import Invalid

Json = Any

_WHOLE = re.compile(r"-?\d{1,18}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
# Ids hold no other moments, and dates of both PostgreSQL and Python go on a little longer.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class ClientView(MeasuredView):
    """A view for clients that repeat what answers 409: told not to, since it would be the same."""

    def handle_exception(self, exc: Exception) -> Response:
        """The error's response."""
        response = super().handle_exception(exc)
        if response.status_code == 409:
            response["x-should-retry"] = "false"
        return response


class ManagementView(ClientView, ApiView):
    """A view of the management API.

    Its answers are bare, and its errors `{success: false, error, code, details}`: a client shows
    `error`.
    """


def body_of(request: Request) -> dict[str, Json]:
    """The request's JSON object; an empty one when there is no body."""
    data = request.data
    if not isinstance(data, Mapping):
        raise Invalid("The body is a JSON object.")
    return dict(data)


def only(body: Mapping[str, Json], *names: str) -> None:
    """Raises Invalid for a field that nobody would read."""
    unknown = sorted(key for key in body if key not in names and body[key] is not None)
    if unknown:
        known = ", ".join(names) or "no fields"
        raise Invalid(f"There is no field {unknown[0]!r} here; there is {known}.", field=unknown[0])


def text_of(body: Mapping[str, Json], name: str, *, is_required: bool = False) -> str | None:
    """A field that holds text. Raises Invalid."""
    value = body.get(name)
    if value is None and not is_required:
        return None
    if not isinstance(value, str):
        raise Invalid(f"{name} is text.", field=name)
    return value


def moment_of(value: str, *, field: str) -> datetime:
    """A moment: milliseconds since 1970, or ISO 8601 with a time zone; a day begins in UTC."""
    try:
        if _WHOLE.fullmatch(value):
            moment = datetime.fromtimestamp(int(value) / 1000, UTC)
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError) as error:
        raise Invalid(
            f"{field} is a moment, in milliseconds since 1970 or as 2026-01-31T12:00:00Z, "
            f"not {value!r}.",
            field=field,
        ) from error
    if moment.tzinfo is None:
        if not _DAY.fullmatch(value):
            raise Invalid(f"{field} needs a time zone: end it with Z or +01:00.", field=field)
        moment = moment.replace(tzinfo=UTC)
    if not _FIRST <= moment <= _LAST:
        raise Invalid(f"{field} lies between the years 1970 and 9000.", field=field)
    return moment


def looks_like_a_moment(value: str) -> bool:
    """Whether a text that may be a length of time or a moment is meant as a moment."""
    return _DAY.match(value) is not None


def iso(moment: datetime) -> str:
    """A moment as JavaScript writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def some(**fields: Json) -> dict[str, Json]:
    """The fields that have a value: clients take an absent one, and refuse null."""
    return {name: value for name, value in fields.items() if value is not None}


def whole(value: str | None, *, field: str, default: int, most: int) -> int:
    """A number of a query, from 1. Raises Invalid."""
    if value is None or value == "":
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 9 or not 1 <= int(value) <= most:
        raise Invalid(f"{field} is a whole number from 1 to {most:,}, not {value!r}.", field=field)
    return int(value)


def numbered_page(request: Request, rows: Sequence[Json]) -> tuple[list[Json], dict[str, int]]:
    """The rows of the page that `page` and `perPage` name, and what to say of the pages."""
    size = whole(request.query_params.get("perPage"), field="perPage", default=25, most=100)
    number = whole(request.query_params.get("page"), field="page", default=1, most=1_000_000)
    total = max(1, ceil(len(rows) / size))
    shown = list(rows[(number - 1) * size : number * size])
    return shown, {"currentPage": number, "totalPages": total, "count": len(rows)}
