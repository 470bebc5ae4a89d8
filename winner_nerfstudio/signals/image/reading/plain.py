"""Picture formats of 8 bits, which Pillow decodes; what it would reduce is found and refused or read otherwise."""

import contextlib
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from ...errors import SignalError
from ...extras import import_extra
from .picture import Picture, check_size, plural, turn_upright

MODES = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "P": 4}
"""The Pillow modes of 8 bits that can be fitted, with their numbers of channels; a palette becomes RGB or RGBA."""


@contextlib.contextmanager
def open_picture(path: Path) -> Iterator[Pillow.Image]:
    """Open a picture by Pillow without its own limit on the size, which `max_pixels` takes the place of.

    Raises:
        SignalError: it is none that Pillow knows.
    """
    limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
    try:
        with path.open("rb") as stream, Pillow.open(stream) as picture:
            yield picture
    except UnidentifiedImageError:
        raise SignalError(f"{path}: not a picture that can be read; use .png .jpg .tif .webp or .npy") from None
    finally:
        Pillow.MAX_IMAGE_PIXELS = limit


def read_plain(path: Path, max_pixels: int) -> Picture:
    """Read a picture of one of the formats `CHECKS`, all of 8 bits.

    Raises:
        SignalError: the file is too large or broken, of another format, or Pillow would lose some of it.
    """
    with path.open("rb") as file:
        head = file.read(1 << 18)
    if head.startswith(b"\xff\xd8") and (depth := _find_jpeg_depth(head)) > 8:
        return _read_deep_jpeg(path, head, depth, max_pixels)
    if head.startswith(b"8BPS") and (bits := int.from_bytes(head[22:24], "big")) > 8:  # which Pillow takes for no PSD
        raise SignalError(f"{path}: a PSD picture of {bits} bits a channel is not read; convert it to PNG or TIFF")
    with open_picture(path) as picture:
        check_size(path, *picture.size, max_pixels)
        check = CHECKS.get(picture.format or "")
        if check is None:
            raise SignalError(
                f"{path}: {picture.format} pictures are not read, because bands or depth could be lost; convert it to"
                " PNG or TIFF"
            )
        if picture.mode not in MODES:
            raise SignalError(f"{path}: {picture.format} pictures of mode {picture.mode} are not read; convert to RGB")
        notes = describe_frames(picture) + check(path, picture, head)
        orientation, profile = picture.getexif().get(0x0112, 1), picture.info.get("icc_profile")
        mode, palette = picture.mode, None
        if mode == "P":
            pixels, palette = read_palette(picture)
        else:
            if mode in ("L", "RGB") and "transparency" in picture.info:
                mode += "A"
                picture = picture.convert(mode)
                notes.append(f"its transparent colour is fitted and written as alpha ({mode})")
            pixels = np.asarray(picture)
            pixels = pixels.astype(np.uint8) * 255 if mode == "1" else pixels
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return turn_upright(Picture(pixels, mode, notes, icc_profile=profile, palette=palette), orientation)


def describe_frames(picture: Pillow.Image) -> list[str]:
    """Return a note on the frames that are left out, if there are any."""
    count = getattr(picture, "n_frames", 1)
    if picture.format == "PSD":
        return [f"its layers, {count}, are left out; the merged picture is fitted"] if count > 1 else []
    return [f"the first of {count} frames is fitted"] if count > 1 else []


def read_palette(picture: Pillow.Image) -> tuple[ndarray, tuple[tuple[int, ...], ...]]:
    """Return the colours [h, w, c] of a picture with a palette, and the palette itself."""
    seen = "RGBA" if "transparency" in picture.info else "RGB"
    entries = Pillow.new("P", (256, 1))
    entries.putdata(range(256))
    colors = picture.getpalette("RGB") or []
    if not colors:
        raise ValueError("its palette is missing")
    entries.putpalette(colors)
    if "transparency" in picture.info:
        entries.info["transparency"] = picture.info["transparency"]
    table = np.asarray(entries.convert(seen))[0][: len(colors) // 3]
    return np.asarray(picture.convert(seen)), tuple(map(tuple, table.tolist()))


def read_avif(path: Path, max_pixels: int) -> Picture:
    """Read an AVIF picture: of 8 bits by Pillow, of 10 and 12 bits by imagecodecs.

    Raises:
        SignalError: imagecodecs is missing where it is needed, or the file is too large or cannot be read in full.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    at = head.find(b"av1C")
    flags = head[at + 6] if 0 <= at < len(head) - 6 else 0
    if not flags & 0x40:
        return read_plain(path, max_pixels)
    bits = 12 if flags & 0x20 else 10
    # The sizes of the whole picture and of its parts: thumbnails, tiles and alpha.
    sizes = [struct.unpack(">II", found[1]) for found in re.finditer(rb"ispe.{4}(.{8})", head, re.DOTALL)]
    if not sizes:
        raise SignalError(f"{path}: has no size of an AVIF picture; is the file whole?")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    check_size(path, width, height, max_pixels)
    if any(name in head for name in (b"irot", b"imir", b"clap")):
        raise SignalError(
            f"{path}: an AVIF of {bits} bits that is stored turned or cropped is not read; convert it to PNG"
        )
    codecs = import_extra("imagecodecs", "jpeg2000", f"{path}: AVIF of {bits} bits is read")
    data = path.read_bytes()
    pixels, notes = codecs.avif_decode(data), [f"AVIF, {bits} bits a channel"]
    if pixels.ndim == 4:
        notes.append(f"the first of {len(pixels)} frames is fitted")
        pixels = pixels[0]
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype != np.uint16 or pixels.shape[:2] != (height, width):
        raise SignalError(f"{path}: decodes to {pixels.shape} of {pixels.dtype}, other than its header says")
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    return Picture(pixels, mode, notes, (1 << bits) - 1, find_avif_profile(data))


def find_avif_profile(data: bytes) -> bytes | None:
    """Return the ICC profile in the first box of colours that has one (ISO/IEC 14496-12, 12.1.5), or None."""
    for found in re.finditer(rb"(.{4})colr(?:prof|rICC)", data[: 1 << 20], re.DOTALL):
        (size,) = struct.unpack(">I", found[1])
        profile = data[found.end() : found.start() + size]
        if profile[36:40] == b"acsp":
            return profile
    return None


def _find_jpeg_depth(head: bytes) -> int:
    """Return the bits a sample of a JPEG, from its frame header (ITU T.81, B.2.2), or 8 if there is none so far."""
    return next((head[at + 4] for marker, at in _list_segments(head) if marker in JPEG_FRAMES), 8)


JPEG_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


def _list_segments(head: bytes) -> Iterator[tuple[int, int]]:
    """Yield the markers of a JPEG before its first scan, each with where it stands, the byte behind its 0xFF."""
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xDA:
            return
        if marker == 0xFF:
            at += 1
            continue
        yield marker, at
        at += 2 + struct.unpack_from(">H", head, at + 2)[0]


def _read_deep_jpeg(path: Path, head: bytes, depth: int, max_pixels: int) -> Picture:
    """Read a JPEG of more than 8 bits, grey or in colour, which Pillow cannot."""
    frame, at = next((marker, at) for marker, at in _list_segments(head) if marker in JPEG_FRAMES)
    height, width, count = struct.unpack_from(">HHB", head, at + 5)
    check_size(path, width, height, max_pixels)
    if count not in (1, 3):
        raise SignalError(f"{path}: a JPEG of {count} x {depth} bits is not read; convert it to TIFF")
    codecs = import_extra("imagecodecs", "jpeg2000", f"{path}: a JPEG of {depth} bits is read")
    data = path.read_bytes()
    if b"\xff\xd9" not in data[-64:]:
        raise SignalError(f"{path}: this JPEG has no end; is the file whole?")
    pixels = (codecs.ljpeg_decode if frame == 0xC3 else codecs.jpeg8_decode)(data)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape != (height, width, count) or pixels.dtype != np.uint16:
        raise SignalError(f"{path}: decodes to {pixels.shape} of {pixels.dtype}, other than its header says")
    exif, profile = Pillow.Exif(), b""
    for marker, start in _list_segments(head):
        content = head[start + 4 : start + 2 + struct.unpack_from(">H", head, start + 2)[0]]
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif.load(content)
        if marker == 0xE2 and content.startswith(b"ICC_PROFILE\0"):
            profile += content[14:]  # behind its number and the count of pieces, which come in order
    picture = Picture(
        pixels, "L" if count == 1 else "RGB", [f"JPEG, {depth} bits a channel"], (1 << depth) - 1, profile or None
    )
    return turn_upright(picture, exif.get(0x0112, 1))


Check = Callable[[Path, Pillow.Image, bytes], list[str]]
"""A function of the path, the opened picture and the first bytes that returns notes, or refuses what would be lost."""


def _check_nothing(path: Path, picture: Pillow.Image, head: bytes) -> list[str]:
    """Return no notes: the format has no more than the 8 bits that Pillow reads."""
    return []


def _check_bands(path: Path, picture: Pillow.Image, bands: int, bits: int) -> None:
    """Refuse a picture with more bands or bits than Pillow reads."""
    read = len(picture.getbands())
    if bits > 8 or bands != read:
        raise SignalError(
            f"{path}: has {bands} bands of {bits} bits, of which {read} of 8 bits would be read; convert it to TIFF"
        )


def _check_jpeg(path: Path, picture: Any, head: bytes) -> list[str]:
    """Check the count of components, and note what is taken for CMYK."""
    _check_bands(path, picture, picture.layers, picture.bits)
    if picture.mode != "CMYK":
        return []
    marked = "adobe" in picture.info
    return [f"CMYK, inverted as Adobe's programs {'store' if marked else 'would store'} it"]


def _check_bmp(path: Path, picture: Pillow.Image, head: bytes) -> list[str]:
    """Note a fourth byte a pixel that Pillow leaves out but that isn't empty everywhere."""
    start, size, bits = (*struct.unpack_from("<I", head, 10), *struct.unpack_from("<IxxxxxxxxxxH", head, 14))
    alpha_mask = struct.unpack_from("<I", head, 66)[0] if size >= 56 else 0
    (compression,) = struct.unpack_from("<I", head, 30) if size >= 40 else (0,)
    if picture.mode != "RGB" or bits not in (16, 32) or head[:2] != b"BM":
        return []
    if compression == 3 and alpha_mask:
        raise SignalError(f"{path}: this BMP's alpha would be lost; convert it to PNG")
    if bits == 32:
        count = 4 * picture.size[0] * picture.size[1]
        fourth = np.fromfile(path, np.uint8, count, offset=start)[3::4]
        if len(fourth) and fourth.any():
            return ["the fourth byte of each pixel, to which this BMP gives no meaning, is left out"]
    return []


def _check_tga(path: Path, picture: Pillow.Image, head: bytes) -> list[str]:
    """Note bits that the header doesn't call alpha and Pillow does; refuse a palette whose alpha it leaves out."""
    first, bits = struct.unpack_from("<HxxB", head, 3)
    if picture.palette is not None and bits == 32 and len(set(picture.palette.palette[4 * first + 3 :: 4])) > 1:
        raise SignalError(f"{path}: the alpha of this TGA's palette would be lost; convert it to PNG")
    if picture.mode in ("LA", "RGBA") and not head[17] & 15:
        return ["the bits behind the colours of each pixel, to which this TGA gives no meaning, are fitted as alpha"]
    return []


def _check_psd(path: Path, picture: Pillow.Image, head: bytes) -> list[str]:
    """Check the count of the channels in the header, and refuse a bitmap, whose black Pillow takes for white."""
    _check_bands(path, picture, *struct.unpack_from(">H8xH", head, 12))
    if picture.mode == "1":
        raise SignalError(f"{path}: a PSD bitmap, black and white alone, is not read; convert it to PNG")
    return []


def _check_sgi(path: Path, picture: Pillow.Image, head: bytes) -> list[str]:
    """Check count and depth of the channels in the header."""
    bands = struct.unpack_from(">H", head, 10)[0] if struct.unpack_from(">H", head, 4)[0] == 3 else 1
    _check_bands(path, picture, bands, 8 * head[3])
    return []


def _check_icon(path: Path, picture: Pillow.Image, head: bytes) -> list[str]:
    """Note the pictures of other sizes."""
    sizes = picture.info.get("sizes", ())
    return [f"the largest of {plural(len(sizes), 'size')} is fitted"] if len(sizes) > 1 else []


def _check_netpbm(path: Path, picture: Any, head: bytes) -> list[str]:
    """Note values that were scaled."""
    greatest = [part for tile in picture.tile for part in np.atleast_1d(np.array(tile[3], object)) if type(part) is int]
    return [f"values from 0 to {greatest[-1]}, scaled to 255"] if greatest and greatest[-1] not in (0, 1, 255) else []


CHECKS: dict[str, Check] = {
    **dict.fromkeys(("AVIF", "GIF", "PCX", "PNG", "QOI", "WEBP"), _check_nothing),
    **dict.fromkeys(("JPEG", "MPO"), _check_jpeg),
    **dict.fromkeys(("BMP", "DIB"), _check_bmp),
    "ICO": _check_icon,
    "PPM": _check_netpbm,
    "PSD": _check_psd,
    "SGI": _check_sgi,
    "TGA": _check_tga,
}
"""The formats that Pillow decodes in full, or whose losses these functions find."""
