"""Field files and checkpoints that were altered: each loads as it was, or is refused in one line and at once."""

import functools
import json
import math
import random
import shutil
import time
import zipfile
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from torch import nn

from winner_nerfstudio import FittedField, load_field
from winner_nerfstudio.fields import Field
from winner_nerfstudio.fields.checkpoint import CHECKPOINT_FOLDER, CheckpointError, load_fitted
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.fields.stored import compute_digest
from winner_nerfstudio.networks import NETWORKS, CoordinateNetwork
from winner_nerfstudio.signals.normalization import Normalization
from winner_nerfstudio.signals.records import AudioRecord, ImageRecord, ShapeRecord, VolumeRecord

SECONDS = 3.0
"""More of the processor than any load may take; most take milliseconds."""
UNITS = {"offset": 2.0, "amplitude": 5.0, "digest": "0f" * 32}
TARGETS = {
    "sdf": (3, 1, ShapeRecord(level=0.25)),
    "image": (
        2,
        3,
        ImageRecord(
            shape=(9, 7), **UNITS, mode="P", dtype="|u1", palette=((0, 0, 0), (255, 9, 3)), icc_profile="\x00\xff"
        ),
    ),
    "audio": (1, 2, AudioRecord(shape=(99,), **UNITS, sample_rate=8000.0, format="WAV", subtype="PCM_16")),
    "volume": (
        3,
        1,
        VolumeRecord(
            shape=(5, 6, 7), **UNITS, dtype="<f4", ndim=3, spacing=(0.5, 0.5, 0.5), level=2.0, inside="above", slope=1.0
        ),
    ),
}
PAIRS = [("sdf", "siren"), ("image", "finer"), ("audio", "relu-pe"), ("volume", "siren-rff"), ("sdf", "wire")]
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 2**39, 2**63, 10**400, 0.0, -0.0, 0.5, 1.0, 30, 1e308, -1e308, 5e-324,
    math.nan, math.inf, "", "x", "sdf", "image", "siren", "\x1b[2J\n", "O", [], [1], [2**39] * 3, {}, {"x": 1},
    100_000, 20_000,
]  # fmt: skip
PROGRESS = {"seconds": 3.5, "points": 4096, "init": "psi=0.2", "noise": {"s0": 2.0}, "best": {"iou": [0.5, 3]}}
PROGRESS |= {"history": [[10, 0.5, {"iou": 0.25}]]}


def make_fitted(kind, network):
    axes, channels, record = TARGETS[kind]
    torch.manual_seed(3)
    specification = {"name": network, "in_dim": axes, "out_dim": channels, "hidden_dim": 8, "num_layers": 2}
    field = Field(kind, specification, Normalization((1.0, -2.0, 0.5)[:axes], 0.25), record)
    return FittedField(field, {"program": "ours", "figures": {"psnr": 3.0}})


@functools.cache
def make_whole(kind, network):
    """The same field every time, what a file states of it, as JSON, and its tensors: nobody changes them."""
    fitted = make_fitted(kind, network)
    tensors = {name: value for name, value in fitted.field.state_dict().items() if isinstance(value, torch.Tensor)}
    return fitted, json.dumps({**fitted.field.entries, "provenance": fitted.provenance}), tensors


def values_of(fitted):
    points = np.random.default_rng(0).uniform(-3, 5, (20, fitted.dim))
    return fitted(points)


def write_file(path, entries, tensors):
    metadata = {"format": "winner-nerfstudio field 1"} | {name: json.dumps(value) for name, value in entries.items()}
    save_file(tensors, path, metadata)


def write_checkpoint(path, entries, tensors):
    """A checkpoint as a run writes it; a field file's provenance is its progress."""
    progress = entries.pop("provenance", PROGRESS)
    pipeline = {f"_model.field.{name}": value for name, value in tensors.items()}
    pipeline |= {"_model.field._extra_state": entries, "_model._extra_state": progress}
    torch.save({"step": 9, "pipeline": pipeline, "optimizers": {}, "schedulers": {}, "scalers": {}}, path)


def places_in(value, path=()):
    """The path to every entry of nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*path, key)
        yield from places_in(part, (*path, key))


def alter_entries(rng, entries):
    """Change, remove, add or move one entry; returns what was done."""
    path = rng.choice([place for place in places_in(entries) if place != ("digest",)])
    holder = entries
    for key in path[:-1]:
        holder = holder[key]
    action = rng.choice(["set", "set", "set", "set", "remove", "add", "nest"])
    if action == "remove":
        del holder[path[-1]]
    elif action == "nest":
        holder[path[-1]] = [holder[path[-1]]]
    elif action == "add" and isinstance(holder, dict):
        holder[rng.choice(["extra", "omega_1", "mode", "level", ""])] = rng.choice(VALUES)
    else:
        holder[path[-1]] = rng.choice(VALUES)
    return action, path


def alter_tensors(rng, tensors):
    """Change one tensor's values, shape or type, or remove or rename it."""
    name = rng.choice(sorted(tensors))
    tensor = tensors[name].clone()
    action = rng.choice(["nan", "inf", "reshape", "half", "remove", "rename", "int", "bit", "wide"])
    if action in ("nan", "inf"):
        tensor.reshape(-1)[rng.randrange(tensor.numel())] = math.nan if action == "nan" else math.inf
    elif action == "bit":
        flat = tensor.reshape(-1).view(torch.uint8)
        flat[rng.randrange(len(flat))] ^= 1 << rng.randrange(8)
    elif action == "reshape":
        tensor = tensor.reshape(1, *tensor.shape)
    elif action == "half":
        tensor = tensor.real.half()
    elif action == "int":
        tensor = tensor.real.long()
    elif action == "wide":
        tensor = torch.cat([tensor.reshape(-1), tensor.reshape(-1)])
    del tensors[name]
    if action != "remove":
        tensors[f"{name}2" if action == "rename" else name] = tensor
    return action, name


def alter_bytes(rng, path):
    """Flip bits, or cut, double or overwrite a part of a file."""
    content = bytearray(path.read_bytes())
    place, length = rng.randrange(len(content)), rng.choice([1, 4, 100])
    action = rng.choice(["bit", "bit", "bit", "cut", "short", "double", "noise", "zeros"])
    if action == "bit":
        content[place] ^= 1 << rng.randrange(8)
    elif action == "cut":
        del content[place : place + length]
    elif action == "short":
        del content[place:]
    elif action == "double":
        content[place:place] = content[place : place + length]
    else:
        content[place : place + length] = rng.randbytes(length) if action == "noise" else bytes(length)
    path.write_bytes(content)
    return action, place


def copy_whole(pair, write):
    """A field that nobody has altered, and what a file states of it, with its tensors, to be altered."""
    fitted, stated, tensors = make_whole(*pair)
    entries, tensors = json.loads(stated), dict(tensors)
    if write is write_checkpoint:
        entries["provenance"] = deepcopy(PROGRESS)
    entries["digest"] = sign(entries, tensors, write)
    return fitted, entries, tensors


def tamper(rng, path, write):
    """Write an altered field; returns the field as it was, what was done, and whether the digest was made anew."""
    fitted, entries, tensors = copy_whole(rng.choice(PAIRS), write)
    how, signed = rng.choice([alter_entries, alter_entries, alter_tensors, alter_bytes]), False
    if how is alter_entries:
        done = how(rng, entries)
    elif how is alter_tensors:
        done = how(rng, tensors)
    if how is not alter_bytes and rng.random() < 0.7:
        with suppress(ValueError):  # what is not finite has no digest
            entries["digest"], signed = sign(entries, tensors, write), True
    write(path, deepcopy(entries), tensors)
    if how is alter_bytes:
        done = how(rng, path)
    return fitted, entries, done, signed


def sign(entries, tensors, write):
    outside = ("digest", "provenance") if write is write_checkpoint else ("digest",)
    return compute_digest({name: value for name, value in entries.items() if name not in outside}, tensors)


def typed(value):
    """JSON in which True differs from 1, while 1 is 1.0."""
    return repr(json.loads(json.dumps(value, sort_keys=True), parse_int=float))


def load_run_of(path):
    return load_fitted(path.parent.parent / "config.yml")


def try_mutants(path, seeds, write, load, error_type):
    _, *whole = copy_whole(PAIRS[0], write)
    write(path, *whole)
    load(path)  # imports what it needs, which is no part of the time of any other
    refused = 0
    for seed in seeds:
        fitted, entries, done, signed = tamper(random.Random(seed), path, write)
        start = time.thread_time()
        try:
            loaded = load(path)
        except error_type as error:
            refused += 1
            message = str(error)
            assert message.startswith(str(path)), (seed, done, message)
            assert message.isprintable(), (seed, done, message)
            assert len(message) < len(str(path)) + 400, (seed, done, message)
        else:
            if signed:  # whoever makes the digest anew may state other values, but only such as a field may have
                stated = loaded.field.entries
                for name in ("kind", "network", "record"):
                    assert typed(stated[name]) == typed(entries[name]), (seed, done)
                assert all(
                    torch.isfinite(value).all() for value in loaded.state_dict().values() if torch.is_tensor(value)
                )
            else:
                np.testing.assert_array_equal(values_of(loaded), values_of(fitted), f"{seed}: {done}")
        assert time.thread_time() - start < SECONDS, (seed, done)
    return refused


def run_folder(tmp_path):
    (tmp_path / CHECKPOINT_FOLDER).mkdir()
    (tmp_path / "config.yml").write_text("not read")
    return tmp_path / CHECKPOINT_FOLDER / "step-000000009.ckpt"


def test_a_field_file_that_was_altered_is_itself_or_one_line(tmp_path):
    refused = try_mutants(tmp_path / "a.safetensors", range(300), write_file, load_field, FieldFileError)
    assert refused > 200


@pytest.mark.quality
def test_a_checkpoint_that_was_altered_is_itself_or_one_line(tmp_path):
    refused = try_mutants(run_folder(tmp_path), range(300), write_checkpoint, load_run_of, CheckpointError)
    assert refused > 180


@pytest.mark.quality
def test_thousands_of_altered_field_files_and_checkpoints(tmp_path):
    file, checkpoint = tmp_path / "a.safetensors", run_folder(tmp_path)
    assert try_mutants(file, range(1000, 2000), write_file, load_field, FieldFileError) > 700
    assert try_mutants(checkpoint, range(1000, 2000), write_checkpoint, load_run_of, CheckpointError) > 600


@pytest.mark.parametrize("pair", PAIRS)
def test_what_was_not_altered_loads(pair, tmp_path):
    fitted, checkpoint = make_fitted(*pair), run_folder(tmp_path)
    fitted.save(tmp_path / "a.safetensors")
    state = fitted.field.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    write_checkpoint(checkpoint, state["_extra_state"], tensors)
    for loaded in (load_field(tmp_path / "a.safetensors"), load_run_of(checkpoint)):
        np.testing.assert_array_equal(values_of(loaded), values_of(fitted))


def entries_of(path):
    with safe_open(path, "pt") as file:
        return {name: json.loads(value) for name, value in file.metadata().items() if name != "format"}


def change_network(**changes):
    return lambda entries, tensors: entries["network"].update(changes)


def change_record(**changes):
    return lambda entries, tensors: entries["record"].update(changes)


def drop(entry, name):
    return lambda entries, tensors: entries[entry].pop(name)


def fill(name, value):
    return lambda entries, tensors: tensors[name].reshape(-1)[:1].fill_(value)


def wide_claim(entries, tensors):
    """A weight of a gigabyte that is stored as one number."""
    entries["network"]["hidden_dim"] = 20_000
    tensors["network.2.weight"] = torch.zeros(1).expand(20_000, 20_000)


FORGED = [
    ("sdf", "siren", change_network(num_layers=True), "num_layers=True"),
    ("sdf", "siren", change_network(omega_0=True), "omega_0=True"),
    ("sdf", "siren", change_network(omega_0=30), "omega_0 is '30', which is of the wrong type"),
    ("image", "finer", change_network(scale_grad=0), "scale_grad is '0'"),
    ("sdf", "siren", drop("network", "omega_0"), "its network has no omega_0"),
    ("image", "finer", drop("network", "bias_range"), "its network has no bias_range"),
    ("sdf", "siren", drop("network", "hidden_dim"), "its network has no hidden_dim"),
    ("sdf", "siren", change_network(num_layers=100_000), "larger than the file"),
    ("sdf", "siren", change_network(hidden_dim=20_000), "larger than the file"),
    ("sdf", "siren", lambda entries, tensors: entries.update(kind="sculpture"), "is not one of: sdf, image"),
    ("sdf", "siren", lambda entries, tensors: entries.update(kind="volume"), "its record has"),
    ("sdf", "siren", lambda entries, tensors: entries.update(kind="\x1b[2J\n"), "is not one of"),
    ("sdf", "siren", lambda entries, tensors: entries.pop("digest"), "it has no digest"),
    ("sdf", "siren", fill("network.0.weight", math.nan), "weights are not finite"),
    ("sdf", "siren", fill("network.4.bias", -math.inf), "weights are not finite"),
    ("sdf", "siren", fill("center", math.nan), "normalisation is not finite"),
    ("sdf", "siren", fill("scale", math.inf), "normalisation is not finite"),
    ("sdf", "siren", fill("scale", 0.0), "normalisation is not finite"),
    ("sdf", "siren", fill("scale", 1e-308), "normalisation is not finite"),
    ("sdf", "siren", fill("scale", -1.0), "normalisation is not finite"),
    ("image", "siren", change_record(shape=[2**39, 2]), "out of range"),
    ("audio", "siren", change_record(shape=[2**39]), "out of range"),
    ("audio", "siren", change_record(sample_rate=1e308), "sample_rate"),
    ("audio", "siren", change_record(sample_rate=1e200), "sample_rate is 1e+200; it must be from 1e-100 to 1e+100"),
    ("audio", "siren", change_record(sample_rate=0.0), "sample_rate"),
    ("audio", "siren", change_record(sample_rate=True), "sample_rate"),
    ("volume", "siren", change_record(level=math.nan), "level"),
    ("volume", "siren", change_record(smoothed=1), "smoothed"),
]


def forge(path, write, kind, network, change):
    """Write a field that whoever wrote it states to be whole."""
    fitted = make_fitted(kind, network)
    entries = json.loads(json.dumps({**fitted.field.entries, "provenance": dict(PROGRESS)}))
    tensors = {name: value for name, value in fitted.field.state_dict().items() if isinstance(value, torch.Tensor)}
    entries["digest"] = ""
    change(entries, tensors)
    if "digest" in entries:
        with suppress(ValueError):
            entries["digest"] = sign(entries, tensors, write)
    write(path, entries, tensors)


@pytest.mark.parametrize("kind, network, change, words", FORGED)
def test_both_files_are_held_to_the_same_rules(tmp_path, kind, network, change, words):
    file, checkpoint = tmp_path / "a.safetensors", run_folder(tmp_path)
    forge(file, write_file, kind, network, change)
    with pytest.raises(FieldFileError) as caught:
        load_field(file)
    assert words in str(caught.value) or "JSON has no NaN" in str(caught.value)
    forge(checkpoint, write_checkpoint, kind, network, change)
    with pytest.raises(CheckpointError) as caught:
        load_run_of(checkpoint)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_weight_that_claims_more_values_than_it_holds_takes_no_memory(tmp_path):
    checkpoint = run_folder(tmp_path)
    fitted = make_fitted("sdf", "siren")
    tensors = {name: value for name, value in fitted.field.state_dict().items() if isinstance(value, torch.Tensor)}
    entries = {**fitted.field.entries, "digest": "0" * 64}
    wide_claim(entries, tensors)
    write_checkpoint(checkpoint, entries, tensors)
    assert checkpoint.stat().st_size < 20_000
    with pytest.raises(CheckpointError, match="is not a plain tensor"):
        load_run_of(checkpoint)


def test_a_checkpoint_that_unpacks_to_more_than_it_is_is_not_unpacked(tmp_path):
    checkpoint = run_folder(tmp_path)
    tensors = {"center": torch.zeros(1 << 22)}
    write_checkpoint(tmp_path / "large.ckpt", {}, tensors)
    with (
        zipfile.ZipFile(tmp_path / "large.ckpt") as large,
        zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in large.namelist():
            small.writestr(name, large.read(name))
    with pytest.raises(CheckpointError, match="it unpacks to more than it is"):
        load_run_of(checkpoint)


def test_any_damaged_bit_of_the_weights_is_found(tmp_path):
    """Neither safetensors nor torch compares check sums."""
    file, checkpoint = tmp_path / "a.safetensors", run_folder(tmp_path)
    fitted = make_fitted("sdf", "siren")
    fitted.save(file)
    state = fitted.field.state_dict()
    extra = state.pop("_extra_state")
    write_checkpoint(checkpoint, extra, state)
    weights = state["network.2.weight"].numpy().tobytes()
    for path, load, error in ((file, load_field, FieldFileError), (checkpoint, load_run_of, CheckpointError)):
        whole = path.read_bytes()
        start = whole.index(weights)
        for place in range(start, start + len(weights), 5):
            damaged = bytearray(whole)
            damaged[place] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(error, match=r"digest|damaged"):
                load(path)


class Tanh(CoordinateNetwork):
    """A network of another package, with an argument that no file can hold."""

    def __init__(self, in_dim, out_dim, hidden_dim=8, num_layers=2, gain=1, bend=0.5, make=nn.Tanh):
        super().__init__(in_dim, out_dim, hidden_dim, num_layers, lambda index: make())
        self.gain, self.bend = gain, bend


def test_a_network_of_another_package_is_stored_with_all_its_numbers(tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "tanh", Tanh)
    fitted = make_fitted("sdf", "tanh")
    path = tmp_path / "a.safetensors"
    fitted.save(path)
    stated = {"name": "tanh", "in_dim": 3, "out_dim": 1, "hidden_dim": 8, "num_layers": 2, "gain": 1, "bend": 0.5}
    assert entries_of(path)["network"] == stated
    np.testing.assert_array_equal(values_of(load_field(path)), values_of(fitted))
    monkeypatch.delitem(NETWORKS, "tanh")
    with pytest.raises(FieldFileError, match="network='tanh' is not one of: siren"):
        load_field(path)


def test_a_default_that_changes_changes_no_stored_field(tmp_path, monkeypatch):
    fitted, path = make_fitted("sdf", "siren"), tmp_path / "a.safetensors"
    fitted.save(path)
    siren = NETWORKS["siren"]

    def changed(in_dim, out_dim, hidden_dim=8, num_layers=2, omega_0=1.0, first_omega_0=1.0):
        return siren(in_dim, out_dim, hidden_dim, num_layers, omega_0, first_omega_0)

    monkeypatch.setitem(NETWORKS, "siren", changed)
    np.testing.assert_array_equal(values_of(load_field(path)), values_of(fitted))


def test_a_field_whose_fit_has_diverged_is_not_written(tmp_path):
    fitted = make_fitted("sdf", "siren")
    with torch.no_grad():
        fitted.field.network[0].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"a\.safetensors: not written, because its weights are not finite"):
        fitted.save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.commands
def test_every_command_refuses_a_damaged_checkpoint_in_one_line(tmp_path):
    from .conftest import call, fit

    config = fit(
        "winner-image", "sample:mandala", tmp_path, 12, pipeline__datamanager__dataparser__options__max_side=24
    )
    (path,) = (config.parent / CHECKPOINT_FOLDER).iterdir()
    whole, state = path.read_bytes(), torch.load(path, weights_only=True)
    moments = deepcopy(state)
    moments["optimizers"]["fields"]["state"][0]["exp_avg"] = torch.zeros(3)
    altered = deepcopy(state)
    altered["pipeline"]["_model.field.network.0.weight"][0, 0] += 1
    spoiled = deepcopy(state)
    spoiled["pipeline"]["_model._extra_state"]["history"] = {"x": 1}
    resume = ["ns-train", "winner-image", "--data", "sample:mandala", "--load-dir", path.parent]
    resume += ["--pipeline.model.hidden-dim", "24", "--pipeline.model.num-layers", "2", "--max-num-iterations", "12"]
    evaluate = ["ns-eval", "--load-config", config, "--output-path", "e.json"]
    export = ["winner-export", "field", "--load-config", config, "--output", "a.safetensors"]
    for number, (content, commands) in enumerate(
        [
            (whole[: len(whole) // 2], (resume, evaluate, export)),
            ({"step": 9}, (resume, evaluate, export)),
            (altered, (resume, evaluate, export)),
            (spoiled, (resume, evaluate, export)),
            (moments, (resume,)),
        ]
    ):
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        for command in commands:
            tail = ["image-data", "--max-side", "24"] if command is resume else []
            result = call(*command, *tail, cwd=tmp_path)
            lines = result.output.splitlines()
            assert result.returncode == 1, (number, command, result.output)
            assert "Traceback" not in result.output
            assert sum(line.startswith("error: ") for line in lines) == 1, (number, command, result.output)
    assert not (tmp_path / "e.json").exists()
    assert not (tmp_path / "a.safetensors").exists()
    shutil.rmtree(Path(config).parent)


def test_files_of_before_are_refused(tmp_path):
    """Nothing was released without a digest, so none is believed without one."""
    path = tmp_path / "a.safetensors"
    make_fitted("sdf", "siren").save(path)
    with safe_open(path, "pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != "digest"}
    save_file(load_file(path), path, metadata)
    with pytest.raises(FieldFileError, match="it has no digest"):
        load_field(path)
