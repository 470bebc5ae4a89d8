"""Radiance pictures (.hdr), RGB of floating point."""

import re
from pathlib import Path

import numpy as np

from ...errors import SignalError
from .picture import Picture, check_size

LONGEST_HEADER = 1 << 16


def read_radiance(path: Path, max_pixels: int) -> Picture:
    """Read a Radiance picture; its values are as they are stored, red, green and blue, float32.

    Raises:
        SignalError: the file is too large, broken or not of RGBE values from the top left.
    """
    import cv2

    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    resolution = re.search(rb"\n([-+][XY]) +(\d{1,9}) +([-+][XY]) +(\d{1,9})\n", head)
    if resolution is None:
        raise SignalError(f"{path}: has no line with the size of a Radiance picture; is the file whole?")
    lines = head[: resolution.start()].splitlines()
    height, width = int(resolution[2]), int(resolution[4])
    check_size(path, width, height, max_pixels)
    if (resolution[1], resolution[3]) != (b"-Y", b"+X"):
        raise SignalError(
            f"{path}: a Radiance picture that is stored turned is not read; convert it to TIFF or OpenEXR"
        )
    if b"FORMAT=32-bit_rle_rgbe" not in lines:
        raise SignalError(f"{path}: a Radiance picture of other than RGBE values is not read; convert it to OpenEXR")
    # From memory, because cv2 cannot open every path that Python can.
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape != (height, width, 3) or pixels.dtype != np.float32:
        raise SignalError(f"{path}: cannot be decoded as a Radiance picture; is the file whole?")
    notes = ["RGB with 8 bits a channel and a common exponent (RGBE), as floating point"]
    if exposures := [line.decode("latin-1") for line in lines if line.startswith((b"EXPOSURE", b"COLORCORR"))]:
        notes.append(f"the values are as stored; the header's {', '.join(exposures)[:80]} is not divided out")
    return Picture(np.ascontiguousarray(pixels[..., ::-1]), "RGB", notes)
