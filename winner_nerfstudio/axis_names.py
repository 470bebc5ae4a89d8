"""The axes that dimensions of arrays run along, by their names."""

AXIS_NAMES = {
    "x": ("x", "lon", "longitude", "easting", "col", "column", "width"),
    "y": ("y", "lat", "latitude", "northing", "row", "height"),
    "z": ("z", "depth", "altitude", "level", "lev"),
}
"""Names of dimensions that run along x, y and z."""


def axis_of(name: str) -> str:
    """Return the axis, x, y or z, along which a dimension of this name runs, or an empty string if no name says so."""
    return next((axis for axis, names in AXIS_NAMES.items() if name.lower() in names), "")
