"""How well a fitted signed distance matches its shape."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial import cKDTree
from torch import Tensor

from ..signals.cloud import PointCloud
from ..signals.shape import Shape
from .grid import intersection_over_union

VOLUME_POINTS = 500_000
QUICK_POINTS = 1 << 15
"""Points at which insides are compared in passing."""
DISTANCE_POINTS = 50_000
"""Points in the cube, and as many near the surface, at which distances are compared."""
SURFACE_POINTS = 100_000
NEAR = 0.05
"""Unit-cube distance that parts "near" from "far" in the reported errors of the distance itself."""
F_SCORE_THRESHOLDS = (0.005, 0.01)
"""Distances, as parts of the bounding box's diagonal, within which a surface point counts as found."""
SHARP = np.radians(30)
"""Angle between the normals of two faces at and above which the edge between them is sharp."""
NEAR_EDGE = 0.01
"""How near a sharp edge normals are compared, as a part of the bounding box's diagonal."""
_SEED = 20_250_909


class Quick(NamedTuple):
    """What the metrics in passing are taken from.

    Attributes:
        points: in the shape's bounding box, or where there is no sign in a wider one about the shell, [n, 3].
        inside: whether they lie inside, [n].
        level: the distance below which the fit is inside.
    """

    points: Float[Tensor, "n 3"]
    inside: Bool[ndarray, " n"]
    level: float


def quick_points(shape: Shape | PointCloud) -> Quick:
    """`QUICK_POINTS` of them, the same every time."""
    # As far beyond a shell as it is thick, or the box of a flat one would hold nothing but the shell.
    lower, upper = shape.bounds + 3 * shape.level * np.array([[-1], [1]])
    points = np.random.default_rng(_SEED).uniform(lower, upper, (QUICK_POINTS, 3)).astype(np.float32)
    return Quick(torch.from_numpy(points), shape.inside(points), shape.level)


def quick_metrics(function: Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 1"]], quick: Quick) -> dict[str, float]:
    """``iou`` of the insides over a few points; within half a percent of the true one, at 0.9 and above."""
    inside = function(quick.points)[:, 0].cpu().numpy() < quick.level
    return {"iou": intersection_over_union(inside, quick.inside)}


def volume_metrics(function: Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 1"]], shape: Shape) -> dict[str, float]:
    """Metrics of the field itself: insides over `VOLUME_POINTS` uniform points of [-1, 1]^3, distances over fewer.

    Args:
        function: the fitted signed distance, unit cube, at points [n, 3].
        shape: what was to be fitted.

    Returns:
        ``iou``: intersection over union of the insides, or of the shells where there is no sign;
        ``sdf_error_near`` and ``sdf_error_far``: mean absolute error, in parts of the diagonal, where the true distance
        is below or above `NEAR`.
    """
    rng = np.random.default_rng(_SEED)
    volume = rng.uniform(-1, 1, (VOLUME_POINTS, 3))
    a, b = _values(function, volume) < shape.level, shape.inside(volume)
    surface, _ = shape.sample_surface(rng, DISTANCE_POINTS)
    points = np.concatenate([volume[:DISTANCE_POINTS], surface + rng.normal(0, NEAR / 2, surface.shape)]).clip(-1, 1)
    truth, fitted = shape.signed_distance(points), _values(function, points)
    error, near = np.abs(fitted - truth) / shape.diagonal, np.abs(truth) < NEAR
    return {
        "iou": intersection_over_union(a, b),
        "sdf_error_near": float(error[near].mean()),
        "sdf_error_far": float(error[~near].mean()) if (~near).any() else 0.0,
    }


def surface_metrics(fitted: trimesh.Trimesh, shape: Shape | PointCloud) -> dict[str, float]:
    """Metrics of an extracted surface against the true one, from `SURFACE_POINTS` points on each, point to surface.

    Of a point cloud, which has no surface, to the nearest point.

    Args:
        fitted: a mesh in the unit cube, at the shape's level.
        shape: what was to be fitted; if it has no sign, the surface is that of a shell about it.

    Returns:
        ``distance_to_target`` and ``distance_to_fit``: mean distance from the fitted surface to the true one and back;
        ``chamfer_l1``: their mean; ``chamfer_l2``: the mean of the two mean squared distances, its square root taken,
        so that it is a length as well; all four in parts of the diagonal. ``normal_consistency``: mean |cosine| between
        a point's normal and that of the nearest point opposite, both ways. ``f_score_0.5%``, ``f_score_1%``: harmonic
        mean of the two parts of points within that distance. ``edge_normal_degrees``, if the shape has sharp edges:
        mean angle between the normals of its points within `NEAR_EDGE` of one and those of the nearest fitted ones.
    """
    rng = np.random.default_rng(_SEED)
    other = Shape("fit", fitted, shape.normalization, holes=0)
    directions = [_one_way(rng, other, shape), _one_way(rng, shape, other)]
    (forth, _), (back, _) = directions
    forth, back = forth / shape.diagonal, back / shape.diagonal
    metrics = {
        "distance_to_target": float(forth.mean()),
        "distance_to_fit": float(back.mean()),
        "chamfer_l1": float((forth.mean() + back.mean()) / 2),
        "chamfer_l2": float(np.sqrt(((forth**2).mean() + (back**2).mean()) / 2)),
        "normal_consistency": float(np.mean([cosine.mean() for _, cosine in directions])),
    }
    for threshold in F_SCORE_THRESHOLDS:
        precision, recall = float((forth < threshold).mean()), float((back < threshold).mean())
        metrics[f"f_score_{threshold:.1%}".replace(".0%", "%")] = (
            2 * precision * recall / max(precision + recall, 1e-12)
        )
    if isinstance(shape, Shape) and shape.signed:
        metrics |= _edge_metrics(rng, other, shape)
    return metrics


def _values(function: Callable[[Tensor], Tensor], points: ndarray) -> ndarray:
    """Return a field's values at points, as numpy arrays."""
    return function(torch.from_numpy(points.astype(np.float32)))[:, 0].cpu().numpy()


def _one_way(
    rng: np.random.Generator, source: Shape | PointCloud, target: Shape | PointCloud
) -> tuple[ndarray, ndarray]:
    """Distances and |cosines| of normals from points on `source` to the nearest points on `target`.

    Of a shape without sign the surface is that of its shell, half of it to either side.
    """
    points, normals = source.sample_surface(rng, SURFACE_POINTS)
    if source.level:
        points = points + source.level * rng.choice([-1, 1], len(points))[:, None] * normals
    squared, index, _ = target.closest(points)
    return np.abs(np.sqrt(squared) - target.level), np.abs((normals * target.normals[index]).sum(-1))


def _edge_metrics(rng: np.random.Generator, fitted: Shape, shape: Shape) -> dict[str, float]:
    """How far normals are off close to the shape's sharp edges, if it has any."""
    mesh = shape.mesh
    ends = mesh.vertices[mesh.face_adjacency_edges[mesh.face_adjacency_angles >= SHARP]]
    if len(ends) == 0:
        return {}
    # Along each edge so many places that the nearest is as good as the edge.
    reach = NEAR_EDGE * shape.diagonal
    counts = np.ceil(np.linalg.norm(ends[:, 1] - ends[:, 0], axis=-1) / (reach / 8)).astype(int).clip(min=1)
    part = (np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + 0.5) / np.repeat(counts, counts)
    first, last = np.repeat(ends, counts, axis=0).transpose(1, 0, 2)
    points, normals = shape.sample_surface(rng, SURFACE_POINTS)
    near = np.isfinite(cKDTree(first + part[:, None] * (last - first)).query(points, distance_upper_bound=reach)[0])
    if not near.any():
        return {}
    _, index, _ = fitted.closest(points[near])
    cosine = (normals[near] * fitted.normals[index]).sum(-1).clip(-1, 1)
    return {"edge_normal_degrees": float(np.degrees(np.arccos(cosine)).mean())}
