"""From a target and a network to the noise scales; no weight is touched."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from .checks import read_count
from .inputs import convert_input
from .matched import Axis, axes_of
from .samples import Samples
from .schedule import NoiseSchedule
from .sines import LayerPair, SineNetwork, describe_network, find_network_to_perturb


class Initialization(NamedTuple):
    """What was chosen for a network's initialisation; prints as ``psi=0.171, schedule=matched, s0=28.6, s1=0.153``.

    Attributes:
        centroid: The target's spectral centroid, None where the scales were set by hand.
        schedule: The schedule's name.
        s0: The scale of the noise on the first layer.
        s1: The scale of the noise on the second layer.
        axes: The scale on the first layer along each axis where they differ (`s0` is the root of their mean square),
            else empty.
        factors: What SIREN's draws of the first layer's weights are multiplied by along each axis, where its
            frequencies are lowered, else empty.
        hidden_biases: What SIREN's draws of the biases between the first and the last layer are multiplied by.
    """

    centroid: float | None
    schedule: str
    s0: float
    s1: float
    axes: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()
    hidden_biases: float = 1.0

    @classmethod
    def fixed(cls, s0: float, s1: float) -> "Initialization":
        """Return noise scales that are set by hand; ``fixed(0, 0)`` is SIREN.

        Raises:
            ValueError: As `NoiseSchedule.fixed`.
        """
        schedule = NoiseSchedule.fixed(s0, s1)
        return cls(None, schedule.name, *schedule(0.0))

    def __str__(self) -> str:
        psi = "" if self.centroid is None else f"psi={self.centroid:.3g}, "
        axes = f" ({', '.join(f'{scale:.3g}' for scale in self.axes)})" if self.axes else ""
        lowered = f", factors=({', '.join(f'{factor:.3g}' for factor in self.factors)})" if self.factors else ""
        return f"{psi}schedule={self.schedule}, s0={self.s0:.3g}{axes}, s1={self.s1:.3g}{lowered}"


def compute_noise_scales(
    module: nn.Module | SineNetwork,
    *,
    target: Samples | None = None,
    centroid: float | None = None,
    schedule: NoiseSchedule | None = None,
    layers: LayerPair | None = None,
    omega_0: float | None = None,
    dim: int | None = None,
    channels: int | None = None,
    samples: int | None = None,
    axes: Sequence[Axis] | None = None,
) -> Initialization:
    """Compute WINNER's noise scales for a network, from a target or from its centroid; the network stays as it is.

        >>> import torch
        >>> from winner_nerfstudio import Siren
        >>> from winner_nerfstudio.winner import compute_noise_scales, initialize_
        >>> network = Siren(in_dim=1, out_dim=1)
        >>> initialization = compute_noise_scales(network, target=torch.arange(1000.0).sin())
        >>> print(initialization)
        psi=0.367, schedule=matched, s0=151, s1=0.153
        >>> initialize_(network, initialization, seed=0)

    The arguments are those of `winner_init_`; either `target` or `centroid` is needed.

    Raises:
        ValueError: As `winner_init_`.
    """
    if (target is None) == (centroid is None):
        raise ValueError("give exactly one of: target, centroid")
    if not (schedule is None or isinstance(schedule, NoiseSchedule)):
        raise ValueError(f"schedule={schedule!r} is no NoiseSchedule; give one, such as NoiseSchedule.reference()")
    if samples is not None and (target is not None or axes is not None):
        raise ValueError(f"samples={samples} goes with a centroid; a target and its axes have their own")
    network = find_network_to_perturb(module, layers, omega_0)
    if network.changing:
        raise ValueError(
            f"the frequency of a {network.changing} changes with its argument, which no schedule knows; give s0 and s1"
        )
    dim = None if dim is None else read_count("dim", dim)
    channels = None if channels is None else read_count("channels", channels)
    shape = None
    if target is not None:
        target, known_dim = convert_input(target)[:2]
        shape = tuple(target.shape)
        dim = known_dim if dim is None and network.is_encoded else dim
    dim = _find_dim(network, shape) if dim is None else dim
    traits = describe_network(network, dim)
    if schedule is None:
        schedule = NoiseSchedule.matched() if traits.takes_coordinates else NoiseSchedule.reference()
        if dim == 3 and not traits.takes_coordinates:
            raise ValueError("no rule knows the noise for three axes behind an encoding; give s0 and s1")
    if shape is not None:
        outputs = _count_outputs(network) if _ends_with(module, network) else None
        channels = _count_channels(shape, dim, outputs, channels)
        centroid = schedule.centroid_of(target, dim=dim)
        axes = axes_of(target, dim=dim) if axes is None else axes
    assert centroid is not None
    channels = (_count_outputs(network) or 1) if channels is None else channels
    scales = schedule(centroid, channels=channels, samples=samples, dim=dim, axes=axes, network=traits)
    return Initialization(centroid, schedule.name, *scales, hidden_biases=schedule.hidden_biases)


def _count_outputs(network: SineNetwork) -> int | None:
    return None if network.output_layer is None else network.output_layer.out_features


def _ends_with(module: nn.Module | SineNetwork, network: SineNetwork) -> bool:
    """Return whether no layer follows the sine network, so that its outputs are the target's channels."""
    output = network.output_layer
    if isinstance(module, SineNetwork):
        return output is not None
    weights = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    return output is not None and bool(weights) and weights[-1] is output.weight


def _count_channels(shape: tuple[int, ...], dim: int, outputs: int | None, channels: int | None) -> int:
    """Return the channels of a target with so many spatial axes.

    Args:
        shape: Of the target.
        dim: The number of spatial axes.
        outputs: The network's outputs, which the channels must be; None where more layers follow these.
        channels: The values per sample that the caller names, if any; they need not be the last axis.

    Raises:
        ValueError: The target has other axes or channels, or may be meant in two ways; the message names both.
    """
    if len(shape) not in (dim, dim + 1):
        raise ValueError(
            f"a target of shape {shape} does not fit a network of {dim} inputs: it needs {dim} spatial axes, then at"
            f" most one of channels{_hint_of_layout(shape, dim, outputs)}; pass dim= if the inputs are not coordinates"
        )
    found = shape[-1] if len(shape) == dim + 1 else 1
    if channels is not None:
        if len(shape) == dim + 1 and shape[0] == channels != found:
            hint = _hint_of_layout(shape, dim, channels)
            raise ValueError(f"a target of shape {shape} has {found} channels last, not channels={channels}{hint}")
        return channels
    if outputs is not None and found != outputs:
        raise ValueError(
            f"a target of shape {shape} has {found} channel{'s' * (found != 1)}, read as {dim} axes"
            f"{' and channels last' if len(shape) > dim else ' without channels'}, but the network has"
            f" {outputs} output{'s' * (outputs != 1)}{_hint_of_layout(shape, dim, outputs)}"
        )
    if outputs is not None and 1 < shape[0] == found != shape[1] and len(shape) == dim + 1:
        raise ValueError(
            f"a target of shape {shape} may have its {found} channels last or first; pass channels={found} if they come"
            " last, target.movedim(0, -1) if they come first"
        )
    if dim > 1 and len(shape) == dim and 1 in (shape[0], shape[-1]):
        raise ValueError(
            f"a target of shape {shape} may be {dim} axes of which one has a single sample, or have an axis of one"
            f" channel{_hint_of_layout(shape, dim, 1)}; pass channels=1 if it is the former"
        )
    return found


def _hint_of_layout(shape: tuple[int, ...], dim: int, outputs: int | None) -> str:
    """Return what else a shape may mean for a network of so many outputs, and how to pass that."""
    if len(shape) == dim + 1 and shape[0] == outputs:
        return f"; if its {outputs} channel{'s' * (outputs != 1)} come first, pass target.movedim(0, -1)"
    if len(shape) == dim + 2 and shape[0] == 1:
        return "; if its first axis is that of a batch, pass target[0]"
    if len(shape) == 2 and dim > 1 and shape[-1] == outputs:
        axes = ", ".join("hwd"[:dim]) if dim == 2 else "d, h, w"
        return f"; if its {shape[0]} rows are samples, pass it as [{axes}, {outputs}]"
    return ""


def _find_dim(network: SineNetwork, shape: tuple[int, ...] | None) -> int:
    """Return the number of spatial axes: the network's inputs, or what the target has besides the network's outputs.

    Raises:
        ValueError: The inputs are no coordinates, and there is no target that fits the outputs.
    """
    inputs, outputs = network.sine_layers[0].in_features, _count_outputs(network)
    if inputs <= 3 and not network.is_encoded:
        return inputs
    if shape is not None and len(shape) > 1 and shape[-1] == outputs:
        return len(shape) - 1
    if shape is not None and outputs == 1:
        return len(shape)
    where = "" if shape is None else f" in {shape}"
    raise ValueError(f"the network's inputs are not the target's coordinates; pass dim=, its number of axes{where}")
