"""Fields in folders: a bank whose groups of members lie in a field file each, beside an index of what all share.

``index.json`` holds as JSON: ``format``, ``kind``, ``network`` (all arguments of the whole `Bank`), ``record``,
``center`` and ``scale`` of the normalisation, ``groups`` (how many along each axis), ``run`` (the options of the fit,
as text), ``figures`` (the metrics, once they are computed) and ``digest``, the SHA-256 of all other entries. The group
of index i in row-major order lies in ``group-00000i.safetensors``, see `winner_nerfstudio.fields.file`; its provenance
repeats the digest of the index without its figures, by which it is known to belong to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch

from ..networks import Bank, GroupedBank, Groups, Tiling
from ..signals.messages import shorten
from ..signals.normalization import Normalization
from ..signals.records import GridRecord
from ..storage import AnyPath, StorageError, list_folder, measure_size, write_whole
from .field import Field
from .file import FieldFileError, load_field_file, parse_json
from .fitted import FittedField
from .stored import check_normalization, check_target, compute_digest

FORMAT = "winner-nerfstudio groups 1"
INDEX = "index.json"
LARGEST_INDEX = 1 << 24
"""The most bytes of an index."""
_REMEDY = "repeat the fit that wrote it, which trains it anew"


@dataclass(frozen=True)
class FolderIndex:
    """What the groups of a field in a folder share.

    Attributes:
        kind: the name of the target's kind.
        network: all arguments of the whole bank.
        record: the record of the target.
        normalization: the map between the world and the network's cube.
        counts: the groups along each axis.
        run: the options of the fit, as text.
        figures: the metrics of the fit; none before all groups are there and measured.
    """

    kind: str
    network: dict[str, Any]
    record: GridRecord
    normalization: Normalization
    counts: tuple[int, ...]
    run: dict[str, str]
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def groups(self) -> Groups:
        """The division of the members into groups."""
        shape, parts = (tuple(self.network[name]) for name in ("shape", "parts"))
        return Groups(Tiling(shape, parts, self.network["overlap"]), self.counts)

    @property
    def entries(self) -> dict[str, Any]:
        """All entries of the index but the figures and the digest, as JSON has them."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "network": self.network,
            "record": self.record.to_json(),
            "center": list(self.normalization.center),
            "scale": self.normalization.scale,
            "groups": list(self.counts),
            "run": self.run,
        }

    @property
    def key(self) -> str:
        """The digest of the entries, which each group repeats."""
        return compute_digest(self.entries, {})

    def specification(self, group: int) -> dict[str, Any]:
        """Return the arguments of the bank that holds a group's members."""
        first, held = self.groups.held(group)
        return self.network | {"first": list(first), "held": list(held)}

    def write(self, folder: AnyPath) -> None:
        """Write the index; a failure leaves an existing one unchanged.

        Raises:
            OSError: it cannot be written.
        """
        entries = self.entries | {"figures": self.figures}
        entries["digest"] = compute_digest(entries, {})
        write_whole(folder / INDEX, f"{json.dumps(entries, indent=1, allow_nan=False)}\n".encode())


def group_path(folder: AnyPath, group: int) -> AnyPath:
    """Return the path of a group's file."""
    return folder / f"group-{group:06d}.safetensors"


def read_index(folder: AnyPath) -> FolderIndex:
    """Read the index of a folder, and believe nothing of it that was not checked.

    Raises:
        FieldFileError: there is none, or it is truncated, altered or no index.
    """
    path = folder / INDEX
    try:
        if measure_size(path) > LARGEST_INDEX:
            raise ValueError("larger than any index")
        return _check_entries(parse_json(path.read_text("utf8")))
    except FileNotFoundError:
        raise FieldFileError(
            f"{folder}: is a folder without {INDEX}, so it holds no single field; name a run's config.yml, a"
            " .safetensors file, or the folder of a fit part by part; load_fields reads that of a batch"
        ) from None
    except StorageError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise FieldFileError(
            f"{path}: is no index of a field ({shorten(error, 160)}); repeat the fit in a new folder"
        ) from None


def _check_entries(entries: object) -> FolderIndex:
    """Return the index that JSON entries describe.

    Raises:
        ValueError: they describe none, or were altered.
    """
    names = {"format", "kind", "network", "record", "center", "scale", "groups", "run", "figures", "digest"}
    if not isinstance(entries, Mapping) or entries.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if set(entries) != names:
        raise ValueError(f"its entries are not {', '.join(sorted(names))}")
    if compute_digest({name: value for name, value in entries.items() if name != "digest"}, {}) != entries["digest"]:
        raise ValueError("it was altered or damaged: its digest is that of other contents")
    record, network = check_target(entries["kind"], entries["network"], entries["record"]), entries["network"]
    if network["name"] != "bank" or "first" in network or "held" in network or not isinstance(record, GridRecord):
        raise ValueError("its network is no whole bank for regular samples")
    lists = (network["shape"], network["parts"], entries["groups"])
    if not all(isinstance(each, list) and all(type(size) is int for size in each) for each in lists):
        raise ValueError("its sizes are not whole numbers")
    if tuple(network["shape"]) != record.shape:
        raise ValueError("its record's shape does not fit the network")
    center, run, figures = (entries[name] for name in ("center", "run", "figures"))
    if not isinstance(center, list) or not isinstance(run, Mapping) or not isinstance(figures, Mapping):
        raise ValueError("its centre, options or figures are of another type")
    if not all(type(number) is float for number in [*center, entries["scale"], *figures.values()]):
        raise ValueError("its normalisation or its figures are not numbers")
    if len(center) != len(record.shape) or not all(isinstance(text, str) for text in run.values()):
        raise ValueError("its centre does not fit the network, or its options are not text")
    normalization = Normalization(tuple(center), entries["scale"])
    check_normalization(normalization)
    index = FolderIndex(
        entries["kind"], dict(network), record, normalization, tuple(entries["groups"]), dict(run), dict(figures)
    )
    _ = index.groups  # which checks that the parts fit, and the groups them
    return index


class FolderField(Field):
    """A field in a folder: its groups are loaded when they are needed, and dropped again, see `GroupedBank`.

    Args:
        folder: the folder.
        index: its index.
    """

    network: GroupedBank

    def __init__(self, folder: AnyPath, index: FolderIndex) -> None:
        super(Field, self).__init__()  # a field builds its whole network; this one never does
        self.kind, self.record, self.spec = index.kind, index.record, index.network
        spacings = index.record.lattice.spacings
        self.network = GroupedBank(
            index.groups, index.network["out_dim"], spacings, lambda group: load_group(folder, index, group)
        )
        self.register_buffer("center", torch.tensor(index.normalization.center, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(index.normalization.scale, dtype=torch.float64))

    def get_extra_state(self) -> NoReturn:
        """Refuse to be stored as one field.

        Raises:
            ValueError: always.
        """
        raise ValueError("a field in a folder is stored already, group by group; copy the folder")


def find_missing(folder: AnyPath, index: FolderIndex) -> Iterator[int]:
    """Yield the groups whose files are not there, of which an index that is no fit's may name any number."""
    there = {entry.path for entry in list_folder(folder)}
    return (group for group in range(index.groups.count) if group_path(folder, group) not in there)


def load_group(folder: AnyPath, index: FolderIndex, group: int) -> Bank:
    """Load the members of a group.

    Raises:
        FieldFileError: its file is missing, damaged, or belongs to another fit.
    """
    path = group_path(folder, group)
    fitted = load_field_file(path, _REMEDY)
    loaded = fitted.field
    expected = index.kind, index.specification(group), index.record, index.normalization, index.key
    found = loaded.kind, loaded.spec, loaded.record, loaded.normalization, fitted.provenance.get("fit")
    if found != expected or not isinstance(loaded.network, Bank):
        raise FieldFileError(f"{path}: belongs to another fit than {INDEX} beside it; {_REMEDY}")
    return loaded.network


def load_folder(folder: AnyPath) -> FittedField:
    """Load a field from a folder that `fit_groups` wrote; see `load_field`.

    Raises:
        FieldFileError: it holds no whole field, or was altered.
    """
    index = read_index(folder)
    missing = next(find_missing(folder, index), None)
    if missing is not None:
        raise FieldFileError(
            f"{folder}: has no {group_path(folder, missing).name} of {index.groups.count:,} groups; resume the fit by"
            " the command that began it"
        )
    loaded = FolderField(folder, index)
    loaded.network.load(0, torch.device("cpu"))  # which tells at once whether the files are those of the index
    steps = index.run.get("steps", "")
    known = {"steps": int(steps)} if steps.isdecimal() else {}
    return FittedField(loaded, {"run": index.run, "figures": index.figures} | known)
