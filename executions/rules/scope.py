"""The flat context that templates see: inputs, then variables, then outputs; rounds inherit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from executions.rules.comparisons import to_number

Json = Any

_INPUT = "inputs"
_VARIABLE = "variables"
_SHARED = "shared"


def changed(operation: str, present: Json, value: Json) -> Json:
    """A value after `append` or `increment`; None when there is no number to add to."""
    if operation == "append":
        return [*(present if isinstance(present, list) else []), value]
    total = to_number(present) + to_number(value)
    if not math.isfinite(total):
        return None
    return int(total) if total.is_integer() else total


class Scope:
    """Names and values at one place of a run.

    Node ids and variables overwrite; the keys of an output are added where not yet present, or
    where the same node wrote them before. A round of a loop has a scope of its own over the
    enclosing one.
    """

    __slots__ = (
        "_defaults",
        "_fixed",
        "_outputs",
        "_owners",
        "_parent",
        "_values",
        "answers",
        "inputs",
        "shared",
        "variables",
    )

    def __init__(
        self,
        inputs: Mapping[str, Json] | None = None,
        *,
        parent: Scope | None = None,
        fixed: Mapping[str, Json] | None = None,
        defaults: Mapping[str, Json] | None = None,
    ) -> None:
        self._parent = parent
        self._fixed = dict(fixed or {})
        # Names of last resort, such as env: anything of the run hides them.
        self._defaults: Mapping[str, Json] = (
            parent._defaults if parent is not None else dict(defaults or {})
        )
        self.inputs: Mapping[str, Json] = (
            parent.inputs if parent is not None else dict(inputs or {})
        )
        self.variables: dict[str, Json] = parent.variables if parent is not None else {}
        self.shared: dict[str, Json] = parent.shared if parent is not None else {}
        # The variables that people's answers set.
        self.answers: set[str] = parent.answers if parent is not None else set()
        self._values: dict[str, Json] = {}
        self._owners: dict[str, str] = {}
        # By node, whatever else is called as the node is.
        self._outputs: dict[str, Json] = {}
        if parent is None:
            self._values.update(self.inputs)
            self._owners.update(dict.fromkeys(self.inputs, f"/{_INPUT}"))

    def get(self, name: str, default: Any = None, /) -> Any:
        """The value of a root name, or `default`."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._fixed:
                return scope._fixed[name]
            if name in scope._values:
                return scope._values[name]
            scope = scope._parent
        if name == _INPUT:
            return self.inputs
        if name == _VARIABLE:
            return self.variables
        if name == _SHARED:
            return self.shared
        return self._defaults.get(name, default)

    def output(self, node: str, default: Any = None) -> Json:
        """What a node of this very scope gave."""
        return self._outputs.get(node, default)

    def nearest_output(self, node: str, default: Any = None) -> Json:
        """What a node gave, here or around."""
        scope: Scope | None = self
        while scope is not None:
            if node in scope._outputs:
                return scope._outputs[node]
            scope = scope._parent
        return default

    def owner(self, name: str) -> str | None:
        """The id of the node that wrote a name; `/inputs` or `/variables` for the run itself."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope._owners:
                return scope._owners[name]
            scope = scope._parent
        return None

    def set_output(self, node: str, output: Json) -> None:
        """Record a node's output under its id, and its keys where they are free."""
        self._outputs[node] = output
        self._values[node] = output
        self._owners[node] = node
        if isinstance(output, dict):
            for key, value in output.items():
                holder = self.owner(key)
                if key != node and holder in (None, node):
                    self._values[key] = value
                    self._owners[key] = node

    def set_variable(self, name: str, value: Json, *, node: str | None = None) -> None:
        """Set a workflow variable for the whole run; it goes before inputs and outputs."""
        self.variables[name] = value
        scope = self
        while scope._parent is not None:
            # A round must not hide the variable behind a key of its own.
            if name in scope._values and (name == node or scope._owners.get(name) != name):
                del scope._values[name], scope._owners[name]
            scope = scope._parent
        scope._values[name] = value
        scope._owners[name] = node or f"/{_VARIABLE}"

    def export(self, inner: Scope) -> None:
        """Take over what a finished round wrote, as the outputs of its nodes."""
        self._outputs.update(inner._outputs)
        for name, value in inner._values.items():
            owner = inner._owners[name]
            if name == owner or self.owner(name) in (None, owner):
                self._values[name] = value
                self._owners[name] = owner

    def flatten(self) -> dict[str, Json]:
        """All names as one dict; values are shared, not copied."""
        chain: list[Scope] = []
        scope: Scope | None = self
        while scope is not None:
            chain.append(scope)
            scope = scope._parent
        flat: dict[str, Json] = {_INPUT: self.inputs, _SHARED: self.shared}
        for level in reversed(chain):
            flat.update(level._values)
            flat.update(level._fixed)
        return flat
