"""Mesh files: from a path to vertices and faces in the file's units."""

from pathlib import Path

import trimesh

from ..errors import SignalError
from ..samples import SHAPES


def read_mesh(path: Path) -> trimesh.Trimesh:
    """Read a mesh file; the parts of a scene are put in their positions and joined.

    Raises:
        SignalError: there is no such file, it cannot be read, or it holds no triangles.
    """
    if not path.is_file():
        what = "is a folder, not a mesh file" if path.is_dir() else "no such file"
        raise SignalError(f"{path}: {what}; give a mesh file, or sample:NAME with one of {', '.join(sorted(SHAPES))}")
    if path.suffix.lower().lstrip(".") not in trimesh.available_formats():
        raise SignalError(f"{path}: not a mesh format that can be read; use .obj, .ply, .stl, .off or .glb")
    try:
        scene = trimesh.load_scene(path, process=False)
        surfaces = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh)]
    except Exception as error:  # readers fail in their own many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SignalError(f"{path}: cannot be read as a {path.suffix} mesh ({reason}); is the file whole?") from error
    if not surfaces:
        raise SignalError(f"{path}: holds no triangles; a surface made of triangles is needed")
    merged = trimesh.util.concatenate([trimesh.Trimesh(part.vertices, part.faces, process=False) for part in surfaces])
    assert isinstance(merged, trimesh.Trimesh)
    return merged
