"""What ``winner-compare`` shows of fits side by side."""

import csv

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from scripts.fit_records import add_record, find_record
from winner_nerfstudio import fit
from winner_nerfstudio.cli.compare import Compare, _draw_surface, load_entry, make_rows
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.fitted import FittedField
from winner_nerfstudio.signals.derivatives import differentiate
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ColorRecord, ShapeRecord
from winner_nerfstudio.surfaces.portrait import CLAY
from winner_nerfstudio.training.groups import fit_groups

from .conftest import call_script
from .test_field import SIREN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two field files of a picture, and one of a sound."""
    path = tmp_path_factory.mktemp("fits")
    x = np.linspace(0, 1, 24)
    Image.fromarray(np.zeros((20, 60), np.uint8)).save(path / "wide.png")
    Image.fromarray((127 * (1 + np.sin(25 * x)[:, None] * np.cos(31 * x))).astype(np.uint8)).save(path / "a.png")
    for name, steps in (("short", 20), ("long", 60)):
        fit(path / "a.png", steps=steps, hidden_dim=16, num_layers=2, progress=False).save(path / f"{name}.safetensors")
    sound = np.sin(np.linspace(0, 60, 200))
    fit(sound, steps=20, hidden_dim=8, num_layers=2, progress=False).save(path / "sound.safetensors")
    return path


@pytest.mark.filterwarnings("ignore:the fit")
def test_fits_are_compared_in_a_table_curves_and_a_strip(folder, capsys):
    runs = (folder / "short.safetensors", folder / "long.safetensors")
    outputs = tuple(folder / f"compare{suffix}" for suffix in (".png", ".csv", ".md"))
    Compare(runs, outputs, folder / "a.png").run()
    with (folder / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["steps"]) for row in rows] == [20, 60]
    for row, path in zip(rows, runs, strict=True):
        entry = load_entry(path, path.name)
        assert row["run"] == path.name
        assert float(row["psnr"]) == entry.fitted.provenance["figures"]["psnr"]
        assert float(row["bytes"]) == 4 * sum(weight.numel() for weight in entry.fitted.parameters())
        assert [step for step, _, _ in entry.history][-1] == float(row["steps"])
    table = (folder / "compare.md").read_text().splitlines()
    assert table[0].startswith("| metric | ")
    assert len({line.count("|") for line in table}) == 1
    assert Image.open(folder / "compare.png").size[1] > Image.open(folder / "compare.png").size[0] / 2
    assert "psnr between" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:the fit")
def test_curves_are_labelled_by_what_they_show(folder, monkeypatch):
    hill = differentiate(np.cos(np.arange(12) / 3)[:, None] * np.ones(10), "gradient")
    fit(hill, supervise="gradient", steps=20, hidden_dim=8, progress=False).save(folder / "hill.safetensors")
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure.axes[0]))
    for name, label in (("long", "psnr (dB)"), ("hill", "snr derivatives (dB)")):
        entry = load_entry(folder / f"{name}.safetensors", name)
        Compare(())._draw([entry], [], folder / "drawn.png")
        metric = label.removesuffix(" (dB)").replace(" ", "_")
        assert drawn[-1].get_ylabel() == label
        assert drawn[-1].lines[0].get_ydata()[-1] == entry.fitted.provenance["figures"][metric]


@pytest.mark.filterwarnings("ignore:the fit")
def test_a_fit_in_groups_is_compared_with_one_in_memory(folder):
    options = {"parts": (3, 2), "hidden_dim": 8, "num_layers": 2, "steps": 4, "progress": False}
    np.save(folder / "noise.npy", np.random.default_rng(0).integers(0, 256, (60, 40, 3)).astype(np.uint8))
    fit_groups(folder / "noise.npy", folder / "groups", group_samples=900, **options)
    fit(folder / "noise.npy", **options).save(folder / "whole.safetensors")
    groups, whole = (load_entry(folder / name, name).values() for name in ("groups", "whole.safetensors"))
    assert {name: groups[name] for name in ("steps", "bytes")} == {name: whole[name] for name in ("steps", "bytes")}
    assert groups["psnr"] == pytest.approx(whole["psnr"], abs=1e-3)
    Compare((folder / "groups", folder / "whole.safetensors"), (folder / "groups.png",), folder / "noise.npy").run()


def test_the_strip_shows_surfaces_with_their_colours_from_above_on_the_right():
    place = Normalization((10.0, -20.0, 5.0), 0.4)
    ball = Field("sdf", SIREN, place, ShapeRecord())
    ball.network.forward = lambda coords: coords.norm(dim=-1, keepdim=True) - 0.6
    picture = _draw_surface(FittedField(ball))
    shown = (picture < 0.999).any(-1)
    assert shown.mean() == pytest.approx(np.pi * (0.6 / 3**0.5 / 2) ** 2, rel=0.02)
    np.testing.assert_allclose(picture[160, 160], 2 * np.array(CLAY) - 1, atol=1e-3)
    colors = Field("color", SIREN | {"out_dim": 3}, place, ColorRecord(bits=8, digest=""))
    colors.network.forward = lambda coords: (coords > 0.1).float() * 2 - 1
    painted = _draw_surface(FittedField(ball, companion=colors))
    red, green, blue = (painted[120:200, 115:205, channel] > -0.9 for channel in range(3))
    rows, columns = np.indices(red.shape)
    assert columns[red].mean() > columns[blue].mean() + 10
    assert rows[green].mean() < min(rows[red].mean(), rows[blue].mean()) - 5


@pytest.mark.filterwarnings("ignore:the fit")
def test_what_a_fit_lacks_is_empty(folder):
    long, sound = (load_entry(folder / f"{name}.safetensors", name) for name in ("long", "sound"))
    rows = {row.name: row.cells for row in make_rows([long, sound])}
    assert rows["ssim"][2] == ""
    assert rows["steps"][1:] == ["60", "20"]


@pytest.mark.filterwarnings("ignore:the fit")
@pytest.mark.parametrize(
    "runs, options, words",
    [
        (["long.safetensors", "sound.safetensors"], {}, "the runs are of different kinds, audio and image"),
        (["nowhere"], {}, "nowhere: no run; give a run's folder"),
        (["nowhere.safetensors"], {}, "nowhere.safetensors: no such file"),
        (["long.safetensors"], {"output": "a.xlsx"}, "a.xlsx: a comparison is written as .png, .csv, .md"),
        (["long.safetensors"], {"target": "no.png"}, "no.png: no such file; --target takes"),
        (["sound.safetensors"], {"target": "a.png"}, "--target is for pictures"),
        (
            ["long.safetensors"],
            {"target": "wide.png", "output": "a.png"},
            "wide.png: has 60 x 20 pixels of 1 channels, but long.safetensors was fitted to 24 x 24 of 1;",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(folder, runs, options, words):
    outputs = (folder / options["output"],) if "output" in options else ()
    target = folder / options["target"] if "target" in options else None
    with pytest.raises(ValueError, match="(?s).*" + words.replace(".", r"\.")) as caught:
        Compare(tuple(folder / run for run in runs), outputs, target).run()
    assert "\n" not in str(caught.value)


def test_a_record_is_found_beside_a_line_that_is_half_written(tmp_path):
    path = tmp_path / "fits.jsonl"
    assert find_record(path, {"seed": 1}) is None
    add_record(path, {"seed": 1, "psnr": 30})
    path.write_bytes(path.read_bytes() + b'3\n{"seed": 2, "psn\xc3')
    assert find_record(path, {"seed": 2}) is None
    add_record(path, {"seed": 2, "psnr": 31})
    assert [find_record(path, {"seed": seed})["psnr"] for seed in (1, 2)] == [30, 31]


@pytest.mark.commands
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--variants", "default@5"], "nothing to compare; name files"),
        (["sample:bells", "none.png", "--variants", "default@5"], "none.png: no such file"),
        (
            ["sample:bells", "--variants", "default@5", "smal"],
            "sample:bells, smal: 'smal' is not one of: single, default",
        ),
        (
            ["sample:bells", "--variants", "default@5", "default,partz=3"],
            "partz is no option for a fit of kind 'audio'; is parts",
        ),
    ],
)
def test_the_script_that_compares_fits_refuses_a_wrong_file_or_variant_before_it_fits(tmp_path, arguments, words):
    done = call_script("compare_fits.py", "--max-samples", "300", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
