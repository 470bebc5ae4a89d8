"""Wavefront .obj: its ``v`` and ``f`` lines, and colours from its vertices or its materials' textures."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..colors import CornerColors
from .materials import list_material_files, read_materials
from .polygons import Polygons
from .text import decode, drop_comment, parse_rows, read_lines, take_columns, to_indices

FREE_FORM = (b"curv", b"curv2", b"surf")
"""Statements of curves and surfaces that are not made of polygons."""
NOT_A_NUMBER = re.compile(rb"-?1\.#(?:IND|INF|QNAN|SNAN)\w*")
"""How Windows' older C library writes what is no number or infinite; elsewhere ``#`` begins a comment."""


@dataclass
class Paint:
    """What an .obj file says of colours.

    Attributes:
        coordinates: the ``vt`` lines without their first word.
        before: how many of them there are before each face.
        uses: index of the first face after each ``usemtl`` line, and the name of the material.
        libraries: files of materials.
    """

    coordinates: list[bytes] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    uses: list[tuple[int, str]] = field(default_factory=list)
    libraries: list[bytes] = field(default_factory=list)


def read_obj(path: Path, colors: bool = False) -> Polygons:
    """Read the polygons of an .obj file; every ``f`` line becomes one, and every ``fo`` line, as it was called once.

    Args:
        path: of the file.
        colors: whether to read colours: of materials' textures, else of vertices (``v x y z r g b``, whose alpha, if
            there is one, is left out), else of materials. Without usable ones there is a note at most.

    Raises:
        ValueError: a line has other than numbers, or too few.
    """
    vertices: list[bytes] = []
    faces: list[bytes] = []
    before: list[int] = []  # how many vertices there are before each face
    free_forms, paint = 0, Paint()
    for line in _read_text(path).split(b"\n"):
        key, *rest = line.split(None, 1) or [b""]
        if key == b"v":
            vertices += rest or [b""]
        elif key in (b"f", b"fo"):
            faces += rest or [b""]
            before.append(len(vertices))
            paint.before.append(len(paint.coordinates))
        elif key == b"vt":
            paint.coordinates += rest or [b""]
        elif key == b"usemtl":
            paint.uses.append((len(faces), decode(rest[0].strip()) if rest else ""))
        elif key == b"mtllib":
            paint.libraries += rest
        free_forms += key in FREE_FORM
    coordinates, columns = parse_rows(vertices)
    # Of 1/2/3 the first is the vertex.
    indices, sizes = parse_rows(re.sub(rb"/\S*", b"", b"\n".join(faces)).split(b"\n") if faces else [])
    corners = to_indices(indices)
    if (corners == 0).any():
        raise ValueError("a face refers to vertex 0, but vertices count from 1")
    # -1 is the vertex last written before the face.
    corners = np.where(corners > 0, corners - 1, corners + np.repeat(np.array(before, np.int64), sizes))
    notes = (f"warning: {free_forms:,} free-form curves and surfaces are not read; export polygons",) * bool(free_forms)
    notes = (*notes, *_note_weights(coordinates, columns))
    polygons = Polygons(take_columns(coordinates, columns, 3), corners, sizes, notes)
    if not colors:
        return polygons
    painted, more = _read_colors(path, polygons, paint, faces)
    if painted is None or not painted.textures:
        of_vertices, told = _read_vertex_colors(coordinates, columns, corners)
        # Exporters write a material where colours are those of the vertices, and white vertices beside materials.
        if painted is None or (of_vertices is not None and not of_vertices.is_plain):
            painted, more = of_vertices, (*more, *told)
        elif painted.is_plain:
            more = (*more, *told)
    return replace(polygons, colors=painted, notes=(*notes, *more))


def find_material_files(path: Path) -> list[Path | None]:
    """Return the files of materials that an .obj file names, and the textures that these name."""
    return list_material_files(path, re.findall(rb"(?m)^\s*mtllib\s+(.*)$", _read_text(path)))


def _read_text(path: Path) -> bytes:
    """Return the lines of an .obj file without comments, each as long as it goes on."""
    data = NOT_A_NUMBER.sub(b"nan", b"\n".join(read_lines(path.read_bytes())))
    data = re.sub(rb"#[^\n]*", _keep_names, data)
    return re.sub(rb"\\[ \t]*\n", b" ", data)  # after the comments, whose backslashes continue nothing


def _keep_names(comment: re.Match[bytes]) -> bytes:
    """Return nothing in place of a comment, but what may be a part of a name of a material or a file as it is."""
    data, start = comment.string, comment.start()
    line = data[data.rfind(b"\n", 0, start) + 1 : start].lstrip()
    return comment[0] if line.startswith((b"usemtl", b"mtllib")) else b""


def _read_colors(
    path: Path, polygons: Polygons, paint: Paint, faces: list[bytes]
) -> tuple[CornerColors | None, tuple[str, ...]]:
    """Return the colours that an .obj file's materials give to corners, or None, and notes for the user."""
    if not paint.uses or not paint.libraries:
        return None, ()
    materials, notes = read_materials(path, paint.libraries)
    starts = [start for start, _ in paint.uses]
    names = [name if name in materials else drop_comment(name) for _, name in paint.uses]
    used = [materials.get(name) for name in names]
    lacking = {name: None for name in names if name not in materials}
    if lacking and materials:
        first = next(iter(lacking))[:80]
        others = f" and {len(lacking) - 1:,} others" * (len(lacking) > 1)
        notes += (
            f"warning: its materials define no {first!r}{others}, which {path.name} uses; such faces are white; the"
            " names must agree",
        )
    if not any(used):
        return None, notes
    lengths = np.diff([*starts, len(polygons.sizes)])
    of_face = np.concatenate([np.full(starts[0], -1), np.repeat(np.arange(len(used)), lengths)])
    material = np.repeat(of_face, polygons.sizes)
    plain = np.array([*(m.color if m else (1, 1, 1) for m in used), (1, 1, 1)], np.float32)
    colors = CornerColors(plain[material])
    textures = list({id(m.texture): m.texture for m in used if m and m.texture}.values())
    if not textures:
        return colors, notes
    try:
        uv, known = _read_coordinates(polygons, paint, faces)
    except ValueError as error:  # no reason to refuse a shape
        return colors, (*notes, f"warning: its texture coordinates are left out, and its textures with them ({error})")
    moves = np.array([*((*m.scale, *m.offset) if m else (1, 1, 0, 0) for m in used), (1, 1, 0, 0)])[material]
    uv = (uv * moves[:, :2] + moves[:, 2:]) * (1, -1) + (0, 1)
    index = {id(texture): number for number, texture in enumerate(textures)}
    table = np.array([*(index[id(m.texture)] if m and m.texture else -1 for m in used), -1], np.int32)
    bits = max(texture.bits for texture in textures)
    texture = np.where(known, table[material], -1).astype(np.int32)
    # The texture stands in place of the colour, which faces without coordinates have.
    values = np.where(texture[:, None] >= 0, np.float32(1), colors.values)
    return CornerColors(values, bits, uv.astype(np.float32), texture, tuple(textures)), notes


def _read_vertex_colors(
    coordinates: Float[ndarray, " n"], columns: Int[ndarray, " r"], corners: Int[ndarray, " c"]
) -> tuple[CornerColors | None, tuple[str, ...]]:
    """Return the colours that an .obj file's ``v`` lines give to corners, or None, and notes for the user.

    Args:
        coordinates: the numbers of the ``v`` lines.
        columns: how many each line has: behind the colour there may be an alpha.
        corners: indices of vertices.
    """
    colored = (columns == 6) | (columns == 7)
    if not colored.any() or not ((corners >= 0) & (corners < len(columns))).all():
        return None, ()
    if not colored.all():
        return None, (
            f"warning: the colours of its vertices are left out, for {(~colored).sum():,} of {len(columns):,} have none"
            "; give each x y z r g b",
        )
    notes = list[str]()
    colors = CornerColors.from_numbers(take_columns(coordinates, columns, 6)[:, 3:], notes)
    if colors is not None and columns.max() == 7:
        notes.append("the alpha of its vertices' colours is left out")
    return colors and colors.take(corners), tuple(notes)


def _read_coordinates(
    polygons: Polygons, paint: Paint, faces: list[bytes]
) -> tuple[Float[ndarray, "c 2"], Bool[ndarray, " c"]]:
    """Return texture coordinates of corners, to the right and up, and whether all corners of a face have some."""
    numbers, columns = parse_rows(paint.coordinates)
    place = (np.cumsum(columns) - columns)[:, None] + np.arange(2)
    # A second number that is not there is 0.
    table = np.append(numbers, 0)[np.where(columns[:, None] > np.arange(2), place, len(numbers))]
    words = b" ".join(faces).split()  # 1/2/3: the second is the coordinates' index, which may be missing
    index = to_indices(np.array([float(parts[1] or 0) if len(parts := word.split(b"/")) > 1 else 0 for word in words]))
    index = np.where(index > 0, index - 1, index + np.repeat(np.array(paint.before, np.int64), polygons.sizes))
    missing = np.array([len(parts := word.split(b"/")) < 2 or not parts[1] for word in words], bool)
    missing |= (index < 0) | (index >= len(table))
    first = np.cumsum(polygons.sizes) - polygons.sizes
    broken = np.add.reduceat(missing, first[polygons.sizes > 0]) > 0 if len(missing) else np.zeros(0, bool)
    uv = table[np.where(missing, 0, index)] if len(table) else np.zeros((len(words), 2))
    return uv, ~np.repeat(broken, polygons.sizes[polygons.sizes > 0])


def _note_weights(coordinates: Float[ndarray, " n"], columns: Int[ndarray, " r"]) -> tuple[str, ...]:
    """Return a warning if vertices have a fourth number other than 1, by which some programs mean to divide them."""
    weights = coordinates[(np.cumsum(columns) - 1)[columns == 4]]
    weighted = int((weights != 1).sum())
    return (f"warning: {weighted:,} vertices have a fourth number, a weight, which is not used",) * bool(weighted)
