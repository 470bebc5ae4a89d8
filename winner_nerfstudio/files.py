"""Writing of files that are either complete or not written at all, and the parts of their names."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces `path` when the block ends and is removed if the block fails.

    The temporary file is in the folder of `path`, which is made if it is missing, and has its suffix.

    Raises:
        OSError: the folder cannot be made or written to, or `path` is a folder itself; the error names `path`.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file", str(path))
    make_folder(path)
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if str(error.filename) == str(temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make the folder that a file is to lie in, if it is missing.

    Raises:
        OSError: it cannot be made; where a file stands in its place, the error names both.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(each for each in path.parents if each.exists())
        raise NotADirectoryError(errno.ENOTDIR, f"{file} is a file and no folder", str(path)) from None


def suffix_of(path: Path) -> str:
    """Return a path's suffix in small letters; ".nii.gz" is one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def stem_of(source: str | Path) -> str:
    """Return the name of a file or of a built-in sample, without folder and suffix."""
    path = Path(str(source).removeprefix("sample:"))
    return path.name[: len(path.name) - len(suffix_of(path))]
