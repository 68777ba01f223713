"""XML text as JSON: attributes join their element, single children are not wrapped."""

from __future__ import annotations

import xml.parsers.expat
from typing import Any

Json = Any

MAX_LENGTH = 5_000_000
MAX_DEPTH = 100


def parse_xml(text: str) -> Json:
    """The document as nested objects. Raises ValueError on DTDs, whose entities can explode."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the document is over {MAX_LENGTH:,} characters")
    builder = _Builder()
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.Parse(text.encode(), True)
    return builder.root


def _refuse(*args: object) -> None:
    raise ValueError("document type declarations are not accepted")


class _Builder:
    def __init__(self) -> None:
        self.root: dict[str, Json] = {}
        self._stack: list[tuple[str, dict[str, Json], list[str]]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise ValueError(f"the document is nested deeper than {MAX_DEPTH} levels")
        self._stack.append((name, dict(attributes), []))

    def text(self, data: str) -> None:
        if self._stack:
            self._stack[-1][2].append(data)

    def end(self, name: str) -> None:
        name, children, texts = self._stack.pop()
        text = "".join(texts).strip()
        value: Json = children
        if not children:
            value = text
        elif text:
            value["_"] = text
        parent = self._stack[-1][1] if self._stack else self.root
        if name not in parent:
            parent[name] = value
        elif isinstance(parent[name], list):
            parent[name].append(value)
        else:
            parent[name] = [parent[name], value]
