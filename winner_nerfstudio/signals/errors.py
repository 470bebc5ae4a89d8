"""The error for a target that cannot be used, what is no file, and which errors mean too little memory."""

from pathlib import Path

from ..files import as_url
from .messages import MessageError


class SignalError(MessageError):
    """A target that cannot be used: the message is one line that names the file, the fault and the remedy."""


SPECIAL = "is no regular file but a pipe, a socket or a device; write what it holds into a file"
IS_URL = "is a URL, which is not read; download the file first"
EMPTY = "is empty; is the file whole?"


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, of which reading may never end."""
    return not path.is_file() and not path.is_dir() and path.exists()


def remedy_for_folder(folder: Path, remedy: str) -> str:
    """Return what to give in place of a folder: for one within a folder .zarr that with the name of what lies in it."""
    store = next((each for each in folder.parents if each.suffix.lower() == ".zarr"), None)
    return remedy if store is None else f"give {store} with --dataset {folder.relative_to(store).as_posix()}"


def check_file(path: Path, wanted: str, remedy: str) -> None:
    """Check that a path is that of a regular file which is not empty.

    Args:
        path: the path.
        wanted: what it should be, such as "a sound".
        remedy: what to give in place of a folder, or of a file that is not there.

    Raises:
        SignalError: it is not.
    """
    if url := as_url(path):
        raise SignalError(f"{url}: {IS_URL}")
    if is_special(path):
        raise SignalError(f"{path}: {SPECIAL}")
    if path.is_dir():
        raise SignalError(f"{path}: is a folder, not {wanted}; {remedy_for_folder(path, remedy)}")
    if not path.is_file():
        raise SignalError(f"{path}: no such file; {remedy}")
    if path.stat().st_size == 0:
        raise SignalError(f"{path}: {EMPTY}")
    with path.open("rb") as file:
        head = file.read(64).lower()
    if head.startswith(b"version https://git-lfs"):
        raise SignalError(f"{path}: is a pointer of Git LFS, not the file that it stands for; run git lfs pull")
    if head.lstrip().startswith((b"<!doctype html", b"<html")):
        raise SignalError(f"{path}: is a web page, not {wanted}; download the file that it links to")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: in Python, numpy, CUDA, or, as a RuntimeError, in torch on the CPU."""
    has_memory_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return has_memory_type or "can't allocate memory" in str(error)
