"""Export a fitted result as a file in a common format."""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import tyro

from ..export.command import Export, Progress
from ..registry import all_kinds
from ..signals.messages import error_line, escape

if TYPE_CHECKING:
    from ..fields.fitted import FittedField


@dataclass
class FieldExport(Export):
    """Write the fitted field itself, with its units and its origin, as a function that other programs can call.

    The file is safetensors for winner_nerfstudio.load_field, without pickle, or an ONNX graph from world coordinates to
    values.
    """

    result = "field"
    format: Literal["safetensors", "onnx"] | None = None
    """Format; if left out, the output's suffix decides."""

    def check(self, fitted: "FittedField") -> None:
        """Check the suffix of the output, and that the field is no folder; every kind has a field."""
        suffix = self.output.suffix.lower()
        if suffix not in (".safetensors", ".onnx") or suffix != f".{self.format or suffix[1:]}":
            raise ValueError(
                f"{self.output}: a field is written as .safetensors, or with --format onnx as .onnx; name it so"
            )
        if self.load_config.is_dir():
            raise ValueError(f"{self.load_config}: is a field in a folder already; copy the folder")

    def write(self, fitted: "FittedField", progress: Progress) -> str:
        """Write the field, and return a line with its kind and its size."""
        note = ""
        if self.output.suffix.lower() == ".onnx":
            from ..export.onnx import export_onnx

            note = export_onnx(fitted, self.output)
        else:
            fitted.save(self.output)
        parameters = sum(parameter.numel() for parameter in fitted.parameters())
        return f"{fitted.kind}, {parameters:,} parameters, {self.output.stat().st_size:,} bytes{note}"


def commands() -> dict[str, Callable[..., Any]]:
    """Return the classes of all exports by the names of their subcommands."""
    exports: dict[str, Callable[..., Any]] = {}
    for kind in all_kinds():
        exports |= kind.exports
    return exports | {"field": FieldExport}


def interrupt(signal_number: int, frame: object) -> NoReturn:
    """Treat a request to end the program like Ctrl-C, so that unfinished files are removed."""
    raise KeyboardInterrupt


def main() -> None:
    """Run ``winner-export``; end with status 1 and a message of one line if the user's request cannot be met."""
    signal.signal(signal.SIGTERM, interrupt)
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
