"""Compare the times of a default fit in parts and of its evaluation with those of one network of the default size.

    python scripts/benchmark_parts.py FILE ...

Steps of all fits are timed in turns on one thread, so that other programs disturb them alike. Printed are the seconds
of a whole fit, its number of steps times the lower quartile of a step's time, and their ratio to one network's. Then
the points that are evaluated in a second of the processor, at all samples and at as many in random order, the best of
some rounds, and their ratio.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from winner_nerfstudio.fields.resample import evaluate_samples
from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

ROUNDS = 3
"""How often each field is evaluated."""
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
        speeds = {}
        for file in self.files:
            trainings, steps = self._prepare(file)
            seconds = self._time(trainings)
            whole = {name: steps[name] * float(np.quantile(seconds[name], 0.25)) for name in FITS}
            for name, total in whole.items():
                print(f"| {file.name} | {name} | {steps[name]:,} | {total:.0f} | {total / whole['single']:.2f} |")
            speeds[file] = self._time_evaluation(file, trainings)
        print("\n| target | fit | points a second | of the single network's | in random order | of that |")
        print("|---|---|---|---|---|---|")
        for file, found in speeds.items():
            for name, each in found.items():
                cells = [f"{speed:,.0f} | {speed / one:.1f}" for speed, one in zip(each, found["single"], strict=True)]
                print(f"| {file.name} | {name} | {' | '.join(cells)} |", flush=True)

    def _prepare(self, file: Path) -> tuple[dict[str, Training], dict[str, int]]:
        """Return the training of each fit, and its steps."""
        trainings, steps = {}, {}
        for name, options in FITS.items():
            signal, fit_options = prepare(str(file), None, options)
            plan = make_plan(signal, fit_options, Course())
            steps[name] = plan.steps
            started = start(signal, plan.options, torch.device("cpu"), 42)
            trainings[name] = Training(started, 1e-6, lambda step: 1.0)
        return trainings, steps

    def _time(self, trainings: dict[str, Training]) -> dict[str, list[float]]:
        """Return the seconds of the steps that were timed."""
        seconds: dict[str, list[float]] = {name: [] for name in FITS}
        for _ in range(self.rounds):
            for name, training in trainings.items():
                for _ in range(3):
                    began = time.perf_counter()
                    training.step()
                    float(training.loss)
                    seconds[name].append(time.perf_counter() - began)
        return seconds

    def _time_evaluation(self, file: Path, trainings: dict[str, Training]) -> dict[str, tuple[float, float]]:
        """Return how many points each field evaluates in a second: all samples, and as many in random order."""
        lattice = prepare(str(file), None, {})[0].lattice
        order = torch.randperm(lattice.count, generator=torch.Generator().manual_seed(0))
        points, seconds = lattice.coords(order), dict.fromkeys(trainings, (math.inf, math.inf))
        for _ in range(ROUNDS):
            for name, training in trainings.items():
                began = time.process_time()
                evaluate_samples(training.field, lattice)
                between = time.process_time()
                training.field.evaluate(points)
                taken = between - began, time.process_time() - between
                seconds[name] = (min(seconds[name][0], taken[0]), min(seconds[name][1], taken[1]))
        return {name: (lattice.count / grid, lattice.count / random) for name, (grid, random) in seconds.items()}


if __name__ == "__main__":
    tyro.cli(Benchmark, description=__doc__).run()
