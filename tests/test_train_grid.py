"""Pictures, sounds and kinds of others through the one pipeline, on the CPU."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as Pillow

from winner_nerfstudio.export.grid import export_audio, export_image
from winner_nerfstudio.fields.checkpoint import load_run
from winner_nerfstudio.kinds.audio import AudioExport
from winner_nerfstudio.kinds.image import ImageExport
from winner_nerfstudio.signals.samples import IMAGES, SOUNDS

from .conftest import call, config_of, fit, make_config, metrics_of, weights_of

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the pictures and sounds of ../shared are not here")
FILES = sorted(path for kind in ("images", "audio") for path in (SHARED / kind).glob("*"))
PAPER = {
    # Full batches, Adam at 1e-4 throughout, 200 steps: the protocol that the thresholds are stated for.
    "steps": 200,
    "pipeline__datamanager__batch_size": 1 << 20,
    "pipeline__model__num_layers": 4,
    "machine__seed": 1,
}


def picture(path, size=(40, 60), channels=3):
    row, column = np.meshgrid(*[np.linspace(0, 6, n) for n in size], indexing="ij")
    waves = [np.sin(row * (c + 2)) * np.cos(column * (c + 1)) for c in range(channels)]
    Pillow.fromarray(np.uint8(np.stack(waves, -1).squeeze() * 100 + 120)).save(path)
    return path


def sound(path, seconds=0.3, rate=8000):
    time = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, np.stack([0.5 * np.sin(900 * time), 0.25 * np.cos(700 * time)], -1), rate, subtype="PCM_24")
    return path


def assert_same(first, second):
    first, second = weights_of(first), weights_of(second)
    assert len(first) > 5
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.commands
def test_a_picture_from_the_command_line_to_the_file_with_the_data_gone(tmp_path):
    source = picture(tmp_path / "waves.png")
    flags = [
        "--max-num-iterations",
        "150",
        "--pipeline.model.hidden-dim",
        "64",
        "--pipeline.datamanager.batch-size",
        "900",
    ]
    result = call("ns-train", "winner-image", "--data", "waves.png", *flags, cwd=tmp_path)
    assert result.returncode == 0, result.output
    assert "waves.png: 60 x 40 pixels, 3 channels (RGB)" in result.output
    assert "initialisation: psi=0." in result.output
    assert "psnr" in result.output
    assert "winner-export image --load-config" in result.output
    assert "--output waves-fit.png" in result.output
    config = config_of(result, tmp_path)
    metrics = metrics_of(config)
    for name in ("psnr", "psnr_peak_to_peak", "psnr_paper", "psnr_between", "ssim", "best_psnr", "best_psnr_step"):
        assert name in metrics
    assert metrics["psnr"] > 30
    evaluated = call("ns-eval", "--load-config", config, "--output-path", "eval.json", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.output
    assert json.loads((tmp_path / "eval.json").read_text())["results"] == pytest.approx(metrics, rel=1e-5)
    pictures = Pillow.open(config.parent / "target-fit-error.png")
    assert pictures.size == (3 * 240, 160)

    before = np.asarray(Pillow.open(source)).astype(float)
    source.unlink()
    exported = call("winner-export", "image", "--load-config", config, "--output", "out/fit.png", cwd=tmp_path)
    assert exported.returncode == 0, exported.output
    assert "out/fit.png: 60 x 40 pixels, RGB" in exported.output
    assert "150 x 100 pixels, RGB" in ImageExport(config, tmp_path / "out" / "finer.png", scale=2.5).run()
    for name, size in (("fit", (60, 40)), ("finer", (150, 100))):
        written = Pillow.open(tmp_path / "out" / f"{name}.png")
        assert (written.size, written.mode) == (size, "RGB")
        small = np.asarray(written.resize((60, 40), Pillow.Resampling.BOX)).astype(float)
        assert 20 * np.log10(255 / np.sqrt(np.mean((small - before) ** 2))) > 25
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.commands
def test_a_sound_from_the_command_line_to_the_file_with_the_data_gone(tmp_path):
    source = sound(tmp_path / "tones.wav")
    before, _ = soundfile.read(source)
    flags = ["--max-num-iterations", "300", "--pipeline.model.hidden-dim", "64"]
    flags += ["--pipeline.model.noise.s0", "300", "--pipeline.model.noise.s1", "0.02"]
    result = call("ns-train", "winner-audio", *flags, "audio-data", "--data", "tones.wav", cwd=tmp_path)
    assert result.returncode == 0, result.output
    assert "tones.wav: 2,400 samples at 8000 Hz (0.3 s), stereo (WAV, PCM_24)" in result.output
    config = config_of(result, tmp_path)
    metrics = metrics_of(config)
    for name in ("psnr", "psnr_paper", "psnr_between", "snr", "si_snr", "log_spectral_distance", "best_psnr"):
        assert name in metrics
    assert metrics["psnr"] > 30
    assert (config.parent / "fit-over-target.png").stat().st_size > 10_000
    source.unlink()
    exported = call("winner-export", "audio", "--load-config", config, "--output", "fit.wav", cwd=tmp_path)
    assert exported.returncode == 0, exported.output
    after, rate = soundfile.read(tmp_path / "fit.wav")
    assert (rate, after.shape, soundfile.info(tmp_path / "fit.wav").subtype) == (8000, before.shape, "PCM_24")
    # The same loudness, in both channels.
    np.testing.assert_allclose(np.sqrt((after**2).mean(0)), np.sqrt((before**2).mean(0)), rtol=0.05)
    assert np.corrcoef(after[:, 0], before[:, 0])[0, 1] > 0.99
    said = AudioExport(config, tmp_path / "fit.flac", sample_rate=12_000).run()
    assert "3,600 samples at 12000 Hz (0.3 s), channels: 2, PCM_24" in said
    finer, _ = soundfile.read(tmp_path / "fit.flac")
    assert np.corrcoef(finer[:, 0], np.sin(900 * np.arange(3600) / 12_000))[0, 1] > 0.97

    refused = call("winner-export", "mesh", "--load-config", config, "--output", "a.ply", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.output == "error: a field of kind 'audio' has no mesh; only one of kind 'sdf' or 'volume' has\n"
    for command, words in [
        (ImageExport(config, tmp_path / "a.png"), "kind 'audio' has no image"),
        (AudioExport(config, tmp_path / "a.xyz"), "unknown sound format '.xyz'"),
        (AudioExport(config, tmp_path / "a.npy", sample_rate=1e16), "at most 1,073,741,824"),
        (
            AudioExport(config, tmp_path / "a.wav", sample_rate=-5),
            "--sample-rate=-5 of 0.3 s must leave at least one sample",
        ),
    ]:
        with pytest.raises(ValueError, match=words):
            command.run()
        assert not list(tmp_path.glob("a.*"))


@pytest.mark.commands
@pytest.mark.parametrize(
    "method, flags, words",
    [
        ("winner-image", ["--data", "nowhere.png"], "nowhere.png: no such file; give a picture, or sample:NAME"),
        ("winner-audio", ["audio-data", "--data", "sample:bells", "--start", "9"], "the excerpt leaves none"),
    ],
)
def test_a_target_that_wont_do_ends_in_one_line_and_leaves_nothing(tmp_path, method, flags, words):
    result = call("ns-train", method, *flags, cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert words in line
    assert not list(tmp_path.iterdir())


@pytest.mark.commands
def test_a_target_that_its_network_refuses_leaves_no_folder_of_a_run(tmp_path):
    np.save(tmp_path / "huge.npy", np.random.default_rng(0).normal(size=(8, 9)) * 1e300)
    result = call("ns-train", "winner-image", "--data", "huge.npy", cwd=tmp_path)
    assert result.output.splitlines()[-1].startswith("error: huge.npy: its units are too small or too large")
    assert not any((tmp_path / "outputs").iterdir())


@pytest.mark.parametrize(
    "method, changes, words",
    [
        ("winner-image", {}, "name one with --data FILE (.png .jpg .tif .webp .npy) or one of --data sample:mandala"),
        ("winner-audio", {}, "name one with --data FILE (.wav .flac .ogg .mp3 .npy) or one of --data sample:bells"),
        ("winner-image", {"dataparser__noise_std": -1.0}, "noise_std=-1.0"),
        ("winner-image", {"dataparser__max_side": 0}, "max_side=0"),
        ("winner-image", {"dataparser__train_fraction": 2.0}, "train_fraction=2.0"),
        ("winner-image", {"dataparser__reference": Path("no.png")}, "no.png: no such file"),
        ("winner-image", {"dataparser__reference": Path("sample:mandala")}, "must be of one size"),
        ("winner-image", {"batch_size": 0}, "batch_size=0"),
        ("winner-audio", {"dataparser__duration": -1.0}, "duration=-1.0"),
    ],
)
def test_options_that_wont_do_end_in_one_line_before_anything_is_written(method, changes, words):
    sample = {"winner-image": "sample:weave", "winner-audio": "sample:bells"}[method]
    changes = {f"pipeline__datamanager__{name}": value for name, value in changes.items()}
    changes |= {"pipeline__datamanager__data": Path(sample)} if changes else {}
    with pytest.raises(SystemExit) as caught:
        make_config(method, **changes).set_timestamp()
    message = str(caught.value)
    assert message.startswith("error: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.commands
@pytest.mark.parametrize("batch_size", [700, 1 << 20])
@pytest.mark.parametrize("method", ["winner-image", "winner-audio"])
def test_one_seed_gives_the_same_bits_and_a_resumed_run_too(tmp_path, method, batch_size):
    source = picture(tmp_path / "a.png") if method == "winner-image" else sound(tmp_path / "a.wav")
    options = {"pipeline__datamanager__batch_size": batch_size, "timestamp": "x"}
    schedule = make_config(method).optimizers
    schedule["fields"]["scheduler"].max_steps = 25
    options["optimizers"] = schedule
    whole, again, half = (
        fit(method, source, tmp_path / name, steps, **options) for name, steps in zip("abc", (25, 25, 13), strict=True)
    )
    assert_same(whole, again)
    resumed = fit(method, source, tmp_path / "d", 25, load_dir=half.parent / "nerfstudio_models", **options)
    assert_same(whole, resumed)
    same = ("psnr", "best_psnr", "best_psnr_step")
    assert [metrics_of(whole)[name] for name in same] == [metrics_of(resumed)[name] for name in same]
    other = fit(method, source, tmp_path / "e", 25, machine__seed=7, **options)
    with pytest.raises(AssertionError):
        assert_same(whole, other)


@pytest.mark.commands
def test_a_resumed_run_goes_on_with_the_learning_rate_that_is_asked_for_now(tmp_path, capsys):
    source = picture(tmp_path / "a.png")

    def rate_of(config):
        state = torch.load(next((config.parent / "nerfstudio_models").iterdir()), weights_only=True)
        (weights,) = state["optimizers"]["fields"]["param_groups"]
        return weights["lr"]

    def train(name, steps, rate=None, **changes):
        optimizers = make_config("winner-image").optimizers
        optimizers["fields"]["optimizer"].lr = rate
        optimizers["fields"]["scheduler"].max_steps = 20
        return fit("winner-image", source, tmp_path / name, steps, optimizers=optimizers, **changes)

    half = train("half", 5, 1e-3)
    models = half.parent / "nerfstudio_models"
    kept = train("kept", 10, load_dir=models)
    capsys.readouterr()
    lowered = train("lowered", 10, 1e-4, load_dir=models)
    assert "winner-fit" not in capsys.readouterr().out  # no such command makes a fit of two rates
    assert rate_of(lowered) == pytest.approx(1e-4 * rate_of(kept) / 1e-3)
    assert rate_of(lowered) == pytest.approx(rate_of(train("whole", 10, 1e-4)))


@pytest.mark.commands
def test_a_checkpoint_of_another_picture_is_refused(tmp_path):
    first = fit("winner-image", picture(tmp_path / "a.png"), tmp_path / "a")
    models = first.parent / "nerfstudio_models"
    alike = Pillow.open(tmp_path / "a.png").transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)
    alike.save(tmp_path / "alike.png")
    for other, changes in (
        (picture(tmp_path / "b.png", (41, 60)), {}),
        (tmp_path / "alike.png", {}),
        (tmp_path / "a.png", {"pipeline__datamanager__dataparser__train_fraction": 0.5}),
    ):
        with pytest.raises(SystemExit, match="does not fit this run: these weights belong to another target"):
            fit("winner-image", other, tmp_path / "b", 30, load_dir=models, **changes)
    # The same picture by another name is the same.
    Pillow.open(tmp_path / "a.png").save(tmp_path / "copy.tif")
    fit("winner-image", tmp_path / "copy.tif", tmp_path / "c", 30, load_dir=models)


@pytest.mark.commands
def test_the_metrics_are_against_the_clean_signal_and_the_best_step_is_told(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(-1, 1, 400))
    # A network that learns fast and has no idea of smoothness: it fits the noise before long.
    config = fit(
        "winner-audio", tmp_path / "a.npy", tmp_path, 200, pipeline__datamanager__dataparser__noise_std=0.3,
        pipeline__model__hidden_dim=64, pipeline__model__noise__s0=900.0, pipeline__model__noise__s1=0.3,
    )  # fmt: skip
    metrics = metrics_of(config)
    assert metrics["psnr_target"] == pytest.approx(20 * np.log10(2 / 0.3), abs=0.5)
    assert metrics["psnr"] < metrics["best_psnr"]
    assert metrics["best_psnr_step"] < 200


@pytest.mark.commands
def test_a_noisy_picture_with_its_clean_one_named(tmp_path):
    clean = np.asarray(Pillow.open(picture(tmp_path / "clean.png"))).astype(float)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 12, clean.shape), 0, 255).astype(np.uint8)
    Pillow.fromarray(noisy).save(tmp_path / "noisy.png")
    config = fit(
        "winner-image", tmp_path / "noisy.png", tmp_path, 60,
        pipeline__datamanager__dataparser__reference=tmp_path / "clean.png",
    )  # fmt: skip
    expected = 20 * np.log10(255 / np.sqrt(((noisy - clean) ** 2).mean()))
    assert metrics_of(config)["psnr_target"] == pytest.approx(expected, abs=0.01)


@pytest.mark.commands
def test_held_out_samples_are_measured_apart(tmp_path):
    config = fit(
        "winner-image", picture(tmp_path / "a.png", channels=1), tmp_path, 100,
        pipeline__datamanager__dataparser__train_fraction=0.5, pipeline__model__noise__s0=60.0,
        pipeline__model__noise__s1=0.3, pipeline__model__hidden_dim=64,
    )  # fmt: skip
    metrics = metrics_of(config)
    assert metrics["psnr"] > metrics["psnr_held_out"] + 3
    assert "best_psnr_held_out_step" in metrics


@pytest.mark.commands
@pytest.mark.parametrize(
    "network", ["siren", "finer", "finer++", "wire", "gauss", "relu-pe", "siren-rff", "h-siren", "staf"]
)
def test_every_network_trains_is_kept_and_comes_back(tmp_path, network):
    source = picture(tmp_path / "a.png")
    options = make_config("winner-image").optimizers
    options["fields"]["optimizer"].lr = 5e-3 if network == "relu-pe" else 1e-3
    size = {"pipeline__model__hidden_dim": 48, "pipeline__model__num_layers": 3}
    config = fit("winner-image", source, tmp_path, 150, pipeline__model__network=network, optimizers=options, **size)
    metrics = metrics_of(config)
    assert metrics["best_psnr"] > 16.5  # a constant has 14
    expected = "psi=0." if network == "siren" else f"{network}"
    path = max((config.parent / "nerfstudio_models").glob("*.ckpt"))
    state = torch.load(path, weights_only=True)["pipeline"]
    assert state["_model._extra_state"]["init"].startswith(expected)
    values = load_run(config)
    assert values.spec["name"] == network
    export_image(values, tmp_path / "b.png")
    before, after = (np.asarray(Pillow.open(tmp_path / name)).astype(float) for name in ("a.png", "b.png"))
    psnr = 20 * np.log10(255 / np.sqrt(((before - after) ** 2).mean()))
    assert psnr == pytest.approx(metrics["psnr"], abs=0.5)


@pytest.mark.commands
def test_the_published_schedules_can_be_chosen_and_divide_by_the_channels(tmp_path):
    source, chosen = picture(tmp_path / "a.png"), {}
    for schedule in ("matched", "reference"):
        config = fit("winner-image", source, tmp_path, 1, pipeline__model__noise__schedule=schedule)
        state = torch.load(max((config.parent / "nerfstudio_models").glob("*")), weights_only=True)["pipeline"]
        words = dict(part.split("=") for part in state["_model._extra_state"]["init"].split(", "))
        chosen[schedule] = {name: float(words[name]) for name in ("psi", "s0", "s1")}
    psi = chosen["reference"]["psi"]
    assert chosen["reference"]["s1"] == pytest.approx(0.4 * psi / 9, rel=0.01)
    assert chosen["reference"]["s0"] == pytest.approx(50 * (1 - np.exp(-5 * psi / 9)), rel=0.01)


def make(path):
    """A small file of a format that people have, from the built-in samples."""
    if path.name.endswith((".wav", ".flac")):
        values, rate = SOUNDS[path.stem]()
        soundfile.write(path, values[:4000], rate, subtype="PCM_16")
    else:
        Pillow.fromarray(IMAGES[path.stem]()[80:144, 60:140].squeeze()).save(path)
    return path


@pytest.mark.commands
@pytest.mark.parametrize(
    "path",
    ["weave.png", "mandala.png", "mandala.jpg", "bells.wav", "crickets.flac", *FILES],
    ids=lambda path: Path(path).name,
)
def test_every_file_comes_back_as_it_was(tmp_path, path):
    path = make(tmp_path / path) if isinstance(path, str) else path
    image = path.suffix in (".png", ".jpg")
    config = fit("winner-image" if image else "winner-audio", path, tmp_path, 100)
    psnr = metrics_of(config)["psnr"]
    output = tmp_path / f"back{path.suffix}"
    (export_image if image else export_audio)(load_run(config), output)
    if image:
        before, after = Pillow.open(path), Pillow.open(output)
        assert (before.size, before.mode) == (after.size, after.mode)
        assert np.asarray(before).dtype == np.asarray(after).dtype
        # And as good as the run said: what was fitted is what was written.
        error = np.asarray(before).astype(float) - np.asarray(after)
        assert 20 * np.log10(255 / np.sqrt(np.mean(error**2))) == pytest.approx(psnr, abs=0.2)
        return
    before, after = soundfile.info(path), soundfile.info(output)
    for name in ("samplerate", "channels", "frames", "subtype", "format"):
        assert getattr(before, name) == getattr(after, name), name
    wanted, written = soundfile.read(path)[0], soundfile.read(output)[0]
    error = (wanted - written) / np.abs(wanted).max()
    assert 20 * np.log10(2 / np.sqrt(np.mean(error**2))) == pytest.approx(psnr, abs=0.1)


def published(method, path, folder, **changes):
    options = make_config(method).optimizers
    options["fields"]["optimizer"].lr = 1e-4
    options["fields"]["scheduler"].final_factor = 1.0
    folder.mkdir(parents=True, exist_ok=True)
    return metrics_of(fit(method, path, folder, optimizers=options, **PAPER, **changes))


@pytest.mark.quality
@pytest.mark.parametrize(
    "data, side", [("sample:weave", 64), pytest.param(SHARED / "images" / "camera.png", 64, marks=needs_shared)]
)
def test_the_published_rule_on_a_grey_picture(tmp_path, data, side):
    metrics = published(
        "winner-image", data, tmp_path, pipeline__model__hidden_dim=256,
        pipeline__datamanager__dataparser__max_side=side, pipeline__model__noise__schedule="reference",
    )  # fmt: skip
    assert metrics["psnr_peak_to_peak"] >= 50


@pytest.mark.quality
@pytest.mark.parametrize(
    "data, start",
    [
        ("sample:bells", 0.3),
        pytest.param(SHARED / "audio" / "gt_bach.wav", 308_207 // 3 / 44_100, marks=needs_shared),
    ],
)
def test_the_published_rule_on_a_recording(tmp_path, data, start):
    metrics = published(
        "winner-audio", data, tmp_path, pipeline__model__hidden_dim=222,
        pipeline__datamanager__dataparser__start=start,
        pipeline__datamanager__dataparser__max_samples=8000, pipeline__model__noise__schedule="reference",
    )  # fmt: skip
    assert metrics["psnr"] >= 67


@needs_shared
@pytest.mark.quality
def test_colour_gains_from_a_schedule_that_is_not_divided_by_the_channels(tmp_path):
    ours, theirs = (
        published(
            "winner-image",
            SHARED / "images" / "castle_512.jpg",
            tmp_path / schedule,
            pipeline__model__hidden_dim=256,
            pipeline__datamanager__dataparser__max_side=96,
            **{f"pipeline__model__noise__{name}": value for name, value in noise.items()},
        )
        # At the target's own mean frequency; the default is a little below, for what lies between the samples.
        for schedule, noise in (("matched", {"exactness": 0.5}), ("reference", {"schedule": "reference"}))
    )
    assert ours["psnr"] >= theirs["psnr"] + 5
