"""The base class of the models of all kinds of signals: field, initialisation and record of the training."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from typing import Annotated, Any

import torch
import tyro
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.utils.rich_utils import CONSOLE
from torch import Tensor
from torch.nn import Parameter

from ...fields.checkpoint import check_progress
from ...progress import working
from ...registry import Kind, Monitor, kind_named
from ...signals.messages import error_line
from ...signals.signal import Signal
from ...training.initialize import (
    build_field,
    collect_parameters,
    companion_network,
    describe_initialization,
    initialize_,
    join_initializations,
)
from ...training.measure import build_monitor, measure
from ...training.options import NetworkOptions
from ...training.share import Share
from ..viewer.cameras import front
from ..viewer.first_view import nearest_up_axis
from ..viewer.visible_outputs import VisibleOutputs

FARTHEST = 16.0
"""Depth of what is behind everything: about the greatest that the viewer can tell from others."""


def build_model(config: "SignalModelConfig", **arguments: Any) -> "SignalModel":
    """Build the model that fits and shows signals of the config's kind."""
    return model_class(kind_named(config.kind))(config, **arguments)


def model_class(kind: Kind) -> type["SignalModel"]:
    """Return the model class that `Kind.views` names."""
    module, _, name = kind.views.partition(":")
    model: type[SignalModel] = getattr(import_module(module), name)
    return model


@dataclass
class SignalModelConfig(ModelConfig):
    """A network and its initialisation."""

    _target: Any = field(default_factory=lambda: build_model)
    kind: tyro.conf.Suppress[str] = ""
    options: Annotated[NetworkOptions, tyro.conf.arg(name="")] = field(default_factory=NetworkOptions)
    """The network, its initialisation and the loss."""
    eval_num_rays_per_chunk: tyro.conf.Suppress[int] = 1 << 15
    enable_collider: tyro.conf.Suppress[bool] = False
    collider_params: tyro.conf.Suppress[dict[str, float] | None] = None
    loss_coefficients: tyro.conf.Suppress[dict[str, float]] = field(default_factory=dict)
    prompt: tyro.conf.Suppress[str | None] = None


class Outputs(MutableMapping[str, Tensor]):
    """The outputs along rays, by name; each is computed when it is first read, because most of them are never used.

    Args:
        makers: functions that compute the outputs, by name.
    """

    lock: AbstractContextManager[Any] = nullcontext()
    """A context in which outputs are computed from now on."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers, self._computed = dict(makers), dict[str, Tensor]()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._computed:
            with self.lock, torch.no_grad():
                self._computed[name] = self._makers[name]()
        return self._computed[name]

    def __setitem__(self, name: str, output: Tensor) -> None:
        self._makers[name], self._computed[name] = (lambda: output), output

    def __delitem__(self, name: str) -> None:
        del self._makers[name]
        self._computed.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        return name in self._makers  # the inherited method would compute the output

    def __repr__(self) -> str:
        """Return the names, which ``ns-render`` prints if it is asked for an output that does not exist."""
        return ", ".join(self)


class SignalModel(Model):
    """A nerfstudio model of a field that is fitted to the samples of a signal.

    The model of a kind of signal overrides `cameras`, `render` and `pictures`, which show the field.

    Args:
        config: the network, its initialisation and the loss.
        metadata: ``signal``, the target; ``initialize``, whether to initialise the network for it, which is not needed
            if a checkpoint is loaded afterwards; ``cameras``, of which the first defines the direction that is up.
    """

    config: SignalModelConfig
    sides = 1
    """The number of sides from which pictures are taken."""
    takes_pictures: bool = False
    """Whether pictures are taken for files, for which the viewer's controls are as they were at first."""
    up: Float[Tensor, " 3"]

    @classmethod
    def cameras(cls, options: Any) -> Cameras:
        """Return the cameras of ``ns-render``; the first is also that of the viewer's first view and of the pictures.

        Args:
            options: options of loading the signal, an instance of `Kind.options`.
        """
        return front()

    def populate_modules(self) -> None:
        """Build the field and initialise it for the target."""
        super().populate_modules()  # type: ignore[no-untyped-call]
        signal: Signal = self.kwargs["metadata"]["signal"]
        self.kind = kind_named(self.config.kind)
        self.loss = self.kind.loss(signal, self.config.options)
        self.signal, self.screen, self.share = signal, VisibleOutputs(), Share.of_process()
        self.register_buffer("up", nearest_up_axis(self.kwargs["metadata"]["cameras"]), persistent=False)
        self.last_loss: Tensor | float = float("nan")
        self.progress: dict[str, Any] = {"seconds": 0.0, "points": 0, "init": "none", "best": {}, "history": []}
        seed = torch.initial_seed() % 2**62
        try:
            self.field = build_field(signal, self.config.options, seed)
            self.companion = None if self.beside is None else build_field(*self.beside, seed)
            if self.kwargs["metadata"]["initialize"]:
                with working(CONSOLE, "initialising"):
                    self.progress |= self._initialize(seed)
        except ValueError as error:
            raise SystemExit(error_line(error)) from None

    @cached_property
    def beside(self) -> tuple[Signal, NetworkOptions] | None:
        """Return what is fitted beside the signal, see `Kind.companion`, and the options of its network; or None."""
        companion = self.kind.companion(self.signal)
        return None if companion is None else (companion, companion_network(self.config.options, companion))

    def _initialize(self, seed: int) -> dict[str, Any]:
        """Initialise the field, and its companion if there is one, and return the run's record of it."""
        options = self.config.options
        record = describe_initialization(initialize_(self.field, self.signal, options, seed), options)
        if self.beside is None or self.companion is None:
            return record
        initialization = initialize_(self.companion, *self.beside, seed)
        return join_initializations(record, describe_initialization(initialization, self.beside[1]), self.beside[0])

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps besides the weights.

        These are the seconds and the number of points trained so far, the initialisation, the best metrics with their
        steps, and the history: a list of step, mean loss since the entry before, and metrics.
        """
        return dict(self.progress)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Load what `get_extra_state` has put into a checkpoint.

        Raises:
            ValueError: it is not what a run writes.
        """
        start = {"seconds": 0.0, "points": 0, "init": "none", "best": {}, "history": []}
        self.progress = start | check_progress(state)

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Return the network's parameters, and those of its companion's, as the only group, ``fields``."""
        return {"fields": collect_parameters(self.field, self.companion)}

    def get_outputs(self, ray_bundle: RayBundle | Cameras | Float[Tensor, "*m n d"]) -> Mapping[str, Any]:  # type: ignore[override]
        """Return ``values`` [n, c] at coordinates [n, d] for training, or `Outputs` along a flat bundle of rays.

        The coordinates of a shape in cells have an axis of members in front, [m, n, d], and so have the values.
        """
        if isinstance(ray_bundle, Tensor):
            return self.loss.outputs(self.field, ray_bundle)
        if isinstance(ray_bundle, RayBundle):
            return self.render(ray_bundle)
        raise TypeError(f"expected coordinates or rays, got {type(ray_bundle).__name__}")

    def select(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the samples of a batch that a training step uses, those of all processes."""
        return self.loss.select(self.field, batch, self.share)

    def get_outputs_for_camera_ray_bundle(self, camera_ray_bundle: RayBundle) -> Outputs:  # type: ignore[override]
        """Return the outputs of a picture, [h, w, c] each.

        Those that a viewer is about to show are computed at once. Where nothing is hit, the depth is that of the
        farthest hit, so that pictures of it have contrast, or behind all that a viewer puts into its scene.
        """
        shape, device = camera_ray_bundle.origins.shape[:2], camera_ray_bundle.origins.device
        outputs = self.render(camera_ray_bundle.flatten().to(self.device))

        is_composited = self.screen.are_composited()

        def frame(name: str) -> Tensor:
            output = outputs[name]
            if name == "depth":
                hit = outputs["accumulation"] > 0
                farthest = FARTHEST if is_composited or not hit.any() else float(output[hit].max())
                output = torch.where(hit, output, farthest)
            return self.annotate(name, output.reshape(*shape, -1)).to(device)

        picture = Outputs({name: partial(frame, name) for name in outputs})
        for name in self.screen.names() & set(picture):
            picture[name]
        if not self.takes_pictures:  # a viewer may ask for others when a step is trained again
            picture.lock = self.screen.hold()
        return picture

    def get_loss_dict(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor], metrics_dict: dict[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Return the terms of the loss for outputs that are there already."""
        return self._keep(self.loss.terms(outputs, batch))

    def get_training_loss(self, batch: dict[str, Tensor], beside: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the terms of the loss, with gradients by the weights: those of this process's share of the batch.

        Args:
            batch: what `select` has returned.
            beside: the companion's batch; its terms are named after its kind.
        """
        terms = self.loss.share_terms(self.field, batch, self.share)
        if beside is not None and self.beside is not None and self.companion is not None:
            companion, options = self.beside
            loss = kind_named(companion.kind).loss(companion, options)
            more = loss.share_terms(self.companion, beside, self.share)
            terms = terms | {f"{companion.kind}_{name}": term for name, term in more.items()}
        return self._keep(self.share.add_terms(terms))

    def _keep(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keep the sum of the terms for the progress display, and return them."""
        if self.training:
            self.last_loss = sum(term.detach() for term in terms.values())
        return terms

    def get_image_metrics_and_images(
        self, outputs: dict[str, Tensor], batch: dict[str, Tensor]
    ) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Return no metrics, and the rendered colours [h, w, 3] in [0, 1]."""
        return {}, {"fit": outputs["rgb"]}

    def render(self, rays: RayBundle) -> Outputs:
        """Return the outputs along a flat bundle of rays.

        They must hold ``rgb`` [n, 3], ``depth`` [n, 1] and ``accumulation`` [n, 1].
        """
        raise NotImplementedError

    def annotate(self, name: str, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
        """Return the picture of an output with its legend, if the output has one."""
        return picture

    def evaluate(self, signal: Signal) -> dict[str, float]:
        """Compute the metrics of the fit against the target."""
        return measure(self.kind, self.field, signal, self.config.options, self.companion)

    @cached_property
    def monitor(self) -> Monitor:
        """Return the metrics that are computed during the training; the run keeps the best value of each."""
        return build_monitor(self.kind, self.signal, self.companion)

    def pictures(self, signal: Signal, camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:
        """Return pictures that compare target and fit, [h, w, 3] in [0, 1], all of one size."""
        raise NotImplementedError
