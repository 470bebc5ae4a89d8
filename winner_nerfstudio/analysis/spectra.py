"""Power spectra along lines of regular samples: of a target, and of every layer of a sine network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log10, sqrt
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..networks import Sine
from ..winner import spectral_centroid

if TYPE_CHECKING:
    from jaxtyping import Float

OVERSAMPLING = 4
"""Points per sample at which a network is evaluated: shows frequencies up to so many times the samples' Nyquist."""
BANDS = 128
"""Bands, at most, that a spectrum is averaged in; each is about as wide as the others in octaves."""
_BLOCK = 1 << 20  # values transformed at a time, in double precision


@dataclass(frozen=True)
class Spectrum:
    """The power spectrum of some units along lines, the mean over units and lines. Frequencies are parts of Nyquist's.

    Attributes:
        density: The density of the power over the frequency, whose integral is 1, averaged in each band, [b], see
            `band_centers`; 0 where nothing varies.
        centroid: ``psi`` of the values at the target's samples, see `spectral_centroid`.
        rms_frequency: The root mean square frequency, weighted by power.
        above_nyquist: The part of the power that lies above the target's Nyquist frequency.
        std: The root mean square deviation of the values from their line's mean.
    """

    density: Float[Tensor, " b"]
    centroid: float
    rms_frequency: float
    above_nyquist: float
    std: float


class LayerSpectrum(NamedTuple):
    """The spectrum of a layer.

    Attributes:
        layer: Its index, from 1 on.
        stage: A sine's argument in radians, the sine itself, or the network's output.
        spectrum: The spectrum of its units.
    """

    layer: int
    stage: Literal["pre_activation", "post_activation", "output"]
    spectrum: Spectrum


def compute_spectrum(values: Float[Tensor, "k n u"], oversampling: int = 1) -> Spectrum:
    """Return the spectrum of u units along k lines of n values.

    Lines are centred and weighted by Hann's window, without which the jump from a slow ramp's end to its start would
    appear as high frequencies. The centroid is computed without either, as the target's is.

    Args:
        values: The units' values.
        oversampling: Values per sample of the target, whose Nyquist frequency is the unit of frequency.
    """
    lines, count, units = values.shape
    window = torch.hann_window(count, periodic=True, dtype=torch.float64, device=values.device)
    window = window / window.square().sum().sqrt()
    power, variance = torch.zeros(count // 2 + 1, dtype=torch.float64, device=values.device), 0.0
    for block in torch.split(values.movedim(-1, 1).reshape(lines * units, count), max(1, _BLOCK // count)):
        centred = block.double() - block.double().mean(-1, keepdim=True)
        power += torch.fft.rfft(centred * window).abs().square().sum(0) / (lines * units)
        variance += float(centred.square().mean(-1).sum()) / (lines * units)
    power = power.cpu()
    power /= power.sum().clamp(min=torch.finfo(torch.float64).tiny)
    frequency = torch.arange(len(power), dtype=torch.float64) * 2 * oversampling / count
    return Spectrum(
        torch.stack([power[band].mean() for band in _slices(len(power))]) * count / (2 * oversampling),
        spectral_centroid(values[:, ::oversampling].movedim(-1, 1).flatten(0, 1), dim=2),
        sqrt(float(power @ frequency.square())),
        float(power[frequency > 1].sum()),
        sqrt(variance),
    )


def band_centers(count: int, oversampling: int = 1) -> Float[Tensor, " b"]:
    """Return the middles of the bands of `compute_spectrum` for lines of `count` values; 1 is the target's Nyquist."""
    return torch.tensor([(band.start + band.stop - 1) * oversampling / count for band in _slices(count // 2 + 1)])


def _slices(bins: int) -> list[slice]:
    """Return the bins of each band; the constant is left out."""
    edges = torch.logspace(0, log10(bins), BANDS + 1, dtype=torch.float64).round().long().tolist()
    return [slice(*pair) for pair in pairwise(sorted(set(edges)))]


@torch.no_grad()
def compute_layer_spectra(
    network: nn.Sequential, coords: Float[Tensor, "k m d"], oversampling: int
) -> Iterator[LayerSpectrum]:
    """Yield the spectra of the arguments and values of a network's sines, layer by layer, then that of its output.

    Memory: the values of two layers.

    Args:
        network: Linear layers and `Sine`s in turn, as in `Siren`.
        coords: Coordinates along lines, `oversampling` per sample of the target.
        oversampling: Coordinates per sample.
    """
    values, layer = coords.to(next(network.parameters())), 1
    for module in network:
        if isinstance(module, Sine):
            yield LayerSpectrum(layer, "pre_activation", compute_spectrum(module.omega_0 * values, oversampling))
        values = module(values)
        if isinstance(module, Sine):
            yield LayerSpectrum(layer, "post_activation", compute_spectrum(values, oversampling))
            layer += 1
    yield LayerSpectrum(layer, "output", compute_spectrum(values, oversampling))
