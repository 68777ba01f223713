"""How a process of a document answers: one line of JSON, then bytes."""

from __future__ import annotations

import codecs
import contextlib
import json
from collections.abc import Callable
from encodings.aliases import aliases
from typing import Any

Json = Any
Answer = tuple[dict[str, Json], bytes]


class Unreadable(Exception):
    """The document cannot be used; the message says why."""


def load_codecs() -> None:
    """Import all encodings: documents name any of them, when nothing can be imported any more."""
    for name in set(aliases.values()):
        with contextlib.suppress(LookupError):
            codecs.lookup(name)


def evaluator(
    operations: dict[str, Callable[[dict[str, Json], bytes], Answer]],
) -> Callable[[dict[str, Json], bytes], bytes]:
    """The function that a process calls with its request; an error becomes an answer."""

    def evaluate(asked: dict[str, Json], data: bytes) -> bytes:
        try:
            found, content = operations[asked["operation"]](asked, data)
        except MemoryError:
            raise
        except Unreadable as error:
            return json.dumps({"kind": "error", "error": str(error)}).encode()
        except RecursionError:
            error_text = "The document is nested too deeply."
            return json.dumps({"kind": "error", "error": error_text}).encode()
        # Parsers of broken documents raise anything.
        except Exception as error:
            text = f"The document is broken: {type(error).__name__}: {error}"[:500]
            return json.dumps({"kind": "error", "error": text}).encode()
        return json.dumps(found, allow_nan=False).encode() + b"\n" + content

    return evaluate
