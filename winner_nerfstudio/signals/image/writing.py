"""Writing of pictures in the mode and bit depth of the input."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image as Pillow

from ..errors import SignalError
from ..grid import to_dtype, write_array
from ..picture_suffixes import READ_ONLY, TIFFS, WRITTEN
from ..records import IMAGE_MODES, ImageRecord

ARRAYS = (".npy", ".npz")
LONGEST = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
"""The most pixels along a side that formats, or the libraries that write them, can hold."""
DEEP_WHITE = 65535


def save_image(path: Path, values: ndarray, record: ImageRecord) -> None:
    """Write a picture in the mode and bit depth of its `record`.

    Args:
        path: the file; its suffix says the format, one of `picture_suffixes.WRITTEN` and `ARRAYS`.
        values: in the picture's units, such as 0 to 255, [h, w, c].
        record: the record of the picture that `load_image` returned.

    Raises:
        SignalError: the format doesn't hold such a picture, or the values have another number of channels.
    """
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        write_array(path, values, record.pixel_dtype, record.ndim or (2 if values.shape[-1] == 1 else 3))
        return
    if problem := cannot_save(path, record):
        raise SignalError(f"{path.name}: {problem}")
    if values.shape[-1] not in (IMAGE_MODES[record.mode] or (values.shape[-1],)):
        raise SignalError(f"{path.name}: {values.shape[-1]} channels are no picture of mode {record.mode}")
    profile = record.icc_profile.encode("latin-1") if record.icc_profile else None
    if suffix in TIFFS:
        _write_tiff(path, values, record, profile)
    elif record.pixel_dtype[1:] == "u2":
        path.write_bytes(_encode_deep_png(to_dtype(_fill_depth(values, record), "u2"), profile))
    else:
        options: dict[str, Any] = {"quality": 95, "subsampling": 0} if suffix in (".jpg", ".jpeg") else {}
        options |= {"lossless": True, "exact": True} if suffix == ".webp" else {}
        options |= {"icc_profile": profile} if profile else {}
        _to_pillow(values, record).save(path, **options)


def cannot_save(path: Path, record: ImageRecord, scale: float = 1.0) -> str | None:
    """Return one line that says why a picture with this record cannot be written to this path, or None if it can.

    Args:
        path: the file.
        record: the record of the picture.
        scale: pixels of the file per pixel of the picture, along each side.
    """
    suffix = path.suffix.lower()
    if suffix in ARRAYS:
        return None
    allowed = _list_suffixes(record)
    if suffix in READ_ONLY and allowed:
        return f"{suffix} is read but not written; use one of {' '.join(allowed)} or .npy"
    if suffix not in WRITTEN:
        return f"unknown picture format {suffix!r}; use one of {' '.join((*WRITTEN, *ARRAYS))}"
    if record.mode == "array":
        return "an array is written back as .npy or .npz"
    if suffix not in allowed:
        return f"{suffix} cannot hold a picture of mode {record.label}; use one of {' '.join(allowed)} or .npy"
    longest = LONGEST.get(suffix)
    if longest is not None and max(record.shape) * scale >= longest + 0.5:
        height, width = (round(count * scale) for count in record.shape)
        return f"{suffix} holds at most {longest:,} pixels along a side, not {width:,} x {height:,}; use .png or .tif"
    return None


def _list_suffixes(record: ImageRecord) -> tuple[str, ...]:
    """Return the suffixes of the picture formats that hold pictures of the record's mode and data type."""
    mode, dtype = record.mode, record.pixel_dtype[1:]
    if mode == "array":
        return ()
    if mode == "P" and record.palette and len(record.palette[0]) == 4:
        return (".png",)
    suffixes: list[str] = []
    if mode in ("1", "L", "LA", "RGB", "RGBA", "P") and dtype in ("u1", "u2"):
        suffixes.append(".png")
    if mode in ("L", "RGB", "CMYK") and dtype == "u1":
        suffixes += [".jpg", ".jpeg"]
    suffixes += TIFFS
    if mode in ("RGB", "RGBA") and dtype == "u1":
        suffixes.append(".webp")
    return tuple(suffixes)


def _write_tiff(path: Path, values: ndarray, record: ImageRecord, profile: bytes | None) -> None:
    """Write a TIFF of any mode and data type."""
    import tifffile

    convert, _, options = prepare_tiff(record, values.shape[-1])
    tifffile.imwrite(
        path, convert(values), compression="zlib", metadata=None, software=False, iccprofile=profile, **options
    )


def prepare_tiff(record: ImageRecord, channels: int) -> tuple[Callable[[ndarray], ndarray], ndarray, dict[str, Any]]:
    """Return how pictures of a record are written as TIFF.

    Args:
        record: the record of the picture.
        channels: its values per pixel.

    Returns:
        The function that converts values in the picture's units to stored pixels, one such pixel, and the options of
        tifffile's writer.
    """
    mode, options = record.mode, dict[str, Any]()
    base = mode.rstrip("Aa+") or mode
    if mode == "P":
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(record.palette or ())] = np.array(record.palette, np.uint16).T * 257
        options["colormap"] = table
    if extra := mode[len(base) :]:
        kind = {"A": "unassalpha", "a": "assocalpha", "+": "unspecified"}[extra]
        options["extrasamples"] = [kind] * (channels - len(base))

    def convert(values: ndarray) -> ndarray:
        filled = _fill_depth(values, record)
        pixels = _find_indices(values, record) if mode == "P" else to_dtype(filled, record.pixel_dtype)
        if mode == "1":
            pixels = pixels > 127
        return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels

    pixel = convert(np.zeros((1, 1, channels)))[0, 0]
    if pixel.ndim:
        options["planarconfig"] = "contig"
    options["photometric"] = {"RGB": "rgb", "CMYK": "separated", "P": "palette"}.get(base, "minisblack")
    return convert, pixel, options


def fills_depth(record: ImageRecord) -> bool:
    """Return whether the values of a picture of up to 16 bits reach their white where those of its data type end."""
    return record.pixel_dtype[1:] != "u2" or round(record.offset + record.amplitude) == DEEP_WHITE


def _fill_depth(values: ndarray, record: ImageRecord) -> ndarray:
    """Return values of 9 to 15 bits as values of 16, with which picture files store them; others as they are."""
    if fills_depth(record):
        return values
    white = record.offset + record.amplitude
    filled: ndarray = values.clip(0, white) * (DEEP_WHITE / white)
    return filled


def _encode_deep_png(pixels: ndarray, profile: bytes | None) -> bytes:
    """Return pixels [h, w, 1 to 4] as a PNG of 16 bits (PNG, 3rd edition, sections 9 to 11)."""
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, ">u2").view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)  # 2: each row as its difference from the one above
    filtered[0, 1:], filtered[1:, 1:] = rows[0], rows[1:] - rows[:-1]
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [b"IHDR" + header]
    if profile:
        chunks.append(b"iCCP" + b"profile\0\0" + zlib.compress(profile))
    chunks += [b"IDAT" + zlib.compress(filtered.data), b"IEND"]
    framed = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def _find_indices(values: ndarray, record: ImageRecord) -> ndarray:
    """Return the index of the palette's nearest colour for each pixel, [h, w]."""
    from scipy.spatial import cKDTree

    _, index = cKDTree(np.array(record.palette, np.float64)).query(values, workers=-1)
    return index.astype(np.uint8)


def _to_pillow(values: ndarray, record: ImageRecord) -> Pillow.Image:
    """Convert values in the picture's units to a Pillow image of the record's mode, of 8 bits."""
    if record.mode == "P":
        table = np.array(record.palette, np.uint8)
        picture = Pillow.fromarray(_find_indices(values, record))
        picture.putpalette(table[:, :3].tobytes())
        if table.shape[-1] == 4:
            picture.info["transparency"] = table[:, 3].tobytes()
        return picture
    pixels = to_dtype(values, "u1")
    if record.mode == "1":
        return Pillow.fromarray(pixels[..., 0] > 127)
    if record.mode == "L":
        return Pillow.fromarray(pixels[..., 0])
    return Pillow.frombytes(record.mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
