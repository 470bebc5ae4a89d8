from pathlib import Path

import numpy as np
import pytest
import trimesh

from winner_nerfstudio.export.mesh import loses_detail
from winner_nerfstudio.files import replacing

from .meshes import sphere


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
