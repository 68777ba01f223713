"""Draws charts as PNG or SVG; used in a chart's process only."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable
from typing import Any

# One thread: the process is forked, and its time is what counts.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The cache of fonts that the library wants to keep is of no use to a process that is forked ready.
with tempfile.TemporaryDirectory() as _folder:
    os.environ["MPLCONFIGDIR"] = _folder
    import matplotlib
    from matplotlib import colors as colours
    from matplotlib import style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from executions.sandbox.answers import Answer, Unreadable, evaluator, load_codecs

Json = Any

FONT = "DejaVu Sans"
PALETTE = ("#2563eb", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#14b8a6", "#ec4899", "#64748b")
_DPI = 100
_MANY_LABELS = 12
_LONG_LABEL = 40
_MAX_TICKS = 60
_SAMPLE = {
    "type": "bar", "title": "A", "xLabel": "x", "yLabel": "y", "labels": ["a", "b"], "xs": None,
    "series": [{"name": "s", "values": [1.0, 2.0]}, {"name": "t", "values": [2.0, None]}],
    "width": 300, "height": 200, "stacked": False, "horizontal": False, "legend": True,
    "colors": [], "dark": False, "format": "png",
}  # fmt: skip


def preload() -> None:
    """Load the library and its codecs; its fonts are opened by each process."""
    matplotlib.rcParams.update(
        {
            "font.family": [FONT],
            "svg.fonttype": "none",
            # Names in an SVG are made from this and the chart: the same chart, the same bytes.
            "svg.hashsalt": "flowmaestro",
            "text.parse_math": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.formatter.use_mathtext": False,
        }
    )
    load_codecs()


def prepare() -> Callable[[dict[str, Json], bytes], bytes]:
    """The function draws one chart; fonts are opened here, while files can be."""
    for kind in ("png", "svg"):
        draw(_SAMPLE | {"format": kind}, b"")
    draw(_SAMPLE | {"type": "pie"}, b"")
    return evaluator({"chart": lambda asked, data: draw(json.loads(data), b"")})


def draw(asked: dict[str, Json], _: bytes) -> Answer:
    """{width, height} and the picture."""
    size = (asked["width"] / _DPI, asked["height"] / _DPI)
    with matplotlib.rc_context():
        if asked["dark"]:
            style.use("dark_background")
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        _DRAW[asked["type"]](axes, asked)
        _label(axes, asked)
        target = io.BytesIO()
        if asked["format"] == "svg":
            figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})
    return {"width": asked["width"], "height": asked["height"]}, target.getvalue()


def _colors(asked: dict[str, Json]) -> list[str]:
    given = [each for each in asked["colors"] if colours.is_color_like(each)]
    return [*given, *PALETTE]


def _numbers(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _bar(axes: Axes, asked: dict[str, Json]) -> None:
    series, labels, colors = asked["series"], asked["labels"], _colors(asked)
    places = list(range(len(labels)))
    stacked, flat = asked["stacked"], asked["horizontal"]
    width = 0.8 if stacked else 0.8 / len(series)
    below = [0.0] * len(labels)
    for number, each in enumerate(series):
        values = [value or 0.0 for value in each["values"]]
        shift = 0.0 if stacked else (number - (len(series) - 1) / 2) * width
        at = [place + shift for place in places]
        color = colors[number % len(colors)]
        if flat:
            axes.barh(at, values, width, left=below if stacked else None, label=each["name"],
                      color=color)  # fmt: skip
        else:
            axes.bar(at, values, width, bottom=below if stacked else None, label=each["name"],
                     color=color)  # fmt: skip
        if stacked:
            below = [low + value for low, value in zip(below, values, strict=True)]
    if flat:
        axes.invert_yaxis()


def _line(axes: Axes, asked: dict[str, Json]) -> None:
    colors = _colors(asked)
    for number, each in enumerate(asked["series"]):
        axes.plot(
            asked["xs"] or range(len(each["values"])), _numbers(each["values"]),
            label=each["name"], color=colors[number % len(colors)], linewidth=2,
            marker="o" if len(each["values"]) <= 50 else None, markersize=4,
        )  # fmt: skip


def _area(axes: Axes, asked: dict[str, Json]) -> None:
    colors = _colors(asked)
    places = asked["xs"] or list(range(len(asked["labels"])))
    series = asked["series"]
    if asked["stacked"]:
        values = [[value or 0.0 for value in each["values"]] for each in series]
        names = [each["name"] for each in series]
        axes.stackplot(places, values, labels=names, colors=colors, alpha=0.85)
        return
    for number, each in enumerate(series):
        color = colors[number % len(colors)]
        axes.fill_between(places, _numbers(each["values"]), color=color, alpha=0.3)
        axes.plot(places, _numbers(each["values"]), label=each["name"], color=color)


def _scatter(axes: Axes, asked: dict[str, Json]) -> None:
    colors = _colors(asked)
    for number, each in enumerate(asked["series"]):
        places = asked["xs"] or range(len(each["values"]))
        axes.scatter(places, _numbers(each["values"]), label=each["name"], alpha=0.8,
                     color=colors[number % len(colors)])  # fmt: skip


def _pie(axes: Axes, asked: dict[str, Json]) -> None:
    values = [value or 0.0 for value in asked["series"][0]["values"]]
    if min(values, default=0) < 0 or sum(values) <= 0:
        raise Unreadable("A pie needs values of zero and more, and one above zero.")
    axes.pie(
        values, labels=[_short(label) for label in asked["labels"]], autopct="%1.1f%%",
        startangle=90, counterclock=False, colors=_colors(asked),
        wedgeprops={"width": 0.45} if asked["type"] in ("doughnut", "donut") else None,
    )  # fmt: skip
    axes.set_aspect("equal")


def _histogram(axes: Axes, asked: dict[str, Json]) -> None:
    colors = _colors(asked)
    for number, each in enumerate(asked["series"]):
        values = [value for value in each["values"] if value is not None]
        axes.hist(values, bins="sturges", label=each["name"], alpha=0.8,
                  color=colors[number % len(colors)])  # fmt: skip


_DRAW: dict[str, Callable[[Axes, dict[str, Json]], None]] = {
    "bar": _bar,
    "line": _line,
    "area": _area,
    "scatter": _scatter,
    "pie": _pie,
    "doughnut": _pie,
    "histogram": _histogram,
}


def _short(label: str) -> str:
    return label if len(label) <= _LONG_LABEL else label[: _LONG_LABEL - 1] + "…"


def _label(axes: Axes, asked: dict[str, Json]) -> None:
    if asked["title"]:
        axes.set_title(asked["title"][:200], fontsize=13, pad=12)
    if asked["type"] in ("pie", "doughnut"):
        return
    flat = asked["type"] == "bar" and asked["horizontal"]
    across, up = (asked["yLabel"], asked["xLabel"]) if flat else (asked["xLabel"], asked["yLabel"])
    axes.set_xlabel(across[:200])
    axes.set_ylabel(up[:200])
    axes.grid(True, axis="x" if flat else "y", alpha=0.25)
    axes.set_axisbelow(True)
    if asked["type"] != "histogram" and not asked["xs"]:
        labels = [_short(label) for label in asked["labels"]]
        step = max(1, -(-len(labels) // _MAX_TICKS))
        places = range(0, len(labels), step)
        shown = labels[::step]
        if flat:
            axes.set_yticks(places, shown)
        else:
            crowded = len(shown) > _MANY_LABELS or max(map(len, shown), default=0) > _MANY_LABELS
            axes.set_xticks(
                places, shown, rotation=45 if crowded else 0, ha="right" if crowded else "center"
            )
    if asked["legend"] and len(asked["series"]) > 1:
        axes.legend(frameon=False)
