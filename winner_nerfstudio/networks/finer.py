"""FINER and FINER++: sines whose frequency grows with their argument (Liu et al., CVPR 2024; Zhu et al. 2024)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..winner.init import siren_init_
from .chain import chain, check_positive, check_sizes

if TYPE_CHECKING:
    from jaxtyping import Float


class VariableSine(nn.Module):
    """``sin(omega_0 (|x| + 1) x)``, elementwise; the variable-periodic sine of FINER (arXiv 2312.02434).

    Args:
        omega_0: frequency around x = 0.
        scale_grad: differentiate the factor ``|x| + 1`` in training too, where the authors hold it constant; in
            evaluation it always is, so that derivatives are the network's.
    """

    def __init__(self, omega_0: float = 30.0, scale_grad: bool = False) -> None:
        super().__init__()
        self.omega_0 = float(omega_0)
        self.scale_grad = scale_grad

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The sine of every element, same shape."""
        scale = x.abs() + 1
        constant = self.training and not self.scale_grad
        return torch.sin(self.omega_0 * (scale.detach() if constant else scale) * x)

    def extra_repr(self) -> str:
        """What ``print(network)`` shows in the brackets."""
        return f"omega_0={self.omega_0:g}, scale_grad={self.scale_grad}"


class Finer(nn.Sequential):
    """SIREN with `VariableSine` for its sines, the first layer's bias ``U(-k, k)`` (arXiv 2312.02434).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]; the last layer is linear. Weights and the other
    biases start as SIREN's. The wider the first bias, the higher the frequencies at the start. `siren_init_` and
    `winner_init_` take this network too, but draw the first bias as SIREN's; ``reinitialize=False`` keeps it.

    Args:
        in_dim: coordinates per point.
        out_dim: values per point.
        hidden_dim: width of each sine layer.
        num_layers: number of sine layers.
        omega_0: frequency of the sine layers from the second on.
        first_omega_0: frequency of the first sine layer.
        bias_range: ``k``. Left out, ``1 / sqrt(in_dim)``, which the authors' code takes for images (k = 0.71); it
            takes 1 for shapes.
        scale_grad: whether derivatives see the factor ``|x| + 1`` in training. False trains as the authors do, but
            then what autograd gives by the coordinates is the network's slope in evaluation mode only.

    Raises:
        ValueError: a size below 1, or a frequency or range that is not positive.
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
        check_sizes(in_dim=in_dim, out_dim=out_dim, hidden_dim=hidden_dim, num_layers=num_layers)
        bias_range = in_dim**-0.5 if bias_range is None else bias_range
        check_positive(omega_0=omega_0, first_omega_0=first_omega_0, bias_range=bias_range)
        sines = [VariableSine(omega_0 if index else first_omega_0, scale_grad) for index in range(num_layers)]
        super().__init__(*chain(in_dim, out_dim, hidden_dim, sines))
        self.omega_0 = float(omega_0)
        siren_init_(self)
        nn.init.uniform_(self.get_parameter("0.bias"), -bias_range, bias_range)


FinerPlusPlus = partial(Finer, bias_range=5.0)
"""FINER++'s sine member (arXiv 2407.19434), which is `Finer`; the name stands for a wide first bias, k = 5.

FINER++ puts the same factor ``|x| + 1`` into other activations (Gauss, wavelet) and leaves the sine as it was. It is
tuned by k, in the first layer only; 5 is what WINNER's authors compare with under this name.
"""
