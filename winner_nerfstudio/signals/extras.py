"""Import of the packages that only some formats need and that a plain installation leaves out."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .errors import SignalError


def import_extra(module: str, extra: str, why: str) -> Any:
    """Return a package that one of this project's extras installs.

    Args:
        module: the package's name in Python.
        extra: the name of the extra that installs it.
        why: beginning of the message if it cannot be imported: the file and what it needs the package for.

    Raises:
        SignalError: it cannot be imported; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise SignalError(_describe(module, extra, why, reason)) from error


def require_extra(module: str, extra: str, why: str) -> None:
    """Check, without importing it, that a package is installed that another process will import.

    Raises:
        SignalError: it is not; see `import_extra`.
    """
    try:
        is_there = find_spec(module) is not None
    except ValueError:  # of a module that is set to None
        is_there = False
    if not is_there:
        raise SignalError(_describe(module, extra, why, f"No module named {module!r}"))


def _describe(module: str, extra: str, why: str, reason: str) -> str:
    """Return the message of a missing extra: what needs it, and how to install it."""
    remedy = f'pip install "winner-nerfstudio[{extra}]"'
    return f"{why} by {module}, which cannot be imported ({reason}); {remedy}"
