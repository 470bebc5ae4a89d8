"""WINNER's three formulas: the target's spectral centroid, the noise scales, the perturbed weights.

Source: "Spectral Bottleneck in Deep Neural Networks: Noise is All You Need" (arXiv 2509.09719), called the paper below.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp, isfinite
from typing import NamedTuple

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

    lines = samples.movedim(-2, -1).reshape(-1, samples.shape[-2])
    frequency = torch.fft.rfftfreq(lines.shape[-1], dtype=torch.float64, device=lines.device)
    summed = 0.0
    for block in lines.split(max(1, (1 << 22) // lines.shape[-1])):  # bounds the spectrum's memory
        magnitude = torch.fft.rfft(block.double()).abs()  # float64: sums run over up to millions of bins
        total = magnitude.sum(-1)
        summed += float(torch.where(total > 0, 2 * (magnitude @ frequency) / total, 0.0).sum())
    return summed / len(lines)


class Target(NamedTuple):
    """What a rule may know of the target: ``psi``, channels, samples per axis (None: no grid), spatial axes."""

    centroid: float
    channels: int
    samples: int | None
    dim: int


class NoiseScales(NamedTuple):
    """Standard deviations, times omega_0, of the noise on the first and the second layer's weights."""

    s0: float
    s1: float


VOLUME_SCALES = NoiseScales(s0=2.5, s1=0.1)
"""Safe scales for signed distances, for which no rule is published; the README's table has the measurement."""


@dataclass(frozen=True)
class NoiseSchedule:
    """A named rule from the target's centroid to the two noise scales: an immutable value, made by a class method."""

    name: str
    rule: Callable[[Target], NoiseScales]

    def __call__(self, centroid: float, *, channels: int = 1, samples: int | None = None, dim: int = 1) -> NoiseScales:
        """The noise scales for a target of that centroid, channels, samples per axis and spatial axes.

        Raises:
            ValueError: arguments out of range, or no rule for this `dim`.
        """
        if not 0 <= centroid <= 1:
            raise ValueError(f"centroid={centroid} must lie in [0, 1], where 1 is the Nyquist frequency")
        if channels < 1 or dim < 1:
            raise ValueError(f"channels={channels} and dim={dim} must be at least 1")
        return self.rule(Target(centroid, channels, samples, dim))

    @classmethod
    def default(cls) -> "NoiseSchedule":
        """Ours: `reference` without its divisions by the channels for sound and images, `VOLUME_SCALES` for volumes."""
        return cls("default", _default)

    @classmethod
    def reference(cls) -> "NoiseSchedule":
        """What the authors' code does, for sound and images: see `_reference`."""
        return cls("reference", _reference)

    @classmethod
    def paper(cls) -> "NoiseSchedule":
        """As `reference`, with the exponent that the paper's text has for sound: s0 = 3500 (1 - exp(-5 z))."""
        return cls("paper", _paper)

    @classmethod
    def fixed(cls, s0: float, s1: float) -> "NoiseSchedule":
        """Hand-given scales, whatever the target; ``fixed(0, 0)`` is SIREN.

        Raises:
            ValueError: a scale that is negative or not finite.
        """
        scales = NoiseScales(float(s0), float(s1))
        if not all(isfinite(s) and s >= 0 for s in scales):
            raise ValueError(f"s0={s0} and s1={s1} must be finite and not negative")
        return cls("fixed", _Always(scales))


@dataclass(frozen=True)
class _Always:
    scales: NoiseScales

    def __call__(self, target: Target) -> NoiseScales:
        return self.scales


def _reference(target: Target, audio_rate: float = 7.0) -> NoiseScales:
    # The authors' centroid is already psi / channels, and their rule divides once more.
    z = target.centroid / target.channels**2
    if target.dim == 1:
        return NoiseScales(3500 * (1 - exp(-audio_rate * z)), 3 * z)
    if target.dim == 2:
        return NoiseScales(50 * (1 - exp(-5 * z)), 0.4 * z)
    raise ValueError(f"no rule is published for dim={target.dim}; use the default schedule, or give s0 and s1")


_paper = partial(_reference, audio_rate=5.0)


def _default(target: Target) -> NoiseScales:
    return VOLUME_SCALES if target.dim >= 3 else _reference(target._replace(channels=1))


def perturb_(weight: Tensor, scale: float, omega_0: float, generator: torch.Generator) -> None:
    """Add Gaussian noise to a weight in place: ``W += N(0, (scale / omega_0)^2)``, the paper's perturbation.

    `omega_0` is that of the hidden layers, for the first layer too. Drawn on the CPU: every device gets the same.
    """
    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float32) * (scale / omega_0)
    with torch.no_grad():
        weight += noise.to(weight)


SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "default": NoiseSchedule.default,
    "paper": NoiseSchedule.paper,
    "reference": NoiseSchedule.reference,
}
"""The rules by name: one that is added here can be chosen wherever a rule can."""
