"""The unfolding of a mesh into a square picture, so that a texture can be laid on it.

Faces are grouped by the side of a box that they face (a box projection). Each connected group, a chart, is projected
along that side's axis, which stretches it by no more than `LEAST_COSINE` allows, and xatlas packs the charts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..signals.extras import import_extra

if TYPE_CHECKING:
    import trimesh
    from jaxtyping import Bool, Float, Int
    from numpy import ndarray

LEAST_COSINE = 0.4
"""Least cosine of the angle between a face's normal and the axis along which its chart is projected."""
ROUNDS = 8
"""Rounds in which faces take the side that most of their neighbours have, so that charts get smooth borders."""
GUTTER = 4
"""Texels between charts."""
FILL = 0.7
"""Part of the picture that charts cover, about."""
LEAST_AREA = 1e-6
"""Least area of a face, in square texels, that is shown."""
BLOCK = 1 << 20
"""Pairs of a texel and a face that are looked at together, which limits the memory."""
_FRAMES = np.zeros((6, 3, 3))
"""Rows of each side: the axis along which it is seen, and those to the right and down in the picture."""
for _side in range(6):
    _sign, _axis = (1.0 if _side < 3 else -1.0), _side % 3
    _FRAMES[_side, (0, 1, 2), (_axis, (_axis + 1) % 3, (_axis + 2) % 3)] = (_sign, 1.0, -_sign)


@dataclass(frozen=True, eq=False)
class Atlas:
    """A mesh unfolded into a square picture; its vertices are repeated where charts meet.

    Attributes:
        vertex: index of the mesh's vertex at each of the atlas's, [w].
        faces: vertices of the atlas at each face of the mesh, [f, 3].
        uv: coordinates in the picture, to the right and down, 0 and 1 at its edges, [w, 2].
        frames: axes of the chart of each face: away from the surface, to the right and down, [f, 3, 3].
        scale: parts of the picture per length of the mesh.
    """

    vertex: Int[ndarray, " w"]
    faces: Int[ndarray, "f 3"]
    uv: Float[ndarray, "w 2"]
    frames: Float[ndarray, "f 3 3"]
    scale: float

    def locate(
        self, mesh: trimesh.Trimesh, face: Int[ndarray, " n"], uv: Float[ndarray, "n 2"]
    ) -> Float[ndarray, "n 3"]:
        """Return the points of the faces' planes that are shown at coordinates of the picture, also beside the faces.

        Args:
            mesh: the mesh that was unfolded.
            face: index of the face of each point.
            uv: where it is in the picture.
        """
        first, frames = self.faces[face, 0], self.frames[face]
        across = (uv - self.uv[first]) / self.scale
        normal = np.einsum("nij,nj->ni", frames, _normals(mesh)[face])
        depth = -(normal[:, 1:] * across).sum(-1) / normal[:, 0].clip(LEAST_COSINE / 2)
        moves = np.einsum("nij,ni->nj", frames, np.concatenate([depth[:, None], across], -1))
        points: Float[ndarray, "n 3"] = mesh.vertices[self.vertex[first]] + moves
        return points


def unfold(mesh: trimesh.Trimesh, size: int) -> Atlas:
    """Unfold a mesh into a square picture, with `GUTTER` texels between its charts.

    Args:
        mesh: the mesh; equal vertices are one.
        size: the picture's width and height, texels.

    Raises:
        SignalError: xatlas is missing.
    """
    xatlas = import_extra("xatlas", "texture", "a texture is packed")
    side = _choose_sides(mesh)
    area = float((np.abs(np.einsum("fi,fi->f", _FRAMES[side, 0], _normals(mesh))) * mesh.area_faces).sum())
    texels = math.sqrt(FILL / area) * size
    chart = _part_charts(mesh, side, texels)
    count = len(mesh.vertices)
    keys, corners = np.unique(chart[:, None] * count + mesh.faces, return_inverse=True)
    faces, vertex, of_chart = corners.reshape(-1, 3), keys % count, keys // count
    side_of_chart = np.zeros(chart.max() + 1, np.int64)
    side_of_chart[chart] = side
    frames = _FRAMES[side_of_chart[of_chart], 1:]
    plane = np.einsum("wij,wj->wi", frames, mesh.vertices[vertex])
    kept, faces, uv, scale = _pack(xatlas, plane, faces, of_chart, texels)
    return Atlas(vertex[kept], faces, uv, _FRAMES[side], scale)


def _normals(mesh: trimesh.Trimesh) -> Float[ndarray, "f 3"]:
    """Return the unit normals of faces, zero for those without area."""
    first, second, third = np.asarray(mesh.vertices)[mesh.faces].transpose(1, 0, 2)
    normals = np.cross(second - first, third - first)
    unit: Float[ndarray, "f 3"] = normals / np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-300)
    return unit


def _choose_sides(mesh: trimesh.Trimesh) -> Int[ndarray, " f"]:
    """Return the side of the box that each face faces, 0 to 5; ragged borders between sides are smoothed."""
    cosines = _normals(mesh) @ _FRAMES[:, 0].T
    side: Int[ndarray, " f"] = cosines.argmax(-1)
    first, second = mesh.face_adjacency.T
    ones = np.ones(len(first))
    neighbours = sparse.coo_matrix((ones, (first, second)), shape=(len(side),) * 2).tocsr()
    neighbours = neighbours + neighbours.T
    for _ in range(ROUNDS):
        votes = np.eye(6)[side]
        votes += neighbours @ votes + 0.5 * cosines
        side = np.where(cosines >= min(LEAST_COSINE, 0.57), votes, -np.inf).argmax(-1)
    return side


def _part_charts(mesh: trimesh.Trimesh, side: Int[ndarray, " f"], texels: float) -> Int[ndarray, " f"]:
    """Return the chart of each face: connected, of one side, and without any part in front of another.

    A chart that hides a part of itself, as a winding staircase does, is cut in two at the middle of its depth, until
    none does.

    Args:
        mesh: the mesh.
        side: the side of each face.
        texels: texels per length.
    """
    frames = _FRAMES[side]
    seen = np.einsum("fij,fkj->fki", frames, np.asarray(mesh.vertices)[mesh.faces])
    depth, plane = seen[..., 0].mean(-1), seen[..., 1:] * texels
    label = np.array(side)
    chart = _connect(mesh, label)
    looked = np.arange(len(side))
    for _ in range(32):
        hiding = _find_hiding(plane[looked], chart[looked])
        if not len(hiding):
            break
        looked = np.nonzero(np.isin(chart, hiding))[0]
        order = looked[np.lexsort((depth[looked], chart[looked]))]
        start = np.searchsorted(chart[order], chart[order])
        length = np.searchsorted(chart[order], chart[order], side="right") - start
        upper = 2 * (np.arange(len(order)) - start) >= length
        label = 2 * label
        label[order] += upper
        chart = _connect(mesh, label)
    return chart


def _connect(mesh: trimesh.Trimesh, label: Int[ndarray, " f"]) -> Int[ndarray, " f"]:
    """Return the index of the connected part of equal labels that each face belongs to."""
    first, second = mesh.face_adjacency.T
    same = label[first] == label[second]
    graph = sparse.coo_matrix((np.ones(same.sum()), (first[same], second[same])), shape=(len(label),) * 2)
    part: Int[ndarray, " f"] = sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
    return part


def _find_hiding(plane: Float[ndarray, "f 3 2"], chart: Int[ndarray, " f"]) -> Int[ndarray, " h"]:
    """Return the charts of which two faces cover the same texel."""
    plane = plane - plane.min((0, 1))
    width = int(plane.max()) + 2
    seen = [
        (chart[face] * width + row) * width + column
        for face, column, row, distance in iterate_texels(plane, 0.0)
        for face, column, row in [(face[distance < -1e-3], column[distance < -1e-3], row[distance < -1e-3])]
    ]
    keys, count = np.unique(np.concatenate(seen), return_counts=True)
    hiding: Int[ndarray, " h"] = np.unique(keys[count > 1] // width**2)
    return hiding


def _pack(
    xatlas: Any, plane: Float[ndarray, "v 2"], faces: Int[ndarray, "f 3"], chart: Int[ndarray, " v"], texels: float
) -> tuple[Int[ndarray, " w"], Int[ndarray, "f 3"], Float[ndarray, "w 2"], float]:
    """Put charts into a square picture.

    Args:
        xatlas: the package.
        plane: vertices in the planes of their charts.
        faces: the faces.
        chart: chart of each vertex.
        texels: texels per length, about.

    Returns:
        The index of the vertex that each of the picture's is, the faces, the coordinates of their vertices in the
        picture, and the parts of the picture per length.
    """
    count = int(chart.max()) + 1
    low = _find_corners(plane, chart, count)
    # xatlas takes what shares coordinates for one chart, so that each gets a cell of its own.
    cell = np.stack(np.divmod(np.arange(count), math.ceil(math.sqrt(count))), -1)
    spread = plane + (1.5 * float((plane - low[chart]).max()) * cell - low)[chart]
    atlas = xatlas.Atlas()
    atlas.add_uv_mesh((spread * texels).astype(np.float32), faces.astype(np.uint32))
    options = xatlas.PackOptions()
    options.texels_per_unit, options.padding, options.bilinear = 1.0, GUTTER, True
    options.rotate_charts = options.rotate_charts_to_axis = False
    atlas.generate(pack_options=options)
    vertex, corners, uv = atlas[0]
    vertex, corners = vertex.astype(np.int64), corners.astype(np.int64)
    longest = max(atlas.width, atlas.height)
    uv, scale = uv.astype(np.float64) * (atlas.width, atlas.height) / longest, texels * atlas.texels_per_unit / longest
    # xatlas stretches small charts to whole texels and leaves faces without area where they are: of its result only the
    # corner of each chart is taken.
    plane, chart = plane[vertex] * scale, chart[vertex]
    counted = np.unique(corners[measure_areas(plane[corners]) * longest**2 > LEAST_AREA])
    offset = _find_corners(uv[counted], chart[counted], count) - _find_corners(plane[counted], chart[counted], count)
    return vertex, corners, (plane + offset[chart]).clip(0, 1), scale


def measure_areas(triangles: Float[ndarray, "f 3 2"]) -> Float[ndarray, " f"]:
    """Return the areas of triangles in the plane."""
    first, second = (triangles[:, 1:] - triangles[:, :1]).transpose(1, 0, 2)
    areas: Float[ndarray, " f"] = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]) / 2
    return areas


def _find_corners(points: Float[ndarray, "n 2"], chart: Int[ndarray, " n"], count: int) -> Float[ndarray, "count 2"]:
    """Return the least coordinates of the points of each chart, 0 of one without points."""
    corner = np.full((count, 2), np.inf)
    np.minimum.at(corner, chart, points)
    return np.where(np.isfinite(corner), corner, 0.0)


def iterate_texels(
    triangles: Float[ndarray, "f 3 2"], reach: float
) -> Iterator[tuple[Int[ndarray, " n"], Int[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, " n"]]]:
    """Find the texels whose centres lie in triangles of a picture or close to them.

    Args:
        triangles: corners, to the right and down, in texels.
        reach: greatest distance, in texels.

    Yields:
        Block by block: index of the triangle, column, row, and the centre's distance from it, negative in it.
    """
    low = np.ceil(triangles.min(1) - reach - 0.5).astype(np.int64)
    size = np.floor(triangles.max(1) + reach - 0.5).astype(np.int64) - low + 1
    size = np.where((size > 0).all(-1, keepdims=True), size, 0)
    line = np.repeat(np.arange(len(triangles)), size[:, 1])
    row = low[line, 1] + _count_up(size[:, 1])
    ends = np.cumsum(size[line, 0])
    start = 0
    while start < len(line):
        taken = int(np.searchsorted(ends, (ends[start - 1] if start else 0) + BLOCK, side="right"))
        stop = max(taken, start + 1)
        width = size[line[start:stop], 0]
        which = np.repeat(np.arange(start, stop), width)
        face, rows, columns = line[which], row[which], low[line[which], 0] + _count_up(width)
        distance = _distance(np.stack([columns, rows], -1) + 0.5, triangles[face])
        near = distance <= reach
        yield face[near], columns[near], rows[near], distance[near]
        start = stop


def _count_up(counts: Int[ndarray, " n"]) -> Int[ndarray, " m"]:
    """Return the numbers from 0 below each count, one series after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)


def _distance(points: Float[ndarray, "n 2"], triangles: Float[ndarray, "n 3 2"]) -> Float[ndarray, " n"]:
    """Return the distance of points from triangles, negative in them."""
    square = np.full(len(points), np.inf)
    sides: list[Bool[ndarray, " n"]] = []
    for corner in range(3):
        start = triangles[:, corner]
        edge, to = triangles[:, (corner + 1) % 3] - start, points - start
        along = ((to * edge).sum(-1) / (edge**2).sum(-1).clip(1e-300)).clip(0, 1)
        square = np.minimum(square, ((to - along[:, None] * edge) ** 2).sum(-1))
        sides.append(edge[:, 0] * to[:, 1] - edge[:, 1] * to[:, 0] > 0)
    inside = (sides[0] == sides[1]) & (sides[1] == sides[2])
    distance: Float[ndarray, " n"] = np.where(inside, -1.0, 1.0) * np.sqrt(square)
    return distance
