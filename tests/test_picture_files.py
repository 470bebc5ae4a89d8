"""Every picture format: all bands, their full depth, the right page, and what is lost is refused or told."""

import re
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import ImageCms

from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.image import cannot_save, load_image, save_image
from winner_nerfstudio.signals.image.reading.plain import find_avif_profile
from winner_nerfstudio.signals.large import open_large
from winner_nerfstudio.signals.load import load_signal
from winner_nerfstudio.signals.options import ImageOptions

RNG = np.random.default_rng(0)
SIZE = (13, 18)


def samples(dtype, *channels, size=SIZE):
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RNG.normal(size=(*size, *channels)).astype(kind)
    limits = np.iinfo(kind)
    return RNG.integers(limits.min, limits.max, (*size, *channels), kind, endpoint=True)


def own(image):
    return image.units.to_own(image.values)


def span(image):
    return abs(image.units.offset) + image.units.amplitude


def assert_holds(image, expected):
    """Check that a signal has these values, [h, w] or [h, w, c], to what single precision resolves."""
    expected = np.asarray(expected, np.float64).reshape(*np.shape(expected)[:2], -1)
    assert image.values.shape == expected.shape
    np.testing.assert_allclose(own(image), expected, atol=2e-7 * span(image) + 1e-9, rtol=0)


def assert_comes_back(image, folder):
    """Check that a perfect fit is written and loaded again in the same mode and depth."""
    back = folder / f"back{image.suffix}"
    save_image(back, own(image), image.record)
    again = load_image(back)
    if image.suffix != ".npy":
        assert (again.record.mode, again.record.dtype) == (image.record.mode, image.record.dtype)
    if image.suffix != ".npy" and image.record.dtype[1:] == "u2":  # as parts of white, which is 65535 in the file
        assert again.units.to_own(np.float32(1)) == 65535
        np.testing.assert_allclose(again.values, image.values, atol=1.1 / 65535)
        return
    np.testing.assert_allclose(own(again), own(image), atol=4e-7 * max(span(image), span(again)) + 1e-9, rtol=0)


def said(image):
    return " | ".join(image.describe())


def refused(path, **options):
    with pytest.raises(SignalError) as caught:
        load_image(path, ImageOptions(**options))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


TIFF_LAYOUTS = {
    "contiguous": {"planarconfig": "contig"},
    "planes": {"planarconfig": "separate"},
    "tiles": {"planarconfig": "contig", "tile": (16, 16)},
    "tiled-planes": {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib", "predictor": True},
    "strips": {"planarconfig": "contig", "rowsperstrip": 3, "compression": "lzw"},
    "bigtiff": {"planarconfig": "contig", "bigtiff": True, "byteorder": ">"},
}


@pytest.mark.parametrize("layout", TIFF_LAYOUTS)
@pytest.mark.parametrize(
    "bands, extra, mode", [(3, [], "RGB"), (4, ["unassalpha"], "RGBA"), (5, ["unspecified"] * 2, "RGB+")]
)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiffs_are_read_in_every_layout(tmp_path, layout, bands, extra, mode, dtype):
    array, options = samples(dtype, bands), dict(TIFF_LAYOUTS[layout])
    if options.get("predictor") and dtype == "f4":
        options["predictor"] = 3
    big = {key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    stored = np.moveaxis(array, -1, 0) if options["planarconfig"] == "separate" else array
    with tifffile.TiffWriter(tmp_path / "a.tif", **big) as tiff:
        tiff.write(stored, photometric="rgb", extrasamples=extra, metadata=None, **options)
    image = load_image(tmp_path / "a.tif")
    assert image.record.mode == mode
    assert_holds(image, array)
    assert f"{bands} bands of {8 * np.dtype(dtype).itemsize} bits" in said(image)
    assert_comes_back(image, tmp_path)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("bands", [1, 2, 3, 7])
def test_tiffs_of_every_number_type_come_back_as_they_were(tmp_path, dtype, bands):
    array = samples(dtype, bands)
    tifffile.imwrite(
        tmp_path / "a.tif", array if bands > 1 else array[..., 0], photometric="minisblack", metadata=None,
        planarconfig="contig" if bands > 1 else None, extrasamples=["unspecified"] * (bands - 1),
    )  # fmt: skip
    image = load_image(tmp_path / "a.tif")
    assert np.dtype(image.record.dtype) == np.dtype(dtype)
    assert image.record.mode == ("L" if bands == 1 else "L+")
    assert_holds(image, array)
    assert_comes_back(image, tmp_path)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("base, photometric", [("L", "minisblack"), ("RGB", "rgb")])
def test_the_extra_samples_of_a_tiff_say_what_is_alpha(tmp_path, dtype, base, photometric):
    array = samples(dtype, len(base) + 1)
    for kind, mode in {"unassalpha": base + "A", "assocalpha": base + "a", "unspecified": base + "+"}.items():
        tifffile.imwrite(tmp_path / "a.tif", array, photometric=photometric, planarconfig="contig", extrasamples=[kind])
        image = load_image(tmp_path / "a.tif")
        assert image.record.mode == mode
        assert ("premultiplied" in said(image)) == (kind == "assocalpha")
        assert ("doesn't call alpha" in said(image)) == (kind == "unspecified")
        assert_holds(image, array)
        assert_comes_back(image, tmp_path)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "?"])
def test_white_as_the_least_value_is_inverted_and_told(tmp_path, dtype):
    array = samples("u1") > 127 if dtype == "?" else samples(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite", metadata=None)
    image = load_image(tmp_path / "a.tif")
    assert_holds(image, ~array * 255.0 if dtype == "?" else np.iinfo(dtype).max - array)
    assert "white as the least value, inverted" in said(image)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_the_alpha_beside_white_as_the_least_value_is_not_inverted(tmp_path, dtype):
    array = samples(dtype, 2)
    options = {"photometric": "miniswhite", "planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata=None, **options)
    most = np.iinfo(dtype).max
    assert_holds(load_image(tmp_path / "a.tif"), np.stack([most - array[..., 0], array[..., 1]], -1))


def write_packed_tiff(path, array, bits):
    """Write grey samples of `bits` bits, which no library here packs."""
    height, width = array.shape
    places = np.arange(bits)[::-1]
    body = b"".join(np.packbits((row[:, None].astype(int) >> places) & 1).tobytes() for row in array)
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(body)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    body += b"\0" * (len(body) % 2)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", 9) + entries + bytes(4))


@pytest.mark.parametrize("bits", [1, 2, 4, 5, 6, 7, 10, 12, 14])
def test_odd_depths_keep_their_range(tmp_path, bits):
    array = RNG.integers(0, 1 << bits, SIZE).astype("u1" if bits < 8 else "u2")
    array[0, :2] = 0, (1 << bits) - 1
    write_packed_tiff(tmp_path / "a.tif", array, bits)
    image = load_image(tmp_path / "a.tif")
    assert (image.values.min(), image.values.max()) == (-1, 1)
    assert_holds(image, np.rint(array * 255.0 / ((1 << bits) - 1)) if bits < 8 else array)
    assert f"{bits} bit" in said(image)
    assert_is_as_bright(image, tmp_path)


def assert_is_as_bright(image, folder):
    """Check that a perfect fit is written with the same brightness, as parts of white."""
    save_image(folder / "back.tif", own(image), image.record)
    np.testing.assert_allclose(load_image(folder / "back.tif").values, image.values, atol=1e-4)


@pytest.mark.parametrize("scale, mode", [(257, "P"), (256, "P"), (1, "P"), (3, "RGB")])
def test_a_palette_is_looked_up_in_its_own_depth(tmp_path, scale, mode):
    colors = RNG.integers(0, 256, (3, 256)).astype("u2") * scale
    index = samples("u1")
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colors, metadata=None)
    image = load_image(tmp_path / "a.tif")
    assert image.record.mode == mode
    assert_holds(image, (colors // scale if mode == "P" else colors).T[index])
    assert_comes_back(image, tmp_path)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_ink_is_kept_as_ink(tmp_path, dtype):
    for bands, mode in {4: "CMYK", 5: "CMYK+"}.items():
        array = samples(dtype, bands)
        extra = ["unspecified"] * (bands - 4)
        tifffile.imwrite(tmp_path / "a.tif", array, photometric="separated", planarconfig="contig", extrasamples=extra)
        image = load_image(tmp_path / "a.tif")
        assert image.record.mode == mode
        assert_holds(image, array)
        assert_comes_back(image, tmp_path)


def test_ycbcr_becomes_rgb_or_is_refused(tmp_path):
    rgb = np.full((16, 16, 3), (200, 100, 40), np.uint8)
    ycbcr = np.asarray(Pillow.fromarray(rgb).convert("YCbCr"))
    tifffile.imwrite(tmp_path / "a.tif", ycbcr, photometric="ycbcr", subsampling=(1, 1), metadata=None)
    assert np.abs(own(load_image(tmp_path / "a.tif")) - rgb).max() <= 2
    assert "converted from YCbCr" in said(load_image(tmp_path / "a.tif"))
    Pillow.fromarray(rgb).convert("YCbCr").save(tmp_path / "b.tif", compression="jpeg", quality=100)
    assert tifffile.TiffFile(tmp_path / "b.tif").pages[0].photometric == 6
    assert np.abs(own(load_image(tmp_path / "b.tif")) - rgb).max() <= 3
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tiff.pages[0].tags[530].overwrite((2, 2))
    assert "YCbCr with subsampled" in refused(tmp_path / "a.tif")


PAGES = {
    "preview first": ([((6, 9), 1), (SIZE, 0)], "page 2 of 2", 1),
    "preview without a mark": ([((6, 9), 0), (SIZE, 0)], "page 2 of 2", 1),
    "mask first": ([((26, 36), 4), (SIZE, 0)], "page 2 of 2", 1),
    "pyramid": ([(SIZE, 0), ((6, 9), 1), ((3, 4), 1)], "page 1 of 3", 0),
    "frames": ([(SIZE, 2), (SIZE, 2), (SIZE, 2)], "3 of them of this size", 0),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_of_full_resolution_is_fitted_and_named(tmp_path, name):
    pages, words, index = PAGES[name]
    arrays = [samples("u1", 3, size=size) for size, _ in pages]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for array, (_, kind) in zip(arrays, pages, strict=True):
            is_mask = kind == 4
            tiff.write(
                array[..., 0] > 127 if is_mask else array, photometric="mask" if is_mask else "rgb", subfiletype=kind,
                metadata=None,
            )  # fmt: skip
    image = load_image(tmp_path / "a.tif")
    assert_holds(image, arrays[index])
    assert words in said(image)


def test_the_full_picture_may_lie_below_its_preview(tmp_path):
    preview, full = samples("u1", 3, size=(6, 9)), samples("u2", 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(preview, photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        tiff.write(full, photometric="rgb", subfiletype=0, metadata=None)
    image = load_image(tmp_path / "a.tif")
    assert_holds(image, full)
    assert "page 1, part 1" in said(image)


@pytest.mark.parametrize(
    "axes, options, words",
    [
        ("ZYX", {"imagej": True}, "a volume"),
        ("CYX", {"imagej": True}, "3 channels in pages of their own"),
        ("ZYX", {"ome": True}, "a volume"),
        ("CYX", {"ome": True}, "3 channels in pages of their own"),
        ("ZYX", {"truncate": True}, "a volume"),
        ("ZYX", {"volumetric": True}, "a volume"),
        ("QYX", {}, "--kind volume fits them all as slices"),
    ],
)
def test_a_stack_is_called_what_it_is(tmp_path, axes, options, words):
    path = tmp_path / ("a.ome.tif" if "ome" in options else "a.tif")
    tifffile.imwrite(
        path, samples("u1", size=(3, 13, 18)), photometric="minisblack", metadata={"axes": axes}, **options
    )
    assert words in (refused(path) if options else said(load_image(path)))
    if "volume" in words:
        assert load_signal(path, "volume").values.shape == (18, 13, 3, 1)


def test_many_directories_take_no_long_time(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(np.arange(4, dtype=np.uint8).reshape(2, 2), photometric="minisblack", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, start)
    directory, step = bytes(data[start : start + 2 + 12 * tags]), 6 + 12 * tags
    last = start + 2 + 12 * tags
    begin = len(data)
    data[last : last + 4] = struct.pack("<I", begin)
    count = 100_000
    chain = (directory + struct.pack("<I", begin + (i + 1) * step if i < count - 1 else 0) for i in range(count))
    (tmp_path / "a.tif").write_bytes(bytes(data) + b"".join(chain))
    image = load_image(tmp_path / "a.tif")
    assert "page 1 of at least 1,001" in said(image)
    circle = data[:begin] + directory + struct.pack("<I", start)
    (tmp_path / "b.tif").write_bytes(circle)
    assert load_image(tmp_path / "b.tif").values.shape == (2, 2, 1)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "jpeg"])
@pytest.mark.parametrize("tile", [None, (64, 64)])
@pytest.mark.parametrize("part", [0.3, 0.97])
def test_a_tiff_that_is_cut_off_is_refused(tmp_path, compression, tile, part):
    array = samples("u1", 3, size=(130, 140))
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", compression=compression, tile=tile, metadata=None)
    whole = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: int(part * len(whole))])
    assert "whole" in refused(tmp_path / "a.tif")


def test_tiles_that_a_file_leaves_out_are_told(tmp_path):
    array = samples("u1", size=(64, 64))

    def tiles():
        yield array[:32, :32]
        yield array[:32, 32:]
        yield None
        yield None

    tifffile.imwrite(
        tmp_path / "a.tif", tiles(), shape=(64, 64), dtype="u1", tile=(32, 32), photometric="minisblack",
        compression="zlib",
    )  # fmt: skip
    assert "2 of 4 tiles or strips are left out of the file" in said(load_image(tmp_path / "a.tif"))


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits"])
@pytest.mark.parametrize("white_first", [False, True])
def test_black_and_white_scans_are_read(tmp_path, compression, white_first):
    rows, columns = np.mgrid[0:64, 0:97]
    array = (columns // 5 + rows // 7) % 3 == 0
    more = {262: 0} if white_first else {}
    Pillow.fromarray(array).save(tmp_path / "a.tif", compression=compression, tiffinfo=more)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].photometric == (0 if white_first else 1)
    with Pillow.open(tmp_path / "a.tif") as picture:
        seen = np.asarray(picture)
    image = load_image(tmp_path / "a.tif")
    assert image.record.mode == "1"
    assert_holds(image, seen * 255.0)
    assert_comes_back(image, tmp_path)


def test_the_floating_point_of_opencv_is_read(tmp_path):
    array = np.abs(samples("f4", 3)) + 0.1
    cv2.imwrite(str(tmp_path / "a.tif"), array[..., ::-1])
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].photometric == 32845
    image = load_image(tmp_path / "a.tif")
    np.testing.assert_allclose(own(image), array, rtol=0.1, atol=0.1)
    assert "converted from LogLuv" in said(image)
    assert_comes_back(image, tmp_path)


def test_too_many_bands_are_refused_and_a_missing_codec_is_named(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", samples("u1", 33), photometric="minisblack", planarconfig="contig")
    assert "has 33 bands" in refused(tmp_path / "a.tif")
    array = samples("u1")
    tifffile.imwrite(tmp_path / "b.tif", array, compression="lzw")

    def decode(self, **options):
        raise error

    error = ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", decode)
    assert_holds(load_image(tmp_path / "b.tif"), array)
    tifffile.imwrite(tmp_path / "c.tif", array.astype("u2"), compression="lzw")
    words = refused(tmp_path / "c.tif")
    assert "LZW) is not read without imagecodecs" in words
    error = ModuleNotFoundError("No module named 'compression'")
    assert refused(tmp_path / "c.tif") == words
    assert 'pip install "winner-nerfstudio[jpeg2000]"' in words


def test_a_depth_or_a_predictor_that_needs_imagecodecs_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    write_packed_tiff(path, RNG.integers(0, 1 << 12, SIZE), 12)

    def unpack(*args, **options):
        raise NotImplementedError("packints_decode of 12-bit integers requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.tifffile.imagecodecs, "packints_decode", unpack)
    words = "its depth (12 bits) is not read without imagecodecs"
    told = refused(path)
    assert words in told
    assert told.endswith("or save it with 8, 16 or 32 bits")
    with pytest.raises(SignalError, match=re.escape(words)):
        open_large(path, "image", ImageOptions())
    tifffile.imwrite(path, samples("f4"), compression="zlib", predictor=True)

    def decode(self, **options):
        raise ValueError("<PREDICTOR.FLOATINGPOINT: 3> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", decode)
    assert "its predictor (FLOATINGPOINT) is not read without imagecodecs" in refused(path)


def write_raw(path, sensor, preview=True):
    """Write a DNG: a small preview, and the sensor's values in a directory below it."""
    pattern = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, bytes([0, 1, 1, 2]), True), (50717, "I", 1, 4095, True)]
    identity = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    camera = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), True), (50708, "s", 0, "Maker Model", True),
        (50721, "2i", 9, identity, True), (50778, "H", 1, 21, True), (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),
        (271, "s", 0, "Maker", True), (272, "s", 0, "Model", True),
    ]  # fmt: skip
    with tifffile.TiffWriter(path) as tiff:
        if preview:
            small = np.zeros((24, 36, 3), np.uint8)
            tiff.write(small, photometric="rgb", subfiletype=1, subifds=1, metadata=None, extratags=camera)
        tiff.write(sensor, photometric=32803, subfiletype=0, metadata=None, extratags=pattern + camera * (not preview))


@pytest.mark.parametrize("suffix", [".dng", ".tif", ".nef"])
@pytest.mark.parametrize("preview", [True, False])
def test_a_raw_photograph_is_developed_in_full_size(tmp_path, suffix, preview):
    rows, columns = np.mgrid[0:120, 0:160]
    write_raw(tmp_path / f"a{suffix}", (columns * 10 + rows * 5).astype(np.uint16), preview)
    image = load_image(tmp_path / f"a{suffix}")
    assert image.values.shape == (120, 160, 3)
    assert len(np.unique(own(image).round())) > 256
    assert (own(image)[:, -20:].mean() - own(image)[:, :20].mean()) > 10_000
    assert "160 x 120 samples, developed by LibRaw" in said(image)
    assert image.suffix == (".tif" if suffix == ".tif" else ".png")
    assert "more than --max-pixels 1,000" in refused(tmp_path / f"a{suffix}", max_pixels=1000)


def test_a_preview_never_stands_for_a_raw_photograph(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(samples("u1", 3, size=(24, 36)), photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        sensor = samples("u2", size=(120, 160))
        tiff.write(sensor, photometric=32803, subfiletype=0, metadata=None, compression="zlib")
    assert "its preview is not the picture" in refused(tmp_path / "a.tif")
    (tmp_path / "b.cr2").write_bytes(b"nothing of a camera")
    assert "raw file that LibRaw cannot develop" in refused(tmp_path / "b.cr2")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, array, bits, color, *chunks):
    """Write a PNG by hand: samples [h, w, c] of 1 to 16 bits."""
    height, width = array.shape[:2]
    rows = array.reshape(height, -1)
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:
        shifts = np.arange(bits)[::-1]
        lines = [np.packbits((row[:, None] >> shifts) & 1).tobytes() for row in rows]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body)


@pytest.mark.parametrize("color, mode", [(0, "L"), (2, "RGB"), (4, "LA"), (6, "RGBA")])
def test_png_keeps_sixteen_bits_in_every_mode(tmp_path, color, mode):
    array = samples("u2", len(mode))
    write_png(tmp_path / "a.png", array, 16, color)
    image = load_image(tmp_path / "a.png")
    assert (image.record.mode, image.record.dtype) == (mode, "<u2")
    assert_holds(image, array)
    assert_comes_back(image, tmp_path)


@pytest.mark.parametrize("bits, color", [(16, 0), (16, 2), (8, 0), (8, 2), (4, 0), (2, 0), (1, 0)])
def test_a_transparent_colour_of_any_depth_becomes_alpha(tmp_path, bits, color):
    count = {0: 1, 2: 3}[color]
    array = RNG.integers(0, 1 << bits, (*SIZE, count)).astype("u2")
    key = array[3, 4]
    write_png(tmp_path / "a.png", array, bits, color, chunk(b"tRNS", key.astype(">u2").tobytes()))
    image = load_image(tmp_path / "a.png")
    scale = 255 // ((1 << bits) - 1) if bits < 8 else 1
    top = 65535 if bits == 16 else 255
    alpha = np.where((array != key).any(-1, keepdims=True), top, 0)
    assert_holds(image, np.concatenate([array * scale, alpha], -1))


def test_apple_s_own_form_of_png_is_refused_as_such(tmp_path):
    write_png(tmp_path / "a.png", samples("u2", 3), 16, 2)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:8] + chunk(b"CgBI", bytes(4)) + whole[8:])
    assert "Apple's own form of PNG" in refused(tmp_path / "a.png")


def test_frames_that_are_left_out_are_told(tmp_path):
    frames = [Pillow.fromarray(samples("u1", 3)) for _ in range(4)]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert "the first of 4 frames is fitted" in said(load_image(tmp_path / name))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "ten bits"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_jpeg_2000_keeps_bands_and_depth(tmp_path, dtype, bands, codec):
    codecs = pytest.importorskip("imagecodecs")
    ten = dtype == "ten bits"
    array = RNG.integers(0, 1024, (*SIZE, bands)).astype("u2") if ten else samples(dtype, bands)
    stored = array[..., 0] if bands == 1 else array
    more = {"bitspersample": 10} if ten else {}
    data = codecs.jpeg2k_encode(stored, codecformat=codec, level=0, reversible=True, **more)
    path = tmp_path / f"a.{codec}"
    path.write_bytes(data)
    image = load_image(path)
    assert_holds(image, array)
    assert f"{10 if ten else 8 * array.dtype.itemsize} bits" in said(image)
    assert ("doesn't call alpha" in said(image)) == (bands in (2, 4, 5))
    assert_comes_back(image, tmp_path)
    assert "--max-pixels 9" in refused(path, max_pixels=9)
    path.write_bytes(data[: int(0.6 * len(data))])
    refused(path)


@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("bits", [1, 2, 5, 7])
def test_jpeg_2000_of_fewer_than_8_bits_is_scaled_to_8(tmp_path, bits, bands):
    codecs = pytest.importorskip("imagecodecs")
    white = (1 << bits) - 1
    array = RNG.integers(0, 1 << bits, (*SIZE, bands)).astype("u1")
    array[0, 0], array[0, 1] = 0, white
    (tmp_path / "a.jp2").write_bytes(
        codecs.jpeg2k_encode(array.squeeze(), codecformat="jp2", level=0, reversible=True, bitspersample=bits)
    )
    image = load_image(tmp_path / "a.jp2")
    assert (image.values.min(), image.values.max()) == (-1, 1)
    assert_holds(image, np.rint(array * 255.0 / white))
    assert (image.record.mode == "1") == (bits == bands == 1)
    assert (f"its {bits} bit" in said(image)) == (image.record.mode != "1")
    assert_comes_back(image, tmp_path)


def write_palette_jp2(path, index, bits, colors):
    """Write a JPEG 2000 of indices with a palette, [n, 3], which no library here writes."""
    codecs = pytest.importorskip("imagecodecs")
    data = codecs.jpeg2k_encode(index, codecformat="jp2", level=0, reversible=True, bitspersample=bits)
    boxes = [
        b"pclr" + struct.pack(">HB3B", len(colors), 3, 7, 7, 7) + colors.tobytes(),
        b"cmap" + b"".join(struct.pack(">HBB", 0, 1, band) for band in range(3)),
    ]
    more = b"".join(struct.pack(">I", 4 + len(box)) + box for box in boxes)
    at = data.find(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", data, at)
    space = struct.pack(">I", 16)  # sRGB, at the end of the last box, colr
    head = struct.pack(">I", length + len(more)) + data[at + 4 : at + length - 4] + space
    path.write_bytes(data[:at] + head + more + data[at + length :])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_palette_of_a_jpeg_2000_is_looked_up_by_indices_of_any_depth(tmp_path, bits):
    colors = RNG.integers(0, 256, (1 << bits, 3)).astype("u1")
    index = RNG.integers(0, 1 << bits, SIZE).astype("u1")
    write_palette_jp2(tmp_path / "a.jp2", index, bits, colors)
    image = load_image(tmp_path / "a.jp2")
    assert_holds(image, colors[index])
    assert_comes_back(image, tmp_path)


def test_a_palette_beside_which_a_jpeg_2000_has_alpha_is_refused(tmp_path):
    index = RNG.integers(0, 256, (*SIZE, 2)).astype("u1")
    write_palette_jp2(tmp_path / "a.jp2", index, 8, RNG.integers(0, 256, (256, 3)).astype("u1"))
    assert "with alpha or other than 8 bits beside its palette is not read" in refused(tmp_path / "a.jp2")


def write_exr(path, channels, **header):
    openexr = pytest.importorskip("OpenEXR")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage, **header}
    with openexr.File(header, dict(channels)) as file:
        file.write(str(path))


@pytest.mark.parametrize("dtype", ["f2", "f4"])
@pytest.mark.parametrize(
    "names, fitted, mode",
    [
        ("RGB", "RGB", "RGB"), ("RGBA", "RGBA", "RGBa"), ("Y", "Y", "L"), ("YA", "YA", "La"),
        ("RGBZ", "RGB", "RGB"), ("Z", "Z", "L"), ("UVW", "UVW", "L+"), ("XYZ", "XYZ", "L+"), ("bgr", "rgb", "RGB"),
        (["L.C.A", "L.C.B", "L.C.G", "L.C.R"], ["L.C.R", "L.C.G", "L.C.B", "L.C.A"], "RGBa"),
        (["L.blue", "L.green", "L.red"], ["L.red", "L.green", "L.blue"], "RGB"),
        (["C.R", "C.G", "C.B", "N.x"], ["C.B", "C.G", "C.R", "N.x"], "L+"),
    ],
)  # fmt: skip
def test_openexr_is_read_by_the_names_of_its_channels(tmp_path, dtype, names, fitted, mode):
    planes = {name: samples(dtype) for name in names}
    write_exr(tmp_path / "a.exr", planes)
    image = load_image(tmp_path / "a.exr")
    assert (image.record.mode, image.suffix) == (mode, ".tif")
    assert_holds(image, np.stack([planes[name] for name in fitted], -1))
    assert ("channels left out: Z" in said(image)) == (names == "RGBZ")
    assert "written as .tif" in said(image)
    assert "read but not written; use one of .tif .tiff or .npy" in cannot_save(tmp_path / "b.exr", image.record)
    assert_comes_back(image, tmp_path)


def test_the_data_window_of_openexr_is_told_where_it_is_not_the_display_window(tmp_path):
    windows = {"dataWindow": [(2, 3), (19, 15)], "displayWindow": [(0, 0), (30, 30)]}
    boxes = {name: tuple(np.array(corner, "i4") for corner in corners) for name, corners in windows.items()}
    planes = {name: samples("f4") for name in "RGB"}
    for header, told in ((boxes, True), ({}, False)):
        write_exr(tmp_path / "a.exr", planes, **header)
        image = load_image(tmp_path / "a.exr")
        assert_holds(image, np.stack(list(planes.values()), -1))
        assert ("the data window is fitted" in said(image)) == told


def test_openexr_is_refused_where_it_would_be_misread(tmp_path, capfd):
    write_exr(tmp_path / "a.exr", {"id": samples("u4")})
    assert "not of floating point" in refused(tmp_path / "a.exr")
    write_exr(tmp_path / "b.exr", {"R": samples("f2"), "G": samples("f2"), "B": samples("f2")})
    assert "--max-pixels 9" in refused(tmp_path / "b.exr", max_pixels=9)
    whole = (tmp_path / "b.exr").read_bytes()
    for part in (0.2, 0.5, 0.97):
        (tmp_path / "b.exr").write_bytes(whole[: int(part * len(whole))])
        refused(tmp_path / "b.exr")


def test_radiance_is_read_as_floating_point(tmp_path):
    array = np.abs(samples("f4", 3)) * 100
    cv2.imwrite(str(tmp_path / "a.hdr"), array[..., ::-1])
    image = load_image(tmp_path / "a.hdr")
    assert image.record.label == "RGB, float32"
    np.testing.assert_allclose(own(image), array, atol=array.max(-1, keepdims=True).max() / 100)
    assert_comes_back(image, tmp_path)
    whole = (tmp_path / "a.hdr").read_bytes()
    assert "--max-pixels 9" in refused(tmp_path / "a.hdr", max_pixels=9)
    (tmp_path / "a.hdr").write_bytes(whole.replace(b"\n\n", b"\nEXPOSURE=2.5\n\n", 1))
    assert "EXPOSURE=2.5 is not divided out" in said(load_image(tmp_path / "a.hdr"))
    (tmp_path / "a.hdr").write_bytes(whole.replace(b"rgbe", b"xyze"))
    assert "other than RGBE" in refused(tmp_path / "a.hdr")
    (tmp_path / "a.hdr").write_bytes(whole.replace(b"-Y 13", b"+Y 13"))
    assert "stored turned" in refused(tmp_path / "a.hdr")
    (tmp_path / "a.hdr").write_bytes(whole[: len(whole) // 2])
    assert "whole" in refused(tmp_path / "a.hdr")


@pytest.mark.parametrize("white", [511, 1023, 4095, 16383, 65535])
def test_a_picture_of_fewer_bits_than_sixteen_is_as_bright_in_the_files_that_it_is_written_to(tmp_path, white):
    array = RNG.integers(0, white + 1, (*SIZE, 3)).astype(">u2")
    array[0, 0], array[0, 1] = 0, white
    (tmp_path / "a.ppm").write_bytes(b"P6 %d %d %d\n" % (SIZE[1], SIZE[0], white) + array.tobytes())
    image = load_image(tmp_path / "a.ppm")
    assert ("scaled to 65535 in files of pictures" in said(image)) == (white < 65535)
    overshooting = own(image) + np.where(array == white, 7.0, 0.0)
    filled = np.rint(array.astype(np.float64) / white * 65535)
    for name in ("b.png", "b.tif"):
        save_image(tmp_path / name, overshooting, image.record)
        stored = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)[..., ::-1]
        assert stored.dtype == np.uint16
        np.testing.assert_array_equal(stored, filled)
    save_image(tmp_path / "b.npy", own(image), image.record)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), array)


def test_a_reference_of_another_depth_is_refused(tmp_path):
    array = RNG.integers(0, 1024, SIZE).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 %d %d 1023\n" % SIZE[::-1] + array.tobytes())
    cv2.imwrite(str(tmp_path / "b.png"), (array * 64.06).astype(np.uint16))
    for target, reference, words in [
        ("a.pgm", "b.png", "the reference's values are uint16, the target's uint16 up to 1023"),
        ("b.png", "a.pgm", "the reference's values are uint16 up to 1023, the target's uint16"),
    ]:
        with pytest.raises(SignalError, match=words):
            load_image(tmp_path / target, ImageOptions(reference=tmp_path / reference))


def make_profile():
    """A colour profile as colour management takes it."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_profile(data, profile):
    """A .jp2 file whose box of colours names a profile (ISO/IEC 15444-1, I.5.3.3)."""
    header, colors = data.index(b"jp2h") - 4, data.index(b"colr") - 4
    length = int.from_bytes(data[colors : colors + 4], "big")
    box = (11 + len(profile)).to_bytes(4, "big") + b"colr\2\0\0" + profile
    whole = int.from_bytes(data[header : header + 4], "big") + len(box) - length
    return data[:header] + whole.to_bytes(4, "big") + data[header + 4 : colors] + box + data[colors + length :]


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_the_colours_of_a_jpeg_2000_are_kept_as_they_are_with_their_profile(tmp_path, dtype):
    codecs, array = pytest.importorskip("imagecodecs"), samples(dtype, 3)
    # Red and green change places, so that a reader who applied the profile would change the colours.
    profile = make_profile().replace(b"rXYZ", b"qXYZ").replace(b"gXYZ", b"rXYZ").replace(b"qXYZ", b"gXYZ")
    data = codecs.jpeg2k_encode(array, level=0, reversible=True, codecformat="jp2")
    (tmp_path / "a.jp2").write_bytes(with_profile(data, profile))
    image = load_image(tmp_path / "a.jp2")
    assert_holds(image, array)
    assert image.record.icc_profile.encode("latin-1") == profile
    assert_comes_back(image, tmp_path)


def test_a_deep_jpeg_2000_of_blue_green_and_red_is_refused(tmp_path):
    codecs = pytest.importorskip("imagecodecs")
    data = codecs.jpeg2k_encode(samples("u2", 3), level=0, reversible=True, codecformat="jp2")
    entries = b"".join(np.array([component, 0, 3 - component], ">u2").tobytes() for component in range(3))
    box = (10 + len(entries)).to_bytes(4, "big") + b"cdef\0\3" + entries
    start = data.index(b"jp2h") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    moved = (length + len(box)).to_bytes(4, "big") + data[start + 4 : start + length] + box + data[start + length :]
    (tmp_path / "a.jp2").write_bytes(data[:start] + moved)
    assert "in another order than red, green, blue" in refused(tmp_path / "a.jp2")


def test_a_deep_jpeg_keeps_its_profile(tmp_path):
    codecs = pytest.importorskip("imagecodecs")
    data, profile = codecs.jpeg8_encode(samples("u2", 3) // 16, level=99, bitspersample=12), make_profile()
    pieces = [profile[:200], profile[200:]]
    segments = [
        b"\xff\xe2" + (16 + len(piece)).to_bytes(2, "big") + b"ICC_PROFILE\0" + bytes([number, 2]) + piece
        for number, piece in enumerate(pieces, 1)
    ]
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"".join(segments) + data[2:])
    assert load_image(tmp_path / "a.jpg").record.icc_profile.encode("latin-1") == profile


def test_the_profile_of_an_avif_is_found_as_pillow_writes_it(tmp_path):
    Pillow.fromarray(samples("u1", 3)).save(tmp_path / "a.avif", icc_profile=make_profile())
    whole = (tmp_path / "a.avif").read_bytes()
    assert find_avif_profile(whole) == make_profile()
    assert find_avif_profile(whole.replace(b"colrprof", b"colrnclx")) is None


def test_frames_of_a_deep_avif_that_are_left_out_are_told(tmp_path):
    codecs = pytest.importorskip("imagecodecs")
    frames = RNG.integers(0, 1024, (3, *SIZE, 3)).astype(np.uint16)
    (tmp_path / "a.avif").write_bytes(codecs.avif_encode(frames, bitspersample=10, level=100, speed=9))
    image = load_image(tmp_path / "a.avif")
    assert "the first of 3 frames is fitted" in said(image)
    assert_holds(image, frames[0])


@pytest.mark.parametrize("suffix, longest", [(".webp", 16383), (".jpg", 65500), (".jpeg", 65500)])
def test_a_picture_that_is_too_long_for_a_format_is_refused_before_it_is_fitted(suffix, longest):
    record = replace(load_image(np.zeros((2, 3), np.uint8)).record, mode="RGB")
    path = Path(f"a{suffix}")
    assert cannot_save(path, replace(record, shape=(3, longest))) is None
    words = f"{suffix} holds at most {longest:,} pixels along a side, not {longest + 1:,} x 3; use .png or .tif"
    assert cannot_save(path, replace(record, shape=(3, longest + 1))) == words
    assert "not 200,000 x 200" in cannot_save(path, replace(record, shape=(100, 100_000)), scale=2.0)
    assert cannot_save(Path("a.png"), replace(record, shape=(3, 100_000))) is None


@pytest.mark.parametrize("bits, mode", [(8, "RGB"), (8, "RGBA"), (8, "L"), (10, "RGB"), (10, "RGBA"), (12, "RGB")])
def test_heic_keeps_its_depth(tmp_path, bits, mode, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    rows, columns = np.mgrid[0:48, 0:64]
    planes = [rows * 5 + columns, columns * 5 + rows, rows + columns, rows * 0 + 40][: len(mode)]
    array = np.stack(planes, -1) * ((1 << bits) - 1) // 600
    monkeypatch.setattr(heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    stored = array.astype(np.uint8) if bits == 8 else (array << (16 - bits)).astype(np.uint16)
    pixels = heif.from_bytes(mode if bits == 8 else f"{mode};16", (64, 48), np.ascontiguousarray(stored).tobytes())
    pixels.save(tmp_path / "a.heic", quality=-1, chroma=444)
    image = load_image(tmp_path / "a.heic")
    assert image.units.to_own(np.float32(1)) == (1 << bits) - 1
    assert np.abs(own(image)[..., : len(mode)] - array).max() < (1 << bits) / 60
    assert image.suffix == ".png"
    assert "--max-pixels 9" in refused(tmp_path / "a.heic", max_pixels=9)
    whole = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "a.heic").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "a.heic")


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("bands", [3, 4])
def test_avif_keeps_its_depth(tmp_path, bits, bands):
    codecs = pytest.importorskip("imagecodecs")
    array = RNG.integers(0, 1 << bits, (*SIZE, bands)).astype("u1" if bits == 8 else "u2")
    (tmp_path / "a.avif").write_bytes(codecs.avif_encode(array, level=100, bitspersample=bits, speed=9))
    image = load_image(tmp_path / "a.avif")
    assert image.record.mode == ("RGB" if bands == 3 else "RGBA")
    if bits == 8:
        assert image.values.shape == array.shape
    else:
        assert_holds(image, array)
    assert "--max-pixels 9" in refused(tmp_path / "a.avif", max_pixels=9)


@pytest.mark.parametrize("bands", [1, 3])
def test_jpegs_of_twelve_bits_are_read_as_such(tmp_path, bands):
    codecs = pytest.importorskip("imagecodecs")
    rows, columns = np.mgrid[0:48, 0:64]
    array = np.stack([rows * 80, columns * 60, rows * 40 + columns * 20], -1).astype(np.uint16)[..., :bands]
    data = codecs.jpeg8_encode(np.ascontiguousarray(array.squeeze()), level=99, bitspersample=12)
    (tmp_path / "a.jpg").write_bytes(data)
    image = load_image(tmp_path / "a.jpg")
    assert np.abs(own(image) - array).max() < 60
    assert image.units.to_own(np.float32(1)) == 4095
    assert "12 bits" in said(image)
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    assert "whole" in refused(tmp_path / "a.jpg")


def test_the_ink_of_a_jpeg_is_told(tmp_path):
    array = np.full((16, 16, 4), (10, 60, 120, 200), np.uint8)
    Pillow.frombytes("CMYK", (16, 16), array.tobytes()).save(tmp_path / "a.jpg", quality=100)
    image = load_image(tmp_path / "a.jpg")
    assert np.abs(own(image) - array).max() <= 2
    assert "CMYK, inverted as Adobe" in said(image)


NETPBM = {
    "deep.pgm": (b"P5\n# a comment\n3 2\n1023\n", ">u2", 1, 1023),
    "deep.ppm": (b"P6 3 2 65535\n", ">u2", 3, 65535),
    "values.pam": (b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 4\nMAXVAL 65535\nTUPLTYPE RGB_ALPHA\nENDHDR\n", ">u2", 4, 65535),
    "seven.pam": (b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 7\nMAXVAL 255\nENDHDR\n", "u1", 7, 255),
    "grey.pfm": (b"Pf\n3 2\n-1.0\n", "<f4", 1, None),
    "color.pfm": (b"PF\n3 2\n1.0\n", ">f4", 3, None),
}


@pytest.mark.parametrize("name", NETPBM)
def test_netpbm_is_read_in_its_own_depth(tmp_path, name):
    header, dtype, bands, white = NETPBM[name]
    array = RNG.normal(size=(2, 3, bands)) if white is None else RNG.integers(0, white + 1, (2, 3, bands))
    array = array.astype(dtype)
    rows = array[::-1] if name.endswith("pfm") else array
    (tmp_path / name).write_bytes(header + rows.tobytes())
    image = load_image(tmp_path / name)
    assert_holds(image, array)
    if white:
        assert image.units.to_own(np.float32(1)) == white
    assert_comes_back(image, tmp_path)
    assert "--max-pixels 3" in refused(tmp_path / name, max_pixels=3)
    (tmp_path / name).write_bytes(header + rows.tobytes()[:-1])
    assert "is it whole?" in refused(tmp_path / name)


@pytest.mark.parametrize("white", [1, 2, 9, 100, 254])
@pytest.mark.parametrize("kind, bands", [("GRAYSCALE", 1), ("RGB", 3)])
def test_a_pam_of_few_values_is_scaled_to_255_as_other_netpbm_pictures_are(tmp_path, white, kind, bands):
    array = RNG.integers(0, white + 1, (2, 3, bands)).astype("u1")
    array[0, 0], array[0, 1] = 0, white
    (tmp_path / "a.ppm").write_bytes(b"P%d 3 2 %d\n" % (5 if bands == 1 else 6, white) + array.tobytes())
    header = f"P7\nWIDTH 3\nHEIGHT 2\nDEPTH {bands}\nMAXVAL {white}\nTUPLTYPE {kind}\nENDHDR\n"
    (tmp_path / "a.pam").write_bytes(header.encode() + array.tobytes())
    image = load_image(tmp_path / "a.pam")
    assert_holds(image, np.rint(array / white * 255))
    assert np.array_equal(image.values, load_image(tmp_path / "a.ppm").values)
    assert (f"values from 0 to {white}, scaled to 255" in said(image)) == (white > 1)
    assert_comes_back(image, tmp_path)


@pytest.mark.parametrize(
    "kind, bands, white, mode",
    [("BLACKANDWHITE", 1, 1, "1"), ("BLACKANDWHITE", 1, 3, "L"), ("BLACKANDWHITE_ALPHA", 2, 1, "LA")],
)
def test_the_greatest_value_of_a_black_and_white_pam_is_white(tmp_path, kind, bands, white, mode):
    array = (np.arange(6 * bands) % (white + 1)).astype("u1").reshape(2, 3, bands)
    header = f"P7\nWIDTH 3\nHEIGHT 2\nDEPTH {bands}\nMAXVAL {white}\nTUPLTYPE {kind}\nENDHDR\n"
    (tmp_path / "a.pam").write_bytes(header.encode() + array.tobytes())
    image = load_image(tmp_path / "a.pam")
    assert image.record.mode == mode
    assert_holds(image, array * (255 // white))
    assert_comes_back(image, tmp_path)


def test_netpbm_as_text_is_read_in_its_own_depth(tmp_path):
    (tmp_path / "a.ppm").write_bytes(b"P3 # deep\n2 1\n1000\n0 500 1000\n3 2 1\n")
    assert_holds(load_image(tmp_path / "a.ppm"), [[[0, 500, 1000], [3, 2, 1]]])


@pytest.mark.parametrize("content, white", [(b"P2 2 1 300\n7 301\n", 300), (b"P5 2 1 100\n\x07\x65", 100)])
def test_netpbm_with_values_above_its_greatest_one_is_refused(tmp_path, content, white):
    (tmp_path / "a.pgm").write_bytes(content)
    assert f"above its greatest one, {white}" in refused(tmp_path / "a.pgm")


@pytest.mark.parametrize(
    "content",
    [b"P4 9 1\n\xff\x80", b"P5 2 1 255\nab", b"P6 1 1 90\nABC", b"P5 1 1 1023\n\1\2",
     b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\na"],
)  # fmt: skip
def test_netpbm_files_of_several_pictures_are_told(tmp_path, content):
    (tmp_path / "a.pnm").write_bytes(content)
    assert "several pictures" not in said(load_image(tmp_path / "a.pnm"))
    (tmp_path / "a.pnm").write_bytes(2 * content)
    assert "several pictures, one behind another; the first is fitted" in said(load_image(tmp_path / "a.pnm"))


def tga(kind, bits, body, alpha_bits=0, palette=b"", palette_bits=0):
    """Return a .tga file of two pixels in a row, the first row at the top."""
    count = 8 * len(palette) // max(palette_bits, 1)
    header = struct.pack("<BBBHHB4xHH", 0, bool(palette), kind, 0, count, palette_bits, 2, 1)
    return header + bytes([bits, 0x20 | alpha_bits]) + palette + body + bytes(26)


def test_the_alpha_of_a_tga_is_read_told_or_refused(tmp_path):
    path, told = tmp_path / "a.tga", "gives no meaning, are fitted as alpha"
    for alpha_bits in (8, 0):
        path.write_bytes(tga(2, 32, bytes([1, 2, 3, 4, 5, 6, 7, 8]), alpha_bits))
        image = load_image(path)
        assert_holds(image, [[[3, 2, 1, 4], [7, 6, 5, 8]]])
        assert (told in said(image)) == (alpha_bits == 0)
    path.write_bytes(tga(1, 8, bytes([0, 1]), palette=bytes([1, 2, 3, 255, 5, 6, 7, 255]), palette_bits=32))
    assert_holds(load_image(path), [[[3, 2, 1], [7, 6, 5]]])
    path.write_bytes(tga(1, 8, bytes([0, 1]), palette=bytes([1, 2, 3, 255, 5, 6, 7, 0]), palette_bits=32))
    assert "alpha of this TGA's palette would be lost; convert it to PNG" in refused(path)


def bmp(bits, pixels, alpha_mask=0):
    """Return a BMP of 2 x 1 pixels with a header that has masks."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, alpha_mask)
    info = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, bits, 3 if alpha_mask else 0, len(pixels), 0, 0, 0, 0)
    info = (info + masks).ljust(108, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels


def test_the_alpha_of_a_bmp_is_read_or_told(tmp_path):
    (tmp_path / "a.bmp").write_bytes(bmp(32, bytes([1, 2, 3, 4, 5, 6, 7, 8]), 0xFF000000))
    image = load_image(tmp_path / "a.bmp")
    assert image.record.mode == "RGBA"
    assert_holds(image, [[[3, 2, 1, 4], [7, 6, 5, 8]]])
    (tmp_path / "b.bmp").write_bytes(bmp(32, bytes([1, 2, 3, 4, 5, 6, 7, 8])))
    assert "the fourth byte of each pixel" in said(load_image(tmp_path / "b.bmp"))
    (tmp_path / "c.bmp").write_bytes(bmp(32, bytes([1, 2, 3, 0, 5, 6, 7, 0])))
    assert "fourth byte" not in said(load_image(tmp_path / "c.bmp"))


def test_formats_that_pillow_would_reduce_are_refused(tmp_path):
    sgi = struct.pack(">HBBHHHH", 474, 0, 2, 3, 2, 1, 3).ljust(512, b"\0") + bytes(12)
    (tmp_path / "a.sgi").write_bytes(sgi)
    assert "3 bands of 16 bits, of which 3 of 8 bits would be read" in refused(tmp_path / "a.sgi")
    psd = b"8BPS" + struct.pack(">H6xHIIHH", 1, 5, 1, 2, 8, 3) + bytes(12) + b"\0\0" + bytes(10)
    (tmp_path / "b.psd").write_bytes(psd)
    assert "5 bands of 8 bits, of which" in refused(tmp_path / "b.psd")
    (tmp_path / "c.psd").write_bytes(b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, 1, 8, 1, 0) + bytes(15))
    assert "a PSD bitmap, black and white alone, is not read; convert it to PNG" in refused(tmp_path / "c.psd")
    (tmp_path / "b.psd").write_bytes(psd.replace(b"\0\x08\0\x03", b"\0\x10\0\x03"))
    assert "PSD picture of 16 bits a channel is not read; convert it to PNG or TIFF" in refused(tmp_path / "b.psd")
    Pillow.new("1", (8, 8)).save(tmp_path / "c.xbm")
    assert "bands or depth could be lost" in refused(tmp_path / "c.xbm")


@pytest.mark.parametrize(
    "suffix, head, words",
    [
        (".jxl", b"\xff\x0a", "JPEG XL files are not read; convert it to .png or .tif"),
        (".dds", b"DDS |", "DDS files are not read; convert it to .png or .tif"),
        (
            ".fits",
            b"SIMPLE  =                    T",
            "FITS files are not read; save its array as .npy, or as .tif with",
        ),
        (".psb", b"8BPS\0\2", "large Photoshop files are not read; convert it to .png or .tif"),
        (".pdf", b"%PDF-1.7", "PDF or PostScript files are not read; render it to .png"),
    ],
)
def test_pictures_of_other_formats_are_refused_with_what_to_convert_them_to(tmp_path, suffix, head, words):
    for name in (f"a{suffix}", "a.png"):
        (tmp_path / name).write_bytes(head + bytes(3000))
        assert words in refused(tmp_path / name)
    with pytest.raises(ValueError, match=re.escape(words)):
        kind_of(tmp_path / f"a{suffix}")


def test_depth_and_alpha_are_among_the_facts(tmp_path):
    Pillow.fromarray(samples("u1", 4)).save(tmp_path / "a.png")
    facts = load_image(tmp_path / "a.png").facts()
    assert facts["alpha"] == "band 4, by which colours are not premultiplied"
    assert facts["values"] == "uint8, 8 bits each"
    Pillow.fromarray(samples("u1", 3)).save(tmp_path / "b.png")
    assert load_image(tmp_path / "b.png").facts()["alpha"] == "none"
    (tmp_path / "c.pgm").write_bytes(b"P5 3 2 4095\n" + np.arange(6, dtype=">u2").tobytes())
    assert load_image(tmp_path / "c.pgm").facts()["values"] == "uint16, 12 of 16 bits each"


@pytest.mark.parametrize(
    "module, extra, name",
    [("OpenEXR", "exr", "a.exr"), ("rawpy", "raw", "a.dng"), ("pillow_heif", "heif", "a.heic"),
     ("imagecodecs", "jpeg2000", "a.jp2")],
)  # fmt: skip
def test_a_missing_library_is_named_with_its_remedy(tmp_path, monkeypatch, module, extra, name):
    if name == "a.jp2":
        cv2.imwrite(str(tmp_path / name), samples("u2", 3, size=(64, 96)))
    heads = {"a.exr": b"\x76\x2f\x31\x01", "a.heic": b"\0\0\0\x18ftypheic"}
    if name in heads:
        (tmp_path / name).write_bytes(heads[name] + bytes(40))
    if name == "a.dng":
        write_raw(tmp_path / name, samples("u2", size=(24, 36)))
    monkeypatch.setitem(sys.modules, module, None)
    assert f'pip install "winner-nerfstudio[{extra}]"' in refused(tmp_path / name)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("bands", [2, 4])
def test_transparent_colours_give_no_tint_when_a_picture_is_reduced(tmp_path, dtype, bands):
    top = 1 if dtype == "f4" else np.iinfo(dtype).max
    array = np.zeros((24, 36, bands), dtype)
    array[:, 1::2, bands - 2] = top  # bright, but wholly transparent
    array[:, ::2, 0], array[:, ::2, -1] = top // 2 if top > 1 else 0.5, top
    array[:, :, 1:-1] *= array[:, :, -1:] == 0
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb" if bands == 4 else "minisblack", planarconfig="contig",
        extrasamples=["unassalpha"],
    )  # fmt: skip
    image = load_image(tmp_path / "a.tif", ImageOptions(max_side=18))
    expected = [array[0, 0, 0], *[0] * (bands - 2), top / 2]
    np.testing.assert_allclose(
        own(image), np.broadcast_to(expected, image.values.shape), atol=0.51 if top > 1 else 1e-6
    )
    assert "colours weighted by alpha" in said(image)


def test_a_palette_with_alpha_is_reduced_by_weight(tmp_path):
    picture = Pillow.fromarray(np.tile(np.array([0, 1], np.uint8), (24, 18)))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png", transparency=bytes([255, 0]))
    image = load_image(tmp_path / "a.png", ImageOptions(max_side=18))
    np.testing.assert_allclose(own(image), np.broadcast_to([255, 0, 0, 128], image.values.shape), atol=0.6)


@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (100_000, 1), (1, 7)])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_tiny_and_narrow_pictures_are_fitted(tmp_path, size, name):
    array = samples("u2", 3, size=size)
    cv2.imwrite(str(tmp_path / name), array[..., ::-1])
    image = load_image(tmp_path / name)
    assert_holds(image, array)
    assert_comes_back(image, tmp_path)
    if max(size) > 7:
        assert max(load_image(tmp_path / name, ImageOptions(max_side=500)).values.shape) == 500
    assert 0 <= image.centroid <= 1


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f2", "f4", "f8"])
def test_constant_pictures_come_back(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.full(SIZE, 7, dtype))
    image = load_image(tmp_path / "a.tif")
    assert_holds(image, np.full(SIZE, 7.0))
    assert_comes_back(image, tmp_path)


@pytest.mark.parametrize("make", ["tiff", "jp2", "hdr", "png"])
def test_an_empty_or_odd_file_is_one_line(tmp_path, make):
    head = {"tiff": b"II*\0", "jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "hdr": b"#?RADIANCE\n", "png": b"\x89PNG\r\n\x1a\n"}[
        make
    ]
    for tail in (b"", b"\0" * 100, bytes(range(256)), b"\xff" * 1000):
        (tmp_path / "a.bin").write_bytes(head + tail)
        assert "whole" in refused(tmp_path / "a.bin")


@pytest.mark.parametrize("bands, mode", [(1, "L"), (3, "RGB")])
def test_a_tiff_that_lacks_its_interpretation_is_not_inverted(tmp_path, bands, mode):
    array = samples("u1", bands)
    tifffile.imwrite(
        tmp_path / "a.tif", array.squeeze(), photometric="minisblack", planarconfig="contig" if bands > 1 else None
    )
    data = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        at = tiff.pages[0].tags[262].offset
    # The tag becomes a private one of no meaning, in the place of the tag of the interpretation.
    (tmp_path / "a.tif").write_bytes(data[:at] + struct.pack("<H", 65000) + data[at + 2 :])
    image = load_image(tmp_path / "a.tif")
    assert_holds(image, array)
    assert f"doesn't say what its bands are: taken for {mode}" in said(image)


@pytest.mark.parametrize("dtype", ["u1", "?"])
def test_a_tiff_that_lacks_its_interpretation_is_the_same_where_pillow_decodes_it(tmp_path, monkeypatch, dtype):
    array = samples("u1") > 127 if dtype == "?" else samples("u1")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", compression="packbits")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        at = tiff.pages[0].tags[262].offset
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:at] + struct.pack("<H", 65000) + data[at + 2 :])

    def decode(self, **options):
        raise ValueError("<COMPRESSION.PACKBITS: 32773> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", decode)
    assert_holds(load_image(tmp_path / "a.tif"), array * (255.0 if dtype == "?" else 1))


def test_samples_that_have_no_common_type_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", samples("f4").astype(np.complex64))
    assert "which are not read" in refused(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["image", "volume"])
def test_whole_numbers_of_24_bits_are_refused(tmp_path, kind):
    write_packed_tiff(tmp_path / "a.tif", RNG.integers(0, 1 << 24, SIZE), 24)
    with pytest.raises(SignalError, match="whole numbers of 24 bits, which are not read; save it as floats"):
        load_signal(str(tmp_path / "a.tif"), kind)


@pytest.mark.parametrize("mode, dtype", [("LA", "u1"), ("RGBA", "u1")])
def test_the_alpha_of_jpeg_2000_is_what_the_file_calls_so(tmp_path, mode, dtype):
    array = samples(dtype, len(mode))
    Pillow.frombytes(mode, SIZE[::-1], array.tobytes()).save(tmp_path / "a.jp2", irreversible=False)
    image = load_image(tmp_path / "a.jp2")
    assert image.record.mode == mode
    assert_holds(image, array)


@pytest.mark.parametrize(
    "header, dtype, suffix",
    [
        ("P5 3 2 255", "u1", "pgm"),
        ("P6 3 2 255", "u1", "ppm"),
        ("P5 3 2 65535", ">u2", "pgm"),
        ("Pf 3 2 -1.0", "f4", "pfm"),
    ],
)
def test_netpbm_whose_values_are_shifted_by_a_line_end_is_refused(tmp_path, header, dtype, suffix):
    values = np.arange(1, 1 + 6 * (3 if "P6" in header else 1)).astype(dtype)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes("\r\n".join([*header.split(), ""]).encode() + values.tobytes())
    assert "ends with CR and LF, where a single byte belongs" in refused(path)
    path.write_bytes("\r\n".join(header.split()).encode() + b"\n" + values.tobytes())
    expected = values.reshape(2, 3, -1)
    assert_holds(load_image(path), expected[::-1] if suffix == "pfm" else expected)


def test_the_calibration_of_imagej_is_applied(tmp_path):
    values = (np.arange(20 * 30).reshape(20, 30) - 300).astype(np.int16)
    line = "ImageJ=1.53t\ncf=0\nc0={}\nc1={}\n"
    stored = (values.astype(np.int32) + 32768).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata=None, description=line.format(-32768.0, 1.0))
    image = load_image(tmp_path / "a.tif")
    np.testing.assert_allclose(own(image)[..., 0], values, atol=1e-3)
    assert "values are 1 times the stored ones plus -32768, as ImageJ calibrates them" in said(image)
    tifffile.imwrite(tmp_path / "b.tif", stored, metadata=None, description=line.format(-327.68, 0.01))
    np.testing.assert_allclose(own(load_image(tmp_path / "b.tif"))[..., 0], values / 100, atol=1e-3)
    tifffile.imwrite(tmp_path / "c.tif", stored, metadata=None, description="ImageJ=1.53t\ncf=20\nc0=1.0\nc1=2.0\n")
    np.testing.assert_allclose(own(load_image(tmp_path / "c.tif"))[..., 0], stored, atol=0.5)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html></html>", "is a web page, not a picture"),
    ],
)
def test_what_stands_for_a_file_is_named(tmp_path, content, words):
    (tmp_path / "a.png").write_bytes(content)
    assert words in refused(tmp_path / "a.png")


def test_every_picture_suffix_means_a_picture():
    for suffix in (".exr", ".hdr", ".jp2", ".heic", ".avif", ".dng", ".NEF", ".pfm", ".tiff", ".bmp"):
        assert kind_of(f"a{suffix}").name == "image"


def test_a_scale_that_gdal_keeps_beside_the_values_is_told(tmp_path):
    items = (
        '<Item name="SCALE" sample="0" role="scale">0.01</Item><Item name="OFFSET" sample="0" role="offset">5</Item>'
    )
    tags = [(42112, "s", 0, f"<GDALMetadata>{items}</GDALMetadata>", True)]
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", extratags=tags)
    image = load_image(tmp_path / "a.tif")
    assert any("scale 0.01, offset 5 are not applied" in note for note in image.notes)
    assert np.allclose(image.units.to_own(image.values)[..., 0], values, atol=0.01)
