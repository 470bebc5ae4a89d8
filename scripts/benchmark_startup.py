"""How long commands and `fit` take from their start to their first step, and what nerfstudio's trainer adds to a step.

    python scripts/benchmark_startup.py --shape spot.obj

Each figure is the processor time (user and system) of a process of its own until it ends, or until its first step is
done: the least of several that are measured in turn. nerfstudio's own is that of the same command without this
package's entry points, and to the first step that of a method which trains one number.

Then the loop of nerfstudio's trainer is compared with that of `fit`, which makes the same steps, between two steps of
fits with default options.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

NS_TRAIN = "from nerfstudio.scripts.train import entrypoint; entrypoint()"
FIT = "import sys; from winner_nerfstudio import fit; fit(sys.argv[1], progress=False, **eval(sys.argv[2]))"
HIDE = """
from importlib import metadata
find = metadata.entry_points
def entry_points(**group):
    found = find(**group)
    if not group.get("group", "").startswith("nerfstudio."):
        return found
    return metadata.EntryPoints(each for each in found if not each.value.startswith("winner_nerfstudio."))
metadata.entry_points = entry_points
"""
"""Hides this package's entry points from nerfstudio."""
COUNT = """
import itertools, os, time
from pathlib import Path
from {module} import {owner}
take, count, times = {owner}.{name}, itertools.count(), []
def step(*arguments):
    number = next(count)
    if number in {marks}:
        times.append(time.process_time())
    if number == {marks}[-1]:
        Path("seconds").write_text(str(times[-1] - (times[0] if len(times) > 1 else 0)))
        os._exit(0)
    return take(*arguments)
{owner}.{name} = step
"""
"""Ends a process before a step, and writes its processor time until then, or that since another step."""
TRAINER = {"module": "nerfstudio.engine.trainer", "owner": "Trainer", "name": "train_iteration"}
LOOP = {"module": "winner_nerfstudio.training.loop", "owner": "Training", "name": "step"}
"""What does a step of ``ns-train``, and of `fit`."""


@dataclass
class Arguments:
    """What to measure."""

    image: str = "sample:weave"
    """Picture of the fits."""
    audio: str = "sample:bells"
    """Sound of the fits."""
    shape: str = "sample:knot"
    """Mesh of the fits."""
    repetitions: int = 5
    """Measurements of each start."""
    marks: tuple[int, int] = (50, 350)
    """Steps before which the comparison of the loops begins and ends."""
    runs: int = 3
    """Measurements of each loop."""


def bare_method() -> Any:
    """Return a method of nerfstudio's that trains one number: its time to the first step is nerfstudio's own."""
    import torch
    from nerfstudio.engine.optimizers import AdamOptimizerConfig
    from nerfstudio.engine.trainer import TrainerConfig
    from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
    from nerfstudio.plugins.types import MethodSpecification

    class DataManager:
        train_dataset, eval_dataset = True, None

        def get_train_rays_per_batch(self) -> int:
            return 1

    class Pipeline(VanillaPipeline):
        def __init__(self, *arguments: Any, **others: Any) -> None:
            torch.nn.Module.__init__(self)
            self.number, self.datamanager = torch.nn.Parameter(torch.ones(1)), DataManager()

        def get_param_groups(self) -> dict[str, list[torch.nn.Parameter]]:
            return {"fields": [self.number]}

        def get_training_callbacks(self, training_callback_attributes: Any) -> list[Any]:
            return []

        def get_train_loss_dict(self, step: int) -> tuple[Any, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
            return {}, {"loss": self.number.square().sum()}, {}

    config = TrainerConfig(
        method_name="bare",
        experiment_name="bare",
        vis="tensorboard",
        pipeline=VanillaPipelineConfig(_target=Pipeline),
        optimizers={"fields": {"optimizer": AdamOptimizerConfig(), "scheduler": None}},
    )
    config.machine.device_type = "cuda" if torch.cuda.is_available() else "cpu"
    return MethodSpecification(config, "Train one number.")


def measure(code: str, *arguments: str) -> float:
    """Return the seconds that a program writes, or the processor time of all of it if it writes none."""
    environment = dict(os.environ)
    if HIDE in code:
        environment["NERFSTUDIO_METHOD_CONFIGS"] = "bare=benchmark_startup:bare_method"
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        log, written = Path(folder, "log"), Path(folder, "seconds")
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, stdout=file, stderr=file
            )
            _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(arguments)} has failed:\n{log.read_text()}")
        return float(written.read_text()) if written.exists() else usage.ru_utime + usage.ru_stime


def command(module: str) -> str:
    """Return the program of one of this package's commands."""
    return f"from winner_nerfstudio.cli.{module} import main; main()"


def measure_all(work: dict[str, tuple[str, ...]], repetitions: int) -> dict[str, float]:
    """Return the least time of each program with its arguments, measured in turn."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repetitions):
        for name, program in work.items():
            times[name].append(measure(*program))
    return {name: min(each) for name, each in times.items()}


def compare_starts(arguments: Arguments) -> None:
    """Print the times to the first step, and those of commands that make none."""
    first, first_of_fit = COUNT.format(marks=[1], **TRAINER), COUNT.format(marks=[1], **LOOP)
    work: dict[str, tuple[str, ...]] = {
        "nerfstudio, `ns-train nerfacto --help`": (HIDE + NS_TRAIN, "nerfacto", "--help"),
        "`ns-train nerfacto --help`": (NS_TRAIN, "nerfacto", "--help"),
        "`ns-train winner-image --help`": (NS_TRAIN, "winner-image", "--help"),
        "nerfstudio, first step": (HIDE + first + NS_TRAIN, "bare"),
        "`ns-train winner-image`, first step": (first + NS_TRAIN, "winner-image", "--data", arguments.image),
        "`ns-train winner-audio`, first step": (first + NS_TRAIN, "winner-audio", "--data", arguments.audio),
        "`import torch`": ("import torch",),
        "`fit`, first step, picture of 64 pixels": (first_of_fit + FIT, arguments.image, "{'max_side': 64}"),
        "`fit`, first step, sound of 8,192 samples": (first_of_fit + FIT, arguments.audio, "{'max_samples': 8192}"),
        "`fit`, first step, mesh": (first_of_fit + FIT, arguments.shape, "{}"),
        "`winner-fit --help`": (command("fit"), "--help"),
        "`winner-export --help`": (command("export"), "--help"),
        "`winner-inspect`": (command("inspect"), arguments.image),
    }
    print("| start | seconds |\n|---|---|")
    for name, seconds in measure_all(work, arguments.repetitions).items():
        print(f"| {name} | {seconds:.2f} |", flush=True)


def compare_loops(arguments: Arguments) -> None:
    """Print the time of nerfstudio's loop over that of `fit`."""
    print("\n| loop | `fit` | `ns-train` | over `fit` |\n|---|---|---|---|")
    marks = list(arguments.marks)
    for kind, file in (("image", arguments.image), ("audio", arguments.audio), ("sdf", arguments.shape)):
        work: dict[str, tuple[str, ...]] = {
            "fit": (COUNT.format(marks=marks, **LOOP) + FIT, file, "{}"),
            "ns-train": (COUNT.format(marks=marks, **TRAINER) + NS_TRAIN, f"winner-{kind}", "--data", file),
        }
        times = measure_all(work, arguments.runs)
        added = times["ns-train"] / times["fit"] - 1
        print(f"| {file} | {times['fit']:.2f} | {times['ns-train']:.2f} | {added:+.1%} |", flush=True)


def main() -> None:
    """Measure, and print two tables."""
    arguments = tyro.cli(Arguments, description=__doc__)
    for name in ("image", "audio", "shape"):
        if Path(getattr(arguments, name)).exists():  # each process runs in a folder of its own
            setattr(arguments, name, str(Path(getattr(arguments, name)).resolve()))
    if arguments.repetitions:
        compare_starts(arguments)
    if arguments.runs:
        compare_loops(arguments)


if __name__ == "__main__":
    main()
