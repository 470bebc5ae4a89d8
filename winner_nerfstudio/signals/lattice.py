"""The coordinates of a regularly sampled signal's samples in the network's cube."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .normalization import Normalization

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class Lattice:
    """A grid of samples in [-1, 1]^d, equally spaced along every axis and centred at the origin, in row-major order.

    The first and the last sample of the longest axis lie at -1 and 1; the other axes keep the same distance between
    samples, so that pixels are square. A sample is a point: a pixel's sample lies at its centre.

    Attributes:
        shape: samples per axis, each at least 1.
    """

    shape: tuple[int, ...]

    @property
    def dim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def count(self) -> int:
        """The number of samples."""
        return prod(self.shape)

    @property
    def spacing(self) -> float:
        """The distance between neighbouring samples in the network's cube; 1 for a single sample."""
        return 2 / (max(self.shape) - 1) if max(self.shape) > 1 else 1.0

    def normalization(self, spacing: float = 1.0, first: float = 0.0) -> Normalization:
        """Return the normalisation of a world with neighbours `spacing` apart and every axis beginning at `first`."""
        center = tuple(first + (n - 1) / 2 * spacing for n in self.shape)
        return Normalization(center, self.spacing / spacing)

    def coords(self, index: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the coordinates of samples from their row-major indices: float64, on the device of `index`."""
        return self.at(torch.stack(torch.unravel_index(index, self.shape), dim=-1))

    def at(self, positions: Float[Tensor, "n d"] | Int[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return the coordinates of positions given in samples along each axis, 0 for the first sample: float64.

        A long sound has more samples than float32 can count; a `Bank` can tell them apart, and other networks round
        their coordinates themselves.
        """
        middle = torch.tensor([(n - 1) / 2 for n in self.shape], dtype=torch.float64, device=positions.device)
        return (positions.double() - middle) * self.spacing

    def nearest(self, coords: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """Return the index of the sample nearest to each point."""
        index = torch.zeros(len(coords), dtype=torch.int64, device=coords.device)
        for axis, size in enumerate(self.shape):
            axis_index = (coords[:, axis] / self.spacing + (size - 1) / 2).round().long().clamp(0, size - 1)
            index = index * size + axis_index
        return index
