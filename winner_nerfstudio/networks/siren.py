"""SIREN, the sine network (Sitzmann et al. 2020, arXiv 2006.09661)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..winner.init import siren_init_
from .chain import chain, check_positive, check_sizes

if TYPE_CHECKING:
    from jaxtyping import Float


class Sine(nn.Module):
    """``sin(omega_0 x)``, elementwise."""

    def __init__(self, omega_0: float = 30.0) -> None:
        super().__init__()
        self.omega_0 = float(omega_0)

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The sine of every element, same shape."""
        return torch.sin(self.omega_0 * x)

    def extra_repr(self) -> str:
        """What ``print(network)`` shows in the brackets."""
        return f"omega_0={self.omega_0:g}"


class Siren(nn.Sequential):
    """``x -> sin(first_omega_0 (W0 x + b0)) -> sin(omega_0 (W1 . + b1)) -> ... -> Wn . + bn``, initialised as SIREN.

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]; the last layer is linear. Give it WINNER's
    initialisation with `winner_init_`.

    Args:
        in_dim: coordinates per point.
        out_dim: values per point.
        hidden_dim: width of each sine layer.
        num_layers: number of sine layers.
        omega_0: frequency of the sine layers from the second on.
        first_omega_0: frequency of the first sine layer.

    Raises:
        ValueError: a size below 1 or a frequency that is not positive.
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
        check_sizes(in_dim=in_dim, out_dim=out_dim, hidden_dim=hidden_dim, num_layers=num_layers)
        check_positive(omega_0=omega_0, first_omega_0=first_omega_0)
        sines = [Sine(omega_0 if index else first_omega_0) for index in range(num_layers)]
        super().__init__(*chain(in_dim, out_dim, hidden_dim, sines))
        self.omega_0 = float(omega_0)
        siren_init_(self)
