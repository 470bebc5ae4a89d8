import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio.metrics.shape import quick_metrics, quick_points, surface_metrics, volume_metrics
from winner_nerfstudio.signals.shape import Shape, load_shape

from .meshes import sphere

TRUTH = Shape.from_mesh(sphere(subdivisions=5))  # radius 0.9 in the unit cube
DIAGONAL = 1.8 * np.sqrt(3)


def ball(radius):
    return lambda x: x.norm(dim=-1, keepdim=True) - radius


def test_a_perfect_fit_scores_perfectly():
    metrics = volume_metrics(ball(0.9), TRUTH) | surface_metrics(TRUTH.mesh, TRUTH)
    assert metrics["iou"] == pytest.approx(1, abs=2e-3)
    assert metrics["chamfer_l1"] == pytest.approx(0, abs=1e-8)
    assert metrics["normal_consistency"] == pytest.approx(1, abs=1e-4)
    assert metrics["f_score_0.5%"] == metrics["f_score_1%"] == 1


def test_a_smaller_ball_scores_what_geometry_says():
    delta = 0.02
    metrics = volume_metrics(ball(0.9 - delta), TRUTH)
    assert metrics["iou"] == pytest.approx(((0.9 - delta) / 0.9) ** 3, abs=3e-3)
    assert metrics["sdf_error_near"] == pytest.approx(delta / DIAGONAL, rel=0.02)
    assert metrics["sdf_error_far"] == pytest.approx(delta / DIAGONAL, rel=0.02)
    smaller = sphere(0.9 - delta, subdivisions=5)
    metrics = surface_metrics(smaller, TRUTH)
    for name in ("distance_to_target", "distance_to_fit", "chamfer_l1", "chamfer_l2"):
        assert metrics[name] == pytest.approx(delta / DIAGONAL, rel=0.02), name
    # The gap of 0.64 % of the diagonal lies between the two thresholds.
    assert metrics["f_score_0.5%"] == 0
    assert metrics["f_score_1%"] == 1


def test_the_two_ways_differ_where_the_fit_has_too_much():
    extra = sphere(0.9, subdivisions=4)
    far = sphere(0.1, subdivisions=3)
    metrics = surface_metrics(extra + far, TRUTH)
    assert metrics["distance_to_fit"] < 1e-3
    # The small ball in the middle has 1/82 of the area and is 0.8 away from the surface.
    assert metrics["distance_to_target"] == pytest.approx(0.8 / 82 / DIAGONAL, rel=0.15)


def test_nothing_inside_scores_nothing():
    assert volume_metrics(lambda x: torch.ones(len(x), 1), TRUTH)["iou"] == 0


def test_the_shell_of_a_flat_shape_is_compared_in_passing_as_in_the_end():
    square = trimesh.Trimesh([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [(0, 1, 2), (0, 2, 3)], process=False)
    shape = load_shape(square, sign="unsigned")
    quick = quick_points(shape)
    for factor, iou in [(0.85, 0.85), (1.0, 1.0), (1.2, 1 / 1.2)]:  # the shells' thicknesses are as 1 to the factor

        def scaled(points, factor=factor):
            return torch.from_numpy(factor * shape.distance(points.double().numpy()))[:, None]

        assert quick_metrics(scaled, quick)["iou"] == pytest.approx(iou, abs=0.02)
        assert volume_metrics(scaled, shape)["iou"] == pytest.approx(iou, abs=0.02)
    assert quick_metrics(lambda points: torch.zeros(len(points), 1), quick)["iou"] < 0.4


def test_normals_are_compared_close_to_sharp_edges():
    box = Shape.from_mesh(trimesh.creation.box((2, 2, 2)))
    assert surface_metrics(box.mesh, box)["edge_normal_degrees"] == pytest.approx(0, abs=0.5)
    assert "edge_normal_degrees" not in surface_metrics(TRUTH.mesh, TRUTH)
    # A bevel of 45 degrees as broad as what is looked at: it is nearest to all of that, and at corners steeper.
    reach = 0.01 * box.diagonal
    points = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]) * 0.9
    inset = [point * np.where(np.arange(3) == axis, 1, 1 - reach / 0.9) for point in points for axis in range(3)]
    bevelled = trimesh.convex.convex_hull(np.array(inset))
    assert surface_metrics(bevelled, box)["edge_normal_degrees"] == pytest.approx(45, abs=1)
    turned = trimesh.creation.box((1.8, 1.8, 1.8))
    turned.invert()
    assert surface_metrics(turned, box)["edge_normal_degrees"] == pytest.approx(180, abs=0.5)
