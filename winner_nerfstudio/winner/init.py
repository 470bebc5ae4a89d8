"""SIREN's and WINNER's initialisation of a network that stands: in place, from a generator of its own."""

from collections.abc import Iterable
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .method import NoiseSchedule, perturb_, spectral_centroid

# Parts the stream of the noise from that of the weights: seeds are user-made and small, this is neither.
_NOISE_STREAM = 0x57494E4E4552


class Initialization(NamedTuple):
    """What `winner_init_` chose; prints as ``psi=0.171, schedule=default, s0=28.6, s1=0.068``.

    Attributes:
        centroid: the target's spectral centroid, None where the scales were given by hand.
        schedule: the schedule's name.
        s0: scale of the noise on the first layer.
        s1: scale of the noise on the second layer.
    """

    centroid: float | None
    schedule: str
    s0: float
    s1: float

    def __str__(self) -> str:
        psi = "" if self.centroid is None else f"psi={self.centroid:.3g}, "
        return f"{psi}schedule={self.schedule}, s0={self.s0:.3g}, s1={self.s1:.3g}"


def siren_init_(module: nn.Module, *, omega_0: float | None = None, seed: int | None = None) -> None:
    """Initialise the Linear layers of a sine network as SIREN does, in place (arXiv 2006.09661, section 3.2).

    First weight ``U(-1/d, 1/d)``, every later one ``U(-sqrt(6/fan_in)/omega_0, +)``, biases ``U(-1/sqrt(fan_in), +)``.

    Args:
        module: a `Siren`, or an ``nn.Sequential`` of Linear and sine modules.
        omega_0: frequency of the hidden sine layers; left out, the module's own ``omega_0``, or else 30.
        seed: of this call's own generator; left out, it is drawn from torch's global one.

    Raises:
        ValueError: the module is not such a chain.
    """
    layers = sine_chain(module)
    _fresh(layers, _omega(module, omega_0), _seed(seed))


def winner_init_(
    module: nn.Module,
    *,
    target: Tensor | np.ndarray | None = None,
    centroid: float | None = None,
    s0: float | None = None,
    s1: float | None = None,
    schedule: NoiseSchedule | None = None,
    layers: tuple[nn.Linear | str, nn.Linear | str] | None = None,
    omega_0: float | None = None,
    dim: int | None = None,
    channels: int | None = None,
    samples: int | None = None,
    seed: int | None = None,
    reinitialize: bool = True,
) -> Initialization:
    """Give a sine network WINNER's initialisation, in place: SIREN's, then noise on the first two layers' weights.

    Say what the noise is made from in one of three ways: the `target` itself, its spectral `centroid`, or the two
    scales `s0` and `s1`. Called again it starts afresh, so noise never adds up; ``s0=s1=0`` is exactly SIREN's
    initialisation with that seed, and the layers from the third on are SIREN's for any scale.

    Args:
        module: a `Siren`, an ``nn.Sequential`` of Linear and sine modules, or anything if `layers` is given.
        target: the signal, regularly sampled, channels last, see `spectral_centroid`.
        centroid: ``psi`` in [0, 1].
        s0: noise scale of the first layer, radians per unit of coordinate.
        s1: noise scale of the second layer.
        schedule: from centroid to scales; `NoiseSchedule.default` if left out.
        layers: the first two Linear layers or their names in ``module.named_modules()``; only these are touched then.
        omega_0: frequency of the hidden sine layers; left out, the module's own ``omega_0``, or else 30.
        dim: spatial axes of the target; left out, the first layer's input size.
        channels: of the target; left out, those of `target` or else the last layer's output size (with `layers`: 1).
        samples: of the target per axis, for schedules that use it; left out, those of `target`'s last spatial axis.
        seed: of this call's own generators; left out, it is drawn from torch's global one.
        reinitialize: False adds the noise to the weights as they are.

    Returns:
        The centroid, the schedule's name and the scales that were used.

    Raises:
        ValueError: not exactly one of the three ways, a network without two Linear layers, or a target that does not
            fit it.
    """
    chain = sine_chain(module) if layers is None else [_named(module, layer) for layer in layers]
    if len(chain) < (3 if layers is None else 2):
        raise ValueError(f"WINNER perturbs two sine layers; this network has {max(len(chain) - 1, 0)}")
    by_hand = s0 is not None or s1 is not None
    if (target is not None) + (centroid is not None) + by_hand != 1:
        raise ValueError("give exactly one of: target, centroid, or s0 and s1")
    first, second = chain[:2]
    if by_hand:
        if s0 is None or s1 is None or schedule is not None:
            raise ValueError("s0 and s1 go together, and without a schedule")
        schedule = NoiseSchedule.fixed(s0, s1)
    dim = first.in_features if dim is None else dim
    if target is not None:
        if target.ndim not in (dim, dim + 1):
            raise ValueError(
                f"a target of shape {tuple(target.shape)} does not fit a network of {dim} inputs: it needs {dim}"
                " spatial axes, then at most one of channels; pass dim= if the inputs are not coordinates"
            )
        centroid = spectral_centroid(target, dim=dim)
        channels = (target.shape[-1] if target.ndim == dim + 1 else 1) if channels is None else channels
        samples = target.shape[dim - 1] if samples is None else samples
    if channels is None:
        channels = chain[-1].out_features if layers is None else 1
    schedule = schedule or NoiseSchedule.default()
    scales = schedule(0.0 if centroid is None else centroid, channels=channels, samples=samples, dim=dim)

    seed, omega = _seed(seed), _omega(module, omega_0)
    if reinitialize:
        _fresh(chain, omega, seed)
    noise = torch.Generator().manual_seed((seed ^ _NOISE_STREAM) % 2**63)
    perturb_(first.weight, scales.s0, omega, noise)
    perturb_(second.weight, scales.s1, omega, noise)
    return Initialization(centroid, schedule.name, *scales)


def sine_chain(module: nn.Module) -> list[nn.Linear]:
    """The Linear layers of an ``nn.Sequential`` of Linear and sine modules, in order.

    Raises:
        ValueError: anything else, with a hint at naming the layers.
    """
    if not isinstance(module, nn.Sequential):
        raise ValueError(f"{type(module).__name__} is no nn.Sequential; name its first two Linear layers with layers=")
    chain = []
    for part in _flat(module):
        if isinstance(part, nn.Linear):
            chain.append(part)
        elif type(part).__module__.startswith("torch.nn.") or next(part.parameters(), None) is not None:
            raise ValueError(
                f"the network holds a {type(part).__name__}, which is neither Linear nor sine; name its first two"
                " Linear layers with layers= if they do feed sines"
            )
    return chain


def _flat(module: nn.Sequential) -> Iterable[nn.Module]:
    for part in module:
        if isinstance(part, nn.Sequential):
            yield from _flat(part)
        else:
            yield part


def _named(module: nn.Module, layer: nn.Linear | str) -> nn.Linear:
    found = dict(module.named_modules()).get(layer) if isinstance(layer, str) else layer
    if not isinstance(found, nn.Linear):
        raise ValueError(f"layers names {layer!r}, which is not an nn.Linear of {type(module).__name__}")
    return found


def _omega(module: nn.Module, omega_0: float | None) -> float:
    """The hidden layers' frequency: as given, as the module says, as its second sine says, or SIREN's 30."""
    if omega_0 is None:
        own: list[Any] = [vars(part)["omega_0"] for part in module.modules() if "omega_0" in vars(part)]
        # The module itself comes first and speaks for its hidden layers; else the second sine does.
        speaker = 0 if "omega_0" in vars(module) else min(1, len(own) - 1)
        omega_0 = float(own[speaker]) if own else 30.0
    if not 0 < omega_0 < float("inf"):
        raise ValueError(f"omega_0={omega_0} must be positive and finite")
    return omega_0


def _seed(seed: int | None) -> int:
    return int(torch.randint(2**62, (), device="cpu")) if seed is None else seed


def _fresh(layers: list[nn.Linear], omega_0: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for index, layer in enumerate(layers):
        fan_in = layer.in_features
        _uniform_(layer.weight, 1 / fan_in if index == 0 else sqrt(6 / fan_in) / omega_0, generator)
        if layer.bias is not None:
            _uniform_(layer.bias, 1 / sqrt(fan_in), generator)


def _uniform_(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    if parameter.is_meta:  # only the network's sizes are asked for
        return
    # Drawn on the CPU in float32: one seed gives one network, whatever the device.
    drawn = torch.empty(parameter.shape, dtype=torch.float32, device="cpu").uniform_(-bound, bound, generator=generator)
    with torch.no_grad():
        parameter.copy_(drawn)
