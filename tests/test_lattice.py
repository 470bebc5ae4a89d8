import numpy as np
import pytest
import torch

from winner_nerfstudio.signals.lattice import Lattice


def test_the_centres_of_the_longer_sides_pixels_span_the_cube_and_pixels_are_square():
    lattice = Lattice((3, 5))  # two rows fewer than columns
    coords = lattice.coords(torch.arange(15)).reshape(3, 5, 2)
    torch.testing.assert_close(coords[0, :, 1], torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0], dtype=torch.float64))
    torch.testing.assert_close(coords[:, 0, 0], torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64))


def test_numbers_run_as_numpy_runs_through_an_array():
    shape = (4, 3, 2)
    coords = Lattice(shape).coords(torch.arange(24))
    expected = np.stack(np.unravel_index(np.arange(24), shape), -1)
    np.testing.assert_allclose(coords, (expected - [1.5, 1.0, 0.5]) * 2 / 3, atol=1e-7)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 7), (5, 4), (6, 1, 3)])
def test_the_nearest_sample_to_a_sample_is_itself(shape):
    lattice = Lattice(shape)
    numbers = torch.arange(lattice.count)
    coords = lattice.coords(numbers)
    assert torch.isfinite(coords).all()
    assert torch.equal(lattice.nearest(coords + 0.4 * lattice.spacing), numbers)
    assert lattice.nearest(torch.full((1, len(shape)), 50.0)) == lattice.count - 1


def test_neighbours_in_a_long_sound_stay_as_far_apart_as_float32_allows():
    lattice = Lattice((10_000_000,))
    coords = lattice.coords(torch.tensor([0, 1, 4_999_999, 5_000_000, 9_999_998, 9_999_999])).double()[:, 0]
    expected = torch.linspace(-1, 1, 10_000_000, dtype=torch.float64)[[0, 1, 4_999_999, 5_000_000, -2, -1]]
    assert (coords - expected).abs().max() < 6e-8


def test_the_world_of_a_lattice_is_what_its_spacing_says():
    normalization = Lattice((3, 5)).normalization(spacing=0.5, origin=(10.0, 10.0))
    np.testing.assert_allclose(normalization.to_unit(np.array([[10.0, 10.0], [11.0, 12.0]])), [[-0.5, -1], [0.5, 1]])
