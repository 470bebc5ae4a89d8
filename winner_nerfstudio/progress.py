"""The progress bar that everything that takes long shows."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


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
