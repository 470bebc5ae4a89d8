"""The function `fit`, which does in notebooks and scripts what ``ns-train`` does, without nerfstudio."""

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..fields.checkpoint import provenance
from ..fields.fitted import FittedField
from ..progress import working
from ..signals.messages import escape
from .initialize import start
from .measure import build_monitor
from .measure import measure as measure_fit
from .plan import make_plan
from .prepare import check_run, prepare
from .run import train
from .verdict import judge


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
        steps: number of training steps; if left out, it depends on the kind and the size of the signal.
        learning_rate: learning rate at the first step; if left out, it depends on them as well.
        optimizer: optimiser: adam, soap or muon.
        seed: seed of the network and the batches; noise and held-out samples have their own, the option ``data_seed``.
        device: device to train on; if left out, CUDA where it is available, else the CPU.
        progress: whether to print how the data is prepared and how the training proceeds.
        measure: whether to compute metrics during the training and at the end, to keep the latter in
            ``field.provenance["figures"]``, and to warn of a fit that has failed or needs more steps, see `judge`.
        options: further options by their names on the command line: of the data (``max_side``, ``sample_rate``,
            ``sign``, ``colour`` ...), the network (``hidden_dim``, ``num_layers``, ``init`` ...), the noise (``s0``,
            ``s1``, ``schedule``), the batches (``batch_size`` ...) and, for shapes, the loss (``truncation`` ...).

    Returns:
        The fitted field, in the data's own coordinates and units. If the training is interrupted (by Ctrl-C, or by the
        notebook's stop button), the field as it is after the last finished step.

    Raises:
        ValueError: an option or the data cannot be used; the message is one line.
    """
    console = Console(quiet=not progress)
    device = check_run(1 if steps is None else steps, 1.0 if learning_rate is None else learning_rate, seed, device)
    with working(console, f"loading {data if isinstance(data, (str, Path)) else 'the data'}"):
        signal, fit_options = prepare(data, kind, options)
    plan = make_plan(signal, fit_options, steps, learning_rate)
    steps, signal_kind = plan.steps, fit_options.kind
    for line in (*signal.describe(), *filter(None, [plan.note])):
        console.print(escape(line), markup=False, emoji=False, highlight=False, soft_wrap=True)
    with working(console, "initialising"):
        started = start(signal, plan.options, device, seed)
    console.print(f"initialisation: {started.initialization['init']}", markup=False, highlight=False)
    beside = started.companion_field
    monitor = build_monitor(signal_kind, signal, beside) if measure else None
    outcome = train(started, steps, plan.learning_rate, console, monitor, optimizer)
    if outcome.interrupted:
        warnings.warn(f"interrupted: the field is that of {outcome.steps} of {steps} steps", stacklevel=2)
    if outcome.diverged:
        warnings.warn(
            f"the fit has diverged, {outcome.steps} of {steps} steps were done; a lower learning rate or less noise may"
            " help",
            stacklevel=2,
        )
    metrics: dict[str, float] = {}
    if measure:
        with working(console, "measuring the fit"):
            metrics = measure_fit(signal_kind, started.field, signal, plan.options.network, beside)
        verdict = judge(signal_kind, signal, metrics, outcome.history)
        if verdict is not None and not outcome.diverged:
            warnings.warn(verdict.text, stacklevel=2)
    progress_record = started.initialization | {"seconds": outcome.seconds, "history": outcome.history}
    return FittedField(started.field, provenance(progress_record, outcome.steps, finite(metrics)), beside)


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """Return the finite metrics, which are those that JSON can write."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
