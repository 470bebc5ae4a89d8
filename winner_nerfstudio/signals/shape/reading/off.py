"""Object file format, .off: counts, vertices and polygons as text."""

import re
from pathlib import Path

import numpy as np

from ...errors import SignalError
from .polygons import Polygons
from .text import parse_rows, read_lines, take_columns, to_indices


def read_off(path: Path) -> Polygons:
    """Read the polygons of an .off file; colours and normals are not read.

    Raises:
        SignalError: it is no .off file of text and three dimensions, or lines are missing.
        ValueError: a line has other than numbers, or too few.
    """
    lines = [line for line in (line.partition(b"#")[0].strip() for line in read_lines(path.read_bytes())) if line]
    header = re.match(rb"(ST)?C?N?OFF\b", lines[0] if lines else b"")
    if header is None:
        raise SignalError(f"{path}: does not begin with OFF, COFF or NOFF; a text file in three dimensions is needed")
    lines[0] = lines[0][header.end() :].strip()
    if lines[0].upper().startswith(b"BINARY"):
        raise SignalError(f"{path}: is a binary .off file, which cannot be read; write it as text, or as .ply")
    lines = lines if lines[0] else lines[1:]
    vertex_count, face_count = (int(word) for word in (lines[0].split() if lines else [])[:2])
    rows = lines[1:]
    if vertex_count < 0 or face_count < 0 or len(rows) < vertex_count + face_count:
        raise SignalError(
            f"{path}: the header says {vertex_count:,} vertices and {face_count:,} faces, but {len(rows):,} lines"
            " follow; is the file whole?"
        )
    coordinates, columns = parse_rows(rows[:vertex_count])
    values, lengths = parse_rows(rows[vertex_count : vertex_count + face_count])
    starts = np.cumsum(lengths) - lengths
    sizes = to_indices(values[starts])
    short = np.flatnonzero((sizes < 0) | (sizes >= lengths))
    if len(short):
        face = short[0]
        raise SignalError(
            f"{path}: face {face + 1:,} says {sizes[face]} corners, but {lengths[face] - 1} numbers follow; is the file"
            " whole?"
        )
    # What follows the corners on a line is a colour.
    offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    corners = to_indices(values[np.repeat(starts + 1, sizes) + offsets])
    extra = len(rows) - vertex_count - face_count
    notes = (f"warning: {extra:,} lines follow the faces that the header counts; left out",) * bool(extra)
    more = lengths - sizes - 1
    behind = values[
        np.repeat(starts + sizes + 1, more) + np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more)
    ]
    differ = (more != more[:1]).any() or (len(more) > 0 and (behind.reshape(len(more), -1) != behind[: more[0]]).any())
    if b"C" in header[0] or differ:
        notes += ("note: colours of .off files are not read; save it as .ply to have them fitted",)
    return Polygons(take_columns(coordinates, columns, 3), corners, sizes, notes)
