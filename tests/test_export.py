import errno
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from winner_nerfstudio import fit
from winner_nerfstudio.export.errors import ExportError
from winner_nerfstudio.export.mesh import Finish, export_mesh, loses_detail, mean_curvature
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.fitted import FittedField
from winner_nerfstudio.files import replacing
from winner_nerfstudio.kinds.shape import MeshExport
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import ShapeRecord
from winner_nerfstudio.signals.shape import Shape

from .conftest import BIN, call
from .meshes import sphere
from .test_field import SIREN


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".glb", ".obj"])
def test_single_precision_far_from_the_origin_is_noticed(tmp_path, suffix):
    far, near = sphere(0.898, center=(5e5, 4e6, 0)), sphere(center=(10, 0, 0))
    path = tmp_path / f"a{suffix}"
    far.export(path)
    written = trimesh.load_mesh(path, process=False)
    spoilt = np.abs(written.extents - far.extents).max() > 0.01
    # trimesh's .ply is in single precision, ours is not where that matters.
    assert (spoilt and suffix != ".ply") == loses_detail(far, path)
    assert not loses_detail(near, Path("a.stl"))


def test_a_failure_leaves_what_stood_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fail():
        with replacing(tmp_path / "a.txt") as path:
            path.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_an_error_of_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".glb", ".obj"])
def test_a_mesh_far_from_the_origin_is_closed_in_every_format(tmp_path, suffix):
    # A field of a thousand near ties: the surface runs along the grid's samples.
    field = field_of(
        lambda x: (x.abs().sum(-1, keepdim=True) - 0.5) * (1 + 1e-5 * torch.sin(500 * x[:, :1])),
        Normalization((1500.0, -20.0, 300.0), 0.02),
    )
    path = tmp_path / f"a{suffix}"
    export_mesh(field, path, resolution=65)
    written = trimesh.load_mesh(path, process=False)
    written.merge_vertices(merge_tex=True, merge_norm=True)
    assert written.is_watertight
    assert written.body_count == 1
    np.testing.assert_allclose(written.bounds.mean(0), [1500, -20, 300], atol=0.01)
    np.testing.assert_allclose(written.extents, 50, rtol=1e-3)


def field_of(function, normalization=None):
    """A field whose values are those of a function of points [n, 3], and its gradients by automatic differentiation."""
    field = Field("sdf", SIREN, normalization or Normalization((0.0, 0.0, 0.0), 1.0), ShapeRecord())
    field.network.forward = function
    return field


def balls(*places):
    """Balls, each a centre and a radius, as one distance."""

    def distance(x):
        each = [(x - x.new_tensor(center)).norm(dim=-1, keepdim=True) - radius for center, radius in places]
        return torch.cat(each, -1).amin(-1, keepdim=True)

    return distance


THREE = balls(((-0.3, 0, 0), 0.5), ((0.6, 0, 0), 0.2), ((0.6, 0.6, 0), 0.03))


def test_vertices_lie_on_the_field_and_have_its_normals(tmp_path):
    done = export_mesh(field_of(balls(((0.1, 0, 0), 0.6))), tmp_path / "a.ply", resolution=40)
    from_center = done.mesh.vertices - [0.1, 0, 0]
    # Marching cubes alone are off by 1e-3 here.
    np.testing.assert_allclose(np.linalg.norm(from_center, axis=-1), 0.6, atol=2e-6)
    np.testing.assert_allclose(done.mesh.vertex_normals, from_center / 0.6, atol=1e-4)
    header = (tmp_path / "a.ply").read_bytes()[:400].decode("latin1")
    assert "property float nx" in header


@pytest.mark.parametrize(
    "finish, pieces, volume",
    [
        (Finish(), 3, 0.5**3 + 0.2**3 + 0.03**3),
        (Finish("largest"), 1, 0.5**3),
        (Finish("min-volume", min_volume=0.01), 2, 0.5**3 + 0.2**3),
        (Finish("min-volume", min_volume=0.5), 1, 0.5**3),
    ],
)
def test_pieces_are_kept_by_their_volume(tmp_path, finish, pieces, volume):
    done = export_mesh(field_of(THREE), tmp_path / "a.ply", resolution=150, finish=finish)
    assert (done.found, done.pieces, done.mesh.body_count) == (3, pieces, pieces)
    assert done.mesh.is_watertight
    assert done.mesh.volume == pytest.approx(4 / 3 * np.pi * volume, rel=5e-3)


def test_a_mesh_is_simplified_without_a_hole(tmp_path):
    done = export_mesh(field_of(THREE), tmp_path / "a.ply", resolution=100, finish=Finish(simplify=2000))
    assert len(done.mesh.faces) <= 2000
    assert done.mesh.is_watertight
    assert done.mesh.volume == pytest.approx(4 / 3 * np.pi * (0.5**3 + 0.2**3 + 0.03**3), rel=0.01)
    center = np.where(done.mesh.vertices[:, :1] < 0.3, [[-0.3, 0, 0]], [[0.6, 0, 0]])
    big = done.mesh.vertices[:, 1] < 0.4
    outwards = (done.mesh.vertices - center)[big]
    cosine = (outwards * done.mesh.vertex_normals[big]).sum(-1) / np.linalg.norm(outwards, axis=-1)
    assert cosine.min() > 0.999


def test_curvature_is_one_over_the_radius_in_the_units_of_the_output(tmp_path):
    field = field_of(balls(((0, 0, 0), 0.5)), Normalization((10.0, 0.0, 0.0), 0.1))
    mesh = export_mesh(field, tmp_path / "a.ply", resolution=64, normalized=True).mesh
    np.testing.assert_allclose(mean_curvature(mesh), 2.0, rtol=0.02)
    done = export_mesh(field, tmp_path / "a.ply", resolution=64, finish=Finish(colors="curvature"))
    assert done.color_range == pytest.approx(0.2, rel=0.02)
    written = trimesh.load_mesh(tmp_path / "a.ply", process=False)
    # Everywhere the greatest, and so the reddest.
    assert np.median(written.visual.vertex_colors[:, :3], axis=0).tolist() == pytest.approx([180, 4, 38], abs=3)


def test_errors_are_coloured_by_the_side_they_are_on(tmp_path):
    target = Shape.from_mesh(sphere(6.0, center=(10, 0, 0)))
    field = field_of(balls(((0.05, 0, 0), 0.6)), Normalization((10.0, 0.0, 0.0), 0.1))
    finish = Finish(colors="error", target=target, color_range=0.5)
    done = export_mesh(field, tmp_path / "a.obj", resolution=64, finish=finish)
    colors = np.asarray(done.mesh.visual.vertex_colors)[:, :3].astype(int)
    east = done.mesh.vertices[:, 0] > 15.8
    west = done.mesh.vertices[:, 0] < 5.2
    assert (colors[east, 0] > colors[east, 2] + 100).all()  # the fit stands out by the whole range
    assert (colors[west, 2] > colors[west, 0] + 80).all()


@pytest.mark.parametrize(
    "finish, suffix, words",
    [
        (Finish(simplify=3), ".ply", "simplify=3 must leave at least 4 faces"),
        (Finish("min-volume", min_volume=2.0), ".ply", "min_volume=2.0 must be a part"),
        (Finish(colors="curvature", color_range=-1.0), ".ply", "color_range=-1.0 must be positive"),
        (Finish(min_volume=0.5), ".ply", "min_volume=0.5 is for components='min-volume'; give both"),
        (Finish("largest", min_volume=1e-3), ".ply", "min_volume=0.001 is for components='min-volume'"),
        (Finish(color_range=1.0), ".ply", "color_range=1.0 is for colours by curvature or error"),
        (Finish(colors="error"), ".ply", "colours by error need a target"),
        (Finish(colors="curvature"), ".stl", ".stl holds no colours"),
    ],
)
def test_a_finish_that_wont_do_is_refused_before_anything_is_evaluated(tmp_path, finish, suffix, words):
    def never(x):
        raise AssertionError("evaluated")

    with pytest.raises(ExportError, match=words):
        export_mesh(field_of(never), tmp_path / f"a{suffix}", finish=finish)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resolution", [2, 100_000])
def test_a_resolution_that_wont_do_is_refused_before_anything_is_evaluated(resolution, tmp_path):
    fitted = FittedField(field_of(lambda x: pytest.fail("evaluated")), None)
    with pytest.raises(ValueError, match=f"resolution={resolution} must be 3 to 8,192 samples per axis; memory grows"):
        MeshExport("", tmp_path / "a.ply", resolution=resolution).check(fitted)


def test_an_output_that_wont_do_is_refused_before_the_fit_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(MeshExport, "load", lambda export: pytest.fail("loaded"))
    for name in ("target.ply", "fit.safetensors", "read-only.ply"):
        (tmp_path / name).write_text("precious")
    fit, target = str(tmp_path / "fit.safetensors"), tmp_path / "target.ply"
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "read-only.ply")
    for output, words in [
        ("target.ply", "target.ply: is read for this export; choose another name for the output"),
        ("fit.safetensors", "fit.safetensors: is read for this export"),
        ("read-only.ply", "read-only.ply: cannot be written to; choose another name"),
        ("target.ply/a.ply", "target.ply is a file and no folder"),
        ("", "is a folder already; choose another name"),
    ]:
        with pytest.raises(ValueError, match=words):
            MeshExport(fit, tmp_path / output, colors="error", target=target).run()
    assert {path.read_text() for path in tmp_path.iterdir()} == {"precious"}


def test_a_distance_without_sign_is_written_as_a_shell(tmp_path):
    field = Field("sdf", SIREN, Normalization((0.0, 0.0, 0.0), 0.5), ShapeRecord(level=0.01))
    field.network.forward = lambda x: (x.norm(dim=-1, keepdim=True) - 0.5).abs()
    mesh = export_mesh(field, tmp_path / "a.ply", resolution=160).mesh
    assert mesh.body_count == 2
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * (1.02**3 - 0.98**3), rel=0.02)


def test_what_holds_no_field_is_called_so(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: holds no field; a run's config\.yml does"):
        MeshExport(str(tmp_path / "a.png"), tmp_path / "a.ply").load()
    with pytest.raises(ValueError, match=r"is a folder without index\.json, so it holds no single field; name a"):
        MeshExport(str(tmp_path), tmp_path / "a.ply").load()
    (tmp_path / "config.yml").touch()
    with pytest.raises(ValueError, match=r"no checkpoint step-\*\.ckpt there"):
        MeshExport(str(tmp_path), tmp_path / "a.ply").load()


def test_a_field_file_is_exported_as_its_field_is(tmp_path):
    field = fit("sample:mandala", steps=2, hidden_dim=8, num_layers=2, max_side=32, progress=False, measure=False)
    field.save(tmp_path / "fit.safetensors")
    command = ["winner-export", "image", "--load-config", "fit.safetensors", "--output", "fit.npy"]
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 0, done.output
    np.testing.assert_array_equal(np.load(tmp_path / "fit.npy"), field.image())
    missing = call(*[word.replace("fit.", "no.") for word in command], cwd=tmp_path)
    assert missing.returncode == 1
    assert "no.safetensors: no such file" in missing.output


@pytest.mark.commands
@pytest.mark.parametrize(("stop", "later"), [(signal.SIGINT, 0), (signal.SIGTERM, 1)])
def test_an_interrupted_export_leaves_nothing_behind_and_what_stood_there(trained, tmp_path, stop, later):
    (tmp_path / "a.ply").write_text("precious")
    command = ["--load-config", trained.config, "--output", tmp_path / "a.ply", "--resolution", "1500"]
    process = subprocess.Popen(
        [BIN / "winner-export", "mesh", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background ignore Ctrl-C, and what they start would, too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # The library for extraction is loaded in the middle of imports, in which others take an interrupt for an error.
    deadline = time.monotonic() + 600
    while "/igl" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(later)
    process.send_signal(stop)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert output == ""
    assert errors.splitlines()[-1] == "interrupted: nothing was written"
    assert "Traceback" not in errors
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.ply", "precious")]
