"""Parsing of command lines whose options depend on the kind of the file that they name."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import field, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import tyro

from ..registry import Kind, all_kinds, kind_named, kind_of
from ..signals.messages import escape

if TYPE_CHECKING:
    from ..training.prepare import FitOptions


class Command(Protocol):
    """A command with an option for the kind of its file."""

    kind: str | None
    """Name of the kind, or None if it is to be found from the file."""


C = TypeVar("C", bound=Command)


def parse_command(
    command: type[C], program: str, description: str, file: Callable[[C], Path]
) -> tuple[C, Kind, list[str]]:
    """Parse a command's options, and find the kind of the file that it names.

    Args:
        command: dataclass of the command's options, as for `tyro.cli`.
        program: name of the program.
        description: description for the help text.
        file: function that returns the file that a parsed command names.

    Returns:
        The command, the kind, and the arguments that are options of neither, --help among them if a file is named.

    Raises:
        ValueError: the kind cannot be determined.
        SystemExit: the options are wrong, or the user has asked for --help.
    """
    arguments = sys.argv[1:]
    help_flags: list[str] = [flag for flag in ("-h", "--help") if flag in arguments]
    others = [argument for argument in arguments if argument not in help_flags]
    if help_flags and not any(not argument.startswith("-") for argument in others):
        others, help_flags = arguments, []
    parsed, rest = tyro.cli(command, prog=program, description=description, args=others, return_unknown_args=True)
    kind = kind_of(file(parsed)) if parsed.kind is None else kind_named(parsed.kind)
    return parsed, kind, rest + help_flags


def parse_data_options(kind: Kind, program: str, arguments: list[str], others: Sequence[str] = ()) -> "FitOptions":
    """Parse the options of loading data of a kind.

    Args:
        kind: kind of the signal.
        program: name of the program.
        arguments: the arguments of the command line that are such options.
        others: names of the program's other options, one of which a misspelt option may mean.

    Returns:
        The options of a fit: those of loading the data as the user has set them, others by default.

    Raises:
        ValueError: the value of an option cannot be used.
        SystemExit: the options are wrong, or the user has asked for --help.
    """
    description = f"Options of {kind.title}."
    data, rest = tyro.cli(kind.options, prog=program, description=description, args=arguments, return_unknown_args=True)
    if rest:
        _refuse_option(rest, [kind], [*others, *(each.name for each in fields(kind.options))], "--help")
    data.check()
    from ..training.prepare import FitOptions

    return FitOptions(kind, data, kind.network(), kind.batches())


def parse_fit_options(
    kind: Kind, program: str, arguments: list[str], others: Sequence[str] = (), listing: str = "--help"
) -> "FitOptions":
    """Parse all options of a fit of a kind: those of the data, the network, its noise, the loss and the batches.

    Args:
        kind: kind of the signal.
        program: name of the program.
        arguments: the arguments of the command line that are such options.
        others: names of the program's other options, one of which a misspelt option may mean.
        listing: the program's option that lists all options.

    Raises:
        ValueError: the value of an option cannot be used.
        SystemExit: the options are wrong, or the user has asked for --help.
    """
    parsed, rest = tyro.cli(
        _all_options(kind),
        prog=program,
        description=f"All options of a fit of {kind.title}.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
        return_unknown_args=True,
    )
    if rest:
        _refuse_option(rest, [kind], [*others, *_list_options(kind)], listing)
    return _check(kind, parsed)


def parse_options_by_kind(
    kinds: Sequence[Kind], program: str, arguments: list[str], others: Sequence[str] = ()
) -> "dict[str, FitOptions]":
    """Parse all options of fits of several kinds; an option is for all kinds that have it.

    Args:
        kinds: the kinds; where there are none, an option may be one of any kind.
        program: name of the program.
        arguments: the arguments of the command line that are such options.
        others: names of the program's other options, one of which a misspelt option may mean.

    Returns:
        The options by the kinds' names.

    Raises:
        ValueError: the value of an option cannot be used.
        SystemExit: the options are wrong.
    """
    if len(kinds) == 1:
        return {kinds[0].name: parse_fit_options(kinds[0], program, arguments, others, "--help-all")}
    strange, possible = arguments, kinds or all_kinds()
    for kind in possible:
        _, strange = _parse_known(kind, program, strange)
    if strange:
        names = [*others, *(name for kind in possible for name in _list_options(kind))]
        _refuse_option(strange, possible, names, "--help-all")
    return {kind.name: _check(kind, _parse_known(kind, program, arguments)[0]) for kind in kinds}


def _parse_known(kind: Kind, program: str, arguments: list[str]) -> tuple[Any, list[str]]:
    """Return the options of a fit of a kind that are among some arguments, and the arguments that are none of them."""
    config, options = (tyro.conf.OmitArgPrefixes,), _all_options(kind)
    return tyro.cli(options, prog=program, args=arguments, config=config, return_unknown_args=True)


def _refuse_option(arguments: Sequence[str], kinds: Sequence[Kind], names: Sequence[str], listing: str) -> NoReturn:
    """End the program with the line that an option is one of no kind, and which one may be meant.

    Args:
        arguments: those that are not understood, an option and perhaps its values among them.
        kinds: of the fits.
        names: names of the program's options, such as ``steps`` or, in a group, ``noise.exactness``.
        listing: the program's option that lists all options.
    """
    option = next((each.partition("=")[0] for each in arguments if each.startswith("-")), "")
    if not option:
        print(
            f"error: {escape(arguments[0])}: is no option; files come first, then options as --name VALUE",
            file=sys.stderr,
        )
        sys.exit(2)
    by_end = {name.rpartition(".")[2]: name for name in names}
    end = option.lstrip("-").replace("-", "_").rpartition(".")[2]
    close = get_close_matches(end, sorted(by_end), 1, 0.75)
    hint = f"is --{by_end[close[0]].replace('_', '-')} meant? " if close else ""
    titles = " or ".join(kind.title for kind in kinds)
    print(f"error: {escape(option)} is no option for a fit of {titles}; {hint}{listing} lists them", file=sys.stderr)
    sys.exit(2)


def _list_options(kind: Kind) -> list[str]:
    """Return the names of all options of a fit of a kind, those of the noise among them."""
    groups: list[Any] = [kind.options(), kind.network(), kind.batches()]
    groups += [getattr(group, each.name) for group in groups for each in fields(group)]
    return [each.name for group in groups if is_dataclass(group) for each in fields(group)]


def _all_options(kind: Kind) -> Any:
    """Return a dataclass of all options of a fit of a kind."""
    groups: dict[str, type] = {"data": kind.options, "network": kind.network, "batches": kind.batches}
    return make_dataclass("Options", [(name, group, field(default_factory=group)) for name, group in groups.items()])


def _check(kind: Kind, parsed: Any) -> "FitOptions":
    """Check options that are parsed, and return them."""
    from ..training.prepare import FitOptions

    parsed.data.check()
    parsed.network.check(kind.axes)
    parsed.batches.check()
    return FitOptions(kind, parsed.data, parsed.network, parsed.batches)
