"""Headers of sound files, held against the files: lengths that nobody filled in, or that promise more than there is.

A program that writes a sound as a stream leaves 0 or the greatest number where its length belongs, and one that is
interrupted leaves a length that is wrong. The file is believed, not its header.
"""

import io
import mmap
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .errors import SignalError
from .flac_frames import TAIL, find_end, parse_stream_info
from .mp3_frames import length_frame

Part = bytes | tuple[int, int]
"""A part of a file that is read in place of another: bytes, or where it begins and ends in the other."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
"""Codes of integer samples, floating-point samples, and of a longer description, in the headers of .wav files."""
IMA = 0x11
PLAIN = (PCM, FLOAT, 6, 7)
"""Codes of samples that are stored one by one, so that there is no padding behind the last."""
FOREIGN = {0x45: "G.726", 0x50: "MPEG layer II", 0x55: "MP3", 0xFF: "AAC", 0xF1AC: "FLAC", 0x674F: "Vorbis"}
"""Codes of samples that other file formats are for."""
LONGEST = 1 << 62
"""No file has as many samples; libsndfile states more in a .w64 file whose length it does not know."""
MOST_PADDING = 2
"""The most blocks of compressed samples, into which an encoder packs them, that may be padding."""
PLACEHOLDERS = (0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF)
"""Lengths that mean that the length was not known, where the file is longer or shorter."""
NAMES = (
    b"data",
    b"fmt ",
    b"fact",
    b"LIST",
    b"bext",
    b"iXML",
    b"JUNK",
    b"PEAK",
    b"cue ",
    b"smpl",
    b"id3 ",
    b"SSND",
    b"COMM",
)
"""Names that chunks have."""
ANEW = "write it anew, as one sound"
XIPH_ORDERS = {
    3: (0, 2, 1),
    5: (0, 2, 1, 3, 4),
    6: (0, 2, 1, 4, 5, 3),
    7: (0, 2, 1, 5, 6, 4, 3),
    8: (0, 2, 1, 6, 7, 4, 5, 3),
}
"""The order of channels in Vorbis (specification I, 4.3.9) and in Opus (RFC 7845, 5.1.1.2), by their count: what comes
at which index of the order that .wav and .flac have, which libsndfile leaves to us; other counts have one order in
both."""


@dataclass(frozen=True)
class SoundFile:
    """A sound file as it is to be read.

    Attributes:
        parts: the parts of which a file consists that says the same and has a right header; none if it has one itself.
        notes: what the user should know of the header.
        samples: count of samples that a .wav file of compressed samples states in its fact chunk; None if it does not.
        block: count of samples in a block of those.
        is_shared: whether `samples` may be half of what there is, as libsndfile counts two channels of IMA ADPCM.
        order: the index of each channel in the order of .wav files; none if that is its own.
    """

    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    samples: int | None = None
    block: int = 0
    is_shared: bool = False
    order: tuple[int, ...] = ()

    def sort_channels(self, values: Float[ndarray, "n c"]) -> Float[ndarray, "n c"]:
        """Return decoded samples with their channels in the order of .wav files."""
        return values[:, np.argsort(self.order)] if self.order else values

    def without_padding(self, decoded: int) -> tuple[int, tuple[str, ...]]:
        """Return how many of the decoded samples are no padding of the last blocks, and what is to be told of it."""
        if not self.samples or self.samples in (*PLACEHOLDERS, decoded) or self.samples >= LONGEST:
            return decoded, ()
        if self.is_shared and self.samples == decoded // 2:
            return decoded, ()
        if 0 < decoded - self.samples < MOST_PADDING * self.block:
            padding = decoded - self.samples
            return self.samples, (
                f"left out {padding:,} samples behind the last of {self.samples:,}, which fill a block",
            )
        return decoded, (f"warning: the header says {self.samples:,} samples, the file holds {decoded:,}",)


@dataclass(frozen=True)
class Chunk:
    """A chunk of a file: its name, where its content begins and how many bytes it says that it has."""

    name: bytes
    start: int
    size: int


class Spliced(io.RawIOBase):
    """A file for reading that consists of parts of another and of other bytes."""

    def __init__(self, file: BinaryIO, parts: tuple[Part, ...]):
        self._file, self._parts, self._position = file, parts, 0
        lengths = [len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts]
        self._starts = [sum(lengths[:index]) for index in range(len(parts) + 1)]

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it; stay for one before the beginning, at which system calls fail."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = origin + offset if origin + offset >= 0 else self._position
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the position on; return the number of bytes, which is less at the end only."""
        view, done = memoryview(buffer).cast("B"), 0
        first = max(bisect_right(self._starts, self._position) - 1, 0)
        for part, start, end in zip(self._parts[first:], self._starts[first:], self._starts[first + 1 :], strict=False):
            if done == len(view):
                break
            offset, count = self._position - start, min(end - self._position, len(view) - done)
            if isinstance(part, bytes):
                piece = part[offset : offset + count]
            else:
                self._file.seek(part[0] + offset)
                piece = self._file.read(count)
            view[done : done + len(piece)] = piece
            done, self._position = done + len(piece), self._position + len(piece)
        return done


def inspect_sound_file(path: Path) -> SoundFile:
    """Return how a sound file is to be read, and what is to be told of its header.

    The headers of .wav (also RIFX, RF64 and BW64), .w64, .aiff, .au, .caf, .flac, .mp3 and Ogg are held against the
    file; that of any other format is left to its reader.

    Raises:
        SignalError: the header contradicts itself.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(40)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            return _inspect_wav(path, file, size, head[:4])
        if head[:4] == b"riff" and head[24:28] == b"wave":
            return _inspect_w64(path, file, size)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            data = _find_data(_chunks(file, size, 12, ">4sI"), b"SSND")
            block = _find_aiff_block(file, _find_data(_chunks(file, size, 12, ">4sI"), b"COMM"))
            return _mend(file, size, data, 4, ">I", 8, block) if data else SoundFile()
        if head[:4] == b"caff":
            data = _find_data(_chunks(file, size, 8, ">4sQ", pad=1), b"data")
            if data and head[28:32] == b"alac" and size - data.start < data.size < LONGEST:
                # With a right length libsndfile would repeat the last packet in place of all that are cut off.
                return SoundFile((), (_describe(data.size, size - data.start),))
            return _mend(file, size, data, 8, ">Q", 4) if data else SoundFile()
        if head[:4] in (b".snd", b"dns.") and len(head) >= 24:
            order = ">" if head[:4] == b".snd" else "<"
            start, stated = struct.unpack(f"{order}II", head[4:12])
            # The length has its own position in this header, four bytes from its start.
            return _mend(file, size, Chunk(b"", start, stated), start - 8, f"{order}I", 0)
        if head[:4] == b"fLaC":
            return _inspect_flac(file, size)
        if head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
            if head[:1] == b"\xff" and head[1] & 6 == 0:
                raise SignalError(f"{path}: holds AAC (ADTS), which is not read; convert it to .wav or .flac")
            return _inspect_mp3(file, size)
        return _inspect_ogg(file) if head[:4] == b"OggS" else SoundFile()


def _chunks(file: BinaryIO, size: int, start: int, layout: str, pad: int = 2) -> Iterator[Chunk]:
    """Yield the chunks of a file from a position on, as long as they have names of printable characters."""
    width = struct.calcsize(layout)
    while start + width <= size:
        file.seek(start)
        name, length = struct.unpack(layout, file.read(width))
        if not all(32 <= byte < 127 for byte in name):
            return
        yield Chunk(name, start + width, length)
        start += width + length + length % pad
        if start > size:
            return
        file.seek(start - 1)
        if pad == 2 and length % 2 and file.read(4) in NAMES:
            start -= 1  # some programs forget the byte that makes a length even


def _find_data(chunks: Iterator[Chunk], name: bytes) -> Chunk | None:
    return next((chunk for chunk in chunks if chunk.name == name), None)


def _find_aiff_block(file: BinaryIO, description: Chunk | None) -> int:
    """Return the bytes of a block of compressed samples in an .aifc file, or 1 for samples that have none."""
    if description is None:
        return 1
    file.seek(description.start)
    content = file.read(22)
    return {b"ima4": 34 * max(int.from_bytes(content[:2], "big"), 1), b"GSM ": 33}.get(content[18:], 1)


def _are_chunks(file: BinaryIO, size: int, start: int, layout: str) -> bool:
    """Return whether the rest of a file, from a position on, consists of whole chunks or of nothing."""
    end = start
    for chunk in _chunks(file, size, start, layout):
        end = chunk.start + chunk.size
    return end in (size, size - 1) or start >= size - 1


def _mend(file: BinaryIO, size: int, data: Chunk, back: int, layout: str, least: int, block: int = 1) -> SoundFile:
    """Return how to read a file whose data lie behind a length that may be wrong.

    Args:
        file: the file.
        size: its length in bytes.
        data: its samples, as the header describes them.
        back: bytes from where the length stands to where the samples begin.
        layout: of the length, for `struct`.
        least: the length that a file without samples has.
        block: bytes of samples of which a part cannot be decoded.
    """
    held = size - data.start
    is_empty = layout[1:] == "I" and _are_chunks(file, size, data.start + least, ">4sI")
    if held <= least or (least < data.size <= held) or (data.size <= least and is_empty):
        return SoundFile()
    position, width = data.start - back, struct.calcsize(layout)
    held -= (held - least) % block
    mended = struct.pack(layout, min(held, 256**width - 1))
    parts = ((0, position), mended, (position + width, data.start + held))
    return SoundFile(parts, (_describe(data.size, held - least),))


def _describe(stated: int, held: int) -> str:
    """Return the note on a length in bytes that the header states, or leaves open, and the file contradicts."""
    if stated in PLACEHOLDERS or stated >= LONGEST:
        return f"the header's length was never filled in; all {held:,} bytes of samples were read"
    return (
        f"warning: the header says {stated:,} bytes of samples, the file holds {held:,}; it was cut off, or its length"
        " never filled in"
    )


def _inspect_w64(path: Path, file: BinaryIO, size: int) -> SoundFile:
    """Return how a .w64 file is to be read; libsndfile reads on to the end of the file by itself.

    Raises:
        SignalError: the header contradicts itself.
    """
    start, described, description, samples = 40, 0, b"", None
    while start + 24 <= size:
        file.seek(start)
        name, length = struct.unpack("<16sQ", file.read(24))
        if name[:4] == b"fmt ":
            described, description = start + 24, file.read(min(max(length - 24, 0), 1 << 10))
        elif name[:4] == b"fact":
            samples = int.from_bytes(file.read(8), "little")
        elif name[:4] == b"data":
            stated, held, end = length - 24, size - start - 24, size
            notes: tuple[str, ...] = ()
            if not 0 < stated <= held:
                held = _count_whole(held, description, "<")
                end, notes = start + 24 + held, (_describe(max(stated, 0), held),)
            if len(description) < 16:
                return SoundFile((), notes)
            counts = _count_samples(description, samples, "<")
            mended, told = _check_format(path, description, "<")
            if mended[:2] == struct.pack("<H", EXTENSIBLE):  # libsndfile takes these for integers, whatever follows
                mended = mended[24:26] + mended[2:]
            is_same = mended == description and end == size
            parts = () if is_same else ((0, described), mended, (described + len(mended), end))
            return SoundFile(parts, (*told, *notes), *counts)
        start += max(length, 24) + -length % 8
    return SoundFile()


def _inspect_mp3(file: BinaryIO, size: int) -> SoundFile:
    """Return how an .mp3 file is to be read: with a frame of ours if it doesn't state its length, or a wrong one."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = length_frame(data)
    if found is None:
        return SoundFile()
    end, start, frame = found
    note = "the header does not state the length" if start == end else "the header's length is not that of the file"
    return SoundFile(((0, end), frame, (start, size)), (f"{note}; its frames were counted",))


def _inspect_flac(file: BinaryIO, size: int) -> SoundFile:
    """Return how a .flac file is to be read: with the length of its frames, if its header states a smaller one."""
    file.seek(0)
    info = parse_stream_info(file.read(42))
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        is_several = data.find(b"fLaC\0\0\0\x22", 42) > 0
    if is_several:
        return SoundFile((), ("warning: holds several .flac files, one behind another; the first is read",))
    if info is None or info.samples == 0:
        return SoundFile()
    file.seek(max(size - TAIL, 0))
    held = find_end(file.read(), info.block)
    if held is None or held <= info.samples:
        return SoundFile()
    note = f"the header says {info.samples:,} samples, the frames hold {held:,}; all were read"
    return SoundFile((info.with_samples(held), (42, size)), (note,))


def _inspect_ogg(file: BinaryIO) -> SoundFile:
    """Return how an Ogg file is to be read: as it is, or FLAC without its pages, which libsndfile may not know.

    It is told if the last page isn't marked as such, and if there are several streams, of which the first is read.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        last = data.rfind(b"OggS\0")
        is_cut = len(data) > last + 5 and (not data[last + 5] & 4 or _find_page_end(data, last) > len(data))
        notes: tuple[str, ...] = ("warning: the file has no whole last page; it was cut off",) if is_cut else ()
        if (count := len(re.findall(rb"OggS\0[\2\3\6\7]", data))) > 1:
            notes += (f"warning: holds {count:,} sounds or streams; the first is read",)
        parts = _ogg_parts(data) if data[28:33] == b"\x7fFLAC" else ()
        order = _find_order(data[28:47])
    return SoundFile(parts, notes, order=order)


def _find_page_end(data: mmap.mmap, start: int) -> int:
    """Return where a page of an Ogg file ends, or would end if the file were whole."""
    table = data[start + 27 : start + 27 + data[start + 26]] if start + 26 < len(data) else b""
    return start + 27 + len(table) + sum(table)


def _find_order(head: bytes) -> tuple[int, ...]:
    """Return the order of the channels of the codec that an Ogg stream begins with, see `SoundFile.order`."""
    if head.startswith(b"\1vorbis") and len(head) > 11:
        return XIPH_ORDERS.get(head[11], ())
    if head.startswith(b"OpusHead") and len(head) > 18 and head[18] == 1:  # other families have channels without places
        return XIPH_ORDERS.get(head[9], ())
    return ()


def _ogg_parts(data: mmap.mmap) -> tuple[Part, ...]:
    """Return what the pages of an Ogg file's first stream hold, which makes a .flac file (RFC 5334, RFC 9639)."""
    parts, start, serial = [], 0, data[14:18]
    while data[start : start + 5] == b"OggS\0" and start + 27 < len(data):
        table = data[start + 27 : start + 27 + data[start + 26]]
        first, end = start + 27 + len(table), start + 27 + len(table) + sum(table)
        if data[start + 14 : start + 18] == serial:
            parts.append((first + 9 if start == 0 else first, min(end, len(data))))
        start = end
    return tuple(parts)


def _inspect_wav(path: Path, file: BinaryIO, size: int, tag: bytes) -> SoundFile:
    """Return how a .wav file is to be read: as it is, or behind a header of ours if its own one is unfinished."""
    order = ">" if tag == b"RIFX" else "<"
    layout, description, long_size, samples = f"{order}4sI", b"", None, None
    for chunk in _chunks(file, size, 12, layout):
        file.seek(chunk.start)
        if chunk.name == b"fmt " and description:
            raise SignalError(f"{path}: describes its samples twice (fmt); {ANEW}")
        if chunk.name == b"fmt ":
            description = file.read(min(chunk.size, 1 << 10))
        elif chunk.name == b"LIST" and file.read(4) == b"wavl":
            raise SignalError(f"{path}: holds its samples as a list of pieces and silences (wavl); {ANEW}")
        elif chunk.name == b"ds64":
            sizes = file.read(24)
            long_size, samples = (int.from_bytes(sizes[start : start + 8], "little") for start in (8, 16))
        elif chunk.name == b"fact" and samples is None:
            samples = int.from_bytes(file.read(4), "big" if order == ">" else "little")
        elif chunk.name == b"data":
            break
    else:
        return SoundFile()  # without samples; libsndfile says so
    if len(description) < 16:
        return SoundFile()
    counts = _count_samples(description, samples, order)
    description, notes = _check_format(path, description, order)
    is_long = tag in (b"RF64", b"BW64")
    stated = long_size if is_long and chunk.size in (0, 0xFFFFFFFF) and long_size is not None else chunk.size
    _check_single(path, file, size, Chunk(chunk.name, chunk.start, stated), layout)
    held = size - chunk.start
    is_empty = stated == 0 and _are_chunks(file, size, chunk.start, layout)
    if stated > held or (stated == 0 and not is_empty):
        held = _count_whole(held, description, order)
        notes += (_describe(stated, held),)
    elif not is_empty and not _are_chunks(file, size, chunk.start + stated + stated % 2, layout):
        notes += (
            f"warning: the header says {stated:,} bytes of samples; the {held - stated:,} bytes behind them are no"
            " chunks of a .wav file and were not read",
        )
        held = stated
    else:
        held = stated
    if not notes and tag != b"BW64" and chunk.start % 2 == 0:
        return SoundFile((), (), *counts)
    return SoundFile((_write_wav_header(order, description, held), (chunk.start, chunk.start + held)), notes, *counts)


def _count_samples(description: bytes, samples: int | None, order: str) -> tuple[int | None, int, bool]:
    """Return `samples`, `block` and `is_shared` of a `SoundFile` from the count and the format that a header states."""
    if samples is None or len(description) < 16:
        return None, 0, False
    code, channels, _, _, align, bits = struct.unpack(f"{order}HHIIHH", description[:16])
    block = int.from_bytes(description[18:20], "big" if order == ">" else "little") or 8 * align // max(bits, 1)
    if code in (*PLAIN, *FOREIGN, EXTENSIBLE):
        return None, 0, False
    return samples, block, code == IMA and channels == 2


def _count_whole(held: int, description: bytes, order: str) -> int:
    """Return how many of the bytes at the end of a file are whole blocks of the samples that a .wav header describes.

    What else a block needs, libsndfile makes up.
    """
    if len(description) < 16:
        return held
    code, align = struct.unpack(f"{order}H10xH", description[:14])
    return held if align == 0 or code in (*PLAIN, *FOREIGN, EXTENSIBLE) else held - held % align


def _check_single(path: Path, file: BinaryIO, size: int, data: Chunk, layout: str) -> None:
    """Check that no further chunk of samples follows the first.

    Raises:
        SignalError: one does.
    """
    after = data.start + data.size + data.size % 2
    if 0 < data.size < size and any(chunk.name == b"data" for chunk in _chunks(file, size, after, layout)):
        raise SignalError(f"{path}: has several chunks of samples (data), of which a .wav file has one; {ANEW}")


def _check_format(path: Path, description: bytes, order: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the description of a .wav file's samples as libsndfile understands it, and what is to be told of it.

    Raises:
        SignalError: its numbers contradict each other.
    """
    code, channels, _, _, align, bits = struct.unpack(f"{order}HHIIHH", description[:16])
    is_extensible = code == EXTENSIBLE and len(description) >= 26
    valid = struct.unpack(f"{order}H", description[18:20])[0] if is_extensible else bits
    code = struct.unpack(f"{order}H", description[24:26])[0] if is_extensible else code
    if code in FOREIGN and code != 0x55:
        raise SignalError(f"{path}: holds samples as {FOREIGN[code]}, which is not read from .wav; convert it to PCM")
    if code == 0x55:
        return description, ("holds MP3, whose encoder began with silence of a length that the file does not state",)
    if code == FLOAT and bits not in (32, 64):
        raise SignalError(f"{path}: has floating-point samples of {bits} bits; 32 or 64 are read")
    if code != PCM or not channels or not align or not 1 <= bits <= 32:
        return description, ()
    width = align // channels
    if align % channels or not (bits + 7) // 8 <= width <= 4:
        raise SignalError(
            f"{path}: its header says {channels} channels of {bits} bits in {align} bytes, which contradict each other;"
            " write it anew"
        )
    notes: tuple[str, ...] = ()
    if 0 < valid < 8 * width:
        notes = (f"{valid} of the {8 * width} bits of each sample are used",)
    if 8 * width != bits and width > (bits + 7) // 8:  # libsndfile believes the bits, and would shift the samples
        description = description[:14] + struct.pack(f"{order}H", 8 * width) + description[16:]
    return description, notes


def _write_wav_header(order: str, description: bytes, length: int) -> bytes:
    """Return the header of a .wav file with these samples, up to the samples; as RF64 if they are longer than 4 GB."""
    content = struct.pack(f"{order}4sI", b"fmt ", len(description)) + description + b"\0" * (len(description) % 2)
    if length + len(content) + 64 < 1 << 32:
        tag = b"RIFX" if order == ">" else b"RIFF"
        size = struct.pack(f"{order}I", 4 + len(content) + 8 + length)
        return tag + size + b"WAVE" + content + struct.pack(f"{order}4sI", b"data", length)
    most = 0xFFFFFFFF
    long_sizes = struct.pack("<4sIQQQI", b"ds64", 28, 48 + len(content) + length, length, 0, 0)
    return struct.pack("<4sI4s", b"RF64", most, b"WAVE") + long_sizes + content + struct.pack("<4sI", b"data", most)
