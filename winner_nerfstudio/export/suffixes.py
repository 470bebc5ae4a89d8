"""The suffixes of mesh and field files that are written, in a module of its own because kinds must load fast."""

MESHES = (".ply", ".obj", ".stl", ".glb")
TEXTURED = (".glb", ".obj")
"""The mesh formats that hold a texture."""
FIELDS = (".safetensors", ".onnx")
