"""The sheet of a run: its pictures and the course of loss and metric on one page."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ...files import replacing
from ...metrics.descriptions import name_metric

CELL = 3.2
"""Width and height of a picture on the sheet in inches, at a hundred pixels per inch."""


def write_sheet(views: list[dict[str, Float[Tensor, "h w 3"]]], history: list[Any], path: Path) -> Path:
    """Write the sheet of a run as a picture.

    Args:
        views: for each side the pictures [h, w, 3] by name, with the same names for every side. Each name gets a row,
            or if there is only one side, a column.
        history: list of step, loss and metrics by name; the loss and the first metric are plotted.
        path: file to write; an existing one is replaced when the new one is complete.

    Returns:
        The path of the file.
    """
    # Without pyplot, which keeps figures in memory and needs the main thread.
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
    for row_index, (row, plots) in enumerate(zip(cells, grid, strict=True)):
        for column, (picture, plot) in enumerate(zip(row, plots, strict=True)):
            plot.imshow(picture.clamp(0, 1).cpu().numpy(), interpolation="antialiased")
            plot.set(xticks=[], yticks=[])
            plot.spines[:].set_visible(False)
            if len(views) == 1:
                plot.set_title(names[column])
            elif column == 0:
                plot.set_ylabel(names[row_index])
    _draw_history(parts[1].subplots(), history)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
    return path


def _draw_history(plot: Any, history: list[Any]) -> None:
    """Plot the loss over the steps on a logarithmic axis, and the first metric on a second axis."""
    steps = [step for step, _, _ in history]
    lines = plot.plot(steps, [loss for _, loss, _ in history], "C0", label="loss", marker=".", markersize=3)
    plot.set(xlabel="step", ylabel="loss")
    if any(loss > 0 for _, loss, _ in history):
        plot.set_yscale("log")
    metrics = list(history[-1][2]) if history else []
    if metrics:
        metric_plot = plot.twinx()
        curve = [values.get(metrics[0]) for _, _, values in history]
        label = name_metric(metrics[0])
        label = label.upper() if len(label) < 5 else label
        lines += metric_plot.plot(steps, curve, "C1", label=label, marker=".", markersize=3)
        metric_plot.set(ylabel=label)
    if history:
        plot.legend(handles=lines, loc="center right")
