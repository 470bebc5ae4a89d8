"""Export a fitted result as a file in a common format."""

import sys
from collections.abc import Callable
from typing import Any

import tyro

from ..export.field import FieldExport
from ..registry import all_kinds
from ..signals.messages import error_line, escape
from .start import start_command


def commands() -> dict[str, Callable[..., Any]]:
    """Return the classes of all exports by the names of their subcommands."""
    exports: dict[str, Callable[..., Any]] = {}
    for kind in all_kinds():
        exports |= kind.exports
    return exports | {"field": FieldExport}


def main() -> None:
    """Run ``winner-export``; end with status 1 and a message of one line if the user's request cannot be met."""
    start_command()
    command = tyro.extras.subcommand_cli_from_dict(commands(), prog="winner-export", description=__doc__)
    try:
        print(escape(command.run()))
    except (ValueError, OSError, ImportError) as error:
        sys.exit(error_line(error))
    except MemoryError:
        sys.exit(f"error: {escape(command.output)}: the result does not fit into memory; export fewer points")
    except KeyboardInterrupt:
        print(f"interrupted: {escape(command.output)} was not written", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
