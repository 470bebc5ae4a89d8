"""What Python hands over means what the same data mean as a file, and what may be meant in two ways is refused."""

import array
import re

import numpy as np
import pandas
import pytest
import torch
import xarray
from PIL import Image

from winner_nerfstudio import NoiseSchedule, Siren, fit, spectral_centroid, winner_init_
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.winner.inputs import convert_input

rng = np.random.default_rng(0)
SERIES = rng.normal(size=200).astype("f4")
PICTURE = rng.normal(size=(18, 20, 3)).astype("f4")
SMALL = {"steps": 2, "hidden_dim": 8, "num_layers": 2, "progress": False, "device": "cpu"}


class Foreign:
    """An array of another library, which has numpy's protocol only."""

    def __init__(self, values):
        self.values_inside = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values_inside, dtype)


class OnDevice:
    """An array of another library that refuses numpy, as on a GPU, and has DLPack."""

    def __init__(self, values):
        self.tensor = torch.from_numpy(values)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion is not allowed")

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        lambda a: array.array("f", a.tolist()),
        lambda a: torch.from_numpy(a).requires_grad_(),
        lambda a: torch.from_numpy(a).to_sparse(),
        lambda a: list(torch.from_numpy(a)),
        lambda a: pandas.Series(a),
        lambda a: pandas.Series(a, dtype="Float64"),
        lambda a: pandas.DataFrame({"left": a}),
        lambda a: xarray.DataArray(a, dims="time"),
        Foreign,
        OnDevice,
        memoryview,
    ],
    ids=["list", "array", "grad", "sparse", "tensors", "series", "nullable", "frame", "xarray", "protocol", "dlpack",
         "buffer"],
)  # fmt: skip
def test_a_series_means_the_same_in_every_container(convert):
    data = convert(SERIES)
    assert spectral_centroid(data) == pytest.approx(spectral_centroid(SERIES), rel=1e-6)
    noise = winner_init_(Siren(1, 1, 16, 2), target=data, seed=0)
    assert noise[:4] == pytest.approx(winner_init_(Siren(1, 1, 16, 2), target=SERIES, seed=0)[:4])
    signal, options = prepare(convert(SERIES), None, {})
    assert options.kind.name == "audio"
    np.testing.assert_allclose(signal.units.to_own(signal.values)[:, 0], SERIES, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int16, torch.uint8, torch.float64])
def test_tensors_of_every_precision_are_taken(dtype):
    tensor = (torch.from_numpy(PICTURE) * 3).to(dtype)
    wanted = tensor.double().numpy()
    assert spectral_centroid(tensor) == pytest.approx(spectral_centroid(wanted), rel=1e-6)
    signal, _ = prepare(tensor, "image", {})
    np.testing.assert_allclose(signal.units.to_own(signal.values), wanted, atol=1e-5)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "PA", "RGBA", "I;16", "F"])
def test_a_picture_of_pillows_means_what_its_file_does(tmp_path, mode):
    pixels = (127 + 40 * PICTURE).clip(0, 255).astype("u1")
    picture = Image.fromarray(pixels)
    picture = picture.convert("L").convert("I").convert("I;16") if mode == "I;16" else picture.convert(mode)
    kept = picture.convert("RGBA") if mode == "PA" else picture  # which .png has not
    path = tmp_path / f"a{'.tif' if mode == 'F' else '.png'}"
    kept.save(path)
    ours, theirs = prepare(picture, None, {})[0], load_signal(path, "image")
    if mode == "F":
        np.testing.assert_allclose(ours.values, theirs.values)
    else:
        assert np.array_equal(ours.values, theirs.values)
    own = ours.units.to_own(ours.values)
    assert spectral_centroid(picture, dim=2) == pytest.approx(spectral_centroid(own), rel=1e-5)


@pytest.mark.parametrize(
    "dims", [("band", "y", "x"), ("y", "x", "band"), ("x", "band", "y"), ("lon", "channel", "lat")]
)
def test_the_names_of_dimensions_say_which_axis_is_which(dims):
    order = ["yx".index(name[0]) if name in ("x", "y") else {"lat": 0, "lon": 1}.get(name, 2) for name in dims]
    data = xarray.DataArray(PICTURE.transpose(order), dims=dims)
    signal, options = prepare(data, None, {})
    assert options.kind.name == "image"
    np.testing.assert_allclose(signal.units.to_own(signal.values), PICTURE, atol=1e-5)
    assert spectral_centroid(data) == pytest.approx(spectral_centroid(PICTURE))
    assert winner_init_(Siren(2, 3, 16, 2), target=data, seed=0) == winner_init_(
        Siren(2, 3, 16, 2), target=PICTURE, seed=0
    )


def test_coordinates_say_how_far_apart_samples_are():
    cube = rng.normal(size=(6, 7, 8))
    coords = {"x": np.arange(6) * 0.5, "y": 3 + np.arange(7) * 1.5, "z": np.arange(8)[::-1] * 2.0}
    volume, _ = prepare(xarray.DataArray(cube, coords, ("x", "y", "z")).transpose("z", "y", "x"), None, {})
    assert volume.record.spacing == (0.5, 1.5, 2.0)
    np.testing.assert_allclose(volume.units.to_own(volume.values)[..., 0], cube[:, :, ::-1], atol=1e-5)
    given, _ = prepare(xarray.DataArray(cube, coords, ("x", "y", "z")), None, {"spacing": 3.0})
    assert given.record.spacing == (3, 3, 3)
    first = volume.normalization.to_world(volume.lattice.coords(torch.tensor([0])).numpy())
    np.testing.assert_allclose(first[0], [0, 3, 0], atol=1e-6)
    moved, _ = prepare(xarray.DataArray(cube, coords, ("x", "y", "z")), None, {"origin": (1.0, -2.0, 5.0)})
    first = moved.normalization.to_world(moved.lattice.coords(torch.tensor([0])).numpy())
    np.testing.assert_allclose(first[0], [1, -2, 5], atol=1e-6)
    sound, _ = prepare(xarray.DataArray(SERIES, {"t": np.arange(200) / 8000}, ("t",)), None, {})
    assert sound.sample_rate == 8000
    times = pandas.date_range("2020-01-01", periods=200, freq="250ms")
    there = times.tz_localize("Europe/Berlin")
    backwards = prepare(pandas.Series(SERIES[::-1], there[::-1]), None, {})[0]
    for index in (times, there, times.tz_localize("UTC")):
        found = prepare(pandas.Series(SERIES, index), None, {})[0]
        assert found.sample_rate == backwards.sample_rate == 4
        assert np.array_equal(found.values, backwards.values)
    with pytest.raises(ValueError, match="'index' is not evenly spaced"):
        prepare(pandas.Series(SERIES, there.delete(7).append(there[-1:] + pandas.Timedelta("9s"))), None, {})
    with pytest.raises(ValueError, match=r"coordinate 't' is not evenly spaced"):
        prepare(xarray.DataArray(SERIES, {"t": np.arange(200) ** 1.1}, ("t",)), None, {})
    with pytest.raises(ValueError, match="coordinate 'index' is 3 everywhere"):
        prepare(pandas.Series(SERIES, np.full(200, 3.0)), None, {})


def test_a_fill_value_of_xarray_is_a_mask():
    holed = PICTURE[..., 0].copy()
    holed[2, 3:6] = -9999
    data = xarray.DataArray(holed, dims=("y", "x"), attrs={"_FillValue": -9999.0})
    signal, _ = prepare(data, None, {})
    assert np.array_equal(np.argwhere(signal.missing), [[2, 3], [2, 4], [2, 5]])
    masked = np.ma.masked_equal(holed, -9999)
    wanted = spectral_centroid(signal.units.to_own(signal.values))
    assert spectral_centroid(data) == pytest.approx(wanted, rel=1e-5)
    assert spectral_centroid(masked, dim=2) == pytest.approx(wanted, rel=1e-5)


def test_all_values_that_an_object_of_xarray_calls_missing_are():
    holed = PICTURE[..., 0].copy()
    holed[2, 3:6] = -9999, 77, 88
    attributes = {"_FillValue": -9999.0, "missing_value": [77.0, 88.0]}
    signal, _ = prepare(xarray.DataArray(holed, dims=("y", "x"), attrs=attributes), None, {})
    assert np.array_equal(np.argwhere(signal.missing), [[2, 3], [2, 4], [2, 5]])


def test_scale_and_offset_that_xarray_left_to_be_applied_are_applied():
    stored = np.array([0, 100, -200, 7, 300, 50], np.int16)
    more = {"scale_factor": 0.01, "add_offset": 5.0, "_FillValue": np.int16(7)}
    signal, _ = prepare(xarray.DataArray(stored, dims=("t",), attrs=more), None, {})
    assert np.argwhere(signal.missing).ravel().tolist() == [3]
    known = stored != 7
    np.testing.assert_allclose(signal.units.to_own(signal.values)[known, 0], stored[known] * 0.01 + 5, atol=1e-6)
    decoded = xarray.DataArray(np.where(known, stored * 0.01 + 5, np.nan), dims=("t",))
    decoded[0] = 7.0  # which the file has otherwise, as 200
    decoded.encoding = more
    signal, _ = prepare(decoded, None, {})
    assert np.argwhere(signal.missing).ravel().tolist() == [3]


@pytest.mark.parametrize(
    "data, words",
    [
        (xarray.Dataset({"height": ("t", SERIES)}), r"holds the variables height; give one, data\[NAME\]"),
        (torch.empty(200, device="meta"), "on the device meta holds no values"),
        (Image.new("LAB", (20, 18)), r"its mode is LAB; give picture.convert\('RGB'\)"),
    ],
)
def test_what_holds_no_values_that_could_be_fitted_says_what_would_be_right(data, words):
    with pytest.raises(ValueError, match=words):
        prepare(data, None, {})


def test_quantised_tensors_are_their_values():
    tensor = torch.quantize_per_tensor(torch.from_numpy(SERIES), 0.05, 100, torch.quint8)
    signal, _ = prepare(tensor, None, {})
    np.testing.assert_allclose(signal.units.to_own(signal.values)[:, 0], tensor.dequantize(), atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 12, 16), (3, 40, 50), (1, 12, 16)])
def test_a_picture_with_channels_first_is_refused_with_both_readings(shape):
    with pytest.raises(ValueError, match=f"{shape[1]} x {shape[2]} of {shape[0]} if they come first"):
        prepare(np.zeros(shape), "image", {})


def test_tables_of_points_are_points_and_other_tables_channels():
    normals = rng.normal(size=(800, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    names = ["z", "nx", "y", "intensity", "x", "ny", "nz"]
    frame = pandas.DataFrame(dict(zip(names, [normals[:, 2], normals[:, 0], normals[:, 1], normals[:, 0],
                                              normals[:, 0], normals[:, 1], normals[:, 2]], strict=True)))  # fmt: skip
    cloud, options = prepare(frame, None, {})
    assert options.kind.name == "sdf"
    np.testing.assert_allclose(cloud.normalization.to_world(cloud.points), normals, atol=1e-6)
    sound, options = prepare(pandas.DataFrame({"a": SERIES, "b": 2 * SERIES, "c": -SERIES}), None, {})
    assert (options.kind.name, sound.channels) == ("audio", 3)
    with pytest.raises(ValueError, match="not all of its columns hold numbers"):
        prepare(pandas.DataFrame({"a": SERIES, "name": "x"}), None, {})


@pytest.mark.parametrize(
    "network, target, words",
    [
        (Siren(2, 3, 8, 2), PICTURE.transpose(2, 0, 1), "if its 3 channels come first, pass target.movedim(0, -1)"),
        (Siren(2, 3, 8, 2), PICTURE[None], "if its first axis is that of a batch, pass target[0]"),
        (Siren(2, 3, 8, 2), PICTURE.reshape(-1, 3), "if its 360 rows are samples, pass it as [h, w, 3]"),
        (Siren(2, 1, 8, 2), PICTURE[..., 0].reshape(-1, 1), "if its 360 rows are samples, pass it as [h, w, 1]"),
        (Siren(3, 1, 8, 2), np.zeros((1000, 1)), "if its 1000 rows are samples, pass it as [d, h, w, 1]"),
        (Siren(2, 1, 8, 2), PICTURE[None, ..., 0], "come first"),
        (Siren(2, 1, 8, 2), PICTURE, "has 3 channels, read as 2 axes and channels last, but the network has 1 output"),
        (Siren(2, 4, 8, 2), PICTURE, "has 3 channels"),
        (Siren(2, 3, 8, 2), PICTURE[:3], "may have its 3 channels last or first; pass channels=3 if they come last"),
        (Siren(1, 1, 8, 2), SERIES[None], "come first"),
        (Siren(1, 2, 8, 2), np.stack([SERIES, SERIES]), "if its 2 channels come first"),
        (Siren(1, 1, 8, 2), PICTURE, "does not fit a network of 1 inputs"),
        (Siren(1, 1, 8, 2), "photo.png", "a str is no signal"),
        (Siren(1, 1, 8, 2), [1.0, None, 2.0], "NaN"),
        (Siren(1, 1, 8, 2), [1.0, "a"], "real numbers are needed"),
        (Siren(1, 1, 8, 2), [[1.0], [2.0, 3.0]], "a list cannot be read as a signal"),
    ],
)
def test_a_target_that_is_laid_out_otherwise_is_refused_with_both_readings(network, target, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        winner_init_(network, target=target, seed=0)
    assert "\n" not in str(caught.value)


def test_outputs_that_are_features_of_a_head_are_not_held_against_the_target():
    model = torch.nn.ModuleDict({"base": Siren(2, 16, 8, 2), "head": torch.nn.Linear(16, 3)})
    assert winner_init_(model, target=PICTURE, seed=0).centroid == spectral_centroid(PICTURE)
    encoded = torch.nn.Sequential(torch.nn.Linear(2, 2), Siren(2, 3, 8, 2))
    with pytest.raises(ValueError, match="has 3 outputs"):
        winner_init_(encoded, target=PICTURE[..., 0], dim=2, seed=0)


def test_a_layout_that_is_named_is_taken():
    named = winner_init_(Siren(2, 3, 8, 2), target=PICTURE[:3], channels=3, seed=0)
    assert named.centroid == spectral_centroid(PICTURE[:3])
    with pytest.raises(ValueError, match=r"20 channels last, not channels=3; if its 3 channels come first"):
        winner_init_(Siren(2, 3, 8, 2), target=PICTURE.transpose(2, 0, 1), channels=3, seed=0)
    noise = winner_init_(Siren(3, 1, 8, 2), target=rng.normal(size=(4, 5, 6)), schedule=NoiseSchedule.matched(), seed=0)
    assert noise.centroid is not None


@pytest.mark.parametrize(
    "shape, dim", [((2, 500), None), ((2, 500), 1), ((3, 40, 50), None), ((3, 40, 50), 2), ((1, 40, 50), 2)]
)
def test_channels_first_have_no_centroid(shape, dim):
    with pytest.raises(ValueError, match=r"channels if they come last, . if they come first"):
        spectral_centroid(rng.normal(size=shape), dim=dim)


@pytest.mark.parametrize(
    "shape, kind",
    [((2, 500), None), ((2, 10), None), ((3, 40), None), ((3, 40, 50), None), ((2, 10), "audio"), ((1, 8), "audio")],
)
def test_a_fit_refuses_channels_first(shape, kind):
    with pytest.raises(ValueError, match=r"channels come last|come first"):
        fit(rng.normal(size=shape), kind, **SMALL)


@pytest.mark.parametrize("dtype", [bool, np.float16, np.float32, np.uint8, np.int64])
@pytest.mark.parametrize(
    "shape, kind",
    [((1,), "audio"), ((2,), "audio"), ((1, 1), "audio"), ((2, 2), "audio"), ((1, 1), "image"), ((2, 1), "image"),
     ((1, 2, 3), "image"), ((2, 2, 2), "volume"), ((5, 6), "image")],
)  # fmt: skip
def test_tiny_and_constant_targets_are_fitted(shape, kind, dtype):
    for values in (np.zeros(shape), np.ones(shape), np.arange(np.prod(shape)).reshape(shape)):
        field = fit(values.astype(dtype), kind, **SMALL)
        result = field(np.zeros((1, field.dim)))
        assert np.isfinite(result).all()


def test_a_series_whose_index_falls_is_turned():
    values = np.arange(100.0)
    found = convert_input(pandas.Series(values, index=values[::-1] / 50))
    np.testing.assert_array_equal(found.values, values[::-1])
    assert found.steps == pytest.approx((0.02,))
