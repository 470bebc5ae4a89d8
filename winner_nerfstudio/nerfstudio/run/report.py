"""What a run tells its user: progress, metrics, pictures, and what to do next."""

import atexit
import copy
import json
import math
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.utils.rich_utils import CONSOLE
from PIL import Image
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from ...files import replacing
from .sheet import write_sheet

if TYPE_CHECKING:
    from .pipeline import SignalPipeline

SECONDS_PER_UPDATE = 0.5
"""The loss is fetched from the device no oftener than this."""
LEAST_STEPS_PER_LOOK = 10
"""Steps, at least, between two looks at the metrics that a model has in passing."""
LINES_PER_RUN = 10
"""Progress lines of a run whose output is no terminal."""
SHEET_PIXELS = 256
"""Height of each of the views of a sheet."""


class Reporter:
    """Follows one run by way of nerfstudio's callbacks.

    Args:
        pipeline: what is trained.
        trainer: nerfstudio's trainer of it.
    """

    def __init__(self, pipeline: "SignalPipeline", trainer: Any) -> None:
        self.pipeline, self.trainer = pipeline, trainer
        self.model = pipeline.signal_model
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[standing]}"),
            TextColumn("{task.fields[rate]:,.0f} points/s"),
            TimeRemainingColumn(),
            console=CONSOLE,
        )
        self.task: TaskID | None = None
        # So seldom that looking at the metrics takes about a thirtieth of the time, a step being worth three looks.
        self.steps_per_look = max(
            LEAST_STEPS_PER_LOOK,
            LEAST_STEPS_PER_LOOK * self.model.monitor.points // pipeline.datamanager.get_train_rays_per_batch(),
        )
        self.metrics: dict[str, float] = {}
        self.losses: Tensor | float = 0.0
        self.looked = 0
        self.step_started = self.last_update = 0.0

    def callbacks(self) -> list[TrainingCallback]:
        """The callbacks that keep this informed."""
        where = TrainingCallbackLocation
        return [
            TrainingCallback([where.BEFORE_TRAIN_ITERATION], self.before_step),
            TrainingCallback([where.AFTER_TRAIN_ITERATION], self.after_step),
            TrainingCallback([where.AFTER_TRAIN], self.after_training),
        ]

    def before_step(self, step: int) -> None:
        """Start the clock; the first time, say what is about to happen."""
        if self.task is None:
            for line in self.pipeline.datamanager.signal.describe():
                # A name such as sample:sponge: is no emoji.
                CONSOLE.print(line, markup=False, emoji=False, soft_wrap=True)
            CONSOLE.print(f"initialisation: {self.model.progress['init']}", markup=False)
            self.total, self.looked = self.trainer.last_step, step
            self.task = self.progress.add_task("", total=self.total, completed=step, standing="", rate=0.0)
            if CONSOLE.is_terminal:
                self.progress.start()
                atexit.register(self.progress.stop)  # an interrupted run must give the cursor back
        self.step_started = time.perf_counter()

    def after_step(self, step: int) -> None:
        """Count the step, and now and then show where the run stands."""
        done = step + 1
        look = done % self.steps_per_look == 0 or done == self.total
        if self.model.device.type == "cuda" and (look or step % self.trainer.config.logging.steps_per_log == 0):
            # The writer and a look wait for the device anyway; here the wait counts as training, which it is.
            torch.cuda.synchronize(self.model.device)
        now, state = time.perf_counter(), self.model.progress
        state["seconds"] += now - self.step_started
        state["points"] += self.pipeline.datamanager.get_train_rays_per_batch()
        self.losses += self.model.last_loss
        if look:
            self._look(done)
        every = max(1, self.total // LINES_PER_RUN)
        if CONSOLE.is_terminal:
            if now - self.last_update > SECONDS_PER_UPDATE or done == self.total:
                self.last_update = now
                rate = state["points"] / state["seconds"]
                self.progress.update(self._task(), completed=done, standing=self._standing(), rate=rate)
        elif done % every == 0 or done == self.total:
            rate = state["points"] / state["seconds"]
            CONSOLE.print(f"step {done}/{self.total}, {self._standing()}, {rate:,.0f} points/s", markup=False)

    def after_training(self, step: int) -> None:
        """Measure the fit, keep metrics and pictures beside the checkpoint, and say what to do next."""
        self.progress.stop()
        if self.task is not None and not math.isfinite(float(self.model.last_loss)):
            CONSOLE.print("warning: the fit has diverged; a lower learning rate or less noise may help", style="yellow")
        folder = self.trainer.base_dir
        metrics = self.pipeline.get_average_eval_image_metrics(output_path=folder)
        write_metrics(metrics, folder)
        sheet = write_sheet(self._views(), self.model.progress["history"], folder / "sheet.png")
        CONSOLE.print(f"pictures: {sheet}", markup=False, soft_wrap=True)
        name, suffix = self.pipeline.datamanager.signal.name, self.model.signal.suffix
        # Never the target's own name, which an export would overwrite.
        output = f"{Path(name.removeprefix('sample:')).stem}-fit{suffix}"
        export = next(iter(self.model.kind.exports), "field")
        say_next(folder, f"winner-export {export}", f"--output {shlex.quote(output)}")

    def _views(self) -> list[dict[str, Tensor]]:
        """The model's pictures from as many sides as say something."""
        cameras, sides = self.pipeline.datamanager.train_dataparser_outputs.cameras, self.model.sides
        cameras = copy.deepcopy(cameras[:: len(cameras) // sides][:sides])
        cameras.rescale_output_resolution(SHEET_PIXELS / int(cameras.height[0]))
        signal = self.pipeline.datamanager.signal
        with CONSOLE.status("Taking pictures..."):
            return [self.model.pictures(signal, cameras[side : side + 1]) for side in range(sides)]

    def _task(self) -> TaskID:
        assert self.task is not None, "the first step makes the task"
        return self.task

    def _look(self, done: int) -> None:
        """Take the metrics that can be had in passing, and keep the best of each with its step."""
        self.metrics, best = self.model.monitor.metrics(self.model.field), self.model.progress["best"]
        self.model.progress["history"].append([done, float(self.losses) / (done - self.looked), self.metrics])
        self.losses, self.looked = 0.0, done
        for name, value in self.metrics.items():
            if math.isfinite(value) and (name not in best or value > best[name][0]):
                best[name] = [value, done]

    def _standing(self) -> str:
        """The loss and the metrics of the last look."""
        metrics = "".join(f", {name.replace('_', ' ')} {value:.4g}" for name, value in self.metrics.items())
        return f"loss {float(self.model.last_loss):.4g}{metrics}"


def write_metrics(metrics: dict[str, float], folder: Path) -> None:
    """Write a run's metrics as ``metrics.json``."""
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=2) + "\n", "utf8")


def say_next(folder: Path, export: str, flags: str) -> None:
    """Print the commands that show, measure and take away the run in a folder, the last of them with its flags."""
    config = shlex.quote(str(folder / "config.yml"))
    CONSOLE.print("Next:")
    for purpose, command in [
        ("look", f"ns-viewer --load-config {config} --viewer.websocket-host 127.0.0.1"),
        ("measure", f"ns-eval --load-config {config} --output-path metrics.json"),
        ("take away", f"{export} --load-config {config} {flags}"),
    ]:
        CONSOLE.print(f"  {purpose + ':':<11}{command}", markup=False, soft_wrap=True)


def metrics_table(metrics: dict[str, float]) -> Table:
    """A run's metrics as a table of two columns."""
    table = Table("metric", "value", title="Result")
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), f"{value:,.0f}" if value >= 1000 else f"{value:.5g}")
    return table


def write_pictures(pictures: dict[str, Tensor], folder: Path) -> None:
    """Write pictures [h, w, 3] in [0, 1] side by side, in order, as ``NAME-NAME.png`` (``target-fit.png``)."""
    folder.mkdir(parents=True, exist_ok=True)
    row = np.concatenate([picture.clamp(0, 1).cpu().numpy() for picture in pictures.values()], axis=1)
    with replacing(folder / f"{'-'.join(pictures)}.png") as path:
        Image.fromarray((row * 255 + 0.5).astype(np.uint8)).save(path)
