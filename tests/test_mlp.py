"""WinnerMLP takes the place of nerfstudio's MLP, and is our Siren."""

import subprocess
import sys

import pytest
import torch
from nerfstudio.field_components.base_field_component import FieldComponent
from nerfstudio.field_components.mlp import MLP
from torch import nn

from winner_nerfstudio import Siren, winner_init_
from winner_nerfstudio.nerfstudio import WinnerMLP
from winner_nerfstudio.networks import Sine


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def seeded(make):
    torch.manual_seed(3)
    return make()


class Field(nn.Module):
    """As nerfstudio's fields are built: an encoding, a base and heads."""

    def __init__(self):
        super().__init__()
        self.encoding = nn.Embedding(4, 8)
        self.mlp_base = WinnerMLP(3, 4, 32, 16)
        self.mlp_head = MLP(16, 3, 32, 3, activation=nn.ReLU(), out_activation=nn.Sigmoid())


@pytest.mark.parametrize("frequencies", [{}, {"omega_0": 20.0, "first_omega_0": 50.0}])
def test_it_is_our_siren_to_the_bit(frequencies):
    ours = seeded(lambda: Siren(3, 2, 32, 4, **frequencies))
    mlp = seeded(lambda: WinnerMLP(3, 5, 32, 2, **frequencies))
    coords = torch.rand(7, 5, 3) * 2 - 1
    assert same(ours, mlp)
    assert torch.equal(ours(coords), mlp(coords))


@pytest.mark.parametrize("frequencies", [{}, {"omega_0": 20.0, "first_omega_0": 50.0}])
@pytest.mark.parametrize("directly", [True, False])
def test_winner_gives_it_what_it_gives_our_siren(directly, frequencies):
    ours, mlp = Siren(2, 3, 32, 3, **frequencies), WinnerMLP(2, 4, 32, 3, **frequencies)
    target = torch.rand(16, 24, 3, generator=torch.Generator().manual_seed(0))
    expected = winner_init_(ours, target=target, seed=5)
    chosen = winner_init_(mlp, target=target, seed=5) if directly else mlp.winner_init_(target=target, seed=5)
    assert chosen == expected
    assert same(ours, mlp)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_layers": 4, "out_dim": 2},
        {"num_layers": 4},
        {"num_layers": 1, "out_dim": 2},
        {"num_layers": 5, "out_dim": 2, "skip_connections": (2, 3), "out_activation": nn.Sigmoid()},
        {"num_layers": 3, "out_dim": 2, "skip_connections": (7,)},
    ],
)
def test_with_the_same_weights_it_computes_what_nerfstudios_mlp_does(arguments):
    theirs = MLP(in_dim=3, layer_width=16, activation=Sine(30.0), **arguments)
    mlp = WinnerMLP(in_dim=3, layer_width=16, **arguments)
    mlp.load_state_dict(theirs.state_dict())
    coords = torch.rand(2, 6, 3)
    assert torch.equal(mlp(coords), theirs(coords))
    assert mlp.get_out_dim() == theirs.get_out_dim() == mlp(coords).shape[-1]
    assert isinstance(mlp, FieldComponent)


def test_a_layer_with_a_skip_connection_starts_as_siren_with_all_its_inputs():
    mlp = WinnerMLP(3, 4, 400, 1, skip_connections=(2,))
    weight = mlp.layers[2].weight.detach()
    assert weight.shape == (400, 403)
    assert weight.abs().max() == pytest.approx((6 / 403) ** 0.5 / 30, rel=1e-3)
    assert winner_init_(mlp, s0=1.0, s1=0.1, seed=1) == mlp.winner_init_(s0=1.0, s1=0.1, seed=1)


def test_an_activation_of_ones_own_says_its_frequency_itself():
    mlp = WinnerMLP(3, 4, 400, 1, activation=Sine(7.0))
    assert mlp.layers[1].weight.detach().abs().max() == pytest.approx((6 / 400) ** 0.5 / 7, rel=1e-3)
    direct = WinnerMLP(3, 4, 400, 1, activation=Sine(7.0))
    mlp.winner_init_(s0=3.0, s1=0.1, seed=2)
    winner_init_(direct, s0=3.0, s1=0.1, seed=2)
    assert same(mlp, direct)


def test_in_a_larger_field_it_alone_is_initialised():
    field, alone = Field(), WinnerMLP(3, 4, 32, 16)
    before = {name: value.clone() for name, value in field.state_dict().items()}
    winner_init_(field, s0=2.5, s1=0.1, seed=1)
    alone.winner_init_(s0=2.5, s1=0.1, seed=1)
    assert same(field.mlp_base, alone)
    changed = {name for name, value in field.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("mlp_base.")}


def test_it_takes_configs_made_for_tiny_cuda_nn():
    assert same(
        seeded(lambda: WinnerMLP(3, 3, 8, 1, implementation="tcnn")),
        seeded(lambda: WinnerMLP(3, 3, 8, 1, implementation="torch")),
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"num_layers": 0}, "num_layers=0 must be at least 1"),
        ({"out_dim": 0}, "out_dim=0 must be at least 1"),
        ({"omega_0": 0.0}, "omega_0=0.0 must be positive"),
        ({"skip_connections": (0,)}, "layer 0 has the inputs anyhow"),
        ({"activation": nn.ReLU()}, r"activation=ReLU\(\) is no sine; leave it out"),
        ({"implementation": "jax"}, "implementation='jax' must be 'torch', or 'tcnn'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        WinnerMLP(**{"in_dim": 3, "num_layers": 3, "layer_width": 8, **arguments})


def test_one_hidden_layer_is_too_few_for_winner():
    with pytest.raises(ValueError, match="two sine layers; this network has 1"):
        WinnerMLP(3, 2, 8, 1).winner_init_(s0=1.0, s1=0.1)


def test_the_plugins_package_brings_nerfstudio_only_with_what_it_exports():
    code = (
        "import sys, winner_nerfstudio.nerfstudio as plugin\n"
        "assert not any(name.partition('.')[0] == 'nerfstudio' for name in sys.modules)\n"
        "assert all(getattr(plugin, name).__name__ == name for name in plugin.__all__)\n"
        "assert 'nerfstudio' in sys.modules\n"
        "assert not hasattr(plugin, 'WinnerNothing')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
