"""The trainer's config of a run on photographs, which checks options and data before anything is written."""

from dataclasses import dataclass
from pathlib import Path

from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.utils.rich_utils import CONSOLE

from ..run.trainer import WinnerTrainerConfig, order_help
from .initialization import PhotoInitializationOptions
from .pipeline import PhotoPipelineConfig


@order_help
@dataclass
class PhotoTrainerConfig(WinnerTrainerConfig):
    """A run that fits a scene to photographs."""

    def check(self) -> None:
        """Check the options and the data; see `WinnerTrainerConfig.check`."""
        model = self.pipeline.model
        assert isinstance(model, PhotoInitializationOptions)
        super().check()
        model.check()
        self._check_reference()
        self._check_data()

    def _check_reference(self) -> None:
        """Check that the reference mesh can be loaded."""
        pipeline = self.pipeline
        if not isinstance(pipeline, PhotoPipelineConfig) or pipeline.reference is None:
            return
        from ...signals.errors import SignalError
        from ...signals.shape import load_shape

        try:
            load_shape(pipeline.reference)
        except SignalError as error:
            raise ValueError(f"--pipeline.reference {error}") from None

    def _check_data(self) -> None:
        """Check that the photographs can be read."""
        data = self.pipeline.datamanager
        assert isinstance(data, VanillaDataManagerConfig)
        source = data.data or data.dataparser.data
        if source == Path():
            raise ValueError("no photographs given; name their folder with --data FOLDER (with transforms.json in it)")
        if not source.exists():
            raise ValueError(
                f"{source}: no such file or folder; --data takes a folder of photographs with transforms.json"
            )
        data.dataparser.data = source
        for split in ("train", "val"):
            _check_split(data.dataparser, split)


def _check_split(parser: DataParserConfig, split: str) -> None:
    """Check that a data parser can read one split of its data, "train" or "val"."""
    source = parser.data
    try:
        with CONSOLE.capture():
            outputs = parser.setup().get_dataparser_outputs(split=split)
    except Exception as error:  # each data parser fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        name = type(parser).__name__.removesuffix("DataParserConfig").lower()
        raise ValueError(
            f"{source}: {name}-data cannot read it ({reason});"
            " nerfstudio-data takes a folder with transforms.json, and blender-data, named at the end of the command, a"
            " folder with transforms_train.json"
        ) from None
    if not outputs.image_filenames:
        raise ValueError(f"{source}: holds no photographs for the {split} split; at least one is needed")
    for path in outputs.image_filenames:
        if not path.is_file():
            raise ValueError(f"{path}: no such photograph, but {source} lists it")
