"""A fit in one call is the command line's, to the bit."""

import copy
import json
import math
import re

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from winner_nerfstudio import fit, load_field
from winner_nerfstudio.fields.checkpoint import load_fitted
from winner_nerfstudio.signals.image import load_image
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.winner import SCALED, NetworkTraits, axes_of, scaled_init_

from .conftest import call, config_of, metrics_of
from .meshes import sphere

NETWORK = {"hidden_dim": 32, "num_layers": 3}
FLAGS = ["--pipeline.model.hidden-dim", "32", "--pipeline.model.num-layers", "3", "--max-num-iterations", "60"]


def picture(size=24):
    x = np.linspace(0, 1, size)
    return (127 * (1 + np.sin(25 * x)[:, None] * np.cos(31 * x))).astype(np.uint8)


def target(kind, folder):
    if kind == "image":
        Image.fromarray(picture()).save(folder / "a.png")
        return folder / "a.png"
    if kind == "audio":
        np.save(folder / "a.npy", np.sin(np.linspace(0, 300, 3000)))
        return folder / "a.npy"
    mesh = sphere(2.0, center=(5, 0, 0))
    if kind == "sdf":
        mesh.export(folder / "a.obj")
        return folder / "a.obj"
    points, faces = trimesh.sample.sample_surface(mesh, 3000, seed=0)
    np.save(folder / "points.npy", np.hstack([points, mesh.face_normals[faces]]))
    return folder / "points.npy"


@pytest.mark.commands
@pytest.mark.parametrize("kind", ["sdf", "points", "image", "audio"])
def test_the_same_weights_and_metrics_as_ns_train(kind, tmp_path):
    path = target(kind, tmp_path)
    method = "sdf" if kind == "points" else kind
    measured = ["--pipeline.model.eval-resolution", "32"] if method == "sdf" else []
    result = call(
        "ns-train", f"winner-{method}", "--data", path, *FLAGS, *measured, "--machine.seed", "7", cwd=tmp_path
    )
    assert result.returncode == 0, result.output
    config = config_of(result, tmp_path)
    ours = fit(
        path, steps=60, seed=7, device="cpu", progress=False, **NETWORK, **({"eval_resolution": 32} if measured else {})
    )
    theirs = load_fitted(config)
    state = theirs.field.state_dict()
    for name, value in ours.field.state_dict().items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, state[name]), name
    assert ours.field.record == theirs.field.record
    for name, value in ours.provenance["figures"].items():
        assert metrics_of(config)[name] == pytest.approx(value, rel=1e-6), name
    assert ours.provenance["noise"] == theirs.provenance["noise"]
    assert ours.provenance["initialization"] == theirs.provenance["initialization"]
    assert ours.provenance["steps"] == theirs.provenance["steps"] == 60
    assert ours.provenance["program"] == theirs.provenance["program"]
    if kind == "image":
        taken_away(config, theirs, tmp_path)


def taken_away(config, checkpoint, folder):
    """By the command, as a field file and as ONNX, each the checkpoint's field."""
    world = np.random.default_rng(0).uniform(0, 23, (500, 2)).astype(np.float32)
    result = call("winner-export", "field", "--load-config", config, "--output", "f.safetensors", cwd=folder)
    assert result.returncode == 0, result.output
    assert "f.safetensors: image, 2,241 parameters" in result.output
    field = load_field(folder / "f.safetensors")
    np.testing.assert_allclose(field(world), checkpoint(world), atol=1e-6 * 255)
    assert set(field.provenance["noise"]) == {"psi", "schedule", "s0", "s1"}
    assert 0 < field.provenance["noise"]["psi"] < 1
    assert field.provenance["figures"]["psnr"] == metrics_of(config)["psnr"]
    result = call("winner-export", "field", "--load-config", config, "--output", "f.bin", cwd=folder)
    assert result.returncode == 1
    assert result.output.strip().splitlines()[-1].startswith("error: f.bin: a field is written as .safetensors")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    result = call(
        "winner-export", "field", "--load-config", config, "--output", "f.onnx", "--format", "onnx", cwd=folder
    )
    assert result.returncode == 0, result.output
    (values,) = onnxruntime.InferenceSession(folder / "f.onnx").run(None, {"points": world})
    np.testing.assert_allclose(values[:, 0], field(world), atol=1e-5 * 255)


def test_an_array_a_tensor_a_file_and_a_signal_are_one(tmp_path):
    np.save(tmp_path / "a.npy", picture())
    one = fit(picture(), steps=5, progress=False, measure=False, **NETWORK)
    for same in (torch.from_numpy(picture()), tmp_path / "a.npy", str(tmp_path / "a.npy"), load_image(picture())):
        other = fit(same, steps=5, progress=False, measure=False, **NETWORK, kind="image")
        assert torch.equal(one.field.network[0].weight, other.field.network[0].weight)
        assert one.field.record == other.field.record


def test_what_is_done_to_the_data_is_told(capsys):
    fit("sample:bells", steps=2, max_samples=500, measure=False, **NETWORK)
    shown = capsys.readouterr().out
    assert "sample:bells: 500 samples at 16000 Hz" in shown
    assert "initialisation: psi=" in shown
    assert "step 2/2" in shown
    fit("sample:bells", steps=2, max_samples=500, measure=False, progress=False, **NETWORK)
    assert capsys.readouterr().out == ""


@pytest.mark.quality
def test_a_mesh_in_memory_and_points():
    mesh = sphere(2.0, center=(5, 0, 0))
    points, faces = trimesh.sample.sample_surface(mesh, 2000, seed=0)
    for data in (mesh, np.hstack([points, mesh.face_normals[faces]])):
        small = {"steps": 150, "hidden_dim": 32, "steps_per_chunk": 16, "passes": 4}
        field = fit(data, **small, omega_0=10.0, first_omega_0=10.0, progress=False, measure=False)
        assert field.kind == "sdf"
        np.testing.assert_allclose(field(mesh.vertices), 0, atol=0.2)
        np.testing.assert_array_less(field(np.array([[5.0, 0, 0], [6.0, 0, 0]])), -0.2)


@pytest.mark.parametrize(
    "data, options, words",
    [
        (picture(), {"hiden_dim": 3}, "hiden_dim is no option for a fit of kind 'image'; is hidden_dim meant?"),
        (picture(), {"sample_rate": 3}, "sample_rate is no option for a fit of kind 'image'"),
        (picture(), {"s0": 3.0}, "noise.s0 and noise.s1 go together"),
        (picture(), {"network": "mlp"}, "network=mlp is not one of"),
        (picture(), {"network": "bank"}, "network=bank is not one of: siren, finer"),
        (picture(), {"init": "wiener"}, "init='wiener' must be auto, winner, siren"),
        (picture(), {"batch_size": 0}, "batch_size=0 must be at least 1"),
        (picture(), {"steps": 0}, "steps=0 must be a whole number, at least 1"),
        (picture(), {"steps": 1.5}, "steps=1.5 must be a whole number"),
        (picture(), {"seed": True}, "seed=True must be a whole number"),
        (picture(), {"up": "q"}, "up is no option"),
        (picture(), {"size": 1}, "size=1 must be small, medium or large"),
        (picture(), {"nodata": "10"}, "nodata='10' must be a number, a list of numbers, auto or keep"),
        (picture(), {"kind": 0}, "kind=0 is not one of: sdf, image"),
        (picture(), {"learning_rate": -1.0}, "learning_rate=-1.0 must be positive"),
        (picture(), {"learning_rate": "1"}, "learning_rate='1' must be a number"),
        (picture(), {"parts": "two"}, "parts='two' must be a list of numbers or auto"),
        (picture(), {"sed": 3}, "sed is no option for a fit of kind 'image'; is seed meant?"),
        (picture(), {"optimizer": "sgd"}, "optimizer='sgd' is not one of: adam, soap, muon"),
        (picture(), {"seed": -1}, "seed=-1 must be a whole number"),
        (picture(), {"train_fraction": 2.0}, "train_fraction=2.0 must be above 0"),
        (picture(), {"max_side": 0}, "max_side=0 must be at least 1"),
        ("sample:bells", {"start": -1.0}, "start=-1.0 must be finite"),
        ("sample:sponge", {"max_samples": 0}, "max_samples=0 must be at least 1"),
        (picture(), {"device": "foo"}, "device='foo' cannot be used"),
        (picture(), {"device": "meta"}, "device='meta' cannot be used (it holds no values)"),
        (picture(), {"hidden_dim": torch.ones(2)}, "hidden_dim=tensor"),
        (picture(), {"hidden_dim": "64"}, "hidden_dim='64' must be a whole number"),
        (picture(), {"batch_size": 2.5}, "batch_size=2.5 must be a whole number"),
        (picture(), {"max_side": [8]}, "max_side=[8] must be a whole number"),
        (picture(), {"max_side": math.nan}, "max_side=nan must be a whole number"),
        (picture(), {"denoise": "yes"}, "denoise='yes' must be true or false"),
        (picture(), {"noise_std": "a"}, "noise_std='a' must be a number"),
        (picture(), {"noise_std": 1j}, "noise_std=1j must be a number"),
        (picture(), {"spacing": "a"}, "spacing='a' must be a number or a list of numbers"),
        (picture(), {"spacing": ["a", 1]}, "spacing=['a', 1] must be a number or a list of numbers"),
        (picture(), {"spacing": [[1], [1, 2]]}, "spacing=[[1], [1, 2]] must be a number or a list of numbers"),
        (picture(), {"network_args": 3}, "one of network_args=3 is of the wrong type"),
        ("sample:bells", {"sample_rate": "44k"}, "sample_rate='44k' must be a number"),
        ("sample:bells", {"sample_rate": True}, "sample_rate=True must be a number"),
        (np.zeros((3, 32, 32)), {}, "channels come last"),
        (np.zeros((2, 4000)), {}, "channels come last"),
        (np.array(3.0), {}, "an array of shape () may be anything"),
        (np.ma.masked_array(picture(), picture() >= 0), {}, "all of its 576 samples hold no data"),
        (sphere(), {"kind": "image"}, "a mesh is given, of kind 'sdf'"),
        (sphere(), {"sign": "watertigth"}, "sign='watertigth' must be auto, watertight, winding or unsigned"),
        (sphere(), {"reference": "sample:knot"}, "--reference is for point clouds"),
        (picture(), {"kind": "picture"}, "kind='picture' is not one of: sdf, image, audio, volume"),
        (load_image(picture()), {"max_side": 3}, "max_side is no option"),
        (load_image(picture()), {"kind": "audio"}, "of kind 'image'"),
        ("sample:knot", {"schedule": "paper"}, "noise.schedule paper has no rule for targets of 3 axes"),
        ("nowhere.png", {}, "nowhere.png: no such file"),
        ("file:///nowhere/a.png", {}, "/nowhere/a.png: no such file"),
        ("http://example.com/a.png", {}, "http://example.com/a.png: is a URL, which is not read; download"),
        ("what.foo", {}, "cannot tell what a .foo holds"),
        (np.full((8, 8), np.nan), {}, "array: 64 of 64 samples are NaN"),
        (3, {}, "a int cannot be fitted"),
        (None, {}, "a NoneType cannot be fitted"),
    ],
)
def test_what_wont_do_is_one_line(data, options, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        fit(data, progress=False, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [np.array(100), np.float32(100), torch.tensor(100.0), 100])
def test_a_number_may_be_of_any_make(rate):
    options = {"batch_size": np.int64(8), "max_samples": 4e1, "steps": 1, "progress": False, "measure": False}
    field = fit(np.sin(np.arange(50.0)), sample_rate=rate, **options)
    assert (len(field.audio()), len(field.audio(50))) == (40, 20)


def test_a_fit_that_diverges_says_so():
    with pytest.warns(UserWarning, match="the fit has diverged"):
        fit(picture(), steps=20, learning_rate=1e30, progress=False, measure=False, **NETWORK)


def test_an_interrupted_fit_is_what_it_was_then(monkeypatch):
    from winner_nerfstudio.training.loss import SquareLoss

    terms, calls = SquareLoss.terms, []

    def interrupted(self, outputs, batch):
        calls.append(1)
        if len(calls) > 7:
            raise KeyboardInterrupt
        return terms(self, outputs, batch)

    short = fit(picture(), steps=7, learning_rate=1e-3, progress=False, measure=False, **NETWORK)
    monkeypatch.setattr(SquareLoss, "terms", interrupted)
    with pytest.warns(UserWarning, match="interrupted: the field is that of 7 of 100 steps"):
        field = fit(picture(), steps=100, learning_rate=1e-3, progress=False, measure=False, **NETWORK)
    assert field.provenance["steps"] == 7
    # The rate falls more slowly in the longer run; the first step is the same.
    np.testing.assert_allclose(field.image(), short.image(), atol=20)


@pytest.mark.parametrize("init", ["weight-scaling", "gradient-control", "matched-scaling"])
def test_an_initialization_of_others_is_what_the_library_applies(init):
    options = {"progress": False, "measure": False, "learning_rate": 1e-9, "steps": 1, **NETWORK}
    fitted = fit(picture(), init=init, seed=3, **options)
    assert fitted.provenance["initialization"] == init
    network, other = fitted.field.network, copy.deepcopy(fitted.field.network)
    traits = NetworkTraits(hidden_dim=32, num_layers=3)
    scaled_init_(other, SCALED[init](axes_of(picture(), dim=2), traits), seed=3)
    coords = torch.rand(9, 2)
    torch.testing.assert_close(network(coords), other(coords), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match=f"init {init} is for a single network; use parts 1, or another init"):
        fit(picture(), init=init, parts=(2,), steps=1)
    with pytest.raises(ValueError, match=f"init {init} of siren has no noise"):
        fit(picture(), init=init, exactness=0.5, steps=1)


def test_a_noisy_target_may_be_begun_with_what_stands_above_its_noise():
    options = {"progress": False, "measure": False, "steps": 1, "noise_std": 0.5, **NETWORK}
    target = np.sin(np.arange(4000) / 400)
    plain, above = (fit(target, **options, denoise=each).provenance["noise"] for each in (False, True))
    assert plain["s0"] > 500
    assert above["s0"] == 0
    assert above["factors"][0] < 1
    with pytest.raises(ValueError, match="denoise is the matched schedule's"):
        fit(target, denoise=True, schedule="reference", steps=1)
    with pytest.raises(ValueError, match="denoise is for a single network; leave parts out"):
        fit(target, denoise=True, parts=(2,), steps=1)
    with pytest.raises(ValueError, match="denoise is for regularly sampled signals"):
        fit("sample:knot", denoise=True, steps=1, **NETWORK)


@pytest.mark.parametrize("network, remedy", [("finer", "use network siren"), ("siren-rff", "use init winner")])
def test_noise_without_a_start_that_has_it_is_refused_with_what_has(network, remedy):
    with pytest.raises(ValueError, match=f"init auto of {network} has no noise; leave noise out, or {remedy}"):
        fit(picture(), network=network, s0=1.0, s1=0.1, steps=1)


def test_numbers_may_be_numpys_and_parts_one_number():
    options = {"progress": False, "measure": False, "hidden_dim": 8}
    target = np.where(picture() > 0.9, np.nan, picture())
    numbers = {"steps": np.int64(2), "seed": np.int64(3), "learning_rate": np.float32(0.5), "parts": np.int64(2)}
    numbers |= {"omega_0": torch.nn.Parameter(torch.tensor(30.0))}
    found = fit(target, nodata="nan", **numbers, **options)
    expected = fit(target, nodata=np.nan, steps=2, seed=3, learning_rate=0.5, parts=(2,), **options)
    np.testing.assert_array_equal(found.image(), expected.image())


def test_the_data_has_a_seed_of_its_own():
    options = {"steps": 1, "train_fraction": 0.5, "progress": False, "measure": False, **NETWORK}
    first, second, other = (
        fit(picture(), **options, **more).field.record.digest for more in ({}, {"seed": 7}, {"data_seed": 1})
    )
    assert first == second != other


def test_metrics_can_be_written_as_json():
    field = fit(picture(), steps=5, progress=False, **NETWORK)
    assert json.loads(json.dumps(field.provenance["figures"]))["psnr"] > 5


@pytest.mark.parametrize("mode", [lambda: torch.device("meta"), torch.inference_mode])
def test_torchs_default_device_and_inference_mode_change_nothing(mode, tmp_path):
    options = {"steps": 3, "device": "cpu", "progress": False, "measure": False, **NETWORK}
    points, fitted = np.full((4, 2), 3.0), fit(picture(), **options)
    with mode():  # what is made on that device by accident has no values
        fit(picture(), **options).save(tmp_path / "a.safetensors")
        found = load_field(tmp_path / "a.safetensors")
        np.testing.assert_array_equal(found(points), fitted(points))
        np.testing.assert_array_equal(found.laplacian(points), fitted.laplacian(points))
        np.testing.assert_array_equal(found.image(9), fitted.image(9))


@pytest.mark.parametrize("hold", [lambda array: array, torch.tensor, np.ndarray.tolist])
@pytest.mark.parametrize("kind, axes", [("image", (6, 7)), ("audio", (40,)), ("volume", (4, 5, 6))])
def test_a_reference_may_be_whatever_holds_an_array(kind, axes, hold):
    clean = np.random.default_rng(0).random(axes)
    signal, _ = prepare(clean + 0.1, kind, {"reference": hold(clean)})
    np.testing.assert_allclose(signal.units.to_own(signal.clean).reshape(axes), clean, atol=1e-6)


def test_a_reference_that_does_not_fit_is_one_line():
    mesh = sphere(2.0)
    points = np.hstack([mesh.vertices, mesh.vertex_normals])
    assert prepare(points, None, {"reference": mesh})[0].reference is not None
    for data, reference, words in [
        (points, points, "reference: an array is no mesh"),
        (picture(), picture()[:5], r"array: the reference has shape \(5, 24, 1\)"),
        (np.ones((3, 4, 5)), np.arange(60.0).reshape(5, 4, 3), r"array: the reference has shape \(5, 4, 3, 1\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            prepare(data, None, {"reference": reference})
