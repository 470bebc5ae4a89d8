"""glTF files made by hand, with what exporters of triangle meshes seldom write."""

import json
import struct

import numpy as np

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
WIDTHS = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Writer:
    """Collects arrays in one buffer; `document` begins with one node, which holds the first mesh."""

    def __init__(self, **node):
        self.data = b""
        self.document = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, **node}],
            "meshes": [{"primitives": []}],
            "accessors": [],
            "bufferViews": [],
        }

    def view(self, data, **more):
        self.data += b"\0" * (-len(self.data) % 4)
        views = self.document["bufferViews"]
        views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more})
        self.data += data
        return len(views) - 1

    def accessor(self, array, pad=0, **more):
        """Add an array [n, 1, 3, 4 or 16], each row followed by `pad` bytes."""
        rows = np.zeros((len(array), array[0].nbytes + pad), np.uint8)
        rows[:, : array[0].nbytes] = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
        stride = {"byteStride": rows.shape[1]} if pad else {}
        return self.describe(array, bufferView=self.view(rows.tobytes(), **stride), **more)

    def describe(self, array, **more):
        """Add an accessor that says what the array is."""
        bounds = {} if array.shape[1] == 1 else {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        kind = {"componentType": COMPONENTS[array.dtype.str[1:]], "type": WIDTHS[array.shape[1]], "count": len(array)}
        self.document["accessors"].append({**kind, **bounds, **more})
        return len(self.document["accessors"]) - 1

    def primitive(self, vertices=None, indices=None, **more):
        attributes = {} if vertices is None else {"POSITION": vertices}
        part = {"attributes": attributes, **({} if indices is None else {"indices": indices}), **more}
        self.document["meshes"][0]["primitives"].append(part)

    def mesh(self, vertices, faces):
        self.primitive(self.accessor(vertices.astype("<f4")), self.accessor(faces.reshape(-1, 1).astype("<u2")))

    def require(self, *names):
        self.document["extensionsUsed"] = self.document["extensionsRequired"] = list(names)

    def write(self, path, uri=None):
        """Write a .glb file, or a .gltf file whose buffer is what `uri` names."""
        buffer = {"byteLength": len(self.data)}
        document = {**self.document, "buffers": [buffer if uri is None else {**buffer, "uri": uri}]}
        if uri is not None:
            path.write_text(json.dumps(document))
            return path
        text, data = json.dumps(document).encode(), self.data + b"\0" * (-len(self.data) % 4)
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data))
        body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        path.write_bytes(head + body)
        return path
