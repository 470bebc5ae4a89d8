from functools import partial

import numpy as np
import pytest
import torch

from winner_nerfstudio import fit
from winner_nerfstudio.metrics import audio, grid, image
from winner_nerfstudio.metrics.audio import audio_metrics, log_spectral_distance
from winner_nerfstudio.metrics.grid import between_error, evaluate_grid, grid_metrics, quick_metrics, quick_samples
from winner_nerfstudio.metrics.image import ssim
from winner_nerfstudio.signals.grid import Grid
from winner_nerfstudio.signals.lattice import Lattice
from winner_nerfstudio.signals.options import GridOptions
from winner_nerfstudio.signals.records import GridRecord
from winner_nerfstudio.signals.units import Units
from winner_nerfstudio.training.prepare import prepare


def wave(coords):
    """A smooth function of one or two coordinates with two channels, in [-1, 1]."""
    phase = coords @ torch.tensor([[9.0], [4.0]], dtype=coords.dtype)[: coords.shape[1]]
    return torch.cat([torch.sin(phase), torch.cos(phase) * 0.8], -1)


def grid_of(function, shape):
    lattice = Lattice(shape)
    values = function(lattice.coords(torch.arange(lattice.count))).numpy().reshape(*shape, -1)
    draft = GridRecord(shape=lattice.shape, offset=0.0, amplitude=1.0, digest="")
    return Grid("a", values.astype(np.float32), lattice.normalization(), Units(0.0, 1.0), draft)


def off(function, error):
    return lambda coords: function(coords) + error


@pytest.mark.parametrize("shape", [(64,), (40, 56)])
def test_psnr_in_its_three_conventions(shape):
    signal = grid_of(wave, shape)
    function = off(wave, 0.01)
    metrics = grid_metrics(function, signal, evaluate_grid(function, signal.lattice))
    span = float(signal.values.max() - signal.values.min())
    assert metrics["psnr"] == pytest.approx(20 * np.log10(2 / 0.01), abs=1e-3)
    assert metrics["psnr_peak_to_peak"] == pytest.approx(20 * np.log10(span / 0.01), abs=1e-3)
    assert metrics["psnr_paper"] == pytest.approx(40, abs=1e-3)
    assert set(metrics) == {"psnr", "psnr_peak_to_peak", "psnr_paper", "psnr_between", "psnr_anywhere"}


def test_a_constant_target_has_no_range_to_compare_an_error_with():
    assert np.isnan(grid.psnr(0.5, peak=0.0))
    assert np.isnan(grid.psnr(float("nan")))
    assert grid.psnr(0.0, peak=0.0) == np.inf
    flat = grid_of(lambda coords: 0 * wave(coords), (8, 8))
    metrics = grid_metrics(off(wave, 0.5), flat, evaluate_grid(off(wave, 0.5), flat.lattice))
    assert np.isnan(metrics["psnr_peak_to_peak"])
    assert np.isfinite(metrics["psnr"])


def test_evaluation_block_by_block_runs_in_numpys_order(monkeypatch):
    signal = grid_of(wave, (40, 56))
    monkeypatch.setattr(grid, "BLOCK", 100)
    np.testing.assert_allclose(evaluate_grid(wave, signal.lattice), signal.values, atol=1e-6)
    np.testing.assert_allclose(
        evaluate_grid(wave, signal.lattice, np.array([5, 999])), signal.values.reshape(-1, 2)[[5, 999]], atol=1e-6
    )


@pytest.mark.parametrize("shape", [(64,), (40, 56), (1, 64), (64, 1)])
def test_between_samples_a_fit_that_is_right_everywhere_has_hardly_an_error(shape):
    assert between_error(wave, grid_of(wave, shape)) < 0.01
    assert between_error(wave, grid_of(wave, shape), anywhere=True) < 0.01


def test_between_samples_what_agrees_on_the_samples_alone_is_found_out():
    signal = grid_of(wave, (64,))

    def rough(coords):  # zero at every sample, one half-way
        return wave(coords) + torch.sin(np.pi * (coords + 1) / 2 * 63)

    assert grid_metrics(rough, signal, evaluate_grid(rough, signal.lattice))["psnr"] > 80
    # The sine is 1 or -1 there, in both channels.
    assert between_error(rough, signal) == pytest.approx(1, rel=0.02)
    assert between_error(rough, signal, anywhere=True) == pytest.approx(np.sqrt(0.5), rel=0.1)


def test_between_a_single_sample_there_is_nothing():
    assert between_error(wave, grid_of(wave, (1,))) == 0


def test_held_out_samples_have_metrics_of_their_own():
    signal = grid_of(wave, (40, 56)).under(GridOptions(train_fraction=0.5))
    fitted = evaluate_grid(wave, signal.lattice)
    fitted.reshape(-1, 2)[signal.fitted] += 0.001
    fitted.reshape(-1, 2)[signal.held_out] += 0.1
    metrics = grid_metrics(wave, signal, fitted)
    assert metrics["psnr"] == pytest.approx(20 * np.log10(2 / 0.001), abs=0.01)
    assert metrics["psnr_held_out"] == pytest.approx(20 * np.log10(2 / 0.1), abs=0.01)


def test_metrics_of_a_noisy_target_are_against_the_clean_one():
    signal = grid_of(wave, (200, 200)).under(GridOptions(noise_std=0.1))
    metrics = grid_metrics(off(wave, 0.02), signal, evaluate_grid(off(wave, 0.02), signal.lattice))
    assert metrics["psnr"] == pytest.approx(20 * np.log10(2 / 0.02), abs=0.01)
    assert metrics["psnr_target"] == pytest.approx(20 * np.log10(2 / 0.1), abs=0.1)


def test_metrics_in_passing_are_those_of_all_samples_where_there_are_few_and_close_where_there_are_many():
    signal = grid_of(wave, (100, 100)).under(GridOptions(train_fraction=0.6))
    rng = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(10_000, 2, generator=rng)

    def function(coords):
        return wave(coords) + noise[signal.lattice.nearest(coords)]

    whole = grid_metrics(function, signal, evaluate_grid(function, signal.lattice))
    evaluate = partial(evaluate_grid, function, signal.lattice)
    exact = quick_metrics(evaluate, signal, quick_samples(signal, 6000))
    assert exact == pytest.approx({name: whole[name] for name in ("psnr", "psnr_held_out")}, abs=1e-6)
    close = quick_metrics(evaluate, signal, quick_samples(signal, 2000))
    assert close != exact
    assert close == pytest.approx(exact, abs=0.5)


def test_what_a_run_shows_is_what_is_measured_at_its_end():
    """The monitor of a fit in parts, at all samples or at some of them, against the metrics."""
    signal, options = prepare("sample:bells", None, {"max_samples": 4000})
    field = fit(
        "sample:bells", max_samples=4000, parts=(4,), hidden_dim=8, steps=3, progress=False, measure=False
    ).field
    measured = options.kind.metrics(field, signal, options.network)["psnr"]
    shown = [options.kind.monitor(signal, most).metrics(field)["psnr"] for most in (4000, 3000)]
    assert shown[0] == pytest.approx(measured, abs=1e-4)
    assert shown[1] == pytest.approx(measured, abs=0.5)
    assert shown[1] != shown[0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rows", [3, 16, 69, 1000])
def test_ssim_is_that_of_torchmetrics_whatever_the_band(monkeypatch, channels, rows):
    from torchmetrics.functional.image import structural_similarity_index_measure

    monkeypatch.setattr(image, "ROWS", rows)
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (70, 50, channels)).astype(np.float32)
    truth[20:60] = np.linspace(-1, 1, 50)[:, None]
    fitted = (truth + rng.normal(0, 0.2, truth.shape)).astype(np.float32)
    a, b = (torch.from_numpy((x + 1) / 2).movedim(-1, 0)[None].double() for x in (fitted, truth))
    expected = float(structural_similarity_index_measure(a, b, data_range=1.0))
    assert ssim(fitted, truth) == pytest.approx(expected, abs=1e-5)
    assert ssim(truth, truth) == pytest.approx(1, abs=1e-6)


def test_ssim_is_about_that_of_another_library_which_leaves_out_the_borders():
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (1000, 1000)).astype(np.float32)
    fitted = (truth + rng.normal(0, 0.2, truth.shape)).astype(np.float32)
    a, b = (x / 2 + 0.5 for x in (fitted, truth))
    expected = structural_similarity(
        a, b, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(fitted[..., None], truth[..., None]) == pytest.approx(expected, abs=1e-3)


def test_a_picture_smaller_than_a_window_reaches_has_no_ssim():
    assert ssim(np.zeros((5, 40, 1), np.float32), np.zeros((5, 40, 1), np.float32)) is None
    assert ssim(np.zeros((6, 40, 1), np.float32), np.zeros((6, 40, 1), np.float32)) == pytest.approx(1)


def noisy_sound(channels=2, count=30_000):
    rng = np.random.default_rng(0)
    truth = np.sin(np.arange(count)[:, None] * np.linspace(0.05, 0.3, channels)).astype(np.float32) * 0.7
    return truth, (0.9 * truth + 0.01 * rng.standard_normal(truth.shape) + 0.05).astype(np.float32)


def test_signal_to_noise_ratios_by_their_formulas():
    truth, fitted = noisy_sound()
    snr, si_snr = [], []
    for t, f in zip(truth.T.astype(float), fitted.T.astype(float), strict=True):
        snr.append(10 * np.log10((t**2).sum() / ((t - f) ** 2).sum()))
        t, f = t - t.mean(), f - f.mean()
        part = (f @ t) / (t @ t) * t
        si_snr.append(10 * np.log10((part**2).sum() / ((f - part) ** 2).sum()))
    metrics = audio_metrics(fitted, truth)
    assert metrics["snr"] == pytest.approx(np.mean(snr), abs=1e-3)
    assert metrics["si_snr"] == pytest.approx(np.mean(si_snr), abs=1e-2)


@pytest.mark.parametrize("frames", [3, 1000])
def test_log_spectral_distance_by_its_formula(monkeypatch, frames):
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    monkeypatch.setattr(audio, "FRAMES", frames)
    truth, fitted = (x[:, 0] for x in noisy_sound(1))
    transform = ShortTimeFFT(hann(2048, sym=False), 512, 1.0)
    # Only frames that lie within the sound.
    whole = range(-(-1024 // 512), -(-1024 // 512) + 1 + (len(truth) - 2048) // 512)
    p, q = (
        np.stack([np.abs(transform.stft(x.astype(float), p0=k, p1=k + 1)[:, 0]) ** 2 for k in whole])
        for x in (truth, fitted)
    )
    floor = 1e-10 * p.max()
    expected = np.sqrt(((10 * np.log10(q.clip(floor) / p.clip(floor))) ** 2).mean(-1)).mean()
    got = log_spectral_distance(torch.from_numpy(fitted), torch.from_numpy(truth))
    assert got == pytest.approx(expected, rel=1e-3)
    assert log_spectral_distance(torch.from_numpy(10 * truth), torch.from_numpy(truth)) <= 20.01


def test_signal_to_noise_ratios_of_a_very_good_fit_are_not_capped():
    truth = noisy_sound(1, 8000)[0]
    error = 1e-6 * np.random.default_rng(1).standard_normal(truth.shape)
    fitted = (truth + error).astype(np.float32)
    t, f = truth.astype(float), fitted.astype(float)
    snr = 10 * np.log10((t**2).sum() / ((t - f) ** 2).sum())
    assert snr > 110
    metrics = audio_metrics(fitted, truth)
    assert metrics["snr"] == pytest.approx(snr, abs=0.01)
    assert metrics["si_snr"] == pytest.approx(snr, abs=1)


def test_a_diverged_fit_has_no_psnr_and_no_snr():
    assert np.isnan(grid.psnr(float("nan")))
    assert grid.psnr(0.0) == float("inf")
    assert grid.psnr(float("inf")) == -float("inf")
    truth = np.sin(np.arange(3000, dtype=np.float32))[:, None]
    diverged = truth.copy()
    diverged[7] = np.nan
    assert all(np.isnan(value) for value in audio_metrics(diverged, truth).values())
    diverged[7] = np.inf
    assert audio_metrics(diverged, truth)["snr"] == -np.inf


def test_silence_and_short_sounds_have_the_metrics_that_make_sense():
    assert audio_metrics(np.zeros((100, 2), np.float32), np.zeros((100, 2), np.float32)) == {}
    assert set(audio_metrics(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))) == {"snr"}
    assert set(audio_metrics(np.full((99, 1), 0.9, np.float32), np.ones((99, 1), np.float32))) == {
        "snr",
        "log_spectral_distance",
    }
    click = np.eye(3000, 1, dtype=np.float32)
    assert audio_metrics(click, click)["log_spectral_distance"] == 0
    one_silent = np.concatenate([noisy_sound(1)[0], np.full((30_000, 1), 1e-6, np.float32)], -1)
    metrics = audio_metrics(one_silent * 0.9, one_silent)
    assert metrics["snr"] == pytest.approx(20, abs=0.01)  # of the other channel alone
