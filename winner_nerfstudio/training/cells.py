"""Training of a `CellBank`: its cells, its initialisation cell by cell, its batches and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import product
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..fields import Field
from ..networks import CellBank
from ..networks.bank import member_seed
from ..networks.cells import select_members
from .bank import BankInitialization, Mean, PartError, compute_square_errors, initialize_member_
from .cell_targets import CellTarget
from .loss import ALONE, DistanceLoss, Function, Loss, SquareLoss
from .options import BatchOptions, DistanceOptions, NetworkOptions
from .sampling import EVALUATION_STREAM, Batch, build_generator, send
from .share import Share

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy import ndarray

    from ..signals.shape import Shape

MOST_PARTS = 16
"""Cells along each axis at most, if their number is chosen."""
MOST_MEMBERS = 512
"""Cells with a network, about, at most, if their number is chosen; the time of a fit grows with it."""
REACH = 0.01
"""A cell that is at most so far from the surface is fitted by a network of its own, unit-cube lengths."""
BLOCK = 1 << 16
"""Points whose cells are found at a time, which bounds the memory."""
PROBES = 4
"""Points along each axis of a cell at which its distance from the surface is measured."""

OVERLAP = 0.125
"""How far the windows of neighbouring cells overlap, in cell widths."""
ROUNDS = 16
"""Rounds in which the points of all batches are drawn."""
STEPS_PER_ROUND = 10
"""Steps after which another round is drawn, until all are."""


def choose_cells(shape: Shape) -> int:
    """Return the number of cells along each axis of a shape whose user has not said it.

    It is `MOST_PARTS`, or less where the surface is so large that more than `MOST_MEMBERS` cells would have a network.
    """
    parts = MOST_PARTS
    while (count := len(find_near_cells(shape, parts))) > MOST_MEMBERS and parts > 2:
        # The cells grow about with the square. Where a flat side falls between two layers of cells, both have networks,
        # so that the guess may be too low.
        parts = max(2, min(parts - 1, round(parts * sqrt(MOST_MEMBERS / count))))
    while parts < MOST_PARTS and len(find_near_cells(shape, parts + 1)) <= MOST_MEMBERS:
        parts += 1
    return parts


def specify_cells(target: CellTarget, options: NetworkOptions) -> tuple[dict[str, Any], Int[ndarray, "m 3"]]:
    """Return the arguments of a `CellBank` for a target, see `build_network`, and the cells that have a member."""
    assert options.parts != "auto"
    parts = options.parts[0]
    cells = find_near_cells(target.shape, parts)
    sizes = {"name": "cells", "parts": parts, "members": len(cells), "overlap": OVERLAP}
    return options.specification(3, 1) | sizes | dict(target.network), cells


_FOUND: WeakKeyDictionary[Shape, dict[int, Any]] = WeakKeyDictionary()
"""The results of `find_near_cells`, which the choice of the cells needs, the distance and the colours."""


def find_near_cells(shape: Shape, parts: int) -> Int[ndarray, "m 3"]:
    """Return the cells of a grid over the cube that the surface passes through or comes close to, overlap included.

    They are kept as long as the shape is.

    Args:
        shape: the shape.
        parts: the cells along each axis.
    """
    found = _FOUND.setdefault(shape, {})
    if parts not in found:
        found[parts] = _search_cells(shape, parts)
    return found[parts]


def _search_cells(shape: Shape, parts: int) -> Int[ndarray, "m 3"]:
    width = 2 / parts
    step = (1 + OVERLAP) * width
    # `PROBES`^3 points of a cell lie so close that no part of it is farther from one than half the diagonal between
    # them. They are asked for only where the distance at the middle of the cell, or of an eighth of it, leaves it open
    # whether one is near: it changes by no more than the way from one point to another.
    limit, radius = REACH + shape.level, sqrt(3) / 2 * step / PROBES
    cells = np.stack(np.meshgrid(*[np.arange(parts)] * 3, indexing="ij"), -1).reshape(-1, 3)
    corners = np.array(list(product((-1, 1), repeat=3)))
    points, cell, is_near = (cells + 0.5) * width - 1, np.arange(len(cells)), np.zeros(len(cells), bool)
    for size in (4, 2, 1):  # in distances between probes
        distance = shape.distance(points)
        is_near[cell[distance < limit + (radius if size == 1 else 0)]] = True
        is_open = (distance < limit + size * radius) & ~is_near[cell]
        points = (points[is_open, None] + size / 4 * (step / PROBES) * corners).reshape(-1, 3)
        cell = cell[is_open].repeat(len(corners))
    return cells[is_near]


def initialize_cells_(
    bank: CellBank, target: CellTarget, options: NetworkOptions, seed: int
) -> BankInitialization | None:
    """Initialise each member for the target in its own cell, and the network for the whole cube, in place.

    Each has a random stream of its own, so that it does not depend on the others.

    Returns:
        The members' initialisation, or None if the options ask for no noise.
    """
    measures = options.measures_target
    initialize_member_(bank.far.member(0), options, True, target.describe_cube() if measures else {}, seed)
    cells = target.describe_cells(bank) if measures else [{}] * bank.count
    members = [
        initialize_member_(bank.member(index), options, True, found, member_seed(seed, index))
        for index, found in enumerate(cells)
    ]
    return BankInitialization(tuple(filter(None, members))) if options.has_noise else None


class CellSampler:
    """A sampler that serves each member of a `CellBank` points of its own cell, and the whole cube's network others.

    Points are drawn in `ROUNDS` rounds, each with a random stream of its own: the first before the first step, another
    every `STEPS_PER_ROUND` steps. A step's points are taken from all rounds until then. A part of a round fills the
    cells uniformly, its other points are drawn as the target is. The whole cube's network gets those of them for which
    it has a part in the value.

    A batch has ``coords`` [m, n, 3] in each member's own coordinates with ``values`` [m, n, 1] in its own unit, and
    ``far_coords`` [k, 3] and ``far_values`` [k, 1] of the cube.

    Args:
        target: what is fitted.
        bank: bank that is trained.
        device: device of the batches.
        seed: seed of the points and their order.
        batches: the points per step of the whole cube's network.
    """

    def __init__(
        self, target: CellTarget, bank: CellBank, device: torch.device, seed: int, batches: BatchOptions
    ) -> None:
        self.target, self.bank, self.device, self.seed = target, bank, device, seed
        self._far_points = batches.points
        self.batch_size = bank.count * target.points + self._far_points
        self._pools: list[Pool] = []

    def start(self) -> None:
        """Draw the first round."""
        self._draw_rounds(1)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        rounds = min(step // STEPS_PER_ROUND + 1, ROUNDS)
        self._draw_rounds(rounds)
        return self._select(self._pools, rounds, step)

    def evaluation(self) -> Batch:
        """Return points that training never sees, always the same."""
        return self._evaluation

    @cached_property
    def _evaluation(self) -> Batch:
        return self._select(self._draw_round(EVALUATION_STREAM), 1, EVALUATION_STREAM)

    def _draw_rounds(self, count: int) -> None:
        """Draw what is missing of so many rounds."""
        drawn = len(self._pools[0].counts) if self._pools else 0
        if drawn < count:
            new = [self._draw_round(index) for index in range(drawn, count)]
            joined = [self._pools, *new] if self._pools else new
            self._pools = [Pool.join(pools) for pools in zip(*joined, strict=True)]

    def _select(self, pools: Sequence[Pool], rounds: int, stream: int) -> Batch:
        """Return points of the members and of the whole cube's network from the first rounds of their pools."""
        generator, (own, far) = build_generator(self.seed, stream), pools
        batch = own.select(generator, rounds, self.target.points)
        far_batch = far.select(generator, rounds, self._far_points)
        return batch | {f"far_{name}": values[0] for name, values in far_batch.items()}

    def _draw_round(self, index: int) -> list[Pool]:
        """Draw the members' points of a round, and those of the whole cube's network, the same for each index."""
        drawn, bank = self._draw(np.random.default_rng([self.seed, index])), self.bank
        coords, values = (torch.from_numpy(drawn[name]).to(bank.table.device) for name in ("coords", "values"))
        found = []
        for first in range(0, len(coords), BLOCK):
            point, choice = select_members(bank.find_cells(coords[first : first + BLOCK]))
            found.append((point + first, *choice))
        point, member, local, window = (torch.cat(each) for each in zip(*found, strict=True))
        order = torch.argsort(member, stable=True)
        own = {"coords": local[order], "values": values[point[order]] / bank.unit}
        rest = torch.zeros_like(coords[:, 0]).index_add(0, point, window) < 1 - 1e-6
        rest |= ~rest.any()  # where every cell has a member
        far = {"coords": coords[rest], "values": values[rest]}
        counts = torch.bincount(member, minlength=bank.count), rest.sum()[None]
        return [Pool(count[None], points).to(self.device) for count, points in zip(counts, (own, far), strict=True)]

    def _draw(self, rng: np.random.Generator) -> dict[str, Float[ndarray, "n k"]]:
        """Return coordinates in the cube and the target's values there, of a round."""
        bank, target = self.bank, self.target
        centers, points = bank.centers.cpu().numpy(), target.pool / ROUNDS
        fill = max(1, round(points * target.fill)) * len(centers)
        within = rng.uniform(-bank.half_width, bank.half_width, (fill, 3))
        filling = (np.resize(centers, (fill, 3)) + within).clip(-1, 1)
        others = target.draw(rng, max(0, round(points) * len(centers) - fill), 1 / bank.parts)
        return {
            "coords": np.concatenate([filling.astype(np.float32), others["coords"]]),
            "values": np.concatenate([target.at(filling), others["values"]]),
        }


class Pool(NamedTuple):
    """The points of r rounds, of m networks.

    Attributes:
        counts: number of the points of each network in each round, [r, m].
        points: ``coords`` and ``values`` of all points, by rounds and in each by networks.
    """

    counts: Tensor
    points: Batch

    def to(self, device: torch.device) -> Pool:
        """Return the pool on a device."""
        return Pool(self.counts.to(device), {name: values.to(device) for name, values in self.points.items()})

    @classmethod
    def join(cls, pools: Sequence[Pool]) -> Pool:
        """Return the rounds of pools, one after the other."""
        points = {name: torch.cat([pool.points[name] for pool in pools]) for name in pools[0].points}
        return cls(torch.cat([pool.counts for pool in pools]), points)

    def select(self, generator: torch.Generator, rounds: int, count: int) -> Batch:
        """Return so many random points of each network from the first rounds, [m, n, ...]."""
        first = (self.counts.flatten().cumsum(0) - self.counts.flatten()).reshape(self.counts.shape)
        networks = torch.arange(self.counts.shape[1], device=first.device)[:, None]
        turn = torch.rand(len(networks), count, generator=generator, dtype=torch.float64)
        turn = send(turn, first.device) * rounds
        chosen = turn.long()
        index = first[chosen, networks] + ((turn - chosen) * self.counts[chosen, networks]).long()
        # Torch takes a tenth of the time for a list of rows that it takes for a table of indices.
        rows, shape = index.flatten(), index.shape
        return {name: values.index_select(0, rows).unflatten(0, shape) for name, values in self.points.items()}


class CellLoss(Loss):
    """The loss of each member at the points of its own cell, in its own unit, and of the whole cube's network.

    No window blends the members with others, and each member's weights get the gradient of its own mean error, as in
    `PartLoss`.

    Args:
        name: name of the members' term.
        compute_errors: function from the members' values and the target's, and None, to each member's mean error.
        far: the loss of the whole cube's network.
    """

    def __init__(
        self,
        name: str,
        compute_errors: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        far: DistanceLoss | SquareLoss,
    ) -> None:
        self._name, self._compute_errors, self._far = name, compute_errors, far

    def select(self, field: Function, batch: Batch, share: Share = ALONE) -> Batch:
        """Return all points of the members, and of the others those that the loss of the whole cube's network uses."""
        far = self._far.select(_bank_of(field).evaluate_far, _get_far(batch), share)
        return batch | {f"far_{name}": values for name, values in far.items()}

    def outputs(self, field: Field, coords: Float[Tensor, "m n 3"]) -> dict[str, Tensor]:
        """Return the members' ``values`` [m, n, c] at their own coordinates."""
        return {"values": _bank_of(field).evaluate_members(coords)}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the members' term."""
        return {self._name: Mean.apply(self._compute_errors(outputs["values"], batch["values"], None))}

    def training_terms(self, field: Field, batch: Batch) -> dict[str, Tensor]:
        """Return the members' term, and those of the whole cube's network."""
        return self.share_terms(field, batch, ALONE)

    def share_terms(self, field: Field, batch: Batch, share: Share) -> dict[str, Tensor]:
        """Return a process's share of the terms, of the members' that of its own members; see `Loss.share_terms`."""
        bank = _bank_of(field)
        members = range(bank.count)[share.rows(bank.count)]
        own = {name: batch[name] for name in ("coords", "values")}
        term = PartError.apply(self._compute_errors, bank, own, members, *bank.weights, *bank.biases)
        far, weight = share.split(_get_far(batch))
        terms = self._far.terms(self._far.outputs(bank.evaluate_far, far["coords"]), far)
        return {self._name: term} | {name: weight * value for name, value in terms.items()}


class DistanceCellLoss(CellLoss):
    """The loss of a distance in cells: of clamped and of full distances, as that of a single network.

    Args:
        options: weights and limits of the terms.
    """

    def __init__(self, options: DistanceOptions) -> None:
        self._options = options
        super().__init__("sdf_cells", self._compute_distance_errors, DistanceLoss(options, of_cloud=False))

    def _compute_distance_errors(
        self, fitted: Float[Tensor, "m n 1"], truth: Float[Tensor, "m n 1"], _: Tensor | None
    ) -> Float[Tensor, " m"]:
        limit = self._options.truncation
        near = (fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)).abs()
        return (near + self._options.far_weight * (fitted - truth).abs()).mean((1, 2))


class ColorCellLoss(CellLoss):
    """The mean square error of colours in cells."""

    def __init__(self) -> None:
        super().__init__("mse_cells", compute_square_errors, SquareLoss())


def _bank_of(field: Function) -> CellBank:
    assert isinstance(field, Field)
    assert isinstance(field.network, CellBank)
    return field.network


def _get_far(batch: Batch) -> Batch:
    """Return the points of the whole cube's network."""
    return {name: batch[f"far_{name}"] for name in ("coords", "values")}
