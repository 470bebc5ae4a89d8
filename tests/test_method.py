import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.fft import dct

from winner_nerfstudio import NoiseSchedule, Siren, spectral_centroid, winner_init_
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.training.initialize import build_field, initialize_
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.winner import NetworkTraits, axes_of, estimate_noise
from winner_nerfstudio.winner.matched import axes_of_each, compute_growth
from winner_nerfstudio.winner.samples import iterate_lines

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
    assert NoiseSchedule.reference()(0.1, dim=1)[:2] == pytest.approx((1761.951, 0.3), abs=1e-3)
    assert NoiseSchedule.reference()(0.1, dim=2)[:2] == pytest.approx((19.6735, 0.04), abs=1e-4)
    assert NoiseSchedule.paper()(0.1, dim=1)[:2] == pytest.approx((3500 * (1 - math.exp(-0.5)), 0.3))
    assert NoiseSchedule.paper()(0.1, dim=2) == NoiseSchedule.reference()(0.1, dim=2)


def test_published_rules_divide_colour_by_nine_and_ours_does_not():
    grey = NoiseSchedule.reference()(0.1, dim=2)
    assert NoiseSchedule.reference()(0.9, channels=3, dim=2)[:2] == pytest.approx(grey[:2])
    matched = NoiseSchedule.matched()
    assert matched(0.3, channels=3, samples=96, dim=2) == matched(0.3, samples=96, dim=2)


def test_there_is_no_published_rule_for_volumes():
    for schedule in (NoiseSchedule.paper(), NoiseSchedule.reference()):
        with pytest.raises(ValueError, match="dim=3"):
            schedule(0.1, dim=3)


def test_schedules_are_values():
    assert NoiseSchedule.reference() == NoiseSchedule.reference() != NoiseSchedule.paper()
    assert NoiseSchedule.fixed(1, 2) == NoiseSchedule.fixed(1, 2) != NoiseSchedule.fixed(1, 3)


def test_fixed_scales_ignore_the_target():
    assert NoiseSchedule.fixed(3, 0.5)(0.9, channels=2, dim=3) == (3, 0.5, (), ())


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


def chirp(samples, low=0.15, high=0.35):
    """A sweep whose mean frequency lies half-way between the two, in parts of Nyquist."""
    time = torch.arange(samples, dtype=torch.float64)
    return torch.sin(math.pi * time * (low + (high - low) * time / samples / 2))


def begins_with(network, axis, points=8192):
    """The root mean square frequency of a network along an axis, radians per unit, measured on its values."""
    coords = torch.zeros(points, network[0].in_features)
    coords[:] = 0.3
    coords[:, axis] = torch.linspace(-1, 1, points)
    values = network(coords).detach().double()
    slopes = values.diff(dim=0) * (points - 1) / 2
    return float((slopes.square().mean() / (values - values.mean(0)).square().mean()).sqrt())


def mean_start(schedule, target, axis, layers, width):
    squares = []
    for seed in range(4):
        network = Siren(target.ndim - 1, 64, width, layers)
        winner_init_(network, target=target, schedule=schedule, channels=1, seed=seed)
        squares.append(begins_with(network, axis) ** 2)
    return math.sqrt(sum(squares) / len(squares))


@pytest.mark.parametrize("layers, width", [(2, 256), (4, 64), (4, 256), (6, 128)])
@pytest.mark.parametrize("exactness, part", [(0.5, 0.25), (0.75, 0.5), (1.0, 1.0)])
def test_a_matched_network_begins_with_the_frequency_of_its_target(layers, width, exactness, part):
    target = chirp(400)[:, None]
    (axis,) = axes_of(target)
    assert axis.centroid == pytest.approx(0.25, abs=0.02)
    wanted = math.pi * 399 / 2 * part
    found = mean_start(NoiseSchedule.matched(exactness), target, 0, layers, width)
    assert found == pytest.approx(wanted, rel=0.15)


def test_a_matched_network_begins_with_the_frequency_of_each_axis():
    rows, columns = chirp(200), chirp(120, 0.5, 0.7)
    target = (rows[:, None] * columns)[..., None]
    assert [axis.centroid for axis in axes_of(target)] == pytest.approx([0.25, 0.6], abs=0.04)
    assert [axis.samples for axis in axes_of(target)] == [200, 120]
    for axis, wanted in enumerate((math.pi * 199 / 2 * 0.25, math.pi * 119 / 2 * 0.6)):
        assert mean_start(NoiseSchedule.matched(0.5), target, axis, 4, 256) == pytest.approx(wanted, rel=0.12)


@pytest.mark.parametrize(
    "shape, spacing", [((16, 64), 1.0), ((64, 64), 1.0), ((8, 16, 32), (4.0, 2.0, 1.0)), ((1, 64), 1.0)]
)
def test_a_signal_of_unequal_sides_is_met_in_the_coordinates_that_the_network_sees(shape, spacing):
    """Samples are as far apart along every axis, or as their spacing says; only the longest side spans [-1, 1]."""
    texture = np.random.default_rng(0).standard_normal(shape)
    kind = "image" if len(shape) == 2 else "volume"
    own = {"spacing": spacing} if kind == "volume" else {}
    signal = load_signal(texture, kind, **own)
    distances = [spacing] * 2 if spacing == 1 else spacing
    lengths = [distance * (count - 1) for distance, count in zip(distances, shape, strict=True)]
    wanted = [
        math.pi / (2 * distance / max(lengths)) if count > 1 else 0
        for distance, count in zip(distances, shape, strict=True)
    ]
    assert [axis.nyquist for axis in signal.axes] == pytest.approx(wanted)
    assert [axis.nyquist for axis in signal.axes_above_noise] == pytest.approx(wanted)
    scales = NoiseSchedule.matched(1.0)(0.1, axes=signal.axes, dim=signal.dim)
    grown = compute_growth(4, scales.s1**2 * 128 + 1)
    siren = 30 / len(shape) / math.sqrt(3)
    reached = [math.hypot(siren, s0) * grown for s0 in scales.axes or (scales.s0,) * len(shape)]
    assert reached == pytest.approx([max(each, siren * grown) for each in wanted])


def test_a_flat_part_starts_with_the_frequencies_of_a_cubic_one():
    noise = np.random.default_rng(0).standard_normal((5, 24, 24)).astype(np.float32)
    signal, options = prepare(noise, "volume", {"parts": (1, 2, 2), "hidden_dim": 64, "exactness": 1.0})
    network = make_plan(signal, options, Course()).options.network
    flat = build_field(signal, network, 0)
    initialize_(flat, signal, network, 0)
    first = flat.network.weights[0]
    spread = first.square().mean((0, 1)).sqrt()
    assert float(spread.max() / spread.min()) < 1.2, "white noise is as fine along each axis"


@pytest.mark.parametrize(
    ("counts", "spans", "words"), [((8, 8), (2.0,), "must be 2 numbers"), ((8,), (0.0,), "span=0.0")]
)
def test_spans_that_do_not_fit_are_refused(counts, spans, words):
    with pytest.raises(ValueError, match=words):
        axes_of(torch.rand(*counts, 1), spans=spans)


def test_axes_know_nothing_of_brightness_or_of_what_is_plain():
    picture = torch.zeros(64, 80, dtype=torch.float64)
    picture[10:20] = torch.cos(torch.arange(80) * math.pi * 20 / 80)
    expected = 20 / 80
    assert axes_of(picture + 7, dim=2)[1].centroid == pytest.approx(expected, abs=1e-4)
    assert axes_of(torch.full((9, 9), 0.1), dim=2) == ((0.0, 9, 2.0), (0.0, 9, 2.0))


def test_above_its_noise_a_target_has_the_frequency_of_the_clean_one():
    clean = torch.cos(torch.arange(4000) * math.pi * 0.1)[:, None]
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert axes_of(noisy)[0].centroid > 0.3
    assert axes_of(noisy, noise=0.3)[0].centroid == pytest.approx(0.1, abs=0.01)
    assert axes_of(noisy - clean, noise=0.3)[0].centroid == 0


@pytest.mark.parametrize("shape", [(4001, 1), (63, 64, 3), (40, 41, 42, 1)])
def test_the_strength_of_noise_is_estimated_beside_what_is_smooth(shape):
    smooth = torch.linspace(-1, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1)).expand(shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    assert estimate_noise(smooth + 0.2 * noise) == pytest.approx(0.2, rel=0.15)
    assert estimate_noise(torch.zeros(shape)) == 0


@pytest.mark.parametrize("target", [torch.full((50, 1), 0.3), chirp(40, 0, 0.1)[:, None]])
def test_what_siren_is_fine_enough_for_gets_no_noise(target):
    scales = NoiseSchedule.matched()(0.1, axes=axes_of(target), dim=1)
    assert scales == (0, 0, (), ())


@pytest.mark.parametrize("lines", [0.3, 3.0])
def test_a_network_of_higher_frequency_than_its_target_is_lowered_on_demand_down_to_a_tenth(lines):
    wave = torch.sin(2 * math.pi * lines * torch.linspace(0, 1, 400)).reshape(-1, 1)
    (axis,) = axes_of(wave)
    grown = 30 / math.sqrt(3) * compute_growth(4, 1.0)
    lowered = NoiseSchedule.matched(0.5, lowers=True)(0.1, axes=[axis])
    assert lowered.factors == pytest.approx((max(0.1, axis.nyquist * axis.centroid / grown),))
    assert lowered[:3] == NoiseSchedule.matched(0.5)(0.1, axes=[axis])[:3] == (0, 0, ())
    plain, network = Siren(1, 1, 32, 4), Siren(1, 1, 32, 4)
    winner_init_(plain, target=wave, schedule=NoiseSchedule.matched(0.5), seed=4)
    winner_init_(network, target=wave, schedule=NoiseSchedule.matched(0.5, lowers=True), seed=4)
    torch.testing.assert_close(network[0].weight, plain[0].weight * lowered.factors[0])
    assert torch.equal(network[2].weight, plain[2].weight)


def test_what_the_second_layer_alone_can_reach_gets_no_noise_on_the_first():
    siren, wanted = 30 / 2 / math.sqrt(3), 0.25 * math.pi * 47 / 2
    assert siren * compute_growth(4, 1.0) < wanted < siren * compute_growth(4, 4.0)
    s0, s1, axes, _ = NoiseSchedule.matched(0.5)(0.25, samples=48, dim=2)
    assert (s0, axes) == (0, ())
    assert siren * compute_growth(4, 1 + 256 * s1**2 / 2) == pytest.approx(wanted)


def test_a_matched_network_has_sirens_weights_and_no_hidden_biases():
    target = chirp(400)[:, None]
    plain, network = Siren(1, 1, 32, 3), Siren(1, 1, 32, 3)
    winner_init_(plain, s0=0, s1=0, seed=4)
    winner_init_(network, target=target, seed=4)
    plain, network = plain.state_dict(), network.state_dict()
    same = {name for name in plain if torch.equal(plain[name], network[name])}
    assert same == {"0.bias", "4.weight", "6.weight", "6.bias"}
    assert not network["2.bias"].any()
    assert not network["4.bias"].any()


@pytest.mark.parametrize("hidden_biases", [1.0, 0.0])
def test_biases_take_from_the_last_sines_what_varies(hidden_biases):
    """The variances of docs/noise-rule.md, by its recursion: v' = 1 - exp(-v) with biases, 1 - exp(-2 v) without."""
    decay, argument = (1 if hidden_biases else 2), 4.0
    for _ in range(3):
        expected = (1 - math.exp(-decay * argument)) / 2
        argument = 2 * expected
    network = Siren(1, 1, 256, 4)
    winner_init_(network, s0=300, s1=math.sqrt(2 * 3 / 256), hidden_biases=hidden_biases, seed=0)
    sines = torch.nn.Sequential(*list(network)[:-1])(torch.linspace(-1, 1, 4096)[:, None]).detach()
    assert float(sines.var(0).mean()) == pytest.approx(expected, abs=0.03)
    assert (expected > 0.4) == (not hidden_biases)


def test_noise_on_a_faster_first_sine_counts_for_what_it_is():
    scales = NoiseSchedule.matched()(0.3, samples=4000)
    fast = NoiseSchedule.matched()(0.3, samples=4000, network=NetworkTraits(first_omega_0=300.0))
    gained = 300**2 / 3 - 30**2 / 3
    assert (10 * fast.s0) ** 2 == pytest.approx(scales.s0**2 - gained)


@pytest.mark.parametrize("exactness", [-0.1, 1.1, float("nan")])
def test_an_exactness_outside_its_range_is_refused(exactness):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        NoiseSchedule.matched(exactness)


def test_the_matched_rule_asks_for_the_samples():
    with pytest.raises(ValueError, match="pass samples="):
        NoiseSchedule.matched()(0.1)
    with pytest.raises(ValueError, match="2 axes do not fit dim=1"):
        NoiseSchedule.matched()(0.1, axes=axes_of(torch.rand(8, 8), dim=2), dim=1)


def test_the_reference_takes_an_image_as_one_long_line():
    # Down its columns a grating varies slowly; row after row it is constant but for one step in 16 samples.
    rows = torch.sin(torch.arange(16) * math.pi / 4)[:, None].expand(16, 16)
    reference, paper = NoiseSchedule.reference(), NoiseSchedule.paper()
    assert paper.centroid_of(rows, dim=2) == pytest.approx(0, abs=1e-6)
    line = rows.reshape(-1).numpy()
    spectrum = np.abs(np.fft.rfft(line))
    by_hand = float(spectrum @ np.linspace(0, 1, len(spectrum)) / spectrum.sum())
    assert reference.centroid_of(rows, dim=2) == pytest.approx(by_hand)
    assert winner_init_(Siren(2, 1, 16, 2), target=rows, schedule=reference).centroid == pytest.approx(by_hand)
    sound = torch.rand(50, 2)
    assert reference.centroid_of(sound) == paper.centroid_of(sound)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 31, 64])
def test_an_axis_centroid_is_that_of_the_cosine_transform(count):
    lines = np.random.default_rng(count).standard_normal((count, 5, 2))
    spectrum = np.abs(dct(lines - lines.mean(0), axis=0))
    expected = (np.arange(count) / count @ spectrum.reshape(count, -1).sum(1)) / max(spectrum.sum(), 1e-30)
    assert axes_of(lines)[0].centroid == pytest.approx(expected, abs=1e-12)


def test_an_axis_knows_nothing_of_a_step_from_its_end_to_its_start():
    ramp = torch.linspace(-1, 1, 64, dtype=torch.float64)
    assert spectral_centroid(ramp) > 0.15
    assert axes_of(ramp)[0].centroid < 0.04


def test_the_axes_of_many_signals_are_those_of_each():
    signals = torch.rand(3, 5, 6, 2, generator=torch.Generator().manual_seed(0))
    signals[1] = 0.3  # a constant has no frequency
    for found, signal in zip(axes_of_each(signals), signals, strict=True):
        assert [axis.samples for axis in found] == [5, 6]
        centroids = [axis.centroid for axis in axes_of(signal)]
        assert [axis.centroid for axis in found] == pytest.approx(centroids, rel=1e-9)


def test_long_signals_are_taken_in_blocks_that_change_nothing(monkeypatch):
    signal = torch.rand(7, 9, 2, generator=torch.Generator().manual_seed(0))
    centroid, axes = spectral_centroid(signal), axes_of(signal)
    monkeypatch.setattr("winner_nerfstudio.winner.samples._BLOCK_SIZE", 27)
    blocks = list(iterate_lines(signal, axis=1))
    assert [block.shape for block in blocks] == [(3, 9), (3, 9), (3, 9), (3, 9), (2, 9)]
    assert torch.equal(torch.cat(blocks), signal.movedim(1, -1).reshape(14, 9).double())
    assert spectral_centroid(signal) == pytest.approx(centroid, rel=1e-12)
    assert [axis.centroid for axis in axes_of(signal)] == pytest.approx([axis.centroid for axis in axes], rel=1e-12)
