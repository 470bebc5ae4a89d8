"""The commands as a user runs them, on the CPU."""

import json
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import igl
import numpy as np
import pytest
import torch
import trimesh
import tyro

from winner_nerfstudio.fields.checkpoint import checkpoint_steps
from winner_nerfstudio.nerfstudio.models.base import SignalModelConfig
from winner_nerfstudio.nerfstudio.run.evaluation import write_whole
from winner_nerfstudio.nerfstudio.run.trainer import WinnerTrainer, ending_if_interrupted
from winner_nerfstudio.signals.samples import SHAPES
from winner_nerfstudio.training.bank import PartSampler
from winner_nerfstudio.training.cells import CellSampler
from winner_nerfstudio.training.sampling import Drawn, Resident
from winner_nerfstudio.training.verdict import INTERRUPTED

from .conftest import SMALL, call, config_of, fit, make_config, metrics_of, run
from .forked import start
from .meshes import sphere, sphere_with_holes
from .test_shape import HOSTILE

FIGURES = {
    "iou",
    "sdf_error_near",
    "sdf_error_far",
    "distance_to_target",
    "distance_to_fit",
    "chamfer_l1",
    "chamfer_l2",
    "normal_consistency",
    "f_score_0.5%",
    "f_score_1%",
    "train_seconds",
    "points_per_second",
}


def checkpoint(config):
    (path,) = (config.parent / "nerfstudio_models").iterdir()
    return torch.load(path, map_location="cpu", weights_only=True)


def assert_same_bits(first, second):
    tensors = {name for name, value in first["pipeline"].items() if isinstance(value, torch.Tensor)}
    assert len(tensors) > 10
    for name in tensors:
        assert torch.equal(first["pipeline"][name], second["pipeline"][name]), name


@pytest.mark.commands
def test_a_run_says_what_it_did_and_what_comes_next(trained):
    output = trained.result.output
    assert "ball.ply: 2,562 vertices, 5,120 faces; watertight; sign from the winding number" in output
    assert "initialisation: psi=0." in output
    assert "schedule=matched, s0=" in output
    assert "step 400/400, loss " in output
    for command in ("ns-viewer --load-config", "ns-eval --load-config", "winner-export mesh --load-config"):
        assert command in output
    assert "winner-fit ball.ply --output ball-fit.ply" in output
    assert re.search(r"step 400/400, loss [\d.e-]+, iou 0\.\d+ at step 400", output)
    assert "from the fit to the target, of the diagonal" in output
    # What stands before this line comes from imports that precede ours.
    before, _, ours = output.partition("ball.ply: ")
    for line in ("Using --data alias", "Mixed precision", "Saving checkpoints", "disabled local writer"):
        assert line not in before
    for noise in ("Warning", "Traceback", "nan"):
        assert noise not in ours


@pytest.mark.commands
def test_a_run_leaves_its_metrics_and_a_picture(trained):
    metrics = metrics_of(trained.config)
    assert set(metrics) == FIGURES
    assert metrics["iou"] > 0.9
    assert (trained.config.parent / "target-fit-error.png").stat().st_size > 1000
    assert trained.config.parts[-4:-2] == ("ball", "winner-sdf")


@pytest.mark.commands
def test_a_run_logs_as_often_as_it_is_asked_to(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained.config.parent)).Reload()
    steps = {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    for name in ("Train Loss", "Train Iter (time)", "learning_rate/fields"):
        assert steps[name] == list(range(0, 400, 50))
    assert steps["Eval Loss"] == [100, 200, 300]
    assert "config" in " ".join(events.Tags()["tensors"])


@pytest.mark.commands
def test_the_transform_beside_the_checkpoint_is_nerfstudios_convention(trained):
    written = json.loads((trained.config.parent / "dataparser_transforms.json").read_text())
    point = np.array([120.0, 0, -50])  # the ball's easternmost
    unit = written["scale"] * (np.array(written["transform"]) @ [*point, 1])
    np.testing.assert_allclose(unit, [0.9, 0, 0], atol=1e-5)


@pytest.mark.commands
def test_a_run_is_measured_wherever_its_folder_is_and_the_command_is_started(trained, tmp_path):
    config = tmp_path / "moved to/here/config.yml"
    shutil.copytree(trained.config.parent, config.parent)
    (config.parent / "nerfstudio_models/.DS_Store").touch()  # as a file manager leaves it
    # What stands where the config says that the run is must not be taken for it.
    theirs = trained.config.relative_to(trained.folder).parent / "nerfstudio_models"
    (tmp_path / theirs).mkdir(parents=True)
    (tmp_path / theirs / "step-000000001.ckpt").write_bytes(b"another")
    result = run("ns-eval", "--load-config", config, "--output-path", "new/b.json", cwd=tmp_path)
    assert result.returncode == 0, result.output
    written = json.loads((tmp_path / "new/b.json").read_text())
    assert written["results"] == pytest.approx(metrics_of(trained.config), rel=1e-5)
    assert "Warning" not in result.output.partition("Loading latest checkpoint")[2]

    ball = trained.folder / "ball.ply"
    ball.rename(trained.folder / "away.ply")
    try:
        result = call("ns-eval", "--load-config", config, "--output-path", "a.json", cwd=tmp_path)
    finally:
        (trained.folder / "away.ply").rename(ball)
    assert result.returncode == 1
    assert result.output.startswith(f"error: {ball}: no such file, but {config} was fitted to it; put it back")
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "a.json").exists()


def test_an_evaluation_writes_its_result_whole_or_not_at_all(tmp_path, monkeypatch):
    from nerfstudio.scripts import eval as evaluation

    class Pipeline:
        def get_average_eval_image_metrics(self, output_path, get_std):
            write_whole()
            return {"iou": 0.5}

    config = SimpleNamespace(experiment_name="a", method_name="winner-sdf")
    monkeypatch.setattr(evaluation, "eval_setup", lambda path: (config, Pipeline(), path, 0))
    command = evaluation.ComputePSNR(tmp_path / "config.yml", tmp_path / "e.json")
    command.main()
    written = (tmp_path / "e.json").read_text()
    assert json.loads(written)["results"] == {"iou": 0.5}
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="full"):
        command.main()
    assert (tmp_path / "e.json").read_text() == written
    assert list(tmp_path.iterdir()) == [tmp_path / "e.json"]


def fail(*paths):
    raise OSError("the disk is full")


@pytest.mark.commands
def test_export_needs_neither_the_data_nor_the_place(trained, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(trained.config.parent, moved)
    for suffix in (".ply", ".obj", ".stl", ".glb"):
        output = tmp_path / "out" / f"ball{suffix}"
        result = call(
            "winner-export", "mesh", "--load-config", moved / "config.yml", "--output", output, "--resolution", 48,
            cwd=tmp_path,
        )  # fmt: skip
        assert result.returncode == 0, result.output
        assert "watertight, in 1 piece" in result.output
        mesh = trimesh.load_mesh(output)
        np.testing.assert_allclose(mesh.bounds.mean(0), [100, 0, -50], atol=0.5)
        np.testing.assert_allclose(mesh.extents, 40, rtol=0.03)
    assert not list(tmp_path.glob("out/.*")), "a temporary file was left"


@pytest.mark.commands
def test_export_in_the_cube_and_at_a_level(trained, tmp_path):
    for flags, size in [(["--normalized"], 1.8), (["--normalized", "--level", "-0.2"], 1.4), (["--level", "-2"], 36)]:
        output = tmp_path / "a.ply"
        result = call(
            "winner-export", "mesh", "--load-config", trained.config, "--output", output, "--resolution", 48, *flags,
            cwd=tmp_path,
        )  # fmt: skip
        assert result.returncode == 0, result.output
        np.testing.assert_allclose(trimesh.load_mesh(output).extents, size, rtol=0.04)


@pytest.mark.commands
@pytest.mark.parametrize(
    "flags, words",
    [
        (["--level", "500"], "no surface at level 500: "),
        (["--output", "a.xyz"], "unknown mesh format '.xyz'; use one of .ply, .obj, .stl, .glb"),
        (["--resolution", "2"], "resolution=2 must be 3 to 8,192"),
        (["--load-config", "nowhere/config.yml"], "nowhere/config.yml: no such file"),
    ],
)
def test_an_export_that_fails_says_why_and_overwrites_nothing(trained, tmp_path, flags, words):
    (tmp_path / "a.ply").write_text("precious")
    arguments = {"--load-config": trained.config, "--output": "a.ply", "--resolution": "16"}
    arguments.update(zip(flags[::2], flags[1::2], strict=True))
    result = call("winner-export", "mesh", *[x for pair in arguments.items() for x in pair], cwd=tmp_path)
    assert result.returncode == 1
    assert result.output.startswith("error: ")
    assert words in result.output
    assert len(result.output.splitlines()) == 1
    assert (tmp_path / "a.ply").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]


@pytest.mark.commands
def test_a_broken_checkpoint_is_named(trained, tmp_path):
    (tmp_path / "nerfstudio_models").mkdir()
    (tmp_path / "config.yml").write_text("")
    arguments = ("winner-export", "mesh", "--load-config", "config.yml", "--output", "a.ply")
    assert "no checkpoint step-*.ckpt there" in call(*arguments, cwd=tmp_path).output
    (tmp_path / "nerfstudio_models" / "step-000000005.ckpt").write_bytes(b"half")
    result = call(*arguments, cwd=tmp_path)
    assert result.returncode == 1
    assert "step-000000005.ckpt: not a whole checkpoint" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.commands
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path):
    sphere(20.0, subdivisions=2).export(tmp_path / "ball.ply")
    small = {"pipeline__model__eval_resolution": 16, "pipeline__datamanager__batch_size": 64}
    small["pipeline__model__num_layers"] = 3
    first, again, other = (
        checkpoint(fit("winner-sdf", tmp_path / "ball.ply", tmp_path / name, 4, machine__seed=seed, **small))
        for name, seed in (("first", 7), ("again", 7), ("other", 8))
    )
    assert_same_bits(first, again)
    with pytest.raises(AssertionError):
        assert_same_bits(first, other)


@pytest.mark.commands
def test_a_killed_run_resumes_to_the_same_bits_as_one_that_was_not(trained, tmp_path):
    shutil.copy(trained.folder / "ball.ply", tmp_path)
    models = tmp_path / "outputs" / "ball" / "winner-sdf" / "first" / "nerfstudio_models"
    command = ["ns-train", "winner-sdf", "--data", "ball.ply", *SMALL]
    process, _ = start([*command, "--timestamp", "first"], tmp_path)
    deadline = time.monotonic() + 600
    while not list(models.glob("step-*.ckpt")):
        assert process.is_alive(), "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.join()
    (models / "a-stray-file").touch()
    saved = [path.name for path in models.glob("step-*.ckpt")]

    resumed = call(*command, "--load-dir", models, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.output
    assert f"Resuming after {int(saved[-1][5:14]) + 1} of 400 steps." in resumed.output
    assert "step 400/400, loss" in resumed.output
    config = config_of(resumed, tmp_path)
    first, second = checkpoint(config), checkpoint(trained.config)
    assert first["step"] == second["step"] == 399
    assert_same_bits(first, second)
    evaluated = call("ns-eval", "--load-config", config, "--output-path", "e.json", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.output
    metrics = json.loads((tmp_path / "e.json").read_text())["results"]
    assert metrics["iou"] == pytest.approx(metrics_of(trained.config)["iou"], abs=1e-9)


@pytest.mark.commands
@pytest.mark.parametrize(
    "target, flags, words",
    [
        (
            "other.ply",
            [],
            ".ckpt: the checkpoint does not fit other.ply: it was fitted to a target of another size or place",
        ),
        (
            "ball.ply",
            ["--pipeline.model.num-layers", "3"],
            ".ckpt: the checkpoint does not fit this run: these weights belong to a network with num_layers=4, not 3;",
        ),
        (
            "ball.ply",
            ["--optimizers.fields.optimizer", "soap"],
            ".ckpt: the checkpoint belongs to a run with --optimizers.fields.optimizer adam, not soap;",
        ),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_in_one_line(trained, tmp_path, target, flags, words):
    sphere(20.0, center=(100, 0, -50)).export(tmp_path / "ball.ply")
    sphere(5.0).export(tmp_path / "other.ply")
    models = trained.config.parent / "nerfstudio_models"
    result = call("ns-train", "winner-sdf", "--data", target, *SMALL, *flags, "--load-dir", models, cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert words in line
    assert not any((tmp_path / "outputs").iterdir())


@pytest.mark.commands
def test_a_finished_run_resumed_trains_no_further(trained):
    models = trained.config.parent / "nerfstudio_models"
    result = call("ns-train", "winner-sdf", "--data", "ball.ply", *SMALL, "--load-dir", models, cwd=trained.folder)
    assert result.returncode == 0, result.output
    assert_same_bits(checkpoint(trained.config), checkpoint(config_of(result, trained.folder)))
    assert "winner-fit ball.ply" in result.output


@pytest.mark.commands
def test_a_run_resumed_with_fewer_steps_than_it_has_says_that_it_trains_nothing(trained):
    resume = [*SMALL, "--load-dir", trained.config.parent / "nerfstudio_models", "--max-num-iterations", "300"]
    result = call("ns-train", "winner-sdf", "--data", "ball.ply", *resume, cwd=trained.folder)
    assert result.returncode == 0, result.output
    assert (
        "Nothing is trained: the run has 400 steps already, more than the 300 of --max-num-iterations." in result.output
    )
    assert_same_bits(checkpoint(trained.config), checkpoint(config_of(result, trained.folder)))
    assert "winner-fit" not in result.output


@pytest.mark.commands
@pytest.mark.parametrize("name", ["missing.obj", "photo.png", "nan.obj"])
def test_a_target_that_wont_do_ends_in_one_line_and_leaves_nothing(tmp_path, name):
    write, words = HOSTILE[name]
    write(tmp_path / name)
    result = call("ns-train", "winner-sdf", "--data", name, cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert words in line
    assert name in line
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {},
            "no target given; name one with --data FILE (.obj .ply .stl .off .glb .3mf .xyz .pcd .npy) or one of",
        ),
        ({"pipeline__datamanager__data": "sample:bunny"}, "sample:bunny: no such built-in shape; there are: cog"),
        ({"max_num_iterations": 0}, "at least 1"),
        ({"relative_model_dir": Path("models")}, "a run's checkpoints lie in nerfstudio_models"),
        ({"gradient_accumulation_steps": {"fields": 0}}, "fields 0: the groups are fields, and the number is at least"),
        ({"gradient_accumulation_steps": {"filds": 4}}, "filds 4: the groups are fields, and the number is at least 1"),
        ({"machine__seed": -5}, "--machine.seed -5 must be from 0 to 4294967295"),
        ({"machine__device_type": "mps"}, "--machine.device-type mps"),
        ({"load_dir": "nowhere"}, "nowhere: no checkpoint"),
        ({"load_checkpoint": "nowhere.ckpt"}, "nowhere.ckpt: no such file"),
        (
            {"load_dir": "here", "load_checkpoint": "there.ckpt"},
            "--load-dir here and --load-checkpoint there.ckpt exclude each other; give one",
        ),
        ({"load_step": 5}, "--load-step 5 needs --load-dir, the folder of that step's checkpoint"),
        (
            {"pipeline__datamanager__dataparser__data": Path("b.ply")},
            "--data sample:urchin and, behind the data parser's name, --data b.ply differ; give one of them",
        ),
        ({"pipeline__model__noise__schedule": "paper"}, "no rule for targets of 3 axes"),
        ({"pipeline__model__init": "siren", "pipeline__model__noise__s0": 1.0}, "has no noise"),
        ({"pipeline__model__omega_0": float("inf")}, "must be positive and finite"),
        ({"pipeline__model__network": "relu-pe", "pipeline__model__omega_0": 3.0}, "relu-pe has no omega_0; it takes"),
        ({"pipeline__model__network_args": {"levels": 3}}, "siren has no levels; it takes omega_0, first_omega_0"),
        (
            {"pipeline__model__network": "relu-pe", "pipeline__model__network_args": {"num_frequencies": 2.5}},
            "relu-pe:",
        ),
        ({"pipeline__model__network": "wire", "pipeline__model__init": "winner"}, "wire has its own"),
        ({"pipeline__model__network": "gauss", "pipeline__model__noise__s0": 1.0}, "has no noise"),
        ({"pipeline__datamanager__passes": 0}, "passes=0"),
        ({"pipeline__datamanager__batch_size": 0}, "batch_size=0"),
        ({"pipeline__model__num_layers": 1}, "num_layers=1 must be at least 2"),
        ({"pipeline__model__eval_resolution": 1}, "eval_resolution=1"),
        ({"pipeline__model__eval_resolution": 100_000}, "eval_resolution=100000 3 to 8,192"),
        ({"pipeline__model__noise__s0": 3.0}, "go together"),
        ({"pipeline__model__noise__schedule": "fixed"}, "needs --pipeline.model.noise.s0"),
        ({"pipeline__model__noise__s0": -3.0, "pipeline__model__noise__s1": 0.0}, "not negative"),
        ({"pipeline__datamanager__dataparser__surface_fraction": 2.0}, "surface_fraction=2.0"),
        ({"pipeline__datamanager__dataparser__near_sigmas": (0.1, 0.0)}, "near_sigmas=(0.1, 0.0) must hold"),
        ({"pipeline__model__hardest": 0.0}, "hardest=0.0 must be a fraction of the points"),
    ],
)
def test_options_that_wont_do_end_in_one_line_before_anything_is_written(changes, words):
    changes = {"pipeline__datamanager__data": "sample:urchin", **changes} if changes else {}
    for name in ("load_dir", "load_checkpoint", "pipeline__datamanager__data"):
        if name in changes:
            changes[name] = Path(changes[name])
    with pytest.raises(SystemExit) as caught:
        make_config("winner-sdf", **changes).set_timestamp()
    message = str(caught.value)
    assert message.startswith("error: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("changes", [{"max_steps": 0}, {"max_steps": -3}, {"final_factor": -1.0}])
def test_a_course_of_the_learning_rate_that_cannot_be_is_refused(changes):
    optimizers = make_config("winner-sdf").optimizers
    for name, value in changes.items():
        setattr(optimizers["fields"]["scheduler"], name, value)
    config = make_config("winner-sdf", pipeline__datamanager__data=Path("sample:urchin"), optimizers=optimizers)
    (name,) = changes
    flag = "--optimizers.fields.scheduler." + name.replace("_", "-")
    with pytest.raises(SystemExit, match=f"^error: {flag} {changes[name]} must be ") as caught:
        config.set_timestamp()
    assert "\n" not in str(caught.value)


def test_a_request_to_end_before_the_first_step_is_an_interruption(capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped, ending_if_interrupted():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == INTERRUPTED
    assert "interrupted before the first step" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_trainer_has_a_last_step_before_it_trains():
    """nerfstudio's older viewer reads all properties of a trainer when it starts."""
    assert WinnerTrainer.__new__(WinnerTrainer).last_step == 0


def test_a_run_is_named_after_a_file_whose_name_is_no_text():
    config = make_config("winner-sdf", pipeline__datamanager__data=Path("b\udcffd.ply"))
    config.set_experiment_name()
    assert config.experiment_name.encode("utf8") == "b\ufffdd".encode()


@pytest.mark.commands
def test_a_run_that_is_resumed_in_its_place_keeps_its_config_if_refused_and_its_own_checkpoints_if_not(tmp_path):
    np.save(tmp_path / "waves.npy", np.sin(np.arange(24)[:, None] * 0.5 + np.arange(24) * 0.2))
    place = {"timestamp": "run", "steps_per_save": 4, "save_only_latest_checkpoint": False}
    config = fit("winner-image", tmp_path / "waves.npy", tmp_path, 13, **place)
    models = config.parent / "nerfstudio_models"
    assert checkpoint_steps(models) == [4, 8, 12]
    before = list_files(config.parent)
    other = {**place, "load_dir": models, "pipeline__model__hidden_dim": 20}
    with pytest.raises(SystemExit, match="hidden_dim=24, not 20"):
        fit("winner-image", tmp_path / "waves.npy", tmp_path, 20, **other)
    assert {path: content for path, (_, content) in list_files(config.parent).items()} == {
        path: content for path, (_, content) in before.items()
    }
    fit("winner-image", tmp_path / "waves.npy", tmp_path, 7, **place, load_dir=models, load_step=4)
    assert checkpoint_steps(models) == [4, 6]


def list_files(folder):
    """The time and the bytes of each file in a folder."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.commands
def test_a_run_of_another_ones_config_is_made_in_a_new_folder_and_one_of_its_timestamp_is_refused(tmp_path):
    np.save(tmp_path / "waves.npy", np.sin(np.arange(24)[:, None] * 0.5 + np.arange(24) * 0.2))
    small = ["--max-num-iterations", 4, "--pipeline.model.hidden-dim", 16, "--pipeline.model.num-layers", 3]
    command = ["ns-train", "winner-image", "--data", "waves.npy", *small, "--timestamp", "first"]
    first = config_of(call(*command, cwd=tmp_path), tmp_path)
    before = list_files(first.parent)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = call("ns-train", "winner-image", "--load-config", first, "--max-num-iterations", 9, cwd=elsewhere)
    second = config_of(again, elsewhere)
    line = f"the run of --load-config is made again, in {second.parent.relative_to(elsewhere)}; all other options"
    assert line in again.output
    assert second.parent != first.parent
    assert_same_bits(checkpoint(first), checkpoint(second))
    assert checkpoint(second)["step"] == 3

    refused = call(*command, cwd=tmp_path)
    models = first.parent.relative_to(tmp_path) / "nerfstudio_models"
    assert refused.returncode == 1
    (error,) = [line for line in refused.output.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {models}: holds the checkpoints of another run, which this one would delete; ")
    assert list_files(first.parent) == before

    command[command.index(4)] = 6
    resumed = call(*command, "--load-dir", models, cwd=tmp_path)
    assert "Resuming after 4 of 6 steps." in resumed.output
    assert config_of(resumed, tmp_path) == first


def test_a_run_that_logs_never_has_no_report_of_nerfstudios_which_would_divide_by_nought(tmp_path):
    for steps, enabled in ((10, True), (0, False)):
        changes = {"logging__steps_per_log": steps, "logging__local_writer__enable": True, "output_dir": tmp_path}
        config = make_config("winner-image", pipeline__datamanager__data=Path("sample:mandala"), **changes)
        config.set_timestamp()
        assert config.logging.local_writer.enable is enabled


@pytest.mark.commands
def test_the_viewer_keeps_camera_paths_beside_a_file_and_those_of_a_sample_in_the_runs_folder(tmp_path):
    from nerfstudio.utils.eval_utils import eval_setup

    np.save(tmp_path / "waves.npy", np.sin(np.arange(16)[:, None] * 0.5 + np.arange(16) * 0.2))
    for data in ("sample:mandala", tmp_path / "waves.npy"):
        config = fit("winner-image", data, tmp_path, 2, pipeline__datamanager__dataparser__max_side=16)
        _, pipeline, *_ = eval_setup(config)
        assert pipeline.datamanager.get_datapath() == (data if isinstance(data, Path) else config.parent)


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({}, []),
        ({"optimizer": {"lr": 1e-3, "name": "soap"}}, ["--learning-rate", "0.001", "--optimizer", "soap"]),
        ({"max_num_iterations": 30, "scheduler": {"max_steps": 30}}, ["--steps", "30"]),
        ({"scheduler": {"max_steps": 30}}, None),
        ({"scheduler": {"final_factor": 0.5}}, None),
        ({"optimizer": {"eps": 1e-6}}, None),
        ({"optimizer": {"weight_decay": 1e-3}}, None),
        ({"optimizer": {"max_norm": 1.0}}, None),
        ({"mixed_precision": True}, None),
        ({"use_grad_scaler": True}, None),
        ({"gradient_accumulation_steps": {"fields": 2}}, None),
        ({"load_checkpoint": Path("a.ckpt")}, None),
    ],
)
def test_winner_fit_is_named_only_where_it_makes_the_same_fit(changes, arguments, tmp_path):
    config = make_config("winner-image", pipeline__datamanager__data=Path("sample:mandala"), output_dir=tmp_path)
    for name, value in changes.items():
        if name in config.optimizers["fields"]:
            for option, each in value.items():
                setattr(config.optimizers["fields"][name], option, each)
        else:
            setattr(config, name, value)
    config.complete()
    assert config.arguments == arguments


def test_the_same_data_may_be_given_twice_and_other_data_is_refused(tmp_path):
    manager = {"pipeline__datamanager__data": Path("sample:mandala"), "output_dir": tmp_path}
    config = make_config("winner-image", pipeline__datamanager__dataparser__data=Path("sample:mandala"), **manager)
    config.set_timestamp()
    assert config.pipeline.datamanager.dataparser.data == Path("sample:mandala")
    with pytest.raises(
        SystemExit, match=r"^error: --data a.png and --pipeline.datamanager.data sample:mandala differ;"
    ):
        replace(config, data=Path("a.png"))
    assert replace(config, data=Path("sample:mandala")).pipeline.datamanager.data == Path("sample:mandala")


@pytest.mark.parametrize(
    ("method", "parts", "samplers"),
    [
        ("winner-sdf", 2, [CellSampler, CellSampler]),
        ("winner-sdf", 1, [Drawn, Drawn]),
        ("winner-image", 2, [PartSampler]),
        ("winner-image", 1, [Resident]),
    ],
)
def test_samplers_are_chosen_once_and_built_only_for_batches(method, parts, samplers, tmp_path, monkeypatch):
    ball = trimesh.creation.icosphere(2)
    colored = trimesh.Trimesh(ball.vertices, ball.faces, vertex_colors=np.uint8(127 * ball.vertices + 127))
    data = {"winner-sdf": tmp_path / "ball.ply", "winner-image": tmp_path / "picture.npy"}
    colored.export(data["winner-sdf"])
    np.save(data["winner-image"], np.random.default_rng(0).random((40, 44, 3), np.float32))
    built = []
    for each in (CellSampler, Drawn, PartSampler, Resident):

        def build(self, *arguments, begin=each.__init__, **options):
            built.append(type(self))
            begin(self, *arguments, **options)

        monkeypatch.setattr(each, "__init__", build)
    counts = (parts,) if method == "winner-sdf" else (parts, parts)
    sizes = {
        "pipeline__model__parts": counts,
        "pipeline__model__hidden_dim": 8,
        "pipeline__datamanager__batch_size": 64,
    }
    config = make_config(method, pipeline__datamanager__data=data[method], **sizes)
    viewed = config.pipeline.setup(device="cpu", test_mode="test")
    assert built == []
    viewed.datamanager.next_eval(0)
    assert built == samplers
    built.clear()
    trained = config.pipeline.setup(device="cpu", test_mode="val")
    trained.datamanager.next_train(0), trained.datamanager.next_beside(0)
    assert built == samplers


def test_help_lists_what_matters_first_and_what_is_nerfstudios_last():
    names = [name for name in type(make_config("winner-image")).__dataclass_fields__ if name != "_target"]
    assert names[:4] == ["data", "max_num_iterations", "output_dir", "experiment_name"]
    assert names.index("pipeline") < names.index("optimizers") < names.index("machine")
    assert names[-3:] == ["machine", "logging", "viewer"]


def test_help_lists_no_chunks_of_rays_which_nothing_is_rendered_in(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(SignalModelConfig, args=["--help"])
    assert "--hidden-dim" in (listed := capsys.readouterr().out)
    assert "chunk" not in listed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused_and_the_default_is_the_cpu():
    assert make_config("winner-sdf").machine.device_type == "cpu"
    with pytest.raises(SystemExit, match="no CUDA device"):
        make_config("winner-sdf", machine__device_type="cuda").set_timestamp()


def measure_in_the_inputs_coordinates(fitted_file, target_file, inside_points=200_000):
    """IoU and both mean distances in parts of the diagonal, by igl on the two files: nothing of ours is used."""
    meshes = []
    for path in (fitted_file, target_file):
        mesh = trimesh.load_mesh(path, process=False)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        meshes.append((np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64), mesh))
    (v, f, fitted), (w, g, target) = meshes
    diagonal = np.linalg.norm(target.extents)
    points = np.random.default_rng(3).uniform(
        target.bounds[0] - 0.05 * diagonal, target.bounds[1] + 0.05 * diagonal, (inside_points, 3)
    )
    a, b = igl.fast_winding_number(v, f, points) > 0.5, igl.fast_winding_number(w, g, points) > 0.5
    distances = []
    for source, (vertices, faces) in ((fitted, (w, g)), (target, (v, f))):
        on_source, _ = trimesh.sample.sample_surface(source, 100_000, seed=1)
        tree = igl.AABB()
        tree.init(vertices, faces)
        squared, _, _ = tree.squared_distance(vertices, faces, np.asarray(on_source))
        distances.append(np.sqrt(squared).mean() / diagonal)
    return (a & b).sum() / (a | b).sum(), *distances, fitted


NARROW = ["--pipeline.model.hidden-dim", "96"]
SMALL_CHUNKS = ["--pipeline.datamanager.steps-per-chunk", "60"]
"""Flags with which fewer points are drawn that are never used."""


RESOLUTION = 100
"""Of exported and measured surfaces: just so fine that most of the cube is evaluated in coarser cells."""


def fit_and_measure(path, folder, *flags):
    flags += "--pipeline.model.eval-resolution", RESOLUTION
    result = call("ns-train", "winner-sdf", "--data", path, *flags, cwd=folder)
    assert result.returncode == 0, result.output
    config = config_of(result, folder)
    output = folder / "fit.ply"
    exported = call(
        "winner-export", "mesh", "--load-config", config, "--output", output, "--resolution", RESOLUTION, cwd=folder
    )
    assert exported.returncode == 0, exported.output
    return (*measure_in_the_inputs_coordinates(output, path), metrics_of(config), result)


@pytest.mark.quality
def test_the_exported_mesh_matches_the_input_file_in_its_own_coordinates(tmp_path):
    from winner_nerfstudio.signals.samples import urchin

    mesh = urchin()
    mesh.apply_transform(trimesh.transformations.rotation_matrix(0.7, [1, 2, 3]))
    mesh.apply_scale(37.0)
    mesh.apply_translation([1500, -20, 300])
    mesh.export(tmp_path / "urchin.obj")
    iou, forth, back, fitted, metrics, _ = fit_and_measure(
        tmp_path / "urchin.obj", tmp_path, "--max-num-iterations", "400", *NARROW, *SMALL_CHUNKS
    )
    assert iou >= 0.99
    assert forth <= 0.001
    assert back <= 0.001
    assert fitted.is_watertight
    assert fitted.body_count == 1
    assert metrics["chamfer_l1"] == pytest.approx((forth + back) / 2, rel=0.5)


def made_with_holes(folder):
    """A ball with five small round holes, far from the origin."""
    directions = (0, 0, -1), (0, 0, 1), (1, 0, 0), (-1, 0, 0), (0, 1, 0)
    mesh = sphere_with_holes(3.0, directions, 0.08)
    mesh.apply_translation([100, -20, 30])
    mesh.export(folder / "five.obj")
    return folder / "five.obj"


@pytest.mark.quality
def test_a_surface_with_holes_becomes_one_without(tmp_path):
    path, flags = made_with_holes(tmp_path), ["--max-num-iterations", "300", *NARROW, *SMALL_CHUNKS]
    iou, forth, back, fitted, metrics, result = fit_and_measure(path, tmp_path, *flags)
    assert "5 holes; sign from the generalised winding number" in result.output
    assert metrics["iou"] >= 0.995
    assert iou >= 0.995
    assert forth <= 0.001
    assert back <= 0.001
    assert fitted.is_watertight
    assert fitted.body_count == 1


@pytest.mark.quality
def test_a_quarter_of_the_steps_gives_most_of_a_shape_with_edges(tmp_path):
    SHAPES["cog"]().export(tmp_path / "cog.obj")
    iou, forth, back, fitted, metrics, _ = fit_and_measure(
        tmp_path / "cog.obj", tmp_path, "--max-num-iterations", "180"
    )
    assert min(iou, metrics["iou"]) >= 0.99
    assert max(forth, back) <= 0.001
    assert fitted.is_watertight
