"""A function of the user's that builds a model, named on the command line, and the graph it builds.

This runs code. Only a person may name it, never a file that was read.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import tensorflow as tf

from toolkit import names
from toolkit.errors import CheckpointError, ModelError, UsageError


def load_function(spec: str) -> Callable[[], Any]:
    """Return the function that `MODULE:FUNCTION` or `FILE.py:FUNCTION` names.

    Raises:
        UsageError: `spec` is neither.
        ModelError: The module or function does not exist, fails on import, or takes arguments.
    """
    place, found, name = spec.rpartition(":")
    if not found or not place or not name:
        raise UsageError(
            f"{spec!r}: not a model function",
            hint="write MODULE:FUNCTION or FILE.py:FUNCTION, as toolkit.graph.models:perceptron",
        )
    module = _load_file(place) if place.endswith(".py") else _load_module(place)
    function = getattr(module, name, None)
    if function is None:
        functions = [
            n
            for n, f in vars(module).items()
            if inspect.isfunction(f) and f.__module__ == module.__name__ and n[0] != "_"
        ]
        near = names.nearest(name, functions) or functions[:5]
        others = ", ".join(f"`{function}`" for function in near)
        raise ModelError(
            f"{place}: has no function {name}",
            hint=f"its functions: {others}" if near else "it has no functions",
        )
    if not callable(function):
        raise ModelError(
            f"{spec}: not a function but {type(function).__name__}",
            hint="name a function that builds the model's variables",
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ModelError(
            f"{spec}: cannot be called without arguments: {error}",
            hint="name a function of yours that calls it with them",
        ) from error
    except ValueError:
        pass  # a builtin does not tell its signature
    return function  # type: ignore[no-any-return]


def call(spec: str) -> Any:
    """Return what the model function `spec` returns. What it prints goes to stderr.

    Raises:
        UsageError, ModelError: As `load_function`; or the function raises.
    """
    with contextlib.redirect_stdout(sys.stderr), _surroundings(spec):
        function = load_function(spec)
        try:
            return function()
        except CheckpointError:
            raise
        except (Exception, SystemExit) as error:
            raise _raised(spec, error) from error


def build(spec: str, *, seed: int | None = None) -> tf.Graph:
    """Return a new graph in which the model function `spec` has built its variables.

    What the function prints goes to stderr: stdout is the command's.

    Args:
        spec: `MODULE:FUNCTION` or `FILE.py:FUNCTION`.
        seed: The seed of the graph's random ops.

    Raises:
        UsageError, ModelError: As `load_function`; or the function raises, or builds no variables.
    """
    graph = tf.Graph()
    with graph.as_default():
        if seed is not None:
            tf.compat.v1.set_random_seed(seed)
        call(spec)
    if graph.finalized:
        raise ModelError(f"{spec}: finalized its graph", hint="leave that out: the graph has yet to be used")
    if not graph.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES):
        raise ModelError(
            f"{spec}: built no variables in the default graph",
            hint="create them with tf.compat.v1.get_variable or tf.Variable, and return",
        )
    return graph


@contextlib.contextmanager
def _surroundings(spec: str) -> Iterator[None]:
    """Let imports find what they would in `python FILE.py` or `python -m MODULE`, also while it runs.

    Afterwards all is as before, the current directory too.
    """
    place = spec.rpartition(":")[0]
    before, path = _current_directory(), list(sys.path)
    sys.path.insert(0, os.path.dirname(os.path.abspath(place)) if place.endswith(".py") else before)
    try:
        yield
    finally:
        sys.path[:] = path
        os.chdir(before)


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError(
            "the current directory does not exist any more", hint="cd to one that does"
        ) from error


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise ModelError(
                f"{name}: no such module", hint="run from its folder, or write FILE.py:FUNCTION"
            ) from error
        raise _raised(name, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(name, error) from error


def _load_file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        raise ModelError(f"{path}: no such file", hint="write FILE.py:FUNCTION, with the path of the file")
    name = os.path.basename(path).removesuffix(".py")
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules.setdefault(name, module)  # where dataclasses and pickle look for it
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise _raised(path, error) from error
    return module


def _raised(where: str, error: BaseException) -> ModelError:
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""  # one that cannot even be shown
    return ModelError(
        f"{where}: raised {type(error).__name__}{': ' if text else ''}{text}",
        hint="--debug shows the traceback",
    )
