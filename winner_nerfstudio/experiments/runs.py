"""The runs of an experiment: which there are, which are done, and how one is made."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..fields import Field
from ..fields.resample import evaluate_samples
from ..files import replacing
from ..metrics.grid import psnr
from ..networks import count_weights
from ..registry import kind_named
from ..signals.blocks import compute_source_digest
from ..signals.companions import find_companions
from ..signals.grid import Grid
from ..signals.signal import Signal
from ..training.initialize import build_field, describe_initialization, initialize_, start
from ..training.loop import Training
from ..training.loss import SquareLoss
from ..training.options import NetworkOptions, NoiseOptions
from ..training.prepare import FitOptions, sort_options
from ..version import __version__
from .clock import Clock
from .config import Experiment, Fit, Target, Variant, resolve_fit, slugify
from .conversion import ConfigError
from .interrupted import InterruptedRun
from .protocols import ClippedAdam, start_bacon

PAPER = 20 * math.log10(2)
"""dB between a PSNR whose peak is the data range, 2, and arXiv 2509.09719's, whose peak is 1."""

OTHER_FILES = ("reference", "known")
"""Options that name a file beside the signal's own, in the same folder."""

CURVE_SAMPLES = 1 << 18
"""Samples that a point of a curve is measured at, at most."""

PROGRAM = f"winner-nerfstudio {__version__}"
"""The program that makes the runs."""

Record = dict[str, Any]
"""What is kept of a run, see `perform`."""


@dataclass(frozen=True)
class Run:
    """One fit of an experiment.

    Attributes:
        signal: The signal's name.
        variant: The variant's name.
        seed: The seed of the network and the batches.
        path: The file that its record is kept in.
        specification: All that its outcome depends on, plain values.
        target: The signal.
        options: The network, with the noise of its initialisation, and the batches.
        fit: How long it is trained, and at what rate.
        keeps_values: Whether the fitted samples are kept as well, for plots.
    """

    signal: str
    variant: str
    seed: int
    path: Path
    specification: dict[str, Any]
    target: Signal
    options: FitOptions
    fit: Fit
    keeps_values: bool

    @property
    def values_path(self) -> Path:
        """The file that the fitted samples are kept in."""
        return self.path.with_suffix(".npz")

    @property
    def state_path(self) -> Path:
        """The file that the state of its training is kept in while it is under way."""
        return self.path.with_suffix(".state")

    @property
    def work(self) -> float:
        """What the time of its training is proportional to: that time itself if it is limited, else points in all."""
        if self.fit.steps is None:
            return float(self.fit.seconds or 0)
        batch = self.options.batches.points
        return float(self.fit.steps * min(batch, self.options.kind.sample_count(self.target) or batch))

    def record(self) -> Record | None:
        """Return the record that was kept of it, or None."""
        try:
            kept = json.loads(self.path.read_text("utf8"))
            same = _to_text(kept["specification"]) == _to_text(self.specification)
        except (OSError, ValueError, KeyError, TypeError):  # cut off or emptied by something other than `perform`
            return None
        return kept if same and (not self.keeps_values or self.values_path.is_file()) else None

    def on_any_device(self) -> "Run":
        """Return the same run on another device if only that one is kept; else itself."""
        if self.record() is None:
            for device in ("cuda", "cpu", "mps"):
                other = _specify(self, self.specification | {"device": device})
                if other.record() is not None:
                    return other
        return self


Done = list[tuple[Run, Record]]
"""Runs with their records."""


class Workspace(NamedTuple):
    """Where runs are made and kept.

    Attributes:
        device: The device they are trained on.
        data: The folder of the files that the experiment names.
        runs: The folder that records are kept in.
    """

    device: torch.device
    data: Path
    runs: Path


def plan(
    experiment: Experiment, signals: dict[str, Target], variants: dict[str, Variant], seeds: int, workspace: Workspace
) -> Iterator[Run]:
    """Yield every run, signal by signal.

    Loads the signals and computes the scales of their noise, which takes seconds at most.

    Args:
        experiment: The experiment.
        signals: Its signals, or some of them.
        variants: Its variants, or some of them.
        seeds: How many seeds.
        workspace: The device and the folders.

    Raises:
        ValueError: A signal cannot be loaded.
    """
    for name, target in signals.items():
        loaded: dict[str, tuple[Signal, dict[str, str]]] = {}
        source = target.data if target.data.startswith("sample:") else str(workspace.data / target.data)
        for label, variant in variants.items():
            fit = resolve_fit(experiment, target, variant)
            options = sort_options(kind_named(experiment.kind), fit.options)
            beside = {option: workspace.data / file for option in OTHER_FILES if (file := fit.options.get(option))}
            options = replace(options, data=replace(options.data, **beside))
            key = repr(options.data)
            if key not in loaded:
                for file in (source, *map(str, beside.values())):
                    _check_exists(file)
                digests = {
                    f"{option}_digest": "-".join([compute_source_digest(file), *_hash_companions(file)])
                    for option, file in beside.items()
                }
                loaded[key] = _load(source, experiment.noise_level(name), options), digests
            signal, digests = loaded[key]
            network, noise, begun = _resolve_start(signal, options.network, fit.noise_scale)
            options = replace(options, network=network)
            path = workspace.runs / slugify(name) / slugify(label) / "seed"
            common = {
                "kind": experiment.kind,
                "data": target.data,
                "digest": hash_data(signal, source),
                "snr": experiment.noise_level(name),
                "noise": noise,
                "start": begun,
                "device": workspace.device.type,
                **_describe_fit(fit, options),
                **digests,
            }
            for seed in range(1, seeds + 1):
                keeps = seed == 1 and isinstance(signal, Grid)
                run = Run(name, label, seed, path, {}, signal, options, fit, keeps)
                yield _specify(run, common | {"seed": seed})


def perform(run: Run, device: torch.device, on_progress: Callable[[float], None]) -> Record:
    """Make a run and keep its record, which is written whole, and last; go on with a run that was stopped.

    Args:
        run: The run.
        device: The device it is trained on.
        on_progress: Called with the part that is done, from 0 to 1, at every point of the curve.

    Returns:
        The record: ``specification``; ``curve``, points of ``step``, ``seconds`` of training alone, and metrics (None
        where they aren't finite); ``metrics`` at the end, and the best over the run; ``exact``, the names of those that
        are infinite, as the PSNR of an exact fit; ``seconds`` of training and ``wall``, of all; ``program``;
        ``threads``; ``device``.
    """
    began = time.perf_counter()
    field, training, clock = _prepare(run, device)
    unfinished = InterruptedRun(run.state_path, _to_text(run.specification), training, clock, began)
    curve, losses = _train(run, field, training, clock, unfinished, on_progress)
    metrics = run.options.kind.metrics(field, run.target, run.options.network) | find_best(curve)
    if isinstance(run.target, Grid) and run.target.clean is not None:
        metrics |= find_stopped(curve, psnr(run.target.noise))
    if (count := run.options.kind.sample_count(run.target)) is not None:
        metrics["weights_per_sample"] = count_weights(field.network.parameters()) / count
    if _learns_from_all_samples(run):
        metrics |= find_best_loss(losses, metrics)
    if run.fit.steps is None:
        metrics["steps"] = training.done
    record = {
        "specification": run.specification,
        "metrics": {name: value for name, value in metrics.items() if math.isfinite(value)},
        "exact": [name for name, value in metrics.items() if value == math.inf],
        "curve": [{name: value if math.isfinite(value) else None for name, value in point.items()} for point in curve],
        "seconds": clock.seconds,
        "wall": unfinished.wall,
        "program": PROGRAM,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
    _keep(run, record, field)
    unfinished.remove()
    return record


def _prepare(run: Run, device: torch.device) -> tuple[Field, Training, Clock]:
    """Return the field, initialised, its training, and a clock that counts it; the first points are drawn already.

    Where the time is limited, all this counts as training: of a field of many cells it is a large part of it.
    """
    clock = Clock(run.fit)
    begin, optimizer = (start, run.fit.optimizer) if run.fit.protocol is None else (start_bacon, ClippedAdam)
    with clock.running() if run.fit.steps is None else nullcontext():
        started = begin(run.target, run.options, device, run.seed)
        started.sampler.batch(0)
    training = Training(started, run.fit.learning_rate, clock.decay, optimizer)
    return started.field, training, clock


def _train(
    run: Run,
    field: Field,
    training: Training,
    clock: Clock,
    unfinished: InterruptedRun,
    on_progress: Callable[[float], None],
) -> tuple[list[dict[str, float]], list[float]]:
    """Train to the end; return the curve, and the loss before each step."""
    measure = run.options.kind.monitor(run.target, CURVE_SAMPLES).metrics
    curve, losses = unfinished.restore()
    if not curve:
        curve = [{"step": 0, "seconds": clock.seconds, **measure(field)}]
    while not losses or clock.part(training.done) < 1:
        with clock.running():
            for _ in range(clock.steps_to_next_point(training.done)):
                training.step()
                losses.append(training.loss)
            float(training.loss)  # waits for the device
        part = clock.part(training.done)
        if part == 1 or run.fit.measure_every is not None:
            curve.append({"step": training.done, "seconds": clock.seconds, **measure(field)})
        unfinished.save(curve, losses)
        on_progress(part)
    training.finish()
    return curve, torch.stack(losses).tolist()


def _keep(run: Run, record: Record, field: Field) -> None:
    """Write the fitted samples, if they are kept, and the record."""
    if run.keeps_values:
        assert isinstance(run.target, Grid)
        with replacing(run.values_path) as temporary:
            np.savez_compressed(temporary, values=evaluate_samples(field, run.target.lattice))
    with replacing(run.path) as temporary:
        temporary.write_text(json.dumps(record, indent=1), "utf8")


def find_best(curve: list[dict[str, float]]) -> dict[str, float]:
    """Return the greatest value of each metric of a curve, as ``best_NAME``, and its step, as ``best_NAME_step``."""
    found: dict[str, float] = {}
    for name in [key for key in curve[0] if key not in ("step", "seconds")]:
        points = [point for point in curve if math.isfinite(point[name])]
        if points:
            point = max(points, key=lambda point: point[name])
            found |= {f"best_{name}": point[name], f"best_{name}_step": point["step"]}
    return _add_paper_convention(found)


def find_stopped(curve: list[dict[str, float]], level: float) -> dict[str, float]:
    """Return the PSNR against the clean signal at two points where a run can be stopped without that signal.

    Args:
        curve: The curve of a run on a noisy signal.
        level: The PSNR of a fit whose error is as great as the estimated noise.

    Returns:
        ``stopped_psnr`` and ``stopped_step`` where the error against the noisy samples first is no greater than the
        noise (Morozov's discrepancy principle), at the end if it never is; and where some are held out
        ``held_out_stopped_psnr`` and ``held_out_stopped_step`` where the noisy ones are fitted best.
    """
    stopped = next((point for point in curve if point["psnr_noisy"] >= level), curve[-1])
    found = {"stopped_psnr": stopped["psnr"], "stopped_step": stopped["step"]}
    points = [point for point in curve if math.isfinite(point.get("psnr_held_out_noisy", math.nan))]
    if points:
        best = max(points, key=lambda point: point["psnr_held_out_noisy"])
        found |= {"held_out_stopped_psnr": best["psnr"], "held_out_stopped_step": best["step"]}
    return found


def find_best_loss(losses: list[float], metrics: dict[str, float]) -> dict[str, float]:
    """Return the best PSNR over every single step, where a step's loss is the mean square error of all samples.

    Args:
        losses: The loss before each step.
        metrics: The best values over the curve, which has the field after the last step as well.

    Returns:
        ``best_psnr``, ``best_psnr_step`` and ``best_psnr_paper``; empty if the curve's best is better.
    """
    finite = [(loss, step) for step, loss in enumerate(losses) if math.isfinite(loss)]
    if not finite:
        return {}
    loss, step = min(finite)
    best = psnr(math.sqrt(loss))
    if not best > metrics.get("best_psnr", -math.inf):
        return {}
    return _add_paper_convention({"best_psnr": best, "best_psnr_step": step})


def _add_paper_convention(found: dict[str, float]) -> dict[str, float]:
    return found | ({"best_psnr_paper": found["best_psnr"] - PAPER} if "best_psnr" in found else {})


def _learns_from_all_samples(run: Run) -> bool:
    """Return whether every step's loss is the mean square error, against the clean signal, of all samples."""
    if not isinstance(run.options.kind.loss(run.target, run.options.network), SquareLoss):
        return False  # of derivatives, or of parts, which overlap
    count = run.options.kind.sample_count(run.target)
    clean = getattr(run.target, "clean", None)
    return count is not None and clean is None and run.options.batches.points >= count


def _check_exists(source: str) -> None:
    if not (source.startswith("sample:") or Path(source).exists()):
        raise ConfigError(f"{source}: no such file; name the folder that has it with --folder")


def _load(source: str, snr: float | None, options: FitOptions) -> Signal:
    """Load a signal, with noise of that level added if there is one."""
    signal = options.kind.load(source, options.data)
    if snr is None:
        return signal
    assert isinstance(signal, Grid)
    noise = float(signal.values.std(dtype=np.float64)) * 10 ** (-snr / 20)
    return options.kind.load(source, replace(options.data, noise_std=noise))  # type: ignore[call-arg]


def _resolve_start(
    signal: Signal, network: NetworkOptions, scale: float | None
) -> tuple[NetworkOptions, dict[str, Any] | None, dict[str, Any]]:
    """Return the options with the noise's scales multiplied, a description of the noise or None, and of the network.

    The latter is without those scales. It has the arguments of the network, also those that are left to their defaults,
    and the root mean square of each parameter at the start, which tells other rules of initialisation.
    """
    field = build_field(signal, network, 0)
    noise = describe_initialization(initialize_(field, signal, network, 0), network)["noise"]
    sizes = {
        name: float(f"{weight.detach().abs().double().square().mean().sqrt():.6g}")
        for name, weight in field.network.named_parameters()
    }
    begun = {"network": {name: _round(value) for name, value in field.spec.items()}, "root_mean_squares": sizes}
    if noise is None:
        return network, None, begun
    biases = network.noise.hidden_biases
    biases = network.noise.rule().hidden_biases if biases is None else biases
    if scale is not None:
        if "s0_axes" in noise or "factors" in noise:
            raise ConfigError(f"noise_scale: {noise['schedule']} has noise of its own for each axis of {signal.name}")
        noise = noise | {"s0": scale * noise["s0"], "s1": scale * noise["s1"]}
        network = replace(network, noise=NoiseOptions("fixed", s0=noise["s0"], s1=noise["s1"], hidden_biases=biases))
    return network, {name: _round(value) for name, value in (noise | {"hidden_biases": biases}).items()}, begun


def _describe_fit(fit: Fit, options: FitOptions) -> dict[str, Any]:
    network = {name: _round(value) for name, value in asdict(options.network).items() if name != "noise"}
    batches = {**asdict(options.batches), "points": options.batches.points}
    return {**asdict(fit), "network": network, "batches": batches}


def _specify(run: Run, specification: dict[str, Any]) -> Run:
    """Return the run with a specification and a file of its own for it, so that no other run's is overwritten."""
    plain = json.loads(_to_text(specification))
    digest = blake2b(_to_text(plain).encode(), digest_size=4).hexdigest()
    return replace(run, path=run.path.with_name(f"seed-{run.seed}-{digest}.json"), specification=plain)


def _to_text(specification: dict[str, Any]) -> str:
    """Return a specification as JSON, by which it is compared: NaN, a value of nodata, is not equal to itself."""
    return json.dumps(specification, sort_keys=True, default=str)


def _round(value: Any) -> Any:
    """Return numbers without their last digits, in which machines differ."""
    if isinstance(value, list):
        return [_round(each) for each in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def hash_data(signal: Any, source: str) -> str:
    """Return a digest that changes with the data.

    It is that of the samples, else of the file and those that it names, else of the vertices, to six digits, of a shape
    that is made by code.
    """
    if isinstance(signal, Grid):
        return signal.record.digest
    file = Path(source)
    content = file.read_bytes() if file.is_file() else np.round(signal.mesh.vertices, 6).astype("<f4").tobytes()
    return "-".join([blake2b(content, digest_size=16).hexdigest(), *_hash_companions(file)])


def _hash_companions(file: Path) -> list[str]:
    """Return the digests of the files that a file names; "" for one that is missing."""
    return ["" if each is None else compute_source_digest(each) for each in find_companions(file)]
