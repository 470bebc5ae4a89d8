"""Repairs of points on their way to a target: drop what is broken or doubled, estimate and orient normals."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..errors import SignalError
from .distance import estimate_signed_volume, winding_number_of
from .reading import import_open3d

FEWEST_POINTS = 10
PLANE_NEIGHBOURS = 30
"""Neighbours that a missing normal is estimated from: open3d's own default."""
GRAPH_NEIGHBOURS = 15
"""Neighbours that estimated normals are made to agree with."""


def clean_points(
    name: str, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"] | None
) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"] | None, list[str]]:
    """Return distinct points, their unit normals or None, and what was dropped, for the user to read.

    Raises:
        SignalError: coordinates are not finite, too few points are left, or the normals are none.
    """
    points = np.asarray(points, np.float64)
    broken = int((~np.isfinite(points)).any(-1).sum())
    if broken:
        raise SignalError(
            f"{name}: {broken} of {len(points)} points are NaN or infinite; every coordinate must be finite"
            " (--nodata nan drops points without coordinates)"
        )
    repairs: list[str] = []
    if normals is not None:
        points, normals, repairs = _clean_normals(name, points, np.asarray(normals, np.float64))
    _, first = np.unique(points, axis=0, return_index=True)
    if len(first) < len(points):
        repairs.append(f"repaired: dropped {len(points) - len(first):,} doubled points")
        first.sort()
        points, normals = points[first], None if normals is None else normals[first]
    if len(points) < FEWEST_POINTS:
        raise SignalError(f"{name}: {len(points)} points that differ; at least {FEWEST_POINTS} are needed")
    return points, normals, repairs


def _clean_normals(
    name: str, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]
) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"] | None, list[str]]:
    """Make normals unit, and drop points without a usable one; if none is usable, keep all points without normals."""
    if normals.shape != points.shape:
        raise SignalError(f"{name}: {len(normals)} normals of {len(points)} points; one each is needed")
    largest = np.abs(np.where(np.isfinite(normals), normals, 0)).max(initial=0)
    normals = normals / (largest or 1)
    lengths = np.linalg.norm(normals, axis=-1)
    good = np.isfinite(lengths) & (lengths > 1e-6)
    if not good.any():
        return points, None, ["repaired: all normals are zero or not finite; left them out"]
    if (normals[good] >= 0).all():
        raise SignalError(
            f"{name}: nx ny nz are nowhere negative, so they are no normals of a body; are they colours? leave them out"
        )
    dropped = f"repaired: dropped {(~good).sum():,} points whose normals are zero or not finite"
    return points[good], normals[good] / lengths[good, None], [dropped] * (not good.all())


def estimate_normals(name: str, points: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "n 3"], list[str]]:
    """Estimate normals from planes through neighbours, orient them alike (Hoppe et al. 1992), and each body outwards.

    Returns:
        The unit normals [n, 3], and which were turned, for the user to read.

    Raises:
        SignalError: open3d is missing or cannot orient the points.
    """
    normals = _estimate_with_open3d(name, points)
    bodies = _find_bodies(points)
    # Each outwards by itself; then a cavity is what lies in an odd number of the others.
    for body in bodies:
        if estimate_signed_volume(points[body], normals[body]) < 0:
            normals[body] *= -1
    cavities = 0
    outwards = normals.copy()
    for body in bodies:
        others = np.setdiff1d(np.concatenate(bodies), body)
        if len(others) and winding_number_of(points[others], outwards[others], points[body][:64]).mean().round() % 2:
            normals[body] *= -1
            cavities += 1
    if len(bodies) == 1:
        return normals, []
    within = f" and those of {cavities} within another inwards" * bool(cavities)
    return normals, [f"the points are {len(bodies)} bodies; normals were turned outwards{within}"]


def _estimate_with_open3d(name: str, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
    """Return unit normals that agree with those of their neighbours, and may all point inwards."""
    open3d = import_open3d(f"{name}: without normals, which are estimated by open3d")
    # open3d's triangulation fails on points of a lattice or of one sphere; moved a little they are neither.
    jitter = np.random.default_rng(0).uniform(-1e-6, 1e-6, points.shape)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points + jitter))
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(min(PLANE_NEIGHBOURS, len(points))))
        try:
            cloud.orient_normals_consistent_tangent_plane(min(GRAPH_NEIGHBOURS, len(points) - 1))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise SignalError(f"{name}: open3d cannot orient the points ({reason}); give normals") from error
    return np.array(cloud.normals)


def _find_bodies(points: Float[ndarray, "n 3"]) -> list[Int[ndarray, " m"]]:
    """Return the indices of the points of each body: groups of neighbours with at least a hundredth of all points."""
    neighbours = cKDTree(points).query(points, k=min(GRAPH_NEIGHBOURS, len(points)))[1]
    pairs = (np.repeat(np.arange(len(points)), neighbours.shape[1]), neighbours.reshape(-1))
    group = connected_components(coo_matrix((np.ones(neighbours.size, bool), pairs), (len(points),) * 2), False)[1]
    large = np.flatnonzero(np.bincount(group) >= max(len(points) / 100, FEWEST_POINTS))
    return [np.flatnonzero(group == label) for label in large]
