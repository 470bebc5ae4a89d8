"""A headless browser that looks at the viewer."""

import io
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

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
    # Without a GPU, what draws the scene would also draw the panel and the page from both, at several times the cost.
    "--disable-gpu-compositing",
]


def needs_browser(test):
    return pytest.mark.browser(pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")(test))


SLOW_CLOCK = "{ const now = performance.now.bind(performance); performance.now = () => now() / 20; }"
"""Lets viser believe that it draws fast, because it draws coarsely where it is slow, as it is without a GPU."""
FINE = re.compile(r"Resolution: (512x\d+|\d+x512)px")
"""What the page says once it shows more than a coarse first look."""
FEW_FRAMES = """{
  window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 500);
  window.cancelAnimationFrame = clearTimeout;
}"""
"""Lets the page draw twice a second: without a GPU, sixty times would take the cores from what is watched."""
READY = "disabled local writer"
"""What nerfstudio says once the viewer is set up, ours included; the page is served before, without our part of it."""
AMPLE = 300
"""Seconds that a test waits for what a page shows, at most: on a busy machine a picture takes half a minute."""
PANEL = 320
"""Width of the control panel, pixels."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scene_of(page):
    """The pixels of the scene, [h, w, 3]: all that is left of the control panel."""
    size = page.viewport_size
    picture = page.screenshot(clip={"x": 0, "y": 0, "width": size["width"] - PANEL, "height": size["height"]})
    scene = np.array(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    scene[-90:, :90] = scene[:, -10:] = 255  # the little axes, and the shadow of the panel
    return scene


def is_shown(scene):
    """Which pixels show what was fitted: neither the white background nor the dark page."""
    return (scene.max(-1) > 60) & (scene.min(-1) < 235)


def control(page, name):
    """The row of the control panel with that name."""
    return page.get_by_text(name, exact=True).locator("xpath=ancestor::*[contains(@class, 'Flex-root')][1]")


def flush(page):
    """Let the page send a control's new value.

    viser sends one value every 50 ms, of whatever control; a value that waits is lost when another control changes.
    """
    page.evaluate("() => new Promise((done) => setTimeout(done, 200))")


def choose(page, option, name="Output type"):
    """Pick an option of a list; with no name, what is shown."""
    page.get_by_label(name).first.click()
    page.get_by_role("option", name=option, exact=True).click()
    flush(page)


def type_value(page, name, value):
    """Type a number beside a slider."""
    box = control(page, name).get_by_role("textbox")
    box.fill(str(value))
    box.press("Enter")
    flush(page)


def drag_to_end(page, name):
    """Drag a slider all the way to the right."""
    slider = control(page, name).get_by_role("slider")
    slider.scroll_into_view_if_needed()
    place = slider.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=8)
    page.wait_for_timeout(1000)  # the slider follows when the page draws
    page.mouse.up()
    flush(page)


def wait_for(page, found, what):
    deadline = time.monotonic() + AMPLE
    while not found(scene := scene_of(page)):
        assert time.monotonic() < deadline, f"{what} never appeared"
        time.sleep(1)
    return scene


def settled(page, measure):
    """What is measured of the scene once two looks, a second apart, agree: coarse pictures come before fine ones."""
    deadline, before = time.monotonic() + AMPLE, measure(scene_of(page))
    while True:
        time.sleep(1)
        now = measure(scene_of(page))
        if abs(now - before) <= 0.02 * abs(now):
            return now
        assert time.monotonic() < deadline, "the scene never came to rest"
        before = now


@contextmanager
def viewed(command, folder, cwd, size=(704, 700), outside=lambda url: None):
    """The page of a command that serves the viewer, once it has rendered a fine picture.

    `size` is that of the scene, left of the control panel; `outside` hears of every address that the page asks for
    elsewhere, none of which ever answers.
    """
    from playwright.sync_api import sync_playwright

    port, log = free_port(), folder / "log"
    folder.mkdir(parents=True, exist_ok=True)
    program, *arguments = map(str, command)
    with log.open("w") as output:
        viewer = subprocess.Popen(
            [BIN / program, *arguments, "--viewer.websocket-port", str(port), "--viewer.websocket-host", "127.0.0.1"],
            cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + AMPLE
            while READY not in log.read_text():
                assert viewer.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "the viewer was never ready"
                time.sleep(0.5)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = browser.new_page(viewport={"width": size[0] + PANEL, "height": size[1]})
                page.set_default_timeout(1000 * AMPLE)
                page.add_init_script(SLOW_CLOCK)
                page.add_init_script(FEW_FRAMES)
                own = f"http://127.0.0.1:{port}"
                page.route(
                    lambda url: not url.startswith((own, "data:", "blob:")), lambda route: outside(route.request.url)
                )
                page.goto(own, wait_until="domcontentloaded")
                # Coarse pictures are followed by a fine one when nothing moves, which the camera does at the start.
                page.get_by_text(FINE).wait_for()
                wait_for(page, lambda scene: is_shown(scene).mean() > 0.05, "what was fitted")
                page.wait_for_timeout(2000)
                page.get_by_text(FINE).wait_for()
                try:
                    yield page
                finally:
                    page.screenshot(path=folder / "viewer.png")
                    browser.close()
        finally:
            viewer.send_signal(signal.SIGINT)
            viewer.wait()
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
    assert "leaked" not in log.read_text()
    # 130 is that of a run that was interrupted.
    assert viewer.returncode in (0, 130), (viewer.returncode, log.read_text()[-3000:])
