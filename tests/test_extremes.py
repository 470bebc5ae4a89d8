"""Targets at the ends of what there is: tiny, constant, thin, in huge or tiny units, and of odd types of numbers."""

import re

import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio import fit, load_field
from winner_nerfstudio.export.errors import ExportError
from winner_nerfstudio.export.mesh import Finish, export_mesh
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.fitted import FittedField
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ShapeRecord
from winner_nerfstudio.training.options import NetworkOptions

from .meshes import sphere

SMALL = {"hidden_dim": 12, "num_layers": 2, "progress": False}
RNG = np.random.default_rng(0)
PICTURE, SERIES, VOLUME = RNG.random((8, 9)), RNG.normal(size=50), RNG.normal(size=(5, 6, 7))


def triangle():
    return trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False)


def ball(scale):
    mesh = sphere(1.0, subdivisions=2)
    mesh.apply_transform(np.diag([*np.broadcast_to(scale, 3), 1.0]))
    return mesh


TARGETS = {
    "one pixel": (np.full((1, 1, 3), 0.25), {}),
    "one pixel of a byte": (np.full((1, 1), 7, np.uint8), {"kind": "image"}),
    "one sample": (np.array([0.3]), {}),
    "two samples": (np.array([0.1, 0.2]), {}),
    "a constant picture": (np.full((8, 9, 3), 3.0), {}),
    "silence": (np.zeros(50), {}),
    "a constant volume": (np.ones((5, 6, 7)), {}),
    "a constant truth": (np.ones((8, 9), bool), {}),
    "two to each axis": (RNG.normal(size=(2, 2, 2)), {"kind": "volume"}),
    "a line of pixels": (RNG.random((1, 100_000)), {"kind": "image", "steps": 1}),
    "a column of pixels": (RNG.random((100_000, 1, 3)), {"kind": "image", "steps": 1}),
    "tiny values": (PICTURE * 1e-30, {}),
    "huge values": (PICTURE * 1e30, {}),
    "tiny seconds": (SERIES * 1e-30, {"sample_rate": 1e30}),
    "huge seconds": (SERIES * 1e30, {"sample_rate": 1e-30}),
    "a tiny volume": (VOLUME * 1e-30, {"spacing": 1e-30}),
    "a huge volume": (VOLUME * 1e30, {"spacing": 1e30}),
    "a half precision picture": (PICTURE.astype(np.float16), {}),
    "a half precision series": (SERIES.astype(np.float16), {}),
    "a half precision volume": (VOLUME.astype(np.float16), {}),
    "a half precision tensor": (torch.from_numpy(PICTURE).half(), {}),
    "a bfloat16 tensor": (torch.from_numpy(PICTURE).bfloat16(), {}),
    "a truth per pixel": (PICTURE > 0.5, {}),
    "a truth per second": (SERIES > 0, {}),
    "a truth per voxel": (VOLUME > 0, {}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_it_is_fitted_kept_and_comes_back_in_its_units(name, tmp_path):
    data, options = TARGETS[name]
    fitted = fit(data, **{"steps": 5, **SMALL, **options})
    fitted.save(tmp_path / "a.safetensors")
    field = load_field(tmp_path / "a.safetensors")
    back = {"image": field.image, "audio": field.audio, "volume": field.volume}[field.kind]()
    wanted = data
    if isinstance(data, torch.Tensor):
        wanted = (data if data.dtype == torch.float16 else data.float()).numpy()
    assert back.shape == wanted.shape
    assert back.dtype == wanted.dtype
    low, high = (float(f(wanted.astype(float))) for f in (np.min, np.max))
    room = 255.0 if wanted.dtype == np.uint8 else max(high - low, abs(low) or 1.0)
    assert np.isfinite(back.astype(float)).all()
    assert ((back.astype(float) >= low - room) & (back.astype(float) <= high + room)).all()


@pytest.mark.parametrize(
    "make, sizes",
    [
        (triangle, (1, 1, 0)),
        (lambda: ball((1, 1e-5, 1)), (2, 2e-5, 2)),
        (lambda: ball((1e5, 1, 1)), (2e5, 2, 2)),
        (lambda: ball(1e-30), (2e-30,) * 3),
        (lambda: ball(1e30), (2e30,) * 3),
    ],
    ids=["a triangle", "a disc", "a needle", "tiny", "huge"],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_shape_is_fitted_and_kept(make, sizes, tmp_path):
    fitted = fit(make(), steps=2, batch_size=64, measure=False, **SMALL)
    fitted.save(tmp_path / "a.safetensors")
    normalization = load_field(tmp_path / "a.safetensors").field.normalization
    assert 1.8 / normalization.scale == pytest.approx(max(sizes), rel=0.02)


@pytest.mark.parametrize(
    "data, options, words",
    [
        (np.zeros(0), {}, "0 samples"),
        (np.zeros((0, 5, 3)), {}, "holds no samples"),
        (np.eye(3), {"kind": "sdf"}, "3 points that differ; at least 10 are needed"),
        (np.ones((50, 3)), {"kind": "sdf"}, "1 points that differ"),
        (np.ones((1, 1, 1)), {"kind": "volume"}, "has no depth along one axis"),
        (SERIES, {"sample_rate": 1e300}, "sample_rate=1e+300 must be positive and finite"),
        (SERIES, {"sample_rate": 1e-200}, "sample_rate=1e-200 must be positive and finite"),
        (VOLUME, {"spacing": 1e305}, "its units are too small or too large to be fitted"),
        (VOLUME, {"spacing": 1e-310}, "its units are too small or too large to be fitted"),
        (PICTURE, {"hidden_dim": 20_000}, "takes 6.4 GB of memory to train; 4.29 GB is the most"),
        (PICTURE, {"num_layers": 100_000, "hidden_dim": 256}, "takes 105 GB of memory to train"),
        (PICTURE, {"num_layers": 100_000}, "num_layers=100000 must be at most 1,000"),
        (PICTURE, {"hidden_dim": 2**62}, "of memory to train"),
        (PICTURE, {"hidden_dim": True}, "hidden_dim=True must be a whole number"),
        (PICTURE, {"network": "relu-pe", "network_args": {"num_frequencies": 2**39}}, "GB of memory to train"),
        (
            PICTURE,
            {"network": "siren-rff", "init": "siren", "network_args": {"num_features": 2**39}},
            "make a siren-rff that takes",
        ),
    ],
)
def test_what_cannot_be_fitted_is_one_line(data, options, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        fit(data, steps=1, **{**SMALL, **options})
    assert "\n" not in str(caught.value)


def test_the_largest_networks_are_refused_before_they_take_memory():
    import tracemalloc

    for sizes in ({"hidden_dim": 20_000}, {"num_layers": 100_000}, {"num_layers": 1001, "hidden_dim": 1}):
        tracemalloc.start()
        with pytest.raises(ValueError, match=r"GB is the most|at most 1,000"):
            NetworkOptions(**sizes).check(2)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20
    NetworkOptions(hidden_dim=2048).check(3)
    NetworkOptions(num_layers=200, hidden_dim=64).check(3)


class Round(torch.nn.Module):
    """The distance to a ball, as a network."""

    def __init__(self):
        super().__init__()
        self.radius = torch.nn.Parameter(torch.tensor(0.6))

    def forward(self, coords):
        return coords.norm(dim=-1, keepdim=True) - self.radius


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1.0, 1e30])
@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".glb"])
def test_a_mesh_is_written_whole_in_units_of_any_size(size, suffix, tmp_path):
    network = {"name": "siren", "in_dim": 3, "out_dim": 1, "hidden_dim": 4, "num_layers": 2}
    field = FittedField(Field("sdf", network, Normalization((size, 0.0, 0.0), 1 / size), ShapeRecord())).field
    field.network = Round()
    done = export_mesh(field, tmp_path / f"a{suffix}", 24)
    assert done.mesh.is_watertight
    read = trimesh.load(tmp_path / f"a{suffix}", process=False, force="mesh")
    assert len(read.faces) == len(done.mesh.faces) > 1000
    np.testing.assert_allclose(read.bounds / size, [[0.4, -0.6, -0.6], [1.6, 0.6, 0.6]], atol=0.01)
    radius = np.linalg.norm(read.vertices / size - [1, 0, 0], axis=-1)
    np.testing.assert_allclose(radius, 0.6, atol=1e-6)


@pytest.mark.parametrize("size", [1e-60, 1e60])
def test_what_single_precision_cannot_hold_is_written_as_obj_and_ply_only(size, tmp_path):
    network = {"name": "siren", "in_dim": 3, "out_dim": 1, "hidden_dim": 4, "num_layers": 2}
    field = FittedField(Field("sdf", network, Normalization((0.0,) * 3, 1 / size), ShapeRecord())).field
    field.network = Round()
    with pytest.raises(ExportError, match=r"single precision cannot hold.* use \.obj or \.ply"):
        export_mesh(field, tmp_path / "a.stl", 16)
    assert not list(tmp_path.iterdir())
    for name in ("a.obj", "a.ply"):
        export_mesh(field, tmp_path / name, 16)
        read = trimesh.load(tmp_path / name, process=False, force="mesh")
        np.testing.assert_allclose(read.bounds / size, [[-0.6] * 3, [0.6] * 3], atol=0.02)


@pytest.mark.parametrize("colors", [False, True])
def test_a_ply_file_far_from_the_origin_holds_double_precision(colors, tmp_path):
    network = {"name": "siren", "in_dim": 3, "out_dim": 1, "hidden_dim": 4, "num_layers": 2}
    place = Normalization((431_234.5, 5_412_345.25, 120.0), 1.0)
    field = FittedField(Field("sdf", network, place, ShapeRecord())).field
    field.network = Round()
    done = export_mesh(field, tmp_path / "a.ply", 24, finish=Finish(colors="curvature") if colors else None)
    read = trimesh.load(tmp_path / "a.ply", process=False, force="mesh")
    assert read.is_watertight
    np.testing.assert_array_equal(read.vertices, done.mesh.vertices)
    np.testing.assert_array_equal(read.faces, done.mesh.faces)
    from_center = read.vertices - place.center
    np.testing.assert_allclose(np.linalg.norm(from_center, axis=-1), 0.6, atol=1e-6)
    stored = read.metadata["_ply_raw"]["vertex"]["data"]  # trimesh computes normals anew
    np.testing.assert_allclose(
        np.stack([stored[name] for name in ("nx", "ny", "nz")], -1), from_center / 0.6, atol=1e-6
    )
    if colors:
        np.testing.assert_array_equal(read.visual.vertex_colors, done.mesh.visual.vertex_colors)
