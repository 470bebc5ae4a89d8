"""The kind of volumes: scalar fields that are sampled in three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..export.command import Export, Progress
from ..registry import SMALL, Metrics, PartRecipe, PartSize, Recipe
from ..signals.messages import describe_outside
from ..signals.options import VolumeOptions
from ..signals.records import VolumeRecord
from .grid import DERIVATIVE_METRICS, GRID_METRICS, GridKind, grid_size
from .shape import MeshExport, mesh

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from ..fields import Field
    from ..fields.fitted import FittedField
    from ..signals.volume import Volume
    from ..surfaces.extraction import Solid


class VolumeKind(GridKind):
    """A volume; its coordinates are x, y and z; the first sample lies at the origin, or where its file says."""

    name = "volume"
    title = "a volume: an occupancy, a density, a distance"
    axes = 3
    channels = 1
    suffixes = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".h5", ".hdf5", ".nc", ".zarr", ".vti", ".vtk")
    formats = ".npy .npz"
    frequency_unit = "cycles per unit of the array's spacing"
    options = VolumeOptions
    record = VolumeRecord
    recipe = Recipe(
        parts=PartRecipe(
            {
                "small": PartSize(32, 48, 800, {"muon": 1e-3}),
                "medium": PartSize(16, 32, 400, {"muon": 1.5e-3}),
                "large": PartSize(16, 48, 400, {"muon": 1e-3}),
            }
        ),
        small=SMALL,
    )
    metric_names = Metrics(
        (*GRID_METRICS, *DERIVATIVE_METRICS, "iou", "iou_held_out"),
        ("psnr_paper", "psnr_peak_to_peak", "psnr_between", "iou"),
        "psnr_paper",
    )
    views = "winner_nerfstudio.nerfstudio.models.volume:VolumeModel"

    @property
    def samples(self) -> Mapping[str, Callable[[], Any]]:
        """The built-in volumes."""
        from ..signals.samples import VOLUMES

        return VOLUMES

    def claims(self, data: Any) -> bool:
        """Return whether it is an array of three axes, the last of more than four values, or of four axes."""
        shape: tuple[int, ...] = getattr(data, "shape", ())
        return (len(shape) == 3 and shape[2] > 4) or len(shape) == 4

    def load(self, source: Any, options: Any) -> Volume:
        """Load a volume, see `load_volume`."""
        from ..signals.volume import load_volume

        return load_volume(source, options)

    def special_metrics(self, signal: Any, fitted: Float[ndarray, "x y z 1"]) -> dict[str, float]:
        """Compute ``iou`` of the insides over all samples, and ``iou_held_out`` over those that weren't fitted."""
        from ..metrics.grid import intersection_over_union

        fitted_inside, true_inside = signal.inside(fitted).reshape(-1), signal.inside(signal.truth).reshape(-1)
        if signal.missing is not None:  # neither inside nor outside
            known = ~signal.missing.reshape(-1)
            fitted_inside, true_inside = fitted_inside & known, true_inside & known
        if not true_inside.any():
            return {}
        metrics = {"iou": intersection_over_union(fitted_inside, true_inside)}
        if len(signal.held_out):
            metrics["iou_held_out"] = intersection_over_union(
                fitted_inside[signal.held_out], true_inside[signal.held_out]
            )
        return metrics

    def solid(self, field: Field, resolution: int, level: float | None) -> tuple[Solid, float]:
        """Return the volume as if it were a signed distance, and 0; `level` is in the volume's own values.

        Raises:
            EmptySurfaceError: it lies outside the values that were fitted.
        """
        from ..surfaces.extraction import EmptySurfaceError
        from ..surfaces.level_set import VolumeSolid

        record = field.record
        assert isinstance(record, VolumeRecord)
        low, high = record.offset - record.amplitude, record.offset + record.amplitude
        if level is not None and not low <= level <= high:
            raise EmptySurfaceError(describe_outside(level, low, high))
        return VolumeSolid(field, resolution, level), 0.0

    @property
    def results(self) -> Mapping[str, Callable[..., Any]]:
        """The function `volume`, and `mesh` for the level set."""
        return {"volume": volume, "mesh": mesh}

    @property
    def exports(self) -> Mapping[str, type[Export]]:
        """The command `VolumeExport`, and `MeshExport` for the level set."""
        return {"volume": VolumeExport, "mesh": MeshExport}


def volume(fitted: FittedField, size: int | tuple[int, int, int] | None = None) -> ndarray:
    """Return the volume, [x, y, z], in the input's data type; it fills the same box.

    Args:
        fitted: a field of kind "volume".
        size: samples along each axis, or along the longest; the input's if left out.

    Raises:
        ValueError: a size of no samples or too many.
    """
    from ..fields.resample import resized
    from ..signals.grid import to_dtype
    from ..signals.volume import as_input

    record = fitted.record_as(VolumeRecord)
    values = as_input(resized(fitted.field, grid_size(record.shape, size)), record)
    return to_dtype(values, record.dtype or "f4")[..., 0]


@dataclass
class VolumeExport(Export):
    """Write a fitted volume as an array of the input's size and data type, or of any other size.

    The original array is not needed. Writes .npy or .npz; for the level set as a mesh see `mesh`.
    """

    result = "volume"
    suffixes = (".npy", ".npz")
    scale: float = 1.0
    """Samples of the output per sample of the input, along each axis."""

    @classmethod
    def accepts(cls, output: Path) -> bool:
        """Return whether volumes are written to files of this name's suffix."""
        from ..signals.volume import cannot_save

        return super().accepts(output) or cannot_save(output) is None

    def write(self, fitted: FittedField, progress: Progress) -> str:
        """Write the array; return its size and where its samples lie."""
        from ..export.grid import export_volume

        return export_volume(fitted.field, self.output, self.scale, progress)
