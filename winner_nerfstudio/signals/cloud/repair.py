"""Repairs of points on their way to a target: drop what is broken or doubled."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..errors import SignalError

FEWEST_POINTS = 10


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
