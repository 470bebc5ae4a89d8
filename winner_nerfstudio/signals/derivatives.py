"""Signals that are given by their derivatives: the data, and what they say of the values; docs/derivatives.md.

Along an axis of n samples that are a length h apart, values are taken for a series of cosines of the frequencies
``w_k = pi k / (n h)``, as they are wherever a centroid is measured. Their derivatives are then a series of sines with
the coefficients ``-w_k C_k``, and derivatives become values by a division by the frequency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy import ndarray

from .errors import SignalError
from .grid import read_array
from .lattice import Lattice
from .nodata import separate_missing
from .options import SupervisedOptions
from .units import Units

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

LEAST_FACING = 0.01
"""The least third component of a normal of a height; those of less are those of vertical walls, or of nothing."""


@dataclass(frozen=True, eq=False)
class Derivatives:
    """The derivatives that a signal is fitted by, in the network's units.

    Attributes:
        kind: "gradient" or "laplacian".
        data: the derivatives of each channel, [*axes, c, k] with k the number of axes, or 1; NaN where samples are
            missing.
        stretch: along each axis, what the second derivative is multiplied by in the Laplacian.
        known: where the signal's values are held as well, [*axes]; None if only their mean is.
        is_given: whether these values come from the user; if not, the constant is arbitrary.
    """

    kind: Literal["gradient", "laplacian"]
    data: Float[ndarray, "*axes c k"]
    stretch: tuple[float, ...]
    known: Bool[ndarray, "*axes"] | None
    is_given: bool

    @property
    def mean_square(self) -> float:
        """The mean square of the data, or 1 if they are 0."""
        return float(np.nanmean(np.square(self.data, dtype=np.float64))) or 1.0

    @property
    def note(self) -> str:
        """A line for the user on what is fitted, and on what the derivatives leave open."""
        title = "gradient" if self.kind == "gradient" else "Laplacian"
        if self.is_given:
            held = "the known values"
        elif self.known is None:
            held = "the mean, which is set to 0, because a gradient says values up to a constant"
        else:
            held = (
                "values along the border, with no slope across it, because a Laplacian says nothing of them (--known)"
            )
        return f"fitted by its {title}; besides, to {held}"


@dataclass(frozen=True)
class Derived:
    """What derivatives say of a signal.

    Attributes:
        values: the values that the derivatives have, by `integrate`, in their own units, [*axes, c].
        units: the map to the network's values.
        derivatives: the derivatives.
        clean: the reference, in the network's units, if there is one.
        missing: where samples are missing, if any are.
        notes: lines for the user.
    """

    values: Float[ndarray, "*axes c"]
    units: Units
    derivatives: Derivatives
    clean: Float[ndarray, "*axes c"] | None
    missing: Bool[ndarray, "*axes"] | None
    notes: tuple[str, ...]

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that a `Grid` of these values has besides them."""
        fitted = None if self.missing is None else np.flatnonzero(~self.missing)
        return {"derivatives": self.derivatives, "clean": self.clean, "missing": self.missing, "fitted": fitted}


def derive(
    name: str,
    data: ndarray,
    lattice: Lattice,
    steps: Sequence[float],
    options: SupervisedOptions,
    clean: ndarray | None,
) -> Derived:
    """Return what derivatives say of a signal.

    Args:
        name: what messages call the signal.
        data: the derivatives per length of the world, [*axes, c, k]; may be a masked array.
        lattice: the lattice on which the samples lie.
        steps: lengths of the world between neighbouring samples along each axis.
        options: what the derivatives are, and the values that are known.
        clean: the reference, [*axes, c], in the world's units, if there is one.

    Raises:
        SignalError: there are values that are not finite, or the reference or the known values do not fit.
    """
    assert options.supervise != "values"
    *shape, count = data.shape[:-1]
    screened = separate_missing(name, data.reshape(*shape, -1), options.nodata)
    data = np.asarray(screened.values, np.float64).reshape(data.shape)
    if screened.missing is not None:
        data = np.where(screened.missing[..., None, None], np.nan, data)
    values = integrate(np.nan_to_num(data), options.supervise, steps)
    known, is_given = None, options.known is not None
    if options.known is not None:
        values, known = _hold_known(values, _read_known(options.known, (*shape, count)))
    elif options.supervise == "laplacian":
        known = np.ones(shape, bool)
        known[(slice(1, -1),) * len(shape)] = False
    if clean is not None and not is_given:
        clean = clean - clean.reshape(-1, count).mean(0) + values.reshape(-1, count).mean(0)
    spanned = values if clean is None else clean
    units = Units.spanning(float(spanned.min()), float(spanned.max()))
    rates = np.array([spacing / step for spacing, step in zip(lattice.spacings, steps, strict=True)])
    scale = units.amplitude * (rates if options.supervise == "gradient" else rates[:1] ** 2)
    stretch = tuple(float(rate) for rate in (rates / rates[0]) ** 2)
    derivatives = Derivatives(options.supervise, (data / scale).astype(np.float32), stretch, known, is_given)
    return Derived(
        values.astype(np.float32),
        units,
        derivatives,
        None if clean is None else units.to_unit(clean),
        screened.missing,
        (*screened.notes, derivatives.note),
    )


def read_samples(source: Path | ndarray, shape: tuple[int, ...], name: str) -> Float[ndarray, "*axes c"]:
    """Return the values at the samples of a signal, float64, from an array or an array file.

    Args:
        source: the file or the array, [*axes, c], or [*axes] of one channel.
        shape: of the signal, [*axes, c].
        name: what messages call the source.

    Raises:
        SignalError: they have another shape.
    """

    def check(found: tuple[int, ...]) -> None:
        if found != shape and not (found == shape[:-1] and shape[-1] == 1):
            raise SignalError(f"{name}: has shape {found}, but the derivatives are those of values of shape {shape}")

    return np.asarray(read_array(source, check), np.float64).reshape(shape)


def _read_known(source: Path | ndarray, shape: tuple[int, ...]) -> Float[ndarray, "*axes c"]:
    """Return the values where they are known, NaN elsewhere.

    Raises:
        SignalError: they have another shape, are infinite, or all are NaN.
    """
    name = "known" if isinstance(source, ndarray) else str(source)
    values = read_samples(source, shape, name)
    if np.isinf(values).any() or np.isnan(values).any(-1).all():
        raise SignalError(
            f"{name}: must hold finite values where they are known, at one sample at least, and nan elsewhere"
        )
    return values


def _hold_known(
    values: Float[ndarray, "*axes c"], known: Float[ndarray, "*axes c"]
) -> tuple[Float[ndarray, "*axes c"], Bool[ndarray, "*axes"]]:
    """Return values that are the known ones where those are not NaN and lie near them elsewhere, and where that is."""
    from ..winner.inputs import fill_missing

    missing = np.isnan(known).any(-1)
    return values + fill_missing(np.where(missing[..., None], 0.0, known - values), missing), ~missing


def integrate(
    data: Float[ndarray, "*axes c k"], kind: Literal["gradient", "laplacian"], steps: float | Sequence[float] = 1.0
) -> Float[ndarray, "*axes c"]:
    """Return the values whose derivatives are closest to the data by least squares, with a mean of 0.

    Values go on beyond the border as in a mirror. The mean of a Laplacian, which no such values have, becomes a
    paraboloid. Samples hold what a series of cosines through them has; the values of any other function are not met
    close to a border.

    Args:
        data: the gradient of each channel, k its components along the axes, or the Laplacian, k = 1.
        kind: "gradient" or "laplacian".
        steps: distance between neighbouring samples, or one along each axis.
    """
    from scipy.fft import idctn

    axes = tuple(range(data.ndim - 2))
    lengths = np.broadcast_to(np.asarray(steps, np.float64), len(axes))
    frequencies = _list_frequencies(data.shape[:-2], lengths)
    square = _sum_squares(frequencies)
    square = np.where(square > 0, square, np.inf)[..., None]
    if kind == "gradient":
        summed = sum(_transform(data[..., axis], axis) * -frequencies[axis][..., None] for axis in axes)
        return np.asarray(idctn(summed / square, axes=axes))
    mean = data[..., 0].mean(axes)
    spectrum = _transform(data[..., 0] - mean, None) / -square
    places = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * h for n, h in zip(data.shape, lengths, strict=False)], indexing="ij"
    )
    bowl = _sum_squares(places)
    return np.asarray(idctn(spectrum, axes=axes)) + (bowl - bowl.mean())[..., None] * mean / (2 * len(axes))


def differentiate(
    values: ndarray, kind: Literal["gradient", "laplacian"], steps: float | Sequence[float] = 1.0, dim: int = 2
) -> ndarray:
    """Return the derivatives, at the samples, of the series of cosines through values; `integrate` undoes it.

    Differences of neighbouring samples are those of a smoother signal; a fit to them is smoother as well.

    Args:
        values: [*axes], or [*axes, c] with several channels.
        kind: "gradient" or "laplacian".
        steps: distance between neighbouring samples, or one along each axis.
        dim: number of axes, 2 of a picture and 3 of a volume.

    Returns:
        The gradient, [*axes, dim] or [*axes, c, dim], or the Laplacian in the shape of the values, per length of
        `steps`: what `fit` takes with ``supervise=kind``.

    Raises:
        SignalError: there is no such kind, or the values or the steps cannot be used.
    """
    from scipy.fft import idctn

    if kind not in ("gradient", "laplacian"):
        raise SignalError(f"kind={kind!r} must be gradient or laplacian")
    values = _check_real(values, "values")
    if values.ndim not in (dim, dim + 1) or not values.size:
        raise SignalError(f"values of shape {values.shape} have not {dim} axes of samples, and perhaps one of channels")
    if np.shape(steps) not in ((), (dim,)) or not (np.isfinite(steps) & (np.asarray(steps) > 0)).all():
        raise SignalError(f"steps={steps} must be a distance above 0, or one along each of {dim} axes")
    wide = values.astype(np.float64)
    wide = wide if wide.ndim > dim else wide[..., None]
    axes = tuple(range(dim))
    lengths = np.broadcast_to(np.asarray(steps, np.float64), dim)
    frequencies, spectrum = _list_frequencies(wide.shape[:dim], lengths), _transform(wide, None)
    if kind == "laplacian":
        return np.asarray(idctn(spectrum * -_sum_squares(frequencies)[..., None], axes=axes)).reshape(values.shape)
    parts = [_synthesize(spectrum * -frequencies[axis][..., None], axis) for axis in axes]
    return np.stack(parts, -1).reshape(*values.shape, dim)


def compute_slopes(normals: Float[ndarray, "h w 3"], green: Literal["up", "down"] = "up") -> Float[ndarray, "h w 2"]:
    """Return the gradient of the height whose normals are given, along rows (down) and columns (right), per pixel.

    Args:
        normals: of any length; the first component points right, the third towards the viewer.
        green: where the second component points: up, as in OpenGL and in photometric stereo, or down, as in DirectX.

    Returns:
        The gradient, NaN where a normal does not face the viewer.

    Raises:
        SignalError: the normals are not of this shape, or unsigned as pixels are, or green points elsewhere.
    """
    if green not in ("up", "down"):
        raise SignalError(f"green={green!r} must be up or down")
    normals = _check_real(normals, "normals")
    if normals.dtype.kind in "bu":
        most = 1 if normals.dtype.kind == "b" else np.iinfo(normals.dtype).max
        raise SignalError(
            f"normals of type {normals.dtype} have no negative components; if they are pixels of a picture of normals,"
            f" 2 * pixels / {most} - 1 makes normals of them"
        )
    normals = normals.astype(np.float64)
    if normals.ndim != 3 or normals.shape[2] != 3:
        raise SignalError(f"normals of shape {normals.shape} are none of a height; [height, width, 3] is needed")
    length = np.linalg.norm(normals, axis=-1)
    depth = np.where(normals[..., 2] > LEAST_FACING * length, normals[..., 2], np.nan)
    down = normals[..., 1] if green == "up" else -normals[..., 1]
    return np.stack([down / depth, -normals[..., 0] / depth], -1)


def _check_real(values: Any, name: str) -> ndarray:
    """Return values as an array.

    Raises:
        SignalError: they are no array of real numbers, or some are masked.
    """
    if np.ma.is_masked(values):
        raise SignalError(f"{name} are masked in places, where they have no derivative; fill them first")
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise SignalError(f"{name} of type {array.dtype} are no real numbers")
    return array


def _list_frequencies(shape: Sequence[int], steps: ndarray) -> list[ndarray]:
    """Return along each axis the angular frequencies of the cosines, which broadcast over all axes."""
    return list(
        np.meshgrid(
            *[math.pi * np.arange(n) / (n * h) for n, h in zip(shape, steps, strict=True)], indexing="ij", sparse=True
        )
    )


def _sum_squares(parts: Sequence[ndarray]) -> ndarray:
    """Return the sum of the squares of arrays that broadcast."""
    return np.asarray(sum(part**2 for part in parts))


def _transform(data: ndarray, sine_axis: int | None) -> ndarray:
    """Return the coefficients of data [*axes, c] in cosines along all axes, but in sines along one if it is named."""
    from scipy.fft import dct, dst

    for axis in range(data.ndim - 1):
        # The first sine is that of the first frequency, not of 0, and the last is the derivative of no cosine.
        data = np.roll(dst(data, axis=axis), 1, axis) if axis == sine_axis else dct(data, axis=axis)
    return data


def _synthesize(spectrum: ndarray, sine_axis: int) -> ndarray:
    """Return data from coefficients, the inverse of `_transform`."""
    from scipy.fft import idct, idst

    for axis in range(spectrum.ndim - 1):
        spectrum = idst(np.roll(spectrum, -1, axis), axis=axis) if axis == sine_axis else idct(spectrum, axis=axis)
    return spectrum
