"""3MF, the format of 3-D printing: a .zip file with models in XML, of objects that are meshes or made of others."""

import posixpath
import re
import zipfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...errors import SignalError
from .polygons import Polygons, check_corners
from .scenes import MOST_FACES, check_scene, transform

MOST_BYTES = 1 << 30
"""Bytes of a model once it is unpacked."""
MOST_SETTINGS = 1 << 24
"""Bytes of a slicer's settings that are looked at."""
CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
KNOWN = ("/production/", "/material/", "/trianglesets/")
"""Parts of the names of extensions that leave the surface as it is, or are read."""
SEPARATOR = "|"

Key = tuple[str, str]
"""A model's name and an object's number in it."""
Part = tuple[Key, Float[ndarray, "4 4"]]
"""An object and its transformation."""
SUPPORTS = "warning: has objects that support others during printing; they are read as parts of the shape"
COLORS = "note: colours of .3mf files are not read; save it as .glb to have them fitted"
HELPERS = (
    "warning: has parts that its slicer does not print as solids, such as modifiers and negative parts; they are read"
    " as parts of the shape"
)
UNPRINTED = "warning: has objects that are marked as not to be printed; they are read as parts of the shape"
SLICERS = ("metadata/slic3r_pe_model.config", "metadata/model_settings.config")
"""Parts of the package in which PrusaSlicer, and Bambu Studio and OrcaSlicer, say what each solid is for."""
HELPS = re.compile(
    rb'key="modifier" value="1"|value="(NegativeVolume|ParameterModifier|SupportBlocker|SupportEnforcer)"'
    rb'|subtype="(negative_part|modifier_part|support_blocker|support_enforcer)"'
)
BEAMS = "warning: a lattice of beams is not read; what the mesh beside it holds is"


@dataclass(eq=False)
class Solid:
    """An object: a mesh, or other objects moved.

    Attributes:
        vertices: coordinates one after the other.
        corners: indices of vertices, three a triangle.
        parts: other objects and how each is moved.
        size: triangles or vertices, those of its parts too; no more than `MOST_FACES` and one are counted.
    """

    vertices: array = field(default_factory=lambda: array("d"))
    corners: array = field(default_factory=lambda: array("q"))
    parts: list[Part] = field(default_factory=list)
    size: int = 0


def read_3mf(path: Path) -> Polygons:
    """Read the triangles of what a .3mf file builds, each object in its position.

    Raises:
        SignalError: it is no .3mf file, needs an extension that is not known, contradicts itself, or is too large.
    """
    with zipfile.ZipFile(path) as archive:
        package = _Package(path, archive)
        build = package.read_model(package.find_root())
        package.note_helpers()
    solids = package.solids
    check_scene(path, len(build), sum(solids[key].size for key, _ in build))
    parts, waiting, count = [], list(reversed(build)), 0
    while waiting:
        key, matrix = waiting.pop()
        solid = solids[key]
        if solid.corners:
            vertices = np.array(solid.vertices).reshape(-1, 3)
            polygons = Polygons.from_faces(vertices, np.array(solid.corners, np.int64).reshape(-1, 3))
            check_corners(path, polygons, "this object")
            parts.append(transform(polygons, matrix))
        waiting += [(part, matrix @ moved) for part, moved in reversed(solid.parts) if solids[part].size]
        count += 1
        check_scene(path, count + len(waiting), 0)
    return Polygons.join(parts, tuple(package.notes))


@dataclass(eq=False)
class _Package:
    """The .zip file and what has been read of it.

    Attributes:
        path: the file.
        archive: the same, open.
        solids: objects that are complete.
        models: names of the models whose reading has begun.
        notes: what the user should know, a line each.
    """

    path: Path
    archive: zipfile.ZipFile
    solids: dict[Key, Solid] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    _unit: str | None = None

    def note_unit(self, unit: str) -> None:
        """Note the unit of a model's coordinates, which all models of a file must have in common."""
        if self._unit not in (None, unit):
            raise SignalError(
                f"{self.path}: has models in the units {self._unit} and {unit}; write all of them in one unit"
            )
        if self._unit is None:
            self.notes.append(f"its unit is the {unit}")
        self._unit = unit

    def note_helpers(self) -> None:
        """Note that the slicer which wrote the file uses some of the solids otherwise than as parts of the shape."""
        for entry in self.archive.infolist():
            if to_name(entry.filename) in SLICERS:
                with self.archive.open(entry) as file:
                    self.notes += [HELPERS] * bool(HELPS.search(file.read(MOST_SETTINGS)))

    def find_root(self) -> str:
        """Return the name of the model that says what is built."""
        targets: list[str] = []

        def take(tag: str, attributes: dict[str, str]) -> None:
            if tag.endswith(f"{SEPARATOR}Relationship") and attributes.get("Type", "").endswith("/3dmodel"):
                targets.append(attributes["Target"])

        parser = expat.ParserCreate(namespace_separator=SEPARATOR)
        parser.StartElementHandler = take
        self._parse("_rels/.rels", parser)
        if not targets:
            raise SignalError(f"{self.path}: names no model; is it a whole .3mf file?")
        return to_name(targets[0])

    def read_model(self, name: str) -> list[Part]:
        """Read the objects of a model, and return those that it builds."""
        self.models.add(name)
        reader = _ModelReader(self, name)
        parser = expat.ParserCreate(namespace_separator=SEPARATOR)
        parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
        parser.StartNamespaceDeclHandler = reader.declare
        self._parse(name, parser)
        return reader.build

    def _parse(self, name: str, parser: expat.XMLParserType) -> None:
        """Read a file of the package."""
        entry = next((entry for entry in self.archive.infolist() if to_name(entry.filename) == name), None)
        if entry is None:
            raise SignalError(f"{self.path}: has no part {name[:80]!r}; is it a whole .3mf file?")
        if entry.file_size > MOST_BYTES:
            raise SignalError(f"{self.path}: has a part of {entry.file_size:,} bytes; at most {MOST_BYTES:,} are read")
        parser.StartDoctypeDeclHandler = self._refuse_type
        with self.archive.open(entry) as file:
            parser.ParseFile(file)

    def _refuse_type(self, *_: object) -> NoReturn:
        raise SignalError(f"{self.path}: its XML declares a document type, which .3mf files do not have")


@dataclass(eq=False)
class _ModelReader:
    """What is known while a model is read.

    Attributes:
        package: the package that it belongs to.
        name: of the model.
        build: what it builds.
        solid: the object that is being read, and its key.
        spaces: names of extensions by the prefixes that the model has for them.
        bases: materials so far; a single one colours nothing apart.
    """

    package: _Package
    name: str
    build: list[Part] = field(default_factory=list)
    solid: Solid | None = None
    key: Key = ("", "")
    spaces: dict[str | None, str] = field(default_factory=dict)
    bases: int = 0

    def declare(self, prefix: str | None, space: str) -> None:
        """Take the name of an extension."""
        self.spaces[prefix] = space

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take what an element says."""
        solid, (space, _, tag) = self.solid, tag.rpartition(SEPARATOR)
        if tag == "vertex" and solid is not None:
            solid.vertices.extend((float(attributes["x"]), float(attributes["y"]), float(attributes["z"])))
        elif tag == "triangle" and solid is not None:
            solid.corners.extend((int(attributes["v1"]), int(attributes["v2"]), int(attributes["v3"])))
        elif tag == "object" and space == CORE:
            self.solid, self.key = Solid(), (self.name, attributes["id"])
            if "support" in attributes.get("type", "") and SUPPORTS not in self.package.notes:
                self.package.notes.append(SUPPORTS)
        elif tag == "component" and solid is not None:
            solid.parts.append(self._find(attributes))
        elif tag == "item":
            self.build.append(self._find(attributes))
            if attributes.get("printable") == "0" and UNPRINTED not in self.package.notes:
                self.package.notes.append(UNPRINTED)
        elif tag == "beamlattice" and BEAMS not in self.package.notes:
            self.package.notes.append(BEAMS)
        elif tag in ("base", "colorgroup", "texture2dgroup"):
            self.bases += tag == "base"
            if (tag != "base" or self.bases == 2) and COLORS not in self.package.notes:
                self.package.notes.append(COLORS)
        elif tag == "model":
            self._check_extensions(attributes.get("requiredextensions", "").split())
            self.package.note_unit(attributes.get("unit", "millimeter"))

    def end(self, tag: str) -> None:
        """Keep an object that is complete."""
        if tag != f"{CORE}{SEPARATOR}object" or self.solid is None:
            return
        solids, solid = self.package.solids, self.solid
        own = max(len(solid.corners), len(solid.vertices)) // 3
        solid.size = min(own + sum(solids[key].size for key, _ in solid.parts), MOST_FACES + 1)
        solids[self.key], self.solid = solid, None

    def _find(self, attributes: dict[str, str]) -> Part:
        """Return an object that an element refers to; objects stand before those that are made of them."""
        named = next((value for key, value in attributes.items() if key.endswith(f"{SEPARATOR}path")), None)
        model = self.name if named is None else to_name(named)
        if model not in self.package.models:
            self.package.read_model(model)
        key = (model, attributes["objectid"])
        if key not in self.package.solids:
            raise SignalError(f"{self.package.path}: refers to object {key[1][:20]!r}, which does not stand before it")
        return key, _matrix_of(attributes)

    def _check_extensions(self, prefixes: list[str]) -> None:
        for space in (self.spaces.get(prefix, prefix) for prefix in prefixes):
            if not any(known in space for known in KNOWN):
                raise SignalError(
                    f"{self.package.path}: needs the extension {space[:80]}, which cannot be read; export without it"
                )


def to_name(name: str) -> str:
    """Return how a part of the package is called, whatever its case and its leading slash."""
    return posixpath.normpath(name).lstrip("/").lower()


def _matrix_of(attributes: dict[str, str]) -> Float[ndarray, "4 4"]:
    """Return the transformation of an element; 3MF multiplies rows by it, and writes four rows of three."""
    matrix = np.eye(4)
    if "transform" in attributes:
        matrix[:3] = np.array(attributes["transform"].split(), np.float64).reshape(4, 3).T
    return matrix
