"""The folder of a batch: fields, records of finished fits, each written whole and once, and the table of all.

``batch.json`` marks the folder as one that a batch may write to. ``fields/NAME-KEY.safetensors`` or
``packs/TASK.safetensors`` hold the fields, and ``records/TASK.json`` the rows of fits that were finished together. A
record is written after its fields, so that whatever it names is there. ``starts/KEY.safetensors`` holds the hidden
layers of a shared start, see `add_shared_start`.
"""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..fields.file import save_field
from ..fields.fitted import FittedField
from ..fields.pack import TABLE, FieldPlace, save_pack
from ..signals.messages import escape_bytes, shorten
from ..storage import (
    AnyPath,
    RemotePath,
    StorageError,
    keep_out_others,
    list_folder,
    list_sizes,
    make_any_folder,
    measure_size,
    write_whole,
)
from .sources import FORMAT, MARKER, BatchError, is_batch_folder

FIRST_COLUMNS = ("path", "digest", "kind", "status")
LAST_COLUMNS = ("bytes", "seconds", "field", "error")
MOST_NAME_BYTES = 180
"""The most bytes of a fitted file's name in that of its field, of the 255 that file systems allow for a whole name."""
_UNFINISHED = {
    ".": r"\.table-\d+\.(csv|parquet)",
    "fields": r"\.[\w.-]+-[0-9a-f]{16}-\d+\.safetensors",
    "packs": r"\.[0-9a-f]{24}-\d+\.safetensors",
    "starts": r"\.[0-9a-f]{24}-\d+\.safetensors",
    "records": r"\.[0-9a-f]{24}-\d+\.json",
}
"""The names, by folders, under which files are written before they are whole, see `replacing`."""


@dataclass(frozen=True)
class Row:
    """What came of a file.

    Attributes:
        path: the file.
        digest: SHA-256 digest of its contents, "" if it cannot be read.
        kind: name of its kind, "" if it has none.
        key: the key of the fit, see `Job.compute_key`, "" if there is none.
        status: "fitted"; "poor", if the fit has failed or needs more steps, see `judge`; or "failed", without a field.
        metrics: the metrics of the fit.
        bytes: bytes of the field's weights.
        seconds: time that the fit has taken, a share of the time of those that were fitted together.
        field: where the field lies in the folder, see `FieldPlace.parse`.
        size: bytes of the file that the field lies in.
        error: why there is no field, or what is wrong with the fit.
    """

    path: str
    digest: str = ""
    kind: str = ""
    key: str = ""
    status: str = "failed"
    metrics: Mapping[str, float] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    field: str = ""
    size: int = 0
    error: str = ""

    def place(self, folder: AnyPath) -> FieldPlace:
        """Return where the field lies, in a folder of a batch, as the table names it."""
        return FieldPlace.parse(self.field, folder, self.kind, escape_bytes(self.path))


class Store:
    """The folder of a batch.

    Args:
        folder: the folder.
        pack: whether fields that are written together are written into one file.
    """

    def __init__(self, folder: AnyPath, pack: bool) -> None:
        self.folder, self.pack = folder, pack
        self.damaged: list[AnyPath] = []
        """The records that cannot be read, by which nothing is known to be finished."""

    @contextmanager
    def open(self) -> Iterator[dict[str, Row]]:
        """Make the folder, remove what a killed run has left unfinished, and yield the finished rows by their keys.

        Until the block ends no other run can open the folder.

        Raises:
            BatchError: the folder is a file, or holds something else.
            StorageError: another run writes into it.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise BatchError(f"{self.folder}: is a file; a batch is written into a folder")
        if not is_batch_folder(self.folder):
            self._make()
        with self._keep_out_others():
            if isinstance(self.folder, Path):
                _clean(self.folder)
            sizes = self._list_sizes()
            rows = [row for row in self._read_records() if sizes.get(row.field.partition("#")[0]) == row.size]
            yield {row.key: row for row in rows}

    def _list_sizes(self) -> dict[str, int]:
        """Return the bytes of the files that hold fields by their paths in the folder."""
        within = [(name, list_sizes(self.folder / name)) for name in ("fields", "packs")]
        return {f"{name}/{file}": size for name, files in within for file, size in files.items()}

    def _make(self) -> None:
        """Make the folder, in which a killed run may have left an empty marker.

        Raises:
            BatchError: the folder holds something else.
        """
        marker = self.folder / MARKER
        make_any_folder(self.folder)
        if any(path != marker or measure_size(path) != 0 for path, _ in list_folder(self.folder)):
            raise BatchError(f"{self.folder}: holds other files; name a new folder, or one that a batch was written to")

    @contextmanager
    def _keep_out_others(self) -> Iterator[None]:
        """Write the marker if there is none, and keep other runs out until the block ends, where the storage has locks.

        Raises:
            StorageError: another run writes into the folder.
        """
        marker, content = self.folder / MARKER, json.dumps({"format": FORMAT})
        if isinstance(marker, RemotePath):
            if not marker.exists():
                write_whole(marker, content.encode())
            yield
            return
        with keep_out_others(marker) as file:
            if os.fstat(file.fileno()).st_size == 0:
                file.write(content)
                file.flush()
            yield

    def _read_records(self) -> Iterable[Row]:
        """Yield the rows of all records that are whole."""
        self.damaged = []
        for path, _ in list_folder(self.folder / "records"):
            if path.name.startswith(".") or path.suffix != ".json":
                continue
            try:
                yield from _read_record(path)
            except StorageError:  # what cannot be reached now is not damaged
                raise
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                self.damaged.append(path)

    def write(self, name: str, rows: Sequence[Row], fields: Sequence[FittedField]) -> list[Row]:
        """Write fields, then their record, each whole; return the rows with their fields' places.

        Args:
            name: name of the record, which no other record has unless it is of the same fits.
            rows: the rows, one for each field.
            fields: the fields.

        Raises:
            OSError: the folder cannot be written to.
        """
        if self.pack:
            path = f"packs/{name}.safetensors"
            size = save_pack(fields, self.folder / path)
            placed = [replace(row, field=f"{path}#{index}", size=size) for index, row in enumerate(rows)]
        else:
            named = [replace(row, field=_name_field(row)) for row in rows]
            saved = zip(named, fields, strict=True)
            placed = [replace(row, size=save_field(fitted, self.folder / row.field)) for row, fitted in saved]
        record = {"format": FORMAT, "rows": [asdict(row) for row in placed]}
        write_whole(self.folder / "records" / f"{name}.json", json.dumps(record).encode())
        return placed

    def write_table(self, rows: Sequence[Row], tell: Callable[[str], None] = lambda line: None) -> list[AnyPath]:
        """Write the table as .csv, and as .parquet if pyarrow is installed; return the files.

        Behind the rows stand those of the table that was there of other files whose fields are there still.

        Args:
            rows: the rows of this run.
            tell: function that is called with a line that says so if the table that was there cannot be read.

        Raises:
            OSError: the folder cannot be written to.
        """
        try:
            rows = [*rows, *self._read_others(rows)]
        except StorageError:
            raise
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            tell(f"warning: {self.folder / TABLE}: cannot be read ({shorten(error)}); it is written anew, of this run")
        metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
        columns = [*FIRST_COLUMNS, *metrics, *LAST_COLUMNS]
        escaped = [replace(row, path=escape_bytes(row.path), error=escape_bytes(row.error)) for row in rows]
        lines = [{**asdict(row), **row.metrics} for row in escaped]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        tables = [self.folder / TABLE]
        write_whole(tables[0], text.getvalue().encode())
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            return tables
        buffer, values = io.BytesIO(), {name: [line.get(name) for line in lines] for name in columns}
        parquet.write_table(pyarrow.table(values, _schema(metrics)), buffer)
        tables.append(self.folder / "table.parquet")
        write_whole(tables[1], buffer.getvalue())
        return tables

    def _read_others(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows of the table that is there, if there is one, whose files and fields other rows do not have.

        Raises:
            ValueError: it is damaged.
            KeyError, TypeError, csv.Error: likewise.
            OSError: it cannot be read.
        """
        if not (self.folder / TABLE).is_file():
            return []
        paths, listed = {escape_bytes(row.path) for row in rows}, {row.field for row in rows}
        there = self._list_sizes()
        with (self.folder / TABLE).open(newline="", encoding="utf-8") as file:
            return [
                _read_row(line)
                for line in csv.DictReader(file, strict=True)
                if line["path"] not in paths
                and line["field"] not in listed
                and line["field"].partition("#")[0] in there
            ]


def _read_row(line: Mapping[str, str]) -> Row:
    """Return the row that a line of a table was written from, without the key and the size of the field's file.

    Raises:
        ValueError: a number is none.
        KeyError, TypeError: the line has other columns.
    """
    path, digest, kind, status, field, error = (line[name] for name in (*FIRST_COLUMNS, "field", "error"))
    names = [name for name, text in line.items() if name not in (*FIRST_COLUMNS, *LAST_COLUMNS) and text]
    metrics = {name: float(line[name]) for name in names}
    return Row(path, digest, kind, "", status, metrics, int(line["bytes"]), float(line["seconds"]), field, error=error)


def _clean(folder: Path) -> None:
    """Make the folders within, and remove what a killed run has left unfinished."""
    for name, pattern in _UNFINISHED.items():
        (folder / name).mkdir(exist_ok=True)
        for path in (folder / name).glob(".*"):
            if re.fullmatch(pattern, path.name) and path.is_file():
                path.unlink(missing_ok=True)


def _read_record(path: AnyPath) -> list[Row]:
    """Return the rows of a record.

    Raises:
        ValueError: it is damaged.
        KeyError, TypeError: likewise.
    """
    record, blank = json.loads(path.read_text(encoding="utf-8")), asdict(Row(""))
    rows = [Row(**row) for row in record["rows"]]
    if record["format"] != FORMAT:
        raise ValueError("another format")
    for row in rows:
        if any(type(value) is not type(blank[name]) for name, value in asdict(row).items()) or not row.field:
            raise ValueError("a row of other types")
        FieldPlace.parse(row.field, path)
    return rows


def _name_field(row: Row) -> str:
    """Return the name of a field's file: that of the fitted file, and the beginning of the key."""
    stem = re.sub(r"[^\w.-]", "_", Path(row.path.removeprefix("sample:")).name)[:80]
    cut = stem.encode()[:MOST_NAME_BYTES].decode(errors="ignore")
    return f"fields/{cut}-{row.key[:16]}.safetensors"


def _schema(metrics: Sequence[str]) -> Any:
    """Return the types of the columns of a table in .parquet."""
    import pyarrow

    types = dict.fromkeys((*FIRST_COLUMNS, "field", "error"), pyarrow.string())
    types |= {**dict.fromkeys((*metrics, "seconds"), pyarrow.float64()), "bytes": pyarrow.int64()}
    return pyarrow.schema([(name, types[name]) for name in (*FIRST_COLUMNS, *metrics, *LAST_COLUMNS)])
