"""Cursors of pages, as a client of Trigger.dev's SDK uses them.

It keeps what it sent: from the second page back to the first, it sends both the `page[after]` that
led to the second and the `page[before]` that leads back, and onwards from there both again. So a
cursor says how many pages led to it, as in `run_….2`, and of two the younger one counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from executions.errors import Invalid

_CURSOR = re.compile(r"(?P<id>[a-z]+_[0-9a-z]{26})(?:\.(?P<age>[0-9]{1,9}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page begins: after one id, or before one, or at the start."""

    after: str | None = None
    before: str | None = None
    age: int = 0

    def pages(self, next: str | None, previous: str | None) -> dict[str, str]:
        """The cursors to give out with the page, of those there are."""
        found = {"next": next, "previous": previous}
        return {name: f"{id}.{self.age + 1}" for name, id in found.items() if id is not None}


def place_of(after: str | None, before: str | None) -> Place:
    """The place that one or two cursors mean. Raises Invalid."""
    last, last_age = _read(after, "page[after]")
    first, first_age = _read(before, "page[before]")
    if first is not None and (last is None or first_age >= last_age):
        return Place(before=first, age=first_age)
    return Place(after=last, age=last_age)


def _read(cursor: str | None, field: str) -> tuple[str | None, int]:
    if not cursor:
        return None, 0
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Invalid(f"{field} is a cursor of the page before.", field=field)
    return match["id"], int(match["age"] or 0)
