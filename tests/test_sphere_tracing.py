"""Rays against surfaces whose every hit is known."""

import math

import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio.surfaces import DistanceGrid, box_interval, extract_surface, sphere_trace

from .test_surface import ball


def trace(function, origins, directions):
    """Trace with a grid of the function, whose values are [n]."""

    def gradient(x):
        with torch.enable_grad():
            x = x.clone().requires_grad_(True)
            value = function(x)
            (slope,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), slope

    origins, directions = torch.as_tensor(origins), torch.nn.functional.normalize(torch.as_tensor(directions), dim=-1)
    grid = DistanceGrid.of(function)
    near, far = box_interval(origins, directions, *grid.box)
    return sphere_trace(function, gradient, grid, origins, directions, near, far)


def rays(count=100_000, seed=0):
    """Lines through the cube in every direction, from without."""
    generator = torch.Generator().manual_seed(seed)
    through = torch.rand(count, 3, generator=generator) * 2 - 1
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return through - 4 * directions, directions


CENTER = (0.1, -0.2, 0.05)
HALF = (0.5, 0.3, 0.7)


def sphere(x):
    return (x - x.new_tensor(CENTER)).norm(dim=-1) - 0.6


def box(x):
    q = (x - x.new_tensor(CENTER)).abs() - x.new_tensor(HALF)
    return q.clamp(min=0).square().sum(-1).clamp(min=1e-24).sqrt() + q.amax(-1).clamp(max=0)


def torus(x):
    return torch.stack([x[:, :2].norm(dim=-1) - 0.6, x[:, 2]], -1).norm(dim=-1) - 0.15


def sphere_depth(origins, directions):
    o, d = origins.double() - torch.tensor(CENTER).double(), directions.double()
    half = (o * d).sum(-1)
    inside = half.square() - (o.square().sum(-1) - 0.6**2)
    return torch.where(inside > 0, -half - inside.clamp(min=0).sqrt(), torch.inf)


def box_depth(origins, directions):
    center, half = torch.tensor(CENTER).double(), torch.tensor(HALF).double()
    near, far = box_interval(origins.double(), directions.double(), center - half, center + half)
    return torch.where(near < far, near, torch.inf)


def torus_depth(origins, directions):
    """The least real root of (p.p + R^2 - r^2)^2 = 4 R^2 (px^2 + py^2) along p = o + t d."""
    o, d = (each.double().numpy() for each in (origins + 4 * directions, directions))  # from nearby, for precision
    rim, tube = 0.6, 0.15
    square, cross = (o * o).sum(-1) + rim**2 - tube**2, (o * d).sum(-1)
    flat = [(o[:, :2] ** 2).sum(-1), (o[:, :2] * d[:, :2]).sum(-1), (d[:, :2] ** 2).sum(-1)]
    powers = [
        square**2 - 4 * rim**2 * flat[0],
        4 * square * cross - 8 * rim**2 * flat[1],
        2 * square + 4 * cross**2 - 4 * rim**2 * flat[2],
        4 * cross,
    ]
    companion = np.zeros((len(o), 4, 4))
    companion[:, 1:, :3] = np.eye(3)
    companion[:, :, 3] = -np.stack(powers, -1)
    roots = np.linalg.eigvals(companion)
    return 4 + torch.from_numpy(np.where(np.abs(roots.imag) < 1e-9, roots.real, np.inf).min(-1))


@pytest.mark.quality
@pytest.mark.parametrize("steepness", [1.0, 0.4, 1.3])
@pytest.mark.parametrize(
    "function, depth_of",
    [(sphere, sphere_depth), (box, box_depth), (torus, torus_depth)],
    ids=["sphere", "box", "torus"],
)
def test_100_000_rays_hit_where_they_should_and_none_is_lost(function, depth_of, steepness):
    origins, directions = rays()
    true = depth_of(origins, directions)
    # Fitted fields are too steep in places and too flat in others, so neither may matter.
    hits = trace(lambda x: steepness * function(x), origins, directions)
    expected = true.isfinite()
    assert expected.sum() > 20_000
    assert not (expected & ~hits.hit).any()
    both = hits.hit & expected
    assert (hits.depth[both] - true[both]).abs().max() < 1e-3
    # None is invented but where the surface is as near as that.
    extra = hits.hit & ~expected
    assert extra.sum() < 10
    assert (function(origins[extra] + hits.depth[extra, None] * directions[extra]).abs() < 1e-3).all()


def test_normals_come_with_the_hits():
    origins, directions = rays(20_000, seed=1)
    hits = trace(sphere, origins, directions)
    points = origins[hits.hit] + hits.depth[hits.hit, None] * directions[hits.hit]
    wanted = torch.nn.functional.normalize(points - torch.tensor(CENTER), dim=-1)
    assert (hits.gradient[hits.hit] - wanted).norm(dim=-1).max() < 0.01
    assert not hits.gradient[~hits.hit].any()


def test_thin_sheets_and_wires_have_no_holes():
    def sheet(x):  # a fortieth of a grid cell thick, and aslant
        return (x @ x.new_tensor([0.6, 0.0, 0.8]) - 0.013).abs() - 4e-4

    def wire(x):  # half a cell thick
        return (x[:, :2] - x.new_tensor([0.21, 0.13])).norm(dim=-1) - 0.008

    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(20_000, 3, generator=generator) - 0.5
    origins = torch.cat([spread[:, :2], torch.full((20_000, 1), -3.0)], -1)
    assert trace(sheet, origins, torch.tensor([[0.0, 0, 1]]).expand(20_000, 3)).hit.all()
    goals = torch.stack([0.21 + 0.0079 * (2 * spread[:, 0]), torch.full((20_000,), 0.13), spread[:, 2]], -1)
    hits = trace(wire, goals - torch.tensor([0.0, 3, 0]), torch.tensor([[0.0, 1, 0]]).expand(20_000, 3))
    assert hits.hit.all()


def test_a_rough_field_is_followed_to_its_first_crossing():
    # What a fit looks like before it is one: ripples finer than the grid on a steep slope.
    def rough(x):
        return 2 * (x.norm(dim=-1) - 0.5) + 0.02 * torch.sin(60 * x[:, 0]) * torch.sin(50 * x[:, 1])

    origins, directions = rays(5_000, seed=2)
    hits = trace(rough, origins, directions)
    # Every ray looked at every half a thousandth of its way.
    depths = torch.linspace(2, 6, 8001)
    along = torch.stack([rough(origins + depth * directions) for depth in depths], -1)
    expected = (along < -1e-4).any(-1)
    first = depths[(along <= 0).int().argmax(-1)]
    assert expected.sum() > 500
    assert hits.hit[expected].all()
    assert ((hits.depth - first)[expected].abs() < 2e-3).float().mean() > 0.995
    assert not hits.hit[(along > 1e-4).all(-1)].any()


# Slope 1 is a distance; the others are what fitted fields do: too steep, and too flat.
@pytest.mark.parametrize("slope", [0.3, 1.0, 1.2])
def test_rays_stop_at_a_ball_whatever_the_fields_slope(slope):
    hits = trace(lambda x: ball(0.5, slope)(x)[:, 0], [[0.0, 0, -3], [0.3, 0, -3], [0.9, 0, -3]], [[0.0, 0, 1]] * 3)
    assert hits.hit.tolist() == [True, True, False]
    np.testing.assert_allclose(hits.depth[:2], [2.5, 3 - 0.4], atol=1e-4)


def test_rays_that_miss_the_box_have_depth_zero_and_others_reach_its_far_side():
    upwards = torch.tensor([[0.0, 0, 1]] * 2)
    lower, upper = torch.tensor([-0.5, -0.5, -1]), torch.tensor([0.5, 0.5, 1])
    near, far = box_interval(torch.tensor([[5.0, 5, -3], [0.4, 0.4, -3]]), upwards, lower, upper)
    assert near[0] >= far[0]
    assert (near[1], far[1]) == (2, 4)
    hits = trace(lambda x: ball(0.3)(x)[:, 0], [[5.0, 5, -3], [0.29, 0.29, -3]], upwards)
    assert not hits.hit.any()
    assert hits.depth[0] == 0
    assert 3.2 < hits.depth[1] < 3.5


def test_a_ray_along_a_plane_just_above_it_goes_through():
    hits = trace(lambda x: x[:, 2] + 0.5, [[-3.0, 0, -0.4999]], [[1.0, 0, 0]])
    assert not hits.hit.any()


def test_a_ray_that_starts_inside_is_hit_at_once():
    hits = trace(sphere, [list(CENTER)], [[0.0, 0, 1]])
    assert hits.hit.all()
    assert hits.depth[0] == pytest.approx(0, abs=1e-6)


def test_a_field_that_is_positive_everywhere_has_nothing_to_hit():
    hits = trace(lambda x: x.norm(dim=-1) + 1, *rays(100))
    assert not hits.hit.any()


def test_empty_space_costs_no_evaluations():
    asked = []

    def counted(x):
        asked.append(len(x))
        return sphere(x)

    grid = DistanceGrid.of(counted)
    assert sum(asked) < 40_000  # of 274,625 nodes
    asked.clear()
    origins, directions = rays(10_000)
    near, far = box_interval(origins, directions, *grid.box)
    hits = sphere_trace(
        counted, lambda x: (sphere(x), (x - x.new_tensor(CENTER)) / 0.6), grid, origins, directions, near, far
    )
    missed = int((~hits.hit).sum())
    assert missed > 1000
    assert sum(asked) < 0.5 * len(origins)


def test_the_grid_never_promises_more_than_there_is():
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(200_000, 3, generator=generator) * 2 - 1
    for function in (sphere, box, torus):
        clearance, distance = DistanceGrid.of(function).clearance(points), function(points)
        assert (clearance - distance)[distance > 0].max() < 1e-5
        assert clearance[distance <= 0].max() < 1e-5
        # It is worth something all the same.
        assert (clearance / distance.clamp(max=0.25))[distance > 0.1].mean() > 0.7


def test_extraction_and_tracing_agree():
    function = ball(0.6, center=(0.1, 0, 0))
    mesh = extract_surface(function, resolution=96)
    hits = trace(lambda x: function(x)[:, 0], [[0.2, 0.1, -2.0]], [[0.0, 0, 1]])
    point = np.array([[0.2, 0.1, -2.0 + float(hits.depth[0])]])
    _, distance, _ = trimesh.proximity.closest_point_naive(mesh, point)
    assert distance[0] < 1e-3
    assert math.isclose(float(hits.depth[0]), 2 - math.sqrt(0.6**2 - 0.1**2 - 0.1**2), abs_tol=1e-4)
