"""The viewer as a person sees it, in a headless browser."""

import io
import re
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from .conftest import BIN

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

HOST = ("--viewer.websocket-host", "127.0.0.1")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shape_pixels(page):
    """Which pixels of the scene show the shape: neither the white background nor the dark panels."""
    image = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    scene = image[60:, :700]  # left of the control panel, below the title bar
    bright = scene.mean(-1)
    return (bright > 60) & (bright < 235), scene


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")
def test_the_viewer_opens_with_the_whole_shape_in_frame(trained, tmp_path):
    from playwright.sync_api import sync_playwright

    port = free_port()
    log = (tmp_path / "log").open("w+")
    viewer = subprocess.Popen(
        [BIN / "ns-viewer", "--load-config", trained.config, *f"--viewer.websocket-port {port}".split(), *HOST],
        cwd=trained.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert viewer.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, "the viewer never listened"
                time.sleep(0.5)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1024, "height": 700})
            page.goto(f"http://127.0.0.1:{port}")
            # The first, coarse pictures are followed by a fine one when nothing moves.
            page.get_by_text(re.compile(r"Resolution: \d{3,}x\d{3,}px")).wait_for(timeout=120_000)
            deadline = time.monotonic() + 30
            while True:
                shape, scene = shape_pixels(page)
                if shape.mean() > 0.05 and (scene.mean(-1) > 235).mean() > 0.3:
                    break
                assert time.monotonic() < deadline, "the shape never appeared"
                time.sleep(1)
            page.screenshot(path=tmp_path / "viewer.png")
            browser.close()
    finally:
        viewer.terminate()
        viewer.wait()
        log.close()
    rows, columns = np.nonzero(shape)
    height = len(shape)
    # A ball: round, near the middle, and clear of every edge.
    assert rows.min() > 0.02 * height
    assert rows.max() < 0.98 * height
    assert abs((rows.max() - rows.min()) / (columns.max() - columns.min()) - 1) < 0.15
    assert "Traceback" not in (tmp_path / "log").read_text()
