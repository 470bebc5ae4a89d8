"""A bank: many small sine networks of one shape, each for a part of a regularly sampled signal, trained at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..winner.init import siren_init_
from .stack import Stack

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class Tiling:
    """The division of a grid of samples into boxes of equal size that overlap.

    Along each axis the boxes begin at whole samples, evenly spaced from the first sample to the last. Their windows are
    a partition of unity: each rises from 0 to 1 over the samples that its box shares with the one before, so that
    nowhere more than two boxes of an axis have a part. The windows are twice continuously differentiable (a polynomial
    of degree 5), so that neither values nor first and second derivatives of a blend jump; the construction is that of
    finite-basis networks (Moseley et al. 2023, doi:10.1007/s10444-023-10065-9).

    Attributes:
        shape: the samples per axis.
        parts: the boxes per axis.
        overlap: about how many samples neighbouring boxes share along an axis; at least 2.
        first: the index along each axis of the first box that is held; 0 if left out.
        held: the boxes that are held along each axis, a range of all; all of them if left out.

    Raises:
        ValueError: the boxes are no smaller than twice the overlap, or more than there are samples, or boxes are held
            that are not there.
    """

    shape: tuple[int, ...]
    parts: tuple[int, ...]
    overlap: int
    first: tuple[int, ...] = ()
    held: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check that the boxes fit."""
        if len(self.shape) != len(self.parts) or not self.shape or min((*self.shape, *self.parts)) < 1:
            raise ValueError(f"shape={list(self.shape)} and parts={list(self.parts)} must be as many positive numbers")
        if self.overlap < 2:
            raise ValueError(f"overlap={self.overlap} must be at least 2 samples")
        for size, count, box in zip(self.shape, self.parts, self.box, strict=True):
            if count > 1 and (box > size or box < 2 * self.overlap + 2):
                raise ValueError(
                    f"parts={list(self.parts)} of {list(self.shape)} samples with an overlap of {self.overlap} are too"
                    " many: a part must be more than twice as long as its overlap"
                )
        object.__setattr__(self, "first", self.first or (0,) * len(self.shape))
        object.__setattr__(self, "held", self.held or self.parts)
        if not len(self.first) == len(self.held) == len(self.parts) or not all(
            0 <= first < first + held <= count
            for first, held, count in zip(self.first, self.held, self.parts, strict=True)
        ):
            raise ValueError(f"first={list(self.first)} and held={list(self.held)} are no range of {list(self.parts)}")

    @property
    def count(self) -> int:
        """The number of boxes that are held."""
        return prod(self.held)

    @property
    def is_whole(self) -> bool:
        """Whether all boxes are held."""
        return self.held == self.parts

    @property
    def extent(self) -> tuple[slice, ...]:
        """The samples along each axis that the held boxes have together."""
        ends = [(int(self.starts(axis)[0]), int(self.starts(axis)[-1])) for axis in range(len(self.shape))]
        return tuple(slice(start, last + box) for (start, last), box in zip(ends, self.box, strict=True))

    def index_of(self, member: int) -> int:
        """Return the index among all boxes of a box that is held, both in row-major order."""
        index = 0
        for axis, position in enumerate(np.unravel_index(member, self.held)):
            index = index * self.parts[axis] + self.first[axis] + int(position)
        return index

    @cached_property
    def box(self) -> tuple[int, ...]:
        """The samples of a box along each axis."""
        return tuple(
            -(-(size + (count - 1) * self.overlap) // count) for size, count in zip(self.shape, self.parts, strict=True)
        )

    @cached_property
    def corners(self) -> list[tuple[int, ...]]:
        """The first sample of each held box along each axis, counted from the first one of the `extent`."""
        starts = [self.starts(axis) for axis in range(len(self.shape))]
        return list(product(*((axis - axis[0]).tolist() for axis in starts)))

    @property
    def spacing(self) -> float:
        """The distance of neighbouring samples in a box's own coordinates, whose longest axis spans [-1, 1]."""
        return 2 / max(max(self.box) - 1, 1)

    @property
    def spans(self) -> tuple[float, ...]:
        """The sides of what a box's samples span in its own coordinates."""
        return tuple((n - 1) * self.spacing for n in self.box)

    def starts(self, axis: int) -> Int[Tensor, " p"]:
        """Return the first samples of the held boxes along an axis."""
        return self.find_starts(axis, torch.arange(self.first[axis], self.first[axis] + self.held[axis]))

    def find_starts(self, axis: int, box: Int[Tensor, "*n"]) -> Int[Tensor, "*n"]:
        """Return the first samples of boxes along an axis by their indices among all boxes of that axis."""
        # The product is a whole number, so that the quotient is rounded once and the same in every group of boxes.
        length = self.shape[axis] - self.box[axis]
        return (box.double() * length / max(self.parts[axis] - 1, 1)).round().long()

    def local_coords(self, less: Sequence[int] = ()) -> Float[Tensor, "n d"]:
        """Return the own coordinates of a box's samples, the same for every box, in row-major order, float32.

        Args:
            less: along each axis 0 for the samples, or 1 for the points half-way between them, one fewer.
        """
        axes = [
            (torch.arange(n - gap, dtype=torch.float64) - (n - 1 - gap) / 2) * self.spacing
            for n, gap in zip(self.box, less or [0] * len(self.box), strict=True)
        ]
        return torch.stack([axis.reshape(-1) for axis in torch.meshgrid(*axes, indexing="ij")], -1).float()

    def cut(
        self, values: Float[Tensor, "*axes c"], members: Sequence[int] | None = None, less: Sequence[int] = ()
    ) -> Float[Tensor, "m n c"]:
        """Return the samples of each box, in row-major order.

        Args:
            values: the samples of the `extent`; of the whole signal where all boxes are held.
            members: the indices of the held boxes, in row-major order; all if left out.
            less: along each axis 0, or 1 if `values` are those half-way between the samples, of which there is one
                fewer.
        """
        sizes = [n - gap for n, gap in zip(self.box, less or [0] * len(self.box), strict=True)]
        boxes = [
            values[tuple(slice(first, first + n) for first, n in zip(self.corners[member], sizes, strict=True))]
            for member in (range(self.count) if members is None else members)
        ]
        return torch.stack([box.reshape(-1, values.shape[-1]) for box in boxes])


class BoxChoice(NamedTuple):
    """A box for each of n points along one axis.

    Attributes:
        parts: the number of boxes along the axis.
        box: the indices of the boxes, [n].
        local: the coordinates of the points in their boxes, [n], float64.
        window: the boxes' windows at the points, [n], float64.
    """

    parts: int
    box: Tensor
    local: Tensor
    window: Tensor


class BoxTable(NamedTuple):
    """The points that each of p boxes along one axis has a part in, at most k for a box.

    Attributes:
        box: the indices of the boxes, [p].
        point: the indices of the points, [p, k]; 0 where a box has fewer than k.
        local: the coordinates of the points in their boxes, [p, k].
        window: the boxes' windows at the points, [p, k]; 0 where a box has fewer than k.
    """

    box: Tensor
    point: Tensor
    local: Tensor
    window: Tensor

    def select(self, rows: Int[Tensor, " m"]) -> BoxTable:
        """Return the rows of some boxes, by their index in `box`."""
        return BoxTable(self.box[rows], self.point[rows], self.local[rows], self.window[rows])


PRODUCT_BLOCK = 1 << 14
"""About how many points of a grid are evaluated at a time; they fit into the cache of a CPU."""


class Bank(Stack):
    """Many SIRENs of one shape, each for a box of a `Tiling`; their values are blended by the boxes' windows.

    Maps coordinates [..., in_dim] in the cube of the whole signal to values [..., out_dim], like one network. The cost
    of a point is that of one member (of two to ``2^in_dim`` where boxes overlap), whatever the number of members.

    A bank may hold a range of the boxes only: a group. Its values are the part that its members have in the blend, 0
    elsewhere, so that the sum of all groups is the whole bank.

    The coordinates should be in double precision where the signal has more than some ten thousand samples along an
    axis; the members' own coordinates are in single precision.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer of a member.
        num_layers: The number of sine layers of a member.
        shape: The samples of the whole signal along each axis, see `Tiling`.
        parts: The members along each axis.
        overlap: The samples that neighbouring members share along an axis.
        pitch: The distance between neighbouring samples along each axis, in the least of these, see `Lattice`; equal
            along all axes if left out.
        first: The index along each axis of the first box that is held, see `Tiling`; 0 if left out.
        held: The boxes that are held along each axis; all if left out.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The frequency of the first sine layer.

    Raises:
        ValueError: A size is below 1, a frequency is not positive, or the parts do not fit.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 32,
        num_layers: int = 4,
        *,
        shape: Sequence[int],
        parts: Sequence[int],
        overlap: int = 4,
        pitch: Sequence[float] = (),
        first: Sequence[int] = (),
        held: Sequence[int] = (),
        omega_0: float = 30.0,
        first_omega_0: float = 30.0,
    ) -> None:
        tiling = Tiling(tuple(shape), tuple(parts), overlap, tuple(first), tuple(held))
        frequencies = {"omega_0": omega_0, "first_omega_0": first_omega_0}
        super().__init__(tiling.count, in_dim, out_dim, hidden_dim, num_layers, **frequencies)
        self.tiling = tiling
        if len(self.tiling.shape) != in_dim:
            raise ValueError(f"shape={list(shape)} must have in_dim={in_dim} axes")
        pitch = tuple(map(float, pitch)) or (1.0,) * in_dim
        if len(pitch) != in_dim or not all(0 < step < float("inf") for step in pitch):
            raise ValueError(f"pitch={list(pitch)} must be in_dim={in_dim} positive lengths")
        longest = max((n - 1) * step for n, step in zip(shape, pitch, strict=True))
        self._per_unit = [max(longest, min(pitch)) / (2 * step) for step in pitch]
        if not self.weights[0].is_meta:
            seed = int(torch.randint(2**62, (), device="cpu"))
            for index in range(self.count):
                siren_init_(self.member(index), seed=member_seed(seed, self.tiling.index_of(index)))

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """Compute the blend of the members' values, in single precision."""
        points = coords.reshape(-1, coords.shape[-1])
        # Not a tensor of zeros, because the result of no points must have a graph too.
        result = (0.0 * points[:, :1]).to(self.weights[0].dtype).expand(-1, self.out_dim)
        for choices in product(*(self._find_boxes(points[:, axis], axis) for axis in range(points.shape[-1]))):
            member, local, window = self._combine(choices)
            if torch.compiler.is_exporting():  # a graph has no sorting by members: every point gets its own weights
                result = result + window[:, None] * self._evaluate_gathered(member, local)
                continue
            point = window.detach().nonzero()[:, 0]
            if len(point):
                values = self._evaluate_sorted(member[point], local[point])
                result = result.index_add(0, point, window[point, None] * values)
        return result.reshape(*coords.shape[:-1], self.out_dim)

    @torch.no_grad()
    def evaluate_product(self, axes: Sequence[Float[Tensor, " _"]]) -> Float[Tensor, "*axes c"]:
        """Compute the values at all points of a grid, member by member, which is faster than `forward`; no gradients.

        Args:
            axes: the coordinates along each axis, ascending.
        """
        tables = [self._sort_by_box(coords, axis) for axis, coords in enumerate(axes)]
        shape = [len(coords) for coords in axes]
        result = self.biases[-1].new_zeros(prod(shape), self.out_dim)
        counts = [len(table.box) for table in tables]
        if 0 in counts:
            return result.reshape(*shape, self.out_dim)
        per_member = prod(table.point.shape[1] for table in tables)
        for rows in torch.arange(prod(counts), device=result.device).split(max(1, PRODUCT_BLOCK // per_member)):
            # As torch.unravel_index, which imports a library for symbols.
            boxes = [rows // prod(counts[axis + 1 :]) % count for axis, count in enumerate(counts)]
            own = [table.select(box) for table, box in zip(tables, boxes, strict=True)]
            member, index, window = own[0].box, own[0].point, own[0].window
            for table, held in zip(own[1:], self.tiling.held[1:], strict=True):
                member = member * held + table.box
            for table, size in zip(own[1:], shape[1:], strict=True):
                index = (index[:, :, None] * size + table.point[:, None]).flatten(1)
                window = (window[:, :, None] * table.window[:, None]).flatten(1)
            local = _cross([table.local for table in own])
            values = self.evaluate_members(local, member) * window[..., None]
            result.index_add_(0, index.reshape(-1), values.flatten(0, 1))
        return result.reshape(*shape, self.out_dim)

    def _sort_by_box(self, coords: Float[Tensor, " n"], axis: int) -> BoxTable:
        """Return the points of each box along an axis that has any, padded to the most of them."""
        device = self.weights[0].device
        choices = self._find_boxes(coords.to(device), axis)
        point = torch.arange(len(coords), device=device).repeat(len(choices))
        box = torch.cat([choice.box for choice in choices])
        local, window = torch.cat([each.local for each in choices]), torch.cat([each.window for each in choices])
        kept = (window > 0).nonzero()[:, 0]
        kept = kept[torch.argsort(box[kept], stable=True)]
        boxes, row, counts = torch.unique_consecutive(box[kept], return_inverse=True, return_counts=True)
        column = torch.arange(len(kept), device=device) - (torch.cumsum(counts, 0) - counts)[row]

        def pad(values: Tensor) -> Tensor:
            padded = torch.zeros(len(boxes), max(counts.tolist(), default=0), dtype=values.dtype, device=device)
            return padded.index_put((row, column), values[kept])

        dtype = self.weights[0].dtype
        return BoxTable(boxes, pad(point), pad(local.to(dtype)), pad(window.to(dtype)))

    def _find_boxes(self, coords: Float[Tensor, " n"], axis: int) -> list[BoxChoice]:
        """Return the box that each point belongs to along an axis, and the box before, whose window may be 0."""
        tiling = self.tiling
        size, count, box = tiling.shape[axis], tiling.parts[axis], tiling.box[axis]
        position = coords.double() * self._per_unit[axis] + (size - 1) / 2
        # The boxes begin at rounded multiples of the stride, so that the last one that may begin here is known.
        stride = (size - box) / max(count - 1, 1) or 1.0
        own = ((position.detach() + 0.5) / stride).floor().clamp(0, count - 1).long()
        own = (own - (tiling.find_starts(axis, own) > position.detach()).long()).clamp(min=0)
        before = (own - 1).clamp(min=0)
        start, start_before = tiling.find_starts(axis, own), tiling.find_starts(axis, before)
        # The window of the own box rises from its first sample to the last sample of the box before.
        shared = start_before + box - 1 - start
        window = torch.where(own > 0, rise((position - start) / shared), 1.0)
        middle = (box - 1) / 2
        found = [BoxChoice(count, own, (position - start - middle) * tiling.spacing, window)]
        if count > 1:
            found.append(BoxChoice(count, before, (position - start_before - middle) * tiling.spacing, 1 - window))
        return found if tiling.is_whole else [self._select_held(choice, axis) for choice in found]

    def _select_held(self, choice: BoxChoice, axis: int) -> BoxChoice:
        """Return a choice among the held boxes; the window of a point whose box is not held is 0."""
        first, held = self.tiling.first[axis], self.tiling.held[axis]
        is_held = (choice.box >= first) & (choice.box < first + held)
        box = (choice.box - first).clamp(0, held - 1)
        return BoxChoice(held, box, choice.local, torch.where(is_held, choice.window, 0.0))

    def _combine(self, choices: Sequence[BoxChoice]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the members [n], the own coordinates [n, d] and the windows [n] of points from those of each axis."""
        dtype = self.weights[0].dtype
        member, window = torch.zeros_like(choices[0].box), torch.ones_like(choices[0].window)
        for choice in choices:
            member, window = member * choice.parts + choice.box, window * choice.window
        return member, torch.stack([choice.local for choice in choices], -1).to(dtype), window.to(dtype)

    def _evaluate_gathered(self, member: Int[Tensor, " n"], local: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Compute the values of points with one member each, each with a copy of its member's weights."""
        return self.evaluate_members(local[:, None], member)[:, 0]

    def _evaluate_sorted(self, member: Int[Tensor, " n"], local: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Compute the values of points with one member each, all members at once, padded to the most of them."""
        active, inverse, counts = torch.unique(member, return_inverse=True, return_counts=True)
        order = torch.argsort(inverse, stable=True)
        first = torch.cumsum(counts, 0) - counts
        column = torch.empty_like(order)
        column[order] = torch.arange(len(order), device=order.device) - first[inverse[order]]
        padded = local.new_zeros(len(active), int(counts.max()), local.shape[-1]).index_put((inverse, column), local)
        return self.evaluate_members(padded, None if len(active) == self.tiling.count else active)[inverse, column]

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        tiling = self.tiling
        return f"{tiling.held} members of {tiling.box} samples, {sum(p[0].numel() for p in self.parameters())} weights"


def _cross(axes: Sequence[Float[Tensor, "m _"]]) -> Float[Tensor, "m n d"]:
    """Return the points of m grids in row-major order from their coordinates along each axis."""
    sizes = [axis.shape[1] for axis in axes]
    spread: list[Tensor] = []
    for index, axis in enumerate(axes):
        before, after = sizes[:index], sizes[index + 1 :]
        ones = [1] * len(before), [1] * len(after)
        spread.append(axis.reshape(len(axis), *ones[0], -1, *ones[1]).expand(-1, *sizes))
    return torch.stack(spread, -1).flatten(1, -2)


def rise(t: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return the polynomial of degree 5 from 0 at 0 to 1 at 1 whose first two derivatives are 0 at both ends."""
    t = t.clamp(0, 1)
    return t**3 * (10 + t * (6 * t - 15))


def member_seed(seed: int, index: int) -> int:
    """Return the seed of a member's draws, which does not depend on the other members."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(2))
