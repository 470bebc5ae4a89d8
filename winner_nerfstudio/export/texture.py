"""Colours of a surface baked into a texture."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from .atlas import LEAST_AREA, Atlas, iterate_texels, measure_areas, unfold

if TYPE_CHECKING:
    import trimesh
    from jaxtyping import Float, Int, UInt8
    from numpy import ndarray

REACH = 1.5
"""Texels beyond a chart's border in which its colours go on, so that interpolation between texels shows no seam."""
BLOCK = 1 << 18
"""Texels that are painted together."""

Paint = Callable[["Float[ndarray, 'n 3']"], "UInt8[ndarray, 'n 3']"]
"""A function that returns the colours of points of a surface."""


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture and how it lies on a mesh.

    Attributes:
        atlas: the unfolding of the mesh.
        pixels: sRGB values, [size, size, 3].
    """

    atlas: Atlas
    pixels: UInt8[ndarray, "size size 3"]

    def encode_png(self) -> bytes:
        """Return the picture as a .png file."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "png")
        return file.getvalue()


def bake(mesh: trimesh.Trimesh, size: int, paint: Paint, progress: Callable[[float], None]) -> Texture:
    """Unfold a mesh and paint its texture.

    Beyond the charts' borders and `REACH` each texel has the colour of the nearest one that has any, for smaller
    versions of the texture.

    Args:
        mesh: the mesh.
        size: width and height of the texture, texels.
        paint: returns the colours of points of the mesh's surface.
        progress: called with the part that is done, 0 to 1.

    Raises:
        SignalError: xatlas is missing.
    """
    atlas = unfold(mesh, size)
    owner = _find_owners(atlas, size)
    pixels = np.zeros((size * size, 3), np.uint8)
    (covered,) = np.nonzero(owner >= 0)
    for start in range(0, len(covered), BLOCK):
        texel = covered[start : start + BLOCK]
        uv = (np.stack([texel % size, texel // size], -1) + 0.5) / size
        pixels[texel] = paint(atlas.locate(mesh, owner[texel], uv))
        progress(min(1.0, (start + BLOCK) / len(covered)))
    is_empty = (owner < 0).reshape(size, size)
    rows, columns = distance_transform_edt(is_empty, return_distances=False, return_indices=True)
    return Texture(atlas, pixels.reshape(size, size, 3)[rows, columns])


def _find_owners(atlas: Atlas, size: int) -> Int[ndarray, " texels"]:
    """Return the face that is nearest to each texel's centre, at most `REACH` from it, -1 where there is none."""
    nearest, owner = np.full(size * size, np.inf), np.full(size * size, -1)
    triangles = atlas.uv[atlas.faces] * size
    (shown,) = np.nonzero(measure_areas(triangles) > LEAST_AREA)
    for index, column, row, distance in iterate_texels(triangles[shown], REACH):
        texel = row * size + column
        (better,) = np.nonzero((column >= 0) & (column < size) & (row >= 0) & (row < size))
        better = better[distance[better] < nearest[texel[better]]]
        better = better[np.argsort(-distance[better])]  # of several for one texel the last, the nearest, remains
        nearest[texel[better]], owner[texel[better]] = distance[better], shown[index[better]]
    return owner
