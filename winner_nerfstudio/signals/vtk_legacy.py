"""Legacy .vtk files of image data (STRUCTURED_POINTS): their arrays are listed before values are read.

The format is that of https://docs.vtk.org/en/latest/vtk_file_formats/vtk_legacy_file_format.html.
"""

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy import ndarray

from .errors import SignalError
from .volume_found import Found, refuse_choice

HEAD = re.compile(rb"[^\n]*\n[^\n]*\n\s*(\w+)\s+DATASET\s+(\w+)[^\n]*\n", re.IGNORECASE)
"""The first lines: the version, a title of any text, ASCII or BINARY, and what the file holds."""
LONGEST_LINE = 1 << 10
MOST_ARRAYS = 1000
TYPES = {
    "unsigned_char": "u1",
    "char": "i1",
    "signed_char": "i1",
    "unsigned_short": "u2",
    "short": "i2",
    "unsigned_int": "u4",
    "int": "i4",
    "unsigned_long": "u8",
    "long": "i8",
    "vtkidtype": "i4",
    "vtktypeint64": "i8",
    "vtktypeuint64": "u8",
    "float": "f4",
    "double": "f8",
}
"""numpy's names of the number types."""
COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9, "TENSORS6": 6, "GLOBAL_IDS": 1, "PEDIGREE_IDS": 1}
"""Values per sample of the attributes that state none."""
NEXT_NAME = re.compile(rb"\n[ \t]*(?=[A-Za-z_%])(?!(?:nan|inf|infinity)\b)", re.IGNORECASE)
"""Where a line begins that holds no numbers."""
EMPTY_LINE = re.compile(rb"\n[ \t\r]*\n")
"""What ends METADATA."""


@dataclass(frozen=True)
class Entry:
    """An array of a .vtk file.

    Attributes:
        name: of the array.
        owner: b"POINT_DATA" or b"CELL_DATA", or b"" for an array that belongs to neither.
        type: of its numbers, in the file's words; "color" for bytes that text files write as numbers from 0 to 1.
        components: numbers per sample.
        count: count of samples.
        start, end: where its values lie in the file.
    """

    name: str
    owner: bytes
    type: str
    components: int
    count: int
    start: int
    end: int

    @property
    def dtype(self) -> str | None:
        """The numpy type of its numbers, or None for types that are not read."""
        return "u1" if self.type == "color" else TYPES.get(self.type.lower())


@dataclass
class _Walk:
    """A walk through the lines and arrays of a file, from behind its DATASET line on."""

    data: mmap.mmap
    position: int
    is_text: bool
    geometry: dict[bytes, list[float]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def line(self) -> list[bytes]:
        """Return the words of the next line that is not empty, or none at the end."""
        while self.position < len(self.data):
            end = self.data.find(b"\n", self.position, self.position + LONGEST_LINE)
            end = min(self.position + LONGEST_LINE, len(self.data)) if end < 0 else end
            words, self.position = self.data[self.position : end].split(), end + 1
            if words:
                return words
        return []

    def add(self, name: bytes, owner: bytes, kind: bytes, components: int, count: int) -> None:
        """Add the array that begins here, and go behind it.

        Raises:
            ValueError: it is of no size that can be, or the file has very many arrays.
        """
        if components < 1 or count < 0 or len(self.entries) >= MOST_ARRAYS:
            raise ValueError(f"array {len(self.entries) + 1} has {count} times {components} values")
        start = self.position
        plain = unquote(name.decode("latin-1"))  # spaces and the like are written as in URLs
        entry = Entry(plain, owner, kind.decode("latin-1"), components, count, start, start)
        if self.is_text:
            found = NEXT_NAME.search(self.data, max(start - 1, 0))
            end = found.start() + 1 if found else len(self.data)
        elif entry.dtype is None:
            end = len(self.data)  # of unknown length, so that nothing behind it can be found
        else:
            end = start + count * components * np.dtype(entry.dtype).itemsize
        self.entries.append(Entry(entry.name, owner, entry.type, components, count, start, end))
        self.position = end

    def run(self) -> None:
        """List the arrays."""
        owner, count = b"", 0
        while words := self.line():
            key, *rest = (words[0].upper(), *words[1:])
            if key in (b"DIMENSIONS", b"SPACING", b"ASPECT_RATIO", b"ORIGIN"):
                self.geometry[key] = [float(word) for word in rest[:3]]
            elif key in (b"POINT_DATA", b"CELL_DATA"):
                owner, count = key, int(rest[0])
            elif key == b"METADATA":
                self._skip_metadata()
            elif key == b"LOOKUP_TABLE":
                self.add(rest[0], b"", b"color", 4, int(rest[1]))
            elif key == b"FIELD":
                self._add_fields(owner, int(rest[1]))
            else:
                self._add_attribute(key, rest, owner, count)

    def _add_fields(self, owner: bytes, arrays: int) -> None:
        while arrays > 0 and (words := self.line()):
            if words[0].upper() == b"METADATA":
                self._skip_metadata()
                continue
            self.add(words[0], owner, words[3], int(words[1]), int(words[2]))
            arrays -= 1

    def _skip_metadata(self) -> None:
        end = EMPTY_LINE.search(self.data, self.position - 1)
        self.position = end.end() if end else len(self.data)

    def _add_attribute(self, key: bytes, rest: list[bytes], owner: bytes, count: int) -> None:
        """Add the array of an attribute such as SCALARS.

        Raises:
            ValueError: there is no such attribute.
        """
        if key == b"SCALARS":
            table = self.position
            if self.line()[:1] != [b"LOOKUP_TABLE"]:
                self.position = table
            self.add(rest[0], owner, rest[1], int(rest[2]) if len(rest) > 2 else 1, count)
        elif key == b"COLOR_SCALARS":
            self.add(rest[0], owner, b"color", int(rest[1]), count)
        elif key == b"TEXTURE_COORDINATES":
            self.add(rest[0], owner, rest[2], int(rest[1]), count)
        elif key.decode("latin-1") in COMPONENTS:
            self.add(rest[0], owner, rest[1], COMPONENTS[key.decode()], count)
        else:
            raise ValueError(f"the line that begins with {key[:20]!r} is none of a .vtk file")


@contextmanager
def open_vtk(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find an array of a legacy .vtk file of STRUCTURED_POINTS, in text or binary; it needs no library."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:14] != b"# vtk DataFile":
            raise SignalError(f"{path}: does not begin with '# vtk DataFile'; is it a .vtk file?")
        head = HEAD.match(data, 0, 1 << 12)
        if head is None or head[2].upper() != b"STRUCTURED_POINTS":
            what = head[2].decode()[:40] if head else "nothing"
            raise SignalError(f"{path}: holds {what}; STRUCTURED_POINTS, which is image data, is needed")
        walk = _Walk(data, head.end(), head[1].upper() == b"ASCII")
        walk.run()
        entry = _choose(path, walk.entries, dataset)
        of_cells = entry.owner == b"CELL_DATA"
        size = tuple(int(count) - of_cells for count in walk.geometry.get(b"DIMENSIONS", ()))
        steps = np.array(walk.geometry.get(b"SPACING", walk.geometry.get(b"ASPECT_RATIO", [1, 1, 1])))
        origin = np.array(walk.geometry.get(b"ORIGIN", [0, 0, 0])) + (steps / 2 if of_cells else 0)
        if len(size) != 3 or entry.count != prod(size):
            raise SignalError(f"{path}: has {entry.count:,} samples, its DIMENSIONS are {' x '.join(map(str, size))}")
        notes = [f"dataset: {ascii(entry.name)[1:-1]}", *(["samples are the middles of cells"] if of_cells else [])]
        read = lambda: _read(data, entry, walk.is_text).reshape(size, order="F")  # noqa: E731
        yield Found(size, read, np.diag(steps), origin, notes=notes, says_spacing=True)


def _choose(path: Path, entries: list[Entry], dataset: str | None) -> Entry:
    """Return the array of a name, or the only one that has one number per sample.

    Raises:
        SignalError: there is none, or more than one, or it is of other numbers.
    """
    able = [entry for entry in entries if entry.owner]
    plain = [entry for entry in able if entry.components == 1]
    chosen = [entry for entry in able if entry.name == dataset] if dataset is not None else plain
    if len(chosen) != 1:
        raise refuse_choice(path, dataset, len(chosen), ascii(", ".join(entry.name for entry in able))[1:-1])
    entry = chosen[0]
    name, kind = ascii(entry.name)[1:-1], ascii(entry.type)[1:-1][:40]
    if entry.components != 1:
        raise SignalError(f"{path}: {name} has {entry.components} values of {kind} per sample; one number is needed")
    if entry.dtype is None:
        raise SignalError(f"{path}: {name} is of type {kind}, which is not read; write it as unsigned_char or float")
    return entry


def _read(data: mmap.mmap, entry: Entry, is_text: bool) -> ndarray:
    """Return the values of an array with one number per sample."""
    dtype = np.dtype(entry.dtype)
    if is_text:
        values = np.array(data[entry.start : entry.end].split()[: entry.count + 1], np.float64)
        values = (np.rint(values * 255) if entry.type == "color" else values).astype(dtype)
    else:
        values = np.frombuffer(data[entry.start : entry.end], dtype.newbyteorder(">")).astype(dtype)
    if len(values) != entry.count:
        raise ValueError(f"{len(values):,} of {entry.count:,} values")
    return values
