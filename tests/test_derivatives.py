"""Pictures and volumes that are given by their gradient or their Laplacian."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from winner_nerfstudio import fit, fit_groups, load_field
from winner_nerfstudio.registry import kind_named
from winner_nerfstudio.signals.derivatives import compute_slopes, differentiate, integrate
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.training.prepare import sort_options
from winner_nerfstudio.training.sampling import Derived

from .conftest import call

SMALL = {"hidden_dim": 64, "num_layers": 2, "progress": False}


class Hill:
    """A picture that differs along its axes, its pixels 2 lengths apart down and 0.5 to the right; or such a volume."""

    def __init__(self, *shape, steps):
        self.steps, self.rates = steps, torch.tensor([0.2, 1.1, 0.4][: len(shape)], dtype=torch.float64)
        self.index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
        world = torch.from_numpy(self.index * np.array(steps)).requires_grad_(True)
        values = self(world)
        (gradient,) = torch.autograd.grad(values.sum(), world, create_graph=True)
        seconds = [torch.autograd.grad(gradient[..., axis].sum(), world, retain_graph=True)[0][..., axis] for axis in
                   range(len(shape))]  # fmt: skip
        self.values, self.gradient = values.detach().numpy(), gradient.detach().numpy()
        self.laplacian = sum(seconds).numpy()

    def __call__(self, world):
        return 40 + 10 * (world * self.rates).sin().sum(-1) + (world**2 * self.rates).sum(-1) / 20

    def as_field(self, signal):
        """The function as a network that has learnt it would be."""
        center = torch.tensor(signal.normalization.center)
        scale = 1.0 if signal.kind == "volume" else torch.tensor(self.steps)  # a picture's world is that of its pixels

        def field(coords):
            values = self((coords / signal.normalization.scale + center) * scale)
            return ((values - signal.units.offset) / signal.units.amplitude)[:, None]

        return field


PICTURE = Hill(20, 24, steps=(2.0, 0.5))
VOLUME = Hill(9, 10, 11, steps=(2.0, 0.5, 1.0))


@pytest.mark.parametrize("kind", ["gradient", "laplacian"])
@pytest.mark.parametrize("hill", [PICTURE, VOLUME], ids=["picture", "volume"])
def test_derivatives_are_those_by_the_world_along_each_axis(hill, kind):
    of_kind = "image" if hill is PICTURE else "volume"
    signal = load_signal(getattr(hill, kind), of_kind, supervise=kind, spacing=hill.steps)
    loss, sampler = kind_named(of_kind).loss(signal, None), Derived(signal, torch.device("cpu"), 0, 1 << 16)
    batch = sampler.batch(0)  # of all samples
    right = loss.terms(loss.outputs(hill.as_field(signal), batch["coords"]), batch)
    assert float(right[kind].detach()) < 1e-9
    nothing = loss.terms(loss.outputs(lambda coords: 0 * coords[:, :1] ** 2, batch["coords"]), batch)
    assert float(nothing[kind].detach()) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["gradient", "laplacian"])
@pytest.mark.parametrize("shape", [(12, 15), (12, 15, 3), (6, 7, 8)], ids=str)
def test_integration_undoes_differentiation(shape, kind):
    values = np.random.default_rng(0).standard_normal(shape)
    dim = 2 if shape != (6, 7, 8) else 3
    steps = (2.0, 0.5, 3.0)[:dim]
    data = differentiate(values, kind, steps, dim)
    assert data.shape == (*shape, dim) if kind == "gradient" else shape
    data = data.reshape(*shape[:dim], -1, dim if kind == "gradient" else 1)
    centred = values - values.mean(tuple(range(dim)))
    np.testing.assert_allclose(integrate(data, kind, steps).reshape(shape), centred, atol=1e-9)


def test_a_laplacian_that_is_the_same_everywhere_is_a_bowl():
    values = integrate(np.full((8, 9, 1, 1), 4.0), "laplacian")[..., 0]
    np.testing.assert_allclose(np.diff(values, 2, axis=0), 2)
    np.testing.assert_allclose(np.diff(values, 2, axis=1), 2)


@pytest.mark.parametrize("kind", ["gradient", "laplacian"])
def test_the_noise_is_chosen_by_the_spectrum_over_the_frequency(kind):
    values = load_signal(PICTURE.values, "image")
    given = load_signal(differentiate(PICTURE.values, kind), "image", supervise=kind)
    assert given.centroid == pytest.approx(values.centroid, rel=0.1)  # its constant is another
    for own, told in zip(values.axes, given.axes, strict=True):
        assert told.centroid == pytest.approx(own.centroid, rel=1e-4)


def test_the_noise_is_about_right_for_a_gradient_that_does_not_end_at_the_border():
    values = load_signal(PICTURE.values, "image")
    given = load_signal(PICTURE.gradient, "image", supervise="gradient", spacing=PICTURE.steps)
    for own, told in zip(values.axes, given.axes, strict=True):
        assert told.centroid == pytest.approx(own.centroid, rel=0.15)


def test_a_picture_is_fitted_by_its_gradient_and_has_a_mean_of_zero(tmp_path):
    field = fit(PICTURE.gradient, supervise="gradient", spacing=PICTURE.steps, steps=300, **SMALL)
    error = field.image() - (PICTURE.values - PICTURE.values.mean())
    assert np.abs(error).max() < 0.02 * np.ptp(PICTURE.values)
    assert abs(field.image().mean()) < 0.005 * np.ptp(PICTURE.values)
    assert field.provenance["figures"]["snr_derivatives"] > 25
    assert set(field.provenance["figures"]) == {"snr_derivatives"}
    # The field's own gradient is per pixel.
    slopes = field.gradient(PICTURE.index[5:-5, 5:-5].astype(float))
    np.testing.assert_allclose(slopes, (PICTURE.gradient * PICTURE.steps)[5:-5, 5:-5], atol=0.6)
    field.save(tmp_path / "fit.safetensors")
    np.testing.assert_array_equal(load_field(tmp_path / "fit.safetensors").image(), field.image())


def test_known_values_set_the_constant_and_the_reference_is_compared_at_the_same_mean(tmp_path):
    np.save(tmp_path / "truth.npy", PICTURE.values)
    known = np.full(PICTURE.values.shape, np.nan)
    known[3, 4] = PICTURE.values[3, 4]
    options = {"supervise": "gradient", "spacing": PICTURE.steps, "reference": tmp_path / "truth.npy"}
    free = load_signal(PICTURE.gradient, "image", **options)
    assert free.truth.mean() == pytest.approx(free.values.mean(), abs=1e-5)
    np.save(tmp_path / "known.npy", known)
    field = fit(PICTURE.gradient, steps=300, known=str(tmp_path / "known.npy"), **options, **SMALL)
    assert field(np.array([3.0, 4.0])) == pytest.approx(PICTURE.values[3, 4], abs=0.02 * np.ptp(PICTURE.values))
    assert field.provenance["figures"]["psnr_peak_to_peak"] > 30


def test_a_laplacian_is_fitted_with_the_values_along_the_border():
    known = np.where(np.pad(np.zeros((18, 22), bool), 1, constant_values=True), PICTURE.values, np.nan)
    field = fit(PICTURE.laplacian, supervise="laplacian", spacing=PICTURE.steps, known=known, steps=300, **SMALL)
    assert np.abs(field.image() - PICTURE.values).mean() < 0.06 * np.ptp(PICTURE.values)
    assert field.provenance["figures"]["snr_derivatives"] > 15


def test_small_batches_hold_known_samples():
    known = np.full(PICTURE.values.shape, np.nan)
    known[0] = PICTURE.values[0]
    signal = load_signal(PICTURE.laplacian, "image", supervise="laplacian", spacing=PICTURE.steps, known=known)
    batch = Derived(signal, torch.device("cpu"), 0, 64).batch(3)
    added = batch["known"][-15:, 0]
    assert len(batch["coords"]) == 60 + 15
    assert bool((added == 1).all())


def test_samples_without_derivatives_are_left_out():
    gradient = PICTURE.gradient.copy()
    gradient[4:9, 6:9] = np.nan
    signal = load_signal(gradient, "image", supervise="gradient", spacing=PICTURE.steps, nodata=float("nan"))
    assert signal.missing.sum() == 15
    assert len(signal.fitted) == 20 * 24 - 15
    assert np.isfinite(signal.values).all()


def test_normals_are_those_of_a_height_seen_from_above(tmp_path):
    """A ramp that rises to the right faces left, and one that rises downwards faces up."""
    normals = np.array([[[-1.0, 0, 1], [0, 1, 1]], [[0, 0, 2], [0, 0, -1]]])
    slopes = compute_slopes(normals)
    np.testing.assert_allclose(slopes[0], [[0, 1], [1, 0]])
    np.testing.assert_allclose(slopes[1], [[0, 0], [np.nan, np.nan]])
    np.testing.assert_allclose(compute_slopes(normals, green="down")[0, 1], [-1, 0])
    unit = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
    pixels = np.rint((unit + 1) / 2 * 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    PillowImage.fromarray(pixels).save(tmp_path / "normals.png")
    signal = load_signal(tmp_path / "normals.png", "image", supervise="gradient")
    data = signal.derivatives.data[..., 0, :] * signal.units.amplitude * signal.lattice.spacing
    np.testing.assert_allclose(data[:8, :8], np.broadcast_to([0, 1], (8, 8, 2)), atol=0.02)
    assert signal.missing[8:, 8:].all()
    assert signal.missing.sum() == 64


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((8, 9, 3)), {"supervise": "gradient"}, "compute_slopes"),
        (np.zeros((8, 9)), {"supervise": "gradient"}, r"\[h, w, 2\]"),
        (np.zeros((8, 9, 3, 2, 1)), {"supervise": "laplacian", "kind": "image"}, r"\[h, w\]"),
        (np.zeros((8, 9, 7)), {"supervise": "gradient", "kind": "volume"}, r"\[x, y, z, 3\]"),
        (np.zeros((8, 9, 2)), {"supervise": "gradient", "known": np.zeros((9, 8))}, r"known: has shape \(9, 8\)"),
        (np.zeros((8, 9)), {"supervise": "laplacian", "known": np.full((8, 9), np.nan)}, "one sample at least"),
        (np.zeros((8, 9)), {"known": np.zeros((8, 9))}, "needs supervise"),
        (np.zeros((8, 9)), {"supervise": "normals"}, "values, gradient or laplacian"),
        (np.zeros((8, 9)), {"supervise": "laplacian", "noise_std": 0.1}, "without noise_std"),
        (np.zeros((8, 9)), {"supervise": "laplacian", "parts": (2, 2)}, "leave parts out"),
        (np.zeros((8, 9)), {"supervise": "laplacian", "spacing": -1.0}, "spacing"),
        (np.full((8, 9, 2), np.nan), {"supervise": "gradient"}, "NaN"),
        ("sample:mandala", {"supervise": "gradient"}, "no derivatives"),
        (np.zeros((80, 1)), {"supervise": "gradient"}, "supervise is no option for a fit of kind 'audio'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(data, options, message):
    with pytest.raises(ValueError, match=message) as error:
        fit(data, steps=1, progress=False, **options)
    assert "\n" not in str(error.value)


def test_derivatives_are_not_fitted_in_groups(tmp_path):
    with pytest.raises(ValueError, match="not fitted in groups"):
        fit_groups(PICTURE.gradient, tmp_path / "out", "image", supervise="gradient", progress=False)


def test_many_samples_are_fitted_by_one_network():
    from winner_nerfstudio.training.plan import Course, make_plan

    signal = load_signal(np.zeros((300, 300, 2)), "image", supervise="gradient")
    plan = make_plan(signal, sort_options(kind_named("image"), {}), Course())
    assert not plan.options.network.has_parts
    assert plan.optimizer == "muon"


@pytest.mark.commands
def test_a_picture_of_normals_becomes_a_height(tmp_path):
    slopes = differentiate(np.cos(np.arange(24) / 24 * np.pi)[:, None] * np.ones(20) * 8, "gradient")
    normals = np.concatenate([-slopes[..., 1:], slopes[..., :1], np.ones((24, 20, 1))], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    PillowImage.fromarray(np.rint((normals + 1) * 127.5).astype(np.uint8)).save(tmp_path / "normals.png")
    options = ["--supervise", "gradient", "--steps", "200", "--hidden-dim", "64", "--num-layers", "2"]
    done = call("winner-fit", "normals.png", "--output", "height.npy", *options, cwd=tmp_path)
    assert done.returncode == 0, done.output
    assert "snr derivatives" in done.output
    assert "taken for normals" in done.output
    height = np.load(tmp_path / "height.npy")
    assert height.shape == (24, 20)
    assert height[0].mean() - height[-1].mean() == pytest.approx(16, abs=0.5)


@pytest.mark.parametrize(
    "values, options, words",
    [
        (np.zeros((4, 5)), {"kind": "laplace"}, "kind='laplace' must be gradient or laplacian"),
        (np.zeros(4), {"kind": "gradient"}, r"values of shape \(4,\) have not 2 axes"),
        (np.zeros((0, 4)), {"kind": "gradient"}, r"values of shape \(0, 4\) have not"),
        (np.zeros((4, 5), complex), {"kind": "gradient"}, "values of type complex128 are no real numbers"),
        (np.ma.array(np.eye(4), mask=np.eye(4)), {"kind": "gradient"}, "values are masked in places"),
        (np.zeros((4, 5)), {"kind": "gradient", "steps": 0}, "steps=0 must be a distance above 0"),
        (np.zeros((4, 5)), {"kind": "gradient", "steps": (1, 2, 3)}, r"steps=\(1, 2, 3\) must be a distance"),
    ],
)
def test_what_cannot_be_differentiated_is_one_line(values, options, words):
    with pytest.raises(ValueError, match=words):
        differentiate(values, **options)


def test_a_list_is_differentiated_as_an_array():
    rows = [[0.0, 1.0, 3.0], [2.0, 0.0, 1.0]]
    assert np.array_equal(differentiate(rows, "laplacian"), differentiate(np.array(rows), "laplacian"))
    with pytest.raises(ValueError, match="green='left' must be up or down"):
        compute_slopes(np.ones((2, 3, 3)), "left")


def test_pixels_are_told_from_normals(unchecked):
    with pytest.raises(ValueError, match=r"2 \* pixels / 255 - 1 makes normals"):
        compute_slopes(np.ones((2, 3, 3), np.uint8))
