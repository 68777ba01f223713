"""How templates show what runs hold: JSON as indented text, lengths of time, states as words."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone

register = template.Library()

# What a page shows of one value; `static/executions/format.js` has the same limit.
SHOWN_CHARACTERS = 20_000


@register.filter
def as_text(value: Any) -> str:
    """A JSON value as text for people: text as it is, all else indented; long ones are cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:SHOWN_CHARACTERS]}\n… ({len(text):,} characters in all)"


@register.filter
def words(value: str) -> str:
    """A status as words: `not_run` and `NEEDS_ATTENTION` with blanks, in lower case."""
    return str(value).replace("_", " ").lower()


@register.filter
def lasting(start: datetime | None, end: datetime | None) -> str:
    """The time from `start` to `end`, or to now while there is no end."""
    if start is None:
        return ""
    seconds = max(0.0, ((end or timezone.now()) - start).total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
