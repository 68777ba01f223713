"""TypeIDs: a type prefix and a UUIDv7 in Crockford's base32, so that ids sort by creation time.

Source: the TypeID specification 0.3, github.com/jetify-com/typeid.
"""

from __future__ import annotations

import math
import os
import time
from datetime import datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_SUFFIX_LENGTH = 26


def new_id(prefix: str) -> str:
    """A fresh id such as `run_01k9…`; those of one process sort in the order it made them."""
    now = time.time_ns()
    value = (
        now // 1_000_000 << 80
        | 0x7 << 76
        # RFC 9562, method 3: after the version come parts of the millisecond.
        | (now % 1_000_000 << 12) // 1_000_000 << 64
        | 0b10 << 62
        | int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    )
    pairs = [_PAIRS[value >> shift & 0x3FF] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"


def has_prefix(value: object, prefix: str) -> bool:
    """Whether `value` has the shape of an id of this type."""
    if not isinstance(value, str) or not value.startswith(prefix + "_"):
        return False
    suffix = value[len(prefix) + 1 :]
    return len(suffix) == _SUFFIX_LENGTH and all(letter in ALPHABET for letter in suffix)


def first_id(prefix: str, at: datetime) -> str:
    """The bound between ids made before a moment and those made from it on, to the millisecond.

    An id of this type is at least this one exactly when it is of `at` or later; moments outside
    of what ids can hold give the first or the last of all.
    """
    milliseconds = math.floor(at.timestamp() * 1000)
    value = min(max(milliseconds, 0), (1 << 48) - 1) << 80
    return f"{prefix}_{''.join(_PAIRS[value >> shift & 0x3FF] for shift in range(120, -1, -10))}"


def created_at(value: str) -> int:
    """When an id was made, in seconds since 1970."""
    number = 0
    for letter in value.rpartition("_")[2]:
        number = number << 5 | ALPHABET.index(letter)
    return (number >> 80) // 1000
