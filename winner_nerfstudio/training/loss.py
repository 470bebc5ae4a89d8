"""What a fit is driven by: the terms of the loss, and the samples that a step learns from."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ..fields import Field
from .options import DistanceOptions
from .sampling import Batch

OFF_SURFACE_DECAY = 100.0
"""How fast SIREN's term off the surface falls with the distance, per unit-cube length."""
CLOUD_NORMAL_WEIGHT, CLOUD_EIKONAL_WEIGHT = 100.0, 50.0
"""SIREN's weights of the terms of gradients, beside the others' of point clouds."""


class Loss(Protocol):
    """Compares a field with a batch, in three steps."""

    def select(self, field: Field, batch: Batch) -> Batch:
        """Return the samples of a batch that a step learns from."""
        ...

    def outputs(self, field: Field, coords: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """What the terms need of the field: ``values`` [n, c] at the coordinates, and more."""
        ...

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of the loss, by name; their sum is the loss."""
        ...


class SquareLoss:
    """Mean square error, as in SIREN (arXiv 2006.09661) and WINNER."""

    def select(self, field: Field, batch: Batch) -> Batch:
        """Return all of them."""
        return batch

    def outputs(self, field: Field, coords: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """``values`` [n, c] at coordinates [n, d]."""
        return {"values": field(coords)}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """``mse``."""
        return {"mse": torch.nn.functional.mse_loss(outputs["values"], batch["values"])}


class DistanceLoss:
    """Of a signed distance in the unit cube, negative inside.

    Args:
        options: weights and limits.
        of_cloud: whether the target is points on the surface rather than a mesh.
    """

    def __init__(self, options: DistanceOptions, of_cloud: bool) -> None:
        self.options, self.of_cloud = options, of_cloud
        normal, eikonal = options.normal_weight, options.eikonal_weight
        self.normal_weight = CLOUD_NORMAL_WEIGHT * of_cloud if normal is None else normal
        self.eikonal_weight = CLOUD_EIKONAL_WEIGHT * of_cloud if eikonal is None else eikonal

    def select(self, field: Field, batch: Batch) -> Batch:
        """Return the points of a mesh with the greatest errors; finding them costs a third of learning from them."""
        if self.of_cloud or self.options.hardest == 1:
            return batch
        with torch.no_grad():
            error = (field(batch["coords"]) - batch["values"]).abs()[:, 0]
        rows = error.topk(max(1, round(len(error) * self.options.hardest))).indices
        return {name: values[rows] for name, values in batch.items()}

    def outputs(self, field: Field, coords: Float[Tensor, "n 3"]) -> dict[str, Tensor]:
        """Besides ``values``, their ``gradients`` [n, 3] by the coordinates if a term asks for them."""
        if not (self.normal_weight or self.eikonal_weight):
            return {"values": field(coords)}
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            coords = coords.detach().requires_grad_(True)
            values = field(coords)
            (gradients,) = torch.autograd.grad(values.sum(), coords, create_graph=learning)
        return {"values": values, "gradients": gradients}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """What compares values, by the kind of target, and the two terms of gradients that have a weight."""
        compare = self._cloud_terms if self.of_cloud else self._mesh_terms
        terms = compare(outputs["values"], batch)
        if self.normal_weight:
            cosine = torch.nn.functional.cosine_similarity(outputs["gradients"], batch["normals"], dim=-1)
            on_surface = batch["normals"].any(-1)
            terms["normal"] = self.normal_weight * torch.where(on_surface, 1 - cosine, 0.0).mean()
        if self.eikonal_weight:
            terms["eikonal"] = self.eikonal_weight * (outputs["gradients"].norm(dim=-1) - 1).abs().mean()
        return terms

    def _mesh_terms(self, fitted: Float[Tensor, "n 1"], batch: Batch) -> dict[str, Tensor]:
        """Mean absolute error of truncated distances (DeepSDF, arXiv 1901.05103, eq. 4), and of all."""
        truth, limit = batch["values"], self.options.truncation
        return {
            "sdf_near": (fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)).abs().mean(),
            "sdf_all": self.options.far_weight * (fitted - truth).abs().mean(),
        }

    def _cloud_terms(self, fitted: Float[Tensor, "n 1"], batch: Batch) -> dict[str, Tensor]:
        """Those of SIREN (arXiv 2006.09661, section 4.2; weights as `loss_functions.sdf` of its code has them).

        And the error of the distance that the points tell. SIREN's term off the surface, ``exp(-100 |f|)``, keeps what
        has the wrong sign on the wrong side; beside the distance a value of the wrong sign counts as zero does.
        """
        options, truth, on_surface = self.options, batch["values"], batch["on_surface"] > 0
        height = (fitted * truth.sign()).clamp(min=0) if options.distance_weight else fitted.abs()
        return {
            "on_surface": options.on_surface_weight * torch.where(on_surface, fitted.abs(), 0.0).mean(),
            "off_surface": options.off_surface_weight
            * torch.where(on_surface, 0.0, torch.exp(-OFF_SURFACE_DECAY * height)).mean(),
            "distance": options.distance_weight * torch.where(on_surface, 0.0, (fitted - truth).abs()).mean(),
        }
