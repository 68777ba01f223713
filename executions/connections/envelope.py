"""Seals a row's secrets: a data key of its own encrypts them, and a master key encrypts that key.

Changing the master key touches the wrapped data keys only. Both ciphertexts are bound to the row's
id and provider, so that none opens in another row's place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from executions.errors import FlowMaestroError, Unavailable

_KEY_BITS = 256
_NONCE_BYTES = 12


class KeyMissing(Unavailable):
    """The master key that sealed a row is not among the configured ones."""

    code = "encryption_key_missing"
    non_retryable = True


class NotGenuine(FlowMaestroError):
    """A sealed value was changed, or belongs to another row."""

    code = "sealed_value_damaged"
    non_retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """The sealed secrets of one row."""

    sealed: bytes
    wrapped_key: bytes
    key_id: str


def current_key() -> str:
    """The id of the master key that seals from now on."""
    return _keys()[0][0]


def master_keys() -> dict[str, bytes]:
    """The configured master keys by their ids, the current one first."""
    return dict(_keys())


def seal(secrets: Mapping[str, str], *, row: str, provider: str) -> Envelope:
    """The secrets under a fresh data key and the current master key."""
    key = AESGCM.generate_key(_KEY_BITS)
    name, master = _keys()[0]
    data = json.dumps(dict(secrets)).encode()
    return Envelope(
        sealed=_encrypt(key, data, _place("secrets", row, provider)),
        wrapped_key=_encrypt(master, key, _place("key", row, provider)),
        key_id=name,
    )


def unseal(envelope: Envelope, *, row: str, provider: str) -> dict[str, str]:
    """The secrets. Raises KeyMissing or NotGenuine."""
    key = _unwrap(envelope, row, provider)
    data = _decrypt(key, envelope.sealed, _place("secrets", row, provider), row)
    found: dict[str, str] = json.loads(data)
    return found


def rewrap(envelope: Envelope, *, row: str, provider: str) -> Envelope:
    """The same secrets, their data key under the current master key."""
    key = _unwrap(envelope, row, provider)
    name, master = _keys()[0]
    wrapped = _encrypt(master, key, _place("key", row, provider))
    return Envelope(sealed=envelope.sealed, wrapped_key=wrapped, key_id=name)


def _unwrap(envelope: Envelope, row: str, provider: str) -> bytes:
    master = master_keys().get(envelope.key_id)
    if master is None:
        raise KeyMissing(
            f"Connection {row} is sealed with the key {envelope.key_id!r}, which is not in "
            "FLOWMAESTRO_ENCRYPTION_KEYS; add it there, after the current one."
        )
    return _decrypt(master, envelope.wrapped_key, _place("key", row, provider), row)


def _keys() -> tuple[tuple[str, bytes], ...]:
    keys: tuple[tuple[str, bytes], ...] = settings.ENCRYPTION_KEYS
    return keys


def _place(what: str, row: str, provider: str) -> bytes:
    return "\0".join(("flowmaestro connection", what, row, provider)).encode()


def _encrypt(key: bytes, data: bytes, place: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, place)


def _decrypt(key: bytes, data: bytes, place: bytes, row: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place)
    except (InvalidTag, ValueError) as error:
        raise NotGenuine(
            f"The secrets of connection {row} do not open with their key: the row was changed, or "
            "the key of that id is another one. Store the secrets anew."
        ) from error
