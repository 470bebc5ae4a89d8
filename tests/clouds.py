"""Points on surfaces with known normals, for the tests."""

import numpy as np


def ball(count=5000, radius=1.0, center=(0.0, 0.0, 0.0), seed=0):
    """Points at random on a sphere, [n, 3], and their outward normals, [n, 3]."""
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.asarray(center) + radius * normals, normals


def torus(count=20_000, radius=0.65, tube=0.25, seed=0):
    """Points evenly by area on a torus about z, [n, 3], and their outward normals, [n, 3]."""
    rng = np.random.default_rng(seed)
    around, along = rng.uniform(0, 2 * np.pi, (2, 4 * count))
    keep = np.flatnonzero(rng.random(4 * count) * (radius + tube) < radius + tube * np.cos(along))[:count]
    around, along = around[keep], along[keep]
    outwards = np.stack([np.cos(around), np.sin(around), np.zeros(count)], -1)
    normals = np.cos(along)[:, None] * outwards + np.sin(along)[:, None] * np.array([0, 0, 1.0])
    return radius * outwards + tube * normals, normals


def torus_distance(points, radius=0.65, tube=0.25):
    """The closed form of its signed distance."""
    return np.hypot(np.linalg.norm(points[:, :2], axis=-1) - radius, points[:, 2]) - tube


def write_ply(path, points, normals=None, faces=0):
    """By hand, ascii; every column a double."""
    columns = points if normals is None else np.c_[points, normals]
    names = ("x", "y", "z", "nx", "ny", "nz")[: columns.shape[1]]
    head = ["ply", "format ascii 1.0", f"element vertex {len(points)}", *(f"property double {name}" for name in names)]
    head += [f"element face {faces}", "property list uchar int vertex_indices", "end_header"]
    rows = [" ".join(f"{value:.17g}" for value in row) for row in columns]
    path.write_text("\n".join(head + rows) + "\n")


def write_pcd(path, points, normals=None, encoding="binary"):
    """By hand; every column a double, `encoding` as the format names it."""
    columns = points if normals is None else np.c_[points, normals]
    names = ("x", "y", "z", "normal_x", "normal_y", "normal_z")[: columns.shape[1]]
    lines = ["# .PCD v0.7", "VERSION 0.7", f"FIELDS {' '.join(names)}"]
    lines += [
        f"{key} {' '.join([value] * len(names))}" for key, value in (("SIZE", "8"), ("TYPE", "F"), ("COUNT", "1"))
    ]
    lines += [
        f"WIDTH {len(points)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(points)}",
        f"DATA {encoding}",
    ]
    head = ("\n".join(lines) + "\n").encode()
    if encoding == "ascii":
        body = "".join(" ".join(f"{value:.17g}" for value in row) + "\n" for row in columns).encode()
    elif encoding == "binary":
        body = columns.astype("<f8").tobytes()
    else:
        data = columns.T.astype("<f8").tobytes()
        packed = compress_lzf(data)
        body = len(packed).to_bytes(4, "little") + len(data).to_bytes(4, "little") + packed
    path.write_bytes(head + body)


def compress_lzf(data):
    """Repetitions of the last eight bytes as references, the rest as it is."""
    packed, waiting, offset = bytearray(), bytearray(), 0

    def flush():
        for start in range(0, len(waiting), 32):
            packed.append(len(waiting[start : start + 32]) - 1)
            packed.extend(waiting[start : start + 32])
        waiting.clear()

    while offset < len(data):
        length = 0
        while (
            offset >= 8
            and length < 264
            and data[offset + length - 8 : offset + length - 7] == data[offset + length : offset + length + 1] != b""
        ):
            length += 1
        if length < 3:
            waiting.append(data[offset])
            offset += 1
            continue
        flush()
        packed.extend([(length - 2) << 5, 7] if length < 9 else [7 << 5, length - 9, 7])
        offset += length
    flush()
    return bytes(packed)
