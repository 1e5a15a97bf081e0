"""Options named in sentences: written as they are typed on the command line, and put into Python's words.

A hint is written once, as a person would paste it behind `ckpt`:

    --force replaces it                       force=True replaces it
    --on-missing init starts it afresh        on_missing='init' starts it afresh
    --rename net=body --rename head=top       rename=['net=body', 'head=top']

The command line shows it as it is; `str()` of an error or a plan, which Python shows, as `in_python` puts it.
What stands in backquotes is a command, and stays.
"""

from __future__ import annotations

import re
import shlex

_FLAGS = {
    *("cast", "check", "checksum", "clip", "force", "keep-meta", "keep-slots", "raw-names", "stats"),
    *("to-tf1", "verify", "weights-only"),
}
"""Options without a value that are arguments in Python."""
_CHOICES = {
    "compress": {"gzip"},
    "data": {"auto", "link", "copy"},
    "ema": {"prefer", "require", "ignore"},
    "layout": {"tf", "keras", "keras3"},
    "on-conflict": {"error", "first", "last"},
    "on-missing": {"error", "init"},
    "on-shape": {"error", "init", "overlap"},
    "sort": {"name", "bytes", "order"},
}
"""The values of options that have no others."""
_COMMAND_LINE_ALONE = {
    *("csv", "debug", "depth", "dry-run", "json", "long", "model", "no-truncate", "output", "quiet"),
    *("select-from", "summary", "to-tf2", "tree"),
}
"""Options that no function takes."""
_NAMED = {"add-scope", "drop", "exclude", "keep", "reinit", "strip-scope"}
"""Options whose value may be a plain word: a name."""
_NO_VALUES = {"out", "it", "or", "and", "alone", "is", "takes", "does", "as"}
"""Words that go on with the sentence."""
_WORD = r"""(?:'[^']*'|"[^"]*"|\\'|[^\s'"`,;)(])+(?:\([^)]*\))?"""
"""A word as a shell reads it: in quotes, or until the sentence goes on."""
_OPTION = re.compile(rf"(?<![\w/'-])--([a-z][a-z0-9-]*)(?:[ =]({_WORD}))?")
_COMMAND = re.compile(r"(`[^`]*`)")


def in_python(text: str) -> str:
    """Return a sentence with the options in it as arguments of functions."""
    if "--" not in text:
        return text
    parts = _COMMAND.split(text)
    return "".join(part if part.startswith("`") else _translated(part) for part in parts)


def typed(name: str, value: str) -> str:
    """Return an option with a value that a shell hands on as it is: names may have spaces, and quotes."""
    return f"--{name} {shlex.quote(value)}"


def option(name: str, value: str) -> str:
    """Return how the argument `name` of a function is given `value`, where the command line has it: so."""
    dashed = name.replace("_", "-")
    return f"--{dashed} {value}" if dashed in _CHOICES else f"{name}={value!r}"


def _translated(text: str) -> str:
    pieces: list[str] = []
    position, previous = 0, None
    for found in _OPTION.finditer(text):
        between = text[position : found.start()]
        name, value = found[1], found[2]
        after = found.start() + len(name) + 2
        if value is not None:
            if re.match(r" (?!--)", text[found.end() :]):
                value = value.removesuffix(":")  # with which the sentence goes on
            value = value if _is_value(name, value) else None
        position = after if value is None else after + 1 + len(value)
        if name in _COMMAND_LINE_ALONE:
            pieces += [between, text[found.start() : position]]
            previous = None
        elif value is None:
            pieces += [between, _bare(name)]
            previous = None
        elif between == " " and previous is not None and previous[0] == name:
            previous[1].append(value)
            pieces[-1] = _given(name, previous[1])
        else:
            pieces += ["," + between if between == " " and previous else between, _given(name, [value])]
            previous = (name, [value])
    return "".join([*pieces, text[position:]])


def _is_value(name: str, value: str) -> bool:
    """Return whether the word after an option is its value, and not what the sentence goes on with."""
    if name in _CHOICES:
        return value in _CHOICES[name]
    if name in _FLAGS and name != "cast":
        return False
    if re.search(r"[=:']", value) or re.fullmatch(r"[A-Z][A-Z_.]*|-?\d[\d.,]*", value):
        return True
    if name == "cast":
        return re.fullmatch(r"(bfloat|float|fp|bf|u?int|complex)\d\w*", value) is not None
    return name in _NAMED and value not in _NO_VALUES


def _bare(name: str) -> str:
    if name == "no-sync":
        return "sync=False"
    if name == "strip-optimizer":
        return "strip_optimizer()"
    return name.replace("-", "_") + ("=True" if name in _FLAGS else "")


def _given(name: str, values: list[str]) -> str:
    """Return an argument with its value, or a list of several."""
    read = [_read(value) for value in values]
    if name == "copy":
        pairs = ", ".join(f"{new!r}: {old!r}" for new, _, old in (str(v).partition("=") for v in read))
        return f"copy={{{pairs}}}"
    shown = repr(read[0]) if len(read) == 1 else repr(read)
    return f"{name.replace('-', '_')}={shown}"


def _read(value: str) -> str | int | float:
    """Return the value that a shell would hand on, a number as one."""
    try:
        text = " ".join(shlex.split(value))
    except ValueError:
        text = value
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
