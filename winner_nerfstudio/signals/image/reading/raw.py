"""Raw files of cameras, developed by LibRaw."""

from pathlib import Path

from ...errors import SignalError
from ...extras import import_extra
from .picture import Picture, check_size


def read_raw(path: Path, max_pixels: int) -> Picture:
    """Read the full picture of a raw file, never its preview, developed in one way that is noted.

    Raises:
        SignalError: rawpy is missing, the file is too large or none that LibRaw can develop.
    """
    rawpy = import_extra("rawpy", "raw", f"{path}: is a camera's raw file, which is read")
    try:
        with path.open("rb") as file, rawpy.imread(file) as raw:
            sizes = raw.sizes
            check_size(path, sizes.raw_width, sizes.raw_height, max_pixels)
            pixels = raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
    except rawpy.LibRawError as error:
        reason = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise SignalError(
            f"{path}: is a camera's raw file that LibRaw cannot develop ({' '.join(str(reason).split())[:100]}), and"
            " its preview is not the picture; develop it to a TIFF of 16 bits"
        ) from error
    note = (
        f"a camera's raw file of {sizes.raw_width} x {sizes.raw_height} samples, developed by LibRaw: interpolated to"
        " RGB, the camera's white balance, sRGB primaries, the curve of BT.709, no brightening; the preview is left out"
    )
    notes = [note]
    if sizes.flip:
        notes.append("turned upright as the camera says")
    mode = {1: "L", 3: "RGB"}[pixels.shape[-1]]
    return Picture(pixels, mode, notes)
