"""Photographs of a shape, and the methods that fit them: as a user runs them, on the CPU."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.render_views import FIELD_OF_VIEW, Arguments, look_at_middle, main, render
from winner_nerfstudio.fields.checkpoint import CheckpointError, load_fit
from winner_nerfstudio.nerfstudio.config.methods import winner_nerf, winner_neus
from winner_nerfstudio.signals.shape import load_shape

from .conftest import call, config_of, make_config, run, weights_of
from .meshes import snowman

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
    # z is up in every photograph, and no two cameras are close to each other.
    assert (poses[:, 2, 1] > 0).all()
    positions = poses[:, :3, 3]
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 9 * np.eye(40)
    assert apart.min() > 1.0
    assert 0 < FIELD_OF_VIEW < 90


def test_the_script_refuses_what_it_cannot_render(tmp_path, monkeypatch):
    for flags, complaint in [
        (["--data", "nowhere.ply"], "error: nowhere.ply: no such file"),
        (["--background", "pink"], "error: --background pink"),
        (["--views", "3"], "error: --views must be at least 8"),
    ]:
        monkeypatch.setattr("sys.argv", ["render_views.py", "--output", str(tmp_path / "out"), *flags])
        with pytest.raises(SystemExit, match=complaint) as stopped:
            main()
        assert "\n" not in str(stopped.value)
    assert not (tmp_path / "out").exists()


def altered(photographs, tmp_path):
    """Folders of photographs of which one is at odds with the others, by what is said of them."""

    def alter(name, change):
        folder = tmp_path / name
        shutil.copytree(photographs.folder, folder)
        meta = json.loads((folder / "transforms.json").read_text())
        frame = next(each for each in meta["frames"] if each["file_path"] == meta["train_filenames"][3])
        change(meta, frame, folder / frame["file_path"])
        (folder / "transforms.json").write_text(json.dumps(meta))
        return {"data": folder}

    def cut(meta, frame, path):
        path.write_bytes(path.read_bytes()[:200])

    def reduce(meta, frame, path):
        Image.open(path).resize((30, 20)).save(path)

    def without_alpha(meta, frame, path):
        Image.open(path).convert("RGB").save(path)

    def misplace(meta, frame, path):
        frame["transform_matrix"][0][3] = float("nan")

    def misstate(meta, frame, path):
        meta["w"] = meta["h"] = 500

    return {
        "cannot be read as a photograph": alter("cut", cut),
        "photographs of one form are needed": alter("reduced", reduce),
        "without alpha, but": alter("mixed", without_alpha),
        "a place that is no number": alter("misplaced", misplace),
        "says 500 x 500 pixels": alter("misstated", misstate),
    }


def mistakes(photographs, tmp_path):
    (tmp_path / "empty").mkdir()
    torn = tmp_path / "torn"
    shutil.copytree(photographs.folder, torn)
    next((torn / "images").glob("*.png")).unlink()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "transforms.json").write_text("{")
    counted = {words: tmp_path / words.replace(" ", "-") for words in ("no photographs", "one photograph")}
    for count, folder in enumerate(counted.values()):
        folder.mkdir()
        meta = json.loads((photographs.folder / "transforms.json").read_text())
        (folder / "transforms.json").write_text(json.dumps({**meta, "frames": meta["frames"][:count]}))
    return [
        *((change, words) for words, change in altered(photographs, tmp_path).items()),
        ({}, "no photographs given"),
        ({"data": tmp_path / "nowhere"}, "nowhere: no such file or folder"),
        ({"data": tmp_path / "empty"}, "empty: nerfstudio-data cannot read it"),
        ({"data": broken}, "broken: nerfstudio-data cannot read it"),
        *(({"data": folder}, f"lists {words}; at least two") for words, folder in counted.items()),
        ({"data": next((photographs.folder / "images").glob("*.png"))}, "is a single file; --data takes a folder"),
        ({"data": torn}, "no such photograph"),
        (
            {"data": photographs.folder, "pipeline__datamanager__train_num_rays_per_batch": 0},
            "rays-per-batch 0 must be",
        ),
        ({"data": photographs.folder, "pipeline__model__noise__s0": 3.0}, "noise.s0 and --pipeline.model.noise.s1"),
        ({"data": photographs.folder, "pipeline__model__noise__schedule": "paper"}, "schedule paper is for signals"),
        ({"data": photographs.folder, "pipeline__model__init": "siren", "pipeline__model__noise__s0": 3.0}, "no noise"),
        ({"data": photographs.folder, "pipeline__reference": "sample:nothing"}, "--pipeline.reference sample:nothing"),
    ]


@pytest.mark.commands
@pytest.mark.parametrize("method", ["winner-neus", "winner-nerf"])
def test_a_mistake_is_one_line_and_leaves_nothing(method, photographs, tmp_path):
    from nerfstudio.scripts.train import main as train

    for changes, complaint in mistakes(photographs, tmp_path):
        config = make_config(method, output_dir=tmp_path / "outputs", **changes)
        with pytest.raises(SystemExit) as stopped:
            train(config)
        message = str(stopped.value)
        assert message.startswith("error: "), message
        assert complaint in message
        assert "\n" not in message
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "mode, suffix", [("P", "png"), ("LA", "png"), ("I;16", "png"), ("1", "png"), ("CMYK", "jpeg"), ("LAB", "tiff")]
)
def test_photographs_that_nerfstudio_would_read_as_something_else_are_refused(mode, suffix, photographs, tmp_path):
    folder = tmp_path / "views"
    shutil.copytree(photographs.folder, folder)
    for path in (folder / "images").iterdir():
        picture = Image.open(path).convert("RGB" if mode in ("P", "LAB") else mode)
        if mode == "LAB":  # a conversion to it needs a profile
            picture = Image.merge("LAB", picture.split())
        picture.convert(mode).save(path, format=suffix)
    config = make_config("winner-nerf", pipeline__datamanager__data=folder)
    with pytest.raises(ValueError, match=rf"\.png: is a picture of Pillow's mode {mode}; save it as RGB or RGBA"):
        config.check()


def write_colmap(folder, width, height, count=9):
    """Photographs with their cameras as COLMAP writes them: half a metre apart in a row, all looking along z."""
    (folder / "images").mkdir(parents=True)
    sparse = folder / "colmap" / "sparse" / "0"
    sparse.mkdir(parents=True)
    lines = []
    for index in range(count):
        Image.new("RGB", (width, height), (20 * index, 90, 30)).save(folder / "images" / f"{index}.jpg")
        lines.append(f"{index + 1} 1 0 0 0 {-index / 2} 0 0 1 {index}.jpg\n1 1 1\n")
    (sparse / "cameras.txt").write_text(f"1 PINHOLE {width} {height} {width} {width} {width / 2} {height / 2}\n")
    (sparse / "images.txt").write_text("".join(lines))
    (sparse / "points3D.txt").write_text("1 0 0 4 10 20 30 0.1 1 0 2 0\n")
    return folder


@pytest.mark.parametrize("answer", ["n", None])
def test_a_question_of_a_data_parser_is_shown_and_what_follows_from_no_answer_said(
    answer, tmp_path, monkeypatch, capsys
):
    from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig

    def reply(*arguments):
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", reply)
    folder = write_colmap(tmp_path / "wide", 1602, 4)  # wider than the 1600 pixels above which colmap-data asks
    parser = ColmapDataParserConfig(data=folder)
    config = make_config("winner-nerf", pipeline__datamanager__data=folder, pipeline__datamanager__dataparser=parser)
    with pytest.raises(ValueError, match=r"wide: colmap-data ended because.*colmap-data --downscale-factor 1") as error:
        config.check()
    assert "\n" not in str(error.value)
    assert "downscale the images" in capsys.readouterr().out
    parser.downscale_factor = 1
    config.check()


@pytest.mark.parametrize(
    "method, option, value, least",
    [
        ("winner-nerf", "num-coarse-samples", 0, "at least 1"),
        ("winner-nerf", "num-importance-samples", -1, "at least 0"),
        ("winner-nerf", "hidden-dim-color", 0, "at least 1"),
        ("winner-nerf", "num-layers", 2, "at least 3"),
        ("winner-nerf", "omega-0", 0.0, "positive and finite"),
        ("winner-neus", "num-samples", 0, "at least 1"),
        ("winner-neus", "num-samples-importance", 3, "at least 4"),
        ("winner-neus", "eval-num-rays-per-chunk", 0, "at least 1"),
        ("winner-neus", "sdf-field.geo-feat-dim", 0, "at least 1"),
        ("winner-neus", "sdf-field.appearance-embedding-dim", 0, "at least 1"),
        ("winner-neus", "sdf-field.omega-0", 0.0, "positive and finite"),
        ("winner-neus", "sdf-field.omega-0", math.inf, "positive and finite"),
    ],
)
def test_sizes_that_no_model_has_are_refused(method, option, value, least):
    path = f"pipeline__model__{option.replace('.', '__').replace('-', '_')}"
    with pytest.raises(ValueError, match=rf"^--pipeline\.model\.{re.escape(option)} {value} must be {least}$"):
        make_config(method, **{path: value}).check()


@pytest.mark.parametrize("count", range(2, 10))
def test_few_photographs_are_split_as_the_message_says(count, photographs, tmp_path):
    meta = json.loads((photographs.folder / "transforms.json").read_text())
    listed = {key: value for key, value in meta.items() if not key.endswith("_filenames")}
    listed["frames"] = meta["frames"][:count]
    for frame in listed["frames"]:
        frame["file_path"] = str(photographs.folder / frame["file_path"])
    (tmp_path / "transforms.json").write_text(json.dumps(listed))
    config = make_config("winner-nerf", pipeline__datamanager__data=tmp_path)
    with pytest.raises(ValueError, match=f"the val split; all {count} are in the other.*nerfstudio-data --t") as error:
        config.check()
    parser = config.pipeline.datamanager.dataparser
    parser.train_split_fraction = float(str(error.value).split("--train-split-fraction ")[1])
    config.check()
    assert len(parser.setup().get_dataparser_outputs("train").image_filenames) == count - 1


def test_elsewhere_only_what_refers_to_the_starting_folder_is_found_from_there(tmp_path, monkeypatch):
    from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParserConfig

    start = tmp_path / "start"
    write_colmap(start / "scene", 8, 4)
    (start / "images").mkdir()  # of something else
    (start / "ball.obj").touch()
    monkeypatch.chdir(tmp_path)
    for reference, expected in [("ball.obj", str(start / "ball.obj")), ("sample:knot", "sample:knot"), (None, None)]:
        config = make_config(
            "winner-neus",
            started_in=start,
            pipeline__datamanager__dataparser=ColmapDataParserConfig(data=Path("scene")),
            pipeline__reference=reference,
        )
        config._find_relative()
        parser = config.pipeline.datamanager.dataparser
        assert parser.data == start / "scene"
        assert parser.images_path == Path("images")
        assert config.pipeline.reference == expected
        outputs = parser.setup().get_dataparser_outputs("train")
        assert {path.parent for path in outputs.image_filenames} == {start / "scene" / "images"}


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
    "pipeline__model__sdf_field__hidden_dim": 48,
    "pipeline__model__sdf_field__num_layers": 2,
    "pipeline__model__sdf_field__geo_feat_dim": 32,
    "pipeline__model__sdf_field__hidden_dim_color": 32,
    "pipeline__model__sdf_field__bias": 0.3,
    "pipeline__model__num_samples": 16,
    "pipeline__model__num_samples_importance": 16,
    "pipeline__datamanager__train_num_rays_per_batch": 256,
}


def fit_views(method, data, output, steps, **changes):
    """Run a method in this process, as ``ns-train`` does; returns the config's path and the metrics."""
    from nerfstudio.scripts.train import main as train
    from nerfstudio.utils import writer

    small = {"winner-nerf": SMALL_NERF, "winner-neus": SMALL_NEUS}[method]
    changes = {**QUICK, **small, **changes, "max_num_iterations": steps, "output_dir": output}
    config = make_config(method, pipeline__datamanager__data=data, **changes)
    writer.EVENT_WRITERS.clear()
    train(config)
    path = config.get_base_dir() / "config.yml"
    return path, json.loads((path.parent / "metrics.json").read_text())


@pytest.fixture(scope="module")
def fine_photographs(tmp_path_factory):
    """Photographs of bodies with a texture of nine periods across them."""
    folder = tmp_path_factory.mktemp("fine")
    snowman().export(folder / "snowman.ply")
    arguments = Arguments(folder / "views", str(folder / "snowman.ply"), views=24, size=64, detail=22.0)
    render(load_shape(arguments.data), arguments)
    return arguments


@pytest.mark.quality
def test_a_radiance_field_gains_by_the_photographs_noise(fine_photographs, tmp_path):
    """Where an object is small in its scene, as nerfstudio places it, SIREN's frequencies are too low for it.

    So few steps vary by the seed: docs/photos.md has the means over three, of which this is one.
    """
    psnr = {}
    for init in ("siren", "winner"):
        options = {"optimizers": learning_rate("winner-nerf", 2e-3), "pipeline__model__init": init}
        options["machine__seed"] = 1
        _, metrics = fit_views("winner-nerf", fine_photographs.output, tmp_path / init, 300, **options)
        psnr[init] = metrics["psnr"]
    assert psnr["winner"] > psnr["siren"] + 0.5
    assert psnr["winner"] > 21


def learning_rate(method, rate):
    """The method's optimizers with another rate."""
    optimizers = make_config(method).optimizers
    optimizers["fields"]["optimizer"].lr = rate
    return optimizers


@pytest.mark.commands
def test_neus_finds_the_surface(photographs, tmp_path):
    """The ball's inside, from photographs with transparency alone."""
    config, metrics = fit_views(
        "winner-neus", photographs.folder, tmp_path, 120, **in_the_box(pipeline__reference=str(photographs.mesh)),
        optimizers=learning_rate("winner-neus", 2e-3),
    )  # fmt: skip
    # The sphere that it starts as has a third of the ball's radius, hence a 27th of its volume.
    assert metrics["iou"] > 0.85
    assert {"psnr", "ssim"} <= set(metrics)
    assert "lpips" not in metrics
    (checkpoint,) = (config.parent / "nerfstudio_models").iterdir()
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["pipeline"]
    assert state["_model._extra_state"]["initialization"].startswith("psi=0.")
    with pytest.raises(CheckpointError, match="is a run on photographs, or by another method, which is exported by"):
        load_fit(config)


@pytest.mark.commands
def test_the_commands_of_a_user(photographs, tmp_path):
    small = ["--pipeline.model.hidden-dim", "24", "--pipeline.model.num-coarse-samples", "12"]
    small += ["--pipeline.model.num-importance-samples", "12", "--pipeline.datamanager.train-num-rays-per-batch", "64"]
    data = ["--data", str(photographs.folder), "--max-num-iterations", "20", *small]
    trained = run("ns-train", "winner-nerf", *data, *OBJECT, cwd=tmp_path)
    assert trained.returncode == 0, trained.output
    assert "initialisation: psi=0." in trained.output
    assert "Traceback" not in trained.output
    config = config_of(trained, tmp_path)
    metrics = json.loads((config.parent / "metrics.json").read_text())
    assert {"psnr", "ssim"} <= set(metrics)
    evaluated = call("ns-eval", "--load-config", config, "--output-path", "eval.json", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.output
    written = json.loads((tmp_path / "eval.json").read_text())["results"]
    assert [written["psnr"], written["ssim"]] == pytest.approx([metrics["psnr"], metrics["ssim"]], rel=1e-4)


@pytest.mark.commands
@pytest.mark.parametrize("method", ["winner-nerf", "winner-neus"])
def test_a_run_is_resumed_where_it_stopped(method, photographs, tmp_path):
    """Resumed: no noise again, as many steps as there are in all, and the same ones to the bit."""
    saved = {"steps_per_save": 2, "save_only_latest_checkpoint": False}
    first, _ = fit_views(method, photographs.folder, tmp_path / "a", 4, **in_the_box(**saved))
    for resumed in (2, 3):
        path = first.parent / "nerfstudio_models" / f"step-{resumed:09d}.ckpt"
        second, _ = fit_views(
            method, photographs.folder, tmp_path / f"b{resumed}", 4, **in_the_box(load_checkpoint=path)
        )
        for name, value in weights_of(first).items():
            assert torch.equal(value, weights_of(second)[name]), name


@pytest.mark.commands
def test_blenders_data_and_photographs_without_transparency(photographs, tmp_path):
    from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig

    for method in ("winner-nerf", "winner-neus"):
        parser = BlenderDataParserConfig()
        _, metrics = fit_views(
            method, photographs.folder, tmp_path / method, 3, pipeline__datamanager__dataparser=parser
        )
        assert math.isfinite(metrics["psnr"])
