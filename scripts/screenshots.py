"""The viewer's pictures in docs/: a shape, an image and a sound as a headless browser shows them.

Trains on built-in samples and on scikit-image's photograph of an astronaut, which is in the public domain. That takes
some minutes on two cores; needs Chromium and the development packages. Run from the root of the repository:
``python -m scripts.screenshots``.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import skimage
import tyro

from tests.browser import choose, control, type_value, viewed
from tests.conftest import run
from winner_nerfstudio.training.verdict import POOR_FIT

SIZE = 600, 512
"""Of the scene, pixels."""


@dataclass
class Arguments:
    """What to make."""

    runs: Path = Path("outputs/screenshots")
    """Where the runs are kept; a run that is there is not trained again."""
    output: Path = Path("docs")
    """Folder for viewer-shape.png, viewer-image.png and viewer-audio.png."""


def shape(page: Any) -> None:
    """Fit on the left, its error on the right."""
    control(page, "Enable").first.get_by_role("checkbox").check()
    page.get_by_label("Output render split").click()
    page.get_by_role("option", name="error", exact=True).click()


def image(page: Any) -> None:
    """Magnified until pixels show, target on the left and fit on the right."""
    type_value(page, "Zoom, doublings", 3)
    type_value(page, "Centre, row", 100)
    type_value(page, "Centre, column", 222)
    choose(page, "target")
    control(page, "Enable").first.get_by_role("checkbox").check()
    page.get_by_label("Output render split").click()
    page.get_by_role("option", name="rgb", exact=True).click()


def audio(page: Any) -> None:
    """A twentieth of a second."""
    type_value(page, "Length, seconds", 0.05)
    type_value(page, "From, seconds", 0.1)


ASTRONAUT = Path(skimage.__file__).parent / "data/astronaut.png"
SHOTS = {
    "shape": ("winner-sdf", "sample:knot", 1000, shape),
    "image": ("winner-image", str(ASTRONAUT), 600, image),
    "audio": ("winner-audio", "sample:bells", 600, audio),
}


def main() -> None:
    """Train, look, photograph."""
    arguments = tyro.cli(Arguments, description=__doc__)
    for name, (method, data, steps, arrange) in SHOTS.items():
        config = arguments.runs.resolve() / Path(data.removeprefix("sample:")).stem / method / "run/config.yml"
        if not (config.parent / "metrics.json").is_file():
            shutil.rmtree(config.parent, ignore_errors=True)
            train = ["ns-train", method, "--data", data, "--max-num-iterations", steps]
            train += ["--output-dir", arguments.runs.resolve(), "--timestamp", "run"]
            done = run(*train, cwd=".", timeout=3600)
            if done.returncode not in (0, POOR_FIT):
                raise SystemExit(done.output)
        with viewed(["ns-viewer", "--load-config", config], arguments.runs / name, ".", SIZE) as page:
            type_value(page, "Max res", 664)
            arrange(page)
            page.mouse.move(10, 10)
            time.sleep(20)  # until the finest picture is there
            page.screenshot(path=arguments.output / f"viewer-{name}.png")
        print(arguments.output / f"viewer-{name}.png", flush=True)


if __name__ == "__main__":
    main()
