"""Querysets that are put together once: the ORM takes longer to write such a statement than
PostgreSQL to run it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable

from executions.engine import db

if TYPE_CHECKING:
    from executions.access import Caller

M = TypeVar("M", bound=Model)


class Planned(Generic[M]):
    """A queryset with places for values: `build` is called once, with stand-ins for them.

    Each value has the type of its place, and is compared with a field as it is: no None, no list,
    no condition that depends on it. What comes back is what the queryset would give.
    """

    def __init__(self, build: Callable[..., QuerySet[M]], *types: type[str] | type[int]) -> None:
        self._build = build
        self._types = types
        self._lock = Lock()
        self._plan: _Plan | None = None

    def __call__(self, *values: str | int) -> list[M]:
        """The rows for these values."""
        plan = self._plan
        if plan is None:
            with self._lock:
                plan = self._plan = self._plan or _Plan(self._build, self._types)
        return cast("list[M]", plan.rows(values))


class Seen(Generic[M]):
    """A planned queryset of what a caller sees, as `Caller.visible` has it.

    `build` is given the rows that are seen, and stand-ins for texts.
    """

    def __init__(self, model: type[M], build: Callable[..., QuerySet[M]], places: int = 1) -> None:
        texts = (str,) * places
        self._all = Planned(lambda *given: build(model._default_manager.all(), *given), *texts)
        self._own = Planned(
            lambda workspace, *given: build(
                model._default_manager.filter(workspace=workspace), *given
            ),
            str, *texts,
        )  # fmt: skip

    def __call__(self, caller: Caller, *values: str) -> list[M]:
        """The rows for these values, of those that the caller sees."""
        if caller.sees_all:
            return self._all(*values)
        return [] if caller.workspace_id is None else self._own(caller.workspace_id, *values)


class _Plan:
    """The statement, and what Django knows of its columns. Nothing of it changes with a run."""

    def __init__(
        self, build: Callable[..., QuerySet[Any]], types: tuple[type[str] | type[int], ...]
    ) -> None:
        stand_ins = [_stand_in(number, kind) for number, kind in enumerate(types)]
        self._queryset = build(*stand_ins)
        self._compiler = self._queryset.query.get_compiler(using=DEFAULT_DB_ALIAS)
        statement, parameters = self._compiler.as_sql()
        self._statement = statement
        # Each parameter is a place for a value, or a constant of the queryset.
        self._places = [
            (stand_ins.index(given), None) if given in stand_ins else (None, given)
            for given in parameters
        ]
        missing = set(range(len(types))) - {place for place, _ in self._places}
        if missing:
            raise TypeError(f"The queryset takes nothing for value {min(missing)}.")

    def rows(self, values: tuple[str | int, ...]) -> list[Any]:
        given = [constant if at is None else values[at] for at, constant in self._places]
        found: Any = _Ran(self._queryset, self._compiler, db.execute(self._statement, given))
        return list(ModelIterable(found))


class _Ran:
    """Looks to `ModelIterable` like a queryset whose statement has been run."""

    _known_related_objects: ClassVar[dict[Any, Any]] = {}
    db = DEFAULT_DB_ALIAS

    def __init__(self, queryset: QuerySet[Any], compiler: Any, rows: list[tuple[Any, ...]]) -> None:
        self.model = queryset.model
        self.query = self
        self.select, self.klass_info = compiler.select, compiler.klass_info
        self.annotation_col_map = compiler.annotation_col_map
        self.results_iter = compiler.results_iter
        self._rows = rows

    def get_compiler(self, using: str) -> _Ran:
        return self

    def execute_sql(self, **_: Any) -> list[list[tuple[Any, ...]]]:
        return [self._rows]


def _stand_in(number: int, kind: type[str] | type[int]) -> str | int:
    # Nothing that a queryset holds by itself, and within the range of any column.
    return f"\x01value {number}\x01" if kind is str else 2_000_000_000 + number
