from itertools import chain

import numpy as np
import pytest
import torch

from winner_nerfstudio.signals.options import GridOptions
from winner_nerfstudio.training.sampling import Drawn, Resident, expect_steps

from .test_grid import make_grid

CPU = torch.device("cpu")


def numbers_of(signal, batch):
    """The samples in a batch; their values are checked on the way."""
    number = signal.lattice.nearest(batch["coords"])
    expected = torch.from_numpy(signal.values.reshape(-1, signal.channels))[number]
    assert torch.equal(batch["values"], expected)
    return number.tolist()


@pytest.mark.parametrize("fraction", [1.0, 0.7])
@pytest.mark.parametrize("batch_size", [256, 999, 1500])
def test_a_pass_serves_every_fitted_sample_once(batch_size, fraction):
    signal = make_grid().under(GridOptions(train_fraction=fraction))
    sampler = Resident(signal, CPU, 1, batch_size)
    expected = list(range(3000)) if fraction == 1 else signal.fitted.tolist()
    orders = []
    for number in range(3):
        steps = [
            numbers_of(signal, sampler.batch(number * sampler.steps_per_pass + row))
            for row in range(sampler.steps_per_pass)
        ]
        assert max(map(len, steps)) <= batch_size
        assert max(map(len, steps)) - min(map(len, steps)) <= 1
        orders.append(list(chain.from_iterable(steps)))
        assert sorted(orders[-1]) == expected
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_that_holds_all_serves_all_at_every_step_and_makes_them_once():
    signal = make_grid()
    sampler = Resident(signal, CPU, 1, 3000)
    first = sampler.batch(0)
    assert numbers_of(signal, first) == list(range(3000))
    assert sampler.batch(17)["coords"] is first["coords"]


def test_the_values_are_kept_not_copied():
    signal = make_grid()
    sampler = Resident(signal, CPU, 1, 100)
    sampler.start()
    assert sampler._values.data_ptr() == signal.values.ctypes.data


@pytest.mark.parametrize("step", [0, 3, 40, 7])
def test_a_step_has_the_same_batch_whatever_came_before(step):
    signal = make_grid()
    fresh, used = (Resident(signal, CPU, 5, 256) for _ in range(2))
    for earlier in (1, 30, 2):
        used.batch(earlier)
    assert torch.equal(fresh.batch(step)["coords"], used.batch(step)["coords"])
    assert not torch.equal(fresh.batch(step)["coords"], Resident(signal, CPU, 6, 256).batch(step)["coords"])


def test_evaluation_takes_held_out_samples_where_there_are_any():
    signal = make_grid().under(GridOptions(train_fraction=0.5))
    sampler = Resident(signal, CPU, 1, 200)
    assert set(numbers_of(signal, sampler.evaluation())) <= set(signal.held_out.tolist())
    assert torch.equal(sampler.evaluation()["coords"], sampler.evaluation()["coords"])
    whole = make_grid()
    assert len(numbers_of(whole, Resident(whole, CPU, 1, 200).evaluation())) == 200


class Counting:
    """Draws ascending numbers, other ones for each chunk."""

    def draw(self, rng, count):
        coords = np.arange(count, dtype=np.float32)[:, None] + 1000 * rng.integers(1000)
        return {"coords": coords, "values": -coords}


def test_drawn_points_are_used_as_often_as_asked_for_then_dropped():
    sampler = Drawn(Counting(), CPU, 3, batch_size=4, steps_per_chunk=6, passes=2)
    served = [sampler.batch(step)["coords"][:, 0].tolist() for step in range(12)]
    first, second = (list(chain.from_iterable(steps)) for steps in (served[:6], served[6:]))
    assert sorted(first[:12]) == sorted(first[12:]) != sorted(second[:12])
    assert first[:12] != first[12:]
    again = Drawn(Counting(), CPU, 3, batch_size=4, steps_per_chunk=6, passes=2)
    assert again.batch(7)["coords"][:, 0].tolist() == served[7]
    assert torch.equal(again.batch(2)["values"], -again.batch(2)["coords"])


@pytest.mark.parametrize(("steps", "chunks"), [(12, 2), (13, 3), (6, 1), (1, 1)])
def test_no_points_are_drawn_for_steps_that_the_run_does_not_have(steps, chunks):
    signal, drawn = Counting(), []
    draw = signal.draw
    signal.draw = lambda rng, count: drawn.append(count) or draw(rng, count)
    sampler = Drawn(signal, CPU, 3, batch_size=4, steps_per_chunk=6, passes=2)
    expect_steps([sampler], steps)
    for step in range(steps):
        sampler.batch(step)
    sampler._worker.shutdown(wait=True)
    assert drawn == [12] * chunks
