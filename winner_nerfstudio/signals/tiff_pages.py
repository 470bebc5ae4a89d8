"""What the tags of a TIFF file's page mean, whether it is a picture or a slice of a volume."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from .errors import SignalError

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, MASK, SEPARATED, YCBCR = range(7)
"""Photometric interpretations, tag 262."""
GDAL_NODATA = 42113
"""The tag in which GDAL writes the value of missing samples, as text."""


def find_photometric(page: Any) -> int:
    """Return the photometric interpretation, or what is likely where a file lacks the tag that TIFF requires."""
    if 262 in page.tags:
        return int(page.photometric)
    return RGB if page.samplesperpixel in (3, 4) else MIN_IS_BLACK


def find_nodata(page: Any) -> tuple[float, ...]:
    """Return the stored value that a page, or another of the file's first ones, declares for missing samples."""
    try:
        tags = (each.keyframe.tags for each in (page, *page.parent.pages[:8]))
        text = next((each.valueof(GDAL_NODATA) for each in tags if GDAL_NODATA in each), None)
        return () if text is None else (float(str(text).strip("\0 ")),)
    except Exception:  # what is wrong with the file is said by who reads its pixels
        return ()


def check_depth(path: Path, page: Any) -> None:
    """Check that the samples of a TIFF file's page are no whole numbers of 24 bits, which tifffile may shift by 8.

    Raises:
        SignalError: they are.
    """
    if page.bitspersample == 24 and page.sampleformat != 3:  # floating point
        raise SignalError(f"{path}: has whole numbers of 24 bits, which are not read; save it as floats or as 32 bits")


@contextmanager
def name_codecs(path: Path, page: Any) -> Iterator[None]:
    """Say of what tifffile cannot decode without imagecodecs what it is.

    Raises:
        SignalError: it is the page's compression, predictor or depth.
    """
    try:
        yield
    except Exception as error:
        reason = str(error)
        # tifffile itself lacks some codecs, and before Python 3.14 the module that zstd is read by.
        if "requires the 'imagecodecs' package" not in reason and not isinstance(error, ImportError):
            raise
        what, remedy = f"compression ({page.compression.name})", "uncompressed"
        if "PREDICTOR" in reason:
            what = f"predictor ({page.predictor.name})"
        elif "packints" in reason or "float24" in reason:
            what, remedy = f"depth ({page.bitspersample} bits)", "with 8, 16 or 32 bits"
        raise SignalError(
            f"{path}: its {what} is not read without imagecodecs, or not by this version of it;"
            f' pip install "winner-nerfstudio[jpeg2000]", or save it {remedy}'
        ) from error


def describe_gaps(path: Path, pages: Iterable[Any]) -> list[str]:
    """Return a note on tiles or strips that a file leaves out of its pages.

    Raises:
        SignalError: it leaves out all of them.
    """
    segments = (segment for page in pages for segment in zip(page.dataoffsets, page.databytecounts, strict=False))
    held = [bool(start and count) for start, count in segments]
    if not any(held):
        raise SignalError(f"{path}: has no tile or strip with values; is the file whole?")
    what = f"{held.count(False):,} of {len(held):,} tiles or strips are left out of the file and read as its fill value"
    return [] if all(held) else [what]


def stays_whole(slope: float, intercept: float, dtype: np.dtype) -> bool:
    """Return whether a calibration takes whole numbers to whole numbers, as of the signed ones that ImageJ stores."""
    return slope == 1 and intercept.is_integer() and dtype.kind in "ui"


def invert(values: ndarray, bits: int, notes: list[str]) -> ndarray:
    """Return values that are stored with the least as white, with the least as black; note it."""
    if values.dtype.kind not in "bu":
        notes.append("stored with white as the least value, which is not applied to signed or floating-point values")
        return values
    notes.append("stored with white as the least value, inverted")
    return ~values if values.dtype == bool else ((1 << bits) - 1 - values).astype(values.dtype)
