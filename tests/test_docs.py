"""The documents' snippets of Python do what they say: each runs, in a namespace of its own."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTION = "## WINNER in your own network"
OWN = {"winner_nerfstudio", "torch"}


def blocks(text, name):
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [pytest.param(match[1], id=f"{name}-{text[: match.start()].count(chr(10)) + 1}") for match in found]


def section(text, title):
    """From that heading to the next of its level."""
    return re.split(r"^## ", text.split(f"{title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


LIBRARY = blocks((ROOT / "docs" / "library.md").read_text(), "library")
README = blocks(section((ROOT / "README.md").read_text(), SECTION), "readme")


def imported(code):
    """Names of the packages that it imports, ours and torch aside."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names} - OWN


@pytest.mark.parametrize("code", LIBRARY + README)
def test_the_snippet_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for package in sorted(imported(code)):
        pytest.importorskip(package)
    exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("code", LIBRARY)
def test_each_case_takes_under_ten_lines(code):
    assert len([line for line in code.splitlines() if line.strip()]) < 10


def test_there_are_snippets_to_run():
    assert len(LIBRARY) >= 8
    assert README
