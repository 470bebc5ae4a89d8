"""Mesh files: from a path to triangles in the file's units, held against what the file itself says it contains."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from ...errors import SignalError, check_file
from ...samples import SHAPES
from ..colors import CornerColors
from .gltf import read_gltf
from .obj import read_obj
from .off import read_off
from .ply import read_ply
from .polygons import Polygons, check_corners, triangulate
from .stl import read_stl
from .threemf import read_3mf

READERS: dict[str, Callable[..., Polygons]] = {
    ".3mf": read_3mf,
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".off": read_off,
    ".ply": read_ply,
    ".stl": read_stl,
}
"""The reader of each format."""
COLORED = (".glb", ".gltf", ".obj", ".ply")
"""The formats whose colours are read; their readers take the keyword `colors`."""


def read_mesh(path: Path, colors: bool = True) -> tuple[trimesh.Trimesh, CornerColors | None, tuple[str, ...]]:
    """Read a mesh file; the parts of a scene are put in their positions and joined, polygons are cut into triangles.

    Args:
        path: of the file.
        colors: whether to read the colours as well.

    Returns:
        The mesh; the colours of its faces' corners, [f, 3], if the file has any; and what the user should know of the
        reading, a line each.

    Raises:
        SignalError: there is no such file, it cannot be read, it contradicts itself, or it holds no triangles.
    """
    check_file(path, "a mesh file", f"give a mesh file, or sample:NAME with one of {', '.join(sorted(SHAPES))}")
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise SignalError(f"{path}: not a mesh format that can be read; use one of {', '.join(sorted(READERS))}")
    try:
        # Numbers that a smaller type cannot hold become infinite, which those who use them look for.
        with np.errstate(over="ignore", invalid="ignore"):
            polygons = READERS[suffix](path, colors=True) if colors and suffix in COLORED else READERS[suffix](path)
    except SignalError:
        raise
    except Exception as error:  # readers fail in their own many ways
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SignalError(f"{path}: cannot be read as a {suffix} mesh ({reason}); is the file whole?") from error
    check_corners(path, polygons)
    cut, notes = triangulate(path, polygons)
    faces = polygons.corners[cut]
    if len(faces) == 0:
        left_out = "".join(f" ({note})" for note in (*polygons.notes, *notes))
        raise SignalError(f"{path}: holds no triangles{left_out}; a surface made of triangles is needed")
    mesh = trimesh.Trimesh(polygons.vertices, faces, process=False)
    return mesh, polygons.colors and polygons.colors.take(cut), (*polygons.notes, *notes)
