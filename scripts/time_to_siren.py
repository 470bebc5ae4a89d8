"""Measure after what part of SIREN's time the default has fitted a signal as well as SIREN with Adam at its end.

    OMP_NUM_THREADS=1 python scripts/time_to_siren.py FILE ... [--max-side 256] [--max-samples 65536]

SIREN is a single network of the default size with its own initialisation, trained by Adam whose rate falls along half
a cosine, at the best of some learning rates. Its steps are those of this package, which are faster than those of a
plain loop (``scripts/benchmark_step.py``). The default is fitted with fewer steps than it has, more and more until it
ends as good: pictures, sounds and volumes by the PSNR on their samples, shapes by IoU and by Chamfer distance. Times
are those of the processor, from the initialisation to the last step. Each fit is one line of the records, and is not
made again when the script is started anew.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from fit_records import Limits, add_record, find_record, identify_fit
from rich.console import Console

from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.resample import evaluate_samples
from winner_nerfstudio.metrics.grid import psnr, root_mean_square
from winner_nerfstudio.metrics.shape import surface_metrics, volume_metrics
from winner_nerfstudio.surfaces import EmptySurfaceError, extract_surface
from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.training.run import train

PARTS = tuple(1.5**-power for power in range(12, -1, -1))
"""Parts of its steps with which the default is fitted, one after the other."""
RESOLUTION = 192
"""Samples per axis of the surfaces that are measured."""


@dataclass
class Arguments(Limits):
    """What is compared."""

    files: tyro.conf.Positional[tuple[str, ...]]
    """The signals: files or sample:NAME."""
    records: Path = Path("times.jsonl")
    """File with a line for each fit that was made."""
    rates: tuple[float, ...] = (2e-4, 5e-4, 1e-3)
    """SIREN's learning rates, of which the best counts."""
    first_omega_0: float = 30.0
    """SIREN's first frequency; its authors take 3000 for sounds."""
    part: float = 1.0
    """Part of the single network's default steps that SIREN takes."""
    seed: int = 42
    """Seed of the networks and the batches."""

    def run(self) -> None:
        """Make the fits that are missing from the records, and print the table."""
        torch.set_num_threads(1)
        print("| target | metric | SIREN | its rate | steps of the default | part of SIREN's time |")
        print("|---|---|---|---|---|---|")
        shares: dict[str, list[float]] = {}
        for file in self.files:
            ends = [self._fit(file, rate, self.part) for rate in self.rates]
            for metric in ends[0]["metrics"]:
                best = ends[int(np.argmax([sign(metric) * end["metrics"][metric] for end in ends]))]
                goal, ours = best["metrics"][metric], self._fit(file, None, PARTS[0])
                for part in PARTS[1:]:
                    if is_reached(metric, ours["metrics"][metric], goal):
                        break
                    ours = self._fit(file, None, part)
                reached = is_reached(metric, ours["metrics"][metric], goal)
                share = ours["seconds"] / best["seconds"] if reached else np.inf
                shares.setdefault(metric, []).append(share)
                print(f"| {Path(file).name} | {metric} | {goal:.4g} | {best['rate']:g}", end=" | ")
                print(f"{ours['steps']} | {share:.3f} |", flush=True)
        for metric, each in shares.items():
            print(f"| mean | {metric} | | | | {np.mean(each):.3f} |")

    def _fit(self, file: str, rate: float | None, part: float) -> dict[str, Any]:
        """Return the record of a fit of SIREN at a learning rate, or of the default if it is None.

        It is read, or else made and written.

        Args:
            file: the signal.
            rate: the learning rate.
            part: part of the default steps that are taken.
        """
        siren = {"init": "siren", "parts": (1,), "first_omega_0": self.first_omega_0}
        signal, options = prepare(file, None, self.given_limits | (siren if rate else {}))
        course = Course(None, rate, "adam" if rate else None, self.seed)
        steps = max(1, round(make_plan(signal, options, course).steps * part))
        plan = make_plan(signal, options, replace(course, steps=steps))
        key = identify_fit(file, signal, plan) | {"rate": rate}
        if known := find_record(self.records, key):
            return known
        began = time.process_time()
        started = start(signal, plan.options, torch.device("cpu"), plan.seed)
        train(started, plan, Console(quiet=True), None)
        seconds = time.process_time() - began
        record = key | {"steps": plan.steps, "seconds": seconds, "metrics": measure(started.field, signal)}
        add_record(self.records, record)
        return record


def is_reached(metric: str, value: float, goal: float) -> bool:
    """Return whether a metric is as good as a goal."""
    return sign(metric) * (value - goal) >= 0


def sign(metric: str) -> int:
    """Return 1 for a metric of which more is better, -1 for one of which less is."""
    return -1 if metric == "chamfer_l1" else 1


def measure(field: Field, signal: Any) -> dict[str, float]:
    """Return the PSNR on the samples, or for shapes the IoU and the Chamfer distance."""
    if signal.kind == "sdf":
        try:
            surface = extract_surface(field.evaluate, RESOLUTION, 0.0)
        except EmptySurfaceError:  # as SIREN's at a rate that is too high
            return {"iou": 0.0, "chamfer_l1": np.inf}
        found = volume_metrics(field.evaluate, signal) | surface_metrics(surface, signal)
        return {"iou": found["iou"], "chamfer_l1": found["chamfer_l1"]}
    return {"psnr": psnr(root_mean_square(evaluate_samples(field, signal.lattice), signal.values))}


if __name__ == "__main__":
    tyro.cli(Arguments, description=__doc__).run()
