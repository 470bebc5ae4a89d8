"""Export of fitted images, sounds and volumes in the formats of their inputs."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..fields import Field
from ..fields.folder import FolderField
from ..fields.resample import MOST_POINTS, Progress, grid_record, resample, resized, sound_positions
from ..files import replacing
from ..registry import require_result
from ..signals.errors import SignalError
from ..signals.records import AudioRecord, ImageRecord, VolumeRecord
from .errors import ExportError
from .large import (
    STREAMED_PICTURES,
    STREAMED_VOLUMES,
    Spaced,
    place_axes,
    stream_audio,
    stream_image,
    stream_volume,
)

MOST_WHOLE = 1 << 27
"""The most samples of a field in a folder that are written in a format that needs them all at once."""


def export_image(field: Field, output: Path, scale: float = 1.0, progress: Progress = lambda part: None) -> str:
    """Write a fitted picture in the mode and bit depth of the input; a failure leaves an existing file unchanged.

    Args:
        field: of kind "image".
        output: the file; its suffix selects the format.
        scale: pixels of the output per pixel of the input, along each side.
        progress: called with the fraction done, 0 to 1.

    Returns:
        A description of what was written, for the user.

    Raises:
        ExportError: another kind of field, or a scale that leaves no pixel or too many.
        SignalError: the format doesn't hold such a picture.
        OSError: the file cannot be written.
    """
    from ..signals.image import save_image

    require_result(field.kind, "image")
    record = check_image_format(field, output, scale)
    if isinstance(field, FolderField) and output.suffix.lower() in STREAMED_PICTURES and record.mode != "1":
        return stream_image(field, output, scale, progress)
    values = _evaluate_scaled(field, scale, f"{record.shape[1]} x {record.shape[0]} pixels", progress)
    with replacing(output) as path:
        save_image(path, values, record)
    height, width, _ = values.shape
    return f"{width} x {height} pixels, {record.label}"


def check_image_format(field: Field, output: Path, scale: float = 1.0) -> ImageRecord:
    """Check that a file's format holds a fitted picture at a scale, and return the picture's record.

    Raises:
        SignalError: it does not; the message is one line.
    """
    from ..signals.image import cannot_save

    record = field.record
    assert isinstance(record, ImageRecord)
    if problem := cannot_save(output, record, scale):
        raise SignalError(f"{output}: {problem}")
    return record


def export_volume(field: Field, output: Path, scale: float = 1.0, progress: Progress = lambda part: None) -> str:
    """Write a fitted volume as an array of the input's data type; a failure leaves an existing file unchanged.

    Args:
        field: of kind "volume".
        output: the file, .npy or .npz; of a field in a folder also .zarr.
        scale: samples of the output per sample of the input, along each axis.
        progress: called with the fraction done, 0 to 1.

    Returns:
        A description of what was written and where its samples lie, for the user.

    Raises:
        ExportError: another kind of field, an unknown suffix, or a scale that leaves no sample or too many.
        OSError: the file cannot be written.
    """
    from ..signals.volume import cannot_save, save_volume

    require_result(field.kind, "volume")
    record = field.record
    assert isinstance(record, VolumeRecord)
    if isinstance(field, FolderField) and output.suffix.lower() in STREAMED_VOLUMES:
        shape = stream_volume(field, output, scale, progress)
    else:
        if problem := cannot_save(output):
            raise ExportError(f"{output}: {problem}{' .zarr' * isinstance(field, FolderField)}")
        values = _evaluate_scaled(field, scale, f"{' x '.join(map(str, record.shape))} samples", progress)
        with replacing(output) as path:
            save_volume(path, values, record)
        shape = values.shape[:3]
    axes = [Spaced.filling(old, n) for old, n in zip(record.shape, shape, strict=True)]
    apart, first = (" x ".join(f"{value:.6g}" for value in each) for each in place_axes(field, axes))
    size = " x ".join(map(str, shape))
    return f"{size} samples, {np.dtype(record.dtype)}, {apart} apart, the first at {first}"


def export_audio(
    field: Field, output: Path, sample_rate: float | None = None, progress: Progress = lambda part: None
) -> str:
    """Write a fitted sound at the amplitude of the input; a failure leaves an existing file unchanged.

    Args:
        field: of kind "audio".
        output: the file; its suffix selects the format.
        sample_rate: samples per second; the input's if left out.
        progress: called with the fraction done, 0 to 1.

    Returns:
        A description of what was written, for the user.

    Raises:
        ExportError: another kind of field, or a rate that leaves no sample or too many.
        SignalError: the format doesn't hold such a sound.
        OSError: the file cannot be written.
    """
    from ..signals.audio import save_audio

    require_result(field.kind, "audio")
    record = field.record
    assert isinstance(record, AudioRecord)
    rate, channels = record.sample_rate if sample_rate is None else sample_rate, int(field.spec["out_dim"])
    if isinstance(field, FolderField):
        check_audio_format(field, output, rate)
        count, written = stream_audio(field, output, rate, progress)
    else:
        check_audio_format(field, output, rate)
        values = resample(field, [sound_positions(record, rate, "--sample-rate")], progress)
        count = len(values)
        with replacing(output) as path:
            written = save_audio(path, values, rate, record)
    return f"{count:,} samples at {rate:g} Hz ({count / rate:.4g} s), channels: {channels}, {written}"


def check_audio_format(field: Field, output: Path, sample_rate: float | None) -> None:
    """Check that a file's format holds a fitted sound at a sampling rate, or at that of the input if it is None.

    Raises:
        SignalError: it does not; the message is one line.
    """
    from ..signals.audio import cannot_save

    record = field.record
    assert isinstance(record, AudioRecord)
    rate = record.sample_rate if sample_rate is None else sample_rate
    if not isinstance(field, FolderField):
        sound_positions(record, rate, "--sample-rate")
    if problem := cannot_save(output, rate, int(field.spec["out_dim"]), record):
        raise SignalError(f"{output}: {problem}")


def _evaluate_scaled(field: Field, scale: float, samples: str, progress: Progress) -> Float[ndarray, "*axes c"]:
    """Evaluate a field at `scale` times the input's samples along each axis; `what` describes the input."""
    size = tuple(round(n * scale) for n in grid_record(field).shape) if 0 < scale < float("inf") else (0,)
    if min(size) < 1 or np.prod(size, dtype=float) > MOST_POINTS:
        raise ExportError(f"--scale {scale:g} of {samples} must leave at least one and at most {MOST_POINTS:,}")
    if isinstance(field, FolderField) and np.prod(size) > MOST_WHOLE:
        formats = STREAMED_PICTURES if field.kind == "image" else STREAMED_VOLUMES
        raise ExportError(f"{np.prod(size):,} samples are written into {' or '.join(formats)} only")
    return resized(field, size, progress)
