"""The notebooks in docs/ run from their first cell to their last, and stand there with what they show."""

from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs").glob("*.ipynb"))


def shown(notebook):
    """The kinds of what each code cell shows, the bars of a fit aside."""
    kinds = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kinds.append({kind for output in cell.outputs for kind in output.get("data", {output.output_type: 0})})
            assert "error" not in kinds[-1]
    return kinds


def test_there_are_two():
    assert len(NOTEBOOKS) >= 2


@pytest.mark.commands
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_did(path):
    import nbformat  # takes seconds, which only the worker that runs this needs to wait
    from nbclient import NotebookClient

    stored = nbformat.read(path, 4)
    nbformat.validate(stored)
    before = shown(stored)
    assert any("image/png" in kinds for kinds in before), "it was saved without having been run"
    NotebookClient(stored, timeout=900, kernel_name="python3").execute()
    assert shown(stored) == before
