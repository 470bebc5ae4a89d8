"""The sine network in a module: its layers, in the order of registration, and the frequencies of its sines."""

from collections.abc import Iterator
from itertools import pairwise
from math import inf, isclose
from typing import Any, NamedTuple, TypeAlias

from torch import nn

from .checks import read_positive
from .matched import NetworkTraits
from .parts import (
    Layer,
    Part,
    is_from_torch,
    is_layer,
    is_plain_sine,
    list_parts,
    read_layer,
    read_named_frequency,
    select_sines,
)

LayerPair: TypeAlias = tuple[nn.Module | str, nn.Module | str]
"""The layers that feed the first two sines, or their names in ``module.named_modules()``."""


class SineFrequencies(NamedTuple):
    """The frequencies that the initialisation of a sine network needs.

    Attributes:
        first: The frequency of the first sine.
        first_noise: What the noise on the first layer's weights is divided by.
        hidden: The frequency of the sines from the second on; the noise on the second layer's weights is divided by it.
    """

    first: float
    first_noise: float
    hidden: float


class SineNetwork(NamedTuple):
    """A sine network that was found in a module.

    Attributes:
        sine_layers: The layers that feed sines.
        output_layer: The last layer, which feeds none; None where only the first two layers are known.
        is_encoded: Whether something stands before the first layer, so that its inputs are not the coordinates.
        frequencies: The frequencies of the sines.
        changing: The class of a sine whose frequency changes with its argument; "" if there is none.
    """

    sine_layers: list[Layer]
    output_layer: Layer | None
    is_encoded: bool
    frequencies: SineFrequencies
    changing: str = ""

    @property
    def layers(self) -> list[Layer]:
        """All layers, the output's included."""
        return self.sine_layers + ([] if self.output_layer is None else [self.output_layer])


def find_sine_network(module: nn.Module | SineNetwork, omega_0: float | None = None) -> SineNetwork:
    """Find the sine network in a module: the smallest part that holds all sines and ends in a layer.

    What is registered before it counts as an encoding. So a network is found behind one, in a larger field whose other
    networks have no sines, and under the wrappers of ``torch.compile`` and data-parallel training.

    Args:
        module: The module to search.
        omega_0: The frequency of the hidden sines; found in the module if left out, see `winner_init_`.

    Raises:
        ValueError: It is no module, there is no sine, the layers do not follow on one another, or something else than
            sines stands between them; the message says what was seen and how to name the layers.
    """
    if isinstance(module, SineNetwork):
        if omega_0 is not None:
            raise ValueError("a network whose layers are known has its frequencies; leave omega_0 out")
        return module
    _check_module(module)
    parts = list_parts(module)
    sines = select_sines(parts)
    network = _cut_to_layers(_find_smallest(module, sines))
    layers = _read_chain(module, network, sines)
    before = parts[: parts.index(network[0])] if network else []
    is_encoded = any(_encodes(part) for part in before)
    measured = [sine for sine in sines if not _holds_layers(sine.module)]
    return SineNetwork(
        layers[:-1],
        layers[-1] if layers else None,
        is_encoded,
        _find_frequencies(module, layers, omega_0),
        next((type(sine.module).__name__ for sine in measured if not is_plain_sine(sine.module, sine.frequency)), ""),
    )


def find_network_to_perturb(
    module: nn.Module | SineNetwork, layers: LayerPair | None = None, omega_0: float | None = None
) -> SineNetwork:
    """Find the network whose first two layers get the noise: by itself, or as two layers that are named.

    Args:
        module: The module to search.
        layers: The layers that feed the first two sines; found if left out.
        omega_0: The frequency of the hidden sines; found if left out.

    Raises:
        ValueError: No sine network is found, it has less than two sine layers, the weight of one of its first two is
            that of a later layer too, or `layers` do not name two layers.
    """
    if layers is None:
        network = find_sine_network(module, omega_0)
        if len(network.sine_layers) < 2:
            raise ValueError(f"WINNER perturbs two sine layers; this network has {len(network.sine_layers)}")
        for index, layer in enumerate(network.sine_layers[:2]):
            if any(layer.weight is other.weight for other in network.layers[index + 1 :]):
                raise ValueError(
                    f"layer {index + 1} of this network shares its weight with a later one, which would get its noise"
                )
        return network
    if not isinstance(layers, (tuple, list)) or len(layers) != 2:
        raise ValueError(f"layers={layers!r} must be two: those that feed the first two sines")
    if isinstance(module, SineNetwork):
        raise ValueError("a network whose layers are known needs no layers=")
    _check_module(module)
    pair = [_look_up_layer(module, layer) for layer in layers]
    if pair[0].weight is pair[1].weight:
        raise ValueError("layers names one layer twice; name those that feed the first sine and the second")
    return SineNetwork(pair, None, False, _find_frequencies(module, pair, omega_0))


def describe_network(network: SineNetwork, dim: int) -> NetworkTraits:
    """Describe a sine network to the rules for the noise.

    Args:
        network: The network.
        dim: The number of the target's spatial axes.
    """
    first = network.sine_layers[0]
    return NetworkTraits(
        hidden_dim=first.out_features,
        num_layers=len(network.sine_layers),
        first_omega_0=network.frequencies.first,
        noise_omega_0=network.frequencies.first_noise,
        takes_coordinates=dim == first.in_features and not network.is_encoded,
    )


def _check_module(module: Any) -> None:
    """Check that something is a module.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(f"a {type(module).__name__} is no network; give a torch.nn.Module, such as Siren(2, 3)")


def _read_chain(module: nn.Module, parts: list[Part], sines: list[Part]) -> list[Layer]:
    """Return the layers among a network's parts.

    Raises:
        ValueError: The parts are no chain of layers with sines between them.
    """
    for part in parts:
        if part.role == "other" and not isinstance(part.module, (nn.Identity, nn.Dropout)):
            raise _refuse(module, f"it holds a {type(part.module).__name__}, which is neither Linear nor sine")
    if not sines:
        raise _refuse(module, "no sine is to be seen in it")
    # A single sine may serve all layers, wherever it is registered.
    if len(sines) > 1 and _separate_some_layers_only(parts):
        raise _refuse(module, "sines stand between some of its layers and not between others")
    layers = [read_layer(part.module) for part in parts if part.role == "layer"]
    if not all(_follows(layer, before, layers[0]) for before, layer in pairwise(layers)):
        raise _refuse(module, "its layers do not follow on one another")
    return layers


def _separate_some_layers_only(parts: list[Part]) -> bool:
    """Return whether sines stand between some of the layers while other layers follow directly on one another."""
    roles = [part.role for part in parts if part.role != "other"]
    are_adjacent = any(role == following == "layer" for role, following in pairwise(roles))
    return "sine" in roles and are_adjacent


def _follows(layer: Layer, before: Layer, first: Layer) -> bool:
    """Return whether a layer can take the outputs of the one before; a skip connection may add the network's inputs."""
    return layer.in_features in (before.out_features, before.out_features + first.in_features)


def _find_smallest(module: nn.Module, sines: list[Part]) -> list[Part]:
    """List the parts of the smallest module within that can be called, holds all the sines and ends in a layer."""
    for child in _iterate_callable_children(module):
        parts = list_parts(child)
        if sines and _ends_in_layer(parts) and select_sines(parts) == sines:
            return _find_smallest(child, sines)
    return list_parts(module)


def _ends_in_layer(parts: list[Part]) -> bool:
    """Return whether a linear layer comes last, modules without a role aside."""
    roles = [part.role for part in parts if part.role != "other"]
    return roles[-1:] == ["layer"]


def _cut_to_layers(parts: list[Part]) -> list[Part]:
    """Return the parts from the first layer to the last; the first part alone where there is no layer."""
    indices = [index for index, part in enumerate(parts) if part.role == "layer"] or [0]
    return parts[indices[0] : indices[-1] + 1]


def _iterate_callable_children(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the children of a module, and of lists those that they hold."""
    for child in module.children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield from _iterate_callable_children(child)
        else:
            yield child


def _encodes(part: Part) -> bool:
    """Return whether a module may change the coordinates before the first layer."""
    if part.role == "other":
        return not is_from_torch(part.module) or next(part.module.parameters(), None) is not None
    return part.role == "layer"


def _look_up_layer(module: nn.Module, layer: nn.Module | str) -> Layer:
    """Return the linear layer that a user named."""
    found = dict(module.named_modules()).get(layer) if isinstance(layer, str) else layer
    name = f"a {type(layer).__name__}" if isinstance(layer, nn.Module) else repr(layer)
    if not isinstance(found, nn.Module):
        raise ValueError(f"layers names {name}, which is no module of {type(module).__name__}")
    try:
        return read_layer(found)
    except ValueError as error:
        raise ValueError(f"layers names {name}: {error}") from None


def _find_frequencies(module: nn.Module, layers: list[Layer], omega_0: float | None) -> SineFrequencies:
    """Find the frequencies of a network's sines, see `omega_0` of `winner_init_`."""
    parts = list_parts(module)
    sines = _select_sines_after(parts, layers)
    if omega_0 is not None:
        omega_0 = read_positive("omega_0", omega_0)
    else:
        omega_0 = _find_named_frequency(module, layers[:2], [sine for sine in sines if not _holds_layers(sine.module)])
    found = [sine.frequency for sine in sines] or [omega_0 or 30.0]
    if omega_0 is None:
        frequencies = SineFrequencies(first=found[0], first_noise=found[0], hidden=found[min(1, len(found) - 1)])
    else:
        frequencies = SineFrequencies(first=found[0], first_noise=omega_0, hidden=omega_0)
    if not all(0 < frequency < inf for frequency in frequencies):
        raise ValueError(f"omega_0={omega_0} must be positive and finite")
    return frequencies


def _select_sines_after(parts: list[Part], layers: list[Layer]) -> list[Part]:
    """Return the sines that follow the first of these layers; all, as where one serves all layers, if none does."""
    sines = select_sines(parts)
    for index, part in enumerate(parts):
        if layers and part.role == "layer" and part.module._parameters.get("weight") is layers[0].weight:
            return select_sines(parts[index:]) or sines
    return sines


def _find_named_frequency(module: nn.Module, layers: list[Layer], measured: list[Part]) -> float | None:
    """Return the frequency that is named by the innermost module that holds these layers and names one, or None.

    Raises:
        ValueError: None of the sines that were measured has it, so that the name may mean something else.
    """
    for part in reversed([part for part in module.modules() if all(_holds(part, layer) for layer in layers)]):
        frequency = read_named_frequency(part)
        if frequency is None:
            continue
        # A single sine may be the first one, whose frequency is its own.
        if len(measured) > 1 and not any(isclose(sine.frequency, frequency, rel_tol=1e-3) for sine in measured):
            raise ValueError(
                f"a {type(part).__name__} names the frequency {frequency:g}, but its sines have"
                f" {measured[0].frequency:g}; pass omega_0= for the frequency of its hidden sines"
            )
        return frequency
    return None


def _holds_layers(module: nn.Module) -> bool:
    return any(map(is_layer, module.modules()))


def _holds(module: nn.Module, layer: Layer) -> bool:
    """Return whether a layer is part of a module."""
    return any(parameter is layer.weight for parameter in module.parameters())


def _refuse(module: nn.Module, reason: str) -> ValueError:
    """Return the error for a network whose first two layers cannot be found."""
    sizes = []
    for name, part in module.named_modules():
        if is_layer(part):
            weight: Any = part.weight
            sizes.append(f"{name or 'itself'} ({weight.shape[1]} -> {weight.shape[0]})")
    seen = ", ".join([*sizes[:6], "..."] if len(sizes) > 6 else sizes) or "none"
    return ValueError(
        f"the two layers to perturb cannot be told in this {type(module).__name__}: {reason} (layers seen: {seen});"
        ' name its first two Linear layers with layers=("NAME", "NAME") if they do feed sines'
    )
