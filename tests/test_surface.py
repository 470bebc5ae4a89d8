import numpy as np
import pytest
import torch

from winner_nerfstudio.fields.surface import EmptySurfaceError, extract_surface


def ball(radius, slope=1.0, center=(0.0, 0.0, 0.0)):
    return lambda x: slope * ((x - torch.tensor(center)).norm(dim=-1, keepdim=True) - radius)


def test_a_ball_comes_back_as_a_closed_ball_with_outward_faces():
    mesh = extract_surface(ball(0.7), resolution=64)
    assert mesh.is_watertight
    assert mesh.body_count == 1
    # Linear interpolation cuts chords: the error is of second order in the cell's width.
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=-1), 0.7, atol=5e-4)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=5e-3)


def test_the_surface_lies_where_the_field_says_on_every_axis():
    mesh = extract_surface(ball(0.3, center=(0.5, -0.2, 0.1)), resolution=64)
    np.testing.assert_allclose((mesh.bounds[0] + mesh.bounds[1]) / 2, [0.5, -0.2, 0.1], atol=1e-3)


def test_a_level_moves_the_surface_by_that_distance():
    mesh = extract_surface(ball(0.5), resolution=64, level=0.2)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=-1), 0.7, atol=1e-3)


def test_a_surface_that_leaves_the_cube_is_closed_at_its_walls():
    mesh = extract_surface(ball(0.5, center=(0.9, 0, 0)), resolution=48)
    assert mesh.is_watertight
    assert mesh.volume > 0
    assert mesh.bounds[1, 0] <= 1


def test_values_of_zero_on_grid_samples_leave_no_slits():
    # An octahedron whose faces run through grid samples: every crossing is a tie.
    mesh = extract_surface(lambda x: x.abs().sum(-1, keepdim=True) - 0.5, resolution=33)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * 0.5**3, rel=0.02)


@pytest.mark.parametrize(
    "function, level, words",
    [
        (ball(-0.5), 0.0, "no surface at level 0: the field lies between 0.5"),
        (ball(0.5), 9.0, "no surface at level 9"),
        (lambda x: x[:, :1] * float("nan"), 0.0, "not finite"),
    ],
)
def test_no_surface_is_an_error_that_names_the_fields_range(function, level, words):
    with pytest.raises(EmptySurfaceError, match=words):
        extract_surface(function, resolution=17, level=level)


def test_a_level_that_leaves_the_cube_is_refused_with_the_largest_that_fits():
    with pytest.raises(EmptySurfaceError, match=r"leaves the cube .* at most 0\.1 stays inside"):
        extract_surface(ball(0.9), resolution=33, level=0.3)


def test_the_field_is_evaluated_in_slabs():
    sizes = []

    def counted(x):
        sizes.append(len(x))
        return ball(0.5)(x)

    extract_surface(counted, resolution=40)
    assert max(sizes) == 40 * 40
    assert sum(sizes) == 40**3
