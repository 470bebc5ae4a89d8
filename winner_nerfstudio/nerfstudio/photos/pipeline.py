"""nerfstudio's pipeline for photographs, with a report of metrics at the end of a run."""

import random
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from ...results import results_table
from ...signals.errors import SignalError
from ...signals.messages import error_line, shorten
from ...training.share import Share
from ..quiet import quiet_libraries
from ..run.processes import seed_everything
from ..run.report import say_next, write_metrics
from ..run.unfit import UnfitCheckpoint
from .sdf_field import WinnerSDFField
from .surface_metrics import measure_surface

MEANINGS = {
    "psnr": "on photographs that were not fitted; higher is better, 30 is good",
    "ssim": "likewise; 1 is the best, 0.95 is good",
}
"""What the metrics of photographs mean."""


@dataclass
class PhotoPipelineConfig(VanillaPipelineConfig):
    """Photographs, and a model of what they show."""

    _target: type = field(default_factory=lambda: PhotoPipeline)
    reference: str | None = None
    """Mesh of the photographed object in the coordinates of the cameras, or sample:NAME. If it is set, the surface that
    winner-neus fits is measured against it."""


class PhotoPipeline(VanillaPipeline):
    """Trains and evaluates a model of photographs, and reports its metrics when a run ends."""

    config: PhotoPipelineConfig
    datamanager: VanillaDataManager

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        quiet_libraries()
        super().__init__(*args, **kwargs)
        self.share, self.seed = Share.of_process(), torch.initial_seed()
        self.scene = describe_scene(self.datamanager.train_dataset)

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Load a checkpoint; if it is of another network or scene, end the program with a message of one line."""
        self._check_scene(loaded_state)
        try:
            super().load_pipeline(loaded_state, step)
        except (ValueError, RuntimeError) as error:
            raise UnfitCheckpoint(f"does not fit this run: {shorten(error, 700)}") from None

    def _check_scene(self, state: dict[str, Any]) -> None:
        """Check what a state would be loaded into in silence: another scene, or options that no weights show.

        Raises:
            UnfitCheckpoint: it is of another scene, or of other options.
        """
        box, stored = self.model.field.aabb, state.get("_model.field.aabb")
        if stored is not None and not torch.allclose(stored.to(box), box, rtol=1e-4):
            raise UnfitCheckpoint(
                f"belongs to a scene box from {_list(stored[0])} to {_list(stored[1])}, not from {_list(box[0])} to"
                f" {_list(box[1])}; give the options of the data parser again, or train anew"
            )
        options = state.get("_model._extra_state", {}).get("options", {})
        for name, value in self.model.list_options().items():
            if options.get(name, value) != value:
                raise UnfitCheckpoint(
                    f"belongs to a run with --pipeline.model.{name} {options[name]}, not {value}; give that option"
                    " again, or train anew"
                )
        scene = state.get("_extra_state")  # which checkpoints of older runs do not have
        if scene is None:
            return
        cameras = self.scene["cameras"]
        if scene["photograph"] != self.scene["photograph"] or scene["cameras"].shape != cameras.shape:
            what = "photographs"
        elif not torch.allclose(scene["cameras"], cameras, rtol=1e-4, atol=1e-4):  # machines round differently
            what = "cameras"
        else:
            return
        raise UnfitCheckpoint(f"was fitted to other {what}; use those that it was fitted to, or train anew")

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the scene, see `describe_scene`, and of what is drawn next."""
        return {**self.scene, "torch": torch.get_rng_state(), "python": random.getstate()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Let a run of one process draw on as the one that was stopped would have; the scene is that of the data."""
        if self.share.count == 1:
            torch.set_rng_state(state["torch"])
            random.setstate(state["python"])

    @torch.no_grad()
    def get_eval_loss_dict(self, step: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Compute the losses on rays of the test photographs, without the graph that nerfstudio would build."""
        losses: tuple[Any, dict[str, Any], dict[str, Any]] = super().get_eval_loss_dict(step)
        return losses

    def get_train_loss_dict(self, step: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Return the outputs, losses and metrics of a step: those of this process's share of the rays."""
        if self.share.count == 1:
            whole: tuple[Any, dict[str, Any], dict[str, Any]] = super().get_train_loss_dict(step)
            return whole
        rays, batch = self._draw(step)
        own, weight = self.share.split(batch)
        if len(own["indices"]) < len(rays):
            rays = rays[self.share.rows(len(rays))]
        outputs = self.model(rays)
        metrics = self.model.get_metrics_dict(outputs, own)
        losses = self.model.get_loss_dict(outputs, own, metrics)
        return outputs, self.share.add_terms({name: weight * loss for name, loss in losses.items()}), metrics

    def _draw(self, step: int) -> tuple[Any, dict[str, Any]]:
        """Return a step's rays and pixels, which depend on the seed and the step only, the same in all processes.

        What else a process draws is its own: places along the rays of its share, and, in the first, for evaluations.
        """
        devices = [self.device] if torch.device(self.device).type == "cuda" else []
        with torch.random.fork_rng(devices):
            seed_everything(int(np.random.SeedSequence((self.seed, step)).generate_state(1)[0]))
            rays, batch = self.datamanager.next_train(step)
        return rays, batch

    def get_average_eval_image_metrics(
        self, step: int | None = None, output_path: Path | None = None, get_std: bool = False
    ) -> dict[str, float]:
        """Return the mean metrics over the test photographs, and those of the surface if there is a reference.

        Args:
            step: the current step.
            output_path: folder that the rendered test views are written to; if left out, none are.
            get_std: whether to add standard deviations; a single test photograph has none.
        """
        get_std = get_std and len(self.datamanager.eval_dataset) > 1
        surface = self.surface_metrics()  # first, for a missing reference ends the program
        metrics: dict[str, float] = super().get_average_eval_image_metrics(step, output_path, get_std)
        return metrics | surface

    def surface_metrics(self) -> dict[str, float]:
        """Measure the fitted surface against the reference; without a surface or a reference there are no metrics.

        If the reference cannot be loaded, the program ends with a message of one line.
        """
        sdf_field, reference = self.model.field, self.config.reference
        if reference is None or not isinstance(sdf_field, WinnerSDFField):
            return {}
        try:
            return measure_surface(sdf_field, reference, self.datamanager.train_dataparser_outputs, self.device)
        except SignalError as error:
            raise SystemExit(f"{error_line(error)}; --pipeline.reference of the run names it") from None

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Return the callbacks of data and model, and in the first process one that reports when the run ends."""
        callbacks = super().get_training_callbacks(training_callback_attributes)
        assert training_callback_attributes.trainer is not None
        folder = training_callback_attributes.trainer.base_dir
        if self.share.rank > 0:
            return callbacks

        def report(step: int) -> None:
            metrics = self.get_average_eval_image_metrics(step)
            CONSOLE.print(results_table(metrics, meanings=MEANINGS))
            write_metrics(metrics, folder)
            if isinstance(self.model.field, WinnerSDFField):
                say_next(folder, "ns-export poisson", "--output-dir mesh --texture-method point_cloud")
            else:
                say_next(folder, "ns-export tsdf", "--output-dir mesh --texture-method tsdf")

        return [*callbacks, TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN], report)]


def describe_scene(dataset: InputDataset) -> dict[str, Any]:
    """Return what tells one scene from another: its cameras, a row each, and a digest of its first photograph."""
    cameras = dataset.cameras
    parts = [cameras.camera_to_worlds.flatten(1), cameras.fx, cameras.fy, cameras.cx, cameras.cy]
    if cameras.distortion_params is not None:
        parts.append(cameras.distortion_params)
    digest = blake2b(Path(dataset.image_filenames[0]).read_bytes(), digest_size=16)
    return {"cameras": torch.cat(parts, 1).cpu().float(), "photograph": digest.hexdigest()}


def _list(corner: Float[Tensor, " 3"]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in corner.tolist())})"
