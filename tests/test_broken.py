"""Meshes as they come: each becomes the right target, and what was done about it is told, or ends in one line."""

from dataclasses import dataclass

import numpy as np
import pytest
import trimesh

from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.records import ShapeRecord
from winner_nerfstudio.signals.shape import SHELL, load_shape

from .conftest import call, fit, metrics_of
from .meshes import sphere, sphere_with_holes, torn_box

RADIUS = 0.9
"""Of a ball of any size, in the unit cube."""


def ball(points, radius=RADIUS, center=(0, 0, 0)):
    return np.linalg.norm(points - np.asarray(center), axis=-1) - radius


def box(points, half):
    outside = np.abs(points) - np.asarray(half)
    return np.linalg.norm(outside.clip(min=0), axis=-1) + outside.max(-1).clip(max=0)


def joined(*meshes):
    return trimesh.util.concatenate(meshes)


def turned_in_part():
    mesh = sphere()
    mesh.faces[::3] = mesh.faces[::3, ::-1]
    return mesh


def turned():
    mesh = sphere()
    mesh.invert()
    return mesh


def inwards(mesh):
    mesh.invert()
    return mesh


def with_doubled_faces():
    mesh = sphere()
    return trimesh.Trimesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces[:500]]), process=False)


def with_empty_faces():
    mesh = sphere()
    empty = mesh.faces[:300, [0, 1, 1]]
    return trimesh.Trimesh(mesh.vertices, np.concatenate([mesh.faces, empty]), process=False)


def with_loose_vertices():
    mesh = sphere()
    return trimesh.Trimesh(np.concatenate([mesh.vertices, [[50, 0, 0], [0, 90, 0]]]), mesh.faces, process=False)


def with_a_wall():
    """A box with a wall across its inside, whose edges three faces share."""
    mesh = trimesh.creation.box((2, 2, 2)).slice_plane([0, 0, 0], [1, 0, 0], cap=False)
    other = trimesh.creation.box((2, 2, 2)).slice_plane([0, 0, 0], [-1, 0, 0], cap=False)
    corners = [[0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]]
    wall = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
    return joined(mesh, other, wall)


def sharing_an_edge():
    """Two boxes that touch along one edge, which four faces share."""
    one, other = (trimesh.creation.box((1, 1, 2)) for _ in range(2))
    one.apply_translation([-0.5, -0.5, 0])
    other.apply_translation([0.5, 0.5, 0])
    return joined(one, other)


def two_boxes(points):
    offsets = [np.array([side * 0.45, side * 0.45, 0]) for side in (-1, 1)]
    return np.min([box(points + offset, (0.45, 0.45, 0.9)) for offset in offsets], axis=0)


def crossing_boxes():
    return joined(trimesh.creation.box((2, 0.6, 0.6)), trimesh.creation.box((0.6, 2, 0.6)))


def cross(points):
    """Distance to the union of two boxes where they are solid; inside it is less simple, and -1 stands for it."""
    return np.minimum(box(points, (0.9, 0.27, 0.27)), box(points, (0.27, 0.9, 0.27)))


@dataclass
class Case:
    mesh: object
    told: str
    truth: object
    tolerance: float = 2e-3
    suffix: str = ".obj"
    rims: float = 0.0
    """By how much distances may be off besides, for a hole has no surface."""


CASES = {
    "holes": Case(
        lambda: sphere_with_holes(1.0, ((0, 0, -1), (1, 0, 0)), 0.1),
        "2 holes; sign from the generalised winding number, which closes them smoothly",
        ball,
        4e-3,
        rims=0.095,
    ),
    "torn": Case(torn_box, "repaired: welded 28 doubled vertices", lambda p: box(p, (0.9, 0.45, 0.225))),
    "wound inwards": Case(turned, "repaired: the faces looked inwards; turned them outwards", ball),
    "wound both ways": Case(turned_in_part, "repaired: faces were wound both ways; wound them alike", ball),
    "doubled faces": Case(with_doubled_faces, "repaired: dropped 500 empty or doubled faces", ball),
    "empty faces": Case(with_empty_faces, "repaired: dropped 300 empty or doubled faces", ball),
    "loose vertices": Case(with_loose_vertices, "2,562 vertices, 5,120 faces; watertight", ball),
    "a shell within": Case(
        lambda: joined(sphere(), sphere(0.5)), "repaired: left out 20.0% of the surface, which lies inside", ball
    ),
    "a cavity": Case(
        lambda: joined(sphere(), inwards(sphere(0.5))),
        "watertight",
        lambda p: np.maximum(ball(p), -ball(p, 0.45)),
    ),
    "crossing bodies": Case(crossing_boxes, "of the surface, which lies inside the shape", cross, 6e-3),
    "a wall within": Case(with_a_wall, "of the surface, which lies inside the shape", lambda p: box(p, (0.9,) * 3)),
    "four faces at an edge": Case(sharing_an_edge, "watertight", two_boxes),
    "far away": Case(lambda: sphere(center=(1e6, -1e6, 1e6)), "watertight", ball),
    "far away in single precision": Case(
        lambda: sphere(2e4, center=(1e8, -1e8, 1e8)),
        "warning: so far from the origin the file's single precision has only",
        ball,
        2e-3,
        ".stl",
    ),
    "tiny": Case(lambda: sphere(1e-6), "watertight", ball),
    "large": Case(lambda: sphere(1e9), "watertight", ball),
}


@pytest.mark.quality
@pytest.mark.parametrize("name", CASES)
def test_a_mesh_as_it_comes_is_the_target_that_it_means(tmp_path, name):
    case, path = CASES[name], tmp_path / f"mesh{CASES[name].suffix}"
    mesh = case.mesh()
    if case.suffix == ".obj":  # by hand, because exporters tidy up
        lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in mesh.vertices.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
        path.write_text("\n".join(lines) + "\n")
    else:
        mesh.export(path)
    shape = load_shape(path)
    assert case.told in "\n".join(shape.describe())
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (20_000, 3))
    truth, found = case.truth(points), shape.signed_distance(points)
    assert ((found < 0) == (truth < 0))[np.abs(truth) > case.tolerance + case.rims / 2].all()
    # Within bodies that cross, the distance is to the surface of their union, which no formula here knows.
    known = truth > 0 if name == "crossing bodies" else np.full(len(points), True)
    assert np.abs(found - truth)[known].max() < case.tolerance + case.rims
    # What is sampled is what bounds the body, and nothing else.
    surface, normals = shape.sample_surface(rng, 5000)
    assert np.abs(case.truth(surface)).max() < case.tolerance
    ahead, behind = (case.truth(surface + side * 3 * case.tolerance * normals) for side in (1, -1))
    assert (ahead > behind).mean() > 0.97


def field_of_heights(size=40):
    """A sheet of waves, open all around."""
    x, y = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    vertices = np.stack([x, 0.2 * np.sin(4 * x) * np.cos(3 * y), y], -1).reshape(-1, 3)
    a = (np.arange(size - 1)[:, None] * size + np.arange(size - 1)).reshape(-1)
    faces = np.concatenate([np.stack([a, a + 1, a + size], -1), np.stack([a + 1, a + size + 1, a + size], -1)])
    return trimesh.Trimesh(vertices, faces, process=False)


def test_an_open_surface_has_a_distance_from_either_side(tmp_path):
    field_of_heights().export(tmp_path / "waves.obj")
    shape = load_shape(tmp_path / "waves.obj")
    assert "1 hole; unsigned distance, so the result is a shell that reaches 0.0111 to" in shape.describe()[0]
    points, normals = shape.sample_surface(np.random.default_rng(0), 2000)
    for side in (-1, 1):
        np.testing.assert_allclose(shape.signed_distance(points + side * 0.02 * normals), 0.02, atol=2e-3)
    assert shape.inside(points + 0.5 * SHELL * normals).all()
    assert shape.record == ShapeRecord(level=SHELL)
    assert shape.draw(np.random.default_rng(0), 1000)["values"].min() == 0


def flat():
    return trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)


@pytest.mark.commands
def test_an_open_surface_is_fitted_and_written_as_a_shell(tmp_path):
    field_of_heights().export(tmp_path / "waves.obj")
    small = {
        "pipeline__model__hidden_dim": 64,
        "pipeline__model__num_layers": 3,
        "pipeline__model__eval_resolution": 96,
    }
    # A network as narrow as this one needs so many steps until nothing is left at the cube's walls.
    config = fit("winner-sdf", tmp_path / "waves.obj", tmp_path, 1200, **small)
    metrics = metrics_of(config)
    assert metrics["chamfer_l1"] < 0.004
    assert metrics["f_score_1%"] > 0.97
    result = call("winner-export", "mesh", "--load-config", config, "--output", "shell.ply", cwd=tmp_path)
    assert result.returncode == 0, result.output
    shell, sheet = trimesh.load_mesh(tmp_path / "shell.ply"), trimesh.load_mesh(tmp_path / "waves.obj")
    assert shell.is_watertight
    # About a sheet's area times the shell's thickness; so few steps round off the kink at the sheet.
    assert 0.7 < shell.volume / (sheet.area * 2 * SHELL / 0.9) < 2


@pytest.mark.parametrize(
    "mesh, sign, words",
    [
        (lambda: sphere_with_holes(), "watertight", "1 hole, so it is not watertight; close it, or use --sign winding"),
        (
            flat,
            "winding",
            "encloses no volume, so it has no inside; use --sign unsigned",
        ),
    ],
)
def test_a_sign_that_cannot_be_told_is_an_error_that_says_which_can(tmp_path, mesh, sign, words):
    mesh().export(tmp_path / "mesh.obj")
    with pytest.raises(SignalError, match=words) as caught:
        load_shape(tmp_path / "mesh.obj", sign=sign)
    assert str(caught.value).startswith(str(tmp_path / "mesh.obj"))


def test_a_closed_surface_can_be_fitted_without_sign():
    shape = load_shape("sample:urchin", sign="unsigned")
    assert "watertight; unsigned distance" in shape.describe()[0]
    assert (shape.signed_distance(np.zeros((1, 3))) > 0.5).all()


@pytest.mark.quality
def test_hundreds_of_thousands_of_faces(tmp_path):
    mesh = sphere(3.0, subdivisions=7)
    assert len(mesh.faces) > 300_000
    mesh.faces[5] = mesh.faces[5, ::-1]  # that all have to be compared with their neighbours
    mesh.export(tmp_path / "ball.ply")
    shape = load_shape(tmp_path / "ball.ply")
    assert "repaired: faces were wound both ways; wound them alike" in shape.repairs
    points = np.random.default_rng(0).uniform(-1, 1, (20_000, 3))
    np.testing.assert_allclose(shape.signed_distance(points), ball(points), atol=1e-4)
