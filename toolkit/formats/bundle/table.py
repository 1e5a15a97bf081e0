"""Reading a sorted table of keys and values: LevelDB's file format as TensorFlow uses it.

    file      block … block  metaindex block  index block  footer
    block     entry … entry  restart (uint32) …  number of restarts (uint32)   then, outside its size:
              type (1 byte: 0 plain, 1 snappy)  CRC-32C of contents and type, masked (uint32)
    entry     shared (varint)  non_shared (varint)  value size (varint)  key suffix  value
    index     one entry a block: a key not below the block's last → handle
    handle    offset (varint)  size (varint, without the 5 bytes of the trailer)
    footer    metaindex handle  index handle  zeros up to 40 bytes  57 fb 80 8b 24 75 47 db

Integers are little endian. A key is `shared` bytes of the key before it and then its suffix.

Source: tensorflow/core/lib/io (format.h, format.cc, block.cc), after LevelDB's table_format.md.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple

from toolkit import checksum
from toolkit.errors import ChecksumError, FormatError, TruncatedError, UnsupportedError
from toolkit.formats.bundle.coding import CodingError, decode_varint
from toolkit.formats.file import ReadFile

FOOTER_BYTES = 48
MAGIC = bytes.fromhex("57fb808b247547db")
"""0xdb4775248b80fb57 as two little-endian uint32, the low one first (format.h, kTableMagicNumber)."""
TRAILER_BYTES = 5
PLAIN, SNAPPY = 0, 1
_SNAPPY_MAX_RATIO = 22
"""A snappy copy gives at most 64 bytes for 3, so a block cannot grow by more."""

_KEYS_MAX_RATIO = 64
"""Every 16th key is written whole, so that those of a block cannot be much more than 16 times as long."""


class BlockHandle(NamedTuple):
    """Where a block lies: `offset` and `size` in bytes, trailer excluded."""

    offset: int
    size: int


class Table:
    """A table file. Opening it reads the footer and the index block; blocks are read when needed.

    Attributes:
        file: Where it lies.

    Raises:
        TruncatedError, ChecksumError, UnsupportedError, FormatError: The file breaks a rule.
    """

    def __init__(self, file: ReadFile) -> None:
        self.file = file
        if file.size < FOOTER_BYTES:
            raise TruncatedError(
                "no room for a table's footer",
                path=file.path,
                expected=f"{FOOTER_BYTES} bytes or more",
                found=file.size,
            )
        self._end = file.size - FOOTER_BYTES
        footer = file.read(self._end, FOOTER_BYTES)
        if footer[40:] != MAGIC:
            raise FormatError(
                "bad magic",
                path=file.path,
                offset=self._end + 40,
                expected=_number(MAGIC),
                found=_number(footer[40:]),
                hint="this is not the index of a checkpoint, or it was cut off",
            )
        _, position = self._handle(footer, 0, self._end)
        index, _ = self._handle(footer, position, self._end)
        self._last_keys: list[bytes] = []
        self._handles: list[BlockHandle] = []
        self._kept: tuple[int, list[tuple[bytes, bytes]]] | None = None
        for key, value in self._entries(index):
            handle, end = self._handle(value, 0, index.offset)
            if end != len(value):
                raise FormatError(
                    "bad block handle",
                    path=file.path,
                    offset=index.offset,
                    expected=f"{end} bytes",
                    found=len(value),
                )
            self._last_keys.append(key)
            self._handles.append(handle)

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or `None`. At most one block is read, and it is kept."""
        number = bisect.bisect_left(self._last_keys, key)
        if number == len(self._handles):
            return None
        entries = self._block_entries(number)
        position = bisect.bisect_left(entries, key, key=_key_of)
        found = entries[position] if position < len(entries) else (None, None)
        return found[1] if found[0] == key else None

    def block_of(self, key: bytes) -> BlockHandle | None:
        """Return where the block lies that holds `key`, if any does. Nothing is read."""
        number = bisect.bisect_left(self._last_keys, key)
        return self._handles[number] if number < len(self._handles) else None

    def blocks(self) -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield the keys and values of each block, all in ascending order of their keys."""
        last: bytes | None = None
        for number, handle in enumerate(self._handles):
            entries = self._block_entries(number)
            if entries:
                if last is not None and entries[0][0] <= last:
                    raise self._bad_order(handle, last, entries[0][0])
                last = entries[-1][0]
            yield entries

    def _block_entries(self, number: int) -> list[tuple[bytes, bytes]]:
        """Return the keys and values of a block. The last one asked for is kept: it is asked again."""
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self._entries(self._handles[number])
        return self._kept[1]

    def _handle(self, data: bytes, position: int, place: int) -> tuple[BlockHandle, int]:
        try:
            offset, position = decode_varint(data, position)
            size, position = decode_varint(data, position)
        except CodingError as error:
            raise FormatError(f"bad block handle: {error}", path=self.file.path, offset=place) from None
        if offset + size + TRAILER_BYTES > self._end:
            raise FormatError(
                "block handle points outside the file",
                path=self.file.path,
                offset=place,
                expected=f"an end of at most {self._end}",
                found=offset + size + TRAILER_BYTES,
            )
        return BlockHandle(offset, size), position

    def _block(self, handle: BlockHandle) -> bytes:
        """Return the contents of a block, its checksum compared and its compression undone."""
        path = self.file.path
        data = self.file.read(handle.offset, handle.size + TRAILER_BYTES)
        stored = checksum.unmask(int.from_bytes(data[-4:], "little"))
        computed = checksum.crc32c(data[:-4])
        if stored != computed:
            raise ChecksumError("a block", path=path, offset=handle.offset, stored=stored, computed=computed)
        kind = data[handle.size]
        if kind == PLAIN:
            return data[: handle.size]
        if kind != SNAPPY:
            raise UnsupportedError(
                "unknown compression of a block",
                path=path,
                offset=handle.offset + handle.size,
                expected="0 (none) or 1 (snappy)",
                found=kind,
            )
        return self._uncompressed(data[: handle.size], handle.offset)

    def _uncompressed(self, data: bytes, offset: int) -> bytes:
        import cramjam

        path = self.file.path
        try:
            size, _ = decode_varint(data, 0)
        except CodingError as error:
            raise FormatError(f"bad snappy block: {error}", path=path, offset=offset) from None
        if size > len(data) * _SNAPPY_MAX_RATIO:
            raise FormatError(
                "bad snappy block",
                path=path,
                offset=offset,
                expected=f"at most {len(data) * _SNAPPY_MAX_RATIO} bytes uncompressed",
                found=size,
            )
        contents = bytearray(size)
        try:
            cramjam.snappy.decompress_raw_into(data, contents)
        except cramjam.DecompressionError as error:
            raise FormatError(f"bad snappy block: {error}", path=path, offset=offset) from error
        return bytes(contents)

    def _entries(self, handle: BlockHandle) -> list[tuple[bytes, bytes]]:
        """Return the keys and values of the block at `handle`."""
        block = self._block(handle)
        num_restarts = int.from_bytes(block[-4:], "little")
        end = len(block) - 4 - 4 * num_restarts
        if len(block) < 4 or end < 0:
            raise self._bad(handle, "number of restarts", f"at most {len(block) // 4}", num_restarts)
        entries: list[tuple[bytes, bytes]] = []
        append = entries.append
        key = b""
        last: bytes | None = None
        position = 0
        room = len(block) * _KEYS_MAX_RATIO
        try:
            while position < end:
                shared = block[position]
                non_shared = block[position + 1]
                size = block[position + 2]
                if shared | non_shared | size < 0x80:
                    position += 3
                else:
                    shared, position = decode_varint(block, position)
                    non_shared, position = decode_varint(block, position)
                    size, position = decode_varint(block, position)
                if shared > len(key):
                    raise self._bad(handle, "shared bytes of a key", f"at most {len(key)}", shared)
                middle = position + non_shared
                key = key[:shared] + block[position:middle]
                position = middle + size
                if last is not None and key <= last:
                    raise self._bad_order(handle, last, key)
                last = key
                room -= len(key)
                if room < 0:
                    limit = f"at most {len(block) * _KEYS_MAX_RATIO} bytes"
                    raise self._bad(handle, "keys all together", limit, "more")
                append((key, block[middle:position]))
        except (CodingError, IndexError):
            raise self._bad(handle, "an entry", f"an end at {end}", "none") from None
        if position != end:
            raise self._bad(handle, "an entry", f"an end at {end}", position)
        return entries

    def _bad_order(self, handle: BlockHandle, last: bytes, key: bytes) -> FormatError:
        return self._bad(handle, "keys out of order", f"one above {last!r}", repr(key))

    def _bad(self, handle: BlockHandle, what: str, expected: str, found: object) -> FormatError:
        return FormatError(
            f"bad block: {what}",
            path=self.file.path,
            offset=handle.offset,
            expected=expected,
            found=found,
        )


def _key_of(entry: tuple[bytes, bytes]) -> bytes:
    return entry[0]


def _number(magic: bytes) -> str:
    low, high = int.from_bytes(magic[:4], "little"), int.from_bytes(magic[4:], "little")
    return f"{high << 32 | low:#x}"
