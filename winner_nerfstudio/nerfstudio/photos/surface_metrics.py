"""The metrics of a surface fitted to photographs, against a mesh of the photographed object."""

import torch
from jaxtyping import Float
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from torch import Tensor

from .sdf_field import WinnerSDFField

POINTS_PER_BLOCK = 1 << 16
"""Points that are evaluated at a time."""


@torch.no_grad()
def measure_surface(
    field: WinnerSDFField, reference: str, outputs: DataparserOutputs, device: torch.device
) -> dict[str, float]:
    """Measure a fitted signed distance against a reference mesh, see `volume_metrics`.

    Args:
        field: the fitted field.
        reference: file of the mesh, in the coordinates that the cameras were given in, or sample:NAME.
        outputs: of the data parser; they hold the transform from these coordinates to the scene's.
        device: the device of the field.

    Returns:
        ``iou``, ``sdf_error_near`` and ``sdf_error_far``.

    Raises:
        SignalError: the mesh cannot be loaded.
    """
    from ...metrics.shape import volume_metrics
    from ...signals.shape import load_shape

    shape = load_shape(reference)
    center, scale = torch.tensor(shape.normalization.center), shape.normalization.scale
    transform, scene_scale = outputs.dataparser_transform, outputs.dataparser_scale

    def signed_distance(coords: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """Evaluate the field at coordinates of the unit cube, in lengths of the unit cube."""
        world = coords / scale + center.to(coords)
        scene = scene_scale * (world @ transform[:3, :3].T.to(coords) + transform[:3, 3].to(coords))
        blocks = scene.to(device).split(POINTS_PER_BLOCK)
        return torch.cat([field.signed_distance(block) for block in blocks]) * (scale / scene_scale)

    return volume_metrics(signed_distance, shape)
