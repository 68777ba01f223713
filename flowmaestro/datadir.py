"""The data directory of one installation: who uses it now, and its first user's credentials."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from django.contrib.auth import get_user_model

from flowmaestro import secret_files
from flowmaestro.models import ApiKey

ADMIN = "admin"


class InUse(Exception):
    """Another process uses a part of this data directory."""


class PartLocks:
    """Locks on parts of the data directory (`database`, `web`, `worker`), held while this lives.

    They are the kernel's: however their holder dies, they are free again.
    """

    def __init__(self, data_dir: Path, parts: Iterable[str]) -> None:
        self._files: list[TextIO] = []
        directory = data_dir / "run"
        directory.mkdir(parents=True, exist_ok=True)
        for part in parts:
            self._lock(directory / f"{part}.lock", part, data_dir)

    def _lock(self, path: Path, part: str, data_dir: Path) -> None:
        file = path.open("a+", encoding="utf-8")
        self._files.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            self.release()
            raise InUse(
                f"FlowMaestro runs already on the data directory {data_dir} "
                f"(its {part}, process {pid}). Stop it, or set FLOWMAESTRO_DATA_DIR."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()

    def release(self) -> None:
        """Let others in."""
        for file in self._files:
            file.close()
        self._files = []


def credentials_file(data_dir: Path) -> Path:
    """Where address, login and key lie, readable by their owner only."""
    return data_dir / "credentials.json"


def first_run(data_dir: Path, url: str) -> dict[str, str] | None:
    """Make sure of an administrator and an API key, and return what is known of them.

    On the first run of all they are made. Later the file is kept, with today's address; what it
    names is made anew in a database that does not know it. None when the database has an
    administrator already and this host was never told the password.
    """
    path = credentials_file(data_dir)
    known = _read(path)
    users = get_user_model()._default_manager
    if not known and users.filter(is_superuser=True).exists():
        return None
    name = known.get("admin_username", ADMIN)
    password = known.get("admin_password") or secrets.token_urlsafe(15)
    user = users.filter(username=name).first()
    if user is None:
        user = users.create_superuser(name, email="", password=password)
    key = known.get("api_key", "")
    if not key or not ApiKey.objects.filter(key_hash=ApiKey.hash_of(key)).exists():
        _, key = ApiKey.issue(user, name="first run", scopes=["*"], all_workspaces=True)
    found = {"url": url, "admin_username": name, "admin_password": password, "api_key": key}
    if found != known:
        secret_files.write(path, json.dumps(found, indent=2) + "\n")
    return found


def _read(path: Path) -> dict[str, str]:
    """The credentials of an earlier run; empty when there are none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if found else {}
