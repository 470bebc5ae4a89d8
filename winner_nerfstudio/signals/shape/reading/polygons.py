"""Polygons as mesh files have them, and how they are cut into triangles."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ...errors import SignalError
from ..colors import CornerColors

ROUNDING = 1e-9
"""Part of a polygon's area by which rounding may turn one of its triangles over."""
MOST_CORNERS = 20_000
"""Corners of a concave polygon: the time that ear clipping takes grows with their square."""
LARGEST_FAN = 16
"""Corners up to which a convex polygon becomes a fan; the slivers of a larger one would take search trees much time."""
BLOCK = 1 << 18
"""Corners that are cut at once: it bounds the memory that cutting takes."""


@dataclass(frozen=True, eq=False)
class Polygons:
    """Polygons with vertices in common.

    Attributes:
        vertices: coordinates in the file's units, float64 [v, 3].
        corners: indices of vertices, polygon after polygon, int64 [c].
        sizes: corners of each polygon, int64 [p]; they sum to c.
        notes: what the user should know of the reading, a line each.
        colors: of the corners, [c], if the file has any.
    """

    vertices: Float[ndarray, "v 3"]
    corners: Int[ndarray, " c"]
    sizes: Int[ndarray, " p"]
    notes: tuple[str, ...] = ()
    colors: CornerColors | None = None

    @classmethod
    def from_faces(
        cls,
        vertices: Float[ndarray, "v 3"],
        faces: Int[ndarray, "f n"],
        notes: tuple[str, ...] = (),
        colors: CornerColors | None = None,
    ) -> "Polygons":
        """Make polygons that all have the same number of corners."""
        sizes = np.full(len(faces), faces.shape[1], np.int64)
        return cls(vertices.astype(np.float64), faces.reshape(-1).astype(np.int64), sizes, notes, colors)

    @classmethod
    def join(cls, parts: "Sequence[Polygons]", notes: tuple[str, ...] = ()) -> "Polygons":
        """Put polygons of several parts, each with vertices of its own, one after the other."""
        parts = [cls(np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0, np.int64)), *parts]
        starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
        return cls(
            np.concatenate([part.vertices for part in parts]),
            np.concatenate([part.corners + start for part, start in zip(parts, starts, strict=False)]),
            np.concatenate([part.sizes for part in parts]),
            (*notes, *(note for part in parts for note in part.notes)),
            CornerColors.join([(len(part.corners), part.colors) for part in parts]),
        )


def check_corners(path: Path, polygons: Polygons, owner: str = "the file") -> None:
    """Check that every corner is a vertex of the file, or of a part of it; once joined, others' vertices follow.

    Args:
        path: the file, for messages.
        polygons: of the file, or of a part with vertices of its own.
        owner: what has these vertices.

    Raises:
        SignalError: one is not.
    """
    wrong = np.flatnonzero((polygons.corners < 0) | (polygons.corners >= len(polygons.vertices)))
    if len(wrong):
        face = int(np.searchsorted(np.cumsum(polygons.sizes), wrong[0], side="right"))
        raise SignalError(
            f"{path}: face {face + 1} of {len(polygons.sizes):,} refers to vertex {polygons.corners[wrong[0]] + 1:,},"
            f" but {owner} has {len(polygons.vertices):,}; is the file whole?"
        )


def triangulate(path: Path, polygons: Polygons) -> tuple[Int[ndarray, "t 3"], tuple[str, ...]]:
    """Cut polygons into triangles of the same area, without new or lost vertices.

    A polygon is cut into a fan about its first corner where that covers it, and by ear clipping where it is concave, as
    seen along its normal (Newell's); it need not be quite planar.

    Args:
        path: the file, for messages.
        polygons: of the file.

    Returns:
        Indices of `Polygons.corners`, in the order of the polygons, and what the user should know, a line each.

    Raises:
        SignalError: a concave polygon has more than `MOST_CORNERS` corners.
    """
    sizes, starts = polygons.sizes, np.cumsum(polygons.sizes) - polygons.sizes
    if (sizes == 3).all():
        return np.arange(len(polygons.corners)).reshape(-1, 3), ()
    counts = (sizes - 2).clip(min=0)
    first = np.cumsum(counts) - counts
    triangles = np.empty((int(counts.sum()), 3), np.int64)
    crossing = 0
    for size in np.unique(sizes[sizes > 2]):
        same = np.flatnonzero(sizes == size)
        step = max(1, BLOCK // int(size))
        for some in (same[i : i + step] for i in range(0, len(same), step)):
            corners = starts[some, None] + np.arange(size)
            points = polygons.vertices[polygons.corners[corners]] if size > 3 else None
            cut, failed = (np.arange(3)[None, None], 0) if points is None else _cut_alike(path, points)
            cut = np.broadcast_to(cut, (len(some), size - 2, 3))
            triangles[first[some, None] + np.arange(size - 2)] = np.take_along_axis(corners[:, None], cut, axis=-1)
            crossing += failed
    notes = []
    if (sizes < 3).any():
        notes.append(f"repaired: left out {(sizes < 3).sum():,} faces with fewer than three corners")
    if crossing:
        notes.append(f"warning: {crossing:,} polygons cross themselves; what they cover may be wrong")
    return triangles, tuple(notes)


def _cut_alike(path: Path, points: Float[ndarray, "p n 3"]) -> tuple[Int[ndarray, "p m 3"], int]:
    """Return the triangles of polygons with n corners each, as indices of corners, and how many cross themselves."""
    size = points.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):
        points = points - points[:, :1]
        points = points / np.abs(points).max(axis=(1, 2), keepdims=True).clip(1e-300)
        crosses = np.cross(points[:, 1:-1], points[:, 2:])
        normals = crosses.sum(1)
        area, covered = np.linalg.norm(normals, axis=-1), np.linalg.norm(crosses, axis=-1).sum(-1)
        along = np.einsum("pmx,px->pm", crosses, normals / area.clip(1e-300)[:, None])
        concave = (along < -ROUNDING * covered[:, None]).any(-1)
        crossing = (area < ROUNDING * covered) & (covered > ROUNDING)
    steps = np.arange(1, size - 1)
    fan = np.stack([np.zeros_like(steps), steps, steps + 1], -1)
    cut = np.tile(fan, (len(points), 1, 1))
    if size > LARGEST_FAN:
        cut[_are_convex(points, normals, covered) & ~concave & ~crossing] = _cut_evenly(size)
    if concave.any() and size > MOST_CORNERS:
        raise SignalError(
            f"{path}: has a concave polygon of {size:,} corners; at most {MOST_CORNERS:,} can be cut into triangles"
        )
    for index in np.flatnonzero(concave & ~crossing):
        ears = _clip_ears(path, points[index], normals[index] / area[index])
        if ears is None:
            crossing[index] = True
        else:
            cut[index] = ears
    return cut, int(crossing.sum())


def _are_convex(
    points: Float[ndarray, "p n 3"], normals: Float[ndarray, "p 3"], covered: Float[ndarray, " p"]
) -> Bool[ndarray, " p"]:
    """Return whether polygons turn the same way at all corners."""
    edges = np.roll(points, -1, axis=1) - points
    turns = np.einsum("pnx,px->pn", np.cross(np.roll(edges, 1, axis=1), edges), normals)
    convex: Bool[ndarray, " p"] = (turns >= -ROUNDING * covered[:, None] ** 2).all(-1)
    return convex


def _cut_evenly(size: int) -> Int[ndarray, "m 3"]:
    """Return the triangles of a convex polygon: every other corner is cut off, and so on with what is left."""
    corners, triangles = np.arange(size), []
    while len(corners) > 2:
        first = np.arange(0, len(corners) - 1, 2)
        triangles.append(np.stack([corners[first], corners[first + 1], corners[(first + 2) % len(corners)]], -1))
        corners = corners[::2]
    return np.concatenate(triangles)


def _clip_ears(path: Path, points: Float[ndarray, "n 3"], normal: Float[ndarray, "3"]) -> Int[ndarray, "m 3"] | None:
    """Return the n - 2 triangles of a polygon, wound as it is, or None if it crosses itself."""
    try:
        from mapbox_earcut import triangulate_float64
    except ImportError:
        raise SignalError(
            f"{path}: has concave polygons, which mapbox_earcut cuts: pip install mapbox_earcut, or give triangles"
        ) from None
    axis = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    axis /= np.linalg.norm(axis)
    flat = points @ np.stack([axis, np.cross(normal, axis)], -1)
    ears = triangulate_float64(np.ascontiguousarray(flat), np.array([len(flat)], np.uint32)).reshape(-1, 3)
    # In triangles of a simple polygon corners follow each other as they do in the polygon.
    ears = _restore_skipped(np.sort(ears, axis=-1).tolist(), len(flat))
    if len(ears) != len(flat) - 2:
        return None
    first, second, third = flat[ears].transpose(1, 0, 2)
    doubled = np.cross(second - first, third - first)
    outline = np.cross(flat, np.roll(flat, -1, axis=0)).sum()
    return ears if abs(np.abs(doubled).sum() - outline) <= 1e-6 * outline else None


def _restore_skipped(triangles: list[list[int]], size: int) -> Int[ndarray, "m 3"]:
    """Put corners back that ear clipping skips because they lie on a straight line between others.

    Without them the neighbours' triangles would leave slits.
    """
    edges = {(triangle[k], triangle[(k + 1) % 3]) for triangle in triangles for k in range(3)}
    result, waiting = [], triangles
    while waiting:
        triangle = waiting.pop()
        for k in range(3):
            start, end, apex = triangle[k], triangle[(k + 1) % 3], triangle[(k + 2) % 3]
            if (end - start) % size > 1 and (end, start) not in edges:
                chain = [(start + step) % size for step in range((end - start) % size + 1)]
                edges |= {edge for corner in chain[1:-1] for edge in ((corner, apex), (apex, corner))}
                waiting += [[a, b, apex] for a, b in pairwise(chain)]
                break
        else:
            result.append(triangle)
    return np.array(result, np.int64).reshape(-1, 3)
