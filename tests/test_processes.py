"""Runs on several devices: the processes' shares add up to what one process computes alone."""

import multiprocessing
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from winner_nerfstudio.nerfstudio.run.processes import exit_if_lost
from winner_nerfstudio.networks.bank import Bank
from winner_nerfstudio.signals.shape import Shape
from winner_nerfstudio.training.bank import PartLoss
from winner_nerfstudio.training.initialize import build_field, start
from winner_nerfstudio.training.loss import DistanceLoss, SquareLoss
from winner_nerfstudio.training.options import DistanceOptions, NetworkOptions
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.training.share import Share

from .conftest import call, config_of, make_config, metrics_of, weights_of
from .meshes import sphere

NETWORK = {"hidden_dim": 8, "num_layers": 2}


def share_and_sum(loss, field, batch, count):
    """The terms and gradients of the whole batch, and the sums of those of the shares."""
    results = []
    for shares in ([Share()], [Share(rank, count) for rank in range(count)]):
        field.zero_grad()
        terms = [loss.share_terms(field, batch, share) for share in shares]
        sum(term for each in terms for term in each.values()).backward()
        sums = {name: sum(each[name].detach() for each in terms) for name in terms[0]}
        results.append((sums, [weight.grad.clone() for weight in field.parameters()]))
    return results


def points(count, **more):
    rng = torch.Generator().manual_seed(0)
    batch = {"coords": torch.rand(count, 3, generator=rng), "values": torch.rand(count, 1, generator=rng) - 0.5}
    return batch | {name: value(count, rng) for name, value in more.items()}


@pytest.mark.parametrize("length", [2, 7, 30])
@pytest.mark.parametrize("loss", ["square", "mesh", "cloud"])
def test_the_shares_of_a_batch_add_up_to_the_whole(loss, length):
    field = build_field(Shape.from_mesh(sphere()), NetworkOptions(**NETWORK), 0)
    losses = {
        "square": SquareLoss(),
        "mesh": DistanceLoss(DistanceOptions(normal_weight=0.1, eikonal_weight=0.1), of_cloud=False),
        "cloud": DistanceLoss(DistanceOptions(), of_cloud=True),
    }
    batch = points(
        length,
        normals=lambda n, rng: torch.nn.functional.normalize(torch.randn(n, 3, generator=rng), dim=-1),
        on_surface=lambda n, rng: (torch.rand(n, 1, generator=rng) < 0.5).float(),
    )
    whole, summed = share_and_sum(losses[loss], field, batch, 3)
    torch.testing.assert_close(summed, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [2, 7, 40])
@pytest.mark.parametrize("holds", ["known", "mean"])
@pytest.mark.parametrize("supervise", ["gradient", "laplacian"])
def test_the_shares_of_derivatives_add_up_to_the_whole(supervise, holds, length, monkeypatch):
    rng = np.random.default_rng(0)
    values = np.full((12, 12), np.nan)
    values[0] = rng.random(12)
    more = {"known": values} if holds == "known" else {}
    data = rng.standard_normal((12, 12, 2) if supervise == "gradient" else (12, 12))
    signal, options = prepare(data, "image", {"supervise": supervise, "batch_size": length, **NETWORK, **more})
    started = start(signal, make_plan(signal, options, Course()).options, torch.device("cpu"), 0)
    batch = started.sampler.batch(0)
    errors = {}

    def add(share, values):
        errors[share.rank] = values.clone()
        return sum(errors.values())

    monkeypatch.setattr(Share, "add", add)
    share_and_sum(started.loss, started.field, batch, 3)  # so that the first process knows of the others
    whole, summed = share_and_sum(started.loss, started.field, batch, 3)
    torch.testing.assert_close(summed, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("count", [2, 5])
def test_the_members_of_a_bank_are_shared_and_their_gradients_are_the_same_bits(count, constant):
    signal, _ = prepare(np.eye(20), "image", {})
    field = build_field(signal, NetworkOptions(parts=(2,), **NETWORK), 0)
    assert isinstance(field.network, Bank)
    rng = torch.Generator().manual_seed(0)
    batch = {"coords": torch.rand(4, 6, 2, generator=rng), "values": torch.rand(4, 6, 1, generator=rng)}
    if constant:
        batch["constant"] = torch.tensor([True, False, False, True])
    whole, summed = share_and_sum(PartLoss(), field, batch, count)
    torch.testing.assert_close(summed[0], whole[0])
    assert all(torch.equal(one, other) for one, other in zip(whole[1], summed[1], strict=True))


def test_each_process_selects_the_points_that_one_alone_selects(monkeypatch):
    field, batch = build_field(Shape.from_mesh(sphere()), NetworkOptions(**NETWORK), 0), points(11)
    loss = DistanceLoss(DistanceOptions(hardest=0.3), of_cloud=False)
    expected, errors = loss.select(field, batch), {}

    def gather(share, values, length):
        errors[share.rank] = values
        return torch.cat([errors.get(rank, values) for rank in range(share.count)])[:length]

    monkeypatch.setattr(Share, "gather", gather)
    for share in 2 * [Share(rank, 3) for rank in range(3)]:
        selected = loss.select(field, batch, share)
    torch.testing.assert_close(selected, expected)
    assert len(selected["coords"]) == 3


def add_up(rank, address, results):
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    share, weight = Share.of_process(), torch.nn.Parameter(torch.tensor([1.0 + rank, 5.0], dtype=torch.complex64))
    gathered = share.gather(torch.arange(3.0)[share.rows(3)], 3)
    unused = torch.nn.Parameter(torch.zeros(2))
    terms = share.add_terms({"mse": ((rank + 1) * weight.real).sum(), "more": weight.real.sum()})
    sum(terms.values()).backward()
    share.add_gradients([weight, unused])
    share.copy_first([weight])
    values = {name: float(term) for name, term in terms.items()}
    results.put((rank, share, gathered.tolist(), values, weight.grad.tolist(), unused.grad, weight.tolist()))
    torch.distributed.destroy_process_group()


def test_two_processes_gather_values_and_add_up_terms_and_gradients(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    workers = [context.Process(target=add_up, args=(rank, f"file://{tmp_path}/group", results)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for rank, *found in sorted(results.get() for _ in workers):
        values = {"mse": 6.0 + 2 * 7.0, "more": 6.0 + 7.0}
        assert found == [Share(rank, 2), [0.0, 1.0, 2.0], values, [5.0, 5.0], None, [1.0, 5.0]]
    for worker in workers:
        worker.join()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"num_devices": 0}, "--machine.num-devices 0 and --machine.num-machines 1 must be at least 1"),
        ({"num_machines": 2}, "--machine.num-machines needs an address of the first one"),
        ({"machine_rank": 1}, "--machine.machine-rank 1 must be from 0 to 0"),
        ({"device_type": "mps", "num_devices": 2}, "a run on mps uses one device"),
    ],
)
def test_machines_that_cannot_be_meant_are_refused_in_one_line(changes, line):
    changes = {f"machine__{name}": value for name, value in changes.items()}
    config = make_config("winner-image", **{"machine__device_type": "cpu", **changes})
    with pytest.raises(ValueError, match=re.escape(line)):
        config.check()


def test_other_machines_than_the_first_write_nothing(tmp_path):
    machine = {"machine__num_machines": 2, "machine__machine_rank": 1, "machine__dist_url": "tcp://127.0.0.1:1"}
    data = {"pipeline__datamanager__data": "sample:mandala", "machine__device_type": "cpu"}
    config = make_config("winner-image", output_dir=tmp_path / "out", **machine, **data)
    config.set_timestamp()
    config.save_config()
    assert not (tmp_path / "out").exists()
    assert (config.group.num_machines, config.machine.num_machines) == (2, 1)  # nerfstudio starts one process


def test_a_process_that_is_lost_ends_the_run_in_one_line():
    exit_if_lost([SimpleNamespace(join=lambda seconds: None, exitcode=code) for code in (None, 0)])
    with pytest.raises(SystemExit, match="error: process 2 of the run has ended with status -9; what was saved"):
        exit_if_lost([SimpleNamespace(join=lambda seconds: None, exitcode=code) for code in (None, -9)])


@pytest.mark.commands
def test_two_processes_resume_a_run_of_one_and_come_to_what_it_came_to(tmp_path):
    np.save(tmp_path / "waves.npy", np.sin(np.arange(24)[:, None] * 0.5 + np.arange(24) * 0.2))
    arguments = ["ns-train", "winner-image", "--data", "waves.npy", "--max-num-iterations", 20, "--steps-per-save", 5]
    arguments += ["--pipeline.datamanager.batch-size", 101, "--pipeline.model.hidden-dim", 24]
    arguments += ["--machine.device-type", "cpu"]
    one = config_of(call(*arguments, "--save-only-latest-checkpoint", False, cwd=tmp_path), tmp_path)
    resumed = ["--load-dir", one.parent / "nerfstudio_models", "--load-step", 5, "--machine.num-devices", 2]
    result = call(*arguments, *resumed, cwd=tmp_path)
    two = config_of(result, tmp_path)
    assert "Resuming after 6 of 20 steps." in result.output
    assert not multiprocessing.active_children()
    assert not torch.distributed.is_initialized()
    torch.testing.assert_close(weights_of(two), weights_of(one), rtol=1e-4, atol=1e-6)
    timed = ("train_seconds", "points_per_second")
    whole, shared = (
        {name: value for name, value in metrics_of(each).items() if name not in timed} for each in (one, two)
    )
    assert shared == pytest.approx(whole, rel=1e-4)
    assert sorted(path.name for path in two.parent.glob("*.json")) == ["dataparser_transforms.json", "metrics.json"]
