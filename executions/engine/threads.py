"""Plain `def` tasks: the same context, used from one thread that runs all of the task's steps."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import queue
from collections.abc import Callable
from typing import Any

from executions.engine.bodies import in_body
from executions.engine.context import Context
from executions.engine.failures import contained
from executions.engine.live import LiveRun, RunGone
from executions.errors import Conflict

_SYNCHRONOUS = frozenset({"run_id", "attempt", "owner", "workspace", "tags", "is_cancelled"})


class TaskThread:
    """A plain task's thread and its dialogue with the event loop.

    The thread asks for an operation and then serves the loop: it runs the bodies of steps that
    the operation needs, until the operation answers.
    """

    def __init__(self, live: LiveRun, program: Callable[[Any, Any], Any], payload: Any) -> None:
        self.live = live
        self._program = program
        self._payload = payload
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._context = contextvars.copy_context()
        self._operation: asyncio.Task[Any] | None = None
        self._cancelled = False

    async def run(self) -> Any:
        """The task's result; called as the run's main asyncio task."""
        live = self.live
        live.thread_busy = True
        ended = live.future()
        job = live.host.pool.submit(self._context.copy().run, self._main)

        def tell(_: Any) -> None:
            live.loop.call_soon_threadsafe(settle, context=live.host.context)

        def settle() -> None:
            live.thread_busy = False
            error = job.exception()
            if ended.done():
                return
            if error is not None:
                ended.set_exception(error)
            else:
                ended.set_result(job.result())
            live.moments.poke()

        job.add_done_callback(tell)
        return await ended

    def _main(self) -> Any:
        context = SyncContext(self, Context(self.live))
        return self.live.host.with_connections(self._program, (self._payload, context))

    def operate(self, begin: Callable[[], Any]) -> Any:
        """Carries out an operation of the context on the loop; called from the thread."""
        if in_body():
            # Refused, or not tied to the body's place in the journal: decided where it is asked.
            result = begin()
            if asyncio.iscoroutine(result):
                result.close()
                raise Conflict(
                    "A step's body cannot use the run's context: its result is stored as one. "
                    "Call steps from the task's own code."
                )
            return result
        if self.live.dead:
            raise RunGone(f"Run {self.live.id} has left this process; its context is dead.")
        self.live.loop.call_soon_threadsafe(self._begin, begin, context=self._context.copy())
        while True:
            what, value = self._inbox.get()
            if what == "body":
                self._run_body(*value)
            elif what == "error":
                raise value
            else:
                return value

    def _begin(self, begin: Callable[[], Any]) -> None:
        live = self.live
        if self._cancelled:
            self._cancelled = False
            self._inbox.put(("error", asyncio.CancelledError("The run is being cancelled.")))
            return

        async def operation() -> Any:
            result = begin()
            return await result if asyncio.iscoroutine(result) else result

        live.thread_busy = False
        self._operation = live.loop.create_task(operation(), context=self._context.copy())
        self._operation.add_done_callback(self._answer)
        live.moments.poke()

    def _answer(self, operation: asyncio.Task[Any]) -> None:
        self._operation = None
        self.live.thread_busy = True
        if operation.cancelled():
            gone = RunGone(f"Run {self.live.id} has left this process; its context is dead.")
            cancelled = asyncio.CancelledError("The run is being cancelled.")
            self._inbox.put(("error", gone if self.live.dead else cancelled))
        elif (error := operation.exception()) is not None:
            self._inbox.put(("error", error))
        else:
            self._inbox.put(("result", operation.result()))

    def cancel(self) -> None:
        """Makes the operation under way, or the next one, raise CancelledError in the thread."""
        # An operation that has just ended cannot be cancelled any more: the next one is.
        if self._operation is None or not self._operation.cancel():
            self._cancelled = True

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Runs a step's body on the thread; called from the loop."""
        job: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._inbox.put(("body", (contextvars.copy_context(), function, args, job)))
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            # Under way already: the next attempt waits for its end.
            if not job.cancel():
                self.live.abandoned.append(job)
            raise

    def _run_body(
        self,
        context: contextvars.Context,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        job: concurrent.futures.Future[Any],
    ) -> None:
        if not job.set_running_or_notify_cancel():
            return
        try:
            value = context.run(function, *args)
        except (SystemExit, KeyboardInterrupt) as error:
            job.set_exception(contained(error))
        except BaseException as error:
            # Whatever it is belongs to the step; the thread itself goes on serving.
            job.set_exception(error)
        else:
            job.set_result(value)


class SyncContext:
    """A `Context` for plain tasks: the same names, without `await` and without branches."""

    def __init__(self, thread: TaskThread, context: Context) -> None:
        self._thread = thread
        self._context = context

    def __getattr__(self, name: str) -> Any:
        if name in _SYNCHRONOUS:
            return getattr(self._context, name)
        if name == "metadata":
            return _Remote(self._thread, self._context.metadata)
        if name == "branch":
            raise AttributeError("A plain task has one thread; parallel branches need async def.")
        return _Remote(self._thread, self._context).__getattr__(name)

    def scoped(self, scope: str) -> SyncContext:
        """The context of a hook, whose keys lie under `scope`."""
        return SyncContext(self._thread, Context(self._context._live, scope=scope))

    def continue_as_new(self, payload: Any = None) -> None:
        """Ends this generation of the run; see `Context.continue_as_new`."""
        self._context.continue_as_new(payload)

    def stream(self, name: str) -> Any:
        """An output stream of the run."""
        return _Remote(self._thread, self._context.stream(name))


class _Remote:
    """Calls the methods of an object on the loop."""

    def __init__(self, thread: TaskThread, target: Any) -> None:
        self._thread = thread
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        def call(*args: Any, **options: Any) -> Any:
            answer = self._thread.operate(lambda: method(*args, **options))
            return self if answer is self._target else answer

        return call
