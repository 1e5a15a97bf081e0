"""TensorFlow's dtypes as records that need neither TensorFlow nor NumPy to be listed.

A dtype here is TensorFlow's name and number and the bytes that one element takes in a checkpoint.
The NumPy type is looked up when values are read, so that a listing imports no NumPy.

Source: tensorflow/core/framework/types.proto, types.cc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from toolkit.errors import UsageError
from toolkit.names import nearest

if TYPE_CHECKING:
    import numpy as np

DTypeLike = Any
"""What `as_dtype` takes: a dtype of this module or of another library, or a name."""
Kind = Literal["float", "int", "complex", "bool", "quantized", "string", "handle"]


class DType:
    """One of TensorFlow's dtypes.

    Attributes:
        name: As TensorFlow names it: `float32`, `bfloat16`, `string`, `int4`.
        number: The value of `DataType` in TensorFlow's protocol buffers.
        itemsize: Bytes that one element takes in a checkpoint. 4- and 2-bit types take a whole
            byte. `None` where elements have no fixed size (`string`) or no plain values at all
            (`resource`, `variant`).
        kind: What its values are: `float`, `int`, `complex`, `bool`, `quantized`, `string`, or
            `handle` for the two that have no plain values.
    """

    def __init__(self, name: str, number: int, itemsize: int | None, kind: Kind) -> None:
        self.name = name
        self.number = number
        self.itemsize = itemsize
        self.kind = kind

    def __repr__(self) -> str:
        return f"DType({self.name!r})"

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        """Return whether `other` is this dtype, or its name, or NumPy's or TensorFlow's for it."""
        if other is self or isinstance(other, DType | str):
            return other is self or other == self.name
        try:
            return as_dtype(other) is self
        except UsageError:
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of the values; `object` for strings. Quantized types are their integers.

        Raises:
            UsageError: The dtype has no plain values.
        """
        import numpy as np

        if self.kind == "handle":
            raise UsageError(f"{self.name} has no plain values")
        if self.kind == "string":
            return np.dtype(object)
        if self.kind == "quantized":
            return np.dtype(self.name.removeprefix("q"))
        if self.name in _ML_DTYPES:
            import ml_dtypes

            found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, self.name))
            return found
        return np.dtype(self.name)


_ML_DTYPES = frozenset(
    [
        "bfloat16",
        "float8_e5m2",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e4m3b11fnuz",
        "float8_e5m2fnuz",
        "int4",
        "uint4",
        "int2",
        "uint2",
        "float4_e2m1fn",
    ]
)

_ALL = (
    DType("float32", 1, 4, "float"),
    DType("float64", 2, 8, "float"),
    DType("int32", 3, 4, "int"),
    DType("uint8", 4, 1, "int"),
    DType("int16", 5, 2, "int"),
    DType("int8", 6, 1, "int"),
    DType("string", 7, None, "string"),
    DType("complex64", 8, 8, "complex"),
    DType("int64", 9, 8, "int"),
    DType("bool", 10, 1, "bool"),
    DType("qint8", 11, 1, "quantized"),
    DType("quint8", 12, 1, "quantized"),
    DType("qint32", 13, 4, "quantized"),
    DType("bfloat16", 14, 2, "float"),
    DType("qint16", 15, 2, "quantized"),
    DType("quint16", 16, 2, "quantized"),
    DType("uint16", 17, 2, "int"),
    DType("complex128", 18, 16, "complex"),
    DType("float16", 19, 2, "float"),
    DType("resource", 20, None, "handle"),
    DType("variant", 21, None, "handle"),
    DType("uint32", 22, 4, "int"),
    DType("uint64", 23, 8, "int"),
    DType("float8_e5m2", 24, 1, "float"),
    DType("float8_e4m3fn", 25, 1, "float"),
    DType("float8_e4m3fnuz", 26, 1, "float"),
    DType("float8_e4m3b11fnuz", 27, 1, "float"),
    DType("float8_e5m2fnuz", 28, 1, "float"),
    DType("int4", 29, 1, "int"),
    DType("uint4", 30, 1, "int"),
    DType("int2", 31, 1, "int"),
    DType("uint2", 32, 1, "int"),
    DType("float4_e2m1fn", 33, 1, "float"),
)

BY_NUMBER = {dtype.number: dtype for dtype in _ALL}
BY_NAME = {dtype.name: dtype for dtype in _ALL}


MAX_DIMENSIONS = 254
"""Of a tensor. Source: tensorflow/core/framework/tensor_shape.h, MaxDimensions."""
_MAX_INT64 = (1 << 63) - 1


def shape_problem(dtype: DType, shape: Sequence[int]) -> str | None:
    """Return why no tensor of `dtype` has `shape`, as `expected …, got …`; `None` if one can.

    A dimension of 0 does not hide others that no array can have.
    """
    if len(shape) > MAX_DIMENSIONS:
        return f"expected at most {MAX_DIMENSIONS} dimensions, got {len(shape)}"
    if any(size < 0 for size in shape):
        return f"expected sizes of 0 or more, got {tuple(shape)}"
    if math.prod(size for size in shape if size) * (dtype.itemsize or 1) > _MAX_INT64:
        return f"expected less than 2**63 bytes, got {tuple(shape)} of {dtype}"
    return None


_ALIASES = {
    "half": "float16", "float": "float32", "double": "float64",  # as TensorFlow has them
    "fp16": "float16", "fp32": "float32", "fp64": "float64", "bf16": "bfloat16",
    "f16": "float16", "f32": "float32", "f64": "float64", "c64": "complex64", "c128": "complex128",
    "i16": "int16", "i32": "int32", "i64": "int64", "long": "int64",
    "u16": "uint16", "u32": "uint32", "u64": "uint64",
    "bool_": "bool", "boolean": "bool", "str": "string", "bytes": "string",
    "f8_e4m3": "float8_e4m3fn", "fp8_e4m3": "float8_e4m3fn", "float8_e4m3": "float8_e4m3fn",
    "f8_e4m3fn": "float8_e4m3fn", "fp8_e4m3fn": "float8_e4m3fn",
    "f8_e5m2": "float8_e5m2", "fp8_e5m2": "float8_e5m2",
    "f8_e4m3fnuz": "float8_e4m3fnuz", "f8_e5m2fnuz": "float8_e5m2fnuz",
}  # fmt: skip
"""What else dtypes are called: by TensorFlow, NumPy, PyTorch and safetensors, in lower case."""
_AMBIGUOUS = {
    **dict.fromkeys(("f8", "fp8", "float8"), ("float64", "float8_e4m3fn", "float8_e5m2")),
    "i8": ("int8", "int64"),
    "u8": ("uint8", "uint64"),
    "int": ("int32", "int64"),
    "complex": ("complex64", "complex128"),
}
"""What NumPy, Python and others mean different dtypes by."""

_COMMON = ("float32", "float16", "bfloat16", "float64", "int32", "int64", "bool", "string")


def as_dtype(dtype: DTypeLike) -> DType:
    """Return the dtype that is meant.

    Args:
        dtype: A `DType`; a name (`bfloat16`, `bf16`, `fp16`, `half`, `F8_E4M3`, `torch.float16`, `DT_HALF`,
            in any case); NumPy's dtype or scalar type (`np.float16`, `ml_dtypes.bfloat16`); TensorFlow's,
            JAX's or PyTorch's dtype.

    Raises:
        UsageError: `dtype` names none of TensorFlow's dtypes, or several.
    """
    if isinstance(dtype, DType):
        return dtype
    name = _name_of(dtype)
    if name is None:
        raise UsageError(f"{dtype!r}: not a dtype", hint="name one: bfloat16")
    found = BY_NAME.get(name)
    if found is not None:
        return found
    short = name.lower().rpartition(".")[2].removeprefix("dt_")
    if isinstance(dtype, type) and short == "float":  # Python's, of which NumPy makes another than TensorFlow
        raise _ambiguous("float", ("float32", "float64"))
    if short in _AMBIGUOUS:
        raise _ambiguous(name, _AMBIGUOUS[short])
    found = BY_NAME.get(_ALIASES.get(short, short))
    if found is None:
        near = nearest(short, BY_NAME) or [_ALIASES[each] for each in nearest(short, _ALIASES)]
        hint = f"the nearest: {', '.join(near)}" if near else f"such as {', '.join(_COMMON)}"
        raise UsageError(f"unknown dtype {name!r}", hint=hint)
    return found


def _ambiguous(name: str, meant: Sequence[str]) -> UsageError:
    return UsageError(
        f"dtype {name!r}: may be {', '.join(meant[:-1])} or {meant[-1]}", hint=f"write {meant[0]}, say"
    )


def _name_of(dtype: Any) -> str | None:
    """Return the name of a dtype of any library; `None` if `given` is none. No library is imported."""
    if isinstance(dtype, str):
        return dtype
    if isinstance(dtype, type):
        if any(base.__name__ == "generic" and base.__module__ == "numpy" for base in dtype.__mro__):
            import numpy as np  # is loaded already, as its type is at hand

            return str(np.dtype(dtype).name)
        held = getattr(dtype, "dtype", None)  # JAX's scalar types have one
        return getattr(held, "name", None) or dtype.__name__
    kind = type(dtype).__module__.partition(".")[0]
    if kind == "torch":
        return str(dtype)
    if kind in ("numpy", "tensorflow"):
        name = getattr(getattr(dtype, "base_dtype", dtype), "name", None)  # of a reference, what it refers to
        return name if isinstance(name, str) and "dtype" in type(dtype).__name__.lower() else None
    return None


def of_array(array: np.ndarray[Any, Any]) -> DType:
    """Return the dtype that stores the values of `array`; byte strings and objects are `string`.

    Raises:
        UsageError: TensorFlow has no dtype for these values.
    """
    if array.dtype.kind in "SO":
        return BY_NAME["string"]
    dtype = BY_NAME.get(array.dtype.name)
    if dtype is None or dtype.kind == "handle":
        raise UsageError(f"TensorFlow has no dtype for NumPy's {array.dtype}")
    return dtype
