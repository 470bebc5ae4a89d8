"""Training of a `Bank`: its initialisation part by part, its batches, and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..fields import Field
from ..networks import Bank
from ..networks.bank import member_seed
from ..signals.grid import Grid
from ..winner import Initialization, siren_init_, winner_init_
from .loss import SquareLoss
from .options import NetworkOptions
from .sampling import EVALUATION_STREAM, Batch, Passes, build_generator

if TYPE_CHECKING:
    from jaxtyping import Float


class BankInitialization(NamedTuple):
    """The initialisation of a bank.

    Attributes:
        members: the initialisation of each member.
    """

    members: tuple[Initialization, ...]

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
        return f"{len(self.members):,} parts, {psi}schedule={self.schedule}, s0={s0}, s1={s1}"


def initialize_bank_(bank: Bank, signal: Grid[Any], options: NetworkOptions, seed: int) -> BankInitialization | None:
    """Initialise each member for its own part of a signal, in place, from a random stream of its own.

    A member is the network that `winner_init_` makes of a `Siren` for the part's samples.

    Returns:
        The initialisation, or None if the options ask for no noise.

    Raises:
        ValueError: the schedule has no rule for such a signal.
    """
    noise, values, members = options.noise, torch.from_numpy(signal.values), []
    for index in range(bank.tiling.count):
        member, stream = bank.member(index), member_seed(seed, index)
        if not options.has_noise:
            siren_init_(member, seed=stream)
        elif noise.s0 is not None:
            members.append(
                winner_init_(member, s0=noise.s0, s1=noise.s1, hidden_biases=noise.hidden_biases, seed=stream)
            )
        else:
            part = bank.tiling.cut(values, [index]).reshape(*bank.tiling.box, signal.channels)
            members.append(
                winner_init_(member, target=part, schedule=noise.rule(), hidden_biases=noise.hidden_biases, seed=stream)
            )
    return BankInitialization(tuple(members)) if members else None


class PartSampler:
    """A sampler that serves each member of a bank samples of its own part, as many to each member.

    All samples of all parts are kept on the device; samples that two parts share are kept twice. Each sample of a part
    is served once per pass, in a new order each pass, which is the same for all parts.

    A batch has ``coords`` [m, n, d] in each part's own coordinates, ``values`` [m, n, c], and where some samples are
    held out ``fitted`` [m, n, 1], 1 for those that are fitted and 0 for the others.

    Args:
        signal: signal whose samples are served.
        bank: bank that is trained.
        device: device of the samples and the batches.
        seed: seed of the order.
        batch_size: greatest number of samples per step and part.
    """

    def __init__(self, signal: Grid[Any], bank: Bank, device: torch.device, seed: int, batch_size: int) -> None:
        self.seed, self.device, tiling = seed, device, bank.tiling
        self._values = tiling.cut(torch.from_numpy(signal.values)).to(device)
        self._coords = tiling.local_coords().to(device)
        self._fitted: Tensor | None = None
        if signal.fitted is not None:
            fitted = torch.zeros(signal.lattice.count)
            fitted[torch.from_numpy(signal.fitted)] = 1
            self._fitted = tiling.cut(fitted.reshape(*signal.lattice.shape, 1)).to(device)
        self.count = len(self._coords)
        self._passes = Passes(self.count, batch_size, seed, device)
        self.steps_per_pass = self._passes.steps
        self.batch_size = tiling.count * -(-self.count // self.steps_per_pass)

    def start(self) -> None:
        """Do nothing: the samples are there."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        return self._gather(self._passes.select(step))

    def evaluation(self) -> Batch:
        """Return samples of each part, always the same."""
        order = torch.randperm(self.count, generator=build_generator(self.seed, EVALUATION_STREAM))
        return self._gather(order[: self.count // self.steps_per_pass].to(self.device))

    def _gather(self, rows: Tensor) -> Batch:
        """Return a batch of all members: the same rows of each."""
        batch = {"coords": self._coords[rows].expand(len(self._values), -1, -1), "values": self._values[:, rows]}
        return batch if self._fitted is None else batch | {"fitted": self._fitted[:, rows]}


class PartLoss(SquareLoss):
    """The mean square error of each member at the samples of its own part, where no window blends it with others.

    The loss is the mean over the members, but each member's weights get the gradient of its own mean, whatever their
    number. Otherwise Adam's epsilon would slow down the members of a large bank.
    """

    def outputs(self, field: Field, coords: Float[Tensor, "m n d"]) -> dict[str, Tensor]:
        """Return the members' ``values`` [m, n, c] at their own coordinates."""
        assert isinstance(field.network, Bank)
        return {"values": _ScaledGradient.apply(field.network.evaluate_members(coords), len(coords))}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the only term, the mean square error ``mse`` of the samples that are fitted."""
        if "fitted" not in batch:
            return super().terms(outputs, batch)
        square = batch["fitted"] * (outputs["values"] - batch["values"]) ** 2
        return {"mse": square.sum() / (batch["fitted"].sum().clamp(min=1) * square.shape[-1])}


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(context: Any, values: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.factor, None
