"""Volumes as other programs describe them: scaling, missing values, coordinates, levels, kinds of pages and arrays."""

import re

import h5py
import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
import xarray
import zarr

from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.large import open_large
from winner_nerfstudio.signals.options import VolumeOptions
from winner_nerfstudio.signals.volume import load_volume

VALUES = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)  # [x, y, z]
STORED = np.rint(VALUES * 100).astype(np.int16)
WHOLE = STORED.copy()
STORED[1, 2, 3] = -32768
X, Y, Z = 3 + np.arange(4.0), 2 + 2 * np.arange(5.0), 1 + 3 * np.arange(6.0)


def check(volume, values, spacing=(1.0, 2.0, 3.0), first=(3.0, 2.0, 1.0)):
    """Hold a volume against values [x, y, z], of which NaN are missing, and the world of their samples."""
    found = volume.units.to_own(volume.values)[..., 0]
    missing = np.isnan(values)
    assert np.allclose(found[~missing], values[~missing], atol=1e-5)
    assert np.array_equal(volume.missing if volume.missing is not None else np.zeros(values.shape, bool), missing)
    assert np.allclose(volume.draft.spacing, spacing)
    middle = np.array(first) + np.array(spacing) * (np.array(values.shape) - 1) / 2
    assert np.allclose(volume.normalization.center, middle)


def meant():
    """Return what `STORED` means with a factor of 0.01 and an offset of 5."""
    return np.where(STORED == -32768, np.nan, STORED * 0.01 + 5)


def write_netcdf(path):
    """Write a file as netCDF does, [z, y, x], with z downwards."""
    with h5py.File(path, "w") as file:
        array = file.create_dataset("t", data=STORED.transpose(2, 1, 0)[::-1])
        array.attrs.update({"scale_factor": [0.01], "add_offset": 5.0, "_FillValue": np.int16(-32768)})
        for axis, (name, coordinates) in enumerate((("z", Z[::-1]), ("y", Y), ("x", X))):
            file[name] = coordinates
            file[name].attrs["units"] = "mm"
            file[name].make_scale(name)
            array.dims[axis].attach_scale(file[name])


def write_stored(path, stored, attributes):
    """Write an array as it is stored, with attributes, as .h5 or .zarr."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["v"] = stored
            file["v"].attrs.update(attributes)
    else:
        array = zarr.open_array(str(path), mode="w", shape=stored.shape, dtype=stored.dtype)
        array[...] = stored
        array.attrs.update(attributes)


def write_xarray(path, version):
    data = xarray.Dataset({"t": (("z", "y", "x"), meant().transpose(2, 1, 0))}, coords={"x": X, "y": Y, "z": Z})
    encoding = {"t": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 5.0, "_FillValue": -32768}}
    data.to_zarr(path, zarr_format=version, encoding=encoding, consolidated=False)


def test_scale_offset_fill_value_and_coordinates_of_netcdf_are_applied(tmp_path):
    write_netcdf(tmp_path / "a.h5")
    volume = load_volume(tmp_path / "a.h5")
    check(volume, meant())
    told = "\n".join(volume.describe())
    assert "values are 0.01 times those in the file plus 5" in told
    assert "unit: mm" in told
    assert "turned round along z" in told


@pytest.mark.parametrize("name", ["a.h5", "a.zarr"])
@pytest.mark.parametrize(
    "more, missing",
    [
        ({"_FillValue": -3.0, "missing_value": [3.0]}, [-3, 3]),
        ({"_FillValue": -3.0, "missing_value": -3.0}, [-3]),
        ({"missing_value": [3.0, 4.0]}, [3, 4]),
    ],
)
def test_all_values_that_netcdf_calls_missing_are(tmp_path, name, more, missing):
    values = VALUES.copy()
    values[0, 0, :3] = -3, 3, 4
    write_stored(tmp_path / name, values, more)
    volume = load_volume(tmp_path / name, VolumeOptions())
    check(volume, np.where(np.isin(values, missing), np.nan, values), (1, 1, 1), (0, 0, 0))
    assert sum("as the file says" in note for note in volume.notes) == len(missing)
    if name == "a.zarr":
        assert open_large(tmp_path / name, "volume", VolumeOptions()).markers == tuple(sorted(missing))


@pytest.mark.parametrize("name", ["a.h5", "a.zarr"])
@pytest.mark.parametrize(
    "more, low, high",
    [
        ({"valid_range": [-50, 100]}, -50, 100),
        ({"valid_min": -50}, -50, 999),
        ({"valid_max": 100, "_FillValue": int(WHOLE[1, 2, 3])}, -999, 100),
        ({"valid_range": [-0.25, 1.25]}, -999, 999),  # no whole numbers, and so no stored ones
        ({}, -999, 999),
    ],
)
def test_values_outside_the_valid_range_of_netcdf_are_missing(tmp_path, name, more, low, high):
    stored = WHOLE
    write_stored(tmp_path / name, stored, {"scale_factor": -0.5, "add_offset": 3.0, **more})
    is_missing = (stored < low) | (stored > high) | (stored == more.get("_FillValue", 999))
    expected = np.where(is_missing, np.nan, stored * -0.5 + 3)
    volume = load_volume(tmp_path / name)
    check(volume, expected, (1, 1, 1), (0, 0, 0))
    is_stated = (low, high) != (-999, 999)
    assert any(note.startswith("valid values: ") for note in volume.notes) == is_stated
    kept = load_volume(tmp_path / name, VolumeOptions(nodata="keep"))
    check(kept, stored * -0.5 + 3, (1, 1, 1), (0, 0, 0))
    if name == "a.zarr":
        large = open_large(tmp_path / name, "volume", VolumeOptions())
        part = large.read([slice(0, 4), slice(0, 5), slice(0, 6)])
        known = ~np.isnan(expected)
        assert np.array_equal(part.missing if is_stated else ~known, ~known)
        assert np.allclose(large.units.to_own(part.values)[..., 0][known], expected[known], atol=1e-4)
        assert any(note.startswith("valid values: ") for note in large.notes) == is_stated


@pytest.mark.parametrize("positive, told", [("down", True), (np.bytes_(b"Down"), True), ("up", False)])
def test_coordinates_that_count_downwards_are_told(tmp_path, positive, told):
    write_netcdf(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["z"].attrs["positive"] = positive
    volume = load_volume(tmp_path / "a.h5")
    check(volume, meant())
    said = "warning: z counts downwards and is taken as it is, so that the volume is mirrored"
    assert (said in volume.notes) == told


def test_the_coordinates_of_netcdf_may_be_packed(tmp_path):
    write_netcdf(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["y"][...] = (Y - 40) / 0.25
        file["y"].attrs.update({"scale_factor": 0.25, "add_offset": 40.0})
        file["x"].attrs["add_offset"] = [100.0]
    check(load_volume(tmp_path / "a.h5"), meant(), first=(103, 2, 1))


def test_the_coordinates_of_xarray_may_be_packed(tmp_path):
    data = xarray.Dataset({"t": (("z", "y", "x"), VALUES.transpose(2, 1, 0))}, coords={"x": X, "y": Y, "z": Z})
    encoding = {"y": {"dtype": "i2", "scale_factor": 0.25, "add_offset": 40.0, "_FillValue": -32768}}
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2, encoding=encoding, consolidated=False)
    check(load_volume(tmp_path / "a.zarr"), VALUES)


@pytest.mark.parametrize("version", [2, 3])
def test_what_xarray_writes_to_zarr_is_read_as_xarray_reads_it(tmp_path, version):
    write_xarray(tmp_path / "a.zarr", version)
    check(load_volume(tmp_path / "a.zarr"), meant())
    large = open_large(tmp_path / "a.zarr", "volume", VolumeOptions())
    part = large.read((slice(0, 4), slice(0, 5), slice(0, 6)))
    known = ~np.isnan(meant())
    assert np.allclose(large.units.to_own(part.values)[..., 0][known], meant()[known], atol=1e-5)


@pytest.mark.parametrize("said", ["true", "True", np.bytes_(b"true"), ["true"]])
@pytest.mark.parametrize("fill", [-1, 255])
def test_bytes_that_netcdf_calls_unsigned_are(tmp_path, said, fill):
    values = np.arange(120, 240).reshape(4, 5, 6)
    values[1, 2, 3] = 255
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["v"] = values.astype("u1").view("i1")
        file["v"].attrs.update({"_Unsigned": said, "scale_factor": 0.5, "add_offset": 3.0, "_FillValue": fill})
    check(load_volume(tmp_path / "a.nc"), np.where(values == 255, np.nan, values * 0.5 + 3), (1, 1, 1), (0, 0, 0))


@pytest.mark.filterwarnings("ignore:NumPy will stop allowing:DeprecationWarning")  # of xarray's
@pytest.mark.parametrize("unsigned, stored", [("true", "i1"), ("false", "u1"), ("true", "i2"), ("false", "u2")])
@pytest.mark.parametrize("version", [2, 3])
def test_the_sign_of_what_xarray_packs_is_taken_as_xarray_takes_it(tmp_path, unsigned, stored, version):
    values = np.arange(-60.0, 60.0).reshape(4, 5, 6) + (100 if unsigned == "true" else 0)
    values[1, 2, 3] = np.nan
    data = xarray.Dataset({"t": (("x", "y", "z"), values)})
    fill = {"true": 255, "false": -128}[unsigned]
    encoding = {"t": {"dtype": stored, "_Unsigned": unsigned, "_FillValue": fill, "scale_factor": 1.0}}
    data.to_zarr(tmp_path / "a.zarr", zarr_format=version, encoding=encoding, consolidated=False)
    expected = xarray.open_zarr(tmp_path / "a.zarr", consolidated=False)["t"].values
    assert np.array_equal(expected, values, equal_nan=True)
    check(load_volume(tmp_path / "a.zarr"), expected, (1, 1, 1), (0, 0, 0))
    large = open_large(tmp_path / "a.zarr", "volume", VolumeOptions())
    part = large.read([slice(0, 4), slice(0, 5), slice(0, 6)])
    known = ~np.isnan(expected)
    assert np.allclose(large.units.to_own(part.values)[..., 0][known], expected[known], atol=1e-5)


def test_the_coordinates_of_netcdf_may_be_unsigned(tmp_path):
    write_netcdf(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["y"]
        file["y"] = (200 + 10 * np.arange(5)).astype("u1").view("i1")
        file["y"].attrs.update({"_Unsigned": "true", "scale_factor": 0.2, "add_offset": -38.0, "units": "mm"})
        file["y"].make_scale("y")
        file["t"].dims[1].attach_scale(file["y"])
    check(load_volume(tmp_path / "a.h5"), meant())


def test_unevenly_spaced_coordinates_are_told(tmp_path):
    write_netcdf(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["y"][1] = 5.5
    assert any(
        "warning: the samples along y are not evenly spaced" in line for line in load_volume(tmp_path / "a.h5").notes
    )


@pytest.mark.parametrize(
    "names, turned", [(("lev", "lat", "lon"), True), (("depth", "height", "width"), True), (("time", "y", "x"), False)]
)
def test_axes_are_turned_by_the_names_that_people_give_them(tmp_path, names, turned):
    array = zarr.open_array(str(tmp_path / "a.zarr"), mode="w", shape=(6, 5, 4), dtype="f4", zarr_format=2)
    array[...] = VALUES.transpose(2, 1, 0)
    array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    volume = load_volume(tmp_path / "a.zarr")
    check(volume, VALUES if turned else VALUES.transpose(2, 1, 0), (1, 1, 1), (0, 0, 0))
    said = "were turned to x y z" if turned else "are taken as x y z"
    assert f"axes {' '.join(names)} {said}" in volume.notes


def test_a_pyramid_is_read_with_its_translation_and_its_common_scale(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=(1, 6, 5, 4), dtype="f4")[...] = VALUES.transpose(2, 1, 0)[None]
    steps = [{"type": "scale", "scale": [1, 3, 2, 1]}, {"type": "translation", "translation": [0, 10, 20, 30]}]
    group.attrs["multiscales"] = [
        {
            "axes": [{"name": name} for name in "czyx"],
            "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2, 2]}],
            "datasets": [{"path": "0", "coordinateTransformations": steps}],
        }
    ]
    check(load_volume(tmp_path / "a.zarr"), VALUES, (2, 4, 6), (60, 40, 20))


def add_image(group, values, step):
    """Add an OME-Zarr image of two levels to a group."""
    for level in range(2):
        part = values.transpose(2, 1, 0)[None, None, :: 2**level, :: 2**level, :: 2**level]
        group.create_array(str(level), shape=part.shape, dtype=part.dtype)[...] = part
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "tczyx"]
    scales = [
        {"type": "scale", "scale": [1, 1, *(np.array([3, 2, 1]) * step * 2**level).tolist()]} for level in range(2)
    ]
    datasets = [{"path": str(level), "coordinateTransformations": [scales[level]]} for level in range(2)]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets}]


@pytest.mark.parametrize("version", [2, 3])
def test_an_image_in_a_group_is_read_as_bioformats2raw_writes_it(tmp_path, version):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=version)
    root.attrs["bioformats2raw.layout"] = 3
    image = root.create_group("0")
    add_image(image, VALUES, 0.5)
    add_image(image.create_group("labels/cells"), VALUES[::-1], 0.5)
    for dataset in (None, "0", "/0/", "0/0", "/0/0"):
        volume = load_volume(tmp_path / "a.zarr", VolumeOptions(dataset=dataset))
        check(volume, VALUES, (0.5, 1.0, 1.5), (0, 0, 0))
        assert {"dataset: 0/0", "unit: micrometer", "axes z y x were turned to x y z"} <= set(volume.notes)
    check(load_volume(tmp_path / "a.zarr", VolumeOptions(dataset="0/1")), VALUES[::2, ::2, ::2], (1, 2, 3), (0, 0, 0))
    add_image(root.create_group("1"), VALUES, 2)
    with pytest.raises(SignalError, match=r"say which by --dataset NAME; there are: .*1/0 \[1, 1, 6, 5, 4\]"):
        load_volume(tmp_path / "a.zarr")
    check(load_volume(tmp_path / "a.zarr", VolumeOptions(dataset="1")), VALUES, (2, 4, 6), (0, 0, 0))


@pytest.mark.parametrize(
    "dataset, values, spacing",
    [
        ("/1", VALUES[::2, ::2, ::2], (1, 2, 3)),
        ("1/", VALUES[::2, ::2, ::2], (1, 2, 3)),
        ("labels/cells/0", VALUES[::-1], (7, 14, 21)),
        ("/labels/cells", VALUES[::-1], (7, 14, 21)),
        ("other", VALUES, (1, 1, 1)),
    ],
)
def test_an_array_takes_the_spacing_of_its_own_level_alone(tmp_path, dataset, values, spacing):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    add_image(root, VALUES, 0.5)
    add_image(root.create_group("labels/cells"), VALUES[::-1], 7.0)
    root.create_array("other", shape=VALUES.shape, dtype="f4")[...] = VALUES
    check(load_volume(tmp_path / "a.zarr", VolumeOptions(dataset=dataset)), values, spacing, (0, 0, 0))


@pytest.mark.parametrize("take", [load_volume, kind_of])
def test_a_group_in_a_zarr_folder_is_named_by_dataset(tmp_path, take):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    add_image(root.create_group("0"), VALUES, 0.5)
    with pytest.raises(ValueError, match=r"0: is a folder.*; give .*a\.zarr with --dataset 0$"):
        take(tmp_path / "a.zarr/0")


def test_a_pyramid_without_axes_has_those_of_its_first_versions(tmp_path):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    add_image(root, VALUES, 1.0)
    root.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}, {"path": "1"}]}]
    check(load_volume(tmp_path / "a.zarr"), VALUES, (1, 1, 1), (0, 0, 0))


def test_the_axis_minima_of_a_nrrd_file_are_its_origin(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), VALUES, {"spacings": [1.0, 2, 3], "axis mins": [3.0, 2, 1]})
    check(load_volume(tmp_path / "a.nrrd"), VALUES)


@pytest.mark.parametrize("code, unit", [(1, "meter"), (2, "mm"), (3, "micron"), (5, None), (2 | 56, "mm"), (0, None)])
def test_a_unit_of_a_nifti_file_that_is_reserved_is_unknown(tmp_path, code, unit):
    image = nibabel.Nifti1Image(VALUES, np.diag([1.0, 2, 3, 1]))
    image.header["xyzt_units"] = code
    nibabel.save(image, tmp_path / "a.nii")
    volume = load_volume(tmp_path / "a.nii")
    check(volume, VALUES, first=(0, 0, 0))
    assert [note for note in volume.notes if note.startswith("unit: ")] == ([f"unit: {unit}"] if unit else [])


@pytest.mark.parametrize("shape", [(4, 5), (4,), (4, 5, 6, 2)])
def test_a_nifti_file_of_other_axes_without_orientation_is_no_volume(tmp_path, shape):
    nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.float32), None), tmp_path / "a.nii")
    with pytest.raises(SignalError, match=rf"a\.nii: an array of shape {re.escape(str(shape))} is no volume"):
        load_volume(tmp_path / "a.nii")


def test_a_gradient_is_not_read_from_the_files_of_other_programs(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = np.ones((4, 5, 6, 3))
    with pytest.raises(SignalError, match=r"a\.h5: an array of shape \(4, 5, 6, 3\) is read from \.npy or \.npz alone"):
        load_volume(tmp_path / "a.h5", VolumeOptions(supervise="gradient", dataset="v"))


def write_stack(path, values=VALUES, **options):
    tifffile.imwrite(path, values.transpose(2, 1, 0), **{"photometric": "minisblack", **options})


@pytest.mark.parametrize("stated, spacing", [(0.5, 0.5), ([0.5], 0.5), ([0.5, 1], 1), ("0.5 mm", 1)])
def test_a_spacing_that_is_no_number_for_each_axis_holds_for_all_or_is_told(tmp_path, stated, spacing):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = VALUES
        file["v"].attrs["voxel_size"] = stated
    volume = load_volume(tmp_path / "a.h5")
    check(volume, VALUES, (spacing,) * 3, (0, 0, 0))
    assert any("its attribute voxel_size (" in note for note in volume.notes) == (spacing == 1)


@pytest.mark.parametrize("more, told", [({}, []), ({"unit": "mm"}, ["unit: mm"])])
def test_the_unit_of_the_values_is_not_told_as_that_of_the_spacing(tmp_path, more, told):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = VALUES
        file["v"].attrs.update({"spacing": (1.0, 2.0, 3.0), "units": "K", **more})
    volume = load_volume(tmp_path / "a.h5")
    check(volume, VALUES, first=(0, 0, 0))
    assert [note for note in volume.notes if note.startswith("unit: ")] == told


def test_the_unit_of_a_pyramid_is_that_of_its_axes_in_space(tmp_path):
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=(1, 6, 5, 4), dtype="f4")[...] = VALUES.transpose(2, 1, 0)[None]
    axes = [{"name": "t", "type": "time", "unit": "second"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = [{"type": "scale", "scale": [1, 3, 2, 1]}]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    volume = load_volume(tmp_path / "a.zarr")
    check(volume, VALUES, first=(0, 0, 0))
    assert [note for note in volume.notes if note.startswith("unit: ")] == ["unit: micrometer"]


def test_the_sizes_of_an_ome_tiff_are_its_spacing(tmp_path):
    sizes = {f"PhysicalSize{axis}": step for axis, step in zip("XYZ", (1, 2, 3), strict=True)}
    write_stack(tmp_path / "a.ome.tif", ome=True, metadata={"axes": "ZYX", **sizes, "PhysicalSizeXUnit": "µm"})
    volume = load_volume(tmp_path / "a.ome.tif")
    check(volume, VALUES, first=(0, 0, 0))
    assert "unit: um" in volume.notes


def test_distances_that_an_ome_tiff_states_along_some_axes_alone_are_told(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    write_stack(tmp_path / "a.ome.tif", ome=True, metadata=metadata)
    volume = load_volume(tmp_path / "a.ome.tif")
    check(volume, VALUES, (1, 1, 1), (0, 0, 0))
    told = "states the distances of samples along x and y but not along z, so that none is taken; give --spacing"
    assert f"warning: {told}" in volume.notes


@pytest.mark.parametrize(
    "lines, spacing",
    [
        ("unit=micron\nspacing=3.0\n", (0.5, 0.25, 3)),
        ("unit=micron\n", (0.5, 0.25, 1)),  # ij.io.FileSaver writes no spacing of 1
        ("unit=pixel\n", (1, 1, 1)),
        ("", (1, 1, 1)),
    ],
)
def test_the_slices_of_imagej_are_one_unit_apart_unless_it_says_otherwise(tmp_path, lines, spacing):
    text = f"ImageJ=1.53t\nimages=6\nslices=6\n{lines}"
    write_stack(tmp_path / "a.tif", metadata=None, description=text, resolution=(2, 4))
    volume = load_volume(tmp_path / "a.tif")
    check(volume, VALUES, spacing, (0, 0, 0))
    assert ("unit: micron" in volume.notes) == (spacing[0] == 0.5)


def write_ome_files(folder, counts):
    """Write the pages of one stack into several files, as many into each as `counts` says."""
    names = [f"part{index}.ome.tif" for index in np.repeat(range(len(counts)), counts)]
    ifds = [index for count in counts for index in range(count)]
    entries = "".join(
        f'<TiffData FirstZ="{z}" IFD="{ifd}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{name}</UUID></TiffData>'
        for z, (name, ifd) in enumerate(zip(names, ifds, strict=True))
    )
    for name in dict.fromkeys(names):
        pages = [page for page, owner in zip(VALUES.transpose(2, 1, 0), names, strict=True) if owner == name]
        write_ome(folder / name, pages, entries, f' UUID="urn:uuid:{name}"')


def write_ome(path, pages, entries, more=""):
    """Write pages beside the metadata of a stack of all pages of `VALUES`."""
    sizes = 'DimensionOrder="XYZCT" Type="float" SizeX="4" SizeY="5" SizeZ="6" SizeC="1" SizeT="1"'
    text = (
        f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{more}><Image ID="I:0">'
        f'<Pixels ID="P:0" {sizes}><Channel ID="C:0:0" SamplesPerPixel="1"/>{entries}</Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(path) as file:
        for index, page in enumerate(pages):
            file.write(page, contiguous=False, description=None if index else text, metadata=None)


@pytest.mark.parametrize("counts", [(3, 3), (1, 5), (5, 1)])
def test_a_stack_in_several_files_is_read_when_all_of_them_are_there(tmp_path, counts):
    write_ome_files(tmp_path, counts)
    check(load_volume(tmp_path / "part0.ome.tif"), VALUES, (1, 1, 1), (0, 0, 0))
    (tmp_path / "part1.ome.tif").unlink()
    with pytest.raises(
        SignalError,
        match=rf"part0\.ome\.tif: states 6 pages, of which {counts[1]} are missing; put part1\.ome\.tif beside it$",
    ):
        load_volume(tmp_path / "part0.ome.tif")


@pytest.mark.parametrize(
    "entries",
    [
        "<TiffData/>",
        "".join(f'<TiffData FirstZ="{z}" IFD="{z}" PlaneCount="1"/>' for z in range(6)),
        "".join(f'<TiffData FirstZ="{z}" IFD="{z}" PlaneCount="1"/>' for z in range(4)),
    ],
)
def test_a_stack_that_states_more_pages_than_there_are_is_refused(tmp_path, entries):
    write_ome(tmp_path / "a.ome.tif", VALUES.transpose(2, 1, 0)[:4], entries)
    with pytest.raises(SignalError, match="states 6 pages, of which 2 are missing; save those that are there"):
        load_volume(tmp_path / "a.ome.tif")


def test_pages_of_a_stack_that_are_left_out_of_the_file_are_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in WHOLE.transpose(2, 1, 0):
            file.write(page, compression="zlib", metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = [[page.tags[code].valueoffset for code in (273, 279)] for page in file.pages]
    values = WHOLE.astype(float)
    for missing in range(6):
        for at in tags[missing]:
            data[at : at + 4] = bytes(4)
        values[..., missing] = 0
        (tmp_path / "a.tif").write_bytes(data)
        if missing < 5:
            volume = load_volume(tmp_path / "a.tif")
            check(volume, values, (1, 1, 1), (0, 0, 0))
            told = f"{missing + 1} of 6 tiles or strips are left out of the file and read as its fill value"
            assert told in volume.notes
    with pytest.raises(SignalError, match=r"a\.tif: has no tile or strip with values; is the file whole\?"):
        load_volume(tmp_path / "a.tif")


def test_a_stack_of_times_or_of_white_as_the_least_value_is_told(tmp_path):
    write_stack(tmp_path / "times.tif", imagej=True, metadata={"axes": "TYX"}, photometric=None)
    volume = load_volume(tmp_path / "times.tif")
    check(volume, VALUES, (1, 1, 1), (0, 0, 0))
    assert "its times are taken as z" in volume.notes
    bytes_ = (50 + 40 * VALUES).clip(0, 255).astype(np.uint8)
    write_stack(tmp_path / "white.tif", bytes_, photometric="miniswhite")
    check(load_volume(tmp_path / "white.tif"), 255.0 - bytes_, (1, 1, 1), (0, 0, 0))


def test_a_stack_of_one_bit_with_white_as_the_least_value_is_inverted(tmp_path):
    stored = np.arange(8 * 5 * 4).reshape(8, 5, 4) % 3 == 0
    write_stack(tmp_path / "a.tif", stored, photometric="miniswhite")
    check(load_volume(tmp_path / "a.tif"), 1.0 - stored, (1, 1, 1), (0, 0, 0))
    write_stack(tmp_path / "b.tif", stored, photometric="miniswhite", extratags=[(42113, "s", 0, "1", True)])
    check(load_volume(tmp_path / "b.tif"), np.where(stored, np.nan, 1.0), (1, 1, 1), (0, 0, 0))


def test_white_as_the_least_value_of_a_signed_stack_is_told(tmp_path):
    write_stack(tmp_path / "a.tif", WHOLE, photometric="miniswhite")
    volume = load_volume(tmp_path / "a.tif")
    check(volume, WHOLE.astype(float), (1, 1, 1), (0, 0, 0))
    assert any("which is not applied to signed or floating-point values" in note for note in volume.notes)


def test_a_stack_that_lacks_its_interpretation_is_not_inverted(tmp_path):
    bytes_ = (50 + 40 * VALUES).clip(0, 255).astype(np.uint8)
    write_stack(tmp_path / "a.tif", bytes_)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        places = [page.tags[262].offset for page in tiff.pages]
    for at in places:
        data[at : at + 2] = (65000).to_bytes(2, "little")  # a private tag of no meaning
    (tmp_path / "a.tif").write_bytes(data)
    check(load_volume(tmp_path / "a.tif"), bytes_.astype(float), (1, 1, 1), (0, 0, 0))


def test_what_a_stack_declares_as_no_data_is_missing(tmp_path):
    holes = np.where(VALUES < -1, 0, VALUES)
    write_stack(tmp_path / "a.tif", holes, extratags=[(42113, "s", 0, "0", True)])
    check(load_volume(tmp_path / "a.tif"), np.where(VALUES < -1, np.nan, VALUES), (1, 1, 1), (0, 0, 0))


def test_what_a_stack_needs_imagecodecs_for_is_named(tmp_path, monkeypatch):
    def decode(self, **options):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    write_stack(tmp_path / "a.tif", compression="lzw")
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", decode)
    with pytest.raises(SignalError, match=r"its compression \(LZW\) is not read without imagecodecs"):
        load_volume(tmp_path / "a.tif")


def test_a_colour_picture_is_no_volume(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 5, 3), np.uint8), photometric="rgb")
    with pytest.raises(SignalError, match="its pages have colours"):
        load_volume(tmp_path / "a.tif")


HEAD = "# vtk DataFile Version 5.1\nx\n{}\nDATASET STRUCTURED_POINTS\nDIMENSIONS 4 5 6\nSPACING 1 2 3\nORIGIN 3 2 1\n"


def numbers(values, as_text, code):
    flat = values.ravel(order="F")
    return (" ".join(map(str, flat)).encode() if as_text else flat.astype(code).tobytes()) + b"\n"


@pytest.mark.parametrize("as_text", [True, False])
def test_every_array_of_a_vtk_file_is_found(tmp_path, as_text):
    names = b"METADATA\nCOMPONENT_NAMES\nx\n\n"
    parts = [
        HEAD.format("ASCII" if as_text else "BINARY").encode(),
        b"POINT_DATA 120\nVECTORS v float\n", numbers(np.stack([VALUES] * 3), as_text, ">f4"), names,
        b"SCALARS a float\nLOOKUP_TABLE default\n", numbers(VALUES, as_text, ">f4"), names,
        b"FIELD FieldData 2\nb 1 120 long\n", numbers(WHOLE, as_text, ">i8"), names,
        b"c 1 120 double\n", numbers(VALUES.astype(float) * 2, as_text, ">f8"),
    ]  # fmt: skip
    (tmp_path / "a.vtk").write_bytes(b"".join(parts))
    for name, values in (("a", VALUES), ("b", WHOLE.astype(float)), ("c", VALUES * 2.0)):
        check(load_volume(tmp_path / "a.vtk", VolumeOptions(dataset=name)), values)
    with pytest.raises(SignalError, match="3 arrays that may be a volume; say which by --dataset NAME"):
        load_volume(tmp_path / "a.vtk")
    with pytest.raises(SignalError, match="has no array 'd'; there are: v, a, b, c"):
        load_volume(tmp_path / "a.vtk", VolumeOptions(dataset="d"))
    with pytest.raises(SignalError, match="v has 3 values of float per sample; one number is needed"):
        load_volume(tmp_path / "a.vtk", VolumeOptions(dataset="v"))


def test_the_arrays_behind_metadata_are_found_in_a_text_file_with_the_line_ends_of_windows(tmp_path):
    metadata, data = b"METADATA\nINFORMATION 0\n\n", numbers(VALUES, True, "f4")
    fields = (b"FIELD f 2\nb 1 120 float\n", data, metadata, b"c 1 120 float\n", data, metadata)
    parts = [HEAD.format("ASCII").encode(), b"POINT_DATA 120\n", *fields, b"SCALARS a float\nLOOKUP_TABLE d\n", data]
    (tmp_path / "a.vtk").write_bytes(b"".join(parts).replace(b"\n", b"\r\n"))
    for name in "abc":
        check(load_volume(tmp_path / "a.vtk", VolumeOptions(dataset=name)), VALUES)


def test_an_array_of_a_vtk_text_file_may_have_a_name_that_begins_like_a_number(tmp_path):
    data = numbers(np.where(VALUES < 0, np.nan, VALUES), True, "f4").replace(b" ", b"\n")
    parts = [HEAD.format("ASCII").encode(), b"POINT_DATA 120\nFIELD f 3\n"]
    for name in (b"a", b"information", b"nan_count"):
        parts += [name + b" 1 120 float\n", data]
    (tmp_path / "a.vtk").write_bytes(b"".join(parts))
    for name in ("a", "information", "nan_count"):
        options = VolumeOptions(dataset=name, nodata=float("nan"))
        check(load_volume(tmp_path / "a.vtk", options), np.where(VALUES < 0, np.nan, VALUES))


@pytest.mark.parametrize("kind", ["bit", "string"])
def test_a_type_of_a_vtk_file_that_is_not_read_is_named(tmp_path, kind):
    (tmp_path / "a.vtk").write_text(HEAD.format("ASCII") + f"POINT_DATA 120\nSCALARS a {kind}\n" + "1 " * 120)
    with pytest.raises(
        SignalError, match=f"a is of type {kind}, which is not read; write it as unsigned_char or float"
    ):
        load_volume(tmp_path / "a.vtk")


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("title", ["ASCII", "BINARY", "DATASET POLYDATA", ""])
def test_the_title_of_a_vtk_file_says_nothing_of_its_data(tmp_path, title, as_text):
    head = HEAD.format("ascii" if as_text else "BINARY").replace("\nx\n", f"\n{title}\n", 1)
    parts = [head.encode(), b"POINT_DATA 120\nSCALARS a float\nLOOKUP_TABLE d\n", numbers(VALUES, as_text, ">f4")]
    (tmp_path / "a.vtk").write_bytes(b"".join(parts))
    check(load_volume(tmp_path / "a.vtk"), VALUES)


@pytest.mark.parametrize("as_text", [True, False])
def test_bytes_that_vtk_writes_as_colours_are_read(tmp_path, as_text):
    bytes_ = (100 + 40 * VALUES).clip(0, 255).astype(np.uint8)
    data = numbers((bytes_ / 255).round(6) if as_text else bytes_, as_text, "u1")
    head = HEAD.format("ASCII" if as_text else "BINARY").encode() + b"POINT_DATA 120\nCOLOR_SCALARS d 1\n"
    (tmp_path / "a.vtk").write_bytes(head + data)
    check(load_volume(tmp_path / "a.vtk"), bytes_.astype(float))


@pytest.mark.parametrize(
    "body", ["FIELD f 1000000000\nb -1 4 float\n", "SCALARS a float 0\n", "FIELD f 2\nb 1 -120 int\n"]
)
def test_arrays_of_sizes_that_cannot_be_end_in_one_line(tmp_path, body):
    (tmp_path / "a.vtk").write_text(HEAD.format("BINARY") + "POINT_DATA 120\n" + body)
    with pytest.raises(SignalError, match=r"a\.vtk: cannot be read as .vtk \(array 1 has -?\d+ times -?\d+ values\)"):
        load_volume(tmp_path / "a.vtk")
