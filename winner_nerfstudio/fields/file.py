"""Field files: a fitted field in one safetensors file, without pickle.

Tensors: the network's, by their names in its ``state_dict`` behind ``network.``, and the normalisation, ``center`` [d]
and ``scale`` [], with ``unit = (world - center) * scale``. Metadata: ``format``, and as JSON ``kind``, ``network`` (the
arguments of `build_network`), ``record`` (what writing the target back needs; for grids ``value = amplitude * output +
offset``) and ``provenance``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files import replacing
from ..networks import build_network
from ..signals.lattice import SIDES
from .field import Field
from .fitted import FittedField

FORMAT = "winner-nerfstudio field 1"
_REMEDY = "write one with winner-export field, or with a field's save()"
_POSITIVE = ("sample_rate", "spacing", "amplitude", "slope")
_AXES = {"sdf": 3, "image": 2, "audio": 1, "volume": 3}
_NEEDED: dict[str, dict[str, type | tuple[type, ...]]] = {
    "sdf": {},
    "image": {"mode": str},
    "audio": {"sample_rate": (int, float), "format": str},
    "volume": {"dtype": str, "spacing": (int, float), "level": (int, float), "inside": str, "slope": (int, float)},
}
"""What a record must hold, by the kind of field."""


class FieldFileError(ValueError):
    """A file that holds no field; the message is one line that names it."""


def save_field(fitted: FittedField, path: Path) -> None:
    """Write a field file, weights in the network's own precision; a failure leaves what stood at `path` as it was.

    Raises:
        ValueError: a provenance of other than plain, finite values.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    field = fitted.field
    kinds = {name: value.dtype for name, value in _expected(field.spec).items()}
    tensors = {
        name: value.detach().cpu().to(kinds.get(name, value.dtype)).contiguous()
        for name, value in field.state_dict().items()
        if isinstance(value, Tensor)
    }
    entries = {"kind": field.kind, "network": field.spec, "record": field.record, "provenance": fitted.provenance}
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
    """A field from a file that `winner-export field` or `FittedField.save` has written, on the CPU.

    Nothing in the file is run, and nothing is built that is larger than the file.

    Raises:
        FieldFileError: no such file, or none of ours: truncated, of another make, or tampered with.
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
        raise FieldFileError(f"{path}: not a whole safetensors file ({_short(error)}); {_REMEDY}") from None
    try:
        return _restored(metadata, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, RecursionError, OverflowError) as error:
        raise FieldFileError(f"{path}: holds no field of this program ({_short(error)}); {_REMEDY}") from None


def _restored(metadata: Mapping[str, str], tensors: dict[str, Tensor]) -> FittedField:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its format is {str(metadata.get('format'))[:40]!r}, not {FORMAT!r}")
    kind, network, record, provenance = (
        json.loads(metadata[name]) for name in ("kind", "network", "record", "provenance")
    )
    if not all(isinstance(entry, dict) for entry in (network, record, provenance)):
        raise ValueError("its entries are none")
    _check_record(kind, network, record)
    _check_network(network, {name: tensor for name, tensor in tensors.items() if name.startswith("network.")})
    center, scale = tensors["center"], tensors["scale"]
    if center.shape != (network["in_dim"],) or scale.shape != () or {center.dtype, scale.dtype} != {torch.float64}:
        raise ValueError("its normalisation does not fit the network")
    if not (torch.isfinite(center).all() and 0 < float(scale) < math.inf):
        raise ValueError("its normalisation is not finite")
    extra = {"kind": kind, "network": network, "record": record}
    return FittedField(Field.from_state_dict(tensors | {"_extra_state": extra}), provenance)


def _check_record(kind: Any, network: dict[str, Any], record: dict[str, Any]) -> None:
    """See that a record has what its kind of field needs.

    Raises:
        ValueError: it has not.
    """
    if not isinstance(kind, str):
        raise ValueError(f"kind {kind!r} is no name")
    if network.get("in_dim") != _AXES.get(kind, network.get("in_dim")):
        raise ValueError(f"a field of kind {kind} has {_AXES[kind]} coordinates")
    if kind in ("sdf", "volume") and network.get("out_dim") != 1:
        raise ValueError(f"a field of kind {kind} has one value")
    needed = dict(_NEEDED.get(kind, {}))
    if "array" in (record.get("mode"), record.get("format")):
        needed["dtype"] = str
    if kind == "sdf" and "level" in record:
        needed["level"] = (int, float)
    for name, types in needed.items():
        if not isinstance(record.get(name), types) or isinstance(record[name], bool):
            raise ValueError(f"its record has no {name}")
    if "dtype" in needed and np.dtype(record["dtype"]).kind not in "buif":
        raise ValueError(f"its record's dtype {record['dtype'][:20]!r} is none of real numbers")
    if kind == "volume" and record["inside"] not in SIDES:
        raise ValueError(f"its record's inside is none of {', '.join(SIDES)}")
    if kind == "sdf" and "amplitude" in record:
        raise ValueError("its record has units, but a distance has its own")
    if kind != "sdf":
        shape, own = record.get("shape"), [record.get("offset"), record.get("amplitude")]
        if not (isinstance(shape, list) and len(shape) == network.get("in_dim")):
            raise ValueError("its record's shape does not fit the network")
        if not all(type(n) is int and 1 <= n < 2**40 for n in shape):
            raise ValueError(f"its record's shape {str(shape)[:60]} is none")
        if not all(isinstance(x, (int, float)) for x in own):
            raise ValueError("its record has no units")
    numbers = {name: x for name, x in record.items() if isinstance(x, (int, float))}
    for name, number in numbers.items():
        if not math.isfinite(number) or (name in _POSITIVE and number <= 0):
            raise ValueError(f"its record's {name} is {number}")


def _check_network(network: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """See that a network of that specification has these tensors, without making room for it.

    Raises:
        ValueError: it has others.
    """
    plain = all(isinstance(value, (str, int, float)) for value in network.values())
    largest = max((n for tensor in tensors.values() for n in tensor.shape), default=0)
    sizes = [value for value in network.values() if isinstance(value, int)]
    if not plain or network.get("num_layers", 0) > len(tensors) or max(sizes, default=0) > 2 * largest:
        raise ValueError("its network is larger than the file")
    wanted = {name: (value.shape, value.dtype) for name, value in _expected(network).items()}
    if wanted != {name: (value.shape, value.dtype) for name, value in tensors.items()}:
        raise ValueError("its tensors are not those of its network")


def _expected(network: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a network of that specification, without numbers in them."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return {f"network.{name}": value for name, value in build_network(**network).state_dict().items()}


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
