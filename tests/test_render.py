"""What a camera sees of a shape, in pictures, on the sheet of a run, and in films."""

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import yaml
from nerfstudio.scripts.render import RenderCameraPath, RenderInterpolated, SpiralRender
from PIL import Image

from winner_nerfstudio.nerfstudio.models.base import Outputs
from winner_nerfstudio.nerfstudio.run.sheet import write_sheet
from winner_nerfstudio.nerfstudio.viewer import turntable
from winner_nerfstudio.nerfstudio.viewer.cameras import FIELD_OF_VIEW, SIDES, look_at_origin, orbit
from winner_nerfstudio.nerfstudio.viewer.color_legend import diverging, from_black_to_bright, round_length, with_legend
from winner_nerfstudio.nerfstudio.viewer.turntable import make_camera_path
from winner_nerfstudio.signals.shape import MARGIN
from winner_nerfstudio.training.optimizers import build_optimizer

from .conftest import BIN, fit, make_config
from .meshes import snowman, sphere

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg found")
RADIUS = 1 - MARGIN


class TrueBall(torch.nn.Module):
    """In place of a fitted network: the distance to a ball that fills the cube but for its margin."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.weight * (x.norm(dim=-1, keepdim=True) - RADIUS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of a ball of radius 20 that fits it exactly."""
    folder = tmp_path_factory.mktemp("ball")
    sphere(20.0, 5, (100, 0, -50)).export(folder / "ball.ply")
    config = make_config("winner-sdf", pipeline__datamanager__data=folder / "ball.ply")
    model = config.pipeline.setup(device="cpu", test_mode="test").model
    model.field.network = TrueBall()
    return model


@pytest.fixture
def view(model):
    """Renders the model from in front, 3 away, and puts its controls back."""
    defaults = {name: getattr(model, name).value for name in ("iso_level", "shading", "slice_axis", "slice_position")}
    yield lambda size=128, up="y": model.get_outputs_for_camera(look_at_origin((0.0, 0.0, 3.0), up, size, size))
    for name, value in defaults.items():
        getattr(model, name).value = value


def angles(size):
    """Of each pixel's ray to the direction of view, radians."""
    position = (np.arange(size) + 0.5 - size / 2) / (size / 2) * np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    return np.arctan(np.hypot(position[:, None], position[None]))


def ball_depth(size, radius=RADIUS):
    """Distance of the ball from 3 away along each ray; NaN where it is missed."""
    angle = angles(size)
    with np.errstate(invalid="ignore"):
        return 3 * np.cos(angle) - np.sqrt(radius**2 - (3 * np.sin(angle)) ** 2)


def test_a_ball_is_seen_where_it_is(view):
    outputs, depth = view(), ball_depth(128)
    covered = np.isfinite(depth)
    seen = outputs["accumulation"][..., 0].numpy() > 0
    # But for single pixels on the rim.
    assert (seen != covered).mean() < 2e-3
    both = seen & covered
    np.testing.assert_allclose(outputs["depth"][..., 0].numpy()[both], depth[both], atol=2e-3)
    normals = outputs["normals"].numpy()[64, 64] * 2 - 1
    np.testing.assert_allclose(normals, [0, 0, 1], atol=0.05)
    for name in ("rgb", "normals", "target", "error"):
        rest = outputs[name].numpy()[:80][~seen[:80]]  # above the legend
        np.testing.assert_array_equal(rest, 1.0)


def test_fit_and_target_are_shown_in_the_same_light(view):
    outputs = view(256)
    both = (outputs["rgb"] < 1).any(-1) & (outputs["target"] < 1).any(-1)
    difference = (outputs["rgb"] - outputs["target"])[both].abs()
    # The mesh is made of flat triangles; the field is round.
    assert difference.mean() < 0.01
    sky, ground = outputs["rgb"][80, 128], outputs["rgb"][176, 128]
    assert sky.sum() > ground.sum() + 0.3
    assert sky[2] - sky[0] > ground[2] - ground[0] + 0.05  # the sky is bluer


def test_shadings_differ(view, model):
    pictures = {}
    for name in ("soft", "headlight", "stripes"):
        model.shading.value = name
        pictures[name] = view()["rgb"]
    facing = pictures["headlight"][64, 64, 0]
    rim = pictures["headlight"][64, 32:40, 0].min()
    assert facing > 0.8 > 0.6 > rim
    column = pictures["stripes"][40:88, 64, 0] > 0.5
    assert 2 <= (column[1:] != column[:-1]).sum() <= 12
    assert (pictures["soft"] - pictures["headlight"]).abs().max() > 0.2


def test_the_iso_level_is_in_the_inputs_units(view, model):
    model.iso_level.value = 1.0  # a twentieth of the radius
    grown = view()["depth"][64, 64, 0]
    assert grown == pytest.approx(3 - RADIUS * 1.05, abs=2e-3)
    model.iso_level.value = -1.0
    assert view()["depth"][64, 64, 0] == pytest.approx(3 - RADIUS * 0.95, abs=2e-3)


def test_where_nothing_is_hit_the_depth_is_far(view, model, monkeypatch):
    outputs = view()
    hit, depth = outputs["accumulation"] > 0, outputs["depth"]
    assert 0 < hit.sum() < hit.numel()
    assert set(depth[~hit].tolist()) == {depth[hit].max().item()}
    panel = SimpleNamespace(output_render="not set", split=False, split_output_render="depth", layer_depth=True)
    monkeypatch.setattr(model.screen, "viewer", SimpleNamespace(control_panel=panel, train_lock=None), raising=False)
    assert set(view()["depth"][~hit].tolist()) == {16.0}  # behind all that is put into the viewer's scene
    torch.testing.assert_close(view()["depth"][hit], depth[hit])
    for shown in ({"output_render": "depth"}, {"split": True}, {"layer_depth": False}):
        monkeypatch.setattr(model.screen.viewer, "control_panel", SimpleNamespace(**vars(panel) | shown))
        assert set(view()["depth"][~hit].tolist()) == {depth[hit].max().item()}
    away = look_at_origin((0.0, 0.0, 3.0), "y", 8, 8)
    away.camera_to_worlds[..., :3, 2] *= -1
    assert set(model.get_outputs_for_camera(away)["depth"].unique().tolist()) == {16.0}


def test_a_level_that_is_moved_meanwhile_leaves_the_grid_that_of_its_own_level(view, model):
    evaluate, model._grid = model.field.evaluate, None

    def evaluate_and_move(points):
        model.iso_level.value = 1.0
        return evaluate(points)

    model.field.evaluate = evaluate_and_move
    try:
        model.distance_grid()
    finally:
        del model.field.evaluate
    model.iso_level.value = 0.0
    # From the middle to the surface that is shown.
    assert model.distance_grid().values[32, 32, 32] == pytest.approx(-RADIUS, abs=1e-5)


def test_pictures_for_files_are_taken_as_the_controls_were_at_first(model):
    camera = look_at_origin((0.0, 0.0, 3.0), "y", 64, 64)
    before, shown = model.pictures(model.signal, camera), model.get_outputs_for_camera(camera)["rgb"]
    controls = {model.iso_level: model.iso_level.max, model.shading: "stripes", model.error_range: 9.0}
    kept = {control: control.value for control in controls}
    try:
        for control, value in controls.items():
            control.value = value
        after = model.pictures(model.signal, camera)
        assert all(torch.equal(after[name], picture) for name, picture in before.items())
        assert (model.get_outputs_for_camera(camera)["rgb"] - shown).abs().mean() > 0.01
    finally:
        for control, value in kept.items():
            control.value = value


def test_outputs_that_a_viewer_asks_for_late_are_computed_under_its_lock(view, model, monkeypatch):
    lock = threading.Lock()
    panel = SimpleNamespace(output_render="rgb", split=False, layer_depth=False)
    monkeypatch.setattr(model.screen, "viewer", SimpleNamespace(control_panel=panel, train_lock=lock), raising=False)
    outputs, held = view(), []
    trace = model.see_target
    monkeypatch.setattr(model, "see_target", lambda rays: held.append(lock.locked()) or trace(rays))
    assert not lock.locked()
    outputs["target"]
    assert held == [True]
    with lock:  # as at an evaluation
        assert model.pictures(model.signal, look_at_origin((0.0, 0.0, 3.0), "y", 16, 16))


def test_a_level_beyond_the_slider_is_shown_and_exported_as_its_end(view, model):
    end = model.iso_level.max
    assert end == pytest.approx(0.1 / model.signal.normalization.scale, rel=0.05)
    model.export_now.resolution = SimpleNamespace(value=64)
    for typed, level in [(1e9, end), (-1e9, -end)]:
        model.iso_level.value = typed
        assert view()["depth"][64, 64, 0] == pytest.approx(3 - RADIUS - level * RADIUS / 20, abs=2e-3)
        output, _ = model.export_now.prepare(SimpleNamespace(companion=None), Path("ball"))
        assert output.name == f"ball-64-level{level:+.3g}.ply"


def test_errors_are_coloured_by_their_sign_in_the_inputs_units(view, model):
    model.error_range.value = 0.4
    exact = view()["error"][64, 64]
    assert np.ptp(exact.numpy()) < 0.06  # grey
    model.iso_level.value = 0.4  # the surface lies outside by as much as the strongest colour
    red = view()["error"][64, 64]
    np.testing.assert_allclose(red, diverging(torch.ones(1))[0], atol=0.03)
    model.iso_level.value = -0.4
    blue = view()["error"][64, 64]
    assert blue[2] - blue[0] > 0.3
    with_range = view(256)["error"]
    model.error_range.value = -0.4  # which is typed in place of 0.4
    assert torch.equal(view(256)["error"], with_range)


def test_the_error_of_colours_is_how_far_they_are_from_the_targets(tmp_path):
    ball = sphere(20.0, 4, (100, 0, -50))
    ball.visual.vertex_colors = (127.5 + 100 * (ball.vertices - ball.center_mass) / 20).astype(np.uint8)
    ball.export(tmp_path / "ball.ply")
    config = make_config("winner-sdf", pipeline__datamanager__data=tmp_path / "ball.ply")
    model = config.pipeline.setup(device="cpu", test_mode="test").model
    model.field.network = TrueBall()
    model.companion.network.forward = lambda coords: coords / RADIUS * 200 / 255 + 0.02
    camera = look_at_origin((0.0, 0.0, 3.0), "y", 320, 320)
    distance = model.get_outputs_for_camera(camera)["error"]
    assert model.compared.value == "distance"
    model.compared.value = "colours"
    error = model.get_outputs_for_camera(camera)["error"]
    # An offset of 0.02 in -1 to 1 is one of 0.01 in 0 to 1: 40 of the 80 dB of the scale.
    np.testing.assert_allclose(error[160, 160], from_black_to_bright(torch.zeros(1))[0], atol=0.08)
    np.testing.assert_allclose(error[120, 130], error[160, 160], atol=0.08)
    assert np.ptp(distance[160, 160].numpy()) < 0.06  # grey
    legends = [picture[290:, 150:] for picture in (distance, error)]
    assert (legends[0] - legends[1]).abs().max() > 0.3
    assert (error[:40] == 1).all()


def test_a_slice_has_its_lines_where_the_distance_says(view, model):
    size = 512
    model.slice_position.value = 0.2
    picture = view(size)["sdf-slice"][size // 2].numpy()
    x = (np.arange(size) + 0.5 - size / 2) / (size / 2) * np.tan(np.deg2rad(FIELD_OF_VIEW / 2)) * (3 - 0.2)
    dark = np.flatnonzero(picture.max(-1) < 0.2)
    radius = np.sqrt(RADIUS**2 - 0.2**2)
    np.testing.assert_allclose(
        [x[dark[dark < size // 2]].mean(), x[dark[dark > size // 2]].mean()], [-radius, radius], atol=0.01
    )
    inside, outside = np.abs(x) < radius - 0.05, (np.abs(x) > radius + 0.03) & (np.abs(x) < 0.98)
    assert (picture[inside][:, 2] >= picture[inside][:, 0]).all()
    assert (picture[outside][:, 0] >= picture[outside][:, 2]).all()
    assert (picture[np.abs(x) > 1.01] == 1).all()
    # Thin lines, each a little darker than both its neighbours, as many as the distance has steps.
    row = picture.mean(-1)[(x > 0) & (x < radius - 0.03)]
    lines = ((row[1:-1] < row[:-2] - 0.02) & (row[1:-1] <= row[2:])).sum()
    steps = (RADIUS - 0.2) * 20 / RADIUS / model.line_step
    assert abs(lines - steps) <= 2
    model.slice_axis.value, model.slice_position.value = "z", -2.0
    assert model.get_outputs_for_camera(look_at_origin((0.0, 0, 3), "y", 64, 64))["sdf-slice"][:32].min() == 1


def test_only_what_is_asked_for_is_computed(view, model):
    outputs, asked = view(), []
    model._grid = None
    evaluate = model.field.evaluate
    model.field.evaluate = lambda x: asked.append(len(x)) or evaluate(x)
    try:
        assert set(outputs) >= {"rgb", "normals", "depth", "accumulation", "target", "error", "sdf-slice"}
        outputs["target"]
        assert asked == []
        outputs["rgb"]
        once = sum(asked)
        assert once > 0
        outputs["depth"], outputs["normals"], outputs["rgb"]
        assert sum(asked) == once
    finally:
        del model.field.evaluate


def test_what_a_viewer_shows_is_computed_under_its_lock(view, model, monkeypatch):
    monkeypatch.setattr(model.screen, "names", lambda: {"normals", "no such output"})
    assert set(view()._computed) == {"normals"}


def test_the_grid_follows_the_weights(view, model):
    before = float(view()["depth"][64, 64, 0])
    with torch.no_grad():
        model.field.network.weight.mul_(2)
    try:
        assert view()["depth"][64, 64, 0] == pytest.approx(before, abs=2e-3)
        kept = model.distance_grid()
        assert model.distance_grid() is kept
        with torch.no_grad():
            model.field.network.weight.add_(0.5)
        assert model.distance_grid() is not kept
    finally:
        with torch.no_grad():
            model.field.network.weight.fill_(1)


@pytest.mark.parametrize("name", ["adam", "muon", "soap"])
def test_the_view_follows_the_training(name, view, model):
    optimizer = build_optimizer(model.field.parameters(), name, lr=0.25)
    try:
        before = view()["accumulation"].sum()
        model.field.network.weight.grad = torch.ones(())
        for _ in range(8):
            optimizer.step()
        assert model.field.network.weight.item() == pytest.approx(-1, abs=1e-5)
        # The ball is the outside now, and the surface of what is left of the cube is at its walls.
        outside = model.distance_grid().values[[0, 32], [0, 32], [0, 32]]
        np.testing.assert_allclose(outside, [RADIUS - 3**0.5, RADIUS], atol=1e-5)
        assert view()["accumulation"].sum() > before
    finally:
        with torch.no_grad():
            model.field.network.weight.fill_(1)
        model.field.network.weight.grad = None


def test_outputs_are_a_mapping_that_takes_additions():
    outputs = Outputs({"a": lambda: torch.ones(2), "b": lambda: pytest.fail("nobody asked")})
    outputs["c"] = torch.zeros(1)
    assert list(outputs) == ["a", "b", "c"]
    assert "b" in outputs
    assert str(outputs.keys()) == "KeysView(a, b, c)"  # as ns-render prints it for a name that does not exist
    assert outputs["a"].sum() == 2
    assert outputs["c"] == 0
    del outputs["b"]
    assert {name: len(value) for name, value in outputs.items()} == {"a": 2, "c": 1}


@pytest.mark.quality
@pytest.mark.parametrize("up", ["x", "y", "z"])
@pytest.mark.parametrize("stretch", [(1, 1, 1), (1e-3, 2e-3, 1), (5e5, 1e4, 1e5)])
def test_the_first_views_have_all_of_the_shape_and_its_up_is_up(up, stretch, tmp_path):
    mesh = snowman(subdivisions=2)
    mesh.apply_scale(stretch)
    mesh.apply_translation(np.array([3.0, -7, 2]) * mesh.scale)
    mesh.export(tmp_path / "snowman.ply")
    data = make_config("winner-sdf").pipeline.datamanager.dataparser
    data.data, data.options.up = tmp_path / "snowman.ply", up
    outputs = data.setup().get_dataparser_outputs()
    vertices = torch.from_numpy(outputs.metadata["signal"].mesh.vertices).float()
    assert len(outputs.cameras) == SIDES
    tangent = np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    for pose in outputs.cameras.camera_to_worlds:
        seen = (vertices - pose[:, 3]) @ pose[:, :3]
        assert (seen[:, :2].abs() < 0.97 * tangent * -seen[:, 2:]).all()
        axis = "xyz".index(up)
        assert pose[axis, 1] > 0.8
        assert pose[axis, 0] == pytest.approx(0, abs=1e-6)


def test_an_orbit_goes_around_at_one_height_and_distance():
    for axis, up in enumerate("xyz"):
        positions = orbit(up, 12)
        torch.testing.assert_close(positions.norm(dim=-1), positions[:1].norm(dim=-1).expand(12))
        torch.testing.assert_close(positions[:, axis], positions[:1, axis].expand(12))
        steps = (positions - positions.roll(1, 0)).norm(dim=-1)
        torch.testing.assert_close(steps, steps[:1].expand(12))


def test_lengths_are_rounded_down_to_one_two_or_five():
    assert [round_length(x) for x in (1, 1.99, 2, 4.9, 7, 0.03, 2.5e-7)] == pytest.approx([1, 1, 2, 2, 5, 0.02, 2e-7])


def test_a_legend_spans_its_colours_and_leaves_the_rest_alone():
    picture = torch.full((320, 400, 3), 0.6)
    marked = with_legend(picture, 0.02, "distance")
    assert torch.equal(marked[:200], picture[:200])
    row = marked[320 - 5 * 10 + 5]
    blue, red = (row[:, 2] - row[:, 0]).argmax(), (row[:, 0] - row[:, 2]).argmax()
    assert 100 < red - blue < 130
    assert torch.equal(with_legend(picture[:64, :64], 1.0, "distance"), picture[:64, :64])


def test_a_sheet_has_every_side_and_the_course_of_the_run(tmp_path):
    colors = [(1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0), (1.0, 1.0, 0)]
    views = [{"target": torch.tensor(color).expand(64, 64, 3), "fit": torch.zeros(64, 64, 3)} for color in colors]
    history = [[40, 0.1, {"iou": 0.5}], [80, 0.01, {"iou": 0.9}]]
    path = write_sheet(views, history, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(int)
    upper = sheet[: sheet.shape[0] // 3]
    positions = [np.nonzero((np.abs(upper - np.multiply(color, 255)) < 5).all(-1))[1].mean() for color in colors]
    assert positions == sorted(positions)
    course = sheet[-260:]
    for line in ((31, 119, 180), (255, 127, 14)):  # matplotlib's first two colours
        rows, columns = np.nonzero((np.abs(course - line) < 8).all(-1))
        assert np.ptp(columns) > 0.6 * sheet.shape[1]
        assert np.ptp(rows) > 60
    write_sheet([{"target": torch.rand(20, 30, 3)}], [], tmp_path / "one.png")  # nothing was looked at
    assert Image.open(tmp_path / "one.png").width > 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "sheet.png"]


@pytest.mark.commands
def test_a_run_ends_with_its_sheet_and_says_where(trained):
    (path,) = re.findall(r"pictures: (\S+/sheet\.png)", trained.result.output)
    sheet = np.asarray(Image.open(trained.folder / path).convert("RGB")).astype(int)
    height, width = sheet.shape[:2]
    pictures = sheet[: height - 260]
    for index in range(3):  # target, fit, error
        row = pictures[len(pictures) * index // 3 : len(pictures) * (index + 1) // 3]
        for side in range(4):
            cell = row[:, width * side // 4 : width * (side + 1) // 4]
            assert 0.1 < (cell.max(-1) < 245).mean() < 0.6, (index, side)
    state = torch.load(next((trained.config.parent / "nerfstudio_models").glob("*.ckpt")), weights_only=True)[
        "pipeline"
    ]
    history = state["_model._extra_state"]["history"]
    assert [step for step, _, _ in history] == sorted({step for step, _, _ in history})
    assert history[-1][0] == 400
    assert history[-1][1] < 0.5 * history[0][1]
    metrics = json.loads((trained.config.parent / "metrics.json").read_text())
    assert history[-1][2]["iou"] == pytest.approx(metrics["iou"], abs=0.01)


def frames_of(path):
    """All frames of a film, [n, h, w, 3]."""
    film, frames = cv2.VideoCapture(str(path)), []
    while True:
        more, frame = film.read()
        if not more:
            return np.array(frames)
        frames.append(frame[..., ::-1])


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A run on a snowman, whose sides differ."""
    folder = tmp_path_factory.mktemp("filmed")
    snowman().export(folder / "snowman.ply")
    smooth = {"hidden_dim": 48, "num_layers": 3, "omega_0": 10.0, "first_omega_0": 10.0, "eval_resolution": 32}
    model = {f"pipeline__model__{name}": value for name, value in smooth.items()}
    return fit("winner-sdf", folder / "snowman.ply", folder, 200, pipeline__datamanager__batch_size=1024, **model)


@pytest.mark.commands
@needs_ffmpeg
def test_nerfstudio_films_paths_interpolations_and_spirals(filmed, tmp_path):
    (tmp_path / "path.json").write_text(json.dumps(make_camera_path("y", 4, 1.0, 96)))
    renders = {
        "path": (RenderCameraPath(filmed, tmp_path / "path.mp4", camera_path_filename=tmp_path / "path.json"), 4),
        "between": (
            RenderInterpolated(filmed, tmp_path / "between.mp4", interpolation_steps=2, downscale_factor=4),
            22,
        ),
        "spiral": (SpiralRender(filmed, tmp_path / "spiral.mp4", seconds=0.5, frame_rate=8, downscale_factor=4), 4),
    }
    renders["between"][0].rendered_output_names = ["rgb", "error"]
    for name, (render, count) in renders.items():
        render.main()
        frames = frames_of(tmp_path / f"{name}.mp4")
        assert len(frames) == count
        assert all(0.03 < (frame.max(-1) < 235).mean() < 0.6 for frame in frames), name
        assert (np.abs(np.diff(frames.astype(int), axis=0)).max((1, 2, 3)) > 30).sum() >= count // 2, name
        assert frames.shape[2] == {"between": 256}.get(name, frames.shape[1])


@pytest.mark.commands
@needs_ffmpeg
def test_a_turntable_goes_once_around(filmed, tmp_path):
    script = ["bash", "scripts/turntable.sh", filmed, tmp_path / "films/turn.mp4"]
    small = {"FRAMES": "8", "SIZE": "96", "SECONDS_LONG": "1", "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(script, capture_output=True, text=True, env={**os.environ, **small}, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(f"the video: {tmp_path}/films/turn.mp4")
    frames = frames_of(tmp_path / "films/turn.mp4")
    assert frames.shape == (8, 96, 96, 3)
    # The arm stands out to the left after three eighths of the turn, and to the right after seven.
    sides = []
    for frame in (frames[3], frames[7]):
        columns = np.arange(96)[(frame[44:52].max(-1) < 235).any(0)]
        head = np.arange(96)[(frame[28:38].max(-1) < 235).any(0)]
        sides.append((columns.min() + columns.max()) / 2 - head.mean())
    assert sides[0] < -2
    assert sides[1] > 2


@pytest.mark.commands
def test_a_turntable_says_what_it_needs(tmp_path):
    done = subprocess.run(["bash", "scripts/turntable.sh", tmp_path / "no.yml"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}/no.yml: not a file; usage:")


@pytest.mark.parametrize(
    ("config", "output", "message"),
    [
        ("no.yml", "path.json", "error: no.yml: No such file or directory"),
        ("bytes.yml", "path.json", "error: bytes.yml: not the config.yml of a run"),
        ("list.yml", "path.json", "error: list.yml: a turntable needs the config.yml of a run of a shape or a volume"),
        ("photos.yml", "path.json", "error: photos.yml: a turntable needs the config.yml of a run of a shape"),
        ("image.yml", "path.json", "error: image.yml: a turntable needs the config.yml of a run of a shape"),
        ("ball.yml", "no/path.json", "error: no/path.json: No such file or directory"),
    ],
)
def test_a_turntable_that_cannot_be_is_one_line(config, output, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    methods = {"photos": "winner-nerf", "image": "winner-image", "ball": "winner-sdf"}
    for name, method in methods.items():
        Path(f"{name}.yml").write_text(yaml.dump(make_config(method)))
    Path("bytes.yml").write_bytes(b"\xff\xfe\x00: [")
    Path("list.yml").write_text("[1, 2]")
    monkeypatch.setattr("sys.argv", ["turntable", "--load-config", config, "--output", output])
    with pytest.raises(SystemExit) as caught:
        turntable.main()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
