"""What ``winner-inspect`` says of files."""

import numpy as np
import pytest
import trimesh
from PIL import Image

from winner_nerfstudio.cli.inspect import Inspect, main
from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.training.prepare import sort_options

from .conftest import run
from .meshes import sphere, sphere_with_holes


@pytest.mark.commands
def test_a_mesh_is_described_with_its_noise_and_the_time_of_a_run(tmp_path):
    mesh = trimesh.util.concatenate([sphere_with_holes(2.0, ((0, 0, -1),), 0.2), sphere(0.5, center=(4, 0, 0))])
    mesh.export(tmp_path / "two.obj")
    result = run("winner-inspect", tmp_path / "two.obj", cwd=tmp_path)
    assert result.returncode == 0, result.output
    lines = dict(line.split(": ", 1) for line in result.output.splitlines() if ": " in line)
    assert "1 hole; sign from the generalised winding number" in lines[str(tmp_path / "two.obj")]
    assert lines["pieces"] == "2"
    assert np.allclose([float(x) for x in lines["size"].split(" x ")], [6.5, 4, 3.96], atol=0.03)
    assert lines["open edges"].endswith("in 1 loop")
    assert lines["winding"] == "alike"
    assert " parts, psi=0." in lines["initialisation"]
    assert "schedule=matched, s0=" in lines["initialisation"]
    assert lines["network"].startswith("3 layers of 24, in ")
    assert lines["winner-fit or ns-train winner-sdf"].startswith("1,250 steps of ")


@pytest.mark.commands
def test_a_mesh_that_wont_do_is_one_line(tmp_path):
    sphere_with_holes().export(tmp_path / "open.ply")
    result = run("winner-inspect", "open.ply", "--sign", "watertight", cwd=tmp_path)
    assert result.returncode == 1
    (line,) = [line for line in result.output.splitlines() if "Warning" not in line and "warnings.warn" not in line]
    assert line.startswith("error: open.ply: 1 hole, so it is not watertight")


def test_a_picture_is_described(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8)).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    lines = Inspect(path).run(sort_options(kind_of(path), {}))
    assert "samples: 12 x 20" in lines
    assert lines[-2].startswith("network: 4 layers of 256, 198,915 weights, 796 kB")
    assert lines[-1].startswith("winner-fit or ns-train winner-image: 3,000 steps of 240 points")


def test_the_options_of_a_fit_are_those_of_its_description(tmp_path, monkeypatch, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(tmp_path / "a.png")
    described = []
    for options in (["--parts", "2", "2", "--size", "small"], ["--hidden-dim", "16", "--batch-size", "100"]):
        monkeypatch.setattr("sys.argv", ["winner-inspect", str(tmp_path / "a.png"), *options])
        main()
        described.append(capsys.readouterr().out.splitlines()[-2:])
    assert described[0][0].startswith("network: 4 layers of 32, 4 parts of 33 x 33 samples, together 13,188 weights")
    assert described[1][0].startswith("network: 4 layers of 16, 881 weights, 3.5")
    assert "steps of 100 points" in described[1][1]


@pytest.mark.parametrize(
    "name, shape, method",
    [
        ("a.obj", None, "winner-sdf"),
        ("a.PCD", None, "winner-sdf"),
        ("a.jpg", None, "winner-image"),
        ("a.JFIF", None, "winner-image"),
        ("a.flac", None, "winner-audio"),
        ("cloud.npy", (50, 6), "winner-sdf"),
        ("grey.npy", (50, 60), "winner-image"),
        ("colours.npy", (50, 60, 3), "winner-image"),
        ("series.npy", (50,), "winner-audio"),
        ("stereo.npy", (50, 2), "winner-audio"),
        ("volume.npy", (50, 60, 70), "winner-volume"),
        ("sample:cog", None, "winner-sdf"),
        ("sample:weave", None, "winner-image"),
        ("sample:bells", None, "winner-audio"),
        ("sample:sponge", None, "winner-volume"),
    ],
)
def test_the_method_is_told_by_the_file(tmp_path, name, shape, method):
    from pathlib import Path

    path = Path(name) if shape is None else tmp_path / name
    if shape is not None:
        np.save(path, np.zeros(shape))
    assert kind_of(path).method == method


@pytest.mark.parametrize(
    "name, words",
    [
        ("a.foo", r"a.foo: cannot tell what a .foo holds; .* sdf, image, audio, volume, .* --kind image"),
        ("sample:none", "no such built-in sample"),
        ("turned.npy", r"turned.npy: an array of shape \(3, 40, 30\) may be anything; channels come last"),
    ],
)
def test_a_file_that_nothing_fits_is_an_error(tmp_path, monkeypatch, name, words):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    np.save("turned.npy", np.zeros((3, 40, 30)))
    with pytest.raises(ValueError, match=words):
        kind_of(Path(name))
