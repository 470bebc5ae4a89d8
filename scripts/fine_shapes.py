"""Fine shapes: a single network against a network for each cell near the surface, with close-ups.

    OMP_NUM_THREADS=1 python scripts/fine_shapes.py --folder FOLDER [--shapes ogre.obj hand head]

A hand with narrow gaps between its fingers and a head with hair-thin relief are made here; other shapes are files. Both
are fitted by their defaults, on one thread. Writes table.md, in which time is that of the processor from the start of a
fit to its end, and a close-up of each shape.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
import tyro
from jaxtyping import Float
from numpy import ndarray
from rich.console import Console

from winner_nerfstudio.fields import Field
from winner_nerfstudio.metrics.grid import intersection_over_union
from winner_nerfstudio.metrics.shape import surface_metrics, volume_metrics
from winner_nerfstudio.registry import kind_named
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.shape import Shape, load_shape
from winner_nerfstudio.surfaces import extract_surface
from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import sort_options
from winner_nerfstudio.training.run import train

METHODS: dict[str, dict[str, Any]] = {"single": {"parts": (1,)}, "cells": {}}
COLUMNS = ("1 - iou", "chamfer_l1", "chamfer_l2", "normal_consistency", "sdf_error_near", "sdf_error_far")


POINTS = 1_000_000
"""Points of the bounding box at which insides are compared; the product's metric counts few that are wrong."""


@dataclass
class Arguments:
    """What to fit."""

    folder: Path
    """Where the table, the surfaces and the close-ups are written."""
    shapes: tuple[str, ...] = ("hand", "head")
    """Names of figures, or mesh files."""
    resolution: int = 512
    """Samples per axis of the surfaces that are measured."""
    parts: tuple[float, float] = (1.0, 1.0)
    """Parts of their default steps that the single network and the cells take."""
    seed: int = 0
    """Seed of the networks and the points."""


def distance_to_capsule(
    points: Float[ndarray, "n 3"], first: list[float], last: list[float], radii: tuple[float, float]
) -> Float[ndarray, " n"]:
    """Return about the distance to a capsule whose radius changes evenly from one end to the other."""
    begin, axis = np.array(first), np.array(last) - np.array(first)
    along = np.clip((points - begin) @ axis / (axis @ axis), 0, 1)
    return np.linalg.norm(points - begin - along[:, None] * axis, axis=-1) - radii[0] - (radii[1] - radii[0]) * along


def hand(points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
    """Return about the distance to an open hand, whose fingers are capsules with narrow gaps between them."""
    beyond = np.abs(points - [0, -0.35, 0]) - [0.21, 0.23, 0.03]
    distance = np.linalg.norm(beyond.clip(0), axis=-1) + beyond.max(-1).clip(max=0) - 0.035
    capsules = [([0, -0.6, 0], [0, -0.9, 0], (0.14, 0.12))]
    capsules += [([0.22, -0.5, 0], [0.42, -0.28, 0.03], (0.055, 0.05))]
    capsules += [([0.42, -0.28, 0.03], [0.5, -0.1, 0.04], (0.05, 0.04))]
    for x, length, lean in ((-0.204, 0.5, -0.1), (-0.068, 0.62, -0.03), (0.068, 0.66, 0.03), (0.204, 0.56, 0.1)):
        joint = np.array([x, -0.12, 0.0])
        for bone in range(3):
            after = joint + np.array([0.3 * lean, length / 3, -0.012 * (bone + 1) ** 2])
            capsules.append((joint.tolist(), after.tolist(), (0.052 - 0.006 * bone, 0.046 - 0.006 * bone)))
            joint = after
    return np.min([distance, *(distance_to_capsule(points, *capsule) for capsule in capsules)], axis=0)


def head(points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
    """Return about the distance to a head with eyes, nose and mouth, and hair of thin strands in relief."""
    scaled = points * [1, 0.85, 0.9]
    radius = np.linalg.norm(scaled, axis=-1).clip(1e-6)
    x, y, z = (scaled / radius[:, None]).T
    polar, azimuth = np.arccos(y.clip(-1, 1)), np.arctan2(z, x)
    has_hair = 1 / (1 + np.exp(-25 * (y - 0.1 - 0.55 * z)))
    strands = np.abs(np.sin(20 * azimuth + 3 * np.sin(3 * polar))) * np.clip(np.sin(polar) / 0.35, 0, 1)
    distance = radius - 0.75 - 0.012 * has_hair * strands
    for side in (-0.25, 0.25):
        distance = np.maximum(distance, 0.09 - np.linalg.norm(points - [side, 0.12, 0.78], axis=-1))
        distance = np.minimum(distance, np.linalg.norm(points - [side, 0.12, 0.74], axis=-1) - 0.06)
    distance = np.minimum(distance, distance_to_capsule(points, [0, 0.12, 0.8], [0, -0.12, 0.9], (0.03, 0.07)))
    return np.maximum(distance, -distance_to_capsule(points, [-0.2, -0.32, 0.78], [0.2, -0.32, 0.78], (0.012, 0.012)))


FIGURES = {"hand": (hand, 320), "head": (head, 200)}
"""Figures made here, with the samples per axis of the grid that their mesh is taken from."""
VIEWS = {
    "hand": ((0.0, 0.35, 0.0), 0.55, (0.1, 0.0, 1.0)),
    "head": ((0.0, 0.45, 0.3), 0.5, (0.0, 0.6, 1.0)),
    "ogre.obj": ((0.0, 0.75, 0.1), 0.22, (0.1, 0.05, 1.0)),
}
"""Of each close-up: the middle, half its width, and the direction to the viewer, in the cube."""


def make_shape(name: str) -> Shape:
    """Return a figure that is made here, or the shape of a file."""
    if name not in FIGURES:
        return load_shape(name)
    function, resolution = FIGURES[name]
    return Shape.from_mesh(extract(function, resolution), name)


def extract(function: Any, resolution: int) -> trimesh.Trimesh:
    """Return the zero surface of a function of arrays [n, 3]."""

    def evaluate(points: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(function(points.double().numpy()).astype(np.float32))[:, None]

    return extract_surface(evaluate, resolution, 0.0)


def fit_shape(shape: Shape, options: dict[str, Any], part: float, seed: int) -> tuple[Field, dict[str, float]]:
    """Return a field, and the steps and the seconds of the processor that it has taken."""
    began = time.process_time()
    plan = make_plan(shape, sort_options(kind_named("sdf"), options, loaded=True), Course(seed=seed))
    plan = replace(plan, steps=round(plan.steps * part))
    started = start(shape, plan.options, torch.device("cpu"), plan.seed)
    train(started, plan, Console(quiet=True), None)
    return started.field, {"steps": plan.steps, "seconds": time.process_time() - began}


def measure(shape: Shape, field: Field, resolution: int) -> tuple[trimesh.Trimesh, dict[str, float]]:
    """Return the field's surface, and the metrics of the product, with its pieces and Euler number."""
    began = time.process_time()
    surface = extract_surface(field.evaluate, resolution, 0.0)
    seconds = time.process_time() - began
    metrics = volume_metrics(field.evaluate, shape) | surface_metrics(surface, shape)
    points = np.random.default_rng(0).uniform(*shape.bounds, (POINTS, 3)).astype(np.float32)
    inside = field.evaluate(torch.from_numpy(points))[:, 0].numpy() < 0
    metrics["1 - iou"] = 1 - intersection_over_union(inside, shape.inside(points.astype(np.float64)))
    return surface, metrics | count_pieces(surface) | {"extraction": seconds}


def count_pieces(surface: trimesh.Trimesh) -> dict[str, float]:
    """Return the number of pieces and the Euler number."""
    return {"pieces": int(surface.body_count), "euler": int(surface.euler_number)}


def render(surface: trimesh.Trimesh, view: Any, size: int = 360) -> Float[ndarray, "h w 3"]:
    """Return a picture of a part of a surface, lit from the viewer's side, by rays without perspective."""
    center, half, toward = view
    forward = np.array(toward) / np.linalg.norm(toward)
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    across = np.linspace(-half, half, 3 * size)
    u, v = np.meshgrid(across, -across)
    origins = np.array(center) + u.reshape(-1, 1) * right + v.reshape(-1, 1) * up + 3 * forward
    shape = Shape("surface", surface, Normalization((0.0, 0.0, 0.0), 1.0), holes=0)
    _, hit, normals = shape.cast_rays(origins, np.tile(-forward, (len(origins), 1)))
    light = forward + 0.5 * up - 0.6 * right
    shade = 0.25 + 0.75 * (normals @ (light / np.linalg.norm(light))).clip(0)
    picture = np.where(hit[:, None], shade[:, None] * [0.93, 0.9, 0.85], 1.0).clip(0, 1)
    return np.median(picture.reshape(size, 3, size, 3, 3), axis=(1, 3))  # without the specks of slivers


def main(arguments: Arguments) -> None:
    """Fit the shapes, and write the table and the close-ups."""
    from PIL import Image

    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in arguments.shapes:
        shape, key = make_shape(name), Path(name).name
        target = extract(shape.signed_distance, arguments.resolution)
        rows.append({"shape": key, "method": "target"} | count_pieces(target))
        surfaces = [target]
        for (method, options), part in zip(METHODS.items(), arguments.parts, strict=True):
            field, cost = fit_shape(shape, options, part, arguments.seed)
            surface, metrics = measure(shape, field, arguments.resolution)
            surface.export(arguments.folder / f"{Path(name).stem}-{method}.ply")
            surfaces.append(surface)
            rows.append({"shape": key, "method": method} | cost | metrics)
            print(json.dumps(rows[-1]), flush=True)
        view = VIEWS.get(key, ((0.0, 0.0, 0.0), 1.0, (0.3, 0.3, 1.0)))
        pictures = np.concatenate([render(surface, view) for surface in surfaces], axis=1)
        picture = Image.fromarray((255 * pictures).round().astype(np.uint8))
        picture.quantize(64).save(arguments.folder / f"fine-{Path(name).stem}.png", optimize=True)
        write_table(arguments.folder / "table.md", rows)


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows as a table in Markdown."""
    names = ("shape", "method", "steps", "seconds", *COLUMNS, "pieces", "euler", "extraction")
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [f"{row[n]:.5g}" if isinstance(row.get(n), float) else str(row.get(n, "")) for n in names]
        lines.append("| " + " | ".join(cells) + " |")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
