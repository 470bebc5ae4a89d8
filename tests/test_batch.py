"""Many files at once: what becomes of each, that nothing is done twice, and that no company changes a bit."""

import copy
import csv
import io
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
import weakref
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tifffile
import torch
import trimesh
from PIL import Image
from torch.utils.data import DataLoader

from winner_nerfstudio import fit, fit_many, load_field, load_fields
from winner_nerfstudio.batch.job import Job
from winner_nerfstudio.batch.sources import BatchError, compute_file_digest, find_files, identify_file
from winner_nerfstudio.batch.store import Row, Store
from winner_nerfstudio.batch.tasks import Fit, Loaded, TaskFile, _write
from winner_nerfstudio.cli import batch as command
from winner_nerfstudio.export.grid import export_audio
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.fields.pack import FieldPlace
from winner_nerfstudio.networks import NETWORKS, Siren
from winner_nerfstudio.signals.samples import IMAGES
from winner_nerfstudio.training import stack
from winner_nerfstudio.training.stack import SharedStart

from .test_field_file import distance_field

QUICK = {"steps": 4, "hidden_dim": 16, "num_layers": 2, "progress": False}
BAD = {"empty.png": b"", "cut.png": b"\x89PNG\r\n\x1a\n....", "what.xyzzy": b"?", "noise.wav": b"RIFFRIFF"}


def write_crops(folder, count, side=12, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    picture = IMAGES["mandala"]()
    for index in range(first, first + count):
        corner = 5 * index
        Image.fromarray(picture[corner : corner + side, corner : corner + side]).save(folder / f"{index:02}.png")


@pytest.fixture
def mixed(tmp_path):
    """A folder with pictures of two sizes, sounds, an array, and files that cannot be fitted."""
    folder = tmp_path / "files"
    write_crops(folder, 4)
    write_crops(folder / "larger", 2, 16, 4)
    for index in range(2):
        soundfile.write(folder / f"tone{index}.wav", 0.5 * np.sin(np.arange(300) * (0.1 + 0.1 * index)), 8000)
    np.save(folder / "ball.npy", np.random.default_rng(0).random((6, 6, 6)))
    for name, content in BAD.items():
        (folder / name).write_bytes(content)
    return folder


def contents(folder):
    """The bytes of all fields by their files' names."""
    return {path.name: path.read_bytes() for path in (folder / "fields").iterdir()}


def without_times(folder):
    """The lines of a table without the seconds, which differ from run to run."""
    with (folder / "table.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_every_good_file_has_a_field_and_every_bad_one_the_line_that_fit_refuses_it_with(mixed, tmp_path):
    batch = fit_many(mixed, tmp_path / "out", **QUICK)
    rows = {Path(row.path).name: row for row in batch.rows}
    assert len(rows) == 9 + len(BAD)
    for name in BAD:
        with pytest.raises(ValueError, match=name) as refused:
            fit(mixed / name, progress=False)
        assert (rows[name].status, rows[name].error, rows[name].field) == ("failed", str(refused.value), "")
    good = [row for row in batch.rows if row.field]
    assert {row.kind for row in good} == {"image", "audio", "volume"}
    assert any(row.status == "poor" for row in good)
    assert all((row.status == "poor") == bool(row.error) for row in good)
    for row in good:
        field = load_field(tmp_path / "out" / row.field)
        assert field.kind == row.kind
        assert field.provenance["figures"] == row.metrics
    table = without_times(tmp_path / "out")
    assert [line["path"] for line in table] == [row.path for row in batch.rows]
    assert [float(line["psnr"] or "nan") for line in table] == pytest.approx(
        [row.metrics.get("psnr", float("nan")) for row in batch.rows], nan_ok=True
    )


def test_small_pictures_are_fitted_well_by_default(tmp_path):
    write_crops(tmp_path / "crops", 3, 32)
    batch = fit_many(tmp_path / "crops", tmp_path / "out", progress=False)
    assert np.mean([row.metrics["psnr"] for row in batch.rows]) > 31
    assert {row.bytes for row in batch.rows} == {4 * (2 * 32 + 32 + 3 * (32 * 32 + 32) + 32 * 3 + 3)}


def test_torchs_modes_of_the_program_that_calls_change_no_fit(tmp_path):
    write_crops(tmp_path / "crops", 3)
    fit_many(tmp_path / "crops", tmp_path / "plain", shared_start=2, **QUICK)
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            fit_many(tmp_path / "crops", tmp_path / "other", shared_start=2, **QUICK)
    finally:
        torch.set_default_dtype(torch.float32)
    assert contents(tmp_path / "other") == contents(tmp_path / "plain")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["colour", "grey", "sound"])
def test_a_fit_is_the_same_to_the_bit_in_any_company_and_order(tmp_path, kind):
    # 507, 169 or 333 values of each: nothing but the width is a multiple of a vector's length.
    files = tmp_path / "files"
    if kind == "sound":
        files.mkdir()
        for index in range(7):
            soundfile.write(files / f"{index}.wav", 0.5 * np.sin(np.arange(333) * (0.1 + 0.05 * index)), 8000)
    else:
        write_crops(files, 7, 13)
        for path in files.iterdir() if kind == "grey" else ():
            Image.open(path).convert("L").save(path)
    quick = {**QUICK, "hidden_dim": 20}
    together = fit_many(files, tmp_path / "together", **quick)
    paths = [row.path for row in together.rows]
    fit_many(paths[:1], tmp_path / "apart", **quick)
    fit_many(paths[5:0:-1], tmp_path / "apart", **quick)
    fit_many(paths, tmp_path / "apart", **quick)
    assert len(contents(tmp_path / "together")) == 7
    assert contents(tmp_path / "apart") == contents(tmp_path / "together")


def test_nothing_is_fitted_twice_but_what_has_changed(tmp_path, monkeypatch):
    crops, out = tmp_path / "crops", tmp_path / "out"
    write_crops(crops, 3)
    first, fitted = fit_many(crops, out, **QUICK), []
    actual = Store.write
    monkeypatch.setattr(Store, "write", lambda self, *given: fitted.extend(given[1]) or actual(self, *given))
    again = fit_many(crops, out, **QUICK)
    assert (list(again.rows), fitted) == (list(first.rows), [])
    (crops / "twin.png").write_bytes((crops / "00.png").read_bytes())  # the same contents need no fit of their own
    (crops / "01.png").rename(crops / "renamed.png")
    fit_many(crops, out, **QUICK)
    assert fitted == []
    write_crops(crops, 1, first=9)
    fit_many(crops, out, **QUICK)
    assert [Path(row.path).name for row in fitted] == ["09.png"]
    fitted.clear()
    changed = fit_many(crops, out, **{**QUICK, "exactness": 0.3})
    assert len(fitted) == len({row.digest for row in changed.rows}) == 4
    assert not {row.field for row in changed.rows} & {row.field for row in first.rows}


def write_nhdr(folder, seed):
    values = np.random.default_rng(seed).random((6, 6, 6)).astype(np.float32)
    folder.mkdir(exist_ok=True)
    header = "NRRD0005\ntype: float\ndimension: 3\nsizes: 6 6 6\nendian: little\nencoding: raw\ndata file: a.raw\n\n"
    (folder / "a.nhdr").write_text(header)
    (folder / "a.raw").write_bytes(values.tobytes())


def test_files_of_the_same_contents_whose_data_lie_beside_them_have_fields_of_their_own(tmp_path):
    for seed, folder in enumerate("abc"):
        write_nhdr(tmp_path / folder, seed // 2)
    files = [tmp_path / folder / "a.nhdr" for folder in "abc"]
    first, twin, other = fit_many(files, tmp_path / "out", **QUICK).rows
    assert first.digest == other.digest
    assert (first.field == twin.field, first.field == other.field) == (True, False)
    write_nhdr(tmp_path / "a", 1)
    again = fit_many(files, tmp_path / "out", **QUICK)
    assert (again.seconds, again.rows[0].field) == (0, other.field)
    array = fit_many(files[0], tmp_path / "out", reference=files[1], **QUICK).rows[0]
    write_nhdr(tmp_path / "b", 2)
    assert fit_many(files[0], tmp_path / "out", reference=files[1], **QUICK).rows[0].field != array.field


def test_files_of_the_same_contents_that_their_suffixes_let_mean_something_else_are_no_twins(tmp_path):
    normals = np.random.default_rng(0).normal(size=(300, 3))
    points = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    names = ("p.xyzn", "p.xyzrgb", "q.XYZRGB")
    for name in names:
        np.savetxt(tmp_path / name, np.hstack([points, np.rint(99 + 99 * points)]))
    rows = fit_many([tmp_path / name for name in names], tmp_path / "out", measure=False, **QUICK).rows
    assert [row.status == "failed" for row in rows] == [True, False, False]
    assert rows[1].field == rows[2].field


def make_ome():
    """The bytes of a .tif file that names another one of the same stack."""
    file = io.BytesIO()
    text = '<OME><UUID FileName="b.tif">urn:uuid:1</UUID></OME>'
    tifffile.imwrite(file, np.zeros((8, 8), np.uint8), description=text, metadata=None)
    return file.getvalue()


@pytest.mark.parametrize(
    ("contents", "named"),
    [
        ({"a.obj": b"# any\n mtllib \\\na.mtl\n"}, "a.mtl"),
        ({"a.obj": b"mtllib a.mtl\n", "a.mtl": b"newmtl one\nmap_Kd -s 2 2 2 map.png\n"}, "map.png"),
        ({"a.ply": b"ply\ncomment TextureFile map.png\nend_header\n"}, "map.png"),
        ({"a.gltf": b'{"buffers": [{"uri": "a%20b.bin"}, {"uri": "data:,x"}, {"byteLength": 1}]}'}, "a b.bin"),
        ({"a.gltf": b'{"images": [{"uri": "none.png"}, {"uri": "map.png"}]}'}, "map.png"),
        ({"a.nrrd": b"NRRD0004\r\ndata file: a.raw\r\n\r\n"}, "a.raw"),
        ({"a.tif": make_ome()}, "b.tif"),
    ],
)
def test_a_file_is_another_one_if_one_that_it_names_is_there_or_has_changed(tmp_path, contents, named):
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    known = [identify_file(tmp_path / next(iter(contents)))]
    for content in (b"first", b"other"):
        (tmp_path / named).write_bytes(content)
        known.append(identify_file(tmp_path / next(iter(contents))))
    assert len(set(map(tuple, known))) == 3


def test_a_shared_start_gives_its_hidden_layers_to_networks_of_its_shape():
    network = Siren(2, 3, 8, 2)
    last = network[-1].weight.clone()
    start = SharedStart(3, ((torch.ones(8, 2), torch.zeros(8)), (torch.ones(8, 8), torch.zeros(8))))
    assert start.apply(network)
    assert network[0].weight.eq(1).all()
    assert network[2].weight.eq(1).all()
    assert torch.equal(network[-1].weight, last)
    assert not start.apply(Siren(2, 3, 16, 2))


@pytest.mark.parametrize("options", [{}, {"init": "siren"}, {"s0": 3.0, "s1": 0.1}, {"hidden_biases": 0.5}])
def test_a_shared_start_is_fitted_as_the_networks_that_get_it(options, tmp_path, monkeypatch):
    write_crops(tmp_path, 3)
    options, begun = {**options, "omega_0": 7.0, "first_omega_0": 9.0}, []
    monkeypatch.setattr(stack, "_train", lambda begins, *_: begun.append(copy.deepcopy(begins)))
    fit_many(tmp_path, tmp_path / "out", shared_start=2, **options, **QUICK)
    shared, own = begun
    assert (shared.omega_0, shared.first_omega_0) == (own.omega_0, own.first_omega_0) == (7, 9)
    if "init" in options:
        bound = 1 / 2  # SIREN's of a first layer of two inputs
        assert shared.weights[0].abs().max() <= bound
    assert shared.biases[1].any() == ("hidden_biases" in options or "init" in options or "s0" in options)


@pytest.mark.parametrize("kind", [*NETWORKS])
def test_the_weights_of_any_network_are_all_that_is_trained(kind, tmp_path):
    network = distance_field(kind)
    network.save(tmp_path / "field.safetensors")
    row = FieldPlace(tmp_path / "field.safetensors").load_weights()
    trained = dict(network.field.network.named_parameters())
    assert len(row) == sum(parameter.numel() for parameter in trained.values())
    if kind in ("siren", "bank"):
        names = [f"{name}.{layer}" for layer in range(3) for name in ("weights", "biases")]
        order = names if kind == "bank" else [*trained]
        assert torch.equal(row, torch.cat([trained[name].reshape(-1) for name in order]))


def test_fits_with_a_shared_start_are_other_fits_than_those_without(tmp_path):
    write_crops(tmp_path / "crops", 4)
    (tmp_path / "crops" / "bad.png").write_bytes(b"")
    own = fit_many(tmp_path / "crops", tmp_path / "out", **QUICK)
    shared = fit_many(tmp_path / "crops", tmp_path / "out", shared_start=3, **QUICK)
    assert not {row.field for row in shared.rows if row.field} & {row.field for row in own.rows}
    assert shared.fields[0].provenance["initialization"] == "shared start of 3 signals"
    with pytest.raises(BatchError, match="hold no 5 small signals of one size"):
        fit_many(tmp_path / "crops", tmp_path / "out", shared_start=5, **QUICK)


def test_a_shared_start_is_trained_once_for_the_same_files_and_options(tmp_path, monkeypatch):
    from winner_nerfstudio.batch import shared

    counts, actual = [], shared.fit_shared_start
    monkeypatch.setattr(
        shared, "fit_shared_start", lambda group, *given: counts.append(len(group)) or actual(group, *given)
    )
    write_crops(tmp_path / "crops", 3)
    quick = {**QUICK, "measure": False}
    first = fit_many(tmp_path / "crops", tmp_path / "out", shared_start=2, **quick)
    with monkeypatch.context() as patched:  # as another number of threads rounds in another way
        patched.setattr(stack, "_train", lambda *_: None)
        assert fit_many(tmp_path / "crops", tmp_path / "out", shared_start=2, **quick).seconds == 0
    assert counts == [2]
    fit_many(tmp_path / "crops", tmp_path / "out", shared_start=3, **quick)
    write_crops(tmp_path / "crops", 1, first=9)
    added = fit_many(tmp_path / "crops", tmp_path / "out", shared_start=2, **quick)
    assert counts == [2, 3]
    assert [row.field for row in added.rows[:3]] == [row.field for row in first.rows]
    for path in (tmp_path / "out" / "starts").iterdir():
        path.write_bytes(b"")
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / first.rows[0].field).unlink()
    fit_many(tmp_path / "crops", tmp_path / "out", shared_start=2, **quick)
    assert counts == [2, 3, 2]
    assert contents(tmp_path / "out") == whole


def test_a_shared_start_is_not_trained_while_another_run_writes_and_its_count_is_checked_first(tmp_path, monkeypatch):
    from winner_nerfstudio.batch import many

    monkeypatch.setattr(many, "add_shared_start", lambda *_: pytest.fail("files are read"))
    write_crops(tmp_path / "crops", 2)
    for count in (-1, 1.5):
        with pytest.raises(BatchError, match=f"shared_start={count} must be a whole number of signals, 0 for none"):
            fit_many(tmp_path / "crops", tmp_path / "out", shared_start=count, **QUICK)
    assert not (tmp_path / "out").exists()
    pytest.importorskip("fcntl", reason="Windows has no such locks")
    with Store(tmp_path / "out", False).open(), pytest.raises(OSError, match="another run writes into it"):
        fit_many(tmp_path / "crops", tmp_path / "out", shared_start=2, **QUICK)


def test_a_table_keeps_the_fields_of_other_files_even_if_a_run_fails_at_once(tmp_path, monkeypatch, capsys):
    from winner_nerfstudio.batch import many

    out, table = tmp_path / "out", tmp_path / "out" / "table.csv"
    write_crops(tmp_path / "a", 3)
    write_crops(tmp_path / "b", 2, first=5)
    (tmp_path / "a" / "empty.png").touch()
    first = fit_many(tmp_path / "a", out, **QUICK)
    before = table.read_text()
    (out / first.rows[1].field).unlink()
    second = fit_many(tmp_path / "b", out, pack=True, measure=False, **QUICK)
    kept = [first.rows[0].path, first.rows[2].path]
    assert load_fields(out).paths == (*second.fields.paths, *kept)
    assert [float(line["psnr"]) for line in without_times(out)[2:]] == [first.rows[i].metrics["psnr"] for i in (0, 2)]
    before = table.read_text()

    def fail(*_):
        raise OSError("no space left")

    write_crops(tmp_path / "c", 1, first=9)
    with monkeypatch.context() as patched:
        patched.setattr(many, "run_task", fail)
        with pytest.raises(OSError, match="no space left"):
            fit_many(tmp_path / "c", out, **QUICK)
    assert load_fields(out).paths == (*second.fields.paths, *kept)
    assert len(table.read_text()) == len(before)
    (tmp_path / "a" / "00.png").rename(tmp_path / "b" / "renamed.png")
    assert len(fit_many(tmp_path / "b", out, pack=True, **QUICK).rows) == 3
    table.write_bytes(b"\xff")
    fit_many(tmp_path / "b", out, pack=True, **{**QUICK, "progress": True})
    assert f"warning: {table}: cannot be read" in " ".join(capsys.readouterr().out.split())
    assert len(load_fields(out)) == 3


def test_a_field_that_was_removed_is_fitted_again(tmp_path):
    write_crops(tmp_path / "crops", 2)
    before = fit_many(tmp_path / "crops", tmp_path / "out", **QUICK)
    kept = contents(tmp_path / "out")
    (tmp_path / "out" / before.rows[1].field).unlink()
    fit_many(tmp_path / "crops", tmp_path / "out", **QUICK)
    assert contents(tmp_path / "out") == kept


@pytest.mark.parametrize("pack", [False, True])
def test_a_field_that_was_cut_off_is_refused_with_what_repairs_it_and_is_fitted_again(tmp_path, pack):
    write_crops(tmp_path / "crops", 2)
    batch = fit_many(tmp_path / "crops", tmp_path / "out", pack=pack, **QUICK)
    path = tmp_path / "out" / batch.rows[0].field.partition("#")[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for read in (batch.fields.__getitem__, batch.fields.weights().__getitem__):
        with pytest.raises(FieldFileError, match=f"{path.name}: not a whole .*; remove that file and run the batch ag"):
            read(0)
    again = fit_many(tmp_path / "crops", tmp_path / "out", pack=pack, **QUICK)
    assert path.read_bytes() == whole
    assert again.fields[0].provenance["figures"] == batch.rows[0].metrics


def test_a_damaged_table_is_refused_in_one_line_that_names_it(tmp_path):
    write_crops(tmp_path / "crops", 2)
    fit_many(tmp_path / "crops", tmp_path / "out", pack=True, **QUICK)
    table = tmp_path / "out" / "table.csv"
    whole = table.read_bytes()
    damages = [whole.replace(b"#1", b"#x"), whole.replace(b"#1", b"#-1"), whole + b"\xff", b"\n", b"", b"path\na.png\n"]
    damages += [whole.replace(b"packs/", outside) for outside in (b"../packs/", b"/packs/")]
    for damaged in [*damages, whole + b'"' + b"a" * 200_000 + b'",']:
        table.write_bytes(damaged)
        with pytest.raises(FieldFileError, match=r"table\.csv: is no whole table \(.*\); run the batch again"):
            load_fields(tmp_path / "out")
    table.write_bytes(whole.replace(b"#1", b"#9"))
    for read in (load_fields(tmp_path / "out").__getitem__, load_fields(tmp_path / "out").weights().__getitem__):
        with pytest.raises(FieldFileError, match=r"\.safetensors.*9.*; remove that file and run the batch again"):
            read(1)


@pytest.mark.parametrize("content", ["", "\xff", "[]", '[{"path": 3}]', '[{"path": "a", "field": "fields/a#b"}]'])
def test_a_damaged_record_is_left_out_in_one_line_and_its_files_are_fitted_again(tmp_path, content, capsys):
    write_crops(tmp_path / "crops", 2)
    fit_many(tmp_path / "crops", tmp_path / "out", **QUICK)
    kept = contents(tmp_path / "out")
    (record,) = (tmp_path / "out" / "records").iterdir()
    rows = f'{{"format": "winner-nerfstudio batch 1", "rows": {content}}}' if content.startswith("[{") else content
    record.write_text(rows, encoding="latin-1")
    batch = fit_many(tmp_path / "crops", tmp_path / "out", **{**QUICK, "progress": True})
    assert f"warning: {record}: is no whole record and is left out" in capsys.readouterr().out
    assert [row.status == "failed" for row in batch.rows] == [False, False]
    assert contents(tmp_path / "out") == kept


def test_fields_say_which_files_they_were_fitted_to_and_how_many_there_are(mixed, tmp_path):
    fields = fit_many(mixed, tmp_path / "out", **QUICK).fields
    assert repr(fields) == "<9 fields: 6 image, 1 volume, 2 audio>"
    rows = [line for line in without_times(tmp_path / "out") if line["field"]]
    assert fields.paths == tuple(line["path"] for line in rows)
    assert fields[2:5].paths == fields.paths[2:5]
    assert [field.kind for field in fields] == [line["kind"] for line in rows]


@pytest.fixture(scope="module")
def colored(tmp_path_factory):
    """The folder of a batch of one shape with colours."""
    folder = tmp_path_factory.mktemp("colored")
    box = trimesh.creation.box()
    box.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (8, 4)).astype(np.uint8)
    box.export(folder / "box.ply")
    return fit_many(folder / "box.ply", folder / "out", measure=False, **QUICK).folder


def test_the_weights_of_a_coloured_shape_are_those_of_both_networks(colored):
    fields = load_fields(colored)
    parts = [*fields[0].field.network.parameters(), *fields[0].companion.network.parameters()]
    assert torch.equal(fields.weights()[0], torch.cat([part.reshape(-1) for part in parts]))
    (line,) = without_times(colored)
    assert int(line["bytes"]) == 4 * len(fields.weights()[0])


def test_a_shape_whose_colours_have_diverged_has_no_field(colored, tmp_path):
    fitted = load_fields(colored)[0]
    next(fitted.companion.network.parameters()).fill_(float("nan"))
    file = TaskFile(Path("box.ply"), "", "sdf", "0" * 64)
    fit = Fit(fitted.field, fitted.companion, {}, 4, {}, "", 0.0)
    (row,) = _write(Job(tmp_path, {}), [Loaded(file, None, None, 0.0)], [fit])
    assert (row.status, row.error) == ("failed", "box.ply: the fit has diverged; try a learning rate")


def test_packs_hold_the_same_fields_and_give_their_weights(mixed, tmp_path):
    single = fit_many(mixed, tmp_path / "single", **QUICK)
    packed = fit_many(mixed, tmp_path / "packed", pack=True, **QUICK)
    assert not any((tmp_path / "packed" / "fields").iterdir())
    assert len(packed.fields) == len(single.fields) == 9
    for ours, theirs in zip(packed.fields, single.fields, strict=True):
        assert ours.kind == theirs.kind
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    path = tmp_path / "packed" / next(row.field for row in packed.rows if row.kind == "image").partition("#")[0]
    fields = load_fields(path)
    assert [field.kind for field in fields[1:3]] == ["image", "image"]
    (batch,) = DataLoader(fields.weights(), batch_size=len(fields))
    for weights, field in zip(batch, fields, strict=True):
        assert torch.equal(weights, torch.cat([each.reshape(-1) for each in field.field.network.parameters()]))


def test_a_pack_that_was_altered_is_refused_in_one_line(tmp_path):
    write_crops(tmp_path / "crops", 2)
    batch = fit_many(tmp_path / "crops", tmp_path / "out", pack=True, **QUICK)
    path = tmp_path / "out" / batch.rows[0].field.partition("#")[0]
    with pytest.raises(FieldFileError, match="is a pack of many fields, which load_fields reads"):
        load_field(path)
    with pytest.raises(FieldFileError, match=r"holds no single field; .*; load_fields reads that of a batch"):
        load_field(tmp_path / "out")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(FieldFileError, match=r"packs/\w+\.safetensors: field 1: .* it was altered"):
        load_fields(path)[1]
    path.write_bytes(content[:50])
    with pytest.raises(FieldFileError, match="not a whole safetensors file"):
        load_fields(path)
    with pytest.raises(FieldFileError, match=r"has no table\.csv"):
        load_fields(tmp_path)


def test_folders_patterns_and_lists_name_files_once(mixed, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text("kind,path\nimage,files/00.png\nimage,sample:mandala\n")
    plain = tmp_path / "plain.csv"
    plain.write_text("files/00.png\nfiles/01.png\n")
    assert find_files(listed, tmp_path / "out") == [mixed / "00.png", Path("sample:mandala")]
    assert find_files(plain, tmp_path / "out") == [mixed / "00.png", mixed / "01.png"]
    assert find_files(str(mixed / "**" / "*.png"), tmp_path / "out")[-1] == mixed / "larger" / "05.png"
    whole = find_files(mixed, mixed / "larger")  # results within the folder are no files of it
    assert len(whole) == len(set(whole)) == 7 + len(BAD)
    assert find_files([mixed, str(mixed / "*.wav")], tmp_path / "out") == find_files(mixed, tmp_path / "out")
    (tmp_path / "none").mkdir()
    for source in (tmp_path / "none", "*.nothing"):
        with pytest.raises(BatchError, match="holds no files"):
            find_files(source, tmp_path / "out")
    with pytest.raises(BatchError, match="no such file or folder"):
        find_files(tmp_path / "missing", tmp_path / "out")


def test_a_name_that_is_not_utf8_stands_in_the_table_with_escapes(tmp_path):
    write_crops(tmp_path / "crops", 2)
    named = [tmp_path / "crops" / os.fsdecode(name) for name in (b"lat\xe9.png", b"bad\xe9.png")]
    try:
        (tmp_path / "crops" / "00.png").rename(named[0])
    except OSError:
        pytest.skip("this file system has only names of UTF-8")
    named[1].touch()
    (tmp_path / "list.csv").write_bytes(b"crops/lat\xe9.png\ncrops/bad\xe9.png\n")
    for source in (tmp_path / "crops", str(tmp_path / "crops" / "*\udce9.png"), tmp_path / "list.csv"):
        batch = fit_many(source, tmp_path / "out", **QUICK)
        (failed,) = batch.failed
        assert failed.error.startswith(f"{tmp_path}/crops/bad\\udce9.png: is empty; is the file whole?")
        table = {row["path"]: row["status"] for row in without_times(tmp_path / "out")}
        assert table[f"{tmp_path}/crops/bad\\udce9.png"] == "failed"
        assert f"{tmp_path}/crops/lat\\udce9.png" in batch.fields.paths
        assert batch.fields[-1].kind == "image"
    assert batch.seconds == 0, "it is not fitted again"
    table = Store(tmp_path / "out", False).write_table([Row("a", error="lat\udce9.png: the fit has diverged")])
    assert "lat\\udce9.png: the fit" in table[0].read_text()


def test_what_is_written_under_a_name_that_is_not_utf8_can_be_read_again(tmp_path):
    folder = tmp_path / os.fsdecode(b"lat\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has only names of UTF-8")
    soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(np.arange(300) * 0.1), 8000)
    (tmp_path / "tone.wav").rename(folder / "tone.wav")
    fitted = fit(folder / "tone.wav", measure=False, **QUICK)
    fitted.save(folder / "fit.safetensors")
    assert load_field(folder / "fit.safetensors").kind == "audio"
    export_audio(fitted.field, folder / "fit.flac")
    assert fit(folder / "fit.flac", measure=False, **QUICK).field.record.shape == (300,)
    for pack in (False, True):
        batch = fit_many(folder / "tone.wav", folder / f"out-{pack}", pack=pack, measure=False, **QUICK)
        assert batch.fields[0].kind == "audio"
        assert len(batch.fields.weights()[0])


def test_a_name_that_is_long_in_bytes_does_not_end_the_batch_and_is_cut_in_that_of_the_field(tmp_path):
    for name in ("p0", "写" * 78, "p1"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(ord(name[-1])).random((12, 12)))
    batch = fit_many(str(tmp_path / "*.npy"), tmp_path / "out", measure=False, **QUICK)
    assert not batch.failed
    assert batch.rows[2].field.startswith(f"fields/{'写' * 60}-")


def test_a_folder_that_is_one_signal_may_hold_names_that_are_not_utf8(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    try:
        (tmp_path / "a.zarr" / "lat\udce9").touch()
    except OSError:
        pytest.skip("this file system has only names of UTF-8")
    assert len(compute_file_digest(tmp_path / "a.zarr")) == 64


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")
def test_a_folder_is_walked_once_whatever_links_lead_to_it(tmp_path):
    write_crops(tmp_path / "crops" / "within", 2)
    for name, target in [("within/loop", ".."), ("self", "self"), ("twin", "within"), ("gone", "nowhere")]:
        (tmp_path / "crops" / name).symlink_to(target)
    found = [str(path.relative_to(tmp_path / "crops")) for path in find_files(tmp_path / "crops", tmp_path / "out")]
    assert found == ["gone", "self", "twin/00.png", "twin/01.png"]
    matched = find_files(str(tmp_path / "crops" / "**" / "0?.png"), tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "crops")) for path in matched] == ["twin/00.png", "twin/01.png"]
    batch = fit_many(tmp_path / "crops", tmp_path / "out", kind="image", **QUICK)
    assert [row.status == "failed" for row in batch.rows] == [True, True, False, False]
    (tmp_path / "list.csv").write_text("path\ncrops/self\n")
    assert find_files(tmp_path / "list.csv", tmp_path / "out") == [tmp_path / "crops" / "self"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_a_socket_or_a_device_is_a_row_that_says_so_and_is_not_read(tmp_path, monkeypatch):
    write_crops(tmp_path / "crops", 1)
    monkeypatch.chdir(tmp_path / "crops")
    for name in ("a.npy", "a.png", "a.txt"):
        os.mkfifo(name)
    os.symlink("/dev/zero", "b.png")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("c.png")
        for kind in (None, "image"):
            batch = fit_many(".", tmp_path / "out", kind, **QUICK)
            line = "is no regular file but a pipe, a socket or a device; write what it holds into a file"
            assert [row.error for row in batch.failed] == [
                f"{name}: {line}" for name in ("a.npy", "a.png", "a.txt", "b.png", "c.png")
            ]
            assert len(batch.rows) == 6
        assert list(map(str, find_files("?.png", tmp_path / "out"))) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("path\nlat\udce9.png\n", r"list.csv: line 2: .*lat\\udce9.png is no file; save the list as UTF-8"),
        ("kind,path\nimage,a.png\n\n,\nimage,\n", "list.csv: line 5 has no path"),
        ("kind,path\n,a.png\nimage\n", "list.csv: line 3 has no path"),
        ("x,y\na.png,1\n", "list.csv: has no column path"),
        ("path;kind\na.png;image\n", "list.csv: has no column path, .*; save the list as UTF-8, with commas and with"),
        ("\udcff\udcfep\0a\0t\0h\0", "list.csv: has no column path, .*; save the list as UTF-8, with commas and with"),
        ("a.png\nfolder\n", "list.csv: line 2: .*folder is a folder"),
    ],
)
def test_a_row_of_a_list_that_names_no_file_is_refused_with_its_line(tmp_path, text, line):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.png").touch()
    (tmp_path / "list.csv").write_text(text, errors="surrogateescape")
    with pytest.raises(BatchError, match=line):
        find_files(tmp_path / "list.csv", tmp_path / "out")


def test_a_row_of_a_list_without_a_first_cell_is_read_and_numbers_are_points(tmp_path):
    (tmp_path / "list.csv").write_text("Kind,Path\n,a.png\n")
    (tmp_path / "points.csv").write_text("0.5,1,2\n3,4,5\n")
    assert find_files(tmp_path / "list.csv", tmp_path / "out") == [tmp_path / "a.png"]
    assert find_files(tmp_path / "points.csv", tmp_path / "out") == [tmp_path / "points.csv"]


def test_a_list_may_name_files_by_urls_of_this_machine(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "list.csv").write_text(f"path\nfile://{tmp_path}/a%20b.png\n{tmp_path}/c.png\n../d.png\n")
    found = find_files(tmp_path / "folder" / "list.csv", tmp_path / "out")
    assert found == [tmp_path / "a b.png", tmp_path / "c.png", tmp_path / "folder" / ".." / "d.png"]


def test_results_are_no_files_to_fit_neither_ours_nor_those_of_other_batches(tmp_path):
    write_crops(tmp_path / "crops", 1)
    for name in ("crops/other", "crops/out"):
        with Store(tmp_path / name, False).open():
            pass
    told = []
    assert find_files(tmp_path / "crops", tmp_path / "crops" / "out", told.append) == [tmp_path / "crops" / "00.png"]
    assert told == [f"left out, as folders of other batches: {tmp_path / 'crops' / 'other'}"]
    with pytest.raises(BatchError, match="crops, the folder of the results; name another one"):
        find_files(tmp_path / "crops", tmp_path / "crops")
    with pytest.raises(BatchError, match="other: is the folder of a batch"):
        find_files(tmp_path / "crops" / "other", tmp_path / "new")
    for data in (None, [np.zeros((3, 3))], np.zeros((3, 3))):
        with pytest.raises(BatchError, match="names no file"):
            find_files(data, tmp_path / "new")


def test_what_cannot_be_asked_for_is_refused_before_anything_is_written(mixed, tmp_path):
    for options, line in [
        ({"max_sides": 3}, "max_sides is no option for a fit of .*; is max_side meant?"),
        ({"steps": 0}, "steps=0 must be a whole number"),
        ({"engine": "slurm"}, "engine='slurm' is not one of: local, processes, ray, ray://HOST:PORT"),
        ({"cpus": 0}, "cpus=0.* must be more than 0"),
        ({"cpus": "2"}, "cpus='2' must be a number"),
        ({"engine": None}, "engine=None must be a text"),
        ({"stepz": 3}, "stepz is no option for a fit of .*; is steps meant?"),
        ({"kind": [1]}, r"kind=\[1\] is not one of: sdf, image, audio, volume"),
        ({"gpus": 0.5}, "gpus=0.5: only workers of ray take them; add engine=ray"),
    ]:
        with pytest.raises(ValueError, match=line):
            fit_many(mixed, tmp_path / "out", **{**QUICK, **options})
    with pytest.raises(BatchError, match="an empty text names no file"):
        fit_many("", tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()
    with pytest.raises(BatchError, match="holds other files"):
        fit_many("sample:mandala", mixed, **QUICK)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=f"{tmp_path / 'file'} is a file and no folder"):
        fit_many("sample:mandala", tmp_path / "file" / "out", **QUICK)


def test_a_folder_of_the_users_own_is_left_as_it_is_whatever_its_folders_are_called(tmp_path):
    (tmp_path / "mine" / "records").mkdir(parents=True)
    for name in ("records/.hidden", "batch.json"):
        (tmp_path / "mine" / name).write_text("{}")
    before = sorted((tmp_path / "mine").rglob("*"))
    with pytest.raises(BatchError, match="mine: holds other files; name a new folder"):
        fit_many("sample:mandala", tmp_path / "mine", **QUICK)
    assert sorted((tmp_path / "mine").rglob("*")) == before


def test_only_what_a_killed_run_has_left_is_removed_from_a_batch(tmp_path):
    store, out = Store(tmp_path / "out", False), tmp_path / "out"
    out.mkdir()
    (out / "batch.json").write_bytes(b"")  # a run that was killed while it made the folder
    with store.open():
        pass
    left = [f"records/.{'a' * 24}-123.json", f"fields/.a_b.png-{'0' * 16}-7.safetensors", ".table-5.csv"]
    others = ["fields/.DS_Store", "records/.nfs0001", f"records/.{'b' * 24}-1.json/", ".note-5.csv"]
    for name in [*left, *others]:
        (out / name).mkdir() if name.endswith("/") else (out / name).write_text("")
    with store.open():
        pass
    assert not any((out / name).exists() for name in left)
    assert all((out / name).exists() for name in others)


def test_a_second_run_into_a_folder_is_refused_while_the_first_writes(winner_batch, tmp_path):
    pytest.importorskip("fcntl", reason="Windows has no such locks")
    with Store(tmp_path / "out", False).open():
        status, shown = winner_batch("sample:mandala", "--output", "out", "--steps", 1)
    assert (status, shown.split(";")[0]) == (1, "error: out: another run writes into it")
    with Store(tmp_path / "out", False).open() as finished:
        assert not finished


@pytest.mark.parametrize("name", ["fit_small_signals", "judge"])
def test_what_fails_among_small_signals_is_a_row_of_one_and_leaves_the_others_as_they_are(tmp_path, monkeypatch, name):
    from winner_nerfstudio.batch import tasks

    write_crops(tmp_path / "crops", 5)
    fit_many(tmp_path / "crops", tmp_path / "whole", **QUICK)
    real = getattr(tasks, name)

    def fail(*arguments):
        signals = arguments[0] if name == "fit_small_signals" else [arguments[1]]
        if any(signal.name.endswith("03.png") for signal in signals):
            raise RuntimeError("an unforeseen fault")
        return real(*arguments)

    monkeypatch.setattr(tasks, name, fail)
    batch = fit_many(tmp_path / "crops", tmp_path / "out", **QUICK)
    assert [row.status == "failed" for row in batch.rows] == [False, False, False, True, False]
    assert batch.rows[3].error == "an unforeseen fault"
    assert contents(tmp_path / "out").items() < contents(tmp_path / "whole").items()


def test_what_a_try_that_failed_has_taken_is_free_before_the_next(tmp_path, monkeypatch):
    from winner_nerfstudio.batch import tasks

    write_crops(tmp_path / "crops", 4)
    taken, alive = [], []

    def fail(signals, *_):
        alive.append(sum(each() is not None for each in taken))
        held = torch.empty(len(signals))
        taken.append(weakref.ref(held))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(tasks, "fit_small_signals", fail)
    batch = fit_many(tmp_path / "crops", tmp_path / "out", **QUICK)
    assert [row.error for row in batch.rows] == ["out of memory"] * 4
    assert alive == [0] * 7


def test_a_fit_that_diverges_is_a_row_and_no_field(tmp_path):
    write_crops(tmp_path / "crops", 2)
    batch = fit_many(tmp_path / "crops", tmp_path / "out", **{**QUICK, "learning_rate": 1e38, "optimizer": "adam"})
    assert [row.status for row in batch.rows] == ["failed", "failed"]
    assert "the fit has diverged; try a learning rate below 1e+38" in batch.rows[0].error


@pytest.fixture
def winner_batch(monkeypatch, tmp_path):
    """The command in this process: a function from its arguments to the exit status and what it has printed."""

    def call(*arguments):
        output, handler = io.StringIO(), signal.getsignal(signal.SIGTERM)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["winner-batch", *map(str, arguments)])
        with redirect_stdout(output), redirect_stderr(output), pytest.raises(SystemExit) as stopped:
            command.main()
        signal.signal(signal.SIGTERM, handler)
        status = stopped.value.code
        return (1, status) if isinstance(status, str) else (status, output.getvalue())

    return call


def test_the_command_says_what_failed_and_gives_options_to_the_kinds_that_have_them(mixed, winner_batch, tmp_path):
    small = ["--steps", 30, "--hidden-dim", 16]
    status, shown = winner_batch("files", "--output", "out", *small, "--max-side", 8, "--pack")
    assert status == 3
    assert f"9 of {9 + len(BAD)} files fitted, {len(BAD)} failed" in shown
    assert "failed: files/cut.png: its PNG header is cut off; is the file whole?" in shown
    assert {max(field.field.record.shape) for field in load_fields("out") if field.kind == "image"} == {8}
    assert winner_batch("files/tone0.wav", "--output", "sound", *small)[0] == 0
    kinds = "a picture or a volume: an occupancy, a density, a distance or a sound"
    for option, hint in [("--bogus", ""), ("--max-sides=3", "is --max-side meant? "), ("--step", "is --steps meant? ")]:
        assert winner_batch("files", "--output", "out", option, 3) == (
            2,
            f"error: {option.partition('=')[0]} is no option for a fit of {kinds}; {hint}--help-all lists them\n",
        )
    assert "but hidden files" in " ".join(winner_batch("--help")[1].replace("│", " ").split())
    status, shown = winner_batch("files", "--help-all")
    assert status == 0
    assert "--max-side" in shown
    assert "--duration" in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("files/tone0.wav files/00.png --output out more.png --steps 2", "more.png: is no option; files come first"),
        ("files --output out --max-side 8 more.png --duration 1", "more.png: is no option; files come first"),
        ("files --output out --duration 1 --max-side 1 --bogus 1", "--bogus is no option for a fit of a"),
        ("files/what.xyzzy --output out --bogus 1", "--bogus is no option for a fit of a"),
        ("files/what.xyzzy --output out --max-side 8 more.png", "more.png: is no option; files come first"),
    ],
)
def test_what_is_an_option_of_no_kind_is_refused_whatever_the_files_are(mixed, winner_batch, tmp_path, arguments, line):
    status, shown = winner_batch(*arguments.split())
    assert (status, shown.startswith(f"error: {line}")) == (2, True), shown
    assert not (tmp_path / "out").exists()


def test_an_option_of_any_kind_is_taken_where_the_kind_of_no_file_is_known(mixed, winner_batch, tmp_path):
    assert winner_batch("files/what.xyzzy", "--output", "out", "--max-side", 8, "--duration", 1)[0] == 3
    with pytest.raises(ValueError, match=r"max_sides is no option for a fit of .*; is max_side meant?"):
        fit_many(mixed / "what.xyzzy", tmp_path / "out", max_sides=3, **QUICK)
    assert fit_many(mixed / "what.xyzzy", tmp_path / "out", max_side=3, **QUICK).failed


def test_the_command_says_what_was_fitted_before_and_each_line_is_whole(winner_batch, tmp_path):
    write_crops(tmp_path / "crops", 5)
    command = ["crops", "--output", "out", "--steps", 4, "--hidden-dim", 16]
    shown = winner_batch(*command)[1].splitlines()
    assert shown[0] == "5 files: 0 fitted before, 5 to fit"
    assert shown[1].startswith("file 5/5, ")
    load_fields(tmp_path / "out").places[0].path.unlink()
    (tmp_path / "crops" / "notes.txt").write_text("no points")
    (tmp_path / "crops" / "what.xyzzy").write_text("")
    shown = winner_batch(*command)[1].splitlines()
    assert shown[0] == "7 files: 4 fitted before, 2 to fit, 1 that cannot be fitted"
    assert [line for line in shown if line.startswith("file 7/7, 2 failed")]
    assert not [line for line in shown if line.endswith((",", ", "))]
    assert "s now, " in next(line for line in shown if line.startswith("weights: "))
    assert fit_many(tmp_path / "crops", tmp_path / "out", measure=True, **QUICK).seconds > 0
    assert fit_many(tmp_path / "crops" / "01.png", tmp_path / "out", **QUICK).seconds == 0


def fit_in_silence(folder, out):
    fit_many(folder, out, measure=False, **{**QUICK, "steps": 12})


@pytest.mark.commands
def test_what_is_killed_at_any_moment_ends_with_the_same_bits(mixed, tmp_path):
    fit_in_silence(mixed, tmp_path / "whole")
    rng, spawned = random.Random(0), multiprocessing.get_context("fork")
    for _ in range(5):
        process = spawned.Process(target=fit_in_silence, args=(mixed, tmp_path / "killed"))
        process.start()
        time.sleep(rng.uniform(0.05, 0.6))
        process.kill()
        process.join()
    fit_in_silence(mixed, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert without_times(tmp_path / "killed") == without_times(tmp_path / "whole")


def test_the_table_is_written_for_parquet_too(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    write_crops(tmp_path / "crops", 2)
    (tmp_path / "crops" / "bad.png").write_bytes(b"")
    batch = fit_many(tmp_path / "crops", tmp_path / "out", **QUICK)
    table = parquet.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert [row["psnr"] for row in table] == [row.metrics.get("psnr") for row in batch.rows]
    assert [row["error"] for row in table] == [row.error for row in batch.rows]


@pytest.mark.parametrize("arguments", [["--batch-size", "64", "a.png"], ["-a.png"]])
def test_files_that_do_not_come_first_are_told_in_one_line(arguments):
    with pytest.raises(ValueError, match=f"no files are named before {arguments[0]}; name them first"):
        command._run([*arguments, "--output", "fits"])
