"""Textures of exported meshes: how a mesh is unfolded, and how the colours are painted."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from winner_nerfstudio.export.atlas import LEAST_COSINE, iterate_texels, measure_areas, unfold
from winner_nerfstudio.export.texture import bake
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.fitted import FittedField
from winner_nerfstudio.kinds.shape import MeshExport
from winner_nerfstudio.signals.cloud import load_surface
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ColorRecord, ShapeRecord
from winner_nerfstudio.signals.shape.colors import Texture, barycentric

from .test_field import SIREN

pytest.importorskip("xatlas")


PLACE = Normalization((10.0, -20.0, 5.0), 0.4)


@pytest.fixture
def colored_ball():
    """A field of a ball and of colours that change smoothly in space, 1.5 units in radius and far from the origin."""
    ball = Field("sdf", SIREN, PLACE, ShapeRecord())
    ball.network.forward = lambda coords: coords.norm(dim=-1, keepdim=True) - 0.6
    colors = Field("color", SIREN | {"out_dim": 3}, PLACE, ColorRecord(bits=8, digest=""))
    colors.network.forward = lambda coords: 0.8 * torch.sin(7 * coords + torch.tensor([0.0, 1.0, 2.0]))
    return FittedField(ball, companion=colors)


def helix(turns=3, steps=40):
    """A ramp around an axis, which lies in front of itself as seen along it."""
    angle = np.linspace(0, 2 * np.pi * turns, turns * steps + 1)
    rim = np.stack([np.cos(angle), np.sin(angle), 0.1 * angle / np.pi], -1)
    vertices = np.concatenate([rim * (0.3, 0.3, 1), rim])
    inner, outer = np.arange(len(rim) - 1), np.arange(len(rim) - 1) + len(rim)
    faces = np.concatenate([np.stack([inner, outer, outer + 1], -1), np.stack([inner, outer + 1, inner + 1], -1)])
    return trimesh.Trimesh(vertices, faces, process=False)


def capsule():
    return trimesh.creation.capsule(1.0, 0.4, count=[24, 24])


def slivers():
    """A ball with faces that have no area, or nearly none."""
    ball = trimesh.creation.icosphere(2)
    vertices = np.concatenate([ball.vertices, ball.triangles[:5, :2].mean(1), ball.vertices[:3] * (1 + 1e-9)])
    middle = [(a, len(ball.vertices) + index, b) for index, (a, b, _) in enumerate(ball.faces[:5])]
    near = [(0, int(ball.faces[ball.faces[:, 0] == 0][0, 1]), len(ball.vertices) + 5)]
    return trimesh.Trimesh(vertices, np.concatenate([ball.faces, middle, near]), process=False)


@pytest.mark.parametrize(
    "mesh", [helix(), capsule(), slivers(), trimesh.creation.box()], ids=["helix", "capsule", "slivers", "box"]
)
def test_no_texel_belongs_to_two_faces_and_none_is_stretched_much(mesh):
    atlas = unfold(mesh, 128)
    corners = atlas.uv[atlas.faces]
    assert corners.min() >= 0
    assert corners.max() <= 1
    assert (atlas.vertex[atlas.faces] == mesh.faces).all()
    texels = [(row * 128 + column)[distance < -1e-3] for _, column, row, distance in iterate_texels(corners * 128, 0.0)]
    assert np.unique(np.concatenate(texels), return_counts=True)[1].max() == 1
    areas = measure_areas(corners)
    assert 0.25 < areas.sum() < 1
    large = mesh.area_faces > 1e-6
    ratio = areas[large] / mesh.area_faces[large] / atlas.scale**2
    assert ratio.min() > LEAST_COSINE - 1e-6
    assert ratio.max() < 1 + 1e-6


@pytest.mark.parametrize("mesh", [helix(), capsule(), slivers()], ids=["helix", "capsule", "slivers"])
def test_a_baked_texture_shows_the_colours_of_the_surface_without_seams(mesh):
    def paint(points):
        return ((0.5 + 0.4 * np.sin(5 * points + (0, 1, 2))) * 255 + 0.5).astype(np.uint8)

    texture = bake(mesh, 256, paint, lambda part: None)
    points, face = trimesh.sample.sample_surface(mesh, 20_000, seed=0)
    weights = barycentric(points, mesh.triangles[face])
    uv = np.einsum("nk,nkc->nc", weights, texture.atlas.uv[texture.atlas.faces[face]])
    shown = Texture(texture.pixels, ("clamp", "clamp")).sample(uv)
    # Between texels 1/40 apart on the surface, and with rounding to 8 bits.
    assert np.abs(shown - paint(points) / 255).max() < 0.02


def test_distances_of_texels_from_a_triangle_are_negative_in_it():
    triangle = np.array([[(0.5, 0.5), (4.5, 0.5), (0.5, 4.5)]])
    found = {
        (int(c), int(r)): d
        for _, columns, rows, distances in iterate_texels(triangle, 1.0)
        for c, r, d in zip(columns, rows, distances, strict=True)
    }
    assert found[1, 1] == pytest.approx(-1)
    assert found[2, 2] == pytest.approx(0)
    assert found[3, 2] == pytest.approx(2**-0.5)
    assert (3, 3) not in found
    assert (6, 0) not in found


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_an_exported_texture_has_the_fitted_colours_in_place(colored_ball, tmp_path, suffix):
    output = tmp_path / "a ball" / f"my ball{suffix}"
    export = MeshExport(Path(), output, resolution=24, texture=128)
    said = export.write(colored_ball, lambda part: None)
    assert "watertight" in said
    assert "a texture of 128 x 128 texels" in said
    assert (
        sorted(path.name for path in output.parent.iterdir())
        == {
            ".glb": ["my ball.glb"],
            ".obj": ["my ball-texture.png", "my ball.mtl", "my ball.obj"],
        }[suffix]
    )
    mesh = trimesh.load(output, force="mesh")
    points, face = trimesh.sample.sample_surface(mesh, 5000, seed=0)
    uv = np.einsum("nk,nkc->nc", barycentric(points, mesh.triangles[face]), mesh.visual.uv[mesh.faces[face]])
    material = mesh.visual.material
    picture = material.baseColorTexture if suffix == ".glb" else material.image
    shown = Texture(np.asarray(picture.convert("RGB")), ("clamp", "clamp")).sample(uv * (1, -1) + (0, 1))
    assert np.abs(shown - colored_ball.color(points)).max() < 0.03
    assert np.abs(shown - colored_ball.color(points)).mean() < 0.004
    back = load_surface(output, colors=True)
    assert np.abs(back.color_at(back.normalization.to_unit(points)) - colored_ball.color(points)).mean() < 0.004


def test_the_mesh_of_a_field_has_the_fitted_colours(colored_ball):
    mesh = colored_ball.mesh(16)
    np.testing.assert_allclose(
        mesh.visual.vertex_colors[:, :3] / 255, colored_ball.color(mesh.vertices), atol=0.5 / 255
    )
    colored_ball.companion = None
    assert colored_ball.mesh(16).visual.kind is None


def test_a_surface_that_runs_along_the_walls_of_the_cube_is_a_mesh_too(colored_ball):
    colored_ball.field.network.forward = lambda coords: coords.abs().amax(-1, keepdim=True) - 0.95
    mesh = colored_ball.mesh(16)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx((1.9 / PLACE.scale) ** 3, rel=0.15)


@pytest.mark.parametrize("taken", ["ball.mtl", "ball-texture.png"])
def test_a_texture_is_written_over_no_file_of_another_mesh(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    export = MeshExport("", tmp_path / "ball.obj", texture=32)
    with pytest.raises(ValueError, match=rf"{taken}: is there already, and would be written beside ball\.obj"):
        export.check_files()
    MeshExport("", tmp_path / "ball.obj").check_files()
    MeshExport("", tmp_path / "ball.glb", texture=32).check_files()
    # Beside an earlier result they are its own.
    (tmp_path / "ball.obj").touch()
    export.check_files()


@pytest.mark.parametrize(("texture", "name"), [("none", "ball-16.ply"), ("512", "ball-16.glb")])
def test_the_viewers_export_button_writes_vertex_colours_or_a_texture(colored_ball, tmp_path, texture, name):
    from winner_nerfstudio.nerfstudio.viewer.export_button import ExportMesh

    button = ExportMesh(colored_ball.field, "ball.obj", lambda: 0.0, colored_ball.companion)
    button.resolution, button.texture = SimpleNamespace(value=16), SimpleNamespace(value=texture)
    output, write = button.prepare(colored_ball, tmp_path / "ball")
    write(lambda part: None)
    assert [path.name for path in tmp_path.iterdir()] == [output.name] == [name]
    assert trimesh.load(output, force="mesh").visual.kind == ("vertex" if texture == "none" else "texture")


def test_an_obj_file_its_material_and_its_texture_are_replaced_together_or_not_at_all(
    colored_ball, tmp_path, monkeypatch
):
    export = MeshExport(Path(), tmp_path / "ball.obj", resolution=24, texture=32)
    export.write(colored_ball, lambda part: None)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    actual = Path.write_bytes

    def fail(path, content):
        if path.suffix == ".obj":
            raise OSError(errno.ENOSPC, "No space left on device")
        return actual(path, content)

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"ball\.obj"):
        replace(export, texture=48).write(colored_ball, lambda part: None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_obj_file_whose_name_is_no_utf8_names_its_material_and_its_texture_by_the_same_bytes(colored_ball, tmp_path):
    output = tmp_path / os.fsdecode(b"b\xe9.obj")
    try:
        output.touch()
    except OSError:
        pytest.skip("this file system has only names of UTF-8")
    MeshExport(Path(), output, resolution=24, texture=32).write(colored_ball, lambda part: None)
    assert output.read_bytes().startswith(b"mtllib b\xe9.mtl\n")
    assert output.with_suffix(".mtl").read_bytes().endswith(b"map_Kd b\xe9-texture.png\n")


def test_an_obj_file_with_a_texture_stays_watertight(colored_ball, tmp_path):
    MeshExport(Path(), tmp_path / "ball.obj", resolution=24, texture=32).write(colored_ball, lambda part: None)
    lines = (tmp_path / "ball.obj").read_text().splitlines()
    faces = np.array([[int(c.split("/")[0]) - 1 for c in line.split()[1:]] for line in lines if line.startswith("f ")])
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    assert trimesh.Trimesh(vertices, faces, process=False).is_watertight
    assert Image.open(tmp_path / "ball-texture.png").size == (32, 32)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ball.ply", {"texture": 64}, r"ball\.ply: no texture is written to \.ply; use \.glb or \.obj"),
        ("ball.stl", {"texture": 64}, r"ball\.stl: no texture is written to \.stl; use \.glb or \.obj"),
        ("ball.glb", {"texture": 8}, "texture=8 must be a width of 16 to 8192 texels"),
        (
            "ball.glb",
            {"texture": 64, "colors": "curvature"},
            "a texture holds fitted colours, and colours by 'curvature'",
        ),
    ],
)
def test_a_texture_that_cannot_be_is_refused_in_a_line(colored_ball, tmp_path, name, options, words):
    export = MeshExport(Path(), tmp_path / name, resolution=16, **options)
    for use in (export.check, lambda field: export.write(field, lambda part: None)):
        with pytest.raises(ValueError, match=words):
            use(colored_ball)
    assert not list(tmp_path.iterdir())


def test_without_xatlas_the_message_has_the_command_that_installs_it(colored_ball, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xatlas", None)
    with pytest.raises(
        ValueError, match=r'ball\.glb: its texture is laid out by xatlas.*"winner-nerfstudio\[texture\]"'
    ):
        MeshExport(Path(), tmp_path / "ball.glb", resolution=16, texture=64).write(colored_ball, lambda part: None)
