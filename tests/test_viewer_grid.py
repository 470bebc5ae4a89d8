"""Pictures and sounds in the viewer as a person sees them, in a headless browser."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
from PIL import Image

from .browser import (
    choose,
    control,
    drag_to_end,
    flush,
    is_shown,
    needs_browser,
    scene_of,
    type_value,
    viewed,
    wait_for,
)
from .conftest import fit

MARKED, MAGENTA = (5, 50), (200, 40, 200)


def magenta(scene):
    return np.abs(scene - MAGENTA).max(-1) < 60


@pytest.mark.commands
@needs_browser
def test_a_picture_hangs_upright_and_whole_and_shows_its_error_and_its_pixels(tmp_path):
    quarters = np.zeros((40, 60, 3), np.uint8)
    colors = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220), "yellow": (220, 220, 40)}
    for number, color in enumerate(colors.values()):
        row, column = divmod(number, 2)
        quarters[20 * row : 20 * row + 20, 30 * column : 30 * column + 30] = color
    quarters[MARKED] = MAGENTA
    Image.fromarray(quarters).save(tmp_path / "quarters.png")
    # Enough noise that the marked pixel is one in the fit too.
    noise = {"pipeline__model__noise__s0": 25.0, "pipeline__model__noise__s1": 0.1}
    config = fit("winner-image", tmp_path / "quarters.png", tmp_path, 300, pipeline__model__hidden_dim=64, **noise)
    with viewed(["ns-viewer", "--load-config", config], tmp_path / "page", tmp_path) as page:
        scene = wait_for(page, lambda scene: (scene.min(-1) > 235).mean() > 0.2, "the background")
        rows, columns = np.nonzero(is_shown(scene))
        top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
        assert min(top, left) > 5
        assert bottom < scene.shape[0] - 5
        # Square pixels: three to two.
        assert abs((right - left) / (bottom - top) / 1.5 - 1) < 0.08
        for number, color in enumerate(colors.values()):
            row, column = divmod(number, 2)
            y, x = top + (bottom - top) * (1 + 2 * row) // 4, left + (right - left) * (1 + 2 * column) // 4
            seen = scene[y - 20 : y + 20, x - 20 : x + 20].mean((0, 1))
            assert np.abs(seen - color).max() < 30, (number, seen)
        page.get_by_label("Output type").first.click()
        for output in ("rgb", "target", "error", "depth", "accumulation"):
            assert page.get_by_role("option", name=output, exact=True).count() == 1, output
        page.get_by_role("option", name="error", exact=True).click()
        flush(page)
        # The same false colours everywhere, and none of them green.
        middle = slice(top + 10, bottom - 10), slice(left + 10, right - 10)
        wait_for(page, lambda scene: (scene[middle][..., 1] <= scene[middle][..., 0] + 5).mean() > 0.99, "the error")

        choose(page, "target")
        wait_for(page, lambda scene: np.abs(scene[bottom - 20, right - 20] - colors["yellow"]).max() < 20, "the target")
        # The marked pixel is one of 40 x 60, and then one of 5 x 7.5 in the middle of what is in frame.
        assert magenta(scene_of(page)[middle]).mean() < 2 / 2400
        drag_to_end(page, "Zoom, doublings")
        assert control(page, "Zoom, doublings").get_by_role("textbox").input_value() == "3"
        type_value(page, "Centre, row", MARKED[0])
        type_value(page, "Centre, column", MARKED[1])

        def is_square(scene):
            rows, columns = np.nonzero(magenta(scene))
            return (
                len(rows) > 100
                and abs(np.ptp(rows) / (bottom - top) * 5 - 1) < 0.1
                and abs(np.ptp(columns) / (right - left) * 7.5 - 1) < 0.1
                and abs(rows.mean() - (top + bottom) / 2) < 8
                and abs(columns.mean() - (left + right) / 2) < 8
            )

        wait_for(page, is_square, "the marked pixel")
        page.mouse.click(int(left + right) / 2, int(top + bottom) / 2)
        page.get_by_text(f"row {MARKED[0]}, column {MARKED[1]}").wait_for()
        assert page.get_by_role("cell", name=", ".join(map(str, MAGENTA)), exact=True).count() == 1
        page.mouse.click(int(left) - 20, int(top + bottom) / 2)
        page.get_by_text("No pixel there").wait_for()
        choose(page, "rgb")
        # Within a pixel the fit has one colour, between pixels many; the page blurs, on a slow machine more and more.
        y, x = (top + bottom) // 2, (left + right) // 2
        inside = slice(y - 20, y + 20), slice(x - 20, x + 20)
        wait_for(page, lambda scene: np.ptp(scene[inside], axis=(0, 1)).max() < 10, "the fit at a pixel")
        control(page, "Between pixels").get_by_role("checkbox").check()
        wait_for(page, lambda scene: np.ptp(scene[inside], axis=(0, 1)).max() > 20, "the fit between pixels")
        page.get_by_role("button", name="Export image now").click()
        page.get_by_text(re.compile(r"Wrote .*\.png")).wait_for()
    (path,) = config.parent.glob("quarters-step*.png")
    written = np.asarray(Image.open(path)).astype(int)
    assert written.shape == quarters.shape
    assert np.sqrt(np.mean((written - quarters) ** 2)) < 20


def tall_columns(scene):
    """Part of the columns in which the upper half of the target's waveform, which is grey, is tall."""
    shown = is_shown(scene)
    rows, columns = np.nonzero(shown)
    upper = scene[rows.min() : rows.min() + np.ptp(rows) // 5, columns.min() + 60 : columns.max() - 60]
    grey = (np.ptp(upper, axis=-1) < 12) & (upper.max(-1) > 150) & (upper.max(-1) < 200)
    return (grey.mean(0) > 0.4).mean()


@pytest.mark.commands
@needs_browser
def test_a_sound_is_a_panel_of_waveform_and_spectrograms_of_any_part(tmp_path):
    time = np.arange(8000) / 8000
    samples = np.random.default_rng(0).normal(0, 1e-3, 8000)
    samples[4000:4800] += np.sin(9000 * time[:800])
    soundfile.write(tmp_path / "beep.wav", samples * 0.5, 8000)
    config = fit("winner-audio", tmp_path / "beep.wav", tmp_path, 20)
    with viewed(["ns-viewer", "--load-config", config], tmp_path / "page", tmp_path) as page:
        scene = wait_for(page, lambda scene: (scene.min(-1) > 235).mean() > 0.2, "the background")
        # The panel's lower part: the target's spectrogram, in the colours of magma from black to yellow.
        rows, columns = np.nonzero(is_shown(scene))
        height, width = np.ptp(rows), np.ptp(columns)
        assert abs(width / height / (4 / 3) - 1) < 0.25
        lower = scene[
            rows.max() - height // 4 : rows.max() - height // 10,
            columns.min() + width // 4 : columns.max() - width // 4,
        ]
        assert (lower.max(-1) < 120).mean() > 0.2
        assert ((lower[..., 0] > 150) & (lower[..., 2] < 140)).any()
        # The beep lasts a tenth of the sound, and fills a window of its own.
        assert 0.05 < tall_columns(scene) < 0.2
        type_value(page, "Length, seconds", 0.1)
        # All but the frame, whose lines may come out as grey.
        wait_for(page, lambda scene: tall_columns(scene) < 0.02, "the silence before the beep")
        type_value(page, "From, seconds", 0.5)
        wait_for(page, lambda scene: tall_columns(scene) > 0.8, "the beep alone")
        page.get_by_role("button", name="Listen to what is shown").click()
        page.locator("audio").nth(2).wait_for()
        fitted, target, difference = (
            soundfile.read(
                io.BytesIO(base64.b64decode(page.locator("audio").nth(n).get_attribute("src").split(",")[1]))
            )
            for n in range(3)
        )
        assert target[1] == 8000
        np.testing.assert_allclose(target[0], soundfile.read(tmp_path / "beep.wav")[0][4000:4800], atol=2e-4)
        np.testing.assert_allclose(fitted[0] - target[0], difference[0], atol=2e-4)
        assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(0.1)
        drag_to_end(page, "Length, seconds")
        wait_for(page, lambda scene: 0.05 < tall_columns(scene) < 0.2, "the whole sound")
