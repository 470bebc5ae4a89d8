"""Runs that are killed, run into each other or cannot write: what was finished is kept, and one line says the rest."""

import errno
import json
import os
import random
import re
import signal
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from winner_nerfstudio import fit as fit_directly
from winner_nerfstudio import load_field
from winner_nerfstudio.fields.checkpoint import CHECKPOINT_FOLDER, CheckpointError, checkpoint_steps, load_fitted
from winner_nerfstudio.files import find_problem, replacing
from winner_nerfstudio.nerfstudio.run.trainer import WinnerTrainer
from winner_nerfstudio.signals.messages import error_line
from winner_nerfstudio.signals.samples import IMAGES

from .conftest import POOR_FIT, call, config_of, fit, make_config, metrics_of, weights_of
from .forked import start

STEPS = 200
TRAIN = [
    "ns-train", "winner-image", "--data", "mandala.npy", "--max-num-iterations", str(STEPS), "--steps-per-save", "10",
    "--pipeline.model.hidden-dim", "24", "--pipeline.model.num-layers", "2",
]  # fmt: skip
RUN = Path("outputs/mandala/winner-image")
MOMENTS = ["training"] * 3 + ["saving"] * 3 + ["evaluating"] * 2 + ["exporting"] * 2


def make_picture(folder):
    np.save(folder / "mandala.npy", IMAGES["mandala"]()[::16, ::16])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the config of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    make_picture(folder)
    result = call(*TRAIN, cwd=folder)
    assert result.returncode == 0, result.output
    return folder, folder / config_of(result, folder)


def kill_when(command, folder, reached, delay):
    """Start a command and kill it, some time after a moment was reached, unless it has ended by then."""
    process, _ = start(command, folder)
    deadline = time.monotonic() + 600
    while not reached() and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL), "the command failed by itself"


@pytest.mark.quality
@pytest.mark.xdist_group("killed")
@pytest.mark.parametrize("number, moment", list(enumerate(MOMENTS)))
def test_what_is_killed_goes_on_to_the_bit_or_has_not_begun(number, moment, whole, tmp_path):
    rng = random.Random(number)
    if moment in ("training", "saving"):
        make_picture(tmp_path)
        run = tmp_path / RUN / "first"
        models, parts = run / CHECKPOINT_FOLDER, (lambda: any(run.glob(".saving-*/*")))
        begun = (run / "config.yml").is_file if number % 2 else lambda: models.is_dir()
        reached, delay = (parts, 0.0) if moment == "saving" else (begun, rng.uniform(0, 0.8))
        kill_when([*TRAIN, "--timestamp", "first"], tmp_path, reached, delay)
        assert_nothing_is_half_written(run)
        steps = checkpoint_steps(models)
        resumed = call(*TRAIN, "--load-dir", models, cwd=tmp_path)
        if not steps:
            assert resumed.returncode == 1
            assert f"{models}: no checkpoint step-*.ckpt there" in resumed.output
            return
        assert resumed.returncode == 0, resumed.output
        if steps[-1] + 1 < STEPS:
            assert f"Resuming after {steps[-1] + 1} of {STEPS} steps." in resumed.output
        theirs, ours = weights_of(whole[1]), weights_of(tmp_path / config_of(resumed, tmp_path))
        assert all(torch.equal(value, ours[name]) for name, value in theirs.items())
        return
    folder, config = whole
    before = {path: path.read_bytes() for path in config.parent.rglob("*") if path.is_file()}
    if moment == "evaluating":
        output = tmp_path / "evaluation.json"
        command = ["ns-eval", "--load-config", config, "--output-path", output, "--render-output-path", tmp_path / "r"]
        reached, delay = (lambda: (tmp_path / "r").is_dir()), rng.uniform(0, 0.2)
    else:
        output = tmp_path / "large.npy"
        command = ["winner-export", "image", "--load-config", config, "--output", output, "--scale", "20"]
        reached, delay = (lambda: any(tmp_path.glob(".large-*"))), rng.choice([0.0, 0.01])
    kill_when(command, folder, reached, delay)
    assert {path: path.read_bytes() for path in before} == before
    if output.exists():
        assert json.loads(output.read_text()) if moment == "evaluating" else np.load(output).ndim == 3
    again = call(*command, cwd=folder)
    assert again.returncode == 0, again.output
    assert output.stat().st_size > 100


@pytest.mark.commands
@pytest.mark.xdist_group("killed")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_after_its_step_and_goes_on_to_the_bit(number, whole, tmp_path, monkeypatch):
    make_picture(tmp_path)
    evaluate, handlers = WinnerTrainer.eval_iteration, [signal.getsignal(each) for each in (number, signal.SIGINT)]

    def interrupt(trainer, step):
        evaluate(trainer, step)
        if step == 57:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(WinnerTrainer, "eval_iteration", interrupt)
        stopped = call(*TRAIN, "--timestamp", "first", cwd=tmp_path)
    models = tmp_path / RUN / "first" / CHECKPOINT_FOLDER
    assert stopped.returncode == 130
    line = f"interrupted; 58 of {STEPS} steps are kept: the same command goes on with --load-dir {models}"
    assert stopped.output.splitlines()[-1] == line.replace(f"{tmp_path}/", "")
    assert "Traceback" not in stopped.output
    assert handlers == [signal.getsignal(each) for each in (number, signal.SIGINT)]
    resumed = call(*TRAIN, "--load-dir", models, cwd=tmp_path)
    assert f"Resuming after 58 of {STEPS} steps." in resumed.output
    theirs, ours = weights_of(whole[1]), weights_of(tmp_path / config_of(resumed, tmp_path))
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items())


@pytest.mark.commands
def test_a_run_that_is_interrupted_before_its_first_step_ends_in_one_line(tmp_path, monkeypatch):
    make_picture(tmp_path)
    monkeypatch.setattr(WinnerTrainer, "setup_optimizers", lambda trainer: signal.raise_signal(signal.SIGINT))
    stopped = call(*TRAIN, cwd=tmp_path)
    assert stopped.returncode == 130
    assert "Traceback" not in stopped.output
    assert "interrupted before the first step; nothing was trained" in stopped.output
    assert not any((tmp_path / "outputs").iterdir())


def test_a_file_that_cannot_be_written_is_named_by_its_own_name(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    no_folder = f"{tmp_path / 'file'} is a file and no folder"
    for path, words in [
        ("folder.png", "is a folder; name a file"),
        ("file/a.png", no_folder),
        ("file/new/a.png", no_folder),
    ]:
        with pytest.raises(OSError, match=words) as caught, replacing(tmp_path / path) as temporary:
            temporary.write_text("new")
        assert error_line(caught.value) == f"error: {tmp_path / path}: {words}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_the_folder_of_a_file_is_made(tmp_path):
    with replacing(tmp_path / "new" / "folder" / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "new" / "folder" / "a.txt").read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there, and permissions are others")
def test_a_file_that_is_replaced_leaves_its_permissions_and_stays_behind_its_link(tmp_path):
    store, link = tmp_path / "store" / "0815", tmp_path / "a.png"
    store.parent.mkdir()
    store.write_text("old")
    store.chmod(0o640)
    link.symlink_to(store)
    with replacing(link) as temporary:
        assert (temporary.parent, temporary.suffix) == (store.parent, ".png")
        temporary.write_text("new")
    assert link.is_symlink()
    assert (store.read_text(), store.stat().st_mode & 0o777) == ("new", 0o640)
    store.unlink()
    with replacing(link) as temporary:
        temporary.write_text("again")
    assert store.read_text() == "again"
    assert [path.name for path in store.parent.iterdir()] == ["0815"]


@pytest.mark.parametrize("name", ["a" * 251 + ".npy", "ä" * 125 + ".npy"])
def test_a_file_may_have_the_longest_name(name, tmp_path):
    with replacing(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_told_of_the_file_itself(tmp_path):
    path = tmp_path / f"{'a' * 300}.npy"
    with pytest.raises(OSError, match="too long") as caught, replacing(path) as temporary:
        temporary.write_text("new")
    assert caught.value.filename == str(path)


@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there")
@pytest.mark.parametrize("name", ["a.npy", "new/a.npy"])
def test_a_link_that_leads_nowhere_is_named_where_a_folder_is_needed(name, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    words = f"{tmp_path / 'link'} is a link that leads nowhere; remove it, or name another folder"
    assert find_problem(tmp_path / "link" / name) == words
    with pytest.raises(OSError, match="leads nowhere") as caught, replacing(tmp_path / "link" / name):
        pass
    assert error_line(caught.value) == f"error: {tmp_path / 'link' / name}: {words}"


def assert_nothing_is_half_written(run):
    for path in run.rglob("*"):
        if any(part.startswith(".") for part in path.relative_to(run).parts) or not path.is_file():
            continue
        if path.suffix == ".ckpt":
            assert torch.load(path, weights_only=True)["step"] == int(path.stem[5:])
        elif path.suffix == ".json":
            assert json.loads(path.read_text())
        elif path.name == "config.yml":
            assert yaml.load(path.read_text(), yaml.Loader).max_num_iterations == STEPS


def one_line(caught):
    message = str(caught.value)
    assert message.startswith("error: ")
    assert "\n" not in message
    return message


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


@pytest.mark.commands
def test_a_disk_that_is_full_when_a_checkpoint_is_saved_is_told_and_the_one_before_is_kept(tmp_path, monkeypatch):
    save, saved = torch.save, []

    def fail_later(state, path):
        save(state, path)
        saved.append(path)
        if len(saved) > 1:
            Path(path).write_bytes(Path(path).read_bytes()[:500])
            raise RuntimeError("[enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fail_later)
    changes = {"steps_per_save": 5, "timestamp": "full"}
    with pytest.raises(SystemExit) as caught:
        fit("winner-image", "sample:mandala", tmp_path, 20, **changes)
    assert "the checkpoint of step 10 cannot be written" in one_line(caught)
    (kept,) = tmp_path.rglob("step-*.ckpt")
    assert kept.name == "step-000000005.ckpt"
    assert load_fitted(kept.parent.parent / "config.yml").provenance["steps"] == 6
    assert not list(kept.parent.parent.glob(".saving-*"))


@pytest.mark.commands
@pytest.mark.parametrize("name", ["write_metrics", "write_sheet", "write_pictures"])
def test_a_disk_that_is_full_at_the_end_is_told_and_the_checkpoint_is_kept(name, tmp_path, monkeypatch):
    where = "pipeline" if name == "write_pictures" else "report"
    monkeypatch.setattr(f"winner_nerfstudio.nerfstudio.run.{where}.{name}", full_disk)
    with pytest.raises(SystemExit) as caught:
        fit("winner-image", "sample:mandala", tmp_path, 12)
    assert one_line(caught) == "error: somewhere: No space left on device; what was saved before is kept"
    (kept,) = tmp_path.rglob("step-*.ckpt")
    assert load_fitted(kept.parent.parent / "config.yml").provenance["steps"] == 12


@pytest.mark.commands
def test_a_folder_that_cannot_be_written_is_told_before_the_training(tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def read_only(self, *arguments, **options):
        if "outputs" in self.parts:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(SystemExit) as caught:
        fit("winner-image", "sample:mandala", tmp_path / "outputs", 12)
    assert re.search(r"outputs/\S+: Permission denied; choose another folder with --output-dir", one_line(caught))
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        fit("winner-image", "sample:mandala", tmp_path / "file", 12)
    assert f"{tmp_path / 'file'} is a file and no folder; choose another folder" in one_line(caught)


def test_a_config_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full_disk)
    config = make_config("winner-image", output_dir=tmp_path, experiment_name="a", timestamp="b")
    with pytest.raises(SystemExit) as caught:
        config.save_config()
    assert "No space left on device; choose another folder" in one_line(caught)
    assert [path.name for path in (tmp_path / "a/winner-image/b").iterdir()] == []


@pytest.mark.parametrize(
    "error", [full_disk, lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))]
)
def test_a_field_that_cannot_be_written_leaves_the_one_before(error, tmp_path, monkeypatch):
    field, path = (
        fit_directly(np.eye(9), steps=1, hidden_dim=8, progress=False, measure=False),
        tmp_path / "a.safetensors",
    )
    field.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", error)
    with pytest.raises(OSError, match=r"No space left|Permission denied"):
        field.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.commands
def test_an_export_that_finds_the_disk_full_is_one_line_and_no_file(whole, tmp_path):
    """A limit on the size of files stands for the end of the disk."""
    import resource

    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for result, output in (("image", "a.npy"), ("image", "a.png"), ("field", "a.safetensors")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
        try:
            done = call("winner-export", result, "--load-config", whole[1], "--output", output, cwd=tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert done.returncode == 1, done.output
        assert re.fullmatch(r"error: .*\n", done.output), done.output
        assert not list(tmp_path.glob(f"*{output}")), "half a file was left"
        assert not list(tmp_path.glob(".a*"))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.commands
def test_runs_that_start_in_one_second_have_a_folder_each(tmp_path, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, *_):
            return cls(2025, 6, 1, 12, 0, 0)

    monkeypatch.setattr("nerfstudio.configs.experiment_config.datetime", Stopped)
    configs = [fit("winner-image", "sample:mandala", tmp_path, steps) for steps in (11, 12, 13)]
    names = [config.parent.name for config in configs]
    assert names == ["2025-06-01_120000", "2025-06-01_120000-2", "2025-06-01_120000-3"]
    assert [load_fitted(config).provenance["steps"] for config in configs] == [11, 12, 13]


def test_a_timestamp_that_the_user_gives_is_used_again(tmp_path):
    for _ in range(2):
        config = make_config("winner-image", pipeline__datamanager__data=Path("sample:mandala"), output_dir=tmp_path)
        config.timestamp = "mine"
        config.set_timestamp()
        assert config.get_base_dir().name == "mine"


def test_an_export_while_the_run_saves_reads_one_checkpoint_or_the_next(tmp_path):
    from .test_tampered import make_fitted, write_checkpoint

    models = tmp_path / CHECKPOINT_FOLDER
    models.mkdir()
    (tmp_path / "config.yml").touch()
    state = make_fitted("sdf", "siren").field.state_dict()
    extra = state.pop("_extra_state")
    stop = threading.Event()

    def save():
        for step in range(10**6):
            path = models / f"step-{step:09d}.ckpt"
            with replacing(path) as temporary:
                write_checkpoint(temporary, dict(extra), state)
            for old in models.glob("step-*.ckpt"):
                if old != path:
                    old.unlink()
            if stop.is_set():
                return

    thread = threading.Thread(target=save)
    thread.start()
    try:
        while not list(models.glob("step-*.ckpt")):
            time.sleep(0.001)
        for _ in range(50):
            assert load_fitted(tmp_path / "config.yml").kind == "sdf"
    finally:
        stop.set()
        thread.join()


def test_a_checkpoint_that_is_gone_for_good_is_told(tmp_path):
    (tmp_path / CHECKPOINT_FOLDER).mkdir()
    (tmp_path / "config.yml").touch()
    (tmp_path / CHECKPOINT_FOLDER / "step-000000009.ckpt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_fitted(tmp_path / "config.yml")


@pytest.mark.commands
def test_a_run_that_diverges_ends_with_a_line(tmp_path):
    config = make_config("winner-image", pipeline__datamanager__data=Path("sample:mandala"))
    config.optimizers["fields"]["optimizer"].lr = 1e30
    config.output_dir, config.max_num_iterations, config.pipeline.model.options.hidden_dim = tmp_path, 40, 16
    from nerfstudio.scripts.train import main

    with pytest.raises(SystemExit) as caught:
        main(config)
    assert re.match(r"error: the fit has diverged, \d+ of 40 steps were done; a lower", one_line(caught))


@pytest.mark.commands
def test_a_learning_rate_of_ten_ends_as_any_other(tmp_path):
    config = make_config("winner-image", pipeline__datamanager__data=Path("sample:mandala"))
    config.optimizers["fields"]["optimizer"].lr = 10.0
    config.output_dir, config.max_num_iterations, config.pipeline.model.options.hidden_dim = tmp_path, 20, 16
    from nerfstudio.scripts.train import main

    with pytest.raises(SystemExit) as stopped:
        main(config)
    assert stopped.value.code == POOR_FIT
    assert metrics_of(config.get_base_dir() / "config.yml")["psnr"] < 20
    with pytest.warns(UserWarning, match="the fit failed"):
        field = fit_directly("sample:mandala", steps=20, learning_rate=10.0, hidden_dim=16, progress=False)
    assert field.provenance["figures"]["psnr"] < 20
    field.save(tmp_path / "a.safetensors")
    assert load_field(tmp_path / "a.safetensors").kind == "image"
