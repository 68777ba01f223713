"""user-input: a run that asks a person for something and waits for the answer."""

from __future__ import annotations

from typing import Any, TypedDict

from executions.engine.context import Context
from executions.errors import Invalid
from executions.registry import task
from executions.rules import durations
from executions.rules.retry import NO_RETRY

_DEFAULT_SECONDS = 300.0


class Answer(TypedDict, total=False):
    """What came of the question. Without an answer `ok` is false and `error` says why."""

    ok: bool
    userResponse: Any
    error: str


@task("user-input", retry=NO_RETRY)
async def user_input(payload: dict[str, Any] | None, ctx: Context) -> Answer:
    """Asks `payload["prompt"]` and waits for `payload["timeout"]`, five minutes by default.

    The question stands in the run's metadata with its token while it is open; whether an answer
    has come can be queried as `hasReceivedInput`.
    """
    given = payload or {}
    prompt = given.get("prompt", "")
    if not isinstance(prompt, str):
        raise Invalid("prompt is text.", field="payload.prompt")
    timeout = given.get("timeout", _DEFAULT_SECONDS)
    seconds = durations.seconds(timeout, field="payload.timeout")
    token = await ctx.create_token("input", timeout=seconds, tags=["user-input"])
    ctx.expose("hasReceivedInput", False)
    ctx.expose("tokenId", token.id)
    ctx.metadata.set("waitingForInput", {"prompt": prompt, "tokenId": token.id})
    answer = await ctx.wait_for_token(token)
    ctx.metadata.set("waitingForInput", False)
    ctx.expose("hasReceivedInput", answer.ok)
    if answer.ok:
        return {"ok": True, "userResponse": answer.output}
    return {"ok": False, "error": f"No input came within {seconds:g} s."}
