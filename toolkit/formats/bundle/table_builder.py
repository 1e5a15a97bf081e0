"""Writing a table, byte for byte as TensorFlow's builder does. `table.py` has the layout.

Source: tensorflow/core/lib/io (table_builder.cc, block_builder.cc, table_options.h).
"""

from __future__ import annotations

from typing import BinaryIO

from toolkit import checksum
from toolkit.formats.bundle.coding import encode_varint
from toolkit.formats.bundle.table import FOOTER_BYTES, MAGIC, PLAIN, BlockHandle

BLOCK_BYTES = 262144
"""A block is closed when it has grown to this size (table_options.h, block_size)."""
_RESTART_INTERVAL = 16
"""Every so many entries a key is written whole (table_options.h, block_restart_interval)."""
_OVERLY_LARGE_BLOCK_RATIO = 2
"""An entry at least this many blocks large begins a block of its own (table_builder.cc, Add)."""


class TableBuilder:
    """Writes a table to `file`. Keys are added in ascending order; `finish` ends it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offset = 0
        self._data = _BlockBuilder(_RESTART_INTERVAL)
        self._index = _BlockBuilder(1)
        self._last_key: bytes | None = None
        self._pending: BlockHandle | None = None

    def add(self, key: bytes, value: bytes) -> None:
        """Add an entry; `key` must be above the one before."""
        if self._last_key is not None:
            if key <= self._last_key:
                raise ValueError(f"keys must ascend: {key!r} after {self._last_key!r}")
            if len(key) + len(value) >= _OVERLY_LARGE_BLOCK_RATIO * BLOCK_BYTES:
                self._flush()
        if self._pending is not None:
            assert self._last_key is not None
            self._add_to_index(_shortest_separator(self._last_key, key))
        self._last_key = key
        self._data.add(key, value)
        if self._data.estimated_size >= BLOCK_BYTES:
            self._flush()

    def finish(self) -> None:
        """Write what is left: the last block, the metaindex, the index and the footer."""
        self._flush()
        metaindex = self._write_block(_BlockBuilder(_RESTART_INTERVAL))
        if self._pending is not None:
            assert self._last_key is not None
            self._add_to_index(_short_successor(self._last_key))
        index = self._write_block(self._index)
        handles = _encode_handle(metaindex) + _encode_handle(index)
        self._file.write(handles.ljust(FOOTER_BYTES - len(MAGIC), b"\0") + MAGIC)

    def _add_to_index(self, key: bytes) -> None:
        assert self._pending is not None
        self._index.add(key, _encode_handle(self._pending))
        self._pending = None

    def _flush(self) -> None:
        if not self._data.empty:
            self._pending = self._write_block(self._data)
            self._data = _BlockBuilder(_RESTART_INTERVAL)

    def _write_block(self, block: _BlockBuilder) -> BlockHandle:
        contents = block.finish() + bytes([PLAIN])
        masked = checksum.mask(checksum.crc32c(contents))
        self._file.write(contents + masked.to_bytes(4, "little"))
        handle = BlockHandle(self._offset, len(contents) - 1)
        self._offset += len(contents) + 4
        return handle


class _BlockBuilder:
    """Collects the entries of one block. An empty one still has its first restart point."""

    def __init__(self, restart_interval: int) -> None:
        self._restart_interval = restart_interval
        self._buffer = bytearray()
        self._restarts = [0]
        self._since_restart = 0
        self._last_key = b""

    @property
    def empty(self) -> bool:
        return not self._buffer

    @property
    def estimated_size(self) -> int:
        return len(self._buffer) + 4 * len(self._restarts) + 4

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self._since_restart < self._restart_interval:
            shared = _common_prefix(self._last_key, key)
        else:
            self._restarts.append(len(self._buffer))
            self._since_restart = 0
        self._buffer += encode_varint(shared) + encode_varint(len(key) - shared)
        self._buffer += encode_varint(len(value)) + key[shared:] + value
        self._last_key = key
        self._since_restart += 1

    def finish(self) -> bytes:
        restarts = b"".join(restart.to_bytes(4, "little") for restart in self._restarts)
        return bytes(self._buffer) + restarts + len(self._restarts).to_bytes(4, "little")


def _encode_handle(handle: BlockHandle) -> bytes:
    return encode_varint(handle.offset) + encode_varint(handle.size)


def _common_prefix(a: bytes, b: bytes) -> int:
    """Return how many bytes `a` and `b` share at their start."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    for i in range(length):
        if a[i] != b[i]:
            return i
    return length


def _shortest_separator(start: bytes, limit: bytes) -> bytes:
    """Return a short key from `start` up to, but below, `limit`, as table_builder.cc finds it."""
    i = _common_prefix(start, limit)
    if i < min(len(start), len(limit)) and start[i] < 0xFF and start[i] + 1 < limit[i]:
        return start[:i] + bytes([start[i] + 1])
    return start


def _short_successor(key: bytes) -> bytes:
    """Return a short key not below `key`, as table_builder.cc finds it."""
    for i, byte in enumerate(key):
        if byte != 0xFF:
            return key[:i] + bytes([byte + 1])
    return key
