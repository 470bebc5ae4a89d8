"""Signals larger than memory: read by blocks, fitted by groups into a folder, exported by regions."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile
import tifffile
import torch
import trimesh
import xarray

from scripts.benchmark_memory_groups import measure
from winner_nerfstudio import fit, load_field
from winner_nerfstudio.export import large
from winner_nerfstudio.export.grid import export_audio, export_image, export_volume
from winner_nerfstudio.fields.file import FieldFileError
from winner_nerfstudio.fields.folder import INDEX, group_path, read_index
from winner_nerfstudio.fields.stored import compute_digest
from winner_nerfstudio.networks import GroupedBank, Groups, Tiling
from winner_nerfstudio.registry import kind_named
from winner_nerfstudio.signals import blocks
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.large import open_large
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.signals.messages import error_line
from winner_nerfstudio.signals.samples import mandala, sponge
from winner_nerfstudio.training import groups as training
from winner_nerfstudio.training.groups import fit_groups

from .conftest import call

SMALL = {"hidden_dim": 8, "num_layers": 2, "batch_size": 150, "learning_rate": 2e-3, "steps": 4, "progress": False}
PICTURE = {**SMALL, "parts": (6, 5), "group_samples": 4000}
TINY = {"parts": 2, "hidden_dim": 8, "num_layers": 2, "steps": 1, "progress": False, "measure": False}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Read, measure and export in small blocks, so that small signals have many."""
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 3000)
    monkeypatch.setattr(training, "MEASURED_AT_ONCE", 2000)
    monkeypatch.setattr(large, "BLOCK_SAMPLES", 2000)


def picture():
    return mandala()[:120, :100]


def save_tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, metadata=None, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A file of the picture."""
    path = tmp_path_factory.mktemp("source") / "picture.tif"
    save_tiff(path, picture(), photometric="rgb", tile=(32, 32))
    return path


@pytest.fixture(scope="module")
def fitted(source, tmp_path_factory):
    """A folder with the picture, fitted in groups."""
    folder = tmp_path_factory.mktemp("fitted") / "fit"
    fit_groups(source, folder, **PICTURE)
    return folder


@pytest.fixture(scope="module")
def whole(source):
    """The same picture fitted as one bank."""
    return fit(str(source), **{**SMALL, "parts": (6, 5)})


@pytest.mark.parametrize(
    "shape, parts, counts",
    [
        ((100,), (7,), (3,)),
        ((64, 48), (4, 3), (2, 2)),
        ((50, 20), (6, 1), (4, 1)),
        ((20, 22, 30), (2, 1, 3), (2, 1, 2)),
    ],
)
def test_the_regions_of_groups_divide_the_samples_and_their_boxes_all_boxes(shape, parts, counts):
    groups, seen = Groups(Tiling(shape, parts, 3), counts), np.zeros(shape, int)
    members = []
    for group in range(groups.count):
        bands = np.zeros(shape, int)
        for band in groups.bands(group, 50):
            bands[band] += 1
        region = groups.region(group)
        assert (bands[region] == 1).all()
        assert bands.sum() == bands[region].size
        seen += bands
        tiling = groups.subtiling(group)
        members += [tiling.index_of(member) for member in range(tiling.count)]
        assert all(a.start <= b.start and b.stop <= a.stop for a, b in zip(tiling.extent, region, strict=True))
    assert (seen == 1).all()
    assert sorted(members) == list(range(groups.tiling.count))


def test_groups_divide_the_first_axis_first_and_no_more_than_is_needed():
    tiling = Tiling((640, 640), (10, 10), 4)
    assert Groups.dividing(tiling, 100).counts == (1, 1)
    assert Groups.dividing(tiling, 35).counts == (4, 1)
    assert Groups.dividing(tiling, 4).counts == (10, 3)
    assert Groups.dividing(tiling, 1).counts == (10, 10)


def test_groups_have_the_weights_of_one_bank_to_the_bit(fitted, whole):
    field = load_field(fitted)
    assert isinstance(field.field.network, GroupedBank)
    groups = field.field.network.groups
    assert groups.counts == (3, 1)
    banks = [field.field.network.load(group, torch.device("cpu")) for group in range(groups.count)]
    for name, weight in whole.field.network.named_parameters():
        assert torch.equal(torch.cat([bank.get_parameter(name) for bank in banks]), weight)


def test_a_group_of_constant_parts_has_the_weights_of_one_bank_too(tmp_path):
    values = np.full((400, 1), 0.5, np.float32)
    values[:90, 0] = np.random.default_rng(0).uniform(-1, 1, 90)
    values[399] = -1
    np.save(tmp_path / "signal.npy", values)
    options = {**SMALL, "kind": "audio", "sample_rate": 100.0, "parts": (8,)}
    fit_groups(tmp_path / "signal.npy", tmp_path / "fit", group_samples=120, **options)
    network = load_field(tmp_path / "fit").field.network
    banks = [network.load(group, torch.device("cpu")) for group in range(network.groups.count)]
    still = [not bank.weights[-1].any() for bank in banks]
    assert any(still)
    assert not all(still)
    one = fit(values, **options).field.network
    for name, weight in one.named_parameters():
        assert torch.equal(torch.cat([bank.get_parameter(name) for bank in banks]), weight)


def test_groups_have_the_values_derivatives_and_metrics_of_one_bank(fitted, whole):
    field = load_field(fitted)
    points = np.random.default_rng(0).uniform(-5, 125, (4000, 2))
    assert np.abs(field(points) - whole(points)).max() < 1e-4  # of 255
    assert np.abs(field.gradient(points[:300]) - whole.gradient(points[:300])).max() < 1e-4
    assert np.array_equal(field.image(), whole.image())
    assert abs(field.provenance["figures"]["psnr"] - whole.provenance["figures"]["psnr"]) < 1e-5
    assert field(np.zeros((0, 2))).shape == (0, 3)


def test_no_seam_shows_where_two_groups_meet(fitted):
    field = load_field(fitted)
    groups = field.field.network.groups
    border = groups.region(1)[0].start
    assert border not in (0, 120)
    end = border + groups.tiling.box[0] - int(groups.tiling.find_starts(0, torch.tensor(1)))
    rows = np.array([border - 1e-6, border + 1e-6, end - 1 - 1e-6, end - 1 + 1e-6])
    points = np.stack(np.meshgrid(rows, np.linspace(0, 99, 50), indexing="ij"), -1)
    for values in (field(points), field.gradient(points)):
        jumps = np.abs(values[1::2] - values[::2])
        assert jumps.max() < 1e-3 * max(1.0, np.abs(values).max())


def test_a_fit_that_was_stopped_goes_on_with_the_first_group_that_is_not_there(source, fitted, tmp_path, monkeypatch):
    train, trained = training._train_group, []

    def stop_at_second(job, signal, group):
        trained.append(group)
        if trained == [0, 1]:
            (job.folder / ".group-000001-77.safetensors").write_bytes(b"half")  # what a killed process leaves
            raise KeyboardInterrupt
        return train(job, signal, group)

    monkeypatch.setattr(training, "_train_group", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        fit_groups(source, tmp_path / "fit", **PICTURE)
    with pytest.raises(FieldFileError, match=r"has no group-000001.safetensors of 3 groups"):
        load_field(tmp_path / "fit")
    fit_groups(source, tmp_path / "fit", **PICTURE)
    assert trained == [0, 1, 1, 2]
    assert sorted(path.name for path in (tmp_path / "fit").iterdir()) == sorted(p.name for p in fitted.iterdir())
    for path in fitted.glob("group-*"):
        assert (tmp_path / "fit" / path.name).read_bytes() == path.read_bytes()
    assert read_index(tmp_path / "fit").figures == pytest.approx(read_index(fitted).figures)


def test_a_second_run_into_a_folder_is_refused_and_takes_nothing_from_the_first(source, tmp_path, monkeypatch):
    pytest.importorskip("fcntl", reason="Windows has no such locks")
    train = training._train_group

    def run_again(job, signal, group):
        (job.folder / f".group-{group:06d}-77.safetensors").write_bytes(b"half")
        with pytest.raises(ValueError, match="fit: another run writes into it; wait") as caught:
            fit_groups(source, job.folder, **PICTURE)
        assert "\n" not in str(caught.value)
        assert (job.folder / f".group-{group:06d}-77.safetensors").exists()
        return train(job, signal, group)

    monkeypatch.setattr(training, "_train_group", run_again)
    fit_groups(source, tmp_path / "fit", **PICTURE)
    monkeypatch.undo()
    fit_groups(source, tmp_path / "fit", **PICTURE)
    assert not list((tmp_path / "fit").glob(".group-*"))


@pytest.mark.parametrize("way", ["cut", "altered", "empty", "another"])
def test_a_damaged_group_names_the_remedy_which_mends_it(way, source, fitted, tmp_path, capsys):
    shutil.copytree(fitted, tmp_path / "fit")
    path, content = group_path(tmp_path / "fit", 1), group_path(fitted, 1).read_bytes()
    altered = content[:-1] + bytes([content[-1] ^ 1])
    another = group_path(fitted, 2).read_bytes()
    path.write_bytes({"cut": content[:-10], "altered": altered, "empty": b"", "another": another}[way])
    field = load_field(tmp_path / "fit")
    with pytest.raises(FieldFileError, match=r"group-000001\.safetensors: .*; repeat the fit that wrote it") as caught:
        field(np.array([[60.0, 50.0]]))
    assert "winner-export" not in str(caught.value)
    fit_groups(source, tmp_path / "fit", **{**PICTURE, "progress": True})
    told = [line for line in capsys.readouterr().out.splitlines() if "anew" in line]
    assert len(told) == 1
    assert told[0].startswith(f"{path}: ")
    assert told[0].endswith("; it is trained anew")
    assert path.read_bytes() == content
    assert field(np.array([[60.0, 50.0]])).shape == (1, 3)


CHILD = """
import sys
import numpy as np
from winner_nerfstudio.training.groups import fit_groups

fit_groups(sys.argv[1], sys.argv[2], steps=40, parts=(8, 8), group_samples=1000, hidden_dim=8, num_layers=2,
           batch_size=100, progress=False)
"""


@pytest.mark.commands
def test_a_killed_fit_ends_with_the_same_bits(tmp_path):
    np.save(tmp_path / "made.npy", mandala()[:128, :128])
    command = [sys.executable, "-c", CHILD, str(tmp_path / "made.npy"), str(tmp_path / "fit")]
    with subprocess.Popen(command) as process:
        while process.poll() is None and not list((tmp_path / "fit").glob("group-*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    there = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "fit").glob("group-*")}
    assert 0 < len(there) < 24
    options = {"steps": 40, "parts": (8, 8), "group_samples": 1000, "hidden_dim": 8, "num_layers": 2, "batch_size": 100}
    for name in ("fit", "other"):
        fit_groups(tmp_path / "made.npy", tmp_path / name, progress=False, **options)
    assert all((tmp_path / "fit" / name).stat().st_mtime_ns == stamp for name, stamp in there.items())
    for path in (tmp_path / "other").iterdir():
        assert (tmp_path / "fit" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"learning_rate": 1e-3}, "learning_rate 0.002, not 0.001"),
        ({"steps": 5}, "steps 4, not 5"),
        ({"seed": 1}, "seed 42, not 1"),
        ({"exactness": 0.3}, "exactness"),
        ({"group_samples": 2000}, r"another fit \(3 x 1 groups, not 6 x 1, as group_samples and memory say\); name"),
        ({"group_samples": None, "memory": 4e9}, r"another fit \(3 x 1 groups, not 1 x 1, as group_samples and"),
        ({"data": 255 - picture()}, r"another fit \(of other data\)"),
    ],
)
def test_other_data_or_options_in_the_same_folder_are_refused_in_one_line(source, fitted, changes, told):
    arguments = {"data": source, **PICTURE, **changes}
    with pytest.raises(ValueError, match=told) as caught:
        fit_groups(arguments.pop("data"), fitted, **arguments)
    assert "\n" not in str(caught.value)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="holds other files"):
        fit_groups(picture(), tmp_path, **PICTURE)
    with pytest.raises(ValueError, match="is a file"):
        fit_groups(picture(), tmp_path / "mine.txt", **PICTURE)
    with pytest.raises(OSError, match=f"{tmp_path / 'mine.txt'} is a file and no folder"):
        fit_groups(picture(), tmp_path / "mine.txt" / "fit", **PICTURE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_parts_and_groups_are_chosen_where_nothing_is_said(tmp_path):
    field = fit_groups(mandala()[:200, :140], tmp_path / "fit", steps=1, progress=False, measure=False)
    groups = field.field.network.groups
    assert (groups.tiling.parts, groups.count) == ((6, 4), 1)
    assert field.field.spec["hidden_dim"] == 32
    with pytest.raises(ValueError, match="has no room for one part"):
        fit_groups(mandala()[:200, :140], tmp_path / "other", steps=1, memory=1e6, progress=False)


def test_samples_without_data_are_neither_fitted_nor_measured(tmp_path):
    values = np.random.default_rng(0).normal(size=(90, 60)).astype(np.float32)
    values[:40] = -9999
    values[70, 3] = -9999
    field = fit_groups(values, tmp_path / "fit", nodata=-9999.0, **{**PICTURE, "parts": (5, 2), "group_samples": 2000})
    one = fit(values, nodata=-9999.0, **{**SMALL, "parts": (5, 2)})
    assert abs(field.provenance["figures"]["psnr"] - one.provenance["figures"]["psnr"]) < 0.2
    assert np.isfinite(field(np.array([[5.0, 5.0], [80.0, 30.0]]))).all()


# Reading by blocks


def noise(*shape, high=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


TIFFS = {
    "tiles": {"photometric": "rgb", "tile": (32, 48)},
    "big": {"photometric": "rgb", "byteorder": ">", "bigtiff": True},
    "strips": {"photometric": "rgb", "rowsperstrip": 7, "compression": "zlib"},
    "turned": {"photometric": "rgb", "tile": (32, 32), "extratags": [(274, "H", 1, 6, True)]},
    "over": {"photometric": "rgb", "extratags": [(274, "H", 1, 3, True)]},
    "mirrored": {"photometric": "rgb", "tile": (16, 16), "extratags": [(274, "H", 1, 7, True)]},
    "planes": {"photometric": "rgb", "tile": (32, 32), "planarconfig": "separate"},
    "planes-mapped": {"photometric": "rgb", "planarconfig": "separate"},
    "grey16": {"tile": (32, 32), "byteorder": ">"},
    "float": {"tile": (32, 32)},
    "white": {"tile": (16, 16), "photometric": "miniswhite"},
    "bits": {},
    "palette": {"tile": (32, 32), "photometric": "palette", "colormap": noise(3, 256, dtype=np.uint16) * 257},
    "nodata": {"tile": (32, 32), "extratags": [(42113, "s", 0, "-7", True)]},
}
TIFF_PIXELS = {
    "grey16": noise(97, 130, high=65536, dtype=np.uint16),
    "float": np.random.default_rng(1).normal(size=(90, 70)).astype(np.float32),
    "white": noise(97, 130) > 99,
    "bits": noise(97, 130) > 99,
    "palette": noise(97, 130),
    "nodata": np.where(noise(90, 70) < 3, -7, np.random.default_rng(1).normal(size=(90, 70))).astype(np.float32),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Small files of each format that is read by blocks: path, kind and options by name."""
    folder, found = tmp_path_factory.mktemp("files"), {}
    for name, options in TIFFS.items():
        pixels = TIFF_PIXELS.get(name, noise(97, 130, 3))
        save_tiff(folder / f"{name}.tif", np.moveaxis(pixels, -1, 0) if "planes" in name else pixels, **options)
        found[name] = (folder / f"{name}.tif", "image", {})
    sound = np.random.default_rng(2).normal(size=(9000, 2)) * 0.2
    for suffix, subtype in (("wav", "PCM_24"), ("w64", "FLOAT"), ("flac", "PCM_16"), ("rf64", "PCM_16")):
        soundfile.write(folder / f"sound.{suffix}", sound, 8000, subtype, format=suffix.upper())
        found[suffix] = (folder / f"sound.{suffix}", "audio", {})
    found["excerpt"] = (folder / "sound.flac", "audio", {"start": 0.25, "duration": 0.5, "mono": True})
    np.save(folder / "series.npy", sound)
    found["series"] = (folder / "series.npy", "audio", {"sample_rate": 10.0, "start": 3.0})
    np.save(folder / "picture.npy", noise(60, 50, 3))
    found["array"] = (folder / "picture.npy", "image", {})
    volume = np.random.default_rng(3).normal(size=(20, 16, 12))
    np.save(folder / "volume.npy", volume)
    found["volume"] = (folder / "volume.npy", "volume", {"spacing": (1.0, 2.0, 3.0)})
    try:
        import zarr
    except ImportError:
        return found
    array = zarr.open(str(folder / "volume.zarr"), mode="w", shape=volume.shape, chunks=(8, 8, 8), dtype="i2")
    array[:] = (volume * 1000).astype("i2")
    array.attrs.update({"spacing": [1.0, 2.0, 3.0], "_ARRAY_DIMENSIONS": ["z", "y", "x"]})
    found["zarr"] = (folder / "volume.zarr", "volume", {})
    return found


NAMES = [*TIFFS, "wav", "w64", "flac", "rf64", "excerpt", "series", "array", "volume", "zarr"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_read_by_blocks_has_the_samples_and_the_meaning_of_one_read_whole(name, files):
    if name not in files:
        pytest.skip("needs zarr")
    path, kind, options = files[name]
    expected = load_signal(str(path), kind, **options)
    signal = open_large(path, kind, kind_named(kind).options(**options))
    shape = expected.lattice.shape
    boxes = [[slice(0, n) for n in shape], [slice(n // 3, n // 2 + 1) for n in shape]]
    for box in boxes:
        part, values = signal.read(box), expected.values[tuple(box)]
        known = np.ones(values.shape[:-1], bool) if part.missing is None else ~part.missing
        assert np.array_equal(part.values[known], values[known])
        if expected.missing is not None:
            assert np.array_equal(part.missing, expected.missing[tuple(box)])
    assert signal.units == expected.units
    assert signal.normalization == expected.normalization
    ours, theirs = (replace(each.record, digest="") for each in (signal, expected))
    if kind == "volume":  # measured between the samples of a block
        assert abs(ours.slope / theirs.slope - 1) < 0.2
        ours = replace(ours, slope=theirs.slope)
    assert ours == theirs


@pytest.mark.parametrize(("others", "level"), [(0, 1.0), (1, 0.0)])
def test_the_level_of_a_volume_of_almost_two_values_is_that_of_one_in_memory(others, level, monkeypatch):
    monkeypatch.setattr("winner_nerfstudio.signals.large.SORTED", 100)
    values = np.full((20, 20, 20), -1, np.int8)
    values[5:9, 5:9, 5:9] = 3
    values[6, 6, 6 : 6 + others] = 1
    signal = open_large(values, "volume", kind_named("volume").options())
    assert signal.record.level == load_signal(values, "volume").record.level == level


def test_two_values_of_each_block_are_not_two_of_the_whole():
    values = np.full((20, 20, 20), -1, np.int8)
    values[10, 5:9, 5:9], values[0, 5:9, 5:9] = 3, 2
    signal = open_large(values, "volume", kind_named("volume").options())
    assert signal.record.level == load_signal(values, "volume").record.level == 0


def test_a_block_decodes_the_tiles_that_it_needs_and_no_others(files, monkeypatch):
    path, read = files["tiles"][0], []
    signal = open_large(path, "image", kind_named("image").options())

    class Counted:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def seek(self, position):
            self.file.seek(position)

        def read(self, count):
            read.append(count)
            return self.file.read(count)

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, mode: Counted(opened(self, mode)))
    signal.read([slice(33, 60), slice(50, 90)])  # of tiles of 32 x 48
    assert len(read) == 1
    signal.read([slice(31, 33), slice(47, 49)])
    assert len(read) == 5


@pytest.mark.parametrize(
    "name, kind, options, message",
    [
        ("a.png", "image", {}, "convert it to a tiled .tif"),
        ("a.npz", "image", {}, "write it with numpy.save, as .npy"),
        ("a.nrrd", "volume", {}, "convert it to .npy or .zarr"),
        ("none.tif", "image", {}, "no such file"),
        ("broken.tif", "image", {}, "broken.tif"),
        ("broken.flac", "audio", {}, "cannot be read as a sound"),
        ("nan.npy", "image", {}, "NaN or infinite"),
        ("picture.npy", "image", {"noise_std": 0.1}, "noise_std needs the whole signal in memory"),
        ("picture.npy", "image", {"train_fraction": 0.5}, "train_fraction needs"),
        ("picture.npy", "image", {"nodata": 1.0}, "hold no data; there is nothing to fit"),
    ],
)
def test_what_is_not_read_by_blocks_is_told_in_one_line(name, kind, options, message, tmp_path):
    for other in ("a.png", "a.npz", "a.nrrd"):
        (tmp_path / other).write_bytes(b"?")
    (tmp_path / "broken.tif").write_bytes(b"II*\0\x08\0\0\0\xff\xff")
    (tmp_path / "broken.flac").write_bytes(b"fLaC")
    np.save(tmp_path / "nan.npy", np.full((9, 9), np.nan))
    np.save(tmp_path / "picture.npy", np.ones((9, 9), np.float32))
    with pytest.raises(SignalError, match=message) as caught:
        open_large(tmp_path / name, kind, kind_named(kind).options(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", [np.ma.masked_array(np.eye(9)), torch.ones(9, 9), [[1.0, 2.0]]], ids=["masked", "tensor", "list"]
)
def test_objects_that_are_in_memory_anyway_are_refused(data):
    with pytest.raises(SignalError, match="is not read by blocks"):
        open_large(data, "image", kind_named("image").options())


def test_a_sound_that_is_lossy_is_refused_because_its_samples_depend_on_where_decoding_begins(tmp_path):
    soundfile.write(tmp_path / "a.ogg", noise(9000, 1).astype(float) / 300, 8000)
    with pytest.raises(SignalError, match=r"convert it to .flac"):
        open_large(tmp_path / "a.ogg", "audio", kind_named("audio").options())


def test_a_sound_of_more_than_four_gigabytes_is_no_wav(files, tmp_path, monkeypatch):
    monkeypatch.setattr(large, "WAV_BYTES", 30_000)
    field = fit_groups(files["flac"][0], tmp_path / "fit", **{**SMALL, "parts": (3,), "steps": 1})
    with pytest.raises(ValueError, match=r"36,000 bytes are more than a .wav file holds; use .w64"):
        export_audio(field.field, tmp_path / "a.wav")


def test_a_sound_that_ends_before_its_header_says_is_told(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(60_000, 1).astype(float) / 300, 8000)
    signal = open_large(tmp_path / "a.flac", "audio", kind_named("audio").options())
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(SignalError, match=r"a.flac: (ends behind|cannot be read behind)"):
        signal.read([slice(50_000, 60_000)])


# Index files that nobody vouches for


def rewrite(folder, target, change):
    """Copy a fit and change its index, with a digest that is right again."""
    target.mkdir()
    for path in folder.iterdir():
        os.link(path, target / path.name) if path.name != INDEX else None
    entries = json.loads((folder / INDEX).read_text())
    change(entries)
    rest = {name: value for name, value in entries.items() if name != "digest"}
    entries["digest"] = compute_digest(rest, {})
    (target / INDEX).write_text(json.dumps(entries))


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.pop("run"),
        lambda e: e.update(more=1),
        lambda e: e.update(format="other"),
        lambda e: e.update(kind="audio"),
        lambda e: e.update(kind="no such"),
        lambda e: e.update(groups=[10**12, 10**12]),
        lambda e: e.update(groups=[1.5, 1]),
        lambda e: e.update(groups=[2, 1]),
        lambda e: e.update(groups=7),
        lambda e: e.update(scale=0.0),
        lambda e: e.update(scale="1"),
        lambda e: e.update(center=[0.0]),
        lambda e: e.update(figures={"psnr": "high"}),
        lambda e: e.update(figures=[1]),
        lambda e: e.update(run={"steps": 4}),
        lambda e: e["network"].update(name="siren"),
        lambda e: e["network"].update(shape=[10**9, 10**9]),
        lambda e: e["network"].update(parts=[10**9, 10**9]),
        lambda e: e["network"].update(parts=[6.0, 5]),
        lambda e: e["network"].update(out_dim=10**9),
        lambda e: e["network"].update(hidden_dim=10**9),
        lambda e: e["network"].update(held=[1, 1], first=[0, 0]),
        lambda e: e["network"].update(overlap=10**9),
        lambda e: e["record"].update(shape=[10**6, 10**6]),
        lambda e: e["record"].update(amplitude=-1.0),
        lambda e: e["record"].update(digest="0"),
    ],
)
def test_an_index_that_was_tampered_with_is_refused_in_one_line(change, fitted, tmp_path):
    rewrite(fitted, tmp_path / "fit", change)
    with pytest.raises(FieldFileError) as caught:
        load_field(tmp_path / "fit")
    assert "\n" not in str(caught.value)


def test_an_index_of_more_groups_than_can_be_listed_is_refused_at_once(fitted, tmp_path):
    sizes = {"shape": [2**17] * 2, "parts": [2**13] * 2, "overlap": 4}

    def enlarge(entries):
        entries["network"].update(sizes)
        entries["record"].update(shape=sizes["shape"])
        entries.update(groups=sizes["parts"])

    rewrite(fitted, tmp_path / "fit", enlarge)
    began = time.process_time()
    with pytest.raises(FieldFileError, match=r"has no group-000003.safetensors of 67,108,864 groups"):
        load_field(tmp_path / "fit")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"[" * 10**5, b"NaN", b"\xff\xfe", b'{"format": "winner-nerfstudio groups 1"}']
)
def test_a_file_that_is_no_index_is_refused_in_one_line(content, tmp_path):
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(FieldFileError, match=r"is no index of a field") as caught:
        load_field(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_altered_entry_is_noticed_by_the_digest(fitted, tmp_path):
    text = (fitted / INDEX).read_text()
    (tmp_path / INDEX).write_text(text.replace('"seed": "42"', '"seed": "43"'))
    with pytest.raises(FieldFileError, match="altered or damaged"):
        read_index(tmp_path)


def test_a_group_of_another_fit_is_refused(fitted, tmp_path):
    rewrite(fitted, tmp_path / "fit", lambda entries: None)
    group_path(tmp_path / "fit", 2).unlink()
    os.link(group_path(fitted, 1), group_path(tmp_path / "fit", 2))
    field = load_field(tmp_path / "fit")
    with pytest.raises(FieldFileError, match=r"group-000002.safetensors: belongs to another fit"):
        field(np.array([[110.0, 50.0]]))
    group_path(tmp_path / "fit", 0).unlink()
    with pytest.raises(FieldFileError, match=r"has no group-000000.safetensors of 3 groups"):
        load_field(tmp_path / "fit")
    with pytest.raises(FieldFileError, match=r"without index.json"):
        load_field(tmp_path)


def test_a_group_is_not_taken_for_the_whole(fitted):
    with pytest.raises(FieldFileError, match=r"group-000001.safetensors: has some of the parts of a fit in groups"):
        load_field(group_path(fitted, 1))


def test_a_field_in_a_folder_is_not_saved_as_one_file(fitted, tmp_path):
    with pytest.raises(ValueError, match="copy the folder"):
        load_field(fitted).save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


# Export


def assert_same_pixels(first, second):
    """Two ways to add up the windows may round a pixel to another level now and then."""
    difference = np.abs(np.asarray(first, float) - second)
    assert first.shape == second.shape
    assert difference.max() < 1.01
    assert (difference > 0.5).mean() < 1e-3


@pytest.mark.parametrize("scale, suffix", list(itertools.product((1.0, 0.6, 1.7), (".tif", ".npy", ".png"))))
def test_a_picture_is_exported_as_from_one_bank(scale, suffix, fitted, whole, tmp_path):
    paths = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"]
    told = [
        export_image(each.field, path, scale) for each, path in zip((load_field(fitted), whole), paths, strict=True)
    ]
    assert told[0] == told[1]
    signals = [load_signal(str(path), "image") for path in paths]
    assert_same_pixels(*(signal.units.to_own(signal.values) for signal in signals))


def test_a_grey_picture_with_a_palette_or_one_channel_is_written_as_it_came(files, tmp_path):
    for name in ("palette", "grey16", "white"):
        path = files[name][0]
        field = fit_groups(path, tmp_path / name, **{**PICTURE, "parts": (3, 3)})
        export_image(field.field, tmp_path / f"{name}.tif")
        one = fit(str(path), **{**SMALL, "parts": (3, 3)})
        export_image(one.field, tmp_path / f"{name}-one.tif")
        with (
            tifffile.TiffFile(tmp_path / f"{name}.tif") as ours,
            tifffile.TiffFile(tmp_path / f"{name}-one.tif") as theirs,
        ):
            assert ours.pages[0].photometric == theirs.pages[0].photometric
            # Of 16 bits, rounding shows in the last.
            assert np.abs(ours.asarray().astype(int) - theirs.asarray()).max() <= (name == "grey16")


@pytest.mark.parametrize("suffix, rate", [(".wav", None), (".flac", 4000.0), (".w64", 16_000.0), (".npy", None)])
def test_a_sound_is_exported_as_from_one_bank(suffix, rate, files, tmp_path):
    options = {**SMALL, "parts": (9,)}
    groups = fit_groups(files["flac"][0], tmp_path / "fit", group_samples=3000, **options)
    one = fit(str(files["flac"][0]), **options)
    assert abs(groups.provenance["figures"]["snr"] - one.provenance["figures"]["snr"]) < 1e-4
    paths = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"]
    for field, path in zip((groups, one), paths, strict=True):
        export_audio(field.field, path, rate)
    first, second = (np.load(path) if suffix == ".npy" else soundfile.read(path)[0] for path in paths)
    assert first.shape == second.shape
    assert np.abs(first - second).max() <= 2**-15


def test_a_volume_is_exported_as_from_one_bank(tmp_path, monkeypatch):
    options = {**SMALL, "parts": (2, 2, 2), "spacing": (1.0, 1.0, 2.0), "origin": (10.0, -20.0, 30.0)}
    volume = sponge()[:24, :26, :20].astype(np.float32)
    groups, one = fit_groups(volume, tmp_path / "fit", group_samples=4000, **options), fit(volume, **options)
    assert groups.field.network.groups.counts == (2, 2, 1)
    for scale in (1.0, 0.7):
        told = [export_volume(each.field, tmp_path / f"{i}.npy", scale) for i, each in enumerate((groups, one))]
        assert told[0] == told[1]
        first, second = (np.load(tmp_path / f"{i}.npy") for i in range(2))
        assert np.abs(first - second).max() < 1e-5
    zarr = pytest.importorskip("zarr")
    export_volume(groups.field, tmp_path / "a.zarr", 0.7)
    array = zarr.open(str(tmp_path / "a.zarr"), mode="r")
    assert np.array_equal(array[:], first)
    again = open_large(tmp_path / "a.zarr", "volume", kind_named("volume").options())
    assert again.record.spacing[2] == pytest.approx(2 * 20 / 14)
    # The same box: the middle of the samples is where it was.
    np.testing.assert_allclose(again.normalization.center, groups.field.normalization.center)
    with pytest.raises(ValueError, match=r"unknown format '\.tif'; use one of \.npy \.npz \.zarr"):
        export_volume(groups.field, tmp_path / "a.tif")
    (tmp_path / "b.zarr").symlink_to(tmp_path / "nowhere")
    for name in ("a.zarr", "b.zarr"):
        with pytest.raises(ValueError, match=f"{name}: is there already"):
            export_volume(groups.field, tmp_path / name)
    with monkeypatch.context() as patch:
        patch.setattr("winner_nerfstudio.export.grid.MOST_WHOLE", 100)
        with pytest.raises(ValueError, match=r"12,480 samples are written into \.npy or \.zarr only"):
            export_volume(groups.field, tmp_path / "a.npz")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        export_volume(groups.field, tmp_path / "file" / "c.zarr")
    assert error_line(caught.value).startswith(f"error: {tmp_path / 'file' / 'c.zarr'}: ")


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_an_export_that_fails_leaves_what_was_there(suffix, fitted, tmp_path, monkeypatch):
    (tmp_path / f"a{suffix}").write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large.ArrayFile, "write", fail)
    with pytest.raises(OSError, match="No space left"):
        export_image(load_field(fitted).field, tmp_path / f"a{suffix}")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_the_command_exports_a_folder(fitted, whole, tmp_path):
    done = call("winner-export", "image", "--load-config", fitted, "--output", "a.tif", cwd=tmp_path)
    assert done.returncode == 0, done.output
    assert_same_pixels(tifffile.imread(tmp_path / "a.tif"), whole.image())
    done = call("winner-export", "field", "--load-config", fitted, "--output", "a.safetensors", cwd=tmp_path)
    assert "is a field in a folder already; copy the folder" in done.output
    done = call("winner-export", "image", "--load-config", tmp_path, "--output", "b.tif", cwd=tmp_path)
    assert "without index.json" in done.output


@pytest.mark.commands
def test_the_memory_of_a_fit_and_its_export_does_not_grow_with_the_groups():
    few, many = (measure(groups, 1) for groups in (2, 8))
    # Eight groups have 12 MB of pixels more, and 48 MB of target.
    assert many < few + 20e6


@pytest.mark.parametrize(
    "data, words",
    [
        (None, "a NoneType cannot be fitted; give a file"),
        (np.zeros((0, 9, 3)), r"array: an array of shape \(0, 9, 3\) has no samples"),
        (trimesh.creation.box(), "is not fitted in groups; only regular samples are"),
    ],
)
def test_what_has_no_samples_is_not_fitted_in_groups(data, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        fit_groups(data, tmp_path / "fit", "image" if isinstance(data, np.ndarray) else None, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_list_is_fitted_in_groups_as_an_array(tmp_path):
    values = np.random.default_rng(0).integers(0, 9, (20, 24))
    fields = [fit_groups(data, tmp_path / str(index), "image", **{**TINY, "parts": (2, 2)}) for index, data in
              enumerate((values, values.tolist()))]  # fmt: skip
    assert np.array_equal(*(field.image() for field in fields))


def test_coordinates_that_come_with_an_array_are_those_of_a_fit_in_groups(tmp_path):
    x, y, z = 10 + 0.5 * np.arange(12), 0.5 * np.arange(14), 2.0 * np.arange(16)
    cube = xarray.DataArray(np.random.default_rng(0).random((12, 14, 16)), {"x": x, "y": y, "z": z}, ("x", "y", "z"))
    volume = fit_groups(cube, tmp_path / "volume", **{**TINY, "parts": (2, 1, 1)}).field
    assert volume.record.spacing == (0.5, 0.5, 2.0)
    assert volume.normalization.center == (12.75, 3.25, 15.0)
    wider = fit_groups(cube, tmp_path / "wider", spacing=3.0, **{**TINY, "parts": (2, 1, 1)}).field
    assert wider.record.spacing == (3.0, 3.0, 3.0)
    sound = pandas.Series(np.random.default_rng(0).uniform(-1, 1, 200), index=np.arange(200) / 8000)
    assert fit_groups(sound, tmp_path / "sound", **TINY).field.record.sample_rate == 8000


def test_a_url_of_this_machine_names_a_file_to_be_fitted_in_groups(tmp_path):
    np.save(tmp_path / "a.npy", noise(20, 24))
    options = {**TINY, "parts": (2, 2)}
    fields = [
        fit_groups(f"{scheme}{tmp_path}/a.npy", tmp_path / f"fit-{len(scheme)}", **options)
        for scheme in ("file://", "")
    ]
    assert fields[0].field.record == fields[1].field.record
    with pytest.raises(SignalError, match=r"a\.npy: is a URL, which is not read; download the file"):
        fit_groups("s3://bucket/a.npy", tmp_path / "other", **options)
