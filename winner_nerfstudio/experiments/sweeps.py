"""Metrics over the weights per sample: groups of variants that differ in the width of their layers."""

import math
from statistics import mean
from typing import NamedTuple

from .config import Experiment
from .tables import Records, mean_of_all

WEIGHTS = "weights_per_sample"
"""The metric that a sweep goes over."""


class SweepPoint(NamedTuple):
    """What a group's variant of one width has come to, means over the signals and seeds.

    Attributes:
        width: The width of the layers.
        weights: The weights per sample.
        values: The metrics of `Experiment.sweep`; NaN where a seed has none.
    """

    width: int
    weights: float
    values: tuple[float, ...]


Sweeps = dict[float | None, dict[str, list[SweepPoint]]]
"""The points of each group, in order of their weights, by the level of the signals' noise."""


def find_sweeps(experiment: Experiment, records: Records) -> Sweeps:
    """Return the points of all groups, of variants that have a record of each signal with that level of noise."""
    found: Sweeps = {}
    for level in dict.fromkeys(map(experiment.noise_level, experiment.signals)):
        signals = [name for name in experiment.signals if experiment.noise_level(name) == level]
        groups: dict[str, list[SweepPoint]] = {}
        for name, variant in experiment.variants.items():
            if all((signal, name) in records for signal in signals):
                weights, *values = (
                    mean(mean_of_all(records[signal, name], metric) for signal in signals)
                    for metric in (WEIGHTS, *experiment.sweep)
                )
                point = SweepPoint(variant.options["hidden_dim"], weights, tuple(values))
                groups.setdefault(variant.group or name, []).append(point)
        if groups:
            found[level] = {name: sorted(points, key=lambda point: point.weights) for name, points in groups.items()}
    return found


def format_sweeps(experiment: Experiment, found: Sweeps) -> str:
    """Return a table for each level of noise: groups by width, all metrics of the sweep in one cell.

    The weights per sample are those of the first group that has the width.
    """
    parts = []
    for level, groups in found.items():
        points = [point for group in groups.values() for point in group]
        weights = {point.width: point.weights for point in reversed(points)}
        noise = "" if level is None else f"Noise {level:g} dB below the signals; "
        lines = [f"{noise}{' / '.join(experiment.sweep)}, means over the signals:", ""]
        titles = [f"width {width}, {weights[width]:.2g} weights per sample" for width in sorted(weights)]
        lines += [f"| | {' | '.join(titles)} |", "|---" * (len(weights) + 1) + "|"]
        for name, group in groups.items():
            values = {point.width: point.values for point in group}
            cells = [_join(values.get(width, ()), experiment.digits) for width in sorted(weights)]
            lines.append(f"| {' | '.join([name, *cells])} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _join(values: tuple[float, ...], digits: int) -> str:
    return " / ".join("" if math.isnan(value) else f"{value:.{digits}f}" for value in values)
