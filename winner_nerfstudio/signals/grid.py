"""Regularly sampled signals: the code that images, sounds and volumes share."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np
from numpy import ndarray

from .errors import SignalError, check_file
from .lattice import Lattice
from .normalization import Normalization
from .options import GridOptions
from .records import GridRecord
from .units import Units

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from typing_extensions import Self

    from ..winner import Axis
    from .derivatives import Derivatives

R = TypeVar("R", bound=GridRecord)

SINGLE_PRECISION_AXIS = 1 << 24
"""The most samples along one axis for which the float32 coordinates of neighbours still differ."""


@dataclass(frozen=True, eq=False)
class Grid(Generic[R]):
    """A signal given by its values at the points of a `Lattice`, normalised to [-1, 1].

    It takes four bytes of memory per sample and channel, and twice that if a clean signal is known too.

    Attributes:
        name: what messages call the signal: its path, ``sample:NAME`` or "array".
        values: the target, float32, channels last, [*axes, c].
        normalization: the map from the input's coordinates to the network's cube.
        units: the map between the input's values and the network's.
        draft: the record, with the final units and the digest still to be filled in.
        suffix: the suffix of a file that a fit can be written back to.
        measure: the data type or unit of the input's values; a reference must have the same.
        notes: lines for the user about the input.
        clean: the reference that metrics are computed against, [*axes, c]; None if that is `values`.
        fitted: indices of the samples that are fitted, ascending; None means all.
        missing: where samples hold no data, [*axes]; None if all do. They are neither fitted nor held out, count in no
            metric, and have in `values` the value of the nearest that do, see `fill_missing`.
        derivatives: the derivatives that are fitted in the place of `values`, which are then only what the derivatives
            say of them, see `integrate`; None if the values are fitted.
    """

    kind: ClassVar[str]

    name: str
    values: Float[ndarray, "*axes c"]
    normalization: Normalization
    units: Units
    draft: R
    suffix: str = ".npy"
    measure: str = ""
    notes: tuple[str, ...] = ()
    clean: Float[ndarray, "*axes c"] | None = None
    fitted: Int[ndarray, " m"] | None = None
    missing: Bool[ndarray, "*axes"] | None = None
    derivatives: Derivatives | None = None

    @property
    def lattice(self) -> Lattice:
        """The lattice on which the samples lie."""
        return self.draft.lattice

    @property
    def dim(self) -> int:
        """The number of axes, channels not counted."""
        return self.values.ndim - 1

    @property
    def channels(self) -> int:
        """The number of values per sample."""
        return self.values.shape[-1]

    @cached_property
    def record(self) -> R:
        """The record, with a digest of the target by which it can be recognised."""
        parts = [self.values, self.truth, np.empty(0) if self.fitted is None else self.fitted]
        parts += [] if self.derivatives is None else [self.derivatives.data]
        digest = blake2b(digest_size=16)
        for part in parts:
            digest.update(np.ascontiguousarray(part).data)
        units = self.units
        return replace(self.draft, offset=units.offset, amplitude=units.amplitude, digest=digest.hexdigest())

    @property
    def truth(self) -> Float[ndarray, "*axes c"]:
        """The signal that metrics are computed against: the clean one if it is known, else the target."""
        return self.values if self.clean is None else self.clean

    @property
    def fitted_mask(self) -> Bool[ndarray, "*axes"] | None:
        """Whether each sample is fitted; None if all are."""
        if self.fitted is None:
            return None
        mask = np.zeros(self.lattice.count, bool)
        mask[self.fitted] = True
        return mask.reshape(self.lattice.shape)

    @cached_property
    def held_out(self) -> Int[ndarray, " k"]:
        """The indices of the samples that hold data and are not fitted, ascending."""
        if self.fitted is None:
            return np.empty(0, np.int64)
        is_other = np.ones(self.lattice.count, bool) if self.missing is None else ~self.missing.reshape(-1)
        is_other[self.fitted] = False
        return np.flatnonzero(is_other)

    @cached_property
    def known_values(self) -> Float[ndarray, "*axes c"]:
        """The target as far as a fit may know it: held-out samples are interpolated from those that are fitted.

        All that is measured of the target for its initialisation is measured of these, see `interpolate_missing`.
        """
        if not len(self.held_out):
            return self.values
        from ..winner.inputs import interpolate_missing

        assert self.fitted_mask is not None
        return interpolate_missing(self.values, ~self.fitted_mask)

    @cached_property
    def centroid(self) -> float:
        """The spectral centroid of `known_values`, with their noise, in [0, 1]."""
        from ..winner.method import spectral_centroid

        return spectral_centroid(self.known_values, dim=self.dim)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The spectral centroid, the samples and their span along each axis, of `known_values` as well."""
        from ..winner.matched import axes_of

        return axes_of(self.known_values, dim=self.dim, spans=self.lattice.spans)

    @cached_property
    def axes_above_noise(self) -> tuple[Axis, ...]:
        """What `axes` has, of what stands above the target's noise."""
        from ..winner.matched import axes_of, estimate_noise

        noise = estimate_noise(self.known_values, dim=self.dim)
        return axes_of(self.known_values, dim=self.dim, noise=noise, spans=self.lattice.spans)

    @cached_property
    def noise(self) -> float:
        """The estimated standard deviation of the noise of all samples, see `estimate_noise`."""
        from ..winner.matched import estimate_noise

        return estimate_noise(self.values, dim=self.dim)

    def describe(self) -> list[str]:
        """Return lines for the user that describe the input and how it is fitted."""
        lines = [f"{self.name}: {note}" if index == 0 else note for index, note in enumerate(self.notes)]
        if max(self.lattice.shape) > SINGLE_PRECISION_AXIS:
            lines.append(
                f"warning: {max(self.lattice.shape):,} samples along an axis lie closer together than single precision"
                " resolves; fit a part of them"
            )
        if len(self.held_out):
            assert self.fitted is not None
            count = len(self.fitted)
            lines.append(f"fitting {count:,} of {count + len(self.held_out):,} samples, the rest is held out")
        if self.clean is not None and self.derivatives is None:
            lines.append("the target is noisy; metrics are measured against the clean signal")
        return lines

    def facts(self) -> dict[str, str]:
        """Return the signal's size and range by name, for `winner-inspect`."""
        low, high = (float(self.units.to_own(np.array(end))) for end in (-1.0, 1.0))
        return {
            "samples": " x ".join(f"{n:,}" for n in self.lattice.shape),
            "channels": str(self.channels),
            "-1 and 1 stand for": f"{low:.6g} and {high:.6g}",
        }

    def under(self, options: GridOptions, clean: Grid[R] | None = None) -> Self:
        """Return this signal with a reference, added noise or held-out samples, as `options` say.

        Args:
            options: the noise, the seed and the fraction of the samples that is fitted.
            clean: the loaded reference of `options`, if there is one.

        Raises:
            SignalError: the reference has another size or measure, or no samples would be fitted or held out.
        """
        signal = self if clean is None else self._with_reference(clean)
        if signal.missing is not None:
            signal = replace(signal, fitted=np.flatnonzero(~signal.missing))
        if options.noise_std > 0:
            noise = np.random.default_rng([options.data_seed, 0]).standard_normal(self.values.shape, dtype=np.float32)
            noise *= options.noise_std
            noise += signal.values
            signal = replace(signal, values=noise, clean=signal.values)
        if options.train_fraction < 1:
            total = self.lattice.count if signal.fitted is None else len(signal.fitted)
            count = round(options.train_fraction * total)
            if not 0 < count < total:
                raise SignalError(
                    f"{self.name}: train_fraction={options.train_fraction} of {total} samples leaves"
                    " nothing to fit or nothing held out"
                )
            selected = np.sort(np.random.default_rng([options.data_seed, 1]).permutation(total)[:count])
            signal = replace(signal, fitted=selected if signal.fitted is None else signal.fitted[selected])
        return signal

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Check that this signal, as a reference, has the shape of a target's values.

        Raises:
            SignalError: it has not.
        """
        if self.values.shape != shape:
            raise SignalError(
                f"{self.name}: the reference has shape {self.values.shape}, the target {shape}; they must be of one"
                " size and number of channels"
            )

    def _with_reference(self, clean: Grid[R]) -> Self:
        """Return this signal in the units of a reference, because metrics refer to the reference's range."""
        clean.check_shape(self.values.shape)
        if clean.measure != self.measure:
            raise SignalError(
                f"{clean.name}: the reference's values are {clean.measure}, the target's {self.measure}; convert"
                " one of them"
            )
        values = clean.units.to_unit(self.units.to_own(self.values))
        masks = [mask for mask in (self.missing, clean.missing) if mask is not None]
        missing = np.logical_or.reduce(masks) if masks else None
        return replace(self, values=values, clean=clean.values, units=clean.units, missing=missing)


def check_values(name: str, values: ndarray) -> None:
    """Check that an array has samples, and that they are real numbers; `separate_missing` checks that they are finite.

    Raises:
        SignalError: the array has no samples, or values that are not real.
    """
    if values.dtype.kind not in "buif":
        raise SignalError(f"{name}: holds {values.dtype} values; real numbers are needed")
    if values.size == 0:
        raise SignalError(f"{name}: holds no samples (shape {values.shape})")


def to_dtype(values: ndarray, dtype: str) -> ndarray:
    """Convert values to a data type: clip them to its range, and round them if it is an integer type."""
    target = np.dtype(dtype)
    if target.kind == "f":
        return values.clip(np.finfo(target).min, np.finfo(target).max).astype(target)
    if target.kind == "b":
        return values > 0.5
    limits = np.iinfo(target)
    # The greatest float64 below the limit, because 2^63 itself would wrap around.
    high = np.nextafter(float(limits.max), 0) if limits.max > 2**53 else limits.max
    return np.rint(values).clip(limits.min, high).astype(target)


def write_array(path: Path, values: ndarray, dtype: str, ndim: int) -> ndarray:
    """Write values as an array: to a compressed .npz file if the path says so, else to a .npy file.

    Args:
        path: the file.
        values: channels last.
        dtype: the data type that is written.
        ndim: axes of the array that is written; if it has one axis less than `values`, the channels' axis is left out.

    Returns:
        The array that was written.
    """
    array = to_dtype(values, dtype)
    array = array[..., 0] if ndim < array.ndim else array
    save: Callable[..., None] = np.savez_compressed if path.suffix.lower() == ".npz" else _save_npy
    save(path, array)
    return array


def _save_npy(path: Path, array: ndarray) -> None:
    """Write an array as .npy; numpy's own `save` says nothing when the end of the file finds the disk full.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        np.lib.format.write_array(_Unbuffered(file), np.asanyarray(array), allow_pickle=False)


class _Unbuffered:
    """A file to numpy, which writes to it through `write` only and not by C's buffered functions."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def name_of(source: str | Path | ndarray) -> str:
    """Return what messages call a source: its path, or "array"."""
    return "array" if isinstance(source, ndarray) else str(source)


def read_array(path: Path | ndarray, check: Callable[[tuple[int, ...]], None]) -> ndarray:
    """Return the array of a .npy file, or the only array of an .npz file; pickled objects are refused.

    Args:
        path: the file; an array is returned as it is.
        check: called with the array's shape before its values are read; it may raise an error.

    Raises:
        SignalError: the file cannot be read, or does not hold exactly one array.
    """
    if isinstance(path, ndarray):
        check(path.shape)
        return path
    check(read_shape(path))
    name = str(path)
    try:
        loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            return np.asarray(loaded)
        with loaded:
            return loaded[loaded.files[0]]
    except SignalError:
        raise
    except Exception as error:  # numpy raises many exception types
        reason = " ".join(str(error).split())[:120]
        raise SignalError(f"{name}: cannot be read as an array ({reason}); write it with numpy.save") from error


def read_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of the array of a .npy file, or of the only array of an .npz file, from its header alone.

    Raises:
        SignalError: there is no such file, it cannot be read, does not hold exactly one array, or holds less than its
            header says.
    """
    check_file(path, "an array", "give a file that numpy.save has written")
    name = str(path)
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith(b"PK"):
                return _read_header(name, file, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != 1:
                names = ", ".join(member.filename.removesuffix(".npy") for member in members)
                raise SignalError(f"{name}: holds {len(members)} arrays ({names[:80]}); one is needed")
            with archive.open(members[0]) as member:
                return _read_header(name, member, members[0].file_size)
    except SignalError:
        raise
    except Exception as error:  # numpy and zipfile raise many exception types
        reason = " ".join(str(error).split())[:120]
        raise SignalError(f"{name}: cannot be read as an array ({reason}); write it with numpy.save") from error


def _read_header(name: str, file: IO[bytes], size: int) -> tuple[int, ...]:
    """Return the shape that an array's header states, after a check that so many bytes can hold it."""
    file.seek(0)
    is_version_1 = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_version_1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)  # type: ignore[no-untyped-call]
    needed = math.prod(shape) * dtype.itemsize
    if needed > size:
        raise SignalError(
            f"{name}: the header says {' x '.join(map(str, shape))} values, {needed:,} bytes, but the file holds"
            f" {size:,}; is it whole?"
        )
    return tuple(shape)
