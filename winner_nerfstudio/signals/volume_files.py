"""Volumes in the files of other programs, turned so that their array axes are x, y and z of the file's world."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..files import suffix_of
from .blocks import Blocks, Box, turn_blocks
from .errors import SignalError
from .volume_found import Found
from .volume_readers import READERS, WITH_NAMES

Check = Callable[[tuple[int, ...]], None]
"""A function that is called with an array's shape before its values are read; it may raise an error."""
STRAIGHT = 1e-4
"""The greatest sine of the angle between an axis and one of the world that needs no mention."""
SQUARE = 1e-3
"""The greatest cosine of the angle between two axes that count as being at right angles."""


@dataclass(frozen=True)
class VolumeFile:
    """A volume as its file has it.

    Attributes:
        values: [x, y, z], of any real type.
        spacing: distances between neighbouring samples along the axes, in the file's unit; None if it states none.
        origin: the position of the first sample.
        notes: what the user should know of the reading.
        nodata: the values that stand for samples without data, as far as the file declares any.
        valid: the least and the greatest value that is data, as far as the file declares them.
    """

    values: ndarray
    spacing: tuple[float, float, float] | None
    origin: tuple[float, float, float]
    notes: tuple[str, ...]
    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] = (-inf, inf)

    def mask_invalid(self, values: ndarray) -> tuple[ndarray, tuple[str, ...]]:
        """Return values of which those outside the valid range are masked, and a note on that."""
        low, high = self.valid
        if (low, high) == (-inf, inf):
            return values, ()
        note = f"valid values: {low:g} to {high:g}, as the file says; others are no data"
        return np.ma.masked_where((values < low) | (values > high), values, copy=False), (note,)


def read_volume(path: Path, check: Check, dataset: str | None = None) -> VolumeFile:
    """Read a volume from a file, or from a folder .zarr, in one of the formats of `READERS`.

    Args:
        path: the file.
        check: called with the shape [x, y, z] before the values are read; it may raise an error.
        dataset: the name of the array, in formats that have names for arrays; if left out, the only one.

    Raises:
        SignalError: the file cannot be read, does not hold exactly one volume, or a library is missing.
    """
    suffix = suffix_of(path)
    if dataset is not None and suffix not in WITH_NAMES:
        raise SignalError(f"{path}: a {suffix} file has no names for arrays; leave out dataset={dataset!r}")
    try:
        with READERS[suffix](path, dataset) as found:
            kept = _find_axes(found)
            shape = tuple(found.shape[axis] for axis in kept)
            if len(shape) != 3:
                check(shape)
                raise SignalError(f"{path}: an array of shape {shape} is read from .npy or .npz alone; save it as such")
            order, flips, notes = _orient(path, found, [found.axes[axis] for axis in kept] if found.axes else [])
            check(tuple(shape[axis] for axis in order))
            values = _scale(found, found.read()).reshape(shape)
    except (SignalError, MemoryError):
        raise
    except Exception as error:  # readers fail in their own many ways
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SignalError(f"{path}: cannot be read as {suffix} ({ascii(reason)[1:-1]}); is the file whole?") from error
    return _turn(values, found, order, flips, notes)


def open_volume(path: Path, dataset: str | None = None) -> tuple[Blocks, VolumeFile]:
    """Return the blocks of a volume in a folder .zarr, and what it says of the world, with no more than one value.

    Raises:
        SignalError: it is of a format that is not read by blocks, does not hold exactly one volume, or is broken.
    """
    suffix = suffix_of(path)
    if suffix != ".zarr":
        raise SignalError(f"{path}: is read as a whole; convert it to .npy or .zarr, which are read by blocks")
    try:
        with READERS[suffix](path, dataset) as found:
            kept, read_box = _find_axes(found), found.read_box
            shape = tuple(found.shape[axis] for axis in kept)
            if len(shape) != 3 or read_box is None:
                raise SignalError(f"{path}: an array of shape {found.shape} is no volume; [x, y, z] is needed")
            order, flips, notes = _orient(path, found, [found.axes[axis] for axis in kept] if found.axes else [])

            def read(box: Box) -> ndarray:
                whole = [box[kept.index(axis)] if axis in kept else slice(0, 1) for axis in range(len(found.shape))]
                stored = read_box(whole)
                return _scale(found, stored).reshape(*(part.stop - part.start for part in box), 1)

            corner = read([slice(0, 1)] * 3)
    except (SignalError, MemoryError):
        raise
    except Exception as error:  # readers fail in their own many ways
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SignalError(f"{path}: cannot be read as {suffix} ({ascii(reason)[1:-1]}); is the file whole?") from error
    blocks = turn_blocks(Blocks(str(path), shape, 1, corner.dtype, read), order, flips)
    return blocks, _locate(corner, blocks.shape, found, order, flips, notes)


def _scale(found: Found, stored: ndarray) -> ndarray:
    """Return the values that stored ones stand for."""
    if (found.slope, found.intercept) == (1.0, 0.0) or stored.dtype.kind not in "buif":
        return stored
    return stored.astype(np.float64) * found.slope + found.intercept


def _find_axes(found: Found) -> list[int]:
    """Return the three axes of an array that has no others but of length 1, or all its axes."""
    spatial = [axis for axis, letter in enumerate(found.letters) if letter]
    others = [length for axis, length in enumerate(found.shape) if axis not in spatial]
    if found.is_named and all(length == 1 for length in others):
        return spatial
    axes = list(range(len(found.shape)))
    while len(axes) > 3 and found.shape[axes[0]] == 1:
        axes.pop(0)
    while len(axes) > 3 and found.shape[axes[-1]] == 1:
        axes.pop()
    return axes


def _orient(path: Path, found: Found, names: list[str]) -> tuple[list[int], list[int], list[str]]:
    """Return the array axes that run along x, y and z, which of them (in this order) run backwards, and notes.

    Raises:
        SignalError: the axes are not at right angles, or have no length.
    """
    directions = _place(found)[0]
    lengths = np.linalg.norm(directions, axis=1)
    if not np.isfinite(directions).all() or not (lengths > 0).all() or not np.isfinite(found.origin).all():
        raise SignalError(f"{path}: its spacing or origin is zero or not finite; give it by a right header")
    unit = directions / lengths[:, None]
    cosine = np.abs(unit @ unit.T - np.eye(3)).max()
    if cosine > SQUARE:
        raise SignalError(
            f"{path}: its axes are not at right angles (by up to {np.degrees(np.arcsin(min(cosine, 1))):.3g} degrees);"
            " resample it to a grid that has such"
        )
    order = _match(np.abs(unit))
    flips = [axis for axis in range(3) if unit[order[axis], axis] < 0]
    notes = []
    if (found.slope, found.intercept) != (1.0, 0.0):
        notes.append(f"values are {found.slope:g} times those in the file plus {found.intercept:g}")
    if order != [0, 1, 2] and found.is_named:
        notes.append(f"axes {' '.join(names).lower()} were turned to x y z")
    elif order != [0, 1, 2]:
        notes.append(f"array axes {' '.join(str(axis) for axis in order)} became x y z")
    if any(names) and not found.is_named:
        notes.append(f"axes {ascii(' '.join(name or '-' for name in names))[1:-1][:60]} are taken as x y z")
    if flips:
        notes.append(
            f"turned round along {' and '.join('xyz'[axis] for axis in flips)}, to run in the world's direction"
        )
    slant = float(np.sqrt(max(0.0, 1 - min(unit[order[axis], axis] ** 2 for axis in range(3)))))
    if slant > STRAIGHT:
        notes.append(
            f"warning: its axes are oblique, {np.degrees(np.arcsin(min(slant, 1))):.3g} degrees from the world's;"
            " spacing is kept, and x, y, z run along the array's axes"
        )
    return order, flips, notes


def _place(found: Found) -> tuple[Float[ndarray, "3 3"], Float[ndarray, " 3"]]:
    """Return the world's steps along the array's axes, and the position of the first sample."""
    directions, origin = np.asarray(found.directions, np.float64), np.array(found.origin, np.float64)
    if found.is_named:
        letters = list(filter(None, found.letters))
        order = [letters.index(letter) for letter in "xyz"]
        return directions[:, order], origin[order]
    return directions, origin


def _match(cosines: Float[ndarray, "3 3"]) -> list[int]:
    """Return the array axis for each axis of the world, the closest first."""
    order, left = [0, 0, 0], cosines.copy()
    for _ in range(3):
        axis, world = np.unravel_index(left.argmax(), (3, 3))
        order[world] = int(axis)
        left[axis], left[:, world] = -1, -1
    return order


def _turn(values: ndarray, found: Found, order: list[int], flips: list[int], notes: list[str]) -> VolumeFile:
    """Return the volume with its axes in this order and those of `flips` reversed."""
    values = np.ascontiguousarray(np.flip(values.transpose(*order), flips))
    return _locate(values, values.shape, found, order, flips, notes)


def _locate(
    values: ndarray, shape: tuple[int, ...], found: Found, order: list[int], flips: list[int], notes: list[str]
) -> VolumeFile:
    """Return the volume with the spacing and the origin of its turned axes, which have these lengths."""
    directions, origin = _place(found)
    directions = directions[order]
    for axis in flips:
        origin = origin + directions[axis] * (shape[axis] - 1)
    spacing = np.linalg.norm(directions, axis=1)
    x, y, z = (float(step) for step in spacing)
    first = tuple(float(position) for position in origin)
    low, high = sorted(_scale(found, np.array(found.valid)).tolist()) if found.slope else (-inf, inf)
    return VolumeFile(
        values,
        (x, y, z) if found.says_spacing else None,
        (first[0], first[1], first[2]),
        (*found.notes, *notes),
        tuple(_scale(found, np.array(found.nodata)).tolist()),
        (low, high),
    )
