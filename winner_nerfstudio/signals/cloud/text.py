"""Point files of text: their encoding, comments, separators and numbers, and what their columns hold."""

import csv
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..errors import SignalError
from ..shape.colors import CornerColors
from ..shape.reading.text import read_lines

LARGEST = 1 << 31
"""Longer texts, in bytes, are refused."""
TYPOGRAPHIC = {"\u2212": b"-", "\xa0": b" ", "\u2009": b" ", "\u202f": b" "}
"""Minus signs and spaces that word processors and web pages write, and what they stand for."""
LOOKED_AT = 1000
"""Lines from which separators and decimal marks are told."""
COMMENTS = (b"#", b"//", b"%", b"!")
"""What a line of comment begins with; a semicolon, too, unless it separates numbers."""
MISSING = re.compile(rb"[-+]?(nan(\(\w*\))?|1\.#(qnan|ind|snan)\w*|n/?a|null|none|-+|\?)", re.IGNORECASE)
"""Words for a number that is not known."""
NUMBER = re.compile(rb"[-+]?(\d+\.?\d*|\.\d+)([eEdD][-+]?\d+)?|[-+]?(inf|infinity|1\.#inf)", re.IGNORECASE)
AMBIGUOUS = re.compile(rb"[-+]?[1-9]\d{0,2}[.,]\d{3}")
"""A number whose mark may be a decimal mark or may separate thousands."""
COMMA_NUMBER = re.compile(rb"[-+]?\d*,\d+([eEdD][-+]?\d+)?")
POINT_NUMBER = re.compile(rb"[-+]?\d*\.\d+([eEdD][-+]?\d+)?")
GROUPED = {
    b".": re.compile(rb"[-+]?[1-9]\d{0,2}(,\d{2,3})*,\d{3}(\.\d*)?([eEdD][-+]?\d+)?"),
    b",": re.compile(rb"[-+]?[1-9]\d{0,2}(\.\d{2,3})*\.\d{3}(,\d*)?([eEdD][-+]?\d+)?"),
}
"""Numbers with marks between thousands, by their decimal mark."""
MEANINGS = {
    "x": ("x", "px", "posx", "positionx", "xcoordinate", "xcoord", "points0", "position0", "east", "easting"),
    "y": ("y", "py", "posy", "positiony", "ycoordinate", "ycoord", "points1", "position1", "north", "northing"),
    "z": ("z", "pz", "posz", "positionz", "zcoordinate", "zcoord", "points2", "position2", "height", "elevation"),
    "nx": ("nx", "normalx", "xnormal", "normals0", "normal0"),
    "ny": ("ny", "normaly", "ynormal", "normals1", "normal1"),
    "nz": ("nz", "normalz", "znormal", "normals2", "normal2"),
}
"""The names of columns, in small letters and without marks, by what they hold; other columns are not used."""
POSITION, NORMAL = ("x", "y", "z"), ("nx", "ny", "nz")
COLOR = ("r", "g", "b")
USED = (*POSITION, *NORMAL, *COLOR, "red", "green", "blue")
"""What columns hold that are used; other columns may hold text."""
MIXED = "commas and spaces separate the numbers"
BY_SUFFIX = {
    (".pts", 4): (*POSITION, "intensity"),
    (".pts", 7): (*POSITION, "intensity", *COLOR),
    (".xyzrgb", 6): (*POSITION, *COLOR),
    (".xyzn", 6): (*POSITION, *NORMAL),
}
"""Columns that have no names, by the suffix of the file and their count."""


@dataclass
class Marks:
    """The marks in numbers.

    Attributes:
        decimal: the decimal mark.
        has_thousands: whether some numbers surely have the other mark between thousands.
    """

    decimal: bytes
    has_thousands: bool


@dataclass
class Rows:
    """The rows of a text.

    Attributes:
        lines: the number of each row's line, from 1 on.
        rows: numbers, separated by spaces.
        names: of the columns, if a line names them.
        notes: what the user should know of the text.
    """

    lines: list[int]
    rows: list[bytes]
    names: list[str] | None
    notes: list[str]


def read_point_text(
    path: Path,
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"] | None, tuple[str, ...], CornerColors | None]:
    """Read a text of points, a row each, with names of columns or without.

    Returns:
        Points, normals or None, what the user should know of the reading, and colours or None.

    Raises:
        SignalError: a line cannot be understood, or the columns cannot be told.
    """
    text = _read_rows(path)
    if not text.rows:
        raise SignalError(f"{path}: holds no points; rows of x y z are needed")
    try:
        table = _parse_table(path, text)
    except SignalError:
        if not _has_others(text.names):
            raise
        table = None
    if _has_others(text.names) and (table is None or table.shape[1] != len(text.names or ())):
        text = _read_rows(path, only_used=True)
        table = _parse_table(path, text)
    assert table is not None
    columns = _name_columns(path, text.names, table)
    is_plain = columns in (POSITION, (*POSITION, *NORMAL))
    notes = [*text.notes, *(() if is_plain else (f"columns: {' '.join(columns)}",))]
    points = table[:, [columns.index(name) for name in POSITION]]
    has_normals = set(NORMAL) <= set(columns)
    normals = table[:, [columns.index(name) for name in NORMAL]] if has_normals else None
    known = ~np.isnan(points).all(-1)
    if not known.all():
        notes.append(f"repaired: dropped {(~known).sum():,} points without coordinates")
    colors = _take_colors(table[known], [name.lower() for name in columns], notes)
    return points[known], None if normals is None else normals[known], tuple(notes), colors


def _take_colors(table: Float[ndarray, "n c"], columns: Sequence[str], notes: list[str]) -> CornerColors | None:
    """Return the colours of rows if some columns hold such; a note tells of columns that should."""
    for names in (COLOR, ("red", "green", "blue")):
        if set(names) <= set(columns):
            return CornerColors.from_numbers(table[:, [columns.index(name) for name in names]], notes)
    return None


def _has_others(names: Sequence[str] | None) -> bool:
    """Return whether names of columns include those of x, y and z, and of columns that are not used."""
    return names is not None and _names_position(names) and len(_find_used(names)) < len(names)


def _find_used(names: Sequence[str]) -> list[int]:
    """Return the indices of the columns that are used."""
    return [index for index, name in enumerate(_find_meanings(names)) if name.lower() in USED]


def _read_rows(path: Path, only_used: bool = False) -> Rows:
    """Return the rows of a text without its comments, separators and counts.

    Args:
        path: the file.
        only_used: whether to leave out the columns that are not used, which may hold text, or nothing in some rows; a
            line must name the columns.

    Raises:
        SignalError: a line cannot be understood.
    """
    numbered = _read_numbered(path)
    comments = [(number, line) for number, line in numbered if line.startswith(COMMENTS) or _is_remark(line)]
    commented = {number for number, _ in comments}
    kept = [(number, _without_remark(line)) for number, line in numbered if number not in commented]
    sample = [line for _, line in kept[:LOOKED_AT]]
    separator, decimal, notes = _find_separator(path, kept[:LOOKED_AT])
    marks = Marks(decimal, any(_has_thousands(word, decimal) for line in sample for word in _split(line, separator)))
    names = None
    # Names may stand in several lines, of which only the last counts (the last with x, y and z, because units may
    # follow), or in a comment right before the numbers.
    while kept and not _is_row(kept[0][1], separator):
        words = _split_names(kept[0][1], separator)
        count = sum(map(_is_number, _split(kept[0][1], separator)))
        if count >= len(POSITION) or (count and names is not None and _names_position(names)):
            break  # a row with text
        number, line = kept.pop(0)
        is_remark = not _names_position(words) and not any(NUMBER.fullmatch(word.encode("latin-1")) for word in words)
        if names is not None and _names_position(names) and is_remark:
            notes.append(f"line {number}, between the names and the numbers, is left out: {ascii(line[:40])[2:-1]}")
        else:
            names = words
        if len(sample) - len(kept) > 100:
            break
    if only_used and names is not None:
        used = _find_used(names)
        rows = [(number, _pick(path, number, line, names, used, separator, marks)) for number, line in kept]
        left = [name or "-" for index, name in enumerate(names) if index not in used]
        notes = [note for note in notes if note != MIXED]  # the spaces were those of text
        notes.append(f"columns left out: {ascii(' '.join(left))[1:-1][:80]}")
        names = [names[index] for index in used]
    else:
        rows = [(number, _normalize(path, number, line, separator, marks)) for number, line in kept]
        rows = _without_counts(path, rows)
    if names is None and rows:
        named = [_split_names(line.lstrip(b"#/%!; "), b"") for number, line in comments if number < rows[0][0]]
        width = len(rows[0][1].split())
        names = next((each for each in reversed(named) if len(each) == width and _names_position(each)), None)
    if decimal != b".":
        notes.append("numbers have decimal commas")
    return Rows([number for number, _ in rows], [row for _, row in rows], names, notes)


def _read_numbered(path: Path) -> list[tuple[int, bytes]]:
    """Return the lines of a file that are not empty, with their numbers."""
    size = path.stat().st_size
    if size > LARGEST:
        raise SignalError(f"{path}: {size:,} bytes of text are more than {LARGEST:,}; write the points as .ply or .npy")
    data = path.read_bytes()
    head = data[:400]
    for coding, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if len(head) > 3 and not any(zeros) and all(others):  # without a byte order mark
            data = data.decode(coding).encode()
    numbered = ((number, _without_typography(line).strip()) for number, line in enumerate(read_lines(data), 1))
    return [(number, line) for number, line in numbered if line]


def _without_typography(line: bytes) -> bytes:
    """Return a line of UTF-8 with plain spaces and minus signs."""
    if not line.isascii():
        for sign, plain in TYPOGRAPHIC.items():
            line = line.replace(sign.encode(), plain)
    return line


def _is_remark(line: bytes) -> bool:
    """Return whether a line is a comment behind a semicolon."""
    return line.startswith(b";") and not NUMBER.fullmatch(line.lstrip(b"; \t").split(b";")[0].replace(b",", b"."))


def _without_remark(line: bytes) -> bytes:
    """Return a line without a comment at its end."""
    if b"#" in line or b"//" in line:
        return re.split(rb"(?<=[\s,;])#|//", line)[0].rstrip()
    return line


def _find_separator(path: Path, lines: Sequence[tuple[int, bytes]]) -> tuple[bytes, bytes, list[str]]:
    """Return what separates numbers (nothing stands for white space), their decimal mark, and notes.

    Raises:
        SignalError: a comma may be a decimal mark or may separate thousands.
    """
    rows = [(number, line) for number, line in lines if re.search(rb"\d", line)]
    half = len(rows) / 2  # the first lines may be names
    separator = next(
        (mark for mark in (b";", b"|", b"\t") if rows and sum(mark in line for _, line in rows) > half), b""
    )
    with_commas = [(number, line) for number, line in rows if b"," in line]
    if len(with_commas) <= half or not rows:
        # Most numbers may be whole ones, which have no mark.
        words = [word.strip(b'" \t') for _, line in rows for word in line.split(separator)] if separator else []
        with_comma = [word for word in words if COMMA_NUMBER.fullmatch(word)]
        if not with_comma or any(POINT_NUMBER.fullmatch(word) for word in words):
            return separator, b".", []
        return separator, _find_decimal(path, with_commas[-1][0], with_comma), []
    if not separator:
        spaced = [line for _, line in with_commas if re.search(rb"[^\s,]\s+[^\s,]", re.sub(rb'"[^"]*"', b"", line))]
        if len(spaced) <= half:  # no spaces but beside commas: the commas separate
            is_quoted = all(b'"' in line for _, line in with_commas[1:])
            quoted = re.findall(rb'"([^"]*)"', b"\n".join(line for _, line in with_commas)) if is_quoted else []
            return b",", _find_decimal(path, with_commas[-1][0], quoted), []
        words = [word for line in spaced for word in line.split()]
        if any(word.count(b",") > 1 or word.endswith(b",") or b"." in word for word in words):
            return b",", b".", [MIXED]
        return b"", _find_decimal(path, with_commas[-1][0], words), []
    words = [word.strip(b'" \t') for _, line in with_commas for word in line.split(separator)]
    words = [word for word in words if word.strip(b",")]
    if all(word.endswith(b",") or b"," not in word for word in words):
        return b",", b".", []
    return separator, _find_decimal(path, with_commas[-1][0], words), []


def _find_decimal(path: Path, line: int, words: Sequence[bytes]) -> bytes:
    """Return the decimal mark of numbers, some of which may have commas.

    Raises:
        SignalError: it cannot be told.
    """
    words = [word for word in words if b"," in word and re.search(rb"\d", word)]
    if not words:
        return b"."
    if any(word.rfind(b".") > word.rfind(b",") or word.count(b",") > 1 for word in words):
        return b"."
    if any(b"." in word for word in words) or not all(AMBIGUOUS.fullmatch(word) for word in words):
        return b","
    raise _ambiguous(path, line, words[0])


def _ambiguous(path: Path, line: int, word: bytes) -> SignalError:
    """Return the error of a number whose mark may mean two things."""
    text = word.decode("latin-1").replace(",", ".")
    return SignalError(
        f"{path}: line {line}: {word.decode('latin-1')} may be {text} or {text.replace('.', '')}; write decimal points,"
        " and no marks between thousands"
    )


def _has_thousands(word: bytes, decimal: bytes) -> bool:
    """Return whether a number surely has marks between thousands."""
    return bool(GROUPED[decimal].fullmatch(word)) and not AMBIGUOUS.fullmatch(word)


def _is_number(word: bytes) -> bool:
    """Return whether a word is a number with any marks."""
    return any(form.fullmatch(word) for form in GROUPED.values()) or bool(NUMBER.fullmatch(word.replace(b",", b"")))


def _is_row(line: bytes, separator: bytes) -> bool:
    """Return whether a line has numbers only, or words that stand for unknown ones."""
    words = _split(line, separator)
    return any(words) and all(_is_number(word) or MISSING.fullmatch(word) for word in words if word)


def _cells(line: bytes, separator: bytes) -> list[bytes]:
    """Return what stands between separators, without quotes."""
    if b'"' in line:
        text, mark = line.decode("latin-1"), separator.decode() or " "
        row = next(
            csv.reader([text.replace("\t", " ") if mark == " " else text], delimiter=mark, skipinitialspace=True)
        )
        return [word.strip().encode("latin-1") for word in row]
    return [word.strip() for word in line.split(separator)] if separator else line.split()


def _split(line: bytes, separator: bytes) -> list[bytes]:
    """Return the words of a line; quotes, and separators behind the last word, are left out."""
    if not separator:
        words = line.replace(b'"', b"").split()
    else:
        words = _cells(line, separator)
        if separator == b"," and b'"' not in line:  # which spaces may replace
            words = [part for word in words for part in (word.split() or [b""])]
    while words and not words[-1]:
        words.pop()
    return words


def _split_names(line: bytes, separator: bytes) -> list[str]:
    if separator == b"," and b"," in line and b'"' not in line:
        words = line.split(b",")  # names may have spaces
    else:
        words = _split(line, separator) if separator else re.split(rb"[\s,;|]+", line.strip(b" \t,;|"))
    names = [word.decode("latin-1").strip("\"' ") for word in words]
    while names and not names[-1]:
        names.pop()
    return names


def _normalize(path: Path, number: int, line: bytes, separator: bytes, marks: Marks) -> bytes:
    """Return a row as numbers with decimal points, separated by spaces; what is missing becomes nan.

    A row of which all is missing becomes empty.

    Raises:
        SignalError: the mark in a number may mean two things.
    """
    if separator or b'"' in line:
        line = b" ".join(word or b"nan" for word in _split(line, separator))
    return _point(path, number, line, marks)


def _point(path: Path, number: int, words: bytes, marks: Marks) -> bytes:
    """Return numbers, separated by spaces, with decimal points and without marks between thousands.

    What has a comma that is neither stays as it is.

    Raises:
        SignalError: a mark may be either.
    """
    thousands = b"." if marks.decimal == b"," else b","
    if thousands not in words:
        return words.replace(marks.decimal, b".")
    pointed = []
    for word in words.split():
        word = word.rstrip(b",")
        if GROUPED[marks.decimal].fullmatch(word):
            if AMBIGUOUS.fullmatch(word) and not marks.has_thousands:
                raise _ambiguous(path, number, word)
            word = word.replace(thousands, b"")
        pointed.append(word if b"." in word else word.replace(marks.decimal, b"."))
    return b" ".join(pointed)


def _pick(
    path: Path, number: int, line: bytes, names: Sequence[str], used: Sequence[int], separator: bytes, marks: Marks
) -> bytes:
    """Return the numbers of the columns with the indices `used`, as `_normalize` does.

    Raises:
        SignalError: the row has fewer columns, more than can be told apart, or no clear number where one is used.
    """
    cells = _cells(line, separator)
    if separator == b"," and len(cells) <= used[-1]:
        cells = _split(line, separator)
    while len(cells) > len(names) and not cells[-1]:
        cells.pop()
    # More words than names are those of the last column, unless a text before the numbers may have moved them.
    if len(cells) <= used[-1] or (len(cells) > len(names) and used[-1] >= len(used)):
        raise SignalError(
            f"{path}: line {number} has {len(cells)} columns, of which {len(names)} are named; is the file whole?"
        )
    words = [_point(path, number, cells[index], marks) or b"nan" for index in used]
    for index, word in zip(used, words, strict=True):
        if not (NUMBER.fullmatch(word) or MISSING.fullmatch(word)):
            raise SignalError(
                f"{path}: line {number}: {_show(word)} in the column {ascii(names[index])[1:-1][:40]} is no number"
            )
    return b" ".join(words)


def _show(word: bytes) -> str:
    return ascii(word[:20].decode("latin-1"))


def _without_counts(path: Path, rows: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Return the rows without lines of one whole number, each of which states how many rows follow.

    Raises:
        SignalError: another number of rows follows.
    """
    counts = [index for index, (_, row) in enumerate(rows) if row.isdigit()]
    if not counts or counts[0] != 0:
        return rows
    for start, end in zip(counts, [*counts[1:], len(rows)], strict=True):
        number, stated = rows[start]
        if int(stated) != end - start - 1:
            for line, row in rows[start + 1 : end]:
                _check_words(path, line, row)
            raise SignalError(
                f"{path}: line {number} says that {int(stated):,} points follow, but there are {end - start - 1:,}; is"
                " the file whole?"
            )
    skipped = set(counts)
    return [row for index, row in enumerate(rows) if index not in skipped]


def _parse_table(path: Path, text: Rows) -> Float[ndarray, "n c"]:
    """Return the numbers of all rows.

    Raises:
        SignalError: a row is shorter or longer than the first, or has what is no number.
    """
    widths = [len(row.split()) for row in text.rows]
    width = max(set(widths[:LOOKED_AT]), key=widths[:LOOKED_AT].count)
    rows = [row or b"nan " * width for row in text.rows]
    for number, found, row in zip(text.lines, widths, text.rows, strict=True):
        if found not in (0, width):
            _check_words(path, number, row)
            raise SignalError(f"{path}: line {number} has {found} columns, the others have {width}; is the file whole?")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            joined = b"\n".join(rows).replace(b"D", b"E").replace(b"d", b"e")  # Fortran writes 1.5D+00
            return np.fromstring(joined, np.float64, sep=" ").reshape(-1, width)
        except (DeprecationWarning, ValueError):
            pass
    checked = [_check_words(path, number, row) for number, row in zip(text.lines, rows, strict=True)]
    return np.array(checked, np.float64)


def _check_words(path: Path, number: int, row: bytes) -> list[float]:
    """Return the numbers of a row.

    Raises:
        SignalError: a word is none.
    """
    values = []
    for column, word in enumerate(row.split(), 1):
        if MISSING.fullmatch(word):
            values.append(float("nan"))
        elif NUMBER.fullmatch(word):
            values.append(float(word.lower().replace(b"d", b"e").replace(b"1.#inf", b"inf")))
        else:
            raise SignalError(
                f"{path}: cannot be read as {path.suffix} points: line {number}: {_show(word)} is no number (column"
                f" {column}); rows of x y z are needed, or a first line that names these columns among others"
            )
    return values


def _name_columns(path: Path, names: list[str] | None, table: Float[ndarray, "n c"]) -> tuple[str, ...]:
    """Return what each column holds, from its name, or from the count of columns and their values.

    Raises:
        SignalError: it cannot be told.
    """
    width = table.shape[1]
    if names is not None and len(names) == width and _names_position(names):
        meanings = _find_meanings(names)
        doubled = next((name for name in (*POSITION, *NORMAL) if meanings.count(name) > 1), None)
        if doubled:
            theirs = [name for name, meaning in zip(names, meanings, strict=True) if meaning == doubled]
            raise SignalError(
                f"{path}: its columns {ascii(' and '.join(theirs))[1:-1][:80]} are each taken for {doubled}; name one"
                f" of them {doubled}, and the others apart"
            )
        return tuple(meanings)
    if names is not None and any(re.fullmatch(r"[A-Za-z_].*", name) for name in names):
        raise SignalError(
            f"{path}: its columns are named {ascii(' '.join(names))[1:-1][:80]}, {len(names)} names of {width} columns;"
            " x, y and z are needed among them, a name for each column"
        )
    if width == 3:
        return POSITION
    if found := BY_SUFFIX.get((path.suffix.lower(), width)):
        return found
    if width == 6:
        return (*POSITION, *(COLOR if _are_colors(table[:, 3:]) else NORMAL))
    if width == 9:
        first, second = table[:, 3:6], table[:, 6:]
        if _are_colors(first) and _are_unit(second):
            return (*POSITION, *COLOR, *NORMAL)
        if _are_unit(first) and _are_colors(second):
            return (*POSITION, *NORMAL, *COLOR)
    raise SignalError(
        f"{path}: {width} columns; x y z, or x y z nx ny nz, are needed, or a first line that names the columns"
    )


def _find_meanings(names: Sequence[str]) -> list[str]:
    """Return what each column holds, or its name if it is not used, as a height beside a z."""
    bare = [_strip(name) for name in names]
    meanings = [_meaning(name) for name in names]
    return [
        name if meaning in bare and own != meaning else meaning
        for name, own, meaning in zip(names, bare, meanings, strict=True)
    ]


def _meaning(name: str) -> str:
    """Return what a column holds by its name alone, or the name if it says nothing of use."""
    return next((meaning for meaning, names in MEANINGS.items() if _strip(name) in names), name or "-")


def _strip(name: str) -> str:
    """Return a name in small letters, without marks and units."""
    return re.sub(r"[\[(].*|[^a-z0-9]", "", name.lower())


def _names_position(names: Sequence[str]) -> bool:
    """Return whether names of columns include those of x, y and z."""
    return set(POSITION) <= {_meaning(name) for name in names}


def _are_colors(values: Float[ndarray, "n 3"]) -> bool:
    """Return whether values are whole numbers from 0 to 255, and more than 0 and 1."""
    return bool(((values >= 0) & (values <= 255) & (values == np.rint(values))).all() and values.max() > 1)


def _are_unit(values: Float[ndarray, "n 3"]) -> bool:
    """Return whether vectors are of unit length, as far as they were written, or zero."""
    lengths = np.linalg.norm(values, axis=-1)
    return bool((np.isclose(lengths, 1, atol=0.02) | (lengths == 0)).all() and lengths.any())
