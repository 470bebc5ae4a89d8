"""The map between a target's values and the network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Units:
    """The map between a target's values and the network's: ``target_value = network_value * amplitude + offset``."""

    offset: float
    amplitude: float

    @classmethod
    def spanning(cls, low: float, high: float) -> Units:
        """Return the units that map [low, high] to [-1, 1], or to 0 if both are equal."""
        # Halve first, because the sum and the difference of two large floats may not be finite.
        return cls(float(low / 2 + high / 2), float(high / 2 - low / 2) or 1.0)

    def to_unit(self, values: ndarray) -> Float[ndarray, "*axes"]:
        """Map the target's values to the network's, float32, computed in at least double precision."""
        wide = values.astype(np.result_type(values.dtype, np.float32))
        # Of float32 values numpy holds but a few as doubles at a time.
        precise = np.result_type(wide.dtype, np.float64)
        np.subtract(wide, self.offset, out=wide, dtype=precise)
        np.divide(wide, self.amplitude, out=wide, dtype=precise)
        return wide.astype(np.float32, copy=False)

    def to_own(self, values: ndarray) -> Float[ndarray, "*axes"]:
        """Map the network's values to the target's, float64."""
        return values.astype(np.float64) * self.amplitude + self.offset
