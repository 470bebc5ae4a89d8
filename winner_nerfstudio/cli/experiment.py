"""Run an experiment: every signal by every variant and seed, without nerfstudio; write tables and plots.

    python scripts/reproduce.py configs/audio.yaml --folder FOLDER
    python scripts/reproduce.py configs/audio.yaml --folder FOLDER --small --only relay "WINNER, reference"

Each run is kept, with its curve and all that its outcome depends on, and is not repeated: the same command resumes an
experiment that was stopped, the run that was interrupted from its state of some minutes ago.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

from ..experiments.config import Experiment, read_experiment, replace_baseline, select, slugify
from ..experiments.progress import RemainingTime
from ..experiments.report import write_report
from ..experiments.runs import PROGRAM, Done, Record, Run, Workspace, perform, plan
from ..experiments.tables import find_curve
from ..progress import describe_time, progress_bar, working
from ..registry import kind_named
from ..signals.messages import escape
from ..storage import check_is_here
from ..training.prepare import find_device
from .start import running

_RUN = "run {task.fields[current]} of {task.fields[runs]}: {task.fields[name]}"
_LEFT = "{task.percentage:.0f} %, {task.fields[left]} left"


@dataclass
class Arguments:
    """What to run."""

    config: tyro.conf.Positional[Path]
    """The experiment: a YAML file, see configs/."""
    only: tuple[str, ...] = ()
    """Names of signals and variants to run; all signals, or all variants, where none is named."""
    seeds: int | None = None
    """How many seeds; those of the file if left out."""
    device: str | None = None
    """Such as cpu or cuda; CUDA where there is one if left out."""
    folder: Path = Path()
    """The folder of the files that the experiment names."""
    runs: Path = Path("outputs/reproduce")
    """Where runs are kept, in a folder for each experiment."""
    output: Path | None = None
    """Folder for tables and plots; "results" beside the runs if left out, with the values of --only and --seeds."""
    small: bool = False
    """Run the file's small variant, which takes a few minutes on two cores."""
    baseline: str | None = None
    """The variant that the others are compared with; the file's if left out."""
    report_only: bool = False
    """Run nothing: write tables and plots of the runs that are kept, whatever their device."""

    @property
    def kept(self) -> Path:
        """The folder that runs are kept in."""
        return self.runs / (self.config.stem + ("-small" if self.small else ""))

    @property
    def results(self) -> Path:
        """The folder for tables and plots; that of a part of the experiment leaves those of the whole as they are."""
        part = [*self.only, *([] if self.seeds is None else [f"{self.seeds} seeds"])]
        return self.output or self.kept / "-".join(["results", *map(slugify, part)])


def run_experiment(arguments: Arguments, console: Console) -> str:
    """Make the runs that are missing and write the report; return its text.

    Raises:
        ValueError: The experiment or an argument cannot be used, in one line.
        OSError: A file cannot be read or written.
    """
    for folder in (arguments.kept, arguments.results):
        check_is_here(folder)
    experiment = replace_baseline(read_experiment(arguments.config, arguments.small), arguments.baseline)
    device = find_device(arguments.device)
    runs = _plan(arguments, experiment, Workspace(device, arguments.folder, arguments.kept), console)
    kept = [(run, run.record()) for run in runs]
    done = [(run, record) for run, record in kept if record is not None]
    others = {record["program"] for _, record in done if record["program"] != PROGRAM}
    if others:
        _print(console, f"note: some kept runs were made by {', '.join(sorted(others))}; this is {PROGRAM}")
    if not arguments.report_only:
        make_runs(experiment, [run for run, record in kept if record is None], done, device, console)
    elif not done:
        raise ValueError(f"{arguments.kept}: none of the {len(runs)} runs is there yet; leave out --report-only")
    elif len(done) < len(runs):
        _print(console, f"{len(runs) - len(done)} of {len(runs)} runs are not there and are left out")
    order = {run.path: index for index, run in enumerate(runs)}
    done.sort(key=lambda each: order[each[0].path])
    return write_report(experiment, done, arguments.results)


def _plan(arguments: Arguments, experiment: Experiment, workspace: Workspace, console: Console) -> list[Run]:
    signals, variants = select(experiment, arguments.only)
    seeds = experiment.seeds if arguments.seeds is None else arguments.seeds
    if seeds < 1:
        raise ValueError(f"--seeds {seeds} must be at least 1")
    with working(console, "loading the signals"):
        runs = list(plan(experiment, signals, variants, seeds, workspace))
    return [run.on_any_device() for run in runs] if arguments.report_only else runs


def make_runs(experiment: Experiment, pending: list[Run], done: Done, device: torch.device, console: Console) -> None:
    """Make the runs that are missing, and add them to those that are done."""
    remaining, count = RemainingTime(pending, done), len(done) + len(pending)
    with progress_bar(console, _RUN, _LEFT, estimates=False, transient=True) as progress:
        task = progress.add_task("", total=1.0, current=0, runs=count, name="", left="unknown")
        for index, run in enumerate(pending, len(done) + 1):
            name = f"{run.signal}, {run.variant}, seed {run.seed}"
            progress.reset(task, current=index, runs=count, name=name, left=str(remaining))

            def advance(part: float) -> None:
                remaining.advance(part)
                progress.update(task, completed=part, left=str(remaining))

            record = perform(run, device, advance)
            remaining.finish(record)
            done.append((run, record))
            outcome, wall = _describe_outcome(experiment, record), describe_time(record["wall"])
            _print(console, f"run {index} of {count}: {name}: {outcome}, {wall}; {remaining} left")


def _describe_outcome(experiment: Experiment, record: Record) -> str:
    """Return in words what came of a run: the metric that its kind prints, or else that of its curve."""
    metrics = record["metrics"] | dict.fromkeys(record["exact"], math.inf)
    name = kind_named(experiment.kind).metric_names.headline
    if name not in metrics:
        name = find_curve(experiment, [record])
    value = metrics.get(name, math.nan)
    return "diverged" if math.isnan(value) else "exact" if value == math.inf else f"{name} {value:.4g}"


def main() -> None:
    """Run an experiment as the command line says; end in one line where that cannot be done."""
    stopped = "interrupted; finished runs are kept, and the same command goes on with the others"
    with running(stopped, "take a smaller batch_size, or the small variant"):
        arguments, console = tyro.cli(Arguments, description=__doc__), Console()
        _print(console, run_experiment(arguments, console))
        _print(console, f"tables and plots are in {arguments.results}")


def _print(console: Console, text: str) -> None:
    console.print("\n".join(map(escape, text.split("\n"))), markup=False, emoji=False, highlight=False, soft_wrap=True)
