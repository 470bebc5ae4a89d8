"""Samples that hold no data, and points far from all others: masked, dropped, refused or told."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import tifffile
import torch
import trimesh
import tyro

from winner_nerfstudio import fit
from winner_nerfstudio.kinds.audio import AudioKind
from winner_nerfstudio.kinds.image import ImageKind
from winner_nerfstudio.kinds.volume import VolumeKind
from winner_nerfstudio.metrics.grid import between_error, evaluate_grid, quick_samples
from winner_nerfstudio.signals.large import open_large
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.signals.options import AudioOptions, ImageOptions, VolumeOptions
from winner_nerfstudio.training.sampling import Resident
from winner_nerfstudio.winner.inputs import fill_missing

MARKERS = (-9999.0, -32768.0, 1e20, -99999.0)


def terrain(height=40, width=50):
    y, x = np.mgrid[:height, :width]
    return (140 + 40 * np.sin(x / 9) * np.cos(y / 7)).astype("f4")


def density(size=12):
    axis = np.linspace(-1, 1, size)
    return (0.7 - np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1), axis=-1)).astype("f4")


def tone(count=900):
    return np.sin(np.arange(count) / 7).astype("f4")


TARGETS = [("image", terrain), ("audio", tone), ("volume", density)]


def with_hole(array, value, count=4):
    holed = array.copy()
    holed.reshape(-1)[:count] = value
    return holed


@pytest.mark.parametrize("value", MARKERS)
@pytest.mark.parametrize("kind, make", TARGETS)
def test_a_value_that_seems_to_mean_no_data_is_refused_with_the_option_that_masks_it(kind, make, value):
    array = with_hole(make(), value)
    with pytest.raises(
        ValueError, match=re.escape(f"4 of {array.size:,} values are {np.float32(value):.9g}")
    ) as caught:
        load_signal(array, kind)
    assert "\n" not in str(caught.value)
    given = float(re.search(r"--nodata (\S+),", str(caught.value))[1])
    signal = load_signal(array, kind, nodata=given)
    assert np.array_equal(signal.missing, array == np.float32(value))
    assert f"no data: 4 of {array.size:,} samples are {given:.9g}" in "\n".join(signal.describe())
    kept = load_signal(array, kind, nodata="keep")
    assert kept.missing is None
    assert "warning: 4 of" in "\n".join(kept.describe())


def gated(values, rest):
    return np.concatenate([values, 0 * rest])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("frequency", [100, 250, 400, 440, 500, 1000, 2000, 4000])
@pytest.mark.parametrize("rate", [8000, 48000])
def test_a_tone_with_silence_is_data(frequency, rate, dtype):
    """The rounding of a sine's zeros is no range that other values could be far from."""
    seconds = (np.arange(rate) / rate).astype(dtype)
    sine = (0.5 * np.sin(2 * np.pi * frequency * seconds)).astype(dtype)
    sounds = [
        sine,
        gated(sine, sine),
        np.stack([sine, 0 * sine], 1),
        sine * (np.arange(rate) // 800 % 2),
        gated(0.5 + sine, sine),
        gated(np.concatenate([sine, sine / 2]), sine),
    ]
    for sound in sounds:
        assert "warning" not in "\n".join(load_signal(sound, "audio").describe())


@pytest.mark.parametrize("period", [2, 4, 8, 16])
def test_a_grating_over_a_part_is_data(period):
    rows, columns = np.mgrid[:48, :48]
    grating = np.sin(2 * np.pi * columns / period) * (rows > 23)
    assert "warning" not in "\n".join(load_signal(grating, "image").describe())
    volume = np.repeat(grating[::4, ::4, None], 12, 2)
    assert "warning" not in "\n".join(load_signal(volume, "volume").describe())


def test_a_few_loud_samples_among_rounding_are_told_and_not_refused():
    sound = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000) * (np.arange(8000) < 30)
    assert "warning: 22 of 8,000 values" in "\n".join(load_signal(sound, "audio").describe())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind, make", TARGETS)
def test_values_that_are_not_finite_are_refused_unless_they_are_named(kind, make, value):
    array = with_hole(make(), value)
    with pytest.raises(
        ValueError, match=re.escape(f"NaN or infinite; if they are no data, leave them out with --nodata {value}")
    ):
        load_signal(array, kind)
    signal = load_signal(array, kind, nodata=float(value))
    assert signal.missing.sum() == 4
    assert np.isfinite(signal.values).all()


@pytest.mark.parametrize("value", [-3.4028235e38, 9.96921e36, 1e30])
@pytest.mark.parametrize("kind, make", TARGETS)
def test_a_value_beyond_what_is_measured_is_masked_and_told(kind, make, value):
    signal = load_signal(with_hole(make(), value), kind)
    plain = load_signal(make(), kind)
    assert signal.missing.sum() == 4
    assert "beyond what is measured" in "\n".join(signal.describe())
    np.testing.assert_allclose(signal.units.offset, plain.units.offset, atol=0.05 * plain.units.amplitude)
    named = load_signal(with_hole(make(), value), kind, nodata=float(f"{value:.4g}"))
    assert np.array_equal(named.missing, signal.missing)


@pytest.mark.parametrize(
    "text, value, dtype", [("-9999", -9999, "f4"), ("nan", np.nan, "f4"), ("0", 0, "u2"), ("-9999", -9999, "i4")]
)
def test_a_tiff_says_itself_what_is_no_data(tmp_path, text, value, dtype):
    heights = terrain().astype(dtype)
    heights[:3, :5] = value
    path = tmp_path / "dem.tif"
    tifffile.imwrite(path, heights, extratags=[(42113, "s", 0, text, True)])
    if dtype == "i4":  # written as float for Pillow's sake
        tifffile.imwrite(path, heights.astype("f4"), extratags=[(42113, "s", 0, text, True)])
    image = load_signal(path, "image")
    assert np.array_equal(np.argwhere(image.missing), np.argwhere(np.ones((3, 5))))
    assert "as the file says" in "\n".join(image.describe())
    if dtype == "u2":
        assert load_signal(path, "image", nodata="keep").missing is None


def store_hole(dtype, value):
    """Return stored samples from 0 to 6, in whose corner is a hole of one value."""
    stored = (np.arange(40 * 48).reshape(40, 48) % 7).astype(dtype)
    stored[:3, :5] = value
    return stored


RAMP = np.repeat(np.arange(256, dtype=np.uint16)[None] * 257, 3, 0)
RAMP[:, 1], RAMP[:, 255] = 65535, 0
"""A palette whose index 1 is white, and whose index 255 is black as index 0 is."""
INTERPRETED = {
    "palette": (store_hole("u1", 255), 255, {"photometric": "palette", "colormap": RAMP}),
    "white as the least value": (store_hole("u1", 0), 0, {"photometric": "miniswhite"}),
    "16 bits, white as the least value": (store_hole("u2", 9), 9, {"photometric": "miniswhite"}),
    "one bit": (store_hole("u1", 9) == 9, 1, {"photometric": "minisblack"}),
    "one bit, white as the least value": (store_hole("u1", 9) == 9, 1, {"photometric": "miniswhite"}),
    "ImageJ": (
        store_hole("u2", 9), 9,
        {"metadata": None, "description": "ImageJ=1.53t\ncf=0\nc0=-327.68\nc1=0.01\n", "photometric": "minisblack"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("name", INTERPRETED)
def test_what_a_tiff_declares_as_no_data_is_a_stored_value(tmp_path, name, orientation):
    stored, value, options = INTERPRETED[name]
    tags = [(42113, "s", 0, str(value), True), (274, "H", 1, orientation, True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, extratags=tags, **options)
    hole = stored == value
    hole = np.rot90(hole, -1) if orientation == 6 else hole
    image = load_signal(path, "image")
    assert np.array_equal(image.missing, hole)
    assert f"{hole.sum()} of {hole.size:,} samples are {value}, as the file says" in "\n".join(image.describe())
    assert load_signal(path, "image", nodata="keep").missing is None
    large = open_large(path, "image", ImageOptions())
    part = large.read([slice(0, 12), slice(0, 48 if orientation == 1 else 40)])
    assert np.array_equal(part.missing, hole[:12])
    assert np.array_equal(part.values[~hole[:12]], image.values[:12][~hole[:12]])
    assert large.units == image.units
    assert open_large(path, "image", ImageOptions(nodata="keep")).read([slice(0, 12), slice(0, 40)]).missing is None


def test_a_pixel_of_the_colour_of_no_data_is_data(tmp_path):
    stored, _, options = INTERPRETED["palette"]
    tifffile.imwrite(tmp_path / "a.tif", stored, extratags=[(42113, "s", 0, "255", True)], **options)
    image = load_signal(tmp_path / "a.tif", "image")
    assert not image.missing[stored == 0].any()
    assert np.all(image.values[stored == 1] == 1)


def test_the_value_that_gdal_takes_for_no_data_in_floats_is_found_without_a_word_of_tifffile(tmp_path, caplog):
    heights = terrain()
    heights[:3, :5] = np.finfo("f4").min
    options = {"tile": (16, 16), "extratags": [(42113, "s", 0, "-3.4028235e+38", True)]}
    tifffile.imwrite(tmp_path / "dem.tif", heights.astype("f4"), **options)
    assert load_signal(tmp_path / "dem.tif", "image").missing.sum() == 15
    assert open_large(tmp_path / "dem.tif", "image", ImageOptions()).markers == (-3.4028235e38,)
    assert caplog.records == []


def test_a_colour_of_which_one_channel_is_0_is_no_missing_pixel():
    picture = np.full((20, 20, 3), 90, "u1")
    picture[0, 0], picture[1, 1] = 0, (0, 80, 80)
    image = load_signal(picture, "image", nodata=0)
    assert np.array_equal(np.argwhere(image.missing), [[0, 0]])


def test_the_range_is_that_of_the_known_samples_and_missing_ones_take_the_nearest_value():
    array = with_hole(terrain(), -9999, 3)
    image = load_signal(array, "image", nodata=-9999)
    own = image.units.to_own(image.values)[..., 0]
    np.testing.assert_allclose(own[0, :3], array[0, 3], rtol=1e-5)
    np.testing.assert_allclose(own[1:], array[1:], rtol=1e-5)
    np.testing.assert_allclose((image.values.min(), image.values.max()), (-1, 1), atol=1e-6)


def test_missing_samples_are_filled_along_the_last_axis_first():
    values = np.array([[1.0, 9, 9, 4], [9, 9, 9, 9], [5, 6, 7, 8]])
    missing = values == 9
    assert fill_missing(values[..., None], missing)[..., 0].tolist() == [[1, 1, 4, 4], [1, 1, 4, 4], [5, 6, 7, 8]]


def test_masked_samples_are_neither_fitted_nor_held_out():
    array = with_hole(terrain(), np.nan, 100)
    image = load_signal(array, "image", nodata=float("nan"), train_fraction=0.5, data_seed=3)
    counted = np.sort(np.concatenate([image.fitted, image.held_out]))
    assert np.array_equal(counted, np.arange(100, array.size))
    assert len(image.fitted) == (array.size - 100) // 2
    whole = load_signal(array, "image", nodata=float("nan"))
    assert len(whole.held_out) == 0
    assert whole.fitted.min() == 100
    sampler = Resident(whole, torch.device("cpu"), 0, 1 << 20)
    assert len(sampler.batch(0)["values"]) == array.size - 100
    assert quick_samples(whole, 1 << 20).fitted.min() == 100


@pytest.mark.parametrize("kind, make", TARGETS)
def test_a_fit_that_is_wrong_at_masked_samples_alone_is_perfect(kind, make):
    array = with_hole(make(), np.nan, 30)
    signal = load_signal(array, kind, nodata=float("nan"))
    values = torch.from_numpy(signal.values.reshape(-1, 1).copy())
    values[:30] = 0.9

    def function(coords):
        return values[signal.lattice.nearest(coords)]

    field = SimpleNamespace(
        evaluate=function, network=None, spec={"out_dim": signal.channels}, center=torch.zeros(signal.dim)
    )
    implementation = {"image": ImageKind, "audio": AudioKind, "volume": VolumeKind}[kind]()
    metrics = implementation.metrics(field, signal, None)
    assert metrics["psnr"] == np.inf
    assert "psnr_held_out" not in metrics
    assert evaluate_grid(function, signal.lattice).reshape(-1)[0] == np.float32(0.9)
    for name, best in (("ssim", 1.0), ("snr", np.inf), ("log_spectral_distance", 0.0), ("iou", 1.0)):
        assert metrics.get(name, best) == pytest.approx(best)


def test_midpoints_beside_masked_samples_do_not_count():
    array = np.linspace(0, 1, 64).astype("f4")
    array[20:24] = np.nan
    signal = load_signal(array, "audio", nodata=float("nan"))
    inner = signal.lattice.at(torch.tensor([[19.5], [23.5]]))[:, 0]

    def function(coords):
        wrong = (coords[:, :1] >= inner[0] - 1e-4) & (coords[:, :1] <= inner[1] + 1e-4)
        return torch.where(wrong, 7.0, coords)

    assert between_error(function, signal) < 0.1
    assert between_error(lambda coords: coords + 7, signal) == pytest.approx(7, abs=0.1)


def test_a_fit_of_masked_data_has_the_values_of_the_rest():
    field = fit(
        with_hole(terrain(), -9999, 60),
        nodata=-9999,
        steps=60,
        hidden_dim=48,
        num_layers=3,
        progress=False,
        device="cpu",
    )
    assert np.abs(field.image() - terrain())[2:].mean() < 4


def test_a_mask_of_the_reference_counts_as_well(tmp_path):
    np.save(tmp_path / "clean.npy", with_hole(terrain(), -9999, 10))
    noisy = terrain() + np.random.default_rng(0).normal(size=terrain().shape).astype("f4")
    noisy[-1, -5:] = -9999
    image = load_signal(noisy, "image", reference=tmp_path / "clean.npy", nodata=-9999)
    assert image.missing.sum() == 15
    assert len(image.fitted) == noisy.size - 15


def test_a_picture_is_reduced_without_its_missing_pixels():
    array = terrain()
    array[:8, :8] = -9999
    image = load_signal(array, "image", nodata=-9999, max_side=25)
    assert image.missing[:4, :4].all()
    assert image.missing.sum() == 16
    assert image.units.to_own(image.values).min() > 90


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("kind, make", TARGETS)
def test_few_samples_that_set_the_range_are_told(kind, make, count):
    array = np.tile(make().reshape(-1), 6) if kind == "audio" else np.tile(make(), (3, 3, 3)[: make().ndim])
    array.reshape(-1)[7 : 7 + count] = array.max() + np.ptp(array) * np.linspace(5, 9, count)
    signal = load_signal(array, kind)
    assert signal.missing is None
    (warning,) = (line for line in signal.describe() if "warning" in line)
    assert "range" in warning


@pytest.mark.parametrize(
    "kind, name", [("image", "weave"), ("audio", "bells"), ("audio", "hiss"), ("volume", "metaballs")]
)
def test_what_is_not_far_from_the_rest_is_not_warned_of(kind, name):
    assert "warning" not in "\n".join(load_signal(f"sample:{name}", kind).describe())


WAVE = np.arange(4000)


@pytest.mark.parametrize(
    "array",
    [
        np.resize([0, 1], 4000),
        np.resize([0, 255], 4000).astype("u1"),
        np.where(np.arange(4000) == 7, 1.0, 0.0),
        np.where(np.arange(4000) % 2, 0.0, 100 + np.arange(4000) / 400),
        np.resize(np.arange(-32768, 32768, 999), 4000).astype("i2"),
        np.round(np.clip(2.5 * np.sin(0.11 * np.pi * WAVE) + 1.5 * np.sin(0.3075 * np.pi * WAVE), -1, 1), 4),
    ],
    ids=["two values", "bytes", "one voxel", "background of 0", "full range", "clipped"],
)
def test_data_that_looks_wild_and_is_not_is_fitted(array):
    assert load_signal(array.reshape(20, 10, 20), "volume").missing is None


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_clicks_of_a_sound_are_data_where_its_samples_are_steps_of_a_converter(tmp_path, subtype):
    wave = 0.05 * np.sin(0.3 * np.arange(4000))
    wave[[700, 701, 3000]] = 0.99
    soundfile.write(tmp_path / "clicks.wav", wave, 8000, subtype)
    if subtype == "FLOAT":
        with pytest.raises(ValueError, match=r"3 of 4,000 values are 0\.99"):
            load_signal(tmp_path / "clicks.wav", "audio")
        with pytest.raises(ValueError, match=r"3 of 4,000 values are 0\.99"):
            open_large(tmp_path / "clicks.wav", "audio", AudioOptions())
    else:
        (told,) = (line for line in load_signal(tmp_path / "clicks.wav", "audio").describe() if line[:8] == "warning:")
        assert told.startswith("warning: 3 of 4,000 values, such as 0.98999, are far from all others")
        assert told in open_large(tmp_path / "clicks.wav", "audio", AudioOptions()).notes


def test_all_missing_and_none_missing_are_said():
    with pytest.raises(ValueError, match="all of its 9 samples hold no data"):
        load_signal(np.full((3, 3), -1.0), "image", nodata=-1)
    assert "warning: no sample is -1, which --nodata says" in "\n".join(
        load_signal(terrain(), "image", nodata=-1).describe()
    )
    with pytest.raises(ValueError, match="nodata='none' must be a number or several, nan, auto or keep"):
        load_signal(terrain(), "image", nodata="none")


@pytest.mark.parametrize(
    "text, value", [("-9999", -9999.0), ("-3.4e38", -3.4e38), ("nan", np.nan), ("keep", "keep"), ("auto", "auto")]
)
def test_the_command_line_takes_numbers_and_words(text, value):
    options = tyro.cli(ImageOptions, args=["--nodata", text])
    assert options.nodata == value or np.isnan(options.nodata)
    assert tyro.cli(VolumeOptions, args=["--spacing", "1", "1", "2.5"]).spacings == (1, 1, 2.5)
    assert tyro.cli(VolumeOptions, args=["--spacing", "2"]).spacings == (2, 2, 2)


@pytest.mark.parametrize("number", [np.float32, np.int16, np.int64])
def test_a_number_of_numpy_may_mean_no_data(number):
    picture = terrain()
    picture[0, :5] = -9999
    for nodata in (number(-9999), (number(-9999), np.float64(7))):
        assert int(load_signal(picture, "image", nodata=nodata).missing.sum()) == 5


def test_several_values_may_mean_no_data():
    assert tyro.cli(ImageOptions, args=["--nodata", "-9999", "-32768", "nan"]).nodata[:2] == (-9999, -32768)
    picture = terrain()
    picture[0, :5], picture[1, :7], picture[2, :2] = -9999, -32768, np.nan
    with pytest.raises(ValueError, match="leave them out with --nodata -9999 -32768, or"):
        load_signal(picture, "image", nodata=-9999)
    image = load_signal(picture, "image", nodata=(-9999, -32768))
    assert int(image.missing.sum()) == 14
    assert load_signal(picture, "image", nodata=[-9999, -32768]).describe() == image.describe()
    with pytest.raises(ValueError, match=r"nodata=\(-9999, 'x'\) must be a number or several"):
        load_signal(picture, "image", nodata=(-9999, "x"))
    points = ball()
    points[:3, :3], points[3:5, :3] = -9999, 1e6
    assert len(load_signal(points, "sdf", nodata=(-9999, 1e6)).points) == 2995


def test_whole_numbers_that_double_precision_rounds_are_told():
    far = (1 << 60) + np.arange(1000, dtype=np.int64).reshape(25, 40)
    assert "warning: double precision has only 4 steps" in "\n".join(load_signal(far, "image").describe())
    near = far - (1 << 60)
    assert not any("double precision" in line for line in load_signal(near, "image").describe())


def ball(count=3000):
    normals = np.random.default_rng(0).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.concatenate([100 + 10 * normals, normals], 1)


@pytest.mark.parametrize("value", [-9999.0, 0.0, 3.4e38])
def test_points_without_data_are_refused_and_dropped_by_nodata(value):
    points = ball()
    points[:7, :3] = value
    with pytest.raises(ValueError, match="7 of 3,000 points lie far from all others") as caught:
        load_signal(points, "sdf")
    assert f"--nodata {value:.9g}" in str(caught.value)
    cloud = load_signal(points, "sdf", nodata=value)
    assert len(cloud.points) == 2993
    assert "repaired: dropped 7 of 3,000 points" in "\n".join(cloud.describe())
    np.testing.assert_allclose(cloud.normalization.center, 100, atol=0.3)


def test_points_of_nan_are_dropped_where_nodata_or_a_mask_says_so():
    points = ball()
    points[5:9, :3] = np.nan
    with pytest.raises(ValueError, match=r"4 of 3000 points are NaN or infinite.*--nodata nan"):
        load_signal(points, "sdf")
    assert len(load_signal(points, "sdf", nodata=float("nan")).points) == 2996
    assert len(load_signal(np.ma.masked_invalid(points), "sdf").points) == 2996


@pytest.mark.parametrize("values", [(np.nan,), (np.inf,), (-np.inf,), (np.nan, np.inf), (np.inf, -np.inf, np.nan)])
def test_points_without_finite_coordinates_are_dropped_by_the_option_that_is_named(values):
    points = ball()
    points[5 : 5 + len(values), 0] = values
    with pytest.raises(ValueError, match="points are NaN or infinite") as caught:
        load_signal(points, "sdf")
    named = re.search(r"--nodata ([-a-z ]+) drops", str(caught.value))[1].strip()
    nodata = tuple(map(float, named.split()))
    assert len(load_signal(points, "sdf", nodata=nodata).points) == 3000 - len(values)


def test_strays_of_a_cloud_are_named():
    points = ball()
    points[0, :3], points[1, :3] = (400, 100, 100), (100, 380, 100)
    try:
        said = "\n".join(load_signal(points, "sdf").describe())
    except ValueError as error:
        said = str(error)
    assert "2 of 3,000 points, such as (400, 100, 100), lie far from all others" in said


def test_strays_of_a_mesh_are_named_and_markers_refused():
    mesh = trimesh.creation.icosphere(4)
    vertices = mesh.vertices.copy()
    vertices[5] = (50, 0, 0)
    said = "\n".join(load_signal(trimesh.Trimesh(vertices, mesh.faces, process=False), "sdf").describe())
    assert "warning: 1 of 2,562 vertices, such as (50, 0, 0), lie far from all others" in said
    vertices[5] = -9999
    with pytest.raises(ValueError, match="seem to mean no data; remove them with their faces"):
        load_signal(trimesh.Trimesh(vertices, mesh.faces, process=False), "sdf")
