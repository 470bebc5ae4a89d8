"""Packs: many fields in one safetensors file, and sequences of fields that are read when they are asked for.

A pack holds the tensors of field i under the names that a field file gives them, after ``i.``. Its metadata are
``format`` and ``fields``: a list, as JSON, of what a field file keeps of each field, see
`winner_nerfstudio.fields.file`.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, overload

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..signals.messages import shorten
from ..storage import AnyPath, RemotePath, StorageError, get_stamp, locate, write_whole
from .file import (
    COMPANION,
    PACK_FORMAT,
    FieldFileError,
    describe_field,
    load_field,
    parse_json,
    read_tensors,
    rebuild,
    sort_metadata,
)
from .fitted import FittedField

TABLE = "table.csv"
"""The table of a folder of many fits; its column ``field`` says where each field lies."""
NETWORKS = ("network.", f"{COMPANION}network.")
"""What the names of the weights of a field begin with, and those of its companion."""
FIXED = ("table", "B")
"""The last parts of the names of what a network keeps beside its weights and does not train."""
_REMEDY = "name a pack, or a folder that winner-batch wrote"
_REPAIR = "remove that file and run the batch again, which fits its fields anew"


def save_pack(fields: Sequence[FittedField], path: AnyPath) -> int:
    """Write fields into one file; a failure leaves an existing file unchanged.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: the weights of a field are not finite.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    described = []
    for index, fitted in enumerate(fields):
        own, entries = describe_field(fitted, path)
        tensors |= {f"{index}.{name}": value for name, value in own.items()}
        described.append(entries)
    metadata = {"format": PACK_FORMAT, "fields": json.dumps(described)}
    return write_whole(path, sort_metadata(save(tensors, metadata)))


@dataclass(frozen=True)
class FieldPlace:
    """Where a field lies.

    Attributes:
        path: the field file, the pack, or the folder of a field in groups.
        index: the field's index in a pack; None for any other file.
        kind: name of the field's kind.
        source: the file that it was fitted to; "" if that is not known.
    """

    path: AnyPath
    index: int | None = None
    kind: str = ""
    source: str = ""

    @classmethod
    def parse(cls, text: str, folder: AnyPath, kind: str = "", source: str = "") -> FieldPlace:
        """Return the place that a table's column ``field`` names, ``FILE`` or ``FILE#INDEX``.

        Raises:
            ValueError: the index is no whole number, or the file lies outside the folder.
        """
        name, _, index = text.partition("#")
        inside = PurePosixPath(name)
        if (index and not index.isdecimal()) or inside.is_absolute() or ".." in inside.parts:
            raise ValueError(f"{text[:80]!r} names no field")
        return cls(folder / name, int(index) if index else None, kind, source)

    def load(self) -> FittedField:
        """Load the field, see `load_field`.

        Raises:
            FieldFileError: the file is missing, truncated or altered.
        """
        try:
            if self.index is None:
                return load_field(self.path)
            return rebuild(_read_entries(self.path)[self.index], self._read_tensors(""))
        except FieldFileError as error:
            raise FieldFileError(f"{str(error).rpartition('; ')[0] or error}; {_REPAIR}") from None
        except StorageError:
            raise
        except (ValueError, IndexError) as error:
            raise FieldFileError(f"{self.path}: field {self.index}: {shorten(error, 200)}; {_REPAIR}") from None

    def load_weights(self) -> Tensor:
        """Return all weights and biases in one row, layer by layer, without building the network: [p].

        Those of a companion's network, such as that of a shape's colours, follow those of the field's own.

        Raises:
            FieldFileError: the file is missing or truncated, or the field is not in it.
        """
        try:
            tensors = self._read_tensors(*NETWORKS)
        except FieldFileError as error:
            raise FieldFileError(f"{str(error).rpartition('; ')[0] or error}; {_REPAIR}") from None
        trained = [name for name in tensors if name.rpartition(".")[2] not in FIXED]
        if not trained:
            place = "" if self.index is None else f"#{self.index}"
            raise FieldFileError(f"{self.path}{place}: has no weights; {_REPAIR}")
        return torch.cat([tensors[name].reshape(-1) for name in sorted(trained, key=_by_layer)])

    def _read_tensors(self, *prefixes: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with one of some prefixes."""
        own = "" if self.index is None else f"{self.index}."
        begins = tuple(own + prefix for prefix in prefixes)
        if self.index is not None and isinstance(self.path, RemotePath):
            tensors = _fetch_pack(self.path, get_stamp(self.path))
        else:
            _, tensors = read_tensors(self.path, begins, _REMEDY)
        return {name[len(own) :]: value for name, value in tensors.items() if name.startswith(begins)}


def _by_layer(name: str) -> tuple[bool, int, list[int], bool, str]:
    """Return what sorts tensors' names by network, the numbers in them, and a layer's weight before its bias.

    The networks inside a network, whose names have more parts, follow its own layers.
    """
    parts = name.split(".")
    numbers = [int(part) for part in parts if part.isdigit()]
    is_bias = any(part.startswith("bias") for part in parts)
    return name.startswith(COMPANION), len(parts), numbers, is_bias, name


class Fields(Sequence[FittedField]):
    """Fields that are loaded when they are asked for.

    Args:
        places: where they lie.
    """

    def __init__(self, places: Sequence[FieldPlace]) -> None:
        self.places = list(places)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> FittedField: ...
    @overload
    def __getitem__(self, index: slice) -> Fields: ...
    def __getitem__(self, index: int | slice) -> FittedField | Fields:
        return Fields(self.places[index]) if isinstance(index, slice) else self.places[index].load()

    def __repr__(self) -> str:
        counts = Counter(place.kind for place in self.places)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        return f"<{len(self):,} fields{': ' if kinds else ''}{kinds}>"

    @property
    def paths(self) -> tuple[str, ...]:
        """The file that each field was fitted to, as the table names it; "" for the fields of a pack."""
        return tuple(place.source for place in self.places)

    def __iter__(self) -> Iterator[FittedField]:
        return (place.load() for place in self.places)

    def weights(self) -> WeightDataset:
        """Return a dataset of the fields' weights, for networks that learn from weights."""
        return WeightDataset(self.places)


class WeightDataset(Dataset[Tensor]):
    """All weights of a field in one row [p], layer by layer, each weight [out, in] before its bias; read when needed.

    A coloured shape has two networks; that of its colours follows its own.

    Fields of one shape have rows of one length, which a `torch.utils.data.DataLoader` makes batches of.

    Args:
        places: where the fields lie.
    """

    def __init__(self, places: Sequence[FieldPlace]) -> None:
        self.places = list(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        return self.places[index].load_weights()


def load_fields(path: str | AnyPath) -> Fields:
    """Return the fields of a pack, or those of a folder that `fit_many` wrote, in the order of its table.

    Rows of the table without a field are left out; `Fields.paths` says which file each field was fitted to.

    Nothing but their places is read before a field is asked for.

    Args:
        path: the file or the folder, or its URL, such as ``s3://bucket/fits``.

    Raises:
        FieldFileError: there is no such file or folder, it holds no fields, or its table is damaged.
        StorageError: the storage behind a URL cannot be reached.
    """
    found = locate(path)
    if (found / TABLE).is_file():
        return Fields(_read_table(found))
    if not found.is_file():
        raise FieldFileError(f"{found}: {'has no ' + TABLE if found.is_dir() else 'no such file'}; {_REMEDY}")
    entries = _read_entries(found)
    return Fields([FieldPlace(found, index, str(each.get("kind", ""))) for index, each in enumerate(entries)])


def _read_table(folder: AnyPath) -> list[FieldPlace]:
    """Return where the fields of a folder lie, from its table.

    Raises:
        FieldFileError: the table is damaged.
    """
    try:
        with (folder / TABLE).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if "field" not in (reader.fieldnames or ()):
                raise ValueError("it has no column field")
            rows = [row for row in reader if row["field"]]
        return [FieldPlace.parse(row["field"], folder, row.get("kind") or "", row.get("path") or "") for row in rows]
    except StorageError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        remedy = "run the batch again, which writes it anew"
        raise FieldFileError(f"{folder / TABLE}: is no whole table ({shorten(error)}); {remedy}") from None


def _read_entries(path: AnyPath) -> list[dict[str, Any]]:
    """Return what a pack keeps of each field.

    Raises:
        FieldFileError: the file is no pack.
    """
    return _read_entries_once(path, get_stamp(path))


@lru_cache(maxsize=8)
def _read_entries_once(path: AnyPath, stamp: str) -> list[dict[str, Any]]:
    """Return what `_read_entries` does, from memory if the file has not been modified since."""
    metadata, _ = read_tensors(path, (), _REMEDY)
    try:
        if metadata.get("format") != PACK_FORMAT:
            raise ValueError(f"its format is {str(metadata.get('format'))[:40]!r}, not {PACK_FORMAT!r}")
        entries = parse_json(metadata["fields"])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise ValueError("its fields are no list")
    except (ValueError, KeyError, RecursionError) as error:
        raise FieldFileError(f"{path}: holds no fields: {shorten(error)}; {_REMEDY}") from None
    return entries


@lru_cache(maxsize=8)
def _fetch_pack(path: RemotePath, stamp: str) -> dict[str, Tensor]:
    """Return the tensors of a pack behind a URL, from memory if it has not been modified since."""
    return read_tensors(path, ("",), _REMEDY)[1]
