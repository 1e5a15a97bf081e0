"""Values in another dtype: exact, rounded, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.dtypes import DType
from toolkit.errors import MismatchError, UsageError

Array = np.ndarray[Any, Any]

_NUMBERS = ("float", "int", "bool", "complex")


def check(name: str, source: DType, target: DType) -> None:
    """Raise unless values of dtype `source` can be cast to `target` at all.

    Raises:
        UsageError: One of them is not a number, or complex values would lose their imaginary part.
    """
    if source.kind not in _NUMBERS or target.kind not in _NUMBERS:
        raise UsageError(f"{name}: {source} cannot be cast to {target}")
    if source.kind == "complex" and target.kind != "complex":
        raise UsageError(f"{name}: casting {source} to {target} would lose the imaginary part")


def describe(source: DType, target: DType) -> str:
    """Return what a cast does to the values, for a plan: nothing, or rounding."""
    if np.can_cast(source.numpy, target.numpy, "safe"):
        return f"cast from {source}, exact"
    if target.kind in ("float", "complex"):
        return f"cast from {source}, rounded to the nearest {target}"
    return f"cast from {source}, fractions dropped" if source.kind == "float" else f"cast from {source}"


def cast(values: Array, dtype: DType, name: str) -> Array:
    """Return `values`, copied, in `dtype`. Floats are rounded to nearest; to integers, toward zero.

    Raises:
        MismatchError: Some do not fit: they would overflow, or a NaN would become a number.
    """
    with np.errstate(all="ignore"):
        result = values.astype(dtype.numpy)
        if dtype.kind in ("float", "complex"):
            lost = np.isfinite(values) & ~np.isfinite(result)
        elif dtype.kind == "int":
            # compared as Python and IEEE compare: an integer that does not come back has overflowed
            back = result.astype(values.dtype)
            whole = np.trunc(values) if values.dtype.kind not in "iub" else values
            lost = (back != whole) | ((result < 0) != (whole < 0))
        else:
            lost = (values != 0) & (values != 1)
    if count := int(np.count_nonzero(lost)):
        raise MismatchError(
            f"{name}: {count} of {values.size} values do not fit {dtype}",
            name=name,
            expected=dtype.name,
            found=str(values[lost].flat[0]),
            hint=f"the first is {values[lost].flat[0]}; choose a wider dtype",
        )
    return result
