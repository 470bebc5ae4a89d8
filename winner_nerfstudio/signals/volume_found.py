"""What a reader finds of a volume in a file before its values are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import numpy as np
from numpy import ndarray

from ..axis_names import axis_of
from .errors import SignalError


@dataclass
class Found:
    """An array of a file and what the file says of it.

    Attributes:
        shape: of the array; when it is read, axes of length 1 beside three others are left out.
        read: returns the values.
        directions: the world's step from a sample to the next along each of the three axes, [3, 3].
        origin: the position of the first sample, [3].
        axes: the axes' names, such as "z", if the file has any. Where these are x, y and z, the steps and the position
            are given in their order.
        nodata: the stored values that stand for samples without data, as far as the file declares any.
        valid: the least and the greatest stored value that is data, as far as the file declares them.
        slope, intercept: the values are `slope` times the stored ones plus `intercept`.
        notes: what the user should know.
        says_spacing: whether the file states the directions.
        read_box: returns the values of a box of samples, in formats that are read block by block.
    """

    shape: tuple[int, ...]
    read: Callable[[], ndarray]
    directions: ndarray = field(default_factory=lambda: np.eye(3))
    origin: ndarray = field(default_factory=lambda: np.zeros(3))
    axes: Sequence[str] = ()
    nodata: Sequence[float] = ()
    valid: tuple[float, float] = (-inf, inf)
    slope: float = 1.0
    intercept: float = 0.0
    notes: list[str] = field(default_factory=list)
    says_spacing: bool = False
    read_box: Callable[[Sequence[slice]], ndarray] | None = None

    @property
    def letters(self) -> list[str]:
        """The axis of the world, x, y or z, that each axis runs along by its name, or "" where none says so."""
        return [axis_of(name) for name in self.axes]

    @property
    def is_named(self) -> bool:
        """Whether three of the axes are x, y and z by name."""
        return sorted(filter(None, self.letters)) == ["x", "y", "z"]


def refuse_choice(path: Path, dataset: str | None, count: int, listed: str) -> SignalError:
    """Return the error that says why it is not known which array of a file is meant.

    Args:
        path: the file.
        dataset: the name that was asked for, if any.
        count: of the arrays that may be meant.
        listed: the names of all arrays.
    """
    if dataset is not None and count == 0:
        what = f"has no array {dataset!a}"
    elif count == 0:
        what = "holds no array that may be a volume, [x, y, z] of one number each"
    else:
        what = f"holds {count} arrays that may be a volume; say which by --dataset NAME"
    return SignalError(f"{path}: {what}; there are: {listed[:200] or 'none'}")
