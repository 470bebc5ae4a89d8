"""Training of many small signals of one size at once, a network each, as members of a `Stack`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..fields import Field
from ..networks import Sine, Siren, Stack
from ..registry import find_rate
from ..signals.grid import Grid
from ..signals.interpolation import interpolate_half_way
from ..winner import winner_init_
from .bank import PartError, compute_square_errors
from .initialize import build_field, describe_initialization, initialize_
from .optimizers import build_optimizer
from .options import ResidentOptions
from .phases import Samples, StackSampler
from .plan import Course, Plan

if TYPE_CHECKING:
    from ..signals.signal import Signal
    from .prepare import FitOptions


def plan_small_signal(signal: Signal, options: FitOptions, course: Course) -> Plan | None:
    """Choose how a small signal is fitted beside others, or return None if it is to be fitted by itself.

    A signal is small if its kind has a `SmallRecipe` for it. All its samples are fitted as they are, and its user has
    asked neither for parts nor for another network, nor to leave out noise.

    Args:
        signal: the signal.
        options: the options of the fit; ``hidden_dim``, ``batch_size`` and ``between`` may be None.
        course: the steps, the learning rate and the optimiser as far as the user has said them, and the seed.
    """
    network, batches = options.network, options.batches
    if not isinstance(signal, Grid) or not isinstance(batches, ResidentOptions):
        return None
    recipe = next((recipe for recipe in options.kind.recipe.small if signal.lattice.count <= recipe.most), None)
    if recipe is None or network.network != "siren" or network.parts != "auto" or network.noise.denoise:
        return None
    if signal.clean is not None or signal.fitted is not None or signal.derivatives is not None:
        return None
    batches = replace(
        batches,
        batch_size=recipe.batch_size if batches.batch_size is None else batches.batch_size,
        between=recipe.between if batches.between is None else batches.between,
    )
    width = recipe.width if network.hidden_dim is None else network.hidden_dim
    optimizer = course.optimizer or next(iter(recipe.rates))
    return Plan(
        replace(options, network=replace(network, parts=(1,), hidden_dim=width), batches=batches),
        recipe.steps if course.steps is None else course.steps,
        find_rate(recipe.rates, optimizer) if course.learning_rate is None else course.learning_rate,
        optimizer,
        course.seed,
    )


def fit_small_signals(
    signals: Sequence[Grid[Any]], plan: Plan, device: torch.device, start: SharedStart | None = None
) -> list[tuple[Field, dict[str, Any]]]:
    """Fit a network to each of some signals of one kind, of the same samples and channels, all at once.

    Each begins with WINNER's noise for its own signal. On a CPU a signal's network is the same to the bit whatever
    other signals there are.

    Args:
        signals: the signals.
        plan: what `plan_small_signal` returns for them.
        device: device to train on.
        start: the hidden layers that all networks of their shape begin with instead of WINNER's; none if left out.

    Returns:
        For each signal its field, on the CPU, and the record of its initialisation, see `describe_initialization`.

    Raises:
        ValueError: the schedule has no rule for such signals, or there is no such optimiser.
    """
    network, seed, fields, records = plan.options.network, plan.seed, [], []
    for signal in signals:
        field = build_field(signal, network, seed)
        records.append(describe_initialization(initialize_(field, signal, network, seed, lowers=True), network))
        if start is not None and start.apply(_network_of(field)):
            records[-1] = {"init": f"shared start of {start.count} signals", "noise": None}
        fields.append(field)
    stack = _stack_networks([_network_of(field) for field in fields]).to(device)
    _train(stack, _build_sampler(signals, plan.options.batches, seed, device), plan)
    _unstack(stack, [_network_of(field) for field in fields])
    return [(field.eval(), record) for field, record in zip(fields, records, strict=True)]


@dataclass(frozen=True)
class SharedStart:
    """The hidden layers that many networks begin with: those of one network that was fitted to some signals.

    It is STRAINER's start (Vyas et al. 2024, arXiv 2409.09566): one network with an output layer for each signal.

    Attributes:
        count: number of those signals.
        layers: weight and bias of each hidden layer.
    """

    count: int
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    def apply(self, network: Siren) -> bool:
        """Give the hidden layers to a network, whose last layer stays; return whether it is of their shape."""
        own = [layer for layer in network if isinstance(layer, torch.nn.Linear)][:-1]
        if [layer.weight.shape for layer in own] != [weight.shape for weight, _ in self.layers]:
            return False
        with torch.no_grad():
            for layer, (weight, bias) in zip(own, self.layers, strict=True):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
        return True


def fit_shared_start(signals: Sequence[Grid[Any]], plan: Plan, device: torch.device) -> SharedStart:
    """Fit one network to some signals of the same samples and channels at once, and return its hidden layers.

    Args:
        signals: the signals.
        plan: what `plan_small_signal` returns for them.
        device: device to train on.
    """
    first, options = signals[0], plan.options.network
    joined = replace(first, values=np.concatenate([signal.values for signal in signals], -1))
    specification = options.specification(first.dim, joined.channels)
    with torch.random.fork_rng(devices=[]):
        field = Field(first.kind, specification, first.normalization, first.record)
    if options.measures_target:
        axes = [
            own[0]._replace(centroid=sum(axis.centroid for axis in own) / len(own))
            for own in zip(*(s.axes for s in signals), strict=True)
        ]
        winner_init_(
            field.network,
            centroid=first.centroid,
            schedule=options.noise.rule(True),
            dim=first.dim,
            channels=first.channels,
            axes=axes,
            hidden_biases=options.noise.hidden_biases,
            seed=plan.seed,
        )
    else:
        initialize_(field, first, options, plan.seed)
    stack = _stack_networks([_network_of(field)]).to(device)
    _train(stack, _build_sampler([joined], plan.options.batches, plan.seed, device), plan)
    layers = zip(stack.weights[:-1], stack.biases[:-1], strict=True)
    return SharedStart(len(signals), tuple((w.detach()[0].cpu(), b.detach()[0].cpu()) for w, b in layers))


@torch.enable_grad()
def _train(stack: Stack, sampler: StackSampler, plan: Plan) -> None:
    """Train the members of a stack in place."""
    optimizer = build_optimizer(stack.parameters(), plan.optimizer, plan.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, plan.decay)
    for step in range(plan.steps):
        optimizer.zero_grad()
        members = range(stack.count)
        PartError.apply(compute_square_errors, stack, sampler.batch(step), members, *stack.parameters()).backward()
        optimizer.step()
        schedule.step()


def _build_sampler(signals: Sequence[Grid[Any]], batches: Any, seed: int, device: torch.device) -> StackSampler:
    """Return the sampler of some signals of the same samples."""
    lattice, channels = signals[0].lattice, signals[0].channels

    def cut(half: tuple[bool, ...]) -> Samples:
        values = [torch.from_numpy(interpolate_half_way(signal.values, half)) for signal in signals]
        axes = [torch.arange(n - gap) + gap / 2 for n, gap in zip(lattice.shape, half, strict=True)]
        positions = torch.stack([axis.reshape(-1) for axis in torch.meshgrid(*axes, indexing="ij")], -1)
        stacked = torch.stack([each.reshape(-1, channels) for each in values])
        return Samples(lattice.at(positions).float(), stacked, None)

    return StackSampler(cut, lattice.shape, device, seed, batches.points, batches.between or 0.0)


def _network_of(field: Field) -> Siren:
    """Return a field's network, which is a SIREN."""
    assert isinstance(field.network, Siren)
    return field.network


def _stack_networks(networks: Sequence[Siren]) -> Stack:
    """Return a stack of copies of some networks of one shape."""
    layers = [layer for layer in networks[0] if isinstance(layer, torch.nn.Linear)]
    first = next(part.omega_0 for part in networks[0] if isinstance(part, Sine))
    stack = Stack(
        len(networks),
        layers[0].in_features,
        layers[-1].out_features,
        layers[0].out_features,
        len(layers) - 1,
        omega_0=networks[0].omega_0,
        first_omega_0=first,
    ).float()  # whatever the user's default is
    with torch.no_grad():
        for mine, theirs in _pair(stack, networks):
            mine.copy_(torch.stack(theirs))
    return stack


def _unstack(stack: Stack, networks: Sequence[Siren]) -> None:
    """Copy the weights of a stack's members back to their networks."""
    with torch.no_grad():
        for mine, theirs in _pair(stack, networks):
            for value, parameter in zip(mine.cpu(), theirs, strict=True):
                parameter.copy_(value)


def _pair(stack: Stack, networks: Sequence[Siren]) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Return each parameter of a stack with the parameters of the networks that it holds."""
    layers = [[layer for layer in network if isinstance(layer, torch.nn.Linear)] for network in networks]
    pairs = []
    for index, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True)):
        pairs.append((weight, [own[index].weight for own in layers]))
        pairs.append((bias, [own[index].bias for own in layers]))
    return pairs
