"""Readers of volume files: what a file says of its array is known before the values are read."""

import bz2
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from math import prod
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import numpy as np
from numpy import ndarray

from ..files import suffix_of
from .errors import SignalError
from .extras import import_extra, require_extra
from .isolation import reading
from .muting import mute_logger
from .tiff_stack import open_stack
from .volume_attributes import (
    describe_level,
    find_finest,
    list_axis_tags,
    place_by_attributes,
    place_by_coordinates,
    scale_by_attributes,
    take_sign,
)
from .volume_found import Found, refuse_choice
from .vtk_legacy import open_vtk

LARGEST_CHUNK = 1 << 30
"""The most values of a chunk, which is decompressed as a whole."""
STATED = ("shape", "nodata", "valid", "slope", "intercept", "notes", "says_spacing")
"""Attributes of `Found` that a process of its own hands over as they are."""
NIFTI_UNITS = {1: "meter", 2: "mm", 3: "micron"}
"""The units of lengths by their codes, the three lowest bits of xyzt_units; all others are unknown."""


NRRD_ENCODINGS = ("raw", "txt", "text", "ascii", "gzip", "gz", "bzip2", "bz2")
"""The encodings that the library reads."""
NOT_OF_EACH = "are not of each of three axes in three dimensions, so that none is taken; give --spacing"
_DATA_FILE = re.compile(rb"^[ \t]*data ?file[ \t]*:=?(.+)$", re.MULTILINE | re.IGNORECASE)
"""The line by which the header of a .nhdr file names the file of its samples."""
_SEVERAL_FILES = re.compile(r"LIST\b|.*%", re.IGNORECASE)
"""What it names if they lie in several files."""


@contextmanager
def _open_nrrd(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find the array of a .nrrd file, or of a .nhdr file whose data lie in its own folder."""
    nrrd = import_extra("nrrd", "nrrd", f"{path}: is read")
    with path.open("rb") as file:
        if _SEVERAL_FILES.match(several := _read_data_name(file)):
            names = ascii(several)[1:-1][:60]
            raise SignalError(
                f"{path}: its samples lie in several files ({names}); join them: unu save -i IN.nhdr -o OUT.nrrd"
            )
        file.seek(0)
        header = nrrd.read_header(file)
        start = file.tell()
    encoding, number = (str(header.get(key)) for key in ("encoding", "type"))
    if number == "block":
        raise SignalError(f"{path}: its samples are blocks of bytes (type block); one number each is needed")
    if encoding.lower() not in NRRD_ENCODINGS:
        what = ascii(encoding)[1:-1][:40]
        raise SignalError(
            f"{path}: its encoding ({what}) is not read; rewrite it: unu save -e gzip -f nrrd -i IN -o OUT"
        )
    name = header.get("data file", header.get("datafile"))
    data = path if name is None else _find_beside(path, str(name))
    shape = tuple(int(size) for size in header["sizes"])
    kinds = [str(kind).lower() for kind in header.get("kinds", [])]
    spatial = [axis for axis, size in enumerate(shape) if size > 1 or len(shape) == 3]
    found = Found(shape, lambda: nrrd.read(str(path))[0])
    directions = header.get("space directions")
    if directions is not None:
        rows = [np.asarray(row, np.float64) for row in directions if row is not None]
        rows = [row for row in rows if row.size and not np.isnan(row).any()]  # NaN stands for none, as it does below
        if len(rows) == 3 and all(len(row) == 3 for row in rows):
            found.directions, found.says_spacing = np.stack(rows), True
        elif rows:
            found.notes.append(f"warning: its space directions {NOT_OF_EACH}")
    elif len(spatial) == 3:
        _place_nrrd_axes(found, header, spatial)
    origin = header.get("space origin")
    if origin is not None and len(origin) == 3 and not np.isnan(np.asarray(origin, np.float64)).any():
        found.origin = np.asarray(origin, np.float64)
    if any("color" in kind or "vector" in kind or "matrix" in kind for kind in kinds):
        raise SignalError(f"{path}: its samples are of kind {', '.join(kinds)[:80]}; one value each is needed")
    units = header.get("space units", header.get("units"))
    if units is not None and len(units):
        apart = " x ".join(dict.fromkeys(str(unit) for unit in units if unit))
        found.notes.append(f"unit: {ascii(apart)[1:-1][:60]}")
    if header.get("space"):
        found.notes.append(f"world: {ascii(str(header['space']))[1:-1][:60]}")
    expected = prod(shape) * (np.dtype(nrrd.reader._determine_datatype(header)).itemsize if shape else 0)
    yield _guard_nrrd(found, data, 0 if name is not None else start, encoding, expected)


def find_nrrd_data(path: Path) -> list[Path]:
    """Return the file that a .nrrd or .nhdr file names for its samples, if it names one."""
    with path.open("rb") as file:
        name = _read_data_name(file)
    return [_find_beside(path, name)] if name else []


def _read_data_name(file: IO[bytes]) -> str:
    """Return what a header names for its samples, as the library reads it, or "" for nothing."""
    header = re.split(rb"\r?\n\r?\n", file.read(1 << 16), maxsplit=1)[0]
    named = _DATA_FILE.search(header)
    return "" if named is None else named[1].decode("ascii", "ignore").strip()


def _place_nrrd_axes(found: Found, header: Mapping[str, Any], spatial: list[int]) -> None:
    """Take the steps and the first sample's position from what a header says of each axis by itself.

    The least and the greatest position of an axis are those of its first and last sample, or, where its centering is
    "cell", those of the cells' outer borders (http://teem.sourceforge.net/nrrd/format.html, section 5).
    """
    missing = [np.nan] * len(found.shape)
    least, greatest, steps = (
        np.asarray(header.get(name, missing), np.float64)[spatial] for name in ("axis mins", "axis maxs", "spacings")
    )
    stated = header.get("centers", header.get("centerings", ""))
    centers = [*str(stated).lower().split(), *missing]  # the library leaves it as one text
    is_cell = np.array([centers[axis] == "cell" for axis in spatial])
    counts = np.array(found.shape)[spatial]
    between = (greatest - least) / np.maximum(counts - ~is_cell, 1)
    steps = np.where(np.isnan(steps), between, steps)
    if not np.isnan(steps).any():
        found.directions, found.says_spacing = np.diag(steps), True
    elif not np.isnan(steps).all():
        found.notes.append(f"warning: its spacings {NOT_OF_EACH}")
    first = least + np.where(is_cell & ~np.isnan(steps), steps / 2, 0)
    if not np.isnan(first).any():
        found.origin = first


def _guard_nrrd(found: Found, data: Path, start: int, encoding: str, expected: int) -> Found:
    """Return what was found with a check, before its values are read, of how long they are when decompressed."""
    read = found.read

    def guarded() -> ndarray:
        if encoding in ("gzip", "gz", "bzip2", "bz2"):
            inflate: Any = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding[0] == "g" else bz2.BZ2Decompressor()
            with data.open("rb") as file:
                file.seek(start)
                length = 0
                while length <= expected and (block := file.read(1 << 16)):
                    piece = inflate.decompress(block, 1 << 24)
                    length += len(piece)
                    while len(piece) == 1 << 24 and length <= expected:
                        rest = inflate.unconsumed_tail if encoding[0] == "g" else b""
                        piece = inflate.decompress(rest, 1 << 24)
                        length += len(piece)
            if length > expected:
                raise ValueError(f"more than the {expected:,} bytes that its header states")
        elif data.stat().st_size - start > 2 * expected + (1 << 20) and encoding == "raw":
            raise ValueError(f"{data.stat().st_size:,} bytes of data, of which its header states {expected:,}")
        return read()

    found.read = guarded
    return found


def _find_beside(path: Path, name: str) -> Path:
    """Return the path of a file that another names, which must be a plain file in its folder.

    Raises:
        SignalError: it is not.
    """
    folder = path.parent.resolve()
    data = (folder / name).resolve()
    if not data.is_relative_to(folder):
        raise SignalError(f"{path}: its data file {ascii(name)[1:-1][:80]} lies outside its folder; put it beside it")
    if not data.is_file():
        raise SignalError(f"{path}: its data file {ascii(name)[1:-1][:80]} is missing; put it beside it")
    return data


@contextmanager
def _open_nifti(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find the array of a .nii or .nii.gz file; its world is right, anterior, superior."""
    nibabel = import_extra("nibabel", "nifti", f"{path}: is read")
    with path.open("rb") as file:
        is_zipped = file.read(2) == b"\x1f\x8b"
    if is_zipped != path.name.lower().endswith(".gz"):
        what, suffix = ("is", ".nii.gz") if is_zipped else ("is not", ".nii")
        raise SignalError(f"{path}: {what} compressed by gzip, unlike its name says; rename it to end in {suffix}")
    with mute_logger("nibabel.global"):  # what it says of a header is said here as well
        image = nibabel.load(path)
    header, proxy = image.header, image.dataobj
    slope, intercept = (1.0 if number is None else float(number) for number in (proxy.slope, proxy.inter))
    is_scaled = (slope, intercept) != (1.0, 0.0)
    raw = np.dtype(header.get_data_dtype())

    def read() -> ndarray:
        dtype = np.float32 if raw.kind in "iub" and raw.itemsize <= 2 else np.float64
        return image.get_fdata(dtype=dtype, caching="unchanged") if is_scaled else np.asanyarray(proxy)

    notes = [f"values are {slope:g} times those in the file plus {intercept:g}"] if is_scaled else []
    unit = NIFTI_UNITS.get(int(header["xyzt_units"]) & 7)
    notes += [f"unit: {unit}"] if unit else []
    if int(header["sform_code"]) or int(header["qform_code"]):
        affine = np.asarray(image.affine, np.float64)
        directions, origin = affine[:3, :3].T, affine[:3, 3]
        notes.append("world: right-anterior-superior")
        if int(header["sform_code"]) and int(header["qform_code"]):
            others = np.asarray(image.get_qform(), np.float64)
            if not np.allclose(others, image.affine, rtol=1e-3, atol=1e-3 * np.abs(directions).max()):
                notes.append("its sform was taken, from which its qform differs")
    else:
        directions, origin = np.diag(np.asarray(header.get_zooms()[:3], np.float64)), np.zeros(3)
        notes.append("the file says nothing of its orientation; its array axes are taken as x y z")
    yield Found(tuple(image.shape), read, directions, origin, notes=notes, says_spacing=True)


@contextmanager
def _open_hdf5(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find an array of an .h5 file, or of a .nc file of netCDF's version 4, which is one."""
    h5py = import_extra("h5py", "hdf5", f"{path}: is read")
    with path.open("rb") as head:
        if head.read(3) == b"CDF":
            raise SignalError(f"{path}: is of netCDF's version 3; convert it to version 4 by nccopy -k nc4 IN OUT")
    with h5py.File(path, "r") as file:
        names: dict[str, Any] = {}
        file.visititems(lambda name, item: names.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        array = _choose(path, names, dataset)
        if array.external or array.is_virtual:
            raise SignalError(f"{path}: the values of {array.name} lie in other files; copy them into this one")
        scales = [dimension[0] if len(dimension) else None for dimension in array.dims]
        axes = [
            str(dimension.label) or ("" if scale is None else str(scale.name).rpartition("/")[2])
            for dimension, scale in zip(array.dims, scales, strict=True)
        ]
        found = _found_array(path, array, axes if any(axes) else list_axis_tags(array.attrs), dict(array.attrs))
        place_by_coordinates(found, [None if scale is None else (scale, scale.attrs) for scale in scales])
        read = found.read

        def read_filtered() -> ndarray:
            try:
                return read()
            except OSError as error:
                if not (missing := _list_missing_filters(array)):
                    raise
                raise SignalError(
                    f"{path}: {array.name} is compressed by a plugin that is not installed ({missing}); where it is,"
                    " rewrite the file by h5repack -f GZIP=4 IN OUT"
                ) from error

        found.read = read_filtered
        yield found


def _list_missing_filters(array: Any) -> str:
    """Return the filters of an array in an .h5 file that cannot be applied here, with their registered numbers."""
    h5z: Any = import_module("h5py.h5z")
    created = array.id.get_create_plist()
    filters = (created.get_filter(index) for index in range(created.get_nfilters()))
    missing = [(code, name.decode("ascii", "replace")) for code, _, _, name in filters if not h5z.filter_avail(code)]
    return ascii(", ".join(f"{name[:40]} {code}".strip() for code, name in missing))[1:-1]


@contextmanager
def _open_zarr(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find an array of a .zarr folder; of a pyramid of resolutions (OME-Zarr) the finest."""
    zarr = import_extra("zarr", "zarr", f"{path}: is read")
    store = zarr.open(str(path), mode="r")
    if isinstance(store, zarr.Array):
        groups, arrays = {}, {"": store}
    else:
        groups = dict(_walk_zarr(store))
        arrays = {prefix + name: array for prefix, group in groups.items() for name, array in group.arrays()}
    said = {prefix: group.attrs.get("ome", group.attrs).get("multiscales") for prefix, group in groups.items()}
    pyramids = {prefix: entries for prefix, entries in said.items() if entries}
    array = _choose(path, arrays, find_finest(pyramids, dataset))
    label = str(array.name).strip("/")
    level = describe_level(pyramids, label)
    named = getattr(getattr(array, "metadata", None), "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    axes = [str(name or "") for name in level.get("axes") or named or []]
    stated = dict(array.attrs) | level
    if "_ARRAY_DIMENSIONS" in stated and array.fill_value:  # as xarray marks what is missing; 0 is zarr's default
        stated.setdefault("_FillValue", array.fill_value)
    found = _found_array(path, array, axes, stated)
    beside = [arrays.get(f"{label.rpartition('/')[0]}/{name}".strip("/")) for name in axes]
    place_by_coordinates(found, [None if scale is None else (scale, scale.attrs) for scale in beside])
    yield found


def _walk_zarr(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a group and all within it by their paths, "" or "GROUP/"."""
    yield prefix, group
    for name, inner in group.groups():
        yield from _walk_zarr(inner, f"{prefix}{name}/")


def _choose(path: Path, arrays: Mapping[str, Any], dataset: str | None) -> Any:
    """Return the array of a name, or the only one that can be a volume.

    Raises:
        SignalError: there is none, or more than one.
    """
    listed = ", ".join(f"{ascii(name)[1:-1]} {list(array.shape)}" for name, array in arrays.items())
    if dataset is not None:
        if dataset.strip("/") not in arrays:
            raise refuse_choice(path, dataset, 0, listed)
        return arrays[dataset.strip("/")]
    able = [
        array
        for array in arrays.values()
        if array.dtype.kind in "buif" and sum(length > 1 for length in array.shape) == 3
    ]
    if len(able) != 1:
        raise refuse_choice(path, dataset, len(able), listed)
    return able[0]


def _found_array(path: Path, array: Any, axes: Sequence[str], attributes: Mapping[str, Any]) -> Found:
    """Return what was found of an array with attributes, whose spacing is in the order of its axes."""
    chunks = getattr(array, "chunks", None)
    if chunks and prod(chunks) > LARGEST_CHUNK:
        raise SignalError(f"{path}: has chunks of {' x '.join(map(str, chunks))} values; store it in smaller ones")
    names = axes if len(axes) == array.ndim and any(axes) else ()
    found = Found(tuple(array.shape), lambda: take_sign(np.asarray(array[...]), attributes), axes=names)
    found.read_box = lambda box: take_sign(np.asarray(array[tuple(box)]), attributes)
    label = str(array.name).strip("/")
    found.notes += [f"dataset: {ascii(label)[1:-1]}"] if label else []
    place_by_attributes(found, attributes)
    scale_by_attributes(found, attributes, array.dtype)
    return found


@contextmanager
def _open_vti(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find an array of a .vti file: of its points, or else of its cells, whose samples lie in their middles."""
    import_extra("vtkmodules.vtkIOXML", "vtk", f"{path}: is read")
    numpy_support: Any = import_module("vtkmodules.util.numpy_support")
    from vtkmodules.vtkCommonDataModel import vtkDataObject
    from vtkmodules.vtkIOXML import vtkXMLImageDataReader

    reader: Any = vtkXMLImageDataReader()
    errors: list[str] = []
    reader.AddObserver("ErrorEvent", lambda *_: errors.append("it is damaged"))
    reader.SetFileName(str(path))
    with _quiet_vtk():
        reader.UpdateInformation()
    names = [(False, reader.GetPointArrayName(i)) for i in range(reader.GetNumberOfPointArrays())]
    names += [(True, reader.GetCellArrayName(i)) for i in range(reader.GetNumberOfCellArrays())]
    chosen = [entry for entry in names if dataset in (None, entry[1])]
    if len(chosen) > 1 and dataset is None:  # of several, vectors are none that can be meant
        scalars = _list_scalars(path)
        chosen = [entry for entry in chosen if scalars is None or entry[1] in scalars]
    if errors or len(chosen) != 1:
        if errors:
            raise ValueError(errors[0])
        raise refuse_choice(path, dataset, len(chosen), ", ".join(ascii(name)[1:-1] for _, name in names))
    (of_cells, name), information = chosen[0], reader.GetOutputInformation(0)
    pipeline = reader.GetExecutive()
    extent = information.Get(pipeline.WHOLE_EXTENT())
    steps = np.array(information.Get(vtkDataObject.SPACING()) or (1, 1, 1), np.float64)
    first = np.array(information.Get(vtkDataObject.ORIGIN()) or (0, 0, 0), np.float64)
    turn = np.array(information.Get(vtkDataObject.DIRECTION()) or np.eye(3).reshape(-1), np.float64).reshape(3, 3)
    size = tuple(extent[2 * axis + 1] - extent[2 * axis] + (0 if of_cells else 1) for axis in range(3))
    corner = np.array(extent[::2]) + (0.5 if of_cells else 0.0)

    def read() -> ndarray:
        selections = reader.GetPointDataArraySelection(), reader.GetCellDataArraySelection()
        for selection in selections:
            selection.DisableAllArrays()
        selections[of_cells].EnableArray(name)
        with _quiet_vtk():
            reader.Update()
        image = reader.GetOutput()
        array = (image.GetCellData() if of_cells else image.GetPointData()).GetArray(name)
        if errors:
            raise ValueError(errors[0])
        count = 0 if array is None else array.GetNumberOfComponents()
        if count != 1:
            what = f"{count} values per sample" if count else "no numbers"
            raise SignalError(f"{path}: {ascii(name)[1:-1]} has {what}; one number per sample is needed")
        values: ndarray = numpy_support.vtk_to_numpy(array).reshape(size, order="F")
        return values

    notes = [f"dataset: {ascii(name)[1:-1]}", *(["samples are the middles of cells"] if of_cells else [])]
    yield Found(size, read, (turn * steps).T, first + turn @ (corner * steps), notes=notes, says_spacing=True)


def _list_scalars(path: Path) -> set[str] | None:
    """Return the names of a .vti file's arrays of one number per sample, or None if its header cannot be read."""
    names = set()
    try:
        for _, element in ElementTree.iterparse(path, ["start"]):
            if element.tag == "AppendedData":
                break
            if element.tag == "DataArray" and int(element.get("NumberOfComponents", 1)) == 1:
                names.add(element.get("Name", ""))
    except (ElementTree.ParseError, ValueError):
        return None
    return names


@contextmanager
def _quiet_vtk() -> Iterator[None]:
    """Keep VTK's messages from the terminal; the readers' errors are observed."""
    from vtkmodules.vtkCommonCore import vtkLogger

    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtkLogger.SetStderrVerbosity(verbosity)


def find_in_steps(path: Path, folder: Path, dataset: str | None) -> Iterator[dict[str, Any]]:
    """Yield what a file says of its array, and then leave the values in a folder: a task for `isolation.reading`."""
    with FRAGILE[suffix_of(path)](path, dataset) as found:
        entries = {name: getattr(found, name) for name in STATED}
        places = {name: np.asarray(getattr(found, name)).tolist() for name in ("directions", "origin")}
        yield {**entries, **places, "axes": list(found.axes)}
        np.save(folder / "values.npy", found.read())
        yield {}


@contextmanager
def _open_elsewhere(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find the array of a file by a process of its own."""
    module, extra = ("vtk", "vtk") if suffix_of(path) == ".vti" else ("h5py", "hdf5")
    require_extra(module, extra, f"{path}: is read")
    with reading(".volume_readers:find_in_steps", path, dataset) as reader:
        entries = reader.answer()

        def read() -> ndarray:
            reader.resume(8 * prod(entries["shape"]))  # as much as any type of number takes
            return reader.load("values")

        places = {name: np.array(entries[name], np.float64) for name in ("directions", "origin")}
        stated = {name: entries[name] for name in STATED}
        yield Found(**{**stated, **places, "shape": tuple(entries["shape"]), "read": read, "axes": entries["axes"]})


Reader = Callable[[Path, str | None], AbstractContextManager[Found]]
READERS: dict[str, Reader] = {
    ".nrrd": _open_nrrd,
    ".nhdr": _open_nrrd,
    ".nii": _open_nifti,
    ".nii.gz": _open_nifti,
    ".h5": _open_elsewhere,
    ".hdf5": _open_elsewhere,
    ".nc": _open_elsewhere,
    ".zarr": _open_zarr,
    ".vti": _open_elsewhere,
    ".vtk": open_vtk,
    ".tif": open_stack,
    ".tiff": open_stack,
}
"""The function that finds the array of a file, by suffix."""
FRAGILE: dict[str, Reader] = {".h5": _open_hdf5, ".hdf5": _open_hdf5, ".nc": _open_hdf5, ".vti": _open_vti}
"""The functions whose libraries a damaged file can crash; they are called in a process of their own."""
WITH_NAMES = (".h5", ".hdf5", ".nc", ".zarr", ".vti", ".vtk")
"""The suffixes of files whose arrays have names."""
