"""The model of winner-nerf: a small NeRF (arXiv 2003.08934) with a field of sine networks."""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import tyro
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.model_components.losses import MSELoss
from nerfstudio.model_components.ray_samplers import PDFSampler, UniformSampler
from nerfstudio.model_components.renderers import AccumulationRenderer, DepthRenderer, RGBRenderer
from nerfstudio.model_components.scene_colliders import AABBBoxCollider
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor, nn

from ...winner import NoiseScales
from ...winner.photos import GEOMETRY_SCALES
from .initialization import PhotoInitializationOptions, check_frequency, check_least
from .nerf_field import WinnerNeRFField
from .photo_model import PhotoModel
from .sine_mlp import WinnerMLP


@dataclass
class WinnerNeRFModelConfig(PhotoInitializationOptions, ModelConfig):
    """A radiance field inside the scene box, in front of a plain background."""

    _target: type = field(default_factory=lambda: WinnerNeRFModel)
    num_layers: int = 4
    """Number of layers of the density's sine network and of the texture's, including the output layer."""
    hidden_dim: int = 128
    """Width of the layers of both sine networks."""
    hidden_dim_color: int = 64
    """Width of the hidden layer of the network that makes colours from features and direction."""
    omega_0: float = 30.0
    """Frequency of the sine layers."""
    num_coarse_samples: int = 48
    """Uniform samples per ray."""
    num_importance_samples: int = 48
    """Samples per ray that are added where the uniform ones met a density."""
    background_color: Literal["random", "last_sample", "white", "black"] = "white"
    """Background of the object, and of transparent photographs."""
    enable_collider: tyro.conf.Suppress[bool] = False
    collider_params: tyro.conf.Suppress[dict[str, float] | None] = None
    loss_coefficients: tyro.conf.Suppress[dict[str, float]] = field(default_factory=dict)
    prompt: tyro.conf.Suppress[str | None] = None

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: one is too small, or they don't go together, in one line.
        """
        check_least(
            self,
            "pipeline.model",
            num_layers=3,
            hidden_dim=1,
            hidden_dim_color=1,
            num_coarse_samples=1,
            num_importance_samples=0,
            eval_num_rays_per_chunk=1,
        )
        check_frequency(self.omega_0, "pipeline.model")
        super().check()


class WinnerNeRFModel(PhotoModel):
    """A radiance field that is sampled twice along each ray: uniformly, then where that met a density.

    Both passes use the same field; only the second one is trained.
    """

    config: WinnerNeRFModelConfig

    def populate_modules(self) -> None:
        """Make the field, the samplers and the renderers."""
        Model.populate_modules(self)
        config = self.config
        self.field = WinnerNeRFField(
            self.scene_box.aabb, config.hidden_dim, config.num_layers, config.hidden_dim_color, config.omega_0
        )
        self.collider = AABBBoxCollider(self.scene_box)
        self.sampler_uniform = UniformSampler(num_samples=config.num_coarse_samples)
        self.sampler_pdf = PDFSampler(num_samples=config.num_importance_samples)
        self.renderer_rgb = RGBRenderer(background_color=config.background_color)
        self.renderer_accumulation = AccumulationRenderer()
        self.renderer_depth = DepthRenderer(method="expected")
        self.rgb_loss = MSELoss()

    def sine_networks(self) -> list[tuple[WinnerMLP, NoiseScales | None]]:
        """Return the texture, with noise from the photographs, and the density, with the noise that suits shapes."""
        return [(self.field.texture, None), (self.field.geometry, GEOMETRY_SCALES)]

    def list_options(self) -> dict[str, float]:
        """Return the frequency of the sine layers."""
        return {"omega-0": self.config.omega_0}

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return all parameters as one group, ``fields``."""
        return {"fields": list(self.field.parameters())}

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:  # type: ignore[override]
        """Render ``rgb`` [n, 3], ``accumulation`` and ``depth`` [n, 1] along n rays."""
        coarse = self.sampler_uniform(ray_bundle)
        with torch.no_grad():
            weights = coarse.get_weights(self.field.get_density(coarse)[0])
        samples = self.sampler_pdf(ray_bundle, coarse, weights)
        outputs = self.field(samples)
        weights = samples.get_weights(outputs[FieldHeadNames.DENSITY])
        return {
            "rgb": self.renderer_rgb(rgb=outputs[FieldHeadNames.RGB], weights=weights),
            "accumulation": self.renderer_accumulation(weights=weights),
            "depth": self.renderer_depth(weights=weights, ray_samples=samples),
        }

    def get_metrics_dict(self, outputs: dict[str, Any], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute ``psnr`` over the rays of a batch; it stays on the device."""
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device))
        return {"psnr": -10 * (outputs["rgb"].detach() - truth).square().mean().log10()}

    def get_loss_dict(
        self, outputs: dict[str, Any], batch: dict[str, Tensor], metrics_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Compute the mean squared error of the colours."""
        fitted, truth = self.renderer_rgb.blend_background_for_loss_computation(
            pred_image=outputs["rgb"],
            pred_accumulation=outputs["accumulation"],
            gt_image=batch["image"].to(self.device),
        )
        return {"rgb_loss": self.rgb_loss(truth, fitted)}
