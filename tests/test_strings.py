import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit import checksum
from toolkit.formats.bundle import strings
from toolkit.formats.bundle.strings import StringChecksum, StringsError

ELEMENTS = st.lists(st.binary(max_size=20) | st.integers(120, 20_000).map(bytes), max_size=20)


def stored(elements: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(strings.encode(elements)), np.uint8)


def test_the_bytes_and_checksums_of_an_example():
    # Calculated by hand from tensor_bundle.cc: lengths 1 and 3, the check over them as uint32,
    # then the entry's checksum over the same, the four stored bytes, and the data.
    lengths = b"\1\0\0\0\3\0\0\0"
    check = checksum.mask(checksum.crc32c(lengths)).to_bytes(4, "little")
    assert check == b"D9\xac/"  # as TensorFlow 2.21 writes for ["a", "bcd"]
    assert stored([b"a", b"bcd"]).tobytes() == b"\1\3" + check + b"abcd"
    _, crc = strings.decode(stored([b"a", b"bcd"]), 2)
    assert crc == checksum.crc32c(lengths + check + b"abcd")


@given(ELEMENTS, st.integers(1, 50))
def test_round_trip_whole_and_in_chunks(elements, size):
    data = stored(elements)
    read, crc = strings.decode(data, len(elements))
    assert read == elements
    running = StringChecksum(len(elements), data.size)
    for start in range(0, data.size, size):
        running.update(data[start : start + size])
    assert running.finish() == crc
    assert running.lengths.tolist() == [len(element) for element in elements]


def test_lengths_above_32_bits_are_checked_as_64():
    lengths = np.array([1, 1 << 32], np.uint64)
    assert strings._as_checksummed(lengths) == b"\1\0\0\0" + b"\0\0\0\0\1\0\0\0"


@pytest.mark.parametrize(
    ("data", "num_elements", "message"),
    [
        (b"", 0, "expected 4 bytes or more for 0 strings, got 0"),
        (b"\1\3D9", 2, "expected 6 bytes or more for 2 strings, got 4"),
        (bytes(20), 1 << 40, "expected 1099511627780 bytes or more for 1099511627776 strings, got 20"),
        (b"\1\3D9\xac/abc", 2, "expected lengths that sum to 3 bytes, got 4"),
        (b"\1\3D9\xac/abcde", 2, "expected lengths that sum to 5 bytes, got 4"),
        (b"\1\3D9\xad/abcd", 2, "expected lengths with checksum"),
        (b"\2\2D9\xac/abcd", 2, "expected lengths with checksum"),
        (b"\x80" * 12 + b"\1" + bytes(8), 1, "expected lengths of at most 10 bytes, got more"),
        (b"\x80" * 30, 1, "expected lengths of at most 10 bytes, got more"),
        (b"\x80" * 8, 1, "expected all lengths within 8 bytes, got fewer"),
    ],
)
def test_reject(data, num_elements, message):
    with pytest.raises(StringsError, match=message):
        strings.decode(np.frombuffer(data, np.uint8), num_elements)
