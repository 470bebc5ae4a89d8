"""What is printed is one line that nothing in a file's name or content can break or disguise."""

import errno

import numpy as np
import pytest
from PIL import Image

from winner_nerfstudio.export.errors import ExportError
from winner_nerfstudio.fields.checkpoint import CheckpointError
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.messages import error_line, escape, shorten

from .conftest import call

HOSTILE = "a\x1b[2J\x1b[31mfine\nerror: none\r\x07\x9b\u202e\u2028\udce4.png"


@pytest.mark.parametrize(
    "text, printed",
    [
        ("plain Größe 日本 é\u0301 👩‍👧", "plain Größe 日本 é\u0301 👩‍👧"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
        ("\x00\x7f\x85\x9b", r"\x00\x7f\x85\x9b"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("\u2028\u2066", r"\u2028\u2066"),
        ("\udce4", r"\udce4"),
        (r"C:\new\table", r"C:\new\table"),
    ],
)
def test_what_would_move_the_cursor_or_turn_the_text_is_escaped(text, printed):
    assert escape(text) == printed
    escape(text).encode()


@pytest.mark.parametrize("error", [SignalError, ExportError, CheckpointError, FieldFileError])
def test_errors_for_the_user_are_one_printable_line(error):
    message = str(error(f"{HOSTILE}: no such file"))
    assert "\x1b" not in message
    assert len(message.splitlines()) == 1
    assert message.endswith(".png: no such file")


def test_an_error_of_the_operating_system_names_the_file_first():
    assert (
        error_line(OSError(errno.ENOSPC, "No space left on device", "a\nb")) == r"error: a\nb: No space left on device"
    )
    assert error_line(ValueError("two\nlines")) == "error: two lines"
    assert error_line(MemoryError()) == "error: MemoryError"
    assert shorten(ValueError("x" * 500)) == "x" * 120


@pytest.mark.commands
@pytest.mark.parametrize(
    "command", [("winner-inspect",), ("winner-analyze", "--data"), ("ns-train", "winner-image", "--data")]
)
def test_commands_escape_the_names_of_files(command, tmp_path):
    name = HOSTILE.replace("\udce4", "")
    missing = call(*command, name, cwd=tmp_path)
    assert missing.returncode == 1
    (line,) = [line for line in missing.output.splitlines() if line.startswith("error: ")]
    assert r"a\x1b[2J\x1b[31mfine\nerror: none\r\x07\x9b\u202e\u2028.png" in line
    assert "\x1b[2J" not in missing.output


@pytest.mark.commands
def test_lines_about_a_file_escape_its_name(tmp_path):
    name = HOSTILE.replace("\udce4", "")
    Image.fromarray(np.eye(12, dtype=np.uint8) * 255).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    result = call("winner-inspect", name, cwd=tmp_path)
    assert result.returncode == 0, result.output
    assert r"fine\nerror: none" in result.output
    assert not set("\x1b\x07\x9b\u202e") & set(result.output)
    trained = call(
        "ns-train", "winner-image", "--data", name, "--max-num-iterations", "10", "--pipeline.model.hidden-dim", "8",
        cwd=tmp_path,
    )  # fmt: skip
    assert trained.returncode == 0, trained.output
    assert not set("\x1b\x07\x9b\u202e") & set(trained.output.partition("initialisation")[0].partition("12 x 12")[2])
