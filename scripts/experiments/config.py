"""What an experiment is: signals, ways to fit them, and what is told of the fits."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from winner_nerfstudio.signals.load import loading_options
from winner_nerfstudio.training.decay import Decay
from winner_nerfstudio.training.prepare import options_of, sorted_options
from winner_nerfstudio.training.recipes import RECIPES

from .typed import ConfigError, nearest, typed

GRID_FIGURES = (
    "psnr",
    "psnr_paper",
    "psnr_peak_to_peak",
    "psnr_between",
    "psnr_held_out",
    "psnr_target",
    "best_psnr",
    "best_psnr_paper",
    "best_psnr_step",
    "best_psnr_held_out",
    "best_psnr_held_out_step",
)
SHAPE_FIGURES = (
    "iou",
    "sdf_error_near",
    "sdf_error_far",
    "distance_to_target",
    "distance_to_fit",
    "chamfer_l1",
    "chamfer_l2",
    "normal_consistency",
    "f_score_0.5%",
    "f_score_1%",
    "edge_normal_degrees",
)
FIGURES: dict[str, tuple[str, ...]] = {
    "audio": (*GRID_FIGURES, "snr", "si_snr", "log_spectral_distance"),
    "image": (*GRID_FIGURES, "ssim"),
    "volume": (*GRID_FIGURES, "iou", "iou_held_out"),
    "sdf": (*SHAPE_FIGURES, "best_iou", "best_iou_step"),
}
"""What a run is measured by, by the kind of signal; the ``best_`` ones are over its curve."""
TOLD: dict[str, tuple[str, ...]] = {
    "audio": ("psnr_paper", "best_psnr_paper", "psnr_peak_to_peak", "psnr_between", "log_spectral_distance"),
    "image": ("psnr_paper", "best_psnr_paper", "psnr_peak_to_peak", "psnr_between", "ssim"),
    "volume": ("psnr_paper", "psnr_peak_to_peak", "psnr_between", "iou"),
    "sdf": ("iou", "chamfer_l1", "chamfer_l2", "normal_consistency", "f_score_0.5%", "sdf_error_near", "sdf_error_far"),
}
"""What the table has if the file says nothing."""


@dataclass(frozen=True)
class Target:
    """A signal to fit.

    Attributes:
        data: a file, in the folder that the command line names, or ``sample:NAME``.
        options: of `fit`, besides the experiment's.
        steps: of training.
        learning_rate: of Adam, at first.
    """

    data: str
    options: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    learning_rate: float | None = None


@dataclass(frozen=True)
class Variant:
    """A way to fit: what differs from the experiment.

    Attributes:
        options: of `fit`, besides the experiment's: ``network``, ``network_args``, ``init``, ``schedule`` ...
        steps: of training.
        learning_rate: of Adam, at first.
        decay: its course.
        noise_scale: what the schedule's two noise scales are multiplied by.
        group: variants of one group are joined in the front's plot.
    """

    options: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    learning_rate: float | None = None
    decay: Decay | None = None
    noise_scale: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class Front:
    """Two figures that are bought with one another.

    Attributes:
        x: along the horizontal axis, more being better.
        y: along the vertical axis, likewise.
        reference: the group of variants that others are compared with.
    """

    x: str
    y: str
    reference: str | None = None


@dataclass(frozen=True)
class Experiment:
    """Every signal by every variant, so many seeds of each.

    Attributes:
        kind: of the signals.
        signals: by name.
        variants: by name.
        options: of `fit`, for all.
        steps: of training; the kind's own if left out.
        learning_rate: of Adam, at first; the kind's own if left out.
        decay: its course.
        snr: noise is added to the signals, in dB below their variance; figures are against the clean ones.
        seeds: how many; they are 1, 2, 3 ...
        measure_every: steps between two points of a run's curve; a hundredth of the steps if left out.
        figures: the table's columns.
        digits: behind the point.
        baseline: the variant whose last figure the others are to reach, and that is first in plots.
        shown: variants that pictures show side by side; all if left out.
        front: two figures to plot over one another.
    """

    kind: Literal["sdf", "image", "audio", "volume"]
    signals: dict[str, Target]
    variants: dict[str, Variant]
    options: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    learning_rate: float | None = None
    decay: Decay = field(default_factory=Decay)
    snr: float | None = None
    seeds: int = 5
    measure_every: int | None = None
    figures: tuple[str, ...] = ()
    digits: int = 2
    baseline: str | None = None
    shown: tuple[str, ...] = ()
    front: Front | None = None


@dataclass(frozen=True)
class Fit:
    """All that a fit is told, but for the seed and the noise that is added to its signal.

    Attributes:
        options: of `fit`.
        steps: of training.
        learning_rate: of Adam, at first.
        decay: its course.
        noise_scale: what the schedule's two noise scales are multiplied by, or None.
        measure_every: steps between two points of the curve.
    """

    options: dict[str, Any]
    steps: int
    learning_rate: float
    decay: Decay
    noise_scale: float | None
    measure_every: int


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but that a key that stands twice is an error; YAML's takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def fit_of(experiment: Experiment, target: Target, variant: Variant) -> Fit:
    """What one variant does with one signal; the variant's word counts before the signal's and the experiment's."""
    recipe = RECIPES[experiment.kind]

    def first(*values: Any) -> Any:
        return next(value for value in values if value is not None)

    steps = first(variant.steps, target.steps, experiment.steps, recipe.steps)
    return Fit(
        options={**experiment.options, **target.options, **variant.options},
        steps=steps,
        learning_rate=first(
            variant.learning_rate, target.learning_rate, experiment.learning_rate, recipe.learning_rate
        ),
        decay=first(variant.decay, experiment.decay),
        noise_scale=variant.noise_scale,
        measure_every=first(experiment.measure_every, max(1, steps // 100)),
    )


def read(path: Path, small: bool = False) -> Experiment:
    """The experiment of a file, checked, or its small variant.

    The file's section ``small`` has the keys of the whole with what is different; a null takes an entry away.

    Raises:
        ConfigError: it cannot be read, or won't do.
    """
    try:
        raw = yaml.load(path.read_text("utf8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give an experiment such as configs/audio.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())[:160]})") from None
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: holds no mapping of names; see configs/ for how an experiment is written")
    changes = raw.get("small")
    whole = {key: value for key, value in raw.items() if key != "small"}
    try:
        experiment = _checked(typed(Experiment, whole, ""))
        if changes is None and not small:
            return experiment
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        if not isinstance(changes, Mapping):
            raise ConfigError("is missing; it says what is different in the small variant")
        reduced = _checked(typed(Experiment, _merged(whole, changes), ""))
    except ConfigError as error:
        raise ConfigError(f"{path}: small: {error}") from None
    return reduced if small else experiment


def chosen(experiment: Experiment, names: tuple[str, ...]) -> tuple[dict[str, Target], dict[str, Variant]]:
    """The signals and the variants of those names; all of the one or the other where none is named.

    Raises:
        ConfigError: a name of neither.
    """
    for name in names:
        if name not in experiment.signals and name not in experiment.variants:
            raise ConfigError(
                f"{name} is neither a signal nor a variant{nearest(name, [*experiment.signals, *experiment.variants])}"
            )
    signals = {name: target for name, target in experiment.signals.items() if name in names}
    variants = {name: variant for name, variant in experiment.variants.items() if name in names}
    return signals or experiment.signals, variants or experiment.variants


def with_baseline(experiment: Experiment, name: str | None) -> Experiment:
    """The experiment with another baseline, if one is named.

    Raises:
        ConfigError: it is no variant.
    """
    return experiment if name is None else _checked(replace(experiment, baseline=name))


def slug(name: str) -> str:
    """A name as that of a file."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-.") or "-"


def _merged(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with another's entries put over its own, level by level; None takes an entry away."""
    result = dict(whole)
    for key, value in changes.items():
        if value is None:
            if key not in result:
                raise ConfigError(f"{key}=null takes away what isn't there{nearest(key, result)}")
            del result[key]
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def _checked(experiment: Experiment) -> Experiment:
    """The experiment itself, what a type doesn't tell being as it should."""
    for name, least in (("seeds", 1), ("steps", 1), ("measure_every", 1), ("digits", 0)):
        value = getattr(experiment, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value} must be at least {least}")
    if not experiment.signals or not experiment.variants:
        raise ConfigError("signals and variants must not be empty")
    if experiment.snr is not None and experiment.kind == "sdf":
        raise ConfigError("snr adds noise to samples; shapes have none")
    fractions = [
        {**experiment.options, **target.options}.get("train_fraction", 1) for target in experiment.signals.values()
    ]
    whole = all(fraction == 1 for fraction in fractions)
    known = [name for name in FIGURES[experiment.kind] if not (whole and "held_out" in name)]
    front = experiment.front
    for where, name in [("figures", each) for each in experiment.figures] + (
        [("front.x", front.x), ("front.y", front.y)] if front else []
    ):
        if name not in known:
            without = " without train_fraction" if name in FIGURES[experiment.kind] else ""
            raise ConfigError(
                f"{where}: {name} is no figure of kind {experiment.kind!r}{without}{nearest(name, known)}"
            )
    baseline = [] if experiment.baseline is None else [("baseline", experiment.baseline)]
    for where, name in baseline + [("shown", each) for each in experiment.shown]:
        if name not in experiment.variants:
            raise ConfigError(f"{where}: {name} is no variant{nearest(name, experiment.variants)}")
    for where, names in (("signals", experiment.signals), ("variants", experiment.variants)):
        _check_names(where, names)
    for name in experiment.signals:
        if name in experiment.variants or name == "mean":
            raise ConfigError(
                f"signals: {name} is the name of {'a variant' if name != 'mean' else 'their mean'} as well"
            )
    for name, variant in experiment.variants.items():
        if data := [each for each in variant.options if each in loading_options(experiment.kind)]:
            raise ConfigError(f"variants.{name}: {data[0]} is an option of the data; all variants have the same")
    groups = {variant.group for variant in experiment.variants.values() if variant.group}
    if front and front.reference is not None and front.reference not in groups:
        raise ConfigError(f"front.reference: {front.reference} is no group{nearest(front.reference, sorted(groups))}")
    for name, target in experiment.signals.items():
        for label, variant in experiment.variants.items():
            _check_fit(experiment, fit_of(experiment, target, variant), f"signals.{name}, variants.{label}")
    return experiment


def _check_names(where: str, names: Iterable[str]) -> None:
    files: dict[str, str] = {}
    for name in names:
        other = files.setdefault(slug(name).lower(), name)
        if other != name:
            raise ConfigError(f"{where}: {other} and {name} would be kept under one name of a file; rename one")


def _check_fit(experiment: Experiment, fit: Fit, where: str) -> None:
    if fit.steps < 1:
        raise ConfigError(f"{where}: steps={fit.steps} must be at least 1")
    if not 0 < fit.learning_rate < float("inf"):
        raise ConfigError(f"{where}: learning_rate={fit.learning_rate} must be positive and finite")
    if problem := fit.decay.problem():
        raise ConfigError(f"{where}: decay: {problem}")
    if experiment.snr is not None and "noise_std" in fit.options:
        raise ConfigError(f"{where}: snr and noise_std both add noise; give one")
    types = {name: kind for part in options_of(experiment.kind).values() for name, kind in part.items()}
    for name, value in fit.options.items():
        if name in types:
            typed(types[name], value, f"{where}: {name}")
    try:
        options = sorted_options(experiment.kind, fit.options)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    if fit.noise_scale is None:
        return
    if not 0 <= fit.noise_scale < float("inf"):
        raise ConfigError(f"{where}: noise_scale={fit.noise_scale} must be finite and not negative")
    if not options.network.has_noise:
        raise ConfigError(f"{where}: noise_scale multiplies a schedule's noise, and this network has none")
