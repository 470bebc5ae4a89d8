"""Readers of volume files: what a file says of its array is known before the values are read."""

import bz2
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from .errors import SignalError
from .extras import import_extra, require_extra
from .isolation import reading

LONGEST_HEADER = 1 << 20
"""Bytes in which the header of a .vtk file ends."""
LARGEST_CHUNK = 1 << 30
"""The most values of a chunk, which is decompressed as a whole."""
VTK_TYPES = {
    "unsigned_char": "u1",
    "char": "i1",
    "unsigned_short": "u2",
    "short": "i2",
    "unsigned_int": "u4",
    "int": "i4",
    "vtktypeint64": "i8",
    "vtktypeuint64": "u8",
    "float": "f4",
    "double": "f8",
}
"""numpy's names of the number types of .vtk files."""


@dataclass
class Found:
    """An array of a file and what the file says of it.

    Attributes:
        shape: of the array; when it is read, axes of length 1 beside three others are left out.
        read: returns the values.
        directions: the world's step from a sample to the next along each of the three axes, [3, 3].
        origin: the position of the first sample, [3].
        axes: the axes' names, such as "z", if the file has any.
        notes: what the user should know.
        says_spacing: whether the file states the directions.
        read_box: returns the values of a box of samples, in formats that are read block by block.
    """

    shape: tuple[int, ...]
    read: Callable[[], ndarray]
    directions: ndarray = field(default_factory=lambda: np.eye(3))
    origin: ndarray = field(default_factory=lambda: np.zeros(3))
    axes: Sequence[str] = ()
    notes: list[str] = field(default_factory=list)
    says_spacing: bool = False
    read_box: Callable[[Sequence[slice]], ndarray] | None = None


def suffix_of(path: Path) -> str:
    """Return a path's suffix in small letters; ".nii.gz" is one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


@contextmanager
def _open_nrrd(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find the array of a .nrrd file, or of a .nhdr file whose data lie in its own folder."""
    nrrd = import_extra("nrrd", "nrrd", f"{path}: is read")
    with path.open("rb") as file:
        header = nrrd.read_header(file)
        start = file.tell()
    name = header.get("data file", header.get("datafile"))
    data = path if name is None else _find_beside(path, str(name))
    shape = tuple(int(size) for size in header["sizes"])
    kinds = [str(kind).lower() for kind in header.get("kinds", [])]
    spatial = [axis for axis, size in enumerate(shape) if size > 1 or len(shape) == 3]
    found = Found(shape, lambda: nrrd.read(str(path))[0])
    directions, spacings = header.get("space directions"), header.get("spacings")
    if directions is not None:
        rows = [np.asarray(row, np.float64) for row in directions if row is not None]
        rows = [row for row in rows if np.isfinite(row).all()]
        if len(rows) == 3 and all(len(row) == 3 for row in rows):
            found.directions, found.says_spacing = np.stack(rows), True
    elif spacings is not None and len(spatial) == 3:
        steps = np.asarray(spacings, np.float64)[spatial]
        if np.isfinite(steps).all():
            found.directions, found.says_spacing = np.diag(steps), True
    if header.get("space origin") is not None and len(header["space origin"]) == 3:
        found.origin = np.asarray(header["space origin"], np.float64)
    if any("color" in kind or "vector" in kind or "matrix" in kind for kind in kinds):
        raise SignalError(f"{path}: its samples are of kind {', '.join(kinds)[:80]}; one value each is needed")
    units = header.get("space units", header.get("units"))
    if units is not None and len(units):
        found.notes.append(f"unit: {ascii(str(units[-1]))[1:-1][:20]}")
    if header.get("space"):
        found.notes.append(f"world: {ascii(str(header['space']))[1:-1][:60]}")
    expected = prod(shape) * (np.dtype(nrrd.reader._determine_datatype(header)).itemsize if shape else 0)
    yield _guard_nrrd(found, data, 0 if name is not None else start, str(header.get("encoding")), expected)


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
    image = nibabel.load(path)
    header, proxy = image.header, image.dataobj
    slope, intercept = (1.0 if number is None else float(number) for number in (proxy.slope, proxy.inter))
    is_scaled = (slope, intercept) != (1.0, 0.0)
    raw = np.dtype(header.get_data_dtype())

    def read() -> ndarray:
        dtype = np.float32 if raw.kind in "iub" and raw.itemsize <= 2 else np.float64
        return image.get_fdata(dtype=dtype, caching="unchanged") if is_scaled else np.asanyarray(proxy)

    notes = [f"values are {slope:g} times those in the file plus {intercept:g}"] if is_scaled else []
    unit = header.get_xyzt_units()[0]
    notes += [] if unit in ("unknown", None) else [f"unit: {unit}"]
    if int(header["sform_code"]) or int(header["qform_code"]):
        affine = np.asarray(image.affine, np.float64)
        directions, origin = affine[:3, :3].T, affine[:3, 3]
        notes.append("world: right-anterior-superior")
    else:
        directions, origin = np.diag(np.asarray(header.get_zooms()[:3], np.float64)), np.zeros(3)
        notes.append("the file says nothing of its orientation; its array axes are taken as x y z")
    yield Found(tuple(image.shape), read, directions, origin, notes=notes, says_spacing=True)


@contextmanager
def _open_hdf5(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find an array of an .h5 file."""
    h5py = import_extra("h5py", "hdf5", f"{path}: is read")
    with h5py.File(path, "r") as file:
        names: dict[str, Any] = {}
        file.visititems(lambda name, item: names.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        array = _choose(path, names, dataset)
        if array.external or array.is_virtual:
            raise SignalError(f"{path}: the values of {array.name} lie in other files; copy them into this one")
        axes = [str(dimension.label) for dimension in array.dims]
        yield _found_array(path, array, axes, dict(array.attrs))


@contextmanager
def _open_zarr(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find an array of a .zarr folder; of a pyramid of resolutions (OME-Zarr) the finest."""
    zarr = import_extra("zarr", "zarr", f"{path}: is read")
    store = zarr.open(str(path), mode="r")
    if isinstance(store, zarr.Array):
        arrays, attributes = {"": store}, dict(store.attrs)
    else:
        arrays, attributes = dict(_walk_zarr(store)), dict(store.attrs)
    pyramids = attributes.get("ome", attributes).get("multiscales")
    scale: dict[str, Any] = {}
    if pyramids:
        levels = pyramids[0]["datasets"]
        level = next((each for each in levels if each["path"] == dataset), levels[0])
        dataset = dataset or level["path"]
        steps = next((each for each in level.get("coordinateTransformations", []) if each["type"] == "scale"), None)
        names = [each["name"] if isinstance(each, Mapping) else each for each in pyramids[0].get("axes", [])]
        units = [each.get("unit") for each in pyramids[0].get("axes", []) if isinstance(each, Mapping)]
        scale = {"axes": names, "spacing": steps and steps["scale"], "unit": next((u for u in units if u), None)}
    array = _choose(path, arrays, dataset)
    named = getattr(getattr(array, "metadata", None), "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    axes = scale.pop("axes", None) or list(named or [])
    yield _found_array(path, array, [str(name or "") for name in axes], dict(array.attrs) | scale)


def _walk_zarr(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, array in group.arrays():
        yield prefix + name, array
    for name, inner in group.groups():
        yield from _walk_zarr(inner, f"{prefix}{name}/")


def _choose(path: Path, arrays: Mapping[str, Any], dataset: str | None) -> Any:
    """Return the array of a name, or the only one that can be a volume.

    Raises:
        SignalError: there is none, or more than one.
    """
    listed = ", ".join(f"{ascii(name)[1:-1]} {list(array.shape)}" for name, array in arrays.items())[:200]
    if dataset is not None:
        if dataset.strip("/") not in arrays:
            raise SignalError(f"{path}: has no array {dataset!r}; there are: {listed or 'none'}")
        return arrays[dataset.strip("/")]
    able = [
        array
        for array in arrays.values()
        if array.dtype.kind in "buif" and sum(length > 1 for length in array.shape) == 3
    ]
    if len(able) != 1:
        raise SignalError(
            f"{path}: holds {len(able)} arrays that may be a volume; say which by --dataset NAME; there are:"
            f" {listed or 'none'}"
        )
    return able[0]


def _found_array(path: Path, array: Any, axes: Sequence[str], attributes: Mapping[str, Any]) -> Found:
    """Return what was found of an array with attributes, whose spacing is in the order of its axes."""
    chunks = getattr(array, "chunks", None)
    if chunks and prod(chunks) > LARGEST_CHUNK:
        raise SignalError(f"{path}: has chunks of {' x '.join(map(str, chunks))} values; store it in smaller ones")
    names = axes if len(axes) == array.ndim and any(axes) else ()
    found = Found(tuple(array.shape), lambda: np.asarray(array[...]), axes=names)
    found.read_box = lambda box: np.asarray(array[tuple(box)])
    label = str(array.name).strip("/")
    found.notes += [f"dataset: {ascii(label)[1:-1]}"] if label else []
    for key in ("spacing", "element_size_um", "voxel_size", "resolution", "scale"):
        try:
            steps = np.asarray(attributes.get(key), np.float64).reshape(-1)
        except (TypeError, ValueError):
            continue
        if len(steps) == array.ndim and array.ndim > 3:
            steps = steps[[axis for axis, length in enumerate(array.shape) if length > 1]]
        if len(steps) == 3 and np.isfinite(steps).all() and (steps > 0).all():
            found.directions, found.says_spacing = np.diag(steps), True
            unit = "um" if key == "element_size_um" else attributes.get("unit", attributes.get("units"))
            found.notes += [f"unit: {ascii(str(unit))[1:-1][:20]}"] if unit is not None else []
            break
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
    if errors or len(chosen) != 1:
        listed = ", ".join(ascii(name)[1:-1] for _, name in names)[:200] or "none"
        if errors:
            raise ValueError(errors[0])
        raise SignalError(f"{path}: holds {len(chosen)} such arrays; say which by --dataset NAME; there are: {listed}")
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
        if errors or array is None or array.GetNumberOfComponents() != 1:
            raise ValueError(errors[0] if errors else "one number per sample is needed")
        values: ndarray = numpy_support.vtk_to_numpy(array).reshape(size, order="F")
        return values

    notes = [f"dataset: {ascii(name)[1:-1]}", *(["samples are the middles of cells"] if of_cells else [])]
    yield Found(size, read, (turn * steps).T, first + turn @ (corner * steps), notes=notes, says_spacing=True)


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


@contextmanager
def _open_vtk(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find an array of a legacy .vtk file of STRUCTURED_POINTS, in text or binary; it needs no library."""
    with path.open("rb") as file:
        head = file.read(LONGEST_HEADER)
    if not head.startswith(b"# vtk DataFile"):
        raise SignalError(f"{path}: does not begin with '# vtk DataFile'; is it a .vtk file?")
    kind = re.search(rb"\n\s*DATASET\s+(\w+)", head)
    if kind is None or kind[1].upper() != b"STRUCTURED_POINTS":
        what = kind[1].decode()[:40] if kind else "nothing"
        raise SignalError(f"{path}: holds {what}; STRUCTURED_POINTS, which is image data, is needed")
    is_text = re.search(rb"\n\s*ASCII\s*\n", head[: kind.start() + 1]) is not None
    numbers = {
        key: [float(word) for word in match[1].split()]
        for key in (b"DIMENSIONS", b"SPACING", b"ASPECT_RATIO", b"ORIGIN")
        if (match := re.search(rb"\n\s*" + key + rb"((\s+[-+.\deE]+){3})", head))
    }
    arrays = list(
        re.finditer(rb"\n\s*SCALARS[ \t]+(\S+)[ \t]+(\w+)[ \t]*(\d*)[ \t]*\r?\n\s*LOOKUP_TABLE[^\n]*\n", head)
    )
    names = [match[1].decode("latin-1") for match in arrays]
    chosen = [match for match, name in zip(arrays, names, strict=True) if dataset in (None, name)]
    if b"DIMENSIONS" not in numbers or len(chosen) != 1:
        listed = ascii(", ".join(names))[1:-1] or "none"
        raise SignalError(f"{path}: holds {len(chosen)} such arrays; say which by --dataset NAME; there are: {listed}")
    match = chosen[0]
    cells = head.rfind(b"CELL_DATA", 0, match.start()) > head.rfind(b"POINT_DATA", 0, match.start())
    dtype = VTK_TYPES.get(match[2].decode().lower())
    if dtype is None or match[3] not in (b"", b"1"):
        raise SignalError(f"{path}: {ascii(names[0])[1:-1]} has {match[3].decode() or 1} values of {match[2].decode()}")
    size = tuple(int(count) - cells for count in numbers[b"DIMENSIONS"])
    steps = np.array(numbers.get(b"SPACING", numbers.get(b"ASPECT_RATIO", [1, 1, 1])))

    def read() -> ndarray:
        with path.open("rb") as file:
            file.seek(match.end())
            count = prod(size)
            if is_text:
                text = re.split(rb"\n\s*[A-Z_]{4,}", file.read())[0]
                values = np.array(text.split()[: count + 1], np.float64).astype(dtype)
            else:
                values = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), f">{dtype}").astype(dtype)
        if len(values) != count:
            raise ValueError(f"{len(values):,} of {count:,} values")
        return values.reshape(size, order="F")

    origin = np.array(numbers.get(b"ORIGIN", [0, 0, 0])) + (steps / 2 if cells else 0)
    notes = [f"dataset: {ascii(match[1].decode('latin-1'))[1:-1]}"]
    notes += ["samples are the middles of cells"] if cells else []
    yield Found(size, read, np.diag(steps), origin, notes=notes, says_spacing=True)


@contextmanager
def _open_tiff(path: Path, dataset: str | None) -> Iterator[Found]:
    """Find the stack of pages of a .tif file: pages are z, rows y, columns x."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if len(file.series) != 1:
            raise SignalError(f"{path}: its {len(file.pages)} pages are of several sizes; a stack has one")
        axes = [{"Q": "z", "I": "z"}.get(name, name.lower()) for name in series.axes]
        metadata = file.imagej_metadata or {}
        steps = np.array([float(metadata.get("spacing") or 0), *_tiff_steps(file.pages[0])])
        found = Found(tuple(series.shape), series.asarray, axes=axes if sorted(axes)[-3:] == ["x", "y", "z"] else ())
        unit = str(metadata.get("unit", "")).encode("ascii", "replace").decode().replace("\\u00B5", "u")
        if (steps > 0).all() and np.isfinite(steps).all():
            found.directions, found.says_spacing = np.diag(steps), True
            found.notes += [f"unit: {ascii(unit)[1:-1][:20]}"] if unit else []
        yield found


def _tiff_steps(page: Any) -> list[float]:
    """Return the distances of rows and columns in a page's unit, or 0 where it doesn't state them."""
    steps = []
    for name in ("YResolution", "XResolution"):
        tag = page.tags.get(name)
        numerator, denominator = tag.value if tag is not None and len(tag.value) == 2 else (0, 1)
        steps.append(denominator / numerator if numerator else 0.0)
    return steps


def find_in_steps(path: Path, folder: Path, dataset: str | None) -> Iterator[dict[str, Any]]:
    """Yield what a file says of its array, and then leave the values in a folder: a task for `isolation.reading`."""
    with FRAGILE[suffix_of(path)](path, dataset) as found:
        entries = {name: getattr(found, name) for name in ("shape", "notes", "says_spacing")}
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
            reader.resume()
            return reader.load("values")

        directions, origin = np.array(entries["directions"], np.float64), np.array(entries["origin"], np.float64)
        yield Found(
            tuple(entries["shape"]),
            read,
            directions,
            origin,
            entries["axes"],
            entries["notes"],
            entries["says_spacing"],
        )


Reader = Callable[[Path, str | None], AbstractContextManager[Found]]
READERS: dict[str, Reader] = {
    ".nrrd": _open_nrrd,
    ".nhdr": _open_nrrd,
    ".nii": _open_nifti,
    ".nii.gz": _open_nifti,
    ".h5": _open_elsewhere,
    ".hdf5": _open_elsewhere,
    ".zarr": _open_zarr,
    ".vti": _open_elsewhere,
    ".vtk": _open_vtk,
    ".tif": _open_tiff,
    ".tiff": _open_tiff,
}
"""The function that finds the array of a file, by suffix."""
FRAGILE: dict[str, Reader] = {".h5": _open_hdf5, ".hdf5": _open_hdf5, ".vti": _open_vti}
"""The functions whose libraries a damaged file can crash; they are called in a process of their own."""
WITH_NAMES = (".h5", ".hdf5", ".zarr", ".vti", ".vtk")
"""The suffixes of files whose arrays have names."""
