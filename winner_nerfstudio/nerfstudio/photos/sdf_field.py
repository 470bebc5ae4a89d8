"""The field of winner-neus: signed distance and colour, by sine networks, in place of nerfstudio's `SDFField`."""

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
from .scene_box import half_longest_side, to_box_coords
from .sine_mlp import WinnerMLP


@dataclass
class WinnerSDFFieldConfig(SDFFieldConfig):
    """A sine network for the distance, one for the texture, and a small network that makes colours."""

    _target: type = field(default_factory=lambda: WinnerSDFField)
    num_layers: int = 3
    """Number of sine layers of the distance's network and of the texture's."""
    hidden_dim: int = 128
    """Width of these layers."""
    geo_feat_dim: int = 64
    """Number of features that the texture gives per point."""
    num_layers_color: int = 2
    """Number of hidden layers of the colour network."""
    hidden_dim_color: int = 64
    """Width of these layers."""
    omega_0: float = 30.0
    """Frequency of the sine layers."""
    bias: float = 0.5
    """Radius of the sphere that the surface starts as; 1 is half the longest side of the scene box."""
    inside_outside: bool = False
    """Whether the distance is positive inside, as for a room seen from within."""
    beta_init: float = 0.3
    """Sharpness of the surface at the start: 1 / s is exp(10 beta_init)."""
    # Options of nerfstudio's own network, which have no meaning here.
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
    """A signed distance, negative inside, and a colour at each point of a scene, for NeuS (arXiv 2106.10689).

    It takes the place of nerfstudio's `SDFField` and needs no tiny-cuda-nn. With coordinates ``x`` in which the longest
    side of the scene box is [-1, 1], the signed distance is ``|x| - bias + geometry(x)``, in units of half that side.
    The sphere ``|x| - bias`` is added because a sine network starts close to zero everywhere, whereas NeuS needs to
    start from a sphere, which nerfstudio's field has from its geometric initialisation.

    The features from which colours are made come from a network of their own, `texture`: photographs say how fine the
    colours are, but little about how fine the surface is, and noise of that scale would break the surface up.

    Args:
        config: sizes of the networks and start of the surface.
        aabb: smallest and largest corner of the scene box, scene units.
        num_images: number of photographs, each of which has an appearance embedding.
        use_average_appearance_embedding: whether evaluation uses the mean of the embeddings, rather than zero.
        spatial_distortion: applied to the coordinates before the networks. nerfstudio's contraction changes nothing
            inside a cubic box and bounds the coordinates outside.
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
        Field.__init__(self)  # SDFField.__init__ makes a hash grid, which needs tiny-cuda-nn
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
        # The sine brings the features to unit size; the last layer of a sine network gives about 1 / omega_0.
        self.texture = WinnerMLP(
            3, layers, width, config.geo_feat_dim, out_activation=Sine(omega), omega_0=omega, first_omega_0=omega
        )
        self.deviation_network = LearnedVariance(init_val=config.beta_init)
        self._cos_anneal_ratio = 1.0
        self._make_color_network()

    def _make_color_network(self) -> None:
        """Make the network from points, directions, gradients, features and appearance to colours.

        Its modules have the names that nerfstudio's ``get_colors`` expects.
        """
        config = self.config
        inputs = 3 + self.direction_encoding.get_out_dim() + 3 + config.geo_feat_dim + config.appearance_embedding_dim
        widths = [inputs, *[config.hidden_dim_color] * config.num_layers_color, 3]
        self.num_layers_color = len(widths)
        for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
            self.add_module(f"clin{index}", nn.Linear(fan_in, fan_out))
        self.relu, self.sigmoid = nn.ReLU(), nn.Sigmoid()

    @property
    def omega_0(self) -> float:
        """Frequency of the networks' sine layers."""
        return self.config.omega_0

    @property
    def unit(self) -> float:
        """Half the longest side of the scene box, scene units: the unit of the networks' coordinates."""
        return half_longest_side(self.aabb)

    def forward_geonetwork(self, inputs: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch features"]:
        """Compute the signed distance followed by ``geo_feat_dim`` features at points of the scene."""
        coords, distorted = self._to_coords(inputs)
        return torch.cat([self._signed_distance(coords, distorted), self.texture(distorted)], -1)

    def signed_distance(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 1"]:
        """Compute the signed distance at points of the scene, both in scene units."""
        return self._signed_distance(*self._to_coords(points))

    def gradient(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Compute the gradient of the signed distance, which has no unit and can be differentiated once more.

        Args:
            points: points of the scene, scene units.
        """
        with torch.enable_grad():
            points = points if points.requires_grad else points.detach().requires_grad_(True)
            sdf = self.signed_distance(points)
            return torch.autograd.grad(sdf, points, torch.ones_like(sdf), create_graph=True)[0]

    def get_sdf(self, ray_samples: RaySamples) -> Float[Tensor, "*batch 1"]:
        """Compute the signed distance, scene units, where each sample starts."""
        return self.signed_distance(ray_samples.frustums.get_start_positions())

    def _to_coords(self, points: Float[Tensor, "*batch 3"]) -> tuple[Tensor, Tensor]:
        """Convert points of the scene to coordinates of its box, and to the distorted ones that the networks see."""
        coords = to_box_coords(points, self.aabb)
        if self.spatial_distortion is None:
            return coords, coords
        # Moved off zero, where nerfstudio's contraction has no gradient.
        return coords, self.spatial_distortion(coords + 1e-6)

    def _signed_distance(
        self, coords: Float[Tensor, "*batch 3"], distorted: Float[Tensor, "*batch 3"]
    ) -> Float[Tensor, "*batch 1"]:
        """Compute the signed distance, scene units, from the coordinates that `_to_coords` returns."""
        # The small term gives the radius a gradient at the centre of the box.
        radius = (coords.square().sum(-1, keepdim=True) + 1e-8).sqrt()
        sphere = radius - self.config.bias
        sdf: Tensor = self.unit * ((-sphere if self.config.inside_outside else sphere) + self.geometry(distorted))
        return sdf
