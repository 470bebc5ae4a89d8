"""What every command does before anything else."""

import io
import signal
import sys
from typing import NoReturn

from ..version import __version__


def interrupt(signal_number: int, frame: object) -> NoReturn:
    """Treat a request to end the program like Ctrl-C, so that unfinished files are removed."""
    raise KeyboardInterrupt


def start_command() -> None:
    """Say the version if asked, let a request to end the program count as Ctrl-C, and no character be an error.

    A file's name may have any characters. Where the output is a file on Windows, its encoding does not have all of
    them; those are then written as escapes.
    """
    signal.signal(signal.SIGTERM, interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:] == ["--version"]:
        print(f"winner-nerfstudio {__version__}")
        sys.exit()
