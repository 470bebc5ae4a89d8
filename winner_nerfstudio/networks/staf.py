"""STAF, the network of trainable sums of sines (Morsali et al. 2025, arXiv 2502.00869)."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .chain import CoordinateNetwork, check_positive, check_sizes

if TYPE_CHECKING:
    from jaxtyping import Float


class SumOfSines(nn.Module):
    """The activation ``sum_i C_i sin(Omega_i x + Phi_i)``, elementwise, whose 3 tau numbers are trained.

    They begin as in the authors' code: ``Omega`` from ``U(0, omega_0)``, ``Phi`` from ``U(-pi, pi)``, and ``C`` is the
    root, with its sign, of a number from a Laplace distribution of scale ``1/(2 tau)``.

    Args:
        tau: The number of sines.
        omega_0: The highest frequency.
    """

    def __init__(self, tau: int, omega_0: float) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(omega_0 * torch.rand(tau))
        self.phases = nn.Parameter(pi * (2 * torch.rand(tau) - 1))
        size, sign = -torch.log1p(-torch.rand(tau)) / (2 * tau), torch.sign(torch.rand(tau) - 0.5)
        self.amplitudes = nn.Parameter(sign * size.sqrt())

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return the sum for every element, same shape."""
        total = torch.zeros_like(x)
        for amplitude, frequency, phase in zip(self.amplitudes, self.frequencies, self.phases, strict=True):
            total = total + amplitude * torch.sin(frequency * x + phase)
        return total

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"tau={len(self.amplitudes)}"


class Staf(CoordinateNetwork):
    """Layers of `SumOfSines`, one for all units of a layer, then a linear layer (arXiv 2502.00869).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]. Weights and biases begin as torch's, as in the
    authors' code, whose layers are optionally added to their inputs; these are not.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each layer.
        num_layers: The number of layers of sums.
        omega_0: The highest frequency that a layer begins with, from the second on.
        first_omega_0: The highest frequency that the first layer begins with.
        tau: The number of sines in a sum.

    Raises:
        ValueError: A size is below 1, or a frequency is not positive.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 4,
        omega_0: float = 30.0,
        first_omega_0: float = 30.0,
        tau: int = 5,
    ) -> None:
        check_sizes(tau=tau)
        check_positive(omega_0=omega_0, first_omega_0=first_omega_0)
        super().__init__(
            in_dim,
            out_dim,
            hidden_dim,
            num_layers,
            lambda index: SumOfSines(tau, omega_0 if index else first_omega_0),
        )
