"""A context in memory for tests of tasks: keys, branches, retries, tokens and replay, no database.

Timers do not wait: a sleep is noted and over. A journal handed from one context to the next makes
the second one a replay of the first.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from executions.engine import bodies
from executions.engine.failures import StepFailed
from executions.rules.retry import Retry

Json = Any


@dataclass
class FakeToken:
    """A wait token's id and key."""

    id: str
    name: str


@dataclass
class FakeTokenResult:
    """The outcome of a token."""

    ok: bool
    output: Json = None
    error: Json = None


@dataclass
class FakeStep:
    """What current_step() gives inside a body."""

    key: str
    attempt: int
    run_id: str = "run_test"
    last_heartbeat: Json = None

    def heartbeat(self, details: Json = None) -> None:
        """Noted nowhere."""


class FakeMetadata:
    """Metadata with the operations the engine has."""

    def __init__(self) -> None:
        self.values: dict[str, Json] = {}

    def get(self, key: str, default: Json = None) -> Json:
        return self.values.get(key, default)

    def set(self, key: str, value: Json) -> None:
        self.values[key] = json.loads(json.dumps(value))

    def append(self, key: str, value: Json) -> None:
        self.values[key] = [*self.values.get(key, []), value]

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


@dataclass
class World:
    """What all branches of one run share."""

    journal: dict[str, Json] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    branches: set[str] = field(default_factory=set)
    bodies: list[str] = field(default_factory=list)
    sleeps: dict[str, float] = field(default_factory=dict)
    backoffs: list[float] = field(default_factory=list)
    events: list[tuple[str, Json]] = field(default_factory=list)
    tokens: dict[str, asyncio.Future[FakeTokenResult]] = field(default_factory=dict)
    answers: dict[str, list[Json]] = field(default_factory=dict)
    pure: set[str] = field(default_factory=set)
    running: int = 0
    most_running: int = 0


class FakeContext:
    """The part of the engine's Context that tasks here use."""

    def __init__(self, *, world: World | None = None, scope: str = "", root: Any = None) -> None:
        self.world = world or World()
        self.metadata = FakeMetadata() if root is None else root.metadata
        self.run_id = "run_test"
        self.attempt = 1
        self.owner = None
        self.workspace: str | None = None
        self._scope = scope
        self._user: asyncio.Task[Any] | None = None

    def active_limit(self, seconds: float) -> asyncio.Future[Any]:
        """A future that is done after so many seconds."""
        return asyncio.ensure_future(asyncio.sleep(seconds))

    def branch(self, name: str) -> FakeContext:
        """A context whose keys lie under `name/`."""
        assert name and "/" not in name, name
        scope = f"{self._scope}{name}/"
        assert scope not in self.world.branches, f"two branches {scope}"
        self.world.branches.add(scope)
        return FakeContext(world=self.world, scope=scope, root=self)

    def _key(self, name: str) -> str:
        task = asyncio.current_task()
        assert self._user in (None, task) or self._user.done(), "a branch is needed"
        assert bodies.current_body.get() is None, "the context is not for bodies"
        self._user = task
        key = self._scope + name
        assert key not in self.world.asked, f"two steps {key}"
        self.world.asked.add(key)
        return key

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        retry: Retry | None = None,
        timeout: float | None = None,
        pure: bool = False,
        **options: Any,
    ) -> Any:
        """The recorded result, or what the function gives, tried by the policy."""
        key = self._key(name)
        if key in self.world.journal:
            await asyncio.sleep(0)
            return self._outcome(key)
        if pure:
            self.world.pure.add(key)
        policy = retry or Retry()
        number = 0
        while True:
            number += 1
            self.world.bodies.append(key)
            try:
                value = await self._body(key, number, function, args, timeout)
                self.world.journal[key] = {"value": json.loads(json.dumps(value, allow_nan=False))}
            except Exception as error:
                if policy.allows(number, error):
                    self.world.backoffs.append(policy.delay(number, uniform=lambda low, high: low))
                    continue
                kind = type(error).__name__
                self.world.journal[key] = {
                    "error": {"type": kind, "message": str(error) or kind},
                    "attempts": number,
                }
            return self._outcome(key)

    async def _body(
        self, key: str, number: int, function: Any, args: tuple[Any, ...], timeout: float | None
    ) -> Json:
        token = bodies.current_body.set(FakeStep(key, number))  # type: ignore[arg-type]
        self.world.running += 1
        self.world.most_running = max(self.world.most_running, self.world.running)
        try:
            async with asyncio.timeout(timeout):
                if inspect.iscoroutinefunction(function):
                    await asyncio.sleep(0)
                    return await function(*args)
                return await asyncio.to_thread(function, *args)
        finally:
            self.world.running -= 1
            bodies.current_body.reset(token)

    def _outcome(self, key: str) -> Json:
        entry = self.world.journal[key]
        if "error" in entry:
            raise StepFailed(key, entry["error"], entry["attempts"])
        return json.loads(json.dumps(entry["value"]))

    async def sleep(self, seconds: float = 0, *, name: str = "sleep", **more: float) -> None:
        """Noted and over."""
        self.world.sleeps[self._key(name)] = seconds
        await asyncio.sleep(0)

    async def sleep_until(self, moment: datetime, *, name: str = "sleep") -> None:
        """Noted and over."""
        assert moment.tzinfo is not None
        self.world.sleeps[self._key(name)] = moment.timestamp()
        await asyncio.sleep(0)

    async def create_token(
        self, name: str, *, timeout: float | str | None = None, tags: Any = ()
    ) -> FakeToken:
        """A token, answered at once where the test has an answer for its key."""
        key = self._key(name)
        return FakeToken(f"waitpoint_{key}", key)

    async def wait_for_token(self, token: FakeToken) -> FakeTokenResult:
        """The token's outcome."""
        self._key(f"{token.name.removeprefix(self._scope)}:wait")
        waiting = self.world.answers.get(token.name)
        if waiting:
            await asyncio.sleep(0)
            answer = waiting.pop(0)
            return answer if isinstance(answer, FakeTokenResult) else FakeTokenResult(True, answer)
        future = asyncio.get_running_loop().create_future()
        self.world.tokens[token.id] = future
        return await future

    def emit(self, type: str, data: Json = None) -> None:
        """An event."""
        self.world.events.append((type, json.loads(json.dumps(data))))

    def replay(self) -> FakeContext:
        """A context that answers from what this one recorded."""
        return FakeContext(world=World(journal=dict(self.world.journal)))
