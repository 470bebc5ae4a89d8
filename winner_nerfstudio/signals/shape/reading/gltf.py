"""glTF 2.0, .gltf and .glb: the triangles of a scene, each mesh in its position."""

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from ...errors import SignalError
from ...extras import import_extra
from ..colors import CornerColors, Texture, Wrap, to_srgb
from .polygons import Polygons, check_corners
from .scenes import MOST_FACES, check_scene, transform
from .textures import decode_texture, find_beside, read_texture

DRACO = "KHR_draco_mesh_compression"
VISIBILITY = "KHR_node_visibility"
MOST_ZEROS = 1 << 22
"""Elements of an accessor that has no data but what a sparse one changes."""
KNOWN = (DRACO, VISIBILITY, "KHR_mesh_quantization")
WITHOUT_GEOMETRY = ("KHR_materials", "KHR_texture", "EXT_texture", "KHR_lights", "KHR_xmp", "KHR_animation")
"""Beginnings of the names of extensions that leave the surface as it is."""
CONVERT = "only glTF 2 can be read; open it in Blender or another program and export it anew"
TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
WRAPS: dict[Any, Wrap] = {10497: "repeat", 33648: "mirror", 33071: "clamp"}
POINTS_AND_LINES = (0, 1, 2, 3)
TRIANGLES, STRIP, FAN = 4, 5, 6


def read_gltf(path: Path, colors: bool = False) -> Polygons:
    """Read the triangles of a glTF file's scene.

    Args:
        path: of the file.
        colors: whether to read the base colours: of textures, materials and vertices.

    Raises:
        SignalError: the file contradicts itself, needs an extension that is not known, or names a file that may not be
            read.
    """
    document = _Document(path, *_open(path), colors)
    document.check_extensions()
    parts: list[Polygons] = []
    size = 0
    for placed in document.walk():
        polygons = document.read_mesh(placed)
        size += max(len(polygons.sizes), len(polygons.vertices))
        check_scene(path, len(parts), size)
        parts.append(polygons if placed.joints is not None else transform(polygons, placed.matrix))
    return Polygons.join(parts, tuple(document.notes))


def find_named_files(path: Path) -> list[Path | None]:
    """Return the files of the buffers and pictures that a glTF file names."""
    content, _ = _open(path)
    entries = [*content.get("buffers", []), *content.get("images", [])]
    uris = [str(entry["uri"]) for entry in entries if "uri" in entry]
    return [_find_named(path, uri) for uri in uris if not uri.startswith("data:")]


def _find_named(path: Path, uri: str) -> Path | None:
    """Return the file that a URI of a document means, if it is in the document's folder or below it; else None."""
    return find_beside(path, unquote(uri)) or find_beside(path, uri)


def _open(path: Path) -> tuple[dict[str, Any], bytes | None]:
    """Return the document and, of a .glb file, its binary chunk."""
    data = path.read_bytes()
    if not data.startswith(b"glTF"):
        return _parse(path, data), None
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise SignalError(f"{path}: is glTF {version}; {CONVERT}")
    if not 20 <= length <= len(data):
        raise SignalError(f"{path}: the header says {length:,} bytes, but the file has {len(data):,}; is it whole?")
    chunks: dict[bytes, bytes] = {}
    offset = 12
    while offset + 8 <= length:
        size, name = struct.unpack_from("<I4s", data, offset)
        if size > length - offset - 8:
            raise SignalError(f"{path}: a part of {size:,} bytes ends behind the file; is it whole?")
        chunks.setdefault(name, data[offset + 8 : offset + 8 + size])
        offset += 8 + size
    return _parse(path, chunks[b"JSON"]), chunks.get(b"BIN\0")


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text.decode("utf-8-sig"))
    except RecursionError:
        raise SignalError(f"{path}: its JSON has lists in lists without end; is it a glTF file?") from None
    if not isinstance(content, dict):
        raise SignalError(f"{path}: its JSON is no glTF document; is the file whole?")
    asset = content.get("asset")
    version = str(asset.get("version", "2.0")) if isinstance(asset, dict) else "2.0"
    # The first version names its meshes and nodes where the second counts them.
    if version.startswith(("0.", "1.")) or isinstance(content.get("meshes"), dict):
        raise SignalError(f"{path}: is glTF {version if version < '2' else '1.0'}; {CONVERT}")
    return content


@dataclass(frozen=True, eq=False)
class _Placed:
    """A mesh of the scene.

    Attributes:
        mesh: its index.
        weights: the node's weights of morph targets; the mesh's own hold where it has none.
        matrix: the node's transformation to the scene's coordinates.
        joints: of a mesh with a skeleton, the transformation of what hangs on each joint to the scene's coordinates,
            [joints, 4, 4]; the node's has no effect then (glTF 2.0, section 3.7.3.1).
    """

    mesh: int
    weights: list[float] | None
    matrix: Float[ndarray, "4 4"]
    joints: Float[ndarray, "j 4 4"] | None = None


@dataclass(eq=False)
class _Document:
    """A glTF document and what has been read of it.

    Attributes:
        path: the file.
        content: its JSON.
        chunk: the binary chunk of a .glb file.
        colors: whether colours are read.
        notes: what the user should know, a line each.
    """

    path: Path
    content: dict[str, Any]
    chunk: bytes | None
    colors: bool = False
    notes: list[str] = field(default_factory=list)
    _buffers: dict[int, bytes] = field(default_factory=dict)
    _meshes: dict[Any, Polygons] = field(default_factory=dict)
    _textures: dict[int, Texture | None] = field(default_factory=dict)

    def check_extensions(self) -> None:
        """Check that no extension is required that is not known.

        Raises:
            SignalError: one is.
        """
        for name in self.content.get("extensionsRequired", []):
            if name not in KNOWN and not str(name).startswith(WITHOUT_GEOMETRY):
                raise SignalError(
                    f"{self.path}: needs the extension {name}, which cannot be read; export without it, for example"
                    " without compression"
                )

    def walk(self) -> Iterator[_Placed]:
        """Return the meshes of the scene in their places, those with a skeleton last.

        Raises:
            SignalError: a node is the child of several, or of itself, or there are too many meshes.
        """
        nodes = self.content.get("nodes", [])
        # Before any is placed, which takes a while for each.
        check_scene(self.path, sum("mesh" in node for node in nodes), 0)
        scenes = self.content.get("scenes")
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
        if scenes:
            roots = scenes[self.content.get("scene", 0)].get("nodes", [])
            if len(scenes) > 1:
                self._note(f"warning: the file has {len(scenes):,} scenes; only the first to be shown is read")
        waiting = [(root, np.eye(4)) for root in reversed(roots)]
        worlds: dict[int, Float[ndarray, "4 4"]] = {}
        bent: list[tuple[dict[str, Any], Float[ndarray, "4 4"]]] = []
        seen = set[int]()
        while waiting:
            index, parent = waiting.pop()
            if index in seen:
                raise SignalError(f"{self.path}: node {index} has several parents or is its own; it must have one")
            node = _item(nodes, index)
            seen.add(index)
            matrix = parent @ _matrix_of(node)
            if "skins" in self.content:
                worlds[index] = matrix
            if not node.get("extensions", {}).get(VISIBILITY, {}).get("visible", True):
                self._note(f"warning: left out nodes that are not visible ({VISIBILITY}), with all below them")
                continue
            if "mesh" in node and "skin" in node:
                bent.append((node, matrix))
            elif "mesh" in node:
                yield _Placed(node["mesh"], node.get("weights"), matrix)
            if "EXT_mesh_gpu_instancing" in node.get("extensions", {}):
                self._note("warning: EXT_mesh_gpu_instancing is not read; there is one instance of the mesh")
            waiting += [(child, matrix) for child in reversed(node.get("children", []))]
        for node, matrix in bent:
            yield _Placed(node["mesh"], node.get("weights"), matrix, self._pose(node["skin"], worlds))

    def _pose(self, index: int, worlds: dict[int, Float[ndarray, "4 4"]]) -> Float[ndarray, "j 4 4"] | None:
        """Return the transformations of a skeleton's joints, see `_Placed`, or None and a note where there are none.

        Args:
            index: of the skeleton.
            worlds: the transformations of the scene's nodes to its coordinates.
        """
        skin = _item(self.content.get("skins", []), index)
        if not all(joint in worlds for joint in skin["joints"]):
            self._note("warning: the joints of a skeleton are not in the scene; its mesh is read as it was modelled")
            return None
        joints = np.stack([worlds[joint] for joint in skin["joints"]])
        self._note("the mesh has a skeleton and is read as its joints stand in the file, without animation")
        if "inverseBindMatrices" not in skin:
            return joints
        inverse = self._read_accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        if len(inverse) < len(joints):
            raise ValueError(f"a skeleton has {len(joints)} joints and {len(inverse)} matrices for them")
        return np.asarray(joints @ inverse[: len(joints)])

    def read_mesh(self, placed: _Placed) -> Polygons:
        """Return the triangles of a mesh, in its own coordinates, or in the scene's if it has a skeleton."""
        mesh = _item(self.content.get("meshes", []), placed.mesh)
        weights = mesh.get("weights", []) if placed.weights is None else placed.weights
        key = placed.mesh, tuple(weights), placed if placed.joints is not None else None
        if key not in self._meshes:
            parts, size = [], 0
            for primitive in mesh.get("primitives", []):
                part = self._read_primitive(primitive, weights, placed)
                if part is not None:
                    check_corners(self.path, part, "this part of a mesh")
                    parts.append(part)
                    size += max(len(part.sizes), len(part.vertices))
                check_scene(self.path, len(parts), size)
            self._meshes[key] = Polygons.join(parts)
        return self._meshes[key]

    def _note(self, note: str) -> None:
        """Keep a note for the user once."""
        if note not in self.notes:
            self.notes.append(note)

    def _read_primitive(self, primitive: dict[str, Any], weights: list[float], placed: _Placed) -> Polygons | None:
        """Return the triangles of a part of a mesh, see `read_mesh`, or None and a note if it has none."""
        mode, attributes = primitive.get("mode", TRIANGLES), primitive.get("attributes", {})
        if mode in POINTS_AND_LINES:
            self._note("repaired: left out points and lines, which are no surface")
            return None
        if "POSITION" not in attributes:
            self._note("repaired: left out a part of a mesh that has no vertices")
            return None
        if DRACO in primitive.get("extensions", {}):
            if self.colors and ("material" in primitive or "COLOR_0" in attributes):
                self._note("note: the colours of parts that are compressed by Draco are not read")
            part = self._read_draco(primitive)
            if placed.joints is None:
                return part
            self._note("warning: the skeleton of parts that are compressed by Draco is not read; they are as modelled")
            return transform(part, placed.matrix)
        vertices = self._read_positions(attributes["POSITION"])
        for target, weight in zip(primitive.get("targets", []), weights, strict=False):
            if weight and "POSITION" in target:
                vertices = vertices + weight * self._read_accessor(target["POSITION"])
        if placed.joints is not None:
            vertices = self._bend(vertices, attributes, placed)
        if "indices" in primitive:
            indices = self._read_accessor(primitive["indices"]).astype(np.int64).reshape(-1)
        else:
            indices = np.arange(len(vertices))
        faces = self._cut(indices, mode)
        in_range = faces.size and faces.min() >= 0 and faces.max() < len(vertices)
        colors = self._read_colors(primitive, len(vertices)) if self.colors and in_range else None
        return Polygons.from_faces(vertices, faces, colors=colors and colors.take(faces.reshape(-1)))

    def _bend(
        self, vertices: Float[ndarray, "v 3"], attributes: dict[str, int], placed: _Placed
    ) -> Float[ndarray, "v 3"]:
        """Return vertices where the joints on which they hang put them: the mean over joints by the vertex' weights."""
        joints = placed.joints
        assert joints is not None
        points = np.concatenate([vertices, np.ones((len(vertices), 1))], -1)
        bent, total = np.zeros((len(vertices), 3)), np.zeros((len(vertices), 1))
        for name in sorted(name for name in attributes if name.startswith("JOINTS_")):
            chosen = self._read_stored(attributes[name]).astype(np.int64)
            shares = self._read_accessor(attributes[name.replace("JOINTS", "WEIGHTS")])
            if chosen.shape != shares.shape or len(chosen) != len(vertices) or chosen.max(initial=0) >= len(joints):
                raise ValueError(f"{name} does not fit {len(vertices)} vertices and {len(joints)} joints")
            for joint, share in zip(chosen.T, shares.T, strict=True):
                bent += share[:, None] * np.einsum("vij,vj->vi", joints[joint, :3], points)
                total += share[:, None]
        loose = total[:, 0] <= 0
        if loose.any():
            self._note("warning: some vertices of a mesh with a skeleton hang on no joint; they are as modelled")
            bent[loose], total[loose] = (points @ placed.matrix.T)[loose, :3], 1.0
        return np.asarray(bent / total)

    def _read_colors(self, primitive: dict[str, Any], count: int) -> CornerColors | None:
        """Return the base colours of a part's vertices, [count], or None and a note if they cannot be read."""
        try:
            return self._paint(primitive, count)
        except Exception as error:  # what describes colours may be anything, and is no reason to refuse a shape
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            self._note(f"warning: the colours of a part of it are left out ({reason})")
            return None

    def _paint(self, primitive: dict[str, Any], count: int) -> CornerColors | None:
        """Return base colours: texture times factor times the vertices' colours (glTF 2.0, section 3.9.2)."""
        attributes = primitive["attributes"]
        material = _item(self.content["materials"], primitive["material"]) if "material" in primitive else {}
        base = _find_base(material)
        linear = np.tile(np.array(base.get("baseColorFactor", (1, 1, 1, 1))[:3], np.float64), (count, 1))
        bits = 8
        if "COLOR_0" in attributes:
            linear *= self._read_accessor(attributes["COLOR_0"])[:, :3]
            bits = 8 if self._read_stored(attributes["COLOR_0"]).dtype.itemsize == 1 else 16
        if not np.isfinite(linear).all():
            raise ValueError("a factor or a vertex has a colour that is NaN or infinite")
        colors = CornerColors(to_srgb(linear).astype(np.float32), bits)
        placed = base.get("baseColorTexture")
        if placed is None and "emissiveTexture" in material:
            self._note(
                "note: a material has a texture of its light alone, emissiveTexture, which is not read; the colour"
                " of a surface is baseColorTexture"
            )
        if placed is None:
            return colors if "COLOR_0" in attributes or "material" in primitive else None
        texture = self._read_texture(placed["index"])
        if texture is None:
            return colors
        moved = placed.get("extensions", {}).get("KHR_texture_transform", {})
        channel = moved.get("texCoord", placed.get("texCoord", 0))
        uv = _move(self._read_accessor(attributes[f"TEXCOORD_{channel}"]), moved)
        if len(uv) != count:
            raise ValueError(f"it has {len(uv):,} texture coordinates for {count:,} vertices")
        bits = max(texture.bits, colors.bits)
        return CornerColors(colors.values, bits, uv.astype(np.float32), np.zeros(count, np.int32), (texture,))

    def _read_texture(self, index: int) -> Texture | None:
        """Return a texture; None, and a note, if it cannot be read."""
        if index not in self._textures:
            try:
                self._textures[index] = self._load_texture(_item(self.content["textures"], index))
            except (SignalError, ValueError, KeyError, TypeError) as error:
                self._textures[index] = None
                self._note(f"warning: a texture is left out ({' '.join(str(error).split())[:200]})")
        return self._textures[index]

    def _load_texture(self, texture: dict[str, Any]) -> Texture:
        extended = [each["source"] for each in texture.get("extensions", {}).values() if "source" in each]
        image = _item(self.content["images"], texture.get("source", *extended[:1]))
        sampler = _item(self.content["samplers"], texture["sampler"]) if "sampler" in texture else {}
        wrap = tuple(WRAPS.get(sampler.get(key), "repeat") for key in ("wrapS", "wrapT"))
        if "bufferView" in image:
            view = _item(self.content["bufferViews"], image["bufferView"])
            data = self._read_view(image["bufferView"], 0, np.dtype("u1"), 1, view["byteLength"]).tobytes()
        elif str(image["uri"]).startswith("data:"):
            data = _decode_uri(image["uri"])
        else:
            return Texture(read_texture(self._named_file(image["uri"])), (wrap[0], wrap[1]))
        return Texture(decode_texture(f"{self.path}: its texture", data), (wrap[0], wrap[1]))

    def _cut(self, indices: Int[ndarray, " n"], mode: int) -> Int[ndarray, "t 3"]:
        """Return the triangles that a list, a strip or a fan of indices means."""
        if mode == TRIANGLES:
            if len(indices) % 3:
                raise SignalError(f"{self.path}: {len(indices):,} corners are no triangles of three each; is it whole?")
            return indices.reshape(-1, 3)
        step = np.arange(max(len(indices) - 2, 0))
        if mode == STRIP:
            return np.stack([indices[step], indices[step + 1 + step % 2], indices[step + 2 - step % 2]], -1)
        if mode == FAN:
            return np.stack([indices[step + 1], indices[step + 2], indices[step * 0]], -1)
        raise SignalError(f"{self.path}: a mesh has mode {mode}, which glTF 2 does not have")

    def _read_positions(self, index: int) -> Float[ndarray, "v 3"]:
        """Return the positions of an accessor, and note if they lie otherwise than it says."""
        accessor = _item(self.content.get("accessors", []), index)
        if accessor.get("type") != "VEC3":
            raise SignalError(f"{self.path}: positions of type {accessor.get('type')!r}; VEC3 is needed")
        stored = self._read_stored(index)
        if len(stored) and {"min", "max"} <= set(accessor):
            self._compare_bounds(stored, accessor)
        return _dequantize(stored, accessor)

    def _compare_bounds(self, vertices: Shaped[ndarray, "v 3"], accessor: dict[str, Any]) -> None:
        said = np.array([accessor["min"], accessor["max"]], np.float64)
        found = np.array([vertices.min(0), vertices.max(0)], np.float64)
        if said.shape != found.shape or np.abs(said - found).max() > 1e-3 * np.ptp(said, axis=0).max() + 1e-30:
            boxes = [" to ".join(str([float(f"{x:.4g}") for x in corner]) for corner in box) for box in (said, found)]
            self._note(f"warning: the file says that vertices span {boxes[0]}, but they span {boxes[1]}")

    def _read_accessor(self, index: int) -> ndarray:
        """Return the numbers of an accessor as they are meant, [count, width]."""
        return _dequantize(self._read_stored(index), _item(self.content.get("accessors", []), index))

    def _read_stored(self, index: int) -> ndarray:
        """Return the numbers of an accessor as they are stored, [count, width]."""
        accessor = _item(self.content.get("accessors", []), index)
        dtype, width, count = np.dtype(TYPES[accessor["componentType"]]), WIDTHS[accessor["type"]], accessor["count"]
        if count > 3 * MOST_FACES:
            raise SignalError(f"{self.path}: an accessor has {count:,} elements; at most {3 * MOST_FACES:,} are read")
        if "bufferView" not in accessor and count > MOST_ZEROS * ("sparse" in accessor):
            raise SignalError(f"{self.path}: an accessor of {count:,} elements has no data; is the file whole?")
        if "bufferView" in accessor:
            values = self._read_view(accessor["bufferView"], accessor.get("byteOffset", 0), dtype, width, count)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            where, what = sparse["indices"], sparse["values"]
            kind = np.dtype(TYPES[where["componentType"]])
            rows = self._read_view(where["bufferView"], where.get("byteOffset", 0), kind, 1, sparse["count"])[:, 0]
            if len(rows) and rows.max() >= count:
                raise SignalError(f"{self.path}: a sparse accessor changes element {rows.max()} of {count}")
            values = values.copy()
            values[rows] = self._read_view(what["bufferView"], what.get("byteOffset", 0), dtype, width, sparse["count"])
        return values

    def _read_view(self, index: int, offset: int, dtype: np.dtype, width: int, count: int) -> ndarray:
        """Return rows of numbers from a part of a buffer, [count, width].

        Raises:
            SignalError: they reach beyond it.
        """
        view = _item(self.content.get("bufferViews", []), index)
        size = width * dtype.itemsize
        stride = view.get("byteStride") or size
        start, length = view.get("byteOffset", 0) + offset, view["byteLength"] - offset
        data = self._read_buffer(view["buffer"])
        needed = stride * (count - 1) + size if count > 0 else 0
        if min(count, offset, start) < 0 or stride < size or needed > min(length, len(data) - start):
            raise SignalError(
                f"{self.path}: the file says that {count:,} elements of {size} bytes are in a part of {length:,}"
                " bytes; is it whole?"
            )
        return (
            np.ndarray((count, width), dtype, data, start, (stride, dtype.itemsize)) if count else np.zeros((0, width))
        )

    def _read_buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            buffer = _item(self.content.get("buffers", []), index)
            data = self._load(index, buffer.get("uri"))
            if len(data) < buffer["byteLength"]:
                raise SignalError(
                    f"{self.path}: the file says that buffer {index} has {buffer['byteLength']:,} bytes, but it has"
                    f" {len(data):,}; is it whole?"
                )
            self._buffers[index] = data
        return self._buffers[index]

    def _load(self, index: int, uri: str | None) -> bytes:
        """Return the bytes of a buffer: the file's own, within its URI, or of a file in the same folder or below it."""
        if uri is None:
            if self.chunk is None or index != 0:
                raise SignalError(
                    f"{self.path}: buffer {index} has no data; is it compressed (EXT_meshopt_compression)? export"
                    " without compression"
                )
            return self.chunk
        if uri.startswith("data:"):
            return _decode_uri(uri)
        return self._named_file(uri).read_bytes()

    def _named_file(self, uri: str) -> Path:
        """Return the path of a file that the document names.

        Raises:
            SignalError: it is none in the document's folder or below it.
        """
        if target := _find_named(self.path, uri):
            return target
        raise SignalError(
            f"{self.path}: names the file {uri[:80]!r}, which is not in the same folder or below it; put it there"
        )

    def _read_draco(self, primitive: dict[str, Any]) -> Polygons:
        """Return the triangles of a part that is compressed by Draco.

        Raises:
            SignalError: it cannot be decoded, or other than the accessors say comes out.
        """
        draco = import_extra("DracoPy", "draco", f"{self.path}: is compressed by Draco, which is read")
        extension, accessors = primitive["extensions"][DRACO], self.content.get("accessors", [])
        view = _item(self.content.get("bufferViews", []), extension["bufferView"])
        data = self._read_view(extension["bufferView"], 0, np.dtype("u1"), 1, view["byteLength"]).tobytes()
        said = _item(accessors, primitive["indices"])["count"] if "indices" in primitive else None
        try:
            decoded = draco.decode(data)
            vertices, faces = np.asarray(decoded.points, np.float64), np.asarray(decoded.faces, np.int64).reshape(-1, 3)
        except Exception as error:  # of several classes
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise SignalError(
                f"{self.path}: its Draco compression cannot be decoded ({reason}); is it whole?"
            ) from error
        if said is not None and faces.size != said and primitive.get("mode", TRIANGLES) == TRIANGLES:
            raise SignalError(
                f"{self.path}: the file says {said // 3:,} triangles, but its Draco part has {len(faces):,}; is it"
                " whole?"
            )
        accessor = _item(accessors, primitive["attributes"]["POSITION"])
        return Polygons.from_faces(_dequantize(vertices, accessor), faces)


def _find_base(material: dict[str, Any]) -> dict[str, Any]:
    """Return what a material says of its base colour, which an older extension calls the diffuse colour."""
    older = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if older is None:
        base: dict[str, Any] = material.get("pbrMetallicRoughness", {})
        return base
    names = {"diffuseFactor": "baseColorFactor", "diffuseTexture": "baseColorTexture"}
    return {names[name]: value for name, value in older.items() if name in names}


def _move(uv: Float[ndarray, "n 2"], moved: dict[str, Any]) -> Float[ndarray, "n 2"]:
    """Return texture coordinates scaled, rotated and moved, as the extension KHR_texture_transform says."""
    u, v = (uv * moved.get("scale", (1, 1))).T
    sine, cosine = np.sin(moved.get("rotation", 0.0)), np.cos(moved.get("rotation", 0.0))
    return np.stack([cosine * u + sine * v, cosine * v - sine * u], -1) + moved.get("offset", (0, 0))


def _decode_uri(uri: str) -> bytes:
    """Return the data that a URI of the scheme data: holds."""
    header, _, payload = uri.partition(",")
    if header.endswith(";base64"):
        return base64.b64decode("".join(payload.split()), validate=True)
    return unquote_to_bytes(payload)


def _item(items: list[dict[str, Any]], index: Any) -> dict[str, Any]:
    """Return an item of a list; a negative index is none, unlike in Python."""
    if not isinstance(index, int) or not 0 <= index < len(items):
        raise ValueError(f"the document refers to item {index} of {len(items)}")
    return items[index]


def _dequantize(values: ndarray, accessor: dict[str, Any]) -> Float[ndarray, "n k"]:
    """Return numbers as they are meant: normalised integers stand for 0 to 1, or -1 to 1 (glTF 2.0, section 3.11)."""
    result = values.astype(np.float64)
    if not accessor.get("normalized", False):
        return result
    limit = np.iinfo(np.dtype(TYPES[accessor["componentType"]])).max
    return np.maximum(result / limit, -1.0)


def _matrix_of(node: dict[str, Any]) -> Float[ndarray, "4 4"]:
    """Return a node's transformation to its parent's coordinates (glTF 2.0, section 3.5.3)."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64)
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
