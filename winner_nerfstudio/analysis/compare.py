"""The measurements of networks of one target, as plain numbers."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ..fields.field import BLOCK
from ..metrics.grid import psnr, root_mean_square
from ..training.initialize import Start
from ..training.loop import Training
from ..training.plan import Plan
from .lines import Lines, select_lines, select_piece
from .ntk import compute_eigenbasis, compute_tangent_kernel
from .options import Init, Study
from .spectra import OVERSAMPLING, Spectrum, band_centers, compute_layer_spectra, compute_spectrum
from .targets import Target

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray
    from torch import Tensor

TOP = (0.01, 0.1, 0.5)
"""Parts of the eigenvectors, those of the greatest eigenvalues, whose share of the target is reported."""
WITHIN = (1e-1, 1e-2, 1e-3, 1e-6)
"""Parts of the greatest eigenvalue, above which the eigenvectors' share of the target is reported."""
DIGITS = 6
"""Significant digits of the numbers in analysis.json."""


class State(NamedTuple):
    """A network at some time.

    Attributes:
        init: The name of its initialisation.
        steps: The training steps that are done.
        initialization: The record of its initialisation, see `describe_initialization`.
        network: The network, linear layers and sines in turn.
    """

    init: Init
    steps: int
    initialization: dict[str, Any]
    network: nn.Sequential


def compare_states(
    target: Target, options: Study, plan: Plan, whole_steps: int, states: Iterator[State]
) -> dict[str, Any]:
    """Measure a target and the networks for it.

    Args:
        target: The target.
        options: What to measure.
        plan: How the networks are fitted.
        whole_steps: The training steps of a whole fit.
        states: The networks, each of which is measured before the next is asked for.

    Raises:
        SignalError: The target is too short.
    """
    lines = select_lines(target, options.samples)
    piece = select_piece(lines, options.kernel_points)
    network = plan.options.network
    return {
        "target": _describe_target(target, lines),
        "network": {
            name: getattr(network, name) for name in ("network", "hidden_dim", "num_layers", "omega_0", "first_omega_0")
        },
        "training": {
            "steps": options.steps,
            "batch_size": plan.options.batches.points,
            "optimizer": plan.optimizer,
            "learning_rate": plan.learning_rate,
            "seed": options.seed,
        },
        "lines": {"count": len(lines.first), "samples": lines.length, "oversampling": OVERSAMPLING},
        "kernel": {"samples": piece.length, "first": piece.first[0].tolist()},
        "reduced": _describe_reductions(target, options, plan, whole_steps, lines, piece),
        "frequency": round_digits(band_centers(lines.length * OVERSAMPLING, OVERSAMPLING)),
        "states": [
            {
                "init": state.init,
                "steps": state.steps,
                "initialization": state.initialization,
                **_measure(state.network, target, lines, piece),
            }
            for state in states
        ],
    }


def train(started: Start, plan: Plan, init: Init) -> None:
    """Train a field to the end, in place.

    Raises:
        ValueError: It has diverged; the message is one line.
    """
    Training(started, plan.learning_rate, plan.decay, plan.optimizer).run(plan.steps)
    if not all(parameter.isfinite().all() for parameter in started.field.parameters()):
        raise ValueError(f"the fit of {init} has diverged; use a lower --learning-rate or less noise")


def _describe_target(target: Target, lines: Lines) -> dict[str, Any]:
    return {
        "name": target.name,
        "kind": target.kind,
        "samples": list(target.lattice.shape),
        "channels": target.channels,
        "psi": round_digits(target.psi),
        "nyquist": {
            "cycles_per_unit": round_digits(lines.nyquist),
            "cycles_per_world_unit": round_digits(lines.nyquist * target.scale),
        },
        "frequency": round_digits(band_centers(lines.length)),
        **_describe_spectrum(compute_spectrum(torch.from_numpy(lines.values))),
    }


def _measure(network: nn.Sequential, target: Target, lines: Lines, piece: Lines) -> dict[str, Any]:
    """Return the PSNR, where there are samples, the layers' spectra and the tangent kernel of a network."""
    found: dict[str, Any] = {}
    missing = None if target.missing is None else target.missing[tuple(lines.positions.transpose(2, 0, 1))]
    if target.is_sampled and (missing is None or not missing.all()):
        values = _evaluate(network, lines.coords().flatten(0, 1)).reshape(lines.values.shape)
        known = ... if missing is None else ~missing
        found["psnr"] = round_digits(psnr(root_mean_square(values[known], lines.values[known])))
    found["layers"] = [
        {"layer": layer, "stage": stage, **_describe_spectrum(spectrum)}
        for layer, stage, spectrum in compute_layer_spectra(network, lines.coords(OVERSAMPLING), OVERSAMPLING)
    ]
    basis = compute_eigenbasis(compute_tangent_kernel(network, piece.coords()[0]), torch.from_numpy(piece.values[0]))
    found["ntk"] = {
        "effective_rank": round_digits(basis.effective_rank),
        "condition_number": round_digits(basis.condition_number),
        "resolved": basis.resolved,
        "energy_in_top": {str(part): round_digits(basis.energy_in_top(part)) for part in TOP},
        "energy_within": {str(ratio): round_digits(basis.energy_within(ratio)) for ratio in WITHIN},
        "eigenvalues": round_digits(basis.eigenvalues),
        "frequency": round_digits(basis.frequency),
        "energy": round_digits(basis.energy),
        "spectrum": [round_digits(row) for row in basis.spectrum],
    }
    return found


@torch.no_grad()
def _evaluate(network: nn.Sequential, coords: Float[Tensor, "n d"]) -> Float[ndarray, "n c"]:
    """Compute a network's values in blocks."""
    weight = next(network.parameters())
    values: Float[ndarray, "n c"] = (
        torch.cat([network(block.to(weight)) for block in coords.split(BLOCK)]).cpu().numpy()
    )
    return values


def _describe_reductions(
    target: Target, options: Study, plan: Plan, whole_steps: int, lines: Lines, piece: Lines
) -> list[str]:
    """Return what was measured where not all could be, a line each."""
    *others, along = lines.lattice.shape
    part = f"{lines.length:,} of {along:,} samples"
    if others:
        part = f"{len(lines.first):,} of {prod(others):,} lines along the last axis, {part} of each"
    channels = f", the sum of the {target.channels} channels" if target.channels > 1 else ""
    points = plan.options.batches.points
    return [
        f"spectra: {part}",
        f"kernel: {piece.length:,} neighbouring samples of {lines.lattice.count:,}{channels}",
        f"fit: {options.steps:,} steps of {points:,} points; a whole run takes {whole_steps:,}",
    ][: 3 if options.steps else 2]


def _describe_spectrum(spectrum: Spectrum) -> dict[str, Any]:
    names = ("centroid", "rms_frequency", "above_nyquist", "std", "density")
    return {name: round_digits(getattr(spectrum, name)) for name in names}


def round_digits(values: Any) -> Any:
    """Return numbers, one or a list, rounded to `DIGITS` digits; None for those that are not finite."""
    rounded = [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.atleast_1d(np.asarray(values)).tolist()]
    return rounded if np.ndim(values) else rounded[0]
