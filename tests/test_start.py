"""What every command does before anything else, and how it ends."""

import os
import re
import subprocess
import sys
from importlib import import_module

import pytest

from winner_nerfstudio.cli import inspect, start
from winner_nerfstudio.training.verdict import INTERRUPTED

from .conftest import run

MODULE = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.{stop})
    time.sleep(0.55)  # so that no look whether the import has ended, ten a second, comes as it ends
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


@pytest.mark.skipif(sys.platform == "win32", reason="there are no timers that interrupt a program there")
def test_an_interrupt_that_waits_for_an_import_does_not_disturb_the_end_of_a_command(tmp_path):
    (tmp_path / "late.py").write_text(MODULE.format(stop="SIGTERM"))
    program = "import atexit, time\nfrom winner_nerfstudio.cli.start import running\natexit.register(time.sleep, 0.5)\n"
    program += "class Slow(ValueError):\n    def __str__(self):\n        time.sleep(0.5)\n        return 'no'\n"
    program += "with running():\n    import late\n    raise Slow"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (1, "error: no\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_command_whose_output_nobody_reads_goes_on_to_its_end(tmp_path, name, unbuffered):
    program = f"""
import sys
from pathlib import Path
from rich.console import Console
from winner_nerfstudio.cli.start import running
with running():
    sys.stdin.readline()
    for _ in range(3):
        print("a line", file=sys.{name}, flush=True)
        Console(stderr={name == "stderr"}).print("another")
    Path("result").touch()
"""
    started = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        **{name: subprocess.PIPE},
    )
    getattr(started, name).close()
    started.stdin.write(b"go on\n")
    started.stdin.close()
    assert started.wait(50) == 0
    assert (tmp_path / "result").exists()


def test_a_job_in_the_background_still_ignores_ctrl_c():
    program = PROGRAM.replace("default_int_handler", "SIG_IGN").replace("import late", "signal.raise_signal(2)")
    program = program.replace("sleep(60)", "sleep(0.3)").replace('"interrupted"', '"interrupted", 1') + "print('done')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("name", ["analyze", "batch", "compare", "export", "fit", "inspect"])
def test_a_command_that_is_interrupted_at_once_ends_in_one_line(name, monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "start_command", stop)
    with pytest.raises(SystemExit) as caught:
        import_module(f"winner_nerfstudio.cli.{name}").main()
    assert caught.value.code == INTERRUPTED
    assert re.fullmatch("interrupted.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "error, code", [(KeyboardInterrupt, INTERRUPTED), (MemoryError, "error: not enough memory; use less of the data")]
)
def test_an_inspection_that_is_stopped_or_lacks_memory_ends_in_one_line(error, code, monkeypatch):
    def stop(*_):
        raise error

    monkeypatch.setattr(sys, "argv", ["winner-inspect", "sample:mandala"])
    monkeypatch.setattr(inspect.Inspect, "run", stop)
    with pytest.raises(SystemExit) as caught:
        inspect.main()
    assert caught.value.code == code


@pytest.mark.commands
@pytest.mark.skipif(sys.platform != "linux", reason="torch has another OpenMP there")
@pytest.mark.parametrize(
    "given, found", [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "3")]
)
def test_threads_that_wait_sleep_soon_unless_the_user_says_otherwise(given, found, tmp_path, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):  # which a command run in this process has set
        monkeypatch.delenv(name, raising=False)
    command = ["winner-fit", "sample:mandala", "--steps", "1", "--hidden-dim", "8", "--output", "fit.png"]
    done = run(*command, cwd=tmp_path, OMP_DISPLAY_ENV="VERBOSE", **given)
    assert re.search(rf"GOMP_SPINCOUNT = '{found}", done.output), done.output[:2000]
