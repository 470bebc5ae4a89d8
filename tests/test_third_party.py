"""winner_init_ and siren_init_ on networks of other makes, as they come."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from nerfstudio.field_components.mlp import MLP
from siren_pytorch import SirenNet, SirenWrapper
from torch import nn

from winner_nerfstudio import NoiseSchedule, Siren, siren_init_, winner_init_
from winner_nerfstudio.networks import Finer, HSiren, Sine
from winner_nerfstudio.networks.encodings import FourierFeatures, PositionalEncoding
from winner_nerfstudio.networks.finer import VariableSine
from winner_nerfstudio.networks.gauss import Gaussian
from winner_nerfstudio.networks.wire import Gabor
from winner_nerfstudio.signals.samples import SOUNDS
from winner_nerfstudio.winner.parts import measure_sine_frequency

NOISE = {"s0": 20.0, "s1": 0.2, "seed": 4}


def siren(in_dim=2, out_dim=1, hidden_dim=32, num_layers=3, **frequencies):
    """Our network with the noise that the tests give to others."""
    network = Siren(in_dim, out_dim, hidden_dim, num_layers, **frequencies)
    winner_init_(network, **NOISE)
    return network


def same(network, other):
    return all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


class Lambda(nn.Module):
    """A sine that names no frequency."""

    def __init__(self, frequency=30):
        super().__init__()
        self.function = lambda x: torch.sin(frequency * x)

    def forward(self, x):
        return self.function(x)


class Learned(nn.Module):
    """A sine whose frequency is learned."""

    def __init__(self, frequency):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(frequency))

    def forward(self, x):
        return torch.sin(self.scale * x)


class Bounded(nn.Module):
    """Rises from 0 and stays within [-1, 1], as a sine, but never turns."""

    def forward(self, x):
        return torch.tanh(3 * x)


class Shifted(nn.Module):
    """A sine with a phase, whose slope at 0 is not its frequency."""

    def forward(self, x):
        return torch.sin(3 * x + 1)


class SineLayer(nn.Module):
    """A layer that calls torch.sin itself, as in SIREN's own code."""

    def __init__(self, fan_in, fan_out, omega_0=30.0):
        super().__init__()
        self.omega_0 = omega_0
        self.linear = nn.Linear(fan_in, fan_out)

    def forward(self, x):
        return torch.sin(self.omega_0 * self.linear(x))


class Whole(nn.Module):
    """A network that calls torch.sin itself and names the frequency once."""

    def __init__(self):
        super().__init__()
        self.w0 = 30
        self.first, self.second, self.out = nn.Linear(2, 32), nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, x):
        for layer in (self.first, self.second):
            x = torch.sin(self.w0 * layer(x))
        return self.out(x)


class LearnedEncoding(nn.Module):
    """Sines and cosines of learned directions."""

    def __init__(self):
        super().__init__()
        self.directions = nn.Linear(2, 9, bias=False)
        self.scale = nn.Parameter(torch.ones(18))

    def forward(self, x):
        angles = self.directions(x)
        return torch.cat([angles.sin(), angles.cos()], -1) * self.scale


class Encoded(nn.Module):
    """An encoding and a network, side by side."""

    def __init__(self, encoding, network):
        super().__init__()
        self.encoding, self.network = encoding, network

    def forward(self, x):
        return self.network(self.encoding(x))


def sine_layers():
    return nn.Sequential(SineLayer(2, 32), SineLayer(32, 32), SineLayer(32, 32), nn.Linear(32, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SirenNet(2, 32, 1, 3, w0=30.0),
        lambda: SirenNet(2, 32, 1, 3, w0=30.0, final_activation=nn.Sigmoid(), dropout=0.1),
        lambda: MLP(2, 4, 32, 1, activation=Sine(30.0)),
        lambda: MLP(2, 4, 32, 1, activation=Lambda(), out_activation=nn.Tanh()),
        sine_layers,
        lambda: nn.Sequential(
            nn.Sequential(nn.Linear(2, 32), Lambda(), nn.Sequential(nn.Linear(32, 32), Lambda())),
            nn.Sequential(nn.Linear(32, 32), Lambda()),
            nn.Linear(32, 1),
        ),
        lambda: torch.compile(Siren(2, 1, 32, 3)),
        lambda: nn.DataParallel(torch.compile(SirenNet(2, 32, 1, 3, w0=30.0))),
    ],
    ids=["siren-pytorch", "with-ends", "nerfstudio", "lambda", "sine-layers", "nested", "compiled", "data-parallel"],
)
@pytest.mark.parametrize("initialise", [lambda n: winner_init_(n, **NOISE), lambda n: siren_init_(n, seed=4)])
def test_it_gets_the_weights_of_our_siren(make, initialise):
    network, ours = make(), Siren(2, 1, 32, 3)
    initialise(network)
    initialise(ours)
    assert same(network, ours)


def test_a_network_that_names_its_frequency_once():
    network = Whole()
    winner_init_(network, **NOISE)
    assert same(network, siren(num_layers=2))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [np.float32(20), np.int64(20), nn.Parameter(torch.tensor(20.0))])
def test_a_frequency_may_be_named_by_any_number(number):
    network = nn.ModuleDict({"a": nn.Linear(2, 32), "b": nn.Linear(32, 32), "out": nn.Linear(32, 1)})
    network.w0 = number
    winner_init_(network, **NOISE)
    assert torch.equal(network["b"].weight, siren(num_layers=2, omega_0=20.0)[2].weight)


def test_siren_pytorchs_modulator_is_left_alone():
    wrapper = SirenWrapper(SirenNet(2, 32, 1, 3, w0=30.0), 4, 4, latent_dim=5)
    before = state_of(wrapper.modulator)
    winner_init_(wrapper, **NOISE)
    assert same(wrapper.net, siren())
    assert all(torch.equal(value, before[name]) for name, value in wrapper.modulator.state_dict().items())


def test_a_target_gives_siren_pytorch_what_it_gives_our_siren():
    target = np.random.default_rng(0).normal(size=(16, 24, 3))
    network, ours = SirenNet(2, 32, 3, 3, w0=30.0), Siren(2, 3, 32, 3)
    assert winner_init_(network, target=target, seed=1) == winner_init_(ours, target=target, seed=1)
    assert same(network, ours)


def test_siren_pytorchs_own_weights_have_the_bounds_of_siren():
    torch.manual_seed(0)
    network = SirenNet(2, 512, 512, 3, w0=20.0)
    theirs = [weight.detach() for weight in network.parameters() if weight.ndim == 2]
    bounds = [1 / 2, *[math.sqrt(6 / 512) / 20] * 3]
    for weight, bound in zip(theirs, bounds, strict=True):
        assert weight.abs().max() == pytest.approx(bound, rel=0.01)
    siren_init_(network, seed=0)
    for weight, bound in zip(theirs, bounds, strict=True):
        assert weight.abs().max() == pytest.approx(bound, rel=0.01)


def test_the_noise_means_the_same_whatever_the_hidden_frequency():
    """Hidden sines of w0 = 1 with weights 30 times as large are the same function; so is it with the noise."""
    slow, fast = (SirenNet(2, 64, 1, 3, w0=w0, w0_initial=30.0, use_bias=False) for w0 in (1.0, 30.0))
    for network in (slow, fast):
        winner_init_(network, **NOISE)
    coords = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    # The output layer is linear, and its weights are 30 times as large as well.
    torch.testing.assert_close(slow(coords), 30 * fast(coords), rtol=1e-3, atol=1e-3)


def test_layers_of_any_make_can_be_named():
    network = SirenNet(2, 32, 1, 3, w0=30.0)
    before = state_of(network)
    winner_init_(network, layers=("layers.0", network.layers[1]), **NOISE)
    ours = siren()
    assert torch.equal(network.layers[0].weight, ours[0].weight)
    assert torch.equal(network.layers[1].weight, ours[2].weight)
    assert torch.equal(network.layers[2].weight, before["layers.2.weight"])
    assert torch.equal(network.last_layer.weight, before["last_layer.weight"])


@pytest.mark.parametrize("join", [nn.Sequential, Encoded])
@pytest.mark.parametrize(
    "encoding, inputs",
    [(PositionalEncoding(4, True), 18), (FourierFeatures(2, 9, 1.0), 18), (LearnedEncoding(), 18)],
)
@pytest.mark.parametrize("shape, outputs", [((16, 24, 3), 3), ((16, 24), 1), ((16, 24, 1), 1)])
def test_behind_an_encoding_the_outputs_say_which_axes_are_the_targets(join, encoding, inputs, shape, outputs):
    network, ours = join(encoding, Siren(inputs, outputs, 32, 3)), Siren(inputs, outputs, 32, 3)
    before = state_of(encoding)
    target = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    initialization = winner_init_(network, target=target, seed=1)
    assert initialization == winner_init_(ours, target=target, dim=2, seed=1)
    assert same(network[1] if join is nn.Sequential else network.network, ours)
    assert all(torch.equal(value, before[name]) for name, value in encoding.state_dict().items())


def encoded():
    return nn.Sequential(PositionalEncoding(4, True), Siren(18, 3, 32, 3))


@pytest.mark.parametrize(
    "make, arguments",
    [
        (encoded, {"centroid": 0.1, "samples": 24}),
        (encoded, {"target": torch.rand(64, 96), "channels": 1}),
        (lambda: Siren(18, 3, 32, 3), {"centroid": 0.4, "samples": 96}),
        (lambda: Siren(18, 3, 32, 3), {"target": torch.rand(64, 96, 3), "layers": ("0", "2")}),
    ],
)
def test_axes_that_cannot_be_inferred_are_asked_for(make, arguments):
    network = make()
    before = state_of(network)
    with pytest.raises(ValueError, match="inputs are not the target's coordinates; pass dim=, its number of axes"):
        winner_init_(network, **arguments)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    # The matched rule knows the frequencies of coordinates alone.
    assert winner_init_(network, **arguments, dim=2).schedule == "reference"
    with pytest.raises(ValueError, match="doesn't know the frequencies of what stands before the network; give s0"):
        winner_init_(network, **arguments, dim=2, schedule=NoiseSchedule.matched())


def test_as_many_features_as_a_target_could_have_axes_are_no_axes():
    network, sound = nn.Sequential(FourierFeatures(1, 1, 1.0), Siren(2, 1, 32, 3)), torch.rand(64)
    reference = {"target": sound, "schedule": NoiseSchedule.reference()}
    assert winner_init_(network, **reference) == winner_init_(Siren(1, 1, 32, 3), **reference)


def test_an_encoding_may_also_stand_outside_the_network():
    target = torch.rand(16, 24, generator=torch.Generator().manual_seed(0))
    reference = {"target": target, "schedule": NoiseSchedule.reference()}
    assert winner_init_(Siren(18, 1, 32, 3), **reference) == winner_init_(Siren(2, 1, 32, 3), **reference)


def test_a_flat_sequential_may_begin_with_an_encoding():
    network = nn.Sequential(PositionalEncoding(4, True), *Siren(18, 1, 32, 3))
    assert winner_init_(network, target=torch.rand(16, 24)).schedule == "reference"
    winner_init_(network, **NOISE)
    assert same(network, siren(18))


@pytest.mark.parametrize(
    "module, frequency",
    [
        (Sine(7), 7),
        (Lambda(), 30),
        (Lambda(3000), 3000),
        (Learned(20.0), 20),
        (VariableSine(5), 5),
        (Bounded(), None),
        (Shifted(), None),
        (Gaussian(), None),
        (Gabor(), None),
        (nn.Tanh(), None),
        (PositionalEncoding(4, True), None),
        (FourierFeatures(1, 1, 1.0), None),
        (LearnedEncoding(), None),
    ],
)
def test_a_sine_is_known_by_what_it_computes(module, frequency):
    with torch.no_grad():
        assert measure_sine_frequency(module) == frequency
    with torch.inference_mode():
        assert measure_sine_frequency(module) == frequency


class Counting(nn.Module):
    """A sine with a count and a frequency that are whole numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.tensor(3))
        self.register_buffer("scale", torch.tensor(20))

    def forward(self, x):
        return torch.sin(self.scale * x)


def test_a_sine_that_holds_whole_numbers_is_known_and_what_is_hooked_to_it_is_not_called():
    module, seen = Counting(), []
    module.register_forward_hook(lambda *_: seen.append(1))
    assert measure_sine_frequency(module) == 20
    assert not seen


@pytest.mark.parametrize("network", [Finer(1, 1, 16, 3), HSiren(1, 1, 16, 3)])
def test_no_schedule_is_applied_to_sines_whose_frequency_changes(network):
    for given in ({"target": torch.rand(100)}, {"centroid": 0.3, "samples": 100}):
        with pytest.raises(ValueError, match="Sine changes with its argument, which no schedule knows; give s0 and s1"):
            winner_init_(network, **given)
    assert winner_init_(network, s0=1.0, s1=0.1, seed=0).schedule == "fixed"


@pytest.mark.parametrize("make", [lambda: Lambda(10), lambda: Learned(10.0)])
def test_the_frequency_need_not_be_named(make):
    plain = nn.Sequential(nn.Linear(2, 32), make(), nn.Linear(32, 32), make(), nn.Linear(32, 1))
    winner_init_(plain, **NOISE)
    ours = siren(num_layers=2, omega_0=10.0, first_omega_0=10.0)
    assert all(torch.equal(plain[index].weight, ours[index].weight) for index in (0, 2, 4))


def weight_normed():
    network = Siren(2, 1, 8, 2)
    nn.utils.parametrizations.weight_norm(network[2])
    return network


def bias_computed():
    network = Siren(2, 1, 8, 2)
    nn.utils.parametrize.register_parametrization(network[2], "bias", nn.Tanh())
    return network


REFUSED = {
    "no-sine": (lambda: MLP(2, 4, 8, 1), r"no sine is to be seen in it \(layers seen: layers.0 \(2 -> 8\), layers.1"),
    "function": (lambda: MLP(2, 4, 8, 1, activation=torch.sin), "no sine is to be seen"),
    "not-a-sine": (lambda: nn.Sequential(nn.Linear(2, 8), Bounded(), nn.Linear(8, 1)), "a Bounded, which is neither"),
    "norm": (
        lambda: nn.Sequential(nn.Linear(2, 8), Sine(), nn.LayerNorm(8), nn.Linear(8, 8), Sine(), nn.Linear(8, 1)),
        "a LayerNorm, which is neither",
    ),
    "two": (lambda: nn.ModuleList([Siren(2, 2, 8, 2), Siren(2, 1, 8, 2)]), "between some of its layers and not"),
    "mixed": (
        lambda: nn.Sequential(nn.Linear(2, 8), Sine(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)),
        "a ReLU, which is neither",
    ),
    "sizes": (
        lambda: nn.ModuleDict({"sine": Sine(), "a": nn.Linear(2, 8), "b": nn.Linear(9, 8), "c": nn.Linear(8, 1)}),
        "do not follow on one another",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_the_layers_are_not_found_one_error_says_what_was_seen(name):
    make, words = REFUSED[name]
    network = make()
    before = state_of(network)
    for initialise in (lambda: winner_init_(network, **NOISE), lambda: siren_init_(network)):
        with pytest.raises(ValueError, match=words) as error:
            initialise()
        assert 'name its first two Linear layers with layers=("NAME", "NAME")' in str(error.value)
        assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("layers", [None, ("0", "2")])
@pytest.mark.parametrize("make", [weight_normed, bias_computed])
def test_weights_that_would_not_keep_what_is_written_are_refused(make, layers):
    network = make()
    before = state_of(network)
    with pytest.raises(ValueError, match="initialise first, then parametrize") as error:
        winner_init_(network, layers=layers, **NOISE)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_compiled_network_computes_with_its_new_weights():
    compiled = torch.compile(Siren(2, 1, 32, 3), backend="eager")
    coords = torch.rand(20, 2)
    before = compiled(coords)
    winner_init_(compiled, **NOISE)
    torch.testing.assert_close(compiled(coords), siren()(coords))
    assert not torch.allclose(compiled(coords), before)


RANK = """
import os, sys, torch
from torch.nn.parallel import DistributedDataParallel
from winner_nerfstudio import Siren, winner_init_
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=int(sys.argv[2]), world_size=2)
network = DistributedDataParallel(Siren(2, 1, 16, 3))
try:
    winner_init_(network, s0=20.0, s1=0.2)
    print("silence")
except ValueError as error:
    print(error)
winner_init_(network, s0=20.0, s1=0.2, seed=4)
ours = Siren(2, 1, 16, 3)
winner_init_(ours, s0=20.0, s1=0.2, seed=4)
print(all(torch.equal(a, b) for a, b in zip(network.parameters(), ours.parameters(), strict=True)))
torch.distributed.destroy_process_group()
"""


@pytest.mark.commands
def test_distributed_processes_draw_the_same(tmp_path):
    command = [sys.executable, "-c", RANK, str(tmp_path / "store")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [*command, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
        )
        for rank in range(2)
    ]
    for rank in ranks:
        output, errors = rank.communicate(timeout=600)
        assert rank.returncode == 0, errors
        assert output.splitlines() == [
            "under DistributedDataParallel all processes must draw the same numbers; pass seed=",
            "True",
        ]


def psnr(network, values, steps):
    """In dB, of a peak-to-peak value of 2, after full-batch steps."""
    coords = torch.linspace(-1, 1, len(values))[:, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (network(coords) - values).square().mean()
        loss.backward()
        optimizer.step()
    return float(10 * torch.log10(4 / loss.detach()))


@pytest.mark.quality
def test_siren_pytorch_gains_from_winner_as_our_network_does():
    """On chirps at nearly half the Nyquist frequency, of which a SIREN at its usual frequency learns nothing."""
    values = torch.tensor(SOUNDS["crickets"]()[0][:1500], dtype=torch.float32)
    plain, ours, theirs = [], [], []
    for seed in range(3):
        torch.manual_seed(seed)
        plain.append(psnr(SirenNet(1, 64, 2, 3, w0=30.0), values, 200))
        for network, metrics in ((Siren(1, 2, 64, 3), ours), (SirenNet(1, 64, 2, 3, w0=30.0), theirs)):
            winner_init_(network, target=values, seed=seed)
            metrics.append(psnr(network, values, 200))
    assert np.mean(theirs) > np.mean(ours) - 3
    assert np.mean(theirs) > np.mean(plain) + 10
