"""Wavefront .obj: its ``v`` and ``f`` lines; materials, normals and texture coordinates are not read."""

import re
from pathlib import Path

import numpy as np

from .polygons import Polygons
from .text import parse_rows, read_lines, take_columns, to_indices


def read_obj(path: Path) -> Polygons:
    """Read the polygons of an .obj file; every ``f`` line becomes one.

    Raises:
        ValueError: a line has other than numbers, or too few.
    """
    data = re.sub(rb"\\[ \t]*(\r\n|\n|\r)", b" ", path.read_bytes())
    vertices: list[bytes] = []
    faces: list[bytes] = []
    before: list[int] = []  # how many vertices there are before each face
    for line in read_lines(data):
        key, *rest = line.partition(b"#")[0].split(None, 1)[:2] or [b""]
        if key == b"v":
            vertices += rest or [b""]
        elif key == b"f":
            faces += rest or [b""]
            before.append(len(vertices))
    coordinates, columns = parse_rows(vertices)
    # Of 1/2/3 the first is the vertex.
    indices, sizes = parse_rows(re.sub(rb"/\S*", b"", b"\n".join(faces)).split(b"\n") if faces else [])
    corners = to_indices(indices)
    if (corners == 0).any():
        raise ValueError("a face refers to vertex 0, but vertices count from 1")
    # -1 is the vertex last written before the face.
    corners = np.where(corners > 0, corners - 1, corners + np.repeat(np.array(before, np.int64), sizes))
    return Polygons(take_columns(coordinates, columns, 3), corners, sizes)
