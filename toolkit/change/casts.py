"""Which variables a cast means: `PATTERN=DTYPE`, or a dtype alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from toolkit import casting, dtypes
from toolkit.checkpoint import Variable
from toolkit.dtypes import DType, DTypeLike
from toolkit.errors import UsageError
from toolkit.roles import Role
from toolkit.selection import matching
from toolkit.wording import typed

Casts = Mapping[str, DTypeLike] | Iterable[str] | DTypeLike
"""What functions take: `{PATTERN: DTYPE}`, `PATTERN=DTYPE` strings, or a dtype alone."""
Cast = tuple[str | None, DType]
"""A pattern, and what it is cast to. No pattern means all floating-point weights and moving averages."""

_OF_THE_MODEL = {"weight", "moving_average"}
_NUMBERS = {"counter", "metric"}


def read_casts(casts: Casts) -> list[Cast]:
    """Return patterns and dtypes, in order.

    Raises:
        UsageError: One cannot be read.
    """
    if isinstance(casts, Mapping):
        return [(pattern, dtypes.as_dtype(dtype)) for pattern, dtype in casts.items()]
    if isinstance(casts, str) or not isinstance(casts, Iterable):
        return [read_cast(casts)]
    return [read_cast(cast) for cast in casts]


def read_cast(cast: Any) -> Cast:
    """Return the pattern, if there is one, and the dtype of a cast, `PATTERN=DTYPE` or a dtype.

    Raises:
        UsageError: It cannot be read.
    """
    if not isinstance(cast, str):
        return None, dtypes.as_dtype(cast)
    pattern, equals, dtype = cast.rpartition("=")
    if (equals and not pattern) or not dtype:
        raise UsageError(
            f"{cast!r}: not a cast",
            hint="--cast bfloat16, for all weights, or PATTERN=DTYPE: --cast 'net/**=bfloat16'",
        )
    if equals:
        return pattern, dtypes.as_dtype(dtype)
    try:
        return None, dtypes.as_dtype(dtype)
    except UsageError as error:
        raise UsageError(
            f"{cast!r}: not a cast: there is no dtype of this name",
            hint=f"{error.hint}; or PATTERN=DTYPE: {typed('cast', f'{cast}=bfloat16')}",
        ) from error


def meant_by(
    pattern: str | None,
    dtype: DType,
    variables: Mapping[str, Variable],
    roles: Mapping[str, Role],
    paths: Mapping[str, str],
    ways: Mapping[str, str],
    *,
    where: str,
) -> list[str]:
    """Return the names of the variables that a cast means, in their order.

    Without a pattern they are the floating-point weights and moving averages. A scope, a glob or a regular
    expression means those of the kind of `dtype`: `**=float16` no string and no whole number. A name means
    its variable, whatever that is.

    Raises:
        VariableNotFoundError: The pattern matches nothing.
        UsageError: It cannot be read, or means nothing of this kind, or floats that are numbers of an
            optimizer or metric alone, which `*` finds where weights lie in scopes.
    """
    if pattern is None:
        return _of_the_model(dtype, variables, roles, where)
    found = matching(roles, [pattern], where=where, paths=paths, ways=ways)
    named = {name for name in found if pattern in (name, paths.get(name))}
    alike = {name for name in found if variables[name].dtype.kind == dtype.kind}
    names = [name for name in variables if name in named | alike]
    kinds = {roles[name].kind for name in names}
    first = min(found)
    by_name = f"a name alone is cast to any dtype: {typed('cast', f'{paths.get(first, first)}={dtype}')}"
    if not names:
        casting.check(first, variables[first].dtype, dtype)
        others = ", ".join(sorted({variables[name].dtype.name for name in found}))
        raise UsageError(f"{pattern}={dtype}: means only variables of {others}", hint=by_name)
    if dtype.kind == "float" and not named and kinds & _NUMBERS and kinds.isdisjoint(_OF_THE_MODEL):
        only = " and ".join(sorted(f"{kind}s" for kind in kinds))
        raise UsageError(
            f"{pattern}={dtype}: means no weights, but only {only}",
            hint=f"--cast {dtype} casts all weights, '**' matches at any depth; {by_name}",
        )
    return names


def _of_the_model(
    dtype: DType, variables: Mapping[str, Variable], roles: Mapping[str, Role], where: str
) -> list[str]:
    """Return the names of the floating-point weights and moving averages."""
    if dtype.kind != "float":
        raise UsageError(
            f"{dtype}: without a PATTERN only a floating-point dtype is taken",
            hint=f"say what to cast: --cast 'PATTERN={dtype}'",
        )
    names = [
        name
        for name, variable in variables.items()
        if variable.dtype.kind == "float" and roles[name].kind in _OF_THE_MODEL
    ]
    if not names:
        raise UsageError(
            f"{where}: has no floating-point weights to cast",
            hint=f"name what to cast: --cast 'PATTERN={dtype}'",
        )
    return names
