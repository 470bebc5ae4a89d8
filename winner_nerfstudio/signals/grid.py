"""Regularly sampled signals: what images, sounds and other series have in common."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy import ndarray

from .errors import SignalError
from .lattice import Lattice
from .normalization import Normalization

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from ..winner import Axis

SINGLE_PRECISION_AXIS = 1 << 24
"""Samples along one axis beyond which float32 coordinates no longer tell neighbours apart."""


@dataclass(frozen=True)
class Units:
    """The way from a signal's own units to the network's: ``own = unit * amplitude + offset``."""

    offset: float
    amplitude: float

    @classmethod
    def spanning(cls, low: float, high: float) -> Units:
        """Those that map [low, high] to [-1, 1]; a constant goes to 0."""
        # Halved first: the sum and the difference of two large floats may not be finite.
        return cls(float(low / 2 + high / 2), float(high / 2 - low / 2) or 1.0)

    def to_unit(self, values: ndarray) -> Float[ndarray, ...]:
        """Own values to the network's, float32; computed in the values' own precision, at least that."""
        wide = values.astype(np.result_type(values.dtype, np.float32))
        wide -= self.offset
        wide /= self.amplitude
        return wide.astype(np.float32, copy=False)

    def to_own(self, values: ndarray) -> Float[ndarray, ...]:
        """The network's values to own ones, in double precision."""
        return values.astype(np.float64) * self.amplitude + self.offset


@dataclass(frozen=True)
class Experiment:
    """What is done to a target in order to measure something.

    Attributes:
        noise_std: standard deviation of Gaussian noise added to the target, the target spanning [-1, 1].
        reference: the clean signal's file, if the target is noisy already.
        train_fraction: part of the samples, chosen at random, that are fitted; the rest is held out.
        seed: of the noise and of the choice.
    """

    noise_std: float = 0.0
    reference: str | None = None
    train_fraction: float = 1.0
    seed: int = 0

    def problem(self) -> str | None:
        """What is wrong, in one line, or None."""
        if not 0 <= self.noise_std < float("inf"):
            return f"noise_std={self.noise_std} must be finite and not negative; the target spans [-1, 1]"
        if not 0 < self.train_fraction <= 1:
            return f"train_fraction={self.train_fraction} must lie above 0 and not above 1"
        if self.noise_std > 0 and self.reference is not None:
            return "noise_std adds noise to a clean target, reference names the clean one of a noisy target; give one"
        if self.seed < 0:
            return f"seed={self.seed} must not be negative"
        return None


@dataclass(frozen=True, eq=False)
class Grid:
    """A signal given by its values at the points of a `Lattice`, normalised to [-1, 1].

    Memory: four bytes per sample and channel, twice that where a clean signal is known besides.

    Attributes:
        name: of the file or sample.
        values: what is fitted, float32, channels last, [*axes, c].
        normalization: from the input's coordinates to the cube's.
        units: from the input's values to the network's.
        details: what writing back needs besides size and units: strings, numbers, lists and dicts.
        suffix: of a file that a fit can be written back to.
        measure: what the values are, so that those of two files can be told to be alike.
        notes: lines for the user about the input.
        clean: what figures are measured against, [*axes, c]; None if that is `values`.
        fitted: numbers of the samples that are fitted, ascending; None means all.
    """

    kind: ClassVar[str]

    name: str
    values: Float[ndarray, "*axes c"]
    normalization: Normalization
    units: Units
    details: dict[str, Any] = field(default_factory=dict)
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
    def record(self) -> dict[str, Any]:
        """`details`, the samples per axis, the units, and a digest that tells this target from any other."""
        parts = [self.values, self.truth, np.empty(0) if self.fitted is None else self.fitted]
        digest = blake2b(digest_size=16)
        for part in parts:
            digest.update(np.ascontiguousarray(part).data)
        return {
            **self.details,
            "shape": list(self.lattice.shape),
            "offset": self.units.offset,
            "amplitude": self.units.amplitude,
            "digest": digest.hexdigest(),
        }

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
            lines.append("the target is noisy; figures are measured against the clean signal")
        return lines

    def facts(self) -> dict[str, str]:
        """Its size and range, for `winner-inspect`."""
        low, high = (float(self.units.to_own(np.array(end))) for end in (-1.0, 1.0))
        return {
            "samples": " x ".join(f"{n:,}" for n in self.lattice.shape),
            "channels": str(self.channels),
            "-1 and 1 stand for": f"{low:.6g} and {high:.6g}",
        }

    def under(self, experiment: Experiment, clean: Grid | None = None) -> Grid:
        """This signal with noise added, a clean one beside it, or some of its samples held out.

        Args:
            experiment: what to do.
            clean: the signal that `experiment` names as reference, loaded.

        Raises:
            SignalError: the clean signal has another size, or values of another measure.
        """
        values, truth, fitted, units = self.values, None, None, self.units
        rng = np.random.default_rng([experiment.seed, 0])
        if clean is not None:
            if clean.values.shape != values.shape:
                raise SignalError(
                    f"{clean.name}: the reference has shape {clean.values.shape}, the target {values.shape}; they must"
                    " be of one size and number of channels"
                )
            if clean.measure != self.measure:
                raise SignalError(
                    f"{clean.name}: the reference's values are {clean.measure}, the target's {self.measure}; convert"
                    " one of them"
                )
            # In the clean signal's units, as if the noise had been added here: its range is what figures refer to.
            truth, units = clean.values, clean.units
            values = units.to_unit(self.units.to_own(self.values))
        elif experiment.noise_std > 0:
            truth = values
            noise = rng.standard_normal(values.shape, dtype=np.float32)
            noise *= experiment.noise_std
            noise += values
            values = noise
        if experiment.train_fraction < 1:
            count = round(experiment.train_fraction * self.lattice.count)
            if not 0 < count < self.lattice.count:
                raise SignalError(
                    f"{self.name}: train_fraction={experiment.train_fraction} of {self.lattice.count} samples leaves"
                    " nothing to fit or nothing held out"
                )
            chosen = np.random.default_rng([experiment.seed, 1]).permutation(self.lattice.count)[:count]
            fitted = np.sort(chosen)
        return replace(self, values=values, clean=truth, fitted=fitted, units=units)


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


def picture_dtype(record: dict[str, Any]) -> str:
    """The data type of a picture of that record's values, as numpy calls it."""
    mode = record["mode"]
    if mode == "array":
        return record["dtype"]
    return {"I": "i4", "F": "f4"}.get(mode, "u2" if ";16" in mode else "u1")


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
                check(read(header)[0])
            return loaded[loaded.files[0]]
    except SignalError:
        raise
    except Exception as error:  # numpy fails in its own many ways
        reason = " ".join(str(error).split())[:120]
        raise SignalError(f"{name}: cannot be read as an array ({reason}); write it with numpy.save") from error
