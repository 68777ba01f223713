"""A task that does what its payload lists: the real side of the model."""

from __future__ import annotations

from collections import Counter
from typing import Any

from executions.engine.context import Context, current_step
from executions.registry import task
from executions.rules.retry import NO_RETRY, Retry

RETRY_SECONDS = 10
# How often each body ran: by run and key.
effects: Counter[tuple[str, str]] = Counter()


def effect(value: int, failures: int = 0) -> int:
    """A body that counts itself and fails so many times first."""
    step = current_step()
    effects[step.run_id, step.step] += 1
    if step.attempt <= failures:
        raise RuntimeError("planned")
    return value


@task("model.program", retry=NO_RETRY)
async def program(payload: dict[str, Any], ctx: Context) -> list[Any]:
    """Carries out `ops` one after the other; what each came to."""
    seen: list[Any] = []
    for place, (kind, given) in enumerate(payload["ops"]):
        seen.append(await _carry_out(ctx, place, kind, given))
    return seen


async def _carry_out(ctx: Context, place: int, kind: str, given: Any) -> Any:
    match kind:
        case "step":
            return await ctx.step(f"s{place}", effect, place)
        case "flaky":
            retry = Retry(
                max_attempts=given + 1, min_timeout=RETRY_SECONDS, max_timeout=RETRY_SECONDS,
                randomize=False,
            )  # fmt: skip
            return await ctx.step(f"s{place}", effect, place, given, retry=retry)
        case "sleep":
            await ctx.sleep(given, name=f"z{place}")
            return "slept"
        case "token":
            token = await ctx.create_token(f"t{place}", timeout=given)
            answer = await ctx.wait_for_token(token)
            return answer.output if answer.ok else "timeout"
        case "signal":
            answer = await ctx.wait_for_signal("go", timeout=given, key=f"g{place}")
            return answer.output if answer.ok else "timeout"
        case "child":
            child = await ctx.trigger_and_wait(program, {"ops": given}, name=f"c{place}")
            return child.output if child.ok else child.status
    raise ValueError("planned")
