"""A signal's batches as nerfstudio asks for them."""

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

from ...registry import kind_named, kind_names
from ...signals.signal import Signal
from ...training.options import BatchOptions
from ...training.sampling import Batch
from .dataparsers import SignalDataParserConfig, data_parser_config


@dataclass
class SignalDataManagerConfig(DataManagerConfig):
    """Batches of one signal."""

    _target: type = field(default_factory=lambda: SignalDataManager)
    dataparser: SignalDataParserConfig = field(default_factory=SignalDataParserConfig)
    """Where the signal comes from."""
    batches: Annotated[BatchOptions, tyro.conf.arg(name="")] = field(default_factory=BatchOptions)
    """How its points are served."""
    masks_on_gpu: tyro.conf.Suppress[bool] = False
    images_on_gpu: tyro.conf.Suppress[bool] = False

    def load_outputs(self) -> DataparserOutputs:
        """Return the data parser's outputs for what ``--data`` names, wherever on the command line that stands."""
        if self.data is not None:
            self.dataparser.data = Path(self.data)
        self.data = self.dataparser.data
        return self.dataparser.setup().get_dataparser_outputs()


@lru_cache
def data_manager_config(kind: str) -> type[SignalDataManagerConfig]:
    """Return the class of a kind's data manager's config: its data parser is a subcommand of its own name."""
    known = kind_named(kind)
    default = data_parser_config(known)
    # A union of one choice becomes a subcommand; "prefix_names" would lengthen its name.
    union: Any = tyro.extras.subcommand_type_from_defaults(
        {known.data_parser: default},
        {known.data_parser: f"{known.title[0].upper()}{known.title[1:]} ({known.formats})."},
        prefix_names=False,
    )
    dataparser = Annotated[union, tyro.conf.OmitSubcommandPrefixes]
    made = make_dataclass(
        _class_name(kind),
        [
            ("dataparser", dataparser, field(default_factory=lambda: deepcopy(default))),
            ("batches", Annotated[known.batches, tyro.conf.arg(name="")], field(default_factory=known.batches)),
        ],
        bases=(SignalDataManagerConfig,),
        namespace={"__doc__": f"Batches of {known.title}.", "__module__": __name__},
    )
    made.__module__ = __name__
    return made


def _class_name(kind: str) -> str:
    return f"DataManagerConfigOf_{kind}"


def __getattr__(name: str) -> type[SignalDataManagerConfig]:
    """The classes that `data_manager_config` makes, for a run's config.yml names them."""
    for kind in kind_names():
        if _class_name(kind) == name:
            return data_manager_config(kind)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class SignalDataset:
    """What nerfstudio's viewer and pipeline ask of a dataset, for a target without images."""

    def __init__(self, outputs: DataparserOutputs, metadata: dict[str, Any]) -> None:
        self.cameras: Cameras = outputs.cameras
        self.scene_box: SceneBox = outputs.scene_box
        self.metadata = metadata

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True  # an empty dataset, yet there is something to evaluate


class SignalViews:
    """The cameras as ``ns-render spiral`` asks for them."""

    def __init__(self, cameras: Cameras) -> None:
        self.cameras = cameras

    def get_camera(self, image_idx: int = 0) -> tuple[Cameras, dict]:
        """One of them, and what comes with it, which is nothing."""
        return self.cameras[image_idx : image_idx + 1], {}


class SignalDataManager(VanillaDataManager):
    """Serves batches of a signal; knows nothing of its kind.

    By descent nerfstudio's own, for ``ns-render spiral`` takes no other; nothing of it is used, it wants images.

    Args:
        config: how points are served.
        device: where batches are put.
        test_mode: "val" while training; otherwise nothing is drawn or measured until asked for.
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
        self.train_dataparser_outputs: DataparserOutputs = config.load_outputs()
        self.signal: Signal = self.train_dataparser_outputs.metadata["signal"]
        metadata = {"signal": self.signal, "initialize": test_mode == "val"}
        metadata["cameras"] = self.train_dataparser_outputs.cameras
        dataset = SignalDataset(self.train_dataparser_outputs, metadata)
        self.train_dataset = self.eval_dataset = dataset  # type: ignore[assignment]
        self.batches = config.batches.sampler(self.signal, self.device, torch.initial_seed())
        self.eval_dataloader = SignalViews(self.train_dataparser_outputs.cameras)  # type: ignore[assignment]
        DataManager.__init__(self)

    def setup_train(self) -> None:
        """Get the first batch ready while the model is being built, unless the run is only looked at."""
        if self.test_mode == "val":
            self.batches.start()

    def setup_eval(self) -> None:
        """Nothing: evaluation samples are drawn when asked for."""

    def next_train(self, step: int) -> tuple[Tensor, Batch]:  # type: ignore[override]
        """The batch of a step: coordinates [n, d], and the same with ``values`` [n, c]."""
        batch = self.batches.batch(step)
        return batch["coords"], batch

    def next_eval(self, step: int) -> tuple[Tensor, Batch]:  # type: ignore[override]
        """A batch for the losses of an evaluation, the same at every step."""
        batch = self.batches.evaluation()
        return batch["coords"], batch

    def next_eval_image(self, step: int) -> tuple[Cameras, dict]:
        """The camera that evaluation pictures are taken with."""
        return self.eval_dataloader.get_camera(0)

    def get_train_rays_per_batch(self) -> int:
        """Points per training step."""
        return self.batches.batch_size

    def get_eval_rays_per_batch(self) -> int:
        """Points per evaluation batch."""
        return self.batches.batch_size

    def get_datapath(self) -> Path:
        """The target's file; the viewer keeps camera paths beside it."""
        return self.config.dataparser.data

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """None: nothing here is learnt."""
        return {}
