"""Python programs: their values, their errors, and what they cannot do."""

from __future__ import annotations

import pytest

from executions.sandbox.programs import ProgramError, ProgramMemory, ProgramTimeout
from executions.tests.sandbox.running import outcome, python


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return 1 + 1", 2),
        ("result = sum(range(4))  # done", 6),
        ("for i in range(3):\n    if i == 1:\n        return i", 1),
        ("1 + 1", None),
        ("return", None),
        ("return (1, {2: 'x', None: {3}})", [1, {"2": "x", "null": [3]}]),
        ("return [float('nan'), float('inf'), 1.5]", [None, None, 1.5]),
        ("import datetime\nreturn datetime.date(2024, 2, 29)", "2024-02-29"),
        ("return b'ab'", "YWI="),
        ("return 2 ** 70", 2**70),
        ("import json, re, math\nreturn json.loads('[1]') + [math.floor(2.5)]", [1, 2]),
        ("class A:\n    def __init__(self):\n        self.n = 1\nreturn A()", {"n": 1}),
        ("async def f():\n    return 3\nreturn await f()", 3),
    ],
)
def test_values_become_json(code, value):
    assert python(code) == value


def test_names_are_globals_and_inputs_holds_them_all():
    code = "a = a + 1\nreturn [a, inputs['a'], inputs['b'], variables['v']]"
    assert python(code, names={"a": 1, "b": 2}, inputs={"a": 5}, variables={"v": 3}) == [2, 5, 2, 3]


def test_what_is_printed_goes_to_two_streams():
    found = outcome("python", "import sys\nprint('a', 1)\nprint('e', file=sys.stderr)")
    assert (found.stdout, found.stderr) == ("a 1\n", "e\n")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\ny = nowhere", "NameError: name 'nowhere' is not defined (line 2)"),
        ("if x", "SyntaxError"),
        ("raise ValueError('no')", "ValueError: no (line 1)"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
        ("return 10 ** 5000", "4300 digits"),
    ],
)
def test_errors_carry_the_line_and_message_of_the_program(code, message):
    with pytest.raises(ProgramError) as caught:
        python(code)
    assert message in caught.value.message
    assert "/" not in caught.value.message


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import time\ntime.sleep(30)",
        "while True: print('x' * 1000)",
        "import re\nre.match('(a|aa)+$', 'a' * 60 + 'b')\nwhile True: pass",
    ],
)
def test_a_program_without_end_is_stopped(code):
    with pytest.raises(ProgramTimeout, match="limit of 300 ms"):
        python(code, seconds=0.3)


@pytest.mark.parametrize(
    "code",
    [
        "x = 'a' * 10**9",
        "x = [0] * 10**10",
        "x = []\nwhile True: x.append('y' * 1000)",
        "x = 2 ** 10**9",
        "x = 'ab'\nwhile True: x += x",
        "d = {}\ni = 0\nwhile True:\n    d[i] = [i] * 10\n    i += 1",
    ],
)
def test_a_program_that_takes_memory_is_stopped(code):
    with pytest.raises(ProgramMemory, match="32 MB"):
        python(code, megabytes=32)


@pytest.mark.parametrize(
    "code",
    [
        "import os\nreturn os.environ",
        "import os\nreturn os.getenv('PATH')",
        "import os\nos.system('id')",
        "import socket",
        "import subprocess",
        "import ctypes",
        "return open('/etc/passwd').read()",
        "open('x', 'w')",
        "from pathlib import Path\nreturn Path('/etc/passwd').read_text()",
        "return __import__('os')",
        "return ().__class__.__bases__[0].__subclasses__()",
        "return print.__globals__",
        "return (lambda: 0).__code__",
        "return '{0.__class__.__mro__}'.format(1)",
        "import sys\nreturn sys.modules",
        "return globals()['__builtins__']",
        "return getattr(1, '__' + 'class__').__mro__[1].__subclasses__()",
        "exec('import socket')",
    ],
)
def test_nothing_of_the_host_is_reached(code):
    with pytest.raises(ProgramError) as caught:
        python(code)
    assert "root:" not in caught.value.message


def test_too_much_output_is_cut():
    found = outcome("python", "for i in range(100000):\n    print('line', i)")
    assert len(found.stdout) < 102_500 and found.stdout.endswith("[cut at 100 KB]")


def test_nothing_is_left_for_the_next_program():
    assert python("left = 1\nreturn left") == 1
    with pytest.raises(ProgramError, match="left"):
        python("return left")
