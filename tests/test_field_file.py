"""Fields to take along: in world units, as files, with derivatives."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from winner_nerfstudio import FittedField, fit, load_field
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.networks import NETWORKS
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ShapeRecord, VolumeRecord

SMOOTH = {"s0": 0.3, "s1": 0.02, "omega_0": 3.0, "first_omega_0": 3.0, "hidden_dim": 48, "num_layers": 2}
SMOOTH |= {"optimizer": "soap", "learning_rate": 5e-3, "steps": 500, "batch_size": 1024}
PLACE, SIZE = (7.0, -3.0, 40.0), 25.0
GRID = {"shape": (9, 9, 9), "offset": 2.0, "amplitude": 5.0, "digest": "", "dtype": "<f4", "ndim": 3}


def network_of(kind="siren", in_dim=3, out_dim=1, **more):
    if kind == "cells":
        more = {"parts": 3, "members": 20, "far_dim": 16, "far_layers": 2} | more
    if kind == "bank":
        more = {"shape": [20, 24, 22], "parts": [2, 3, 1], "overlap": 3} | more
    return {"name": kind, "in_dim": in_dim, "out_dim": out_dim, "hidden_dim": 16, "num_layers": 2, **more}


def distance_field(kind="siren", **more):
    torch.manual_seed(0)
    return FittedField(
        Field("sdf", network_of(kind, **more), Normalization(PLACE, 1 / SIZE), ShapeRecord()), {"steps": 3}
    )


def volume_field(out_dim=1):
    torch.manual_seed(1)
    record = VolumeRecord(**GRID, spacing=(0.5, 0.5, 0.5), level=2.0, inside="above", slope=1.0)
    network = network_of(out_dim=out_dim, omega_0=5.0, first_omega_0=4.0)
    return FittedField(Field("volume", network, Normalization((2.0, 2.0, 2.0), 0.5), record))


def points_about(count=200):
    return np.asarray(PLACE) + SIZE * np.random.default_rng(0).uniform(-0.9, 0.9, (count, 3))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "field.safetensors"
    distance_field().save(path)
    return path


class Known(nn.Module):
    """sin(2 x) y + z^2 + 1 and 3 x y z, of the unit cube's coordinates."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, p):
        x, y, z = (p * self.one).unbind(-1)
        return torch.stack([torch.sin(2 * x) * y + z**2 + 1, 3 * x * y * z], -1)


def known_field():
    """`Known` in a world where unit = (world - 2) / 2 and value = 5 output + 2."""
    fitted = volume_field(out_dim=2)
    fitted.field.network = Known()
    return fitted


def test_values_and_derivatives_follow_the_chain_rule_into_the_world():
    world = np.random.default_rng(3).uniform(0, 4, (50, 3))
    x, y, z = ((world - 2) * 0.5).T
    fitted = known_field()
    np.testing.assert_allclose(fitted(world)[:, 0], 5 * (np.sin(2 * x) * y + z**2 + 1) + 2, rtol=1e-12)
    np.testing.assert_allclose(fitted(world)[:, 1], 5 * 3 * x * y * z + 2, rtol=1e-12)
    first = np.stack([2 * np.cos(2 * x) * y, np.sin(2 * x), 2 * z], -1)
    np.testing.assert_allclose(fitted.gradient(world)[:, 0], 5 * 0.5 * first, atol=1e-12)
    np.testing.assert_allclose(
        fitted.gradient(world)[:, 1], 5 * 0.5 * 3 * np.stack([y * z, x * z, x * y], -1), atol=1e-12
    )
    zero = np.zeros_like(x)
    mixed = 2 * np.cos(2 * x)
    second = np.array([[-4 * np.sin(2 * x) * y, mixed, zero], [mixed, zero, zero], [zero, zero, zero + 2]])
    np.testing.assert_allclose(fitted.hessian(world)[:, 0], 5 * 0.25 * second.transpose(2, 0, 1), atol=1e-12)
    np.testing.assert_allclose(fitted.laplacian(world)[:, 0], 5 * 0.25 * (2 - 4 * np.sin(2 * x) * y), atol=1e-12)
    np.testing.assert_allclose(fitted.laplacian(world)[:, 1], 0, atol=1e-12)


def test_results_are_as_the_points_are():
    fitted, world = distance_field(), points_about(6)
    values = fitted(world)
    assert values.shape == (6,)
    assert values.dtype == np.float64
    assert fitted.gradient(world).shape == (6, 3)
    assert fitted.hessian(world.reshape(2, 3, 3)).shape == (2, 3, 3, 3)
    single = fitted(torch.from_numpy(world).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, values, atol=1e-4 * SIZE)
    assert fitted(np.zeros((0, 3))).shape == (0,)
    assert fitted.gradient(np.zeros((0, 3))).shape == (0, 3)
    np.testing.assert_array_equal(fitted(world.reshape(3, 2, 3)).reshape(-1), values)
    with pytest.raises(ValueError, match=r"\[\.\.\., 3\] is needed"):
        fitted(np.zeros((5, 2)))


def test_points_may_lie_in_memory_as_they_like():
    fitted, world = distance_field(), points_about(8)
    values = fitted(world)
    frozen = world.copy()
    frozen.flags.writeable = False
    for same in (np.asfortranarray(world), frozen, world.tolist(), world.astype(">f8"), tuple(map(tuple, world))):
        np.testing.assert_array_equal(fitted(same), values)
    np.testing.assert_array_equal(fitted(world[::-1]), values[::-1])
    np.testing.assert_array_equal(fitted(world[:, ::-1][:, ::-1]), values)
    for wrong in (world + 1j, torch.from_numpy(world + 1j), [["a", "b", "c"]]):
        with pytest.raises(ValueError, match="real numbers are needed"):
            fitted(wrong)


def test_casts_and_torchs_defaults_change_neither_place_nor_file(tmp_path):
    fitted, world = distance_field(), points_about(20)
    values = fitted(world)
    for cast in (fitted.double, fitted.float, fitted.half, fitted.float):
        cast()
        assert fitted.field.center.dtype == fitted.field.scale.dtype == torch.float64
        assert fitted.field.center.tolist() == list(PLACE)
    fitted = distance_field().double()
    fitted.save(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~current_umask()
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        loaded = load_field(tmp_path / "a.safetensors")
        np.testing.assert_array_equal(loaded(world), values)
        fit(np.zeros((8, 9)), steps=1, hidden_dim=8, progress=False, measure=False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.get_rng_state(), state)


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_it_stays_in_evaluation_and_asks_for_no_gradients_of_its_own():
    fitted = distance_field("finer")
    slope = fitted.gradient(points_about(5))
    fitted.train()
    np.testing.assert_array_equal(fitted.gradient(points_about(5)), slope)
    world = torch.from_numpy(points_about(5)).requires_grad_(True)
    fitted(world).sum().backward()
    assert world.grad.abs().min() > 0
    assert all(parameter.grad is None for parameter in fitted.parameters())


def test_it_can_be_differentiated_through():
    fitted = distance_field()
    world = torch.from_numpy(points_about(5)).requires_grad_(True)
    (slope,) = torch.autograd.grad(fitted(world).sum(), world)
    np.testing.assert_allclose(slope, fitted.gradient(world.detach()), rtol=1e-4, atol=1e-6)
    assert not fitted(world.detach()).requires_grad


def test_many_points_are_as_few():
    fitted, world = distance_field(), points_about(20_000)
    for function in (fitted, fitted.gradient, fitted.laplacian):
        np.testing.assert_allclose(
            function(world)[[0, 9_000, 19_999]], function(world[[0, 9_000, 19_999]]), rtol=1e-3, atol=1e-5
        )


def test_a_network_without_second_derivatives_has_zeros():
    fitted = distance_field("relu-pe", num_frequencies=2)
    fitted.field.network[0] = nn.Identity()
    fitted.field.network[1] = nn.Linear(3, 16)
    assert (fitted.hessian(points_about(4)) == 0).all()


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_the_file_gives_the_same_field(kind, tmp_path):
    fitted, path = distance_field(kind), tmp_path / "deep/er/field.safetensors"
    fitted.save(path)
    loaded, world = load_field(path), points_about()
    np.testing.assert_array_equal(loaded(world), fitted(world))
    np.testing.assert_array_equal(loaded.gradient(world), fitted.gradient(world))
    assert loaded.provenance == {"steps": 3}
    assert loaded.kind == "sdf"


@pytest.mark.commands
def test_the_file_needs_torch_numpy_and_safetensors_alone(file, tmp_path):
    allowed = ("torch", "numpy", "safetensors", "winner_nerfstudio")
    code = f"""
import sys, sysconfig
from importlib.machinery import PathFinder
import torch, safetensors.torch
site = sysconfig.get_paths()["purelib"]
known = set(sys.modules)
class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        found = PathFinder.find_spec(top)
        if top not in {allowed!r} and top not in known and found and str(found.origin).startswith(site):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
from winner_nerfstudio import load_field
field = load_field({str(file)!r})
print(*field(torch.tensor([{list(PLACE)}], dtype=torch.float64)).tolist(), field.laplacian(torch.zeros(1, 3)).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[0]) == pytest.approx(distance_field()(np.array([PLACE]))[0])


def test_a_field_is_not_saved_under_the_suffix_of_something_else(tmp_path):
    with pytest.raises(
        ValueError, match=r"a\.ply: a field is saved as \.safetensors; field\.mesh\(\) returns its mesh"
    ):
        distance_field().save(tmp_path / "a.ply")


def test_nothing_is_lost_when_a_file_cannot_be_written(file):
    before = file.read_bytes()
    fitted = distance_field()
    fitted.provenance["figures"] = {"psnr": float("nan")}
    with pytest.raises(ValueError, match=r"field\.safetensors: its provenance cannot be written as JSON"):
        fitted.save(file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def tampered(file, tensors=None, **entries):
    with safe_open(file, "pt") as opened:
        metadata = dict(opened.metadata())
    for name, change in entries.items():
        value = json.loads(metadata[name]) if name != "format" else metadata[name]
        value = change(value)
        metadata[name] = value if isinstance(value, str) else json.dumps(value)
    stored = load_file(file)
    save_file((tensors or (lambda given: given))(stored), file, metadata)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda file: file.unlink(), "no such file"),
        (lambda file: file.write_bytes(b""), "not a whole safetensors file"),
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "not a whole safetensors file"),
        (lambda file: file.write_bytes(b"\xff" * 500), "not a whole safetensors file"),
        (lambda file: file.write_bytes(b"PK\x03\x04" + b"a" * 500), "not a whole safetensors file"),
        (lambda file: save_file({"a": torch.zeros(3)}, file), "its format is 'None'"),
        (lambda file: tampered(file, format=lambda old: "winner-nerfstudio field 9"), "field 9"),
        (lambda file: tampered(file, network=lambda old: old | {"hidden_dim": 10**9}), "larger than the file"),
        (lambda file: tampered(file, network=lambda old: old | {"num_layers": 10**9}), "larger than the file"),
        (lambda file: tampered(file, network=lambda old: old | {"hidden_dim": 17}), "not those of its network"),
        (lambda file: tampered(file, network=lambda old: old | {"name": "os.system"}), "not one of: siren"),
        (lambda file: tampered(file, network=lambda old: old | {"shell": "rm"}), "shell"),
        (lambda file: tampered(file, network=lambda old: [1]), "its entries are none"),
        (lambda file: tampered(file, network=lambda old: "{"), "holds no field"),
        (lambda file: tampered(file, record=lambda old: "[" * 100_000), "holds no field"),
        (lambda file: tampered(file, kind=lambda old: 3), "is no name"),
        (lambda file: tampered(file, kind=lambda old: '"image"'), "of kind image has 2 coordinates"),
        (lambda file: tampered(file, tensors=lambda old: old | {"scale": torch.tensor(0.0).double()}), "not finite"),
        (lambda file: tampered(file, tensors=lambda old: old | {"center": torch.zeros(2).double()}), "normalisation"),
        (
            lambda file: tampered(file, tensors=lambda old: {k: v for k, v in old.items() if "0.bias" not in k}),
            "not those",
        ),
        (lambda file: tampered(file, tensors=lambda old: {k: v.half() for k, v in old.items()}), "not those"),
    ],
)
def test_a_file_that_is_none_is_one_line(file, change, words):
    change(file)
    with pytest.raises(FieldFileError) as caught:
        load_field(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert words in message
    assert "write one with winner-export field" in message
    assert "\n" not in message
    assert len(message) < 400


def test_layers_of_any_network_in_the_network_are_no_more_than_those_in_the_file(tmp_path):
    distance_field("cells").save(tmp_path / "cells.safetensors")
    tampered(tmp_path / "cells.safetensors", network=lambda old: old | {"far_layers": 10**9})
    with pytest.raises(FieldFileError, match="larger than the file"):
        load_field(tmp_path / "cells.safetensors")


@pytest.mark.parametrize(
    "name, value",
    [
        ("shape", [9, 9]),
        ("shape", [9, 9, -1]),
        ("shape", [9, 9, True]),
        ("amplitude", 0.0),
        ("spacing", 1.0),
        ("spacing", [1.0, -1.0, 1.0]),
        ("spacing", [1.0, 1.0]),
        ("slope", 0.0),
        ("level", "x"),
        ("inside", "zz"),
        ("dtype", "O"),
    ],
)
def test_a_record_that_is_none_is_refused(tmp_path, name, value):
    fitted = volume_field()
    fitted.field.record = replace(fitted.field.record, **{name: value})
    fitted.save(tmp_path / "a.safetensors")
    with pytest.raises(FieldFileError, match="its record"):
        load_field(tmp_path / "a.safetensors")


def test_a_surface_comes_back_in_the_world():
    torch.manual_seed(0)
    fitted = distance_field()

    class Ball(nn.Module):
        def __init__(self):
            super().__init__()
            self.radius = nn.Parameter(torch.tensor(0.6))

        def forward(self, p):
            return p.norm(dim=-1, keepdim=True) - self.radius

    fitted.field.network = Ball()
    mesh = fitted.mesh(64)
    assert mesh.is_watertight
    distance = np.linalg.norm(mesh.vertices - PLACE, axis=-1)
    np.testing.assert_allclose(distance, 0.6 * SIZE, rtol=1e-5)
    np.testing.assert_allclose(mesh.vertex_normals, (mesh.vertices - PLACE) / distance[:, None], atol=1e-4)
    outside = fitted.mesh(64, level=2.5)
    np.testing.assert_allclose(np.linalg.norm(outside.vertices - PLACE, axis=-1), 0.6 * SIZE + 2.5, rtol=1e-5)
    np.testing.assert_allclose(fitted(np.array([PLACE])), -0.6 * SIZE, rtol=1e-6)
    for what in (fitted.image, fitted.audio, fitted.volume):
        with pytest.raises(ValueError, match="a field of kind 'sdf' has no"):
            what()


@pytest.mark.quality
def test_gradients_of_a_fitted_function_are_true_to_a_hundredth():
    def truth(p):
        x, y, z = p.T
        return 3 * np.sin(2 * x) * np.cos(y) + z**2

    def slope(p):
        x, y, z = p.T
        return np.stack([6 * np.cos(2 * x) * np.cos(y), -3 * np.sin(2 * x) * np.sin(y), 2 * z], -1)

    count, spacing = 16, 0.1
    places = np.stack(np.meshgrid(*[np.arange(count) * spacing] * 3, indexing="ij"), -1)
    values = truth(places.reshape(-1, 3)).reshape([count] * 3)
    field = fit(values, "volume", spacing=spacing, **SMOOTH, progress=False, measure=False)
    inside = np.random.default_rng(0).uniform(0.2, 1.3, (2000, 3))
    np.testing.assert_allclose(field(inside), truth(inside), atol=0.05)
    error = field.gradient(inside) - slope(inside)
    assert np.sqrt(np.square(error).sum() / np.square(slope(inside)).sum()) < 0.01


def test_pictures_and_sounds_of_any_size():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    field = fit(pixels, steps=200, hidden_dim=48, progress=False, measure=False)
    picture = field.image()
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - pixels).mean() < 25
    rows, columns = np.mgrid[:20, :30]
    own = field(np.stack([rows, columns], -1).astype(float))
    np.testing.assert_allclose(own.clip(0, 255), picture, atol=0.51)
    assert field.image(60).shape == (40, 60, 3)
    assert field.image((5, 7)).shape == (5, 7, 3)
    assert field.image(np.int64(60)).shape == (40, 60, 3)
    for size in (0, -1, 32.0, (3.5, 4.5), (1, 2, 3), (2**20, 2**20)):
        with pytest.raises(ValueError, match=re.escape(f"size={size} must be")):
            field.image(size)
    with pytest.raises(ValueError, match="only one of kind 'sdf' or 'volume' has"):
        field.mesh()
    whole = (1000 * np.sin(np.arange(90) / 9)).astype(np.int16)[:, None]
    series = fit(whole, steps=20, hidden_dim=32, progress=False, measure=False).audio()
    assert series.dtype == np.int16
    assert series.shape == (90, 1)
    time = np.arange(400) / 1000
    sound = 0.5 * np.sin(2 * np.pi * 40 * time)
    field = fit(
        sound,
        sample_rate=1000.0,
        steps=800,
        hidden_dim=48,
        progress=False,
        measure=False,
        schedule="fixed",
        s0=100.0,
        s1=0.1,
    )
    np.testing.assert_allclose(field.audio(), sound, atol=0.05)
    np.testing.assert_allclose(field(time), field.audio(), atol=1e-5)
    twice = field.audio(2000)
    assert twice.shape == (800,)
    np.testing.assert_allclose(twice[:-1:2], field.audio(), atol=1e-5)
    with pytest.raises(ValueError, match="rate=0"):
        field.audio(0)


onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")


@pytest.mark.quality
@pytest.mark.parametrize("kind", [name for name in NETWORKS if name != "wire"])
def test_onnx_gives_the_same_values(kind, tmp_path):
    from winner_nerfstudio.export.onnx import export_onnx

    fitted, world = distance_field(kind), points_about().astype(np.float32)
    assert export_onnx(fitted, tmp_path / "field.onnx") == ""
    session = onnxruntime.InferenceSession(tmp_path / "field.onnx")
    (values,) = session.run(None, {"points": world})
    assert values.shape == (200, 1)
    # The highest frequencies of relu-pe are beyond what a single precision sine of another make agrees on.
    np.testing.assert_allclose(values[:, 0], fitted(world), atol=(1e-4 if kind == "relu-pe" else 1e-5) * SIZE)
    assert json.loads(session.get_modelmeta().custom_metadata_map["provenance"]) == {"steps": 3}
    (one,) = session.run(None, {"points": world[:1]})
    np.testing.assert_allclose(one, values[:1], atol=1e-5 * SIZE)


def test_what_onnx_has_not_is_one_line(tmp_path):
    from winner_nerfstudio.export.onnx import export_onnx

    with pytest.raises(ValueError, match="ONNX has no complex numbers, which wire computes with"):
        export_onnx(distance_field("wire"), tmp_path / "field.onnx")
    assert not list(tmp_path.iterdir())


def test_far_from_the_origin_onnx_says_what_single_precision_loses(tmp_path):
    from winner_nerfstudio.export.onnx import export_onnx

    fitted = FittedField(Field("sdf", network_of(), Normalization((1e6, 0.0, 0.0), 1.0), ShapeRecord()))
    assert "single precision is coarse so far from the origin: 0.12 of a unit" in export_onnx(
        fitted, tmp_path / "f.onnx"
    )


@pytest.mark.parametrize(
    "offset, amplitude, words", [(1e6, 1.0, "single precision too: 0.12 about 1e"), (0.0, 1.0, "")]
)
def test_onnx_says_what_single_precision_loses_of_values(tmp_path, offset, amplitude, words):
    from winner_nerfstudio.export.onnx import export_onnx

    fitted = volume_field()
    fitted.field.record = replace(fitted.field.record, offset=offset, amplitude=amplitude)
    note = export_onnx(fitted, tmp_path / "f.onnx")
    assert words in note
    assert bool(words) == bool(note)


def test_values_beyond_single_precision_are_not_written_as_onnx(tmp_path):
    from winner_nerfstudio.export.onnx import export_onnx

    fitted = volume_field()
    fitted.field.record = replace(fitted.field.record, amplitude=1e300)
    with pytest.raises(ValueError, match=r"single precision cannot hold values about 1e\+300"):
        export_onnx(fitted, tmp_path / "f.onnx")
