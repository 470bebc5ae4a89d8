"""The kind of shapes: surfaces given by meshes, or by points on them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..export.command import Export, Progress
from ..export.suffixes import MESHES
from ..registry import Baseline, Kind, Metrics, Monitor, PartRecipe, PartSize, Recipe
from ..signals.options import ShapeOptions
from ..signals.records import ShapeRecord

if TYPE_CHECKING:
    import trimesh

    from ..export.mesh import Exported, Finish
    from ..fields import Field
    from ..fields.fitted import FittedField
    from ..signals.cloud import PointCloud
    from ..signals.shape import Shape
    from ..signals.shape.painting import Painting
    from ..surfaces.extraction import Solid
    from ..training.loss import Loss
    from ..training.options import DistanceOptions, DrawnOptions


class ShapeKind(Kind):
    """A shape, fitted by its signed distance; its coordinates are those of the mesh."""

    name = "sdf"
    title = "a shape"
    axes = 3
    channels = 1
    suffixes = (
        ".obj",
        ".ply",
        ".stl",
        ".off",
        ".glb",
        ".gltf",
        ".3mf",
        ".xyz",
        ".pcd",
        ".txt",
        ".csv",
        ".asc",
        ".pts",
        ".xyzn",
        ".xyzrgb",
        ".las",
        ".laz",
    )
    formats = ".obj .ply .stl .off .glb .3mf .xyz .pcd .npy"
    frequency_unit = "cycles per unit of the mesh"
    options = ShapeOptions
    sampling_options = ("surface_fraction", "near_fraction", "near_sigmas")
    record = ShapeRecord
    recipe = Recipe(
        2500,
        parts=PartRecipe(
            {
                "small": PartSize(0, 16, 1250, {"muon": 2e-3, "adam": 1e-3}),
                "medium": PartSize(0, 24, 1250, {"muon": 2e-3, "adam": 1e-3}),
                "large": PartSize(0, 32, 1250, {"muon": 2e-3, "adam": 1e-3}),
            },
            num_layers=3,
        ),
    )
    metric_names = Metrics(
        (
            "iou",
            "sdf_error_near",
            "sdf_error_far",
            "distance_to_target",
            "distance_to_fit",
            "chamfer_l1",
            "chamfer_l2",
            "normal_consistency",
            "f_score_0.5%",
            "f_score_1%",
            "edge_normal_degrees",
            "best_iou",
            "best_iou_step",
            "psnr_colour",
        ),
        (
            "iou",
            "chamfer_l1",
            "chamfer_l2",
            "normal_consistency",
            "f_score_0.5%",
            "sdf_error_near",
            "sdf_error_far",
        ),
        headline="iou",
        curve="iou",
        curve_label="IoU",
    )
    views = "winner_nerfstudio.nerfstudio.models.sdf:SDFModel"

    @property
    def data_parser(self) -> str:
        """The name of the data parser, ``shape-data``."""
        return "shape-data"

    @property
    def network(self) -> type[DistanceOptions]:
        """The options of the network, its initialisation and the loss of a signed distance."""
        from ..training.options import DistanceOptions

        return DistanceOptions

    @property
    def batches(self) -> type[DrawnOptions]:
        """The options of batches of points that are drawn all the time."""
        from ..training.options import DrawnOptions

        return DrawnOptions

    @property
    def samples(self) -> Mapping[str, Callable[[], Any]]:
        """The built-in shapes."""
        from ..signals.samples import SHAPES

        return SHAPES

    def claims(self, data: Any) -> bool:
        """Return whether it is a mesh or a scene of trimesh's or the like, or an array [n, 3] or [n, 6]."""
        shape: tuple[int, ...] = getattr(data, "shape", ())
        is_mesh = hasattr(data, "faces") and hasattr(data, "vertices")
        is_scene = hasattr(data, "geometry") and hasattr(data, "to_mesh")
        return is_mesh or is_scene or (len(shape) == 2 and shape[1] in (3, 6))

    def load(self, source: Any, options: ShapeOptions) -> Shape | PointCloud:
        """Load a mesh as a `Shape`, or points as a `PointCloud`, see `load_surface`."""
        from ..signals.cloud import load_surface

        options.check()
        return load_surface(source, options, options.sign, options.reference, options.nodata, options.colour == "auto")

    def count_parts(self, signal: Shape | PointCloud, options: DistanceOptions) -> tuple[int]:
        """Return the cells along each axis of a mesh; of a surface given by points too little is known."""
        from ..signals.shape import Shape
        from ..training.cells import choose_cells

        if not isinstance(signal, Shape) or options.normal_weight or options.eikonal_weight:
            return (1,)
        return (choose_cells(signal),)

    def loss(self, signal: Any, options: Any) -> Loss:
        """Return the error of the distance, with SIREN's terms where they have a weight."""
        from ..signals.cloud import PointCloud
        from ..training.cells import DistanceCellLoss
        from ..training.loss import DistanceLoss

        if options.has_parts:
            return DistanceCellLoss(options)
        return DistanceLoss(options, isinstance(signal, PointCloud))

    def metrics(self, field: Field, signal: Shape | PointCloud, options: Any) -> dict[str, float]:
        """Compute volume metrics, and those of the surface extracted at ``eval_resolution`` where there is one.

        For points there are only the latter, unless a reference is known; then all metrics are against that. Of a field
        of noise, whose surface is everywhere, they are left out with a warning.
        """
        from ..metrics.shape import surface_metrics, volume_metrics
        from ..signals.shape import Shape
        from ..surfaces.extraction import DENSEST, DenseSurfaceError, EmptySurfaceError
        from ..surfaces.mesh import extract_mesh

        truth = ground_truth(signal)
        metrics = volume_metrics(field.evaluate, truth) if isinstance(truth, Shape) else {}
        with suppress(EmptySurfaceError):  # iou is 0 then, and there is no surface to measure
            try:
                surface, _ = extract_mesh(field, options.eval_resolution, densest=DENSEST)
                metrics |= surface_metrics(surface, truth)
            except DenseSurfaceError as error:
                warnings.warn(
                    f"{error}: the metrics of its surface are left out; a lower learning rate may help", stacklevel=2
                )
        return metrics

    def monitor(self, signal: Shape | PointCloud, most: int = 1 << 16) -> Monitor:
        """Return ``iou`` over a few points."""
        from ..metrics.shape import quick_metrics, quick_points

        quick = quick_points(ground_truth(signal))
        return Monitor(len(quick.points), lambda field: quick_metrics(field.evaluate, quick))

    def companion(self, signal: Shape | PointCloud) -> Painting | None:
        """Return the colours of the shape if it has any."""
        from ..signals.shape.painting import Painting

        return None if signal.colors is None else Painting(signal)

    def baseline(self, signal: Shape | PointCloud) -> Baseline:
        """Return that a solid's ``iou`` must exceed a half, and that any other fit must have a surface."""
        from ..signals.shape import Shape

        truth = ground_truth(signal)
        if isinstance(truth, Shape) and truth.signed:
            return Baseline("iou", 0.5, "overlaps with the target by less than a half (IoU)", good=0.95, rise=0.03)
        return Baseline("normal_consistency", 0.0, "has no surface", good=0.95, rise=0.03)

    def solid(self, field: Field, resolution: int, level: float | None) -> tuple[Solid, float]:
        """Return the field itself, and `level` in unit-cube lengths: 0, or half a shell's thickness, if None."""
        record = field.record
        assert isinstance(record, ShapeRecord)
        return field, (record.level or 0.0) if level is None else level * field.normalization.scale

    @property
    def results(self) -> Mapping[str, Callable[..., Any]]:
        """The function `mesh`."""
        return {"mesh": mesh}

    @property
    def exports(self) -> Mapping[str, type[Export]]:
        """The command `MeshExport`."""
        return {"mesh": MeshExport}


def ground_truth(signal: Shape | PointCloud) -> Shape | PointCloud:
    """Return what the metrics of a shape are computed against: its reference if it has one, else itself."""
    return getattr(signal, "reference", None) or signal


def mesh(fitted: FittedField, resolution: int = 256, level: float | None = None) -> trimesh.Trimesh:
    """Return the surface of a shape or of a volume, in the world, with the field's normals and the fitted colours.

    Args:
        fitted: a field of a kind that has a surface.
        resolution: samples per axis of the cube around it; what is thinner than a cell may be lost.
        level: of a shape, the signed distance of the surface; of a volume, its value there; the run's if left out.

    Raises:
        ValueError: a resolution below 3, or no surface at this level.
        ImportError: libigl, scipy or trimesh is missing.
    """
    import numpy as np
    import trimesh

    from ..surfaces.mesh import extract_mesh

    surface, solid = extract_mesh(fitted.field, resolution, level)
    vertices = solid.normalization.to_world(surface.vertices)
    colors = None if fitted.companion is None else np.rint(255 * fitted.color(vertices)).astype(np.uint8)
    return trimesh.Trimesh(
        vertices, surface.faces, vertex_normals=surface.vertex_normals, vertex_colors=colors, process=False
    )


@dataclass
class MeshExport(Export):
    """Write the surface of a fitted shape, or of a fitted volume, as a mesh, in the input's units and pose.

    The original file is not needed. Evaluates the field only where its surface can be. Writes .ply, .obj, .stl or .glb.
    """

    result = "mesh"
    suffixes = MESHES
    resolution: int = 256
    """Samples per axis of the cube around the shape; what is thinner than a cell may be lost."""
    level: float | None = None
    """Of a shape: signed distance of the surface, in the units of the output, above 0 outside; if left out 0, or half a
    shell's thickness where a distance without sign was fitted. Of a volume: the value at the surface; that of the run
    if left out."""
    normalized: bool = False
    """Stay in the network's cube [-1, 1]^3."""
    components: Literal["keep", "largest", "min-volume"] = "keep"
    """Which pieces of the surface to keep: all, the largest, or those of some size beside the largest."""
    min_volume: float | None = None
    """With --components min-volume: the least that is kept, as a fraction of the largest piece's volume; 0.001 if left
    out."""
    simplify: int | None = None
    """Faces, at most, to be left by quadric decimation."""
    colors: Literal["auto", "none", "fitted", "curvature", "error"] = "auto"
    """Colour the vertices: with the fitted colours of a shape that has some, by mean curvature, or by signed distance
    from --target. With auto they have the fitted colours where there are some and the format holds them."""
    texture: int | None = None
    """Width in texels, such as 2048, of a texture of the fitted colours, in a .glb file or beside an .obj file; if left
    out, the vertices have the colours."""
    color_range: float | None = None
    """With --colors curvature or error: what the strongest colour stands for, in the output's units, or one over them
    for curvature; chosen if left out."""
    target: Path | None = None
    """With --colors error: the mesh to compare with, in the coordinates in which it was fitted."""

    def check(self, fitted: FittedField) -> None:
        """Check that the field has a surface, and the options of the mesh; see `export_mesh`."""
        from ..export.mesh import check_export
        from ..surfaces.extraction import check_resolution

        super().check(fitted)
        check_resolution(self.resolution)
        check_export(fitted.field, self.output, self._finish(fitted))

    def write(self, fitted: FittedField, progress: Progress) -> str:
        """Write the mesh; return its size and pieces."""
        from ..export.mesh import DOUBLE, export_mesh, loses_detail

        finish = self._finish(fitted)
        done = export_mesh(fitted.field, self.output, self.resolution, self.level, self.normalized, finish, progress)
        if loses_detail(done.mesh, self.output):
            print(  # noqa: T201
                f"warning: {self.output}: this format's single precision is coarse so far from the origin;"
                f" {' and '.join(DOUBLE)} keep every digit",
                file=sys.stderr,
            )
        return self._summarize(done)

    @property
    def companions(self) -> tuple[Path, ...]:
        """The material and the texture of an .obj file."""
        from ..export.suffixes import texture_path

        if self.texture is None or self.output.suffix.lower() != ".obj":
            return ()
        return self.output.with_suffix(".mtl"), texture_path(self.output)

    @property
    def sources(self) -> tuple[Path, ...]:
        """The fit, and the mesh to compare with."""
        return (*super().sources, *([] if self.target is None else [self.target]))

    def _finish(self, fitted: FittedField) -> Finish:
        """Return what is done to the mesh of a field.

        Raises:
            ValueError: --target is missing, or is there without need; or it cannot be loaded.
        """
        from ..export.mesh import COLORLESS, Finish

        colors = self.colors
        if colors == "auto":
            is_colorless = self.texture is None and self.output.suffix.lower() in COLORLESS
            colors = "none" if fitted.companion is None or is_colorless else "fitted"
        if (self.colors == "error") != (self.target is not None):
            raise ValueError("--colors error and --target go together: give both or neither")
        return Finish(
            self.components,
            self.min_volume,
            self.simplify,
            colors,
            self.color_range,
            self._loaded_target,
            fitted.companion,
            self.texture,
        )

    @cached_property
    def _loaded_target(self) -> Shape | None:
        """The mesh to compare with, if there is one."""
        from ..signals.shape import load_shape

        return None if self.target is None else load_shape(self.target)

    def _summarize(self, done: Exported) -> str:
        from ..export.suffixes import texture_path

        mesh = done.mesh
        watertight = "watertight" if mesh.is_watertight else "not watertight"
        of_all = f" of {done.found}" if done.found > done.pieces else ""
        text = (
            f"{len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, {watertight}, in"
            f" {done.pieces}{of_all} piece{'s' * (done.found != 1)}"
        )
        if self.texture is not None:
            text += f"; a texture of {self.texture} x {self.texture} texels"
            if self.output.suffix.lower() == ".obj":
                text += f" in {texture_path(self.output).name}"
        if done.color_range is not None:
            text += f"; blue to red is {self.colors} from {-done.color_range:.3g} to {done.color_range:.3g}"
        return text
