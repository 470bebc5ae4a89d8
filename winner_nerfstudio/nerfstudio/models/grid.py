"""What the models of regularly sampled signals share: the loss, the figures, and a plane to look at."""

from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor

from ...metrics.grid import Quick, evaluate_grid, grid_figures, quick_figures, quick_samples
from ...metrics.measure import figures_of_kind
from ...signals.grid import Grid
from .base import Outputs, SignalModel, SignalModelConfig

QUICK_SAMPLES = 1 << 16
"""Most samples that the figures in passing are taken from."""
BACKGROUND = 1.0
QUIETEST = 80.0
"""Decibels below the data range at which an error is shown black."""


@dataclass
class GridModelConfig(SignalModelConfig):
    """A regularly sampled signal."""

    _target: type = field(default_factory=lambda: GridModel)


class GridModel(SignalModel):
    """Fits the values of a `Grid`, and shows them on the plane z = 0.

    A kind of signal overrides `half_size`, `paint` and `pictures`.
    """

    config: GridModelConfig
    signal: Grid
    layers: tuple[str, ...] = ("rgb",)
    """Names of what the plane can show; ``rgb`` is the fit."""

    def evaluate(self, signal: Grid) -> dict[str, float]:  # type: ignore[override]
        """The figures of any grid and those of its kind, over all samples, and the best of those had in passing."""
        fitted = evaluate_grid(self.field.evaluate, signal.lattice)
        figures = grid_figures(self.field.evaluate, signal, fitted) | self.own_figures(signal, fitted)
        for name, (value, step) in self.progress["best"].items():
            figures |= {f"best_{name}": value, f"best_{name}_step": step}
        return figures

    @cached_property
    def _quick(self) -> Quick:
        return quick_samples(self.signal, QUICK_SAMPLES)

    def quick_points(self) -> int:
        """How many points `quick_evaluate` looks at."""
        return len(self._quick.fitted) + len(self._quick.held_out)

    def quick_evaluate(self) -> dict[str, float]:
        """``psnr``, and ``psnr_held_out`` if there are such samples, at no more than `QUICK_SAMPLES` of each."""
        return quick_figures(self.field.evaluate, self.signal, self._quick)

    def render(self, rays: RayBundle) -> Outputs:
        """The plane along rays: its `layers`, depth and accumulation."""
        origins, directions = rays.origins, rays.directions
        along = -origins[:, 2] / torch.where(directions[:, 2].abs() < 1e-12, 1e-12, directions[:, 2])
        place = origins[:, :2] + along[:, None] * directions[:, :2]
        hit = (along > 0) & (place.abs() <= torch.tensor(self.half_size(), device=place.device)).all(-1)

        def painted(layer: str) -> Tensor:
            colors = torch.full_like(origins, BACKGROUND)
            if hit.any():
                colors[hit] = self.paint(layer, place[hit]).to(colors)
            return colors

        return Outputs(
            {layer: partial(painted, layer) for layer in self.layers}
            | {"depth": lambda: torch.where(hit, along, 0.0)[:, None], "accumulation": lambda: hit[:, None].to(along)}
        )

    def own_figures(self, signal: Grid, fitted: Float[np.ndarray, "*axes c"]) -> dict[str, float]:
        """The figures of this kind of signal."""
        return figures_of_kind(signal, fitted)

    def half_size(self) -> tuple[float, float]:
        """Half the width and height of what is shown."""
        raise NotImplementedError

    def paint(self, layer: str, place: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """Colours of one of the `layers` at places of the plane, x to the right and y up."""
        raise NotImplementedError


def within(slider: ViewerSlider) -> float:
    """A slider's value; what is typed beside it may lie outside its range."""
    return min(max(slider.value, slider.min), slider.max)


def error_colors(fitted: Float[Tensor, "n c"], truth: Float[Tensor, "n c"]) -> Float[Tensor, "n 3"]:
    """The root mean square error over channels on a logarithmic scale: black at `QUIETEST`, bright at full range."""
    from nerfstudio.utils.colormaps import apply_float_colormap

    error = (fitted - truth).square().mean(-1, keepdim=True).sqrt() / 2
    decibels = 20 * torch.log10(error.clamp(min=10 ** (-QUIETEST / 20)))
    return apply_float_colormap((1 + decibels / QUIETEST).clamp(0, 1), "inferno")
