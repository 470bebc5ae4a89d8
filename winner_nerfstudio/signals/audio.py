"""Loading and saving of sounds and other series: they are fitted in [-1, 1] and written back in their format."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from numpy import ndarray

from .errors import SignalError
from .grid import Grid, check_values, name_of, read_array, write_array
from .lattice import Lattice
from .nodata import check_range, separate_missing
from .options import AudioOptions
from .records import AudioRecord
from .samples import SOUNDS, sample
from .units import Units

ARRAYS = (".npy",)
INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""Bits of the integer subtypes; rounded here, because libsndfile reads with a factor of 32768 but writes with 32767."""
FLOATING = ("FLOAT", "DOUBLE")
"""Subtypes that can hold values beyond full scale."""
COMMON = (*INTEGER_BITS, *FLOATING)
"""Subtypes that mean the same in any file format; the others are kept only if the file format is the same."""
BLOCK = 1 << 16
"""Samples that are read or written at a time; libsndfile's Vorbis encoder fails on millions at once."""
UNKNOWN_FRAMES = 1 << 60
"""The least length, in samples, that means that the file does not state its length."""
MAX_CHANNELS = 16
"""The most channels that a series may have."""


class Audio(Grid[AudioRecord]):
    """A sound: values [samples, channels]; in the world a sample's coordinate is its time in seconds.

    The first and the last sample lie at -1 and 1. The values of a sound are divided by their greatest magnitude over
    all channels; those of an array are shifted and scaled so that their range becomes [-1, 1].
    """

    kind: ClassVar[str] = "audio"

    @property
    def sample_rate(self) -> float:
        """Samples per second."""
        return float(self.draft.sample_rate)


def load_audio(source: str | Path | ndarray, options: AudioOptions | None = None) -> Audio:
    """Load a sound from a file that libsndfile reads (.wav .flac .ogg .mp3 .aiff ...), a series, or a sample.

    Args:
        source: a path; a series, an array or one in .npy, is [samples] or [samples, channels] of any real type;
            ``sample:NAME`` with a name from `SOUNDS`.
        options: the excerpt, the noise, the reference and the part of the samples that is fitted.

    Raises:
        SignalError: a missing or unreadable file, nothing in it, or samples that cannot be fitted.
    """
    options = options or AudioOptions()
    options.check()
    audio = _load(source, options)
    return audio.under(options, None if options.reference is None else _load(str(options.reference), options))


def excerpt(options: AudioOptions, name: str, total: int, rate: float) -> tuple[int, int]:
    """Return the index of the first sample that is fitted, and the count of samples that are.

    Args:
        options: the options that give the excerpt's start and length.
        name: what error messages call the recording.
        total: count of samples of the whole recording.
        rate: samples per second.

    Raises:
        SignalError: the excerpt has no samples.
    """
    first = round(min(options.start * rate, total))
    count = total - first
    if options.duration is not None:
        count = round(min(options.duration * rate, count))
    if options.max_samples is not None:
        count = min(count, options.max_samples)
    if count < 1:
        raise SignalError(
            f"{name}: has {total:,} samples ({total / rate:.6g} s), of which the excerpt leaves none; check start"
            " and duration"
        )
    return first, count


def _load(source: str | Path | ndarray, options: AudioOptions) -> Audio:
    """Load a sound without the noise, the reference or the held-out samples that `options` may ask for."""
    name = name_of(source)
    if options.sample_rate is not None and not 0 < options.sample_rate < float("inf"):
        raise SignalError(f"{name}: sample_rate={options.sample_rate} must be positive and finite")
    if name.startswith("sample:"):
        whole, rate = sample(SOUNDS, name, "sound")
        first, count = excerpt(options, name, len(whole), rate)
        values = whole[first : first + count].astype(np.float32)
        entries: dict[str, Any] = {"format": "WAV", "subtype": "PCM_16", "sample_rate": rate}
    elif isinstance(source, ndarray):
        values, first, entries = _read_series(source, options)
    else:
        path = Path(source)
        if not path.is_file():
            what = "is a folder, not a sound" if path.is_dir() else "no such file"
            raise SignalError(f"{name}: {what}; give a sound, or sample:NAME with one of {', '.join(sorted(SOUNDS))}")
        read = _read_series if path.suffix.lower() in ARRAYS else _read_sound
        values, first, entries = read(path, options)
    check_values(name, values)
    screened = separate_missing(name, values, options.nodata)
    warnings = check_range(name, screened, options.nodata)
    values = screened.values
    if options.mono and values.shape[1] > 1:
        values = values.mean(1, keepdims=True, dtype=np.result_type(values.dtype, np.float32))
    audio = _make_audio(name, values, first, entries)
    return replace(audio, notes=(*audio.notes, *screened.notes, *warnings), missing=screened.missing)


def _make_audio(name: str, values: ndarray, first: int, entries: dict[str, Any]) -> Audio:
    """Make a sound of samples [n, c]; `first` is the index of the first of them in the whole recording."""
    low, high = float(values.min()), float(values.max())
    peak = max(abs(low), abs(high))
    is_array = entries["format"] == "array"
    units = Units.spanning(low, high) if is_array else Units(0.0, peak or 1.0)
    rate, (count, channels) = entries["sample_rate"], values.shape
    encoding = entries["dtype"] if is_array else f"{entries['format']}, {entries['subtype']}"
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
    notes = [f"{count:,} samples at {rate:g} Hz ({count / rate:.4g} s), {layout} ({encoding})"]
    if peak == 0:
        notes.append("warning: every sample is 0; there is nothing to learn but silence")
    lattice = Lattice((count,))
    draft = AudioRecord(shape=(count,), offset=units.offset, amplitude=units.amplitude, digest="", **entries)
    candidates = (Path(name).suffix.lower(), ".wav", ".npy")
    suffix = next(suffix for suffix in candidates if not cannot_save(Path(f"fit{suffix}"), rate, channels, draft))
    measure = f"{values.dtype if is_array else 'parts of full scale'} at {rate:g} Hz"
    normalization = lattice.normalization(1 / rate, first / rate)
    return Audio(name, units.to_unit(values), normalization, units, draft, suffix, measure, tuple(notes))


def _read_sound(path: Path, options: AudioOptions) -> tuple[ndarray, int, dict[str, Any]]:
    """Return a sound file's excerpt [n, c], the index of its first sample, and the entries of its record."""
    sample_rate = options.sample_rate
    try:
        with soundfile.SoundFile(path) as sound:
            if sample_rate is not None and sample_rate != sound.samplerate:
                raise SignalError(
                    f"{path}: the file says {sound.samplerate} Hz itself; leave out sample_rate={sample_rate:g}"
                )
            if sound.frames < UNKNOWN_FRAMES:
                first, count = excerpt(options, str(path), sound.frames, sound.samplerate)
                if first and sound.seekable():
                    sound.seek(first)
                elif first:
                    _read_blocks(sound, first)
                values = sound.read(count, dtype="float32", always_2d=True)
            else:  # the file was written as a stream, which does not state its length
                values = _read_blocks(sound, UNKNOWN_FRAMES)
                first, count = excerpt(options, str(path), len(values), sound.samplerate)
                values = values[first : first + count]
            entries = {"format": sound.format, "subtype": sound.subtype, "sample_rate": sound.samplerate}
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        reason = " ".join(str(getattr(error, "error_string", error)).split())[:120]
        raise SignalError(
            f"{path}: cannot be read as a sound ({reason}); use .wav .flac .ogg .mp3 .aiff, or .npy"
        ) from error
    if len(values) == 0:
        raise SignalError(f"{path}: holds no samples")
    return values, first, entries


def _read_blocks(sound: soundfile.SoundFile, most: int) -> ndarray:
    """Read the next samples, at most `most` of them, [n, c], from a file that may not state its length."""
    blocks = [np.empty((0, sound.channels), np.float32)]
    while most > 0 and len(block := sound.read(min(BLOCK, most), dtype="float32", always_2d=True)):
        blocks.append(block)
        most -= len(block)
    return np.concatenate(blocks)


def _read_series(source: Path | ndarray, options: AudioOptions) -> tuple[ndarray, int, dict[str, Any]]:
    """Return an array's excerpt [n, c], the index of its first sample, and the entries of its record."""
    name = name_of(source)

    def check(shape: tuple[int, ...]) -> None:
        if len(shape) not in (1, 2) or (len(shape) == 2 and shape[-1] > MAX_CHANNELS):
            raise SignalError(
                f"{name}: an array of shape {shape} is no series; [samples] or [samples, channels] with at most"
                f" {MAX_CHANNELS} channels is needed"
            )
        if len(shape) == 2 and 0 < shape[0] < shape[1]:
            raise SignalError(
                f"{name}: an array of shape {shape} is {shape[0]} samples of {shape[1]} channels if channels come last,"
                f" {shape[1]} of {shape[0]} if they come first; they belong last: transpose it"
            )

    array = read_array(source, check)
    rate = 1.0 if options.sample_rate is None else float(options.sample_rate)
    first, count = excerpt(options, name, len(array), rate)
    entries = {"format": "array", "dtype": array.dtype.str, "ndim": array.ndim, "sample_rate": rate}
    part = array[first : first + count].reshape(count, -1)
    check_values(name, part)
    return part, first, entries


def save_audio(path: Path, values: ndarray, sample_rate: float, record: AudioRecord) -> str:
    """Write a sound with the subtype of its `record`, or with the format's default if the format lacks that subtype.

    Args:
        path: the file; its suffix says the format: what libsndfile writes, or .npy.
        values: in the sound's units, [n, c]; full scale is 1 unless the input was an array.
        sample_rate: samples per second; it must be a whole number unless the file is .npy.
        record: the record of the sound that `load_audio` returned.

    Returns:
        The subtype or data type that was written.

    Raises:
        SignalError: the format cannot hold it.
    """
    problem = cannot_save(path, sample_rate, values.shape[1], record)
    if problem:
        raise SignalError(f"{path.name}: {problem}")
    dtype = record.dtype  # None unless the input was an array
    if path.suffix.lower() in ARRAYS:
        return str(write_array(path, values, dtype or "f4", record.ndim or 2).dtype)
    form, subtype = _find_format(path), _choose_subtype(path, record)
    scale, shift = 1.0, 0.0
    if dtype is not None and np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        scale, shift = 2 / (int(limits.max) - int(limits.min) + 1), (int(limits.min) + int(limits.max) + 1) / 2
    elif dtype is not None and subtype not in FLOATING and float(np.abs(values).max()) > 1:
        raise SignalError(
            f"{path.name}: values reach {float(np.abs(values).max()):.4g}, {subtype} holds -1 to 1; use .wav or .npy"
        )
    try:
        with soundfile.SoundFile(path, "w", round(sample_rate), values.shape[1], subtype, format=form) as sound:
            for start in range(0, len(values), BLOCK):
                # In float64, because float32 cannot represent 2^31 - 1.
                sound.write(_encode((values[start : start + BLOCK].astype(np.float64) - shift) * scale, subtype))
    except (soundfile.SoundFileError, OverflowError) as error:
        reason = " ".join(str(getattr(error, "error_string", error)).split())[:120]
        raise SignalError(f"{path.name}: cannot be written ({reason})") from error
    return subtype


def _encode(values: ndarray, subtype: str) -> ndarray:
    """Convert samples of full scale 1 to what libsndfile expects: clipped and rounded as the subtype requires."""
    if subtype in FLOATING:
        return values
    if subtype not in INTEGER_BITS:
        return values.clip(-1, 1)
    bits = INTEGER_BITS[subtype]
    whole = np.rint(values * 2.0 ** (bits - 1)).clip(-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    return whole.astype(np.int32) << (32 - bits)


def cannot_save(path: Path, sample_rate: float, channels: int, record: AudioRecord) -> str | None:
    """Return one line that says why a sound with this record cannot be written to this path, or None if it can."""
    if path.suffix.lower() in ARRAYS:
        return None
    if _find_format(path) not in soundfile.available_formats() or _find_format(path) == "RAW":
        return f"unknown sound format {path.suffix!r}; use one of .wav .flac .ogg .mp3 .aiff .npy"
    if sample_rate != round(sample_rate) or not 1 <= sample_rate < 2**31:
        return f"a sound file has a whole number of samples per second, not {sample_rate:g}; use .npy or --sample-rate"
    try:
        # A trial in memory, because only libsndfile knows which rates and channels a format accepts.
        with soundfile.SoundFile(
            BytesIO(), "w", round(sample_rate), channels, _choose_subtype(path, record), format=_find_format(path)
        ):
            return None
    except (soundfile.SoundFileError, ValueError):
        return (
            f"{_find_format(path)} cannot hold {_choose_subtype(path, record)} of {channels} channels at"
            f" {sample_rate:g} Hz; use .wav or another --sample-rate"
        )


def _find_format(path: Path) -> str:
    """Return libsndfile's name for the file format that a path's suffix stands for."""
    suffix = path.suffix.lower().lstrip(".")
    return {"aif": "AIFF", "oga": "OGG", "opus": "OGG"}.get(suffix, suffix.upper())


def _choose_subtype(path: Path, record: AudioRecord) -> str:
    """Return the record's subtype if the format of the file has it, else the format's default subtype."""
    if record.dtype is not None:
        subtype = {"u1": "PCM_16", "i1": "PCM_16", "i2": "PCM_16", "u2": "PCM_16", "i4": "PCM_32"}.get(
            record.dtype.lstrip("<>|="), "FLOAT"
        )
    else:
        subtype = record.subtype or ""
    form = _find_format(path)
    is_kept = subtype in soundfile.available_subtypes(form) and (subtype in COMMON or form == record.format)
    return subtype if is_kept else str(soundfile.default_subtype(form))
