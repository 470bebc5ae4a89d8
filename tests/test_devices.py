"""What would happen on a GPU, told without one.

Tensors of torch's device "meta" have no values, so that a training step that reads one, for which it would have to wait
for a GPU, fails. Tensors of a pretended GPU have values, so that everything else can be done with them; see
`pretend_cuda`. On both an operation on tensors of two devices fails.
"""

import copy
from itertools import product

import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio import fit
from winner_nerfstudio.fields import Field
from winner_nerfstudio.networks import siren, stack
from winner_nerfstudio.signals.derivatives import differentiate
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ShapeRecord
from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

from .conftest import call, config_of
from .pretend_cuda import CUDA, pretend_cuda

META = torch.device("meta")
SINGLE = {"parts": (1,), "hidden_dim": 32}
FEW = {"steps_per_chunk": 8, "batch_size": 512, "eval_resolution": 24}
NOISE = np.random.default_rng(0).random((40, 44, 3), np.float32)


def make_page():
    """Return a picture, most of whose parts are constant."""
    page = np.ones((96, 96), np.float32)
    page[:30, :30] = NOISE[:30, :30, 0]
    return page


def make_colored():
    """Return a ball with colours."""
    ball = trimesh.creation.icosphere(2)
    colors = np.uint8(255 * (ball.vertices * 0.5 + 0.5))
    return trimesh.Trimesh(ball.vertices, ball.faces, vertex_colors=colors, process=False)


TARGETS = {
    "picture, single": lambda: (NOISE, "image", SINGLE),
    "picture in batches": lambda: (NOISE, "image", SINGLE | {"batch_size": 256}),
    "picture with held-out samples": lambda: (NOISE, "image", SINGLE | {"train_fraction": 0.5}),
    "picture in parts": lambda: (NOISE, "image", {"parts": (3, 3)}),
    "picture in parts with held-out samples": lambda: (NOISE, "image", {"parts": (3, 3), "train_fraction": 0.5}),
    "picture in parts, most of them constant": lambda: (make_page(), "image", {"parts": (3, 3)}),
    "gradient": lambda: (differentiate(NOISE, "gradient", (1.0, 1.0), 2), "image", SINGLE | {"supervise": "gradient"}),
    "laplacian, with known values": lambda: (
        differentiate(NOISE, "laplacian", (1.0, 1.0), 2),
        "image",
        SINGLE | {"supervise": "laplacian", "known": NOISE, "batch_size": 256},
    ),
    "sound, single": lambda: ("sample:bells", None, SINGLE | {"max_samples": 4000}),
    "sound in parts": lambda: ("sample:bells", None, {"max_samples": 4000, "parts": (4,)}),
    "volume, single": lambda: ("sample:metaballs", None, SINGLE),
    "volume in parts": lambda: ("sample:metaballs", None, {"parts": (2, 2, 2)}),
    "shape, single": lambda: (trimesh.creation.torus(1, 0.3), None, FEW | SINGLE),
    "shape in cells": lambda: (trimesh.creation.torus(1, 0.3), None, FEW | {"parts": (4,)}),
    "shape with colours": lambda: (make_colored(), None, FEW | SINGLE),
    "shape with colours in cells": lambda: (make_colored(), None, FEW | {"parts": (3,)}),
    "points": lambda: (trimesh.creation.icosphere(3).vertices, "sdf", FEW | SINGLE),
    "network FINER": lambda: (NOISE, "image", SINGLE | {"network": "finer"}),
}


def build_plain_adam(parameters, learning_rate):
    """Return Adam without the fused step, which torch has on some devices only."""
    return torch.optim.Adam(parameters, learning_rate, foreach=True)


@pytest.mark.parametrize(
    ("target", "optimizer"),
    [
        *[(target, "muon") for target in TARGETS],
        *product(["picture in parts", "shape with colours in cells"], ["soap", "adam"]),
    ],
)
def test_a_step_neither_waits_for_a_device_nor_mixes_its_tensors_with_others(target, optimizer, monkeypatch):
    for module in (siren, stack):  # the function that computes all sine layers is for CPUs and CUDA
        monkeypatch.setattr(module, "can_evaluate", lambda coords, parameters: not coords.requires_grad)
    data, kind, options = TARGETS[target]()
    signal, fit_options = prepare(data, kind, options)
    plan = make_plan(signal, fit_options, Course(steps=8))
    started = start(signal, plan.options, META, 0)
    training = Training(started, 1e-3, plan.decay, build_plain_adam if optimizer == "adam" else optimizer)
    for _ in range(4):
        training.step()
    assert training.done == 4
    assert training.loss.device == META
    assert {parameter.device for parameter in training.field.parameters()} == {META}
    with pytest.raises(RuntimeError, match="meta"):
        float(training.loss)


@pytest.mark.parametrize("target", TARGETS)
def test_no_step_copies_what_a_gpu_would_have_to_wait_for(target):
    data, kind, options = TARGETS[target]()
    signal, fit_options = prepare(data, kind, options)
    plan = make_plan(signal, fit_options, Course(steps=20))
    with pretend_cuda() as mode:
        training = Training(start(signal, plan.options, CUDA, 0), 1e-3, plan.decay, "adam")
        for _ in range(8):  # after which all that is kept is there, and before cells get more points
            training.step()
        assert mode.waits, "what is kept was copied"
        mode.waits.clear()
        for _ in range(2):
            training.step()
        assert mode.waits == []


def test_a_pretended_gpu_refuses_what_a_real_one_does():
    with pretend_cuda():
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        layer = torch.nn.Linear(3, 1).to("cuda")
        layer(there).sum().backward()
        assert {each.device for each in (there, there[1:], there + 1, layer.weight, layer.weight.grad)} == {CUDA}
        assert {each.device for each in (here, there.cpu(), here * 2)} == {torch.device("cpu")}
        assert torch.equal(there + torch.tensor(1.0), there * 2), "a single number may be the CPU's"
        of_arrays = [torch.from_numpy(np.ones(3)), torch.frombuffer(bytearray(12), dtype=torch.float32)]
        for other in [*of_arrays, torch.tensor([1.0, 2.0, 3.0]), torch.as_tensor(np.ones(3)), torch.zeros(3)]:
            with pytest.raises(RuntimeError, match="same device"):
                torch.cat([there, other])
        for mixed in (lambda: there + here, lambda: layer(here), lambda: here[there > 0], lambda: there[1:] * here[1:]):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            np.asarray(there)
    assert not torch.ones(3).is_cuda


def test_a_field_on_a_gpu_takes_points_of_the_cpu():
    network = {"name": "siren", "in_dim": 3, "out_dim": 1, "hidden_dim": 8, "num_layers": 2}
    field = Field("sdf", network, Normalization((0.0, 0.0, 0.0), 1.0), ShapeRecord())
    places = np.random.default_rng(0).uniform(-1, 1, (50, 3)).astype(np.float32)
    expected = [field.evaluate(torch.from_numpy(places)), *field.value_and_gradient(torch.from_numpy(places))]
    with pretend_cuda():
        there = copy.deepcopy(field).to("cuda")
        for count in (50, 0):
            points = torch.from_numpy(places[:count])
            found = [there.evaluate(points), *there.value_and_gradient(points)]
            assert {each.device for each in found} == {CUDA}
            for ours, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(ours.cpu(), theirs[:count])


@pytest.mark.filterwarnings("ignore:the fit (failed|needs)")
@pytest.mark.parametrize(
    "target",
    [
        "picture with held-out samples",
        "picture in parts, most of them constant",
        "laplacian, with known values",
        "sound in parts",
        "volume in parts",
        "shape with colours in cells",
        "points",
    ],
)
def test_a_fit_on_a_gpu_is_measured_and_evaluated_as_on_a_cpu(target):
    data, kind, options = TARGETS[target]()
    settings = {"steps": 2, "progress": False, "learning_rate": 1e-5, **options}
    points = np.random.default_rng(0).random((50, 3))
    with pretend_cuda():
        there = fit(data, kind, **settings)
        assert {parameter.device for parameter in there.parameters()} == {CUDA}
        values = there(points[:, : there.dim])
    here = fit(data, kind, device="cpu", **settings)
    np.testing.assert_allclose(values, here(points[:, : here.dim]), rtol=1e-3, atol=1e-4)
    figures = here.provenance["figures"]
    assert there.provenance["figures"] == pytest.approx(figures, rel=1e-2, abs=1e-3)


@pytest.mark.commands
@pytest.mark.parametrize(
    "method, data, export",
    [("winner-sdf", "ball.ply", ("mesh", "fit.ply")), ("winner-image", "picture.npy", ("image", "fit.npy"))],
)
def test_the_commands_of_nerfstudio_pass_on_a_pretended_gpu(method, data, export, tmp_path):
    trimesh.creation.icosphere(2).export(tmp_path / "ball.ply")
    np.save(tmp_path / "picture.npy", NOISE)
    options = ["--max-num-iterations", "4", "--vis", "tensorboard", "--pipeline.model.hidden-dim", "16"]
    options += ["--logging.steps-per-log", "0"]  # never
    if method == "winner-sdf":
        options += ["--pipeline.model.parts", "1", "--pipeline.model.eval-resolution", "24"]
    with pretend_cuda():
        trained = call("ns-train", method, "--data", data, *options, cwd=tmp_path)
        assert trained.returncode in (0, 3), trained.output  # 3: a poor fit, after four steps
        config = config_of(trained, tmp_path)
        measured = call("ns-eval", "--load-config", config, "--output-path", "eval.json", cwd=tmp_path)
        assert measured.returncode == 0, measured.output
        what, name = export
        exported = call("winner-export", what, "--load-config", config, "--output", name, cwd=tmp_path)
    assert exported.returncode == 0 or "no surface" in exported.output, exported.output
