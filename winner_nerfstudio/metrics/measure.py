"""How well a field fits its signal, by the kind of signal."""

import math
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ..fields import Field
from ..signals.grid import Grid
from ..signals.signal import Signal
from ..training.options import DistanceOptions, NetworkOptions
from .grid import Function, evaluate_grid, grid_figures, intersection_over_union

if TYPE_CHECKING:
    from ..signals.cloud import PointCloud
    from ..signals.shape import Shape
    from ..signals.volume import Volume


def figures_of(field: Field, signal: Signal, options: NetworkOptions) -> dict[str, float]:
    """Those that a run writes to its ``metrics.json``, but for time and what isn't finite; of an unknown kind none."""
    if isinstance(options, DistanceOptions):
        figures = figures_of_shape(field, signal, options.eval_resolution)  # type: ignore[arg-type]
    elif isinstance(signal, Grid):
        figures = figures_of_grid(field.evaluate, signal)
    else:
        return {}
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def figures_of_grid(function: Function, signal: Grid) -> dict[str, float]:
    """The figures of any grid, see `grid_figures`, and those of its kind, over all samples."""
    fitted = evaluate_grid(function, signal.lattice)
    return grid_figures(function, signal, fitted) | figures_of_kind(signal, fitted)


def figures_of_shape(field: Field, signal: "Shape | PointCloud", resolution: int) -> dict[str, float]:
    """Volume figures, and those of the surface extracted at `resolution` where there is one.

    Of points there are only the latter, unless a reference is known, which all figures are against then.
    """
    from ..signals.shape import Shape
    from ..surfaces.extraction import EmptySurfaceError, extract_surface, pull_onto_level
    from .shape import surface_figures, volume_figures

    truth = truth_of(signal)
    figures = volume_figures(field.evaluate, truth) if isinstance(truth, Shape) else {}
    with suppress(EmptySurfaceError):  # iou is 0 then, and there is no surface to measure
        surface = extract_surface(field.evaluate, resolution, truth.level)
        surface = pull_onto_level(surface, field, truth.level, 2 / (resolution - 1))
        figures |= surface_figures(surface, truth)
    return figures


def truth_of(signal: "Shape | PointCloud") -> "Shape | PointCloud":
    """What the figures of a shape are against."""
    return getattr(signal, "reference", None) or signal


def figures_of_kind(signal: Grid, fitted: Float[np.ndarray, "*axes c"]) -> dict[str, float]:
    """``ssim`` of a picture, `audio_figures` of a sound, ``iou`` of a volume's insides; of any other kind none."""
    if signal.kind == "image":
        from .image import ssim

        similarity = ssim(fitted, signal.truth)
        return {} if similarity is None else {"ssim": similarity}
    if signal.kind == "audio":
        from .audio import audio_figures

        return audio_figures(fitted, signal.truth)
    if signal.kind == "volume":
        return _figures_of_volume(signal, fitted)  # type: ignore[arg-type]
    return {}


def _figures_of_volume(signal: "Volume", fitted: Float[np.ndarray, "x y z 1"]) -> dict[str, float]:
    """``iou`` of the insides over all samples, and ``iou_held_out`` at those that weren't fitted, if any."""
    got, wanted = signal.inside(fitted).reshape(-1), signal.inside(signal.truth).reshape(-1)
    if not wanted.any():
        return {}
    figures = {"iou": intersection_over_union(got, wanted)}
    if signal.fitted is not None:
        figures["iou_held_out"] = intersection_over_union(got[signal.held_out], wanted[signal.held_out])
    return figures
