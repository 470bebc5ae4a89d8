"""Repairs of a mesh on its way to a target: weld, drop, orient, and cut away what lies inside."""

from collections.abc import Callable

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import cKDTree

from ..errors import SignalError
from ..sdf import check_extent
from .distance import EASY, HARDEST, REVERSED, SIDE, MeshQueries
from .topology import count_edge_uses, find_neighbors, label_bodies, label_groups

WELD_TOLERANCE = 1e-7
"""Vertices closer than this (unit cube) are one: above float32's rounding of a file's decimals, below any detail."""
FINEST_CUT = 0.005
"""Edge length (unit cube) down to which faces are cut that lie inside the shape in part."""
ASKED, AHEAD = 64, 1e-5
"""Faces of a body, at most, in front of which the winding number tells whether it looks inwards, and how far in front
(unit cube)."""
MOSTLY = 0.9
"""Part of a body that lies within another at which it does as a whole."""
# Weights of a face's corners at nine points within it: its centre, near its corners, and near its edges' middles.
_WITHIN = np.concatenate([[[1, 1, 1]], 1 + 24 * np.eye(3), 1 + 12 * (1 - np.eye(3)), 1 + 3 * (1 - np.eye(3))])
_WITHIN /= _WITHIN.sum(-1, keepdims=True)


def check_mesh(name: str, mesh: trimesh.Trimesh) -> tuple[Float[ndarray, "v 3"], Int[ndarray, "f 3"]]:
    """Return a mesh's vertices and faces without the vertices that no face uses.

    Raises:
        SignalError: there are no faces, or the vertices are not finite or all the same.
    """
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    if len(faces) == 0:
        raise SignalError(f"{name}: the mesh has no faces; a surface made of triangles is needed")
    used, compact = np.unique(faces, return_inverse=True)
    vertices, faces = vertices[used], compact.reshape(faces.shape)
    broken = int((~np.isfinite(vertices)).any(-1).sum())
    if broken:
        raise SignalError(
            f"{name}: {broken} of {len(vertices)} vertices are NaN or infinite; every coordinate must be finite"
        )
    if (vertices == vertices[0]).all():
        raise SignalError(f"{name}: all vertices lie in one point; a mesh with an area is needed")
    check_extent(name, vertices)
    return vertices, faces


def weld(
    name: str, vertices: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]
) -> tuple[trimesh.Trimesh, Int[ndarray, " g"], list[str]]:
    """Merge vertices by position, then drop faces that became lines or are there twice, wound alike.

    Slivers with three corners stay, for without them the surface would have slits; so do two faces back to back, which
    cancel each other in the winding number, unless all faces of a closed body are such pairs, of which one is dropped.

    Args:
        name: what messages call the mesh.
        vertices: unit cube.
        faces: indices of vertices.

    Returns:
        The welded mesh; the index in `faces` of each of its faces; and what was changed, for the user to read.

    Raises:
        SignalError: no face with an area is left.
    """
    # One of each cell whose points are that close, or the pairs of many in one place would fill the memory.
    cells = np.rint(vertices / (WELD_TOLERANCE / 2))
    _, keep, merged = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    pairs = cKDTree(vertices[keep]).query_pairs(WELD_TOLERANCE, output_type="ndarray")
    if len(pairs):
        group = label_groups(pairs, len(keep))
        _, first_of_group = np.unique(group, return_index=True)
        keep, merged = keep[first_of_group], group[merged.reshape(-1)]
    welded = merged.reshape(-1)[faces]
    source = np.flatnonzero((welded != np.roll(welded, 1, axis=-1)).all(-1))
    welded = welded[source]
    # Each face turned so that its least corner leads: alike if and only if wound alike.
    turned = np.take_along_axis(welded, (welded.argmin(-1)[:, None] + np.arange(3)) % 3, axis=-1)
    _, first = np.unique(turned, axis=0, return_index=True)
    first = np.sort(first)
    mesh = trimesh.Trimesh(vertices[keep], welded[first], process=False)
    mesh.remove_unreferenced_vertices()
    if len(mesh.faces) == 0 or not mesh.area > 1e-12:
        raise SignalError(f"{name}: the mesh has no area; its triangles are all lines or points")
    doubled, dropped = len(vertices) - len(keep), len(faces) - len(first)
    repairs = [f"repaired: welded {doubled:,} doubled vertices"] * bool(doubled)
    repairs += [f"repaired: dropped {dropped:,} empty or doubled faces"] * bool(dropped)
    backs = _find_backs(mesh)
    if len(backs):
        mesh.update_faces(~np.isin(np.arange(len(mesh.faces)), backs))
        first = np.delete(first, backs)
        repairs.append(f"repaired: dropped {len(backs):,} faces that lie back to back with others, all around a body")
    return mesh, source[first], repairs


def _find_backs(mesh: trimesh.Trimesh) -> Int[ndarray, " b"]:
    """Return the faces of closed bodies that look inwards and have others back to back, as all faces of the body do."""
    if not (count_edge_uses(mesh)[1] > 3).any():
        return np.zeros(0, np.int64)
    _, first, pair, uses = np.unique(
        np.sort(mesh.faces, axis=-1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    single = trimesh.Trimesh(mesh.vertices, mesh.faces[first], process=False)
    body = label_bodies(single)
    _wind_alike(single)
    inwards = np.bincount(body, _signed_volumes(single)) < 0
    doubled = (np.bincount(body, uses < 2) == 0) & ~_are_open(single, body)
    # Of a body that now looks outwards, the first of a pair is dropped where it was turned for that, else the second.
    turned = (single.faces != mesh.faces[first]).any(-1) != inwards[body]
    is_first = np.zeros(len(mesh.faces), bool)
    is_first[first] = True
    pair = pair.reshape(-1)
    return np.flatnonzero(doubled[body][pair] & (is_first == turned[pair]))


def orient(mesh: trimesh.Trimesh) -> list[str]:
    """Wind the faces alike and outwards, in place; return what was changed, for the user to read."""
    repairs = []
    if not mesh.is_winding_consistent:
        _wind_alike(mesh)
        repairs.append("repaired: faces were wound both ways; wound them alike")
        if not mesh.is_winding_consistent:
            repairs.append("warning: the faces cannot all be wound alike; the sign may be wrong in places")
    if _signed_volumes(mesh).sum() < 0:
        mesh.invert()
        repairs.append("repaired: the faces looked inwards; turned them outwards")
    turned, within = _turn_bodies(mesh)
    if turned:
        repairs.append(
            f"repaired: {turned} of the bodies looked inwards and lay in no other; turned them outwards"
            + f", and with them {within} that lie in them" * bool(within)
        )
    return repairs


def _wind_alike(mesh: trimesh.Trimesh) -> None:
    """Turn the faces, in place, that are wound otherwise than most of the surface that they are joined to.

    Which of the two ways is kept matters: a cavity has to look inwards still.
    """
    count = len(mesh.faces)
    (first, second), alike = find_neighbors(mesh)
    # A tree over each patch, of neighbours that are wound alike as far as they go.
    tree = minimum_spanning_tree(coo_matrix((2.0 - alike, (first, second)), shape=(count, count))).tocoo()
    # Each face as it is and turned: of either the neighbours that are wound alike.
    other = np.where(tree.data > 1, count, 0)
    pairs = [np.stack([tree.row, tree.col + other], -1), np.stack([tree.row + count, tree.col + count - other], -1)]
    way, turned_way = label_groups(np.concatenate(pairs), 2 * count).reshape(2, count)
    kept = np.bincount(way, mesh.area_faces, minlength=2 * count)
    turned = (kept[turned_way] > kept[way]) | ((kept[turned_way] == kept[way]) & (turned_way < way))
    mesh.faces = np.where(turned[:, None], mesh.faces[:, ::-1], mesh.faces)


def _turn_bodies(mesh: trimesh.Trimesh) -> tuple[int, int]:
    """Turn the bodies that look inwards without being a cavity of others, and what lies in them, in place.

    In front of the faces of a body that looks inwards, so within it, the winding number is -1, and 0 in a cavity.

    Returns:
        How many looked inwards, and how many others were turned because they lie in these.
    """
    body = label_bodies(mesh)
    inwards = _find_inwards(mesh, body)
    queries = MeshQueries(mesh)
    if not len(inwards) or queries.near_faces > HARDEST:
        return 0, 0
    most = max(1, int(ASKED * min(1.0, EASY / queries.near_faces)))
    counts, order = np.bincount(body), np.argsort(body, kind="stable")
    starts = np.cumsum(counts) - counts

    def find_part(labels: Int[ndarray, " b"], solid: MeshQueries) -> Float[ndarray, " b"]:
        """Return the part of each body, by some of its faces, in front of which the winding number is about -1."""
        asked = np.minimum(counts[labels], most)
        group = np.repeat(np.arange(len(labels)), asked)
        step = np.arange(len(group)) - np.repeat(np.cumsum(asked) - asked, asked)
        face = order[starts[labels][group] + step * counts[labels][group] // asked[group]]
        winding = solid.winding_number(mesh.triangles_center[face] + AHEAD * queries.normals[face])
        return np.bincount(group, winding < -REVERSED, len(labels)) / asked

    stray = inwards[find_part(inwards, queries) > 1 - MOSTLY]
    # A sheet among others is no body, whatever they add up to.
    is_open = _are_open(mesh, body)
    stray = np.array(
        [x for x in stray if not is_open[x] or find_part(np.array([x]), _select(mesh, body == x)) > 0.5], np.int64
    )
    others = np.setdiff1d(np.arange(len(counts)), stray)
    within = others[:0]
    if len(stray) and len(others):
        within = others[find_part(others, _select(mesh, np.isin(body, stray))) >= MOSTLY]
    turned = np.isin(body, [*stray, *within])
    if turned.any():
        mesh.faces = np.where(turned[:, None], mesh.faces[:, ::-1], mesh.faces)
    return len(stray), len(within)


def _find_inwards(mesh: trimesh.Trimesh, body: Int[ndarray, " f"]) -> Int[ndarray, " b"]:
    """Return the labels of the bodies that look inwards, by their volume about their own middle.

    Small holes hardly change that. What has no volume but for rounding is no body.
    """
    counts = np.bincount(body)
    middle = np.stack([np.bincount(body, centers) / counts for centers in mesh.triangles_center.T], -1)
    first, second, third = (mesh.triangles - middle[body][:, None]).transpose(1, 0, 2)
    volume = np.bincount(body, (first * np.cross(second, third)).sum(-1))
    area = np.bincount(body, mesh.area_faces)
    return np.flatnonzero((volume < -1e-9 * area**1.5) & (counts > 3))


def _are_open(mesh: trimesh.Trimesh, body: Int[ndarray, " f"]) -> Bool[ndarray, " b"]:
    """Return of each body whether it has edges that an odd number of its faces meet at."""
    key = body[mesh.edges_face] * len(mesh.edges_unique) + mesh.edges_unique_inverse
    found, uses = np.unique(key, return_counts=True)
    is_open = np.zeros(body.max() + 1, bool)
    is_open[found[uses % 2 == 1] // len(mesh.edges_unique)] = True
    return is_open


def _select(mesh: trimesh.Trimesh, some: Bool[ndarray, " f"]) -> MeshQueries:
    """Return queries of some faces of a mesh alone."""
    used, compact = np.unique(mesh.faces[some], return_inverse=True)
    return MeshQueries(trimesh.Trimesh(mesh.vertices[used], compact.reshape(-1, 3), process=False))


def _signed_volumes(mesh: trimesh.Trimesh) -> Float[ndarray, " f"]:
    """Return six times the signed volume of the tetrahedron from the origin to each face, [f]."""
    first, second, third = mesh.triangles.transpose(1, 0, 2)
    volumes: Float[ndarray, " f"] = (first * np.cross(second, third)).sum(-1)
    return volumes


def remove_inner(
    mesh: trimesh.Trimesh, normals: Float[ndarray, "f 3"], winding_number: Callable[[ndarray], ndarray], most: int
) -> tuple[trimesh.Trimesh, Int[ndarray, " g"], bool]:
    """Return the mesh without the parts of its surface that have the inside on both sides, and so bound nothing.

    These are inner shells wound outwards, partitions, and where bodies overlap. Faces that lie inside in part are cut.

    Args:
        mesh: unit cube; not changed.
        normals: unit normals of its faces.
        winding_number: of points [n, 3] with respect to the mesh, [n].
        most: points at which it is asked for, about, before faces are no longer cut, which is then told; if three
            times as many were not enough for a first look at all faces, the mesh is returned as it is.

    Returns:
        The mesh; the index of the face that each of its faces is a part of; and whether all faces were cut as finely as
        they should be.
    """
    if 2 * len(_WITHIN) * len(mesh.faces) > 3 * most:
        return mesh, np.arange(len(mesh.faces)), False
    corners, parents, asked, fine = mesh.triangles, np.arange(len(mesh.faces)), 0, True
    kept: list[tuple[ndarray, ndarray]] = []
    while len(corners):
        points = np.einsum("pc,fcx->fpx", _WITHIN, corners)
        ahead, behind = (points + side * SIDE * normals[:, None] for side in (1, -1))
        winding = winding_number(np.concatenate([ahead.reshape(-1, 3), behind.reshape(-1, 3)]))
        inner = (winding > 0.5).reshape(2, len(corners), -1).all(0)
        longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(-1)
        cut = inner.any(-1) & ~inner.all(-1) & (longest > FINEST_CUT)
        asked += winding.size
        if cut.any() and asked + 4 * cut.sum() * 2 * len(_WITHIN) > most:
            # What lies outside in part is kept whole: the sign is right with it, and the distance outside.
            outer = ~inner.all(-1)
            kept.append((corners[outer], parents[outer]))
            fine = False
            break
        outer = ~cut & (inner.mean(-1) < 0.5)
        kept.append((corners[outer], parents[outer]))
        corners, normals, parents = _quarter(corners[cut]), np.tile(normals[cut], (4, 1)), np.tile(parents[cut], 4)
    skin, source = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    vertices, faces = np.unique(skin.reshape(-1, 3), axis=0, return_inverse=True)
    outside = trimesh.Trimesh(vertices, faces.reshape(-1, 3), process=False)
    return outside, source, fine


def _quarter(corners: Float[ndarray, "f 3 3"]) -> Float[ndarray, "g 3 3"]:
    """Cut each triangle into four at the middles of its edges."""
    middle = (corners + np.roll(corners, -1, axis=1)) / 2
    parts = [np.stack([corners[:, i], middle[:, i], middle[:, i - 1]], axis=1) for i in range(3)]
    return np.concatenate([*parts, middle])
