"""What the scripts that compare fits share: limits of the sizes of signals, and records of fits that were made."""

import json
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from winner_nerfstudio.experiments.runs import PROGRAM, hash_data
from winner_nerfstudio.signals.signal import Signal
from winner_nerfstudio.training.plan import Plan


@dataclass(kw_only=True)
class Limits:
    """Sizes to which signals are reduced."""

    max_side: int | None = None
    """Pixels of the longer side to which larger pictures are reduced."""
    max_samples: int | None = None
    """Samples after which longer sounds are cut off."""

    @property
    def limits(self) -> dict[str, int | None]:
        """The limits by the names that `fit` has for them."""
        return {"max_side": self.max_side, "max_samples": self.max_samples}

    @property
    def given_limits(self) -> dict[str, int]:
        """The limits that are given."""
        return {name: value for name, value in self.limits.items() if value is not None}


def identify_fit(file: str, signal: Signal, plan: Plan) -> dict[str, Any]:
    """Return what tells a fit from others: the file's name, digests of the data and of all settings, the program."""
    options = plan.options
    settings = [asdict(part) for part in (options.data, options.network, options.batches)]
    text = json.dumps([settings, plan.steps, plan.learning_rate, plan.optimizer], sort_keys=True, default=str)
    return {
        "file": Path(file).name,
        "data": hash_data(signal, file),
        "settings": blake2b(text.encode(), digest_size=8).hexdigest(),
        "seed": plan.seed,
        "program": PROGRAM,
    }


def find_record(path: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record that has the key's values, from a file with a line of JSON for each; None if none has.

    A line that a killed script has left half-written is none.
    """
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and all(record.get(name) == value for name, value in key.items()):
            return record
    return None


def add_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record as the last line of a file, also behind a line that a killed script has left half-written."""
    is_whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a") as file:
        file.write("\n" * (not is_whole) + json.dumps(record) + "\n")
