"""Point files: from a path or an array to points and normals in the file's units."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..errors import SignalError, check_file
from ..grid import name_of, read_array
from ..las import read_las
from ..shape.colors import CornerColors
from ..shape.reading.ply import read_ply_points
from .pcd import read_pcd
from .text import read_point_text


@dataclass(frozen=True)
class Columns:
    """What a point file holds.

    Attributes:
        points: coordinates in the file's units, [n, 3].
        normals: as they are in the file, [n, 3], or None.
        notes: what the user should know of the reading.
        colors: of the points, if the file has any.
    """

    points: Float[ndarray, "n 3"]
    normals: Float[ndarray, "n 3"] | None
    notes: tuple[str, ...] = ()
    colors: CornerColors | None = None


def read_points(path: Path) -> Columns:
    """Read a file of points, in one of the formats `READERS`.

    Raises:
        SignalError: there is no such file, or it cannot be read.
    """
    check_file(path, "a file", f"give a mesh, or points in one of {', '.join(READERS)}")
    try:
        return READERS[path.suffix.lower()](path)
    except SignalError:
        raise
    except Exception as error:  # readers fail in their own many ways
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SignalError(f"{path}: cannot be read as {path.suffix} points ({reason}); is the file whole?") from error


def holds_points(path: Path) -> bool:
    """Return whether a path names a file of points: by its suffix, and a .ply by having vertices but no faces."""
    suffix = path.suffix.lower()
    if suffix != ".ply" or not path.is_file():
        return suffix in READERS and suffix != ".ply"
    with path.open("rb") as file:
        header = file.read(1 << 16).partition(b"end_header")[0]
    return bool(re.search(rb"(?i)element\s+vertex", header)) and not re.search(
        rb"(?i)element\s+(face|tristrips)\s+0*[1-9]", header
    )


def read_point_array(source: Path | ndarray) -> Columns:
    """Read points from an array [n, 3] or [n, 6], or from an .npy file of one.

    Raises:
        SignalError: it is of another shape or type.
    """
    name = name_of(source)

    def check(shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] not in (3, 6):
            raise SignalError(f"{name}: an array of shape {list(shape)} is no point cloud; [n, 3] or [n, 6] is needed")

    table = read_array(source, check)
    if table.dtype.kind not in "iuf":
        raise SignalError(f"{name}: values of type {table.dtype} are no coordinates; real numbers are needed")
    masked = np.ma.getmaskarray(table).any(-1)
    columns = _split_columns(name, np.ma.getdata(table)[~masked].astype(np.float64))
    notes = (f"masked: {masked.sum():,} of {len(masked):,} points are left out",) if masked.any() else ()
    return replace(columns, notes=notes)


def _read_ply(path: Path) -> Columns:
    return Columns(*read_ply_points(path))


def _read_text(path: Path) -> Columns:
    return Columns(*read_point_text(path))


def _read_las(path: Path) -> Columns:
    cloud = read_las(path)
    notes = list(cloud.notes)
    colors = None if cloud.colors is None else CornerColors.from_numbers(cloud.colors, notes)
    return Columns(cloud.points, cloud.normals, tuple(notes), colors)


def _read_pcd(path: Path) -> Columns:
    return Columns(*read_pcd(path))


READERS: dict[str, Callable[[Path], Columns]] = {
    ".ply": _read_ply,
    ".xyz": _read_text,
    ".pcd": _read_pcd,
    ".npy": read_point_array,
    ".txt": _read_text,
    ".csv": _read_text,
    ".asc": _read_text,
    ".pts": _read_text,
    ".xyzn": _read_text,
    ".xyzrgb": _read_text,
    ".las": _read_las,
    ".laz": _read_las,
}
"""The function that reads points, by suffix."""


def _split_columns(name: str, table: Float[ndarray, "n c"]) -> Columns:
    if table.shape[1] not in (3, 6) or len(table) == 0:
        raise SignalError(f"{name}: {table.shape[1]} columns; x y z, or x y z nx ny nz, are needed")
    return Columns(table[:, :3], table[:, 3:] if table.shape[1] == 6 else None)
