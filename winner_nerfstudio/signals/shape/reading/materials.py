"""The materials of .obj files, .mtl: their diffuse colours and textures."""

from dataclasses import dataclass
from pathlib import Path

from ...errors import SignalError
from ..colors import Texture
from .text import read_lines
from .textures import find_beside, read_texture

ARGUMENTS = {"-o": 3, "-s": 3, "-t": 3, "-mm": 2}
"""The most numbers that follow the options of a texture; other options have one word each."""


@dataclass(frozen=True)
class Material:
    """A material.

    Attributes:
        color: its diffuse colour, sRGB in [0, 1].
        texture: its diffuse texture, in whose place the colour stands if there is none.
    """

    color: tuple[float, ...] = (1.0, 1.0, 1.0)
    texture: Texture | None = None


def read_materials(path: Path, libraries: list[bytes]) -> tuple[dict[bytes, Material], tuple[str, ...]]:
    """Read the materials that an .obj file names; what cannot be read is told in notes, and is no error.

    Args:
        path: the .obj file.
        libraries: what stands after ``mtllib``: a file's name, which may have spaces, or several.

    Returns:
        The materials by name, and what the user should know, a line each.
    """
    materials: dict[bytes, Material] = {}
    textures: dict[str, Texture | None] = {}
    notes: list[str] = []
    for line in libraries:
        whole = line.decode("utf8", "replace").strip()
        names = [whole] if find_beside(path, whole) else whole.split()
        for name in names:
            found = find_beside(path, name)
            if found is None:
                notes.append(
                    f"warning: {path.name} names the materials {name[:80]!r}, which are not in its folder or below it;"
                    " without them it has no colours; put the file there"
                )
                continue
            for key, values in _read_library(found):
                color, texture = values
                if texture is not None and texture not in textures:
                    textures[texture] = _read_texture(path, found.name, texture, notes)
                materials[key] = Material(color, None if texture is None else textures[texture])
    return materials, tuple(notes)


def _read_texture(path: Path, library: str, name: str, notes: list[str]) -> Texture | None:
    """Return a texture that a library of materials names; None, and a note, if it cannot be read."""
    found = find_beside(path, name)
    if found is None:
        notes.append(
            f"warning: {library} names the texture {name[:80]!r}, which is not in the folder of {path.name} or below"
            f" it; it is left out; put it there, under the name that {library} has"
        )
        return None
    try:
        return Texture(read_texture(found))
    except SignalError as error:
        notes.append(f"warning: the texture {error}; it is left out")
        return None


def _read_library(path: Path) -> list[tuple[bytes, tuple[tuple[float, ...], str | None]]]:
    """Return the name of each material of a file, with its colour and the name of its texture."""
    found: list[tuple[bytes, tuple[tuple[float, ...], str | None]]] = []
    for line in read_lines(path.read_bytes()):
        key, *rest = line.strip().split(None, 1) or [b""]
        text = rest[0].strip() if rest else b""
        if key == b"newmtl":
            found.append((text, ((1.0, 1.0, 1.0), None)))
        elif found and key.lower() == b"kd":
            found[-1] = found[-1][0], (_parse_color(text), found[-1][1][1])
        elif found and key.lower() == b"map_kd":
            found[-1] = found[-1][0], (found[-1][1][0], _strip_options(text.decode("utf8", "replace")))
    return found


def _parse_color(text: bytes) -> tuple[float, ...]:
    """Return a colour of three numbers, or white if it is none."""
    try:
        red, green, blue = (min(max(float(word), 0.0), 1.0) for word in text.split()[:3])
    except ValueError:
        return (1.0, 1.0, 1.0)
    return (red, green, blue)


def _strip_options(text: str) -> str:
    """Return the name of a texture's file, which stands behind options such as ``-s 1 1 1``."""
    words = text.split()
    if not words or not words[0].startswith("-"):
        return text
    while len(words) > 1 and words[0].startswith("-"):
        most = ARGUMENTS.get(words.pop(0), 1)
        taken = 0
        while len(words) > 1 and taken < most and (most == 1 or _is_number(words[0])):
            words.pop(0)
            taken += 1
    return " ".join(words)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
