import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.formats.bundle.coding import CodingError, decode_varint, encode_varint


def test_the_example_of_the_documentation():
    # protobuf.dev, "Base 128 Varints": 150 is 96 01
    assert encode_varint(150) == b"\x96\x01"
    assert decode_varint(b"\x00\x96\x01", 1) == (150, 3)


@given(st.integers(0, 2**64 - 1))
def test_round_trip(value):
    encoded = encode_varint(value)
    assert decode_varint(encoded + b"x", 0) == (value, len(encoded))
    for length in range(len(encoded)):
        with pytest.raises(CodingError, match="cut off"):
            decode_varint(encoded[:length], 0)


@pytest.mark.parametrize(
    "data", [b"\x80" * 10 + b"\x01", b"\xff" * 9 + b"\x02", b"\xff" * 20], ids=["long", "large", "ones"]
)
def test_reject_what_does_not_fit_64_bits(data):
    with pytest.raises(CodingError):
        decode_varint(data, 0)
