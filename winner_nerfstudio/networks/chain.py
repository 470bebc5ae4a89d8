"""What the networks share: the checks of their arguments and the chain of their layers."""

from collections.abc import Sequence

from torch import nn


def check_sizes(**sizes: int) -> None:
    """Let sizes from 1 on pass.

    Raises:
        ValueError: a size below 1; it is named.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size} must be at least 1")


def check_positive(**values: float) -> None:
    """Let positive numbers pass.

    Raises:
        ValueError: a number that is not positive or not finite; it is named.
    """
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name}={value} must be positive and finite")


def chain(in_dim: int, out_dim: int, hidden_dim: int, activations: Sequence[nn.Module]) -> list[nn.Module]:
    """Linear layers of width `hidden_dim` with an activation behind each, then a linear one of width `out_dim`."""
    layers: list[nn.Module] = []
    for index, activation in enumerate(activations):
        layers += [nn.Linear(hidden_dim if index else in_dim, hidden_dim), activation]
    return [*layers, nn.Linear(hidden_dim, out_dim)]
