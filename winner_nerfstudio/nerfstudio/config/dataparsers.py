"""Data parsers: from what the command line says to a `Signal`.

nerfstudio imports this module while it is itself half imported, and for every method: it may import nothing but the
few nerfstudio modules below, and no heavy library at the top.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.plugins.registry_dataparser import DataParserSpecification
from torch import Tensor

from ..quiet import quiet_imports

if TYPE_CHECKING:
    from ...signals.grid import Experiment
    from ...signals.signal import Signal

quiet_imports()

VIEWPOINTS = {"x": (1.4, 1.9, 2.6), "y": (1.9, 1.4, 2.6), "z": (1.9, -2.6, 1.4)}
"""Where the first view of a shape stands, unit-cube coordinates, by the axis that points up: all of it is in frame."""
FARTHER = 1 / 0.9
"""How much farther away that is from a volume, which may fill the cube where a shape leaves a tenth of it free."""
SIDES = 12
"""Views of a shape, all around it."""
FRONT, BESIDE = (0.0, 0.0, 2.3), ((0.9, 0.3, 2.1), (-0.9, 0.3, 2.1))
"""Where the views of something flat stand, which fills [-1, 1] x [-1, 1] or less of the plane z = 0; first from where
all of it is in frame."""
FIELD_OF_VIEW = 55.0
"""Of those cameras, vertical, degrees."""


class SignalDataParser(DataParser):
    """Loads a signal and hands it over in nerfstudio's outputs: ``metadata["signal"]``, transform and scale."""

    formats = ""
    """Suffixes of the files that will do, for the error that asks for one."""

    def load(self) -> "Signal":
        """The signal that the config names.

        Raises:
            SignalError: it cannot be used.
        """
        raise NotImplementedError

    def samples(self) -> list[str]:
        """Names of the built-in samples of this kind."""
        return []

    def views(self) -> Cameras:
        """Cameras for ``ns-render``; from the first the viewer starts and pictures are taken. In front, and beside."""
        return look_at_origin([FRONT, *BESIDE], "y")

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs: Any) -> DataparserOutputs:
        """The outputs; a user's mistake ends the program with its one line and exit status 1."""
        from ...signals.errors import SignalError

        try:
            if self.config.data == Path():
                choices = " or one of " + ", ".join(f"--data sample:{name}" for name in sorted(self.samples()))
                raise SignalError(f"no target given; name one with --data FILE ({self.formats}){choices}")
            signal = self.load()
        except SignalError as error:
            raise SystemExit(f"error: {error}") from None
        except MemoryError:
            raise SystemExit(f"error: {self.config.data}: does not fit into memory; fit a part of it") from None
        # nerfstudio's world has three axes; a signal with fewer lies along the first ones.
        transform = torch.eye(4)[:3]
        transform[: len(signal.normalization.center), 3] = -torch.tensor(signal.normalization.center)
        return DataparserOutputs(
            image_filenames=[],
            cameras=self.views(),
            scene_box=SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])),
            metadata={"signal": signal},
            dataparser_transform=transform,
            dataparser_scale=signal.normalization.scale,
        )


Loaded = TypeVar("Loaded")


def load_once(load: Callable[..., Loaded], source: Path, *arguments: Any) -> Loaded:
    """The result of ``load(str(source), *arguments)``, kept while the file stays as it is.

    A run loads its target twice: to check it before anything is written, and to train.
    """
    state = source.stat() if source.is_file() else None
    return _load_once(load, str(source), state and (state.st_mtime_ns, state.st_size), *arguments)


@lru_cache(maxsize=1)
def _load_once(load: Callable[..., Loaded], source: str, state: object, *arguments: Any) -> Loaded:
    return load(source, *arguments)


@dataclass
class ShapeDataParserConfig(DataParserConfig):
    """A surface: a mesh file, points on one, or sample:NAME for a built-in one."""

    _target: type = field(default_factory=lambda: ShapeDataParser)
    data: Path = Path()
    """Mesh (.obj .ply .stl .off .glb), points (.ply .xyz .pcd .npy), with normals or without, or sample:NAME."""
    reference: Path | None = None
    """Mesh file of what the points were taken from, in their coordinates; figures are against it."""
    surface_fraction: float = 0.3
    """Part of a mesh's training points that lie on the surface; of points, half."""
    near_fraction: float = 0.5
    """Part of a mesh's training points that lie near the surface; the rest fills the cube."""
    near_sigmas: tuple[float, ...] = (0.02, 0.004)
    """Standard deviations of their offsets from it, in parts of half the cube; as many points for each."""
    sign: Literal["auto", "watertight", "winding", "unsigned"] = "auto"
    """How inside and outside are told apart: by a closed surface only, by the winding number, which closes holes, or
    not at all, for open surfaces; auto takes the first that will do."""
    up: Literal["x", "y", "z"] = "y"
    """Axis that points up in pictures and in the viewer; the data stays as it is."""


class ShapeDataParser(SignalDataParser):
    """Loads a `Shape` or a `PointCloud`."""

    config: ShapeDataParserConfig
    formats = ".obj .ply .stl .off .glb .xyz .pcd .npy"

    def samples(self) -> list[str]:
        """Names of the built-in shapes."""
        from ...signals.samples import SHAPES

        return list(SHAPES)

    def views(self) -> Cameras:
        """All around with the chosen axis up, from a corner on."""
        return look_at_origin(orbit(self.config.up, SIDES), self.config.up)

    def load(self) -> "Signal":
        """See `load_surface`."""
        from ...signals.cloud import load_surface
        from ...signals.errors import SignalError
        from ...signals.shape import Mix

        try:
            mix = Mix(self.config.surface_fraction, self.config.near_fraction, tuple(self.config.near_sigmas))
        except ValueError as error:
            raise SignalError(f"shape-data: {error}") from None
        reference = None if self.config.reference is None else str(self.config.reference)
        return load_once(load_surface, self.config.data, mix, self.config.sign, reference)


@dataclass
class GridDataParserConfig(DataParserConfig):
    """What can be done to any regularly sampled signal in order to measure something."""

    data: Path = Path()
    """The target's file, or sample:NAME."""
    noise_std: float = 0.0
    """Standard deviation of Gaussian noise that is added to the target, which spans [-1, 1]; figures are against the
    clean target."""
    reference: Path | None = None
    """The clean signal's file, if the target is noisy; figures are against it."""
    train_fraction: float = 1.0
    """Part of the samples that is fitted, chosen at random; figures tell the others apart."""
    seed: int = 0
    """Of the noise and of that choice; the run's own seed changes neither."""

    def experiment(self) -> "Experiment":
        """These options."""
        from ...signals.grid import Experiment

        reference = None if self.reference is None else str(self.reference)
        return Experiment(self.noise_std, reference, self.train_fraction, self.seed)


@dataclass
class ImageDataParserConfig(GridDataParserConfig):
    """A picture: a file, an array, or sample:NAME for a built-in one."""

    _target: type = field(default_factory=lambda: ImageDataParser)
    data: Path = Path()
    """Picture (.png .jpg .tif .webp), array (.npy .npz; height, width, channels) or sample:NAME."""
    max_pixels: int = 200_000_000
    """Larger pictures are refused before they are decoded."""
    max_side: int | None = None
    """Reduce the picture, by averaging, until its longer side has no more pixels than this."""


class ImageDataParser(SignalDataParser):
    """Loads an `Image`."""

    config: ImageDataParserConfig
    formats = ".png .jpg .tif .webp .npy"

    def samples(self) -> list[str]:
        """Names of the built-in pictures."""
        from ...signals.samples import IMAGES

        return list(IMAGES)

    def load(self) -> "Signal":
        """See `load_image`."""
        from ...signals.image import load_image

        config = self.config
        return load_once(load_image, config.data, config.max_pixels, config.max_side, config.experiment())


@dataclass
class AudioDataParserConfig(GridDataParserConfig):
    """A sound: a file, a series, or sample:NAME for a built-in one."""

    _target: type = field(default_factory=lambda: AudioDataParser)
    data: Path = Path()
    """Sound (.wav .flac .ogg .mp3 .aiff), series (.npy; samples, channels) or sample:NAME."""
    start: float = 0.0
    """Seconds to skip."""
    duration: float | None = None
    """Seconds to fit; all that follow if left out."""
    max_samples: int | None = None
    """Fit no more samples than this."""
    mono: bool = False
    """Fit the mean of its channels."""
    sample_rate: float | None = None
    """Samples per second of a series, which doesn't say so itself; 1 if left out."""


class AudioDataParser(SignalDataParser):
    """Loads an `Audio`."""

    config: AudioDataParserConfig
    formats = ".wav .flac .ogg .mp3 .npy"

    def samples(self) -> list[str]:
        """Names of the built-in sounds."""
        from ...signals.samples import SOUNDS

        return list(SOUNDS)

    def load(self) -> "Signal":
        """See `load_audio`."""
        from ...signals.audio import Excerpt, load_audio

        config = self.config
        excerpt = Excerpt(config.start, config.duration, config.max_samples, config.mono)
        return load_once(load_audio, config.data, excerpt, config.sample_rate, config.experiment())


@dataclass
class VolumeDataParserConfig(GridDataParserConfig):
    """A scalar field sampled in three dimensions: an array, or sample:NAME for a built-in one."""

    _target: type = field(default_factory=lambda: VolumeDataParser)
    data: Path = Path()
    """Array (.npy .npz; x, y, z) of an occupancy or of any other values, or sample:NAME."""
    spacing: float = 1.0
    """Between neighbouring samples, in the world; the first sample lies at the origin."""
    level: float | None = None
    """Value that parts inside from outside; half-way between two values, else 0 where values have both signs, else the
    middle of their range, if left out."""
    inside: Literal["above", "below"] = "above"
    """Side of the level that is inside: below for signed distances."""
    max_samples: int = 200_000_000
    """Larger arrays are refused before they are read."""
    up: Literal["x", "y", "z"] = "z"
    """Axis that points up in pictures and in the viewer; the data stays as it is."""


class VolumeDataParser(SignalDataParser):
    """Loads a `Volume`."""

    config: VolumeDataParserConfig
    formats = ".npy .npz"

    def samples(self) -> list[str]:
        """Names of the built-in volumes."""
        from ...signals.samples import VOLUMES

        return list(VOLUMES)

    def views(self) -> Cameras:
        """All around with the chosen axis up, from a corner on."""
        return look_at_origin(FARTHER * orbit(self.config.up, SIDES), self.config.up)

    def load(self) -> "Signal":
        """See `load_volume`."""
        from ...signals.volume import load_volume

        config = self.config
        options = config.spacing, config.level, config.inside, config.max_samples, config.experiment()
        return load_once(load_volume, config.data, *options)


def orbit(up: str, count: int) -> Tensor:
    """Places about a shape, all as high and as far as its first view, which they begin with, [count, 3].

    The angle between neighbours is the same all around; seen from above, they go against the clock.
    """
    axis = "xyz".index(up)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    angles = torch.arange(count) * (2 * torch.pi / count)
    start = torch.tensor(VIEWPOINTS[up])
    places = start.repeat(count, 1)
    places[:, first] = start[first] * angles.cos() - start[second] * angles.sin()
    places[:, second] = start[first] * angles.sin() + start[second] * angles.cos()
    return places


def look_at_origin(places: Tensor | Sequence, up: str, width: int = 512, height: int = 512) -> Cameras:
    """Cameras at `places`, [n, 3] or one of them, that look at the origin, the axis `up` pointing up."""
    position = torch.atleast_2d(torch.as_tensor(places))
    backward = position / position.norm(dim=-1, keepdim=True)
    right = torch.linalg.cross(torch.eye(3)["xyz".index(up)].expand_as(backward), backward)
    right = right / right.norm(dim=-1, keepdim=True)
    poses = torch.stack([right, torch.linalg.cross(backward, right), backward, position], dim=-1)
    focal = height / 2 / torch.tan(torch.deg2rad(torch.tensor(FIELD_OF_VIEW / 2)))
    return Cameras(poses, focal, focal, width / 2, height / 2, width, height)


shape_data = DataParserSpecification(
    ShapeDataParserConfig(), "A surface from a mesh, points on it, or a built-in sample."
)
image_data = DataParserSpecification(ImageDataParserConfig(), "A picture from a file, an array or a built-in sample.")
audio_data = DataParserSpecification(AudioDataParserConfig(), "A sound from a file, a series or a built-in sample.")
volume_data = DataParserSpecification(VolumeDataParserConfig(), "A volume from an array or a built-in sample.")
