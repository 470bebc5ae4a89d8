import json

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import ImageOps

from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.image import cannot_save, load_image, save_image
from winner_nerfstudio.signals.options import ImageOptions
from winner_nerfstudio.signals.records import ImageRecord

RNG = np.random.default_rng(0)


def pixels(channels, dtype="u1", size=(9, 14)):
    high = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else 1
    return RNG.uniform(0, high, (*size, channels) if channels > 1 else size).astype(dtype)


def rgba_palette():
    picture = Pillow.fromarray(RNG.integers(0, 5, (9, 14)).astype(np.uint8))
    picture.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200, 255, 255, 0])
    return picture


def bgr(array):
    return array[..., [2, 1, 0, *range(3, array.shape[-1])]]


WRITE = {
    "gray.png": lambda path: Pillow.fromarray(pixels(1)).save(path),
    "gray.jpg": lambda path: Pillow.fromarray(pixels(1)).save(path),
    "gray.tif": lambda path: Pillow.fromarray(pixels(1)).save(path, compression="tiff_lzw"),
    "color.png": lambda path: Pillow.fromarray(pixels(3)).save(path),
    "color.webp": lambda path: Pillow.fromarray(pixels(3)).save(path, lossless=True),
    "alpha.png": lambda path: Pillow.fromarray(pixels(4)).save(path),
    "alpha.webp": lambda path: Pillow.fromarray(pixels(4)).save(path, lossless=True, exact=True),
    "gray-alpha.png": lambda path: Pillow.fromarray(pixels(2)).save(path),
    "cmyk.tif": lambda path: Pillow.frombytes("CMYK", (14, 9), pixels(4).tobytes()).save(path),
    "bilevel.png": lambda path: Pillow.fromarray(pixels(1) > 127).save(path),
    "palette.png": lambda path: rgba_palette().save(path),
    "palette-alpha.png": lambda path: rgba_palette().save(path, transparency=bytes([0, 90, 255, 255, 10])),
    "palette-key.png": lambda path: rgba_palette().save(path, transparency=2),
    "gray16.png": lambda path: Pillow.fromarray(pixels(1, "u2")).save(path),
    "gray16.tif": lambda path: Pillow.fromarray(pixels(1, "u2")).save(path),
    "color16.png": lambda path: cv2.imwrite(str(path), bgr(pixels(3, "u2"))),
    "color16.tif": lambda path: cv2.imwrite(str(path), bgr(pixels(3, "u2"))),
    "alpha16.png": lambda path: cv2.imwrite(str(path), bgr(pixels(4, "u2"))),
    "int32.tif": lambda path: Pillow.fromarray(pixels(1, "i4")).save(path),
    "float.tif": lambda path: Pillow.fromarray(pixels(1, "f4")).save(path),
}


def decoded(path):
    """Everything about a picture that must come back: by libraries alone."""
    with Pillow.open(path) as picture:
        seen = picture.convert("RGBA") if picture.mode == "P" else picture
        return picture.mode, picture.size, np.asarray(seen), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("name", WRITE)
def test_a_perfect_fit_is_written_back_as_it_was(tmp_path, name):
    path, back = tmp_path / name, tmp_path / f"back-{name}"
    WRITE[name](path)
    image = load_image(path)
    assert image.values.dtype == np.float32
    assert np.abs(image.values).max() <= 1 + 1e-6  # single precision rounds
    record = ImageRecord.from_json(json.loads(json.dumps(image.record.to_json())))
    assert record == image.record
    save_image(back, image.units.to_own(image.values), record)
    (mode, size, seen, raw), (mode_2, size_2, seen_2, raw_2) = decoded(path), decoded(back)
    assert (mode, size, raw.dtype) == (mode_2, size_2, raw_2.dtype)
    if name.endswith(".jpg"):
        assert np.abs(seen.astype(int) - seen_2).max() < 12
    elif name == "int32.tif":
        np.testing.assert_allclose(seen_2, seen, atol=2**31 * 1e-6)
    elif name == "float.tif":
        np.testing.assert_allclose(seen_2, seen, atol=1e-6)
    elif mode == "P":
        # Transparent colours may have doubles; what is seen is the same.
        assert np.array_equal(seen, seen_2)
    else:
        assert np.array_equal(seen, seen_2)
        assert np.array_equal(raw, raw_2)


@pytest.mark.parametrize("name", ["gray16.png", "color16.png", "color16.tif", "alpha16.png"])
def test_sixteen_bits_are_read_as_such(tmp_path, name):
    WRITE[name](tmp_path / name)
    image = load_image(tmp_path / name)
    raw = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
    raw = bgr(raw) if raw.ndim == 3 else raw[..., None]
    np.testing.assert_allclose(image.values, raw / 32767.5 - 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", ">i4", "i8", "f2", "f4", ">f8", "?"])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (4, 5, 3), (3, 4, 7)])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_come_back_in_their_shape_and_type(tmp_path, dtype, shape, suffix):
    kind = np.dtype(dtype)
    low, high = (np.iinfo(kind).min // 2, np.iinfo(kind).max // 2) if kind.kind in "iu" else (-3, 5)
    array = RNG.uniform(low, high, shape).astype(kind) if kind.kind != "b" else RNG.random(shape) > 0.5
    path, back = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, array)
    image = load_image(path)
    assert image.values.shape == (*shape[:2], shape[2] if len(shape) == 3 else 1)
    save_image(back, image.units.to_own(image.values), image.record)
    loaded = np.load(back)
    again = loaded if suffix == ".npy" else loaded[loaded.files[0]]
    assert (again.shape, again.dtype) == (array.shape, array.dtype)
    span = float(array.max()) - float(array.min())
    np.testing.assert_allclose(
        again.astype(float), array.astype(float), atol=span * 1e-3 if dtype == "f2" else span * 1e-6
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_exif_orientation_is_applied(tmp_path, orientation, deep):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    array = pixels(3)
    plain = Pillow.fromarray(array)
    plain.save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Pillow.open(tmp_path / "a.png")))
    if deep:
        # The same chunk of EXIF in a file of 16 bits.
        cv2.imwrite(str(tmp_path / "deep.png"), bgr(array.astype(np.uint16) * 257))
        whole = (tmp_path / "deep.png").read_bytes()
        source = (tmp_path / "a.png").read_bytes()
        at = source.index(b"eXIf") - 4
        chunk = source[at : at + 12 + int.from_bytes(source[at : at + 4], "big")]
        (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])
    image = load_image(tmp_path / "a.png")
    np.testing.assert_allclose(image.values, upright / 127.5 - 1, atol=1e-6)
    assert any("EXIF" in note for note in image.notes) == (orientation != 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype, channels", [("u1", 1), ("u2", 1), ("u1", 3), ("u2", 3), ("f4", 1)])
def test_tiffs_are_turned_upright_once(tmp_path, orientation, compression, dtype, channels):
    array = pixels(channels, dtype, (7, 11))
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="rgb" if channels == 3 else "minisblack", compression=compression,
        extratags=[(274, "H", 1, orientation, True)],
    )  # fmt: skip
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    numbers = Pillow.fromarray(np.arange(77, dtype=np.uint8).reshape(7, 11))
    numbers.save(tmp_path / "numbers.png", exif=exif)
    order = np.asarray(ImageOps.exif_transpose(Pillow.open(tmp_path / "numbers.png")))
    upright = array.reshape(77, channels)[order]
    image = load_image(tmp_path / "a.tif")
    np.testing.assert_allclose(
        image.units.to_own(image.values), upright, rtol=1e-5, atol=0.01 if dtype != "f4" else 1e-6
    )


@pytest.mark.parametrize("mode, more", [("L", {"transparency": 7}), ("RGB", {"transparency": (1, 2, 3)})])
def test_a_transparent_colour_becomes_alpha(tmp_path, mode, more):
    array = pixels(len(mode))
    array[2, 3] = 7 if mode == "L" else (1, 2, 3)
    Pillow.fromarray(array).save(tmp_path / "a.png", **more)
    image = load_image(tmp_path / "a.png")
    assert image.record.mode == {"L": "LA", "RGB": "RGBA"}[mode]
    assert image.values[2, 3, -1] == -1
    assert image.values[0, 0, -1] == 1


@pytest.mark.parametrize("deep", [False, True])
def test_the_color_profile_travels(tmp_path, deep):
    Pillow.fromarray(pixels(3)).save(tmp_path / "a.png", icc_profile=b"\x00profile\xff")
    if deep:
        WRITE["color16.png"](tmp_path / "deep.png")
        source, whole = (tmp_path / "a.png").read_bytes(), (tmp_path / "deep.png").read_bytes()
        at = source.index(b"iCCP") - 4
        chunk = source[at : at + 12 + int.from_bytes(source[at : at + 4], "big")]
        (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])
    image = load_image(tmp_path / "a.png")
    assert image.record.dtype == ("<u2" if deep else "|u1")
    save_image(tmp_path / "b.png", image.units.to_own(image.values), image.record)
    assert Pillow.open(tmp_path / "b.png").info["icc_profile"] == b"\x00profile\xff"


def test_a_fit_that_overshoots_is_clipped_not_wrapped(tmp_path):
    Pillow.fromarray(pixels(1)).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png", np.array([[[-30.0], [300.0]]]), image.record)
    assert np.asarray(Pillow.open(tmp_path / "b.png")).tolist() == [[0, 255]]


def test_a_large_picture_is_reduced_by_averaging(tmp_path):
    array = pixels(3, size=(40, 80))
    Pillow.fromarray(array).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", ImageOptions(max_side=20))
    averaged = array.reshape(10, 4, 20, 4, 3).mean((1, 3))
    np.testing.assert_allclose(image.units.to_own(image.values), averaged, atol=0.51)
    assert load_image(tmp_path / "a.png", ImageOptions(max_side=80)).values.shape == (40, 80, 3)


def bomb(path):
    # A header that promises 10^10 pixels, and nothing else.
    Pillow.fromarray(pixels(1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(data)


def with_nan(path):
    array = np.zeros((4, 4))
    array[1, 1] = np.nan
    np.save(path, array)


HOSTILE = {
    "missing.png": (lambda path: None, "missing.png: no such file"),
    "folder.png": (lambda path: path.mkdir(), "is a folder, not a picture"),
    "text.png": (lambda path: path.write_text("hello"), "not a picture that can be read"),
    "empty.jpg": (lambda path: path.write_bytes(b""), "is empty; is the file whole?"),
    "cut.png": (
        lambda path: (Pillow.fromarray(pixels(3, size=(99, 99))).save(path), path.write_bytes(path.read_bytes()[:900])),
        "is the file whole?",
    ),
    "bomb.png": (bomb, "100000 x 100000 = 10,000,000,000 pixels are more than --max-pixels 200,000,000"),
    "big.npy": (lambda path: np.save(path, np.zeros((20_000, 10_001), bool)), "pixels are more than --max-pixels"),
    "big.npz": (
        lambda path: np.savez_compressed(path, np.zeros((20_000, 10_001), bool)),
        "10001 x 20000 = 200,020,000 pixels are more than --max-pixels",
    ),
    "nan.npy": (with_nan, "1 of 16 samples are NaN or infinite"),
    "volume.npy": (lambda path: np.save(path, np.zeros((4, 4, 4, 4))), "shape (4, 4, 4, 4) is no picture"),
    "stack.npy": (lambda path: np.save(path, np.zeros((4, 4, 40))), "shape (4, 4, 40) is no picture"),
    "line.npy": (lambda path: np.save(path, np.zeros(4)), "shape (4,) is no picture"),
    "complex.npy": (lambda path: np.save(path, np.zeros((4, 4), complex)), "holds complex128 values"),
    "none.npy": (lambda path: np.save(path, np.zeros((0, 4))), "holds no samples"),
    "object.npy": (lambda path: np.save(path, np.array([[None]]), allow_pickle=True), "cannot be read as an array"),
    "two.npz": (lambda path: np.savez(path, a=np.zeros((2, 2)), b=np.zeros((2, 2))), "holds 2 arrays (a, b)"),
    "lab.tif": (
        lambda path: Pillow.new("LAB", (4, 4)).save(path),
        "pictures in CIELab are not fitted; convert it to RGB",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_fitted_is_refused_in_one_line(tmp_path, name):
    write, words = HOSTILE[name]
    write(tmp_path / name)
    with pytest.raises(SignalError) as caught:
        load_image(tmp_path / name)
    message = str(caught.value)
    assert words in message
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name, target, words",
    [
        ("alpha.png", "a.jpg", ".jpg cannot hold a picture of mode RGBA; use one of .png .tif .tiff .webp or .npy"),
        ("color16.png", "a.jpg", "mode RGB, 16 bits"),
        ("palette-alpha.png", "a.tif", "use one of .png or .npy"),
        ("gray.png", "a.xyz", "unknown picture format '.xyz'"),
        ("float.tif", "a.png", "use one of .tif .tiff or .npy"),
    ],
)
def test_a_format_that_cannot_hold_the_picture_says_which_can(tmp_path, name, target, words):
    WRITE[name](tmp_path / name)
    image = load_image(tmp_path / name)
    record = image.record
    assert words in cannot_save(tmp_path / target, record)
    with pytest.raises(SignalError, match="a\\."):
        save_image(tmp_path / target, np.zeros((2, 2, 4)), record)
    assert not (tmp_path / target).exists()
    assert cannot_save(tmp_path / f"a{image.suffix}", record) is None


@pytest.mark.parametrize("name, shape", [("sample:mandala", (256, 256, 3)), ("sample:weave", (256, 256, 1))])
def test_the_built_in_pictures_are_fine_all_over(name, shape):
    image = load_image(name)
    assert image.values.shape == shape
    assert image.centroid > 0.2
    with pytest.raises(SignalError, match="there are: mandala, weave"):
        load_image("sample:bunny")


def test_a_single_pixel_and_a_constant_can_be_fitted(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1, 1), 7.5))
    image = load_image(tmp_path / "a.npy")
    assert image.values.tolist() == [[[0.0]]]
    assert image.centroid == 0
    assert image.units.to_own(image.values).item() == 7.5
