"""SIREN, the sine network (Sitzmann et al. 2020, arXiv 2006.09661), and what sine networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..winner.init import siren_init_
from .chain import CoordinateNetwork, check_positive
from .sine_layers import Workspace, can_evaluate, evaluate_sines

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
        self._workspace = Workspace()

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """Compute the values, which are those of the layers one by one to rounding, but sooner."""
        if coords.ndim == 2 and self._is_plain():
            linear = [layer for layer in self if isinstance(layer, nn.Linear)]
            sines = [layer for layer in self if isinstance(layer, Sine)]
            weights, biases = [layer.weight for layer in linear], [layer.bias for layer in linear]
            if can_evaluate(coords, [*weights, *biases]):
                return evaluate_sines(coords, weights, biases, [sine.omega_0 for sine in sines], self._workspace)
        values: Tensor = super().forward(coords)  # type: ignore[no-untyped-call]
        return values

    def _is_plain(self) -> bool:
        """Return whether the layers are as they were made, of the same types and without hooks."""
        return all(
            type(module) is (Sine if index % 2 else nn.Linear)
            and not (module._forward_hooks or module._forward_pre_hooks)
            and not (module._backward_hooks or module._backward_pre_hooks)
            and (index % 2 or module.bias is not None)
            for index, module in enumerate(self)
        )

    def train(self, mode: bool = True) -> Siren:
        """Set the mode, and outside training release the memory that training steps share."""
        if not mode:
            self._workspace.clear()
        return super().train(mode)
