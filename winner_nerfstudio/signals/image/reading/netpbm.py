"""Netpbm pictures: those of 8 bits by Pillow, and .pam, .pfm and 16 bits here, because Pillow would reduce them."""

import re
from pathlib import Path

import numpy as np
from numpy import ndarray

from ...errors import SignalError
from .picture import Picture, check_size, widen
from .plain import read_plain

LONGEST_HEADER = 1 << 16
CHANNELS = {b"P2": 1, b"P3": 3, b"P5": 1, b"P6": 3, b"Pf": 1, b"PF": 3}
TUPLES = {
    "BLACKANDWHITE": "1",
    "GRAYSCALE": "L",
    "RGB": "RGB",
    "BLACKANDWHITE_ALPHA": "LA",
    "GRAYSCALE_ALPHA": "LA",
    "RGB_ALPHA": "RGBA",
}
"""Modes of the tuple types of .pam files."""


def read_netpbm(path: Path, max_pixels: int) -> Picture:
    """Read a .pbm, .pgm, .ppm, .pam or .pfm picture.

    Raises:
        SignalError: the file is too large, cut off, or of a kind that is not read.
    """
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    kind = head[:2]
    if kind == b"P7":
        return _read_pam(path, head, max_pixels)
    if kind == b"P1":
        return read_plain(path, max_pixels)
    if kind == b"P4":
        picture = read_plain(path, max_pixels)
        height, width = picture.pixels.shape[:2]
        return _note_more(path, picture, _read_words(path, head, 2)[1] + height * -(-width // 8))
    words, start = _read_words(path, head, 3)
    width, height = (_whole(path, word) for word in words[:2])
    check_size(path, width, height, max_pixels)
    if kind in (b"P5", b"P6", b"Pf", b"PF"):
        _check_line_ends(path, head, start, width * height * CHANNELS[kind] * _count_bytes(kind, words[2]))
    if kind in (b"Pf", b"PF"):
        return _read_floats(path, width, height, CHANNELS[kind], float(words[2]), start)
    white = _whole(path, words[2])
    shape = (height, width, CHANNELS[kind])
    if white <= 255:
        if kind in (b"P5", b"P6") and white < 255:  # Pillow clips; text it checks by itself
            _check_values(path, _read_values(path, start, "u1", shape), white)
        picture = read_plain(path, max_pixels)
    else:
        if kind in (b"P5", b"P6"):
            pixels = _read_values(path, start, ">u2", shape)
        else:
            values = np.array(_uncomment(path.read_bytes())[start:].split()[: int(np.prod(shape))], np.uint16)
            pixels = values.reshape(shape)
        picture = _make_picture(path, pixels, "L" if shape[-1] == 1 else "RGB", white)
    return _note_more(path, picture, start + picture.pixels.nbytes) if kind in (b"P5", b"P6") else picture


def _count_bytes(kind: bytes, last: bytes) -> int:
    """Return the bytes of each binary value, from the header's last word."""
    return 4 if kind in (b"Pf", b"PF") else 1 if int(last) <= 255 else 2


def _check_line_ends(path: Path, head: bytes, start: int, length: int) -> None:
    """Refuse a file whose header ends with CR and LF, of which the format has one, so that all values are shifted.

    Args:
        path: the file.
        head: its beginning.
        start: where the values begin by the format.
        length: bytes of the values.

    Raises:
        SignalError: LF follows CR, and the file is one byte too long.
    """
    if head[start - 1 : start + 1] == b"\r\n" and path.stat().st_size == start + length + 1:
        raise SignalError(
            f"{path}: its header ends with CR and LF, where a single byte belongs, so that its values are shifted; save"
            " it anew"
        )


def _read_pam(path: Path, head: bytes, max_pixels: int) -> Picture:
    """Read a .pam picture, whose header has one entry on each line."""
    header, found, _ = head.partition(b"ENDHDR\n")
    entries = dict(re.findall(r"^([A-Z]+)[ \t]+(\S.*?)\s*$", header.decode("latin-1"), re.MULTILINE))
    if not found or not {"WIDTH", "HEIGHT", "DEPTH", "MAXVAL"} <= set(entries):
        raise SignalError(f"{path}: its header lacks a size, DEPTH, MAXVAL or ENDHDR; is the file whole?")
    width, height, depth, white = (_whole(path, entries[n].encode()) for n in ("WIDTH", "HEIGHT", "DEPTH", "MAXVAL"))
    check_size(path, width, height, max_pixels, depth)
    mode = TUPLES.get(entries.get("TUPLTYPE", ""), "L" if depth == 1 else "L+")
    if len(mode) != depth and mode != "L+":
        raise SignalError(f"{path}: has {depth} channels, which a picture of {entries['TUPLTYPE']} has not")
    if mode == "1" and white > 1:
        mode = "L"
    dtype = "u1" if white < 256 else ">u2"
    start = len(header) + len(found)
    pixels = _read_values(path, start, dtype, (height, width, depth))
    return _note_more(path, _make_picture(path, pixels, mode, white), start + pixels.nbytes)


def _note_more(path: Path, picture: Picture, end: int) -> Picture:
    """Return a binary picture that ends `end` bytes into its file, with a note if another one follows."""
    with path.open("rb") as file:
        file.seek(end)
        if re.match(rb"P[4-7]\s", file.read(3)):
            picture.notes.append("warning: holds several pictures, one behind another; the first is fitted")
    return picture


def _make_picture(path: Path, pixels: ndarray, mode: str, white: int) -> Picture:
    """Return the picture of values that end at `white`; up to 8 bits are scaled to 255, as Pillow does."""
    _check_values(path, pixels, white)
    if white < 255:
        return Picture(widen(pixels, white), mode, [f"values from 0 to {white}, scaled to 255"] * (white > 1))
    pixels = pixels.astype(np.uint8 if white < 256 else np.uint16)
    return Picture(pixels, mode, [f"values from 0 to {white}"], white if white not in (255, 65535) else None)


def _check_values(path: Path, pixels: ndarray, white: int) -> None:
    """Check that values end at `white`."""
    if not 1 <= white <= 65535 or pixels.max(initial=0) > white:
        raise SignalError(f"{path}: has values above its greatest one, {white}; is the file whole?")


def _read_floats(path: Path, width: int, height: int, channels: int, scale: float, start: int) -> Picture:
    """Read a .pfm picture, whose rows begin at the bottom, and whose scale is negative if the low byte comes first."""
    pixels = _read_values(path, start, "<f4" if scale < 0 else ">f4", (height, width, channels))[::-1]
    notes = ["single precision, the first row at the bottom, as .pfm has it"]
    if abs(scale) not in (0.0, 1.0):
        notes.append(f"the values are as stored; the header's scale of {abs(scale):g} is not applied")
    return Picture(np.ascontiguousarray(pixels.astype(np.float32)), "L" if channels == 1 else "RGB", notes)


def _read_values(path: Path, start: int, dtype: str, shape: tuple[int, int, int]) -> ndarray:
    """Return the binary values that begin `start` bytes into a file."""
    count = int(np.prod(shape))
    with path.open("rb") as file:
        file.seek(start)
        values = np.fromfile(file, dtype, count)
    if len(values) < count:
        raise SignalError(f"{path}: holds {len(values):,} of the {count:,} values that its header states; is it whole?")
    return values.reshape(shape)


def _read_words(path: Path, head: bytes, count: int) -> tuple[list[bytes], int]:
    """Return the words behind the kind, and where the values begin: one byte behind the last word."""
    match = re.match(rb"P.(?:\s+(\S+))" + rb"\s+(\S+)" * (count - 1) + rb"\s", _uncomment(head))
    if match is None:
        raise SignalError(f"{path}: its header is cut off; is the file whole?")
    return list(match.groups()), match.end()


def _uncomment(data: bytes) -> bytes:
    """Overwrite the comments before the values by spaces, so that all else stays where it is."""
    header = re.match(rb"P.(?:\s+|#[^\n]*\n|\d+(?=[\s#])){0,64}", data)
    end = header.end() if header else 0
    return re.sub(rb"#[^\n]*", lambda comment: b" " * len(comment[0]), data[:end]) + data[end:]


def _whole(path: Path, word: bytes) -> int:
    """Return a number of the header."""
    if not word.isdigit() or len(word) > 9:
        raise SignalError(
            f"{path}: its header has {word[:20].decode('latin-1')!r} where a size or greatest value belongs"
        )
    return int(word)
