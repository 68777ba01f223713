"""What is done to batches: announce one, add its items in any portions, look how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, F, Func, QuerySet

from executions import idempotency, repeats, requests, triggering, workspaces
from executions.engine.failures import encodable
from executions.errors import Conflict, FlowMaestroError, Invalid, NotFound
from executions.idempotency import Wanted
from executions.intake import Ask, Permit, call
from executions.models import Batch, BatchItem, Run
from executions.rules.ids import has_prefix, new_id

PREFIX = "batch"
_KEY_LIFETIME = timedelta(days=30)
# What is written in one transaction: enough to be quick, little enough to be held in memory.
_PORTION = 250
_PORTION_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A run that a batch asks for, its place in the batch, and about how many bytes it is."""

    index: int
    ask: Ask
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of the items of one call, and how many the batch has by now."""

    accepted: int = 0
    deduplicated: int = 0
    count: int
    is_sealed: bool


# ---- announce -----------------------------------------------------------------------------------


def create(
    run_count: object, *, owner: int | None, workspace: str | None,
    idempotency_key: str | None = None, request_key: str | None = None, permit: Permit = call,
) -> tuple[Batch, bool]:  # fmt: skip
    """A batch of so many items that are still to come; True when the key's batch has them all.

    A key whose batch waits for items gives that one, to be filled. `permit`: as in `intake`.
    Raises Invalid for too many or no items, Conflict when the key's batch waits for another number.
    """
    run_count = check_count(run_count)
    home = workspaces.place_of(owner, workspace)

    def make() -> str:
        batch = Batch.objects.create(
            id=new_id(PREFIX), workspace_id=home, owner_id=owner, run_count=run_count,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        return batch.id

    def make_with_permit() -> str:
        return permit(make)

    with transaction.atomic():
        batch = _made_once(requests.scope_of(home), idempotency_key, request_key, make_with_permit)
        if batch.sealed_at is None and batch.run_count != run_count:
            raise Conflict(
                f"Batch {batch.id} of this key waits for {batch.run_count:,} items, not "
                f"{run_count:,}.",
                field="runCount",
            )
    return batch, batch.sealed_at is not None


def check_count(run_count: object) -> int:
    """How many items a batch is to have. Raises Invalid for too many or none."""
    limit = settings.FLOWMAESTRO.BATCH_LIMIT
    if isinstance(run_count, bool) or not isinstance(run_count, int) or run_count < 1:
        raise Invalid("runCount is how many items the batch has, at least 1.", field="runCount")
    if run_count > limit:
        raise Invalid(
            f"A batch has at most {limit:,} items, not {run_count:,}; send several batches.",
            field="runCount",
        )
    return run_count


def _made_once(scope: str, key: str | None, request_key: str | None, make: repeats.Make) -> Batch:
    def make_for_request() -> str:
        return repeats.once("batch request", scope, request_key, make)[0]

    batch_id, _ = repeats.once("batch", scope, key, make_for_request, lifetime=_KEY_LIFETIME)
    batch = Batch.objects.filter(pk=batch_id).first()
    if batch is None and key is not None:
        # It was pruned before its key.
        repeats.forget("batch", scope, key)
        batch_id, _ = repeats.once("batch", scope, key, make, lifetime=_KEY_LIFETIME)
        batch = Batch.objects.filter(pk=batch_id).first()
    if batch is None:
        raise NotFound(f"Batch {batch_id} was removed.", field="batch")
    return batch


# ---- add ----------------------------------------------------------------------------------------


def add(batch: Batch, items: Iterable[Item]) -> Added:
    """Starts the runs of items; those of a place that is taken are passed over.

    They are written portion by portion: after a failure in between, all may be sent again. An
    item that cannot be started takes its place with its error. When all places are taken, the
    batch is sealed. Raises Invalid for a place that the batch does not have.
    """
    accepted = seen = 0
    for portion in _portions(items):
        with transaction.atomic():
            accepted += len(_add(batch, portion, is_strict=False))
        seen += len(portion)
    batch.refresh_from_db(fields=["sealed_at"])
    return Added(
        accepted=accepted,
        deduplicated=seen - accepted,
        count=batch.items.count(),
        is_sealed=batch.sealed_at is not None,
    )


def trigger_all(
    asks: Sequence[Ask], *, owner: int | None, workspace: str | None,
    idempotency_key: str | None = None, request_key: str | None = None, permit: Permit = call,
) -> tuple[Batch, bool]:  # fmt: skip
    """A batch with all its runs, or nothing; True when the key's batch was there already.

    Raises what the first item raises that cannot be started, naming it.
    """
    with transaction.atomic():
        batch, is_cached = create(
            len(asks), owner=owner, workspace=workspace, idempotency_key=idempotency_key,
            request_key=request_key, permit=permit,
        )  # fmt: skip
        if not is_cached:
            items = [Item(index=index, ask=ask) for index, ask in enumerate(asks)]
            # All portions are one transaction: their keys are claimed in one order, too.
            items.sort(key=_lock_order)
            for start in range(0, len(items), _PORTION):
                _add(batch, items[start : start + _PORTION], is_strict=True)
            batch.refresh_from_db(fields=["sealed_at"])
    return batch, is_cached


def _portions(items: Iterable[Item]) -> Iterator[list[Item]]:
    portion: list[Item] = []
    size = 0
    for item in items:
        portion.append(item)
        size += item.size
        if len(portion) == _PORTION or size >= _PORTION_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _add(batch: Batch, portion: Sequence[Item], *, is_strict: bool) -> list[BatchItem]:
    """Writes the items whose places are free: their runs and rows. The batch's row is locked."""
    Batch.objects.select_for_update().values_list("id").get(pk=batch.id)
    indexes = [item.index for item in portion]
    taken = set(batch.items.filter(index__in=indexes).values_list("index", flat=True))
    new: dict[int, Item] = {}
    for item in portion:
        if not 0 <= item.index < batch.run_count:
            raise Invalid(
                f"index {item.index} lies outside of the batch, which has {batch.run_count:,} "
                "items counted from 0.",
                field="index",
            )
        if item.index not in taken:
            new.setdefault(item.index, item)
    rows = _Portion(batch, is_strict=is_strict).start(list(new.values()))
    BatchItem.objects.bulk_create(rows)
    if rows and batch.items.count() == batch.run_count:
        now = Func(function="flowmaestro_now", output_field=DateTimeField())
        Batch.objects.filter(pk=batch.id, sealed_at=None).update(sealed_at=now)
    return rows


class _Portion:
    """Turns items into runs, set by set: few statements however many they are."""

    def __init__(self, batch: Batch, *, is_strict: bool) -> None:
        self._batch = batch
        self._is_strict = is_strict
        self._rows: list[BatchItem] = []
        # By the id of a run that is about to be written.
        self._documents: dict[str, str] = {}
        self._wanted: dict[tuple[str, str], Wanted] = {}
        self._keyed: list[tuple[BatchItem, tuple[str, str]]] = []

    def start(self, items: Sequence[Item]) -> list[BatchItem]:
        """The rows of the items, whose runs are written."""
        for item in sorted(items, key=_lock_order):
            row = BatchItem(batch=self._batch, index=item.index, task=item.ask.task)
            try:
                self._prepare(row, item.ask)
            except FlowMaestroError as error:
                if self._is_strict:
                    raise _of_item(item.index, error) from error
                row.run_id = None
                message = encodable(error.message)
                row.error = {"message": message, "code": error.code, "field": error.field}
            self._rows.append(row)
        holders = idempotency.claim(self._batch.workspace_id, list(self._wanted.values()))
        for row, name in self._keyed:
            row.is_cached = holders[name] != row.run_id
            if row.is_cached:
                self._documents.pop(str(row.run_id), None)
                row.run_id = holders[name]
        if self._documents:
            triggering.insert(list(self._documents), list(self._documents.values()))
        return self._rows

    def _prepare(self, row: BatchItem, ask: Ask) -> None:
        batch, options = self._batch, dict(ask.options)
        payload = ask.value(batch.workspace_id)
        options |= {
            "owner": batch.owner_id, "workspace": batch.workspace_id, "source": batch.id,
        }  # fmt: skip
        if options.get("debounce") is not None:
            # Bursts gather one by one.
            with transaction.atomic():
                handle = triggering.trigger(ask.task, payload, **options)
            row.run_id, row.is_cached = handle.id, handle.is_cached
            return
        options.pop("debounce", None)
        key = options.pop("idempotency_key", None)
        lifetime = requests.key_lifetime(options.pop("idempotency_key_ttl", None))
        if key is not None:
            key = requests.check_key(key)
        row.run_id, document = requests.document(ask.task, payload, **options)
        self._documents[row.run_id] = document
        if key is not None:
            seconds = lifetime.total_seconds()
            wanted = Wanted(task=ask.task, key=key, run_id=row.run_id, seconds=seconds)
            self._wanted.setdefault(wanted.name, wanted)
            self._keyed.append((row, wanted.name))


def _lock_order(item: Item) -> tuple[int, str, str]:
    """Bursts, then keys, by code points as `idempotency.claim` has them; the rest as it came."""
    burst = item.ask.options.get("debounce")
    key = item.ask.options.get("idempotency_key")
    if isinstance(burst, Mapping):
        return 0, item.ask.task, str(burst.get("key"))
    return (1, item.ask.task, key) if isinstance(key, str) else (2, "", "")


def _of_item(index: int, error: FlowMaestroError) -> FlowMaestroError:
    field = f"items.{index}" + (f".{error.field}" if error.field else "")
    return type(error)(f"Item {index}: {error.message}", field=field, code=error.code)


# ---- look ---------------------------------------------------------------------------------------


class BatchStatus(StrEnum):
    """How a batch stands; the public names are those Trigger.dev's users know."""

    PENDING = "PENDING"  # items are still to come
    PROCESSING = "PROCESSING"  # all are here, and runs are open
    COMPLETED = "COMPLETED"  # all became runs, and all of those ended, well or not
    PARTIAL_FAILED = "PARTIAL_FAILED"  # all runs ended, and some items became none
    ABORTED = "ABORTED"  # no item became a run


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A batch with what became of its items, in their order."""

    batch: Batch
    status: BatchStatus
    items: Sequence[BatchItem]
    updated_at: datetime

    @property
    def run_ids(self) -> list[str]:
        """The runs of the items that became one."""
        return [str(item.run_id) for item in self.items if item.run_id is not None]


def find(batches: QuerySet[Batch], batch_id: str) -> Batch:
    """The batch, of those given. Raises NotFound."""
    batch = batches.filter(pk=batch_id).first() if has_prefix(batch_id, PREFIX) else None
    if batch is None:
        raise NotFound(f"There is no batch {batch_id!r}.", field="batch")
    return batch


def state_of(batch: Batch) -> State:
    """How the batch stands now."""
    items = list(batch.items.annotate(ended_at=F("run__finished_at")))
    ends: list[datetime | None] = [item.ended_at for item in items if item.run_id is not None]
    moments = [batch.created_at, batch.sealed_at, *ends]
    return State(
        batch=batch,
        status=_status(batch, items, ends),
        items=items,
        updated_at=max(moment for moment in moments if moment is not None),
    )


def _status(
    batch: Batch, items: Sequence[BatchItem], ends: Sequence[datetime | None]
) -> BatchStatus:
    if batch.sealed_at is None:
        return BatchStatus.PENDING
    errors = sum(item.error is not None for item in items)
    if items and errors == len(items):
        return BatchStatus.ABORTED
    if None in ends:
        return BatchStatus.PROCESSING
    return BatchStatus.PARTIAL_FAILED if errors else BatchStatus.COMPLETED


def results(batch: Batch) -> list[Run]:
    """The runs of the batch that ended, with what they gave, in the order of the items."""
    items = batch.items.filter(run__finished_at__isnull=False).select_related("run")
    return [item.run for item in items if item.run is not None]
