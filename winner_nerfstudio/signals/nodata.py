"""Samples that hold no data: found by what the file says, by a robust scale, or by the user's word, and masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from ..winner.inputs import fill_missing
from .errors import SignalError
from .options import NoData, nodata_flag, nodata_values

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

USUAL = (-99.0, -999.0, -9999.0, -99999.0, -32767.0, -32768.0, 1e20, -1e20)
"""Values that programs write for missing samples; so are those beyond `HUGE`."""
HUGE = 1e30
"""Magnitude from which a value among much smaller ones stands for a missing sample: -3.4028235e38, 9.97e36, -1e30."""
FAR = 4.0
"""Distance from all other values, in ranges of these, at which a value is far away."""
RARE = 0.01
"""The most of the samples that may lie far away with values of many sizes: more are part of the signal."""
FINE = 1e-6
"""Part of the whole range below which the range of all other values may be rounding, as that of a tone's zeros."""
FEW = 0.001
"""Part of the samples that must not set the range without a warning."""
LEAST_SPAN = 1 / 3
"""Part of the range that must be left without the `FEW` least and greatest samples, or there is a warning."""
SORTED = 1 << 20
"""The most samples that are sorted to find what is far away; of more, a random selection."""


@dataclass(frozen=True)
class Screened:
    """Values without those that are missing.

    Attributes:
        values: with missing samples filled from the nearest known ones, [*axes, c].
        missing: where samples are missing, [*axes], or None where none is.
        notes: what the user should know of it.
    """

    values: ndarray
    missing: Bool[ndarray, "*axes"] | None
    notes: tuple[str, ...] = ()


def separate_missing(
    name: str,
    values: ndarray,
    nodata: NoData,
    declared: tuple[float, ...] = (),
    stored: Bool[ndarray, "*axes"] | None = None,
) -> Screened:
    """Separate the samples that are missing from those that are data.

    Missing are samples that a masked array masks, and those with a value that stands for it: the user's, else those
    that the file declares, else a value beyond `HUGE` that lies among others of common size. With values of the
    user's, NaN stands for it as well. Of several channels one is enough, but for unsigned values (0 is a colour) all
    must have it.

    Args:
        name: what messages call the signal.
        values: channels last, [*axes, c]; may be a masked array.
        nodata: the option.
        declared: the values that the file declares.
        stored: where samples have one of them as the file stores them, if `values` are others.

    Raises:
        SignalError: all samples are missing, or there are values that are NaN or infinite.
    """
    mask = np.ma.getmaskarray(values).any(-1) if isinstance(values, np.ma.MaskedArray) else None
    values, notes = np.ma.getdata(values), []
    if mask is not None and mask.any():
        notes.append(f"masked: {_part(mask)} are left out of the fit and its metrics")
    markers, why = choose_markers(values, nodata, declared)
    for marker in markers:
        found = find_marker(values, marker, nodata != "auto") if stored is None or nodata != "auto" else stored
        if found.any():
            notes.append(
                f"no data: {_part(found)} are {marker:.9g}, {why}; they are left out of the fit and its metrics"
            )
        elif nodata != "auto":
            notes.append(f"warning: no sample is {marker:.9g}, which --nodata says is no data")
        mask = found if mask is None else mask | found
    missing = None if mask is None or not mask.any() else mask
    if missing is not None and missing.all():
        raise SignalError(f"{name}: all of its {missing.size:,} samples hold no data; there is nothing to fit")
    if missing is not None:
        values = fill_missing(values, missing)
    _check_finite(name, values, missing, nodata)
    return Screened(values, missing, tuple(notes))


def check_range(name: str, screened: Screened, nodata: NoData) -> tuple[str, ...]:
    """Check what sets the range of the values, which becomes [-1, 1].

    A value that is far away from all others and repeated, or one of those that programs write for missing samples, is
    refused unless the user says that it is data. Other values far away, and a range that few of the samples set, are a
    warning.

    Returns:
        Warnings for the user.

    Raises:
        SignalError: a value stands for missing samples, as far as can be told.
    """
    values, missing = screened.values, screened.missing
    known = values.reshape(-1) if missing is None else values[~missing].reshape(-1)
    if known.dtype.kind == "b":
        return ()
    rounded = _warn_of_rounding(known)
    with np.errstate(over="ignore", invalid="ignore"):
        ordered = sort_some(known)
        usual = find_usual(ordered)
        far = find_far(ordered) if usual is None else np.array([usual])
    is_far = np.isin(ordered, far)
    core = ordered[~is_far]
    is_marker = usual is not None or _is_marker(far, core)
    if len(far) == 0 or not (is_marker or is_far.mean() <= RARE):
        return rounded + _warn_of_few(ordered, known.size)
    value = float(far[np.abs(far - np.median(core)).argmax()])
    count = int((known == value).sum())
    rest = f"far from all others, {core[0]:.6g} to {core[-1]:.6g}"
    seems_plain = not is_near(value, core) if usual is not None else is_marker and count > 1 and value != 0
    if nodata != "keep" and seems_plain:
        raise SignalError(
            f"{name}: {count:,} of {known.size:,} values are {value:.9g}, {rest}, and seem to mean no data; leave them"
            f" out with {nodata_flag(nodata, value)}, or fit them with --nodata keep"
        )
    count = int(((known < core[0]) | (known > core[-1])).sum())
    part = (float(core[-1]) - float(core[0])) / (float(ordered[-1]) - float(ordered[0]))
    return (
        *rounded,
        f"warning: {count:,} of {known.size:,} values, such as {value:.6g}, are {rest}, which share {part:.2g} of the"
        " range; if they mean no data, leave them out with --nodata",
    )


def _warn_of_rounding(known: ndarray) -> tuple[str, ...]:
    """Return a warning if whole numbers are so far from 0 that double precision leaves few steps across their range."""
    if known.dtype.kind not in "iu" or known.dtype.itemsize < 8:
        return ()
    low, high = int(known.min()), int(known.max())
    steps = (high - low) / np.spacing(float(max(abs(low), abs(high), 1)))
    if low == high or steps >= 1e4 or steps >= high - low:
        return ()
    return (
        f"warning: double precision has only {steps:,.0f} steps between the least value, {low}, and the greatest,"
        f" {high}; subtract {low} from all of them first",
    )


def shrink_mask(missing: Bool[ndarray, "h w"] | None, shape: tuple[int, ...]) -> Bool[ndarray, "a b"] | None:
    """Return the mask of a picture that was reduced to another height and width by averaging.

    A pixel is missing where at least half of it was.
    """
    if missing is None or missing.shape == shape:
        return missing
    import cv2

    part = cv2.resize(missing.astype(np.float64), shape[::-1], interpolation=cv2.INTER_AREA)
    reduced: Bool[ndarray, "a b"] = part >= 0.5
    return reduced if reduced.any() else None


def choose_markers(values: ndarray, nodata: NoData, declared: tuple[float, ...]) -> tuple[tuple[float, ...], str]:
    """Return the values that stand for missing samples, and how that is known."""
    if nodata != "auto":
        return nodata_values(nodata), "as --nodata says"
    if declared:
        return declared, "as the file says"
    if values.dtype.kind != "f":
        return (), ""
    with np.errstate(over="ignore", invalid="ignore"):
        usual = find_usual(sort_some(values.reshape(-1)))
    return (() if usual is None or abs(usual) < HUGE else (usual,)), "beyond what is measured (--nodata keep fits them)"


def find_markers(values: ndarray, markers: Sequence[float], with_nan: bool) -> Bool[ndarray, "*axes"]:
    """Return the samples that have one of the values `markers`, see `find_marker`."""
    found = [find_marker(values, marker, with_nan) for marker in markers]
    return np.any(found, 0) if found else np.zeros(values.shape[:-1], bool)


def find_marker(values: ndarray, marker: float, with_nan: bool) -> Bool[ndarray, "*axes"]:
    """Return the samples that have the value `marker` in one channel, or in all if values are unsigned."""
    if np.isnan(marker):
        found = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    elif abs(marker) >= HUGE and np.isfinite(marker):  # written with fewer digits, as often as not
        found = np.abs(values / marker - 1) < 1e-3
    else:
        with np.errstate(over="ignore"):
            found = values == (np.asarray(marker).astype(values.dtype) if values.dtype.kind == "f" else marker)
    if with_nan and values.dtype.kind == "f":
        found |= np.isnan(values)
    return found.all(-1) if values.dtype.kind in "ub" else found.any(-1)


def _check_finite(name: str, values: ndarray, missing: Bool[ndarray, "*axes"] | None, nodata: NoData) -> None:
    if values.dtype.kind != "f":
        return
    broken = ~np.isfinite(values)
    if not broken.any():
        return
    known = values.size if missing is None else int((~missing).sum()) * values.shape[-1]
    first = values[broken][0]
    raise SignalError(
        f"{name}: {int(broken.sum()):,} of {known:,} samples are NaN or infinite; if they are no data, leave them out"
        f" with {nodata_flag(nodata, first)}"
    )


def sort_some(known: ndarray) -> ndarray:
    """Return the values, or of many a random selection with the least and the greatest, in ascending order."""
    if known.size > SORTED:
        index = np.random.default_rng(0).integers(known.size, size=SORTED)
        known = np.concatenate([known[index], [known.min(), known.max()]])
    ordered: ndarray = np.sort(known.astype(np.float64))
    return ordered


def find_usual(ordered: Float[ndarray, " n"]) -> float | None:
    """Return a least or greatest value that programs write for missing samples, if it is far enough from all others."""
    for end in (ordered[0], ordered[-1]):
        rest = ordered[ordered != end]
        is_huge = HUGE <= abs(end) < np.inf
        if len(rest) == 0 or not (is_huge or np.isclose(end, USUAL, rtol=1e-6).any()):
            continue
        gap = min(abs(end - rest[0]), abs(end - rest[-1]))
        if gap > (rest[-1] - rest[0]) / 4 and not (is_huge and abs(np.median(rest)) >= HUGE / 1e3):
            return float(end)
    return None


def is_near(value: float, ordered: Float[ndarray, " n"]) -> bool:
    """Return whether a value is about as close to others as these are to each other: within their range, about."""
    return bool(max(ordered[0] - value, value - ordered[-1]) <= 1.05 * (ordered[-1] - ordered[0]))


def find_far(ordered: Float[ndarray, " n"]) -> Float[ndarray, " k"]:
    """Return the distinct values that are farther from all other values than `FAR` ranges of these.

    The widest gap, or the two widest, between neighbouring values part them into groups. What is far from the largest
    group is found first, and then what of it is far from all else: values in between leave nothing far, as in a sound
    that is clipped.
    """
    distinct, counts = np.unique(ordered, return_counts=True)
    gaps = np.diff(distinct)
    for cuts in (2, 1) if len(distinct) > 3 else ():
        after = np.sort(np.argsort(gaps)[-cuts:]) + 1
        core = max(np.split(np.arange(len(distinct)), after), key=lambda group: counts[group].sum())
        low, high = distinct[core[0]], distinct[core[-1]]
        far: Float[ndarray, " k"] = distinct[np.maximum(low - distinct, distinct - high) > FAR * (high - low)]
        rest = distinct[:0]
        while len(far) + len(rest) < len(distinct):
            rest = distinct[~np.isin(distinct, far)]
            far = far[np.maximum(rest[0] - far, far - rest[-1]) > FAR * (rest[-1] - rest[0])]
        if len(core) >= 3 and len(far):
            return far
    return distinct[:0]


def _is_marker(far: Float[ndarray, " k"], core: Float[ndarray, " n"]) -> bool:
    """Return whether values far away can be one that stands for missing samples.

    It lies on one side of all others, which differ by more than rounding. A sound with silence or a grating over a part
    of a picture has values on both sides of its zeros, or values of many sizes.
    """
    if not 1 <= len(far) <= 2 or far[0] < core[0] < far[-1]:
        return False
    return bool(core[-1] - core[0] > FINE * np.abs(far - core[0]).max())


def _warn_of_few(ordered: Float[ndarray, " n"], count: int) -> tuple[str, ...]:
    """Return a warning if few of the samples set the range, unless there are but two values."""
    few, span = int(FEW * len(ordered)), float(ordered[-1]) - float(ordered[0])
    has_two_values = bool(((ordered == ordered[0]) | (ordered == ordered[-1])).all())
    if few == 0 or has_two_values:
        return ()
    low, high = float(ordered[few]), float(ordered[-1 - few])
    if high - low >= LEAST_SPAN * span:
        return ()
    return (
        f"warning: the least and the greatest {FEW:.1%} of the {count:,} values set the range, {ordered[0]:.6g} to"
        f" {ordered[-1]:.6g}; all others, {low:.6g} to {high:.6g}, share {(high - low) / span:.2g} of it; if those few"
        " mean no data, leave them out with --nodata",
    )


def _part(missing: Bool[ndarray, "*axes"]) -> str:
    """Return how many samples are missing, in words."""
    return f"{int(missing.sum()):,} of {missing.size:,} samples"
