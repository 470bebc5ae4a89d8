"""The way from a target's own units to the network's cube [-1, 1]^d, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Normalization:
    """A uniform scaling about a centre: ``unit = (world - center) * scale``.

    Attributes:
        center: the point of the world that becomes the origin, one number per axis.
        scale: unit lengths per world length, positive; a distance d of the world is ``d * scale`` here.
    """

    center: tuple[float, ...]
    scale: float

    @classmethod
    def to_cube(cls, lower: Float[ndarray, " d"], upper: Float[ndarray, " d"], margin: float) -> Normalization:
        """The normalisation that centres a box in [-1, 1]^d, its longest side ``2 * (1 - margin)`` long.

        Args:
            lower: the box's least corner, world units, shape [d].
            upper: the box's greatest corner, world units, shape [d].
            margin: the part of each half axis left free, in [0, 1).
        """
        # Halved before they are added and subtracted: the sum of two large floats may not be finite.
        half_extent = float(np.max(upper / 2 - lower / 2))
        return cls(tuple(float(c) for c in lower / 2 + upper / 2), (1 - margin) / half_extent)

    def to_unit(self, points: Float[ndarray, "*n d"]) -> Float[ndarray, "*n d"]:
        """World coordinates to the network's, shape [..., d]."""
        return (points - np.asarray(self.center)) * self.scale

    def to_world(self, points: Float[ndarray, "*n d"]) -> Float[ndarray, "*n d"]:
        """The network's coordinates to the world's, shape [..., d]."""
        return points / self.scale + np.asarray(self.center)
