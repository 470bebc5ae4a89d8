"""The pipeline of nerfstudio for signals, with metrics and pictures that need no camera images."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor

from ...fields import Field
from ...fields.checkpoint import FIELD, load_companion
from ...progress import working
from ...results import measure_sizes, results_table
from ...signals.messages import escape, shorten
from ...training.fit import finite
from ...training.verdict import Verdict, judge
from ..config.datamanager import SignalDataManager
from ..models.base import SignalModel
from ..quiet import quiet_libraries
from ..viewer.end import ViewerEnd
from ..viewer.first_view import FirstView
from .evaluation import write_whole
from .report import Reporter, find_previous, write_pictures
from .unfit import UnfitCheckpoint


@dataclass
class SignalPipelineConfig(VanillaPipelineConfig):
    """The data and the model of a signal."""

    _target: type = field(default_factory=lambda: SignalPipeline)


class SignalPipeline(VanillaPipeline):
    """A pipeline that trains, evaluates and shows any `SignalModel`, whatever its kind of signal."""

    datamanager: SignalDataManager
    verdict: Verdict | None = None
    """What is wrong with the fit, once it was measured."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        quiet_libraries()
        super().__init__(*args, **kwargs)
        model, manager = self.signal_model, self.datamanager
        fields = [(model.field, manager.signal)]
        if model.beside is not None and model.companion is not None:
            fields.append((model.companion, model.beside[0]))
        manager.serve(*fields)
        self.viewer_end = ViewerEnd()
        self.first_view = FirstView(self.datamanager.train_dataparser_outputs.cameras)

    @property
    def signal_model(self) -> SignalModel:
        """Return the model."""
        model = self.model
        assert isinstance(model, SignalModel)
        return model

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Load a checkpoint; end the program with one line if it is of another network or of another target."""
        try:
            Field.from_state_dict(loaded_state, FIELD)
            load_companion(loaded_state)
            super().load_pipeline(loaded_state, step)
        except (ValueError, RuntimeError) as error:
            raise UnfitCheckpoint(
                f"does not fit this run: {shorten(error, 700)}; resume it with the data and the options that it began"
                " with"
            ) from None
        signal = self.datamanager.signal
        stored, current = self.signal_model.field.normalization, signal.normalization
        if not np.allclose([*stored.center, stored.scale], [*current.center, current.scale], rtol=1e-9, atol=0):
            raise UnfitCheckpoint(
                f"does not fit {escape(signal.name)}: it was fitted to a target of another size or place; use the data"
                " that it was fitted to, or train anew"
            )

    def get_train_loss_dict(self, step: int) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        """Return no outputs, the losses of those samples of the step's batch that the model selects, and no metrics."""
        _, batch = self.datamanager.next_train(step)
        beside = self.datamanager.next_beside(step)
        return {}, self.signal_model.get_training_loss(self.signal_model.select(batch), beside), {}

    @torch.no_grad()
    def get_eval_loss_dict(self, step: int) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses on the evaluation batch, without the graph of gradients that nerfstudio's method builds."""
        return super().get_eval_loss_dict(step)

    @torch.no_grad()
    def get_eval_image_metrics_and_images(self, step: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the model's monitored metrics and pictures; ``num_rays`` is there because the trainer reads it."""
        self.eval()
        pictures = self._render_pictures()
        pixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures.values())
        metrics = {"num_rays": pixels, **self.signal_model.monitor.metrics(self.signal_model.field)}
        self.train()
        return metrics, pictures

    @torch.no_grad()
    def get_average_eval_image_metrics(
        self, step: int | None = None, output_path: Path | None = None, get_std: bool = False
    ) -> dict[str, float]:
        """Return the finite metrics of the fit, print all as a table, and write pictures to `output_path`.

        Nothing is averaged over images, so `get_std` has no effect.
        """
        write_whole()
        training = self.training
        self.eval()
        metrics = self.metrics()
        model = self.signal_model
        previous: dict[str, float] = {}
        if output_path is not None:
            previous = find_previous(output_path, model.field.record.to_json())
        sizes = measure_sizes(model.field, model.companion, self.datamanager.signal.name)
        CONSOLE.print(results_table(metrics, sizes, previous, self.verdict))
        if output_path is not None:
            write_pictures(self._render_pictures(), output_path)
        self.train(training)
        return finite(metrics)

    def metrics(self) -> dict[str, float]:
        """Return the model's metrics, the seconds of training, and the points trained per second; set `verdict`."""
        model = self.signal_model
        with working(CONSOLE, "measuring the fit"), warnings.catch_warnings(record=True) as caught:
            metrics = model.evaluate(self.datamanager.signal)
        for warning in caught:
            CONSOLE.print(escape(f"warning: {warning.message}"), markup=False, soft_wrap=True)
        self.verdict = judge(model.kind, self.datamanager.signal, metrics, model.progress["history"])
        seconds, points = float(model.progress["seconds"]), int(model.progress["points"])
        return metrics | {"train_seconds": seconds, "points_per_second": points / max(seconds, 1e-9)}

    def get_training_callbacks(
        self, training_callback_attributes: TrainingCallbackAttributes
    ) -> list[TrainingCallback]:
        """Return the callbacks of the data manager, the model and, in the first process, the report of the run."""
        callbacks = super().get_training_callbacks(training_callback_attributes)
        if self.signal_model.share.rank > 0:
            return callbacks
        return callbacks + Reporter(self, training_callback_attributes.trainer).callbacks()

    def _render_pictures(self) -> dict[str, Tensor]:
        """Return the model's pictures from the camera for evaluations."""
        camera, _ = self.datamanager.next_eval_image(0)
        return self.signal_model.pictures(self.datamanager.signal, camera)
