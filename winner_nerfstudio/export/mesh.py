"""Write the surface of a fitted shape or volume as a mesh file."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import igl
import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from ..colors import diverging
from ..fields import Field
from ..fields.field import evaluate_colors
from ..files import replacing
from ..registry import require_result
from ..signals.extras import require_extra
from ..signals.normalization import Normalization
from ..signals.shape import Shape
from ..surfaces.extraction import Solid
from ..surfaces.mesh import extract_mesh
from .errors import ExportError
from .glb import encode_glb, encode_textured_glb
from .obj import write_textured_obj
from .ply import encode_ply
from .suffixes import MESHES, TEXTURED
from .texture import Texture, bake

COLORLESS = (".stl",)
"""The formats that hold no colours."""
DOUBLE = (".obj", ".ply")
"""The formats that can hold coordinates in double precision."""
TEXTURE_SIZES = (16, 8192)
"""Least and greatest width of a texture, texels."""
ERROR_RANGE = 0.004
"""Errors that take the strongest colour unless a range is given, as a part of the bounding box's diagonal."""
CURVATURE_PART = 0.95
"""Part of the vertices whose curvature lies within the range of colours, unless a range is given."""
LEAST_VOLUME = 1e-3
"""Part of the largest piece's volume that a piece must have to be kept by its volume, unless another is given."""


@dataclass(frozen=True)
class Finish:
    """What to do to a mesh before it is written.

    Attributes:
        components: which pieces to keep: all ("keep"), the one with the greatest volume ("largest"), or those with at
            least `min_volume` of its volume ("min-volume").
        min_volume: a part of the largest piece's volume, 0 to 1; `LEAST_VOLUME` if None.
        simplify: greatest number of faces, reached by quadric decimation; None keeps all.
        colors: of the vertices: none, those that were "fitted" beside the distance, by mean "curvature", or by signed
            distance from `target` ("error").
        color_range: value of the strongest colour by curvature or error, in the output's units, or one over them for
            curvature; chosen for the mesh if None.
        target: the shape that errors are measured against, in its own units.
        painting: the field of the fitted colours, in whose cube the mesh is extracted.
        texture: width and height, in texels, of a texture that has the fitted colours instead of the vertices; None for
            no texture.
    """

    components: Literal["keep", "largest", "min-volume"] = "keep"
    min_volume: float | None = None
    simplify: int | None = None
    colors: Literal["none", "fitted", "curvature", "error"] = "none"
    color_range: float | None = None
    target: Shape | None = None
    painting: Field | None = None
    texture: int | None = None

    def check(self) -> None:
        """Check the values.

        Raises:
            ExportError: a value that is impossible; the message is one line.
        """
        if self.min_volume is not None and not 0 <= self.min_volume <= 1:
            raise ExportError(f"min_volume={self.min_volume} must be a part of the largest piece's volume, 0 to 1")
        if self.min_volume is not None and self.components != "min-volume":
            raise ExportError(
                f"min_volume={self.min_volume} is for components='min-volume'; give both, or leave out min_volume"
            )
        if self.simplify is not None and self.simplify < 4:
            raise ExportError(f"simplify={self.simplify} must leave at least 4 faces")
        if self.color_range is not None and not 0 < self.color_range < float("inf"):
            raise ExportError(f"color_range={self.color_range} must be positive and finite")
        if self.color_range is not None and self.colors not in ("curvature", "error"):
            raise ExportError(
                f"color_range={self.color_range} is for colours by curvature or error; choose one, or leave it out"
            )
        if (self.colors == "error") != (self.target is not None):
            raise ExportError(
                "colours by error need a target to measure against, and nothing else does; give both or neither"
            )
        if self.colors == "fitted" and self.painting is None:
            raise ExportError("there are no fitted colours: the shape had none, or they were left out")
        least, most = TEXTURE_SIZES
        if self.texture is not None and not least <= self.texture <= most:
            raise ExportError(f"texture={self.texture} must be a width of {least} to {most} texels")
        if self.texture is not None and self.colors == "none":
            raise ExportError(
                "a texture holds fitted colours, and there are none: the shape had none, or they were left out"
            )
        if self.texture is not None and self.colors != "fitted":
            raise ExportError(f"a texture holds fitted colours, and colours by {self.colors!r} are those of vertices")


@dataclass(frozen=True)
class Exported:
    """A mesh that was written.

    Attributes:
        mesh: as it is in the file.
        found: pieces of the surface before any was dropped.
        pieces: pieces that were kept.
        color_range: value of the strongest colour; None without colours.
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
    """Write the surface of a fitted signed distance or volume; after a failure an existing file is as it was.

    Vertices lie on the field's level to single precision and have the field's normals (.stl has no room for these).

    Args:
        field: of kind "sdf" or "volume".
        output: the file, with a suffix of `MESHES`; missing folders are made.
        resolution: samples per axis of [-1, 1]^3.
        level: of a signed distance, in the units of the output; 0 if left out, or half a shell's thickness where it has
            no sign. Of a volume, in its own values; that of the run if left out.
        normalized: stay in [-1, 1]^3 instead of going back to the input's coordinates.
        finish: what to do to the mesh; nothing if None.
        progress: called with the part that is done, 0 to 1.

    Raises:
        ExportError: another kind of field, an unknown suffix, an impossible finish, colours in an .stl, or a texture in
            another format than those of `TEXTURED`.
        SignalError: there is to be a texture, and xatlas is missing.
        ValueError: a resolution below 3.
        EmptySurfaceError: the field has no surface at this level.
        OSError: the file cannot be written.
    """
    finish = finish or Finish()
    check_export(field, output, finish)
    if normalized and level is not None:  # where values are lengths, they are those of the cube
        record = field.record
        level *= record.units(field.normalization.scale).amplitude / record.units(1.0).amplitude
    found = pieces = 0

    def select(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
        nonlocal found, pieces
        mesh, found, pieces = keep_components(
            mesh, finish.components, LEAST_VOLUME if finish.min_volume is None else finish.min_volume
        )
        return mesh

    part = 1.0 if finish.texture is None else 0.5
    mesh, solid = extract_mesh(field, resolution, level, select, lambda done: progress(part * done))
    if finish.simplify is not None and finish.simplify < len(mesh.faces):
        mesh = simplify(mesh, finish.simplify, solid)
    normalization = solid.normalization
    if normalized:  # from the solid's cube to the field's, which may be smaller
        normalization = Normalization((0.0, 0.0, 0.0), normalization.scale / field.normalization.scale)
    if finish.texture is not None:
        assert finish.painting is not None, "checked before"
        mesh = _place(mesh, normalization, None, output)
        cube = trimesh.Trimesh(normalization.to_unit(mesh.vertices), mesh.faces, process=False)
        paint = partial(_paint, finish.painting, solid.normalization)
        texture = bake(cube, finish.texture, paint, lambda done: progress(part * (1 + done)))
        _write_textured(mesh, texture, output)
        return Exported(mesh, found, pieces, None)
    colors, color_range = _color(mesh, solid.normalization, normalization.scale, finish)
    mesh = _place(mesh, normalization, colors, output)
    _write(mesh, output, is_lit=finish.colors == "fitted")
    return Exported(mesh, found, pieces, color_range)


def check_export(field: Field, output: Path, finish: Finish) -> None:
    """Refuse what cannot be exported, before anything is evaluated.

    Raises:
        ExportError: see `export_mesh`.
        SignalError: likewise.
    """
    suffix = output.suffix.lower()
    if suffix not in MESHES:
        raise ExportError(f"{output}: unknown mesh format {suffix!r}; use one of {', '.join(MESHES)}")
    require_result(field.kind, "mesh")
    finish.check()
    if finish.texture is not None and suffix not in TEXTURED:
        raise ExportError(f"{output}: no texture is written to {suffix}; use {' or '.join(TEXTURED)}")
    if suffix in COLORLESS and finish.colors != "none":
        raise ExportError(f"{output}: {suffix} holds no colours; use .ply, .obj or .glb")
    if finish.texture is not None:
        require_extra("xatlas", "texture", f"{output}: its texture is laid out")


def keep_components(mesh: trimesh.Trimesh, which: str, min_volume: float) -> tuple[trimesh.Trimesh, int, int]:
    """Drop the pieces that `Finish.components` rules out.

    A cavity is a piece like any other, with a volume of its own; so "largest" fills hollow shapes.

    Returns:
        The mesh, how many pieces it had, and how many are left.
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


def simplify(mesh: trimesh.Trimesh, faces: int, solid: Solid) -> trimesh.Trimesh:
    """Return the mesh with no more than that many faces, if that is possible without a hole (QSlim, Garland 1997).

    Its normals are the solid's.
    """
    vertices, corners = np.asfortranarray(mesh.vertices), np.asfortranarray(mesh.faces, np.int32)
    vertices, corners, _, _ = igl.qslim(vertices, corners, faces)
    _, gradients = solid.value_and_gradient(torch.from_numpy(vertices.astype(np.float32)))
    normals = gradients.cpu().numpy()
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-12)
    return trimesh.Trimesh(vertices, corners, vertex_normals=normals, process=False)


def _color(
    mesh: trimesh.Trimesh, normalization: Normalization, scale: float, finish: Finish
) -> tuple[UInt8[ndarray, "v 3"] | None, float | None]:
    """Return the colours of a mesh's vertices, and the value of the strongest one; None where there are none.

    Args:
        mesh: in the unit cube.
        normalization: from the world to that cube.
        scale: cube lengths per length of the output.
        finish: what the colours stand for.
    """
    strongest = finish.color_range
    if finish.colors == "none":
        return None, None
    if finish.colors == "fitted":
        assert finish.painting is not None, "checked before"
        return _paint(finish.painting, normalization, np.asarray(mesh.vertices)), None
    if finish.colors == "curvature":
        values = mean_curvature(mesh) * scale
        default = float(np.quantile(np.abs(values), CURVATURE_PART)) or 1.0
    else:
        values = _errors(mesh, normalization, finish) / scale
        default = ERROR_RANGE * float(np.linalg.norm(mesh.extents)) / scale
    strongest = default if strongest is None else strongest
    return (diverging(values / strongest) * 255 + 0.5).astype(np.uint8), strongest


def _paint(painting: Field, normalization: Normalization, points: Float[ndarray, "n 3"]) -> UInt8[ndarray, "n 3"]:
    """Return the fitted colours of points.

    Args:
        painting: the field of the colours.
        normalization: from the world to the cube in which the points are.
        points: on the surface or close to it.
    """
    theirs = torch.from_numpy(painting.normalization.to_unit(normalization.to_world(points)).astype(np.float32))
    return (evaluate_colors(painting, theirs).cpu().numpy() * 255 + 0.5).astype(np.uint8)


def mean_curvature(mesh: trimesh.Trimesh) -> Float[ndarray, " v"]:
    """Return the mean curvature at vertices from how normals turn along edges, positive where convex, [v]."""
    first, second = mesh.edges_unique.T
    along = mesh.vertices[second] - mesh.vertices[first]
    turn = ((mesh.vertex_normals[second] - mesh.vertex_normals[first]) * along).sum(-1)
    square = (along**2).sum(-1)
    both, count = np.concatenate([first, second]), len(mesh.vertices)
    turns, squares = np.bincount(both, np.tile(turn, 2), count), np.bincount(both, np.tile(square, 2), count)
    return turns / squares.clip(1e-30)


def _errors(mesh: trimesh.Trimesh, normalization: Normalization, finish: Finish) -> Float[ndarray, " v"]:
    """Return the signed distances of vertices from the target, unit-cube lengths, [v]."""
    assert finish.target is not None
    theirs = finish.target.normalization
    points = theirs.to_unit(normalization.to_world(mesh.vertices))
    return finish.target.signed_distance(points) / theirs.scale * normalization.scale


def _place(
    mesh: trimesh.Trimesh, normalization: Normalization, colors: UInt8[ndarray, "v 3"] | None, output: Path
) -> trimesh.Trimesh:
    """Return the mesh in the output's coordinates, watertight still where vertices fall together there.

    Args:
        mesh: in the unit cube.
        normalization: from the output's coordinates to that cube.
        colors: of the vertices.
        output: the file; .obj holds double precision, .ply where single precision is coarse, the others never.

    Raises:
        ExportError: single precision cannot hold the coordinates.
    """
    vertices = np.asarray(normalization.to_world(mesh.vertices))
    suffix = output.suffix.lower()
    # A .ply file has double precision only where that matters, because not every program reads it.
    if suffix not in DOUBLE or (
        suffix == ".ply" and not _is_coarse(trimesh.Trimesh(vertices, mesh.faces, process=False))
    ):
        vertices = _single(vertices)
    faces, kept = _drop_empty_faces(vertices, mesh.faces)
    if not len(faces) or not np.isfinite(vertices).all():
        raise ExportError(
            f"{output}: this format's single precision cannot hold coordinates of this size; use {' or '.join(DOUBLE)}"
        )
    return trimesh.Trimesh(
        vertices[kept],
        faces,
        vertex_normals=mesh.vertex_normals[kept],
        vertex_colors=None if colors is None else colors[kept],
        process=False,
    )


def _drop_empty_faces(
    vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]
) -> tuple[Int[ndarray, "g 3"], Int[ndarray, " w"]]:
    """Merge vertices that fall together and drop the triangles between them; no hole comes of it.

    trimesh's own merging takes what is closer than 1e-8 for one vertex, whatever the mesh's units.

    Returns:
        The triangles that are left, and the indices of the vertices that they have, in the order in which they were.
    """
    _, first, inverse = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    merged = first[inverse.reshape(-1)][faces]
    merged = merged[(merged != np.roll(merged, 1, axis=-1)).all(-1)]
    kept, corners = np.unique(merged, return_inverse=True)
    return corners.reshape(-1, 3), kept


def _write(mesh: trimesh.Trimesh, output: Path, is_lit: bool) -> None:
    """Write a mesh file with normals where its format has them.

    Args:
        mesh: what to write.
        output: the file.
        is_lit: whether its colours are those of a lit surface, which glTF keeps as linear light.
    """
    suffix, encode = output.suffix.lower(), None
    if is_lit and suffix == ".glb":
        encode = encode_glb
    elif suffix == ".ply" and (_single(mesh.vertices) != mesh.vertices).any():
        encode = encode_ply
    options: dict[str, dict[str, Any]] = {
        ".ply": {"vertex_normal": True},
        ".stl": {},
        ".obj": {"include_normals": True, "digits": _digits(mesh)},
    }
    with replacing(output) as path:
        if encode is not None:
            path.write_bytes(encode(mesh))
        else:
            mesh.export(path, **options.get(suffix, {"include_normals": True}))


def _write_textured(mesh: trimesh.Trimesh, texture: Texture, output: Path) -> None:
    """Write a mesh file with a texture, see `TEXTURED`."""
    if output.suffix.lower() == ".obj":
        write_textured_obj(mesh, texture, output, _digits(mesh))
        return
    with replacing(output) as path:
        path.write_bytes(encode_textured_glb(mesh, texture))


def _digits(mesh: trimesh.Trimesh) -> int:
    """Return the digits after the point that coordinates need in a text, whatever the mesh's units."""
    return 8 - min(0, math.floor(math.log10(mesh.extents.max())))


def loses_detail(mesh: trimesh.Trimesh, output: Path) -> bool:
    """Return whether single precision is coarse beside a mesh's edges, in an .stl or .glb far from the origin."""
    return output.suffix.lower() not in DOUBLE and _is_coarse(mesh)


def _is_coarse(mesh: trimesh.Trimesh) -> bool:
    """Return whether single precision is coarse beside a mesh's edges, or cannot hold its coordinates at all."""
    with np.errstate(over="ignore"):
        spacing = np.spacing(np.float32(np.abs(mesh.vertices).max()))
    return not spacing <= 0.05 * np.median(mesh.edges_unique_length)


def _single(values: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """Round to single precision."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).astype(np.float64)
