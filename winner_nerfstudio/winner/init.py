"""SIREN's and WINNER's initialisation of a network that stands: in place, from a generator of its own."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .matched import Axis, Start, axes_of
from .method import perturb_
from .schedule import NoiseSchedule
from .sines import Layer, SineNetwork, layer_of, named_frequency, parts_of, sine_network

# Parts the stream of the noise from that of the weights: seeds are user-made and small, this is neither.
_NOISE_STREAM = 0x57494E4E4552


class Initialization(NamedTuple):
    """What `winner_init_` chose; prints as ``psi=0.171, schedule=matched, s0=28.6, s1=0.153``.

    Attributes:
        centroid: the target's spectral centroid, None where the scales were given by hand.
        schedule: the schedule's name.
        s0: scale of the noise on the first layer.
        s1: scale of the noise on the second layer.
        axes: that on the first along each axis where they differ (`s0` is the root of their mean square), else nothing.
    """

    centroid: float | None
    schedule: str
    s0: float
    s1: float
    axes: tuple[float, ...] = ()

    def __str__(self) -> str:
        psi = "" if self.centroid is None else f"psi={self.centroid:.3g}, "
        axes = f" ({', '.join(f'{scale:.3g}' for scale in self.axes)})" if self.axes else ""
        return f"{psi}schedule={self.schedule}, s0={self.s0:.3g}{axes}, s1={self.s1:.3g}"


def siren_init_(module: nn.Module, *, omega_0: float | None = None, seed: int | None = None) -> None:
    """Initialise the linear layers of a sine network as SIREN does, in place (arXiv 2006.09661, section 3.2).

    First weight ``U(-1/d, 1/d)``, every later one ``U(-sqrt(6/fan_in)/omega_0, +)``, biases ``U(-1/sqrt(fan_in), +)``.

    Args:
        module: a sine network, or something that holds one, see `winner_init_`.
        omega_0: frequency of the hidden sine layers; left out, the network's own.
        seed: of this call's own generator; left out, it is drawn from torch's global one.

    Raises:
        ValueError: no sine network can be told in the module.
    """
    if any(parameter.is_meta for parameter in module.parameters()):  # only the network's sizes are asked for
        return
    layers = sine_network(module).layers
    _fresh(layers, _frequencies(module, layers, omega_0).omega_0, _seed(module, seed))


def winner_init_(
    module: nn.Module,
    *,
    target: Tensor | np.ndarray | None = None,
    centroid: float | None = None,
    s0: float | None = None,
    s1: float | None = None,
    schedule: NoiseSchedule | None = None,
    layers: tuple[nn.Module | str, nn.Module | str] | None = None,
    omega_0: float | None = None,
    dim: int | None = None,
    channels: int | None = None,
    samples: int | None = None,
    axes: Sequence[Axis] | None = None,
    hidden_biases: float | None = None,
    seed: int | None = None,
    reinitialize: bool = True,
) -> Initialization:
    """Give a sine network WINNER's initialisation, in place: SIREN's, then noise on the first two layers' weights.

    Say what the noise is made from in one of three ways: the `target` itself, its spectral `centroid`, or the two
    scales `s0` and `s1`. Called again it starts afresh, so noise never adds up; ``s0=s1=0`` is exactly SIREN's
    initialisation with that seed, and the weights from the third layer on are SIREN's for any scale. So are all biases,
    but that `NoiseSchedule.matched`, the default, has those of the hidden layers at 0.

    The network may be anybody's, if its sines are modules or it names their frequency: the smallest part of `module`
    that holds all sines and ends in a linear layer is taken, its layers in the order of registration. An encoding that
    is registered before it, and networks without sines beside it, are left alone.

    Args:
        module: a `Siren`, a sine network of another make, or something that holds one; anything if `layers` is given.
        target: the signal, regularly sampled, channels last, see `spectral_centroid`.
        centroid: ``psi`` in [0, 1].
        s0: noise scale of the first layer, radians per unit of coordinate.
        s1: noise scale of the second layer.
        schedule: from target to scales; left out, `NoiseSchedule.matched`, or, where the inputs are not the target's
            coordinates but an encoding of them, whose frequencies that doesn't know, `NoiseSchedule.reference`.
        layers: the first two linear layers, modules with a ``weight`` [out, in], or their names in
            ``module.named_modules()``; only these are touched then, and the schedule takes the network for one of two
            layers of sines.
        omega_0: frequency of the hidden sine layers, which scales both noises, as published. Left out, the network's
            own attribute (``omega_0``, ``omega``, ``w0``); if it has none but its sines have, the first layer's noise
            goes by the first sine, so that `s0` is in radians whatever the hidden ones are; 30 where there is neither.
        dim: spatial axes of the target; left out, the first layer's input size, or, where that is above 3 or behind an
            encoding, what `target` has besides the network's outputs.
        channels: of the target; left out, those of `target` or else the last layer's output size (with `layers`: 1).
        samples: of the target along each axis, for schedules that use it and are told a centroid only.
        axes: of the target, see `axes_of`, likewise, where they differ.
        hidden_biases: what SIREN's draws of the biases between the first and the last layer are multiplied by; left
            out, what the schedule says, 0 where it is `NoiseSchedule.matched`, else 1.
        seed: of this call's own generators; left out, it is drawn from torch's global one.
        reinitialize: False adds the noise to the weights as they are, and leaves the biases.

    Returns:
        The centroid, the schedule's name and the scales that were used.

    Raises:
        ValueError: not exactly one of the three ways, a network in which two sine layers cannot be told, or a target
            that does not fit it.
    """
    if layers is None:
        network = sine_network(module)
        if len(network.layers) < 3:
            raise ValueError(f"WINNER perturbs two sine layers; this network has {max(len(network.layers) - 1, 0)}")
    elif len(layers) == 2:
        network = SineNetwork([_named(module, layer) for layer in layers], encoded=False)
    else:
        raise ValueError(f"layers={layers} must be two: those that feed the first two sines")
    by_hand = s0 is not None or s1 is not None
    if (target is not None) + (centroid is not None) + by_hand != 1:
        raise ValueError("give exactly one of: target, centroid, or s0 and s1")
    first, second = network.layers[:2]
    if by_hand:
        if s0 is None or s1 is None or schedule is not None:
            raise ValueError("s0 and s1 go together, and without a schedule")
        schedule = NoiseSchedule.fixed(s0, s1)
    outputs = network.layers[-1].out_features if layers is None else None
    if dim is None and not by_hand and (network.encoded or first.in_features > 3):
        dim = _dim(target, outputs)
    dim = first.in_features if dim is None else dim
    frequencies = _frequencies(module, network.layers, omega_0)
    start = Start(
        first.out_features,
        max(len(network.layers) - 1, 2),
        frequencies.sine,
        frequencies.first,
        by_hand or (dim == first.in_features and not network.encoded),
    )
    if schedule is None:
        schedule = NoiseSchedule.matched() if start.takes_coordinates else NoiseSchedule.reference()
    if target is not None:
        if target.ndim not in (dim, dim + 1):
            raise ValueError(
                f"a target of shape {tuple(target.shape)} does not fit a network of {dim} inputs: it needs {dim}"
                " spatial axes, then at most one of channels; pass dim= if the inputs are not coordinates"
            )
        centroid = schedule.centroid_of(target, dim=dim)
        channels = (target.shape[-1] if target.ndim == dim + 1 else 1) if channels is None else channels
        if axes is None and samples is None:
            axes = axes_of(target, dim=dim)
    if channels is None:
        channels = outputs or 1
    biases = schedule.hidden_biases if hidden_biases is None else hidden_biases
    known = 0.0 if centroid is None else centroid
    scales = schedule(known, channels=channels, samples=samples, dim=dim, axes=axes, network=start)

    seed = _seed(module, seed)
    if reinitialize:
        _fresh(network.layers, frequencies.omega_0, seed, biases, with_output=layers is None)
    noise = torch.Generator().manual_seed((seed ^ _NOISE_STREAM) % 2**63)
    perturb_(first.weight, scales.axes or scales.s0, frequencies.first, noise)
    perturb_(second.weight, scales.s1, frequencies.omega_0, noise)
    return Initialization(centroid, schedule.name, *scales)


def _dim(target: Tensor | np.ndarray | None, outputs: int | None) -> int:
    """Spatial axes where the inputs are no coordinates: what the target has besides the network's outputs."""
    if target is not None and target.ndim > 1 and target.shape[-1] == outputs:
        return target.ndim - 1
    if target is not None and outputs == 1:
        return target.ndim
    shape = "" if target is None else f" in {tuple(target.shape)}"
    raise ValueError(f"the network's inputs are not the target's coordinates; pass dim=, its number of axes{shape}")


def _named(module: nn.Module, layer: nn.Module | str) -> Layer:
    found = dict(module.named_modules()).get(layer) if isinstance(layer, str) else layer
    if not isinstance(found, nn.Module):
        raise ValueError(f"layers names {layer!r}, which is no module of {type(module).__name__}")
    try:
        return layer_of(found)
    except ValueError as error:
        raise ValueError(f"layers names {layer!r}: {error}") from None


class _Frequencies(NamedTuple):
    first: float  # what the first layer's noise is divided by
    omega_0: float  # of the hidden sines, what the second's is divided by
    sine: float  # of the first sine


def _frequencies(module: nn.Module, layers: list[Layer], omega_0: float | None) -> _Frequencies:
    if omega_0 is None:
        own = (part for part in module.modules() if all(_holds(part, layer) for layer in layers[:2]))
        omega_0 = next((named for part in own if (named := named_frequency(part)) is not None), None)
    sines = [part.frequency for part in parts_of(module) if part.kind == "sine"] or [omega_0 or 30.0]
    if omega_0 is not None:
        frequencies = _Frequencies(omega_0, omega_0, sines[0])
    else:
        frequencies = _Frequencies(sines[0], sines[min(1, len(sines) - 1)], sines[0])
    if not all(0 < frequency < float("inf") for frequency in frequencies):
        raise ValueError(f"omega_0={omega_0} must be positive and finite")
    return frequencies


def _holds(module: nn.Module, layer: Layer) -> bool:
    return any(parameter is layer.weight for parameter in module.parameters())


def _seed(module: nn.Module, seed: int | None) -> int:
    if seed is not None:
        return seed
    for part in module.modules():
        if isinstance(part, DistributedDataParallel) and torch.distributed.get_world_size(part.process_group) > 1:
            raise ValueError("under DistributedDataParallel all processes must draw the same numbers; pass seed=")
    return int(torch.randint(2**62, (), device="cpu"))


def _fresh(
    layers: list[Layer], omega_0: float, seed: int, hidden_biases: float = 1.0, with_output: bool = True
) -> None:
    generator = torch.Generator().manual_seed(seed)
    for index, layer in enumerate(layers):
        fan_in = layer.in_features
        _uniform_(layer.weight, 1 / fan_in if index == 0 else sqrt(6 / fan_in) / omega_0, generator)
        if layer.bias is not None:
            part = hidden_biases if 0 < index < len(layers) - with_output else 1.0
            _uniform_(layer.bias, part / sqrt(fan_in), generator)


def _uniform_(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    # Drawn on the CPU in float32: one seed gives one network, whatever the device.
    drawn = torch.empty(parameter.shape, dtype=torch.float32, device="cpu").uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        parameter.copy_(drawn)
