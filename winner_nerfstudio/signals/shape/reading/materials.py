"""The materials of .obj files, .mtl: their diffuse colours and textures."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path

from ..colors import Texture
from .text import decode, drop_comment, read_lines
from .textures import find_beside, read_beside

ARGUMENTS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2}
"""The most numbers that follow the options of a texture; other options have one word each."""


@dataclass(frozen=True)
class Material:
    """A material.

    Attributes:
        color: its diffuse colour, sRGB in [0, 1].
        texture: its diffuse texture, in whose place the colour stands if there is none.
        scale: what texture coordinates, to the right and up, are multiplied by.
        offset: what is added to them then.
    """

    color: tuple[float, ...] = (1.0, 1.0, 1.0)
    texture: Texture | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Map:
    """What a library of materials says of a texture.

    Attributes:
        name: of its file.
        options: the words behind each option, such as ``-s``.
    """

    name: str
    options: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_clamped(self) -> bool:
        """Return whether the texture's edges go on beyond it, where others are repeated."""
        return self.options.get("-clamp", []) == ["on"]

    def numbers(self, option: str, default: float) -> tuple[float, float]:
        """Return the first two numbers of an option."""
        words = self.options.get(option, [])[:2]
        first, second = (float(word) for word in [*words, *[str(default)] * (2 - len(words))])
        return first, second


def read_materials(path: Path, libraries: list[bytes]) -> tuple[dict[str, Material], tuple[str, ...]]:
    """Read the materials that an .obj file names; what cannot be read is told in notes, and is no error.

    Args:
        path: the .obj file.
        libraries: what stands after ``mtllib``: a file's name, which may have spaces, or several.

    Returns:
        The materials by name, with what may be a comment behind it and without, and what the user should know, a line
        each.
    """
    materials: dict[str, Material] = {}
    textures: dict[tuple[str, bool], Texture | None] = {}
    notes: list[str] = []
    for name, found in _find_libraries(path, libraries):
        if found is None:
            notes.append(
                f"warning: {path.name} names the materials {name[:80]!r}, which are not in its folder or below it;"
                " without them it has no colours; put the file there"
            )
            continue
        for key, color, texture in _read_library(found, notes):
            if texture is None:
                materials[key] = Material(color)
                continue
            known = texture.name, texture.is_clamped
            if known not in textures:
                textures[known] = _read_texture(path, found.name, texture, notes)
            scale, offset = texture.numbers("-s", 1.0), texture.numbers("-o", 0.0)
            materials[key] = Material(color, textures[known], scale, offset)
    short = {drop_comment(name): material for name, material in materials.items()}
    return short | materials, tuple(dict.fromkeys(notes))


def list_material_files(path: Path, libraries: list[bytes]) -> list[Path | None]:
    """Return the files that `read_materials` reads; None for one that is missing."""
    files: list[Path | None] = []
    for _, found in _find_libraries(path, libraries):
        maps = [] if found is None else [texture for *_, texture in _read_library(found, []) if texture]
        files += [found, *(find_beside(path, each.name) for each in maps)]
    return files


def _find_libraries(path: Path, libraries: list[bytes]) -> Iterator[tuple[str, Path | None]]:
    """Yield the names of libraries of materials, and where they are found."""
    for line in libraries:
        whole = decode(line).strip()
        names = [whole] if find_beside(path, whole) else drop_comment(whole).split()
        yield from ((name, find_beside(path, name)) for name in names)


def _read_texture(path: Path, library: str, texture: Map, notes: list[str]) -> Texture | None:
    """Return a texture that a library of materials names; None, and a note, if it cannot be read."""
    pixels = read_beside(path, library, texture.name, notes)
    if pixels is None:
        return None
    return Texture(pixels, ("clamp", "clamp")) if texture.is_clamped else Texture(pixels)


def _read_library(path: Path, notes: list[str]) -> list[tuple[str, tuple[float, ...], Map | None]]:
    """Return the name of each material of a file, its colour and its texture; a note tells of other textures."""
    found: list[tuple[str, tuple[float, ...], Map | None]] = []
    others: dict[str, None] = {}
    for line in read_lines(path.read_bytes()):
        key, *rest = line.strip().split(None, 1) or [b""]
        text = rest[0].strip() if rest else b""
        if key == b"newmtl":
            found.append((decode(text), (1.0, 1.0, 1.0), None))
        elif found and key.lower() == b"kd":
            found[-1] = found[-1][0], _parse_color(text), found[-1][2]
        elif found and key.lower() == b"map_kd":
            found[-1] = *found[-1][:2], _parse_map(decode(text))
        elif key.lower() in (b"map_ka", b"map_ke"):
            others[key.decode()] = None
    if others and not any(texture for _, _, texture in found):
        notes.append(
            f"warning: {path.name} has textures as {' and '.join(others)} alone, which are not read; the colour of a"
            " surface is map_Kd"
        )
    return found


def _parse_color(text: bytes) -> tuple[float, ...]:
    """Return a colour of three numbers, or white if it is none."""
    try:
        numbers = [float(word) for word in text.split()[:3]]
    except ValueError:
        numbers = []
    is_color = len(numbers) == 3 and not any(map(isnan, numbers))
    return tuple(min(max(number, 0.0), 1.0) for number in numbers) if is_color else (1.0, 1.0, 1.0)


def _parse_map(text: str) -> Map:
    """Return a texture from its file's name, perhaps in quotes, behind options such as ``-s 1 1 1``."""
    words, options = text.split(), dict[str, list[str]]()
    if not words or not words[0].startswith("-"):
        return Map(text.strip('"'))
    while len(words) > 1 and words[0].startswith("-"):
        option = words.pop(0)
        most, taken = ARGUMENTS.get(option, 1), options.setdefault(option, [])
        while len(words) > 1 and len(taken) < most and (most == 1 or _is_number(words[0])):
            taken.append(words.pop(0))
    return Map(" ".join(words).strip('"'), options)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
