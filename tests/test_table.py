"""The table, against files that are built block by block here, after LevelDB's documentation."""

from __future__ import annotations

import io

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import checksum
from toolkit.errors import ChecksumError, FormatError, TruncatedError, UnsupportedError
from toolkit.formats.bundle.coding import encode_varint
from toolkit.formats.bundle.table import MAGIC, Table
from toolkit.formats.bundle.table_builder import TableBuilder
from toolkit.formats.file import ReadFile


def block(*entries: tuple[int, bytes, bytes], restarts: bytes = bytes(4) + b"\1\0\0\0") -> bytes:
    """A block of entries (shared bytes, key suffix, value), all lengths in one byte."""
    body = b"".join(bytes([shared, len(key), len(value)]) + key + value for shared, key, value in entries)
    return body + restarts


def stored(contents: bytes, kind: int = 0) -> bytes:
    """A block with its trailer."""
    body = contents + bytes([kind])
    return body + checksum.mask(checksum.crc32c(body)).to_bytes(4, "little")


def handle(offset: int, size: int) -> bytes:
    return encode_varint(offset) + encode_varint(size)


def table(*blocks: bytes, index: bytes | None = None, keys: list[bytes] | None = None) -> bytes:
    """A table of blocks as they are stored; by default one index entry for each."""
    data = b"".join(blocks)
    if index is None:
        entries = []
        offset = 0
        for i, one in enumerate(blocks):
            key = keys[i] if keys else bytes([0xF0 + i])
            entries.append((0, key, handle(offset, len(one) - 5)))
            offset += len(one)
        index = block(*entries)
    meta = stored(block())
    footer = handle(len(data), len(meta) - 5) + handle(len(data) + len(meta), len(index))
    return data + meta + stored(index) + footer.ljust(40, b"\0") + MAGIC


@pytest.fixture
def opened(tmp_path):
    def open_(data: bytes) -> Table:
        (tmp_path / "t").write_bytes(data)
        return Table(ReadFile(str(tmp_path / "t")))

    return open_


def entries_of(table: Table) -> list[tuple[bytes, bytes]]:
    return [entry for block in table.blocks() for entry in block]


def test_reads_blocks_of_prefix_compressed_keys(opened):
    first = stored(block((0, b"apple", b"1"), (3, b"ly", b"22"), (0, b"b", b"")))
    second = stored(block((0, b"x", b"3")))
    read = opened(table(first, second, keys=[b"c", b"z"]))
    expected = [(b"apple", b"1"), (b"apply", b"22"), (b"b", b""), (b"x", b"3")]
    assert entries_of(read) == expected
    assert [read.get(key) for key, _ in expected] == [value for _, value in expected]
    assert [read.get(key) for key in (b"", b"a", b"applz", b"c", b"y")] == [None] * 5


def test_reads_snappy_blocks(opened):
    contents = block((0, b"a" * 60, b"v" * 90))
    compressed = bytes(cramjam.snappy.compress_raw(contents))
    assert entries_of(opened(table(stored(compressed, kind=1)))) == [(b"a" * 60, b"v" * 90)]


@given(st.dictionaries(st.binary(max_size=30), st.binary(max_size=200), max_size=60))
def test_what_is_built_is_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("table") / "t"
    with path.open("wb") as file:
        builder = TableBuilder(file)
        for key in sorted(content):
            builder.add(key, content[key])
        builder.finish()
    read = Table(ReadFile(str(path)))
    assert entries_of(read) == sorted(content.items())
    assert all(read.get(key) == value for key, value in content.items())


def test_keys_must_ascend_when_built():
    builder = TableBuilder(io.BytesIO())
    builder.add(b"b", b"")
    with pytest.raises(ValueError, match="keys must ascend"):
        builder.add(b"b", b"")


GOOD = stored(block((0, b"a", b"1")))
_FAR = (1 << 64) - 1


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", TruncatedError, "no room for a table's footer: expected 48 bytes or more, got 0"),
        (MAGIC * 6, FormatError, "block handle points outside the file"),
        (table(GOOD)[:-1] + b"\0", FormatError,
         f"bad magic at byte {len(table(GOOD)) - 8}: expected 0xdb4775248b80fb57, got 0x4775248b80fb57"),
        (table(GOOD)[:-1], FormatError, "bad magic at byte"),
        (bytes(8) + table(GOOD)[8:], ChecksumError, "checksum of a block is wrong at byte 0: expected 0x"),
        (table(stored(block((0, b"a", b"1")), kind=4)), UnsupportedError,
         "unknown compression of a block at byte 13: expected 0 (none) or 1 (snappy), got 4"),
        (table(stored(block((1, b"a", b"1")))), FormatError,
         "bad block: shared bytes of a key at byte 0: expected at most 0, got 1"),
        (table(stored(block((0, b"b", b"1"), (0, b"a", b"2")))), FormatError,
         "bad block: keys out of order at byte 0: expected one above b'b', got b'a'"),
        (table(stored(block((0, b"a", b"1"), (1, b"", b"2")))), FormatError,
         "bad block: keys out of order at byte 0: expected one above b'a', got b'a'"),
        (table(stored(block((0, b"b", b"1"))), stored(block((0, b"a", b"1")))), FormatError,
         "bad block: keys out of order"),
        (table(GOOD, GOOD), FormatError, "bad block: keys out of order"),
        (table(stored(block((0, b"a", b"1"), restarts=b"\xff\xff\0\0"))), FormatError,
         "bad block: number of restarts at byte 0: expected at most 2, got 65535"),
        (table(stored(b"")), FormatError, "bad block: number of restarts"),
        (table(stored(b"\0\5\0a" + bytes(4) + b"\1\0\0\0")), FormatError,
         "bad block: an entry at byte 0: expected an end at 4, got 8"),
        (table(stored(b"\x80" * 12 + bytes(4) + b"\1\0\0\0")), FormatError, "bad block: an entry"),
        (table(GOOD, index=block((0, b"p", handle(_FAR, 1)))), FormatError,
         "block handle points outside the file"),
        (table(GOOD, index=block((0, b"p", handle(0, _FAR)))), FormatError,
         "block handle points outside the file"),
        (table(GOOD, index=block((0, b"p", handle(0, len(GOOD) + 60)))), FormatError,
         "block handle points outside the file"),
        (table(GOOD, index=block((0, b"p", b"\x80" * 11))), FormatError,
         "bad block handle: varint longer than 10 bytes"),
        (table(GOOD, index=block((0, b"p", handle(0, 7) + b"x"))), FormatError, "bad block handle"),
        (table(stored(b"", kind=1)), FormatError, "bad snappy block: varint cut off"),
        (table(stored(encode_varint(1 << 32) + b"\0", kind=1)), FormatError,
         "bad snappy block at byte 0: expected at most 132 bytes uncompressed, got 4294967296"),
        (table(stored(b"\x08\x01\x00", kind=1)), FormatError, "bad snappy block"),
    ],
    ids=lambda value: None if isinstance(value, bytes | type) else value[:40],
)  # fmt: skip
def test_reject(opened, data, error, message):
    with pytest.raises(error) as refused:
        entries_of(opened(data))
    assert message in str(refused.value)
    assert str(refused.value).startswith(refused.value.path)


def test_truncation_at_every_length_is_refused(opened):
    data = table(GOOD, stored(block((0, b"x", b"1"))))
    for length in range(len(data)):
        with pytest.raises(FormatError):
            entries_of(opened(data[:length]))


def test_every_flipped_bit_that_matters_is_refused_or_harmless(opened):
    data = table(GOOD, stored(block((0, b"x", b"1"))))
    good = entries_of(opened(data))
    meta = range(len(GOOD) * 2, len(GOOD) * 2 + len(stored(block())))
    handles = range(len(data) - 48, len(data) - 8)
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            try:
                read = entries_of(opened(bytes(changed)))
            except FormatError:
                continue
            # TensorFlow reads neither the metaindex block nor the footer's padding, and a varint may
            # go on with zeros
            assert position in meta or position in handles
            assert read == good


def test_keys_that_unfold_to_far_more_than_the_block_are_refused(opened):
    """Each key takes nearly all of the one before, which is 100,000 bytes long."""
    long = b"k" * 100_000
    body = b"\0" + encode_varint(len(long)) + b"\0" + long
    for i in range(2000):
        body += encode_varint(len(long)) + b"\4\0" + i.to_bytes(4, "big")
    with pytest.raises(FormatError, match="keys all together"):
        list(opened(table(stored(body + bytes(4) + b"\1\0\0\0"))).blocks())
