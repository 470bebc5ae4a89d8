"""How the learning rate falls."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FINAL_FACTOR = 0.02
"""The last learning rate as a part of the first."""


def cosine_decay(steps: int, final: float = FINAL_FACTOR) -> Callable[[int], float]:
    """Half a cosine from 1 at step 0 to `final` at step `steps`, and that from there on; Python floats throughout."""
    return lambda step: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def exponential_decay(gamma: float, every: int) -> Callable[[int], float]:
    """``gamma ** (step // every)``: a factor `gamma` every so many steps."""
    return lambda step: gamma ** (step // every)


@dataclass(frozen=True)
class Decay:
    """The learning rate's course over a run, as a part of the first.

    Attributes:
        course: "cosine" to `FINAL_FACTOR`, "constant", or "exponential".
        gamma: of the exponential course: the factor that is taken every so many steps.
        every: of the exponential course: how many.
    """

    course: Literal["cosine", "constant", "exponential"] = "cosine"
    gamma: float | None = None
    every: int | None = None

    def check(self) -> None:
        """Check the course and what goes with it.

        Raises:
            ValueError: they don't go together, in one line.
        """
        if self.course not in ("cosine", "constant", "exponential"):
            raise ValueError(f"course={self.course!r} is not one of: cosine, constant, exponential")
        if self.course != "exponential":
            if self.gamma is not None or self.every is not None:
                raise ValueError(f"gamma and every belong to the exponential course, not to the {self.course} one")
        elif self.gamma is None or not 0 < self.gamma <= 1 or self.every is None or self.every < 1:
            raise ValueError(
                f"the exponential course needs gamma={self.gamma} above 0 and at most 1, every so many steps,"
                f" every={self.every} at least 1"
            )

    def factor(self, steps: int) -> Callable[[int], float]:
        """Return the function from the step to the factor, for a run of so many steps.

        Raises:
            ValueError: see `check`.
        """
        self.check()
        if self.course == "cosine":
            return cosine_decay(steps)
        return exponential_decay(self.gamma or 1.0, self.every or 1)
