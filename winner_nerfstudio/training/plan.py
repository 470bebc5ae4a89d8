"""The choice of parts, widths, batches, steps and learning rate where the user has left it to the program."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..registry import DERIVATIVE_RATES, FewParts, Kind, PartRecipe, PartSize, find_rate
from ..signals.grid import Grid
from ..winner import SCALED
from .decay import cosine_decay, find_final_factor
from .optimizers import check_optimizer
from .option_types import check_types
from .options import MOST_MEMORY, SINGLE_WIDTH, NoiseOptions, ResidentOptions

if TYPE_CHECKING:
    from ..signals.large import LargeGrid
    from ..signals.signal import Signal
    from .options import NetworkOptions
    from .prepare import FitOptions

MEDIUM = "medium"
"""The size of parts where nothing else is said."""
DENOISING_WEIGHTS, NARROWEST = 0.3, 8
"""Weights per value of a network that is to leave out its target's noise, which it could hold with many more, and the
least width of its layers; docs/denoising.md has what was measured."""
MUON_WAY, MOST_RAISED = 0.3, 2.0
"""The least product of Muon's first learning rate and the number of steps, and how many times the recipe's rate it may
lead to: a step of Muon is as long as its rate, so that few of them end on the way; docs/results.md, "Few steps"."""


@dataclass(frozen=True)
class Course:
    """How long and how fast a network is trained, as far as the user has said it.

    Attributes:
        steps: number of training steps; None if it depends on the kind and the size of the signal.
        learning_rate: learning rate at the first step; None if it depends on them as well.
        optimizer: name of the optimiser, see `build_optimizer`; None for the default.
        seed: seed of the network and the batches.
    """

    steps: int | None = None
    learning_rate: float | None = None
    optimizer: str | None = None
    seed: int = 42

    def check(self) -> Course:
        """Return the course itself, with numbers as Python's own, which torch and JSON need.

        Raises:
            ValueError: a number is out of its range or none, or there is no such optimiser; the message is one line.
        """
        course = check_types(self)
        if course.steps is not None and course.steps < 1:
            raise ValueError(f"steps={course.steps} must be a whole number, at least 1")
        if course.learning_rate is not None and not 0 < course.learning_rate < math.inf:
            raise ValueError(f"learning_rate={course.learning_rate} must be positive and finite")
        if course.optimizer is not None:
            check_optimizer(course.optimizer)
        if not 0 <= course.seed < 2**62:
            raise ValueError(f"seed={course.seed} must be a whole number, at least 0 and below 2^62")
        return course


@dataclass(frozen=True)
class Plan:
    """How a signal is fitted, with nothing left open.

    Attributes:
        options: the options of the fit.
        steps: number of training steps.
        learning_rate: learning rate at the first step.
        optimizer: name of the optimiser, see `build_optimizer`.
        seed: seed of the network and the batches.
        note: a line for the user about what else can be done, or "".
    """

    options: FitOptions
    steps: int
    learning_rate: float
    optimizer: str
    seed: int
    note: str = ""

    @property
    def decay(self) -> Callable[[int], float]:
        """The function from the step to the factor of the learning rate."""
        return cosine_decay(self.steps, find_final_factor(self.optimizer))


def make_plan(signal: Signal, options: FitOptions, course: Course) -> Plan:
    """Choose for a signal what its user has left open, see `PartRecipe`.

    Args:
        signal: the signal.
        options: the options of the fit; ``parts`` may be "auto", and ``hidden_dim``, ``num_layers``, ``batch_size``
            and ``between`` None.
        course: the steps, the learning rate and the optimiser as far as the user has said them, and the seed.
    """
    note, network, recipe = "", options.network, options.kind.recipe.parts
    if network.noise.denoise and network.hidden_dim is None and isinstance(signal, Grid):
        width = math.sqrt(DENOISING_WEIGHTS * signal.values.size / (network.depth - 1))
        network = replace(network, hidden_dim=min(max(round(width), NARROWEST), SINGLE_WIDTH))
        options = replace(options, network=network)
    if options.network.parts == "auto":
        few = _find_few(signal, network, recipe)
        if few is not None:
            network = replace(network, size=few.size)
        parts = _count_parts(signal, options.kind, network)
        if recipe is not None and recipe.num_layers is not None and parts not in (None, (1,)):
            network = replace(network, num_layers=recipe.num_layers)
        if few is not None and parts != (1,) and course.steps is None:
            course = replace(course, steps=few.steps)
        if parts is None:
            note = (
                f"note: {signal.name} is too large for many small networks in memory, so one network is fitted; for"
                " more detail fit it in groups, into a folder: winner-fit FILE --output FOLDER"
            )
        options = replace(options, network=replace(network, parts=parts or (1,)))
    if options.network.size is not None and not options.network.has_parts and not note:
        note = "note: size is that of the networks of parts; one network is fitted here, see hidden_dim and num_layers"
    if getattr(options.batches, "between", None) and not options.network.has_parts and not note:
        note = "note: between is a share of the steps of parts; one network is fitted here, at the samples alone"
    rates = DERIVATIVE_RATES if isinstance(signal, Grid) and signal.derivatives is not None else None
    plan = complete_plan(options, _shows_everything(signal), course, rates)
    return replace(plan, note=note)


def complete_plan(
    options: FitOptions, is_whole: bool, course: Course, rates: Mapping[str, float] | None = None
) -> Plan:
    """Choose what is left open once the number of parts is known.

    Args:
        options: the options of the fit, as in `make_plan`, with the number of parts.
        is_whole: whether all samples of the signal are fitted, so that they may be interpolated.
        course: as in `make_plan`.
        rates: learning rates of a single network by optimiser; those of its kind's recipe if left out.
    """
    network, batches, recipe = options.network, options.batches, options.kind.recipe
    parts = recipe.parts if network.has_parts else None
    rates = rates or recipe.rates
    size = parts.sizes[network.size or MEDIUM] if parts else PartSize(0, network.width, recipe.steps, rates)
    noise = network.noise
    if parts and network.measures_target and noise.exactness is None and noise.schedule == NoiseOptions.schedule:
        noise = replace(noise, exactness=parts.exactness)
    width = size.width if network.hidden_dim is None else network.hidden_dim
    overlap = network.shared if size.edge else network.overlap
    network = replace(network, hidden_dim=width, num_layers=network.depth, overlap=overlap, noise=noise)
    if isinstance(batches, ResidentOptions):
        points, between = (parts.batch_size, parts.between) if parts else (batches.points, 0.0)
        batches = replace(
            batches,
            batch_size=points if batches.batch_size is None else batches.batch_size,
            between=(between if is_whole else 0.0) if batches.between is None else batches.between,
        )
    default = next(iter(size.rates)) if network.network == "siren" else "adam"  # others were only tried with Adam
    optimizer = course.optimizer or default
    steps = size.steps if course.steps is None else course.steps
    rate = course.learning_rate
    if rate is None:
        rate = find_rate(size.rates, optimizer)
        if parts and optimizer == "muon":
            rate = max(rate, min(MUON_WAY / max(steps, 1), MOST_RAISED * rate))
        if parts:
            # A step changes the arguments of sines as much more as a layer is wider; docs/results.md, "Wider parts".
            rate *= min(1, size.width / width)
    return Plan(
        replace(options, network=network, batches=batches),
        steps,
        rate,
        optimizer,
        course.seed,
    )


def divide(signal: Grid[Any] | LargeGrid, recipe: PartRecipe, size: PartSize) -> tuple[int, ...]:
    """Return the number of parts of a size along each axis of a signal."""
    edge = size.edge / (signal.channels if recipe.counts_channels else 1)
    return tuple(max(1, round(count / edge)) for count in signal.lattice.shape)


def _find_few(signal: Signal, network: NetworkOptions, recipe: PartRecipe | None) -> FewParts | None:
    """Return how a signal of few parts is fitted whose user has not said their size, or None for other signals."""
    if recipe is None or network.size is not None or not isinstance(signal, Grid):
        return None
    count = signal.lattice.count
    return next((few for few in recipe.few if recipe.most < count <= few.most), None)


def _count_parts(signal: Signal, kind: Kind, network: NetworkOptions) -> tuple[int, ...] | None:
    """Return the number of parts along each axis of a signal whose user has not said so, see `Kind.count_parts`.

    Whoever sets the network's width, layers or frequencies, a published schedule or initialisation, or one for noisy
    targets, means a single network.
    """
    by_hand = (network.hidden_dim, network.num_layers, network.omega_0, network.first_omega_0, network.noise.s0)
    single = network.network != "siren" or any(value is not None for value in by_hand)
    single |= network.init in SCALED or network.noise.schedule != NoiseOptions.schedule or network.noise.denoise
    return (1,) if single else kind.count_parts(signal, network)


def count_grid_parts(signal: Grid[Any], network: NetworkOptions, recipe: PartRecipe | None) -> tuple[int, ...] | None:
    """Return the number of parts along each axis of a regularly sampled signal, see `Kind.count_parts`.

    A signal is divided if it has many samples and all of them are to be fitted as they are: many small networks would
    reproduce the noise of a noisy target, and know less of samples that are held out. Derivatives are fitted by a
    single network, because the values of each part would have a constant of their own.
    """
    if recipe is None or not _shows_everything(signal) or signal.derivatives is not None:
        return (1,)
    size = recipe.sizes[network.size or MEDIUM]
    counts = divide(signal, recipe, size)
    # What is kept for each weight, and for each sample and point half-way between samples.
    weights = math.prod(counts) * (network.depth - 1) * size.width**2
    memory = 16 * weights + 4 * 2**signal.dim * signal.lattice.count * signal.channels
    if signal.lattice.count <= recipe.most:
        return (1,)
    return None if memory > MOST_MEMORY else counts


def _shows_everything(signal: Signal) -> bool:
    """Return whether all samples of a signal are fitted, except those that hold no data, and none is known noisy."""
    return isinstance(signal, Grid) and signal.clean is None and not len(signal.held_out)
