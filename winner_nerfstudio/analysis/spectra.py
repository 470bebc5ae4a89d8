"""Power spectra along lines of regular samples: of a target, and of every layer of a sine network there."""

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
"""Places per sample at which a network is looked at: shows what it has up to so many times the samples' Nyquist."""
BANDS = 128
"""Bands, at most, that a spectrum is told in; each is about as wide as the others in octaves."""
_BLOCK = 1 << 20  # values transformed at a time, in double precision


@dataclass(frozen=True)
class Spectrum:
    """The power spectrum of some units along lines, the mean over units and lines. Frequencies: 1 is Nyquist.

    Attributes:
        density: of the power over the frequency, its integral being 1, the mean in each band, [b], see `bands`; 0 where
            nothing varies.
        centroid: ``psi`` of the values at the target's samples, as `spectral_centroid` has it.
        rms_frequency: root mean square frequency, weighted by power.
        above_nyquist: part of the power that lies above the target's Nyquist frequency.
        std: root mean square of what the values are off their line's mean.
    """

    density: Float[Tensor, " b"]
    centroid: float
    rms_frequency: float
    above_nyquist: float
    std: float


class LayerSpectrum(NamedTuple):
    """The spectrum of a layer.

    Attributes:
        layer: its number, from 1 on.
        stage: what of it: a sine's argument in radians, the sine, or the network's output.
        spectrum: of its units.
    """

    layer: int
    stage: Literal["pre_activation", "post_activation", "output"]
    spectrum: Spectrum


def spectrum_of(values: Float[Tensor, "k n u"], oversampling: int = 1) -> Spectrum:
    """The spectrum of u units along k lines of n values.

    Lines are centred and weighted by Hann's window, without which a slow ramp would seem to have high frequencies: the
    jump from its end to its start. The centroid has neither, for the target's hasn't.

    Args:
        values: the units' values.
        oversampling: values per sample of the target, whose Nyquist frequency is the unit of frequency.
    """
    lines, count, units = values.shape
    window = torch.hann_window(count, periodic=True, dtype=torch.float64, device=values.device)
    window = window / window.square().sum().sqrt()
    power, variance = torch.zeros(count // 2 + 1, dtype=torch.float64, device=values.device), 0.0
    for block in values.movedim(-1, 1).reshape(lines * units, count).split(max(1, _BLOCK // count)):
        centred = block.double() - block.double().mean(-1, keepdim=True)
        power += torch.fft.rfft(centred * window).abs().square().sum(0) / (lines * units)
        variance += float(centred.square().mean(-1).sum()) / (lines * units)
    power = power.cpu()
    power /= power.sum().clamp(min=torch.finfo(torch.float64).tiny)
    frequency = torch.arange(len(power), dtype=torch.float64) * 2 * oversampling / count
    return Spectrum(
        torch.stack([power[band].mean() for band in _slices(len(power))]) * count / (2 * oversampling),
        spectral_centroid(values[:, ::oversampling], dim=2),
        sqrt(float(power @ frequency.square())),
        float(power[frequency > 1].sum()),
        sqrt(variance),
    )


def bands(count: int, oversampling: int = 1) -> Float[Tensor, " b"]:
    """The middles of the bands that `spectrum_of` tells of lines of so many values; 1 is the target's Nyquist."""
    return torch.tensor([(band.start + band.stop - 1) * oversampling / count for band in _slices(count // 2 + 1)])


def _slices(bins: int) -> list[slice]:
    """Which bins make a band, the constant left out."""
    edges = torch.logspace(0, log10(bins), BANDS + 1, dtype=torch.float64).round().long().unique().tolist()
    return [slice(*pair) for pair in pairwise(edges)]


@torch.no_grad()
def layer_spectra(network: nn.Sequential, coords: Float[Tensor, "k m d"], oversampling: int) -> Iterator[LayerSpectrum]:
    """The spectra of the arguments and values of a network's sines, layer by layer, then that of its output.

    Memory: the values of two layers.

    Args:
        network: linear layers and `Sine`s in turn, as in `Siren`.
        coords: places along lines, `oversampling` per sample of the target.
        oversampling: see there.
    """
    values, layer = coords.to(next(network.parameters())), 1
    for module in network:
        if isinstance(module, Sine):
            yield LayerSpectrum(layer, "pre_activation", spectrum_of(module.omega_0 * values, oversampling))
        values = module(values)
        if isinstance(module, Sine):
            yield LayerSpectrum(layer, "post_activation", spectrum_of(values, oversampling))
            layer += 1
    yield LayerSpectrum(layer, "output", spectrum_of(values, oversampling))
