"""From whatever a user has to a signal: which kind it is, and what loads that kind."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, Literal, get_type_hints

from numpy import ndarray

from .errors import SignalError
from .signal import Signal

Kind = Literal["sdf", "image", "audio", "volume"]

FEW, MANY = 4, 16
"""Rows of an array that may be channels, where it has more than so many of everything else."""
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "sdf": (".obj", ".ply", ".stl", ".off", ".glb", ".gltf", ".xyz", ".pcd"),
    "image": (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"),
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"),
}


def kind_of(data: Any) -> Kind:
    """The kind of what a file of that name holds; of an array, or of a file with one, its shape decides.

    [n, 3] and [n, 6] are points, [n] and up to two columns a series, other arrays of two axes, and of three with up to
    four values in the last, pictures; the rest are volumes.

    Raises:
        ValueError: it cannot be told.
    """
    from .grid import read_array
    from .samples import IMAGES, SHAPES, SOUNDS, VOLUMES

    if is_mesh(data):
        return "sdf"
    file = Path() if isinstance(data, ndarray) else Path(data)
    if str(file).startswith("sample:"):
        tables: dict[Kind, dict[str, Any]] = {"sdf": SHAPES, "image": IMAGES, "audio": SOUNDS, "volume": VOLUMES}
        for kind, table in tables.items():
            if str(file).removeprefix("sample:") in table:
                return kind
        known = sorted(key for table in tables.values() for key in table)
        raise ValueError(f"{file}: no such built-in sample; there are: {', '.join(known)}")
    suffix = file.suffix.lower()
    for kind, suffixes in _SUFFIXES.items():
        if suffix in suffixes:
            return kind
    if isinstance(data, ndarray) or suffix in (".npy", ".npz"):
        shape = data.shape if isinstance(data, ndarray) else read_array(file, lambda shape: None).shape
        if len(shape) == 2 and shape[1] in (3, 6):
            return "sdf"
        # A few rows of many values are most likely channels that stand first.
        if len(shape) not in (1, 2, 3, 4) or (len(shape) > 1 and shape[0] <= FEW and min(shape[1:]) > MANY):
            raise ValueError(
                f"an array of shape {shape} may be anything; channels come last, [h, w, c] or [n, c]: turn it, or say"
                " which kind it is"
            )
        if len(shape) == 1 or (len(shape) == 2 and shape[1] <= 2):
            return "audio"
        return "image" if len(shape) == 2 or shape[-1] <= 4 else "volume"
    what = suffix or "file without suffix"
    raise ValueError(
        f"{file}: cannot tell what a {what} holds; say which kind it is, as in kind='sdf', or on the command line"
        " --method winner-sdf"
    )


def is_mesh(data: Any) -> bool:
    """Whether it has vertices and faces, as trimesh's meshes do."""
    return hasattr(data, "faces") and hasattr(data, "vertices")


def load_signal(data: Any, kind: Kind, **options: Any) -> Signal:
    """A signal of that kind from a file, ``sample:NAME``, an array, or a mesh of trimesh's.

    Args:
        data: what `load_surface`, `load_image`, `load_audio` or `load_volume` takes.
        kind: which of these.
        options: by the names that the data's own options have on the command line, see `loading_options`.

    Raises:
        SignalError: it cannot be used.
    """
    return _LOADERS[kind](data, **options)


def loading_options(kind: Kind) -> dict[str, Any]:
    """The options that `load_signal` takes for that kind, names and types."""
    types = get_type_hints(_LOADERS[kind])
    return {name: types[name] for name in list(signature(_LOADERS[kind]).parameters)[1:]}


def _surface(
    source: Any,
    sign: Literal["auto", "watertight", "winding", "unsigned"] = "auto",
    reference: str | None = None,
    surface_fraction: float = 0.3,
    near_fraction: float = 0.5,
    near_sigmas: tuple[float, ...] = (0.02, 0.004),
) -> Signal:
    from .cloud import load_surface
    from .shape import Mix

    try:
        mix = Mix(surface_fraction, near_fraction, tuple(near_sigmas))
    except ValueError as error:
        raise SignalError(str(error)) from None
    return load_surface(source, mix, sign, reference)


def _image(
    source: Any,
    max_pixels: int = 200_000_000,
    max_side: int | None = None,
    noise_std: float = 0.0,
    reference: str | None = None,
    train_fraction: float = 1.0,
    data_seed: int = 0,
) -> Signal:
    from .grid import Experiment
    from .image import load_image

    return load_image(source, max_pixels, max_side, Experiment(noise_std, reference, train_fraction, data_seed))


def _audio(
    source: Any,
    start: float = 0.0,
    duration: float | None = None,
    max_samples: int | None = None,
    mono: bool = False,
    sample_rate: float | None = None,
    noise_std: float = 0.0,
    reference: str | None = None,
    train_fraction: float = 1.0,
    data_seed: int = 0,
) -> Signal:
    from .audio import Excerpt, load_audio
    from .grid import Experiment

    excerpt = Excerpt(start, duration, max_samples, mono)
    return load_audio(source, excerpt, sample_rate, Experiment(noise_std, reference, train_fraction, data_seed))


def _volume(
    source: Any,
    spacing: float = 1.0,
    level: float | None = None,
    inside: Literal["above", "below"] = "above",
    max_samples: int = 200_000_000,
    noise_std: float = 0.0,
    reference: str | None = None,
    train_fraction: float = 1.0,
    data_seed: int = 0,
) -> Signal:
    from .grid import Experiment
    from .volume import load_volume

    experiment = Experiment(noise_std, reference, train_fraction, data_seed)
    return load_volume(source, spacing, level, inside, max_samples, experiment)


_LOADERS: dict[Kind, Callable[..., Signal]] = {"sdf": _surface, "image": _image, "audio": _audio, "volume": _volume}
