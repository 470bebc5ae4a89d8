"""The map between a target's world coordinates and the network's cube [-1, 1]^d."""

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
        center: the world's point that is mapped to the origin, one coordinate per axis.
        scale: the positive factor of lengths: a distance d in the world is ``d * scale`` in the cube.
    """

    center: tuple[float, ...]
    scale: float

    @classmethod
    def to_cube(cls, lower: Float[ndarray, " d"], upper: Float[ndarray, " d"], margin: float) -> Normalization:
        """Return the normalisation that centres a box in [-1, 1]^d, with its longest side ``2 * (1 - margin)`` long.

        Args:
            lower: the box's least corner, world units, shape [d].
            upper: the box's greatest corner, world units, shape [d].
            margin: the fraction of each half axis that stays free, in [0, 1).
        """
        # Halve before adding and subtracting, because the sum of two large floats may not be finite.
        half_extent = float(np.max(upper / 2 - lower / 2))
        return cls(tuple(float(c) for c in lower / 2 + upper / 2), (1 - margin) / half_extent)

    def to_unit(self, points: Float[ndarray, "*n d"]) -> Float[ndarray, "*n d"]:
        """Map world coordinates [..., d] to the network's cube."""
        return (points - np.asarray(self.center)) * self.scale

    def to_world(self, points: Float[ndarray, "*n d"]) -> Float[ndarray, "*n d"]:
        """Map coordinates [..., d] in the network's cube to the world."""
        return points / self.scale + np.asarray(self.center)
