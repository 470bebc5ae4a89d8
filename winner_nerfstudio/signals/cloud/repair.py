"""Repairs of points on their way to a target: drop what is broken or doubled."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..errors import SignalError
from ..sdf import check_extent, warn_of_rounding

FEWEST_POINTS = 10
CELLS = 1 << 30
"""Parts of the longest side that points must differ by."""


def clean_points(
    name: str, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"] | None
) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"] | None, Int[ndarray, " m"], list[str]]:
    """Return points that differ, their unit normals or None, their indices, and notes for the user to read.

    Raises:
        SignalError: coordinates are not finite, too few points are left, or the normals are none.
    """
    points = np.asarray(points, np.float64)
    broken = int((~np.isfinite(points)).any(-1).sum())
    if broken:
        infinite = [f"{value:g}" for value in (np.inf, -np.inf) if (points == value).any()]
        values = " ".join(infinite) or "nan"  # whatever the value is, points of NaN are dropped, too
        raise SignalError(
            f"{name}: {broken} of {len(points)} points are NaN or infinite; every coordinate must be finite"
            f" (--nodata {values} drops points without coordinates)"
        )
    repairs, kept = list[str](), np.arange(len(points))
    if normals is not None:
        points, normals, kept, repairs = _clean_normals(name, points, np.asarray(normals, np.float64))
    first = _select_distinct(points) if len(points) else np.arange(0)
    if len(first) < len(points):
        repairs.append(f"repaired: dropped {len(points) - len(first):,} doubled points")
        points, kept, normals = points[first], kept[first], None if normals is None else normals[first]
    if len(points) < FEWEST_POINTS:
        raise SignalError(f"{name}: {len(points)} points that differ; at least {FEWEST_POINTS} are needed")
    check_extent(name, points)
    return points, normals, kept, repairs + warn_of_rounding(points)


def _select_distinct(points: Float[ndarray, "n 3"]) -> Int[ndarray, " m"]:
    """Return the indices, ascending, of the first point in each cell of a grid with `CELLS` along the longest side.

    Points that are closer have no distance in single precision, and trees of space would be deep without end.
    """
    lower = points.min(0) / 2
    extent = (points.max(0) / 2 - lower).max() or 1.0
    cells = np.rint((points / 2 - lower) / extent * CELLS)
    first: Int[ndarray, " m"] = np.unique(cells, axis=0, return_index=True)[1]
    return np.sort(first)


def _clean_normals(
    name: str, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]
) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"] | None, Int[ndarray, " m"], list[str]]:
    """Make normals unit, and drop points without a usable one; if none is usable, keep all points without normals.

    Returns:
        Points, normals or None, the points' indices, and what was dropped.
    """
    if normals.shape != points.shape:
        raise SignalError(f"{name}: {len(normals)} normals of {len(points)} points; one each is needed")
    # Lengths are measured against the middle one, for a single wild normal would make all others zero.
    largest = np.abs(normals).max(-1, initial=0)
    usable = np.isfinite(largest) & (largest > 0)
    good = usable & (largest > 1e-6 * np.median(largest[usable])) if usable.any() else usable
    if not good.any():
        return points, None, np.arange(len(points)), ["repaired: all normals are zero or not finite; left them out"]
    if (normals[good] >= 0).all():
        raise SignalError(
            f"{name}: nx ny nz are nowhere negative, so they are no normals of a body; are they colours? then put the"
            " line x y z r g b first, or leave them out of an array"
        )
    dropped = f"repaired: dropped {(~good).sum():,} points whose normals are zero or not finite"
    unit = normals[good] / largest[good, None]
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    return points[good], unit, np.flatnonzero(good), [dropped] * (not good.all())
