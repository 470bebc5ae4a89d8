"""What a training step does on another device, told from torch's device "meta", whose tensors have no values.

To read a value there is an error, and so is an operation on tensors of two devices: a step that passes would neither
wait for a GPU nor mix its tensors with the CPU's.
"""

from itertools import product

import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio.networks import siren, stack
from winner_nerfstudio.signals.derivatives import differentiate
from winner_nerfstudio.training.initialize import start
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare

META = torch.device("meta")
SINGLE = {"parts": (1,), "hidden_dim": 32}
FEW = {"steps_per_chunk": 8, "batch_size": 512}
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
    "points": lambda: (trimesh.creation.icosphere(3).vertices, "sdf", SINGLE),
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
