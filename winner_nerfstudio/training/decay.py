"""The decay of the learning rate over a run."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FINAL_FACTOR = 0.02
"""Ratio of the last learning rate to the first."""
MUON_FINAL_FACTOR = 0.001
"""The same for Muon, whose steps are as long as the rate says to the end, however small the gradients have become."""


def cosine_decay(steps: int, final: float = FINAL_FACTOR) -> Callable[[int], float]:
    """Return a function from the step to the factor of the learning rate: half a cosine from 1 down to `final`.

    The factor is 1 at step 0, `final` at step `steps` and `final` at every later step. It is a Python float, so that
    checkpoints that hold it can be loaded safely.

    Args:
        steps: number of steps until the factor reaches `final`.
        final: the last factor.
    """
    return lambda step: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def find_final_factor(optimizer: str) -> float:
    """Return the ratio of the last learning rate to the first for an optimiser by its name."""
    return MUON_FINAL_FACTOR if optimizer == "muon" else FINAL_FACTOR


def exponential_decay(gamma: float, every: int) -> Callable[[int], float]:
    """Return the function ``gamma ** (step // every)``, which multiplies the rate by `gamma` every `every` steps."""
    return lambda step: gamma ** (step // every)


@dataclass(frozen=True)
class Decay:
    """The rule by which the learning rate falls over a run, relative to the first learning rate.

    Attributes:
        course: "cosine" to `FINAL_FACTOR`, "constant", or "exponential".
        gamma: factor by which the exponential course multiplies the rate every `every` steps; None for other courses.
        every: number of steps between two multiplications by `gamma`; None for other courses.
        final: last factor of the cosine course, `FINAL_FACTOR` if None; None for other courses.
    """

    course: Literal["cosine", "constant", "exponential"] = "cosine"
    gamma: float | None = None
    every: int | None = None
    final: float | None = None

    def check(self) -> None:
        """Check that the course exists and that `gamma`, `every` and `final` suit it.

        Raises:
            ValueError: the course is unknown, or one of these does not suit it; the message is one line.
        """
        if self.course not in ("cosine", "constant", "exponential"):
            raise ValueError(f"course={self.course!r} is not one of: cosine, constant, exponential")
        if self.final is not None and not (self.course == "cosine" and 0 <= self.final <= 1):
            raise ValueError(f"final={self.final} must be from 0 to 1, and belongs to the cosine course")
        if self.course != "exponential":
            if self.gamma is not None or self.every is not None:
                raise ValueError(f"gamma and every belong to the exponential course, not to the {self.course} one")
        elif self.gamma is None or not 0 < self.gamma <= 1 or self.every is None or self.every < 1:
            raise ValueError(
                f"the exponential course needs gamma={self.gamma} above 0 and at most 1, every so many steps,"
                f" every={self.every} at least 1"
            )

    def factor(self, steps: int) -> Callable[[int], float]:
        """Return the function from the step to the factor of the learning rate, for a run of `steps` steps.

        Raises:
            ValueError: the course, `gamma` and `every` do not go together; see `check`.
        """
        self.check()
        if self.course == "cosine":
            return cosine_decay(steps, FINAL_FACTOR if self.final is None else self.final)
        return exponential_decay(self.gamma or 1.0, self.every or 1)
