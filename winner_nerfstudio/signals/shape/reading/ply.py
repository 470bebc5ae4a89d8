"""Polygon file format, .ply: elements of vertices, polygons and triangle strips, as text or binary."""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ...errors import SignalError
from ..colors import CornerColors, Texture
from .polygons import Polygons
from .text import PADDING, parse_numbers, to_indices
from .textures import find_beside, read_beside

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float": "f4", "double": "f8", "float32": "f4", "float64": "f8",
    "int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8",
}  # fmt: skip
"""numpy's names of the format's types; the last four are not in its specification."""
MOST_COLUMNS = 1000
"""Elements and properties of a file."""
CORNERS = ("vertex_indices", "vertex_index")
"""Names of the list of a face's or a strip's corners."""
COLORS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
"""Names of the columns that hold a colour."""
NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"), ("normalx", "normaly", "normalz"))
"""Names of the columns that hold a point's normal; the last are PDAL's."""
COORDINATES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
"""Names of the columns that hold a vertex's texture coordinates, to the right and up."""


@dataclass(frozen=True)
class Property:
    """A column of an element: a number a row, or a list of numbers.

    Attributes:
        name: of the column.
        dtype: of its numbers.
        length: type of the number that says how long a row's list is; None of a plain number.
    """

    name: str
    dtype: np.dtype
    length: np.dtype | None = None


@dataclass(frozen=True)
class Element:
    """A table of the file.

    Attributes:
        name: "vertex", "face", "tristrips" or any other.
        count: rows.
        properties: columns.
    """

    name: str
    count: int
    properties: tuple[Property, ...]


@dataclass(frozen=True, eq=False)
class Column:
    """What a property holds.

    Attributes:
        values: the numbers, row after row.
        sizes: how many there are in each row.
    """

    values: ndarray
    sizes: Int[ndarray, " r"]


Table = dict[str, Column]


def read_ply(path: Path, colors: bool = False) -> Polygons:
    """Read the polygons and triangle strips of a .ply file.

    Args:
        path: of the file.
        colors: whether to read the colours: those of textures that comments name, as MeshLab writes them, else of the
            vertices, else of the faces.

    Raises:
        SignalError: the header is none, or the file holds other than its header says.
    """
    tables, notes, textures = _read_tables(path)
    vertices = _coordinates(path, tables, ("x", "y", "z"))
    faces, strips = _corners(path, tables, "face"), _corners(path, tables, "tristrips")
    triangles = [cut_strip(strip) for row in _rows(strips) for strip in _split_strips(row)]
    cut = Polygons.from_faces(vertices, np.concatenate([np.zeros((0, 3), np.int64), *triangles]))
    corners = np.concatenate([faces.values, cut.corners])
    painted, more = None, list[str]()
    if colors and textures and (corners < len(vertices)).all() and (corners >= 0).all():
        try:
            painted = _read_textures(path, textures, tables, Column(corners, faces.sizes), more)
        except (ValueError, IndexError) as error:  # no reason to refuse a shape
            more.append(f"warning: its texture coordinates are left out, and its textures with them ({error})")
    if colors and painted is None:
        of_vertices = _read_colors(tables.get("vertex", {}), more)
        if of_vertices is not None and (corners < len(vertices)).all() and (corners >= 0).all():
            painted = of_vertices.take(corners)
        if (of_vertices is None or of_vertices.is_plain) and not len(cut.sizes):
            of_faces = _read_colors(tables.get("face", {}), more)
            painted = (
                painted if of_faces is None else of_faces.take(np.repeat(np.arange(len(faces.sizes)), faces.sizes))
            )
    return Polygons(vertices, corners, np.concatenate([faces.sizes, cut.sizes]), (*notes, *more), painted)


def _read_textures(
    path: Path, names: list[str], tables: dict[str, Table], faces: Column, notes: list[str]
) -> CornerColors | None:
    """Return the colours that textures give to corners, if these have texture coordinates.

    Args:
        path: the file.
        names: of the textures' files.
        tables: the file's tables.
        faces: vertices of all corners, and corners of each face; strips stand behind the faces.
        notes: what the user should know, to which is added why a texture cannot be read.
    """
    uv = _read_coordinates(tables, faces)
    if uv is None:
        return None
    pictures = [read_beside(path, path.name, name, notes) for name in names]
    textures = tuple(Texture(pixels) for pixels in pictures if pixels is not None)
    if not textures:
        return None
    read = np.array([pixels is not None for pixels in pictures])
    table = np.append(np.where(read, np.cumsum(read) - 1, -1), -1)  # of the textures' numbers in the file
    number = np.zeros(len(uv), np.int64)
    if "texnumber" in tables["face"] and len(faces.values) == faces.sizes.sum():
        number = np.repeat(to_indices(tables["face"]["texnumber"].values), faces.sizes)
    number = np.where((number < 0) | (number >= len(names)), len(names), number)
    return CornerColors(
        np.ones((len(uv), 3), np.float32),
        max(texture.bits for texture in textures),
        (uv * (1, -1) + (0, 1)).astype(np.float32),
        table[number].astype(np.int32),
        textures,
    )


def _read_coordinates(tables: dict[str, Table], faces: Column) -> Float[ndarray, "c 2"] | None:
    """Return the texture coordinates of corners, to the right and up, from the faces or else the vertices."""
    of_faces = tables.get("face", {}).get("texcoord")
    if (
        of_faces is not None
        and (of_faces.sizes == 2 * faces.sizes).all()
        and 2 * len(faces.values) == len(of_faces.values)
    ):
        return of_faces.values.reshape(-1, 2).astype(np.float64)
    vertices = tables["vertex"]
    names = _find_names(vertices, COORDINATES)
    if names is None:
        return None
    return np.stack([vertices[name].values.astype(np.float64)[faces.values] for name in names], -1)


def _find_names(table: Table, choices: Iterable[tuple[str, ...]]) -> tuple[str, ...] | None:
    """Return the first of several choices of names that are all columns of a table, or None."""
    return next((names for names in choices if set(names) <= set(table)), None)


def _read_colors(table: Table, notes: list[str]) -> CornerColors | None:
    """Return the colours of an element's rows, [r], if it has some: whole numbers from 0 on, or floats from 0 to 1.

    A note tells of numbers that are no colours.
    """
    names = _find_names(table, COLORS)
    if names is None:
        return None
    columns = [table[name] for name in names]
    if any((column.sizes != 1).any() for column in columns):
        return None
    return CornerColors.from_numbers(np.stack([column.values for column in columns], -1), notes)


def read_ply_points(
    path: Path,
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"] | None, tuple[str, ...], CornerColors | None]:
    """Read the vertices of a .ply file, their normals if there are any, notes for the user, and colours if any.

    Raises:
        SignalError: the header is none, or the file holds other than its header says.
    """
    tables, notes, _ = _read_tables(path)
    names = _find_names(tables.get("vertex", {}), NORMALS)
    normals = None if names is None else _coordinates(path, tables, names)
    more = list(notes)
    colors = _read_colors(tables.get("vertex", {}), more)
    return _coordinates(path, tables, ("x", "y", "z")), normals, tuple(more), colors


def cut_strip(strip: Int[ndarray, " n"]) -> Int[ndarray, "t 3"]:
    """Return the triangles of a strip, all wound alike; those with a corner twice, which only turn it, are left out."""
    index = np.arange(max(len(strip) - 2, 0))
    triangles = np.stack([strip[index], strip[index + 1 + index % 2], strip[index + 2 - index % 2]], -1)
    distinct: Int[ndarray, "t 3"] = triangles[(triangles != np.roll(triangles, 1, axis=-1)).all(-1)]
    return distinct


def _split_strips(row: Int[ndarray, " n"]) -> list[Int[ndarray, " m"]]:
    """Return the strips of a list, in which -1 separates them."""
    return [part[part != -1] for part in np.split(row, np.flatnonzero(row == -1))]


def _coordinates(path: Path, tables: dict[str, Table], names: tuple[str, ...]) -> Float[ndarray, "n 3"]:
    """Return the vertices' columns of these names, side by side."""
    table = tables.get("vertex", {})
    missing = [name for name in names if name not in table]
    if missing:
        raise SignalError(f"{path}: has no vertices with {', '.join(missing)}; x, y and z are needed")
    return np.stack([table[name].values.astype(np.float64) for name in names], -1)


def _corners(path: Path, tables: dict[str, Table], element: str) -> Column:
    """Return the lists of vertices' indices of an element; none if the file has none."""
    table = tables.get(element, {})
    for name in CORNERS:
        if name in table:
            return Column(to_indices(table[name].values), table[name].sizes)
    if any(len(column.sizes) for column in table.values()):
        raise SignalError(f"{path}: its {element} elements have no list {CORNERS[0]}, but {', '.join(table)}")
    return Column(np.zeros(0, np.int64), np.zeros(0, np.int64))


def _rows(column: Column) -> list[ndarray]:
    """Return each row's values of a column."""
    return np.split(column.values, np.cumsum(column.sizes)[:-1]) if len(column.sizes) else []


def _read_tables(path: Path) -> tuple[dict[str, Table], tuple[str, ...], list[str]]:
    """Return the tables, a warning if the file has more than its header says, and the textures' names.

    The tables and their columns have names in small letters.
    """
    data, header, body = _split_header(path)
    encoding, elements = _read_header(path, header)
    if encoding == "ascii":
        text = data[body:].rstrip(PADDING)
        _check_lines(path, text, elements)
        values: ndarray = parse_numbers(text)
        cursor = Cursor(path, values, 0, text=True)
    else:
        cursor = Cursor(path, np.frombuffer(data, np.uint8), body, text=False)
    tables = {
        element.name.lower(): {name.lower(): column for name, column in cursor.read(element).items()}
        for element in elements
    }
    rest = len(cursor.data) - cursor.offset
    unit = "values" if encoding == "ascii" else "bytes"
    notes = (f"warning: {rest:,} {unit} follow what the header counts; left out",) * bool(rest)
    return tables, notes, _list_textures(header)


def _check_lines(path: Path, text: bytes, elements: list[Element]) -> None:
    """Check that rows end where lines do, up to the first element with lists.

    A row may go on in further lines. Lines of several whole rows are fewer than the rows.

    Raises:
        SignalError: a line has more or fewer numbers than the header says.
    """
    sizes = np.array([size for line in text.splitlines() if (size := len(line.split()))], np.int64)
    ends, first, rows = np.cumsum(sizes), 0, 0
    for element in elements:
        width, rows = len(element.properties), rows + element.count
        if not width or any(column.length is not None for column in element.properties):
            return
        count = min(element.count, (int(sizes.sum()) - first) // width)
        last = first + count * width
        wrong = ~np.isin(np.arange(first + width, last + 1, width), ends)
        is_several = len(sizes) < rows and not ((ends[(ends > first) & (ends <= last)] - first) % width).any()
        if wrong.any() and not is_several:
            row = int(wrong.argmax())
            line = np.searchsorted(ends, first + row * width, side="right")
            raise SignalError(
                f"{path}: row {row + 1:,} of {element.name} has {sizes[line]} numbers, but the header names {width}"
                " properties; each number needs one"
            )
        first = last


def find_textures(path: Path) -> list[Path | None]:
    """Return the files of the textures that a .ply file names."""
    return [find_beside(path, name) for name in _list_textures(_split_header(path)[1])]


def _list_textures(header: str) -> list[str]:
    """Return the textures' names."""
    return re.findall(r"(?m)^comment[ \t]+TextureFile[ \t]+([^\r\n]+?)[ \t]*\r?$", header)


def _split_header(path: Path) -> tuple[bytes, str, int]:
    """Return the bytes of a file, its header, and where its body begins."""
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    end = re.search(rb"(?:\A|[\r\n])end_header[ \t]*(\r\n|\n|\r)", data)
    if not data.startswith(b"ply") or end is None:
        raise SignalError(f"{path}: cannot be read as a .ply file, for it has no header from ply to end_header")
    # A file whose lines end with CR alone may have a first value that begins as LF.
    body = end.end() - (end[1] == b"\r\n" and b"\r\n" not in data[: end.start()])
    return data, data[: end.start()].decode("latin-1"), body


def _read_header(path: Path, header: str) -> tuple[str, list[Element]]:
    """Return the encoding, "ascii", "binary_little_endian" or "binary_big_endian", and the elements in their order."""
    encoding, order = "", "<"
    elements: list[Element] = []
    lines = re.split(r"\r\n|\n|\r", header)[1:]
    declared = sum(line.startswith(("element", "property")) for line in lines)
    if declared > MOST_COLUMNS:
        raise SignalError(
            f"{path}: the header has {declared:,} elements and properties; at most {MOST_COLUMNS:,} are read"
        )
    for line in lines:
        match line.split():
            case ["format", "ascii" | "binary_little_endian" | "binary_big_endian" as encoding, *_]:
                order = ">" if encoding == "binary_big_endian" else "<"
            case ["element", name, count] if count.isdigit():
                elements.append(Element(name, int(count), ()))
            case ["property", "list", length, dtype, name] if length in TYPES and dtype in TYPES and elements:
                column = Property(name, np.dtype(order + TYPES[dtype]), np.dtype(order + TYPES[length]))
                elements[-1] = _with_property(elements[-1], column)
            case ["property", dtype, name] if dtype in TYPES and elements:
                elements[-1] = _with_property(elements[-1], Property(name, np.dtype(order + TYPES[dtype])))
            case [] | ["comment", *_] | ["obj_info", *_]:
                pass
            case _:
                raise SignalError(f"{path}: the header has a line that means nothing in .ply files: {line[:60]!r}")
    if not encoding:
        raise SignalError(f"{path}: the header names no format; ascii or binary is needed")
    return encoding, elements


def _with_property(element: Element, column: Property) -> Element:
    """Return the element with one more column."""
    return Element(element.name, element.count, (*element.properties, column))


@dataclass
class Cursor:
    """A position in a file's body, from which elements are read one after the other.

    Attributes:
        path: the file, for messages.
        data: numbers of a text, or bytes.
        offset: position in it.
        text: which of the two it is.
    """

    path: Path
    data: ndarray
    offset: int
    text: bool

    def read(self, element: Element) -> Table:
        """Read an element and move behind it.

        Raises:
            SignalError: the file ends before.
        """
        self._check(element, element.count * sum(self._width(p.length or p.dtype) for p in element.properties))
        table = self._read_alike(element)
        return self._scan(element) if table is None else table

    def _width(self, dtype: np.dtype) -> int:
        """Return how far one number of that type reaches: in a text, one item."""
        return 1 if self.text else dtype.itemsize

    def _check(self, element: Element, needed: int) -> None:
        """Check that so many more items are there."""
        if needed > len(self.data) - self.offset:
            raise self._ended(element)

    def _ended(self, element: Element) -> SignalError:
        """Return the error of a file that ends too early."""
        return SignalError(
            f"{self.path}: the header says {element.count:,} rows of {element.name}, but the file ends before; is the"
            " file whole?"
        )

    def _read_alike(self, element: Element) -> Table | None:
        """Read an element whose rows are all as long as its first; return None if they are not."""
        start = self.offset
        first = self._scan(Element(element.name, min(1, element.count), element.properties))
        stride, self.offset = self.offset - start, start
        if element.count * stride > len(self.data) - start:
            return None
        rows = self.data[start : start + element.count * stride].reshape(element.count, stride)
        table, begin = {}, 0
        for column in element.properties:
            size = int(first[column.name].sizes.sum())
            if column.length is not None:
                head = begin
                begin += self._width(column.length)
                if (self._view(rows[:, head:begin], column.length) != size).any():
                    return None
            end = begin + size * self._width(column.dtype)
            values = self._view(rows[:, begin:end], column.dtype)
            table[column.name] = Column(values.reshape(-1), np.full(element.count, size))
            begin = end
        self.offset += rows.size
        return table

    def _view(self, items: ndarray, dtype: np.dtype) -> ndarray:
        """Return items as numbers; a text's have the header's type if that is of whole numbers and can hold them."""
        if not self.text:
            return np.ascontiguousarray(items).view(dtype)
        if dtype.kind not in "iu":
            return items
        with np.errstate(invalid="ignore"):
            whole = items.astype(dtype)
        return whole if (whole == items).all() else items

    def _scan(self, element: Element) -> Table:
        """Read an element row by row."""
        found: list[tuple[list[int], list[int]]] = [([], []) for _ in element.properties]
        columns = [
            (column.length, self._width(column.length or column.dtype), self._width(column.dtype), *lists)
            for column, lists in zip(element.properties, found, strict=True)
        ]
        data, offset, end = self.data, self.offset, len(self.data)
        for _ in range(element.count):
            for length, head, width, starts, sizes in columns:
                size = 1
                if length is not None:
                    if offset + head > end:
                        raise self._ended(element)
                    size = int(data[offset] if self.text else data[offset : offset + head].view(length)[0])
                    offset += head
                starts.append(offset)
                sizes.append(size)
                offset += size * width
                if size < 0 or offset > end:
                    raise self._ended(element)
        self.offset = offset
        table = {}
        for column, lists in zip(element.properties, found, strict=True):
            begins, counts = (np.array(numbers, np.int64) for numbers in lists)
            table[column.name] = Column(self._gather(column.dtype, begins, counts), counts)
        return table

    def _gather(self, dtype: np.dtype, starts: Int[ndarray, " r"], sizes: Int[ndarray, " r"]) -> ndarray:
        """Return the numbers that begin at the offsets, row after row."""
        width = self._width(dtype)
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        items = np.repeat(starts, sizes) + within * width
        return self._view(
            self.data[items] if self.text else self.data[items[:, None] + np.arange(width)], dtype
        ).reshape(-1)
