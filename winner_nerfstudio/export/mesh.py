"""A fitted shape as a mesh file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import igl
import numpy as np
import torch
import trimesh
from jaxtyping import Float
from numpy import ndarray

from ..colors import diverging
from ..fields import Field
from ..files import replacing
from ..registry import kind_named, require_result
from ..signals.normalization import Normalization
from ..signals.shape import Shape
from ..surfaces.extraction import Solid, extract_surface, pull_onto_level
from .errors import ExportError

SUFFIXES = (".ply", ".obj", ".stl", ".glb")
"""Mesh formats that can be written."""
ERROR_RANGE = 0.004
"""Errors that take the strongest colour if nothing else is said, as a part of the bounding box's diagonal."""
CURVATURE_PART = 0.95
"""Part of the vertices whose curvature lies within what takes the strongest colour."""
_EXTRACTING = 0.7
"""Part of the time, about, that extraction takes, the rest being the pull onto the level."""


@dataclass(frozen=True)
class Finish:
    """What is done to a mesh before it is written.

    Attributes:
        components: which pieces to keep: all ("keep"), the one with the greatest volume ("largest"), or those with at
            least `min_volume` of its volume ("min-volume").
        min_volume: a part of the largest piece's volume.
        simplify: faces, at most, to be left by quadric decimation; None leaves all.
        colors: of the vertices: none, by mean "curvature", or by signed distance from `target` ("error").
        color_range: what takes the strongest colour, in the output's units, or one over them for curvature; chosen for
            the mesh if None.
        target: what errors are measured against, in its own units.
    """

    components: Literal["keep", "largest", "min-volume"] = "keep"
    min_volume: float = 1e-3
    simplify: int | None = None
    colors: Literal["none", "curvature", "error"] = "none"
    color_range: float | None = None
    target: Shape | None = None

    def problem(self) -> str | None:
        """What is wrong, in one line, or None."""
        if not 0 <= self.min_volume <= 1:
            return f"min_volume={self.min_volume} must be a part of the largest piece's volume, 0 to 1"
        if self.simplify is not None and self.simplify < 4:
            return f"simplify={self.simplify} must leave at least 4 faces"
        if self.color_range is not None and not 0 < self.color_range < float("inf"):
            return f"color_range={self.color_range} must be positive and finite"
        if (self.colors == "error") != (self.target is not None):
            return "colours by error need a target to measure against, and nothing else does; give both or neither"
        return None


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        mesh: as it stands in the file.
        found: pieces of the surface before any was dropped.
        pieces: pieces that were kept.
        color_range: what the strongest colour stands for; None without colours.
    """

    mesh: trimesh.Trimesh
    found: int
    pieces: int
    color_range: float | None


def export_mesh(
    field: Field,
    output: Path,
    resolution: int = 256,
    level: float | None = None,
    normalized: bool = False,
    finish: Finish | None = None,
    progress: Callable[[float], None] = lambda part: None,
) -> Exported:
    """Write the surface of a fitted signed distance or volume; a failure leaves what stood at `output` as it was.

    Vertices lie on the field's level to single precision, and have the field's normals (.stl has no room for these).

    Args:
        field: of kind "sdf" or "volume".
        output: the file, with a suffix of `SUFFIXES`; folders on its way are made.
        resolution: samples per axis of [-1, 1]^3.
        level: of a signed distance, in the units of the output; 0 if left out, or half a shell's thickness where it has
            no sign. Of a volume, in its own values; that of the run if left out.
        normalized: stay in [-1, 1]^3 instead of going back to the input's coordinates.
        finish: what is done to the mesh; nothing if None.
        progress: called with the part done, 0 to 1.

    Raises:
        ExportError: another kind of field, an unknown suffix, a finish that won't do, or colours in an .stl.
        ValueError: a resolution below 3.
        EmptySurfaceError: the field has no surface at this level.
        OSError: the file cannot be written.
    """
    finish, suffix = finish or Finish(), output.suffix.lower()
    if suffix not in SUFFIXES:
        raise ExportError(f"{output}: unknown mesh format {suffix!r}; use one of {', '.join(SUFFIXES)}")
    require_result(field.kind, "mesh")
    if problem := finish.problem():
        raise ExportError(problem)
    if suffix == ".stl" and finish.colors != "none":
        raise ExportError(f"{output}: .stl holds no colours; use .ply, .obj or .glb")
    if normalized and level is not None:
        # Where values are lengths they are now those of the cube.
        record = field.record
        level *= record.units(field.normalization.scale).amplitude / record.units(1.0).amplitude
    solid, unit_level = kind_named(field.kind).solid(field, resolution, level)
    spacing, way = 2 / (resolution - 1), solid.normalization
    scale = way.scale / field.normalization.scale if normalized else way.scale
    mesh = extract_surface(solid.evaluate, resolution, unit_level, lambda part: progress(_EXTRACTING * part))
    mesh, found, pieces = keep_components(mesh, finish.components, finish.min_volume)
    mesh = pull_onto_level(
        mesh, solid, unit_level, spacing, lambda part: progress(_EXTRACTING + (1 - _EXTRACTING) * part)
    )
    if finish.simplify is not None and finish.simplify < len(mesh.faces):
        mesh = simplified(mesh, finish.simplify, solid)
    colors, reach = None, finish.color_range
    if finish.colors != "none":
        values = mean_curvature(mesh) * scale if finish.colors == "curvature" else _errors(mesh, way, finish) / scale
        if reach is None and finish.colors == "error":
            reach = ERROR_RANGE * float(np.linalg.norm(mesh.extents)) / scale
        elif reach is None:
            reach = float(np.quantile(np.abs(values), CURVATURE_PART)) or 1.0
        colors = (diverging(values / reach) * 255 + 0.5).astype(np.uint8)
    vertices = mesh.vertices / scale if normalized else way.to_world(mesh.vertices)
    if suffix != ".obj":
        vertices = vertices.astype(np.float32).astype(np.float64)
    mesh = trimesh.Trimesh(
        vertices, mesh.faces, vertex_normals=mesh.vertex_normals, vertex_colors=colors, process=False
    )
    _drop_empty_faces(mesh)
    output.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {".ply": {"vertex_normal": True}, ".stl": {}}.get(suffix, {"include_normals": True})
    with replacing(output) as path:
        mesh.export(path, **options)
    return Exported(mesh, found, pieces, reach)


def keep_components(mesh: trimesh.Trimesh, which: str, min_volume: float) -> tuple[trimesh.Trimesh, int, int]:
    """The mesh without the pieces that `Finish.components` drops, how many there were, and how many are left.

    A cavity is a piece like any other, of its own volume; so "largest" fills what is hollow.
    """
    label = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    first, second, third = mesh.triangles.transpose(1, 0, 2)
    volume = np.abs(np.bincount(label, (first * np.cross(second, third)).sum(-1)))
    found = len(volume)
    if which == "keep" or found == 1:
        return mesh, found, found
    kept = volume >= (min_volume if which == "min-volume" else 1) * volume.max()
    mesh = mesh.copy()
    mesh.update_faces(kept[label])
    mesh.remove_unreferenced_vertices()
    return mesh, found, int(kept.sum())


def simplified(mesh: trimesh.Trimesh, faces: int, solid: Solid) -> trimesh.Trimesh:
    """The mesh with no more than that many faces, if that can be had without a hole (QSlim, Garland 1997; libigl).

    Its normals are the field's.
    """
    vertices, corners = np.asfortranarray(mesh.vertices), np.asfortranarray(mesh.faces, np.int32)
    vertices, corners, _, _ = igl.qslim(vertices, corners, faces)
    _, gradients = solid.value_and_gradient(torch.from_numpy(vertices.astype(np.float32)))
    normals = gradients.cpu().numpy()
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-12)
    return trimesh.Trimesh(vertices, corners, vertex_normals=normals, process=False)


def mean_curvature(mesh: trimesh.Trimesh) -> Float[ndarray, " v"]:
    """Mean curvature at vertices, positive where the surface is convex, from how normals turn along the edges, [v]."""
    first, second = mesh.edges_unique.T
    along = mesh.vertices[second] - mesh.vertices[first]
    turn = ((mesh.vertex_normals[second] - mesh.vertex_normals[first]) * along).sum(-1)
    square = (along**2).sum(-1)
    both, count = np.concatenate([first, second]), len(mesh.vertices)
    turns, squares = np.bincount(both, np.tile(turn, 2), count), np.bincount(both, np.tile(square, 2), count)
    return turns / squares.clip(1e-30)


def _errors(mesh: trimesh.Trimesh, way: Normalization, finish: Finish) -> Float[ndarray, " v"]:
    """Signed distance of vertices from the target, unit-cube lengths, [v]."""
    assert finish.target is not None
    theirs = finish.target.normalization
    points = theirs.to_unit(way.to_world(mesh.vertices))
    return finish.target.signed_distance(points) / theirs.scale * way.scale


def _drop_empty_faces(mesh: trimesh.Trimesh) -> None:
    """Merge vertices that fall together and drop the triangles between them, in place: the mesh stays closed."""
    mesh.merge_vertices(merge_norm=True)
    mesh.update_faces((mesh.faces != np.roll(mesh.faces, 1, axis=-1)).all(-1))
    mesh.remove_unreferenced_vertices()


def loses_detail(mesh: trimesh.Trimesh, output: Path) -> bool:
    """Whether a file's single precision is coarse beside the mesh's edges: .ply, .stl and .glb far from the origin."""
    spacing = np.spacing(np.float32(np.abs(mesh.vertices).max()))
    return output.suffix.lower() != ".obj" and spacing > 0.05 * np.median(mesh.edges_unique_length)
