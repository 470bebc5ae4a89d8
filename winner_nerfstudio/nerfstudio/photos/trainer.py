"""The trainer's config of a run on photographs, which checks options and data before anything is written."""

from dataclasses import dataclass
from pathlib import Path

from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.utils.rich_utils import CONSOLE

from ..run.trainer import WinnerTrainerConfig
from .initialization import PhotoInitializationOptions
from .pipeline import PhotoPipelineConfig


@dataclass
class PhotoTrainerConfig(WinnerTrainerConfig):
    """A run that fits a scene to photographs."""

    def problem(self) -> str | None:
        """Return what is wrong with the options or the data in one line, or None."""
        model = self.pipeline.model
        assert isinstance(model, PhotoInitializationOptions)
        return super().problem() or model.problem() or self._reference_problem() or self._data_problem()

    def _reference_problem(self) -> str | None:
        """Return why the reference mesh cannot be loaded, or None."""
        pipeline = self.pipeline
        if not isinstance(pipeline, PhotoPipelineConfig) or pipeline.reference is None:
            return None
        from ...signals.errors import SignalError
        from ...signals.shape import load_shape

        try:
            load_shape(pipeline.reference)
        except SignalError as error:
            return f"--pipeline.reference {error}"
        return None

    def _data_problem(self) -> str | None:
        """Return why the photographs cannot be read, or None."""
        data = self.pipeline.datamanager
        assert isinstance(data, VanillaDataManagerConfig)
        source = data.data or data.dataparser.data
        if source == Path():
            return "no photographs given; name their folder with --data FOLDER (with transforms.json in it)"
        if not source.exists():
            return f"{source}: no such file or folder; --data takes a folder of photographs with transforms.json"
        data.dataparser.data = source
        return _split_problem(data.dataparser, "train") or _split_problem(data.dataparser, "val")


def _split_problem(parser: DataParserConfig, split: str) -> str | None:
    """Return why a data parser cannot read one split of its data, "train" or "val", or None."""
    source = parser.data
    try:
        with CONSOLE.capture():
            outputs = parser.setup().get_dataparser_outputs(split=split)
    except Exception as error:  # each data parser fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        name = type(parser).__name__.removesuffix("DataParserConfig").lower()
        return (
            f"{source}: {name}-data cannot read it ({reason});"
            " nerfstudio-data takes a folder with transforms.json, and blender-data, named at the end of the command, a"
            " folder with transforms_train.json"
        )
    if not outputs.image_filenames:
        return f"{source}: holds no photographs for the {split} split; at least one is needed"
    for path in outputs.image_filenames:
        if not path.is_file():
            return f"{path}: no such photograph, but {source} lists it"
    return None
