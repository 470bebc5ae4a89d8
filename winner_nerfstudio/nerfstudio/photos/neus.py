"""NeuS (arXiv 2106.10689) with a field of sine networks: nerfstudio's own model but for what it would download."""

from dataclasses import dataclass, field
from typing import Any, Literal

import tyro
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes
from nerfstudio.field_components.encodings import NeRFEncoding
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.fields.vanilla_nerf_field import NeRFField
from nerfstudio.model_components.losses import L1Loss
from nerfstudio.model_components.ray_samplers import LinearDisparitySampler, NeuSSampler
from nerfstudio.model_components.renderers import AccumulationRenderer, DepthRenderer, RGBRenderer, SemanticRenderer
from nerfstudio.model_components.scene_colliders import AABBBoxCollider, NearFarCollider
from nerfstudio.models.base_model import Model
from nerfstudio.models.neus import NeuSModel, NeuSModelConfig
from torch import Tensor, nn

from ...winner import NoiseScales
from ...winner.photos import GEOMETRY_SCALES
from .method import PhotoInit, PhotoModel
from .mlp import WinnerMLP
from .sdf_field import WinnerSDFFieldConfig


@dataclass
class WinnerNeuSModelConfig(PhotoInit, NeuSModelConfig):
    """NeuS of an object inside the scene box, before a plain background or another."""

    _target: type = field(default_factory=lambda: WinnerNeuSModel)
    sdf_field: WinnerSDFFieldConfig = field(default_factory=WinnerSDFFieldConfig)
    """The field."""
    background_color: Literal["random", "last_sample", "white", "black"] = "white"
    """What is behind the object, and behind transparent photographs; black with a background model."""
    background_model: Literal["mlp", "none"] = "none"
    """What is outside the scene box: nothing, or a radiance field of its own, for photographs with a background."""
    cos_anneal_part: float = 1 / 6
    """Part of the run in which the cosine of NeuS's opacity takes over (50,000 of 300,000 steps in the paper)."""
    fg_mask_loss_mult: float = 0.1
    """Weight of the mask's loss, for photographs with transparency."""
    eval_num_rays_per_chunk: int = 1024
    """Rays per chunk when a picture is rendered; gradients take memory even then, about 1 MB a ray."""
    prompt: tyro.conf.Suppress[str | None] = None

    def problem(self) -> str | None:
        """What is wrong with the options, in one line, or None."""
        if self.background_model != "none" and self.background_color != "black":
            return (
                f"--pipeline.model.background-model {self.background_model} paints the background itself; it needs"
                " --pipeline.model.background-color black"
            )
        if self.sdf_field.num_layers < 2 or self.sdf_field.hidden_dim < 1:
            return "--pipeline.model.sdf-field.num-layers must be at least 2, and its hidden-dim at least 1"
        if not 0 <= self.cos_anneal_part <= 1:
            return f"--pipeline.model.cos-anneal-part {self.cos_anneal_part} must lie in [0, 1]"
        return super().problem()


class WinnerNeuSModel(PhotoModel, NeuSModel):
    """`NeuSModel` with WINNER's noise from photographs, and without LPIPS."""

    config: WinnerNeuSModelConfig

    def populate_modules(self) -> None:
        """Field, sampler and renderers; what nerfstudio's own does, which would download LPIPS's weights as well."""
        Model.populate_modules(self)
        config = self.config
        self.scene_contraction = SceneContraction(order=float("inf"))
        self.field = config.sdf_field.setup(
            aabb=self.scene_box.aabb,
            spatial_distortion=self.scene_contraction,
            num_images=self.num_train_data,
            use_average_appearance_embedding=config.use_average_appearance_embedding,
        )
        self.collider = AABBBoxCollider(self.scene_box, near_plane=0.05)
        if config.overwrite_near_far_plane:
            self.collider = NearFarCollider(near_plane=config.near_plane, far_plane=config.far_plane)
        self.field_background: nn.Module = nn.Identity()
        if config.background_model == "mlp":
            position, direction = (
                NeRFEncoding(3, num_frequencies=count, min_freq_exp=0.0, max_freq_exp=count - 1.0, include_input=True)
                for count in (10, 4)
            )
            self.field_background = NeRFField(position, direction, spatial_distortion=self.scene_contraction)
        self.sampler_bg = LinearDisparitySampler(num_samples=config.num_samples_outside)
        self.sampler = NeuSSampler(
            num_samples=config.num_samples,
            num_samples_importance=config.num_samples_importance,
            num_samples_outside=config.num_samples_outside,
            num_upsample_steps=config.num_up_sample_steps,
            base_variance=config.base_variance,
        )
        self.renderer_rgb = RGBRenderer(background_color=config.background_color)
        self.renderer_accumulation = AccumulationRenderer()
        self.renderer_depth = DepthRenderer(method="expected")
        self.renderer_normal = SemanticRenderer()
        self.rgb_loss = L1Loss()
        self.anneal_end = 0.0

    def sine_networks(self) -> list[tuple[WinnerMLP, NoiseScales | None]]:
        """The texture by the photographs, the distance by the scales that do for shapes."""
        return [(self.field.texture, None), (self.field.geometry, GEOMETRY_SCALES)]

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        """One group, ``fields``, the background's field included."""
        modules = (self.field, self.field_background)
        return {"fields": [p for module in modules for p in module.parameters() if p.requires_grad]}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """The noise, and the annealing of the cosine over a part of the run."""
        trainer = training_callback_attributes.trainer
        self.anneal_end = self.config.cos_anneal_part * (trainer.config.max_num_iterations if trainer else 0)
        return super().get_training_callbacks(training_callback_attributes)

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:  # type: ignore[override]
        """As nerfstudio's, and ``normals`` in [0, 1], the name by which ``ns-export pointcloud`` asks for them."""
        outputs = super().get_outputs(ray_bundle)
        outputs["normals"] = outputs["normal_vis"]
        return outputs

    def get_metrics_dict(self, outputs: dict[str, Any], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """PSNR of the rays, and how sharp the surface is; on the device, unlike upstream."""
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device))
        error = (outputs["rgb"].detach() - truth).square().mean()
        return {"psnr": -10 * error.log10(), "inv_s": self.field.deviation_network.get_variance().detach()[0]}

    def get_loss_dict(
        self, outputs: dict[str, Any], batch: dict[str, Tensor], metrics_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The terms of nerfstudio's; the mask is the photographs' transparency, where they have any."""
        if batch["image"].shape[-1] == 4:
            batch = {"fg_mask": batch["image"][..., 3:], **batch}
        return super().get_loss_dict(outputs, batch, metrics_dict)
