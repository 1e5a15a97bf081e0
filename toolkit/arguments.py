"""What functions are given, looked at before anything is done: paths, flags, seeds, choices.

The same word means the same in every function, so a table by the names of arguments tells what each may be.
A wrong one is a `UsageError` that says what was expected, not an error from the inside.
"""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from toolkit import names
from toolkit.errors import UsageError
from toolkit.wording import option

P = ParamSpec("P")
R = TypeVar("R")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function`, which raises `UsageError` for an argument that is not what its name asks for."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        places, looked_at = _parameters(function)
        for name, value in (*zip(places, args, strict=False), *kwargs.items()):
            if name in looked_at:
                _CHECKS[name](name, value)
        return function(*args, **kwargs)

    return call


@functools.cache
def _parameters(function: Callable[..., Any]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names of the arguments by place, and of those that are looked at."""
    parameters = inspect.signature(function).parameters
    places = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    optional = {name for name, p in parameters.items() if p.default is None and name in _PATHS}
    return tuple(places), frozenset((parameters.keys() & _CHECKS.keys()) - optional)


def path_of(value: Any, what: str = "path") -> str:
    """Return a path as text.

    Raises:
        UsageError: `value` is neither a `str` nor an `os.PathLike` of one, or it holds a NUL.
    """
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise UsageError(
            f"{what}: expected a path, got {_shown(value)}", hint="a path is text, or a pathlib.Path"
        )
    if "\0" in path:
        raise UsageError(f"{what}: expected a path, got {path!r}", hint="no path has a NUL in it")
    return path


def choose(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise unless the argument `name` is one of its choices.

    Raises:
        UsageError: It is not; the hint names the nearest.
    """
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return
    near = names.nearest(value, choices, count=1) if isinstance(value, str) else []
    hint = f"the nearest: {option(name, near[0])}" if near else f"such as {option(name, choices[0])}"
    expected = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    raise UsageError(f"{name}: expected {expected}, got {_shown(value)}", hint=hint)


def text_of(name: str, value: Any) -> str:
    """Return a text as it is.

    Raises:
        UsageError: `value` is not a `str`.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name}: expected a name, got {_shown(value)}", hint="a name is text")
    return value


def whole_number(name: str, value: Any, *, least: int = 0) -> int:
    """Return a whole number, which may be NumPy's.

    Raises:
        UsageError: `value` is not a whole number, or less than `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise UsageError(f"{name}: expected a whole number of {least} or more, got {_shown(value)}")
    return number


def _path(name: str, value: Any) -> None:
    path_of(value, name)


def _seed(name: str, value: Any) -> None:
    if value is not None:
        whole_number(name, value)


def check_flag(name: str, value: Any) -> None:
    """Raise unless an argument is `True` or `False`.

    Raises:
        UsageError: It is not.
    """
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):  # NumPy's, too
        raise UsageError(f"{name}: expected True or False, got {_shown(value)}")


def _dtype(name: str, value: Any) -> None:
    if isinstance(value, (list, dict, set)):
        raise UsageError(f"{name}: expected a dtype, got {_shown(value)}", hint=f"such as {name}='float32'")


def _called(name: str, value: Any) -> None:
    if value is not None and not callable(value):
        raise UsageError(f"{name}: expected a function, got {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


_PATHS = ("directory", "out", "prefix")
_CHECKS: dict[str, Callable[[str, Any], None]] = {
    **dict.fromkeys(_PATHS, _path),
    **dict.fromkeys(("note", "progress"), _called),
    **dict.fromkeys(
        ("checksum", "check", "clip", "force", "keep_meta", "keep_slots", "partition"), check_flag
    ),
    **dict.fromkeys(("stats", "sync", "to_tf1", "verify", "weights_only"), check_flag),
    "dtype": _dtype,
    "seed": _seed,
}
