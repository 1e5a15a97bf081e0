"""Wrong usage of the command line, said as every other error is: what is wrong, and what to type."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from toolkit.errors import UsageError

_NO_COMMAND = re.compile(r"No such command '(.*)'\.", re.DOTALL)
_EXTRA = re.compile(r"Got unexpected extra argument\(s\) \((.*)\)", re.DOTALL)
_VALUE = re.compile(r"(?:'(.*)' is not|(.*) is not in the range)", re.DOTALL)
"""How Typer's messages have what was typed: nothing else in its errors does."""


def usage_error(error: TyperException, commands: Mapping[str, Any], typed: Sequence[str]) -> UsageError:
    """Return an error of Typer's as an error of the toolkit's.

    Args:
        error: What Typer raised.
        commands: The commands of the program, by name, as Typer has them.
        typed: The arguments of the program.
    """
    context = getattr(error, "ctx", None)
    command = next((word for word in typed if not word.startswith("-")), "")
    command = command if command in commands else ""
    where = f"{command}: " if command else ""
    if missing := _NO_COMMAND.match(error.message):
        return _no_command(missing[1], commands)
    option = getattr(error, "option_name", None)
    if option is not None and hasattr(error, "possibilities"):
        return UsageError(f"{where}no option {option}", hint=_near_option(option, command, commands))
    if option is not None:
        return _misused_option(where, option, commands.get(command), error)
    parameter = getattr(error, "param", None)
    if parameter is not None and hasattr(error, "param_type"):
        is_option = parameter.param_type_name == "option"
        hint = f"add {_example(_called(parameter), parameter)}" if is_option else _usage(context)
        return UsageError(f"{where}no {_called(parameter)}", hint=hint)
    if parameter is not None and isinstance(error, typer.BadParameter):
        return _bad_value(where, parameter, error)
    if extra := _EXTRA.match(error.message):
        return UsageError(f"{where}one argument too many: {extra[1]}", hint=_usage(context))
    text = error.format_message().rstrip(".")
    return UsageError(f"{where}{text[:1].lower()}{text[1:]}", hint=_usage(context))


def is_help(error: TyperException) -> bool:
    """Return whether an error is no more than the help that a program without arguments shows."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _no_command(name: str, commands: Mapping[str, Any]) -> UsageError:
    near = _nearest(name, commands)
    if near is not None:
        hint = f"did you mean `ckpt {near}`? `ckpt -h` lists all commands"
    elif os.path.exists(name) or os.path.exists(f"{name}.index"):
        hint = f"`ckpt inspect {name}` shows what is in it"
    else:
        hint = "`ckpt -h` lists all commands"
    return UsageError(f"no command {name!r}", hint=hint)


def _near_option(option: str, command: str, commands: Mapping[str, Any]) -> str:
    """Return a hint: the option of the command that is nearest, or the command that has this option."""
    options = {name: _options_of(each) for name, each in commands.items()}
    known = options.get(command, ["--version", "--help", "--install-completion", "--show-completion"])
    listed = f"`{' '.join(filter(None, ['ckpt', command]))} -h` lists all options"
    others = [name for name, found in options.items() if option in found]
    near = _nearest(option, known)
    if near is not None and not (others and not near.startswith(option)):
        return f"did you mean {near}? {listed}"
    if others:
        return f"{', '.join(others)} {'has' if len(others) == 1 else 'have'} {option}; {listed}"
    return listed


def _misused_option(where: str, option: str, command: Any, error: TyperException) -> UsageError:
    """Return that an option has a value and takes none, or has none and takes one."""
    if "does not take a value" in error.message:
        return UsageError(f"{where}{option} takes no value", hint=f"write {option} alone")
    found = None if command is None else next((p for p in command.params if option in p.opts), None)
    return UsageError(f"{where}{option}: expected a value", hint=f"write {_example(option, found)}")


def _bad_value(where: str, parameter: Any, error: TyperException) -> UsageError:
    """Return that a value is not one of those, or not of that kind, which a parameter takes."""
    match = _VALUE.match(error.message)
    value = "" if match is None else match[1] if match[1] is not None else match[2]
    name, choices = _called(parameter), _choices(parameter)
    if choices:
        near = _nearest(value, choices) or choices[0]
        expected = f"{', '.join(choices[:-1])} or {choices[-1]}" if choices[1:] else choices[0]
        hint = f"write {name} {near}"
    elif match is not None:
        least = getattr(parameter.type, "min", None)
        expected = "a number" if "float" in parameter.type.name else "a whole number"
        expected += "" if least is None else f" of {least} or more"
        hint = f"write {_example(name, parameter)}"
    else:
        return UsageError(f"{where}{name}: {error.message}")
    return UsageError(f"{where}{name}: expected {expected}, got {value!r}", hint=hint)


def _called(parameter: Any) -> str:
    """Return the name of a parameter for a person: its longest option, or the argument as in the help."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper()).strip("[].")


def _example(option: str, parameter: Any) -> str:
    """Return how an option is given: with one of its values, or what stands for one."""
    if parameter is None:
        return f"{option} VALUE"
    return f"{option} {next(iter(_choices(parameter)), parameter.metavar or 'VALUE')}"


def _choices(parameter: Any) -> list[str]:
    return [str(choice) for choice in getattr(parameter.type, "choices", ())]


def _usage(context: Any) -> str:
    """Return how a command is called."""
    if context is None:
        return "`ckpt -h` lists all commands"
    line = context.get_usage().replace("[OPTIONS] ", "").replace("{", "").replace("}", "")
    path = context.command_path
    return f"write {' '.join(line.split()[1:])}; `{path} -h` explains it"


def _options_of(command: Any) -> list[str]:
    return [option for parameter in command.params for option in parameter.opts if option.startswith("-")]


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the word of `known` that resembles `name` most; `None` if none does."""
    bare = {each.lstrip("-"): each for each in known}
    name = name.lstrip("-")
    begun = [each for each in bare if name[1:] and each.startswith(name)]
    found = begun or difflib.get_close_matches(name, list(bare), n=1)
    return bare[found[0]] if found else None
