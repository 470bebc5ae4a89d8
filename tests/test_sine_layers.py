"""The fast sine layers against plain ones: values, first and second derivatives, in all the ways they are used."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from winner_nerfstudio import Siren, winner_init_
from winner_nerfstudio.networks import Bank
from winner_nerfstudio.networks.sine_layers import Workspace, evaluate_plainly, evaluate_sines
from winner_nerfstudio.networks.siren import Sine

TOLERANCE = {torch.float32: {"rtol": 2e-4, "atol": 2e-5}, torch.float64: {"rtol": 1e-9, "atol": 1e-11}}


def make_layers(dtype: torch.dtype, members: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor], list[float]]:
    """Return weights, biases and frequencies of two sine layers and a linear one, different for each member."""
    generator, sizes = torch.Generator().manual_seed(3), [(8, 2), (9, 8), (3, 9)]
    weights = [torch.empty(*members, *size, dtype=dtype).uniform_(-0.3, 0.3, generator=generator) for size in sizes]
    biases = [torch.empty(*members, b, dtype=dtype).uniform_(-0.3, 0.3, generator=generator) for b, _ in sizes]
    for parameter in (*weights, *biases):
        parameter.requires_grad_(True)
    return weights, biases, [11.0, 7.0]


def make_network(seed: int = 0, dtype: torch.dtype = torch.float32) -> Siren:
    """Return a small network with WINNER's start."""
    network = Siren(2, 3, 16, 3)
    winner_init_(network, s0=20.0, s1=0.1, seed=seed)
    return network.to(dtype)


def make_plain(network: Siren) -> nn.Sequential:
    """Return the same layers, weights shared, in a chain that knows no short cut."""
    return nn.Sequential(*network)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("members", [(), (4,)])
@pytest.mark.parametrize("count", [0, 1, 37])
def test_values_and_both_derivatives_are_those_of_plain_layers(dtype, members, count):
    weights, biases, frequencies = make_layers(dtype, members)
    parameters = [*weights, *biases]
    coords = torch.rand(*members, count, 2, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = []
    for evaluate in (evaluate_plainly, lambda *arguments: evaluate_sines(*arguments, Workspace())):
        values = evaluate(coords, weights, biases, frequencies)
        first = torch.autograd.grad(values.square().sum(), parameters, create_graph=True)
        second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), parameters)
        found.append([values, *first, *second])
    for plain, fast in zip(*found, strict=True):
        scale = float(plain.detach().abs().max()) if plain.numel() else 1.0
        torch.testing.assert_close(fast / (scale or 1.0), plain / (scale or 1.0), **TOLERANCE[dtype])


def test_the_gradients_are_right_by_finite_differences():
    weights, biases, frequencies = make_layers(torch.float64, ())
    coords = torch.rand(5, 2, dtype=torch.float64)

    def function(*parameters: Tensor) -> Tensor:
        return evaluate_sines(coords, parameters[:3], parameters[3:], frequencies, Workspace())

    assert torch.autograd.gradcheck(function, (*weights, *biases), nondet_tol=1e-9)
    assert torch.autograd.gradgradcheck(function, (*weights, *biases), nondet_tol=1e-9)


def test_a_second_backward_pass_finds_the_same_gradients():
    network, coords = make_network(), torch.rand(50, 2)
    parameters = list(network.parameters())
    values = network(coords)
    first = torch.autograd.grad(values.square().sum(), parameters, retain_graph=True)
    network(coords * 0.5).sum().backward()  # takes the memory that the first pass has given back
    second = torch.autograd.grad(values.square().sum(), parameters)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_networks_train_like_plain_ones_with_batches_of_changing_sizes():
    fast = make_network(dtype=torch.float64)
    plain = make_plain(copy.deepcopy(fast))
    losses = []
    for network in (fast, plain):
        optimizer = torch.optim.SGD(network.parameters(), 1e-3)
        generator = torch.Generator().manual_seed(5)
        for count in (30, 31, 12, 40, 40, 1):
            coords = torch.rand(count, 2, dtype=torch.float64, generator=generator)
            optimizer.zero_grad()
            loss = (network(coords) - coords.sum(-1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[:6] == pytest.approx(losses[6:], rel=1e-9)
    assert losses[3] < losses[0]


def test_several_graphs_at_once_do_not_share_memory():
    network, plain = make_network(), make_plain(make_network())
    batches = [torch.rand(20, 2, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    sum(network(batch).square().sum() for batch in batches).backward()
    sum(plain(batch).square().sum() for batch in batches).backward()
    for fast, slow in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(fast.grad, slow.grad, rtol=1e-3, atol=1e-3)


def test_derivatives_by_the_coordinates_are_there_and_can_be_trained_on():
    fast = make_network(dtype=torch.float64)
    plain = make_plain(fast)
    coords = torch.rand(20, 2, dtype=torch.float64, requires_grad=True)
    found = []
    for network in (fast, plain):
        (normals,) = torch.autograd.grad(network(coords).sum(), coords, create_graph=True)
        loss = (normals.norm(dim=-1) - 1).abs().mean()
        found.append([normals, *torch.autograd.grad(loss, list(network.parameters())[:-1])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_transformations_of_functions_see_plain_layers():
    network, coords = make_network(dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    plain = make_plain(network)
    parameters = dict(network.named_parameters())
    for transform in (
        lambda f: vmap(f)(coords),
        lambda f: jacrev(lambda p: functional_call(f, p, (coords,)))(parameters)["2.weight"],
        lambda f: vmap(lambda x: grad(lambda p: functional_call(f, p, (x,)).sum())(parameters)["0.bias"])(coords),
        lambda f: jvp(f, (coords,), (torch.ones_like(coords),))[1],
    ):
        torch.testing.assert_close(transform(network), transform(plain))


def test_an_exported_graph_holds_plain_sines():
    network, coords = make_network(), torch.rand(5, 2)
    program = torch.export.export(network, (coords,), dynamic_shapes=({0: torch.export.Dim("n")},))
    assert "torch.ops.aten.sin.default" in program.graph_module.code
    torch.testing.assert_close(program.module()(coords * 0.3), network(coords * 0.3), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("gradients", [True, False])
def test_sines_and_cosines_are_right_for_arguments_of_any_size(gradients):
    arguments = torch.tensor([0.0, 1e-30, -0.5, 30.0, 7e4, -1.2e5, 3e5, 1e7, torch.inf, torch.nan])[:, None]
    one, zero = torch.ones(1, 1, requires_grad=True), torch.zeros(1)
    with torch.set_grad_enabled(gradients):
        values = evaluate_sines(arguments, [one, torch.ones(1, 1)], [zero, zero], [1.0], Workspace())
    torch.testing.assert_close(values.double(), arguments.double().sin(), rtol=0, atol=2e-7, equal_nan=True)
    if gradients:
        for argument in arguments[:8]:
            value = evaluate_sines(argument[None], [one, torch.ones(1, 1)], [zero, zero], [1.0], Workspace())
            (found,) = torch.autograd.grad(value, one)
            expected = argument.double() * argument.double().cos()
            torch.testing.assert_close(found[0].double(), expected, rtol=0, atol=3e-7 * float(argument.abs()))


def test_traced_graphs_hold_the_layers_and_not_their_values():
    network, coords = make_network(), torch.rand(5, 2)
    with torch.no_grad():
        graph = make_fx(network)(coords)
        torch.testing.assert_close(graph(coords * 0.3), network(coords * 0.3), rtol=1e-3, atol=1e-4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(network, coords, check_trace=False)
        torch.testing.assert_close(traced(coords * 0.3), network(coords * 0.3), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("change", ["hook", "layer", "no bias", "frozen"])
def test_changed_layers_are_used_as_they_are(change):
    network, coords, seen = make_network(), torch.rand(5, 2), []
    if change == "hook":
        network[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    elif change == "layer":
        network[3] = nn.Tanh()
    elif change == "no bias":
        network[2].bias = None
    else:
        network[2].weight.requires_grad_(False)
    values = network(coords)
    torch.testing.assert_close(values, make_plain(network)(coords), rtol=1e-3, atol=1e-4)
    assert bool(seen) == (change == "hook")
    values.sum().backward()
    assert (network[2].weight.grad is None) == (change == "frozen")


def test_the_memory_of_training_is_not_copied_and_is_released_after_it():
    network = make_network()
    network(torch.rand(50, 2)).sum().backward()
    assert len(network._workspace._spare) == 6
    assert not copy.deepcopy(network)._workspace._spare
    assert not pickle.loads(pickle.dumps(network))._workspace._spare
    network.eval()
    assert not network._workspace._spare


def test_evaluation_keeps_no_more_memory_than_its_values():
    with torch.no_grad():
        values = make_network()(torch.rand(50, 2))
    assert values.untyped_storage().nbytes() == 50 * 3 * 4


def test_a_bank_trains_like_its_members_in_plain_layers():
    torch.manual_seed(0)
    bank = Bank(1, 2, 8, 3, shape=[60], parts=[3], overlap=4).double()
    coords = bank.tiling.local_coords().double().expand(3, -1, -1)
    bank.evaluate_members(coords).square().sum().backward()
    for index in range(3):
        modules = []
        for weight, bias, omega in zip(bank.weights, bank.biases, [30, 30, 30, 0], strict=True):
            linear = nn.Linear(weight.shape[2], weight.shape[1], dtype=torch.float64)
            linear.weight.data, linear.bias.data = weight.data[index], bias.data[index]
            modules += [linear, Sine(omega)] if omega else [linear]
        twin = nn.Sequential(*modules)
        twin(coords[index]).square().sum().backward()
        for weight, bias, linear in zip(bank.weights, bank.biases, twin[::2], strict=True):
            torch.testing.assert_close(weight.grad[index], linear.weight.grad)
            torch.testing.assert_close(bias.grad[index], linear.bias.grad)
