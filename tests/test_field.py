import numpy as np
import pytest
import torch

from winner_nerfstudio import fit
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.resample import evaluate_boxes
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ShapeRecord

SIREN = {"name": "siren", "in_dim": 3, "out_dim": 1, "hidden_dim": 16, "num_layers": 2, "omega_0": 10.0}


def make_field():
    return Field("sdf", SIREN, Normalization((1.0, -2.0, 1e6), 0.125), ShapeRecord(level=0.01))


def test_a_field_is_rebuilt_from_a_checkpoint_alone(tmp_path):
    field = make_field()
    torch.save({f"_model.field.{key}": value for key, value in field.state_dict().items()}, tmp_path / "a.ckpt")
    state = torch.load(tmp_path / "a.ckpt", weights_only=True)
    again = Field.from_state_dict(state, "_model.field.")
    x = torch.rand(100, 3)
    assert torch.equal(again(x), field(x))
    assert (again.kind, again.record) == ("sdf", ShapeRecord(level=0.01))
    assert again.normalization == Normalization((1.0, -2.0, 1e6), 0.125)


OTHER = {**SIREN, "omega_0": 20.0}


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, ""),
        ({"kind": "image"}, "a fit of kind 'image', not 'sdf'"),
        ({"network": OTHER}, "a network with omega_0=20.0, not"),
        ({"record": {}}, "another target, or to this one with other noise or held-out samples"),
        ({"record": {}, "network": OTHER}, "samples, and to a network with omega_0=20.0, not"),
    ],
)
def test_weights_of_another_field_are_refused(change, words):
    state = make_field().state_dict()
    state["_extra_state"] = {**state["_extra_state"], **change}
    field = make_field()
    if change:
        with pytest.raises(ValueError, match=f"^these weights belong to .*{words}"):
            field.load_state_dict(state)
    else:
        field.load_state_dict(state)


def test_what_is_no_field_says_so():
    with pytest.raises(ValueError, match="holds no field"):
        Field.from_state_dict({"weight": torch.zeros(1)}, "_model.field.")


def test_evaluation_in_blocks_equals_one_pass(monkeypatch):
    monkeypatch.setattr("winner_nerfstudio.fields.field.BLOCK", 7)
    field, x = make_field(), torch.rand(40, 3)
    torch.testing.assert_close(field.evaluate(x), field(x))
    assert not field.evaluate(x).requires_grad


@pytest.mark.parametrize("parts", [1, 2])
def test_a_grid_is_evaluated_in_boxes_that_hold_no_more_points_than_a_block(parts, monkeypatch):
    values = np.random.default_rng(0).random((12, 13, 14))
    field = fit(values, "volume", steps=1, hidden_dim=8, parts=parts, progress=False, measure=False).field
    axes = field.record.lattice.axis_coords([torch.linspace(0, n - 1, 30) for n in values.shape])
    (_, whole), *rest = evaluate_boxes(field, axes)
    assert not rest
    monkeypatch.setattr("winner_nerfstudio.fields.resample.BLOCK", 500)
    again = np.full_like(whole, np.nan)
    for box, inside in evaluate_boxes(field, axes):
        assert inside.size <= 500
        again[box] = inside
    np.testing.assert_allclose(again, whole, atol=1e-5)


def test_the_gradient_is_the_slope():
    field = make_field().double()
    x, step = torch.rand(20, 3, dtype=torch.float64), 1e-6
    with torch.no_grad():
        gradient = field.gradient(x)
    for axis in range(3):
        offset = torch.zeros(3, dtype=torch.float64)
        offset[axis] = step
        slope = (field(x + offset) - field(x - offset))[:, 0] / (2 * step)
        torch.testing.assert_close(gradient[:, axis], slope.detach(), rtol=1e-4, atol=1e-6)
    assert not gradient.requires_grad
