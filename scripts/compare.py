"""Run an experiment file: every target, seed and variant by ns-train; print and write a table of means.

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
    """The experiment: a YAML file, see configs/."""
    targets: tuple[str, ...] = ()
    """Targets instead of those of the file: mesh files or sample:NAME."""
    flags: str = ""
    """More flags for every run."""
    runs: Path = Path("outputs/compare")
    """Where runs are kept."""
    output: Path | None = None
    """File for the table (Markdown)."""


def run(target: str, seed: int, flags: list[str], folder: Path) -> dict[str, float]:
    """The figures of one run, made if it isn't there yet."""
    stem = Path(target.removeprefix("sample:")).stem
    metrics = folder / stem / "winner-sdf" / f"seed-{seed}" / "metrics.json"
    made_by = metrics.with_name("command.txt")
    command = ["ns-train", "winner-sdf", "--data", target, "--machine.seed", str(seed)]
    command += ["--output-dir", str(folder), "--timestamp", f"seed-{seed}", *flags]
    if not made_by.is_file() or made_by.read_text() != shlex.join(command):
        shutil.rmtree(metrics.parent, ignore_errors=True)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            sys.exit(f"error: {shlex.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        made_by.write_text(shlex.join(command))
    return json.loads(metrics.read_text())


def main() -> None:
    """Run, then tabulate."""
    arguments = tyro.cli(Arguments, description=__doc__)
    experiment = yaml.safe_load(arguments.experiment.read_text())
    targets, seeds = arguments.targets or experiment["targets"], experiment["seeds"]
    lines = [
        f"| target | variant | {' | '.join(experiment['figures'])} |",
        "|---" * (len(experiment["figures"]) + 2) + "|",
    ]
    for target in targets:
        for variant, own in experiment["variants"].items():
            flags = shlex.split(f"{experiment['flags']} {own} {arguments.flags}")
            results = []
            for seed in seeds:
                results.append(run(target, seed, flags, arguments.runs / arguments.experiment.stem / variant))
                print(f"{target}, {variant}, seed {seed}: iou {results[-1]['iou']:.5f}", flush=True)
            cells = []
            for figure in experiment["figures"]:
                values = [result[figure] for result in results]
                spread = f" ± {stdev(values):.1g}" if len(values) > 1 else ""
                cells.append(f"{mean(values):.5f}{spread}")
            lines.append(f"| {Path(target).name} | {variant} | {' | '.join(cells)} |")
    table = "\n".join(lines) + "\n"
    print(table)
    if arguments.output is not None:
        arguments.output.write_text(table)


if __name__ == "__main__":
    main()
