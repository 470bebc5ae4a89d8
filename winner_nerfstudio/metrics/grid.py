"""How well a fitted field matches a regularly sampled signal: metrics that any number of axes has."""

from collections.abc import Callable
from math import isnan, log10, sqrt
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from ..signals.grid import Grid
from ..signals.lattice import Lattice

Function = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n c"]]

RANGE = 2.0
"""The data range in the network's units, [-1, 1]."""
BLOCK = 1 << 18
"""Samples that are evaluated and compared at a time; bounds the memory of coordinates and differences."""
BETWEEN_POINTS = 1 << 16
"""Places between samples at which a fit is measured."""
LANCZOS_TAPS = 4
"""Half the number of samples, along each axis, that interpolate the target half-way between two."""
_SEED = 20_250_909


def evaluate_grid(function: Function, lattice: Lattice, index: Int[ndarray, " n"] | None = None) -> ndarray:
    """The fitted values at samples of a lattice, float32 [n, c], or [*axes, c] where no `index` picks some.

    Args:
        function: the fit, at coordinates [n, d].
        lattice: where the samples lie.
        index: numbers of the samples.
    """
    count = lattice.count if index is None else len(index)
    values: ndarray | None = None
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        numbers = torch.arange(start, stop) if index is None else torch.from_numpy(index[start:stop]).long()
        block = function(lattice.coords(numbers)).cpu().numpy()
        if values is None:
            values = np.empty((count, block.shape[-1]), np.float32)
        values[start:stop] = block
    if values is None:
        raise ValueError("no samples to evaluate")
    return values.reshape(*lattice.shape, -1) if index is None else values


def root_mean_square(first: ndarray, second: ndarray) -> float:
    """Of the difference of two arrays of one shape; in float64, block by block."""
    a, b = first.reshape(-1), second.reshape(-1)
    total = sum(
        float(np.square(a[i : i + BLOCK].astype(np.float64) - b[i : i + BLOCK]).sum()) for i in range(0, len(a), BLOCK)
    )
    return sqrt(total / max(len(a), 1))


def psnr(error: float, peak: float = RANGE) -> float:
    """``20 log10(peak / error)`` in dB for a root mean square `error`: infinite for 0, NaN for NaN."""
    if isnan(error):
        return error
    return 20 * log10(peak / error) if error > 0 and peak > 0 else float("inf")


def intersection_over_union(a: Bool[ndarray, " n"], b: Bool[ndarray, " n"]) -> float:
    """Of two sets, given by what belongs to them; 0 if both are empty."""
    return float((a & b).sum() / max((a | b).sum(), 1))


class Quick(NamedTuple):
    """The samples that are looked at again and again while a run goes on."""

    fitted: Int[ndarray, " n"]
    held_out: Int[ndarray, " m"]


def quick_samples(signal: Grid, most: int) -> Quick:
    """All samples, or a fixed random choice of `most` of those fitted and `most` of those held out."""
    rng = np.random.default_rng(_SEED)

    def pick(numbers: ndarray) -> ndarray:
        return numbers if len(numbers) <= most else np.sort(rng.choice(numbers, most, replace=False))

    if signal.fitted is not None:
        return Quick(pick(signal.fitted), pick(signal.held_out))
    count = signal.lattice.count
    # Integers drawn one by one, for a permutation of a long signal would take seconds.
    every = np.arange(count) if count <= most else np.unique(rng.integers(count, size=most))
    return Quick(every, np.empty(0, np.int64))


def quick_metrics(function: Function, signal: Grid, samples: Quick) -> dict[str, float]:
    """``psnr`` at some of the fitted samples and ``psnr_held_out`` at some of the others, as in `grid_metrics`."""
    truth = signal.truth.reshape(-1, signal.channels)
    metrics = {}
    for name, numbers in (("psnr", samples.fitted), ("psnr_held_out", samples.held_out)):
        if len(numbers):
            error = root_mean_square(evaluate_grid(function, signal.lattice, numbers), truth[numbers])
            metrics[name] = psnr(error)
    return metrics


def grid_metrics(function: Function, signal: Grid, fitted: Float[ndarray, "*axes c"]) -> dict[str, float]:
    """Metrics against the truth, which is the clean signal where it is known.

    Args:
        function: the fit, at coordinates [n, d].
        signal: what was to be fitted.
        fitted: the fit at every sample, in the network's units.

    Returns:
        In dB: ``psnr``, at the samples that were fitted, its peak the data range (an image's 255; twice a sound's
        greatest magnitude); ``psnr_peak_to_peak``, its peak the truth's own greatest value less its least;
        ``psnr_paper``, ``20 log10(1 / rmse)`` of signals in [-1, 1], as arXiv 2509.09719 has it, 6.02 dB below `psnr`;
        ``psnr_between``, half-way between neighbouring samples along every axis, against the truth interpolated by a
        Lanczos window; ``psnr_held_out``, at the samples that were not fitted, if there are any; ``psnr_target``, of
        the noisy target itself, if the truth is another.
    """
    truth, values = (x.reshape(-1, signal.channels) for x in (signal.truth, fitted))
    chosen = slice(None) if signal.fitted is None else signal.fitted
    error = root_mean_square(values[chosen], truth[chosen])
    metrics = {
        "psnr": psnr(error),
        "psnr_peak_to_peak": psnr(error, float(truth.max()) - float(truth.min())),
        "psnr_paper": psnr(error, 1.0),
        "psnr_between": psnr(between_error(function, signal)),
    }
    if signal.fitted is not None:
        metrics["psnr_held_out"] = psnr(root_mean_square(values[signal.held_out], truth[signal.held_out]))
    if signal.clean is not None:
        target = signal.values.reshape(truth.shape)
        metrics["psnr_target"] = psnr(root_mean_square(target[chosen], truth[chosen]))
    return metrics


def between_error(function: Function, signal: Grid) -> float:
    """Root mean square error half-way between samples, at most at `BETWEEN_POINTS` random places; 0 if there are none.

    The truth there is the samples' own interpolation by Lanczos' windowed sinc (Duchon 1979), `LANCZOS_TAPS` samples
    to either side along each axis, mirrored at the ends: all that samples say of a signal below half their rate.
    """
    shape = signal.lattice.shape
    rng = np.random.default_rng(_SEED)
    total = int(np.prod([max(n - 1, 1) for n in shape], dtype=np.int64))
    if total == 1 and signal.lattice.count == 1:
        return 0.0
    flat = np.arange(total) if total <= BETWEEN_POINTS else rng.integers(total, size=BETWEEN_POINTS)
    corner = np.stack(np.unravel_index(flat, [max(n - 1, 1) for n in shape]), -1)
    half = np.array([0.5 if n > 1 else 0.0 for n in shape])
    summed = 0.0
    for start in range(0, len(corner), 1 << 13):
        low = corner[start : start + (1 << 13)]
        expected = _half_way(signal.truth, low)
        got = function(signal.lattice.at(torch.from_numpy(low + half))).cpu().numpy()
        summed += float(np.square(got.astype(np.float64) - expected).sum())
    return sqrt(summed / (len(corner) * signal.channels))


def _half_way(values: Float[ndarray, "*axes c"], low: Int[ndarray, "n d"]) -> Float[ndarray, "n c"]:
    """Values interpolated half a sample above `low` along every axis that has more than one sample."""
    offset = np.arange(1 - LANCZOS_TAPS, LANCZOS_TAPS + 1)
    lanczos = np.sinc(offset - 0.5) * np.sinc((offset - 0.5) / LANCZOS_TAPS)
    weight = lanczos / lanczos.sum()
    index, kernel = [], np.ones(())
    for axis, size in enumerate(values.shape[:-1]):
        taps = _mirrored(low[:, axis, None] + offset, size) if size > 1 else low[:, axis, None]
        index.append(np.expand_dims(taps, [1 + other for other in range(low.shape[1]) if other != axis]))
        kernel = np.multiply.outer(kernel, weight if size > 1 else np.ones(1))
    gathered = values[tuple(index)].astype(np.float64)
    return np.einsum("nkc,k->nc", gathered.reshape(len(low), -1, values.shape[-1]), kernel.reshape(-1))


def _mirrored(index: Int[ndarray, "..."], size: int) -> Int[ndarray, "..."]:
    period = 2 * (size - 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded)
