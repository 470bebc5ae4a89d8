"""Compare the time of a default fit in parts with that of one network, for whole pictures, sounds or volumes.

    python scripts/benchmark_parts.py FILE ...

Steps of all fits are timed in turns on one thread, so that other programs disturb them alike. Printed are the seconds
of a whole fit, its number of steps times the lower quartile of a step's time, and their ratio to one network's.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

FITS: dict[str, dict[str, Any]] = {"single": {"parts": (1,)}, "parts": {}, "small": {"size": "small"}}


@dataclass
class Benchmark:
    """What is timed."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The pictures, sounds or volumes."""
    rounds: int = 12
    """How often each fit has its turn, of three steps."""

    def run(self) -> None:
        """Print a table of all files."""
        torch.set_num_threads(1)
        print("| target | fit | steps | seconds | of the single network's |\n|---|---|---|---|---|")
        for file in self.files:
            steps, seconds = self._time(file)
            whole = {name: steps[name] * float(np.quantile(seconds[name], 0.25)) for name in FITS}
            for name, total in whole.items():
                print(f"| {file.name} | {name} | {steps[name]:,} | {total:.0f} | {total / whole['single']:.2f} |")

    def _time(self, file: Path) -> tuple[dict[str, int], dict[str, list[float]]]:
        """Return the steps of each fit, and the seconds of the steps that were timed."""
        trainings, steps = {}, {}
        for name, options in FITS.items():
            signal, fit_options = prepare(str(file), None, options)
            plan = make_plan(signal, fit_options, Course())
            steps[name] = plan.steps
            started = start(signal, plan.options, torch.device("cpu"), 42)
            trainings[name] = Training(started, 1e-6, lambda step: 1.0)
        seconds: dict[str, list[float]] = {name: [] for name in FITS}
        for _ in range(self.rounds):
            for name, training in trainings.items():
                for _ in range(3):
                    began = time.perf_counter()
                    training.step()
                    float(training.loss)
                    seconds[name].append(time.perf_counter() - began)
        return steps, seconds


if __name__ == "__main__":
    tyro.cli(Benchmark, description=__doc__).run()
