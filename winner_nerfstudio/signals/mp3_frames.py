"""Frames of .mp3 files, counted, because the decoder guesses the length of a file that doesn't state it.

The guess takes the first frame's bit rate for that of all, and what lies behind the guessed end is never decoded.
"""

from dataclasses import dataclass
from mmap import mmap

Data = bytes | bytearray | mmap
KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Bit rates of layer III by their index, of MPEG 1 and of MPEG 2 and 2.5."""
LONGEST_JUNK = 1 << 16
"""Bytes that are searched for the next frame behind something that is none."""


@dataclass(frozen=True)
class Frame:
    """A frame of layer III: its size in bytes without padding, and where its side information ends."""

    size: int
    padding: int
    side_end: int


def parse_frame(data: Data, start: int) -> Frame | None:
    """Return the frame of layer III that begins at a position, or None if none does."""
    header = int.from_bytes(data[start : start + 4], "big")
    version, layer, bit_rate, rate = header >> 19 & 3, header >> 17 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or bit_rate in (0, 15) or rate == 3:
        return None
    hertz = (44_100, 48_000, 32_000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    kbits, factor = (KBITS_1, 144_000) if version == 3 else (KBITS_2, 72_000)
    is_mono = header >> 6 & 3 == 3
    side = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[version == 3, is_mono]
    return Frame(factor * kbits[bit_rate] // hertz, header >> 9 & 1, 4 + side)


def find_frames(data: Data) -> list[tuple[int, Frame]]:
    """Return the positions of all frames of layer III of a file, and the frames."""
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:
        start += 10 + sum((data[start + 6 + index] & 127) << (21 - 7 * index) for index in range(4))
    frames: list[tuple[int, Frame]] = []
    last = start
    while start + 4 <= len(data) and start - last <= LONGEST_JUNK:
        frame = parse_frame(data, start)
        following = start + frame.size + frame.padding if frame else 0
        is_one = frame and (start == last or parse_frame(data, following))
        if frame and is_one:
            frames.append((start, frame))
            start = last = following
        else:
            found = data.find(b"\xff", start + 1)
            start = found if found >= 0 else len(data)
    return frames


def length_frame(data: Data) -> tuple[int, int, bytes] | None:
    """Return a frame that states the length of an .mp3 file, if the file doesn't or states a smaller one.

    Returns:
        Where it is to be put in, the position from which on the file follows, and its bytes; None if the file is right.
    """
    frames = find_frames(data)
    if len(frames) < 2:
        return None
    start, first = frames[0]
    mark = start + first.side_end
    if data[mark : mark + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(data[mark + 4 : mark + 8], "big")
        stated = int.from_bytes(data[mark + 8 : mark + 12], "big")
        if flags & 1 and stated >= len(frames) - 1:  # a greater one is told when fewer are read
            return None
        flags = flags if flags & 1 else 1  # without the other entries, which would have to move
        return mark + 4, mark + 12, flags.to_bytes(4, "big") + (len(frames) - 1).to_bytes(4, "big")
    if len({frame.size for _, frame in frames}) == 1:
        return None  # of constant bit rate; then the guess is right
    # At the greatest bit rate, for room, and without a checksum.
    header = bytes([data[start], data[start + 1] | 1, 0xE0 | data[start + 2] & 0x0D, data[start + 3]])
    frame = parse_frame(header, 0)
    assert frame is not None
    body = b"Xing" + (1).to_bytes(4, "big") + len(frames).to_bytes(4, "big")
    return start, start, (header.ljust(frame.side_end, b"\0") + body).ljust(frame.size, b"\0")
