"""The files that belong to a file, which names them: they are read with it, and other ones make another signal."""

from importlib import import_module
from pathlib import Path

from ..files import suffix_of

FINDERS = {
    ".glb": "shape.reading.gltf:find_named_files",
    ".gltf": "shape.reading.gltf:find_named_files",
    ".nhdr": "volume_readers:find_nrrd_data",
    ".nrrd": "volume_readers:find_nrrd_data",
    ".obj": "shape.reading.obj:find_material_files",
    ".ply": "shape.reading.ply:find_textures",
    ".tif": "tiff_stack:find_ome_files",
    ".tiff": "tiff_stack:find_ome_files",
}
"""The function from a path to the files that it names, by suffix, as "MODULE:FUNCTION" relative to this folder."""


def find_companions(path: Path) -> list[Path | None]:
    """Return the files that are read with a file, in the order in which it names them; None for one that is missing."""
    if (finder := FINDERS.get(suffix_of(path))) is None:
        return []
    module, function = finder.split(":")
    try:
        return list(getattr(import_module(f".{module}", __package__), function)(path))
    except Exception:  # readers fail in their own many ways, and when the file is loaded they say why
        return []
