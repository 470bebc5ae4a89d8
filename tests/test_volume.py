"""Volumes: from an array to a surface in its world, and back."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from nerfstudio.data.scene_box import OrientedBox
from PIL import Image

from winner_nerfstudio.export.grid import export_volume
from winner_nerfstudio.export.mesh import export_mesh
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.checkpoint import load_run
from winner_nerfstudio.fields.fitted import FittedField
from winner_nerfstudio.kinds.shape import MeshExport
from winner_nerfstudio.kinds.volume import VolumeExport, VolumeKind
from winner_nerfstudio.nerfstudio.viewer.cameras import look_at_origin, orbit
from winner_nerfstudio.nerfstudio.viewer.color_legend import diverging
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.options import VolumeOptions
from winner_nerfstudio.signals.records import VolumeRecord
from winner_nerfstudio.signals.volume import load_volume
from winner_nerfstudio.surfaces.distance_grid import DistanceGrid
from winner_nerfstudio.surfaces.extraction import EmptySurfaceError
from winner_nerfstudio.surfaces.level_set import VolumeSolid

from .conftest import call, config_of, make_config, metrics_of

SHAPE = (20, 14, 17)
SPACING = 0.5
CENTER, RADIUS = np.array([4.5, 3.5, 4.0]), 2.2
"""Of a ball in an array of that shape and spacing, which holds all of it."""


def distances(shape=SHAPE, spacing=SPACING, center=CENTER, radius=RADIUS):
    """The signed distance from a ball at the samples, world units."""
    places = spacing * np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.linalg.norm(places - center, axis=-1) - radius


def saved(path, array):
    (np.save if path.suffix == ".npy" else np.savez)(path, array)
    return path


class Exact(torch.nn.Module):
    """In place of a fitted network: a function of places in the world, in the units of the volume."""

    def __init__(self, function, volume):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.function, self.volume = function, volume

    def forward(self, x):
        center = x.new_tensor(self.volume.normalization.center)
        value = self.function(x / self.volume.normalization.scale + center)[..., None]
        return self.weight * (value - self.volume.units.offset) / self.volume.units.amplitude


def field_of(volume, function):
    spec = {"name": "siren", "in_dim": 3, "out_dim": 1, "hidden_dim": 4, "num_layers": 2}
    field = Field(
        "volume", spec, volume.normalization, VolumeRecord.from_json(json.loads(json.dumps(volume.record.to_json())))
    )
    field.network = Exact(function, volume)
    return field


def ball(x):
    return (x - x.new_tensor(CENTER)).norm(dim=-1) - RADIUS


def test_axes_are_x_y_and_z_and_cells_are_cubes_of_the_given_spacing(tmp_path):
    array = np.zeros(SHAPE)
    array[19, 0, 8] = 1
    volume = load_volume(saved(tmp_path / "a.npy", array), VolumeOptions(spacing=SPACING))
    assert volume.values.shape == (*SHAPE, 1)
    (number,) = np.flatnonzero(volume.values == 1)
    place = volume.lattice.coords(torch.tensor([number])).double().numpy()
    np.testing.assert_allclose(place, [[1, -13 / 19, 0]], atol=1e-6)
    np.testing.assert_allclose(volume.normalization.to_world(place), [[9.5, 0, 4]], atol=1e-6)


@pytest.mark.parametrize(
    "array, level",
    [
        (np.array([False, True]), 0.5),
        (np.array([0, 255], "u1"), 127.5),
        (np.array([-1, 5], "i4"), 2),
        (np.array([-1.0, 0.5, 3.0]), 0),
        (np.array([1, 2, 7], "i2"), 4),
        (np.array([-9.0, -2.0, -1.0]), -5),
    ],
)
def test_the_level_is_what_the_values_suggest_and_the_inside_is_above_it(tmp_path, array, level):
    array = np.resize(array, (3, 4, 5))
    path = saved(tmp_path / "a.npy", array)
    volume = load_volume(path)
    assert volume.record.level == level
    assert np.array_equal(volume.inside(volume.values)[..., 0], array > level)
    other = load_volume(path, VolumeOptions(inside="below"))
    assert np.array_equal(other.inside(other.values)[..., 0], array < level)
    assert f"inside is below {level:g}: {(array < level).mean():.3g} of the samples" in other.describe()
    given = load_volume(path, VolumeOptions(level=float(array.max()) - 0.25))
    assert np.array_equal(given.inside(given.values)[..., 0], array == array.max())


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", ">i4", "i8", "f2", "f4", ">f8"])
@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 4, 6, 1)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_perfect_fit_is_written_back_as_it_was(tmp_path, dtype, shape, suffix):
    rng, kind = np.random.default_rng(0), np.dtype(dtype)
    array = (rng.uniform(-90, 100, shape) if kind.kind != "u" else rng.uniform(0, 250, shape)).astype(kind)
    array = rng.random(shape) > 0.5 if kind.kind == "b" else array
    volume = load_volume(saved(tmp_path / f"a{suffix}", array))
    assert volume.suffix == suffix
    field, values = field_of(volume, ball), torch.from_numpy(volume.values)
    field.evaluate = lambda x: values.reshape(-1, 1)[volume.lattice.nearest(x)]
    said = export_volume(field, tmp_path / f"b{suffix}")
    assert said.startswith(f"5 x 4 x 6 samples, {kind}")
    written = np.load(tmp_path / f"b{suffix}")
    written = written if suffix == ".npy" else written[written.files[0]]
    assert (written.shape, written.dtype) == (shape, kind)
    np.testing.assert_allclose(written.astype(float), array.astype(float), atol=0 if kind.kind in "bui" else 1e-5 * 200)


def test_a_finer_export_says_where_its_samples_lie(tmp_path):
    volume = load_volume(saved(tmp_path / "a.npy", distances()), VolumeOptions(spacing=SPACING, inside="below"))
    said = export_volume(field_of(volume, ball), tmp_path / "b.npy", scale=2)
    assert said == "40 x 28 x 34 samples, float64, 0.25 x 0.25 x 0.25 apart, the first at -0.125 x -0.125 x -0.125"
    # The outermost lie beyond the box, where the nearest inside is taken.
    expected = distances((40, 28, 34), 0.25, CENTER + 0.125)[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose(np.load(tmp_path / "b.npy")[1:-1, 1:-1, 1:-1], expected, atol=1e-5)


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
@pytest.mark.parametrize("inside, sign", [("below", 1.0), ("above", -7.0)])
def test_the_level_set_comes_back_in_the_world_and_looks_outwards(tmp_path, inside, sign, suffix):
    volume = load_volume(saved(tmp_path / "a.npy", sign * distances()), VolumeOptions(spacing=SPACING, inside=inside))
    field = field_of(volume, lambda x: sign * ball(x))
    for level, radius in ((None, RADIUS), (0.4 * sign, RADIUS + 0.4)):
        path = tmp_path / f"a{suffix}"
        export_mesh(field, path, resolution=48, level=level)
        mesh = trimesh.load_mesh(path)
        assert mesh.is_watertight
        assert mesh.body_count == 1
        np.testing.assert_allclose(np.linalg.norm(mesh.vertices - CENTER, axis=-1), radius, atol=0.01)
        assert mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)
    for outside in (-3.0 * sign, 99.0 * sign):  # nothing lies inside, or all of the box
        with pytest.raises(EmptySurfaceError, match=f"level={outside:g} lies outside the values"):
            export_mesh(field, path, resolution=48, level=outside)
    with pytest.raises(EmptySurfaceError, match=r"no surface at level 0: the field lies between -?[1-9]"):
        export_mesh(field_of(volume, lambda x: 0 * x[:, 0] + 100.3 * sign), path, resolution=16, level=0.0)
    with pytest.raises(ValueError, match="level=nan must be finite"):
        export_mesh(field, path, resolution=48, level=np.nan)


def test_as_a_solid_a_volume_is_about_a_distance_with_its_gradient(tmp_path):
    volume = load_volume(saved(tmp_path / "a.npy", 30 * distances()), VolumeOptions(spacing=SPACING, inside="below"))
    solid = VolumeSolid(field_of(volume, lambda x: 30 * ball(x)), resolution=20, level=3.0)
    world = CENTER + (RADIUS + 0.3) * np.array([[0.6, 0.8, 0], [-1, 0, 0], [0, -0.6, 0.8]])
    points = torch.from_numpy(solid.normalization.to_unit(world)).float()
    value, gradient = solid.value_and_gradient(points)
    torch.testing.assert_close(value, torch.full((3,), 0.2 * solid.normalization.scale), rtol=0.03, atol=0)
    torch.testing.assert_close(solid.evaluate(points)[:, 0], value)
    np.testing.assert_allclose(gradient, (world - CENTER) / (RADIUS + 0.3), atol=0.03)


UNEVEN = (0.25, 0.5, 0.8)
"""The spacing of an array of which the shortest side in samples is not the shortest in the world."""


def uneven_ball(tmp_path, **options):
    shape = (36, 15, 11)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * UNEVEN
    array = np.linalg.norm(places - CENTER, axis=-1) - RADIUS
    return load_volume(
        saved(tmp_path / "a.npy", array), VolumeOptions(spacing=UNEVEN, inside="below", **options)
    ), array


def test_a_ball_sampled_unevenly_is_a_ball_in_the_world(tmp_path):
    volume, array = uneven_ball(tmp_path)
    assert "36 x 15 x 11 samples (float64)" in volume.describe()[0]
    assert "0.25 x 0.5 x 0.8 apart" in volume.describe()[0]
    index = torch.tensor([0, 5000, volume.lattice.count - 1])
    world = np.stack(np.unravel_index(index.numpy(), array.shape), -1) * UNEVEN
    coords = volume.lattice.coords(index)
    np.testing.assert_allclose(volume.normalization.to_world(coords.double().numpy()), world, atol=1e-5)
    assert torch.equal(volume.lattice.nearest(coords), index)
    assert coords.abs().max() == 1
    # A gradient of length 1 in the world, measured per least spacing.
    assert volume.record.slope == pytest.approx(0.25, rel=0.05)
    field = field_of(volume, ball)
    mesh = export_mesh(field, tmp_path / "a.ply", resolution=48).mesh
    assert mesh.is_watertight
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - CENTER, axis=-1), RADIUS, atol=0.01)
    fitted = FittedField(field)
    np.testing.assert_allclose(fitted(world), np.linalg.norm(world - CENTER, axis=-1) - RADIUS, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(fitted.gradient(world), axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(fitted.volume(), array, atol=1e-5)


def test_an_uneven_export_says_where_its_samples_lie(tmp_path):
    volume, _ = uneven_ball(tmp_path)
    said = export_volume(field_of(volume, ball), tmp_path / "b.npy", scale=2)
    assert "0.125 x 0.25 x 0.4 apart, the first at -0.0625 x -0.125 x -0.2" in said
    metrics = VolumeKind().metrics(field_of(volume, ball), volume, None)
    assert metrics["iou"] == 1
    assert metrics["psnr"] > 100
    assert metrics["psnr_between"] > 40


def test_one_spacing_is_the_same_as_three_alike(tmp_path):
    path = saved(tmp_path / "a.npy", distances())
    one, three = (load_volume(path, VolumeOptions(spacing=spacing)) for spacing in (0.5, (0.5, 0.5, 0.5)))
    assert (one.record, one.normalization) == (three.record, three.normalization)


def test_a_normalized_mesh_lies_in_the_networks_cube(tmp_path):
    volume = load_volume(saved(tmp_path / "a.npy", distances()), VolumeOptions(spacing=SPACING, inside="below"))
    mesh = export_mesh(field_of(volume, ball), tmp_path / "a.ply", resolution=48, normalized=True).mesh
    center = volume.normalization.to_unit(CENTER)
    expected = RADIUS * volume.normalization.scale
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - center, axis=-1), expected, atol=0.003)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_body_that_leaves_the_array_is_closed_at_its_walls(tmp_path, axis):
    shape = np.roll((24, 10, 16), axis)
    ends = (shape - 1) * SPACING
    # A bar along one axis, from wall to wall; in the other two it stays within.
    middle = ends / 2

    def bar(x):
        away = (x - x.new_tensor(middle)).abs()
        away[..., axis] = 0
        return away.amax(-1) - 1.3

    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * SPACING
    array = bar(torch.from_numpy(places)).numpy()
    volume = load_volume(saved(tmp_path / "a.npy", array), VolumeOptions(spacing=SPACING, inside="below"))
    mesh = export_mesh(field_of(volume, bar), tmp_path / "a.ply", resolution=60).mesh
    assert mesh.is_watertight
    lower, upper = middle - 1.3, middle + 1.3
    lower[axis], upper[axis] = 0, ends[axis]
    np.testing.assert_allclose(mesh.bounds, [lower, upper], atol=0.01)
    assert mesh.volume == pytest.approx(np.prod(upper - lower), rel=0.02)


@pytest.mark.quality
def test_many_small_bodies_are_all_exported(tmp_path):
    # What is thin or small must not be taken for a distance that leaves its surroundings free.
    size, period = 40, 5

    def occupancy(x):
        return torch.sigmoid(20 * (1.6 - ((x + 0.5) % period - period / 2).norm(dim=-1)))

    places = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1).astype(np.float32)
    array = occupancy(torch.from_numpy(places)).numpy() > 0.5
    volume = load_volume(saved(tmp_path / "a.npy", array))
    mesh = export_mesh(field_of(volume, occupancy), tmp_path / "a.ply", resolution=120).mesh
    assert mesh.body_count == (size // period) ** 3
    assert mesh.is_watertight


HOSTILE = {
    "picture.npy": (np.zeros((4, 5)), "shape (4, 5) is no volume"),
    "colour.npy": (np.zeros((4, 5, 6, 3)), "shape (4, 5, 6, 3) is no volume"),
    "flat.npy": (np.zeros((4, 1, 5)), "has no depth along one axis; fit it as a picture"),
    "complex.npy": (np.zeros((2, 2, 2), complex), "holds complex128 values"),
    "nan.npy": (np.full((2, 2, 2), np.nan), "8 of 8 samples are NaN or infinite"),
    "none.npy": (np.zeros((0, 2, 2)), "holds no samples"),
    "large.npy": (np.zeros((600, 600, 600), bool), "216,000,000 samples are more than --max-samples 200,000,000"),
    "large.npz": (np.zeros((600, 600, 600), bool), "they take 3.46 GB of memory"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_fitted_is_refused_in_one_line(tmp_path, name):
    array, words = HOSTILE[name]
    (np.save if name.endswith("npy") else np.savez_compressed)(tmp_path / name, array)
    with pytest.raises(SignalError) as caught:
        load_volume(tmp_path / name)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"source": "no.npy"}, "no.npy: no such file; give an array, or sample:NAME with one of metaballs, sponge"),
        ({"source": "sample:bunny"}, "no such built-in volume; there are: metaballs, sponge"),
        ({"source": __file__}, "a volume is an array in .npy or .npz"),
        ({"spacing": 0.0}, "spacing=0.0 must be positive"),
        ({"spacing": float("inf")}, "spacing=inf"),
        ({"spacing": (1.0, 2.0)}, "spacing=(1.0, 2.0) must be positive and finite: one number, or one for each"),
        ({"spacing": (1.0, 0.0, 2.0)}, "spacing=(1.0, 0.0, 2.0)"),
        ({"level": 1.5}, "level=1.5 lies outside the values, 0 to 1"),
        ({"level": float("nan")}, "level=nan lies outside"),
        ({"level": 1.0000001}, "level=1.0000001 lies outside the values, 0 to 1"),
        ({"inside": "left"}, "inside='left' must be above or below"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(options, words):
    source = options.get("source", "sample:sponge")
    options = VolumeOptions(**{name: value for name, value in options.items() if name != "source"})
    with pytest.raises(SignalError) as caught:
        load_volume(source, options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_constant_can_be_fitted_and_has_no_surface(tmp_path):
    volume = load_volume(saved(tmp_path / "a.npy", np.full((3, 3, 3), 7)))
    assert "warning: all of it lies on one side of the level; there is no surface" in volume.describe()
    model = model_of(data=tmp_path / "a.npy")
    model.field.network = Exact(lambda x: 0 * x[..., 0] + 7, volume)
    assert "iou" not in model.evaluate(model.signal)
    outputs = model.get_outputs_for_camera(look_at_origin(orbit("z", 1), "z", 16, 16))
    assert all(torch.isfinite(outputs[name]).all() for name in outputs)
    export_volume(model.field, tmp_path / "b.npy")
    assert (np.load(tmp_path / "b.npy") == 7).all()
    with pytest.raises(EmptySurfaceError, match="no surface"):
        export_mesh(model.field, tmp_path / "b.ply", resolution=9)


@pytest.mark.parametrize("name, psi", [("sample:metaballs", (0, 0.05)), ("sample:sponge", (0.1, 0.5))])
def test_of_the_built_in_volumes_one_is_smooth_and_one_is_fine(name, psi):
    volume = load_volume(name)
    assert psi[0] < volume.centroid < psi[1]
    assert 0.03 < volume.inside(volume.values).mean() < 0.3


@pytest.mark.parametrize("scale", [1.0, 250.0])
def test_the_slope_at_the_surface_is_that_of_the_field(tmp_path, scale):
    volume = load_volume(saved(tmp_path / "a.npy", scale * distances()), VolumeOptions(spacing=SPACING, inside="below"))
    assert volume.record.slope == pytest.approx(scale * SPACING, rel=0.02)  # per sample


def test_a_noisy_volume_takes_its_level_from_the_clean_one(tmp_path):
    clean = saved(tmp_path / "clean.npy", distances() < 0)
    noisy = (distances() < 0) + np.random.default_rng(0).normal(0, 0.1, SHAPE)
    volume = load_volume(saved(tmp_path / "noisy.npy", noisy), VolumeOptions(reference=str(clean)))
    assert volume.record.level == 0.5
    assert np.array_equal(volume.inside(volume.truth)[..., 0], distances() < 0)


def model_of(**options):
    changes = {f"pipeline__datamanager__dataparser__{name}": value for name, value in options.items()}
    return make_config("winner-volume", **changes).pipeline.setup(device="cpu", test_mode="test").model.eval()


@pytest.fixture
def exact(tmp_path):
    """A model that fits a ball's distance exactly, with its true values at hand."""
    saved(tmp_path / "ball.npy", distances().astype(np.float32))
    model = model_of(data=tmp_path / "ball.npy", spacing=SPACING, inside="below", train_fraction=0.5)
    model.field.network = Exact(ball, model.signal)
    return model


def test_the_insides_are_compared_sample_by_sample(exact):
    metrics = exact.evaluate(exact.signal)
    assert metrics["iou"] == metrics["iou_held_out"] == 1
    assert metrics["psnr"] > 100
    exact.field.network = Exact(lambda x: ball(x) - 0.5, exact.signal)
    wanted, got = distances() < 0, distances() < 0.5
    assert exact.evaluate(exact.signal)["iou"] == pytest.approx(wanted.sum() / got.sum(), abs=1e-9)
    chosen = exact.signal.held_out
    expected = wanted.reshape(-1)[chosen].sum() / got.reshape(-1)[chosen].sum()
    assert exact.evaluate(exact.signal)["iou_held_out"] == pytest.approx(expected, abs=1e-9)


def test_fit_and_target_are_seen_where_the_ball_is(exact):
    camera = look_at_origin(orbit("z", 1), "z", 96, 96)
    outputs = exact.get_outputs_for_camera(camera)
    rays = camera.generate_rays(camera_indices=0)
    center = torch.from_numpy(exact.signal.normalization.to_unit(CENTER)).float()
    radius = RADIUS * exact.signal.normalization.scale
    away = center - rays.origins
    along = (away * rays.directions).sum(-1)
    miss = away.square().sum(-1) - along**2
    depth = along - (radius**2 - miss).clamp(min=0).sqrt()
    hit = outputs["accumulation"][..., 0] > 0
    assert ((miss < radius**2) == hit).float().mean() > 0.995
    within = miss < (0.9 * radius) ** 2
    torch.testing.assert_close(outputs["depth"][..., 0][within], depth[within], atol=2e-3, rtol=0)
    normal = (rays.origins + depth[..., None] * rays.directions - center) / radius
    torch.testing.assert_close(outputs["normals"][within], (normal[within] + 1) / 2, atol=0.02, rtol=0)
    # Under the same light the array, interpolated, is all but alike.
    assert (outputs["target"] - outputs["rgb"]).abs()[within].mean() < 0.03


def test_a_crop_cuts_the_fit_and_not_the_target(exact):
    camera = look_at_origin(orbit("z", 1), "z", 48, 48)
    whole = exact.get_outputs_for_camera(camera)
    crop = OrientedBox(R=torch.eye(3), T=torch.zeros(3), S=torch.full((3,), 0.1))
    cropped = exact.get_outputs_for_camera(camera, crop)
    assert 0 < cropped["accumulation"].sum() < 0.2 * whole["accumulation"].sum()
    torch.testing.assert_close(cropped["target"], whole["target"])


@pytest.mark.parametrize("of_target", [False, True])
def test_a_level_that_is_moved_meanwhile_leaves_the_grid_that_of_its_own_level(exact, monkeypatch, of_target):
    build = exact._get_target_grid if of_target else exact.distance_grid
    right = build().values
    exact._grid = exact._target_grid = None
    shown, create = exact.iso_level.value, DistanceGrid.of

    def move_and_create(*arguments):
        exact.iso_level.value = shown + 0.5
        return create(*arguments)

    monkeypatch.setattr(DistanceGrid, "of", move_and_create)
    build()
    exact.iso_level.value = shown
    assert torch.equal(build().values, right)


def test_a_level_beyond_the_slider_is_exported_as_its_end(exact):
    exact.export_now.resolution = SimpleNamespace(value=64)
    for typed, level in [(1e9, exact.iso_level.max), (-1e9, exact.iso_level.min)]:
        exact.iso_level.value = typed
        assert exact.level == level
        output, _ = exact.export_now.prepare(SimpleNamespace(companion=None), Path("ball"))
        assert output.name == f"ball-64-level{level:+.3g}.ply"


def test_the_error_of_a_fit_that_is_too_large_is_what_it_is_too_large_by(exact):
    exact.field.network = Exact(lambda x: ball(x) - 0.3, exact.signal)
    exact.error_range.value = 0.6
    outputs = exact.get_outputs_for_camera(look_at_origin(orbit("z", 1), "z", 96, 96))
    colors = outputs["error"][outputs["accumulation"][..., 0] > 0]
    red, _, blue = diverging(torch.tensor([0.5]))[0]
    # The interpolated array is off by two hundredths; light changes colours alike.
    torch.testing.assert_close((colors[:, 0] / colors[:, 2]).median(), red / blue, atol=0.15, rtol=0)


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_a_volume_that_fills_the_cube_is_all_in_frame_and_its_walls_are_lit(tmp_path, up):
    array = np.ones((9, 9, 9))
    array[4, 4, 4] = 0
    model = model_of(data=saved(tmp_path / "a.npy", array), up=up)
    cameras = model.kwargs["metadata"]["cameras"]
    cameras.rescale_output_resolution(64 / 512)
    for side in (0, 3):
        picture = model.get_outputs_for_camera(cameras[side : side + 1])["target"]
        border = torch.cat([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == 1).all()
        seen = (picture < 1).all(-1)
        assert 0.2 < seen.float().mean() < 0.6
        # But for a pixel or two along its edges.
        assert picture[seen].quantile(0.02) > 0.3


def test_a_slice_shows_the_values_and_a_line_at_the_level(exact):
    exact.slice_axis.value, exact.slice_position.value = "z", 0.5 / 8
    camera = look_at_origin((0.0, 0.001, 2.3), "y", 200, 200)
    outputs = exact.get_outputs_for_camera(camera)
    rays = camera.generate_rays(camera_indices=0)
    height = 0.5 / 8 * exact.half_extents[2]
    place = rays.origins + (height - rays.origins[..., 2:]) / rays.directions[..., 2:] * rays.directions
    box = place.new_tensor(exact.half_extents)
    covered = (place.abs()[..., :2] <= box[:2]).all(-1)
    scale = exact.signal.normalization.scale
    world = place / scale + place.new_tensor(exact.signal.normalization.center)
    value = ball(world.double())
    for name in ("slice", "target-slice"):
        picture = outputs[name].clone()
        picture[140:, 100:] = 1.0  # the legend
        assert (picture[~covered] == 1).all()
        seen = covered.clone()
        seen[140:, 100:] = False
        assert (picture[seen & (value.abs() < 0.01)] < 0.1).all()
        inside, outside = seen & (value < -0.5), seen & (value > 0.5)
        assert (picture[inside][:, 2] > picture[inside][:, 0]).all()  # blue is below
        assert (picture[outside][:, 0] > picture[outside][:, 2]).all()


def test_a_grid_that_ends_close_by_gets_its_true_distance():
    def occupied(x):
        return (x.norm(dim=-1) - 0.5).clamp(-0.02, 0.02)

    grid = DistanceGrid.of(occupied).redistanced
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    torch.testing.assert_close(grid.value(points), points.norm(dim=-1) - 0.5, atol=0.03, rtol=0)


@pytest.mark.commands
def test_from_the_command_line_to_both_exports_with_the_data_gone(tmp_path):
    source = saved(tmp_path / "ball.npy", (distances() < 0).astype("u1") * 200)
    flags = ["--max-num-iterations", "250", "--pipeline.model.hidden-dim", "64"]
    flags += ["--pipeline.datamanager.batch-size", "2500", "--pipeline.model.num-layers", "3"]
    flags += ["--pipeline.model.omega-0", "20", "--pipeline.model.first-omega-0", "15"]
    flags += ["volume-data", "--data", "ball.npy", "--spacing", "0.5"]
    result = call("ns-train", "winner-volume", *flags, cwd=tmp_path)
    assert result.returncode == 0, result.output
    assert "ball.npy: 20 x 14 x 17 samples (uint8), 0 to 200, 0.5 apart" in result.output
    assert "inside is above 100: " in result.output
    assert "winner-export volume --load-config" in result.output
    assert "--output ball-fit.npy" in result.output
    config = config_of(result, tmp_path)
    metrics = metrics_of(config)
    assert metrics["iou"] > 0.9
    assert metrics["psnr"] > 20
    target, fitted, error = np.split(np.asarray(Image.open(config.parent / "target-fit-error.png").convert("L")), 3, 1)
    assert target.std() > 10, "not blank"
    assert np.abs(target.astype(float) - fitted).mean() < target.std() / 2
    assert error.std() > 10, "not blank"
    before = np.load(source)
    source.unlink()
    assert load_run(config).kind == "volume"
    done = call("winner-export", "volume", "--load-config", config, "--output", "fit.npy", cwd=tmp_path)
    assert done.returncode == 0, done.output
    assert "fit.npy: 20 x 14 x 17 samples, uint8, 0.5 x 0.5 x 0.5 apart, the first at 0 x 0 x 0" in done.output
    assert "watertight" in MeshExport(config, tmp_path / "fit.ply", resolution=64).run()
    after = np.load(tmp_path / "fit.npy")
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    overlap = ((before > 100) & (after > 100)).sum() / ((before > 100) | (after > 100)).sum()
    assert overlap == pytest.approx(metrics["iou"], abs=0.02)
    mesh = max(trimesh.load_mesh(tmp_path / "fit.ply").split(), key=lambda part: part.volume)
    np.testing.assert_allclose(mesh.bounds.mean(0), CENTER, atol=0.3)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.2)
    for command, words in [
        (VolumeExport(config, tmp_path / "a.ply"), "unknown format '.ply'; use one of .npy .npz"),
        (
            VolumeExport(config, tmp_path / "a.npy", scale=1e6),
            "--scale 1e+06 of 20 x 14 x 17 samples must leave at least one",
        ),
        (MeshExport(config, tmp_path / "a.ply", level=300.0), "no surface"),
    ]:
        with pytest.raises(ValueError, match=words.replace("+", r"\+")):
            command.run()
        assert not list(tmp_path.glob("a.*"))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"pipeline__model__noise__schedule": "paper"}, "paper has no rule for targets of 3 axes"),
        ({"pipeline__datamanager__data": None}, "name one with --data FILE (.npy .npz) or one of --data sample:meta"),
        ({"pipeline__datamanager__dataparser__max_samples": 0}, "max_samples=0 must be at least 1"),
    ],
)
def test_options_of_a_run_that_wont_do_end_in_one_line(changes, words):
    from pathlib import Path

    with pytest.raises(SystemExit) as caught:
        make_config("winner-volume", **{"pipeline__datamanager__data": Path("sample:sponge")} | changes).set_timestamp()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_that_differ_little_are_told_apart():
    values = np.full((4, 4, 4), 1e9)
    values[:2] += 4
    lines = "\n".join(load_volume(values).describe())
    assert "1000000000 to 1000000004," in lines
    assert "inside is above 1000000002: " in lines
