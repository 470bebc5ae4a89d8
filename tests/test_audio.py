import json

import numpy as np
import pytest
import soundfile

from winner_nerfstudio.signals.audio import cannot_save, load_audio, save_audio
from winner_nerfstudio.signals.errors import SignalError
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


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
def test_a_loud_fit_in_single_precision_stays_loud(tmp_path, subtype):
    record = record_of(subtype)
    loud = np.repeat(np.float32([0.2, 1.0, 1.0001, 3.0, -3.0]), 400)[:, None]
    save_audio(tmp_path / "b.wav", loud, RATE, record)
    back = soundfile.read(tmp_path / "b.wav")[0][: len(loud)].reshape(5, 400)[:, 200:300].mean(-1)
    np.testing.assert_allclose(back, [0.2, 1, 1, 1, -1], atol=0.05)


def test_a_long_sound_can_be_written_as_ogg(tmp_path):
    long = np.sin(np.arange(3_000_000, dtype=np.float32) / 30)[:, None]
    save_audio(tmp_path / "a.ogg", long, 44_100, {"format": "WAV", "subtype": "PCM_16"})
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
    with pytest.raises(SignalError, match="values reach 31, PCM_16 holds -1 to 1"):
        save_audio(tmp_path / "a.flac", own, 8000, audio.record)
    assert not (tmp_path / "a.flac").exists()
    assert save_audio(tmp_path / "a.wav", own, 8000, audio.record) == "FLOAT"
    np.testing.assert_allclose(soundfile.read(tmp_path / "a.wav")[0][:3], [20, 25, 31])


def test_another_format_takes_its_usual_subtype_where_it_must_and_says_so(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(), RATE, subtype="FLOAT")
    audio = load_audio(tmp_path / "a.wav")
    own = audio.units.to_own(audio.values)
    assert save_audio(tmp_path / "b.flac", own, RATE, audio.record) == "PCM_16"
    assert np.abs(soundfile.read(tmp_path / "b.flac", always_2d=True)[0] - own).max() <= 2**-16
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
    "text.wav": (lambda path: path.write_text("hello"), {}, "cannot be read as a sound"),
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
        ("a.mp3", 96_000, "MP3 cannot hold MPEG_LAYER_III of 1 channels at 96000 Hz"),
    ],
)
def test_a_format_that_cannot_hold_the_sound_says_so(tmp_path, name, rate, words):
    record = record_of("PCM_16")
    assert words in cannot_save(tmp_path / name, rate, 1, record)
    with pytest.raises(SignalError, match=name):
        save_audio(tmp_path / name, np.zeros((4, 1)), rate, record)
    assert not (tmp_path / name).exists()


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
