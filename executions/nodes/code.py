"""code: run a short program in JavaScript or Python, confined in time, memory and reach."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field, field_validator

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.expressions import without_results
from executions.sandbox import programs
from executions.sandbox.programs import Outcome, Program, ProgramError

Json = Any

_LANGUAGES = {
    "javascript": ("javascript", "js", "node", "nodejs", "node.js", "ecmascript", "es6"),
    "python": ("python", "py", "python3"),
    "shell": ("shell", "sh", "bash"),
}
_NAMES = {synonym: name for name, synonyms in _LANGUAGES.items() for synonym in synonyms}
# Keys that say the program and its language at once.
_CODE_KEYS = {
    "jsCode": "javascript",
    "javascriptCode": "javascript",
    "pythonCode": "python",
    "script": None,
    "source": None,
}
_LIMITS = ("timeout", "memory")


class CodeConfig(NodeConfig):
    """A program, the names it sees, and its limits."""

    language: str = Field("javascript", title="Language", description="javascript or python")
    code: str = Field(
        ...,
        title="Program",
        description="Its value is what it returns, or what it assigns to `result`.",
        min_length=1,
    )
    timeout: int = Field(30_000, title="Time limit", description="Milliseconds", ge=1, le=300_000)
    memory: int = Field(128, title="Memory limit", description="MB", ge=1, le=programs.MAX_MEMORY)
    input_variables: tuple[str, ...] = Field(
        (), title="Names", description="What the program sees; empty means everything."
    )
    allow_network_access: bool = Field(
        False, title="Network", description="Programs have no network; use an http node."
    )

    @field_validator("language")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in _LANGUAGES:
            raise ValueError(f"There is no language {value!r}; known are javascript and python.")
        return value


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    language = config.get("language") or config.get("lang") or config.get("runtime")
    if not config.get("code"):
        for key, implied in _CODE_KEYS.items():
            if config.get(key):
                config["code"] = config[key]
                language = language or implied
                break
    name = str(language or "javascript").strip()
    config["language"] = _NAMES.get(name.lower(), name)
    for key in (*_LIMITS, "allowNetworkAccess", "inputVariables"):
        if config.get(key) in (None, ""):
            config.pop(key, None)
    names = config.get("inputVariables")
    if isinstance(names, str):
        config["inputVariables"] = [part for part in names.replace(",", " ").split() if part]
    return config


@node(
    "code",
    synonyms=("javascript", "python", "script", "function"),
    config=CodeConfig,
    # A program may read the clock or draw a number: what it gave is kept, never worked out again.
    effect=Effect.READS_OUTSIDE,
    icon="code",
    own_timeout=True,
    dialect=_dialect,
)
async def code(call: NodeCall[CodeConfig]) -> NodeResult:
    """Run a short program in JavaScript or Python."""
    config = call.config
    if config.language == "shell":
        raise BadConfig(
            "Shell programs are not run here; write the program in JavaScript or Python.",
            field="language",
        )
    if config.allow_network_access:
        call.render.warnings.append("Programs have no network; use an http node to fetch data.")
    try:
        outcome = await programs.run(_program(call))
    except ProgramError as error:
        raise type(error)(
            f"Code execution error ({config.language}): {error.message}", field="code"
        ) from error
    return NodeResult(output=call.wrap(_output(config, outcome)))


def _program(call: NodeCall[CodeConfig]) -> Program:
    config, scope = call.config, call.scope
    names = scope.flatten()
    # The run's own objects; an input or output of such a name is a name like any other.
    own = {"inputs": scope.inputs, "variables": scope.variables}
    own = {name: value for name, value in own.items() if names.get(name, value) is value}
    for name in own:
        names.pop(name, None)
    if config.input_variables:
        wanted = frozenset(config.input_variables) - frozenset(own)
        names = {name: value for name, value in names.items() if name in wanted}
        own = {
            name: {key: value for key, value in values.items() if key in wanted}
            for name, values in own.items()
        }
    return Program(
        language="python" if config.language == "python" else "javascript",
        code=config.code,
        names=without_results(names, config.code),
        inputs=own.get("inputs"),
        variables=own.get("variables"),
        seconds=config.timeout / 1000,
        megabytes=config.memory,
    )


def _output(config: CodeConfig, outcome: Outcome) -> dict[str, Json]:
    """What the run keeps: the value under `output`, and its own keys beside it where free.

    Definitions ask for `{{name.output.total}}` and for `{{name.total}}`; both have an answer.
    """
    output: dict[str, Json] = {
        "language": config.language,
        "output": outcome.value,
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "metadata": {"executionTime": round(outcome.seconds * 1000), "exitCode": 0},
    }
    # A value that fills half the room for an output is kept once, under `output`.
    if isinstance(outcome.value, dict) and len(json.dumps(outcome.value)) < programs.MAX_VALUE // 2:
        return {**outcome.value, **output}
    return output
