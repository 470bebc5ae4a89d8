"""A target and the networks for it, after initialisation and after some training, measured as plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..fields import Field
from ..metrics.grid import psnr, root_mean_square
from ..registry import find_rate, kind_named
from ..signals.grid import Grid
from ..training.fit import fit
from ..training.initialize import build_field, describe_initialization, initialize_
from ..training.options import NetworkOptions, NoiseOptions
from ..training.prepare import sort_options
from .lines import Lines, select_lines, select_piece
from .ntk import compute_eigenbasis, compute_tangent_kernel
from .spectra import OVERSAMPLING, Spectrum, band_centers, compute_layer_spectra, compute_spectrum

Init = Literal["siren", "winner", "weight-scaling", "gradient-control", "matched-scaling"]
TOP = (0.01, 0.1, 0.5)
"""Parts of the eigenvectors, those of the greatest eigenvalues, whose share of the target is reported."""
WITHIN = (1e-1, 1e-2, 1e-3, 1e-6)
"""Parts of the greatest eigenvalue, above which the eigenvectors' share of the target is reported."""
DIGITS = 6
"""Significant digits of the numbers in analysis.json."""


@dataclass
class Study:
    """What to measure, and how the networks are fitted in between."""

    init: tuple[Init, ...] = ("siren", "winner")
    """Initialisations to compare: SIREN's, SIREN's with WINNER's noise, and SIREN's with the scales of others."""
    noise: NoiseOptions = dataclass_field(default_factory=NoiseOptions)
    """WINNER's noise."""
    hidden_dim: int = 256
    """Width of each hidden layer."""
    num_layers: int = 4
    """Number of hidden layers."""
    omega_0: float | None = None
    """Frequency of the layers from the second on; 30 if left out."""
    first_omega_0: float | None = None
    """Frequency of the first layer; 30 if left out."""
    steps: int = 200
    """Training steps between the two measurements of each network; 0 measures only after initialisation."""
    batch_size: int = 1024
    """Points per training step."""
    learning_rate: float | None = None
    """First learning rate of Adam; that of the kind's method if left out."""
    seed: int = 42
    """Seed of the networks and the batches."""
    samples: int = 8192
    """Samples of the target, at most, along whose lines the spectra are computed."""
    kernel_points: int = 512
    """Neighbouring samples of one line, at most, for the tangent kernel; time grows with their square."""

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: one of them is out of its range, in one line.
        """
        if not self.init or len(set(self.init)) < len(self.init):
            raise ValueError(
                f"init {' '.join(self.init) or 'of none'} must name one or more initialisations, each once"
            )
        if self.noise != NoiseOptions() and "winner" not in self.init:
            raise ValueError(f"init {' '.join(self.init)} has no noise; leave noise out, or add winner to init")
        if self.steps < 0 or self.seed < 0:
            raise ValueError(f"steps={self.steps} and seed={self.seed} must not be negative")
        if not 256 <= self.samples <= 1 << 17:
            raise ValueError(f"samples={self.samples} must lie between 256 and 131072")
        if not 16 <= self.kernel_points <= 4096:
            raise ValueError(
                f"kernel_points={self.kernel_points} must lie between 16 and 4096; the kernel has their square"
            )

    def network(self, init: Init) -> dict[str, Any]:
        """Return the options of `fit` for the network and its initialisation."""
        noise = asdict(self.noise) if init == "winner" else {}
        sizes = {"hidden_dim": self.hidden_dim, "num_layers": self.num_layers}
        return {"init": init, **sizes, "omega_0": self.omega_0, "first_omega_0": self.first_omega_0, **noise}


def study(signal: Any, options: Study, on_progress: Callable[[str], None] = lambda doing: None) -> dict[str, Any]:
    """Measure a target and the networks for it.

    Args:
        signal: The target, loaded.
        options: What to measure.
        on_progress: Called with what is being done.

    Returns:
        The content of `analysis.json`, see docs/analysis.md: strings, numbers, lists and dicts.

    Raises:
        ValueError: The options cannot be used, or the target is too short.
        KeyboardInterrupt: Also while a network is being fitted.
    """
    options.check()
    kind = kind_named(signal.kind)
    networks = {init: sort_options(kind, options.network(init), loaded=True).network for init in options.init}
    on_progress("measuring the target")
    lines = select_lines(signal, options.samples)
    piece = select_piece(lines, options.kernel_points)
    target = _describe_target(signal, lines)
    states = [
        state
        for init, network in networks.items()
        for state in _measure_states(signal, options, init, network, lines, piece, on_progress)
    ]
    return {
        "target": target,
        "network": {
            name: getattr(networks[options.init[0]], name)
            for name in ("network", "hidden_dim", "num_layers", "omega_0", "first_omega_0")
        },
        "training": {
            "steps": options.steps,
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate or find_rate(kind_named(signal.kind).recipe.rates, "adam"),
            "seed": options.seed,
        },
        "lines": {"count": len(lines.first), "samples": lines.length, "oversampling": OVERSAMPLING},
        "kernel": {"samples": piece.length, "first": piece.first[0].tolist()},
        "reduced": _describe_reductions(signal, options, lines, piece),
        "frequency": _round(band_centers(lines.length * OVERSAMPLING, OVERSAMPLING)),
        "states": states,
    }


def _describe_target(signal: Any, lines: Lines) -> dict[str, Any]:
    return {
        "name": signal.name,
        "kind": signal.kind,
        "samples": list(lines.lattice.shape),
        "channels": signal.channels,
        "psi": _round(signal.centroid),
        "nyquist": {
            "cycles_per_unit": _round(lines.nyquist),
            "cycles_per_world_unit": _round(lines.nyquist * signal.normalization.scale),
        },
        "frequency": _round(band_centers(lines.length)),
        **_describe_spectrum(compute_spectrum(torch.from_numpy(lines.values))),
    }


def _measure_states(
    signal: Any,
    options: Study,
    init: Init,
    network: NetworkOptions,
    lines: Lines,
    piece: Lines,
    on_progress: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Yield the measurements of a network after initialisation and, if it is trained, after training."""
    on_progress(f"initialising {init}")
    field = build_field(signal, network, options.seed)
    initialization = describe_initialization(initialize_(field, signal, network, options.seed), network)
    on_progress(f"measuring {init} after initialisation")
    yield {"init": init, "steps": 0, "initialization": initialization, **_measure(field, signal, lines, piece)}
    if options.steps:
        on_progress(f"fitting {init}, {options.steps:,} steps")
        field = _fit(signal, options, init)
        on_progress(f"measuring {init} after {options.steps:,} steps")
        yield {
            "init": init,
            "steps": options.steps,
            "initialization": initialization,
            **_measure(field, signal, lines, piece),
        }


def _fit(signal: Any, options: Study, init: Init) -> Field:
    fitted = fit(
        signal,
        steps=options.steps,
        learning_rate=options.learning_rate,
        optimizer="adam",
        seed=options.seed,
        batch_size=options.batch_size,
        progress=False,
        measure=False,
        **options.network(init),
    )
    if fitted.provenance["steps"] < options.steps:
        raise KeyboardInterrupt
    if not all(parameter.isfinite().all() for parameter in fitted.parameters()):
        raise ValueError(f"the fit of {init} has diverged; use a lower --learning-rate or less noise")
    return fitted.field


def _measure(field: Field, signal: Any, lines: Lines, piece: Lines) -> dict[str, Any]:
    """Return the PSNR, where there are samples, the layers' spectra and the tangent kernel of a network."""
    found: dict[str, Any] = {}
    if isinstance(signal, Grid):
        values = field.evaluate(lines.coords().flatten(0, 1)).cpu().numpy().reshape(lines.values.shape)
        found["psnr"] = _round(psnr(root_mean_square(values, lines.values)))
    assert isinstance(field.network, nn.Sequential)  # as a `Siren` is
    found["layers"] = [
        {"layer": layer, "stage": stage, **_describe_spectrum(spectrum)}
        for layer, stage, spectrum in compute_layer_spectra(field.network, lines.coords(OVERSAMPLING), OVERSAMPLING)
    ]
    basis = compute_eigenbasis(
        compute_tangent_kernel(field.network, piece.coords()[0]), torch.from_numpy(piece.values[0])
    )
    found["ntk"] = {
        "effective_rank": _round(basis.effective_rank),
        "condition_number": _round(basis.condition_number),
        "resolved": basis.resolved,
        "energy_in_top": {str(part): _round(basis.energy_in_top(part)) for part in TOP},
        "energy_within": {str(ratio): _round(basis.energy_within(ratio)) for ratio in WITHIN},
        "eigenvalues": _round(basis.eigenvalues),
        "frequency": _round(basis.frequency),
        "energy": _round(basis.energy),
        "spectrum": [_round(row) for row in basis.spectrum],
    }
    return found


def _describe_reductions(signal: Any, options: Study, lines: Lines, piece: Lines) -> list[str]:
    """Return what was measured where not all could be, a line each."""
    *others, along = lines.lattice.shape
    part = f"{lines.length:,} of {along:,} samples"
    if others:
        part = f"{len(lines.first):,} of {prod(others):,} lines along the last axis, {part} of each"
    channels = f", the sum of the {signal.channels} channels" if signal.channels > 1 else ""
    steps = kind_named(signal.kind).recipe.steps
    return [
        f"spectra: {part}",
        f"kernel: {piece.length:,} neighbouring samples of {lines.lattice.count:,}{channels}",
        f"fit: {options.steps:,} steps of {options.batch_size:,} points; a whole run takes {steps:,}",
    ][: 3 if options.steps else 2]


def _describe_spectrum(spectrum: Spectrum) -> dict[str, Any]:
    names = ("centroid", "rms_frequency", "above_nyquist", "std", "density")
    return {name: _round(getattr(spectrum, name)) for name in names}


def _round(values: Any) -> Any:
    """Return numbers, one or a list, rounded to `DIGITS` digits; None for those that are not finite."""
    rounded = [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.atleast_1d(np.asarray(values)).tolist()]
    return rounded if np.ndim(values) else rounded[0]
