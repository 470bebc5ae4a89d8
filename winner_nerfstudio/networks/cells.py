"""A bank for shapes and their colours: a network for the whole cube, and a small one in each cell near the surface."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..winner.init import siren_init_
from .bank import member_seed, rise
from .stack import Stack

if TYPE_CHECKING:
    from jaxtyping import Float, Int

MOST_CELLS = 64
"""Cells along each axis, at most."""
ROW = 64
"""Points of one member that are evaluated as one row of a batched product."""


class CellChoice(NamedTuple):
    """A cell for each of n points.

    Attributes:
        member: the indices of the cells' members, [n]; negative where a cell has none.
        local: the coordinates of the points in their cells, [n, 3], which span [-1, 1] over a cell and its overlap.
        window: the cells' windows at the points, [n].
    """

    member: Tensor
    local: Tensor
    window: Tensor


class CellBank(Stack):
    """A signed distance from a SIREN for the whole cube [-1, 1]^3 and small SIRENs in the cells near the surface.

    The cube is divided into equal cells. Those near the surface have a member, which computes the distance in units of
    half the cell's width, overlap included. The members' values are blended by windows that are a partition of unity
    over all cells and twice continuously differentiable, as in a `Bank`; the windows of cells without a member belong
    to the network for the whole cube. So the value near the surface is the members' alone, and far from it the other
    network's alone. The latter is a stack of one, whose weights optimisers treat as those of members.

    Args:
        in_dim: The coordinates per point, 3.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer of a member.
        num_layers: The number of sine layers of a member.
        parts: The cells along each axis.
        members: The number of cells that have a member; which ones is set by `set_cells`.
        overlap: How far the windows of neighbouring cells overlap, in cell widths, above 0 and at most 1/2. The default
            is that of field files which do not say it; new fits say theirs, see `specify_cells`.
        is_distance: Whether the values are lengths in the cube, which scale with the cells, or do not, as colours.
        far_dim: The width of each sine layer of the network for the whole cube.
        far_layers: The number of its sine layers.
        far_omega_0: The frequency of its sine layers from the second on. A step of training changes the values the less
            the lower it is, so that a wide network bears the learning rate of narrow ones.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The frequency of the first sine layer of a member.

    Raises:
        ValueError: A size is below 1, a frequency is not positive, or the cells are too many.
    """

    table: Int[Tensor, "p p p"]

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 24,
        num_layers: int = 4,
        *,
        parts: int,
        members: int,
        overlap: float = 0.25,
        is_distance: bool = True,
        far_dim: int = 128,
        far_layers: int = 4,
        far_omega_0: float = 10.0,
        omega_0: float = 30.0,
        first_omega_0: float = 30.0,
    ) -> None:
        if in_dim != 3:
            raise ValueError(f"in_dim={in_dim} must be 3, the coordinates of the cube in which a surface lies")
        if not (2 <= parts <= MOST_CELLS and 1 <= members <= parts**3 and 0 < overlap <= 0.5):
            raise ValueError(
                f"parts={parts} must be 2 to {MOST_CELLS}, members={members} 1 to the number of cells and"
                f" overlap={overlap} above 0 and at most 0.5"
            )
        frequencies = {"omega_0": omega_0, "first_omega_0": first_omega_0}
        super().__init__(members, in_dim, out_dim, hidden_dim, num_layers, **frequencies)
        self.parts, self.overlap, self.is_distance = parts, overlap, is_distance
        self.far = Stack(1, in_dim, out_dim, far_dim, far_layers, omega_0=far_omega_0)
        table = torch.full((parts,) * 3, -1, dtype=torch.int32)
        table.view(-1)[:members] = torch.arange(members, dtype=torch.int32)
        self.register_buffer("table", table)
        if not self.weights[0].is_meta:
            seed = int(torch.randint(2**62, (), device="cpu"))
            siren_init_(self.far.members, seed=seed)
            siren_init_(self.members, seed=member_seed(seed, 0))

    @property
    def half_width(self) -> float:
        """Half the width of a cell with its overlap, the unit of its own coordinates and distances."""
        return (1 + self.overlap) / self.parts

    @property
    def unit(self) -> float:
        """The unit of the members' values: half a cell's width for a distance, else 1."""
        return self.half_width if self.is_distance else 1.0

    @property
    def cells(self) -> Int[Tensor, "m 3"]:
        """The members' cells, as indices along each axis, in row-major order."""
        return (self.table >= 0).nonzero()

    @property
    def centers(self) -> Float[Tensor, "m 3"]:
        """The middles of the members' cells."""
        return (self.cells + 0.5) * (2 / self.parts) - 1

    def set_cells(self, cells: Int[Tensor, "m 3"]) -> None:
        """Set which cells have a member; as many as there are members."""
        self.table.fill_(-1)
        near = torch.zeros(self.table.shape, dtype=torch.bool, device=self.table.device)
        near[tuple(cells.to(near.device).T)] = True
        self.table[near] = torch.arange(self.count, dtype=self.table.dtype, device=near.device)

    def forward(self, coords: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n c"]:
        """Compute the values, a distance in the lengths of the cube."""
        points = coords.reshape(-1, 3)
        choices = self.find_cells(points)
        if torch.compiler.is_exporting():  # a graph has no sorting by members: every point gets its own weights
            return self._blend_all(points, choices).reshape(*coords.shape[:-1], self.out_dim)
        point, choice = select_members(choices)
        # Not a tensor of zeros, because the result of no points must have a graph too.
        result, covered = (0.0 * points[:, :1]).expand(-1, self.out_dim), torch.zeros_like(points[:, 0])
        if len(point):
            values = self.unit * self._evaluate_sorted(choice.member, choice.local)
            result = result.index_add(0, point, choice.window[:, None] * values)
            covered = covered.index_add(0, point, choice.window)
        rest = (covered.detach() < 1 - 1e-6).nonzero()[:, 0]
        if len(rest):
            result = result.index_add(0, rest, (1 - covered[rest, None]) * self.evaluate_far(points[rest]))
        return result.reshape(*coords.shape[:-1], self.out_dim)

    def evaluate_far(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        """Compute the values of the network for the whole cube."""
        return self.far.evaluate_members(points[None])[0]

    def find_cells(self, points: Float[Tensor, "n 3"]) -> list[CellChoice]:
        """Return the eight cells whose windows may be above 0 at each point: its own and the nearest neighbours."""
        position = (points + 1) * (self.parts / 2)
        # A point that is no number is in some cell too, whose values it makes no numbers.
        own = position.detach().nan_to_num().floor().clamp(0, self.parts - 1)
        within = position - own
        is_low = within.detach() < 0.5
        beside = torch.where(is_low, own - 1, own + 1)
        to_border = torch.where(is_low, within, 1 - within)
        has_beside = (beside >= 0) & (beside < self.parts)
        window = torch.where(has_beside, rise(to_border / self.overlap + 0.5), 1.0)
        beside = torch.where(has_beside, beside, own)
        choices = []
        for picks in product((False, True), repeat=3):
            pick = torch.tensor(picks, device=points.device)
            cell = torch.where(pick, beside, own)
            index = (cell.long() * cell.new_tensor([self.parts**2, self.parts, 1]).long()).sum(-1)
            local = ((position - cell) * 2 - 1) / (1 + self.overlap)
            # A file may hold anything.
            member = self.table.reshape(-1)[index].long().clamp(max=self.count - 1)
            choices.append(CellChoice(member, local, torch.where(pick, 1 - window, window).prod(-1)))
        return choices

    def _evaluate_sorted(self, member: Int[Tensor, " k"], local: Float[Tensor, "k 3"]) -> Float[Tensor, "k c"]:
        """Compute the values of points with one member each, in rows of at most `ROW` points of the same member."""
        order = torch.argsort(member, stable=True)
        active, counts = torch.unique_consecutive(member[order], return_counts=True)
        rows = -(-counts // ROW)
        within = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        row = (rows.cumsum(0) - rows).repeat_interleave(counts) + within // ROW
        padded = local.new_zeros(int(rows.sum()), ROW, 3).index_put((row, within % ROW), local[order])
        values = self.evaluate_members(padded, active.repeat_interleave(rows))[row, within % ROW]
        return torch.empty_like(values).index_put((order,), values)

    def _blend_all(self, points: Float[Tensor, "n 3"], choices: list[CellChoice]) -> Float[Tensor, "n c"]:
        """Compute all eight cells' values at every point, each point with copies of its members' weights."""
        result = covered = 0.0 * points[:, :1]
        for choice in choices:
            window = torch.where(choice.member >= 0, choice.window, 0.0)[:, None]
            values = self.evaluate_members(choice.local[:, None], choice.member.clamp(min=0))[:, 0]
            result, covered = result + window * self.unit * values, covered + window
        return result + (1 - covered) * self.evaluate_far(points)

    def extra_repr(self) -> str:
        """Return what ``print(network)`` shows in the brackets."""
        return f"{self.count} members in {self.parts}^3 cells"


def select_members(choices: list[CellChoice]) -> tuple[Int[Tensor, " k"], CellChoice]:
    """Return the points in cells that have a member and a window above 0 there, once per cell, and the cells."""
    point, kept = [], []
    for choice in choices:
        rows = ((choice.member >= 0) & (choice.window.detach() > 0)).nonzero()[:, 0]
        point.append(rows)
        kept.append(CellChoice(*(values[rows] for values in choice)))
    return torch.cat(point), CellChoice(*(torch.cat(values) for values in zip(*kept, strict=True)))
