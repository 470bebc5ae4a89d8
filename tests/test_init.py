import doctest
import importlib
import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from winner_nerfstudio import Initialization, NoiseSchedule, Siren, siren_init_, winner_init_
from winner_nerfstudio.networks import NETWORKS, Sine, build_network
from winner_nerfstudio.winner import (
    SCALED,
    SCHEDULES,
    Axis,
    NetworkTraits,
    NoiseScales,
    SirenScales,
    TargetTraits,
    add_noise_,
    axes_of,
    compute_noise_scales,
    describe_network,
    find_network_to_perturb,
    gradient_control,
    initialize_,
    match_weight_scaling,
    scaled_init_,
    weight_scaling,
)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def linears(module):
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


class Lambda(nn.Module):
    """A sine as people write it: no omega_0 attribute to be found."""

    def forward(self, x):
        return torch.sin(30 * x)


class Custom(nn.Module):
    """A network that is no Sequential and has layers that WINNER must leave alone."""

    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleDict({"a": nn.Linear(2, 64), "b": nn.Linear(64, 64)})
        self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


@given(st.integers(1, 4), st.integers(2, 64), st.integers(2, 5), st.floats(1, 100), st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_siren_weights_keep_their_bounds(in_dim, hidden, layers, omega, seed):
    network = Siren(in_dim, 2, hidden, layers, omega_0=omega)
    siren_init_(network, seed=seed)
    first, *rest = linears(network)
    assert len(rest) == layers
    assert first.weight.abs().max() <= 1 / in_dim
    for layer in rest:
        assert layer.weight.abs().max() <= math.sqrt(6 / hidden) / omega
        assert layer.bias.abs().max() <= 1 / math.sqrt(hidden)


def test_siren_weights_fill_their_bounds():
    network = Siren(3, 1, 256, 4)
    siren_init_(network, seed=0)
    first, second, *_ = linears(network)
    # The standard deviation of U(-b, b) is b / sqrt(3).
    assert first.weight.std() == pytest.approx(1 / 3 / math.sqrt(3), rel=0.05)
    assert second.weight.std() == pytest.approx(math.sqrt(6 / 256) / 30 / math.sqrt(3), rel=0.02)
    assert second.bias.std() == pytest.approx(1 / math.sqrt(256) / math.sqrt(3), rel=0.15)


def test_the_network_is_the_formula():
    network = Siren(2, 1, 8, 2, omega_0=20, first_omega_0=50)
    a, b, c = linears(network)
    x = torch.randn(5, 2)
    expected = c(torch.sin(20 * b(torch.sin(50 * a(x)))))
    torch.testing.assert_close(network(x), expected)


@given(st.floats(0, 50), st.floats(0, 1), st.integers(0, 2**40))
@settings(max_examples=25, deadline=None)
def test_noise_touches_the_first_two_weights_and_nothing_else(s0, s1, seed):
    plain, noisy = Siren(3, 1, 32, 4), Siren(3, 1, 32, 4)
    siren_init_(plain, seed=seed)
    winner_init_(noisy, s0=s0, s1=s1, seed=seed)
    for name, value in plain.state_dict().items():
        if name == "0.weight" and s0 > 0.001:
            assert not torch.equal(value, noisy.state_dict()[name])
        elif name not in ("0.weight", "2.weight"):
            assert torch.equal(value, noisy.state_dict()[name]), name


def test_no_noise_is_siren_to_the_bit():
    plain, noisy = Siren(3, 1, 64, 3), Siren(3, 1, 64, 3)
    siren_init_(plain, seed=5)
    winner_init_(noisy, s0=0, s1=0, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), noisy.parameters(), strict=True))


def test_the_noise_has_the_scale_it_says():
    plain, noisy = Siren(3, 1, 512, 3, omega_0=20), Siren(3, 1, 512, 3, omega_0=20)
    siren_init_(plain, seed=1)
    winner_init_(noisy, s0=40, s1=0.3, seed=1)
    first, second = (a.weight - b.weight for a, b in list(zip(linears(noisy), linears(plain), strict=True))[:2])
    # Divided by the hidden omega_0, for both layers.
    assert first.std() == pytest.approx(40 / 20, rel=0.05)
    assert second.std() == pytest.approx(0.3 / 20, rel=0.01)
    assert abs(first.mean()) < 4 * 2 / math.sqrt(first.numel())


@pytest.mark.quality
@pytest.mark.parametrize("d, s0", [(1, 0.0), (1, 100.0), (2, 20.0), (3, 8.0)])
def test_the_first_layers_frequencies_spread_as_the_theory_says(d, s0):
    first = []
    for seed in range(8):
        network = Siren(d, 1, 1024, 2)
        winner_init_(network, s0=s0, s1=0, seed=seed)
        first.append(linears(network)[0].weight)
    expected = math.sqrt((30 / d) ** 2 / 3 + s0**2)
    assert (30 * torch.cat(first)).std() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("s1", [0.05, 0.1, 0.3])
def test_the_second_layers_argument_varies_as_the_theory_says(s1):
    """Var = const + h s1^2 / 2 where the first layer's phases are uniform."""
    hidden, coords = 512, torch.rand(4096, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def variance(scale):
        network = Siren(1, 1, hidden, 2)
        winner_init_(network, s0=500, s1=scale, seed=7)  # a wide first layer: phases over many turns
        first, second, _ = linears(network)
        return float((30 * second(torch.sin(30 * first(coords)))).var())

    assert variance(s1) - variance(0.0) == pytest.approx(hidden * s1**2 / 2, rel=0.08)


def test_applied_twice_it_starts_afresh():
    once, twice = Siren(2, 1, 32, 3), Siren(2, 1, 32, 3)
    winner_init_(once, s0=20, s1=0.2, seed=4)
    winner_init_(twice, s0=90, s1=0.9, seed=8)
    winner_init_(twice, s0=20, s1=0.2, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(), strict=True))


def test_without_reinitialization_it_only_adds_to_the_weights():
    network = Siren(2, 1, 32, 3)
    before = weights(network)
    winner_init_(network, s0=20, s1=0.2, seed=4, reinitialize=False)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"0.weight", "2.weight"}
    assert (network[0].weight - before["0.weight"]).std() == pytest.approx(20 / 30, rel=0.3)


def test_with_a_seed_the_global_generator_is_left_alone():
    network = Siren(2, 1, 32, 3)
    state = torch.get_rng_state()
    winner_init_(network, s0=20, s1=0.2, seed=4)
    assert torch.equal(state, torch.get_rng_state())


def test_torchs_default_device_changes_nothing():
    networks = [nn.Sequential(nn.Linear(2, 8), Lambda(), nn.Linear(8, 8), Lambda(), nn.Linear(8, 3)) for _ in range(2)]
    winner_init_(networks[0], target=IMAGE, seed=4)
    with torch.device("meta"):  # what is made there by accident has no values
        winner_init_(networks[1], target=IMAGE, seed=4)
    assert same(*networks)


def test_a_seed_may_be_one_of_numpys():
    networks = Siren(2, 1, 8, 2), Siren(2, 1, 8, 2)
    for network, seed in zip(networks, (np.int64(4), 4), strict=True):
        winner_init_(network, s0=20, s1=0.2, seed=seed)
    assert same(*networks)


def test_without_a_seed_it_follows_torch():
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(Siren(2, 1, 32, 3))
        winner_init_(networks[-1], s0=20, s1=0.2)
    winner_init_(other := Siren(2, 1, 32, 3), s0=20, s1=0.2)
    assert torch.equal(networks[0][0].weight, networks[1][0].weight)
    assert not torch.equal(networks[0][0].weight, other[0].weight)


def test_a_plain_sequential_gets_the_same_as_our_network():
    plain = nn.Sequential(nn.Linear(2, 32), Lambda(), nn.Linear(32, 32), Lambda(), nn.Linear(32, 1))
    ours = Siren(2, 1, 32, 2)
    winner_init_(plain, s0=20, s1=0.2, seed=4)
    winner_init_(ours, s0=20, s1=0.2, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), ours.parameters(), strict=True))


def test_a_nested_sequential_is_read_in_order():
    block = nn.Sequential(nn.Linear(32, 32), Sine(10))
    network = nn.Sequential(nn.Sequential(nn.Linear(2, 32), Sine(50)), block, nn.Linear(32, 1))
    winner_init_(network, s0=0, s1=0, seed=0)
    # The hidden frequency is the second sine's.
    assert block[0].weight.abs().max() == pytest.approx(math.sqrt(6 / 32) / 10, rel=0.05)


@pytest.mark.parametrize("by_name", [True, False])
def test_any_module_whose_layers_are_named(by_name):
    network = Custom()
    before = weights(network)
    layers = ("inner.a", "inner.b") if by_name else (network.inner["a"], network.inner["b"])
    result = winner_init_(network, centroid=0.1, schedule=NoiseSchedule.reference(), layers=layers, seed=2)
    assert result == Initialization(0.1, "reference", *NoiseSchedule.reference()(0.1, dim=2))
    untouched = {name for name, value in network.state_dict().items() if torch.equal(value, before[name])}
    assert untouched == {name for name in before if name.startswith("head")}


def test_a_target_gives_the_same_as_its_centroid():
    image = np.random.default_rng(1).normal(size=(16, 24, 3))
    by_target, by_centroid = Siren(2, 3, 32, 3), Siren(2, 3, 32, 3)
    reference = NoiseSchedule.reference()
    initialization = winner_init_(by_target, target=image, schedule=reference, seed=1)
    centroid = initialization.centroid
    assert initialization.s0 == pytest.approx(50 * (1 - math.exp(-5 * centroid / 9)))
    assert winner_init_(by_centroid, centroid=centroid, schedule=reference, seed=1) == initialization
    assert torch.equal(by_target[0].weight, by_centroid[0].weight)


def test_an_initialization_prints_in_one_line():
    network = Siren(1, 1, 16, 2)
    reference = NoiseSchedule.reference()
    initialization = winner_init_(network, centroid=0.1, schedule=reference)
    assert str(initialization) == "psi=0.1, schedule=reference, s0=1.76e+03, s1=0.3"
    assert str(winner_init_(network, s0=3, s1=0.25)) == "schedule=fixed, s0=3, s1=0.25"


def tied(first, second):
    """A network of layers of two units, of which two share a weight."""
    network = Siren(2, 2, 2, 4)
    network[second].weight = network[first].weight
    return network


@pytest.mark.parametrize(
    "network, arguments, words",
    [
        (Siren(2, 1), {}, "exactly one"),
        (Siren(2, 1), {"centroid": 0.1, "s0": 1.0, "s1": 1.0}, "exactly one"),
        (Siren(2, 1), {"s0": 1.0}, "go together"),
        (Siren(2, 1), {"s0": -1.0, "s1": 0.0}, "not negative"),
        (Siren(2, 1), {"target": np.zeros(8)}, "2 spatial axes"),
        (Siren(2, 1, num_layers=1), {"centroid": 0.1}, "two sine layers; this network has 1"),
        (nn.Linear(2, 2), {"centroid": 0.1}, "name its first two Linear layers"),
        (nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 4)), {"centroid": 0.1}, "ReLU"),
        (Custom(), {"centroid": 0.1, "layers": ("inner.a", "inner.c")}, "inner.c"),
        (Siren(2, 1), {"centroid": 0.1, "omega_0": 0}, "omega_0"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "hidden_biases": math.nan}, "hidden_biases=nan must be finite"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "seed": 1.5}, "seed=1.5 must be a whole number"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "seed": 2**64}, "at most 64 bits"),
        (Siren(2, 1), {"centroid": 0.1, "schedule": "reference"}, "give one, such as NoiseSchedule.reference"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "layers": ("0", "0")}, "names one layer twice"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "layers": (nn.Tanh(), "2")}, "names a Tanh: Tanh has no real weight"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "layers": 5}, "layers=5 must be two"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "hidden_biases": -1.0}, "hidden_biases=-1.0 must be finite and not neg"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1e300}, "s1=1e.300 must be finite and not negative, at most 1e.30"),
        (Siren(2, 1), {"s0": "x", "s1": 1.0}, "s0='x' must be finite"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "omega_0": "x"}, "omega_0='x' must be a number, positive and finite"),
        (Siren(2, 1), {"centroid": "x", "samples": 9}, "centroid='x' must lie in"),
        (Siren(2, 1), {"centroid": 0.1, "samples": math.inf}, "samples=inf must be a whole number, at least 1"),
        (Siren(2, 1), {"centroid": 0.1, "samples": math.nan}, "samples=nan must be a whole number, at least 1"),
        (Siren(2, 1), {"centroid": 0.1, "samples": 9, "dim": "x"}, "dim='x' must be a whole number"),
        (Siren(2, 1), {"centroid": 0.1, "samples": 9, "channels": 0.5}, "channels=0.5 must be a whole number"),
        (Siren(2, 1), {"centroid": 0.1, "axes": 3}, "axes=3 must be a list of Axis"),
        (Siren(2, 1), {"centroid": 0.1, "axes": [Axis(5.0, 16), Axis(0.2, 16)]}, "centroid=5.0 must lie in"),
        (Siren(2, 1), {"centroid": 0.1, "axes": [Axis(0.5, 16), Axis(0.2, -4)]}, "samples=-4 must be a whole number"),
        (tied(0, 2), {"centroid": 0.1, "samples": 9}, "layer 1 of this network shares its weight"),
        (tied(2, 6), {"centroid": 0.1, "samples": 9}, "layer 2 of this network shares its weight"),
        (Siren(2, 1), {"target": np.zeros((8, 9)), "samples": 9}, "samples=9 goes with a centroid"),
        (Siren(2, 1), {"centroid": 0.1, "samples": 9, "axes": [Axis(0.1, 9)] * 2}, "samples=9 goes with a centroid"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "samples": -5}, "without a schedule and what only it needs"),
        (Siren(2, 1), {"s0": 1.0, "s1": 1.0, "dim": 2}, "without a schedule and what only it needs"),
    ],
)
def test_calls_that_make_no_sense_are_refused_and_change_nothing(network, arguments, words):
    before = weights(network)
    with pytest.raises(ValueError, match=words):
        winner_init_(network, **arguments)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "initialization, words",
    [
        (None, "a NoneType is no Initialization"),
        (Initialization(None, "mine", 1.0, 0.1, axes=(1.0, 2.0, 3.0)), "each of the network's 2 inputs"),
        (Initialization(None, "mine", 1.0, math.nan), "s1=nan must be finite"),
        (Initialization(None, "mine", 1.0, 0.1, factors=(1.0, -1.0)), "factors=-1.0 must be finite and not negative"),
    ],
)
@pytest.mark.parametrize("apply", [initialize_, add_noise_])
def test_an_initialization_that_does_not_fit_changes_nothing(apply, initialization, words):
    network = Siren(2, 1, 8, 2)
    before = weights(network)
    with pytest.raises(ValueError, match=words):
        apply(network, initialization)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("factor", [math.nan, math.inf, -1, "x", None])
def test_factors_of_no_sense_change_nothing(factor):
    network = Siren(2, 1, 8, 2)
    before = weights(network)
    with pytest.raises(ValueError, match=r"the factor first=.* must be finite and not negative"):
        scaled_init_(network, weight_scaling(factor))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_numbers_may_be_of_any_library():
    plain, others = Siren(2, 1, 8, 2), Siren(2, 1, 8, 2)
    first = winner_init_(plain, centroid=0.5, samples=9, omega_0=20.0, seed=1)
    second = winner_init_(others, centroid=np.float64(0.5), samples=np.int64(9), omega_0=torch.tensor(20.0), seed=1)
    assert first == second
    assert all(torch.equal(value, others.state_dict()[name]) for name, value in plain.state_dict().items())


class Dithered(nn.Module):
    """A sine that draws random numbers."""

    def forward(self, x):
        return torch.sin(30 * x + 0 * torch.rand(1))


def test_looking_for_sines_leaves_the_global_generator_alone():
    network = nn.Sequential(nn.Linear(2, 8), Dithered(), nn.Linear(8, 8), Dithered(), nn.Linear(8, 1))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    winner_init_(network, s0=1.0, s1=0.1, seed=1)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("module", [None, Siren, [Siren(2, 1)], torch.sin])
def test_what_is_no_module_is_refused(module):
    for initialise in (lambda: siren_init_(module), lambda: winner_init_(module, s0=1.0, s1=1.0, layers=("0", "2"))):
        with pytest.raises(ValueError, match=r"is no network; give a torch\.nn\.Module"):
            initialise()


@pytest.mark.parametrize(
    "arguments, word",
    [((0, 1), "in_dim"), ((1, 0), "out_dim"), ((1, 1, 0), "hidden_dim"), ((1, 1, 8, 0), "num_layers")],
)
def test_networks_without_size_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        Siren(*arguments)


IMAGE = torch.rand(16, 24, 3, generator=torch.Generator().manual_seed(0))


def same(network, other):
    return all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_computing_the_scales_leaves_the_weights_and_the_global_generator_alone():
    network = Siren(2, 3, 32, 3)
    before, state = weights(network), torch.get_rng_state()
    compute_noise_scales(network, target=IMAGE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "make, arguments, options",
    [
        (lambda: Siren(2, 3, 32, 3), {"target": IMAGE}, {}),
        (lambda: Siren(2, 3, 32, 3), {"target": IMAGE, "schedule": NoiseSchedule.reference()}, {}),
        (lambda: Siren(2, 3, 32, 3), {"centroid": 0.3, "samples": 20}, {}),
        (lambda: Siren(2, 3, 32, 3), {"centroid": 0.3, "axes": axes_of(IMAGE)}, {}),
        (lambda: Siren(2, 3, 32, 3), {"target": IMAGE}, {"layers": ("0", "2"), "omega_0": 20.0}),
        (lambda: build_network("siren-rff", in_dim=2, out_dim=3, hidden_dim=32), {"target": IMAGE}, {}),
    ],
    ids=["matched", "reference", "samples", "axes", "layers", "encoded"],
)
@pytest.mark.parametrize("apply, reinitialize", [(initialize_, True), (add_noise_, False)])
def test_the_two_steps_give_what_the_short_form_gives(make, arguments, options, apply, reinitialize):
    networks = []
    for _ in range(2):
        torch.manual_seed(1)
        networks.append(make())
    short = winner_init_(networks[0], **arguments, **options, seed=4, reinitialize=reinitialize)
    initialization = compute_noise_scales(networks[1], **arguments, **options)
    apply(networks[1], initialization, **options, seed=4)
    assert initialization == short
    assert same(*networks)


def test_scales_set_by_hand_are_applied_as_by_the_short_form():
    short, network = Siren(2, 1, 32, 3), Siren(2, 1, 32, 3)
    initialization = Initialization.fixed(20, 0.2)
    assert winner_init_(short, s0=20, s1=0.2, seed=4) == initialization == (None, "fixed", 20, 0.2, (), (), 1.0)
    initialize_(network, initialization, seed=4)
    assert same(short, network)


def test_added_noise_is_the_difference_to_siren():
    plain, noisy, network = Siren(2, 1, 32, 3), Siren(2, 1, 32, 3), Siren(2, 1, 32, 3)
    initialization = Initialization.fixed(20, 0.2)
    siren_init_(plain, seed=4)
    initialize_(noisy, initialization, seed=4)
    siren_init_(network, seed=4)
    add_noise_(network, initialization, seed=4)
    assert same(network, noisy)
    assert not same(network, plain)


def test_the_hidden_biases_are_part_of_the_initialization():
    network = Siren(2, 3, 32, 3)
    assert compute_noise_scales(network, target=IMAGE).hidden_biases == 0
    assert compute_noise_scales(network, target=IMAGE, schedule=NoiseSchedule.paper()).hidden_biases == 1
    assert winner_init_(network, target=IMAGE, hidden_biases=0.5).hidden_biases == 0.5


@pytest.mark.parametrize("arguments", [{}, {"target": IMAGE, "centroid": 0.1}])
def test_scales_come_from_a_target_or_from_its_centroid(arguments):
    with pytest.raises(ValueError, match="exactly one of: target, centroid"):
        compute_noise_scales(Siren(2, 3, 32, 3), **arguments)


@pytest.mark.parametrize("apply", [initialize_, add_noise_])
def test_one_sine_layer_is_too_few_to_apply_noise_to(apply):
    network = Siren(2, 1, 8, num_layers=1)
    before = weights(network)
    with pytest.raises(ValueError, match="two sine layers; this network has 1"):
        apply(network, Initialization.fixed(20, 0.2), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_network_is_described_to_the_rules():
    network = find_network_to_perturb(Siren(2, 3, 32, 5, omega_0=20, first_omega_0=300))
    assert describe_network(network, dim=2) == NetworkTraits(32, 5, 300, 20, takes_coordinates=True)
    assert not describe_network(network, dim=3).takes_coordinates
    assert find_network_to_perturb(Siren(2, 3)).frequencies == (30, 30, 30)
    two = find_network_to_perturb(Siren(2, 3, 32, 5), layers=("0", "2"))
    assert describe_network(two, dim=2) == NetworkTraits(32, 2)
    behind = find_network_to_perturb(nn.Sequential(nn.Linear(1, 2), nn.ReLU(), Siren(2, 3)))
    assert not describe_network(behind, dim=2).takes_coordinates


class Wave(nn.Module):
    """A solver whose omega is that of its equation, not of its network's sines."""

    def __init__(self, network):
        super().__init__()
        self.omega = 2 * math.pi * 50
        self.network = network


def test_a_name_outside_a_network_is_not_the_frequency_of_its_sines():
    assert find_network_to_perturb(Wave(Siren(2, 1))).frequencies == (30, 30, 30)
    plain = nn.Sequential(nn.Linear(2, 8), Lambda(), nn.Linear(8, 8), Lambda(), nn.Linear(8, 1))
    with pytest.raises(ValueError, match=r"a Wave names the frequency 314\.159, but its sines have 30; pass omega_0="):
        find_network_to_perturb(Wave(plain))
    assert find_network_to_perturb(Wave(plain), omega_0=30.0).frequencies == (30, 30, 30)


@pytest.mark.parametrize("make", [lambda: Siren(2, 1), lambda: nn.Sequential(*Siren(2, 1))])
def test_the_frequency_of_named_layers_is_not_that_of_another_network(make):
    two = nn.ModuleDict({"a": Siren(2, 1, first_omega_0=3000), "b": make()})
    assert find_network_to_perturb(two, layers=("b.0", "b.2")).frequencies == (30, 30, 30)
    assert find_network_to_perturb(two, layers=("a.0", "a.2")).frequencies == (3000, 30, 30)


def test_a_rule_that_is_added_sees_the_target_and_the_network(monkeypatch):
    seen = []

    def rule(target, network):
        seen.append((target, network))
        return NoiseScales(7.0, 0.5)

    monkeypatch.setitem(SCHEDULES, "mine", lambda: NoiseSchedule("mine", rule))
    found = winner_init_(Siren(2, 3, 32, 5), target=IMAGE, schedule=SCHEDULES["mine"]())
    assert str(found).endswith("schedule=mine, s0=7, s1=0.5")
    assert seen == [(TargetTraits(found.centroid, 3, 2, axes_of(IMAGE)), NetworkTraits(32, 5))]


def test_scales_of_one_are_siren_to_the_bit():
    one, other = Siren(2, 3, 32), Siren(2, 3, 32)
    siren_init_(one, seed=5)
    scaled_init_(other, SirenScales(), seed=5)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def test_a_network_that_cannot_be_scaled_stays_as_it_is():
    network = nn.Sequential(nn.Linear(2, 3), Sine(30.0))
    before = network[0].weight.clone()
    with pytest.raises(ValueError, match="this network has one layer"):
        scaled_init_(network, weight_scaling(2.0), seed=0)
    assert torch.equal(network[0].weight, before)


def test_weights_that_would_be_scaled_twice_are_left_alone():
    network = tied(4, 6)
    before = weights(network)
    with pytest.raises(ValueError, match="layers of this network share one weight"):
        scaled_init_(network, weight_scaling(2.0), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert winner_init_(network, s0=1.0, s1=0.1, seed=0), "a weight that two later layers share gets no noise"


def test_behind_an_encoding_three_axes_need_scales():
    network = build_network("siren-rff", in_dim=3, out_dim=1, hidden_dim=32)
    with pytest.raises(ValueError, match=r"three axes behind an encoding; give s0 and s1$"):
        winner_init_(network, target=torch.rand(8, 8, 8))


def test_a_network_that_was_found_has_its_own_frequency():
    with pytest.raises(ValueError, match="leave omega_0 out"):
        siren_init_(find_network_to_perturb(Siren(2, 3, 8, 2)), omega_0=1.0, seed=0)


@pytest.mark.parametrize("omega", [20.0, 30.0])
def test_weight_scaling_multiplies_all_weights_but_the_last(omega):
    siren, scaled = Siren(2, 3, 32, 4, omega_0=omega), Siren(2, 3, 32, 4, omega_0=omega)
    siren_init_(siren, seed=5)
    scaled_init_(scaled, weight_scaling(3.0), seed=5)
    pairs = list(zip(linears(siren), linears(scaled), strict=True))
    assert all(torch.equal(3 * before.weight, after.weight) for before, after in pairs[:-1])
    assert torch.equal(pairs[-1][0].weight, pairs[-1][1].weight)
    assert all(torch.equal(before.bias, after.bias) for before, after in pairs)
    assert SCALED["weight-scaling"]([], NetworkTraits()) == weight_scaling(2.5)


@pytest.mark.parametrize("dim, centroid, samples", [(1, 0.3, 1000), (2, 0.25, 100)])
def test_matched_scaling_begins_with_the_targets_frequency(dim, centroid, samples):
    axes = [Axis(centroid, samples)] * dim
    scales = match_weight_scaling(axes, NetworkTraits(hidden_dim=1000))
    network = Siren(dim, 1, 1000)
    scaled_init_(network, scales, seed=0)
    with torch.enable_grad():
        points = torch.rand(400, dim, generator=torch.Generator().manual_seed(9)).requires_grad_()
        sines = nn.Sequential(*list(network)[:-1])(points)
        (slope,) = torch.autograd.grad(
            (sines * torch.randn(1000, generator=torch.Generator().manual_seed(8))).sum(), points
        )
    frequency = (slope[:, 0].square().mean() / 1000 / sines.square().mean()).sqrt()
    assert frequency == pytest.approx(axes[0].nyquist * centroid**1.2, rel=0.25)
    assert scales == SirenScales(scales.first, scales.first, 1.0, 0.0)
    assert match_weight_scaling([Axis(0.0, 100)], NetworkTraits()).first == 1, "of silence"
    for axes, exactness, words in (([], 0.4, "axes=.. must be"), ([Axis(0.1, 9)], 5, "exactness=5 must lie in")):
        with pytest.raises(ValueError, match=words):
            match_weight_scaling(axes, NetworkTraits(), exactness)
    with pytest.raises(ValueError, match="behind an encoding"):
        match_weight_scaling(axes, NetworkTraits(takes_coordinates=False))


def test_gradient_control_keeps_a_layers_mean_square_gain_at_one():
    network = Siren(2, 3, 512, 6, omega_0=20.0)
    scaled_init_(network, gradient_control(), seed=0)
    first, *hidden, last = linears(network)
    assert first.weight.abs().max() == pytest.approx(1 / 2, rel=0.01), "SIREN's"
    assert not any(layer.bias.any() for layer in hidden)
    assert last.bias.any()
    for layer in (*hidden, last):
        assert layer.weight.abs().max() == pytest.approx(math.sqrt(3 / 512) / 20, rel=0.01)
    # Around arguments of 0, where every cosine is 1, a layer multiplies a vector's mean square by one.
    vectors = torch.randn(64, 512, generator=torch.Generator().manual_seed(1))
    gain = (20 * vectors @ hidden[0].weight.T).square().mean() / vectors.square().mean()
    assert gain == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("name", ["networks", "winner.init", "winner.scaled", "winner.scales", "winner.schedule"])
def test_the_examples_in_the_docstrings_run(name):
    module = importlib.import_module(f"winner_nerfstudio.{name}")
    with patch.dict(NETWORKS), patch.dict(SCHEDULES):
        result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
