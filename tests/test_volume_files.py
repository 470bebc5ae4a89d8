"""Volumes in the files of other programs: one array, spacing and origin, whatever the format and its order of axes."""

import bz2
import gzip
import inspect
import json
import subprocess
import sys

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
import zarr

from winner_nerfstudio.export.grid import export_volume
from winner_nerfstudio.files import stem_of
from winner_nerfstudio.registry import export_for, kind_named, kind_of
from winner_nerfstudio.signals import isolation
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.image import load_image
from winner_nerfstudio.signals.options import VolumeOptions
from winner_nerfstudio.signals.volume import load_volume
from winner_nerfstudio.signals.volume_files import read_volume
from winner_nerfstudio.signals.volume_readers import WITH_NAMES

from .test_volume import field_of

VALUES = np.random.default_rng(0).integers(-999, 999, (5, 4, 6)).astype(np.int16)
"""Of x, y and z."""
ORIGIN = np.array([10.0, -20.0, 30.0])
STEP = 0.5
DIRECTIONS = np.diag([STEP] * 3)


def write_nrrd(values=VALUES, directions=DIRECTIONS, origin=ORIGIN, **header):
    entries = {"space": "left-posterior-superior", "space directions": directions, "space origin": origin}

    def write(path):
        nrrd.write(str(path), values, entries | header, index_order="F")

    return write


def write_detached(path):
    nrrd.write(
        str(path),
        VALUES,
        {"space": "right-anterior-superior", "space directions": DIRECTIONS, "space origin": ORIGIN},
        detached_header=True,
        index_order="F",
    )


def write_nifti(values=VALUES, directions=DIRECTIONS, origin=ORIGIN, slope=None, code=1, unit="mm"):
    def write(path):
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = np.asarray(directions).T, origin
        image = nibabel.Nifti1Image(values, affine)
        image.header.set_xyzt_units(unit)
        image.set_sform(affine, code)
        image.set_qform(affine, 0)
        if slope is not None:
            image.header.set_slope_inter(*slope)
        nibabel.save(image, path)

    return write


def write_hdf5(values=VALUES, axes="xyz", spacing=(STEP,) * 3, **more):
    def write(path):
        with h5py.File(path, "w") as file:
            data = file.create_dataset("scan/values", data=values, compression="gzip")
            for index, name in enumerate(axes):
                data.dims[index].label = name
            data.attrs["spacing"] = spacing
            for name, array in more.items():
                file[name] = array

    return write


def write_zarr(values=VALUES, axes="xyz", spacing=(STEP,) * 3):
    def write(path):
        array = zarr.open_array(str(path), mode="w", shape=values.shape, dtype=values.dtype, chunks=(3,) * values.ndim)
        array[...] = values
        array.attrs["_ARRAY_DIMENSIONS"] = list(axes)
        array.attrs["spacing"] = list(spacing)

    return write


def write_pyramid(path):
    group = zarr.open_group(str(path), mode="w")
    for level in range(2):
        part = VALUES.transpose(2, 1, 0)[None, None, :: 2**level, :: 2**level, :: 2**level]
        group.create_array(str(level), shape=part.shape, dtype=part.dtype)[...] = part
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "tczyx"]
    scales = [[{"type": "scale", "scale": [1, 1, *[STEP * 2**level] * 3]}] for level in range(2)]
    datasets = [{"path": str(level), "coordinateTransformations": scales[level]} for level in range(2)]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets}]


def vtk_image(values=VALUES, of_cells=False, name="values", turn=None):
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*(np.array(values.shape) + of_cells))
    image.SetSpacing([STEP] * 3)
    image.SetOrigin(ORIGIN - (STEP / 2 if of_cells else 0))
    if turn is not None:
        image.SetDirectionMatrix(*np.asarray(turn, float).reshape(-1))
    array = numpy_to_vtk(values.reshape(-1, order="F"), deep=True)
    array.SetName(name)
    (image.GetCellData() if of_cells else image.GetPointData()).SetScalars(array)
    return image


def write_vti(**options):
    def write(path):
        from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

        writer = vtkXMLImageDataWriter()
        writer.SetInputData(vtk_image(**options))
        writer.SetFileName(str(path))
        assert writer.Write()

    return write


def write_vtk(as_text=False, **options):
    def write(path):
        from vtkmodules.vtkIOLegacy import vtkStructuredPointsWriter

        writer = vtkStructuredPointsWriter()
        writer.SetInputData(vtk_image(**options))
        writer.SetFileName(str(path))
        (writer.SetFileTypeToASCII if as_text else writer.SetFileTypeToBinary)()
        assert writer.Write()

    return write


def write_stack(path):
    tifffile.imwrite(
        path,
        VALUES.transpose(2, 1, 0),
        imagej=True,
        resolution=(1 / STEP, 1 / STEP),
        metadata={"spacing": STEP, "unit": "um", "axes": "ZYX"},
    )


TURNED = np.zeros((3, 3))
TURNED[0, 2], TURNED[1, 0], TURNED[2, 1] = STEP, -STEP, STEP
"""Array axes 0, 1 and 2 run along z, against x, and along y."""
TURNED_VALUES = np.ascontiguousarray(np.flip(VALUES, 0).transpose(2, 0, 1))
TURNED_ORIGIN = ORIGIN + STEP * np.array([4, 0, 0])
WRITTEN = {
    "raw.nrrd": write_nrrd(encoding="raw"),
    "gzip.nrrd": write_nrrd(encoding="gzip"),
    "bzip2.nrrd": write_nrrd(encoding="bzip2"),
    "text.nrrd": write_nrrd(encoding="ascii"),
    "big.nrrd": write_nrrd(VALUES.astype(">i2"), encoding="raw"),
    "turned.nrrd": write_nrrd(TURNED_VALUES, TURNED, TURNED_ORIGIN),
    "detached.nhdr": write_detached,
    "plain.nii": write_nifti(),
    "zipped.nii.gz": write_nifti(),
    "turned.nii": write_nifti(TURNED_VALUES, TURNED, TURNED_ORIGIN),
    "time.nii": write_nifti(VALUES[..., None]),
    "stack.tif": write_stack,
    "points.vti": write_vti(),
    "cells.vti": write_vti(of_cells=True),
    "turned.vti": write_vti(values=np.flip(VALUES, (0, 1)), turn=[[-1, 0, 0], [0, -1, 0], [0, 0, 1]]),
    "binary.vtk": write_vtk(),
    "text.vtk": write_vtk(as_text=True),
    "cells.vtk": write_vtk(of_cells=True),
    "plain.h5": write_hdf5(),
    "plain.nc": write_hdf5(),
    "turned.hdf5": write_hdf5(VALUES.transpose(2, 1, 0), "zyx"),
    "others.h5": write_hdf5(labels=np.arange(5), picture=np.zeros((4, 5)), text="of a scan"),
    "channel.h5": write_hdf5(VALUES[None, ..., None], "cxyzt", (1, STEP, STEP, STEP, 1)),
    "plain.zarr": write_zarr(),
    "turned.zarr": write_zarr(VALUES.transpose(2, 1, 0), "zyx"),
    "pyramid.zarr": write_pyramid,
}
WITHOUT_ORIGIN = (".h5", ".hdf5", ".nc", ".zarr", ".tif")


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_volume_is_read_from_every_format_in_its_world(tmp_path, name):
    WRITTEN[name](tmp_path / name)
    origin = np.zeros(3) if name.endswith(WITHOUT_ORIGIN) else ORIGIN
    if name == "turned.vti":
        origin = ORIGIN - STEP * np.array([4, 3, 0])
    volume = load_volume(tmp_path / name)
    np.testing.assert_array_equal(np.rint(volume.units.to_own(volume.values))[..., 0], VALUES)
    assert volume.record.spacing == pytest.approx((STEP,) * 3)
    last = volume.normalization.to_world(volume.lattice.coords(np_index(VALUES.size - 1)).double().numpy())
    np.testing.assert_allclose(last[0], origin + STEP * (np.array(VALUES.shape) - 1), atol=1e-5)
    if name != "stack.tif":
        assert kind_of(tmp_path / name).name == "volume"
    if origin.any():
        said = export_volume(field_of(volume, lambda x: x[..., 0]), tmp_path / "fit.npy")
        assert said.endswith(f"the first at {' x '.join(f'{x:g}' for x in origin)}")


def np_index(index):
    import torch

    return torch.tensor([index])


def notes_of(tmp_path, name, write):
    write(tmp_path / name)
    return load_volume(tmp_path / name).describe()


def test_what_the_file_says_is_told(tmp_path):
    said = notes_of(tmp_path, "a.nii", write_nifti(TURNED_VALUES, TURNED, TURNED_ORIGIN))
    assert {"unit: mm", "world: right-anterior-superior", "array axes 1 2 0 became x y z"} <= set(said)
    assert "turned round along x, to run in the world's direction" in said
    assert "the first sample lies at 10 x -20 x 30" in said
    assert "world: left-posterior-superior" in notes_of(tmp_path, "a.nrrd", write_nrrd())
    said = notes_of(tmp_path, "b.h5", write_hdf5(VALUES.transpose(2, 1, 0), "zyx"))
    assert {"dataset: scan/values", "axes z y x were turned to x y z"} <= set(said)
    assert "unit: micrometer" in notes_of(tmp_path, "c.zarr", write_pyramid)
    assert "samples are the middles of cells" in notes_of(tmp_path, "d.vti", write_vti(of_cells=True))
    said = notes_of(tmp_path, "e.nii", write_nifti(code=0))
    assert "the file says nothing of its orientation; its array axes are taken as x y z" in said


@pytest.mark.parametrize("slope", [(2.5, -7.0), (1e-3, 0.0)])
def test_scaled_values_are_those_that_the_file_means(tmp_path, slope):
    write_nifti(slope[0] * VALUES + slope[1], slope=slope)(tmp_path / "a.nii")
    write_nifti()(tmp_path / "raw.nii")
    image = nibabel.load(tmp_path / "raw.nii")
    image.header.set_slope_inter(*slope)
    raw = bytearray((tmp_path / "raw.nii").read_bytes())
    raw[112:120] = np.array(slope, "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    volume = load_volume(tmp_path / "a.nii")
    own = volume.units.to_own(volume.values)[..., 0]
    np.testing.assert_allclose(own, slope[0] * VALUES + slope[1], atol=slope[0] * 1e-3)
    assert f"values are {slope[0]:g} times those in the file plus {slope[1]:g}" in volume.notes


def test_a_given_spacing_goes_before_that_of_the_file_and_that_is_told(tmp_path):
    write_nrrd()(tmp_path / "a.nrrd")
    volume = load_volume(tmp_path / "a.nrrd", VolumeOptions(spacing=2.0))
    assert volume.record.spacing == (2, 2, 2)
    assert "the file's spacing of 0.5 gives way to --spacing 2" in volume.notes
    assert not any("gives way" in note for note in load_volume(tmp_path / "a.nrrd").notes)


def test_a_given_origin_goes_before_that_of_the_file_and_that_is_told(tmp_path):
    write_nrrd()(tmp_path / "a.nrrd")
    volume = load_volume(tmp_path / "a.nrrd", VolumeOptions(origin=(1, 2, -3)))
    assert "the file's origin of 10 -20 30 gives way to --origin 1 2 -3" in volume.notes
    first = volume.normalization.to_world(-np.array(volume.lattice.half_extents))
    np.testing.assert_allclose(first, [1, 2, -3], atol=1e-6)
    with pytest.raises(SignalError, match=r"origin=.* must be finite"):
        load_volume(tmp_path / "a.nrrd", VolumeOptions(origin=(1, 2, float("nan"))))


@pytest.mark.parametrize(
    "name, write",
    [
        ("a.nrrd", write_nrrd(directions=np.diag([1, 1, 2.5]))),
        ("a.nii", write_nifti(directions=np.diag([1, 1, 2.5]))),
        ("a.h5", write_hdf5(spacing=(1, 1, 2.5))),
    ],
)
def test_three_spacings_are_read_each_for_its_axis(tmp_path, name, write):
    write(tmp_path / name)
    assert read_volume(tmp_path / name, lambda shape: None).spacing == pytest.approx((1, 1, 2.5))


def test_spacings_stay_with_their_axes_when_those_are_turned(tmp_path):
    write_hdf5(VALUES.transpose(2, 1, 0), "zyx", (2.5, 1.0, 0.5))(tmp_path / "a.h5")
    assert read_volume(tmp_path / "a.h5", lambda shape: None).spacing == pytest.approx((0.5, 1, 2.5))
    write_nifti(TURNED_VALUES, np.array([[2.5], [0.5], [1]]) * TURNED / STEP)(tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii", lambda shape: None).spacing == pytest.approx((0.5, 1, 2.5))


BACKWARD = {
    "a.h5": write_hdf5(spacing=(STEP, -STEP, STEP)),
    "a.zarr": write_zarr(spacing=(STEP, -STEP, STEP)),
    "a.nrrd": write_nrrd(directions=np.diag([STEP, -STEP, STEP])),
    "a.nii": write_nifti(directions=np.diag([STEP, -STEP, STEP])),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_a_negative_spacing_turns_its_axis_in_every_format(tmp_path, name):
    BACKWARD[name](tmp_path / name)
    found = read_volume(tmp_path / name, lambda shape: None)
    assert found.spacing == pytest.approx((STEP,) * 3)
    assert any(note.startswith("turned round along y") for note in found.notes)
    np.testing.assert_array_equal(found.values, VALUES[:, ::-1])


@pytest.mark.parametrize("step", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("name, write", [("a.h5", write_hdf5), ("a.zarr", write_zarr)])
def test_a_spacing_that_is_none_is_refused_in_every_format(tmp_path, name, write, step):
    write(spacing=(1.0, step, 1.0))(tmp_path / name)
    with pytest.raises(SignalError, match=r"a\.\w+: its spacing or origin is zero or not finite"):
        read_volume(tmp_path / name, lambda shape: None)


def turn_about_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return STEP * np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize("suffix, write", [(".nrrd", write_nrrd), (".nii", write_nifti)])
def test_oblique_axes_keep_their_spacing_and_are_told(tmp_path, suffix, write):
    write(directions=turn_about_z(20))(tmp_path / f"a{suffix}")
    volume = load_volume(tmp_path / f"a{suffix}")
    assert volume.record.spacing == pytest.approx((STEP,) * 3)
    assert any("its axes are oblique, 20 degrees from the world's" in note for note in volume.notes)


@pytest.mark.parametrize("suffix, write", [(".nrrd", write_nrrd), (".nii", write_nifti)])
def test_axes_that_are_not_at_right_angles_are_refused(tmp_path, suffix, write):
    write(directions=DIRECTIONS + np.array([[0, 0.1, 0], [0, 0, 0], [0, 0, 0]]))(tmp_path / f"a{suffix}")
    with pytest.raises(SignalError, match=r"its axes are not at right angles \(by up to 11.3 degrees\)"):
        load_volume(tmp_path / f"a{suffix}")


def test_of_several_arrays_one_is_named(tmp_path):
    write_hdf5(other=np.zeros((3, 3, 3)))(tmp_path / "a.h5")
    with pytest.raises(SignalError, match=r"2 arrays that may be a volume; say which by --dataset NAME; .*scan/values"):
        load_volume(tmp_path / "a.h5")
    assert load_volume(tmp_path / "a.h5", VolumeOptions(dataset="scan/values")).lattice.shape == VALUES.shape
    assert load_volume(tmp_path / "a.h5", VolumeOptions(dataset="/other")).lattice.shape == (3, 3, 3)
    with pytest.raises(SignalError, match="has no array 'none'; there are: other"):
        load_volume(tmp_path / "a.h5", VolumeOptions(dataset="none"))
    write_pyramid(tmp_path / "a.zarr")
    coarse = load_volume(tmp_path / "a.zarr", VolumeOptions(dataset="1"))
    assert coarse.lattice.shape == (3, 2, 3)
    assert coarse.record.spacing == (2 * STEP,) * 3
    for name, write in (("a.nrrd", write_nrrd()), ("a.npy", lambda path: np.save(path, VALUES))):
        write(tmp_path / name)
        with pytest.raises(SignalError, match="leave out dataset='x'"):
            load_volume(tmp_path / name, VolumeOptions(dataset="x"))


def test_the_help_of_dataset_lists_the_suffixes_of_all_files_with_names():
    assert f"({' '.join(WITH_NAMES)})" in inspect.getsource(VolumeOptions)


def with_bytes(write, change):
    def changed(path):
        write(path)
        path.write_bytes(change(path.read_bytes()))

    return changed


def cut(content):
    return content[: len(content) - 60]


def nifti_of_zeros(shape, count):
    """A header that states a shape, and as many zero bytes as a bomb has."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return lambda path: path.write_bytes(gzip.compress(header.binaryblock + b"\0" * (4 + count)))


def nrrd_bomb(encoding, pack):
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 5 4 6\nencoding: {encoding}\n\n".encode()
    return lambda path: path.write_bytes(head + pack(b"\0" * (1 << 26)))


def outside(path):
    (path.parent.parent / "elsewhere.raw").write_bytes(VALUES.tobytes())
    path.write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 6\nendian: little\nencoding: raw\n"
        "data file: ../elsewhere.raw\n"
    )


def linked(path):
    write_detached(path)
    (path.parent / "a.raw").unlink(missing_ok=True)
    for data in path.parent.glob("*.raw*"):
        data.unlink()


def with_external(path):
    (path.parent / "a.bin").write_bytes(VALUES.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("a", VALUES.shape, VALUES.dtype, external=[(str(path.parent / "a.bin"), 0, 240)])


def with_big_array(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (6000, 6000, 6000), "f4", chunks=(10, 10, 10))


def with_big_zarr(path):
    zarr.open_array(str(path), mode="w", shape=(6000, 6000, 6000), dtype="f4", chunks=(10, 10, 10))


def naming_files(names):
    header = "NRRD0004\ntype: float\ndimension: 3\nsizes: 4 5 6\nencoding: raw\nendian: little\ndata file: "
    return lambda path: path.write_text(header + names + "\n")


VTK = b"# vtk DataFile Version 3.0\nx\nBINARY\nDATASET STRUCTURED_POINTS\nDIMENSIONS 6000 6000 6000\nSPACING 1 1 1\n"
VTK += b"ORIGIN 0 0 0\nPOINT_DATA 216000000000\nSCALARS a float\nLOOKUP_TABLE default\n"


def write_pages(append=False, **options):
    """Return a function that writes the pages of a stack one by one; several files' worth where it appends."""

    def write(path):
        if append:
            for page in VALUES.transpose(2, 1, 0):
                tifffile.imwrite(path, page, append=True, **options)
            return
        with tifffile.TiffWriter(path) as file:
            for page in VALUES.transpose(2, 1, 0):
                file.write(page, **options)

    return write


def write_mixed_pages(path):
    with tifffile.TiffWriter(path) as file:
        for index, page in enumerate(VALUES.transpose(2, 1, 0)):
            file.write(page, compression=("zlib", None)[index % 2], metadata=None)


@pytest.mark.parametrize(
    "write",
    [
        write_pages(),
        write_pages(compression="zlib"),
        write_pages(append=True),
        write_pages(append=True, bigtiff=True),
        write_pages(metadata=None),
        write_mixed_pages,
    ],
)
def test_pages_that_were_written_one_by_one_are_a_stack(tmp_path, write):
    write(tmp_path / "a.tif")
    found = load_volume(tmp_path / "a.tif")
    np.testing.assert_allclose(found.units.to_own(found.values)[..., 0], VALUES, atol=1e-2)


def with_plugin(path):
    """Write an array that is compressed by Blosc, number 32001 of those that are registered."""
    with h5py.File(path, "w") as file:
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((6, 7, 8))
        created.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((6, 7, 8))
        array = h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_FLOAT, space, dcpl=created)
        array.write_direct_chunk((0, 0, 0), b"blosc" * 20)


REFUSED = {
    "cut.nrrd": (with_bytes(write_nrrd(encoding="raw"), cut), "is the file whole?"),
    "cut-gzip.nrrd": (with_bytes(write_nrrd(encoding="gzip"), cut), "is the file whole?"),
    "bomb.nrrd": (nrrd_bomb("gzip", gzip.compress), "more than the 120 bytes that its header states"),
    "bomb-2.nrrd": (nrrd_bomb("bzip2", bz2.compress), "more than the 120 bytes that its header states"),
    "outside.nhdr": (outside, "its data file ../elsewhere.raw lies outside its folder"),
    "list.nhdr": (naming_files("LIST 2\na.raw\nb.raw"), "its samples lie in several files (LIST 2); join them"),
    "pattern.nhdr": (naming_files("a%02d.raw 0 7 1 2"), "several files (a%02d.raw 0 7 1 2); join them"),
    "missing.nhdr": (linked, "is missing; put it beside it"),
    "color.nrrd": (
        write_nrrd(np.zeros((3, 5, 4), "u1"), kinds=["RGB-color", "domain", "domain"]),
        "one value each is needed",
    ),
    "empty.nrrd": (lambda path: path.touch(), "is empty; is the file whole?"),
    "cut.nii": (with_bytes(write_nifti(), cut), "is the file whole?"),
    "cut.nii.gz": (with_bytes(write_nifti(), cut), "is the file whole?"),
    "short.nii.gz": (nifti_of_zeros((100, 100, 100), 100), "is the file whole?"),
    "large.nii.gz": (nifti_of_zeros((6000, 6000, 6000), 100), "216,000,000,000 samples are more than --max-samples"),
    "frames.nii": (write_nifti(np.zeros((4, 4, 4, 3), "i2")), "no volume"),
    "text.nii": (lambda path: path.write_text("hello"), "text.nii: cannot be read"),
    "zero.nrrd": (write_nrrd(directions=np.diag([1.0, 0, 1])), "spacing or origin is zero or not finite"),
    "text.h5": (lambda path: path.write_text("hello"), "cannot be read as .h5"),
    "older.nc": (lambda path: path.write_bytes(b"CDF\1" + bytes(400)), "is of netCDF's version 3; convert it"),
    "empty.h5": (lambda path: h5py.File(path, "w").close(), "holds no array that may be a volume"),
    "plugin.h5": (with_plugin, "/v is compressed by a plugin that is not installed (32001); where it is, rewrite"),
    "external.h5": (with_external, "lie in other files"),
    "large.h5": (with_big_array, "216,000,000,000 samples are more than --max-samples"),
    "empty.zarr": (lambda path: path.mkdir(), "cannot be read as .zarr"),
    "large.zarr": (with_big_zarr, "216,000,000,000 samples are more than --max-samples"),
    "cut.vti": (with_bytes(write_vti(), lambda content: content[:300]), "cannot be read as .vti"),
    "text.vti": (lambda path: path.write_text("hello"), "cannot be read as .vti"),
    "cut.vtk": (with_bytes(write_vtk(), lambda content: content[:260]), "is the file whole?"),
    "large.vtk": (lambda path: path.write_bytes(VTK), "216,000,000,000 samples are more than --max-samples"),
    "mesh.vtk": (
        lambda path: path.write_text("# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\nPOINTS 0 float\n"),
        "holds POLYDATA; STRUCTURED_POINTS, which is image data, is needed",
    ),
    "pages.tif": (
        lambda path: [tifffile.imwrite(path, np.zeros(s, "u1"), append=i > 0) for i, s in enumerate([(9, 9), (8, 8)])],
        "pages are of several sizes",
    ),
    "types.tif": (
        lambda path: [tifffile.imwrite(path, np.zeros((9, 9), s), append=i > 0) for i, s in enumerate(["u1", "i2"])],
        "pages are of several types",
    ),
    "thumbnail.tif": (
        lambda path: [write_pages(append=True)(path), tifffile.imwrite(path, np.zeros((2, 2), "i2"), append=True)],
        "pages are of several sizes",
    ),
    **{
        f"cut_{part}_{name}.tif": (
            with_bytes(write, lambda content, part=part: content[:-part]),
            "is cut off: its pages",
        )
        for part in (40, 500)
        for name, write in {
            "imagej": lambda path: tifffile.imwrite(path, VALUES.transpose(2, 1, 0), imagej=True),
            "packed": lambda path: tifffile.imwrite(path, VALUES, compression="zlib", photometric="minisblack"),
            "big": lambda path: tifffile.imwrite(path, VALUES, bigtiff=True, photometric="minisblack"),
        }.items()
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line_before_memory_is_taken(tmp_path, name, capfd):
    folder = tmp_path / "data"
    folder.mkdir()
    write, words = REFUSED[name]
    write(folder / name)
    with pytest.raises(SignalError) as caught:
        load_volume(folder / name)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_reader_may_take_longer_for_a_large_array_of_a_small_file(tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "SECONDS", 0.1)
    (tmp_path / "a.h5").write_bytes(b"\0")

    def start():
        slow = [sys.executable, "-c", "import time; time.sleep(1); print('{\"part\": 7}')"]
        process = subprocess.Popen(slow, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return isolation.Reader(process, tmp_path / "a.h5", tmp_path)

    with (reader := start()).process, pytest.raises(SignalError, match="took more than 0 s"):
        reader.answer()
    with (reader := start()).process:
        assert reader.resume(8 * 10**9) == 7


def test_the_time_for_an_array_is_that_for_its_stated_size(tmp_path, monkeypatch):
    stated, resume = [], isolation.Reader.resume
    monkeypatch.setattr(isolation.Reader, "resume", lambda self, unpacked: (stated.append(unpacked), resume(self))[1])
    write_hdf5()(tmp_path / "a.h5")
    load_volume(tmp_path / "a.h5")
    assert stated == [8 * VALUES.size]


@pytest.mark.parametrize(
    "name, module, extra",
    [
        ("a.nrrd", "nrrd", "nrrd"),
        ("a.nii", "nibabel", "nifti"),
        ("a.h5", "h5py", "hdf5"),
        ("a.vti", "vtk", "vtk"),
    ],
)
def test_a_missing_library_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch, name, module, extra):
    (tmp_path / name).write_bytes(b"\0")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SignalError, match=rf'pip install "winner-nerfstudio\[{extra}\]"'):
        load_volume(tmp_path / name)


def test_a_name_with_two_suffixes_has_one_stem_and_is_refused_by_both(tmp_path):
    names = ["scans/brain.nii.gz", "BRAIN.NII.GZ", "a.b.nrrd", "sample:metaballs", "plain"]
    assert [stem_of(name) for name in names] == ["brain", "BRAIN", "a.b", "metaballs", "plain"]
    with pytest.raises(ValueError, match=r"is not written as \.nii\.gz; use \.npy"):
        export_for(kind_named("volume"), tmp_path / "brain.nii.gz")


@pytest.mark.parametrize(
    "lines, spacing, first",
    [
        ("axis mins: 1 2 3\naxis maxs: 41 62 83\ncenters: node node node", 10, (1, 2, 3)),
        ("axis mins: 1 2 3\naxis maxs: 51 72 93\ncenters: cell cell cell", 10, (6, 7, 8)),
        ("axis mins: 1 2 3\naxis maxs: 41 62 83", 10, (1, 2, 3)),
        ("spacings: 10 10 10\naxis mins: 1 2 3\ncenters: cell cell node", 10, (6, 7, 3)),
        ("spacings: 10 10 10\naxis mins: 1 2 3", 10, (1, 2, 3)),
        ("axis maxs: 40 60 80", 1, (0, 0, 0)),
    ],
)
def test_what_a_nrrd_file_says_of_each_axis_places_its_samples(tmp_path, lines, spacing, first):
    values = np.random.default_rng(0).normal(size=(9, 7, 5)).astype("<f4")
    header = f"NRRD0004\ntype: float\ndimension: 3\nsizes: 5 7 9\nendian: little\nencoding: raw\n{lines}\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + values.tobytes())
    volume = load_volume(tmp_path / "a.nrrd", VolumeOptions())
    assert volume.record.spacing == pytest.approx((spacing,) * 3)
    middle = np.array(first) + spacing * (np.array([5, 7, 9]) - 1) / 2
    assert volume.normalization.center == pytest.approx(tuple(middle))
    np.testing.assert_allclose(volume.units.to_own(volume.values)[..., 0], values.transpose(2, 1, 0), atol=1e-6)


def write_nrrd_text(path, lines, type_="float", encoding="raw"):
    """Write a header with these lines before 5 x 7 x 9 values, which nobody reads where the header is refused."""
    header = f"NRRD0004\ntype: {type_}\ndimension: 3\nsizes: 5 7 9\nendian: little\nencoding: {encoding}\n{lines}\n"
    path.write_bytes(header.encode() + np.arange(5 * 7 * 9, dtype="<f4").tobytes())


@pytest.mark.parametrize(
    "lines, told",
    [
        ("spacings: 1 nan 2\n", "spacings"),
        ("axis mins: 0 0 0\naxis maxs: 4 nan 8\n", "spacings"),
        ("space dimension: 2\nspace directions: (2,0) (0,2) none\n", "space directions"),
        ("space dimension: 3\nspace directions: (2,0,0) none (0,0,2)\n", "space directions"),
        ("spacings: nan nan nan\n", None),
        ("space dimension: 3\nspace directions: none none none\n", None),
        ("", None),
    ],
)
def test_distances_that_a_nrrd_file_states_of_some_axes_alone_are_told(tmp_path, lines, told):
    write_nrrd_text(tmp_path / "a.nrrd", lines)
    volume = load_volume(tmp_path / "a.nrrd")
    assert volume.record.spacing == (1, 1, 1)
    words = "are not of each of three axes in three dimensions, so that none is taken; give --spacing"
    assert [note for note in volume.notes if words in note] == ([f"warning: its {told} {words}"] if told else [])


@pytest.mark.parametrize(
    "lines, more, words",
    [
        ("", {"encoding": "hex"}, r"its encoding \(hex\) is not read; rewrite it: unu save -e gzip"),
        ("block size: 4\n", {"type_": "block"}, r"its samples are blocks of bytes \(type block\); one number each"),
    ],
)
def test_what_is_not_read_of_a_nrrd_file_is_named(tmp_path, lines, more, words):
    write_nrrd_text(tmp_path / "a.nrrd", lines, **more)
    with pytest.raises(SignalError, match=rf"a\.nrrd: {words}"):
        load_volume(tmp_path / "a.nrrd")


def test_a_stack_has_imagejs_calibration_and_its_orientation(tmp_path):
    values = (np.arange(7 * 5 * 6).reshape(7, 5, 6) - 50).astype(np.int32)
    lines = "ImageJ=1.53t\nimages=7\nslices=7\ncf=0\nc0=-32768.0\nc1=1.0\n"
    stored = (values + 32768).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata=None, description=lines, photometric="minisblack")
    volume = load_volume(tmp_path / "a.tif", VolumeOptions())
    np.testing.assert_allclose(volume.units.to_own(volume.values)[..., 0], values.transpose(2, 1, 0), atol=1e-4)
    assert volume.record.level == 0
    assert volume.record.dtype == "<i4"
    assert "values are 1 times those in the file plus -32768" in volume.notes
    gaps = [(42113, "s", 0, "32768", True)]
    tifffile.imwrite(tmp_path / "a.tif", stored, metadata=None, description=lines, photometric=1, extratags=gaps)
    assert np.argwhere(load_volume(tmp_path / "a.tif").missing).tolist() == np.argwhere(values.T == 0).tolist()
    upright = {
        1: lambda a: a,
        3: lambda a: a[:, ::-1, ::-1],
        4: lambda a: a[:, ::-1],
        6: lambda a: np.rot90(a, -1, (1, 2)),
    }
    for orientation, turn in upright.items():
        tags = [(274, "H", 1, orientation, False)]
        tifffile.imwrite(tmp_path / "b.tif", values.astype("f4"), metadata=None, extratags=tags, photometric=1)
        volume = load_volume(tmp_path / "b.tif", VolumeOptions())
        expected = turn(values).transpose(2, 1, 0)
        np.testing.assert_allclose(volume.units.to_own(volume.values)[..., 0], expected, atol=1e-4)


def test_the_only_scalars_of_a_vti_file_are_meant(tmp_path):
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkIOXML import vtkXMLImageDataWriter

    image = vtk_image()
    vectors = numpy_to_vtk(np.zeros((VALUES.size, 3)), deep=True)
    vectors.SetName("vectors")
    image.GetPointData().AddArray(vectors)
    writer = vtkXMLImageDataWriter()
    writer.SetFileName(str(tmp_path / "a.vti"))
    writer.SetInputData(image)
    for mode in (writer.SetDataModeToAscii, writer.SetDataModeToBinary, writer.SetDataModeToAppended):
        mode()
        writer.Write()
        volume = load_volume(tmp_path / "a.vti", VolumeOptions())
        np.testing.assert_allclose(volume.units.to_own(volume.values)[..., 0], VALUES, atol=1e-3)
    with pytest.raises(SignalError, match=r"a\.vti: vectors has 3 values per sample; one number per sample is needed"):
        load_volume(tmp_path / "a.vti", VolumeOptions(dataset="vectors"))


@pytest.mark.parametrize("as_text", [True, False])
def test_signed_bytes_and_names_with_spaces_of_vtk_are_read(tmp_path, as_text):
    values = (VALUES // 10).astype(np.int8)
    write_vtk(as_text, values=values, name="100 % dichte ä")(tmp_path / "a.vtk")
    assert b"signed_char" in (tmp_path / "a.vtk").read_bytes()
    volume = load_volume(tmp_path / "a.vtk", VolumeOptions(dataset="100 % dichte ä"))
    np.testing.assert_array_equal(np.rint(volume.units.to_own(volume.values))[..., 0], values)


def test_the_axis_tags_of_ilastik_name_the_axes(tmp_path):
    tags = json.dumps({"axes": [{"key": key, "typeFlags": 2} for key in "zyxc"]})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["exported_data"] = VALUES.transpose(2, 1, 0)[..., None]
        file["exported_data"].attrs["axistags"] = tags
    volume = load_volume(tmp_path / "a.h5", VolumeOptions())
    np.testing.assert_allclose(volume.units.to_own(volume.values)[..., 0], VALUES, atol=1e-3)
    assert "axes z y x were turned to x y z" in "\n".join(volume.describe())


@pytest.mark.parametrize("pair", [nibabel.Nifti1Pair, nibabel.Nifti2Pair, nibabel.AnalyzeImage])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_pair_of_nifti_files_is_refused_with_what_to_convert_it_to(tmp_path, pair, order):
    image = pair(VALUES, np.eye(4), pair.header_class(endianness=order))
    image.header.set_data_dtype(np.int16)
    image.to_filename(tmp_path / "a.img")
    words = r"paired \.hdr and \.img files are not read; convert a NIfTI or ANALYZE pair to \.nii: nibabel\.save\("
    for name, load in (("a.hdr", load_image), ("a.hdr", load_volume), ("a.img", load_volume), ("a.img", kind_of)):
        with pytest.raises(ValueError, match=words):
            load(tmp_path / name)
    nibabel.save(nibabel.load(tmp_path / "a.hdr"), tmp_path / "b.nii")
    volume = load_volume(tmp_path / "b.nii")
    own = np.rint(volume.units.to_own(volume.values))
    np.testing.assert_array_equal(np.sort(own, None), np.sort(VALUES, None))  # an ANALYZE file says not what is left


@pytest.mark.parametrize("name, words", [("a.mha", "MetaImage files are not read"), ("a.mat", "MATLAB files are not")])
def test_a_volume_of_another_format_is_refused_with_what_to_convert_it_to(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(SignalError, match=f"{name}: {words}"):
        load_volume(tmp_path / name)


@pytest.mark.parametrize("name, other", [("a.nii.gz", "b.nii"), ("a.nii", "b.nii.gz")])
def test_a_nifti_file_named_otherwise_than_it_is_packed_is_told(tmp_path, name, other):
    write_nifti()(tmp_path / name)
    (tmp_path / name).rename(tmp_path / other)
    with pytest.raises(SignalError, match=rf"compressed by gzip, unlike its name says; rename it to end in {name[1:]}"):
        load_volume(tmp_path / other, VolumeOptions())
