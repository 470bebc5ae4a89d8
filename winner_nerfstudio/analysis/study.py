"""A target and the networks for it, as they start and after some training: everything measured, as plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..fields import Field
from ..metrics.grid import psnr, root_mean_square
from ..registry import kind_named
from ..signals.grid import Grid
from ..training.fit import fit
from ..training.initialize import build_field, describe_initialization, initialize_
from ..training.options import NoiseOptions
from ..training.prepare import sort_options
from .lines import Lines, liveliest_piece, spread_lines
from .ntk import eigenbasis, tangent_kernel
from .spectra import OVERSAMPLING, Spectrum, bands, layer_spectra, spectrum_of

Init = Literal["siren", "winner"]
TOP = (0.01, 0.1, 0.5)
"""Parts of the eigenvectors, those of the greatest eigenvalues, whose share in the target is told."""
WITHIN = (1e-1, 1e-2, 1e-3, 1e-6)
"""Parts of the greatest eigenvalue, above which eigenvectors' share in the target is told."""
DIGITS = 6
"""Of what is written."""


@dataclass
class Study:
    """What to look at, and how a network is fitted meanwhile."""

    init: tuple[Init, ...] = ("siren", "winner")
    """Initialisations to compare: SIREN's, and SIREN's with WINNER's noise."""
    noise: NoiseOptions = field(default_factory=NoiseOptions)
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
    """Of the training between the two looks at each network; 0 looks at the starts alone."""
    batch_size: int = 1024
    """Points per training step."""
    learning_rate: float | None = None
    """Of Adam at first; that of the kind's method if left out."""
    seed: int = 42
    """Of the networks and the batches."""
    samples: int = 8192
    """Samples of the target, at most, whose lines the spectra are taken along."""
    kernel_points: int = 512
    """Neighbouring samples of one line, at most, of the tangent kernel; time grows with their square."""

    def check(self) -> None:
        """What is wrong with the options, in one line, or None."""
        if not self.init or len(set(self.init)) < len(self.init):
            raise ValueError(
                f"init {' '.join(self.init) or 'of none'} must name one or more initialisations, each once"
            )
        if self.noise != NoiseOptions() and "winner" not in self.init:
            raise ValueError("init siren has no noise; leave noise out, or add winner to init")
        if self.steps < 0 or self.seed < 0:
            raise ValueError(f"steps={self.steps} and seed={self.seed} must not be negative")
        if not 256 <= self.samples <= 1 << 17:
            raise ValueError(f"samples={self.samples} must lie between 256 and 131072")
        if not 16 <= self.kernel_points <= 4096:
            raise ValueError(
                f"kernel_points={self.kernel_points} must lie between 16 and 4096; the kernel has their square"
            )

    def network(self, init: Init) -> dict[str, Any]:
        """Options of `fit` that say which network it is and how it starts."""
        noise = asdict(self.noise) if init == "winner" else {}
        sizes = {"hidden_dim": self.hidden_dim, "num_layers": self.num_layers}
        return {"init": init, **sizes, "omega_0": self.omega_0, "first_omega_0": self.first_omega_0, **noise}


def study(signal: Any, options: Study, tell: Callable[[str], None] = lambda doing: None) -> dict[str, Any]:
    """Look at a target and at the networks for it.

    Args:
        signal: the target, loaded.
        options: what to look at.
        tell: called with what is being done.

    Returns:
        What `analysis.json` holds, see docs/analysis.md: strings, numbers, lists and dicts.

    Raises:
        ValueError: options that won't do, or a target that is too short.
        KeyboardInterrupt: also while a network is being fitted.
    """
    options.check()
    networks = {
        init: sort_options(kind_named(signal.kind), options.network(init), loaded=True).network for init in options.init
    }
    tell("looking at the target")
    lines = spread_lines(signal, options.samples)
    piece = liveliest_piece(lines, options.kernel_points)
    target = spectrum_of(torch.from_numpy(lines.values))
    states = []
    for init, network in networks.items():
        tell(f"initialising {init}")
        start = build_field(signal, network, options.seed)
        chosen = describe_initialization(initialize_(start, signal, network, options.seed), network)
        fields = {0: start}
        if options.steps:
            tell(f"fitting {init}, {options.steps:,} steps")
            fields[options.steps] = _fitted(signal, options, init)
        for steps, own in fields.items():
            tell(f"looking at {init} after {steps:,} steps" if steps else f"looking at {init}'s start")
            state = {"init": init, "steps": steps, "initialization": chosen}
            states.append(state | _look(own, signal, lines, piece))
    return {
        "target": {
            "name": signal.name,
            "kind": signal.kind,
            "samples": list(lines.lattice.shape),
            "channels": signal.channels,
            "psi": _tidy(signal.centroid),
            "nyquist": {
                "cycles_per_unit": _tidy(lines.nyquist),
                "cycles_per_world_unit": _tidy(lines.nyquist * signal.normalization.scale),
            },
            "frequency": _tidy(bands(lines.length)),
            **_summary(target),
        },
        "network": {
            name: getattr(networks[options.init[0]], name)
            for name in ("network", "hidden_dim", "num_layers", "omega_0", "first_omega_0")
        },
        "training": {
            "steps": options.steps,
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate or kind_named(signal.kind).recipe.learning_rate,
            "seed": options.seed,
        },
        "lines": {"count": len(lines.first), "samples": lines.length, "oversampling": OVERSAMPLING},
        "kernel": {"samples": piece.length, "first": piece.first[0].tolist()},
        "reduced": _reduced(signal, options, lines, piece),
        "frequency": _tidy(bands(lines.length * OVERSAMPLING, OVERSAMPLING)),
        "states": states,
    }


def _fitted(signal: Any, options: Study, init: Init) -> Field:
    fitted = fit(
        signal,
        steps=options.steps,
        learning_rate=options.learning_rate,
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


def _look(own: Field, signal: Any, lines: Lines, piece: Lines) -> dict[str, Any]:
    """What there is to see of a network at the target's lines."""
    found: dict[str, Any] = {}
    if isinstance(signal, Grid):
        values = own.evaluate(lines.coords().flatten(0, 1)).cpu().numpy().reshape(lines.values.shape)
        found["psnr"] = _tidy(psnr(root_mean_square(values, lines.values)))
    assert isinstance(own.network, nn.Sequential)  # as a `Siren` is
    found["layers"] = [
        {"layer": layer, "stage": stage, **_summary(spectrum)}
        for layer, stage, spectrum in layer_spectra(own.network, lines.coords(OVERSAMPLING), OVERSAMPLING)
    ]
    basis = eigenbasis(tangent_kernel(own.network, piece.coords()[0]), torch.from_numpy(piece.values[0]))
    found["ntk"] = {
        "effective_rank": _tidy(basis.effective_rank),
        "condition_number": _tidy(basis.condition_number),
        "resolved": basis.resolved,
        "energy_in_top": {str(part): _tidy(basis.energy_in_top(part)) for part in TOP},
        "energy_within": {str(ratio): _tidy(basis.energy_within(ratio)) for ratio in WITHIN},
        "eigenvalues": _tidy(basis.eigenvalues),
        "frequency": _tidy(basis.frequency),
        "energy": _tidy(basis.energy),
        "spectrum": [_tidy(row) for row in basis.spectrum],
    }
    return found


def _reduced(signal: Any, options: Study, lines: Lines, piece: Lines) -> list[str]:
    """What was looked at where not all could be, a line each."""
    *others, along = lines.lattice.shape
    told = f"{lines.length:,} of {along:,} samples"
    if others:
        told = f"{len(lines.first):,} of {prod(others):,} lines along the last axis, {told} of each"
    channels = f", the sum of the {signal.channels} channels" if signal.channels > 1 else ""
    steps = kind_named(signal.kind).recipe.steps
    return [
        f"spectra: {told}",
        f"kernel: {piece.length:,} neighbouring samples of {lines.lattice.count:,}{channels}",
        f"fit: {options.steps:,} steps of {options.batch_size:,} points; a whole run takes {steps:,}",
    ][: 3 if options.steps else 2]


def _summary(spectrum: Spectrum) -> dict[str, Any]:
    names = ("centroid", "rms_frequency", "above_nyquist", "std", "density")
    return {name: _tidy(getattr(spectrum, name)) for name in names}


def _tidy(values: Any) -> Any:
    """Numbers, one or a list, with `DIGITS` digits; None for what is not finite."""
    tidy = [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.atleast_1d(np.asarray(values)).tolist()]
    return tidy if np.ndim(values) else tidy[0]
