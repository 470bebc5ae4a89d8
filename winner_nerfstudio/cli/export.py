"""Export a fitted result as a file in a common format."""

from collections.abc import Callable
from typing import Any

import tyro

from ..export.field import FieldExport
from ..registry import all_kinds
from ..signals.messages import escape
from .start import running


def commands() -> dict[str, Callable[..., Any]]:
    """Return the classes of all exports by the names of their subcommands."""
    exports: dict[str, Callable[..., Any]] = {}
    for kind in all_kinds():
        exports |= kind.exports
    return exports | {"field": FieldExport}


def main() -> None:
    """Run ``winner-export``; end with status 1 and a message of one line if the user's request cannot be met."""
    with running("interrupted: nothing was written", "export fewer points"):
        command = tyro.extras.subcommand_cli_from_dict(commands(), prog="winner-export", description=__doc__)
        print(escape(command.run()))


if __name__ == "__main__":
    main()
