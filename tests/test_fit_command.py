"""What ``winner-fit`` says and writes, and that a poor fit says so."""

import io
import json
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import soundfile
import trimesh
from PIL import Image

from winner_nerfstudio import fit, load_field
from winner_nerfstudio.cli import fit as command
from winner_nerfstudio.metrics.grid import mean_psnr
from winner_nerfstudio.registry import export_for, kind_named
from winner_nerfstudio.results import format_bytes, results_table
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.verdict import POOR_FIT, judge
from winner_nerfstudio.training.watch import describe_status

from .meshes import sphere

SMALL = ["--hidden-dim", "24", "--num-layers", "2", "--steps"]


@pytest.fixture
def picture(tmp_path):
    x = np.linspace(0, 1, 24)
    Image.fromarray((127 * (1 + np.sin(25 * x)[:, None] * np.cos(31 * x))).astype(np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def winner_fit(monkeypatch, tmp_path):
    """The command in this process: a function from its arguments to the exit status and what it has printed."""

    def call(*arguments):
        output, handler = io.StringIO(), signal.getsignal(signal.SIGTERM)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["winner-fit", *map(str, arguments)])
        with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit) as stopped:
            command.main()
        signal.signal(signal.SIGTERM, handler)
        status = stopped.value.code
        if isinstance(status, str):
            output.write(status)
            status = 1
        return status, output.getvalue()

    return call


def test_one_command_writes_all_its_outputs_as_the_library_would(picture, winner_fit, tmp_path):
    status, shown = winner_fit(picture, "--output", "b.png", "b.safetensors", "b.npy", *SMALL, 100, "--seed", 7)
    assert status == 0, shown
    assert "a.png: fitting a picture; to be written: b.png (image), b.safetensors (field), b.npy (image)" in shown
    assert "fitting with siren, 2 layers of 24, 697 weights, 2.79 kB (the file has" in shown
    assert "psnr peak to peak" in shown
    field = load_field(tmp_path / "b.safetensors")
    expected = fit(picture, hidden_dim=24, num_layers=2, steps=100, seed=7, progress=False)
    np.testing.assert_array_equal(field.image(), expected.image())
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), expected.image())
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), expected.image())
    assert field.provenance["figures"] == expected.provenance["figures"]


def test_a_second_fit_of_the_same_file_shows_the_first_ones_values(picture, winner_fit, tmp_path):
    winner_fit(picture, "--output", "b.safetensors", *SMALL, 60)
    first = load_field(tmp_path / "b.safetensors").provenance["figures"]["psnr"]
    _, shown = winner_fit(picture, "--output", "b.safetensors", *SMALL, 100)
    (line,) = [line for line in shown.splitlines() if re.match("│ psnr +│", line)]
    assert f"{first:.5g} dB" in line.split("│")[3]


def test_a_fit_without_an_error_is_infinitely_good(winner_fit, tmp_path):
    Image.fromarray(np.full((40, 40), 200, np.uint8)).save(tmp_path / "grey.png")
    status, shown = winner_fit("grey.png", "--output", "b.png", "b.safetensors", "--parts", 2, *SMALL, 3)
    assert status == 0, shown
    assert re.search("│ psnr +│ +inf dB │", shown)
    assert "psnr" not in load_field(tmp_path / "b.safetensors").provenance["figures"], "JSON cannot write it"
    assert (np.asarray(Image.open(tmp_path / "b.png")) == 200).all()


def test_a_failed_fit_says_so_and_replaces_nothing(picture, winner_fit, tmp_path):
    (tmp_path / "b.png").write_bytes(b"good")
    status, shown = winner_fit(picture, "--output", "b.png", "b.npy", *SMALL, 20, "--learning-rate", 10)
    assert status == POOR_FIT
    assert "the fit failed: it is not a decibel better than the target's mean, whose psnr is" in shown
    assert "try a lower learning rate" in shown
    assert "b.png: kept as it was" in shown
    assert (tmp_path / "b.png").read_bytes() == b"good"
    assert (tmp_path / "b.npy").exists()


def test_a_volume_without_a_surface_is_not_fitted_for_a_mesh(winner_fit, tmp_path):
    np.save(tmp_path / "flat.npy", np.full((6, 6, 6), 3.0))
    (tmp_path / "a.ply").write_bytes(b"good")
    status, shown = winner_fit("flat.npy", "--output", "a.ply", "a.npy", *SMALL, 1)
    assert status != 0
    assert "a.ply: flat.npy has no surface at its level; name another --level, or no mesh" in f"{status} {shown}"
    assert (tmp_path / "a.ply").read_bytes() == b"good"
    assert not (tmp_path / "a.npy").exists()


def test_a_failed_fit_without_a_surface_says_why_it_writes_no_mesh(winner_fit, tmp_path, recwarn):
    np.save(tmp_path / "ball.npy", 4.0 - np.linalg.norm(np.indices((12, 12, 12)) - 5.5, axis=0))
    status, shown = winner_fit("ball.npy", "--output", "b.ply", *SMALL, 1, "--learning-rate", 1e-9)
    assert status == POOR_FIT, shown
    assert "b.ply: not written, because the fit failed: there is no surface at level 0" in shown
    assert not (tmp_path / "b.ply").exists()
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_a_sound(winner_fit, tmp_path):
    _, shown = winner_fit("sample:bells", "--output", "b.flac", *SMALL, 5, "--max-samples", 500)
    assert "b.flac: 500 samples at 16000 Hz" in shown
    assert soundfile.info(tmp_path / "b.flac").frames == 500


@pytest.mark.quality
def test_a_mesh(winner_fit, tmp_path):
    sphere(2.0, center=(5, 0, 0)).export(tmp_path / "ball.ply")
    smooth = ["--init", "siren", "--omega-0", "10", "--first-omega-0", "10", "--eval-resolution", "24"]
    smooth += ["--steps-per-chunk", "16", "--passes", "4"]
    status, shown = winner_fit("ball.ply", "--output", "b.obj", *SMALL, 150, *smooth)
    assert status in (0, POOR_FIT), shown
    np.testing.assert_allclose(trimesh.load(tmp_path / "b.obj", force="mesh").bounds.mean(0), [5, 0, 0], atol=0.3)


def test_open_draws_a_picture_beside_its_target(picture, winner_fit, monkeypatch):
    opened = []
    monkeypatch.setattr("winner_nerfstudio.cli.show.open_file", lambda path: opened.append(path) or True)
    _, shown = winner_fit(picture, "--output", "b.png", *SMALL, 5, "--open")
    (path,) = opened
    assert f"{path}: the target and the fit\n" in shown
    assert Image.open(path).size == (1500, 750)


@pytest.mark.parametrize("colors", [False, True])
def test_open_shows_a_shape_whole_upright_and_with_its_colours(monkeypatch, colors):
    pytest.importorskip("viser")
    from winner_nerfstudio.nerfstudio.viewer import mesh_page

    ball = sphere(0.01, center=(500, 0, 0))
    if colors:
        ball.visual.vertex_colors = np.tile([255, 128, 0, 255], (len(ball.vertices), 1))
    page = MagicMock()
    monkeypatch.setattr(mesh_page.viser, "ViserServer", lambda **options: page)
    mesh_page.start_page(ball, "y")
    page.scene.set_up_direction.assert_called_once_with("+y")
    if colors:
        (_, data), _ = page.scene.add_glb.call_args
        shown = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh")
        assert shown.visual.vertex_colors[0].tolist() == [255, 55, 0, 255]  # linear light
        vertices = shown.vertices
    else:
        (_, vertices, faces), _ = page.scene.add_mesh_simple.call_args
        assert (faces == ball.faces).all()
    radius = np.linalg.norm(vertices, axis=-1)
    assert 1 < radius.min() <= radius.max() < 2.6


def test_a_texture_is_for_the_files_that_hold_one():
    request = command.Fit(Path("box.obj"), (Path("b.glb"), Path("b.ply"), Path("b.safetensors")), texture=64)
    of_mesh, of_points, of_field = request.find_exports(kind_named("sdf"))
    assert (of_mesh.texture, of_points.texture) == (64, None)
    assert of_field.result == "field"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["no.png", "--output", "b.png"], "no.png: no such file; the file comes first"),
        (["empty.png", "--output", "b.png"], "empty.png: is empty"),
        (["/dev/null", "--output", "b.png"], "/dev/null: is no regular file but a pipe, a socket or a device"),
        (["/dev/null", "--kind", "image", "--output", "b.png"], "/dev/null: is no regular file but a pipe"),
        (["/dev/null", "--kind", "audio", "--output", "folder"], "/dev/null: is no regular file but a pipe"),
        (
            ["https://example.com/a.png", "--output", "b.png"],
            "https://example.com/a.png: is a URL, which is not read",
        ),
        (["file:///nowhere/a.png", "--output", "b.png"], "/nowhere/a.png: no such file; the file comes first"),
        (["file:///nowhere/a%20b.png", "--output", "b.png"], "/nowhere/a b.png: no such file; the file comes first"),
        (["file://nowhere/a.png", "--output", "b.png"], "file://nowhere/a.png: names no file of this machine; write"),
        ([".", "--output", "b.png"], ".: is a folder; give a file, or fit all files of a folder by winner-batch"),
        (["a.png", "--output", "a.png"], "a.png: is the file that is fitted"),
        (["a.png", "--output", "b.png", "./b.png"], "--output names a file twice"),
        (
            ["a.png", "--output", "b.png", "--output=b.npy"],
            "--output is given twice, and only the last would be written",
        ),
        (
            ["a.png", "--output", "b.png", "--engine", "ray"],
            "are for a fit part by part, into a folder; --output takes",
        ),
        (
            ["a.png", "--output", "b.png", "--memory", "1e9"],
            "--memory, --group-samples, --engine, --cpus and --gpus are",
        ),
        (["a.png", "--output", "b.png", "--group-samples", "9"], "are for a fit part by part, into a folder; --output"),
        (["a.png", "--output", "folder", "--open"], "--open shows a fit in memory, and --output names a folder"),
        (["a.png", "--output", "a.png/b.png"], "a.png is a file and no folder"),
        (
            ["a.png", "--reference", "deep.png", "--output", "deep.png"],
            "deep.png: is read for this fit; choose",
        ),
        (["a.png", "--reference=deep.png", "--output", "deep.png"], "deep.png: is read for this fit; choose"),
        (["a.png", "--output", "b.wav"], "b.wav: a fit of a picture is not written as .wav; use .png"),
        (["a.png", "--output", "b.png", "--steps", "0"], "steps=0 must be a whole number"),
        (["a.png", "--output", "b.png", "--s0", "3"], "s0 and noise.s1 go together"),
        (["a.png", "--output", "b.png", "--max-side", "0"], "max_side=0"),
        (["deep.png", "--output", "b.jpg"], "b.jpg: .jpg cannot hold a picture of mode"),
        (["a.png", "--output", "b.png", "--texture", "64"], "--texture is for .glb and .obj files, and --output names"),
        (["ball.ply", "--output", "b.glb", "--texture", "64"], "a texture holds fitted colours, and there are none"),
        (["ball.ply", "--output", "taken.obj", "--texture", "64"], "taken.mtl: is there already, and would be written"),
        (["--help-all"], "--help-all needs a file, or a kind"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, words, picture, winner_fit, tmp_path):
    (tmp_path / "empty.png").touch()
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(tmp_path / "deep.png")
    trimesh.creation.box().export(tmp_path / "ball.ply")
    (tmp_path / "taken.mtl").touch()
    status, shown = winner_fit(*arguments)
    assert status == 1
    assert words in shown.splitlines()[-1]
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    "arguments, line",
    [
        (["--stepz", "4"], "--stepz is no option for a fit of a picture; is --steps meant? --help-all lists them"),
        (["--exactnes", "0.4"], "--exactnes is no option for a fit of a picture; is --exactness meant? --help-all"),
        (["--duration", "3"], "--duration is no option for a fit of a picture; --help-all lists them"),
        (["--steps", "4", "b.jpg"], "b.jpg: is no option; files come first, then options as --name VALUE"),
    ],
)
def test_an_unknown_option_is_one_line_with_the_one_that_may_be_meant(arguments, line, picture, winner_fit):
    status, shown = winner_fit(picture, "--output", "b.png", *arguments)
    assert status == 2
    assert shown.splitlines()[-1].startswith(f"error: {line}")


def test_help_fits_on_a_screen_and_help_all_has_every_option(picture, winner_fit):
    status, shown = winner_fit("--help")
    assert status == 0
    assert len(shown.splitlines()) <= 40
    for option in ("--output", "--steps", "--learning-rate", "--seed", "--device", "--open", "--help-all"):
        assert option in shown
    assert re.fullmatch(r"winner-nerfstudio \d+\.\d+.*\n", winner_fit("--version")[1])
    for arguments in ([picture], ["--steps", 10, picture, "--output", "b.png", "--s0", 3], ["--kind=image"]):
        status, shown = winner_fit(*arguments, "--help-all")
        assert status == 0, shown
        options = "--max-side", "--train-fraction", "--hidden-dim", "--parts", "--exactness", "--s0", "--batch-size"
        for option in options:
            assert option in shown


@pytest.mark.commands
def test_a_bad_request_is_refused_before_torch_is_imported(picture):
    code = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "scipy", "trimesh", "cv2"):
            raise AssertionError(name + " is imported")
sys.meta_path.insert(0, Block())
from winner_nerfstudio.cli.fit import main
sys.argv = ["winner-fit", *sys.argv[1:]]
main()
"""
    for arguments in (["no.png", "--output", "b.png"], [picture, "--output", "b.xyz"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: "), done.stderr


def test_an_interrupted_fit_writes_what_is_there(picture, winner_fit, monkeypatch, tmp_path):
    step = Training.step

    def interrupted(training):
        if training.done == 30:
            raise KeyboardInterrupt
        step(training)

    monkeypatch.setattr(Training, "step", interrupted)
    status, shown = winner_fit(picture, "--output", "b.safetensors", *SMALL, 300)
    assert status == 130
    assert "interrupted: what follows is the field of 30 of 300 steps" in shown
    assert load_field(tmp_path / "b.safetensors").provenance["steps"] == 30


def test_an_interrupted_fit_that_has_learnt_nothing_replaces_nothing(picture, winner_fit, monkeypatch, tmp_path):
    step = Training.step

    def interrupted(training):
        if training.done == 2:
            raise KeyboardInterrupt
        step(training)

    monkeypatch.setattr(Training, "step", interrupted)
    (tmp_path / "b.png").write_bytes(b"good")
    status, shown = winner_fit(picture, "--output", "b.png", "b.npy", *SMALL, 300)
    assert status == 130
    assert "the fit failed" in shown
    assert "b.png: kept as it was, because the fit failed" in shown
    assert (tmp_path / "b.png").read_bytes() == b"good"
    assert (tmp_path / "b.npy").exists()


def test_what_onnx_cannot_hold_is_refused_before_the_training(picture, winner_fit, monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(Training, "step", lambda training: pytest.fail("trained"))
    status, shown = winner_fit(picture, "--output", "b.onnx", "--network", "wire", *SMALL, 300)
    assert status == 1
    assert shown.splitlines()[-1] == "error: b.onnx: ONNX has no complex numbers, which wire computes with"
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    status, shown = winner_fit(picture, "--output", "b.onnx", *SMALL, 300)
    assert status == 1
    assert shown.splitlines()[-1].startswith("error: b.onnx: --format onnx needs onnxscript")


def test_another_error_of_a_failed_fit_is_not_laid_to_it(picture, winner_fit, monkeypatch, tmp_path):
    def refuse(*_):
        raise ValueError("the format is full")

    monkeypatch.setattr("winner_nerfstudio.export.grid.export_image", refuse)
    status, shown = winner_fit(picture, "--output", "b.npy", *SMALL, 20, "--learning-rate", 10)
    assert status == 1
    assert "error: the format is full" in shown
    assert "not written, because the fit failed" not in shown


def test_fit_warns_of_a_fit_that_failed_and_is_silent_about_a_good_one(picture, recwarn):
    with pytest.warns(UserWarning, match="the fit failed: it is not a decibel better than the target's mean"):
        fit(picture, steps=20, learning_rate=10.0, hidden_dim=24, progress=False)
    recwarn.clear()
    fit(picture, steps=300, hidden_dim=64, num_layers=3, progress=False)
    assert not [warning for warning in recwarn if "the fit" in str(warning.message)]


class Target:
    def __init__(self, values):
        self.truth = values
        self.channels, self.fitted, self.derivatives = values.shape[-1], None, None


def test_one_function_judges_fits_of_every_kind():
    image, noise = kind_named("image"), Target(np.random.default_rng(0).uniform(-1, 1, (20, 20, 1)).astype(np.float32))
    rising = [[50, 0.1, {"psnr": 20.0}], [100, 0.1, {"psnr": 23.0}]]
    flat = [[50, 0.1, {"psnr": 22.0}], [100, 0.1, {"psnr": 23.0}]]
    assert judge(image, noise, {"psnr": mean_psnr(noise) + 0.9}, flat).failed
    assert judge(image, noise, {"psnr": float("nan")}, flat).failed
    assert judge(image, noise, {"psnr": mean_psnr(noise) + 1.1}, flat) is None
    assert mean_psnr(noise) == pytest.approx(20 * np.log10(2 / noise.truth.std()), abs=1e-3)
    assert judge(image, noise, {"psnr": float("inf")}, flat) is None
    unfinished = judge(image, noise, {"psnr": 23.0}, rising)
    assert not unfinished.failed
    assert "psnr 23, 3 more than after half of them; try more steps" in unfinished.text
    good = [[50, 0.1, {"psnr": 35.0}], [100, 0.1, {"psnr": 45.0}]]
    assert judge(image, noise, {"psnr": 45.0}, good) is None
    assert judge(image, noise, {"psnr": 23.0}, rising[1:]) is None  # nothing to compare with
    constant = Target(np.zeros((9, 9, 1), np.float32))
    far = judge(image, constant, {"psnr": 29.0}, [])
    assert far.failed
    assert "is further than 30 dB from a target that is constant (psnr 29)" in far.text
    assert judge(image, constant, {"psnr": 31.0}, []) is None
    shape = kind_named("sdf")
    from winner_nerfstudio.signals.shape import load_shape

    ball = load_shape(sphere(1.0))
    assert judge(shape, ball, {"iou": 0.4}, []).failed
    assert "has no surface" in judge(shape, load_shape(sphere(1.0), sign="unsigned"), {}, []).text
    assert judge(shape, ball, {"iou": 0.99}, []) is None


def test_a_metric_is_shown_with_the_step_at_which_it_was_taken():
    history = [[200, 0.5, {"psnr": 21.5, "psnr_held_out": 20.25}]]
    assert describe_status(0.125, history) == "loss 0.125, psnr 21.5, psnr held out 20.25 at step 200"
    assert describe_status(0.125, []) == "loss 0.125"


def test_the_table_has_units_sizes_and_what_was_before():
    from rich.console import Console

    console = Console(width=160, file=io.StringIO())
    console.print(results_table({"psnr": 31.25, "chamfer_l1": 0.0012}, {"weights": 4096}, {"psnr": 30.0}))
    shown = console.file.getvalue()
    assert "31.25 dB" in shown
    assert "30 dB" in shown
    assert "0.12 %" in shown
    assert "4,096 bytes" in shown


def test_every_metric_of_every_kind_has_a_meaning():
    from winner_nerfstudio.metrics.descriptions import describe_metric

    for kind in ("sdf", "image", "audio", "volume"):
        for name in kind_named(kind).metric_names.names:
            if not name.startswith("best_psnr_paper"):
                assert describe_metric(name).meaning, name


def test_the_registry_finds_the_export_of_a_suffix(tmp_path):
    names = {"a.wav": "audio", "a.FLAC": "audio", "a.onnx": "field", "a.npy": "audio", "a.w64": "audio"}
    for name, result in names.items():
        assert export_for(kind_named("audio"), tmp_path / name).result == result
    assert export_for(kind_named("volume"), tmp_path / "a.glb").result == "mesh"
    assert export_for(kind_named("volume"), tmp_path / "a.npz").result == "volume"
    with pytest.raises(ValueError, match=r"a fit of a shape is not written as \.wav; use \.ply \.obj"):
        export_for(kind_named("sdf"), tmp_path / "a.wav")


def test_the_field_file_of_a_fit_says_what_it_reached(picture, winner_fit, tmp_path):
    winner_fit(picture, "--output", "b.safetensors", *SMALL, 20)
    provenance = load_field(tmp_path / "b.safetensors").provenance
    assert provenance["steps"] == 20
    json.dumps(provenance)


def test_a_name_without_suffix_is_a_folder_that_a_large_signal_is_fitted_into(winner_fit, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (96, 70)).astype(np.uint8))
    arguments = ["a.npy", "--output", "folder", "--kind", "image", "--parts", "3", *SMALL, "3"]
    status, shown = winner_fit(*arguments)
    assert status == 0, shown
    assert "6 parts of" in shown
    assert "winner-export image --load-config folder --output FILE" in shown
    assert load_field(tmp_path / "folder").image().shape == (96, 70)
    status, shown = winner_fit(*arguments, "--seed", "1")
    assert "holds another fit" in f"{status}{shown}"
    assert "6 parts of 34 x 36 samples in 1 group" in winner_fit(*arguments)[1]
    arguments[2] = "other"
    assert "in 3 groups" in winner_fit(*arguments, "--group-samples", "2500")[1]
    assert "or 1e+06 bytes has no room for one part" in winner_fit(*arguments, "--memory", "1e6")[1]


def test_a_folder_beside_other_results_is_refused(winner_fit, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 9), np.uint8))
    status, shown = winner_fit("a.npy", "--output", "folder", "a.png")
    assert "names a folder, without a suffix, beside other results" in f"{status}{shown}"


@pytest.mark.parametrize(
    "count, words", [(2790, "2.79 kB"), (999_400, "999 kB"), (999_600, "1 MB"), (999_600_000, "1 GB"), (12, "0.012 kB")]
)
def test_bytes_are_counted_in_the_unit_that_needs_no_exponent(count, words):
    assert format_bytes(count) == words
