"""The secrets in the callback addresses of wait tokens: made from the token's id, stored nowhere.

A secret is HMAC-SHA256 of the token's id, under a key that HKDF derives from a master key of the
installation for this purpose alone. So a replay and a repeated request get the same address again,
and the database, which holds only the secret's SHA-256, gives none away. Each token remembers by id
which master key its secret came from. When that key is taken out of the settings, addresses that
are known go on working; they cannot be made again.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from executions.connections import envelope
from executions.connections.envelope import KeyMissing

_PURPOSE: Final = b"flowmaestro wait token callback"
# What an address ends with where the secret is not for showing.
HIDDEN: Final = "shown-only-when-created"


@dataclass(frozen=True, slots=True)
class Made:
    """The key that a new token's secret comes from, and what is stored of the secret."""

    key: str
    digest: bytes = field(repr=False)


def make(token_id: str) -> Made:
    """The secret of a new token, as it is stored."""
    key = envelope.current_key()
    return Made(key, digest_of(_spelt(token_id, envelope.master_keys()[key])))


def digest_of(secret: str) -> bytes:
    """The stored form of a secret. It has 256 bits that nobody can guess: a plain hash will do."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def is_right(secret: str, digest: bytes | memoryview | None) -> bool:
    """Whether this is the secret of a digest; as much work for none as for a wrong one."""
    known = b"" if digest is None else bytes(digest)
    given = digest_of(secret)
    return hmac.compare_digest(given, known or bytes(len(given))) and bool(known)


def address(token_id: str, key: str) -> str:
    """The address that completes the token. For its creator only. Raises KeyMissing."""
    return _address(token_id, _secret(token_id, key))


def hidden_address(token_id: str) -> str:
    """The address without its secret, for everybody else."""
    return _address(token_id, HIDDEN)


def _address(token_id: str, last: str) -> str:
    return f"{settings.PUBLIC_URL}/api/v1/waitpoints/tokens/{token_id}/callback/{last}"


def _secret(token_id: str, key: str) -> str:
    master = envelope.master_keys().get(key)
    if master is None:
        raise KeyMissing(
            f"The address of wait token {token_id} was made with the key {key!r}, which is not in "
            "FLOWMAESTRO_ENCRYPTION_KEYS any more; add it there, after the current one."
        )
    return _spelt(token_id, master)


def _spelt(token_id: str, master: bytes) -> str:
    made = hmac.digest(_derived(master), token_id.encode(), "sha256")
    return base64.urlsafe_b64encode(made)[:-1].decode()


@functools.lru_cache(maxsize=8)
def _derived(master: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(master)
