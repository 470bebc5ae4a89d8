import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from winner_nerfstudio import NoiseSchedule, Siren, fit, load_field, winner_init_
from winner_nerfstudio.networks import Bank, Tiling, build_network
from winner_nerfstudio.networks.bank import member_seed
from winner_nerfstudio.signals.lattice import Lattice
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.signals.samples import mandala
from winner_nerfstudio.training import bank as bank_training
from winner_nerfstudio.training.bank import PartLoss, PartSampler, find_constants
from winner_nerfstudio.training.initialize import build_field, initialize_
from winner_nerfstudio.training.options import NetworkOptions, NoiseOptions, ResidentOptions
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

SMALL = {"hidden_dim": 12, "num_layers": 3, "progress": False}


def random_bank(shape=(50, 41), parts=(4, 3), overlap=5, **sizes) -> Bank:
    torch.manual_seed(0)
    return Bank(len(shape), 2, 8, 3, shape=shape, parts=parts, overlap=overlap, **sizes)


def cube(shape, count=4000, seed=1) -> torch.Tensor:
    """Return points throughout the samples' box, and a little beyond it."""
    ends = torch.tensor([(n - 1) / (max(shape) - 1) for n in shape], dtype=torch.float64)
    return (torch.rand(count, len(shape), generator=torch.Generator().manual_seed(seed)) * 2.1 - 1.05) * ends


@pytest.mark.parametrize(
    "shape, parts, overlap",
    [((100,), (7,), 4), ((97,), (5,), 9), ((64, 48), (4, 3), 4), ((50, 7), (6, 1), 2), ((20, 22, 30), (2, 1, 3), 3)],
)
def test_boxes_cover_all_samples_and_share_about_the_overlap(shape, parts, overlap):
    tiling = Tiling(shape, parts, overlap)
    for axis, size in enumerate(shape):
        starts = tiling.starts(axis)
        assert starts[0] == 0
        assert starts[-1] + tiling.box[axis] == size
        shared = starts[:-1] + tiling.box[axis] - starts[1:]
        assert all(abs(int(n) - overlap) <= 1 for n in shared)
        assert all(starts[i + 2] >= starts[i] + tiling.box[axis] for i in range(len(starts) - 2))


def test_a_cut_box_holds_the_samples_that_its_coordinates_name():
    tiling = Tiling((12, 9), (2, 2), 2)
    values = torch.arange(12.0 * 9).reshape(12, 9, 1)
    boxes = tiling.cut(values)
    rows, columns = tiling.starts(0), tiling.starts(1)
    assert tiling.box == (7, 6)
    assert torch.equal(boxes[2].reshape(7, 6), values[rows[1] : rows[1] + 7, columns[0] : columns[0] + 6, 0])
    local = tiling.local_coords()
    torch.testing.assert_close(local[0], torch.tensor([-1.0, -5 / 6]))
    torch.testing.assert_close(local[-1], torch.tensor([1.0, 5 / 6]))


@pytest.mark.parametrize(
    "shape, parts, overlap, message",
    [
        ((10,), (2, 2), 2, "as many positive numbers"),
        ((10,), (5,), 4, "too many"),
        ((10,), (20,), 2, "too many"),
        ((10,), (2,), 1, "at least 2"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_one_line(shape, parts, overlap, message):
    with pytest.raises(ValueError, match=message):
        Tiling(shape, parts, overlap)


def test_windows_add_up_to_one_everywhere():
    bank = random_bank()
    for weight, bias in zip(bank.weights[:-1], bank.biases[:-1], strict=True):
        weight.data.zero_()
        bias.data.zero_()
    bank.weights[-1].data.zero_()
    bank.biases[-1].data.fill_(0.7)
    torch.testing.assert_close(bank(cube((50, 41))), torch.full((4000, 2), 0.7))


def test_where_no_boxes_overlap_the_value_is_the_members_own():
    bank = random_bank()
    rows, columns, box = bank.tiling.starts(0), bank.tiling.starts(1), bank.tiling.box
    # The middle of member (2, 1).
    middle = torch.tensor([rows[2] + (box[0] - 1) / 2, columns[1] + (box[1] - 1) / 2], dtype=torch.float64)
    offset = torch.tensor([1.25, -0.5], dtype=torch.float64)
    coords = (middle + offset - torch.tensor([24.5, 20.0])) * (2 / 49)
    expected = bank.evaluate_members((offset * bank.tiling.spacing).float().expand(12, 1, 2))[2 * 3 + 1]
    torch.testing.assert_close(bank(coords[None]), expected)


def test_the_values_do_not_depend_on_the_other_points_or_their_shape():
    bank, points = random_bank(), cube((50, 41), 300)
    one_by_one = torch.cat([bank(point[None]) for point in points])
    torch.testing.assert_close(bank(points.reshape(10, 30, 2)).reshape(-1, 2), one_by_one)
    assert bank(points[:0]).shape == (0, 2)


def test_neither_values_nor_two_derivatives_jump_at_a_windows_ends():
    bank = random_bank((60,), (3,), 6).double()
    starts, box = bank.tiling.starts(0), bank.tiling.box[0]
    for border in (starts[1], starts[0] + box - 1):
        x = (torch.tensor([-1e-6, 1e-6], dtype=torch.float64) + border - 29.5) * (2 / 59)
        x = x[:, None].requires_grad_()
        value = bank(x)[:, 0]
        (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        for derivative in (value, first, second):
            low, high = derivative.detach().flatten()
            assert abs(high - low) < 1e-3 * max(1.0, abs(low))


def test_derivatives_are_those_of_finite_differences():
    bank, points = random_bank().double(), cube((50, 41), 50).requires_grad_()
    (gradient,) = torch.autograd.grad(bank(points)[:, 0].sum(), points)
    step = 1e-6
    for axis in range(2):
        shift = step * torch.eye(2, dtype=torch.float64)[axis]
        difference = (bank(points + shift)[:, 0] - bank(points - shift)[:, 0]) / (2 * step)
        torch.testing.assert_close(gradient[:, axis], difference, rtol=1e-4, atol=1e-5)


def test_a_long_signals_neighbours_are_told_apart():
    bank = random_bank((40_000_000,), (2,), 32)
    position = torch.tensor([[5.0], [6.0]], dtype=torch.float64)
    local = (position - (bank.tiling.box[0] - 1) / 2) * bank.tiling.spacing
    coords = (position - (40_000_000 - 1) / 2) * (2 / (40_000_000 - 1))
    torch.testing.assert_close(bank(coords), bank.evaluate_members(local.float().expand(2, 2, 1))[0])


def picture_signal(**options):
    return load_signal(mandala()[:72, :64], "image", **options)


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_each_member_is_what_winner_init_makes_of_a_siren_for_its_part(kind):
    # Parts of a sound begin with lower frequencies than SIREN's where their own are lower; those of a picture don't.
    smooth = np.cos(np.arange(900) / 100)[:, None]
    signal = picture_signal() if kind == "image" else load_signal(smooth, kind)
    options = NetworkOptions(parts=(3,), hidden_dim=12, num_layers=3)
    field = build_field(signal, options, 7)
    initialization = initialize_(field, signal, options, 7)
    bank, index = field.network, 1 if kind == "audio" else 4
    assert bank.tiling.parts == (3,) * signal.dim
    part = bank.tiling.cut(torch.from_numpy(signal.values), [index]).reshape(*bank.tiling.box, signal.channels)
    twin, schedule = Siren(signal.dim, signal.channels, 12, 3), NoiseSchedule.matched(lowers=kind == "audio")
    expected = winner_init_(twin, target=part, schedule=schedule, seed=member_seed(7, index))
    assert initialization.members[index] == expected
    assert bool(expected.factors) == (kind == "audio")
    layers = [module for module in twin if isinstance(module, torch.nn.Linear)]
    for layer, weight, bias in zip(layers, bank.weights, bank.biases, strict=True):
        assert torch.equal(layer.weight, weight[index])
        assert torch.equal(layer.bias, bias[index])
    coords = cube((10,) * signal.dim, 64).float()
    values = bank.evaluate_members(coords.expand(bank.tiling.count, -1, -1))
    torch.testing.assert_close(values[index], twin(coords))


def test_a_member_is_the_same_whatever_stands_beside_it():
    wide = picture_signal()
    options = NetworkOptions(parts=(3, 1), hidden_dim=8, num_layers=2, overlap=4)
    fields = []
    for values in (wide.values, np.concatenate([wide.values[:, :40], 1 - wide.values[:, :24]], 1)):
        signal = load_signal(values, "image")
        field = build_field(signal, options, 1)
        initialize_(field, signal, options, 1)
        fields.append(field.network)
    assert torch.equal(fields[0].weights[2], fields[1].weights[2])
    assert member_seed(1, 0) != member_seed(1, 1) != member_seed(2, 1)


def test_siren_and_fixed_scales_start_every_member():
    signal = picture_signal()
    for noise, init in ((NoiseOptions(), "siren"), (NoiseOptions(s0=0.0, s1=0.0, hidden_biases=1.0), "winner")):
        options = NetworkOptions(parts=(2,), hidden_dim=8, num_layers=2, init=init, noise=noise)
        field = build_field(signal, options, 3)
        initialize_(field, signal, options, 3)
        twin = build_network("siren", in_dim=2, out_dim=3, hidden_dim=8, num_layers=2)
        winner_init_(twin, s0=0.0, s1=0.0, seed=member_seed(3, 2))
        assert torch.equal(field.network.weights[1][2], twin[2].weight)
        assert torch.equal(field.network.biases[1][2], twin[2].bias)


def test_every_sample_of_every_part_is_served_once_a_pass():
    signal, options = picture_signal(), NetworkOptions(parts=(3,), hidden_dim=8, num_layers=2)
    field = build_field(signal, options, 0)
    sampler = PartSampler(signal, field.network, torch.device("cpu"), 5, ResidentOptions(100))
    batches = [sampler.batch(step) for step in range(sampler.steps_per_pass)]
    assert max(batch["values"].shape[1] for batch in batches) <= 100
    served = torch.cat([batch["values"] for batch in batches], 1)
    parts = field.network.tiling.cut(torch.from_numpy(signal.values))
    assert torch.equal(served.sort(1).values, parts.sort(1).values)
    again = PartSampler(signal, field.network, torch.device("cpu"), 5, ResidentOptions(100))
    assert torch.equal(again.batch(3)["values"], batches[3]["values"])
    assert not torch.equal(sampler.batch(sampler.steps_per_pass)["values"], batches[0]["values"])


@pytest.mark.quality
def test_a_fit_in_parts_is_better_than_one_network_at_half_the_multiplications():
    picture = mandala()[:192, :192]
    whole = fit(picture, steps=300, hidden_dim=64, learning_rate=2e-3, progress=False)
    options = {"parts": (4,), "batch_size": 512, "learning_rate": 2e-3, "between": 0.0}
    parts = fit(picture, steps=300, hidden_dim=32, progress=False, **options)
    # 8,192 samples a step pass through 3,300 weights each, instead of 4,096 through 12,900.
    assert parts.provenance["figures"]["psnr"] > whole.provenance["figures"]["psnr"] + 4
    assert "16 parts, psi=" in parts.provenance["initialization"]


def test_a_field_of_parts_is_saved_loaded_and_evaluated_as_any_other(tmp_path):
    sound = np.sin(np.arange(3000) * 0.2)[:, None]
    field = fit(sound, "audio", steps=30, parts=(5,), batch_size=128, sample_rate=100.0, **SMALL)
    field.save(tmp_path / "parts.safetensors")
    loaded = load_field(tmp_path / "parts.safetensors")
    seconds = np.linspace(0, 29.9, 777)
    assert np.array_equal(loaded(seconds), field(seconds))
    assert np.array_equal(loaded.audio(200.0)[0], field.audio(200.0)[0])
    step = 1e-6
    slope = (field(seconds + step) - field(seconds - step)) / (2 * step)
    assert np.median(np.abs(field.gradient(seconds)[:, 0] - slope)) < 0.05 * np.abs(slope).max()


def test_a_volume_in_parts_gives_a_surface():
    axis = np.linspace(-1, 1, 40)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    ball = np.sqrt(x**2 + y**2 + z**2) - 0.7
    field = fit(
        ball,
        steps=150,
        parts=(2,),
        inside="below",
        hidden_dim=24,
        num_layers=2,
        first_omega_0=6,
        learning_rate=2e-3,
        progress=False,
    )
    assert field.provenance["figures"]["iou"] > 0.95
    radius = np.linalg.norm(field.mesh(60).vertices - 19.5, axis=1) / 19.5
    assert abs(np.median(radius) - 0.7) < 0.01


@pytest.mark.parametrize(
    "shape, parts, pitch, step",
    [
        ((50, 41), (4, 3), (), 1),
        ((50, 41), (4, 3), (), 0.3),
        ((60,), (5,), (), 7),
        ((20, 24, 18), (2, 3, 1), (1, 1, 2), 1),
    ],
)
def test_a_whole_grid_has_the_values_of_its_points(shape, parts, pitch, step):
    bank = random_bank(shape, parts, overlap=3, pitch=pitch)
    lattice = Lattice(shape, tuple(map(float, pitch)))
    axes = lattice.axis_coords([torch.arange(-0.5, n - 0.5, step, dtype=torch.float64) for n in shape])
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    torch.testing.assert_close(bank.evaluate_product(axes), bank(points).detach(), atol=1e-6, rtol=0)


def test_held_out_samples_are_not_fitted():
    options = {"steps": 60, "parts": (3,), "learning_rate": 2e-3, **SMALL}
    picture = mandala()[:72, :72]
    rng = np.random.default_rng(0)
    signal = load_signal(picture, "image", train_fraction=0.7)
    spoilt = signal.values.reshape(-1, 3).copy()
    spoilt[signal.held_out] = rng.uniform(-1, 1, (len(signal.held_out), 3))
    other = replace(signal, values=spoilt.reshape(signal.values.shape))
    first, second = (fit(each, init="siren", measure=False, **options) for each in (signal, other))
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"parts": (2, 2, 2)}, "auto, or one or 2"),
        ({"parts": (0,)}, "each at least 1"),
        ({"parts": (2,), "network": "gauss"}, "fitted by siren"),
        ({"overlap": 4}, "overlap=4 needs parts"),
        ({"overlap": 1, "parts": (2,)}, "overlap=1 must be at least 2 samples$"),
        ({"parts": (40,)}, "too many"),
    ],
)
def test_parts_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit(mandala()[:72, :72], steps=1, **SMALL, **options)


def test_a_plan_without_noise_in_parts_can_be_carried_out_again():
    signal, options = prepare(mandala()[:72, :72], "image", {"parts": 2, "init": "siren"})
    network = make_plan(signal, options, Course()).options.network
    assert network.noise.exactness is None
    network.check(2)


@pytest.mark.parametrize("shape", [(3, 60, 3), (60, 3, 3), (4, 60, 4), (3, 60)])
def test_a_strip_of_a_picture_is_divided_though_it_has_as_many_rows_as_channels(shape):
    strip = np.random.default_rng(0).random(shape)
    field = fit(strip, "image", steps=1, parts=2, **SMALL)
    assert field.image().shape == shape


def test_the_gradient_of_a_member_does_not_depend_on_the_number_of_members():
    signal = picture_signal()
    gradients = []
    for parts in ((2,), (4,)):
        options = NetworkOptions(parts=parts, hidden_dim=8, num_layers=2)
        field = build_field(signal, options, 0)
        bank, loss = field.network, PartLoss()
        for weight in [*bank.weights, *bank.biases]:
            weight.data[:] = weight.data[:1]
        coords = cube((5, 5), 20).float().expand(bank.tiling.count, -1, -1)
        batch = {"values": torch.ones(bank.tiling.count, 20, 3)}
        sum(loss.terms(loss.outputs(field, coords), batch).values()).backward()
        gradients.append(bank.weights[1].grad[0])
    torch.testing.assert_close(*gradients)
    assert math.isfinite(float(gradients[0].sum()))


@pytest.mark.parametrize("fitted", [False, True])
def test_training_some_members_at_a_time_gives_the_gradients_of_all_at_once(monkeypatch, fitted):
    field = build_field(picture_signal(), NetworkOptions(parts=(3,), hidden_dim=8, num_layers=3), 0)
    bank, loss, random = field.network, PartLoss(), torch.Generator().manual_seed(0)
    count = bank.tiling.count
    batch = {"coords": cube((5, 5), 20).float().expand(count, -1, -1)}
    batch["values"] = torch.rand(count, 20, 3, generator=random)
    if fitted:
        batch["fitted"] = (torch.rand(count, 20, 1, generator=random) < 0.7).float()
    (whole,) = loss.terms(loss.outputs(field, batch["coords"]), batch).values()
    expected = torch.autograd.grad(whole, list(bank.parameters()))
    monkeypatch.setitem(bank_training.MEMBER_POINTS, "cpu", 50)
    (error,) = loss.training_terms(field, batch).values()
    torch.testing.assert_close(error, whole)
    torch.testing.assert_close(torch.autograd.grad(2 * error, list(bank.parameters())), [*(2 * g for g in expected)])


def blank_picture(shape=(60, 60), box=(slice(0, 22), slice(0, 22))) -> np.ndarray:
    """Return noise in a box, and one grey around it."""
    pixels = np.full((*shape, 3), (30, 200, 90), np.uint8)
    random = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pixels[box] = random[box]
    return pixels


def test_constant_parts_have_their_value_at_once_and_do_not_change_the_others(monkeypatch):
    """Three by three parts: the first has noise, which lies close enough to the next ones to matter there."""
    fitted = {}
    for finds in (True, False):
        if not finds:
            monkeypatch.setattr(bank_training, "find_constants", lambda *arguments: {})
        options = {"parts": (3,), "hidden_dim": 12, "num_layers": 3, "steps": 8, "optimizer": "muon"}
        fitted[finds] = fit(blank_picture(), progress=False, measure=False, **options)
    bank, plain = (fitted[finds].field.network for finds in (True, False))
    value = torch.tensor([30, 200, 90]) / 127.5 - 1
    constant = [index for index in range(9) if not bank.weights[-1][index].any()]
    assert constant == [2, 5, 6, 7, 8], "the others have noise, or interpolate it between their samples"
    torch.testing.assert_close(bank.biases[-1][constant], value.float().expand(5, -1))
    for one, other in zip(bank.parameters(), plain.parameters(), strict=True):
        assert all(torch.equal(one[index], other[index]) for index in (0, 1, 3, 4))
    assert "4 parts and 5 constant ones" in fitted[True].provenance["initialization"]
    pixels = fitted[True].image()
    assert (pixels[44:, 44:] == (30, 200, 90)).all()


def test_parts_without_a_sample_that_is_fitted_need_no_training():
    values = np.random.default_rng(0).standard_normal((60, 60, 1)).astype(np.float32)
    values[:25, :25] = np.nan
    signal, _ = prepare(values, "image", {"nodata": "nan"})
    bank = build_field(signal, NetworkOptions(parts=(3,), hidden_dim=8, num_layers=2), 0).network
    assert {
        index: list(value) for index, value in find_constants(signal, bank.tiling, signal.lattice.whole).items()
    } == {0: [0.0]}
    sampler = PartSampler(signal, bank, torch.device("cpu"), 0, ResidentOptions(100))
    assert sampler.batch(0)["constant"].tolist() == [True] + 8 * [False]


def test_samples_that_are_held_out_do_not_make_a_part_constant():
    signal, _ = prepare(blank_picture(), "image", {"train_fraction": 0.5})
    bank = build_field(signal, NetworkOptions(parts=(3,), hidden_dim=8, num_layers=2), 0).network
    assert not find_constants(signal, bank.tiling, signal.lattice.whole)


@pytest.mark.parametrize("optimizer", ["adam", "soap", "muon"])
def test_a_constant_signal_is_fitted_exactly_by_every_optimiser(optimizer):
    sound = np.full((600, 1), 0.25, np.float32)
    options = {"parts": (4,), "hidden_dim": 8, "num_layers": 2, "sample_rate": 100.0, "progress": False}
    field = fit(sound, "audio", steps=12, optimizer=optimizer, **options)
    assert np.abs(field.audio() - 0.25).max() < 1e-6
