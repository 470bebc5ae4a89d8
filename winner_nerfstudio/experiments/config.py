"""Experiments as files: signals, the variants that fit them, and what is reported of the fits."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ..metrics.descriptions import BEST_IS_ONE, DESCRIPTIONS, describe_metric
from ..registry import Kind, find_rate, kind_named
from ..training.decay import Decay
from ..training.optimizers import check_optimizer
from ..training.prepare import option_names, sort_options, spell_out
from .conversion import ConfigError, convert, suggest
from .protocols import PROTOCOLS

MEAN = "mean"
"""The name, in tables and plots, of the mean over the signals."""


@dataclass(frozen=True)
class Target:
    """A signal to fit.

    Attributes:
        data: A file, in the folder that the command line names, or ``sample:NAME``.
        options: Options of `fit`, in place of the experiment's.
        steps: Training steps.
        learning_rate: The first learning rate of Adam.
        snr: The level of the noise that is added, see `Experiment`.
    """

    data: str
    options: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    learning_rate: float | None = None
    snr: float | None = None


@dataclass(frozen=True)
class Variant:
    """A way to fit, by what is different from the experiment.

    Attributes:
        options: Options of `fit`, in place of the experiment's: ``network``, ``network_args``, ``init``, ``schedule`` …
        steps: Training steps.
        learning_rate: The first learning rate of Adam.
        decay: How the learning rate falls.
        noise_scale: A factor for the schedule's two noise scales.
        group: Variants of one group are joined by a line in the plot of fronts, and compete in the tables of `best`.
        optimizer: The optimiser, see `build_optimizer`; Adam if left out.
        widths: Widths of the layers, see `Experiment`.
        protocol: A protocol of `protocols.PROTOCOLS`, whose points, loss and optimiser take the place of a shape's own;
            options of these have no effect then, but for those of `DrawnOptions`.
    """

    options: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    learning_rate: float | None = None
    decay: Decay | None = None
    noise_scale: float | None = None
    group: str | None = None
    optimizer: str | None = None
    widths: tuple[int, ...] = ()
    protocol: str | None = None


@dataclass(frozen=True)
class Front:
    """Two metrics, of which a variant gains one at the price of the other.

    Attributes:
        x: The metric along the horizontal axis; more is better.
        y: The metric along the vertical axis; more is better.
        reference: The group of variants that the others are compared with.
    """

    x: str
    y: str
    reference: str | None = None


@dataclass(frozen=True)
class Experiment:
    """Every signal fitted by every variant, each with a number of seeds.

    Attributes:
        kind: The kind of the signals.
        signals: The signals by name.
        variants: The variants by name.
        options: Options of `fit` for all runs.
        steps: Training steps; those of the kind's recipe if left out.
        seconds: CPU time of training, of all threads, in place of `steps`: all variants are compared in equal time.
        learning_rate: The first learning rate of Adam; that of the kind's recipe if left out.
        decay: How the learning rate falls.
        snr: Noise is added to the signals, so many dB below their variance; metrics compare with the clean signals.
        seeds: How many seeds: 1, 2, 3 …
        measure_every: Steps between two points of a run's curve; a hundredth of the steps if left out.
        metrics: The columns of the table; those of the kind if left out.
        digits: Decimals of decibels in the table.
        baseline: The variant that the others are compared with: in how many steps they reach its last value.
        relative: Errors, or metrics that are 1 at best, that are tabulated as parts of the baseline's.
        best: Metrics for each of which there is a table of every group's best variant by it.
        shown: Variants whose fits are drawn side by side; all if left out.
        front: Two metrics to plot over one another.
        widths: Widths of the layers, with each of which every variant is fitted, as "NAME, WIDTH", all in one group.
        sweep: Metrics to plot over the weights per sample, a line for each group, in panels for each level of noise.
    """

    kind: str
    signals: dict[str, Target]
    variants: dict[str, Variant]
    options: dict[str, Any] = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None
    learning_rate: float | None = None
    decay: Decay = field(default_factory=Decay)
    snr: float | None = None
    seeds: int = 5
    measure_every: int | None = None
    metrics: tuple[str, ...] = ()
    digits: int = 2
    baseline: str | None = None
    relative: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    front: Front | None = None
    widths: tuple[int, ...] = ()
    sweep: tuple[str, ...] = ()

    def noise_level(self, signal: str) -> float | None:
        """Return the `snr` of a signal, its own or else the experiment's."""
        own = self.signals[signal].snr
        return self.snr if own is None else own


@dataclass(frozen=True)
class Fit:
    """How one variant fits one signal, but for the seed and the noise that is added to the signal.

    Attributes:
        options: Options of `fit`.
        steps: Training steps; None if `seconds` limits the run.
        seconds: CPU time of training, or None.
        learning_rate: The first learning rate of Adam.
        decay: How the learning rate falls.
        noise_scale: A factor for the schedule's two noise scales, or None.
        measure_every: Steps between two points of the curve; None for points at the start and the end alone.
        optimizer: The optimiser.
        protocol: The protocol, see `Variant`, or None.
    """

    options: dict[str, Any]
    steps: int | None
    seconds: float | None
    learning_rate: float
    decay: Decay
    noise_scale: float | None
    measure_every: int | None
    optimizer: str
    protocol: str | None


class _Loader(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
    """YAML's safe loader, but a repeated key is an error, where YAML's own takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ConfigError: The file cannot be read, or holds something else.
    """
    try:
        content = yaml.load(path.read_text("utf8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give an experiment such as configs/audio.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())[:160]})") from None
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: holds no mapping of names; see configs/ for how an experiment is written")
    return content


def read_experiment(path: Path, small: bool = False) -> Experiment:
    """Return the experiment of a file, checked, or its small variant.

    The section ``small`` of the file has the keys of the whole that are different there; null removes an entry.

    Args:
        path: The file.
        small: Whether to return the small variant. Both are checked.

    Raises:
        ConfigError: The file cannot be read, or the experiment cannot be run.
    """
    content = read_yaml(path)
    changes = content.get("small")
    whole = {key: value for key, value in content.items() if key != "small"}
    try:
        experiment = _check(_spread_widths(convert(Experiment, whole, "")))
        if changes is None and not small:
            return experiment
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        if not isinstance(changes, Mapping):
            raise ConfigError("is missing; it says what is different in the small variant")
        reduced = _check(_spread_widths(convert(Experiment, _merge(whole, changes), "")))
    except ConfigError as error:
        raise ConfigError(f"{path}: small: {error}") from None
    return reduced if small else experiment


def resolve_fit(experiment: Experiment, target: Target, variant: Variant) -> Fit:
    """Return how a variant fits a signal: its own values, else the signal's, the experiment's, the recipe's.

    Raises:
        ValueError: An option is not of its type.
    """
    kind = kind_named(experiment.kind)
    recipe = kind.recipe

    def first(*values: Any) -> Any:
        return next(value for value in values if value is not None)

    timed = experiment.seconds is not None
    steps = None if timed else first(variant.steps, target.steps, experiment.steps, recipe.steps)
    return Fit(
        options=_convert_options(kind, {**experiment.options, **target.options, **variant.options}),
        steps=steps,
        seconds=experiment.seconds,
        learning_rate=first(
            variant.learning_rate, target.learning_rate, experiment.learning_rate, find_rate(recipe.rates, "adam")
        ),
        decay=first(variant.decay, experiment.decay),
        noise_scale=variant.noise_scale,
        measure_every=None if steps is None else first(experiment.measure_every, max(1, steps // 100)),
        optimizer=first(variant.optimizer, "adam"),
        protocol=variant.protocol,
    )


def _convert_options(kind: Kind, options: dict[str, Any]) -> dict[str, Any]:
    """Return options of `fit` as their types; a whole number stays one, as in the specifications of earlier runs."""
    types = {
        name: hints[name]
        for group, names in option_names(kind).items()
        for hints in [get_type_hints(group)]
        for name in names
    }
    converted = dict(spell_out(options))
    for name in converted.keys() & types.keys():
        value = convert(types[name], converted[name], name)
        converted[name] = converted[name] if value == converted[name] else value
    return converted


def select(experiment: Experiment, names: tuple[str, ...]) -> tuple[dict[str, Target], dict[str, Variant]]:
    """Return the signals and the variants of those names; all signals, or all variants, where none is named.

    Raises:
        ConfigError: A name belongs to neither.
    """
    for name in names:
        if name not in experiment.signals and name not in experiment.variants:
            hint = suggest(name, [*experiment.signals, *experiment.variants])
            raise ConfigError(f"{name} is neither a signal nor a variant{hint}")
    signals = {name: target for name, target in experiment.signals.items() if name in names}
    variants = {name: variant for name, variant in experiment.variants.items() if name in names}
    return signals or experiment.signals, variants or experiment.variants


def replace_baseline(experiment: Experiment, name: str | None) -> Experiment:
    """Return the experiment with another baseline; unchanged for None.

    Raises:
        ConfigError: There is no variant of that name.
    """
    return experiment if name is None else _check(replace(experiment, baseline=name))


def slugify(name: str) -> str:
    """Return a name as that of a file."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-.") or "-"


def _merge(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with the entries of another in place of its own, level by level; None removes an entry."""
    result = dict(whole)
    for key, value in changes.items():
        if value is None:
            if key not in result:
                raise ConfigError(f"{key}=null takes away what isn't there{suggest(key, result)}")
            del result[key]
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result


def _spread_widths(experiment: Experiment) -> Experiment:
    """Return the experiment with a variant for each width of the layers in place of each that has several."""
    variants: dict[str, Variant] = {}
    for name, variant in experiment.variants.items():
        widths = variant.widths or experiment.widths
        for width in widths:
            options = {**variant.options, "hidden_dim": width}
            variants[f"{name}, {width}"] = replace(variant, options=options, group=variant.group or name)
        if not widths:
            variants[name] = variant
    return replace(experiment, variants=variants)


def _check(experiment: Experiment) -> Experiment:
    """Return the experiment itself after checking what types cannot say."""
    try:
        kind_named(experiment.kind)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    _check_numbers(experiment)
    if not experiment.signals or not experiment.variants:
        raise ConfigError("signals and variants must not be empty")
    levels = [experiment.noise_level(name) for name in experiment.signals]
    if any(level is not None for level in levels) and not hasattr(kind_named(experiment.kind).options, "noise_std"):
        raise ConfigError("snr adds noise to samples; shapes have none")
    _check_metrics(experiment)
    _check_references(experiment)
    _check_file_names("signals", experiment.signals)
    _check_file_names("variants", experiment.variants)
    for name in experiment.signals:
        if name in experiment.variants or name == MEAN:
            other = "a variant" if name != MEAN else "their mean"
            raise ConfigError(f"signals: {name} is the name of {other} as well")
    kind = kind_named(experiment.kind)
    shared = {option.name for option in fields(kind.options)} - set(kind.sampling_options)
    for name, variant in experiment.variants.items():
        if data := [each for each in variant.options if each in shared]:
            raise ConfigError(f"variants.{name}: {data[0]} is an option of the data; all variants have the same")
    for name, target in experiment.signals.items():
        for label, variant in experiment.variants.items():
            key = f"signals.{name}, variants.{label}"
            try:
                fit = resolve_fit(experiment, target, variant)
            except ValueError as error:
                raise ConfigError(f"{key}: {error}") from None
            _check_fit(experiment, fit, experiment.noise_level(name), key)
    return experiment


def _check_numbers(experiment: Experiment) -> None:
    for name, least in (("seeds", 1), ("steps", 1), ("measure_every", 1), ("digits", 0)):
        value = getattr(experiment, name)
        if value is not None and value < least:
            raise ConfigError(f"{name}={value} must be at least {least}")
    levels = [("", experiment.snr), *((f"signals.{name}.", each.snr) for name, each in experiment.signals.items())]
    for path, level in levels:
        if level is not None and not math.isfinite(level):
            raise ConfigError(f"{path}snr={level} must be finite (dB)")
    if experiment.seconds is None:
        return
    if not 0 < experiment.seconds < math.inf:
        raise ConfigError(f"seconds={experiment.seconds} must be positive and finite")
    by_steps = [("", experiment), *((f"signals.{name}.", each) for name, each in experiment.signals.items())]
    for path, each in [*by_steps, *((f"variants.{name}.", each) for name, each in experiment.variants.items())]:
        for name in ("steps", "measure_every"):
            if getattr(each, name, None) is not None:
                raise ConfigError(f"{path}{name} doesn't go with seconds, which limits runs by time; leave one out")


def _check_metrics(experiment: Experiment) -> None:
    """Check that every metric named is one of the kind, and one of held-out samples only where there are some."""
    fractions = [
        {**experiment.options, **target.options}.get("train_fraction", 1) for target in experiment.signals.values()
    ]
    whole = all(fraction == 1 for fraction in fractions)
    names = kind_named(experiment.kind).metric_names.names
    known = [name for name in names if not (whole and "held_out" in name)]
    front = experiment.front
    uses = [("metrics", name) for name in experiment.metrics] + [("relative", name) for name in experiment.relative]
    uses += [("best", name) for name in experiment.best] + [("sweep", name) for name in experiment.sweep]
    for key, name in uses + ([("front.x", front.x), ("front.y", front.y)] if front else []):
        if name not in known:
            without = " without train_fraction" if name in names else ""
            raise ConfigError(f"{key}: {name} is no metric of kind {experiment.kind!r}{without}{suggest(name, known)}")
    if experiment.relative and experiment.baseline is None:
        raise ConfigError("relative compares with the baseline, and there is none; name a variant as baseline")
    for name in experiment.relative:
        if name in DESCRIPTIONS and not describe_metric(name).is_error and name not in BEST_IS_ONE:
            raise ConfigError(f"relative: {name} is no error, and a part of it says nothing; name it in metrics")


def _check_references(experiment: Experiment) -> None:
    """Check that every variant and group that is referred to exists, and that a sweep has widths to go over."""
    for name, variant in experiment.variants.items():
        if experiment.sweep and "hidden_dim" not in variant.options:
            raise ConfigError(f"sweep: goes over the layers' widths, and variants.{name} has none; give widths")
    baseline = [] if experiment.baseline is None else [("baseline", experiment.baseline)]
    for key, name in baseline + [("shown", each) for each in experiment.shown]:
        if name not in experiment.variants:
            raise ConfigError(f"{key}: {name} is no variant{suggest(name, experiment.variants)}")
    groups = {variant.group for variant in experiment.variants.values() if variant.group}
    reference = experiment.front.reference if experiment.front else None
    if reference is not None and reference not in groups:
        raise ConfigError(f"front.reference: {reference} is no group{suggest(reference, sorted(groups))}")


def _check_file_names(key: str, names: Iterable[str]) -> None:
    files: dict[str, str] = {}
    for name in names:
        if not name.strip() or "|" in name or not name.isprintable():
            raise ConfigError(f"{key}: {name!r} cannot stand in a table; give a name without | and line ends")
        other = files.setdefault(slugify(name).lower(), name)
        if other != name:
            raise ConfigError(f"{key}: {other} and {name} would be kept under one name of a file; rename one")


def _check_fit(experiment: Experiment, fit: Fit, snr: float | None, key: str) -> None:
    if fit.steps is not None and fit.steps < 1:
        raise ConfigError(f"{key}: steps={fit.steps} must be at least 1")
    if not 0 < fit.learning_rate < math.inf:
        raise ConfigError(f"{key}: learning_rate={fit.learning_rate} must be positive and finite")
    try:
        check_optimizer(fit.optimizer)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    try:
        fit.decay.check()
    except ValueError as error:
        raise ConfigError(f"{key}: decay: {error}") from None
    if fit.seconds is not None and fit.decay.course == "exponential":
        raise ConfigError(f"{key}: decay: the exponential course counts steps, and seconds limits runs by time")
    others = [name for name in ("noise_std", "reference", "supervise") if name in fit.options]
    if snr is not None and others:
        raise ConfigError(f"{key}: snr adds noise to a clean signal; leave it or {others[0]} out")
    kind = kind_named(experiment.kind)
    for name in fit.options:
        if name in {each.name for each in (*fields(Experiment), *fields(Variant))}:
            raise ConfigError(f"{key}: {name} stands beside options, not among them")
    if fit.options.get("parts") == "auto":
        raise ConfigError(
            f"{key}: parts=auto: an experiment fits one network unless parts says how many; give a number"
        )
    _check_protocol(fit, kind, key)
    try:
        options = sort_options(kind, fit.options)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    if fit.noise_scale is None:
        return
    if not 0 <= fit.noise_scale < math.inf:
        raise ConfigError(f"{key}: noise_scale={fit.noise_scale} must be finite and not negative")
    if not options.network.has_noise:
        raise ConfigError(f"{key}: noise_scale multiplies a schedule's noise, and this network has none")


def _check_protocol(fit: Fit, kind: Kind, key: str) -> None:
    if fit.protocol is None:
        return
    if fit.protocol not in PROTOCOLS:
        raise ConfigError(f"{key}: protocol={fit.protocol!r} is none of: {', '.join(PROTOCOLS)}")
    if not hasattr(kind.options, "near_sigmas"):
        raise ConfigError(f"{key}: protocol {fit.protocol} draws points near a surface; kind {kind.name!r} has none")
    if fit.optimizer != "adam":
        raise ConfigError(f"{key}: protocol {fit.protocol} has an optimiser of its own; leave {fit.optimizer} out")
    if max(fit.options.get("parts", (1,))) > 1:
        raise ConfigError(f"{key}: protocol {fit.protocol} trains a single network; give parts: [1]")
