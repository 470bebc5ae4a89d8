"""A fitted grid at other places than its samples, in the input's own units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy import ndarray

from ..signals.lattice import Lattice
from ..signals.records import AudioRecord, GridRecord
from ..signals.units import Units

if TYPE_CHECKING:
    from jaxtyping import Float

    from .field import Field

Progress = Callable[[float], None]
BLOCK = 1 << 18
"""Points that are evaluated at a time."""
MOST_POINTS = 1 << 30
"""Points that a grid may be resampled to."""


def resized(field: Field, size: Sequence[int], progress: Progress = lambda part: None) -> Float[ndarray, "*axes c"]:
    """A field's values on a grid of that many samples along each axis, which fills the same box; see `resample`.

    Samples are areas when a grid is resized: the outer edges coincide, not the outer centres.
    """
    shape = grid_record(field).shape
    places = [(np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(size, shape, strict=True)]
    return resample(field, places, progress)


def resample(
    field: Field, places: list[Float[ndarray, " n"]], progress: Progress = lambda part: None
) -> Float[ndarray, "*axes c"]:
    """A field's values, in the input's own units, at the product of places along each axis; float32 or float64.

    Memory: that of the result and of `BLOCK` points, besides the network's.

    Args:
        field: one that was fitted to a grid.
        places: positions in samples of the input, 0 the first; beyond the first or last, theirs is taken.
        progress: called with the part done, 0 to 1.

    Raises:
        ValueError: the field has values that are not finite.
    """
    record = grid_record(field)
    lattice, units = Lattice(record.shape), record.units()
    axes = [torch.from_numpy(p).clamp(0, n - 1) for p, n in zip(places, lattice.shape, strict=True)]
    fine = Lattice(tuple(len(axis) for axis in axes))
    channels = int(field.spec["out_dim"])
    # Single precision holds what single precision has computed, unless the units are far from it.
    result = np.empty((fine.count, channels), np.float32 if _fits_single(units) else np.float64)
    for start in range(0, fine.count, BLOCK):
        stop = min(start + BLOCK, fine.count)
        index = torch.unravel_index(torch.arange(start, stop), fine.shape)
        coords = lattice.at(torch.stack([axis[i] for axis, i in zip(axes, index, strict=True)], -1))
        values = field.evaluate(coords).cpu().numpy()
        if not np.isfinite(values).all():
            raise ValueError("the field has values that are not finite: the fit has diverged")
        result[start:stop] = units.to_own(values)
        progress(stop / fine.count)
    return result.reshape(*fine.shape, channels)


def resampled_sound(
    field: Field, rate: float | None, option: str, progress: Progress = lambda part: None
) -> Float[ndarray, "n c"]:
    """A sound's values, in the input's own units, at another sample rate; the same seconds of it.

    Args:
        field: of a sound.
        rate: samples per second; the input's if None.
        option: what the user calls the rate, for the message.
        progress: called with the fraction done, 0 to 1.

    Raises:
        ValueError: a rate that leaves no sample or too many.
    """
    record = grid_record(field)
    assert isinstance(record, AudioRecord)
    (count,), rate = record.shape, record.sample_rate if rate is None else rate
    wanted = round(count * rate / record.sample_rate) if 0 < rate < float("inf") else 0
    if not 1 <= wanted <= MOST_POINTS:
        raise ValueError(
            f"{option}={rate:g} of {count / record.sample_rate:.4g} s must leave at least one sample and at most"
            f" {MOST_POINTS:,}"
        )
    return resample(field, [np.arange(wanted) * (record.sample_rate / rate)], progress)


def grid_record(field: Field) -> GridRecord:
    """The record of a field that was fitted to a grid.

    Raises:
        ValueError: it was fitted to something else.
    """
    if not isinstance(field.record, GridRecord):
        raise ValueError(f"a field of kind {field.kind!r} was not fitted to regular samples")
    return field.record


def _fits_single(units: Units) -> bool:
    return abs(units.offset) + units.amplitude < 2**20 and units.amplitude > 2**-20 * max(abs(units.offset), 1e-20)
