"""Showing a fit when ``winner-fit --open`` has written it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import has_result, kind_named
from ..signals.extras import require_extra

if TYPE_CHECKING:
    from ..fields.fitted import FittedField


def show(fitted: "FittedField", target: Any, up: str, say: Callable[[object], None]) -> None:
    """Show a fit: one that has samples as a picture of target and fit, any other one's mesh in a page.

    Args:
        fitted: the field.
        target: the signal that it was fitted to.
        up: the axis of a shape or a volume that points up.
        say: function that prints a line.

    Raises:
        SignalError: the viewer of shapes is not installed; the message has the command that installs it.
    """
    if kind_named(fitted.kind).sample_count(target) is not None:
        path = Path(tempfile.mkdtemp(prefix="winner-fit-")) / "target-fit.png"
        draw(fitted, target, path)
        say(f"{path}: the target and the fit{'' if open_file(path) else '; nothing here opens pictures by itself'}")
    elif not has_result(fitted.kind, "mesh"):
        say(f"--open: a fit of {kind_named(fitted.kind).title} cannot be shown here")
    else:
        require_extra("viser", "nerfstudio", "--open: shapes are shown")
        from ..nerfstudio.viewer.mesh_page import show_mesh

        show_mesh(fitted.mesh(resolution=160), up, say)


def draw(fitted: "FittedField", target: Any, path: Path) -> None:
    """Draw the target and the fit side by side, as the kind draws its samples."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ..fields.resample import evaluate_samples

    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    values = {"target": target.values, "fit": evaluate_samples(fitted.field, target.lattice)}
    for plot, (name, shown) in zip(axes, values.items(), strict=True):
        kind_named(fitted.kind).draw(plot, target, np.asarray(shown))
        plot.set_title(name)
    figure.savefig(path, dpi=150)


def open_file(path: Path) -> bool:
    """Open a file with the program that the system has for it; return whether there is one."""
    if sys.platform == "win32":
        os.startfile(path)
        return True
    command = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        done = subprocess.run([command, str(path)], check=False, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
