"""Tasks: named work that can be run. `@task` registers a function; runs refer to it by id."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from executions import hooks as task_hooks
from executions.errors import Invalid, NotFound
from executions.hooks import Hook, Hooks
from executions.rules import durations
from executions.rules.durations import Duration
from executions.rules.retry import Retry
from executions.rules.values import Json, typed

if typing.TYPE_CHECKING:
    from executions.runs import Handle

Function = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class Cron:
    """When a task runs by itself, as its code says. What it means is for the app of schedules."""

    pattern: str
    timezone: str = "UTC"
    window: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A registered task. Times are seconds; None means no limit."""

    id: str
    function: Function
    retry: Retry | None = None
    max_duration: float | None = None
    run_timeout: float | None = None
    ttl: float | None = None
    queue: str
    cron: Cron | None = None
    hooks: Hooks = field(default_factory=Hooks)

    @property
    def is_async(self) -> bool:
        """Whether the function runs on the event loop; a plain one runs on a thread."""
        return inspect.iscoroutinefunction(self.function)

    def parse(self, payload: Json) -> Any:
        """The payload as the function's first parameter is annotated.

        Raises Invalid naming the first field that does not fit.
        """
        return typed(payload, _payload_hint(self.function), field="payload")

    def trigger(self, payload: Any = None, **options: Any) -> Handle:
        """Starts a run; see `executions.runs.trigger` for the options."""
        from executions import runs

        return runs.trigger(self.id, payload, **options)

    def batch_trigger(self, payloads: typing.Sequence[Any], **options: Any) -> list[Handle]:
        """Starts a run per payload, all or none; handles in the order of the payloads."""
        from executions import runs

        return runs.batch_trigger(self.id, payloads, **options)

    def run(self, payload: Any = None, *, ctx: Any = None) -> Any:
        """Calls the function directly, for a unit test; an async one gives a coroutine."""
        from executions.testing import DirectContext, SyncDirectContext

        context = DirectContext() if ctx is None else ctx
        if not self.is_async and isinstance(context, DirectContext):
            context = SyncDirectContext(context)
        return self.function(self.parse(payload), context)


_tasks: dict[str, Task] = {}
_queues: dict[str, int | None] = {}


def queue(name: str, *, concurrency_limit: int | None = None) -> str:
    """Declares a queue and gives its name: `@task(..., queue=queue("reports", ...))`.

    The limit holds for each concurrency key by itself. Raises Invalid when the queue was declared
    with another limit.
    """
    if not name or len(name) > 128:
        raise Invalid(f"A queue's name is 1 to 128 characters, not {name!r}.", field="queue")
    if concurrency_limit is not None and concurrency_limit < 1:
        raise Invalid("A concurrency_limit is 1 or more, or none.", field="concurrency_limit")
    known = _queues.get(name)
    if known is not None and concurrency_limit not in (None, known):
        raise Invalid(
            f'Queue "{name}" is declared with two limits, {known} and {concurrency_limit}.',
            field="concurrency_limit",
        )
    _queues[name] = known if concurrency_limit is None else concurrency_limit
    return name


def declared_queues() -> dict[str, int | None]:
    """The queues that the code declares, and the limit of each."""
    return dict(_queues)


def task(
    id: str,
    *,
    retry: Retry | None = None,
    max_duration: Duration | None = None,
    run_timeout: Duration | None = None,
    ttl: Duration | None = None,
    queue: str | None = None,
    concurrency_limit: int | None = None,
    cron: str | Mapping[str, str] | None = None,
    timezone: str | None = None,
    **hooks: Hook,
) -> Callable[[Function], Task]:
    """Registers `function(payload, ctx)` as a task; `hooks` are named as in `Hooks`.

    `concurrency_limit` is that of its queue. With `cron`, text or {"pattern", "timezone",
    "window"}, it runs by itself; `timezone` (UTC) may stand beside it. Raises Invalid when the id
    is taken.
    """
    if not id or len(id) > 128 or any(letter.isspace() for letter in id):
        raise Invalid(f"A task's id is 1 to 128 characters without spaces, not {id!r}.", field="id")

    def register(function: Function) -> Task:
        known = _tasks.get(id)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise Invalid(
                f'Two tasks have the id "{id}": {known.function.__module__} and '
                f"{function.__module__}. Give each its own.",
                field="id",
            )
        own_hooks = _hooks(hooks)
        task_hooks.check(own_hooks, is_async=inspect.iscoroutinefunction(function))
        entry = Task(
            id=id,
            function=function,
            retry=retry,
            max_duration=_optional(max_duration, "max_duration"),
            run_timeout=_optional(run_timeout, "run_timeout"),
            ttl=_optional(ttl, "ttl"),
            queue=_declare(queue or id, concurrency_limit),
            cron=_cron(cron, timezone),
            hooks=own_hooks,
        )
        _tasks[id] = entry
        return entry

    return register


def get_task(task_id: str) -> Task:
    """The task of that id. Raises NotFound naming those there are."""
    try:
        return _tasks[task_id]
    except KeyError:
        known = ", ".join(sorted(_tasks)) or "none"
        raise NotFound(
            f'There is no task "{task_id}". Registered: {known}.', field="task"
        ) from None


def all_tasks() -> list[Task]:
    """Every registered task, by id."""
    return [_tasks[key] for key in sorted(_tasks)]


def _declare(name: str, concurrency_limit: int | None) -> str:
    return queue(name, concurrency_limit=concurrency_limit)


def _cron(cron: str | Mapping[str, str] | None, timezone: str | None) -> Cron | None:
    given = {"pattern": cron} if isinstance(cron, str) else dict(cron or {})
    if timezone is not None:
        if "timezone" in given or not given:
            raise Invalid("Give timezone once, beside a cron.", field="timezone")
        given["timezone"] = timezone
    if not given:
        return None
    unknown = given.keys() - Cron.__dataclass_fields__.keys()
    if unknown or "pattern" not in given or not all(isinstance(x, str) for x in given.values()):
        raise Invalid(
            'cron is text, or {"pattern": text} with "timezone" and "window" where wanted.',
            field="cron",
        )
    return Cron(**given)


def _hooks(given: dict[str, Hook]) -> Hooks:
    unknown = given.keys() - Hooks.__dataclass_fields__.keys()
    if unknown:
        known = ", ".join(Hooks.__dataclass_fields__)
        raise Invalid(f"task() takes no {min(unknown)!r}. Hooks are {known}.", field=min(unknown))
    return Hooks(**given)


def _optional(value: Duration | None, field: str) -> float | None:
    return None if value is None else durations.seconds(value, field=field)


@functools.cache
def _payload_hint(function: Function) -> object:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        return None
    parameters = list(inspect.signature(function).parameters)
    return hints.get(parameters[0]) if parameters else None


def load_tasks() -> None:
    """Imports what registers tasks: each app's `tasks`, and FLOWMAESTRO_TASK_MODULES."""
    autodiscover_modules("tasks")
    for module in settings.FLOWMAESTRO.TASK_MODULES:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise ImproperlyConfigured(
                f"FLOWMAESTRO_TASK_MODULES names {module}, and there is no module {error.name}. "
                "Correct the name, or put its folder on PYTHONPATH."
            ) from error
