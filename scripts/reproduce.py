"""Run an experiment: every signal by every variant and seed, without nerfstudio; write tables and plots.

    python scripts/reproduce.py configs/audio.yaml --folder FOLDER
    python scripts/reproduce.py configs/audio.yaml --folder FOLDER --small --only relay "WINNER, reference"

Each run is kept, with its curve and all that its outcome depends on. One that is there is not made again; an experiment
that was stopped goes on where it was, and loses the run that it was at.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from experiments import plots
from experiments.config import Experiment, chosen, read, slug, with_baseline
from experiments.fronts import front_table, fronts_of
from experiments.progress import Outlook, bar, spoken
from experiments.runs import Run, perform, plan
from experiments.tables import as_csv, as_markdown, collected, table, write
from rich.console import Console

from winner_nerfstudio.signals.errors import is_out_of_memory
from winner_nerfstudio.signals.grid import Grid
from winner_nerfstudio.training.prepare import checked_run


@dataclass
class Arguments:
    """What to run."""

    config: tyro.conf.Positional[Path]
    """The experiment: a YAML file, see configs/."""
    only: tuple[str, ...] = ()
    """Signals and variants, by name; all of those of which none is named."""
    seeds: int | None = None
    """How many; those of the file if left out."""
    device: str | None = None
    """Such as cpu or cuda; left out, CUDA where there is one."""
    folder: Path = Path()
    """Where the files are that the experiment names."""
    runs: Path = Path("outputs/reproduce")
    """Where runs are kept, in a folder for each experiment."""
    output: Path | None = None
    """Folder for tables and plots; "results" beside the runs if left out, with what --only and --seeds say."""
    small: bool = False
    """The file's small variant, for a few minutes on two cores."""
    baseline: str | None = None
    """The variant whose last figure the others are to reach; the file's if left out."""
    tell: bool = False
    """Run nothing: write tables and plots of the runs that are there, of whatever device."""


def make(pending: list[Run], done: list[tuple[Run, dict[str, Any]]], place: Any, console: Console) -> None:
    """Make the runs that are missing, and add them to those that are done."""
    outlook, already = Outlook(pending, done), len(done)
    figure = "iou" if pending and pending[0].specification["kind"] == "sdf" else "psnr_paper"
    with bar(console) as progress:
        task = progress.add_task("", number=0, runs=0, name="", left="time unknown")
        for number, run in enumerate(pending, already + 1):
            name = f"{run.signal}, {run.variant}, seed {run.seed}"
            told = {"number": number, "runs": already + len(pending), "name": name}
            progress.reset(task, total=run.fit.steps, left=spoken(outlook.left()), **told)

            def watch(step: int) -> None:
                outlook.went(step)
                progress.update(task, completed=step, left=spoken(outlook.left()))

            record = perform(run, place, watch)
            outlook.finished(record)
            done.append((run, record))
            value = record["figures"].get(figure)
            outcome = "diverged" if value is None else f"{figure} {value:.4g}"
            console.print(
                f"run {number} of {already + len(pending)}: {name}: {outcome}, {spoken(record['wall'])};"
                f" {spoken(outlook.left())} left",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def tell(experiment: Experiment, done: list[tuple[Run, dict[str, Any]]], folder: Path) -> str:
    """Write the tables and plots of the runs; returns the table."""
    folder.mkdir(parents=True, exist_ok=True)
    records = collected(done)
    rows = table(experiment, records)
    write(folder, "table.csv", as_csv(rows))
    text = as_markdown(rows, experiment.digits)
    if experiment.front is not None:
        found = fronts_of(experiment, records)
        plots.fronts(experiment, found, folder)
        text += "\n" + front_table(experiment, found)
    write(folder, "table.md", text)
    for signal in dict.fromkeys(run.signal for run, _ in done):
        plots.curves(experiment, records, signal, folder)
        target = next(run.target for run, _ in done if run.signal == signal)
        values = plots.values_of(done, signal)
        if isinstance(target, Grid) and values:
            plots.spectra(experiment, signal, target, values, folder)
            plots.side_by_side(experiment, signal, target, values, folder)
    return text


def main() -> None:
    """Plan, run, tell."""
    arguments = tyro.cli(Arguments, description=__doc__)
    console = Console()
    try:
        experiment = with_baseline(read(arguments.config, arguments.small), arguments.baseline)
        signals, variants = chosen(experiment, arguments.only)
        seeds = experiment.seeds if arguments.seeds is None else arguments.seeds
        if seeds < 1:
            raise ValueError(f"--seeds {seeds} must be at least 1")
        place = checked_run(1, 1.0, 0, arguments.device)
        runs = arguments.runs / (arguments.config.stem + ("-small" if arguments.small else ""))
        with console.status("Loading..."):
            planned = list(plan(experiment, signals, variants, seeds, place, arguments.folder, runs))
        if arguments.tell:
            planned = [run.made_elsewhere() for run in planned]
        kept = [(run, run.record()) for run in planned]
        done = [(run, record) for run, record in kept if record is not None]
        if not arguments.tell:
            make([run for run, record in kept if record is None], done, place, console)
        elif not done:
            raise ValueError(f"{runs}: none of the {len(planned)} runs is there yet; leave out --tell")
        order = {run.path: number for number, run in enumerate(planned)}
        done.sort(key=lambda each: order[each[0].path])
        # A part of the experiment leaves the tables of the whole as they are.
        part = [*arguments.only, *([] if arguments.seeds is None else [f"{seeds} seeds"])]
        output = arguments.output or runs / "-".join(["results", *map(slug, part)])
        text = tell(experiment, done, output)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sys.exit("error: not enough memory; take a smaller batch_size, or the small variant")
    except KeyboardInterrupt:
        sys.exit("interrupted; the runs that were done are kept, and the same command goes on with the others")
    print(text)
    print(f"tables and plots are in {output}")


if __name__ == "__main__":
    main()
