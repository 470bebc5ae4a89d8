import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from winner_nerfstudio import NoiseSchedule, spectral_centroid

finite = st.floats(-100, 100, width=32)


def test_centroid_of_a_pure_tone_is_its_frequency():
    n = np.arange(256)
    assert spectral_centroid(np.sin(2 * np.pi * 32 * n / 256)) == pytest.approx(2 * 32 / 256, abs=1e-9)


def test_centroid_of_the_alternating_signal_is_nyquist():
    assert spectral_centroid(np.resize([1.0, -1.0], 100)) == pytest.approx(1.0)


def test_centroid_of_an_impulse_is_the_mean_frequency():
    impulse = np.zeros(64)
    impulse[10] = 1
    assert spectral_centroid(impulse) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(50,), (50, 2), (5, 6, 3), (4, 5, 6, 1)])
def test_centroid_of_silence_is_zero(shape):
    assert spectral_centroid(np.zeros(shape)) == 0.0


def test_centroid_of_an_image_runs_along_its_rows_only():
    n = np.arange(64)
    row = np.sin(2 * np.pi * 8 * n / 64)
    horizontal = np.tile(row, (16, 1))
    assert spectral_centroid(horizontal, dim=2) == pytest.approx(0.25)
    # Down a column the same picture is constant along each row: its spectrum sits at zero frequency.
    assert spectral_centroid(horizontal.T + 3, dim=2) == pytest.approx(0, abs=1e-9)


def test_rows_of_silence_count_as_zero_in_the_mean():
    n = np.arange(64)
    image = np.zeros((4, 64))
    image[0] = np.sin(2 * np.pi * 8 * n / 64)
    assert spectral_centroid(image, dim=2) == pytest.approx(0.25 / 4)


def test_a_volume_runs_along_its_last_axis_only():
    n = np.arange(32)
    volume = np.broadcast_to(np.sin(2 * np.pi * 4 * n / 32), (3, 5, 32))
    assert spectral_centroid(volume, dim=3) == pytest.approx(0.25)


def test_channels_are_averaged_and_not_divided_by_their_number():
    n = np.arange(64)
    tones = [np.sin(2 * np.pi * k * n / 64) for k in (4, 8, 24)]
    assert spectral_centroid(np.stack(tones, -1)) == pytest.approx(2 * (4 + 8 + 24) / 3 / 64)


def test_torch_and_numpy_agree():
    image = np.random.default_rng(0).normal(size=(9, 16, 3)).astype(np.float32)
    assert spectral_centroid(torch.from_numpy(image)) == pytest.approx(spectral_centroid(image), rel=1e-12)


@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 9)), elements=finite))
def test_centroid_lies_between_zero_and_nyquist_and_ignores_the_amplitude(image):
    psi = spectral_centroid(image, dim=2)
    assert 0 <= psi <= 1
    assert spectral_centroid(-4 * image, dim=2) == pytest.approx(psi, abs=1e-6)
    assert spectral_centroid(image[::-1].copy(), dim=2) == pytest.approx(psi, abs=1e-6)


@pytest.mark.parametrize(
    "signal, dim, words",
    [
        (np.zeros((0,)), None, "non-empty"),
        (np.array([1.0, np.nan]), None, "finite"),
        (np.array([1.0 + 1j]), None, "complex"),
        (np.zeros((64, 64)), None, "dim=2 for a grey image"),
        (np.zeros((4, 4)), 4, "dim=4"),
        (np.zeros((4, 4, 4)), 1, "dim=1"),
    ],
)
def test_signals_that_do_not_fit_are_refused(signal, dim, words):
    with pytest.raises(ValueError, match=words):
        spectral_centroid(signal, dim=dim)


def test_golden_scales_of_the_published_rules():
    # The values that the authors' constants give for one channel and psi = 0.1.
    assert NoiseSchedule.reference()(0.1, dim=1) == pytest.approx((1761.951, 0.3), abs=1e-3)
    assert NoiseSchedule.reference()(0.1, dim=2) == pytest.approx((19.6735, 0.04), abs=1e-4)
    assert NoiseSchedule.paper()(0.1, dim=1) == pytest.approx((3500 * (1 - math.exp(-0.5)), 0.3))
    assert NoiseSchedule.paper()(0.1, dim=2) == NoiseSchedule.reference()(0.1, dim=2)


def test_published_rules_divide_colour_by_nine_and_ours_does_not():
    grey = NoiseSchedule.reference()(0.1, dim=2)
    assert NoiseSchedule.reference()(0.9, channels=3, dim=2) == pytest.approx(grey)
    assert NoiseSchedule.default()(0.1, channels=3, dim=2) == pytest.approx(grey)


def test_there_is_no_published_rule_for_volumes_but_a_default():
    for schedule in (NoiseSchedule.paper(), NoiseSchedule.reference()):
        with pytest.raises(ValueError, match="dim=3"):
            schedule(0.1, dim=3)
    # The bound that winner.md's measurements give: twice this ruins a shape.
    assert 0 < NoiseSchedule.default()(0.1, dim=3).s0 <= 10


def test_schedules_are_values():
    assert NoiseSchedule.reference() == NoiseSchedule.reference() != NoiseSchedule.paper()
    assert NoiseSchedule.fixed(1, 2) == NoiseSchedule.fixed(1, 2) != NoiseSchedule.fixed(1, 3)


def test_fixed_scales_ignore_the_target():
    assert NoiseSchedule.fixed(3, 0.5)(0.9, channels=2, dim=3) == (3, 0.5)


@pytest.mark.parametrize("arguments", [(-1, 0), (0, -1), (float("nan"), 0), (0, float("inf"))])
def test_scales_must_be_finite_and_not_negative(arguments):
    with pytest.raises(ValueError, match="finite and not negative"):
        NoiseSchedule.fixed(*arguments)


@pytest.mark.parametrize("centroid", [-0.1, 1.1, float("nan")])
def test_a_centroid_outside_its_range_is_refused(centroid):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        NoiseSchedule.reference()(centroid)


@given(st.floats(0, 0.5), st.floats(0.001, 0.5), st.sampled_from([1, 2]))
def test_more_high_frequency_never_gets_less_noise(psi, more, dim):
    low, high = NoiseSchedule.reference()(psi, dim=dim), NoiseSchedule.reference()(psi + more, dim=dim)
    assert high.s0 > low.s0
    assert high.s1 > low.s1
