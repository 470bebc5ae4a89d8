"""Regular samples that are read from a file block by block, so that memory is taken for a block only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy import ndarray

from .errors import SignalError
from .grid import name_of, read_shape

BLOCK_VALUES = 1 << 23
"""The most values, about, of a block in a pass over all samples."""
LARGEST_SEGMENT = 1 << 28
"""The most values of a tile or strip, which is decompressed as a whole."""
Box = Sequence[slice]
"""Whole ranges of samples along each axis, each with a start and a stop."""


@dataclass(frozen=True)
class Blocks:
    """Samples that are read block by block.

    Attributes:
        name: what messages call them.
        shape: the samples along each axis.
        channels: the values per sample.
        dtype: the data type of the values.
        read: the function that reads a box of samples, [*axes, c]; a masked array if the file says which are missing.
    """

    name: str
    shape: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]
    read: Callable[[Box], ndarray]

    def iterate(self) -> Iterator[tuple[slice, ...]]:
        """Yield boxes of about `BLOCK_VALUES` values that divide the samples, of whole rows where there is room."""
        size, steps = BLOCK_VALUES // self.channels, []
        for axis, length in enumerate(self.shape):
            row = prod(self.shape[axis + 1 :])
            steps.append(min(max(size // row, 1), length))
        for starts in product(*(range(0, n, step) for n, step in zip(self.shape, steps, strict=True))):
            yield tuple(
                slice(start, min(start + step, n)) for start, step, n in zip(starts, steps, self.shape, strict=True)
            )


def turn_blocks(blocks: Blocks, order: Sequence[int], flips: Sequence[int]) -> Blocks:
    """Return blocks with their axes in another order, of which some, in the new order, run backwards."""
    if list(order) == list(range(len(order))) and not flips:
        return blocks
    shape = tuple(blocks.shape[axis] for axis in order)

    def read(box: Box) -> ndarray:
        turned = [
            slice(shape[axis] - part.stop, shape[axis] - part.start) if axis in flips else part
            for axis, part in enumerate(box)
        ]
        values = blocks.read([turned[list(order).index(axis)] for axis in range(len(order))])
        return np.flip(values.transpose(*order, len(order)), list(flips)).copy()  # which keeps a mask

    return Blocks(blocks.name, shape, blocks.channels, blocks.dtype, read)


def open_array(source: Path | ndarray, axes: int) -> tuple[Blocks, int]:
    """Return the blocks of an array, or of a .npy file, and the axes of the array, its axis of channels included.

    Args:
        source: the array; its axes may be followed by one of channels.
        axes: the axes of samples.

    Raises:
        SignalError: it is no .npy file, or does not have so many axes.
    """
    name = name_of(source)
    if isinstance(source, Path):
        if source.suffix.lower() != ".npy":
            raise SignalError(f"{name}: is decompressed as a whole; write it with numpy.save, as .npy")
        shape = read_shape(source)
        dtype = np.load(source, allow_pickle=False, mmap_mode="r").dtype
    else:
        shape, dtype = source.shape, source.dtype
    if len(shape) not in (axes, axes + 1):
        raise SignalError(f"{name}: an array of shape {shape} has not {axes} axes, or {axes + 1} with channels")
    if 0 in shape:
        raise SignalError(f"{name}: an array of shape {shape} has no samples")
    channels = shape[axes] if len(shape) > axes else 1

    def read(box: Box) -> ndarray:
        # Mapped anew each time, because what was read of a mapping stays in memory as long as it is open.
        array = source if isinstance(source, ndarray) else np.load(source, allow_pickle=False, mmap_mode="r")
        values = np.array(array[tuple(box)])
        return values.reshape(*(part.stop - part.start for part in box), channels)

    return Blocks(name, tuple(shape[:axes]), channels, dtype, read), len(shape)


def find_turn(orientation: int) -> tuple[tuple[int, int], list[int]]:
    """Return how EXIF's and TIFF's orientation tag, 1 to 8, turns a picture upright (Exif 2.3, section 4.6.4).

    Returns:
        The order of rows (0) and columns (1), and the axes that, in this order, run backwards.
    """
    order = (1, 0) if orientation in (5, 6, 7, 8) else (0, 1)
    return order, [axis for axis, tags in enumerate(((3, 4, 7, 8), (2, 3, 6, 7))) if orientation in tags]


def turn_pixels(values: ndarray, orientation: int, rows: int, columns: int) -> ndarray:
    """Return values turned upright as the orientation tag says, with these axes, see `find_turn`."""
    order, flips = find_turn(orientation)
    turned = values if order == (0, 1) else values.swapaxes(rows, columns)
    return np.ascontiguousarray(np.flip(turned, [(rows, columns)[axis] for axis in flips]))


def open_page(path: Path, page: Any) -> Blocks:
    """Return the blocks of a page of a TIFF file; only the tiles or strips that a block needs are decoded.

    Args:
        path: the file.
        page: its page, of tifffile's, whose file may be closed.

    Raises:
        SignalError: its tiles or strips are so large that they are no help.
    """
    shape = height, width, bands = page.imagelength, page.imagewidth, page.samplesperpixel
    if page.is_memmappable:
        return _map_page(path, page, shape)
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
    if rows * columns * bands > LARGEST_SEGMENT:
        raise SignalError(f"{path}: has tiles or strips of {columns:,} x {rows:,} pixels; save it in smaller tiles")
    across, down = -(-width // columns), -(-height // rows)
    planes = bands if int(page.planarconfig) == 2 else 1
    offsets, lengths, dtype = tuple(page.dataoffsets), tuple(page.databytecounts), np.dtype(page.dtype)
    options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if int(page.compression) in (6, 7) else {}

    def read(box: Box) -> ndarray:
        values = np.full((*(part.stop - part.start for part in box), bands), page.nodata, dtype)
        near = product(
            range(planes),
            range(box[0].start // rows, -(-box[0].stop // rows)),
            range(box[1].start // columns, -(-box[1].stop // columns)),
        )
        with path.open("rb") as file:
            for plane, row, column in near:
                index = (plane * down + row) * across + column
                file.seek(offsets[index])
                data = file.read(lengths[index]) if offsets[index] else b""
                piece = page.decode(data, index, **options)[0] if data else None
                if piece is not None:
                    target = values[..., plane : plane + 1] if planes > 1 else values
                    _copy(target, box, piece[0], (row * rows, column * columns))
        return values

    return Blocks(str(path), (height, width), bands, dtype, read)


def _map_page(path: Path, page: Any, shape: tuple[int, int, int]) -> Blocks:
    """Return the blocks of a page whose samples lie in the file one after another."""
    height, width, bands = shape
    is_planar = int(page.planarconfig) == 2 and bands > 1
    offset, dtype = page.dataoffsets[0], np.dtype(page.parent.byteorder + page.dtype.char)
    order = (bands, height, width) if is_planar else shape

    def read(box: Box) -> ndarray:
        mapped = np.memmap(path, dtype, "r", offset, order)
        rows, columns = box
        values = mapped[:, rows, columns].transpose(1, 2, 0) if is_planar else mapped[rows, columns]
        return np.array(values)

    return Blocks(str(path), (height, width), bands, dtype, read)


def _copy(values: ndarray, box: Box, piece: ndarray, corner: tuple[int, int]) -> None:
    """Copy a tile [h, w, c] with its corner at a sample into the values of a box, as far as it lies there."""
    into, out_of = [], []
    for part, start, length in zip(box, corner, piece.shape[:2], strict=True):
        low, high = max(part.start, start), min(part.stop, start + length)
        into.append(slice(low - part.start, high - part.start))
        out_of.append(slice(low - start, high - start))
    values[tuple(into)] = piece[tuple(out_of)]


def open_sound(path: Path, open_file: Callable[[Path], Any], first: int, count: int, channels: int) -> Blocks:
    """Return the blocks of a sound file's excerpt, in parts of full scale.

    Args:
        path: the file.
        open_file: the function that opens it as a context that yields a `soundfile.SoundFile` and what
            `inspect_sound_file` says of it.
        first: the first sample of the excerpt.
        count: its samples.
        channels: the values per sample.
    """

    def read(box: Box) -> ndarray:
        (part,) = box
        with open_file(path) as (sound, inspected):
            try:
                sound.seek(first + part.start)
                values = sound.read(part.stop - part.start, "float32", always_2d=True)
            except soundfile.SoundFileError as error:
                reason = " ".join(str(error).split())[:120]
                raise SignalError(f"{path}: cannot be read behind sample {first + part.start:,} ({reason})") from error
        if len(values) < part.stop - part.start:
            raise SignalError(
                f"{path}: ends behind sample {first + part.start + len(values):,}, before its header says; fit what is"
                " there with --max-samples"
            )
        return inspected.sort_channels(values)

    return Blocks(str(path), (count,), channels, np.dtype("f4"), read)


def compute_source_digest(source: Path | ndarray) -> str:
    """Return a digest of the bytes of a file, of all files of a folder, or of an array, which are read in blocks."""
    digest = blake2b(digest_size=16)
    if isinstance(source, ndarray):
        digest.update(f"{source.dtype.str} {source.shape}".encode())
        rows = max(1, BLOCK_VALUES // max(1, prod(source.shape[1:])))
        for start in range(0, len(source), rows):
            digest.update(np.ascontiguousarray(source[start : start + rows]).data)
        return digest.hexdigest()
    files = sorted(each for each in source.rglob("*") if each.is_file()) if source.is_dir() else [source]
    for path in files:
        digest.update(f"{path.relative_to(source)} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
