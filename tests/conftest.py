import functools
import gc
import importlib.metadata
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from . import shape_checks

shape_checks.install()

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
SMALL = [
    "--max-num-iterations",
    "400",
    "--steps-per-save",
    "100",
    "--pipeline.model.hidden-dim",
    "48",
    "--pipeline.model.omega-0",
    "10",
    "--pipeline.model.first-omega-0",
    "10",
    "--pipeline.model.eval-resolution",
    "32",
    "--pipeline.datamanager.batch-size",
    "1024",
    "--pipeline.datamanager.steps-per-chunk",
    "40",
    "--pipeline.datamanager.passes",
    "8",
]
"""Flags of a run of a few seconds, smooth enough to fit a ball in one piece."""

SHARED = {"trained", "cluster", "filmed"}
"""Fixtures that take ten seconds and more to make: the tests that share one are done by one worker."""


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect tests, and import what they do, without looking for garbage among objects that stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items):
    """Mark what has no mark of its cost as cheap, put the dearest first, and keep together what one worker should do.

    Browsers need more than a core each, so they run one after the other, while another worker does what fills the
    rest; and what tests share is made once.
    """
    for item in items:
        if not any(item.iter_markers("commands")) and not any(item.iter_markers("quality")):
            item.add_marker("unit")
        if any(item.iter_markers("browser")):
            item.add_marker(pytest.mark.xdist_group("browser"))
        else:
            for name in SHARED.intersection(item.fixturenames):
                item.add_marker(pytest.mark.xdist_group(name))
    marks = "browser", "quality", "commands"
    items.sort(key=lambda item: [mark not in item.keywords for mark in marks])


@pytest.fixture
def unchecked(monkeypatch):
    """For a test that passes a wrong shape on purpose, to see how our own checks refuse it."""
    monkeypatch.setattr(shape_checks, "ENABLED", False)


POOR_FIT = 3
"""The status of a run whose fit is poor, as those of the tests' few steps are."""


@dataclass
class Result:
    """What a command printed, and its exit status, which says nothing of the fit in ``returncode``."""

    status: int
    output: str

    @property
    def returncode(self):
        return 0 if self.status == POOR_FIT else self.status


def run(*command, cwd, timeout=900, **environment):
    """Run one of the installed commands as a user would, both output streams together."""
    done = subprocess.run(
        [BIN / command[0], *map(str, command[1:])],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    return Result(done.returncode, drop_delays(done.stdout))


def drop_delays(text):
    """Drop the lines that say what takes long: whether there are any depends on how busy the machine is."""
    return re.sub(r"(?m)^(loading|initialising|measuring|taking)\b.*\.\.\.\n", "", text)


def take_small_pictures(patch):
    """Make the pictures at the end of a shape's run of 64 pixels, for they take as long as hundreds of steps."""
    from winner_nerfstudio.nerfstudio.models import surface
    from winner_nerfstudio.nerfstudio.run import report

    patch.setattr(report, "SHEET_PIXELS", 64)
    patch.setattr(surface, "look_at_origin", functools.partial(surface.look_at_origin, width=64, height=64))


@contextmanager
def acting_as(command, arguments, cwd, errors):
    """Let what is called be a command with its arguments, in a folder, whose messages of errors go to a stream."""
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(errors):
        patch.chdir(cwd)
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", [str(command), *map(str, arguments)])
        try:
            yield patch
        finally:
            signal.signal(signal.SIGTERM, handler)


def exit_status(main, errors):
    """Call the main function of a command; returns the exit status."""
    try:
        main()
    except SystemExit as stopped:
        if not isinstance(stopped.code, str):
            return stopped.code or 0
        errors.write(f"{stopped.code}\n")
        return 1
    return 0


def call_script(script, *arguments, cwd, **environment):
    """Run one of the scripts in this process, which saves the seconds that it takes to start."""
    output, errors = io.StringIO(), io.StringIO()
    with acting_as(script, arguments, cwd, errors) as patch, redirect_stdout(output):
        patch.syspath_prepend(ROOT / "scripts")  # as Python does
        for name, value in environment.items():
            patch.setenv(name, value)
        status = exit_status(lambda: runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__"), errors)
    return subprocess.CompletedProcess([script, *arguments], status, output.getvalue(), errors.getvalue())


def call(command, *arguments, cwd):
    """Run an installed command in this process, which saves the seconds that it takes to start; else as `run`."""
    entry = next(iter(importlib.metadata.entry_points(group="console_scripts", name=command)))
    output = io.StringIO()
    with acting_as(command, arguments, cwd, output) as patch, redirect_stdout(output):
        main = entry.load()
        writers = []
        if command == "ns-train":
            # After the command, for nerfstudio's modules can be imported in its own order only.
            from nerfstudio.utils import writer

            writers = writer.EVENT_WRITERS
            writers.clear()
            take_small_pictures(patch)
        try:
            status = exit_status(main, output)
        finally:
            writers.clear()  # their paths are relative to the folder that is left
    return Result(status, drop_delays(output.getvalue()))


def config_of(result, cwd):
    """The config.yml that a run's closing lines name."""
    found = re.search(r"--load-config (\S+/config\.yml)", result.output)
    assert found, result.output
    return Path(cwd) / found[1]


def metrics_of(config):
    return json.loads((config.parent / "metrics.json").read_text())


def holder_of(config, name):
    """The part of a config that has an option, which the command line names without naming that part."""
    parts = [config, *(getattr(config, part) for part in ("options", "batches") if hasattr(config, part))]
    return next((part for part in parts if hasattr(part, name)), config)


def make_config(method, **changes):
    """A method's config as from the command line, with ``part__of__it=value`` set."""
    from nerfstudio.configs.method_configs import all_methods

    config = yaml.load(yaml.dump(all_methods[method]), Loader=yaml.Loader)
    for path, value in changes.items():
        *parents, last = path.split("__")
        holder = config
        for parent in parents:
            holder = getattr(holder_of(holder, parent), parent)
        setattr(holder_of(holder, last), last, value)
    return config


def fit(method, data, folder, steps=20, **changes):
    """Run a method in this process, as ``ns-train`` does; returns the path of its config.yml."""
    from nerfstudio.scripts.train import main
    from nerfstudio.utils import writer

    small = {"pipeline__model__hidden_dim": 24, "pipeline__model__num_layers": 2}
    changes = {**small, **changes, "max_num_iterations": steps, "output_dir": Path(folder)}
    config = make_config(method, pipeline__datamanager__data=Path(data), **changes)
    writer.EVENT_WRITERS.clear()
    with pytest.MonkeyPatch.context() as patch:
        take_small_pictures(patch)
        try:
            main(config)
        except SystemExit as stopped:
            if stopped.code != POOR_FIT:
                raise
    return config.get_base_dir() / "config.yml"


def weights_of(config):
    """The tensors of a run's last checkpoint."""
    path = max((config.parent / "nerfstudio_models").glob("step-*.ckpt"))
    state = torch.load(path, map_location="cpu", weights_only=True)["pipeline"]
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


@dataclass
class Trained:
    folder: Path
    config: Path
    result: Result


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """One short run on a mesh file of its own, shared by the tests that only look at it."""
    from .meshes import sphere

    folder = tmp_path_factory.mktemp("trained")
    sphere(20.0, center=(100, 0, -50)).export(folder / "ball.ply")
    result = run("ns-train", "winner-sdf", "--data", "ball.ply", *SMALL, cwd=folder)
    assert result.returncode == 0, result.output
    return Trained(folder, config_of(result, folder), result)


@dataclass
class Photographs:
    folder: Path
    mesh: Path
    normalization: object
    size: int


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A small data set of a textured ball, transparent around it."""
    from scripts.render_views import Arguments, render
    from winner_nerfstudio.signals.shape import load_shape

    from .meshes import sphere

    folder = tmp_path_factory.mktemp("photographs")
    sphere(2.0, center=(1, 0, 0)).export(folder / "ball.ply")
    arguments = Arguments(folder / "views", str(folder / "ball.ply"), views=16, size=32, detail=16.0)
    shape = load_shape(arguments.data)
    render(shape, arguments)
    return Photographs(arguments.output, folder / "ball.ply", shape.normalization, arguments.size)
