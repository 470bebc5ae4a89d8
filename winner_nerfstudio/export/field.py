"""Export of the fitted field itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .command import Export, Progress
from .suffixes import FIELDS

if TYPE_CHECKING:
    from ..fields.fitted import FittedField


@dataclass
class FieldExport(Export):
    """Write the fitted field itself, with its units and its origin, as a function that other programs can call.

    The file is safetensors for winner_nerfstudio.load_field, without pickle, or an ONNX graph from world coordinates to
    values.
    """

    result = "field"
    suffixes = FIELDS
    format: Literal["safetensors", "onnx"] | None = None
    """Format; if left out, the output's suffix decides."""

    def check(self, fitted: "FittedField") -> None:
        """Check the suffix of the output, that the field is no folder, and that ONNX can hold it; all kinds have one.

        Raises:
            ValueError: the field cannot be written to this output; the message is one line.
        """
        from ..fields.folder import FolderField

        suffix = self.output.suffix.lower()
        if suffix not in FIELDS or suffix != f".{self.format or suffix[1:]}":
            raise ValueError(
                f"{self.output}: a field is written as .safetensors, or with --format onnx as .onnx; name it so"
            )
        if isinstance(fitted.field, FolderField):
            raise ValueError(f"{self.load_config}: is a field in a folder already; copy the folder")
        if suffix == ".onnx":
            from .onnx import check_onnx

            check_onnx(fitted, self.output)

    def write(self, fitted: "FittedField", progress: Progress) -> str:
        """Write the field, and return a line with its kind and its size."""
        note = ""
        if self.output.suffix.lower() == ".onnx":
            from .onnx import export_onnx

            note = export_onnx(fitted, self.output)
        else:
            fitted.save(self.output)
        parameters = sum(parameter.numel() for parameter in fitted.parameters())
        return f"{fitted.kind}, {parameters:,} parameters, {self.output.stat().st_size:,} bytes{note}"
