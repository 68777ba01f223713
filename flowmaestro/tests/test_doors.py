"""What may open connections, start programs or turn data into code: a list, and nothing beside it.

The code is read, not run. Whoever needs a new door adds it here, with the reason, and somebody
looks at it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("flowmaestro", "executions", "agents", "knowledge", "triggers")

# Modules that open or take connections, whole or by what is below them.
NETWORK = frozenset(
    "socket ssl socketserver http.client http.server urllib.request urllib3 requests httpx "
    "httpcore httpx2 httpcore2 aiohttp h11 h2 anyio trio ftplib smtplib poplib imaplib nntplib "
    "telnetlib xmlrpc websocket websockets autobahn twisted paramiko asyncssh grpc redis kombu "
    "amqp dns pycurl treq wsgiref psycopg_pool openai channels_redis django.core.mail "
    "multiprocessing".split()
)
# Functions that do so, whatever they belong to.
CONNECTING = frozenset(
    "open_connection open_unix_connection create_connection create_unix_connection start_server "
    "create_server create_unix_server create_datagram_endpoint getaddrinfo urlopen urlretrieve "
    "connect_tcp send_mail".split()
)
# Modules that start programs, or read formats in which code can hide.
POWERFUL = frozenset(
    "subprocess pty pickle cPickle cloudpickle dill jsonpickle joblib marshal shelve code codeop "
    "runpy ctypes cffi jinja2 mako django_q.signing".split()
)
# Functions of `os` that start programs or processes, and of `yaml` that make objects.
OF_MODULES = {
    "os": frozenset(
        "system popen execl execle execlp execlpe execv execve execvp execvpe spawnl spawnle "
        "spawnlp spawnlpe spawnv spawnve spawnvp spawnvpe posix_spawn posix_spawnp fork "
        "forkpty".split()
    ),
    "yaml": frozenset("load load_all full_load full_load_all unsafe_load unsafe_load_all".split()),
    "asyncio": frozenset("create_subprocess_exec create_subprocess_shell".split()),
    # Its other names are errors, rows and cursors of connections that somebody else opened.
    "psycopg": frozenset("connect".split()),
    "Connection": frozenset("connect".split()),
    "AsyncConnection": frozenset("connect".split()),
}
# Plain names only: `re.compile` and `model.eval` are something else.
EXECUTING = frozenset("eval exec compile __import__ breakpoint".split())

ALLOWED: dict[str, dict[str, str]] = {
    # ---- connections ----
    "executions/outbound/__init__.py": {"httpx": "the one client", "httpcore": "its errors"},
    "executions/outbound/transport.py": {
        "httpx": "the one client", "httpcore": "the one client", "ssl": "its certificates",
        "connect_tcp": "to an address that was checked",
    },
    "executions/outbound/addresses.py": {
        "socket": "constants and the error of a lookup",
        "getaddrinfo": "the one lookup, each answer of which is checked",
    },
    "executions/connectors/postgresql.py": {
        "AsyncConnection.connect": "to people's databases, at addresses that were checked",
    },
    "executions/engine/connections.py": {"AsyncConnection.connect": "to our own database"},
    "executions/engine/broker.py": {
        "psycopg.connect": "to our own database",
        "django_q.signing": "the pool's messages, which never leave it, in the form it reads",
    },
    "flowmaestro/embedded.py": {
        "psycopg.connect": "to the embedded database",
        "subprocess": "the embedded database's own programs",
    },
    "flowmaestro/management/commands/up.py": {
        "socket": "whether our own port is free", "create_connection": "whether it answers",
    },
    # ---- processes of our own ----
    "flowmaestro/supervisor.py": {"subprocess": "our own web server and pool"},
    "executions/engine/cluster.py": {"multiprocessing": "the pool's processes"},
    "executions/engine/channel.py": {
        "multiprocessing": "between the pool's processes", "socket": "a pair between them",
    },
    "executions/engine/processes.py": {
        "ctypes": "prctl: a child ends with its parent", "socket": "this host's name",
    },
    # ---- the sandbox of programs: none of these processes has a network ----
    "executions/sandbox/helper.py": {
        "subprocess": "the sandbox's first process", "socket": "a pair with it",
    },
    "executions/sandbox/nursery.py": {
        "socket": "pairs with the worker", "os.fork": "a fresh process for each program",
    },
    "executions/sandbox/confined.py": {
        "ctypes": "system calls that take a process's rights away", "socket": "its own pair",
    },
    "executions/sandbox/wire.py": {"socket": "what is said on such a pair"},
    # ---- formats ----
    "executions/connectors/openapi/document.py": {"yaml.load": "by a loader of plain data"},
}  # fmt: skip


def sources() -> Iterator[Path]:
    """Our own modules; tests may do what they like."""
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "tests" not in path.relative_to(ROOT).parts:
                yield path
    yield ROOT / "manage.py"


def doors(tree: ast.AST) -> set[str]:
    """What a module opens, by the names above; of a module's function also the module's name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found |= _modules(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                found |= _modules(f"{node.module}.{alias.name}")
                if alias.name in OF_MODULES.get(node.module, ()):
                    found.add(f"{node.module}.{alias.name}")
                if alias.name in CONNECTING:
                    found.add(alias.name)
        elif isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if node.attr in OF_MODULES.get(name, ()):
                found.add(f"{name}.{node.attr}")
            if node.attr in CONNECTING:
                found.add(node.attr)
        elif isinstance(node, ast.Name) and node.id in EXECUTING:
            found.add(node.id)
        elif isinstance(node, ast.Call):
            found |= _imported_by_name(node)
    return found


def _modules(name: str) -> set[str]:
    """The listed modules that a name is, or is in."""
    parts = name.split(".")
    prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return prefixes & (NETWORK | POWERFUL)


def _imported_by_name(call: ast.Call) -> set[str]:
    """`import_module("socket")`, with a text in the code."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    first = call.args[0] if call.args else None
    if name not in ("import_module", "import_string", "__import__"):
        return set()
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        return _modules(first.value)
    return set()


def test_nothing_beside_the_listed_modules_opens_a_connection_or_runs_data():
    found = {
        str(path.relative_to(ROOT)): doors(ast.parse(path.read_text(encoding="utf-8")))
        for path in sources()
    }
    assert len(found) > 150
    unknown = {
        path: sorted(names - ALLOWED.get(path, {}).keys())
        for path, names in found.items()
        if names - ALLOWED.get(path, {}).keys()
    }
    assert unknown == {}
    stale = {
        path: sorted(allowed.keys() - found.get(path, set()))
        for path, allowed in ALLOWED.items()
        if allowed.keys() - found.get(path, set())
    }
    assert stale == {}, "the list names doors that are gone"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import httpx", "httpx"),
        ("import urllib.request as u", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("from http.client import HTTPConnection", "http.client"),
        ("def f():\n    import socket", "socket"),
        ("import importlib\nimportlib.import_module('requests')", "requests"),
        ("import asyncio\nasyncio.open_connection('a', 1)", "open_connection"),
        ("from asyncio import open_connection as o", "open_connection"),
        ("async def f(loop):\n    await loop.create_connection(None)", "create_connection"),
        ("import psycopg\npsycopg.AsyncConnection.connect('')", "AsyncConnection.connect"),
        ("from psycopg import connect", "psycopg.connect"),
        ("from django.core import mail", "django.core.mail"),
        ("eval('1')", "eval"),
        ("f = exec", "exec"),
        ("compile('1', '', 'eval')", "compile"),
        ("__import__('os')", "__import__"),
        ("import pickle", "pickle"),
        ("from yaml import load", "yaml.load"),
        ("import yaml\nyaml.unsafe_load('')", "yaml.unsafe_load"),
        ("import os\nos.system('ls')", "os.system"),
        ("from os import popen", "os.popen"),
        ("import subprocess", "subprocess"),
        ("import jinja2.sandbox", "jinja2"),
    ],
)
def test_each_kind_of_door_is_seen(code, name):
    assert name in doors(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import re\nre.compile('a')", "from urllib.parse import urlsplit", "runs.fork(1)",
        "examples.load_all()", "yaml.safe_load('')", "signal.connect(f)", "model.eval()",
        "from psycopg import errors", "import http",
    ],
)  # fmt: skip
def test_what_only_sounds_like_one_is_not(code):
    assert doors(ast.parse(code)) == set()
