"""What every command does before anything else, and how it ends."""

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from ..files import strip_scheme
from ..signals.errors import is_out_of_memory
from ..signals.messages import error_line
from ..training.verdict import INTERRUPTED
from ..version import __version__

PAUSE = 0.1
"""Seconds after which it is looked again whether an import has ended."""
SPINS = "10000"
"""How often a thread of GNU's OpenMP looks for work before it sleeps; scripts/benchmark_busy.py measures it."""


def interrupt(signal_number: int, frame: FrameType | None) -> None:
    """Treat Ctrl-C and a request to end the program alike, so that unfinished files are removed.

    What is being imported is imported to its end before, because libraries such as trimesh take an interrupt for a
    package that is missing, and go on.
    """
    while frame is not None and hasattr(signal, "setitimer"):
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            signal.setitimer(signal.ITIMER_REAL, PAUSE)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def start_command() -> None:
    """Say the version if asked, let a request to end the program count as Ctrl-C, and no character be an error.

    A URL of this machine is read as its path.

    Where nobody reads the output any longer, as after ``| head``, the command goes on without it, to write its results.

    A file's name may have any characters. Where the output is a file on Windows, its encoding does not have all of
    them; those are then written as escapes.
    """
    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background jobs ignore Ctrl-C
        signal.signal(signal.SIGINT, interrupt)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = map(_outlast_reader, (sys.stdout, sys.stderr))
    if "OMP_WAIT_POLICY" not in os.environ:
        # By default threads look so long that beside a busy program a fit takes many times as long. torch reads this as
        # it is imported, which no command has done yet.
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    sys.argv[1:] = map(_strip_scheme, sys.argv[1:])
    if sys.argv[1:] == ["--version"]:
        print(f"winner-nerfstudio {__version__}")
        sys.exit()


def _strip_scheme(argument: str) -> str:
    """Return an argument, ``--name=VALUE`` or a value, with the path of a URL of this machine in place of the URL."""
    name, sign, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
    return name + sign + strip_scheme(value)


class _Pipe(io.FileIO):
    """A file descriptor that may be a pipe; what is written after its reader has gone is dropped."""

    def write(self, data: Any, /) -> int:
        """Write bytes; return how many were taken."""
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def _outlast_reader(stream: TextIO) -> TextIO:
    """Return a stream whose reader may go; one that is no text on a file descriptor is returned as it is."""
    buffer = getattr(stream, "buffer", None)
    # Not a console of Windows, nor a stream that stands in for one of the process's own.
    if type(stream) is not io.TextIOWrapper or type(getattr(buffer, "raw", buffer)) is not io.FileIO:
        return stream
    stream.flush()
    pipe = _Pipe(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        pipe if type(buffer) is io.FileIO else io.BufferedWriter(pipe),
        stream.encoding,
        stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


@contextmanager
def running(stopped: str = "interrupted", smaller: str = "use less of the data") -> Iterator[None]:
    """Start a command, and end it in one line: with status 1 if the user's request cannot be met, or `INTERRUPTED`.

    Args:
        stopped: the line after Ctrl-C.
        smaller: what takes less memory, for where there is too little.
    """
    try:
        try:
            start_command()
            yield
        finally:
            if hasattr(signal, "setitimer"):  # or else a Ctrl-C that waits for an import would interrupt the ending
                signal.setitimer(signal.ITIMER_REAL, 0)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(error_line(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sys.exit(f"error: not enough memory; {smaller}")
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        sys.exit(INTERRUPTED)
