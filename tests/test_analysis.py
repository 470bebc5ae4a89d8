"""Spectra and tangent kernels, against known values: tones, Gaussian processes, Jacobians, kernels on paper."""

from math import cosh, exp, pi, sinh, sqrt

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from winner_nerfstudio import Siren, fit, spectral_centroid, winner_init_
from winner_nerfstudio.analysis import members, plots
from winner_nerfstudio.analysis.compare import State
from winner_nerfstudio.analysis.lines import select_lines, select_piece
from winner_nerfstudio.analysis.ntk import compute_eigenbasis, compute_tangent_kernel
from winner_nerfstudio.analysis.options import Study
from winner_nerfstudio.analysis.spectra import band_centers, compute_layer_spectra, compute_spectrum
from winner_nerfstudio.analysis.study import study
from winner_nerfstudio.analysis.targets import target_of
from winner_nerfstudio.fields.resample import evaluate_samples
from winner_nerfstudio.networks import Sine
from winner_nerfstudio.signals.audio import load_audio
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.image import load_image
from winner_nerfstudio.signals.options import AudioOptions, ImageOptions, VolumeOptions
from winner_nerfstudio.signals.shape import Shape
from winner_nerfstudio.signals.volume import load_volume
from winner_nerfstudio.training.cell_targets import CellDistance
from winner_nerfstudio.training.cells import OVERLAP
from winner_nerfstudio.training.initialize import build_field, initialize_
from winner_nerfstudio.training.options import NetworkOptions

from .meshes import sphere


def tone(frequency, count=1024):
    """A cosine at a part of the Nyquist frequency, [1, n, 1]."""
    return torch.cos(pi * frequency * torch.arange(count, dtype=torch.float64))[None, :, None]


def test_a_tone_lies_where_it_is():
    spectrum = compute_spectrum(tone(0.3))
    assert spectrum.rms_frequency == pytest.approx(0.3, abs=0.002)
    assert spectrum.std == pytest.approx(sqrt(0.5), rel=1e-3)
    assert float(band_centers(1024)[spectrum.density.argmax()]) == pytest.approx(0.3, rel=0.05)
    assert spectrum.above_nyquist == 0
    fast = compute_spectrum(tone(0.3), oversampling=4)
    assert fast.rms_frequency == pytest.approx(1.2, abs=0.01)
    assert fast.above_nyquist == pytest.approx(1, abs=1e-3)


def test_a_density_sums_to_one():
    values = torch.randn(3, 2048, 5, generator=torch.Generator().manual_seed(0))
    for oversampling in (1, 4):
        spectrum, middle = compute_spectrum(values, oversampling), band_centers(2048, oversampling).double()
        assert float(torch.trapezoid(spectrum.density, middle)) == pytest.approx(1, abs=0.03)
        assert float(middle[-1]) <= oversampling
        assert spectrum.rms_frequency == pytest.approx(oversampling / sqrt(3), rel=0.03)  # of white noise


def test_the_centroid_is_the_target_s_own():
    values = torch.randn(4, 128, 3, generator=torch.Generator().manual_seed(0))
    assert compute_spectrum(values).centroid == spectral_centroid(values, dim=2)
    assert compute_spectrum(values.repeat_interleave(2, dim=1), oversampling=2).centroid == spectral_centroid(
        values, dim=2
    )


def test_what_is_slow_is_told_to_be_slow_and_what_is_constant_to_be_nothing():
    ramp = torch.linspace(0, 1, 1024)[None, :, None]
    assert compute_spectrum(ramp).rms_frequency < 0.005
    assert compute_spectrum(ramp).centroid > 0.05, "the jump at the ends, which the centroid sees"
    still = compute_spectrum(torch.full((1, 64, 1), 3.0))
    assert still.rms_frequency == still.std == still.centroid == float(still.density.sum()) == 0


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_the_sine_of_a_gaussian_process_is_as_wide_as_theory_has_it(sigma):
    """From E[cos^2 a] E[a'^2] / E[sin^2 a], a and a' being independent: B sigma sqrt(coth sigma^2)."""
    rng, count = np.random.default_rng(0), 1 << 14
    frequency = np.arange(count // 2 + 1) * 2 / count
    amplitude = np.where(frequency < 0.05, 1.0, 0.0)
    drawn = amplitude * (rng.standard_normal((8, len(frequency))) + 1j * rng.standard_normal((8, len(frequency))))
    process = np.fft.irfft(drawn, axis=1)
    process *= sigma / process.std()
    argument, sine = (compute_spectrum(torch.from_numpy(x)[..., None]) for x in (process, np.sin(process)))
    assert argument.rms_frequency == pytest.approx(0.05 / sqrt(3), rel=0.02)
    expected = argument.rms_frequency * sigma * sqrt(cosh(sigma**2) / sinh(sigma**2))
    assert sine.rms_frequency == pytest.approx(expected, rel=0.03)


def spectra_along(network, nyquist, count=2048):
    coords = torch.arange(count)[None, :, None] / count * (count * 0.5 / nyquist)
    return {(layer, stage): spectrum for layer, stage, spectrum in compute_layer_spectra(network, coords, 1)}


def test_the_first_layer_s_band_is_that_of_its_weights():
    network = Siren(1, 1, 1024, 2)
    winner_init_(network, s0=300.0, s1=0.1, seed=0)
    found = spectra_along(network, nyquist=400.0)[1, "post_activation"]
    radians = found.rms_frequency * 400 * 2 * pi
    assert radians == pytest.approx(float((30 * network[0].weight.detach()).square().mean().sqrt()), rel=0.01)
    assert radians == pytest.approx(sqrt(30**2 / 3 + 300**2), rel=0.05)


def test_the_second_layer_s_argument_grows_by_half_the_width_times_the_noise():
    variance = {}
    for s1 in (0.0, 0.1):
        network = Siren(1, 1, 1024, 2)
        winner_init_(network, s0=300.0, s1=s1, seed=0)
        variance[s1] = spectra_along(network, nyquist=400.0)[2, "pre_activation"].std ** 2
    assert variance[0.1] - variance[0.0] == pytest.approx(1024 * 0.1**2 / 2, rel=0.05)


@pytest.mark.parametrize("s1", [0.0, 0.1])
def test_a_layer_widens_the_band_by_the_spread_of_its_argument(s1):
    """Of a phase that may be any: E[a'^2] / 2 over (1 - exp(-sigma^2)) / 2, the sine's power without its mean."""
    network = Siren(1, 1, 1024, 2)
    winner_init_(network, s0=300.0, s1=s1, seed=0)
    network[2].bias.data.uniform_(-pi / 30, pi / 30, generator=torch.Generator().manual_seed(0))
    found = spectra_along(network, nyquist=400.0)
    argument, sine = found[2, "pre_activation"], found[2, "post_activation"]
    expected = argument.rms_frequency * argument.std / sqrt(1 - exp(-(argument.std**2)))
    assert sine.rms_frequency == pytest.approx(expected, rel=0.03)


def test_layers_are_told_from_the_first_to_the_output():
    network = Siren(1, 2, 8, 3)
    coords = torch.linspace(-1, 1, 64)[None, :, None]
    found = list(compute_layer_spectra(network, coords, 1))
    stages = [(layer, stage) for layer, stage, _ in found]
    hidden = [(layer, stage) for layer in (1, 2, 3) for stage in ("pre_activation", "post_activation")]
    assert stages == [*hidden, (4, "output")]
    assert found[0].spectrum.std == pytest.approx(
        float((30 * network[0](coords[0]).detach()).std(dim=0, correction=0).square().mean().sqrt()), rel=1e-4
    )
    assert found[-1].spectrum.centroid == pytest.approx(spectral_centroid(network(coords[0]).detach()), rel=1e-5)


def direct_kernel(network, coords):
    """Of the sum of the channels over the root of their number, from the whole Jacobian."""
    held = {name: parameter.detach().double() for name, parameter in network.named_parameters()}

    def outputs(parameters):
        values = functional_call(network, parameters, (coords.double(),))
        return values.sum(-1) / sqrt(values.shape[-1])

    jacobian = torch.cat([block.flatten(1) for block in jacrev(outputs)(held).values()], dim=1)
    return jacobian @ jacobian.T


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("block_bytes", [1, 500, 1 << 28])
def test_the_kernel_in_blocks_is_that_of_the_jacobian(channels, block_bytes):
    network = Siren(2, channels, 7, 3)
    winner_init_(network, s0=10.0, s1=0.2, seed=0)
    coords = torch.rand(6, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kernel = compute_tangent_kernel(network, coords, block_bytes)
    assert kernel.dtype == torch.float64
    torch.testing.assert_close(kernel, direct_kernel(network, coords), rtol=1e-9, atol=1e-9)
    assert torch.equal(kernel, kernel.T)


def test_the_kernel_of_a_linear_layer():
    coords = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    expected = coords.double() @ coords.double().T + 1
    for channels in (1, 4):
        torch.testing.assert_close(compute_tangent_kernel(nn.Linear(3, channels), coords), expected)


def test_the_kernel_of_one_sine_layer_is_what_one_derives_on_paper():
    """sum_j s_j s_j' + 1, from the last layer, and omega^2 sum_j v_j^2 c_j c_j' (x x' + 1), from the first."""
    network = nn.Sequential(nn.Linear(1, 50), Sine(30.0), nn.Linear(50, 1))
    x = torch.linspace(-1, 1, 9)[:, None]
    argument = 30 * network[0](x).detach().double()
    inner = (argument.cos() * network[2].weight.detach().double()) @ (argument.cos() * network[2].weight.double()).T
    xs = x.double() @ x.double().T
    expected = argument.sin() @ argument.sin().T + 1 + 900 * inner.detach() * (xs + 1)
    torch.testing.assert_close(compute_tangent_kernel(network, x), expected, rtol=1e-4, atol=1e-3)


def test_a_stationary_kernel_has_waves_for_eigenvectors():
    count = 128
    wave = torch.arange(count, dtype=torch.float64)
    weight = {0: 5.0, 3: 4.0, 20: 2.0, 50: 1.0}  # of each frequency, cycles per line
    kernel = sum(w * torch.cos(2 * pi * k * (wave[:, None] - wave) / count) for k, w in weight.items()) / count
    target = torch.cos(2 * pi * 20 * wave / count) + 2 * torch.sin(2 * pi * 50 * wave / count) + 7
    basis = compute_eigenbasis(kernel, target[:, None])
    assert basis.resolved == 7
    expected = [5.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5]  # a cosine and a sine share what is not constant
    np.testing.assert_allclose(basis.eigenvalues[:7], expected, rtol=1e-9)
    cycles = basis.frequency[:7] * count / 2
    np.testing.assert_allclose(cycles, [0, 3, 3, 20, 20, 50, 50], atol=0.5)
    np.testing.assert_allclose(basis.energy[3:5].sum(), 0.2, atol=1e-9)  # powers 1 and 4, without the mean
    assert basis.energy_within(0.15) == pytest.approx(0.2)
    assert basis.energy_within(0.05) == pytest.approx(1)
    assert basis.energy_in_top(5 / 128) == pytest.approx(0.2)
    share = np.array(expected) / 12
    assert basis.effective_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    np.testing.assert_allclose(basis.spectrum.sum(1), 1, rtol=1e-9)


def test_rank_and_condition_of_kernels_one_knows():
    values = torch.linspace(-1, 1, 16)[:, None]
    diagonal = compute_eigenbasis(torch.diag(torch.linspace(1, 8, 16, dtype=torch.float64)), values)
    assert diagonal.condition_number == pytest.approx(8)
    assert compute_eigenbasis(torch.eye(16, dtype=torch.float64), values).effective_rank == pytest.approx(16)
    single = compute_eigenbasis(torch.ones(16, 16, dtype=torch.float64), values)
    assert single.effective_rank == pytest.approx(1, abs=1e-6)
    assert single.condition_number == pytest.approx(1 / (16 * 2.2e-16), rel=0.01)
    assert single.energy_in_top(1.0) == pytest.approx(0, abs=1e-12)
    assert compute_eigenbasis(torch.eye(16, dtype=torch.float64), torch.ones(16, 1)).energy.sum() == 0


def test_lines_of_a_picture_are_whole_rows_from_top_to_bottom():
    signal = load_image(np.random.default_rng(0).integers(0, 255, (100, 64, 3), np.uint8))
    lines = select_lines(target_of(signal), 10 * 64)
    assert lines.values.shape == (10, 64, 3)
    assert lines.first[:, 0].tolist() == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    np.testing.assert_array_equal(lines.values, signal.values[lines.first[:, 0]])
    every = signal.lattice.coords(torch.arange(6400)).reshape(100, 64, 2)
    torch.testing.assert_close(lines.coords(), every[lines.first[:, 0]])
    torch.testing.assert_close(lines.coords(4)[:, ::4], lines.coords())
    assert lines.nyquist == pytest.approx(0.5 / (2 / 99))


def test_of_a_long_sound_the_liveliest_part_is_taken():
    sound = np.zeros(5000)
    sound[3000:3400] = np.sin(np.arange(400))
    lines = select_lines(target_of(load_audio(sound)), 1000)
    assert lines.values.shape == (1, 1000, 1)
    start = int(lines.first[0, 0])
    assert start <= 3000
    assert start + 1000 >= 3400
    piece = select_piece(lines, 100)
    assert 3000 <= int(piece.first[0, 0]) <= 3300
    np.testing.assert_allclose(piece.values[0, :, 0], sound[piece.first[0, 0] :][:100], atol=1e-4)


def test_a_shape_is_looked_at_where_its_centroid_is():
    shape = Shape.from_mesh(sphere())
    lines = select_lines(target_of(shape), 640)
    assert lines.values.shape == (10, 64, 1)
    radius = 1 / 2 * np.ptp(shape.mesh.vertices, axis=0).max()
    distance = lines.coords().double().norm(dim=-1, keepdim=True).numpy() - radius
    np.testing.assert_allclose(lines.values, distance, atol=0.02)


def test_what_is_too_short_is_refused():
    with pytest.raises(SignalError, match="array: 15 samples along the last axis are too few for a spectrum"):
        select_lines(target_of(load_audio(np.sin(np.arange(15.0)))), 256)


SMALL = {"hidden_dim": 24, "num_layers": 2, "batch_size": 128, "samples": 512, "kernel_points": 64}


def high(count=600):
    """Nothing but high frequencies."""
    return load_audio(np.sin(0.8 * pi * np.arange(count)) * np.sin(0.01 * np.arange(count)))


def test_the_start_is_that_of_the_fit():
    found = study(high(), Study(steps=1, learning_rate=1e-30, **SMALL))
    names = [(state["init"], state["steps"]) for state in found["states"]]
    assert names == [("siren", 0), ("siren", 1), ("winner", 0), ("winner", 1)]
    start, fitted, *winner = found["states"]
    assert start["layers"] == fitted["layers"]
    assert start["ntk"] == fitted["ntk"] != winner[0]["ntk"]
    assert winner[0]["layers"] == winner[1]["layers"]
    assert winner[0]["initialization"]["noise"]["psi"] == pytest.approx(found["target"]["psi"], rel=1e-5)
    assert start["initialization"]["noise"] is None


def test_siren_does_not_reach_what_winner_reaches():
    found = study(high(), Study(steps=0, **SMALL))
    siren, winner = found["states"]
    assert found["target"]["rms_frequency"] == pytest.approx(0.8, abs=0.01)
    assert siren["layers"][-1]["rms_frequency"] < 0.1 < winner["layers"][-1]["rms_frequency"]
    assert siren["ntk"]["energy_within"]["0.001"] < 0.01
    assert winner["ntk"]["energy_within"]["0.001"] > 0.9
    assert siren["ntk"]["effective_rank"] < 5 < winner["ntk"]["effective_rank"]


def test_samples_without_data_count_in_no_psnr():
    values = np.random.default_rng(0).uniform(size=(20, 24))
    values[4:15, 5:20] = np.nan
    signal = load_image(values, ImageOptions(nodata=float("nan")))
    (state,) = study(signal, Study(init=("siren",), steps=0, **SMALL))["states"]
    options = NetworkOptions(hidden_dim=SMALL["hidden_dim"], num_layers=SMALL["num_layers"], init="siren")
    field = build_field(signal, options, 42)
    initialize_(field, signal, options, 42)
    error = (evaluate_samples(field, signal.lattice)[..., 0] - signal.values[..., 0])[~np.isnan(values)]
    assert state["psnr"] == pytest.approx(20 * np.log10(2 / np.sqrt(np.mean(np.square(error)))), rel=1e-5)


def test_every_kind_has_its_frequencies_in_its_own_units():
    ramp = np.linspace(0, 1, 32)
    for signal, expected in (
        (load_audio(np.sin(np.arange(400.0)), AudioOptions(sample_rate=8000)), 4000),
        (load_image(np.outer(ramp, ramp)), 0.5),
        (load_volume(ramp[:, None, None] * ramp[:, None] * ramp, VolumeOptions(spacing=0.25)), 2),
    ):
        found = study(signal, Study(init=("winner",), steps=0, **SMALL))
        assert found["target"]["nyquist"]["cycles_per_world_unit"] == pytest.approx(expected, rel=1e-5)
        assert found["target"]["kind"] == signal.kind
        assert [state["init"] for state in found["states"]] == ["winner"]


def test_the_initializations_of_others_can_be_studied_and_drawn(tmp_path):
    names = ("weight-scaling", "gradient-control", "matched-scaling")
    found = study(load_audio(np.sin(np.arange(400.0))), Study(init=names, steps=0, **SMALL))
    assert [(state["init"], state["initialization"]["init"]) for state in found["states"]] == [(n, n) for n in names]
    plots.draw_spectra(found, tmp_path / "spectra.png")
    assert (tmp_path / "spectra.png").stat().st_size > 1000


PARTS = {"hidden_dim": 8, "num_layers": 2, "samples": 512, "kernel_points": 32}


def networks_seen(monkeypatch):
    """The weights of each network that is measured, in the order of the measurements."""
    seen = []

    def keep(*state):
        seen.append({name: weight.clone() for name, weight in state[3].named_parameters()})
        return State(*state)

    monkeypatch.setattr(members, "State", keep)
    return seen


@pytest.mark.parametrize("init", ["siren", "winner"])
def test_members_are_those_of_the_whole_bank(init, monkeypatch):
    picture = load_image(np.random.default_rng(0).integers(0, 255, (40, 44, 3), np.uint8))
    seen = networks_seen(monkeypatch)
    found = study(picture, Study(init=(init,), steps=4, parts=(2, 2), **PARTS))
    options = {"hidden_dim": 8, "num_layers": 2, "init": init, "parts": (2, 2)}
    bank = fit(picture, steps=4, progress=False, measure=False, **options).field.network
    assert len(found["members"]) == 3
    for number, member in enumerate(found["members"].values()):
        row, column = member["index"]
        layers = bank.member(2 * row + column).layers
        start, trained = (list(seen[2 * number + step].values()) for step in (0, 1))
        expected = [weight for layer in layers for weight in layer]
        assert not torch.equal(start[0], trained[0])
        assert all(torch.equal(*pair) for pair in zip(trained, expected, strict=True))


def test_members_with_the_lowest_the_median_and_the_highest_centroid_are_looked_at():
    tones = [np.sin(frequency * np.arange(300)) * np.hanning(300) for frequency in (2.0, 0.3, 1.0)]
    sound = np.concatenate([np.zeros(400), *(np.pad(tone, 50) for tone in tones)])
    found = study(load_audio(sound), Study(steps=0, parts=(4,), **PARTS))
    assert {rank: member["index"] for rank, member in found["members"].items()} == {
        "lowest": [2],
        "median": [3],
        "highest": [1],
    }
    parts = found["parts"]
    assert parts["total"] == 4
    assert parts["centroid"][0] < parts["centroid"][2] < parts["centroid"][3] < parts["centroid"][1]
    assert parts["s0"][1] > parts["s0"][3] > 0
    for rank, frequency in (("lowest", 0.3), ("highest", 2.0)):
        member = found["members"][rank]
        assert member["target"]["rms_frequency"] == pytest.approx(frequency / pi, rel=0.01)
        noise = member["states"][1]["initialization"]["noise"]
        assert noise["s0"] == pytest.approx(parts["s0"][member["index"][0]], rel=1e-4)
        assert member["states"][0]["initialization"]["noise"] is None


def test_a_part_s_frequencies_have_the_units_of_the_whole():
    values = np.random.default_rng(0).random((40, 36, 32))
    whole = load_volume(values, VolumeOptions(spacing=(0.5, 1.0, 0.25)))
    found = study(whole, Study(init=("winner",), steps=0, parts=(1, 2, 1), **PARTS))
    for member in found["members"].values():
        assert member["target"]["nyquist"]["cycles_per_world_unit"] == pytest.approx(2, rel=1e-5)
        assert member["target"]["samples"] == [40, 19, 32]


def test_many_parts_are_summarised_by_some_that_are_evenly_spread(monkeypatch):
    monkeypatch.setattr(members, "MOST_PARTS", 9)
    picture = load_image(np.random.default_rng(0).integers(0, 255, (96, 64), np.uint8))
    parts = study(picture, Study(init=("siren",), steps=0, parts=(6, 4), **PARTS))["parts"]
    assert parts["total"] == 24
    assert parts["index"] == [[row, column] for row in (0, 2, 4) for column in (0, 2)]
    assert "s0" not in parts


def test_a_shape_s_cells_are_looked_at_in_their_own_units(monkeypatch, tmp_path):
    monkeypatch.setattr(CellDistance, "pool", 256)
    shape = Shape.from_mesh(sphere())
    found = study(shape, Study(steps=1, parts=(2,), batch_size=64, **PARTS))
    assert found["parts"]["total"] == 8
    for member in found["members"].values():
        assert len(member["states"]) == 4
        assert "psnr" not in member["states"][0]
        unit = (1 + OVERLAP) / 2 / shape.normalization.scale  # half a cell with its overlap, in the world
        expected = (32 - 1) / 4 / unit
        assert member["target"]["nyquist"]["cycles_per_world_unit"] == pytest.approx(expected, rel=1e-4)
    plots.draw_parts(found, tmp_path / "parts.png")
    assert (tmp_path / "parts.png").stat().st_size > 1000


def test_networks_of_which_one_is_single_are_all_single():
    picture = load_image(np.random.default_rng(0).integers(0, 255, (100, 90), np.uint8))
    inits = ("siren", "matched-scaling")
    found = study(picture, Study(init=inits, steps=1, batch_size=64, samples=512, kernel_points=16))
    assert found["network"]["hidden_dim"] == 256
    states = [(state["init"], state["steps"]) for state in found["states"]]
    assert states == [(init, steps) for init in inits for steps in (0, 1)]
    assert found["reduced"][-1] == "fit: 1 steps of 64 points; a whole run takes 3,000"
