"""The coordinates of a regularly sampled signal's samples in the network's cube."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from .normalization import Normalization

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Num
    from torch import Tensor


@dataclass(frozen=True)
class Lattice:
    """A grid of samples in [-1, 1]^d, equally spaced along every axis and centred at the origin, in row-major order.

    The first and the last sample of the longest axis lie at -1 and 1; lengths along the other axes have the same scale,
    so that pixels are square. A sample is a point: a pixel's sample lies at its centre.

    Attributes:
        shape: samples per axis, each at least 1.
        pitch: distance between neighbouring samples along each axis, in the least of these; 1 along every axis if left
            out.
    """

    shape: tuple[int, ...]
    pitch: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.pitch:
            object.__setattr__(self, "pitch", (1.0,) * len(self.shape))

    @property
    def dim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def count(self) -> int:
        """The number of samples."""
        return prod(self.shape)

    @property
    def whole(self) -> tuple[slice, ...]:
        """All samples along each axis."""
        return tuple(slice(0, count) for count in self.shape)

    @property
    def spacing(self) -> float:
        """The distance in the network's cube of neighbours along an axis of pitch 1; 1 for a single sample."""
        longest = max((n - 1) * pitch for n, pitch in zip(self.shape, self.pitch, strict=True))
        return 2 / longest if longest > 0 else 1.0

    @property
    def spacings(self) -> tuple[float, ...]:
        """The distance between neighbouring samples along each axis in the network's cube."""
        return tuple(self.spacing * pitch for pitch in self.pitch)

    @property
    def spans(self) -> tuple[float, ...]:
        """The sides of the box that the samples span in the network's cube."""
        return tuple((n - 1) * spacing for n, spacing in zip(self.shape, self.spacings, strict=True))

    @property
    def half_extents(self) -> tuple[float, ...]:
        """Half the sides of that box."""
        return tuple(span / 2 for span in self.spans)

    def normalization(self, spacing: float = 1.0, origin: Sequence[float] | None = None) -> Normalization:
        """Return the normalisation of a world in which the first sample lies at `origin`.

        Args:
            spacing: distance in the world of neighbours along an axis of pitch 1.
            origin: coordinates of the first sample; 0 along every axis if left out.
        """
        axes = zip(origin or (0.0,) * self.dim, self.shape, self.pitch, strict=True)
        center = tuple(first + (n - 1) / 2 * (pitch * spacing) for first, n, pitch in axes)
        return Normalization(center, self.spacing / spacing)

    def coords(self, index: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return the coordinates of samples from their row-major indices: float64, on the device of `index`."""
        return self.at(self.positions(index))

    def positions(self, index: Int[Tensor, " n"]) -> Int[Tensor, "n d"]:
        """Return the positions of samples along each axis, 0 for the first, from their row-major indices.

        ``torch.unravel_index`` does the same, and imports a library for symbols, which takes long.
        """
        import torch

        along = [index // prod(self.shape[axis + 1 :]) % size for axis, size in enumerate(self.shape)]
        return torch.stack(along, dim=-1)

    def at(self, positions: Float[Tensor, "n d"] | Int[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return the coordinates of positions given in samples along each axis, 0 for the first sample: float64.

        A long sound has more samples than float32 can count; a `Bank` can tell them apart, and other networks round
        their coordinates themselves.
        """
        import torch

        # Of numbers, not of a tensor of them, which would be copied to a GPU at each step of a training.
        return torch.stack(self.axis_coords(positions.unbind(-1)), dim=-1)

    def axis_coords(self, positions: Sequence[Num[Tensor, " _"]]) -> list[Float[Tensor, " _"]]:
        """Return the coordinates along each axis of positions given in samples along it, as `at` does: float64."""
        sizes = zip(positions, self.shape, self.spacings, strict=True)
        return [(each.double() - (n - 1) / 2) * spacing for each, n, spacing in sizes]

    def nearest(self, coords: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
        """Return the index of the sample nearest to each point."""
        import torch

        index = torch.zeros(len(coords), dtype=torch.int64, device=coords.device)
        for axis, (size, spacing) in enumerate(zip(self.shape, self.spacings, strict=True)):
            axis_index = (coords[:, axis] / spacing + (size - 1) / 2).round().long().clamp(0, size - 1)
            index = index * size + axis_index
        return index


def pitch_of(spacing: tuple[float, ...]) -> tuple[float, ...]:
    """Return the pitch of a lattice whose samples are so far apart in the world along each axis."""
    least = min(spacing)
    return tuple(step / least for step in spacing)
