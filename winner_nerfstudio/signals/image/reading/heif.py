"""HEIC pictures, read by libheif."""

from pathlib import Path

import numpy as np

from ...errors import SignalError
from ...extras import import_extra
from .picture import Picture, check_size, plural


def read_heif(path: Path, max_pixels: int) -> Picture:
    """Read the primary picture of a HEIF file in its own depth; libheif turns it upright.

    Raises:
        SignalError: pillow-heif is missing, or the file is too large or cannot be decoded.
    """
    pillow_heif = import_extra("pillow_heif", "heif", f"{path}: is a HEIC picture, which is read")
    with path.open("rb") as file:
        heif = pillow_heif.open_heif(file, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        picture = heif[heif.primary_index]
        width, height = picture.size
        check_size(path, width, height, max_pixels)
        bits = int(picture.info.get("bit_depth", 8))
        pixels = np.array(picture)
    pixels = pixels.reshape(height, width, -1)
    mode = picture.mode.split(";")[0]
    if mode not in ("L", "LA", "La", "RGB", "RGBA", "RGBa") or (pixels.dtype.itemsize > 1) != (bits > 8):
        raise SignalError(
            f"{path}: a HEIC picture of mode {picture.mode} and {bits} bits is not read; convert it to PNG"
        )
    notes = [f"{bits} bits a channel"] if bits > 8 else []
    if len(heif) > 1:
        notes.append(f"the primary one of {plural(len(heif), 'picture')} is fitted")
    if picture.info.get("depth_images"):
        notes.append("its depth map is left out")
    return Picture(pixels, mode, notes, (1 << bits) - 1 if bits > 8 else None, picture.info.get("icc_profile") or None)
