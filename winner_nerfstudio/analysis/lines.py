"""Where a target and a network are compared: neighbouring samples along the target's last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..signals.errors import SignalError
from ..signals.lattice import Lattice
from .targets import Target

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[Any]

SHORTEST = 16
"""Samples along the last axis that a spectrum needs at least."""


@dataclass(frozen=True)
class Lines:
    """Pieces of equal length along the last axis of a target's lattice.

    Attributes:
        lattice: The lattice of the target's samples.
        first: The position of each piece's first sample, counted in samples, [k, d].
        values: The target's values, in the network's units, float32 [k, n, c].
    """

    lattice: Lattice
    first: Int[Array, "k d"]
    values: Float[Array, "k n c"]

    @property
    def length(self) -> int:
        """The number of samples of a piece, n."""
        return self.values.shape[1]

    @property
    def nyquist(self) -> float:
        """The samples' Nyquist frequency along the lines, cycles per unit of the network's coordinates."""
        return 0.5 / self.lattice.spacings[-1]

    @property
    def positions(self) -> Int[Array, "k n d"]:
        """The positions of the samples of each piece, counted in samples."""
        return _make_positions(self.first, self.length, 1).long().numpy()

    def coords(self, oversampling: int = 1) -> Float[Tensor, "k m d"]:
        """Return the network's coordinates along each piece, from its first sample on, m = n * `oversampling`."""
        positions = _make_positions(self.first, self.length, oversampling)
        return self.lattice.at(positions.reshape(-1, self.lattice.dim)).reshape(positions.shape)


def select_lines(target: Target, samples: int) -> Lines:
    """Return whole lines, evenly spread over the target, of about as many samples together.

    Where a single line has more, the part of it with the greatest variance is taken.

    Args:
        target: The target.
        samples: The number of samples, at most; at least `SHORTEST`.

    Raises:
        SignalError: The target has too few samples along its last axis.
    """
    lattice = target.lattice
    *others, along = lattice.shape
    if along < SHORTEST:
        raise SignalError(
            f"{target.name}: {along} samples along the last axis are too few for a spectrum; {SHORTEST} are needed"
        )
    length, every = min(along, samples), int(np.prod(others))
    index = np.linspace(0, every - 1, min(every, samples // length)).round().astype(np.int64)
    first = np.zeros((len(index), lattice.dim), np.int64)
    first[:, :-1] = np.stack(np.unravel_index(index, others), -1) if others else 0
    values = target.evaluate(_make_positions(first, along, 1).long().numpy())
    start = _find_greatest_variance(values, length)
    first[:, -1] = start
    return Lines(lattice, first, values[:, start : start + length])


def select_piece(lines: Lines, points: int) -> Lines:
    """Return the piece of one line, `points` neighbouring samples at most, in which the target varies most."""
    length, line = min(lines.length, points), int(_square_deviations(lines.values).sum((1, 2)).argmax())
    start = _find_greatest_variance(lines.values[line : line + 1], length)
    first = lines.first[line : line + 1].copy()
    first[:, -1] += start
    return Lines(lines.lattice, first, lines.values[line : line + 1, start : start + length])


def _make_positions(first: Int[Array, "k d"], length: int, oversampling: int) -> Float[Tensor, "k m d"]:
    """Return positions, in samples, along the last axis from each first one on."""
    positions = torch.from_numpy(first).double()[:, None].repeat(1, length * oversampling, 1)
    positions[..., -1] += torch.arange(length * oversampling, dtype=torch.float64) / oversampling
    return positions


def _square_deviations(values: Float[Array, "k n c"]) -> Float[Array, "k n c"]:
    """Return the squares of the values' deviations from their line's mean."""
    squares: Array = np.square(values - values.mean(1, keepdims=True, dtype=np.float64))
    return squares


def _find_greatest_variance(values: Float[Array, "k n c"], length: int) -> int:
    """Return where the piece of that length begins that has the greatest variance, all lines together."""
    summed = np.concatenate([[0.0], _square_deviations(values).sum((0, 2)).cumsum()])
    return int((summed[length:] - summed[: len(summed) - length]).argmax())
