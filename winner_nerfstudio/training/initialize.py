"""Building and initialising the field for a signal, the same for every way of training it."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from numpy import ndarray
from torch.nn import Parameter

from ..fields import Field
from ..fields.stored import check_normalization
from ..networks import Bank, CellBank
from ..registry import kind_named
from ..signals.errors import SignalError
from ..signals.grid import Grid
from ..signals.signal import Signal
from ..winner import (
    SCALED,
    Initialization,
    describe_network,
    find_network_to_perturb,
    scaled_init_,
    siren_init_,
    winner_init_,
)
from .bank import BankInitialization, PartSampler, initialize_bank_
from .cell_targets import find_cell_target
from .cells import CellSampler, initialize_cells_, specify_cells
from .loss import Loss
from .optimizers import train_as_adam
from .options import SINE_NETWORKS, BatchOptions, NetworkOptions
from .prepare import FitOptions
from .sampling import Sampler


@dataclass(frozen=True)
class Start:
    """What a training starts from.

    Attributes:
        field: the field, initialised, on the device.
        sampler: the source of the batches, which draws already.
        loss: the loss that is minimised.
        initialization: the record of the initialisation, see `describe_initialization`.
        companion: what is fitted beside it, see `Kind.companion`.
    """

    field: Field
    sampler: Sampler
    loss: Loss
    initialization: dict[str, Any]
    companion: "Start | None" = None

    @property
    def companion_field(self) -> Field | None:
        """Return the field that is fitted beside this one."""
        return None if self.companion is None else self.companion.field


def start(signal: Signal, options: FitOptions, device: torch.device, seed: int) -> Start:
    """Build and initialise the field for a signal while the first batches are drawn.

    Raises:
        ValueError: the schedule has no rule for this signal.
    """
    network = options.network
    field, loss = build_field(signal, network, seed), options.kind.loss(signal, network)
    sampler = build_sampler(field, signal, options.batches, device, seed)
    sampler.start()
    initialization = describe_initialization(initialize_(field, signal, network, seed), network)
    companion, beside = options.kind.companion(signal), None
    if companion is not None:
        beside = start(companion, companion_options(options, companion), device, seed)
        initialization = join_initializations(initialization, beside.initialization, companion)
    return Start(field.to(device), sampler, loss, initialization, beside)


def companion_options(options: FitOptions, companion: Signal) -> FitOptions:
    """Return the options of what is fitted beside a signal: network, noise and batches are of the same sizes."""
    kind = kind_named(companion.kind)
    network, batches = companion_network(options.network, companion), companion_batches(options.batches, companion)
    return FitOptions(kind, kind.options(), network, batches)


def companion_network(options: NetworkOptions, companion: Signal) -> NetworkOptions:
    """Return the options of a companion's network: those of the signal's own that it has as well.

    In cells its networks are wider, see `CellTarget.wider`.
    """
    of_kind = kind_named(companion.kind).network
    own = of_kind(**{option.name: getattr(options, option.name) for option in fields(of_kind)})
    if not options.has_parts:
        return own
    return replace(own, hidden_dim=round(find_cell_target(companion).wider * options.width))


def companion_batches(options: BatchOptions, companion: Signal) -> BatchOptions:
    """Return the options of a companion's batches: those of the signal's own that it has as well."""
    of_kind = kind_named(companion.kind).batches
    return of_kind(**{option.name: getattr(options, option.name) for option in fields(of_kind)})


def collect_parameters(field: Field, companion: Field | None) -> list[Parameter]:
    """Return the parameters of a field and of its companion, which is trained as by Adam whatever the optimiser is.

    Colours, the only companions, are fitted less well by the others; docs/colour.md has what was measured.
    """
    if companion is None:
        return list(field.network.parameters())
    train_as_adam(companion.network.parameters())
    return [*field.network.parameters(), *companion.network.parameters()]


def join_initializations(main: dict[str, Any], beside: dict[str, Any], companion: Signal) -> dict[str, Any]:
    """Return the record of a run's initialisation with that of its companion in words."""
    return main | {"init": f"{main['init']}; {kind_named(companion.kind).title}: {beside['init']}"}


def build_field(signal: Signal, options: NetworkOptions, seed: int) -> Field:
    """Build the field that is to be fitted to a signal; the network's random numbers depend on `seed` only.

    Raises:
        SignalError: the signal's units are so small or so large that a checkpoint of the field would be refused, or the
            signal is to be divided into parts and cannot be.
    """
    try:
        check_normalization(signal.normalization)
        signal.record.from_json(signal.record.to_json())
    except ValueError as error:
        raise SignalError(f"{signal.name}: its units are too small or too large to be fitted: {error}") from None
    specification, cells = specify_network(signal, options)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        field = Field(signal.kind, specification, signal.normalization, signal.record)
    if isinstance(field.network, CellBank) and cells is not None:
        field.network.set_cells(torch.from_numpy(cells))
    return field


def specify_network(signal: Signal, options: NetworkOptions) -> tuple[dict[str, Any], ndarray | None]:
    """Return the arguments of the network for a signal, see `build_network`, and a shape's cells that have a member.

    Raises:
        SignalError: the signal is to be divided into parts and cannot be.
    """
    lattice = signal.lattice if isinstance(signal, Grid) else None
    if options.has_parts and isinstance(signal, Grid) and signal.derivatives is not None:
        raise SignalError(f"{signal.name}: derivatives are fitted by a single network; leave parts out")
    if options.has_parts and lattice is None:
        return specify_cells(find_cell_target(signal), options)
    return options.specification(signal.dim, signal.channels, lattice), None


def build_sampler(field: Field, signal: Signal, batches: BatchOptions, device: torch.device, seed: int) -> Sampler:
    """Build the sampler that serves the batches of a signal to a field."""
    if isinstance(field.network, Bank) and isinstance(signal, Grid):
        return PartSampler(signal, field.network, device, seed, batches)
    if isinstance(field.network, CellBank):
        return CellSampler(find_cell_target(signal), field.network, device, seed, batches)
    return batches.sampler(signal, device, seed)


def describe_initialization(
    initialization: Initialization | BankInitialization | None, options: NetworkOptions
) -> dict[str, Any]:
    """Return a run's record of its initialisation: ``init`` in words, and ``noise`` as a dict, or None."""
    if initialization is None:
        return {"init": options.init if options.init in SCALED else options.network, "noise": None}
    noise: dict[str, Any] = {
        "psi": initialization.centroid,
        "schedule": initialization.schedule,
        "s0": initialization.s0,
        "s1": initialization.s1,
    }
    if initialization.axes:
        noise["s0_axes"] = list(initialization.axes)
    if isinstance(initialization, Initialization) and initialization.factors:
        noise["factors"] = list(initialization.factors)
    return {"init": str(initialization), "noise": noise}


def initialize_(
    field: Field, signal: Signal, options: NetworkOptions, seed: int, lowers: bool = False
) -> Initialization | BankInitialization | None:
    """Initialise a field's network for its signal, in place.

    Args:
        field: the field.
        signal: the signal.
        options: the options of the network.
        seed: seed of the network and the noise.
        lowers: whether a single network begins with lower frequencies where its signal has lower ones, see
            `NoiseSchedule.matched`; for a bank its kind's recipe says so.

    Returns:
        The initialisation, or None if the options ask for no noise.

    Raises:
        ValueError: the schedule has no rule for this signal.
    """
    network, noise = field.network, options.noise
    if isinstance(network, Bank) and isinstance(signal, Grid):
        return initialize_bank_(network, kind_named(field.kind), signal, options, seed)
    if isinstance(network, CellBank):
        return initialize_cells_(network, find_cell_target(signal), options, seed)
    if not options.has_noise:
        if options.init in SCALED:
            traits = describe_network(find_network_to_perturb(network), signal.dim)
            scaled_init_(network, SCALED[options.init](signal.axes, traits), seed=seed)
        elif options.network in SINE_NETWORKS:
            siren_init_(network, seed=seed)
        return None
    if noise.s0 is not None:
        return winner_init_(network, s0=noise.s0, s1=noise.s1, hidden_biases=noise.hidden_biases, seed=seed)
    rule = noise.rule(lowers)
    # A signal computes its centroid once and keeps it, but a flat rule defines the centroid differently.
    if rule.flat and isinstance(signal, Grid):
        centroid = rule.centroid_of(signal.known_values, dim=signal.dim)
    else:
        centroid = signal.centroid
    axes = signal.axes
    if noise.denoise:
        if not isinstance(signal, Grid):
            raise SignalError(f"{signal.name}: denoise is for regularly sampled signals; leave it out")
        axes = signal.axes_above_noise
    return winner_init_(
        network,
        centroid=centroid,
        schedule=rule,
        dim=signal.dim,
        channels=signal.channels,
        axes=axes,
        hidden_biases=noise.hidden_biases,
        seed=seed,
    )
