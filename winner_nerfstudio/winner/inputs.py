"""What Python hands over as a signal: tensors, arrays of any library, lists, tables and pictures, as one array.

Other libraries are known by what their objects can do, so that none has to be installed.
"""

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..axis_names import axis_of

_CHANNELS = ("band", "bands", "channel", "channels", "c", "ch", "color", "colour", "rgb")
"""Names of dimensions that hold channels."""
_NOT_FITTED = ("HSV", "LAB", "YCbCr")
"""Modes of Pillow's pictures whose channels are no intensities."""
_NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
_EVEN = 0.01
"""The most by which a step between coordinates may differ from their mean step, in steps."""


class Input(NamedTuple):
    """An array and what its object says of it.

    Attributes:
        values: A tensor, or an array, which may be a masked one.
        dim: The number of spatial axes, where the object says which axis holds channels; else None.
        steps: The distances between samples along the spatial axes, where the object has coordinates; else None.
        origin: The coordinates of the first sample of the values, likewise.
    """

    values: Tensor | NDArray[Any]
    dim: int | None = None
    steps: tuple[float, ...] | None = None
    origin: tuple[float, ...] | None = None


def is_array_like(data: Any) -> bool:
    """Return whether `convert_input` takes an object: whether it holds an array."""
    if isinstance(data, (str, bytes)) or data is None:
        return False
    names = ("__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__", "to_numpy", "getbands")
    return isinstance(data, (Tensor, np.ndarray, list, tuple, array, memoryview)) or any(
        hasattr(data, name) for name in names
    )


def convert_input(data: Any) -> Input:
    """Return the array that an object holds.

    Taken are tensors of any device, layout and precision; arrays, masked ones too; lists; pictures of Pillow's; objects
    of xarray, whose dimensions are put in order by their names (rows and columns, or x, y, z, then channels); series
    and tables of pandas or polars, of which columns named x, y and z are points; and whatever has ``__array__`` or
    DLPack, such as the arrays of jax and cupy.

    Raises:
        ValueError: The object holds no array of real numbers, or its coordinates are not evenly spaced.
    """
    if not is_array_like(data):
        raise ValueError(f"a {type(data).__name__} is no signal; give an array, a tensor or a list of numbers")
    if isinstance(data, Tensor):
        return Input(_convert_tensor(data))
    try:
        if all(hasattr(data, name) for name in ("dims", "coords", "values")):
            converted = _convert_labelled(data)
        elif hasattr(data, "to_numpy"):
            converted = _convert_table(data)
        elif hasattr(data, "getbands"):
            converted = Input(_convert_picture(data))
        else:
            converted = Input(_convert_array(data))
    except (TypeError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"a {type(data).__name__} cannot be read as a signal ({reason})") from error
    if isinstance(converted.values, Tensor):
        return converted
    return converted._replace(values=_convert_dtype(converted.values, type(data).__name__))


def fill_missing(values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the values with missing samples filled: from the nearest known one along the last axis.

    Where a whole line along the last axis is missing, the nearest along the axis before is taken, and so on.

    Args:
        values: The samples, channels last, [*axes, c].
        missing: Where samples are missing, [*axes]; at least one is known.
    """
    values, known = values.copy(), ~missing
    for axis in reversed(range(known.ndim)):
        if known.all():
            break
        count = known.shape[axis]
        index, before, after = _find_neighbours(known, axis)
        is_after = (before < 0) | ((after < count) & (after - index < index - before))
        source = np.where(is_after, after, before).clip(0, count - 1)
        values = np.take_along_axis(values, source[..., None], axis)
        known = np.broadcast_to(known.any(axis, keepdims=True), known.shape)
    return values


def interpolate_missing(values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the values with missing samples between two known ones along the last axis on the line between these.

    All others are those of `fill_missing`, whose steps make a smooth signal seem rough where many samples are missing.

    Args:
        values: The samples, real numbers, channels last, [*axes, c].
        missing: Where samples are missing, [*axes]; at least one is known.
    """
    count = missing.shape[-1]
    index, before, after = _find_neighbours(~missing, missing.ndim - 1)
    is_between = missing & (before >= 0) & (after < count)
    low, high = (np.take_along_axis(values, at.clip(0, count - 1)[..., None], -2) for at in (before, after))
    part = ((index - before) / np.maximum(after - before, 1))[..., None]
    filled = np.where(is_between[..., None], low + part * (high - low), fill_missing(values, missing))
    return filled.astype(values.dtype)


def _find_neighbours(known: NDArray[np.bool_], axis: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the index along an axis, and those of the last known sample up to there and the first from there on.

    Where there is none, these are -1 and the number of samples.
    """
    count = known.shape[axis]
    index = np.arange(count).reshape([-1 if other == axis else 1 for other in range(known.ndim)])
    before = np.maximum.accumulate(np.where(known, index, -1), axis)
    after = np.flip(np.minimum.accumulate(np.flip(np.where(known, index, count), axis), axis), axis)
    return index, before, after


def _convert_tensor(data: Tensor) -> Tensor:
    """Return a plain tensor of the values.

    Raises:
        ValueError: The tensor has a shape only, on the device "meta".
    """
    if data.is_meta:
        raise ValueError("a tensor on the device meta holds no values; give one on a device that does")
    data = data.dequantize() if data.is_quantized else data
    dense = data.detach().to_dense() if data.layout != torch.strided else data.detach()
    return dense.float() if dense.dtype == torch.bfloat16 else dense


def _convert_array(data: Any) -> Tensor | NDArray[Any]:
    """Return the array of an object that has one of the protocols for arrays."""
    if isinstance(data, np.ndarray):
        return data if isinstance(data, np.ma.MaskedArray) else np.asarray(data)
    if isinstance(data, (list, tuple)) and any(isinstance(part, Tensor) for part in data):
        return _convert_tensor(torch.stack([torch.as_tensor(part) for part in data]))
    try:
        return np.asarray(data)
    except (TypeError, RuntimeError):  # arrays on other devices refuse the conversion
        if not hasattr(data, "__dlpack__"):
            raise
        return _convert_tensor(torch.utils.dlpack.from_dlpack(data))


def _convert_dtype(values: NDArray[Any], what: str) -> NDArray[Any]:
    """Return an array of a type of numbers that numpy computes with.

    Raises:
        ValueError: It has values that are not numbers.
    """
    if values.dtype.kind in "OV" and values.dtype.names is None:  # Python's numbers, and bfloat16 of ml_dtypes
        try:
            return values.astype(np.float64 if values.dtype.kind == "O" else np.float32)
        except (TypeError, ValueError):
            pass
    if values.dtype.kind not in "buifc":
        raise ValueError(f"a {what} of {values.dtype} values is no signal; real numbers are needed")
    return values.astype(np.float64) if values.dtype.itemsize > 8 and values.dtype.kind == "f" else values


def _convert_picture(picture: Any) -> NDArray[Any]:
    """Return the pixels of a picture of Pillow's as those of its file would be read."""
    from PIL import ImageOps

    if picture.mode in _NOT_FITTED:
        raise ValueError(f"its mode is {picture.mode}; give picture.convert('RGB')")
    picture = ImageOps.exif_transpose(picture)
    has_alpha = picture.mode == "PA" or "transparency" in picture.info
    if picture.mode == "P" or has_alpha:
        picture = picture.convert("RGBA" if has_alpha else "RGB")
    return np.asarray(picture)


def _convert_labelled(data: Any) -> Input:
    """Convert an array with named dimensions, such as xarray's."""
    if hasattr(data, "data_vars"):
        raise ValueError(f"it holds the variables {', '.join(map(str, data.data_vars))[:80]}; give one, data[NAME]")
    dims = [str(name) for name in data.dims]
    channels = [name for name in dims if name.lower() in _CHANNELS]
    spatial = [name for name in dims if name not in channels]
    letters = [axis_of(name) for name in spatial]
    if len(channels) > 1 or not 1 <= len(spatial) <= 3:
        raise ValueError(f"its dimensions {', '.join(dims)} are not 1 to 3 axes and at most one of channels")
    wanted = {2: "yx", 3: "xyz"}.get(len(spatial), "")
    if wanted and sorted(letters) == sorted(wanted):
        spatial = [spatial[letters.index(letter)] for letter in wanted]
    values = np.asarray(data.values).transpose([dims.index(name) for name in (*spatial, *channels)])
    coords = [data.coords.get(name) for name in spatial]
    steps = [None if coord is None else _measure_step(name, coord) for name, coord in zip(spatial, coords, strict=True)]
    if len(spatial) != 2:  # rows of a picture may run down
        values = np.flip(values, [axis for axis, step in enumerate(steps) if step is not None and step < 0])
    values = _mask_and_scale(values, data.attrs, data.encoding)
    if all(step is None for step in steps):
        return Input(values, len(spatial))
    origin = tuple(0.0 if step is None else _find_least(coord) for step, coord in zip(steps, coords, strict=True))
    return Input(values, len(spatial), tuple(abs(step or 1.0) for step in steps), origin)


def _mask_and_scale(values: NDArray[Any], attributes: Mapping[str, Any], encoding: Mapping[str, Any]) -> NDArray[Any]:
    """Mask and scale values as the conventions of netCDF say.

    Args:
        values: The values of an object of xarray's.
        attributes: What is still to be applied to them.
        encoding: What was applied to those of the file; a value that stands for missing ones may be left of it.
    """
    keys = ("_FillValue", "missing_value", "nodata")
    is_decoded = "scale_factor" in encoding or "add_offset" in encoding
    sources = (attributes,) if is_decoded else (attributes, encoding)
    fills = [fill for more in sources for key in keys if key in more for fill in np.ravel(more[key]).tolist()]
    is_missing = np.zeros(values.shape, bool)
    for fill in fills:
        is_missing |= values == fill
    if values.dtype.kind == "f" and any(key in more for more in (attributes, encoding) for key in keys):
        is_missing |= np.isnan(values)
    slope, intercept = (attributes.get(name, 1.0 - index) for index, name in enumerate(("scale_factor", "add_offset")))
    if (slope, intercept) != (1.0, 0.0) and values.dtype.kind in "uif":
        values = values * float(slope) + float(intercept)
    has_fill = fills or is_missing.any()
    return np.ma.masked_array(values, is_missing) if has_fill and values.dtype.kind in "uif" else values


def _convert_table(data: Any) -> Input:
    """Convert a series, or a table whose columns are channels, or points with columns named x, y and z."""
    columns = [str(name) for name in getattr(data, "columns", ())]
    lower = [name.lower() for name in columns]
    if {"x", "y", "z"} <= set(lower):
        names = [*"xyz", *next((names for names in _NORMALS if set(names) <= set(lower)), ())]
        return Input(_numbers_of(data[[columns[lower.index(name)] for name in names]]))
    index = getattr(data, "index", None)
    kind = getattr(getattr(index, "dtype", None), "kind", "")
    step = _measure_step("index", index) if kind and kind in "mMf" else None
    steps = None if step is None else (abs(step),)
    is_named = any(not name.isdigit() for name in columns) or not columns
    values = _numbers_of(data)
    values = values[::-1] if step is not None and step < 0 else values
    return Input(values, 1 if is_named else None, steps)


def _numbers_of(data: Any) -> NDArray[Any]:
    """Return the values of a table as numbers; those that are missing are NaN."""
    values: NDArray[Any] = data.to_numpy()
    if values.dtype.kind != "O":
        return values
    try:
        return data.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not all of its columns hold numbers: {error}") from None


def _measure_step(name: str, coordinate: Any) -> float | None:
    """Return the distance between coordinates, seconds for times; None for fewer than two of them.

    Raises:
        ValueError: They are not evenly spaced.
    """
    if getattr(coordinate, "tz", None) is not None:
        coordinate = coordinate.tz_convert("UTC").tz_localize(None)
    values = np.asarray(coordinate)
    if values.dtype.kind in "mM":
        values = (values - values[0]) / np.timedelta64(1, "s")
    if values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
        return None
    steps = np.diff(values.astype(np.float64))
    mean = float(steps.mean())
    if not steps.any():
        raise ValueError(
            f"its coordinate {name!r} is {values[0]:.4g} everywhere, and so says nothing of where samples lie"
        )
    if not np.abs(steps - mean).max() <= _EVEN * abs(mean):
        raise ValueError(
            f"its coordinate {name!r} is not evenly spaced, {steps.min():.4g} to {steps.max():.4g}; interpolate it"
        )
    return mean


def _find_least(coordinate: Any) -> float:
    """Return the least of an axis' coordinates, where its first sample lies once the axis ascends; 0 for times."""
    values = np.asarray(coordinate)
    return 0.0 if values.dtype.kind in "mM" else float(values.min())
