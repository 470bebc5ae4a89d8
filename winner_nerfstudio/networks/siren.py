"""SIREN, the sine network (Sitzmann et al. 2020, arXiv 2006.09661), and what sine networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..winner.init import siren_init_
from .chain import CoordinateNetwork, check_positive

if TYPE_CHECKING:
    from jaxtyping import Float


class Sine(nn.Module):
    """The activation ``sin(omega_0 x)``, elementwise."""

    def __init__(self, omega_0: float = 30.0) -> None:
        super().__init__()
        self.omega_0 = float(omega_0)

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return the sine of every element, same shape."""
        return torch.sin(self.omega_0 * x)

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"omega_0={self.omega_0:g}"


class SineChain(CoordinateNetwork):
    """A `CoordinateNetwork` whose activations are sines, initialised as SIREN (arXiv 2006.09661, section 3.2).

    Args:
        in_dim: The inputs of the first layer.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer.
        num_layers: The number of sine layers.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The frequency of the first sine layer.
        make_sine: Makes a sine of the given frequency.
        encoding: A module that the coordinates pass through before the first layer.

    Raises:
        ValueError: A size is below 1, or a frequency is not positive.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int,
        num_layers: int,
        omega_0: float,
        first_omega_0: float,
        make_sine: Callable[[float], nn.Module] = Sine,
        encoding: nn.Module | None = None,
    ) -> None:
        check_positive(omega_0=omega_0, first_omega_0=first_omega_0)
        super().__init__(
            in_dim,
            out_dim,
            hidden_dim,
            num_layers,
            lambda index: make_sine(omega_0 if index else first_omega_0),
            encoding,
        )
        self.omega_0 = float(omega_0)
        siren_init_(self)


class Siren(SineChain):
    """SIREN: ``x -> sin(first_omega_0 (W0 x + b0)) -> sin(omega_0 (W1 . + b1)) -> ... -> Wn . + bn``.

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]; the last layer is linear. It begins with SIREN's
    weights (arXiv 2006.09661, section 3.2); `winner_init_` gives it WINNER's.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer.
        num_layers: The number of sine layers.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The frequency of the first sine layer.

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
