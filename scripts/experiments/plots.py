"""Plots of an experiment: curves, spectra of the error, fits side by side, and fronts."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from winner_nerfstudio.files import replacing
from winner_nerfstudio.signals.audio import Audio
from winner_nerfstudio.signals.grid import Grid

from .config import Experiment, slug
from .fronts import Fronts, envelope
from .runs import Run
from .tables import Records, curve_name, goal, mean_curve, steps_to

BANDS = 96
"""Bands between 0 and Nyquist that a spectrum is averaged over."""
FLOOR = -140.0
"""dB below which a spectrum isn't shown."""


def curves(experiment: Experiment, records: Records, signal: str, folder: Path) -> Path:
    """The figure over steps and over seconds of training; a mark where a variant first reaches the baseline's last."""
    name = curve_name(experiment)
    label = "IoU" if name == "iou" else "PSNR, peak 1 (dB)"
    level = goal(records, signal, experiment.baseline, name)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    variants = [variant for own, variant in records if own == signal]
    for variant in variants:
        curve = mean_curve(records[signal, variant], name)
        if not curve:
            continue
        middle, spread = (np.array([point[key] for point in curve]) for key in ("mean", "spread"))
        reached = steps_to(curve, level)
        for axis, key in zip(axes, ("step", "seconds"), strict=True):
            where = np.array([point[key] for point in curve])
            color = _color(experiment, variant)
            axis.plot(where, middle, color=color, label=variant, lw=1.3, ls=_dashes(experiment, variant))
            axis.fill_between(where, middle - spread, middle + spread, color=color, alpha=0.15, lw=0)
            if math.isfinite(reached) and variant != experiment.baseline:
                first = next(point for point in curve if point["step"] == reached)
                axis.plot(first[key], first["mean"], "o", color=color, ms=5, mec="black", mew=0.6)
    for axis, words in zip(axes, ("steps", "seconds of training"), strict=True):
        axis.set(xlabel=words)
        axis.grid(alpha=0.3)
        if math.isfinite(level):
            axis.axhline(level, color="black", lw=0.8, ls=":")
    axes[0].set(ylabel=label, title=signal)
    axes[1].set_title("" if math.isnan(level) else f"dotted: {experiment.baseline} at its end; dots: first there")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return _saved(figure, folder / f"{slug(signal)}-curves.png")


def spectra(experiment: Experiment, signal: str, target: Grid, values: dict[str, ndarray], folder: Path) -> Path:
    """The power of the error of each variant's first seed over frequency, against the target's."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    frequency, power = power_spectrum(target.truth)
    axis.plot(frequency, _decibels(power), color="0.6", lw=3, label="target")
    for variant, fitted in values.items():
        frequency, power = power_spectrum(fitted - target.truth)
        color, dashes = _color(experiment, variant), _dashes(experiment, variant)
        axis.plot(frequency, _decibels(power), color=color, ls=dashes, lw=1.2, label=variant)
    axis.set(xlabel="frequency (1 is Nyquist)", ylabel="power of the error (dB)", title=signal)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small")
    return _saved(figure, folder / f"{slug(signal)}-spectrum.png")


def side_by_side(experiment: Experiment, signal: str, target: Grid, values: dict[str, ndarray], folder: Path) -> Path:
    """The target and each variant's first seed: pictures, spectrograms of a sound's first channel, slices."""
    shown = {"target": target.values, **{name: values[name] for name in _shown(experiment, values)}}
    columns = min(5, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    for axis, (name, samples) in zip(axes.flat, shown.items(), strict=False):
        _draw(axis, target, samples)
        axis.set_title(name, fontsize="small")
    figure.suptitle(signal)
    return _saved(figure, folder / f"{slug(signal)}-fits.png")


def fronts(experiment: Experiment, found: Fronts, folder: Path) -> Path | None:
    """One figure over the other, a line for each group, a panel for each signal and for their mean; None if empty."""
    assert experiment.front is not None
    if not found:
        return None
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    handles: dict[str, Any] = {}
    for axis, (signal, groups) in zip(axes.flat, found.items(), strict=False):
        for number, (group, points) in enumerate(groups.items()):
            color = f"C{number}"
            x, y = np.array([[point.x, point.y] for point in points]).T
            axis.plot(x, y, "o", color=color, ms=4, alpha=0.4)
            line = axis.plot(*envelope(points), "o-", color=color, ms=4, lw=1)
            handles.setdefault(group, line[0])
        axis.set(title=signal, xlabel=experiment.front.x, ylabel=experiment.front.y)
        axis.grid(alpha=0.3)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles))
    return _saved(figure, folder / "front.png")


def power_spectrum(samples: ndarray) -> tuple[ndarray, ndarray]:
    """Mean power of the lines along the last axis, all lines and channels, in bands of frequency.

    Args:
        samples: channels last, [*axes, c].

    Returns:
        The bands' middles in parts of Nyquist, and the mean of ``|rfft|^2 / n`` in each.
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


def values_of(done: list[tuple[Run, dict[str, Any]]], signal: str) -> dict[str, ndarray]:
    """The kept samples of the variants of one signal; none of a fit that isn't finite."""
    values = {}
    for run, _ in done:
        if run.signal == signal and run.keeps_values:
            with np.load(run.values_path) as kept:
                if np.isfinite(kept["values"]).all():
                    values[run.variant] = kept["values"]
    return values


def _draw(axis: Axes, target: Grid, samples: ndarray) -> None:
    if isinstance(target, Audio):
        size = min(512, 1 << (len(samples).bit_length() - 3))
        rate = target.sample_rate / 1000
        axis.specgram(
            samples[:, 0] + 1e-12, NFFT=size, Fs=rate, noverlap=size * 3 // 4, cmap="magma", vmin=-120, vmax=0
        )
        axis.set(xlabel="ms", ylabel="kHz")
        axis.label_outer()
        return
    picture = samples[samples.shape[0] // 2] if target.dim == 3 else samples
    unit = (np.clip(picture[..., :3], -1, 1) + 1) / 2
    axis.imshow(unit if unit.shape[-1] == 3 else unit[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.axis("off")


def _shown(experiment: Experiment, values: dict[str, ndarray]) -> list[str]:
    return [name for name in experiment.shown or values if name in values]


def _color(experiment: Experiment, variant: str) -> str:
    return f"C{list(experiment.variants).index(variant) % 10}"


def _dashes(experiment: Experiment, variant: str) -> str:
    return ("-", "--", "-.", ":")[list(experiment.variants).index(variant) // 10 % 4]


def _decibels(power: ndarray) -> ndarray:
    return np.maximum(10 * np.log10(np.maximum(power, 1e-300)), FLOOR)


def _saved(figure: Figure, path: Path) -> Path:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path
