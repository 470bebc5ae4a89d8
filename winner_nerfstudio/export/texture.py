"""Colours of a surface baked into a texture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from .atlas import Atlas, iterate_texels

if TYPE_CHECKING:
    import trimesh
    from jaxtyping import Float, UInt8
    from numpy import ndarray

REACH = 1.5
"""Texels beyond a chart's border in which its colours go on, so that interpolation between texels shows no seam."""
BLOCK = 1 << 18
"""Texels that are painted together."""


def bake(
    mesh: trimesh.Trimesh,
    atlas: Atlas,
    size: int,
    paint: Callable[[Float[ndarray, "n 3"]], UInt8[ndarray, "n 3"]],
    progress: Callable[[float], None],
) -> UInt8[ndarray, "size size 3"]:
    """Return the texture of an unfolded mesh.

    Beyond the charts' borders and `REACH` each texel has the colour of the nearest one that has any, for smaller
    versions of the texture.

    Args:
        mesh: the mesh that was unfolded.
        atlas: its unfolding.
        size: width and height, texels.
        paint: returns the colours of points of the mesh's surface.
        progress: called with the part that is done, 0 to 1.
    """
    nearest = np.full(size * size, np.inf)
    owner = np.full(size * size, -1)
    for face, column, row, distance in iterate_texels(atlas.uv[atlas.faces] * size, REACH):
        texel = row * size + column
        better = ((0 <= column) & (column < size) & (0 <= row) & (row < size)).nonzero()[0]
        better = better[distance[better] < nearest[texel[better]]]
        better = better[np.argsort(-distance[better])]  # of several for one texel the last, the nearest, remains
        nearest[texel[better]], owner[texel[better]] = distance[better], face[better]
    picture = np.zeros((size * size, 3), np.uint8)
    (covered,) = np.nonzero(owner >= 0)
    for start in range(0, len(covered), BLOCK):
        texel = covered[start : start + BLOCK]
        uv = np.stack([texel % size, texel // size], -1) + 0.5
        picture[texel] = paint(atlas.locate(mesh, owner[texel], uv / size))
        progress(min(1.0, (start + BLOCK) / len(covered)))
    empty = (owner < 0).reshape(size, size)
    rows, columns = distance_transform_edt(empty, return_distances=False, return_indices=True)
    baked: UInt8[ndarray, "size size 3"] = picture.reshape(size, size, 3)[rows, columns]
    return baked
