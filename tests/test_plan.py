"""Tests of what a fit chooses by itself, and of the steps between the samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio import fit
from winner_nerfstudio.cli.kinds import parse_fit_options
from winner_nerfstudio.registry import kind_named
from winner_nerfstudio.signals.cloud import PointCloud
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.interpolation import interpolate, interpolate_half_way
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.signals.samples import mandala
from winner_nerfstudio.signals.shape.colors import CornerColors
from winner_nerfstudio.training.cells import find_near_cells
from winner_nerfstudio.training.initialize import build_field, build_sampler
from winner_nerfstudio.training.options import NetworkOptions, ResidentOptions
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import list_arguments, prepare, sort_options

from .conftest import make_config
from .meshes import sphere

CPU = torch.device("cpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def plan_for(data, kind="image", steps=None, learning_rate=None, loading=None, optimizer=None, **options):
    signal = load_signal(data, kind, **(loading or {}))
    course = Course(steps, learning_rate, optimizer)
    return make_plan(signal, sort_options(kind_named(kind), options, loaded=True), course)


def test_a_signal_of_few_samples_is_fitted_by_one_network_as_before():
    plan = plan_for(noise(90, 91))
    assert (plan.options.network.parts, plan.options.network.hidden_dim, plan.options.batches.batch_size) == (
        (1,),
        256,
        4096,
    )
    assert (plan.steps, plan.optimizer, plan.learning_rate, plan.options.batches.between) == (3000, "adam", 5e-4, 0)


def test_a_picture_of_many_pixels_is_divided_into_parts_of_32_by_32():
    plan = plan_for(noise(256, 320))
    assert (plan.options.network.parts, plan.options.network.overlap) == ((8, 10), 2)
    assert plan.options.network.hidden_dim == 32
    assert plan.options.batches.batch_size == 512
    assert plan.options.batches.between == 0.25
    assert (plan.steps, plan.optimizer, plan.learning_rate) == (600, "muon", 1.5e-3)


def test_the_noise_of_a_pictures_parts_is_theirs_unless_it_is_asked_for():
    assert plan_for(noise(256, 320)).options.network.noise.exactness == 0.05
    assert plan_for(noise(256, 320), exactness=0.7).options.network.noise.exactness == 0.7
    assert plan_for(noise(102400), "audio").options.network.noise.exactness is None
    assert plan_for(noise(256, 320), parts=(8,), s0=1.0, s1=1.0).options.network.noise.exactness is None


def test_a_network_that_leaves_out_noise_has_few_weights_for_the_values_of_its_target():
    network = plan_for(noise(128, 128, 3), denoise=True).options.network
    assert network.parts == (1,)
    assert 3 * network.hidden_dim**2 == pytest.approx(0.3 * 128 * 128 * 3, rel=0.03)
    assert plan_for(noise(512, 512), denoise=True).options.network.hidden_dim == 162
    assert plan_for(noise(30), "audio", denoise=True).options.network.hidden_dim == 8
    assert plan_for(noise(128, 128), denoise=True, hidden_dim=99).options.network.hidden_dim == 99


def test_a_picture_of_few_parts_has_wider_networks_unless_its_user_says_the_size_or_the_parts():
    plan = plan_for(noise(91, 91))
    assert (plan.options.network.parts, plan.options.network.hidden_dim, plan.steps) == ((3, 3), 48, 2400)
    plan = plan_for(noise(256, 256))
    assert (plan.options.network.parts, plan.options.network.hidden_dim, plan.steps) == ((8, 8), 48, 1200)
    assert plan_for(noise(256, 256), size="medium").options.network.hidden_dim == 32
    assert plan_for(noise(256, 256), parts=(8,)).options.network.hidden_dim == 32


def test_a_sound_of_few_parts_is_trained_for_twice_the_steps_unless_its_user_says_the_size_the_parts_or_the_steps():
    plan = plan_for(noise(40960), "audio")
    assert (plan.options.network.parts, plan.options.network.hidden_dim) == ((40,), 32)
    assert (plan.steps, plan.optimizer, plan.learning_rate) == (1600, "muon", 1e-3)
    assert plan_for(noise(102400), "audio").steps == 800
    assert plan_for(noise(40960), "audio", size="medium").steps == 800
    assert plan_for(noise(40960), "audio", parts=(40,)).steps == 800
    assert plan_for(noise(40960), "audio", steps=7).steps == 7
    assert plan_for(noise(8192), "audio").options.network.parts == (1,)


def test_the_parts_of_a_stereo_sound_are_half_as_long():
    assert plan_for(noise(102400, 2), "audio").options.network.parts == (200,)


def test_long_sounds_and_large_volumes_are_divided_too():
    assert plan_for(noise(102400), "audio").options.network.parts == (100,)
    assert plan_for(noise(64, 48, 40), "volume").options.network.parts == (4, 3, 2)


@pytest.mark.parametrize(
    ("size", "parts", "width"), [("small", (5, 8), 32), ("medium", (10, 16), 32), ("large", (10, 16), 48)]
)
def test_the_size_sets_parts_and_width(size, parts, width):
    network = plan_for(noise(320, 512), size=size).options.network
    assert (network.parts, network.hidden_dim) == (parts, width)


def test_what_would_not_fit_into_memory_is_not_divided(monkeypatch):
    monkeypatch.setattr("winner_nerfstudio.training.plan.MOST_MEMORY", 1 << 20)
    plan = plan_for(noise(300, 300))
    assert plan.options.network.parts == (1,)
    assert "winner-fit FILE --output FOLDER" in plan.note
    assert not plan_for(noise(40, 40)).note


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_dim": 64},
        {"num_layers": 3},
        {"num_layers": 4},  # the default, when asked for
        {"network": "finer"},
        {"schedule": "reference"},
        {"s0": 1.0, "s1": 1.0},
        {"omega_0": 20.0},
        {"parts": (1,)},
    ],
)
def test_whoever_asks_for_a_certain_network_gets_one_of_it(options):
    plan = plan_for(noise(300, 300), **options)
    assert plan.options.network.parts == (1,)
    assert plan.steps == 3000


@pytest.mark.parametrize("loading", [{"noise_std": 0.1}, {"train_fraction": 0.8}])
def test_noisy_and_held_out_samples_are_left_to_one_network(loading):
    assert plan_for(noise(300, 300), loading=loading).options.network.parts == (1,)
    divided = plan_for(noise(300, 300), loading=loading, parts=(4,))
    assert divided.options.network.parts == (4,)
    assert divided.options.batches.between == 0


def test_samples_without_data_do_not_hinder_parts():
    picture = noise(300, 300)
    picture[:20] = -9999
    assert plan_for(picture, loading={"nodata": -9999.0}).options.network.parts == (9, 9)


def test_what_is_given_is_kept():
    plan = plan_for(noise(300, 300), steps=7, learning_rate=1e-3, batch_size=100, between=0.5, size="large")
    assert (plan.steps, plan.learning_rate) == (7, 1e-3)
    assert (plan.options.batches.batch_size, plan.options.batches.between) == (100, 0.5)
    assert plan.options.network.hidden_dim == 48
    assert plan_for(noise(300, 300), parts=(2,), hidden_dim=20).options.network.hidden_dim == 20
    assert plan_for(noise(300, 300), overlap=6, parts=(2,)).options.network.overlap == 6


def test_an_optimiser_that_is_asked_for_gets_a_rate_of_its_own():
    plan = plan_for(noise(300, 300), size="small")
    assert (plan.optimizer, plan.learning_rate) == ("muon", 2e-3)
    plan = plan_for(noise(300, 300), size="small", optimizer="adam")
    assert (plan.optimizer, plan.learning_rate) == ("adam", 1.5e-3)
    assert plan_for(noise(300, 300), size="small", optimizer="soap", learning_rate=1e-4).learning_rate == 1e-4


@pytest.mark.parametrize(
    "steps, large, small",
    [
        (50, 2e-3, 4e-3),
        (100, 2e-3, 3e-3),
        (150, 2e-3, 2e-3),
        (200, 1.5e-3, 2e-3),
        (300, 1e-3, 2e-3),
        (5000, 1e-3, 2e-3),
    ],
)
def test_the_parts_steps_are_longer_where_there_are_few_of_them(steps, large, small):
    picture = noise(300, 300)
    assert plan_for(picture, size="large", steps=steps).learning_rate == pytest.approx(large)
    assert plan_for(picture, size="small", steps=steps).learning_rate == pytest.approx(small)
    assert plan_for(picture, size="large", steps=steps, learning_rate=5e-4).learning_rate == 5e-4
    assert plan_for(picture, size="large", steps=steps, optimizer="adam").learning_rate == 1e-3
    assert plan_for(picture, parts=(1,), steps=steps).learning_rate == 5e-4


@pytest.mark.parametrize("width, rate", [(16, 1.5e-3), (32, 1.5e-3), (64, 7.5e-4), (128, 3.75e-4)])
def test_the_parts_steps_are_shorter_where_their_networks_are_wider(width, rate):
    picture = noise(300, 300)
    assert plan_for(picture, parts=(4,), hidden_dim=width).learning_rate == pytest.approx(rate)
    assert plan_for(picture, parts=(4,), hidden_dim=width, optimizer="adam").learning_rate == pytest.approx(rate)
    assert plan_for(picture, parts=(4,), hidden_dim=width, learning_rate=2e-3).learning_rate == 2e-3
    assert plan_for(picture, parts=(1,), hidden_dim=4 * width).learning_rate == 5e-4


def test_a_sound_in_few_steps_is_far_better_than_at_the_rate_of_many():
    time = np.arange(16_384) / 8000
    sound = (np.sin(2 * np.pi * (200 + 900 * time) * time) * np.exp(-((time % 0.25) * 8))).astype(np.float32)
    options = {"steps": 60, "kind": "audio", "sample_rate": 8000, "progress": False}
    with pytest.warns(UserWarning, match="still improved"):
        by_default, slow = (fit(sound, **options, learning_rate=rate) for rate in (None, 1e-3))
    psnr = [each.provenance["figures"]["psnr"] for each in (by_default, slow)]
    assert psnr[0] > psnr[1] + 3


def test_other_networks_than_sine_networks_are_trained_by_adam():
    plan = plan_for(noise(300, 300), network="finer")
    assert plan.optimizer == "adam"


def test_a_mesh_is_divided_into_cells_of_which_at_most_512_have_a_network():
    ball, options = sphere(2.0, subdivisions=3), sort_options(kind_named("sdf"), {})
    signal = load_signal(ball, "sdf")
    plan = make_plan(signal, options, Course())
    network = plan.options.network
    assert (network.hidden_dim, network.num_layers, plan.options.batches) == (24, 3, options.batches)
    assert (plan.steps, plan.optimizer, plan.learning_rate) == (1250, "muon", 2e-3)
    (parts,) = network.parts
    counts = [len(find_near_cells(signal, count)) for count in (parts, parts + 1)]
    assert counts[0] <= 512 < counts[1]
    rod = load_signal(trimesh.creation.cylinder(0.01, 2.0), "sdf")
    assert make_plan(rod, options, Course()).options.network.parts == (16,)


@pytest.mark.parametrize(
    "choice", [{"hidden_dim": 256}, {"num_layers": 4}, {"parts": (1,)}, {"normal_weight": 1.0}, {"s0": 1.0, "s1": 0.1}]
)
def test_a_mesh_has_a_single_network_where_its_user_asks_for_a_certain_one(choice):
    plan = make_plan(load_signal(sphere(2.0), "sdf"), sort_options(kind_named("sdf"), choice), Course())
    assert (plan.options.network.parts, plan.steps, plan.optimizer, plan.learning_rate) == ((1,), 2500, "adam", 5e-4)


def test_points_have_a_single_network_with_colours_and_without():
    points = sphere(2.0, subdivisions=3).vertices
    cloud = PointCloud.from_points(points, colors=CornerColors.from_numbers(np.uint8(255 * (points + 2) / 4), []))
    for signal in (cloud, load_signal(points, "sdf")):
        plan = make_plan(signal, sort_options(kind_named("sdf"), {}), Course())
        assert (plan.options.network.parts, plan.options.network.hidden_dim, plan.steps) == ((1,), 256, 2500)


def test_a_mesh_is_divided_alike_with_colours_and_without():
    ball, options = sphere(2.0), sort_options(kind_named("sdf"), {})
    plain = make_plan(load_signal(ball, "sdf"), options, Course())
    ball.visual.vertex_colors = np.uint8(255 * (ball.vertices + 2) / 4)
    signal = load_signal(ball, "sdf")
    assert signal.colors is not None
    assert make_plan(signal, options, Course()) == plain
    painting = kind_named("sdf").companion(signal)
    beside = make_plan(painting, sort_options(kind_named("color"), {}), Course())
    assert beside.options.network.parts == plain.options.network.parts


def test_ns_train_and_fit_choose_alike(tmp_path):
    from PIL import Image

    Image.fromarray((noise(300, 280) * 127 + 128).astype(np.uint8)).save(tmp_path / "noise.png")
    config = make_config("winner-image", pipeline__datamanager__data=tmp_path / "noise.png", output_dir=tmp_path)
    config.complete()
    plan = plan_for(tmp_path / "noise.png")
    assert config.pipeline.model.options == plan.options.network
    assert config.pipeline.datamanager.batches == plan.options.batches
    assert (config.max_num_iterations, config.steps_per_save) == (plan.steps, plan.steps // 5)
    optimizer = config.optimizers["fields"]["optimizer"]
    assert (optimizer.name, optimizer.lr) == (plan.optimizer, plan.learning_rate) == ("muon", 1.5e-3)
    assert config.optimizers["fields"]["scheduler"].max_steps == plan.steps


def test_ns_train_names_the_arguments_with_which_winner_fit_does_the_same(tmp_path):
    np.save(tmp_path / "volume.npy", np.zeros((20, 20, 20)))
    config = make_config(
        "winner-volume",
        pipeline__datamanager__data=tmp_path / "volume.npy",
        pipeline__datamanager__dataparser__options__spacing=(1.0, 1.0, 2.5),
        pipeline__datamanager__dataparser__options__noise_std=0.1,
        pipeline__datamanager__batches__between=0.5,
        pipeline__model__options__parts=(2, 2, 1),
        pipeline__model__options__noise__exactness=0.3,
        max_num_iterations=30,
        machine__seed=7,
    )
    config.complete()
    run = "--steps 30 --seed 7"
    fitted = "--noise-std 0.1 --spacing 1.0 1.0 2.5 --parts 2 2 1 --exactness 0.3 --between 0.5"
    assert " ".join(config.arguments) == f"{run} {fitted}"
    options = parse_fit_options(kind_named("volume"), "winner-fit", fitted.split())
    given = {"noise_std": 0.1, "spacing": (1.0, 1.0, 2.5), "parts": (2, 2, 1), "exactness": 0.3, "between": 0.5}
    assert options == sort_options(kind_named("volume"), given)


def test_arguments_are_listed_as_the_command_line_takes_them():
    given = {
        "mono": True,
        "nodata": (-9999.0, float("inf")),
        "network": "gauss",
        "network_args": {"a": 0.5},
        "start": 2.0,
    }
    options = sort_options(kind_named("audio"), given)
    assert parse_fit_options(kind_named("audio"), "winner-fit", list_arguments(options)) == options


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=r"between=\S+ must be a share of the steps"):
        sort_options(kind_named("image"), {"between": share})


def test_interpolation_follows_a_wave_between_its_samples():
    x, y = np.meshgrid(np.arange(60), np.arange(50), indexing="ij")

    def wave(x, y):
        return np.stack([np.cos(0.7 * x + 0.3 * y), np.sin(0.5 * x - 0.4 * y)], -1)

    rng = np.random.default_rng(0)
    low, offset = rng.integers(5, 40, (200, 2)), rng.random((200, 2))
    expected = wave(*(low + offset).T)
    np.testing.assert_allclose(interpolate(wave(x, y), low, offset), expected, atol=0.01)


@pytest.mark.parametrize("half", [(True, False, False), (False, True, True), (True, True, True)])
def test_interpolating_a_whole_signal_gives_what_single_points_give(half):
    values = noise(9, 7, 6, 2)
    whole = interpolate_half_way(values, half)
    assert whole.shape == (*(n - h for n, h in zip((9, 7, 6), half, strict=True)), 2)
    low = np.stack(np.unravel_index(np.arange(whole[..., 0].size), whole.shape[:-1]), -1)
    single = interpolate(values, low, np.broadcast_to(np.array(half) / 2, low.shape))
    np.testing.assert_allclose(whole.reshape(-1, 2), single, atol=1e-6)


def parts_sampler(signal, **options):
    field = build_field(signal, NetworkOptions(parts=(3,), hidden_dim=8, num_layers=2), 0)
    return field.network, build_sampler(field, signal, ResidentOptions(**options), CPU, 5)


def test_a_share_of_the_steps_is_between_the_samples_at_the_interpolated_target():
    signal = load_signal(mandala()[:72, :64], "image")
    bank, sampler = parts_sampler(signal, batch_size=100, between=0.25)
    tiling, seen = bank.tiling, []
    starts = torch.cartesian_prod(tiling.starts(0), tiling.starts(1))
    for step in range(24):
        batch = sampler.batch(step)
        position = batch["coords"][4].double() / tiling.spacing + (torch.tensor(tiling.box) - 1) / 2 + starts[4]
        low = (position + 0.25).floor().long().numpy()
        offset = position.numpy() - low
        expected = interpolate(signal.values, low, offset)
        np.testing.assert_allclose(batch["values"][4], expected, atol=1e-4)
        seen.append(tuple(np.round(offset, 3).max(0) > 0.4))
    assert seen.count((False, False)) == 18
    assert all(seen.count(half) == 2 for half in [(True, False), (False, True), (True, True)])


def test_between_samples_of_which_one_holds_no_data_nothing_is_fitted():
    picture = mandala()[:72, :64].astype(np.float32)
    picture[30:33, 20:25] = np.nan
    bank, sampler = parts_sampler(load_signal(picture, "image", nodata=float("nan")), batch_size=10**6, between=0.5)
    gap = torch.isnan(torch.from_numpy(picture))[..., :1].float()
    near = torch.nn.functional.max_pool2d(gap.permute(2, 0, 1), 2, 1).permute(1, 2, 0)  # half-way along both axes
    expected = 1 - bank.tiling.cut(near, less=(1, 1))
    served = [sampler.batch(step) for step in range(6)]
    (diagonal,) = [batch["fitted"] for batch in served if batch["values"].shape[1] == expected.shape[1]]
    assert torch.equal(diagonal.sum(1), expected.sum(1))


def test_held_out_samples_forbid_steps_between_the_samples():
    with pytest.raises(SignalError, match="also from those held out"):
        parts_sampler(load_signal(mandala()[:72, :64], "image", train_fraction=0.5), between=0.25)


def test_a_sound_of_one_axis_is_fitted_between_its_samples_in_every_nth_step():
    signal = load_signal(noise(900), "audio")
    _, sampler = parts_sampler(signal, batch_size=10**6, between=0.5)
    assert [sampler.batch(step)["values"].shape[1] for step in range(4)] == [302, 301, 302, 301]


@pytest.mark.quality
def test_steps_between_the_samples_make_the_fit_right_between_them():
    picture = mandala()[::2, ::2]
    options = {"parts": (4,), "steps": 300, "progress": False}
    without, with_ = (fit(picture, between=share, **options).provenance["figures"] for share in (0.0, 0.25))
    assert with_["psnr_between"] > without["psnr_between"] + 5
    assert with_["psnr_anywhere"] > without["psnr_anywhere"] + 4
    assert with_["psnr"] > without["psnr"] - 6


def test_a_large_picture_is_fitted_in_parts_by_itself(tmp_path: Path):
    field = fit(noise(288, 288), steps=2, progress=False, measure=False)
    assert "81 parts" in field.provenance["initialization"]


def test_a_size_without_parts_is_told():
    picture = np.random.default_rng(0).random((16, 16))
    signal, options = prepare(picture, "image", {"size": "small"})
    assert "size is that of the networks of parts" in make_plan(signal, options, Course()).note
    signal, options = prepare(picture, "image", {"size": "small", "parts": (2, 2)})
    assert make_plan(signal, options, Course()).note == ""
    signal, options = prepare(picture, "image", {"between": 0.5})
    assert "between is a share of the steps of parts" in make_plan(signal, options, Course()).note
