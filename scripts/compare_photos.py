"""Run an experiment on photographs, every set, variant and seed by ns-train, and print a table of means.

    python scripts/compare_photos.py configs/views_nerf.yml --folder FOLDER

Finished runs of the same command are not repeated. Experiments on other signals are run by scripts/reproduce.py.
"""

import functools
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from winner_nerfstudio.cli.start import running
from winner_nerfstudio.experiments.config import read_yaml, slugify
from winner_nerfstudio.experiments.conversion import convert
from winner_nerfstudio.experiments.runs import PROGRAM
from winner_nerfstudio.experiments.tables import format_markdown, summarize_metric, write_text
from winner_nerfstudio.files import make_folder
from winner_nerfstudio.signals.blocks import compute_source_digest
from winner_nerfstudio.training.verdict import POOR_FIT


@dataclass(frozen=True)
class PhotoExperiment:
    """What a file such as configs/views_nerf.yml holds.

    Attributes:
        method: The method's name for ns-train.
        targets: Folders of photographs, in the folder that the command line names.
        variants: Flags of ns-train by variant.
        metrics: The columns of the table.
        flags: Flags of all runs.
        seeds: How many seeds: 1, 2, 3 …
        digits: Decimals of decibels in the table.
    """

    method: str
    targets: tuple[str, ...]
    variants: dict[str, str]
    metrics: tuple[str, ...]
    flags: str = ""
    seeds: int = 3
    digits: int = 3


@dataclass
class Arguments:
    """What to run."""

    config: tyro.conf.Positional[Path]
    """The experiment: configs/views_nerf.yml or configs/views_neus.yml."""
    folder: Path = Path()
    """The folder of the photographs that the experiment names."""
    flags: str = ""
    """More flags for every run."""
    runs: Path = Path("outputs/compare_photos")
    """Where runs are kept, in a folder for each experiment."""
    output: Path | None = None
    """File for the table (Markdown)."""


def call(command: list[str]) -> None:
    """Run a command; one that fails ends the program with its error, or else with the last of what it printed.

    A fit that is poor, or would gain by more steps, is none that failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, POOR_FIT):
        lines = done.stderr.strip().splitlines()
        if lines and lines[-1].startswith("error: "):
            sys.exit(lines[-1])
        sys.exit(f"error: {shlex.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


compute_digest = functools.cache(compute_source_digest)


def perform(method: str, target: Path, seed: int, flags: list[str], folder: Path) -> dict[str, Any]:
    """Return the record of one run, which is made unless the same command has made it of the same data."""
    metrics = folder / target.name / method / f"seed-{seed}" / "metrics.json"
    made_by, maker = metrics.with_name("command.txt"), f"{PROGRAM}, of data {compute_digest(target)}"
    command = ["ns-train", method, "--data", str(target), "--machine.seed", str(seed)]
    command += ["--output-dir", str(folder), "--timestamp", f"seed-{seed}", *flags]
    if not made_by.is_file() or made_by.read_text() != f"{shlex.join(command)}\n{maker}\n":
        shutil.rmtree(metrics.parent, ignore_errors=True)
        call(command)
        made_by.write_text(f"{shlex.join(command)}\n{maker}\n")
    return {"metrics": json.loads(metrics.read_text())}


def main() -> None:
    """Make the runs and print the table; end in one line where that cannot be done."""
    with running("interrupted; finished runs are kept, and the same command goes on with the others"):
        arguments = tyro.cli(Arguments, description=__doc__)
        run_experiment(arguments, convert(PhotoExperiment, read_yaml(arguments.config), ""))


def run_experiment(arguments: Arguments, experiment: PhotoExperiment) -> None:
    """Make the runs that are missing, and print and write the table.

    Raises:
        OSError: a folder of photographs is missing, or a result cannot be written.
    """
    for target in experiment.targets:
        if not (arguments.folder / target).is_dir():
            raise FileNotFoundError(
                f"{arguments.folder / target}: no such folder of photographs; --folder names the one that has it, and"
                f" {arguments.config} says how it is made"
            )
    if arguments.output is not None:
        make_folder(arguments.output.parent, arguments.output)  # which fails now rather than after the runs
    rows = []
    for target in experiment.targets:
        for variant, variant_flags in experiment.variants.items():
            flags = shlex.split(f"{experiment.flags} {variant_flags} {arguments.flags}")
            folder, records = arguments.runs / arguments.config.stem / slugify(variant), []
            for seed in range(1, experiment.seeds + 1):
                records.append(perform(experiment.method, arguments.folder / target, seed, flags, folder))
                print(f"{target}, {variant}, seed {seed}: {records[-1]['metrics']}", flush=True)
            summaries = {name: summarize_metric(records, name) for name in experiment.metrics}
            rows.append({"signal": target, "variant": variant, "runs": len(records), **summaries})
    table = format_markdown(rows, experiment.digits)
    print(table)
    if arguments.output is not None:
        write_text(arguments.output.parent, arguments.output.name, table)


if __name__ == "__main__":
    main()
