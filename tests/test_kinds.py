"""Kinds of signals that the package does not know are served like its own."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from winner_nerfstudio import fit, load_field
from winner_nerfstudio.registry import Kind, Recipe, all_kinds, kind_named, kind_of, register
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.options import SignalOptions
from winner_nerfstudio.signals.records import Record
from winner_nerfstudio.signals.units import Units
from winner_nerfstudio.training.loss import SquareLoss
from winner_nerfstudio.training.options import DrawnOptions, NetworkOptions
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.winner import Axis

from .conftest import Result, config_of, metrics_of

NETWORK = {"hidden_dim": 32, "num_layers": 2, "progress": False}
ENTRY_POINTS = """[winner_nerfstudio.kinds]
series = my_series:SeriesKind
[nerfstudio.method_configs]
winner-series = winner_nerfstudio.nerfstudio.config.methods:winner_series
"""


@pytest.fixture
def plugin(tmp_path):
    """The environment of an installed package that registers the kind, and a file of that kind."""
    package = tmp_path / "package"
    (package / "my_series-1.dist-info").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("series.py"), package / "my_series.py")
    (package / "my_series-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: my-series\nVersion: 1\n")
    (package / "my_series-1.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    time = np.linspace(0, 1, 300)
    table = np.stack([20 + 5 * np.sin(50 * time), 21 + 3 * np.cos(30 * time)], -1)
    np.savetxt(tmp_path / "a.readings", table, delimiter=",")
    return {"PYTHONPATH": f"{package}:{Path(__file__).parents[1]}"}, table


SERVER = """
import json, sys
from tests.conftest import call
for line in sys.stdin:
    result = call(*json.loads(line), cwd=".")
    print(json.dumps([result.returncode, result.output]), flush=True)
"""


@contextmanager
def one_process(folder, environment):
    """Yields what runs commands as `run` does, one after the other in a process that knows the kind."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=folder, env={**os.environ, **environment}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip

        def run_there(*command):
            process.stdin.write(json.dumps([*map(str, command)]) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("["):
                    return Result(*json.loads(line))
            raise AssertionError(f"{command} ended the process")

        yield run_there
        process.stdin.close()


def lines_of(result):
    assert result.returncode == 0, result.output
    return [line for line in result.output.splitlines() if "arn" not in line]


@pytest.mark.commands
def test_a_kind_in_a_file_of_its_own_is_trained_resumed_measured_inspected_and_exported(tmp_path, plugin):
    environment, table = plugin
    data = ["series-data", "--data", "a.readings", "--every", "2"]
    train = ["ns-train", "winner-series", "--max-num-iterations", "60", "--steps-per-save", "30"]
    with one_process(tmp_path, environment) as run_there:
        result = run_there(*train, *data)
        assert "a.readings: 150 rows" in "\n".join(lines_of(result))
        models = config_of(result, tmp_path).parent / "nerfstudio_models"
        resume_measure_inspect_and_export(run_there, tmp_path, models, data, table)


def resume_measure_inspect_and_export(run_there, tmp_path, models, data, table):
    resumed = run_there("ns-train", "winner-series", "--load-dir", models, "--max-num-iterations", "90", *data)
    assert "Resuming after 60 of 90 steps" in "\n".join(lines_of(resumed))
    config = config_of(resumed, tmp_path)
    metrics = metrics_of(config)
    assert metrics["psnr"] > 30
    assert metrics["largest_error"] < 0.3

    lines_of(run_there("ns-eval", "--load-config", config, "--output-path", "e.json"))
    evaluated = json.loads((tmp_path / "e.json").read_text())["results"]
    assert evaluated["largest_error"] == pytest.approx(metrics["largest_error"], rel=1e-4)

    inspected = lines_of(run_there("winner-inspect", "a.readings", "--every", "3"))
    assert "a.readings: 100 rows" in inspected
    assert inspected[-2].startswith("network: 4 layers of 256, ")
    assert inspected[-1].startswith("winner-fit or ns-train winner-series: 100 steps of 100 points")

    # The closing lines name a command that works.
    (command,) = [line for line in resumed.output.splitlines() if "take away:" in line]
    exported = run_there(*command.split("take away:")[1].split(), "--digits", "2")
    assert lines_of(exported)[-1] == "a-fit.readings: 150 readings"
    written = np.loadtxt(tmp_path / "a-fit.readings", delimiter=",")
    assert np.abs(written - table[::2]).max() < 0.3 * 5.5

    refused = run_there("ns-train", "winner-series", "--data", "nowhere.readings")
    assert "error: nowhere.readings: no such file; give a table of two columns" in refused.output
    refused = run_there("winner-export", "mesh", "--load-config", config, "--output", "a.ply")
    assert "error: a field of kind 'series' has no mesh; only one of kind 'sdf' or 'volume' has" in refused.output


@pytest.fixture
def registered(monkeypatch):
    from winner_nerfstudio import registry

    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


@pytest.mark.usefixtures("registered")
def test_a_kind_in_a_file_of_its_own_is_fitted_kept_and_loaded(tmp_path):
    from .series import SeriesKind

    register(SeriesKind)
    time = np.linspace(0, 1, 120)
    table = np.stack([np.sin(20 * time), np.cos(9 * time)], -1)
    np.savetxt(tmp_path / "a.readings", table, delimiter=",")
    assert kind_of(tmp_path / "a.readings").name == "series"
    fitted = fit(tmp_path / "a.readings", every=2, **NETWORK)
    error = np.abs(fitted.series() - table[::2]).max()
    # The values span -1 to 1, so the network's units are the readings' own.
    assert fitted.provenance["figures"]["largest_error"] == pytest.approx(error, rel=1e-3)
    fitted.save(tmp_path / "a.safetensors")
    again = load_field(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(again.series(), fitted.series())
    assert "series" in dir(again)
    with pytest.raises(ValueError, match="a field of kind 'series' has no image"):
        again.image()
    with pytest.raises(ValueError, match="every=0 must be at least 1"):
        fit(tmp_path / "a.readings", every=0, **NETWORK)


@pytest.mark.usefixtures("registered")
def test_a_kind_in_a_file_of_its_own_is_looked_at(tmp_path):
    from nerfstudio.cameras.rays import RayBundle
    from nerfstudio.data.scene_box import SceneBox

    from winner_nerfstudio.nerfstudio.models.base import SignalModelConfig, model_class

    from .series import SeriesKind

    register(SeriesKind)
    np.savetxt(tmp_path / "a.readings", np.stack([np.linspace(0, 1, 50)] * 2, -1), delimiter=",")
    signal = kind_named("series").load(tmp_path / "a.readings", SeriesKind.options())
    cameras = model_class(kind_named("series")).cameras(None)
    config = SignalModelConfig(kind="series", options=NetworkOptions(hidden_dim=8, num_layers=2))
    metadata = {"signal": signal, "initialize": True, "cameras": cameras}
    box = SceneBox(torch.tensor([[-1.0] * 3, [1.0] * 3]))
    model = config.setup(scene_box=box, num_train_data=1, metadata=metadata).eval()
    rays = RayBundle(torch.tensor([[0.5, 0.0, 2.0]]), torch.tensor([[0.0, 0.0, -1.0]]), torch.ones(1, 1))
    expected = (model.field(torch.tensor([[0.5]]))[0, 0] + 1) / 2
    torch.testing.assert_close(model.render(rays)["rgb"][0], expected.expand(3))


@dataclass(frozen=True, kw_only=True)
class SphereRecord(Record):
    radius: float

    def units(self, scale):
        return Units(0.0, 1.0)


@dataclass
class Sphere:
    """A function that is drawn anew for ever: how far points lie from a sphere."""

    radius: float
    kind: ClassVar[str] = "sphere"
    name = "sphere"
    dim, channels, suffix = 3, 1, ".txt"
    centroid: float = 0.1
    normalization: Normalization = field(default_factory=lambda: Normalization((0.0, 0.0, 0.0), 1.0))

    @property
    def axes(self):
        return (Axis(0.1, 64),) * 3

    @property
    def record(self):
        return SphereRecord(radius=self.radius)

    def describe(self):
        return [f"a sphere of radius {self.radius}"]

    def facts(self):
        return {}

    def draw(self, rng, count):
        coords = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
        return {"coords": coords, "values": np.linalg.norm(coords, axis=-1, keepdims=True) - np.float32(self.radius)}


class SphereKind(Kind):
    name, title, axes, channels, formats = "sphere", "a sphere", 3, 1, ""
    frequency_unit = "cycles per unit"
    options, record, network, batches = SignalOptions, SphereRecord, NetworkOptions, DrawnOptions
    recipe = Recipe(400, {"adam": 1e-3})
    views = ""

    def load(self, source, options):
        return Sphere(float(Path(source).read_text()))

    def loss(self, signal, options):
        return SquareLoss()

    def metrics(self, field, signal, options):
        points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return {"error": float((field.evaluate(points)[:, 0] - (points.norm(dim=-1) - signal.radius)).abs().mean())}


@pytest.mark.usefixtures("registered")
def test_a_kind_that_draws_points_is_fitted_with_its_own_metrics(tmp_path):
    register(SphereKind)
    (tmp_path / "radius").write_text("0.5")
    options = {"batch_size": 512, "s0": 2.0, "s1": 0.0, "omega_0": 5.0, "first_omega_0": 5.0}
    fitted = fit(tmp_path / "radius", "sphere", **options, **NETWORK)
    assert fitted.provenance["figures"]["error"] < 0.02
    assert float(fitted(np.array([0.8, 0, 0]))) == pytest.approx(0.3, abs=0.05)
    fitted.save(tmp_path / "a.safetensors")
    assert load_field(tmp_path / "a.safetensors").field.record == SphereRecord(radius=0.5)


@pytest.mark.usefixtures("registered")
def test_a_broken_kind_of_another_package_leaves_the_others_alone(monkeypatch):
    from importlib.metadata import EntryPoint

    from winner_nerfstudio import registry

    broken = EntryPoint("broken", "no_such_package:Kind", registry.GROUP)
    monkeypatch.setattr(registry, "_find_entry_points", lambda: {"broken": broken})
    with pytest.warns(UserWarning, match="the kind 'broken' of another package cannot be imported"):
        names = [kind.name for kind in all_kinds()]
    assert names == ["sdf", "image", "audio", "volume"]
    assert kind_named("image").name == "image"


@pytest.mark.parametrize(
    "shape, name",
    [
        ((50, 3), "sdf"),
        ((50, 6), "sdf"),
        ((50,), "audio"),
        ((50, 1), "audio"),
        ((50, 2), "audio"),
        ((50, 5), "image"),
        ((50, 60), "image"),
        ((50, 60, 3), "image"),
        ((50, 60, 5), "volume"),
        ((50, 60, 70, 1), "volume"),
    ],
)
def test_an_array_is_of_one_kind_at_most(shape, name):
    array = np.zeros(shape)
    assert [kind.name for kind in all_kinds() if kind.claims(array)] == [name]
    assert kind_of(array).name == name


def test_every_kind_says_what_everything_asks_of_it():
    for kind in all_kinds():
        record = kind.record
        assert kind.options().check() is None
        assert set(kind.metric_names.columns) <= set(kind.metric_names.names)
        assert kind.metric_names.headline in kind.metric_names.names
        assert set(kind.exports) == set(kind.results)
        with pytest.raises(ValueError, match="its record"):
            record.from_json({"nonsense": 1})


def test_samples_without_data_are_drawn_white():
    values = np.random.default_rng(0).uniform(-1, 0, (6, 8, 1)).astype(np.float32)
    values[2:4, 3:5] = np.nan
    signal, options = prepare(values, "image", {"nodata": "nan"})
    axes = Figure().subplots()
    options.kind.draw(axes, signal, signal.values)
    drawn = np.asarray(axes.images[0].get_array())
    assert (drawn[2:4, 3:5] == 1).all()
    assert drawn[~np.isnan(values[..., 0])].mean() == pytest.approx((np.nanmean(signal.values) + 1) / 2, abs=0.1)
