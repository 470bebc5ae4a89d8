"""Convert mappings, as YAML gives them, to dataclasses: every key known, every value of its type."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class ConfigError(ValueError):
    """A configuration that cannot be used: the message is one line that names the key, the fault and the remedy."""


def suggest(name: object, known: Iterable[object]) -> str:
    """Return the end of a message about an unknown name: the most similar known name, or all of them."""
    names = [str(each) for each in known]
    return _most_similar(name, names) or f"; there are: {', '.join(names)}"


def convert(annotation: Any, value: Any, key: str) -> Any:
    """Return a value as its type: a dataclass from a mapping, tuples from lists, floats from whole numbers.

    Args:
        annotation: A dataclass, int, float, str, bool, Path, Any, Literal, or dict, tuple and union of such.
        value: The value in the file.
        key: The key's path in the file, for messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value has another type.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return value
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        return _convert_one_of([each for each in inner if each is not NoneType], value, key)
    if origin is Literal:
        if value not in inner:
            hint = _most_similar(value, [str(each) for each in inner])
            raise ConfigError(f"{key}={value!r} must be one of: {', '.join(map(str, inner))}{hint}")
        return value
    if is_dataclass(annotation):
        return _convert_mapping(annotation, value, key)
    if origin is dict:
        _require(isinstance(value, Mapping), value, key, "a mapping of names")
        return {_check_key(name, key): convert(inner[1], each, f"{key}.{name}") for name, each in value.items()}
    if origin is tuple:
        _require(isinstance(value, (list, tuple)), value, key, "a list")
        return tuple(convert(inner[0], each, f"{key}[{index}]") for index, each in enumerate(value))
    return _convert_scalar(annotation, value, key)


def _convert_one_of(annotations: list[Any], value: Any, key: str) -> Any:
    """Return a value as the first of several types that takes it."""
    faults = []
    for annotation in annotations:
        try:
            return convert(annotation, value, key)
        except ConfigError as error:
            faults.append(str(error))
    start = f"{key}={value!r} must be "
    raise ConfigError(", or ".join([faults[0], *(fault.removeprefix(start) for fault in faults[1:])]))


def _convert_scalar(annotation: Any, value: Any, key: str) -> Any:
    if annotation is float:
        # YAML reads 1e-4 as a string: it wants a point before the exponent.
        value = _parse_float(value)
        _require(isinstance(value, (int, float)) and not isinstance(value, bool), value, key, "a number")
        return float(value)
    if annotation is Path:
        _require(isinstance(value, (str, Path)), value, key, "the name of a file")
        return Path(value)
    words = {int: "a whole number", str: "a text", bool: "true or false"}
    fits = isinstance(value, annotation) and (annotation is bool or not isinstance(value, bool))
    _require(fits, value, key, words[annotation])
    return value


def _convert_mapping(annotation: Any, value: Any, key: str) -> Any:
    _require(isinstance(value, Mapping), value, key or "the file", "a mapping of names")
    hints = get_type_hints(annotation)
    path = f"{key}." if key else ""
    for name in value:
        if name not in hints:
            raise ConfigError(f"{path}{name} is no key{suggest(name, hints)}")
    for each in fields(annotation):
        if each.default is MISSING and each.default_factory is MISSING and each.name not in value:
            raise ConfigError(f"{path}{each.name} is missing")
    return annotation(**{name: convert(hints[name], each, f"{path}{name}") for name, each in value.items()})


def _require(holds: bool, value: Any, key: str, expected: str) -> None:
    """Raise a `ConfigError` that says what was expected, unless it holds."""
    if not holds:
        raise ConfigError(f"{key}={value!r} must be {expected}")


def _check_key(name: Any, key: str) -> str:
    _require(isinstance(name, str), name, key, "named by a text; put it into quotes")
    return str(name)


def _most_similar(name: object, known: list[str]) -> str:
    close = get_close_matches(str(name), known, 1)
    return f"; is {close[0]} meant?" if close else ""


def _parse_float(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
