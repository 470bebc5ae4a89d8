"""What a gain in one metric costs in another: groups of variants as fronts, and how far one lies above the next."""

import math
from collections.abc import Sequence
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .config import MEAN, Experiment
from .tables import Records, mean_of_all

COMPARED = 200
"""Values of x at which two fronts are compared."""


class Point(NamedTuple):
    """A variant's two metrics, means over the seeds."""

    variant: str
    x: float
    y: float


Fronts = dict[str, dict[str, list[Point]]]
"""The points of each group, by signal; and of the mean over the signals."""


class Gap(NamedTuple):
    """How far one front lies above another at equal x, over the range of x that both have.

    Attributes:
        mean: The mean difference in y.
        least: The least difference.
        low: Where the range begins.
        high: Where it ends.
    """

    mean: float
    least: float
    low: float
    high: float


def find_fronts(experiment: Experiment, records: Records) -> Fronts:
    """Return the points of each signal and group; and their means, for variants that all signals have."""
    groups: dict[str, list[str]] = {}
    for name, variant in experiment.variants.items():
        groups.setdefault(variant.group or name, []).append(name)
    points = _find_points(experiment, records)
    found: Fronts = {}
    for signal in dict.fromkeys(signal for signal, _ in points):
        for group, names in groups.items():
            front = [points[signal, name] for name in names if (signal, name) in points]
            if front:
                found.setdefault(signal, {})[group] = front
    return found


def _find_points(experiment: Experiment, records: Records) -> dict[tuple[str, str], Point]:
    """Return the point of each signal and variant whose seeds all have one, the means over several signals last."""
    assert experiment.front is not None
    signals = list(dict.fromkeys(signal for signal, _ in records))
    points: dict[tuple[str, str], Point] = {}
    for (signal, variant), group in records.items():
        x, y = (mean_of_all(group, name) for name in (experiment.front.x, experiment.front.y))
        if math.isfinite(x) and math.isfinite(y):
            points[signal, variant] = Point(variant, x, y)
    for variant in experiment.variants if len(signals) > 1 else ():
        found = [points[signal, variant] for signal in signals if (signal, variant) in points]
        if len(found) == len(signals):
            points[MEAN, variant] = Point(variant, mean(p.x for p in found), mean(p.y for p in found))
    return points


def pareto_front(points: Sequence[Point]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return x and y of the points that no other is better than in both, by rising x; y falls along them."""
    best = [p for p in points if not any(q.x >= p.x and q.y >= p.y and (q.x, q.y) != (p.x, p.y) for q in points)]
    ordered = sorted({(p.x, p.y) for p in best})
    return np.array([x for x, _ in ordered]), np.array([y for _, y in ordered])


def compare_fronts(upper: Sequence[Point], lower: Sequence[Point]) -> Gap | None:
    """Return how far the first front lies above the second, with straight lines between their points.

    None if they have no x in common.
    """
    (x, y), (other_x, other_y) = pareto_front(upper), pareto_front(lower)
    low, high = max(x[0], other_x[0]), min(x[-1], other_x[-1])
    if low > high:
        return None
    at = np.linspace(low, high, COMPARED)
    difference = np.interp(at, x, y) - np.interp(at, other_x, other_y)
    return Gap(float(difference.mean()), float(difference.min()), float(low), float(high))


def format_gaps(experiment: Experiment, found: Fronts) -> str:
    """Return a table, in Markdown, of each group against the reference group; empty without a reference."""
    front = experiment.front
    if front is None or front.reference is None:
        return ""
    lines = [
        f"{front.y} at equal {front.x}, over the front of {front.reference}:",
        "",
        f"| signal | group | mean | least | {front.x} from | to |",
        "|---|---|---|---|---|---|",
    ]
    for signal, groups in found.items():
        for group, points in groups.items():
            if group == front.reference or front.reference not in groups:
                continue
            gap = compare_fronts(points, groups[front.reference])
            cells = [f"{value:.2f}" for value in gap] if gap else ["no common range", "", "", ""]
            lines.append(f"| {signal} | {group} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
