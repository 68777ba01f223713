"""What a task may do: steps, waits, children, metadata, events, streams."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NoReturn

from django.conf import settings

from executions.engine import children, waiting
from executions.engine.bodies import StepContext, StepOptions, current_step, in_body
from executions.engine.failures import StepFailed, StepInterrupted, StepTimeout
from executions.engine.live import ContinueAsNew, LiveRun, RunGone
from executions.engine.projections import Metadata, Stream, is_news
from executions.engine.results import ChildFailed, ChildResult, Token, TokenResult, TokenTimedOut
from executions.engine.rows import StepRow
from executions.engine.steps import StepRun
from executions.errors import Conflict, Invalid
from executions.registry import get_task
from executions.requests import check_tags
from executions.rules import durations
from executions.rules.durations import Duration
from executions.rules.retry import Retry
from executions.rules.statuses import StepStatus
from executions.rules.values import Json, decode, encode, plain_text

__all__ = [
    "ChildFailed",
    "ChildResult",
    "Context",
    "StepContext",
    "StepFailed",
    "StepInterrupted",
    "StepTimeout",
    "Token",
    "TokenResult",
    "TokenTimedOut",
    "current_step",
]


class DuplicateStep(Invalid):
    """Two steps of one run have the same key."""

    code = "duplicate_step"
    non_retryable = True


class BranchRequired(Conflict):
    """Parallel asyncio tasks share one scope, so their numbers would depend on who came first."""

    code = "branch_required"
    non_retryable = True


class Context:
    """A task's handle on its run. Parallel asyncio tasks take a `branch` each."""

    def __init__(self, live: LiveRun, *, scope: str = "", may_step: bool = True):
        self._live = live
        self._scope = scope
        self._may_step = may_step
        self._counters: dict[str, int] = {}
        self._user: asyncio.Task[Any] | None = None

    # ---- facts ----------------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._live.id

    @property
    def attempt(self) -> int:
        """Which attempt of the run this is, from 1."""
        return self._live.attempt

    @property
    def owner(self) -> int | None:
        """The primary key of the user the run belongs to."""
        return self._live.row["owner_id"]

    @property
    def workspace(self) -> str | None:
        """The id of the workspace that the run belongs to, or None."""
        workspace: str | None = self._live.row["workspace_id"]
        return workspace

    @property
    def tags(self) -> list[str]:
        """The run's tags."""
        return list(self._live.row["tags"])

    @property
    def is_cancelled(self) -> bool:
        """Whether the run's cancellation has been asked for."""
        return self._live.cancel_requested

    def active_limit(self, seconds: float) -> asyncio.Future[Any]:
        """A future that is done once the run has been active for so long; waits do not count.

        It is no step: the time is that of all attempts, also after a crash.
        """
        return self._live.active_limit(seconds)

    @property
    def metadata(self) -> Metadata:
        """The run's small public JSON, watched live."""
        return Metadata(self._live, is_counted=self._may_step)

    def stream(self, name: str) -> Stream:
        """An output stream of the run, such as a model's tokens."""
        return Stream(self._live, name, is_counted=self._may_step)

    # ---- scopes and keys ------------------------------------------------------------------------

    def branch(self, name: str) -> Context:
        """A context for one parallel asyncio task; its keys lie under `name/`."""
        if "/" in plain_text(name, field="name"):
            raise Invalid(f"A branch's name has no slash, as {name!r} does.", field="name")
        scope = f"{self._scope}{name}/"
        if scope in self._live.branches:
            raise DuplicateStep(
                f'Two branches of run {self.run_id} are called "{scope[:-1]}"; give each its own '
                "name.",
                field="name",
            )
        self._live.branches.add(scope)
        return Context(self._live, scope=scope)

    def _key(self, kind: str, name: str | None) -> str:
        live = self._live
        if live.is_over:
            raise RunGone(f"Run {live.id} has left this process; its context is dead.")
        if in_body():
            raise Conflict(
                "A step's body cannot use the run's context: its result is stored as one. Call "
                "steps from the task's own code."
            )
        if not self._may_step:
            raise Conflict(
                "This hook takes no steps and waits for nothing: it is not part of the run's "
                "journal. Metadata, events and streams are open to it.",
                field="ctx",
            )
        self._check_user()
        if name is None:
            number = self._counters.get(kind, 0) + 1
            self._counters[kind] = number
            key = f"{self._scope}{kind}#{number}"
        else:
            if plain_text(name, field="name", limit=1024).startswith("@"):
                raise Invalid(f'A name does not begin with "@", as {name!r} does.', field="name")
            key = self._scope + name
        if key in live.asked:
            raise DuplicateStep(
                f'Run {live.id} has two steps with the key "{key}". Name them apart, or leave the '
                "name out to have them numbered.",
                field="name",
            )
        live.asked.add(key)
        return key

    def _check_user(self) -> None:
        task = asyncio.current_task()
        if self._user is task:
            return
        if self._user is not None and not self._user.done() and self._live.thread is None:
            raise BranchRequired(
                "Two asyncio tasks use one context, so the order of their steps would be chance. "
                "Give each its own: ctx.branch(name).",
                field="ctx",
            )
        self._user = task

    # ---- steps ----------------------------------------------------------------------------------

    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        schedule_to_start: Duration | None = None,
        schedule_to_close: Duration | None = None,
        heartbeat_timeout: Duration | None = None,
        pure: bool = False,
        at_most_once: bool = False,
        transactional: bool = False,
        kind: str = "step",
        input: Json = None,
    ) -> Any:
        """The result of `function(*args)`, computed once per run and stored under `name`.

        An `async def` runs on the event loop, a plain function on a thread. `timeout` limits one
        attempt, `schedule_to_close` all of them, `schedule_to_start` the wait for a free thread,
        which is not tried again. Raises StepFailed when the attempts are used up.
        """
        plain_text(kind, field="kind", limit=64)
        options = StepOptions(
            retry=retry or self._live.host.default_retry,
            timeout=_seconds(timeout, "timeout"),
            schedule_to_start=_seconds(schedule_to_start, "schedule_to_start"),
            schedule_to_close=_seconds(schedule_to_close, "schedule_to_close"),
            heartbeat_timeout=_seconds(heartbeat_timeout, "heartbeat_timeout"),
            pure=pure,
            at_most_once=at_most_once,
            transactional=transactional,
            kind=kind,
            input=input,
        )
        if pure and (at_most_once or transactional):
            raise Invalid(
                "A pure step has no effect to guard; leave out at_most_once and transactional.",
                field="pure",
            )
        if transactional and asyncio.iscoroutinefunction(function):
            raise Invalid(
                "A transactional step is a plain function: its writes go through Django's "
                "connection.",
                field="transactional",
            )
        return await StepRun(self._live, self._key(kind, name), function, args, options).result()

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a plain function reads that never changes, on a thread and stored nowhere.

        A replay reads again; what may have changed by then is a step's to read.
        """
        return await self._live.host.in_pool(function, args)

    # ---- waits ----------------------------------------------------------------------------------

    async def sleep(
        self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0,
        name: str | None = None,
    ) -> None:  # fmt: skip
        """Waits at least this long; the process may stop meanwhile."""
        length = seconds + 60 * minutes + 3600 * hours + 86_400 * days
        wait = durations.seconds(length, field="sleep")
        await waiting.sleep(self._live, self._key("sleep", name), wait)

    async def sleep_until(self, moment: datetime, *, name: str | None = None) -> None:
        """Waits until an aware moment; one in the past does not wait."""
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise Invalid("sleep_until needs a moment with a time zone.", field="moment")
        left = max(0.0, moment.timestamp() - self._live.host.clock.now())
        await waiting.sleep(self._live, self._key("sleep", name), left)

    async def create_token(
        self, name: str | None = None, *, timeout: Duration | None = None,
        tags: Sequence[str] = (),
    ) -> Token:  # fmt: skip
        """A wait token of this run; a replay gives the same one. Without `timeout`: for ever."""
        wait = _seconds(timeout, "timeout")
        tag_text = encode(check_tags(tags), field="tags")
        return await waiting.create_token(self._live, self._key("token", name), wait, tag_text)

    async def wait_for_token(self, token: Token | str) -> TokenResult:
        """The token's single outcome. A timeout is a value: `ok` is False."""
        local = token if isinstance(token, str) else token.name.removeprefix(self._scope)
        key = self._key("wait", f"{local}:wait")
        return await waiting.wait_for_token(self._live, key, token)

    async def wait_for_signal(
        self, name: str, *, timeout: Duration | None = None, key: str | None = None
    ) -> TokenResult:
        """The next signal of that name sent to this run, also one sent before the wait began."""
        seconds = _seconds(timeout, "timeout")
        plain_text(name, field="name", limit=128)
        step = self._key(f"signal:{name}", key)
        return await waiting.wait_for_signal(self._live, step, name, seconds)

    # ---- children -------------------------------------------------------------------------------

    async def trigger(self, task: Any, payload: Json = None, **options: Any) -> str:
        """Starts a run that nobody waits for; its id. A replay starts no second one."""
        key = self._key("trigger", options.pop("name", None))
        return await children.start(self._live, key, task, payload, options)

    async def trigger_and_wait(
        self, task: Any, payload: Json = None, **options: Any
    ) -> ChildResult:
        """Starts a child run and waits for its end; its outcome, failed or not, is a value."""
        key = self._key("children", options.pop("name", None))
        return (await children.run(self._live, key, [(task, payload, options)]))[0]

    async def batch_trigger_and_wait(
        self, task: Any, items: Sequence[Any], *, name: str | None = None, **options: Any
    ) -> list[ChildResult]:
        """Starts a child run per item, each a payload, and waits for all; results in item order."""
        limit = settings.FLOWMAESTRO.BATCH_LIMIT
        if len(items) > limit:
            raise Invalid(f"A batch has at most {limit} items, not {len(items)}.", field="items")
        key = self._key("children", name)
        return await children.run(self._live, key, [(task, item, dict(options)) for item in items])

    def continue_as_new(self, payload: Any = None) -> NoReturn:
        """Ends here and begins the task anew with `payload`: the same run, a fresh journal.

        Waits and children that are open are left alone; unread signals and metadata stay. Raises
        Invalid or TooLarge for a payload that the task does not take.
        """
        live = self._live
        if live.is_over:
            raise RunGone(f"Run {live.id} has left this process; its context is dead.")
        if in_body():
            raise Conflict("A step's body cannot end its run; call it from the task's own code.")
        text = encode(payload, field="payload", limit=settings.FLOWMAESTRO.PAYLOAD_LIMIT)
        get_task(live.row["task"]).parse(decode(text))
        raise ContinueAsNew(text)

    # ---- the log --------------------------------------------------------------------------------

    def emit(self, type: str, data: Json = None) -> None:
        """Appends an event to the run's gap-free log; a replay does not repeat it.

        In a step's body, each attempt appends its own.
        """
        live = self._live
        if live.is_over:
            raise RunGone(f"Run {live.id} has left this process; its context is dead.")
        plain_text(type, field="type")
        text = encode({} if data is None else data, field="data")
        if is_news(live, is_counted=self._may_step):
            live.on_loop(functools.partial(live.append_event, type, text))

    def expose(self, name: str, value: Json) -> None:
        """Declares a value that `runs.query` answers with, also when the run waits or has ended."""
        live = self._live
        if live.is_over:
            raise RunGone(f"Run {live.id} has left this process; its context is dead.")
        plain_text(name, field="name", limit=128)
        text = encode(value, field=name, limit=settings.FLOWMAESTRO.METADATA_LIMIT)
        if is_news(live, is_counted=self._may_step):
            live.on_loop(functools.partial(live.expose, name, decode(text)))

    def patched(self, change: str) -> bool:
        """Whether this run takes the new side of a change of its code.

        True for runs that reach this line for the first time with the new code, and for ever after
        in those; False for runs that were past it already.
        """
        live = self._live
        if change not in live.patches:
            key = self._key("patch", f"patch:{change}")
            record = live.recorded.find(key, "patch", run_id=live.id)
            live.patches[change] = record is not None or not live.replaying
            if record is None and not live.replaying:
                row = StepRow(key, "patch", StepStatus.COMPLETED, output="true")
                live.moments.note(row)
        return live.patches[change]


def _seconds(value: Duration | None, field: str) -> float | None:
    return None if value is None else durations.seconds(value, field=field)
