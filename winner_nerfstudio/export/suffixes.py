"""The suffixes of mesh and field files that are written, in a module of its own because kinds must load fast."""

from pathlib import Path

MESHES = (".ply", ".obj", ".stl", ".glb")
TEXTURED = (".glb", ".obj")
"""The mesh formats that hold a texture."""
FIELDS = (".safetensors", ".onnx")


def texture_path(output: Path) -> Path:
    """Return the path of the picture beside an .obj file."""
    return output.with_name(f"{output.stem}-texture.png")
