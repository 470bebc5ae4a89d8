"""Some members of a bank, each measured as a single network is, and a summary of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product, repeat
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..fields import Field
from ..networks import Bank, CellBank, Siren, Stack, complete_arguments
from ..networks.bank import Tiling
from ..registry import kind_named
from ..signals.errors import SignalError
from ..signals.grid import Grid
from ..training.bank import BankInitialization, describe_part, initialize_member_, lowers_frequencies
from ..training.cell_targets import CellDistance, find_cell_target
from ..training.groups import start_members
from ..training.initialize import build_field, describe_initialization, initialize_, specify_network, start
from ..training.options import NetworkOptions
from ..training.plan import Plan
from ..training.prepare import find_device
from ..winner import Axis, Initialization
from .compare import State, compare_states, round_digits, train
from .lines import SHORTEST
from .options import RANKS, Init, Study
from .targets import Target, target_of_box, target_of_cell

if TYPE_CHECKING:
    from torch import Tensor
    from typing_extensions import Self

    from ..signals.blocks import Box

MOST_PARTS = 4096
"""Parts that the summary has, at most."""
LEAST_CHANGE = 1e-3
"""A part whose standard deviation is less than this part of the greatest one's is plain; no member of it is chosen."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """The part of a target that belongs to a member.

    Attributes:
        index: The box or the cell along each axis.
        centroid: The mean over the axes of the centroids that the matched schedule goes by, see `axes_of`.
        deviation: The standard deviation of its samples.
        initialization: The initialisation of the member; None without noise.
    """

    index: tuple[int, ...]
    centroid: float
    deviation: float
    initialization: Initialization | None

    @classmethod
    def measured(
        cls, index: tuple[int, ...], values: Tensor, axes: Sequence[Axis], initialization: Initialization | None
    ) -> Self:
        """Return the part with these samples, of which the axes were measured."""
        centroid = sum(axis.centroid for axis in axes) / len(axes)
        return cls(index, centroid, float(values.std()), initialization)


def study_members(
    signal: Any, options: Study, plans: dict[Init, Plan], whole_steps: int, on_progress: Progress
) -> dict[str, Any]:
    """Measure some members of a bank, and summarise all of them.

    Args:
        signal: The target, loaded.
        options: What to measure.
        plans: How the bank of each initialisation is fitted.
        whole_steps: The training steps of a whole fit.
        on_progress: Called with what is being done.

    Raises:
        ValueError: The parts are too short, or a fit has diverged.
    """
    on_progress("measuring the parts")
    bank = (Boxes if isinstance(signal, Grid) else Cells)(signal, options, plans, on_progress)
    plan = plans[options.init[0]]
    members = {
        rank: {"rank": rank, "index": list(part.index), "centroid": round_digits(part.centroid)}
        | compare_states(bank.target(part), options, plan, whole_steps, bank.states(part))
        for rank, part in choose_parts(bank.parts).items()
    }
    summary: dict[str, Any] = {
        "count": list(bank.count),
        "total": bank.total,
        "samples": list(bank.samples),
        "index": [list(part.index) for part in bank.parts],
        "centroid": round_digits([part.centroid for part in bank.parts]),
    }
    noise = [part.initialization for part in bank.parts if part.initialization is not None]
    if noise:
        summary |= {name: round_digits([getattr(each, name) for each in noise]) for name in ("s0", "s1")}
        summary["factor"] = round_digits([np.mean(each.factors or 1.0) for each in noise])
    return {"target": {"name": signal.name, "kind": signal.kind}, "parts": summary, "members": members}


def choose_parts(parts: Sequence[Part]) -> dict[str, Part]:
    """Return the parts that are looked at by the names of `RANKS`; fewer where there are fewer parts."""
    least = LEAST_CHANGE * max(part.deviation for part in parts)
    ordered = sorted((part for part in parts if part.deviation >= least), key=lambda part: part.centroid)
    chosen: dict[str, Part] = {}
    for name, rank in RANKS.items():
        part = ordered[round(rank * (len(ordered) - 1))]
        if part not in chosen.values():
            chosen[name] = part
    return chosen


class Boxes:
    """The bank of a regularly sampled signal; only members that are looked at are built and trained.

    Args:
        signal: The target.
        options: What to measure.
        plans: How the bank of each initialisation is fitted.
        on_progress: Called with what is being done.

    Attributes:
        count: The parts along each axis.
        total: The number of all parts.
        samples: The samples of a part along each axis.
        parts: The parts, or `MOST_PARTS` of them at most, evenly spread.

    Raises:
        SignalError: The parts are too short for a spectrum, or the signal cannot be divided.
    """

    def __init__(self, signal: Grid[Any], options: Study, plans: dict[Init, Plan], on_progress: Progress) -> None:
        self._signal, self._options, self._plans, self._on_progress = signal, options, plans, on_progress
        network = _choose_network(plans)
        specification = specify_network(signal, network)[0]
        shape, parts = tuple(specification["shape"]), tuple(specification["parts"])
        self._tiling = Tiling(shape, parts, specification["overlap"])
        self.count, self.total, self.samples = self._tiling.parts, prod(self._tiling.parts), self._tiling.box
        if self.samples[-1] < SHORTEST:
            raise SignalError(
                f"{signal.name}: its parts have {self.samples[-1]} samples along the last axis, and a spectrum needs"
                f" {SHORTEST}; use fewer --parts, or --parts 1 for a single network"
            )
        self._example = self._build((0,) * len(self.count), network)[1]
        mask = signal.fitted_mask
        self.parts = [
            self._measure(index, network)
            for index in _spread(self.count)
            if mask is None or mask[self._box(index).extent].any()
        ]

    def _measure(self, index: tuple[int, ...], network: NetworkOptions) -> Part:
        box = self._box(index)
        found = describe_part(box, torch.from_numpy(self._signal.known_values[box.extent]))
        lowers = lowers_frequencies(kind_named(self._signal.kind))
        # Like all members but for their weights, which nobody reads.
        initialization = initialize_member_(self._example.member(0), network, lowers, found, 0)
        return Part.measured(index, found["target"], found["axes"], initialization)

    def _build(self, index: tuple[int, ...], network: NetworkOptions) -> tuple[Field, Bank]:
        """Build a bank that holds one member, and its field."""
        specification = complete_arguments(**specify_network(self._signal, network)[0])
        own = {"first": list(index), "held": [1] * len(index)}
        field = Field(self._signal.kind, specification | own, self._signal.normalization, self._signal.record)
        assert isinstance(field.network, Bank)
        return field, field.network

    def _box(self, index: tuple[int, ...]) -> Tiling:
        return replace(self._tiling, first=index, held=(1,) * len(index))

    def target(self, part: Part) -> Target:
        """Return a part as the target of its member."""
        return target_of_box(self._signal, self._box(part.index))

    def states(self, part: Part) -> Iterator[State]:
        """Yield a part's member by each initialisation, at its start and after training."""
        signal, seed = self._signal, self._options.seed
        for init, plan in self._plans.items():
            self._on_progress(f"{init}, part {_name(part.index)}")
            field, bank = self._build(part.index, plan.options.network)
            started = start_members(field, lambda box: crop(signal, box), plan.options, find_device(None), seed)
            record = describe_initialization(part.initialization if init == "winner" else None, plan.options.network)
            yield State(init, 0, record, build_member(bank, 0))
            if plan.steps:
                train(started, plan, init)
                yield State(init, plan.steps, record, build_member(bank, 0))


class Cells:
    """The bank of a shape, whose cells are trained together and whose number is bounded.

    Args:
        shape: The target.
        options: What to measure.
        plans: How the bank of each initialisation is fitted.
        on_progress: Called with what is being done.

    Attributes:
        count: The cells along each axis of the cube.
        total: The number of cells that have a member.
        samples: The samples of a cell along each axis from which its noise is computed.
        parts: The cells that have a member.

    Raises:
        SignalError: The shape cannot be divided.
    """

    def __init__(self, shape: Any, options: Study, plans: dict[Init, Plan], on_progress: Progress) -> None:
        target = find_cell_target(shape)
        assert isinstance(target, CellDistance)
        self._shape, self._options, self._plans, self._on_progress = shape, options, plans, on_progress
        self._bank, initialization = self._build(_choose_network(plans))
        members = repeat(None) if initialization is None else initialization.members
        cells = target.describe_cells(self._bank)
        self.parts = [
            Part.measured(tuple(cell), found["target"], found["axes"], member)
            for cell, found, member in zip(self._bank.cells.tolist(), cells, members, strict=False)
        ]
        self.count, self.total = (self._bank.parts,) * 3, self._bank.count
        self.samples = tuple(cells[0]["target"].shape[:-1])
        self._banks: dict[Init, list[CellBank]] = {}

    def _build(self, network: NetworkOptions) -> tuple[CellBank, BankInitialization | None]:
        field = build_field(self._shape, network, self._options.seed)
        initialization = initialize_(field, self._shape, network, self._options.seed)
        assert isinstance(field.network, CellBank)
        assert not isinstance(initialization, Initialization)
        return field.network, initialization

    def target(self, part: Part) -> Target:
        """Return a cell as the target of its member."""
        return target_of_cell(self._shape, self._bank, part.index)

    def states(self, part: Part) -> Iterator[State]:
        """Yield a cell's member by each initialisation, at its start and after training."""
        member = self._bank.cells.tolist().index(list(part.index))
        for init, plan in self._plans.items():
            record = describe_initialization(part.initialization if init == "winner" else None, plan.options.network)
            for steps, bank in zip((0, plan.steps), self._train(init, plan), strict=False):
                yield State(init, steps, record, build_member(bank, member))

    def _train(self, init: Init, plan: Plan) -> list[CellBank]:
        """Return the bank at its start and, if it is trained, after training; it is trained once for all members."""
        if init not in self._banks:
            self._on_progress(f"{init}, {self._bank.count:,} cells")
            self._banks[init] = [self._build(plan.options.network)[0]]
            if plan.steps:
                device = find_device(None)
                started = start(self._shape, plan.options, device, self._options.seed)
                train(started, plan, init)
                assert isinstance(started.field.network, CellBank)
                self._banks[init].append(started.field.network)
        return self._banks[init]


def build_member(stack: Stack, index: int) -> Siren:
    """Return a member of a stack as a network of its own, with a copy of its weights."""
    member = stack.member(index)
    first = member.sine_layers[0]
    sizes = (first.in_features, stack.out_dim, first.out_features, len(member.sine_layers))
    network = Siren(*sizes, omega_0=stack.omega_0, first_omega_0=stack.first_omega_0)
    linear = [module for module in network if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for module, layer in zip(linear, member.layers, strict=True):
            assert layer.bias is not None
            module.weight.copy_(layer.weight)
            module.bias.copy_(layer.bias)
    return network


def crop(signal: Grid[Any], box: Box) -> Grid[Any]:
    """Return a box of a signal's samples as a signal of its own, in the units of the whole."""
    boxed = tuple(box)
    values = signal.values[boxed]
    mask = signal.fitted_mask
    fitted = None if mask is None else np.flatnonzero(mask[boxed])
    draft = replace(signal.draft, shape=values.shape[:-1])
    missing = None if signal.missing is None else signal.missing[boxed]
    return replace(signal, values=values, draft=draft, clean=None, fitted=fitted, missing=missing)


def _choose_network(plans: dict[Init, Plan]) -> NetworkOptions:
    """Return the options of the network by which the parts are measured: WINNER's, or else the first one's."""
    return plans.get("winner", next(iter(plans.values()))).options.network


def _spread(count: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the indices of the parts, every k-th along each axis if there are more than `MOST_PARTS`."""
    every = 1
    while prod(ceil(parts / every) for parts in count) > MOST_PARTS:
        every += 1
    return product(*(range(0, parts, every) for parts in count))


def _name(index: tuple[int, ...]) -> str:
    return " ".join(map(str, index))
