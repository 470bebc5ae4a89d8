"""What a run shows of its quality while it goes, and when it is measured."""

import math

from ..metrics.descriptions import name_metric

SECONDS_PER_UPDATE = 0.5
"""Least time in seconds between two reads of the loss from the device."""
LINES_PER_RUN = 10
"""Number of progress lines of a run whose output is not a terminal."""
LEAST_STEPS_PER_MEASUREMENT = 10
"""Least number of steps between two computations of the metrics during the training."""
STEPS_PER_POINT = 20
"""Number of steps between two such computations for each point of a step's batch at which the metrics are computed."""
Entry = list
"""An entry of a run's history: the step, the mean loss since the entry before, and the metrics by name."""


def steps_per_measurement(points: int, batch_size: int) -> int:
    """Return the number of steps between two computations of the metrics, which take about a fiftieth of the time.

    A training step takes two to three times as long per point as an evaluation.

    Args:
        points: number of points at which the metrics are computed.
        batch_size: number of points per training step.
    """
    return max(LEAST_STEPS_PER_MEASUREMENT, STEPS_PER_POINT * points // batch_size)


def describe_status(loss: float, history: list[Entry]) -> str:
    """Return in words the current loss, and the last metrics with the step at which they were taken."""
    if not history or not history[-1][2]:
        return f"loss {loss:.4g}"
    step, _, metrics = history[-1]
    measured = ", ".join(f"{name_metric(name)} {value:.4g}" for name, value in metrics.items())
    return f"loss {loss:.4g}, {measured} at step {step}"


def update_best(best: dict[str, list[float]], metrics: dict[str, float], step: int) -> None:
    """Keep the best finite value of each metric, with its step."""
    for name, value in metrics.items():
        if math.isfinite(value) and (name not in best or value > best[name][0]):
            best[name] = [value, step]
