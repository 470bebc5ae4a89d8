"""What a module is made of, as far as sine networks go: layers, sines, and everything else.

A layer is an ``nn.Linear``, or another library's module with a parameter ``weight`` [out, in]. A sine is a module that
computes one, or else a module that names a frequency and holds layers.
"""

from itertools import chain
from math import inf, pi
from numbers import Real
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

FREQUENCY_NAMES = ("omega_0", "omega0", "omega", "w0", "w_0")
"""The attributes by which networks name a sine's frequency."""

Role: TypeAlias = Literal["layer", "sine", "other"]
"""What a module does in a network."""


class Layer(NamedTuple):
    """The parameters of a linear layer, or of one of each of m networks of one shape.

    Attributes:
        weight: [out, in], or [m, out, in].
        bias: [out], or [m, out], or None.
    """

    weight: Tensor
    bias: Tensor | None

    @property
    def in_features(self) -> int:
        """The inputs per point."""
        return self.weight.shape[-1]

    @property
    def out_features(self) -> int:
        """The outputs per point."""
        return self.weight.shape[-2]


class Part(NamedTuple):
    """A module and its role.

    Attributes:
        module: The module.
        role: What it does.
        frequency: The frequency of a sine, radians per unit of its argument; 0 for anything else.
    """

    module: nn.Module
    role: Role
    frequency: float = 0.0


def list_parts(module: nn.Module) -> list[Part]:
    """List the layers, the sines and whatever else a module holds, in the order of registration.

    A layer's own parts follow it.
    """
    holds_layers = any(map(is_layer, module.modules()))
    if not holds_layers and not _is_container(module):
        frequency = measure_sine_frequency(module)
        return [Part(module, "other") if frequency is None else Part(module, "sine", frequency)]
    parts = [Part(module, "layer")] if is_layer(module) else []
    # What an nn.Linear holds are parametrizations of its weight.
    for child in () if isinstance(module, nn.Linear) else module.children():
        parts += list_parts(child)
    named = read_named_frequency(module)
    if holds_layers and named is not None and not select_sines(parts):
        parts.append(Part(module, "sine", named))
    return parts


def select_sines(parts: list[Part]) -> list[Part]:
    """Select the sines among parts."""
    return [part for part in parts if part.role == "sine"]


def is_layer(module: nn.Module) -> bool:
    """Return whether a module counts as a linear layer."""
    weight = module._parameters.get("weight")
    is_foreign_layer = not is_from_torch(module) and weight is not None and weight.ndim == 2
    return isinstance(module, nn.Linear) or is_foreign_layer


def read_layer(module: nn.Module) -> Layer:
    """Return the parameters of any module that has a weight [out, in].

    Raises:
        ValueError: The module has no such weight, or its weight or bias is computed from other parameters.
    """
    weight, bias = module._parameters.get("weight"), module._parameters.get("bias")
    if isinstance(module, nn.Linear) and not {"weight", "bias"} <= module._parameters.keys():
        raise ValueError(
            f"a {type(module).__name__} computes its weight or its bias (weight norm, or another parametrization), and"
            " would not keep what is written to them; initialise first, then parametrize"
        )
    if weight is None or weight.ndim != 2 or weight.is_complex():
        raise ValueError(f"{type(module).__name__} has no real weight [out, in]")
    return Layer(weight, bias)


def measure_sine_frequency(module: nn.Module) -> float | None:
    """Measure the frequency of a module that computes a sine, by calling it on some numbers.

    The module counts as a sine if it is 0 at 0, rises there, stays within [-1, 1], and is negative somewhere in the
    turn that follows; the slope at 0 is its frequency. Modules of torch's, and those with more than single numbers for
    parameters, are not called: none is a sine.

    Returns:
        The frequency, radians per unit of the argument, or None for any other module.
    """
    if is_from_torch(module) or any(tensor.numel() != 1 for tensor in chain(module.parameters(), module.buffers())):
        return None
    try:
        like = _find_like(module)
        zero = torch.zeros_like(like).reshape(1)
        devices = [zero.device] if zero.is_cuda else []
        # What somebody's module draws must not change the numbers that torch draws next.
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices):
            zero = zero.clone().requires_grad_()
            value = module.forward(zero)  # without what others have hooked to it
            frequency = float(torch.autograd.grad(value.sum(), zero)[0])
            turn = module.forward(torch.linspace(0, 2 * pi / frequency, 65, device="cpu").to(zero))
        rises = 0 < frequency < inf and float(value.detach()) == 0
        is_sine = rises and turn.shape == (65,) and turn.min() < -0.5 and turn.abs().max() <= 1.001
        return frequency if is_sine else None
    except Exception:  # whatever somebody's module raises when it gets numbers, it is no sine then
        return None


def is_plain_sine(module: nn.Module, frequency: float) -> bool:
    """Return whether a module that counts as a sine is one of the same frequency everywhere, not only at 0."""
    like = _find_like(module)
    with torch.no_grad(), torch.random.fork_rng([like.device] if like.is_cuda else []):
        angles = torch.linspace(-4 * pi, 4 * pi, 65, device="cpu").to(like)
        return bool((module.forward(angles / frequency) - angles.sin()).abs().max() < 0.01)


def _find_like(module: nn.Module) -> Tensor:
    """Return a tensor of the type and on the device of a module's inputs; a count among its buffers says nothing."""
    tensors = chain(module.parameters(), module.buffers())
    return next(filter(torch.is_floating_point, tensors), torch.empty(1, dtype=torch.float32, device="cpu"))


def read_named_frequency(module: nn.Module) -> float | None:
    """Return the frequency that a module has among its attributes, or None."""
    for name in FREQUENCY_NAMES:
        value = getattr(module, name, None)
        if isinstance(value, Tensor) and value.numel() == 1:
            return float(value.detach())
        if isinstance(value, Real):  # numpy's numbers too
            return float(value)
    return None


def is_from_torch(module: nn.Module) -> bool:
    """Return whether a module is one of torch's."""
    return type(module).__module__.startswith("torch.nn.")


def _is_container(module: nn.Module) -> bool:
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
