"""How much of a run is done: counted in training steps, or in CPU time where variants are compared in equal time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .config import Fit

RESOLUTION = 1 << 20
"""Steps that a time limit is divided into for the decay of the learning rate."""


class Clock:
    """Counts what a run's training has taken, without the measuring in between.

    Args:
        fit: Its limit is in steps, or in seconds of CPU time of all threads, those that draw points included.
    """

    def __init__(self, fit: Fit) -> None:
        self._fit = fit
        self._decay = fit.decay.factor(fit.steps or RESOLUTION)
        self._cpu = 0.0
        self._started: float | None = None
        self.seconds = 0.0
        """Wall-clock time of training."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time that the block takes as training."""
        wall, self._started = time.perf_counter(), time.process_time()
        yield
        self.seconds += time.perf_counter() - wall
        self._cpu, self._started = self._cpu + time.process_time() - self._started, None

    def state_dict(self) -> dict[str, Any]:
        """Return what has been counted, plain numbers."""
        return {"seconds": self.seconds, "cpu": self._cpu}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what had been counted."""
        self.seconds, self._cpu = state["seconds"], state["cpu"]

    def part(self, step: int) -> float:
        """Return the part of the run that is done after so many steps, from 0 to 1."""
        if self._fit.seconds is None:
            return step / (self._fit.steps or 1)
        now = 0.0 if self._started is None else time.process_time() - self._started
        return min((self._cpu + now) / self._fit.seconds, 1.0)

    def decay(self, step: int) -> float:
        """Return the factor that the learning rate has at a step."""
        return self._decay(step if self._fit.seconds is None else round(self.part(step) * RESOLUTION))

    def steps_to_next_point(self, step: int) -> int:
        """Return how many steps to take before the part is asked for again; one at a time under a time limit."""
        if self._fit.steps is None or self._fit.measure_every is None:
            return 1
        return min(self._fit.measure_every, self._fit.steps - step)
