"""The model of a shape: a signed distance, looked at by sphere tracing."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
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
    from ..signals.cloud import PointCloud
    from ..signals.shape import Shape

LARGEST_LEVEL = 0.1
"""Of the iso levels that can be looked at, unit-cube lengths; what stays inside the cube all around."""
ERROR_RANGE = 0.004
"""Errors that take the strongest colour at first, as a part of the bounding box's diagonal."""
ISO_LINES = 20
"""Iso-lines, about, along that diagonal."""
OFF_SURFACE_DECAY = 100.0
"""How fast SIREN's term off the surface falls with the distance, per unit-cube length."""
CLOUD_NORMAL_WEIGHT, CLOUD_EIKONAL_WEIGHT = 100.0, 50.0
"""SIREN's weights of the terms of gradients, beside the others' of point clouds."""
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
    """Of meshes: distances are clamped to this, either way, before they are compared (unit-cube lengths): detail before
    depth."""
    far_weight: float = 1.0
    """Of meshes: weight of the error without the clamp, beside 1 for that with it; it keeps the far field a
    distance."""
    hardest: float = 0.5
    """Of meshes: part of a batch's points that is learnt from, those with the greatest errors; 1 is all of them."""
    on_surface_weight: float = 3000.0
    """Of point clouds: weight of the mean absolute value at the points."""
    off_surface_weight: float = 100.0
    """Of point clouds: weight of values near zero, or of the wrong sign, elsewhere in the cube."""
    distance_weight: float = 1000.0
    """Of point clouds: weight of the error of the distance off the surface, told by the nearest points; 0 leaves
    SIREN's own loss, which doesn't know inside from outside."""
    normal_weight: float | None = None
    """Weight of the angle between gradients and normals on the surface; 100 for point clouds, 0 for meshes if left
    out."""
    eikonal_weight: float | None = None
    """Weight of the mean deviation of the gradient's length from 1; 50 for point clouds, 0 for meshes if left out."""
    eval_resolution: int = 128
    """Samples per axis of the surface that evaluation measures."""

    def problem(self) -> str | None:
        """What is wrong with the model's options, in one line, or None."""
        if not (self.truncation > 0 and self.far_weight >= 0 and self.eval_resolution >= 3):
            return (
                f"truncation={self.truncation} must be positive, far_weight={self.far_weight} not negative and"
                f" eval_resolution={self.eval_resolution} at least 3"
            )
        if not 0 < self.hardest <= 1:
            return f"hardest={self.hardest} must be a part of the points, above 0 and at most 1"
        for name in ("on_surface", "off_surface", "distance", "normal", "eikonal"):
            weight = getattr(self, f"{name}_weight")
            if weight is not None and not 0 <= weight < float("inf"):
                return f"{name}_weight={weight} must be finite and not negative"
        if self.noise.schedule in ("paper", "reference"):
            return (
                f"--pipeline.model.noise.schedule {self.noise.schedule} has no rule for shapes; use default, or fixed"
                " with s0 and s1"
            )
        return super().problem()


class SDFModel(SurfaceModel):
    """Fits signed distances (negative inside) in the unit cube."""

    config: SDFModelConfig
    signal: "Shape | PointCloud"
    exports = "mesh"
    cut, extent = "sdf-slice", "the shape lies within 0.9"

    def populate_modules(self) -> None:
        """Besides the field, the viewer's controls; lengths on them are in the input's units."""
        from ..signals.cloud import PointCloud

        super().populate_modules()
        self._of_cloud = isinstance(self.signal, PointCloud)
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
        normal, eikonal = self.config.normal_weight, self.config.eikonal_weight
        self.normal_weight = CLOUD_NORMAL_WEIGHT * self._of_cloud if normal is None else normal
        self.eikonal_weight = CLOUD_EIKONAL_WEIGHT * self._of_cloud if eikonal is None else eikonal

    def chosen(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The points with the greatest errors; finding them costs a third of what learning from them does."""
        if self._of_cloud or self.config.hardest == 1:
            return batch
        with torch.no_grad():
            error = (self.field(batch["coords"]) - batch["values"]).abs()[:, 0]
        rows = error.topk(max(1, round(len(error) * self.config.hardest))).indices
        return {name: values[rows] for name, values in batch.items()}

    def get_outputs(self, ray_bundle: RayBundle | Cameras | Float[Tensor, "n 3"]) -> Mapping[str, Any]:  # type: ignore[override]
        """Besides ``values``, their ``gradients`` [n, 3] by the coordinates if a term of the loss asks for them."""
        if not (isinstance(ray_bundle, Tensor) and (self.normal_weight or self.eikonal_weight)):
            return super().get_outputs(ray_bundle)
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            coords = ray_bundle.detach().requires_grad_(True)
            values = self.field(coords)
            (gradients,) = torch.autograd.grad(values.sum(), coords, create_graph=learning)
        return {"values": values, "gradients": gradients}

    def loss_terms(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What compares values, by the kind of target, and the two terms of gradients that have a weight."""
        compare = self._cloud_terms if self._of_cloud else self._mesh_terms
        terms = compare(outputs["values"], batch)
        if self.normal_weight:
            cosine = torch.nn.functional.cosine_similarity(outputs["gradients"], batch["normals"], dim=-1)
            on_surface = batch["normals"].any(-1)
            terms["normal"] = self.normal_weight * torch.where(on_surface, 1 - cosine, 0.0).mean()
        if self.eikonal_weight:
            terms["eikonal"] = self.eikonal_weight * (outputs["gradients"].norm(dim=-1) - 1).abs().mean()
        return terms

    def _mesh_terms(self, fitted: Float[Tensor, "n 1"], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean absolute error of truncated distances (DeepSDF, arXiv 1901.05103, eq. 4), and of all."""
        truth, limit = batch["values"], self.config.truncation
        return {
            "sdf_near": (fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)).abs().mean(),
            "sdf_all": self.config.far_weight * (fitted - truth).abs().mean(),
        }

    def _cloud_terms(self, fitted: Float[Tensor, "n 1"], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of SIREN (arXiv 2006.09661, section 4.2; weights as `loss_functions.sdf` of its code has them).

        And the error of the distance that the points tell. SIREN's term off the surface, ``exp(-100 |f|)``, keeps what
        has the wrong sign on the wrong side; beside the distance a value of the wrong sign counts as zero does.
        """
        config, truth, on_surface = self.config, batch["values"], batch["on_surface"] > 0
        height = (fitted * truth.sign()).clamp(min=0) if config.distance_weight else fitted.abs()
        return {
            "on_surface": config.on_surface_weight * torch.where(on_surface, fitted.abs(), 0.0).mean(),
            "off_surface": config.off_surface_weight
            * torch.where(on_surface, 0.0, torch.exp(-OFF_SURFACE_DECAY * height)).mean(),
            "distance": config.distance_weight * torch.where(on_surface, 0.0, (fitted - truth).abs()).mean(),
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
        """The signed distance from the input mesh, or from the shell about it."""
        distance = self.signal.signed_distance(points.cpu().numpy()) - self.signal.level
        return torch.from_numpy(distance).to(points)

    def target_light(self) -> DistanceGrid:
        """A coarse grid of that distance."""
        return self._target_light

    @cached_property
    def _target_light(self) -> DistanceGrid:
        return DistanceGrid.of(self.target_distance, self.device, COARSE)

    def evaluate(self, signal: "Shape | PointCloud") -> dict[str, float]:  # type: ignore[override]
        """Volume figures, and those of the surface extracted at `eval_resolution` where there is one.

        Of points there are only the latter, unless a reference is known, which all figures are against then.
        """
        from ..fields.surface import EmptySurfaceError, extract_surface, pull_onto_level
        from ..metrics.shape import surface_figures, volume_figures
        from ..signals.shape import Shape

        truth, resolution = self._truth, self.config.eval_resolution
        figures = volume_figures(self.field.evaluate, truth) if isinstance(truth, Shape) else {}
        with suppress(EmptySurfaceError):  # iou is 0 then, and there is no surface to measure
            surface = extract_surface(self.field.evaluate, resolution, truth.level)
            surface = pull_onto_level(surface, self.field, truth.level, 2 / (resolution - 1))
            figures |= surface_figures(surface, truth)
        return figures

    @property
    def _truth(self) -> "Shape | PointCloud":
        """What figures are against."""
        return getattr(self.signal, "reference", None) or self.signal

    @cached_property
    def _quick(self) -> "Quick":
        from ..metrics.shape import quick_points

        return quick_points(self._truth)

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
