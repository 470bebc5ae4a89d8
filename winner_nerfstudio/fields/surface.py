"""The zero surface of a fitted field as a mesh: marching cubes over a grid evaluated slab by slab."""

from collections.abc import Callable

import mcubes
import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

CLEARANCE = 1e-3
"""Least distance of a vertex from a grid sample, in cells: what keeps vertices apart, also in single precision."""


class EmptySurfaceError(ValueError):
    """The field has no whole surface at the level; the message names the range that it does have."""


def extract_surface(
    function: Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 1"]],
    resolution: int = 256,
    level: float = 0.0,
    progress: Callable[[float], None] = lambda part: None,
) -> trimesh.Trimesh:
    """The surface ``function = level`` in [-1, 1]^3 as a mesh with outward faces, negative values being inside.

    The outermost samples count as outside: a surface that leaves the cube is closed at its walls. Peak memory is
    four bytes per grid sample and one slab of coordinates, besides what marching cubes takes (PyMCubes, float32).

    Args:
        function: signed distances, unit cube, at points [n, 3].
        resolution: samples per axis, at least 3.
        level: the value to extract, unit-cube lengths.
        progress: called with the part done, 0 to 1.

    Raises:
        EmptySurfaceError: no sample lies on the other side of the level, one above 0 is met at the cube's walls, or
            the values are not finite.
        ValueError: a resolution below 3.
    """
    if resolution < 3:
        raise ValueError(f"resolution={resolution} must be at least 3 samples per axis")
    axis = np.linspace(-1, 1, resolution, dtype=np.float32)
    values = np.empty((resolution,) * 3, np.float32)
    y, z = np.meshgrid(axis, axis, indexing="ij")
    for index, x in enumerate(axis):
        slab = np.stack([np.full_like(y, x), y, z], axis=-1).reshape(-1, 3)
        values[index] = function(torch.from_numpy(slab)).reshape(resolution, resolution).cpu().numpy()
        progress((index + 1) / resolution)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise EmptySurfaceError("the field has values that are not finite: the fit has diverged")
    if not low < level < high:
        raise EmptySurfaceError(
            f"there is no surface at level {level:.4g}: the field lies between {low:.4g} and {high:.4g} (unit cube)"
        )
    wall = min(float(np.moveaxis(values, axis, 0)[side].min()) for axis in range(3) for side in (0, -1))
    if level > 0 and wall <= level:
        raise EmptySurfaceError(
            f"the surface at level {level:.4g} leaves the cube [-1, 1]^3 that the field is known in; at most {wall:.4g}"
            " stays inside (unit cube)"
        )
    values -= level
    spacing = 2 / (resolution - 1)
    _close_at_walls(values, spacing)
    if not values.min() < 0:
        raise EmptySurfaceError(f"there is no surface at level {level:.4g} away from the cube's walls")
    _clear_of_samples(values, spacing)
    vertices, faces = mcubes.marching_cubes(values, 0.0)
    # PyMCubes winds its faces towards lower values, which are the inside here.
    return trimesh.Trimesh(vertices * spacing - 1, faces[:, ::-1], process=False)


def _close_at_walls(values: ndarray, spacing: float) -> None:
    for axis in range(3):
        for side in (0, -1):
            wall = np.moveaxis(values, axis, 0)[side]
            np.maximum(wall, spacing, out=wall)


def _clear_of_samples(values: ndarray, spacing: float) -> None:
    """Move the surface off the grid's samples, where its vertices would fall together, by `CLEARANCE` of a cell."""
    least = np.float32(CLEARANCE * spacing)
    np.copyto(values, np.where(values < 0, -least, least), where=np.abs(values) < least)
