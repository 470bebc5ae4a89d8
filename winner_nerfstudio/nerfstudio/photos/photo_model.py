"""What the models of photographs have in common: initialisation before the first step, and metrics of a view."""

from typing import Any

import torch
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.model_components.renderers import RGBRenderer
from nerfstudio.models.base_model import Model
from nerfstudio.utils import colormaps
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from ...metrics.grid import psnr, root_mean_square
from ...metrics.image import ssim
from ...winner import Initialization, NoiseScales
from ...winner.photos import SceneFrequency
from .frequency import photographed_frequency
from .sine_mlp import WinnerMLP


class PhotoModel(Model):
    """A model of nerfstudio's whose sine networks are initialised from the training photographs.

    Among the base classes of a model it comes before nerfstudio's own. A subclass overrides `sine_networks`
    and `list_options`.

    Attributes:
        config: the model's config, which is a `PhotoInitializationOptions` too.
        field: the fitted field; it has the frequency `omega_0` of its sine layers, and the length `unit` of its unit of
            coordinate in scene units.
        renderer_rgb: the renderer of colours, which fills transparent pixels of the photographs as well.
        initialization: a description of the initialisation, "none" before the first step.
    """

    config: Any
    field: Any
    renderer_rgb: RGBRenderer
    collider: Any
    initialization = "none"

    def sine_networks(self) -> list[tuple[WinnerMLP, NoiseScales | None]]:
        """Return each sine network with its noise scales, or with None if these come from the photographs."""
        raise NotImplementedError

    def list_options(self) -> dict[str, float]:
        """Return the options of the model, named as in the command line, that change its function but no weights."""
        raise NotImplementedError

    def initialize(self, frequency: SceneFrequency) -> Initialization:
        """Initialise the sine networks afresh, in place, as the config asks for.

        Each network is drawn from a generator of its own, seeded from torch's initial seed.

        Args:
            frequency: the frequency that the photographs resolve.

        Returns:
            The initialisation of the networks whose noise comes from the photographs.
        """
        initialization: Initialization = self.config.choose_initialization(
            frequency, self.field.unit, self.field.omega_0
        )
        seed = torch.initial_seed() % 2**62
        for index, (network, fixed) in enumerate(self.sine_networks()):
            scales = initialization if fixed is None or self.config.init == "siren" else fixed
            network.winner_init_(s0=scales.s0, s1=scales.s1, seed=seed + index)
        return initialization

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Return the model's callbacks, and one that initialises it before step 0, so not when a run is resumed."""
        pipeline = training_callback_attributes.pipeline
        assert pipeline is not None
        datamanager = pipeline.datamanager
        assert isinstance(datamanager, VanillaDataManager)

        def initialize(step: int) -> None:
            self.initialization = str(self.initialize(photographed_frequency(datamanager, self.renderer_rgb)))
            CONSOLE.print(f"initialisation: {self.initialization}", markup=False)

        callback = TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], initialize, iters=(0,))
        return [callback, *super().get_training_callbacks(training_callback_attributes)]

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps besides the weights: the description of the initialisation, and options."""
        return {"initialization": self.initialization, "options": self.list_options()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the description of the initialisation."""
        self.initialization = state["initialization"]

    @torch.no_grad()
    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Compare a rendered view with its photograph.

        LPIPS, which nerfstudio's own methods measure, is left out because its weights would have to be downloaded.

        Args:
            outputs: ``rgb`` [h, w, 3] in [0, 1], ``accumulation`` and ``depth`` [h, w, 1] of the view.
            batch: ``image``, the photograph, [h, w, 3 or 4] in [0, 1].

        Returns:
            ``psnr`` (decibels, for a peak of 1) and, unless the view is too small for it, ``ssim``; and the pictures
            ``img`` (photograph and view side by side), ``accumulation`` and ``depth``, [h, w, 3] each.
        """
        truth = self.renderer_rgb.blend_background(batch["image"].to(self.device)).cpu()
        rgb = outputs["rgb"].cpu()
        metrics = {"psnr": psnr(root_mean_square(rgb.numpy(), truth.numpy()), peak=1.0)}
        similarity = ssim(2 * rgb.numpy() - 1, 2 * truth.numpy() - 1)
        if similarity is not None:
            metrics["ssim"] = similarity
        images = {
            "img": torch.cat([truth, rgb], dim=1),
            "accumulation": colormaps.apply_colormap(outputs["accumulation"]),
            "depth": colormaps.apply_depth_colormap(outputs["depth"], accumulation=outputs["accumulation"]),
        }
        return metrics, images
