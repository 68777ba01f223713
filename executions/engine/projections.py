"""What a run shows while it runs: its metadata and its output streams."""

from __future__ import annotations

import functools

from django.conf import settings

from executions.engine.bodies import in_body
from executions.engine.live import LiveRun, RunGone
from executions.errors import Conflict
from executions.rules import metadata
from executions.rules.values import Json, encode, plain_text


def is_news(live: LiveRun, *, is_counted: bool) -> bool:
    """Whether what is shown now was not shown before: a replay repeats what the code shows.

    What a body shows, or a hook that no step stands behind, is no part of the replay; counted, it
    would be taken for something else.
    """
    return not is_counted or in_body() or live.outbox.next_op()


class Metadata:
    """The run's metadata: changes are published as events and never repeated by a replay."""

    def __init__(
        self, live: LiveRun, target: str | None = None, *, is_counted: bool = True
    ) -> None:
        self._live = live
        self._target = target
        self._is_counted = is_counted

    @property
    def parent(self) -> Metadata:
        """The parent's metadata, to be changed from here; this run's own when it has no parent."""
        return Metadata(self._live, self._live.parent_id, is_counted=self._is_counted)

    @property
    def root(self) -> Metadata:
        """The metadata of the run that all this began with."""
        root: str | None = self._live.row["root_id"]
        target = None if root == self._live.id else root
        return Metadata(self._live, target, is_counted=self._is_counted)

    def get(self, key: str, default: Json = None) -> Json:
        """The value as this run left it. A replay reads what the first time read.

        Raises Conflict for a parent or root: what they hold is theirs to know.
        """
        if self._target is not None:
            raise Conflict("The metadata of a parent or root can be changed from here, not read.")
        return self._live.metadata.get(key, default)

    def current(self) -> dict[str, Json]:
        """All of it, as this run left it."""
        return dict(self._live.metadata)

    def set(self, key: str, value: Json) -> Metadata:
        """Sets a key."""
        return self._change("set", key, value)

    def delete(self, key: str) -> Metadata:
        """Removes a key, if it is there."""
        return self._change("delete", key, None)

    def append(self, key: str, value: Json) -> Metadata:
        """Appends to the list under a key, which begins if it is not there."""
        return self._change("append", key, value)

    def remove(self, key: str, value: Json) -> Metadata:
        """Removes equal items from the list under a key."""
        return self._change("remove", key, value)

    def increment(self, key: str, by: float = 1) -> Metadata:
        """Adds to the number under a key, which begins at 0."""
        return self._change("increment", key, by)

    def decrement(self, key: str, by: float = 1) -> Metadata:
        """Subtracts from the number under a key."""
        metadata.check(("increment", key, by))
        return self._change("increment", key, -by)

    def replace(self, value: dict[str, Json]) -> Metadata:
        """Replaces all of it."""
        return self._change("replace", "", value)

    def _change(self, name: str, key: str, value: Json) -> Metadata:
        live = self._live
        if live.dead:
            raise RunGone(f"Run {live.id} has left this process; its context is dead.")
        operation = (name, key, value)
        metadata.check(operation)
        event = encode({"op": name, "key": key, "value": value}, field="metadata")
        if self._target is not None:
            if is_news(live, is_counted=self._is_counted):
                live.on_loop(functools.partial(self._write_family, operation, event))
            return self
        after = metadata.apply(live.metadata, [operation])
        encode(after, field="metadata", limit=settings.FLOWMAESTRO.METADATA_LIMIT)
        # What a body shows is not what the code reads: a replay does not run the body again.
        if self._is_counted and not in_body():
            live.metadata = after
        if is_news(live, is_counted=self._is_counted):
            live.on_loop(functools.partial(self._write, operation, event))
        return self

    def _write_family(self, operation: metadata.Operation, event: str) -> None:
        assert self._target is not None
        self._live.outbox.batch.extra().family.append((self._target, operation, event))
        self._live.outbox.mark()

    def _write(self, operation: metadata.Operation, event: str) -> None:
        live = self._live
        live.outbox.batch.extra().metadata.append(operation)
        live.outbox.batch.events.append(("metadata", event))
        live.host.journal.mark(live)


class Stream:
    """An output stream: durable pieces, resumable by index."""

    def __init__(self, live: LiveRun, name: str, *, is_counted: bool = True) -> None:
        self._live = live
        self._name = plain_text(name, field="stream", limit=128)
        self._is_counted = is_counted

    def append(self, chunk: Json) -> None:
        """Appends a piece; usable inside and outside of step bodies, and from threads."""
        live = self._live
        if live.dead:
            raise RunGone(f"Run {live.id} has left this process; its context is dead.")
        text = encode(chunk, field="chunk")
        if is_news(live, is_counted=self._is_counted):
            live.on_loop(functools.partial(live.append_chunk, self._name, text))
