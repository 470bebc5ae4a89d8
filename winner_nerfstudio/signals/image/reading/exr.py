"""OpenEXR pictures: channels by name, in half or single precision."""

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import SignalError
from ...extras import import_extra
from .picture import MAX_CHANNELS, Picture, check_size

COLORS = {
    ("R", "G", "B", "A"): "RGBa",
    ("R", "G", "B"): "RGB",
    ("X", "Y", "Z"): "L+",
    ("Y", "A"): "La",
    ("Y",): "L",
}
"""Names of the channels that are a picture, in order of preference, with their mode; OpenEXR premultiplies colours."""
SPELLINGS = {"r": "R", "red": "R", "g": "G", "green": "G", "b": "B", "blue": "B", "a": "A", "alpha": "A"}
"""Names that programs give these channels, in small letters."""


def read_exr(path: Path, max_pixels: int) -> Picture:
    """Read the colours of the first part of an OpenEXR file, or else all its channels, in the order of their names.

    Raises:
        SignalError: OpenEXR is missing, or the file is too large, deep, or has subsampled or integer channels.
    """
    openexr = import_extra("OpenEXR", "exr", f"{path}: is an OpenEXR picture, which is read")
    with openexr.File(str(path), header_only=True) as file:
        parts, header = len(file.parts), file.parts[0].header  # which is empty once the file is closed
        (left, top), (right, bottom) = (np.asarray(corner).tolist() for corner in header["dataWindow"])
        is_window = "displayWindow" in header and not np.array_equal(header["displayWindow"], header["dataWindow"])
        check_size(path, right - left + 1, bottom - top + 1, max_pixels)
        if "deep" in str(header.get("type", "")).lower():
            raise SignalError(f"{path}: deep OpenEXR pictures are not read; flatten it")
    with openexr.File(str(path), separate_channels=True) as file:
        if not file.parts:
            raise SignalError(f"{path}: cannot be decoded as an OpenEXR picture; is the file whole?")
        channels: dict[str, Any] = dict(file.parts[0].channels)
        names, mode = _choose_channels(path, sorted(channels))
        planes = [np.asarray(channels[name].pixels) for name in names]
    size = (bottom - top + 1, right - left + 1)
    for name, plane in zip(names, planes, strict=True):
        if plane.shape != size or plane.dtype.kind != "f":
            what = "subsampled" if plane.dtype.kind == "f" else "not of floating point"
            raise SignalError(f"{path}: its channel {name!r} is {what}; write it in full, as half or float")
    pixels = np.stack(planes, -1)
    notes = [f"channels {', '.join(names)} as {' and '.join(sorted({str(plane.dtype) for plane in planes}))}"]
    if others := sorted(set(channels) - set(names)):
        notes.append(f"channels left out: {', '.join(others)[:120]}")
    if parts > 1:
        notes.append(f"the first of {parts} parts is fitted")
    if mode.endswith("a"):
        notes.append("colours are premultiplied by alpha, as OpenEXR has them, and fitted so")
    if is_window:
        notes.append("the data window is fitted, which differs from the display window")
    return Picture(pixels, mode, notes)


def _choose_channels(path: Path, names: list[str]) -> tuple[list[str], str]:
    """Return the names of the channels to fit, and their mode."""
    if {"RY", "BY"} & set(names):
        raise SignalError(f"{path}: OpenEXR's luminance with chroma is not read; write it as R, G, B")
    # Of a single layer, such as Blender's, the names of all channels begin alike: ViewLayer.Combined.R.
    is_layer = len({name.rpartition(".")[0] for name in names}) == 1
    last = [name.rpartition(".")[2] if is_layer else name for name in names]
    meant = {SPELLINGS.get(name.lower(), name): full for name, full in zip(last, names, strict=True)}
    meant.update(zip(last, names, strict=True))  # as they are spelt, if there are several spellings
    for colors, mode in COLORS.items():
        if set(colors) <= set(meant):
            return [meant[color] for color in colors], mode
    if len(names) > MAX_CHANNELS:
        raise SignalError(f"{path}: has {len(names)} channels but none named R, G, B or Y; at most {MAX_CHANNELS} fit")
    return names, "L" if len(names) == 1 else "L+"
