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
        raise UsageError(f"{name}: {source} cannot be cast to {target}", hint="only numbers are cast")
    if source.kind == "complex" and target.kind != "complex":
        raise UsageError(
            f"{name}: casting {source} to {target} would lose the imaginary part",
            hint="cast to complex64 or complex128",
        )


def describe(source: DType, target: DType) -> str:
    """Return what a cast does to the values, for a plan: nothing, or rounding."""
    if _is_exact(source, target):
        return f"cast from {source}, exact"
    if target.kind in ("float", "complex"):
        return f"cast from {source}, rounded to the nearest {target}"
    return f"cast from {source}, fractions dropped" if source.kind == "float" else f"cast from {source}"


def cast(values: Array, dtype: DType, name: str, *, clip: bool = False) -> Array:
    """Return `values`, copied, in `dtype`, as `converted` does.

    Raises:
        MismatchError: Some do not fit.
    """
    result, unfit = converted(values, dtype, clip=clip)
    lost = Lost(name, dtype, values.size)
    lost.add(unfit)
    lost.check()
    return result


class Lost:
    """What of a variable's values does not fit another dtype, counted over its chunks.

    Args:
        name: The variable.
        dtype: What its values are cast to.
        num_elements: How many there are.
        hint: What else can be done about it.
    """

    def __init__(self, name: str, dtype: DType, num_elements: int, hint: str = "") -> None:
        self._hint = hint
        self._name = name
        self._dtype = dtype
        self._num_elements = num_elements
        self._count = 0
        self._first = ""

    def add(self, values: Array) -> None:
        """Count values that do not fit."""
        if not self._count and values.size:
            self._first = str(values.flat[0])
        self._count += values.size

    def __bool__(self) -> bool:
        return self._count > 0

    def check(self) -> None:
        """Raise if there are any.

        Raises:
            MismatchError: It says how many, and which is the first.
        """
        if self._count:
            raise MismatchError(
                f"{self._name}: {self._count} of {self._num_elements} values do not fit {self._dtype}",
                name=self._name,
                expected=self._dtype.name,
                found=self._first,
                hint=f"the first is {self._first}; choose a wider dtype{self._hint}",
            )


def converted(values: Array, dtype: DType, *, clip: bool = False) -> tuple[Array, Array]:
    """Return `values`, copied, in `dtype`, and those of them that do not fit.

    Floats are rounded to nearest; to integers, toward zero. What would overflow does not fit, and no NaN
    or infinity that would become something else.

    Args:
        values: Numbers.
        dtype: What they become.
        clip: Let what is too large or too small, infinities too, become the nearest that `dtype` can say.
            NaN does not fit an integer all the same.
    """
    if values.dtype.name.endswith(("int4", "int2")):  # ml_dtypes compares these in no other type
        values = values.astype(np.int8 if values.dtype.name[0] == "i" else np.uint8)
    with np.errstate(all="ignore"):
        if dtype.kind == "bool":
            lost = (values != 0) & (values != 1)
            result = values.astype(np.bool_)
        elif dtype.kind == "int":
            result, lost = _to_integers(values, dtype)
        else:
            result, lost = _to_floats(values, dtype)
        if clip and np.any(lost):
            result, lost = _clipped(values, result, lost, dtype)
    return result, values[lost]


def _clipped(values: Array, result: Array, lost: Array, dtype: DType) -> tuple[Array, Array]:
    """Return `result` with the nearest value of `dtype` where `values` do not fit, and where none is near."""
    if dtype.kind == "bool":
        return result, lost & np.isnan(values) if values.dtype.kind not in "iub" else np.zeros_like(lost)
    low, high = limits(dtype) if dtype.kind == "int" else (-greatest(dtype), greatest(dtype))
    result = result.copy()
    if dtype.kind == "complex":
        for part in ("real", "imag"):
            wide = np.clip(getattr(values, part), low, high)
            setattr(result, part, np.where(lost, wide, getattr(result, part)))
    else:
        result[lost & (values > 0)] = np.array(high).astype(dtype.numpy)
        result[lost & (values < 0)] = np.array(low).astype(dtype.numpy)
    return result, lost & (np.isnan(values) if values.dtype.kind not in "iub" else False)


def largest_error(values: Array, result: Array) -> float:
    """Return by how much a cast changed a value at most: what is not finite stays what it is."""
    wide = np.complex128 if values.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        error = np.abs(values.astype(wide) - result.astype(wide))
    return float(np.max(error[np.isfinite(error)], initial=0.0))


def _to_integers(values: Array, dtype: DType) -> tuple[Array, Array]:
    """Return `values`, numbers but no complex ones, as integers of `dtype`, and which do not fit."""
    low, high = limits(dtype)
    if values.dtype.kind in "iub":
        info = (0, 1) if values.dtype.kind == "b" else np.iinfo(values.dtype)
        least, most = info if isinstance(info, tuple) else (info.min, info.max)
        lost = np.zeros(values.shape, np.bool_)
        if least < low:
            lost |= values < low
        if most > high:
            lost |= values > high
        wide = values
    else:
        wide = np.trunc(values.astype(np.float64))
        # in double precision 2**63 - 1 is 2**63, which does not fit: hence `<` and one more
        lost = ~((wide >= float(low)) & (wide < float(high + 1)))
        wide = np.where(lost, 0, wide)
    if dtype.name.endswith(("int4", "int2")):
        wide = np.where(lost, 0, wide).astype(np.int8)
    return np.asarray(wide).astype(dtype.numpy), lost


def _to_floats(values: Array, dtype: DType) -> tuple[Array, Array]:
    """Return `values` as real or complex numbers of `dtype`, and which do not fit."""
    result = values.astype(dtype.numpy)
    is_nan = np.isnan(values) if values.dtype.kind not in "iub" else np.zeros(values.shape, np.bool_)
    is_finite = np.isfinite(values) if values.dtype.kind not in "iub" else np.ones(values.shape, np.bool_)
    lost = (is_nan != np.isnan(result)) | (is_finite != np.isfinite(result))
    if dtype.name == "float4_e2m1fn":  # has no infinity: what would round to 8 becomes 6
        lost |= is_finite & (np.abs(values.astype(np.float64)) >= 7)
    return result, np.asarray(lost)


def limits(dtype: DType) -> tuple[int, int]:
    """Return the least and the greatest integer of an integer (or quantized) `dtype`."""
    import ml_dtypes

    info = ml_dtypes.iinfo(dtype.numpy)  # type: ignore[no-untyped-call]
    return int(info.min), int(info.max)


def greatest(dtype: DType) -> float:
    """Return the greatest number of a floating-point or complex `dtype`."""
    return float(_float(dtype).max)


def _is_exact(source: DType, target: DType) -> bool:
    """Return whether every value of `source` is one of `target`."""
    if source.kind == "bool" or source is target:
        return True
    if target.kind == "bool":
        return False
    if target.kind == "int":
        if source.kind != "int":
            return False
        (low, high), (least, most) = limits(target), limits(source)
        return low <= least and most <= high
    if source.kind == "int":
        return max(map(abs, limits(source))) <= 1 << (int(_float(target).nmant) + 1)
    ours, theirs = _float(source), _float(target)
    return bool(
        ours.nmant <= theirs.nmant
        and float(ours.max) <= float(theirs.max)
        and float(ours.smallest_subnormal) >= float(theirs.smallest_subnormal)
        and (theirs.dtype.name in _WITH_INFINITY or ours.dtype.name not in _WITH_INFINITY)
        and theirs.dtype.name != "float4_e2m1fn"
    )


_WITH_INFINITY = ("float16", "bfloat16", "float32", "float64", "float8_e5m2")


def _float(dtype: DType) -> Any:
    """Return the limits of a floating-point dtype, or of the parts of a complex one."""
    import ml_dtypes

    parts = np.empty(0, dtype.numpy).real.dtype if dtype.kind == "complex" else dtype.numpy
    return ml_dtypes.finfo(parts)  # type: ignore[no-untyped-call]
