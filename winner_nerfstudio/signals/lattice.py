"""Where the samples of a regularly sampled signal lie in the network's cube."""

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
    """Samples at equal distances along every axis, in row-major order, about the origin of [-1, 1]^d.

    The first and the last sample of the longest axis lie at -1 and 1; the other axes keep the same distance between
    samples, so that pixels are square. A sample is a point: that of a pixel is its centre.

    Attributes:
        shape: samples per axis, each at least 1.
    """

    shape: tuple[int, ...]

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def count(self) -> int:
        """Number of samples."""
        return prod(self.shape)

    @property
    def spacing(self) -> float:
        """Distance between neighbours, in the network's units; 1 for a single sample."""
        return 2 / (max(self.shape) - 1) if max(self.shape) > 1 else 1.0

    def normalization(self, spacing: float = 1.0, first: float = 0.0) -> Normalization:
        """The way to the cube from a world in which neighbours are `spacing` apart and an axis begins at `first`."""
        center = tuple(first + (n - 1) / 2 * spacing for n in self.shape)
        return Normalization(center, self.spacing / spacing)

    def coords(self, index: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Coordinates of samples by their number, row by row: float32, on the numbers' device."""
        return self.at(torch.stack(torch.unravel_index(index, self.shape), dim=-1))

    def at(self, positions: Float[Tensor, "n d"] | Int[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Coordinates of positions counted in samples along each axis, 0 being the first: float32."""
        middle = torch.tensor([(n - 1) / 2 for n in self.shape], dtype=torch.float64, device=positions.device)
        # Float64 until the end, for a long sound has more samples than float32 has whole numbers.
        return ((positions.double() - middle) * self.spacing).float()

    def nearest(self, coords: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """The number of the sample nearest to each coordinate."""
        number = torch.zeros(len(coords), dtype=torch.int64, device=coords.device)
        for axis, size in enumerate(self.shape):
            place = (coords[:, axis] / self.spacing + (size - 1) / 2).round().long().clamp(0, size - 1)
            number = number * size + place
        return number
