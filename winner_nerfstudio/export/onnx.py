"""Export of a fitted field as an ONNX graph, for programs without torch."""

import contextlib
import copy
import io
import json
import logging
import warnings
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..fields.fitted import FittedField
from ..files import replacing
from .errors import ExportError

OPSET = 18
COARSE = 1e-5
"""The relative rounding error of single precision, in coordinates or values, above which the user is told."""


class _World(nn.Module):
    """A function from world coordinates [n, d] to values [n, c] in the target's units, both in single precision."""

    center: Tensor

    def __init__(self, fitted: FittedField) -> None:
        super().__init__()
        self.field, units = fitted.field, fitted.units
        self.register_buffer("center", fitted.field.center)
        self.scale, self.amplitude, self.offset = float(fitted.field.scale), units.amplitude, units.offset

    def forward(self, points: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        # In double precision, because a network with high frequencies is sensitive to rounded coordinates.
        return self.field((points.double() - self.center) * self.scale) * self.amplitude + self.offset


def check_onnx(fitted: FittedField, output: Path) -> None:
    """Refuse what cannot be written as ONNX, as far as it can be said without tracing the network.

    Raises:
        ExportError: onnx or onnxscript is missing, the values are out of single precision's range, or the network
            computes with complex numbers.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"{output}: --format onnx needs {error.name}: pip install onnx onnxscript") from None
    units, limits = fitted.units, torch.finfo(torch.float32)
    if not limits.tiny < units.amplitude < limits.max or abs(units.offset) > limits.max:
        raise ExportError(f"{output}: ONNX's single precision cannot hold values about {units.amplitude:.3g}")
    if any(parameter.is_complex() for parameter in fitted.field.parameters()):
        raise ExportError(f"{output}: ONNX has no complex numbers, which {fitted.field.spec['name']} computes with")


def export_onnx(fitted: FittedField, output: Path) -> str:
    """Write a field as an ONNX graph; a failure leaves an existing file unchanged.

    The input ``points`` [n, d] are world coordinates, the output ``values`` [n, c] are in the target's units. Both are
    float32, and n may be any number. The provenance is in the model's metadata.

    Returns:
        A warning for the user about lost precision, or an empty string.

    Raises:
        ExportError: ONNX cannot represent the network or its values, or onnx or onnxscript is missing.
        OSError: the file cannot be written.
    """
    check_onnx(fitted, output)
    import onnx

    field, units = fitted.field, fitted.units
    limits = torch.finfo(torch.float32)
    model = _World(copy.deepcopy(fitted).cpu())
    points = (torch.zeros(2, fitted.dim) + model.center).float()
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                model,
                (points,),
                input_names=["points"],
                output_names=["values"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = " ".join(str(error).split())[:120]
            raise ExportError(f"{output}: this network cannot be written as ONNX ({reason})") from None
        finally:
            log.setLevel(level)
    assert program is not None
    proto = program.model_proto
    entries = {"kind": fitted.kind, "provenance": json.dumps(fitted.provenance)}
    onnx.helper.set_model_props(proto, entries)
    with replacing(output) as path:
        onnx.save(proto, path)
    notes = []
    lost = float(limits.eps * field.center.abs().max() * field.scale)
    if lost > COARSE:
        notes.append(
            f"; its single precision is coarse so far from the origin: {lost / float(field.scale):.2g} of a unit"
        )
    if limits.eps * abs(units.offset) > COARSE * units.amplitude:
        notes.append(
            f"; its values are single precision too: {limits.eps * abs(units.offset):.2g} about {units.offset:g}"
        )
    return "".join(notes)
