"""The pages tell the truth: snippets run, and what they link to or name exists."""

import ast
import functools
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import trimesh
import yaml
from PIL import Image

import winner_nerfstudio
from winner_nerfstudio import fit

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + DOCS
OURS = {"winner_nerfstudio", "torch"}
FOREIGN = {
    *("camera_path_filename", "load_config", "load_dir", "max_num_iterations", "no_deps", "normal_method"),
    *("head", "output_path", "quick", "rendered_output_names", "help", "help_all", "texture_method", "vis"),
}
"""Options of nerfstudio's commands, of pip, of ray and of shell scripts."""
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def code_blocks(text, language):
    """The line numbers and contents of a page's code blocks in that language."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start()].count("\n") + 1, match[1]) for match in found]


def snippets(page):
    return [pytest.param(code, id=f"{page.stem}-{line}") for line, code in code_blocks(page.read_text(), "python")]


def prose(page):
    """A page without its code blocks and inline code, in which links stand."""
    return re.sub(r"```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def code(page):
    """All that a page says in code: its blocks and inline code, one after the other."""
    return "\n".join(re.findall(r"^```\w*\n.*?^```$|`[^`]+`", page.read_text(), re.MULTILINE | re.DOTALL))


def anchors(page):
    """What the headings of a page can be linked to by."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def imported_packages(source):
    """The packages that a snippet imports, ours and torch aside."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names} - OURS


def quick_fit(data, kind=None, **options):
    """Two steps of `fit`, whatever a snippet asks for."""
    small = {"steps": 2, "hidden_dim": 16, "batch_size": 64, "progress": False, "measure": False}
    return fit(data, kind, **options | small)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files that the snippets name."""
    path = tmp_path_factory.mktemp("data")
    values = np.random.default_rng(0).random((24, 32, 3))
    Image.fromarray((255 * values).astype(np.uint8)).save(path / "photo.png")
    soundfile.write(path / "clip.wav", np.sin(np.arange(8000) / 5), 8000)
    trimesh.creation.icosphere(subdivisions=2).export(path / "bunny.obj")
    quick_fit(path / "photo.png").save(path / "fit.safetensors")
    return path


@pytest.mark.parametrize("source", [snippet for page in PAGES for snippet in snippets(page)])
def test_the_snippet_runs(source, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(winner_nerfstudio, "fit", quick_fit, raising=False)
    packages = imported_packages(source) | ({"nerfstudio"} if "winner_nerfstudio.nerfstudio" in source else set())
    for package in sorted(packages):
        pytest.importorskip(package)
    exec(compile(source, "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("source", snippets(ROOT / "docs" / "library.md"))
def test_each_case_of_the_library_takes_at_most_ten_lines(source):
    assert len([line for line in source.splitlines() if line.strip()]) <= 10


def test_there_are_snippets_to_run():
    assert len(snippets(ROOT / "docs" / "library.md")) >= 8
    assert len(snippets(ROOT / "README.md")) >= 2


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@each_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked), target


def test_pages_of_the_site_link_to_nothing_outside_of_it():
    for page in DOCS:
        assert "](../" not in page.read_text(), page


def test_the_site_lists_every_page():
    def leaves(node):
        if isinstance(node, str):
            return [node]
        return [leaf for value in (node.values() if isinstance(node, dict) else node) for leaf in leaves(value)]

    listed = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".ipynb"))


@each_page
def test_files_that_it_names_exist(page):
    for name in re.findall(r"(?<![\w/.])(?:configs|docs|scripts|tests|winner_nerfstudio)/[\w./-]*\w", code(page)):
        assert (ROOT / name).exists(), name


@each_page
def test_modules_that_it_names_exist(page):
    for name in set(re.findall(r"(?<![\w./\"])winner_nerfstudio(?:\.\w+)+(?!\.\w)", code(page))):
        if name.startswith("winner_nerfstudio.nerfstudio"):
            pytest.importorskip("nerfstudio")
        parent, _, last = name.rpartition(".")
        assert hasattr(importlib.import_module(parent), last) or importlib.util.find_spec(name), name


@functools.cache
def own_options():
    """The names of all fields of our dataclasses, which is where every option of ours comes from."""
    names = set()
    for path in [*(ROOT / "winner_nerfstudio").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                names |= {part.target.id for part in node.body if isinstance(part, ast.AnnAssign)}
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
                names |= {part.value.lstrip("-").replace("-", "_") for part in node.args}
    return names


def options_in(page):
    return {name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([a-z][\w.-]*\w|[a-z])", code(page))}


@each_page
def test_options_that_it_names_exist(page):
    plain = {name.removeprefix("pipeline.datamanager.dataparser.") for name in options_in(page)}
    plain = {name for name in plain if "." not in name}
    assert plain <= own_options() | FOREIGN


def test_options_of_nerfstudio_commands_exist(capsys, monkeypatch):
    pytest.importorskip("nerfstudio")
    import tyro
    from nerfstudio.configs.method_configs import all_methods

    monkeypatch.setenv("COLUMNS", "300")
    for name, config in all_methods.items():
        if name.startswith("winner-"):
            with pytest.raises(SystemExit):
                tyro.cli(type(config), default=config, args=["--help"])
    known = {name.replace("-", "_") for name in re.findall(r"--([a-z][\w.-]*)", capsys.readouterr().out)}
    # Of the data, which own_options has, and of winner-analyze.
    others = ("pipeline.datamanager.dataparser.", "noise.")
    named = {name for page in PAGES for name in options_in(page) if "." in name and not name.startswith(others)}
    assert named <= known


@each_page
def test_commands_and_methods_that_it_names_exist(page):
    known = set(re.findall(r"^([\w-]+) = \"", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)) | {"blender-data"}
    named = set(re.findall(r"(?:^|[\s`])(winner-(?!nerfstudio)[a-z]+|[a-z]+-data)(?=[\s`]|$)", code(page)))
    assert named <= known


def test_the_citation_names_the_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == winner_nerfstudio.__version__


def test_the_readme_says_what_its_network_prints(capsys):
    sources = [source for _, source in code_blocks((ROOT / "README.md").read_text(), "python")]
    source = next(source for source in sources if "psi=" in source)
    torch.manual_seed(0)
    exec(source, {"__name__": "snippet"})
    said, printed = re.search(r"psi=.*", source)[0], capsys.readouterr().out
    numbers = [[float(number) for number in re.findall(r"=([\d.]+)", text)] for text in (said, printed)]
    assert np.allclose(*numbers, rtol=0.02)
