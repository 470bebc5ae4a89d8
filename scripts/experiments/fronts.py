"""What one figure costs in another: groups of variants as fronts, and how far one lies above the next."""

import math
from collections.abc import Sequence
from statistics import mean
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .config import Experiment
from .tables import Records, cell

PLACES = 200
"""Values of x at which two fronts are compared."""


class Point(NamedTuple):
    """A variant's two figures, means over the seeds."""

    variant: str
    x: float
    y: float


Fronts = dict[str, dict[str, list[Point]]]
"""Of each signal, and of their mean, the points of each group."""


class Gap(NamedTuple):
    """How far one front lies above another, at equal x, over the range of x that both have.

    Attributes:
        mean: difference in y.
        least: its least value.
        low: where the range begins.
        high: where it ends.
    """

    mean: float
    least: float
    low: float
    high: float


def fronts_of(experiment: Experiment, records: Records) -> Fronts:
    """The points of each group and signal; their means over the signals, of variants that all signals have."""
    assert experiment.front is not None
    groups: dict[str, list[str]] = {}
    for name, how in experiment.variants.items():
        groups.setdefault(how.group or name, []).append(name)
    signals = list(dict.fromkeys(signal for signal, _ in records))
    places: dict[tuple[str, str], Point] = {}
    for (signal, variant), group in records.items():
        x, y = (cell(group, figure).mean for figure in (experiment.front.x, experiment.front.y))
        if math.isfinite(x) and math.isfinite(y):
            places[signal, variant] = Point(variant, x, y)
    if len(signals) > 1:
        for variant in experiment.variants:
            own = [places[signal, variant] for signal in signals if (signal, variant) in places]
            if len(own) == len(signals):
                places["mean", variant] = Point(variant, mean(p.x for p in own), mean(p.y for p in own))
    found: Fronts = {}
    for signal in [*signals, *(["mean"] if len(signals) > 1 else [])]:
        for group_name, variants in groups.items():
            points = [places[signal, variant] for variant in variants if (signal, variant) in places]
            if points:
                found.setdefault(signal, {})[group_name] = points
    return found


def envelope(points: Sequence[Point]) -> tuple[ndarray, ndarray]:
    """The points that no other is better than in both, by rising x: y falls along them."""
    best = [p for p in points if not any(q.x >= p.x and q.y >= p.y and (q.x, q.y) != (p.x, p.y) for q in points)]
    ordered = sorted({(p.x, p.y) for p in best})
    return np.array([x for x, _ in ordered]), np.array([y for _, y in ordered])


def gap(upper: Sequence[Point], lower: Sequence[Point]) -> Gap | None:
    """How far the first front lies above the second, straight lines between their points; None if they share no x."""
    (x, y), (other_x, other_y) = envelope(upper), envelope(lower)
    low, high = max(x[0], other_x[0]), min(x[-1], other_x[-1])
    if low > high:
        return None
    places = np.linspace(low, high, PLACES)
    difference = np.interp(places, x, y) - np.interp(places, other_x, other_y)
    return Gap(float(difference.mean()), float(difference.min()), float(low), float(high))


def front_table(experiment: Experiment, found: Fronts) -> str:
    """Each group against the reference group, in Markdown; empty without a reference."""
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
            own = gap(points, groups[front.reference])
            cells = [f"{value:.2f}" for value in own] if own else ["no common range", "", "", ""]
            lines.append(f"| {signal} | {group} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
