"""The value of one entry of a table, however large: looked into without being held.

A V1 checkpoint keeps tensors as values in its table, up to 2 GiB each. Such an entry has a block of its
own, which is walked over: its checksum is computed and its entries are found by reading on, a piece at
a time. Small blocks, and compressed ones, which cannot be read but whole, are held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from toolkit import checksum
from toolkit.errors import ChecksumError, FormatError
from toolkit.formats.bundle.coding import CodingError, decode_varint
from toolkit.formats.bundle.table import PLAIN, TRAILER_BYTES, Table
from toolkit.formats.file import ReadFile

_HELD_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 20
_ENTRY_HEAD_BYTES = 30
"""Three varints."""


class Span(NamedTuple):
    """A run of bytes: of `data`, or where that is `None` of `file`.

    Attributes:
        file: Where the bytes come from, also for messages.
        start: Where they begin there.
        size: How many there are.
        data: All of them, if they are held.
    """

    file: ReadFile
    start: int
    size: int
    data: bytes | None = None

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at `offset`: fewer at the end."""
        size = max(min(size, self.size - offset), 0)
        if self.data is not None:
            return self.data[offset : offset + size]
        return self.file.read(self.start + offset, size)

    def part(self, offset: int, size: int) -> Span:
        """Return a part, which lies within."""
        data = None if self.data is None else self.data[offset : offset + size]
        return Span(self.file, self.start + offset, size, data)

    def windows(self, max_bytes: int = _WINDOW_BYTES) -> Iterator[bytes]:
        """Yield the bytes, `max_bytes` at a time."""
        for offset in range(0, self.size, max_bytes):
            yield self.read(offset, max_bytes)


def find(table: Table, key: bytes) -> Span | None:
    """Return the value under `key`, its block's checksum compared, or `None`.

    Raises:
        ChecksumError, FormatError, ReadError: The block is damaged.
    """
    handle = table.block_of(key)
    if handle is None:
        return None
    if handle.size <= _HELD_BYTES or table.file.read(handle.offset + handle.size, 1)[0] != PLAIN:
        value = table.get(key)
        return None if value is None else Span(table.file, handle.offset, len(value), value)
    block = Span(table.file, handle.offset, handle.size)
    _check(block)
    return _walk(block, key)


def _check(block: Span) -> None:
    running = checksum.Running()
    for window in block._replace(size=block.size + 1).windows():  # with its type
        running.update(window)
    trailer = block.file.read(block.start + block.size, TRAILER_BYTES)
    stored = checksum.unmask(int.from_bytes(trailer[1:], "little"))
    if running.finish() != stored:
        raise ChecksumError(
            "a block", path=block.file.path, offset=block.start, stored=stored, computed=running.finish()
        )


def _walk(block: Span, wanted: bytes) -> Span | None:
    """Return the value under the key `wanted` of a block, passing over the values before it."""
    num_restarts = int.from_bytes(block.read(block.size - 4, 4), "little")
    end = block.size - 4 - 4 * num_restarts
    key = b""
    position = 0
    try:
        while position < end:
            head = block.read(position, _ENTRY_HEAD_BYTES)
            shared, used = decode_varint(head, 0)
            non_shared, used = decode_varint(head, used)
            size, used = decode_varint(head, used)
            position += used
            if shared > len(key) or position + non_shared + size > end:
                break
            key = key[:shared] + block.read(position, non_shared)
            position += non_shared
            if key == wanted:
                return block.part(position, size)
            position += size
    except CodingError:
        pass
    if position != end:
        raise FormatError("bad block: an entry", path=block.file.path, offset=block.start + position)
    return None
