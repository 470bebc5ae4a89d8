"""Measure after what part of SIREN's time the default has fitted a signal as well as SIREN with Adam at its end.

    OMP_NUM_THREADS=1 python scripts/time_to_siren.py FILE ... [--max-side 256] [--max-samples 65536]

SIREN is a single network of the default size with its own initialisation, trained by Adam whose rate falls along half
a cosine, at the best of some learning rates. Its steps are those of this package, which are faster than those of a
plain loop (``scripts/benchmark_step.py``). The default is measured on its way to its own last step, until it is as
good. Pictures, sounds and volumes are compared by the PSNR on their samples, shapes by IoU and Chamfer distance, each
by itself. Times are those of the processor, from the initialisation on, without the measurements. Each fit is one line
of the records, and is not made again when the script is started anew.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.resample import evaluate_samples
from winner_nerfstudio.metrics.grid import psnr, root_mean_square
from winner_nerfstudio.metrics.shape import surface_metrics, volume_metrics
from winner_nerfstudio.surfaces import extract_surface
from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

RESOLUTION = 192
"""Samples per axis of the surfaces that are measured."""


@dataclass
class Arguments:
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
    looks: int = 24
    """Measurements of the default on its way, at steps that grow by a constant factor."""
    max_side: int | None = None
    """Pixels of the longer side to which larger pictures are reduced."""
    max_samples: int | None = None
    """Samples after which longer sounds are cut off."""
    seed: int = 42
    """Seed of the networks and the batches."""

    def run(self) -> None:
        """Make the fits that are missing from the records, and print the table."""
        torch.set_num_threads(1)
        known = [json.loads(line) for line in self.records.read_text().splitlines()] if self.records.exists() else []
        print("| target | metric | SIREN at its end | its rate | part of its time |\n|---|---|---|---|---|")
        parts: dict[str, list[float]] = {}
        for file in self.files:
            ends = [self._find(known, file, rate) or self._fit(file, rate, {}) for rate in self.rates]
            names = [name for name in ends[0]["looks"][-1] if name not in ("steps", "seconds")]
            best = {name: ends[int(np.argmax([sign(name) * end["looks"][-1][name] for end in ends]))] for name in names}
            goals = {metric: end["looks"][-1][metric] for metric, end in best.items()}
            looks = (self._find(known, file, None) or self._fit(file, None, goals))["looks"]
            for metric, goal in goals.items():
                reached = next((look["seconds"] for look in looks if is_reached(metric, look[metric], goal)), np.inf)
                parts.setdefault(metric, []).append(reached / best[metric]["looks"][-1]["seconds"])
                print(f"| {Path(file).name} | {metric} | {goal:.4g} | {best[metric]['rate']:g}", end=" | ")
                print(f"{parts[metric][-1]:.3f} |", flush=True)
        for metric, each in parts.items():
            print(f"| mean | {metric} | | | {np.mean(each):.3f} |")

    def _key(self, file: str, rate: float | None) -> dict[str, Any]:
        limits = {"max_side": self.max_side, "max_samples": self.max_samples, "seed": self.seed}
        siren = {"rate": rate, "part": self.part, "first_omega_0": self.first_omega_0}
        return {"file": Path(file).name, **siren, **limits}

    def _find(self, known: list[dict[str, Any]], file: str, rate: float | None) -> dict[str, Any] | None:
        key = self._key(file, rate)
        return next((each for each in known if all(each[name] == value for name, value in key.items())), None)

    def _fit(self, file: str, rate: float | None, goals: dict[str, float]) -> dict[str, Any]:
        """Fit SIREN at a learning rate, or the default if it is None until it has reached the goals.

        Returns:
            The record, which is also written.
        """
        data = {"max_side": self.max_side, "max_samples": self.max_samples}
        given = {name: value for name, value in data.items() if value is not None}
        siren = {"init": "siren", "parts": (1,), "first_omega_0": self.first_omega_0}
        signal, options = prepare(file, None, given | (siren if rate else {}))
        plan = make_plan(signal, options, Course(None, rate, "adam" if rate else None, self.seed))
        steps = round(plan.steps * self.part) if rate else plan.steps
        plan = replace(plan, steps=steps)
        due = {steps} if rate else set(np.geomspace(max(4, steps / 200), steps, self.looks).astype(int).tolist())
        began = time.process_time()
        started = start(signal, plan.options, torch.device("cpu"), self.seed)
        training = Training(started, plan.learning_rate, plan.decay, plan.optimizer)
        looks: list[dict[str, float]] = []
        while training.done < steps:
            training.step()
            if training.done in due:
                ended = time.process_time()
                looks.append({"steps": training.done, "seconds": ended - began, **measure(training.field, signal)})
                if goals and all(is_reached(name, looks[-1][name], goal) for name, goal in goals.items()):
                    break
                began += time.process_time() - ended
        record = self._key(file, rate) | {"looks": looks}
        with self.records.open("a") as records:
            records.write(json.dumps(record) + "\n")
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
        surface = extract_surface(field.evaluate, RESOLUTION, 0.0)
        found = volume_metrics(field.evaluate, signal) | surface_metrics(surface, signal)
        return {"iou": found["iou"], "chamfer_l1": found["chamfer_l1"]}
    return {"psnr": psnr(root_mean_square(evaluate_samples(field, signal.lattice), signal.values))}


if __name__ == "__main__":
    tyro.cli(Arguments, description=__doc__).run()
