"""What the viewer's controls do to pictures and sounds, without a viewer."""

import math

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.backends import backend_agg
from nerfstudio.data.scene_box import SceneBox

from winner_nerfstudio.nerfstudio.models import audio
from winner_nerfstudio.nerfstudio.models.base import SignalModelConfig
from winner_nerfstudio.nerfstudio.viewer.audio_panel import HEIGHT, WIDTH, Window, draw_panel, select_frames
from winner_nerfstudio.nerfstudio.viewer.cameras import FIELD_OF_VIEW, FRONT, look_at_origin
from winner_nerfstudio.nerfstudio.viewer.color_legend import error_colors
from winner_nerfstudio.signals.audio import load_audio
from winner_nerfstudio.signals.image import load_image
from winner_nerfstudio.signals.options import AudioOptions, ImageOptions
from winner_nerfstudio.training.options import NetworkOptions

SCALE = 32
"""Pixels of the frame to a pixel of the picture, at the zoom at which it is looked at."""


def model_of(signal):
    metadata = {"signal": signal, "initialize": True, "cameras": look_at_origin(FRONT, "y")}
    torch.manual_seed(0)
    box = SceneBox(torch.tensor([[-1.0] * 3, [1.0] * 3]))
    config = SignalModelConfig(kind=signal.kind, options=NetworkOptions(hidden_dim=16, num_layers=2))
    return config.setup(scene_box=box, num_train_data=1, metadata=metadata).eval()


def picture_model(tmp_path, rows=24, columns=32):
    pixels = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    np.save(tmp_path / "picture.npy", pixels)
    return model_of(load_image(tmp_path / "picture.npy")), pixels / 255.0


def look(model, layer, zoom=1.0, row=None, column=None, smooth=False):
    """One layer where the frame is just filled, each pixel of the zoomed picture `SCALE` of the frame's wide."""
    model.magnification.value, model.smooth.value = math.log2(zoom), smooth
    if row is not None:
        model.middle_row.value, model.middle_column.value = row, column
    distance = model.half_size()[1] / math.tan(math.radians(FIELD_OF_VIEW / 2))
    rows, columns = model.signal.lattice.shape
    height, width = round(rows / zoom * SCALE), round(columns / zoom * SCALE)
    camera = look_at_origin((0.0, 0.0, distance), "y", width, height)
    return model.get_outputs_for_camera(camera)[layer].numpy()


def squares(pixels):
    return pixels.repeat(SCALE, 0).repeat(SCALE, 1)


def fitted(model):
    """The fit at each pixel of the picture, [rows, columns, c]."""
    lattice = model.signal.lattice
    return model.field.evaluate(lattice.coords(torch.arange(lattice.count))).reshape(*lattice.shape, -1)


def test_pixels_are_squares_of_the_right_size_about_the_chosen_one(tmp_path):
    model, pixels = picture_model(tmp_path)
    np.testing.assert_allclose(look(model, "target"), squares(pixels), atol=1e-5)
    # Of 6 x 8 pixels in frame the middle of the chosen one is the middle, so that those at the borders are cut in half.
    half = SCALE // 2
    expected = squares(pixels[7:14, 16:25])[half:-half, half:-half]
    np.testing.assert_allclose(look(model, "target", 4, 10, 20), expected, atol=1e-5)


@pytest.mark.parametrize(
    "row, column, top, left", [(0, 0, 0, 0), (23, 31, 18, 24), (-(10**9), 10**9, 0, 24), (12, 0, None, 0)]
)
def test_the_frame_never_leaves_the_picture(tmp_path, row, column, top, left):
    model, pixels = picture_model(tmp_path)
    seen = look(model, "target", 4, row, column)
    if top is None:
        np.testing.assert_allclose(seen[SCALE // 2 : -SCALE // 2], squares(pixels[10:15, left : left + 8]), atol=1e-5)
    else:
        np.testing.assert_allclose(seen, squares(pixels[top : top + 6, left : left + 8]), atol=1e-5)


def test_a_zoom_beyond_the_slider_is_its_end(tmp_path):
    model, _ = picture_model(tmp_path)
    camera = look_at_origin(FRONT, "y", 60, 60)
    seen = []
    for doublings in (-3.0, model.magnification.min, 1e6, model.magnification.max):
        model.magnification.value = doublings
        seen.append(model.get_outputs_for_camera(camera)["target"])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[2], seen[3])


def test_the_fit_is_shown_at_the_pixels_and_each_is_computed_once(tmp_path, monkeypatch):
    model, _ = picture_model(tmp_path)
    values, evaluate, counts = fitted(model), model.field.evaluate, []
    monkeypatch.setattr(model.field, "evaluate", lambda coords: counts.append(len(coords)) or evaluate(coords))
    colors = ((values + 1) / 2).numpy()
    assert np.ptp(colors[..., 0]) > 0.01
    np.testing.assert_allclose(look(model, "rgb", 4, 0, 0), squares(colors[:6, :8]), atol=1e-5)
    assert counts == [48]
    look(model, "error", 4, 10, 20)
    assert counts == [48, 7 * 9]
    look(model, "target")
    assert counts == [48, 7 * 9]


def test_between_pixels_the_fit_alone_is_continuous(tmp_path):
    model, pixels = picture_model(tmp_path)
    layers = {name: look(model, name, 4, 0, 0, smooth=True) for name in ("rgb", "target", "error")}
    lattice = model.signal.lattice
    rows, columns = ((np.arange(n * SCALE) + 0.5) / SCALE - 0.5 for n in (6, 8))
    places = torch.from_numpy(np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2))
    expected = (model.field.evaluate(lattice.at(places)).reshape(6 * SCALE, 8 * SCALE, 3) + 1) / 2
    np.testing.assert_allclose(layers["rgb"], expected, atol=1e-4)
    assert np.ptp(layers["rgb"][:SCALE, :SCALE], axis=(0, 1)).min() > 1e-3
    np.testing.assert_allclose(layers["target"], squares(pixels[:6, :8]), atol=1e-5)
    errors = error_colors(fitted(model).reshape(-1, 3), torch.from_numpy(model.signal.truth).reshape(-1, 3))
    np.testing.assert_allclose(layers["error"], squares(errors.reshape(24, 32, 3).numpy()[:6, :8]), atol=1e-5)


def test_samples_without_data_are_blank_in_every_layer(tmp_path):
    values = np.random.default_rng(0).standard_normal((24, 32))
    values[3:7, 2:9] = np.nan
    np.save(tmp_path / "picture.npy", values)
    model = model_of(load_image(tmp_path / "picture.npy", ImageOptions(nodata=math.nan)))
    hidden = squares(np.isnan(values))
    for layer, smooth in (("target", False), ("rgb", False), ("rgb", True)):
        shown = look(model, layer, smooth=smooth)
        assert (shown[hidden] == 1).all()
        assert (shown[~hidden] < 1).any(-1).mean() > 0.9
    bar_at = slice(0, 10 * SCALE), slice(0, 10 * SCALE)  # far from the legend
    assert (look(model, "error")[bar_at][hidden[bar_at]] == 1).all()
    assert np.isnan(model._read_pixel(4, 5)["target"]).all()
    assert model._read_pixel(0, 0)["target"] == pytest.approx(values[0, 0], abs=1e-6)


def test_the_error_has_a_bar_of_its_colours_in_the_corner_alone(tmp_path):
    model, _ = picture_model(tmp_path)
    errors = error_colors(fitted(model).reshape(-1, 3), torch.from_numpy(model.signal.truth).reshape(-1, 3))
    differs = np.abs(look(model, "error") - squares(errors.reshape(24, 32, 3).numpy())).max(-1) > 0.01
    rows, columns = np.nonzero(differs)
    assert rows.min() > 0.7 * len(differs)
    assert columns.min() > 0.5 * differs.shape[1]
    assert differs[rows.min() :, columns.min() :].mean() > 0.9


def test_the_pictures_of_a_run_heed_no_slider(tmp_path):
    model, _ = picture_model(tmp_path)
    before = model.pictures(model.signal, look_at_origin(FRONT, "y"))
    look(model, "rgb", 4, 3, 3, smooth=True)
    for name, picture in model.pictures(model.signal, look_at_origin(FRONT, "y")).items():
        assert torch.equal(picture, before[name]), name


@pytest.mark.parametrize("size, doublings", [((1, 1), 1), ((1, 9), 1), ((200, 3), 5), ((64, 512), 6)])
def test_a_few_pixels_fill_the_frame_at_the_greatest_zoom(tmp_path, size, doublings):
    model, pixels = picture_model(tmp_path, *size)
    assert model.magnification.max == doublings
    for slider in (model.magnification, model.middle_row, model.middle_column):
        assert slider.min < slider.max
    model.magnification.value = model.magnification.max
    seen = model.get_outputs_for_camera(look_at_origin(FRONT, "y", 61, 61))["target"][30, 30].numpy()
    assert np.abs(pixels - seen).max(-1).min() < 1e-5


@pytest.mark.parametrize("count", [1, 2, 63, 64, 200, 4_410, 16_384, 16_385, 30 * 60 * 44_100])
def test_frames_stay_in_the_window_and_miss_nothing_that_is_drawn(count):
    numbers = select_frames(Window(1000, count))
    assert numbers.size <= 500 * 1024
    assert numbers.min() >= 1000
    assert numbers.max() < 1000 + count
    if count <= 16_384:
        assert len(np.unique(numbers)) == count


RATE = 8000


def click_model(tmp_path, seconds=4.0, click=0.3, start=0.0):
    samples = np.zeros((round(seconds * RATE), 2))
    samples[round(click * RATE)] = 0.5
    soundfile.write(tmp_path / "click.wav", samples, RATE)
    return model_of(load_audio(tmp_path / "click.wav", AudioOptions(start=start)))


@pytest.fixture
def metrics(monkeypatch):
    """The metrics that are drawn, as they are drawn."""
    drawn = []

    class Canvas(backend_agg.FigureCanvasAgg):
        def __init__(self, figure):
            drawn.append(figure)
            super().__init__(figure)

    monkeypatch.setattr(backend_agg, "FigureCanvasAgg", Canvas)
    return drawn


def show(model, begin=None, length=None):
    if begin is not None:
        model.from_second.value = begin
    if length is not None:
        model.length.value = length
    return model.get_outputs_for_camera(look_at_origin(FRONT, "y", 60, 60))["rgb"]


def highest(axes):
    """The target's greatest sample in a waveform, drawn sample by sample or as an envelope."""
    if axes.lines:
        return axes.lines[0].get_ydata().max()
    return max(path.vertices[:, 1].max() for path in axes.collections[0].get_paths())


@pytest.mark.parametrize(
    "begin, length, seen",
    [
        (None, None, True),
        (0.27, 0.1, True),
        (0.3, 0.008, True),
        (0.31, 0.1, False),
        (0.1, 0.19, False),
        (0.1, 3.0, True),
    ],
)
def test_a_click_is_seen_in_the_windows_that_contain_it(tmp_path, metrics, begin, length, seen):
    model = click_model(tmp_path)
    show(model, begin, length)
    waveform, spectrogram = metrics[-1].axes[0], metrics[-1].axes[3]
    low, high = waveform.get_xlim()
    assert low == pytest.approx(begin or 0.0)
    assert high - low == pytest.approx(length or 4.0)
    assert (highest(waveform) > 0.9) == seen
    shades = spectrogram.images[0]
    assert shades.get_extent()[:2] == pytest.approx((low, high))
    loud = np.asarray(shades.get_array()).max(0)
    assert (loud.max() > -20) == seen
    if seen:
        # Where the spectrogram has it is when it was.
        place = np.flatnonzero(loud > loud.max() - 1).mean() + 0.5
        assert low + place / len(loud) * (high - low) == pytest.approx(0.3, abs=0.01)


def test_few_samples_are_drawn_one_by_one_each_at_its_time(tmp_path, metrics):
    show(click_model(tmp_path), 0.295, 0.01)
    target, fit = metrics[-1].axes[0].lines
    for line in (target, fit):
        np.testing.assert_allclose(line.get_xdata(), 0.295 + np.arange(80) / RATE, atol=1e-9)
        assert line.get_marker() == "o"
    assert target.get_xdata()[target.get_ydata().argmax()] == pytest.approx(0.3)


def test_a_click_near_the_beginning_is_in_its_place_in_a_long_window_too(tmp_path, metrics):
    show(click_model(tmp_path, click=0.01))
    (path,) = metrics[-1].axes[0].collections[0].get_paths()
    assert path.vertices[path.vertices[:, 1].argmax(), 0] == pytest.approx(0.01, abs=4 / 500)


def test_late_times_are_written_out(metrics):
    window = Window(5, 64)
    silence = np.zeros((*select_frames(window).shape, 1), np.float32)
    draw_panel(silence, silence, window, RATE, 1700.0)
    axis = metrics[-1].axes[2].xaxis
    assert axis.get_offset_text().get_text() == ""
    assert all(label.get_text().startswith("1700.") for label in axis.get_ticklabels())


def test_times_are_those_of_the_recording(tmp_path, metrics):
    model = click_model(tmp_path, seconds=1, start=0.25)
    assert (model.from_second.value, model.length.value) == (0.25, 0.75)
    assert (model.from_second.min, model.from_second.max, model.length.max) == (0.25, 1.0, 0.75)
    show(model)
    assert metrics[-1].axes[0].get_xlim() == pytest.approx((0.25, 1.0))
    show(model, 0.29, 0.02)
    waveform = metrics[-1].axes[0].lines[0]
    assert waveform.get_xdata()[waveform.get_ydata().argmax()] == pytest.approx(0.3)
    labels = [label.get_text() for label in metrics[-1].axes[3].get_xticklabels()]
    assert "0.3000" in labels


@pytest.mark.parametrize("seconds", [0.33, 0.46, 0.62, 0.7, 4.0])
def test_sliders_have_round_ends(tmp_path, seconds):
    model = click_model(tmp_path, seconds)
    assert (model.from_second.min, model.from_second.max, model.length.max) == (0.0, seconds, seconds)


def test_a_window_stays_in_the_sound_and_has_a_least_length(tmp_path):
    model = click_model(tmp_path)
    for begin, length, window in [
        (0.0, 4.0, Window(0, 32_000)),
        (3.0, 4.0, Window(0, 32_000)),
        (3.9, 0.5, Window(28_000, 4_000)),
        (-5.0, 1.0, Window(0, 8_000)),
        (1.0, 0.0, Window(8_000, 64)),
        (99.0, 1e9, Window(0, 32_000)),
    ]:
        model.from_second.value, model.length.value = begin, length
        assert model._select_window() == window


@pytest.mark.parametrize("count, rate", [(1, 1), (1, 44_100), (5, 1), (64, 48_000), (3_001, 22_050), (1000, 1e-3)])
def test_any_sound_has_sliders_that_move_and_is_shown_whole_at_first(tmp_path, count, rate):
    np.save(tmp_path / "sound.npy", np.sin(np.arange(count) + 1))
    model = model_of(load_audio(tmp_path / "sound.npy", AudioOptions(sample_rate=rate)))
    assert model._select_window() == Window(0, count)
    for slider in (model.from_second, model.length):
        assert slider.min <= slider.value <= slider.max
        assert slider.min < slider.max
        assert len(str(slider.value)) <= 9
    model.length.value, model.from_second.value = model.length.min, model.from_second.max
    window = model._select_window()
    assert 1 <= window.count <= count
    assert window.first + window.count == count
    if count < 100:
        assert torch.isfinite(show(model)).all()


def test_the_panel_is_drawn_anew_when_it_shows_something_else_and_not_otherwise(tmp_path, metrics):
    model = click_model(tmp_path, seconds=0.5)
    show(model)
    show(model)
    assert len(metrics) == 1
    show(model, 0.2, 0.1)
    show(model, 0.2 + 1e-6)
    assert len(metrics) == 2
    show(model, 0.3)
    assert len(metrics) == 3
    model.progress["points"] += 1
    show(model)
    show(model)
    assert len(metrics) == 4


def test_fine_lines_of_the_panel_are_neither_lost_from_afar_nor_blurred_from_nearby(tmp_path, monkeypatch):
    model = click_model(tmp_path, seconds=0.5)
    chequered = (torch.arange(HEIGHT)[:, None] + torch.arange(WIDTH)) % 2.0
    monkeypatch.setattr(audio, "draw_panel", lambda *_: chequered[..., None].expand(-1, -1, 3))
    afar, nearby = (
        model.get_outputs_for_camera(look_at_origin((0.0, 0.0, far), "y", 96, 96))["rgb"][30:66, 30:66]
        for far in (2.0, 0.02)
    )
    assert ((afar - 0.5).abs() < 0.1).all()
    assert ((nearby - 0.5).abs() == 0.5).all()


def test_the_picture_of_a_run_is_of_the_whole_sound(tmp_path, metrics):
    model = click_model(tmp_path, seconds=0.5)
    show(model, 0.2, 0.1)
    model.pictures(model.signal, look_at_origin(FRONT, "y"))
    assert metrics[-1].axes[0].get_xlim() == pytest.approx((0, 0.5))
