"""What started a run, told by the app that did: a run itself holds only an id, `Run.source`.

Apps above this one register how the sources of their kind are described, by the prefix of their
ids: `register("sched", describe_schedules)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Json = Any
Describe = Callable[[list[str]], Mapping[str, dict[str, Json]]]

_describers: dict[str, Describe] = {}


def register(prefix: str, describe: Describe) -> None:
    """From now on `describe` tells of the sources with such ids: what is known of each, by id."""
    _describers[prefix] = describe


def describe(ids: Iterable[str | None]) -> dict[str, dict[str, Json]]:
    """What is known of these sources, by id; nothing of those that are gone or of no known kind."""
    by_prefix: dict[str, list[str]] = {}
    for source in sorted({source for source in ids if source}):
        by_prefix.setdefault(kind_of(source), []).append(source)
    found: dict[str, dict[str, Json]] = {}
    for prefix, sources in by_prefix.items():
        if prefix in _describers:
            found.update(_describers[prefix](sources))
    return found


def kind_of(source: str | None) -> str:
    """The prefix of a source's id: `sched`, `trigger`, `batch`; empty for none."""
    return (source or "").rpartition("_")[0]
