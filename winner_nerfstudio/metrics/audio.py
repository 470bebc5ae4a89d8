"""Figures that sounds are compared by."""

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

    figures: dict[str, float] = {}
    loud = [c for c in range(truth.shape[1]) if truth[:, c].any()]
    got, wanted = (torch.from_numpy(x[:, loud]).T.contiguous() for x in (fitted, truth))
    if loud:
        figures["snr"] = float(signal_noise_ratio(got, wanted).mean())
        if truth.shape[0] > 1:
            figures["si_snr"] = float(scale_invariant_signal_noise_ratio(got, wanted).mean())
        if truth.shape[0] >= SHORTEST:
            distances = [log_spectral_distance(a, b) for a, b in zip(got, wanted, strict=True)]
            figures["log_spectral_distance"] = sum(distances) / len(distances)
    return figures


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
