"""Slices of partitioned variables: what an entry says of them, and the keys that they lie under.

    key       NumIncreasing(0)  String(name)  NumIncreasing(rank)
              then for each dimension  SignedNumIncreasing(start)  SignedNumIncreasing(length)

    NumIncreasing         00 for 0; else the number of bytes, and the number, big endian
    String                00 → 00 FF, FF → FF 00, then 00 01
    SignedNumIncreasing   sign and length in the leading bits, as UTF-8 has them: 3 is `83`, -1 `7F`

The encodings keep their order: keys sort as what they say. A dimension that is taken whole may be
written without a length, which a key has as -1.

Source: tensorflow/core/util/saved_tensor_slice_util.cc (EncodeTensorNameSlice),
tensorflow/core/lib/strings/ordered_code.cc, tensorflow/core/framework/tensor_slice.cc.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from toolkit.formats.bundle.coding import encode_varint

FULL = -1
"""The length of a dimension that is taken whole (tensor_slice.h, kFullExtent)."""
_MAX_PAIRS = 1 << 24
"""How many pairs of slices are compared to see that none overlap; a grid needs no comparing."""


class SliceError(ValueError):
    """Slices break a rule. The caller knows the file and the name and says so with them."""


class TensorSlice(NamedTuple):
    """A box within a tensor, as it is written.

    Attributes:
        starts: Where it begins, for each dimension.
        lengths: How long it is; -1 for a dimension that is taken whole.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the box in a tensor of this `shape`.

        Raises:
            SliceError: It leaves the tensor.
        """
        if len(self.starts) != len(shape):
            raise SliceError(f"expected slices of {len(shape)} dimensions, got {len(self.starts)}")
        sizes = []
        for axis, (start, length, size) in enumerate(zip(self.starts, self.lengths, shape, strict=True)):
            taken = size if length == FULL else length
            if start < 0 or taken < 0 or start + taken > size:
                raise SliceError(
                    f"expected a slice within 0:{size} of dimension {axis}, got {start}:{start + taken}"
                )
            sizes.append(taken)
        return tuple(sizes)

    def named(self, name: str, sizes: tuple[int, ...]) -> str:
        """Return what a slice of these sizes of the variable `name` is called: `name[0:3,0:2]`."""
        return f"{name}[{','.join(f'{a}:{a + n}' for a, n in zip(self.starts, sizes, strict=True))}]"

    def key(self, name: bytes) -> bytes:
        """Return the key that this slice of the variable `name` lies under."""
        key = _number(0) + _string(name) + _number(len(self.starts))
        for start, length in zip(self.starts, self.lengths, strict=True):
            key += _signed(start) + _signed(length)
        return key

    def encode(self) -> bytes:
        """Return the slice as a TensorSliceProto (tensor_slice.proto)."""
        message = b""
        for start, length in zip(self.starts, self.lengths, strict=True):
            extent = b""
            if length != FULL:
                extent = (b"\x08" + encode_varint(start) if start else b"") + b"\x10" + encode_varint(length)
            message += b"\x0a" + encode_varint(len(extent)) + extent
        return message


def check_tiling(shape: tuple[int, ...], boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Raise unless the `boxes`, starts and sizes that lie within `shape`, fill it and none overlap.

    Raises:
        SliceError: They do not.
    """
    volume = sum(math.prod(sizes) for _, sizes in boxes)
    if volume != math.prod(shape):
        raise SliceError(f"expected slices of {math.prod(shape)} elements, got {volume}")
    boxes = [box for box in boxes if math.prod(box[1])]
    if _is_grid(boxes):
        return
    if len(boxes) ** 2 > _MAX_PAIRS:
        most = math.isqrt(_MAX_PAIRS)
        raise SliceError(f"expected a grid, or at most {most} slices, got {len(boxes)}")
    import numpy as np

    starts = np.array([box[0] for box in boxes], np.int64)
    stops = starts + np.array([box[1] for box in boxes], np.int64)
    for i in range(len(boxes)):
        meets = ((starts[i + 1 :] < stops[i]) & (stops[i + 1 :] > starts[i])).all(axis=1)
        if meets.any():
            other = int(meets.argmax()) + i + 1
            raise SliceError(f"slices overlap: one at {boxes[i][0]}, one at {boxes[other][0]}")


def _is_grid(boxes: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> bool:
    """Return whether every start and stop of a dimension belong to one cut of it, and no box recurs."""
    if len(set(boxes)) < len(boxes):
        return False
    for axis in range(len(boxes[0][0]) if boxes else 0):
        cuts = sorted({(starts[axis], starts[axis] + sizes[axis]) for starts, sizes in boxes})
        if any(stop > start for (_, stop), (start, _) in itertools.pairwise(cuts)):
            return False
    return True


def _number(value: int) -> bytes:
    """Return NumIncreasing(value), which is not negative."""
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(raw)]) + raw


def _string(value: bytes) -> bytes:
    return re.sub(rb"[\x00\xff]", lambda found: found[0] + bytes([found[0][0] ^ 0xFF]), value) + b"\0\1"


def _signed(value: int) -> bytes:
    """Return SignedNumIncreasing(value)."""
    size = 1 + (~value if value < 0 else value).bit_length() // 7
    header = ((1 << size) - 1) << (8 * size - size)  # as many leading ones as there are bytes
    return ((value & (1 << 8 * size) - 1) ^ header).to_bytes(size, "big")
