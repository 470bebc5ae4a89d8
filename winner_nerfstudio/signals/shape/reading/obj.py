"""Wavefront .obj: its ``v`` and ``f`` lines; materials, normals and texture coordinates are not read."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from .polygons import Polygons
from .text import parse_rows, read_lines, take_columns, to_indices

FREE_FORM = (b"curv", b"curv2", b"surf")
"""Statements of curves and surfaces that are not made of polygons."""


def read_obj(path: Path) -> Polygons:
    """Read the polygons of an .obj file; every ``f`` line becomes one, and every ``fo`` line, as it was called once.

    Raises:
        ValueError: a line has other than numbers, or too few.
    """
    data = re.sub(rb"#[^\n]*", b"", b"\n".join(read_lines(path.read_bytes())))
    data = re.sub(rb"\\[ \t]*\n", b" ", data)  # after the comments, whose backslashes continue nothing
    vertices: list[bytes] = []
    faces: list[bytes] = []
    before: list[int] = []  # how many vertices there are before each face
    free_forms = 0
    for line in data.split(b"\n"):
        key, *rest = line.split(None, 1) or [b""]
        if key == b"v":
            vertices += rest or [b""]
        elif key in (b"f", b"fo"):
            faces += rest or [b""]
            before.append(len(vertices))
        free_forms += key in FREE_FORM
    coordinates, columns = parse_rows(vertices)
    # Of 1/2/3 the first is the vertex.
    indices, sizes = parse_rows(re.sub(rb"/\S*", b"", b"\n".join(faces)).split(b"\n") if faces else [])
    corners = to_indices(indices)
    if (corners == 0).any():
        raise ValueError("a face refers to vertex 0, but vertices count from 1")
    # -1 is the vertex last written before the face.
    corners = np.where(corners > 0, corners - 1, corners + np.repeat(np.array(before, np.int64), sizes))
    notes = (f"warning: {free_forms:,} free-form curves and surfaces are not read; export polygons",) * bool(free_forms)
    return Polygons(
        take_columns(coordinates, columns, 3), corners, sizes, (*notes, *_note_weights(coordinates, columns))
    )


def _note_weights(coordinates: Float[ndarray, " n"], columns: Int[ndarray, " r"]) -> tuple[str, ...]:
    """Return a warning if vertices have a fourth number other than 1, by which some programs mean to divide them."""
    weights = coordinates[(np.cumsum(columns) - 1)[columns == 4]]
    weighted = int((weights != 1).sum())
    return (f"warning: {weighted:,} vertices have a fourth number, a weight, which is not used",) * bool(weighted)
