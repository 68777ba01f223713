"""Medians and percentiles of samples, and what several rounds of them say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(samples: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the samples lie, interpolated between neighbours."""
    ordered = sorted(samples)
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Several rounds of one series: the median of the round medians and their range."""

    value: float
    low: float
    high: float
    p95: float
    rounds: int
    samples: int


def summarize(rounds: Sequence[Sequence[float]]) -> Summary:
    """What the rounds say together; `p95` is taken over all samples.

    The median of medians keeps one disturbed round from moving the figure; the range shows it.
    """
    medians = [median(samples) for samples in rounds]
    every = [sample for samples in rounds for sample in samples]
    return Summary(
        value=median(medians),
        low=min(medians),
        high=max(medians),
        p95=percentile(every, 95),
        rounds=len(medians),
        samples=len(every),
    )
