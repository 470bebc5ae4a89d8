"""A headless browser that looks at the viewer."""

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


def needs_browser(test):
    return pytest.mark.browser(pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")(test))


FINE = re.compile(r"Resolution: (512x\d+|\d+x512)px")
"""What the page says once it shows more than a coarse first look."""


PANEL = 320
"""Width of the control panel, pixels."""
PATIENCE = 900
"""Seconds after which what has not appeared never will: the machine may be slow, or busy with other tests."""
FEWER_FRAMES = """
const waiting = new Map(), realNow = performance.now.bind(performance);
let ids = 0, frames = 0, now = null;
performance.now = () => now ?? realNow();
window.requestAnimationFrame = callback => { waiting.set(++ids, callback); return ids; };
window.cancelAnimationFrame = id => waiting.delete(id);
setInterval(() => {
    const callbacks = [...waiting.values()];
    waiting.clear();
    now = 1000 / 60 * ++frames;
    for (const callback of callbacks) try { callback(now); } catch (error) { reportError(error); }
    now = null;
}, 250);
"""
"""Lets the page draw four frames a second: without a GPU, sixty would take the processor from what is tested. Within a
frame its clock runs as if there were sixty, or it would lower its resolution and blur."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scene_of(page):
    """The pixels of the scene, [h, w, 3]: all that is left of the control panel."""
    scene = np.array(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)[:, :-PANEL]
    scene[-90:, :90] = scene[:, -10:] = 255  # the little axes, and the shadow of the panel
    return scene


def is_shown(scene):
    """Which pixels show what was fitted: neither the white background nor the dark page."""
    return (scene.max(-1) > 60) & (scene.min(-1) < 235)


def control(page, name):
    """The row of the control panel with that name."""
    return page.get_by_text(name, exact=True).locator("xpath=ancestor::*[contains(@class, 'Flex-root')][1]")


def choose(page, output):
    """Pick what is shown."""
    page.get_by_label("Output type").first.click()
    page.get_by_role("option", name=output, exact=True).click()


def type_value(page, name, value):
    """Type a number beside a slider."""
    box = control(page, name).get_by_role("textbox")
    box.fill(str(value))
    box.press("Enter")


def drag_to_end(page, name):
    """Drag a slider all the way to the right."""
    slider = control(page, name).get_by_role("slider")
    slider.scroll_into_view_if_needed()
    place = slider.bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=8)
    page.mouse.up()


def wait_for(page, found, what):
    """The first scene in which something is found."""
    deadline = time.monotonic() + PATIENCE
    while not found(scene := scene_of(page)):
        assert time.monotonic() < deadline, f"{what} never appeared"
        time.sleep(0.5)
    return scene


def at_rest(page):
    """The scene once two looks, a second apart, show the same: coarse pictures come before fine ones."""
    deadline, before = time.monotonic() + PATIENCE, scene_of(page)
    while True:
        time.sleep(1)
        page.get_by_text(FINE).wait_for()
        scene = scene_of(page)
        if np.abs(scene - before).mean() < 0.02:
            return scene
        assert time.monotonic() < deadline, "the scene never came to rest"
        before = scene


def wait_until_set_up(viewer, port, log):
    """Wait until the viewer has our part of it too, before which it listens: until its theme is ours."""
    from websockets.sync.client import connect

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert viewer.poll() is None, log.read_text()
        try:
            with connect(f"ws://127.0.0.1:{port}", max_size=None) as client:
                while time.monotonic() < deadline:
                    message = client.recv(timeout=PATIENCE)
                    if b"ThemeConfigurationMessage" in message and b"docs.nerf.studio" not in message:
                        return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the viewer was never set up")


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
            wait_until_set_up(viewer, port, log)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = browser.new_page(viewport={"width": size[0] + PANEL, "height": size[1]})
                own = f"http://127.0.0.1:{port}"
                page.set_default_timeout(1000 * PATIENCE)
                page.add_init_script(FEWER_FRAMES)
                page.route(
                    lambda url: not url.startswith((own, "data:", "blob:")), lambda route: outside(route.request.url)
                )
                page.goto(own, wait_until="domcontentloaded")
                page.get_by_text(FINE).wait_for()
                wait_for(page, lambda scene: is_shown(scene).mean() > 0.05, "what was fitted")
                try:
                    yield page
                finally:
                    page.screenshot(path=folder / "viewer.png")
                    browser.close()
        finally:
            viewer.terminate()
            viewer.wait()
    _, traceback, said = log.read_text().partition("Traceback")
    assert not traceback, said[:3000]
