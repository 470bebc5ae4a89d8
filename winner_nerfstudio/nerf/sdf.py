"""The model of a shape: a signed distance, looked at by sphere tracing."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor

from ..fields.distance_grid import DistanceGrid
from .datamanager import DrawnDataManagerConfig, subcommand
from .dataparsers import ShapeDataParserConfig
from .export_mesh import ExportMesh
from .model import Outputs, SignalModelConfig
from .shading import Seen, diverging, round_length, with_legend
from .surface import SurfaceModel, View, line

if TYPE_CHECKING:
    from ..metrics.shape import Quick
    from ..signals.shape import Shape

LARGEST_LEVEL = 0.1
"""Of the iso levels that can be looked at, unit-cube lengths; what stays inside the cube all around."""
ERROR_RANGE = 0.004
"""Errors that take the strongest colour at first, as a part of the bounding box's diagonal."""
ISO_LINES = 20
"""Iso-lines, about, along that diagonal."""
COARSE = 32
"""Cells per axis of the target's grid, which serves only its light."""


ShapeData = subcommand("shape-data", ShapeDataParserConfig)


@dataclass
class ShapeDataManagerConfig(DrawnDataManagerConfig):
    """Points of a shape, near its surface for the most part."""

    dataparser: ShapeDataParserConfig = field(default_factory=ShapeDataParserConfig)
    short: ShapeData = field(default_factory=ShapeDataParserConfig)  # type: ignore[valid-type]


@dataclass
class SDFModelConfig(SignalModelConfig):
    """A signed distance function."""

    _target: type = field(default_factory=lambda: SDFModel)
    truncation: float = 0.1
    """Distances are clamped to this, either way, before they are compared (unit-cube lengths): detail before depth."""
    far_weight: float = 1.0
    """Weight of the error without the clamp, beside 1 for that with it; it keeps the far field a distance."""
    eval_resolution: int = 128
    """Samples per axis of the surface that evaluation measures."""

    def problem(self) -> str | None:
        """What is wrong with the model's options, in one line, or None."""
        if not (self.truncation > 0 and self.far_weight >= 0 and self.eval_resolution >= 3):
            return (
                f"truncation={self.truncation} must be positive, far_weight={self.far_weight} not negative and"
                f" eval_resolution={self.eval_resolution} at least 3"
            )
        if self.noise.schedule in ("paper", "reference"):
            return (
                f"--pipeline.model.noise.schedule {self.noise.schedule} has no rule for shapes; use default, or fixed"
                " with s0 and s1"
            )
        return super().problem()


class SDFModel(SurfaceModel):
    """Fits signed distances (negative inside) in the unit cube."""

    config: SDFModelConfig
    signal: "Shape"
    exports = "mesh"
    cut, extent = "sdf-slice", "the shape lies within 0.9"

    def populate_modules(self) -> None:
        """Besides the field, the viewer's controls; lengths on them are in the input's units."""
        super().populate_modules()
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
        self.export_now = ExportMesh(self.field, self.signal.name, self.iso_level)

    def loss_terms(self, fitted: Float[Tensor, "n 1"], truth: Float[Tensor, "n 1"]) -> dict[str, Tensor]:
        """Mean absolute error of truncated distances (DeepSDF, arXiv 1901.05103, eq. 4), and of all."""
        limit = self.config.truncation
        return {
            "sdf_near": (fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)).abs().mean(),
            "sdf_all": self.config.far_weight * (fitted - truth).abs().mean(),
        }

    def render(self, rays: RayBundle) -> Outputs:
        """The fitted surface along rays by sphere tracing, the target's by ray casting, and a slice of the distance."""
        view = View(self, rays)
        return Outputs(view.outputs() | {"sdf-slice": lambda: view.slice(self._paint_slice)})

    def annotate(self, name: str, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
        """Legends, in the input's units, for the outputs that show numbers by colours."""
        if name == "error":
            return with_legend(picture, self.error_range.value, "distance from the target")
        if name == "sdf-slice":
            lines = f"distance; a line every {self.line_step:g}"
            return with_legend(picture, self.line_step * ISO_LINES / 4, lines)
        return picture

    @property
    def level(self) -> float:
        """The iso level that is looked at, unit-cube lengths."""
        return float(self.iso_level.value) * self.signal.normalization.scale

    @property
    def line_step(self) -> float:
        """Between neighbouring iso-lines, in the input's units."""
        return round_length(self.signal.diagonal / self.signal.normalization.scale / ISO_LINES)

    def above_level(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The fitted distance at points of the unit cube, less the iso level."""
        return self.field.evaluate(points)[:, 0] - self.level

    def above_level_and_gradient(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """As `above_level`, and its gradient."""
        value, slopes = self.field.value_and_gradient(points)
        return value - self.level, slopes

    def see_target(self, rays: RayBundle) -> Seen:
        """The input mesh by ray casting."""
        cast = self.signal.cast_rays(rays.origins.cpu().numpy(), rays.directions.cpu().numpy())
        depth, hit, normals = (torch.from_numpy(found).to(rays.origins.device) for found in cast)
        return Seen(depth.to(rays.origins), hit, normals.to(rays.origins))

    def target_distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The signed distance from the input mesh."""
        return torch.from_numpy(self.signal.signed_distance(points.cpu().numpy())).to(points)

    def target_light(self) -> DistanceGrid:
        """A coarse grid of that distance."""
        return self._target_light

    @cached_property
    def _target_light(self) -> DistanceGrid:
        return DistanceGrid.of(self.target_distance, self.device, COARSE)

    def evaluate(self, signal: "Shape") -> dict[str, float]:  # type: ignore[override]
        """Volume figures, and those of the surface extracted at `eval_resolution` where there is one."""
        from ..fields.surface import EmptySurfaceError, extract_surface, pull_onto_level
        from ..metrics.shape import surface_figures, volume_figures

        figures, resolution = volume_figures(self.field.evaluate, signal), self.config.eval_resolution
        with suppress(EmptySurfaceError):  # iou is 0 then, and there is no surface to measure
            surface = extract_surface(self.field.evaluate, resolution, signal.level)
            surface = pull_onto_level(surface, self.field, signal.level, 2 / (resolution - 1))
            figures |= surface_figures(surface, signal)
        return figures

    @cached_property
    def _quick(self) -> "Quick":
        from ..metrics.shape import quick_points

        return quick_points(self.signal)

    def quick_points(self) -> int:
        """How many points `quick_evaluate` looks at."""
        return len(self._quick.points)

    def quick_evaluate(self) -> dict[str, float]:
        """``iou`` over a few points."""
        from ..metrics.shape import quick_figures

        return quick_figures(self.field.evaluate, self._quick)

    def _paint_slice(self, points: Float[Tensor, "m 3"], pixel: Float[Tensor, " m"]) -> Float[Tensor, "m 3"]:
        """The fitted distance by colour, black where it is the iso level."""
        value = self.field.evaluate(points)[:, 0]
        step = self.line_step * self.signal.normalization.scale
        shade = diverging(value / (step * ISO_LINES / 4))
        shade = shade * (1 - 0.35 * line(value - step * (value / step).round(), pixel, 1.0))
        return shade * (1 - line(value - self.level, pixel, 3.0))
