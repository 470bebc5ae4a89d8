"""The core without nerfstudio: an environment that sees nothing but what pyproject.toml declares."""

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "winner_nerfstudio"
PROGRAM = """
import importlib.util, subprocess, sys
from pathlib import Path
import numpy as np, soundfile, trimesh
from PIL import Image
import winner_nerfstudio
from winner_nerfstudio import fit, load_field

assert importlib.util.find_spec("nerfstudio") is None and importlib.util.find_spec("open3d") is None
assert Path(winner_nerfstudio.__file__).is_relative_to(sys.prefix)
small = {"hidden_dim": 48, "num_layers": 2, "progress": False, "device": "cpu"}

x = np.linspace(0, 1, 32)
Image.fromarray((127 * (1 + np.sin(9 * x)[:, None] * np.cos(11 * x))).astype(np.uint8)).save("waves.png")
fitted = fit("waves.png", steps=300, **small)
error = np.asarray(Image.open("waves.png"), float) - fitted.image()
assert 20 * np.log10(255 / np.sqrt(np.mean(error**2))) > 30, np.abs(error).max()
fitted.save("waves.safetensors")
np.testing.assert_array_equal(load_field("waves.safetensors").image(), fitted.image())

ball = trimesh.creation.icosphere(subdivisions=3, radius=2.0)
ball.faces[::3] = ball.faces[::3, ::-1]  # wound both ways, which loading repairs
ball.apply_translation([5, 0, 0])
ball.export("ball.obj")
smooth = {"omega_0": 10.0, "first_omega_0": 10.0, "eval_resolution": 32, "steps_per_chunk": 16, "passes": 4}
fitted = fit("ball.obj", steps=200, **smooth, **small)
fitted.mesh(48).export("fitted.ply")
written = trimesh.load("fitted.ply")
assert written.is_watertight
assert abs(written.volume / (4 / 3 * np.pi * 2**3) - 1) < 0.05, written.volume
assert np.abs(written.center_mass - [5, 0, 0]).max() < 0.1, written.center_mass

soundfile.write("tone.wav", 0.5 * np.sin(np.arange(2000) / 5), 8000)
assert fit("tone.wav", steps=5, **small).audio().shape[0] == 2000
np.save("cloud.npy", np.linalg.norm(np.mgrid[-1:1:12j, -1:1:12j, -1:1:12j], axis=0))
assert fit("cloud.npy", steps=5, **small).volume().shape[:3] == (12, 12, 12)
fit(ball.sample(500), "sdf", steps=1, steps_per_chunk=2, **small)
for command in (["winner-inspect", "waves.png"], ["winner-export", "--help"], ["winner-analyze", "--help"]):
    done = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
print("all of the core")
"""


def declares(*extras):
    """The distributions that pyproject.toml declares for the core and for these extras."""
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    requirements = [Requirement(line) for line in lines]
    own = [extra for requirement in requirements if requirement.name == project["name"] for extra in requirement.extras]
    return {canonicalize_name(requirement.name) for requirement in requirements} | (declares(*own) if own else set())


def imports(tree, late):
    """The top-level modules of other packages that code imports when it is imported itself, or, if `late`, at all."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not late:
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        if isinstance(node, ast.Call) and "import_module" in vars(node.func).values():
            names += [part.value for part in node.args[:1] if isinstance(part, ast.Constant)]
        yield from {name.partition(".")[0] for name in names} - {"", PACKAGE.name, *sys.stdlib_module_names}
        yield from imports(node, late)


FOLDERS = {"nerfstudio": "nerfstudio", "onnx": "export", "formats": "signals", "parquet": "batch", "ray": "training"}
"""The folder of the package that uses an extra: nerfstudio's at the top of a module, the others' late."""


@pytest.mark.parametrize("late", [False, True], ids=["with its own import", "at any time"])
def test_what_a_module_imports_is_declared(late):
    distributions, core = importlib.metadata.packages_distributions(), declares()
    assert "torch" in core
    assert "dracopy" in declares("formats") - core
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    for path in files:
        folder = path.relative_to(PACKAGE).parts[0]
        extras = [extra for extra in FOLDERS if FOLDERS[extra] == folder and (late or extra == "nerfstudio")]
        allowed = core | declares(*extras)
        for module in imports(ast.parse(path.read_text("utf8")), late):
            names = {canonicalize_name(name) for name in distributions.get(module, [module])}
            assert names & allowed, f"{path} imports {module}, of {names}, which pyproject.toml must declare"


def declared(wheel):
    """The installed distributions that a wheel's dependencies come to, without those of its extras."""
    (metadata,) = importlib.metadata.distributions(path=[str(wheel)])
    found, queue = {}, [(requirement, {""}) for requirement in map(Requirement, metadata.requires or [])]
    while queue:
        requirement, extras = queue.pop()
        wanted = any(requirement.marker is None or requirement.marker.evaluate({"extra": e}) for e in extras)
        name = canonicalize_name(requirement.name)
        asked = found.setdefault(name, set()) if wanted else None
        new = {"", *requirement.extras} - asked if wanted else set()
        if new:
            asked |= new
            queue += [(Requirement(line), new) for line in importlib.metadata.requires(name) or []]
    return [importlib.metadata.distribution(name) for name in found]


def link(distribution, site_packages):
    """Make one distribution's modules and metadata seen in another environment."""
    for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
        target = site_packages / name
        if not target.exists():
            target.symlink_to(Path(distribution.locate_file(name)).resolve())


@pytest.mark.quality
@pytest.mark.parametrize(
    "real",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                os.environ.get("WINNER_TEST_REAL_INSTALL") != "1",
                reason="downloads 3 GB of packages; WINNER_TEST_REAL_INSTALL=1 asks for it",
            ),
        ),
    ],
    ids=["declared packages alone", "pip install ."],
)
def test_the_core_fits_and_exports_in_an_environment_without_nerfstudio(real, tmp_path):
    source, environment = tmp_path / "source", tmp_path / "environment"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "winner_nerfstudio", source / "winner_nerfstudio")
    venv.create(environment, with_pip=real, symlinks=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    if real:
        subprocess.run([*pip, "-c", ROOT / "constraints.txt", source], check=True)
    else:
        subprocess.run([*pip, "--no-deps", source], check=True)
        (site_packages,) = environment.glob("**/site-packages")
        for distribution in declared(site_packages):
            link(distribution, site_packages)
    done = subprocess.run([python, "-I", "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.stdout.endswith("all of the core\n"), done.stderr
