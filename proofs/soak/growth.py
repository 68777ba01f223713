"""Whether something grew: a line through the second half of its samples. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was measured at one moment; a figure is called `kind: what`."""

    at: float
    """Seconds since the load began."""
    figures: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How much a kind of figure may grow over the second half: a share of its mean, at least…"""

    share: float
    least: float
    unit: str
    fails: bool = True
    """Whether too much growth is a fault; else it is told, since a busy machine does it too."""

    def allowed(self, mean: float) -> float:
        """In the figure's own unit."""
        return max(self.share * mean, self.least)


TOLERANCES = {
    "memory": Tolerance(share=0.05, least=6.0, unit="MiB"),
    "connections": Tolerance(share=0.0, least=2.0, unit=""),
    # Bytes of a table with its indexes, per live row: rows may grow, what each takes may not.
    "bloat": Tolerance(share=0.15, least=100.0, unit="bytes/row"),
    # Vacuum lets the share of dead rows rise and fall between its visits.
    "dead rows": Tolerance(share=0.0, least=0.15, unit="of all rows"),
    "claim": Tolerance(share=0.3, least=5.0, unit="ms", fails=False),
    "open runs": Tolerance(share=0.25, least=50.0, unit="", fails=False),
}
PRESENT = 0.9
"""A figure counts when so large a share of the second half's samples has it."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What one figure did over the second half."""

    name: str
    mean: float
    growth: float
    allowed: float
    unit: str
    fails: bool

    @property
    def is_too_much(self) -> bool:
        """Whether it grew more than its tolerance."""
        return self.growth > self.allowed

    @property
    def is_wrong(self) -> bool:
        """Whether that is a fault."""
        return self.is_too_much and self.fails

    def __str__(self) -> str:
        verdict = "GROWS" if self.is_wrong else "grows" if self.is_too_much else "ok"
        return (
            f"{self.name:<44} mean {self.mean:>10.2f}  {self.growth:>+9.2f}"
            f"  (allowed {self.allowed:.2f} {self.unit})".rstrip()
            + f"  {verdict}"
        )


def judge(
    samples: Sequence[Sample], tolerances: Mapping[str, Tolerance] = TOLERANCES
) -> list[Growth]:
    """How each figure grew over the second half of the samples, by name.

    The growth is that of the line of least squares between its ends, so that what merely swings
    does not count. Raises ValueError with fewer than two samples in the second half.
    """
    half = samples[len(samples) // 2 :]
    if len(half) < 2 or half[-1].at <= half[0].at:
        raise ValueError(f"{len(samples)} samples have no second half to judge.")
    names = sorted({name for sample in half for name in sample.figures})
    seconds = half[-1].at - half[0].at
    grown = []
    for name in names:
        points = [(one.at, one.figures[name]) for one in half if name in one.figures]
        if len(points) < max(2, PRESENT * len(half)):
            continue
        tolerance = tolerances[name.partition(":")[0]]
        mean = sum(value for _, value in points) / len(points)
        grown.append(
            Growth(
                name=name,
                mean=mean,
                growth=slope(points) * seconds,
                allowed=tolerance.allowed(mean),
                unit=tolerance.unit,
                fails=tolerance.fails,
            )
        )
    return grown


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the line of least squares through (x, y)."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    width = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / width if width else 0.0
