"""Which names a node's config uses: in templates, in expressions, and where it holds a path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from executions.rules.graph import Node

_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
# Fields whose text is an expression, or a program, without braces.
_EXPRESSIONS = frozenset(
    "arrayPath code collection condition expression inputData items javascriptCode jsCode "
    "pythonCode script".split()
)
# Fields whose text is a name or a path without braces; anything else in them is text.
_PATHS = frozenset(
    "array audioFile audioSource count data dataSource file fileSource image imageInput "
    "imageSource input inputVariable inputVariables listVariable source sourceVariable sources "
    "switchVariable urlVariable variable".split()
)
# Names that a program or a function binds itself, so that they are not the run's.
_BOUND = re.compile(
    r"([A-Za-z_$][\w$]*)\s*=>"
    r"|\(([^()]*)\)\s*=>"
    r"|\bfunction\s*[\w$]*\s*\(([^()]*)\)"
    r"|\blambda\s+([\w\s,]+):"
    r"|\b(?:const|let|var|for)\s*\(?\s*(?:const\s+|let\s+|var\s+)?([A-Za-z_$][\w$]*)"
)
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
# What a program may say before a name of the run.
_OWNER = r"(?:inputs|variables)(?:\.|\[['\"])"


def loop_names(loop: Node) -> frozenset[str]:
    """The names under which a body sees the loop's state."""
    config = loop.config
    item = getattr(config, "item_variable", None) or loop.raw.get("itemVariable") or "item"
    index = getattr(config, "index_variable", None) or loop.raw.get("indexVariable") or "index"
    return frozenset({"loop", str(item), str(index)})


def uses_names(config: Any, names: frozenset[str]) -> bool:
    """Whether a config's templates, expressions or paths mention one of `names` as a root."""
    listed = "|".join(re.escape(name) for name in sorted(names))
    bare = re.compile(rf"(?<![\w$.'\"-])({listed})(?![\w$-])")
    owned = re.compile(rf"(?<![\w$.]){_OWNER}(?:{listed})(?![\w$-])")
    path = re.compile(rf"\s*(?:\$\{{)?\s*(?:{_OWNER})?(?:{listed})\s*(?:[.\[}}].*)?", re.DOTALL)
    work: list[tuple[str, Any]] = [("", config)]
    while work:
        key, value = work.pop()
        if isinstance(value, str):
            if key in _PATHS and path.fullmatch(value):
                return True
            texts = [value] if key in _EXPRESSIONS else _PLACEHOLDER.findall(value)
            if any(owned.search(text) or _mentions(text, bare) for text in texts):
                return True
        elif isinstance(value, Mapping):
            work.extend((str(name), child) for name, child in value.items())
        elif isinstance(value, list | tuple):
            work.extend((key, child) for child in value)
    return False


def _mentions(text: str, bare: re.Pattern[str]) -> bool:
    found = {match.group(1) for match in bare.finditer(text)}
    if not found:
        return False
    for match in _BOUND.finditer(text):
        found -= {word for group in match.groups() if group for word in _WORD.findall(group)}
    return bool(found)
