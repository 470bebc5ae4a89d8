"""The coordinate networks, by name.

Another network is added by a dict assignment, and can then be chosen wherever a network can:

    >>> from torch import nn
    >>> from winner_nerfstudio.networks import NETWORKS, CoordinateNetwork, build_network
    >>> class Tanh(CoordinateNetwork):
    ...     def __init__(self, in_dim, out_dim, hidden_dim=256, num_layers=4):
    ...         super().__init__(in_dim, out_dim, hidden_dim, num_layers, lambda index: nn.Tanh())
    >>> NETWORKS["tanh"] = Tanh
    >>> build_network("tanh", in_dim=2, out_dim=3)[1]
    Tanh()
"""

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any, SupportsFloat

import torch
from torch import nn

from .bank import Bank, Tiling
from .cells import CellBank
from .chain import CoordinateNetwork
from .finer import Finer, FinerPlusPlus
from .gauss import Gauss
from .groups import GroupedBank, Groups
from .h_siren import HSiren
from .relu_pe import ReluPe
from .siren import Sine, Siren
from .siren_rff import SirenRff
from .stack import Stack
from .staf import Staf
from .wire import Wire

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "siren": Siren,
    "finer": Finer,
    "finer++": FinerPlusPlus,
    "wire": Wire,
    "gauss": Gauss,
    "relu-pe": ReluPe,
    "siren-rff": SirenRff,
    "h-siren": HSiren,
    "staf": Staf,
    "bank": Bank,
    "cells": CellBank,
}
"""The networks that a field may be made of, by the name that it is stored under.

An entry takes ``in_dim``, ``out_dim``, ``hidden_dim`` and ``num_layers``, and returns a module that maps [..., in_dim]
to [..., out_dim]. Any further argument needs a default, a number; a bank alone needs lists, of its parts. A network of
your own is added by ``NETWORKS["name"] = Network``, before a field that is made of it is loaded.
"""

DIVIDED = ("bank", "cells")
"""Those that are made of the parts of a divided signal; the number of parts chooses them, not their name."""
SIZES = ("in_dim", "out_dim", "hidden_dim", "num_layers")
"""The arguments that every network has."""
_TYPES = {bool: "truth value", int: "whole number", float: "number"}


def build_network(name: str, **arguments: Any) -> nn.Module:
    """Build a network by its name in `NETWORKS`, in single precision.

    Args:
        name: A key of `NETWORKS`.
        **arguments: The arguments of the network.

    Raises:
        ValueError: There is no network of that name.
    """
    if name not in NETWORKS:
        raise ValueError(f"network={name!r} is not one of: {', '.join(NETWORKS)}")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return NETWORKS[name](**arguments)
    finally:
        torch.set_default_dtype(default)


def count_weights(weights: Iterable[torch.Tensor]) -> int:
    """Return how many real numbers some weights are; a complex one is two."""
    return sum(weight.numel() * (2 if weight.is_complex() else 1) for weight in weights)


def complete_arguments(name: str, **arguments: Any) -> dict[str, Any]:
    """Return what `build_network` needs to build the same network even if defaults should change.

    Args:
        name: A key of `NETWORKS`.
        **arguments: Arguments of the network.

    Returns:
        The name, the arguments and the defaults of all arguments that were left out, each of its default's type. A
        default that is neither a number nor a string, a truth value or None cannot be stored and stays out.

    Raises:
        ValueError: There is no network of that name, a needed argument is missing, or one is of another type.
    """
    if name not in NETWORKS:
        raise ValueError(f"network={name!r} is not one of: {', '.join(NETWORKS)}")
    complete = {"name": name, **arguments}
    for parameter in signature(NETWORKS[name]).parameters.values():
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        argument, default = parameter.name, parameter.default
        if argument not in complete and default is Parameter.empty:
            raise ValueError(f"network {name} needs {argument}")
        if argument not in complete and not isinstance(default, (bool, int, float, str, type(None))):
            continue
        complete[argument] = _as_type_of(default, argument, complete.get(argument, default))
    return complete


def _as_type_of(default: Any, argument: str, value: Any) -> Any:
    """Return an argument's value as the type of its default; a size, which may have no default, is a whole number."""
    wanted: Any = int if argument in SIZES else type(default)
    if wanted not in (bool, int, float) or type(value) is wanted:
        return value
    right = isinstance(value, SupportsFloat) and not isinstance(value, bool)
    if not right or (wanted is int and float(value) % 1 != 0) or (wanted is bool and value not in (0, 1)):
        raise ValueError(f"{argument}={value!r} must be a {_TYPES[wanted]}")
    return wanted(value)


__all__ = [
    "DIVIDED",
    "NETWORKS",
    "Bank",
    "CellBank",
    "CoordinateNetwork",
    "Finer",
    "FinerPlusPlus",
    "Gauss",
    "GroupedBank",
    "Groups",
    "HSiren",
    "ReluPe",
    "Sine",
    "Siren",
    "SirenRff",
    "Stack",
    "Staf",
    "Tiling",
    "Wire",
    "build_network",
    "complete_arguments",
    "count_weights",
]
