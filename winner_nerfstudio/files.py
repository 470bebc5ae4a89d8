"""Writing of files that are either complete or not written at all, and the parts of their names."""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .signals.messages import MessageError

_FULL = errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)
"""Errors of writing, which do not name the file."""
LONGEST_NAME = 255
"""Bytes of the longest name of a file that common file systems allow."""


def as_url(path: str | Path) -> str | None:
    """Return the URL that a path was meant as, also if it has lost a slash, as paths of URLs do; None for a path."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", str(path))
    return None if match is None or Path(path).exists() else f"{match[1]}://{match[2]}"


def strip_scheme(text: str) -> str:
    """Return the path of a URL of this machine, ``file:///a%20b`` or ``file://localhost/a``; any other text as it is.

    Raises:
        MessageError: the URL names another machine, or no path.
    """
    match = re.match(r"(?:file|local)://([^/]*)(.*)", text, re.IGNORECASE | re.DOTALL)
    if match is None:
        return text
    if match[1].lower() not in ("", "localhost") or not match[2]:
        raise MessageError(f"{text}: names no file of this machine; write file:///PATH, or the path alone")
    from urllib.request import url2pathname

    return url2pathname(match[2])


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces `path` when the block ends and is removed if the block fails.

    The temporary file is in the folder of `path`, which is made if it is missing, and has its suffix. Of a link, what
    it leads to is replaced. A file that is replaced leaves its permissions to the new one.

    Raises:
        OSError: the folder cannot be made or written to, or `path` is a folder itself; the error names `path`.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; name a file", str(path))
    place = follow_link(path)
    make_folder(place.parent, path)
    temporary = place.with_name(name_temporary(path).name)
    with naming(path, temporary):
        try:
            yield temporary
            with suppress(OSError):  # a new file has none to leave, and some file systems keep none
                shutil.copymode(place, temporary)
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)


def name_temporary(path: Path) -> Path:
    """Return the path of what is written in place of a file or folder until it is whole: beside it, hidden."""
    end = f"-{os.getpid()}{path.suffix}"
    name = f".{path.stem}{end}"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.stem)).hexdigest()[:32]}{end}"
    return path.with_name(name)


def follow_link(path: Path) -> Path:
    """Return what a link leads to, which may be missing; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Let errors name a file or folder where they name the temporary one that is written in its place, or none."""
    try:
        yield
    except OSError as error:
        is_nameless = error.filename is None and error.errno in _FULL
        if is_nameless or str(error.filename).startswith(str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


def make_folder(folder: Path, content: Path | None = None) -> None:
    """Make a folder, if it is missing.

    Args:
        folder: the folder.
        content: the file that is to lie in it, if it is for one; an error names it in place of the folder.

    Raises:
        OSError: it cannot be made; where a file stands in its place, the error names that file, too.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(errno.ENOTDIR, find_obstacle(folder), str(content or folder)) from None


def find_obstacle(folder: Path) -> str | None:
    """Return in words what stands in the way of a folder, which may be missing yet, or None if nothing can be seen."""
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not existing.exists():
        return f"{existing} is a link that leads nowhere; remove it, or name another folder"
    if not existing.is_dir():
        return f"{existing} is a file and no folder"
    return None if os.access(existing, os.W_OK) else f"{existing} cannot be written to; name another folder"


def find_problem(output: Path) -> str | None:
    """Return in words why a file cannot be written, or None if it can as far as one can see."""
    if output.is_dir():
        return "is a folder already; choose another name"
    if output.exists() and not os.access(output, os.W_OK):
        return "cannot be written to; choose another name"
    return find_obstacle(follow_link(output).absolute().parent)


def suffix_of(path: Path) -> str:
    """Return a path's suffix in small letters; ".nii.gz" is one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def stem_of(source: str | Path) -> str:
    """Return the name of a file or of a built-in sample, without folder and suffix."""
    path = Path(str(source).removeprefix("sample:"))
    return path.name[: len(path.name) - len(suffix_of(path))]
