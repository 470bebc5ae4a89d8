"""WINNER's three formulas: the target's spectral centroid, the noise scales, the perturbed weights.

Source: "Spectral Bottleneck in Deep Neural Networks: Noise is All You Need" (arXiv 2509.09719), called the paper below.
"""

from collections.abc import Iterator, Sequence
from math import exp

import numpy as np
import torch
from torch import Tensor


def spectral_centroid(signal: Tensor | np.ndarray, *, dim: int | None = None) -> float:
    """Mean frequency of a regularly sampled signal, weighted by spectral magnitude: ``psi`` in [0, 1], 1 is Nyquist.

    ``psi = 2 sum_k f_k |Y_k| / sum_k |Y_k|`` with ``Y = rfft(line)`` and ``f`` in cycles per sample, for lines along
    the last spatial axis, as in the paper; the mean over all lines and channels. A line of silence counts as 0.

    Args:
        signal: the samples, channels last: [n, c], [h, w, c], [d, h, w, c]; [n]; with `dim` also [h, w] and [d, h, w].
        dim: the number of spatial axes, 1 to 3. Left out, the last axis of anything but [n] holds channels.

    Raises:
        ValueError: an empty signal, values that are not finite or not real, or axes that do not fit `dim`.
    """
    summed, count = 0.0, 0
    for lines in lines_along(checked(signal, dim), -2):
        frequency = torch.fft.rfftfreq(lines.shape[-1], dtype=torch.float64, device=lines.device)
        magnitude = torch.fft.rfft(lines).abs()
        total = magnitude.sum(-1)
        summed += float(torch.where(total > 0, 2 * (magnitude @ frequency) / total, 0.0).sum())
        count += len(lines)
    return summed / count


def published_scales(z: float, dim: int, audio_rate: float = 7.0) -> tuple[float, float]:
    """The authors' rules from ``z``, their centroid divided by the channels, to ``s0`` and ``s1``.

    Args:
        z: ``psi / channels^2``: their function for ``psi`` divides by the channels as well.
        dim: 1, sound; 2, an image.
        audio_rate: 7 in their code, 5 in the paper's text.

    Raises:
        ValueError: any other `dim`.
    """
    if dim == 1:
        return 3500 * (1 - exp(-audio_rate * z)), 3 * z
    if dim == 2:
        return 50 * (1 - exp(-5 * z)), 0.4 * z
    raise ValueError(f"no rule is published for dim={dim}; use the matched schedule, or give s0 and s1")


def perturb_(weight: Tensor, scale: float | Sequence[float], omega_0: float, generator: torch.Generator) -> None:
    """Add Gaussian noise to a weight in place: ``W += N(0, (scale / omega_0)^2)``, the paper's perturbation.

    `omega_0` is that of the hidden layers, for the first layer too. Several scales are one for each input. Drawn on the
    CPU: every device gets the same.
    """
    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float32)
    noise *= torch.tensor(scale, dtype=torch.float64).div(omega_0).float()
    with torch.no_grad():
        weight += noise.to(weight)


def checked(signal: Tensor | np.ndarray, dim: int | None) -> Tensor:
    """The samples, channels last.

    Raises:
        ValueError: they won't do, see `spectral_centroid`.
    """
    if signal.dtype.is_complex if isinstance(signal, Tensor) else np.iscomplexobj(signal):
        raise ValueError("the signal is complex; a centroid is defined here for real samples")
    if isinstance(signal, Tensor):
        samples = signal.detach()
    else:
        # As torch takes arrays: native byte order, no negative strides, writable; float64 for the types that it lacks.
        dtype = np.float32 if signal.dtype == np.float32 else np.float64
        samples = torch.from_numpy(np.require(signal, dtype, ["C", "W"]))
    spatial = max(samples.ndim - 1, 1) if dim is None else dim
    if spatial not in (1, 2, 3) or samples.ndim not in (spatial, spatial + 1) or samples.numel() == 0:
        raise ValueError(
            f"a signal of shape {tuple(samples.shape)} does not fit dim={dim}: expected 1 to 3 non-empty spatial axes,"
            " then at most one of channels"
        )
    if samples.ndim == spatial:
        samples = samples[..., None]
    if dim is None and samples.shape[-1] > 16:
        raise ValueError(
            f"the last axis of a signal of shape {tuple(signal.shape)} would be {samples.shape[-1]} channels; pass"
            " dim=2 for a grey image, dim=3 for a volume, dim=1 if they are channels"
        )
    if not torch.isfinite(samples).all():
        raise ValueError("the signal holds NaN or infinite samples; every sample must be finite")
    return samples


def lines_along(samples: Tensor, axis: int) -> Iterator[Tensor]:
    """Blocks of the lines along an axis, [lines, n], in float64, since sums run over up to millions of bins."""
    lines = samples.movedim(axis, -1).reshape(-1, samples.shape[axis])
    for block in lines.split(max(1, (1 << 22) // lines.shape[-1])):  # bounds the spectrum's memory
        yield block.double()
