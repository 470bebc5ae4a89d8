"""Field files: a fitted field in one safetensors file, without pickle.

Tensors: the network's, named ``network.`` and their names in its ``state_dict``, and the normalisation, ``center`` [d]
and ``scale`` [], with ``unit = (world - center) * scale``. Metadata: ``format``, and as JSON ``kind``, ``network`` (the
arguments of `build_network`), ``record`` (what is needed to write a fit in the input's format; for grids ``value =
amplitude * output + offset``) and ``provenance``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..files import replacing
from ..networks import build_network
from ..registry import kind_named
from .field import Field
from .fitted import FittedField

FORMAT = "winner-nerfstudio field 1"
_REMEDY = "write one with winner-export field, or with a field's save()"


class FieldFileError(ValueError):
    """The error for a file that holds no field; the message is one line that names the file."""


def save_field(fitted: FittedField, path: Path) -> None:
    """Write a field file with weights in the network's precision; a failure leaves an existing file unchanged.

    Raises:
        ValueError: the provenance holds values that are not plain or not finite.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    field = fitted.field
    dtypes = {name: value.dtype for name, value in _list_tensors(field.spec).items()}
    tensors = {
        name: value.detach().cpu().to(dtypes.get(name, value.dtype)).contiguous()
        for name, value in field.state_dict().items()
        if isinstance(value, Tensor)
    }
    extra = field.get_extra_state()
    entries = {name: extra[name] for name in ("kind", "network", "record")} | {"provenance": fitted.provenance}
    metadata = {"format": FORMAT}
    for name, value in entries.items():
        try:
            metadata[name] = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: its {name} cannot be written as JSON ({error}); keep to plain values") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def load_field(path: str | Path) -> FittedField:
    """Load a field, onto the CPU, from a file that `winner-export field` or `FittedField.save` wrote.

    No code in the file is executed, and no network is built that is larger than the file.

    Raises:
        FieldFileError: there is no such file, or it is truncated, altered or not a field file.
        ImportError: safetensors is missing.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FieldFileError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; {_REMEDY}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise FieldFileError(f"{path}: not a whole safetensors file ({_shorten(error)}); {_REMEDY}") from None
    try:
        return _restore(metadata, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, RecursionError, OverflowError) as error:
        raise FieldFileError(f"{path}: holds no field of this program ({_shorten(error)}); {_REMEDY}") from None


def _restore(metadata: Mapping[str, str], tensors: dict[str, Tensor]) -> FittedField:
    """Rebuild a field from the metadata and tensors of a field file, after checks of both."""
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {str(metadata.get('format'))[:40]!r}, not {FORMAT!r}")
    kind, network, record, provenance = (
        json.loads(metadata[name]) for name in ("kind", "network", "record", "provenance")
    )
    if not all(isinstance(entry, dict) for entry in (network, record, provenance)):
        raise ValueError("its entries are none")
    _check_target(kind, network, record)
    _check_network(network, {name: tensor for name, tensor in tensors.items() if name.startswith("network.")})
    center, scale = tensors["center"], tensors["scale"]
    if center.shape != (network["in_dim"],) or scale.shape != () or {center.dtype, scale.dtype} != {torch.float64}:
        raise ValueError("its normalisation does not fit the network")
    if not (torch.isfinite(center).all() and 0 < float(scale) < math.inf):
        raise ValueError("its normalisation is not finite")
    extra = {"kind": kind, "network": network, "record": record}
    return FittedField(Field.from_state_dict(tensors | {"_extra_state": extra}), provenance)


def _check_target(name: Any, network: dict[str, Any], entries: dict[str, Any]) -> None:
    """Check that a network and a record fit the kind of signal of that name.

    Raises:
        ValueError: they do not, or there is no such kind.
    """
    if not isinstance(name, str):
        raise ValueError(f"kind {name!r} is no name")
    kind = kind_named(name)
    if network.get("in_dim") != kind.axes:
        raise ValueError(f"a field of kind {name} has {kind.axes} coordinates")
    if kind.channels is not None and network.get("out_dim") != kind.channels:
        raise ValueError(f"a field of kind {name} has {kind.channels} values per point")
    if kind.record.from_json(entries).dim not in (None, kind.axes):
        raise ValueError("its record's shape does not fit the network")


def _check_network(network: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Check that a network of this specification has these tensors, without allocating memory for it.

    Raises:
        ValueError: it has other tensors.
    """
    plain = all(isinstance(value, (str, int, float, list)) for value in network.values())
    largest = max((n for tensor in tensors.values() for n in tensor.shape), default=0)
    sizes = [value for name, value in network.items() if isinstance(value, int) and name != "overlap"]
    sizes.append(math.prod(network.get("parts", [])))
    if not plain or network.get("num_layers", 0) > len(tensors) or max(sizes, default=0) > 2 * largest:
        raise ValueError("its network is larger than the file")
    wanted = {name: (value.shape, value.dtype) for name, value in _list_tensors(network).items()}
    if wanted != {name: (value.shape, value.dtype) for name, value in tensors.items()}:
        raise ValueError("its tensors are not those of its network")


def _list_tensors(network: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a network of this specification, on torch's meta device, without values."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return {f"network.{name}": value for name, value in build_network(**network).state_dict().items()}


def _shorten(error: Exception) -> str:
    """Return the start of an error's message on one line, or its type's name if it has none."""
    return " ".join(str(error).split())[:120] or type(error).__name__
