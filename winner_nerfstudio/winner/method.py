"""WINNER's three formulas: the target's spectral centroid, the noise scales, the perturbed weights.

Source: "Spectral Bottleneck in Deep Neural Networks: Noise is All You Need" (arXiv 2509.09719, version 1), called the
paper below. A SIREN that is to be fitted to a target is initialised in three steps:

1. `spectral_centroid`: ``psi = 2 sum_k f_k |Y_k| / sum_k |Y_k|``, the mean frequency of the target.
2. `compute_published_scales`: ``s0 = a (1 - exp(-b z))`` and ``s1 = c z``, with ``z`` made of ``psi``.
3. `perturb_`: ``W0 += N(0, (s0 / omega_0)^2)`` and ``W1 += N(0, (s1 / omega_0)^2)``, the first two layers' weights.
"""

from collections.abc import Sequence
from math import exp

import torch
from torch import Tensor

from .samples import Samples, check_samples, iterate_lines


def spectral_centroid(signal: Samples, *, dim: int | None = None) -> float:
    """Compute the mean frequency of a regularly sampled signal, weighted by spectral magnitude: the paper's ``psi``.

    ``psi = 2 sum_k f_k |Y_k| / sum_k |Y_k|`` with ``Y = rfft(line)`` and ``f`` in cycles per sample, for lines along
    the last spatial axis, as in the paper; then the mean over all lines and channels. A line of silence counts as 0.

    Args:
        signal: The samples, channels last: [n, c], [h, w, c], [d, h, w, c] or [n]; with `dim` also [h, w] or [d, h, w].
        dim: The number of spatial axes, 1 to 3. Left out, the last axis of anything but [n] holds channels.

    Returns:
        ``psi``, in [0, 1]; 1 is the Nyquist frequency.

    Raises:
        ValueError: The signal is empty, has values that are not finite or not real, or axes that do not fit `dim`.
    """
    summed, count = 0.0, 0
    for lines in iterate_lines(check_samples(signal, dim), -2):
        frequency = torch.fft.rfftfreq(lines.shape[-1], dtype=torch.float64, device=lines.device)
        magnitude = torch.fft.rfft(lines).abs()
        total = magnitude.sum(-1)
        summed += float(torch.where(total > 0, 2 * (magnitude @ frequency) / total, 0.0).sum())
        count += len(lines)
    return summed / count


def compute_published_scales(z: float, dim: int, audio_rate: float = 7.0) -> tuple[float, float]:
    """Compute the noise scales ``s0`` and ``s1`` by the authors' rules.

    Sound: ``s0 = 3500 (1 - exp(-7 z))``, ``s1 = 3 z``. Images: ``s0 = 50 (1 - exp(-5 z))``, ``s1 = 0.4 z``.

    Args:
        z: ``psi / channels^2``: the authors' function for ``psi`` divides by the channels, and their rule once more.
        dim: The target's spatial axes: 1 for sound, 2 for an image.
        audio_rate: The factor in the exponent for sound: 7 in the authors' code, 5 in the paper's text.

    Returns:
        ``s0`` and ``s1``.

    Raises:
        ValueError: `dim` is neither 1 nor 2.
    """
    if dim == 1:
        return 3500 * (1 - exp(-audio_rate * z)), 3 * z
    if dim == 2:
        return 50 * (1 - exp(-5 * z)), 0.4 * z
    raise ValueError(f"no rule is published for dim={dim}; use the matched schedule, or give s0 and s1")


def perturb_(weight: Tensor, scale: float | Sequence[float], omega_0: float, generator: torch.Generator) -> None:
    """Add Gaussian noise to a weight in place: ``W += N(0, (scale / omega_0)^2)`` (the paper's perturbation scheme).

    The noise is drawn on the CPU, so that every device gets the same.

    Args:
        weight: The weight of the first or of the second layer, [out, in].
        scale: ``s0`` or ``s1``; or several, one for each input.
        omega_0: The frequency of the hidden layers, for the first layer too.
        generator: The source of the noise.
    """
    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float32, device="cpu")
    noise *= torch.tensor(scale, dtype=torch.float64, device="cpu").div(omega_0).float()
    with torch.no_grad():
        weight += noise.to(weight)
