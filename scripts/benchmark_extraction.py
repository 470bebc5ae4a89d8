"""How long extracting a fitted surface takes and how much memory, against evaluating the whole grid.

    python scripts/benchmark_extraction.py RUN/config.yml --plot docs/extraction.png

Each resolution runs in a process of its own, which is what its peak memory is of. The dense grid is timed on as many of
its slabs as take a few seconds, just before and after, and scaled up; at `--same` all of it is evaluated, and the two
surfaces are compared. Marching cubes alone, by PyMCubes and scikit-image, is timed on that grid too.
"""

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import tyro

SLABS = 6
"""Of the dense grid that are timed before, and as many after."""


@dataclass
class Arguments:
    """What to measure."""

    config: tyro.conf.Positional[Path]
    """A run's config.yml."""
    resolutions: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Samples per axis."""
    same: int = 192
    """Resolution at which surfaces are compared; 0 leaves that out."""
    plot: Path | None = None
    """Picture of time and memory over the resolution."""


def measure(config: Path, resolution: int) -> dict[str, float]:
    """One extraction, and what the dense grid would take."""
    from winner_nerfstudio.fields.checkpoint import load_run
    from winner_nerfstudio.surfaces.extraction import extract_surface, pull_onto_level

    field = load_run(config)
    evaluated = 0

    def function(points: torch.Tensor) -> torch.Tensor:
        nonlocal evaluated
        evaluated += len(points)
        return field.evaluate(points)

    def slabs() -> float:
        """Seconds per sample of some of the dense grid's slabs."""
        axis = torch.linspace(-1, 1, resolution)
        places = torch.stack(torch.meshgrid(axis[:1], axis, axis, indexing="ij"), -1).reshape(-1, 3)
        if len(places) > 1 << 17:
            places = places[torch.randperm(len(places))[: 1 << 17]]
        start = time.perf_counter()
        for _ in range(SLABS):
            field.evaluate(places)
        return (time.perf_counter() - start) / (SLABS * len(places))

    field.evaluate(torch.zeros(1 << 15, 3))
    before = slabs()
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    surface = extract_surface(function, resolution)
    extracted = time.perf_counter() - start
    after = slabs()
    start = time.perf_counter()
    pull_onto_level(surface, field, 0.0, 2 / (resolution - 1))
    pulled = time.perf_counter() - start
    return {
        "resolution": resolution,
        "seconds": extracted,
        "pull_seconds": pulled,
        "dense_seconds": (before + after) / 2 * resolution**3,
        "evaluated": evaluated,
        "vertices": len(surface.vertices),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "idle_megabytes": idle / 1024,
    }


def compare(config: Path, resolution: int) -> str:
    """How far the surface is from that of the whole grid, and how long other marching cubes take on the same values."""
    import mcubes
    import skimage.measure
    from scipy.spatial import cKDTree

    from winner_nerfstudio.fields.checkpoint import load_run
    from winner_nerfstudio.surfaces.extraction import CLEARANCE, extract_surface

    field = load_run(config)
    sparse = extract_surface(field.evaluate, resolution)
    axis = torch.from_numpy(np.linspace(-1, 1, resolution, dtype=np.float32))
    slabs = [torch.stack(torch.meshgrid(x[None], axis, axis, indexing="ij"), -1).reshape(-1, 3) for x in axis]
    values = np.stack([field.evaluate(slab).reshape(resolution, resolution).numpy() for slab in slabs])
    # As in the product: the cube's walls are outside, and the surface keeps off the samples.
    spacing = 2 / (resolution - 1)
    inner = np.pad(np.ones((resolution - 2,) * 3, bool), 1)
    values = np.where(inner, values, values.clip(min=spacing))
    least = np.float32(CLEARANCE * spacing)
    values = np.where(np.abs(values) < least, np.where(values < 0, -least, least), values)
    start = time.perf_counter()
    vertices, _ = mcubes.marching_cubes(values, 0.0)
    took = time.perf_counter() - start
    start = time.perf_counter()
    skimage.measure.marching_cubes(values, 0.0)
    lewiner = time.perf_counter() - start
    vertices = vertices * 2 / (resolution - 1) - 1
    apart = max(cKDTree(a).query(b)[0].max() for a, b in ((sparse.vertices, vertices), (vertices, sparse.vertices)))
    return (
        f"at {resolution}: vertices of the sparse and of the dense surface are at most {apart / 2:.1e} of the box apart"
        f" ({len(sparse.vertices):,} and {len(vertices):,}); marching cubes over the dense values takes PyMCubes"
        f" {took:.2f} s, scikit-image (Lewiner) {lewiner:.2f} s"
    )


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Time and memory over the resolution, on logarithmic axes, with lines that grow as its square."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    size = np.array([row["resolution"] for row in rows])
    seconds = np.array([row["seconds"] for row in rows])
    memory = np.array([row["megabytes"] - row["idle_megabytes"] for row in rows])
    left.loglog(size, seconds, "o-", label="sparse")
    left.loglog(size, [row["dense_seconds"] for row in rows], "s--", color="0.5", label="dense grid, scaled up")
    left.loglog(size, seconds[-1] * (size / size[-1]) ** 2, ":", color="C0", label="resolution²")
    left.set(ylabel="seconds")
    right.loglog(size, memory, "o-", label="sparse")
    right.loglog(size, memory[-1] * (size / size[-1]) ** 2, ":", color="C0", label="resolution²")
    right.set(ylabel="megabytes, besides the idle process")
    for plot in (left, right):
        plot.set(xlabel="samples per axis", xticks=size, xticklabels=[f"{n:.0f}" for n in size])
        plot.minorticks_off()
        plot.legend()
    FigureCanvasAgg(figure).print_png(path)


def main() -> None:
    """Measure, then tabulate and draw."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = []
    print(
        "| samples per axis | seconds | dense | times faster | pull, seconds | evaluated | vertices | peak memory, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for resolution in arguments.resolutions:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            row = process.submit(measure, arguments.config, resolution).result()
        rows.append(row)
        print(
            f"| {resolution} | {row['seconds']:.1f} | {row['dense_seconds']:.0f}"
            f" | {row['dense_seconds'] / row['seconds']:.1f} | {row['pull_seconds']:.1f} | {row['evaluated']:,}"
            f" | {row['vertices']:,} | {row['megabytes']:,.0f} |",
            flush=True,
        )
    if arguments.same:
        print(compare(arguments.config, arguments.same))
    if arguments.plot is not None:
        draw(rows, arguments.plot)


if __name__ == "__main__":
    main()
