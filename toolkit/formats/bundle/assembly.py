"""Putting partitioned variables together from their slices, a block at a time.

A block of the whole that lies in one piece in C order meets each slice in a part that lies in one piece
there too, and the blocks come in the order of each slice's bytes. So every slice is read once, from its
beginning to its end, and checked on the way, whatever the partitioning.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolkit.checkpoint import Slice, Variable
from toolkit.chunks import regroup
from toolkit.formats.blocks import Region, block_shape, extent, regions
from toolkit.formats.streamed import StreamedSource

if TYPE_CHECKING:
    import numpy as np

_MIN_CHUNK_BYTES = 4096


class SlicedSource(StreamedSource):
    """The source of partitioned variables, whose slices are variables themselves."""

    @abstractmethod
    def slices(self, variable: Variable) -> tuple[Slice, ...]:
        """Do what `Variable.slices` says."""

    def plain_chunks(
        self, variable: Variable, *, max_bytes: int, verify: bool
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Implement `StreamedSource`: each chunk is a block of the tensor."""
        import numpy as np

        shape, dtype = variable.shape, variable.dtype
        itemsize = dtype.itemsize or 1
        pieces = [_Piece(part, verify=verify) for part in variable.slices]
        pieces.sort(key=lambda piece: piece.start)
        block = block_shape(shape, itemsize, max_bytes)
        buffer = np.empty(math.prod(block), f"V{itemsize}")
        waiting, met = 0, list[_Piece]()
        for region in regions(shape, block):
            # Pieces are met in the order of their first dimension, and left behind in that order too.
            while waiting < len(pieces) and (not shape or pieces[waiting].start[0] < region[0].stop):
                met.append(pieces[waiting])
                waiting += 1
            met = [piece for piece in met if not shape or piece.stop[0] > region[0].start]
            values = buffer[: math.prod(extent(region))].reshape(extent(region))
            for piece in met:
                piece.put_into(values, region, max_bytes=max(max_bytes // len(met), _MIN_CHUNK_BYTES))
            yield values.reshape(-1).view(np.uint8)
        for piece in pieces:
            piece.finish()

    def elements(self, variable: Variable, *, verify: bool) -> list[bytes]:
        """Implement `StreamedSource`: strings are held whole."""
        import numpy as np

        values = np.empty(variable.shape, object)
        for part in variable.slices:
            box = tuple(slice(a, a + size) for a, size in zip(part.start, part.variable.shape, strict=True))
            values[box] = part.variable.load(verify=verify)
        return list(values.reshape(-1))


class _Piece:
    """A slice that is read from its beginning to its end, as blocks of the whole ask for it."""

    def __init__(self, part: Slice, *, verify: bool) -> None:
        self._variable = part.variable
        self._verify = verify
        self.start = part.start
        self.stop = tuple(a + size for a, size in zip(part.start, part.variable.shape, strict=True))
        self._sizes = list[int]()
        self._bytes: Iterator[np.ndarray[Any, Any]] | None = None

    def put_into(self, values: np.ndarray[Any, Any], region: Region, *, max_bytes: int) -> None:
        """Copy what this slice has of `region` into `values`, which has the shape of the region."""
        shared = [
            slice(max(start, part.start), min(stop, part.stop))
            for start, stop, part in zip(self.start, self.stop, region, strict=True)
        ]
        sizes = tuple(part.stop - part.start for part in shared)
        if any(size <= 0 for size in sizes):
            return
        if self._bytes is None:
            chunks = self._variable.chunks(max_bytes=max_bytes, verify=self._verify)
            self._bytes = regroup(chunks, self._asked())
        self._sizes.append(math.prod(sizes) * values.itemsize)
        raw = next(self._bytes)
        place = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(shared, region, strict=True))
        values[place] = raw.view(values.dtype).reshape(sizes)

    def finish(self) -> None:
        """Let the slice be checked: all of it has been read."""
        if self._bytes is not None:
            for _ in self._bytes:
                pass

    def _asked(self) -> Iterator[int]:
        """Yield the sizes as they are asked for; the end comes with `finish`."""
        while self._sizes:
            yield self._sizes.pop()
