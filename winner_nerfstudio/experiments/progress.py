"""How far an experiment is, and how long the rest takes."""

import time

from ..progress import describe_time
from .runs import Done, Record, Run


class RemainingTime:
    """Estimates the remaining time from the runs that are done: those of the same variant, else all.

    Args:
        pending: The runs to come.
        done: The runs that were kept before, with their records.
    """

    def __init__(self, pending: list[Run], done: Done) -> None:
        self._pending = list(pending)
        self._cost: dict[str, tuple[float, float]] = {}
        for run, record in done:
            self._add(run, record["wall"])
        self._began = time.perf_counter()
        self._part = 0.0

    def advance(self, part: float) -> None:
        """Note that this part of the current run is done, from 0 to 1."""
        self._part = part

    def finish(self, record: Record) -> None:
        """Note that the current run is done."""
        self._add(self._pending.pop(0), record["wall"])
        self._began, self._part = time.perf_counter(), 0.0

    def seconds(self) -> float | None:
        """Return the remaining time in seconds; None while nothing is known."""
        cost = dict(self._cost)
        if self._pending and self._part:
            run, spent = self._pending[0], time.perf_counter() - self._began
            seconds, work = cost.get(run.variant, (0.0, 0.0))
            cost[run.variant] = seconds + spent, work + self._part * run.work
        seconds, work = (sum(each) for each in zip(*cost.values(), strict=True)) if cost else (0.0, 0.0)
        if not work:
            return None
        rates = {variant: spent / amount for variant, (spent, amount) in cost.items()}
        rest = [run.work * rates.get(run.variant, seconds / work) for run in self._pending]
        return sum(rest) - (self._part * rest[0] if rest else 0.0)

    def __str__(self) -> str:
        seconds = self.seconds()
        return "unknown" if seconds is None else describe_time(seconds)

    def _add(self, run: Run, wall: float) -> None:
        """Count the time of a run among those of its variant."""
        seconds, work = self._cost.get(run.variant, (0.0, 0.0))
        self._cost[run.variant] = seconds + wall, work + run.work
