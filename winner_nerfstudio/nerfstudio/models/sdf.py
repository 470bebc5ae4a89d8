"""The nerfstudio model of a shape, whose signed distance is rendered by sphere tracing."""

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor

from ...fields.field import evaluate_colors
from ...surfaces.distance_grid import DistanceGrid
from ..viewer.color_legend import diverging, round_length, with_error_legend, with_legend
from ..viewer.export_button import ExportMesh
from ..viewer.shading import Seen
from .base import Outputs
from .grid import within
from .surface import SurfaceModel, View, line

if TYPE_CHECKING:
    from ...signals.cloud import PointCloud
    from ...signals.shape import Shape

LARGEST_LEVEL = 0.1
"""Greatest iso level that can be shown, unit-cube lengths; the surface of any smaller one stays inside the cube."""
ERROR_RANGE = 0.004
"""Error that gets the strongest colour by default, relative to the bounding box's diagonal."""
ISO_LINES = 20
"""Approximate number of iso-lines along that diagonal."""
COARSE = 32
"""Cells per axis of the target's distance grid, which is used for its light only."""


class SDFModel(SurfaceModel):
    """A model that fits signed distances (negative inside) in the unit cube."""

    signal: "Shape | PointCloud"
    cut, extent = "sdf-slice", "the shape lies within 0.9"

    def populate_modules(self) -> None:
        """Build the field and the viewer's controls, whose lengths are in the input's units."""
        super().populate_modules()
        if self.companion is not None:
            self.fit_paint, self.target_paint = self._paint_fit, self._paint_target
        scale = self.signal.normalization.scale
        most = float(f"{LARGEST_LEVEL / scale:.2g}")
        self.iso_level = ViewerSlider(
            "Iso level",
            self.signal.level / scale,
            -most,
            most,
            most / 100,
            hint="Which distance from the surface to show, in its units",
        )
        self.add_controls(round_length(ERROR_RANGE * self.signal.diagonal / scale))
        self.export_now = ExportMesh(self.field, self.signal.name, lambda: within(self.iso_level), self.companion)

    def render(self, rays: RayBundle) -> Outputs:
        """Return what is seen along rays.

        These are the fitted surface by sphere tracing, the target's by ray casting, and a slice of the fitted distance.
        """
        view = View(self, rays)
        return Outputs(view.outputs() | {"sdf-slice": lambda: view.slice(self._paint_slice)})

    def annotate(self, name: str, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
        """Add a legend to an output that shows numbers by colours, in the input's units if they are lengths."""
        if name == "error" and self.compares_colors:
            return with_error_legend(picture, "difference in colour")
        if name == "error":
            return with_legend(picture, self.greatest_error, "distance from the target")
        if name == "sdf-slice":
            lines = f"distance; a line every {self.line_step:g}"
            return with_legend(picture, self.line_step * ISO_LINES / 4, lines)
        return picture

    @property
    def level(self) -> float:
        """Return the iso level that is shown, unit-cube lengths."""
        return self.read(self.iso_level) * self.signal.normalization.scale

    @property
    def line_step(self) -> float:
        """Return the difference in distance between neighbouring iso-lines, in the input's units."""
        return round_length(self.signal.diagonal / self.signal.normalization.scale / ISO_LINES)

    def above_level(self, points: Float[Tensor, "n 3"], level: float | None = None) -> Float[Tensor, " n"]:
        """Return the fitted distance at points of the unit cube, minus the iso level."""
        return self.field.evaluate(points)[:, 0] - (self.level if level is None else level)

    def above_level_and_gradient(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return `above_level` and its gradient."""
        value, gradient = self.field.value_and_gradient(points)
        return value - self.level, gradient

    def see_target(self, rays: RayBundle) -> Seen:
        """Return what is seen of the input mesh, by ray casting."""
        cast = self.signal.cast_rays(rays.origins.cpu().numpy(), rays.directions.cpu().numpy())
        depth, hit, normals = (torch.from_numpy(array).to(rays.origins.device) for array in cast)
        return Seen(depth.to(rays.origins), hit, normals.to(rays.origins))

    def target_distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the signed distance from the input mesh, or from the shell around it, unit-cube lengths."""
        distance = self.signal.signed_distance(points.cpu().numpy()) - self.signal.level
        return torch.from_numpy(distance).to(points)

    def _paint_fit(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the fitted colours of points of the surface."""
        assert self.companion is not None, "it is there where colours are"
        return evaluate_colors(self.companion, points)

    def _paint_target(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the input's colours of points of its surface."""
        return torch.from_numpy(self.signal.color_at(points.cpu().numpy())).to(points)

    def target_light(self) -> DistanceGrid:
        """Return a coarse grid of the target's distance."""
        return self._target_light

    @cached_property
    def _target_light(self) -> DistanceGrid:
        """Return the target's distance on a coarse grid, which soft shading reads."""
        return DistanceGrid.of(self.target_distance, self.device, COARSE)

    def _paint_slice(self, points: Float[Tensor, "m 3"], pixel: Float[Tensor, " m"]) -> Float[Tensor, "m 3"]:
        """Return colours of the fitted distance, with iso-lines, and black at the iso level."""
        value = self.field.evaluate(points)[:, 0]
        step = self.line_step * self.signal.normalization.scale
        shade = diverging(value / (step * ISO_LINES / 4))
        shade = shade * (1 - 0.35 * line(value - step * (value / step).round(), pixel, 1.0))
        return shade * (1 - line(value - self.level, pixel, 3.0))
