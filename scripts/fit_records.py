"""What the scripts that compare fits share: limits of the sizes of signals, and records of fits that were made."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def find_record(path: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record that has the key's values, from a file with a line of JSON for each; None if none has."""
    records = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return next((each for each in records if all(each.get(name) == value for name, value in key.items())), None)


def add_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record as the last line of a file."""
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
