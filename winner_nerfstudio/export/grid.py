"""Fitted images, sounds and volumes as files like those that they were fitted to."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ..fields import Field
from ..files import replacing
from ..signals.grid import Units
from ..signals.lattice import Lattice
from .errors import ExportError, require_kind

Progress = Callable[[float], None]
BLOCK = 1 << 18
"""Points that are evaluated at a time."""
MOST_POINTS = 1 << 30
"""Points that an export may have."""


def export_image(field: Field, output: Path, scale: float = 1.0, progress: Progress = lambda part: None) -> str:
    """Write a fitted picture in the mode and bit depth of the input; a failure leaves what stood there as it was.

    Args:
        field: of kind "image".
        output: the file; its suffix says the format.
        scale: pixels of the output per pixel of the input, along each side.
        progress: called with the part done, 0 to 1.

    Returns:
        What was written, for the user to read.

    Raises:
        ExportError: another kind of field, or a scale that leaves no pixel or too many.
        SignalError: the format doesn't hold such a picture.
        OSError: the file cannot be written.
    """
    from ..signals.errors import SignalError
    from ..signals.image import cannot_save, save_image

    require_kind(field, "picture", "image")
    if problem := cannot_save(output, field.record):
        raise SignalError(f"{output}: {problem}")
    values = _resized(field, scale, "pixels", progress)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as path:
        save_image(path, values, field.record)
    mode, (height, width, _) = field.record["mode"], values.shape
    return f"{width} x {height} pixels, {field.record['dtype'] if mode == 'array' else mode}"


def export_volume(field: Field, output: Path, scale: float = 1.0, progress: Progress = lambda part: None) -> str:
    """Write a fitted volume as an array of the input's data type; a failure leaves what stood there as it was.

    Args:
        field: of kind "volume".
        output: the file, .npy or .npz.
        scale: samples of the output per sample of the input, along each axis.
        progress: called with the part done, 0 to 1.

    Returns:
        What was written, and where its samples lie, for the user to read.

    Raises:
        ExportError: another kind of field, an unknown suffix, or a scale that leaves no sample or too many.
        OSError: the file cannot be written.
    """
    from ..signals.volume import cannot_save, save_volume

    require_kind(field, "array", "volume")
    if problem := cannot_save(output):
        raise ExportError(f"{output}: {problem}")
    values = _resized(field, scale, "samples", progress)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as path:
        save_volume(path, values, field.record)
    spacings = [field.record["spacing"] * old / n for n, old in zip(values.shape, field.record["shape"], strict=False)]
    firsts = [(spacing - field.record["spacing"]) / 2 for spacing in spacings]
    apart, first = (" x ".join(f"{number:.6g}" for number in numbers) for numbers in (spacings, firsts))
    size = " x ".join(map(str, values.shape[:3]))
    return f"{size} samples, {np.dtype(field.record['dtype'])}, {apart} apart, the first at {first}"


def export_audio(
    field: Field, output: Path, sample_rate: float | None = None, progress: Progress = lambda part: None
) -> str:
    """Write a fitted sound at the amplitude of the input; a failure leaves what stood there as it was.

    Args:
        field: of kind "audio".
        output: the file; its suffix says the format.
        sample_rate: samples per second; the input's if left out.
        progress: called with the part done, 0 to 1.

    Returns:
        What was written, for the user to read.

    Raises:
        ExportError: another kind of field, or a rate that leaves no sample or too many.
        SignalError: the format doesn't hold such a sound.
        OSError: the file cannot be written.
    """
    from ..signals.audio import cannot_save, save_audio
    from ..signals.errors import SignalError

    require_kind(field, "sound", "audio")
    own = float(field.record["sample_rate"])
    rate = own if sample_rate is None else sample_rate
    (shape,) = field.record["shape"]
    count = round(shape * rate / own) if 0 < rate < float("inf") else 0
    if not 1 <= count <= MOST_POINTS:
        raise ExportError(
            f"--sample-rate {rate:g} of {shape / own:.4g} s must leave at least one sample and at most {MOST_POINTS:,}"
        )
    if problem := cannot_save(output, rate, int(field.spec["out_dim"]), field.record):
        raise SignalError(f"{output}: {problem}")
    values = resample(field, [np.arange(count) * (own / rate)], progress)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as path:
        written = save_audio(path, values, rate, field.record)
    return f"{count:,} samples at {rate:g} Hz ({count / rate:.4g} s), channels: {values.shape[-1]}, {written}"


def _resized(field: Field, scale: float, what: str, progress: Progress) -> Float[ndarray, "*axes c"]:
    """A field's values at `scale` times the samples of the input along each axis."""
    shape = tuple(field.record["shape"])
    size = tuple(round(n * scale) for n in shape) if 0 < scale < float("inf") else (0,)
    if min(size) < 1 or np.prod(size, dtype=float) > MOST_POINTS:
        old = " x ".join(map(str, shape[::-1] if field.kind == "image" else shape))
        raise ExportError(f"--scale {scale:g} of {old} {what} must leave at least one and at most {MOST_POINTS:,}")
    # Samples are areas when a grid is resized: the outer edges coincide, not the outer centres.
    places = [(np.arange(n) + 0.5) * old / n - 0.5 for n, old in zip(size, shape, strict=True)]
    return resample(field, places, progress)


def resample(
    field: Field, places: list[Float[ndarray, " n"]], progress: Progress = lambda part: None
) -> Float[ndarray, "*axes c"]:
    """A field's values, in the input's own units, at the product of places along each axis; float32 or float64.

    Memory: that of the result and of `BLOCK` points, besides the network's.

    Args:
        field: one that was fitted to a grid, so that its record has ``shape``, ``offset`` and ``amplitude``.
        places: positions in samples of the input, 0 the first; beyond the first or last, theirs is taken.
        progress: called with the part done, 0 to 1.

    Raises:
        ExportError: the field has values that are not finite.
    """
    lattice = Lattice(tuple(field.record["shape"]))
    units = Units(field.record["offset"], field.record["amplitude"])
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
            raise ExportError("the field has values that are not finite: the fit has diverged")
        result[start:stop] = units.to_own(values)
        progress(stop / fine.count)
    return result.reshape(*fine.shape, channels)


def _fits_single(units: Units) -> bool:
    return abs(units.offset) + units.amplitude < 2**20 and units.amplitude > 2**-20 * max(abs(units.offset), 1e-20)
