"""Partitioned variables: their keys, whether their slices tile them, and putting them together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import write_table
from toolkit import ChecksumError, FormatError, checksum, dtypes, open_checkpoint
from toolkit.formats.blocks import block_shape, extent, regions
from toolkit.formats.bundle.messages import Entry, encode_entry, encode_header
from toolkit.formats.bundle.slices import FULL, SliceError, TensorSlice, check_tiling

F32 = dtypes.BY_NAME["float32"]
VALUES = np.arange(12, dtype="f").reshape(6, 2)


@pytest.mark.parametrize(
    ("part", "key"),
    [
        # `0,3:0,2` of a partitioned [6, 2]: the bytes that TensorFlow writes
        (TensorSlice((0, 0), (3, 2)), "00 77 00 01 01 02 80 83 80 82"),
        (TensorSlice((3, 0), (3, FULL)), "00 77 00 01 01 02 83 83 80 7f"),
        (TensorSlice((64,), (8191,)), "00 77 00 01 01 01 c0 40 df ff"),
        (TensorSlice((), ()), "00 77 00 01 00"),
    ],
)
def test_keys_are_tensorflows(part, key):
    assert part.key(b"w").hex(" ") == key


def test_a_name_in_a_key_is_escaped():
    assert TensorSlice((), ()).key(b"a\0b\xffc") == b"\0a\0\xffb\xff\0c\0\1\0"


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), min_size=2, max_size=2, unique=True))
def test_keys_ascend_as_what_they_say(pairs):
    keys = [TensorSlice((start,), (length,)).key(b"w") for start, length in pairs]
    assert (keys[0] < keys[1]) == (pairs[0] < pairs[1])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([((0, 0), (3, 2))], "expected slices of 12 elements, got 6"),
        ([((0, 0), (4, 2)), ((2, 0), (2, 2))], "slices overlap: one at (0, 0), one at (2, 0)"),
        ([((0, 0), (3, 2)), ((0, 0), (3, 2))], "slices overlap"),
        ([((0, 0), (6, 1)), ((0, 0), (3, 2))], "slices overlap"),
    ],
)
def test_slices_must_tile(boxes, message):
    with pytest.raises(SliceError) as refused:
        check_tiling((6, 2), boxes)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "boxes",
    [
        [((0, 0), (6, 2))],
        [((0, 0), (3, 2)), ((3, 0), (3, 2))],
        [((0, 0), (3, 1)), ((3, 0), (3, 1)), ((0, 1), (3, 1)), ((3, 1), (3, 1))],
        [((0, 0), (2, 2)), ((2, 0), (4, 1)), ((2, 1), (3, 1)), ((5, 1), (1, 1))],  # no grid
        [((0, 0), (6, 2)), ((6, 0), (0, 2))],
    ],
)
def test_slices_that_tile_are_taken(boxes):
    check_tiling((6, 2), boxes)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (TensorSlice((0,), (3,)), "expected slices of 2 dimensions, got 1"),
        (TensorSlice((4, 0), (3, 2)), "expected a slice within 0:6 of dimension 0, got 4:7"),
        (TensorSlice((1, 0), (FULL, 2)), "expected a slice within 0:6 of dimension 0, got 1:7"),
    ],
)
def test_slices_must_lie_within(part, message):
    with pytest.raises(SliceError, match=message):
        part.sizes((6, 2))


def sliced(prefix, parts, *, big_endian=False, change=None):
    """Write a bundle with the variable `w` in the given slices, entry by entry."""
    data = b""
    entries = {}
    for part in parts:
        box = tuple(slice(a, a + n) for a, n in zip(part.starts, part.sizes(VALUES.shape), strict=True))
        raw = VALUES[box].astype(">f4" if big_endian else "<f4").tobytes()
        shape = part.sizes(VALUES.shape)
        entries[part.key(b"w")] = Entry(F32, shape, len(raw), 0, len(data), checksum.crc32c(raw))
        data += raw
    entries[b"w"] = Entry(F32, VALUES.shape, 0, 0, 0, 0, tuple(parts))
    if change:
        change(entries)
    header = b"\x08\x01\x10\x01\x1a\x02\x08\x01" if big_endian else encode_header(1)
    write_table(f"{prefix}.index", {b"": header, **{key: encode_entry(e) for key, e in entries.items()}})
    with open(f"{prefix}.data-00000-of-00001", "wb") as file:
        file.write(data)
    return str(prefix)


GRID = [TensorSlice((a, b), (3, 1)) for a in (0, 3) for b in (0, 1)]


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("max_bytes", [1, 4, 8, 12, 16, 20, 1000])
def test_slices_are_put_together_and_given_one_by_one(tmp_path, big_endian, max_bytes):
    with open_checkpoint(sliced(tmp_path / "m", GRID, big_endian=big_endian)) as checkpoint:
        assert list(checkpoint) == ["w"]
        w = checkpoint["w"]
        assert w.crc32c is None
        assert w.read().tolist() == VALUES.tolist()
        assert b"".join(chunk.tobytes() for chunk in w.chunks(max_bytes=max_bytes)) == VALUES.tobytes()
        for part in w.slices:
            box = tuple(slice(a, a + n) for a, n in zip(part.start, part.variable.shape, strict=True))
            assert part.variable.read().tolist() == VALUES[box].tolist()
        assert w.slices[1].variable.name == "w[0:3,1:2]"


def test_a_flipped_bit_in_a_slice_is_found(tmp_path):
    prefix = sliced(tmp_path / "m", GRID)
    data = bytearray((tmp_path / "m.data-00000-of-00001").read_bytes())
    data[30] ^= 4
    (tmp_path / "m.data-00000-of-00001").write_bytes(data)
    for read in (lambda v: v.read(), lambda v: list(v.chunks(max_bytes=4))):
        with pytest.raises(ChecksumError, match=r"w\[3:6,0:1\]"), open_checkpoint(prefix) as checkpoint:
            read(checkpoint["w"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop(GRID[2].key(b"w")), r"the slice at \(3, 0\) of \(3, 1\) is missing"),
        (
            lambda e: e.update({GRID[2].key(b"w"): e[GRID[2].key(b"w")]._replace(shape=(1, 3))}),
            r"expected a slice of float32 \(3, 1\) at \(3, 0\), got float32 \(1, 3\)",
        ),
        (
            lambda e: e.update({b"w": e[b"w"]._replace(slices=tuple(GRID[:3]))}),
            "expected slices of 12 elements, got 9",
        ),
    ],
)
def test_damaged_slices_are_one_clear_error(tmp_path, change, message):
    with open_checkpoint(sliced(tmp_path / "m", GRID, change=change)) as checkpoint:
        assert checkpoint["w"].shape == (6, 2)
        with pytest.raises(FormatError, match=f"partitioned variable 'w': {message}"):
            checkpoint["w"].read()


def test_numbers_of_a_big_endian_bundle_are_turned_round(tmp_path):
    entries, data = {b"": b"\x08\x01\x10\x01\x1a\x02\x08\x01"}, b""
    expected = {}
    for name, values in {
        "float32": np.array([1.5, -0.0], "f"),
        "complex128": np.array([1 + 2j]),
        "int8": np.array([1, -2], np.int8),
        "bfloat16": np.array([1.5], dtypes.BY_NAME["bfloat16"].numpy),
        "int64": np.array([1 << 40]),
    }.items():
        dtype = dtypes.BY_NAME[name]
        raw = values.tobytes()
        word = dtype.itemsize // (2 if dtype.kind == "complex" else 1)
        stored = b"".join(raw[i : i + word][::-1] for i in range(0, len(raw), word))
        entry = Entry(dtype, values.shape, len(raw), 0, len(data), checksum.crc32c(stored))
        entries[name.encode()] = encode_entry(entry)
        expected[name] = values
        data += stored
    write_table(tmp_path / "m.index", entries)
    (tmp_path / "m.data-00000-of-00001").write_bytes(data)
    with open_checkpoint(tmp_path / "m") as checkpoint:
        for name, values in expected.items():
            for read in (checkpoint[name].read(), checkpoint[name].load()):
                assert read.tobytes() == values.tobytes()
            assert b"".join(c.tobytes() for c in checkpoint[name].chunks(max_bytes=8)) == values.tobytes()
            # the checksum that is stored is of other bytes than the values have here
            assert (checkpoint[name].crc32c is None) == (name != "int8")


@given(
    st.lists(st.integers(1, 5), max_size=4).map(tuple),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 200),
)
def test_blocks_are_the_whole_in_order(shape, itemsize, max_bytes):
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    block = block_shape(shape, itemsize, max_bytes)
    seen = [numbers[region].reshape(-1) for region in regions(shape, block)]
    assert np.concatenate(seen).tolist() == list(range(numbers.size))
    assert all(int(np.prod(extent(r))) * itemsize <= max(max_bytes, itemsize) for r in regions(shape, block))
