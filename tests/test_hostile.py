"""Files made to take memory, time or other files: each loads within limits or is refused in one line.

Nothing here needs more than the 4 GB and 20 s that `tests.fuzz.load_all` gives.
"""

import io
import os
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import trimesh

from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.signals.shape.reading.polygons import Polygons, triangulate

from .fuzz import load_all
from .gltf import Writer
from .meshes import sphere


def ring(count, depth=0.0):
    """Corners of a star with `count` corners; every other one is nearer to the centre."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 1 - depth * (np.arange(count) % 2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), 0 * angle], -1)


def write_obj(path, vertices, faces):
    """Write vertices [v, 3] and faces, each a list of indices from 0."""
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in np.asarray(vertices).tolist()]
    lines += ["f " + " ".join(str(corner + 1) for corner in face) for face in faces]
    path.write_text("\n".join(lines) + "\n")


def polygon(count, depth=0.0):
    """A double pyramid whose base is cut by one polygon with so many corners."""

    def write(path):
        corners = np.concatenate([ring(count, depth), [[0, 0, 1]]])
        sides = [[i, (i + 1) % count, count] for i in range(count)]
        write_obj(path, corners, [list(range(count - 1, -1, -1)), *sides])

    return write


def scene_graph(mesh, nodes, roots):
    """A glTF scene with a mesh, these nodes, and those of them that begin it."""

    def write(path):
        writer = Writer()
        writer.mesh(mesh.vertices, mesh.faces)
        writer.document["nodes"] = nodes
        writer.document["scenes"] = [{"nodes": roots}]
        writer.write(path)

    return write


def scene(mesh, instances):
    """A glTF scene with a mesh in so many positions."""
    nodes = [{"mesh": 0, "translation": [3 * i, 0, 0]} for i in range(instances)]
    return scene_graph(mesh, nodes, list(range(instances)))


def nested_scene(depth):
    """Nodes each of which is the child of two, which would double the meshes at every level."""
    nodes = [{"mesh": 0}, *({"children": [i, i]} for i in range(depth))]
    return scene_graph(trimesh.creation.box(), nodes, [depth])


def deep_chain(depth):
    """Nodes each of which is the only child of another."""
    nodes = [{"mesh": 0}, *({"children": [i]} for i in range(depth))]
    return scene_graph(trimesh.creation.icosphere(1), nodes, [depth])


def accessor(**changes):
    """A glTF file whose accessors say something else."""

    def write(path):
        mesh, writer = trimesh.creation.box(), Writer()
        writer.mesh(mesh.vertices, mesh.faces)
        for accessor in writer.document["accessors"]:
            accessor.update(changes)
        writer.write(path)

    return write


def without_data(count):
    """A glTF accessor without data, which stands for so many zeros."""

    def write(path):
        mesh, writer = trimesh.creation.box(), Writer()
        writer.mesh(mesh.vertices, mesh.faces)
        for accessor in writer.document["accessors"]:
            del accessor["bufferView"]
            accessor["count"] = count
        writer.write(path)

    return write


def uri(name):
    """A glTF file whose buffer is in another file."""

    def write(path):
        mesh, writer = trimesh.creation.box(), Writer()
        writer.mesh(mesh.vertices, mesh.faces)
        if name == "pipe.bin":
            os.mkfifo(path.parent / name)
        writer.write(path, name)

    return write


def json_depth(path):
    """A glTF document of lists in lists."""
    path.write_text('{"asset":' + "[" * 100_000 + "]" * 100_000 + "}")


def three_mf(objects, build, types=""):
    """A .3mf file with such XML for its objects and for what it builds."""

    def write(path):
        space = 'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"'
        relation = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            root = f'<Relationship Target="/3D/m.model" Id="r" Type="{relation}"/>'
            archive.writestr("_rels/.rels", f'<Relationships xmlns="r">{root}</Relationships>')
            text = f"<?xml version='1.0'?>{types}<model unit='millimeter' {space}><resources>"
            archive.writestr("3D/m.model", text + objects + f"</resources><build>{build}</build></model>")

    return write


def solid(mesh, number=1):
    """The XML of an object of a .3mf file."""
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in mesh.vertices.tolist())
    faces = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in mesh.faces.tolist())
    inner = f"<mesh><vertices>{vertices}</vertices><triangles>{faces}</triangles></mesh>"
    return f'<object id="{number}" type="model">{inner}</object>'


def doubled(levels):
    """Objects of a .3mf file, each twice the one before."""
    objects = solid(trimesh.creation.box())
    for number in range(2, levels + 2):
        parts = f'<component objectid="{number - 1}"/>' * 2
        objects += f'<object id="{number}"><components>{parts}</components></object>'
    return objects


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("Slic3r_PE_model", '<metadata type="volume" key="volume_type" value="ParameterModifier"/>', True),
        ("Slic3r_PE_model", '<metadata type="volume" key="volume_type" value="ModelPart"/>', False),
        ("model_settings", '<part id="2" subtype="negative_part">', True),
        ("model_settings", '<part id="2" subtype="normal_part">', False),
    ],
)
def test_parts_that_a_slicer_does_not_print_as_solids_are_told(tmp_path, name, text, told):
    three_mf(solid(trimesh.creation.box()), '<item objectid="1"/>')(tmp_path / "a.3mf")
    with zipfile.ZipFile(tmp_path / "a.3mf", "a") as archive:
        archive.writestr(f"Metadata/{name}.config", f"<config>{text}</config>")
    lines = load_signal(tmp_path / "a.3mf", "sdf").describe()
    assert any("such as modifiers and negative parts; they are read as parts" in line for line in lines) == told


@pytest.mark.parametrize("corner, words", [(11, "vertex 12"), (-2, "vertex -1")])
def test_a_corner_beyond_an_object_of_a_3mf_file_is_no_vertex_of_another(tmp_path, corner, words):
    first, second, third = (solid(trimesh.creation.box(), number) for number in (1, 2, 3))
    objects = first + re.sub(r'v2="\d"', f'v2="{corner}"', second, count=1) + third
    three_mf(objects, "".join(f'<item objectid="{number}"/>' for number in (1, 2, 3)))(tmp_path / "a.3mf")
    with pytest.raises(ValueError, match=f"face 1 of 12 refers to {words}, but this object has 8; is the file whole"):
        load_signal(tmp_path / "a.3mf", "sdf")


@pytest.mark.parametrize("printable, told", [("0", True), ("1", False)])
def test_items_of_a_3mf_file_that_are_not_printed_are_told(tmp_path, printable, told):
    item = f'<item objectid="1" printable="{printable}"/>'
    three_mf(solid(trimesh.creation.box()), item)(tmp_path / "a.3mf")
    lines = load_signal(tmp_path / "a.3mf", "sdf").describe()
    assert any("marked as not to be printed; they are read as parts" in line for line in lines) == told


def test_the_unit_of_a_3mf_file_is_told_and_two_units_are_refused(tmp_path):
    write = three_mf(solid(trimesh.creation.box()), '<item objectid="1"/>')
    write(tmp_path / "box.3mf")
    assert "its unit is the millimeter" in load_signal(tmp_path / "box.3mf", "sdf").describe()
    with zipfile.ZipFile(tmp_path / "box.3mf") as archive:
        model = archive.read("3D/m.model").decode()
    part = "<component p:path='/3D/n.model' objectid='1'/>".join(
        ["<object id='9'><components>", "</components></object>"]
    )
    space = "xmlns:p='http://schemas.microsoft.com/3dmanufacturing/production/2015/06'"
    whole = model.replace("<model ", f"<model {space} ").replace("</resources>", f"{part}</resources>")
    with zipfile.ZipFile(tmp_path / "two.3mf", "w") as archive:
        archive.writestr("_rels/.rels", zipfile.ZipFile(tmp_path / "box.3mf").read("_rels/.rels"))
        archive.writestr("3D/m.model", whole.replace('objectid="1"', 'objectid="9"'))
        archive.writestr("3D/n.model", model.replace("millimeter", "inch"))
    with pytest.raises(ValueError, match="has models in the units millimeter and inch"):
        load_signal(tmp_path / "two.3mf", "sdf")


SPACE = "xmlns:m='http://schemas.microsoft.com/3dmanufacturing/material/2015/02'"


@pytest.mark.parametrize(
    "colors",
    [
        2 * f"<m:colorgroup {SPACE} id='8'><m:color color='#ff0000'/></m:colorgroup>",
        "<basematerials id='8'>" + 2 * "<base name='x' displaycolor='#ff0000'/>" + "</basematerials>",
    ],
)
def test_colours_of_a_3mf_file_are_told_not_to_be_read(tmp_path, colors):
    three_mf(colors + solid(trimesh.creation.box()), '<item objectid="1"/>')(tmp_path / "box.3mf")
    told = load_signal(tmp_path / "box.3mf", "sdf").describe()
    assert [line for line in told if line.startswith("note: ")] == [
        "note: colours of .3mf files are not read; save it as .glb to have them fitted"
    ]


def npy_claim(path):
    """An array that says it has 8 PB."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, claim(10**5, 10**5, 10**5))


def zip_bomb(path):
    """A .3mf file whose model unpacks to 2 GB of blanks."""
    three_mf(" " * 100, "")(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        relation = "http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="r"><Relationship Target="/m" Id="r" Type="{relation}"/></Relationships>',
        )
        with archive.open("m", "w", force_zip64=True) as file:
            for _ in range(1100):
                file.write(b" " * (1 << 20))


def entities(path):
    """XML whose entities double and double."""
    lines = ['<!ENTITY a0 "aaaaaaaaaa">', *(f'<!ENTITY a{i} "&a{i - 1};&a{i - 1};">' for i in range(1, 40))]
    three_mf("&a39;", "", types=f"<!DOCTYPE m [{''.join(lines)}]>")(path)


def pipe(path):
    os.mkfifo(path)


def material_pipe(path):
    """An OBJ file whose material library is a pipe that nobody writes to."""
    os.mkfifo(path.parent / "materials.mtl")
    mesh = trimesh.creation.box()
    write_obj(path, mesh.vertices, mesh.faces.tolist())
    path.write_text("mtllib materials.mtl\nmtllib /dev/zero\nusemtl a\n" + path.read_text())


def header(suffix, text, body=b""):
    """A file with a header of text and, perhaps, a body."""
    return lambda path: path.write_bytes(text.encode() + body)


PLY = "ply\nformat binary_little_endian 1.0\nelement vertex {}\n" + "".join(f"property float {c}\n" for c in "xyz")
PCD = "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {0}\nHEIGHT 1\nPOINTS {0}\nDATA {1}\n"


def stl(count, facets=2):
    """A binary STL file that says it has so many facets."""
    return lambda path: path.write_bytes(bytes(80) + struct.pack("<I", count) + bytes(50 * facets))


def moved(mesh, scale=1.0, offset=0.0):
    """A mesh in other units and elsewhere."""
    return lambda path: write_obj(path, mesh.vertices * scale + offset, mesh.faces.tolist())


def boxes(count):
    """Boxes that all cross each other."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(count):
        box = trimesh.creation.box(
            rng.uniform(0.2, 1.5, 3), trimesh.transformations.random_rotation_matrix(rng.random(3))
        )
        parts.append(box.apply_translation(rng.uniform(-0.5, 0.5, 3)))
    return moved(trimesh.util.concatenate(parts))


def fan_at_an_edge(count):
    """Triangles that all have one edge in common."""

    def write(path):
        vertices = np.concatenate([[[0, 0, -1], [0, 0, 1]], ring(count)])
        write_obj(path, vertices, [[0, 1, i + 2] for i in range(count)])

    return write


def triangle(*corners):
    return lambda path: write_obj(path, np.array(corners, float), [[0, 1, 2]])


def points(array):
    return lambda path: np.save(path, array)


def spread(count=2000):
    """Points on a ball, and one so far away that the others have the same coordinates in the network's cube."""
    directions = np.random.default_rng(0).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    far = np.concatenate([directions, [[1e15, 0, 0]]])
    return np.concatenate([far, np.concatenate([directions, [[1, 0, 0]]])], axis=1)


def geometric(base, count=400):
    """Points whose distances from a corner grow by a factor."""
    rng = np.random.default_rng(0)
    return base ** np.arange(count)[:, None] * rng.uniform(0.5, 1, (count, 3))


BALL = sphere(subdivisions=2)
BOX = trimesh.creation.box()
LOADED, REFUSED = "loaded", "refused"
CASES = {
    # name: (suffix, what writes it, what comes of it, words of the message)
    "a face beyond the vertices .obj": (
        ".obj",
        lambda p: write_obj(p, BOX.vertices, [[0, 1, 99]]),
        REFUSED,
        "vertex 100",
    ),
    "a face beyond the vertices .glb": (
        ".glb",
        lambda p: scene(trimesh.Trimesh(BOX.vertices, [[0, 1, 60000]], process=False), 1)(p),
        REFUSED,
        "60,001",
    ),
    "a face beyond the vertices .3mf": (
        ".3mf",
        three_mf(solid(trimesh.Trimesh(BOX.vertices, [[0, 1, 99]], process=False)), '<item objectid="1"/>'),
        REFUSED,
        "vertex 100",
    ),
    "a negative face .3mf": (
        ".3mf",
        three_mf(solid(trimesh.Trimesh(BOX.vertices, [[0, 1, -2]], process=False)), '<item objectid="1"/>'),
        REFUSED,
        "vertex -1",
    ),
    "an instanced bomb .3mf": (".3mf", three_mf(doubled(60), '<item objectid="61"/>'), REFUSED, "more than 20,000,000"),
    "an instanced bomb of nothing .3mf": (
        ".3mf",
        three_mf(doubled(60).replace("<triangle ", "<other "), '<item objectid="61"/>'),
        REFUSED,
        "20,000,000 triangles",
    ),
    "an object made of itself .3mf": (
        ".3mf",
        three_mf('<object id="1"><components><component objectid="1"/></components></object>', '<item objectid="1"/>'),
        REFUSED,
        "does not stand before it",
    ),
    "a zip bomb .3mf": (".3mf", zip_bomb, REFUSED, "at most 1,073,741,824 are read"),
    "an entity bomb .3mf": (".3mf", entities, REFUSED, "document type"),
    "no zip .3mf": (".3mf", lambda p: p.write_bytes(b"PK\3\4" + bytes(100)), REFUSED, "cannot be read as a .3mf"),
    "instances .glb": (".glb", scene(BOX, 2000), LOADED, ""),
    "10,000 instances .glb": (".glb", scene(BOX, 10_000), LOADED, ""),
    "a million instances .glb": (".glb", scene(BOX, 300_000), REFUSED, "or 200,000 instances"),
    "an instanced bomb .glb": (
        ".glb",
        scene(sphere(subdivisions=6), 5_000),
        REFUSED,
        "20,000,000 triangles or vertices",
    ),
    "children twice .glb": (".glb", nested_scene(60), REFUSED, "several parents"),
    "a chain of nodes .glb": (".glb", deep_chain(20_000), LOADED, ""),
    "a count of 2^40 .glb": (".glb", accessor(count=1 << 40), REFUSED, "elements"),
    "a negative offset .glb": (".glb", accessor(byteOffset=-8), REFUSED, "is it whole"),
    "zeros without data .glb": (".glb", without_data(59_999_997), REFUSED, "has no data"),
    "lists in lists .gltf": (".gltf", json_depth, REFUSED, "lists in lists"),
    "a file elsewhere .gltf": (".gltf", uri("../../etc/passwd"), REFUSED, "not in the same folder"),
    "a device .gltf": (".gltf", uri("/dev/zero"), REFUSED, "not in the same folder"),
    "a pipe .gltf": (".gltf", uri("pipe.bin"), REFUSED, "not in the same folder"),
    "a drive .gltf": (".gltf", uri("file:///dev/zero"), REFUSED, "not in the same folder"),
    "a pipe .obj": (".obj", pipe, REFUSED, "no regular file"),
    "a pipe .xyz": (".xyz", pipe, REFUSED, "no regular file"),
    "a material library that is a pipe .obj": (".obj", material_pipe, LOADED, ""),
    "a polygon of 200,000 corners .obj": (".obj", polygon(200_000), REFUSED, "long, thin faces"),
    "a flat polygon of 200,000 corners .obj": (
        ".obj",
        lambda path: write_obj(path, ring(200_000), [range(200_000)]),
        LOADED,
        "",
    ),
    "a concave polygon of 20,000 corners .obj": (".obj", polygon(20_000, 0.3), LOADED, ""),
    "a polygon of 20,000 corners .obj": (".obj", polygon(20_000), LOADED, ""),
    "a concave polygon of 200,000 corners .obj": (".obj", polygon(200_000, 0.3), REFUSED, "concave polygon of 200,000"),
    "10 crossing boxes .obj": (".obj", boxes(10), LOADED, ""),
    "150 crossing boxes .obj": (".obj", boxes(150), LOADED, ""),
    "100,000 faces at one edge .obj": (".obj", fan_at_an_edge(100_000), REFUSED, "long, thin faces"),
    "vertices within 1e-9 .obj": (".obj", moved(BALL, 1e-9), LOADED, ""),
    "vertices within 1e-9 of 1 .obj": (".obj", moved(BALL, 1e-9, 1.0), LOADED, ""),
    "one vertex far off .obj": (
        ".obj",
        lambda p: write_obj(p, np.concatenate([BALL.vertices * 1e-9, [[1, 1, 1]]]), [*BALL.faces, [0, 1, 162]]),
        REFUSED,
        "",
    ),
    "units of 1e-30 .obj": (".obj", moved(BALL, 1e-30), LOADED, ""),
    "units of 1e30 .obj": (".obj", moved(BALL, 1e30), LOADED, ""),
    "units of 1e-320 .obj": (".obj", moved(BALL, 1e-320), REFUSED, "1e-100"),
    "units of 1e307 .obj": (".obj", moved(BALL, 1e307), REFUSED, "1e+100"),
    "one triangle .obj": (".obj", triangle([0, 0, 0], [1, 0, 0], [0, 1, 0]), LOADED, ""),
    "a triangle of one point .obj": (".obj", triangle([1, 1, 1], [1, 1, 1], [1, 1, 1]), REFUSED, "one point"),
    "a triangle on a line .obj": (".obj", triangle([0, 0, 0], [1, 1, 1], [2, 2, 2]), REFUSED, "no area"),
    "a vertex NaN .obj": (".obj", triangle([0, 0, 0], [1, 0, 0], [0, np.nan, 0]), REFUSED, "NaN"),
    "a count of 2^32 - 2 .stl": (".stl", stl(2**32 - 2), REFUSED, "4,294,967,294"),
    "a count of 10^18 .ply": (".ply", header(".ply", PLY.format(10**18) + "end_header\n"), REFUSED, "ends before"),
    "many properties .ply": (
        ".ply",
        header(".ply", PLY.format(9) + "property list uchar int a\n" * 100_000 + "end_header\n", bytes(99)),
        REFUSED,
        "at most 1,000",
    ),
    "a list of 2^31 .ply": (
        ".ply",
        header(
            ".ply",
            PLY.format(1) + "element face 1\nproperty list int int vertex_indices\nend_header\n",
            bytes(12) + b"\xff\xff\xff\x7f" + bytes(12),
        ),
        REFUSED,
        "ends before",
    ),
    "empty elements without end .ply": (
        ".ply",
        header(".ply", PLY.format(1) + "element nothing 99999999999\nend_header\n", bytes(12)),
        REFUSED,
        "",
    ),
    "a count of 10^18 .pcd": (".pcd", header(".pcd", PCD.format(10**18, "binary")), REFUSED, "holds other"),
    "a count of 10^18 as text .pcd": (".pcd", header(".pcd", PCD.format(10**18, "ascii")), REFUSED, "holds other"),
    "LZF that says 4 GB .pcd": (
        ".pcd",
        header(".pcd", PCD.format(0xFFFFFFFC // 12, "binary_compressed"), struct.pack("<II", 9, 0xFFFFFFFC) + bytes(9)),
        REFUSED,
        "holds other",
    ),
    "LZF from before its beginning .pcd": (
        ".pcd",
        header(".pcd", PCD.format(10, "binary_compressed"), struct.pack("<II", 3, 120) + bytes([0xE0, 0xFF, 0xFF])),
        REFUSED,
        "before its beginning",
    ),
    "points widely spread .npy": (".npy", points(spread()), REFUSED, ""),
    "points that grow by 10 .npy": (".npy", points(geometric(10.0, 300) * 1e-150), REFUSED, ""),
    "points that grow by 2 .npy": (".npy", points(geometric(2.0)), REFUSED, ""),
    "points within 1e-300 .npy": (".npy", points(spread()[:-1, :3] * 1e-300), REFUSED, "1e-100"),
    "points at one position .npy": (".npy", points(np.ones((1000, 3))), REFUSED, "1 points that differ"),
    "an array that says 8 PB .npy": (".npy", npy_claim, REFUSED, ""),
}


SLOW = ("crossing boxes", "corners", "instances", "one edge", "bomb", "chain")
"""Words of the names of cases that take seconds."""


def check(folder, names):
    """Load the files of the named cases in a process of their own and compare what comes of it."""
    jobs = []
    for name in names:
        suffix, write, _, _ = CASES[name]
        (folder / name.replace(" ", "_")).mkdir()
        path = folder / name.replace(" ", "_") / f"hostile{suffix}"
        write(path)
        jobs.append((path, "sdf"))
    wrong = []
    for name, outcome in zip(names, load_all(jobs), strict=True):
        _, _, word, words = CASES[name]
        if outcome.word != word or words not in outcome.message:
            wrong.append(f"{name}: {outcome.word}: {outcome.message}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.commands
def test_hostile_files_load_or_are_refused_in_one_line(tmp_path):
    check(tmp_path, [name for name in CASES if not any(word in name for word in SLOW)])


@pytest.mark.quality
def test_hostile_files_that_take_longer_load_or_are_refused_in_one_line(tmp_path):
    check(tmp_path, [name for name in CASES if any(word in name for word in SLOW)])


@pytest.mark.parametrize("suffix", [".png", ".wav", ".npy", ".npz", ".obj", ".ply", ".xyz", ".nrrd", ".vti"])
def test_an_empty_file_is_told_to_be_empty(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(SignalError, match="^" + re.escape(f"{path}: is empty; is the file whole?")):
        load_signal(path, kind_of(path).name)


def test_the_kind_of_a_bomb_is_told_from_its_header(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, claim(64, 64, 1 << 12, 1))
    stream.write(bytes(8 << 24))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", stream.getvalue())
    tracemalloc.start()
    assert kind_of(tmp_path / "bomb.npz").name == "volume"
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_shorter_than_its_header_says_is_refused(tmp_path, suffix):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, claim(10**5, 10**5, 3))
    stream.write(bytes(1000))
    path = tmp_path / f"claim{suffix}"
    if suffix == ".npy":
        path.write_bytes(stream.getvalue())
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.npy", stream.getvalue())
    for use in (kind_of, lambda path: load_signal(path, "image"), lambda path: load_signal(path, "volume")):
        with pytest.raises(ValueError, match=r"the header says 100000 x 100000 x 3 values, 240,000,000,000 bytes, but"):
            use(path)


def test_a_convex_polygon_is_cut_without_slivers_and_keeps_its_area():
    for count in (17, 18, 63, 64, 1000):
        polygons = Polygons(ring(count), np.arange(count), np.array([count]))
        faces, notes = triangulate(None, polygons)
        corners = polygons.vertices[faces]
        areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
        assert notes == ()
        assert len(faces) == count - 2
        assert (areas > 0).all()
        assert areas.sum() == pytest.approx(count / 2 * np.sin(2 * np.pi / count))
        assert np.bincount(faces.reshape(-1)).max() <= 2 * np.log2(count) + 2


def claim(*shape):
    """The header of an array of doubles."""
    return {"descr": "<f8", "fortran_order": False, "shape": shape}
