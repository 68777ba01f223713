"""Batches of triggers: in two phases, as the SDK sends them now, or in one request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.conf import settings
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from executions import batches
from executions.access import Scope
from executions.api import limits
from executions.api.management import grants, options, shapes
from executions.api.management.base import ManagementView, body_of, iso, only, some, text_of
from executions.api.management.tasks import REQUEST_KEY
from executions.batches import Item
from executions.errors import Invalid, TooLarge
from executions.intake import Ask
from executions.models import Batch
from executions.rules import json_depth
from executions.rules.values import plain_text

Json = Any
_CREATE = (
    "runCount", "taskIdentifiers", "idempotencyKey", "idempotencyKeyOptions", "parentRunId",
    "resumeParentOnCompletion",
)  # fmt: skip
# Beside its payload, which JSON text in JSON text may double.
_OPTIONS_BYTES = 512 * 1024


class BatchView(ManagementView):
    """A view about one batch."""

    def find(self, batch_id: str) -> Batch:
        """The batch, if the caller sees it. Raises NotFound."""
        return batches.find(self.caller.visible(Batch.objects.all()), batch_id)

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """To read: whoever may read this batch."""
        assert self.caller.grants is not None
        return request.method == "GET" and self.caller.grants.allows(
            "read", "batch", kwargs["batch_id"]
        )


# ---- in two phases ------------------------------------------------------------------------------


class Create(ManagementView):
    """POST /api/v3/batches"""

    scopes: ClassVar = {"POST": Scope.TRIGGER}

    def post(self, request: Request) -> Response:
        """Announces a batch of so many items."""
        body = body_of(request)
        only(body, *_CREATE)
        _refuse_parent(body)
        count = batches.check_count(body.get("runCount"))
        limits.charge(request, count)
        batch, is_cached = batches.create(
            count,
            owner=self.caller.user_id,
            workspace=self.caller.workspace_id,
            idempotency_key=text_of(body, "idempotencyKey"),
            request_key=request.headers.get(REQUEST_KEY),
            permit=grants.permit_of(self.caller),
        )
        data = {
            "id": batch.id,
            "runCount": batch.run_count,
            "isCached": is_cached,
            **some(idempotencyKey=batch.idempotency_key),
        }
        return grants.with_token(
            self.caller, Response(data, status=202), [f"read:batch:{batch.id}"]
        )

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may trigger all the tasks that it names."""
        named = request.data.get("taskIdentifiers") if isinstance(request.data, Mapping) else None
        return grants.may_batch(self.caller, named if isinstance(named, list) else [])


class LinesParser(BaseParser):
    """JSON objects, one per line, read as they are asked for."""

    media_type = "application/x-ndjson"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: dict[str, Any] | None = None,
    ) -> Iterator[tuple[int, dict[str, Json], int]]:
        """Each line's number, object and length. Raises Invalid, or TooLarge for a long line."""
        return _lines(stream)


def _lines(stream: Any) -> Iterator[tuple[int, dict[str, Json], int]]:
    limit = 2 * settings.FLOWMAESTRO.PAYLOAD_LIMIT + _OPTIONS_BYTES
    number = 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise TooLarge(f"Line {number} is over {limit:,} bytes.", field=f"line {number}")
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = f"Line {number} is not JSON: {error}."
            raise Invalid(message, field=f"line {number}") from error
        if not isinstance(found, dict):
            raise Invalid(f"Line {number} is not a JSON object.", field=f"line {number}")
        json_depth.check(line, found, field=f"line {number}")
        yield number, found, len(line)


class NdjsonParser(LinesParser):
    """The same by its other name."""

    media_type = "application/ndjson"


class PlainParser(LinesParser):
    """The same from clients that know no name for it."""

    media_type = "text/plain"


class Items(BatchView):
    """POST /api/v3/batches/{id}/items"""

    scopes: ClassVar = {"POST": Scope.TRIGGER}
    parser_classes = (LinesParser, NdjsonParser, PlainParser)

    def post(self, request: Request, batch_id: str) -> Response:
        """Adds the items of the lines; those that are there already are passed over."""
        lines = request.data
        # Without a body there is no iterator, but an empty object.
        items = map(self._item, lines) if isinstance(lines, Iterator) else ()
        added = batches.add(self.find(batch_id), items)
        data: dict[str, Json] = {
            "id": batch_id,
            "itemsAccepted": added.accepted,
            "itemsDeduplicated": added.deduplicated,
            "sealed": added.is_sealed,
        }
        if not added.is_sealed:
            data["enqueuedCount"] = added.count
            data["expectedCount"] = self.find(batch_id).run_count
        return Response(data)

    def _item(self, line: tuple[int, dict[str, Json], int]) -> Item:
        number, body, size = line
        index = body.get("index")
        if isinstance(index, bool) or not isinstance(index, int):
            raise Invalid(f"Line {number}: index is a whole number.", field=f"line {number}")
        try:
            ask = _ask_of(body, "index")
        except Invalid as error:
            raise Invalid(f"Item {index}: {error.message}", field=error.field) from error
        grants.require_task(self.caller, ask.task)
        return Item(index=index, ask=ask, size=size)

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may trigger tasks; each item is looked at when it comes.

        A token for one use is good for the batch that it was used for.
        """
        return grants.may_trigger(self.caller) and grants.may_fill(self.caller, kwargs["batch_id"])


# ---- in one request -----------------------------------------------------------------------------


class _AtOnce(ManagementView):
    """A batch with its items in one body: all become runs, or none does."""

    scopes: ClassVar = {"POST": Scope.TRIGGER}

    def make(self, request: Request, asks: list[Ask]) -> tuple[Batch, bool]:
        for ask in asks:
            grants.require_task(self.caller, ask.task)
        limits.charge(request, len(asks))
        return batches.trigger_all(
            asks, owner=self.caller.user_id, workspace=self.caller.workspace_id,
            idempotency_key=request.headers.get("idempotency-key"),
            request_key=request.headers.get(REQUEST_KEY), permit=grants.permit_of(self.caller),
        )  # fmt: skip

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may trigger tasks; each item is looked at."""
        return grants.may_trigger(self.caller)


class OfTask(_AtOnce):
    """POST /api/v1/tasks/{task}/batch"""

    def post(self, request: Request, task: str) -> Response:
        """Starts runs of one task."""
        body = body_of(request)
        _refuse_parent(body)
        asks = [_of_item(index, item, task) for index, item in enumerate(_items(body))]
        batch, _ = self.make(request, asks)
        data = {"batchId": batch.id, "runs": batches.state_of(batch).run_ids}
        return grants.with_token(self.caller, Response(data), [f"read:batch:{batch.id}"])


class OfTasksV1(_AtOnce):
    """POST /api/v1/tasks/batch"""

    def post(self, request: Request) -> Response:
        """Starts runs of any tasks, and names each."""
        body = body_of(request)
        _refuse_parent(body)
        batch, is_cached = self.make(request, _asks(body))
        runs = [
            {"id": item.run_id, "taskIdentifier": item.task, "isCached": item.is_cached}
            for item in batches.state_of(batch).items
        ]
        data = {
            "id": batch.id,
            "isCached": is_cached,
            "runs": runs,
            **some(idempotencyKey=batch.idempotency_key),
        }
        return grants.with_token(self.caller, Response(data), [f"read:batch:{batch.id}"])


class OfTasksV2(_AtOnce):
    """POST /api/v2/tasks/batch"""

    def post(self, request: Request) -> Response:
        """Starts runs of any tasks, and counts them."""
        body = body_of(request)
        _refuse_parent(body)
        batch, _ = self.make(request, _asks(body))
        data = {"id": batch.id, "runCount": batch.run_count}
        return grants.with_token(
            self.caller, Response(data, status=202), [f"read:batch:{batch.id}"]
        )


def _asks(body: Mapping[str, Json]) -> list[Ask]:
    return [_of_item(index, item, None) for index, item in enumerate(_items(body))]


def _items(body: Mapping[str, Json]) -> list[Json]:
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise Invalid("items is a list of at least one item.", field="items")
    return items


def _of_item(index: int, item: Json, task: str | None) -> Ask:
    field = f"items.{index}"
    if not isinstance(item, Mapping):
        raise Invalid(f"{field} is a JSON object.", field=field)
    try:
        return _ask_of(item if task is None else {**item, "task": task})
    except Invalid as error:
        inner = f".{error.field}" if error.field else ""
        raise Invalid(f"Item {index}: {error.message}", field=field + inner) from error


def _ask_of(item: Mapping[str, Json], *more: str) -> Ask:
    only(item, "task", "payload", "context", "options", *more)
    return options.ask_of(plain_text(item.get("task"), field="task", limit=128), item)


def _refuse_parent(body: Mapping[str, Json]) -> None:
    given = {name: value for name, value in body.items() if "arent" in name or "ependent" in name}
    options.read(given, prefix="")


# ---- look ---------------------------------------------------------------------------------------


class RetrievedBatch(BatchView):
    """GET /api/v1/batches/{id} and /api/v2/batches/{id}"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, batch_id: str) -> Response:
        """How the batch stands, its runs, and the items that became none."""
        state = batches.state_of(self.find(batch_id))
        batch = state.batch
        errors = [
            {
                "index": item.index,
                "taskIdentifier": item.task,
                "error": item.error["message"],
                "errorCode": item.error["code"],
            }
            for item in state.items
            if item.error is not None
        ]
        sealed_at = None if batch.sealed_at is None else iso(batch.sealed_at)
        return Response(
            {
                "id": batch.id,
                "status": str(state.status),
                "createdAt": iso(batch.created_at),
                "updatedAt": iso(state.updated_at),
                "runCount": batch.run_count,
                "runs": state.run_ids,
                "processing": {"errors": errors, **some(completedAt=sealed_at)},
                **some(idempotencyKey=batch.idempotency_key),
            }
        )


class Results(BatchView):
    """GET /api/v1/batches/{id}/results"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, batch_id: str) -> Response:
        """What the runs gave that have ended, in the order of the items."""
        runs = batches.results(self.find(batch_id))
        return Response({"id": batch_id, "items": [shapes.result(run) for run in runs]})
