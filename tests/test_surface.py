import mcubes
import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree

from winner_nerfstudio import Siren, siren_init_
from winner_nerfstudio.surfaces import EmptySurfaceError, extract_surface
from winner_nerfstudio.surfaces.extraction import CLEARANCE, DENSEST, DenseSurfaceError, pull_onto_level


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
        (ball(-0.5), 0.4999999, "no surface at level 0.4999999: the field lies between 0.5"),
        (lambda x: x[:, :1] * float("nan"), 0.0, "not finite"),
    ],
)
def test_no_surface_is_an_error_that_names_the_fields_range(function, level, words):
    with pytest.raises(EmptySurfaceError, match=words):
        extract_surface(function, resolution=17, level=level)


def test_a_level_that_leaves_the_cube_is_refused_with_the_largest_that_fits():
    with pytest.raises(EmptySurfaceError, match=r"leaves the cube .* at most 0\.1 stays inside"):
        extract_surface(ball(0.9), resolution=33, level=0.3)


def dense_surface(function, resolution, level=0.0):
    """Marching cubes over all samples, by a library that the product does not use for it."""
    axis = torch.from_numpy(np.linspace(-1, 1, resolution, dtype=np.float32))
    slabs = [torch.stack(torch.meshgrid(x[None], axis, axis, indexing="ij"), -1).reshape(-1, 3) for x in axis]
    values = np.stack([function(slab).float().reshape(resolution, resolution).numpy() for slab in slabs]) - level
    outside = np.ones(values.shape, bool)
    outside[1:-1, 1:-1, 1:-1] = False
    values[outside] = values[outside].clip(min=2 / (resolution - 1))
    # As in the product, the surface keeps off the samples.
    least = np.float32(CLEARANCE * 2 / (resolution - 1))
    values = np.where(np.abs(values) < least, np.where(values < 0, -least, least), values)
    vertices, faces = mcubes.marching_cubes(values.astype(np.float64), 0.0)
    return trimesh.Trimesh(vertices * 2 / (resolution - 1) - 1, faces[:, ::-1], process=False)


def assert_same_surface(sparse, dense, tolerance=1e-5):
    """No vertex of either is farther from the other's than that part of the cube's side; and there are no holes."""
    for one, other in ((sparse, dense), (dense, sparse)):
        assert cKDTree(one.vertices).query(other.vertices)[0].max() < 2 * tolerance
    assert sparse.is_watertight


def balls(radius, count, seed=0):
    """Small islands all over the cube, apart from each other by far more than their size."""
    centers = np.random.default_rng(seed).uniform(-0.9, 0.9, (count, 3))
    tree = cKDTree(centers)
    return lambda x: torch.from_numpy(tree.query(x.double().numpy())[0][:, None] - radius)


def tilted(thickness):
    """A round sheet, tilted to all axes and thinner than a cell of the coarsest grid."""
    normal = torch.tensor([0.3, 0.5, 0.8124], dtype=torch.float64)

    def distance(x):
        x = x.double()
        along = x @ normal / normal.norm()
        across = (x.square().sum(-1) - along**2).clamp(min=0).sqrt() - 0.8
        edge = torch.stack([along.abs() - thickness / 2, across], -1)
        return (edge.clamp(min=0).norm(dim=-1) + edge.amax(-1).clamp(max=0))[:, None]

    return distance


def bumps(width, count=60):
    """A ball in a field that dips elsewhere: islands whose surroundings know little of them."""
    tree = cKDTree(np.random.default_rng(1).uniform(-0.9, 0.9, (count, 3)))

    def dip(x):
        distance = torch.from_numpy(tree.query(x.double().numpy())[0][:, None])
        return 1.5 * torch.exp(-(distance**2) / (2 * width**2))

    return lambda x: ball(0.3)(x) - dip(x)


def rough(x):
    """What a network with too much noise makes of a ball: waves as steep as the distance itself, many islands."""
    rng = np.random.default_rng(2)
    waves = torch.from_numpy(rng.normal(size=(60, 3)) * 25)
    phases = torch.from_numpy(rng.uniform(0, 2 * np.pi, 60))
    return ball(0.5)(x) + 0.03 * torch.sin(x.double() @ waves.T + phases).sum(-1, keepdim=True)


THIN = {
    "islands": (balls(0.012, 200), (1.0,)),
    "larger islands": (balls(0.02, 50), (0.3, 4.0)),
    "thin sheet": (tilted(0.01), (1.0,)),
    "sheet": (tilted(0.02), (0.3, 4.0)),
    "narrow dips": (bumps(0.03), (1.0,)),
    "dips": (bumps(0.05), (0.3, 4.0)),
    "rough": (rough, (1.0,)),
}


def torus(x):
    return torch.stack([x[:, :2].norm(dim=-1) - 0.6, x[:, 2]], -1).norm(dim=-1, keepdim=True) - 0.15


def box(x):
    return ((x - x.new_tensor([0.1, -0.2, 0.05])).abs() - x.new_tensor([0.5, 0.3, 0.7])).amax(-1, keepdim=True)


@torch.no_grad()
def network(x):
    """A ball bent by a network with random weights, like a field early in its training."""
    siren = Siren(3, 1, 32, 2)
    siren_init_(siren, seed=0)
    return ball(0.6)(x) + 0.2 * siren(x)


@pytest.mark.quality
@pytest.mark.parametrize(
    "function, level",
    [(ball(0.7), 0.0), (torus, 0.1), (box, -0.05), (ball(0.5, center=(0.9, 0, 0)), 0.0), (network, 0.0)],
    ids=["ball", "torus above 0", "box below 0", "ball cut by a wall", "network"],
)
@pytest.mark.parametrize("resolution", [40, 131])
def test_the_surface_is_that_of_pymcubes_over_the_whole_grid(function, level, resolution):
    sparse, dense = extract_surface(function, resolution, level), dense_surface(function, resolution, level)
    assert_same_surface(sparse, dense)
    assert len(sparse.vertices) == len(dense.vertices)
    assert sparse.volume == pytest.approx(dense.volume, rel=1e-4)
    assert sparse.area == pytest.approx(dense.area, rel=1e-4)


@pytest.mark.quality
@pytest.mark.parametrize("name, slope", [(name, slope) for name in THIN for slope in THIN[name][1]])
def test_nothing_is_lost_by_looking_only_where_the_surface_can_be(name, slope):
    function, _ = THIN[name]
    evaluated = [0]

    def counted(x):
        evaluated[0] += len(x)
        return slope * function(x)

    sparse = extract_surface(counted, resolution=200)
    assert_same_surface(sparse, dense_surface(lambda x: slope * function(x), 200))
    # Not by looking everywhere, unless there is something everywhere.
    assert name == "rough" or evaluated[0] < 200**3 / 3


@pytest.mark.quality
def test_a_surface_that_is_found_in_part_is_followed_to_its_end():
    # Where the rod is thin, each cell of the coarsest grid takes it for farther away than it is.
    def rod(x):
        radius = 0.002 + 0.2 * (x[:, :1] < -0.5)
        distance = (x[:, 1:] - 0.0123).norm(dim=-1, keepdim=True) - radius
        return torch.maximum(distance, x[:, :1].abs() - 0.8).clamp(max=0.003)

    sparse = extract_surface(rod, resolution=257)
    assert_same_surface(sparse, dense_surface(rod, 257))


@pytest.mark.quality
def test_evaluations_grow_as_the_surface_does():
    counts = []
    for resolution in (128, 256, 512):
        evaluated = []

        def counted(x, evaluated=evaluated):
            evaluated.append(len(x))
            return ball(0.6)(x)

        mesh = extract_surface(counted, resolution)
        counts.append(sum(evaluated))
        assert mesh.is_watertight
        assert mesh.body_count == 1
        assert max(evaluated) <= 1 << 15
    assert counts[2] < 512**3 / 40
    assert (counts[2] - counts[1]) / (counts[1] - counts[0]) == pytest.approx(4, rel=0.15)


def test_the_surface_of_noise_is_not_extracted_where_it_is_measured():
    with pytest.raises(DenseSurfaceError, match="crosses more than 50% of all cells, so the field is noise"):
        extract_surface(noise, 256, densest=DENSEST)
    assert len(extract_surface(ball(0.9), 128, densest=DENSEST).faces) > 0
    assert len(extract_surface(noise, 16).faces) > 0


def noise(points):
    """Values that look random, at points [n, 3]."""
    return torch.sin(1e4 * points @ torch.tensor([[1.0], [2.3], [3.7]]))


class Lens:
    """A body that is thinner than a cell, flat on one side: what a level set leaves at the wall of a volume's box."""

    wall = (4 + 0.006) / 16

    def evaluate(self, x):
        dent = self.wall - x[:, 1] + 0.05 * (x[:, 0] ** 2 + x[:, 2] ** 2 - 0.3)
        return torch.maximum(x[:, 1] - self.wall, dent)[:, None]

    def value_and_gradient(self, x):
        x = x.requires_grad_()
        value = self.evaluate(x)[:, 0]
        return value.detach(), torch.autograd.grad(value.sum(), x)[0]


def test_two_sides_of_a_layer_that_is_thinner_than_a_cell_do_not_fall_together():
    mesh = extract_surface(Lens().evaluate, resolution=33)
    pulled = pull_onto_level(mesh, Lens(), level=0.0, spacing=1 / 16)
    assert len(np.unique(pulled.vertices.astype(np.float32), axis=0)) == len(mesh.vertices)
    assert pulled.volume > mesh.volume / 2
