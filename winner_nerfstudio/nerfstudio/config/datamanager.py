"""The data manager, which serves a signal's batches to nerfstudio."""

from copy import deepcopy
from dataclasses import dataclass, field, make_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.base_datamanager import DataManager, DataManagerConfig, VanillaDataManager
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor
from torch.nn import Parameter

from ...fields import Field
from ...registry import kind_named, kind_names
from ...signals.signal import Signal
from ...training.initialize import build_sampler, companion_batches
from ...training.options import BatchOptions
from ...training.sampling import Batch, Sampler, expect_steps
from ..run.evaluation import find_config
from .dataparsers import SignalDataParserConfig, data_parser_config


@dataclass
class SignalDataManagerConfig(DataManagerConfig):
    """The batches of one signal."""

    _target: type = field(default_factory=lambda: SignalDataManager)
    dataparser: SignalDataParserConfig = field(default_factory=SignalDataParserConfig)
    """The file or sample of the signal, and the options of loading it."""
    batches: Annotated[BatchOptions, tyro.conf.arg(name="")] = field(default_factory=BatchOptions)
    """The options of the batches."""
    masks_on_gpu: tyro.conf.Suppress[bool] = False
    images_on_gpu: tyro.conf.Suppress[bool] = False

    def load_outputs(self) -> DataparserOutputs:
        """Return the data parser's outputs for the file of ``--data``.

        ``--data`` may be an option of the data manager or of the data parser.
        """
        if self.data is not None:
            self.dataparser.data = Path(self.data)
        self.data = self.dataparser.data
        return self.dataparser.setup().get_dataparser_outputs()


@lru_cache
def data_manager_config(kind: str) -> type[SignalDataManagerConfig]:
    """Return the class of the data manager's config for a kind, with the kind's data parser as a subcommand."""
    known = kind_named(kind)
    default = data_parser_config(known)
    # A union with one member becomes a subcommand; "prefix_names" would lengthen its name.
    union: Any = tyro.extras.subcommand_type_from_defaults(
        {known.data_parser: default},
        {known.data_parser: f"{known.title[0].upper()}{known.title[1:]} ({known.formats})."},
        prefix_names=False,
    )
    dataparser = Annotated[union, tyro.conf.OmitSubcommandPrefixes]
    config_class = make_dataclass(
        _name_class(kind),
        [
            ("dataparser", dataparser, field(default_factory=lambda: deepcopy(default))),
            ("batches", Annotated[known.batches, tyro.conf.arg(name="")], field(default_factory=known.batches)),
        ],
        bases=(SignalDataManagerConfig,),
        namespace={"__doc__": f"Batches of {known.title}.", "__module__": __name__},
    )
    config_class.__module__ = __name__
    return config_class


def _name_class(kind: str) -> str:
    """Return the name of the class that `data_manager_config` makes for a kind."""
    return f"DataManagerConfigOf_{kind}"


def __getattr__(name: str) -> type[SignalDataManagerConfig]:
    """Return a class that `data_manager_config` makes, by its name, because a run's config.yml refers to it by name."""
    for kind in kind_names():
        if _name_class(kind) == name:
            return data_manager_config(kind)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class SignalDataset:
    """The attributes of a dataset that nerfstudio's viewer and pipeline use, for a target without images."""

    def __init__(self, outputs: DataparserOutputs, metadata: dict[str, Any]) -> None:
        self.cameras: Cameras = outputs.cameras
        self.scene_box: SceneBox = outputs.scene_box
        self.metadata = metadata

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True  # its length is 0, but nerfstudio must not skip the evaluation


class SignalViews:
    """The cameras in the form in which ``ns-render spiral`` asks for them."""

    def __init__(self, cameras: Cameras) -> None:
        self.cameras = cameras

    def get_camera(self, image_idx: int = 0) -> tuple[Cameras, dict]:
        """Return one camera, and an empty dict, because a camera has no image or other data here."""
        return self.cameras[image_idx : image_idx + 1], {}


class SignalDataManager(VanillaDataManager):
    """The data manager that serves the batches of a signal of any kind.

    It is a subclass of nerfstudio's own data manager because ``ns-render spiral`` accepts no other. It uses nothing of
    that class, which needs images.

    Args:
        config: the data parser and the options of the batches.
        device: device of the batches.
        test_mode: "val" for training; in the other modes nothing is drawn before it is asked for.
        world_size: unused; all processes of a run draw the same batches, see `Share`.
        local_rank: unused, likewise.
    """

    config: SignalDataManagerConfig  # type: ignore[assignment]

    def __init__(
        self,
        config: SignalDataManagerConfig,
        device: torch.device | str = "cpu",
        test_mode: Literal["test", "val", "inference"] = "val",
        world_size: int = 1,
        local_rank: int = 0,
    ) -> None:
        self.config, self.device, self.test_mode = config, torch.device(device), test_mode
        self.run_config = find_config()
        self.train_dataparser_outputs: DataparserOutputs = config.load_outputs()
        self.signal: Signal = self.train_dataparser_outputs.metadata["signal"]
        metadata = {"signal": self.signal, "initialize": test_mode == "val"}
        metadata["cameras"] = self.train_dataparser_outputs.cameras
        dataset = SignalDataset(self.train_dataparser_outputs, metadata)
        self.train_dataset = self.eval_dataset = dataset  # type: ignore[assignment]
        self._fields: list[tuple[Field, Signal]] = []
        self._samplers: list[Sampler] = []
        self.eval_dataloader = SignalViews(self.train_dataparser_outputs.cameras)  # type: ignore[assignment]
        DataManager.__init__(self)

    def serve(self, *fields: tuple[Field, Signal]) -> None:
        """Prepare the first batches of fields for their signals, but only if the run is to be trained.

        The parts of a field, which say how it is served, are known only once it is built.

        Args:
            fields: the field of the signal, and that of what is fitted beside it, see `Kind.companion`, if any.
        """
        self._fields = list(fields)
        if self.test_mode == "val":
            for sampler in self._list_samplers():
                sampler.start()

    def expect_steps(self, steps: int) -> None:
        """Say how many steps the run has."""
        expect_steps(self._list_samplers(), steps)

    def _list_samplers(self) -> list[Sampler]:
        """Return the samplers of the fields, which are built when a batch is first needed."""
        if not self._samplers:
            run, own = (torch.device(self.device), torch.initial_seed()), self.config.batches
            batches = [own, *(companion_batches(own, signal) for _, signal in self._fields[1:])]
            pairs = zip(self._fields, batches, strict=True)
            self._samplers = [build_sampler(field, signal, each, *run) for (field, signal), each in pairs]
        return self._samplers

    def setup_train(self) -> None:
        """Do nothing, because the networks are not known yet, see `serve`."""

    def setup_eval(self) -> None:
        """Do nothing, because evaluation samples are drawn when they are asked for."""

    def next_train(self, step: int) -> tuple[Tensor, Batch]:  # type: ignore[override]
        """Return the coordinates [n, d] of a step's batch, and the batch, with ``coords`` and ``values`` [n, c]."""
        batch = self._list_samplers()[0].batch(step)
        return batch["coords"], batch

    def next_beside(self, step: int) -> Batch | None:
        """Return a step's batch of what is fitted beside the signal, see `Kind.companion`; None if there is nothing."""
        samplers = self._list_samplers()
        return samplers[1].batch(step) if len(samplers) > 1 else None

    def next_eval(self, step: int) -> tuple[Tensor, Batch]:  # type: ignore[override]
        """Return coordinates and batch for the losses of an evaluation, the same at every step."""
        batch = self._list_samplers()[0].evaluation()
        return batch["coords"], batch

    def next_eval_image(self, step: int) -> tuple[Cameras, dict]:
        """Return the camera from which the pictures of an evaluation are rendered, and an empty dict."""
        return self.eval_dataloader.get_camera(0)

    def get_train_rays_per_batch(self) -> int:
        """Return the number of points per training step."""
        return self._list_samplers()[0].batch_size

    def get_eval_rays_per_batch(self) -> int:
        """Return the number of points per evaluation batch."""
        return self._list_samplers()[0].batch_size

    def get_datapath(self) -> Path:
        """Return the target's file, beside which ``ns-viewer`` saves camera paths; without one, the run's folder."""
        data = self.config.dataparser.data
        return data if data.is_file() or self.run_config is None else self.run_config.parent

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """Return no parameter groups, because the data manager has no parameters."""
        return {}
