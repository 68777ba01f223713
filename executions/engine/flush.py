"""One transaction of the journal: the flush statement and, where needed, what goes with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from executions.engine import failpoints, generations, sql
from executions.engine.rows import Batch, StepRow, event_data
from executions.rules import metadata
from executions.rules.statuses import is_final
from executions.rules.values import encode

if TYPE_CHECKING:
    from executions.engine.live import LiveRun

Connection = psycopg.AsyncConnection[Any]
Item = tuple["LiveRun", Batch]
# pg_notify takes less than 8,000 bytes; beyond it "*" makes every worker look at all it holds.
_NOTIFY_LIMIT = 7500


class Result(NamedTuple):
    """What a flush did to one run."""

    moved: bool
    cancel_requested: bool
    wakes: int
    pause_requested: bool = False


async def write(conn: Connection, items: Sequence[Item]) -> tuple[dict[str, Result], bool]:
    """Writes the batches; the runs that took theirs, and whether this made any run due.

    One statement when that says it all, a transaction otherwise.
    """
    if all(_is_plain(live, batch) for live, batch in items):
        failpoints.hit("flush.before_statement")
        return await _main(conn, items), False
    async with conn.transaction():
        accepted = await _main(conn, items)
        failpoints.hit("flush.after_main")
        taken = [(live, batch) for live, batch in items if live.id in accepted]
        created = await _write_extras(conn, taken)
        failpoints.hit("flush.after_extras")
        ended = [
            live
            for live, batch in taken
            if batch.move and accepted[live.id].moved and is_final(batch.move.status)
        ]
        await _begin_anew(conn, [item for item in taken if accepted[item[0].id].moved])
        woken = await _resolve_family(conn, ended) if ended else []
        failpoints.hit("flush.after_family")
        if woken:
            await conn.execute(sql.NOTIFY, (notify_payload(woken),))
        failpoints.hit("flush.before_commit")
    return accepted, bool(woken) or created


async def _begin_anew(conn: Connection, moved: Sequence[Item]) -> None:
    """Runs whose next attempt, or next generation, begins from the metadata as it is now."""
    restarted = [live.id for live, batch in moved if batch.move and batch.move.attempt]
    if restarted:
        await conn.execute(sql.RESTART_METADATA, (restarted,))
    continued = {
        live.id: batch.move.payload
        for live, batch in moved
        if batch.move and batch.move.payload is not None
    }
    if continued:
        await generations.begin(conn, continued)


def notify_payload(ids: Iterable[str]) -> str:
    """Run ids as one notification carries them."""
    text = ",".join(ids)
    return text if len(text) < _NOTIFY_LIMIT else "*"


def _is_plain(live: LiveRun, batch: Batch) -> bool:
    if batch.extras is not None or (batch.move is not None and batch.move.attempt is not None):
        return False
    ends = batch.move is not None and is_final(batch.move.status)
    return not ends or (live.parent_step is None and not live.has_children)


async def _main(conn: Connection, items: Sequence[Item]) -> dict[str, Result]:
    lone = _lone_step(items)
    if lone is not None:
        cursor = await conn.execute(sql.FLUSH_STEP, lone)
    else:
        cursor = await conn.execute(sql.FLUSH, _parameters(items))
    rows = await cursor.fetchall()
    return {row[0]: Result(*row[1:]) for row in rows}


def _lone_step(items: Sequence[Item]) -> tuple[Any, ...] | None:
    """The parameters of FLUSH_STEP, when one ended step and its event are all there is."""
    if len(items) != 1:
        return None
    live, batch = items[0]
    if batch.move is not None or len(batch.steps) != 1 or len(batch.events) != 1:
        return None
    (row,) = batch.steps.values()
    event, data = batch.events[0]
    if row.seq is None or row.pending is not None or row.heartbeat is not None:
        return None
    return (
        batch.no, batch.ops, live.active_ms(), live.id, live.claim, batch.no, row.key, row.kind,
        row.status, row.seq, row.attempt, row.run_attempt, row.input, row.output, row.error,
        row.lasted or 0.0, event, data if isinstance(data, str) else event_data(data),
    )  # fmt: skip


def _parameters(items: Sequence[Item]) -> tuple[str, ...]:
    """The columns of heads, lock set, steps and events."""
    heads: list[tuple[str, ...]] = []
    steps: list[tuple[str, ...]] = []
    events: list[tuple[str, ...]] = []
    locks: set[str] = set()
    for live, batch in items:
        run = live.id
        locks.add(run)
        n = 0
        for n, (event, data) in enumerate(batch.events, 1):
            text = data if isinstance(data, str) else event_data(data)
            events.append((run, str(n), event, text, "f"))
        for row in batch.steps.values():
            steps.append(_step(run, row))
        move = batch.move
        if move is not None:
            n += 1
            events.append((run, str(n), move.event, move.event_data, "t"))
        family = _family(live, batch)
        locks |= family
        heads.append(_head(live, batch, n, ",".join(family)))
    return (
        *_joined(heads, 14),
        sql.SEPARATOR.join(locks),
        *_joined(steps, 14),
        *_joined(events, 5),
    )


def _family(live: LiveRun, batch: Batch) -> set[str]:
    """The other runs that this batch changes, whose rows it must hold as well."""
    family = {run for run, _, _ in batch.extras.family} if batch.extras is not None else set()
    ends = batch.move is not None and is_final(batch.move.status)
    if ends and live.parent_step is not None and live.parent_id is not None:
        family.add(live.parent_id)
    return family


def _joined(rows: list[tuple[str, ...]], width: int) -> list[str]:
    """Columns of rows that hold no None."""
    return [sql.SEPARATOR.join(values) for values in zip(*rows, strict=True)] or [""] * width


def _columns(rows: Sequence[tuple[str | None, ...]], width: int) -> list[str]:
    return [sql.column(values) for values in zip(*rows, strict=True)] or [""] * width


_NO_MOVE = (sql.NULL,) * 6


def _head(live: LiveRun, batch: Batch, events: int, family: str) -> tuple[str, ...]:
    start = (
        live.id,
        live.claim,
        str(batch.no),
        str(events),
        str(batch.ops),
        str(live.active_ms()),
        "t" if batch.progress else "f",
        family or sql.NULL,
    )
    move = batch.move
    if move is None:
        return start + _NO_MOVE
    return (
        *start,
        move.status,
        _text(move.seen),
        _text(move.wait),
        _text(move.attempt),
        move.output or sql.NULL,
        move.error or sql.NULL,
    )


def _step(run: str, row: StepRow) -> tuple[str, ...]:
    null = sql.NULL
    return (
        run,
        row.key,
        row.kind,
        row.status,
        null if row.seq is None else str(row.seq),
        null if row.pending is None else str(row.pending),
        str(row.attempt),
        str(row.run_attempt),
        row.input or null,
        row.output or null,
        row.error or null,
        row.heartbeat or null,
        null if row.wait is None else str(row.wait),
        null if row.lasted is None else f"{row.lasted:.6f}",
    )


def _text(value: float | None) -> str:
    return sql.NULL if value is None else str(value)


async def _write_extras(conn: Connection, items: Sequence[Item]) -> bool:
    """The rarer rows of the runs whose batch was taken; whether they create runs."""
    extras = [(live, batch.extras) for live, batch in items if batch.extras is not None]
    tokens = [
        (
            token.id, live.id, live.row["workspace_id"] or sql.NULL, token.key, _text(token.wait),
            token.tags, token.secret.key, token.secret.digest.hex(),
        )
        for live, extra in extras
        for token in extra.tokens
    ]  # fmt: skip
    if tokens:
        await conn.execute(sql.INSERT_TOKENS, _columns(tokens, 8))
    waiters = [(token, live.id) for live, extra in extras for token in extra.token_waits]
    if waiters:
        await conn.execute(sql.INSERT_TOKEN_WAITERS, _columns(waiters, 2))
    signals = [signal for _, extra in extras for signal in extra.signals]
    if signals:
        await conn.execute(sql.CONSUME_SIGNALS, _columns(signals, 2))
    await _append_chunks(conn, [(live.id, *c) for live, extra in extras for c in extra.chunks])
    await _write_metadata(
        conn, {live.id: extra.metadata for live, extra in extras if extra.metadata}
    )
    exposed = [
        (live.id, encode(extra.exposed, field="exposed")) for live, extra in extras if extra.exposed
    ]
    if exposed:
        await conn.execute(sql.EXPOSE, _columns(exposed, 2))
    await _write_family(conn, [change for _, extra in extras for change in extra.family])
    runs = [run for _, extra in extras for run in extra.runs]
    if runs:
        await conn.execute(sql.INSERT_RUNS, (f"[{','.join(runs)}]", ""))
    return bool(runs)


async def _append_chunks(conn: Connection, chunks: list[tuple[str, str, str]]) -> None:
    if not chunks:
        return
    counts: dict[tuple[str, str], int] = {}
    rows: list[tuple[str, ...]] = []
    for run, stream, data in chunks:
        n = counts.get((run, stream), 0)
        counts[run, stream] = n + 1
        rows.append((run, stream, str(n), data))
    await conn.execute(sql.APPEND_CHUNKS, _columns(rows, 4))


async def _write_family(
    conn: Connection, changes: list[tuple[str, metadata.Operation, str]]
) -> None:
    """What children changed in the metadata of parents and roots that are still open."""
    if not changes:
        return
    counts = Counter(run for run, _, _ in changes)
    cursor = await conn.execute(
        sql.COUNT_EVENTS, _columns([(run, str(n)) for run, n in counts.items()], 2)
    )
    last = {row[0]: row[1] for row in await cursor.fetchall()}
    operations: dict[str, list[metadata.Operation]] = {}
    events: list[tuple[str, ...]] = []
    for run, operation, event in changes:
        if run in last:
            last[run] += 1
            events.append((run, str(last[run]), "metadata", event))
            operations.setdefault(run, []).append(operation)
    if events:
        await conn.execute(sql.INSERT_EVENTS, _joined(events, 4))
        await _write_metadata(conn, operations)


async def _write_metadata(
    conn: Connection, operations: dict[str, list[metadata.Operation]]
) -> None:
    if not operations:
        return
    cursor = await conn.execute(sql.LOCK_METADATA, (list(operations),))
    rows = [
        (run, encode(metadata.apply(current, operations[run]), field="metadata"))
        for run, current in await cursor.fetchall()
    ]
    await conn.execute(sql.WRITE_METADATA, _columns(rows, 2))


async def _resolve_family(conn: Connection, ended: Sequence[LiveRun]) -> list[str]:
    """What the end of these runs means for parents that wait and children that are open."""
    woken: list[str] = []
    waited = [live.id for live in ended if live.parent_step is not None]
    if waited:
        cursor = await conn.execute(sql.CHILDREN_ENDED, (waited,))
        woken += [row[0] for row in await cursor.fetchall()]
    parents = [live.id for live in ended if live.has_children]
    if parents:
        woken += await close_children(conn, parents)
    return woken


async def close_children(conn: Connection, parents: list[str]) -> list[str]:
    """What their parents' end means for open children, and theirs; whom that wakes."""
    woken: list[str] = []
    error = '{"type":"ParentClosed","message":"Its parent ended."}'
    while parents:
        # In this order: a child that begins in between is open still, and is told to stop.
        cursor = await conn.execute(sql.TERMINATED_CHILDREN, (parents,))
        never_begun = [row[0] for row in await cursor.fetchall()]
        cursor = await conn.execute(sql.REQUEST_CANCEL_OF_CHILDREN, (parents,))
        woken += [row[0] for row in await cursor.fetchall()]
        parents = never_begun
        if parents:
            await conn.execute(
                sql.END_RUNS, (parents, None, None, "CANCELED", error, "run.canceled", error)
            )
            woken += parents
    return woken
