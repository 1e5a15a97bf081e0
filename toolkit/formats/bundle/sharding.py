"""Spreading a bundle's values over data files of a limited size."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from toolkit.checkpoint import Variable
from toolkit.formats.blocks import block_shape, extent, regions
from toolkit.formats.bundle.slices import TensorSlice
from toolkit.formats.bundle.writer import BundleWriter


class Placed(NamedTuple):
    """A variable, and what becomes of it.

    Attributes:
        variable: Which.
        begins: Whether it begins a data file.
        parts: Its slices, each in a data file of its own; none if it stays in one piece.
    """

    variable: Variable
    begins: bool
    parts: tuple[TensorSlice, ...]


def distribute(variables: Iterable[Variable], max_bytes: int) -> list[Placed]:
    """Return where each variable goes, in their order, so that no data file has more than `max_bytes`.

    A tensor that is larger is cut into slices that lie in one piece in C order, of an element at least.
    Strings are not cut.
    """
    placed: list[Placed] = []
    room = max_bytes
    for variable in variables:
        if variable.nbytes <= max_bytes or variable.dtype.itemsize is None:
            begins = bool(placed) and variable.nbytes > room
            room = (max_bytes if begins else room) - variable.nbytes
            placed.append(Placed(variable, begins, ()))
            continue
        block = block_shape(variable.shape, variable.dtype.itemsize, max_bytes)
        parts = tuple(
            TensorSlice(tuple(part.start for part in region), extent(region))
            for region in regions(variable.shape, block)
        )
        placed.append(Placed(variable, bool(placed) and room < max_bytes, parts))
        last = math.prod(parts[-1].sizes(variable.shape)) * variable.dtype.itemsize
        room = max(max_bytes - last, 0)
    return placed


def num_files(placed: Iterable[Placed]) -> int:
    """Return how many data files they take."""
    return 1 + sum(p.begins + max(len(p.parts) - 1, 0) for p in placed)


def write(prefix: str, placed: Iterable[Placed], num_shards: int) -> None:
    """Write them as the bundle `prefix`, of `num_shards` data files.

    Raises:
        UsageError, FormatError, ReadError: As `BundleWriter`.
    """
    with BundleWriter(prefix, num_shards=num_shards) as writer:
        for variable, begins, parts in placed:
            if begins:
                writer.next_shard()
            if parts:
                writer.copy_slices(variable.name, variable, parts)
            else:
                writer.copy(variable.name, variable)
        writer.finish()
