from functools import partial

import numpy as np
import pytest
import torch
import trimesh
from nerfstudio.data.scene_box import SceneBox

from winner_nerfstudio import fit as fit_directly
from winner_nerfstudio.metrics.shape import surface_metrics
from winner_nerfstudio.nerfstudio.models.base import SignalModelConfig
from winner_nerfstudio.nerfstudio.viewer.cameras import look_at_origin, orbit
from winner_nerfstudio.signals.cloud import PointCloud, load_surface
from winner_nerfstudio.signals.cloud.distance import estimate_areas
from winner_nerfstudio.signals.cloud.pcd import read_pcd
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.samples import SHAPES
from winner_nerfstudio.signals.shape import Shape, load_shape
from winner_nerfstudio.training.loss import OFF_SURFACE_DECAY
from winner_nerfstudio.training.options import DistanceOptions

from .clouds import ball, torus, torus_distance, write_pcd, write_ply
from .conftest import fit, metrics_of
from .meshes import sphere

CENTER = np.array([10.0, 20.0, 30.0])


def write_binary_ply(path, points, normals):
    names = ("x", "y", "z", "nx", "ny", "nz")
    head = "ply\nformat binary_little_endian 1.0\ncomment by a scanner\n" + f"element vertex {len(points)}\n"
    head += "".join(f"property float {name}\n" for name in names) + "property uchar red\nend_header\n"
    rows = np.zeros(len(points), [*((name, "<f4") for name in names), ("red", "u1")])
    for name, column in zip(names, np.c_[points, normals].T, strict=True):
        rows[name] = column
    path.write_bytes(head.encode() + rows.tobytes())


FORMATS = {
    "ascii.ply": write_ply,
    "binary.ply": write_binary_ply,
    "spaces.xyz": lambda path, points, normals: np.savetxt(path, np.c_[points, normals], header="x y z nx ny nz"),
    "commas.xyz": lambda path, points, normals: np.savetxt(path, np.c_[points, normals], delimiter=", "),
    "ascii.pcd": partial(write_pcd, encoding="ascii"),
    "binary.pcd": write_pcd,
    "packed.pcd": partial(write_pcd, encoding="binary_compressed"),
    "double.npy": lambda path, points, normals: np.save(path, np.c_[points, normals]),
    "single.npy": lambda path, points, normals: np.save(path, np.c_[points, normals].astype(np.float32)),
}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_gives_the_same_cloud(tmp_path, name):
    points, normals = ball(2000, 3.0, CENTER)
    FORMATS[name](tmp_path / name, points, normals)
    cloud = load_surface(tmp_path / name)
    assert cloud.describe() == [f"{tmp_path / name}: 2,000 points, with normals"]
    assert cloud.normalization.center == pytest.approx(CENTER, abs=0.05)
    np.testing.assert_allclose(cloud.normalization.to_world(cloud.points), points, atol=1e-5)
    np.testing.assert_allclose(cloud.normals, normals, atol=1e-5)


@pytest.mark.parametrize("name", ["normal_x", "normalx"])
def test_the_normals_of_a_ply_file_go_by_several_names(tmp_path, name):
    write_ply(tmp_path / "a.ply", *ball(100))
    text = (tmp_path / "a.ply").read_text()
    for axis in "xyz":
        text = text.replace(f" n{axis}\n", f" {name[:-1]}{axis}\n")
    (tmp_path / "a.ply").write_text(text)
    assert load_surface(tmp_path / "a.ply").source == "with normals"


def test_a_ply_file_is_what_it_holds(tmp_path):
    sphere().export(tmp_path / "mesh.ply")
    assert isinstance(load_surface(tmp_path / "mesh.ply"), Shape)
    write_ply(tmp_path / "cloud.ply", *ball(100))
    assert isinstance(load_surface(tmp_path / "cloud.ply"), PointCloud)
    trimesh.PointCloud(ball(100)[0]).export(tmp_path / "bare.ply")
    assert "normals estimated" in load_surface(tmp_path / "bare.ply").describe()[0]


def test_distances_are_nearly_exact_and_negative_inside():
    cloud = PointCloud.from_points(*torus(20_000))
    scale = cloud.normalization.scale
    points = np.random.default_rng(1).uniform(-1, 1, (20_000, 3))
    truth = scale * torus_distance(cloud.normalization.to_world(points))
    fitted = cloud.signed_distance(points)
    near = np.abs(truth) < 0.05
    assert np.abs(fitted - truth)[near].mean() < 2e-4
    assert np.abs(fitted - truth)[~near].mean() < 5e-4
    # The nearest point by itself is ten times as wrong near the surface.
    assert np.abs(np.abs(truth) - np.sqrt(cloud.closest(points)[0]))[near].mean() > 2e-3
    assert (np.sign(fitted) == np.sign(truth)).mean() > 0.999


def test_of_a_large_cloud_a_part_serves_far_away_and_all_of_it_near():
    few, many = (PointCloud.from_points(*torus(count)) for count in (30_000, 300_000))
    points = np.random.default_rng(1).uniform(-1, 1, (5000, 3))
    near = np.abs(many.signed_distance(points)) < 0.02
    truth = many.normalization.scale * torus_distance(many.normalization.to_world(points))
    errors = [np.abs(cloud.signed_distance(points) - truth) for cloud in (few, many)]
    assert errors[1].max() < 5e-3
    assert errors[1][near].mean() < errors[0][near].mean() / 2


@pytest.mark.parametrize("scale, shift", [(1e-6, 0), (1e6, 0), (1.0, 1e6), (1e90, 0)])
def test_units_and_position_change_nothing(scale, shift):
    points, normals = torus(3000)
    plain, moved = PointCloud.from_points(points, normals), PointCloud.from_points(points * scale + shift, normals)
    queries = np.random.default_rng(1).uniform(-1, 1, (2000, 3))
    np.testing.assert_allclose(moved.signed_distance(queries), plain.signed_distance(queries), atol=1e-6)


def test_single_precision_that_is_coarse_so_far_from_the_origin_is_told():
    points, normals = torus(3000)
    for digits in (np.float32, np.float64):
        cloud = PointCloud.from_points((points + 1e5).astype(digits), normals)
        warned = [line for line in cloud.repairs if line.startswith("warning: so far from the origin")]
        assert len(warned) == (digits is np.float32)


def test_what_a_cloud_needs_to_find_its_inside_is_computed_once(tmp_path, monkeypatch):
    np.save(tmp_path / "ball.npy", np.concatenate(ball(1000), axis=1))
    asked = []
    areas = lambda points: asked.append(points) or estimate_areas(points)  # noqa: E731
    monkeypatch.setattr("winner_nerfstudio.signals.cloud.cloud.estimate_areas", areas)
    load_surface(tmp_path / "ball.npy").draw(np.random.default_rng(0), 100)
    assert len(asked) == 1


def test_normals_of_any_length_are_made_unit():
    points, normals = ball(500)
    lengths = np.random.default_rng(1).uniform(1e-3, 1e3, (500, 1))
    np.testing.assert_allclose(PointCloud.from_points(points, lengths * normals).normals, normals, atol=1e-12)


def test_normals_that_point_inwards_are_turned_and_that_is_told():
    points, normals = torus(3000)
    cloud = PointCloud.from_points(points, -normals)
    np.testing.assert_allclose(cloud.normals, normals)
    assert "repaired: the normals pointed inwards; turned them outwards" in cloud.describe()


def test_doubled_points_and_zero_normals_are_dropped_and_that_is_told():
    points, normals = ball(1000)
    normals[:10] = 0
    normals[10] = np.nan
    cloud = PointCloud.from_points(np.r_[points, points[500:600]], np.r_[normals, normals[500:600]])
    np.testing.assert_allclose(cloud.normals, normals[11:])
    assert cloud.repairs == (
        "repaired: dropped 11 points whose normals are zero or not finite",
        "repaired: dropped 100 doubled points",
    )


@pytest.mark.parametrize("wild", [3e8, 1e300, 1e-3])
def test_a_few_normals_of_another_length_do_not_make_the_others_zero(wild):
    points, normals = ball(1000)
    scaled = normals.copy()
    scaled[:3] *= wild
    cloud = PointCloud.from_points(points, scaled)
    np.testing.assert_allclose(cloud.normals, normals, atol=1e-12)
    assert cloud.repairs == ()


def test_normals_that_are_all_zero_are_none():
    points, normals = ball(1000)
    cloud = PointCloud.from_points(points, 0 * normals)
    assert "normals estimated" in cloud.describe()[0]
    assert cloud.repairs == ("repaired: all normals are zero or not finite; left them out",)
    assert ((cloud.normals * normals).sum(-1) > 0.95).mean() > 0.99


BIG, SMALL, WITHIN = (ball(3000), ball(2000, 0.7, (3, 0, 0), 1), ball(1500, 0.4, (0, 0, 0), 2))
BODIES = {
    "one": ([BIG], [1], None),
    "two": ([BIG, SMALL], [1, 1], "the points are 2 bodies; normals were turned outwards"),
    "cavity": (
        [BIG, SMALL, WITHIN],
        [1, 1, -1],
        "the points are 3 bodies; normals were turned outwards and those of 1 within another inwards",
    ),
}


@pytest.mark.parametrize("name", sorted(BODIES))
def test_missing_normals_are_estimated_and_point_out_of_every_body(name):
    balls, signs, told = BODIES[name]
    points, truth = (np.concatenate(parts) for parts in zip(*balls, strict=True))
    truth = truth * np.repeat(signs, [len(points) for points, _ in balls])[:, None]
    cloud = PointCloud.from_points(points)
    assert "normals estimated from 30 neighbours each and oriented alike" in cloud.describe()[0]
    assert ((cloud.normals * truth).sum(-1) > 0.95).mean() > 0.99
    assert cloud.repairs == (() if told is None else (told,))


def test_normals_of_a_lattice_on_one_sphere_are_estimated():
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, 60, endpoint=False), np.linspace(0.05, np.pi - 0.05, 30))
    points = np.stack([np.cos(around) * np.sin(down), np.sin(around) * np.sin(down), np.cos(down)], -1).reshape(-1, 3)
    assert ((PointCloud.from_points(points).normals * points).sum(-1) > 0.9).mean() > 0.99


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_a_pcd_file_is_read_as_open3d_reads_it(tmp_path, encoding):
    open3d = pytest.importorskip("open3d")
    points, normals = ball(3000, 3.0, CENTER)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.round(2)))
    cloud.normals = open3d.utility.Vector3dVector(normals)
    cloud.colors = open3d.utility.Vector3dVector(np.abs(normals))
    path = tmp_path / "ball.pcd"
    as_text, compressed = encoding == "ascii", encoding == "binary_compressed"
    assert open3d.io.write_point_cloud(str(path), cloud, write_ascii=as_text, compressed=compressed)
    assert f"DATA {encoding}\n".encode() in path.read_bytes()
    truth = open3d.io.read_point_cloud(str(path))
    found_points, found_normals, notes, colors = read_pcd(path)
    np.testing.assert_array_equal(found_points, np.asarray(truth.points))
    np.testing.assert_array_equal(found_normals, np.asarray(truth.normals))
    np.testing.assert_allclose(colors.values, np.asarray(truth.colors), atol=1e-6)
    assert notes == ()


@pytest.mark.parametrize(("kind", "encoding"), [("F", "binary"), ("U", "binary"), ("U", "ascii")])
def test_the_bytes_of_a_color_in_a_pcd_file_are_no_number(tmp_path, kind, encoding):
    (points, _), rng = ball(50), np.random.default_rng(0)
    colors = rng.integers(0, 256, (50, 3))
    packed = (0xFF000000 | colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]).astype("<u4")
    packed[7] = 0xFF800001 | packed[7] & 0xFFFF  # as a float, a NaN that a conversion would change
    colors[7] = packed[7] >> 16 & 255, packed[7] >> 8 & 255, packed[7] & 255
    body = "\n".join(f"{x} {y} {z} {c}" for (x, y, z), c in zip(points, packed, strict=True)).encode()
    if encoding == "binary":
        body = b"".join(p.astype("<f4").tobytes() + c.tobytes() for p, c in zip(points, packed, strict=True))
    header = ["FIELDS x y z rgba", "SIZE 4 4 4 4", f"TYPE F F F {kind}", "POINTS 50", f"DATA {encoding}", ""]
    (tmp_path / "a.pcd").write_bytes("\n".join(header).encode() + body)
    _, _, _, found = read_pcd(tmp_path / "a.pcd")
    np.testing.assert_allclose(found.values * 255, colors, atol=1e-4)


@pytest.mark.parametrize(("kind", "value"), [("F", "nan"), ("U", "nan"), ("I", "inf")])
def test_a_color_in_a_text_pcd_file_that_is_no_number_leaves_all_out_and_that_is_told(tmp_path, kind, value):
    points, _ = ball(50)
    rows = [f"{x} {y} {z} 0" for x, y, z in points]
    header = ["FIELDS x y z rgb", "SIZE 4 4 4 4", f"TYPE F F F {kind}", "POINTS 51", "DATA ascii"]
    (tmp_path / "a.pcd").write_text("\n".join([*header, *rows, f"nan nan nan {value}"]))
    _, _, notes, colors = read_pcd(tmp_path / "a.pcd")
    assert notes == ("repaired: dropped 1 points without coordinates",)
    assert (colors.values == 0).all()
    (tmp_path / "a.pcd").write_text("\n".join([*header, *rows, f"1 1 1 {value}"]))
    _, _, notes, colors = read_pcd(tmp_path / "a.pcd")
    assert colors is None
    assert notes == (
        f"warning: its colours are left out, for 1 of 51 are {value}; write rgb as whole numbers, of type U, or the"
        " file as binary",
    )


def test_names_of_a_pcd_file_may_have_capitals(tmp_path):
    points, normals = ball(50)
    write_pcd(tmp_path / "a.pcd", points, normals, "ascii")
    text = (tmp_path / "a.pcd").read_text().replace("x y z normal_x", "X Y Z Normal_X")
    (tmp_path / "a.pcd").write_text(text.replace("normal_y normal_z", "NORMAL_Y NORMAL_Z"))
    found_points, found_normals, _, _ = read_pcd(tmp_path / "a.pcd")
    np.testing.assert_array_equal(found_points, points)
    np.testing.assert_array_equal(found_normals, normals)


def test_rays_meet_the_points():
    cloud = PointCloud.from_points(*ball(20_000))
    spots = np.random.default_rng(0).uniform(-0.6, 0.6, (500, 2))
    origins = np.c_[spots, np.full(500, -3.0)]
    along, hit, normals = cloud.cast_rays(origins, np.tile([0.0, 0, 1], (500, 1)))
    assert hit.all()
    depth = origins[:, 2] + along
    front = depth < 0  # few look through a gap
    assert front.mean() > 0.98
    truth = np.c_[spots, -np.sqrt((1 - 0.1) ** 2 - (spots**2).sum(-1))]
    np.testing.assert_allclose(depth[front], truth[front, 2], atol=0.02)
    assert ((normals * truth / 0.9).sum(-1)[front] > 0.99).all()
    assert not cloud.cast_rays(np.array([[2.0, 0, -3]]), np.array([[0.0, 0, 1]]))[1].any()


def test_half_of_a_batch_are_points_of_the_cloud():
    cloud = PointCloud.from_points(*ball(5000))
    batch = cloud.draw(np.random.default_rng(0), 4001)
    coords, values, on = batch["coords"], batch["values"][:, 0], batch["on_surface"][:, 0] == 1
    assert {name: rows.shape for name, rows in batch.items()} == {
        "coords": (4001, 3),
        "values": (4001, 1),
        "on_surface": (4001, 1),
        "normals": (4001, 3),
    }
    assert all(rows.dtype == np.float32 for rows in batch.values())
    assert on.sum() == 2000
    assert 0.4 < on[:2000].mean() < 0.6
    assert (values[on] == 0).all()
    np.testing.assert_allclose(batch["normals"][on] * 0.9, coords[on], atol=2e-2)
    assert (batch["normals"][~on] == 0).all()
    np.testing.assert_allclose(values[~on], np.linalg.norm(coords[~on], axis=-1) - 0.9, atol=0.03)
    assert np.abs(coords[~on]).mean() == pytest.approx(0.5, abs=0.02)
    np.testing.assert_array_equal(coords, cloud.draw(np.random.default_rng(0), 4001)["coords"])
    assert not np.array_equal(coords, cloud.draw(np.random.default_rng(1), 4001)["coords"])


def write_rows(*columns):
    return lambda path: np.savetxt(path, np.stack([*columns], -1))


def save(array):
    return lambda path: np.save(path, array)


def with_nan(points):
    points[3, 1] = np.nan
    return points


PLANE = np.c_[np.random.default_rng(0).random((500, 2)), np.zeros(500)]
HOSTILE = {
    "missing.xyz": (lambda path: None, "no such file; give a mesh, or points in one of .ply, .xyz, .pcd, .npy"),
    "folder.npy": (lambda path: path.mkdir(), "is a folder"),
    "empty.xyz": (lambda path: path.write_text(""), "empty.xyz"),
    "words.xyz": (lambda path: path.write_text("3\nwater\nO 0 0 0\n"), "cannot be read as .xyz points"),
    "latin.xyz": (lambda path: path.write_bytes(b"\xff\xfe0 0 0"), "cannot be read as .xyz points"),
    "four.xyz": (write_rows(*np.eye(4)), "4 columns; x y z, or x y z nx ny nz, are needed"),
    "few.xyz": (write_rows(*ball(9)[0].T), "9 points that differ; at least 10 are needed"),
    "point.npy": (save(np.ones((1000, 3))), "1 points that differ"),
    "nan.npy": (save(with_nan(ball(100)[0])), "1 of 100 points are NaN or infinite"),
    "flat.npy": (save(np.zeros(100)), "an array of shape [100] is no point cloud; [n, 3] or [n, 6] is needed"),
    "complex.npy": (save(np.ones((100, 3), complex)), "values of type complex128 are no coordinates"),
    "plane.npy": (save(np.c_[PLANE, np.tile([0, 0, -1.0], (500, 1))]), "enclose no volume"),
    "bare-plane.npy": (save(PLANE), "enclose no volume"),
    "random.npy": (save(np.c_[ball(2000)[0], ball(2000, seed=1)[1]]), "enclose no volume"),
    "colours.npy": (save(np.c_[ball(100)[0], np.abs(ball(100)[1])]), "are they colours?"),
    "cut.pcd": (lambda path: path.write_bytes(b"VERSION 0.7\nFIELDS x y"), "has no header that ends with DATA"),
    "cut.ply": (lambda path: path.write_bytes(b"ply\nformat ascii 1.0\nelement vertex 9\nprop"), "cannot be read"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_files_that_are_no_cloud_end_in_one_line_that_names_them(tmp_path, name):
    write, words = HOSTILE[name]
    write(tmp_path / name)
    with pytest.raises(SignalError) as caught:
        load_surface(tmp_path / name)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(tmp_path / name))
    assert "\n" not in message


def test_points_of_a_scan_that_met_nothing_are_dropped(tmp_path):
    points, normals = ball(300)
    points[:20] = np.nan
    write_pcd(tmp_path / "scan.pcd", points, normals, "ascii")
    assert load_surface(tmp_path / "scan.pcd").repairs == ("repaired: dropped 20 points without coordinates",)


def test_a_reference_lies_where_its_points_lie(tmp_path):
    points, normals = ball(20_000, 3.0, CENTER)
    np.save(tmp_path / "ball.npy", np.c_[points, normals])
    sphere(3.0, 5, CENTER).export(tmp_path / "ball.obj")
    cloud = load_surface(tmp_path / "ball.npy", reference=tmp_path / "ball.obj")
    assert cloud.describe()[-1] == f"metrics are against {tmp_path / 'ball.obj'}"
    queries = np.random.default_rng(0).uniform(-1, 1, (1000, 3))
    np.testing.assert_allclose(cloud.reference.signed_distance(queries), cloud.signed_distance(queries), atol=3e-3)


def test_a_reference_of_overlapping_bodies_has_its_inside_where_its_points_lie(tmp_path):
    centers = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    trimesh.util.concatenate([sphere(1.0, 4, center) for center in centers]).export(tmp_path / "two.obj")
    points = np.concatenate([ball(20_000, 1.0, center)[0] for center in centers])
    outer = (np.linalg.norm(points[:, None] - centers, axis=-1) > 0.999).all(-1) & (points[:, 0] > -0.9)
    np.save(tmp_path / "two.npy", np.c_[points, points - centers[np.repeat([0, 1], 20_000)]][outer])
    cloud = load_surface(tmp_path / "two.npy", reference=tmp_path / "two.obj")
    assert "left out" in " ".join(cloud.reference.repairs)
    queries = np.random.default_rng(0).uniform(-1, 1, (20_000, 3))
    distances = np.linalg.norm(cloud.normalization.to_world(queries)[:, None] - centers, axis=-1).min(-1)
    clear = np.abs(distances - 1) > 0.01
    assert np.array_equal(cloud.reference.inside(queries[clear]), distances[clear] < 1)
    assert np.array_equal(cloud.reference.signed_distance(queries[clear]) < 0, distances[clear] < 1)


def test_a_shape_is_moved_to_another_cube_with_its_colours():
    mesh = sphere(1.0, 3, CENTER)
    columns = np.uint8(255 * (mesh.vertices - mesh.bounds[0]) / mesh.extents)
    shape = load_shape(trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=columns), colors=True)
    moved = shape.move_to(Normalization((10.5, 20.0, 30.0), 0.5))
    np.testing.assert_allclose(moved.bounds, [[-0.75, -0.5, -0.5], [0.25, 0.5, 0.5]], atol=1e-6)
    found = moved.color_at(np.array([[0.25, 0, 0], [-0.75, 0, 0]]))
    np.testing.assert_allclose(found[:, 0], [1, 0], atol=1e-6)


def test_a_reference_elsewhere_or_of_a_mesh_is_refused(tmp_path):
    np.save(tmp_path / "ball.npy", np.concatenate(ball(1000), axis=1))
    for radius, center in ((1.0, (5, 0, 0)), (1000.0, (0, 0, 0)), (0.1, (0, 0, 0))):
        sphere(radius, 3, center).export(tmp_path / "other.obj")
        with pytest.raises(SignalError, match=r"other.obj: spans .*; a reference in their coordinates is needed"):
            load_surface(tmp_path / "ball.npy", reference=tmp_path / "other.obj")
    with pytest.raises(SignalError, match="--reference is for point clouds"):
        load_surface("sample:knot", reference=tmp_path / "other.obj")


def test_metrics_of_a_true_surface_are_good_and_of_a_shifted_one_show_the_shift():
    cloud = PointCloud.from_points(*ball(100_000))
    true, shifted = sphere(0.9, 5), sphere(0.9, 5, (0.1, 0, 0))
    metrics = surface_metrics(true, cloud)
    assert metrics["chamfer_l1"] < 2e-3
    assert metrics["normal_consistency"] > 0.999
    assert metrics["f_score_0.5%"] > 0.99
    # Of a sphere shifted by d the mean of |d cos| is d / 2.
    assert surface_metrics(shifted, cloud)["chamfer_l1"] == pytest.approx(0.05 / cloud.diagonal, rel=0.03)


def model_of(signal, field=None, **options):
    box = SceneBox(torch.tensor([[-1.0] * 3, [1.0] * 3]))
    cameras = look_at_origin(orbit("y", 1), "y")
    metadata = {"signal": signal, "initialize": False, "cameras": cameras}
    config = SignalModelConfig(kind="sdf", options=DistanceOptions(hidden_dim=8, num_layers=2, **options))
    model = config.setup(scene_box=box, num_train_data=1, metadata=metadata)
    if field is not None:
        model.field.forward = field
    return model


def losses(model, batch):
    batch = {name: torch.as_tensor(rows) for name, rows in batch.items()}
    outputs = model.get_outputs(batch["coords"])
    terms = model.get_loss_dict(outputs, batch)
    return {name: float(term.detach()) for name, term in terms.items()}, outputs


def test_the_exact_distance_has_no_loss_but_that_of_nearness():
    cloud = PointCloud.from_points(*ball(5000))
    batch = cloud.draw(np.random.default_rng(0), 2000)
    center = torch.tensor(cloud.normalization.to_unit(np.zeros(3)), dtype=torch.float32)
    radius = cloud.normalization.scale
    terms, _ = losses(model_of(cloud, lambda x: (x - center).norm(dim=-1, keepdim=True) - radius), batch)
    assert set(terms) == {"on_surface", "off_surface", "distance", "normal", "eikonal"}
    assert terms["eikonal"] == pytest.approx(0, abs=1e-4)
    assert terms["normal"] == pytest.approx(0, abs=1e-4)
    assert terms["on_surface"] == pytest.approx(0, abs=1e-3)
    assert terms["distance"] < 1000 * 2e-3
    off = batch["on_surface"][:, 0] == 0
    height = np.abs(np.linalg.norm(batch["coords"][off] - center.numpy(), axis=-1) - radius)
    assert terms["off_surface"] == pytest.approx(100 * np.exp(-OFF_SURFACE_DECAY * height).sum() / 2000, abs=0.2)


def test_terms_are_those_computed_by_hand():
    cloud = PointCloud.from_points(*ball(500))
    batch = {
        "coords": np.float32([[0.1, 0, 0], [0.2, 0.3, 0], [0.01, 0, 0], [-0.01, 0, 0.5]]),
        "values": np.float32([[0], [0], [0.03], [0.02]]),
        "on_surface": np.float32([[1], [1], [0], [0]]),
        "normals": np.float32([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]),
    }
    field = lambda x: 2 * x[..., :1]  # noqa: E731
    terms, outputs = losses(model_of(cloud, field), batch)
    np.testing.assert_allclose(outputs["gradients"].detach(), [[2, 0, 0]] * 4)
    assert terms["on_surface"] == pytest.approx(3000 * (0.2 + 0.4) / 4)
    assert terms["normal"] == pytest.approx(100 * (0 + 1) / 4)
    assert terms["eikonal"] == pytest.approx(50 * 1)
    assert terms["distance"] == pytest.approx(1000 * (0.01 + 0.04) / 4, rel=1e-4)
    # The last has the wrong sign, and so counts as if it were zero.
    assert terms["off_surface"] == pytest.approx(100 * (np.exp(-2) + 1) / 4, rel=1e-4)
    siren, _ = losses(model_of(cloud, field, distance_weight=0.0, normal_weight=7.0, eikonal_weight=3.0), batch)
    assert siren["off_surface"] == pytest.approx(100 * (np.exp(-2) + np.exp(-2)) / 4, rel=1e-4)
    assert (siren["distance"], siren["normal"], siren["eikonal"]) == (0, pytest.approx(7 / 4), pytest.approx(3))


def test_the_loss_reaches_the_weights_through_the_gradient():
    cloud = PointCloud.from_points(*ball(500))
    only = {"on_surface_weight": 0.0, "off_surface_weight": 0.0, "distance_weight": 0.0, "normal_weight": 0.0}
    model = model_of(cloud, **only)
    batch = {name: torch.as_tensor(rows) for name, rows in cloud.draw(np.random.default_rng(0), 100).items()}
    sum(model.get_loss_dict(model.get_outputs(batch["coords"]), batch).values()).backward()
    assert all(weight.grad.abs().max() > 0 for name, weight in model.field.named_parameters() if "weight" in name)
    with torch.no_grad():  # as an evaluation does
        outputs = model.get_outputs(batch["coords"])
    assert not outputs["gradients"].requires_grad


def test_of_a_mesh_gradients_are_taken_if_a_weight_asks_for_them():
    shape = Shape.from_mesh(sphere(subdivisions=5))
    batch = shape.draw(np.random.default_rng(0), 1000)
    exact = lambda x: x.norm(dim=-1, keepdim=True) - 0.9  # noqa: E731
    terms, outputs = losses(model_of(shape, exact), batch)
    assert set(terms) == {"sdf_near", "sdf_all"}
    assert set(outputs) == {"values"}
    terms, _ = losses(model_of(shape, exact, normal_weight=1.0, eikonal_weight=1.0), batch)
    assert set(terms) == {"sdf_near", "sdf_all", "normal", "eikonal"}
    assert terms["eikonal"] == pytest.approx(0, abs=1e-5)
    assert 0 < terms["normal"] < 1e-3  # between a face's normal and the sphere's
    inside_out, _ = losses(model_of(shape, lambda x: -exact(x), normal_weight=1.0), batch)
    assert inside_out["normal"] == pytest.approx(2 * 0.3, rel=0.01)


@pytest.mark.parametrize("option", ["on_surface", "off_surface", "distance", "normal", "eikonal"])
def test_a_weight_that_is_none_is_refused(option):
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"{option}_weight={value}"):
            DistanceOptions(**{f"{option}_weight": value}).check(3)


@pytest.mark.commands
def test_a_fit_to_points_without_normals_is_the_torus_they_lie_on(tmp_path):
    np.savetxt(tmp_path / "torus.xyz", 5 + torus(8000)[0])
    mesh = trimesh.creation.torus(0.65, 0.25, major_sections=128, minor_sections=64)
    mesh.apply_translation([5, 5, 5])
    mesh.export(tmp_path / "torus.obj")
    options = {"hidden_dim": 48, "omega_0": 10.0, "first_omega_0": 10.0, "eval_resolution": 48}
    config = fit(
        "winner-sdf",
        tmp_path / "torus.xyz",
        tmp_path,
        250,
        pipeline__datamanager__batch_size=1024,
        pipeline__datamanager__dataparser__reference=tmp_path / "torus.obj",
        **{f"pipeline__model__{name}": value for name, value in options.items()},
    )
    metrics = metrics_of(config)
    assert metrics["iou"] > 0.97
    assert metrics["chamfer_l1"] < 0.005
    assert metrics["normal_consistency"] > 0.98
    assert (config.parent / "sheet.png").stat().st_size > 1000


@pytest.mark.commands
def test_without_a_reference_metrics_are_against_the_points(tmp_path):
    np.save(tmp_path / "ball.npy", np.concatenate(ball(2000), axis=1))
    metrics = metrics_of(fit("winner-sdf", tmp_path / "ball.npy", tmp_path, 5, pipeline__model__eval_resolution=16))
    assert "iou" not in metrics
    assert {"train_seconds", "points_per_second"} <= set(metrics)


@pytest.mark.quality
def test_points_of_a_cog_become_the_cog(tmp_path):
    mesh = tmp_path / "cog.obj"
    SHAPES["cog"]().export(mesh)
    shape = load_surface(mesh)
    points, normals = shape.sample_surface(np.random.default_rng(0), 100_000)
    np.save(tmp_path / "cog.npy", np.c_[shape.normalization.to_world(points), normals])
    network = {"hidden_dim": 128, "num_layers": 4, "eval_resolution": 32}
    drawn = {"steps_per_chunk": 70, "passes": 5, "device": "cpu", "progress": False}
    fitted = fit_directly(
        tmp_path / "cog.npy", "sdf", steps=350, learning_rate=1e-3, reference=mesh, **network, **drawn
    )
    assert fitted.provenance["figures"]["iou"] > 0.98


def test_a_mesh_is_learnt_from_where_the_error_is_greatest():
    shape = Shape.from_mesh(sphere())
    batch = {name: torch.from_numpy(values) for name, values in shape.draw(np.random.default_rng(0), 1000).items()}

    # Right on one side of a plane, and on the other the more wrong the farther from it.
    def wrong(x):
        return x.norm(dim=-1, keepdim=True) - 0.9 + x[:, :1].clamp(min=0)

    chosen = model_of(shape, wrong, hardest=0.25).select(batch)
    assert [len(values) for values in chosen.values()] == [250, 250, 250]
    least = chosen["coords"][:, 0].min()
    assert least > 0
    assert (batch["coords"][:, 0] > least + 1e-2).sum() <= 250
    assert model_of(shape, wrong, hardest=1.0).select(batch) is batch
