"""WIRE, the complex Gabor wavelet network (Saragadam et al., CVPR 2023, arXiv 2301.05187)."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .chain import CoordinateNetwork, check_positive, check_sizes

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact


class Gabor(nn.Module):
    """The activation ``exp(j omega_0 x - |s_0 x|^2)``, elementwise, of real or complex numbers; complex."""

    def __init__(self, omega_0: float = 20.0, s_0: float = 10.0) -> None:
        super().__init__()
        self.omega_0 = float(omega_0)
        self.s_0 = float(s_0)

    def forward(self, x: Inexact[Tensor, "*n"]) -> Complex[Tensor, "*n"]:
        """Return the wavelet's value for every element, same shape."""
        return torch.exp(1j * self.omega_0 * x - (self.s_0 * x).abs().square())

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"omega_0={self.omega_0:g}, s_0={self.s_0:g}"


class RealPart(nn.Module):
    """The real part of complex numbers, elementwise."""

    def forward(self, x: Complex[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return the real part of every element, same shape."""
        return x.real


class Wire(CoordinateNetwork):
    """Layers of complex Gabor wavelets, then a linear one, whose real part is the value (arXiv 2301.05187).

    Maps coordinates [..., in_dim] in [-1, 1] to real values [..., out_dim]. From the second layer on, weights and
    biases are complex, so layers are ``hidden_dim / sqrt(2)`` wide, rounded down: about as many real numbers as in a
    real network of that width. Weights and biases begin as torch's, ``U(-1/sqrt(fan_in), +)``, real and imaginary
    parts alike, as in the authors' code.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width that a real network of this size would have.
        num_layers: The number of wavelet layers.
        omega_0: The frequency of the wavelets from the second layer on.
        first_omega_0: The frequency of the first layer's wavelets.
        s_0: The inverse width of all wavelets' envelopes.

    Raises:
        ValueError: A size is below 1, or a frequency or the inverse width is not positive.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 4,
        omega_0: float = 20.0,
        first_omega_0: float = 20.0,
        s_0: float = 10.0,
    ) -> None:
        check_sizes(hidden_dim=hidden_dim)
        check_positive(omega_0=omega_0, first_omega_0=first_omega_0, s_0=s_0)
        super().__init__(
            in_dim,
            out_dim,
            max(1, int(hidden_dim / sqrt(2))),
            num_layers,
            lambda index: Gabor(omega_0 if index else first_omega_0, s_0),
            dtype=torch.cfloat,
        )
        self.append(RealPart())
