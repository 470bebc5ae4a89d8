from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from winner_nerfstudio.export.mesh import export_mesh, loses_detail
from winner_nerfstudio.fields import Field
from winner_nerfstudio.files import replacing
from winner_nerfstudio.signals.normalization import Normalization

from .meshes import sphere
from .test_field import SIREN


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".glb", ".obj"])
def test_single_precision_far_from_the_origin_is_noticed(tmp_path, suffix):
    far, near = sphere(0.898, center=(5e5, 4e6, 0)), sphere(center=(10, 0, 0))
    path = tmp_path / f"a{suffix}"
    far.export(path)
    written = trimesh.load_mesh(path, process=False)
    spoilt = np.abs(written.extents - far.extents).max() > 0.01
    assert spoilt == loses_detail(far, path)
    assert not loses_detail(near, Path("a.ply"))


def test_a_failure_leaves_what_stood_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def fail():
        with replacing(tmp_path / "a.txt") as path:
            path.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".glb", ".obj"])
def test_a_mesh_far_from_the_origin_is_closed_in_every_format(tmp_path, suffix):
    # A field of a thousand near ties: the surface runs along the grid's samples.
    field = Field("sdf", SIREN, Normalization((1500.0, -20.0, 300.0), 0.02))
    field.evaluate = lambda x: (x.abs().sum(-1, keepdim=True) - 0.5) * (1 + 1e-5 * torch.sin(500 * x[:, :1]))
    path = tmp_path / f"a{suffix}"
    export_mesh(field, path, resolution=65)
    written = trimesh.load_mesh(path, process=False)
    written.merge_vertices(merge_tex=True, merge_norm=True)
    assert written.is_watertight
    assert written.body_count == 1
    np.testing.assert_allclose(written.bounds.mean(0), [1500, -20, 300], atol=0.01)
    np.testing.assert_allclose(written.extents, 50, rtol=1e-3)
