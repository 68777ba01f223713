"""Running the real SDK of Trigger.dev under Node: scripts that talk to a server and print JSON.

    require_sdk()
    with running_site(database_url) as site:    # see `sites.py`
        found = run_node(path, url=site.url, key=caller.key, INPUT={"a": 1})

A script is read from standard input, and its place is `sdk/` whatever folder it lies in: it imports
`@trigger.dev/sdk`, and `./client.mjs` for what scripts share. What it prints last is its answer.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SDK = Path(__file__).with_name("sdk")
SCRIPTS = SDK
_OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


def require_sdk() -> None:
    """Installs the SDK as the lock file says, unless it is there.

    Skips the test where there is no Node or no network.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("The SDK's tests need Node 20 with npm.")
    # Several test processes install it once.
    with (SDK / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_installed():
            return
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=SDK,
            capture_output=True,
            text=True,
        )
        if done.returncode and any(code in done.stderr for code in _OFFLINE):
            pytest.skip("The SDK's tests need a network to install it; npm could reach nobody.")
        assert done.returncode == 0, done.stderr
        (SDK / "node_modules" / ".installed").write_text(_wanted())


def _wanted() -> str:
    return (SDK / "package-lock.json").read_text()


def _is_installed() -> bool:
    marker = SDK / "node_modules" / ".installed"
    return marker.exists() and marker.read_text() == _wanted()


def run_node(script: Path, *, url: str, key: str, seconds: float = 60, **given: Any) -> Any:
    """What a script answers that has the server's address, a key, and what it is `given` as JSON.

    Fails with what it said when it ends badly.
    """
    environment = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")
    } | {
        "TRIGGER_API_URL": url,
        "TRIGGER_SECRET_KEY": key,
        **{name: json.dumps(value) for name, value in given.items()},
    }
    done = subprocess.run(
        ["node", "--input-type=module", "-"],
        input=script.read_text(),
        cwd=SDK,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, f"{script.name}:\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.strip().splitlines()[-1])
