"""Reading of files by a process of its own, for libraries that a damaged file can crash or keep busy for ever.

The process runs `main`. It gets a task's name and arguments, prints what the task yields as lines of JSON, and
waits for a line of input after each. Arrays are left in a folder that both know.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .errors import SignalError

SECONDS, BYTES_PER_SECOND = 15.0, 2e6
"""The time that a reader may take for one answer, and the bytes of a file for which it may take a second more."""
UNPACKED_PER_SECOND = 2e7
"""The bytes of an array for which it may take a second more, as a small file may hold a large one."""
MOST_MEMORY = 16 << 30
"""The address space of the process, in bytes."""
PACKAGE = Path(__file__).parents[1]
"""The folder of the package."""
START = """
import sys, types
package = types.ModuleType("winner_nerfstudio")
package.__path__ = [sys.argv[1]]
sys.modules["winner_nerfstudio"] = package  # in place of the whole, whose import takes seconds
from winner_nerfstudio.signals.isolation import main
main(*sys.argv[2:])
"""
"""What the process runs."""


class Reader:
    """A process that reads one file."""

    def __init__(self, process: "subprocess.Popen[str]", path: Path, folder: Path):
        self.process, self.path, self.folder = process, path, folder

    def answer(self, unpacked: int = 0) -> Any:
        """Return what the task yields next.

        Args:
            unpacked: bytes of the arrays that it leaves for that.

        Raises:
            SignalError: the task failed, the process crashed or took too long.
        """
        assert self.process.stdout is not None
        seconds = SECONDS + self.path.stat().st_size / BYTES_PER_SECOND + unpacked / UNPACKED_PER_SECOND
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        is_late = not timer.is_alive()
        timer.cancel()
        if not line:
            what = f"took more than {seconds:.0f} s" if is_late else "crashed"
            raise SignalError(
                f"{self.path}: the library that reads {self.path.suffix} files {what}; is the file whole?"
            )
        answer = json.loads(line)
        if "error" in answer:
            raise SignalError(answer["error"])
        return answer["part"]

    def resume(self, unpacked: int = 0) -> Any:
        """Let the task go on; return what it yields next, see `answer`."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return self.answer(unpacked)

    def load(self, name: str) -> np.ndarray:
        """Return an array that the task has left."""
        array: np.ndarray = np.load(self.folder / f"{name}.npy", allow_pickle=False)
        return array


@contextmanager
def reading(task: str, path: Path, *arguments: Any) -> Iterator[Reader]:
    """Start a process for a task, "MODULE:FUNCTION" with the module relative to this package.

    The function gets a path, a folder for arrays and `arguments`, and yields what JSON can hold.
    """
    with TemporaryDirectory(prefix="winner-") as folder:
        command = [sys.executable, "-c", START, str(PACKAGE), task, json.dumps([str(path), folder, *arguments])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        try:
            yield Reader(process, path, Path(folder))
        finally:
            process.kill()
            process.communicate()


def main(task: str, arguments: str) -> None:
    """Run a task in this process."""
    from importlib import import_module

    with suppress(ImportError, ValueError, OSError):  # Windows has no such module, and macOS no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        limits = [limit for limit in (soft, MOST_MEMORY) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    module, function = task.split(":")
    path, folder, *rest = json.loads(arguments)
    try:
        parts = getattr(import_module(module, __package__), function)(Path(path), Path(folder), *rest)
        for part in parts:
            print(json.dumps({"part": part}), flush=True)  # noqa: T201
            sys.stdin.readline()
    except SignalError as error:
        print(json.dumps({"error": str(error)}), flush=True)  # noqa: T201
    except Exception as error:  # readers fail in their own many ways
        reason = ascii(" ".join(str(error).split())[:200] or type(error).__name__)[1:-1]
        message = f"{path}: cannot be read as {Path(path).suffix} ({reason}); is the file whole?"
        print(json.dumps({"error": message}), flush=True)  # noqa: T201
