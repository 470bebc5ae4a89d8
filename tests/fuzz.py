"""Small good files of every format, ways to damage them, and a process that loads files within limits.

``python -m tests.fuzz loader`` loads the files that it is told: see `load_all`.
"""

import io
import json
import os
import random
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from winner_nerfstudio.signals.picture_suffixes import RAW

MEMORY = 4 << 30
"""Bytes that loading a file may take, beside the program itself."""
SECONDS = 20
"""Seconds of processor time that it may take; ten times that may pass."""
HUGE = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 1 << 62, (1 << 64) - 1)
WORDS = ("-1", "0", "1e308", "-1e-320", "nan", "inf", "2147483648", "99999999999999999999", "1.5", "", "x", "[" * 2000)


# ---------------------------------------------------------------------------------------------------------------------
# Good files


def _mesh():
    import trimesh

    return trimesh.creation.icosphere(subdivisions=1)


def _text(header, rows):
    return (header + "".join(" ".join(map(str, row)) + "\n" for row in rows)).encode()


def _obj():
    mesh = _mesh()
    rows = [("v", *vertex) for vertex in mesh.vertices.round(4).tolist()]
    return _text("# ball\nmtllib ball.mtl\no ball\n", [*rows, *(("f", *face) for face in (mesh.faces + 1).tolist())])


def _off():
    mesh = _mesh()
    rows = [*mesh.vertices.round(4).tolist(), *((3, *face) for face in mesh.faces.tolist())]
    return _text(f"OFF\n{len(mesh.vertices)} {len(mesh.faces)} 0\n", rows)


def _export(suffix, **options):
    return lambda: _bytes(_mesh().export(file_type=suffix, **options))


def _bytes(data):
    return data if isinstance(data, bytes) else data.encode()


def _big_endian_ply():
    mesh = _mesh()
    head = f"ply\nformat binary_big_endian 1.0\nelement vertex {len(mesh.vertices)}\n"
    head += "property float x\nproperty float y\nproperty float z\n"
    head += f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    faces = b"".join(struct.pack(">B3i", 3, *face) for face in mesh.faces.tolist())
    return head.encode() + mesh.vertices.astype(">f4").tobytes() + faces


def _points():
    points = np.random.default_rng(0).normal(size=(120, 3))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    return 2 * points, points


def _on_disk(write, suffix):
    """Return a function that has a file written and returns what it holds."""

    def make():
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"good{suffix}"
            write(path)
            return path.read_bytes()

    return make


def _cloud(suffix, normals=True, **options):
    def write(path):
        from . import clouds

        points, directions = _points()
        getattr(clouds, f"write_{suffix}")(path, points, directions if normals else None, **options)

    return _on_disk(write, f".{suffix}")


def _gltf(uri):
    def write(path):
        import base64

        from .gltf import Writer

        mesh, writer = _mesh(), Writer(translation=[1, 2, 3])
        writer.mesh(mesh.vertices, mesh.faces)
        payload = base64.b64encode(writer.data).decode()
        writer.write(path, f"data:application/octet-stream;base64,{payload}" if uri else None)

    return _on_disk(write, ".gltf" if uri else ".glb")


def _picture(suffix, mode="RGB", **options):
    def make():
        from PIL import Image

        y, x = np.mgrid[:12, :14]
        values = np.stack([9 * x, 9 * y, 5 * (x + y)], -1).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(values).convert(mode).save(stream, suffix, **options)
        return stream.getvalue()

    return make


def _tiff(dtype, **options):
    def make():
        import tifffile

        stream = io.BytesIO()
        values = (np.arange(12 * 14 * 3) % 251).reshape(12, 14, 3).astype(dtype)
        tifffile.imwrite(stream, values, photometric="rgb", **options)
        return stream.getvalue()

    return make


def _sound(kind, subtype=None, rate=8000):
    def make():
        import soundfile

        stream = io.BytesIO()
        wave = 0.5 * np.sin(np.arange(1500)[:, None] * [0.1, 0.13])
        soundfile.write(stream, wave, rate, format=kind, subtype=subtype)
        return stream.getvalue()

    return make


def _array(shape, compressed=None):
    def make():
        stream = io.BytesIO()
        values = np.sin(np.arange(np.prod(shape))).reshape(shape)
        if compressed is None:
            np.save(stream, values)
        else:
            (np.savez_compressed if compressed else np.savez)(stream, values)
        return stream.getvalue()

    return make


def _made(module, function, suffix=".bin"):
    """Return a function that has a writer of one of the test modules, ``function(module)(path)``, make a file."""

    def write(path):
        import importlib

        function(importlib.import_module(f".{module}", __package__))(path)

    return _on_disk(write, suffix)


def _volume(name):
    suffix = ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix
    return Good(suffix, "volume", _made("test_volume_files", lambda module: module.WRITTEN[name], suffix))


def _point_text(name):
    def write(module):
        content = module.WRITTEN[name]
        return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return Good(Path(name).suffix, "sdf", _made("test_point_text", write))


def _values(dtype, *channels):
    return (np.arange(12 * 14 * max(channels, default=1)) * 97 % 251).reshape(12, 14, *channels).astype(dtype)


def _encoded(name, dtype, *channels, **options):
    """Return a function that has imagecodecs encode a picture."""

    def make():
        import imagecodecs

        return bytes(getattr(imagecodecs, f"{name}_encode")(_values(dtype, *channels), **options))

    return make


def _exr(path):
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {name: _values(np.float16) for name in "RGB"}).write(str(path))


def _heif(path):
    import pillow_heif

    pillow_heif.from_bytes("RGB", (14, 12), _values(np.uint8, 3).tobytes()).save(path, quality=90)


def _radiance(path):
    import cv2

    cv2.imwrite(str(path), _values(np.float32, 3) / 251)


def _raw(module):
    y, x = np.mgrid[0:60, 0:80]
    return lambda path: module.write_raw(path, (10 * x + 5 * y).astype(np.uint16))


def _netpbm(header, data):
    return lambda: header.encode() + data().tobytes()


@dataclass(frozen=True)
class Good:
    """A small good file: its suffix, the name of its kind, and what makes its bytes."""

    suffix: str
    kind: str
    make: object


WRITTEN_VOLUMES = ("gzip.nrrd", "plain.nii", "zipped.nii.gz", "plain.h5", "turned.hdf5", "points.vti", "binary.vtk")
GOOD = {
    "obj": Good(".obj", "sdf", _obj),
    "off": Good(".off", "sdf", _off),
    "stl text": Good(".stl", "sdf", _export("stl_ascii")),
    "stl binary": Good(".stl", "sdf", _export("stl")),
    "ply text": Good(".ply", "sdf", _export("ply", encoding="ascii")),
    "ply little": Good(".ply", "sdf", _export("ply")),
    "ply big": Good(".ply", "sdf", _big_endian_ply),
    "ply points": Good(".ply", "sdf", _cloud("ply")),
    "glb": Good(".glb", "sdf", _gltf(False)),
    "gltf": Good(".gltf", "sdf", _gltf(True)),
    "3mf": Good(".3mf", "sdf", _export("3mf")),
    "pcd text": Good(".pcd", "sdf", _cloud("pcd", encoding="ascii")),
    "pcd binary": Good(".pcd", "sdf", _cloud("pcd")),
    "pcd compressed": Good(".pcd", "sdf", _cloud("pcd", encoding="binary_compressed")),
    "pcd bare": Good(".pcd", "sdf", _cloud("pcd", normals=False)),
    "xyz": Good(".xyz", "sdf", lambda: _text("", np.concatenate(_points(), axis=1).round(5).tolist())),
    "points npy": Good(".npy", "sdf", _on_disk(lambda path: np.save(path, np.concatenate(_points(), axis=1)), ".npy")),
    "png": Good(".png", "image", _picture("png")),
    "png palette": Good(".png", "image", _picture("png", "P")),
    "jpg": Good(".jpg", "image", _picture("jpeg")),
    "jpeg grey": Good(".jpeg", "image", _picture("jpeg", "L")),
    "tif": Good(".tif", "image", _tiff(np.uint8)),
    "tiff float": Good(".tiff", "image", _tiff(np.float32, compression="zlib", predictor=True)),
    "tif tiles": Good(".tif", "image", _tiff(np.uint16, tile=(16, 16))),
    "webp": Good(".webp", "image", _picture("webp")),
    "bmp": Good(".bmp", "image", _picture("bmp")),
    "gif": Good(".gif", "image", _picture("gif", "P")),
    "picture npy": Good(".npy", "image", _array((12, 14, 3))),
    "wav": Good(".wav", "audio", _sound("WAV", "PCM_16")),
    "wav float": Good(".wav", "audio", _sound("WAV", "FLOAT")),
    "flac": Good(".flac", "audio", _sound("FLAC")),
    "ogg": Good(".ogg", "audio", _sound("OGG", "VORBIS")),
    "mp3": Good(".mp3", "audio", _sound("MP3")),
    "aiff": Good(".aiff", "audio", _sound("AIFF")),
    "aif": Good(".aif", "audio", _sound("AIFF", "PCM_24")),
    "volume npy": Good(".npy", "volume", _array((6, 7, 8))),
    "volume npz": Good(".npz", "volume", _array((6, 7, 8), compressed=True)),
    "aifc": Good(".aifc", "audio", _sound("AIFF", "PCM_16")),
    "au": Good(".au", "audio", _sound("AU", "PCM_16")),
    "snd": Good(".snd", "audio", _sound("AU", "ULAW")),
    "caf": Good(".caf", "audio", _sound("CAF", "PCM_16")),
    "w64": Good(".w64", "audio", _sound("W64", "PCM_16")),
    "rf64": Good(".rf64", "audio", _sound("RF64", "PCM_16")),
    "opus": Good(".opus", "audio", _sound("OGG", "OPUS")),
    "oga": Good(".oga", "audio", _sound("OGG", "VORBIS")),
    **{name: _volume(name) for name in WRITTEN_VOLUMES},
    **{name: _point_text(name) for name in ("header.xyz", "tabs.txt", "semicolons.csv", "aligned.asc", "counted.pts")},
    "xyzn": Good(".xyzn", "sdf", lambda: _text("", np.concatenate(_points(), axis=1).round(5).tolist())),
    "xyzrgb": Good(".xyzrgb", "sdf", lambda: _text("", np.c_[_points()[0].round(5), np.full((120, 3), 9)].tolist())),
    "las": Good(".las", "sdf", _made("test_las", lambda module: module.write_las, ".las")),
    "laz": Good(".laz", "sdf", _made("test_las", lambda module: module.write_las, ".laz")),
    "exr": Good(".exr", "image", _on_disk(_exr, ".exr")),
    "hdr": Good(".hdr", "image", _on_disk(_radiance, ".hdr")),
    "heic": Good(".heic", "image", _on_disk(_heif, ".heic")),
    "heif": Good(".heif", "image", _on_disk(_heif, ".heif")),
    "avif": Good(".avif", "image", _encoded("avif", np.uint8, 3, level=90, speed=9)),
    "jp2": Good(".jp2", "image", _encoded("jpeg2k", np.uint16, 3, level=0, reversible=True)),
    "j2k": Good(".j2k", "image", _encoded("jpeg2k", np.uint8, 3, codecformat="j2k", level=30)),
    "j2c": Good(".j2c", "image", _encoded("jpeg2k", np.uint8, 3, codecformat="j2k", level=0, reversible=True)),
    "dng": Good(".dng", "image", _made("test_picture_files", _raw, ".dng")),
    "pgm": Good(".pgm", "image", _netpbm("P5 14 12 1023\n", lambda: _values(">u2"))),
    "pnm": Good(".pnm", "image", _netpbm("P5 14 12 255\n", lambda: _values("u1"))),
    "pbm": Good(".pbm", "image", _netpbm("P4 14 12\n", lambda: _values("u1")[:, :2])),
    "ppm": Good(".ppm", "image", _netpbm("P6 14 12 255\n", lambda: _values("u1", 3))),
    "pfm": Good(".pfm", "image", _netpbm("PF\n14 12\n-1.0\n", lambda: _values("<f4", 3))),
    "pam": Good(
        ".pam",
        "image",
        _netpbm("P7\nWIDTH 14\nHEIGHT 12\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n", lambda: _values("u1", 3)),
    ),
    **{name: Good(f".{name}", "image", _picture(name)) for name in ("tga", "ico", "pcx", "sgi")},
    "qoi": Good(".qoi", "image", _encoded("qoi", np.uint8, 3)),
    "picture npz": Good(".npz", "image", _array((9, 8), compressed=False)),
}
"""Good files by name; every suffix of every kind must be among them, but for `WITHOUT_SAMPLE`."""
WITHOUT_SAMPLE = {
    *RAW[1:],  # read as .dng is
    *(".jfif", ".jpe"),  # read as .jpg is
    ".nc",  # read as .h5 is
    *(".nhdr", ".zarr"),  # of several files
    ".psd",  # nothing here writes it
}
"""Suffixes of files that are not made here."""


# ---------------------------------------------------------------------------------------------------------------------
# Damage


def mutate(data, seed):
    """Return damaged bytes: the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(MUTATORS)(rng, data)
    return data


def _span(rng, data, most=64):
    start = rng.randrange(max(len(data), 1))
    return start, min(len(data), start + rng.randint(1, most))


def flip_bits(rng, data):
    """Turn some bits over."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def set_bytes(rng, data):
    """Fill a few bytes with one value, more often in the header."""
    start, end = _span(rng, data[: rng.choice((64, 512, len(data)))], 8)
    return data[:start] + bytes([rng.choice((0, 0x20, 0x7F, 0xFF))]) * (end - start) + data[end:]


def truncate(rng, data):
    """Leave the end out."""
    return data[: rng.randrange(len(data) + 1)]


def delete(rng, data):
    """Leave a part out."""
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def duplicate(rng, data):
    """Have a part several times."""
    start, end = _span(rng, data, 512)
    return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]


def swap(rng, data):
    """Have two parts in each other's position."""
    (a, b), (c, d) = sorted(_span(rng, data) for _ in range(2))
    b = min(b, c)
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def insert_huge(rng, data):
    """Write a large number over some bytes, as integers are stored."""
    size, value = rng.choice((1, 2, 4, 4, 8)), rng.choice(HUGE)
    packed = (value & ((1 << 8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    start = rng.randrange(max(1, min(len(data), rng.choice((64, 512, len(data))) or 1)))
    return data[:start] + packed + data[start + size :]


def replace_word(rng, data):
    """Have another number, or none, for one that is written as text."""
    words = list(re.finditer(rb"-?\d[\d.eE+-]*", data))
    if not words:
        return insert_huge(rng, data)
    word = rng.choice(words[: rng.choice((8, 40, len(words)))])
    return data[: word.start()] + rng.choice(WORDS).encode() + data[word.end() :]


def repack(rng, data):
    """Damage what a .zip file holds, and leave the .zip file whole."""
    if not data.startswith(b"PK"):
        return flip_bits(rng, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return data
    name, stream = rng.choice(sorted(parts)), io.BytesIO()
    parts[name] = rng.choice(MUTATORS[:-1])(rng, parts[name])
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    return stream.getvalue()


MUTATORS = (flip_bits, set_bytes, truncate, delete, duplicate, swap, insert_huge, replace_word, replace_word, repack)


# ---------------------------------------------------------------------------------------------------------------------
# Loading within limits


@dataclass(frozen=True)
class Outcome:
    """What came of loading a file.

    Attributes:
        word: "loaded", "refused" (a ValueError of one line), "traceback", "crashed" or "endless".
        message: of the error.
    """

    word: str
    message: str = ""

    @property
    def good(self):
        return self.word in ("loaded", "refused")


def load_all(paths, seconds=SECONDS):
    """Load files one after the other in a process of their own; returns their outcomes.

    Args:
        paths: the files, each a path and the name of its kind, or None to find the kind.
        seconds: how long each may take.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz", "loader", str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        text=True,
    )
    output, _ = process.communicate(json.dumps([[str(path), kind] for path, kind in paths]))
    assert process.returncode == 0, output
    return [Outcome(*json.loads(line)) for line in output.splitlines()]


def serve(seconds):
    """Load the files that standard input names, in children that may crash, and write a line for each."""
    import torch  # noqa: F401

    from winner_nerfstudio.registry import all_kinds

    all_kinds()
    warnings.simplefilter("ignore")
    jobs, done = json.load(sys.stdin), 0
    while done < len(jobs):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _load_from(jobs[done:], writing)
        os.close(writing)
        buffer = b""
        outcome, begun, heard = Outcome("crashed"), 0.0, time.monotonic()
        while True:
            ready, _, _ = select.select([reading], [], [], 1)
            if not ready and _used(child) - begun < seconds and time.monotonic() - heard < 10 * seconds:
                continue
            if not ready:
                os.kill(child, signal.SIGKILL)
                outcome = Outcome("endless", f"more than {seconds} s")
                break
            data = os.read(reading, 1 << 16)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                print(line.decode(), flush=True)  # noqa: T201
                done += 1
            begun, heard = _used(child), time.monotonic()
        os.close(reading)
        status = os.waitpid(child, 0)[1]
        if done < len(jobs):
            if outcome.word == "crashed":
                outcome = Outcome("crashed", f"status {status}")
            print(json.dumps([outcome.word, outcome.message]), flush=True)  # noqa: T201
            done += 1


def _used(child):
    """Return the seconds of processor time that a process has taken: others may be at work, too."""
    try:
        user, system = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _load_from(jobs, writing):
    """Load files until all are done; never returns."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    size = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path, kind in jobs:
        outcome = load_one(path, kind)
        os.write(writing, json.dumps([outcome.word, outcome.message]).encode() + b"\n")
    os._exit(0)


def load_one(path, kind):
    """Load a file as ``winner-inspect`` does, and draw some points of a shape."""
    from winner_nerfstudio.registry import kind_named, kind_of

    try:
        known = kind_of(path) if kind is None else kind_named(kind)
        target = known.load(Path(path), known.options())
        target.describe()
        target.facts()
        if hasattr(target, "draw"):
            batch = target.draw(np.random.default_rng(0), 64)
            assert all(np.isfinite(rows).all() for rows in batch.values()), "samples are not finite"
        else:
            assert np.isfinite(target.values).all(), "values are not finite"
    except ValueError as error:
        message = str(error)
        if type(error).__name__ == "SignalError" or Path(path).name in message:
            # A size that was not checked; picture libraries have limits of their own, which are larger.
            lost = re.search(r"MemoryError|Unable to allocate|bad_alloc|recursion", message) and known.name == "sdf"
            return Outcome("traceback" if "\n" in message or lost else "refused", message)
        return Outcome("traceback", _describe(error))
    except BaseException as error:
        return Outcome("traceback", _describe(error))
    return Outcome("loaded", target.describe()[0])


def _describe(error):
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{type(error).__name__}: {str(error)[:200]} at {' '.join(frames[-4:])}"


if __name__ == "__main__":
    serve(float(sys.argv[2]))
