"""The check on a CUDA device, as far as a CPU can do it."""

import subprocess
from pathlib import Path

import pytest

from scripts import gpu_check

ROOT = Path(__file__).parents[1]


def check(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the check's dry run in the folder of its report."""
    command = ["bash", ROOT / "scripts/gpu_check.sh", "--dry-run", "--output", output.name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=output.parent)


@pytest.mark.commands
def test_a_dry_run_measures_steps_and_starts_and_says_that_nothing_failed(tmp_path):
    done = check(tmp_path / "report.md", "--only", "A training step", "The start of many members")
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "report.md").read_text()
    assert "16 members of 32 x 32 pixels each" in report
    assert report.endswith("No check failed.\n")
    rows = [line for line in report.splitlines() if line.startswith(("| 4 x 64 |", "| bank, 4 of 4 x 32 |"))]
    shares = [float(cell) for row in rows for cell in row.split("|")[3:] if cell.strip() not in ("", "-")]
    assert len(shares) == 12
    assert min(shares) > 0


def test_a_check_that_fails_is_named_and_is_the_exit_status(tmp_path, monkeypatch, capsys):
    def fail(check):
        raise RuntimeError("the device is on fire\nand smokes")

    sections = [("Numbers", lambda check: check.expect(False, "two and two"), 0), ("Fire", fail, 0)]
    monkeypatch.setattr(gpu_check, "SECTIONS", [*sections, ("Peace", lambda check: check.expect(True, "peace"), 0)])
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "--dry-run", "--output", str(tmp_path / "report.md")])
    with pytest.raises(SystemExit) as stopped:
        gpu_check.main()
    assert stopped.value.code == 1
    report = (tmp_path / "report.md").read_text()
    assert report in capsys.readouterr().out
    assert "FAILED: RuntimeError: the device is on fire\n" in report
    assert report.endswith("Failed: two and two, Fire\n")


def test_a_section_that_does_not_exist_is_refused_and_leaves_the_report(tmp_path, monkeypatch, capsys):
    (tmp_path / "report.md").write_text("measured")
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "--output", str(tmp_path / "report.md"), "--only", "A frame"])
    with pytest.raises(SystemExit) as stopped:
        gpu_check.main()
    assert stopped.value.code == 2
    assert "invalid choice: 'A frame' (choose from" in capsys.readouterr().err
    assert (tmp_path / "report.md").read_text() == "measured"


@pytest.mark.commands
def test_experiments_whose_files_are_missing_fail_and_say_so(tmp_path):
    check = gpu_check.Check(tmp_path / "report.md", tmp_path / "nowhere", "cpu", dry=True)
    gpu_check.publish(check, ("image",))
    assert check.failures == ["the published experiments of image"]
    assert "nowhere" in (tmp_path / "report.md").read_text()
