"""The protocol buffers of a bundle's index: its header and its entries.

    value of key ""     08 01  1a 02 08 01
                        │      └ version { producer: 1 }
                        └ num_shards: 1

    value of a name     08 01  12 08 12 02 08 03 12 02 08 02  18 01  20 40  28 18  35 xx xx xx xx
                        │      └ shape, one `12 LEN 08 SIZE`  │      │      │      └ crc32c, masked
                        └ dtype  a dimension                  │      │      └ size in bytes
                                                              │      └ offset in the data file
                                                              └ shard_id          (zeros left out)

Entries as TensorFlow writes them are decoded here by hand, because an index has one for each variable
and loading the protobuf runtime takes longer than listing 10,000 of them. Whatever else a protocol
buffer may look like (fields in another order, unknown ones, slices) goes to that runtime.

Source: tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/framework/tensor_shape.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from toolkit import checksum, dtypes
from toolkit.checkpoint import TensorSpec
from toolkit.dtypes import DType, shape_problem
from toolkit.formats.bundle.coding import CodingError, decode_varint, encode_varint
from toolkit.formats.bundle.schema import MessageError, parse
from toolkit.formats.bundle.slices import FULL, TensorSlice

_WRITTEN_VERSION = b"\x1a\x02\x08\x01"
"""A header's `version { producer: 1 }` (tensor_bundle.h, kTensorBundleVersion)."""
_SHORTEST = 9
"""Bytes of the entry of an empty tensor: `08 DTYPE 12 00`, with a dimension of 0 `12 02 12 00`, CRC."""
_MAX_INT32 = (1 << 31) - 1
_MAX_INT64 = (1 << 63) - 1


class Header(NamedTuple):
    """What the entry under the empty key says of the whole bundle."""

    num_shards: int
    big_endian: bool
    min_consumer: int


class Entry(NamedTuple):
    """One tensor: what it is, and where its bytes lie. `nbytes` agrees with dtype and shape.

    The place of a variable with `slices` means nothing: these have entries of their own.
    """

    dtype: DType
    shape: tuple[int, ...]
    nbytes: int
    shard: int
    offset: int
    crc32c: int
    slices: tuple[TensorSlice, ...] = ()


def decode_header(value: bytes) -> Header:
    """Return the header.

    Raises:
        MessageError: It is not one, or what it says cannot be.
    """
    if value[:1] == b"\x08" and value.endswith(_WRITTEN_VERSION):
        num_shards, position = decode_varint(value, 1)
        if value[position:] == _WRITTEN_VERSION and 0 < num_shards <= _MAX_INT32:
            return Header(num_shards, big_endian=False, min_consumer=0)
    message = parse("BundleHeaderProto", value)
    if message.num_shards <= 0:
        raise MessageError(f"number of data files: expected 1 or more, got {message.num_shards}")
    return Header(message.num_shards, message.endianness == 1, message.version.min_consumer)


def encode_header(num_shards: int) -> bytes:
    """Return the header as TensorFlow writes it: little endian, producer version 1."""
    return b"\x08" + encode_varint(num_shards) + _WRITTEN_VERSION


def encode_entry(entry: Entry) -> bytes:
    """Return the entry as TensorFlow writes it."""
    dims = b"".join(_length_delimited(2, _varint_field(1, size)) for size in entry.shape)
    masked = checksum.mask(entry.crc32c)
    return (
        _varint_field(1, entry.dtype.number)
        + _length_delimited(2, dims)
        + _varint_field(3, entry.shard)
        + _varint_field(4, entry.offset)
        + _varint_field(5, entry.nbytes)
        + (b"\x35" + masked.to_bytes(4, "little") if masked else b"")
        + b"".join(_length_delimited(7, part.encode()) for part in entry.slices)
    )


class SlicedSpec(TensorSpec):
    """What a partitioned variable is, whose values lie in slices under keys of their own."""

    __slots__ = ()


class EntryDecoder:
    """Tells what tensor an entry is of. What it begins with, dtype and shape, is remembered: it recurs.

    Where the bytes lie, most entries are never asked: `decode_entry` tells.
    """

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[TensorSpec, bytes]] = {}

    def describe(self, value: bytes) -> TensorSpec:
        """Return what tensor the entry `value` is of; a `SlicedSpec` if it lies in slices.

        Raises:
            MessageError: `value` is not an entry, or what it says cannot be.
        """
        if len(value) > _SHORTEST:
            head = value[: value[3] + 4]
            try:
                decoded = _decode_head(head)
            except (IndexError, CodingError):
                decoded = None  # what is wrong with it, `decode_entry` says
            if decoded is not None:
                dtype, shape, nbytes, tail = decoded
                spec, _ = self._heads.setdefault(head, (TensorSpec(dtype, shape, nbytes), tail))
                if value.endswith(tail, 0, -4):
                    return spec
        entry = decode_entry(value)
        kind = SlicedSpec if entry.slices else TensorSpec
        return kind(entry.dtype, entry.shape, entry.nbytes)

    def describe_all(self, values: Iterable[bytes]) -> list[TensorSpec]:
        """Return what `describe` says of each: many at a time, quickly.

        Raises:
            MessageError: One is not an entry, or what it says cannot be.
        """
        find = self._heads.get
        specs = []
        for value in values:
            known = find(value[: value[3] + 4]) if len(value) > _SHORTEST else None
            if known is not None and value.endswith(known[1], 0, -4):
                specs.append(known[0])
            else:
                specs.append(self.describe(value))
        return specs


def decode_entry(value: bytes) -> Entry:
    """Return the entry.

    Raises:
        MessageError: `value` is not one, or what it says cannot be.
    """
    try:
        position = value[3] + 4
        known = _decode_head(value[:position])
        if known is None:
            return _decode_any(value)
        dtype, shape, nbytes, tail = known
        shard = offset = 0
        if value[position] == 0x18:
            shard, position = decode_varint(value, position + 1)
        if value[position] == 0x20:
            offset, position = decode_varint(value, position + 1)
        if value[position:-4] != tail or offset > _MAX_INT64 or shard > _MAX_INT32:
            return _decode_any(value)
    except (IndexError, CodingError):
        return _decode_any(value)
    crc = checksum.unmask(int.from_bytes(value[-4:], "little"))
    return Entry(dtype, shape, nbytes, shard, offset, crc)


def _decode_head(head: bytes) -> tuple[DType, tuple[int, ...], int, bytes] | None:
    """Return dtype, shape, bytes, and how the entry must end before the four bytes of its CRC.

    `None` where `head` is not as TensorFlow writes it, or the size cannot be told from it.
    """
    if len(head) < 4 or head[0] != 0x08 or head[1] > 0x7F or head[2] != 0x12 or head[3] > 0x7F:
        return None
    dtype = dtypes.BY_NUMBER.get(head[1])
    if dtype is None or dtype.itemsize is None:
        return None
    shape = []
    position = 4
    while position < len(head):
        end = position + 2 + head[position + 1]
        if head[position] != 0x12 or end > len(head):
            return None
        size = 0
        if end > position + 2:
            if head[position + 2] != 0x08:
                return None
            size, after = decode_varint(head, position + 3)
            if after != end:
                return None
        shape.append(size)
        position = end
    nbytes = math.prod(shape) * dtype.itemsize
    if shape_problem(dtype, shape):
        return None
    return dtype, tuple(shape), nbytes, _varint_field(5, nbytes) + b"\x35"


def _decode_any(value: bytes) -> Entry:
    """Return the entry, by way of the protobuf runtime, after checking all that it says."""
    message = parse("BundleEntryProto", value)
    dtype = dtypes.BY_NUMBER.get(message.dtype)
    if dtype is None:
        raise MessageError(f"dtype: expected one of TensorFlow's, got number {message.dtype}")
    shape = decode_shape(message.shape, dtype)
    num_elements = math.prod(shape)
    crc = checksum.unmask(message.crc32c)
    if message.slices:
        slices = tuple(map(decode_slice, message.slices))
        return Entry(dtype, shape, num_elements * (dtype.itemsize or 0), 0, 0, crc, slices)
    if message.shard_id < 0 or message.offset < 0 or message.size < 0:
        raise MessageError(
            "expected shard, offset and size of 0 or more, "
            f"got {message.shard_id}, {message.offset} and {message.size}"
        )
    if dtype.itemsize is not None and message.size != num_elements * dtype.itemsize:
        raise MessageError(
            f"size: expected {num_elements * dtype.itemsize} bytes for {dtype} {shape}, got {message.size}"
        )
    return Entry(dtype, shape, message.size, message.shard_id, message.offset, crc)


def decode_shape(message: Any, dtype: DType) -> tuple[int, ...]:
    """Return what a TensorShapeProto says, of a tensor of `dtype`.

    Raises:
        MessageError: It cannot be.
    """
    shape = tuple(dim.size for dim in message.dim)
    if message.unknown_rank:
        raise MessageError("shape: expected known dimensions, got an unknown rank")
    problem = shape_problem(dtype, shape)
    if problem:
        raise MessageError(f"shape: {problem}")
    return shape


def decode_slice(message: Any) -> TensorSlice:
    """Return what a TensorSliceProto says.

    Raises:
        MessageError: It cannot be.
    """
    starts, lengths = [], []
    for extent in message.extent:
        has_length = extent.HasField("length")
        if extent.start < 0 or (has_length and extent.length < 0):
            raise MessageError(f"slice: expected 0 or more, got {extent.start} and {extent.length}")
        starts.append(extent.start)
        lengths.append(extent.length if has_length else FULL)
    return TensorSlice(tuple(starts), tuple(lengths))


def _varint_field(number: int, value: int) -> bytes:
    """Return a field of wire type 0; nothing for zero, as proto3 leaves it out."""
    return bytes([number << 3]) + encode_varint(value) if value else b""


def _length_delimited(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + encode_varint(len(data)) + data
