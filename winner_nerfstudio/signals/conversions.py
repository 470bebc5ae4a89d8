"""Formats that people have and nothing here reads, and what to convert them to."""

PICTURE, SHAPE = "convert it to .png or .tif", "export it as .glb, .ply or .obj"
VOLUME, SOUND = "convert it to .nrrd or .nii", "convert it to .wav or .flac, for example by ffmpeg"
ARRAY = "save its array as .npy, or as .tif with floating-point samples"
CONVERSIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "FITS": ((".fits", ".fit", ".fts"), ARRAY),
    "DDS": ((".dds",), PICTURE),
    "JPEG XL": ((".jxl",), PICTURE),
    "SVG": ((".svg",), "render it to .png"),
    "PDF or PostScript": ((".pdf", ".ps", ".eps", ".ai"), "render it to .png"),
    "film": ((".mp4", ".mov", ".avi", ".mkv", ".webm"), "save a frame as .png, or its sound as .wav"),
    "MATLAB": ((".mat",), ARRAY),
    "DICOM": ((".dcm",), VOLUME),
    "MetaImage": ((".mha", ".mhd"), VOLUME),
    "paired .hdr and .img": (
        (".hdr", ".img"),
        "convert a NIfTI or ANALYZE pair to .nii: nibabel.save(nibabel.load(FILE), OUT), or save its array as .npy",
    ),
    "MRC": ((".mrc", ".map", ".rec"), "save its array as .npy, and give --spacing"),
    "CAD": ((".step", ".stp", ".iges", ".igs", ".blend", ".fcstd"), SHAPE),
    "COLLADA, FBX or USD": ((".dae", ".fbx", ".usd", ".usda", ".usdc", ".usdz", ".3ds", ".x3d", ".wrl"), SHAPE),
    "E57 or PTX": ((".e57", ".ptx"), "convert it to .las or .ply, for example by CloudCompare"),
    "packed": ((".gz", ".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz"), "unpack it first"),
    "headerless": (
        (".raw", ".bin", ".dat"),
        "save the array as .npy: numpy.save(OUT, numpy.fromfile(FILE, TYPE).reshape(SHAPE))",
    ),
    "OpenVDB": ((".vdb",), "save its grid as .npy, and give --spacing"),
    "GIMP, Krita or large Photoshop": ((".xcf", ".kra", ".psb"), PICTURE),
    "AAC or WMA": ((".m4a", ".aac", ".wma", ".amr"), SOUND),
}
"""Names of formats with the suffixes of their files and what to do with these."""


def describe_conversion(suffix: str) -> str | None:
    """Return why a file with that suffix is not read and what to convert it to, or None if it is not known."""
    if suffix.lower() == ".safetensors":
        return (
            "holds a fitted field or other weights, and no target; load_field(), winner-export and winner-compare read"
            " fields"
        )
    for name, (suffixes, conversion) in CONVERSIONS.items():
        if suffix.lower() in suffixes:
            return f"{name} files are not read; {conversion}"
    return None
