"""Losses: their weighted terms, and the choice of the samples that a training step uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..fields import Field
from ..fields.derivatives import compute_hessian, compute_jacobian
from ..signals.derivatives import Derivatives
from .options import DistanceOptions
from .sampling import Batch
from .share import Share

if TYPE_CHECKING:
    from jaxtyping import Float

OFF_SURFACE_DECAY = 100.0
"""Rate at which SIREN's off-surface term falls with the distance, per unit-cube length."""
KNOWN_WEIGHT = 10.0
"""Weight of the mean square error of known values beside that of derivatives, which is relative to their own."""
CLOUD_NORMAL_WEIGHT, CLOUD_EIKONAL_WEIGHT = 100.0, 50.0
"""SIREN's weights of the normal term and the eikonal term for point clouds."""
Function = Callable[[Tensor], Tensor]
"""A function from coordinates [n, d] to values [n, c]: a field, or a part of one."""
ALONE = Share()
"""The share of a process that trains alone: everything."""


class Loss(ABC):
    """A loss, which compares a field with a batch in three steps: `select`, `outputs` and `terms`."""

    def select(self, field: Function, batch: Batch, share: Share = ALONE) -> Batch:
        """Return the samples of a batch that a training step uses, the same in each process; by default all of them."""
        return batch

    @abstractmethod
    def outputs(self, field: Field, coords: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """Return what the terms need of the field: its ``values`` [n, c] at the coordinates, and possibly more."""

    @abstractmethod
    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the weighted terms of the loss by name; their sum is the loss."""

    def training_terms(self, field: Field, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of a batch that `select` has returned, with gradients by the field's weights."""
        return self.terms(self.outputs(field, batch["coords"]), batch)

    def share_terms(self, field: Field, batch: Batch, share: Share) -> dict[str, Tensor]:
        """Return a process's share of `training_terms`: over all processes the terms and their gradients add up."""
        if share.count == 1:
            return self.training_terms(field, batch)
        own, weight = share.split(batch)
        return {name: weight * term for name, term in self.training_terms(field, own).items()}


class SquareLoss(Loss):
    """The mean square error, as in SIREN (arXiv 2006.09661) and WINNER."""

    def outputs(self, field: Function, coords: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """Return the field's ``values`` [n, c] at coordinates [n, d]."""
        return {"values": field(coords)}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the only term, the mean square error ``mse``."""
        return {"mse": torch.nn.functional.mse_loss(outputs["values"], batch["values"])}


class DerivativeLoss(Loss):
    """The mean square error of the gradient or the Laplacian, as in SIREN (arXiv 2006.09661, section 4.2).

    It is relative to the mean square of the data. Values are held where they are known by their own mean square error,
    or else at their mean.

    Args:
        derivatives: what is fitted.
    """

    def __init__(self, derivatives: Derivatives) -> None:
        self.derivatives = derivatives
        self._weight = 1 / derivatives.mean_square

    def outputs(self, field: Field, coords: Float[Tensor, "n d"]) -> dict[str, Tensor]:
        """Return the field's ``values`` [n, c] and ``derivatives`` [n, c, k] at coordinates [n, d]."""
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            coords = coords.detach().requires_grad_(True)
            values = field(coords)
            if self.derivatives.kind == "gradient":
                return {"values": values, "derivatives": compute_jacobian(values, coords, graph)}
            second = compute_hessian(values, coords, graph).diagonal(dim1=-2, dim2=-1)
        axes = zip(second.unbind(-1), self.derivatives.stretch, strict=True)
        stretched = torch.stack([along * stretch for along, stretch in axes], dim=-1)
        return {"values": values, "derivatives": stretched.sum(-1, keepdim=True)}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the error of the derivatives, and that of the ``known`` values or of the ``mean`` of the values."""
        data, error = batch["derivatives"], outputs["values"] - batch["values"]
        lacking = torch.where(data.isnan(), 0.0, outputs["derivatives"] - data)
        terms = {self.derivatives.kind: self._weight * lacking.square().mean()}
        if self.derivatives.known is None:
            return terms | {"mean": error.mean(0).square().mean()}
        known = batch["known"]
        return terms | {
            "known": KNOWN_WEIGHT * (known * error.square()).sum() / (known.sum() * error.shape[1]).clamp(min=1)
        }

    def share_terms(self, field: Field, batch: Batch, share: Share) -> dict[str, Tensor]:
        """Return a process's share of `training_terms`; two of the terms are no means over the rows of a batch."""
        if share.count == 1:
            return self.training_terms(field, batch)
        own, weight = share.split(batch)
        outputs = self.outputs(field, own["coords"])
        terms = {name: weight * term for name, term in self.terms(outputs, own).items()}
        channels = batch["values"].shape[1]
        if self.derivatives.known is None:
            error = weight * (outputs["values"] - own["values"]).mean(0)
            whole = share.add(error.detach())
            # It adds up to the square of the whole mean, and so do the gradients.
            return terms | {"mean": (whole * (2 * error - weight * whole)).mean()}
        known, all_known = ((rows["known"].sum() * channels).clamp(min=1) for rows in (own, batch))
        rows = len(batch["coords"]) * weight / len(own["coords"])  # less than 1 where each process has all rows
        return terms | {"known": terms["known"] / weight * rows * known / all_known}


class DistanceLoss(Loss):
    """The loss of a signed distance in the unit cube, negative inside.

    Args:
        options: weights and limits of the terms.
        of_cloud: whether the target is a point cloud; if not, it is a mesh.
    """

    def __init__(self, options: DistanceOptions, of_cloud: bool) -> None:
        self.options, self.of_cloud = options, of_cloud
        normal, eikonal = options.normal_weight, options.eikonal_weight
        self.normal_weight = CLOUD_NORMAL_WEIGHT * of_cloud if normal is None else normal
        self.eikonal_weight = CLOUD_EIKONAL_WEIGHT * of_cloud if eikonal is None else eikonal

    def select(self, field: Function, batch: Batch, share: Share = ALONE) -> Batch:
        """Return the points with the greatest errors for a mesh, and all points for a point cloud.

        Finding those points takes about a third of the time that training on them takes.
        """
        if self.of_cloud or self.options.hardest == 1:
            return batch
        own = share.rows(len(batch["coords"]))
        with torch.no_grad():
            error = (field(batch["coords"][own]) - batch["values"][own]).abs()[:, 0]
        error = share.gather(error, len(batch["coords"]))
        rows = error.topk(max(1, round(len(error) * self.options.hardest))).indices
        return {name: values.index_select(0, rows) for name, values in batch.items()}

    def outputs(self, field: Function, coords: Float[Tensor, "n 3"]) -> dict[str, Tensor]:
        """Return ``values`` [n, 1], and if a term needs them, their ``gradients`` [n, 3] by the coordinates."""
        if not (self.normal_weight or self.eikonal_weight):
            return {"values": field(coords)}
        training = torch.is_grad_enabled()
        with torch.enable_grad():
            coords = coords.detach().requires_grad_(True)
            values = field(coords)
            (gradients,) = torch.autograd.grad(values.sum(), coords, create_graph=training)
        return {"values": values, "gradients": gradients}

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the terms that compare values, and the normal and eikonal terms where their weights are not 0."""
        compute_terms = self._compute_cloud_terms if self.of_cloud else self._compute_mesh_terms
        terms = compute_terms(outputs["values"], batch)
        if self.normal_weight:
            cosine = torch.nn.functional.cosine_similarity(outputs["gradients"], batch["normals"], dim=-1)
            on_surface = batch["normals"].any(-1)
            terms["normal"] = self.normal_weight * torch.where(on_surface, 1 - cosine, 0.0).mean()
        if self.eikonal_weight:
            terms["eikonal"] = self.eikonal_weight * (outputs["gradients"].norm(dim=-1) - 1).abs().mean()
        return terms

    def _compute_mesh_terms(self, fitted: Float[Tensor, "n 1"], batch: Batch) -> dict[str, Tensor]:
        """Return the mean absolute errors of clamped (DeepSDF, arXiv 1901.05103, eq. 4) and of full distances."""
        truth, limit = batch["values"], self.options.truncation
        return {
            "sdf_near": (fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)).abs().mean(),
            "sdf_all": self.options.far_weight * (fitted - truth).abs().mean(),
        }

    def _compute_cloud_terms(self, fitted: Float[Tensor, "n 1"], batch: Batch) -> dict[str, Tensor]:
        """Return SIREN's terms, and the error of the distance that is estimated from the points.

        SIREN's terms are those of arXiv 2006.09661, section 4.2, with the weights of `loss_functions.sdf` in its code.
        Its off-surface term ``exp(-100 |f|)`` rewards large values of the wrong sign too. Where the distance error is
        used beside it, this term therefore treats a value of the wrong sign like zero.
        """
        options, truth, on_surface = self.options, batch["values"], batch["on_surface"] > 0
        height = (fitted * truth.sign()).clamp(min=0) if options.distance_weight else fitted.abs()
        return {
            "on_surface": options.on_surface_weight * torch.where(on_surface, fitted.abs(), 0.0).mean(),
            "off_surface": options.off_surface_weight
            * torch.where(on_surface, 0.0, torch.exp(-OFF_SURFACE_DECAY * height)).mean(),
            "distance": options.distance_weight * torch.where(on_surface, 0.0, (fitted - truth).abs()).mean(),
        }
