"""Export of fields in folders, region by region, so that memory is taken for a region only."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy import ndarray

from ..fields.folder import FolderField
from ..fields.resample import Progress, grid_record, resample
from ..files import make_folder, name_temporary, naming, replacing
from ..signals.audio import INTEGER_BITS, choose_subtype, write_sound
from ..signals.extras import import_extra
from ..signals.grid import to_dtype
from ..signals.records import MOST_SAMPLES, AudioRecord, GridRecord, ImageRecord, VolumeRecord
from ..signals.volume import as_input
from .errors import ExportError

if TYPE_CHECKING:
    from jaxtyping import Float

    from ..fields import Field

BLOCK_SAMPLES = 1 << 21
"""Samples that are evaluated and written at a time."""
WAV_BYTES = 4_000_000_000
"""More bytes than this are no .wav."""
TIFF_BYTES = (1 << 32) - (1 << 25)
"""More bytes than this are written as BigTIFF."""
STREAMED_PICTURES = (".tif", ".tiff", ".npy")
"""The formats of pictures that are written region by region."""
STREAMED_VOLUMES = (".npy", ".zarr")
"""The formats of volumes that are written region by region."""
_CHUNK = 64


class Spaced(NamedTuple):
    """Equally spaced positions along an axis, in samples of the input.

    Attributes:
        total: how many.
        first: the first of them.
        step: the distance between neighbours.
    """

    total: int
    first: float = 0.0
    step: float = 1.0

    @classmethod
    def filling(cls, size: int, count: int) -> Spaced:
        """Return the middles of `count` cells that fill the same length as the input's `size`."""
        return cls(count, 0.5 * size / count - 0.5, size / count)

    def between(self, start: int, stop: int, size: int) -> slice:
        """Return the range of the positions from `start` on and before `stop`, of an input of `size` samples."""
        low = 0 if start == 0 else math.ceil((start - self.first) / self.step)
        high = self.total if stop == size else math.ceil((stop - self.first) / self.step)
        return slice(min(low, self.total), min(high, self.total))

    def positions(self, part: slice) -> Float[ndarray, " n"]:
        """Return the positions of a range."""
        return self.first + np.arange(part.start, part.stop) * self.step


class Region(NamedTuple):
    """A box of an output, with the values there.

    Attributes:
        box: the samples of the output along each axis.
        values: in the input's units, [*axes, c].
    """

    box: tuple[slice, ...]
    values: ndarray


def evaluate_regions(
    field: FolderField, axes: Sequence[Spaced], progress: Progress = lambda part: None
) -> Iterator[Region]:
    """Evaluate a field at a grid of positions, region by region, in the order of its groups.

    Args:
        field: the field.
        axes: the positions along each axis.
        progress: called with the fraction done, 0 to 1.

    Raises:
        ValueError: the field has values that are not finite.
    """
    shape, groups, done = grid_record(field).shape, field.network.groups, 0
    total = prod(axis.total for axis in axes)
    at_once = max(1, round(BLOCK_SAMPLES / max(total / prod(shape), 1)))
    for source in (band for group in range(groups.count) for band in groups.bands(group, at_once)):
        box = tuple(
            axis.between(part.start, part.stop, size) for axis, part, size in zip(axes, source, shape, strict=True)
        )
        points = prod(part.stop - part.start for part in box)
        if points:
            yield Region(box, resample(field, [axis.positions(part) for axis, part in zip(axes, box, strict=True)]))
            done += points
            progress(done / total)


def scale_axes(record: GridRecord, scale: float, samples: str) -> list[Spaced]:
    """Return the positions along each axis of a grid of `scale` times the input's samples, which fills the same box.

    Args:
        record: the record of the input.
        scale: samples of the output per sample of the input.
        samples: a description of the input, for the message.

    Raises:
        ExportError: no samples would be left, or too many.
    """
    sizes = [round(n * scale) for n in record.shape] if 0 < scale < math.inf else [0]
    if min(sizes) < 1 or prod(sizes) > MOST_SAMPLES:
        raise ExportError(f"--scale {scale:g} of {samples} must leave at least one and at most {MOST_SAMPLES:,}")
    return [Spaced.filling(old, n) for n, old in zip(sizes, record.shape, strict=True)]


class ArrayFile:
    """An array in a file, written box by box without a mapping, which would keep in memory what was written.

    Args:
        path: the file, which has room for the array.
        offset: where the array begins.
        shape: of the array.
        dtype: of its values.
    """

    def __init__(self, path: Path, offset: int, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self.path, self.offset, self.shape, self.dtype = path, offset, tuple(shape), dtype
        self._strides = [prod(self.shape[axis + 1 :]) * dtype.itemsize for axis in range(len(self.shape))]

    def write(self, box: Sequence[slice], values: ndarray) -> None:
        """Write values into a box along the first axes; the others are written whole.

        Raises:
            OSError: the disk is full, or another fault.
        """
        values = np.ascontiguousarray(values, self.dtype)
        # The last of the axes that isn't written whole is that of contiguous runs.
        run = max((a for a, part in enumerate(box) if part.stop - part.start < self.shape[a]), default=0)
        with self.path.open("r+b") as file:
            for outer in product(*(range(part.start, part.stop) for part in box[:run])):
                index = tuple(i - part.start for i, part in zip(outer, box, strict=False))
                start = sum(i * stride for i, stride in zip(outer, self._strides, strict=False))
                file.seek(self.offset + start + box[run].start * self._strides[run])
                file.write(np.ascontiguousarray(values[index]).data)


def stream_image(field: FolderField, output: Path, scale: float, progress: Progress) -> str:
    """Write a fitted picture region by region; a failure leaves an existing file unchanged.

    Args:
        field: of kind "image", in a folder.
        output: the file, one of `STREAMED_PICTURES`; a .tif is written without compression, if need be as BigTIFF.
        scale: pixels of the output per pixel of the input, along each side.
        progress: called with the fraction done, 0 to 1.

    Returns:
        A description of what was written, for the user.

    Raises:
        ExportError: a scale that leaves no pixel or too many.
        OSError: the file cannot be written.
    """
    from ..signals.image.writing import prepare_tiff

    record = field.record
    assert isinstance(record, ImageRecord)
    axes = scale_axes(record, scale, f"{record.shape[1]} x {record.shape[0]} pixels")
    height, width = (axis.total for axis in axes)
    channels = int(field.spec["out_dim"])
    is_tiff = output.suffix.lower() != ".npy"
    convert: Callable[[ndarray], ndarray] = lambda values: to_dtype(values, record.pixel_dtype)  # noqa: E731
    with replacing(output) as path:
        if is_tiff:
            convert, first, options = prepare_tiff(record, channels)
            file = _create_tiff(path, (height, width, *first.shape), first.dtype, options)
        else:
            has_channels = record.ndim == 3 or channels > 1
            shape = (height, width, channels) if has_channels else (height, width)
            file = _create_npy(path, shape, np.dtype(record.pixel_dtype))
        for region in evaluate_regions(field, axes, progress):
            file.write(region.box, convert(region.values))
    return f"{width} x {height} pixels, {record.label}"


def stream_volume(field: FolderField, output: Path, scale: float, progress: Progress) -> tuple[int, ...]:
    """Write a fitted volume region by region; a failure leaves an existing file unchanged.

    Args:
        field: of kind "volume", in a folder.
        output: the file .npy, or the folder .zarr.
        scale: samples of the output per sample of the input, along each axis.
        progress: called with the fraction done, 0 to 1.

    Returns:
        The samples of the output along each axis.

    Raises:
        ExportError: a scale that leaves no sample or too many, or a folder that is there already.
        OSError: the file cannot be written.
    """
    record = field.record
    assert isinstance(record, VolumeRecord)
    axes = scale_axes(record, scale, f"{' x '.join(map(str, record.shape))} samples")
    shape, dtype = tuple(axis.total for axis in axes), np.dtype(record.dtype or "f4")
    if output.suffix.lower() == ".zarr":
        make_folder(output.parent, output)
        _stream_zarr(field, output, axes, progress)
        return shape
    with replacing(output) as path:
        file = _create_npy(path, (*shape, 1)[: record.ndim or 3], dtype)
        for region in evaluate_regions(field, axes, progress):
            file.write(region.box, to_dtype(as_input(region.values, record), dtype.str))
    return shape


def _stream_zarr(field: FolderField, output: Path, axes: list[Spaced], progress: Progress) -> None:
    """Write a volume as a folder .zarr, which appears when it is whole."""
    zarr = import_extra("zarr", "zarr", f"{output}: is written")
    record = field.record
    assert isinstance(record, VolumeRecord)
    if output.exists() or output.is_symlink():
        raise ExportError(f"{output}: is there already; remove it, or name another folder")
    make_folder(output.parent, output)
    temporary = name_temporary(output)
    try:
        with naming(output, temporary):
            shape = tuple(axis.total for axis in axes)
            chunks = tuple(min(n, _CHUNK) for n in shape)
            array = zarr.open(str(temporary), mode="w", shape=shape, chunks=chunks, dtype=record.dtype or "f4")
            array.attrs["spacing"], array.attrs["origin"] = place_axes(field, axes)
            for region in evaluate_regions(field, axes, progress):
                array[region.box] = to_dtype(as_input(region.values, record), record.dtype or "f4")[..., 0]
            temporary.rename(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def place_axes(field: Field, axes: list[Spaced]) -> tuple[list[float], list[float]]:
    """Return the spacing in the world of a volume's samples along each axis, and where the first one lies.

    Args:
        field: of kind "volume".
        axes: the samples along each axis.
    """
    record = field.record
    assert isinstance(record, VolumeRecord)
    sides = list(zip(field.normalization.center, record.shape, record.spacing, axes, strict=True))
    spacings = [step * axis.step for _, _, step, axis in sides]
    return spacings, [middle + (axis.first - (n - 1) / 2) * step for middle, n, step, axis in sides]


def stream_audio(field: FolderField, output: Path, rate: float, progress: Progress) -> tuple[int, str]:
    """Write a fitted sound block by block; a failure leaves an existing file unchanged.

    Args:
        field: of kind "audio", in a folder.
        output: the file; its suffix selects the format.
        rate: samples of the output per second.
        progress: called with the fraction done, 0 to 1.

    Returns:
        The count of samples, and the encoding that was written.

    Raises:
        ExportError: a rate that leaves no sample or too many, or more bytes than a .wav file holds.
        SignalError: the format doesn't hold such a sound.
        OSError: the file cannot be written.
    """
    record, channels = field.record, int(field.spec["out_dim"])
    assert isinstance(record, AudioRecord)
    count = round(record.shape[0] * rate / record.sample_rate) if 0 < rate < math.inf else 0
    if not 1 <= count <= MOST_SAMPLES:
        raise ExportError(f"--sample-rate {rate:g} must leave at least one sample and at most {MOST_SAMPLES:,}")
    if output.suffix.lower() == ".wav":
        subtype = choose_subtype(output, record)
        size = count * channels * INTEGER_BITS.get(subtype, 64 if subtype == "DOUBLE" else 32) // 8
        if size > WAV_BYTES:
            raise ExportError(f"{output}: {size:,} bytes are more than a .wav file holds; use .w64, .rf64 or .flac")
    regions = evaluate_regions(field, [Spaced(count, 0.0, record.sample_rate / rate)], progress)
    with replacing(output) as path:
        if output.suffix.lower() != ".npy":
            return count, write_sound(path, (region.values for region in regions), count, channels, rate, record)
        dtype = np.dtype(record.dtype or "f4")
        file = _create_npy(path, (count, channels)[: record.ndim or 2], dtype)
        for region in regions:
            file.write(region.box, to_dtype(region.values, dtype.str))
        return count, str(dtype)


def _create_npy(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ArrayFile:
    """Create a .npy file with room for an array."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        offset = file.tell()
        file.truncate(offset + prod(shape) * dtype.itemsize)
    return ArrayFile(path, offset, shape, dtype)


def _create_tiff(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], options: dict[str, Any]) -> ArrayFile:
    """Create a TIFF file with room for a picture."""
    import tifffile

    is_big = prod(shape) * dtype.itemsize > TIFF_BYTES
    with tifffile.TiffWriter(path, bigtiff=is_big, byteorder="<") as writer:
        place = writer.write(shape=shape, dtype=dtype, metadata=None, software=False, returnoffset=True, **options)
    assert place is not None
    return ArrayFile(path, int(place[0]), shape, dtype.newbyteorder("<"))
