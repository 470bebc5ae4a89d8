"""Loading the signal and checking the options that a user gives to a fit."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
from torch import Tensor

from ..files import as_url, strip_scheme
from ..registry import Kind, kind_named, kind_of, kind_of_grid
from ..signals.errors import IS_URL, SignalError
from ..signals.options import SignalOptions
from ..signals.signal import Signal
from ..winner.inputs import Input, convert_input, is_array_like
from .option_types import check_type
from .options import BatchOptions, NetworkOptions, NoiseOptions

OTHERS = ("steps", "learning_rate", "optimizer", "seed", "device", "progress", "measure", "kind")
"""What `fit` takes besides the options of a kind, and a misspelt option may mean."""


@dataclass(frozen=True)
class FitOptions:
    """The options of a fit, grouped by the part of the program that uses them.

    Attributes:
        kind: kind of the signal.
        data: options of loading the signal.
        network: options of the network, its initialisation and the loss.
        batches: options of the batches.
    """

    kind: Kind
    data: SignalOptions
    network: NetworkOptions
    batches: BatchOptions


def option_names(kind: Kind, loaded: bool = False) -> dict[type, list[str]]:
    """Return the names of a fit's options, by the class that holds them.

    Args:
        kind: kind of the signal.
        loaded: whether the signal is loaded already; the options of loading it are then left out.
    """
    classes: list[type] = [kind.network, NoiseOptions, kind.batches]
    names = {options: [option.name for option in fields(options) if option.name != "noise"] for options in classes}
    return names if loaded else {kind.options: [option.name for option in fields(kind.options)]} | names


def sort_options(kind: Kind, options: dict[str, Any], loaded: bool = False) -> FitOptions:
    """Sort options into the classes that hold them, and check them all.

    Args:
        kind: kind of the signal.
        options: values by the options' names on the command line.
        loaded: whether the signal is loaded already; the options of loading it are then unknown.

    Raises:
        ValueError: an option is unknown, or its value cannot be used.
    """
    names = option_names(kind, loaded)
    known = [name for group in names.values() for name in group]
    options = spell_out(options)
    for name in options:
        if name not in known:
            close = get_close_matches(name, [each for each in (*known, *OTHERS) if each != name], 1)
            hint = f"; is {close[0]} meant?" if close else ""
            raise ValueError(f"{name} is no option for a fit of kind {kind.name!r}{hint}")
    values: dict[type, dict[str, Any]] = {}
    for group in names:
        hints = get_type_hints(group)
        values[group] = {name: check_type(name, options[name], hints[name]) for name in names[group] if name in options}
    data = kind.options(**values.get(kind.options, {}))
    network = kind.network(**values[kind.network], noise=NoiseOptions(**values[NoiseOptions]))
    batches = kind.batches(**values[kind.batches])
    try:
        data.check()
        network.check(kind.axes)
        batches.check()
    except (TypeError, AttributeError) as error:  # a value of a wrong type fails only where it is used
        listing = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ValueError(f"one of {listing[:200]} is of the wrong type ({str(error)[:100]})") from error
    return FitOptions(kind, data, network, batches)


def spell_out(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as a command line has them: files as paths, one number of parts as a tuple, NaN's name as NaN.

    What is given in place of a file, which only Python can do, becomes an array, as data do.
    """
    spelled = dict(options)
    for name in ("reference", "known"):
        if options.get(name) is not None:
            data = as_data(options[name])[0]
            spelled[name] = Path(data) if isinstance(data, str) else data
    if isinstance(options.get("parts"), (int, np.integer)):
        spelled["parts"] = (int(options["parts"]),)
    if isinstance(options.get("nodata"), str) and options["nodata"] == "nan":
        spelled["nodata"] = float("nan")
    return spelled


def list_arguments(options: FitOptions) -> list[str]:
    """Return the arguments of a command line, such as ``winner-fit``'s, that set the options that are not the default.

    Args:
        options: the options of a fit.
    """
    kind, network = options.kind, options.network
    groups: list[tuple[Any, Any]] = [
        (options.data, kind.options()),
        (network, kind.network()),
        (network.noise, NoiseOptions()),
        (options.batches, kind.batches()),
    ]
    arguments = []
    for group, default in groups:
        for option in fields(group):
            value = getattr(group, option.name)
            if option.name != "noise" and value != getattr(default, option.name):
                arguments += _list_argument(option.name.replace("_", "-"), value)
    return arguments


def _list_argument(name: str, value: Any) -> list[str]:
    """Return the arguments that set an option to a value."""
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, dict):
        value = [each for pair in value.items() for each in pair]
    return [f"--{name}", *map(str, value if isinstance(value, (tuple, list)) else [value])]


def prepare(data: Any, kind: str | None, options: dict[str, Any]) -> tuple[Signal, FitOptions]:
    """Load the signal from any data that `fit` accepts, and sort its options.

    Args:
        data: a file, ``sample:NAME``, an array, a tensor, a mesh or a signal; see `fit`.
        kind: name of the kind of signal, or None to find it from the data.
        options: values by the options' names on the command line.

    Raises:
        ValueError: an option is unknown, or the data or an option's value cannot be used.
    """
    data, signal_kind, options = take_input(data, kind, options)
    if is_signal(data):
        return data, sort_options(signal_kind, options, loaded=True)
    sorted_options = sort_options(signal_kind, options)
    return signal_kind.load(data, sorted_options.data), sorted_options


def take_input(data: Any, kind: str | None, options: dict[str, Any]) -> tuple[Any, Kind, dict[str, Any]]:
    """Return data as loaders take them, their kind, and the options with what the data say of where samples lie.

    Args:
        data: as in `prepare`.
        kind: likewise.
        options: likewise.

    Raises:
        ValueError: the data cannot be fitted, are behind a URL, or are not of that kind.
    """
    if isinstance(data, (str, Path)):
        data = strip_scheme(str(data))
        if url := as_url(data):
            raise SignalError(f"{url}: {IS_URL}")
    data, found = as_data(data)
    if is_signal(data):
        if kind not in (None, data.kind):
            raise ValueError(f"kind={kind!r}, but the signal given is of kind {data.kind!r}")
        return data, kind_named(data.kind), options
    if kind is None and found is not None and found.dim is not None:
        signal_kind = kind_of_grid(found.dim)
    else:
        signal_kind = kind_of(data) if kind is None else kind_named(kind)
    if not isinstance(data, (str, Path, np.ndarray)) and not signal_kind.claims(data):
        raise ValueError(f"kind={kind!r}, but a mesh is given, of kind {kind_of(data).name!r}")
    return data, signal_kind, _options_of_input(signal_kind, found) | options


def is_signal(data: Any) -> bool:
    """Return whether an object is a signal that is loaded already."""
    return all(hasattr(data, name) for name in ("kind", "normalization", "describe"))


def as_data(data: Any) -> tuple[Any, Input | None]:
    """Convert whatever holds an array to a numpy array; return other data unchanged.

    Returns:
        The data; what `convert_input` found of an object that holds an array, else None.

    Raises:
        ValueError: the data is of a type that cannot be fitted.
    """
    is_scene = hasattr(data, "geometry") and hasattr(data, "to_mesh")
    if isinstance(data, (str, Path)) or hasattr(data, "faces") or is_scene or is_signal(data):
        return data, None
    if not is_array_like(data):
        raise ValueError(f"a {type(data).__name__} cannot be fitted; give a file, an array, a mesh or a signal")
    found = convert_input(data)
    return found.values.cpu().numpy() if isinstance(found.values, Tensor) else found.values, found


def _options_of_input(kind: Kind, found: Input | None) -> dict[str, Any]:
    """Return the options of a kind that say where its samples lie, as far as the object with the array says so."""
    if found is None or found.steps is None or len(found.steps) != kind.axes:
        return {}
    rate = 1 / found.steps[0]
    whole = round(rate)
    rate = whole if abs(rate - whole) < 1e-6 * rate else rate
    options = {"spacing": found.steps, "origin": found.origin, "sample_rate": rate}
    return {name: options[name] for name in option_names(kind)[kind.options] if name in options}


def find_device(device: str | torch.device | None) -> torch.device:
    """Return a device by its name; if left out, CUDA where it is available, else the CPU.

    Raises:
        ValueError: the device cannot be used; the message is one line.
    """
    try:
        checked = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=checked)
        if checked.type == "meta":
            raise ValueError("it holds no values")
    except (RuntimeError, TypeError, AssertionError, ValueError) as error:
        raise ValueError(f"device={device!r} cannot be used ({str(error).splitlines()[0][:80]}); try cpu") from None
    return checked
