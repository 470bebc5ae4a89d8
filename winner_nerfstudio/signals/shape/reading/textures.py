"""Textures: the pictures that mesh files name or hold, read as sRGB values of 8 or 16 bits."""

import tempfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from ...errors import SignalError
from ..colors import to_srgb
from .text import drop_comment

MOST_TEXELS = 200_000_000
"""Larger textures are refused before they are decoded."""


def read_texture(path: Path) -> Shaped[ndarray, "h w 3"]:
    """Read a picture as sRGB values [h, w, 3] of 8 or 16 bits, without its alpha.

    Pictures of floats, such as .exr and .hdr, hold linear light and are converted, to 16 bits. Inks (CMYK) are
    converted without a profile. An orientation of EXIF's is not applied, for texture coordinates refer to the
    rows of the file.

    Raises:
        SignalError: it cannot be read, is too large, or its channels are no colours; the message is one line.
    """
    from ...image.reading.files import read_picture
    from ...image.reading.picture import turn_back

    picture = read_picture(path, MOST_TEXELS)
    pixels, mode = turn_back(picture), picture.mode
    if mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
        raise SignalError(f"{path}: a texture of mode {mode} is not read; convert it to RGB")
    if mode == "CMYK" and pixels.dtype.kind == "u":
        pixels = _convert_inks(pixels)
    pixels = pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, -1)
    if pixels.dtype.kind == "f":
        return np.rint(to_srgb(pixels.astype(np.float64)) * 65535).astype(np.uint16)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SignalError(f"{path}: a texture of {pixels.dtype} values is not read; save it with 8 or 16 bits")
    if picture.white is not None:
        most = np.iinfo(pixels.dtype).max
        pixels = np.rint(pixels.astype(np.float64) * (most / picture.white)).astype(pixels.dtype)
    return np.ascontiguousarray(pixels)


def _convert_inks(pixels: Shaped[ndarray, "h w 4"]) -> Shaped[ndarray, "h w 3"]:
    """Return cyan, magenta, yellow and black as red, green and blue of the same depth, without a colour profile."""
    most = np.iinfo(pixels.dtype).max
    paper = (most - pixels[..., :3]).astype(np.float32) * (most - pixels[..., 3:])
    return np.rint(paper / most).astype(pixels.dtype)


def decode_texture(name: str, data: bytes) -> Shaped[ndarray, "h w 3"]:
    """Read a picture that a mesh file holds, see `read_texture`.

    Raises:
        SignalError: as `read_texture`; the message calls it `name`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texture"
        path.write_bytes(data)
        try:
            return read_texture(path)
        except SignalError as error:
            raise SignalError(str(error).replace(str(path), name)) from None


def read_beside(path: Path, source: str, name: str, notes: list[str]) -> Shaped[ndarray, "h w 3"] | None:
    """Return a picture that a mesh file names, see `read_texture`; None, and a note, if it cannot be read.

    Args:
        path: the mesh file.
        source: name of the file that names the picture.
        name: name of the picture.
        notes: what the user should know, to which a note is added.
    """
    found = find_beside(path, name)
    if found is None:
        notes.append(
            f"warning: {source} names the texture {name[:80]!r}, which is not in the folder of {path.name} or below"
            f" it; it is left out; put it there, under the name that {source} has"
        )
        return None
    try:
        return read_texture(found)
    except SignalError as error:
        notes.append(f"warning: the texture {error}; it is left out")
        return None


def find_beside(path: Path, name: str) -> Path | None:
    """Return a file that a mesh file names, if it is in the same folder or below it; else None.

    Many programs write the path that the file had on the machine where it was made; a file of the same name beside the
    mesh is taken then. So is one whose name is written in another case, as Windows has it, with ``%20`` for a space, or
    before a comment.
    """
    names = dict.fromkeys((name, unquote(name), drop_comment(name)))
    found = (_find_below(path, place) for each in names for place in (each, each.replace("\\", "/").rpartition("/")[2]))
    return next(filter(None, found), None)


def _find_below(path: Path, name: str) -> Path | None:
    """Return a file of a relative path in the folder of a mesh file; None if there is none, or it is elsewhere."""
    folder = path.resolve().parent
    try:
        target = _match_case(folder, name.replace("\\", "/")).resolve()
        is_beside = target.is_relative_to(folder) and ":" not in name and "\0" not in name and target.is_file()
    except (OSError, ValueError):  # no name of a file at all
        return None
    return target if is_beside else None


def _match_case(folder: Path, name: str) -> Path:
    """Return a relative path in a folder, in the case that its parts have there if they have none as written."""
    target = folder / name
    if target.exists() or ".." in target.parts or not target.is_relative_to(folder):
        return target
    found = folder
    for part in target.relative_to(folder).parts:
        names = [part] if (found / part).exists() or not found.is_dir() else [entry.name for entry in found.iterdir()]
        found /= next((each for each in sorted(names) if each.lower() == part.lower()), part)
    return found
