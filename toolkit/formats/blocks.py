"""Blocks of a tensor that lie in one piece in C order: the form in which large ones are handled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

Region = tuple[slice, ...]


def block_shape(shape: tuple[int, ...], itemsize: int, max_bytes: int) -> tuple[int, ...]:
    """Return the shape of the largest block of at most `max_bytes` that lies in one piece in C order.

    It is one element at least, and whole in all dimensions after the first that it cuts.
    """
    block = [1] * len(shape)
    room = max(max_bytes // itemsize, 1)
    for axis in reversed(range(len(shape))):
        block[axis] = max(min(shape[axis], room), 1)
        if block[axis] < shape[axis]:
            break
        room //= block[axis]
    return tuple(block)


def regions(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Region]:
    """Yield the regions of `shape` that blocks of the shape `block` cut it into, in C order."""
    if not all(shape):
        return
    starts = (range(0, size, step) for size, step in zip(shape, block, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(
            slice(start, min(start + step, size))
            for start, step, size in zip(corner, block, shape, strict=True)
        )


def extent(region: Region) -> tuple[int, ...]:
    """Return the shape of a region."""
    return tuple(part.stop - part.start for part in region)
