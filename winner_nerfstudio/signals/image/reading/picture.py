"""What every reader of a picture returns, and the checks that all of them share."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy import ndarray

from ...blocks import turn_pixels
from ...errors import SignalError

MAX_CHANNELS = 16
"""The most channels that a picture may have; an array with a longer last axis is most likely a volume."""


@dataclass
class Picture:
    """A decoded picture.

    Attributes:
        pixels: upright, [h, w, c], in the file's own values.
        mode: the meaning of the channels, one of `winner_nerfstudio.signals.records.IMAGE_MODES`.
        notes: what the user should know of the reading.
        white: the greatest value that the file can hold, if that is less than the data type can.
        icc_profile: the colour profile.
        palette: colours of a picture with a palette, each red, green, blue and possibly alpha.
        orientation: the tag, 1 to 8, as which the file has the pixels, see `turn_upright`.
        nodata: the values of stored samples that stand for missing ones, as far as the file declares any.
        missing: where the stored samples have it, [h, w].
    """

    pixels: ndarray
    mode: str
    notes: list[str] = field(default_factory=list)
    white: int | None = None
    icc_profile: bytes | None = None
    palette: tuple[tuple[int, ...], ...] | None = None
    orientation: int = 1
    nodata: tuple[float, ...] = ()
    missing: ndarray | None = None


def check_size(path: Path, width: int, height: int, max_pixels: int, channels: int = 1) -> None:
    """Check the size that a header states, before anything is decoded.

    Raises:
        SignalError: no pixels, more than `max_pixels` of them, or more than `MAX_CHANNELS` channels.
    """
    if width < 1 or height < 1:
        raise SignalError(f"{path}: its header states {width} x {height} pixels; is the file whole?")
    if width * height > max_pixels:
        raise SignalError(describe_excess(path, width, height, max_pixels))
    if not 1 <= channels <= MAX_CHANNELS:
        raise SignalError(
            f"{path}: has {channels} bands, and a picture has from 1 to {MAX_CHANNELS}; save those that are wanted as"
            " .npy, [height, width, channels]"
        )


def describe_excess(path: str | Path, width: int, height: int, max_pixels: int) -> str:
    """Return the message for a picture of more than `max_pixels` pixels."""
    return (
        f"{path}: {width} x {height} = {width * height:,} pixels are more than --max-pixels {max_pixels:,};"
        " raise it if the file is to be trusted and the memory is there"
    )


def turn_upright(picture: Picture, orientation: int) -> Picture:
    """Turn a picture as EXIF's and TIFF's orientation tag, 1 to 8, says, and note it."""
    if orientation not in range(2, 9):
        return picture
    picture.pixels, picture.orientation = turn_pixels(picture.pixels, orientation, 0, 1), orientation
    if picture.missing is not None:
        picture.missing = turn_pixels(picture.missing, orientation, 0, 1)
    picture.notes.append("turned upright as its EXIF orientation says")
    return picture


def turn_back(picture: Picture) -> ndarray:
    """Return the pixels as the file has them, which undoes `turn_upright`."""
    # A quarter turn is undone by the opposite one, and each other tag by itself.
    return turn_pixels(picture.pixels, {6: 8, 8: 6}.get(picture.orientation, picture.orientation), 0, 1)


def widen(pixels: ndarray, white: int) -> ndarray:
    """Return values from 0 to `white`, which is less than 255, as values of 8 bits."""
    table: ndarray = np.rint(np.arange(256) / white * 255).clip(0, 255).astype(np.uint8)
    return table[pixels.astype(np.uint8, copy=False)]


def native(pixels: ndarray) -> ndarray:
    """Return an array in this machine's byte order."""
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def plural(count: int, word: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {word}{'s' * (count != 1)}"
