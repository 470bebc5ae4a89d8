"""The nerfstudio model of a volume, which is shown by its level set and by slices."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor

from ...surfaces.distance_grid import DistanceGrid, interpolate_grid
from ...surfaces.level_set import LevelSet
from ..viewer.cameras import FARTHER
from ..viewer.color_legend import diverging, round_length, with_legend
from ..viewer.export_button import ExportFit, ExportMesh
from ..viewer.shading import Seen
from .base import Outputs
from .grid import GridModel
from .surface import SurfaceModel, View, line, trace

if TYPE_CHECKING:
    from ...signals.volume import Volume

LEVELS = 200
"""Number of steps of the level's control from the least value to the greatest."""


class VolumeModel(GridModel, SurfaceModel):
    """A model that fits the values of a volume and shows slices and its level set, closed at the walls of its box."""

    signal: "Volume"
    room = FARTHER
    cut, extent = "slice and target-slice", "-1 and 1 are the array's walls"

    def populate_modules(self) -> None:
        """Build the field and the viewer's controls; the level is in the units of the volume."""
        super().populate_modules()
        signal, record = self.signal, self.signal.draft
        low, high = (float(signal.units.to_own(np.array(end))) for end in (-1.0, 1.0))
        self.iso_level = ViewerSlider(
            "Level", record.level, low, high, (high - low) / LEVELS, hint="Which value to show the surface of"
        )
        # The samples cannot resolve distances below half their spacing, which is therefore the error range at first.
        self.add_controls(round_length(min(record.spacing) / 2))
        self.export_now = ExportMesh(self.field, signal.name, lambda: self.level)
        self.write_now = ExportFit(self.field, signal.name, signal.suffix)
        self._target_values: Tensor | None = None
        self._target_grid: tuple[float, DistanceGrid] | None = None

    def render(self, rays: RayBundle) -> Outputs:
        """Return the level sets of fit and target along rays by sphere tracing, and slices of both."""
        view = View(self, rays)
        fit, target = self.field.evaluate, self._interpolate_target
        return Outputs(
            view.outputs()
            | {
                "slice": lambda: view.slice(partial(self._paint_slice, fit)),
                "target-slice": lambda: view.slice(partial(self._paint_slice, target)),
            }
        )

    def annotate(self, name: str, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
        """Add a legend, in the input's units, to an output that shows numbers by colours."""
        if name == "error":
            return with_legend(picture, self.greatest_error, "distance from the target, about")
        if name in ("slice", "target-slice"):
            reach = self._reach * self.signal.units.amplitude
            return with_legend(picture, float(f"{reach:.3g}"), "value", middle=float(f"{self.level:.3g}"))
        return picture

    @property
    def level(self) -> float:
        """Return the level whose surface is shown, in the units of the volume."""
        return float(self.read(self.iso_level))

    @property
    def half_extents(self) -> tuple[float, ...]:
        """Return half the side lengths of the box that the samples span."""
        return self.signal.lattice.half_extents

    def above_level(self, points: Float[Tensor, "n 3"], level: float | None = None) -> Float[Tensor, " n"]:
        """Return the approximate distance of points from the fit's level set, positive outside, unit-cube lengths."""
        return self._build_fit_set(level)(points)[:, 0]

    def above_level_and_gradient(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return `above_level` and its gradient."""
        return self._build_fit_set().value_and_gradient(points)

    def target_distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the approximate distance of points from the array's level set, positive outside, unit-cube lengths."""
        return self._build_target_set()(points)[:, 0]

    def see_target(self, rays: RayBundle) -> Seen:
        """Return what is seen of the array's level set, with trilinear interpolation between its samples, uncropped."""
        rays = replace(rays, nears=None, fars=None)
        return trace(rays, self.target_distance, self._build_target_set().value_and_gradient, self._get_target_grid())

    def fit_light(self) -> DistanceGrid:
        """Return a grid of the distance from the fit's surface, which an occupancy's own values give close by only."""
        return self.distance_grid().redistanced

    def target_light(self) -> DistanceGrid:
        """Return a grid of the distance from the array's surface."""
        return self._get_target_grid().redistanced

    def _get_target_grid(self) -> DistanceGrid:
        """Return the grid of the array's level set, which is kept until the level changes."""
        level = self.level  # a user may move its control meanwhile
        if self._target_grid is None or self._target_grid[0] != level:
            target = self._build_target_set(level)
            self._target_grid = level, DistanceGrid.of(lambda points: target(points)[:, 0], self.device)
        return self._target_grid[1]

    def _build_fit_set(self, level: float | None = None) -> LevelSet:
        level = self.level if level is None else level
        return LevelSet(self.signal.draft, self.field.evaluate, self.field.value_and_gradient, level)

    def _build_target_set(self, level: float | None = None) -> LevelSet:
        level = self.level if level is None else level
        return LevelSet(self.signal.draft, self._interpolate_target, self._interpolate_target_and_gradient, level)

    def _interpolate_target(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """Return the array's values between its samples, in the network's units."""
        if self._target_values is None:
            self._target_values = torch.from_numpy(self.signal.values[..., 0]).to(self.device)
        half = points.new_tensor(self.half_extents)
        return interpolate_grid(self._target_values, points / half)[:, None]

    def _interpolate_target_and_gradient(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return the array's values and their gradients.

        The gradients are differences over a whole spacing of the samples; those within single cells would jump.
        """
        reach = self.signal.lattice.spacing / 2
        steps = reach * torch.eye(3).to(points)
        slopes = [
            (self._interpolate_target(points + step) - self._interpolate_target(points - step)) / (2 * reach)
            for step in steps
        ]
        return self._interpolate_target(points)[:, 0], torch.cat(slopes, -1)

    @property
    def _reach(self) -> float:
        """Return the greatest difference of a value from the level, in the network's units."""
        return 1 + abs(self._build_fit_set().level)

    def _paint_slice(
        self,
        values: Callable[[Float[Tensor, "m 3"]], Float[Tensor, "m 1"]],
        points: Float[Tensor, "m 3"],
        pixel: Float[Tensor, " m"],
    ) -> Float[Tensor, "m 3"]:
        """Return colours of values, black where they are at the level."""
        level_set = LevelSet(self.signal.draft, values, self._interpolate_target_and_gradient, self.level)
        shade = diverging((values(points)[:, 0] - level_set.level) / self._reach)
        colors = shade * (1 - line(level_set(points)[:, 0], pixel, 3.0))
        return self.hide_missing(colors, self.signal.lattice.nearest(points))
