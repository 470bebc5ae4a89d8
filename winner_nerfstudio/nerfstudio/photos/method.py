"""What methods share whose target is known through photographs: the noise, the figures, the pipeline, the run."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_utils import focus_of_attention
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager, VanillaDataManagerConfig
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.model_components.renderers import RGBRenderer
from nerfstudio.models.base_model import Model
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils import colormaps
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from ...metrics.image import ssim
from ...training.options import NoiseConfig
from ...winner import EXACTNESS, Initialization, NoiseScales
from ...winner.photos import SceneFrequency, scene_frequency
from ..quiet import quiet_libraries
from ..run.report import figures_table, say_next, write_figures
from ..run.trainer import WinnerTrainerConfig
from .mlp import WinnerMLP
from .sdf_field import WinnerSDFField

MOST_PHOTOS = 32
"""So many photographs, evenly chosen, are looked at for the noise."""


def distances(cameras: Cameras, aabb: Float[Tensor, "2 3"]) -> Float[Tensor, " n"]:
    """From each camera to what it looks at, scene units, [n].

    That is the point nearest to all optical axes, within the scene box. Where less than half of the cameras have it in
    front of them, as in a room seen from within, or no point is nearest, the axes being parallel, the box's wall stands
    in for it: half its longest side.

    Args:
        cameras: of the photographs.
        aabb: the scene box.
    """
    poses, aabb = cameras.camera_to_worlds.cpu().double(), aabb.cpu().double()
    places, ahead = poses[:, :, 3], -poses[:, :, 2]
    wall = (aabb[1] - aabb[0]).max() / 2
    try:
        middle = focus_of_attention(poses.float(), aabb.mean(0).float()).double()
    except torch.linalg.LinAlgError:
        return wall.expand(len(places)).clone()
    away = middle.clamp(aabb[0], aabb[1]) - places
    if ((away * ahead).sum(-1) > 0).double().mean() < 0.5:
        return wall.expand(len(places)).clone()
    return away.norm(dim=-1).clamp(min=1e-3 * float(wall))


def photographed_frequency(datamanager: VanillaDataManager, background: RGBRenderer | None = None) -> SceneFrequency:
    """The angular frequency that a data manager's training photographs resolve, see `scene_frequency`.

    Args:
        datamanager: nerfstudio's, of photographs.
        background: a renderer whose ``blend_background`` fills what is transparent; left out, black does.
    """
    dataset = datamanager.train_dataset
    numbers = torch.linspace(0, len(dataset) - 1, min(len(dataset), MOST_PHOTOS)).round().long()
    away, focals = distances(dataset.cameras, dataset.scene_box.aabb), dataset.cameras.fx.flatten().tolist()

    def photograph(number: int) -> Tensor:
        image = dataset.get_image_float32(number)
        if image.shape[-1] < 4:
            return image
        return image[..., :3] * image[..., 3:] if background is None else background.blend_background(image)

    chosen = numbers.tolist()
    return scene_frequency(
        (photograph(number) for number in chosen), [focals[n] for n in chosen], away[numbers].tolist()
    )


@dataclass
class PhotoInit:
    """How the sine networks of a scene start."""

    init: Literal["winner", "siren"] = "winner"
    """Initialisation: SIREN's with WINNER's noise, or SIREN's alone."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """WINNER's noise; unless it is fixed it comes from the photographs and the cameras, and exactness is not asked."""

    def problem(self) -> str | None:
        """What is wrong with the combination, in one line, or None."""
        if self.init == "siren" and self.noise != NoiseConfig():
            return "init siren has no noise; leave --pipeline.model.noise out, or use init winner"
        if self.noise.schedule not in ("matched", "fixed"):
            return (
                f"--pipeline.model.noise.schedule {self.noise.schedule} is for signals, not for photographs; leave it"
                " out, or use fixed with --pipeline.model.noise.s0 and --pipeline.model.noise.s1"
            )
        if self.noise.exactness != EXACTNESS or self.noise.hidden_biases is not None:
            return "noise.exactness and noise.hidden_biases are for signals, not for photographs; leave them out"
        return self.noise.problem("--pipeline.model.noise.")


class PhotoModel(Model):
    """What models of photographs share; stands before nerfstudio's own among the base classes.

    A subclass overrides `sine_networks`, and has ``renderer_rgb``.
    """

    config: Any
    field: Any
    renderer_rgb: RGBRenderer
    collider: Any
    initialization = "none"

    def sine_networks(self) -> list[tuple[WinnerMLP, NoiseScales | None]]:
        """The networks, each with the scales of its noise, or None where they come from the photographs."""
        raise NotImplementedError

    def initialize(self, frequency: SceneFrequency) -> Initialization:
        """Initialise the sine networks afresh, in place, as the config says, for what photographs tell.

        From generators of their own, seeded from torch's initial seed; returns what the colours' network got.
        """
        by_hand, seed = self.config.noise.s0 is not None, torch.initial_seed() % 2**62
        scales, centroid, schedule = frequency.scales(self.field.unit, self.field.omega_0), frequency.centroid, "photos"
        if self.config.init == "siren":
            scales, schedule = NoiseScales(0.0, 0.0), "siren"
        elif by_hand:
            scales, schedule = NoiseScales(self.config.noise.s0, self.config.noise.s1), "fixed"
        for number, (network, own) in enumerate(self.sine_networks()):
            noise = scales if own is None or self.config.init == "siren" else own
            network.winner_init_(s0=noise.s0, s1=noise.s1, seed=seed + number)
        return Initialization(None if schedule == "fixed" else centroid, schedule, *scales)

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Before the first step of a run that isn't resumed: the noise. And the model's own."""
        pipeline = training_callback_attributes.pipeline
        assert pipeline is not None
        datamanager = pipeline.datamanager
        assert isinstance(datamanager, VanillaDataManager)

        def initialize(step: int) -> None:
            chosen = self.initialize(photographed_frequency(datamanager, self.renderer_rgb))
            self.initialization = str(chosen)
            CONSOLE.print(f"initialisation: {chosen}", markup=False)

        callback = TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], initialize, iters=(0,))
        return [callback, *super().get_training_callbacks(training_callback_attributes)]

    def get_extra_state(self) -> dict[str, str]:
        """What a checkpoint keeps besides weights: what the initialisation chose."""
        return {"initialization": self.initialization}

    def set_extra_state(self, state: dict[str, str]) -> None:
        """Take that up."""
        self.initialization = state["initialization"]

    @torch.no_grad()
    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """PSNR (peak 1) and SSIM of a rendered photograph, and pictures [h, w, 3] of it beside the true one.

        Without LPIPS, whose weights nerfstudio's own methods download.
        """
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device)).cpu()
        rgb = outputs["rgb"].cpu()
        figures = {"psnr": -10 * math.log10(max(float((rgb - truth).square().mean()), 1e-12))}
        similarity = ssim(2 * rgb.numpy() - 1, 2 * truth.numpy() - 1)
        if similarity is not None:
            figures["ssim"] = similarity
        images = {
            "img": torch.cat([truth, rgb], dim=1),
            "accumulation": colormaps.apply_colormap(outputs["accumulation"]),
            "depth": colormaps.apply_depth_colormap(outputs["depth"], accumulation=outputs["accumulation"]),
        }
        return figures, images


@dataclass
class PhotoPipelineConfig(VanillaPipelineConfig):
    """Photographs and a model of what they show."""

    _target: type = field(default_factory=lambda: PhotoPipeline)
    reference: str | None = None
    """Mesh of what the photographs show, in the coordinates of their cameras, or sample:NAME; the surface's figures are
    against it."""


class PhotoPipeline(VanillaPipeline):
    """nerfstudio's pipeline, mended where a run would surprise its user, with figures at the end of a run."""

    config: PhotoPipelineConfig
    datamanager: VanillaDataManager

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        quiet_libraries()
        super().__init__(*args, **kwargs)

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Load a checkpoint; one of another network or scene ends the program with one line."""
        try:
            super().load_pipeline(loaded_state, step)
        except (ValueError, RuntimeError) as error:
            raise SystemExit(f"error: the checkpoint does not fit this run: {' '.join(str(error).split())}") from None

    @torch.no_grad()
    def get_eval_loss_dict(self, step: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """The losses on rays of the test photographs; without a graph, unlike upstream."""
        return super().get_eval_loss_dict(step)

    def get_average_eval_image_metrics(
        self, step: int | None = None, output_path: Path | None = None, get_std: bool = False
    ) -> dict[str, float]:
        """Mean figures over the test photographs, and those of the surface where there is a reference.

        Of a single photograph there is no deviation to `get`.
        """
        several = len(self.datamanager.eval_dataset) > 1
        figures = super().get_average_eval_image_metrics(step, output_path, get_std and several)
        return figures | self.surface_figures()

    @torch.no_grad()
    def surface_figures(self) -> dict[str, float]:
        """IoU of the insides and errors of the distance against the reference, see `volume_figures`; {} without one."""
        field, outputs = self.model.field, self.datamanager.train_dataparser_outputs
        if self.config.reference is None or not isinstance(field, WinnerSDFField):
            return {}
        from ...metrics.shape import volume_figures
        from ...signals.shape import load_shape

        shape = load_shape(self.config.reference)
        # From the unit cube to the mesh's world, to the scene.
        center, scale = torch.tensor(shape.normalization.center), shape.normalization.scale
        transform, to_scene = outputs.dataparser_transform, outputs.dataparser_scale

        def distance(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
            world = points / scale + center.to(points)
            scene = to_scene * (world @ transform[:3, :3].T.to(points) + transform[:3, 3].to(points))
            blocks = scene.to(self.device).split(1 << 16)
            return torch.cat([field.distance(block) for block in blocks]) * (scale / to_scene)

        return volume_figures(distance, shape)

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Those of data and model, and the figures when the run ends."""
        callbacks = super().get_training_callbacks(training_callback_attributes)
        assert training_callback_attributes.trainer is not None
        folder = training_callback_attributes.trainer.base_dir

        def report(step: int) -> None:
            figures = self.get_average_eval_image_metrics(step)
            CONSOLE.print(figures_table(figures))
            write_figures(figures, folder)
            say_next(folder, "ns-export tsdf", "--output-dir mesh --texture-method tsdf")

        return [*callbacks, TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN], report)]


@dataclass
class PhotoTrainerConfig(WinnerTrainerConfig):
    """A run that fits a scene to photographs."""

    def problem(self) -> str | None:
        """What is wrong with the options or the data, in one line, or None."""
        model = self.pipeline.model
        assert isinstance(model, PhotoInit)
        return super().problem() or model.problem() or self._reference_problem() or self._data_problem()

    def _reference_problem(self) -> str | None:
        pipeline = self.pipeline
        if not isinstance(pipeline, PhotoPipelineConfig) or pipeline.reference is None:
            return None
        from ...signals.errors import SignalError
        from ...signals.shape import load_shape

        try:
            load_shape(pipeline.reference)
        except SignalError as error:
            return f"--pipeline.reference {error}"
        return None

    def _data_problem(self) -> str | None:
        data = self.pipeline.datamanager
        assert isinstance(data, VanillaDataManagerConfig)
        source = data.data or data.dataparser.data
        if source == Path():
            return "no photographs given; name their folder with --data FOLDER (with transforms.json in it)"
        if not source.exists():
            return f"{source}: no such file or folder; --data takes a folder of photographs with transforms.json"
        data.dataparser.data = source
        for split in ("train", "val"):
            try:
                with CONSOLE.capture():
                    outputs = data.dataparser.setup().get_dataparser_outputs(split=split)
            except Exception as error:  # data parsers fail in their own many ways
                reason = " ".join(str(error).split()) or type(error).__name__
                return (
                    f"{source}: {type(data.dataparser).__name__.removesuffix('DataParserConfig').lower()}-data cannot"
                    f" read it ({reason}); it takes a folder with transforms.json, blender-data, named at the end of"
                    " the command, one with transforms_train.json"
                )
            if not outputs.image_filenames:
                return f"{source}: holds no photographs for the {split} split; at least one is needed"
            for name in outputs.image_filenames:
                if not name.is_file():
                    return f"{name}: no such photograph, but {source} names it"
        return None
