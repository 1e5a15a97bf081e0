"""Public names whose modules are loaded when they are used, not when somebody looks at them.

`help(toolkit)`, `dir`, completion and `from toolkit import *` ask for every name. Some are in modules that
load TensorFlow, which takes seconds and may not be installed, or NumPy. For these a stand-in is given, which
has the signature and the documentation, read from the source, and loads the module when it is called.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.abc
import importlib.util
import inspect
import sys
from collections.abc import Callable
from typing import Any

from toolkit.errors import UsageError

_KINDS = inspect.Parameter
_TENSORFLOW = "toolkit.graph"


def needs_tensorflow(what: str, error: ImportError) -> UsageError:
    """Return the error that says that `what` needs TensorFlow, which `error` has kept from being loaded."""
    missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "tensorflow"
    why = "which is not installed" if missing else f"which cannot be loaded: {error}"
    return UsageError(
        f"{what} needs TensorFlow, {why}",
        hint="install it beside the toolkit: pip install tensorflow",
    )


def load(name: str, home: str, what: str | None = None) -> Any:
    """Return the object `name` of the module `home`; errors call it `what`, by default by its name.

    Raises:
        UsageError: It needs TensorFlow, which is not there.
    """
    try:
        module = importlib.import_module(home)
    except ImportError as error:
        ours = (error.name or "").partition(".")[0] == "toolkit"
        if home.startswith(_TENSORFLOW) and not ours:
            raise needs_tensorflow(what or f"toolkit.{name}", error) from error
        raise
    return getattr(module, name)


def deferred(name: str, home: str) -> Any:
    """Return a stand-in for what is called `name` in the module `home`: a function or a class."""
    node = _definitions(home)[name]
    return _function(node, name, home) if isinstance(node, ast.FunctionDef) else _class(node, name, home)


@functools.cache
def _definitions(home: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """Return the functions and classes of a module by name, as its source has them."""
    spec = importlib.util.find_spec(home)
    loader = None if spec is None else spec.loader
    source = loader.get_source(home) if isinstance(loader, importlib.abc.InspectLoader) else None
    body = ast.parse(source or "").body
    # of overloads the last, which is the function
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _function(node: ast.FunctionDef, name: str, home: str) -> Any:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return load(name, home)(*args, **kwargs)

    return _described(stand_in, node, name)


def _described(function: Any, node: ast.FunctionDef, qualified: str) -> Any:
    """Give a function the name, signature and documentation of a definition."""
    function.__name__, function.__qualname__, function.__module__ = node.name, qualified, "toolkit"
    function.__doc__ = ast.get_docstring(node)
    function.__signature__ = _signature(node)
    return function


class StandIn(type):
    """The class of stand-ins for classes: calling one, or deriving from it, is to do so with the class."""

    _home: str

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        """Make a stand-in; or where it is derived from one, a class derived from the class itself."""
        if not bases:
            return super().__new__(mcs, name, bases, namespace)
        real = tuple(_real(base) if isinstance(base, StandIn) else base for base in bases)
        return type(real[0])(name, real, namespace, **options)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an instance of the class itself."""
        return _real(cls)(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        return cls._home in sys.modules and isinstance(instance, _real(cls))

    def __subclasscheck__(cls, other: type) -> bool:
        return other is cls or (cls._home in sys.modules and issubclass(other, _real(cls)))

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or (name.startswith("_") and cls._home not in sys.modules):
            raise AttributeError(name)  # who asks for these is looking round
        if name in vars(cls) or hasattr(type, name):  # `inspect` asks here for what it could find there
            return vars(cls).get(name, getattr(type, name, None))
        return getattr(_real(cls), name)


def _real(cls: StandIn) -> Any:
    return load(cls.__name__, cls._home)


def _class(node: ast.ClassDef, name: str, home: str) -> Any:
    namespace: dict[str, Any] = {
        "__doc__": ast.get_docstring(node),
        "__module__": "toolkit",
        "_home": home,
    }
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            is_property = any("property" in ast.unparse(each) for each in member.decorator_list)
            make = _property if is_property else _method
            namespace[member.name] = make(member, name, home)
        elif isinstance(member, ast.FunctionDef) and member.name == "__init__":
            namespace["__signature__"] = _signature(member, skip=1)
    return StandIn(name, (), namespace)


def _method(node: ast.FunctionDef, owner: str, home: str) -> Callable[..., Any]:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return getattr(load(owner, home), node.name)(*args, **kwargs)

    described: Callable[..., Any] = _described(stand_in, node, f"{owner}.{node.name}")
    return described


def _property(node: ast.FunctionDef, owner: str, home: str) -> property:
    return property(lambda self: getattr(self, node.name), doc=ast.get_docstring(node))


class _Shown:
    """A default value that is shown as its source has it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _signature(node: ast.FunctionDef, *, skip: int = 0) -> inspect.Signature:
    """Return the signature of a definition, without its first `skip` arguments."""
    arguments = node.args
    by_place = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(by_place) - len(arguments.defaults)) + list(arguments.defaults)
    found = [
        _parameter(each, _KINDS.POSITIONAL_OR_KEYWORD, default)
        for each, default in zip(by_place, defaults, strict=True)
    ][skip:]
    if arguments.vararg is not None:
        found.append(_parameter(arguments.vararg, _KINDS.VAR_POSITIONAL, None))
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(_parameter(each, _KINDS.KEYWORD_ONLY, default))
    if arguments.kwarg is not None:
        found.append(_parameter(arguments.kwarg, _KINDS.VAR_KEYWORD, None))
    returns = inspect.Signature.empty if node.returns is None else _Shown(ast.unparse(node.returns))
    return inspect.Signature(found, return_annotation=returns)


def _parameter(node: ast.arg, kind: Any, default: ast.expr | None) -> inspect.Parameter:
    annotation: Any = _KINDS.empty if node.annotation is None else _Shown(ast.unparse(node.annotation))
    value: Any = _KINDS.empty if default is None else _Shown(ast.unparse(default))
    return inspect.Parameter(node.arg, kind, default=value, annotation=annotation)
