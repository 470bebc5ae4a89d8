"""Batches of coordinates and values for any `Signal`, drawn ahead in a thread of their own."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
import tyro
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.datamanagers.base_datamanager import DataManager, DataManagerConfig
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from torch import Tensor
from torch.nn import Parameter

from ..signals.signal import Signal
from .dataparsers import DATAPARSERS, ShapeDataParserConfig

Batch = dict[str, Tensor]

if TYPE_CHECKING:
    AnyDataParser: TypeAlias = DataParserConfig
else:
    AnyDataParser = tyro.conf.OmitSubcommandPrefixes[
        tyro.extras.subcommand_type_from_defaults(
            {name: config() for name, config in DATAPARSERS.items()}, prefix_names=False
        )
    ]

_EVAL_STREAM = 1 << 40  # no run gets as far as a chunk of this number


@dataclass
class SignalDataManagerConfig(DataManagerConfig):
    """Batches drawn from one signal."""

    _target: type = field(default_factory=lambda: SignalDataManager)
    dataparser: AnyDataParser = field(default_factory=ShapeDataParserConfig)
    """Where the signal comes from."""
    batch_size: int = 8192
    """Points per training step."""
    steps_per_chunk: int = 64
    """Steps that are served from one draw of points; the next is drawn meanwhile."""
    passes: int = 2
    """Times that each point is used before it is dropped, in a new order each time."""
    masks_on_gpu: tyro.conf.Suppress[bool] = False
    images_on_gpu: tyro.conf.Suppress[bool] = False

    @property
    def steps_per_pass(self) -> int:
        """Steps that one pass over a chunk serves."""
        return -(-self.steps_per_chunk // self.passes)

    def problem(self) -> str | None:
        """What is wrong with the options, in one line, or None."""
        if min(self.batch_size, self.steps_per_chunk, self.passes) < 1 or self.passes > self.steps_per_chunk:
            return (
                f"batch_size={self.batch_size}, steps_per_chunk={self.steps_per_chunk} and passes={self.passes} must be"
                " at least 1, and passes no more than steps_per_chunk"
            )
        return None

    def load_outputs(self) -> DataparserOutputs:
        """The data parser's outputs for what ``--data`` names, here or at the data parser's own place."""
        if self.data is not None:
            self.dataparser.data = Path(self.data)
        self.data = self.dataparser.data
        return self.dataparser.setup().get_dataparser_outputs()


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


class SignalDataManager(DataManager):
    """Serves batches of a signal; knows nothing of its kind.

    Points are drawn in chunks. A chunk depends on the run's seed and its own number only, and a batch on its step, so
    a run that is resumed gets the batches that it would have got. Memory: two chunks of
    ``batch_size * steps_per_chunk / passes`` points, whatever the signal's size.

    Args:
        config: how much to draw.
        device: where batches are put.
        test_mode: "val" while training; otherwise nothing is drawn or measured until asked for.
    """

    config: SignalDataManagerConfig

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
        dataset = SignalDataset(
            self.train_dataparser_outputs, {"signal": self.signal, "initialize": test_mode == "val"}
        )
        self.train_dataset = self.eval_dataset = dataset  # type: ignore[assignment]
        self.seed = torch.initial_seed()
        self._drawing: tuple[int, Future[Batch]] | None = None
        self._chunk: tuple[int, Batch] | None = None
        self._order: tuple[int, Batch] | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draw")
        super().__init__()

    def setup_train(self) -> None:
        """Start to draw, while the model is being built; a run that is only looked at draws nothing."""
        if self.test_mode == "val":
            self._drawing = (0, self._submit(0))

    def setup_eval(self) -> None:
        """Nothing: evaluation samples are drawn when asked for."""

    def next_train(self, step: int) -> tuple[Tensor, Batch]:  # type: ignore[override]
        """The batch of a step: coordinates [batch_size, d], and the same with ``values`` [batch_size, c]."""
        config = self.config
        index, place = divmod(step, config.steps_per_chunk)
        number, row = divmod(place, config.steps_per_pass)
        shuffled = self._shuffled(index, number)
        rows = slice(row * config.batch_size, (row + 1) * config.batch_size)
        batch = {key: value[rows] for key, value in shuffled.items()}
        return batch["coords"], batch

    def next_eval(self, step: int) -> tuple[Tensor, Batch]:  # type: ignore[override]
        """A batch that training never sees, the same at every step."""
        batch = self._draw(_EVAL_STREAM, self.config.batch_size)
        batch = {key: value.to(self.device) for key, value in batch.items()}
        return batch["coords"], batch

    def next_eval_image(self, step: int) -> tuple[Cameras, dict]:
        """The camera that evaluation pictures are taken with."""
        return self.train_dataparser_outputs.cameras, {}

    def get_train_rays_per_batch(self) -> int:
        """Points per training step."""
        return self.config.batch_size

    def get_eval_rays_per_batch(self) -> int:
        """Points per evaluation batch."""
        return self.config.batch_size

    def get_datapath(self) -> Path:
        """The target's file; the viewer keeps camera paths beside it."""
        return self.config.dataparser.data

    def get_param_groups(self) -> dict[str, list[Parameter]]:
        """None: nothing here is learnt."""
        return {}

    def _shuffled(self, index: int, number: int) -> Batch:
        """The chunk of that index in the order of its pass `number`, on the device."""
        key = index * self.config.passes + number
        if self._order is None or self._order[0] != key:
            chunk = self._get_chunk(index)
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + key) % 2**63)
            order = torch.randperm(len(chunk["coords"]), generator=generator).to(self.device)
            self._order = (key, {name: values[order] for name, values in chunk.items()})
        return self._order[1]

    def _get_chunk(self, index: int) -> Batch:
        if self._chunk is None or self._chunk[0] != index:
            if self._drawing is None or self._drawing[0] != index:
                self._drawing = (index, self._submit(index))
            chunk = self._drawing[1].result()
            self._chunk = (index, {name: values.to(self.device, non_blocking=True) for name, values in chunk.items()})
            self._drawing = (index + 1, self._submit(index + 1))
        return self._chunk[1]

    def _submit(self, index: int) -> "Future[Batch]":
        return self._worker.submit(self._draw, index, self.config.batch_size * self.config.steps_per_pass)

    def _draw(self, index: int, count: int) -> Batch:
        samples = self.signal.draw(np.random.default_rng([self.seed, index]), count)
        batch = {name: torch.from_numpy(values) for name, values in samples.items()}
        return {name: values.pin_memory() for name, values in batch.items()} if self.device.type == "cuda" else batch
