"""The trainer's config of a run on photographs, which checks options and data before anything is written."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from nerfstudio.utils.rich_utils import CONSOLE

from ..run.trainer import WinnerTrainerConfig, order_help
from .initialization import PhotoInitializationOptions, check_least
from .pipeline import PhotoPipelineConfig

MODES = ("L", "RGB", "RGBA")
"""Pillow's modes of the pictures that nerfstudio reads as what they are."""


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
        rays = {"train_num_rays_per_batch": 1, "eval_num_rays_per_batch": 1}
        check_least(self.pipeline.datamanager, "pipeline.datamanager", **rays)
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

    def _find_relative(self) -> None:
        """Let relative paths of the data and of the reference refer to where the run was started."""
        super()._find_relative()
        pipeline, start = self.pipeline, self.started_in
        if start is None or not isinstance(pipeline, PhotoPipelineConfig) or pipeline.reference is None:
            return
        if (start / pipeline.reference).exists():
            pipeline.reference = str(start / pipeline.reference)

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
        if source.is_file() and source.suffix != ".json":
            raise ValueError(f"{source}: is a single file; --data takes a folder of photographs with transforms.json")
        data.dataparser.data = source
        if isinstance(data.dataparser, NerfstudioDataParserConfig):
            _check_count(source if source.is_file() else source / "transforms.json")
        fitted = _check_split(data.dataparser, "train")
        _check_split(data.dataparser, "val", fitted)


def _check_count(transforms: Path) -> None:
    """Check that a file for nerfstudio's own data parser lists photographs to fit and others to measure on."""
    try:
        frames = json.loads(transforms.read_bytes())["frames"]
    except (OSError, ValueError, KeyError, TypeError):
        return  # the data parser says what is wrong
    if isinstance(frames, list) and len(frames) < 2:
        count = ["no photographs", "one photograph"][len(frames)]
        raise ValueError(f"{transforms}: lists {count}; at least two are needed, one to fit and one to measure on")


def _check_split(parser: DataParserConfig, split: str, fitted: int = 0) -> int:
    """Check that a data parser can read one split of its data, "train" or "val".

    Args:
        parser: the config of the data parser.
        split: the split.
        fitted: the count of photographs of the other split.

    Returns:
        The count of photographs.

    Raises:
        ValueError: it cannot, or the split has no photographs, or they cannot be fitted; the message is one line.
    """
    source = parser.data
    name = type(parser).__name__.removesuffix("DataParserConfig").lower()
    # Others may ask the user something, which a capture would hide.
    is_silent = isinstance(parser, NerfstudioDataParserConfig) and not parser.load_3D_points
    try:
        with CONSOLE.capture() if is_silent else nullcontext():
            outputs = parser.setup().get_dataparser_outputs(split=split)
    except (EOFError, SystemExit):  # nobody answers, or the answer is no
        raise ValueError(
            f"{source}: {name}-data ended because what it asks for was not done; answer y in a terminal, or, if it asks"
            f" for smaller copies of the photographs, fit them as they are by {name}-data --downscale-factor 1"
        ) from None
    except Exception as error:  # each data parser fails in its own way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{source}: {name}-data cannot read it ({reason});"
            " nerfstudio-data takes a folder with transforms.json, and blender-data, named at the end of the command, a"
            " folder with transforms_train.json"
        ) from None
    if not outputs.image_filenames:
        remedy = "at least one is needed"
        if fitted > 1 and getattr(parser, "eval_mode", None) == "fraction":  # the part is rounded up
            part = 100 * (fitted - 1) // fitted / 100
            remedy = (
                f"all {fitted} are in the other, so let one be held out by {name}-data --train-split-fraction {part}"
            )
        raise ValueError(f"{source}: holds no photographs for the {split} split; {remedy}")
    cameras = outputs.cameras
    forms: dict[tuple[int, int, bool], Path] = {}
    for index, path in enumerate(outputs.image_filenames):
        if not path.is_file():
            raise ValueError(f"{path}: no such photograph, but {source} lists it")
        width, height, has_alpha = _read_form(path)
        forms.setdefault((width, height, has_alpha), path)
        if len(forms) > 1:
            (first, other), words = forms.values(), [_describe_form(*form) for form in forms]
            raise ValueError(f"{other}: is {words[1]}, but {first} is {words[0]}; photographs of one form are needed")
        stated = int(cameras.width[index]), int(cameras.height[index])
        if max(abs(stated[0] - width), abs(stated[1] - height)) > 1:  # sizes of reduced copies are rounded
            raise ValueError(f"{path}: is {width} x {height}, but {source} says {stated[0]} x {stated[1]} pixels")
        if not cameras.camera_to_worlds[index].isfinite().all():
            raise ValueError(f"{path}: {source} gives its camera a place that is no number (NaN or infinite)")
    return len(outputs.image_filenames)


def _read_form(path: Path) -> tuple[int, int, bool]:
    """Return the width and the height of a photograph, and whether it has alpha.

    Raises:
        ValueError: it is damaged, no picture, or of a mode that nerfstudio misreads; the message is one line.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            mode = picture.mode
            form = (*picture.size, mode == "RGBA")
            if picture.format == "JPEG":
                picture.draft(None, (1, 1))  # reads all of it, but computes an eighth of each side
                picture.load()
            else:
                picture.verify()
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's PNG reader raises the second
        raise ValueError(f"{path}: cannot be read as a photograph ({' '.join(str(error).split())[:120]})") from None
    # nerfstudio takes Pillow's array as it is: indices of a palette for grey, black ink for alpha.
    if mode not in MODES:
        raise ValueError(
            f"{path}: is a picture of Pillow's mode {mode}; save it as RGB or RGBA with 8 bits per channel"
        )
    return form


def _describe_form(width: int, height: int, has_alpha: bool) -> str:
    return f"{width} x {height} with{'' if has_alpha else 'out'} alpha"
