"""Scenes, in which a mesh may stand several times: how large they may be, and how a mesh is moved."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...errors import SignalError
from .polygons import Polygons

MOST_FACES = 20_000_000
"""Triangles of a scene, and vertices, after instancing: more are refused before memory is taken for them."""
MOST_INSTANCES = 200_000
"""Meshes and groups of a scene, after instancing: each takes time, however small it is."""


def check_scene(path: Path, instances: int, size: int) -> None:
    """Check that a scene is not too large to be read.

    Args:
        path: the file.
        instances: meshes and groups so far, after instancing.
        size: triangles or vertices so far, after instancing.

    Raises:
        SignalError: it is.
    """
    if size > MOST_FACES or instances > MOST_INSTANCES:
        raise SignalError(
            f"{path}: the scene has more than {MOST_FACES:,} triangles or vertices, or {MOST_INSTANCES:,} instances;"
            " give fewer instances of meshes, or one mesh"
        )


def transform(polygons: Polygons, matrix: Float[ndarray, "4 4"]) -> Polygons:
    """Return triangles moved; a reflection turns them over, so that their outside stays outside."""
    if (matrix == np.eye(4)).all():
        return polygons
    faces, colors = polygons.corners.reshape(-1, 3), polygons.colors
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1]
        colors = colors and colors.take(np.arange(faces.size).reshape(-1, 3)[:, ::-1].reshape(-1))
    return Polygons.from_faces(polygons.vertices @ matrix[:3, :3].T + matrix[:3, 3], faces, colors=colors)
