"""The way from a target's values to the network's, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Units:
    """The way from a signal's own units to the network's: ``own = unit * amplitude + offset``."""

    offset: float
    amplitude: float

    @classmethod
    def spanning(cls, low: float, high: float) -> Units:
        """Those that map [low, high] to [-1, 1]; a constant goes to 0."""
        # Halved first: the sum and the difference of two large floats may not be finite.
        return cls(float(low / 2 + high / 2), float(high / 2 - low / 2) or 1.0)

    def to_unit(self, values: ndarray) -> Float[ndarray, ...]:
        """Own values to the network's, float32; computed in the values' own precision, at least that."""
        wide = values.astype(np.result_type(values.dtype, np.float32))
        wide -= self.offset
        wide /= self.amplitude
        return wide.astype(np.float32, copy=False)

    def to_own(self, values: ndarray) -> Float[ndarray, ...]:
        """The network's values to own ones, in double precision."""
        return values.astype(np.float64) * self.amplitude + self.offset
