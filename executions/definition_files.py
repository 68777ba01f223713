"""Definitions in files: find them under paths, read each, say what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executions import workflows
from executions.errors import Invalid
from executions.examples import unwrap
from executions.rules.graph import Issue

Json = Any

# What a definition with all its prompts never comes near.
SIZE_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionFile:
    """A file with the definition in it, or with the sentence that says why there is none."""

    path: Path
    name: str = ""
    definition: Json = None
    issues: tuple[Issue, ...] = ()

    @property
    def errors(self) -> list[Issue]:
        """What keeps it from running."""
        return [issue for issue in self.issues if issue.severity == "error"]


def find(paths: Iterable[str]) -> Iterator[Path]:
    """The files named, and every .json file under the folders named, in order.

    Raises Invalid for a path that is not there.
    """
    for text in paths:
        path = Path(text)
        if path.is_dir():
            yield from sorted(path.rglob("*.json"))
        elif path.is_file():
            yield path
        else:
            raise Invalid(f"There is no file or folder {text!r}.", field="path")


def load(path: Path) -> DefinitionFile:
    """The definition of a file: as it is, or under `definition` with a `name` beside it."""
    try:
        if path.stat().st_size > SIZE_LIMIT:
            return _refused(path, "FILE_TOO_LARGE", f"It is over {SIZE_LIMIT:,} bytes; split it.")
        twice: list[str] = []
        given = json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _once(pairs, twice)
        )
    except OSError as error:
        return _refused(path, "NOT_READABLE", f"It cannot be read: {error.strerror}.")
    except RecursionError:
        return _refused(path, "TOO_DEEP", "Its JSON is nested too deeply; flatten it.")
    except ValueError as error:
        return _refused(path, "NOT_JSON", f"It is not JSON: {error}. Correct it and try again.")
    if not isinstance(given, dict):
        return _refused(path, "NOT_AN_OBJECT", "A definition is an object with nodes and edges.")
    if twice:
        key = twice[0]
        text = f"The key {key!r} stands twice in one object, so one of the two is lost; rename it."
        return _refused(path, "DUPLICATE_NODE", text, key)
    definition, wrapper = unwrap(given)
    name = wrapper.get("name")
    if not isinstance(name, str) or not name.strip():
        name = definition.get("name") if isinstance(definition, dict) else None
    return DefinitionFile(
        path=path,
        name=name.strip() if isinstance(name, str) and name.strip() else path.stem,
        definition=definition,
        issues=tuple(workflows.validate(definition)),
    )


def _once(pairs: list[tuple[str, Json]], twice: list[str]) -> dict[str, Json]:
    """An object of a file; keys that it has twice are noted."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice.extend(key for key in found if keys.count(key) > 1)
    return found


def _refused(path: Path, code: str, message: str, node: str | None = None) -> DefinitionFile:
    return DefinitionFile(path=path, name=path.stem, issues=(Issue(code, message, node),))
