"""What may be imported by what, and what an import costs."""

import ast
import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

PACKAGE = Path(__file__).parents[1] / "winner_nerfstudio"
HEAVY = ("nerfstudio", "open3d", "igl", "trimesh", "mcubes", "tyro", "viser", "scipy", "torchvision")
HEAVY += ("PIL", "soundfile", "cv2", "matplotlib", "torchmetrics")
CORE = {
    "winner",
    "networks",
    "signals",
    "fields",
    "surfaces",
    "registry",
    "files",
    "storage",
    "version",
    "colors",
    "progress",
    "results",
}
BELOW = {
    "winner": {"winner", "axis_names"},
    "networks": {"networks", "winner"},
    "signals": {"registry", "signals", "winner", "axis_names", "files"},
    "fields": {"fields", "networks", "signals", "winner", "registry", "storage", "version"},
    "surfaces": {"fields", "signals", "surfaces", "registry"},
    "metrics": {"metrics", "signals"},
    "training": {
        "fields",
        "metrics",
        "networks",
        "signals",
        "training",
        "winner",
        "registry",
        "progress",
        "storage",
        "files",
    },
    "batch": {"batch", "fields", "signals", "training", "registry", "version", "progress", "storage", "files"},
    "export": {"export", "fields", "signals", "surfaces", "registry", "files", "colors", "progress", "storage"},
    "kinds": {"export", "fields", "kinds", "metrics", "signals", "surfaces", "training", "registry"},
    "analysis": {"analysis", "fields", "metrics", "networks", "signals", "training", "winner", "registry"},
    "experiments": {"experiments", "metrics", "training", *CORE},
    "nerfstudio": {"export", "metrics", "nerfstudio", "training", *CORE},
    "cli": {"analysis", "batch", "cli", "experiments", "export", "metrics", "nerfstudio", "training", *CORE},
}
"""What each folder of the package may import; nobody but the registry, at run time, imports `kinds`."""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_library_imports_neither_nerfstudio_nor_any_heavy_library():
    block = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import torch
from winner_nerfstudio import NoiseSchedule, Siren, spectral_centroid, winner_init_
network = Siren(1, 1, 16, 2)
print(winner_init_(network, target=torch.sin(torch.arange(64.0))))
"""
    done = python(block)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("psi=")


def test_experiments_need_no_nerfstudio():
    commands = PACKAGE.parent / "scripts" / "reproduce.py", PACKAGE / "cli" / "experiment.py"
    for path in [*commands, *(PACKAGE / "experiments").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(str(name).startswith(("nerfstudio", "winner_nerfstudio.nerfstudio")) for name in names), path


@pytest.mark.commands
def test_the_library_imports_as_fast_as_torch():
    code = """
import time
start = time.perf_counter(); import torch, numpy
torch_took = time.perf_counter() - start
start = time.perf_counter(); import winner_nerfstudio
print(time.perf_counter() - start)
"""
    # One of three: the machine may be busy with something else.
    assert any(float(python(code).stdout) < 0.2 for _ in range(3))


@pytest.mark.commands
@pytest.mark.parametrize(
    "command",
    [
        *("fit --help", "inspect --help", "export --help", "batch --help", "compare --help", "analyze --help"),
        *("fit knot.obj --help-all", "inspect knot.png --help", "analyze --data knot.wav --help"),
    ],
)
def test_the_help_of_a_command_imports_neither_torch_nor_what_takes_as_long(command):
    done = python(
        "import sys\n"
        f"from winner_nerfstudio.cli.{command.split()[0]} import main\n"
        f"sys.argv = {command.split()}\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    assert done.returncode == 0, done.stderr
    imported = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    assert "tyro" in imported
    assert not {"torch", "nerfstudio", "trimesh", "scipy", "matplotlib", "viser"} & imported


@pytest.mark.commands
def test_a_fit_imports_neither_torchs_compiler_nor_its_library_for_symbols():
    done = python(
        "import sys, numpy\n"
        "from winner_nerfstudio import fit\n"
        "small = {'steps': 2, 'hidden_dim': 8, 'num_layers': 2, 'progress': False}\n"
        "picture = numpy.random.default_rng(0).random((32, 32))\n"
        "for more in ({}, {'parts': (2, 2)}, {'optimizer': 'muon'}):\n"
        "    fit(picture, **small, **more)\n"
        "print({'torch._dynamo', 'sympy', 'nerfstudio', 'trimesh', 'torchvision'} & set(sys.modules))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "set()\n"


@pytest.mark.commands
def test_registration_imports_no_heavy_library_of_ours():
    code = (
        "import sys, nerfstudio.engine.trainer as t; from nerfstudio.plugins import registry_dataparser, types\n"
        "before = set(sys.modules)\n"
        "import winner_nerfstudio.nerfstudio.config.methods\n"
        "print({name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert not {"open3d", "igl", "trimesh", "mcubes", "scipy", "skimage", "soundfile", "matplotlib", "cv2"} & set(
        ast.literal_eval(done.stdout)
    )


@pytest.mark.commands
def test_both_registries_find_the_plugin():
    from nerfstudio.configs.dataparser_configs import all_dataparsers
    from nerfstudio.configs.method_configs import all_methods

    assert {"winner-sdf", "winner-image", "winner-audio", "winner-volume", "nerfacto"} <= set(all_methods)
    assert {"shape-data", "image-data", "audio-data", "volume-data", "nerfstudio-data"} <= set(all_dataparsers)


def test_nerfstudios_import_reads_no_source_of_its_callers_and_still_offers_what_is_chosen(monkeypatch, capsys):
    from nerfstudio.configs import method_configs

    external = sys.modules["nerfstudio.configs.external_methods"]
    with monkeypatch.context() as patch:
        patch.setattr(inspect, "findsource", read := Mock(side_effect=OSError))
        configs, _ = external.get_external_methods()
    assert not read.called
    assert set(configs) <= set(method_configs.all_methods)
    monkeypatch.setattr(external.Confirm, "ask", lambda *_, **__: False)
    with pytest.raises(SystemExit):
        replace(configs["in2n"])
    assert "Instruct-NeRF2NeRF" in capsys.readouterr().out


def imported(path):
    """The modules that a file of the package imports, by their whole names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1].relative_to(PACKAGE.parent)
            yield ".".join([*folder.parts, *([node.module] if node.module else [])])


@pytest.mark.parametrize("layer", sorted(BELOW))
def test_each_layer_imports_only_what_stands_below_it(layer):
    files = list((PACKAGE / layer).rglob("*.py"))
    assert files
    for path in files:
        for name in imported(path):
            package, _, rest = name.partition(".")
            if package == PACKAGE.name:
                assert rest.partition(".")[0] in BELOW[layer], f"{path} imports {name}"
            assert package != "nerfstudio" or layer == "nerfstudio", f"{path} imports {name}"


def test_every_folder_of_the_package_is_a_layer():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(BELOW)
