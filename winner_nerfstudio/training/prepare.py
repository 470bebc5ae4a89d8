"""From what a user names to what a fit works with: the signal and the options, each checked."""

import math
from dataclasses import fields
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np
import torch
from torch import Tensor

from ..signals.load import Kind, is_mesh, kind_of, load_signal, loading_options
from ..signals.signal import Signal
from .options import DrawnOptions, NetworkOptions, NoiseConfig, ResidentOptions
from .recipes import RECIPES, Recipe

if TYPE_CHECKING:
    Batches = ResidentOptions | DrawnOptions


class Options(NamedTuple):
    """What a fit may be told, sorted.

    Attributes:
        data: arguments of `load_signal`.
        network: the network, its initialisation and the loss.
        batches: how points are served.
        recipe: what the kind of signal is fitted with if nothing else is said.
    """

    data: dict[str, Any]
    network: NetworkOptions
    batches: "Batches"
    recipe: Recipe


def options_of(kind: str, loaded: bool = False) -> dict[str, dict[str, Any]]:
    """The options of a fit, names and types, sorted into ``data``, ``network``, ``noise`` and ``batches``.

    Args:
        kind: of the signal.
        loaded: whether the signal is there already, so that it has no options any more.
    """
    recipe = RECIPES.get(kind, Recipe())
    parts = {"network": recipe.network, "noise": NoiseConfig, "batches": recipe.batches}
    data: dict[str, dict[str, Any]] = {"data": {} if loaded else loading_options(kind)}  # type: ignore[arg-type]
    types = {part: get_type_hints(options) for part, options in parts.items()}
    return data | {
        part: {option.name: types[part][option.name] for option in fields(options) if option.name != "noise"}
        for part, options in parts.items()
    }


def sorted_options(kind: str, options: dict[str, Any], loaded: bool = False) -> Options:
    """Options by the names of the command line, checked as far as they can be without the data.

    Args:
        kind: of the signal.
        options: by name.
        loaded: whether the signal is there already, so that it has no options any more.

    Raises:
        ValueError: an option that there is not, or that won't do.
    """
    if not loaded and kind not in RECIPES:
        raise ValueError(f"kind={kind!r} is not one of: {', '.join(RECIPES)}")
    recipe = RECIPES.get(kind, Recipe())
    takes = options_of(kind, loaded)
    chosen: dict[str, dict[str, Any]] = {part: {} for part in takes}
    for name, value in options.items():
        part = next((part for part, names in takes.items() if name in names), None)
        if part is None:
            close = get_close_matches(name, chain(*takes.values()), 1)
            hint = f"; is {close[0]} meant?" if close else ""
            raise ValueError(f"{name} is no option for a fit of kind {kind!r}{hint}")
        chosen[part][name] = value
    network = recipe.network(**chosen["network"], noise=NoiseConfig(**chosen["noise"]))
    batches = recipe.batches(**chosen["batches"])
    try:
        if problem := network.problem() or batches.problem():
            raise ValueError(problem)
    except (TypeError, AttributeError) as error:
        raise _wrong_type(options, error) from error
    return Options(chosen["data"], network, batches, recipe)


def load(data: Any, kind: str, options: dict[str, Any]) -> Signal:
    """The signal, with the options of its own.

    Raises:
        ValueError: data or options that won't do.
    """
    try:
        return load_signal(data, kind, **options)  # type: ignore[arg-type]
    except (TypeError, AttributeError) as error:
        raise _wrong_type(options, error) from error


def prepared(data: Any, kind: Kind | None, options: dict[str, Any]) -> tuple[Signal, Options]:
    """The signal of whatever `fit` takes, and the options, each checked.

    Raises:
        ValueError: an option that there is not, or data or options that won't do.
    """
    data = _array(data)
    raw = isinstance(data, (str, Path, np.ndarray)) or is_mesh(data)
    ready = None if raw else data
    if not raw and not all(hasattr(data, name) for name in ("kind", "normalization", "describe")):
        raise ValueError(f"a {type(data).__name__} cannot be fitted; give a file, an array, a mesh or a signal")
    if is_mesh(data) and kind not in (None, "sdf"):
        raise ValueError(f"kind={kind!r}, but a mesh is given, of kind 'sdf'")
    if ready is not None and kind not in (None, ready.kind):
        raise ValueError(f"kind={kind!r}, but the signal given is of kind {ready.kind!r}")
    found = ready.kind if ready is not None else kind or kind_of(data)
    chosen = sorted_options(found, options, loaded=ready is not None)
    return (ready if ready is not None else load(data, found, chosen.data)), chosen


def checked_run(steps: Any, learning_rate: Any, seed: Any, device: Any) -> torch.device:
    """The device, the others being what they should.

    Raises:
        ValueError: one of them isn't.
    """
    if not (isinstance(steps, (int, np.integer)) and steps >= 1):
        raise ValueError(f"steps={steps} must be a whole number, at least 1")
    if not (isinstance(learning_rate, (int, float)) and 0 < learning_rate < math.inf):
        raise ValueError(f"learning_rate={learning_rate} must be positive and finite")
    if not (isinstance(seed, (int, np.integer)) and 0 <= seed < 2**62):
        raise ValueError(f"seed={seed} must be a whole number, at least 0")
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError, ValueError) as error:
        raise ValueError(f"device={device!r} cannot be used ({str(error).splitlines()[0][:80]}); try cpu") from None
    return found


def _array(data: Any) -> Any:
    """Tensors, and whatever else offers itself as an array or as a list of one, as an array; anything else as it is.

    Raises:
        ValueError: it cannot be turned into one.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise ValueError("a masked array cannot be fitted; fill it first, with its filled()")
    if isinstance(data, Tensor):
        dense = data.detach().to_dense() if data.layout != torch.strided else data.detach()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).cpu().numpy()
    if hasattr(data, "geometry") and hasattr(data, "to_mesh"):
        return data.to_mesh()
    if isinstance(data, (list, tuple, np.ndarray)) or hasattr(data, "__array_interface__"):
        return np.asarray(data)
    return data


def _wrong_type(options: dict[str, Any], error: Exception) -> ValueError:
    """What is of another type fails where it is used."""
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    return ValueError(f"one of {given[:200]} is of the wrong type ({str(error)[:100]})")
