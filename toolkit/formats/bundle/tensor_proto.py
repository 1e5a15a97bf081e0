"""The values of a TensorProto, which V1 checkpoints keep tensors in: decoded a piece at a time.

    SavedTensorSlices  data = 2   SavedSlice { name = 1, slice = 2, data = 3: TensorProto }
    TensorProto        float_val = 5, double_val = 6, int_val = 7 (also of 8 and 16 bits), string_val = 8,
                       scomplex_val = 9 (pairs), int64_val = 10, bool_val = 11, dcomplex_val = 12,
                       half_val = 13 (bits, also of bfloat16), uint32_val = 16, uint64_val = 17

Source: tensorflow/core/framework/tensor.proto, tensorflow/core/util/saved_tensor_slice.proto,
tensorflow/core/util/tensor_slice_writer.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from toolkit.dtypes import DType
from toolkit.formats.bundle import varints
from toolkit.formats.bundle.coding import CodingError, decode_varint
from toolkit.formats.bundle.schema import MessageError
from toolkit.formats.bundle.spans import Span

_FIELDS = {"float32": 5, "float64": 6, "string": 8, "complex64": 9, "int64": 10, "bool": 11, "complex128": 12}
_FIELDS |= {"float16": 13, "bfloat16": 13, "uint32": 16, "uint64": 17}
_INT_VAL = 7
_FIXED = {5: "<f4", 6: "<f8", 9: "<f4", 12: "<f8"}
"""Fields of fixed size, and what they are made of."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""
_WINDOW_BYTES = 1 << 20

Array = np.ndarray[Any, Any]


class _Field(NamedTuple):
    number: int
    wire: int
    content: Span


def values(entry: Span, dtype: DType) -> Iterator[Array]:
    """Yield the values of a plain `dtype` in the entry of a slice, as one-dimensional arrays.

    Raises:
        MessageError: It is no such entry.
    """
    number = _FIELDS.get(dtype.name, _INT_VAL)
    for field in _fields(_tensor_of(entry)):
        if field.number == number:
            if number in _FIXED:
                yield from _fixed(field, np.dtype(_FIXED[number]), dtype)
            else:
                yield from _varints(field, dtype)


def strings(entry: Span) -> list[bytes]:
    """Return the elements of a string tensor in the entry of a slice.

    Raises:
        MessageError: It is no such entry.
    """
    number = _FIELDS["string"]
    return [f.content.read(0, f.content.size) for f in _fields(_tensor_of(entry)) if f.number == number]


def _tensor_of(entry: Span) -> Span:
    """Return the TensorProto in the entry of a slice."""
    for data in _fields(entry):
        if data.number == 2 and data.wire == _BYTES:
            for field in _fields(data.content):
                if field.number == 3 and field.wire == _BYTES:
                    return field.content
    raise MessageError("expected the values of a slice, got none")


def _fields(message: Span) -> Iterator[_Field]:
    """Yield the fields of a message; nothing of their content is read."""
    position = 0
    while position < message.size:
        head = message.read(position, 2 * varints.MAX_BYTES)
        try:
            tag, used = decode_varint(head, 0)
            wire = tag & 7
            if wire == _BYTES:
                size, used = decode_varint(head, used)
            elif wire == _VARINT:
                size = decode_varint(head, used)[1] - used
            elif wire in (_FIXED64, _FIXED32):
                size = 8 if wire == _FIXED64 else 4
            else:
                raise MessageError(f"field {tag >> 3}: unknown wire type {wire}")
        except CodingError as error:
            raise MessageError(f"a field: {error}") from None
        position += used
        if position + size > message.size:
            raise MessageError(f"field {tag >> 3}: expected {size} bytes, got {message.size - position}")
        yield _Field(tag >> 3, wire, message.part(position, size))
        position += size


def _fixed(field: _Field, part: np.dtype[Any], dtype: DType) -> Iterator[Array]:
    """Yield numbers that are stored as they are, packed or one to a field."""
    if field.content.size % part.itemsize:
        raise MessageError(f"field {field.number}: expected whole numbers, got {field.content.size} bytes")
    for window in field.content.windows(_WINDOW_BYTES):
        yield np.frombuffer(window, part)


def _varints(field: _Field, dtype: DType) -> Iterator[Array]:
    rest = np.zeros(0, np.uint8)
    for window in field.content.windows(_WINDOW_BYTES):
        data = np.concatenate([rest, np.frombuffer(window, np.uint8)])
        try:
            numbers, used = varints.decode(data)
        except ValueError as error:
            raise MessageError(f"field {field.number}: {error}") from None
        rest = data[used:]
        if dtype.name in ("float16", "bfloat16"):
            yield numbers.astype(np.uint16).view(dtype.numpy)
        else:
            yield numbers.view(np.int64).astype(dtype.numpy)
    if rest.size:
        raise MessageError(f"field {field.number}: a varint is cut off")
