"""Loading and saving of sounds and other series: they are fitted in [-1, 1] and written back in their format."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import soundfile
from numpy import ndarray

from .errors import SignalError, check_file
from .grid import Grid, check_values, name_of, read_array, write_array
from .lattice import Lattice
from .muting import mute_libraries
from .nodata import check_range, separate_missing
from .ogg_pages import shorten
from .options import AudioOptions, NoData
from .records import GREATEST_RATE, LEAST_RATE, AudioRecord
from .samples import SOUNDS, sample
from .sound_files import XIPH_ORDERS, SoundFile, Spliced, inspect_sound_file
from .units import Units

ARRAYS = (".npy",)
INTEGER_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
"""Bits of the integer subtypes; rounded here, because libsndfile reads with a factor of 32768 but writes with 32767."""
ALAC = {"ALAC_16": "PCM_16", "ALAC_20": "PCM_24", "ALAC_24": "PCM_24", "ALAC_32": "PCM_32"}
"""Subtypes of Apple's lossless codec, with those that hold as much in the file formats that don't have it."""
FLOATING = ("FLOAT", "DOUBLE")
"""Subtypes that can hold values beyond full scale."""
OPUS_RATE, OPUS_DELAY = 48_000, 312
"""Samples per second by which Opus counts, whatever the sound's rate, and how many of them its encoder is behind."""
SYSTEM_ERROR = 2
"""libsndfile's code for what the operating system refuses."""
XIPH = ("VORBIS", "OPUS")
"""Subtypes with an order of channels of their own."""
COMMON = (*INTEGER_BITS, *FLOATING)
"""Subtypes that mean the same in any file format; the others are kept only if the file format is the same."""
PROMISED = {
    ".aif": ("AIFF", None),
    ".aifc": ("AIFF", None),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".oga": ("OGG", None),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".snd": ("AU", None),
}
"""libsndfile's file format, and its only subtype if there is one, that other programs expect of a suffix; the format of
any other suffix is spelt like it."""
USUAL_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
"""Sample rates that an error message tries and names."""
FASTEST_VORBIS, MOST_VORBIS = 200_000, 255
"""Samples per second and channels beyond which libsndfile crashes in place of refusing a Vorbis sound."""
FEWEST_STEPS = 2
"""A sound that spans fewer steps of its format is told to be next to silent."""
LONGEST_PADDING = 1 << 13
"""The most samples by which a lossy encoder may lengthen a sound."""
BLOCK = 1 << 16
"""Samples that are written at a time; libsndfile's Vorbis encoder fails on millions at once."""
READ_BLOCK = 1 << 24
"""Values that are read at a time, so that memory is taken for what the file holds, not for what its header says."""
MOST_VALUES = 200_000_000
"""More values than this, over all channels, are fitted only if they are asked for."""
MOST_PER_BYTE = 1 << 13
"""The most samples, approximately, that a byte of the densest format can stand for; a greater length is no length."""
MAX_CHANNELS = 16
"""The most channels that a series may have."""
LONGEST = 1 << 62
"""More samples than any file holds."""


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
    return audio.under(options, None if options.reference is None else _load(options.reference, options))


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
    if total < 1:
        raise SignalError(f"{name}: has 0 samples; there is nothing to fit")
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
    if options.sample_rate is not None and not LEAST_RATE <= options.sample_rate <= GREATEST_RATE:
        raise SignalError(
            f"{name}: sample_rate={options.sample_rate} must be positive and finite, {LEAST_RATE:g} to"
            f" {GREATEST_RATE:g}"
        )
    notes: tuple[str, ...] = ()
    if name.startswith("sample:"):
        whole, rate = sample(SOUNDS, name, "sound")
        first, count = excerpt(options, name, len(whole), rate)
        values = whole[first : first + count].astype(np.float32)
        entries: dict[str, Any] = {"format": "WAV", "subtype": "PCM_16", "sample_rate": rate}
    elif isinstance(source, ndarray):
        values, first, entries = _read_series(source, options)
    else:
        path = Path(source)
        check_file(path, "a sound", f"give a sound, or sample:NAME with one of {', '.join(sorted(SOUNDS))}")
        if path.suffix.lower() in ARRAYS:
            values, first, entries = _read_series(path, options)
        else:
            values, first, entries, notes = _read_sound(path, options)
    check_values(name, values)
    screened = separate_missing(name, values, options.nodata)
    warnings = check_range(name, screened, choose_nodata(entries, options.nodata))
    values = screened.values
    if options.mono and values.shape[1] > 1:
        values = values.mean(1, keepdims=True, dtype=np.result_type(values.dtype, np.float32))
    audio = _make_audio(name, values, first, entries, notes)
    return replace(audio, notes=(*audio.notes, *screened.notes, *warnings), missing=screened.missing)


def choose_nodata(entries: dict[str, Any], nodata: NoData) -> NoData:
    """Return the option by which a sound's range is checked: steps of a converter are all data, a few a click."""
    is_converted = entries["format"] != "array" and entries["subtype"] not in FLOATING
    return "keep" if is_converted else nodata


def _make_audio(
    name: str, values: ndarray, first: int, entries: dict[str, Any], reading: tuple[str, ...] = ()
) -> Audio:
    """Make a sound of samples [n, c].

    Args:
        name: what messages call it.
        values: its samples.
        first: the index of the first of them in the whole recording.
        entries: of its record.
        reading: notes on how the file was read.
    """
    low, high = float(values.min()), float(values.max())
    peak = max(abs(low), abs(high))
    is_array = entries["format"] == "array"
    units = Units.spanning(low, high) if is_array else Units(0.0, peak or 1.0)
    rate, (count, channels) = entries["sample_rate"], values.shape
    encoding = entries["dtype"] if is_array else f"{entries['format']}, {entries['subtype']}"
    layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
    notes = [f"{count:,} samples at {rate:g} Hz ({count / rate:.4g} s), {layout} ({encoding})", *reading]
    if peak > 1 and not is_array:
        notes.append(f"values reach {peak:.4g} times full scale; none was clipped")
    if peak == 0:
        notes.append("warning: every sample is 0; there is nothing to learn but silence")
    lattice = Lattice((count,))
    draft = AudioRecord(shape=(count,), offset=units.offset, amplitude=units.amplitude, digest="", **entries)
    candidates = (Path(name).suffix.lower(), ".wav", ".npy")
    suffix = next(suffix for suffix in candidates if not cannot_save(Path(f"fit{suffix}"), rate, channels, draft))
    measure = f"{values.dtype if is_array else 'parts of full scale'} at {rate:g} Hz"
    normalization = lattice.normalization(1 / rate, (first / rate,))
    return Audio(name, units.to_unit(values), normalization, units, draft, suffix, measure, tuple(notes))


def _read_sound(path: Path, options: AudioOptions) -> tuple[ndarray, int, dict[str, Any], tuple[str, ...]]:
    """Return a sound file's excerpt [n, c], the index of its first sample, the entries of its record, and notes."""
    sample_rate = options.sample_rate
    try:
        with mute_libraries(), open_sound_file(path) as (sound, inspected):
            if sample_rate is not None and sample_rate != sound.samplerate:
                raise SignalError(
                    f"{path}: the file says {sound.samplerate} Hz itself; leave out sample_rate={sample_rate:g}"
                )
            values, first, notes = _read_excerpt(path, sound, inspected, options)
            entries = {"format": sound.format, "subtype": sound.subtype, "sample_rate": sound.samplerate}
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        raise SignalError(
            f"{path}: cannot be read as a sound ({find_reason(error)}); use .wav .flac .ogg .opus .mp3 .aiff .au .caf,"
            " or .npy"
        ) from error
    return values, first, entries, (*inspected.notes, *notes)


@contextmanager
def open_sound_file(path: Path) -> Iterator[tuple[soundfile.SoundFile, SoundFile]]:
    """Open a sound file with its header set right; yield it and what was found of it."""
    inspected = inspect_sound_file(path)
    with path.open("rb") as file, _open_stream(path, file, inspected) as sound:
        yield sound, inspected


def _open_stream(path: Path, file: BinaryIO, inspected: SoundFile) -> soundfile.SoundFile:
    """Open a sound by what it holds: of a name's suffix libsndfile would believe that there is no header."""
    try:
        return soundfile.SoundFile(Spliced(file, inspected.parts or ((0, path.stat().st_size),)))
    except soundfile.SoundFileError as error:
        if path.suffix.lower() == ".mp3":  # by this name it looks for the first whole frame of a recorded stream
            with suppress(soundfile.SoundFileError):
                return soundfile.SoundFile(_name_file(path))
        raise error


def _name_file(path: Path) -> str | bytes:
    """Return a file's name as soundfile takes it: where names are bytes as these, which may be no UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _read_excerpt(
    path: Path, sound: soundfile.SoundFile, inspected: SoundFile, options: AudioOptions
) -> tuple[ndarray, int, list[str]]:
    """Return the samples that are fitted [n, c], the index of the first of them, and what else is to be told."""
    name, rate = str(path), sound.samplerate
    most = MOST_VALUES // sound.channels if options.max_samples is None else LONGEST
    if sound.frames <= MOST_PER_BYTE * path.stat().st_size:
        total, told = inspected.without_padding(sound.frames)
        first, count = excerpt(options, name, total, rate)
        _check_size(name, count, most, sound)
        if first and sound.seekable():
            sound.seek(first)
        elif first:
            _read_blocks(sound, first)
        values, notes = _read_blocks(sound, count)
        if len(values) < count and not notes:
            notes = [f"warning: the header says {sound.frames:,} samples, the file holds {first + len(values):,}"]
        notes = [*told, *notes]
    else:  # the header does not state the length, or one that no file of this size can have
        values, notes = _read_blocks(sound, most + 1)
        first, count = excerpt(options, name, len(values), rate)
        _check_size(name, count, most, sound)
        values, notes = values[first : first + count], ["the header does not state the length", *notes]
    if len(values) == 0:
        raise SignalError(f"{name}: its header says {sound.frames:,} samples, of which the file holds none here")
    return inspected.sort_channels(values), first, notes


def _check_size(name: str, count: int, most: int, sound: soundfile.SoundFile) -> None:
    """Check that a sound has no more samples than are fitted without being asked for.

    Raises:
        SignalError: it has more.
    """
    if count > most:
        raise SignalError(
            f"{name}: more than {most:,} samples of {sound.channels} channels need over"
            f" {most * sound.channels * 16 / 1e9:.3g} GB of memory; fit a part with --duration, or say --max-samples if"
            " the memory is there"
        )


def _read_blocks(sound: soundfile.SoundFile, most: int) -> tuple[ndarray, list[str]]:
    """Read the next samples, at most `most` of them, [n, c], and a note if the file is broken behind them."""
    blocks, notes = [np.empty((0, sound.channels), np.float32)], []
    while most > 0:
        block = np.full((min(max(READ_BLOCK // sound.channels, 1), most), sound.channels), np.nan, np.float32)
        try:
            count = len(sound.read(out=block, always_2d=True))
        except soundfile.SoundFileError as error:
            # What was decoded before the error is in the block; the rest of it is still NaN.
            count = int(np.isfinite(block).all(-1).argmin()) if np.isnan(block).any() else len(block)
            read = sum(map(len, blocks)) + count
            if read == 0:
                raise
            if "seek" not in find_reason(error):  # where the length is not known, this is how the end shows
                notes.append(f"warning: cannot be read behind sample {read:,} ({find_reason(error)}); it was cut off")
            most = 0
        if count == 0:
            break
        blocks.append(block[:count])
        most -= count
    return (np.concatenate(blocks) if len(blocks) > 2 else blocks[-1]), notes


def find_reason(error: Exception) -> str:
    """Return what libsndfile says, in one line."""
    if "SF_INFO struct incomplete" in str(error):
        return "its header has no sample rate that can be, or no channels"
    return " ".join(str(getattr(error, "error_string", error)).split())[:120]


def check_series(name: str, shape: tuple[int, ...]) -> None:
    """Check that an array of this shape is a series.

    Raises:
        SignalError: it is not.
    """
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


def _read_series(source: Path | ndarray, options: AudioOptions) -> tuple[ndarray, int, dict[str, Any]]:
    """Return an array's excerpt [n, c], the index of its first sample, and the entries of its record."""
    name = name_of(source)
    array = read_array(source, lambda shape: check_series(name, shape))
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
        The subtype or data type that was written; and how much was clipped, see `write_sound`.

    Raises:
        SignalError: the format cannot hold it.
    """
    problem = cannot_save(path, sample_rate, values.shape[1], record)
    if problem:
        raise SignalError(f"{path.name}: {problem}")
    dtype = record.dtype  # None unless the input was an array
    if path.suffix.lower() in ARRAYS:
        return str(write_array(path, values, dtype or "f4", record.ndim or 2).dtype)
    blocks = (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))
    return write_sound(path, blocks, len(values), values.shape[1], sample_rate, record)


def write_sound(
    path: Path, blocks: Iterable[ndarray], count: int, channels: int, sample_rate: float, record: AudioRecord
) -> str:
    """Write a sound that comes in blocks to a sound file, see `save_audio`.

    Args:
        path: the file; its suffix says the format.
        blocks: in the sound's units, [n, c] each.
        count: the samples of all blocks.
        channels: the values per sample.
        sample_rate: samples per second, a whole number.
        record: the record of the sound.

    Returns:
        The subtype that was written; and how much was clipped, if the input's own format holds more than full scale,
        or that next to nothing is left, if the input's own format has smaller steps.

    Raises:
        SignalError: the format cannot hold it; no file is left.
    """
    dtype, rate = record.dtype, round(sample_rate)
    form, subtype = _find_format(path), choose_subtype(path, record)
    scale, shift = 1.0, 0.0
    if dtype is not None and np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        scale, shift = 2 / (int(limits.max) - int(limits.min) + 1), (int(limits.min) + int(limits.max) + 1) / 2
    is_limited = dtype is not None and np.dtype(dtype).kind not in "iu" and subtype not in FLOATING
    is_cut = dtype is None and record.subtype in FLOATING and subtype not in FLOATING
    clipped, highest = 0, 1.0
    low, high = np.inf, -np.inf
    order = XIPH_ORDERS.get(channels) if subtype in XIPH else None
    path.open("wb").close()  # says why, if it cannot be written, which libsndfile does not
    try:
        with soundfile.SoundFile(_name_file(path), "w", rate, channels, subtype, format=form) as sound:
            for block in blocks:
                peak = float(np.abs(block).max()) if is_limited or is_cut else 0.0
                if is_cut and peak > 1:
                    clipped, highest = clipped + int((np.abs(block) > 1).sum()), max(highest, peak)
                elif peak > 1:
                    raise SignalError(
                        f"{path.name}: values reach {peak:.4g}, {subtype} holds -1 to 1; use .wav or .npy"
                    )
                for start in range(0, len(block), BLOCK):
                    # In float64, because float32 cannot represent 2^31 - 1.
                    piece = (block[start : start + BLOCK].astype(np.float64) - shift) * scale
                    if order is not None:
                        piece = piece[:, order]
                    low, high = min(low, float(piece.min())), max(high, float(piece.max()))
                    sound.write(_encode(piece, subtype))
            if subtype == "OPUS":  # libsndfile leaves in the encoder what it is behind
                sound.write(np.zeros((OPUS_DELAY * rate // OPUS_RATE, channels)))
        if subtype == "OPUS":
            shorten(path, OPUS_DELAY)
        _check_written(path, form, subtype, rate, count)
    except SignalError:
        path.unlink(missing_ok=True)
        raise
    except (soundfile.SoundFileError, OverflowError) as error:
        path.unlink(missing_ok=True)
        if getattr(error, "code", None) == SYSTEM_ERROR:
            raise OSError(errno.EIO, "cannot be written; is the disk full?", str(path)) from None
        raise SignalError(f"{path.name}: cannot be written ({find_reason(error)})") from error
    if clipped:
        return f"{subtype}; clipped {clipped:,} values of up to {highest:.4g} times full scale, which .wav would keep"
    bits = _count_bits(subtype)
    if 0 < high - low < FEWEST_STEPS * 2.0 ** (1 - bits) and bits < _count_bits(record.subtype, record.dtype):
        return (
            f"{subtype}; warning: from the least value to the greatest there are less than {FEWEST_STEPS} steps of"
            f" {bits} bits, so that next to nothing can be heard; write .wav or .npy"
        )
    return subtype


def _count_bits(subtype: str | None, dtype: str | None = None) -> int:
    """Return the bits of a sample that is written with a subtype, or was read from an array; 64 of floats."""
    if dtype is not None:
        return 8 * np.dtype(dtype).itemsize if np.dtype(dtype).kind in "iu" else 64
    return 64 if subtype in FLOATING else INTEGER_BITS.get(subtype or "", 16)


def _check_written(path: Path, form: str, subtype: str, rate: int, count: int) -> None:
    """Check that a file has the codec, the sample rate and the length with which it was to be written.

    Raises:
        SignalError: it has not.
    """
    info = soundfile.info(_name_file(path))
    extra = info.frames - count
    is_long = 0 <= extra <= (0 if subtype in COMMON else LONGEST_PADDING)
    if (info.subtype, info.samplerate) != (subtype, rate) or not is_long:
        raise SignalError(
            f"{path.name}: {count:,} samples of {subtype} at {rate} Hz became {info.frames:,} of {info.subtype} at"
            f" {info.samplerate} Hz in {form}; use .wav"
        )


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
    if not is_sound_format(path):
        return f"unknown sound format {path.suffix!r}; use one of .wav .flac .ogg .opus .mp3 .aiff .npy"
    if not 1 <= sample_rate < 2**31 or sample_rate != round(sample_rate):
        return f"a sound file has a whole number of samples per second, not {sample_rate:g}; use .npy or --sample-rate"
    form, subtype = _find_format(path), choose_subtype(path, record)
    if _can_write(form, subtype, round(sample_rate), channels):
        return None
    rates = [str(rate) for rate in USUAL_RATES if _can_write(form, subtype, rate, channels)]
    remedy = f"--sample-rate {', '.join(rates)}" if rates else "fewer channels"
    return f"{form} cannot hold {subtype} of {channels} channels at {sample_rate:g} Hz; use .wav or {remedy}"


def is_sound_format(path: Path) -> bool:
    """Return whether a path's suffix is that of a sound format."""
    return _find_format(path) in soundfile.available_formats() and _find_format(path) != "RAW"


def _can_write(form: str, subtype: str, rate: int, channels: int) -> bool:
    """Return whether libsndfile writes such a sound; a trial in memory, because only libsndfile knows."""
    if subtype == "VORBIS" and (rate > FASTEST_VORBIS or channels > MOST_VORBIS):
        return False
    try:
        with soundfile.SoundFile(BytesIO(), "w", rate, channels, subtype, format=form):
            return True
    except (soundfile.SoundFileError, ValueError):
        return False


def _find_format(path: Path) -> str:
    """Return libsndfile's name for the file format that a path's suffix stands for."""
    suffix = path.suffix.lower()
    return PROMISED.get(suffix, (suffix.lstrip(".").upper(), None))[0]


def choose_subtype(path: Path, record: AudioRecord) -> str:
    """Return the subtype that the suffix promises, or the record's if the format has it, or the format's default.

    In place of the default it is 24 bits, if the record has more than 16 and the format holds no more.
    """
    promised = PROMISED.get(path.suffix.lower(), ("", None))[1]
    if promised is not None:
        return promised
    if record.dtype is not None:
        subtype = {"u1": "PCM_16", "i1": "PCM_16", "i2": "PCM_16", "u2": "PCM_16", "i4": "PCM_32"}.get(
            record.dtype.lstrip("<>|="), "FLOAT"
        )
    else:
        subtype = record.subtype or ""
    form = _find_format(path)
    subtype = subtype if form == record.format else ALAC.get(subtype, subtype)
    available = soundfile.available_subtypes(form)
    if subtype in available and (subtype in COMMON or form == record.format):
        return subtype
    return "PCM_24" if _count_bits(subtype) > 16 and "PCM_24" in available else str(soundfile.default_subtype(form))
