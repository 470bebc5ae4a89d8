"""Points of laser scanners: coordinates of any size, classes, and headers that are wrong."""

import struct
import sys

import laspy
import numpy as np
import pytest

from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.signals.cloud import load_surface
from winner_nerfstudio.signals.cloud.reading import read_points
from winner_nerfstudio.signals.errors import SignalError

from .clouds import ball

CORNER = np.array([689_000.0, 5_334_000.0, 520.0])
"""Of a place in Munich, in UTM."""
POINTS, NORMALS = (rows.round(3) for rows in ball(500, 7.0, CORNER))


def write_las(path, points=POINTS, normals=None, classes=2, withheld=0, version="1.4", offsets=CORNER):
    header = laspy.LasHeader(point_format=6 if version == "1.4" else 1, version=version)
    header.scales, header.offsets = [0.001] * 3, offsets
    if normals is not None:
        for name in ("NormalX", "NormalY", "NormalZ"):
            header.add_extra_dim(laspy.ExtraBytesParams(name, np.float64))
    las = laspy.LasData(header)
    las.x, las.y, las.z = points.T
    las.classification = np.full(len(points), classes)
    las.withheld = np.arange(len(points)) < withheld
    if normals is not None:
        las.NormalX, las.NormalY, las.NormalZ = normals.T
    las.write(path)
    return path


@pytest.mark.parametrize("version", ["1.2", "1.4"])
@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize("offsets", [CORNER, CORNER.round(-6)])
def test_coordinates_of_a_map_keep_their_millimetres(tmp_path, version, suffix, offsets):
    path = write_las(tmp_path / f"a{suffix}", normals=NORMALS, version=version, offsets=offsets)
    columns = read_points(path)
    np.testing.assert_allclose(columns.points, POINTS, atol=1e-3)
    np.testing.assert_array_equal(columns.normals, NORMALS)
    assert kind_of(path).name == "sdf"
    cloud = load_surface(path)
    np.testing.assert_allclose(cloud.normalization.to_world(cloud.points), POINTS, atol=1e-3)


def test_classes_and_withheld_points_are_told(tmp_path):
    path = write_las(tmp_path / "a.las", classes=np.where(np.arange(500) < 100, 6, 2), withheld=20)
    columns = read_points(path)
    assert columns.notes == (
        "LAS 1.4, in steps of 0.001; only coordinates are used",
        "classes: 2 (ground) 400, 6 (building) 80",
        "left out 20 points that are flagged as withheld",
    )
    np.testing.assert_allclose(columns.points, POINTS[20:], atol=1e-6)
    assert columns.normals is None
    assert read_points(write_las(tmp_path / "b.las", classes=0)).notes == columns.notes[:1]


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize("step", [1, 257])
def test_colours_of_8_and_of_16_bits_are_read(tmp_path, suffix, step):
    las = laspy.create(point_format=2, file_version="1.2")
    las.header.scales, las.header.offsets = [0.001] * 3, CORNER
    las.x, las.y, las.z = POINTS.T
    colors = np.rint(127.5 * (NORMALS + 1)).astype(np.uint16)
    las.red, las.green, las.blue = (step * colors).T
    las.write(tmp_path / f"a{suffix}")
    columns = read_points(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(columns.colors.values, colors / 255, atol=1e-6)
    assert columns.colors.bits == (8 if step == 1 else 16)
    assert columns.notes[0].endswith("only coordinates and colours are used")


@pytest.mark.parametrize("is_cut", [False, True])
def test_waveforms_behind_the_points_of_las_1_3_are_no_points(tmp_path, is_cut):
    las = laspy.create(point_format=4, file_version="1.3")
    las.header.scales, las.header.offsets = [0.001] * 3, CORNER
    las.x, las.y, las.z = POINTS.T
    las.write(tmp_path / "a.las")
    content = bytearray((tmp_path / "a.las").read_bytes())
    struct.pack_into("<Q", content, 227, len(content))
    start, size = struct.unpack_from("<I", content, 96)[0], las.header.point_format.size
    assert len(content) == start + 500 * size
    if is_cut:
        del content[-size:]
        struct.pack_into("<Q", content, 227, len(content))
    (tmp_path / "a.las").write_bytes(content + bytes(60 + 5000))
    if is_cut:
        with pytest.raises(SignalError, match="says 500 points, the file has room for 499"):
            read_points(tmp_path / "a.las")
    else:
        np.testing.assert_allclose(read_points(tmp_path / "a.las").points, POINTS, atol=1e-3)


def with_count(path, count):
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, 247, count)
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def with_scale(path, scale):
    content = bytearray(path.read_bytes())
    struct.pack_into("<d", content, 131, scale)
    path.write_bytes(content)


REFUSED = {
    "more.las": (lambda path: with_count(path, 501), "says 501 points, the file has room for 500"),
    "none.las": (lambda path: with_count(path, 0), "says 0 points, the file has room for 500"),
    "many.las": (lambda path: with_count(path, 2**40), "1,099,511,627,776 points are more than 100,000,000"),
    "many.laz": (lambda path: with_count(path, 2**40), "1,099,511,627,776 points are more than 100,000,000"),
    "more.laz": (lambda path: with_count(path, 50_000_000), "more.laz: "),
    "cut.las": (cut, "says 500 points, the file has room for 4"),
    "cut.laz": (cut, "cut.laz: cannot be read"),
    "scale.las": (lambda path: with_scale(path, 0.0), "scales"),
    "nan.las": (lambda path: with_scale(path, float("nan")), "are zero or not finite"),
    "text.las": (lambda path: path.write_text("hello"), "text.las: cannot be read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_contradicts_its_header_is_refused_in_one_line(tmp_path, name):
    change, words = REFUSED[name]
    change(write_las(tmp_path / name) and tmp_path / name)
    with pytest.raises(SignalError) as caught:
        load_surface(tmp_path / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_laspy_the_line_that_installs_it_is_named(tmp_path, monkeypatch):
    path = write_las(tmp_path / "a.las")
    monkeypatch.setitem(sys.modules, "laspy", None)
    with pytest.raises(SignalError, match=r'pip install "winner-nerfstudio\[las\]"'):
        load_surface(path)
