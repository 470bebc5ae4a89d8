import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
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
]
"""Flags of a run of a few seconds, smooth enough to fit a ball in one piece."""


@dataclass
class Result:
    returncode: int
    output: str


def run(*command, cwd, timeout=300, **environment):
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
    return Result(done.returncode, done.stdout)


def config_of(result, cwd):
    """The config.yml that a run's closing lines name."""
    found = re.search(r"--load-config (\S+/config\.yml)", result.output)
    assert found, result.output
    return Path(cwd) / found[1]


def figures_of(config):
    return json.loads((config.parent / "metrics.json").read_text())


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
