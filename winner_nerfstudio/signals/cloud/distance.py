"""Distances and winding numbers of oriented points."""

import igl
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial import cKDTree

from .sampling import select_points

NEIGHBOURS = 8
"""Which neighbour's distance tells how densely points lie about a point."""
WINDING_POINTS = 30_000
"""Of a larger cloud, a random selection of so many gives winding numbers: it bounds the time of a query."""


def distance_to_nearest(
    tree: cKDTree, normals: Float[ndarray, "n 3"], gap: float, points: Float[ndarray, "m 3"]
) -> tuple[Float[ndarray, " m"], Bool[ndarray, " m"], Float[ndarray, " m"]]:
    """Estimate distances to a surface from the nearest of its oriented points.

    The nearest point's offset across its own normal is left out of the distance, as far as gaps between points
    explain it.

    Args:
        tree: of the oriented points.
        normals: their unit normals.
        gap: the usual distance between neighbours.
        points: where to estimate.

    Returns:
        The distance to the nearest oriented point, whether `points` lie in front of it, and the distance to the
        surface, [m] each.
    """
    reach, index = tree.query(points)
    height = ((points - tree.data[index]) * normals[index]).sum(-1)
    aside = np.minimum(reach**2 - height**2, gap**2).clip(min=0)
    return reach, height > 0, np.sqrt((reach**2 - aside).clip(min=0))


def estimate_areas(points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
    """Estimate the area that each point of a surface stands for, from the distance of its neighbour `NEIGHBOURS`, [n].

    Unbiased where points lie at random: the disc up to neighbour k has, in the mean, k points' area.
    """
    k = min(NEIGHBOURS, len(points) - 1)
    areas: Float[ndarray, " n"] = np.pi * cKDTree(points).query(points, k=[k + 1])[0][:, 0] ** 2 / k
    return areas


def estimate_signed_volume(points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]) -> float:
    """Estimate the volume that oriented points enclose (divergence theorem); negative if normals point inwards."""
    points, normals = select_points(points, normals, WINDING_POINTS)
    return float((estimate_areas(points)[:, None] * normals * (points - points.mean(0))).sum() / 3)


def winding_number_of(
    points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], queries: Float[ndarray, "m 3"]
) -> Float[ndarray, " m"]:
    """Return the winding number of oriented points at `queries` (Barill et al. 2018, libigl), [m]."""
    points, normals = select_points(points, normals, WINDING_POINTS)
    number: Float[ndarray, " m"] = igl.fast_winding_number(
        points, normals, estimate_areas(points), np.ascontiguousarray(queries)
    )
    return number
