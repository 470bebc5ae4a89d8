"""The solid that a level set of a volume encloses, as a function that is about a signed distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..fields.field import Field
from ..signals.normalization import Normalization
from ..signals.records import VolumeRecord

if TYPE_CHECKING:
    from jaxtyping import Float

    Values = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 1"]]
    ValueAndGradient = Callable[[Float[Tensor, "n 3"]], tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]]


class LevelSet:
    """Values less a level, negative inside, cut off at the walls of the lattice's box: nothing is known beyond.

    Divided by the slope that the target has where it crosses its own level, they are about a distance close to the
    surface, in unit-cube lengths; the surface is right however wrong that slope is.

    Args:
        record: of a volume, see `load_volume`.
        values: the volume in the network's units at points of the unit cube, [n, 1].
        value_and_gradient: the same, [n], and its gradient.
        level: in the volume's own values; the record's if left out.
    """

    def __init__(
        self, record: VolumeRecord, values: Values, value_and_gradient: ValueAndGradient, level: float | None = None
    ) -> None:
        units, lattice = record.units(), record.lattice
        self.values, self.values_and_gradients = values, value_and_gradient
        self.half, self.amplitude = lattice.half_extents, units.amplitude
        self.own_level = record.level if level is None else level
        self.level = (self.own_level - units.offset) / units.amplitude
        slope = record.slope / units.amplitude / lattice.spacing
        self.factor = (1 if record.inside == "below" else -1) / slope

    def __call__(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """About the signed distance from the surface, [n, 1]."""
        own = self.factor * (self.values(points) - self.level)
        return torch.maximum(own, self._beyond(points.to(own)).amax(-1, keepdim=True))

    def value_and_gradient(self, points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """As the call, [n], and the gradient: at the box's walls theirs, [n, 3]."""
        values, gradients = self.values_and_gradients(points)
        own, gradients = self.factor * (values - self.level), self.factor * gradients
        wall, axis = self._beyond(points.to(own)).max(-1)
        outwards = torch.nn.functional.one_hot(axis, 3) * points.to(own).sign()
        at_wall = wall > own
        return torch.where(at_wall, wall, own), torch.where(at_wall[:, None], outwards, gradients)

    def to_own(self, distance: float) -> float:
        """The volume's value at about that distance."""
        return self.own_level + self.amplitude * distance / self.factor

    def _beyond(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """How far points lie outside of the box along each axis."""
        return points.abs() - points.new_tensor(self.half)


class VolumeSolid:
    """A fitted volume as if it were a fitted signed distance, its level set at 0: what a mesh is taken from.

    The cube that its points lie in is larger than the volume's own by a sample all around, so that the box's walls lie
    within the samples, and a surface that is cut off there ends at them.

    Args:
        field: of kind "volume".
        resolution: samples per axis that the surface is to be extracted from.
        level: in the volume's own values; that of the run if left out.

    Attributes:
        normalization: from the world to that cube.
    """

    def __init__(self, field: Field, resolution: int, level: float | None = None) -> None:
        assert isinstance(field.record, VolumeRecord)
        self._solid = LevelSet(field.record, field.evaluate, field.value_and_gradient, level)
        self._half = 1 + 2 / max(resolution - 1, 1)
        own = field.normalization
        self.normalization = Normalization(own.center, own.scale / self._half)

    def evaluate(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """About the signed distance, [n, 1]."""
        return self._solid(self._half * points) / self._half

    def to_own(self, value: float) -> float:
        """The volume's value at about that distance."""
        return self._solid.to_own(self._half * value)

    def value_and_gradient(self, points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """The same, [n], and its gradient."""
        value, gradient = self._solid.value_and_gradient(self._half * points)
        return value / self._half, gradient
