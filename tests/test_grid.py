import re

import numpy as np
import pytest
import torch

from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.grid import Grid, to_dtype
from winner_nerfstudio.signals.lattice import Lattice
from winner_nerfstudio.signals.options import GridOptions
from winner_nerfstudio.signals.records import GridRecord
from winner_nerfstudio.signals.units import Units
from winner_nerfstudio.training.initialize import build_field, initialize_
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.winner import spectral_centroid
from winner_nerfstudio.winner.inputs import interpolate_missing


def make_grid(shape=(60, 50), channels=2, seed=0):
    values = np.random.default_rng(seed).uniform(-1, 1, (*shape, channels)).astype(np.float32)
    draft = GridRecord(shape=tuple(shape), offset=0.0, amplitude=1.0, digest="")
    return Grid("noise.png", values, Lattice(shape).normalization(), Units(0.0, 1.0), draft)


def test_added_noise_has_the_deviation_asked_for_and_the_clean_signal_is_kept():
    grid = make_grid()
    noisy = grid.under(GridOptions(noise_std=0.25, data_seed=3))
    noise = noisy.values - grid.values
    assert noise.std() == pytest.approx(0.25, rel=0.03)
    assert abs(noise.mean()) < 0.02
    assert np.array_equal(noisy.truth, grid.values)
    again, other = (grid.under(GridOptions(noise_std=0.25, data_seed=seed)) for seed in (3, 4))
    assert np.array_equal(noisy.values, again.values)
    assert not np.allclose(noisy.values, other.values)
    assert "metrics are measured against the clean signal" in noisy.describe()[-1]


def test_a_reference_is_brought_into_the_targets_units():
    target, clean = make_grid(seed=1), make_grid(seed=2)
    from dataclasses import replace

    louder = replace(clean, values=clean.values / 4, units=Units(3.0, 4.0))  # the same own values, less 3
    result = target.under(GridOptions(reference="clean.png"), louder)
    np.testing.assert_allclose(result.units.to_own(result.truth), clean.values + 3, rtol=1e-5)
    np.testing.assert_allclose(result.units.to_own(result.values), target.values, atol=1e-6)
    # Metrics refer to the clean signal's range.
    assert np.array_equal(result.truth, louder.values)
    deeper = replace(clean, measure="uint16")
    with pytest.raises(SignalError, match="the reference's values are uint16, the target's "):
        target.under(GridOptions(reference="clean.png"), deeper)
    with pytest.raises(SignalError, match=r"the reference has shape \(60, 50, 1\), the target \(60, 50, 2\)"):
        target.under(GridOptions(reference="clean.png"), make_grid(channels=1))


def test_missing_samples_are_on_the_line_between_their_neighbours_or_beyond_the_last_as_it_is():
    values = np.array([[9, 1, 9, 9, 7, 9], [9, 9, 9, 9, 9, 9]], np.float32)[..., None]
    missing = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1]], bool)
    expected = np.array([1, 1, 3, 5, 7, 7], np.float32)
    np.testing.assert_array_equal(interpolate_missing(values, missing)[0, :, 0], expected)
    np.testing.assert_array_equal(interpolate_missing(values[0], missing[0])[:, 0], expected)
    assert (interpolate_missing(values, missing)[1] != 9).all(), "a line without known samples has its neighbour's"


def test_held_out_samples_hardly_change_the_centroid_of_a_smooth_signal():
    wave = np.sin(np.linspace(0, 40, 2000)).astype(np.float32)[:, None]
    draft = GridRecord(shape=(2000,), offset=0.0, amplitude=1.0, digest="")
    grid = Grid("wave", wave, Lattice((2000,)).normalization(), Units(0.0, 1.0), draft)
    parted = grid.under(GridOptions(train_fraction=0.75))
    assert parted.centroid == pytest.approx(grid.centroid, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"parts": (1,)},
        {"parts": (1,), "schedule": "reference"},
        {"parts": (1,), "denoise": True},
        {"parts": (2, 2), "exactness": 0.75},
    ],
    ids=["one network", "the published rule", "denoise", "parts"],
)
def test_the_initialisation_does_not_see_the_samples_that_are_held_out(options):
    smooth = np.sin(np.linspace(0, 30, 40)[:, None] + np.linspace(0, 25, 40)).astype(np.float32)
    smooth = smooth.clip(-0.5, 0.5)  # so that the fitted ones have the whole range
    options = {"hidden_dim": 16, "train_fraction": 0.75, **options}

    def begin(values):
        signal, prepared = prepare(values, "image", options)
        field = build_field(signal, prepared.network, 0)
        initialize_(field, signal, prepared.network, 0)
        return signal.held_out, torch.cat([weight.detach().flatten() for weight in field.network.parameters()])

    held_out, expected = begin(smooth)
    changed = smooth.reshape(-1).copy()
    changed[held_out] = np.random.default_rng(0).uniform(smooth.min(), smooth.max(), len(held_out))
    torch.testing.assert_close(begin(changed.reshape(smooth.shape))[1], expected, rtol=0, atol=0)
    changed = np.random.default_rng(0).uniform(smooth.min(), smooth.max(), smooth.shape).astype(np.float32)
    assert not torch.equal(begin(changed)[1], expected), "the fitted ones count"


def test_samples_are_fitted_or_held_out_and_the_choice_is_seeded():
    parted = make_grid().under(GridOptions(train_fraction=0.75, data_seed=1))
    assert len(parted.fitted) == 2250
    assert np.array_equal(np.sort(np.concatenate([parted.fitted, parted.held_out])), np.arange(3000))
    assert np.array_equal(parted.fitted, make_grid().under(GridOptions(train_fraction=0.75, data_seed=1)).fitted)
    assert not np.array_equal(parted.fitted, make_grid().under(GridOptions(train_fraction=0.75, data_seed=2)).fitted)
    # All over the place, not a corner of it.
    assert abs(np.mean(parted.held_out) / 1500 - 1) < 0.1
    with pytest.raises(SignalError, match="leaves nothing to fit or nothing held out"):
        make_grid((1, 1)).under(GridOptions(train_fraction=0.5))


def test_the_centroid_is_that_of_what_is_fitted():
    smooth = make_grid((64,), 1)
    smooth.values[:] = np.linspace(-1, 1, 64)[:, None]
    noisy = smooth.under(GridOptions(noise_std=1.0))
    assert noisy.centroid == spectral_centroid(noisy.values, dim=1) > smooth.centroid


@pytest.mark.parametrize(
    "options, words",
    [
        ({"noise_std": -1.0}, "noise_std=-1.0 must be finite and not negative"),
        ({"noise_std": float("nan")}, "noise_std=nan"),
        ({"train_fraction": 0.0}, "train_fraction=0.0 must be above 0"),
        ({"train_fraction": 1.5}, "train_fraction=1.5"),
        ({"noise_std": 0.1, "reference": "a"}, "give one"),
        ({"data_seed": -1}, "data_seed=-1"),
    ],
)
def test_an_experiment_that_wont_do_says_why(options, words):
    GridOptions().check()
    with pytest.raises(SignalError, match=re.escape(words)):
        GridOptions(**options).check()


@pytest.mark.parametrize("low", [16_777_214.0, -16_777_215.0])
def test_single_precision_values_far_from_zero_come_back_as_they_are(low):
    values = np.array([[low, low + 1]] * 5000, np.float32)
    units = Units.spanning(low, low + 1)
    unit = units.to_unit(values)
    assert unit.dtype == np.float32
    np.testing.assert_array_equal(unit, [[-1, 1]] * 5000)
    np.testing.assert_array_equal(units.to_own(unit), values)


@pytest.mark.parametrize("low, high", [(0, 255), (-3.5, 1e-3), (1e300, 1.5e300), (-1e308, 1e308), (7, 7)])
def test_units_map_the_range_to_minus_one_and_one_and_back(low, high):
    units, values = Units.spanning(low, high), np.array([low, high], np.float64)
    unit = units.to_unit(values)
    np.testing.assert_allclose(unit, [0, 0] if low == high else [-1, 1], atol=1e-6)
    np.testing.assert_allclose(units.to_own(unit), values, rtol=1e-6)
    assert values[0] == low, "the input was changed"


@pytest.mark.parametrize("dtype", ["u1", "i1", "<u2", ">i2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "?"])
def test_whole_numbers_are_rounded_and_kept_in_range(dtype):
    kind = np.dtype(dtype)
    values = np.array([-1e30, 0.4, 0.6, 1e30])
    result = to_dtype(values, dtype)
    assert result.dtype == kind
    if kind.kind in "iu":
        assert result[0] == np.iinfo(kind).min
        assert result[3] >= np.iinfo(kind).max * (1 - 1e-9)
        assert list(result[1:3]) == [0, 1]
    elif kind.kind == "b":
        assert list(result) == [False, False, True, True]
    else:
        np.testing.assert_allclose(result[1:3].astype(float), [0.4, 0.6], rtol=1e-3)


def test_more_samples_than_single_precision_tells_apart_are_warned_about(monkeypatch):
    monkeypatch.setattr("winner_nerfstudio.signals.grid.SINGLE_PRECISION_AXIS", 50)
    assert "warning: 60 samples along an axis lie closer together" in make_grid().describe()[-1]


def test_the_record_tells_one_target_and_experiment_from_another():
    grid = make_grid()
    assert grid.record == make_grid().record
    assert grid.record.shape == (60, 50)
    others = [
        make_grid(seed=1),
        grid.under(GridOptions(noise_std=0.1)),
        grid.under(GridOptions(train_fraction=0.5)),
        grid.under(GridOptions(train_fraction=0.5, data_seed=1)),
    ]
    assert len({other.record.digest for other in [grid, *others]}) == 5
