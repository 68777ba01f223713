"""JavaScript programs: their values, their errors, and what they cannot do."""

from __future__ import annotations

import pytest

from executions.sandbox.programs import (
    ProgramError,
    ProgramMemory,
    ProgramTimeout,
    ProgramTooLarge,
)
from executions.tests.sandbox.running import javascript, outcome


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return 1 + 1", 2),
        ("result = [1, 2]", [1, 2]),
        ("const result = {a: 1}", {"a": 1}),
        ("let result; if (true) result = 'x' // done", "x"),
        ("1 + 1", None),
        ("return", None),
        ("return undefined", None),
        ("return {u: undefined, f() {}, s: Symbol('x'), n: null}", {"n": None}),
        ("return [undefined, () => 1, NaN, Infinity]", [None, None, None, None]),
        ("return [10n, 2n ** 64n]", [10, "18446744073709551616"]),
        ("return new Date(0)", "1970-01-01T00:00:00.000Z"),
        ("return new Date(NaN)", None),
        ("return new Map([['a', new Set([1])], [2, 3]])", {"a": [1], "2": 3}),
        ("return [new Uint8Array([1, 2]), /a+/g]", [[1, 2], "/a+/g"]),
        ("return new RangeError('far')", {"name": "RangeError", "message": "far"}),
        ("return await Promise.all([1, Promise.resolve(2)])", [1, 2]),
        ("await new Promise(go => setTimeout(go, 20)); return 'waited'", "waited"),
        ("const f = async x => x * 2; return f(4)", 8),
        ("return JSON.parse('{\"__proto__\": 1}')", {"__proto__": 1}),
        ("return '\\u0000\\ud800'", "\0\ud800"),
    ],
)
def test_values_become_json(code, value):
    assert javascript(code) == value


def test_names_are_globals_and_inputs_holds_them_all():
    names = {"a": 1, "order": {"total": 5}, "toString": "mine", "odd name": 2}
    code = (
        "order.total += a; "
        "return [order.total, inputs.a, inputs.order.total, variables.v, inputs.toString,"
        " globalThis['odd name'], typeof Object.prototype.toString]"
    )
    value = javascript(code, names=names, inputs={"a": 10}, variables={"v": 3})
    assert value == [6, 10, 6, 3, "mine", 2, "function"]


def test_what_is_written_goes_to_two_streams():
    found = outcome("javascript", "console.log('n is %d', 3, {a: [1]}); console.error(new Map())")
    assert (found.stdout, found.stderr) == ('n is 3 {"a":[1]}\n', "{}\n")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("\n\nnowhere()", "ReferenceError: nowhere is not defined (line 3)"),
        ("const a = 1;\nlet x = ;", "SyntaxError: Unexpected token ';' (line 2)"),
        ("throw 'plain'", "plain"),
        ("throw Object.create(null)", "{}"),
        ("return () => 1", "TypeError: The result is a function; return data."),
        ("return [Promise.resolve(1)]", "TypeError: The result holds a promise; await it"),
        ("const o = {}; o.o = o; return o", "circular structure"),
        ("return {get x() { throw new Error('no') }}", "Error: no (line 1)"),
        ("await Promise.reject(new Error('later'))", "Error: later (line 1)"),
    ],
)
def test_errors_carry_the_line_and_message_of_the_program(code, message):
    with pytest.raises(ProgramError) as caught:
        javascript(code)
    assert message in caught.value.message
    assert "/" not in caught.value.message


@pytest.mark.parametrize(
    "code",
    [
        "while (true) {}",
        "return /(a+)+$/.test('a'.repeat(40) + 'b')",
        "await new Promise(() => {})",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(8)), 0, 0)",
        "return {toJSON() { for (;;); }}",
        "for (;;) console.log('x'.repeat(1000))",
        "const go = () => Promise.resolve().then(go); await go()",
    ],
)
def test_a_program_without_end_is_stopped(code):
    with pytest.raises(ProgramTimeout, match="limit of 300 ms"):
        javascript(code, seconds=0.3)


@pytest.mark.parametrize(
    "code",
    [
        "const a = []; for (;;) a.push({n: a.length, s: 'x' + a.length})",
        "const a = []; for (;;) a.push(new Uint8Array(1e6).fill(1))",
        "const a = []; for (;;) a.push('x'.repeat(1e6) + a.length); ",
        "let s = 'x'; for (;;) s += s + 1",
        "const m = new Map(); for (let i = 0; ; i++) m.set(i, new Array(1000).fill(i))",
        "return new Array(1e9).fill(7).length",
        "return JSON.stringify('x'.repeat(4e8)).length",
        "const a = []; for (;;) a.push(new SharedArrayBuffer(1e7))",
        "new WebAssembly.Memory({initial: 1}).grow(60000)",
    ],
)
def test_a_program_that_takes_memory_is_stopped(code):
    # Either V8 refuses the one allocation, which a program may catch, or the program ends.
    with pytest.raises(ProgramError) as caught:
        javascript(code, megabytes=32, seconds=2.0)
    reasons = ("RangeError", "memory", "limit")
    assert any(reason in caught.value.message for reason in reasons)


def test_the_memory_limit_is_the_programs_own():
    code = "const a = []; for (let i = 0; i < 60; i++) a.push('x'.repeat(1e6) + i, new Array(1e5).fill(i)); return a.length"  # noqa: E501
    assert javascript(code, megabytes=256) == 120
    with pytest.raises(ProgramMemory, match="16 MB"):
        javascript("const a = []; for (;;) a.push([a.length])", megabytes=16)


def test_deep_recursion_is_an_error():
    with pytest.raises(ProgramError, match="Maximum call stack"):
        javascript("const f = () => f(); f()")
    with pytest.raises(ProgramError, match=r"Maximum call stack|nested too deeply"):
        javascript("let o = []; for (let i = 0; i < 1e5; i++) o = [o]; return o")
    with pytest.raises(ProgramError, match="nested too deeply"):
        javascript("let o = []; for (let i = 0; i < 2000; i++) o = [o]; return o")


def test_too_much_output_is_cut_and_too_large_a_value_refused():
    found = outcome("javascript", "for (let i = 0; i < 1e5; i++) console.log('line', i)")
    assert len(found.stdout) < 102_500 and found.stdout.endswith("[cut at 100 KB]")
    for size in ("1e6", "2e7"):
        with pytest.raises(ProgramTooLarge, match="over the limit"):
            javascript(f"return 'x'.repeat({size})")


@pytest.mark.parametrize(
    "name",
    "process require module fetch XMLHttpRequest Deno Bun importScripts load read print".split(),
)
def test_there_is_nothing_of_the_host(name):
    assert javascript(f"return typeof {name}") == "undefined"


@pytest.mark.parametrize(
    "code",
    [
        "return this.constructor.constructor('return process')()",
        "return (async () => {}).constructor('return process.env')()",
        "return console.log.constructor('return require(\"fs\")')()",
        "return import('fs')",
        "try { null.x } catch (e) { return e.constructor.constructor('return process')() }",
        "Error.prepareStackTrace = (e, frames) => frames[0].getThis().process.env;"
        " return new Error().stack",
    ],
)
def test_constructors_lead_nowhere(code):
    with pytest.raises(ProgramError):
        javascript(code)


def test_changes_of_the_language_end_with_the_program():
    poison = (
        "Object.prototype.x = 1; Array.prototype.map = null; JSON.stringify = () => 'forged';"
        "Promise.prototype.then = () => { throw 1 }; globalThis.left = 1; return [2]"
    )
    assert javascript(poison) == [2]
    assert javascript("return [({}).x === undefined, typeof left, [1].map(x => x)]") == [
        True, "undefined", [1],
    ]  # fmt: skip


def test_code_that_closes_its_wrapper_stays_inside():
    assert javascript("})(); globalThis.seen = 1; (async function () { return [seen]") == [1]
    with pytest.raises(ProgramError):
        javascript("}")
