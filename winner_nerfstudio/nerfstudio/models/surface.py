"""What the models of shapes and volumes share: a fitted surface beside its target's, and a plane through both."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.viewer.viewer_elements import ViewerDropdown, ViewerNumber, ViewerSlider
from torch import Tensor

from ...signals.signal import Signal
from ...surfaces.distance_grid import DistanceGrid
from ...surfaces.sphere_tracing import box_interval, sphere_trace
from ..viewer.cameras import SIDES, look_at_origin, orbit
from ..viewer.shading import BACKGROUND, SHADINGS, Seen, diverging, shade
from .base import SignalModel

Value = Callable[[Float[Tensor, "n 3"]], Float[Tensor, " n"]]
ValueAndGradient = Callable[[Float[Tensor, "n 3"]], tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]]


class SurfaceModel(SignalModel):
    """A model whose fit has an inside.

    A kind of signal calls `add_controls` and overrides `level`, `above_level`, `above_level_and_gradient`,
    `see_target`, `target_light` and `target_distance`.
    """

    sides = 4
    room = 1.0
    """The first camera's distance, relative to that from which all of a shape is in frame."""

    @classmethod
    def cameras(cls, options: Any) -> Cameras:
        """Return cameras all around, with the axis up that the options name, from a corner on."""
        return look_at_origin(cls.room * orbit(options.up, SIDES), options.up)

    def add_controls(self, error_range: float) -> None:
        """Set up what the viewer lets its user choose; `error_range` is a length in the input's units."""
        self.shading = ViewerDropdown("Shading", SHADINGS[0], list(SHADINGS), hint="Light of rgb and target")
        self.slice_axis = ViewerDropdown("Slice axis", "z", ["x", "y", "z"], hint=f"What the plane of {self.cut} cuts")
        self.slice_position = ViewerSlider(
            "Slice position", 0.0, -1.0, 1.0, 0.01, hint=f"Where it stands along that axis; {self.extent}"
        )
        self.error_range = ViewerNumber("Error range", error_range, hint="What the strongest colour is")
        self._grid: tuple[object, DistanceGrid] | None = None

    cut: str
    """Name of the output that shows a plane."""
    extent: str
    """Where along an axis there is something to cut."""

    @property
    def level(self) -> float:
        """The level that is looked at."""
        raise NotImplementedError

    @property
    def half_extents(self) -> tuple[float, ...]:
        """Half the sides of the box in which there is something to cut."""
        return (1.0, 1.0, 1.0)

    def above_level(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """How far outside of the fitted surface points of the unit cube lie; need only be about a distance."""
        raise NotImplementedError

    def above_level_and_gradient(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """As `above_level`, and its gradient."""
        raise NotImplementedError

    def see_target(self, rays: RayBundle) -> Seen:
        """The target's surface along a flat bundle of rays."""
        raise NotImplementedError

    def fit_light(self) -> DistanceGrid:
        """How far the fitted surface is from anywhere."""
        return self.distance_grid()

    def target_light(self) -> DistanceGrid:
        """How far the target's surface is from anywhere."""
        raise NotImplementedError

    def target_distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """How far outside of the target's surface points lie, unit-cube lengths."""
        raise NotImplementedError

    def distance_grid(self) -> DistanceGrid:
        """The grid of the field as it stands, less the level; kept until either changes."""
        state = self.level, *(parameter._version for parameter in self.field.parameters())
        if self._grid is None or self._grid[0] != state:
            self._grid = state, DistanceGrid.of(self.above_level, self.device)
        return self._grid[1]

    def pictures(self, signal: Signal, camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:
        """The target's and the fit's surface under the same light, and the distance of one from the other."""
        outputs = self.get_outputs_for_camera(camera.to(self.device))
        names = {"target": "target", "fit": "rgb", "error": "error"}
        return {name: outputs[output].cpu() for name, output in names.items()}


def trace(rays: RayBundle, function: Value, gradient: ValueAndGradient, grid: DistanceGrid) -> Seen:
    """The zero surface of a function that is about a distance, along a flat bundle of rays.

    Args:
        rays: their `nears` and `fars`, if they have any, cut the surface open.
        function: at points of the unit cube, [n].
        gradient: the same, [n], and its gradient.
        grid: of that function.
    """
    near, far = box_interval(rays.origins, rays.directions, *grid.box)
    if rays.nears is not None and rays.fars is not None:
        near, far = torch.maximum(near, rays.nears.reshape(-1)), torch.minimum(far, rays.fars.reshape(-1))
    # A pixel, where the surface is; the first ray stands for all.
    detail = float(rays.pixel_area[0, 0].sqrt() * rays.origins[0].norm())
    hits = sphere_trace(function, gradient, grid, rays.origins, rays.directions, near, far, detail)
    normals = hits.gradient
    normals[hits.hit] = torch.nn.functional.normalize(normals[hits.hit], dim=-1)
    return Seen(hits.depth, hits.hit, normals)


class View:
    """One look at the fit and at its target; what has been found along the rays serves all outputs.

    Args:
        model: what is looked at.
        rays: a flat bundle; its `nears` and `fars`, if it has any, cut the fit open.
    """

    def __init__(self, model: SurfaceModel, rays: RayBundle) -> None:
        self.model, self.rays = model, rays
        self.origins, self.directions = rays.origins, rays.directions

    def outputs(self) -> dict[str, Callable[[], Tensor]]:
        """What there is to see of the surfaces, by name."""
        return {
            "rgb": lambda: self.shaded(self.fit, self.model.fit_light()),
            "normals": lambda: torch.where(self.fit.hit[:, None], (self.fit.normals + 1) / 2, BACKGROUND),
            "depth": lambda: self.fit.depth[:, None],
            "accumulation": lambda: self.fit.hit[:, None].to(self.origins),
            "target": lambda: self.shaded(self.target, self.model.target_light()),
            "error": self.error,
        }

    @cached_property
    def fit(self) -> Seen:
        """The fitted surface at the level that was chosen."""
        model = self.model
        return trace(self.rays, model.above_level, model.above_level_and_gradient, model.distance_grid())

    @cached_property
    def target(self) -> Seen:
        """The target's surface."""
        return self.model.see_target(self.rays)

    def shaded(self, seen: Seen, grid: DistanceGrid) -> Float[Tensor, "n 3"]:
        """A surface in the light that was chosen."""
        return shade(seen, self.origins, self.directions, grid, self.model.up, self.model.shading.value)

    def error(self) -> Float[Tensor, "n 3"]:
        """The fitted surface, coloured by its signed distance from the target."""
        seen = self.fit
        colors = torch.full_like(self.origins, BACKGROUND)
        points = (self.origins + seen.depth[:, None] * self.directions)[seen.hit]
        distance = self.model.target_distance(points)
        facing = (seen.normals * self.directions)[seen.hit].sum(-1, keepdim=True).abs()
        reach = max(self.model.error_range.value * self.model.signal.normalization.scale, 1e-12)
        colors[seen.hit] = diverging(distance / reach) * (0.8 + 0.2 * facing)
        return colors

    def slice(
        self, paint: Callable[[Float[Tensor, "m 3"], Float[Tensor, " m"]], Float[Tensor, "m 3"]]
    ) -> Float[Tensor, "n 3"]:
        """The plane that was chosen, where it lies within the model's box.

        Args:
            paint: gives the colours of points of the plane, told how long a pixel is there.
        """
        model = self.model
        axis = "xyz".index(model.slice_axis.value)
        half = self.origins.new_tensor(model.half_extents)
        position = model.slice_position.value * model.half_extents[axis]
        across = self.directions[:, axis]
        along = (position - self.origins[:, axis]) / torch.where(across.abs() < 1e-9, 1e-9, across)
        points = self.origins + along[:, None] * self.directions
        points[:, axis] = position
        hit = (along > 0) & (points.abs() <= half).all(-1)
        colors = torch.full_like(self.origins, BACKGROUND)
        colors[hit] = paint(points[hit], along[hit] * self.rays.pixel_area[hit, 0].sqrt())
        return colors


def line(distance: Float[Tensor, " m"], pixel: Float[Tensor, " m"], width: float) -> Float[Tensor, "m 1"]:
    """How much of each pixel a line covers that lies at distance 0 and is `width` pixels wide, 0 to 1."""
    return (0.5 + width / 2 - distance.abs() / pixel).clamp(0, 1)[:, None]
