"""The last frame of a .flac file, which says how many samples there are, because the decoder believes the header.

What lies behind the header's length would never be decoded. The format is that of RFC 9639.
"""

import struct
from dataclasses import dataclass

TAIL = 1 << 17
"""Bytes at a file's end that are searched for its last frame: the longest one of 8 channels of 24 bits, about."""
LAST = 16
"""Places in them that look like a frame's beginning and are tried, from the last on."""
_BLOCKS = {1: 192} | {code: 576 << code - 2 for code in range(2, 6)} | {code: 256 << code - 8 for code in range(8, 16)}
"""Samples of a frame by the code for it; codes 6 and 7 say them in full."""


@dataclass(frozen=True)
class StreamInfo:
    """The beginning of a .flac file.

    Attributes:
        content: its bytes, up to the first metadata block's end.
        samples: of each channel, as the header says; 0 if it doesn't.
        block: samples of a frame, at most.
    """

    content: bytes
    samples: int
    block: int

    def with_samples(self, samples: int) -> bytes:
        """Return the same bytes with another number of samples."""
        (packed,) = struct.unpack(">Q", self.content[18:26])
        return self.content[:18] + struct.pack(">Q", packed >> 36 << 36 | samples) + self.content[26:]


def parse_stream_info(head: bytes) -> StreamInfo | None:
    """Return what a .flac file begins with, or None if that is no .flac file."""
    if head[:4] != b"fLaC" or len(head) < 42 or head[4] & 127:
        return None
    (block,) = struct.unpack(">H", head[10:12])
    (packed,) = struct.unpack(">Q", head[18:26])
    return StreamInfo(head[:42], packed & (1 << 36) - 1, block)


def find_end(tail: bytes, block: int) -> int | None:
    """Return how many samples the last frame of a file ends at, or None if there is no whole frame at the end.

    Args:
        tail: the file's last bytes.
        block: samples of a frame, as the header says; those of fixed size are numbered, not their samples.
    """
    if tail[-128:-125] == b"TAG":  # as ID3 has it
        tail = tail[:-128]
    start = len(tail)
    for _ in range(LAST):
        start = max(tail.rfind(b"\xff\xf8", 0, start), tail.rfind(b"\xff\xf9", 0, start))
        if start < 0:
            return None
        end = _parse_frame(tail[start : start + 16], block)
        if end is not None and _check_sum(tail[start:], 0x8005, 16) == 0:
            return end
    return None


def _parse_frame(head: bytes, block: int) -> int | None:
    """Return the number of the sample behind a frame, or None if it is none."""
    if len(head) < 16 or head[3] & 1:
        return None
    length = max(8 - (head[4] ^ 0xFF).bit_length(), 1)
    if length == 8 or (length == 1 and head[4] & 128):
        return None
    number = head[4] & (0x7F >> (length if length > 1 else 0))
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 63
    position, code = 4 + length, head[2] >> 4
    if code in (6, 7):
        count = int.from_bytes(head[position : position + code - 5], "big") + 1
        position += code - 5
    elif code in _BLOCKS:
        count = _BLOCKS[code]
    else:
        return None
    position += {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if position >= len(head) or _check_sum(head[: position + 1], 0x07, 8):
        return None
    return (number if head[1] & 1 else number * block) + count


def _check_sum(data: bytes, polynomial: int, bits: int) -> int:
    """Return the cyclic redundancy check of bytes that end with their own, which is 0 if they are whole."""
    table = []
    for value in range(256):
        value <<= bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial | 1 << bits if value >> bits - 1 else 0)
        table.append(value)
    mask, result = (1 << bits) - 1, 0
    for byte in data:
        result = (result << 8 & mask) ^ table[result >> bits - 8 ^ byte]
    return result
