"""A run on one page: its pictures, and how it went."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...files import replacing

CELL = 3.2
"""Width and height that a picture gets, inches; a hundred pixels each."""


def write_sheet(views: list[dict[str, Float[Tensor, "h w 3"]]], history: list[Any], path: Path) -> Path:
    """Write the page as a picture.

    Args:
        views: pictures by name, the same names from every side; a row each, or a column each if there is one side.
        history: of each look at the run the step, the loss, and metrics by name; the first of them is drawn as well.
        path: the file, which is replaced when the new one is whole.

    Returns:
        The path.
    """
    # Without pyplot, which keeps metrics and wants the main thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(views[0])
    cells = [[view[name] for view in views] for name in names]
    if len(views) == 1:
        cells = [[picture for (picture,) in cells]]
    figure = Figure(figsize=(max(CELL * len(cells[0]), 2 * CELL), CELL * len(cells) + 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(2, 1, height_ratios=[CELL * len(cells), 2.6])
    grid = parts[0].subplots(len(cells), len(cells[0]), squeeze=False)
    for number, (row, plots) in enumerate(zip(cells, grid, strict=True)):
        for column, (picture, plot) in enumerate(zip(row, plots, strict=True)):
            plot.imshow(picture.clamp(0, 1).cpu().numpy(), interpolation="antialiased")
            plot.set(xticks=[], yticks=[])
            plot.spines[:].set_visible(False)
            if len(views) == 1:
                plot.set_title(names[column])
            elif column == 0:
                plot.set_ylabel(names[number])
    _draw_course(parts[1].subplots(), history)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
    return path


def _draw_course(plot: Any, history: list[Any]) -> None:
    """The loss over the steps, logarithmic, and the first of the metrics beside it."""
    steps = [step for step, _, _ in history]
    lines = plot.plot(steps, [loss for _, loss, _ in history], "C0", label="loss", marker=".", markersize=3)
    plot.set(xlabel="step", ylabel="loss")
    if any(loss > 0 for _, loss, _ in history):
        plot.set_yscale("log")
    metrics = list(history[-1][2]) if history else []
    if metrics:
        beside = plot.twinx()
        values = [found.get(metrics[0]) for _, _, found in history]
        label = metrics[0].replace("_", " ")
        label = label.upper() if len(label) < 5 else label
        lines += beside.plot(steps, values, "C1", label=label, marker=".", markersize=3)
        beside.set(ylabel=label)
    if history:
        plot.legend(handles=lines, loc="center right")
