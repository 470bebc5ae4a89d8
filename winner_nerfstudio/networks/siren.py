"""SIREN, the sine network (Sitzmann et al. 2020, arXiv 2006.09661)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..winner.init import siren_init_


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
        sizes = {"in_dim": in_dim, "out_dim": out_dim, "hidden_dim": hidden_dim, "num_layers": num_layers}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        for name, omega in {"omega_0": omega_0, "first_omega_0": first_omega_0}.items():
            if not 0 < omega < float("inf"):
                raise ValueError(f"{name}={omega} must be positive and finite")
        layers: list[nn.Module] = []
        for index in range(num_layers):
            layers.append(nn.Linear(in_dim if index == 0 else hidden_dim, hidden_dim))
            layers.append(Sine(first_omega_0 if index == 0 else omega_0))
        super().__init__(*layers, nn.Linear(hidden_dim, out_dim))
        self.omega_0 = float(omega_0)
        siren_init_(self)
