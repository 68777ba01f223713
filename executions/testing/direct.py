"""Unit tests of tasks without a database: `await report.run(payload, ctx=DirectContext(...))`.

A DirectContext calls steps directly, notes sleeps instead of waiting, and answers waits with what
the test gave it. It proves what a task does, not that it survives: for that, run the engine.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from executions import callback_secrets
from executions.engine.failures import StepFailed, error_value
from executions.engine.results import ChildResult, Token, TokenResult
from executions.engine.steps import return_hint
from executions.errors import Invalid
from executions.registry import Task, get_task
from executions.rules import metadata
from executions.rules.retry import Retry
from executions.rules.values import Json, decode, encode, typed

TIMED_OUT = TokenResult(ok=False, error={"type": "timeout", "message": "The wait timed out."})


class DirectContext:
    """The context of a task under test, in memory.

    `answers`: outcome by the name of a token or signal, TIMED_OUT for none. `children`: by task id,
    a function of the payload in place of the registered task.
    """

    run_id = "run_test"
    attempt = 1
    owner: int | None = None
    workspace: str | None = None
    is_cancelled = False

    def __init__(
        self,
        *,
        answers: Mapping[str, Json | TokenResult] | None = None,
        children: Mapping[str, Callable[[Json], Any]] | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        self.tags = list(tags)
        self.steps: dict[str, Json] = {}
        self.sleeps: list[float] = []
        self.events: list[tuple[str, Json]] = []
        self.streams: dict[str, list[Json]] = {}
        self.metadata = DirectMetadata()
        self._answers = dict(answers or {})
        self._children = dict(children or {})
        self._scope = ""
        self._numbers: dict[str, int] = {}

    def branch(self, name: str) -> DirectContext:
        """The same context with keys under `name/`."""
        branch = DirectContext.__new__(DirectContext)
        branch.__dict__.update(self.__dict__, _scope=f"{self._scope}{name}/", _numbers={})
        return branch

    def _key(self, kind: str, name: str | None) -> str:
        if name is None:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            name = f"{kind}#{self._numbers[kind]}"
        key = self._scope + name
        if key in self.steps:
            raise Invalid(f'Two steps have the key "{key}". Name them apart.', field="name")
        self.steps[key] = None
        return key

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        retry: Retry | None = None,
        **_options: Any,
    ) -> Any:
        """What the function gives, tried again at once as often as its policy allows."""
        key = self._key("step", name)
        policy = retry or Retry()
        attempt = 1
        while True:
            try:
                value = function(*args)
                if inspect.isawaitable(value):
                    value = await value
            except Exception as error:
                if not policy.allows(attempt, error):
                    raise StepFailed(key, error_value(error), attempt) from error
                attempt += 1
                continue
            self.steps[key] = decode(encode(value, field=key))
            return typed(self.steps[key], return_hint(function), field=key)

    async def sleep(
        self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0,
        name: str | None = None,
    ) -> None:  # fmt: skip
        """Notes the length and goes on."""
        self._key("sleep", name)
        length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self.sleeps.append(length.total_seconds())

    async def sleep_until(self, moment: datetime, *, name: str | None = None) -> None:
        """Notes nothing and goes on."""
        self._key("sleep", name)

    async def create_token(self, name: str | None = None, **_options: Any) -> Token:
        """A token that the test's `answers` complete."""
        key = self._key("token", name)
        token_id = f"waitpoint_{key}"
        secret = callback_secrets.make(token_id)
        return Token(id=token_id, name=key, secret_key=secret.key)

    async def wait_for_token(self, token: Token | str) -> TokenResult:
        """The test's answer for the token's name."""
        return self._answer(token if isinstance(token, str) else token.name)

    async def wait_for_signal(self, name: str, **_options: Any) -> TokenResult:
        """The test's answer for the signal's name."""
        return self._answer(name)

    def _answer(self, name: str) -> TokenResult:
        if name not in self._answers:
            raise AssertionError(
                f"The task waits for {name!r}, and the test gave no answer for it."
            )
        answer = self._answers[name]
        return answer if isinstance(answer, TokenResult) else TokenResult(ok=True, output=answer)

    async def trigger(self, task: Task | str, payload: Json = None, **_options: Any) -> str:
        """Notes the trigger as an event `trigger`; nothing runs."""
        task_id = task.id if isinstance(task, Task) else task
        self.events.append(("trigger", {"task": task_id, "payload": payload}))
        return f"run_test_{len(self.events)}"

    async def trigger_and_wait(
        self, task: Task | str, payload: Json = None, **_options: Any
    ) -> ChildResult:
        """What the test's stand-in or the task itself makes of the payload."""
        entry = task if isinstance(task, Task) else get_task(task)
        stand_in = self._children.get(entry.id)
        try:
            if stand_in is not None:
                value = stand_in(payload)
            elif entry.is_async:
                value = entry.run(payload)
            else:
                # Its own steps need an event loop, and this one is running.
                value = await asyncio.to_thread(entry.run, payload)
            if inspect.isawaitable(value):
                value = await value
        except Exception as error:
            return ChildResult(
                ok=False, run_id="run_test_child", error=error_value(error), status="FAILED"
            )
        output = decode(encode(value, field="output"))
        return ChildResult(ok=True, run_id="run_test_child", output=output)

    async def batch_trigger_and_wait(
        self, task: Task | str, items: Sequence[Json], **options: Any
    ) -> list[ChildResult]:
        """The children one after the other."""
        return [await self.trigger_and_wait(task, item, **options) for item in items]

    def emit(self, type: str, data: Json = None) -> None:
        """Notes an event."""
        self.events.append((type, data))

    def stream(self, name: str) -> _DirectStream:
        """A stream whose pieces collect under `streams`."""
        return _DirectStream(self.streams.setdefault(name, []))


class DirectMetadata:
    """Metadata in memory, by the rules of the real one."""

    def __init__(self) -> None:
        self._values: dict[str, Json] = {}

    def current(self) -> dict[str, Json]:
        """All of it."""
        return dict(self._values)

    def get(self, key: str, default: Json = None) -> Json:
        """The value of a key."""
        return self._values.get(key, default)

    def __getattr__(self, name: str) -> Callable[..., DirectMetadata]:
        def change(key: Any = "", value: Json = 1) -> DirectMetadata:
            operation: metadata.Operation = (name, key, value)
            if name == "replace":
                operation = ("replace", "", key)
            elif name == "decrement":
                operation = ("increment", key, -value)
            metadata.check(operation)
            self._values = metadata.apply(self._values, [operation])
            return self

        return change


class _DirectStream:
    def __init__(self, pieces: list[Json]) -> None:
        self._pieces = pieces

    def append(self, chunk: Json) -> None:
        """Adds a piece."""
        self._pieces.append(chunk)


class SyncDirectContext:
    """A DirectContext for plain `def` tasks: the same names without `await`."""

    def __init__(self, context: DirectContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._context, name)
        if not inspect.iscoroutinefunction(value):
            return value
        return lambda *args, **options: _run(value(*args, **options))


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, also where an event loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
