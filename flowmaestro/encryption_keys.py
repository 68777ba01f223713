"""The master keys that seal stored connections: from the environment, or one made up once."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from flowmaestro import env, secret_files

VARIABLE = "FLOWMAESTRO_ENCRYPTION_KEYS"
KEY_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Keys = tuple[tuple[str, bytes], ...]


def load(data_dir: Path) -> Keys:
    """The keys by their ids, the current one first.

    The key that an installation once made up itself goes on opening what it sealed after the
    variable is set, until `rotate_connection_keys` has left nothing of it.
    """
    path = data_dir / "encryption_key"
    given = env.secret(VARIABLE)
    if not given:
        made = secret_files.load_or_create(
            path, make=_fresh_key, what="encryption key", variable=VARIABLE
        )
        return parse(made, str(path))
    keys = parse(given, VARIABLE)
    known = {name for name, _ in keys}
    if path.is_file():
        own = parse(path.read_text(encoding="utf-8"), str(path))
        keys += tuple(pair for pair in own if pair[0] not in known)
    return keys


def parse(text: str, source: str) -> Keys:
    """The keys of `id:base64` pairs with commas between. Raises ImproperlyConfigured.

    What is wrong is said without repeating any of the text, since it holds keys.
    """
    keys: dict[str, bytes] = {}
    for number, part in enumerate(text.split(","), 1):
        name, separator, encoded = part.strip().partition(":")
        if not separator or not _ID.fullmatch(name):
            raise _bad(source, number, "is not an id of letters and digits, a colon and a key")
        try:
            key = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise _bad(source, number, "is not base64 after its colon") from None
        if len(key) != KEY_BYTES:
            raise _bad(source, number, f"has {len(key)} bytes instead of {KEY_BYTES}")
        if name in keys:
            raise _bad(source, number, "has the id of an earlier one")
        keys[name] = key
    return tuple(keys.items())


def _bad(source: str, number: int, what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"{source}: key number {number} {what}. It takes id:base64-of-{KEY_BYTES}-bytes, with "
        f"commas between several, the current one first."
    )


def _fresh_key() -> str:
    key = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    return f"local-{secrets.token_hex(4)}:{key}"
