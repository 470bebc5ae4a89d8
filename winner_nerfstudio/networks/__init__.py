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

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .bank import Bank, Tiling
from .chain import CoordinateNetwork
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
    "bank": Bank,
}
"""The networks that a field may be made of, by the name that it is stored under.

An entry takes ``in_dim``, ``out_dim``, ``hidden_dim`` and ``num_layers``, and returns a module that maps [..., in_dim]
to [..., out_dim]. Any further argument needs a default, a number; a bank alone needs lists, of its parts. A network of
your own is added by ``NETWORKS["name"] = Network``, before a field that is made of it is loaded.
"""


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


__all__ = [
    "NETWORKS",
    "Bank",
    "CoordinateNetwork",
    "Finer",
    "FinerPlusPlus",
    "Gauss",
    "ReluPe",
    "Sine",
    "Siren",
    "SirenRff",
    "Tiling",
    "Wire",
    "build_network",
]
