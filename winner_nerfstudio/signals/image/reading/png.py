"""PNG pictures: of 8 bits by Pillow, of 16 bits by OpenCV, because Pillow would reduce these."""

import struct
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image as Pillow

from ...errors import SignalError
from .picture import Picture, check_size, turn_upright
from .plain import describe_frames, open_picture, read_palette

MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""Modes by PNG's colour types."""


def read_png(path: Path, max_pixels: int) -> Picture:
    """Read a PNG picture in its own depth; a colour that is marked as transparent becomes alpha.

    Raises:
        SignalError: the file is too large, cut off or broken.
    """
    width, height, bits, color, key = _read_header(path)
    check_size(path, width, height, max_pixels)
    with open_picture(path) as picture:
        notes = describe_frames(picture)
        orientation, profile = picture.getexif().get(0x0112, 1), picture.info.get("icc_profile")
        picture.load()
        mode = MODES[color]
        if mode == "P":
            pixels, palette = read_palette(picture)
            return turn_upright(Picture(pixels, mode, notes, icc_profile=profile, palette=palette), orientation)
        pixels = _decode_deep(path, mode) if bits == 16 else _decode_plain(picture)
    if key is not None and mode in ("L", "RGB"):
        scaled = key * (255 // ((1 << bits) - 1)) if bits < 8 else key
        pixels, mode = _add_alpha(pixels, scaled), mode + "A"
        notes.append(f"its transparent colour is fitted and written as alpha ({mode})")
    elif bits == 1:
        mode = "1"
    elif bits < 8:
        notes.append(f"{bits} bits a sample, as 8")
    return turn_upright(Picture(pixels, mode, notes, icc_profile=profile), orientation)


def _read_header(path: Path) -> tuple[int, int, int, int, ndarray | None]:
    """Return width, height, bits a sample, colour type, and the values of the transparent colour if there is one."""
    key = None
    with path.open("rb") as file:
        file.seek(8)
        length, kind = struct.unpack(">I4s", file.read(8).ljust(8, b"\0"))
        if kind == b"CgBI":
            raise SignalError(f"{path}: is in Apple's own form of PNG, which is not read; convert it to plain PNG")
        if kind != b"IHDR" or length != 13:
            raise SignalError(f"{path}: its PNG header is cut off; is the file whole?")
        width, height, bits, color = struct.unpack(">IIBB", file.read(10).ljust(10, b"\0"))
        if color not in MODES or bits not in (1, 2, 4, 8, 16):
            raise SignalError(f"{path}: a PNG of colour type {color} with {bits} bits there is not; is the file whole?")
        file.seek(33)
        while len(header := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", header)
            if kind == b"tRNS" and color in (0, 2):
                values = file.read(min(length, 6))
                key = np.frombuffer(values[: len(values) // 2 * 2], ">u2") & ((1 << bits) - 1)
            if kind in (b"IDAT", b"IEND", b"tRNS"):
                break
            file.seek(length + 4, 1)
    return width, height, bits, color, key if key is not None and len(key) == len(MODES[color]) else None


def _decode_plain(picture: Pillow.Image) -> ndarray:
    """Return the values [h, w, c] of a picture of up to 8 bits."""
    pixels = np.asarray(picture)
    return (pixels.astype(np.uint8) * 255 if picture.mode == "1" else pixels).reshape(*pixels.shape[:2], -1)


def _decode_deep(path: Path, mode: str) -> ndarray:
    """Return the values [h, w, c] of a picture of 16 bits."""
    import cv2

    # From memory, because cv2 cannot open every path that Python can.
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise SignalError(f"{path}: this PNG of 16 bits cannot be decoded; is the file whole?")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    order = {"L": [0], "LA": [0, -1], "RGB": [2, 1, 0], "RGBA": [2, 1, 0, 3]}[mode]
    return pixels[..., order]


def _add_alpha(pixels: ndarray, key: ndarray) -> ndarray:
    """Return pixels with alpha: 0 where they are of the transparent colour, else the greatest value."""
    opaque = (pixels != key.astype(pixels.dtype)).any(-1, keepdims=True)
    return np.concatenate([pixels, np.where(opaque, np.iinfo(pixels.dtype).max, 0).astype(pixels.dtype)], -1)
