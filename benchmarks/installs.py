"""The peers' own environments under the bench's directory: made on first use, pinned versions."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

RESTATE_SERVER = "@restatedev/restate-server@1.7.12"
INSTALL_SECONDS = 900
HERE = Path(__file__).parent


class PeerAbsent(Exception):
    """A peer that cannot be measured here; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A peer's interpreter, and its server where it has one."""

    python: Path
    server_binary: str = ""


def install(peer: str, work_dir: Path) -> Installation:
    """The peer's environment, made when it is missing or its pins have changed."""
    if peer == "restate":
        binary = _install_restate_server(work_dir / "npm")
        return Installation(python=_install_python(peer, work_dir), server_binary=binary)
    return Installation(python=_install_python(peer, work_dir))


def _install_python(peer: str, work_dir: Path) -> Path:
    requirements = HERE / f"requirements-{peer}.txt"
    environment = work_dir / "venvs" / peer
    python = environment / "bin" / "python"
    pins = hashlib.sha256(requirements.read_bytes()).hexdigest()
    complete = environment / "installed-pins"
    if complete.exists() and complete.read_text() == pins:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    _run([sys.executable, "-m", "venv", environment])
    _run([python, "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", requirements])
    complete.write_text(pins)
    return python


def _install_restate_server(prefix: Path) -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise PeerAbsent("its server comes from npm, and there is no npm here")
    complete = prefix / "installed-pins"
    if not (complete.exists() and complete.read_text() == RESTATE_SERVER):
        shutil.rmtree(prefix, ignore_errors=True)
        prefix.mkdir(parents=True)
        command = [npm, "install", "--prefix", str(prefix), "--no-audit", "--no-fund"]
        # The package's install script only reports the installation.
        _run([*command, "--ignore-scripts", RESTATE_SERVER], {"SCARF_ANALYTICS": "false"})
        complete.write_text(RESTATE_SERVER)
    binaries = prefix.glob("node_modules/@restatedev/restate-server-*/bin/restate-server")
    binary = next(iter(sorted(binaries)), None)
    if binary is None:
        raise PeerAbsent("its npm package has no server for this machine")
    return str(binary)


def _run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    try:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise PeerAbsent(lines[-1] if lines else f"exit status {error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerAbsent(str(error)) from error
