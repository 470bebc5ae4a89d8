"""TIFF pictures, read by tifffile: the right page, all bands, their full depth, and values as they are meant.

The tags and their meanings are those of TIFF 6.0, with the extra samples of its supplements.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy import ndarray

from ...blocks import Blocks, Box, find_turn, open_page, turn_blocks
from ...errors import SignalError
from ...imagej import imagej_calibration
from ...muting import mute_logger
from ...nodata import find_markers
from ...records import MOST_SAMPLES
from ...tiff_pages import (
    MASK,
    MIN_IS_BLACK,
    MIN_IS_WHITE,
    PALETTE,
    RGB,
    SEPARATED,
    YCBCR,
    check_depth,
    describe_gaps,
    find_nodata,
    find_photometric,
    invert,
    name_codecs,
    stays_whole,
)
from .picture import Picture, check_size, native, plural, turn_upright, widen
from .plain import open_picture
from .raw import read_raw

MAX_DIRECTORIES = 1000
"""The most pages of a file that are looked at."""
GDAL_METADATA = 42112
"""The tag in which GDAL keeps what it knows of a picture, as XML."""
RAW_SENSORS = (32803, 34892)
"""The photometric interpretations of a camera's sensor: a colour filter array, and linear raw values."""
LOGLUV = 32845
REFUSED = {8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL"}
COLORS = {
    MIN_IS_WHITE: "L",
    MIN_IS_BLACK: "L",
    RGB: "RGB",
    SEPARATED: "CMYK",
    YCBCR: "RGB",
    LOGLUV: "RGB",
    51177: "L",
    52527: "L",
}
"""The mode of each photometric interpretation that is fitted."""
DECODED_TO_RGB = (6, 7, 50001)
"""The compressions, JPEG's and WebP, whose decoders turn YCbCr into RGB."""


def read_tiff(path: Path, max_pixels: int) -> Picture:
    """Read the full-resolution page of a TIFF file.

    Raises:
        SignalError: the file is too large, broken, a volume, a stack of bands, or of values that are not read.
    """
    tiff: Any
    with tifffile.TiffFile(path) as tiff:
        page, notes = _choose_page(path, tiff)
        is_raw = 50706 in tiff.pages[0].tags or int(page.photometric) in RAW_SENSORS
        if not is_raw:
            _check_page(path, tiff, page, max_pixels)
            notes += _describe_gaps(path, page, tiff.filehandle.size)
            pixels = _decode(path, page)
            if pixels.shape != (page.imagelength, page.imagewidth, page.samplesperpixel):
                raise SignalError(f"{path}: decodes to {pixels.shape}, other than its tags say")
            picture = _interpret(path, page, pixels, find_nodata(page))
            orientation = page.tags.valueof(274, 1)
            picture.icc_profile = page.tags.valueof(34675)
            notes += _describe_scale(page)
    if is_raw:
        return read_raw(path, max_pixels)
    picture.notes[:0] = notes
    return turn_upright(picture, orientation)


def open_tiff(path: Path, masked: bool) -> tuple[Picture, Blocks]:
    """Return the first row of a TIFF file's full-resolution page, not turned, and the blocks of its upright pixels.

    Args:
        path: the file.
        masked: whether blocks are masked arrays if the file declares a value for missing samples.

    Raises:
        SignalError: the file is broken, a volume, a stack of bands, of values that are not read, or not in parts.
    """
    tiff: Any
    with mute_logger("tifffile"), tifffile.TiffFile(path) as tiff:
        page, told = _choose_page(path, tiff)
        if 50706 in tiff.pages[0].tags or int(page.photometric) in (*RAW_SENSORS, LOGLUV):
            raise SignalError(f"{path}: raw and LogLuv values are decoded as a whole; save it as RGB, in tiles")
        _check_page(path, tiff, page, MOST_SAMPLES)
        told += _describe_gaps(path, page, tiff.filehandle.size) + _describe_scale(page)
        orientation = page.tags.valueof(274, 1)
        with name_codecs(path, page):
            stored = open_page(path, page)
            row = native(stored.read((slice(0, 1), slice(0, page.imagewidth))))
        nodata = find_nodata(page) if masked else ()
        picture = replace(_interpret(path, page, row, nodata), icc_profile=page.tags.valueof(34675))
        picture.notes[:0] = told

    def read(box: Box) -> ndarray:
        try:
            part = _interpret(path, page, native(stored.read(box)), nodata)
        except (SignalError, MemoryError):
            raise
        except Exception as error:  # tifffile and its codecs fail in many ways
            reason = " ".join(str(error).split())[:120]
            raise SignalError(f"{path}: its tiles or strips cannot be decoded ({reason}); save it anew") from error
        if part.missing is None:
            return part.pixels
        return np.ma.array(part.pixels, mask=np.broadcast_to(part.missing[..., None], part.pixels.shape))

    blocks = Blocks(str(path), stored.shape, picture.pixels.shape[-1], picture.pixels.dtype, read)
    return picture, turn_blocks(blocks, *find_turn(orientation))


def _decode(path: Path, page: Any) -> ndarray:
    """Return the samples of a page, [h, w, c]."""
    if int(page.photometric) == LOGLUV:
        return _decode_logluv(path, page)
    try:
        with name_codecs(path, page):
            pixels = page.asarray(squeeze=False, maxworkers=1)
    except SignalError:
        if (decoded := _decode_by_pillow(path, page)) is not None:
            return decoded
        raise
    # tifffile's axes are [planes, depth, h, w, bands]; of planes and bands one is 1.
    return native(np.moveaxis(pixels[:, 0], 0, 2).reshape(*pixels.shape[2:4], -1))


def _decode_by_pillow(path: Path, page: Any) -> ndarray | None:
    """Return the samples [h, w, c] of a plain page by Pillow, which has codecs of its own, or None for other pages."""
    mode = {(1, 1): "1", (1, 8): "L", (3, 8): "RGB"}.get((page.samplesperpixel, page.bitspersample))
    if mode is None or len(page.treeindex) > 1 or page.planarconfig != 1 or page.tags.valueof(274, 1) != 1:
        return None
    with open_picture(path) as picture:
        picture.seek(page.index)
        if picture.mode != mode:
            return None
        pixels = np.array(picture).reshape(page.imagelength, page.imagewidth, -1)
    # Pillow has turned white into the greatest value, even if the tag is lacking; here samples are wanted as stored.
    return ~pixels if int(page.photometric) == MIN_IS_WHITE else pixels


def _decode_logluv(path: Path, page: Any) -> ndarray:
    """Return the values [h, w, 3] of a page that is compressed as logarithms, as OpenCV writes floats, red first."""
    import cv2

    if page.index or len(page.treeindex) > 1 or page.tags.valueof(274, 1) != 1:
        raise SignalError(f"{path}: LogLuv is read of an upright first page only; save it as floating-point RGB")
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.float32 or pixels.ndim != 3:
        raise SignalError(f"{path}: its LogLuv values cannot be decoded; save it as floating-point RGB")
    return np.ascontiguousarray(pixels[..., ::-1])


def _choose_page(path: Path, tiff: Any) -> tuple[Any, list[str]]:
    """Return the largest page that is no thumbnail, reduced copy or mask, and notes on the others.

    Raises:
        SignalError: the pages are the slices of a volume or the bands of one picture.
    """
    pages = _list_pages(tiff)
    full = [entry for entry in pages if not _is_reduced(entry[1])]
    notes = [] if full else ["its only pictures are marked as reduced copies or masks"]
    name, page = max(full or pages, key=lambda entry: entry[1].imagewidth * entry[1].imagelength)
    alike = [other for _, other in full if other.shape == page.shape]
    if len(alike) > 1:
        _refuse_stack(path, tiff, len(alike))
    if len(pages) > 1:
        rest = f"{len(pages) - len(full)} of them reduced copies or masks" if len(pages) > len(full) else ""
        same = f"{len(alike)} of them of this size" if len(alike) > 1 else ""
        more = "".join(f", {part}" for part in (same, rest) if part)
        least = "at least " if len(pages) > MAX_DIRECTORIES else ""
        whole = "; --kind volume fits them all as slices" if len(alike) > 1 and page.samplesperpixel == 1 else ""
        notes.append(f"{name} of {least}{len(pages):,} is fitted, {page.imagewidth} x {page.imagelength}{more}{whole}")
    if tiff.is_stk or page.imagedepth > 1 or _is_truncated_stack(tiff, page, len(pages)):
        raise SignalError(f"{path}: {VOLUME}")
    return page, notes


VOLUME = (
    "is a stack of slices, a volume; fit it with --kind volume or ns-train winner-volume, or save one slice as .png"
)


def _list_pages(tiff: Any) -> list[tuple[str, Any]]:
    """Return the pages with their names, those below others included, `MAX_DIRECTORIES` and one more at the most."""
    pages: list[tuple[str, Any]] = []
    index, seen = 0, set()
    while len(pages) <= MAX_DIRECTORIES:
        try:
            page = tiff.pages[index]
        except IndexError:
            break
        if page.offset in seen:
            break
        seen.add(page.offset)
        index += 1
        pages.append((f"page {index}", page))
        below = page.pages if page.subifds else ()
        for part in range(min(len(page.subifds or ()), 16)):
            pages.append((f"page {index}, part {part + 1},", below[part]))
    return pages


def _is_reduced(page: Any) -> bool:
    """Return whether a page is marked as a reduced copy or a mask of another (tags 254 and 255)."""
    return bool(page.subfiletype & 5) or page.tags.valueof(255) == 2 or page.photometric == MASK


def _refuse_stack(path: Path, tiff: Any, count: int) -> None:
    """Refuse pages that the file itself calls slices of a volume or channels of one picture."""
    slices, channels = 1, 1
    if tiff.is_imagej:
        entries = tiff.imagej_metadata or {}
        slices, channels = (int(entries.get(name, 1)) for name in ("slices", "channels"))
    elif tiff.is_ome:
        sizes = dict(re.findall(r'\bSize([ZC])="(\d+)"', (tiff.ome_metadata or "")[: 1 << 20]))
        slices, channels = int(sizes.get("Z", 1)), int(sizes.get("C", 1))
    if slices > 1:
        raise SignalError(f"{path}: {VOLUME}")
    if channels > 1 and count > 1:
        raise SignalError(f"{path}: has its {channels} channels in pages of their own; save them as bands of one page")


def _is_truncated_stack(tiff: Any, page: Any, count: int) -> bool:
    """Return whether a file states one page for a whole stack, as ImageJ and tifffile write large ones."""
    if tiff.is_imagej and int((tiff.imagej_metadata or {}).get("images", 1)) > 1:
        return count == 1
    shaped: dict[str, Any] = (tiff.shaped_metadata or ({},))[0] if tiff.is_shaped else {}
    return bool(shaped.get("truncated")) and np.prod(shaped.get("shape", 0), dtype=float) > page.size


def _check_page(path: Path, tiff: Any, page: Any, max_pixels: int) -> None:
    """Check size, count of bands, photometric interpretation and sample format before anything is decoded."""
    check_size(path, page.imagewidth, page.imagelength, max_pixels, page.samplesperpixel)
    if page.is_tiled:
        check_size(path, page.tilewidth, page.tilelength, max(max_pixels, 1 << 24))
    photometric = find_photometric(page)
    if name := REFUSED.get(photometric):
        raise SignalError(f"{path}: pictures in {name} are not fitted; convert it to RGB")
    if photometric not in COLORS and photometric != PALETTE:
        raise SignalError(f"{path}: has the unknown photometric interpretation {photometric}; convert it to RGB")
    check_depth(path, page)
    if not isinstance(page.bitspersample, int) or page.dtype is None or page.dtype.kind not in "buif":
        what = (
            f"of {page.bitspersample} bits" if page.dtype is None else f"of {page.bitspersample} bits as {page.dtype}"
        )
        raise SignalError(f"{path}: has samples {what}, which are not read; save it as floats or whole numbers")
    is_simple = (tuple(page.tags.valueof(530, (2, 2))), page.bitspersample, page.samplesperpixel) == ((1, 1), 8, 3)
    if photometric == YCBCR and int(page.compression) not in DECODED_TO_RGB and not is_simple:
        raise SignalError(f"{path}: YCbCr with subsampled or deep colours is not read; convert it to RGB")


def _describe_gaps(path: Path, page: Any, size: int) -> list[str]:
    """Return a note on tiles or strips that the file leaves out; refuse those that lie behind its end."""
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if not segments or any(start + count > size for start, count in segments if start and count):
        raise SignalError(f"{path}: its tiles or strips lie behind its end; is the file whole?")
    return describe_gaps(path, [page])


def _describe_scale(page: Any) -> list[str]:
    """Return a note on a scale and an offset that GDAL's metadata give the values; GDAL does not apply them either."""
    items = re.findall(r'role="(scale|offset)"[^>]*>([^<]*)<', str(page.tags.valueof(GDAL_METADATA, "")))
    entries = dict.fromkeys(f"{role} {ascii(number)[1:-1][:20]}" for role, number in items)
    stated = [entry for entry in entries if entry not in ("scale 1", "offset 0")]
    return [f"the values are as stored; the file's {', '.join(stated)[:80]} are not applied"] if stated else []


def _interpret(path: Path, page: Any, pixels: ndarray, nodata: tuple[float, ...]) -> Picture:
    """Return the picture that decoded samples [h, w, c] mean, and where they are the values that mean no data."""
    picture = _convert(path, page, pixels)
    if not nodata:
        return picture
    stored = picture.pixels if find_photometric(page) == YCBCR else pixels  # no data is a colour there
    return replace(picture, nodata=nodata, missing=find_markers(stored, nodata, with_nan=False))


def _convert(path: Path, page: Any, pixels: ndarray) -> Picture:
    """Return the picture that decoded samples [h, w, c] mean."""
    photometric, bits = find_photometric(page), int(page.bitspersample)
    notes = [] if 262 in page.tags else [f"the file doesn't say what its bands are: taken for {COLORS[photometric]}"]
    notes += [f"TIFF, {plural(page.samplesperpixel, 'band')} of {plural(bits, 'bit')}"]
    if photometric == PALETTE:
        return _apply_palette(path, page, pixels, notes)
    if photometric == YCBCR and int(page.compression) not in DECODED_TO_RGB:
        pixels = _convert_ycbcr(page, pixels)
        notes.append("converted from YCbCr to RGB")
    if photometric == LOGLUV:
        notes.append("converted from LogLuv to RGB of floating point")
    if photometric == MIN_IS_WHITE:
        # Alpha is no shade.
        pixels = np.concatenate([invert(pixels[..., :1], bits, notes), pixels[..., 1:]], -1)
    if (calibration := imagej_calibration(page.parent)) and page.samplesperpixel == 1:
        return Picture(_calibrate(pixels, *calibration, notes), "L", notes)
    mode = _choose_mode(path, page, COLORS[photometric], notes)
    if pixels.dtype == bool or (pixels.dtype == np.uint8 and bits < 8):
        pixels = widen(pixels, (1 << bits) - 1)
        if bits == 1 and mode == "L":
            return Picture(pixels, "1", notes)
        notes.append(f"its {bits} bits are scaled to 8")
        return Picture(pixels, mode, notes)
    is_narrow = pixels.dtype.kind == "u" and bits < 8 * pixels.dtype.itemsize <= 16
    return Picture(pixels, mode, notes, (1 << bits) - 1 if is_narrow else None)


def _calibrate(pixels: ndarray, slope: float, intercept: float, notes: list[str]) -> ndarray:
    """Return the values that ImageJ means by stored ones, whole numbers if they are."""
    notes.append(f"values are {slope:.6g} times the stored ones plus {intercept:.6g}, as ImageJ calibrates them")
    if stays_whole(slope, intercept, pixels.dtype):
        return pixels.astype(np.int32) + int(intercept)
    return (pixels * np.float64(slope) + intercept).astype(np.float32)


def _choose_mode(path: Path, page: Any, base: str, notes: list[str]) -> str:
    """Return the mode of a page, from the colours of its photometric interpretation and its extra samples."""
    if base == "CMYK" and (page.tags.valueof(332, 1) != 1 or page.samplesperpixel < 4):
        base = "L"
        notes.append("inks other than CMYK, each fitted as a band")
    extra, said = page.samplesperpixel - len(base), tuple(page.extrasamples)
    if extra < 0:
        raise SignalError(f"{path}: has {page.samplesperpixel} bands, fewer than its colours need; save it anew")
    if extra == 0:
        return base
    if extra == 1 and base in ("L", "RGB") and said in ((1,), (2,)):
        if said == (1,):
            notes.append("colours are premultiplied by alpha, and fitted so")
        return base + ("a" if said == (1,) else "A")
    alphas = sum(1 for kind in said if kind in (1, 2))
    meaning = f", {alphas} of them alpha" if alphas else " that the file doesn't call alpha"
    notes.append(f"{base} and {plural(extra, 'further band')}{meaning}: all are fitted")
    return base + "+"


def _apply_palette(path: Path, page: Any, pixels: ndarray, notes: list[str]) -> Picture:
    """Return the colours of a picture with a palette, with the palette itself if that has 8 bits."""
    if page.colormap is None or page.samplesperpixel != 1 or pixels.dtype.kind not in "bu":
        raise SignalError(f"{path}: its palette is missing, or has other bands beside it; convert it to RGB")
    table = np.asarray(page.colormap, np.uint16).reshape(3, -1).T
    if int(pixels.max()) >= len(table):
        raise SignalError(f"{path}: has pixels beyond its palette of {len(table)} colours; is the file whole?")
    index = pixels[..., 0].astype(np.intp)
    if (table % 257 == 0).all():
        table = (table // 257).astype(np.uint8)
    elif (table % 256 == 0).all():
        table = (table // 256).astype(np.uint8)
    elif table.max() < 256:  # against TIFF 6.0, but libtiff, too, takes these for 8 bits
        table = table.astype(np.uint8)
    if len(table) > 256 or table.dtype != np.uint8:
        notes.append(f"a palette of {table.dtype.itemsize * 8} bits, fitted and written as RGB")
        return Picture(table[index], "RGB", notes)
    notes.append(f"a palette of {len(table)} colours")
    return Picture(table[index], "P", notes, palette=tuple(map(tuple, table.tolist())))


def _convert_ycbcr(page: Any, pixels: ndarray) -> ndarray:
    """Convert YCbCr of 8 bits to RGB by the coefficients and reference levels of the file (TIFF 6.0, section 21)."""
    red, green, blue = _fractions(page.tags.valueof(529), (0.299, 0.587, 0.114))
    levels = _fractions(page.tags.valueof(532), (0, 255, 128, 255, 128, 255))
    black, white = np.array(levels[0::2]), np.array(levels[1::2])
    y, cb, cr = np.moveaxis((pixels - black) * (np.array([255, 127, 127]) / (white - black)), -1, 0)
    r, b = cr * (2 - 2 * red) + y, cb * (2 - 2 * blue) + y
    g = (y - blue * b - red * r) / green
    return np.rint(np.stack([r, g, b], -1)).clip(0, 255).astype(np.uint8)


def _fractions(value: Any, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return a tag's fractions as numbers, or the default if the file lacks the tag."""
    if value is None:
        return default
    parts = np.asarray(value, float)
    return tuple(parts.tolist()) if len(parts) == len(default) else tuple((parts[0::2] / parts[1::2]).tolist())
