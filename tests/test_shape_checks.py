"""The tests' own hook: a wrong shape is caught wherever it is passed."""

import numpy as np
import pytest
import torch
from jaxtyping import Float
from numpy import ndarray

from winner_nerfstudio.fields import Field
from winner_nerfstudio.metrics.image import ssim
from winner_nerfstudio.signals.lattice import Lattice
from winner_nerfstudio.signals.normalization import Normalization

from .shape_checks import WrongShape, check


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: ssim(np.zeros((8, 8, 1), np.float32), np.zeros((8, 9, 1), np.float32)), r"truth is .*\(8, 9, 1\)"),
        (lambda: Field.evaluate(None, torch.zeros(3)), r"Field.evaluate: coords is torch.float32 of shape \(3,\)"),
        (lambda: Normalization((0.0,) * 3, 1.0).to_unit(np.zeros((4, 3), int)), "points is int64"),
        (lambda: Lattice((4, 4)).coords(torch.zeros(3)), "index is torch.float32"),
    ],
    ids=["sizes that differ", "an axis is missing", "whole numbers", "no whole numbers"],
)
def test_a_wrong_argument_is_caught(call, words):
    with pytest.raises(WrongShape, match=words):
        call()


def test_a_wrong_result_is_caught():
    def every_other(x: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        return x[::2]

    checked = check(every_other, {}, __name__)
    assert checked(np.zeros(1)).shape == (1,)
    with pytest.raises(WrongShape, match=r"the result is float64 of shape \(2,\)"):
        checked(np.zeros(4))


def test_what_has_no_shape_beside_it_stays_as_it_is():
    def plain(x: int, y: "Signal") -> list: ...  # noqa: F821

    assert check(plain, {}, __name__) is plain
