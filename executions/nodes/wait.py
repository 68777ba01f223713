"""wait: pause the run for a time, until a moment, or until an event from outside."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field, model_validator

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import to_number, to_text

Json = Any

# Seconds per unit.
_UNITS = {
    "ms": 0.001,
    "millisecond": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "w": 604800.0,
    "week": 604800.0,
}
_WRITTEN = re.compile(r"(?:\d+(?:\.\d+)?\s*[A-Za-z]+[\s,]*)+")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")
_MOMENTS = ("timestamp", "until", "date", "datetime")
_TIMES = ("duration", "durationValue", "delay", "seconds", "value", *_MOMENTS)
MAX_SECONDS = 10 * 366 * 86400.0


class WaitConfig(NodeConfig):
    """How long, or until when; or the event that ends the wait."""

    wait_type: str = Field("duration", title="Kind", description="duration, until or event")
    duration: Json = Field(None, title="Duration", description="In milliseconds without a unit")
    duration_value: Json = Field(None, title="Duration value")
    duration_unit: str | None = Field(None, title="Unit")
    timestamp: Json = Field(None, title="Until")
    event: str | None = Field(None, title="Event")
    provider: str | None = Field(None, title="Provider")
    timeout: Json = Field(None, title="Timeout", description="For events, in milliseconds")

    @model_validator(mode="after")
    def _has_an_end(self) -> WaitConfig:
        if self.wait_type == "until" and self.timestamp is None:
            raise ValueError("It waits until no moment; fill in `timestamp`.")
        if self.wait_type == "duration" and self.duration is None and self.duration_value is None:
            raise ValueError("It has no duration; fill in `duration` or `durationValue`.")
        return self


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    kind = config.get("waitType") or config.get("delayType")
    unit = config.get("durationUnit")
    for key in ("event", "eventType", "eventName", "webhookEvent"):
        if isinstance(config.get(key), str) and config[key]:
            config["event"] = config[key]
            break
    timed = any(config.get(key) not in (None, "") for key in _TIMES)
    is_event = config.get("triggerType") == "webhook" or kind in ("event", "webhook")
    if is_event or (config.get("event") and not timed):
        config["waitType"] = "event"
        return config
    for key in _MOMENTS:
        if config.get("timestamp") in (None, "") and config.get(key) not in (None, ""):
            config["timestamp"] = config[key]
    for key in _TIMES:
        if config.get(key) == "":
            config.pop(key)
    if isinstance(unit, str) and unit.lower() in _MOMENTS:
        config["timestamp"] = config.get("timestamp") or config.get("duration")
        kind = "until"
    if kind not in ("duration", "until"):
        kind = "until" if config.get("timestamp") and not config.get("duration") else "duration"
    config["waitType"] = kind
    if config.get("duration") is None and config.get("durationValue") is None:
        for key in ("delay", "seconds", "value"):
            if config.get(key) is not None:
                config["durationValue"] = config[key]
                break
    return config


@node(
    "wait",
    synonyms=("delay", "sleep"),
    config=WaitConfig,
    effect=Effect.WAITS,
    icon="clock",
    own_timeout=True,
    dialect=_dialect,
)
async def wait(call: NodeCall[WaitConfig]) -> NodeResult:
    """Pause the run; it survives restarts however long the pause is."""
    config, ctx = call.config, call.ctx
    if config.wait_type == "event":
        return await _wait_for_event(call)

    planned = await ctx.step("plan", _plan, call, pure=True)
    seconds = planned["seconds"]
    output: dict[str, Json] = {"waitType": config.wait_type, "startTime": planned["start"]}
    if seconds > 0:
        if config.wait_type == "until":
            start = datetime.fromisoformat(planned["start"])
            await ctx.sleep_until(start + timedelta(seconds=seconds), name="sleep")
        else:
            await ctx.sleep(seconds=seconds, name="sleep")
        output["endTime"] = await ctx.step("end", _moment_now, pure=True)
    else:
        output |= {
            "endTime": planned["start"],
            "skipped": True,
            "reason": "The moment has already passed.",
        }
    output["actualWaitDuration"] = round(
        (
            datetime.fromisoformat(output["endTime"]) - datetime.fromisoformat(planned["start"])
        ).total_seconds()
        * 1000
    )
    if config.output_variable:
        output[config.output_variable] = True
    return NodeResult(output=output)


async def _plan(call: NodeCall[WaitConfig]) -> Json:
    """When the wait begins and how long it is, fixed once and for all."""
    begin = datetime.now(UTC)
    return {"start": begin.isoformat(), "seconds": _seconds(call, begin)}


async def _moment_now() -> str:
    return datetime.now(UTC).isoformat()


def _seconds(call: NodeCall[WaitConfig], now: datetime) -> float:
    config = call.config
    if config.wait_type == "until":
        return max(0.0, (_moment(call.render.value(config.timestamp)) - now).total_seconds())
    if config.duration_value is not None:
        source, unit = config.duration_value, config.duration_unit or "seconds"
    else:
        source, unit = config.duration, config.duration_unit or "ms"
    value = call.render.value(source)
    factor = _factor(unit)
    if isinstance(value, str) and _WRITTEN.fullmatch(value.strip()):
        # `24h`, `2 days`: the unit is beside the number.
        parts = [(float(amount), _factor(name)) for amount, name in _PART.findall(value)]
        if all(each is not None for _, each in parts):
            value, factor = sum(amount * (each or 0.0) for amount, each in parts), 1.0
    number = to_number(value)
    if factor is None:
        raise BadConfig(f"There is no unit {unit!r}; use seconds, minutes, hours or days.")
    if not math.isfinite(number) or number < 0 or number * factor > MAX_SECONDS:
        raise BadConfig(
            f"{to_text(source)!r} {unit} is not a duration from 0 to ten years.", field="duration"
        )
    return number * factor


def _factor(unit: str) -> float | None:
    """Seconds in a unit, however it is written."""
    name = unit.strip().lower()
    return _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))


def _moment(value: Json) -> datetime:
    """A point in time from ISO text, or from milliseconds since 1970."""
    number = to_number(value)
    try:
        if math.isfinite(number) and value not in (None, ""):
            # Seconds would be in 1970 if read as milliseconds.
            return datetime.fromtimestamp(number / (1000 if abs(number) > 1e11 else 1), UTC)
        moment = datetime.fromisoformat(str(value).strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadConfig(
            f"{to_text(value)[:100]!r} is not a date and time.", field="timestamp"
        ) from error


async def _wait_for_event(call: NodeCall[WaitConfig]) -> NodeResult:
    """Wait for a token that whatever receives the event completes; its tags say which event."""
    config = call.config
    name = ".".join(part for part in (config.provider, config.event) if part) or "event"
    milliseconds = to_number(config.timeout)
    timeout = milliseconds / 1000 if milliseconds > 0 else None
    token = await call.ctx.create_token(
        "event", timeout=timeout, tags=["event", f"event:{name}"[:128]]
    )
    call.pauses.open_wait(token.id, name)
    answer = await call.ctx.wait_for_token(token)
    call.pauses.close()
    if not answer.ok:
        raise BadConfig(f"No {name} arrived within the node's timeout.")
    return NodeResult(output=call.wrap(answer.output))
