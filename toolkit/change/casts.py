"""`PATTERN=DTYPE`: which variables become of another dtype."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from toolkit import casting, dtypes
from toolkit.checkpoint import Variable
from toolkit.dtypes import DType
from toolkit.errors import UsageError
from toolkit.roles import Role
from toolkit.selection import matching

Casts = Mapping[str, str] | Iterable[str]
"""What functions take: `{PATTERN: DTYPE}`, or `PATTERN=DTYPE` strings."""


def read_casts(casts: Casts) -> list[tuple[str, DType]]:
    """Return patterns and dtypes, in order.

    Raises:
        UsageError: One cannot be read.
    """
    pairs = list(casts.items()) if isinstance(casts, Mapping) else [c.rpartition("=")[::2] for c in casts]
    for pattern, dtype in pairs:
        if not pattern or not dtype:
            raise UsageError(
                f"{pattern or dtype!r}: not a cast",
                hint="write PATTERN=DTYPE: --cast 'net/**=bfloat16'",
            )
    return [(pattern, dtypes.as_dtype(dtype)) for pattern, dtype in pairs]


def meant_by(
    pattern: str,
    dtype: DType,
    variables: Mapping[str, Variable],
    roles: Mapping[str, Role],
    paths: Mapping[str, str],
    ways: Mapping[str, str],
    *,
    where: str,
) -> list[str]:
    """Return the names of the variables that a cast means, in their order.

    A scope, a glob or a regular expression means those of the kind of `dtype`: `**=float16` no counter
    of steps, and no string. A name means its variable, whatever that is.

    Raises:
        VariableNotFoundError: The pattern matches nothing.
        UsageError: It cannot be read, or means nothing of this kind.
    """
    found = matching(roles, [pattern], where=where, paths=paths, ways=ways)
    names = [
        name
        for name in variables
        if name in found and (variables[name].dtype.kind == dtype.kind or pattern in (name, paths.get(name)))
    ]
    if not names:
        casting.check(min(found), variables[min(found)].dtype, dtype)
        kinds = ", ".join(sorted({variables[name].dtype.name for name in found}))
        raise UsageError(
            f"{pattern}={dtype}: means only variables of {kinds}",
            hint=f"a name alone is cast to any dtype: --cast '{min(found)}={dtype}'",
        )
    return names
