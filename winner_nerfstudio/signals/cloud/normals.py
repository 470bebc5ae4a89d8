"""Normals of points that have none: planes through neighbours, oriented alike and outwards."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from .distance import estimate_signed_volume, winding_number_of

PLANE_NEIGHBOURS = 30
"""Points that a normal is estimated from: the nearest, itself among them."""
GRAPH_NEIGHBOURS = 15
"""Neighbours that estimated normals are made to agree with."""
BLOCK = 1 << 15
"""Points whose planes are found at once: it bounds the memory that they take, to about 50 MB."""


def estimate_normals(points: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "n 3"], list[str]]:
    """Estimate normals from planes through neighbours, orient them alike (Hoppe et al. 1992), and each body outwards.

    A body is a group of neighbours. Of those with at least a hundredth of all points it is told which lie within
    others; their normals point inwards. Time grows with n log n, memory with n.

    Returns:
        The unit normals [n, 3], and which were turned, for the user to read.
    """
    tree = cKDTree(points)
    normals = _fit_planes(tree)
    graph = _connect_neighbours(tree, normals)
    group = connected_components(graph, directed=False)[1]
    _orient_alike(normals, graph, group)
    bodies = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    # Each outwards by itself; then a cavity is what lies in an odd number of the others.
    for body in bodies:
        if estimate_signed_volume(points[body], normals[body]) < 0:
            normals[body] *= -1
    bodies = [body for body in bodies if len(body) >= len(points) / 100]
    cavities = 0
    outwards = normals.copy()
    for body in bodies:
        others = np.setdiff1d(np.concatenate(bodies), body)
        if len(others) and winding_number_of(points[others], outwards[others], points[body][:64]).mean().round() % 2:
            normals[body] *= -1
            cavities += 1
    if len(bodies) <= 1:
        return normals, []
    within = f" and those of {cavities} within another inwards" * bool(cavities)
    return normals, [f"the points are {len(bodies)} bodies; normals were turned outwards{within}"]


def _fit_planes(tree: cKDTree) -> Float[ndarray, "n 3"]:
    """Return the unit normals of least-squares planes through the nearest points of each, of either sign."""
    points = np.asarray(tree.data)
    normals = np.empty_like(points)
    count = min(PLANE_NEIGHBOURS, len(points))
    for start in range(0, len(points), BLOCK):
        near = points[tree.query(points[start : start + BLOCK], k=count)[1]]
        near -= near.mean(axis=1, keepdims=True)
        # The eigenvalues come in ascending order, and the spread along the normal is the least.
        normals[start : start + BLOCK] = np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][..., 0]
    return normals


def _connect_neighbours(tree: cKDTree, normals: Float[ndarray, "n 3"]) -> csr_matrix:
    """Return the graph of neighbours, in which an edge is the longer the less the planes of its two points agree."""
    count = min(GRAPH_NEIGHBOURS + 1, tree.n)
    one = np.repeat(np.arange(tree.n), count)
    other = tree.query(tree.data, k=count)[1].reshape(-1)
    # A little more than nothing, because a sparse matrix has no edges of length zero.
    length = 1 + 1e-6 - np.abs((normals[one] * normals[other]).sum(-1)).clip(max=1)
    graph = coo_matrix((length, (one, other)), (tree.n, tree.n)).tocsr()
    return graph.maximum(graph.T)


def _orient_alike(normals: Float[ndarray, "n 3"], graph: csr_matrix, group: Int[ndarray, " n"]) -> None:
    """Turn normals, in place, to agree with those of their neighbours along the shortest tree of each group."""
    count = len(normals)
    tree = minimum_spanning_tree(graph).tocoo()
    roots = np.unique(group, return_index=True)[1]
    # One node more, which agrees with everything, holds the groups together.
    ends = (np.append(tree.row, np.full(len(roots), count)), np.append(tree.col, roots))
    whole = coo_matrix((np.ones(len(ends[0])), ends), (count + 1, count + 1)).tocsr()
    order, before = breadth_first_order(whole, count, directed=False)
    order, before = order[1:], before[order[1:]]
    extended = np.append(normals, np.zeros((1, 3)), axis=0)
    turns = (extended[order] * extended[before]).sum(-1) < 0
    turned = np.zeros(count + 1, bool)
    for point, parent, turn in zip(order.tolist(), before.tolist(), turns.tolist(), strict=True):
        turned[point] = turned[parent] != turn
    normals[turned[:count]] *= -1
