"""Selections and training points of a point cloud."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..sdf import join_samples


def select_points(
    points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], count: int
) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"]]:
    """Return at most `count` points at random, the same every time, and their normals."""
    if len(points) <= count:
        return points, normals
    index = np.random.default_rng(0).choice(len(points), count, replace=False)
    return points[index], normals[index]


def draw_samples(
    rng: np.random.Generator,
    count: int,
    sample_surface: Callable[[np.random.Generator, int], tuple[ndarray, ndarray]],
    signed_distance: Callable[[ndarray], ndarray],
) -> dict[str, Float[ndarray, "n k"]]:
    """Return training samples in random order, float32: see `PointCloud.draw`.

    Args:
        rng: source of the randomness.
        count: samples.
        sample_surface: returns as many points of the cloud as asked for, and their normals.
        signed_distance: of points [n, 3], [n].
    """
    on = count // 2
    surface, normals = sample_surface(rng, on)
    volume = rng.uniform(-1, 1, (count - on, 3))
    on_surface = (np.arange(count) < on)[:, None]
    return join_samples(rng, (surface, normals), (volume, signed_distance(volume)), on_surface=on_surface)
