"""Peak memory of a fit in groups and of its export, by the number of groups: it should not depend on it.

    python scripts/benchmark_memory_groups.py --groups 1 2 4 8 16 32 --plot docs/memory-groups.png

Makes pictures of 1, 4, 16 ... times as many rows by code, fits each into a folder with a few steps, in a process of its
own, exports it again, and prints what the processes took at most.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tifffile
import tyro

WIDTH, ROWS, PART = 1024, 512, 128
"""Columns of the pictures, rows of a group, and the side of a part, in pixels."""
CHILD = """
import resource, sys
from pathlib import Path
from winner_nerfstudio.export.grid import export_image
from winner_nerfstudio.training.groups import fit_groups

folder, rows, part, steps = Path(sys.argv[1]), *map(int, sys.argv[2:])
field = fit_groups(
    folder / "made.tif", folder / "fit", steps=steps, parts=(rows // part, 1024 // part), group_samples=512 * 1024,
    hidden_dim=8, num_layers=2, batch_size=256, progress=False,
)
export_image(field.field, folder / "exported.tif")
print(field.field.network.groups.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@dataclass
class Arguments:
    """Measure the peak memory of fits in groups."""

    groups: tuple[int, ...] = (2, 8, 32)
    """Numbers of groups."""
    steps: int = 2
    """Training steps of each group."""
    plot: Path | None = None
    """Picture of the memory over the number of groups."""


def measure(groups: int, steps: int) -> int:
    """Return the peak bytes of a process that fits and exports a picture in so many groups."""
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), groups * ROWS
        tifffile.imwrite(
            folder / "made.tif", make_tiles(rows), shape=(rows, WIDTH, 3), dtype=np.uint8, tile=(256, 256),
            photometric="rgb", metadata=None,
        )  # fmt: skip
        command = [sys.executable, "-c", CHILD, folder, rows, PART, steps]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    counted, peak = map(int, done.stdout.split())
    assert counted == groups, f"{counted} groups instead of {groups}"
    return peak


def make_tiles(rows: int):
    """Yield the tiles of a picture of waves, row by row."""
    for top in range(0, rows, 256):
        for left in range(0, WIDTH, 256):
            row, column = np.mgrid[top : top + 256, left : left + 256]
            yield np.stack([(row * (c + 1) + column * (c + 2)) % 251 for c in range(3)], -1).astype(np.uint8)


def draw(peaks: dict[int, float], path: Path) -> None:
    """Draw the peak memory, in megabytes, over the number of groups."""
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    counts = list(peaks)
    axes.plot(counts, list(peaks.values()), "o-", label="fit in groups and export")
    # The least that a fit of the whole keeps: coordinates and values of all samples, in single precision.
    whole = [peaks[counts[0]] + (count - counts[0]) * ROWS * WIDTH * 5 * 4 / 1e6 for count in counts]
    axes.plot(counts, whole, ":", color="0.4", label="with all samples kept, at least")
    axes.set(xlabel="groups of half a megapixel", ylabel="peak memory, MB", xscale="log", xticks=counts)
    axes.set(xticklabels=counts, ylim=(0, None))
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, then tabulate and draw."""
    arguments, peaks = tyro.cli(Arguments, description=__doc__), {}
    print("groups  megapixels  peak RSS (MB)")
    for count in arguments.groups:
        peaks[count] = measure(count, arguments.steps) / 1e6
        print(f"{count:6}  {count * ROWS * WIDTH / 1e6:10.1f}  {peaks[count]:13.0f}", flush=True)
    if arguments.plot is not None:
        draw(peaks, arguments.plot)


if __name__ == "__main__":
    main()
