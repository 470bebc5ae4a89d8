"""Training of a `Bank`: its initialisation part by part, its batches, and its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from ..fields import Field
from ..networks import Bank, Stack
from ..networks.bank import Tiling, member_seed
from ..registry import Kind
from ..signals.errors import SignalError
from ..signals.grid import Grid
from ..signals.interpolation import LANCZOS_TAPS, interpolate_half_way
from ..winner import Initialization, SineNetwork, axes_of, siren_init_, winner_init_
from .loss import Loss
from .options import BatchOptions, NetworkOptions, ResidentOptions
from .phases import Samples, StackSampler
from .sampling import Batch
from .share import Share

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


class BankInitialization(NamedTuple):
    """The initialisation of a bank.

    Attributes:
        members: the initialisation of each member that is trained, or of all if none is.
        constant: how many members are not trained, because their parts are constant, see `find_constants`.
    """

    members: tuple[Initialization, ...]
    constant: int = 0

    @property
    def centroid(self) -> float | None:
        """The mean of the parts' centroids, None where the scales were set by hand."""
        known = [member.centroid for member in self.members if member.centroid is not None]
        return sum(known) / len(known) if known else None

    @property
    def schedule(self) -> str:
        """The name of the schedule."""
        return self.members[0].schedule

    @property
    def s0(self) -> float:
        """The mean of the noise scales of the first layers."""
        return sum(member.s0 for member in self.members) / len(self.members)

    @property
    def s1(self) -> float:
        """The mean of the noise scales of the second layers."""
        return sum(member.s1 for member in self.members) / len(self.members)

    @property
    def axes(self) -> tuple[float, ...]:
        """Empty, because the scales along the axes differ from part to part."""
        return ()

    def __str__(self) -> str:
        def span(values: list[float]) -> str:
            return f"{min(values):.3g} to {max(values):.3g}" if min(values) < max(values) else f"{values[0]:.3g}"

        known = [member.centroid for member in self.members if member.centroid is not None]
        psi = f"psi={span(known)}, " if known else ""
        s0, s1 = span([member.s0 for member in self.members]), span([member.s1 for member in self.members])
        factors = [factor for member in self.members for factor in member.factors or (1.0,)]
        lowered = f", factors={span(factors)}" if min(factors) < 1 else ""
        constant = f" and {self.constant:,} constant ones" if self.constant else ""
        return f"{len(self.members):,} parts{constant}, {psi}schedule={self.schedule}, s0={s0}, s1={s1}{lowered}"


def find_constants(signal: Grid[Any], tiling: Tiling, inner: Sequence[slice]) -> dict[int, Float[ndarray, " c"]]:
    """Find the parts of a signal that need no training, because one value stands for all that is fitted there.

    It is the value of all samples of the part and of those around it from which the target between its samples is
    interpolated, or 0 for a part of which no sample is fitted.

    Args:
        signal: the signal.
        tiling: the division into parts.
        inner: the samples of the signal that the parts have.

    Returns:
        The value of each such part by its index.
    """
    known, found = signal.fitted_mask, {}
    for member, corner in enumerate(tiling.corners):
        first = [part.start + start for part, start in zip(inner, corner, strict=True)]
        box = tuple(slice(start, start + size) for start, size in zip(first, tiling.box, strict=True))
        if known is not None and not known[box].any():
            found[member] = np.zeros(signal.channels, np.float32)
            continue
        wide = tuple(slice(max(0, part.start - LANCZOS_TAPS), part.stop + LANCZOS_TAPS) for part in box)
        values = signal.values[wide].reshape(-1, signal.channels)
        if (known is None or known[wide].all()) and (values == values[0]).all():
            found[member] = values[0]
    return found


def describe_part(tiling: Tiling, part: Float[Tensor, "*axes c"]) -> dict[str, Any]:
    """Return what `winner_init_` needs to know of a part's samples, by the names of its arguments."""
    channels = part.shape[-1]
    return {"target": part, "channels": channels, "axes": axes_of(part, dim=part.ndim - 1, spans=tiling.spans)}


def lowers_frequencies(kind: Kind) -> bool:
    """Return whether SIREN's frequencies are lowered in the members of a kind's banks, see `PartRecipe`."""
    return kind.recipe.parts is None or kind.recipe.parts.lowers


def initialize_member_(
    member: SineNetwork, options: NetworkOptions, lowers: bool, found: Mapping[str, Any], seed: int
) -> Initialization | None:
    """Initialise a member of a bank, in place.

    Args:
        member: the member.
        options: the options of the network.
        lowers: whether SIREN's frequencies are lowered where they are above the target's.
        found: what is known of the member's target, by the names of `winner_init_`'s arguments; it is needed where the
            options ask for noise without naming its scales.
        seed: the seed of the member's own random stream.

    Returns:
        The initialisation, or None if the options ask for no noise.
    """
    noise = options.noise
    if not options.has_noise:
        siren_init_(member, seed=seed)
        return None
    by_hand = {"s0": noise.s0, "s1": noise.s1}
    scales = {"schedule": noise.rule(lowers), **found} if options.measures_target else by_hand
    return winner_init_(member, hidden_biases=noise.hidden_biases, seed=seed, **scales)


def initialize_bank_(
    bank: Bank, kind: Kind, signal: Grid[Any], options: NetworkOptions, seed: int, inner: Sequence[slice] = ()
) -> BankInitialization | None:
    """Initialise each member for its own part of a signal, in place, from a random stream of its own.

    A member is the network that `winner_init_` makes of a `Siren` for the part's samples, with the matched schedule's
    ``lowers`` where the kind's `PartRecipe` says so: a part is short, and SIREN's frequencies are often above those of
    its samples. Members whose part is constant get its value at once.

    Args:
        bank: the bank.
        kind: the signal's kind.
        signal: the signal.
        options: the options of the network.
        seed: the seed of the members' random streams.
        inner: where in the signal the samples of the bank's members lie, if it has others around them.

    Returns:
        The initialisation, or None if the options ask for no noise.

    Raises:
        ValueError: the schedule has no rule for such a signal.
    """
    inner = inner or signal.lattice.whole
    tiling, values = bank.tiling, torch.from_numpy(signal.known_values[tuple(inner)])
    members: list[Initialization] = []
    for index in range(tiling.count):
        part = tiling.cut(values, [index]).reshape(*tiling.box, signal.channels)
        found = describe_part(tiling, part) if options.measures_target else {}
        stream = member_seed(seed, tiling.index_of(index))
        initialization = initialize_member_(bank.member(index), options, lowers_frequencies(kind), found, stream)
        members += [] if initialization is None else [initialization]
    constants = find_constants(signal, bank.tiling, inner)
    for index, value in constants.items():
        bank.set_constant(index, torch.from_numpy(value))
    if not members:
        return None
    trained = [each for index, each in enumerate(members) if index not in constants]
    return BankInitialization(tuple(trained), len(constants)) if trained else BankInitialization(tuple(members))


class PartSampler(StackSampler):
    """A sampler that serves each member of a bank samples of its own part, as many to each member.

    Samples that two parts share are kept twice. Coordinates are each part's own.

    Args:
        signal: signal whose samples are served, or the part of it that the bank's members see.
        bank: bank that is trained.
        device: device of the samples and the batches.
        seed: seed of the order.
        batches: the greatest number of samples per step and part, and the share of the steps between samples.
        inner: where in the signal the samples of the bank's members lie, if it has others around them.

    Raises:
        SignalError: steps between the samples are asked for, and some samples are held out.
    """

    def __init__(
        self,
        signal: Grid[Any],
        bank: Bank,
        device: torch.device,
        seed: int,
        batches: BatchOptions,
        inner: Sequence[slice] = (),
    ) -> None:
        share = (batches.between or 0.0) if isinstance(batches, ResidentOptions) else 0.0
        if share and len(signal.held_out):
            raise SignalError(
                f"{signal.name}: between the samples the target is interpolated from all of them, also from those held"
                " out; leave between out"
            )
        inner = inner or signal.lattice.whole
        constant = torch.zeros(bank.count, dtype=torch.bool)
        constant[list(find_constants(signal, bank.tiling, inner))] = True
        super().__init__(
            lambda half: _cut(signal, inner, bank.tiling, half),
            bank.tiling.shape,
            device,
            seed,
            batches.points,
            share,
            constant if constant.any() else None,
        )


def _cut(signal: Grid[Any], inner: Sequence[slice], tiling: Tiling, half: tuple[bool, ...]) -> Samples:
    """Return all samples of all parts, or all points that are half-way between them along some of the axes.

    Args:
        signal: the signal.
        inner: the samples of the signal that the parts have.
        tiling: the division into parts.
        half: along which axes the points are half-way.
    """
    less = [int(each) for each in half]
    crop = tuple(slice(part.start, part.stop - gap) for part, gap in zip(inner, less, strict=True))
    values = torch.from_numpy(interpolate_half_way(signal.values, half)[crop])
    fitted: Tensor | None = None
    mask = signal.fitted_mask
    if mask is not None:
        known = _all_around(mask, half)[crop]
        fitted = tiling.cut(torch.from_numpy(known)[..., None].float(), less=less)
    return Samples(tiling.local_coords(less), tiling.cut(values, less=less), fitted)


def _all_around(known: Bool[ndarray, "*axes"], half: Sequence[bool]) -> Bool[ndarray, "*fewer"]:
    """Return where the samples on both sides of points that are half-way along some axes are known."""
    for axis, between in enumerate(half):
        if between:
            known = known.take(range(known.shape[axis] - 1), axis) & known.take(range(1, known.shape[axis]), axis)
    return known


class PartLoss(Loss):
    """The mean square error of each member at the samples of its own part, where no window blends it with others.

    The loss is the mean over the members, but each member's weights get the gradient of its own mean, whatever their
    number. Otherwise Adam's epsilon would slow down the members of a large bank, and a member would depend on how many
    others are trained beside it.
    """

    def outputs(self, field: Field, coords: Float[Tensor, "m n d"]) -> dict[str, Tensor]:
        """Return the members' ``values`` [m, n, c] at their own coordinates."""
        assert isinstance(field.network, Bank)
        return {"values": field.network.evaluate_members(coords)}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the only term, the mean square error ``mse`` of the samples that are fitted."""
        return {"mse": Mean.apply(compute_square_errors(outputs["values"], batch["values"], batch.get("fitted")))}

    def training_terms(self, field: Field, batch: Batch) -> dict[str, Tensor]:
        """Return the only term, ``mse``, computed some members at a time, so that they fit into a processor's cache."""
        bank = field.network
        assert isinstance(bank, Bank)
        members = range(len(batch["values"]))
        return {"mse": PartError.apply(compute_square_errors, bank, batch, members, *bank.parameters())}

    def share_terms(self, field: Field, batch: Batch, share: Share) -> dict[str, Tensor]:
        """Return a process's share of the term ``mse``, that of its own members; see `Loss.share_terms`."""
        bank = field.network
        assert isinstance(bank, Bank)
        members = range(len(batch["values"]))[share.rows(len(batch["values"]))]
        return {"mse": PartError.apply(compute_square_errors, bank, batch, members, *bank.parameters())}


def compute_square_errors(
    values: Float[Tensor, "m n c"], target: Float[Tensor, "m n c"], fitted: Float[Tensor, "m n 1"] | None
) -> Float[Tensor, " m"]:
    """Return the mean square error of each member at its samples, of those that are fitted if only some are."""
    square = (values - target) ** 2
    if fitted is None:
        return square.mean((1, 2))
    return (fitted * square).sum((1, 2)) / (fitted.sum((1, 2)).clamp(min=1) * square.shape[-1])


MEMBER_POINTS = {"cpu": 1 << 14, "cuda": 1 << 21}
"""About how many points pass through the members at a time in training, by device: on a CPU their values fit into its
cache, on a GPU they take about two gigabytes of memory."""


class PartError(torch.autograd.Function):
    """The mean error of a stack's members as a function of their weights, some members at a time.

    The first argument computes the members' errors, [m], as `compute_square_errors` does. Members that are constant in
    the batch have the error 0 and no gradients.

    The gradients are computed together with the values, because members do not depend on each other: the memory is that
    of some members, however many there are.
    """

    @staticmethod
    def forward(
        context: Any,
        compute_errors: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        stack: Stack,
        batch: Batch,
        members: Sequence[int],
        *parameters: Tensor,
    ) -> Tensor:
        """Return the share of some members in the mean over all, and keep the gradients, which are 0 for the others."""
        count, points = batch["values"].shape[:2]
        fitted = batch.get("fitted")
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        error = parameters[0].new_zeros(())
        if "constant" in batch:
            is_constant = batch["constant"].tolist()
            members = [member for member in members if not is_constant[member]]
        step = max(1, MEMBER_POINTS.get(error.device.type, 1 << 14) // points)
        for first in range(0, len(members), step):
            rows = list(members[first : first + step])
            # A library may round the product of a single matrix in another way than that of one among several.
            place = slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows
            some = 2 * rows if step > 1 and len(rows) == 1 else place
            own = [parameter.detach()[some].requires_grad_() for parameter in parameters]
            with torch.enable_grad():
                values = stack.evaluate_with(batch["coords"][some], own)
                errors = compute_errors(values, batch["values"][some], None if fitted is None else fitted[some])
                total = errors.sum()
            for whole, piece in zip(gradients, torch.autograd.grad(total, own), strict=True):
                whole[place] = piece[: len(rows)]
            error += errors.detach()[: len(rows)].sum() / count
        context.save_for_backward(*gradients)
        return error

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients that were kept, times that of the mean."""
        return None, None, None, None, *(gradient * each for each in context.saved_tensors)


class Mean(torch.autograd.Function):
    """The mean of numbers, each of which gets the whole gradient, as if it were alone."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        """Return the mean."""
        context.shape = values.shape
        return values.mean()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient for each number."""
        return gradient.expand(context.shape)
