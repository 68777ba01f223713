"""humanReview: ask a person, wait for the answer however long it takes, and check it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from executions import patterns
from executions.errors import Invalid
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.rules.comparisons import to_number, to_text
from executions.sandbox import programs
from executions.sandbox.programs import Program, ProgramError

Json = Any

MAX_ANSWER = 1_000_000
_MAX_PATTERN_INPUT = 10_000
_SCHEMA_SECONDS = 2.0
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class HumanReviewConfig(NodeConfig):
    """The question, the name of its answer, and what the answer must look like."""

    prompt: str = Field("", title="Question")
    description: str | None = Field(None, title="Description")
    variable_name: str = Field("userResponse", title="Variable")
    input_type: str = Field("text", title="Kind", description="text, number, boolean or json")
    placeholder: str | None = Field(None, title="Placeholder")
    required: bool = Field(True, title="Required")
    default_value: Json = Field(None, title="Default")
    validation: dict[str, Json] | None = Field(None, title="Validation")
    timeout: Json = Field(None, title="Timeout", description="Milliseconds, or text such as 24h")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    config["prompt"] = to_text(
        config.get("prompt") or config.get("reviewPrompt") or config.get("message") or ""
    )
    config["variableName"] = (
        config.get("variableName") or config.get("outputVariable") or "userResponse"
    )
    for key in ("inputType", "required", "validation"):
        if config.get(key) is None:
            config.pop(key, None)
    return config


def _effects(config: HumanReviewConfig | None, output: Json) -> dict[str, dict[str, Json]]:
    """The answer in a pinned output, under the names that the review sets."""
    if config is None:
        return {}
    names = [name for name in (config.variable_name, config.output_variable) if name]
    if not isinstance(output, dict):
        return {"variables": dict.fromkeys(names, output)}
    found = [output[name] for name in names if name in output]
    return {"variables": dict.fromkeys(names, found[0])} if found else {}


class _Refused(Invalid):
    """An answer that does not fit its question."""

    code = "answer_refused"
    non_retryable = True

    def __init__(self, message: str) -> None:
        super().__init__(message, field="response")


@node(
    "humanReview",
    synonyms=("human-review", "human_review", "userInput"),
    title="Human review",
    config=HumanReviewConfig,
    effect=Effect.WAITS,
    icon="user-check",
    own_timeout=True,
    dialect=_dialect,
    effects=_effects,
)
async def human_review(call: NodeCall[HumanReviewConfig]) -> NodeResult:
    """Ask a person a question and go on with the answer."""
    config, ctx = call.config, call.ctx
    name = config.variable_name
    if _is_given(call, name):
        return _answered(call, call.scope.get(name), asked=False)
    if not config.required and config.default_value is not None:
        return _answered(call, call.render.value(config.default_value), asked=False)

    form = await ctx.step("form", _form, call, pure=True)
    timeout = _timeout(config.timeout)
    attempt = 0
    while True:
        attempt += 1
        label = "answer" if attempt == 1 else f"answer-{attempt}"
        token = await ctx.create_token(label, timeout=timeout, tags=["review"])
        call.pauses.open({**form, "tokenId": token.id})
        answer = await ctx.wait_for_token(token)
        call.pauses.close()
        if not answer.ok:
            if config.default_value is not None:
                return _answered(call, call.render.value(config.default_value), asked=True)
            raise BadConfig(f"Nobody answered {config.prompt[:100]!r} in time.", code="timeout")
        try:
            given = unpacked(answer.output, config.input_type)
            value = await _checked(ctx, f"{label}-check", form, given)
        except Invalid as error:
            # Only a token completed past the door brings such an answer; the question stays open.
            call.pauses.refuse(error.message)
            continue
        return _answered(call, value, asked=True)


def _is_given(call: NodeCall[HumanReviewConfig], name: str) -> bool:
    """Whether an input or a variable answers already; another question's answer does not."""
    if name in call.scope.variables:
        return name not in call.scope.answers
    return name in call.scope.inputs


def _answered(call: NodeCall[HumanReviewConfig], value: Json, *, asked: bool) -> NodeResult:
    name = call.config.variable_name
    output = {name: value}
    if call.config.output_variable:
        output[call.config.output_variable] = value
    return NodeResult(
        output={**output, "_humanReviewMetadata": {"variableName": name, "asked": asked}},
        variables=output,
    )


async def _form(call: NodeCall[HumanReviewConfig]) -> Json:
    config, render = call.config, call.render
    return {
        "nodeId": call.node.id,
        "nodeName": call.node.name,
        "prompt": render.text(config.prompt),
        "description": None if config.description is None else render.text(config.description),
        "variableName": config.variable_name,
        "inputType": config.input_type,
        "placeholder": config.placeholder,
        "validation": config.validation,
        "required": config.required,
    }


def _timeout(value: Json) -> float | str | None:
    if value in (None, "", 0):
        return None
    number = to_number(value)
    return str(value) if math.isnan(number) else number / 1000


async def _checked(ctx: Any, name: str, form: Mapping[str, Json], given: Json) -> Json:
    """The answer as the run gets it; schemas and patterns may take a while, off the loop."""
    validation = form.get("validation")
    rules = validation if isinstance(validation, Mapping) else {}
    if not rules.get("jsonSchema") and not rules.get("pattern"):
        return check_answer(form, given)
    found = await ctx.step(name, _verdict, form, given, pure=True)
    if "refused" in found:
        raise _Refused(found["refused"])
    return found["value"]


def _verdict(form: Mapping[str, Json], given: Json) -> Json:
    try:
        return {"value": check_answer(form, given)}
    except Invalid as error:
        return {"refused": error.message}


def unpacked(output: Json, input_type: str) -> Json:
    """The response inside the envelope some clients send."""
    if isinstance(output, dict) and "response" in output:
        extra = set(output) - {"response", "variableName", "submittedAt"}
        if not extra and ("variableName" in output or input_type != "json"):
            return output["response"]
    # `wait.completeToken(token, {message})`, or a callback without a body that can be read. Where
    # JSON is asked for, either is the answer itself.
    if isinstance(output, dict) and set(output) <= {"message"} and input_type != "json":
        return output.get("message")
    return output


def check_answer(config: HumanReviewConfig | Mapping[str, Json], response: Json) -> Json:
    """The answer as the value the run gets. Raises Invalid with what is wrong with it.

    `config` is a review's config or the form that its run shows.
    """
    if isinstance(config, HumanReviewConfig):
        rules = config.model_dump(by_alias=True)
    else:
        rules = dict(config)
    required = rules.get("required", True)
    if response is None or (isinstance(response, str) and not response.strip()):
        if required:
            raise _Refused("An answer is required.")
        return response
    if len(to_text(response)) > MAX_ANSWER:
        raise _Refused(f"The answer is over {MAX_ANSWER:,} characters.")
    value = _converted(response, str(rules.get("inputType") or "text"))
    validation = rules.get("validation")
    if isinstance(validation, Mapping):
        _check_range(value, validation)
        _check_text(value, validation)
        _check_schema(value, validation.get("jsonSchema"))
    return value


def _converted(response: Json, kind: str) -> Json:
    if kind == "number":
        number = math.nan if isinstance(response, bool | list | dict) else to_number(response)
        if not math.isfinite(number):
            raise _Refused(f"{to_text(response)[:100]!r} is not a number.")
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if kind == "boolean":
        if isinstance(response, bool):
            return response
        word = to_text(response).strip().lower()
        if word not in _BOOLEANS:
            raise _Refused(f"{word[:100]!r} is neither true nor false.")
        return _BOOLEANS[word]
    if kind == "json":
        if not isinstance(response, str):
            return response
        try:
            return json.loads(response)
        except (ValueError, RecursionError) as error:
            raise _Refused(f"The answer is not JSON: {error}.") from error
    return to_text(response)


def _check_range(value: Json, validation: Mapping[str, Json]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = validation.get("min"), validation.get("max")
    if low is not None and value < to_number(low):
        raise _Refused(f"{to_text(value)} is below the least allowed, {to_text(low)}.")
    if high is not None and value > to_number(high):
        raise _Refused(f"{to_text(value)} is above the most allowed, {to_text(high)}.")


def _check_text(value: Json, validation: Mapping[str, Json]) -> None:
    if not isinstance(value, str):
        return
    least, most = validation.get("minLength"), validation.get("maxLength")
    if least is not None and len(value) < to_number(least):
        raise _Refused(f"The answer has {len(value)} characters; at least {least} are needed.")
    if most is not None and len(value) > to_number(most):
        raise _Refused(f"The answer has {len(value)} characters; at most {most} are allowed.")
    pattern = validation.get("pattern")
    if not isinstance(pattern, str) or not pattern:
        return
    if len(value) > _MAX_PATTERN_INPUT:
        raise _Refused(f"The answer is over {_MAX_PATTERN_INPUT:,} characters.")
    try:
        matches = patterns.found_in(pattern, value)
    except patterns.BadPattern as error:
        raise _Refused(f"The review's pattern cannot be applied. {error.message}") from error
    if not matches:
        raise _Refused(f"The answer does not have the form {pattern}.")


def _check_schema(value: Json, schema: Json) -> None:
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise _Refused(f"The review's JSON Schema is not JSON: {error}.") from error
    if not isinstance(schema, dict | bool):
        return
    # Its patterns and references may take for ever, so that a process checks that can be stopped.
    program = Program(
        language="schema",
        code="",
        names={"schema": schema, "value": value},
        seconds=_SCHEMA_SECONDS,
    )
    try:
        problem = programs.run_blocking(program).value
    except ProgramError as error:
        raise _Refused(f"The review's JSON Schema cannot be applied: {error.message}") from error
    if problem is not None:
        raise _Refused(problem)
