"""The files of a batch: found in folders, by patterns and in lists, and known again by their contents."""

import csv
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from glob import has_magic
from pathlib import Path

from ..files import suffix_of
from ..registry import all_kinds
from ..signals.companions import find_companions
from ..signals.errors import SPECIAL, is_special
from ..signals.messages import MessageError, escape_bytes
from ..storage import AnyPath, RemotePath, find_matches, list_folder, local_copy, locate

FORMAT = "winner-nerfstudio batch 1"
MARKER = "batch.json"
"""The file by which the folder of a batch is known; it is written before all others."""
BLOCK = 1 << 20
"""The bytes of a file that are read at a time."""

_LIST = "save the list as UTF-8, with commas and with a column path, or with a file at the beginning of each row"


class BatchError(MessageError):
    """A batch that cannot be fitted: the message is one line that says what is wrong and what would be right."""


def is_batch_folder(folder: AnyPath) -> bool:
    """Return whether a folder is one that a batch was written to."""
    try:
        return bool(json.loads((folder / MARKER).read_text(encoding="utf-8")) == {"format": FORMAT})
    except (OSError, ValueError, RecursionError):
        return False


def find_files(
    data: str | Path | Sequence[str | Path], output: AnyPath, tell: Callable[[str], None] = lambda line: None
) -> list[AnyPath]:
    """Return the files that are meant, each once, in a fixed order.

    Args:
        data: a folder, of which all files are meant, also those in folders within; a pattern such as ``photos/*.png``,
            in which ``**`` stands for folders within; a list of files in .csv; a file or ``sample:NAME``; or several of
            these. Each may be a URL. Names that begin with a dot are left out of folders, and so are folders of other
            batches.
        output: the folder of the results, whose files are not meant.
        tell: function that is called with a line that says which folders were left out, if any were.

    Raises:
        BatchError: there is no such file or folder, or no file in it.
    """
    several = list(data) if isinstance(data, Iterable) and not isinstance(data, str) else [data]
    own, skipped = _resolve(output), list[AnyPath]()
    found: dict[AnyPath, None] = {}
    for source in several:
        if not isinstance(source, (str, Path, RemotePath)):
            raise BatchError(f"a {type(source).__name__} names no file; fit takes one signal of any type, this files")
        if not str(source):
            raise BatchError("an empty text names no file; name a folder, a pattern, a list in .csv, or files")
        every = list(_expand(str(source), skipped))
        files = [path for path in every if own not in _resolve(path).parents]
        if every and not files:
            raise BatchError(
                f"{source}: its files lie in {output}, the folder of the results; name another one for them"
            )
        if not files:
            raise BatchError(f"{source}: holds no files; name a folder, a pattern, a list in .csv, or files")
        found |= dict.fromkeys(files)
    if not found:
        raise BatchError("no files are named; name a folder, a pattern, a list in .csv, or files")
    if others := [str(path) for path in dict.fromkeys(skipped) if _resolve(path) != own]:
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        tell(f"left out, as folders of other batches: {', '.join(others[:3])}{more}")
    return list(found)


def _expand(source: str, skipped: list[AnyPath]) -> Iterator[AnyPath]:
    """Yield the files that a source means, and add to `skipped` the folders of batches in it."""
    path = locate(source)
    if source.startswith("sample:"):
        yield path
    elif is_batch_folder(path):
        raise BatchError(f"{source}: is the folder of a batch, whose files are results; name files to fit")
    elif path.is_dir() and not _names_dataset(path):
        yield from _walk(path, skipped, set())
    elif path.suffix.lower() == ".csv" and path.is_file() and not _holds_points(path):
        yield from _read_list(path)
    elif path.exists():
        yield path
    elif has_magic(source):
        yield from (found for found, is_dir in find_matches(source) if not is_dir or _names_dataset(found))
    else:
        raise BatchError(f"{source}: no such file or folder; name a folder, a pattern, a list in .csv, or files")


def _names_dataset(folder: AnyPath) -> bool:
    """Return whether a folder is read as if it were a file, as its name says, such as .zarr."""
    return folder.name.lower().endswith(tuple(suffix for kind in all_kinds() for suffix in kind.suffixes))


def _resolve(path: AnyPath) -> AnyPath:
    """Return a whole path without links, also of a link that leads to itself, which `Path.resolve` refuses."""
    return path.resolve() if isinstance(path, RemotePath) else Path(os.path.realpath(path))


def _walk(folder: AnyPath, skipped: list[AnyPath], walked: set[AnyPath]) -> Iterator[AnyPath]:
    """Yield all files in a folder and in those within, sorted by name, without hidden ones and those of batches.

    A folder that several links lead to is walked once, for one of them may lead back to a folder that it lies in.
    """
    if (resolved := _resolve(folder)) in walked:
        return
    walked.add(resolved)
    for path, is_dir in list_folder(folder):
        if path.name.startswith("."):
            continue
        if not is_dir or _names_dataset(path):
            yield path
        elif is_batch_folder(path):
            skipped.append(path)
        else:
            yield from _walk(path, skipped, walked)


def _holds_points(path: AnyPath) -> bool:
    """Return whether the first row of a .csv file is all numbers, so that it holds points and is no list of files."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    try:
        return bool([float(cell) for cell in re.split(r"[,;\s]+", first.strip()) if cell])
    except ValueError:
        return False


def _read_list(path: AnyPath) -> Iterator[AnyPath]:
    """Yield the files that a list names in its column ``path``, or else in its first column, relative to the list.

    The heading may be in capitals, too.

    Raises:
        BatchError: the list cannot be read, has neither a column ``path`` nor a file in its first row, or a row names
            no file, a folder, or in another encoding than that of the files' names a file that is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise BatchError(f"{path}: cannot be read as a list of files ({error}); {_LIST}") from None
    rows, column = [(line, row) for line, row in rows if any(row)], 0
    if rows and "path" in (headings := [cell.lower() for cell in rows[0][1]]):
        column, _ = headings.index("path"), rows.pop(0)
    elif rows and not (rows[0][1][0].startswith("sample:") or _locate_beside(path, rows[0][1][0]).exists()):
        raise BatchError(f"{path}: has no column path, and its first row begins with the name of no file; {_LIST}")
    for line, row in rows:
        name = row[column] if column < len(row) else ""
        if not name:
            raise BatchError(f"{path}: line {line} has no path; name a file, or remove the line")
        listed = _locate_beside(path, name)
        if escape_bytes(name) != name and not listed.exists():
            raise BatchError(f"{path}: line {line}: {listed} is no file; save the list as UTF-8")
        if isinstance(listed, Path) and listed.is_dir() and not _names_dataset(listed):
            raise BatchError(f"{path}: line {line}: {listed} is a folder; a list names files")
        yield listed


def _locate_beside(path: AnyPath, name: str) -> AnyPath:
    """Return the file that a list names: a sample, a URL, also of this machine, or a path relative to the list."""
    located = locate(name)
    is_whole = name.startswith("sample:") or isinstance(located, RemotePath) or located.is_absolute()
    return located if is_whole else path.parent / name


def identify_file(path: AnyPath) -> list[str]:
    """Return what a file is known by: the digest of its contents, its suffix, and the digests of files that it names.

    The suffix says how contents are read. Behind a URL a file is read without those that it names.

    Raises:
        OSError: as `compute_file_digest`.
    """
    own = [compute_file_digest(path), suffix_of(Path(path.name))]
    companions = find_companions(path) if isinstance(path, Path) else []
    return own + ["-" if each is None else compute_file_digest(each) for each in companions]


def compute_file_digest(path: AnyPath) -> str:
    """Return the SHA-256 digest of a file's contents, of a folder's that of the names and contents of its files.

    Raises:
        OSError: the file cannot be read, or is a pipe, a socket or a device.
    """
    digest = hashlib.sha256()
    if str(path).startswith("sample:"):
        digest.update(os.fsencode(str(path)))
    elif path.is_dir():
        with local_copy(path) as copy:
            for each in sorted(each for each in copy.rglob("*") if each.is_file()):
                digest.update(os.fsencode(f"{each.relative_to(copy)} {compute_file_digest(each)}\n"))
    elif isinstance(path, Path) and is_special(path):
        raise OSError(errno.EINVAL, SPECIAL, str(path))
    else:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
