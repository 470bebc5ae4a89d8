"""A bank in groups: its members lie in files by groups, which are loaded when a point needs them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .bank import Bank, Tiling

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

CACHE_BYTES = 1 << 30
"""Bytes of weights that are kept in memory; beside them there are at least the groups that a region needs."""


@dataclass(frozen=True)
class Groups:
    """The division of a tiling's boxes into ranges of about equal size along each axis.

    Attributes:
        tiling: all boxes.
        counts: the groups along each axis.

    Raises:
        ValueError: there are more groups than boxes along an axis.
    """

    tiling: Tiling
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that every group has boxes."""
        if len(self.counts) != len(self.tiling.parts) or not all(
            1 <= count <= parts for count, parts in zip(self.counts, self.tiling.parts, strict=True)
        ):
            raise ValueError(f"groups={list(self.counts)} must be from 1 to {list(self.tiling.parts)} along the axes")

    @classmethod
    def dividing(cls, tiling: Tiling, members: int) -> Groups:
        """Return groups of at most so many members, or of one; axes are divided in their order.

        A group that has all of the last axes is a run of whole rows of the signal, as files store them.
        """
        counts, rest = [1] * len(tiling.parts), tiling.count
        for axis, parts in enumerate(tiling.parts):
            rest //= parts
            counts[axis] = -(-parts // max(1, members // rest))
            if members >= rest:
                break
        return cls(tiling, tuple(counts))

    @property
    def count(self) -> int:
        """The number of groups."""
        return prod(self.counts)

    def border(self, axis: int, index: int) -> int:
        """Return the first box along an axis of the group with that index along it."""
        return index * self.tiling.parts[axis] // self.counts[axis]

    def position(self, group: int) -> tuple[int, ...]:
        """Return the indices of a group along the axes from its index in row-major order."""
        return tuple(int(index) for index in np.unravel_index(group, self.counts))

    def held(self, group: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the index of the first box along each axis that a group holds, and the boxes along each axis."""
        position = self.position(group)
        first = tuple(self.border(axis, index) for axis, index in enumerate(position))
        after = tuple(self.border(axis, index + 1) for axis, index in enumerate(position))
        return first, tuple(end - start for start, end in zip(first, after, strict=True))

    def subtiling(self, group: int) -> Tiling:
        """Return the tiling that holds a group's boxes only."""
        return Tiling(self.tiling.shape, self.tiling.parts, self.tiling.overlap, *self.held(group))

    def region(self, group: int) -> tuple[slice, ...]:
        """Return the samples from a group's first box to the next group's; the regions divide the signal."""
        position = self.position(group)
        return tuple(
            slice(self._begin(axis, index), self._begin(axis, index + 1)) for axis, index in enumerate(position)
        )

    def _begin(self, axis: int, index: int) -> int:
        if index == self.counts[axis]:
            return self.tiling.shape[axis]
        return int(self.tiling.find_starts(axis, torch.tensor(self.border(axis, index))))

    def bands(self, group: int, samples: int) -> Iterator[tuple[slice, ...]]:
        """Yield boxes of about so many samples that divide a group's region along its first axis, between its parts."""
        region, (first, held) = self.region(group), self.held(group)
        row = prod(axis.stop - axis.start for axis in region[1:])
        stride = max(1, (region[0].stop - region[0].start) // held[0])
        step = max(1, samples // (row * stride))
        begins = self.tiling.find_starts(0, torch.arange(first[0], first[0] + held[0], step)).tolist()
        for start, stop in pairwise([*begins, region[0].stop]):
            yield slice(start, stop), *region[1:]

    def find_near(self, low: Sequence[float], high: Sequence[float]) -> Iterator[int]:
        """Yield the groups whose boxes have a part in the blend between two corners, in samples from the first."""
        near = []
        for axis, (start, stop) in enumerate(zip(low, high, strict=True)):
            last = self._find_group(axis, stop)
            first = self._find_group(axis, start)
            # The box before the one that begins here has a part in the blend as well.
            near.append(range(max(first - 1, 0), last + 1))
        for position in product(*near):
            yield int(np.ravel_multi_index(position, self.counts))

    def _find_group(self, axis: int, sample: float) -> int:
        """Return the index along an axis of the group whose region has a sample."""
        low, high = 0, self.counts[axis] - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._begin(axis, middle) <= sample else (low, middle - 1)
        return low


class GroupedBank(nn.Module):
    """A `Bank` whose groups are loaded when a point needs them, and dropped again.

    Points that lie close together need few groups; points all over a large signal are sorted by groups first, and cost
    the loading of each group once per call where the weights of all are more than `CACHE_BYTES`.

    Args:
        groups: The groups.
        out_dim: The values per point.
        spacings: The distance between neighbouring samples along each axis in the network's cube.
        load: The function that loads the bank of a group.
    """

    def __init__(self, groups: Groups, out_dim: int, spacings: Sequence[float], load: Callable[[int], Bank]) -> None:
        super().__init__()
        self.groups, self.out_dim, self._spacings, self._load = groups, out_dim, tuple(spacings), load
        self._loaded: OrderedDict[int, Bank] = OrderedDict()

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """Compute the blend of the members' values, in single precision."""
        points = coords.reshape(-1, coords.shape[-1])
        result = (0.0 * points[:, :1]).float().expand(-1, self.out_dim)
        if len(points):
            samples = torch.stack(self._find_samples(points.detach().unbind(-1)), -1).nan_to_num(0.0)
            for group in self.groups.find_near(samples.amin(0).tolist(), samples.amax(0).tolist()):
                near = self._find_near(group, samples.unbind(-1))
                is_near = torch.stack(near).all(0)
                rows = is_near.nonzero()[:, 0].to(points.device)
                if len(rows):
                    result = result.index_add(0, rows, self.load(group, points.device)(points[rows]))
        return result.reshape(*coords.shape[:-1], self.out_dim)

    @torch.no_grad()
    def evaluate_product(self, axes: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, "*axes c"]:
        """Compute the values at all points of a grid, see `Bank.evaluate_product`; on the device of the coordinates."""
        result = torch.zeros(*map(len, axes), self.out_dim, device=axes[0].device)
        samples = self._find_samples(axes)
        low, high = ([float(axis[end]) for axis in samples] for end in (0, -1))
        for group in self.groups.find_near(low, high):
            rows = [near.nonzero()[:, 0].tolist() for near in self._find_near(group, samples)]
            if all(rows):
                box = tuple(slice(each[0], each[-1] + 1) for each in rows)
                bank = self.load(group, result.device)
                result[box] += bank.evaluate_product([axis[part] for axis, part in zip(axes, box, strict=True)])
        return result

    def _find_samples(self, coords: Sequence[Float[Tensor, " _"]]) -> list[Float[Tensor, " _"]]:
        """Return the positions of coordinates along each axis, in samples from the first: float64, on the CPU."""
        sizes = zip(coords, self._spacings, self.groups.tiling.shape, strict=True)
        return [each.cpu().double() / spacing + (size - 1) / 2 for each, spacing, size in sizes]

    def _find_near(self, group: int, samples: Sequence[Float[Tensor, " _"]]) -> list[Bool[Tensor, " _"]]:
        """Return along each axis which positions the members of a group see."""
        found = []
        sizes = zip(samples, self.groups.subtiling(group).extent, self.groups.tiling.shape, strict=True)
        for each, part, size in sizes:
            # Points beyond the signal belong to the boxes at its ends.
            after = (each >= part.start) | (part.start == 0)
            found.append(after & ((each <= part.stop) | (part.stop == size)))
        return found

    def load(self, group: int, device: torch.device) -> Bank:
        """Return the bank of a group, on a device; it is kept as long as `CACHE_BYTES` allow."""
        bank = self._loaded.pop(group, None) or self._load(group)
        self._loaded[group] = bank.to(device)
        size = sum(weight.nbytes for weight in bank.parameters())
        while len(self._loaded) > max(2, CACHE_BYTES // size):
            self._loaded.popitem(last=False)
        return bank

    def measure_bytes(self) -> int:
        """Return the bytes of the weights of all members, which are of one size."""
        bank = self.load(0, torch.device("cpu"))
        return sum(weight.nbytes for weight in bank.parameters()) // bank.tiling.count * self.groups.tiling.count

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"{self.groups.tiling.parts} members in {self.groups.counts} groups"
