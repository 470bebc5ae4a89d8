"""Try to divide the training steps among the parts: how much better could a fit be in the time that it takes?

    OMP_NUM_THREADS=1 python scripts/try_member_steps.py FILE ... [--max-side 512] [--max-samples 65536]

For pictures, sounds and volumes that are divided into parts. A part's network does not depend on the others, so that
fits with a quarter, half, all and twice the default's steps tell what each part gains by more steps. From these, steps
are given to the parts that gain most by them, until all parts together have as many as by default. This is more than
any rule could know beforehand. docs/results.md says what came of it.
"""

import heapq
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from fit_records import Limits
from jaxtyping import Float
from numpy import ndarray

from winner_nerfstudio import fit
from winner_nerfstudio.fields.resample import evaluate_samples
from winner_nerfstudio.metrics.grid import psnr
from winner_nerfstudio.networks import Bank
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

PARTS = (0.25, 0.5, 1.0, 2.0)
"""Parts of the default's steps."""
DEFAULT = PARTS.index(1.0)


@dataclass
class Arguments(Limits):
    """What is compared."""

    files: tyro.conf.Positional[tuple[str, ...]]
    """The signals: files or sample:NAME."""
    seed: int = 42
    """Seed of the networks and the batches."""

    def run(self) -> None:
        """Make the fits, and print the table."""
        torch.set_num_threads(1)
        print("| target | default | steps divided | parts with " + " / ".join(f"{part:g}" for part in PARTS) + " |")
        print("|---|---|---|---|")
        for file in self.files:
            signal, options = prepare(file, None, self.given_limits)
            steps = make_plan(signal, options, Course()).steps
            errors = np.stack([self._fit(file, signal, round(part * steps)) for part in PARTS])
            chosen = divide(errors)
            divided = errors[chosen, np.arange(len(chosen))]
            row = f"{to_psnr(errors[DEFAULT]):.1f} | {to_psnr(divided):.1f}"
            print(f"| {Path(file).name} | {row} | {' / '.join(map(str, np.bincount(chosen, minlength=len(PARTS))))} |")

    def _fit(self, file: str, signal: Any, steps: int) -> Float[ndarray, " m"]:
        """Return the mean square error of each part after so many steps."""
        fitted = fit(file, seed=self.seed, steps=steps, progress=False, measure=False, **self.given_limits)
        assert isinstance(fitted.field.network, Bank), f"{file} is not divided into parts"
        square = (evaluate_samples(fitted.field, signal.lattice) - signal.values).astype(np.float64) ** 2
        return fitted.field.network.tiling.cut(torch.from_numpy(square)).mean((1, 2)).numpy()


def divide(errors: Float[ndarray, "k m"]) -> ndarray:
    """Return which of `PARTS` each of m parts gets so that the error is least, in no more steps than by default."""
    chosen, left = np.zeros(errors.shape[1], int), (1 - PARTS[0]) * errors.shape[1]

    def gain(member: int) -> tuple[float, int]:
        now = chosen[member]
        return (errors[now + 1, member] - errors[now, member]) / (PARTS[now + 1] - PARTS[now]), member

    waiting = [gain(member) for member in range(errors.shape[1])]
    heapq.heapify(waiting)
    while waiting:
        _, member = heapq.heappop(waiting)
        cost = PARTS[chosen[member] + 1] - PARTS[chosen[member]]
        if cost <= left:
            chosen[member], left = chosen[member] + 1, left - cost
            if chosen[member] + 1 < len(PARTS):
                heapq.heappush(waiting, gain(member))
    return chosen


def to_psnr(errors: ndarray) -> float:
    """Return the PSNR in dB of mean square errors."""
    return psnr(math.sqrt(errors.mean()))


if __name__ == "__main__":
    tyro.cli(Arguments, description=__doc__).run()
