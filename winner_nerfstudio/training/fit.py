"""The function `fit`, which does in notebooks and scripts what ``ns-train`` does, without nerfstudio."""

import math
import time
import warnings
from typing import Any

import torch
from rich.console import Console

from ..fields.checkpoint import provenance
from ..fields.fitted import FittedField
from ..progress import progress_bar
from ..signals.messages import escape
from .decay import cosine_decay
from .initialize import start
from .loop import Training
from .prepare import check_run, prepare

SECONDS_PER_UPDATE = 0.5
"""Least time in seconds between two reads of the loss from the device."""
_STEP, _LOSS = "step {task.completed:.0f}/{task.total:.0f}", "loss {task.fields[loss]:.4g}"


def fit(
    data: Any,
    kind: str | None = None,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    optimizer: str = "adam",
    seed: int = 42,
    device: str | torch.device | None = None,
    progress: bool = True,
    measure: bool = True,
    **options: Any,
) -> FittedField:
    """Fit a sine network with WINNER's initialisation to a shape, a picture, a sound or a volume.

    The signal, network, initialisation, batches and loss are those of ``ns-train winner-KIND --data DATA``. On the CPU
    of one machine, the same seed gives the same weights to the bit.

    Args:
        data: a file, ``sample:NAME``, an array or tensor, channels last (a picture [h, w] or [h, w, c], a series [n] or
            [n, c], a volume [x, y, z], points [n, 3] or with normals [n, 6]), a mesh of trimesh's, or a signal that is
            loaded already.
        kind: "sdf", "image", "audio", "volume", or a kind that another package has registered; if left out, it is
            found from the file's name or the array's shape.
        steps: number of training steps; if left out, that of the kind's method.
        learning_rate: learning rate at the first step; if left out, that of the kind's method.
        optimizer: optimiser: adam, soap or muon.
        seed: seed of the network and the batches; noise and held-out samples have their own, the option ``data_seed``.
        device: device to train on; if left out, CUDA where it is available, else the CPU.
        progress: whether to print how the data is prepared and how the training proceeds.
        measure: whether to compute the metrics at the end, which are kept in ``field.provenance["figures"]``.
        options: further options by their names on the command line: of the data (``max_side``, ``sample_rate``,
            ``sign`` ...), the network (``hidden_dim``, ``num_layers``, ``init`` ...), the noise (``s0``, ``s1``,
            ``schedule``), the batches (``batch_size`` ...) and, for shapes, the loss (``truncation`` ...).

    Returns:
        The fitted field, in the data's own coordinates and units. If the training is interrupted (by Ctrl-C, or by the
        notebook's stop button), the field as it is after the last finished step.

    Raises:
        ValueError: an option or the data cannot be used; the message is one line.
    """
    console = Console(quiet=not progress)
    device = check_run(1 if steps is None else steps, 1.0 if learning_rate is None else learning_rate, seed, device)
    with console.status("Loading..."):
        signal, fit_options = prepare(data, kind, options)
    signal_kind, network = fit_options.kind, fit_options.network
    steps = signal_kind.recipe.steps if steps is None else steps
    learning_rate = signal_kind.recipe.learning_rate if learning_rate is None else learning_rate
    for line in signal.describe():
        console.print(escape(line), markup=False, emoji=False, highlight=False, soft_wrap=True)
    with console.status("Initialising..."):
        started = start(signal, fit_options, device, seed)
    console.print(f"initialisation: {started.initialization['init']}", markup=False, highlight=False)
    training = Training(started, learning_rate, cosine_decay(steps), optimizer)
    began = shown = time.perf_counter()
    with progress_bar(console, _STEP, _LOSS, disable=not progress) as bar:
        task = bar.add_task("", total=steps, loss=math.nan)
        try:
            while training.done < steps:
                training.step()
                if time.perf_counter() - shown > SECONDS_PER_UPDATE or training.done == steps:
                    shown, latest = time.perf_counter(), float(training.loss)
                    bar.update(task, completed=training.done, loss=latest)
                    if not math.isfinite(latest):
                        break
        except KeyboardInterrupt:
            if training.done == 0:
                raise
            warnings.warn(f"interrupted: the field is that of {training.done} of {steps} steps", stacklevel=2)
        final = float(training.loss)  # waits for the device, so it belongs to the measured time
    seconds = time.perf_counter() - began
    training.finish()
    if not math.isfinite(final):
        warnings.warn(
            f"the fit has diverged, {training.done} of {steps} steps were done; a lower learning rate or less noise may"
            " help",
            stacklevel=2,
        )
    with console.status("Measuring the fit..."):
        metrics = finite(signal_kind.metrics(started.field, signal, network)) if measure else {}
    return FittedField(started.field, provenance(started.initialization | {"seconds": seconds}, training.done, metrics))


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """Return the finite metrics, which are those that JSON can write."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
