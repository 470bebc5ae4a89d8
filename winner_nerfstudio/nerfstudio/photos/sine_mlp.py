"""A sine network that takes the place of nerfstudio's ``MLP``, with SIREN's or WINNER's initialisation."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.field_components.base_field_component import FieldComponent
from torch import Tensor, nn

from ...networks import Sine
from ...networks.chain import check_positive, check_sizes
from ...winner import Initialization, siren_init_, winner_init_


class WinnerMLP(FieldComponent):
    """A sine network with the arguments and the names of weights of nerfstudio's ``MLP``.

    It is initialised as SIREN is (arXiv 2006.09661); call `winner_init_` to add WINNER's noise. Without skip
    connections it is the same, bit for bit, as a `Siren` of ``num_layers - 1`` sine layers made with the same seed. Its
    inputs should span about [-1, 1].

    Args:
        in_dim: number of inputs per point.
        num_layers: number of linear layers, including the output layer.
        layer_width: width of each sine layer.
        out_dim: number of outputs per point; `layer_width` if left out.
        skip_connections: indices, from 1 on, of the layers that are given the network's inputs as well. As in ``MLP``,
            an index beyond the last layer has no effect.
        activation: a sine of your own, for all layers but the last; if left out, ``sin(omega_0 x)``.
        out_activation: activation after the last layer; none if left out.
        implementation: "torch"; "tcnn" is accepted, for configs made for ``MLP``, and means the same.
        omega_0: frequency of the sine layers from the second on; ignored if there is an `activation`.
        first_omega_0: frequency of the first sine layer; ignored if there is an `activation`.

    Raises:
        ValueError: a size below 1, a frequency that is not positive, an activation of torch's (none of which is a
            sine), a skip connection to the first layer, or an unknown implementation.
    """

    in_dim: int
    out_dim: int

    def __init__(
        self,
        in_dim: int,
        num_layers: int,
        layer_width: int,
        out_dim: int | None = None,
        skip_connections: Sequence[int] | None = None,
        activation: nn.Module | None = None,
        out_activation: nn.Module | None = None,
        implementation: str = "torch",
        omega_0: float = 30.0,
        first_omega_0: float = 30.0,
    ) -> None:
        out_dim = layer_width if out_dim is None else out_dim
        check_sizes(in_dim=in_dim, num_layers=num_layers, layer_width=layer_width, out_dim=out_dim)
        check_positive(omega_0=omega_0, first_omega_0=first_omega_0)
        if implementation not in ("torch", "tcnn"):
            raise ValueError(f"implementation={implementation!r} must be 'torch', or 'tcnn', which means the same here")
        if min(skip_connections or (1,)) < 1:
            raise ValueError(f"skip_connections={skip_connections} must be 1 or more; layer 0 has the inputs anyhow")
        if type(activation).__module__.startswith("torch.nn."):
            raise ValueError(f"activation={activation} is no sine; leave it out for torch.sin(omega_0 * x)")
        super().__init__(in_dim, out_dim)
        self.num_layers = num_layers
        self.layer_width = layer_width
        self.skip_connections = tuple(skip_connections or ())
        # `winner_init_` reads this; without it, it finds the frequency of the activation itself.
        self.omega_0 = float(omega_0) if activation is None else None
        self.sines = nn.ModuleList(
            activation or Sine(omega_0 if index else first_omega_0) for index in range(num_layers - 1)
        )
        self.build_nn_modules()
        self.out_activation = out_activation

    def build_nn_modules(self) -> None:
        """Make the linear layers and initialise them as SIREN's from torch's global generator.

        A network of a single layer, which has no sine, keeps torch's initialisation.
        """
        self.layers = nn.ModuleList()
        for index in range(self.num_layers):
            fan_in = self.layer_width if index else self.in_dim
            if index in self.skip_connections:
                fan_in += self.in_dim
            last = index == self.num_layers - 1
            self.layers.append(nn.Linear(fan_in, self.out_dim if last else self.layer_width))
        if self.num_layers > 1:
            siren_init_(self._chain(), omega_0=self.omega_0)

    def winner_init_(self, **arguments: Any) -> Initialization:
        """Initialise the network as SIREN is and add WINNER's noise, in place.

        `winner_nerfstudio.winner_init_` accepts this network, too, alone or in a field that has no other sines.

        Args:
            **arguments: the keyword arguments of `winner_nerfstudio.winner_init_`: a target, a centroid, or the scales
                ``s0`` and ``s1``, and so on.

        Returns:
            The centroid, the schedule's name and the noise scales that were used.

        Raises:
            ValueError: as in `winner_nerfstudio.winner_init_`.
        """
        return winner_init_(self._chain(), **{"omega_0": self.omega_0, **arguments})

    def _chain(self) -> nn.Sequential:
        """Return the same layers and sines in a sequence, without skip connections and output activation."""
        parts = [part for pair in zip(self.layers, self.sines, strict=False) for part in pair]
        return nn.Sequential(*parts, self.layers[-1])

    def forward(self, in_tensor: Float[Tensor, "*bs in_dim"]) -> Float[Tensor, "*bs out_dim"]:
        """Compute the outputs at inputs with any number of leading axes."""
        x = in_tensor
        for index, layer in enumerate(self.layers):
            if index in self.skip_connections:
                x = torch.cat([in_tensor, x], -1)
            x = layer(x)
            if index < len(self.sines):
                x = self.sines[index](x)
        return x if self.out_activation is None else self.out_activation(x)
