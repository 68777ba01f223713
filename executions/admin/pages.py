"""Long lists on the page of one row: page by page, with their JSON cut in the database."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.http import HttpRequest

from executions.templatetags.run_format import SHOWN_CHARACTERS, as_text

ROWS_PER_PAGE = 200
_LAST_PAGE = 1_000_000


def with_text(found: QuerySet[Any], *names: str) -> QuerySet[Any]:
    """The rows with their JSON as text, cut in the database: a page shows hundreds of them."""
    texts = {f"{name}_text": Left(Cast(name, TextField()), SHOWN_CHARACTERS + 1) for name in names}
    return found.defer(*names).annotate(**texts)


def page_of(
    request: HttpRequest, name: str, found: QuerySet[Any], size: int | None = None
) -> dict[str, Any]:
    """One page of rows; which one is said by a parameter of the rows' name."""
    size = size or ROWS_PER_PAGE
    raw = request.GET.get(name, "1")
    number = min(max(int(raw[:9]), 1), _LAST_PAGE) if raw.isascii() and raw.isdigit() else 1
    start = (number - 1) * size
    rows = list(found[start : start + size + 1])
    for row in rows:
        for attribute in [key for key in vars(row) if key.endswith("_text")]:
            setattr(row, attribute, _indented(getattr(row, attribute)))
    return {
        "name": name,
        "rows": rows[:size],
        "number": number,
        "previous": number - 1,
        "next": number + 1 if len(rows) > size else None,
    }


def _indented(text: str | None) -> str:
    """JSON text, indented when it is whole."""
    if text is None or text == "null":
        return ""
    try:
        return as_text(json.loads(text))
    except (ValueError, RecursionError):
        return f"{text[:SHOWN_CHARACTERS]}\n…"
