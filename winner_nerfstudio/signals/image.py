"""Loading and saving of pictures: they are fitted in [-1, 1] and written back in their mode and bit depth."""

import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from .errors import SignalError
from .grid import Grid, check_values, name_of, read_array, to_dtype, write_array
from .lattice import Lattice
from .nodata import check_range, declared_nodata, separate_missing, shrink_mask
from .options import ImageOptions
from .records import ImageRecord
from .samples import IMAGES, sample
from .units import Units

ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
"""Suffixes of the picture formats that can be written; Pillow reads more."""
MAX_CHANNELS = 16
"""The most channels that a picture may have; an array with a longer last axis is most likely a volume."""
MODES = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "P": 4, "I;16": 1, "I": 1, "F": 1}
"""The Pillow modes that can be fitted, with their numbers of channels; "P" (a palette) is fitted as RGB or RGBA."""
WHOLE_RANGES = {np.dtype(bool): 1, np.dtype("u1"): 255, np.dtype("u2"): 65535}
"""The data types whose whole range is mapped to [-1, 1], with its greatest value."""
DEEP = {"RGB": "RGB;16", "RGBA": "RGBA;16", "LA": "RGBA;16"}
"""The names of 16-bit colour modes, by the 8-bit mode that Pillow would reduce them to."""


class Image(Grid[ImageRecord]):
    """A picture: values [height, width, channels], row 0 at the top; coordinates are (row, column).

    The pixel centres of the longer side span [-1, 1], and pixels are square. In the world, the coordinates of a pixel's
    centre are its row and column index. Values are mapped to [-1, 1] from the whole range of the data type, such as 0
    to 255; floats and 32-bit integers from the range of the values themselves.
    """

    kind: ClassVar[str] = "image"


def load_image(source: str | Path | ndarray, options: ImageOptions | None = None) -> Image:
    """Load a picture from a file (.png .jpg .tif .webp and whatever else Pillow reads), an array, or a sample.

    Args:
        source: a path; an array, also in .npy or .npz, is [height, width] or [height, width, channels] of any real
            type; ``sample:NAME`` with a name from `IMAGES`.
        options: the size limits, the noise, the reference and the part of the samples that is fitted.

    Raises:
        SignalError: a missing, unreadable or oversized file, or values that cannot be fitted.
    """
    options = options or ImageOptions()
    options.check()
    clean = None if options.reference is None else _load(str(options.reference), options)
    return _load(source, options).under(options, clean)


def _load(source: str | Path | ndarray, options: ImageOptions) -> Image:
    """Load a picture without the noise, the reference or the held-out samples that `options` may ask for."""
    name = name_of(source)
    if name.startswith("sample:"):
        pixels: ndarray = sample(IMAGES, name, "image")
        entries: dict[str, Any] = {"mode": {1: "L", 3: "RGB"}[pixels.shape[-1]]}
        notes: list[str] = []
    elif isinstance(source, ndarray):
        pixels, entries, notes = _read_array(source, options.max_pixels)
    else:
        path = Path(source)
        if not path.is_file():
            what = "is a folder, not a picture" if path.is_dir() else "no such file"
            raise SignalError(f"{name}: {what}; give a picture, or sample:NAME with one of {', '.join(sorted(IMAGES))}")
        read = _read_array if path.suffix.lower() in ARRAYS else _read_picture
        pixels, entries, notes = read(path, options.max_pixels)
    screened = separate_missing(name, pixels, options.nodata, declared_nodata(name))
    notes += screened.notes
    if pixels.dtype.newbyteorder("=") not in WHOLE_RANGES:
        notes += check_range(name, screened, options.nodata)
    pixels = _shrink(screened.values, options.max_side)
    height, width, channels = pixels.shape
    units, lattice = _choose_units(pixels), Lattice((height, width))
    draft = ImageRecord(
        shape=lattice.shape, offset=units.offset, amplitude=units.amplitude, digest="", **entries
    )  # fmt: skip
    depth = pixels.dtype if draft.mode == "array" else draft.mode.replace(";16", ", 16 bits a channel")
    notes.insert(0, f"{width} x {height} pixels, {channels} channel{'s' * (channels != 1)} ({depth})")
    candidates = (Path(name).suffix.lower(), ".png", ".tif", ".npy")
    suffix = next(suffix for suffix in candidates if not cannot_save(Path(f"fit{suffix}"), draft))
    measure = str(pixels.dtype)
    image = Image(name, units.to_unit(pixels), lattice.normalization(), units, draft, suffix, measure, tuple(notes))
    return replace(image, missing=shrink_mask(screened.missing, lattice.shape))


def _choose_units(pixels: ndarray) -> Units:
    """Return the units of the data type's range if it is bool, uint8 or uint16, else those of the values' range."""
    high = WHOLE_RANGES.get(pixels.dtype.newbyteorder("="))
    if high is not None:
        return Units.spanning(0, high)
    return Units.spanning(float(pixels.min()), float(pixels.max()))


def _shrink(pixels: ndarray, max_side: int | None) -> ndarray:
    """Shrink a picture until its longer side has at most `max_side` pixels; None leaves it as it is."""
    height, width = pixels.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return pixels
    import cv2

    scale = max_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    wide = pixels.astype(np.float64)
    # cv2 takes at most four channels at once.
    planes = [cv2.resize(wide[..., c], size, interpolation=cv2.INTER_AREA) for c in range(pixels.shape[-1])]
    return to_dtype(np.stack(planes, -1), pixels.dtype.str)


def _read_array(source: Path | ndarray, max_pixels: int) -> tuple[ndarray, dict[str, Any], list[str]]:
    """Return the values [h, w, c] of an array, the entries of its record, and notes for the user."""
    name = name_of(source)

    def check(shape: tuple[int, ...]) -> None:
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[-1] > MAX_CHANNELS):
            raise SignalError(
                f"{name}: an array of shape {shape} is no picture; [height, width] or [height, width, channels] with at"
                f" most {MAX_CHANNELS} channels is needed"
            )
        if shape[0] * shape[1] > max_pixels:
            raise SignalError(_describe_excess(name, shape[1], shape[0], max_pixels))

    array = read_array(source, check)
    check_values(name, array)
    entries = {"mode": "array", "dtype": array.dtype.str, "ndim": array.ndim}
    return array.reshape(*array.shape[:2], -1), entries, []


def _read_picture(path: Path, max_pixels: int) -> tuple[ndarray, dict[str, Any], list[str]]:
    """Return the values [h, w, c] of a picture file, the entries of its record, and notes for the user."""
    # Pillow's own limit on the size is switched off: `max_pixels` takes its place, and is checked before decoding.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            # Opened as a stream, because Pillow corrupts some TIFFs that it maps into memory from a path.
            with path.open("rb") as stream, Pillow.open(stream) as picture:
                width, height = picture.size
                if width * height > max_pixels:
                    raise SignalError(_describe_excess(path, width, height, max_pixels))
                return _decode(path, picture)
        except UnidentifiedImageError:
            raise SignalError(f"{path}: not a picture that can be read; use .png .jpg .tif .webp or .npy") from None
        except SignalError:
            raise
        except Exception as error:  # each decoder raises its own exception types
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise SignalError(f"{path}: cannot be read as a picture ({reason}); is the file whole?") from error
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit


def _describe_excess(path: str | Path, width: int, height: int, max_pixels: int) -> str:
    """Return the message for a picture of more than `max_pixels` pixels."""
    return (
        f"{path}: {width} x {height} = {width * height:,} pixels are more than --max-pixels {max_pixels:,};"
        " raise it if the file is to be trusted and the memory is there"
    )


def _decode(path: Path, picture: Pillow.Image) -> tuple[ndarray, dict[str, Any], list[str]]:
    """Decode an opened picture; return its values [h, w, c], the entries of its record, and notes for the user."""
    notes = []
    if getattr(picture, "n_frames", 1) > 1:
        notes.append(f"the first of {getattr(picture, 'n_frames', 1)} frames is fitted")
    deep = _is_deep(picture)
    if problem := _describe_loss(picture, deep):
        raise SignalError(f"{path}: {problem}")
    orientation = picture.getexif().get(0x0112, 1)
    mode = "I;16" if picture.mode.startswith("I;16") else picture.mode
    if mode not in MODES:
        raise SignalError(f"{path}: pictures of mode {mode} are not fitted; convert it to RGB")
    entries: dict[str, Any] = {}
    if profile := picture.info.get("icc_profile"):
        entries["icc_profile"] = profile.decode("latin-1")
    if deep:
        entries["mode"] = DEEP[mode]
        if mode == "LA":
            notes.append("grey with alpha of 16 bits is fitted and written as RGBA of 16 bits")
        # cv2 applies a TIFF's orientation itself.
        pixels = _read_deep(path, 1 if picture.format == "TIFF" else orientation)
    else:
        picture = ImageOps.exif_transpose(picture)
        if mode in ("L", "RGB") and "transparency" in picture.info:
            mode = {"L": "LA", "RGB": "RGBA"}[mode]
            picture = picture.convert(mode)
            notes.append(f"its transparent colour is fitted and written as alpha ({mode})")
        entries["mode"] = mode
        pixels, palette_entries = _extract_pixels(picture, mode)
        entries |= palette_entries
    if orientation != 1:
        notes.append("turned upright as its EXIF orientation says")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    check_values(str(path), pixels)
    return pixels, entries, notes


def _extract_pixels(picture: Pillow.Image, mode: str) -> tuple[ndarray, dict[str, Any]]:
    """Return the values [h, w] or [h, w, c] and, for a picture with a palette, the record's entry for the palette."""
    if mode != "P":
        pixels = np.asarray(picture)
        if mode == "I;16":
            return pixels.astype(np.uint16), {}
        return (pixels.astype(np.uint8) * 255 if mode == "1" else pixels), {}
    seen = "RGBA" if "transparency" in picture.info else "RGB"
    entries = Pillow.new("P", (256, 1))
    entries.putdata(range(256))
    colors = picture.getpalette("RGB") or []
    if not colors:
        raise ValueError("its palette is missing")
    entries.putpalette(colors)
    if "transparency" in picture.info:
        entries.info["transparency"] = picture.info["transparency"]
    table = np.asarray(entries.convert(seen))[0][: len(colors) // 3]
    return np.asarray(picture.convert(seen)), {"palette": tuple(map(tuple, table.tolist()))}


def _is_deep(picture: Pillow.Image) -> bool:
    """Return whether the file has 16-bit colour, of which Pillow keeps only 8 bits."""
    bits = getattr(picture, "tag_v2", {}).get(258, (8,))
    raw = any(";16" in str(part) for part in _list_decoder_arguments(picture))
    return picture.mode in DEEP and (max(np.atleast_1d(bits)) > 8 or raw)


def _list_decoder_arguments(picture: Pillow.Image) -> list[Any]:
    """Return the arguments that Pillow passes to its decoders: the layout of the raw values, or their maximum."""
    return [part for tile in getattr(picture, "tile", []) for part in np.atleast_1d(np.array(tile[3], object))]


def _describe_loss(picture: Pillow.Image, deep: bool) -> str | None:
    """Return one line that says which part of the file's values reading it would lose, or None if it loses nothing."""
    if picture.format == "PPM":
        maximum = max((part for part in _list_decoder_arguments(picture) if isinstance(part, int)), default=0)
        if picture.mode == "I" or maximum > 255:
            return "16 bits in this format are not kept; save it as PNG or TIFF"
    if picture.format != "TIFF":
        return None
    tags: Any = getattr(picture, "tag_v2", {})
    bits, sample_format = (int(np.max(np.atleast_1d(tags.get(tag, 1)))) for tag in (258, 339))
    if deep and (tags.get(284, 1) == 2 or 1 in np.atleast_1d(tags.get(338, 0))):
        return "16-bit colour in planes, or premultiplied by alpha, is not read; save it interleaved, with plain alpha"
    kept = {"1": (1, 1), "I;16": (16, 1), "I": (32, 2), "F": (32, 3)}.get(picture.mode[:4], (16 if deep else 8, 1))
    if bits > kept[0] or (bits > 1 and sample_format != kept[1]) or (picture.mode in ("I", "F") and bits < 32):
        what = {1: "unsigned", 2: "signed", 3: "floating point"}.get(sample_format, "unknown")
        return (
            f"{what} values of {bits} bits as {picture.mode} are not kept; save it as .npy, or as 8 or 16 bits unsigned"
        )
    return None


def _read_deep(path: Path, orientation: int) -> ndarray:
    """Return the 16-bit values [h, w, c] of a picture file, turned upright as its EXIF `orientation` says."""
    import cv2

    # From memory, because cv2 cannot open every path that Python can.
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise SignalError(f"{path}: 16-bit colour of this make cannot be read; save it as PNG or plain TIFF")
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[-1] == 3 else cv2.COLOR_BGRA2RGBA)
    return _turn_upright(pixels, orientation)


def _turn_upright(pixels: ndarray, orientation: int) -> ndarray:
    """Turn a picture as EXIF's orientation tag, 1 to 8, says (Exif 2.3, section 4.6.4)."""
    turned = pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def save_image(path: Path, values: ndarray, record: ImageRecord) -> None:
    """Write a picture in the mode and bit depth of its `record`.

    Args:
        path: the file; its suffix says the format, one of `PICTURES` and `ARRAYS`.
        values: in the picture's units, such as 0 to 255, [h, w, c].
        record: the record of the picture that `load_image` returned.

    Raises:
        SignalError: the format doesn't hold such a picture.
    """
    suffix, mode = path.suffix.lower(), record.mode
    if suffix in ARRAYS:
        write_array(path, values, record.pixel_dtype, record.ndim or (2 if values.shape[-1] == 1 else 3))
        return
    problem = cannot_save(path, record)
    if problem:
        raise SignalError(f"{path.name}: {problem}")
    if mode in DEEP.values():
        import cv2

        pixels = to_dtype(values, "u2")
        code = cv2.COLOR_RGB2BGR if pixels.shape[-1] == 3 else cv2.COLOR_RGBA2BGRA
        done, encoded = cv2.imencode(suffix, cv2.cvtColor(pixels, code))
        if not done:
            raise SignalError(f"{path.name}: cannot be encoded")
        path.write_bytes(_insert_profile(encoded.tobytes(), suffix, record))
        return
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if suffix in (".jpg", ".jpeg") else {}
    options |= {"lossless": True, "exact": True} if suffix == ".webp" else {}
    options |= {"icc_profile": record.icc_profile.encode("latin-1")} if record.icc_profile else {}
    _to_pillow(values, record).save(path, **options)


def _insert_profile(encoded: bytes, suffix: str, record: ImageRecord) -> bytes:
    """Return an encoded picture with the ICC profile of its record, which cv2 does not write; a TIFF gets none."""
    if suffix != ".png" or record.icc_profile is None:
        return encoded
    body = b"iCCP" + b"profile\0\0" + zlib.compress(record.icc_profile.encode("latin-1"))
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    end_of_header = 8 + 25
    return encoded[:end_of_header] + chunk + encoded[end_of_header:]


def cannot_save(path: Path, record: ImageRecord) -> str | None:
    """Return one line that says why a picture with this record cannot be written to this path, or None if it can."""
    suffix, mode = path.suffix.lower(), record.mode
    if suffix in ARRAYS:
        return None
    if suffix not in PICTURES:
        return f"unknown picture format {suffix!r}; use one of {' '.join((*PICTURES, *ARRAYS))}"
    if mode == "array":
        return "an array is written back as .npy or .npz"
    tiff, jpeg = (".tif", ".tiff"), (".jpg", ".jpeg")
    suffixes: dict[str, tuple[str, ...]] = {
        "L": (".png", *jpeg, *tiff),
        "RGB": (".png", *jpeg, *tiff, ".webp"),
        "RGBA": (".png", *tiff, ".webp"),
        "CMYK": (*jpeg, *tiff),
        "I": tiff,
        "F": tiff,
    }
    allowed = suffixes.get(mode, (".png", *tiff))
    if mode == "P" and record.palette and len(record.palette[0]) == 4:
        allowed = (".png",)
    if suffix not in allowed:
        return f"{suffix} cannot hold a picture of mode {mode}; use one of {' '.join(allowed)} or .npy"
    return None


def _to_pillow(values: ndarray, record: ImageRecord) -> Pillow.Image:
    """Convert values in the picture's units to a Pillow image of the record's mode."""
    mode = record.mode
    if mode == "P":
        from scipy.spatial import cKDTree

        table = np.array(record.palette, np.uint8)
        _, index = cKDTree(table.astype(np.float64)).query(values, workers=-1)
        picture = Pillow.fromarray(index.astype(np.uint8))
        picture.putpalette(table[:, :3].tobytes())
        if table.shape[-1] == 4:
            picture.info["transparency"] = table[:, 3].tobytes()
        return picture
    pixels = to_dtype(values, record.pixel_dtype)
    if mode == "1":
        return Pillow.fromarray(pixels[..., 0] > 127)
    if MODES[mode] == 1:
        return Pillow.fromarray(pixels[..., 0])
    return Pillow.frombytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
