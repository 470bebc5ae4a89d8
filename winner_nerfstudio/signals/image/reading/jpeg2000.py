"""JPEG 2000 pictures: Pillow for up to four bands of 8 bits, which it keeps, and imagecodecs for all others."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ...errors import SignalError
from ...extras import import_extra
from .picture import Picture, check_size, plural, widen

CODESTREAM = b"\xff\x4f\xff\x51"
SPACES = {12: "CMYK", 14: "CIELab", 18: "YCbCr"}
"""Colour spaces that are not fitted as they are, by their numbers (ISO/IEC 15444-1, table I.10, and 15444-2)."""


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    depths: tuple[int, ...]
    """Bits of each component."""
    is_signed: bool
    is_subsampled: bool
    space: int | None
    opacity: int | None
    """1 if the last component is alpha, 2 if colours are premultiplied by it."""
    is_reordered: bool
    """Whether a component is another colour than its place says."""
    has_palette: bool
    profile: bytes | None
    """The colour profile."""


def read_jpeg2000(path: Path, max_pixels: int) -> Picture:
    """Read a JPEG 2000 picture with all its components in their own depth.

    Raises:
        SignalError: imagecodecs is missing where it is needed, or the file is too large or cannot be read in full.
    """
    data = path.read_bytes()
    header = _read_header(path, data)
    count, bits = len(header.depths), max(header.depths)
    check_size(path, header.width, header.height, max_pixels, count)
    space = SPACES.get(header.space or 0)
    if space in ("CMYK", "CIELab") or (space and bits > 8):
        raise SignalError(f"{path}: JPEG 2000 in {space} is not read; convert it to RGB")
    if header.is_subsampled or len(set(header.depths)) > 1 or (header.has_palette and bits > 8):
        raise SignalError(
            f"{path}: JPEG 2000 with components of different size or depth is not read; convert it to TIFF"
        )
    shift = 0
    if bits <= 8 and count <= 4 and not header.is_signed:
        with Pillow.open(path) as picture:
            pixels = np.asarray(picture)
            shift = 8 - bits  # by which Pillow moves samples up, and also indices
            if header.has_palette:
                if picture.mode != "P":
                    raise SignalError(
                        f"{path}: JPEG 2000 with alpha or other than 8 bits beside its palette is not read; convert it"
                        " to PNG"
                    )
                table = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
                pixels, count, bits = table[pixels >> shift], 3, 8
    else:
        codecs = import_extra("imagecodecs", "jpeg2000", f"{path}: JPEG 2000 of {count} x {bits} bits is read")
        if header.is_reordered:
            raise SignalError(
                f"{path}: deep JPEG 2000 whose components are in another order than red, green, blue is"
                " not read; convert it to TIFF"
            )
        # Of a whole file the library converts the colours as their profile says, and clips them.
        pixels = codecs.jpeg2k_decode(data[data.find(CODESTREAM) :])
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape != (header.height, header.width, count) or pixels.dtype.itemsize * 8 < bits:
        raise SignalError(f"{path}: decodes to {pixels.shape} of {pixels.dtype}, other than its header says")
    notes = [f"JPEG 2000, {plural(count, 'band')} of {bits} bits"]
    mode, white = _choose_mode(header, count, notes), (1 << bits) - 1
    if pixels.dtype == np.uint8 and bits < 8:
        pixels = widen(pixels, white << shift)
        if bits == 1 and mode == "L":
            return Picture(pixels, "1", notes, icc_profile=header.profile)
        notes.append(f"its {plural(bits, 'bit')} are scaled to 8")
    is_narrow = pixels.dtype == np.uint16 and bits < 16
    return Picture(pixels, mode, notes, white if is_narrow else None, header.profile)


def _choose_mode(header: _Header, count: int, notes: list[str]) -> str:
    """Return the meaning of the components; what is said nowhere is noted."""
    base = "RGB" if count >= 3 else "L"
    extra = count - len(base)
    if extra == 0:
        return base
    if extra == 1 and header.opacity:
        return base + ("a" if header.opacity == 2 else "A")
    notes.append(f"{plural(extra, 'further band')} that the file doesn't call alpha, fitted as values of their own")
    return base + "+"


def _read_header(path: Path, data: bytes) -> _Header:
    """Read the marker SIZ of the codestream (ISO/IEC 15444-1, A.5.1) and the boxes before it."""
    start = data.find(CODESTREAM)
    if start < 0 or len(data) < start + 42:
        raise SignalError(f"{path}: has no JPEG 2000 codestream; is the file whole?")
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    (count,) = struct.unpack_from(">H", data, start + 40)
    components = data[start + 42 : start + 42 + 3 * count]
    if count < 1 or len(components) < 3 * count:
        raise SignalError(f"{path}: its JPEG 2000 header is cut off; is the file whole?")
    boxes = data[:start]
    colors = boxes.find(b"colr")
    method = boxes[colors + 4] if colors >= 0 else 0
    space = struct.unpack_from(">I", boxes, colors + 7)[0] if method == 1 else None
    profile = None
    if method in (2, 3):
        (size,) = struct.unpack_from(">I", boxes, colors - 4)
        profile = boxes[colors + 7 : colors - 4 + size]
    definition = boxes.find(b"cdef")
    opacity, is_reordered = None, False
    if definition >= 0:
        (entries,) = struct.unpack_from(">H", boxes, definition + 4)
        kinds = {}
        for entry in range(min(entries, count)):
            component, kind, color = struct.unpack_from(">3H", boxes, definition + 6 + 6 * entry)
            kinds[component] = kind
            is_reordered |= kind == 0 and color not in (component + 1, 0xFFFF)
        opacity = kinds.get(count - 1) if kinds.get(count - 1) in (1, 2) else None
    return _Header(
        right - left, bottom - top,
        depths=tuple((depth & 0x7F) + 1 for depth in components[0::3]),
        is_signed=any(depth & 0x80 for depth in components[0::3]),
        is_subsampled=any(step != 1 for step in components[1::3] + components[2::3]),
        space=space, opacity=opacity, is_reordered=is_reordered, has_palette=b"pclr" in boxes, profile=profile,
    )  # fmt: skip
