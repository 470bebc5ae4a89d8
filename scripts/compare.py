"""Run a file of photographs' experiments: every target, seed and variant by ns-train; write a table of means.

What needs no nerfstudio is run by scripts/reproduce.py.

Finished runs of the same command are found again, so an experiment that was interrupted goes on where it was.
"""

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import tyro
import yaml


@dataclass
class Arguments:
    """What to run."""

    experiment: tyro.conf.Positional[Path]
    """The experiment: configs/views_nerf.yml or views_neus.yml."""
    targets: tuple[str, ...] = ()
    """Targets instead of those of the file: files or sample:NAME."""
    folder: Path = Path()
    """Where the files are that the experiment names."""
    flags: str = ""
    """More flags for every run."""
    runs: Path = Path("outputs/compare")
    """Where runs are kept."""
    output: Path | None = None
    """File for the table (Markdown)."""


def call(command: list[str]) -> None:
    """Run a command; one that fails ends the program with the last of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"error: {shlex.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def run(method: str, target: str, seed: int, flags: list[str], folder: Path) -> dict[str, float]:
    """The figures of one run, made if it isn't there yet."""
    stem = Path(target.removeprefix("sample:")).stem
    metrics = folder / stem / method / f"seed-{seed}" / "metrics.json"
    made_by = metrics.with_name("command.txt")
    command = ["ns-train", method, "--data", target, "--machine.seed", str(seed)]
    command += ["--output-dir", str(folder), "--timestamp", f"seed-{seed}", *flags]
    if not made_by.is_file() or made_by.read_text() != shlex.join(command):
        shutil.rmtree(metrics.parent, ignore_errors=True)
        call(command)
        made_by.write_text(shlex.join(command))
    return json.loads(metrics.read_text())


def main() -> None:
    """Run, then tabulate."""
    arguments = tyro.cli(Arguments, description=__doc__)
    experiment = yaml.safe_load(arguments.experiment.read_text())
    seeds, figures, digits = experiment["seeds"], experiment["figures"], experiment["digits"]
    files = [name if name.startswith("sample:") else str(arguments.folder / name) for name in experiment["targets"]]
    targets = arguments.targets or files
    lines = [f"| target | variant | {' | '.join(figures)} |", "|---" * (len(figures) + 2) + "|"]
    for target in targets:
        for variant, own in experiment["variants"].items():
            flags = shlex.split(f"{experiment['flags']} {own} {arguments.flags}")
            results = []
            for seed in seeds:
                folder = arguments.runs / arguments.experiment.stem / variant
                results.append(run(experiment["method"], target, seed, flags, folder))
                value = results[-1][figures[0]]
                print(f"{target}, {variant}, seed {seed}: {figures[0]} {value:.{digits}f}", flush=True)
            cells = []
            for figure in figures:
                values = [result[figure] for result in results]
                spread = f" ± {stdev(values):.1g}" if len(values) > 1 else ""
                cells.append(f"{mean(values):.{digits}f}{spread}")
            lines.append(f"| {Path(target).name} | {variant} | {' | '.join(cells)} |")
    table = "\n".join(lines) + "\n"
    print(table)
    if arguments.output is not None:
        arguments.output.write_text(table)


if __name__ == "__main__":
    main()
