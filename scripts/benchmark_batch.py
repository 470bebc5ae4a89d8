"""Measure fits of many small pictures: quality, core seconds a picture, and the ratio to the same fits one by one.

    python scripts/benchmark_batch.py --pictures a.png b.jpg --count 2000

The pictures are crops of given ones, or of the built-in samples. The core seconds are those of this process, with
reading, initialisation, measuring and writing of fields and table included. Of some pictures the same fits are made
one after the other, in turns with the same pictures as a batch.
"""

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image

from winner_nerfstudio import fit_many
from winner_nerfstudio.signals.samples import IMAGES


@dataclass
class Benchmark:
    """What is measured."""

    pictures: tuple[Path, ...] = ()
    """Pictures that crops are made of; the built-in samples if left out."""
    count: int = 2000
    """Number of crops."""
    side: int = 32
    """Pixels of a crop along each side."""
    reduce: int = 1
    """Factor by which the pictures are made smaller before they are cut, which leaves more detail in a crop."""
    alone: int = 16
    """Number of crops that are also fitted one after the other."""
    rounds: int = 2
    """How often those are fitted in both ways."""
    options: tuple[str, ...] = ()
    """Further options of the fits, such as steps=100."""
    keep: Path | None = None
    """Folder that crops and fits are kept in."""
    _given: dict[str, Any] = field(default_factory=dict, init=False)

    def run(self) -> None:
        """Print what was measured."""
        torch.set_num_threads(1)
        self._given = {name: float(v) if "." in v else int(v) for name, v in (o.split("=") for o in self.options)}
        folder = self.keep or Path(tempfile.mkdtemp(prefix="winner-batch-"))
        try:
            self._run(folder)
        finally:
            if self.keep is None:
                shutil.rmtree(folder)

    def _run(self, folder: Path) -> None:
        crops = self._write_crops(folder / "crops")
        began = time.process_time()
        batch = fit_many(folder / "crops", folder / "fits", **self._given)
        seconds = (time.process_time() - began) / len(crops)
        psnr = np.array([row.metrics["psnr"] for row in batch.rows])
        between = np.mean([row.metrics["psnr_between"] for row in batch.rows])
        print(
            f"{len(crops):,} pictures of {self.side} x {self.side}: mean psnr {psnr.mean():.2f} dB, worst"
            f" {psnr.min():.2f} dB, half-way between the pixels {between:.2f} dB; {seconds:.3f} core seconds and"
            f" {np.mean([row.bytes for row in batch.rows]):,.0f} bytes of weights each"
        )
        together, apart = self._compare(crops[: self.alone], folder)
        print(
            f"of {len(together)} rounds of {self.alone} pictures the best: together {min(together):.3f} core seconds"
            f" each, one by one {min(apart):.3f}, ratio {min(apart) / min(together):.1f}"
        )

    def _write_crops(self, folder: Path) -> list[Path]:
        """Write the crops, the same each time."""
        folder.mkdir(parents=True, exist_ok=True)
        rng, paths = np.random.default_rng(0), []
        sources = [Image.open(path).convert("RGB") for path in self.pictures]
        sources = sources or [Image.fromarray(make()).convert("RGB") for make in IMAGES.values()]
        sizes = [(picture.width // self.reduce, picture.height // self.reduce) for picture in sources]
        arrays = [
            np.asarray(each.resize(size, Image.Resampling.LANCZOS)) for each, size in zip(sources, sizes, strict=True)
        ]
        for index in range(self.count):
            picture = arrays[index % len(arrays)]
            top, left = (int(rng.integers(n - self.side + 1)) for n in picture.shape[:2])
            paths.append(folder / f"{index:06}.png")
            Image.fromarray(picture[top : top + self.side, left : left + self.side]).save(paths[-1])
        return paths

    def _compare(self, crops: list[Path], folder: Path) -> tuple[list[float], list[float]]:
        """Return the core seconds a crop of each round, together and one by one."""
        together, apart = [], []
        for turn in range(self.rounds):
            began = time.process_time()
            fit_many(crops, folder / f"together-{turn}", progress=False, **self._given)
            together.append((time.process_time() - began) / len(crops))
            began = time.process_time()
            for index, crop in enumerate(crops):
                fit_many(crop, folder / f"apart-{turn}-{index}", progress=False, **self._given)
            apart.append((time.process_time() - began) / len(crops))
        return together, apart


if __name__ == "__main__":
    tyro.cli(Benchmark, description=__doc__).run()
