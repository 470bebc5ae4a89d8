"""How far an experiment is, and how long the rest takes."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .runs import Run


class Outlook:
    """Guesses the time left from the runs that are done: by their variant where it is known, else by all.

    Args:
        pending: the runs to come.
        done: those that were there already, with their records.
    """

    def __init__(self, pending: list[Run], done: list[tuple[Run, dict[str, Any]]]) -> None:
        self._pending = list(pending)
        self._cost: dict[str, tuple[float, float]] = {}
        for run, record in done:
            self._add(run, record["wall"])
        self._began = time.perf_counter()
        self._part = 0.0

    def went(self, steps: int) -> None:
        """So many steps of the current run are done."""
        self._part = steps / self._pending[0].fit.steps

    def finished(self, record: dict[str, Any]) -> None:
        """The current run is done."""
        self._add(self._pending.pop(0), record["wall"])
        self._began, self._part = time.perf_counter(), 0.0

    def left(self) -> float | None:
        """Seconds; None while nothing is known."""
        cost = dict(self._cost)
        if self._pending and self._part:
            run, spent = self._pending[0], time.perf_counter() - self._began
            seconds, work = cost.get(run.variant, (0.0, 0.0))
            cost[run.variant] = seconds + spent, work + self._part * run.work
        seconds, work = (sum(each) for each in zip(*cost.values(), strict=True)) if cost else (0.0, 0.0)
        if not work:
            return None
        rates = {variant: spent / own for variant, (spent, own) in cost.items()}
        rest = [run.work * rates.get(run.variant, seconds / work) for run in self._pending]
        return sum(rest) - (self._part * rest[0] if rest else 0.0)

    def _add(self, run: Run, wall: float) -> None:
        seconds, work = self._cost.get(run.variant, (0.0, 0.0))
        self._cost[run.variant] = seconds + wall, work + run.work


def spoken(seconds: float | None) -> str:
    """A time for a reader: "40 s", "12 min", "3 h 05 min"."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def bar(console: Console) -> Progress:
    """A bar of runs, with the current run's name and step and the time left."""
    columns = (
        TextColumn("run {task.fields[number]} of {task.fields[runs]}: {task.fields[name]}", markup=False),
        BarColumn(20),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}, {task.fields[left]} left"),
    )
    return Progress(*columns, console=console, transient=True)
