"""Coordinate networks, by name."""

from typing import Any

from torch import nn

from .siren import Sine, Siren

NETWORKS: dict[str, type[nn.Module]] = {"siren": Siren}
"""Networks that a field may be made of, by the name it is stored under."""


def build_network(name: str, **arguments: Any) -> nn.Module:
    """The network registered as `name`, built with `arguments`.

    Raises:
        ValueError: no such network.
    """
    if name not in NETWORKS:
        raise ValueError(f"network={name!r} is not one of: {', '.join(NETWORKS)}")
    return NETWORKS[name](**arguments)


__all__ = ["NETWORKS", "Sine", "Siren", "build_network"]
