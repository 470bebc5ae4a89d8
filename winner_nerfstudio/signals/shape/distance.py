"""Distances, winding numbers and rays of a triangle mesh, exact, by libigl."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import igl
import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..sdf import in_blocks
from .topology import label_bodies

SIDE = 1e-4
"""How far off a face the winding number tells which of its sides is inside, unit-cube lengths."""
PROBES = 1 << 12
"""Points of a surface whose two sides are probed, at most."""
EASY, HARDEST = 500, 20_000
"""Near faces (see `MeshQueries.near_faces`) up to which all probes are made, and at all."""


class MeshQueries:
    """Queries of a triangle mesh; its search tree is built at the first one and kept.

    Attributes:
        vertices: float64 [v, 3].
        faces: int64 [f, 3].
    """

    def __init__(self, mesh: trimesh.Trimesh) -> None:
        self.vertices: Float[ndarray, "v 3"] = np.ascontiguousarray(mesh.vertices, np.float64)
        self.faces: Int[ndarray, "f 3"] = np.ascontiguousarray(mesh.faces, np.int64)

    @cached_property
    def normals(self) -> Float[ndarray, "f 3"]:
        """Return the unit normals of the faces, [f, 3]."""
        corners = self.vertices[self.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        unit: Float[ndarray, "f 3"] = normals / np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-300)
        return unit

    def winding_number(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the generalised winding number of points [n, 3] (Barill et al. 2018), [n]."""
        return np.concatenate([igl.fast_winding_number(self.vertices, self.faces, q) for q in in_blocks(points)])

    def find_closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Return the squared distance to the mesh, the nearest face's index and the nearest point."""
        blocks = [self._tree.squared_distance(self.vertices, self.faces, q) for q in in_blocks(points)]
        squared, face, nearest = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
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
        corners = self.vertices[self.faces]
        edges = corners - np.roll(corners, 1, axis=1)
        return float((edges**2).sum(-1).max(-1).clip(max=1).sum())

    @cached_property
    def _tree(self) -> igl.AABB:
        tree = igl.AABB()
        tree.init(self.vertices, self.faces)
        return tree


@dataclass(frozen=True)
class Sides:
    """What the winding number on both sides of a surface says of it.

    Attributes:
        has_inside: whether any of the surface has an inside.
        is_body: whether it bounds a body for the most part: then the winding numbers of its sides are 0 and 1, while in
            the middle of a flat sheet they are -1/2 and 1/2.
        has_inner: whether some of the surface has the inside on both sides.
    """

    has_inside: bool
    is_body: bool
    has_inner: bool


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
    # Close by, which finds thin walls, and less close, where a sheet has less than one half; in one query, because each
    # builds its tree anew.
    offsets = (-1e-3, -1e-5, 1e-5, -SIDE, SIDE)
    winding = winding_number(np.concatenate([points + offset * normals for offset in offsets]))
    deep, below, above, behind, ahead = winding.reshape(len(offsets), -1)
    return Sides(
        has_inside=bool((np.maximum(deep, below) > 0.6).any()),
        is_body=bool((below + above)[:count].mean() / 2 > 0.25),
        has_inner=bool((np.minimum(behind, ahead) > 0.5).any()),
    )
