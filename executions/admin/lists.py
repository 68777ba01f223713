"""Lists that never count and never skip: a page begins at a key, also the ten-thousandth."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

from executions.admin.bounded import TooSlow, bounded

OLDER = "older_than"
NEWER = "newer_than"
_NO_SEARCH = object()
_NOT_COMPARED = (
    "Something here cannot be compared with this JSON, as a number beyond all bounds: search for "
    "text instead."
)


class KeysetPaginator(Paginator):
    """The rows of one page, already fetched; it knows the template that turns pages over."""

    template_name = "admin/executions/keyset.html"

    @cached_property
    def count(self) -> int:
        """What is shown."""
        return len(self.object_list)


def take_cursor(request: HttpRequest) -> None:
    """Takes out of the filters what is none: the page's beginning, and empty fields."""
    given = request.GET.copy()
    # PostgreSQL refuses NUL in text.
    cursor = {
        name: given.pop(name)[-1].replace("\0", "") for name in (OLDER, NEWER) if name in given
    }
    # What a form sent empty filters nothing.
    for name in [name for name in given if not str(given[name]).strip()]:
        del given[name]
    request.GET = given  # type: ignore[assignment]
    request.list_cursor = cursor  # type: ignore[attr-defined]


class KeysetList(ChangeList):
    """A page of a list in the order of its key."""

    root_queryset: QuerySet[Any]
    older: str | None = None
    newer: str | None = None
    is_first = True
    note = ""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """The filtered rows on the wanted side of the key, in the order of the list."""
        cursor = self._cursor(request)
        self.is_first = not cursor
        self.is_descending = str(self.model_admin.ordering[0]).startswith("-")
        if OLDER in cursor:
            self._keep_only("lt" if self.is_descending else "gt", cursor[OLDER])
        elif NEWER in cursor:
            self._keep_only("gt" if self.is_descending else "lt", cursor[NEWER])
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        """Fetches the page, within a bound of time."""
        rows: list[Any] = []
        try:
            with bounded():
                rows = self._fetch(request)
                self.model_admin.look_at(rows)
        except TooSlow as error:
            rows = []
            messages.error(request, error.message)
        except DataError:
            rows = []
            messages.error(request, _NOT_COMPARED)
        self.result_list = rows
        self.paginator = self.model_admin.get_paginator(request, rows, self.list_per_page)
        self.result_count = len(rows)
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.full_result_count = self.result_count
        self.can_show_all = False
        self.multi_page = False

    def _fetch(self, request: HttpRequest) -> list[Any]:
        size = self.list_per_page
        search_end = getattr(request, "search_end", _NO_SEARCH)
        is_back = NEWER in self._cursor(request)
        found = self.queryset.reverse() if is_back else self.queryset
        rows = list(found[: size + 1])
        is_cut = len(rows) > size
        rows = rows[:size]
        if is_back:
            rows.reverse()
        if rows and (is_cut or is_back):
            self.older = str(rows[-1].pk)
        if rows and (is_cut if is_back else not self.is_first) and search_end is _NO_SEARCH:
            self.newer = str(rows[0].pk)
        if isinstance(search_end, str) and not is_cut:
            # A search reads so many rows at a time; what is older is the next page.
            self.older = search_end
            self.note = "The search went so far only; “Older” goes on."
        return rows

    def _cursor(self, request: HttpRequest) -> dict[str, str]:
        return getattr(request, "list_cursor", {})

    def _keep_only(self, comparison: str, key: str) -> None:
        try:
            found: QuerySet[Any] = self.root_queryset
            self.root_queryset = found.filter(**{f"pk__{comparison}": key})
        except (TypeError, ValueError):
            # A key that is none, as of an address typed by hand, begins at the start.
            self.is_first = True

    def link_to(self, side: str, key: str) -> str:
        """The same list from another key."""
        return str(self.get_query_string({side: key}))

    @property
    def older_url(self) -> str:
        """The next page, or nothing."""
        return self.link_to(OLDER, self.older) if self.older is not None else ""

    @property
    def newer_url(self) -> str:
        """The page before, or nothing."""
        return self.link_to(NEWER, self.newer) if self.newer is not None else ""

    @property
    def first_url(self) -> str:
        """The first page, or nothing on the first."""
        return "" if self.is_first else str(self.get_query_string())
