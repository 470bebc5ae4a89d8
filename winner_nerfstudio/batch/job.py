"""What a batch asks for: the options of each kind of file, and the keys by which finished fits are known again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..registry import all_kinds, kind_named
from ..storage import AnyPath
from ..training.plan import Course
from ..training.prepare import OTHERS, FitOptions, option_names, sort_options
from ..training.stack import SharedStart
from ..version import __version__
from .sources import BatchError, identify_file


@dataclass(frozen=True)
class JobStart:
    """The start that small signals of a kind share.

    Attributes:
        kind: name of the kind.
        layers: the hidden layers.
        digest: the digest of the files that they were fitted to, in order, and of all that decides how.
    """

    kind: str
    layers: SharedStart
    digest: str


@dataclass(frozen=True)
class Job:
    """What is done with every file of a batch.

    Attributes:
        folder: the folder of the results, which may lie behind a URL.
        options: the options of a fit by the name of the kind.
        course: the steps, the learning rate, the optimiser and the seed.
        device: name of the device; None for CUDA where it is available, else the CPU.
        measure: whether the metrics of each fit are computed.
        pack: whether the fields of a task are written into one file.
        start: the start that small signals share; None if each has its own.
    """

    folder: AnyPath
    options: Mapping[str, FitOptions]
    course: Course = field(default_factory=Course)
    device: str | None = None
    measure: bool = True
    pack: bool = False
    start: JobStart | None = None

    def find_start(self, kind: str) -> SharedStart | None:
        """Return the hidden layers that small signals of a kind begin with, or None."""
        return self.start.layers if self.start is not None and self.start.kind == kind else None

    def compute_key(self, kind: str, identity: Sequence[str]) -> str:
        """Return the key of a fit, which is that of another fit only if that would give the same field.

        Args:
            kind: name of the file's kind.
            identity: what the file is known by, see `identify_file`.
        """
        return hashlib.sha256(f"{self._describe_options(kind)} {' '.join(identity)}".encode()).hexdigest()

    def _describe_options(self, kind: str) -> str:
        """Return as text all that decides what becomes of a file's contents, besides the contents."""
        options = self.options[kind]
        entries: dict[str, Any] = {
            "program": __version__,
            "kind": kind,
            "course": asdict(self.course),
            "measure": self.measure,
            "start": self.start.digest if self.start is not None and self.start.kind == kind else None,
            **{name: asdict(getattr(options, name)) for name in ("data", "network", "batches")},
        }
        paths = [value for value in entries["data"].values() if isinstance(value, Path)]
        entries["files"] = [identify_file(path) for path in paths if path.is_file() or path.is_dir()]
        return json.dumps(entries, sort_keys=True, default=lambda value: getattr(value, "tolist", value.__str__)())


def sort_options_by_kind(kinds: list[str], options: dict[str, Any]) -> dict[str, FitOptions]:
    """Return the options of a fit of each kind; an option is for all kinds that have it.

    Args:
        kinds: names of the kinds of the files; where there are none, an option may be one of any kind.
        options: values by the options' names, as of `fit`.

    Raises:
        ValueError: an option is one of no kind, or its value cannot be used; the message is one line.
    """
    possible = kinds or [kind.name for kind in all_kinds()]
    known = {kind: {name for names in option_names(kind_named(kind)).values() for name in names} for kind in possible}
    every = sorted(set().union(*known.values()))
    for name in options:
        if name not in every:
            close = get_close_matches(name, [*every, *OTHERS], 1)
            hint = f"; is {close[0]} meant?" if close else ""
            raise BatchError(f"{name} is no option for a fit of {' or '.join(map(repr, possible))}{hint}")
    return {
        kind: sort_options(kind_named(kind), {name: value for name, value in options.items() if name in known[kind]})
        for kind in kinds
    }
