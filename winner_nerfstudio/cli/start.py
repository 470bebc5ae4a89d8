"""What every command does before anything else."""

import io
import signal
import sys
from typing import NoReturn


def interrupt(signal_number: int, frame: object) -> NoReturn:
    """Treat a request to end the program like Ctrl-C, so that unfinished files are removed."""
    raise KeyboardInterrupt


def start_command() -> None:
    """Let a request to end the program count as Ctrl-C, and no character of a file's name be an error.

    Where the output is a file on Windows, its encoding does not have all characters; those are then written as escapes.
    """
    signal.signal(signal.SIGTERM, interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
