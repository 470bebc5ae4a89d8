"""Gauss, the network of Gaussian bumps (Ramasinghe and Lucey, ECCV 2022, arXiv 2111.15135)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .chain import chain, check_positive, check_sizes

if TYPE_CHECKING:
    from jaxtyping import Float


class Gaussian(nn.Module):
    """``exp(-x^2 / (2 a^2))``, elementwise."""

    def __init__(self, a: float = 0.09) -> None:
        super().__init__()
        self.a = float(a)

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The bump's height at every element, same shape."""
        return torch.exp(-0.5 * (x / self.a).square())

    def extra_repr(self) -> str:
        """What ``print(network)`` shows in the brackets."""
        return f"a={self.a:g}"


class Gauss(nn.Module):
    """Layers of Gaussian bumps, then a linear one; weights and biases start as torch's (arXiv 2111.15135).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim].

    Args:
        in_dim: coordinates per point.
        out_dim: values per point.
        hidden_dim: width of each Gaussian layer.
        num_layers: number of Gaussian layers.
        a: standard deviation of the bumps. The default is that of the authors' code; where others write
            ``exp(-(s x)^2)``, ``a = 1 / (s sqrt(2))``, so s = 30 is 0.0236.

    Raises:
        ValueError: a size below 1, or a deviation that is not positive.
    """

    def __init__(self, in_dim: int, out_dim: int, hidden_dim: int = 256, num_layers: int = 4, a: float = 0.09) -> None:
        check_sizes(in_dim=in_dim, out_dim=out_dim, hidden_dim=hidden_dim, num_layers=num_layers)
        check_positive(a=a)
        super().__init__()
        self.net = nn.Sequential(*chain(in_dim, out_dim, hidden_dim, [Gaussian(a) for _ in range(num_layers)]))

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """Values at coordinates in [-1, 1]^d."""
        return self.net(coords)
