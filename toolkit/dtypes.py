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

if TYPE_CHECKING:
    import numpy as np

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
        """Return whether `other` is this dtype, or its name."""
        return other is self or other == self.name

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


def as_dtype(name: str) -> DType:
    """Return the dtype that TensorFlow calls `name` (`half` and `double` are taken too).

    Raises:
        UsageError: There is none of that name.
    """
    dtype = BY_NAME.get({"half": "float16", "double": "float64", "float": "float32"}.get(name, name))
    if dtype is None:
        raise UsageError(f"unknown dtype {name!r}", hint=f"one of: {', '.join(BY_NAME)}")
    return dtype


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
