"""Binary volumes, smoothed before they are fitted."""

import mcubes
import numpy as np
import pytest

from winner_nerfstudio import fit
from winner_nerfstudio.export.grid import export_volume
from winner_nerfstudio.signals import smoothing
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.options import VolumeOptions
from winner_nerfstudio.signals.smoothing import LEAST, MOST, smooth_occupancy
from winner_nerfstudio.signals.volume import load_volume

METHODS = ("constrained", "gaussian")


def ball(size=32, radius=11.0):
    index = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    return np.linalg.norm(index - (size - 1) / 2, axis=-1) < radius


def surface(values, center=15.5):
    """Vertices of the zero surface from the centre, and the normals of its triangles with their own directions."""
    vertices, faces = mcubes.marching_cubes(values.astype(np.float64), 0.0)
    corners = vertices[faces] - center
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=-1)
    outwards = corners.mean(1)
    cosine = (normals * outwards).sum(-1) / np.maximum(area * np.linalg.norm(outwards, axis=-1), 1e-12)
    return vertices - center, np.degrees(np.average(np.arccos(np.abs(cosine).clip(0, 1)), weights=area))


@pytest.mark.parametrize("method", METHODS)
def test_a_balls_staircase_becomes_round(method):
    stairs, stairs_angle = surface(ball() - 0.5)
    vertices, angle = surface(smooth_occupancy(ball(), method))
    radius = np.linalg.norm(vertices, axis=-1)
    assert np.abs(radius - 11).mean() < 0.8 * np.abs(np.linalg.norm(stairs, axis=-1) - 11).mean()
    assert stairs_angle > 18
    assert angle < 0.65 * stairs_angle


@pytest.mark.parametrize("method", METHODS)
def test_thresholding_gives_the_occupancy_back_with_its_thinnest_parts(method):
    occupancy = np.random.default_rng(0).random((12, 9, 7)) < 0.3
    values = smooth_occupancy(occupancy, method)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values > 0, occupancy)
    assert np.abs(values).min() == pytest.approx(LEAST)
    assert np.abs(values).max() <= MOST


@pytest.mark.parametrize("method", METHODS)
def test_values_at_a_plane_are_distances_in_samples(method):
    occupancy = np.zeros((16, 12, 12), bool)
    occupancy[:8] = True
    values = smooth_occupancy(occupancy, method)
    np.testing.assert_allclose(values[7], 0.5, atol=0.2)
    np.testing.assert_allclose(values[8], -0.5, atol=0.2)
    assert (values[:6] > 0.85).all()


def test_left_to_itself_it_is_the_gaussian():
    np.testing.assert_array_equal(smooth_occupancy(ball()), smooth_occupancy(ball(), "gaussian"))


@pytest.mark.parametrize("value", [False, True])
def test_an_occupancy_without_a_surface_is_refused(value):
    with pytest.raises(SignalError, match="all samples on one side"):
        smooth_occupancy(np.full((4, 4, 4), value))


def test_constrained_smoothing_refuses_what_would_take_too_long(monkeypatch):
    monkeypatch.setattr(smoothing, "MOST_IN_BAND", 1000)
    with pytest.raises(SignalError, match=r"at most 1,000 samples within 4 of the surface, and there are [\d,]+; use"):
        smooth_occupancy(ball(), "constrained")
    monkeypatch.setattr(smoothing, "MOST_SAMPLES", 30**3)
    with pytest.raises(SignalError, match="at most 27,000 samples, and there are 32,768; use gaussian"):
        smooth_occupancy(ball(), "constrained")
    smooth_occupancy(ball())


@pytest.mark.quality
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "inside, dtype, high", [("above", np.uint8, 255), ("below", np.float32, 3.5), ("above", bool, 1)]
)
def test_a_smoothed_volume_is_fitted_and_comes_back_as_it_was(tmp_path, method, inside, dtype, high):
    array = np.where(ball(20, 7.0), high, 0).astype(dtype)
    options = VolumeOptions(smooth=method, inside=inside)
    volume = load_volume(array, options)
    assert np.abs(volume.values).min() >= LEAST
    assert len(np.unique(volume.values)) > 2
    assert np.array_equal(volume.inside(volume.values)[..., 0], (array > 0) == (inside == "above"))
    field = fit(array, "volume", smooth=method, inside=inside, steps=150, hidden_dim=48, num_layers=3, progress=False)
    assert field.provenance["figures"]["iou"] > 0.97
    back = field.volume()
    assert back.dtype == dtype
    assert set(np.unique(back)) == {array.min(), array.max()}
    assert (back == array).mean() > 0.99
    assert export_volume(field.field, tmp_path / "a.npy").startswith("20 x 20 x 20 samples")
    assert np.array_equal(np.load(tmp_path / "a.npy"), back)


def test_smoothing_is_refused_for_more_than_two_values():
    with pytest.raises(SignalError, match="array: smooth=gaussian is for arrays of two values"):
        load_volume(np.random.default_rng(0).random((5, 6, 7)), VolumeOptions(smooth="gaussian"))
    with pytest.raises(SignalError, match="array: smooth=gaussian is for arrays of two values"):
        load_volume(np.ones((5, 6, 7), bool), VolumeOptions(smooth="gaussian"))
    with pytest.raises(SignalError, match="smooth='x' must be none, gaussian or constrained"):
        load_volume("sample:sponge", VolumeOptions(smooth="x"))
