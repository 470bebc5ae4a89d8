"""Fitted images, sounds and volumes as files like those that they were fitted to."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..fields import Field
from ..fields.resample import MOST_POINTS, Progress, resample, resized
from ..files import replacing
from .errors import ExportError, require_kind


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
    return resized(field, size, progress)
