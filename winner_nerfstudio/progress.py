"""What everything that takes long shows: a progress bar, or that it is being done."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .signals.messages import escape

PATIENCE = 1.0
"""Seconds after which a line says what is being done, where that cannot be shown in motion."""


def progress_bar(console: Console, before: str, *after: str, estimates: bool = True, **options: Any) -> Progress:
    """Return a progress bar between texts.

    Args:
        console: where it is shown.
        before: the text before the bar, which may name the task's values: "step {task.completed:.0f}".
        after: the texts after the bar.
        estimates: whether the remaining time, as rich estimates it, stands at the end.
        options: of rich's `Progress`.
    """
    columns = [TextColumn(before, markup=False), BarColumn(), *(TextColumn(text, markup=False) for text in after)]
    return Progress(*columns, *([TimeRemainingColumn()] if estimates else []), console=console, **options)


def describe_time(seconds: float) -> str:
    """Return a time in words, to two digits or the minute: "40 s", "12 min", "3 h 05 min", "1,200 h"."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{hours} h {rest:02d} min" if hours < 100 else f"{float(f'{seconds / 3600:.2g}'):,.0f} h"


@contextmanager
def working(console: Console, what: str) -> Iterator[None]:
    """Show what is being done while a block runs, such as "loading bunny.obj".

    On a terminal a moving line shows how long it has taken, and is gone afterwards; so is the one in a notebook.
    Elsewhere, as in a log, a line is printed if the block takes longer than `PATIENCE`. A quiet console shows nothing.
    """
    if console.quiet:  # where rich would leave an empty widget in a notebook
        yield
        return
    if console.is_terminal:
        columns = SpinnerColumn(), TextColumn(escape(what), markup=False), TimeElapsedColumn()
        with Progress(*columns, console=console, transient=True) as shown:
            shown.add_task("", total=None)
            yield
        return
    if console.is_jupyter:
        with console.status(escape(what)):
            yield
        return
    options = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
    timer = Timer(PATIENCE, console.print, [f"{escape(what)} ..."], options)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
