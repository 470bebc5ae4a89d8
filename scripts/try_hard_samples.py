"""Try error-driven samples: a step learns only from those samples of its batch that have the greatest errors.

    OMP_NUM_THREADS=1 python scripts/try_hard_samples.py FILE ... [--max-side 256] [--max-samples 65536]

For pictures, sounds and volumes. The default is compared with the worse half of its batches, and with the worse half of
batches twice as large, in about the same time of the processor: a few steps of each are timed first. Each line of the
table has the time that the training really took. docs/results.md says what came of it.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro
from fit_records import Limits
from torch import Tensor

from winner_nerfstudio.fields import Field
from winner_nerfstudio.networks import Bank
from winner_nerfstudio.registry import kind_named
from winner_nerfstudio.training.bank import MEMBER_POINTS
from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.loss import ALONE, Function, Loss
from winner_nerfstudio.training.plan import Course, Plan, make_plan
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.training.sampling import Batch
from winner_nerfstudio.training.share import Share

TIMED = 12
"""Steps that are timed."""


class HardSamples(Loss):
    """Another loss, at the half of the samples that have the greatest errors, for a bank of each member's samples.

    Args:
        loss: the other loss.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def select(self, field: Function, batch: Batch, share: Share = ALONE) -> Batch:
        """Return the worse half."""
        assert isinstance(field, Field)
        batch = self._loss.select(field, batch, share)
        with torch.no_grad():
            errors = (_evaluate(field, batch["coords"]) - batch["values"]).square().sum(-1)
        rows = errors.topk(max(1, errors.shape[-1] // 2), dim=-1).indices
        own = {name: values for name, values in batch.items() if values.ndim == 3}  # the others have no points
        return batch | {name: torch.take_along_dim(values, rows[..., None], -2) for name, values in own.items()}

    def outputs(self, field: Field, coords: Tensor) -> dict[str, Tensor]:
        """Return those of the other loss."""
        return self._loss.outputs(field, coords)

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return those of the other loss."""
        return self._loss.terms(outputs, batch)

    def training_terms(self, field: Field, batch: Batch) -> dict[str, Tensor]:
        """Return those of the other loss."""
        return self._loss.training_terms(field, batch)


def _evaluate(field: Field, coords: Tensor) -> Tensor:
    """Return the values at a batch's coordinates, some members of a bank at a time, as a training step does."""
    bank = field.network
    if not isinstance(bank, Bank):
        return field(coords)
    step = max(1, MEMBER_POINTS["cpu"] // coords.shape[1])
    rows = [slice(first, first + step) for first in range(0, len(coords), step)]
    return torch.cat([bank.evaluate_with(coords[some], [each[some] for each in bank.parameters()]) for some in rows])


class Fit(NamedTuple):
    """The metrics of a fit with so many steps, and the processor seconds of all but the first."""

    metrics: dict[str, float]
    steps: int
    seconds: float


@dataclass
class Arguments(Limits):
    """What is compared."""

    files: tyro.conf.Positional[tuple[str, ...]]
    """The signals: files or sample:NAME."""
    part: float = 1.0
    """Part of the default steps."""
    seed: int = 42
    """Seed of the networks and the batches."""

    def run(self) -> None:
        """Make the fits and print the table."""
        torch.set_num_threads(1)
        print("| target | samples of a step | steps | seconds | psnr | psnr_between |\n|---|---|---|---|---|---|")
        for file in self.files:
            whole = round(self.part * self._plan(file, 1)[1].steps)
            plain = self._train(file, 1, False, TIMED).seconds
            for name, factor, is_hard in (("all", 1, False), ("half", 1, True), ("half of twice as many", 2, True)):
                ratio = plain / self._train(file, factor, True, TIMED).seconds if is_hard else 1.0
                fit = self._train(file, factor, is_hard, max(1, round(whole * ratio)))
                cells = (
                    f"{fit.steps} | {fit.seconds:.1f} | {fit.metrics['psnr']:.1f} | {fit.metrics['psnr_between']:.1f}"
                )
                print(f"| {Path(file).name} | {name} | {cells} |", flush=True)

    def _plan(self, file: str, factor: int, steps: int | None = None) -> tuple[Any, Plan]:
        """Return a signal and how it is fitted by default, with so many times the batches and with so many steps."""
        signal, options = prepare(file, None, self.given_limits)
        plan = make_plan(signal, options, Course(steps, seed=self.seed))
        batches = replace(plan.options.batches, batch_size=factor * plan.options.batches.points)
        return signal, replace(plan, options=replace(plan.options, batches=batches))

    def _train(self, file: str, factor: int, is_hard: bool, steps: int) -> Fit:
        """Fit a signal with so many steps, from all samples of each batch or from the worse half."""
        signal, plan = self._plan(file, factor, steps)
        started = start(signal, plan.options, torch.device("cpu"), plan.seed)
        if is_hard:
            started = replace(started, loss=HardSamples(started.loss))
        training = Training(started, plan.learning_rate, plan.decay, plan.optimizer)
        training.step()
        began = time.process_time()
        training.run(steps)
        seconds = time.process_time() - began
        network = plan.options.network
        return Fit(kind_named(signal.kind).metrics(training.field, signal, network), steps, seconds)


if __name__ == "__main__":
    tyro.cli(Arguments, description=__doc__).run()
