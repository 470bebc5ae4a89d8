"""Regularly sampled signals: what images, sounds and other series have in common."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import numpy as np
from numpy import ndarray

from .errors import SignalError
from .lattice import Lattice
from .normalization import Normalization
from .options import GridOptions
from .records import GridRecord
from .units import Units

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from typing_extensions import Self

    from ..winner import Axis

R = TypeVar("R", bound=GridRecord)

SINGLE_PRECISION_AXIS = 1 << 24
"""Samples along one axis beyond which float32 coordinates no longer tell neighbours apart."""


@dataclass(frozen=True, eq=False)
class Grid(Generic[R]):
    """A signal given by its values at the points of a `Lattice`, normalised to [-1, 1].

    Memory: four bytes per sample and channel, twice that where a clean signal is known besides.

    Attributes:
        name: of the file or sample.
        values: what is fitted, float32, channels last, [*axes, c].
        normalization: from the input's coordinates to the cube's.
        units: from the input's values to the network's.
        draft: the record, complete but for units and digest.
        suffix: of a file that a fit can be written back to.
        measure: what the values are, so that those of two files can be told to be alike.
        notes: lines for the user about the input.
        clean: what metrics are measured against, [*axes, c]; None if that is `values`.
        fitted: numbers of the samples that are fitted, ascending; None means all.
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

    @property
    def lattice(self) -> Lattice:
        """Where the samples lie."""
        return Lattice(self.values.shape[:-1])

    @property
    def dim(self) -> int:
        """Number of axes, channels not counted."""
        return self.values.ndim - 1

    @property
    def channels(self) -> int:
        """Values per sample."""
        return self.values.shape[-1]

    @cached_property
    def record(self) -> R:
        """The record, with a digest that tells this target from any other."""
        parts = [self.values, self.truth, np.empty(0) if self.fitted is None else self.fitted]
        digest = blake2b(digest_size=16)
        for part in parts:
            digest.update(np.ascontiguousarray(part).data)
        units = self.units
        return replace(self.draft, offset=units.offset, amplitude=units.amplitude, digest=digest.hexdigest())

    @property
    def truth(self) -> Float[ndarray, "*axes c"]:
        """What a fit is measured against: the clean signal where it is known, else the target."""
        return self.values if self.clean is None else self.clean

    @cached_property
    def held_out(self) -> Int[ndarray, " k"]:
        """Numbers of the samples that aren't fitted, ascending."""
        if self.fitted is None:
            return np.empty(0, np.int64)
        chosen = np.zeros(self.lattice.count, bool)
        chosen[self.fitted] = True
        return np.flatnonzero(~chosen)

    @cached_property
    def centroid(self) -> float:
        """Spectral centroid of the whole target, noise included and held-out samples too, in [0, 1]."""
        from ..winner.method import spectral_centroid

        return spectral_centroid(self.values, dim=self.dim)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """Centroid and samples along each axis, likewise."""
        from ..winner.matched import axes_of

        return axes_of(self.values, dim=self.dim)

    def describe(self) -> list[str]:
        """The input, and what is being done to it."""
        lines = [f"{self.name}: {note}" if number == 0 else note for number, note in enumerate(self.notes)]
        if max(self.lattice.shape) > SINGLE_PRECISION_AXIS:
            lines.append(
                f"warning: {max(self.lattice.shape):,} samples along an axis lie closer together than single precision"
                " resolves; fit a part of them"
            )
        if self.fitted is not None:
            lines.append(f"fitting {len(self.fitted):,} of {self.lattice.count:,} samples, the rest is held out")
        if self.clean is not None:
            lines.append("the target is noisy; metrics are measured against the clean signal")
        return lines

    def facts(self) -> dict[str, str]:
        """Its size and range, for `winner-inspect`."""
        low, high = (float(self.units.to_own(np.array(end))) for end in (-1.0, 1.0))
        return {
            "samples": " x ".join(f"{n:,}" for n in self.lattice.shape),
            "channels": str(self.channels),
            "-1 and 1 stand for": f"{low:.6g} and {high:.6g}",
        }

    def under(self, options: GridOptions, clean: Grid[R] | None = None) -> Self:
        """Return this signal with noise added, a clean one beside it, or some of its samples held out.

        Args:
            options: what to do.
            clean: the signal that `options` names as reference, loaded.

        Raises:
            SignalError: the clean signal has another size, or values of another measure.
        """
        signal = self if clean is None else self._against(clean)
        if options.noise_std > 0:
            noise = np.random.default_rng([options.data_seed, 0]).standard_normal(self.values.shape, dtype=np.float32)
            noise *= options.noise_std
            noise += signal.values
            signal = replace(signal, values=noise, clean=signal.values)
        if options.train_fraction < 1:
            count = round(options.train_fraction * self.lattice.count)
            if not 0 < count < self.lattice.count:
                raise SignalError(
                    f"{self.name}: train_fraction={options.train_fraction} of {self.lattice.count} samples leaves"
                    " nothing to fit or nothing held out"
                )
            order = np.random.default_rng([options.data_seed, 1]).permutation(self.lattice.count)
            signal = replace(signal, fitted=np.sort(order[:count]))
        return signal

    def _against(self, clean: Grid[R]) -> Self:
        """This signal in the clean one's units, as if the noise had been added to that: metrics refer to its range."""
        if clean.values.shape != self.values.shape:
            raise SignalError(
                f"{clean.name}: the reference has shape {clean.values.shape}, the target {self.values.shape}; they must"
                " be of one size and number of channels"
            )
        if clean.measure != self.measure:
            raise SignalError(
                f"{clean.name}: the reference's values are {clean.measure}, the target's {self.measure}; convert"
                " one of them"
            )
        values = clean.units.to_unit(self.units.to_own(self.values))
        return replace(self, values=values, clean=clean.values, units=clean.units)


def check_values(name: str, values: ndarray) -> None:
    """See that an array can be fitted at all.

    Raises:
        SignalError: no samples, not real numbers, or not finite ones.
    """
    if values.dtype.kind not in "buif":
        raise SignalError(f"{name}: holds {values.dtype} values; real numbers are needed")
    if values.size == 0:
        raise SignalError(f"{name}: holds no samples (shape {values.shape})")
    broken = int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0
    if broken:
        raise SignalError(f"{name}: {broken:,} of {values.size:,} samples are NaN or infinite; all must be finite")


def to_dtype(values: ndarray, dtype: str) -> ndarray:
    """Values as an array of that type: kept within its range, and rounded if it holds whole numbers."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return values.clip(np.finfo(kind).min, np.finfo(kind).max).astype(kind)
    if kind.kind == "b":
        return values > 0.5
    limits = np.iinfo(kind)
    # The nearest float64 below: 2^63 itself would wrap.
    high = np.nextafter(float(limits.max), 0) if limits.max > 2**53 else limits.max
    return np.rint(values).clip(limits.min, high).astype(kind)


def write_array(path: Path, values: ndarray, dtype: str, ndim: int) -> ndarray:
    """Write values, channels last, as an array of that type: .npz compressed, any other name .npy.

    Without its last axis, of one channel, where the array is to have fewer axes. Returns what was written.
    """
    array = to_dtype(values, dtype)
    array = array[..., 0] if ndim < array.ndim else array
    save: Callable[..., None] = np.savez_compressed if path.suffix.lower() == ".npz" else np.save
    save(path, array)
    return array


def name_of(source: str | Path | ndarray) -> str:
    """What messages call a source: its path, or that it is an array."""
    return "array" if isinstance(source, ndarray) else str(source)


def read_array(path: Path | ndarray, check: Callable[[tuple[int, ...]], None]) -> ndarray:
    """The array of a .npy file, or the only one of an .npz file; pickled objects are refused.

    Args:
        path: the file; an array is taken as it is.
        check: called with the array's shape before it is read; may raise.

    Raises:
        SignalError: it cannot be read, or there are several arrays.
    """
    if isinstance(path, ndarray):
        check(path.shape)
        return path
    name = str(path)
    try:
        loaded = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            check(loaded.shape)
            return np.asarray(loaded)
        with loaded, zipfile.ZipFile(path) as archive:
            if len(loaded.files) != 1:
                raise SignalError(
                    f"{name}: holds {len(loaded.files)} arrays ({', '.join(loaded.files)[:80]}); one is needed"
                )
            with archive.open(archive.namelist()[0]) as header:
                first = np.lib.format.read_magic(header) == (1, 0)
                read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                check(read(header)[0])  # type: ignore[no-untyped-call]
            return loaded[loaded.files[0]]
    except SignalError:
        raise
    except Exception as error:  # numpy fails in its own many ways
        reason = " ".join(str(error).split())[:120]
        raise SignalError(f"{name}: cannot be read as an array ({reason}); write it with numpy.save") from error
