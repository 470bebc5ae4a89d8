"""The choice of parts, widths, batches, steps and learning rate where the user has left it to the program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..networks import Bank
from ..registry import PartRecipe
from ..signals.grid import Grid
from .options import NoiseOptions, ResidentOptions

if TYPE_CHECKING:
    from torch import nn

    from ..signals.signal import Signal
    from .options import NetworkOptions
    from .prepare import FitOptions


@dataclass(frozen=True)
class Plan:
    """How a signal is fitted, with nothing left open.

    Attributes:
        options: the options of the fit.
        steps: number of training steps.
        learning_rate: learning rate at the first step.
    """

    options: FitOptions
    steps: int
    learning_rate: float


def make_plan(
    signal: Signal, options: FitOptions, steps: int | None = None, learning_rate: float | None = None
) -> Plan:
    """Choose for a signal what its user has left open, see `PartRecipe` and docs/parts.md.

    Args:
        signal: the signal.
        options: the options of the fit; ``parts`` may be "auto", and ``hidden_dim``, ``batch_size`` and ``between``
            None.
        steps: number of training steps, or None.
        learning_rate: learning rate at the first step, or None.
    """
    network, batches, recipe = options.network, options.batches, options.kind.recipe
    part = recipe.parts
    if network.parts == "auto":
        divided = part is not None and isinstance(signal, Grid) and _is_divided(signal, options, part)
        network = replace(network, parts=_count_parts(signal, part) if divided else (1,))  # type: ignore[arg-type]
    if part is None or not network.has_parts:
        part, network = None, replace(network, hidden_dim=network.width)
    else:
        network = replace(network, hidden_dim=network.hidden_dim or part.widths[network.size])
    if isinstance(batches, ResidentOptions):
        batches = replace(
            batches,
            batch_size=part.batch_size if part and batches.batch_size is None else batches.points,
            between=_share_between(signal, part, batches.between),
        )
    chosen = part or recipe
    return Plan(
        replace(options, network=network, batches=batches),
        chosen.steps if steps is None else steps,
        chosen.learning_rate if learning_rate is None else learning_rate,
    )


def describe_network(network: nn.Module, source: str) -> str:
    """Return in words the parts and weights of a network, with the weights' bytes beside those of the input.

    Args:
        network: the network of a field.
        source: what messages call the signal; its bytes are told if it is a file.
    """
    weights = sum(parameter.numel() for parameter in network.parameters())
    size = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    divided = ""
    if isinstance(network, Bank):
        box = " x ".join(f"{n:,}" for n in network.tiling.box)
        divided = f"{network.tiling.count:,} parts of {box} samples, together "
    file = Path(source)
    beside = f" (the file has {format_bytes(file.stat().st_size)})" if file.is_file() else ""
    return f"{divided}{weights:,} weights, {format_bytes(size)}{beside}"


def format_bytes(count: int) -> str:
    """Return a number of bytes in kB, MB or GB, three digits."""
    unit, name = next((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= u or n == "kB")
    return f"{count / unit:.3g} {name}"


def _is_divided(signal: Grid[Any], options: FitOptions, recipe: PartRecipe) -> bool:
    """Return whether a signal is divided if its user has not said so.

    It is if it has many samples and all of them are to be fitted as they are: many small networks would reproduce the
    noise of a noisy target, and know less of samples that are held out. Whoever sets the network's width or
    frequencies, or a published schedule, means a single network.
    """
    network: NetworkOptions = options.network
    by_hand = (network.hidden_dim, network.omega_0, network.first_omega_0, network.noise.s0)
    single = network.network != "siren" or any(value is not None for value in by_hand)
    single |= network.noise.schedule != NoiseOptions.schedule or network.num_layers != type(network).num_layers
    return signal.lattice.count > recipe.most and not single and _shows_everything(signal)


def _shows_everything(signal: Signal) -> bool:
    """Return whether all samples of a signal are fitted, except those that hold no data, and none is known noisy."""
    return isinstance(signal, Grid) and signal.clean is None and not len(signal.held_out)


def _share_between(signal: Signal, recipe: PartRecipe | None, asked: float | None) -> float:
    """Return the share of the steps between the samples, see `ResidentOptions.between`."""
    if asked is not None:
        return asked
    return recipe.between if recipe is not None and _shows_everything(signal) else 0.0


def _count_parts(signal: Grid[Any], recipe: PartRecipe) -> tuple[int, ...]:
    """Return the number of parts along each axis."""
    return tuple(max(1, round(size / recipe.edge)) for size in signal.lattice.shape)
