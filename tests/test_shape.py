import shutil
import subprocess
import sys
from pathlib import Path

import igl
import numpy as np
import pytest
import trimesh
from PIL import Image

from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.samples import SHAPES
from winner_nerfstudio.signals.sdf import NEAR
from winner_nerfstudio.signals.shape import MARGIN, Mix, Shape, count_holes, load_shape, repair
from winner_nerfstudio.signals.shape.distance import EASY, SHORTEST, share_sides, slice_long, sort_by_cell
from winner_nerfstudio.signals.shape.repair import orient
from winner_nerfstudio.signals.shape.topology import find_neighbors

from .meshes import pyramid, sphere, sphere_with_holes, torn_box

SHARED = Path(__file__).parents[2] / "shared" / "data" / "shapes"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shapes of ../shared are not here")


def points_around(count=20_000, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3))


def box_distance(points, half):
    """The closed form for an axis-aligned box about the origin."""
    q = np.abs(points) - half
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)


def test_distances_to_a_box_are_exact_and_negative_inside():
    shape = Shape.from_mesh(torn_box((2.0, 1.0, 0.5)))
    points = points_around()
    expected = box_distance(points, np.array([0.9, 0.45, 0.225]))
    np.testing.assert_allclose(shape.signed_distance(points), expected, atol=1e-9)


def test_a_torn_mesh_is_welded_closed_and_that_is_told():
    shape = Shape.from_mesh(torn_box())
    assert shape.closed
    assert len(shape.mesh.vertices) == 8
    assert shape.describe() == [
        "mesh: 8 vertices, 12 faces; watertight; sign from the winding number",
        "repaired: welded 28 doubled vertices",
    ]


def test_welding_does_not_depend_on_the_units():
    for scale in (1e-6, 1e6):
        mesh = torn_box()
        mesh.apply_scale(scale)
        assert len(Shape.from_mesh(mesh).mesh.vertices) == 8


def test_a_mesh_far_from_the_origin_keeps_its_shape():
    mesh = torn_box()
    mesh.apply_translation([5e5, -4e6, 100])
    shape = Shape.from_mesh(mesh)
    points = points_around(2000)
    np.testing.assert_allclose(
        shape.signed_distance(points), box_distance(points, np.array([0.9, 0.45, 0.225])), atol=1e-8
    )


@pytest.mark.parametrize("holes", [1, 3])
def test_holes_are_counted_and_the_sign_stays_right_around_them(holes):
    directions = [(0, 0, -1), (1, 0, 0), (0, 1, 0)][:holes]
    shape = Shape.from_mesh(sphere_with_holes(directions=directions))
    assert shape.holes == holes
    assert f"{holes} hole" in shape.describe()[0]
    assert "generalised winding number" in shape.describe()[0]
    points = points_around() * 0.999
    center = (shape.mesh.bounds[0] + shape.mesh.bounds[1]) / 2
    radius = np.linalg.norm(points - shape.normalization.to_unit(np.zeros(3)), axis=-1) / shape.normalization.scale
    assert np.isfinite(center).all()
    # Away from the caps that the holes leave open, inside is where the whole sphere's inside is.
    toward = (points / np.linalg.norm(points, axis=-1, keepdims=True)) @ np.array(directions, float).T
    away = (toward < np.cos(0.8)).all(-1) & (np.abs(radius - 1) > 0.02)
    assert away.sum() > 5000
    np.testing.assert_array_equal(shape.inside(points)[away], radius[away] < 1)


@pytest.mark.parametrize("depth", [0, 0.3])
@pytest.mark.parametrize("faces", [2000, 1000], ids=["watertight", "open"])
def test_long_thin_faces_have_the_sign_of_the_exact_winding_number(depth, faces):
    mesh = pyramid(1000, depth)
    shape = Shape.from_mesh(trimesh.Trimesh(mesh.vertices, mesh.faces[:faces], process=False), sign="winding")
    assert shape._queries.near_faces > EASY
    surface, normals = shape.sample_surface(np.random.default_rng(0), 500)
    points = np.concatenate([points_around(1000), surface + 0.01 * normals, surface - 0.01 * normals])
    exact = igl.winding_number(shape.mesh.vertices, shape.mesh.faces.astype(np.int64), points)
    assert np.abs(shape.winding_number(points) - exact).max() < 0.1
    clear = np.abs(exact - 0.5) > 0.1
    np.testing.assert_array_equal(shape.inside(points)[clear], exact[clear] > 0.5)


def test_neighbours_follow_each_other_where_a_mesh_is_asked_and_answers_stay_in_their_places():
    points = points_around()
    steps, on_a_grid = np.linalg.norm(np.diff(points[sort_by_cell(points)], axis=0), axis=-1), 2 / 20_000 ** (1 / 3)
    assert np.median(steps) < 1.5 * on_a_grid
    shape = Shape.from_mesh(sphere(subdivisions=3))
    whole, alone = shape.closest(points[:50]), [shape.closest(points[i : i + 1]) for i in range(50)]
    for result, single in zip(whole, zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(result, np.concatenate(single))


def test_points_that_no_surface_can_separate_are_asked_for_their_side_once():
    shape = Shape.from_mesh(trimesh.creation.annulus(0.5, 1.0, 0.7))
    points, asked = points_around(), []

    def is_inside(some):
        asked.append(len(some))
        return shape.inside(some)

    np.testing.assert_array_equal(share_sides(points, shape.distance(points), is_inside), shape.inside(points))
    assert sum(asked) < len(points) / 2
    assert shape.signed_distance(points[:0]).shape == (0,)


@pytest.mark.parametrize("mesh", [sphere(subdivisions=1), pyramid(12), torn_box().slice_plane([0, 0, 0.1], [0, 0, -1])])
def test_where_it_is_clamped_the_distance_is_right_although_only_its_sign_is_found(mesh, monkeypatch):
    for module in ("sdf", "shape.shape"):
        monkeypatch.setattr(f"winner_nerfstudio.signals.{module}.CENTROID_GRID", 32)
    shape = Shape.from_mesh(mesh)
    np.testing.assert_array_equal(shape.near_grid, shape._distance_grid.clip(-NEAR, NEAR))


def test_slices_of_long_faces_cover_what_the_faces_cover():
    corners = pyramid(50).triangles
    slices = slice_long(corners)
    assert np.linalg.norm(slices - np.roll(slices, 1, axis=1), axis=-1).max() <= SHORTEST
    areas = [np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]).sum(0) for c in (corners[:7], slice_long(corners[:7]))]
    np.testing.assert_allclose(*areas, atol=1e-12)


def test_between_fine_teeth_nothing_is_taken_for_inside():
    shape = Shape.from_mesh(pyramid(3000))
    assert len(shape.mesh.faces) == 6000
    assert shape.repairs == ()


def test_a_body_across_a_fine_cog_is_still_found_inside():
    cog = trimesh.util.concatenate([pyramid(3000, 0), trimesh.creation.box((1, 1, 1))])
    assert Shape.from_mesh(cog).repairs[-1].startswith("warning: bodies cross in so many places")


def test_a_mesh_turned_inside_out_is_turned_back_and_that_is_told():
    mesh = sphere()
    mesh.invert()
    shape = Shape.from_mesh(mesh)
    assert shape.inside(np.zeros((1, 3))).all()
    assert any("looked inwards" in line for line in shape.describe())


def test_faces_wound_both_ways_are_wound_alike_and_that_is_told():
    mesh = sphere()
    faces = mesh.faces.copy()
    faces[::3] = faces[::3, ::-1]
    shape = Shape.from_mesh(trimesh.Trimesh(mesh.vertices, faces, process=False))
    points = points_around()
    radius = np.linalg.norm(points, axis=-1)
    sure = np.abs(radius - 0.9) > 0.01
    np.testing.assert_array_equal(shape.inside(points)[sure], radius[sure] < 0.9)
    assert any("wound both ways" in line for line in shape.describe())


def wind_otherwise(mesh, some):
    faces = mesh.faces.copy()
    faces[some] = faces[some, ::-1]
    return trimesh.Trimesh(mesh.vertices, faces, process=False)


@pytest.mark.parametrize("some", [slice(0, None, 3), slice(320, 321)], ids=["a third", "first of the cavity"])
def test_faces_are_wound_as_most_of_their_body_is_so_that_a_cavity_stays_one(some):
    cavity = sphere(0.5, subdivisions=2)
    cavity.invert()
    hollow = trimesh.util.concatenate([sphere(1.0, subdivisions=2), cavity])
    shape = Shape.from_mesh(wind_otherwise(hollow, some))
    assert any("wound both ways" in line for line in shape.repairs)
    np.testing.assert_array_equal(shape.inside(np.array([[0.0, 0, 0], [0.7, 0, 0]])), [False, True])


@pytest.mark.parametrize("turned", [0, 1])
def test_two_faces_of_one_size_that_are_wound_both_ways_are_wound_alike(turned):
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    mesh = wind_otherwise(square, [turned])
    assert orient(mesh)[0] == "repaired: faces were wound both ways; wound them alike"
    assert mesh.is_winding_consistent


def test_a_strip_with_one_side_keeps_the_faces_that_are_wound_alike():
    # Sixty squares around Moebius' strip: only the last and the first cannot be wound alike.
    lower, upper = 2 * np.arange(60), 2 * np.arange(60) + 1
    ahead, above = np.append(lower[1:], 1), np.append(upper[1:], 0)
    faces = np.concatenate([np.stack([lower, ahead, above], -1), np.stack([lower, above, upper], -1)])
    angle = np.pi * np.arange(60) / 60
    across = np.stack([np.cos(angle) * np.cos(2 * angle), np.cos(angle) * np.sin(2 * angle), np.sin(angle)], -1)
    middle = np.stack([np.cos(2 * angle), np.sin(2 * angle), 0 * angle], -1)
    vertices = np.stack([middle - 0.3 * across, middle + 0.3 * across], 1).reshape(-1, 3)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert orient(mesh)[1] == "warning: the faces cannot all be wound alike; the sign may be wrong in places"
    _, alike = find_neighbors(mesh)
    assert (len(alike), (~alike).sum()) == (120, 1)


@pytest.mark.parametrize("parts", [[sphere()], [sphere(), sphere(0.5)]], ids=["one", "one within another"])
def test_the_search_tree_that_finds_the_inside_is_built_once(tmp_path, monkeypatch, parts):
    trimesh.util.concatenate(parts).export(tmp_path / "ball.ply")
    built, make = [], igl.FastWindingNumberBVH
    monkeypatch.setattr(igl, "FastWindingNumberBVH", lambda: built.append(make()) or built[-1])
    load_shape(tmp_path / "ball.ply").draw(np.random.default_rng(0), 100)
    assert len(built) == 1


def test_doubled_faces_count_once():
    mesh = sphere()
    doubled = trimesh.Trimesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces[:50]]), process=False)
    shape = Shape.from_mesh(doubled)
    assert len(shape.mesh.faces) == len(mesh.faces)
    assert shape.closed
    assert any("dropped 50" in line for line in shape.describe())


def test_a_cavity_is_outside():
    hollow = trimesh.util.concatenate([sphere(1.0), sphere(0.5)])
    hollow.faces[len(hollow.faces) // 2 :] = hollow.faces[len(hollow.faces) // 2 :, ::-1]
    shape = Shape.from_mesh(hollow)
    inside = shape.inside(np.array([[0.0, 0, 0], [0.7, 0, 0], [0.95, 0, 0]]))
    np.testing.assert_array_equal(inside, [False, True, False])


def test_a_body_that_looks_inwards_beside_another_is_turned_and_that_is_told():
    second = sphere(0.8, center=(3, 0, 0))
    second.invert()
    shape = Shape.from_mesh(trimesh.util.concatenate([sphere(1.0), second]))
    assert shape.inside(shape.normalization.to_unit(np.array([[0.0, 0, 0], [3.0, 0, 0]]))).all()
    assert "repaired: 1 of the bodies looked inwards and lay in no other; turned them outwards" in shape.describe()


TURNED = "repaired: 1 of the bodies looked inwards and lay in no other; turned them outwards"


def moved(mesh, *offset):
    mesh.apply_translation(offset)
    return mesh


def inside_out(mesh, first=0, without=0):
    """Without some of its faces, the others listed from one of them on."""
    return trimesh.Trimesh(mesh.vertices, np.roll(mesh.faces, -first, axis=0)[without:, ::-1], process=False)


def find_inside(parts, points):
    shape = Shape.from_mesh(trimesh.util.concatenate(parts))
    return shape, shape.inside(shape.normalization.to_unit(np.array(points, float))).tolist()


@pytest.mark.parametrize("pick", [np.argmin, np.argmax], ids=["the first within", "the first beyond"])
def test_a_body_that_looks_inwards_is_turned_if_it_lies_in_another_in_part(pick):
    small = sphere(0.5, subdivisions=2, center=(1, 0, 0))
    first = pick(small.triangles_center[:, 0])
    shape, inside = find_inside(
        [sphere(subdivisions=2), inside_out(small, first)], [(0, 0, 0), (0.8, 0, 0), (1.3, 0, 0)]
    )
    assert inside == [True, True, True]
    assert TURNED in shape.repairs


def test_a_body_that_looks_inwards_is_turned_though_it_has_a_hole():
    small = sphere(0.5, subdivisions=3, center=(3, 0, 0))
    shape, inside = find_inside([sphere(), inside_out(small, without=1)], [(0, 0, 0), (3, 0, 0)])
    assert inside == [True, True]
    assert TURNED in shape.repairs


def test_a_body_that_looks_inwards_is_turned_though_four_faces_meet_at_an_edge():
    boxes = [moved(trimesh.creation.box([size] * 3), *at) for size, at in ((4, (-5, 0, 0)), (1, (0, 0, 0)))]
    other = inside_out(moved(trimesh.creation.box([1] * 3), 1, 1, 0))
    shape, inside = find_inside([*boxes, other], [(-5, 0, 0), (0, 0, 0), (1, 1, 0)])
    assert shape.facts()["edges of more than two faces"] == "1"
    assert inside == [True, True, True]


@pytest.mark.parametrize("scale", [0.8, 1.5], ids=["the smaller", "the larger"])
def test_a_hollow_body_that_is_inside_out_as_a_whole_stays_hollow(scale):
    pair = [sphere(subdivisions=2), inside_out(sphere(0.5, subdivisions=2))]
    other = [
        moved(inside_out(sphere(scale, subdivisions=2)), 4, 0, 0),
        moved(sphere(scale / 2, subdivisions=2), 4, 0, 0),
    ]
    shape, inside = find_inside([*pair, *other], [(0, 0, 0), (0.75, 0, 0), (4, 0, 0), (4 + 0.75 * scale, 0, 0)])
    assert inside == [False, True, False, True]
    assert f"{TURNED}, and with them 1 that lie in them" in shape.repairs


def test_a_body_that_looks_inwards_in_a_cavity_is_turned():
    parts = [sphere(subdivisions=2), inside_out(sphere(0.7, subdivisions=2)), inside_out(sphere(0.3, subdivisions=2))]
    assert find_inside(parts, [(0, 0, 0), (0.5, 0, 0), (0.85, 0, 0)])[1] == [True, False, True]


def test_sheets_in_a_stack_are_no_body_that_looks_inwards():
    x, y = (each.reshape(-1) for each in np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1], indexing="ij"))
    bent = np.stack([x, y, 0.1 * (x**2 + y**2)], -1)
    faces = [[k + step for step in half] for k in (0, 1, 3, 4) for half in ((0, 3, 1), (1, 3, 4))]
    sheets = [moved(trimesh.Trimesh(bent, faces, process=False), 0, 0, 0.2 * level) for level in range(5)]
    for some in (sheets, [inside_out(sheet) for sheet in sheets]):
        mesh = trimesh.util.concatenate(some)
        assert not any("bodies" in line for line in orient(mesh))
        assert mesh.face_normals[::8, 2].min() * mesh.face_normals[::8, 2].max() > 0


def with_backs(mesh):
    faces = np.stack([mesh.faces, mesh.faces[:, ::-1]], 1)
    faces[::3] = faces[::3, ::-1]  # the outer side is not always the first
    return trimesh.Trimesh(mesh.vertices, faces.reshape(-1, 3), process=False)


@pytest.mark.parametrize("sign", ["auto", "winding"])
def test_a_closed_body_whose_faces_all_have_another_back_to_back_is_solid_and_that_is_told(sign):
    ball = sphere(subdivisions=2)
    shape = Shape.from_mesh(with_backs(ball), sign=sign)
    assert shape.closed
    assert shape.signed
    assert shape.repairs == ("repaired: dropped 320 faces that lie back to back with others, all around a body",)
    assert (shape.normals * shape.mesh.triangles_center).sum(-1).min() > 0.8
    # Within another it is no cavity.
    nested = [sphere(2.0, subdivisions=2), with_backs(inside_out(ball))]
    assert find_inside(nested, [(0, 0, 0), (1.5, 0, 0)])[1] == [True, True]


def test_an_open_surface_with_two_sides_and_a_wall_between_bodies_keep_both():
    half = sphere(subdivisions=2).slice_plane([0, 0, 0], [0, 0, -1])
    shape = Shape.from_mesh(with_backs(half))
    assert not shape.signed
    assert len(shape.mesh.faces) == 2 * len(half.faces)
    boxes = [trimesh.creation.box((1, 1, 1)), moved(trimesh.creation.box((1, 1, 1)), 0, 0, 1)]
    assert not any("back to back" in line for line in find_inside(boxes, [(0, 0, 0)])[0].repairs)


def test_what_is_inside_out_still_is_told():
    mesh = sphere(subdivisions=3)
    x, y, z = mesh.vertices.T
    # Its lower part is reflected, and joined to the upper one where it has no width.
    twisted = trimesh.Trimesh(np.stack([x * (z + 0.6), y, z], -1), mesh.faces, process=False)
    told = "warning: some of the surface is inside out; what it encloses there counts as outside"
    assert told in Shape.from_mesh(twisted).repairs
    assert told not in Shape.from_mesh(mesh).repairs


@pytest.mark.parametrize(
    "mesh",
    [trimesh.creation.box((1, 1, 0.02)), trimesh.creation.cylinder(0.015, 1.0), trimesh.creation.box((1, 1, 1e-4))],
    ids=["plate", "rod", "foil"],
)
def test_thin_bodies_have_an_inside(mesh):
    assert Shape.from_mesh(mesh).closed


def test_vertices_apart_by_rounding_are_welded():
    mesh = sphere(subdivisions=3)
    soup = mesh.vertices[mesh.faces].reshape(-1, 3)
    soup = soup + np.random.default_rng(0).uniform(-1e-9, 1e-9, soup.shape)
    shape = Shape.from_mesh(trimesh.Trimesh(soup, np.arange(len(soup)).reshape(-1, 3), process=False))
    assert shape.closed
    assert len(shape.mesh.vertices) == len(mesh.vertices)


def test_many_vertices_in_one_place_are_welded_without_all_their_pairs(monkeypatch):
    seen, label = [], repair.label_groups
    monkeypatch.setattr(repair, "label_groups", lambda pairs, count: seen.append(len(pairs)) or label(pairs, count))
    ball = sphere(1e-8, subdivisions=3, center=[repair.WELD_TOLERANCE / 4 / (1 - MARGIN)] * 3)
    shape = Shape.from_mesh(trimesh.util.concatenate([ball, trimesh.creation.box((2, 2, 2))]))
    assert len(shape.mesh.vertices) == 8
    assert "repaired: welded 641 doubled vertices" in shape.repairs
    # All 642 of the ball lie within a fifth of what is welded, about the corner at which eight cells meet.
    assert seen == [8 * 7 / 2]


def test_overlapping_bodies_are_one():
    shape = Shape.from_mesh(trimesh.util.concatenate([sphere(1.0), sphere(1.0, center=(1, 0, 0))]))
    assert shape.inside(shape.normalization.to_unit(np.array([[0.5, 0, 0], [0, 0, 0], [1, 0, 0]]))).all()


@pytest.mark.parametrize("shift", [0.5, 0.0], ids=["overlapping", "nested"])
def test_what_lies_inside_counts_as_a_piece_of_the_file(shift):
    first, second = sphere(1.0, subdivisions=2), sphere(0.7, subdivisions=2, center=(shift, 0, 0))
    shape = Shape.from_mesh(trimesh.util.concatenate([first, second]))
    assert any("lies inside the shape" in line for line in shape.repairs)
    facts = shape.facts()
    assert (facts["pieces"], facts["edges of more than two faces"]) == ("2", "0")
    size = f"{2 * len(first.vertices)} vertices, {2 * len(first.faces)} faces; watertight"
    assert size in shape.describe()[0]
    # What is left of a face that was cut shares its corners with its neighbours.
    assert len(shape.mesh.vertices) < len(shape.mesh.faces)


def test_corners_far_from_the_origin_are_told_as_precisely_as_the_size():
    mesh = trimesh.creation.box((2.0, 1.4, 1.0))
    mesh.apply_translation((431_234.0, 5_412_345.0, 120.0))
    facts = Shape.from_mesh(mesh).facts()
    assert facts["size"] == "2 x 1.4 x 1"
    assert facts["from, to"] == "(431233.0, 5412344.3, 119.5) (431235.0, 5412345.7, 120.5)"


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".off", ".glb"])
def test_every_format_gives_the_same_shape(tmp_path, suffix):
    mesh = sphere(3.0, subdivisions=3, center=(10, 20, 30))
    path = tmp_path / f"ball{suffix}"
    mesh.export(path)
    shape = load_shape(path)
    assert shape.closed
    assert shape.normalization.center == pytest.approx((10, 20, 30), abs=1e-5)
    assert shape.normalization.scale == pytest.approx(0.9 / 3, rel=1e-5)


def test_a_scene_is_merged_with_its_parts_in_place(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(sphere(), transform=trimesh.transformations.translation_matrix([-5, 0, 0]))
    scene.add_geometry(sphere(), transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    scene.export(tmp_path / "two.glb")
    shape = load_shape(tmp_path / "two.glb")
    assert shape.inside(shape.normalization.to_unit(np.array([[-5.0, 0, 0], [5.0, 0, 0], [0, 0, 0]]))).tolist() == [
        True,
        True,
        False,
    ]


def test_surface_samples_lie_on_the_surface_evenly():
    shape = Shape.from_mesh(torn_box((2.0, 1.0, 0.5)))
    points, normals = shape.sample_surface(np.random.default_rng(0), 40_000)
    np.testing.assert_allclose(box_distance(points, np.array([0.9, 0.45, 0.225])), 0, atol=1e-9)
    # By area: the two largest sides of a 2 x 1 x 0.5 box have 2 * 2 of its 7 square units.
    assert (np.abs(normals[:, 2]) > 0.5).mean() == pytest.approx(4 / 7, abs=0.01)
    outwards = (normals * points).sum(-1)
    assert (outwards > 0).all()


def test_a_batch_mixes_surface_near_and_volume_in_any_order():
    shape = Shape.from_mesh(sphere(subdivisions=5), mix=Mix(surface_fraction=0.3, near_fraction=0.5))
    batch = shape.draw(np.random.default_rng(0), 40_000)
    coords, values = batch["coords"], batch["values"][:, 0]
    assert coords.shape == (40_000, 3)
    assert coords.dtype == values.dtype == np.float32
    assert np.abs(coords).max() <= 1
    # The sphere is a fine polyhedron: its distance is the sphere's within the faces' sagitta.
    np.testing.assert_allclose(values, np.linalg.norm(coords, axis=-1) - 0.9, atol=1e-3)
    assert (values == 0).mean() == pytest.approx(0.3, abs=1e-3)
    assert (np.abs(values) < 4 * Mix().near_sigmas[0]).mean() > 0.8
    first, second = np.abs(values[:20_000]), np.abs(values[20_000:])
    assert first.mean() == pytest.approx(second.mean(), rel=0.1)


def test_draws_are_fresh_and_repeatable():
    shape = Shape.from_mesh(sphere())
    again = [shape.draw(np.random.default_rng(seed), 100)["coords"] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(again[0], again[1])
    assert not np.isin(again[0], again[2]).any()


@pytest.mark.quality
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_built_in_shapes_are_closed_and_in_one_piece(name):
    shape = load_shape(f"sample:{name}")
    assert shape.closed
    assert shape.repairs == ()
    assert shape.mesh.is_winding_consistent
    assert shape.mesh.body_count == 1
    # Fine detail: more surface than the smooth ball of the same volume has, by far.
    smooth = (36 * np.pi * shape.mesh.volume**2) ** (1 / 3)
    assert shape.mesh.area > 1.4 * smooth


def test_rays_meet_the_surface():
    shape = Shape.from_mesh(sphere(subdivisions=5))
    origins = np.array([[0.0, 0, -3], [0.95, 0, -3], [0, 0, 3]])
    directions = np.array([[0.0, 0, 1], [0, 0, 1], [0, 0, 1]])
    along, hit, normals = shape.cast_rays(origins, directions)
    assert hit.tolist() == [True, False, False]
    np.testing.assert_allclose(along, [3 - (1 - MARGIN), 0, 0], atol=1e-3)
    np.testing.assert_allclose(normals[0], [0, 0, -1], atol=0.05)


def write_png(path):
    Image.new("RGB", (4, 4)).save(path, format="PNG")


def write_mesh(change):
    def write(path):
        mesh = sphere(subdivisions=1)
        vertices = mesh.vertices.copy()
        change(vertices)
        # By hand, because exporters tidy up what is wanted here.
        lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
        path.write_text("\n".join(lines) + "\n")

    return write


def to_nan(vertices):
    vertices[3, 1] = np.nan


def to_line(vertices):
    vertices[:, 1:] = 0


def to_point(vertices):
    vertices[:] = 1


HOSTILE = {
    "missing.obj": (lambda path: None, "no such file; give a mesh file, or sample:NAME with one of cog, gyroid-ball"),
    "folder.obj": (lambda path: path.mkdir(), "is a folder"),
    "photo.png": (write_png, "not a mesh format that can be read; use one of .3mf, .glb"),
    "photo.obj": (write_png, "photo.obj"),
    "empty.obj": (lambda path: path.write_text(""), "empty.obj"),
    "empty.stl": (lambda path: path.write_bytes(b""), "empty.stl"),
    "cut.ply": (lambda path: path.write_bytes(b"ply\nformat binary_little_endian 1.0\nelement vert"), "cannot be read"),
    "points.obj": (lambda path: path.write_text("v 0 0 1\nv 1 0 0\nv 0 1 0\n"), "points.obj"),
    "nan.obj": (write_mesh(to_nan), "1 of 42 vertices are NaN or infinite"),
    "line.obj": (write_mesh(to_line), "no area"),
    "point.obj": (write_mesh(to_point), "all vertices lie in one point"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_files_that_are_no_shape_end_in_one_line_that_names_them(tmp_path, name):
    write, words = HOSTILE[name]
    write(tmp_path / name)
    with pytest.raises(SignalError) as caught:
        load_shape(tmp_path / name)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(tmp_path / name))
    assert "\n" not in message


def test_an_unknown_sample_lists_the_known():
    with pytest.raises(
        SignalError, match="sample:bunny: no such built-in shape; there are: cog, gyroid-ball, knot, urchin"
    ):
        load_shape("sample:bunny")


@pytest.mark.parametrize("fractions", [(-0.1, 0.5), (0.6, 0.6), (0.5, float("nan"))])
def test_a_mix_that_is_no_mix_is_refused(fractions):
    with pytest.raises(
        SignalError, match=r"surface_fraction=\S+ and near_fraction=\S+ must not be negative, and their sum"
    ):
        Shape.from_mesh(sphere(), mix=Mix(*fractions))


HELD = """
import threading
import trimesh
from winner_nerfstudio.signals.shape.distance import MeshQueries
queries = MeshQueries(trimesh.creation.icosphere(1))
queries.find_closest(queries.vertices), queries.winding_number(queries.vertices)
threading.Thread(target=lambda held: threading.Event().wait(), args=[queries], daemon=True).start()
"""


def test_a_mesh_that_a_thread_holds_to_the_end_is_nothing_to_tell():
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


FIVE = ((0, 0, -1), (0, 0, 1), (1, 0, 0), (-1, 0, 0), (0, 1, 0))
MADE = {
    "five.obj": lambda path: sphere_with_holes(directions=FIVE, angle=0.1).export(path),
    "seams.STL": lambda path: SHAPES["cog"]().export(path, file_type="stl"),
    "genus.ply": lambda path: SHAPES["gyroid-ball"]().export(path),
}


@pytest.mark.quality
@pytest.mark.parametrize(
    "name, holes",
    [
        *[("five.obj", 5), ("seams.STL", 0), ("genus.ply", 0)],
        *(
            pytest.param(*case, marks=needs_shared)
            for case in [("stanford-bunny.obj", 5), ("spot.obj", 0), ("fandisk.obj", 0), ("busted.STL", 0)]
        ),
    ],
)
def test_meshes_have_the_holes_that_they_have(name, holes, tmp_path):
    MADE.get(name, lambda path: shutil.copy(SHARED / name, path))(tmp_path / name)
    shape = load_shape(tmp_path / name)
    assert shape.holes == holes
    # An independent count of open edges on the welded mesh.
    assert (count_holes(shape.mesh) == 0) == shape.mesh.is_watertight
    # The corners of the cube are outside, and so is everything farther than the box.
    corners = np.stack(np.meshgrid([-1.0, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3)
    assert not shape.inside(corners).any()
