"""Mappings, as YAML gives them, to dataclasses: every key known, every value of its type."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class ConfigError(ValueError):
    """A file that won't do: the message is one line that names the key, the fault and the remedy."""


def nearest(name: Any, known: Any) -> str:
    """The end of a message about an unknown name: which one is meant, or which there are."""
    close = get_close_matches(str(name), list(known), 1)
    return f"; is {close[0]} meant?" if close else f"; there are: {', '.join(known)}"


def typed(kind: Any, value: Any, where: str) -> Any:
    """A value as its type: a dataclass from a mapping, tuples from lists, floats from whole numbers.

    Args:
        kind: a dataclass, int, float, str, bool, Any, Literal, or dict, tuple and optional of such.
        value: what the file has.
        where: the key's path, for messages.

    Raises:
        ConfigError: an unknown or missing key, or a value of another type.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        if value is None and NoneType in inner:
            return None
        return typed(next(each for each in inner if each is not NoneType), value, where)
    if origin is Literal:
        if value not in inner:
            raise ConfigError(f"{where}={value!r} is none of: {', '.join(map(str, inner))}{_meant(value, inner)}")
        return value
    if is_dataclass(kind):
        return _filled(kind, value, where)
    if origin is dict:
        _require(isinstance(value, Mapping), value, where, "a mapping of names")
        return {_name(key, where): typed(inner[1], each, f"{where}.{key}") for key, each in value.items()}
    if origin is tuple:
        _require(isinstance(value, list), value, where, "a list")
        return tuple(typed(inner[0], each, f"{where}[{number}]") for number, each in enumerate(value))
    if kind is float:
        # YAML reads 1e-4 as a string: it wants a point before the exponent.
        value = _number(value)
        _require(isinstance(value, (int, float)) and not isinstance(value, bool), value, where, "a number")
        return float(value)
    words = {int: "a whole number", str: "a text", bool: "true or false"}
    _require(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), value, where, words[kind])
    return value


def _filled(kind: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, Mapping), value, where or "the file", "a mapping of names")
    hints, own = get_type_hints(kind), fields(kind)
    path = f"{where}." if where else ""
    for key in value:
        if key not in hints:
            raise ConfigError(f"{path}{key} is no key{nearest(key, hints)}")
    for each in own:
        if each.default is MISSING and each.default_factory is MISSING and each.name not in value:
            raise ConfigError(f"{path}{each.name} is missing")
    return kind(**{key: typed(hints[key], each, f"{path}{key}") for key, each in value.items()})


def _require(holds: bool, value: Any, where: str, wanted: str) -> None:
    if not holds:
        raise ConfigError(f"{where}={value!r} must be {wanted}")


def _name(key: Any, where: str) -> str:
    _require(isinstance(key, str), key, where, "named by a text; put it into quotes")
    return str(key)


def _meant(value: Any, known: Any) -> str:
    close = get_close_matches(str(value), [str(each) for each in known], 1)
    return f"; is {close[0]} meant?" if close else ""


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
