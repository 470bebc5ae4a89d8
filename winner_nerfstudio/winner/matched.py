"""The matched rule: noise that makes a network begin with its target's frequencies; docs/noise-rule.md derives it."""

from collections.abc import Sequence
from math import exp, pi, sqrt, tanh
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .method import checked, lines_along

EXACTNESS = 0.4
"""Of `NoiseSchedule.matched` if nothing else is said: a network begins a little below the target's mean frequency, 0.5.
Measured: docs/noise-rule.md."""
SECOND_VARIANCE = 4.0
"""Variance of the second sines' arguments, radians squared, SIREN's own 1 included, where there is room for noise;
measured, likewise."""


class Axis(NamedTuple):
    """What a rule may know of a target along one of its spatial axes.

    Attributes:
        centroid: mean frequency of all lines along it, weighted by spectral magnitude, see `axes_of`; in [0, 1], 1 is
            Nyquist.
        samples: along it.
    """

    centroid: float
    samples: int

    @property
    def nyquist(self) -> float:
        """The highest frequency that the samples can hold, radians per unit of a coordinate that spans [-1, 1]."""
        return pi * (self.samples - 1) / 2


def axes_of(signal: Tensor | np.ndarray, *, dim: int | None = None) -> tuple[Axis, ...]:
    """Centroid and samples along each spatial axis of a regularly sampled signal.

    Unlike in `spectral_centroid`, a constant counts for nothing, neither brightness nor a plain background; lines weigh
    as much as their spectra; and these are cosine transforms (DCT-II), as if each line were followed by its mirror
    image: the step from a line's last sample back to its first, which a Fourier transform sees, is not in the target.

    Args:
        signal: as in `spectral_centroid`.
        dim: likewise.

    Raises:
        ValueError: as `spectral_centroid`.
    """
    samples, axes = checked(signal, dim), []
    for axis in range(samples.ndim - 1):
        moment = total = 0.0
        for lines in lines_along(samples, axis):
            moments, totals = _cosine_moments(lines - lines.mean(-1, keepdim=True))
            moment, total = moment + moments, total + totals
        # Rounding leaves a constant a little more than nothing.
        silent = total <= 1e-9 * float(samples.double().abs().sum())
        axes.append(Axis(0.0 if silent else moment / total, samples.shape[axis]))
    return tuple(axes)


def _cosine_moments(lines: Tensor) -> tuple[float, float]:
    """Of the DCT-II ``C`` of lines [m, n]: ``sum_k (k / n) |C_k|`` and ``sum_k |C_k|``, sums over all lines.

    By one Fourier transform of n reals (Makhoul 1980, doi:10.1109/TASSP.1980.1163351), the even samples, then the odd
    ones backwards: its bin k holds ``C_k`` and ``C_(n-k)``.
    """
    count = lines.shape[-1]
    spectrum = torch.fft.rfft(torch.cat([lines[:, ::2], lines[:, 1::2].flip(-1)], -1))
    index = torch.arange(spectrum.shape[-1], dtype=torch.float64, device=lines.device)
    spectrum *= torch.polar(torch.ones_like(index), -pi * index / (2 * count))
    low, high = spectrum.real.abs().sum(0), spectrum.imag.abs().sum(0)
    # The first bin's other half is C_n, which there isn't; the middle one's is itself.
    high[0] = 0
    if count % 2 == 0:
        high[-1] = 0
    moment = low @ index + high @ (count - index)
    return float(moment) / count, float(low.sum() + high.sum())


class Start(NamedTuple):
    """What a rule may know of the network.

    Attributes:
        width: of the first sine layer.
        layers: of sines.
        omega: frequency of the first one.
        omega_0: what the noise on the first layer's weights is divided by, that of the hidden ones.
        takes_coordinates: whether its inputs are the target's coordinates, not an encoding of them.
    """

    width: int = 256
    layers: int = 4
    omega: float = 30.0
    omega_0: float = 30.0
    takes_coordinates: bool = True


def matched_scales(axes: Sequence[Axis], network: Start, exactness: float) -> tuple[tuple[float, ...], float]:
    """``s0`` along each axis, and ``s1``: equations (1), (2), (4) and (5) of docs/noise-rule.md, solved for them."""
    own = network.omega / len(axes) / sqrt(3)
    wanted = [axis.nyquist * axis.centroid ** (2 * (1 - exactness)) if axis.centroid else 0.0 for axis in axes]
    # Where SIREN is finer than what is wanted, less noise on the second layer; without any, it stays a SIREN.
    variance, low = SECOND_VARIANCE, 1.0
    if own * growth(network.layers, variance) > max(wanted):
        for _ in range(50):
            middle = (low + variance) / 2
            too_fine = own * growth(network.layers, middle) > max(wanted)
            low, variance = (low, middle) if too_fine else (middle, variance)
        variance = low
    grown = own * growth(network.layers, variance)
    lacking = [(frequency / grown) ** 2 - 1 for frequency in wanted]
    # What the bisection leaves is no lack.
    noise = [own * sqrt(part) if part > 1e-9 else 0.0 for part in lacking]
    scales = tuple(scale * network.omega_0 / network.omega for scale in noise)
    return scales, sqrt(2 * (variance - 1) / network.width)


def growth(layers: int, variance: float) -> float:
    """The root mean square frequency of a SIREN's last sines over that of its first, before training.

    For a Gaussian process ``a`` of variance ``v`` and rms frequency ``B``, ``sin a`` has the variance
    ``(1 - e^-2v) / 2`` and the rms frequency ``B sqrt(v coth v)``; SIREN's weights behind it double the variance.
    Biases are 0.

    Args:
        layers: of sines.
        variance: of the second sines' arguments, radians squared; 1 without noise.
    """
    product = 1.0
    for _ in range(layers - 1):
        product *= variance / tanh(variance)
        variance = 1 - exp(-2 * variance)
    return sqrt(product)
