"""Prove what docs/batch.md and docs/large.md say of many files, of killed runs, and of several workers.

    python scripts/prove_batch.py files killed overhead
    python scripts/prove_batch.py groups --engine ray
    python scripts/prove_batch.py processes

files      200 files of mixed kinds, of which 10 are bad: what becomes of them
killed     the same, ended by SIGKILL ten times at random: table and bits are those of a run that was not
overhead   the time of a task that does nothing, against that of a bank, and the time of all that is no task
groups     one large signal in groups by one worker and by two, in turns: the same bits, and the ratio of the times
processes  ns-train on one process and on two, in turns: the metrics, and the ratio of the times

All files are made by code. Times are those of a machine on which nothing else runs.
"""

import csv
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import soundfile
import torch
import trimesh
import tyro
from PIL import Image

from winner_nerfstudio import fit_groups, fit_many
from winner_nerfstudio.batch import many
from winner_nerfstudio.signals.samples import IMAGES
from winner_nerfstudio.training.engine import Workers, count_cores

GOOD = {"png": 80, "wav": 50, "series.npy": 30, "volume.npy": 20, "ply": 10}
"""The good files by their kinds."""
BAD = {
    "empty.png": b"",
    "cut.png": b"\x89PNG\r\n\x1a\n....",
    "cut.jpg": b"\xff\xd8\xff\xe0",
    "noise.wav": b"RIFFRIFF",
    "empty.wav": b"",
    "what.xyzzy": b"?",
    "text.npy": b"not an array",
    "words.ply": b"ply\nformat ascii 1.0\nelement vertex",
    "none.obj": b"# nothing\n",
    "notes.txt": b"no points\n",
}
QUICK = {"steps": 20, "hidden_dim": 16, "num_layers": 2, "eval_resolution": 16, "progress": False}
"""The options of the fits of the mixed files, which are many and need not be good."""
NOTHING = 100
"""The tasks that do nothing."""


@dataclass
class Proofs:
    """What is proven."""

    what: tyro.conf.Positional[tuple[Literal["files", "killed", "overhead", "groups", "processes"], ...]]
    kills: int = 10
    """Number of times that a run is killed."""
    rounds: int = 3
    """How often times are measured in turns."""
    engine: Annotated[str, tyro.conf.arg(metavar="ENGINE")] = "processes"
    """Who trains the groups: processes or ray."""
    side: int = 512
    """Pixels of the large picture along each side."""
    steps: int = 100
    """Number of training steps of the large picture."""
    _seconds: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Print what was found."""
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory(prefix="winner-prove-") as name:
            for each in self.what:
                getattr(self, f"prove_{each}")(Path(name))

    def prove_files(self, folder: Path) -> None:
        """Fit the mixed files and count what came of them."""
        batch = self._fit_mixed(folder)
        fields = len(list((folder / "whole" / "fields").iterdir()))
        print(f"{len(batch.rows)} files: {fields} fields, {len(batch.failed)} rows that say why there is none, such as")
        for row in batch.failed:
            print(f"    {row.error}")

    def _fit_mixed(self, folder: Path) -> many.Batch:
        """Make the mixed files and fit them."""
        files, began = make_files(folder / "files"), time.perf_counter()
        batch = fit_many(files, folder / "whole", **QUICK)
        self._seconds = time.perf_counter() - began
        return batch

    def prove_killed(self, folder: Path) -> None:
        """Kill a run at random moments until it has been killed often enough, and compare what it comes to."""
        if not (folder / "whole").exists():
            self._fit_mixed(folder)
        files, mean = folder / "files", self._seconds / self.kills
        rng, forked, seen = random.Random(0), multiprocessing.get_context("fork"), []
        for _ in range(self.kills):
            process = forked.Process(target=fit_many, args=(files, folder / "killed"), kwargs=QUICK)
            process.start()
            time.sleep(rng.uniform(0, 2 * mean))
            process.kill()
            process.join()
            seen.append(len(list((folder / "killed").glob("fields/[!.]*"))))
        fit_many(files, folder / "killed", **QUICK)
        same_bits = read_all(folder / "killed" / "fields") == read_all(folder / "whole" / "fields")
        same_table = read_table(folder / "killed") == read_table(folder / "whole")
        print(f"killed {self.kills} times, with {seen} fields: the same bits {same_bits}, the same table {same_table}")

    def prove_overhead(self, folder: Path) -> None:
        """Measure a bank of pictures, what a run does besides, and tasks that do nothing."""
        crops, spent = make_crops(folder / "crops", 128, 32), 0.0
        run_task = many.run_task

        def timed(*arguments):
            nonlocal spent
            began = time.process_time()
            rows = list(run_task(*arguments))
            spent += time.process_time() - began
            return rows

        many.run_task = timed
        began = time.process_time()
        fit_many(crops, folder / "overhead", progress=False)
        total, many.run_task = time.process_time() - began, run_task
        print(f"a bank of 128 pictures: {spent:.1f} core seconds, and {total / spent - 1:.2%} for what is no task")
        for engine in ("local", self.engine):
            with Workers(engine).open() as opened:
                list(opened.run(do_nothing, None, range(4)))  # starts the workers
                began = time.perf_counter()
                list(opened.run(do_nothing, None, range(NOTHING)))
                each = (time.perf_counter() - began) / NOTHING
            print(f"a task that does nothing, engine {engine}: {1e3 * each:.2f} ms, {each / spent:.3%} of the bank")

    def prove_groups(self, folder: Path) -> None:
        """Fit one large signal in groups by one worker and by two."""
        rng = np.random.default_rng(0)
        coarse = Image.fromarray(rng.integers(0, 256, (self.side // 16, self.side // 16, 3)).astype(np.uint8))
        np.save(folder / "large.npy", np.asarray(coarse.resize((self.side, self.side), Image.Resampling.BICUBIC)))
        parts = self.side // 64
        options = {"parts": (parts, parts), "group_samples": self.side**2 // 8, "steps": self.steps, "measure": False}
        times: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(self.rounds):
            for count in times:
                with open_workers(self.engine, count) as workers:
                    began = time.perf_counter()
                    output = folder / f"groups-{turn}-{count}"
                    fit_groups(folder / "large.npy", output, progress=False, **options, **workers)
                    times[count].append(time.perf_counter() - began)
        all_bits = [read_all(path) for path in folder.glob("groups-*")]
        groups = sum(name.startswith("group-") for name in all_bits[0])
        same = all(bits == all_bits[0] for bits in all_bits)
        one, two = min(times[1]), min(times[2])
        print(
            f"{self.side} x {self.side} pixels in {groups} groups, {self.engine}: one worker {one:.1f} s,"
            f" two {two:.1f} s, ratio {one / two:.2f}; the same bits {same}"
        )

    def prove_processes(self, folder: Path) -> None:
        """Train by ns-train with one process and with two."""
        source = folder / "mandala.png"
        Image.fromarray(IMAGES["mandala"]()).save(source)
        found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for turn in range(self.rounds):
            for count in found:
                command = [Path(sys.executable).parent / "ns-train", "winner-image", "--data", source]
                command += ["--machine.device-type", "cpu", "--machine.num-devices", count]
                command += ["--pipeline.model.parts", 1, "--max-num-iterations", self.steps]
                command += ["--pipeline.datamanager.batch-size", 16384, "--output-dir", folder / f"run-{turn}-{count}"]
                subprocess.run([*map(str, command)], stdout=subprocess.DEVNULL, check=False)
                (path,) = (folder / f"run-{turn}-{count}").rglob("metrics.json")
                found[count].append(json.loads(path.read_text()))
        seconds = {count: min(metrics["train_seconds"] for metrics in runs) for count, runs in found.items()}
        psnr = {count: runs[0]["psnr"] for count, runs in found.items()}
        print(
            f"{self.steps} steps of 16,384 pixels: psnr {psnr[1]:.6f} dB by one process, {psnr[2]:.6f} dB by two;"
            f" {seconds[1]:.1f} s and {seconds[2]:.1f} s, ratio {seconds[1] / seconds[2]:.2f}"
        )


def do_nothing(shared: None, task: int) -> list[int]:
    """Return the task."""
    return [task]


def wait_a_second(shared: None, task: int) -> list[int]:
    """Return the task after a second, in which other workers take the next ones."""
    time.sleep(1)
    return [task]


@contextmanager
def open_workers(engine, count):
    """Yield the arguments of `fit_groups` for so many workers of an engine, each with one core."""
    if engine == "ray":
        import ray

        ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False)
        try:
            with Workers("ray").open() as opened:  # Ray keeps workers that have started and imported everything
                list(opened.run(wait_a_second, None, range(4 * count)))
            yield {"engine": "ray"}
        finally:
            ray.shutdown()
    else:
        yield {"engine": "processes", "cpus": count_cores() / count} if count > 1 else {"engine": "local"}


def make_crops(folder: Path, count: int, side: int) -> Path:
    """Write crops of a sample, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, rng = IMAGES["mandala"](), np.random.default_rng(0)
    for index in range(count):
        top, left = (int(rng.integers(n - side)) for n in picture.shape[:2])
        Image.fromarray(picture[top : top + side, left : left + side]).save(folder / f"{index:03}.png")
    return folder


def make_files(folder: Path) -> Path:
    """Write the good and the bad files, and return their folder."""
    if folder.exists():
        return folder
    make_crops(folder, GOOD["png"], 12)
    rng = np.random.default_rng(1)
    for index in range(GOOD["wav"]):
        soundfile.write(folder / f"tone{index}.wav", 0.5 * np.sin(np.arange(300) * rng.uniform(0.05, 0.5)), 8000)
    for index in range(GOOD["series.npy"]):
        np.save(folder / f"series{index}.npy", np.cumsum(rng.standard_normal(200)).astype(np.float32))
    for index in range(GOOD["volume.npy"]):
        axes = np.meshgrid(*3 * [np.linspace(-1, 1, 8)], indexing="ij")
        np.save(folder / f"volume{index}.npy", (sum(a * a for a in axes) - rng.uniform(0.3, 1.2)).astype(np.float32))
    for index in range(GOOD["ply"]):
        trimesh.creation.icosphere(2, 1 + index).export(folder / f"ball{index}.ply")
    for name, content in BAD.items():
        (folder / name).write_bytes(content)
    return folder


def read_all(folder: Path) -> dict[str, bytes]:
    """Return the bytes of the files of a folder by their names."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_table(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a table without the seconds."""
    with (folder / "table.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


if __name__ == "__main__":
    tyro.cli(Proofs, description=__doc__).run()
