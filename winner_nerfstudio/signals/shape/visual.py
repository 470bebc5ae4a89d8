"""The colours of trimesh's meshes, as they are handed over in Python."""

from typing import Any

import numpy as np
import trimesh

from ..errors import SignalError
from .colors import CornerColors, Texture, to_srgb


def read_visual(mesh: trimesh.Trimesh) -> CornerColors | None:
    """Return the colours of the corners of a mesh of trimesh's, [f, 3], or None if it has none.

    trimesh keeps colours of vertices and faces as a file has them; they are taken as sRGB.
    """
    visual: Any = mesh.visual
    faces = np.asarray(mesh.faces, np.int64)
    if visual.kind == "vertex":
        return CornerColors((np.asarray(visual.vertex_colors)[:, :3] / 255).astype(np.float32)).take(faces)
    if visual.kind == "face":
        colors = CornerColors((np.asarray(visual.face_colors)[:, :3] / 255).astype(np.float32))
        return colors.take(np.repeat(np.arange(len(faces))[:, None], 3, axis=1))
    material = getattr(visual, "material", None)
    if material is None:
        return None
    picture = _find_picture(material)
    if picture is None or getattr(visual, "uv", None) is None or len(visual.uv) != len(mesh.vertices):
        return CornerColors(np.tile(_find_color(material), (len(faces), 3, 1)).astype(np.float32))
    uv = np.asarray(visual.uv, np.float64) * (1, -1) + (0, 1)  # trimesh counts upwards
    values = np.tile(_find_factor(material), (len(uv), 1)).astype(np.float32)
    texture = Texture(np.asarray(picture.convert("RGB")))
    return CornerColors(values, 8, uv.astype(np.float32), np.zeros(len(uv), np.int32), (texture,)).take(faces)


def _find_picture(material: Any) -> Any:
    """Return the picture of a material's base colour, or None."""
    picture = getattr(material, "baseColorTexture", None)
    return getattr(material, "image", None) if picture is None else picture


def join_scene(scene: trimesh.Scene) -> tuple[trimesh.Trimesh, CornerColors | None]:
    """Return the meshes of a scene of trimesh's, each in its position, as one, and the colours of its corners, [f, 3].

    trimesh's own way would join textures into one and lose some.

    Raises:
        SignalError: there is none.
    """
    meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
    if not meshes:
        raise SignalError("scene: holds no meshes; a surface made of triangles is needed")
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)])
    joined = trimesh.Trimesh(np.concatenate([mesh.vertices for mesh in meshes]), faces, process=False)
    found = [(mesh.faces.size, read_visual(mesh)) for mesh in meshes]
    colors = CornerColors.join([(count, of_faces and of_faces.flatten()) for count, of_faces in found])
    return joined, colors and colors.take(np.arange(faces.size).reshape(-1, 3))


def _find_color(material: Any) -> tuple[float, ...]:
    """Return the colour of a material without a texture, as sRGB values."""
    diffuse = getattr(material, "diffuse", None)
    return _find_factor(material) if diffuse is None else tuple(np.asarray(diffuse, np.float64)[:3] / 255)


def _find_factor(material: Any) -> tuple[float, ...]:
    """Return what a glTF material multiplies its texture by, as sRGB values."""
    factor = getattr(material, "baseColorFactor", None)
    if factor is None:
        return (1.0, 1.0, 1.0)
    linear = np.asarray(factor, np.float64)[:3] / (255 if np.asarray(factor).dtype.kind in "ui" else 1)
    return tuple(to_srgb(linear))
