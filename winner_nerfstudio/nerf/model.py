"""What the models of all kinds of signals share: field, initialisation, bookkeeping."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
import tyro
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor
from torch.nn import Parameter

from ..fields import Field
from ..networks import NETWORKS, build_network
from ..signals.signal import Signal
from ..winner import SCHEDULES, siren_init_, winner_init_
from .viewer import Screen, upwards

if TYPE_CHECKING:
    ScheduleName: TypeAlias = str
    NetworkName: TypeAlias = str
else:
    ScheduleName = Literal[(*SCHEDULES, "fixed")]
    NetworkName = Literal[tuple(NETWORKS)]

SINE_NETWORKS = ("siren", "siren-rff")
"""Networks that WINNER's noise is made for."""


@dataclass
class NoiseConfig:
    """WINNER's noise."""

    schedule: ScheduleName = "default"
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
    """A network and its initialisation."""

    _target: type = field(default_factory=lambda: SignalModel)
    network: NetworkName = "siren"
    """Kind of network; those other than siren are there to be compared with."""
    num_layers: int = 4
    """Number of hidden layers."""
    hidden_dim: int = 256
    """Width of each hidden layer."""
    omega_0: float | None = None
    """Frequency of the layers from the second on; the network's own default if left out, 30 for siren."""
    first_omega_0: float | None = None
    """Frequency of the first layer; the network's own default if left out, 30 for siren."""
    network_args: dict[str, float] = field(default_factory=dict)
    """More arguments of the network by name, such as "a 0.1" for gauss."""
    init: Literal["auto", "winner", "siren"] = "auto"
    """Initialisation: SIREN's with WINNER's noise, or SIREN's alone; auto is WINNER's for siren, and the network's own
    for any other."""
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
        if self.network not in NETWORKS:
            return f"network={self.network} is not one of: {', '.join(NETWORKS)}"
        takes = [name for name in signature(NETWORKS[self.network]).parameters if name not in _COMMON]
        for name in self.own_arguments():
            if name not in takes:
                return f"--pipeline.model.network {self.network} has no {name}; it takes {', '.join(takes) or 'none'}"
        try:
            build_network(**self.specification(1, 1) | {"hidden_dim": 8})
        except (ValueError, TypeError, RuntimeError) as error:
            return f"--pipeline.model.network {self.network}: {' '.join(str(error).split())[:200]}"
        if self.init != "auto" and self.network not in SINE_NETWORKS:
            return (
                f"--pipeline.model.init {self.init} is for {' and '.join(SINE_NETWORKS)}; {self.network} has its own,"
                " so leave it out"
            )
        if not self.has_noise and self.noise != NoiseConfig():
            return (
                f"init {self.init} of {self.network} has no noise; leave --pipeline.model.noise out, or use init winner"
            )
        return self.noise.problem()

    @property
    def has_noise(self) -> bool:
        """Whether the initialisation is WINNER's."""
        return self.init == "winner" or (self.init == "auto" and self.network == "siren")

    def own_arguments(self) -> dict[str, float]:
        """Arguments of the network that were given and that not all networks have."""
        omegas = {"omega_0": self.omega_0, "first_omega_0": self.first_omega_0}
        # A whole number stands for a count, which some arguments are.
        given = {name: int(value) if value % 1 == 0 else value for name, value in self.network_args.items()}
        return given | {name: value for name, value in omegas.items() if value is not None}

    def specification(self, in_dim: int, out_dim: int) -> dict[str, Any]:
        """The arguments of `build_network`."""
        return {
            "name": self.network,
            "in_dim": in_dim,
            "out_dim": out_dim,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            **self.own_arguments(),
        }


_COMMON = ("in_dim", "out_dim", "hidden_dim", "num_layers")


class Outputs(MutableMapping[str, Tensor]):
    """What is seen along rays, by name; each is computed when it is first asked for, for most are never looked at.

    Args:
        makers: what computes each output, by name.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers, self._made = dict(makers), dict[str, Tensor]()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._made:
            with torch.no_grad():
                self._made[name] = self._makers[name]()
        return self._made[name]

    def __setitem__(self, name: str, output: Tensor) -> None:
        self._makers[name], self._made[name] = (lambda: output), output

    def __delitem__(self, name: str) -> None:
        del self._makers[name]
        self._made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        return name in self._makers  # the mixin's own would compute it


class SignalModel(Model):
    """A field that is fitted to samples of a signal.

    A kind of signal sets `exports` and overrides `loss_terms`, `render`, `evaluate` and `pictures`.

    Args:
        config: the network and its initialisation.
        metadata: ``signal``; ``initialize``: whether to initialise for it or to await a checkpoint; ``cameras``: the
            first of them takes the pictures.
    """

    config: SignalModelConfig
    exports: str
    """The command of ``winner-export`` that takes the result away."""
    sides = 1
    """From how many sides it is worth a look."""
    up: Float[Tensor, " 3"]

    def populate_modules(self) -> None:
        """Build the field and initialise it for the target."""
        super().populate_modules()
        signal: Signal = self.kwargs["metadata"]["signal"]
        self.signal, self.screen = signal, Screen()
        self.register_buffer("up", upwards(self.kwargs["metadata"]["cameras"]), persistent=False)
        self.last_loss: Tensor | float = float("nan")
        self.progress: dict[str, Any] = {"seconds": 0.0, "points": 0, "init": "none", "best": {}, "history": []}
        specification = self.config.specification(signal.dim, signal.channels)
        seed = torch.initial_seed() % 2**62
        # The network's own draws depend on the run's seed alone, not on what was drawn before.
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            self.field = Field(signal.kind, specification, signal.normalization, signal.record)
        if self.kwargs["metadata"]["initialize"]:
            self.progress["init"] = self._initialize(signal, seed)

    def _initialize(self, signal: Signal, seed: int) -> str:
        """Initialise the network; returns what was chosen, for the user to read."""
        config, network = self.config, self.field.network
        if not config.has_noise:
            if config.network in SINE_NETWORKS:
                siren_init_(network, seed=seed)
            return config.network
        if config.noise.s0 is not None:
            return str(winner_init_(network, s0=config.noise.s0, s1=config.noise.s1, dim=signal.dim, seed=seed))
        try:
            return str(
                winner_init_(
                    network,
                    centroid=signal.centroid,
                    schedule=SCHEDULES[config.noise.schedule](),
                    dim=signal.dim,
                    channels=signal.channels,
                    samples=signal.samples,
                    seed=seed,
                )
            )
        except ValueError as error:
            raise SystemExit(f"error: {error}") from None

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint keeps besides weights: seconds and points trained, the initialisation, the best figures.

        And the history: of each look the step, the mean loss since the one before, and the figures.
        """
        return dict(self.progress)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up the bookkeeping of a checkpoint."""
        self.progress = {"history": []} | state

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """One group, ``fields``."""
        return {"fields": list(self.field.network.parameters())}

    def get_outputs(self, ray_bundle: RayBundle | Cameras | Float[Tensor, "n d"]) -> Mapping[str, Any]:  # type: ignore[override]
        """``values`` [n, c] at coordinates [n, d] in training, or what is seen along a flat bundle of rays."""
        if isinstance(ray_bundle, Tensor):
            return {"values": self.field(ray_bundle)}
        if isinstance(ray_bundle, RayBundle):
            return self.render(ray_bundle)
        raise TypeError(f"expected coordinates or rays, got {type(ray_bundle).__name__}")

    def chosen(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The samples of a batch that a step learns from: all of them."""
        return batch

    def get_outputs_for_camera_ray_bundle(self, camera_ray_bundle: RayBundle) -> Outputs:  # type: ignore[override]
        """What is seen in a picture, [h, w, c] each; those that a viewer is about to show are computed at once."""
        shape, device = camera_ray_bundle.origins.shape[:2], camera_ray_bundle.origins.device
        outputs = self.render(camera_ray_bundle.flatten().to(self.device))

        def frame(name: str) -> Tensor:
            return self.annotate(name, outputs[name].reshape(*shape, -1)).to(device)

        picture = Outputs({name: partial(frame, name) for name in outputs})
        for name in self.screen.names() & set(picture):
            picture[name]
        return picture

    def get_loss_dict(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor], metrics_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The terms of the loss; their sum is kept for the progress display, on the device."""
        terms = self.loss_terms(outputs, batch)
        if self.training:
            self.last_loss = sum(term.detach() for term in terms.values())
        return terms

    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """No figures, and the rendered colours [h, w, 3] in [0, 1]."""
        return {}, {"fit": outputs["rgb"]}

    def loss_terms(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms of the loss, by name, of ``values`` [n, c] against those of the batch."""
        raise NotImplementedError

    def render(self, rays: RayBundle) -> Outputs:
        """What is seen along a flat bundle of rays; must hold ``rgb`` [n, 3], ``depth`` and ``accumulation`` [n, 1]."""
        raise NotImplementedError

    def annotate(self, name: str, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
        """A picture of an output with its legend, if it has one."""
        return picture

    def evaluate(self, signal: Signal) -> dict[str, float]:
        """Figures of the fit against the target."""
        raise NotImplementedError

    def quick_points(self) -> int:
        """How many points `quick_evaluate` looks at."""
        return 0

    def quick_evaluate(self) -> dict[str, float]:
        """Figures that can be had in passing, the greater the better; the run keeps the best of each. None here."""
        return {}

    def pictures(self, signal: Signal, camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:
        """Pictures of target and fit that compare at a glance, [h, w, 3] in [0, 1], all of one size."""
        raise NotImplementedError
