"""The report of a run to its user: progress, metrics, pictures, and the commands to use next."""

import atexit
import copy
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.utils.misc import step_check
from nerfstudio.utils.rich_utils import CONSOLE
from PIL import Image
from rich.progress import TaskID
from torch import Tensor

from ...fields.checkpoint import load_run
from ...files import replacing, stem_of
from ...progress import progress_bar, working
from ...results import describe_size
from ...signals.messages import escape, quote
from ...training.watch import LINES_PER_RUN, SECONDS_PER_UPDATE, describe_status, steps_per_measurement, update_best
from .sheet import write_sheet

if TYPE_CHECKING:
    from .pipeline import SignalPipeline

MOST_PREVIOUS = 5
"""Number of earlier runs among which one of the same target is looked for."""
SHEET_PIXELS = 256
"""Height in pixels of each view on the sheet of pictures."""


class Reporter:
    """The reporter of one run, which nerfstudio's callbacks inform.

    Args:
        pipeline: pipeline that is trained.
        trainer: nerfstudio's trainer of that pipeline.
    """

    def __init__(self, pipeline: "SignalPipeline", trainer: Any) -> None:
        self.pipeline, self.trainer = pipeline, trainer
        self.model = pipeline.signal_model
        self.progress = progress_bar(
            CONSOLE,
            "training",
            "step {task.completed:.0f}/{task.total:.0f}",
            "{task.fields[status]}",
            "{task.fields[rate]:,.0f} points/s",
        )
        self.task: TaskID | None = None
        self.losses: Tensor | float = 0.0
        self.measured_step = 0
        self.step_started = self.last_update = 0.0

    def callbacks(self) -> list[TrainingCallback]:
        """Return the callbacks that inform the reporter."""
        location = TrainingCallbackLocation
        return [
            TrainingCallback([location.BEFORE_TRAIN_ITERATION], self.before_step),
            TrainingCallback([location.AFTER_TRAIN_ITERATION], self.after_step),
            TrainingCallback([location.AFTER_TRAIN], self.after_training),
        ]

    def before_step(self, step: int) -> None:
        """Start the clock; before the first step, also describe the signal and the initialisation."""
        if self.task is None:
            for line in self.pipeline.datamanager.signal.describe():
                # Without emoji, because rich would replace part of a name such as sample:sponge: by one.
                CONSOLE.print(escape(line), markup=False, emoji=False, soft_wrap=True)
            CONSOLE.print(f"initialisation: {self.model.progress['init']}", markup=False)
            network = describe_size(self.model.field, self.model.companion, self.pipeline.datamanager.signal.name)
            CONSOLE.print(f"network: {network}", markup=False, soft_wrap=True)
            self.total, self.measured_step = self.trainer.last_step, step
            every = steps_per_measurement(
                self.model.monitor.points, self.pipeline.datamanager.get_train_rays_per_batch()
            )
            self.steps_per_measurement = min(every, max(1, self.total // 2))
            self.task = self.progress.add_task("", total=self.total, completed=step, status="", rate=0.0)
            if CONSOLE.is_terminal:
                self.progress.start()
                atexit.register(self.progress.stop)  # makes the cursor visible again if the run is interrupted
        self.step_started = time.perf_counter()

    def after_step(self, step: int) -> None:
        """Count the step, and at intervals compute the metrics and show the progress.

        If the loss is not finite then, end the program with one line and status 1.
        """
        done = step + 1
        is_due = done % self.steps_per_measurement == 0 or done == self.total
        is_logged = step_check(step, self.trainer.config.logging.steps_per_log, run_at_zero=True)
        if self.model.device.type == "cuda" and (is_due or is_logged):
            # The writer and the metrics wait for the device anyway. If it is done here, it counts as training time.
            torch.cuda.synchronize(self.model.device)
        now, state = time.perf_counter(), self.model.progress
        state["seconds"] += now - self.step_started
        state["points"] += self.pipeline.datamanager.get_train_rays_per_batch()
        self.losses += self.model.last_loss
        if is_due:
            self._check_loss(done)
            self._record_metrics(done)
        steps_per_line = max(1, self.total // LINES_PER_RUN)
        if CONSOLE.is_terminal:
            if now - self.last_update > SECONDS_PER_UPDATE or done == self.total:
                self.last_update = now
                rate = state["points"] / state["seconds"]
                self.progress.update(self._get_task(), completed=done, status=self._describe_status(), rate=rate)
        elif done % steps_per_line == 0 or done == self.total:
            rate = state["points"] / state["seconds"]
            CONSOLE.print(f"step {done}/{self.total}, {self._describe_status()}, {rate:,.0f} points/s", markup=False)

    def after_training(self, step: int) -> None:
        """Measure the fit, write metrics and pictures into the run's folder, and print the commands to use next."""
        self.progress.stop()
        folder = self.trainer.base_dir
        metrics = self.pipeline.get_average_eval_image_metrics(output_path=folder)
        write_metrics(metrics, folder)
        views = self._render_views()
        with CONSOLE.status("Drawing the sheet..."):
            sheet = write_sheet(views, self.model.progress["history"], folder / "sheet.png")
        CONSOLE.print(escape(f"pictures: {sheet}"), markup=False, soft_wrap=True)
        name, suffix = self.pipeline.datamanager.signal.name, self.model.signal.suffix
        # With "-fit", because an export to the target's own name would overwrite the target.
        output = f"{stem_of(name)}-fit{suffix}"
        export = next(iter(self.model.kind.exports), "field")
        say_next(folder, f"winner-export {export}", f"--output {quote(output)}")
        arguments = self.trainer.config.arguments
        if arguments is None or self.trainer.step >= self.trainer.last_step:  # resumed with fewer steps than it had
            return
        options = "".join(f" {quote(argument)}" for argument in arguments)
        line = f"  without nerfstudio, in one command: winner-fit {quote(name)} --output {quote(output)}{options}"
        CONSOLE.print(escape(line), markup=False, soft_wrap=True)

    def _render_views(self) -> list[dict[str, Tensor]]:
        """Return the model's pictures from each side of `SignalModel.sides`."""
        cameras, sides = self.pipeline.datamanager.train_dataparser_outputs.cameras, self.model.sides
        cameras = copy.deepcopy(cameras[:: len(cameras) // sides][:sides])
        cameras.rescale_output_resolution(SHEET_PIXELS / int(cameras.height[0]))
        signal = self.pipeline.datamanager.signal
        with working(CONSOLE, "taking pictures"):
            return [self.model.pictures(signal, cameras[side : side + 1]) for side in range(sides)]

    def _get_task(self) -> TaskID:
        """Return the task of the progress bar, which the first step has made."""
        assert self.task is not None, "the first step makes the task"
        return self.task

    def _check_loss(self, done: int) -> None:
        """End the program with one line and status 1 if the loss is not finite."""
        if not math.isfinite(float(self.model.last_loss)):
            self.progress.stop()
            raise SystemExit(
                f"error: the fit has diverged, {done} of {self.total} steps were done; a lower learning rate or less"
                " noise may help"
            )

    def _record_metrics(self, done: int) -> None:
        """Compute the monitored metrics, add them to the history, and keep the best value of each with its step."""
        metrics = self.model.monitor.metrics(self.model.field)
        self.model.progress["history"].append([done, float(self.losses) / (done - self.measured_step), metrics])
        self.losses, self.measured_step = 0.0, done
        update_best(self.model.progress["best"], metrics, done)

    def _describe_status(self) -> str:
        """Return in words the current loss and the metrics that were computed last, with their step."""
        return describe_status(float(self.model.last_loss), self.model.progress["history"])


def write_metrics(metrics: dict[str, float], folder: Path) -> None:
    """Write a run's metrics as ``metrics.json``."""
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=2) + "\n", "utf8")


def say_next(folder: Path, export: str, flags: str) -> None:
    """Print the commands that show, measure and export the run in a folder.

    Args:
        folder: folder of the run.
        export: command that exports the result.
        flags: further flags of that command.
    """
    config = quote(folder / "config.yml")
    CONSOLE.print("Next:")
    for purpose, command in [
        ("look", f"ns-viewer --load-config {config} --viewer.websocket-host 127.0.0.1"),
        ("measure", f"ns-eval --load-config {config} --output-path metrics.json"),
        ("take away", f"{export} --load-config {config} {flags}"),
    ]:
        CONSOLE.print(escape(f"  {purpose + ':':<11}{command}"), markup=False, soft_wrap=True)


def find_previous(folder: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of the last run before the one in a folder that was fitted to the same target, if any.

    Args:
        folder: folder of the run; those of earlier runs stand beside it.
        record: the record of the target as a checkpoint keeps it.
    """
    earlier = [path for path in folder.parent.glob("*/metrics.json") if path.parent.name < folder.name]
    for path in sorted(earlier, key=lambda path: path.parent.name, reverse=True)[:MOST_PREVIOUS]:
        try:
            if load_run(path.parent / "config.yml").record.to_json() == record:
                return {str(name): float(value) for name, value in json.loads(path.read_text("utf8")).items()}
        except (ValueError, OSError, AttributeError, TypeError):
            continue
    return {}


def write_pictures(pictures: dict[str, Tensor], folder: Path) -> None:
    """Write pictures [h, w, 3] in [0, 1] side by side, in order, as ``NAME-NAME.png`` (``target-fit.png``)."""
    row = np.concatenate([picture.clamp(0, 1).cpu().numpy() for picture in pictures.values()], axis=1)
    with replacing(folder / f"{'-'.join(pictures)}.png") as path:
        Image.fromarray((row * 255 + 0.5).astype(np.uint8)).save(path)
