"""Point files of laser scanners, .las and .laz: scaled integers, which become coordinates in double precision."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .errors import SignalError
from .extras import import_extra, require_extra
from .isolation import reading

MOST_POINTS = 100_000_000
"""Files of more points are refused."""
AT_ONCE = 1_000_000
"""Points that are decompressed at a time."""
CLASSES = {0: "never classified", 1: "unclassified", 2: "ground", 3: "low vegetation", 4: "medium vegetation"}
CLASSES |= {5: "high vegetation", 6: "building", 7: "low noise", 9: "water", 17: "bridge deck", 18: "high noise"}
"""Names of the most common classes of points."""
NORMAL_NAMES = (("NormalX", "NormalY", "NormalZ"), ("nx", "ny", "nz"))
"""Names of extra dimensions that hold normals."""


COLORS = ("red", "green", "blue")
"""Names of the dimensions that hold a colour, of 16 bits, or 8 as many programs write it."""


@dataclass(frozen=True)
class Cloud:
    """What a file holds.

    Attributes:
        points: coordinates in the file's units.
        normals: as they are in the file, or None.
        colors: as they are in the file, or None.
        notes: what the user should know of the reading.
    """

    points: Float[ndarray, "n 3"]
    normals: Float[ndarray, "n 3"] | None
    colors: Float[ndarray, "n 3"] | None
    notes: tuple[str, ...]


def read_las(path: Path) -> Cloud:
    """Read the points of a .las or .laz file, with their normals and colours if it has some.

    Raises:
        SignalError: laspy is missing, the header is wrong, or the file has other points than it says.
    """
    if path.suffix.lower() != ".laz":
        return _read(path)
    require_extra("laspy", "las", f"{path}: is read")
    with reading(".las:read_in_steps", path) as reader:  # its decompression crashes on damaged files
        entries = reader.answer()
        normals, colors = (reader.load(name) if entries[name] else None for name in ("normals", "colors"))
        return Cloud(reader.load("points"), normals, colors, tuple(entries["notes"]))


def read_in_steps(path: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Leave points, normals and colours in a folder and yield the notes: a task for `isolation.reading`."""
    cloud = _read(path)
    arrays = {"points": cloud.points, "normals": cloud.normals, "colors": cloud.colors}
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    yield {name: array is not None for name, array in arrays.items()} | {"notes": cloud.notes}


def _read(path: Path) -> Cloud:
    laspy = import_extra("laspy", "las", f"{path}: is read")
    with laspy.open(path) as file:
        header = file.header
        _check_header(path, header)
        dimensions = set(header.point_format.dimension_names)
        names = next((names for names in NORMAL_NAMES if set(names) <= dimensions), None)
        painted = COLORS if set(COLORS) <= dimensions else None
        points, normals, colors = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros((0, 3))]
        classes, withheld = np.zeros(256, np.int64), 0
        for chunk in file.chunk_iterator(AT_ONCE):
            used = ~np.asarray(chunk.withheld, bool)
            withheld += int((~used).sum())
            points.append(np.stack([chunk.x, chunk.y, chunk.z], -1)[used])
            classes += np.bincount(np.asarray(chunk.classification)[used], minlength=256)[:256]
            for group, lists in ((names, normals), (painted, colors)):
                if group is not None:
                    lists.append(np.stack([np.asarray(chunk[name], np.float64) for name in group], -1)[used])
    read = sum(map(len, points)) + withheld
    if read != header.point_count:
        raise SignalError(f"{path}: its header says {header.point_count:,} points, the file holds {read:,}")
    scales = " x ".join(f"{scale:g}" for scale in dict.fromkeys(map(float, header.scales)))
    columns = ["coordinates", *["normals"] * (names is not None), *["colours"] * (painted is not None)]
    notes = [f"LAS {header.version}, in steps of {scales}; only {' and '.join(columns)} are used"]
    notes += [f"classes: {_describe_classes(classes)}"] if classes[2:].any() else []
    notes += [f"left out {withheld:,} points that are flagged as withheld"] if withheld else []
    return Cloud(
        np.concatenate(points),
        None if names is None else np.concatenate(normals),
        None if painted is None else np.concatenate(colors),
        tuple(notes),
    )


def _check_header(path: Path, header: Any) -> None:
    """Check that a header's scales are numbers, and that the file has as many points as it says.

    Raises:
        SignalError: it has not.
    """
    numbers = np.concatenate([header.scales, header.offsets])
    if not np.isfinite(numbers).all() or (np.asarray(header.scales) == 0).any():
        raise SignalError(f"{path}: its header's scales {list(header.scales)} or offsets are zero or not finite")
    count = int(header.point_count)
    if count > MOST_POINTS:
        raise SignalError(f"{path}: {count:,} points are more than {MOST_POINTS:,}; thin them out or cut a part")
    if not header.are_points_compressed:
        start, size = header.offset_to_point_data, header.point_format.size
        end = path.stat().st_size
        behind = [header.start_of_waveform_data_packet_record]
        behind += [header.start_of_first_evlr] * bool(header.number_of_evlrs)
        end = min([end, *(record for record in behind if record > start)])
        held = max(end - start, 0) // size
        if held != count:
            raise SignalError(
                f"{path}: its header says {count:,} points, the file has room for {held:,}; is the file whole?"
            )


def _describe_classes(counts: ndarray) -> str:
    """Return how many points each class has."""
    return ", ".join(
        f"{number}{f' ({CLASSES[number]})' if number in CLASSES else ''} {counts[number]:,}"
        for number in np.flatnonzero(counts).tolist()
    )
