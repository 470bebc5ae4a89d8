"""The sampler of networks that are trained beside each other: as many samples, in the same order, to each of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .sampling import EVALUATION_STREAM, Batch, Passes, build_generator

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


class Samples(NamedTuple):
    """The samples of m members, or the points half-way between them.

    Attributes:
        coords: their coordinates, the same for every member, [n, d].
        values: each member's values at them, [m, n, c].
        fitted: 1 for those that are fitted and 0 for the others, [m, n, 1]; None if all are.
    """

    coords: Float[Tensor, "n d"]
    values: Float[Tensor, "m n c"]
    fitted: Float[Tensor, "m n 1"] | None


class StackSampler:
    """A sampler that serves each member of a stack samples of its own.

    All samples of all members are kept on the device. Each is served once per pass, in a new order each pass, which is
    the same for all members.

    A share of the steps fits the target half-way between its samples, where it is interpolated, see
    `interpolate_half_way`. Of many small networks each would otherwise be exact on its samples and oscillate between
    them. Such steps take turns in being half-way along one axis, along two and so on.

    A batch has ``coords`` [m, n, d], ``values`` [m, n, c], and where some samples are not fitted ``fitted`` [m, n, 1],
    1 for those that are fitted and 0 for the others. Where some members are not to be trained, ``constant`` [m] is true
    for these; it is always on the CPU.

    Args:
        cut: function that returns the points that are half-way between samples along some axes, the samples themselves
            where it is along none.
        shape: the samples of the whole signal along each axis.
        device: device of the samples and the batches.
        seed: seed of the order.
        points: the greatest number of samples per step and member.
        share: the share of the steps between the samples.
        constant: whether each member is not to be trained, [m], on the CPU; None if all are.
    """

    def __init__(
        self,
        cut: Callable[[tuple[bool, ...]], Samples],
        shape: tuple[int, ...],
        device: torch.device,
        seed: int,
        points: int,
        share: float,
        constant: Bool[Tensor, " m"] | None = None,
    ) -> None:
        self.seed, self.device, self._share, self._constant = seed, device, share, constant
        self._samples = _Phase(cut((False,) * len(shape)), device, seed, points)
        # One phase for each way of being half-way between samples, along one axis, along two and so on.
        halves = product((False, True), repeat=len(shape)) if share else []
        whole = [count == 1 for count in shape]
        self._between = [
            _Phase(cut(half), device, seed + index, points)
            for index, half in enumerate(halves)
            if any(half) and not any(a and b for a, b in zip(half, whole, strict=True))
        ]
        self.count, self.steps_per_pass = self._samples.passes.count, self._samples.passes.steps
        self.batch_size = self._samples.members * -(-self.count // self.steps_per_pass)

    @property
    def has_work(self) -> bool:
        """Whether any member is to be trained."""
        return self._constant is None or not bool(self._constant.all())

    def start(self) -> None:
        """Do nothing: the samples are there."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        before, after = (int(count * self._share) for count in (step, step + 1))
        if after == before or not self._between:
            batch = self._samples.batch(step - before)
        else:
            turn, phase = divmod(before, len(self._between))
            batch = self._between[phase].batch(turn)
        return batch if self._constant is None else batch | {"constant": self._constant}

    def evaluation(self) -> Batch:
        """Return samples of each member, always the same."""
        order = torch.randperm(self.count, generator=build_generator(self.seed, EVALUATION_STREAM))
        return self._samples.gather(order[: self.count // self.steps_per_pass].to(self.device))


class _Phase:
    """The samples, or all points that are half-way between them along some of the axes.

    Args:
        samples: the points and the members' values there.
        device: device of the points.
        seed: seed of their order.
        batch_size: greatest number of points per step and member.
    """

    def __init__(self, samples: Samples, device: torch.device, seed: int, batch_size: int) -> None:
        self._coords, self._values = samples.coords.to(device), samples.values.to(device)
        self._fitted = None if samples.fitted is None else samples.fitted.to(device)
        self.members = len(self._values)
        self.passes = Passes(len(self._coords), batch_size, seed, device)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted among the steps of this phase."""
        return self.gather(self.passes.select(step))

    def gather(self, rows: Tensor) -> Batch:
        """Return points by their index in each member."""
        coords, values = self._coords.index_select(0, rows), self._values.index_select(1, rows)
        batch = {"coords": coords.expand(self.members, -1, -1), "values": values}
        return batch if self._fitted is None else batch | {"fitted": self._fitted.index_select(1, rows)}
