"""Point cloud data, .pcd: the format of PCL, as text, binary, or binary compressed by LZF."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..errors import SignalError
from ..shape.colors import CornerColors
from ..shape.reading.text import parse_rows, read_lines

POSITION = ("x", "y", "z")
NORMALS = (("normal_x", "normal_y", "normal_z"), ("nx", "ny", "nz"))
"""Names of the fields of a normal: those of PCL, and those of .ply files."""
PACKED = ("rgb", "rgba")
"""Names of the field of a colour: four bytes, blue, green, red and alpha, whatever type the header gives them."""
TYPES = {"F4", "F8", "I1", "I2", "I4", "I8", "U1", "U2", "U4", "U8"}
MOST_EXPANSION = 88
"""Bytes that LZF makes of one at most: 264 of three."""


@dataclass(frozen=True)
class Header:
    """What the header of a .pcd file says.

    Attributes:
        names: of the fields.
        types: of the fields' numbers, as numpy calls them.
        counts: numbers of each field per point.
        points: count of points.
        encoding: "ascii", "binary" or "binary_compressed".
    """

    names: tuple[str, ...]
    types: tuple[np.dtype, ...]
    counts: tuple[int, ...]
    points: int
    encoding: str

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the bytes of each field per point."""
        return tuple(kind.itemsize * count for kind, count in zip(self.types, self.counts, strict=True))

    @property
    def stored(self) -> tuple[np.dtype, ...]:
        """Return the types as which a binary body is read; the bytes of a colour may be no number as a float."""
        return tuple(
            np.dtype("<u4") if name in PACKED and kind.itemsize == 4 else kind
            for name, kind in zip(self.names, self.types, strict=True)
        )


def read_pcd(
    path: Path,
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"] | None, tuple[str, ...], CornerColors | None]:
    """Read the points of a .pcd file, their normals if there are any, notes for the user, and colours if any.

    Points without coordinates, which the format has where a ray of the scanner met nothing, are left out. The points
    stay in the coordinates of the file; the scanner's pose (``VIEWPOINT``) does not move them.

    Raises:
        SignalError: the header is none, or the file holds other than its header says.
    """
    data = path.read_bytes()
    end = re.search(rb"(?m)^DATA[ \t]+\w+[ \t]*(\r\n|\n|\r|\Z)", data)
    if end is None:
        raise SignalError(f"{path}: cannot be read as a .pcd file, for it has no header that ends with DATA")
    header = _read_header(path, data[: end.end()].decode("latin-1"))
    if header.points == 0:
        raise SignalError(f"{path}: the header says that there are no points; is the file whole?")
    read = {"ascii": _read_text, "binary": _read_binary, "binary_compressed": _read_compressed}[header.encoding]
    columns, rest = read(path, header, data[end.end() :])
    notes = [f"warning: {rest} follow what the header counts; left out"] * bool(rest)
    points = np.stack([columns[name] for name in POSITION], -1)
    normals = next(
        (np.stack([columns[name] for name in names], -1) for names in NORMALS if set(names) <= set(columns)), None
    )
    met = ~np.isnan(points).all(-1)
    if not met.all():
        notes.append(f"repaired: dropped {(~met).sum():,} points without coordinates")
    colors = _read_colors(header, {name: numbers[met] for name, numbers in columns.items()}, notes)
    return points[met], None if normals is None else normals[met], tuple(notes), colors


def _read_colors(header: Header, columns: dict[str, ndarray], notes: list[str]) -> CornerColors | None:
    """Return the colours of the points, if they have some; a note tells of numbers that are none."""
    name = next((name for name in PACKED if name in columns), None)
    if name is None or header.widths[header.names.index(name)] != 4:
        return None
    numbers = columns[name]
    is_float = header.encoding == "ascii" and header.types[header.names.index(name)].kind == "f"
    wrong = np.isnan(numbers) if is_float else ~np.isfinite(numbers)
    if wrong.any():  # the bytes of a float that is no number are lost in a text
        notes.append(
            f"warning: its colours are left out, for {wrong.sum():,} of {len(wrong):,} are {numbers[wrong][0]:g}; write"
            f" {name} as whole numbers, of type U, or the file as binary"
        )
        return None
    with np.errstate(over="ignore"):
        bits = numbers.astype(np.float32).view(np.uint32) if is_float else (numbers % 2**32).astype(np.uint32)
    return CornerColors.from_numbers(np.stack([bits >> 16, bits >> 8, bits], -1).astype(np.uint8), notes)


def _read_header(path: Path, text: str) -> Header:
    lines = {}
    for line in text.splitlines():
        key, *words = line.partition("#")[0].split() or [""]
        lines[key.upper()] = words
    names = [name.lower() for name in lines.get("FIELDS") or lines.get("COLUMNS") or []]
    sizes, kinds = lines.get("SIZE", []), lines.get("TYPE", [])
    counts = lines.get("COUNT") or ["1"] * len(names)
    if not names or not len(names) == len(sizes) == len(kinds) == len(counts):
        raise SignalError(
            f"{path}: the header has {len(names)} FIELDS, {len(sizes)} SIZE, {len(kinds)} TYPE and {len(counts)} COUNT"
            " entries; there must be one each for every field"
        )
    missing = [name for name in POSITION if names.count(name) != 1 or counts[names.index(name)] != "1"]
    if missing:
        raise SignalError(f"{path}: has no field {', '.join(missing)} of one number; x, y and z are needed")
    types = [kind.upper() + size for kind, size in zip(kinds, sizes, strict=True)]
    unknown = [name for name in types if name not in TYPES]
    if unknown:
        raise SignalError(f"{path}: a field has type and size {unknown[0][:20]!r}; one of {', '.join(sorted(TYPES))}")
    area = [*lines.get("WIDTH", []), *lines.get("HEIGHT", [])]
    numbers = [int(word) for word in (*counts, *(lines.get("POINTS") or []), *area)]
    if len(area) != 2 and not lines.get("POINTS"):
        raise SignalError(f"{path}: the header has neither POINTS nor WIDTH and HEIGHT")
    points = int(lines["POINTS"][0]) if lines.get("POINTS") else int(area[0]) * int(area[1])
    if min(numbers) < 0 or (len(area) == 2 and int(area[0]) * int(area[1]) != points):
        raise SignalError(f"{path}: the header says {points:,} points, but WIDTH and HEIGHT {' x '.join(area)}")
    encoding = lines["DATA"][0].lower()
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise SignalError(f"{path}: has DATA {encoding[:30]}; ascii, binary or binary_compressed can be read")
    return Header(
        tuple(names),
        tuple(np.dtype("<" + name.lower()) for name in types),
        tuple(map(int, counts)),
        points,
        encoding,
    )


def _read_text(path: Path, header: Header, body: bytes) -> tuple[dict[str, ndarray], str]:
    lines = [line for line in read_lines(body) if line.strip()]
    width, rows = sum(header.counts), lines[: header.points]
    if len(rows) < header.points:
        raise _ended(path, header)
    values, sizes = parse_rows(rows)
    wrong = np.flatnonzero(sizes != width)
    if len(wrong):
        raise SignalError(
            f"{path}: point {wrong[0] + 1:,} has {sizes[wrong[0]]} numbers, the header says {width}; is the file whole?"
        )
    table = values.reshape(header.points, width)
    firsts = np.cumsum([0, *header.counts])
    rest = len(lines) - len(rows)
    columns = {
        name: table[:, first] for name, first, count in zip(header.names, firsts, header.counts, strict=False) if count
    }
    return columns, f"{rest:,} lines" * bool(rest)


def _read_binary(path: Path, header: Header, body: bytes) -> tuple[dict[str, ndarray], str]:
    width = sum(header.widths)
    if header.points * width > len(body):
        raise _ended(path, header)
    rows = np.frombuffer(body, np.uint8, header.points * width).reshape(header.points, width)
    columns, first = {}, 0
    for name, kind, wide, count in zip(header.names, header.stored, header.widths, header.counts, strict=True):
        if count:
            cells = np.ascontiguousarray(rows[:, first : first + kind.itemsize])
            columns[name] = cells.view(kind)[:, 0].astype(np.float64)
        first += wide
    rest = len(body) - rows.size
    return columns, f"{rest:,} bytes" * bool(rest)


def _read_compressed(path: Path, header: Header, body: bytes) -> tuple[dict[str, ndarray], str]:
    packed, size = (int.from_bytes(body[at : at + 4], "little") for at in (0, 4))
    if size != header.points * sum(header.widths) or packed > len(body) - 8 or size > MOST_EXPANSION * packed:
        raise _ended(path, header)
    try:
        data = decompress_lzf(body[8 : 8 + packed], size)
    except ValueError as error:
        raise SignalError(f"{path}: its compression cannot be undone ({error}); is the file whole?") from None
    # One field after the other, of all points.
    columns, first = {}, 0
    for name, kind, wide, count in zip(header.names, header.stored, header.widths, header.counts, strict=True):
        if count:
            cells = np.frombuffer(data, kind, header.points * count, first).reshape(header.points, count)
            columns[name] = cells[:, 0].astype(np.float64)
        first += wide * header.points
    rest = len(body) - 8 - packed
    return columns, f"{rest:,} bytes" * bool(rest)


def _ended(path: Path, header: Header) -> SignalError:
    """Return the error of a file that holds more or less than its header says."""
    return SignalError(
        f"{path}: the header says {header.points:,} points with {', '.join(header.names)[:80]}, but the file holds"
        " other; is the file whole?"
    )


def decompress_lzf(data: bytes, size: int) -> bytes:
    """Undo the compression of Marc Lehmann's liblzf.

    Args:
        data: compressed bytes.
        size: count of bytes that come out.

    Raises:
        ValueError: other than `size` bytes come out, or the data refer to bytes that do not exist.
    """
    result = bytearray()
    offset, end = 0, len(data)
    while offset < end and len(result) < size:
        control = data[offset]
        offset += 1
        if control < 32:  # so many bytes and one, as they are
            result += data[offset : offset + control + 1]
            offset += control + 1
            continue
        length = control >> 5
        if length == 7 and offset < end:
            length += data[offset]
            offset += 1
        if offset >= end:
            break
        start = len(result) - ((control & 31) << 8) - data[offset] - 1
        offset += 1
        length += 2
        if start < 0:
            raise ValueError("it refers to bytes before its beginning")
        copied = result[start : start + length]
        # A reference may reach into what it makes: then it repeats itself.
        result += (copied * (length // len(copied) + 1))[:length]
    if len(result) != size or offset != end:
        raise ValueError(f"{len(result):,} bytes come out, {size:,} are expected")
    return bytes(result)
