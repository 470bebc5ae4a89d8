"""The colours of trimesh's meshes, as they are handed over in Python."""

from typing import Any

import numpy as np
import trimesh

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
    picture = getattr(visual, "material", None) and _find_picture(visual.material)
    if picture is None or getattr(visual, "uv", None) is None or len(visual.uv) != len(mesh.vertices):
        return None
    uv = np.asarray(visual.uv, np.float64) * (1, -1) + (0, 1)  # trimesh counts upwards
    values = np.tile(_find_factor(visual.material), (len(uv), 1)).astype(np.float32)
    texture = Texture(np.asarray(picture.convert("RGB")))
    return CornerColors(values, 8, uv.astype(np.float32), np.zeros(len(uv), np.int32), (texture,)).take(faces)


def _find_picture(material: Any) -> Any:
    """Return the picture of a material's base colour, or None."""
    picture = getattr(material, "baseColorTexture", None)
    return getattr(material, "image", None) if picture is None else picture


def _find_factor(material: Any) -> tuple[float, ...]:
    """Return what a glTF material multiplies its texture by, as sRGB values."""
    factor = getattr(material, "baseColorFactor", None)
    if factor is None:
        return (1.0, 1.0, 1.0)
    linear = np.asarray(factor, np.float64)[:3] / (255 if np.asarray(factor).dtype.kind in "ui" else 1)
    return tuple(to_srgb(linear))
