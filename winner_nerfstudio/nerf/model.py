"""What the models of all kinds of signals share: field, initialisation, bookkeeping."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import tyro
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn import Parameter

from ..fields import Field
from ..signals.signal import Signal
from ..winner import NoiseSchedule, siren_init_, winner_init_

SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "default": NoiseSchedule.default,
    "paper": NoiseSchedule.paper,
    "reference": NoiseSchedule.reference,
}
"""Schedules by their name on the command line; "fixed" takes s0 and s1 besides."""


@dataclass
class NoiseConfig:
    """WINNER's noise."""

    schedule: Literal["default", "paper", "reference", "fixed"] = "default"
    """Rule from the target's spectral centroid to the two noise scales; "fixed" takes s0 and s1 as given."""
    s0: float | None = None
    """Noise scale of the first layer; with s1, overrides the schedule."""
    s1: float | None = None
    """Noise scale of the second layer; with s0, overrides the schedule."""

    def problem(self) -> str | None:
        """What is wrong with the combination, in one line, or None."""
        if (self.s0 is None) != (self.s1 is None):
            return "--pipeline.model.noise.s0 and --pipeline.model.noise.s1 go together: give both or neither"
        if self.schedule == "fixed" and self.s0 is None:
            return "--pipeline.model.noise.schedule fixed needs --pipeline.model.noise.s0 and --pipeline.model.noise.s1"
        if self.s0 is not None and self.schedule not in ("default", "fixed"):
            return f"--pipeline.model.noise.schedule {self.schedule} computes s0 and s1; leave them out, or use fixed"
        if any(s is not None and not 0 <= s < float("inf") for s in (self.s0, self.s1)):
            return f"noise scales s0={self.s0} and s1={self.s1} must be finite and not negative"
        return None


@dataclass
class SignalModelConfig(ModelConfig):
    """A sine network and its initialisation."""

    _target: type = field(default_factory=lambda: SignalModel)
    num_layers: int = 4
    """Number of sine layers."""
    hidden_dim: int = 256
    """Width of each sine layer."""
    omega_0: float = 30.0
    """Frequency of the sine layers from the second on."""
    first_omega_0: float = 30.0
    """Frequency of the first sine layer."""
    init: Literal["winner", "siren"] = "winner"
    """Initialisation: SIREN's with WINNER's noise, or SIREN's alone."""
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    """WINNER's noise."""
    eval_num_rays_per_chunk: int = 1 << 15
    """Rays per chunk when a picture is rendered."""
    enable_collider: tyro.conf.Suppress[bool] = False
    collider_params: tyro.conf.Suppress[dict[str, float] | None] = None
    loss_coefficients: tyro.conf.Suppress[dict[str, float]] = field(default_factory=dict)
    prompt: tyro.conf.Suppress[str | None] = None

    def problem(self) -> str | None:
        """What is wrong with the model's options, in one line, or None."""
        if self.num_layers < 2 or self.hidden_dim < 1:
            return f"num_layers={self.num_layers} must be at least 2 and hidden_dim={self.hidden_dim} at least 1"
        if not (0 < self.omega_0 < float("inf") and 0 < self.first_omega_0 < float("inf")):
            return f"omega_0={self.omega_0} and first_omega_0={self.first_omega_0} must be positive and finite"
        if self.init == "siren" and self.noise != NoiseConfig():
            return "--pipeline.model.init siren has no noise; leave --pipeline.model.noise out, or use init winner"
        return self.noise.problem()


class SignalModel(Model):
    """A field that is fitted to samples of a signal.

    A kind of signal sets the class attributes and overrides `loss_terms`, `render`, `evaluate` and `pictures`.

    Args:
        config: the network and its initialisation.
        metadata: ``signal``, and ``initialize``: whether to initialise for it or to await a checkpoint.
    """

    config: SignalModelConfig
    kind: str
    """What the field's values mean."""
    in_dim: int
    out_dim: int
    exports: tuple[str, str]
    """The command of ``winner-export`` that takes the result away, and a suffix for its file."""

    def populate_modules(self) -> None:
        """Build the field and initialise it for the target."""
        super().populate_modules()
        signal: Signal = self.kwargs["metadata"]["signal"]
        config = self.config
        self.last_loss: Tensor | float = float("nan")
        self.progress: dict[str, Any] = {"seconds": 0.0, "points": 0, "init": "none"}
        specification = {
            "name": "siren",
            "in_dim": self.in_dim,
            "out_dim": self.out_dim,
            "hidden_dim": config.hidden_dim,
            "num_layers": config.num_layers,
            "omega_0": config.omega_0,
            "first_omega_0": config.first_omega_0,
        }
        self.field = Field(self.kind, specification, signal.normalization)
        if self.kwargs["metadata"]["initialize"]:
            self.progress["init"] = self._initialize(signal)

    def _initialize(self, signal: Signal) -> str:
        """Initialise the network from the run's seed; returns what was chosen, for the user to read."""
        config, seed = self.config, torch.initial_seed() % 2**62
        if config.init == "siren":
            siren_init_(self.field.network, seed=seed)
            return "siren"
        if config.noise.s0 is not None:
            return str(winner_init_(self.field.network, s0=config.noise.s0, s1=config.noise.s1, seed=seed))
        try:
            schedule = SCHEDULES[config.noise.schedule]()
            return str(winner_init_(self.field.network, centroid=signal.centroid, schedule=schedule, seed=seed))
        except ValueError as error:
            raise SystemExit(f"error: {error}") from None

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint keeps besides weights: seconds and points trained, and the initialisation used."""
        return dict(self.progress)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up the bookkeeping of a checkpoint."""
        self.progress = dict(state)

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """One group, ``fields``."""
        return {"fields": list(self.field.network.parameters())}

    def get_outputs(self, ray_bundle: RayBundle | Cameras | Float[Tensor, "n d"]) -> dict[str, Any]:
        """``values`` [n, c] at coordinates [n, d] in training, or the picture along a bundle of rays."""
        if isinstance(ray_bundle, Tensor):
            return {"values": self.field(ray_bundle)}
        if isinstance(ray_bundle, RayBundle):
            return self.render(ray_bundle)
        raise TypeError(f"expected coordinates or rays, got {type(ray_bundle).__name__}")

    def get_loss_dict(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor], metrics_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The terms of the loss; their sum is kept for the progress display, on the device."""
        terms = self.loss_terms(outputs["values"], batch["values"])
        if self.training:
            self.last_loss = sum(term.detach() for term in terms.values())
        return terms

    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """No figures, and the rendered colours [h, w, 3] in [0, 1]."""
        return {}, {"fit": outputs["rgb"]}

    def loss_terms(self, fitted: Float[Tensor, "n c"], truth: Float[Tensor, "n c"]) -> dict[str, Tensor]:
        """The weighted terms of the loss, by name."""
        raise NotImplementedError

    def render(self, rays: RayBundle) -> dict[str, Tensor]:
        """What the viewer shows along rays; must hold ``rgb`` [n, 3], ``depth`` [n, 1] and ``accumulation`` [n, 1]."""
        raise NotImplementedError

    def evaluate(self, signal: Signal) -> dict[str, float]:
        """Figures of the fit against the target."""
        raise NotImplementedError

    def pictures(self, signal: Signal, camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:
        """Pictures of target and fit that compare at a glance, [h, w, 3] in [0, 1], all of one size."""
        raise NotImplementedError
