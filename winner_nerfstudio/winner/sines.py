"""Which layers of a network feed its sines, and at what frequency: read from its modules in the order of registration.

A layer is an ``nn.Linear``, or another library's module with a parameter ``weight`` [out, in]. A sine is a module that
computes one, or else a module that names a frequency and holds layers.
"""

from collections.abc import Iterator
from itertools import chain, pairwise
from math import inf, pi
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

FREQUENCIES = ("omega_0", "omega0", "omega", "w0", "w_0")
"""Attributes by which networks name a sine's frequency."""


class Layer(NamedTuple):
    """The parameters of a linear layer.

    Attributes:
        weight: [out, in].
        bias: [out], or None.
    """

    weight: Tensor
    bias: Tensor | None

    @property
    def in_features(self) -> int:
        """Inputs per point."""
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        """Outputs per point."""
        return self.weight.shape[0]


class SineNetwork(NamedTuple):
    """What was found in a module.

    Attributes:
        layers: all the layers, the output's included.
        encoded: whether something stands before the first layer, so that its inputs are not the coordinates.
    """

    layers: list[Layer]
    encoded: bool


class Part(NamedTuple):
    """A module as this file sees it.

    Attributes:
        module: itself.
        kind: what it is.
        frequency: a sine's, radians per unit of its argument.
    """

    module: nn.Module
    kind: Literal["layer", "sine", "other"]
    frequency: float = 0.0


def sine_network(module: nn.Module) -> SineNetwork:
    """The sine network in a module: the smallest part of it that holds all its sines and ends in a layer.

    What is registered before it counts as an encoding. So a network is found behind one, in a larger field whose other
    networks have no sines, and under the wrappers of ``torch.compile`` and data-parallel training.

    Raises:
        ValueError: no sine, layers that do not follow on one another, or between them anything but sines; the error
            says what was seen and how to name the layers.
    """
    everything = parts_of(module)
    sines = [part for part in everything if part.kind == "sine"]
    own = _smallest(module, sines)
    places = [index for index, part in enumerate(own) if part.kind == "layer"] or [0]
    within = own[places[0] : places[-1] + 1]
    for part in within:
        if part.kind == "other" and not isinstance(part.module, (nn.Identity, nn.Dropout)):
            raise _refusal(module, f"it holds a {type(part.module).__name__}, which is neither Linear nor sine")
    if not sines:
        raise _refusal(module, "no sine is to be seen in it")
    # Sines stand either between all layers, or elsewhere because one serves them all.
    order = "".join(part.kind[0] for part in within if part.kind != "other")
    if len(sines) > 1 and "s" in order and "ll" in order:
        raise _refusal(module, "sines stand between some of its layers and not between others")
    layers = [layer_of(part.module) for part in within if part.kind == "layer"]
    # A skip connection adds the network's inputs to a layer's.
    if any(b.in_features not in (a.out_features, a.out_features + layers[0].in_features) for a, b in pairwise(layers)):
        raise _refusal(module, "its layers do not follow on one another")
    before = everything[: everything.index(within[0])] if within else []
    return SineNetwork(layers, encoded=any(_encodes(part) for part in before))


def parts_of(module: nn.Module) -> list[Part]:
    """Layers, sines and whatever else, in the order of registration; a layer's own parts follow it."""
    holds_layers = any(map(is_layer, module.modules()))
    if not holds_layers and not _is_container(module):
        frequency = sine_frequency(module)
        return [Part(module, "other") if frequency is None else Part(module, "sine", frequency)]
    parts = [Part(module, "layer")] if is_layer(module) else []
    # What an nn.Linear holds are parametrizations of its weight.
    for child in () if isinstance(module, nn.Linear) else module.children():
        parts += parts_of(child)
    named = named_frequency(module)
    if holds_layers and named is not None and not any(part.kind == "sine" for part in parts):
        parts.append(Part(module, "sine", named))
    return parts


def is_layer(module: nn.Module) -> bool:
    """Whether a module passes for a linear layer unless told otherwise."""
    weight = module._parameters.get("weight")
    foreign = not _is_torchs(module) and weight is not None and weight.ndim == 2
    return isinstance(module, nn.Linear) or foreign


def layer_of(module: nn.Module) -> Layer:
    """The parameters of any module that has a weight [out, in].

    Raises:
        ValueError: it has none, or one that is computed from other parameters.
    """
    weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
    if weight is None and isinstance(module, nn.Linear):
        raise ValueError(
            f"the weight of {module} is computed (weight norm, or another parametrization) and would not keep what is"
            " written to it; initialise first, then parametrize"
        )
    if weight is None or weight.ndim != 2 or weight.is_complex():
        raise ValueError(f"{type(module).__name__} has no real weight [out, in]")
    return Layer(weight, bias)


def sine_frequency(module: nn.Module) -> float | None:
    """The frequency of a module that computes a sine, or None of any other; found by calling it on some numbers.

    It is the slope at 0 of what is 0 there, stays within [-1, 1], and is negative somewhere in the turn that follows.
    Modules of torch's, and those with more than single numbers for parameters, are not called: none is a sine.
    """
    own = list(chain(module.parameters(), module.buffers()))
    if _is_torchs(module) or any(tensor.numel() != 1 for tensor in own):
        return None
    try:
        with torch.inference_mode(False), torch.enable_grad():
            zero = torch.zeros_like(own[0] if own else torch.empty(1)).reshape(1).requires_grad_()
            start = module(zero)
            frequency = float(torch.autograd.grad(start.sum(), zero)[0])
            turn = module(torch.linspace(0, 2 * pi / frequency, 65).to(zero))
        risen = 0 < frequency < inf and float(start.detach()) == 0
        return frequency if risen and turn.shape == (65,) and turn.min() < -0.5 and turn.abs().max() <= 1.001 else None
    except Exception:  # whatever somebody's module raises when given numbers, it is no sine then
        return None


def named_frequency(module: nn.Module) -> float | None:
    """The frequency that a module has among its attributes, or None."""
    for name in FREQUENCIES:
        value = getattr(module, name, None)
        if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1):
            return float(value)
    return None


def _smallest(module: nn.Module, sines: list[Part]) -> list[Part]:
    """The parts of the smallest module within that can be called, holds all the sines and ends in a layer."""
    for child in _callable_children(module):
        parts = parts_of(child)
        ends = [part.kind for part in parts if part.kind != "other"][-1:]
        if sines and ends == ["layer"] and [part for part in parts if part.kind == "sine"] == sines:
            return _smallest(child, sines)
    return parts_of(module)


def _callable_children(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)):
            yield from _callable_children(child)
        else:
            yield child


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))


def _is_torchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _encodes(part: Part) -> bool:
    if part.kind == "other":
        return not _is_torchs(part.module) or next(part.module.parameters(), None) is not None
    return part.kind == "layer"


def _refusal(module: nn.Module, reason: str) -> ValueError:
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
