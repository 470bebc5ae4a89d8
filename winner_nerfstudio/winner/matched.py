"""The matched rule: noise that makes a network begin with its target's frequencies; docs/noise-rule.md derives it."""

from collections.abc import Callable, Sequence
from math import exp, log, pi, sqrt, tanh
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import read_positive
from .samples import Samples, check_samples, iterate_lines

EXACTNESS = 0.4
"""The default exactness of `NoiseSchedule.matched`. At 0.5 a network begins with the target's mean frequency, at 0.4 a
little below. Chosen by measurement, see docs/noise-rule.md."""
LEAST_FACTOR = 0.1
"""The least factor by which SIREN's frequencies are lowered, see `NoiseSchedule.matched`."""
SECOND_VARIANCE = 4.0
"""The variance of the second sines' arguments, radians squared, where there is room for noise; it includes the 1 that
SIREN's weights give. Chosen by measurement, see docs/noise-rule.md."""


class Axis(NamedTuple):
    """What a rule may know of a target along one of its spatial axes.

    Attributes:
        centroid: The mean frequency of all lines along the axis, weighted by spectral magnitude, see `axes_of`; in
            [0, 1], 1 is Nyquist.
        samples: The samples along the axis.
        span: The distance from the first sample to the last in the network's coordinates, 2 where these are -1 and 1.
            It is 0 for a single sample.
    """

    centroid: float
    samples: int
    span: float = 2.0

    @property
    def nyquist(self) -> float:
        """The highest frequency that the samples can hold, radians per unit of the network's coordinate."""
        return pi * (self.samples - 1) / self.span if self.samples > 1 else 0.0


class NetworkTraits(NamedTuple):
    """What a rule may know of the network. The defaults are those of `Siren`.

    Attributes:
        hidden_dim: The width of the first sine layer.
        num_layers: The number of sine layers.
        first_omega_0: The frequency of the first sine.
        noise_omega_0: What the noise on the first layer's weights is divided by: the frequency of the hidden sines.
        takes_coordinates: Whether the inputs are the target's coordinates, not an encoding of them.
    """

    hidden_dim: int = 256
    num_layers: int = 4
    first_omega_0: float = 30.0
    noise_omega_0: float = 30.0
    takes_coordinates: bool = True


def axes_of(
    signal: Samples, *, dim: int | None = None, noise: float = 0.0, spans: Sequence[float] | None = None
) -> tuple[Axis, ...]:
    """Measure the centroid and count the samples along each spatial axis of a regularly sampled signal.

    Unlike in `spectral_centroid`, a constant counts for nothing, neither brightness nor a plain background; lines weigh
    as much as their spectra; and the transform is the cosine transform (DCT-II), which sees each line followed by its
    mirror image. A Fourier transform would see a step from a line's last sample back to its first, which is not in the
    target.

    Args:
        signal: The samples, as in `spectral_centroid`.
        dim: The number of spatial axes, as in `spectral_centroid`.
        noise: The standard deviation of white noise in the signal. Coefficients that such noise alone may reach, up to
            ``noise * sqrt(2 log n)`` in orthonormal units for n samples, count as none: the universal threshold of
            Donoho and Johnstone (1994, doi:10.1093/biomet/81.3.425).
        spans: The distance from the first sample to the last along each axis in the network's coordinates; 2 along all
            if left out, as where each axis goes from -1 to 1. A picture of square pixels in the coordinates of its
            longest side has other spans.

    Raises:
        ValueError: As `spectral_centroid`, or there are not as many spans as axes, or a span is not positive where
            there are several samples.
    """
    samples = check_samples(signal, dim)
    counts = samples.shape[:-1]
    spans = (2.0,) * len(counts) if spans is None else tuple(spans)
    if len(spans) != len(counts):
        raise ValueError(f"spans={spans} must be {len(counts)} numbers, one for each axis")
    spans = tuple(read_span(span, count) for span, count in zip(spans, counts, strict=True))
    return tuple(
        Axis(_measure_centroid(samples, axis, noise), count, span)
        for axis, (count, span) in enumerate(zip(counts, spans, strict=True))
    )


def read_span(span: float, samples: int) -> float:
    """Return the span of an axis as Python's own number.

    Raises:
        ValueError: It is not positive and finite, and there are several samples.
    """
    return read_positive("span", span) if samples > 1 else 0.0


def axes_of_each(signals: Tensor) -> list[tuple[Axis, ...]]:
    """Measure the axes of each of m small signals of one shape as `axes_of` does, all at once.

    Args:
        signals: The samples, finite and real, [m, n, c], [m, h, w, c] or [m, d, h, w, c].
    """
    scale, found = 1e-9 * signals.double().abs().flatten(1).sum(1), []
    for axis, count in enumerate(signals.shape[1:-1]):
        lines = signals.movedim(axis + 1, -1).flatten(1, -2).double()
        moment, total = _sum_cosine_spectra(lines - lines.mean(-1, keepdim=True), 0.0)
        centroids = torch.where(total <= scale, 0.0, moment / total).tolist()
        found.append([Axis(centroid, count) for centroid in centroids])
    return list(zip(*found, strict=True))


def estimate_noise(signal: Samples, *, dim: int | None = None) -> float:
    """Estimate the standard deviation of white noise in a regularly sampled signal.

    It is the median magnitude of the coefficients of the highest eighth of the frequencies along all axes over 0.6745,
    that of Gaussian noise of standard deviation 1, as Donoho and Johnstone (1994, doi:10.1093/biomet/81.3.425) do with
    the finest wavelets. The coefficients are those of an orthonormal cosine transform. What the signal itself has there
    counts as noise, too.

    Args:
        signal: The samples, as in `spectral_centroid`.
        dim: The number of spatial axes, as in `spectral_centroid`.

    Raises:
        ValueError: As `spectral_centroid`.
    """
    highest = check_samples(signal, dim).double()
    for axis, count in enumerate(highest.shape[:-1]):
        if count > 1:
            spectrum = _transform_lines(highest.movedim(axis, -1)).imag[..., 1 : 1 + max(1, count // 8)]
            highest = spectrum.movedim(-1, axis) * sqrt(2 / count)
    return float(highest.abs().median()) / 0.6745


def _measure_centroid(samples: Tensor, axis: int, noise: float) -> float:
    """Return the centroid along an axis, 0 of silence."""
    moment = total = 0.0
    threshold = noise * sqrt(samples.shape[axis] * log(samples.shape[axis]))
    for lines in iterate_lines(samples, axis):
        line_moments, line_totals = _sum_cosine_spectra(lines - lines.mean(-1, keepdim=True), threshold)
        moment, total = moment + float(line_moments), total + float(line_totals)
    # Rounding leaves a constant a little more than nothing.
    is_silent = total <= 1e-9 * float(samples.double().abs().sum())
    return 0.0 if is_silent else moment / total


def _sum_cosine_spectra(lines: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return ``sum_k (k / n) |C_k|`` and ``sum_k |C_k|`` of lines [..., m, n] over all m, ``C`` being their DCT-II.

    Coefficients of magnitude `threshold` and less count as 0.
    """
    count = lines.shape[-1]
    spectrum = _transform_lines(lines)
    index = torch.arange(spectrum.shape[-1], dtype=torch.float64, device=lines.device)
    low, high = (part.abs() for part in (spectrum.real, spectrum.imag))
    if threshold:
        low, high = low * (low > threshold), high * (high > threshold)
    low, high = low.sum(-2), high.sum(-2)
    # The first bin would also hold C_n, which does not exist; the middle bin holds the same coefficient twice.
    high[..., 0] = 0
    if count % 2 == 0:
        high[..., -1] = 0
    moment = low @ index + high @ (count - index)
    return moment / count, low.sum(-1) + high.sum(-1)


def _transform_lines(lines: Tensor) -> Tensor:
    """Return the DCT-II ``C`` of lines [..., n] as complex numbers [..., n // 2 + 1]: bin k is ``C_k - i C_(n-k)``.

    It takes one Fourier transform of n reals (Makhoul 1980, doi:10.1109/TASSP.1980.1163351), the even samples, then the
    odd ones backwards.
    """
    spectrum = torch.fft.rfft(torch.cat([lines[..., ::2], lines[..., 1::2].flip(-1)], -1))
    index = torch.arange(spectrum.shape[-1], dtype=torch.float64, device=lines.device)
    spectrum *= torch.polar(torch.ones_like(index), -pi * index / (2 * lines.shape[-1]))
    return spectrum


def compute_matched_scales(
    axes: Sequence[Axis], network: NetworkTraits, exactness: float
) -> tuple[tuple[float, ...], float, tuple[float, ...]]:
    """Compute the noise scales by equations (1), (2), (4) and (5) of docs/noise-rule.md, solved for ``s0`` and ``s1``.

    Args:
        axes: The target's spatial axes.
        network: The network that is to be initialised.
        exactness: See `NoiseSchedule.matched`.

    Returns:
        ``s0`` along each axis; ``s1``; and along each axis the target's frequency over the network's where that is
        lower, at least `LEAST_FACTOR`, else 1.
    """
    siren = network.first_omega_0 / len(axes) / sqrt(3)  # the rms frequency of SIREN's first sines along an axis
    frequencies = [axis.nyquist * axis.centroid ** (2 * (1 - exactness)) if axis.centroid else 0.0 for axis in axes]
    variance = _find_second_variance(siren, max(frequencies), network.num_layers)
    grown = siren * compute_growth(network.num_layers, variance)
    lacking = [(frequency / grown) ** 2 - 1 for frequency in frequencies]
    # What the bisection leaves is no lack.
    noise = [siren * sqrt(part) if part > 1e-9 else 0.0 for part in lacking]
    scales = tuple(scale * network.noise_omega_0 / network.first_omega_0 for scale in noise)
    factors = tuple(min(1.0, max(frequency / grown, LEAST_FACTOR)) for frequency in frequencies)
    return scales, sqrt(2 * (variance - 1) / network.hidden_dim), factors


def _find_second_variance(siren: float, frequency: float, num_layers: int) -> float:
    """Return the variance of the second sines' arguments with which SIREN's first frequencies grow to that one.

    Where SIREN's own frequencies are as high already, the variance is 1, that of SIREN; it is never more than
    `SECOND_VARIANCE`, even if a part of it is then lacking.
    """

    def is_too_high(variance: float) -> bool:
        return siren * compute_growth(num_layers, variance) > frequency

    if not is_too_high(SECOND_VARIANCE):
        return SECOND_VARIANCE
    if is_too_high(1.0):  # as most parts are, and it grows with the variance
        return 1.0
    return bisect(is_too_high, 1.0, SECOND_VARIANCE)


def bisect(is_too_high: Callable[[float], bool], low: float, high: float) -> float:
    """Return the greatest number between two that is not too high, to 50 bits; `low` if all are."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if is_too_high(middle) else (middle, high)
    return low


def compute_growth(num_layers: int, variance: float, gain: float = 1.0) -> float:
    """Compute the root mean square frequency of a SIREN's last sines over that of its first, before training.

    For a Gaussian process ``a`` of variance ``v`` and rms frequency ``B``, ``sin a`` has the variance
    ``(1 - e^-2v) / 2`` and the rms frequency ``B sqrt(v coth v)``; SIREN's weights behind it double the variance.
    Biases are 0. This is ``g`` in equation (4) of docs/noise-rule.md.

    Args:
        num_layers: The number of sine layers.
        variance: The variance of the second sines' arguments, radians squared; 1 without noise.
        gain: What SIREN's weights from the third layer on are multiplied by.
    """
    product = 1.0
    for _ in range(num_layers - 1):
        product *= variance / tanh(variance)
        variance = gain**2 * (1 - exp(-2 * variance))
    return sqrt(product)
