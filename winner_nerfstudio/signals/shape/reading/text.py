"""Mesh files of text: their lines and numbers."""

import codecs
import re
import warnings

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

PADDING = b"\0\x1a"
"""Bytes that some programs write behind a text."""


def read_lines(data: bytes) -> list[bytes]:
    """Return the lines of a text with any line ends; UTF-16 and UTF-8 may begin with a byte order mark."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16").encode()
    return data.removeprefix(codecs.BOM_UTF8).rstrip(PADDING).splitlines()


def decode(text: bytes) -> str:
    """Return a text of UTF-8, or else of Windows' code page for Western Europe."""
    try:
        return text.decode("utf8")
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def drop_comment(name: str) -> str:
    """Return a name without what follows a white space and ``#``, which may also be a part of it: ``Material #1``."""
    return re.split(r"\s#", name, maxsplit=1)[0].rstrip()


def parse_numbers(text: bytes) -> Float[ndarray, " n"]:
    """Return the numbers of a text, separated by white space.

    Raises:
        ValueError: a word is no number.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            numbers: Float[ndarray, " n"] = np.fromstring(text, np.float64, sep=" ") if text.strip() else np.zeros(0)
            return numbers
        except (DeprecationWarning, ValueError):
            pass
    # Slower, but it tells which word is wrong; Fortran writes 1.5D+00.
    return np.array([_parse_number(word) for word in text.split()], np.float64)


def parse_rows(rows: list[bytes]) -> tuple[Float[ndarray, " n"], Int[ndarray, " r"]]:
    """Return all numbers of the rows, one row after the other, and how many each has.

    Raises:
        ValueError: a word is no number.
    """
    return parse_numbers(b"\n".join(rows)), np.array([len(row.split()) for row in rows], np.int64)


def take_columns(values: Float[ndarray, " n"], sizes: Int[ndarray, " r"], count: int) -> Float[ndarray, "r count"]:
    """Return the first `count` numbers of each row.

    Raises:
        ValueError: a row has fewer.
    """
    short = np.flatnonzero(sizes < count)
    if len(short):
        raise ValueError(f"vertex {short[0] + 1:,} has {sizes[short[0]]} of {count} coordinates")
    return values[(np.cumsum(sizes) - sizes)[:, None] + np.arange(count)]


def to_indices(values: Shaped[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Return numbers as integers.

    Raises:
        ValueError: one is none.
    """
    with np.errstate(invalid="ignore"):  # NaN becomes some number, which it is not
        indices: Int[ndarray, " n"] = values.astype(np.int64)
    wrong = np.flatnonzero(indices != values)
    if len(wrong):
        raise ValueError(f"{values[wrong[0]]} is no index")
    return indices


def _parse_number(word: bytes) -> float:
    try:
        return float(word)
    except ValueError:
        try:
            return float(word.upper().replace(b"D", b"E"))
        except ValueError:
            raise ValueError(f"{word[:20].decode(errors='replace')!r} is no number") from None
