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
from nerfstudio.viewer.viewer_elements import ViewerDropdown, ViewerNumber, ViewerSlider
from torch import Tensor

from ..fields.distance_grid import DistanceGrid
from ..fields.sphere_tracing import box_interval, sphere_trace
from .datamanager import DRAWN_BATCH, DrawnDataManagerConfig, subcommand
from .dataparsers import ShapeDataParserConfig
from .export_mesh import ExportMesh
from .model import Outputs, SignalModel, SignalModelConfig
from .shading import BACKGROUND, SHADINGS, Seen, diverging, round_length, shade, with_legend

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
    batch_size: int | None = None
    """Points per training step; if left out 8192 of a mesh, and half of that of points, whose steps take twice as
    long."""

    def points_per_step(self, signal: "Shape | PointCloud") -> int:
        """The batch size, that which was given or the one for this signal."""
        from ..signals.cloud import PointCloud

        return self.batch_size or DRAWN_BATCH // (2 if isinstance(signal, PointCloud) else 1)


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


class SDFModel(SignalModel):
    """Fits signed distances (negative inside) in the unit cube."""

    config: SDFModelConfig
    signal: "Shape | PointCloud"
    exports = "mesh"
    sides = 4

    def populate_modules(self) -> None:
        """Besides the field, the viewer's controls; lengths on them are in the input's units."""
        from ..signals.cloud import PointCloud

        super().populate_modules()
        self._of_cloud = isinstance(self.signal, PointCloud)
        scale = self.signal.normalization.scale
        most = float(f"{LARGEST_LEVEL / scale:.2g}")
        self.iso_level = ViewerSlider(
            "Iso level", 0.0, -most, most, most / 100, hint="Which distance from the surface to show, in its units"
        )
        self.shading = ViewerDropdown("Shading", SHADINGS[0], list(SHADINGS), hint="Light of rgb and target")
        self.slice_axis = ViewerDropdown("Slice axis", "z", ["x", "y", "z"], hint="What the plane of sdf-slice cuts")
        self.slice_position = ViewerSlider(
            "Slice position", 0.0, -1.0, 1.0, 0.01, hint="Where it stands along that axis; the shape lies within 0.9"
        )
        self.error_range = ViewerNumber(
            "Error range", round_length(ERROR_RANGE * self.signal.diagonal / scale), hint="What the strongest colour is"
        )
        self.export_now = ExportMesh(self.field, self.signal.name, self.iso_level)
        normal, eikonal = self.config.normal_weight, self.config.eikonal_weight
        self.normal_weight = CLOUD_NORMAL_WEIGHT * self._of_cloud if normal is None else normal
        self.eikonal_weight = CLOUD_EIKONAL_WEIGHT * self._of_cloud if eikonal is None else eikonal
        self._grid: tuple[object, DistanceGrid] | None = None

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
        return Outputs(
            {
                "rgb": lambda: view.shaded(view.fit, self.distance_grid()),
                "normals": lambda: torch.where(view.fit.hit[:, None], (view.fit.normals + 1) / 2, BACKGROUND),
                "depth": lambda: view.fit.depth[:, None],
                "accumulation": lambda: view.fit.hit[:, None].to(rays.origins),
                "target": lambda: view.shaded(view.target, self._target_grid),
                "error": view.error,
                "sdf-slice": view.slice,
            }
        )

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

    def distance_grid(self) -> DistanceGrid:
        """The grid of the field as it stands, less the iso level; kept until either changes."""
        state = self.level, *(parameter._version for parameter in self.field.parameters())
        if self._grid is None or self._grid[0] != state:
            self._grid = state, DistanceGrid.of(self.above_level, self.device)
        return self._grid[1]

    def above_level(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The fitted distance at points of the unit cube, less the iso level."""
        return self.field.evaluate(points)[:, 0] - self.level

    @cached_property
    def _target_grid(self) -> DistanceGrid:
        def distance(points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
            return torch.from_numpy(self.signal.signed_distance(points.cpu().numpy())).to(points)

        return DistanceGrid.of(distance, self.device, COARSE)

    def evaluate(self, signal: "Shape | PointCloud") -> dict[str, float]:  # type: ignore[override]
        """Volume figures, and those of the surface extracted at `eval_resolution` where there is one.

        Of points there are only the latter, unless a reference is known, which all figures are against then.
        """
        from ..fields.surface import EmptySurfaceError, extract_surface
        from ..metrics.shape import surface_figures, volume_figures
        from ..signals.shape import Shape

        truth = self._truth
        figures = volume_figures(self.field.evaluate, truth) if isinstance(truth, Shape) else {}
        with suppress(EmptySurfaceError):  # iou is 0 then, and there is no surface to measure
            figures |= surface_figures(extract_surface(self.field.evaluate, self.config.eval_resolution), truth)
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

    def pictures(self, signal: "Shape | PointCloud", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """The target's and the fit's surface under the same light, and the distance of one from the other."""
        outputs = self.get_outputs_for_camera(camera.to(self.device))
        names = {"target": "target", "fit": "rgb", "error": "error"}
        return {name: outputs[output].cpu() for name, output in names.items()}


class View:
    """One look at the fit and at its target; what has been found along the rays serves all outputs.

    Args:
        model: what is looked at.
        rays: a flat bundle; its `nears` and `fars`, if it has any, cut the fit open.
    """

    def __init__(self, model: SDFModel, rays: RayBundle) -> None:
        self.model, self.rays, self.signal = model, rays, model.signal
        self.origins, self.directions = rays.origins, rays.directions

    @cached_property
    def fit(self) -> Seen:
        """The fitted surface at the iso level."""
        model, rays = self.model, self.rays
        grid = model.distance_grid()

        def gradient(points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
            value, slopes = model.field.value_and_gradient(points)
            return value - model.level, slopes

        near, far = box_interval(self.origins, self.directions, *grid.box)
        if rays.nears is not None and rays.fars is not None:
            near, far = torch.maximum(near, rays.nears.reshape(-1)), torch.minimum(far, rays.fars.reshape(-1))
        # A pixel, where the shape is; the first ray stands for all.
        detail = float(rays.pixel_area[0, 0].sqrt() * self.origins[0].norm())
        hits = sphere_trace(model.above_level, gradient, grid, self.origins, self.directions, near, far, detail)
        normals = hits.gradient
        normals[hits.hit] = torch.nn.functional.normalize(normals[hits.hit], dim=-1)
        return Seen(hits.depth, hits.hit, normals)

    @cached_property
    def target(self) -> Seen:
        """The target's surface."""
        cast = self.signal.cast_rays(self.origins.cpu().numpy(), self.directions.cpu().numpy())
        depth, hit, normals = (torch.from_numpy(found).to(self.origins.device) for found in cast)
        return Seen(depth.to(self.origins), hit, normals.to(self.origins))

    def shaded(self, seen: Seen, grid: DistanceGrid) -> Float[Tensor, "n 3"]:
        """A surface in the light that was chosen."""
        return shade(seen, self.origins, self.directions, grid, self.model.up, self.model.shading.value)

    def error(self) -> Float[Tensor, "n 3"]:
        """The fitted surface, coloured by its signed distance from the target."""
        seen = self.fit
        colors = torch.full_like(self.origins, BACKGROUND)
        points = (self.origins + seen.depth[:, None] * self.directions)[seen.hit]
        distance = torch.from_numpy(self.signal.signed_distance(points.cpu().numpy())).to(points)
        facing = (seen.normals * self.directions)[seen.hit].sum(-1, keepdim=True).abs()
        reach = max(self.model.error_range.value * self.signal.normalization.scale, 1e-12)
        colors[seen.hit] = diverging(distance / reach) * (0.8 + 0.2 * facing)
        return colors

    def slice(self) -> Float[Tensor, "n 3"]:
        """The plane through the cube, coloured by the fitted distance, black where it is the iso level."""
        model = self.model
        axis = "xyz".index(model.slice_axis.value)
        across = self.directions[:, axis]
        along = (model.slice_position.value - self.origins[:, axis]) / torch.where(across.abs() < 1e-9, 1e-9, across)
        points = self.origins + along[:, None] * self.directions
        points[:, axis] = model.slice_position.value
        hit = (along > 0) & (points.abs() <= 1).all(-1)
        colors = torch.full_like(self.origins, BACKGROUND)
        value, points = model.field.evaluate(points[hit])[:, 0], points[hit]
        step = model.line_step * self.signal.normalization.scale
        pixel = along[hit] * self.rays.pixel_area[hit, 0].sqrt()
        shade = diverging(value / (step * ISO_LINES / 4))

        def line(distance: Tensor, width: float) -> Float[Tensor, "m 1"]:
            return (0.5 + width / 2 - distance.abs() / pixel).clamp(0, 1)[:, None]

        shade = shade * (1 - 0.35 * line(value - step * (value / step).round(), 1.0))
        colors[hit] = shade * (1 - line(value - model.level, 3.0))
        return colors
