"""Command lines whose options depend on the kind of a file that they name."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import tyro

from ..registry import kind_named, kind_of
from ..training.prepare import FitOptions


class Command(Protocol):
    """A command that may be told the kind of its file."""

    kind: str | None


C = TypeVar("C", bound=Command)


def parse(command: type[C], program: str, description: str, file: Callable[[C], Path]) -> tuple[C, FitOptions]:
    """Parse a command's own options, then those of the data of the kind that its file is of.

    Args:
        command: a dataclass, see `tyro.cli`.
        program: its name.
        description: for its help text.
        file: returns what a parsed command names.

    Returns:
        The command, and the options of a fit: those of the data as given, all others by default.

    Raises:
        ValueError: the kind cannot be determined.
        SystemExit: wrong options, or --help.
    """
    arguments = sys.argv[1:]
    wants_help: list[str] = [flag for flag in ("-h", "--help") if flag in arguments]
    own = [argument for argument in arguments if argument not in wants_help]
    if wants_help and not any(not argument.startswith("-") for argument in own):
        own, wants_help = arguments, []
    parsed, rest = tyro.cli(command, prog=program, description=description, args=own, return_unknown_args=True)
    kind = kind_of(file(parsed)) if parsed.kind is None else kind_named(parsed.kind)
    data = tyro.cli(
        kind.options, prog=f"{program} {file(parsed)}", description=f"Options of {kind.title}.", args=rest + wants_help
    )
    data.check()
    return parsed, FitOptions(kind, data, kind.network(), kind.batches())
