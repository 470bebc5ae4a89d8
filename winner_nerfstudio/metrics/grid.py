"""Metrics of a fit to a regularly sampled signal with any number of axes."""

from collections.abc import Callable
from math import isinf, isnan, log10, sqrt
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from ..signals.grid import Grid
from ..signals.interpolation import interpolate
from ..signals.lattice import Lattice

Function = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n c"]]

RANGE = 2.0
"""The data range in the network's units, [-1, 1]."""
BLOCK = 1 << 18
"""Samples that are evaluated and compared at a time, which limits the memory."""
BETWEEN_POINTS = 1 << 16
"""The most points between samples at which a fit is compared with its target."""
_SEED = 20_250_909


def evaluate_grid(function: Function, lattice: Lattice, index: Int[ndarray, " n"] | None = None) -> ndarray:
    """Return the fitted values at samples of a lattice, float32: [n, c] at `index`, or [*axes, c] at all samples.

    Args:
        function: the fit, a function of coordinates [n, d].
        lattice: the lattice on which the samples lie.
        index: indices of the samples; None means all.
    """
    count = lattice.count if index is None else len(index)
    values: ndarray | None = None
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        block_index = torch.arange(start, stop) if index is None else torch.from_numpy(index[start:stop]).long()
        block = function(lattice.coords(block_index)).cpu().numpy()
        if values is None:
            values = np.empty((count, block.shape[-1]), np.float32)
        values[start:stop] = block
    if values is None:
        raise ValueError("no samples to evaluate")
    return values.reshape(*lattice.shape, -1) if index is None else values


def root_mean_square(first: ndarray, second: ndarray) -> float:
    """Compute the root mean square of the difference of two arrays of one shape, in float64 and in blocks."""
    a, b = first.reshape(-1), second.reshape(-1)
    total = sum(
        float(np.square(a[i : i + BLOCK].astype(np.float64) - b[i : i + BLOCK]).sum()) for i in range(0, len(a), BLOCK)
    )
    return sqrt(total / max(len(a), 1))


def psnr(error: float, peak: float = RANGE) -> float:
    """Compute ``20 log10(peak / error)`` in dB for a root mean square `error`.

    It is infinity for no error, -infinity for one without a limit, and NaN for one that is NaN or without a peak, as of
    a constant target's range.
    """
    if error == 0:
        return float("inf")
    if isinf(error):
        return float("-inf")
    return 20 * log10(peak / error) if not isnan(error) and peak > 0 else float("nan")


def mean_psnr(signal: Grid) -> float:
    """Compute the ``psnr`` in dB of the mean of each channel over the fitted samples; infinity if they are constant."""
    truth = signal.truth.reshape(-1, signal.channels)
    fitted = truth if signal.fitted is None else truth[signal.fitted]
    mean = fitted.mean(0, dtype=np.float64).astype(fitted.dtype)
    return psnr(root_mean_square(fitted, np.broadcast_to(mean, fitted.shape)))


def intersection_over_union(a: Bool[ndarray, " n"], b: Bool[ndarray, " n"]) -> float:
    """Compute the intersection over union of two sets, given by their masks; 0 if both are empty."""
    return float((a & b).sum() / max((a | b).sum(), 1))


class Quick(NamedTuple):
    """The indices of the samples at which metrics are computed repeatedly during a run."""

    fitted: Int[ndarray, " n"]
    held_out: Int[ndarray, " m"]


def quick_samples(signal: Grid, most: int) -> Quick:
    """Return all samples, or a fixed random choice of at most `most` fitted and `most` held-out ones."""
    rng = np.random.default_rng(_SEED)

    def pick(index: ndarray) -> ndarray:
        return index if len(index) <= most else np.sort(rng.choice(index, most, replace=False))

    if signal.fitted is not None:
        return Quick(pick(signal.fitted), pick(signal.held_out))
    count = signal.lattice.count
    # Independent random integers, because a permutation of a long signal would take seconds.
    every = np.arange(count) if count <= most else np.unique(rng.integers(count, size=most))
    return Quick(every, np.empty(0, np.int64))


def quick_metrics(
    evaluate: Callable[[Int[ndarray, " n"]], Float[ndarray, "n c"]], signal: Grid, samples: Quick
) -> dict[str, float]:
    """Compute ``psnr`` and ``psnr_held_out`` as `grid_metrics` does, but only at the given samples.

    Args:
        evaluate: the fit, a function from the indices of samples to its values there, in the network's units.
        signal: the signal that was fitted.
        samples: the samples.

    If a clean signal is known, ``psnr_noisy`` and ``psnr_held_out_noisy`` are the same against the noisy target.
    """
    truth, target = (values.reshape(-1, signal.channels) for values in (signal.truth, signal.values))
    metrics = {}
    for name, index in (("psnr", samples.fitted), ("psnr_held_out", samples.held_out)):
        if len(index):
            fitted = evaluate(index)
            metrics[name] = psnr(root_mean_square(fitted, truth[index]))
            if signal.clean is not None:
                metrics[f"{name}_noisy"] = psnr(root_mean_square(fitted, target[index]))
    return metrics


def grid_metrics(function: Function, signal: Grid, fitted: Float[ndarray, "*axes c"]) -> dict[str, float]:
    """Compute metrics against the truth: the clean signal if it is known, else the target.

    Args:
        function: the fit, a function of coordinates [n, d].
        signal: the signal that was fitted.
        fitted: the fit at every sample, in the network's units.

    Returns:
        Values in dB: ``psnr`` at the fitted samples, with the data range as peak (255 for an 8-bit image, twice the
        greatest magnitude for a sound); ``psnr_peak_to_peak``, with the truth's maximum minus its minimum as peak;
        ``psnr_paper``, ``20 log10(1 / rmse)`` of signals in [-1, 1] as in arXiv 2509.09719, 6.02 dB below ``psnr``;
        ``psnr_between``, half-way between neighbouring samples along every axis, against the truth interpolated with a
        Lanczos window; ``psnr_anywhere``, the same at random positions; ``psnr_held_out`` at the samples that were not
        fitted, if there are any; ``psnr_target``, that of the noisy target itself, if a clean signal is known. Samples
        that hold no data don't count.
    """
    truth, values = (x.reshape(-1, signal.channels) for x in (signal.truth, fitted))
    selection = slice(None) if signal.fitted is None else signal.fitted
    error = root_mean_square(values[selection], truth[selection])
    metrics = {
        "psnr": psnr(error),
        "psnr_peak_to_peak": psnr(error, float(truth.max()) - float(truth.min())),
        "psnr_paper": psnr(error, 1.0),
        "psnr_between": psnr(between_error(function, signal)),
        "psnr_anywhere": psnr(between_error(function, signal, anywhere=True)),
    }
    if len(signal.held_out):
        metrics["psnr_held_out"] = psnr(root_mean_square(values[signal.held_out], truth[signal.held_out]))
    if signal.clean is not None and signal.derivatives is None:
        target = signal.values.reshape(truth.shape)
        metrics["psnr_target"] = psnr(root_mean_square(target[selection], truth[selection]))
    return metrics


def derivatives_snr(function: Callable[[Tensor], Tensor], signal: Grid, index: Int[ndarray, " n"]) -> float:
    """Compute the signal-to-noise ratio in dB of derivatives: the rms of the data over that of the error.

    Args:
        function: the derivatives of the fit, [n, c, k], a function of coordinates [n, d].
        signal: the signal that was fitted by its derivatives.
        index: indices of the samples at which they are compared.
    """
    assert signal.derivatives is not None
    data = signal.derivatives.data
    data = data.reshape(-1, *data.shape[-2:])[index]
    blocks = torch.from_numpy(index).long().split(BLOCK >> 5)  # derivatives need more memory than values
    fitted = np.concatenate([function(signal.lattice.coords(block)).cpu().numpy() for block in blocks])
    return psnr(root_mean_square(fitted, data), root_mean_square(data, np.zeros_like(data)))


def between_error(function: Function, signal: Grid, anywhere: bool = False) -> float:
    """Compute the root mean square error between samples, at up to `BETWEEN_POINTS` random points.

    The truth there is interpolated, see `interpolate`. The error of a signal of one sample is 0. Points next to samples
    that hold no data are left out; the error is NaN if none is left.

    Args:
        function: the fit, a function of coordinates [n, d].
        signal: the signal that was fitted.
        anywhere: whether the points lie at random positions between the samples, and not half-way along every axis.
    """
    shape = signal.lattice.shape
    rng = np.random.default_rng(_SEED)
    total = int(np.prod([max(n - 1, 1) for n in shape], dtype=np.int64))
    if total == 1 and signal.lattice.count == 1:
        return 0.0
    flat = np.arange(total) if total <= BETWEEN_POINTS else rng.integers(total, size=BETWEEN_POINTS)
    corner = np.stack(np.unravel_index(flat, [max(n - 1, 1) for n in shape]), -1)
    several = np.array([n > 1 for n in shape])
    offset = (rng.random(corner.shape) if anywhere else np.full(corner.shape, 0.5)) * several
    if signal.missing is not None:
        kept = ~_touches(signal.missing, corner, several)
        corner, offset = corner[kept], offset[kept]
        if len(corner) == 0:
            return float("nan")
    summed = 0.0
    for start in range(0, len(corner), 1 << 13):
        block = slice(start, start + (1 << 13))
        expected = interpolate(signal.truth, corner[block], offset[block])
        fitted = function(signal.lattice.at(torch.from_numpy(corner[block] + offset[block]))).cpu().numpy()
        summed += float(np.square(fitted.astype(np.float64) - expected).sum())
    return sqrt(summed / (len(corner) * signal.channels))


def _touches(
    missing: Bool[ndarray, "*axes"], low: Int[ndarray, "n d"], several: Bool[ndarray, " d"]
) -> Bool[ndarray, " n"]:
    """Return whether one of the samples around each point half a sample above the index `low` is missing."""
    around = np.stack(np.meshgrid(*[[0, 1] if above else [0] for above in several], indexing="ij"), -1)
    index = low[:, None] + around.reshape(-1, low.shape[1])
    touched: Bool[ndarray, " n"] = missing[tuple(np.moveaxis(index, -1, 0))].any(-1)
    return touched
