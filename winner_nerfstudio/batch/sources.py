"""The files of a batch: found in folders, by patterns and in lists, and known again by their contents."""

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from ..registry import all_kinds
from ..signals.messages import MessageError

BLOCK = 1 << 20
"""The bytes of a file that are read at a time."""


class BatchError(MessageError):
    """A batch that cannot be fitted: the message is one line that says what is wrong and what would be right."""


def find_files(data: str | Path | Sequence[str | Path], output: Path) -> list[Path]:
    """Return the files that are meant, each once, in a fixed order.

    Args:
        data: a folder, of which all files are meant, also those in folders within; a pattern such as ``photos/*.png``,
            in which ``**`` stands for folders within; a list of files in .csv; a file or ``sample:NAME``; or several of
            these. Names that begin with a dot are left out of folders.
        output: the folder of the results, whose files are not meant.

    Raises:
        BatchError: there is no such file or folder, or no file in it.
    """
    several = [data] if isinstance(data, (str, Path)) else list(data)
    own = output.resolve()
    found: dict[Path, None] = {}
    for source in several:
        files = [path for path in _expand(str(source)) if own not in path.resolve().parents]
        if not files:
            raise BatchError(f"{source}: holds no files; name a folder, a pattern, a list in .csv, or files")
        found |= dict.fromkeys(files)
    if not found:
        raise BatchError("no files are named; name a folder, a pattern, a list in .csv, or files")
    return list(found)


def _expand(source: str) -> Iterator[Path]:
    """Yield the files that a source means."""
    path = Path(source)
    if source.startswith("sample:"):
        yield path
    elif path.is_dir() and not _is_dataset(path):
        yield from _walk(path)
    elif path.suffix.lower() == ".csv" and path.is_file():
        yield from _read_list(path)
    elif path.exists():
        yield path
    elif has_magic(source):
        yield from sorted(
            Path(name) for name in glob(source, recursive=True) if Path(name).is_file() or _is_dataset(Path(name))
        )
    else:
        raise BatchError(f"{source}: no such file or folder; name a folder, a pattern, a list in .csv, or files")


def _is_dataset(path: Path) -> bool:
    """Return whether a folder is read as if it were a file, such as .zarr."""
    return path.is_dir() and path.name.lower().endswith(
        tuple(suffix for kind in all_kinds() for suffix in kind.suffixes)
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all files in a folder and in those within, sorted by name, without hidden ones."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not _is_dataset(path):
            yield from _walk(path)
        else:
            yield path


def _read_list(path: Path) -> Iterator[Path]:
    """Yield the files that a list names in its column ``path``, or else in its first column, relative to the list.

    Raises:
        BatchError: the list cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row and row[0].strip()]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BatchError(f"{path}: cannot be read as a list of files ({error}); it needs a column path") from None
    column = rows[0].index("path") if rows and "path" in rows[0] else None
    for row in rows if column is None else rows[1:]:
        if len(row) > (column or 0):
            name = row[column or 0].strip()
            yield Path(name) if name.startswith("sample:") else path.parent / name


def compute_file_digest(path: Path) -> str:
    """Return the SHA-256 digest of a file's contents, of a folder's that of the names and contents of its files.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    if str(path).startswith("sample:"):
        digest.update(str(path).encode())
    elif path.is_dir():
        for each in sorted(each for each in path.rglob("*") if each.is_file()):
            digest.update(f"{each.relative_to(path)} {compute_file_digest(each)}\n".encode())
    else:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
