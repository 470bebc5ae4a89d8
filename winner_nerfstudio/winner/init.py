"""SIREN's and WINNER's initialisation of a network, in place, from random generators of their own."""

from collections.abc import Sequence
from math import sqrt
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .checks import read_number
from .matched import Axis
from .method import perturb_
from .samples import Samples
from .scales import Initialization, compute_noise_scales
from .schedule import NoiseSchedule
from .sines import LayerPair, SineNetwork, find_network_to_perturb, find_sine_network

# Separates the noise's random stream from that of the weights: users' seeds are small, this is not.
_NOISE_STREAM = 0x57494E4E4552


def siren_init_(module: nn.Module | SineNetwork, *, omega_0: float | None = None, seed: int | None = None) -> None:
    """Initialise the linear layers of a sine network as SIREN does, in place (arXiv 2006.09661, section 3.2).

    The first weight is ``U(-1/d, 1/d)``, every later one ``U(-sqrt(6/fan_in)/omega_0, +)``, and biases are
    ``U(-1/sqrt(fan_in), +)``.

        >>> from winner_nerfstudio import Siren, siren_init_
        >>> siren_init_(Siren(in_dim=2, out_dim=3), seed=0)

    Args:
        module: A sine network, or something that holds one, see `winner_init_`.
        omega_0: The frequency of the hidden sine layers; the network's own if left out.
        seed: The seed of this call's own generator; drawn from torch's global one if left out.

    Raises:
        ValueError: No sine network is found in the module.
    """
    if isinstance(module, nn.Module) and any(
        parameter.is_meta for parameter in module.parameters()
    ):  # only the network's sizes are asked for
        return
    network = find_sine_network(module, omega_0)
    _draw_siren_parameters(network, choose_seed(module, seed), hidden_biases=1.0)


def initialize_(
    module: nn.Module | SineNetwork,
    initialization: Initialization,
    *,
    layers: LayerPair | None = None,
    omega_0: float | None = None,
    seed: int | None = None,
) -> None:
    """Initialise a sine network as SIREN, then add noise of these scales to the first two layers' weights, in place.

        >>> from winner_nerfstudio import Initialization, Siren
        >>> from winner_nerfstudio.winner import initialize_
        >>> initialize_(Siren(in_dim=2, out_dim=3), Initialization.fixed(s0=20.0, s1=0.1), seed=0)

    Args:
        module: A sine network, or something that holds one, see `winner_init_`.
        initialization: The noise scales, see `compute_noise_scales`.
        layers: The first two linear layers, see `winner_init_`.
        omega_0: The frequency of the hidden sine layers, see `winner_init_`.
        seed: The seed of this call's own generators; drawn from torch's global one if left out.

    Raises:
        ValueError: No network with two sine layers is found in the module, or the scales do not fit it.
    """
    network = find_network_to_perturb(module, layers, omega_0)
    _check(initialization, network)
    seed = choose_seed(module, seed)
    _draw_siren_parameters(network, seed, initialization.hidden_biases)
    if initialization.factors:
        first = network.sine_layers[0].weight
        with torch.no_grad():
            first.mul_(first.new_tensor(initialization.factors))
    _perturb_first_two_layers(network, initialization, seed)


def add_noise_(
    module: nn.Module | SineNetwork,
    initialization: Initialization,
    *,
    layers: LayerPair | None = None,
    omega_0: float | None = None,
    seed: int | None = None,
) -> None:
    """Add noise of these scales to the first two layers' weights as they are, in place; biases stay.

    The factors of an initialisation, which are for SIREN's draws, have no effect.

        >>> from winner_nerfstudio import Initialization, Siren
        >>> from winner_nerfstudio.winner import add_noise_
        >>> add_noise_(Siren(in_dim=2, out_dim=3), Initialization.fixed(s0=20.0, s1=0.1), seed=0)

    Args:
        module: As in `initialize_`.
        initialization: As in `initialize_`.
        layers: As in `initialize_`.
        omega_0: As in `initialize_`.
        seed: As in `initialize_`; with the same seed the noise is the same.

    Raises:
        ValueError: As `initialize_`.
    """
    network = find_network_to_perturb(module, layers, omega_0)
    _check(initialization, network)
    _perturb_first_two_layers(network, initialization, choose_seed(module, seed))


def winner_init_(
    module: nn.Module | SineNetwork,
    *,
    target: Samples | None = None,
    centroid: float | None = None,
    s0: float | None = None,
    s1: float | None = None,
    schedule: NoiseSchedule | None = None,
    layers: LayerPair | None = None,
    omega_0: float | None = None,
    dim: int | None = None,
    channels: int | None = None,
    samples: int | None = None,
    axes: Sequence[Axis] | None = None,
    hidden_biases: float | None = None,
    seed: int | None = None,
    reinitialize: bool = True,
) -> Initialization:
    """Initialise a sine network as WINNER does, in place: as SIREN, then noise on the first two layers' weights.

    The noise comes from one of three: the `target` itself, its spectral `centroid`, or the two scales `s0` and `s1`.

        >>> import torch
        >>> from winner_nerfstudio import Siren, winner_init_
        >>> print(winner_init_(Siren(in_dim=1, out_dim=1), target=torch.arange(1000.0).sin(), seed=0))
        psi=0.367, schedule=matched, s0=151, s1=0.153
        >>> print(winner_init_(Siren(in_dim=1, out_dim=1), centroid=0.25, samples=1000, seed=0))
        psi=0.25, schedule=matched, s0=115, s1=0.153
        >>> print(winner_init_(Siren(in_dim=1, out_dim=1), s0=20.0, s1=0.1, seed=0))
        schedule=fixed, s0=20, s1=0.1

    This is short for `compute_noise_scales`, then `initialize_` (or `add_noise_`, if `reinitialize` is False). A second
    call begins afresh, so noise never adds up. ``s0=s1=0`` is exactly SIREN's initialisation with that seed, and the
    weights from the third layer on are SIREN's for any scale. So are all biases, but `NoiseSchedule.matched`, the
    default, sets those of the hidden layers to 0.

    The network may be of any make, if its sines are modules or it names their frequency. The smallest part of `module`
    that holds all sines and ends in a linear layer is taken, its layers in the order of registration. An encoding that
    is registered before it, and networks without sines beside it, are left alone.

    Args:
        module: A `Siren`, a sine network of another make, or something that holds one; anything if `layers` is given.
        target: The signal, regularly sampled, channels last, see `spectral_centroid`. Each of its axes goes from -1 to
            1 in the network's inputs; for other lengths pass `axes` from ``axes_of(target, spans=...)`` as well.
        centroid: ``psi`` in [0, 1].
        s0: The noise scale of the first layer, radians per unit of coordinate.
        s1: The noise scale of the second layer.
        schedule: The rule from the target to the scales. Left out, it is `NoiseSchedule.matched`; or, where the inputs
            are an encoding of the target's coordinates, whose frequencies that rule does not know,
            `NoiseSchedule.reference`.
        layers: The first two linear layers, modules with a ``weight`` [out, in], or their names in
            ``module.named_modules()``. Only these are touched then, and the schedule takes the network for one of two
            sine layers.
        omega_0: The frequency of the hidden sine layers, which scales both noises, as published. Left out, it is the
            network's own attribute (``omega_0``, ``omega``, ``w0``). If the network has none but its sines have, the
            first layer's noise is divided by the first sine's frequency, so that `s0` is in radians whatever the hidden
            ones are. It is 30 where there is neither.
        dim: The target's number of spatial axes. Left out, it is the first layer's input size, or, where that is above
            3 or behind an encoding, the axes that `target` has besides the network's outputs.
        channels: The target's values per sample. Left out, they are those of `target`, or else the last layer's output
            size (1 with `layers`).
        samples: The target's samples along each axis, with a `centroid`, for schedules that use them.
        axes: The target's spatial axes, see `axes_of`, with a `centroid` where they differ, or measured before.
        hidden_biases: What SIREN's draws of the biases between the first and the last layer are multiplied by. Left
            out, it is what the schedule says: 0 for `NoiseSchedule.matched`, else 1.
        seed: The seed of this call's own generators; drawn from torch's global one if left out.
        reinitialize: Whether the network is first initialised as SIREN; if False the noise is added to the weights as
            they are, and biases stay.

    Returns:
        The centroid, the schedule's name and the scales that were used.

    Raises:
        ValueError: The noise comes from none of the three or from several, an argument is given that has no use then,
            no network with two sine layers is found, or the target does not fit the network.
    """
    has_scales = s0 is not None or s1 is not None
    if (target is not None) + (centroid is not None) + has_scales != 1:
        raise ValueError("give exactly one of: target, centroid, or s0 and s1")
    if not has_scales:
        initialization = compute_noise_scales(
            module,
            target=target,
            centroid=centroid,
            schedule=schedule,
            layers=layers,
            omega_0=omega_0,
            dim=dim,
            channels=channels,
            samples=samples,
            axes=axes,
        )
    elif s0 is None or s1 is None or any(each is not None for each in (schedule, dim, channels, samples, axes)):
        raise ValueError(
            "s0 and s1 go together, without a schedule and what only it needs: dim, channels, samples, axes"
        )
    else:
        initialization = Initialization.fixed(s0, s1)
    if hidden_biases is not None:
        initialization = initialization._replace(hidden_biases=read_number("hidden_biases", hidden_biases))
    apply_ = initialize_ if reinitialize else add_noise_
    apply_(module, initialization, layers=layers, omega_0=omega_0, seed=seed)
    return initialization


def _check(initialization: Initialization, network: SineNetwork) -> None:
    """Check that an initialisation can be applied to a network, before any of its weights is touched.

    Raises:
        ValueError: It is none, a number is out of its range, or it has other axes than the network has inputs.
    """
    if not isinstance(initialization, Initialization):
        raise ValueError(f"a {type(initialization).__name__} is no Initialization; compute_noise_scales returns one")
    inputs = network.sine_layers[0].in_features
    for name in ("s0", "s1", "hidden_biases"):
        read_number(name, getattr(initialization, name))
    for name in ("axes", "factors"):
        values = getattr(initialization, name)
        if len(values) not in (0, inputs):
            raise ValueError(f"{name}={values} must be one number for each of the network's {inputs} inputs")
        for value in values:
            read_number(name, value)


def choose_seed(module: nn.Module | SineNetwork, seed: int | None) -> int:
    """Return the seed, or one drawn from torch's global generator where there is none.

    Raises:
        ValueError: It is no whole number, or there is none, and several processes would draw different ones.
    """
    if seed is not None:
        if not isinstance(seed, Integral) or not -(2**63) <= seed < 2**63:
            raise ValueError(f"seed={seed!r} must be a whole number of at most 64 bits")
        return int(seed)
    for part in [] if isinstance(module, SineNetwork) else module.modules():
        if isinstance(part, DistributedDataParallel) and torch.distributed.get_world_size(part.process_group) > 1:
            raise ValueError("under DistributedDataParallel all processes must draw the same numbers; pass seed=")
    return int(torch.randint(2**62, (), device="cpu"))


def _draw_siren_parameters(network: SineNetwork, seed: int, hidden_biases: float) -> None:
    """Draw all weights and biases as SIREN does, the biases between the first and the last layer times a factor."""
    generator = torch.Generator().manual_seed(seed)
    for index, layer in enumerate(network.layers):
        fan_in = layer.in_features
        bound = 1 / fan_in if index == 0 else sqrt(6 / fan_in) / network.frequencies.hidden
        _draw_uniform_(layer.weight, bound, generator)
        if layer.bias is not None:
            factor = hidden_biases if 0 < index < len(network.sine_layers) else 1.0
            _draw_uniform_(layer.bias, factor / sqrt(fan_in), generator)


def _perturb_first_two_layers(network: SineNetwork, initialization: Initialization, seed: int) -> None:
    """Add the noise to the first two layers' weights, from a generator that the weights' draws do not share."""
    generator = torch.Generator().manual_seed((seed ^ _NOISE_STREAM) % 2**63)
    first, second = network.sine_layers[:2]
    perturb_(first.weight, initialization.axes or initialization.s0, network.frequencies.first_noise, generator)
    perturb_(second.weight, initialization.s1, network.frequencies.hidden, generator)


def _draw_uniform_(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    # Drawn on the CPU in float32: one seed gives one network, whatever the device.
    drawn = torch.empty(parameter.shape, dtype=torch.float32, device="cpu").uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        parameter.copy_(drawn)
