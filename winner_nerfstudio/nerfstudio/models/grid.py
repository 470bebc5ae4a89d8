"""The base class of the models of regularly sampled signals, which shows them on a plane."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor

from ...signals.grid import Grid
from .base import Outputs, SignalModel

BACKGROUND = 1.0
"""Brightness in [0, 1] where a ray misses the plane's picture."""


class GridModel(SignalModel):
    """A model that fits the values of a `Grid` and shows them on the plane z = 0.

    A kind of signal overrides `half_size`, `paint` and `pictures`.
    """

    signal: Grid[Any]
    layers: tuple[str, ...] = ("rgb",)
    """Names of the outputs that the plane can show; ``rgb`` is the fit."""

    def evaluate(self, signal: Grid[Any]) -> dict[str, float]:  # type: ignore[override]
        """Compute the metrics of the fit.

        The best values of the metrics that were computed during the training are added, with their steps.
        """
        metrics = super().evaluate(signal)
        for name, (value, step) in self.progress["best"].items():
            metrics |= {f"best_{name}": value, f"best_{name}_step": step}
        return metrics

    def render(self, rays: RayBundle) -> Outputs:
        """Return the `layers` of the plane along rays, and depth and accumulation."""
        origins, directions = rays.origins, rays.directions
        depth = -origins[:, 2] / torch.where(directions[:, 2].abs() < 1e-12, 1e-12, directions[:, 2])
        coords = origins[:, :2] + depth[:, None] * directions[:, :2]
        hit = (depth > 0) & (coords.abs() <= torch.tensor(self.half_size(), device=coords.device)).all(-1)

        def paint_layer(layer: str) -> Tensor:
            colors = torch.full_like(origins, BACKGROUND)
            if hit.any():
                colors[hit] = self.paint(layer, coords[hit]).to(colors)
            return colors

        return Outputs(
            {layer: partial(paint_layer, layer) for layer in self.layers}
            | {"depth": lambda: torch.where(hit, depth, 0.0)[:, None], "accumulation": lambda: hit[:, None].to(depth)}
        )

    def half_size(self) -> tuple[float, float]:
        """Return half the width and half the height of what is shown."""
        raise NotImplementedError

    def hide_missing(self, colors: Float[Tensor, "n 3"], index: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """Return colours at samples, with the background's where the target holds no data."""
        missing = self.signal.missing
        if missing is None:
            return colors
        hidden = torch.from_numpy(missing.reshape(-1)).to(colors.device)[index.to(colors.device), None]
        return torch.where(hidden, BACKGROUND, colors)

    def paint(self, layer: str, plane_coords: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """Return the colours in [0, 1] of a layer.

        Args:
            layer: one of `layers`.
            plane_coords: coordinates on the plane, x to the right and y up.
        """
        raise NotImplementedError


def within(slider: ViewerSlider) -> float:
    """Return a slider's value, limited to its range, because the value that a user types may lie outside."""
    return min(max(slider.value, slider.min), slider.max)
