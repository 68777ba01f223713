"""chartGeneration: draw data as a PNG or SVG of the run."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from executions import documents
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.rows import number, numeric_columns, table, unnested, value_of
from executions.nodes.stored import put_new, safe_name, with_ending
from executions.rules.comparisons import to_text

Json = Any

MAX_POINTS = 20_000
MAX_SERIES = 50
_KINDS = {
    "column": "bar", "columns": "bar", "bars": "bar", "barchart": "bar", "horizontalbar": "bar",
    "stackedbar": "bar", "lines": "line", "linechart": "line", "spline": "line",
    "piechart": "pie", "donut": "doughnut", "ring": "doughnut", "areachart": "area",
    "points": "scatter", "scatterplot": "scatter", "bubble": "scatter", "hist": "histogram",
}  # fmt: skip
_LABELS = ("xField", "xKey", "xAxis", "labelField", "labelKey", "categoryField", "x")
_VALUES = ("yFields", "yField", "yKey", "yAxis", "valueField", "valueKey", "series", "y")


class ChartConfig(NodeConfig):
    """What to draw, and how."""

    data: Json = Field(..., title="Data", description="A list of objects, or labels and datasets")
    chart_type: Literal["bar", "line", "pie", "doughnut", "scatter", "area", "histogram"] = Field(
        "bar", title="Kind"
    )
    x_field: str | None = Field(None, title="Labels", description="The column with the labels")
    y_fields: tuple[str, ...] = Field((), title="Values", description="Columns; empty means all")
    title: str = Field("", title="Title")
    x_label: str = Field("", title="Below")
    y_label: str = Field("", title="Beside")
    format: Literal["png", "svg"] = Field("png", title="Format")
    file_name: str = Field("chart", title="Name")
    width: int = Field(800, title="Width", ge=100, le=4_000)
    height: int = Field(500, title="Height", ge=100, le=4_000)
    stacked: bool = Field(False, title="Stacked")
    horizontal: bool = Field(False, title="Lying")
    legend: bool = Field(True, title="Legend")
    dark: bool = Field(False, title="Dark")
    colors: tuple[str, ...] = Field((), title="Colours")


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    for name in ("dataSource", "input", "inputData", "source"):
        if config.get("data") in (None, ""):
            config["data"] = config.get(name)
    if config["data"] in (None, ""):
        del config["data"]
    options = config.get("options")
    if isinstance(options, dict):
        config = {**options, **{k: v for k, v in config.items() if v is not None}}
    kind = str(config.get("chartType") or config.get("type") or config.get("kind") or "bar")
    key = kind.lower().replace("-", "").replace("_", "").replace(" ", "")
    config["horizontal"] = config.get("horizontal") is True or key == "horizontalbar"
    config["stacked"] = config.get("stacked") is True or key.startswith("stacked")
    config["chartType"] = _KINDS.get(key, key)
    _read_fields(config)
    for name in ("filename", "outputFileName", "outputPath"):
        if config.get("fileName") in (None, "") and isinstance(config.get(name), str):
            config["fileName"] = config[name]
    kind = str(config.get("format") or config.get("outputFormat") or "").lower()
    config["format"] = kind if kind in ("png", "svg") else "png"
    config["dark"] = config.get("dark") is True or config.get("theme") == "dark"
    given = config.get("colors")
    config["colors"] = [str(each) for each in given][:50] if isinstance(given, list) else []
    for name in ("fileName", "title", "xLabel", "yLabel"):
        if not isinstance(config.get(name), str) or not config[name]:
            config.pop(name, None)
    for name in ("width", "height", "legend"):
        if config.get(name) is None:
            config.pop(name, None)
    return config


def _read_fields(config: dict[str, Json]) -> None:
    """Columns and the words beside the axes; an axis may be a name or {field, label}."""
    labels = values = None
    for name in _LABELS:
        found = config.get(name)
        if isinstance(found, dict):
            config.setdefault("xLabel", found.get("label"))
            found = found.get("field", found.get("key"))
        labels = labels or (found if isinstance(found, str) and found else None)
    for name in _VALUES:
        found = config.get(name)
        if isinstance(found, dict):
            config.setdefault("yLabel", found.get("label"))
            found = found.get("field", found.get("key"))
        items = found if isinstance(found, list) else [found]
        names = [item.get("field", item.get("key")) if isinstance(item, dict) else item
                 for item in items]  # fmt: skip
        names = [item for item in names if isinstance(item, str) and item]
        values = values or names
    config["xField"], config["yFields"] = labels, values or []
    config.setdefault("xLabel", config.get("xAxisLabel"))
    config.setdefault("yLabel", config.get("yAxisLabel"))


@node(
    "chartGeneration",
    synonyms=("chart", "chart-generation", "generateChart"),
    title="Draw a chart",
    config=ChartConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="bar-chart",
    dialect=_dialect,
)
async def chart(call: NodeCall[ChartConfig]) -> NodeResult:
    """Draw data as a chart and keep the picture with the run."""
    config, render = call.config, call.render
    asked = _plotted(call)
    points = sum(len(each["values"]) for each in asked["series"])
    if points > MAX_POINTS or len(asked["series"]) > MAX_SERIES:
        raise BadConfig(
            f"{points:,} points in {len(asked['series'])} series are too many to be seen; "
            f"{MAX_POINTS:,} in {MAX_SERIES} may be.",
            field="data",
        )
    if not points:
        raise BadConfig("The data holds nothing to draw.", field="data")
    asked |= {
        "type": config.chart_type, "title": render.text(config.title),
        "xLabel": render.text(config.x_label), "yLabel": render.text(config.y_label),
        "width": config.width, "height": config.height, "stacked": config.stacked,
        "horizontal": config.horizontal, "legend": config.legend, "dark": config.dark,
        "colors": list(config.colors), "format": config.format,
    }  # fmt: skip
    data = json.dumps(asked).encode()
    _, picture = await documents.work("charts", {"operation": "chart"}, data, megabytes=512)
    name = with_ending(safe_name(render.text(config.file_name)) or "chart", config.format)
    kept = await put_new(name, picture)
    output = {
        **kept.as_json(),
        "chartType": config.chart_type,
        "format": config.format,
        "width": config.width,
        "height": config.height,
        "dataPoints": points,
    }
    return NodeResult(output=call.wrap(output))


def _plotted(call: NodeCall[ChartConfig]) -> dict[str, Json]:
    """Labels and series of the data: {labels, xs, series: [{name, values}]}."""
    data = value_of(call, call.config.data)
    if isinstance(data, dict) and isinstance(data.get("labels"), list):
        return _of_datasets(data)
    if isinstance(data, dict) and isinstance(data.get("datasets"), list):
        return _of_datasets({"labels": [], **data})
    columns, rows = table(unnested(data), field="data")
    if not columns and rows and all(len(row) == 2 for row in rows):
        columns = ["x", "y"]
    columns = columns or [f"column{number + 1}" for number in range(max(map(len, rows), default=0))]
    rows = [[*row, *[None] * (len(columns) - len(row))] for row in rows]
    return _of_table(call.config, columns, rows)


def _of_datasets(data: dict[str, Json]) -> dict[str, Json]:
    """The shape of Chart.js."""
    sets = data.get("datasets")
    if not isinstance(sets, list):
        sets = [{"data": data.get("values", data.get("data", data.get("series")))}]
    series: list[tuple[str, list[float | None]]] = []
    places: list[float | None] | None = None
    for place, each in enumerate(sets):
        inner = each.get("data", each.get("values")) if isinstance(each, dict) else each
        values = inner if isinstance(inner, list) else []
        if values and all(isinstance(item, dict) and "y" in item for item in values):
            places = places or [number(item.get("x")) for item in values]
            values = [item["y"] for item in values]
        name = each.get("label", each.get("name")) if isinstance(each, dict) else None
        name = to_text(name) if name else f"series {place + 1}"
        series.append((_named(name), [number(item) for item in values]))
    length = max((len(values) for _, values in series), default=0)
    labels = [to_text(label) for label in data["labels"]][:length]
    labels += [str(place + 1) for place in range(len(labels), length)]
    usable = places is not None and len(places) == length and None not in places
    return {
        "labels": labels,
        "xs": places if usable else None,
        "series": [
            {"name": name, "values": [*values, *[None] * (length - len(values))]}
            for name, values in series
        ],
    }


def _of_table(config: ChartConfig, columns: list[str], rows: list[list[Json]]) -> dict[str, Json]:
    for name in (*config.y_fields, *([config.x_field] if config.x_field else ())):
        if name not in columns:
            known = ", ".join(repr(column) for column in columns[:20]) or "none"
            raise BadConfig(f"The data has no column {name!r}; it has {known}.", field="data")
    numeric = numeric_columns(columns, rows)
    label = config.x_field or next((column for column in columns if column not in numeric), None)
    of_numbers = config.chart_type in ("scatter",) and label is None and len(numeric) > 1
    if of_numbers:
        label = numeric[0]
    values = config.y_fields or tuple(column for column in numeric if column != label)
    if not values:
        raise BadConfig("The data has no column of numbers to draw.", field="data")
    at = {column: place for place, column in enumerate(columns)}
    labels = [to_text(row[at[label]]) if label else str(n + 1) for n, row in enumerate(rows)]
    places = None
    if label in numeric and config.chart_type in ("scatter", "line", "area"):
        found = [number(row[at[label]]) for row in rows]
        places = None if None in found else found
    series = [
        {"name": _named(column), "values": [number(row[at[column]]) for row in rows]}
        for column in values
    ]
    return {"labels": labels, "xs": places, "series": series}


def _named(name: str) -> str:
    """A name for the legend, which leaves out those that begin with an underscore."""
    return "\u200b" + name if name.startswith("_") else name
