"""How large a proof is: small in the everyday suite, full under `make proofs` (PROOFS=full)."""

from __future__ import annotations

import os

IS_FULL = os.environ.get("PROOFS") == "full"


def sized(small: int, full: int) -> int:
    """`full` when the long suite runs, else `small`."""
    return full if IS_FULL else small
