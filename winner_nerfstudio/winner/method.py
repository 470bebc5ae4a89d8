"""WINNER's three formulas: the target's spectral centroid, the noise scales, the perturbed weights.

Source: "Spectral Bottleneck in Deep Neural Networks: Noise is All You Need" (arXiv 2509.09719), called the paper below.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, isfinite
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def spectral_centroid(signal: Tensor | np.ndarray, *, dim: int | None = None) -> float:
    """Mean frequency of a regularly sampled signal, weighted by spectral magnitude: ``psi`` in [0, 1], 1 is Nyquist.

    One line of samples has ``psi = 2 sum_k f_k |Y_k| / sum_k |Y_k|`` with ``Y = rfft(line)`` and ``f`` in cycles per
    sample. As in the paper, lines run along the last spatial axis; the result is the mean over all lines and channels,
    not divided by the number of channels (`NoiseSchedule` knows which rule divides). A line of silence counts as 0.

    Args:
        signal: the samples, channels last: [n, c], [h, w, c] or [d, h, w, c]; without channels [n], or with `dim`
            given any of [n], [h, w], [d, h, w].
        dim: the number of spatial axes, 1 to 3. Left out, the last axis of anything but [n] holds channels.

    Raises:
        ValueError: an empty signal, values that are not finite or not real, or axes that do not fit `dim`.
    """
    if signal.dtype.is_complex if isinstance(signal, Tensor) else np.iscomplexobj(signal):
        raise ValueError("the signal is complex; a centroid is defined here for real samples")
    # Float64, because the sums run over up to millions of bins; a copy takes arrays of any strides and byte order.
    samples = signal.detach().double() if isinstance(signal, Tensor) else torch.from_numpy(np.array(signal, np.float64))
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
    weighted, total = torch.zeros_like(lines[:, 0]), torch.zeros_like(lines[:, 0])
    block = max(1, (1 << 22) // lines.shape[-1])  # lines per transform: bounds the spectrum's memory
    for start in range(0, len(lines), block):
        magnitude = torch.fft.rfft(lines[start : start + block]).abs()
        weighted[start : start + block] = magnitude @ frequency
        total[start : start + block] = magnitude.sum(-1)
    return float(torch.where(total > 0, 2 * weighted / total, 0.0).mean())


class NoiseScales(NamedTuple):
    """Standard deviations, before the division by omega_0, of the noise on the first and the second layer's weights."""

    s0: float
    s1: float


VOLUME_SCALES = NoiseScales(s0=2.5, s1=0.1)
"""Safe scales for signed distances; the README's table has the measurement."""


class Target(NamedTuple):
    """What a schedule may know of the target: ``psi``, channels, samples per axis (None: unknown), spatial axes."""

    centroid: float
    channels: int
    samples: int | None
    dim: int


@dataclass(frozen=True)
class NoiseSchedule:
    """A rule from the target's centroid to the two noise scales. Immutable; make one with a class method.

    Attributes:
        name: what runs print and the command line takes.
        rule: maps a `Target` to its `NoiseScales`.
    """

    name: str
    rule: Callable[[Target], NoiseScales]

    def __call__(self, centroid: float, *, channels: int = 1, samples: int | None = None, dim: int = 1) -> NoiseScales:
        """The noise scales for a target.

        Args:
            centroid: ``psi`` in [0, 1], see `spectral_centroid`.
            channels: of the target; the published rules divide by it.
            samples: per axis, or None where there is no grid.
            dim: the number of spatial axes.

        Raises:
            ValueError: arguments out of range, or no rule for this `dim`.
        """
        if not 0 <= centroid <= 1:
            raise ValueError(f"centroid={centroid} must lie in [0, 1], where 1 is the Nyquist frequency")
        if channels < 1 or dim < 1:
            raise ValueError(f"channels={channels} and dim={dim} must be at least 1")
        return self.rule(Target(centroid, channels, samples, dim))

    @classmethod
    def fixed(cls, s0: float, s1: float) -> "NoiseSchedule":
        """Hand-given scales, whatever the target; ``fixed(0, 0)`` is SIREN.

        Raises:
            ValueError: a scale that is negative or not finite.
        """
        scales = NoiseScales(float(s0), float(s1))
        if not all(isfinite(s) and s >= 0 for s in scales):
            raise ValueError(f"s0={s0} and s1={s1} must be finite and not negative")
        return cls("fixed", lambda target: scales)

    @classmethod
    def default(cls) -> "NoiseSchedule":
        """Ours: `reference` without its divisions by the channels for sound and images, and our own rule for volumes.

        No rule is published for three dimensions; ours is `VOLUME_SCALES`, found by measurement on signed distances.
        """
        return cls("default", _default)

    @classmethod
    def reference(cls) -> "NoiseSchedule":
        """What the authors' code does, exactly: s0 = 3500 (1 - exp(-7 z)) for sound and 50 (1 - exp(-5 z)) for images.

        Their centroid is ``psi / channels`` and their rule divides by the channels once more: z = psi / channels^2.
        There is no rule for three dimensions.
        """
        return cls("reference", lambda target: _published(target, audio_rate=7.0))

    @classmethod
    def paper(cls) -> "NoiseSchedule":
        """As `reference`, with the exponent printed in the paper's text for sound: s0 = 3500 (1 - exp(-5 z))."""
        return cls("paper", lambda target: _published(target, audio_rate=5.0))


def _default(target: Target) -> NoiseScales:
    return VOLUME_SCALES if target.dim >= 3 else _published(target._replace(channels=1), audio_rate=7.0)


def _published(target: Target, audio_rate: float) -> NoiseScales:
    z = target.centroid / target.channels**2
    if target.dim == 1:
        return NoiseScales(3500 * (1 - exp(-audio_rate * z)), 3 * z)
    if target.dim == 2:
        return NoiseScales(50 * (1 - exp(-5 * z)), 0.4 * z)
    raise ValueError(f"no published schedule for dim={target.dim}; give s0 and s1, or the schedule 'shape'")


def perturb_(weight: Tensor, scale: float, omega_0: float, generator: torch.Generator) -> None:
    """Add Gaussian noise to a weight in place: ``W += N(0, (scale / omega_0)^2)``, the paper's perturbation.

    `omega_0` is that of the hidden layers, for the first layer too. Drawn on the CPU: every device gets the same.
    """
    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float32) * (scale / omega_0)
    with torch.no_grad():
        weight += noise.to(weight)
