"""Training points of a shape: on its surface, near it, and anywhere in the cube."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ..options import Mix
from ..sdf import join_samples


def sample_triangles(
    rng: np.random.Generator,
    count: int,
    vertices: Float[ndarray, "v 3"],
    faces: Int[ndarray, "f 3"],
    cumulative_area: Float[ndarray, " f"],
) -> tuple[Float[ndarray, "n 3"], Int[ndarray, " n"]]:
    """Return points spread over triangles uniformly by area, [n, 3], and the indices of their faces, [n].

    Args:
        rng: source of the randomness.
        count: points.
        vertices: of the mesh.
        faces: indices of vertices.
        cumulative_area: sum of the areas of the faces up to each, itself included.
    """
    face = np.searchsorted(cumulative_area, rng.random(count) * cumulative_area[-1], side="right")
    face = np.minimum(face, len(faces) - 1)
    corners = vertices[faces[face]]
    u, v = rng.random((2, count, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return corners[:, 0] + u * edge_1 + v * edge_2, face


def draw_samples(
    rng: np.random.Generator,
    count: int,
    mix: Mix,
    sample_surface: Callable[[np.random.Generator, int], tuple[ndarray, ndarray]],
    signed_distance: Callable[[ndarray], ndarray],
) -> dict[str, Float[ndarray, "n k"]]:
    """Return training samples in random order: ``coords`` [n, 3], ``values`` [n, 1] and ``normals`` [n, 3], float32.

    Args:
        rng: source of the randomness.
        count: samples.
        mix: how they are distributed.
        sample_surface: returns as many points of the surface as asked for, and the unit normals there.
        signed_distance: of points [n, 3], [n].
    """
    on, near = round(count * mix.surface_fraction), round(count * mix.near_fraction)
    surface, normals = sample_surface(rng, on + near)
    sigma = np.resize(mix.near_sigmas, near)[:, None]
    offset = surface[on:] + rng.standard_normal((near, 3)) * sigma
    volume = rng.uniform(-1, 1, (count - on - near, 3))
    off_surface = np.concatenate([np.clip(offset, -1, 1), volume])
    return join_samples(rng, (surface[:on], normals[:on]), (off_surface, signed_distance(off_surface)))
