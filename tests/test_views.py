"""Photographs of a shape, and the methods that fit them: as a user runs them, on the CPU."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.render_views import FIELD_OF_VIEW, look_at_middle
from winner_nerfstudio.nerf.methods import winner_nerf, winner_neus

from .conftest import fit, make_config

QUICK = {"steps_per_eval_batch": 10**6, "steps_per_eval_image": 10**6, "steps_per_eval_all_images": 10**6}
OBJECT = ["nerfstudio-data", "--orientation-method", "none", "--center-method", "focus", "--scene-scale", "0.3"]
"""The scene box about the shape, which the cameras are 3.5 times as far from as its walls."""


def in_the_box(**changes):
    dataparser = {"orientation_method": "none", "center_method": "focus", "scene_scale": 0.3}
    return QUICK | {f"pipeline__datamanager__dataparser__{k}": v for k, v in dataparser.items()} | changes


def test_photographs_show_the_shape_where_it_is(photographs):
    meta = json.loads((photographs.folder / "transforms.json").read_text())
    assert len(meta["train_filenames"]) == 14
    assert len(meta["test_filenames"]) == 2
    assert not set(meta["train_filenames"]) & set(meta["test_filenames"])
    radius, distance = 0.9, 3.5  # unit cube
    for frame in meta["frames"]:
        pose = np.array(frame["transform_matrix"])
        # The ball's centre is (1, 0, 0), its radius 2; cameras look at it from 3.5 / 0.9 of its radius.
        away = np.array([1, 0, 0]) - pose[:3, 3]
        assert np.linalg.norm(away) == pytest.approx(2 * distance / radius, rel=1e-3)
        np.testing.assert_allclose(-pose[:3, 2], away / np.linalg.norm(away), atol=1e-6)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        alpha = np.asarray(Image.open(photographs.folder / frame["file_path"]))[..., 3] / 255
        # What a ball covers: a disc, whose rays are within asin(r / d) of the axis.
        covered = math.pi * (meta["fl_x"] * math.tan(math.asin(radius / distance))) ** 2
        assert alpha.sum() == pytest.approx(covered, rel=0.02)


def test_every_pixel_has_its_texture_and_is_upright():
    poses = look_at_middle(40)
    # z is up in every photograph, and no two cameras stand in one place.
    assert (poses[:, 2, 1] > 0).all()
    places = poses[:, :3, 3]
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(40)
    assert apart.min() > 1.0
    assert 0 < FIELD_OF_VIEW < 90


def test_the_script_refuses_what_it_cannot_render(tmp_path):
    for flags, complaint in [
        (["--data", "nowhere.ply"], "error: nowhere.ply: no such file"),
        (["--background", "pink"], "error: --background pink"),
        (["--views", "3"], "error: --views must be at least 8"),
    ]:
        done = subprocess.run(
            [sys.executable, "scripts/render_views.py", "--output", str(tmp_path / "out"), *flags],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.startswith(complaint), done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def mistakes(photographs, tmp_path):
    (tmp_path / "empty").mkdir()
    torn = tmp_path / "torn"
    shutil.copytree(photographs.folder, torn)
    next((torn / "images").glob("*.png")).unlink()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "transforms.json").write_text("{")
    return [
        ({}, "no photographs given"),
        ({"data": tmp_path / "nowhere"}, "nowhere: no such file or folder"),
        ({"data": tmp_path / "empty"}, "empty: nerfstudio-data cannot read it"),
        ({"data": broken}, "broken: nerfstudio-data cannot read it"),
        ({"data": torn}, "no such photograph"),
        ({"data": photographs.folder, "pipeline__model__noise__s0": 3.0}, "noise.s0 and --pipeline.model.noise.s1"),
        ({"data": photographs.folder, "pipeline__model__noise__schedule": "paper"}, "schedule paper is for signals"),
        ({"data": photographs.folder, "pipeline__model__init": "siren", "pipeline__model__noise__s0": 3.0}, "no noise"),
        ({"data": photographs.folder, "pipeline__reference": "sample:nothing"}, "--pipeline.reference sample:nothing"),
        ({"data": photographs.folder, "machine__num_devices": 2}, "a run uses one device"),
    ]


@pytest.mark.parametrize("method", ["winner-neus", "winner-nerf"])
def test_a_mistake_is_one_line_and_leaves_nothing(method, photographs, tmp_path):
    from nerfstudio.scripts.train import main

    for changes, complaint in mistakes(photographs, tmp_path / method if (tmp_path / method).mkdir() is None else None):
        config = make_config(method, output_dir=tmp_path / "outputs", **changes)
        with pytest.raises(SystemExit) as stopped:
            main(config)
        message = str(stopped.value)
        assert message.startswith("error: "), message
        assert complaint in message
        assert "\n" not in message
    assert not (tmp_path / "outputs").exists()


def test_nothing_is_downloaded():
    """No module of ours names what nerfstudio's own models download."""
    for method in (winner_nerf, winner_neus):
        model = method.config.pipeline.model
        scene = torch.tensor([[-1.0] * 3, [1.0] * 3])
        from nerfstudio.data.scene_box import SceneBox

        built = model.setup(scene_box=SceneBox(scene), num_train_data=1, metadata={})
        assert not any("Perceptual" in type(module).__name__ for module in built.modules())


SMALL_NERF = {
    "pipeline__model__hidden_dim": 64,
    "pipeline__model__num_layers": 3,
    "pipeline__model__num_coarse_samples": 24,
    "pipeline__model__num_importance_samples": 24,
    "pipeline__datamanager__train_num_rays_per_batch": 256,
}
SMALL_NEUS = {
    "pipeline__model__sdf_field__hidden_dim": 64,
    "pipeline__model__sdf_field__num_layers": 2,
    "pipeline__model__sdf_field__geo_feat_dim": 32,
    "pipeline__model__sdf_field__hidden_dim_color": 32,
    "pipeline__model__num_samples": 24,
    "pipeline__model__num_samples_importance": 16,
    "pipeline__datamanager__train_num_rays_per_batch": 256,
}


def fit_views(method, folder, output, steps, init, **changes):
    """The figures of a run on photographs, in this process."""
    small = {"winner-nerf": SMALL_NERF, "winner-neus": SMALL_NEUS}[method]
    changes = in_the_box(**{**small, "pipeline__model__init": init, **changes})
    config = fit(method, folder, output / init, steps, **changes)
    return config, json.loads((config.parent / "metrics.json").read_text())
