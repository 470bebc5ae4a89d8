"""The distance field where nerfstudio's stands: values that are known, and nerfstudio's own NeuS with it."""

import numpy as np
import pytest
import torch
from nerfstudio.cameras.rays import Frustums, RayBundle, RaySamples
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.field_components.field_heads import FieldHeadNames
from nerfstudio.field_components.spatial_distortions import SceneContraction
from nerfstudio.models.neus import NeuSModelConfig
from torch import nn

from winner_nerfstudio.nerfstudio import WinnerSDFFieldConfig

BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def make_field(aabb=BOX, num_images=3, spatial_distortion=None, **options):
    torch.manual_seed(0)
    config = WinnerSDFFieldConfig(**{"hidden_dim": 32, "geo_feat_dim": 8, **options})
    return config.setup(aabb=aabb.clone(), num_images=num_images, spatial_distortion=spatial_distortion)


def sphere_alone(field):
    """The field as it would be were the network exactly zero."""
    with torch.no_grad():
        for parameter in field.geometry.layers[-1].parameters():
            parameter.zero_()
    return field


def samples_along(origins, directions, starts, ends):
    """Ray samples [rays, samples] from what NeuS's sampler would give."""
    shape = starts.shape
    return RaySamples(
        frustums=Frustums(
            origins=origins[:, None].expand(*shape[:2], 3),
            directions=directions[:, None].expand(*shape[:2], 3),
            starts=starts,
            ends=ends,
            pixel_area=torch.ones(*shape[:2], 1),
        ),
        camera_indices=torch.zeros(*shape[:2], 1, dtype=torch.long),
        deltas=ends - starts,
    )


def some_samples(rays=5, count=7):
    generator = torch.Generator().manual_seed(1)
    origins = torch.randn(rays, 3, generator=generator)
    directions = nn.functional.normalize(-origins + 0.2 * torch.randn(rays, 3, generator=generator), dim=-1)
    edges = torch.linspace(0.1, 2.0, count + 1)[None, :, None].expand(rays, -1, 1)
    return samples_along(origins, directions, edges[:, :-1], edges[:, 1:])


@pytest.mark.parametrize("inside_outside", [False, True])
def test_without_its_network_it_is_a_sphere_in_scene_units(inside_outside):
    box = torch.tensor([[1.0, 0.0, -2.0], [5.0, 2.0, 1.0]])  # longest side 4, middle (3, 1, -.5)
    field = sphere_alone(make_field(box, bias=0.6, inside_outside=inside_outside))
    points = torch.tensor([[3.0, 1.0, -0.5], [4.2, 1.0, -0.5], [3.0, 3.0, -0.5], [3.0, 1.0, 2.5]])
    known = torch.tensor([-1.2, 0.0, 0.8, 1.8])[:, None]
    torch.testing.assert_close(field.signed_distance(points), -known if inside_outside else known, atol=3e-4, rtol=0)


def test_it_starts_close_to_that_sphere():
    points = 2 * torch.rand(4096, 3, generator=torch.Generator().manual_seed(2)) - 1
    sphere = points.norm(dim=-1, keepdim=True) - 0.5
    off = make_field(hidden_dim=128).signed_distance(points) - sphere
    # A sine network of any width puts out about 1 / omega_0 (arXiv 2006.09661, theorem 1.8).
    assert off.std() < 2 / 30
    assert off.abs().max() < 0.25


def test_the_gradient_is_that_of_finite_differences():
    field = make_field(torch.tensor([[-1.0, -2.0, -1.0], [2.0, 1.0, 1.0]])).double()
    points = torch.rand(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    step = 1e-6
    differences = torch.cat(
        [
            (field.signed_distance(points + h) - field.signed_distance(points - h)) / (2 * step)
            for h in step * torch.eye(3).double()
        ],
        -1,
    )
    torch.testing.assert_close(field.gradient(points), differences, atol=1e-7, rtol=1e-6)
    directions = sphere_alone(field).gradient(points)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(50).double(), atol=1e-6, rtol=0)


def test_the_gradient_is_finite_at_the_very_centre():
    field = make_field(spatial_distortion=SceneContraction(order=float("inf")))
    gradient = field.gradient(torch.zeros(1, 3))
    gradient.square().sum().backward()
    assert torch.isfinite(gradient).all()
    assert all(torch.isfinite(p.grad).all() for p in field.geometry.parameters() if p.grad is not None)


def test_distance_network_and_samples_say_the_same():
    field, samples = make_field(), some_samples()
    positions = samples.frustums.get_start_positions()
    flat = field.forward_geonetwork(positions.reshape(-1, 3))
    assert flat.shape == (35, 9)
    torch.testing.assert_close(flat[:, :1].view(5, 7, 1), field.get_sdf(samples))
    outputs = field(samples, return_alphas=True)
    torch.testing.assert_close(outputs[FieldHeadNames.SDF], field.get_sdf(samples))
    torch.testing.assert_close(outputs[FieldHeadNames.GRADIENT], field.gradient(positions))
    torch.testing.assert_close(outputs[FieldHeadNames.NORMALS].norm(dim=-1), torch.ones(5, 7))
    assert outputs[FieldHeadNames.RGB].shape == (5, 7, 3)
    torch.testing.assert_close(outputs[FieldHeadNames.ALPHA], field.get_alpha(samples))


def test_alpha_is_that_of_neus():
    """Equation 13 of arXiv 2106.10689, on a ray straight through the sphere's middle, where it is known."""
    field = sphere_alone(make_field(bias=0.5, beta_init=0.3))
    edges = torch.linspace(0.0, 1.0, 21)[None, :, None]
    samples = samples_along(
        torch.tensor([[0.0, 0.0, 1.2]]), torch.tensor([[0.0, 0.0, -1.0]]), edges[:, :-1], edges[:, 1:]
    )
    # The distance falls by as much as one goes: 0.7 - t, and sections reach half a step to either side.
    sharpness = np.exp(10 * 0.3)
    distance = 0.7 - edges[0, :-1, 0].numpy()
    before, after = (1 / (1 + np.exp(-sharpness * (distance + side * 0.025))) for side in (1, -1))
    expected = np.clip((before - after) / before, 0, 1)
    got = field.get_alpha(samples)[0, :, 0].detach().numpy()
    np.testing.assert_allclose(got, expected, atol=2e-3)
    assert expected.max() > 0.5  # it does meet the surface
    # With the cosine not annealed at all, it counts as (1 + |cos|) / 2, the same for a ray straight on.
    field.set_cos_anneal_ratio(0.0)
    np.testing.assert_allclose(field.get_alpha(samples)[0, :, 0].detach().numpy(), expected, atol=2e-3)


def test_the_contraction_changes_nothing_in_the_box_and_bounds_what_is_outside():
    plain, contracted = make_field(), make_field(spatial_distortion=SceneContraction(order=float("inf")))
    inside = 1.98 * torch.rand(100, 3) - 0.99
    torch.testing.assert_close(
        contracted.forward_geonetwork(inside), plain.forward_geonetwork(inside), atol=1e-3, rtol=0
    )
    # Far away a move of one unit is none to the networks.
    far = torch.tensor([[1e6, 0.0, 0.0]])
    texture = contracted.forward_geonetwork(torch.cat([far, far + 1]))[:, 1:]
    torch.testing.assert_close(texture[0], texture[1], atol=1e-3, rtol=0)


def test_appearance_is_learnt_where_it_is_asked_for():
    samples = some_samples()
    other = some_samples()
    other.camera_indices = torch.full_like(other.camera_indices, 2)
    for wanted in (False, True):
        field = make_field(use_appearance_embedding=wanted).train()
        same = torch.equal(field(samples)[FieldHeadNames.RGB], field(other)[FieldHeadNames.RGB])
        assert same != wanted
        field.eval()
        assert torch.equal(field(samples)[FieldHeadNames.RGB], field(other)[FieldHeadNames.RGB])


class NoLPIPS(nn.Module):
    """Stands in for torchmetrics' LPIPS, which downloads its weights when it is made."""


@pytest.mark.commands
def test_nerfstudios_own_neus_trains_with_it(monkeypatch):
    monkeypatch.setattr("torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity", NoLPIPS)
    torch.manual_seed(4)
    config = NeuSModelConfig(
        sdf_field=WinnerSDFFieldConfig(hidden_dim=32, geo_feat_dim=8),
        num_samples=24,
        num_samples_importance=16,
        background_model="none",
        eikonal_loss_mult=0.1,
    )
    model = config.setup(scene_box=SceneBox(aabb=BOX.clone()), num_train_data=4, metadata={}).train()
    # A red disc before black: rays that come closer than 0.4 to the middle.
    generator = torch.Generator().manual_seed(5)
    aims = torch.nn.functional.pad(2 * torch.rand(128, 2, generator=generator) - 1, (0, 1))
    origins = torch.tensor([0.0, 0.0, 3.0]).expand(128, 3)
    directions = nn.functional.normalize(aims - origins, dim=-1)
    nearest = torch.linalg.cross(origins, directions).norm(dim=-1, keepdim=True)
    batch = {"image": (nearest < 0.4) * torch.tensor([1.0, 0.0, 0.0])}
    optimizer = torch.optim.Adam(model.get_param_groups()["fields"], 2e-3)
    losses = []
    for _ in range(40):
        rays = RayBundle(
            origins.clone(),
            directions.clone(),
            pixel_area=torch.ones(128, 1),
            camera_indices=torch.zeros(128, 1, dtype=torch.long),
            metadata={"directions_norm": torch.ones(128, 1)},
        )
        terms = model.get_loss_dict(model(rays), batch)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        losses.append(terms["rgb_loss"].item())
        if len(losses) == 1:
            for name, parameter in model.field.named_parameters():
                if parameter.requires_grad and not name.startswith("embedding"):
                    assert parameter.grad is not None, name
                    assert torch.isfinite(parameter.grad).all(), name
        optimizer.step()
    # All black would be at the disc's part of the view, pi 0.4^2 / 4 by three channels.
    assert losses[-1] < min(losses[0], np.pi * 0.16 / 4 / 3) / 2
    assert model.get_outputs_for_camera_ray_bundle(rays[:, None])["rgb"].shape == (128, 1, 3)
