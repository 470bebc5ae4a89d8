"""A fitted shape as a mesh file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from ..fields import Field
from ..fields.level_set import VolumeSolid
from ..fields.surface import extract_surface
from ..files import replacing
from .errors import ExportError, require_kind

SUFFIXES = (".ply", ".obj", ".stl", ".glb")
"""Mesh formats that can be written."""


def export_mesh(
    field: Field,
    output: Path,
    resolution: int = 256,
    level: float | None = None,
    normalized: bool = False,
    progress: Callable[[float], None] = lambda part: None,
) -> trimesh.Trimesh:
    """Write the surface of a fitted signed distance or volume; a failure leaves what stood at `output` as it was.

    Args:
        field: of kind "sdf" or "volume".
        output: the file, with a suffix of `SUFFIXES`; folders on its way are made.
        resolution: samples per axis of [-1, 1]^3.
        level: of a signed distance, in the units of the output, 0 if left out; of a volume, in its own values, that of
            the run if left out.
        normalized: stay in [-1, 1]^3 instead of going back to the input's coordinates.
        progress: called with the part done, 0 to 1.

    Returns:
        The mesh that was written; see `loses_detail`.

    Raises:
        ExportError: another kind of field, or an unknown suffix.
        ValueError: a resolution below 3.
        EmptySurfaceError: the field has no surface at this level.
        OSError: the file cannot be written.
    """
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise ExportError(f"{output}: unknown mesh format {suffix!r}; use one of {', '.join(SUFFIXES)}")
    require_kind(field, "surface", "sdf", "volume")
    way = field.normalization
    if field.kind == "volume":
        solid = VolumeSolid(field, resolution, level)
        mesh = extract_surface(solid.evaluate, resolution, 0.0, progress)
        mesh.vertices *= way.scale / solid.normalization.scale
    else:
        distance = (level or 0.0) * (1.0 if normalized else way.scale)
        mesh = extract_surface(field.evaluate, resolution, distance, progress)
    if not normalized:
        mesh.vertices = way.to_world(mesh.vertices)
    if suffix != ".obj":
        _to_single_precision(mesh)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as path:
        mesh.export(path)
    return mesh


def _to_single_precision(mesh: trimesh.Trimesh) -> None:
    """Round as the file will, and drop the triangles whose corners fall together then: the file stays closed."""
    mesh.vertices = mesh.vertices.astype(np.float32).astype(np.float64)
    mesh.merge_vertices()
    mesh.update_faces((mesh.faces != np.roll(mesh.faces, 1, axis=-1)).all(-1))
    mesh.remove_unreferenced_vertices()


def loses_detail(mesh: trimesh.Trimesh, output: Path) -> bool:
    """Whether a file's single precision is coarse beside the mesh's edges: .ply, .stl and .glb far from the origin."""
    spacing = np.spacing(np.float32(np.abs(mesh.vertices).max()))
    return output.suffix.lower() != ".obj" and spacing > 0.05 * np.median(mesh.edges_unique_length)
