"""H-SIREN: a SIREN whose first sines are those of a hyperbolic sine (Gao and Jaiman 2024, arXiv 2410.04716)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .siren import SineChain

if TYPE_CHECKING:
    from jaxtyping import Float


class HyperbolicSine(nn.Module):
    """The activation ``sin(omega_0 sinh(2 x))``, elementwise.

    Its frequency grows from ``2 omega_0`` at x = 0 to ``2 omega_0 cosh(2)``, 3.8 times as much, at x = 1 and x = -1.

    Args:
        omega_0: Half the frequency around x = 0.
    """

    def __init__(self, omega_0: float = 30.0) -> None:
        super().__init__()
        self.omega_0 = float(omega_0)

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return the sine of every element, same shape."""
        return torch.sin(self.omega_0 * torch.sinh(2 * x))

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"omega_0={self.omega_0:g}"


class HSiren(SineChain):
    """A SIREN whose first sines are `HyperbolicSine` (arXiv 2410.04716: ``sin(sinh(2 x))`` in place of ``sin(x)``).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]; the last layer is linear. Weights and biases
    begin as SIREN's. Where SIREN's first frequency goes is our reading: it multiplies the hyperbolic sine, for in its
    argument it would give numbers up to ``sinh(60)``.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer.
        num_layers: The number of sine layers.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The factor of the first layer's hyperbolic sines.

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
    ) -> None:
        super().__init__(in_dim, out_dim, hidden_dim, num_layers, omega_0, first_omega_0)
        self[1] = HyperbolicSine(first_omega_0)
