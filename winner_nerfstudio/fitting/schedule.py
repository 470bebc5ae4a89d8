"""How the learning rate falls."""

import math
from collections.abc import Callable

FINAL_FACTOR = 0.02
"""The last learning rate as a part of the first."""


def cosine_decay(steps: int, final: float = FINAL_FACTOR) -> Callable[[int], float]:
    """Half a cosine from 1 at step 0 to `final` at step `steps`, and that from there on; Python floats throughout."""
    return lambda step: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
