"""A signal's batches as nerfstudio asks for them."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.base_datamanager import DataManager, DataManagerConfig, VanillaDataManager
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor
from torch.nn import Parameter

from ...signals.signal import Signal
from ...training.options import DrawnOptions, ResidentOptions
from ...training.sampling import Batch, Sampler


def subcommand(name: str, config: type[DataParserConfig]) -> Any:
    """The annotation of a data parser's config that is also a subcommand `name` with short flags."""
    # Annotated with its one choice, tyro makes a subcommand of it; "prefix_names" would lengthen the name.
    one: Any = tyro.extras.subcommand_type_from_defaults({name: config()}, prefix_names=False)
    return Annotated[one, tyro.conf.OmitSubcommandPrefixes]


@dataclass
class SignalDataManagerConfig(DataManagerConfig):
    """Batches of one signal.

    A kind of signal narrows the two fields of its data parser, and says how its points are served by deriving from
    `DrawnDataManagerConfig` or `ResidentDataManagerConfig`.
    """

    _target: type = field(default_factory=lambda: SignalDataManager)
    dataparser: DataParserConfig = field(default_factory=DataParserConfig)
    """Where the signal comes from; its options by their long names."""
    short: DataParserConfig = field(default_factory=DataParserConfig)
    """The same options by short names, behind the data parser's own; what is set here counts."""
    masks_on_gpu: tyro.conf.Suppress[bool] = False
    images_on_gpu: tyro.conf.Suppress[bool] = False

    def problem(self) -> str | None:
        """What is wrong with the options, in one line, or None."""
        raise NotImplementedError

    def sampler(self, signal: Any, device: torch.device, seed: int) -> Sampler:
        """What serves this signal's batches."""
        raise NotImplementedError

    def load_outputs(self) -> DataparserOutputs:
        """The data parser's outputs for what ``--data`` names, wherever on the command line that stands."""
        default = type(self.short)()
        for option in fields(self.short):
            value = getattr(self.short, option.name)
            if option.name != "_target" and value != getattr(default, option.name):
                setattr(self.dataparser, option.name, value)
        if self.data is not None:
            self.dataparser.data = Path(self.data)
        self.data = self.dataparser.data
        return self.dataparser.setup().get_dataparser_outputs()


@dataclass
class DrawnDataManagerConfig(DrawnOptions, SignalDataManagerConfig):
    """Batches of a signal that is sampled anew for ever."""


@dataclass
class ResidentDataManagerConfig(ResidentOptions, SignalDataManagerConfig):
    """Batches of a signal whose samples are all there."""


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
        self.batches = config.sampler(self.signal, self.device, torch.initial_seed())
        self.eval_dataloader = SignalViews(self.train_dataparser_outputs.cameras)
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
