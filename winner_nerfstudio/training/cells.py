"""Training of a `CellBank`: its cells, its initialisation cell by cell, its batches and its loss."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..fields import Field
from ..networks import CellBank
from ..networks.bank import member_seed
from ..networks.cells import OVERLAP, select_members
from ..signals.errors import SignalError
from ..winner import Initialization, siren_init_, winner_init_
from .bank import BankInitialization, Mean, PartError
from .loss import ALONE, DistanceLoss, Loss
from .options import BatchOptions, DistanceOptions, NetworkOptions
from .sampling import EVALUATION_STREAM, Batch, build_generator
from .share import Share

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy import ndarray

    from ..signals.shape import Shape
    from ..signals.signal import Signal
    from ..winner.sines import SineNetwork

MOST_MEMBERS = 512
"""Cells with a network, about, at most, if their number is chosen; the time of a fit grows with it."""
CELL_POINTS = 128
"""Points of each cell per training step."""
POOL = 2048
"""Points that are drawn for each cell, about; the batches are taken from them."""
FILL = 0.2
"""Fraction of these that fill the cells uniformly."""
REACH = 0.01
"""A cell that is at most so far from the surface is fitted by a network of its own, unit-cube lengths."""
BLOCK = 1 << 16
"""Points whose cells are found at a time, which bounds the memory."""
PROBES = 4
"""Points along each axis of a cell at which its distance from the surface is measured."""
SAMPLES = 8
"""Samples along each axis of a cell from which the noise of its network is computed."""


def find_mesh(signal: Signal) -> Shape:
    """Return the signal as a shape given by a mesh.

    Raises:
        SignalError: it is none, or has colours, and so is not divided into cells.
    """
    from ..signals.shape import Shape

    if not isinstance(signal, Shape):
        raise SignalError(f"{signal.name}: of shapes only meshes are divided into parts; leave parts out")
    if signal.colors is not None:
        raise SignalError(
            f"{signal.name}: shapes with colours are not divided into parts; leave parts out, or the colours by"
            " colour off"
        )
    return signal


def choose_cells(shape: Shape, most: int) -> int:
    """Return the number of cells along each axis of a shape whose user has not said it.

    It is `most`, or less where the surface is so large that more than `MOST_MEMBERS` cells would have a network.
    """
    parts = most
    while (count := len(find_near_cells(shape, parts, OVERLAP))) > MOST_MEMBERS and parts > 2:
        # The cells grow about with the square.
        parts = max(2, min(parts - 1, round(parts * sqrt(MOST_MEMBERS / count))))
    return parts


def specify_cells(shape: Shape, options: NetworkOptions) -> tuple[dict[str, object], Int[ndarray, "m 3"]]:
    """Return the arguments of a `CellBank` for a shape, see `build_network`, and the cells that have a member."""
    assert options.parts != "auto"
    parts = options.parts[0]
    cells = find_near_cells(shape, parts, OVERLAP)
    return options.specification(3, 1) | {"name": "cells", "parts": parts, "members": len(cells)}, cells


def find_near_cells(shape: Shape, parts: int, overlap: float) -> Int[ndarray, "m 3"]:
    """Return the cells of a grid over the cube that the surface passes through or comes close to, overlap included.

    Args:
        shape: the shape.
        parts: the cells along each axis.
        overlap: how far cells overlap, in cell widths.
    """
    width = 2 / parts
    reach = REACH + shape.level + sqrt(3) / 2 * (1 + overlap) * width
    cells = np.stack(np.meshgrid(*[np.arange(parts)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = cells[shape.distance((cells + 0.5) * width - 1) < reach]
    # Points so close to each other that no part of a cell is farther from one than half the diagonal between them.
    offset = (np.stack(np.meshgrid(*[np.arange(PROBES)] * 3, indexing="ij"), -1).reshape(-1, 3) + 0.5) / PROBES - 0.5
    step = (1 + overlap) * width
    probes = ((cells[:, None] + 0.5) * width - 1 + offset * step).reshape(-1, 3)
    near = shape.distance(probes) < REACH + shape.level + sqrt(3) / 2 * step / PROBES
    return cells[near.reshape(len(cells), -1).any(-1)]


def initialize_cells_(bank: CellBank, shape: Shape, options: NetworkOptions, seed: int) -> BankInitialization | None:
    """Initialise each member for the distance in its own cell, and the network for the whole cube, in place.

    Each has a random stream of its own, so that it does not depend on the others.

    Returns:
        The members' initialisation, or None if the options ask for no noise.
    """
    noise = options.noise

    def initialize(network: SineNetwork, stream: int, **target: Any) -> Initialization | None:
        if not options.has_noise:
            siren_init_(network, seed=stream)
            return None
        by_hand = {"s0": noise.s0, "s1": noise.s1}
        scales = {"schedule": noise.rule(lowers=True), **target} if noise.s0 is None else by_hand
        return winner_init_(network, hidden_biases=noise.hidden_biases, seed=stream, **scales)

    initialize(bank.far.member(0), seed, centroid=shape.centroid, dim=3, channels=1, axes=shape.axes)
    targets = measure_cells(bank, shape) if options.has_noise and noise.s0 is None else [None] * bank.count
    members = [
        initialize(bank.member(index), member_seed(seed, index), target=target) for index, target in enumerate(targets)
    ]
    return BankInitialization(tuple(filter(None, members))) if options.has_noise else None


def measure_cells(bank: CellBank, shape: Shape) -> Float[Tensor, "m x y z 1"]:
    """Return the distance at `SAMPLES`^3 samples of each cell, in the cell's own unit."""
    axis = np.linspace(-1, 1, SAMPLES)
    local = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(1, -1, 3)
    points = bank.centers.cpu().numpy()[:, None] + bank.half_width * local
    values = shape.signed_distance(points.reshape(-1, 3)) / bank.half_width
    return torch.from_numpy(values.astype(np.float32)).reshape(bank.count, SAMPLES, SAMPLES, SAMPLES, 1)


class CellSampler:
    """A sampler that serves each member of a `CellBank` points of its own cell, and the whole cube's network others.

    All points come from a pool that is drawn once: a part of it fills the cells uniformly, the others lie as the
    shape's mix says, some of those near the surface as far from it as neighbouring cells from each other. The whole
    cube's network gets those of them for which it has a part in the value.

    A batch has ``coords`` [m, n, 3] in each member's own coordinates with ``values`` [m, n, 1] in its own unit, and
    ``far_coords`` [k, 3] and ``far_values`` [k, 1] of the cube.

    Args:
        shape: shape whose points are served.
        bank: bank that is trained.
        device: device of the batches.
        seed: seed of the points and their order.
        batches: the points per step of the whole cube's network.
    """

    def __init__(self, shape: Shape, bank: CellBank, device: torch.device, seed: int, batches: BatchOptions) -> None:
        self.shape, self.bank, self.device, self.seed = shape, bank, device, seed
        self._far_points = batches.points
        self.batch_size = bank.count * CELL_POINTS + self._far_points

    def start(self) -> None:
        """Draw the points."""
        _ = self._pool

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        pool, generator = self._pool, build_generator(self.seed, step)
        index = [self._choose(generator, len(pool.counts), CELL_POINTS) * pool.counts[:, None]]
        index += [self._choose(generator, self._far_points) * len(pool.far["coords"])]
        own, far = pool.first[:, None] + index[0].long(), index[1].long()
        return {name: values[own] for name, values in pool.own.items()} | {
            f"far_{name}": values[far] for name, values in pool.far.items()
        }

    def evaluation(self) -> Batch:
        """Return points that are always the same."""
        return self.batch(EVALUATION_STREAM)

    def _choose(self, generator: torch.Generator, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64).to(self.device)

    @cached_property
    def _pool(self) -> Pool:
        """The points of all batches."""
        drawn, bank = self._draw(np.random.default_rng(self.seed)), self.bank
        coords, distance = (torch.from_numpy(drawn[name]).to(bank.table.device) for name in ("coords", "values"))
        found = []
        for first in range(0, len(coords), BLOCK):
            point, choice = select_members(bank.find_cells(coords[first : first + BLOCK]))
            found.append((point + first, *choice))
        point, member, local, window = (torch.cat(each) for each in zip(*found, strict=True))
        order = torch.argsort(member, stable=True)
        own = {"coords": local[order], "values": distance[point[order]] / bank.half_width}
        rest = torch.zeros_like(coords[:, 0]).index_add(0, point, window) < 1 - 1e-6
        rest |= ~rest.any()  # where every cell has a member
        far = {"coords": coords[rest], "values": distance[rest]}
        counts = torch.bincount(member, minlength=bank.count)
        own, far = ({name: values.to(self.device) for name, values in each.items()} for each in (own, far))
        return Pool((counts.cumsum(0) - counts).to(self.device), counts.to(self.device), own, far)

    def _draw(self, rng: np.random.Generator) -> dict[str, Float[ndarray, "n k"]]:
        """Return coordinates in the cube and signed distances there, see `Shape.draw`."""
        from ..signals.shape.sampling import draw_samples

        shape, bank, mix = self.shape, self.bank, self.shape.mix
        centers = bank.centers.cpu().numpy()
        fill = round(POOL * FILL) * len(centers)
        within = rng.uniform(-bank.half_width, bank.half_width, (fill, 3))
        filling = (np.resize(centers, (fill, 3)) + within).clip(-1, 1)
        mix = replace(mix, near_sigmas=(*mix.near_sigmas, 1 / bank.parts))
        others = draw_samples(rng, POOL * len(centers) - fill, mix, shape.sample_surface, shape.signed_distance)
        values = shape.signed_distance(filling)[:, None].astype(np.float32)
        return {
            "coords": np.concatenate([filling.astype(np.float32), others["coords"]]),
            "values": np.concatenate([values, others["values"]]),
        }


class Pool(NamedTuple):
    """The points of all batches of a `CellSampler`.

    Attributes:
        first: index of each member's first point, [m].
        counts: number of each member's points, [m].
        own: ``coords`` and ``values`` of all members' points, in their own units.
        far: those of the whole cube's network.
    """

    first: Tensor
    counts: Tensor
    own: Batch
    far: Batch


class CellLoss(Loss):
    """The loss of each member at the points of its own cell, in its own unit, and of the whole cube's network.

    Both are compared as a single network is, with clamped and with full distances. No window blends the members with
    others, and each member's weights get the gradient of its own mean error, as in `PartLoss`.

    Args:
        options: weights and limits of the terms.
    """

    def __init__(self, options: DistanceOptions) -> None:
        self.options, self._far = options, DistanceLoss(options, of_cloud=False)

    def select(self, field: Field, batch: Batch, share: Share = ALONE) -> Batch:
        """Return all points of the members, and of the others those with the greatest errors."""
        far = self._far.select(_bank_of(field).evaluate_far, _get_far(batch), share)
        return batch | {f"far_{name}": values for name, values in far.items()}

    def outputs(self, field: Field, coords: Float[Tensor, "m n 3"]) -> dict[str, Tensor]:
        """Return the members' ``values`` [m, n, 1] at their own coordinates."""
        return {"values": _bank_of(field).evaluate_members(coords)}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the members' term, ``sdf_cells``."""
        return {"sdf_cells": Mean.apply(self._compute_errors(outputs["values"], batch["values"], None))}

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
        return {"sdf_cells": term} | {name: weight * value for name, value in terms.items()}

    def _compute_errors(
        self, fitted: Float[Tensor, "m n 1"], truth: Float[Tensor, "m n 1"], _: Tensor | None
    ) -> Float[Tensor, " m"]:
        limit = self.options.truncation
        near = (fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)).abs()
        return (near + self.options.far_weight * (fitted - truth).abs()).mean((1, 2))


def _bank_of(field: Field) -> CellBank:
    assert isinstance(field.network, CellBank)
    return field.network


def _get_far(batch: Batch) -> Batch:
    """Return the points of the whole cube's network."""
    return {name: batch[f"far_{name}"] for name in ("coords", "values")}
