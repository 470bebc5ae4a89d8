"""Files and results behind URLs: what is written there is what a path would hold, also after a stop."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem

from winner_nerfstudio import fit_groups, fit_many, load_field, load_fields
from winner_nerfstudio.batch.store import Store
from winner_nerfstudio.cli import batch, fit
from winner_nerfstudio.cli.start import _strip_scheme
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.files import strip_scheme
from winner_nerfstudio.storage import RemotePath, list_folder, locate

from .conftest import call
from .test_batch import QUICK, contents, without_times, write_crops


class Bucket(MemoryFileSystem):
    """An object store: paths begin with a bucket, which must be there, and nothing is made, renamed or locked."""

    protocol = "bucket"
    store, pseudo_dirs, root_marker = {}, [], ""
    puts_left = None
    """How many files can be written before the store fails; None if it never does."""

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("bucket://").strip("/")

    def pipe_file(self, path, value, mode="overwrite", **options):
        if not self._strip_protocol(path).startswith("b/"):
            raise FileNotFoundError("The specified bucket does not exist")
        if Bucket.puts_left == 0:
            raise TimeoutError("no answer")
        Bucket.puts_left = None if Bucket.puts_left is None else Bucket.puts_left - 1
        super().pipe_file(self._strip_protocol(path), value)

    def makedirs(self, *arguments, **options):
        raise NotImplementedError

    mkdir = mv = cp_file = mv_file = makedirs


register_implementation("bucket", Bucket, clobber=True)


@pytest.fixture(autouse=True)
def empty():
    """Empty what other tests have written."""
    for system in (Bucket, MemoryFileSystem):
        system.store.clear()
        system.pseudo_dirs[:] = [""]
    Bucket.puts_left = None


def fields_behind(url):
    """The bytes of all fields behind a URL by their files' names."""
    return {entry.path.name: entry.path.read_bytes() for entry in list_folder(locate(f"{url}/fields"))}


def upload(folder, url):
    """Write the files of a folder behind a URL."""
    for path in folder.iterdir():
        (locate(url) / path.name).write_bytes(path.read_bytes())


@pytest.fixture
def crops(tmp_path):
    write_crops(tmp_path / "crops", 3)
    (tmp_path / "crops" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n....")
    return tmp_path / "crops"


@pytest.mark.parametrize("url", ["memory://out", "bucket://b/deep/out"])
def test_a_batch_behind_a_url_has_the_bits_of_one_in_a_folder_and_is_fitted_once(crops, tmp_path, url, monkeypatch):
    here, there = fit_many(crops, tmp_path / "out", **QUICK), fit_many(crops, url, **QUICK)
    assert fields_behind(url) == contents(tmp_path / "out")
    assert [str(table) for table in there.tables] == [f"{url}/{table.name}" for table in here.tables]
    assert all(table.is_file() for table in there.tables)
    for each in range(3):
        assert there.fields[each].provenance == here.fields[each].provenance
        assert (load_fields(url).weights()[each] == here.fields.weights()[each]).all()
    assert load_field(f"{url}/{here.rows[0].field}").image().tobytes() == here.fields[0].image().tobytes()
    monkeypatch.setattr(Store, "write", None)
    assert list(fit_many(crops, url, **QUICK).rows) == list(there.rows)


def test_packs_behind_a_url_are_read_field_by_field_and_again_when_they_change(crops, tmp_path):
    here = fit_many(crops, tmp_path / "out", pack=True, **QUICK)
    fields = fit_many(crops, "bucket://b/out", pack=True, **QUICK).fields
    assert (fields.weights()[1] == here.fields.weights()[1]).all()
    assert fields[1].provenance == here.fields[1].provenance
    pack = fields.places[0].path
    assert len(load_fields(str(pack))) == 3
    pack.write_bytes(pack.read_bytes()[:-5])
    with pytest.raises(FieldFileError, match=r"bucket://b/out/packs/\w+\.safetensors: not a whole safetensors file"):
        fields.weights()[1]
    fit_many(crops, "bucket://b/out", pack=True, **QUICK)
    assert (fields.weights()[1] == here.fields.weights()[1]).all()


def test_a_field_that_cannot_be_reached_is_not_told_to_be_damaged(crops, monkeypatch):
    def refuse(self, path, **options):
        raise TimeoutError("no answer")

    fits = {"single": fit_many(crops, "bucket://b/single", **QUICK).fields}
    fits["packed"] = fit_many(crops, "bucket://b/packed", pack=True, **QUICK).fields
    monkeypatch.setattr(Bucket, "cat_file", refuse)
    for fields in fits.values():
        for read in (fields.__getitem__, fields.weights().__getitem__):
            with pytest.raises(OSError, match=r"safetensors: cannot be read \(no answer\)$"):
                read(0)


def test_a_run_that_its_storage_stops_at_any_moment_ends_with_the_same_bits(crops, tmp_path):
    fit_many(crops, tmp_path / "out", **QUICK)
    for Bucket.puts_left in (0, 1, 2, 4):
        with pytest.raises(OSError, match=r"bucket://b/out/.* cannot be written \(no answer\)"):
            fit_many(crops, "bucket://b/out", **QUICK)
    Bucket.puts_left = None
    done = fit_many(crops, "bucket://b/out", **QUICK)
    assert fields_behind("bucket://b/out") == contents(tmp_path / "out")
    there = csv.DictReader(done.tables[0].read_text("utf-8").splitlines())
    assert [{**row, "seconds": None} for row in there] == [
        {**row, "seconds": None} for row in without_times(tmp_path / "out")
    ]


def test_files_behind_urls_are_fitted_as_those_of_a_folder_and_named_by_their_urls(crops, tmp_path):
    np.save(crops / "ball.npy", np.random.default_rng(0).random((6, 6, 6)))
    fit_many(crops, tmp_path / "out", **QUICK)
    upload(crops, "memory://files")
    (tmp_path / "list.csv").write_text("path\ncrops/00.png\nmemory://files/01.png\nmemory://files/nothing.png\n")
    done = fit_many("memory://files/", "memory://out", **QUICK)
    assert fields_behind("memory://out") == contents(tmp_path / "out")
    assert [row.path for row in done.rows if row.field] == [
        f"memory://files/{name}" for name in ("00.png", "01.png", "02.png", "ball.npy")
    ]
    assert done.failed[0].error == "memory://files/cut.png: its PNG header is cut off; is the file whole?"
    found = fit_many("memory://files/0*.png", "memory://out", **QUICK).rows
    assert [row.path for row in found] == [f"memory://files/0{index}.png" for index in range(3)]
    locate("memory://files/list.csv").write_bytes(b"path\n02.png\nmemory://files/00.png\n")
    rows = fit_many([tmp_path / "list.csv", "memory://files/list.csv"], "memory://out", **QUICK).rows
    assert [row.path.rpartition("/")[2] for row in rows] == ["00.png", "01.png", "nothing.png", "02.png", "00.png"]
    assert [row.error for row in rows if row.status == "failed"] == [
        "memory://files/nothing.png: No such file or directory"
    ]


def test_results_behind_a_url_are_no_files_to_fit(crops):
    upload(crops, "memory://files")
    fit_many("memory://files/00.png", "memory://files/out", **QUICK)
    rows = fit_many("memory://files", "memory://files/out", **QUICK).rows
    assert [row.path.rpartition("/")[2] for row in rows] == ["00.png", "01.png", "02.png", "cut.png"]
    with pytest.raises(ValueError, match="memory://files: holds other files; name a new folder"):
        fit_many("sample:mandala", "memory://files", **QUICK)


def test_a_signal_in_groups_has_the_same_bits_behind_a_url_and_is_resumed_there(tmp_path):
    signal = np.random.default_rng(0).random((60, 50)).astype(np.float32)
    quick = {**QUICK, "parts": (3, 3), "group_samples": 500, "overlap": 2}
    here = fit_groups(signal, tmp_path / "out", **quick)
    Bucket.puts_left = 3
    with pytest.raises(OSError, match="no answer"):
        fit_groups(signal, "bucket://b/out", **quick)
    Bucket.puts_left = None
    fit_groups(signal, "bucket://b/out", **quick)
    files = {entry.path.name: entry.path.read_bytes() for entry in list_folder(locate("bucket://b/out"))}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "out").glob("[!.]*")}  # without the lock
    there = load_field("bucket://b/out")
    assert there.provenance == here.provenance
    assert there.image().tobytes() == here.image().tobytes()


def test_a_url_of_this_machine_is_a_path(crops, tmp_path):
    assert fit_many(crops / "00.png", f"file://{tmp_path}/a b", **QUICK).folder == tmp_path / "a b"
    assert load_fields(f"file://{tmp_path}/a b").paths == load_fields(tmp_path / "a b").paths == (f"{crops}/00.png",)
    assert locate(f"file://{tmp_path}/a b") == tmp_path / "a b"
    assert locate("photos/a.png").parts == ("photos", "a.png")


@pytest.mark.parametrize("start", ["file://", "file://localhost", "local://", "FILE://LOCALHOST"])
@pytest.mark.parametrize(("written", "meant"), [("/tmp/a%20b.png", "/tmp/a b.png"), ("/tmp/100%/ä#?", "/tmp/100%/ä#?")])
def test_a_url_of_this_machine_is_decoded_and_may_name_it(start, written, meant):
    assert locate(start + written) == Path(meant)
    assert strip_scheme(start + written) == meant
    assert strip_scheme(written) == written


@pytest.mark.parametrize(
    "command",
    [
        "winner-export field --load-config fit.safetensors --output s3://bucket/fit.safetensors",
        "winner-compare fit.safetensors --output=s3://bucket/fits.csv",
        "winner-analyze --data sample:mandala --output s3://bucket/analysis",
    ],
)
def test_what_is_written_to_no_url_says_so_and_writes_nothing(command, tmp_path):
    done = call(*command.split(), cwd=tmp_path)
    assert re.search(r"error: s3://bucket/\S*: is a URL, which this is not written to; name a file here", done.output)
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())


def test_an_option_with_its_value_behind_an_equals_sign_may_name_a_url_of_this_machine():
    arguments = ["a=file:///b", "file:///c%20d", "--output=file:///x%20y", "--level=0.5", "--e==file"]
    assert list(map(_strip_scheme, arguments)) == ["a=file:///b", "/c d", "--output=/x y", "--level=0.5", "--e==file"]


@pytest.mark.parametrize("url", ["file://server/share/a.png", "file://tmp/a.png", "file://localhost", "local://"])
def test_a_url_of_a_file_of_another_machine_is_refused_in_one_line(url):
    for read in (locate, strip_scheme):
        with pytest.raises(ValueError, match=f"^{url}: names no file of this machine; write file:///PATH, or the path"):
            read(url)


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("s3://b/out", "s3://b/out: Install s3fs to access S3; pip install s3fs"),
        ("nowhere://b/out", "nowhere://b/out: nowhere:// is not known; there are s3://, gs://, abfs://, sftp://"),
        ("bucket://c/out", r"bucket://c/out/batch\.json: cannot be written \(The specified bucket does not exist\)"),
        ("bucket://refused/out", r"bucket://refused/out: cannot be read \(Access Denied\)"),
    ],
)
def test_a_url_that_cannot_be_written_to_is_refused_in_one_line(url, line, monkeypatch):
    info = Bucket.info

    def refuse(self, path, **options):
        if "refused" in path:
            raise PermissionError("Access Denied")
        return info(self, path, **options)

    monkeypatch.setattr(Bucket, "info", refuse)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(OSError, match=line):
        fit_many("sample:mandala", url, **QUICK)


@pytest.mark.parametrize(
    ("program", "arguments", "line"),
    [
        (
            batch,
            ["--output", "memory://out", "--engine", "ray"],
            "memory://out: is the memory of this process, which",
        ),
        (fit, ["--output", "memory://out", "--engine", "ray"], "memory://out: is the memory of this process, which"),
        (
            fit,
            ["--output", "memory://out.png"],
            "memory://out.png: a URL takes a folder, for a fit part by part,",
        ),
    ],
)
def test_a_url_that_a_command_cannot_use_is_refused_in_one_line(program, arguments, line, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["winner", "sample:mandala", *arguments])
    with pytest.raises(SystemExit, match=f"error: {line}"):
        program.main()
    assert not RemotePath("memory://out").exists()


def test_a_field_in_groups_behind_a_url_is_fitted_and_exported_by_commands(tmp_path):
    np.save(tmp_path / "large.npy", np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8))
    quick = ["--steps", 3, "--parts", 2, 2, "--hidden-dim", 8, "--num-layers", 2]
    result = call("winner-fit", "large.npy", "--output", "memory://fit", *quick, cwd=tmp_path)
    assert "to export it: winner-export image --load-config memory://fit --output FILE" in result.output
    export = ["--load-config", "memory://fit", "--output", "fit.npy"]
    assert call("winner-export", "image", *export, cwd=tmp_path).status == 0
    assert np.array_equal(np.load(tmp_path / "fit.npy"), load_field("memory://fit").image())
