"""Gauss, the network of Gaussian bumps (Ramasinghe and Lucey, ECCV 2022, arXiv 2111.15135)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .chain import CoordinateNetwork, check_positive

if TYPE_CHECKING:
    from jaxtyping import Float


class Gaussian(nn.Module):
    """The activation ``exp(-x^2 / (2 a^2))``, elementwise."""

    def __init__(self, a: float = 0.09) -> None:
        super().__init__()
        self.a = float(a)

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return the bump's height at every element, same shape."""
        return torch.exp(-0.5 * (x / self.a).square())

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"a={self.a:g}"


class Gauss(CoordinateNetwork):
    """Layers of Gaussian bumps, then a linear one; weights and biases begin as torch's (arXiv 2111.15135).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim].

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each Gaussian layer.
        num_layers: The number of Gaussian layers.
        a: The standard deviation of the bumps. The default is that of the authors' code; where others write
            ``exp(-(s x)^2)``, ``a = 1 / (s sqrt(2))``, so s = 30 is 0.0236.

    Raises:
        ValueError: A size is below 1, or the deviation is not positive.
    """

    def __init__(self, in_dim: int, out_dim: int, hidden_dim: int = 256, num_layers: int = 4, a: float = 0.09) -> None:
        check_positive(a=a)
        super().__init__(in_dim, out_dim, hidden_dim, num_layers, lambda index: Gaussian(a))
