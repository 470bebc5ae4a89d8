"""Stacks of .tif pages as volumes: pages are z, rows y, columns x."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from .blocks import find_turn, turn_pixels
from .errors import SignalError
from .imagej import imagej_calibration
from .muting import mute_logger
from .tiff_pages import (
    MIN_IS_BLACK,
    MIN_IS_WHITE,
    PALETTE,
    check_depth,
    describe_gaps,
    find_nodata,
    find_photometric,
    invert,
    name_codecs,
    stays_whole,
)
from .volume_attributes import describe_unit
from .volume_found import Found

OTHERS = {"T": "times", "C": "channels", "S": "channels"}
"""Axes of pages, as tifffile calls them, that are said to be something else than slices."""
PLAIN = ("generic", "shaped", "uniform")
"""What tifffile calls series of pages that no other program has given a meaning."""


@contextmanager
def open_stack(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find the stack of pages of a .tif file.

    Raises:
        SignalError: the file is cut off, pages are missing, or they are of several sizes or types, of colours or of 24
            bits.
    """
    import tifffile

    if _leads_behind_end(path):
        raise SignalError(f"{path}: {CUT}")
    with mute_logger("tifffile"), tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        series = file.series[0]
        if not all(_is_held(each) for each in file.series) or _lacks_pages(file):
            raise SignalError(f"{path}: {CUT}")
        _check_complete(path, file)
        _check_alike(path, file)
        check_depth(path, page)
        photometric = find_photometric(page)
        if photometric not in (MIN_IS_WHITE, MIN_IS_BLACK, PALETTE) or "S" in series.axes[-1:]:
            raise SignalError(f"{path}: its pages have colours; one value for each sample is needed")
        if len(file.series) == 1:
            found = Found(tuple(series.shape), series.asarray, axes=_name_axes(series))
        else:
            found = _join(file.series)
        stored = found.read

        def read() -> ndarray:
            with name_codecs(path, page):
                return stored()

        found.read = read
        found.nodata = find_nodata(page)
        found.notes += describe_gaps(path, [each for part in file.series for each in part.pages])
        axes = series.axes if len(file.series) == 1 else ""
        pages = next((axis for axis, name in zip(axes, found.axes, strict=False) if name == "z"), "")
        if pages in OTHERS:
            found.notes.append(f"its {OTHERS[pages]} are taken as z")
        if photometric == PALETTE:
            found.notes.append("the values are indices of a palette, whose colours are left out")
        if photometric == MIN_IS_WHITE:
            bits = int(page.bitspersample)
            found.read = lambda: invert(read(), bits, found.notes)
            if series.dtype.kind in "bu":
                found.nodata = [(1 << bits) - 1 - value for value in found.nodata]
        if calibration := imagej_calibration(file):
            slope, intercept = calibration
            if stays_whole(slope, intercept, series.dtype):
                _shift(found, int(intercept))
            else:
                found.slope, found.intercept = calibration
        _turn(found, int(page.tags.valueof(274, 1)))
        _place(found, file)
        yield found


def find_ome_files(path: Path) -> list[Path | None]:
    """Return the other files of a stack in several .tif files, which the metadata of each of them name (OME)."""
    import tifffile

    with mute_logger("tifffile"), tifffile.TiffFile(path) as file:
        others = _name_ome_files(path, file)
    return [each if each.is_file() else None for each in others]


def _name_ome_files(path: Path, file: Any) -> list[Path]:
    """Return the other files that an open one's metadata name, whether these exist or not."""
    names = re.findall(r'<UUID\b[^>]*\bFileName="([^"]*)"', file.ome_metadata or "")
    others = (path.parent / unescape(name) for name in dict.fromkeys(names))
    return [other for other in others if other != path]


CUT = "is cut off: its pages go on behind the end of the file; copy or save it anew"


def _leads_behind_end(path: Path) -> bool:
    """Return whether the list of a TIFF or BigTIFF file's pages leads behind the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 16:
            return False
        is_big = struct.unpack(f"{order}H", head[2:4])[0] == 43
        count, offset, entry = (f"{order}Q", f"{order}Q", 20) if is_big else (f"{order}H", f"{order}I", 12)
        least, seen = struct.calcsize(count) + struct.calcsize(offset), set[int]()
        (start,) = struct.unpack(offset, head[8:16] if is_big else head[4:8])
        while start and start not in seen:
            seen.add(start)
            file.seek(start)
            entries = file.read(struct.calcsize(count))
            if start + least > size:
                return True
            end = start + len(entries) + entry * struct.unpack(count, entries)[0]
            if end + struct.calcsize(offset) > size:
                return True
            file.seek(end)
            (start,) = struct.unpack(offset, file.read(struct.calcsize(offset)))
    return False


def _is_held(series: Any) -> bool:
    """Return whether the samples of a series of pages lie within their files, of which OME has several."""
    if series.dataoffset is not None:
        return bool(series.dataoffset + series.nbytes <= series.keyframe.parent.filehandle.size)
    return all(
        start + length <= page.parent.filehandle.size
        for page in series.pages
        if page is not None
        for start, length in zip(page.dataoffsets, page.databytecounts, strict=False)
        if start and length
    )


def _lacks_pages(file: Any) -> bool:
    """Return whether ImageJ states more pages than there are, of which it writes one only in large files."""
    stated = (file.imagej_metadata or {}).get("images", 1) if file.is_imagej else 1
    return int(stated) > sum(prod(series.shape[:-2]) for series in file.series)


def _check_complete(path: Path, file: Any) -> None:
    """Check that the file has every page that it states, for tifffile would read zeros in place of the others.

    Raises:
        SignalError: it has not.
    """
    pages = [page for series in file.series for page in series.pages]
    if missing := pages.count(None):
        absent = [ascii(other.name)[1:-1] for other in _name_ome_files(path, file) if not other.is_file()]
        what = (
            f"put {', '.join(absent)[:200]} beside it"
            if absent
            else "save those that are there as a stack of their own"
        )
        raise SignalError(f"{path}: states {len(pages):,} pages, of which {missing:,} are missing; {what}")


def _check_alike(path: Path, file: Any) -> None:
    """Check that all series of a file's pages can be one stack.

    Raises:
        SignalError: they are of several sizes or types, or each is a picture of its own.
    """
    if len(file.series) == 1:
        return
    what = f"{path}: its {len(file.pages)} pages are"
    if len({series.shape[-2:] for series in file.series}) > 1:
        raise SignalError(f"{what} of several sizes; a stack has one")
    if len({(series.dtype, int(series.keyframe.photometric)) for series in file.series}) > 1:
        raise SignalError(f"{what} of several types; a stack has one")
    for series in file.series:
        if series.kind not in PLAIN or len(series.levels) > 1 or series.keyframe.is_reduced or series.ndim > 3:
            raise SignalError(f"{what} {len(file.series)} pictures of their own; save one stack in a file of its own")


def _join(series: Any) -> Found:
    """Return the stack of series of pages that are alike, as programs write them that append page by page."""
    parts = list(series)
    if all(each.kind == "generic" for each in series):  # grouped by their compression, whatever their order
        parts = sorted((page for each in series for page in each.pages), key=lambda page: page.index)
    counts = [prod(part.shape[:-2]) for part in parts]
    shape = (sum(counts), *parts[0].shape[-2:])

    def read() -> ndarray:
        values, end = np.empty(shape, parts[0].dtype), 0
        for part, count in zip(parts, counts, strict=True):
            values[end : end + count] = part.asarray().reshape(count, *shape[1:])
            end += count
        return values

    return Found(shape, read, axes=["z", "y", "x"])


def _name_axes(series: Any) -> list[str]:
    """Return the names of a stack's axes, or none if it is no stack of pages."""
    axes = str(series.axes)
    long = "".join(axis for axis, length in zip(axes, series.shape, strict=True) if length > 1 or len(axes) == 3)
    if len(long) != 3 or long[1:] != "YX" or long[0] not in ("Z", "Q", "I", *OTHERS):
        return []
    return ["z" if axis == long[0] else axis.lower() for axis in axes]


def _shift(found: Found, offset: int) -> None:
    """Add a whole number to values that stay whole, such as the signed ones that ImageJ stores without a sign."""
    read = found.read
    found.read = lambda: read().astype(np.int32) + offset
    found.nodata = [value + offset for value in found.nodata]
    found.notes.append(f"values are 1 times those in the file plus {offset}")


def _turn(found: Found, orientation: int) -> None:
    """Turn the pages as TIFF's orientation tag, 1 to 8, says, see `turn_upright`."""
    if orientation not in range(2, 9) or found.shape[-1] == 1:
        return
    read = found.read
    if find_turn(orientation)[0] == (1, 0):
        found.shape = (*found.shape[:-2], found.shape[-1], found.shape[-2])
    found.read = lambda: turn_pixels(read(), orientation, -2, -1)
    found.notes.append("turned upright as its orientation says")


def _place(found: Found, file: Any) -> None:
    """Take the spacing that ImageJ's or OME's metadata state."""
    metadata = file.imagej_metadata or {}
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
    unstated = 0 if unit.strip() in ("", "pixel", "pixels") else 1  # ImageJ leaves out a spacing of 1
    steps = [float(metadata.get("spacing") or unstated), *_page_steps(file.pages[0])]
    if file.is_ome:
        sizes = dict(re.findall(r'\bPhysicalSize([XYZ](?:Unit)?)="([^"]*)"', (file.ome_metadata or "")[: 1 << 20]))
        steps = [float(sizes.get(axis) or 0) for axis in "ZYX"]
        units = [sizes.get(f"{axis}Unit", "µm") for axis in "XYZ"]
        unit = units[0]
        if len(set(units)) > 1 and all(steps):
            found.notes.append(
                f"warning: its axes have several units ({', '.join(units)}); give --spacing in one of them"
            )
            return
    if all(steps) and found.axes:  # 0 stands for none
        found.directions, found.says_spacing = np.diag(steps), True
        found.notes += [describe_unit(unit)] if unit else []
    elif found.axes and (steps[0] or (file.is_ome and any(steps))):  # any page may have a resolution, such as 72 dpi
        stated, missing = (
            " and ".join(x for x, step in zip("xyz", steps[::-1], strict=True) if bool(step) == is_stated)
            for is_stated in (True, False)
        )
        found.notes.append(
            f"warning: states the distances of samples along {stated} but not along {missing}, so that none is taken;"
            " give --spacing"
        )


def _page_steps(page: Any) -> list[float]:
    """Return the distances of rows and columns in a page's unit, or 0 where it doesn't state them."""
    steps = []
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        numerator, denominator = tag.value if tag is not None and len(tag.value) == 2 else (0, 1)
        steps.append(denominator / numerator if numerator else 0.0)
    return steps
