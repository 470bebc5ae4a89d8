"""The model of winner-neus: nerfstudio's NeuS (arXiv 2106.10689) with a field of sine networks, without downloads."""

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
from .initialization import PhotoInitializationOptions, check_frequency, check_least
from .photo_model import PhotoModel
from .sdf_field import WinnerSDFFieldConfig
from .sine_mlp import WinnerMLP


@dataclass
class WinnerNeuSModelConfig(PhotoInitializationOptions, NeuSModelConfig):
    """NeuS of an object inside the scene box."""

    _target: type = field(default_factory=lambda: WinnerNeuSModel)
    sdf_field: WinnerSDFFieldConfig = field(default_factory=WinnerSDFFieldConfig)
    """Signed distance and colour."""
    background_color: Literal["random", "last_sample", "white", "black"] = "white"
    """Background of the object, and of transparent photographs; must be black with a background model."""
    background_model: Literal["mlp", "none"] = "none"
    """Model of what is outside the scene box: none, or for photographs with a background a radiance field, "mlp"."""
    cos_anneal_part: float = 1 / 6
    """Part of the run, from 0 to 1, over which the cosine in NeuS's opacity is annealed (the paper: 50,000 of 300,000
    steps)."""
    fg_mask_loss_mult: float = 0.1
    """Weight of the loss of the mask; photographs with transparency have one."""
    eval_num_rays_per_chunk: int = 1024
    """Rays per chunk when a picture is rendered. Each takes about 1 MB of memory, because normals need gradients."""
    prompt: tyro.conf.Suppress[str | None] = None

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: one is too small, or they don't go together, in one line.
        """
        if self.background_model != "none" and self.background_color != "black":
            raise ValueError(
                f"--pipeline.model.background-model {self.background_model} renders the background itself and needs"
                " --pipeline.model.background-color black"
            )
        check_least(
            self,
            "pipeline.model",
            num_samples=1,
            num_up_sample_steps=0,
            num_samples_importance=self.num_up_sample_steps,  # each of these steps adds some
            eval_num_rays_per_chunk=1,
        )
        check_least(
            self.sdf_field,
            "pipeline.model.sdf-field",
            num_layers=2,
            hidden_dim=1,
            num_layers_color=0,
            hidden_dim_color=1,
            geo_feat_dim=1,
            appearance_embedding_dim=1,
        )
        check_frequency(self.sdf_field.omega_0, "pipeline.model.sdf-field")
        if not 0 <= self.cos_anneal_part <= 1:
            raise ValueError(f"--pipeline.model.cos-anneal-part {self.cos_anneal_part} must lie in [0, 1]")
        super().check()


class WinnerNeuSModel(PhotoModel, NeuSModel):
    """nerfstudio's `NeuSModel` with WINNER's noise from photographs, and without LPIPS."""

    config: WinnerNeuSModelConfig
    # nerfstudio has narrower types for these.
    field_background: Any
    anneal_end: Any

    def populate_modules(self) -> None:
        """Make the field, the sampler and the renderers.

        This repeats what nerfstudio's own method does but for LPIPS, whose weights that would download.
        """
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
        self.field_background = self._make_background()
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

    def _make_background(self) -> nn.Module:
        """Make the field of what is outside the scene box, as nerfstudio does."""
        if self.config.background_model == "none":
            return nn.Identity()
        points, directions = (
            NeRFEncoding(3, num_frequencies=count, min_freq_exp=0.0, max_freq_exp=count - 1.0, include_input=True)
            for count in (10, 4)
        )
        return NeRFField(points, directions, spatial_distortion=self.scene_contraction)

    def sine_networks(self) -> list[tuple[WinnerMLP, NoiseScales | None]]:
        """Return the texture, with noise from the photographs, and the distance, with the noise that suits shapes."""
        return [(self.field.texture, None), (self.field.geometry, GEOMETRY_SCALES)]

    def list_options(self) -> dict[str, float]:
        """Return the frequency of the sine layers, and the sphere that their outputs are added to."""
        field = self.config.sdf_field
        return {
            "sdf-field.omega-0": field.omega_0,
            "sdf-field.bias": field.bias,
            "sdf-field.inside-outside": field.inside_outside,
        }

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of the field and the background as one group, ``fields``."""
        modules = (self.field, self.field_background)
        return {"fields": [p for module in modules for p in module.parameters() if p.requires_grad]}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Return the callbacks that initialise the field and that anneal the cosine over a part of the run."""
        trainer = training_callback_attributes.trainer
        self.anneal_end = self.config.cos_anneal_part * (trainer.config.max_num_iterations if trainer else 0)
        return super().get_training_callbacks(training_callback_attributes)

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:  # type: ignore[override]
        """Render what nerfstudio's model does, and ``normals`` in [0, 1], which ``ns-export pointcloud`` asks for."""
        outputs = super().get_outputs(ray_bundle)
        outputs["normals"] = outputs["normal_vis"]
        return outputs

    def get_metrics_dict(self, outputs: dict[str, Any], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute ``psnr`` over the rays of a batch and the sharpness ``inv_s`` of the surface.

        They stay on the device, unlike nerfstudio's own.
        """
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device))
        error = (outputs["rgb"].detach() - truth).square().mean()
        return {"psnr": -10 * error.log10(), "inv_s": self.field.deviation_network.get_variance().detach()[0]}

    def get_loss_dict(
        self, outputs: dict[str, Any], batch: dict[str, Tensor], metrics_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Compute the terms of nerfstudio's loss, with the opacity of transparent photographs as the mask."""
        if batch["image"].shape[-1] == 4:
            batch = {"fg_mask": batch["image"][..., 3:], **batch}
        return super().get_loss_dict(outputs, batch, metrics_dict)
