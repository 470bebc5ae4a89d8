"""The field of winner-nerf: density and colour, each by a sine network."""

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RaySamples
from nerfstudio.field_components.activations import trunc_exp
from nerfstudio.field_components.encodings import NeRFEncoding
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.field_components.mlp import MLP
from nerfstudio.fields.base_field import Field
from torch import Tensor, nn

from ...networks import Sine
from .scene_box import half_longest_side, to_box_coords
from .sine_mlp import WinnerMLP


class WinnerNeRFField(Field):
    """A density and a colour at each point of a scene (NeRF, arXiv 2003.08934).

    The sine network `geometry` gives the density. The sine network `texture` gives features from which a small network
    makes the colour that is seen in a direction. They are separate because the noise scales that photographs ask for
    suit colours alone: in the density, noise of that scale makes specks in empty space.

    Args:
        aabb: smallest and largest corner of the scene box, scene units. The sine networks see coordinates in which its
            longest side is [-1, 1].
        hidden_dim: width of the sine networks, and number of features.
        num_layers: number of layers of each sine network, including the last, which is followed by a sine in `texture`
            only.
        hidden_dim_color: width of the hidden layer of the network that makes colours.
        omega_0: frequency of the sine layers.
    """

    aabb: Tensor

    def __init__(
        self,
        aabb: Float[Tensor, "2 3"],
        hidden_dim: int = 128,
        num_layers: int = 4,
        hidden_dim_color: int = 64,
        omega_0: float = 30.0,
    ) -> None:
        super().__init__()
        self.omega_0 = omega_0
        self.register_buffer("aabb", aabb)
        self.texture = WinnerMLP(
            3, num_layers, hidden_dim, out_activation=Sine(omega_0), omega_0=omega_0, first_omega_0=omega_0
        )
        self.geometry = WinnerMLP(3, num_layers, hidden_dim, 1, omega_0=omega_0, first_omega_0=omega_0)
        self.direction_encoding = NeRFEncoding(
            in_dim=3, num_frequencies=4, min_freq_exp=0.0, max_freq_exp=3.0, include_input=True
        )
        self.color = MLP(
            hidden_dim + self.direction_encoding.get_out_dim(), 2, hidden_dim_color, 3, out_activation=nn.Sigmoid()
        )

    @property
    def unit(self) -> float:
        """Half the longest side of the scene box, scene units: the unit of the networks' coordinates."""
        return half_longest_side(self.aabb)

    def get_density(self, ray_samples: RaySamples) -> tuple[Float[Tensor, "*batch 1"], Float[Tensor, "*batch n"]]:
        """Compute the density, per scene unit, and the features at the middle of each sample."""
        coords = to_box_coords(ray_samples.frustums.get_positions(), self.aabb)
        return trunc_exp(self.geometry(coords)) / self.unit, self.texture(coords)

    def get_outputs(
        self, ray_samples: RaySamples, density_embedding: Tensor | None = None
    ) -> dict[FieldHeadNames, Tensor]:
        """Compute the colour of each sample, [*batch, 3] in [0, 1], from the features that `get_density` returned."""
        assert density_embedding is not None, "get_density gives the features"
        directions = self.direction_encoding(ray_samples.frustums.directions)
        return {FieldHeadNames.RGB: self.color(torch.cat([density_embedding, directions], -1))}
