"""The choice of a picture's reader: by what the file begins with, because suffixes are often wrong."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from ...conversions import describe_conversion
from ...errors import SignalError, is_out_of_memory
from ...muting import mute_libraries, mute_logger
from ...picture_suffixes import RAW
from .exr import read_exr
from .heif import read_heif
from .jpeg2000 import read_jpeg2000
from .netpbm import read_netpbm
from .picture import Picture
from .plain import read_avif, read_plain
from .png import read_png
from .radiance import read_radiance
from .raw import read_raw
from .tiff import read_tiff

Reader = Callable[[Path, int], Picture]
TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
RAWS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")
HEIFS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

REFUSED = {
    ".fits": (b"SIMPLE  =",),
    ".dds": (b"DDS ",),
    ".jxl": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    ".pdf": (b"%PDF", b"%!PS"),
    ".psb": (b"8BPS\0\2",),
    ".img": (b"\x5c\1\0\0", b"\0\0\1\x5c", b"\x1c\2\0\0", b"\0\0\2\x1c"),  # lengths of NIfTI's headers
}
"""What files begin with that are known and not read, by the suffix that they should have."""


def read_picture(path: Path, max_pixels: int) -> Picture:
    """Read a picture file with all its bands in their full depth.

    Raises:
        SignalError: the file is too large, cannot be read, or would lose something.
    """
    with path.open("rb") as file:
        head = file.read(32)
    reader = choose_reader(path, head)
    try:
        with _silence():
            return reader(path, max_pixels)
    except SignalError:
        raise
    except Exception as error:  # each decoder raises its own exception types
        if is_out_of_memory(error):
            raise SignalError(f"{path}: does not fit into the memory") from error
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SignalError(f"{path}: cannot be read as a picture ({reason}); is the file whole?") from error


def choose_reader(path: Path, head: bytes) -> Reader:
    """Return the reader of a file.

    Args:
        path: the file.
        head: its first 32 bytes.

    Raises:
        SignalError: it is of a known format that nothing here reads.
    """
    if path.suffix.lower() in RAW or head.startswith(RAWS) or head[8:10] == b"CR" or head[4:12] == b"ftypcrx ":
        return read_raw
    if head[4:8] == b"ftyp":
        brands = {head[start : start + 4] for start in (8, 16, 20, 24, 28)}
        if brands & {b"avif", b"avis"}:
            return read_avif
        if brands & set(HEIFS):
            return read_heif
    suffix = next((suffix for suffix, magics in REFUSED.items() if head.startswith(magics)), "")
    if (conversion := describe_conversion(suffix)) is not None:
        raise SignalError(f"{path}: {conversion}")
    readers: dict[tuple[bytes, ...], Reader] = {
        TIFFS: read_tiff,
        (b"\x89PNG",): read_png,
        (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "): read_jpeg2000,
        (b"\x76\x2f\x31\x01",): read_exr,
        (b"#?",): read_radiance,
        tuple(b"P" + kind for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"f", b"F")): read_netpbm,
    }
    return next((reader for magics, reader in readers.items() if head.startswith(magics)), read_plain)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the decoders' own warnings from the user: what matters of them is an error or a note of ours."""
    with warnings.catch_warnings(), mute_libraries(), mute_logger("tifffile"):
        warnings.simplefilter("ignore")
        yield
