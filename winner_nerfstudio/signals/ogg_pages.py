"""The last page of an Ogg file, whose position is the length of its sound (RFC 3533; RFC 7845, section 4)."""

import struct
from pathlib import Path

LONGEST_PAGE = 27 + 255 + 255 * 255
"""Bytes of the longest page."""
POSITION, CHECK_SUM = 6, 22
"""Where these two stand in a page."""


def shorten(path: Path, samples: int) -> None:
    """Take samples off the end of the only sound of an Ogg file, in the units of its last page's position."""
    with path.open("r+b") as file:
        file.seek(max(path.stat().st_size - LONGEST_PAGE, 0))
        data = file.read()
        page = bytearray(data[data.rfind(b"OggS\0") :])
        (position,) = struct.unpack_from("<q", page, POSITION)
        struct.pack_into("<q", page, POSITION, position - samples)
        struct.pack_into("<I", page, CHECK_SUM, 0)
        struct.pack_into("<I", page, CHECK_SUM, _sum_up(page))
        file.seek(-len(page), 2)
        file.write(page)


def _sum_up(page: bytearray) -> int:
    """Return the check sum of a page that has 0 in its place."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
    return value


def _divide(byte: int) -> int:
    """Return the rest of a byte, as a polynomial, by that of the check sum."""
    value = byte << 24
    for _ in range(8):
        value = value << 1 ^ (0x104C11DB7 if value >> 31 else 0)
    return value


_TABLE = [_divide(byte) for byte in range(256)]
