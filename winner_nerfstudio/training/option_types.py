"""Whether the values of options are of the types that the options have, from Python's own annotations."""

from dataclasses import fields, replace
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

WORDS: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    tuple: "a list of numbers",
    str: "a text",
}
"""What an option's value must be, by its type."""
T = TypeVar("T")


def check_types(options: T) -> T:
    """Return an instance of a dataclass whose fields are of their types, with numbers as Python's own.

    Raises:
        ValueError: a field takes numbers, texts, or true or false, and its value is something else.
    """
    hints = get_type_hints(type(options))
    values = {each.name: getattr(options, each.name) for each in fields(options)}  # type: ignore[arg-type]
    return replace(options, **{name: check_type(name, value, hints[name]) for name, value in values.items()})  # type: ignore[type-var]


def check_type(name: str, value: Any, annotation: Any) -> Any:
    """Return the value of an option, a number as Python's own, if it is of the option's type.

    Files and mappings have checks of their own.

    Raises:
        ValueError: the option takes numbers, texts, or true or false, and the value is something else.
    """
    if hasattr(value, "detach"):  # torch warns of numbers taken from a parameter
        value = value.detach()
    choices = _list_choices(annotation)
    known = [each for each in choices if get_origin(each) is Literal or (get_origin(each) or each) in WORDS]
    if (value is None and NoneType in choices) or len(known) < len(choices) - (NoneType in choices):
        return value
    for choice in known:
        if _is_of(value, choice):
            return _convert(value, choice)
    words = [
        word
        for each in known
        for word in (get_args(each) if get_origin(each) is Literal else [WORDS[get_origin(each) or each]])
    ]
    listing = " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
    raise ValueError(f"{name}={value!r:.80} must be {listing}")


def _list_choices(annotation: Any) -> list[Any]:
    """Return the types of which a value must have one."""
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    return [each for choice in get_args(annotation) for each in _list_choices(choice)]


def _count_axes(value: Any) -> int:
    """Return the axes of an array, a tensor or nested sequences; 0 of anything else."""
    if isinstance(value, (list, tuple)):
        return 1 + max(map(_count_axes, value), default=0)
    axes = getattr(value, "ndim", 0)
    return axes if isinstance(axes, int) else 0


def _convert(value: Any, annotation: Any) -> Any:
    """Return a value that is of a type as Python's own."""
    if get_origin(annotation) is tuple:
        return tuple(_convert(each, get_args(annotation)[0]) for each in value)
    return value if get_origin(annotation) is Literal else annotation(value)


def _is_of(value: Any, annotation: Any) -> bool:
    """Return whether a value is of a type; a number may also be an array or a tensor without axes."""
    if annotation is str or get_origin(annotation) is Literal:
        return isinstance(value, str) and (annotation is str or value in get_args(annotation))
    is_bool = isinstance(value, (bool, np.bool_))
    if annotation is bool:
        return is_bool
    axes = _count_axes(value)
    if get_origin(annotation) is tuple:
        return axes == 1 and all(_is_of(each, get_args(annotation)[0]) for each in value)
    if is_bool or axes or isinstance(value, (str, bytes)):
        return False
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return annotation is float or number.is_integer()
