"""The model of a shape: a signed distance, looked at by sphere tracing."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from ..fields.sphere_tracing import cube_interval, sphere_trace
from .datamanager import DrawnDataManagerConfig, subcommand
from .dataparsers import ShapeDataParserConfig
from .model import SignalModel, SignalModelConfig

if TYPE_CHECKING:
    from ..signals.shape import Shape

SURFACE_COLOR = (0.80, 0.83, 0.88)
BACKGROUND = 1.0
LAMP = (0.48, 0.64, 0.6)
"""Direction towards the lamp, of unit length."""


ShapeData = subcommand("shape-data", ShapeDataParserConfig)


@dataclass
class ShapeDataManagerConfig(DrawnDataManagerConfig):
    """Points of a shape, near its surface for the most part."""

    dataparser: ShapeDataParserConfig = field(default_factory=ShapeDataParserConfig)
    short: ShapeData = field(default_factory=ShapeDataParserConfig)  # type: ignore[valid-type]


@dataclass
class SDFModelConfig(SignalModelConfig):
    """A signed distance function."""

    _target: type = field(default_factory=lambda: SDFModel)
    truncation: float = 0.1
    """Distances are clamped to this, either way, before they are compared (unit-cube lengths): detail before depth."""
    far_weight: float = 1.0
    """Weight of the error without the clamp, beside 1 for that with it; it keeps the far field a distance."""
    eval_resolution: int = 128
    """Samples per axis of the surface that evaluation measures."""

    def problem(self) -> str | None:
        """What is wrong with the model's options, in one line, or None."""
        if not (self.truncation > 0 and self.far_weight >= 0 and self.eval_resolution >= 3):
            return (
                f"truncation={self.truncation} must be positive, far_weight={self.far_weight} not negative and"
                f" eval_resolution={self.eval_resolution} at least 3"
            )
        if self.noise.schedule in ("paper", "reference"):
            return (
                f"--pipeline.model.noise.schedule {self.noise.schedule} has no rule for shapes; use default, or fixed"
                " with s0 and s1"
            )
        return super().problem()


class SDFModel(SignalModel):
    """Fits signed distances (negative inside) in the unit cube."""

    config: SDFModelConfig
    exports = "mesh"

    def loss_terms(self, fitted: Float[Tensor, "n 1"], truth: Float[Tensor, "n 1"]) -> dict[str, Tensor]:
        """Mean absolute error of truncated distances (DeepSDF, arXiv 1901.05103, eq. 4), and of all."""
        limit = self.config.truncation
        return {
            "sdf_near": (fitted.clamp(-limit, limit) - truth.clamp(-limit, limit)).abs().mean(),
            "sdf_all": self.config.far_weight * (fitted - truth).abs().mean(),
        }

    @torch.no_grad()
    def render(self, rays: RayBundle) -> dict[str, Tensor]:
        """Shaded surface, normals, depth and accumulation along rays; with a crop box, the cut surface."""
        origins, directions = rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3)
        near, far = cube_interval(origins, directions)
        if rays.nears is not None and rays.fars is not None:
            near, far = torch.maximum(near, rays.nears.reshape(-1)), torch.minimum(far, rays.fars.reshape(-1))
        hits = sphere_trace(lambda x: self.field(x)[:, 0], origins, directions, near, far)
        normals = torch.zeros_like(origins)
        points = origins[hits.hit] + hits.depth[hits.hit, None] * directions[hits.hit]
        normals[hits.hit] = torch.nn.functional.normalize(self.field.gradient(points), dim=-1)
        return {
            "rgb": shade(normals, directions, hits.hit),
            "normals": torch.where(hits.hit[:, None], (normals + 1) / 2, BACKGROUND),
            "depth": hits.depth[:, None],
            "accumulation": hits.hit[:, None].to(origins.dtype),
        }

    def evaluate(self, signal: "Shape") -> dict[str, float]:  # type: ignore[override]
        """Volume figures, and those of the surface extracted at `eval_resolution` where there is one."""
        from ..fields.surface import EmptySurfaceError, extract_surface
        from ..metrics.shape import surface_figures, volume_figures

        figures = volume_figures(self.field.evaluate, signal)
        with suppress(EmptySurfaceError):  # iou is 0 then, and there is no surface to measure
            figures |= surface_figures(extract_surface(self.field.evaluate, self.config.eval_resolution), signal)
        return figures

    def pictures(self, signal: "Shape", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """The target's and the fit's surface under the same light."""
        camera = camera.to(self.device)
        rays = camera.generate_rays(camera_indices=0)
        directions = rays.directions.reshape(-1, 3).cpu()
        normals, hit = signal.cast_rays(rays.origins.reshape(-1, 3).cpu().numpy(), directions.numpy())
        target = shade(torch.from_numpy(normals.astype(np.float32)), directions, torch.from_numpy(hit))
        fit = self.get_outputs_for_camera(camera)["rgb"].cpu()
        return {"target": target.reshape(fit.shape), "fit": fit}


def shade(
    normals: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], hit: Bool[Tensor, " n"]
) -> Float[Tensor, "n 3"]:
    """Colours of a matt surface, lit from the camera and by a lamp afar, over a plain background."""
    facing = (normals * directions).sum(-1, keepdim=True).abs()
    lamp = (normals * torch.tensor(LAMP, device=normals.device)).sum(-1, keepdim=True)
    light = 0.15 + 0.55 * facing + 0.15 * (lamp + 1)
    color = (light * torch.tensor(SURFACE_COLOR, device=normals.device)).clamp(0, 1)
    return torch.where(hit[:, None], color, BACKGROUND)
