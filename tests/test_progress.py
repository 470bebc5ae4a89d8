"""What takes long says so: in motion on a terminal, by a line elsewhere, and not at all where it is quick."""

import io
import time

import pytest
from rich.console import Console

from winner_nerfstudio import progress
from winner_nerfstudio.progress import describe_time, working


def shown(seconds, **options):
    """What is printed while a block of so many seconds runs."""
    console = Console(file=io.StringIO(), width=80, **options)
    with working(console, "loading a\x1b[2Jb.obj"):
        time.sleep(seconds)
    return console.file.getvalue()


def test_a_terminal_shows_what_is_done_and_for_how_long_until_it_is_done():
    text = shown(1.3, force_terminal=True)
    assert r"loading a\x1b[2Jb.obj" in text
    assert "0:00:00" in text
    assert "0:00:01" in text
    assert text.endswith("\x1b[2K")


def test_a_log_has_one_line_of_what_takes_long_and_none_of_what_does_not(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    assert shown(0.5) == "loading a\\x1b[2Jb.obj ...\n"
    assert shown(0.0) == ""
    assert shown(0.5, quiet=True) == ""


def test_an_error_ends_the_display(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    console = Console(file=io.StringIO())
    with pytest.raises(ValueError, match="broken"), working(console, "loading"):
        raise ValueError("broken")
    time.sleep(0.3)
    assert console.file.getvalue() == ""


def test_a_quiet_console_leaves_no_widget_in_a_notebook(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for quiet in (False, True):
        console = Console(quiet=quiet, force_jupyter=True)
        with working(console, "loading"):
            time.sleep(0.3)
        assert bool(shown) is not quiet
        shown.clear()


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.214, "0.21 s"),
        (2, "2 s"),
        (89, "89 s"),
        (90, "2 min"),
        (600, "10 min"),
        (5369, "89 min"),
        (5370, "1 h 30 min"),
        (7500, "2 h 05 min"),
        (359_990, "100 h"),
        (4.4e6, "1,200 h"),
    ],
)
def test_a_time_is_told_in_the_units_of_its_size(seconds, words):
    assert describe_time(seconds) == words
