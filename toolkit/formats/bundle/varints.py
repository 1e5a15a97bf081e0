"""Many variable-length integers at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

MAX_BYTES = 10
"""Of a varint of 64 bits."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def decode(data: Bytes, most: int | None = None) -> tuple[np.ndarray[Any, np.dtype[np.uint64]], int]:
    """Return the varints at the beginning of `data`, `most` of them if so many end in it.

    Returns:
        The integers, and how many bytes they take. What follows may be the beginning of another.

    Raises:
        ValueError: One is longer than 10 bytes.
    """
    ends = np.flatnonzero(data < 0x80)[:most]
    starts = np.concatenate([[0], ends + 1])
    sizes = np.diff(starts)
    used = int(starts[-1])
    cut = data.size - used if most is None or ends.size < most else 0
    longest = int(sizes.max(initial=0))
    if max(cut, longest) > MAX_BYTES:
        raise ValueError(f"a varint of more than {MAX_BYTES} bytes")
    values = np.zeros(ends.size, np.uint64)
    for i in range(longest):
        has = sizes > i
        part = data[starts[:-1][has] + i].astype(np.uint64) & np.uint64(0x7F)
        values[has] |= part << np.uint64(7 * i)
    return values, used
