"""Field files: a fitted field in one safetensors file, without pickle.

Tensors: the network's, named ``network.`` and their names in its ``state_dict``, and the normalisation, ``center`` [d]
and ``scale`` [], with ``unit = (world - center) * scale``. Metadata: ``format``, and as JSON ``kind``, ``network`` (all
arguments of `build_network`), ``record`` (what is needed to write a fit in the input's format; for grids ``value =
amplitude * output + offset``), ``provenance``, and ``digest``, the SHA-256 of the others and the tensors, see
`compute_digest`.

A field with a companion, such as a shape with colours, has the companion's tensors as well, their names after
``companion.``, and an entry ``companion``: an object with the companion's ``kind``, ``network``, ``record`` and
``digest``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from torch import Tensor

from ..signals.messages import MessageError, escape_bytes, shorten
from ..storage import AnyPath, RemotePath, StorageError, locate, write_whole
from .field import Field, in_plain_mode
from .fitted import FittedField
from .stored import check_finite, compute_digest, list_tensors

FORMAT = "winner-nerfstudio field 1"
"""What the metadata of a field file name as its format."""
PACK_FORMAT = "winner-nerfstudio pack 1"
"""The same of a pack, see `save_pack`."""
COMPANION = "companion."
"""What the names of a companion's tensors begin with."""
_REMEDY = "write one with winner-export field, or with a field's save()"


class FieldFileError(MessageError):
    """The error for a file that holds no field; the message is one line that names the file."""


def save_field(fitted: FittedField, path: AnyPath) -> int:
    """Write a field file with weights in the network's precision; a failure leaves an existing file unchanged.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: the weights are not finite, or the provenance holds values that are not plain or not finite.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    tensors, entries = describe_field(fitted, path)
    metadata = {"format": FORMAT} | {name: json.dumps(value) for name, value in entries.items()}
    return write_whole(path, sort_metadata(save(tensors, metadata)))


def describe_field(fitted: FittedField, path: AnyPath) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a field in the network's precision, and the entries of its metadata.

    Args:
        fitted: the field.
        path: the file that is to be written, for messages.

    Raises:
        ValueError: the weights are not finite, or the provenance holds values that are not plain or not finite.
    """
    field, tensors = fitted.field, _collect_tensors(fitted.field)
    try:
        json.dumps(fitted.provenance, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its provenance cannot be written as JSON ({error}); keep to plain values") from None
    check_finite(tensors, f"{path}: not written, because")
    entries = {**field.entries, "provenance": fitted.provenance}
    if fitted.companion is not None:
        beside = _collect_tensors(fitted.companion)
        check_finite(beside, f"{path}: not written, because")
        described = fitted.companion.entries
        entries["companion"] = described | {"digest": compute_digest(described, beside)}
    entries["digest"] = compute_digest(entries, tensors)
    if fitted.companion is not None:
        tensors |= {f"{COMPANION}{name}": value for name, value in beside.items()}
    return tensors, entries


def _collect_tensors(field: Field) -> dict[str, Tensor]:
    """Return the tensors of a field on the CPU, in the precision of its network."""
    dtypes = {name: value.dtype for name, value in list_tensors(field.spec).items()}
    return {
        name: value.detach().cpu().to(dtypes.get(name, value.dtype)).contiguous()
        for name, value in field.state_dict().items()
        if isinstance(value, Tensor)
    }


def sort_metadata(content: bytes) -> bytes:
    """Return a safetensors file with its metadata in order, so that one field always gives the same bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[end:]])


@in_plain_mode
def load_field(path: str | AnyPath) -> FittedField:
    """Load a field, onto the CPU, from a file that `winner-export field` or `FittedField.save` wrote, or from a folder.

    No code in the file is executed, and no network is built that is larger than the file. Of a folder that `fit_groups`
    wrote, the groups are loaded when points need them.

    Args:
        path: the file or the folder, or its URL, such as ``s3://bucket/fit.safetensors``.

    Raises:
        FieldFileError: there is no such file or folder, or it is truncated, altered or holds no field.
        StorageError: the storage behind a URL cannot be reached.
        ImportError: safetensors is missing.
    """
    found = locate(path)
    if found.is_dir():
        from .folder import load_folder

        return load_folder(found)
    field = load_field_file(found)
    spec = field.field.spec
    if spec.get("held") and list(spec["held"]) != list(spec["parts"]):
        raise FieldFileError(f"{found}: has some of the parts of a fit in groups; name the folder that it lies in")
    return field


def load_field_file(path: AnyPath, remedy: str = _REMEDY) -> FittedField:
    """Load a field from a file, see `load_field`.

    Args:
        path: the file.
        remedy: what is to be done if it holds no field, for the message.

    Raises:
        FieldFileError: there is no such file, or it is truncated, altered or not a field file.
        ImportError: safetensors is missing.
    """
    if not path.is_file():
        raise FieldFileError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; {remedy}")
    metadata, tensors = read_tensors(path, ("",), remedy)
    try:
        return _restore(metadata, tensors)
    except ValueError as error:
        raise FieldFileError(f"{path}: {shorten(error, 200)}; {remedy}") from None


def read_tensors(path: AnyPath, prefixes: tuple[str, ...], remedy: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata of a safetensors file, and its tensors whose names begin with one of some prefixes.

    Args:
        path: the file.
        prefixes: the prefixes; none for the metadata alone.
        remedy: what is to be done if it is no such file, for the message.

    Raises:
        FieldFileError: there is no such file, or it is truncated or damaged.
        StorageError: the storage behind a URL cannot be reached.
        ImportError: safetensors is missing.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    try:
        # safetensors opens no path that is not UTF-8, though it writes to it.
        if isinstance(path, RemotePath) or escape_bytes(str(path)) != str(path):
            content = path.read_bytes()
            tensors = {name: value for name, value in load(content).items() if name.startswith(prefixes)}
            return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {}), tensors
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(prefixes)]  # noqa: SIM118
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except StorageError:  # it may be whole, but cannot be reached
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise FieldFileError(f"{path}: not a whole safetensors file ({shorten(error)}); {remedy}") from None


def _restore(metadata: Mapping[str, str], tensors: dict[str, Tensor]) -> FittedField:
    """Rebuild a field from the metadata and tensors of a field file, after checks of both."""
    if metadata.get("format") == PACK_FORMAT:
        raise ValueError("is a pack of many fields, which load_fields reads")
    if metadata.get("format") != FORMAT:
        raise ValueError(f"holds no field: its format is {str(metadata.get('format'))[:40]!r}, not {FORMAT!r}")
    entries = {}
    for name in metadata.keys() - {"format"}:
        try:
            entries[name] = parse_json(metadata[name])
        except (ValueError, RecursionError) as error:
            raise ValueError(f"holds no field: its {name[:40]} is not JSON ({shorten(error)})") from None
    return rebuild(entries, tensors)


@in_plain_mode
def rebuild(entries: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FittedField:
    """Rebuild a field from what `describe_field` has returned, after checks of both.

    Raises:
        ValueError: they are altered, or describe no field.
    """
    if not isinstance(entries.get("provenance"), dict):
        raise ValueError("holds no field: its provenance is not a JSON object")
    tensors = dict(tensors)
    beside = {name: tensors.pop(name) for name in list(tensors) if name.startswith(COMPANION)}
    field, companion = Field.from_state_dict(tensors | {"_extra_state": entries}), None
    if beside or "companion" in entries:
        companion = Field.from_state_dict(beside | {f"{COMPANION}_extra_state": entries.get("companion")}, COMPANION)
    return FittedField(field, entries["provenance"], companion)


def parse_json(text: str) -> Any:
    """Parse JSON strictly, without NaN and infinities.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")
