"""What every command does before anything else."""

import subprocess
import sys

import pytest

MODULE = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.{stop})
    time.sleep(0.5)
except BaseException:
    print("taken for an error")
print("imported")
"""
PROGRAM = """
import signal, time
from winner_nerfstudio.cli.start import start_command
signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests in the background do not have
start_command()
try:
    import late
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no timers that interrupt a program there")
@pytest.mark.parametrize("stop", ["SIGINT", "SIGTERM"])
def test_an_interrupt_in_the_middle_of_an_import_waits_for_its_end(tmp_path, stop):
    (tmp_path / "late.py").write_text(MODULE.format(stop=stop))
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.stdout.split("\n") == ["imported", "interrupted", ""], done.stderr


def test_a_job_in_the_background_still_ignores_ctrl_c():
    program = PROGRAM.replace("default_int_handler", "SIG_IGN").replace("import late", "signal.raise_signal(2)")
    program = program.replace("sleep(60)", "sleep(0.3)").replace('"interrupted"', '"interrupted", 1') + "print('done')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert done.stdout == "done\n", done.stderr
