"""The viewer as a person sees it, in a headless browser."""

import io
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from .conftest import BIN, fit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def needs_browser(test):
    return pytest.mark.browser(pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")(test))


HOST = ("--viewer.websocket-host", "127.0.0.1")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scene_of(page):
    """The pixels of the scene, [h, w, 3]: left of the control panel, below the title bar."""
    scene = np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)[60:, :700]
    scene[-90:, :90] = 255  # the little axes
    return scene


def is_shown(scene):
    """Which pixels show what was fitted: neither the white background nor the dark page."""
    return (scene.max(-1) > 60) & (scene.min(-1) < 235)


def wait_for(page, found, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not found(scene := scene_of(page)):
        assert time.monotonic() < deadline, f"{what} never appeared"
        time.sleep(1)
    return scene


@contextmanager
def viewed(config, folder, cwd=None):
    """The page of ``ns-viewer`` on a run, once it has rendered a fine picture."""
    from playwright.sync_api import sync_playwright

    port, log = free_port(), folder / "log"
    with log.open("w") as output:
        viewer = subprocess.Popen(
            [BIN / "ns-viewer", "--load-config", config, "--viewer.websocket-port", str(port), *HOST],
            cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert viewer.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, "the viewer never listened"
                    time.sleep(0.5)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = browser.new_page(viewport={"width": 1024, "height": 700})
                page.goto(f"http://127.0.0.1:{port}")
                # The first, coarse pictures are followed by a fine one when nothing moves.
                page.get_by_text(re.compile(r"Resolution: \d{3,}x\d{3,}px")).wait_for(timeout=120_000)
                wait_for(page, lambda scene: is_shown(scene).mean() > 0.05, "what was fitted")
                yield page
                page.screenshot(path=folder / "viewer.png")
                browser.close()
        finally:
            viewer.terminate()
            viewer.wait()
    assert "Traceback" not in log.read_text()


@needs_browser
def test_a_shape_is_whole_in_frame_at_the_start(trained, tmp_path):
    with viewed(trained.config, tmp_path, trained.folder) as page:
        shape = is_shown(wait_for(page, lambda scene: (scene.min(-1) > 235).mean() > 0.3, "the background"))
    rows, columns = np.nonzero(shape)
    height = len(shape)
    # A ball: round, near the middle, and clear of every edge.
    assert rows.min() > 0.02 * height
    assert rows.max() < 0.98 * height
    assert abs((rows.max() - rows.min()) / (columns.max() - columns.min()) - 1) < 0.15


@needs_browser
def test_a_picture_hangs_upright_and_whole_and_shows_its_error(tmp_path):
    quarters = np.zeros((40, 60, 3), np.uint8)
    colors = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220), "yellow": (220, 220, 40)}
    for number, color in enumerate(colors.values()):
        row, column = divmod(number, 2)
        quarters[20 * row : 20 * row + 20, 30 * column : 30 * column + 30] = color
    Image.fromarray(quarters).save(tmp_path / "quarters.png")
    config = fit("winner-image", tmp_path / "quarters.png", tmp_path, 300, pipeline__model__hidden_dim=64)
    with viewed(config, tmp_path) as page:
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
        # The same false colours everywhere, and none of them green.
        middle = slice(top + 10, bottom - 10), slice(left + 10, right - 10)
        wait_for(page, lambda scene: (scene[middle][..., 1] <= scene[middle][..., 0] + 5).mean() > 0.99, "the error")


@needs_browser
def test_a_sound_is_a_panel_of_waveform_and_spectrograms(tmp_path):
    config = fit("winner-audio", "sample:bells", tmp_path, 20)
    with viewed(config, tmp_path) as page:
        scene = wait_for(page, lambda scene: (scene.min(-1) > 235).mean() > 0.2, "the background")
    # The panel's lower part: the target's spectrogram, in the colours of magma from black to yellow.
    rows, columns = np.nonzero(is_shown(scene))
    height, width = np.ptp(rows), np.ptp(columns)
    assert abs(width / height / (4 / 3) - 1) < 0.25
    lower = scene[
        rows.max() - height // 4 : rows.max() - height // 10, columns.min() + width // 4 : columns.max() - width // 4
    ]
    assert (lower.max(-1) < 120).mean() > 0.2
    assert ((lower[..., 0] > 150) & (lower[..., 2] < 140)).any()
