"""Stereolithography, .stl: facets as text or binary, finished or not."""

import codecs
import re
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...errors import SignalError
from .polygons import Polygons
from .text import PADDING, parse_numbers, read_lines

HEADER = 84
"""Bytes before the first facet of a binary file: 80 of anything and the count of facets."""
BEGINS = rb"\bfacet\s+normal\s+[-+]?(?:[.\d]|nan\b|inf\b)"
"""What a facet begins with, and hardly a name."""
FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
COLORED = 1 << 15
"""Bit of a facet's attribute by which some programs say that it has a colour."""
UNKNOWN = (0, 2**32 - 1)
"""Counts that programs write which do not know it yet."""


def read_stl(path: Path) -> Polygons:
    """Read the facets of an .stl file.

    Raises:
        SignalError: it holds other than its header or its text says.
    """
    data = path.read_bytes()
    if not _is_binary(data):
        return _read_text(path, data)
    return _read_binary(path, data)


def _is_binary(data: bytes) -> bool:
    """Return whether the facets are binary; a file that begins with "solid" may be either."""
    start = data[:4096].rstrip(PADDING)
    if len(data) >= HEADER and len(data) == HEADER + FACET.itemsize * int.from_bytes(data[80:HEADER], "little"):
        return True
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    return b"\0" in start or not re.search(rb"(?i)\b(solid|facet)\b", start)


def _read_binary(path: Path, data: bytes) -> Polygons:
    if len(data) < HEADER:
        raise SignalError(f"{path}: {len(data)} bytes are too few for an .stl file; is the file whole?")
    said = int.from_bytes(data[80:HEADER], "little")
    held, rest = divmod(len(data) - HEADER, FACET.itemsize)
    table = np.frombuffer(data, FACET, held, HEADER)
    facets, attributes, notes = table["corners"], table["attribute"], []
    if b"COLOR=" in data[:80] or ((attributes & COLORED).all() and (attributes != attributes[:1]).any()):
        notes.append("note: colours of .stl files are not read; save it as .ply to have them fitted")
    if said in UNKNOWN and held:
        notes.append(f"repaired: the header says {said:,} facets, the file holds {held:,}; read these")
    elif said > held or (said < held and _go_on(facets, said)):
        raise SignalError(f"{path}: the header says {said:,} facets, but the file holds {held:,}; is the file whole?")
    else:
        facets, rest = facets[:said], rest + FACET.itemsize * (held - said)
    if rest:
        notes.append(f"warning: {rest:,} bytes follow the last facet; left out")
    corners = facets.reshape(-1, 3)
    return Polygons.from_faces(corners, np.arange(len(corners)).reshape(-1, 3), tuple(notes))


def _go_on(facets: Float[ndarray, "f 3 3"], said: int) -> bool:
    """Return whether the bytes after the facets that the header counts look like more of them."""
    known, more = facets[:said].reshape(-1, 3).astype(np.float64), facets[said:].reshape(-1, 3).astype(np.float64)
    reach = 100 * np.abs(known).max()
    return bool(
        np.isfinite(more).all() and more.any() and np.abs(more).max() < reach and np.abs(more).max() > 1 / reach
    )


def _read_text(path: Path, data: bytes) -> Polygons:
    text, ended = _drop_names(read_lines(data.lower()))
    ends = text.count(b"endfacet") + text.count(b"end facet")
    begins = text.count(b"facet") - ends
    after = text.split(b"vertex")[1:]  # of each corner, up to the next
    last = np.flatnonzero([b"loop" in rest for rest in after])
    sizes = np.diff(last, prepend=-1)
    if len(sizes) != begins or ends not in (0, begins) or sizes.sum() != len(after) or (sizes < 3).any():
        raise SignalError(
            f"{path}: {begins:,} facets begin and {ends:,} end, with {len(after):,} corners in {len(sizes):,} loops; is"
            " the file whole?"
        )
    coordinates = parse_numbers(b" ".join(word for rest in after for word in rest.split(None, 3)[:3]))
    if len(coordinates) != 3 * len(after):
        raise SignalError(f"{path}: {len(after):,} corners have {len(coordinates):,} coordinates, but each needs 3")
    notes = (f"warning: the text has no endsolid; read the {begins:,} facets that it holds",) * (
        begins > 0 and not ended
    )
    return Polygons(coordinates.reshape(-1, 3), np.arange(len(after)), sizes, notes)


def _drop_names(lines: list[bytes]) -> tuple[bytes, bool]:
    """Return the text without the solids' names, which may have any words in them, and whether the last solid ends."""
    ended = False
    for index, line in enumerate(lines):
        if b"solid" not in line:
            continue
        name = re.match(rb"\s*(end\s*)?solid\b(.*?)(" + BEGINS + rb".*)?$", line, re.DOTALL)
        if name is not None:
            # All may be on one line.
            facets = re.sub(rb"\bend\s*solid\b.*?(?=" + BEGINS + rb"|$)", b"", name[3] or b"")
            ended = name[1] is not None or facets != (name[3] or b"")
            lines[index] = facets
    return b"\n".join(lines), ended
