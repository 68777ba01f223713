"""Documents are read, drawn and printed in processes of their own, with limits on time and memory.

What a document contains was written by a stranger. The process that opens it can open nothing
else, no file and no connection, and ends with the answer.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any, Literal, NoReturn
from weakref import WeakKeyDictionary

from executions.errors import Invalid, Unavailable
from executions.sandbox import helper, wire

Json = Any
Kind = Literal["reading", "printing", "charts"]

# Documents at work at the same time, per event loop; more of them wait their turn.
AT_WORK = 4
_READY_SECONDS = 60.0
_GRACE_SECONDS = 5.0
_TRIES = 3

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class BadDocument(Invalid):
    """The document cannot be read or made, however often it is tried."""

    code = "bad_document"
    non_retryable = True


class DocumentsLost(Unavailable):
    """The process of a document went away for a reason outside the document."""

    code = "documents_lost"


async def work(
    kind: Kind, asked: dict[str, Json], data: bytes = b"", *, seconds: float = 30.0,
    megabytes: int = 256,
) -> tuple[dict[str, Json], bytes]:  # fmt: skip
    """What a process of this kind answers: JSON and bytes. Raises BadDocument, DocumentsLost."""
    header = json.dumps({**asked, "timeout": seconds, "memory": megabytes}).encode()
    loop = asyncio.get_running_loop()
    async with _turns.setdefault(loop, asyncio.Semaphore(AT_WORK)):
        for _ in range(_TRIES):
            answer = await _once(kind, header, data, seconds, megabytes)
            if answer is not None:
                return _unpacked(answer, megabytes)
    raise DocumentsLost("No process for documents starts; see that its packages are there.")


async def _once(
    kind: Kind, header: bytes, data: bytes, seconds: float, megabytes: int
) -> bytes | None:
    """The answer of one process; None where it went before it took the request."""
    try:
        confined = helper.take(kind)
    except OSError:
        return None
    loop = asyncio.get_running_loop()
    started = False
    try:
        async with asyncio.timeout(_READY_SECONDS) as limit:
            request = wire.frame(wire.HEADER, header) + wire.frame(wire.NAMES, data)
            await loop.sock_sendall(confined.sock, request)
            while True:
                frame, payload = await wire.receive_async(confined.sock)
                if frame == wire.ANSWER:
                    return payload
                if frame == wire.ENDED:
                    ending = json.loads(payload)
                    if not started and "broken" not in ending:
                        return None
                    _refuse_ending(ending, seconds, megabytes)
                started = True
                limit.reschedule(loop.time() + seconds + _GRACE_SECONDS)
    except TimeoutError:
        if started:
            _refuse_slow(seconds)
        return None
    except OSError:
        if started:
            raise DocumentsLost("The process of a document ended while it worked.") from None
        return None
    finally:
        helper.kill(confined)
        helper.refill(kind)


def _refuse_ending(ending: dict[str, Json], seconds: float, megabytes: int) -> NoReturn:
    if "broken" in ending:
        raise DocumentsLost(f"The process for documents does not start: {ending['broken']}")
    number = -int(ending["status"])
    if number == signal.SIGALRM:
        _refuse_slow(seconds)
    if number == signal.SIGKILL:
        raise DocumentsLost("The process of a document was killed from outside.")
    _refuse_large(megabytes)


def _refuse_slow(seconds: float) -> NoReturn:
    raise BadDocument(
        f"The document takes longer than {seconds:g} s; it may be broken, or made to do harm."
    )


def _refuse_large(megabytes: int) -> NoReturn:
    raise BadDocument(
        f"The document needs more than {megabytes} MB of memory; it may be made to do harm."
    )


def _unpacked(answer: bytes, megabytes: int) -> tuple[dict[str, Json], bytes]:
    head, _, data = answer.partition(b"\n")
    found = json.loads(head)
    kind = found.get("kind")
    if kind == "memory":
        _refuse_large(megabytes)
    if kind == "too_large":
        raise BadDocument(
            f"The result has {found['size']:,} bytes, over the limit of {wire.MAX_ANSWER:,}.",
            code="too_large",
        )
    if kind is not None:
        raise BadDocument(str(found["error"]))
    return found, data
