"""Loading of pictures: they are fitted in [-1, 1], whatever their depth."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy import ndarray

from ..derivatives import compute_slopes, derive, read_samples
from ..errors import SignalError, check_file
from ..grid import Grid, check_values, name_of, read_array, to_dtype
from ..lattice import Lattice
from ..nodata import check_range, separate_missing, shrink_mask
from ..options import ImageOptions
from ..records import PREMULTIPLIED, STRAIGHT_ALPHA, ImageRecord
from ..samples import IMAGES, sample
from ..units import Units
from .reading import Picture, describe_excess, read_picture
from .reading.picture import MAX_CHANNELS
from .writing import ARRAYS, cannot_save, fills_depth

WHOLE_RANGES = {np.dtype(bool): 1, np.dtype("u1"): 255, np.dtype("u2"): 65535}
"""The data types whose whole range is mapped to [-1, 1], with its greatest value."""


class Image(Grid[ImageRecord]):
    """A picture: values [height, width, channels], row 0 at the top; coordinates are (row, column).

    The pixel centres of the longer side span [-1, 1], and pixels are square. In the world, the coordinates of a pixel's
    centre are its row and column index. Values are mapped to [-1, 1] from the whole range of the data type, such as 0
    to 255; floats and 32-bit integers from the range of the values themselves.
    """

    kind: ClassVar[str] = "image"

    def facts(self) -> dict[str, str]:
        """Return size, range, depth and the meaning of alpha by name, for `winner-inspect`."""
        mode, last = self.draft.mode, f"band {self.channels}"
        straight = mode in STRAIGHT_ALPHA and self.channels in (2, 4)
        alpha = f"{last}, by which colours are premultiplied" if mode in PREMULTIPLIED else "none"
        values = np.dtype(self.draft.pixel_dtype)
        held = 8 * values.itemsize
        # Unsigned values of up to 16 bits are scaled by the greatest one that the file can hold.
        used = int(self.units.offset + self.units.amplitude).bit_length() if values.kind == "u" and held <= 16 else held
        return {
            **super().facts(),
            "alpha": f"{last}, by which colours are not premultiplied" if straight else alpha,
            "values": f"{values.newbyteorder('=')}, {held if used >= held else f'{used} of {held}'} bits each",
        }


def load_image(source: str | Path | ndarray, options: ImageOptions | None = None) -> Image:
    """Load a picture from a file (one of the formats of docs/data.md), an array, or a sample.

    Args:
        source: a path; an array, also in .npy or .npz, is [height, width] or [height, width, channels] of any real
            type; ``sample:NAME`` with a name from `IMAGES`.
        options: the size limits, the noise, the reference and the part of the samples that is fitted; with
            ``supervise`` the source holds derivatives, see docs/derivatives.md.

    Raises:
        SignalError: a missing, unreadable or oversized file, or values that cannot be fitted.
    """
    options = options or ImageOptions()
    options.check()
    if options.supervise != "values":
        return _load_derivatives(source, options)
    clean = None if options.reference is None else _load(options.reference, options)
    return _load(source, options).under(options, clean)


def _load(source: str | Path | ndarray, options: ImageOptions) -> Image:
    """Load a picture without the noise, the reference or the held-out samples that `options` may ask for."""
    name = name_of(source)
    ndim = None
    if name.startswith("sample:"):
        pixels = sample(IMAGES, name, "image")
        picture = Picture(pixels, {1: "L", 3: "RGB"}[pixels.shape[-1]])
    elif isinstance(source, ndarray) or Path(source).suffix.lower() in ARRAYS:
        array = _read_array(source if isinstance(source, ndarray) else _existing(source), options.max_pixels)
        picture, ndim = Picture(array.reshape(*array.shape[:2], -1), "array"), array.ndim
    else:
        picture = read_picture(_existing(source), options.max_pixels)
        check_values(name, picture.pixels)
    screened = separate_missing(name, picture.pixels, options.nodata, picture.nodata, picture.missing)
    warnings = () if full_range(picture) else check_range(name, screened, options.nodata)
    picture = replace(picture, pixels=screened.values, notes=[*picture.notes, *screened.notes, *warnings])
    picture = _shrink(picture, options.max_side)
    pixels = picture.pixels
    height, width, channels = pixels.shape
    lattice = Lattice((height, width))
    high = full_range(picture)
    units = Units.spanning(float(pixels.min()), float(pixels.max())) if high is None else Units.spanning(0, high)
    draft = draft_record(picture, lattice.shape, units, ndim)
    notes = [f"{width} x {height} pixels, {channels} channel{'s' * (channels != 1)} ({draft.label})", *picture.notes]
    own = Path(name).suffix.lower()
    suffix = next(end for end in (own, ".png", ".tif", ".npy") if not cannot_save(Path(f"fit{end}"), draft))
    if own and suffix != own:
        notes.append(f"a fit is written as {suffix}, not as {own}")
    measure = str(pixels.dtype)
    if not fills_depth(draft):
        notes.append(f"values from 0 to {high}, which a fit has as .npy; scaled to 65535 in files of pictures")
        measure += f" up to {high}"
    image = Image(name, units.to_unit(pixels), lattice.normalization(), units, draft, suffix, measure, tuple(notes))
    return replace(image, missing=shrink_mask(screened.missing, lattice.shape))


def _load_derivatives(source: str | Path | ndarray, options: ImageOptions) -> Image:
    """Load a picture that is given by its derivatives, an array or, of a height, a picture of its normals."""
    name, clean = name_of(source), None
    data, ndim, dtype, notes = _read_derivatives(source, options)
    lattice, channels = Lattice(data.shape[:2]), data.shape[2]
    if options.reference is not None:
        truth = _load(options.reference, ImageOptions(max_pixels=options.max_pixels))
        clean = read_samples(truth.units.to_own(truth.values), (*lattice.shape, channels), truth.name)
    derived = derive(name, data, lattice, options.spacings or (1.0, 1.0), options, clean)
    draft = draft_record(Picture(np.empty(0, dtype), "array"), lattice.shape, derived.units, ndim)
    height, width = lattice.shape
    notes = [f"{width} x {height} pixels, {channels} channel{'s' * (channels != 1)} ({draft.label})", *notes]
    values = derived.units.to_unit(derived.values)
    return Image(
        name, values, lattice.normalization(), derived.units, draft, ".npy", notes=(*notes, *derived.notes),
        **derived.attributes(),
    )  # fmt: skip


def _read_derivatives(source: str | Path | ndarray, options: ImageOptions) -> tuple[ndarray, int, str, list[str]]:
    """Return derivatives [h, w, c, k], the axes and the data type that the values have as an array, and notes."""
    name, is_gradient = name_of(source), options.supervise == "gradient"
    if name.startswith("sample:"):
        raise SignalError(f"{name}: a built-in picture has values and no derivatives; leave out supervise")
    if not isinstance(source, ndarray) and Path(source).suffix.lower() not in ARRAYS:
        picture = read_picture(_existing(source), options.max_pixels)
        if not is_gradient or picture.pixels.shape[2] < 3:
            what = "three channels, which are normals" if is_gradient else "values; write its Laplacian as .npy"
            raise SignalError(f"{name}: supervise={options.supervise} needs an array, or a picture of {what}")
        return *_convert_normals(picture), picture.notes

    def check(shape: tuple[int, ...]) -> None:
        own = shape[:-1] if is_gradient else shape
        if len(own) not in (2, 3) or (is_gradient and shape[-1] != 2) or (len(own) == 3 and own[2] > MAX_CHANNELS):
            needed = "[h, w, 2] or [h, w, channels, 2]" if is_gradient else "[h, w] or [h, w, channels]"
            hint = "; compute_slopes() makes one from normals" if shape[2:] == (3,) and is_gradient else ""
            raise SignalError(
                f"{name}: an array of shape {shape} is no picture's {options.supervise}; {needed} is needed{hint}"
            )
        if shape[0] * shape[1] > options.max_pixels:
            raise SignalError(describe_excess(name, shape[1], shape[0], options.max_pixels))

    array = read_array(source if isinstance(source, ndarray) else _existing(source), check)
    check_values(name, array)
    ndim = array.ndim - is_gradient
    dtype = array.dtype.str if array.dtype.kind == "f" else "<f4"
    return array.reshape(*array.shape[:2], -1, 2 if is_gradient else 1), ndim, dtype, []


def _convert_normals(picture: Picture) -> tuple[ndarray, int, str]:
    """Return the gradient of the height that a picture's normals are of, and the rest as `_read_derivatives` does."""
    high, pixels = full_range(picture), picture.pixels[..., :3].astype(np.float64)
    slopes = compute_slopes(pixels if high is None else 2 * pixels / high - 1)
    picture.notes.append("taken for normals: red to the right, green up, blue towards the viewer")
    return np.ma.masked_invalid(slopes[:, :, None]), 2, "<f4"


def _existing(source: str | Path) -> Path:
    """Return the path of a file that is there."""
    path = Path(source)
    check_file(path, "a picture", f"give a picture, or sample:NAME with one of {', '.join(sorted(IMAGES))}")
    return path


def draft_record(picture: Picture, shape: tuple[int, ...], units: Units, ndim: int | None) -> ImageRecord:
    """Return the record of a picture without a digest.

    Args:
        picture: the picture, or a part of it.
        shape: the height and the width of the whole.
        units: the units of its values.
        ndim: axes of an array, channels included; None for a picture file.
    """
    return ImageRecord(
        shape=shape, offset=units.offset, amplitude=units.amplitude, digest="", mode=picture.mode,
        dtype=picture.pixels.dtype.str, ndim=ndim, palette=picture.palette,
        icc_profile=picture.icc_profile.decode("latin-1") if picture.icc_profile else None,
    )  # fmt: skip


def full_range(picture: Picture) -> int | None:
    """Return the greatest value that the file can hold, if its range does not depend on the values."""
    return picture.white or WHOLE_RANGES.get(picture.pixels.dtype.newbyteorder("="))


def _shrink(picture: Picture, max_side: int | None) -> Picture:
    """Shrink a picture until its longer side has at most `max_side` pixels; None leaves it as it is.

    Pixels are averaged, and colours are weighted by their alpha, so that what is transparent gives them no tint.
    """
    pixels = picture.pixels
    height, width, channels = pixels.shape
    if max_side is None or max(height, width) <= max_side:
        return picture
    scale = max_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    wide = pixels.astype(np.float64)
    has_alpha = picture.mode in STRAIGHT_ALPHA and channels in (2, 4)
    if not has_alpha:
        small = _average(wide, size)
    else:
        colors, alpha = wide[..., :-1], wide[..., -1:]
        weighted, weight = _average(colors * alpha, size), _average(alpha, size)
        small = np.concatenate(
            [np.where(weight > 0, weighted / np.where(weight > 0, weight, 1), _average(colors, size)), weight], -1
        )
    weighting = ", colours weighted by alpha" if has_alpha else ""
    note = f"reduced from {width} x {height} pixels by averaging{weighting}"
    return replace(picture, pixels=to_dtype(small, pixels.dtype.str), notes=[*picture.notes, note])


def _average(pixels: ndarray, size: tuple[int, int]) -> ndarray:
    """Return pixels [h, w, c] averaged to a width and height."""
    import cv2

    # cv2 takes at most four channels at once.
    planes = [cv2.resize(pixels[..., c], size, interpolation=cv2.INTER_AREA) for c in range(pixels.shape[-1])]
    return np.stack([plane.reshape(size[::-1]) for plane in planes], -1)


MOST_COLORS = 4
"""A first axis as short as this may be channels."""
LEAST_SIDE = 8
"""And then the two others, if both are at least as long as this, are rows and columns."""


def _read_array(source: Path | ndarray, max_pixels: int) -> ndarray:
    """Return the array [h, w] or [h, w, c] of an array or a file."""
    name = name_of(source)

    def check(shape: tuple[int, ...]) -> None:
        if len(shape) == 3 and shape[0] <= MOST_COLORS and min(shape[1:]) >= LEAST_SIDE:
            raise SignalError(
                f"{name}: an array of shape {shape} is {shape[0]} x {shape[1]} pixels of {shape[2]} channels if those"
                f" come last, {shape[1]} x {shape[2]} of {shape[0]} if they come first; they belong last: transpose it"
            )
        if len(shape) not in (2, 3) or (len(shape) == 3 and shape[-1] > MAX_CHANNELS):
            raise SignalError(
                f"{name}: an array of shape {shape} is no picture; [height, width] or [height, width, channels] with at"
                f" most {MAX_CHANNELS} channels is needed"
            )
        if shape[0] * shape[1] > max_pixels:
            raise SignalError(describe_excess(name, shape[1], shape[0], max_pixels))

    array = read_array(source, check)
    check_values(name, array)
    return array
