import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio.metrics.shape import surface_figures, volume_figures
from winner_nerfstudio.signals.shape import Shape

from .meshes import sphere

TRUTH = Shape.from_mesh(sphere(subdivisions=5))  # radius 0.9 in the unit cube
DIAGONAL = 1.8 * np.sqrt(3)


def ball(radius):
    return lambda x: x.norm(dim=-1, keepdim=True) - radius


def test_a_perfect_fit_scores_perfectly():
    figures = volume_figures(ball(0.9), TRUTH) | surface_figures(TRUTH.mesh, TRUTH)
    assert figures["iou"] == pytest.approx(1, abs=2e-3)
    assert figures["chamfer_l1"] == pytest.approx(0, abs=1e-8)
    assert figures["normal_consistency"] == pytest.approx(1, abs=1e-4)
    assert figures["f_score_0.5%"] == figures["f_score_1%"] == 1


def test_a_smaller_ball_scores_what_geometry_says():
    delta = 0.02
    figures = volume_figures(ball(0.9 - delta), TRUTH)
    assert figures["iou"] == pytest.approx(((0.9 - delta) / 0.9) ** 3, abs=3e-3)
    assert figures["sdf_error_near"] == pytest.approx(delta / DIAGONAL, rel=0.02)
    assert figures["sdf_error_far"] == pytest.approx(delta / DIAGONAL, rel=0.02)
    smaller = sphere(0.9 - delta, subdivisions=5)
    figures = surface_figures(smaller, TRUTH)
    for name in ("distance_to_target", "distance_to_fit", "chamfer_l1", "chamfer_l2"):
        assert figures[name] == pytest.approx(delta / DIAGONAL, rel=0.02), name
    # The gap of 0.64 % of the diagonal lies between the two thresholds.
    assert figures["f_score_0.5%"] == 0
    assert figures["f_score_1%"] == 1


def test_the_two_ways_differ_where_the_fit_has_too_much():
    extra = sphere(0.9, subdivisions=4)
    far = sphere(0.1, subdivisions=3)
    figures = surface_figures(extra + far, TRUTH)
    assert figures["distance_to_fit"] < 1e-3
    # The small ball in the middle has 1/82 of the area and is 0.8 away from the surface.
    assert figures["distance_to_target"] == pytest.approx(0.8 / 82 / DIAGONAL, rel=0.15)


def test_nothing_inside_scores_nothing():
    assert volume_figures(lambda x: torch.ones(len(x), 1), TRUTH)["iou"] == 0


def test_normals_are_compared_close_to_sharp_edges():
    box = Shape.from_mesh(trimesh.creation.box((2, 2, 2)))
    assert surface_figures(box.mesh, box)["edge_normal_degrees"] == pytest.approx(0, abs=0.5)
    assert "edge_normal_degrees" not in surface_figures(TRUTH.mesh, TRUTH)
    # A bevel of 45 degrees as broad as what is looked at: it is nearest to all of that, and at corners steeper.
    reach = 0.01 * box.diagonal
    points = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]) * 0.9
    inset = [point * np.where(np.arange(3) == axis, 1, 1 - reach / 0.9) for point in points for axis in range(3)]
    bevelled = trimesh.convex.convex_hull(np.array(inset))
    assert surface_figures(bevelled, box)["edge_normal_degrees"] == pytest.approx(45, abs=1)
    turned = trimesh.creation.box((1.8, 1.8, 1.8))
    turned.invert()
    assert surface_figures(turned, box)["edge_normal_degrees"] == pytest.approx(180, abs=0.5)
