"""The model of a volume: a scalar field, looked at as the surface that lies in it and on planes through it."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor

from ...surfaces.distance_grid import DistanceGrid, interpolate_grid
from ...surfaces.level_set import LevelSet, half_extents
from ..viewer.cameras import FARTHER
from ..viewer.export_button import ExportMesh
from ..viewer.shading import Seen, diverging, round_length, with_legend
from .base import Outputs
from .grid import GridModel, within
from .surface import SurfaceModel, View, line, trace

if TYPE_CHECKING:
    from ...signals.volume import Volume

LEVELS = 200
"""Steps of the level that is looked at, from the least value to the greatest."""


class VolumeModel(GridModel, SurfaceModel):
    """Fits the values of a volume; to be seen are its level set, closed at the walls of its box, and slices."""

    signal: "Volume"
    room = FARTHER
    cut, extent = "slice and target-slice", "-1 and 1 are the array's walls"

    def populate_modules(self) -> None:
        """Besides the field, the viewer's controls; the level is in the volume's own values."""
        super().populate_modules()
        signal, record = self.signal, self.signal.draft
        low, high = (float(signal.units.to_own(np.array(end))) for end in (-1.0, 1.0))
        self.iso_level = ViewerSlider(
            "Level", record.level, low, high, (high - low) / LEVELS, hint="Which value to show the surface of"
        )
        # What is nearer than half a sample is as good as the samples can tell.
        self.add_controls(round_length(record.spacing / 2))
        self.export_now = ExportMesh(self.field, signal.name, self.iso_level)
        self._target_values: Tensor | None = None
        self._target_grid: tuple[float, DistanceGrid] | None = None

    def render(self, rays: RayBundle) -> Outputs:
        """The fit's and the target's level set along rays by sphere tracing, and slices of both."""
        view = View(self, rays)
        fit, target = self.field.evaluate, self._target
        return Outputs(
            view.outputs()
            | {
                "slice": lambda: view.slice(partial(self._paint_slice, fit)),
                "target-slice": lambda: view.slice(partial(self._paint_slice, target)),
            }
        )

    def annotate(self, name: str, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
        """Legends, in the input's units, for the outputs that show numbers by colours."""
        if name == "error":
            return with_legend(picture, self.error_range.value, "distance from the target, about")
        if name in ("slice", "target-slice"):
            reach = self._reach * self.signal.units.amplitude
            return with_legend(picture, float(f"{reach:.3g}"), "value", middle=float(f"{self.level:.3g}"))
        return picture

    @property
    def level(self) -> float:
        """The level that is looked at, in the volume's own values."""
        return within(self.iso_level)

    @property
    def half_extents(self) -> tuple[float, ...]:
        """Half the sides of the box that the samples span."""
        return half_extents(self.signal.lattice)

    def above_level(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The fit less the level, as about a distance, positive outside."""
        return self._fit_set()(points)[:, 0]

    def above_level_and_gradient(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """As `above_level`, and its gradient."""
        return self._fit_set().value_and_gradient(points)

    def target_distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The array less the level, as about a distance: true close to the surface."""
        return self._target_set()(points)[:, 0]

    def see_target(self, rays: RayBundle) -> Seen:
        """The array's level set, by trilinear interpolation between its samples."""
        return trace(rays, self.target_distance, self._target_set().value_and_gradient, self._grid_of_target())

    def fit_light(self) -> DistanceGrid:
        """The distance from the fit's surface; its values end close by where it is an occupancy's."""
        return self.distance_grid().redistanced

    def target_light(self) -> DistanceGrid:
        """The distance from the array's surface."""
        return self._grid_of_target().redistanced

    def _grid_of_target(self) -> DistanceGrid:
        """The grid of the array's level set; kept until the level changes."""
        if self._target_grid is None or self._target_grid[0] != self.level:
            self._target_grid = self.level, DistanceGrid.of(self.target_distance, self.device)
        return self._target_grid[1]

    def _fit_set(self) -> LevelSet:
        return LevelSet(self.signal.draft, self.field.evaluate, self.field.value_and_gradient, self.level)

    def _target_set(self) -> LevelSet:
        return LevelSet(self.signal.draft, self._target, self._target_and_gradient, self.level)

    def _target(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """The array between its samples, in the network's units."""
        if self._target_values is None:
            self._target_values = torch.from_numpy(self.signal.values[..., 0]).to(self.device)
        half = points.new_tensor(self.half_extents)
        return interpolate_grid(self._target_values, points / half)[:, None]

    def _target_and_gradient(self, points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """And its slope over a sample, for that of a single cell jumps from one to the next."""
        reach = self.signal.lattice.spacing / 2
        steps = reach * torch.eye(3).to(points)
        slopes = [(self._target(points + step) - self._target(points - step)) / (2 * reach) for step in steps]
        return self._target(points)[:, 0], torch.cat(slopes, -1)

    @property
    def _reach(self) -> float:
        """The greatest difference from the level, in the network's units."""
        return 1 + abs(self._fit_set().level)

    def _paint_slice(
        self,
        values: Callable[[Float[Tensor, "m 3"]], Float[Tensor, "m 1"]],
        points: Float[Tensor, "m 3"],
        pixel: Float[Tensor, " m"],
    ) -> Float[Tensor, "m 3"]:
        """Values by colour, black where they are at the level."""
        level_set = LevelSet(self.signal.draft, values, self._target_and_gradient, self.level)
        shade = diverging((values(points)[:, 0] - level_set.level) / self._reach)
        return shade * (1 - line(level_set(points)[:, 0], pixel, 3.0))
