"""Checks of a stored field. Checkpoints and field files both pass them before anything is built from their contents."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..networks import build_network, complete_arguments
from ..registry import kind_named
from ..signals.normalization import Normalization
from ..signals.records import Record

LEAST_SCALE, GREATEST_SCALE = 1e-300, 1e300
"""The range of a normalisation's scale; the inverses of such scales are finite."""


def list_tensors(network: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a network of this specification, on torch's meta device, without values."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        state = build_network(**network).state_dict(prefix="network.")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def compute_digest(entries: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 digest of entries that JSON can hold, in any order, and of tensors by name, as hex digits.

    Raises:
        ValueError: an entry is not finite.
        TypeError: JSON cannot hold an entry.
    """
    digest = hashlib.sha256(json.dumps(entries, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_stored(entries: object, tensors: Mapping[str, object]) -> Record:
    """Check that entries and tensors are a whole field as it was stored; return the record of its target.

    No code is executed but that of the registered network and kind, and no memory is taken for a network.

    Args:
        entries: ``kind``, ``network``, ``record`` and the ``digest`` of all other entries and the tensors.
        tensors: those of the network, their names after ``network.``, and ``center`` [d] and ``scale`` [].

    Raises:
        ValueError: an entry or a tensor is missing, unknown, of another type or out of its range, or they do not fit
            each other or the digest; the message says which.
    """
    if not isinstance(entries, Mapping):
        raise ValueError("it has no entries")
    for name in ("kind", "network", "record", "digest"):
        if name not in entries:
            raise ValueError(f"it has no {name}")
    weights: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # Other tensors may claim more values than they hold.
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or not tensor.is_contiguous():
            raise ValueError(f"its {name[:60]!r} is not a plain tensor")
        weights[name] = tensor
    record = check_target(entries["kind"], entries["network"], entries["record"])
    _check_weights(entries["network"], {name: value for name, value in weights.items() if name.startswith("network.")})
    _check_normalization(weights, entries["network"]["in_dim"])
    rest = {name: value for name, value in entries.items() if name != "digest"}
    if compute_digest(rest, weights) != entries["digest"]:
        raise ValueError("it was altered or damaged: its digest is that of other contents")
    return record


def check_target(name: object, network: object, entries: object) -> Record:
    """Check that a network and a record fit the kind of signal of that name, and return the record.

    Raises:
        ValueError: they do not, or there is no such kind.
    """
    if not isinstance(name, str):
        raise ValueError(f"kind {str(name)[:40]!r} is no name")
    kind = kind_named(name)
    _check_arguments(network)
    assert isinstance(network, Mapping)
    if network["in_dim"] != kind.axes:
        raise ValueError(f"a field of kind {name} has {kind.axes} coordinates")
    if kind.channels is not None and network["out_dim"] != kind.channels:
        raise ValueError(f"a field of kind {name} has {kind.channels} values per point")
    record = kind.record.from_json(entries)
    if record.dim not in (None, kind.axes):
        raise ValueError("its record's shape does not fit the network")
    return record


def _check_arguments(network: object) -> None:
    """Check that a specification states every argument of its network, each of its own type.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(network, Mapping):
        raise ValueError("its entries are none of a field: its network is not a JSON object")
    plain = all(type(value) in (str, int, float, bool, type(None)) or _is_list(value) for value in network.values())
    if not plain or not all(isinstance(name, str) for name in network) or not isinstance(network.get("name"), str):
        raise ValueError("its network is not described by numbers and names")
    complete = complete_arguments(**network)
    for argument, value in complete.items():
        if argument not in network:
            raise ValueError(f"its network has no {argument}")
        if type(network[argument]) is not type(value) or network[argument] != value:
            raise ValueError(f"its network's {argument} is {str(network[argument])[:40]!r}, which is of the wrong type")


def _is_list(value: object) -> bool:
    """Return whether a value is a short list of numbers, as a bank's parts are."""
    return isinstance(value, list) and len(value) <= 3 and all(type(part) in (int, float) for part in value)


def _check_weights(network: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Check that a network of this specification has these tensors, and that all their values are finite.

    Raises:
        ValueError: it has other tensors, or a value is not finite.
    """
    largest = max((n for tensor in tensors.values() for n in tensor.shape), default=0)
    sizes = [network.get(name, 0) for name in ("in_dim", "out_dim", "hidden_dim")]
    members = network.get("held") or network.get("parts")
    sizes += [math.prod(members)] if isinstance(members, list) else []
    layers = [value for name, value in network.items() if name.endswith("layers") and isinstance(value, int)]
    if max(layers, default=0) > len(tensors) or max(sizes) > 2 * largest:
        raise ValueError("its network is larger than the file")
    wanted = {name: (value.shape, value.dtype) for name, value in list_tensors(network).items()}
    if wanted != {name: (value.shape, value.dtype) for name, value in tensors.items()}:
        raise ValueError("its tensors are not those of its network")
    check_finite(tensors)


def check_finite(tensors: Mapping[str, Tensor], what: str = "") -> None:
    """Check that all values of tensors are finite; `what` begins the message.

    Raises:
        ValueError: one is not.
    """
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise ValueError(f"{what} its weights are not finite: the fit has diverged".lstrip())


def _check_normalization(tensors: Mapping[str, Tensor], dim: int) -> None:
    """Check the centre and the scale among the tensors of a field.

    Raises:
        ValueError: they are missing, of another shape or type, or not finite, or there are other tensors.
    """
    if names := sorted(name for name in tensors if not name.startswith("network.") and name not in ("center", "scale")):
        raise ValueError(f"its tensor {names[0][:60]!r} is unknown")
    center, scale = tensors.get("center"), tensors.get("scale")
    if center is None or scale is None or center.shape != (dim,) or scale.shape != ():
        raise ValueError("its normalisation does not fit the network")
    if {center.dtype, scale.dtype} != {torch.float64}:
        raise ValueError("its normalisation is not in double precision")
    check_normalization(Normalization(tuple(center.tolist()), float(scale)))


def check_normalization(normalization: Normalization) -> None:
    """Check that a normalisation and its inverse are finite.

    Raises:
        ValueError: one of them is not.
    """
    if not all(map(math.isfinite, normalization.center)) or not LEAST_SCALE < normalization.scale < GREATEST_SCALE:
        raise ValueError("its normalisation is not finite")
