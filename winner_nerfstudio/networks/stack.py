"""A stack: many small sine networks of one shape, trained at once by batched products."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..winner.parts import Layer
from ..winner.sines import SineFrequencies, SineNetwork
from .chain import check_positive, check_sizes
from .sine_layers import Workspace, can_evaluate, evaluate_plainly, evaluate_sines

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class Stack(nn.Module):
    """Many SIRENs of one shape that know nothing of each other.

    On a CPU a member's values and gradients in training are the same to the bit whatever other members there are,
    because each has its own matrix product. For that its width must be a multiple of 4: libraries may round products of
    matrices that begin at other addresses in another way.

    Args:
        count: The members.
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer of a member.
        num_layers: The number of sine layers of a member.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The frequency of the first sine layer.

    Raises:
        ValueError: A size is below 1, or a frequency is not positive.
    """

    def __init__(
        self,
        count: int,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 32,
        num_layers: int = 4,
        *,
        omega_0: float = 30.0,
        first_omega_0: float = 30.0,
    ) -> None:
        check_sizes(in_dim=in_dim, out_dim=out_dim, hidden_dim=hidden_dim, num_layers=num_layers)
        check_positive(omega_0=omega_0, first_omega_0=first_omega_0)
        super().__init__()
        self._workspace = Workspace()
        self.omega_0, self.first_omega_0 = float(omega_0), float(first_omega_0)
        widths = [in_dim, *[hidden_dim] * num_layers, out_dim]
        self.weights = nn.ParameterList(torch.empty(count, b, a) for a, b in pairwise(widths))
        self.biases = nn.ParameterList(torch.empty(count, b) for b in widths[1:])

    @property
    def count(self) -> int:
        """The number of members."""
        return len(self.weights[0])

    @property
    def out_dim(self) -> int:
        """The values per point."""
        return self.biases[-1].shape[-1]

    def member(self, index: int) -> SineNetwork:
        """Return a member's layers, whose weights are views of the stack's."""
        return self._get_layers(index)

    @property
    def members(self) -> SineNetwork:
        """The layers of all members, whose weights [m, out, in] are views of the stack's."""
        return self._get_layers(slice(None))

    def _get_layers(self, index: int | slice) -> SineNetwork:
        layers = [
            Layer(weight.detach()[index], bias.detach()[index])
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        frequencies = SineFrequencies(self.first_omega_0, self.omega_0, self.omega_0)
        return SineNetwork(layers[:-1], layers[-1], False, frequencies)

    @torch.no_grad()
    def set_constant(self, index: int, values: Float[Tensor, " c"]) -> None:
        """Let a member have the same values everywhere."""
        self.weights[-1][index] = 0.0
        self.biases[-1][index] = values

    def evaluate_members(
        self, coords: Float[Tensor, "m n d"], members: Int[Tensor, " m"] | None = None
    ) -> Float[Tensor, "m n c"]:
        """Compute each member's own values at its own coordinates.

        Args:
            coords: the coordinates of each member's points; of a bank's members their own, see `Tiling.local_coords`.
            members: the indices of the members; all if left out.
        """
        parameters = [*self.weights, *self.biases]
        if members is not None:
            parameters = [each.index_select(0, members) for each in parameters]
        return self.evaluate_with(coords, parameters)

    def evaluate_with(self, coords: Float[Tensor, "m n d"], parameters: Sequence[Tensor]) -> Float[Tensor, "m n c"]:
        """Compute values as `evaluate_members` does, with other parameters of members in the order of the stack's own.

        Args:
            coords: as in `evaluate_members`.
            parameters: the weights of all layers, then their biases, of each member.
        """
        weights, biases = parameters[: len(self.weights)], parameters[len(self.weights) :]
        frequencies = [self.first_omega_0, *[self.omega_0] * (len(weights) - 2)]
        if can_evaluate(coords, parameters):
            return evaluate_sines(coords, weights, biases, frequencies, self._workspace)
        return evaluate_plainly(coords, weights, biases, frequencies)

    def train(self, mode: bool = True) -> Stack:
        """Set the mode, and outside training release the memory that training steps share."""
        if not mode:
            self._workspace.clear()
        super().train(mode)
        return self
