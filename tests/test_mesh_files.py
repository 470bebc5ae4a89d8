"""What is fitted is what the file holds: meshes as programs write them, each read whole or refused in one line."""

import base64
import codecs
import os
import re
import struct
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import trimesh

from winner_nerfstudio.signals.cloud import load_surface
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.shape import load_shape
from winner_nerfstudio.signals.shape.reading import read_mesh
from winner_nerfstudio.signals.shape.reading.ply import read_ply_points
from winner_nerfstudio.signals.shape.reading.polygons import Polygons, triangulate

from .clouds import ball
from .gltf import Writer
from .meshes import sphere

QUADS = [(3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
"""A box's sides as indices of `corners_of`, wound outwards."""


def corners_of(lower, upper):
    (a, b, c), (d, e, f) = lower, upper
    return [(a, b, c), (d, b, c), (d, e, c), (a, e, c), (a, b, f), (d, b, f), (d, e, f), (a, e, f)]


def refusal(path):
    with pytest.raises(SignalError) as caught:
        load_shape(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def solid(path, volume, faces=None):
    """The shape of a file, which is watertight and has that volume."""
    shape = load_shape(path)
    assert shape.closed, shape.describe()
    assert shape.mesh.volume / shape.normalization.scale**3 == pytest.approx(volume, rel=1e-3)
    assert faces is None or len(shape.mesh.faces) == faces
    return shape


# Wavefront .obj

PARTS = [((0, 0, 0), (1, 1, 1)), ((2, 0, 0), (3, 2, 1)), ((4, 0, 0), (5, 1, 3))]
"""Boxes of 1, 2 and 3 units of volume."""


def relative(quad):
    return " ".join(str(index - 8) for index in quad)


def relative_with_textures(quad):
    return " ".join(f"{index - 8}/{-1 - index % 2}/-1" for index in quad)


def counted(part, quad):
    return " ".join(str(index + 1 + 8 * part) for index in quad)


OBJ_FACES = {
    "relative": lambda part, quad: relative(quad),
    "relative with textures": lambda part, quad: relative_with_textures(quad),
    "counted": counted,
    "counted with normals": lambda part, quad: " ".join(f"{index + 1 + 8 * part}//{part + 1}" for index in quad),
    "both": lambda part, quad: relative(quad) if part == 1 else counted(part, quad),
}


def parts_of_obj(face):
    lines = []
    for part, box in enumerate(PARTS):
        lines += [f"o part{part}", *("v {:g} {:g} {:g}".format(*corner) for corner in corners_of(*box))]
        lines += ["vt 0 0", "vt 1 1", "vn 0 0 1", "usemtl grey", *(f"f {face(part, quad)}" for quad in QUADS)]
    return lines


@pytest.mark.parametrize("name", OBJ_FACES)
def test_parts_of_an_obj_file_that_are_written_one_after_the_other_keep_their_corners(tmp_path, name):
    path = tmp_path / "parts.obj"
    path.write_text("\n".join(parts_of_obj(OBJ_FACES[name])) + "\n")
    shape = solid(path, 6, 36)
    middles = np.array([[0.5, 0.5, 0.5], [2.5, 1.5, 0.5], [4.5, 0.5, 2.5]])
    assert shape.inside(shape.normalization.to_unit(middles)).all()


OBJ_TEXTS = {
    "padding behind": lambda text: text.encode() + b"\x1a" + bytes(100),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "byte order mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "comments": lambda text: text.replace("\n", "  # f 1 2 3\n").encode(),
    "comments that end with a backslash": lambda text: text.replace("\n", "\n# from C:\\parts\\\n").encode(),
    "faces by their old name": lambda text: re.sub(r"(?m)^f ", "fo ", text).encode(),
    "continued lines": lambda text: text.replace(" 4 ", " 4 \\\n").replace(" 0 ", " 0 \\\r\n").encode(),
    "tabs and blanks": lambda text: text.replace(" ", "\t").replace("\n", " \n\n  ").encode(),
    "colours": lambda text: re.sub(r"(?m)^(v .*)$", r"\1 0.5 0.5 1", text).encode(),
    "Fortran": lambda text: text.replace("v 5 ", "v 5.0D+00 ").encode(),
    "a name in latin 1": lambda text: text.encode() + b"g \xe4\xff\n",
}  # fmt: skip


@pytest.mark.parametrize("name", OBJ_TEXTS)
def test_an_obj_file_is_read_however_its_text_is_written(tmp_path, name):
    (tmp_path / "parts.obj").write_bytes(OBJ_TEXTS[name]("\n".join(parts_of_obj(counted)) + "\n"))
    solid(tmp_path / "parts.obj", 6, 36)


def test_a_material_library_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "grey.mtl")
    (tmp_path / "parts.obj").write_text("\n".join(["mtllib grey.mtl", *parts_of_obj(counted)]))
    solid(tmp_path / "parts.obj", 6)


@pytest.mark.parametrize(
    "face, words",
    [
        ("1 2 9", "face 1 of 2 refers to vertex 9, but the file has 3"),
        ("-1 -2 -4", "face 1 of 2 refers to vertex 0, but the file has 3"),
        ("0 1 2", "vertices count from 1"),
        ("1 2 x", "'x' is no number"),
        ("1 2 2.5", "2.5 is no index"),
    ],
)
def test_a_face_of_other_vertices_than_the_file_has_is_refused(tmp_path, face, words):
    (tmp_path / "face.obj").write_text(f"v 0 0 0\nv 1 0 0\nv 0 1 0\nf {face}\nf 1 2 3\n")
    assert words in refusal(tmp_path / "face.obj")


@pytest.mark.parametrize(
    "line, words",
    [
        ("surf 0 1 0 1 1 2 3 4", "1 free-form curves and surfaces are not read"),
        ("v 1 2 3 0.5", "1 vertices have a fourth number, a weight, which is not used"),
    ],
)
def test_what_an_obj_file_holds_beside_polygons_is_told(tmp_path, line, words):
    (tmp_path / "parts.obj").write_text("\n".join([*parts_of_obj(counted), "v 1 2 3 1.0", line]))
    assert words in "\n".join(solid(tmp_path / "parts.obj", 6, 36).repairs)


def test_faces_that_are_lines_are_left_out_and_that_is_told(tmp_path):
    (tmp_path / "parts.obj").write_text("\n".join([*parts_of_obj(counted), "f 1 2", "f 3"]))
    shape = solid(tmp_path / "parts.obj", 6, 36)
    assert "repaired: left out 2 faces with fewer than three corners" in shape.repairs


# Stereolithography, .stl

CUBE = trimesh.creation.box((1, 1, 1))
BINARY = CUBE.export(file_type="stl")


def text_of_stl(name="cube", end="endsolid cube"):
    rows = [f"solid {name}"]
    for normal, triangle in zip(CUBE.face_normals, CUBE.triangles, strict=True):
        rows += ["facet normal {:e} {:e} {:e}".format(*normal), "outer loop"]
        rows += ["vertex {:e} {:e} {:e}".format(*corner) for corner in triangle] + ["endloop", "endfacet"]
    return "\n".join([*rows, end]) + "\n"


def with_count(count, data=BINARY):
    return data[:80] + struct.pack("<I", count) + data[84:]


def with_header(text):
    return text.ljust(80)[:80] + BINARY[80:]


UNFINISHED = {
    "end solid": (text_of_stl(end="end solid cube").encode(), None),
    "no end": (text_of_stl(end="").encode(), "warning: the text has no endsolid; read the 12 facets that it holds"),
    "CR": (text_of_stl().replace("\n", "\r").encode(), None),
    "one line": (text_of_stl().replace("\n", " ").encode(), None),
    "capitals": (text_of_stl().upper().encode(), None),
    "parted words": (text_of_stl().replace("endfacet", "end facet").replace("endloop", "end loop").encode(), None),
    "no beginning": (text_of_stl().split("\n", 1)[1].encode(), None),
    "no name": (text_of_stl("", "endsolid").encode(), None),
    "a name of the format's words": (text_of_stl("facet vertex loop endfacet", "endsolid facet vertex").encode(), None),
    "a name like a facet's beginning": (
        text_of_stl("my facet normal vertex loop", "endsolid facet normal x").encode(),
        None,
    ),
    "two solids": (text_of_stl().encode() * 2, "repaired: dropped 12 empty or doubled faces"),
    "byte order mark": (codecs.BOM_UTF8 + text_of_stl().encode(), None),
    "UTF-16": (text_of_stl().encode("utf-16"), None),
    "a few bytes behind": (BINARY + b"\0\0", "warning: 2 bytes follow the last facet; left out"),
    "padding behind": (BINARY + bytes(428), "warning: 428 bytes follow the last facet; left out"),
    "a remark behind": (BINARY + b"written by a scanner " * 5, "warning: 105 bytes follow the last facet; left out"),
    "text and padding behind": (text_of_stl().encode() + bytes(512), None),
    "text and its end mark": (text_of_stl().encode() + b"\x1a", None),
    "count of zero": (with_count(0), "repaired: the header says 0 facets, the file holds 12; read these"),
    "unknown count": (with_count(2**32 - 1), "repaired: the header says 4,294,967,295 facets, the file holds 12"),
    "count of zero and bytes behind": (with_count(0) + b"\0", "warning: 1 bytes follow the last facet; left out"),
    "binary that begins as text": (with_header(b"solid cube"), None),
    "binary with all words of text": (with_header(b"solid facet normal outer loop vertex"), None),
    "binary as text, bytes behind": (with_header(b"solid cube\nfacet normal") + b"\0", "warning: 1 bytes follow"),
}


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_stl_file_that_departs_from_the_letter_is_read_whole(tmp_path, name):
    data, said = UNFINISHED[name]
    (tmp_path / "cube.stl").write_bytes(data)
    shape = solid(tmp_path / "cube.stl", 1, 12)
    repairs = "\n".join(line for line in shape.repairs if "welded" not in line)
    assert said in repairs if said else repairs == ""


CUT = {
    "fewer than it says": (BINARY[:-100], "the header says 12 facets, but the file holds 10"),
    "more than it says": (with_count(5), "the header says 5 facets, but the file holds 12"),
    "a corner short": (text_of_stl().rsplit("vertex", 1)[0].encode(), "12 facets begin and 11 end, with 35 corners"),
    "a number short": (text_of_stl().rsplit(" ", 2)[0].encode(), "12 facets begin and 11 end"),
    "two numbers": (re.sub(r" \S+\nendl", "\nendl", text_of_stl(), count=1).encode(), "'endloop' is no number"),
    "words": (text_of_stl().replace("vertex 5", "vertex five", 1).encode(), "'five.000000e-01' is no number"),
    "nothing": (b"solid\nendsolid\n", "holds no triangles"),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_an_stl_file_that_is_cut_is_refused_and_both_counts_are_said(tmp_path, name):
    data, words = CUT[name]
    (tmp_path / "cube.stl").write_bytes(data)
    assert words in refusal(tmp_path / "cube.stl")


# Polygon file format, .ply

HOUSE = np.array([*corners_of((0, 0, 0), (1, 1, 1)), (0.5, 0.5, 1.6)])
HOUSE_FACES = [*QUADS[:1], *QUADS[2:], (4, 5, 8), (5, 6, 8), (6, 7, 8), (7, 4, 8)]
LETTERS = {"uchar": "B", "char": "b", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}


def ply(encoding, *elements, end="\n"):
    """Elements are (name, properties, rows); a list among a row's values is a list of the file."""
    head, body = ["ply", f"format {encoding} 1.0", "comment by hand"], b""
    mark = ">" if "big" in encoding else "<"
    for name, properties, rows in elements:
        head += [f"element {name} {len(rows)}", *(f"property {text}" for text in properties)]
        for row in rows:
            for text, value in zip(properties, row, strict=True):
                words = text.split()
                numbers = [len(value), *value] if words[0] == "list" else [value]
                kinds = [words[1], *[words[2]] * len(value)] if words[0] == "list" else [words[0]]
                if encoding == "ascii":
                    body += (" ".join(map(str, numbers)) + " ").encode()
                else:
                    body += struct.pack(mark + "".join(LETTERS[kind] for kind in kinds), *numbers)
            body += b"\n" if encoding == "ascii" else b""
    return end.join([*head, "end_header", ""]).encode() + body


def vertices(kind="float", points=HOUSE):
    return ("vertex", [f"{kind} x", f"{kind} y", f"{kind} z"], [tuple(map(float, point)) for point in points])


CORNERS = "list uchar int vertex_indices"
COLOURED = ["uchar red", CORNERS, "list uchar float texcoord", "float quality"]
ENCODINGS = ["ascii", "binary_little_endian", "binary_big_endian"]
MIXED = {
    "plain": lambda: [vertices(), ("face", [CORNERS], [(face,) for face in HOUSE_FACES])],
    "double, other names": lambda: [
        vertices("double"), ("face", ["list uint uint vertex_index"], [(face,) for face in HOUSE_FACES]),
    ],
    "lists and numbers about": lambda: [
        vertices(), ("face", COLOURED, [(7, face, [0.5] * (2 * i % 5), 1.0) for i, face in enumerate(HOUSE_FACES)]),
    ],
    "alike but for the last": lambda: [
        vertices(), ("face", [CORNERS], [(face,) for face in sorted(HOUSE_FACES, key=len)]),
    ],
    "lists of vertices, other elements": lambda: [
        ("camera", ["float view", "list uchar int seen"], [(1.0, [1, 2]), (2.0, [])]),
        ("vertex", ["list uchar uchar seen", "float z", "float y", "float x"],
         [([1] * (i % 3), float(z), float(y), float(x)) for i, (x, y, z) in enumerate(HOUSE)]),
        ("edge", ["int vertex1", "int vertex2"], [(0, 1)] * 3),
        ("face", [CORNERS], [(face,) for face in HOUSE_FACES]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", MIXED)
def test_a_ply_file_of_quads_beside_triangles_is_read_whole(tmp_path, name, encoding):
    (tmp_path / "house.ply").write_bytes(ply(encoding, *MIXED[name]()))
    assert solid(tmp_path / "house.ply", 1.2, 14).repairs == ()


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_ply_header_may_end_its_lines_as_it_will(tmp_path, encoding, end):
    # With CR alone the first number may begin with the byte that LF is.
    points = HOUSE.copy()
    points[0, 0] = struct.unpack("<f" if "little" in encoding else ">f", b"\n\0\0\0")[0]
    mesh = [vertices(points=points), ("face", [CORNERS], [(face,) for face in HOUSE_FACES])]
    (tmp_path / "house.ply").write_bytes(ply(encoding, *mesh, end=end))
    assert len(solid(tmp_path / "house.ply", 1.2, 14).mesh.vertices) == 9


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_ply_file_may_have_capitals_and_a_byte_order_mark(tmp_path, encoding):
    name, properties, rows = vertices()
    mesh = [(name, [text.replace(" x", " X") for text in properties], rows), *MIXED["plain"]()[1:]]
    (tmp_path / "house.ply").write_bytes(b"\xef\xbb\xbf" + ply(encoding, *mesh))
    assert solid(tmp_path / "house.ply", 1.2, 14).repairs == ()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_all_names_of_a_ply_file_may_have_capitals(tmp_path, encoding):
    points, normals = ball(300)
    colors = np.random.default_rng(0).integers(0, 256, (300, 3))
    names = [f"double {name}" for name in ("X", "Y", "Z", "NX", "NY", "NZ")]
    names += [f"uchar {name}" for name in ("Red", "Green", "Blue")]
    rows = [(*point, *normal, *color) for point, normal, color in zip(points, normals, colors.tolist(), strict=True)]
    (tmp_path / "cloud.ply").write_bytes(ply(encoding, ("Vertex", names, rows)))
    found, found_normals, notes, found_colors = read_ply_points(tmp_path / "cloud.ply")
    np.testing.assert_allclose(found, points)
    np.testing.assert_allclose(found_normals, normals)
    np.testing.assert_allclose(found_colors.values * 255, colors, atol=1e-4)
    assert notes == ()
    faces = ("Face", ["list uchar int Vertex_Indices"], [(face,) for face in HOUSE_FACES])
    (tmp_path / "house.ply").write_bytes(ply(encoding, vertices(), faces))
    assert solid(tmp_path / "house.ply", 1.2, 14).repairs == ()


SIDES = [[a, b, d, c] for a, b, c, d in QUADS]
STRIPS = {
    "one each": [(side,) for side in SIDES],
    "parted by -1": [([corner for side in SIDES for corner in (*side, -1)],)],
    # Of an even count, so that the next side winds as the last did.
    "joined by doubled corners": [([corner for side in SIDES for corner in (side[0], *side, side[-1])][1:],)],
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", STRIPS)
def test_a_ply_file_of_triangle_strips_is_read_whole_and_all_wind_alike(tmp_path, name, encoding):
    points = corners_of((0, 0, 0), (1, 1, 1))
    strips = ("tristrips", ["list int int vertex_indices"], STRIPS[name])
    (tmp_path / "cube.ply").write_bytes(ply(encoding, vertices(points=points), strips))
    mesh, _, notes = read_mesh(tmp_path / "cube.ply")
    assert len(mesh.faces) == 12
    assert mesh.is_winding_consistent
    assert mesh.volume == pytest.approx(1)
    assert notes == ()
    assert load_surface(tmp_path / "cube.ply").closed


def whole_house(encoding="binary_little_endian"):
    return ply(encoding, *MIXED["plain"]())


ONE = ply("ascii", vertices(), ("face", [CORNERS], [((0, 1, 9),)]))
MORE = whole_house("ascii").replace(b"0.0 \n", b"0.0 7.0 \n")
NO_TYPE = "a line that means nothing in .ply files: 'property float128 z'"
BROKEN_PLY = {
    "cut faces": (whole_house()[:-5], "the header says 9 rows of face, but the file ends before"),
    "cut vertices": (whole_house()[:200], "the header says 9 rows of vertex, but the file ends before"),
    "cut text": (whole_house("ascii")[:-9], "the header says 9 rows of face, but the file ends before"),
    "many faces": (whole_house().replace(b"face 9", b"face 99999999999"), "99,999,999,999 rows of face, but the file"),
    "no corners": (whole_house().replace(b"_indices", b"_numbers"), "no list vertex_indices, but vertex_numbers"),
    "no z": (whole_house().replace(b"float z", b"float w"), "has no vertices with z"),
    "unknown type": (whole_house().replace(b"float z", b"float128 z"), NO_TYPE),
    "other corner": (ONE, "face 1 of 1 refers to vertex 10, but the file has 9"),
    "a number more": (MORE, "row 1 of vertex has 4 numbers, but the header names 3 properties"),
    "twice as many": (
        ply("ascii", vertices()).replace(b" \n", b" 0 0 1\n"),
        "row 1 of vertex has 6 numbers, but the header names 3",
    ),
    "a number less": (
        ply("ascii", vertices()).replace(b"1.0 1.0 1.0 \n", b"1.0 1.0\n"),
        "of vertex has 2 numbers, but the header names 3",
    ),
    "later element": (
        ply("ascii", vertices(), ("edge", ["int vertex1", "int vertex2"], [(0, 1)] * 3)).replace(b"0 1 \n", b"0 1 2\n"),
        "row 1 of edge has 3 numbers, but the header names 2 properties",
    ),
    "negative length": (ONE.replace(b"3 0 1 9", b"-3 0 1 9"), "the file ends before"),
}


@pytest.mark.parametrize("name", BROKEN_PLY)
def test_a_ply_file_that_holds_other_than_its_header_says_is_refused(tmp_path, name):
    data, words = BROKEN_PLY[name]
    (tmp_path / "house.ply").write_bytes(data)
    assert words in refusal(tmp_path / "house.ply")


@pytest.mark.parametrize("sizes", [[1] * 27, [2, 1] * 9, [9] * 3, [27]], ids=["one", "two", "three rows", "all"])
def test_rows_of_a_text_ply_file_may_go_on_in_further_lines_or_share_one(tmp_path, sizes):
    head, mark, body = ply("ascii", vertices()).partition(b"end_header\n")
    lines = [b" ".join(words) for words in np.split(np.array(body.split()), np.cumsum(sizes)[:-1])]
    (tmp_path / "a.ply").write_bytes(head + mark + b"\n".join(lines))
    np.testing.assert_array_equal(read_ply_points(tmp_path / "a.ply")[0], HOUSE)


def test_what_follows_the_elements_of_a_ply_file_is_told(tmp_path):
    (tmp_path / "house.ply").write_bytes(whole_house() + b"tail")
    assert solid(tmp_path / "house.ply", 1.2).repairs == ("warning: 4 bytes follow what the header counts; left out",)
    (tmp_path / "house.ply").write_bytes(whole_house("ascii") + b"3 4 7 6\n")
    assert solid(tmp_path / "house.ply", 1.2).repairs == ("warning: 4 values follow what the header counts; left out",)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_points_of_a_ply_file_are_read_by_the_same_reader(tmp_path, encoding):
    points, normals = ball(300)
    names = ["double x", "list uchar int seen", "double y", "double z", "float nx", "float ny", "float nz"]
    rows = [(x, [1] * (i % 3), y, z, *normals[i]) for i, (x, y, z) in enumerate(points)]
    (tmp_path / "cloud.ply").write_bytes(ply(encoding, ("vertex", names, rows), ("face", [CORNERS], [])))
    cloud = load_surface(tmp_path / "cloud.ply")
    np.testing.assert_allclose(cloud.normalization.to_world(cloud.points), points, atol=1e-12)
    np.testing.assert_allclose(cloud.normals, normals, atol=1e-6)


# glTF

VERTICES, FACES = sphere(subdivisions=2).vertices, sphere(subdivisions=2).faces
VOLUME = sphere(subdivisions=2).volume


QUANTISED = {
    "16 bits, normalised": ("<i2", 32767, True),
    "16 bits without sign, normalised": ("<u2", 65535, True),
    "8 bits, normalised": ("i1", 127, True),
    "8 bits without sign, normalised": ("u1", 255, True),
    "16 bits": ("<i2", 30000, False),
    "16 bits without sign": ("<u2", 4095, False),
}
"""Type of the whole numbers that vertices are, which of them stands for 1, and whether that is left to the reader."""


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_vertices_have_the_size_that_is_meant(tmp_path, name):
    kind, limit, normalised = QUANTISED[name]
    # A ball of radius 50 about (100, 0, 0), by the transformation of its node.
    signed = np.dtype(kind).kind == "i"
    numbers = np.round((VERTICES if signed else (VERTICES + 1) / 2) * limit).astype(kind)
    scale = (50 if signed else 100) / (1 if normalised else limit)
    writer = Writer(scale=[scale] * 3, translation=[100, 0, 0] if signed else [50, -50, -50])
    writer.require("KHR_mesh_quantization")
    marks = {"normalized": True} if normalised else {}
    faces = writer.accessor(FACES.reshape(-1, 1).astype("<u2"))
    writer.primitive(writer.accessor(numbers, -numbers[0].nbytes % 4, **marks), faces)
    writer.write(tmp_path / "ball.glb")
    shape = load_shape(tmp_path / "ball.glb")
    assert shape.closed
    assert shape.repairs == ()
    assert shape.mesh.extents / shape.normalization.scale == pytest.approx(100, rel=1e-2)
    assert shape.normalization.center == pytest.approx((100, 0, 0), abs=0.5)


def compressed(faces=FACES, said=FACES):
    """A ball that Draco has compressed, and a document that says how many faces it has."""
    DracoPy = pytest.importorskip("DracoPy")
    writer = Writer(scale=[3, 3, 3])
    writer.require("KHR_draco_mesh_compression")
    view = writer.view(DracoPy.encode(VERTICES.astype("f4"), faces.astype("u4"), quantization_bits=14))
    extension = {"KHR_draco_mesh_compression": {"bufferView": view, "attributes": {"POSITION": 0}}}
    positions = writer.describe(VERTICES.astype("f4"))
    writer.primitive(positions, writer.describe(said.reshape(-1, 1).astype("u4")), extensions=extension)
    return writer


def test_a_mesh_that_draco_has_compressed_is_read(tmp_path):
    shape = solid(compressed().write(tmp_path / "ball.glb"), 27 * VOLUME, len(FACES))
    assert shape.repairs == ()


def test_a_draco_part_of_other_faces_than_the_file_says_is_refused(tmp_path):
    path = compressed(FACES[:-20]).write(tmp_path / "ball.glb")
    assert refusal(path).startswith("the file says 320 triangles, but its Draco part has 300")


def test_a_draco_part_that_is_none_is_refused(tmp_path):
    writer = compressed()
    writer.data = bytes(range(256)) * (len(writer.data) // 256) + bytes(len(writer.data) % 256)
    assert "Draco compression cannot be decoded" in refusal(writer.write(tmp_path / "ball.glb"))


def test_without_dracopy_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    path = compressed().write(tmp_path / "ball.glb")
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    assert "DracoPy, which cannot be imported" in refusal(path)
    assert 'pip install "winner-nerfstudio[draco]"' in refusal(path)


def test_another_compression_is_refused_by_its_name(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    writer.require("KHR_materials_unlit", "EXT_meshopt_compression")
    assert refusal(writer.write(tmp_path / "ball.glb")).startswith("needs the extension EXT_meshopt_compression, which")


URIS = {
    "my%20model.bin": "my model.bin",
    "my model.bin": "my model.bin",
    "parts/b%C3%A4ll%23.bin": "parts/bäll#.bin",
    "./ball.bin": "ball.bin",
    "100%25.bin": "100%.bin",
    "100%.bin": "100%.bin",
}


@pytest.mark.parametrize("uri", URIS)
def test_a_buffer_is_found_by_its_name_percent_encoded_or_not(tmp_path, uri):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    file = tmp_path / URIS[uri]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(writer.data)
    solid(writer.write(tmp_path / "a model.gltf", uri), VOLUME)


def test_a_buffer_may_be_in_the_document(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    uris = [
        "data:application/octet-stream;base64," + base64.b64encode(writer.data).decode(),
        "data:application/octet-stream;base64," + base64.encodebytes(writer.data).decode(),
        "data:application/octet-stream," + quote(writer.data),
    ]
    for uri in uris:
        solid(writer.write(tmp_path / "ball.gltf", uri), VOLUME)


ELSEWHERE = ["../ball.bin", "%2e%2e/ball.bin", "/dev/zero", "link.bin", "pipe.bin", "missing.bin", "http://a.b/c.bin"]


@pytest.mark.parametrize("uri", ELSEWHERE)
def test_a_buffer_elsewhere_is_not_opened(tmp_path, uri):
    folder = tmp_path / "inner"
    folder.mkdir()
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    (tmp_path / "ball.bin").write_bytes(writer.data)
    (folder / "link.bin").symlink_to(tmp_path / "ball.bin")
    os.mkfifo(folder / "pipe.bin")
    said = refusal(writer.write(folder / "ball.gltf", uri))
    assert said.startswith(f"names the file {uri!r}, which is not in the same folder or below it")


def test_parts_without_vertices_faces_or_surface_are_left_out_and_that_is_told(tmp_path):
    writer = Writer()
    writer.primitive()
    writer.mesh(VERTICES, FACES)
    writer.primitive(0, mode=0)
    writer.primitive(writer.accessor(VERTICES[:2].astype("<f4")), mode=1)
    shape = solid(writer.write(tmp_path / "ball.glb"), VOLUME, len(FACES))
    assert shape.repairs == (
        "repaired: left out a part of a mesh that has no vertices",
        "repaired: left out points and lines, which are no surface",
    )
    writer = Writer()
    writer.primitive()
    said = refusal(writer.write(tmp_path / "nothing.glb"))
    assert said.startswith("holds no triangles (repaired: left out a part of a mesh that has no vertices)")


def test_meshes_of_no_indices_are_strips_fans_and_triangles(tmp_path):
    corners = np.array(corners_of((0, 0, 0), (1, 1, 1)), "<f4")
    writer = Writer()
    for number, (a, b, c, d) in enumerate(QUADS):
        mode, order = [(4, (a, b, c, a, c, d)), (5, (a, b, d, c)), (6, (a, b, c, d))][number % 3]
        if number < 3:
            writer.primitive(writer.accessor(corners[list(order)]), mode=mode)
        else:
            writer.primitive(writer.accessor(corners), writer.accessor(np.array(order, "u1")[:, None]), mode=mode)
    path = writer.write(tmp_path / "cube.glb")
    assert read_mesh(path)[0].volume == pytest.approx(1)
    assert "repaired: faces were wound both ways; wound them alike" not in solid(path, 1, 12).repairs


def test_a_sparse_accessor_is_what_it_changes_upon_what_it_has(tmp_path):
    moved = VERTICES.astype("<f4").copy()
    moved[::2] *= 2
    writer = Writer()
    rows = np.arange(0, len(VERTICES), 2)
    sparse = {
        "count": len(rows),
        "indices": {"bufferView": writer.view(rows.astype("<u2").tobytes()), "componentType": 5123},
        "values": {"bufferView": writer.view(VERTICES[rows].astype("<f4").tobytes())},
    }
    positions = writer.accessor(moved, sparse=sparse)
    writer.document["accessors"][positions].update(min=[-1, -1, -1], max=[1, 1, 1])
    writer.primitive(positions, writer.accessor(FACES.reshape(-1, 1).astype("<u2")))
    solid(writer.write(tmp_path / "ball.glb"), VOLUME)
    # And upon nothing: all others are zero.
    whole = {**sparse, "count": len(VERTICES)}
    whole["indices"] = {
        "bufferView": writer.view(np.arange(len(VERTICES)).astype("<u4").tobytes()),
        "componentType": 5125,
    }
    whole["values"] = {"bufferView": writer.view(VERTICES.astype("<f4").tobytes())}
    writer.document["accessors"][positions].update(sparse=whole)
    del writer.document["accessors"][positions]["bufferView"]
    solid(writer.write(tmp_path / "ball.glb"), VOLUME)


def test_instances_are_read_where_their_nodes_put_them_and_mirrored_ones_wind_outwards(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    turn = [0, 0, np.sin(np.pi / 4), np.cos(np.pi / 4)]  # x becomes y
    writer.document["scenes"] = [{"nodes": [1]}]
    writer.document["nodes"] = [
        {"mesh": 0, "translation": [10, 0, 0], "scale": [-1, 1, 1]},
        {"children": [0, 2], "rotation": turn, "scale": [2, 2, 2]},
        {"mesh": 0, "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1]},
    ]
    path = writer.write(tmp_path / "two.glb")
    mesh, *_ = read_mesh(path)
    np.testing.assert_allclose(mesh.bounds, [[-2, -2, -6], [2, 22, 6]], atol=1e-5)
    assert mesh.volume == pytest.approx(8 * 4 * VOLUME, rel=1e-5)


def test_morph_targets_are_applied_by_their_weights(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    target = {"POSITION": writer.accessor(VERTICES.astype("<f4"))}
    writer.document["meshes"][0]["primitives"][0]["targets"] = [target, target]
    writer.document["meshes"][0]["weights"] = [0, 0.5]
    solid(writer.write(tmp_path / "ball.glb"), 1.5**3 * VOLUME)


def test_weights_of_a_node_go_before_those_of_its_mesh(tmp_path):
    writer = Writer(weights=[1.0])
    writer.mesh(VERTICES, FACES)
    writer.document["meshes"][0]["primitives"][0]["targets"] = [{"POSITION": writer.accessor(VERTICES.astype("<f4"))}]
    writer.document["meshes"][0]["weights"] = [0.5]
    solid(writer.write(tmp_path / "ball.glb"), 2**3 * VOLUME)


def with_skeleton(path, shares, inverse=None, **node):
    """Half of a ball's vertices hang on each of two joints; the second is shifted by (5, 0, 0) within the first."""
    writer = Writer(skin=0, **node)
    writer.mesh(VERTICES, FACES)
    joints = np.tile(np.array([0, 1, 0, 0], "<u1"), (len(VERTICES), 1))
    attributes = writer.document["meshes"][0]["primitives"][0]["attributes"]
    attributes |= {"JOINTS_0": writer.accessor(joints), "WEIGHTS_0": writer.accessor(shares.astype("<f4"))}
    writer.document["nodes"] += [{"children": [2], "scale": [2, 2, 2]}, {"translation": [5, 0, 0]}]
    writer.document["scenes"][0]["nodes"].append(1)
    skin = {"joints": [1, 2]}
    if inverse is not None:
        columns = np.stack([matrix.T.reshape(-1) for matrix in inverse]).astype("<f4")
        skin["inverseBindMatrices"] = writer.accessor(columns)
    writer.document["skins"] = [skin]
    return writer.write(path)


def test_a_mesh_with_a_skeleton_lies_where_its_joints_put_it(tmp_path):
    """The node's own transformation has no effect (glTF 2.0, section 3.7.3.1)."""
    shares = np.zeros((len(VERTICES), 4))
    shares[:, 1] = np.linspace(0, 1, len(VERTICES))
    shares[:, 0] = 1 - shares[:, 1]
    expected = 2 * VERTICES + 10 * shares[:, 1:2] * [1, 0, 0]
    options = {"scale": [0.01] * 3, "translation": [7, 8, 9]}
    mesh, _, notes = read_mesh(with_skeleton(tmp_path / "a.glb", shares, **options))
    np.testing.assert_allclose(np.sort(mesh.vertices, 0), np.sort(expected, 0), atol=1e-4)
    assert any("is read as its joints stand in the file" in note for note in notes)
    # Weights are normalised, and what the joints did when the mesh was bound to them is undone.
    shift = np.eye(4)
    shift[:3, 3] = [-5, 0, 0]
    mesh, _, _ = read_mesh(with_skeleton(tmp_path / "b.glb", 3 * shares, [np.eye(4), shift], **options))
    np.testing.assert_allclose(np.sort(mesh.vertices, 0), np.sort(2 * VERTICES, 0), atol=1e-4)


def test_vertices_without_joints_are_as_modelled_and_that_is_told(tmp_path):
    path = with_skeleton(tmp_path / "a.glb", np.zeros((len(VERTICES), 4)), translation=[7, 8, 9])
    mesh, _, notes = read_mesh(path)
    np.testing.assert_allclose(np.sort(mesh.vertices, 0), np.sort(VERTICES + np.array([7, 8, 9]), 0), atol=1e-5)
    assert any("hang on no joint" in note for note in notes)


def test_nodes_that_are_not_visible_are_left_out_with_all_below_them_and_that_is_told(tmp_path):
    writer = Writer(extensions={"KHR_node_visibility": {"visible": True}})
    writer.mesh(VERTICES, FACES)
    hidden = {"children": [2], "extensions": {"KHR_node_visibility": {"visible": False}}}
    writer.document["nodes"] += [hidden, {"mesh": 0, "translation": [9, 0, 0]}]
    writer.document["scenes"] = [{"nodes": [0, 1]}]
    writer.require("KHR_node_visibility")
    (note,) = solid(writer.write(tmp_path / "a.glb"), VOLUME, len(FACES)).repairs
    assert note == "warning: left out nodes that are not visible (KHR_node_visibility), with all below them"


def test_other_scenes_than_the_one_shown_are_told(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    writer.document["scenes"].append({"nodes": [0]})
    assert "warning: the file has 2 scenes" in "\n".join(solid(writer.write(tmp_path / "a.glb"), VOLUME).repairs)


def change(**changes):
    def apply(writer):
        for path, value in changes.items():
            *keys, last = path.split("__")
            item = writer.document
            for key in keys:
                item = item[int(key) if key.isdigit() else key]
            item[int(last) if last.isdigit() else last] = value

    return apply


BROKEN_GLTF = {
    "count": (change(accessors__0__count=10**6), "1,000,000 elements of 12 bytes are in a part of 1,944 bytes"),
    "huge count": (change(accessors__0__count=2**40), "an accessor has 1,099,511,627,776 elements; at most"),
    "view": (change(bufferViews__1__byteLength=10), "960 elements of 2 bytes are in a part of 10 bytes"),
    "behind the buffer": (change(bufferViews__1__byteOffset=3800), "is it whole?"),
    "no triangles": (change(accessors__1__count=959), "959 corners are no triangles of three each"),
    "own parent": (change(nodes__0__children=[0]), "node 0 has several parents or is its own"),
    "other node": (change(scenes__0__nodes=[5]), "the document refers to item 5 of 1"),
    "negative": (change(nodes__0__mesh=-1), "the document refers to item -1 of 1"),
    "mode": (change(meshes__0__primitives__0__mode=9), "mode 9, which glTF 2 does not have"),
    "other corner": (change(accessors__0__count=100), "refers to vertex"),
    "first version": (change(asset__version="1.0"), "is glTF 1.0; only glTF 2 can be read; open it in Blender"),
    "names for numbers": (change(asset={}, meshes={"ball": {}}), "is glTF 1.0; only glTF 2 can be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_GLTF)
def test_a_gltf_file_that_contradicts_itself_is_refused(tmp_path, name):
    apply, words = BROKEN_GLTF[name]
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    apply(writer)
    assert words in refusal(writer.write(tmp_path / "ball.glb"))


@pytest.mark.parametrize("other", [0, 1], ids=["before the other", "behind it"])
def test_a_corner_beyond_a_part_of_a_gltf_file_is_no_vertex_of_another(tmp_path, other):
    writer, faces = Writer(), FACES.copy()
    faces[5, 1] = len(VERTICES) + 7
    for index in range(2):
        writer.mesh(VERTICES + 3 * index, FACES if index != other else faces)
    words = f"face 6 of 320 refers to vertex {len(VERTICES) + 8}, but this part of a mesh has {len(VERTICES)}; is"
    assert words in refusal(writer.write(tmp_path / "two.glb"))


def test_a_glb_file_that_is_cut_or_unfinished_is_refused(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    path = writer.write(tmp_path / "ball.glb")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert f"the header says {len(whole):,} bytes, but the file has {len(whole) - 100:,}" in refusal(path)
    path.write_bytes(whole[:8] + bytes(4) + whole[12:])
    assert f"the header says 0 bytes, but the file has {len(whole):,}" in refusal(path)


def test_bounds_that_are_not_those_of_the_vertices_are_told(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    change(accessors__0__max=[5, 1, 1])(writer)
    said = "warning: the file says that vertices span [-1.0, -1.0, -1.0] to [5.0, 1.0, 1.0], but they span"
    assert solid(writer.write(tmp_path / "ball.glb"), VOLUME).repairs[0].startswith(said)


@pytest.mark.quality
def test_more_instances_than_memory_has_room_for_are_refused_at_once(tmp_path):
    writer = Writer()
    writer.mesh(VERTICES, FACES)
    writer.document["nodes"] = [{"mesh": 0}] * 100_000
    writer.document["scenes"] = [{"nodes": list(range(100_000))}]
    assert "the scene has more than 20,000,000 triangles" in refusal(writer.write(tmp_path / "many.glb"))


# Polygons

CHANNEL = [(0, 0), (3, 0), (3, 1), (1, 1), (1, 2), (3, 2), (3, 3), (0, 3)]
"""A square of side 3 without a slot of 2 by 1 that opens to the right: seven units of area."""


def comb(teeth):
    """A comb with teeth upwards, of area 3 * teeth - 1."""
    outline = [(0, 0), (2 * teeth - 1, 0)]
    for tooth in reversed(range(teeth)):
        outline += [(2 * tooth + 1, 2), (2 * tooth, 2)] + [(2 * tooth, 1), (2 * tooth - 1, 1)] * (tooth > 0)
    return outline


def with_points_between(outline, parts):
    """The outline with each edge cut into parts, so that most corners lie on straight lines."""
    corners = np.array(outline, float)
    steps = np.arange(parts)[:, None] / parts
    return np.concatenate([a + steps * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])


def spiral(turns=3, steps=40):
    angle = np.linspace(0, 2 * np.pi * turns, turns * steps)
    arm = np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.concatenate([arm * (1 + angle)[:, None], (arm * (2.5 + angle)[:, None])[::-1]])[::-1]


def star(points, seed=0):
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], -1) * rng.uniform(0.2, 1, (points, 1))


OUTLINES = {
    "channel": CHANNEL,
    "channel with corners between": with_points_between(CHANNEL, 3),
    "channel that begins in its slot": CHANNEL[3:] + CHANNEL[:3],
    "comb": comb(5),
    "comb with corners between": with_points_between(comb(4), 2),
    "dart": [(0, 0), (2, 1), (0, 2), (0.5, 1)],
    "dart from its notch": [(0.5, 1), (0, 0), (2, 1), (0, 2)],
    "triangle with corners between": with_points_between([(0, 0), (3, 0), (0, 3)], 4),
    "square with corners between": with_points_between([(0, 0), (3, 0), (3, 3), (0, 3)], 5),
    "a hole by a bridge": [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)],
    "spiral": spiral(),
    "star": star(101),
}


def area_of(outline):
    x, y = np.asarray(outline, float).T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


def prism(outline):
    """A prism of height 1: its bottom and its top are the outline, its sides are quads."""
    outline = np.asarray(outline, float)
    count = len(outline)
    points = np.concatenate([np.c_[outline, np.zeros(count)], np.c_[outline, np.ones(count)]])
    sides = [(i, (i + 1) % count, (i + 1) % count + count, i + count) for i in range(count)]
    return points, [tuple(reversed(range(count))), tuple(range(count, 2 * count)), *sides]


def write_obj(path, points, faces):
    lines = ["v {!r} {!r} {!r}".format(*point) for point in points.tolist()]
    path.write_text("\n".join([*lines, *("f " + " ".join(str(i + 1) for i in face) for face in faces)]) + "\n")


def write_off(path, points, faces, header="OFF"):
    rows = ["{!r} {!r} {!r}".format(*point) for point in points.tolist()]
    rows += [f"{len(face)} {' '.join(map(str, face))} 0.5 0.5 0.5" for face in faces]
    path.write_text("\n".join([header, "# by hand", f"{len(points)} {len(faces)} 0", *rows]) + "\n")


def write_ply(path, points, faces):
    corners = "list ushort int vertex_indices"
    path.write_bytes(
        ply("binary_little_endian", vertices("double", points), ("face", [corners], [(f,) for f in faces]))
    )


WRITERS = {".obj": write_obj, ".off": write_off, ".ply": write_ply}
TURN = trimesh.transformations.euler_matrix(0.3, 1.1, -0.7)[:3, :3]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("name", OUTLINES)
def test_polygons_cover_what_their_outline_does(tmp_path, name, suffix):
    outline = OUTLINES[name]
    points, faces = prism(outline)
    WRITERS[suffix](tmp_path / f"prism{suffix}", points @ TURN.T, faces)
    mesh, _, notes = read_mesh(tmp_path / f"prism{suffix}")
    assert notes == ()
    assert mesh.volume == pytest.approx(area_of(outline), rel=1e-9)
    edges = np.roll(np.asarray(outline, float), -1, 0) - outline
    assert mesh.area == pytest.approx(2 * area_of(outline) + np.linalg.norm(edges, axis=-1).sum(), rel=1e-6)
    assert load_shape(tmp_path / f"prism{suffix}").closed


def test_no_surface_is_in_the_slot_of_a_channel(tmp_path):
    write_obj(tmp_path / "channel.obj", *prism(CHANNEL))
    shape = load_shape(tmp_path / "channel.obj")
    points = shape.normalization.to_world(shape.sample_surface(np.random.default_rng(0), 20_000)[0])
    assert not ((points[:, 0] > 1.02) & (points[:, 1] > 1.02) & (points[:, 1] < 1.98)).any()
    slot = shape.normalization.to_unit(np.array([[2, 1.5, 0.1]]))
    assert shape.signed_distance(slot) / shape.normalization.scale == pytest.approx(0.5)


@pytest.mark.parametrize("bend", [1e-6, 1e-3, 0.05])
def test_a_polygon_that_is_not_quite_planar_is_cut_as_one_that_is(bend):
    outline = with_points_between(comb(6), 2)
    heights = bend * np.random.default_rng(0).standard_normal(len(outline))
    flat, bent = (
        triangulate(Path(), Polygons(np.c_[outline, z] @ TURN.T, np.arange(len(outline)), np.array([len(outline)])))
        for z in (0 * heights, heights)
    )
    assert bent[1] == flat[1] == ()
    first, second, third = outline[bent[0]].transpose(1, 0, 2)
    areas = np.cross(second - first, third - first) / 2
    assert areas.sum() == pytest.approx(area_of(outline))
    assert areas.min() > -0.05


def test_polygons_keep_their_order_and_quads_their_first_diagonal():
    square = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.4, 0.5, 0)], float)
    corners = [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4, 2, 3, 0]
    cut, _ = triangulate(Path(), Polygons(square, np.array(corners), np.array([3, 4, 5, 3])))
    faces = np.array(corners)[cut]
    assert faces[:3].tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3]]
    assert faces[6].tolist() == [2, 3, 0]
    notch = trimesh.Trimesh(square, faces[3:6], process=False)
    assert notch.area == pytest.approx(0.8)


def test_a_polygon_that_crosses_itself_is_told(tmp_path):
    points, faces = prism([(0, 0), (2, 0), (2, 2), (0, 2)])
    write_obj(tmp_path / "box.obj", points, [(0, 2, 1, 3), *faces[1:]])
    assert (
        "warning: 1 polygons cross themselves; what they cover may be wrong" in load_shape(tmp_path / "box.obj").repairs
    )


def test_a_polygon_of_very_many_corners_is_cut_if_that_does_not_take_long(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    faces, notes = triangulate(Path(), Polygons(circle, np.arange(len(angle)), np.array([len(angle)])))
    assert trimesh.Trimesh(circle, faces, process=False).area == pytest.approx(np.pi)
    assert notes == ()
    outline = star(5000)
    faces, notes = triangulate(Path(), Polygons(np.c_[outline, outline[:, 0]], np.arange(5000), np.array([5000])))
    first, second, third = outline[faces].transpose(1, 0, 2)
    assert np.abs(np.cross(second - first, third - first)).sum() / 2 == pytest.approx(area_of(outline))
    write_obj(tmp_path / "star.obj", *prism(star(30_000)))
    assert refusal(tmp_path / "star.obj").startswith(
        "has a concave polygon of 30,000 corners; at most 20,000 can be cut"
    )


# Colours that are not read
def test_colours_of_off_and_stl_files_are_told_not_to_be_read(tmp_path):
    points, faces = prism(CHANNEL)
    write_off(tmp_path / "channel.off", points, faces)
    text = (tmp_path / "channel.off").read_text().rstrip("\n")
    (tmp_path / "channel.off").write_text(text + " 255 0 0\n")
    trimesh.creation.box().export(tmp_path / "box.stl")
    data = bytearray((tmp_path / "box.stl").read_bytes())
    (tmp_path / "magics.stl").write_bytes(b"COLOR=\xff\0\0\xff".ljust(80) + data[80:])
    for facet in range(12):
        data[84 + 50 * facet + 48 : 84 + 50 * facet + 50] = (0x8000 + facet).to_bytes(2, "little")
    (tmp_path / "viscam.stl").write_bytes(data)
    for name in ("channel.off", "magics.stl", "viscam.stl"):
        assert any(f"colours of {name[-4:]} files are not read" in note for note in load_shape(tmp_path / name).repairs)
    assert not any("colours" in note for note in load_shape(tmp_path / "box.stl").repairs)


# Object file format, .off


@pytest.mark.parametrize("header", ["OFF", "COFF", "NOFF", "off"])
def test_an_off_file_may_have_colours_and_normals(tmp_path, header):
    points, faces = prism(CHANNEL)
    write_off(tmp_path / "channel.off", points, faces, header)
    if header == "off":
        assert "does not begin with OFF" in refusal(tmp_path / "channel.off")
    else:
        solid(tmp_path / "channel.off", 7)


BROKEN_OFF = {
    "cut": (lambda text: text[: len(text) // 2], "the header says 16 vertices and 10 faces, but"),
    "cut face": (lambda text: text.replace(" 3 2 1 0 0.5 0.5 0.5", "", 1), "face 1 says 8 corners, but 4 numbers"),
    "binary": (lambda text: text.replace("OFF", "OFF BINARY"), "is a binary .off file"),
    "four dimensions": (lambda text: text.replace("OFF", "4OFF"), "does not begin with OFF"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_an_off_file_that_holds_other_than_its_header_says_is_refused(tmp_path, name):
    change, words = BROKEN_OFF[name]
    write_off(tmp_path / "channel.off", *prism(CHANNEL))
    (tmp_path / "channel.off").write_text(change((tmp_path / "channel.off").read_text()))
    assert words in refusal(tmp_path / "channel.off")


def test_lines_after_the_faces_that_an_off_file_counts_are_told(tmp_path):
    points, faces = prism(CHANNEL)
    write_off(tmp_path / "channel.off", points, faces)
    with (tmp_path / "channel.off").open("a") as file:
        file.write("3 0 1 2\n")
    assert (
        "warning: 1 lines follow the faces that the header counts; left out"
        in solid(tmp_path / "channel.off", 7).repairs
    )
