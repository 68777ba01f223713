"""Files in the data directory that only their owner may read: the secret key, the credentials."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def write(path: Path, content: str, *, replace: bool = True) -> None:
    """Put `content` at `path` with mode 600, all of it or nothing.

    Without `replace` an existing file is kept, and FileExistsError says so.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        if replace:
            os.replace(name, path)
        else:
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _fresh_secret() -> str:
    return secrets.token_urlsafe(48)


def load_or_create(
    path: Path,
    *,
    make: Callable[[], str] = _fresh_secret,
    what: str = "secret key",
    variable: str = "FLOWMAESTRO_SECRET_KEY",
) -> str:
    """The secret at `path`; the first caller of all makes it up."""
    try:
        if not path.exists():
            try:
                write(path, make(), replace=False)
            except FileExistsError:
                pass  # another process was first: its key counts
        value = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The {what} cannot be kept in {path} ({error.strerror}). Set {variable}, or "
            "FLOWMAESTRO_DATA_DIR to a writable directory."
        ) from None
    if not value:
        raise ImproperlyConfigured(f"{path} is empty; remove it to get a new {what}.")
    return value
