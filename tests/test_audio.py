import json
import shutil
import struct
import subprocess
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from winner_nerfstudio.files import replacing
from winner_nerfstudio.registry import kind_named
from winner_nerfstudio.signals.audio import cannot_save, load_audio, save_audio
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.flac_frames import find_end, parse_stream_info
from winner_nerfstudio.signals.large import open_large
from winner_nerfstudio.signals.options import AudioOptions
from winner_nerfstudio.signals.records import AudioRecord

RNG = np.random.default_rng(0)
RATE = 11_025


def record_of(subtype):
    units = {"shape": (1,), "offset": 0.0, "amplitude": 1.0, "digest": ""}
    return AudioRecord(**units, format="WAV", subtype=subtype, sample_rate=RATE)


def sound(channels=1, seconds=0.2, peak=0.37):
    time = np.arange(round(RATE * seconds))[:, None] / RATE
    waves = np.sin(2 * np.pi * (300 + 170 * np.arange(channels)) * time) * np.exp(-3 * time)
    return peak * waves / np.abs(waves).max()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    "suffix, subtype",
    [
        (".wav", "PCM_U8"),
        (".wav", "PCM_16"),
        (".wav", "PCM_24"),
        (".wav", "PCM_32"),
        (".wav", "FLOAT"),
        (".wav", "DOUBLE"),
        (".flac", "PCM_S8"),
        (".flac", "PCM_16"),
        (".flac", "PCM_24"),
        (".aiff", "PCM_24"),
        (".ogg", "VORBIS"),
    ],
)
def test_a_perfect_fit_is_written_back_as_it_was(tmp_path, suffix, subtype, channels):
    path, back = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    soundfile.write(path, sound(channels), RATE, subtype=subtype)
    audio = load_audio(path)
    assert np.abs(audio.values).max() == pytest.approx(1)
    record = AudioRecord.from_json(json.loads(json.dumps(audio.record.to_json())))
    assert save_audio(back, audio.units.to_own(audio.values), RATE, record) == subtype
    first, second = soundfile.info(path), soundfile.info(back)
    for name in ("samplerate", "channels", "frames", "subtype", "format"):
        assert getattr(first, name) == getattr(second, name), name
    was, now = (soundfile.read(each, dtype="float64", always_2d=True)[0] for each in (path, back))
    tolerance = {"VORBIS": 0.05, "PCM_32": 2**-24, "FLOAT": 2**-24, "DOUBLE": 2**-24}.get(subtype, 0)
    assert np.abs(was - now).max() <= tolerance
    assert np.abs(now).max() == pytest.approx(np.abs(was).max(), rel=0.1 if subtype == "VORBIS" else 1e-6)


def test_a_fit_that_overshoots_is_clipped_not_wrapped(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(), RATE)
    record = load_audio(tmp_path / "a.wav").record
    save_audio(tmp_path / "b.wav", np.array([[1.5], [-1.5], [1.0], [-1.0]]), RATE, record)
    assert soundfile.read(tmp_path / "b.wav", dtype="int16")[0].tolist() == [32767, -32768, 32767, -32768]


@pytest.mark.parametrize("depth, kept", [("16", "PCM_16"), ("20", "PCM_24"), ("24", "PCM_24"), ("32", "PCM_32")])
def test_apple_s_lossless_sounds_keep_their_depth_in_other_formats(tmp_path, depth, kept):
    soundfile.write(tmp_path / "a.caf", sound(2), RATE, subtype=f"ALAC_{depth}")
    audio = load_audio(tmp_path / "a.caf")
    own = audio.units.to_own(audio.values)
    assert save_audio(tmp_path / "b.caf", own, RATE, audio.record) == f"ALAC_{depth}"
    for name in ("b.wav", "b.aiff", "b.w64"):
        assert save_audio(tmp_path / name, own, RATE, audio.record) == kept


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
def test_a_loud_fit_in_single_precision_stays_loud(tmp_path, subtype):
    record = record_of(subtype)
    loud = np.repeat(np.float32([0.2, 1.0, 1.0001, 3.0, -3.0]), 400)[:, None]
    save_audio(tmp_path / "b.wav", loud, RATE, record)
    back = soundfile.read(tmp_path / "b.wav")[0][: len(loud)].reshape(5, 400)[:, 200:300].mean(-1)
    np.testing.assert_allclose(back, [0.2, 1, 1, 1, -1], atol=0.05)


def test_a_long_sound_can_be_written_as_ogg(tmp_path):
    long = np.sin(np.arange(3_000_000, dtype=np.float32) / 30)[:, None]
    save_audio(tmp_path / "a.ogg", long, 44_100, record_of("PCM_16"))
    assert soundfile.info(tmp_path / "a.ogg").frames == len(long)


def test_a_lossy_recording_becomes_a_plain_one(tmp_path):
    soundfile.write(tmp_path / "a.mp3", sound(seconds=0.5), 16_000)
    audio = load_audio(tmp_path / "a.mp3")
    assert save_audio(tmp_path / "b.wav", audio.units.to_own(audio.values), 16_000, audio.record) == "PCM_16"
    assert save_audio(tmp_path / "b.mp3", audio.units.to_own(audio.values), 16_000, audio.record) == "MPEG_LAYER_III"


def test_a_format_without_seeking_is_read_all_the_same(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(seconds=1.0), 8000, subtype="GSM610")
    whole, part = load_audio(tmp_path / "a.wav"), load_audio(tmp_path / "a.wav", AudioOptions(start=0.25))
    own = whole.units.to_own(whole.values)[2000:]
    np.testing.assert_allclose(part.units.to_own(part.values), own, atol=1e-6)


def test_an_endless_excerpt_is_all_that_there_is(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(), RATE)
    assert len(load_audio(tmp_path / "a.wav", AudioOptions(duration=float("inf"))).values) == round(0.2 * RATE)
    with pytest.raises(SignalError, match="leaves none"):
        load_audio(tmp_path / "a.wav", AudioOptions(start=1e308))


def test_a_series_beyond_full_scale_is_not_cut_off_without_a_word(tmp_path):
    np.save(tmp_path / "a.npy", np.array([20.0, 25.0, 31.0] * 20))
    audio = load_audio(tmp_path / "a.npy", AudioOptions(sample_rate=8000))
    own = audio.units.to_own(audio.values)
    with pytest.raises(SignalError, match="values reach 31, PCM_24 holds -1 to 1"):
        save_audio(tmp_path / "a.flac", own, 8000, audio.record)
    assert not (tmp_path / "a.flac").exists()
    assert save_audio(tmp_path / "a.wav", own, 8000, audio.record) == "FLOAT"
    np.testing.assert_allclose(soundfile.read(tmp_path / "a.wav")[0][:3], [20, 25, 31])


@pytest.mark.parametrize(
    "subtype, kept", [("ULAW", "PCM_16"), ("PCM_24", "PCM_24"), ("PCM_32", "PCM_24"), ("FLOAT", "PCM_24")]
)
def test_another_format_takes_the_bits_that_it_has_and_says_so(tmp_path, subtype, kept):
    soundfile.write(tmp_path / "a.wav", sound(), RATE, subtype=subtype)
    audio = load_audio(tmp_path / "a.wav")
    own = audio.units.to_own(audio.values)
    assert save_audio(tmp_path / "b.flac", own, RATE, audio.record) == kept
    assert np.abs(soundfile.read(tmp_path / "b.flac", always_2d=True)[0] - own).max() <= 2.0 ** -int(kept[-2:])
    assert save_audio(tmp_path / "b.npy", own, RATE, audio.record) == "float32"
    assert np.abs(np.load(tmp_path / "b.npy") - own).max() < 1e-7


@pytest.mark.parametrize("dtype", ["i2", "u1", "i4", "f4", "f8", ">f8", "i8"])
@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 2)])
def test_a_series_comes_back_in_its_shape_and_type(tmp_path, dtype, shape):
    kind = np.dtype(dtype)
    low, high = (0, 200) if kind.kind in "iu" else (20.0, 31.0)
    series = RNG.uniform(low, high, shape).astype(kind)
    np.save(tmp_path / "a.npy", series)
    audio = load_audio(tmp_path / "a.npy", AudioOptions(sample_rate=50.0))
    # Shifted as well as scaled: an offset must not squeeze the signal.
    assert (audio.values.min(), audio.values.max()) == pytest.approx((-1, 1), abs=1e-6)
    save_audio(tmp_path / "b.npy", audio.units.to_own(audio.values), 50.0, audio.record)
    again = np.load(tmp_path / "b.npy")
    assert (again.shape, again.dtype) == (series.shape, series.dtype)
    np.testing.assert_allclose(again.astype(float), series.astype(float), atol=1e-4)


def test_a_series_of_whole_numbers_becomes_a_sound_of_full_scale(tmp_path):
    np.save(tmp_path / "a.npy", np.array([-32768, 0, 16384, 32767], np.int16))
    audio = load_audio(tmp_path / "a.npy", AudioOptions(sample_rate=8000))
    assert save_audio(tmp_path / "a.wav", audio.units.to_own(audio.values), 8000, audio.record) == "PCM_16"
    assert soundfile.read(tmp_path / "a.wav", dtype="int16")[0].tolist() == [-32768, 0, 16384, 32767]


def test_an_excerpt_is_that_part_of_the_recording_and_knows_its_time(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(seconds=1.0), RATE, subtype="DOUBLE")
    whole = soundfile.read(tmp_path / "a.wav", always_2d=True)[0]
    audio = load_audio(tmp_path / "a.wav", AudioOptions(start=0.25, duration=0.5))
    first = round(0.25 * RATE)
    expected = whole[first : first + round(0.5 * RATE)]
    np.testing.assert_allclose(audio.values, expected / np.abs(expected).max(), atol=1e-6)
    times = audio.normalization.to_world(np.array([[-1.0], [1.0]]))[:, 0]
    np.testing.assert_allclose(times, [first / RATE, (first + len(expected) - 1) / RATE])
    assert len(load_audio(tmp_path / "a.wav", AudioOptions(max_samples=100)).values) == 100
    assert len(load_audio(tmp_path / "a.wav", AudioOptions(start=0.999, duration=5.0)).values) == 11


def test_mono_is_the_mean_of_the_channels(tmp_path):
    stereo = np.stack([np.linspace(-0.5, 0.5, 100), np.full(100, 0.25)], 1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE, subtype="DOUBLE")
    audio = load_audio(tmp_path / "a.wav", AudioOptions(mono=True))
    mean = stereo.mean(1, keepdims=True)
    np.testing.assert_allclose(audio.values, mean / np.abs(mean).max(), atol=1e-6)
    assert load_audio(tmp_path / "a.wav").channels == 2


def test_both_channels_share_one_scale(tmp_path):
    both = sound(2) * [1.0, 0.25]
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype="DOUBLE")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav").values, both / np.abs(both).max(), atol=1e-6)


@pytest.mark.parametrize("values, psi", [(np.zeros(500), 0.0), (np.array([0.5]), 0.0)])
def test_silence_and_a_single_sample_come_back(tmp_path, values, psi):
    soundfile.write(tmp_path / "a.wav", values, RATE, subtype="FLOAT")
    audio = load_audio(tmp_path / "a.wav")
    assert audio.centroid == psi
    assert any("silence" in note for note in audio.notes) == (values.max() == 0)
    save_audio(tmp_path / "b.wav", audio.units.to_own(audio.values), RATE, audio.record)
    np.testing.assert_allclose(soundfile.read(tmp_path / "b.wav")[0], values, atol=1e-7)


def with_nan(path):
    values = np.zeros(9)
    values[3] = np.nan
    soundfile.write(path, values, RATE, subtype="FLOAT")


HOSTILE = {
    "missing.wav": (lambda path: None, {}, "no such file"),
    "folder.wav": (lambda path: path.mkdir(), {}, "is a folder, not a sound"),
    "byte.wav": (lambda path: path.write_bytes(b"\xff"), {}, "cannot be read as a sound"),
    "byte.mp3": (lambda path: path.write_bytes(b"\xff"), {}, "cannot be read as a sound"),
    "text.wav": (lambda path: path.write_text("hello"), {}, "cannot be read as a sound"),
    **{
        f"text{suffix}": (lambda path: path.write_text("no sound\n" * 400), {}, "as a sound (Format not recognised.)")
        for suffix in (".au", ".snd", ".mp3")
    },
    "noise.snd": (
        lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)),
        {},
        "as a sound (Format not recognised.)",
    ),
    "photo.png": (lambda path: path.write_bytes(b"\x89PNG"), {}, "cannot be read as a sound"),
    "empty.wav": (lambda path: soundfile.write(path, np.zeros(0), RATE), {}, "has 0 samples"),
    "nan.wav": (with_nan, {}, "1 of 9 samples are NaN or infinite"),
    "nan.npy": (lambda path: np.save(path, np.array([1.0, np.inf])), {}, "1 of 2 samples are NaN or infinite"),
    "short.wav": (
        lambda path: soundfile.write(path, np.zeros(RATE), RATE),
        {"start": 2.0},
        "of which the excerpt leaves none",
    ),
    "rate.wav": (
        lambda path: soundfile.write(path, np.zeros(9), RATE),
        {"sample_rate": 8000.0},
        "says 11025 Hz itself",
    ),
    "rate.npy": (lambda path: np.save(path, np.zeros(9)), {"sample_rate": -1.0}, "must be positive and finite"),
    "picture.npy": (lambda path: np.save(path, np.zeros((9, 100))), {}, "shape (9, 100) is no series"),
    "complex.npy": (lambda path: np.save(path, np.zeros(9, complex)), {}, "holds complex128 values"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_fitted_is_refused_in_one_line(tmp_path, name):
    write, options, words = HOSTILE[name]
    write(tmp_path / name)
    with pytest.raises(SignalError) as caught:
        load_audio(tmp_path / name, AudioOptions(**options))
    message = str(caught.value)
    assert words in message
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name, rate, words",
    [
        ("a.xyz", 8000, "unknown sound format '.xyz'"),
        ("a.raw", 8000, "unknown sound format"),
        ("a.wav", 8000.5, "whole number of samples per second, not 8000.5"),
        ("a.wav", 0.25, "whole number of samples per second"),
        ("a.wav", 1e16, "whole number of samples per second"),
        ("a.wav", float("inf"), "whole number of samples per second, not inf"),
        ("a.wav", float("nan"), "whole number of samples per second, not nan"),
        ("a.mp3", 96_000, "MP3 cannot hold MPEG_LAYER_III of 1 channels at 96000 Hz"),
        ("a.ogg", 384_000, "OGG cannot hold VORBIS of 1 channels at 384000 Hz; use .wav or --sample-rate 8000, "),
    ],
)
def test_a_format_that_cannot_hold_the_sound_says_so(tmp_path, name, rate, words):
    record = record_of("PCM_16")
    assert words in cannot_save(tmp_path / name, rate, 1, record)
    with pytest.raises(SignalError, match=name):
        save_audio(tmp_path / name, np.zeros((4, 1)), rate, record)
    assert not (tmp_path / name).exists()


def test_a_sound_that_the_system_does_not_let_write_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        save_audio(tmp_path / "file" / "a.wav", np.zeros((4, 1)), 8000, record_of("PCM_16"))
    assert caught.value.filename == str(tmp_path / "file" / "a.wav")

    def fail(sound, values):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    with pytest.raises(OSError, match="is the disk full") as caught, replacing(tmp_path / "a.wav") as path:
        save_audio(path, np.zeros((4, 1)), 8000, record_of("PCM_16"))
    assert caught.value.filename == str(tmp_path / "a.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_excerpts_that_wont_do_say_why():
    AudioOptions().check()
    for name, value in {"start": -1, "duration": 0, "max_samples": 0}.items():
        with pytest.raises(SignalError, match=f"{name}={value}"):
            AudioOptions(**{name: value}).check()


@pytest.mark.parametrize("name, channels", [("sample:bells", 1), ("sample:crickets", 2)])
def test_the_built_in_sounds_are_high(name, channels):
    audio = load_audio(name)
    assert audio.channels == channels
    assert audio.centroid > 0.2
    assert np.abs(audio.units.to_own(audio.values)).max() < 1


PCM = (16383 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)).astype("<i2")
CONTENT = PCM.tobytes()
FORMAT = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)


def wav(size, riff=0, tag=b"RIFF", form=FORMAT, between=b"", data=CONTENT, behind=b""):
    sizes = struct.pack("<I", size)
    return tag + struct.pack("<I", riff) + b"WAVE" + between + b"fmt " + form + b"data" + sizes + data + behind


def extensible(bits, valid, align):
    guid = b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    return struct.pack("<IHHIIHHHHI", 40, 0xFFFE, 1, 8000, 8000 * align, align, bits, 22, valid, 4) + guid


def ds64(size):
    return b"ds64" + struct.pack("<IQQQI", 28, 2**64 - 1, size, 0, 0)


def big_endian(form, subtype="PCM_16"):
    buffer = BytesIO()
    soundfile.write(buffer, PCM, 8000, format=form, subtype=subtype)
    return bytearray(buffer.getvalue())


def with_size(form, chunk, layout, size, back=0):
    content = big_endian(form)
    at = content.index(chunk) + back if chunk else back
    struct.pack_into(layout, content, at, size)
    return bytes(content)


NEVER, OPEN = "never filled in; all 8,000 bytes of samples were read", 0xFFFFFFFF
UNFINISHED = {
    "stream.wav": (wav(OPEN, OPEN), NEVER),
    "zero.wav": (wav(0), NEVER),
    "zero36.wav": (wav(0, 36), NEVER),
    "placeholder.wav": (wav(2_000_000_000, 2_000_000_036), "says 2,000,000,000 bytes of samples, the file holds 8,000"),
    "zero-ds64.wav": (wav(OPEN, OPEN, b"RF64", between=ds64(0)), NEVER),
    "open-ds64.wav": (wav(OPEN, OPEN, b"RF64", between=ds64(2**64 - 1)), NEVER),
    "no-ds64.wav": (wav(OPEN, OPEN, b"RF64"), NEVER),
    "broadcast.wav": (wav(OPEN, OPEN, b"BW64", between=ds64(8000)), None),
    "odd.wav": (wav(8000, between=b"LIST\3\0\0\0abc"), None),
    "padded.wav": (wav(8000, between=b"LIST\3\0\0\0abc\0"), None),
    "junk.wav": (wav(8000, behind=b"\1\2\3" * 9), "the 27 bytes behind them are no chunks"),
    "chunks.wav": (wav(8000, behind=b"LIST\4\0\0\0INFO"), None),
    "zero.au": (with_size("AU", b"", ">I", 0, 8), NEVER),
    "stream.au": (with_size("AU", b"", ">I", OPEN, 8), NEVER),
    "zero.aiff": (with_size("AIFF", b"SSND", ">I", 0, 4), NEVER),
    "open.aiff": (with_size("AIFF", b"SSND", ">I", OPEN, 4), NEVER),
    "open.caf": (with_size("CAF", b"data", ">q", -1, 4), NEVER),
    "zero.caf": (with_size("CAF", b"data", ">q", 0, 4), NEVER),
    "zero.w64": (with_size("W64", b"data", "<Q", 24, 16), NEVER),
    "open.w64": (with_size("W64", b"data", "<Q", 2**64 - 1, 16), NEVER),
    "stream.w64": (with_size("W64", b"data", "<Q", 2**63 - 1, 16), NEVER),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_what_the_file_holds_is_believed_and_not_an_unfinished_header(tmp_path, name):
    content, words = UNFINISHED[name]
    (tmp_path / name).write_bytes(content)
    audio = load_audio(tmp_path / name)
    np.testing.assert_allclose(audio.units.to_own(audio.values)[:, 0], PCM / 32768, atol=1e-6)
    assert audio.sample_rate == 8000
    assert [words in note for note in audio.notes[1:]] == ([] if words is None else [True])
    part = load_audio(tmp_path / name, AudioOptions(start=0.25, duration=0.125))
    np.testing.assert_allclose(part.units.to_own(part.values)[:, 0], PCM[2000:3000] / 32768, atol=1e-6)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes_and_that_is_told(tmp_path, form):
    content = big_endian(form)
    path = tmp_path / f"a.{form.lower()}"
    path.write_bytes(content[: len(content) - 1000] if form != "CAF" else content.rstrip(b"\0")[:-1000])
    audio = load_audio(path)
    assert 2400 <= len(audio.values) <= 3600
    np.testing.assert_allclose(audio.units.to_own(audio.values)[:, 0], PCM[: len(audio.values)] / 32768, atol=1e-6)
    assert "the file holds" in audio.notes[1]
    assert "it was cut off" in audio.notes[1]


@pytest.mark.parametrize("part", [0.31, 0.77])
@pytest.mark.parametrize(
    "form, subtype, rate, channels",
    [
        ("WAV", "IMA_ADPCM", 8000, 2),
        ("WAV", "IMA_ADPCM", 48_000, 1),
        ("WAV", "MS_ADPCM", 8000, 2),
        ("WAV", "GSM610", 8000, 1),
        ("W64", "IMA_ADPCM", 8000, 2),
        ("W64", "GSM610", 8000, 1),
        ("AIFF", "IMA_ADPCM", 8000, 2),
        ("AIFF", "GSM610", 8000, 1),
    ],
)
def test_a_block_of_compressed_samples_that_was_cut_off_is_left_out(tmp_path, form, subtype, rate, part, channels):
    path = tmp_path / f"a.{form.lower()}"
    wave = 0.5 * np.sin(np.arange(30_000)[:, None] * [0.05, 0.07][:channels])
    soundfile.write(path, wave, rate, format=form, subtype=subtype)
    whole, content = soundfile.read(path, always_2d=True)[0], path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    audio = load_audio(path)
    own = audio.units.to_own(audio.values)
    assert part * 30_000 - 2100 < len(own) <= part * len(whole)
    np.testing.assert_allclose(own, whole[: len(own)], atol=1e-5)
    assert any("it was cut off" in note for note in audio.notes)


def test_apple_s_lossless_sound_is_not_read_behind_where_it_was_cut_off(tmp_path):
    soundfile.write(tmp_path / "a.caf", np.random.default_rng(0).normal(0, 0.1, 50_000), RATE, subtype="ALAC_16")
    whole, content = soundfile.read(tmp_path / "a.caf")[0], (tmp_path / "a.caf").read_bytes()
    (tmp_path / "a.caf").write_bytes(content[: len(content) // 3])
    with pytest.raises(SignalError, match=r"a\.caf: cannot be read as a sound \(.* malformed"):
        load_audio(tmp_path / "a.caf")
    (tmp_path / "a.caf").write_bytes(content[:-10])
    audio = load_audio(tmp_path / "a.caf")
    own = audio.units.to_own(audio.values)[:, 0]
    np.testing.assert_allclose(own, whole[: len(own)], atol=1e-6)
    assert len(own) == 12 * 4096  # packets of 4096 samples (ALAC's default)
    assert "it was cut off" in audio.notes[1]
    at = content.index(b"data") + 4
    (tmp_path / "a.caf").write_bytes(content[:at] + struct.pack(">q", -1) + content[at + 8 :])
    assert len(load_audio(tmp_path / "a.caf").values) == 50_000


def test_an_empty_wav_before_other_chunks_is_empty(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(0, data=b"", behind=b"LIST\4\0\0\0INFO"))
    with pytest.raises(SignalError, match=r"a\.wav: has 0 samples"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("bits, valid, align", [(24, 24, 3), (24, 20, 3), (32, 24, 4), (24, 24, 4), (20, 20, 3)])
def test_samples_with_fewer_bits_than_their_bytes_keep_their_value(tmp_path, bits, valid, align):
    whole = PCM.astype("<i4") << 16
    data = whole.view("u1").reshape(-1, 4)[:, 4 - align :].tobytes()
    (tmp_path / "a.wav").write_bytes(wav(len(data), form=extensible(bits, valid, align), data=data))
    audio = load_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(audio.units.to_own(audio.values)[:, 0], PCM / 32768, atol=1e-6)
    said = f"{valid} of the {8 * align} bits of each sample are used"
    assert (said in audio.notes) == (valid < 8 * align)


def test_samples_beyond_full_scale_are_kept_and_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", 3.0 * sound(peak=1.0), RATE, subtype="FLOAT")
    audio = load_audio(tmp_path / "a.wav")
    assert audio.units.amplitude == pytest.approx(3)
    assert "values reach 3 times full scale; none was clipped" in audio.notes
    assert save_audio(tmp_path / "b.wav", audio.units.to_own(audio.values), RATE, audio.record) == "FLOAT"
    assert np.abs(soundfile.read(tmp_path / "b.wav")[0]).max() == pytest.approx(3)
    values = audio.units.to_own(audio.values)
    said = save_audio(tmp_path / "c.flac", values, RATE, audio.record)
    count = int((np.abs(values) > 1).sum())
    assert said == f"PCM_24; clipped {count:,} values of up to 3 times full scale, which .wav would keep"
    assert save_audio(tmp_path / "d.flac", values / 3, RATE, audio.record) == "PCM_24"


def test_a_sound_below_the_steps_of_its_file_is_told(tmp_path):
    wave = np.sin(np.arange(4800) / 9)
    whole = np.rint(250 + 249 * wave).astype("i4")
    quiet, soft = load_audio(whole, AudioOptions(sample_rate=48_000)), load_audio(wave * 1e-6)
    told = "warning: from the least value to the greatest there are less than 2 steps of "
    for audio in (quiet, soft):
        own = audio.units.to_own(audio.values)
        for name in ("a.flac", "a.mp3", "a.ogg", "a.aiff"):
            subtype, _, said = save_audio(tmp_path / name, own, 48_000, audio.record).partition("; ")
            if subtype in ("FLOAT", "PCM_32") or (audio is soft and subtype == "PCM_24"):
                assert not said
            else:
                assert said.startswith(told + ("24 bits" if subtype == "PCM_24" else "16 bits")), name
                assert said.endswith("write .wav or .npy")
        for name in ("a.wav", "a.npy"):
            assert ";" not in save_audio(tmp_path / name, own, 48_000, audio.record)
    back = soundfile.read(tmp_path / "a.wav")[0]
    assert np.ptp(back) == pytest.approx(2e-6, rel=0.01)
    loud = load_audio(np.rint(30_000 * wave).astype("i2"))
    assert save_audio(tmp_path / "a.flac", loud.units.to_own(loud.values), 48_000, loud.record) == "PCM_16"
    # What the input's own format holds is no loss.
    soundfile.write(tmp_path / "b.wav", np.rint(wave).astype("i2"), 48_000)
    faint = load_audio(tmp_path / "b.wav")
    assert save_audio(tmp_path / "b.flac", 0.6 * faint.units.to_own(faint.values), 48_000, faint.record) == "PCM_16"


def flac_that_claims(frames, rate=8000):
    content = big_endian("FLAC")
    state = int.from_bytes(content[18:26], "big") & ~(2**36 - 1) & (2**44 - 1)
    content[18:26] = (state | frames | rate << 44).to_bytes(8, "big")
    return bytes(content)


def mp3(rate=24_000, seconds=4):
    noise = np.random.default_rng(0).standard_normal(rate * seconds) * np.linspace(0, 0.2, rate * seconds)
    buffer = BytesIO()
    soundfile.write(buffer, noise, rate, format="MP3", bitrate_mode="VARIABLE")
    return bytearray(buffer.getvalue()), noise


@pytest.mark.parametrize("frames", [0, 2**31, 2**36 - 1])
def test_a_length_that_no_file_of_this_size_has_takes_no_memory(tmp_path, frames):
    (tmp_path / "a.flac").write_bytes(flac_that_claims(frames))
    audio = load_audio(tmp_path / "a.flac")
    np.testing.assert_allclose(audio.units.to_own(audio.values)[:, 0], PCM / 32768, atol=1e-6)
    assert audio.notes[1:] == ("the header does not state the length",)


@pytest.mark.parametrize("frames", [0, 3, 2**31 - 1])
def test_an_mp3_is_read_whole_whatever_its_header_says(tmp_path, frames):
    content, noise = mp3()
    mark = content.index(b"Xing")
    content[mark + 8 : mark + 12] = frames.to_bytes(4, "big")
    (tmp_path / "a.mp3").write_bytes(content)
    audio = load_audio(tmp_path / "a.mp3")
    assert 0 <= len(audio.values) - len(noise) < 2000
    assert any("length" in note for note in audio.notes)


@pytest.mark.parametrize("change", [lambda content: content[777:], lambda content: bytes(3000) + content])
def test_an_mp3_that_begins_within_a_frame_or_behind_zeros_is_read(tmp_path, change):
    content, noise = mp3()
    (tmp_path / "a.mp3").write_bytes(change(content))
    assert len(load_audio(tmp_path / "a.mp3").values) > 0.75 * len(noise)


@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\0\x64" + bytes(100)])
def test_an_mp3_of_variable_bit_rate_without_a_length_is_read_whole(tmp_path, tag):
    content, noise = mp3()
    first = content.index(b"\xff", 4)
    while content[first + 1] >> 5 != 7 or b"Xing" in content[first : first + 100]:
        first = content.index(b"\xff", first + 1)
    (tmp_path / "a.mp3").write_bytes(tag + content[first:])
    assert soundfile.info(tmp_path / "a.mp3").frames < 0.8 * len(noise)
    audio = load_audio(tmp_path / "a.mp3")
    assert abs(len(audio.values) - len(noise)) < 3000
    assert "the header does not state the length; its frames were counted" in audio.notes
    loud = audio.units.to_own(audio.values)[-8000:, 0].std()
    assert loud == pytest.approx(noise[-8000:].std(), rel=0.1)


@pytest.mark.parametrize("rate", [0, 2**32 - 1])
def test_sample_rates_that_cannot_be_are_refused(tmp_path, rate):
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, 16000, 2, 16)
    (tmp_path / "a.wav").write_bytes(wav(8000, form=form))
    with pytest.raises(SignalError, match=r"a\.wav: cannot be read as a sound \(its header has no sample rate"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [1e308, 1e-308, 0.0])
def test_sample_rates_of_series_that_cannot_be_are_refused(rate):
    with pytest.raises(SignalError, match=r"array: sample_rate=.* must be positive and finite, 1e-100"):
        load_audio(np.arange(9.0), AudioOptions(sample_rate=rate))


def test_a_sound_that_contradicts_itself_is_refused(tmp_path):
    form = struct.pack("<IHHIIHH", 16, 1, 2, 8000, 16000, 2, 16)
    (tmp_path / "a.wav").write_bytes(wav(8000, form=form))
    with pytest.raises(SignalError, match="2 channels of 16 bits in 2 bytes, which contradict each other"):
        load_audio(tmp_path / "a.wav")


def test_more_samples_than_are_fitted_by_default_must_be_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("winner_nerfstudio.signals.audio.MOST_VALUES", 3000)
    (tmp_path / "a.wav").write_bytes(wav(8000))
    (tmp_path / "a.flac").write_bytes(flac_that_claims(0))
    for name in ("a.wav", "a.flac"):
        with pytest.raises(SignalError, match=r"more than 3,000 samples .* --duration, or say --max-samples"):
            load_audio(tmp_path / name)
        assert len(load_audio(tmp_path / name, AudioOptions(max_samples=3500)).values) == 3500


CODECS = {
    "a.opus": ("OGG", "OPUS"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.oga": ("OGG", "VORBIS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.caf": ("CAF", "PCM_16"),
    "a.snd": ("AU", "PCM_16"),
    "a.aif": ("AIFF", "PCM_16"),
}


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_suffix_promises_its_codec(tmp_path, name, channels):
    values = sound(channels, seconds=48_000 / RATE)
    assert save_audio(tmp_path / name, values, 48_000, record_of("PCM_16")) == CODECS[name][1]
    info = soundfile.info(tmp_path / name)
    assert (info.format, info.subtype, info.samplerate, info.frames) == (*CODECS[name], 48_000, len(values))


WAV_ORDERS = {
    3: "FL FR FC",
    4: "FL FR BL BR",
    5: "FL FR FC BL BR",
    6: "FL FR FC LFE BL BR",
    7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}
XIPH_ORDERS = {
    3: "FL FC FR",
    4: "FL FR BL BR",
    5: "FL FC FR BL BR",
    6: "FL FC FR BL BR LFE",
    7: "FL FC FR SL SR BC LFE",
    8: "FL FC FR SL SR BL BR LFE",
}
"""The channels of Vorbis and of Opus (specification I, 4.3.9)."""


def chord(order):
    """Return a second of a deep tone for each channel, by its name."""
    names = ("FL", "FR", "FC", "LFE", "BL", "BR", "BC", "SL", "SR")
    pitches = {name: 26 + 10 * index for index, name in enumerate(names)}
    time = np.arange(48_000) / 48_000
    return np.stack([0.2 * np.sin(2 * np.pi * pitches[name] * time) for name in order.split()], -1)


def heard(values):
    """Return the loudest frequency of each channel, hertz."""
    return np.abs(np.fft.rfft(values, axis=0)).argmax(0).tolist()


@pytest.mark.parametrize("count", WAV_ORDERS)
@pytest.mark.parametrize("name, subtype", [("a.ogg", "VORBIS"), ("a.opus", "OPUS")])
def test_the_channels_of_vorbis_and_opus_have_their_order_in_the_file_and_that_of_wav_in_memory(
    tmp_path, count, name, subtype
):
    path, values = tmp_path / name, chord(WAV_ORDERS[count])
    assert save_audio(path, values, 48_000, record_of("PCM_16")) == subtype
    assert heard(soundfile.read(path)[0]) == heard(chord(XIPH_ORDERS[count]))
    whole = load_audio(path)
    part = load_audio(path, AudioOptions(start=0.25, duration=0.5))
    assert heard(whole.values) == heard(values)
    assert [2 * pitch for pitch in heard(part.values)] == heard(values)


def test_channels_of_opus_without_places_and_of_flac_in_ogg_keep_their_order(tmp_path):
    values = chord(WAV_ORDERS[6])
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg")
    soundfile.write(tmp_path / "a.wav", values, 48_000)
    for name, options in {
        "a.opus": ("-c:a", "libopus", "-mapping_family", "255"),
        "a.ogg": ("-c:a", "flac"),
        "b.ogg": ("-c:a", "libvorbis"),
    }.items():
        command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", *options, tmp_path / name]
        if subprocess.run(command, check=False, timeout=60).returncode == 0:
            assert heard(load_audio(tmp_path / name).values) == heard(values), name


@pytest.mark.parametrize("rate", [8000, 12_000, 16_000, 24_000, 48_000])
def test_opus_is_written_at_the_rates_it_has(tmp_path, rate):
    values = 0.4 * np.sin(np.arange(rate) / rate * 2 * np.pi * 440)[:, None]
    assert save_audio(tmp_path / "a.opus", values, rate, record_of("PCM_16")) == "OPUS"
    back, again = soundfile.read(tmp_path / "a.opus")
    assert (again, len(back)) == (rate, rate)
    middle = slice(rate // 4, -rate // 4)
    assert np.sqrt(np.mean((back - values[:, 0])[middle] ** 2)) < 0.05


@pytest.mark.parametrize("rate", [8000, 24_000, 48_000])
@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.9])
def test_the_end_of_an_opus_sound_is_written(tmp_path, rate, part):
    count = rate // 2 + round(part * rate / 50)  # whole frames of 20 ms, and a part of one
    values = 0.4 * np.sin(np.arange(count) / rate * 2 * np.pi * 440)[:, None]
    save_audio(tmp_path / "a.opus", values, rate, record_of("PCM_16"))
    back, _ = soundfile.read(tmp_path / "a.opus", always_2d=True)
    assert back.shape == values.shape
    assert np.sqrt(np.mean((back - values)[-rate // 150 :] ** 2)) < 0.03
    if shutil.which("ffmpeg"):  # which checks the sums of pages
        command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.opus"), "-ac", "1", "-ar", str(rate)]
        raw = subprocess.run([*command, "-f", "f32le", "-"], capture_output=True, check=True)
        assert raw.stderr == b""
        assert len(raw.stdout) == 4 * count


@pytest.mark.parametrize("name, rate", [("a.opus", 44_100), ("a.opus", 22_050), ("a.mp3", 96_000)])
def test_a_codec_names_the_rates_that_it_has(tmp_path, name, rate):
    problem = cannot_save(tmp_path / name, rate, 1, record_of("PCM_16"))
    assert "use .wav or --sample-rate 8000, " in problem
    assert problem.endswith(" 48000")


def test_vorbis_has_no_more_than_255_channels(tmp_path):
    assert cannot_save(tmp_path / "a.ogg", 8000, 255, record_of("PCM_16")) is None
    assert "use .wav or fewer channels" in cannot_save(tmp_path / "a.ogg", 8000, 256, record_of("PCM_16"))


def test_opus_in_an_ogg_file_is_read_and_comes_back_as_its_suffix_says(tmp_path):
    soundfile.write(tmp_path / "a.oga", sound(seconds=1.0), 48_000, format="OGG", subtype="OPUS")
    audio = load_audio(tmp_path / "a.oga")
    own = audio.units.to_own(audio.values)
    assert audio.suffix == ".oga"
    assert save_audio(tmp_path / "b.oga", own, 48_000, audio.record) == "OPUS"
    assert save_audio(tmp_path / "b.ogg", own, 48_000, audio.record) == "VORBIS"


@pytest.mark.parametrize("changed", [{"subtype": "VORBIS"}, {"samplerate": 8000}, {"frames": 9}, {"frames": 99_999}])
def test_what_an_encoder_changes_is_noticed_and_removed(tmp_path, monkeypatch, changed):
    info = {"format": "OGG", "subtype": "OPUS", "samplerate": 48_000, "frames": 4000}
    monkeypatch.setattr(soundfile, "info", lambda path: SimpleNamespace(**info | changed))
    with pytest.raises(SignalError, match=r"a\.opus: 4,000 samples of OPUS at 48000 Hz became .* use \.wav"):
        save_audio(tmp_path / "a.opus", np.zeros((4000, 1)), 48_000, record_of("PCM_16"))
    assert not (tmp_path / "a.opus").exists()


@pytest.mark.parametrize("count", [100, 4096, 30_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_header_that_says_fewer_samples_than_there_are_is_not_believed(tmp_path, count, channels):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (count, channels))
    soundfile.write(tmp_path / "a.flac", wave, 8000)
    whole = (tmp_path / "a.flac").read_bytes()
    info = parse_stream_info(whole)
    assert info.samples == count
    (tmp_path / "b.flac").write_bytes(info.with_samples(count // 3) + whole[42:] + b"TAG".ljust(128, b"\0"))
    audio = load_audio(tmp_path / "b.flac")
    assert f"the header says {count // 3:,} samples, the frames hold {count:,}" in "\n".join(audio.describe())
    np.testing.assert_array_equal(audio.values, load_audio(tmp_path / "a.flac").values)


def test_frames_of_flac_are_told_by_their_check_sums(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 9000), 8000)
    whole = (tmp_path / "a.flac").read_bytes()
    assert find_end(whole, 4096) == 9000
    assert find_end(whole[:-1] + bytes([whole[-1] ^ 1]), 4096) is None
    assert find_end(whole[:-100], 4096) is None


def test_a_wav_in_pieces_or_with_two_descriptions_is_refused_for_that(tmp_path):
    plain = wav(len(CONTENT))
    described = plain[12 : plain.index(b"data")]
    (tmp_path / "twice.wav").write_bytes(plain[:12] + described + plain[12:])
    with pytest.raises(
        SignalError, match=r"twice.wav: describes its samples twice \(fmt\); write it anew, as one sound"
    ):
        load_audio(tmp_path / "twice.wav")
    samples = plain[plain.index(b"data") :]
    pieces = b"LIST" + struct.pack("<I", 4 + len(samples)) + b"wavl" + samples
    (tmp_path / "pieces.wav").write_bytes(plain[:12] + described + pieces)
    with pytest.raises(SignalError, match=r"pieces.wav: holds its samples as a list of pieces and silences \(wavl\)"):
        load_audio(tmp_path / "pieces.wav")


@pytest.mark.parametrize("between", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO"])
def test_a_wav_with_two_chunks_of_samples_is_refused_for_that(tmp_path, between):
    (tmp_path / "a.wav").write_bytes(wav(len(CONTENT), behind=between + b"data" + struct.pack("<I", 4) + bytes(4)))
    with pytest.raises(SignalError, match=r"several chunks of samples \(data\), of which a .wav file has one"):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "form, subtype",
    [("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("W64", "GSM610"), ("WAV", "NMS_ADPCM_32"), ("WAV", "G721_32")],
)
def test_the_padding_of_a_block_of_compressed_samples_is_left_out(tmp_path, form, subtype):
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, sound()[:999], 8000, subtype=subtype, format=form)
    audio = load_audio(path)
    assert len(audio.values) == 999
    if subtype == "MS_ADPCM":  # the others are not read by blocks
        assert open_large(path, "audio", AudioOptions()).blocks.shape == (999,)
    assert any("samples behind the last of 999, which fill a block" in note for note in audio.notes)


def ima(samples):
    """Return a .wav file of three blocks of 505 samples, whose fact chunk says something."""
    form = struct.pack("<IHHIIHHHH", 20, 0x11, 1, 8000, 4055, 256, 4, 2, 505)
    fact = b"fact" + struct.pack("<II", 4, samples)
    return wav(768, form=form + fact, data=bytes([0, 0, 40, 0] + [0x17] * 252) * 3)


@pytest.mark.parametrize(
    "stated, held", [(1490, 1490), (990, 990), (1515, 1515), (0, 1515), (2**32 - 1, 1515), (20, 1515)]
)
def test_a_fact_chunk_is_believed_only_as_far_as_padding_explains_it(tmp_path, stated, held):
    (tmp_path / "a.wav").write_bytes(ima(stated))
    audio = load_audio(tmp_path / "a.wav")
    assert len(audio.values) == held
    assert any("the header says 20 samples, the file holds 1,515" in note for note in audio.notes) == (stated == 20)


@pytest.mark.parametrize("subtype, code", [("PCM_16", 1), ("FLOAT", 3), ("DOUBLE", 3)])
def test_the_longer_description_of_a_w64_file_says_which_samples_it_has(tmp_path, subtype, code):
    stream = BytesIO()
    soundfile.write(stream, sound(2), 8000, format="W64", subtype=subtype)
    content = stream.getvalue()
    start = content.index(b"fmt ")
    bits = int.from_bytes(content[start + 38 : start + 40], "little")
    extended = struct.pack("<HHIH14s", 22, bits, 3, code, bytes.fromhex("000000001000800000aa00389b71"))
    description = struct.pack("<H", 0xFFFE) + content[start + 26 : start + 40] + extended
    behind = content[start + int.from_bytes(content[start + 16 : start + 24], "little") :].lstrip(b"\0")
    head = content[:start] + content[start : start + 16] + struct.pack("<Q", 24 + 40)
    (tmp_path / "a.w64").write_bytes(head + description + behind)
    audio = load_audio(tmp_path / "a.w64")
    assert audio.draft.subtype == subtype
    np.testing.assert_allclose(audio.units.to_own(audio.values), sound(2), atol=2**-15)


@pytest.mark.parametrize(
    "code, bits, words", [(0xFF, 16, "holds samples as AAC"), (3, 16, "floating-point samples of 16 bits")]
)
def test_samples_that_a_wav_cannot_be_read_with_are_named(tmp_path, code, bits, words):
    form = struct.pack("<IHHIIHH", 16, code, 1, 8000, 8000 * bits // 8, bits // 8, bits)
    (tmp_path / "a.wav").write_bytes(wav(len(CONTENT), form=form))
    with pytest.raises(SignalError, match=words):
        load_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [8000, 44_100])
@pytest.mark.parametrize("count", [1010, 8000])
def test_all_of_a_stereo_ima_file_is_read(tmp_path, rate, count):
    """libsndfile counts half of its samples in the fact chunk."""
    left = 0.5 * np.sin(2 * np.pi * 440 * np.arange(count) / rate)
    soundfile.write(tmp_path / "a.wav", np.stack([left, left], 1), rate, subtype="IMA_ADPCM")
    decoded, _ = soundfile.read(tmp_path / "a.wav")
    signal = load_audio(tmp_path / "a.wav", AudioOptions())
    assert len(signal.values) == len(decoded) >= count
    assert "header says" not in "\n".join(signal.describe())


def test_aac_is_named_whatever_its_suffix(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"\xff\xf1\x50\x80" + bytes(1000))
    with pytest.raises(SignalError, match=r"holds AAC \(ADTS\), which is not read; convert it"):
        load_audio(tmp_path / "a.mp3", AudioOptions())


@pytest.mark.parametrize("cut", [1, 300])
def test_an_ogg_file_that_is_cut_within_its_last_page_is_told(tmp_path, cut):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(20_000) / 8000)
    soundfile.write(tmp_path / "a.ogg", tone, 8000, format="OGG", subtype="OPUS")
    assert "cut off" not in "\n".join(load_audio(tmp_path / "a.ogg", AudioOptions()).describe())
    (tmp_path / "b.ogg").write_bytes((tmp_path / "a.ogg").read_bytes()[:-cut])
    assert "no whole last page; it was cut off" in "\n".join(load_audio(tmp_path / "b.ogg", AudioOptions()).describe())


def ogg_flac(content, serial=7):
    """Return a .flac file in pages of Ogg, as RFC 9639 says, without the check sums that nothing here reads."""
    packets = [b"\x7fFLAC\1\0\0\0" + content[:42], content[42:]]
    pages, pieces = [], [packets[0]] + [packets[1][start : start + 4000] for start in range(0, len(packets[1]), 4000)]
    for index, piece in enumerate(pieces):
        flags = 2 * (index == 0) + 4 * (index == len(pieces) - 1)
        table = bytes([255] * (len(piece) // 255) + [len(piece) % 255])
        pages.append(struct.pack("<4sBBqIIIB", b"OggS", 0, flags, 0, serial, index, 0, len(table)) + table + piece)
    return b"".join(pages)


def flac():
    stream = BytesIO()
    soundfile.write(stream, sound(2), RATE, format="FLAC")
    return stream.getvalue()


def test_flac_in_an_ogg_file_is_read(tmp_path):
    (tmp_path / "a.flac").write_bytes(flac())
    (tmp_path / "a.oga").write_bytes(ogg_flac(flac()))
    plain, paged = load_audio(tmp_path / "a.flac"), load_audio(tmp_path / "a.oga")
    assert np.array_equal(plain.values, paged.values)
    assert paged.sample_rate == RATE


@pytest.mark.parametrize("name", ["a.ogg", "a.oga", "a.flac"])
def test_of_several_sounds_behind_one_another_the_first_is_read_and_that_is_told(tmp_path, name):
    stream = BytesIO()
    soundfile.write(stream, sound(), RATE, format="OGG", subtype="VORBIS")
    content = {"a.ogg": stream.getvalue(), "a.oga": ogg_flac(flac()), "a.flac": flac()}[name]
    (tmp_path / name).write_bytes(content * 2)
    audio = load_audio(tmp_path / name)
    assert len(audio.values) == len(sound())
    assert any("the first is read" in note for note in audio.notes)


def test_libraries_write_nothing_about_a_broken_sound(tmp_path, capfd):
    (tmp_path / "a.mp3").write_bytes(b"\0" * 4000)
    with pytest.raises(SignalError):
        load_audio(tmp_path / "a.mp3")
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("error")
def test_silence_is_drawn_black_without_a_warning():
    figure = Figure(figsize=(1, 1))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    hiss = np.concatenate([np.zeros((4000, 1)), 0.5 * RNG.standard_normal((4000, 1))]).astype(np.float32)
    kind_named("audio").draw(axes, SimpleNamespace(sample_rate=RATE), hiss)
    drawing = BytesIO()
    figure.savefig(drawing)
    pixels = np.asarray(Image.open(drawing).convert("L"))
    assert pixels[5:-5, 10:40].max() < 5
    assert pixels[5:-5, 60:90].min() > 60


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 20])
def test_the_shortest_series_are_drawn(count):
    figure = Figure()
    axes = figure.subplots()
    kind_named("audio").draw(axes, SimpleNamespace(sample_rate=RATE), np.ones((count, 1), np.float32))
    FigureCanvasAgg(figure).draw()
    power = axes.images[0].get_array()
    assert power.shape == (3, max(count, 5) - 3)
    if count == 2:  # one sample within the window, whose spectrum is flat; what is no end of it counts twice
        np.testing.assert_allclose(power[1, 0] - power[[0, 2], 0], 10 * np.log10(2), atol=1e-6)
