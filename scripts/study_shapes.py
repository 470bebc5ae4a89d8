"""Which points, loss and network fit shapes best in equal time: trains each variant for as much CPU time as the others.

    python -m scripts.study_shapes --folder FOLDER --output docs/shape-study.md

Without nerfstudio, with the product's own samples, network, initialisation and figures. Time is that of the process,
all threads and the drawing of points included, so that other work on the machine hardly changes the outcome; one thread
is best. Runs that are there already are not run again.
"""

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
import tyro
from torch import Tensor

from winner_nerfstudio.fields import Field
from winner_nerfstudio.metrics.shape import surface_figures, volume_figures
from winner_nerfstudio.signals.shape import Mix, Shape, load_shape
from winner_nerfstudio.surfaces.extraction import EmptySurfaceError, extract_surface, pull_onto_level
from winner_nerfstudio.winner import siren_init_, winner_init_

SHAPES = ("stanford-bunny.obj", "spot.obj", "fandisk.obj", "sample:gyroid-ball", "sample:cog", "sample:knot")
FIGURES = {
    "iou": 5,
    "edge_normal_degrees": 2,
    "chamfer_l1": 6,
    "chamfer_l2": 6,
    "normal_consistency": 4,
    "sdf_error_near": 5,
    "sdf_error_far": 5,
}
RESOLUTION = 160
POINTS_PER_DRAW = 1 << 18


@dataclass(frozen=True)
class Variant:
    """A way to fit."""

    surface: float = 0.3
    near: float = 0.5
    sigmas: tuple[float, ...] = (0.05, 0.01)
    passes: int = 2
    loss: str = "l1"
    truncation: float = 0.1
    far_weight: float = 1.0
    eikonal: float = 0.0
    normal: float = 0.0
    hard: float = 0.0
    layers: int = 4
    width: int = 256
    batch: int = 8192
    rate: float = 5e-4
    final: float = 0.02
    s0: float = 2.5
    s1: float = 0.1


BEFORE = Variant()
SMALL = replace(BEFORE, batch=2048)
FINE = replace(SMALL, hard=0.5, sigmas=(0.02, 0.004))
VARIANTS = {
    "batch 8192 (before)": BEFORE,
    "batch 4096": replace(BEFORE, batch=4096),
    "batch 2048": SMALL,
    "batch 1024": replace(BEFORE, batch=1024),
    "4 x 128": replace(SMALL, width=128),
    "3 x 256": replace(SMALL, layers=3),
    "normals .01": replace(SMALL, normal=0.01),
    "eikonal .01": replace(SMALL, eikonal=0.01),
    "offsets .02 .004": replace(SMALL, sigmas=(0.02, 0.004)),
    "offsets .05 .01 .002": replace(SMALL, sigmas=(0.05, 0.01, 0.002)),
    "near .7, surface .2": replace(SMALL, near=0.7, surface=0.2),
    "the worse half of the points": replace(SMALL, hard=0.5),
    "the worse quarter": replace(SMALL, hard=0.25),
    "L2": replace(SMALL, loss="l2"),
    "relative": replace(SMALL, loss="relative"),
    "far weight .1": replace(SMALL, far_weight=0.1),
    "clamp .03": replace(SMALL, truncation=0.03),
    "rate 1e-3": replace(SMALL, rate=1e-3),
    "rate 2.5e-4": replace(SMALL, rate=2.5e-4),
    "no noise (SIREN)": replace(SMALL, s0=0.0, s1=0.0),
    "s0 5": replace(SMALL, s0=5.0),
    "s1 .2": replace(SMALL, s1=0.2),
    "used 4 times": replace(SMALL, passes=4),
    "worse half, offsets .02 .004": FINE,
    "worse half, offsets .02 .004, 4 x 128": replace(FINE, width=128),
    "worse half, offsets .02 .004, 4096 points": replace(FINE, batch=4096),
    "worse half, offsets .03 .006, near .6": replace(FINE, sigmas=(0.03, 0.006), near=0.6, surface=0.2),
    "worse half, offsets .02 .004, s0 5": replace(FINE, s0=5.0),
    "worse half, offsets .02 .004, no noise": replace(FINE, s0=0.0, s1=0.0),
}


@dataclass
class Arguments:
    """What to run."""

    folder: Path = Path()
    """Where the files are that the study names."""
    shapes: tuple[str, ...] = SHAPES
    """Files, or sample:NAME."""
    variants: tuple[str, ...] = ()
    """Some of them, by name; all if left out."""
    seeds: tuple[int, ...] = (1,)
    """A run of each."""
    seconds: float = 30.0
    """CPU time of a run's training."""
    runs: Path = Path("outputs/study_shapes")
    """Where the figures of runs are kept."""
    output: Path | None = None
    """File for the table (Markdown)."""


def batches(shape: Shape, variant: Variant, seed: int) -> Iterator[dict[str, Tensor]]:
    """Points as the product serves them."""
    shape = replace(shape, mix=Mix(variant.surface, variant.near, variant.sigmas))
    order, number = torch.Generator().manual_seed(seed), 0
    while True:
        drawn = shape.draw(np.random.default_rng([seed, number]), POINTS_PER_DRAW)
        points = {name: torch.from_numpy(values) for name, values in drawn.items()}
        for _ in range(variant.passes):
            for rows in torch.randperm(POINTS_PER_DRAW, generator=order).split(variant.batch):
                yield {name: values[rows] for name, values in points.items()}
        number += 1


def loss_of(field: Field, batch: dict[str, Tensor], variant: Variant) -> Tensor:
    """The loss of a batch."""
    coords, truth = batch["coords"], batch["values"]
    if variant.hard:
        with torch.no_grad():
            error = (field(coords) - truth).abs()[:, 0]
            kept = error.topk(round(len(error) * variant.hard)).indices
        coords, truth = coords[kept], truth[kept]
    slopes = variant.eikonal > 0 or variant.normal > 0
    fitted = field(coords.requires_grad_(slopes))
    limit = variant.truncation
    error = fitted - truth
    near = fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)
    if variant.loss == "l2":
        loss = 10 * (near.square().mean() + variant.far_weight * error.square().mean())
    elif variant.loss == "relative":
        loss = 0.1 * (error.abs() / (truth.abs() + 0.01)).mean()
    else:
        loss = near.abs().mean() + variant.far_weight * error.abs().mean()
    if slopes:
        (gradient,) = torch.autograd.grad(fitted.sum(), coords, create_graph=True)
        loss = loss + variant.eikonal * (gradient.norm(dim=-1) - 1).abs().mean()
        on = truth[:, 0] == 0
        if variant.normal:
            cosine = torch.nn.functional.cosine_similarity(gradient[on], batch["normals"][on], dim=-1)
            loss = loss + variant.normal * (1 - cosine).mean()
    return loss


def train(shape: Shape, variant: Variant, seed: int, seconds: float) -> tuple[Field, int]:
    """The field after that much CPU time, and the steps it took."""
    torch.manual_seed(seed)
    network = {"name": "siren", "in_dim": 3, "out_dim": 1, "hidden_dim": variant.width, "num_layers": variant.layers}
    field = Field("sdf", network, shape.normalization)
    if variant.s0 or variant.s1:
        winner_init_(field.network, s0=variant.s0, s1=variant.s1, dim=3, seed=seed)
    else:
        siren_init_(field.network, seed=seed)
    optimizer = torch.optim.Adam(field.parameters(), lr=variant.rate)
    start, steps = time.process_time(), 0
    for batch in batches(shape, variant, seed):
        part = (time.process_time() - start) / seconds
        if part >= 1:
            break
        rate = variant.final + (1 - variant.final) * 0.5 * (1 + math.cos(math.pi * part))
        optimizer.param_groups[0]["lr"] = variant.rate * rate
        optimizer.zero_grad()
        loss_of(field, batch, variant).backward()
        optimizer.step()
        steps += 1
    return field, steps


def figures_of(field: Field, shape: Shape) -> dict[str, float]:
    """The product's figures."""
    figures = volume_figures(field.evaluate, shape)
    try:
        surface = extract_surface(field.evaluate, RESOLUTION)
        surface = pull_onto_level(surface, field, 0.0, 2 / (RESOLUTION - 1))
        return figures | surface_figures(surface, shape)
    except EmptySurfaceError:
        return figures | {"chamfer_l1": 1.0, "chamfer_l2": 1.0, "normal_consistency": 0.0}


def main() -> None:
    """Run, then tabulate."""
    arguments = tyro.cli(Arguments, description=__doc__)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    names = arguments.variants or tuple(VARIANTS)
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    for source in arguments.shapes:
        shape = load_shape(source if source.startswith("sample:") else arguments.folder / source)
        stem = Path(source.removeprefix("sample:")).stem
        for name in names:
            for seed in arguments.seeds:
                variant = VARIANTS[name]
                kept = arguments.runs / f"{stem}, {name.replace('/', ' ')}, {seed}, {arguments.seconds:g}.json"
                record = json.loads(kept.read_text()) if kept.is_file() else {}
                if record.get("variant") != json.loads(json.dumps(asdict(variant))):
                    field, steps = train(copy.copy(shape), variant, seed, arguments.seconds)
                    record = {"variant": asdict(variant), "figures": {"steps": steps, **figures_of(field, shape)}}
                    kept.write_text(json.dumps(record, indent=1))
                    told = ", ".join(
                        f"{key} {record['figures'].get(key, math.nan):.{digits}f}" for key, digits in FIGURES.items()
                    )
                    print(f"{stem}, {name}, seed {seed}: {steps} steps, {told}", flush=True)
                results.setdefault((stem, name), []).append(record["figures"])
    table = tabulate(results)
    print(table)
    if arguments.output is not None:
        arguments.output.write_text(table)


def tabulate(results: dict[tuple[str, str], list[dict[str, float]]]) -> str:
    """Means over seeds and their standard deviation, and the geometric mean over shapes against the first variant."""
    stems, names = dict.fromkeys(stem for stem, _ in results), list(dict.fromkeys(name for _, name in results))
    lines = [f"| shape | variant | steps | {' | '.join(FIGURES)} |", "|---" * (len(FIGURES) + 3) + "|"]
    for stem in stems:
        for name in names:
            runs = results[stem, name]
            cells = [f"{mean(run['steps'] for run in runs):.0f}"]
            for figure, digits in FIGURES.items():
                values = [run[figure] for run in runs if figure in run]
                if not values:
                    cells.append("")
                    continue
                spread = f" ± {stdev(values):.1g}" if len(values) > 1 else ""
                cells.append(f"{mean(values):.{digits}f}{spread}")
            lines.append(f"| {stem} | {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| variant | 1 - iou | chamfer_l1 | chamfer_l2 | 1 - normal_consistency | far |",
        "|---|---|---|---|---|---|",
    ]
    measures = [
        lambda run: 1 - run["iou"],
        lambda run: run["chamfer_l1"],
        lambda run: run["chamfer_l2"],
        lambda run: 1 - run["normal_consistency"],
        lambda run: run["sdf_error_far"],
    ]
    for name in names:
        ratios = []
        for measure in measures:
            logs = [
                math.log(mean(map(measure, results[stem, name])) / mean(map(measure, results[stem, names[0]])))
                for stem in stems
            ]
            ratios.append(f"{math.exp(mean(logs)):.3f}")
        lines.append(f"| {name} | {' | '.join(ratios)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
