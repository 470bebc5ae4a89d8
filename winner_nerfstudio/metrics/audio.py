"""Figures that sounds are compared by."""

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
FRAMES = 1024
"""Spectral frames at a time; what bounds the memory."""


def audio_figures(fitted: Float[ndarray, "n c"], truth: Float[ndarray, "n c"]) -> dict[str, float]:
    """Figures of a sound, each the mean over its channels.

    Args:
        fitted: the fit, in the network's units.
        truth: what was to be fitted.

    Returns:
        ``snr`` and ``si_snr`` in dB: signal to noise ratio, and the same after the best scaling and without means (Le
        Roux et al. 2019), both by torchmetrics and left out for channels of silence; ``log_spectral_distance`` in dB,
        see `log_spectral_distance`.
    """
    from torchmetrics.functional.audio import scale_invariant_signal_noise_ratio, signal_noise_ratio

    figures: dict[str, list[float]] = {}
    for channel in range(truth.shape[1]):
        if not truth[:, channel].any():
            continue
        # One channel at a time: the measures make several copies of what they are given.
        got, wanted = (torch.from_numpy(np.ascontiguousarray(x[:, channel])) for x in (fitted, truth))
        figures.setdefault("snr", []).append(float(signal_noise_ratio(got, wanted)))
        if len(wanted) > 1:
            figures.setdefault("si_snr", []).append(float(scale_invariant_signal_noise_ratio(got, wanted)))
        if len(wanted) >= SHORTEST:
            figures.setdefault("log_spectral_distance", []).append(log_spectral_distance(got, wanted))
    return {name: sum(values) / len(values) for name, values in figures.items()}


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
    floor = FLOOR * max(float(power(truth, start).max()) for start in starts)
    summed = 0.0
    for start in starts:
        ratio = 10 * torch.log10(power(fitted, start).clamp(min=floor) / power(truth, start).clamp(min=floor))
        summed += float(ratio.square().mean(-1).sqrt().sum())
    return summed / frames
