"""The runs of an experiment: which there are, which are done, and how one is made."""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from winner_nerfstudio.files import replacing
from winner_nerfstudio.metrics import grid, shape
from winner_nerfstudio.metrics.measure import figures_of, truth_of
from winner_nerfstudio.signals.grid import Grid
from winner_nerfstudio.signals.signal import Signal
from winner_nerfstudio.training.initialize import build_field, initialize_, told
from winner_nerfstudio.training.loop import Training
from winner_nerfstudio.training.options import NetworkOptions, NoiseConfig
from winner_nerfstudio.training.prepare import Options, load, sorted_options
from winner_nerfstudio.training.recipes import loss_of
from winner_nerfstudio.version import __version__

from .config import Experiment, Fit, Target, Variant, fit_of, slug
from .typed import ConfigError

CURVE_SAMPLES = 1 << 18
"""Most samples that a point of a curve is measured at."""
PAPER = 20 * math.log10(2)
"""dB between a PSNR whose peak is the data range, 2, and arXiv 2509.09719's, whose peak is 1."""


@dataclass(frozen=True)
class Run:
    """One fit of an experiment.

    Attributes:
        signal: the signal's name.
        variant: the variant's name.
        seed: of the network and the batches.
        path: where its record is kept.
        specification: all that its outcome depends on, plain values.
        target: the signal.
        options: the network, with the noise it starts with, and the batches.
        fit: for how long, and how fast.
        keeps_values: whether the fitted samples are kept too, for pictures.
    """

    signal: str
    variant: str
    seed: int
    path: Path
    specification: dict[str, Any]
    target: Signal
    options: Options
    fit: Fit
    keeps_values: bool

    @property
    def values_path(self) -> Path:
        """Where the fitted samples are kept."""
        return self.path.with_suffix(".npz")

    @property
    def work(self) -> float:
        """Points that training takes a step at, in all: what its time is proportional to."""
        batch = self.options.batches.batch_size
        return float(self.fit.steps * (min(batch, _count(self.target)) if isinstance(self.target, Grid) else batch))

    def record(self) -> dict[str, Any] | None:
        """What was kept of it; None if it isn't there."""
        try:
            kept = json.loads(self.path.read_text("utf8"))
        except (OSError, ValueError):  # one that was cut off, if not by us, is no JSON
            return None
        whole = kept["specification"] == self.specification
        return kept if whole and (not self.keeps_values or self.values_path.is_file()) else None

    def made_elsewhere(self) -> "Run":
        """The same run as another device has made it, if one has and it isn't there; else itself."""
        if self.record() is None:
            for device in ("cuda", "cpu", "mps"):
                other = _placed(self, self.specification | {"device": device})
                if other.record() is not None:
                    return other
        return self


def _placed(run: Run, specification: dict[str, Any]) -> Run:
    """The run with a specification, and where that is kept: any other has another place, and none is overwritten."""
    digest = blake2b(json.dumps(specification, sort_keys=True).encode(), digest_size=4).hexdigest()
    path = run.path.with_name(f"seed-{run.seed}-{digest}.json")
    return replace(run, path=path, specification=specification)


def plan(
    experiment: Experiment,
    signals: dict[str, Target],
    variants: dict[str, Variant],
    seeds: int,
    place: torch.device,
    folder: Path,
    runs: Path,
) -> Iterator[Run]:
    """Every run, signal by signal; loads the signals and asks the rules for their noise, which takes seconds at most.

    Args:
        experiment: what is to be run.
        signals: of these.
        variants: by these.
        seeds: how many.
        place: the device.
        folder: where files are.
        runs: where records are kept.

    Raises:
        ValueError: a signal that cannot be loaded.
    """
    for name, target in signals.items():
        loaded: dict[str, Signal] = {}
        source = target.data if target.data.startswith("sample:") else str(folder / target.data)
        for label, variant in variants.items():
            fit = fit_of(experiment, target, variant)
            options = sorted_options(experiment.kind, fit.options)
            key = json.dumps(options.data, sort_keys=True)
            if key not in loaded:
                loaded[key] = _loaded(source, experiment, options.data)
            signal = loaded[key]
            network, noise = _with_noise(signal, options.network, fit.noise_scale)
            options = options._replace(network=network)
            for seed in range(1, seeds + 1):
                specification = {
                    "kind": experiment.kind,
                    "data": target.data,
                    "digest": _digest(signal, source),
                    "snr": experiment.snr,
                    "noise": noise and {name: _rounded(value) for name, value in noise.items()},
                    "seed": seed,
                    "device": place.type,
                    **asdict(fit),
                    "network": {name: _rounded(value) for name, value in asdict(network).items() if name != "noise"},
                    "batches": asdict(options.batches),
                }
                plain = json.loads(json.dumps(specification))
                path = runs / slug(name) / slug(label) / "seed"
                keeps = seed == 1 and isinstance(signal, Grid)
                yield _placed(Run(name, label, seed, path, plain, signal, options, fit, keeps), plain)


def perform(run: Run, place: torch.device, watch: Callable[[int], None]) -> dict[str, Any]:
    """Make a run and keep its record, which is written whole, and last.

    Args:
        run: which.
        place: the device.
        watch: told the number of steps that are done, at every point of the curve.

    Returns:
        The record: ``specification``; ``curve``, points of ``step``, ``seconds`` of training alone, and figures (None
        where they aren't finite); ``figures`` at the end, and the best over the run; ``seconds`` of training and
        ``wall``, of all; ``program``; ``threads``; ``device``.
    """
    began = time.perf_counter()
    signal, network = run.target, run.options.network
    sampler, loss = run.options.batches.sampler(signal, place, run.seed), loss_of(signal, network)
    sampler.start()
    field = build_field(signal, network, run.seed)
    initialize_(field, signal, network, run.seed)
    field.to(place)
    training = Training(field, sampler, loss, run.fit.learning_rate, run.fit.decay.factor(run.fit.steps))
    measure = _measure(signal)
    sampler.batch(0)
    curve, losses, seconds = [{"step": 0, "seconds": 0.0, **measure(field.evaluate)}], [], 0.0
    while training.done < run.fit.steps:
        start = time.perf_counter()
        for _ in range(min(run.fit.measure_every, run.fit.steps - training.done)):
            training.step()
            losses.append(training.loss)
        float(training.loss)  # waits for the device
        seconds += time.perf_counter() - start
        curve.append({"step": training.done, "seconds": seconds, **measure(field.evaluate)})
        watch(training.done)
    training.finish()
    figures = figures_of(field, signal, network) | best(curve)
    if isinstance(signal, Grid) and signal.clean is None and run.work == run.fit.steps * _count(signal):
        figures |= best_of_losses(torch.stack(losses).tolist(), figures)
    record = {
        "specification": run.specification,
        "figures": {name: value for name, value in figures.items() if math.isfinite(value)},
        "curve": [{name: value if math.isfinite(value) else None for name, value in point.items()} for point in curve],
        "seconds": seconds,
        "wall": time.perf_counter() - began,
        "program": f"winner-nerfstudio {__version__}",
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
    }
    run.path.parent.mkdir(parents=True, exist_ok=True)
    if run.keeps_values:
        assert isinstance(signal, Grid)
        with replacing(run.values_path) as temporary:
            np.savez_compressed(temporary, values=grid.evaluate_grid(field.evaluate, signal.lattice))
    with replacing(run.path) as temporary:
        temporary.write_text(json.dumps(record, indent=1), "utf8")
    return record


def best(curve: list[dict[str, float]]) -> dict[str, float]:
    """The greatest value of each figure of a curve, as ``best_NAME``, and its step, as ``best_NAME_step``."""
    found: dict[str, float] = {}
    for name in [key for key in curve[0] if key not in ("step", "seconds")]:
        points = [point for point in curve if math.isfinite(point[name])]
        if points:
            point = max(points, key=lambda point: point[name])
            found |= {f"best_{name}": point[name], f"best_{name}_step": point["step"]}
    return _in_papers_convention(found)


def best_of_losses(losses: list[float], figures: dict[str, float]) -> dict[str, float]:
    """The best PSNR over every single step, where a step's loss is the mean square error of all samples.

    Args:
        losses: before each step.
        figures: with the best over the curve, which also knows the field after the last step.
    """
    finite = [(loss, step) for step, loss in enumerate(losses) if math.isfinite(loss)]
    if not finite:
        return {}
    loss, step = min(finite)
    psnr = grid.psnr(math.sqrt(loss))
    if not psnr > figures.get("best_psnr", -math.inf):
        return {}
    return _in_papers_convention({"best_psnr": psnr, "best_psnr_step": step})


def _in_papers_convention(found: dict[str, float]) -> dict[str, float]:
    return found | ({"best_psnr_paper": found["best_psnr"] - PAPER} if "best_psnr" in found else {})


def _count(signal: Grid) -> int:
    return signal.lattice.count if signal.fitted is None else len(signal.fitted)


def _measure(signal: Any) -> Callable[[grid.Function], dict[str, float]]:
    """The figures of a curve's point: of samples ``psnr`` and ``psnr_held_out``, of a shape ``iou``."""
    if isinstance(signal, Grid):
        samples = grid.quick_samples(signal, CURVE_SAMPLES)
        return lambda function: grid.quick_figures(function, signal, samples)
    quick = shape.quick_points(truth_of(signal))
    return lambda function: shape.quick_figures(function, quick)


def _loaded(source: str, experiment: Experiment, options: dict[str, Any]) -> Signal:
    """The signal, with noise of the experiment's level added if it names one."""
    if not (source.startswith("sample:") or Path(source).exists()):
        raise ConfigError(f"{source}: no such file; name the folder that has it with --folder")
    signal = load(source, experiment.kind, options)
    if experiment.snr is None:
        return signal
    assert isinstance(signal, Grid)
    noise = float(signal.values.std(dtype=np.float64)) * 10 ** (-experiment.snr / 20)
    return load(source, experiment.kind, {**options, "noise_std": noise})


def _with_noise(
    signal: Signal, network: NetworkOptions, scale: float | None
) -> tuple[NetworkOptions, dict[str, Any] | None]:
    """The options, their noise's scales multiplied, and what the noise is, by name, or None."""
    noise = told(initialize_(build_field(signal, network, 0), signal, network, 0), network)["noise"]
    if noise is None:
        return network, None
    biases = network.noise.biases()
    if scale is not None:
        if "s0_axes" in noise:
            raise ConfigError(f"noise_scale: {noise['schedule']} has noise of its own for each axis of {signal.name}")
        noise = noise | {"s0": scale * noise["s0"], "s1": scale * noise["s1"]}
        network = replace(network, noise=NoiseConfig("fixed", s0=noise["s0"], s1=noise["s1"], hidden_biases=biases))
    return network, noise | {"hidden_biases": biases}


def _rounded(value: Any) -> Any:
    """Numbers without the last digits, in which machines differ."""
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def _digest(signal: Signal, source: str) -> str:
    """What tells the data from others; of a shape that is made by code, its vertices to six digits."""
    if "digest" in signal.record:
        return str(signal.record["digest"])
    file = Path(source)
    content = file.read_bytes() if file.is_file() else np.round(signal.mesh.vertices, 6).astype("<f4").tobytes()  # type: ignore[attr-defined]
    return blake2b(content, digest_size=16).hexdigest()
