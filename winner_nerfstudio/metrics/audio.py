"""Metrics of a fit to a sound."""

from math import isinf, isnan, log10

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

WINDOW = 2048
"""Samples of a spectral frame; for a shorter sound, the greatest power of two up to its length."""
HOP_FRACTION = 4
"""Spectral frames begin this fraction of a frame apart: a quarter."""
SHORTEST = 16
"""The fewest samples of a sound for which a spectral distance is computed."""
FLOOR = 1e-10
"""The least power of a frequency bin, relative to the truth's greatest: -100 dB."""
SILENCE = 1e-5
"""Root mean square, relative to that of the loudest channel, below which a channel counts as silent."""
BLOCK = 1 << 20
"""Samples that are multiplied and summed at a time, which limits the memory."""
FRAMES = 1024
"""Spectral frames that are compared at a time, which limits the memory."""


@np.errstate(invalid="ignore", over="ignore")  # a fit that has diverged holds infinities and NaN
def audio_metrics(
    fitted: Float[ndarray, "n c"], truth: Float[ndarray, "n c"], missing: Bool[ndarray, " n"] | None = None
) -> dict[str, float]:
    """Compute metrics of a sound, each the mean over its channels; silent ones (see `SILENCE`) are left out.

    Args:
        fitted: the fit, in the network's units.
        truth: the true sound, in the network's units.
        missing: where samples hold no data; they are left out, and for the spectral distance the fit is right there.

    Returns:
        Values in dB: ``snr``, the truth's power over that of the error; ``si_snr``, the same for signals without their
        means and with the truth scaled to match best (Le Roux et al. 2019, arXiv 1811.02508), unless the truth is
        constant; ``log_spectral_distance`` (see that function), for sounds of at least `SHORTEST` samples.
    """
    metrics: dict[str, list[float]] = {}
    known = slice(None) if missing is None else ~missing
    fitted = fitted if missing is None else np.where(missing[:, None], truth, fitted)
    power = [_compute_mean_product(truth[known, c], truth[known, c]) for c in range(truth.shape[1])]
    for channel, channel_power in enumerate(power):
        if channel_power <= SILENCE**2 * max(power):
            continue
        fit, reference = fitted[known, channel], truth[known, channel]
        metrics.setdefault("snr", []).append(
            to_decibels(channel_power, _compute_mean_product(fit - reference, fit - reference))
        )
        # In the samples' single precision, because a long sound would take gigabytes in float64.
        fit, centred = (x - np.float32(x.mean(dtype=np.float64)) for x in (fit, reference))
        varying = _compute_mean_product(centred, centred)
        if varying > SILENCE**2 * channel_power:
            part = _compute_mean_product(fit, centred) / varying
            residue = fit - np.float32(part) * centred
            si_snr = to_decibels(part**2 * varying, _compute_mean_product(residue, residue))
            metrics.setdefault("si_snr", []).append(si_snr)
        if len(truth) >= SHORTEST:
            pair = (torch.from_numpy(np.ascontiguousarray(x[:, channel])) for x in (fitted, truth))
            metrics.setdefault("log_spectral_distance", []).append(log_spectral_distance(*pair))
    return {name: sum(values) / len(values) for name, values in metrics.items()}


def _compute_mean_product(first: Float[ndarray, " n"], second: Float[ndarray, " n"]) -> float:
    """Compute the mean of the products, summed in float64 and in blocks."""
    blocks = range(0, len(first), BLOCK)
    return sum(float(first[i : i + BLOCK].astype(np.float64) @ second[i : i + BLOCK]) for i in blocks) / len(first)


def to_decibels(signal: float, noise: float) -> float:
    """Return the ratio of two powers in dB: infinity without noise, -infinity without a signal, NaN of a NaN."""
    if isnan(signal) or isnan(noise):
        return float("nan")
    if isinf(noise):
        return float("-inf")
    return 10 * log10(signal / noise) if signal > 0 and noise > 0 else float("-inf" if noise > 0 else "inf")


def log_spectral_distance(fitted: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> float:
    """Compute the log-spectral distance of two sounds in dB (Gray and Markel 1976).

    It is the mean over frames of ``sqrt(mean_k (10 log10(P_k / Q_k))^2)``. P and Q are the power spectra of frames of
    `WINDOW` samples with a Hann window, a quarter of a frame apart. Powers below `FLOOR` times the truth's greatest are
    raised to that.
    """
    size = min(WINDOW, 1 << (len(truth).bit_length() - 1))
    hop = size // HOP_FRACTION
    window = torch.hann_window(size)
    frames = 1 + (len(truth) - size) // hop

    def power(sound: Tensor, start: int) -> Tensor:
        stop = min(start + FRAMES, frames)
        piece = sound[start * hop : (stop - 1) * hop + size].unfold(0, size, hop)
        return torch.fft.rfft(piece * window).abs().square()

    starts = range(0, frames, FRAMES)
    # At least 1e-30, because a click at the very edge of the window has no power at all.
    floor = max(FLOOR * max(float(power(truth, start).max()) for start in starts), 1e-30)
    summed = 0.0
    for start in starts:
        ratio = 10 * torch.log10(power(fitted, start).clamp(min=floor) / power(truth, start).clamp(min=floor))
        summed += float(ratio.square().mean(-1).sqrt().sum())
    return summed / frames
