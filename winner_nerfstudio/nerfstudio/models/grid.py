"""What the models of regularly sampled signals share: the loss, the metrics, and a plane to look at."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor

from ...signals.grid import Grid
from .base import Outputs, SignalModel

BACKGROUND = 1.0
QUIETEST = 80.0
"""Decibels below the data range at which an error is shown black."""


class GridModel(SignalModel):
    """Fits the values of a `Grid`, and shows them on the plane z = 0.

    A kind of signal overrides `half_size`, `paint` and `pictures`.
    """

    signal: Grid[Any]
    layers: tuple[str, ...] = ("rgb",)
    """Names of what the plane can show; ``rgb`` is the fit."""

    def evaluate(self, signal: Grid[Any]) -> dict[str, float]:  # type: ignore[override]
        """Compute the metrics of the fit, and report the best of those that were computed in passing."""
        metrics = super().evaluate(signal)
        for name, (value, step) in self.progress["best"].items():
            metrics |= {f"best_{name}": value, f"best_{name}_step": step}
        return metrics

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
