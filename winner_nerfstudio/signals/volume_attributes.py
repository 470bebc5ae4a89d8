"""The attributes by which arrays in .h5 files and .zarr folders say what their values mean and where they lie."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .volume_found import Found

STEPS = ("spacing", "element_size_um", "voxel_size", "resolution")
"""Attributes that hold the distances between samples."""
EVEN = 1e-3
"""The greatest difference of steps, as part of their mean, with which coordinates count as evenly spaced."""


Pyramids = Mapping[str, Sequence[Mapping[str, Any]]]
"""The entries of ``multiscales``, https://ngff.openmicroscopy.org/0.4, by the path of their group, "" or "GROUP/"."""


def find_finest(pyramids: Pyramids, dataset: str | None) -> str | None:
    """Return the path of the finest level of an OME-Zarr image, or `dataset` if no single image is meant.

    Args:
        pyramids: those of all groups.
        dataset: the group of the image; if left out, the only one that lies within no other, as labels do.
    """
    if dataset is None:
        groups = [each for each in pyramids if not any(each != other and each.startswith(other) for other in pyramids)]
    else:
        groups = [each for each in pyramids if each.strip("/") == dataset.strip("/")]
    if len(groups) != 1:
        return dataset
    return groups[0] + pyramids[groups[0]][0]["datasets"][0]["path"].strip("/")


def describe_level(pyramids: Pyramids, array: str) -> dict[str, Any]:
    """Return what OME-Zarr says of an array that is one level of a pyramid of resolutions; nothing of any other.

    Args:
        pyramids: those of all groups.
        array: its path.

    Returns:
        ``axes``, their names; and, where they are stated, ``spacing``, ``origin`` and ``unit``.
    """
    found = (
        (pyramid, level)
        for group, entries in pyramids.items()
        for pyramid in entries
        for level in pyramid["datasets"]
        if group + level["path"].strip("/") == array
    )
    if (entry := next(found, None)) is None:
        return {}
    pyramid, level = entry
    axes = pyramid.get("axes", "tczyx")  # before version 0.3 these were the axes of all arrays
    spatial = [each for each in axes if isinstance(each, Mapping) and each.get("type", "space") == "space"]
    stated: dict[str, Any] = {
        "axes": [each["name"] if isinstance(each, Mapping) else each for each in axes],
        "unit": next((each["unit"] for each in spatial if each.get("unit")), None),
    }
    for transformation in (*level.get("coordinateTransformations", ()), *pyramid.get("coordinateTransformations", ())):
        name = transformation["type"]
        if name in ("scale", "translation") and name in transformation:
            numbers = np.asarray(transformation[name], np.float64)
            if name == "scale":
                stated["spacing"] = stated.get("spacing", 1.0) * numbers
                stated["origin"] = stated.get("origin", 0.0) * numbers
            else:
                stated["origin"] = stated.get("origin", 0.0) + numbers
    return stated


def list_axis_tags(attributes: Mapping[str, Any]) -> list[str]:
    """Return the names of an array's axes as ilastik and vigra write them, in JSON; none where there are none."""
    try:
        return [str(axis["key"]) for axis in json.loads(attributes["axistags"])["axes"]]
    except (KeyError, TypeError, ValueError):
        return []


def place_by_attributes(found: Found, attributes: Mapping[str, Any]) -> None:
    """Take spacing, origin and unit from attributes, with a number for each axis; a spacing may have one for all."""
    for key in filter(attributes.__contains__, STEPS):
        steps = _numbers_for(found, attributes[key], one_for_all=True)
        if steps is not None:  # also zero or backward ones, which are refused or turned as in other formats
            found.directions, found.says_spacing = np.diag(steps), True
            unit = "um" if key == "element_size_um" else attributes.get("unit")  # `units` is that of the values
            found.notes += [describe_unit(unit)] if unit is not None else []
            break
        text = ascii(str(attributes[key]))[1:-1][:40]
        found.notes.append(f"its attribute {key} ({text}) has no number for each axis, and is no spacing")
    origin = _numbers_for(found, attributes.get("origin"))
    if origin is not None:
        found.origin = origin


def _numbers_for(found: Found, value: Any, one_for_all: bool = False) -> ndarray | None:
    """Return the numbers of an attribute for the array's three long axes, or None if it has no such numbers.

    Args:
        found: the array.
        value: the attribute's.
        one_for_all: whether a single number holds along every axis.
    """
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    if one_for_all and len(numbers) == 1:
        return np.repeat(numbers, 3)
    if len(numbers) == len(found.shape) > 3:
        numbers = numbers[_long_axes(found)]
    return numbers if len(numbers) == 3 else None


def _long_axes(found: Found) -> list[int]:
    if len(found.shape) == 3:
        return [0, 1, 2]
    return [axis for axis, length in enumerate(found.shape) if length > 1]


def place_by_coordinates(found: Found, coordinates: Sequence[tuple[Any, Mapping[str, Any]] | None]) -> None:
    """Take spacing, origin and unit from the coordinates of the samples, as netCDF and xarray store them.

    Args:
        found: the array; what it states of its spacing goes before.
        coordinates: for each of its axes the array of coordinates with its attributes, or None.
    """
    axes = _long_axes(found)
    if found.says_spacing or len(coordinates) != len(found.shape) or len(axes) != 3:
        return
    steps, origin, units = [], [], set()
    for axis in axes:
        entry = coordinates[axis]
        if entry is None or entry[0].shape != (found.shape[axis],) or entry[0].dtype.kind not in "iuf":
            return
        slope, intercept = _scaling_of(entry[1])
        values = take_sign(np.asarray(entry[0][...]), entry[1]).astype(np.float64) * slope + intercept
        differences = np.diff(values)
        step = float(differences.mean()) if len(differences) else 0.0
        if not len(differences):
            return
        if np.abs(differences - step).max() > EVEN * abs(step):
            name = ascii(found.axes[axis])[1:-1]
            found.notes.append(f"warning: the samples along {name} are not evenly spaced; their mean distance is taken")
        if _text_of(entry[1].get("positive")).lower() == "down":
            name = ascii(found.axes[axis])[1:-1]
            found.notes.append(
                f"warning: {name} counts downwards and is taken as it is, so that the volume is mirrored"
            )
        steps.append(step)
        origin.append(float(values[0]))
        units.add(entry[1].get("units"))
    found.directions, found.origin, found.says_spacing = np.diag(steps), np.array(origin), True
    if len(units) == 1 and (unit := units.pop()) is not None:
        found.notes.append(describe_unit(unit))


def describe_unit(unit: Any) -> str:
    """Return the note on the unit of a volume's coordinates."""
    return f"unit: {ascii(_text_of(unit).replace('µ', 'u').replace('μ', 'u'))[1:-1][:20]}"


def _text_of(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def take_sign(stored: ndarray, attributes: Mapping[str, Any]) -> ndarray:
    """Return whole numbers with a sign or without one as ``_Unsigned`` says, for formats that have only one of the two.

    It is a convention of the netCDF Users Guide, appendix A.
    """
    return stored.view(_find_meant_type(stored.dtype, attributes))


def _find_meant_type(dtype: np.dtype, attributes: Mapping[str, Any]) -> np.dtype:
    said = next(iter(np.ravel(attributes.get("_Unsigned", ""))), "")
    kinds = {"true": "iu", "false": "ui"}.get(_text_of(said).lower())
    return dtype if kinds is None or dtype.kind != kinds[0] else np.dtype(dtype.str.replace(*kinds))


def scale_by_attributes(found: Found, attributes: Mapping[str, Any], dtype: np.dtype) -> None:
    """Take from attributes how stored values become the ones that are meant, and which of them mean no data.

    These are the conventions of netCDF, https://cfconventions.org, section 8.1: ``scale_factor``, ``add_offset``,
    ``_FillValue``, ``missing_value``, ``valid_range``, ``valid_min`` and ``valid_max``. Bounds that the stored type
    cannot have, such as those of unpacked values, are left out, as the library of netCDF does.

    Args:
        found: the array.
        attributes: the array's.
        dtype: of the stored values.
    """
    found.slope, found.intercept = _scaling_of(attributes)
    meant = _find_meant_type(dtype, attributes)

    def list_stored(key: str) -> list[float]:
        numbers = _list_numbers(attributes.get(key))
        if meant == dtype:
            return numbers
        span, least = 2.0 ** (8 * dtype.itemsize), float(np.iinfo(meant).min)  # stated with a sign or without one
        return [(number - least) % span + least if -span / 2 <= number < span else number for number in numbers]

    found.nodata = np.unique([*list_stored("_FillValue"), *list_stored("missing_value")]).tolist()
    limits = list_stored("valid_range")
    if len(limits) != 2:
        limits = [*(list_stored("valid_min") or [-np.inf])[:1], *(list_stored("valid_max") or [np.inf])[:1]]
    low, high = (number if _can_hold(meant, number) else None for number in limits)
    found.valid = (-np.inf if low is None else low, np.inf if high is None else high)


def _can_hold(dtype: np.dtype, number: float) -> bool:
    if dtype.kind not in "iu":
        return not np.isnan(number)
    return number.is_integer() and np.iinfo(dtype).min <= number <= np.iinfo(dtype).max


def _scaling_of(attributes: Mapping[str, Any]) -> tuple[float, float]:
    """Return the factor and the offset that turn stored values into the ones that are meant."""
    slope, intercept = (_list_numbers(attributes.get(name)) for name in ("scale_factor", "add_offset"))
    return next(iter(slope), 1.0), next(iter(intercept), 0.0)


def _list_numbers(value: Any) -> list[float]:
    """Return the numbers of an attribute, of which xarray may have written one in base64; none of other attributes."""
    try:
        if isinstance(value, str):
            return list(struct.unpack("<d", base64.standard_b64decode(value)))
        return [float(number) for number in np.asarray(value).reshape(-1)]
    except (TypeError, ValueError, struct.error):
        return []
