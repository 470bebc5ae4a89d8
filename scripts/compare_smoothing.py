"""Which smoothing of a binary volume comes closest to the shape that was voxelised.

    python scripts/compare_smoothing.py --sizes 32 64 --fit-sizes 32 --shapes sphere sample:cog

Each shape is turned into an array that is true at the samples inside it. Surfaces are taken from that array as it is
("none") and smoothed in two ways: directly, by marching cubes over the array, and from a network that was fitted to it.
The tables give their Chamfer distance from the shape's own surface, in samples, and the mean angle between normals.
"""

import time
from dataclasses import dataclass

import igl
import mcubes
import numpy as np
import trimesh
import tyro
from numpy import ndarray

from winner_nerfstudio import fit
from winner_nerfstudio.signals.samples import SHAPES, sponge
from winner_nerfstudio.signals.smoothing import smooth_occupancy

METHODS = ("none", "constrained", "gaussian")
POINTS = 10_000
"""Points on each of two surfaces at which these are compared."""
FINE = 200
"""Samples per axis from which the surface of the sponge is taken."""
HALF = 0.8
"""Half the longest side of a shape's bounding box; an array's samples span [-1, 1]^3."""


@dataclass
class Arguments:
    """What to measure."""

    shapes: tuple[str, ...] = ("sphere", "torus", "sample:cog", "sample:knot", "sample:urchin", "sample:sponge")
    """Sphere, torus, or one of the built-in samples."""
    sizes: tuple[int, ...] = (32, 64, 128)
    """Samples per axis of arrays that surfaces are taken from directly."""
    fit_sizes: tuple[int, ...] = (48,)
    """Samples per axis of arrays that a network is fitted to."""
    steps: int = 300
    """Steps of each fit."""
    hidden_dim: int = 128
    """Width of the network."""


def make_mesh(name: str) -> trimesh.Trimesh:
    """Return the surface of a named shape, its bounding box centred and its longest side 2 `HALF`."""
    if name == "sphere":
        mesh = trimesh.creation.icosphere(subdivisions=6)
    elif name == "torus":
        mesh = trimesh.creation.torus(1.0, 0.35, major_sections=256, minor_sections=128)
        mesh.apply_transform(trimesh.transformations.rotation_matrix(0.5, (1, 2, 3)))
    elif name == "sample:sponge":
        mesh = take_surface(mcubes.smooth_gaussian(sponge(FINE), sigma=1.0), level=0.0)
    else:
        mesh = SHAPES[name.removeprefix("sample:")]()
    mesh.apply_translation(-mesh.bounds.mean(0))
    mesh.apply_scale(2 * HALF / mesh.extents.max())
    return mesh


def voxelise(mesh: trimesh.Trimesh, size: int) -> ndarray:
    """Return which samples of a grid over [-1, 1]^3 lie inside a mesh, bool [size, size, size]."""
    axis = np.linspace(-1, 1, size)
    samples = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    vertices, faces = np.asfortranarray(mesh.vertices), np.asfortranarray(mesh.faces, np.int64)
    return (igl.fast_winding_number(vertices, faces, samples) > 0.5).reshape(size, size, size)


def take_surface(values: ndarray, level: float) -> trimesh.Trimesh:
    """Return the surface of an array by marching cubes, in samples, what is greater than the level being inside."""
    vertices, faces = mcubes.marching_cubes(values.astype(np.float64), level)
    return trimesh.Trimesh(vertices, faces)


def compare(mesh: trimesh.Trimesh, truth: trimesh.Trimesh) -> tuple[float, float]:
    """Return the Chamfer distance between two surfaces and the mean angle of their normals in degrees, both ways."""
    distances, angles = zip(_compare_one_way(mesh, truth), _compare_one_way(truth, mesh), strict=True)
    return float(np.mean(distances)), float(np.mean(angles))


def _compare_one_way(source: trimesh.Trimesh, target: trimesh.Trimesh) -> tuple[float, float]:
    points, index = trimesh.sample.sample_surface(source, POINTS, seed=0)
    squared, nearest, _ = igl.point_mesh_squared_distance(points, target.vertices, target.faces.astype(np.int64))
    cosines = (source.face_normals[index] * target.face_normals[nearest]).sum(-1).clip(-1, 1)
    return float(np.sqrt(squared).mean()), float(np.degrees(np.arccos(cosines)).mean())


def smooth(occupancy: ndarray, method: str) -> ndarray:
    """Return an array whose surface at level 0 is that of the occupancy, smoothed or not."""
    return occupancy - 0.5 if method == "none" else smooth_occupancy(occupancy, method)


def fit_surface(values: ndarray, arguments: Arguments) -> trimesh.Trimesh:
    """Return the surface at level 0 of a network that is fitted to an array, in samples."""
    options = {"hidden_dim": arguments.hidden_dim, "progress": False, "measure": False}
    field = fit(values.astype(np.float32), "volume", steps=arguments.steps, level=0.0, **options)
    return field.mesh(2 * max(values.shape))


def print_table(title: str, sizes: tuple[int, ...], arguments: Arguments, fitted: bool) -> None:
    """Print a row for each shape and size: Chamfer distance in samples and mean normal angle by each method."""
    print(f"\n{title}\n\n| shape | samples | {' | '.join(METHODS)} |\n|{'---|' * (len(METHODS) + 2)}")
    for name in arguments.shapes:
        mesh = make_mesh(name)
        for size in sizes:
            truth = trimesh.Trimesh((mesh.vertices + 1) / 2 * (size - 1), mesh.faces, process=False)
            occupancy, cells = voxelise(mesh, size), []
            for method in METHODS:
                start = time.perf_counter()
                try:
                    values = smooth(occupancy, method)
                except ValueError:
                    cells.append("too large")
                    continue
                seconds = time.perf_counter() - start
                surface = fit_surface(values, arguments) if fitted else take_surface(values, 0.0)
                chamfer, angle = compare(surface, truth)
                cells.append(f"{chamfer:.3f}, {angle:.1f}°" + ("" if fitted else f" ({seconds:.1f} s)"))
            print(f"| {name} | {size}³ | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure and tabulate."""
    arguments = tyro.cli(Arguments, description=__doc__)
    print_table("Marching cubes over the array", arguments.sizes, arguments, fitted=False)
    print_table(f"After a fit of {arguments.steps} steps", arguments.fit_sizes, arguments, fitted=True)


if __name__ == "__main__":
    main()
