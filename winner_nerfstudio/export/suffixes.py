"""The suffixes of mesh and field files that are written, in a module of its own because kinds must load fast."""

MESHES = (".ply", ".obj", ".stl", ".glb")
FIELDS = (".safetensors", ".onnx")
