"""Encodings of coordinates by sines and cosines, without trainable parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .chain import check_positive, check_sizes

if TYPE_CHECKING:
    from jaxtyping import Float


class PositionalEncoding(nn.Module):
    """``sin(2^l pi p), cos(2^l pi p)`` for l from 0 to L - 1, of each coordinate p (NeRF, arXiv 2003.08934, eq. 4).

    Args:
        num_frequencies: The octaves, ``L``.
        include_input: Whether the features begin with the coordinates. The sines and cosines alone are the same at -1
            and at 1.

    Raises:
        ValueError: There is less than 1 frequency.
    """

    def __init__(self, num_frequencies: int, include_input: bool) -> None:
        check_sizes(num_frequencies=num_frequencies)
        super().__init__()
        self.num_frequencies = num_frequencies
        self.include_input = include_input

    def count_features(self, in_dim: int) -> int:
        """Return how many features the encoding makes of `in_dim` coordinates."""
        return (2 * self.num_frequencies + self.include_input) * in_dim

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n f"]:
        """Return the ``2 L d`` waves, sine beside cosine, coordinate after coordinate.

        The coordinates come first if they are included.
        """
        octaves = 2 ** torch.arange(self.num_frequencies, dtype=coords.dtype, device=coords.device)
        angles = torch.pi * octaves * coords[..., None]
        waves = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-3)
        return torch.cat((coords, waves), dim=-1) if self.include_input else waves

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"num_frequencies={self.num_frequencies}, include_input={self.include_input}"


class FourierFeatures(nn.Module):
    """``[cos(2 pi B v), sin(2 pi B v)]``, B drawn from ``N(0, sigma^2)`` and kept (Tancik et al., arXiv 2006.10739).

    Args:
        in_dim: The coordinates per point.
        num_features: The rows of B, ``m``.
        sigma: The standard deviation of B, cycles per unit of coordinate.

    Raises:
        ValueError: A size is below 1, or the deviation is not positive.
    """

    B: Float[Tensor, "m d"]

    def __init__(self, in_dim: int, num_features: int, sigma: float) -> None:
        check_sizes(in_dim=in_dim, num_features=num_features)
        check_positive(sigma=sigma)
        super().__init__()
        self.sigma = float(sigma)
        self.register_buffer("B", sigma * torch.randn(num_features, in_dim))

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n f"]:
        """Return the ``2 m`` features, cosines first."""
        angles = 2 * torch.pi * coords @ self.B.T
        return torch.cat((angles.cos(), angles.sin()), dim=-1)

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"in_dim={self.B.shape[1]}, num_features={self.B.shape[0]}, sigma={self.sigma:g}"
