"""How TensorFlow's dtypes are stored in HDF5, and bit for bit back.

HDF5 has the machine's integers and floats, and h5py adds booleans and complex numbers. The other types
go into the next larger one, by moving bits: a conversion of numbers would lose the payloads of NaNs.

    bfloat16                 float32, its lower 16 bits zero
    float8_e5m2              float16, its lower 8 bits zero
    other float8, float4     float16 of the same number; a NaN has the sign of the original
    int4, int2 / uint4, 2    int8 / uint8
    quantized                their integers
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from toolkit.dtypes import DType

Array = np.ndarray[Any, Any]


def stored_dtype(dtype: DType) -> np.dtype[Any]:
    """Return the NumPy dtype that values of `dtype`, not strings, have in HDF5."""
    if dtype.name == "bfloat16":
        return np.dtype(np.float32)
    if dtype.name.startswith(("float8", "float4")):
        return np.dtype(np.float16)
    if dtype.name in ("int4", "int2"):
        return np.dtype(np.int8)
    if dtype.name in ("uint4", "uint2"):
        return np.dtype(np.uint8)
    return dtype.numpy


def encode(values: Array, dtype: DType) -> Array:
    """Return `values`, of `dtype`, as HDF5 stores them: a view where the type is its own, else a copy."""
    if dtype.name == "bfloat16":
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if dtype.name == "float8_e5m2":
        return (values.view(np.uint8).astype(np.uint16) << 8).view(np.float16)
    if dtype.name.startswith(("float8", "float4")):
        return _halves(dtype)[values.view(np.uint8)]
    if dtype.name in ("int4", "int2", "uint4", "uint2"):
        return values.astype(stored_dtype(dtype))
    return values


def decode(stored: Array, dtype: DType) -> Array:
    """Return the values of `dtype` that `encode` made `stored` from."""
    if dtype.name == "bfloat16":
        return (stored.view(np.uint32) >> 16).astype(np.uint16).view(dtype.numpy)
    if dtype.name == "float8_e5m2":
        return (stored.view(np.uint16) >> 8).astype(np.uint8).view(dtype.numpy)
    if dtype.name.startswith(("float8", "float4")):
        return _bytes(dtype)[stored.view(np.uint16)].view(dtype.numpy)
    if dtype.name in ("int4", "int2", "uint4", "uint2"):
        return stored.astype(dtype.numpy)
    return stored


@functools.cache
def _halves(dtype: DType) -> Array:
    """Return the float16 of each of the 256 bytes that a float8 or float4 may be."""
    numbers = np.arange(256, dtype=np.uint8)
    halves = numbers.view(dtype.numpy).astype(np.float16)
    negative_nans = np.isnan(halves) & (numbers >= 0x80)
    bits = np.where(np.isnan(halves), 0x7E00, halves.view(np.uint16)).astype(np.uint16)
    return np.where(negative_nans, 0xFE00, bits).astype(np.uint16).view(np.float16)


@functools.cache
def _bytes(dtype: DType) -> Array:
    """Return the byte that each of the 65,536 float16 was made from; 0 for those that were not."""
    found = np.zeros(1 << 16, np.uint8)
    # backwards, so that of two bytes with one meaning (float4's upper bits) the smaller is found
    numbers = np.arange(256, dtype=np.uint8)[::-1]
    found[_halves(dtype).view(np.uint16)[numbers]] = numbers
    return found
