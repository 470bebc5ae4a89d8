"""``winner-analyze``: what it writes, what it says, and how a user's mistake ends."""

import json
import re
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from winner_nerfstudio.analysis import plots
from winner_nerfstudio.cli import analyze
from winner_nerfstudio.training.initialize import build_field, initialize_
from winner_nerfstudio.training.loss import SquareLoss
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

from .meshes import sphere

SMALL = ["--hidden-dim", "16", "--num-layers", "2", "--steps", "3", "--batch-size", "64"]
SMALL += ["--samples", "512", "--kernel-points", "32"]
FILES = ["analysis.json", "ntk.png", "spectra.png"]


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command in a folder of its own, as its entry point does."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["winner-analyze", *map(str, arguments)])
        analyze.main()

    return call


@pytest.fixture
def undrawn(monkeypatch):
    """The files without the pictures, which take most of the time."""
    for name in ("draw_spectra", "draw_kernel", "draw_parts"):
        monkeypatch.setattr(analyze, name, lambda found, path: path.write_bytes(b""))


def series(folder):
    np.save(folder / "a.npy", np.sin(np.arange(300)) + 0.3 * np.sin(2.5 * np.arange(300)))
    return "a.npy"


def picture(folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)).save(folder / "a.png")
    return "a.png"


def volume(folder):
    np.save(folder / "v.npy", np.random.default_rng(0).random((18, 20, 24)))
    return "v.npy"


def mesh(folder):
    sphere(20.0).export(folder / "ball.ply")
    return "ball.ply"


@pytest.mark.commands
@pytest.mark.parametrize(
    "make, unit", [(series, "Hz"), (picture, "cycles per pixel"), (volume, "spacing"), (mesh, "mesh")]
)
def test_every_kind_of_file_is_analysed(make, unit, command, tmp_path, capsys):
    command("--data", make(tmp_path), "--output", "found", *SMALL)
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == FILES
    found = json.loads((tmp_path / "found" / "analysis.json").read_text())
    assert [(state["init"], state["steps"]) for state in found["states"]] == [
        (init, steps) for init in ("siren", "winner") for steps in (0, 3)
    ]
    for state in found["states"]:
        assert [len(layer["density"]) for layer in state["layers"]] == [len(found["frequency"])] * 5
        assert len(state["ntk"]["eigenvalues"]) == found["kernel"]["samples"]
        assert 1 <= state["ntk"]["effective_rank"] <= found["kernel"]["samples"]
        assert ("psnr" in state) == (make is not mesh)
    for name in ("spectra.png", "ntk.png"):
        pixels = np.asarray(Image.open(tmp_path / "found" / name))
        assert min(pixels.shape[:2]) > 400
        assert pixels.std() > 5
    shown = capsys.readouterr().out
    if make is series:
        assert "spectra: 300 of 300 samples\n" in shown
    for words in ("target", "SIREN, start", "SIREN, 3 steps", "WINNER, start", "WINNER, 3 steps", unit):
        assert words in shown
    assert shown.splitlines()[-1] == "found: analysis.json, spectra.png, ntk.png"


def test_what_was_left_out_is_told(command, undrawn, tmp_path, capsys):
    command("--data", picture(tmp_path), "--init", "winner", *SMALL)
    shown = capsys.readouterr().out
    assert "spectra: 17 of 20 lines along the last axis, 30 of 30 samples of each" in shown
    assert "kernel: 30 neighbouring samples of 600, the sum of the 3 channels" in shown
    assert "fit: 3 steps of 64 points; a whole run takes 3,000" in shown
    assert "SIREN" not in shown
    assert sorted(path.name for path in (tmp_path / "outputs" / "a" / "winner-analyze").iterdir()) == FILES


def test_a_part_of_the_target_will_do(command, undrawn, tmp_path):
    for data, arguments, expected in (
        (series(tmp_path), ["--max-samples", "200"], [200]),
        (picture(tmp_path), ["--max-side", "18"], [12, 18]),
    ):
        command("--data", data, "--init", "siren", "--output", "found", *SMALL, "--steps", "0", *arguments)
        found = json.loads((tmp_path / "found" / "analysis.json").read_text())
        assert found["target"]["samples"] == expected


def test_a_picture_of_many_pixels_is_analysed_in_parts_and_what_an_earlier_run_left_is_removed(
    command, undrawn, tmp_path, capsys
):
    pixels = np.random.default_rng(0).integers(0, 255, (100, 90), np.uint8)
    pixels[:, :40] = 90
    Image.fromarray(pixels).save(tmp_path / "large.png")
    command("--data", "large.png", "--output", "found", "--steps", "0", "--samples", "512")
    shown = capsys.readouterr().out
    for words in ("large.png: 9 parts of 35 x 32 samples", "centroid", "s0", "s1", "(lowest centroid)"):
        assert words in shown
    found = json.loads((tmp_path / "found" / "analysis.json").read_text())
    assert found["parts"]["count"] == [3, 3]
    assert min(member["index"][1] for member in found["members"].values()) > 0, "the plain parts are left out"
    each = [f"{plot}-{rank}.png" for rank in ("highest", "lowest", "median") for plot in ("ntk", "spectra")]
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == sorted(["analysis.json", "parts.png", *each])
    command("--data", series(tmp_path), "--output", "found", *SMALL, "--steps", "0")
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == FILES


def test_a_constant_target_is_fitted_exactly(command, undrawn, tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.full(300, 0.5))
    command("--data", "a.npy", *SMALL, "--parts", "4")
    assert capsys.readouterr().out.count("exact") == 3 * 4, "three parts, each by two initialisations, before and after"


def test_data_that_is_a_folder_is_no_fit(command, undrawn, tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.open_array(str(tmp_path / "v.zarr"), mode="w", shape=(18, 20, 24), dtype="f4")
    array[:] = np.random.default_rng(0).random((18, 20, 24))
    command("--data", "v.zarr", "--output", "found", *SMALL, "--steps", "0", "--init", "siren")
    assert json.loads((tmp_path / "found" / "analysis.json").read_text())["target"]["samples"] == [18, 20, 24]


@pytest.mark.parametrize("make, parts", [(series, ["4"]), (picture, ["1", "2"])])
def test_parts_of_every_kind_are_drawn(make, parts, command, undrawn, monkeypatch, tmp_path):
    monkeypatch.setattr(analyze, "draw_parts", plots.draw_parts)
    command("--data", make(tmp_path), "--output", "found", *SMALL, "--steps", "0", "--parts", *parts)
    pixels = np.asarray(Image.open(tmp_path / "found" / "parts.png"))
    assert min(pixels.shape[:2]) > 200
    assert pixels.std() > 5


def test_the_parts_noise_is_that_of_a_fit_and_parts_without_data_are_left_out(command, undrawn, tmp_path):
    values = np.random.default_rng(0).random((60, 64)).astype(np.float32)
    values[:34, :34] = -9
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "-9", True)])  # GDAL's value of no data
    own = ["--parts", "2", "--hidden-dim", "16", "--first-omega-0", "5"]
    command("--data", "a.tif", "--output", "found", *SMALL, *own)
    parts = json.loads((tmp_path / "found" / "analysis.json").read_text())["parts"]
    assert parts["index"] == [[0, 1], [1, 0], [1, 1]]
    signal, options = prepare(
        "a.tif", "image", {"parts": 2, "hidden_dim": 16, "num_layers": 2, "first_omega_0": 5.0, "exactness": 0.05}
    )
    network = make_plan(signal, options, Course()).options.network
    fitted = initialize_(build_field(signal, network, 0), signal, network, 0)
    assert parts["s0"] == pytest.approx([member.s0 for member in fitted.members], rel=1e-3)
    assert min(parts["s0"]) > 0


def test_the_noise_is_what_was_asked_for(command, undrawn, tmp_path):
    command("--data", series(tmp_path), "--noise.s0", "70", "--noise.s1", "0.3", "--output", "found", *SMALL)
    found = json.loads((tmp_path / "found" / "analysis.json").read_text())
    noise = {state["init"]: state["initialization"]["noise"] for state in found["states"]}
    assert noise["siren"] is None
    assert (noise["winner"]["s0"], noise["winner"]["s1"]) == (70, 0.3)


def test_the_knob_turns_the_start_that_is_looked_at(command, undrawn, tmp_path):
    reached = []
    for exactness in ("0.5", "1"):
        command("--data", series(tmp_path), "--init", "winner", "--noise.exactness", exactness, *SMALL, "--steps", "0")
        found = json.loads((tmp_path / "outputs" / "a" / "winner-analyze" / "analysis.json").read_text())
        (state,) = found["states"]
        reached.append(next(each["rms_frequency"] for each in state["layers"] if each["stage"] == "output"))
    assert reached[0] < 0.7 < reached[1]


def test_its_own_result_is_replaced_and_nobody_else_s(command, undrawn, tmp_path):
    data = series(tmp_path)
    for steps in (1, 2):
        command("--data", data, "--output", "found", *SMALL, "--steps", steps)
        assert json.loads((tmp_path / "found" / "analysis.json").read_text())["training"]["steps"] == steps
    (tmp_path / "other").mkdir()
    for name, content in (("ntk.png", "mine"), ("analysis.json", '{"program": "mine"}'), ("analysis.json", "[")):
        (tmp_path / "other" / name).write_text(content)
        with pytest.raises(SystemExit, match=re.escape("error: other/")) as caught:
            command("--data", data, "--output", "other", *SMALL)
        assert "is there already, and not from winner-analyze; choose another --output" in str(caught.value)
        assert (tmp_path / "other" / name).read_text() == content


MEMORY = "[enforce fail at alloc_cpu.cpp:128] data. DefaultCPUAllocator: can't allocate memory: you tried ..."


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt(), RuntimeError(MEMORY)])
def test_what_fails_leaves_nothing_behind(error, command, undrawn, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise error

    data = series(tmp_path)
    monkeypatch.setattr(analyze, "draw_kernel", fail)
    with pytest.raises(SystemExit) as caught:
        command("--data", data, "--output", "found", *SMALL)
    assert not list((tmp_path / "found").iterdir())
    if isinstance(error, OSError):
        assert caught.value.code == "error: no space left"
    elif isinstance(error, RuntimeError):
        assert str(caught.value.code).startswith("error: not enough memory; use fewer --samples and --kernel-points")
    else:
        assert caught.value.code == 130
        assert capsys.readouterr().err == "interrupted: nothing was written\n"


def test_an_interrupted_fit_ends_the_command(command, tmp_path, monkeypatch, capsys):
    terms, calls = SquareLoss.terms, []

    def interrupted(self, outputs, batch):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return terms(self, outputs, batch)

    data = series(tmp_path)
    monkeypatch.setattr(SquareLoss, "terms", interrupted)
    with pytest.raises(SystemExit) as caught:
        command("--data", data, "--output", "found", *SMALL)
    assert caught.value.code == 130
    assert "interrupted: nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--data", "nowhere.png"], "nowhere.png: no such file"),
        (["--data", "what.foo"], "what.foo: cannot tell what a .foo holds"),
        (["--data", "sample:none"], "sample:none: no such built-in sample"),
        (["--data", "a.npy", "--output", "a.npy"], "a.npy: a.npy is a file and no folder; choose another --output"),
        (["--data", "a.npy", "--output", "a.npy/found"], "a.npy/found: a.npy is a file and no folder; choose"),
        (["--data", "a.npy", "--init", "siren", "--noise.s0", "3", "--noise.s1", "0"], "init siren has no noise"),
        (["--data", "a.npy", "--init", "siren", "siren"], "init siren siren must name"),
        (["--data", "a.npy", "--noise.s0", "3"], "noise.s0 and noise.s1 go together"),
        (
            ["--data", "sample:cog", "--noise.schedule", "paper"],
            "noise.schedule paper has no rule for targets of 3 axes",
        ),
        (["--data", "a.npy", "--max-samples", "9"], "a.npy: 9 samples along the last axis are too few"),
        (["--data", "a.npy", "--parts", "25"], "a.npy: its parts have 14 samples along the last axis, and a spectrum"),
        (["--data", "a.npy", "--parts", "120"], "parts=[120] of [300] samples with an overlap of 2 are too many"),
        (
            ["--data", "a.npy", "--parts", "2", "--init", "weight-scaling"],
            "init weight-scaling is for a single network",
        ),
        (["--data", "a.safetensors"], "a.safetensors: is a fit or a folder; give the data that is fitted"),
        (["--data", "a.npy", "--steps", "-1"], "steps=-1 and seed=42 must not be negative"),
        (["--data", "a.npy", "--samples", "3"], "samples=3 must lie between 256 and 131072"),
        (["--data", "a.npy", "--kernel-points", "9999"], "kernel_points=9999 must lie between 16 and 4096"),
        (["--data", "a.npy", "--num-layers", "1"], "num_layers=1 must be at least 2"),
        (["--data", "a.npy", "--batch-size", "0"], "batch_size=0 must be at least 1"),
        (["--data", "a.npy", "--learning-rate", "1e30"], "the fit of siren has diverged"),
    ],
)
def test_what_wont_do_is_one_line(arguments, words, command, tmp_path, capsys):
    series(tmp_path)
    with pytest.raises(SystemExit, match=re.escape(f"error: {words}")) as caught:
        command(*SMALL, "--output", "found", *arguments)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    "option, hint",
    [
        ("--max-side", ""),
        ("--exactness", "is --noise.exactness meant? "),
        ("--noise.exactnes", "is --noise.exactness meant? "),
        ("--max-sample", "is --max-samples meant? "),
        ("--optimizer", ""),
    ],
)
def test_an_option_that_it_has_not_is_refused(option, hint, command, tmp_path, capsys):
    series(tmp_path)
    with pytest.raises(SystemExit):
        command(*SMALL, "--output", "found", "--data", "a.npy", option, "9")
    told = capsys.readouterr().err
    assert told == f"error: {option} is no option for a fit of a sound; {hint}--help lists them\n"
    assert not (tmp_path / "found").exists()
