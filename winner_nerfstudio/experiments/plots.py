"""Plots of an experiment: curves, spectra of the error, fits side by side, fronts and sweeps."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..files import replacing
from ..metrics.descriptions import label_metric
from ..registry import kind_named
from ..signals.grid import Grid
from .config import Experiment, slugify
from .fronts import Fronts, pareto_front
from .runs import Done
from .sweeps import Sweeps
from .tables import Records, average_curves, baseline_level, find_curve, find_step

BANDS = 96
"""Bands between 0 and Nyquist that a spectrum is averaged over."""
FLOOR = -140.0
"""Decibels below which a spectrum isn't shown."""


def draw_curves(experiment: Experiment, records: Records, signal: str, folder: Path) -> Path:
    """Draw the metric over steps and over seconds of training.

    A mark shows where a variant first reaches the baseline's last value, a dotted line that value.
    """
    shown = [record for (name, _), group in records.items() if name == signal for record in group]
    metric, names = find_curve(experiment, shown), kind_named(experiment.kind).metric_names
    level = baseline_level(records, signal, experiment.baseline, metric)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for variant in [variant for name, variant in records if name == signal]:
        curve = average_curves(records[signal, variant], metric)
        for axis, key in zip(axes, ("step", "seconds"), strict=True):
            _draw_curve(axis, key, curve, _style(experiment, variant))
            if variant != experiment.baseline:
                _mark_reached(axis, key, curve, level, _style(experiment, variant)["color"])
    for axis, label in zip(axes, ("steps", "seconds of training"), strict=True):
        axis.set(xlabel=label)
        axis.grid(alpha=0.3)
        if math.isfinite(level):
            axis.axhline(level, color="black", lw=0.8, ls=":")
    axes[0].set(ylabel=names.curve_label if metric == names.curve else label_metric(metric), title=signal)
    axes[1].set_title("" if math.isnan(level) else f"dotted: {experiment.baseline} at its end; dots: first there")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return _save(figure, folder / f"{slugify(signal)}-curves.png")


def _draw_curve(axis: Axes, key: str, curve: list[dict[str, float]], style: dict[str, Any]) -> None:
    """Draw a mean curve over steps or seconds, its standard deviation shaded."""
    if not curve:
        return
    x, middle, spread = (np.array([point[name] for point in curve]) for name in (key, "mean", "spread"))
    axis.plot(x, middle, lw=1.3, **style)
    axis.fill_between(x, middle - spread, middle + spread, color=style["color"], alpha=0.15, lw=0)


def _mark_reached(axis: Axes, key: str, curve: list[dict[str, float]], level: float, color: str) -> None:
    """Mark the first point of a curve at or above a level, if there is one."""
    step = find_step(curve, level)
    if math.isfinite(step):
        first = next(point for point in curve if point["step"] == step)
        axis.plot(first[key], first["mean"], "o", color=color, ms=5, mec="black", mew=0.6)


def draw_spectra(
    experiment: Experiment, signal: str, target: Grid, values: dict[str, NDArray[Any]], folder: Path
) -> Path:
    """Draw the power of the error of each variant's first seed over frequency, against the target's.

    Args:
        experiment: The experiment.
        signal: The signal's name.
        target: The signal.
        values: Fitted samples by variant, [*axes, c].
        folder: Where to write the plot.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    frequency, power = compute_power_spectrum(target.truth)
    axis.plot(frequency, _to_decibels(power), color="0.6", lw=3, label="target")
    for variant, fitted in values.items():
        frequency, power = compute_power_spectrum(fitted - target.truth)
        axis.plot(frequency, _to_decibels(power), lw=1.2, **_style(experiment, variant))
    axis.set(xlabel="frequency (1 is Nyquist)", ylabel="power of the error (dB)", title=signal)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small")
    return _save(figure, folder / f"{slugify(signal)}-spectrum.png")


def draw_fits(experiment: Experiment, signal: str, target: Grid, values: dict[str, NDArray[Any]], folder: Path) -> Path:
    """Draw the target and the fit of each variant's first seed side by side; for the arguments see `draw_spectra`."""
    variants = [name for name in experiment.shown or values if name in values]
    shown = {"target": target.values, **{name: values[name] for name in variants}}
    figure, axes = _make_panels(len(shown), min(5, len(shown)), (2.6, 2.8), shared=True)
    for axis, (name, samples) in zip(axes, shown.items(), strict=True):
        kind_named(experiment.kind).draw(axis, target, samples)
        axis.set_title(name, fontsize="small")
    figure.suptitle(signal)
    return _save(figure, folder / f"{slugify(signal)}-fits.png")


def draw_fronts(experiment: Experiment, found: Fronts, folder: Path) -> Path | None:
    """Draw one metric over the other, a line for each group, a panel for each signal and for their mean.

    None if there is nothing to draw.
    """
    assert experiment.front is not None
    if not found:
        return None
    figure, axes = _make_panels(len(found), min(3, len(found)), (4.2, 3.6), shared=False)
    handles: dict[str, Any] = {}
    for axis, (signal, groups) in zip(axes, found.items(), strict=True):
        for index, (group, points) in enumerate(groups.items()):
            color = f"C{index}"
            x, y = np.array([[point.x, point.y] for point in points]).T
            axis.plot(x, y, "o", color=color, ms=4, alpha=0.4)
            line = axis.plot(*pareto_front(points), "o-", color=color, ms=4, lw=1)
            handles.setdefault(group, line[0])
        axis.set(title=signal, xlabel=experiment.front.x, ylabel=experiment.front.y)
        axis.grid(alpha=0.3)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    return _save(figure, folder / "front.png")


def draw_sweeps(experiment: Experiment, found: Sweeps, folder: Path) -> Path | None:
    """Draw each metric of the sweep over the weights per sample: a line for each group, a column for each noise.

    None if there is nothing to draw.
    """
    if not found:
        return None
    rows = len(experiment.sweep)
    figure = Figure(figsize=(4.2 * len(found), 3.2 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, len(found), squeeze=False, sharex=True, sharey="col")
    groups = list(dict.fromkeys(variant.group or name for name, variant in experiment.variants.items()))
    handles: dict[str, Any] = {}
    for column, (level, lines) in zip(panels.T, found.items(), strict=True):
        column[0].set_title("" if level is None else f"noise {level:g} dB below the signals")
        column[-1].set_xlabel("weights per sample")
        for row, axis in enumerate(column):
            axis.set_xscale("log")
            axis.grid(alpha=0.3)
            for group, points in lines.items():
                x, y = [point.weights for point in points], [point.values[row] for point in points]
                color = f"C{groups.index(group)}"
                handles.setdefault(group, axis.plot(x, y, "o-", color=color, ms=4, lw=1.2)[0])
    for axis, metric in zip(panels[:, 0], experiment.sweep, strict=True):
        axis.set_ylabel(f"{metric} (dB)")
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize="small")
    return _save(figure, folder / "sweep.png")


def compute_power_spectrum(samples: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean power of the lines along the last axis, all lines and channels, in bands of frequency.

    Args:
        samples: Channels last, [*axes, c].

    Returns:
        The bands' middles, 1 being Nyquist, and the mean of ``|rfft|^2 / n`` in each.
    """
    lines = np.moveaxis(samples, -2, -1).reshape(-1, samples.shape[-2]).astype(np.float64)
    power = np.zeros(lines.shape[1] // 2 + 1)
    for line in lines:
        power += np.abs(np.fft.rfft(line)) ** 2
    power /= lines.size
    frequency = np.fft.rfftfreq(lines.shape[1]) * 2
    bands = min(BANDS, len(frequency))
    index = np.minimum((frequency * bands).astype(int), bands - 1)
    count = np.bincount(index, minlength=bands)
    inside = count > 0
    middle = np.bincount(index, frequency, bands)[inside] / count[inside]
    return middle, np.bincount(index, power, bands)[inside] / count[inside]


def load_values(done: Done, signal: str) -> dict[str, NDArray[Any]]:
    """Return the kept samples, [*axes, c], of the variants of one signal, but for fits that aren't finite."""
    values = {}
    for run, _ in done:
        if run.signal == signal and run.keeps_values:
            with np.load(run.values_path) as kept:
                if np.isfinite(kept["values"]).all():
                    values[run.variant] = kept["values"]
    return values


def _make_panels(count: int, columns: int, size: tuple[float, float], shared: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, each of that size in inches.

    Args:
        count: How many panels.
        columns: How many stand side by side.
        size: Width and height of one.
        shared: Whether all have the same axes.
    """
    rows = -(-count // columns)
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).flat)
    for axis in axes[count:]:
        axis.set_visible(False)
    return figure, axes[:count]


def _style(experiment: Experiment, variant: str) -> dict[str, Any]:
    """Return the label, the colour and the dashes of a variant, the same in all plots."""
    index = list(experiment.variants).index(variant)
    return {"label": variant, "color": f"C{index % 10}", "ls": ("-", "--", "-.", ":")[index // 10 % 4]}


def _to_decibels(power: NDArray[Any]) -> NDArray[Any]:
    decibels: NDArray[Any] = np.maximum(10 * np.log10(np.maximum(power, 1e-300)), FLOOR)
    return decibels


def _save(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path
