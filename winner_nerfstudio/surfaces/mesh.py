"""Extract the surface of a fitted field of signed distances, or of a fitted volume, as a mesh."""

from __future__ import annotations

import math
from collections.abc import Callable

import trimesh

from ..fields.field import Field
from ..registry import kind_named
from .extraction import Solid, extract_surface, pull_onto_level

_EXTRACTING = 0.7
"""Part of the time, about, that extraction takes; the rest is for moving vertices onto the level."""


def extract_mesh(
    field: Field,
    resolution: int = 256,
    level: float | None = None,
    select: Callable[[trimesh.Trimesh], trimesh.Trimesh] = lambda mesh: mesh,
    progress: Callable[[float], None] = lambda part: None,
    densest: float = math.inf,
) -> tuple[trimesh.Trimesh, Solid]:
    """Return a fitted surface as a mesh whose vertices lie on the level and have the field's normals.

    Args:
        field: of a kind that has a surface, see `Kind.solid`.
        resolution: samples per axis of the cube around the surface; what is thinner than a cell may be lost.
        level: of signed distances, in the world's units; of a volume, in its own values; that of the run if left out.
        select: drops parts of the mesh before its vertices are moved onto the level, which takes time.
        progress: called with the part that is done, 0 to 1.
        densest: part of the cells of a coarse grid that the surface may cross, see `extract_surface`.

    Returns:
        The mesh in the cube [-1, 1]^3 of a solid, and that solid; its `normalization` leads back to the world.

    Raises:
        EmptySurfaceError: the field has no surface at this level.
        DenseSurfaceError: the surface crosses more cells than `densest` allows.
        ValueError: a resolution below 3, a level that is not finite, or a field of a kind without a surface.
    """
    if level is not None and not math.isfinite(level):
        raise ValueError(f"level={level} must be finite")
    solid, unit_level = kind_named(field.kind).solid(field, resolution, level)
    mesh = extract_surface(
        solid.evaluate, resolution, unit_level, lambda part: progress(_EXTRACTING * part), densest, solid.to_own
    )

    def report(part: float) -> None:
        progress(_EXTRACTING + (1 - _EXTRACTING) * part)

    return pull_onto_level(select(mesh), solid, unit_level, 2 / (resolution - 1), report), solid
