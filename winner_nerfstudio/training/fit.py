"""The function `fit`, which does in notebooks and scripts what ``ns-train`` does, without nerfstudio."""

import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from ..fields import Field
from ..fields.checkpoint import provenance
from ..fields.field import in_plain_mode
from ..fields.fitted import FittedField
from ..progress import working
from ..signals.messages import escape
from .initialize import start
from .measure import build_monitor
from .measure import measure as measure_fit
from .plan import Course, make_plan
from .prepare import FitOptions, find_device, prepare
from .run import Outcome, train
from .verdict import Verdict, judge


@in_plain_mode
def fit(
    data: Any,
    kind: str | None = None,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    optimizer: str | None = None,
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
        optimizer: optimiser: adam, soap or muon; if left out, it depends on the kind and the size of the signal.
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
    course = Course(steps, learning_rate, optimizer, seed).check()
    device = find_device(device)
    with working(console, f"loading {data if isinstance(data, (str, Path)) else 'the data'}"):
        signal, fit_options = prepare(data, kind, options)
    result = fit_signal(signal, fit_options, course, device, console, measure)
    outcome = result.outcome
    caller = 3  # the level of the stack above `in_plain_mode`
    if outcome.interrupted:
        warnings.warn(f"interrupted: the field is that of {outcome.steps} of {result.steps} steps", stacklevel=caller)
    if outcome.diverged:
        warnings.warn(
            f"the fit has diverged, {outcome.steps} of {result.steps} steps were done; a lower learning rate or less"
            " noise may help",
            stacklevel=caller,
        )
    if result.verdict is not None and not outcome.diverged:
        warnings.warn(result.verdict.text, stacklevel=caller)
    progress_record = result.initialization | {"seconds": outcome.seconds, "history": outcome.history}
    return FittedField(
        result.field, provenance(progress_record, outcome.steps, finite(result.metrics)), result.companion
    )


class FitResult(NamedTuple):
    """What `fit_signal` returns.

    Attributes:
        field: the field, trained.
        companion: the field beside it, trained, if there is one, see `FittedField`.
        initialization: the record of its initialisation, see `describe_initialization`.
        steps: number of steps that were to be done.
        outcome: the course of the training.
        metrics: the metrics, none if they were not asked for.
        verdict: what is wrong with the fit, see `judge`.
    """

    field: Field
    companion: Field | None
    initialization: dict[str, Any]
    steps: int
    outcome: Outcome
    metrics: dict[str, float]
    verdict: Verdict | None


def fit_signal(
    signal: Any, options: FitOptions, course: Course, device: torch.device, console: Console, measure: bool = True
) -> FitResult:
    """Fit a signal that is loaded, with options that are sorted, as `fit` does.

    Args:
        signal: the signal.
        options: the options of the fit.
        course: the steps, the learning rate and the optimiser as far as the user has said them, and the seed.
        device: device to train on.
        console: where the progress is shown.
        measure: whether to compute metrics, see `fit`.

    Raises:
        ValueError: an option and the signal do not go together; the message is one line.
    """
    plan, kind = make_plan(signal, options, course), options.kind
    for line in (*signal.describe(), *filter(None, [plan.note])):
        console.print(escape(line), markup=False, emoji=False, highlight=False, soft_wrap=True)
    with working(console, "initialising"):
        started = start(signal, plan.options, device, plan.seed)
    console.print(f"initialisation: {started.initialization['init']}", markup=False, highlight=False)
    beside = started.companion_field
    monitor = build_monitor(kind, signal, beside) if measure else None
    outcome = train(started, plan, console, monitor)
    metrics: dict[str, float] = {}
    verdict = None
    if measure:
        with working(console, "measuring the fit"):
            metrics = measure_fit(kind, started.field, signal, plan.options.network, beside)
        verdict = judge(kind, signal, metrics, outcome.history)
    return FitResult(started.field, beside, started.initialization, plan.steps, outcome, metrics, verdict)


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """Return the finite metrics, which are those that JSON can write."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
