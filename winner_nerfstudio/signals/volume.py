"""Loading and saving of volumes: scalar fields sampled in three dimensions, such as an occupancy or a density."""

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..files import suffix_of
from .conversions import describe_conversion
from .derivatives import derive, read_samples
from .errors import SignalError, check_file
from .grid import Grid, check_values, name_of, read_array, write_array
from .lattice import Lattice, pitch_of
from .messages import describe_outside, write_apart
from .nodata import check_range, separate_missing
from .options import VolumeOptions
from .records import VolumeRecord
from .samples import VOLUMES, sample
from .units import Units
from .volume_files import VolumeFile, read_volume
from .volume_readers import READERS

ARRAYS = (".npy", ".npz")
BYTES_PER_SAMPLE = 16
"""The approximate memory of a run per sample, without the file: target, fit, sample order and a float64 copy."""
MOST_CROSSED = 1 << 18
"""The approximate maximum, per axis, of pairs of neighbours at which the slope at the surface is measured."""


class Volume(Grid[VolumeRecord]):
    """A scalar field: values [x, y, z, 1]; array axes 0, 1, 2 are x, y, z.

    The first and the last sample of the longest axis lie at -1 and 1, and lengths along all axes have one scale: where
    neighbours are as far apart along every axis, cells are cubes. In the world, the first sample lies at the origin, or
    where its file says, and neighbours are `spacing` apart. The range of the values is mapped to [-1, 1].
    """

    kind: ClassVar[str] = "volume"

    def inside(self, values: Float[ndarray, "..."]) -> Bool[ndarray, "..."]:
        """Return where values, in the network's units, lie on the inner side of the level."""
        level = (self.draft.level - self.units.offset) / self.units.amplitude
        return values > level if self.draft.inside == "above" else values < level

    @property
    def has_surface(self) -> bool:
        """Return whether samples lie on both sides of the level."""
        return _has_both(self.inside(self.values))


def _has_both(within: Bool[ndarray, "..."]) -> bool:
    """Return whether some samples lie inside and some outside."""
    return bool(within.any() and not within.all())


def load_volume(source: str | Path | ndarray, options: VolumeOptions | None = None) -> Volume:
    """Load a volume from a file, an array, or a built-in sample.

    Args:
        source: a path, of one of `ARRAYS` or `READERS`; an array, also in .npy or .npz, is [x, y, z] or [x, y, z, 1] of
            any real type; ``sample:NAME`` with a name from `VOLUMES`.
        options: the level and spacing of the values, the noise, the reference and the part that is fitted; with
            ``supervise`` the source holds derivatives, see docs/derivatives.md.

    Raises:
        SignalError: a missing, unreadable or oversized file, or values that cannot be fitted.
    """
    options = options or VolumeOptions()
    options.check()
    if options.supervise != "values":
        return _load_derivatives(source, options)
    if options.reference is None:
        return _load(source, options).under(options)
    clean = _load(options.reference, options)
    return _load(source, options, clean).under(options, clean)


def _load(source: str | Path | ndarray, options: VolumeOptions, clean: Volume | None = None) -> Volume:
    """Load a volume without the noise, the reference or the held-out samples that `options` may ask for.

    Its level is that of the reference `clean`, if there is one, which has to be of the same size.
    """
    name, file = name_of(source), _read(source, options)
    check_values(name, file.values)
    values = file.values.reshape(*file.values.shape[:3], 1)
    if clean is not None:
        clean.check_shape(values.shape)
        options = replace(options, level=clean.draft.level)
    masked, told = file.mask_invalid(values) if options.nodata == "auto" else (values, ())
    screened = separate_missing(name, masked, options.nodata, file.nodata)
    notes = (*told, *screened.notes, *check_range(name, screened, options.nodata))
    units = Units.spanning(screened.values.min().item(), screened.values.max().item())
    return replace(_build(name, file, screened.values, units, notes, options), missing=screened.missing)


def _load_derivatives(source: str | Path | ndarray, options: VolumeOptions) -> Volume:
    """Load a volume that is given by its derivatives."""
    name, file, clean = name_of(source), _read(source, options), None
    if name.startswith("sample:"):
        raise SignalError(f"{name}: a built-in volume has values and no derivatives; leave out supervise")
    check_values(name, file.values)
    is_gradient = options.supervise == "gradient"
    data = file.values.reshape(*file.values.shape[:3], 1, 3 if is_gradient else 1)
    if options.reference is not None:
        clean = read_samples(
            _read(options.reference, VolumeOptions()).values, (*data.shape[:3], 1), name_of(options.reference)
        )
    spacing, _, _ = place_samples(options, file.spacing, file.origin)
    derived = derive(name, data, Lattice(data.shape[:3], pitch_of(spacing)), spacing, options, clean)
    dtype = data.dtype if data.dtype.kind == "f" else np.dtype(np.float32)
    ndim = file.values.ndim - (1 if is_gradient else 0)
    file = replace(file, values=derived.values.astype(dtype)[..., 0] if ndim == 3 else derived.values.astype(dtype))
    volume = _build(name, file, derived.values, derived.units, derived.notes, options)
    return replace(volume, **derived.attributes())


def _build(
    name: str, file: VolumeFile, array: ndarray, units: Units, more: tuple[str, ...], options: VolumeOptions
) -> Volume:
    """Return the volume of an array [x, y, z, 1] without missing samples.

    Args:
        name: what messages call it.
        file: what was read, whose array has the data type and the number of axes of the input.
        array: the values.
        units: the map to the network's values.
        more: notes on the values.
        options: the level and spacing.
    """
    spacing, origin, place_notes = place_samples(options, file.spacing, file.origin)
    low, high = array.min().item(), array.max().item()
    level = choose_level(low, high, holds_only(array, low, high)) if options.level is None else float(options.level)
    if options.level is not None and not low <= level <= high:
        raise SignalError(f"{name}: {describe_outside(level, low, high)}")
    lattice = Lattice(array.shape[:3], pitch_of(spacing))
    within = array > level if options.inside == "above" else array < level
    unit = units.to_unit(array)
    if options.smooth != "none":
        unit = _smooth(name, unit, within.reshape(lattice.shape), options)
        level = units.offset
    draft = VolumeRecord(
        shape=lattice.shape,
        offset=units.offset,
        amplitude=units.amplitude,
        digest="",
        dtype=file.values.dtype.str,
        ndim=file.values.ndim,
        spacing=spacing,
        level=level,
        inside=options.inside,
        slope=mean_slope(measure_slopes(unit[..., 0], within.reshape(lattice.shape), lattice.pitch)) * units.amplitude,
        smoothed=True if options.smooth != "none" else None,
    )
    least, most, middle = write_apart(low, high, level)
    notes = [
        f"{' x '.join(map(str, lattice.shape))} samples ({file.values.dtype}), {least} to {most},"
        f" {_write_spacing(spacing, ' x ')} apart",
        *more,
        f"inside is {options.inside} {middle}: {within.mean():.3g} of the samples",
        *file.notes,
        *place_notes,
    ]
    if not _has_both(within):
        notes.append("warning: all of it lies on one side of the level; there is no surface")
    suffix = Path(name).suffix.lower() if Path(name).suffix.lower() in ARRAYS else ".npy"
    normalization = lattice.normalization(min(spacing), origin)
    return Volume(name, unit, normalization, units, draft, suffix, notes=tuple(notes))


def place_samples(
    options: VolumeOptions, spacing: tuple[float, ...] | None, origin: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Return the spacing of a volume's samples, the position of the first one, and notes.

    Args:
        options: what the user says of them, which goes before what the file says.
        spacing: the file's spacing along each axis; None if it states none.
        origin: the file's position of the first sample.
    """
    notes, given, first = [], options.spacings, options.origin
    if given is not None and spacing is not None and not np.allclose(spacing, given, rtol=1e-6, atol=0):
        ours, theirs = (_write_spacing(steps) for steps in (given, spacing))
        notes.append(f"the file's spacing of {theirs} gives way to --spacing {ours}")
    if first is not None and any(origin) and not np.allclose(origin, first, rtol=1e-6, atol=0):
        ours, theirs = (" ".join(f"{x:g}" for x in position) for position in (first, origin))
        notes.append(f"the file's origin of {theirs} gives way to --origin {ours}")
    chosen = origin if first is None else tuple(map(float, first))
    if any(chosen):
        notes.append(f"the first sample lies at {' x '.join(f'{x:g}' for x in chosen)}")
    return given or spacing or (1.0, 1.0, 1.0), chosen, notes


def _write_spacing(steps: tuple[float, ...], mark: str = " ") -> str:
    """Return the spacing as the user gives it: one number if it is the same along every axis."""
    return mark.join(f"{step:g}" for step in (steps if len(set(steps)) > 1 else steps[:1]))


def _smooth(
    name: str, values: Float[ndarray, "x y z 1"], within: Bool[ndarray, "x y z"], options: VolumeOptions
) -> Float[ndarray, "x y z 1"]:
    """An array of two values, -1 and 1, smoothed between them."""
    from .smoothing import smooth_occupancy

    if not (np.abs(values) == 1).all():
        raise SignalError(f"{name}: smooth={options.smooth} is for arrays of two values; leave it out")
    assert options.smooth != "none"
    try:
        smooth = smooth_occupancy(within, options.smooth)[..., None]
    except SignalError as error:
        raise SignalError(f"{name}: {error}") from None
    return smooth if options.inside == "above" else -smooth


def _read(source: str | Path | ndarray, options: VolumeOptions) -> VolumeFile:
    """Return the array of a source, after a check of its shape, and what its file says of the world."""
    name = name_of(source)
    path, origin = Path(name), (0.0, 0.0, 0.0)
    if name.startswith("sample:"):
        return VolumeFile(sample(VOLUMES, name, "volume"), None, origin, ())

    def check(shape: tuple[int, ...]) -> None:
        if options.supervise == "gradient":
            if len(shape) not in (4, 5) or shape[-1] != 3:
                raise SignalError(f"{name}: an array of shape {shape} is no volume's gradient; [x, y, z, 3] is needed")
            shape = shape[:-1]
        _check_shape(name, shape, options.max_samples)

    if not isinstance(source, ndarray):
        suffix = suffix_of(path)
        if not (suffix == ".zarr" and path.is_dir()):
            check_file(path, "a volume", f"give an array, or sample:NAME with one of {', '.join(sorted(VOLUMES))}")
        if suffix in READERS:
            return read_volume(path, check, options.dataset)
        if suffix not in ARRAYS and (conversion := describe_conversion(suffix)) is not None:
            raise SignalError(f"{name}: {conversion}")
        if suffix not in ARRAYS:
            raise SignalError(
                f"{name}: a volume is an array in .npy or .npz, or in {' '.join(READERS)}; write it with numpy.save"
            )
        source = path
    if options.dataset is not None:
        raise SignalError(f"{name}: has no names for arrays; leave out dataset={options.dataset!r}")
    return VolumeFile(read_array(source, check), None, origin, ())


def _check_shape(name: str, shape: tuple[int, ...], max_samples: int) -> None:
    """Check that an array's shape is a volume's and has at most `max_samples` samples.

    Raises:
        SignalError: it is not, or has more.
    """
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 1):
        raise SignalError(f"{name}: an array of shape {shape} is no volume; [x, y, z] is needed, one value each")
    if 1 in shape[:3]:
        raise SignalError(
            f"{name}: an array of shape {shape} has no depth along one axis; fit it as a picture or a series"
        )
    count = prod(shape)
    if count > max_samples:
        raise SignalError(
            f"{name}: {' x '.join(map(str, shape[:3]))} = {count:,} samples are more than --max-samples"
            f" {max_samples:,}; they take {count * BYTES_PER_SAMPLE / 1e9:.3g} GB of memory: raise it if that is there,"
            " or fit a part"
        )


def holds_only(values: ndarray, low: float, high: float) -> bool:
    """Return whether there are no other values than these two."""
    return bool(((values == low) | (values == high)).all())


def choose_level(low: float, high: float, two_values: bool) -> float:
    """Return 0 if the values have both signs and more than two distinct values, else the middle of their range."""
    return 0.0 if low < 0 < high and not two_values else low / 2 + high / 2


def mean_slope(slopes: Float[ndarray, " n"]) -> float:
    """Return the mean of the slopes at a surface, or 1 without any."""
    return float(slopes.mean()) if len(slopes) else 1.0


def measure_slopes(
    values: Float[ndarray, "x y z"], within: Bool[ndarray, "x y z"], pitch: tuple[float, ...]
) -> Float[ndarray, " n"]:
    """Measure the gradient's length, per length of pitch 1, where neighbours lie on two sides of the level."""
    shape, steps = np.array(values.shape), np.eye(3, dtype=np.int64)

    def at(index: Int[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        return values[tuple(index.clip(0, shape - 1).T)].astype(np.float64)

    lengths = []
    for axis, step in enumerate(steps):
        crossed = np.flatnonzero(np.diff(within, axis=axis))
        crossed = crossed[:: max(1, len(crossed) // MOST_CROSSED)]
        low = np.stack(np.unravel_index(crossed, shape - step), -1)
        # Along the axis, the difference of the two neighbours; across it, the mean central difference at both.
        along = (at(low + step) - at(low)) / pitch[axis]
        across = [
            sum(at(end + steps[other]) - at(end - steps[other]) for end in (low, low + step)) / 4 / pitch[other]
            for other in range(3)
            if other != axis
        ]
        lengths.append(np.sqrt(along**2 + across[0] ** 2 + across[1] ** 2))
    return np.concatenate(lengths)


def save_volume(path: Path, values: Float[ndarray, "x y z 1"], record: VolumeRecord) -> None:
    """Write a volume in the data type and number of axes of its `record`.

    Args:
        path: the file, one of `ARRAYS`.
        values: in the volume's units.
        record: the record of the volume that `load_volume` returned.
    """
    write_array(path, as_input(values, record), record.dtype or "f4", record.ndim or 3)


def as_input(values: Float[ndarray, "x y z 1"], record: VolumeRecord) -> Float[ndarray, "x y z 1"]:
    """Return values as the input had them: those of an array that was smoothed are its two values again."""
    if not record.smoothed:
        return values
    return np.where(values > record.offset, record.offset + record.amplitude, record.offset - record.amplitude)


def cannot_save(path: Path) -> str | None:
    """Return one line that says why a volume cannot be written to this path, or None if it can."""
    suffix = suffix_of(path)
    return None if suffix in ARRAYS else f"unknown format {suffix!r}; use one of {' '.join(ARRAYS)}"
