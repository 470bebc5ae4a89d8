"""Distances, winding numbers and rays of a triangle mesh, exact, by libigl."""

import atexit
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakSet

import igl
import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..sdf import in_blocks
from .topology import label_bodies

SIDE, CLOSEST = 1e-4, 1e-9
"""How far off a face the winding number tells which of its sides is inside, unit-cube lengths; an exact one tells it
closer by."""
PROBES = 1 << 12
"""Points of a surface whose two sides are probed, at most."""
CONFIRMED = 64
"""Points at which an exact winding number confirms that a surface lies inside the shape, at most."""
REVERSED = 0.75
"""Winding number, below zero, that only what is closed, or nearly, has in it, and that is inside out."""
EASY, HARDEST = 500, 50_000
"""Near faces (see `MeshQueries.near_faces`) up to which faces are not sliced, and up to which there is an answer."""
SLICES = 1 << 20
"""About how many slices long faces are cut into at most: it bounds the memory of their search tree, to some 500 MB."""
SHORTEST = 0.1
"""Length of a slice, unit-cube lengths, below which shorter ones gain nothing."""
ACCURACY = 1.4
"""How many times its radius a group of slices must be away to be taken together; libigl's usual 2 is for whole faces.

The winding numbers of the stars in the tests are then less than 0.1 off.
"""


class MeshQueries:
    """Queries of a triangle mesh; its search tree is built at the first one and kept.

    Attributes:
        vertices: float64 [v, 3].
        faces: int64 [f, 3].
    """

    def __init__(self, mesh: trimesh.Trimesh) -> None:
        self.vertices: Float[ndarray, "v 3"] = np.ascontiguousarray(mesh.vertices, np.float64)
        self.faces: Int[ndarray, "f 3"] = np.ascontiguousarray(mesh.faces, np.int64)
        _queries.add(self)

    @cached_property
    def normals(self) -> Float[ndarray, "f 3"]:
        """Return the unit normals of the faces, [f, 3]."""
        corners = self.vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        unit: Float[ndarray, "f 3"] = normals / np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-300)
        return unit

    def winding_number(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the generalised winding number of points [n, 3] (Barill et al. 2018), [n].

        Of a mesh with very many long, thin faces it is that of slices of them, which together are seen under the same
        solid angle: only few of them are near a point.
        """
        tree, accuracy = self._winding_tree, (() if self.near_faces <= EASY else (ACCURACY,))
        return _query_in_order(lambda block: (tree.winding_number(block, *accuracy),), points)[0]

    def find_closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Return the squared distance to the mesh, the nearest face's index and the nearest point."""
        squared, face, nearest = _query_in_order(
            lambda block: self._tree.squared_distance(self.vertices, self.faces, block), points
        )
        return squared, face, nearest

    def cast_rays(
        self, origins: Float[ndarray, "n 3"], directions: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Bool[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Return how far along rays first meet the mesh, whether they do, and the normal there; 0 where they do not."""
        face, along, _ = self._tree.intersect_ray_first(
            self.vertices, self.faces, np.asarray(origins, np.float64), np.asarray(directions, np.float64)
        )
        hit = face >= 0
        normals = np.zeros_like(origins, dtype=np.float64)
        normals[hit] = self.normals[face[hit]]
        return np.where(hit, along, 0.0), hit, normals

    @cached_property
    def near_faces(self) -> float:
        """Estimate how many faces are too close to a point for their length to be taken together.

        The time of a winding number grows with it. It is about twice the surface's area (unit cube) where faces are as
        wide as they are long, however many there are; long thin faces count one each.
        """
        return float((_edge_lengths(self.vertices[self.faces]) ** 2).max(-1).clip(max=1).sum())

    @cached_property
    def _winding_tree(self) -> igl.FastWindingNumberBVH:
        tree = igl.FastWindingNumberBVH()
        if self.near_faces <= EASY:
            tree.init(self.vertices, self.faces)
        else:
            slices = slice_long(self.vertices[self.faces])
            tree.init(slices.reshape(-1, 3), np.arange(3 * len(slices)).reshape(-1, 3))
        return tree

    @cached_property
    def _tree(self) -> igl.AABB:
        tree = igl.AABB()
        tree.init(self.vertices, self.faces)
        return tree


_queries: "WeakSet[MeshQueries]" = WeakSet()
"""All queries that are in use."""


@atexit.register
def _free_trees() -> None:
    """Free all search trees at the end of the program, for libigl complains of those that a thread still holds."""
    for queries in _queries:
        queries.__dict__.pop("_tree", None)
        queries.__dict__.pop("_winding_tree", None)


def _query_in_order(
    query: Callable[[Float[ndarray, "m 3"]], tuple[ndarray, ...]], points: Float[ndarray, "n 3"]
) -> list[ndarray]:
    """Return the results of a query, each [n, ...]; neighbours are asked for in a row, as they meet the same faces.

    The faces are then in the processor's cache already, which takes a third to two thirds off the time.
    """
    order = sort_by_cell(points)
    results = []
    for parts in zip(*map(query, in_blocks(points[order])), strict=True):
        sorted_result = np.concatenate(parts)
        result = np.empty_like(sorted_result)
        result[order] = sorted_result
        results.append(result)
    return results


def sort_by_cell(points: Float[ndarray, "n 3"]) -> Int[ndarray, " n"]:
    """Return the order of points along Morton's curve through 1024^3 cells of the cube [-1, 1]^3.

    The bits of a cell's three indices take turns in its number along the curve, so that neighbours are mostly close.
    """
    number: Int[ndarray, " n"] = np.zeros(len(points), np.int64)
    for index in ((points + 1) * 512).clip(0, 1023).astype(np.int64).T:
        for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
            index = (index | index << shift) & mask  # moves the upper half of each group of bits away from the lower
        number = number << 1 | index
    return np.argsort(number)


def share_sides(
    points: Float[ndarray, "n 3"],
    distances: Float[ndarray, " n"],
    is_inside: Callable[[Float[ndarray, "m 3"]], Bool[ndarray, " m"]],
) -> Bool[ndarray, " n"]:
    """Return which points lie inside a watertight surface, as `is_inside` says of a few of them.

    A way from one side to the other meets the surface, and is at least as long as the distances of its two ends from it
    together. So two points that are closer to each other lie on the same side. Points that follow each other along
    Morton's curve are put in groups by this, the groups' points farthest from the surface again, and so on as long as
    that at least halves them.

    Args:
        points: the points.
        distances: their distances from the surface.
        is_inside: returns which of some points lie inside.
    """
    if len(points) < 2:
        return is_inside(points)
    order = sort_by_cell(points)
    ordered, near = points[order], distances[order]
    steps = np.linalg.norm(np.diff(ordered, axis=0), axis=-1)
    # A little less than the sum, because of rounding.
    starts = np.flatnonzero(np.append(True, ~(steps < (1 - 1e-6) * (near[1:] + near[:-1]))))
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(points))))
    farthest = np.flatnonzero(near == np.maximum.reduceat(near, starts)[group])
    chosen = starts.copy()
    chosen[group[farthest]] = farthest
    asked = ordered[chosen], near[chosen]
    inside = share_sides(*asked, is_inside) if 2 * len(chosen) <= len(points) else is_inside(asked[0])
    result = np.empty(len(points), bool)
    result[order] = inside[group]
    return result


def slice_long(corners: Float[ndarray, "f 3 3"]) -> Float[ndarray, "g 3 3"]:
    """Halve long triangles at their longest edges, again and again, until all are short, or there are `SLICES`, about.

    Args:
        corners: of the triangles, unit cube.

    Returns:
        Triangles that cover the same, wound alike. Where one is halved and its neighbour is not, a vertex lies on an
        edge, which does not matter to winding numbers.
    """
    # Each is halved into up to four times as many as its length asks for.
    shortest = max(SHORTEST, 4 * float(_edge_lengths(corners).max(-1).sum()) / SLICES)
    short = []
    while len(corners):
        edges = _edge_lengths(corners)
        long = edges.max(-1) > shortest
        short.append(corners[~long])
        start = edges[long].argmax(-1)[:, None]
        turned = np.take_along_axis(corners[long], ((start + np.arange(3)) % 3)[..., None], axis=1)
        first, second, third = turned.transpose(1, 0, 2)
        middle = (first + second) / 2
        corners = np.concatenate([np.stack([first, middle, third], 1), np.stack([middle, second, third], 1)])
    return np.concatenate(short)


def _edge_lengths(corners: Float[ndarray, "f 3 3"]) -> Float[ndarray, "f 3"]:
    """Return the lengths of the edges that begin at each corner."""
    lengths: Float[ndarray, "f 3"] = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=-1)
    return lengths


@dataclass(frozen=True)
class Sides:
    """What the winding number on both sides of a surface says of it.

    Attributes:
        has_inside: whether any of the surface has an inside.
        is_body: whether it bounds a body for the most part: then the winding numbers of its sides are 0 and 1, while in
            the middle of a flat sheet they are -1/2 and 1/2.
        has_inner: whether some of the surface has the inside on both sides.
        is_reversed: whether some of the surface still encloses what is outside, inside out.
    """

    has_inside: bool
    is_body: bool
    has_inner: bool
    is_reversed: bool


def probe_sides(
    mesh: trimesh.Trimesh,
    queries: MeshQueries,
    points: Float[ndarray, "n 3"],
    normals: Float[ndarray, "n 3"],
    winding_number: Callable[[ndarray], ndarray],
) -> Sides:
    """Probe the winding number on both sides of a surface.

    Args:
        mesh: the surface.
        queries: the same, prepared for queries.
        points: points spread over it by area.
        normals: unit normals there.
        winding_number: of points [n, 3] with respect to the shape, [n].
    """
    count = len(points)
    # And the centre of one face of each body, lest a small one be missed.
    body = label_bodies(mesh)
    some = np.unique(body, return_index=True)[1][:PROBES]
    points = np.concatenate([points, mesh.triangles_center[some]])
    normals = np.concatenate([normals, queries.normals[some]])
    # Close by, which finds thin walls, and less close, where a sheet has less than one half.
    offsets = (-1e-3, -1e-5, 1e-5, -SIDE, SIDE)
    winding = winding_number(np.concatenate([points + offset * normals for offset in offsets]))
    deep, below, above, behind, ahead = winding.reshape(len(offsets), -1)
    inner = np.minimum(behind, ahead) > 0.5
    return Sides(
        has_inside=bool((np.maximum(deep, below) > 0.6).any()),
        is_body=bool((below + above)[:count].mean() / 2 > 0.25),
        has_inner=bool(inner.any()) and (queries.near_faces <= EASY or _lie_inside(queries, points, normals, inner)),
        is_reversed=bool((ahead < -REVERSED).any()),
    )


def _lie_inside(
    queries: MeshQueries, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], suspect: Bool[ndarray, " n"]
) -> bool:
    """Return whether the inside is on both sides at any of the suspected points of a surface, however narrow gaps are.

    Across a gap narrower than `SIDE` lies the inside of what is next, as between the teeth of a fine cog. Winding
    numbers are exact here: the time grows with the points times the faces.
    """
    some = np.flatnonzero(suspect)
    some = some[:: max(1, len(some) // CONFIRMED)]
    both = np.concatenate([points[some] + side * CLOSEST * normals[some] for side in (1, -1)])
    winding = igl.winding_number(queries.vertices, queries.faces, both).reshape(2, -1)
    return bool((winding.min(0) > 0.5).any())
