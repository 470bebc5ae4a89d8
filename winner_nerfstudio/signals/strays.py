"""Points and vertices far away from all others: those that hold no data, and those that set the box of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from .errors import SignalError
from .nodata import FEW, LEAST_SPAN, find_far, find_usual, is_near, sort_some
from .options import NoData, nodata_flag, nodata_values

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

LEAST_USUAL = 999
"""Magnitude from which a usual value for missing samples is one among coordinates, too."""
MOST_MARKERS = 3
"""The most positions at which points may lie that hold no data."""


def drop_missing_points(points: Float[ndarray, "n 3"], nodata: NoData) -> tuple[Bool[ndarray, " n"], tuple[str, ...]]:
    """Return which points hold data, and a note on those that don't.

    A point holds none if one of its coordinates is a value of `nodata`, or NaN where such values are given; if that
    value is 0, all three must be.
    """
    missing, notes = np.zeros(len(points), bool), []
    for value in nodata_values(nodata):
        found = points == value
        there = (found.all(-1) if value == 0 else found.any(-1)) | np.isnan(points).any(-1)
        what = f"points at {value:.9g}, as --nodata says"
        if there.any():
            notes.append(f"repaired: dropped {there.sum():,} of {len(points):,} {what}")
        else:
            notes.append(f"warning: there are no {what}")
        missing |= there
    return ~missing, tuple(notes)


def check_points(name: str, points: Float[ndarray, "n 3"], nodata: NoData) -> tuple[str, ...]:
    """Check what sets the bounding box of points.

    Args:
        name: what messages call them.
        points: in the file's units, finite.
        nodata: the option.

    Returns:
        A warning if few points set the box.

    Raises:
        SignalError: some points lie far away at a position that seems to mean no data.
    """
    far, is_usual = _find_far_points(points)
    if nodata != "keep" and far.any():
        positions, counts = np.unique(points[far], axis=0, return_counts=True)
        position = positions[counts.argmax()]
        if is_usual or (len(positions) <= MOST_MARKERS and counts.max() > 1):
            value = position[np.abs(position - np.median(points[~far], axis=0)).argmax()]
            raise SignalError(
                f"{name}: {far.sum():,} of {len(points):,} points lie far from all others, such as {_write(position)},"
                f" and seem to mean no data; drop them with {nodata_flag(nodata, value)}, or keep them with --nodata"
                " keep"
            )
    return _warn_of(points, far if far.any() else _find_few_points(points), "points")


def check_vertices(name: str, vertices: Float[ndarray, "n 3"]) -> tuple[str, ...]:
    """Check what sets the bounding box of a mesh; see `check_points`.

    Many vertices far away from the others are a part of the shape.

    Raises:
        SignalError: some vertices lie far away at coordinates that programs write for missing values.
    """
    far, is_usual = _find_far_points(vertices)
    if is_usual:
        raise SignalError(
            f"{name}: {far.sum():,} of {len(vertices):,} vertices lie far from all others, such as"
            f" {_write(vertices[far][0])}, and seem to mean no data; remove them with their faces"
        )
    far = far if far.any() else _find_few_points(vertices)
    return _warn_of(vertices, far, "vertices") if far.sum() <= max(3, 6 * FEW * len(vertices)) else ()


def _find_far_points(points: Float[ndarray, "n 3"]) -> tuple[Bool[ndarray, " n"], bool]:
    """Return which points lie far from most along an axis, and whether it is where programs put missing values."""
    far, is_usual = np.zeros(len(points), bool), False
    for column in points.T:
        with np.errstate(over="ignore", invalid="ignore"):
            ordered = sort_some(column)
            usual = find_usual(ordered)
            values = find_far(ordered) if usual is None else np.array([usual])
        if len(values):
            rest = ordered[~np.isin(ordered, values)]
            if usual is not None and (abs(usual) < LEAST_USUAL or is_near(usual, rest)):
                continue
            is_usual |= usual is not None
            far |= (column < rest[0]) | (column > rest[-1])
    return far, is_usual


def _find_few_points(points: Float[ndarray, "n 3"]) -> Bool[ndarray, " n"]:
    """Return the points that alone set the longest side of the box, if they are few, else none."""
    low, high = np.quantile(points, [FEW, 1 - FEW], axis=0)
    if len(points) < 1 / FEW or (high - low).max() >= LEAST_SPAN * np.ptp(points, axis=0).max():
        return np.zeros(len(points), bool)
    beyond: Bool[ndarray, " n"] = ((points < low) | (points > high)).any(-1)
    return beyond


def _warn_of(points: Float[ndarray, "n 3"], far: Bool[ndarray, " n"], what: str) -> tuple[str, ...]:
    if not far.any() or far.all():
        return ()
    part = np.ptp(points[~far], axis=0).max() / np.ptp(points, axis=0).max()
    return (
        f"warning: {far.sum():,} of {len(points):,} {what}, such as {_write(points[far][0])}, lie far from all others,"
        f" which span only {part:.2g} of the longest side; are they strays?",
    )


def _write(position: Float[ndarray, " 3"]) -> str:
    return f"({', '.join(f'{coordinate:.6g}' for coordinate in position)})"
