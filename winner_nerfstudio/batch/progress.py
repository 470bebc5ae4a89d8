"""What a batch shows while it runs: how many files are done and have failed, the rate, and the time that is left."""

import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.console import Console

from ..progress import describe_time, progress_bar
from .store import Row

LINES = 20
"""About how many lines are printed where nothing can be shown in motion."""


class BatchProgress:
    """The progress of a batch: a bar on a terminal, lines elsewhere.

    Args:
        console: where it is shown.
        total: number of files.
        known: the rows of the files that need no fit.
    """

    def __init__(self, console: Console, total: int, known: Sequence[Row]) -> None:
        self._console, self._total, self._is_live = console, total, console.is_terminal or console.is_jupyter
        self._done = self._known = self._printed = len(known)
        self._failed = sum(row.status == "failed" for row in known)
        self._began = time.perf_counter()
        before, after = "file {task.completed:.0f}/{task.total:.0f}", "{task.fields[status]}"
        self._bar = progress_bar(console, before, after, disable=not self._is_live or console.quiet)
        self._task = self._bar.add_task("", total=total, completed=self._done, status=self._describe())

    def __enter__(self) -> "BatchProgress":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def add(self, rows: Iterable[Row]) -> None:
        """Count files that are finished, and show it."""
        for row in rows:
            self._done += 1
            self._failed += row.status == "failed"
        status = self._describe()
        self._bar.update(self._task, completed=self._done, status=status)
        is_due = (self._done - self._printed) * LINES >= self._total or self._done == self._total
        if not self._is_live and is_due:
            self._printed = self._done
            line = ", ".join(part for part in (f"file {self._done}/{self._total}", status) if part)
            self._console.print(line, markup=False, highlight=False)

    def _describe(self) -> str:
        """Return in words the failures, the rate and the time that is left."""
        fitted, left = self._done - self._known, self._total - self._done
        parts = [f"{self._failed} failed"] if self._failed else []
        if fitted:
            rate = fitted / max(time.perf_counter() - self._began, 1e-9)
            parts += [f"{rate:.3g} a second" if rate >= 0.1 else f"{rate * 3600:.3g} an hour"]
            parts += [f"{describe_time(left / rate)} left"] if left else []
        return ", ".join(parts)
