"""Edges, holes and bodies of a mesh."""

import numpy as np
import trimesh
from jaxtyping import Bool, Int
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def count_holes(mesh: trimesh.Trimesh) -> int:
    """Return the number of connected groups of boundary edges: the holes of a welded surface."""
    unique, uses = count_edge_uses(mesh)
    boundary = unique[uses == 1]
    if len(boundary) == 0:
        return 0
    ids, compact = np.unique(boundary, return_inverse=True)
    return int(label_groups(compact.reshape(-1, 2), len(ids)).max()) + 1


def count_edge_uses(mesh: trimesh.Trimesh) -> tuple[Int[ndarray, "e 2"], Int[ndarray, " e"]]:
    """Return each edge, its lower vertex first, and how many faces it belongs to."""
    low, high = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=-1).T
    count = len(mesh.vertices)
    keys, uses = np.unique(low * count + high, return_counts=True)
    return np.stack(np.divmod(keys, count), -1), uses


def find_neighbors(mesh: trimesh.Trimesh) -> tuple[Int[ndarray, "2 n"], Bool[ndarray, " n"]]:
    """Return the pairs of faces with an edge that only they have, each once, and whether they are wound alike there."""
    edges = trimesh.grouping.group_rows(mesh.edges_sorted, require_count=2)
    first, second = np.sort(mesh.edges_face[edges], axis=-1).T
    alike = mesh.edges[edges[:, 0], 0] != mesh.edges[edges[:, 1], 0]
    some = np.unique(first * len(mesh.faces) + second, return_index=True)[1]
    return np.stack([first, second])[:, some], alike[some]


def label_groups(pairs: Int[ndarray, "n 2"], count: int) -> Int[ndarray, " count"]:
    """Return for each of `count` things the label, from 0, of the group that `pairs` connect it to."""
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count))
    labels: Int[ndarray, " count"] = connected_components(graph, directed=False)[1]
    return labels


def label_bodies(mesh: trimesh.Trimesh) -> Int[ndarray, " f"]:
    """Return for each face the label, from 0, of the body that it belongs to: faces that share edges."""
    return label_groups(mesh.face_adjacency, len(mesh.faces))
