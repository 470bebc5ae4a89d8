"""Colours of shapes: read from files, kept in place, and looked up on the surface."""

import json
import struct
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from winner_nerfstudio import fit, load_field
from winner_nerfstudio.fields.checkpoint import load_fitted
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.fields.fitted import FittedField
from winner_nerfstudio.kinds.shape import MeshExport
from winner_nerfstudio.signals.cloud import PointCloud, load_surface
from winner_nerfstudio.signals.cloud.reading import read_points
from winner_nerfstudio.signals.shape.colors import CornerColors, Texture, barycentric, to_linear, to_srgb
from winner_nerfstudio.signals.shape.painting import OFFSET, Painting
from winner_nerfstudio.signals.shape.reading import read_mesh
from winner_nerfstudio.training.cell_targets import CellColors, CellDistance
from winner_nerfstudio.training.cells import CellSampler
from winner_nerfstudio.training.options import DrawnOptions
from winner_nerfstudio.training.prepare import prepare

from .conftest import fit as train
from .conftest import make_config, metrics_of
from .gltf import Writer

AXES = {(0, -1): (255, 0, 0), (0, 1): (0, 255, 0), (1, -1): (0, 0, 255), (1, 1): (255, 255, 0), (2, -1): (0, 255, 255)}
SIDES = AXES | {(2, 1): (90, 40, 200)}
"""The colour of each side of the box, by its axis and direction."""
OLDER = "KHR_materials_pbrSpecularGlossiness"
CORNERS = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
FIELD = ((0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9))


def box(shift=(0.0, 0.0, 0.0)):
    """The vertices [24, 3], quads [6, 4], and texture coordinates [24, 2] (downwards) of a box, wound outwards."""
    points, uv = [], []
    for number, (axis, side) in enumerate(SIDES):
        corners = np.insert(CORNERS[:: 1 if side > 0 else -1], axis, side, axis=1)
        corners = corners[::-1] if axis == 1 else corners
        points.append(corners + shift)
        uv.append(np.add(FIELD, (number % 3, number // 3)) / (3, 2))
    return np.concatenate(points) * (1.0, 0.8, 0.6), np.arange(24).reshape(6, 4), np.concatenate(uv)


def atlas(dtype=np.uint8):
    """The picture, [64, 96, 3], whose six fields have the colours of the sides."""
    tiles = np.array(list(SIDES.values()), dtype).reshape(2, 3, 3)
    return np.repeat(np.repeat(tiles, 32, axis=0), 32, axis=1) * (257 if dtype == np.uint16 else 1)


def assert_sides(shape, tolerance=0.01):
    """Check that each side of the box has its colour, seen from outside it."""
    rng = np.random.default_rng(0)
    for (axis, side), color in SIDES.items():
        points = np.insert(rng.uniform(-0.9, 0.9, (50, 2)), axis, 1.05 * side, axis=1) * (1.0, 0.8, 0.6)
        found = shape.color_at(shape.normalization.to_unit(points))
        assert np.abs(found - np.array(color) / 255).max() < tolerance, (axis, side)
    points, normals, colors = shape.sample_colors(rng, 500)
    axis = np.abs(normals).argmax(-1)
    expected = [SIDES[a, int(np.sign(n[a]))] for a, n in zip(axis, normals, strict=True)]
    assert np.abs(colors - np.array(expected) / 255).max() < tolerance


def write_obj(folder, picture=True, flipped=()):
    """Write the textured box as box.obj, box.mtl and paint.png; some faces may be wound inwards."""
    points, quads, uv = box()
    lines = ["mtllib box.mtl", *(f"v {x} {y} {z}" for x, y, z in points), *(f"vt {u} {1 - v}" for u, v in uv)]
    lines.append("usemtl paint")
    for index, quad in enumerate(quads + 1):
        corners = quad[::-1] if index in flipped else quad
        lines.append("f " + " ".join(f"{corner}/{corner}" for corner in corners))
    (folder / "box.obj").write_text("\n".join(lines))
    (folder / "box.mtl").write_text("newmtl paint\nKd 0.5 0.5 0.5\nmap_Kd -s 1 1 1 paint.png\n")
    if picture:
        Image.fromarray(atlas()).save(folder / "paint.png")
    return folder / "box.obj"


def write_glb(path, factor=(1, 1, 1, 1), texture=True, colors=None, older=False):
    """Write the box as a .glb file, with the texture or with linear colours of vertices, twice as an instance."""
    points, quads, uv = box()
    faces = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1).astype("<u4")
    image = path.with_suffix(".png")
    Image.fromarray(atlas()).save(image)
    parts = [points.astype("<f4").tobytes(), faces.tobytes(), uv.astype("<f4").tobytes(), image.read_bytes()]
    parts += [] if colors is None else [colors.astype("<f4").tobytes()]
    parts = [part + b"\0" * (-len(part) % 4) for part in parts]
    starts = np.cumsum([0, *map(len, parts)])
    views = [{"buffer": 0, "byteOffset": int(s), "byteLength": len(p)} for s, p in zip(starts[:-1], parts, strict=True)]
    accessors = [
        {"bufferView": 0, "componentType": 5126, "count": 24, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5125, "count": 36, "type": "SCALAR"},
        {"bufferView": 2, "componentType": 5126, "count": 24, "type": "VEC2"},
        {"bufferView": 4, "componentType": 5126, "count": 24, "type": "VEC3"},
    ]
    base = {"baseColorFactor": factor} | ({"baseColorTexture": {"index": 0}} if texture else {})
    diffuse = {"diffuseFactor": factor, "diffuseTexture": {"index": 0}, "glossinessFactor": 0}
    attributes = {"POSITION": 0, "TEXCOORD_0": 2} | ({} if colors is None else {"COLOR_0": 3})
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": base} if not older else {"extensions": {OLDER: diffuse}}],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"wrapS": 33071}],
        "images": [{"bufferView": 3, "mimeType": "image/png"}],
        "accessors": accessors[: 4 if colors is not None else 3],
        "bufferViews": views,
        "buffers": [{"byteLength": int(starts[-1])}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(parts)
    path.write_bytes(
        struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(body))
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(body), b"BIN\0")
        + body
    )
    return path


def test_each_side_of_a_textured_box_keeps_its_colour(tmp_path):
    shape = load_surface(write_obj(tmp_path), colors=True)
    assert shape.closed
    assert "colours: a texture of 96 x 64 texels, sRGB of 8 bits" in shape.describe()
    assert_sides(shape)


def test_colours_stay_in_place_where_faces_are_turned_round(tmp_path):
    shape = load_surface(write_obj(tmp_path, flipped=(0, 3)), colors=True)
    assert any("wound both ways" in line for line in shape.repairs)
    assert_sides(shape)


def test_colours_stay_in_place_where_a_second_body_is_cut_away(tmp_path):
    points, quads, uv = box()
    mesh = trimesh.Trimesh(points, quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3), process=False)
    mesh.visual = trimesh.visual.TextureVisuals(uv * (1, -1) + (0, 1), image=Image.fromarray(atlas()))
    inner = trimesh.creation.box((0.5, 0.5, 3.0))
    inner.visual = trimesh.visual.TextureVisuals(np.full((8, 2), 0.25), image=Image.fromarray(atlas()))
    shape = load_surface(trimesh.util.concatenate([mesh, inner]), colors=True)
    assert any("which lies inside the shape" in line for line in shape.repairs)
    side = np.array([[0.9, 0.1, 0.65], [-0.7, -0.3, -0.65], [1.1, 0.2, 0.0], [0.0, -0.9, 0.1]])
    found = shape.color_at(shape.normalization.to_unit(side))
    expected = np.array([SIDES[2, 1], SIDES[2, -1], SIDES[0, 1], SIDES[1, -1]]) / 255
    assert np.abs(found - expected).max() < 0.01


def test_each_mesh_of_a_scene_keeps_its_colours_in_its_position():
    points, quads, uv = box()
    textured = trimesh.Trimesh(points, quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3), process=False)
    textured.visual = trimesh.visual.TextureVisuals(uv * (1, -1) + (0, 1), image=Image.fromarray(atlas()))
    painted, plain = trimesh.creation.icosphere(2), trimesh.creation.icosphere(2)
    painted.visual.vertex_colors = np.rint(127.5 * (painted.vertices + 1)).astype(np.uint8)
    plain.visual = trimesh.visual.TextureVisuals(material=trimesh.visual.material.SimpleMaterial(diffuse=[9, 99, 199]))
    turn = trimesh.transformations.rotation_matrix(0.7, [1, 2, 3])
    scene = trimesh.Scene(textured)
    for x, mesh in ((5.0, painted), (10.0, plain)):
        scene.add_geometry(mesh, transform=trimesh.transformations.translation_matrix([x, 0, 0]) @ turn)
    shape, options = prepare(scene, None, {})
    assert options.kind.name == "sdf"
    ball = painted.triangles_center @ turn[:3, :3].T
    for points, expected in (
        (np.array([[0, 0, 0.6]]), [np.array(SIDES[2, 1]) / 255]),
        (np.add(ball, (5, 0, 0)), (painted.triangles_center + 1) / 2),
        (np.add(ball, (10, 0, 0)), np.tile([9 / 255, 99 / 255, 199 / 255], (len(ball), 1))),
    ):
        assert np.abs(shape.color_at(shape.normalization.to_unit(points)) - expected).max() < 0.01


def test_without_colours_a_shape_is_what_it_was(tmp_path):
    plain, colored = (load_surface(write_obj(tmp_path), colors=colors) for colors in (False, True))
    assert plain.colors is None
    assert (plain.mesh.vertices == colored.mesh.vertices).all()
    assert (plain.mesh.faces == colored.mesh.faces).all()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "paint.png",
            None,
            "box.mtl names the texture 'paint.png', which is not in the folder of box.obj or below it; it is left out;"
            " put it there, under the name that box.mtl has",
        ),
        (
            "box.mtl",
            None,
            "box.obj names the materials 'box.mtl', which are not in its folder or below it; without them it has no"
            " colours; put the file there",
        ),
        (
            "paint.png",
            b"hello",
            "paint.png: not a picture that can be read; use .png .jpg .tif .webp or .npy; it is",
        ),
        ("box.mtl", b"newmtl other", "its materials define no 'paint', which box.obj uses; such faces are white"),
        ("box.mtl", b"newmtl paint\nmap_Ka paint.png", "box.mtl has textures as map_Ka alone, which are not read"),
    ],
    ids=["no picture", "no materials", "no picture's file", "no such material", "no diffuse texture"],
)
def test_colours_that_cannot_be_read_are_told_and_leave_the_shape(tmp_path, name, content, words):
    path = write_obj(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    shape = load_surface(path, colors=True)
    assert shape.colors is None
    (line,) = [line for line in shape.repairs if line.startswith("warning: ")]
    assert words in line


@pytest.mark.parametrize(
    "name",
    [
        *(
            "paint.png",
            "   paint.png ",
            '"paint.png"',
            r"C:\Users\me\paint.png",
            "/home/me/paint.png",
            "../x/paint.png",
        ),
        *("Paint.PNG", r"..\Images\PAINT.png", "%70aint.png", "paint.png # the only one"),
    ],
)
def test_a_texture_is_found_beside_the_mesh_wherever_it_was_when_the_mesh_was_made(tmp_path, name):
    path = write_obj(tmp_path)
    (tmp_path / "box.mtl").write_text(f"newmtl paint\nmap_Kd {name}\n")
    assert_sides(load_surface(path, colors=True))


@pytest.mark.parametrize(
    ("used", "defined", "picture"),
    [
        ("Material #25", "Material #25", "maps/Paint #2.png"),
        ("paint # of the box", "paint # dry", "paint.png"),
        ("Gem\xe4lde", "Gem\xe4lde", "gem\xe4lde.png"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf8", "cp1252"])
def test_names_of_materials_and_textures_may_have_hashes_and_umlauts(tmp_path, used, defined, picture, encoding):
    path = write_obj(tmp_path)
    path.write_bytes(path.read_text().replace("usemtl paint", f"usemtl {used}").encode(encoding))
    (tmp_path / "box.mtl").write_bytes(f"newmtl {defined}\nmap_Kd {picture}\n".encode(encoding))
    (tmp_path / "maps").mkdir()
    (tmp_path / "paint.png").rename(tmp_path / picture)
    assert_sides(load_surface(path, colors=True))


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_texture_of_inks_is_read_as_colours(tmp_path, suffix):
    path = write_obj(tmp_path)
    (tmp_path / "box.mtl").write_text(f"newmtl paint\nmap_Kd paint{suffix}\n")
    inks = np.concatenate([225 - atlas().clip(0, 225), np.full((64, 96, 1), 30, np.uint8)], -1)
    Image.fromarray(inks, "CMYK").save(tmp_path / f"paint{suffix}", quality=100)
    colors = load_surface(path, colors=True).colors.corners.textures[0].pixels
    assert np.abs(colors - (30 + atlas().clip(0, 225)) * (225 / 255)).max() < 3


def test_the_options_of_a_texture_scale_move_and_clamp_it(tmp_path):
    path = write_obj(tmp_path)
    lines = path.read_text().splitlines()
    moved = [
        f"vt {(float(u) - 2.25) / 3} {float(v) / 2}"
        for u, v in (line.split()[1:] for line in lines if line.startswith("vt "))
    ]
    kept = [line for line in lines if not line.startswith("vt ")]
    path.write_text("\n".join([kept[0], *moved, *kept[1:]]))
    (tmp_path / "box.mtl").write_text("newmtl paint\nmap_Kd -s 3 2 1 -o 2.25 -clamp off paint.png\n")
    assert_sides(load_surface(path, colors=True))
    (tmp_path / "box.mtl").write_text("newmtl paint\nmap_Kd -clamp on -o 100 0 -mm 0 1 paint.png\n")
    texture = load_surface(path, colors=True).colors.corners.textures[0]
    assert texture.wrap == ("clamp", "clamp")


def replace_coordinates(path, change):
    """Write the texture coordinates of an .obj file anew, each from its number and its two words."""
    lines, number = path.read_text().splitlines(), iter(range(1000))
    path.write_text("\n".join(f"vt {change(next(number), *x.split()[1:])}" if x[:3] == "vt " else x for x in lines))


def test_a_second_texture_coordinate_that_is_missing_is_zero(tmp_path):
    path = write_obj(tmp_path)
    # The colours of the sides beside each other, in a picture whose rows are all alike.
    Image.fromarray(np.repeat(np.array([list(SIDES.values())], np.uint8), 16, axis=1).repeat(4, 0)).save(
        tmp_path / "paint.png"
    )
    replace_coordinates(path, lambda number, u, v: (number // 4 + 0.5) / 6)
    assert_sides(load_surface(path, colors=True))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("0.5 x", "its texture coordinates are left out, and its textures with them ('x' is no number)"),
        ("-1.#IND -1.#IND", "4 of 12 faces are left without texture, for their coordinates in it are NaN, infinite"),
        ("nan 0", "4 of 12 faces are left without texture"),
        ("1e39 0", "4 of 12 faces are left without texture"),
        ("0 1e30", "4 of 12 faces are left without texture"),
    ],
)
def test_texture_coordinates_of_an_obj_file_that_are_none_are_told_and_leave_the_shape(tmp_path, words, told):
    path = write_obj(tmp_path)
    replace_coordinates(path, lambda number, u, v: words if number < 8 else f"{u} {v}")
    shape = load_surface(path, colors=True)
    assert shape.closed
    assert [told in line for line in shape.repairs if line.startswith("warning: ")] == [True]
    if "without texture" in told:
        # Four of the six equal fields of the picture are left for the whole surface.
        whole = load_surface(write_obj(tmp_path), colors=True)
        assert shape.texel == pytest.approx(whole.texel * (6 / 4) ** 0.5, rel=1e-3)


def test_faces_of_an_obj_file_without_texture_coordinates_have_the_colour_of_their_material(tmp_path):
    path = write_obj(tmp_path)
    lines = path.read_text().splitlines()
    lines[-1] = " ".join(word.split("/")[0] for word in lines[-1].split())
    path.write_text("\n".join(lines))
    shape = load_surface(path, colors=True)
    top, right = shape.color_at(shape.normalization.to_unit(np.array([[0, 0, 0.65], [1.05, 0, 0]])))
    assert top == pytest.approx(np.full(3, 0.5), abs=1e-6)
    assert right == pytest.approx(np.array(SIDES[0, 1]) / 255, abs=0.01)


def test_too_few_texture_coordinates_of_a_gltf_file_are_told_and_leave_the_shape(tmp_path):
    path = write_glb(tmp_path / "box.glb")
    path.write_bytes(path.read_bytes().replace(b'"count": 24, "type": "VEC2"', b'"count": 23, "type": "VEC2"'))
    shape = load_surface(path, colors=True)
    assert shape.closed
    told = "warning: the colours of a part of it are left out (it has 23 texture coordinates for 24 vertices)"
    assert told in shape.repairs


@pytest.mark.parametrize("orientation", range(2, 9))
def test_texture_coordinates_refer_to_the_rows_of_the_file_whatever_its_orientation(tmp_path, orientation):
    path = write_obj(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(atlas()).save(tmp_path / "paint.png", exif=exif)
    assert_sides(load_surface(path, colors=True))


@pytest.mark.parametrize("of_faces", [False, True])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_textures_of_a_ply_file_are_read_as_meshlab_writes_them(tmp_path, of_faces, line_end):
    points, quads, uv = box()
    uv = uv * (1, -1) + (0, 1)
    Image.fromarray(atlas()).save(tmp_path / "first paint.png")
    Image.fromarray(255 - atlas()).save(tmp_path / "other.png")
    columns = ["x", "y", "z", "red", "green", "blue"] + ["s", "t"] * (not of_faces)
    lines = ["ply", "format ascii 1.0", "comment TextureFile first paint.png", "comment TextureFile other.png"]
    lines += ["element vertex 24", *(f"property float {name}" for name in columns)]
    lines += ["element face 6", "property list uchar int vertex_indices"]
    if of_faces:
        lines += ["property list uchar float texcoord", "property int texnumber"]
    lines.append("end_header")
    rows = np.concatenate([points, np.zeros((24, 3)), *[uv] * (not of_faces)], -1)
    lines += [" ".join(map(str, row)) for row in rows]
    for quad in quads:
        lines.append(" ".join(map(str, [4, *quad, *([8, *uv[quad].ravel(), 0] if of_faces else [])])))
    if of_faces:
        lines[-1] = lines[-1][:-1] + "1"
    (tmp_path / "box.ply").write_bytes(line_end.join([*lines, ""]).encode())
    shape = load_surface(tmp_path / "box.ply", colors=True)
    if of_faces:
        assert "colours: 2 textures, 96 x 64, 96 x 64 texels, sRGB of 8 bits" in shape.describe()
        top = shape.color_at(shape.normalization.to_unit(np.array([[0.0, 0.0, 0.65]])))
        assert top[0] == pytest.approx(1 - np.array(SIDES[2, 1]) / 255, abs=0.01)
        (tmp_path / "box.ply").write_text("\n".join([*lines[:-1], lines[-1][:-1] + "0.5", ""]))
        told = "warning: its texture coordinates are left out, and its textures with them (0.5 is no index)"
        assert told in load_surface(tmp_path / "box.ply", colors=True).repairs
        lines[-1] = lines[-1][:-1] + "0"
        (tmp_path / "box.ply").write_text("\n".join([*lines, ""]))
        shape = load_surface(tmp_path / "box.ply", colors=True)
    assert_sides(shape)
    (tmp_path / "first paint.png").unlink()
    (tmp_path / "other.png").unlink()
    shape = load_surface(tmp_path / "box.ply", colors=True)
    assert shape.colors is None  # the vertices are black
    assert sum("box.ply names the texture" in line for line in shape.repairs) == 2


def test_a_texture_outside_the_folder_is_not_read(tmp_path):
    (tmp_path / "below").mkdir()
    path = write_obj(tmp_path / "below")
    (tmp_path / "below/paint.png").rename(tmp_path / "paint.png")
    (tmp_path / "below/box.mtl").write_text("newmtl paint\nmap_Kd ../paint.png\n")
    assert load_surface(path, colors=True).colors is None


def test_a_gltf_texture_is_read_with_its_factor_as_light(tmp_path):
    assert_sides(load_surface(write_glb(tmp_path / "box.glb"), colors=True))
    assert_sides(load_surface(write_glb(tmp_path / "older.glb", older=True), colors=True))
    shape = load_surface(write_glb(tmp_path / "half.glb", factor=(0.5, 0.5, 0.5, 1)), colors=True)
    points = shape.normalization.to_unit(np.array([[0, 0, 0.7]]))
    expected = to_srgb(0.5 * to_linear(np.array(SIDES[2, 1]) / 255))
    assert shape.color_at(points)[0] == pytest.approx(expected, abs=0.01)


def test_gltf_texture_coordinates_are_scaled_then_rotated_then_moved(tmp_path):
    path = write_glb(tmp_path / "box.glb")
    turned = {"rotation": np.pi / 2, "scale": [2, 3], "offset": [0.25, 0.5]}  # (u, v) to (3v + 0.25, 0.5 - 2u)
    placed = b'"baseColorTexture": {"index": 0'
    extended = placed + b', "extensions": ' + json.dumps({"KHR_texture_transform": turned}).encode()
    data = path.read_bytes().replace(placed, extended)
    added = len(extended) - len(placed)
    size, text = struct.unpack_from("<II", data, 8)
    path.write_bytes(data[:8] + struct.pack("<II", size + added, text + added) + data[16:])
    u, v = box()[2].astype(np.float32).T
    found = load_surface(path, colors=True).colors.corners.uv.reshape(-1, 2)
    expected = np.stack([3 * v + 0.25, 0.5 - 2 * u], -1)[box()[1][:, [0, 1, 2, 0, 2, 3]].reshape(-1)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_linear_colours_of_gltf_vertices_become_srgb(tmp_path):
    colors = to_linear(np.repeat(np.array(list(SIDES.values())), 4, axis=0) / 255)
    shape = load_surface(write_glb(tmp_path / "box.glb", texture=False, colors=colors), colors=True)
    assert "colours of vertices or faces, sRGB of 16 bits" in shape.describe()
    assert_sides(shape)


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("<u2", 16), ("<f4", 16)])
def test_colours_of_gltf_vertices_have_the_bits_that_they_are_stored_in(tmp_path, dtype, bits):
    points, quads, _ = box()
    linear = to_linear(np.repeat(np.array(list(SIDES.values())), 4, axis=0) / 255)
    most = 1 if dtype == "<f4" else np.iinfo(dtype).max
    colors = np.rint(linear * most) if most > 1 else linear
    writer, whole = Writer(), np.c_[colors, np.full(24, most)].astype(dtype)
    position = writer.accessor(points.astype("<f4"))
    writer.primitive(position, writer.accessor(quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 1).astype("<u2")))
    attributes = writer.document["meshes"][0]["primitives"][0]["attributes"]
    attributes["COLOR_0"] = writer.accessor(whole, normalized=dtype != "<f4")
    shape = load_surface(writer.write(tmp_path / "box.glb"), colors=True)
    assert f"colours of vertices or faces, sRGB of {bits} bits" in shape.describe()
    assert_sides(shape, 0.03)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
@pytest.mark.parametrize("where", ["vertex", "face"])
def test_colours_of_a_ply_file_stay_in_place(tmp_path, encoding, where):
    points, quads, _ = box()
    faces = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    colors = np.array(list(SIDES.values()))
    visual = {f"{where}_colors": np.repeat(colors, 4 if where == "vertex" else 2, axis=0)}
    trimesh.Trimesh(points, faces, process=False, **visual).export(tmp_path / "box.ply", encoding=encoding)
    assert_sides(load_surface(tmp_path / "box.ply", colors=True))


@pytest.mark.parametrize(("dtype", "most"), [("uchar", 255), ("ushort", 65535), ("int", 255), ("float", 1)])
def test_dark_colours_of_a_text_ply_file_are_of_the_type_that_its_header_says(tmp_path, dtype, most):
    points, quads, _ = box()
    colors = np.arange(72).reshape(24, 3) % 2
    lines = ["ply", "format ascii 1.0", "element vertex 24", *(f"property float {axis}" for axis in "xyz")]
    lines += [*(f"property {dtype} {color}" for color in ("red", "green", "blue")), "element face 6"]
    lines += ["property list uchar int vertex_indices", "end_header"]
    lines += [f"{x} {y} {z} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(points, colors, strict=True)]
    lines += [" ".join(map(str, [4, *quad])) for quad in quads]
    (tmp_path / "box.ply").write_text("\n".join([*lines, ""]))
    found = load_surface(tmp_path / "box.ply", colors=True).colors.corners.values
    assert found.max() == pytest.approx(1 / most)


@pytest.mark.parametrize("alpha", ["", " 1", " 0.5"])
def test_colours_of_vertices_of_an_obj_file_stay_in_place(tmp_path, alpha):
    points, quads, _ = box()
    colors = np.repeat(np.array(list(SIDES.values())), 4, axis=0) / 255
    lines = [f"v {' '.join(map(str, row))}{alpha}" for row in np.concatenate([points, colors], -1)]
    lines += ["f " + " ".join(map(str, quad + 1)) for quad in quads]
    (tmp_path / "box.obj").write_text("\n".join(lines))
    shape = load_surface(tmp_path / "box.obj", colors=True)
    assert_sides(shape)
    assert ("the alpha of its vertices' colours is left out" in shape.repairs) == bool(alpha)


def write_colored_vertices(folder, colors, materials):
    """Write the box as box.obj with colours of vertices, and a material for each side."""
    points, quads, _ = box()
    lines = ["mtllib box.mtl", *("v " + " ".join(map(str, [*p, *c])) for p, c in zip(points, colors, strict=True))]
    for number, quad in enumerate(quads + 1):
        lines += [f"usemtl m{number}", "f " + " ".join(map(str, quad))]
    (folder / "box.obj").write_text("\n".join(lines))
    kinds = (f"newmtl m{number}\nKd {' '.join(map(str, color))}\n" for number, color in enumerate(materials))
    (folder / "box.mtl").write_text("".join(kinds))
    return folder / "box.obj"


@pytest.mark.parametrize("plain", ["materials", "vertices"])
def test_of_vertices_and_materials_of_an_obj_file_those_with_colours_are_read(tmp_path, plain):
    sides = np.array(list(SIDES.values())) / 255
    vertices, materials = np.repeat(sides, 4, axis=0), np.full((6, 3), 0.8)
    if plain == "vertices":
        vertices, materials = np.ones((24, 3)), sides
    shape = load_surface(write_colored_vertices(tmp_path, vertices, materials), colors=True)
    assert_sides(shape)
    assert shape.repairs == ("repaired: welded 16 doubled vertices",)


def test_vertices_of_an_obj_file_without_the_colours_that_others_have_are_told(tmp_path):
    path = write_colored_vertices(tmp_path, np.full((24, 3), 0.5), np.full((6, 3), 0.8))
    path.write_text(path.read_text().replace(" 0.5 0.5 0.5", "", 5))
    shape = load_surface(path, colors=True)
    assert shape.colors is None
    assert (
        "warning: the colours of its vertices are left out, for 5 of 24 have none; give each x y z r g b"
        in shape.repairs
    )


def test_of_vertices_and_faces_of_a_ply_file_those_with_colours_are_read(tmp_path):
    points, quads, _ = box()
    names = [f"property uchar {color}" for color in ("red", "green", "blue")]
    lines = ["ply", "format ascii 1.0", "element vertex 24", *(f"property float {axis}" for axis in "xyz"), *names]
    lines += ["element face 6", "property list uchar int vertex_indices", *names, "end_header"]
    lines += [f"{x} {y} {z} 255 255 255" for x, y, z in points]
    lines += [" ".join(map(str, [4, *quad, *color])) for quad, color in zip(quads, SIDES.values(), strict=True)]
    (tmp_path / "box.ply").write_text("\n".join([*lines, ""]))
    assert_sides(load_surface(tmp_path / "box.ply", colors=True))


@pytest.mark.parametrize("wrong", ["nan", "-1", "70000"])
@pytest.mark.parametrize("name", ["a.txt", "a.ply", "face.ply", "box.obj", "box.ply"])
def test_one_number_that_is_no_colour_leaves_all_colours_out_and_that_is_told(tmp_path, name, wrong):
    points, quads, _ = box()
    colors = np.repeat(np.array(list(SIDES.values())), 4, axis=0).astype(str)
    colors[5, 1] = wrong
    rows = [" ".join(map(str, [*point, *color])) for point, color in zip(points, colors, strict=True)]
    head = ["ply", "format ascii 1.0", "element vertex 24", *(f"property float {axis}" for axis in "xyz")]
    paint, corners = [f"property float {color}" for color in ("red", "green", "blue")], "property list uchar int"
    faces = [" ".join(map(str, [4, *quad])) for quad in quads]
    of_faces = [f"{face} {' '.join(color)}" for face, color in zip(faces, colors, strict=False)]
    plain = [" ".join(map(str, point)) for point in points]
    lines = {
        "a.txt": ["x y z r g b", *rows],
        "a.ply": [*head, *paint, "end_header", *rows],
        "face.ply": [*head, "element face 6", f"{corners} vertex_indices", *paint, "end_header", *plain, *of_faces],
        "box.obj": [*(f"v {row}" for row in rows), *("f " + " ".join(map(str, quad + 1)) for quad in quads)],
        "box.ply": [*head, *paint, "element face 6", f"{corners} vertex_indices", "end_header", *rows, *faces],
    }
    (tmp_path / name).write_text("\n".join(lines[name]) + "\n")
    found = read_points(tmp_path / name) if name.startswith("a.") else load_surface(tmp_path / name, colors=True)
    assert found.colors is None
    (line,) = [line for line in (found.notes if name.startswith("a.") else found.repairs) if "colour" in line]
    count = 6 if name == "face.ply" else 24
    assert line.startswith(f"warning: its colours are left out, for 1 of {count} are none, such as")
    assert line.endswith("; numbers from 0 to 1, 255 or 65535 are")
    assert f" {wrong} " in line


def test_colours_of_materials_and_of_gltf_vertices_that_are_no_numbers_are_left_out(tmp_path):
    path = write_obj(tmp_path)
    (tmp_path / "box.mtl").write_text("newmtl paint\nKd nan 0 0\n")
    assert (read_mesh(path)[1].values == 1).all()
    colors = np.full((24, 3), 0.5)
    colors[3, 1] = np.nan
    shape = load_surface(write_glb(tmp_path / "a.glb", texture=False, colors=colors), colors=True)
    assert shape.colors is None
    assert any("the colours of a part of it are left out (a factor or a vertex has" in line for line in shape.repairs)


def test_a_surface_of_one_colour_has_none_to_fit(tmp_path):
    path = write_obj(tmp_path)
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "paint.png")
    assert load_surface(path, colors=True).colors is None


def test_colours_of_points_stay_with_them_where_others_are_dropped(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((2000, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    colors = np.rint((points + 1) / 2 * 255).astype(int)
    rows = np.concatenate([np.c_[points, colors], np.c_[points, colors][:50]])  # some of them twice
    lines = ["x y z red green blue", *(" ".join(map(str, row)) for row in rows)]
    (tmp_path / "ball.txt").write_text("\n".join(lines))
    cloud = load_surface(tmp_path / "ball.txt", colors=True)
    assert len(cloud.points) == 2000
    world = cloud.normalization.to_world(cloud.points)
    assert np.abs(cloud.colors.values - (world + 1) / 2).max() < 0.01


def test_textures_are_interpolated_between_the_centres_of_texels_and_wrapped():
    pixels = np.zeros((1, 2, 3), np.uint16)
    pixels[0, 1] = 65535
    positions = np.array([[0.25, 0.5], [0.5, 0.5], [0.75, 0.5], [1.0, 0.5], [1.25, 0.5], [-0.25, 0.5]])
    expected = {"repeat": [0, 0.5, 1, 0.5, 0, 1], "clamp": [0, 0.5, 1, 1, 1, 0], "mirror": [0, 0.5, 1, 1, 1, 0]}
    for wrap, values in expected.items():
        assert Texture(pixels, (wrap, "repeat")).sample(positions)[:, 0].tolist() == values


def test_srgb_and_linear_light_are_each_others_inverse():
    values = np.linspace(0, 1, 256)
    assert to_srgb(to_linear(values)) == pytest.approx(values)
    assert to_linear(np.array([0.5])) == pytest.approx(0.21404114)  # IEC 61966-2-1


def test_the_weights_of_a_triangles_corners_give_back_the_point():
    rng = np.random.default_rng(0)
    triangles = rng.standard_normal((20, 3, 3))
    weights = rng.dirichlet((1, 1, 1), 20)
    points = np.einsum("nk,nkx->nx", weights, triangles)
    assert barycentric(points, triangles) == pytest.approx(weights)


SMALL = {
    "hidden_dim": 32,
    "num_layers": 2,
    "batch_size": 64,
    "eval_resolution": 16,
    "progress": False,
    "measure": False,
}
RUN = {"steps": 300, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def colored(tmp_path_factory):
    """A small fit of the textured box, not measured, and the folder of the box."""
    folder = tmp_path_factory.mktemp("box")
    return fit(write_obj(folder), **RUN, **SMALL), folder


def test_colours_are_fitted_beside_the_distance_and_do_not_change_it(colored):
    fitted, folder = colored
    plain = fit(folder / "box.obj", colour="off", **RUN, **SMALL)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    assert (fitted(points) == plain(points)).all()
    assert plain.companion is None
    assert "colours: psi=" in fitted.provenance["initialization"]
    with pytest.raises(ValueError, match="this field has no colours"):
        plain.color(points)


def test_colours_alone_come_out_as_they_do_beside_a_distance(colored):
    fitted, folder = colored
    painting = Painting(load_surface(folder / "box.obj", colors=True))
    options = {name: value for name, value in SMALL.items() if name != "eval_resolution"}
    alone = fit(painting, **RUN, **options)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    assert (alone(points).clip(0, 1) == fitted.color(points)).all()


def test_a_few_steps_bring_the_colours_of_the_sides(colored):
    assert_sides_are_right(colored[0])


def assert_sides_are_right(fitted):
    for (axis, side), color in SIDES.items():
        point = np.insert(np.zeros((1, 2)), axis, side, axis=1) * (1.0, 0.8, 0.6)
        distances = np.linalg.norm(np.array(list(SIDES.values())) / 255 - fitted.color(point), axis=-1)
        assert list(SIDES.values())[distances.argmin()] == color


@pytest.fixture(scope="module")
def in_cells(tmp_path_factory):
    """The options of a small fit in cells, such a fit of the textured box, not measured, and the folder of the box."""
    folder, options = tmp_path_factory.mktemp("cells"), SMALL | {"parts": (3,), "hidden_dim": 9, "steps": 120}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CellDistance, "pool", 256)
        patch.setattr(CellColors, "pool", 256)
        yield options, fit(write_obj(folder), **options), folder


def test_colours_in_cells_are_in_place_and_do_not_change_the_distance(in_cells):
    options, fitted, folder = in_cells
    assert_sides_are_right(fitted)
    members = [
        (field.network.cells.tolist(), field.network.biases[0].shape[1]) for field in (fitted.field, fitted.companion)
    ]
    assert members[0][0] == members[1][0]
    assert (members[0][1], members[1][1]) == (9, 12)
    plain = fit(folder / "box.obj", colour="off", **options)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    assert (fitted(points) == plain(points)).all()


def test_a_field_file_and_a_mesh_have_the_colours_of_cells(in_cells, tmp_path):
    _, fitted, _ = in_cells
    fitted.save(tmp_path / "box.safetensors")
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    assert (load_field(tmp_path / "box.safetensors").color(points) == fitted.color(points)).all()
    mesh = fitted.mesh(16)
    assert mesh.visual.vertex_colors[:, :3] == pytest.approx(255 * fitted.color(mesh.vertices), abs=1)


def test_members_are_fitted_to_the_colours_of_their_own_cells(in_cells):
    _, fitted, folder = in_cells
    shape, bank = load_surface(folder / "box.obj", colors=True), fitted.companion.network
    target = CellColors(Painting(shape), shape)
    batch = CellSampler(target, bank, torch.device("cpu"), 0, DrawnOptions(batch_size=64)).batch(0)
    assert batch["coords"].shape == (bank.count, target.points, 3)
    assert batch["coords"].abs().max() <= 1 + 1e-5
    world = (bank.centers[:, None] + bank.half_width * batch["coords"]).reshape(-1, 3).numpy()
    assert (np.abs(shape.distance(world)) < 5 * OFFSET).mean() > 0.9
    expected = 2 * shape.color_at(world) - 1
    assert np.abs(batch["values"].reshape(-1, 3).numpy() - expected).mean() < 0.01


def test_the_noise_of_colours_in_a_cell_follows_from_the_cells_size(in_cells):
    _, fitted, folder = in_cells
    shape, bank = load_surface(folder / "box.obj", colors=True), fitted.companion.network
    painting = Painting(shape)
    whole, cells = painting.axes[0], CellColors(painting, shape).describe_cells(bank)
    assert len(cells) == bank.count
    assert cells[0]["centroid"] == painting.centroid
    # A cell has a whole number of texels.
    assert cells[0]["axes"][0].nyquist == pytest.approx(whole.nyquist * bank.half_width, abs=np.pi / 4 + 1e-6)


def test_siren_has_its_start_for_colours_too(colored):
    _, folder = colored
    started = {
        init: fit(folder / "box.obj", steps=1, learning_rate=1e-9, init=init, **SMALL) for init in ("winner", "siren")
    }
    assert started["siren"].provenance["initialization"] == "siren; colours: siren"
    winner, siren = (started[init].companion.network.state_dict() for init in started)
    assert any((winner[name] != siren[name]).any() for name in winner)


def test_a_field_file_keeps_the_colours_and_an_altered_one_is_refused(colored, tmp_path):
    fitted, _ = colored
    fitted.save(tmp_path / "box.safetensors")
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    assert (load_field(tmp_path / "box.safetensors").color(points) == fitted.color(points)).all()
    changed = deepcopy(fitted)
    for weight in changed.companion.network.parameters():
        weight += 0.1
    changed.save(tmp_path / "other.safetensors")
    with safe_open(tmp_path / "box.safetensors", "pt") as file, safe_open(tmp_path / "other.safetensors", "pt") as more:
        metadata, mixed = file.metadata(), {name: more.get_tensor(name) for name in more.keys()}  # noqa: SIM118
    save_file(mixed, tmp_path / "mixed.safetensors", metadata)
    with pytest.raises(FieldFileError, match="digest"):
        load_field(tmp_path / "mixed.safetensors")
    del mixed[next(name for name in mixed if name.startswith("companion."))]
    save_file(mixed, tmp_path / "mixed.safetensors", metadata)
    with pytest.raises(FieldFileError):
        load_field(tmp_path / "mixed.safetensors")


@pytest.mark.parametrize("suffix", [".ply", ".glb", ".obj"])
def test_exported_vertices_have_the_fitted_colours(colored, tmp_path, suffix):
    fitted, _ = colored
    MeshExport(Path(), tmp_path / f"box{suffix}", resolution=16).write(fitted, lambda part: None)
    mesh = trimesh.load(tmp_path / f"box{suffix}", force="mesh")
    expected = fitted.color(mesh.vertices)
    # The colours of a .glb file are linear light, and trimesh shows them so.
    expected = to_linear(expected) if suffix == ".glb" else expected
    assert mesh.visual.kind == "vertex"
    assert np.abs(mesh.visual.vertex_colors[:, :3] / 255 - expected).max() < 0.01
    back = load_surface(tmp_path / f"box{suffix}", colors=True)
    some = np.asarray(mesh.vertices)[:100]
    assert back.color_at(back.normalization.to_unit(some)) == pytest.approx(fitted.color(some), abs=0.02)


def test_fitted_colours_that_are_not_there_are_refused(colored, tmp_path):
    fitted, _ = colored
    with pytest.raises(ValueError, match="there are no fitted colours"):
        MeshExport(Path(), tmp_path / "a.ply", resolution=16, colors="fitted").write(
            FittedField(fitted.field), lambda part: None
        )
    with pytest.raises(ValueError, match=r"\.stl holds no colours"):
        MeshExport(Path(), tmp_path / "a.stl", resolution=16, colors="fitted").write(fitted, lambda part: None)


def striped(cycles):
    """A sphere whose texture has stripes, so many from pole to pole."""
    mesh = trimesh.creation.uv_sphere(count=(16, 16))
    v = np.arccos(mesh.vertices[:, 2].clip(-1, 1)) / np.pi
    rows = np.arange(512) / 512
    stripes = np.rint(127.5 + 100 * np.sin(2 * np.pi * cycles * rows))[:, None, None].astype(np.uint8)
    picture = Image.fromarray(np.broadcast_to(stripes, (512, 512, 3)).copy())
    u = np.arctan2(mesh.vertices[:, 1], mesh.vertices[:, 0]) / (2 * np.pi)
    mesh.visual = trimesh.visual.TextureVisuals(np.stack([u, 1 - v], -1), image=picture)
    return Painting(load_surface(mesh, colors=True))


def test_the_frequency_of_a_texture_is_measured_in_units_of_the_cube():
    frequencies = [axis.nyquist * axis.centroid for axis in (striped(cycles).axes[0] for cycles in (8, 16, 32))]
    assert frequencies == sorted(frequencies)
    # A walk at an angle to the stripes meets fewer of them: on average 2 / pi of those straight across.
    across = 2 * np.pi * 32 / (np.pi * 0.9)
    assert 0.5 * across < frequencies[2] < 1.1 * across


def test_parts_of_a_texture_that_no_face_uses_do_not_count(tmp_path):
    path = write_obj(tmp_path)
    before = Painting(load_surface(path, colors=True)).axes
    wide = np.concatenate([atlas(), np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)], 1)
    Image.fromarray(wide).save(tmp_path / "paint.png")
    text = [
        f"vt {float(words[1]) / 2} {words[2]}" if words[0] == "vt" else " ".join(words)
        for words in map(str.split, path.read_text().splitlines())
    ]
    path.write_text("\n".join(text))
    after = Painting(load_surface(path, colors=True)).axes
    assert after[0].samples == before[0].samples
    assert after[0].centroid == pytest.approx(before[0].centroid, abs=0.01)


def test_colours_of_points_are_measured_at_points_that_are_never_fitted():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((800, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    cloud = PointCloud.from_points(points, points, colors=CornerColors(((points + 1) / 2).astype(np.float32)))
    painting = Painting(cloud)
    fitted = {tuple(row) for row in cloud.sample_colors(rng, 20_000)[0]}
    unseen = {tuple(row) for row in painting.draw_unseen(5000)[0]}
    assert len(unseen) == 50
    assert not fitted & unseen
    batch = painting.draw(rng, 100)
    world = cloud.normalization.to_world(batch["coords"].astype(float))
    assert np.abs(batch["values"] - world).max() < 0.02


@pytest.mark.commands
@pytest.mark.parametrize("cells", [{}, {"parts": (2,), "hidden_dim": 9}], ids=["single", "cells"])
def test_ns_train_fits_the_same_colours_and_so_does_a_resumed_run(tmp_path, cells, monkeypatch):
    monkeypatch.setattr(CellDistance, "pool", 256)
    monkeypatch.setattr(CellColors, "pool", 256)
    options = {"pipeline__model__eval_resolution": 16, "timestamp": "x", "pipeline__datamanager__batch_size": 64}
    schedule = make_config("winner-sdf").optimizers
    schedule["fields"]["scheduler"].max_steps = 12
    options["optimizers"] = schedule
    options |= {f"pipeline__model__{name}": value for name, value in cells.items()}
    path = write_obj(tmp_path)
    half = train("winner-sdf", path, tmp_path / "half", 7, **options)
    resumed = train("winner-sdf", path, tmp_path / "on", 12, load_dir=half.parent / "nerfstudio_models", **options)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    expected = fit(path, **SMALL | {"batch_size": 64, "hidden_dim": 24} | cells, steps=12)
    assert (load_fitted(resumed).color(points) == expected.color(points)).all()
    assert metrics_of(resumed)["psnr_colour"] > 5
    shown = np.asarray(Image.open(resumed.parent / "target-fit-error.png"))
    target = shown[:, : shown.shape[1] // 3].reshape(-1, 3).astype(int)
    assert (np.ptp(target, axis=-1) > 80).mean() > 0.02  # clay would be grey
