"""What the networks share: the checks of their arguments, and the chain of linear layers that each of them is."""

from collections.abc import Callable
from numbers import Integral, Real

import torch
from torch import nn


def check_sizes(**sizes: int) -> None:
    """Refuse sizes that are no whole numbers or below 1.

    Raises:
        ValueError: A size is no whole number or below 1; the message names it.
    """
    for name, size in sizes.items():
        if not isinstance(size, Integral):
            raise ValueError(f"{name}={size!r} must be a whole number, at least 1")
        if size < 1:
            raise ValueError(f"{name}={size} must be at least 1")


def check_positive(**values: float) -> None:
    """Refuse what is no number, not positive or not finite.

    Raises:
        ValueError: A value is no number, not positive or not finite; the message names it.
    """
    for name, value in values.items():
        if not isinstance(value, Real):
            raise ValueError(f"{name}={value!r} must be a number, positive and finite")
        if not 0 < value < float("inf"):
            raise ValueError(f"{name}={value} must be positive and finite")


class CoordinateNetwork(nn.Sequential):
    """A chain of linear layers, each but the last followed by an activation; every network of this package is one.

    Maps inputs [..., in_dim] to values [..., out_dim]. The layers begin with torch's weights and biases.

    Args:
        in_dim: The inputs of the first layer: the coordinates, or the features that `encoding` makes of them.
        out_dim: The values per point.
        hidden_dim: The width of each hidden layer.
        num_layers: The number of hidden layers.
        make_activation: Makes the activation of the hidden layer with the given index, 0 for the first.
        encoding: A module that the coordinates pass through before the first layer.
        dtype: The type of all weights but the first layer's; torch's default type if left out.

    Raises:
        ValueError: A size is below 1.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int,
        num_layers: int,
        make_activation: Callable[[int], nn.Module],
        encoding: nn.Module | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_sizes(in_dim=in_dim, out_dim=out_dim, hidden_dim=hidden_dim, num_layers=num_layers)
        modules = [] if encoding is None else [encoding]
        modules += [nn.Linear(in_dim, hidden_dim), make_activation(0)]
        for index in range(1, num_layers):
            modules += [nn.Linear(hidden_dim, hidden_dim, dtype=dtype), make_activation(index)]
        super().__init__(*modules, nn.Linear(hidden_dim, out_dim, dtype=dtype))
