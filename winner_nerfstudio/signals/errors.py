"""The error for a target that cannot be used, what is no file, and which errors mean too little memory."""

from pathlib import Path

from .messages import MessageError


class SignalError(MessageError):
    """A target that cannot be used: the message is one line that names the file, the fault and the remedy."""


SPECIAL = "is no regular file but a pipe, a socket or a device; write what it holds into a file"


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, of which reading may never end."""
    return not path.is_file() and not path.is_dir() and path.exists()


def describe_no_file(path: Path, wanted: str, remedy: str) -> str:
    """Return in words what a path is that is no regular file, and what would be right.

    Args:
        path: the path.
        wanted: what it should be, such as "a sound".
        remedy: what to give in place of a folder, or of a file that is not there.
    """
    if is_special(path):
        return SPECIAL
    return f"{f'is a folder, not {wanted}' if path.is_dir() else 'no such file'}; {remedy}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: in Python, numpy, CUDA, or, as a RuntimeError, in torch on the CPU."""
    has_memory_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return has_memory_type or "can't allocate memory" in str(error)
