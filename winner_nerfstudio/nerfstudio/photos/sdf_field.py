"""A signed distance field of sine networks that stands where nerfstudio's `SDFField` does, without tiny-cuda-nn."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
import tyro
from jaxtyping import Float
from nerfstudio.cameras.rays import RaySamples
from nerfstudio.field_components.embedding import Embedding
from nerfstudio.field_components.encodings import NeRFEncoding
from nerfstudio.field_components.spatial_distortions import SpatialDistortion
from nerfstudio.fields.base_field import Field
from nerfstudio.fields.sdf_field import LearnedVariance, SDFField, SDFFieldConfig
from torch import Tensor, nn
from torch.nn import Parameter

from ...networks import Sine
from ..viewer.box import in_box, unit_of
from .mlp import WinnerMLP


@dataclass
class WinnerSDFFieldConfig(SDFFieldConfig):
    """A distance and a texture, each a sine network, and a small network that mixes colours."""

    _target: type = field(default_factory=lambda: WinnerSDFField)
    num_layers: int = 3
    """Number of sine layers of the distance, and of the texture."""
    hidden_dim: int = 128
    """Width of each."""
    geo_feat_dim: int = 64
    """Features of the texture per point."""
    num_layers_color: int = 2
    """Number of hidden layers of the colour network."""
    hidden_dim_color: int = 64
    """Width of each."""
    omega_0: float = 30.0
    """Frequency of the sine layers."""
    bias: float = 0.5
    """Radius of the sphere that it starts as, in halves of the scene box's longest side."""
    inside_outside: bool = False
    """Whether the distance is positive inside, as for a room seen from within."""
    beta_init: float = 0.3
    """Sharpness of the surface at the start: 1 / s is exp(10 times this)."""
    # What belongs to nerfstudio's own network and means nothing here.
    geometric_init: tyro.conf.Suppress[bool] = True
    weight_norm: tyro.conf.Suppress[bool] = False
    use_grid_feature: tyro.conf.Suppress[bool] = False
    divide_factor: tyro.conf.Suppress[float] = 2.0
    encoding_type: tyro.conf.Suppress[Literal["hash", "periodic", "tensorf_vm"]] = "hash"
    num_levels: tyro.conf.Suppress[int] = 16
    max_res: tyro.conf.Suppress[int] = 2048
    base_res: tyro.conf.Suppress[int] = 16
    log2_hashmap_size: tyro.conf.Suppress[int] = 19
    features_per_level: tyro.conf.Suppress[int] = 2
    use_hash: tyro.conf.Suppress[bool] = True
    smoothstep: tyro.conf.Suppress[bool] = True


class WinnerSDFField(SDFField):
    """A signed distance, scene units, negative inside, and a colour, as NeuS wants them (arXiv 2106.10689).

    The distance is ``|x| - bias + geometry(x)``. A sine network starts near zero everywhere, and not, as nerfstudio's
    does by its geometric initialisation, as a sphere: so the sphere is added to it. ``x`` are the scene box's
    coordinates, in which its longest side is [-1, 1]. The features that colours are made of come from a network of
    their own, `texture`, for photographs tell how fine colours are, and little of how fine the surface is: noise of
    their scale would break a distance up.

    Args:
        config: the networks.
        aabb: the scene box, scene units.
        num_images: number of photographs, for appearance embeddings.
        use_average_appearance_embedding: in evaluation, their mean rather than zero.
        spatial_distortion: applied to the box's coordinates before the networks; nerfstudio's contraction leaves them
            as they are in a cubic box, and bounds what lies outside.
    """

    config: WinnerSDFFieldConfig

    def __init__(
        self,
        config: WinnerSDFFieldConfig,
        aabb: Float[Tensor, "2 3"],
        num_images: int,
        use_average_appearance_embedding: bool = False,
        spatial_distortion: SpatialDistortion | None = None,
    ) -> None:
        Field.__init__(self)  # SDFField's own builds a hash grid, which needs tiny-cuda-nn
        self.config = config
        self.aabb = Parameter(aabb, requires_grad=False)
        self.spatial_distortion = spatial_distortion
        self.num_images = num_images
        self.embedding_appearance = Embedding(num_images, config.appearance_embedding_dim)
        self.use_average_appearance_embedding = use_average_appearance_embedding
        self.use_grid_feature = False
        self.direction_encoding = NeRFEncoding(
            in_dim=3, num_frequencies=4, min_freq_exp=0.0, max_freq_exp=3.0, include_input=True
        )
        layers, width = config.num_layers + 1, config.hidden_dim
        omega = config.omega_0
        self.geometry = WinnerMLP(3, layers, width, 1, omega_0=omega, first_omega_0=omega)
        # A sine makes the features of unit size: the last layer of a sine network puts out about 1 / omega_0.
        self.texture = WinnerMLP(
            3, layers, width, config.geo_feat_dim, out_activation=Sine(omega), omega_0=omega, first_omega_0=omega
        )
        self.deviation_network = LearnedVariance(init_val=config.beta_init)
        self._cos_anneal_ratio = 1.0
        # Named as get_colors, which is nerfstudio's, asks for them.
        inputs = 3 + self.direction_encoding.get_out_dim() + 3 + config.geo_feat_dim + config.appearance_embedding_dim
        widths = [inputs, *[config.hidden_dim_color] * config.num_layers_color, 3]
        self.num_layers_color = len(widths)
        for index, (width, after) in enumerate(pairwise(widths)):
            self.add_module(f"clin{index}", nn.Linear(width, after))
        self.relu, self.sigmoid = nn.ReLU(), nn.Sigmoid()

    @property
    def omega_0(self) -> float:
        """Frequency of the networks' sine layers."""
        return self.config.omega_0

    @property
    def unit(self) -> float:
        """Half the longest side of the scene box, scene units: the networks' unit of length."""
        return unit_of(self.aabb)

    def forward_geonetwork(self, inputs: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch features"]:
        """The distance and, from the second on, ``geo_feat_dim`` features, at positions of the scene."""
        coords, distorted = self._coords(inputs)
        return torch.cat([self._distance(coords, distorted), self.texture(distorted)], -1)

    def distance(self, positions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 1"]:
        """The signed distance, scene units, at positions of the scene."""
        return self._distance(*self._coords(positions))

    def gradient(self, positions: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """The distance's gradient, without unit, at positions of the scene; differentiable itself."""
        with torch.enable_grad():
            positions = positions if positions.requires_grad else positions.detach().requires_grad_(True)
            distance = self.distance(positions)
            return torch.autograd.grad(distance, positions, torch.ones_like(distance), create_graph=True)[0]

    def get_sdf(self, ray_samples: RaySamples) -> Float[Tensor, "*batch 1"]:
        """The signed distance where each sample starts."""
        return self.distance(ray_samples.frustums.get_start_positions())

    def _coords(self, positions: Float[Tensor, "*batch 3"]) -> tuple[Tensor, Tensor]:
        """The box's coordinates, and what the networks see of them."""
        coords = in_box(positions, self.aabb)
        if self.spatial_distortion is None:
            return coords, coords
        # Never zero: there nerfstudio's contraction has no gradient.
        return coords, self.spatial_distortion(coords + 1e-6)

    def _distance(self, coords: Float[Tensor, "*batch 3"], distorted: Float[Tensor, "*batch 3"]) -> Tensor:
        # Rounded at the very centre, where a cone has no gradient.
        radius = (coords.square().sum(-1, keepdim=True) + 1e-8).sqrt()
        sphere = radius - self.config.bias
        return self.unit * ((-sphere if self.config.inside_outside else sphere) + self.geometry(distorted))
