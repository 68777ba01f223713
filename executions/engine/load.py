"""Reading claimed runs: their journals, and what their waits have come to."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import dict_row

from executions.engine import gates, sql
from executions.engine.replay import Record, record_from
from executions.engine.waits import Findings, child_value, token_value
from executions.rules.statuses import StepStatus

Connection = psycopg.AsyncConnection[Any]
Row = dict[str, Any]


class Claimed(NamedTuple):
    """Runs just claimed, what is recorded of each, and what its waits have come to.

    `more`: gated queues had work that this claim did not look at.
    """

    rows: list[Row]
    records: dict[str, list[Record]]
    found: dict[str, Findings]
    more: bool = False


async def claim(conn: Connection, worker: str, *, runs: int, suspects: int) -> Claimed:
    """Takes at most so many due runs for `worker`, in order, and loads their journals."""
    fence = uuid.uuid4()
    async with conn.pipeline():
        claims = await conn.cursor(row_factory=dict_row).execute(
            sql.CLAIM, (runs, suspects, runs, fence, worker)
        )
        data = await conn.execute(sql.LOAD_DATA, (worker, fence))
        journals = await conn.cursor(row_factory=dict_row).execute(sql.LOAD_STEPS, (worker, fence))
        probe = await conn.execute(gates.PROBE)
        rows = await claims.fetchall()
        _add_data(rows, await data.fetchall())
        recorded = await journals.fetchall()
        gated = await probe.fetchone()
    return await _claimed(conn, rows, recorded, more=gated is not None and gated[0])


async def claim_gated(conn: Connection, worker: str, *, runs: int, suspects: int) -> Claimed:
    """The same for queues with limits; `more` says that another claimer was in the way."""
    fence = uuid.uuid4()
    rows, was_passed_over = await gates.claim(conn, worker, fence, runs=runs, suspects=suspects)
    recorded: list[Row] = []
    if rows:
        async with conn.pipeline():
            cursor = conn.cursor(row_factory=dict_row)
            data = await conn.execute(sql.LOAD_DATA, (worker, fence))
            journals = await cursor.execute(sql.LOAD_STEPS, (worker, fence))
            _add_data(rows, await data.fetchall())
            recorded = await journals.fetchall()
    return await _claimed(conn, rows, recorded, more=was_passed_over)


def _add_data(rows: list[Row], data: list[tuple[str, Any, Any]]) -> None:
    """Puts beside each run what it was given; one lost again since its claim is left out."""
    given = {run: (payload, metadata) for run, payload, metadata in data}
    rows[:] = [row for row in rows if row["id"] in given]
    for row in rows:
        row["payload"], row["first_metadata"] = given[row["id"]]


async def _claimed(
    conn: Connection, rows: list[Row], recorded: list[Row], *, more: bool
) -> Claimed:
    records: dict[str, list[Record]] = defaultdict(list)
    found: dict[str, Findings] = defaultdict(Findings)
    for row in recorded:
        records[row["run_id"]].append(record_from(row))
        if row["token_status"] is not None:
            value = token_value(row["token_status"], row["token_output"])
            if value is not None:
                found[row["run_id"]].tokens[row["input"]["token"]] = value
    waits = {
        run: [wait for wait in items if wait[0] != "wait"]
        for run, items in _waits_in(records).items()
    }
    for run, rest in (await findings(conn, waits)).items():
        found[run].children = rest.children
        found[run].signals = rest.signals
    rows.sort(key=lambda row: row["id"])
    return Claimed(rows, records, found, more)


def _waits_in(records: Mapping[str, Iterable[Record]]) -> dict[str, list[tuple[str, str, Any]]]:
    """(kind, key, input) of the waits that the journals leave open, by run."""
    return {
        run: [
            (record.kind, record.key, record.input)
            for record in items
            if record.status == StepStatus.WAITING
        ]
        for run, items in records.items()
    }


async def findings(
    conn: Connection, waits: Mapping[str, Sequence[tuple[str, str, Any]]]
) -> dict[str, Findings]:
    """What the rows say about the open waits of some runs; read `wakes` before this."""
    result: dict[str, Findings] = defaultdict(Findings)
    tokens: dict[str, list[str]] = defaultdict(list)
    for run, items in waits.items():
        for kind, _key, given in items:
            if kind == "wait":
                tokens[given["token"]].append(run)
    if tokens:
        cursor = await conn.execute(sql.LOAD_TOKENS, (list(tokens),))
        for token, status, output in await cursor.fetchall():
            value = token_value(status, output)
            if value is not None:
                for run in tokens[token]:
                    result[run].tokens[token] = value
    parents = [run for run, items in waits.items() if any(i[0] == "children" for i in items)]
    if parents:
        await _children(conn, parents, result)
    mailboxes = [run for run, items in waits.items() if any(i[0] == "signal" for i in items)]
    if mailboxes:
        cursor = await conn.execute(sql.LOAD_SIGNALS, (mailboxes,))
        for run, signal, name, data in await cursor.fetchall():
            result[run].signals.append((signal, name, data))
    return result


async def _children(conn: Connection, parents: list[str], into: dict[str, Findings]) -> None:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(sql.LOAD_CHILDREN, (parents,))
        for row in await cursor.fetchall():
            results = into[row["parent_id"]].children.setdefault(row["parent_step"], {})
            results[row["id"]] = child_value(row)
