"""Stacks of .tif pages as volumes: pages are z, rows y, columns x."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from .errors import SignalError
from .volume_attributes import describe_unit
from .volume_found import Found

WHITE_IS_LEAST, BLACK_IS_LEAST, PALETTE = 0, 1, 3
"""Photometric interpretations, tag 262."""
OTHERS = {"T": "times", "C": "channels", "S": "channels"}
"""Axes of pages, as tifffile calls them, that are said to be something else than slices."""


@contextmanager
def open_stack(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find the stack of pages of a .tif file.

    Raises:
        SignalError: the pages are of several sizes, or of colours.
    """
    import tifffile

    from .nodata import declared_nodata

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        series = file.series[0]
        if len(file.series) != 1:
            raise SignalError(f"{path}: its {len(file.pages)} pages are of several sizes; a stack has one")
        photometric = int(getattr(page, "photometric", BLACK_IS_LEAST))
        if photometric not in (WHITE_IS_LEAST, BLACK_IS_LEAST, PALETTE) or "S" in series.axes[-1:]:
            raise SignalError(f"{path}: its pages have colours; one value for each sample is needed")
        found = Found(tuple(series.shape), series.asarray, axes=_name_axes(series))
        found.nodata = declared_nodata(path)
        pages = next((axis for axis, name in zip(series.axes, found.axes, strict=False) if name == "z"), "")
        if pages in OTHERS:
            found.notes.append(f"its {OTHERS[pages]} are taken as z")
        if photometric == PALETTE:
            found.notes.append("the values are indices of a palette, whose colours are left out")
        if photometric == WHITE_IS_LEAST and series.dtype.kind in "u":
            top = (1 << int(page.bitspersample)) - 1
            found.read = lambda: _invert(series.asarray(), top)
            found.nodata = None if found.nodata is None else top - found.nodata
            found.notes.append("stored with white as the least value, inverted")
        _place(found, file)
        yield found


def _name_axes(series: Any) -> list[str]:
    """Return the names of a stack's axes, or none if it is no stack of pages."""
    axes = str(series.axes)
    long = "".join(axis for axis, length in zip(axes, series.shape, strict=True) if length > 1 or len(axes) == 3)
    if len(long) != 3 or long[1:] != "YX" or long[0] not in ("Z", "Q", "I", *OTHERS):
        return []
    return ["z" if axis == long[0] else axis.lower() for axis in axes]


def _invert(values: ndarray, top: int) -> ndarray:
    return (top - values).astype(values.dtype)


def _place(found: Found, file: Any) -> None:
    """Take the spacing that ImageJ's or OME's metadata state."""
    metadata = file.imagej_metadata or {}
    steps = [float(metadata.get("spacing") or 0), *_page_steps(file.pages[0])]
    unit = str(metadata.get("unit", "")).replace("\\u00B5", "µ")
    if file.is_ome:
        sizes = dict(re.findall(r'\bPhysicalSize([XYZ](?:Unit)?)="([^"]*)"', (file.ome_metadata or "")[: 1 << 20]))
        steps = [float(sizes.get(axis) or 0) for axis in "ZYX"]
        units = [sizes.get(f"{axis}Unit", "µm") for axis in "XYZ"]
        unit = units[0]
        if len(set(units)) > 1 and min(steps) > 0:
            found.notes.append(
                f"warning: its axes have several units ({', '.join(units)}); give --spacing in one of them"
            )
            return
    if np.isfinite(steps).all() and min(steps) > 0 and found.axes:
        found.directions, found.says_spacing = np.diag(steps), True
        found.notes += [describe_unit(unit)] if unit else []


def _page_steps(page: Any) -> list[float]:
    """Return the distances of rows and columns in a page's unit, or 0 where it doesn't state them."""
    steps = []
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        numerator, denominator = tag.value if tag is not None and len(tag.value) == 2 else (0, 1)
        steps.append(denominator / numerator if numerator else 0.0)
    return steps
