"""Evaluation of a fitted grid between its samples, in the input's units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy import ndarray

from ..networks import Bank, GroupedBank
from ..signals.lattice import Lattice
from ..signals.records import AudioRecord, GridRecord
from ..signals.units import Units

if TYPE_CHECKING:
    from jaxtyping import Float

    from .field import Field

Progress = Callable[[float], None]
"""A function that is called with the fraction of the work that is done, 0 to 1."""
BLOCK = 1 << 18
"""Points that are evaluated at a time."""
MOST_POINTS = 1 << 30
"""The most points that a grid may be resampled to."""


def resized(field: Field, size: Sequence[int], progress: Progress = lambda part: None) -> Float[ndarray, "*axes c"]:
    """Evaluate a field on a grid of `size` samples along each axis that fills the same box; see `resample`.

    Samples are taken as cells here: the outer edges of both grids coincide, not the centres of the outer cells.
    """
    shape = grid_record(field).shape
    positions = [(np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(size, shape, strict=True)]
    return resample(field, positions, progress)


def resample(
    field: Field, places: list[Float[ndarray, " n"]], progress: Progress = lambda part: None
) -> Float[ndarray, "*axes c"]:
    """Evaluate a field on the grid of given positions along each axis, in the input's units; float32 or float64.

    It takes the memory of the result, of `BLOCK` points and of the network.

    Args:
        field: a field that was fitted to a grid.
        places: positions along each axis in samples of the input, 0 for the first; they are clipped to its range.
        progress: called with the fraction done, 0 to 1.

    Raises:
        ValueError: the field has values that are not finite.
    """
    record = grid_record(field)
    lattice, units = record.lattice, record.units()
    positions = [torch.from_numpy(p).clamp(0, n - 1) for p, n in zip(places, lattice.shape, strict=True)]
    shape = [len(each) for each in positions]
    # The network computes in float32, which suffices for the result unless its units are extreme.
    dtype = np.float32 if _fits_single_precision(units) else np.float64
    result = np.empty((*shape, int(field.spec["out_dim"])), dtype)
    done = 0
    for box, values in evaluate_boxes(field, lattice.axis_coords(positions)):
        if not np.isfinite(values).all():
            raise ValueError("the field has values that are not finite: the fit has diverged")
        result[box] = units.to_own(values)
        done += math.prod(values.shape[:-1])
        progress(done / math.prod(shape))
    return result


def evaluate_samples(field: Field, lattice: Lattice) -> Float[ndarray, "*axes c"]:
    """Return the values of a field at all samples of a lattice, in the network's units, float32."""
    values = np.empty((*lattice.shape, int(field.spec["out_dim"])), np.float32)
    for box, inside in evaluate_boxes(field, lattice.axis_coords([torch.arange(n) for n in lattice.shape])):
        values[box] = inside
    return values


def evaluate_boxes(
    field: Field, axes: Sequence[Float[torch.Tensor, " _"]]
) -> Iterator[tuple[tuple[slice, ...], Float[ndarray, "*box c"]]]:
    """Evaluate a field on a grid, box by box, of at most `BLOCK` points each.

    Args:
        field: the field.
        axes: the coordinates along each axis, ascending.

    Yields:
        The box's indices along each axis, and its values in the network's units.
    """
    shape = [len(axis) for axis in axes]
    cuts = []
    for axis, n in enumerate(shape):
        side = max(1, BLOCK // max(math.prod(shape[axis + 1 :]), 1))
        cuts.append([slice(start, min(start + side, n)) for start in range(0, n, side)])
    for box in product(*cuts):
        inside = [axis[part].to(field.center.device) for axis, part in zip(axes, box, strict=True)]
        if isinstance(field.network, (Bank, GroupedBank)):
            values = field.network.evaluate_product(inside)
        else:
            coords = torch.stack([axis.reshape(-1) for axis in torch.meshgrid(*inside, indexing="ij")], -1)
            values = field.evaluate(coords).reshape(*map(len, inside), -1)
        yield box, values.cpu().numpy()


def sound_positions(record: AudioRecord, rate: float | None, option: str) -> Float[ndarray, " n"]:
    """Return the positions at which a sound of another sample rate has its samples, over the same time.

    Args:
        record: of the sound.
        rate: samples per second; the input's if None.
        option: what the error message calls the rate.

    Returns:
        Positions in samples of the input, see `resample`.

    Raises:
        ValueError: the rate leaves no sample or too many.
    """
    (count,), rate = record.shape, record.sample_rate if rate is None else rate
    sample_count = round(count * rate / record.sample_rate) if 0 < rate < float("inf") else 0
    if not 1 <= sample_count <= MOST_POINTS:
        raise ValueError(
            f"{option}={rate:g} of {count / record.sample_rate:.4g} s must leave at least one sample and at most"
            f" {MOST_POINTS:,}"
        )
    return np.arange(sample_count) * (record.sample_rate / rate)


def grid_record(field: Field) -> GridRecord:
    """Return the record of a field that was fitted to a grid.

    Raises:
        ValueError: it was fitted to something else.
    """
    if not isinstance(field.record, GridRecord):
        raise ValueError(f"a field of kind {field.kind!r} was not fitted to regular samples")
    return field.record


def _fits_single_precision(units: Units) -> bool:
    """Return whether float32 resolves values in these units well enough."""
    return abs(units.offset) + units.amplitude < 2**20 and units.amplitude > 2**-20 * max(abs(units.offset), 1e-20)
