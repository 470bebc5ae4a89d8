"""The base class of the models of shapes and volumes, which shows the surfaces of fit and target and a slice."""

from collections.abc import Callable
from functools import cached_property, partial
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
from ..viewer.color_legend import diverging, error_colors
from ..viewer.shading import BACKGROUND, FLAT, SHADINGS, Seen, shade
from .base import SignalModel
from .grid import within

Paint = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 3"]]
Value = Callable[[Float[Tensor, "n 3"]], Float[Tensor, " n"]]
ValueAndGradient = Callable[[Float[Tensor, "n 3"]], tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]]
DISTANCE, COLORS = "distance", "colours"
"""The errors that can be shown."""


class SurfaceModel(SignalModel):
    """A model of a field that has a surface.

    A kind of signal calls `add_controls` and overrides `level`, `above_level`, `above_level_and_gradient`,
    `see_target`, `target_light` and `target_distance`.
    """

    sides = 4
    room = 1.0
    """The first camera's distance, relative to that from which a whole shape is visible."""

    @classmethod
    def cameras(cls, options: Any) -> Cameras:
        """Return cameras all around, the first of them facing a corner, with the axis up that the options name."""
        return look_at_origin(cls.room * orbit(options.up, SIDES), options.up)

    def add_controls(self, error_range: float) -> None:
        """Add the viewer's controls of the surfaces and the slice.

        Args:
            error_range: error that gets the strongest colour, in the input's units.
        """
        styles = [*SHADINGS, *([FLAT] if self.fit_paint is not None else [])]
        self.shading = ViewerDropdown("Shading", SHADINGS[0], styles, hint="Light of rgb and target")
        self.slice_axis = ViewerDropdown("Slice axis", "z", ["x", "y", "z"], hint=f"What the plane of {self.cut} cuts")
        self.slice_position = ViewerSlider(
            "Slice position", 0.0, -1.0, 1.0, 0.01, hint=f"Where it stands along that axis; {self.extent}"
        )
        self.error_range = ViewerNumber("Error range", error_range, hint="What the strongest colour is")
        if self.fit_paint is not None:
            hint = "What error compares on the surface: its distance from the target, or the colours"
            self.compared = ViewerDropdown("Error of", DISTANCE, [DISTANCE, COLORS], hint=hint)
        controls = self.iso_level, self.shading, self.error_range, self.compared
        self._at_first = {id(control): self.read(control) for control in controls if control is not None}
        self._grid: tuple[object, DistanceGrid] | None = None

    iso_level: ViewerSlider
    """The level whose surface is shown, in the input's units."""
    cut: str
    """Name of the outputs that show a slice, for the viewer's hints."""
    extent: str
    """Range along an axis in which a slice shows something, for the viewer's hints."""

    fit_paint: Paint | None = None
    """Returns the fitted colours [n, 3] of points of the unit cube [n, 3], if there are any."""
    target_paint: Paint | None = None
    """Returns the target's colours."""
    compared: "ViewerDropdown[str] | None" = None
    """Which error is shown, of `DISTANCE` or of `COLORS`, if there are colours."""

    @property
    def compares_colors(self) -> bool:
        """Return whether the viewer shows the error of the colours."""
        return self.compared is not None and self.read(self.compared) == COLORS

    @property
    def greatest_error(self) -> float:
        """Return the error that gets the strongest colour, in the input's units; a user may type a negative one."""
        return abs(float(self.read(self.error_range)))

    def read(self, control: Any) -> Any:
        """Return the value of one of the controls of the surfaces, see `takes_pictures`."""
        if self.takes_pictures:
            return self._at_first[id(control)]
        return within(control) if isinstance(control, ViewerSlider) else control.value

    @property
    def level(self) -> float:
        """Return the level whose surface is shown."""
        raise NotImplementedError

    @property
    def half_extents(self) -> tuple[float, ...]:
        """Return half the side lengths of the box in which a slice shows something."""
        return (1.0, 1.0, 1.0)

    def above_level(self, points: Float[Tensor, "n 3"], level: float | None = None) -> Float[Tensor, " n"]:
        """Return the approximate distance of points of the unit cube from the fitted surface, positive outside.

        Args:
            points: the points.
            level: that of the surface, the one that is shown if left out.
        """
        raise NotImplementedError

    def above_level_and_gradient(
        self, points: Float[Tensor, "n 3"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return `above_level` and its gradient."""
        raise NotImplementedError

    def see_target(self, rays: RayBundle) -> Seen:
        """Return what is seen of the target's surface along a flat bundle of rays, all of it whatever is cropped."""
        raise NotImplementedError

    def fit_light(self) -> DistanceGrid:
        """Return a grid of the distance from the fitted surface, for its light."""
        return self.distance_grid()

    def target_light(self) -> DistanceGrid:
        """Return a grid of the distance from the target's surface, for its light."""
        raise NotImplementedError

    def target_distance(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Return the distance of points from the target's surface, positive outside, unit-cube lengths."""
        raise NotImplementedError

    def distance_grid(self) -> DistanceGrid:
        """Return the grid of `above_level`, which is kept until the field or the level changes."""
        level = self.level  # a user may move its control meanwhile
        state = level, *(parameter._version for parameter in self.field.parameters())
        if self._grid is None or self._grid[0] != state:
            self._grid = state, DistanceGrid.of(partial(self.above_level, level=level), self.device)
        return self._grid[1]

    def pictures(self, signal: Signal, camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:
        """Return pictures of the target's and the fit's surface in the same light, and of their distance."""
        names = {"target": "target", "fit": "rgb", "error": "error"}
        self.takes_pictures = True
        try:
            outputs = self.get_outputs_for_camera(camera.to(self.device))
            return {name: outputs[output].cpu() for name, output in names.items()}
        finally:
            self.takes_pictures = False


def trace(rays: RayBundle, function: Value, gradient: ValueAndGradient, grid: DistanceGrid) -> Seen:
    """Find the zero surface of a function that is approximately a distance, along a flat bundle of rays.

    Args:
        rays: the rays; parts of the surface outside their `nears` and `fars`, if they have any, are not seen.
        function: returns the function's values [n] at points of the unit cube [n, 3].
        gradient: returns those values [n] and the function's gradients [n, 3].
        grid: the distance grid of the function.

    Returns:
        What is seen of the surface along each ray.
    """
    near, far = box_interval(rays.origins, rays.directions, *grid.box)
    if rays.nears is not None and rays.fars is not None:
        near, far = torch.maximum(near, rays.nears.reshape(-1)), torch.minimum(far, rays.fars.reshape(-1))
    # The size of a pixel near the surface, estimated from the first ray.
    detail = float(rays.pixel_area[0, 0].sqrt() * rays.origins[0].norm())
    hits = sphere_trace(function, gradient, grid, rays.origins, rays.directions, near, far, detail)
    normals = hits.gradient
    normals[hits.hit] = torch.nn.functional.normalize(normals[hits.hit], dim=-1)
    return Seen(hits.depth, hits.hit, normals)


class View:
    """A view of the fit and its target along given rays; each surface is traced once for all outputs.

    Args:
        model: model whose fit and target are shown.
        rays: flat bundle of rays; parts of the fit outside its `nears` and `fars`, if it has any, are not seen.
    """

    def __init__(self, model: SurfaceModel, rays: RayBundle) -> None:
        self.model, self.rays = model, rays
        self.origins, self.directions = rays.origins, rays.directions

    def outputs(self) -> dict[str, Callable[[], Tensor]]:
        """Return functions that compute the outputs of the surfaces, by name."""
        return {
            "rgb": lambda: self.shaded(self.fit, self.model.fit_light(), self.model.fit_paint),
            "normals": lambda: torch.where(self.fit.hit[:, None], (self.fit.normals + 1) / 2, BACKGROUND),
            "depth": lambda: self.fit.depth[:, None],
            "accumulation": lambda: self.fit.hit[:, None].to(self.origins),
            "target": lambda: self.shaded(self.target, self.model.target_light(), self.model.target_paint),
            "error": self.error,
        }

    @cached_property
    def fit(self) -> Seen:
        """Return what is seen of the fitted surface at the model's level."""
        model = self.model
        return trace(self.rays, model.above_level, model.above_level_and_gradient, model.distance_grid())

    @cached_property
    def target(self) -> Seen:
        """Return what is seen of the target's surface."""
        return self.model.see_target(self.rays)

    def shaded(self, seen: Seen, grid: DistanceGrid, paint: Paint | None = None) -> Float[Tensor, "n 3"]:
        """Return the colours of a surface in the light that the viewer's controls select."""
        return shade(
            seen, self.origins, self.directions, grid, self.model.up, self.model.read(self.model.shading), paint
        )

    def error(self) -> Float[Tensor, "n 3"]:
        """Return the colours of the fitted surface by its signed distance from the target, or its colours' error."""
        seen = self.fit
        colors = torch.full_like(self.origins, BACKGROUND)
        points = (self.origins + seen.depth[:, None] * self.directions)[seen.hit]
        facing = (seen.normals * self.directions)[seen.hit].sum(-1, keepdim=True).abs()
        of_points = self.color_error(points) if self.model.compares_colors else self.distance_error(points)
        colors[seen.hit] = of_points * (0.8 + 0.2 * facing)
        return colors

    def distance_error(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the colours of points of the fitted surface by their signed distance from the target."""
        distance = self.model.target_distance(points)
        reach = max(self.model.greatest_error * self.model.signal.normalization.scale, 1e-12)
        return diverging(distance / reach)

    def color_error(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Return the colours of points by how their fitted colour differs from that of the target's nearest point."""
        assert self.model.fit_paint is not None, "they are there where colours are"
        assert self.model.target_paint is not None, "they are there where colours are"
        if not len(points):
            return points
        return error_colors(2 * self.model.fit_paint(points), 2 * self.model.target_paint(points))

    def slice(
        self, paint: Callable[[Float[Tensor, "m 3"], Float[Tensor, " m"]], Float[Tensor, "m 3"]]
    ) -> Float[Tensor, "n 3"]:
        """Return the colours of the plane that the viewer's controls select, within the model's box.

        Args:
            paint: returns the colours [m, 3] of points of the plane [m, 3], from the points and the size of a pixel
                at each of them [m].
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
    """Return the part of each pixel, from 0 to 1, that is covered by the line where a distance is 0.

    Args:
        distance: distance of each pixel from the line.
        pixel: size of each pixel, in the unit of the distance.
        width: width of the line, in pixels.
    """
    return (0.5 + width / 2 - distance.abs() / pixel).clamp(0, 1)[:, None]
