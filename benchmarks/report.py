"""The figures for people (a table) and for programs (JSON)."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.rounds import Outcome, Outcomes
from benchmarks.stats import Summary, summarize
from benchmarks.workloads import Sizes, Workload

NOTHING = "-"


def to_json(
    outcomes: Outcomes,
    workloads: Sequence[Workload],
    machine: Mapping[str, str],
    absent: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """`{"W2": {"flowmaestro": {"value": …, "unit": "steps/s", …}, "dbos": …}, …}`.

    A contender without a figure has the value null and an `error` or the reason it is `absent`.
    """
    document: dict[str, dict[str, Any]] = {}
    for workload in workloads:
        records = {
            name: _record(outcome, workload) | {"machine": dict(machine)}
            for name, outcome in outcomes[workload.id].items()
        }
        for name, reason in absent.items():
            records[name] = {"value": None, "unit": workload.unit, "absent": reason}
        document[workload.id] = records
    return document


def _record(outcome: Outcome, workload: Workload) -> dict[str, Any]:
    if outcome.error:
        return {"value": None, "unit": workload.unit, "error": outcome.error}
    rows = {
        row: _figure(summarize(_rounds_of(outcome, row)), workload.unit_of(row))
        for row in outcome.rounds[0]
    }
    return {
        **rows.pop(""),
        "load": outcome.loads,
        "version": outcome.version,
        "detail": rows,
    }


def _figure(summary: Summary, unit: str) -> dict[str, Any]:
    return {
        "value": round(summary.value, 4),
        "unit": unit,
        "min": round(summary.low, 4),
        "max": round(summary.high, 4),
        "p95": round(summary.p95, 4),
        "rounds": summary.rounds,
        "samples": summary.samples,
    }


def _rounds_of(outcome: Outcome, row: str) -> list[list[float]]:
    return [series[row] for series in outcome.rounds]


def to_text(
    outcomes: Outcomes,
    workloads: Sequence[Workload],
    sizes: Sizes,
    machine: Mapping[str, str],
    absent: Mapping[str, str],
) -> str:
    """The table, the machine it was measured on, and who was measured."""
    names = list(dict.fromkeys(name for row in outcomes.values() for name in row))
    table = [["", "", *names]]
    for workload in workloads:
        table += _rows(outcomes[workload.id], workload, sizes, names)
    lines = _aligned(table)
    lines += ["", "median (min-max of the rounds' medians); machine: " + _joined(machine)]
    lines += [f"{name}: {version}" for name, version in _versions(outcomes).items()]
    lines += [f"{name}: absent, {reason}" for name, reason in absent.items()]
    lines += [
        f"{workload.id} {name}: failed, {outcome.error}"
        for workload in workloads
        for name, outcome in outcomes[workload.id].items()
        if outcome.error
    ]
    return "\n".join([*lines, *_beside_the_floor(outcomes)])


def _rows(
    by_name: Mapping[str, Outcome], workload: Workload, sizes: Sizes, names: Sequence[str]
) -> list[list[str]]:
    keys = dict.fromkeys(
        key for outcome in by_name.values() if outcome.rounds for key in outcome.rounds[0]
    )
    title = f"{workload.id}  {workload.title_for(sizes)}"
    return [
        [f"    {key}" if key else title, workload.unit_of(key)]
        + [_cell(by_name.get(name), key) for name in names]
        for key in keys or {"": None}
    ]


def _cell(outcome: Outcome | None, row: str) -> str:
    if outcome is None or not outcome.rounds or outcome.error or row not in outcome.rounds[0]:
        return NOTHING
    summary = summarize(_rounds_of(outcome, row))
    value, low, high = (_number(each) for each in (summary.value, summary.low, summary.high))
    return value if summary.rounds == 1 else f"{value} ({low}-{high})"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def _joined(machine: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def _versions(outcomes: Outcomes) -> dict[str, str]:
    return {
        name: outcome.version
        for row in outcomes.values()
        for name, outcome in row.items()
        if outcome.version
    }


def _beside_the_floor(outcomes: Outcomes) -> list[str]:
    """How far W1 is from the floor measured in the same rounds."""
    row = outcomes.get("W1", {})
    ours, floor = row.get("flowmaestro"), row.get("floor")
    if not (ours and floor and ours.rounds and floor.rounds):
        return []
    ratio = summarize(_rounds_of(ours, "")).value / summarize(_rounds_of(floor, "")).value
    return [f"W1: flowmaestro takes {ratio:.2f} times the floor"]
