"""Shape checks at run time: once installed, calls of the package's functions are held against their annotations.

jaxtyping's own import hook wants jaxtyping at run time and every annotation resolved. A field file is read without
jaxtyping, and some names are imported for type checkers alone, so this hook resolves only what names an array.
"""

import ast
import functools
import inspect
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import jaxtyping
import numpy as np
import torch
from beartype.door import is_bearable
from jaxtyping import jaxtyped

PACKAGE = "winner_nerfstudio"
ENABLED = True
ARRAYS = {name: getattr(jaxtyping, name) for name in ("Bool", "Complex", "Float", "Inexact", "Int", "Shaped", "UInt8")}


class WrongShape(Exception):
    """An array that does not have the type or the shape that stands beside it."""


def install():
    """Check the functions of every module of the package that is imported from now on."""
    assert PACKAGE not in sys.modules, "imported already, so unchecked"
    sys.meta_path.insert(0, Finder())


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != PACKAGE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (execute(module), check_module(module))
        return spec


def check_module(module):
    """Replace a module's functions, and its classes' methods, by ones that check their arrays' shapes."""
    names = {**ARRAYS, **vars(module)}
    for statement in type_checking_statements(module):
        exec(compile(ast.Module([statement], []), module.__file__, "exec"), names)
    for owner in [module, *filter(inspect.isclass, vars(module).values())]:
        if getattr(owner, "__module__", owner.__name__) == module.__name__:
            for name, value in list(vars(owner).items()):
                checked = check(value, names, module.__name__)
                if checked is not value:
                    setattr(owner, name, checked)


def type_checking_statements(module):
    """What stands under ``if TYPE_CHECKING``: aliases, and imports of what has been imported already by others."""
    for block in ast.parse(Path(module.__file__).read_text("utf8")).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for node in block.body:
                absolute = isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in sys.modules
                if absolute or isinstance(node, ast.Assign):
                    yield node


def check(value, names, module):
    if isinstance(value, (staticmethod, classmethod)):
        return type(value)(check(value.__func__, names, module))
    if isinstance(value, property):
        return property(*(each and check(each, names, module) for each in (value.fget, value.fset, value.fdel)))
    if not inspect.isfunction(value) or value.__module__ != module:
        return value
    arrays = {name: hint for name, hint in hints(value, names) if "jaxtyping" in repr(hint)}
    if not arrays:
        return value
    parameters, result_hint = list(inspect.signature(value).parameters), arrays.pop("return", object)
    right = set()  # outlines of what has been looked at, as those of a training step come again and again

    @functools.wraps(value)
    def checked(*positional, **named):
        if torch.compiler.is_compiling():  # of what is only traced, sizes are unknown
            return value(*positional, **named)
        given = [pair for pair in (*zip(parameters, positional, strict=False), *named.items()) if pair[0] in arrays]
        known = outline(given)
        if known in right:
            result = value(*positional, **named)
            if (known, outline(result)) in right:
                return result
        with jaxtyped("context"):  # within it, a letter stands for one size
            for name, argument in given:
                require(argument, arrays[name], value, name)
            if known not in right:
                result = value(*positional, **named)
            require(result, result_hint, value, "the result")
        if ENABLED:
            right.update((known, (known, outline(result))))
        return result

    return checked


def outline(value):
    """All of a value that `require` depends on: type and shape of the arrays in it, and the type of what else it is."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return type(value), value.dtype, value.shape
    if isinstance(value, (tuple, list)):
        return type(value), *map(outline, value)
    if isinstance(value, dict):
        return dict, *map(outline, value.items())
    return value if isinstance(value, str) else type(value)


def require(value, hint, function, name):
    if ENABLED and hint is not object and not is_bearable(plain(value), hint):
        raise WrongShape(f"{function.__qualname__}: {name} is {describe(value)}, which is no {hint}")


def plain(value):
    """The same as an array that jaxtyping knows: a scalar of numpy's, or C's long long, which igl returns, as int64."""
    if type(value) is tuple:
        return tuple(map(plain, value))
    if isinstance(value, np.generic):
        return np.asarray(value)
    return value.view(np.int64) if isinstance(value, np.ndarray) and value.dtype.char == "q" else value


def describe(value):
    if isinstance(value, tuple):
        return f"({', '.join(map(describe, value))})"
    return f"{value.dtype} of shape {tuple(value.shape)}" if hasattr(value, "shape") else type(value).__name__


def hints(function, names):
    """Each annotation of a function that can be resolved by now."""
    for name, hint in function.__annotations__.items():
        try:
            yield name, eval(hint, names) if isinstance(hint, str) else hint
        except NameError:
            continue
