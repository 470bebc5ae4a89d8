"""The suffixes of picture files, in a module of their own because the registry of kinds must load fast."""

TIFFS = (".tif", ".tiff")
WRITTEN = (".png", ".jpg", ".jpeg", *TIFFS, ".webp")
"""The formats that are read and written."""
RAW = (
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    *(".3fr", ".iiq", ".rwl", ".mrw", ".x3f", ".erf", ".kdc", ".dcr", ".mos", ".mef"),
)
"""The raw files of cameras."""
READ_ONLY = (
    *(".jfif", ".jpe", ".exr", ".hdr", ".pfm", ".jp2", ".j2k", ".j2c", ".heic", ".heif", ".avif", ".bmp", ".gif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".tga", ".ico", ".pcx", ".psd", ".qoi", ".sgi", *RAW),
)
"""The formats that are read but not written."""
