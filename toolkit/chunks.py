"""Chunks: how many bytes of a tensor are held at a time, and the same bytes in pieces of other sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CHUNK_BYTES = 4 << 20
"""How much of a tensor is held at a time: enough for the disk, and it stays in the processor's cache."""


def whole_elements(max_bytes: int, itemsize: int | None) -> int:
    """Return the bytes of as many elements as fit into `max_bytes`, but of one at least.

    Args:
        max_bytes: The limit.
        itemsize: Bytes of an element; `None` where elements have no size of their own, as strings.
    """
    itemsize = itemsize or 1
    return max(max_bytes - max_bytes % itemsize, itemsize)


def regroup(chunks: Iterable[np.ndarray[Any, Any]], sizes: Iterable[int]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the bytes of `chunks`, which are `uint8` arrays, as arrays of the given `sizes` in bytes.

    What lies in one chunk is a view of it, and what straddles chunks a copy: take what you need
    before asking for the next. The chunks are used up, so that what checks them has its say.

    Raises:
        ValueError: There are more or fewer bytes than `sizes` come to.
    """
    import numpy as np

    source = iter(chunks)
    left = np.zeros(0, np.uint8)
    for size in sizes:
        if not left.size and size:
            left = next(source, left)
        if left.size >= size:
            part, left = left[:size], left[size:]
        else:
            part = np.empty(size, np.uint8)
            filled = 0
            while filled < size:
                if not left.size:
                    left = next(source, left)
                    if not left.size:
                        raise ValueError(f"expected {size} bytes more, got {filled}")
                taken = min(size - filled, left.size)
                part[filled : filled + taken] = left[:taken]
                filled, left = filled + taken, left[taken:]
        yield part
    if left.size or any(chunk.size for chunk in source):
        raise ValueError("more bytes than expected")
