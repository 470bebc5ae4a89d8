"""FINER and FINER++: sines whose frequency grows with their argument (Liu et al., CVPR 2024; Zhu et al. 2024)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .chain import check_positive
from .siren import SineChain

if TYPE_CHECKING:
    from jaxtyping import Float


class VariableSine(nn.Module):
    """The activation ``sin(omega_0 (|x| + 1) x)``, elementwise: FINER's variable-periodic sine (arXiv 2312.02434).

    Args:
        omega_0: The frequency around x = 0.
        scale_grad: Whether the factor ``|x| + 1`` is differentiated in training too, where the authors hold it
            constant. In evaluation it always is, so that derivatives are the network's.
    """

    def __init__(self, omega_0: float = 30.0, scale_grad: bool = False) -> None:
        super().__init__()
        self.omega_0 = float(omega_0)
        self.scale_grad = scale_grad

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Return the sine of every element, same shape."""
        scale = x.abs() + 1
        constant = self.training and not self.scale_grad
        return torch.sin(self.omega_0 * (scale.detach() if constant else scale) * x)

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"omega_0={self.omega_0:g}, scale_grad={self.scale_grad}"


class Finer(SineChain):
    """A SIREN whose sines are `VariableSine`, with the first layer's bias drawn from ``U(-k, k)`` (arXiv 2312.02434).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]; the last layer is linear. Weights and the other
    biases begin as SIREN's. The wider the first bias, the higher the frequencies before training. `siren_init_` takes
    this network too, and `winner_init_` with `s0` and `s1`, but they draw the first bias as SIREN's, which
    ``reinitialize=False`` keeps; no schedule knows frequencies that change with their argument.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer.
        num_layers: The number of sine layers.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The frequency of the first sine layer.
        bias_range: ``k``; ``1 / sqrt(in_dim)`` if left out, which the authors' code takes for images (k = 0.71). It
            takes 1 for shapes.
        scale_grad: Whether the factor ``|x| + 1`` is differentiated in training. False trains as the authors do, but
            then autograd's derivatives by the coordinates are the network's slope in evaluation mode only.

    Raises:
        ValueError: A size is below 1, or a frequency or the range is not positive.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 4,
        omega_0: float = 30.0,
        first_omega_0: float = 30.0,
        bias_range: float | None = None,
        scale_grad: bool = False,
    ) -> None:
        make_sine = partial(VariableSine, scale_grad=scale_grad)
        super().__init__(in_dim, out_dim, hidden_dim, num_layers, omega_0, first_omega_0, make_sine)
        bias_range = in_dim**-0.5 if bias_range is None else bias_range
        check_positive(bias_range=bias_range)
        nn.init.uniform_(self.get_parameter("0.bias"), -bias_range, bias_range)


FinerPlusPlus = partial(Finer, bias_range=5.0)
"""FINER++ with sines (arXiv 2407.19434): `Finer` with a wide first bias, k = 5.

FINER++ puts the same factor ``|x| + 1`` into other activations (Gauss, wavelet) and leaves the sine as it was. It is
tuned by k, in the first layer only; 5 is what WINNER's authors compare with under this name.
"""
