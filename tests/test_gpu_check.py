"""The check on a CUDA device, as far as a CPU can do it."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def check(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the check's dry run, with its report in `output`."""
    command = ["bash", ROOT / "scripts/gpu_check.sh", "--dry-run", "--output", output, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


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


@pytest.mark.commands
def test_a_check_that_fails_is_named_and_is_the_exit_status(tmp_path):
    done = check(tmp_path / "report.md", "--folder", str(tmp_path / "nowhere"), "--only", "The published experiments")
    assert done.returncode == 1
    assert "Failed: the published experiments of image, the published experiments of audio" in done.stdout
