"""Import of the packages that only some formats need and that a plain installation leaves out."""

from importlib import import_module
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
        remedy = f'pip install "winner-nerfstudio[{extra}]"'
        raise SignalError(f"{why} by {module}, which cannot be imported ({reason}); {remedy}") from error
