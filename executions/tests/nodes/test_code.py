"""Tests of the code node."""

from __future__ import annotations

import asyncio

import pytest

from executions import nodes
from executions.nodes import BadConfig, Effect
from executions.orchestrator import orchestrator
from executions.rules.definition import parse
from executions.sandbox.programs import ProgramError, ProgramTimeout, ProgramTooLarge
from executions.tests.conftest import until_status
from executions.tests.flows import flow
from executions.tests.nodes.calls import call, output


def code(text, names=None, **config):
    return output("code", {"code": text, **config}, **(names or {}))


def problems(config):
    with pytest.raises(Exception, match=r".") as caught:
        parse(flow({"n": ("code", config)}), nodes.find)
    return str(caught.value)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("javascript", "result = numbers.reduce((a, b) => a + b) / numbers.length"),
        ("js", "return inputs.numbers.reduce((a, b) => a + b) / inputs.numbers.length"),
        (None, "return variables.numbers.reduce((a, b) => a + b) / 2"),
        ("python", "result = sum(numbers) / len(numbers)"),
        ("Py", "return sum(inputs['numbers']) / 2"),
    ],
)
def test_programs_work_on_what_the_run_knows(language, text):
    found = code(text, {"numbers": [2, 4]}, language=language)
    assert (found["output"], found["stdout"], found["stderr"]) == (3, "", "")
    assert found["metadata"]["exitCode"] == 0 and found["metadata"]["executionTime"] >= 0


def test_the_value_lies_under_output_and_its_own_keys_beside_it():
    found = code("console.log('hi'); return {total: 3, stdout: 'own'}", outputVariable="r")
    metadata = found["r"].pop("metadata")
    assert found == {
        "r": {
            "language": "javascript", "output": {"total": 3, "stdout": "own"}, "total": 3,
            "stdout": "hi\n", "stderr": "",
        }
    }  # fmt: skip
    assert set(metadata) == {"executionTime", "exitCode"}


def test_a_large_value_is_kept_once():
    found = code("return {text: 'x'.repeat(600000)}")
    assert len(found["output"]["text"]) == 600_000 and "text" not in found


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"jsCode": "return 1"}, 1),
        ({"pythonCode": "return 2"}, 2),
        ({"script": "return 3", "language": "python3"}, 3),
        ({"code": "return 4", "timeout": "5000", "memory": None, "inputVariables": ""}, 4),
    ],
)
def test_the_older_dialect_is_understood(config, expected):
    assert output("code", config)["output"] == expected


def test_only_the_named_variables_are_seen_when_some_are_named():
    text = "return [typeof a, typeof b, inputs.a, inputs.b]"
    config = {"inputVariables": ["a"]}
    found = code(text, {"a": 1, "b": 2}, **config)
    assert found["output"] == ["number", "undefined", 1, None]


def test_inputs_reach_outputs_variables_and_rounds_too():
    asked = call("code", {"code": "return [inputs.prior, prior.x, x, variables.who, who, loop]"})
    asked.scope.set_output("prior", {"x": 1})
    asked.scope.set_variable("who", "Ann")
    asked.scope._fixed["loop"] = {"index": 0}
    found = asyncio.run(asked.node.spec.run(asked)).output["output"]
    assert found == [{"x": 1}, 1, 1, "Ann", "Ann", {"index": 0}]


def test_an_input_called_inputs_is_an_input():
    assert code("return inputs", {"inputs": [1]})["output"] == [1]


def test_shell_is_refused_in_words():
    with pytest.raises(BadConfig, match="JavaScript or Python"):
        code("echo hi", language="bash")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"code": "x", "language": "ruby"}, "known are javascript and python"),
        ({"language": "python"}, "code is missing"),
        ({"code": ""}, "code"),
        ({"code": "x", "timeout": 300_001}, "timeout"),
        ({"code": "x", "memory": 513}, "memory"),
    ],
)
def test_a_config_that_cannot_work_says_what_to_change(config, words):
    assert words in problems(config)


def test_failures_name_the_language_the_line_and_the_limit():
    with pytest.raises(ProgramError, match=r"\(javascript\): TypeError: .* \(line 2\)") as caught:
        code("const a = null\na.x")
    assert caught.value.field == "code" and caught.value.non_retryable
    with pytest.raises(ProgramError, match=r"\(python\): ZeroDivisionError: .* \(line 1\)"):
        code("1 / 0", language="python")
    with pytest.raises(ProgramTimeout, match="limit of 200 ms"):
        code("while (true) {}", timeout=200)
    with pytest.raises(ProgramTooLarge, match="1,000,000"):
        code("return 'x'.repeat(1000001)")


def test_secrets_of_the_process_are_not_seen(monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_SECRET_KEY", "hidden")
    assert code("return [typeof process, typeof env]")["output"] == ["undefined", "undefined"]
    with pytest.raises(ProgramError, match="not supported"):
        code("import os\nreturn os.environ['FLOWMAESTRO_SECRET_KEY']", language="python")


def test_what_a_program_gave_is_kept():
    # The clock and chance make a program no pure step.
    assert nodes.find("code").effect is Effect.READS_OUTSIDE


def test_a_workflow_computes_with_programs_and_functions(executor):
    definition = flow(
        {
            "c": ("code", {"code": "return {xs: xs.map(x => x + 1)}", "outputVariable": "r"}),
            "t": ("transform", {"operation": "filter", "inputData": "r.xs",
                                "expression": "x => x > 2", "outputVariable": "big"}),
            "p": ("code", {"pythonCode": "result = sum(big)", "outputVariable": "s"}),
            "o": ("output", {"outputName": "o", "value": "{{s.output}}", "format": "json"}),
        },
        "c>t", "t>p", "p>o",
    )  # fmt: skip
    handle = orchestrator.trigger({"workflowDefinition": definition, "inputs": {"xs": [1, 2, 3]}})
    run = until_status(handle.id, "COMPLETED", "FAILED")
    assert run.output["outputs"] == {"o": 7}, run.output
