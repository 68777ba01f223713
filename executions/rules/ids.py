"""TypeIDs: a type prefix and a UUIDv7 in Crockford's base32, so that ids sort by creation time.

Source: the TypeID specification 0.3, github.com/jetify-com/typeid.
"""

from __future__ import annotations

import os
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_SUFFIX_LENGTH = 26


def new_id(prefix: str) -> str:
    """A fresh id such as `run_01k9…`; ids of one process and millisecond sort at random."""
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = (
        (time.time_ns() // 1_000_000) << 80
        | 0x7 << 76
        | (random_bits >> 68 & 0xFFF) << 64
        | 0b10 << 62
        | (random_bits & 0x3FFF_FFFF_FFFF_FFFF)
    )
    pairs = [_PAIRS[value >> shift & 0x3FF] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(pairs)}"


def has_prefix(value: object, prefix: str) -> bool:
    """Whether `value` has the shape of an id of this type."""
    if not isinstance(value, str) or not value.startswith(prefix + "_"):
        return False
    suffix = value[len(prefix) + 1 :]
    return len(suffix) == _SUFFIX_LENGTH and all(letter in ALPHABET for letter in suffix)
