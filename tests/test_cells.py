"""Shapes that are divided into cells: small networks in those near the surface, another for the whole cube."""

import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio import fit, load_field
from winner_nerfstudio.networks import CellBank, build_network
from winner_nerfstudio.signals.shape import Shape
from winner_nerfstudio.training.cell_targets import SAMPLES, CellColors, CellDistance
from winner_nerfstudio.training.cells import (
    MOST_MEMBERS,
    MOST_PARTS,
    OVERLAP,
    PROBES,
    REACH,
    STEPS_PER_ROUND,
    CellSampler,
    DistanceCellLoss,
    choose_cells,
    find_near_cells,
)
from winner_nerfstudio.training.initialize import build_field, initialize_
from winner_nerfstudio.training.options import DistanceOptions, DrawnOptions
from winner_nerfstudio.training.share import Share
from winner_nerfstudio.winner import axes_of

from .conftest import call, config_of, weights_of
from .meshes import sphere

OPTIONS = DistanceOptions(parts=(4,), hidden_dim=8, num_layers=2)
BATCHES = DrawnOptions(batch_size=256, steps_per_chunk=2)
CPU = torch.device("cpu")


def random_bank(members: int = 40) -> CellBank:
    torch.manual_seed(0)
    sizes = {"hidden_dim": 8, "num_layers": 2, "far_dim": 8, "far_layers": 2}
    bank = build_network("cells", in_dim=3, out_dim=1, parts=4, members=members, **sizes)
    assert isinstance(bank, CellBank)
    return bank.double()


def draw_points(count: int = 300) -> torch.Tensor:
    return torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2.1 - 1.05


@pytest.fixture(autouse=True)
def small_pool(monkeypatch):
    monkeypatch.setattr(CellDistance, "pool", 256)
    monkeypatch.setattr(CellColors, "pool", 256)


@pytest.fixture(scope="module")
def ring() -> Shape:
    return Shape.from_mesh(trimesh.creation.torus(1.0, 0.2, major_sections=32, minor_sections=12), "ring")


def test_windows_add_up_to_one_with_that_of_the_whole_cubes_network():
    bank = random_bank()
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.zero_()
        bank.biases[-1].fill_(0.7 / bank.half_width)
        bank.far.biases[-1].fill_(0.7)
    torch.testing.assert_close(bank(draw_points()), torch.full((300, 1), 0.7, dtype=torch.float64))


def test_the_whole_cubes_network_alone_has_the_value_far_from_all_cells_with_a_member():
    bank, x = random_bank(1), draw_points() * 0.5 + 0.45
    torch.testing.assert_close(bank(x), bank.evaluate_far(x))


def test_the_values_do_not_depend_on_the_other_points_nor_on_how_they_are_computed():
    bank, x = random_bank(), draw_points(40)
    torch.testing.assert_close(torch.cat([bank(point[None]) for point in x]), bank(x))
    torch.testing.assert_close(bank._blend_all(x, bank.find_cells(x)), bank(x))
    assert bank(x[:0]).shape == (0, 1)


def test_a_point_that_is_no_number_has_no_value_and_leaves_the_others_theirs():
    bank, x = random_bank(), draw_points(40)
    broken = x.index_fill(0, torch.tensor([3]), torch.nan).index_fill(0, torch.tensor([5]), torch.inf)
    is_broken = torch.isin(torch.arange(40), torch.tensor([3, 5]))
    assert bank(broken)[is_broken].isnan().all()
    torch.testing.assert_close(bank(broken)[~is_broken], bank(x)[~is_broken])


def test_derivatives_are_those_of_finite_differences_across_all_borders():
    bank, x = random_bank(), draw_points().requires_grad_()
    (gradient,) = torch.autograd.grad(bank(x).sum(), x)
    for axis in range(3):
        shift = 1e-6 * torch.eye(3, dtype=torch.float64)[axis]
        difference = (bank(x + shift) - bank(x - shift))[:, 0] / 2e-6
        torch.testing.assert_close(gradient[:, axis], difference, rtol=1e-5, atol=1e-6)


def test_cells_are_those_that_the_surface_passes_through_and_few_others(ring):
    parts = 8
    cells = find_near_cells(ring, parts)
    surface, _ = ring.sample_surface(np.random.default_rng(0), 20_000)
    touched = np.unique(((surface + 1) * parts / 2).astype(int), axis=0)
    assert {tuple(cell) for cell in touched} <= {tuple(cell) for cell in cells}
    centers = (cells + 0.5) * 2 / parts - 1
    assert ring.distance(centers).max() < REACH + (1 + OVERLAP + 0.5) * np.sqrt(3) / parts


def test_a_cell_is_near_the_surface_if_one_of_its_probes_is(ring):
    parts = 5
    step = (1 + OVERLAP) * 2 / parts
    centers = (np.indices((parts,) * 3).reshape(3, -1).T + 0.5) * 2 / parts - 1
    offsets = ((np.indices((PROBES,) * 3).reshape(3, -1).T + 0.5) / PROBES - 0.5) * step
    distance = ring.distance((centers[:, None] + offsets).reshape(-1, 3)).reshape(len(centers), -1)
    is_near = distance.min(1) < REACH + np.sqrt(3) / 2 * step / PROBES
    np.testing.assert_array_equal(find_near_cells(ring, parts), np.argwhere(is_near.reshape((parts,) * 3)))


@pytest.mark.parametrize("solid", ["box", "cylinder", "icosphere"])
def test_a_shape_gets_as_many_cells_as_the_limit_allows(solid):
    sizes = {"radius": 1, "height": 2} if solid == "cylinder" else {}
    shape = Shape.from_mesh(getattr(trimesh.creation, solid)(**sizes), solid)
    parts = choose_cells(shape)
    assert 2 < parts < MOST_PARTS
    assert len(find_near_cells(shape, parts)) <= MOST_MEMBERS < len(find_near_cells(shape, parts + 1))


def test_members_get_points_of_their_own_cells_in_their_own_unit(ring):
    bank = build_field(ring, OPTIONS, 0).network
    batch = CellSampler(CellDistance(ring), bank, CPU, 0, BATCHES).batch(3)
    assert batch["coords"].abs().max() <= 1 + 1e-5
    world = bank.centers[:, None] + bank.half_width * batch["coords"]
    expected = ring.signed_distance(world.reshape(-1, 3).numpy()).reshape(bank.count, -1)
    np.testing.assert_allclose(batch["values"][..., 0] * bank.half_width, expected, atol=1e-5)
    expected = ring.signed_distance(batch["far_coords"].numpy())
    np.testing.assert_allclose(batch["far_values"][:, 0], expected, atol=1e-6)
    again = CellSampler(CellDistance(ring), bank, CPU, 0, BATCHES).batch(3)
    assert all(torch.equal(batch[name], again[name]) for name in batch)


def test_a_steps_batch_does_not_depend_on_the_steps_before(ring):
    bank = build_field(ring, OPTIONS, 0).network
    one, other = (CellSampler(CellDistance(ring), bank, CPU, 0, BATCHES) for _ in range(2))
    later, first = one.batch(2 * STEPS_PER_ROUND), one.batch(0)
    for step, batch in ((0, first), (2 * STEPS_PER_ROUND, later)):
        assert all(torch.equal(values, batch[name]) for name, values in other.batch(step).items())


def test_later_rounds_add_points_that_were_not_there_before(ring):
    sampler = CellSampler(CellDistance(ring), build_field(ring, OPTIONS, 0).network, CPU, 0, BATCHES)

    def find_points(*batches: dict[str, torch.Tensor]) -> set[tuple[float, ...]]:
        return {tuple(point) for batch in batches for point in batch["coords"][0].tolist()}

    first = find_points(*map(sampler.batch, range(5)))
    again = find_points(*map(sampler.batch, range(STEPS_PER_ROUND, STEPS_PER_ROUND + 5)))
    assert first < again
    assert len(again) > 1.5 * len(first)
    assert not find_points(sampler.evaluation()) & (first | again)
    assert find_points(sampler.evaluation()) == find_points(sampler.evaluation())


def test_the_noise_of_a_cells_network_follows_from_the_distance_in_it(ring):
    bank = build_field(ring, OPTIONS, 0).network
    axis = torch.linspace(-1, 1, SAMPLES, dtype=torch.float64)
    world = bank.centers[7] + bank.half_width * torch.cartesian_prod(axis, axis, axis)
    found = CellDistance(ring).describe_cells(bank)[7]
    expected = ring.signed_distance(world.numpy()) / bank.half_width
    np.testing.assert_allclose(found["target"].flatten(), expected, atol=1e-4)
    centroids = [axis.centroid for axis in axes_of(found["target"])]
    assert [axis.centroid for axis in found["axes"]] == pytest.approx(centroids, rel=1e-9)


def test_the_initialisation_depends_on_its_seed_alone(ring):
    first, second = build_field(ring, OPTIONS, 0), build_field(ring, OPTIONS, 1)
    assert str(initialize_(first, ring, OPTIONS, 5)) == str(initialize_(second, ring, OPTIONS, 5))
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_loss_of_the_exact_distance_is_zero(ring):
    batch = CellSampler(CellDistance(ring), build_field(ring, OPTIONS, 0).network, CPU, 0, BATCHES).batch(0)
    terms = DistanceCellLoss(OPTIONS).terms({"values": batch["values"]}, batch)
    assert {name: float(term) for name, term in terms.items()} == {"sdf_cells": 0.0}


def test_the_terms_and_gradients_of_two_processes_add_up_to_those_of_one(ring):
    field = build_field(ring, OPTIONS, 0)
    loss, batch = DistanceCellLoss(OPTIONS), CellSampler(CellDistance(ring), field.network, CPU, 0, BATCHES).batch(0)

    def compute(*shares: Share) -> list[torch.Tensor]:
        field.zero_grad()
        terms = [loss.share_terms(field, batch, share) for share in shares]
        total = sum(sum(each.values()) for each in terms)
        total.backward()
        return [total.detach(), *(parameter.grad for parameter in field.network.parameters())]

    for one, two in zip(compute(Share()), compute(Share(0, 2), Share(1, 2)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.quality
def test_a_shape_is_fitted_in_cells_and_comes_back_from_its_file(tmp_path):
    ring = trimesh.creation.torus(1.0, 0.2, major_sections=32, minor_sections=12)
    options = {"hidden_dim": 12, "num_layers": 2, "batch_size": 256, "device": "cpu"}
    fitted = fit(ring, parts=(4,), steps=100, progress=False, measure=False, **options)
    surface, _ = trimesh.sample.sample_surface(ring, 500, seed=0)
    assert np.abs(fitted(surface)).mean() < 0.02
    fitted.save(tmp_path / "ring.safetensors")
    x = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    np.testing.assert_array_equal(load_field(tmp_path / "ring.safetensors")(x), fitted(x))
    assert fitted.mesh(32).is_watertight


@pytest.mark.commands
def test_ns_train_resumes_a_shape_in_cells_to_the_same_bits(tmp_path):
    sphere(2.0, subdivisions=3).export(tmp_path / "ball.ply")
    sizes = ["--pipeline.model.hidden-dim", "8", "--pipeline.model.num-layers", "2"]
    sizes += ["--pipeline.model.eval-resolution", "16", "--pipeline.datamanager.batch-size", "64"]
    command = ["ns-train", "winner-sdf", "--data", "ball.ply", "--pipeline.model.parts", "3", *sizes]
    command += ["--steps-per-save", "5", "--save-only-latest-checkpoint", "False", "--max-num-iterations", "10"]
    whole = call(*command, cwd=tmp_path)
    assert "26 of 3^3 cells, and one for the whole cube" in whole.output
    models = config_of(whole, tmp_path).parent / "nerfstudio_models"
    resumed = call(*command, "--load-dir", models, "--load-step", "5", cwd=tmp_path)
    first, second = (weights_of(config_of(result, tmp_path)) for result in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"parts": (4, 4, 5)}, "give one number from 2 to 64"),
        ({"parts": (500,)}, "give one number from 2 to 64"),
        ({"parts": (4,), "overlap": 4}, "overlap=4 is for regularly sampled signals"),
        ({"parts": (4,), "eikonal_weight": 1.0}, "for a single network"),
    ],
)
def test_cells_that_a_shape_cannot_have_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message):
        DistanceOptions(**options).check(3)


def test_a_point_cloud_is_not_divided():
    with pytest.raises(ValueError, match="only meshes are divided into parts"):
        fit(trimesh.creation.icosphere(3).vertices, kind="sdf", parts=(4,), steps=1, progress=False)
