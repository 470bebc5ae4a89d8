"""Metrics that sounds are compared by."""

from math import log10

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

WINDOW = 2048
"""Samples of a spectral frame; a shorter sound takes the greatest power of two that it holds."""
HOP_FRACTION = 4
SHORTEST = 16
"""Samples below which a sound has no spectrum to speak of."""
FLOOR = 1e-10
"""Least power of a bin, as a part of the truth's greatest: 100 dB below it is silence."""
SILENCE = 1e-5
"""Root mean square, relative to that of the loudest channel, below which a channel counts as silent."""
BLOCK = 1 << 20
FRAMES = 1024
"""Spectral frames at a time; what bounds the memory."""


def audio_metrics(fitted: Float[ndarray, "n c"], truth: Float[ndarray, "n c"]) -> dict[str, float]:
    """Metrics of a sound, each the mean over its channels; those `SILENCE` below the loudest are left out.

    Args:
        fitted: the fit, in the network's units.
        truth: what was to be fitted.

    Returns:
        In dB: ``snr``, the truth's power over that of the error; ``si_snr``, the same without means and after the
        truth's best scaling (Le Roux et al. 2019, arXiv 1811.02508), where the truth is no constant;
        ``log_spectral_distance``, see there, of sounds of at least `SHORTEST` samples.
    """
    metrics: dict[str, list[float]] = {}
    power = [_mean_product(truth[:, c], truth[:, c]) for c in range(truth.shape[1])]
    for channel, own in enumerate(power):
        if own <= SILENCE**2 * max(power):
            continue
        got, wanted = fitted[:, channel], truth[:, channel]
        metrics.setdefault("snr", []).append(_ratio(own, _mean_product(got - wanted, got - wanted)))
        # In single precision, as the samples are: a long sound would take gigabytes otherwise.
        got, centred = (x - np.float32(x.mean(dtype=np.float64)) for x in (got, wanted))
        varying = _mean_product(centred, centred)
        if varying > SILENCE**2 * own:
            part = _mean_product(got, centred) / varying
            residue = got - np.float32(part) * centred
            si_snr = _ratio(part**2 * varying, _mean_product(residue, residue))
            metrics.setdefault("si_snr", []).append(si_snr)
        if len(wanted) >= SHORTEST:
            pair = (torch.from_numpy(np.ascontiguousarray(x[:, channel])) for x in (fitted, truth))
            metrics.setdefault("log_spectral_distance", []).append(log_spectral_distance(*pair))
    return {name: sum(values) / len(values) for name, values in metrics.items()}


def _mean_product(first: Float[ndarray, " n"], second: Float[ndarray, " n"]) -> float:
    """The mean of the products, summed in float64 block by block."""
    blocks = range(0, len(first), BLOCK)
    return sum(float(first[i : i + BLOCK].astype(np.float64) @ second[i : i + BLOCK]) for i in blocks) / len(first)


def _ratio(signal: float, noise: float) -> float:
    return 10 * log10(signal / noise) if signal > 0 and noise > 0 else float("-inf" if noise > 0 else "inf")


def log_spectral_distance(fitted: Float[Tensor, " n"], truth: Float[Tensor, " n"]) -> float:
    """Log-spectral distance in dB (Gray and Markel 1976): how far apart two sounds' spectra are, frame by frame.

    The mean over frames of ``sqrt(mean_k (10 log10(P_k / Q_k))^2)``, P and Q the power spectra of Hann-windowed frames
    of `WINDOW` samples, a quarter of that apart; powers below `FLOOR` times the truth's greatest count as that.
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
    # A click on the very edge of the window has no power at all.
    floor = max(FLOOR * max(float(power(truth, start).max()) for start in starts), 1e-30)
    summed = 0.0
    for start in starts:
        ratio = 10 * torch.log10(power(fitted, start).clamp(min=floor) / power(truth, start).clamp(min=floor))
        summed += float(ratio.square().mean(-1).sqrt().sum())
    return summed / frames
