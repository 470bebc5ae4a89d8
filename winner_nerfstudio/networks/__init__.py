"""Coordinate networks, by name."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .finer import Finer, FinerPlusPlus
from .gauss import Gauss
from .relu_pe import ReluPe
from .siren import Sine, Siren
from .siren_rff import SirenRff
from .wire import Wire

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "siren": Siren,
    "finer": Finer,
    "finer++": FinerPlusPlus,
    "wire": Wire,
    "gauss": Gauss,
    "relu-pe": ReluPe,
    "siren-rff": SirenRff,
}
"""Networks that a field may be made of, by the name it is stored under."""


def build_network(name: str, **arguments: Any) -> nn.Module:
    """The network registered as `name`, built with `arguments`, in single precision.

    Raises:
        ValueError: no such network.
    """
    if name not in NETWORKS:
        raise ValueError(f"network={name!r} is not one of: {', '.join(NETWORKS)}")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return NETWORKS[name](**arguments)
    finally:
        torch.set_default_dtype(default)


__all__ = [
    "NETWORKS",
    "Finer",
    "FinerPlusPlus",
    "Gauss",
    "ReluPe",
    "Sine",
    "Siren",
    "SirenRff",
    "Wire",
    "build_network",
]
