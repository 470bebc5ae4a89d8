"""Published initialisations of sine networks that are SIREN's with other scales, to be compared with."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

import torch
from torch import nn

from .checks import read_number
from .init import choose_seed, siren_init_
from .matched import EXACTNESS, Axis, NetworkTraits, bisect, compute_growth
from .sines import SineNetwork, find_sine_network


class SirenScales(NamedTuple):
    """What SIREN's draws are multiplied by.

    Attributes:
        first: The factor of the first layer's weights.
        hidden: The factor of the weights between the first and the last layer.
        last: The factor of the last layer's weights.
        hidden_biases: The factor of the biases between the first and the last layer.
    """

    first: float = 1.0
    hidden: float = 1.0
    last: float = 1.0
    hidden_biases: float = 1.0


def weight_scaling(factor: float = 2.5) -> SirenScales:
    """Return the scales of weight scaling: all weights but the last layer's times a factor (Yeom et al., ICLR 2025).

    Args:
        factor: ``alpha`` of arXiv 2410.04779, whose code has 2.5 for images.
    """
    return SirenScales(first=factor, hidden=factor)


def gradient_control() -> SirenScales:
    """Return scales that keep the gradients' size from layer to layer (Combette et al., ICLR 2026, arXiv 2512.06427).

    Weights from the second layer on are drawn from ``U(-c_w/sqrt(fan_in), +)/omega_0``, where SIREN has ``c_w =
    sqrt(6)``. Two conditions of theirs give ``c_w`` and the deviation ``c_b`` of the biases: the sines' arguments keep
    the variance ``v``, ``c_w^2/3 E[sin^2 z] + c_b^2 = v``, and a layer's mean square gain is one, ``c_w^2/3 E[cos^2 z]
    = 1``. For normally distributed arguments ``z`` that is ``c_w^2 = 6/(1 + e^-2v)`` and ``c_b^2 = v - tanh(v)``,
    derived here. They take ``v = 0``: ``c_w = sqrt(3)``, and hidden biases of 0. The first layer, which their paper
    treats by itself, is SIREN's here.
    """
    return SirenScales(hidden=sqrt(0.5), last=sqrt(0.5), hidden_biases=0.0)


def match_weight_scaling(axes: Sequence[Axis], network: NetworkTraits, exactness: float = EXACTNESS) -> SirenScales:
    """Return the scales of weight scaling whose factor makes a network begin with its target's frequency.

    This is WINNER's idea for the factor of Yeom et al., and ours. With the weights of all layers but the last times
    ``alpha``, and hidden biases of 0, the first sines' frequencies are ``alpha`` times SIREN's and grow from layer to
    layer as `compute_growth` says. The factor, at least 1, is that with which the last sines' is that of
    `NoiseSchedule.matched`, along the axis where the target's is highest.

    Args:
        axes: The target's spatial axes.
        network: The network that is to be initialised.
        exactness: As in `NoiseSchedule.matched`.

    Raises:
        ValueError: The network's inputs are not the target's coordinates, there are no axes, or the exactness lies
            outside [0, 1].
    """
    exactness = read_number("exactness", exactness, 1)
    if not axes:
        raise ValueError("axes=[] must be the target's axes, such as axes_of returns")
    if not network.takes_coordinates:
        raise ValueError("the factor cannot be matched to a target behind an encoding of its coordinates")
    siren = network.first_omega_0 / len(axes) / sqrt(3)
    frequency = max(axis.nyquist * axis.centroid ** (2 * (1 - exactness)) if axis.centroid else 0.0 for axis in axes)

    def is_too_high(factor: float) -> bool:
        return factor * siren * compute_growth(network.num_layers, factor**2, factor) > frequency

    return weight_scaling(bisect(is_too_high, 1.0, 100.0))._replace(hidden_biases=0.0)


SCALED: dict[str, Callable[[Sequence[Axis], NetworkTraits], SirenScales]] = {
    "weight-scaling": lambda axes, network: weight_scaling(),
    "gradient-control": lambda axes, network: gradient_control(),
    "matched-scaling": match_weight_scaling,
}
"""The initialisations of this kind, by the name that chooses them: from a target's axes and a network to the scales."""


def scaled_init_(
    module: nn.Module | SineNetwork, scales: SirenScales, *, omega_0: float | None = None, seed: int | None = None
) -> None:
    """Initialise the linear layers of a sine network as SIREN does, times some scales, in place.

        >>> from winner_nerfstudio import Siren
        >>> from winner_nerfstudio.winner import scaled_init_, weight_scaling
        >>> scaled_init_(Siren(in_dim=2, out_dim=3), weight_scaling(2.5), seed=0)

    Args:
        module: As in `siren_init_`.
        scales: The factors of SIREN's draws.
        omega_0: As in `siren_init_`.
        seed: As in `siren_init_`; with scales of 1 the weights are SIREN's with that seed.

    Raises:
        ValueError: As `siren_init_`, or a factor is no number or negative, or layers share a weight, or the network has
            one layer only, which is both the first and the last.
    """
    network = find_sine_network(module, omega_0)
    if len(network.layers) < 2:
        raise ValueError("the first and the last layer are scaled differently; this network has one layer")
    if not isinstance(scales, SirenScales):
        raise ValueError(f"a {type(scales).__name__} is no SirenScales; give one, such as weight_scaling(2.5)")
    for name, factor in scales._asdict().items():
        read_number(f"the factor {name}", factor)
    if len({id(layer.weight) for layer in network.layers}) < len(network.layers):
        raise ValueError("layers of this network share one weight, which would be scaled once for each")
    siren_init_(network, seed=choose_seed(module, seed))
    hidden = [scales.hidden] * (len(network.layers) - 2)
    with torch.no_grad():
        for layer, factor in zip(network.layers, [scales.first, *hidden, scales.last], strict=True):
            layer.weight.mul_(factor)
        for layer in network.sine_layers[1:]:
            if layer.bias is not None:
                layer.bias.mul_(scales.hidden_biases)
