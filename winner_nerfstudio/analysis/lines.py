"""Where a target and a network are looked at: neighbouring samples along the target's last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..signals.errors import SignalError
from ..signals.grid import Grid
from ..signals.lattice import Lattice

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy import ndarray
    from torch import Tensor

    from ..signals.cloud import PointCloud
    from ..signals.shape import Shape

SHORTEST = 16
"""Samples along the last axis below which there is no spectrum to speak of."""


@dataclass(frozen=True)
class Lines:
    """Pieces of equal length along the last axis of a target's lattice.

    Attributes:
        lattice: where the target's samples lie.
        first: the position of each piece's first sample, counted in samples, [k, d].
        values: the target there, in the network's units, float32 [k, n, c].
    """

    lattice: Lattice
    first: Int[ndarray, "k d"]
    values: Float[ndarray, "k n c"]

    @property
    def length(self) -> int:
        """Samples of a piece, n."""
        return self.values.shape[1]

    @property
    def nyquist(self) -> float:
        """The samples' Nyquist frequency, cycles per unit of the network's coordinates."""
        return 0.5 / self.lattice.spacing

    def coords(self, oversampling: int = 1) -> Float[Tensor, "k m d"]:
        """The network's coordinates, so many to a sample, from each piece's first sample on."""
        return self.lattice.at(_positions(self.first, self.length, oversampling).reshape(-1, self.lattice.dim)).reshape(
            len(self.first), -1, self.lattice.dim
        )


def spread_lines(signal: Grid | Shape | PointCloud, samples: int) -> Lines:
    """Whole lines, evenly spread over the target, of about as many samples together.

    Where a single line has more, its part with the greatest variance. Shapes are sampled where their centroid is.

    Args:
        signal: the target.
        samples: at most, at least `SHORTEST`.

    Raises:
        SignalError: the target has too few samples along its last axis.
    """
    lattice = _lattice(signal)
    *others, along = lattice.shape
    if along < SHORTEST:
        raise SignalError(
            f"{signal.name}: {along} samples along the last axis are too few for a spectrum; {SHORTEST} are needed"
        )
    length, every = min(along, samples), int(np.prod(others))
    chosen = np.linspace(0, every - 1, min(every, samples // length)).round().astype(np.int64)
    first = np.zeros((len(chosen), lattice.dim), np.int64)
    first[:, :-1] = np.stack(np.unravel_index(chosen, others), -1) if others else 0
    values = _values(signal, lattice, first, along)
    start = _liveliest(values, length)
    first[:, -1] = start
    return Lines(lattice, first, values[:, start : start + length])


def liveliest_piece(lines: Lines, points: int) -> Lines:
    """The piece of `points` neighbouring samples at most, of one line, in which the target varies most."""
    length, line = min(lines.length, points), int(_centred(lines.values).sum((1, 2)).argmax())
    start = _liveliest(lines.values[line : line + 1], length)
    first = lines.first[line : line + 1].copy()
    first[:, -1] += start
    return Lines(lines.lattice, first, lines.values[line : line + 1, start : start + length])


def _lattice(signal: Grid | Shape | PointCloud) -> Lattice:
    if isinstance(signal, Grid):
        return signal.lattice
    from ..signals.shape import CENTROID_GRID

    return Lattice((CENTROID_GRID,) * 3)


def _values(
    signal: Grid | Shape | PointCloud, lattice: Lattice, first: Int[ndarray, "k d"], length: int
) -> Float[ndarray, "k n c"]:
    positions = _positions(first, length, 1).long()
    if isinstance(signal, Grid):
        return signal.values[tuple(positions.numpy().transpose(2, 0, 1))]
    coords = lattice.at(positions.reshape(-1, 3)).numpy().astype(np.float64)
    return signal.signed_distance(coords).astype(np.float32).reshape(len(first), length, 1)


def _positions(first: Int[ndarray, "k d"], length: int, oversampling: int) -> Float[Tensor, "k m d"]:
    place = torch.from_numpy(first).double()[:, None].repeat(1, length * oversampling, 1)
    place[..., -1] += torch.arange(length * oversampling, dtype=torch.float64) / oversampling
    return place


def _centred(values: Float[ndarray, "k n c"]) -> Float[ndarray, "k n c"]:
    """Squares of what the values are off their line's mean."""
    return np.square(values - values.mean(1, keepdims=True, dtype=np.float64))


def _liveliest(values: Float[ndarray, "k n c"], length: int) -> int:
    """Where the piece of that length begins that has the greatest variance, all lines together."""
    summed = np.concatenate([[0.0], _centred(values).sum((0, 2)).cumsum()])
    return int((summed[length:] - summed[: len(summed) - length]).argmax())
