"""The optimisers against their formulas, for single networks and banks, and their resuming to the bit."""

import copy
import io
import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from winner_nerfstudio import Siren, fit
from winner_nerfstudio.nerfstudio.config.optimizers import FieldOptimizerConfig
from winner_nerfstudio.nerfstudio.run.trainer import JoinedOptimizers
from winner_nerfstudio.nerfstudio.run.unfit import UnfitCheckpoint
from winner_nerfstudio.networks import Bank, build_network
from winner_nerfstudio.training.optimizers import (
    BLOCK,
    Muon,
    Soap,
    build_optimizer,
    check_state,
    orthogonalize,
    train_as_adam,
)

RATE = 1e-2


def make_parameter(*shape: int, seed: int = 0) -> nn.Parameter:
    """Return a parameter in double precision."""
    return nn.Parameter(torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


def make_gradients(*shape: int, count: int = 2) -> list[Tensor]:
    """Return gradients for some steps."""
    generator = torch.Generator().manual_seed(9)
    return [torch.randn(*shape, dtype=torch.float64, generator=generator) for _ in range(count)]


def change_by(name: str, parameters: list[nn.Parameter], steps: list[list[Tensor]]) -> list[Tensor]:
    """Return by how much the last of some steps changes each parameter, over minus the learning rate."""
    optimizer = build_optimizer(parameters, name, RATE)
    for gradients in steps:
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
    return [(one - other.detach()) / RATE for one, other in zip(before, parameters, strict=True)]


def adam_direction(gradients: list[Tensor], first: float, second: float) -> Tensor:
    """Return the direction of Adam after these gradients, from the sums that its means are."""
    count = len(gradients)
    mean = sum((1 - first) * first ** (count - 1 - i) * g for i, g in enumerate(gradients)) / (1 - first**count)
    square = sum((1 - second) * second ** (count - 1 - i) * g**2 for i, g in enumerate(gradients)) / (1 - second**count)
    return mean / (square.sqrt() + 1e-8)


@pytest.mark.parametrize(("name", "betas"), [("adam", (0.9, 0.999)), ("muon", (0.9, 0.999)), ("soap", (0.95, 0.95))])
def test_biases_and_the_first_and_last_weights_change_as_adam_changes_them(name, betas):
    shapes = [(16, 2), (16,), (3, 16), (3,)]
    parameters = [make_parameter(*shape) for shape in shapes]
    steps = [[make_gradients(*shape)[step] for shape in shapes] for step in range(2)]
    for change, *gradients in zip(change_by(name, parameters, steps), *steps, strict=True):
        torch.testing.assert_close(change, adam_direction(gradients, *betas), rtol=1e-6, atol=1e-8)


def test_muon_orthogonalises_the_mean_of_gradients_with_nesterovs_step_ahead():
    one, two = make_gradients(12, 20)
    mean = 0.95 * 0.05 * one + 0.05 * two
    ahead = 0.05 * two + 0.95 * mean
    u, s, vh = torch.linalg.svd(ahead, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    (change,) = change_by("muon", [make_parameter(12, 20)], [[one], [two]])
    torch.testing.assert_close(change, 0.2 * 20**0.5 * u @ torch.diag(s) @ vh, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(16, 16), (30, 10), (10, 30), (5, 12, 12)])
def test_the_iteration_makes_singular_values_alike(shape):
    values = torch.linalg.svdvals(orthogonalize(torch.randn(*shape, generator=torch.Generator().manual_seed(1))))
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert not orthogonalize(torch.zeros(*shape)).any()


def test_a_matrix_is_changed_alike_whatever_others_are_beside_it():
    matrices = torch.randn(200, 24, 32, generator=torch.Generator().manual_seed(1))
    assert len(matrices) * 24 * 32 > 2 * BLOCK
    whole = orthogonalize(matrices)
    assert all(torch.equal(whole[index], orthogonalize(matrices[index])) for index in range(len(matrices)))


def test_soap_is_adam_in_the_eigenbases_of_the_first_gradients_covariances():
    gradients = make_gradients(9, 9)
    left = torch.linalg.eigh(gradients[0] @ gradients[0].T)[1]
    right = torch.linalg.eigh(gradients[0].T @ gradients[0])[1]
    # The direction does not depend on the vectors' signs and order.
    (change,) = change_by("soap", [make_parameter(9, 9)], [[gradient] for gradient in gradients])
    turned = [left.T @ gradient @ right for gradient in gradients]
    expected = left @ adam_direction(turned, 0.95, 0.95) @ right.T
    torch.testing.assert_close(change, expected, rtol=1e-5, atol=1e-5)


def test_soaps_covariances_and_eigenbases_are_those_of_the_gradients():
    parameter = make_parameter(9, 9)
    optimizer = Soap([parameter], RATE, 1e-8, 0.0)
    gradients = make_gradients(9, 9, count=40)
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    state = optimizer.state[parameter]
    weighted = [(0.05 * 0.95 ** (39 - index), gradient) for index, gradient in enumerate(gradients)]
    torch.testing.assert_close(state["left"], sum(weight * g @ g.T for weight, g in weighted))
    torch.testing.assert_close(state["right"], sum(weight * g.T @ g for weight, g in weighted))
    for _ in range(300):  # the covariances stay, so that the bases converge to their eigenvectors
        optimizer._update_bases(state)
    mean = sum(0.05 * 0.95 ** (39 - index) * gradient for index, gradient in enumerate(gradients))
    for side in ("left", "right"):
        basis, (values, _) = state[f"{side}_basis"], torch.linalg.eigh(state[side])
        torch.testing.assert_close(basis.T @ state[side] @ basis, torch.diag(values.flip(0)), rtol=1e-4, atol=1e-4)
    found = state["left_basis"] @ state["exp_avg"] @ state["right_basis"].T
    torch.testing.assert_close(found, mean)


def test_the_squares_follow_the_vectors_that_soap_sorts():
    parameter = make_parameter(8, 8)
    optimizer = Soap([parameter], RATE, 1e-8, 0.0)
    parameter.grad = torch.diag(torch.arange(8.0, 0, -1, dtype=torch.float64))
    optimizer.step()
    state = optimizer.state[parameter]
    state["left"] = state["right"] = torch.diag(torch.arange(1.0, 9, dtype=torch.float64))
    optimizer._update_bases(state)
    squares = 0.05 * torch.arange(1.0, 9, dtype=torch.float64) ** 2
    torch.testing.assert_close(state["exp_avg_sq"].diagonal(), squares, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["soap", "muon"])
def test_members_of_a_bank_are_changed_as_if_they_were_alone(name):
    steps = [make_gradients(3, 10, 8, count=12), make_gradients(3, 10, count=12)]
    weight, bias = make_parameter(3, 10, 8), make_parameter(3, 10)
    change_by(name, [weight, bias], [list(pair) for pair in zip(*steps, strict=True)])
    for member in range(3):
        alone = [nn.Parameter(make_parameter(3, 10, 8)[member].detach()), nn.Parameter(make_parameter(3, 10)[member])]
        change_by(name, alone, [[one[member], other[member]] for one, other in zip(*steps, strict=True)])
        torch.testing.assert_close(weight[member], alone[0], rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(bias[member], alone[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["adam", "soap", "muon"])
@pytest.mark.parametrize("kind", ["single", "bank"])
def test_a_resumed_training_has_the_same_bits_as_one_that_was_not_stopped(name, kind):
    torch.manual_seed(0)
    whole = Siren(1, 1, 16, 3) if kind == "single" else Bank(1, 1, 8, 3, shape=[60], parts=[3], overlap=4)
    coords = torch.linspace(-1, 1, 24)[:, None].expand(*([] if kind == "single" else [3]), 24, 1)

    def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            values = network(coords) if kind == "single" else network.evaluate_members(coords)
            (values - coords.square()).square().mean().backward()
            optimizer.step()

    optimizer = build_optimizer(whole.parameters(), name, 1e-3)
    train(whole, optimizer, 13)
    file = io.BytesIO()
    torch.save({"network": whole.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(whole, optimizer, 12)
    resumed = copy.deepcopy(whole)
    state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    resumed.load_state_dict(state["network"])
    again = build_optimizer(resumed.parameters(), name, 1e-3)
    again.load_state_dict(state["optimizer"])
    check_state(again)
    train(resumed, again, 12)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("entry", "shape"), [("exp_avg", (8, 9)), ("left", (8, 8)), ("right_basis", (9, 9))])
def test_a_state_that_does_not_fit_the_weights_is_refused(entry, shape):
    parameter = make_parameter(9, 8)
    optimizer = Soap([parameter], RATE, 1e-8, 0.0)
    parameter.grad = make_gradients(9, 8)[0]
    optimizer.step()
    check_state(optimizer)
    optimizer.state[parameter][entry] = torch.zeros(shape)
    with pytest.raises(ValueError, match=f"its optimizer's {entry} does not fit the weights"):
        check_state(optimizer)


def train_a_step(**settings: Any) -> torch.optim.Optimizer:
    """Return an optimiser of weights, of which one is a matrix, and of a bias after a step."""
    parameters = [make_parameter(*shape) for shape in ((16, 2), (16, 16), (16,))]
    optimizer = build_optimizer(parameters, lr=RATE, **settings)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def load_by(state: dict[str, Any], **settings: Any) -> JoinedOptimizers:
    """Return the optimisers of a run with some settings that has loaded the state of another run."""
    config = {"fields": {"optimizer": FieldOptimizerConfig(lr=RATE, **settings), "scheduler": None}}
    joined = JoinedOptimizers(config, {"fields": [make_parameter(*shape) for shape in ((16, 2), (16, 16), (16,))]})
    joined.load_optimizers({"fields": state})
    return joined


@pytest.mark.parametrize(("stored", "current"), itertools.permutations(["adam", "soap", "muon"], 2))
def test_the_state_of_another_optimiser_is_refused_in_one_line(stored, current):
    state = train_a_step(name=stored).state_dict()
    line = (
        f"error: the checkpoint belongs to a run with --optimizers.fields.optimizer {stored}, not {current};"
        " give that option again, or train anew"
    )
    with pytest.raises(UnfitCheckpoint, match=f"^{re.escape(line)}$"):
        load_by(state, name=current)


@pytest.mark.parametrize("name", ["adam", "soap", "muon"])
@pytest.mark.parametrize(("option", "stored", "current"), [("weight_decay", 0.0, 0.1), ("eps", 1e-6, 1e-8)])
def test_a_state_with_another_setting_is_refused_and_one_with_the_same_is_taken(name, option, stored, current):
    state = train_a_step(name=name, **{option: stored}).state_dict()
    line = f"run with --optimizers.fields.optimizer.{option.replace('_', '-')} {stored}, not {current};"
    with pytest.raises(UnfitCheckpoint, match=re.escape(line)):
        load_by(state, name=name, **{option: current})
    again = load_by(state, name=name, **{option: stored}).optimizers["fields"]
    assert len(again.state) == 3
    state = train_a_step(name=name, **{option: current}).state_dict()
    assert len(load_by(state, name=name, **{option: current}).optimizers["fields"].state) == 3


@pytest.mark.parametrize(("name", "needed"), [("muon", "momentum_buffer"), ("soap", "exp_avg, exp_avg_sq, left, .*")])
def test_a_matrix_with_the_state_of_a_vector_is_refused(name, needed):
    optimizer = train_a_step(name=name)
    bias, matrix = (optimizer.param_groups[0]["params"][index] for index in (2, 1))
    optimizer.state[matrix] = {"step": 1, **{each: torch.zeros(16, 16) for each in ("exp_avg", "exp_avg_sq")}}
    with pytest.raises(ValueError, match=f"state of some weights is exp_avg, exp_avg_sq, step, not {needed}"):
        check_state(optimizer)
    optimizer.state.pop(matrix)
    check_state(optimizer)
    optimizer.state[bias].pop("step")
    with pytest.raises(ValueError, match="is exp_avg, exp_avg_sq, not exp_avg, exp_avg_sq, step"):
        check_state(optimizer)


def test_the_weights_decay_by_their_share_of_the_gradient():
    decayed, plain = make_parameter(9, 9), make_parameter(9, 9)
    gradient = make_gradients(9, 9)[0]
    decayed.grad, plain.grad = gradient, gradient + 0.1 * plain.detach()
    Muon([decayed], RATE, 1e-8, 0.1).step()
    Muon([plain], RATE, 1e-8, 0.0).step()
    torch.testing.assert_close(decayed, plain)


@pytest.mark.parametrize("name", ["adam", "soap", "muon"])
@pytest.mark.parametrize("members", [(), (3,)])
def test_biases_do_not_decay(name, members):
    weight, bias = make_parameter(*members, 9, 9), make_parameter(*members, 9)
    before = bias.detach().clone(), weight.detach().clone()
    weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
    build_optimizer([weight, bias], name, RATE, weight_decay=0.1).step()
    assert torch.equal(bias, before[0])
    assert not torch.equal(weight, before[1])


def test_matrices_without_a_gradient_are_left_out():
    matrices = torch.randn(6, 12, 16, generator=torch.Generator().manual_seed(1))
    matrices[[1, 4]] = 0.0
    done = orthogonalize(matrices)
    assert not done[[1, 4]].any()
    assert all(torch.equal(done[index], orthogonalize(matrices[index])) for index in (0, 2, 3, 5))


@pytest.mark.parametrize("name", ["adam", "muon", "soap"])
def test_a_step_tells_torch_which_parameters_it_has_changed(name):
    parameters = [nn.Parameter(torch.ones(16, 16)), nn.Parameter(torch.ones(16)), nn.Parameter(torch.ones(16))]
    for parameter in parameters[:2]:
        parameter.grad = torch.ones_like(parameter)
    before = [parameter._version for parameter in parameters]
    build_optimizer(parameters, name).step()
    bumps = [parameter._version > was for parameter, was in zip(parameters, before, strict=True)]
    assert bumps == [True, True, False]


def test_an_unknown_name_and_complex_weights_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^optimizer='sgd' is not one of: adam, soap, muon$"):
        build_optimizer(Siren(1, 1, 8, 2).parameters(), "sgd")
    wire = build_network("wire", in_dim=1, out_dim=1, hidden_dim=8, num_layers=2)
    with pytest.raises(ValueError, match=r"^optimizer='soap' has no rule for complex weights; use adam$"):
        build_optimizer(wire.parameters(), "soap")
    assert build_optimizer(wire.parameters(), "adam")


@pytest.mark.parametrize("parts", [(1,), (2, 2)])
def test_fits_by_each_optimiser_differ_and_learn(parts):
    picture = (np.random.default_rng(0).random((24, 24)) * 255).astype(np.uint8)
    errors = {}
    for name in ("adam", "soap", "muon"):
        options = {"hidden_dim": 16, "num_layers": 3, "parts": parts, "batch_size": 300, "overlap": None}
        fitted = fit(picture, "image", steps=40, optimizer=name, learning_rate=1e-3, progress=False, **options)
        errors[name] = fitted.provenance["figures"]["psnr"]
    start = fit(picture, "image", steps=1, progress=False, hidden_dim=16, num_layers=3, parts=parts)
    assert len(set(errors.values())) == 3
    assert min(errors.values()) > start.provenance["figures"]["psnr"] + 0.5


def rates_of_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the learning rate at each step of a fit in parts, and the one after the last."""
    schedules = []

    def keep(*arguments: object) -> torch.optim.lr_scheduler.LambdaLR:
        schedules.append(schedule(*arguments))
        return schedules[-1]

    schedule = torch.optim.lr_scheduler.LambdaLR
    monkeypatch.setattr(torch.optim.lr_scheduler, "LambdaLR", keep)
    small = {"parts": (2,), "hidden_dim": 8, "num_layers": 2, "steps": 4, "learning_rate": RATE}
    fit(np.linspace(-1, 1, 200) ** 3, "audio", optimizer=name, progress=False, measure=False, **small)
    return [RATE * schedules[0].lr_lambdas[0](step) for step in range(5)]


@pytest.mark.parametrize(("name", "last"), [("adam", 0.02), ("soap", 0.02), ("muon", 0.001)])
def test_the_rate_of_muon_falls_further_than_that_of_the_others(name, last, monkeypatch):
    from winner_nerfstudio.nerfstudio.config.schedulers import CosineDecayConfig

    rates = rates_of_fit(name, monkeypatch)
    assert rates[0] == RATE
    assert rates[4] == pytest.approx(last * RATE)
    optimizer = build_optimizer([make_parameter(8, 8)], name, RATE)
    schedule = CosineDecayConfig(max_steps=4).setup().get_scheduler(optimizer, RATE)
    assert [RATE * schedule.lr_lambdas[0](step) for step in range(5)] == rates


@pytest.mark.parametrize("name", ["muon", "soap"])
def test_parameters_can_be_trained_as_by_adam_whatever_the_optimiser(name):
    first, second = (torch.nn.Parameter(torch.eye(16)) for _ in range(2))
    train_as_adam([second])
    optimizer = build_optimizer([first, second], name, lr=1e-2)
    gradient = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    first.grad, second.grad = gradient, gradient.clone()
    optimizer.step()
    # Adam's first step is as long for each weight.
    torch.testing.assert_close(second.detach(), torch.eye(16) - 1e-2 * gradient.sign(), atol=1e-6, rtol=0)
    assert (first - second).abs().max() > 1e-3
