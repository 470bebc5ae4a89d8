"""Regularly sampled signals larger than memory: read block by block, with the values of the in-memory loaders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy import ndarray

from ..winner.inputs import fill_missing
from .audio import MOST_PER_BYTE, Audio, check_series, choose_nodata, excerpt, find_reason, open_sound_file
from .blocks import Blocks, Box, compute_source_digest, open_array, open_sound
from .errors import SignalError, check_file
from .grid import Grid, check_values, name_of
from .image import Image
from .image.image import draft_record, full_range
from .image.reading import Picture
from .image.reading.picture import MAX_CHANNELS
from .image.reading.tiff import open_tiff
from .lattice import Lattice, pitch_of
from .messages import describe_outside, write_apart
from .nodata import SORTED, Screened, check_range, choose_markers, find_markers
from .normalization import Normalization
from .options import AudioOptions, GridOptions, ImageOptions, NoData, VolumeOptions
from .picture_suffixes import TIFFS
from .records import AudioRecord, GridRecord, VolumeRecord
from .units import Units
from .volume import Volume, choose_level, holds_only, mean_slope, measure_slopes, place_samples
from .volume_files import VolumeFile, open_volume

if TYPE_CHECKING:
    from jaxtyping import Bool

WHOLE_ONLY = ("noise_std", "reference", "train_fraction", "max_side", "smooth")
"""The options that need the whole signal in memory."""

LOSSY = ("MP3", "OGG")
"""libsndfile's formats whose samples depend on where decoding began."""


@dataclass(frozen=True)
class LargeGrid:
    """A regularly sampled signal that is read block by block, normalised to [-1, 1] like a `Grid`.

    Attributes:
        kind: the kind of the signal.
        blocks: the samples in the input's own values.
        units: the map between the input's values and the network's.
        normalization: the map from the input's coordinates to the network's cube.
        record: the record, whose digest is that of the input's bytes.
        markers: the values of samples that hold no data.
        with_nan: whether NaN stands for such samples, too.
        mono: whether the mean of the channels is fitted.
        notes: lines for the user about the input.
    """

    kind: str
    blocks: Blocks
    units: Units
    normalization: Normalization
    record: GridRecord
    markers: tuple[float, ...] = ()
    with_nan: bool = False
    mono: bool = False
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call the signal."""
        return self.blocks.name

    @property
    def lattice(self) -> Lattice:
        """The lattice on which the samples lie."""
        return self.record.lattice

    @property
    def channels(self) -> int:
        """The values per sample."""
        return 1 if self.mono else self.blocks.channels

    def read(self, box: Box) -> Grid[Any]:
        """Read a box of samples as a signal of its own, in the units of the whole.

        Samples that hold no data have the value of the nearest in the box that do.

        Raises:
            SignalError: the file cannot be read there, or holds values there that are not finite.
        """
        values, missing = _read(self.blocks, box, self.markers, self.with_nan)
        if missing is None or not missing.any():
            missing, fitted = None, None
        elif missing.all():
            values, fitted = np.full_like(values, self.units.offset), np.empty(0, np.int64)
        else:
            values, fitted = fill_missing(values, missing), np.flatnonzero(~missing)
        _check_finite(self.name, values)
        if self.mono:
            values = _mix(values)
        draft = replace(self.record, shape=values.shape[:-1])
        unit = self.units.to_unit(values)
        return Grid(
            self.name, unit, self.normalization, self.units, draft, fitted=fitted, missing=missing, notes=self.notes
        )


class Statistics(NamedTuple):
    """What a pass over all samples finds.

    Attributes:
        low: the least value that is fitted.
        high: the greatest one.
        some: values of samples that hold data, all of them or `SORTED` at random and each block's least and greatest.
        missing: the count of samples that hold no data.
        two_values: whether no value that is fitted lies between the least and the greatest.
    """

    low: float
    high: float
    some: ndarray
    missing: int
    two_values: bool


def open_large(data: str | Path | ndarray, kind: str, options: GridOptions) -> LargeGrid:
    """Open a signal that is read block by block.

    What needs all samples, the range of values and a search for such as mean no data, is one pass over them; unsigned
    values of up to 16 bits, as of most pictures, need none. The file is read once more for its digest.

    Args:
        data: a file (.npy; pictures in .tif; sounds; volumes in .zarr), or an array, which may be mapped from a file.
        kind: "image", "audio" or "volume".
        options: the options of loading such a signal; those of `WHOLE_ONLY` cannot be used.

    Raises:
        SignalError: the data is missing, broken or not read by blocks, or an option cannot be used.
        ValueError: signals of this kind are not read by blocks.
    """
    if kind not in _OPENERS:
        raise ValueError(f"kind={kind!r} is not read by blocks; only {', '.join(_OPENERS)} are")
    options.check()
    if not isinstance(data, (str, Path, ndarray)) or isinstance(data, np.ma.MaskedArray):
        raise SignalError(f"a {type(data).__name__} is not read by blocks; give a file, or a plain array with --nodata")
    source = data if isinstance(data, ndarray) else Path(data)
    if isinstance(source, Path) and not (source.suffix == ".zarr" and source.is_dir()):
        check_file(source, "a file", "give a file; built-in samples are fitted in memory")
    for option in fields(options):
        if option.name in WHOLE_ONLY and np.any(getattr(options, option.name) != option.default):
            raise SignalError(
                f"{name_of(source)}: {option.name} needs the whole signal in memory; leave it out for one that is"
                " larger"
            )
    grid = _OPENERS[kind](source, options)
    record = replace(grid.record, digest=compute_source_digest(source))
    return replace(grid, record=record.from_json(record.to_json()))  # as a file of the fit will have it


def _open_image(source: Path | ndarray, options: ImageOptions) -> LargeGrid:
    ndim = None
    if isinstance(source, ndarray) or source.suffix.lower() in (".npy", ".npz"):
        blocks, ndim = open_array(source, 2)
        picture = Picture(blocks.read((slice(0, 1), slice(0, 1))), "array")
    elif source.suffix.lower() in TIFFS:
        picture, blocks = _open_tiff(source, masked=options.nodata == "auto")
    else:
        raise SignalError(
            f"{source}: {source.suffix} is decoded as a whole; convert it to a tiled .tif, or fit it in memory"
        )
    if blocks.channels > MAX_CHANNELS:
        raise SignalError(f"{blocks.name}: has {blocks.channels} channels; a picture has at most {MAX_CHANNELS}")
    high = full_range(picture)
    nodata = None if high is not None else options.nodata
    markers, found, notes = _screen(blocks, options, picture.nodata, nodata)
    if high is None:
        assert found is not None
        units = Units.spanning(found.low, found.high)
    else:
        units = Units.spanning(0, high)
    lattice = Lattice(blocks.shape)
    draft = draft_record(picture, lattice.shape, units, ndim)
    size = f"{blocks.shape[1]:,} x {blocks.shape[0]:,} pixels, channels: {blocks.channels} ({draft.label})"
    return LargeGrid(
        "image", blocks, units, lattice.normalization(), draft, markers, options.nodata != "auto",
        notes=(size, *picture.notes, *notes),
    )  # fmt: skip


def _open_tiff(path: Path, masked: bool) -> tuple[Picture, Blocks]:
    """Return what `open_tiff` does; whatever the library finds wrong is one line."""
    try:
        return open_tiff(path, masked)
    except (SignalError, MemoryError):
        raise
    except Exception as error:  # tifffile fails in many ways
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SignalError(f"{path}: cannot be read as a TIFF ({reason}); is the file whole?") from error


def _open_audio(source: Path | ndarray, options: AudioOptions) -> LargeGrid:
    if isinstance(source, ndarray) or source.suffix.lower() == ".npy":
        whole, ndim = open_array(source, 1)
        check_series(whole.name, (*whole.shape, whole.channels)[:ndim])
        rate = 1.0 if options.sample_rate is None else float(options.sample_rate)
        first, count = excerpt(options, whole.name, whole.shape[0], rate)

        def read(box: Box) -> ndarray:
            return whole.read((slice(first + box[0].start, first + box[0].stop),))

        blocks = replace(whole, shape=(count,), read=read)
        entries: dict[str, Any] = {"format": "array", "dtype": whole.dtype.str, "ndim": ndim, "sample_rate": rate}
        told: tuple[str, ...] = ()
    else:
        blocks, first, entries, told = _open_sound(source, options)
    rate = entries["sample_rate"]
    markers, found, notes = _screen(blocks, options, (), choose_nodata(entries, options.nodata))
    assert found is not None
    if "dtype" in entries:
        units = Units.spanning(found.low, found.high)
    else:
        units = Units(0.0, max(abs(found.low), abs(found.high)) or 1.0)
    lattice = Lattice(blocks.shape)
    draft = AudioRecord(shape=lattice.shape, offset=units.offset, amplitude=units.amplitude, digest="", **entries)
    count = lattice.count
    size = f"{count:,} samples at {rate:g} Hz ({count / rate:.6g} s), channels: {blocks.channels}"
    return LargeGrid(
        "audio", blocks, units, lattice.normalization(1 / rate, (first / rate,)), draft, markers,
        options.nodata != "auto", options.mono and blocks.channels > 1, (size, *told, *notes),
    )  # fmt: skip


def _open_sound(path: Path, options: AudioOptions) -> tuple[Blocks, int, dict[str, Any], tuple[str, ...]]:
    """Return the blocks of a sound file's excerpt, its first sample, the entries of its record, and notes."""
    import soundfile

    try:
        with open_sound_file(path) as (sound, inspected):
            rate, channels = sound.samplerate, sound.channels
            entries = {"format": sound.format, "subtype": sound.subtype, "sample_rate": rate}
            (total, told), can_seek = inspected.without_padding(sound.frames), sound.seekable()
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise SignalError(
            f"{path}: cannot be read as a sound ({find_reason(error)}); use .wav .w64 .rf64 .flac or .npy"
        ) from error
    if not can_seek or entries["format"] in LOSSY or total > path.stat().st_size * MOST_PER_BYTE:
        raise SignalError(f"{path}: states no length, or is not read exactly from the middle; convert it to .flac")
    if options.sample_rate not in (None, rate):
        raise SignalError(f"{path}: the file says {rate} Hz itself; leave out sample_rate={options.sample_rate:g}")
    first, count = excerpt(options, str(path), total, rate)
    return open_sound(path, open_sound_file, first, count, channels), first, entries, (*inspected.notes, *told)


def _open_volume(source: Path | ndarray, options: VolumeOptions) -> LargeGrid:
    stated: tuple[float, float, float] | None = None
    declared: tuple[float, ...] = ()
    origin, ndim = (0.0, 0.0, 0.0), 3
    told: tuple[str, ...] = ()
    if isinstance(source, ndarray) or source.suffix.lower() == ".npy":
        blocks, ndim = open_array(source, 3)
    else:
        blocks, file = open_volume(source, options.dataset)
        stated, origin, told, declared = file.spacing, file.origin, file.notes, file.nodata
        if options.nodata == "auto":
            blocks, limits = _mask_invalid(blocks, file)
            told += limits
    if blocks.channels != 1 or 1 in blocks.shape:
        raise SignalError(f"{blocks.name}: is no volume, [x, y, z] with one value each and depth along every axis")
    spacing, first, more = place_samples(options, stated, origin)
    markers, found, notes = _screen(blocks, options, declared, options.nodata)
    assert found is not None
    low, high = found.low, found.high
    level = choose_level(low, high, found.two_values) if options.level is None else float(options.level)
    if not low <= level <= high:
        raise SignalError(f"{blocks.name}: {describe_outside(level, low, high)}")
    lattice, units = Lattice(blocks.shape, pitch_of(spacing)), Units.spanning(low, high)
    draft = VolumeRecord(
        shape=lattice.shape, offset=units.offset, amplitude=units.amplitude, digest="", dtype=blocks.dtype.str,
        ndim=ndim, spacing=spacing, level=level, inside=options.inside, slope=1.0,
    )  # fmt: skip
    least, most = write_apart(low, high)
    size = f"{' x '.join(map(str, blocks.shape))} samples ({blocks.dtype}), {least} to {most}"
    grid = LargeGrid(
        "volume", blocks, units, lattice.normalization(min(spacing), first), draft, markers, options.nodata != "auto",
        notes=(size, *told, *more, *notes),
    )  # fmt: skip
    return replace(grid, record=replace(draft, slope=_measure_slope(grid, draft)))


def _mask_invalid(blocks: Blocks, file: VolumeFile) -> tuple[Blocks, tuple[str, ...]]:
    """Return blocks whose samples are masked outside the file's valid range or where they hold no data, and a note."""
    _, note = file.mask_invalid(file.values)

    def read(box: Box) -> ndarray:
        values = blocks.read(box)
        masked, _ = file.mask_invalid(values)
        return np.ma.array(
            values, mask=np.ma.getmaskarray(masked) | find_markers(values, file.nodata, False)[..., None]
        )

    return (replace(blocks, read=read), note) if note else (blocks, ())


def _measure_slope(grid: LargeGrid, record: VolumeRecord) -> float:
    """Measure the mean slope at the level from a slab of each block; borders between blocks don't count."""
    level, slopes = (record.level - grid.units.offset) / grid.units.amplitude, [np.empty(0)]
    for box in grid.blocks.iterate():
        values = grid.read(box).values[..., 0]
        within = values > level if record.inside == "above" else values < level
        if min(values.shape) > 1:
            slopes.append(measure_slopes(values, within, record.lattice.pitch))
    return mean_slope(np.concatenate(slopes)) * grid.units.amplitude


def _screen(
    blocks: Blocks, options: GridOptions, declared: tuple[float, ...], checked: NoData | None
) -> tuple[tuple[float, ...], Statistics | None, tuple[str, ...]]:
    """Find the values that mean no data, and the statistics of all others, or None where they are not needed.

    Args:
        blocks: the samples.
        options: the options of loading them.
        declared: the values that the file declares for samples that hold no data.
        checked: the option by which the range of the values is checked; None if it is that of their type.

    Raises:
        SignalError: the samples are no real numbers, not finite, all missing, or seem to mean no data.
    """
    check_values(blocks.name, np.broadcast_to(np.zeros(1, blocks.dtype), blocks.shape))
    markers, why = choose_markers(np.zeros(1, blocks.dtype), options.nodata, declared)
    if not markers and checked is None:
        return (), None, ()
    mix = _mix if isinstance(options, AudioOptions) and options.mono else None
    found = _scan(blocks, markers, options.nodata != "auto", mix)
    if not markers and options.nodata == "auto":
        markers, why = choose_markers(found.some, "auto", ())
        if markers:
            found = _scan(blocks, markers, False, mix)
    total = int(np.prod(blocks.shape, dtype=np.int64))
    if found.missing == total:
        raise SignalError(f"{blocks.name}: all of its {total:,} samples hold no data; there is nothing to fit")
    notes: tuple[str, ...] = ()
    if found.missing:
        values = " or ".join(f"{marker:.9g}" for marker in markers)
        what = f"{values}, {why}" if markers else "masked"
        notes = (f"no data: {found.missing:,} of {total:,} samples are {what}; they are left out",)
    if checked is not None:
        notes += check_range(blocks.name, Screened(found.some[:, None], None), checked)
    return markers, found, notes


def _scan(
    blocks: Blocks, markers: tuple[float, ...], with_nan: bool, mix: Callable[[ndarray], ndarray] | None
) -> Statistics:
    """Return the statistics of the samples that hold data, from one pass over all."""
    total = int(np.prod(blocks.shape, dtype=np.int64)) * blocks.channels
    lows, highs, some, missing, two_values, rng = [], [], [], 0, True, np.random.default_rng(0)
    for box in blocks.iterate():
        values, is_missing = _read(blocks, box, markers, with_nan)
        values = values.reshape(-1, blocks.channels)
        if is_missing is not None:
            missing, values = missing + int(is_missing.sum()), values[~is_missing.reshape(-1)]
        if not len(values):
            continue
        _check_finite(blocks.name, values)
        flat, used = values.reshape(-1), values if mix is None else mix(values)
        lows.append(used.min())
        highs.append(used.max())
        two_values = two_values and holds_only(used, lows[-1], highs[-1])
        if total > SORTED:
            index = rng.integers(flat.size, size=-(-flat.size * SORTED // total))
            flat = np.concatenate([flat[index], [flat.min(), flat.max()]])
        some.append(flat)
    if not some:
        return Statistics(0.0, 0.0, np.empty(0), missing, True)
    two_values = two_values and len({*lows, *highs}) <= 2
    return Statistics(min(lows).item(), max(highs).item(), np.concatenate(some), missing, two_values)


def _read(
    blocks: Blocks, box: Box, markers: tuple[float, ...], with_nan: bool
) -> tuple[ndarray, Bool[ndarray, "*axes"] | None]:
    """Return the values of a box of samples, and where they hold no data."""
    values = blocks.read(box)
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.getdata(values), np.ma.getmaskarray(values)[..., 0]
    return values, find_markers(values, markers, with_nan) if markers else None


def _mix(values: ndarray) -> ndarray:
    """Return the mean of the channels."""
    return values.mean(-1, keepdims=True, dtype=np.result_type(values.dtype, np.float32))


def _check_finite(name: str, values: ndarray) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        first = values[~np.isfinite(values)][0]
        raise SignalError(
            f"{name}: has samples that are NaN or infinite; if they are no data, leave them out with --nodata {first:g}"
        )


_OPENERS: dict[str, Callable[[Any, Any], LargeGrid]] = {
    Image.kind: _open_image,
    Audio.kind: _open_audio,
    Volume.kind: _open_volume,
}
