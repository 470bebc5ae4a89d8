"""Messages to the user: one line each, in which no character moves the cursor or changes what stands there."""

import re
import shlex
import subprocess
import sys

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, marks that reverse the direction of text, and bytes that are no characters."""


def escape(text: object) -> str:
    r"""Return a text as one printable line: control characters are written as Python writes them, such as ``\x1b``.

    Names of files and what files hold may contain such characters, so every line for the user passes through here.
    """
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], str(text))


def escape_bytes(text: str) -> str:
    r"""Return a text with the bytes of a file's name that are no characters as escapes, such as ``\udce9``."""
    return text.encode(errors="backslashreplace").decode()


def shorten(error: BaseException, most: int = 120) -> str:
    """Return the start of an error's message on one line, or its type's name if it has no message."""
    return escape(" ".join(str(error).split()))[:most] or type(error).__name__


def error_line(error: BaseException) -> str:
    """Return the line with which a command ends for an error; that of the operating system names the file first."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return escape(f"error: {error.filename}: {error.strerror}")
    return escape(f"error: {' '.join(str(error).split()) or type(error).__name__}")


def quote(argument: object) -> str:
    """Return an argument as it stands in a command line of this system's shell."""
    text = str(argument)
    return subprocess.list2cmdline([text]) if sys.platform == "win32" else shlex.quote(text)


class MessageError(ValueError):
    """An error whose message is one line for the user."""

    def __str__(self) -> str:
        return escape(super().__str__())


def write_apart(*values: float) -> list[str]:
    """Write numbers with six digits, or as many more as it takes that different ones look different."""
    for digits in range(6, 18):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) >= len(set(values)):
            break
    return texts


def describe_outside(level: float, low: float, high: float) -> str:
    """Return what is wrong with a level that lies outside the values of a volume, which go from `low` to `high`."""
    given, least, most = write_apart(level, low, high)
    return f"level={given} lies outside the values, {least} to {most}; there is no surface"
