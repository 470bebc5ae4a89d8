"""The noise from photographs: the frequency that they resolve, of textures whose frequency is known."""

import math
import random
import re

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.pipelines.base_pipeline import VanillaPipeline

from scripts.render_views import FIELD_OF_VIEW, look_at_middle
from winner_nerfstudio import spectral_centroid, winner_init_
from winner_nerfstudio.nerfstudio.photos.frequency import count_pixels_per_radian, measure_distances
from winner_nerfstudio.nerfstudio.photos.sdf_field import WinnerSDFField
from winner_nerfstudio.nerfstudio.run.unfit import UnfitCheckpoint
from winner_nerfstudio.training.share import Share
from winner_nerfstudio.winner.photos import PHOTO_S1, PHOTO_SPREAD, SceneFrequency, photo_centroid, scene_frequency

from .conftest import make_config

BOX = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def plane_seen(omega, focal, distance, size=(12, 64)):
    """A photograph of a plane square to the axis, its brightness cos(omega x) of the scene's own x, [h, w, 3]."""
    height, width = size
    camera = Cameras(
        torch.tensor([[[1.0, 0, 0, 0.5], [0, 1, 0, -0.2], [0, 0, 1, distance]]]),
        *(torch.tensor([[value]]) for value in (focal, focal, width / 2, height / 2)),
        width=torch.tensor([[width]]),
        height=torch.tensor([[height]]),
    )
    rays = camera.generate_rays(camera_indices=0, keep_shape=True)
    points = rays.origins - rays.directions * (rays.origins[..., 2:] / rays.directions[..., 2:])
    return (0.6 + 0.3 * torch.cos(omega * points[..., :1])).expand(-1, -1, 3)


@pytest.mark.parametrize("periods, focal, distance", [(4, 80.0, 3.0), (11, 80.0, 3.0), (11, 200.0, 0.7), (31, 50.0, 9)])
def test_the_frequency_of_a_plane_is_the_textures_own(periods, focal, distance):
    # So many periods across the picture's 64 pixels, which are D / f wide on the plane.
    omega = 2 * math.pi * periods / (64 * distance / focal)
    photo = plane_seen(omega, focal, distance)
    found = scene_frequency([photo, photo], [focal, focal], [distance, distance])
    assert found.omega == pytest.approx(omega, rel=1e-3)
    assert found.centroid == pytest.approx(2 * periods / 64, rel=1e-3)


def test_the_frequency_is_the_mean_of_the_photographs():
    near, far = plane_seen(20.0, 64.0, math.pi), plane_seen(20.0, 64.0, 2 * math.pi)
    both = scene_frequency([near, far], [64.0, 64.0], [math.pi, 2 * math.pi])
    # One has 10 periods across, the other 20: one texture, whatever the distance.
    assert both.omega == pytest.approx(20.0, rel=1e-3)
    assert both.centroid == pytest.approx((20 + 40) / 64 / 2, rel=1e-3)


def test_noise_fills_up_what_siren_lacks():
    s0, s1, *_ = SceneFrequency(0.3, 400.0).scales(unit=0.25)
    # Along each axis the first layer's frequencies, 30 U(-1/3, 1/3) and the noise, spread as far as is wanted.
    assert math.hypot(s0, 10 / math.sqrt(3)) == pytest.approx(PHOTO_SPREAD * 100)
    assert s1 == PHOTO_S1
    assert SceneFrequency(0.3, 400.0).scales(unit=0.25, omega_0=3.0).s0 == pytest.approx(PHOTO_SPREAD * 100, rel=1e-3)
    assert SceneFrequency(0.3, 400.0).scales(unit=0.01)[:2] == (0, 0)


def test_neither_brightness_nor_plain_background_counts():
    photo = plane_seen(20.0, 64.0, math.pi)
    psi = photo_centroid(photo)
    white = torch.ones(30, 64, 3)
    assert photo_centroid(torch.cat([white, photo, white])) == pytest.approx(psi, rel=1e-9)
    assert photo_centroid(0.2 * photo + 0.5) == pytest.approx(psi, rel=1e-4)
    assert photo_centroid(255 * photo) == pytest.approx(psi, rel=1e-4)
    assert photo_centroid(1e-9 * photo) == pytest.approx(psi, rel=1e-4)
    assert photo_centroid(torch.zeros(8, 9, 3)) == 0
    # The paper's centroid of the whole picture is for something else.
    assert spectral_centroid(torch.cat([white, photo, white]), dim=2) < psi / 5
    assert photo_centroid(white) == 0.0


@pytest.mark.parametrize("height, width", [(8, 8), (64, 16), (16, 64), (1, 9)])
def test_small_photographs_have_a_centroid(height, width):
    row = torch.cos(torch.arange(width).double())
    expected = spectral_centroid(row - row.mean())
    assert photo_centroid(row[None, :, None].expand(height, width, 3)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (([], [], []), "no photographs"),
        (([torch.rand(4, 4, 3)], [0.0], [1.0]), "focal length 0.0"),
        (([torch.rand(4, 4, 3)], [1.0], [-1.0]), "distance -1.0"),
        (([torch.rand(4, 4)], [1.0], [1.0]), "is not"),
        (([torch.full((4, 4, 3), torch.nan)], [1.0], [1.0]), "NaN"),
    ],
)
def test_photographs_that_say_nothing_are_refused(arguments, complaint, unchecked):
    with pytest.raises(ValueError, match=complaint):
        scene_frequency(*arguments)


def cameras_at(poses):
    return Cameras(torch.as_tensor(np.asarray(poses)[:, :3], dtype=torch.float32), 50.0, 50.0, 16.0, 16.0, 32, 32)


def test_the_distance_is_that_to_what_the_cameras_look_at():
    poses = look_at_middle(12)
    poses[:, :3, 3] = 0.2 * poses[:, :3, 3] + [0.3, -0.1, 0.2]
    found = measure_distances(cameras_at(poses), BOX)
    torch.testing.assert_close(found, torch.full((12,), 0.7).double(), atol=1e-4, rtol=0)


def test_without_anything_that_all_look_at_it_is_the_wall():
    box, poses = 2 * BOX, look_at_middle(12)
    poses[:, :3, 3] *= -0.1  # a ring that looks outwards
    assert measure_distances(cameras_at(poses), box).tolist() == [2.0] * 12
    parallel = np.tile(np.eye(4), (5, 1, 1))
    parallel[:, 0, 3] = np.linspace(-0.5, 0.5, 5)
    assert measure_distances(cameras_at(parallel), box).tolist() == [2.0] * 5


@pytest.mark.parametrize(
    "model, focal",
    [
        *(("EQUIRECTANGULAR", 32.0), ("EQUIRECTANGULAR", 50.0), ("FISHEYE", 32.0)),
        *(("VR180_L", 32.0), ("OMNIDIRECTIONALSTEREO_R", 32.0), ("PERSPECTIVE", 400.0)),
    ],
)
def test_a_pixel_has_the_angle_between_the_rays_of_two(model, focal):
    # The axis is between two pixels of a row.
    camera = Cameras(torch.eye(4)[None, :3], focal, focal, 32.0, 15.5, 64, 32, camera_type=CameraType[model])
    rays = camera.generate_rays(0, keep_shape=True).directions[15, 31:33]
    angle = float(torch.linalg.cross(rays[0], rays[1]).norm().double().asin())
    (found,) = count_pixels_per_radian(camera, torch.ones(1).double()).tolist()
    assert found == pytest.approx(1 / angle, rel=1e-4)


def test_a_pixel_of_an_orthographic_camera_is_as_wide_at_any_distance():
    camera = Cameras(torch.eye(4)[None, :3], 20.0, 20.0, 32.0, 16.0, 64, 32, camera_type=CameraType.ORTHOPHOTO)
    for distance in (1.0, 7.0):
        # A pixel is D / f wide: 1 / 20, as the origins of its rays are apart.
        focals = count_pixels_per_radian(camera, torch.tensor([distance]).double())
        assert distance / float(focals) == pytest.approx(1 / 20)


@pytest.fixture(scope="module", params=["winner-neus", "winner-nerf"])
def set_up(request, photographs, tmp_path_factory):
    """Sets a run up without training it; returns its pipeline and callbacks."""

    def make(**changes):
        small = {"hidden_dim": 32, "num_layers": 3}
        where = "sdf_field__" if request.param == "winner-neus" else ""
        changes = {f"pipeline__model__{name}": value for name, value in changes.items()} | {
            f"pipeline__model__{where}{name}": value for name, value in small.items()
        }
        config = make_config(request.param, pipeline__datamanager__data=photographs.folder, **changes)
        torch.manual_seed(7)
        pipeline = config.pipeline.setup(device="cpu")
        attributes = TrainingCallbackAttributes(None, None, pipeline, FakeTrainer(tmp_path_factory.mktemp("run")))
        return pipeline, pipeline.get_training_callbacks(attributes)

    return make


class FakeTrainer:
    """What callbacks ask a trainer for."""

    class config:
        max_num_iterations = 100

    def __init__(self, base_dir):
        self.base_dir = base_dir


def before(callbacks, step):
    for callback in callbacks:
        callback.run_callback_at_location(step, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)


def weights(pipeline):
    return {name: value.clone() for name, value in pipeline.model.field.state_dict().items()}


def test_the_noise_comes_before_the_first_step_and_never_again(set_up, capsys):
    pipeline, callbacks = set_up()
    untouched = weights(pipeline)
    before(callbacks, 40)  # a run that is resumed
    assert all(torch.equal(value, untouched[name]) for name, value in weights(pipeline).items())
    pointers = [p.data_ptr() for p in pipeline.model.field.parameters()]
    before(callbacks, 0)
    assert [p.data_ptr() for p in pipeline.model.field.parameters()] == pointers  # the optimizer's own
    assert "initialisation: psi=0." in capsys.readouterr().out
    kept = pipeline.model.get_extra_state()["initialization"]
    assert kept.startswith("psi=0.")
    assert "schedule=photos, s0=" in kept
    noisy = weights(pipeline)
    before(callbacks, 1)
    assert all(torch.equal(value, noisy[name]) for name, value in weights(pipeline).items())


def test_the_noise_is_that_of_photographs_and_cameras(set_up, photographs):
    pipeline, callbacks = set_up()
    before(callbacks, 0)
    # By hand: the data parser leaves the farthest camera's coordinate at 1, so that distances are those over it.
    data = pipeline.datamanager
    outputs = data.train_dataparser_outputs
    distance = 3.5 / photographs.normalization.scale * outputs.dataparser_scale
    focal = photographs.size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    psi = []
    for index in range(len(data.train_dataset)):
        image = data.train_dataset.get_image_float32(index)
        psi.append(photo_centroid(image[..., :3] * image[..., 3:] + 1 - image[..., 3:]))
    omega = math.pi * np.mean(psi) * focal / distance
    s0 = math.sqrt((PHOTO_SPREAD * omega) ** 2 - 100 / 3)  # the scene box is [-1, 1]
    assert float(re.search(r"s0=([\d.]+)", pipeline.model.initialization)[1]) == pytest.approx(s0, rel=0.01)
    network = pipeline.model.field.texture
    same = type(network)(3, network.num_layers, network.layer_width, network.out_dim)
    winner_init_(same._chain(), s0=s0, s1=PHOTO_S1, seed=torch.initial_seed())
    for expected, layer in zip(same.layers, network.layers, strict=True):
        torch.testing.assert_close(layer.weight, expected.weight, rtol=1e-2, atol=2e-3)


def test_siren_and_scales_by_hand(set_up):
    pipeline, callbacks = set_up(init="siren")
    before(callbacks, 0)
    assert "schedule=siren, s0=0, s1=0" in pipeline.model.initialization
    for network, _ in pipeline.model.sine_networks():
        assert network.layers[0].weight.abs().max() <= 1 / 3
    pipeline, callbacks = set_up(noise__s0=50.0, noise__s1=0.0)
    before(callbacks, 0)
    assert pipeline.model.initialization == "schedule=fixed, s0=50, s1=0"
    # The std of omega_0 W0 with noise: arXiv 2509.09719, by U(-1/3, 1/3) and N(0, (s0 / omega_0)^2).
    std = 30 * pipeline.model.field.texture.layers[0].weight.std()
    assert float(std) == pytest.approx(math.sqrt(10**2 / 3 + 50**2), rel=0.2)


def test_all_processes_draw_the_same_pixels_whatever_else_each_has_drawn(set_up, monkeypatch):
    pipeline, _ = set_up()
    monkeypatch.setattr(Share, "add_terms", lambda share, terms: terms)
    monkeypatch.setattr(pipeline, "share", Share(0, 2))
    drawn, split = [], Share.split
    monkeypatch.setattr(Share, "split", lambda share, batch: drawn.append(batch["indices"]) or split(share, batch))
    own = []
    for step in (5, 5, 6):
        pipeline.get_train_loss_dict(step)
        own.append(torch.rand(3))
        random.random()  # as an evaluation does in the first process
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(own[0], own[1])


def test_what_is_of_another_scene_or_of_other_options_is_not_loaded(set_up):
    state = set_up()[0].state_dict()
    pipeline, _ = set_up()
    pipeline.load_pipeline(state, 0)
    scene = state["_extra_state"]
    turned = scene["cameras"].clone()
    turned[1, :3] += 0.01
    where = "sdf-field.omega-0" if "sdf_field" in vars(pipeline.model.config) else "omega-0"
    for name, changed, complaint in [
        ("_model.field.aabb", 3 * BOX, r"scene box from \(-3, -3, -3\) to \(3, 3, 3\), not from \(-1, -1, -1\)"),
        ("_extra_state", {**scene, "photograph": "00"}, "was fitted to other photographs"),
        ("_extra_state", {**scene, "cameras": scene["cameras"][1:]}, "was fitted to other photographs"),
        ("_extra_state", {**scene, "cameras": turned}, "was fitted to other cameras"),
        ("_model._extra_state", {"initialization": "", "options": {where: 20.0}}, f"model.{where} 20.0, not 30.0"),
    ]:
        with pytest.raises(UnfitCheckpoint, match=complaint):
            pipeline.load_pipeline({**state, name: changed}, 0)
    # Older runs have less to compare.
    del state["_extra_state"], state["_model._extra_state"]["options"]
    pipeline.load_pipeline(state, 0)


def test_a_reference_that_is_gone_ends_an_evaluation_in_one_line_before_anything_is_rendered(set_up, monkeypatch):
    pipeline, _ = set_up()
    pipeline.config.reference = "nowhere.obj"
    rendered = []
    monkeypatch.setattr(VanillaPipeline, "get_average_eval_image_metrics", lambda *_: rendered.append(1) or {})
    if not isinstance(pipeline.model.field, WinnerSDFField):
        assert pipeline.get_average_eval_image_metrics() == {}  # without a surface
        return
    with pytest.raises(SystemExit, match=r"^error: nowhere\.obj: no such file.*--pipeline\.reference") as stopped:
        pipeline.get_average_eval_image_metrics()
    assert "\n" not in str(stopped.value)
    assert not rendered


def test_a_scene_box_of_another_size_is_the_unit():
    from winner_nerfstudio.nerfstudio.photos.nerf_field import WinnerNeRFField

    assert WinnerNeRFField(3 * BOX, 8).unit == 3.0
    assert SceneBox(3 * BOX).aabb.max() == 3.0
